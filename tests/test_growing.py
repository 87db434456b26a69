"""An archive that changes between two passes: only what changed is read, and nothing dangles."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oscine import steps
from oscine.config import OscineConfig, WrongArgument
from oscine.picture import indexing
from oscine.picture.indexing import index_archive
from oscine.picture.tape import Tape, tape_fingerprint
from oscine.picture.workers import draw_one
from oscine.sound.archive import Found
from oscine.sound.changes import changes_since
from oscine.workspace import Workspace
from oscine.workspace.catalogue import FileRow

CONFIG = OscineConfig()


def write_call(file, seed):
    """Write a second of noise with a call in it: other sound for every seed."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 1e-3, 32_000)
    start = int(rng.integers(8_000, 16_000))
    samples[start : start + 4_000] += 0.3 * np.sin(0.2 * (1 + seed % 7) * np.arange(4_000))
    file.parent.mkdir(exist_ok=True)
    soundfile.write(file, samples, 32_000)


@pytest.fixture
def here(monkeypatch):
    """Draw in this process, and count what is drawn."""
    drawn = []

    def draw_in_order(tasks, known, folder, picture, activity, n_workers):
        for task in tasks:
            outcome = draw_one(task, known, picture, activity)
            if outcome.drawn is not None:
                drawn.append(task.file.name)
            yield outcome

    monkeypatch.setattr(indexing, "draw_in_order", draw_in_order)
    return drawn


class Archive:
    """A folder of recordings, and a workspace that follows it."""

    def __init__(self, folder):
        self.folder = folder / "archive"
        self.folder.mkdir()
        self.workspace = Workspace(folder / "crows.oscine", create=True)
        self.clock_s = 1_700_000_000

    def write(self, name, seed):
        write_call(self.folder / name, seed)
        self.touch(name)

    def touch(self, name):
        self.clock_s += 10
        os.utime(self.folder / name, (self.clock_s, self.clock_s))

    def index(self):
        return index_archive(
            self.workspace, [self.folder], CONFIG.picture, CONFIG.activity, CONFIG.clock, workers=1
        )

    def contents(self, workspace=None):
        """Return what is present: state, content, events and frames, whatever the numbers."""
        workspace = workspace or self.workspace
        tape_folder = workspace.tape(tape_fingerprint(CONFIG.picture, CONFIG.activity))
        with workspace.catalogue() as catalogue:
            tape = Tape(tape_folder, CONFIG.picture, catalogue.tape_rows())
            events = catalogue.events()
            windows = catalogue.windows()
            return {
                row.path: (
                    row.state,
                    row.content_hash,
                    tape.log_mel(row.tape_row, row.tape_row + row.n_frames).tobytes(),
                    [
                        (one.start_sample, one.stop_sample, one.low_hz, one.high_hz, one.level_db)
                        for one in events
                        if one.recording_id == row.recording_id
                    ],
                    [one.start_frame for one in windows if one.recording_id == row.recording_id],
                )
                for row in catalogue.recordings()
            }

    def fresh(self, folder):
        """Return the contents of a workspace that sees the archive for the first time."""
        other = Workspace(folder, create=True)
        index_archive(
            other, [self.folder], CONFIG.picture, CONFIG.activity, CONFIG.clock, workers=1
        )
        return self.contents(other)


@pytest.fixture
def archive(tmp_path):
    made = Archive(tmp_path)
    for number, name in enumerate(["a.wav", "b.wav", "sub/c.wav"]):
        made.write(name, number)
    return made


def test_a_second_pass_reads_nothing(archive, here):
    first = archive.index()
    assert (first.n_new, here) == (3, ["a.wav", "b.wav", "c.wav"])
    before = archive.contents()
    again = archive.index()
    assert (again.n_new, again.n_changed, again.n_moved, again.n_gone) == (0, 0, 0, 0)
    assert len(here) == 3
    assert archive.contents() == before


def test_only_what_is_new_or_changed_is_drawn(archive, here):
    archive.index()
    del here[:]
    archive.write("b.wav", 10)
    archive.write("d.wav", 11)
    report = archive.index()
    assert (report.n_new, report.n_changed, here) == (1, 1, ["b.wav", "d.wav"])


def test_a_file_that_moves_keeps_its_numbers(archive, here):
    archive.index()
    with archive.workspace.catalogue() as catalogue:
        before = {row.path: row.recording_id for row in catalogue.recordings()}
    del here[:]
    shutil.move(archive.folder / "a.wav", archive.folder / "z.wav")
    report = archive.index()
    assert (report.n_moved, report.n_gone, report.n_new, here) == (1, 0, 0, [])
    with archive.workspace.catalogue() as catalogue:
        after = {row.path: row.recording_id for row in catalogue.recordings()}
    assert after["z.wav"] == before["a.wav"]
    assert "a.wav" not in after


def test_a_file_written_again_with_the_same_content_is_not_drawn(archive, here):
    archive.index()
    del here[:]
    archive.touch("a.wav")
    report = archive.index()
    assert (report.n_changed, report.n_moved, here) == (0, 0, [])
    assert archive.index().n_changed == 0


def test_what_goes_away_is_retired_and_comes_back_undrawn(archive, here):
    archive.index()
    before = archive.contents()
    aside = archive.folder.parent / "aside.wav"
    shutil.move(archive.folder / "b.wav", aside)
    assert archive.index().n_gone == 1
    assert archive.contents() == {path: one for path, one in before.items() if path != "b.wav"}
    del here[:]
    shutil.move(aside, archive.folder / "b.wav")
    report = archive.index()
    assert (report.n_new, report.n_gone, here) == (0, 0, [])
    assert archive.contents() == before


def test_a_duplicate_takes_the_place_of_a_file_that_is_gone(archive, here):
    shutil.copy2(archive.folder / "a.wav", archive.folder / "twin.wav")
    archive.index()
    whole = archive.contents()["a.wav"]
    assert archive.contents()["twin.wav"][0] == "duplicate"
    (skipped,) = steps.status(archive.workspace.folder).skipped
    assert skipped == ("twin.wav", "duplicate", "the same bytes as a.wav")
    del here[:]
    (archive.folder / "a.wav").unlink()
    archive.index()
    assert archive.contents()["twin.wav"] == whole
    assert here == []


def test_two_files_that_swap_their_names(archive, here):
    archive.index()
    before = archive.contents()
    del here[:]
    shutil.move(archive.folder / "a.wav", archive.folder / "x")
    shutil.move(archive.folder / "b.wav", archive.folder / "a.wav")
    shutil.move(archive.folder / "x", archive.folder / "b.wav")
    for name in ("a.wav", "b.wav"):
        archive.touch(name)
    archive.index()
    after = archive.contents()
    assert (after["a.wav"], after["b.wav"]) == (before["b.wav"], before["a.wav"])
    assert here == []


def test_a_folder_that_is_not_asked_about_is_left_alone(archive, here, tmp_path):
    other = tmp_path / "other"
    write_call(other / "o.wav", 20)
    index_archive(
        archive.workspace,
        [archive.folder, other],
        CONFIG.picture,
        CONFIG.activity,
        CONFIG.clock,
        workers=1,
    )
    shutil.rmtree(other)
    assert archive.index().n_gone == 0
    assert "o.wav" in archive.contents()


def test_a_file_that_could_not_be_read_is_tried_again(archive, here, monkeypatch):
    broken = archive.folder / "b.wav"
    real = indexing.draw_in_order

    def unreadable(tasks, *others):
        for task, outcome in zip(tasks, real(tasks, *others), strict=True):
            if task.file == broken:
                lost = indexing.not_drawn("cannot be opened: Input/output error")
                yield replace(outcome, content_hash="", drawn=lost)
            else:
                yield outcome

    monkeypatch.setattr(indexing, "draw_in_order", unreadable)
    archive.index()
    assert archive.contents()["b.wav"][0] == "unreadable"
    monkeypatch.setattr(indexing, "draw_in_order", real)
    report = archive.index()
    assert report.n_changed == 1
    assert archive.contents()["b.wav"][0] == "whole"


NAMES = ["a.wav", "b.wav", "sub/c.wav", "d.wav", "sub/e.wav"]
ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 3)),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("copy"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("touch"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("index"), st.none(), st.none()),
)


def apply(archive, action, name, other):
    file = archive.folder / (name or "")
    if action == "index":
        archive.index()
    elif action == "write":
        archive.write(name, other)
    elif file.exists() and action == "touch":
        archive.touch(name)
    elif file.exists() and action == "remove":
        file.unlink()
    elif file.exists() and name != other:
        (archive.folder / other).parent.mkdir(exist_ok=True)
        (shutil.move if action == "move" else shutil.copy2)(file, archive.folder / other)


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(ACTIONS, max_size=12))
def test_whatever_happens_the_catalogue_ends_as_if_it_were_new(here, tmp_path_factory, actions):
    folder = tmp_path_factory.mktemp("growing")
    archive = Archive(folder)
    for action in [*actions, ("index", None, None)]:
        apply(archive, *action)
    grown, fresh = archive.contents(), archive.fresh(folder / "fresh.oscine")

    def heard(contents):
        """Return what is heard, by content, and under which names files of that content lie."""
        return (
            {one[1]: one[2:] for one in contents.values() if one[0] != "duplicate"},
            {path: one[1] for path, one in contents.items()},
        )

    assert heard(grown) == heard(fresh)
    # One of each content is heard, the others are its duplicates.
    states = sorted(one[:2] for one in grown.values())
    assert states == sorted(one[:2] for one in fresh.values())


# When and where.


def clocks_of(archive):
    with archive.workspace.catalogue() as catalogue:
        return {
            row.path: (row.started_ms, row.utc_offset_min, row.zone, row.site)
            for row in catalogue.recordings()
        }


def told(archive, **clock):
    """Index by the command of a person, drawing in this process, and return the status."""
    settings = [f"clock.{name}={value}" for name, value in clock.items()]
    steps.index([archive.folder], archive.workspace.folder, workers=1, settings=settings)
    return steps.status(archive.workspace.folder)


def test_times_are_told_again_when_the_zone_is_given(archive, here):
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        (archive.folder / name).unlink()
    archive.write("north/R1_20240331_013000.wav", 1)  # never occurs in London
    archive.write("north/R1_20240701_120000.wav", 2)
    archive.write("south/R1_20241027_013000.wav", 3)  # occurs twice in London
    status = told(archive)
    assert status.times == {"unknown": 3}
    assert "files state a time without a zone: give it with --timezone (3 files)" in (
        status.clock_findings
    )
    del here[:]
    status = told(archive, timezone="Europe/London", site_from="{site}/*")
    assert here == []  # only what the files say was needed
    assert status.times == {"Europe/London (given)": 1, "unknown": 2}
    assert status.sites == {"north": 2, "south": 1}
    said = " ".join(status.clock_findings)
    assert "2024-03-31 01:30:00 never occurs in Europe/London" in said
    assert "2024-10-27 01:30:00 occurs twice in Europe/London" in said
    noon_ms = 1_719_831_600_000  # 11:00 UTC
    assert clocks_of(archive)["north/R1_20240701_120000.wav"][:2] == (noon_ms, 60)
    with archive.workspace.catalogue() as catalogue:
        rows, times = catalogue.events(), catalogue.event_times()
        (found,) = [row for row in catalogue.recordings() if row.started_ms]
    events = [row for row in rows if row.recording_id == found.recording_id]
    assert events
    for row in events:
        assert times[row.event_id] == noon_ms + round(row.start_sample / 32)
    assert sum(time is None for time in times.values()) == len(rows) - len(events)
    assert told(archive).times == status.times  # what was given holds


def test_a_first_pass_that_was_stopped_goes_on_in_another_zone(archive, here, monkeypatch):
    archive.write("R_20240701_120000.wav", 1)
    archive.write("z.wav", 9)
    monkeypatch.setattr(indexing, "FILES_AT_ONCE", 1)
    true = indexing.draw_in_order

    def stopped(tasks, *others):
        yield from list(true(tasks, *others))[:-1]
        raise KeyboardInterrupt

    monkeypatch.setattr(indexing, "draw_in_order", stopped)
    with pytest.raises(KeyboardInterrupt):
        told(archive, timezone="UTC+2")
    assert steps.status(archive.workspace.folder).stages["index"] == "begun"
    monkeypatch.setattr(indexing, "draw_in_order", true)
    told(archive, timezone="UTC")
    assert clocks_of(archive)["R_20240701_120000.wav"][:2] == (1_719_835_200_000, 0)


def test_a_file_that_moves_is_told_time_and_place_by_its_new_name(archive, here):
    told(archive, timezone="UTC+2", site_from="{site}/*")
    shutil.move(archive.folder / "a.wav", archive.folder / "sub" / "R_20240701_120000.wav")
    del here[:]
    told(archive)
    assert here == []
    assert clocks_of(archive)["sub/R_20240701_120000.wav"] == (
        1_719_828_000_000,
        120,
        "UTC+2 (given)",
        "sub",
    )


@pytest.mark.parametrize(("pattern", "what"), [("{site}/*", "site"), ("{recorder}/*", "recorder")])
def test_recordings_that_the_pattern_for_sites_does_not_fit_are_counted(
    archive, here, tmp_path, pattern, what
):
    def said(*paths):
        (note,) = steps.status(archive.workspace.folder).notes
        assert note == index_here(archive).notes[-1]
        start = f"{_n(len(paths))} below {archive.folder} without {what} by path: --site-from"
        others = " and others" if len(paths) > 1 else ""
        assert note.startswith(f"{start} {pattern!r} does not fit {paths[0]}{others}; index the")

    def _n(count):
        return "1 recording" if count == 1 else f"{count} recordings"

    told(archive, site_from=pattern)
    said("a.wav", "b.wav")
    (archive.folder / "north").mkdir()
    for name in ("a.wav", "b.wav"):
        (archive.folder / name).rename(archive.folder / "north" / name)
    assert index_here(archive).notes == steps.status(archive.workspace.folder).notes == []
    archive.folder = archive.folder.parent  # the same recordings, by the folder above
    (archive.folder / "archive").rename(archive.folder / "moved")
    index_here(archive)
    said("moved/north/a.wav", "moved/north/b.wav", "moved/sub/c.wav")


def test_a_folder_that_is_not_there_is_said(archive, here):
    index_here(archive)
    archive.folder.rename(archive.folder.with_name("spring"))
    (note,) = steps.status(archive.workspace.folder).notes
    assert note.startswith(
        f"the folder {archive.folder} is not there: its 3 recordings cannot be heard; if it moved"
    )
    assert "`oscine index NEWNAME`" in note
    archive.folder = archive.folder.with_name("spring")
    index_here(archive)
    assert steps.status(archive.workspace.folder).notes == []


def test_a_duplicate_that_steps_in_brings_its_own_name_and_place(archive, here):
    (archive.folder / "west").mkdir()
    shutil.copy2(archive.folder / "sub/c.wav", archive.folder / "west/R_20240701_120000.wav")
    told(archive, timezone="UTC", site_from="{site}/*")
    (archive.folder / "sub/c.wav").unlink()
    told(archive)
    assert clocks_of(archive)["west/R_20240701_120000.wav"][3] == "west"
    assert clocks_of(archive)["west/R_20240701_120000.wav"][0] == 1_719_835_200_000


@pytest.mark.parametrize("clock", [{"timezone": "Londn"}, {"site_from": "{site"}])
def test_a_zone_or_pattern_that_cannot_be_used_is_refused_before_anything_is_read(
    archive, here, clock
):
    with pytest.raises(WrongArgument, match=r"clock\.timezone or clock\.site_from"):
        told(archive, **clock)
    assert here == []


def test_what_is_refused_for_its_clock_is_not_kept(tmp_path):
    """It would be refused again when it is not typed any more."""
    (tmp_path / "archive").mkdir()
    soundfile.write(
        tmp_path / "archive" / "a.wav", np.random.default_rng(0).normal(0, 0.1, 32_000), 32_000
    )
    folder = tmp_path / "new.oscine"
    for wrong in (["clock.timezone=Europe/Berlln"], ["clock.site_from=site/*"]):
        with pytest.raises(WrongArgument, match=r"clock\.timezone or clock\.site_from"):
            steps.index([tmp_path / "archive"], folder, workers=1, settings=wrong)
        assert not (folder / "oscine.toml").exists()
    steps.index([tmp_path / "archive"], folder, workers=1)
    file = Workspace(folder).config_file
    by_hand = file.read_text().replace('timezone = ""', 'timezone = "Londn"')
    file.write_text(by_hand)
    assert steps.status(folder).files == 1
    with pytest.raises(WrongArgument, match="did you mean Europe/London"):
        steps.index([tmp_path / "archive"], folder, workers=1)
    assert file.read_text() == by_hand


# The comparison itself.


def row(number, path, root="/cards", n_bytes=1, modified_s=1.0, content="x", present=True):
    return FileRow(number, root, path, n_bytes, modified_s, content, "whole", 1, 9, 9, present)


def listed(path, root="/cards", n_bytes=1, modified_s=1.0):
    return Found(root=Path(root), path=path, n_bytes=n_bytes, modified_s=modified_s)


def test_what_lies_where_nobody_could_look_is_not_gone(tmp_path):
    root = str(tmp_path)
    rows = [row(1, "a/1.wav", root), row(2, "b/2.wav", root), row(3, "bc/3.wav", root)]
    found = changes_since(rows, [], [tmp_path], [f"{root}/b"])
    assert [one.path for one in found.gone] == ["a/1.wav", "bc/3.wav"]


def test_of_a_file_that_was_named_only_that_file_can_be_gone(tmp_path):
    root = str(tmp_path)
    rows = [row(1, "1.wav", root), row(2, "2.wav", root)]
    found = changes_since(rows, [], [tmp_path / "1.wav"], [])
    assert [one.path for one in found.gone] == ["1.wav"]


@pytest.mark.parametrize("change", [{"n_bytes": 2}, {"modified_s": 2.0}, {"content": ""}])
def test_what_is_not_as_it_was_is_read(change, tmp_path):
    root = str(tmp_path)
    one = listed("1.wav", root)
    assert changes_since([row(1, "1.wav", root)], [one], [tmp_path]).unread == []
    assert changes_since([row(1, "1.wav", root, **change)], [one], [tmp_path]).unread == [one]


# Vectors and sound types.


def test_learning_goes_on_with_an_archive_that_changed(tmp_path):
    made = tmp_path / "made"
    steps.synth(made, steps_config())
    archive, folder = tmp_path / "archive", tmp_path / "crows.oscine"
    files = sorted(made.rglob("*.flac"))
    archive.mkdir()
    for file in files[:-1]:
        shutil.copy(file, archive / file.name)
    options = {"steps": 10, "workers": 1, "settings": tiny.SETTINGS}
    steps.learn([archive], folder, **options)
    vectors, events = Workspace(folder).vectors()
    old = {event.event_id: vector for event, vector in zip(events, vectors, strict=True)}

    gone = archive / files[0].name
    lost = gone.read_bytes()
    gone.unlink()
    shutil.copy(files[-1], archive / files[-1].name)
    assert steps.index([archive], folder, workers=1).gone_files == 1
    assert steps.status(folder).stages["embed"] == "stale"
    steps.learn([archive], folder, **options)
    assert steps.status(folder).stages["embed"] == "done"
    vectors, events = Workspace(folder).vectors()
    kept = [event.event_id for event in events if event.event_id in old]
    assert 0 < len(kept) < min(len(old), len(events))
    for event, vector in zip(events, vectors, strict=True):
        if event.event_id in old:
            assert np.array_equal(vector, old[event.event_id])
    with Workspace(folder).catalogue() as catalogue:
        types = {one.event_id for one in catalogue.sound_types()}
    assert types == {event.event_id for event in events}

    gone.write_bytes(lost)
    assert steps.index([archive], folder, workers=1).new_files == 0
    steps.learn([archive], folder, **options)
    vectors, events = Workspace(folder).vectors()
    assert set(old) < {event.event_id for event in events}
    for event, vector in zip(events, vectors, strict=True):
        if event.event_id in old:
            assert np.array_equal(vector, old[event.event_id])


def steps_config():
    from oscine.synth import SynthConfig

    return SynthConfig(minutes=1, recording_s=10)


# An archive whose folder gets another name.


def everything(archive):
    """Return all rows of the catalogue but where files lie."""
    with archive.workspace.catalogue() as catalogue:
        recordings = [replace(row, root="") for row in catalogue.recordings()]
        rows = recordings, catalogue.events(), catalogue.windows(), catalogue.tape_rows()
        return rows, clocks_of(archive)


def roots(archive):
    with archive.workspace.catalogue() as catalogue:
        return catalogue.roots()


def index_here(archive):
    return steps.index([archive.folder], archive.workspace.folder, workers=1)


def rename(archive, name):
    """Give the folder another name, and return the one it had."""
    old = archive.folder
    archive.folder = old.rename(old.with_name(name))
    return str(old)


def test_a_renamed_archive_is_followed(archive, here):
    (archive.folder / "text.wav").write_text("not a sound\n")
    index_here(archive)
    before = everything(archive)
    with archive.workspace.catalogue() as catalogue:
        archive_before = catalogue.stage("index").fingerprint
    del here[:]
    old = rename(archive, "archive2")
    report = index_here(archive)
    assert report.notes == [f"3 recordings moved from {old}"]
    assert (report.files, report.moved_files, report.gone_files) == (4, 3, 0)
    assert report.states == {"whole": 3, "unreadable": 1}
    assert set(here) <= {"text.wav"}
    assert roots(archive) == [str(archive.folder)]
    (recordings, *rows), clocks = everything(archive)
    (were, *rows_before), clocks_before = before
    heard = [row for row in recordings if row.n_frames]
    assert heard == [row for row in were if row.n_frames]
    assert (rows, clocks) == (rows_before, clocks_before)
    with archive.workspace.catalogue() as catalogue:
        assert catalogue.stage("index").fingerprint == archive_before
    assert index_here(archive).notes == []


def test_copies_in_a_renamed_archive_keep_their_parts(archive, here):
    shutil.copy2(archive.folder / "b.wav", archive.folder / "0.wav")
    index_here(archive)
    archive.write("0a.wav", 5)
    index_here(archive)
    shutil.copy2(archive.folder / "0a.wav", archive.folder / "00.wav")  # listed first, heard last
    index_here(archive)
    before, n_drawn = archive.contents(), len(here)
    rename(archive, "archive2")
    report = index_here(archive)
    assert (report.new_files, report.moved_files) == (2, 4)
    assert archive.contents() == before
    assert len(here) == n_drawn
    assert roots(archive) == [str(archive.folder)]


def test_a_copied_archive_is_no_moved_one_until_the_first_is_gone(archive, here):
    index_here(archive)
    before = everything(archive)
    old = archive.folder
    archive.folder = old.with_name("copy")
    shutil.copytree(old, archive.folder)
    report = index_here(archive)
    assert (report.moved_files, report.states["duplicate"], report.notes) == (0, 3, [])
    assert [reason for _, _, reason in report.skipped] == [
        f"the same bytes as {path} in {old}" for path, _, _ in report.skipped
    ]
    assert [line.partition(", ")[0] for line in report.copies] == [
        f"3 files of {archive.folder}: copies of recordings in {old}"
    ]
    shutil.rmtree(old)
    report = index_here(archive)
    assert (report.moved_files, report.new_files) == (3, 0)
    assert report.states == {"whole": 3}
    assert everything(archive) == before


def test_a_part_of_an_archive_that_moved_is_followed(archive, here):
    index_here(archive)
    before = archive.contents()
    del here[:]
    old = archive.folder
    archive.folder = old.with_name("south")
    (old / "sub").rename(archive.folder)
    report = index_here(archive)
    assert report.notes == [f"1 recording moved from {old}"]
    assert (report.files, report.gone_files, here) == (3, 0, [])
    assert roots(archive) == [str(old), str(archive.folder)]
    assert archive.contents() == {
        path.removeprefix("sub/"): content for path, content in before.items()
    }


def test_an_archive_named_by_the_folder_above_or_below_is_the_same(archive, here):
    shutil.copy2(archive.folder / "sub/c.wav", archive.folder / "sub/twin.wav")
    (archive.folder / "sub/text.wav").write_text("not a sound\n")
    told(archive, site_from="{site}/*")
    before = everything(archive)
    del here[:]
    whole = archive.folder
    archive.folder = whole / "sub"
    report = index_here(archive)
    assert (report.files, report.moved_files, report.states["duplicate"]) == (5, 1, 1)
    assert report.notes[0] == f"1 recording moved from {whole}"
    assert steps.status(archive.workspace.folder).sites == {}
    archive.folder = whole  # as the note on sites says
    report = index_here(archive)
    assert (report.files, report.moved_files, report.states["duplicate"]) == (5, 1, 1)
    assert steps.status(archive.workspace.folder).sites == {"sub": 1}
    assert roots(archive) == [str(whole)]
    assert everything(archive)[0][1:] == before[0][1:]
    assert clocks_of(archive) == before[1]
    assert set(here) <= {"text.wav"}


def test_a_folder_that_may_not_be_looked_into_is_not_gone(archive, here, monkeypatch):
    index_here(archive)
    old = rename(archive, "archive2")
    stat = Path.stat

    def closed(path, **more):
        if path.is_relative_to(old):
            raise PermissionError(13, "Permission denied")
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", closed)
    assert index_here(archive).moved_files == 0
    monkeypatch.setattr(Path, "stat", stat)
    assert index_here(archive).moved_files == 3


def test_a_move_that_is_stopped_goes_on(archive, here, monkeypatch):
    index_here(archive)
    before = everything(archive)
    rename(archive, "archive2")

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stops:
        stops.setattr(indexing, "_settle_duplicates", stopped)
        with pytest.raises(KeyboardInterrupt):
            index_here(archive)
    report = index_here(archive)
    assert report.moved_files == 3
    assert everything(archive) == before
