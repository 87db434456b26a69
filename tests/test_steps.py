"""The steps on a small synthetic archive, one after another, and what they say of trouble."""

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from oscine import steps
from oscine.config import OscineConfig, WrongArgument, read_config, to_toml, with_overrides
from oscine.model.checkpoint import load_provenance, weights_fingerprint
from oscine.sound.archive import find_recordings
from oscine.synth import SynthConfig
from oscine.workspace import Workspace

N_SYNTHETIC = 6
LEARN = {"steps": 20, "workers": 1, "settings": tiny.SETTINGS}
SAID = (ValueError, OSError, RuntimeError)
"""What the command line shows as a plain sentence."""


def write_noise(file, duration_s, seed=0, level=0.1, rate_hz=32_000):
    noise = level * np.random.default_rng(seed).uniform(-1, 1, round(duration_s * rate_hz))
    soundfile.write(file, noise, rate_hz, subtype="PCM_16")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Six synthetic recordings of 10 s, and one file for each thing that can be wrong with one."""
    folder = tmp_path_factory.mktemp("archive") / "forest"
    steps.synth(folder, SynthConfig(minutes=1, recording_s=10))
    write_noise(folder / "cut.wav", 2)
    with open(folder / "cut.wav", "r+b") as file:
        file.truncate(64_044)
    write_noise(folder / "silent.wav", 1, level=0)
    write_noise(folder / "short.wav", 0.1)
    (folder / "text.wav").write_text("not a sound\n")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    shutil.copy(recordings_of(folder)[0], folder / "twin.flac")
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory, archive):
    """A workspace after `learn`, with what it returned and told."""
    folder = tmp_path_factory.mktemp("learned") / "crows.oscine"
    told = []
    report = steps.learn([archive], folder, **LEARN, progress=lambda *what: told.append(what))
    return folder, report, told


@pytest.fixture
def copied(tmp_path, learned):
    """A copy of that workspace, to change."""
    return shutil.copytree(learned[0], tmp_path / "copy.oscine")


def recordings_of(folder):
    return sorted(folder.glob("site-*/*"))


def fail(*told):
    raise AssertionError(f"there is nothing to do, and not {told}")


def only_report(step, *_):
    assert step == "report"


def last_weights(folder, run="default"):
    return sorted((folder / "runs" / run / "checkpoints").glob("0*"))[-1] / "weights.safetensors"


def types_by_content(folder):
    """Return sound type, strength and place on the map of each event, by what it is."""
    with Workspace(folder).catalogue() as catalogue:
        contents = {row.recording_id: row.content_key for row in catalogue.recordings()}
        events = {event.event_id: event for event in catalogue.events()}
        rows = catalogue.sound_types()
    return {
        (
            contents[events[row.event_id].recording_id],
            events[row.event_id].start_frame,
        ): (row.cluster, row.strength, row.map_x, row.map_y)
        for row in rows
    }


# The main job


def test_learn_says_what_it_heard_and_found(archive, learned):
    folder, report, _ = learned
    assert report.files == N_SYNTHETIC + 5
    assert (report.unreadable, report.damaged, report.silent) == (1, 1, 1)
    assert (report.too_short, report.duplicates) == (1, 1)
    assert report.hours == pytest.approx((N_SYNTHETIC * 10 + 1) / 3600, abs=1e-4)
    assert report.steps == 20
    assert all(map(math.isfinite, (report.loss, report.loss_mean, report.loss_interpolation)))
    assert report.clusters >= 1
    assert 0 <= report.noise_share <= 1
    assert report.report == str(folder / "reports" / "atlas.html")
    assert json.loads((folder / "reports" / "learn.json").read_text()) == asdict(report)
    with Workspace(folder).catalogue() as catalogue:
        types = catalogue.sound_types()
        assert report.events == len(catalogue.events()) == len(types) > 20
    labels = [row.cluster for row in types]
    assert report.clusters == max(labels) + 1
    assert report.noise_share == pytest.approx(labels.count(-1) / len(labels), abs=1e-4)


def test_every_step_tells_how_far_it_is(learned):
    *_, told = learned
    assert list(dict.fromkeys(step for step, *_ in told)) == [
        "index",
        "pretrain",
        "embed",
        "compare",
        "cluster",
        "report",
    ]
    for name in ("index", "pretrain", "embed", "compare", "cluster", "report"):
        done = [(done, total) for step, done, total, _ in told if step == name]
        assert done == sorted(done)
        assert done[-1][0] == done[-1][1]


def test_the_page_shows_the_sounds_and_the_files_that_were_skipped(learned):
    page = Path(learned[1].report).read_text(encoding="utf-8")
    assert "cut.wav" in page
    assert "data:audio/mpeg;base64," in page
    assert "nowhere" not in page
    for path in ("text.wav", "silent.wav", "short.wav", "twin.flac", "gone.wav"):
        assert path in page


def test_status_names_what_was_not_heard_whole(archive, learned):
    status = steps.status(learned[0])
    assert status.stages == dict.fromkeys(("index", "pretrain", "embed", "cluster"), "done")
    assert status.states == {
        "damaged": 1,
        "duplicate": 1,
        "silent": 1,
        "too short": 1,
        "unreadable": 1,
        "whole": N_SYNTHETIC,
    }
    skipped = {path: (state, reason) for path, state, reason in status.skipped}
    first = recordings_of(archive)[0].relative_to(archive)
    assert skipped["twin.flac"] == ("duplicate", f"the same bytes as {first}")
    assert skipped["cut.wav"][0] == "damaged"
    assert skipped["text.wav"][0] == "unreadable"
    assert skipped[str(archive / "gone.wav")] == ("unreadable", "No such file or directory")


def test_learn_again_does_nothing_again(archive, copied, learned):
    def times():
        kept = [
            *copied.glob("tape/**/*"),
            *copied.glob("runs/**/*"),
            *copied.glob("embeddings/**/*"),
        ]
        return {path: path.stat().st_mtime_ns for path in kept}

    before = times()
    again = steps.learn([archive], copied, **LEARN, progress=only_report)
    assert times() == before
    assert asdict(again) | {"report": ""} == asdict(learned[1]) | {"report": ""}
    bare = steps.learn([archive], copied, progress=only_report)  # the workspace knows its settings
    assert bare == again


def test_a_larger_archive_keeps_the_model_and_says_so(archive, copied, learned, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    steps.synth(more / "meadow", SynthConfig(minutes=0.2, recording_s=10, seed=1))
    before = last_weights(copied).read_bytes()
    readout = (copied / "embeddings/default/readout.safetensors").read_bytes()
    report = steps.learn([archive, more], copied, **LEARN)
    assert report.events > learned[1].events
    assert any("trained on other recordings" in note for note in report.notes)
    assert last_weights(copied).read_bytes() == before
    assert (copied / "embeddings/default/readout.safetensors").read_bytes() == readout
    vectors, events = Workspace(copied).vectors()
    assert len(vectors) == len(events) == report.events
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert len(types_by_content(copied)) == report.events
    stages = steps.status(copied).stages
    assert stages.pop("pretrain") == "done, on other recordings than the archive holds now"
    assert set(stages.values()) == {"done"}


def test_neither_names_nor_order_of_files_matter(archive, learned, tmp_path):
    shuffled = tmp_path / "renamed"
    shuffled.mkdir()
    files = [*recordings_of(archive), archive / "cut.wav", archive / "twin.flac"]
    for number, file in enumerate(files[::-1]):
        shutil.copy(file, shuffled / f"{number}{file.suffix}")
    report = steps.learn([shuffled], tmp_path / "w", **LEARN)
    assert report.events == learned[1].events
    assert last_weights(tmp_path / "w").read_bytes() == last_weights(learned[0]).read_bytes()
    assert types_by_content(tmp_path / "w") == types_by_content(learned[0])


def test_fresh_begins_again_and_keeps_the_old_run(archive, copied):
    before = last_weights(copied).read_bytes()
    steps.learn([archive], copied, **LEARN, fresh=True)
    assert last_weights(copied).read_bytes() == before
    assert last_weights(copied, "default.1").read_bytes() == before

    steps.learn([archive], copied, **LEARN, fresh=True, seed=1)
    assert last_weights(copied).read_bytes() != before
    assert last_weights(copied, "default.2").read_bytes() == before
    config = read_config(copied / "oscine.toml", OscineConfig)
    assert {config.training.seed, config.readout.seed, config.cluster.seed} == {1}
    assert set(steps.status(copied).stages.values()) == {"done"}


def stop_at(number):
    """Stop at a step of training."""

    def progress(step, done, *_):
        if step == "pretrain" and done == number:
            raise KeyboardInterrupt

    return progress


def contents(folder):
    """Return the files of a folder by name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_a_fresh_run_that_was_stopped_leaves_no_model_in_use(copied):
    with pytest.raises(KeyboardInterrupt):
        steps.pretrain(copied, fresh=True, progress=stop_at(7))
    assert steps.status(copied).stages["pretrain"] == "begun"
    with pytest.raises(ValueError, match="run `oscine pretrain` first"):
        steps.embed(copied)
    steps.pretrain(copied)
    assert steps.status(copied).stages["pretrain"] == "done"
    steps.embed(copied, progress=fail)


def test_status_tells_where_the_run_of_the_model_went_back(copied):
    log = copied / "runs" / "default" / "log.jsonl"
    with open(log, "a", encoding="utf-8") as lines:
        lines.write('{"step": 6, "not_finite_at": 8, "rate_factor": 0.5}\n')
    said = "Step 8 was not finite: the run went back to step 5, and on at 0.5 of the learning rate."
    assert steps.status(copied).notes.count(said) == 1
    with Workspace(copied).catalogue() as catalogue:
        catalogue.drop_stage("pretrain")  # as while the first run lasts
    assert steps.status(copied).notes.count(said) == 1
    log.unlink()
    assert said not in steps.status(copied).notes


def test_another_run_that_is_begun_again_leaves_the_model_in_use(copied):
    shutil.copytree(copied / "runs" / "default", copied / "runs" / "second")
    with pytest.raises(KeyboardInterrupt):
        steps.pretrain(copied, name="second", fresh=True, progress=stop_at(7))
    assert steps.status(copied).stages["pretrain"] == "done"
    steps.embed(copied, progress=fail)


def test_a_run_is_begun_again_with_its_own_weights(copied, monkeypatch):
    own = copied / "runs" / "default"
    before = contents(own)
    with pytest.raises(ValueError, match=r"leave out --from .* or add --fresh"):
        steps.pretrain(copied, start=copied)
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ValueError, match=r"several processes: .* another --name"):
            steps.pretrain(copied, start=copied, fresh=True)
    assert contents(own) == before
    assert [run.name for run in (copied / "runs").iterdir()] == ["default"]

    weights = weights_fingerprint(last_weights(copied).parent)
    with pytest.raises(KeyboardInterrupt):
        steps.pretrain(copied, start=own, fresh=True, progress=stop_at(7))
    assert contents(copied / "runs" / "default.1") == before
    report = steps.pretrain(copied)
    assert load_provenance(Path(report.checkpoint))["from"] == weights


def test_a_model_from_elsewhere_takes_the_place_of_training(archive, copied, learned, tmp_path):
    given = last_weights(learned[0]).parent
    report = steps.learn(
        [archive], copied, model=given, settings=tiny.SETTINGS, progress=only_report
    )
    assert report.loss == learned[1].loss  # measured anew, on the same windows
    assert report.steps == 20
    assert last_weights(copied, "given").read_bytes() == last_weights(copied).read_bytes()
    shutil.rmtree(copied / "runs" / "default")
    assert steps.embed(copied, refit=True).refitted  # nothing but the copy is needed
    again = steps.take_model(copied, last_weights(copied, "given").parent)  # the copy itself
    assert again.loss == report.loss
    with pytest.raises(FileNotFoundError, match="is no checkpoint"):
        steps.take_model(copied, tmp_path)


def test_a_model_of_other_pictures_is_refused(archive, learned, tmp_path):
    steps.index([], tmp_path / "w", settings=["picture.low_hz=100"])
    with pytest.raises(ValueError, match="trained on pictures made in another way"):
        steps.take_model(tmp_path / "w", last_weights(learned[0]).parent)


# Single steps


def test_steps_are_missing_then_done_then_stale(archive, copied, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no workspace: make one with `oscine learn"):
        steps.status(tmp_path / "new")
    steps.index([], tmp_path / "new")
    assert steps.status(tmp_path / "new").stages == {
        "index": "done",
        "pretrain": "missing",
        "embed": "missing",
        "cluster": "missing",
    }
    steps.embed(copied, settings=["readout.dimensions=8"])
    assert steps.status(copied).stages["cluster"] == "stale"
    steps.cluster(copied)
    assert steps.status(copied).stages["cluster"] == "done"
    config = read_config(copied / "oscine.toml", OscineConfig)
    changed = with_overrides(config, ["readout.shrinkage=0.9"])
    (copied / "oscine.toml").write_text(to_toml(changed))
    stages = steps.status(copied).stages
    assert (stages["embed"], stages["cluster"]) == ("stale", "stale")


def test_an_index_that_was_not_finished_must_be(archive, copied):
    with Workspace(copied).catalogue() as catalogue:
        catalogue.add([], [], [])  # as a process does that is killed thereafter
    assert steps.status(copied).stages["index"] == "begun"
    with pytest.raises(ValueError, match="run `oscine index` first"):
        steps.embed(copied)
    assert steps.index([archive], copied, progress=fail).new_files == 0
    assert steps.status(copied).stages == dict.fromkeys(
        ("index", "pretrain", "embed", "cluster"), "done"
    )


def test_the_seed_of_a_step_is_its_own(archive, copied):
    before = read_config(copied / "oscine.toml", OscineConfig)
    steps.cluster(copied, seed=3)
    config = read_config(copied / "oscine.toml", OscineConfig)
    assert config.cluster.seed == 3
    assert (config.training, config.readout) == (before.training, before.readout)
    steps.embed(copied, progress=fail)
    steps.pretrain(copied, progress=fail)


def test_a_trained_model_is_not_given_for_one_trained_longer(copied):
    with pytest.raises(
        ValueError, match=r"begun with other settings: .*training.steps=20.*--fresh"
    ):
        steps.pretrain(copied, steps=30)
    with pytest.raises(
        ValueError, match=r"begun with other settings: .*training.steps=20.*--fresh"
    ):
        steps.pretrain(copied, minutes=8)
    assert steps.pretrain(copied, steps=20).steps == 20  # the way back


def test_a_workspace_holds_pictures_of_one_kind(archive, copied):
    with pytest.raises(ValueError, match="use a new workspace"):
        steps.index([archive], copied, settings=["picture.hop_samples=640"])
    steps.learn([archive], copied, **LEARN, progress=only_report)


def test_one_run_at_a_time_holds_a_workspace(archive, copied):
    workspace = Workspace(copied)
    with workspace.alone():
        for step in (steps.embed, steps.cluster, steps.report):
            with pytest.raises(ValueError, match="in use by another run"):
                step(copied)
        assert steps.status(copied).files
    steps.embed(copied)


@pytest.mark.parametrize(
    ("step", "setting"), [(steps.pretrain, "model.width=32"), (steps.embed, "readout.layers=[9]")]
)
def test_a_setting_that_is_refused_is_not_kept(copied, step, setting):
    before = Workspace(copied).config_file.read_bytes()
    with pytest.raises(ValueError, match=setting.partition("=")[0]):
        step(copied, settings=[setting])
    assert Workspace(copied).config_file.read_bytes() == before
    step(copied)


def test_hours_count_the_recordings_not_their_channels(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    noise = 0.1 * np.random.default_rng(0).uniform(-1, 1, (36_000, 2))
    soundfile.write(folder / "two.wav", noise, 1000 * 10)
    report = steps.index([folder], tmp_path / "w", workers=1, settings=["picture.channels=each"])
    assert report.hours == 0.001


def test_the_same_channels_again_are_duplicates(archive, tmp_path):
    report = steps.index(
        [archive / "cut.wav", archive / "cut.wav", archive], tmp_path / "w", workers=2
    )
    assert report.states["damaged"] == 1
    assert report.files == N_SYNTHETIC + 5


@pytest.mark.parametrize(
    ("settings", "n_events"),
    [(["picture.sample_rate_hz=96000", "picture.n_fft=4096"], None), ([], 0)],
    ids=["a rate that MP3 does not know", "nothing stands out"],
)
def test_unusual_archives_come_to_a_report(archive, tmp_path, settings, n_events):
    folder = tmp_path / "archive"
    folder.mkdir()
    if n_events is None:
        shutil.copy(recordings_of(archive)[0], folder)
    else:
        write_noise(folder / "noise.wav", 12)
    report = steps.learn(
        [folder], tmp_path / "w", steps=1, workers=1, settings=[*tiny.SETTINGS, *settings]
    )
    page = Path(report.report).read_text(encoding="utf-8")
    if n_events is None:
        assert report.clusters > 0
        assert "data:audio/mpeg;base64," in page
    else:
        assert (report.events, report.clusters, report.noise_share) == (0, 0, 0.0)


# What can go wrong


def test_an_archive_without_recordings_says_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no recording: .* name the folder"):
        steps.learn([tmp_path / "empty"], tmp_path / "w", steps=1)
    assert not (tmp_path / "w").exists()  # nothing is left of what holds nothing


def test_a_workspace_without_recordings_that_was_there_before_stays(tmp_path):
    (tmp_path / "empty").mkdir()
    steps.index([tmp_path / "empty"], tmp_path / "w")
    with pytest.raises(ValueError, match="empty holds no recording"):
        steps.learn([tmp_path / "empty"], tmp_path / "w", steps=1)
    assert steps.status(tmp_path / "w").files == 0


def test_a_workspace_within_its_archive_is_no_part_of_it(archive, copied, tmp_path):
    card = shutil.copytree(archive, tmp_path / "card", symlinks=True)
    before = find_recordings([card])
    folder = copied.rename(card / "crows.oscine")
    assert find_recordings([card]) == before
    steps.index([card], folder, workers=1)
    for out in (folder / "clips", card / "clips"):
        with pytest.raises(WrongArgument, match="where nothing is exported to"):
            steps.export(folder, "clips", out)
    assert find_recordings([card]) == before


def test_steps_name_the_one_that_is_missing(tmp_path):
    steps.index([], tmp_path)
    for step, first in (
        (steps.embed, "pretrain"),
        (steps.cluster, "embed"),
        (steps.report, "pretrain"),
    ):
        with pytest.raises(ValueError, match=f"run `oscine {first}` first"):
            step(tmp_path)


def cut_short(file, n_bytes=10):
    file.write_bytes(file.read_bytes()[:n_bytes])


def cut_page(file):
    """Leave the first page of a database, which alone is read when it is opened."""
    cut_short(file, 4096)


DAMAGE = {
    "catalogue": lambda w: cut_short(w / "catalogue.sqlite", 1000),
    "catalogue page": lambda w: cut_page(w / "catalogue.sqlite"),
    "settings": lambda w: (w / "oscine.toml").write_text("model = ["),
    "unknown settings": lambda w: (w / "oscine.toml").write_text("[model]\ndeep = 3"),
    "tape": lambda w: cut_short(next(w.glob("tape/*/codes/00000.bin"))),
    "no tape": lambda w: shutil.rmtree(w / "tape"),
    "weights": lambda w: cut_short(last_weights(w)),
    "no run": lambda w: shutil.rmtree(w / "runs"),
    "no vectors": lambda w: shutil.rmtree(w / "embeddings"),
    "short vectors": lambda w: cut_short(w / "embeddings/default/events/00000.bin"),
    "no log": lambda w: (w / "runs/default/log.jsonl").unlink(),
    "log": lambda w: (w / "runs/default/log.jsonl").write_text('{"st'),
    "run.toml": lambda w: cut_short(w / "runs/default/run.toml"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_workspace_is_mended_or_said(copied, archive, damage):
    DAMAGE[damage](copied)
    verbs = {
        "status": steps.status,
        "pretrain": steps.pretrain,
        "embed": lambda folder: steps.embed(folder, refit=True),
        "cluster": lambda folder: steps.cluster(folder, settings=["cluster.n_exemplars=2"]),
        "report": steps.report,
        "learn": lambda folder: steps.learn([archive], folder, steps=20),
    }
    said = []
    for verb in verbs.values():
        try:
            verb(copied)
        except SAID as error:
            said.append(str(error))
    # What can be made again is; of anything else a sentence names the file.
    assert said or damage in ("weights", "no run", "no vectors", "short vectors")
    assert all(str(copied) in message for message in said)


def test_training_that_takes_far_longer_than_asked_says_so_once(monkeypatch):
    from oscine.steps import learning

    now_s, said = 0.0, []
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    told = {
        minutes: learning._told_loss(
            lambda *what, minutes=minutes: said.append((minutes, *what)), minutes
        )
        for minutes in (1.0, 0.0)  # the last: a number of steps was asked for
    }
    for done in range(11, 101):  # ten were done before
        for tell in told.values():
            tell(done, 100, 0.5)
        now_s += 0.6 if done < 31 else 3.0
    ((minutes, _, _, _, note),) = [one for one in said if one[1] == "note"]
    assert minutes == 1
    assert note.startswith("the training takes longer than 1 min")
    assert "54 of 100 are done, for the others it needs about 1 min more" in note


def test_training_that_went_back_is_timed_anew(monkeypatch):
    from oscine.steps import learning

    now_s, said = 0.0, []
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    tell = learning._told_loss(lambda *what: said.append(what), 1.0)
    for done in (7, 5, 5, 6):  # back to before its first step, to that step, and on
        tell(done, 12, 0.5)
        now_s += 600
    (note,) = [what[3] for what in said if what[0] == "note"]
    assert "6 of 12 are done, for the others it needs about 60 min more" in note
