"""`oscine evaluate` on a small synthetic archive: what it asks, and what it says a score may be."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import tiny

from oscine import steps
from oscine.embedding.individual import INDIVIDUAL
from oscine.embedding.intervals import FrameInterval
from oscine.evaluation import assess as assess_module
from oscine.evaluation.assess import assess
from oscine.evaluation.features import (
    KIND_READOUT,
    KINDS,
    LOG_MEL_SCALED,
    MFCC,
    MFCC_SCALED,
    OURS,
)
from oscine.evaluation.items import Item, contradicted_items, group_items, labelled_items
from oscine.evaluation.listening import BACKGROUND_ONLY, CLEAN, SNRS_DB, SWAPPED
from oscine.evaluation.report import NUMBERS
from oscine.sound.annotations import Annotation, PlacedAnnotation, heard_twins
from oscine.sound.recording import Interval
from oscine.steps.listening import evaluation_fingerprint
from oscine.synth import SynthConfig
from oscine.workspace import Workspace

LEARN = {"steps": 5, "workers": 1, "settings": tiny.SETTINGS}
COPY = "copied/elsewhere.mp3"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Twelve recordings; one of them is there once more, encoded again."""
    folder = tmp_path_factory.mktemp("archive") / "forest"
    steps.synth(folder, SynthConfig(minutes=2, recording_s=10))
    samples, rate_hz = soundfile.read(folder / first_recording(folder))
    (folder / COPY).parent.mkdir()
    soundfile.write(folder / COPY, samples * 0.8, rate_hz, format="MP3")
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory, archive):
    folder = tmp_path_factory.mktemp("learned") / "crows.oscine"
    steps.learn([archive], folder, **LEARN)
    return folder


@pytest.fixture
def copied(tmp_path, learned):
    return shutil.copytree(learned, tmp_path / "copy.oscine")


@pytest.fixture(scope="module")
def labels(archive, tmp_path_factory):
    """The truth, and that of the copy, where every bird has another name."""
    rows = truth(archive)
    original = first_recording(archive)
    rows += [
        row | {"path": COPY, "individual": f"{row['individual']} again"}
        for row in rows
        if row["path"] == original
    ]
    file = tmp_path_factory.mktemp("labels") / "labels.csv"
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return file


def first_recording(archive):
    return min(row["path"] for row in truth(archive))


def truth(archive):
    text = (archive / "truth.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def item(number, start=0, stop=100, path=None, n_frames=200, **labels):
    recording = replace(tiny.recording(number, n_frames), path=path or f"{number}.wav")
    interval = FrameInterval(recording=recording, start_frame=start, stop_frame=stop)
    return Item(interval=interval, path=recording.path, labels=labels)


def placed(recording, start_s=None, stop_s=None, **labels):
    start, stop = (0, 10**6) if start_s is None else (start_s, stop_s)
    rate_hz = recording.sample_rate_hz
    return PlacedAnnotation(
        annotation=Annotation(
            table="table.csv",
            row=2,
            path=recording.path,
            start_s=start_s,
            stop_s=stop_s,
            low_hz=None,
            high_hz=None,
            labels=labels,
        ),
        recording_id=recording.recording_id,
        interval=Interval(
            start=round(start * rate_hz), stop=round(stop * rate_hz), sample_rate_hz=rate_hz
        ),
    )


def unlike(number):
    """A picture that is like no other."""
    return np.random.default_rng(number).normal(size=(30, 8))


def vectors_by_label(items, column, seed=0, spread=0.01):
    """Vectors in which nothing but a label shows."""
    names = sorted({one.labels[column] for one in items})
    ours = np.eye(len(names))[[names.index(one.labels[column]) for one in items]]
    noise = np.random.default_rng(seed).normal(size=(len(items), len(names)))
    return {OURS: ours + spread * noise, "MFCC": noise}


# Items and groups


def test_what_two_tables_say_of_a_stretch_is_one_item():
    recording = tiny.recording(0, 200)
    said = [
        placed(recording, 0.5, 0.75, species="crow"),
        placed(recording, 0.5, 0.75, individual="anna", species="jay"),
        placed(recording, species="forest"),
    ]
    whole, part = labelled_items(said, [recording], tiny.PICTURE)
    assert (whole.interval.start_frame, whole.interval.stop_frame) == (0, 200)
    assert (part.interval.start_frame, part.interval.stop_frame) == (50, 75)
    assert part.labels == {"species": "crow", "individual": "anna"}
    assert labelled_items(said[::-1], [recording], tiny.PICTURE)[1].labels["species"] == "jay"


def test_rows_that_say_different_things_of_a_stretch_are_told_by_column():
    recording = tiny.recording(0, 200)
    said = [
        placed(recording, 0.5, 0.75, species="crow", individual="anna"),
        placed(recording, 0.5, 0.75, species="jay", individual="anna"),
        placed(recording, 0.5, 0.76, species="owl"),
        placed(recording, species="forest"),
    ]
    columns = ["species", "individual", "sex"]
    assert contradicted_items(said, [recording], tiny.PICTURE, columns) == [
        "species: 1 stretches have several labels, such as 'crow' (table.csv, line 2) before "
        "'jay' (table.csv, line 2): the first counts"
    ]


def test_labels_that_differ_in_case_are_told_of():
    recording = tiny.recording(0, 200)
    species = ["Crow", "crow", "jay", "OWL", "Owl", "owl", "Rook", "rook"]
    said = [
        placed(recording, 0.1 * number, 0.1 * number + 0.05, species=one)
        for number, one in enumerate(species)
    ]
    assert contradicted_items(said, [recording], tiny.PICTURE, ["species", "sex"]) == [
        "species: 'Crow' and 'crow', 'OWL' and 'Owl' and 'owl' and 1 more differ in upper and "
        "lower case only: they are taken for different labels"
    ]


def test_a_stretch_shorter_than_a_frame_has_one():
    recording = tiny.recording(0, 200)
    (short,) = labelled_items(
        [placed(recording, 0.501, 0.502, species="crow")], [recording], tiny.PICTURE
    )
    assert (short.interval.start_frame, short.interval.stop_frame) == (50, 51)
    (last,) = labelled_items(
        [placed(recording, 1.9999, 2.0049, species="crow")], [recording], tiny.PICTURE
    )
    assert (last.interval.start_frame, last.interval.stop_frame) == (199, 200)


def test_a_duplicate_stands_for_the_recording_that_was_heard():
    heard = tiny.recording(0, 200)
    double = replace(
        tiny.recording(1, 0), content_hash=heard.content_hash, state="duplicate", path="b.wav"
    )
    other = replace(tiny.recording(2, 0), state="silent")
    first, twin, silent = heard_twins([heard, double, other])
    assert (first, silent) == (heard, other)
    assert (twin.recording_id, twin.path) == (double.recording_id, "b.wav")
    assert (twin.n_frames, twin.tape_row, twin.state) == (200, heard.tape_row, "whole")


def test_a_session_holds_recordings_together_in_a_split_only():
    items = [
        item(0, recording_id="a", session="monday"),
        item(1, recording_id="a", session="monday"),
        item(2, recording_id="b", session="monday"),
        item(3, recording_id="c", session="tuesday"),
        item(4, recording_id="d"),
    ]
    groups = group_items(items, ["session", "recording_id"])
    assert groups.recordings.tolist() == [0, 0, 1, 2, 3]
    assert groups.split.tolist() == [0, 0, 0, 1, 2]
    assert groups.session[:4] == ("monday", "monday", "monday", "tuesday")
    assert groups.session[4] not in groups.session[:4]
    assert group_items(items, ["recording_id"]).session is None


# Questions


def test_what_is_plain_to_see_is_found_and_chance_is_not():
    items = [item(n, species="crow" if n % 2 else "jay") for n in range(24)]
    vectors = vectors_by_label(items, "species")
    (answer,) = assess(items, vectors, ["species"], [], picture=unlike).answers
    ours, chance = answer.kinds[OURS], answer.kinds["MFCC"]
    assert ours.mean_average_precision == ours.neighbour_accuracy == ours.rest_roc_auc == 1
    assert chance.mean_average_precision < 0.8
    assert ours.lead is None
    assert chance.lead.excludes_zero
    assert chance.lead.low < chance.lead.mean < chance.lead.high
    assert answer.counts == {"crow": 12, "jay": 12}
    assert answer.confusion == [[12, 0], [0, 12]]
    assert {one.n_shots for one in answer.few_labels} == {1, 5, 10}
    assert (answer.pairs, answer.problems, answer.n_unanswered) == ([], [], 0)


def test_the_difference_to_a_random_split_is_the_leak():
    # What shows is the recording, not the label.
    items = [item(n // 4, 10 * (n % 4), species=f"{n // 4 % 3}") for n in range(48)]
    places = np.repeat(np.random.default_rng(0).normal(size=(12, 12)), 4, axis=0)
    (answer,) = assess(items, {OURS: places}, ["species"], [], picture=unlike).answers
    score = answer.kinds[OURS]
    assert score.mean_average_precision < 0.6
    assert score.random_split_average_precision > score.mean_average_precision + 0.1


def test_individuals_are_compared_in_pairs_within_and_across_sessions():
    items = [item(n, individual=f"bird {n % 3}", day=f"day {n % 2}", call="caw") for n in range(24)]
    vectors = vectors_by_label(items, "individual")
    (answer,) = assess(
        items, vectors, ["individual"], ["day"], picture=unlike, types="call"
    ).answers
    ours = {one.pairs: one for one in answer.pairs if one.kind == OURS}
    assert set(ours) == {"all", "within sessions", "across sessions"}
    assert {one.roc_auc for one in ours.values()} == {1}
    assert ours["across sessions"].n_individuals == 3
    assert ours["across sessions"].n_same_pairs == 3 * 16
    assert ours["all"].p_value is not None
    assert "too few" in ours["all"].note
    assert len(ours["all"].false_accept) == len(ours["all"].false_reject)


def test_a_question_that_cannot_be_asked_is_named():
    items = [item(n, individual=f"bird {n}") for n in range(6)]
    evaluation = assess(
        items, vectors_by_label(items, "individual"), ["individual"], [], picture=unlike
    )
    (answer,) = evaluation.answers
    assert (answer.kinds, answer.pairs, answer.few_labels) == ({}, [], [])
    assert answer.n_unanswered == 6
    assert answer.problems
    assert "6 of 6 labels occur in one recording only" in evaluation.findings[0]


def test_a_column_that_is_none_is_refused():
    items = [item(0, species="crow"), item(1, species="crow")]
    with pytest.raises(ValueError, match=r"no column 'sex'; they have species"):
        assess(items, {OURS: np.eye(2)}, ["sex"], [], picture=unlike)
    with pytest.raises(ValueError, match="nothing can be evaluated"):
        labelled_items([], [], tiny.PICTURE)


# Leaks that are planted


def test_an_individual_that_is_one_microphone_is_named():
    items = [
        item(n, individual=f"bird {n % 2}", microphone=f"microphone {n % 2}") for n in range(12)
    ]
    evaluation = assess(
        items, vectors_by_label(items, "individual"), ["individual"], [], picture=unlike
    )
    (finding,) = evaluation.findings
    assert "2 of 2 labels occur in one microphone only (bird 0, bird 1)" in finding


def test_a_recording_under_two_names_is_named_and_kept_on_one_side():
    items = [item(n % 6, path=f"{'ab'[n // 6]}/{n % 6}.wav", species=f"{n % 2}") for n in range(12)]
    vectors = {OURS: np.repeat(np.eye(6)[None], 2, axis=0).reshape(12, 6)}
    evaluation = assess(items, vectors, ["species"], [], picture=unlike)
    assert sum("are one sound (the same bytes)" in one for one in evaluation.findings) == 6
    assert evaluation.answers[0].n_groups == 6
    # Each would find its copy, and nothing else is alike.
    score = evaluation.answers[0].kinds[OURS]
    assert score.random_split_average_precision > score.mean_average_precision


@pytest.fixture(autouse=True)
def few_under_conditions(monkeypatch):
    """Hear few items under every condition: it takes long, and one test hears all."""
    monkeypatch.setattr(assess_module, "MOST_CONTROLLED", 24)


def test_every_condition_and_readout_is_asked(labels, copied, monkeypatch):
    monkeypatch.setattr(assess_module, "MOST_CONTROLLED", 50)
    settings = [
        one for one in tiny.SETTINGS if not one.startswith(("readout.shrinkage", "readout.row"))
    ]
    steps.embed(
        copied, settings=[*settings, "readout.shrinkage=-1", "readout.row_sharpness=-1"], refit=True
    )
    steps.cluster(copied)
    evaluation = steps.evaluate([labels], copied, questions=["individual"]).evaluation
    (answer,) = evaluation.answers
    names = list(dict.fromkeys(one.condition for one in answer.controls))
    assert names == [
        CLEAN,
        *(f"noise at {db:+.0f} dB" for db in SNRS_DB),
        BACKGROUND_ONLY,
        SWAPPED,
    ]
    by = {(one.condition, one.kind): one for one in answer.controls}
    assert {kind for _, kind in by} == {*KINDS, KIND_READOUT, LOG_MEL_SCALED, MFCC_SCALED}
    clean, loud = by[CLEAN, MFCC], by["noise at -10 dB", MFCC]
    assert clean.n_items == 50
    assert clean.mean_average_precision > loud.mean_average_precision
    assert by[CLEAN, KIND_READOUT].mean_average_precision is None
    assert all(0 <= one.roc_auc <= 1 for one in by.values() if one.roc_auc is not None)
    kinds, individuals = answer.regrets
    assert (kinds.readout, kinds.n_alternatives) == ("kinds", 8)
    assert individuals.n_alternatives > 4
    for one in answer.regrets:
        assert one.regret == pytest.approx(1 - one.chosen_score / one.best_score)
        assert 0 <= one.regret < 1
    assert "prototypes over patches" in {one.method for one in answer.few_labels}
    assert {one.kind for one in answer.pairs} >= {OURS, KIND_READOUT, MFCC_SCALED}
    # The readout for individuals is kept, and taken again.
    kept = next((copied / "embeddings").rglob(INDIVIDUAL))
    before = kept.stat().st_mtime_ns
    steps.evaluate([labels], copied, questions=["individual"])
    assert kept.stat().st_mtime_ns == before


def test_a_recording_encoded_again_is_named(archive, labels, copied):
    evaluation = steps.evaluate([labels], copied, questions=["species", "individual"]).evaluation
    original = first_recording(archive)
    found = [one for one in evaluation.findings if COPY in one and original in one]
    assert found
    assert any("individual is" in one for one in found)
    assert {answer.question for answer in evaluation.answers} == {"species", "individual"}
    for answer in evaluation.answers:
        assert set(answer.kinds) == set(KINDS)
        assert answer.sound_types.n_items > 20
    layers = evaluation.layers
    assert layers.layers == [0, 1, 2]
    assert {one.family for one in layers.scores} >= {"spectral", "temporal", "label"}
    centroid = next(one for one in layers.scores if one.name == "centroid_hz")
    assert centroid.is_read
    assert len(centroid.scores) == len(layers.geometry) == 3
    assert "claim" in layers.verdict


# The step


def test_the_report_holds_what_is_returned(labels, copied):
    told = []
    assert "evaluate" not in steps.status(copied).stages  # not everybody has labels
    report = steps.evaluate(
        [labels],
        copied,
        questions=["call_type"],
        groups=["individual"],
        progress=lambda *what: told.append(what),
    )
    numbers = json.loads((copied / "reports" / NUMBERS).read_text(encoding="utf-8"))
    (answer,) = numbers["answers"]
    assert answer["question"] == "call_type"
    assert answer["kinds"][OURS]["mean_average_precision"] == pytest.approx(
        report.evaluation.answers[0].kinds[OURS].mean_average_precision
    )
    assert "species" in numbers["not_evaluated"]
    assert {step for step, *_ in told} == {"features", "evaluate"}
    assert steps.status(copied).stages["evaluate"] == "done"
    with Workspace(copied).catalogue() as catalogue:
        assert catalogue.stage("evaluate").fingerprint == evaluation_fingerprint(catalogue)
        embedded = catalogue.stage("embed")
        catalogue.drop_stage("cluster")
        assert steps.status(copied).stages["evaluate"] == "done"  # it does without sound types
        catalogue.set_stage("embed", replace(embedded, fingerprint="of other settings"))
        assert steps.status(copied).stages["evaluate"] == "stale"
        catalogue.set_stage("embed", embedded)
    # What was said is kept: it can be asked again without the tables.
    again = steps.evaluate([], copied, questions=["call_type"], groups=["individual"])
    assert again.evaluation == replace(report.evaluation, problems=again.evaluation.problems)


def test_the_order_of_the_rows_changes_nothing(labels, copied, tmp_path):
    header, *rows = labels.read_text(encoding="utf-8").splitlines()
    found = []
    for number, some in enumerate((rows, rows[::-1])):
        folder = shutil.copytree(copied, tmp_path / f"{number}.oscine")
        table = tmp_path / f"{number}.csv"
        table.write_text("\n".join([header, *some]) + "\n", encoding="utf-8")
        found.append(steps.evaluate([table], folder, questions=["call_type"]).evaluation)
    assert found[0] == found[1]


def test_columns_must_be_named_and_known(labels, copied):
    with pytest.raises(ValueError, match="name the columns to evaluate with --labels"):
        steps.evaluate([labels], copied)
    with pytest.raises(ValueError, match="there is no column 'sex'"):
        steps.evaluate([labels], copied, questions=["sex"])


def test_vectors_of_another_model_are_refused(labels, copied):
    steps.pretrain(copied, steps=6, fresh=True)
    with pytest.raises(ValueError, match="run `oscine embed` again"):
        steps.evaluate([labels], copied, questions=["species"])
    steps.embed(copied)
    assert steps.evaluate([labels], copied, questions=["species"]).evaluation.n_items


def test_audacity_labels_need_no_column(archive, labels, copied, tmp_path):
    steps.evaluate([labels], copied, questions=["site"])
    recording = first_recording(archive)
    stem = recording.rpartition("/")[2].rpartition(".")[0]
    (tmp_path / f"{stem}.txt").write_text("0.5\t1.0\tcaw\n2.0\t2.5\tcaw\n4.0\t4.6\trattle\n")
    evaluation = steps.evaluate([tmp_path / f"{stem}.txt"], copied).evaluation
    assert evaluation.n_items == 3
    assert evaluation.answers[0].question == "label"
    assert evaluation.answers[0].problems


def test_labels_cannot_touch_what_is_learned(archive, labels, learned, tmp_path):
    """The same bytes of weights, vectors and sound types, whatever labels.sqlite holds."""
    shuffled = tmp_path / "shuffled.csv"
    header, *rows = labels.read_text(encoding="utf-8").splitlines()
    names = [row.split(",", 3) for row in rows]
    order = np.random.default_rng(0).permutation(len(rows))
    lines = [",".join([*names[n][:3], names[m][3]]) for n, m in enumerate(order)]
    shuffled.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    for number, table in enumerate((labels, shuffled)):
        folder = tmp_path / f"{number}.oscine"
        steps.index([archive], folder, workers=1, settings=tiny.SETTINGS)
        shutil.copytree(learned, tmp_path / f"labels-{number}")
        steps.evaluate([table], tmp_path / f"labels-{number}", questions=["species"])
        shutil.copy(tmp_path / f"labels-{number}" / "labels.sqlite", folder)
        steps.learn([archive], folder, **LEARN)
        assert what_was_learned(folder) == what_was_learned(learned)


def what_was_learned(folder):
    workspace = Workspace(folder)
    with workspace.catalogue() as catalogue:
        rows = catalogue.sound_types()
    files = [
        *sorted((folder / "runs").rglob("weights.safetensors")),
        *sorted((folder / "embeddings").rglob("*.*")),
    ]
    assert len(files) > 2
    return rows, [(file.relative_to(folder), file.read_bytes()) for file in files]
