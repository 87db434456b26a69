"""Arrays on disk, the catalogue, and the folder that holds them."""

import os
import re
import shutil
import sqlite3
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rights import files_of_at_most, write_protected

from oscine.config import WrongArgument
from oscine.workspace import Catalogue, Workspace
from oscine.workspace.arrays import (
    DISK_FULL,
    ArrayReader,
    ArrayWriter,
    NewFile,
    load_described,
    save_described,
)
from oscine.workspace.catalogue import (
    EventRow,
    Placed,
    RecordingRow,
    SoundTypeRow,
    Stage,
    WindowRow,
)

# Arrays

ROW_SHAPES = st.sampled_from([(), (1,), (3,), (2, 2)])
DTYPES = st.sampled_from([np.dtype(np.uint8), np.dtype(np.float32)])


def rows_of(n_rows, row_shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n_rows, *row_shape)).astype(dtype)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 7), ROW_SHAPES, DTYPES, st.data())
def test_rows_come_back_as_they_were_appended(
    tmp_path_factory, portions, rows_per_shard, row_shape, dtype, data
):
    folder = tmp_path_factory.mktemp("array")
    expected = rows_of(sum(portions), row_shape, dtype)
    writer = ArrayWriter(folder, dtype, row_shape, 0, rows_per_shard)
    for portion in np.split(expected, np.cumsum(portions)[:-1]) if portions else []:
        writer.append(portion)
    assert writer.n_rows == len(expected)

    # A writer that died before the catalogue counted its last rows, and one that goes on.
    n_committed = data.draw(st.integers(0, len(expected)))
    new = rows_of(data.draw(st.integers(0, 9)), row_shape, dtype, seed=1)
    writer = ArrayWriter(folder, dtype, row_shape, n_committed, rows_per_shard)
    writer.append(new)
    expected = np.concatenate([expected[:n_committed], new])

    n_bytes = sum(file.stat().st_size for file in folder.iterdir())
    assert n_bytes == expected.nbytes
    reader = ArrayReader(folder, dtype, row_shape, len(expected), rows_per_shard)
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(expected))] * 2)))
    read = reader.rows(start, stop)
    assert (read.dtype, read.shape) == (dtype, (stop - start, *row_shape))
    assert np.array_equal(read, expected[start:stop])


def test_a_writer_removes_every_shard_beyond_its_rows(tmp_path):
    dtype = np.dtype(np.uint8)
    ArrayWriter(tmp_path, dtype, (), 0, 4).append(np.zeros(12))
    (tmp_path / "00001.bin").unlink()  # as when the cutting itself was interrupted
    writer = ArrayWriter(tmp_path, dtype, (), 2, 4)
    writer.append(np.full(10, 7))
    rows = ArrayReader(tmp_path, dtype, (), 12, 4).rows(0, 12)
    assert rows.tolist() == [0, 0] + 10 * [7]


def test_append_file_is_append_of_what_it_holds(tmp_path):
    rows = rows_of(70_000, (2,), np.uint8)  # more than it reads at once
    (tmp_path / "part").write_bytes(rows.tobytes())
    writer = ArrayWriter(tmp_path / "array", np.dtype(np.uint8), (2,), 0, rows_per_shard=30_000)
    writer.append(rows[:5])
    writer.append_file(tmp_path / "part")
    writer.flush()
    reader = ArrayReader(tmp_path / "array", np.dtype(np.uint8), (2,), 70_005, 30_000)
    assert np.array_equal(reader.rows(0, 70_005), np.concatenate([rows[:5], rows]))


@pytest.mark.parametrize("kind", [ArrayWriter, ArrayReader])
@pytest.mark.parametrize(("shard", "n_bytes"), [(0, 15), (1, 7), (1, None)])
def test_files_shorter_than_the_catalogue_says_are_refused(tmp_path, kind, shard, n_bytes):
    ArrayWriter(tmp_path, np.dtype(np.float32), (), 0, 4).append(np.arange(6))
    file = tmp_path / f"0000{shard}.bin"
    if n_bytes is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match="missing or shorter than the catalogue says") as caught:
        kind(tmp_path, np.dtype(np.float32), (), 6, 4)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 7)])
def test_rows_beyond_the_array_are_refused(tmp_path, start, stop):
    ArrayWriter(tmp_path, np.dtype(np.uint8), (), 0).append(np.arange(6))
    with pytest.raises(IndexError, match="of an array of 6"):
        ArrayReader(tmp_path, np.dtype(np.uint8), (), 6).rows(start, stop)


def test_rows_within_a_shard_are_a_read_only_map(tmp_path):
    ArrayWriter(tmp_path, np.dtype(np.uint8), (), 0, 4).append(np.arange(6))
    rows = ArrayReader(tmp_path, np.dtype(np.uint8), (), 6, 4).rows(1, 3)
    assert isinstance(rows, np.memmap)
    assert not rows.flags.writeable


def test_a_new_file_appears_whole_or_not_at_all(tmp_path):
    file = tmp_path / "reports" / "learn.json"
    with NewFile(file) as temporary:
        temporary.write_text("first")
        assert not file.exists()
    with suppress(RuntimeError), NewFile(file) as temporary:
        temporary.write_text("sec")
        raise RuntimeError
    assert file.read_text() == "first"
    assert list(file.parent.iterdir()) == [file]


def test_a_new_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, true_sync, true_replace = [], os.fsync, os.replace

    def sync(number):
        done.append(os.fstat(number).st_size)
        true_sync(number)

    def rename(*names):
        done.append(names)
        true_replace(*names)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    with NewFile(tmp_path / "run.toml") as temporary:
        temporary.write_text("steps = 9")
    assert done == [9, (temporary, tmp_path / "run.toml")]


@pytest.mark.skipif(sys.platform == "win32", reason="files cannot be limited there")
def test_a_disk_that_is_full_leaves_the_arrays_of_before(tmp_path):
    file = tmp_path / "means.safetensors"
    save_described(file, {"n": 3}, {"mean": np.arange(3)})
    with files_of_at_most(10_000), pytest.raises(OSError, match="safetensors") as full:
        save_described(file, {"n": 4}, {"mean": np.arange(10_000)})
    assert full.value.errno in DISK_FULL
    about, arrays = load_described(file)
    assert (about, arrays["mean"].tolist()) == ({"n": 3}, [0, 1, 2])
    assert list(tmp_path.iterdir()) == [file]


# The catalogue


def recording(recording_id, **changes):
    row = RecordingRow(
        recording_id=recording_id,
        root="/archive",
        path=f"{recording_id}.wav",
        channel=-1,
        n_bytes=1000,
        modified_s=1_700_000_000.123456,
        content_hash=f"{recording_id:032x}",
        state="whole",
        reason="",
        encoding="WAV PCM_16",
        sample_rate_hz=48_000,
        n_channels=2,
        n_samples=96_000,
        n_promised=96_000,
        n_valid_bands=128,
        tape_row=200 * (recording_id - 1),
        n_frames=200,
    )
    return replace(row, **changes)


def event(event_id, recording_id=1):
    return EventRow(
        event_id=event_id,
        recording_id=recording_id,
        start_frame=10,
        stop_frame=30,
        start_sample=4800,
        stop_sample=14_400,
        low_hz=1234.5,
        high_hz=5678.9,
        level_db=21.25,
    )


def window(window_id, recording_id=1):
    return WindowRow(window_id=window_id, recording_id=recording_id, start_frame=0, stop_frame=200)


def sound_type(event_id, cluster=0):
    return SoundTypeRow(event_id=event_id, cluster=cluster, strength=0.5, map_x=1.5, map_y=-2.5)


STAGE = Stage(fingerprint="0123", finished=True, facts={"dimensions": 64, "names": ["a", "ü"]})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "catalogue.sqlite"


@pytest.fixture
def catalogue(file):
    with Catalogue(file) as catalogue:
        yield catalogue


def everything(catalogue):
    return (
        catalogue.recordings(),
        catalogue.events(),
        catalogue.windows(),
        catalogue.sound_types(),
        catalogue.stage("embed"),
    )


def test_rows_come_back_the_same_and_by_number(file):
    recordings, events = (
        [recording(1), recording(2, state="damaged", reason="ü")],
        [event(1), event(2)],
    )
    windows, types = [window(1), window(2, 2)], [sound_type(1), sound_type(2, -1)]
    with Catalogue(file) as catalogue:
        catalogue.add(recordings[::-1], events[::-1], windows[::-1])
        catalogue.set_sound_types(types[::-1], STAGE)
    with Catalogue(file) as catalogue:
        assert everything(catalogue) == (recordings, events, windows, types, None)
        assert catalogue.stage("cluster") == STAGE


def test_recordings_by_state(catalogue):
    rows = [recording(1), recording(2, state="silent"), recording(3, state="damaged")]
    catalogue.add(rows, [], [])
    assert catalogue.recordings(["damaged", "whole"]) == [rows[0], rows[2]]
    assert catalogue.recordings(["unreadable"]) == []
    assert catalogue.recordings([]) == []


def test_what_a_recording_row_knows():
    assert recording(1).duration_s == 2.0
    assert recording(1, sample_rate_hz=0, n_samples=0).duration_s == 0.0
    assert recording(1, channel=1).content_key != recording(1, channel=0).content_key
    assert recording(1, path="a").content_key == recording(1, path="b").content_key


def test_counts_and_whole_tape_rows(catalogue):
    assert catalogue.tape_rows() == 0
    catalogue.add([recording(1), recording(2)], [event(1)], [window(1), window(2), window(3)])
    assert [catalogue.count(table) for table in ("events", "windows")] == [1, 3]
    assert [catalogue.last(table) for table in ("recordings", "events", "windows")] == [2, 1, 3]
    assert catalogue.tape_rows() == 400
    for ask in (catalogue.count, catalogue.last):
        with pytest.raises(ValueError, match="'stages'"):
            ask("stages")


def rows_that_end_in_an_error(row):
    yield row
    raise RuntimeError


@pytest.mark.parametrize(
    ("recordings", "events", "error"),
    [
        ([recording(2), recording(3, path="1.wav")], [event(2, 2)], sqlite3.IntegrityError),
        ([recording(2)], [event(2, 2), event(1, 2)], sqlite3.IntegrityError),
        ([recording(2)], [event(2, 9)], sqlite3.IntegrityError),
        ([recording(2)], rows_that_end_in_an_error(event(2, 2)), RuntimeError),
    ],
    ids=["the same file twice", "a number twice", "an event of no recording", "interrupted"],
)
def test_add_adds_all_or_nothing(catalogue, recordings, events, error):
    catalogue.add([recording(1)], [event(1)], [])
    before = everything(catalogue)
    with pytest.raises(error):
        catalogue.add(recordings, events, [])
    assert everything(catalogue) == before
    catalogue.add([recording(2)], [event(2, 2)], [])  # and it goes on


def test_sound_types_and_their_stage_change_together(catalogue):
    catalogue.add([recording(1)], [event(1), event(2)], [])
    catalogue.set_sound_types([sound_type(1), sound_type(2)], STAGE)
    catalogue.set_sound_types([sound_type(2, 5)], replace(STAGE, fingerprint="4567"))
    assert catalogue.sound_types() == [sound_type(2, 5)]
    with pytest.raises(sqlite3.IntegrityError):
        catalogue.set_sound_types([sound_type(1), sound_type(3)], STAGE)
    assert catalogue.sound_types() == [sound_type(2, 5)]
    stage = catalogue.stage("cluster")
    assert stage is not None
    assert stage.fingerprint == "4567"


def test_stages(catalogue):
    assert catalogue.stage("embed") is None
    catalogue.set_stage("embed", STAGE)
    assert catalogue.stage("embed") == STAGE
    begun = Stage(fingerprint="89ab", finished=False, facts={})
    catalogue.set_stage("embed", begun)
    assert catalogue.stage("embed") == begun
    assert catalogue.stage("cluster") is None


def file_row(catalogue, number):
    (row,) = (row for row in catalogue.files() if row.recording_id == number)
    return row


def test_what_is_retired_is_passed_over_and_keeps_its_numbers(catalogue):
    catalogue.add([recording(1), recording(2)], [event(1), event(2, 2)], [window(1), window(2, 2)])
    catalogue.set_sound_types([sound_type(1), sound_type(2)], STAGE)
    before = everything(catalogue)
    catalogue.add([], [], [], retired=[file_row(catalogue, 1)])
    assert everything(catalogue) == (*(rows[1:] for rows in before[:4]), None)
    assert catalogue.events(with_absent=True) == before[1]
    assert catalogue.windows(with_absent=True) == before[2]
    assert catalogue.recordings(with_absent=True)[0] == replace(before[0][0], is_present=False)
    assert (catalogue.count("events"), catalogue.last("events")) == (1, 2)
    assert catalogue.tape_rows() == 400
    summary = catalogue.summary()
    assert (summary.states, summary.n_absent, summary.heard_s) == ({"whole": 1}, 1, 2.0)


def test_a_file_takes_the_name_of_one_that_was_retired(catalogue):
    catalogue.add([recording(1), recording(2)], [], [])
    first, second = (file_row(catalogue, number) for number in (1, 2))
    moved = Placed(was=first, root=second.root, path=second.path, n_bytes=7, modified_s=8.0)
    with pytest.raises(sqlite3.IntegrityError):
        catalogue.add([], [], [], placed=[moved])
    catalogue.add([], [], [], retired=[first, second], placed=[moved])
    (row,) = catalogue.recordings()
    assert row == replace(recording(1), path=second.path, n_bytes=7, modified_s=8.0)


def test_all_channels_of_a_file_go_and_come_together(catalogue):
    rows = [recording(1, channel=0), recording(2, path=recording(1).path, channel=1)]
    rows[1] = replace(rows[1], content_hash=rows[0].content_hash)
    catalogue.add(rows, [], [])
    (file,) = catalogue.files()
    catalogue.add([], [], [], retired=[file])
    assert catalogue.recordings() == []
    back = Placed(was=file, root="/b", path="c.wav", n_bytes=1, modified_s=2.0)
    catalogue.add([], [], [], placed=[back])
    assert [(row.root, row.path, row.channel) for row in catalogue.recordings()] == [
        ("/b", "c.wav", 0),
        ("/b", "c.wav", 1),
    ]


def test_a_catalogue_of_another_version_is_refused(file):
    Catalogue(file).close()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ValueError, match=r"schema 99.*use a new workspace") as caught:
        Catalogue(file)
    assert str(file) in str(caught.value)


def test_a_database_of_others_is_refused_and_left_alone(file):
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
    connection.close()
    with pytest.raises(ValueError, match="another version"):
        Catalogue(file)
    with sqlite3.connect(file) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert names == [("birds",)]


def test_a_file_that_is_no_database_is_refused(file):
    file.write_text("not a database, but long enough to be looked at: " * 20)
    with pytest.raises(ValueError, match="is not a catalogue that can be read") as caught:
        Catalogue(file)
    assert str(file) in str(caught.value)


# The folder


@pytest.mark.skipif(os.name != "posix", reason="folders are protected in another way there")
def test_where_one_may_not_write_what_another_writes_is_seen(file):
    with Catalogue(file) as writer:
        writer.add([recording(1)], [event(1)], [])
        with write_protected(file.parent), Catalogue(file) as catalogue:
            assert catalogue.events() == [event(1)]
            denied = f"{re.escape(str(file.parent))} may not be written to: ask for permission"
            with pytest.raises(ValueError, match=denied), catalogue as same:
                same.set_stage("index", Stage(fingerprint="", finished=True, facts={}))


@pytest.mark.skipif(os.name != "posix", reason="folders are protected in another way there")
def test_a_log_that_cannot_be_read_without_writing_is_not_passed_over(file, tmp_path):
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    with Catalogue(file) as writer:
        writer.add([recording(1)], [event(1)], [])
        for ending in ("", "-wal"):  # as a process leaves it that was killed, once it is copied
            shutil.copy(f"{file}{ending}", f"{other}{ending}")
    with write_protected(other.parent), pytest.raises(ValueError, match="may not be written to"):
        Catalogue(other)
    with Catalogue(other) as catalogue:
        assert catalogue.events() == [event(1)]


def test_a_workspace_that_is_not_there_is_not_made_unasked(tmp_path):
    with pytest.raises(FileNotFoundError, match="make one with `oscine learn"):
        Workspace(tmp_path / "crows.oscine")
    assert not (tmp_path / "crows.oscine").exists()
    workspace = Workspace(tmp_path / "crows.oscine", create=True)
    workspace.catalogue().close()
    assert Workspace(str(tmp_path / "crows.oscine")).catalogue_file == workspace.catalogue_file


@pytest.mark.parametrize("create", [True, False])
def test_a_file_in_place_of_a_workspace_is_refused(tmp_path, create):
    (tmp_path / "crows.wav").touch()
    with pytest.raises(WrongArgument, match="is a file: name a folder"):
        Workspace(tmp_path / "crows.wav", create=create)


def test_vectors_come_with_their_events(tmp_path):
    workspace = Workspace(tmp_path, create=True)
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    with workspace.catalogue() as catalogue:
        catalogue.add([recording(1), recording(2)], [event(1), event(2, 2), event(3)], [])
        catalogue.set_stage("embed", Stage(fingerprint="", finished=False, facts={}))
    with pytest.raises(ValueError, match="no vectors yet: run `oscine embed`"):
        workspace.vectors()

    folder = workspace.embeddings() / "events"
    ArrayWriter(folder, np.dtype(np.float32), (4,), 0).append(vectors)
    with workspace.catalogue() as catalogue:
        stage = Stage(fingerprint="", finished=True, facts={"dimensions": 4, "events": 3})
        catalogue.set_stage("embed", stage)
    found, events = workspace.vectors()
    assert np.array_equal(found, vectors)
    assert events == [event(1), event(2, 2), event(3)]

    with workspace.catalogue() as catalogue:
        catalogue.add([recording(3)], [event(4, 3)], [])  # not embedded yet
        catalogue.add([], [], [], retired=[file_row(catalogue, 2)])
    found, events = workspace.vectors()
    assert np.array_equal(found, vectors[[0, 2]])
    assert events == [event(1), event(3)]
