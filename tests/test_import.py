"""Labels of people brought back: corrected tables of any form, and which events they speak of."""

import csv
import json
import re
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from handmade import Handmade, noise
from hypothesis import given
from hypothesis import strategies as st

from oscine import steps
from oscine.config import WrongArgument
from oscine.sound.annotations import labels_of_events, match_recordings, read_annotations
from oscine.sound.recording import Interval
from oscine.sound.selections import (
    Selection,
    audacity_lines,
    event_key,
    event_number,
    raven_lines,
)
from oscine.sound.tables import EVENTS, write_csv
from oscine.steps.importing import placed_annotations
from oscine.workspace import Workspace
from oscine.workspace.catalogue import EventRow

RATE_HZ = 48_000


@pytest.fixture
def made(tmp_path):
    """An archive with recordings of one name in two folders, and two channels in one file."""
    made = Handmade(tmp_path / "w.oscine", tmp_path / "archive")
    north = made.recording("north/1.wav", noise(RATE_HZ), RATE_HZ, site="north")
    south = made.recording("south/1.wav", noise(RATE_HZ, seed=1), RATE_HZ, site="=south")
    left = made.recording("two.wav", noise(RATE_HZ, 2, seed=2), RATE_HZ, channel=0)
    right = made.recording("two.wav", noise(RATE_HZ, 2, seed=2), RATE_HZ, channel=1)
    made.event(north, 1_001, 5_003, cluster=0)
    made.event(north, 20_000, 24_000, cluster=1)
    made.event(south, 3_333, 9_999, cluster=0)
    made.event(left, 7, 4_000, low_hz=123.4, cluster=1)
    made.event(right, 9, 4_002, cluster=0)
    made.event(right, 30_000, 31_000)
    made.names = {0: "mésange 'tsi'", 1: "=low"}
    return made


@pytest.fixture
def folder(made):
    return made.write()


def export(folder, to, out, **asked):
    steps.export(folder, to, out, **asked)
    return [out / "events.csv"] if to == "csv" else sorted(out.rglob("*.txt"))


def labelled(folder, column):
    """The label of each event that has one, by number, from what the workspace keeps."""
    from oscine.sound.annotations import LabelBook

    workspace = Workspace(folder)
    with LabelBook(workspace.labels_file) as book, workspace.catalogue() as catalogue:
        matched, _ = placed_annotations(catalogue, book.annotations())
        events = catalogue.events()
    labels = labels_of_events(events, matched, column)
    numbered = zip((event.event_id for event in events), labels, strict=True)
    return {number: label for number, label in numbered if label is not None}


def counted(report, column):
    return {one.label: (one.rows, one.events) for one in report.labels if one.column == column}


# There and back

COLUMNS = {"raven": "Sound Type Name", "audacity": "label", "csv": "sound_type_name"}


@pytest.mark.parametrize(
    ("to", "asked"),
    [("raven", {}), ("raven", {"one_table": True}), ("audacity", {}), ("csv", {})],
)
def test_what_was_exported_comes_back_whole(made, folder, tmp_path, to, asked):
    tables = export(folder, to, tmp_path / "out", **asked)
    with Workspace(folder).catalogue() as catalogue:
        read = [one for table in tables for one in read_annotations(table).annotations]
        matched, _ = placed_annotations(catalogue, read)
    assert matched.problems == ()
    by_event = {one.event_id: one for one in matched.annotations}
    assert sorted(by_event) == [event.event_id for event in made.events]
    for event in made.events:
        one = by_event[event.event_id]
        assert one.recording_id == event.recording_id
        assert one.interval == Interval(
            start=event.start_sample, stop=event.stop_sample, sample_rate_hz=RATE_HZ
        )
        note = one.annotation
        assert (note.low_hz, note.high_hz) == (event.low_hz, event.high_hz)
        assert event_number(note.event) == event.event_id
    report = steps.import_labels(tables, folder)
    assert (report.rows, report.placed, report.problems) == (6, 6, [])
    assert counted(report, COLUMNS[to]) == {"mésange 'tsi'": (3, 3), "=low": (2, 2)}
    assert labelled(folder, COLUMNS[to]) == {
        1: "mésange 'tsi'",
        2: "=low",
        3: "mésange 'tsi'",
        4: "=low",
        5: "mésange 'tsi'",
    }
    (note,) = (one for one in report.notes if one.startswith(COLUMNS[to] + ":"))
    assert "5 of 5 labels of events are those that Oscine wrote" in note


def test_of_an_exported_table_only_what_can_be_a_label_is_one(folder, tmp_path):
    (table,) = export(folder, "csv", tmp_path / "csv")
    assert set(read_annotations(table).columns) == {
        *("site", "recorder", "sound_type", "sound_type_name")
    }
    (table, *_) = export(folder, "raven", tmp_path / "raven")
    assert read_annotations(table).columns == ("Sound Type", "Sound Type Name")
    steps.export(folder, "clips", tmp_path / "clips")
    assert read_annotations(tmp_path / "clips" / "clips.csv").columns == (
        *("sound_type", "sound_type_name"),
    )
    assert steps.import_labels([tmp_path / "clips" / "clips.csv"], folder).placed == 6


def test_a_column_of_vectors_is_no_label(tmp_path):
    from oscine.sound.tables import vector_column

    columns = (*EVENTS, *vector_column(3))
    write_csv(tmp_path / "events.csv", columns, [], 3)
    text = (tmp_path / "events.csv").read_text(encoding="utf-8").replace("\n", ",species\n")
    (tmp_path / "events.csv").write_text(text, encoding="utf-8")
    found = read_annotations(tmp_path / "events.csv").columns
    assert found == ("site", "recorder", "sound_type", "sound_type_name", "species")


LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])
TEXTS = (
    st.text(st.sampled_from("=+-@'\"\t\n\r,;\\ é#") | LETTERS, min_size=1, max_size=12)
    .map(lambda text: unicodedata.normalize("NFC", text).strip())
    .filter(bool)
)


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_any_text_comes_back_from_csv(tmp_path_factory, texts):
    file = tmp_path_factory.getbasetemp() / "events.csv"
    names = [column.name for column in EVENTS]
    empty = dict.fromkeys(names)
    rows = [empty | {"path": f"{text}/1.wav", "site": text, "event": 1} for text in texts]
    write_csv(file, EVENTS, [list(row.values()) for row in rows])
    table = read_annotations(file)
    assert table.problems == ()
    assert [one.labels["site"] for one in table.annotations] == texts
    for one, text in zip(table.annotations, texts, strict=True):
        assert one.path in (f"{text}/1.wav", f"./{text}/1.wav")


NAMES = st.text(st.sampled_from("ab \t\n\r'\"=ü.#"), min_size=1, max_size=6).map("r{}.wav".format)


def test_recordings_whose_names_are_written_alike_do_not_contradict_each_other(tmp_path):
    interval = Interval(start=RATE_HZ, stop=2 * RATE_HZ, sample_rate_hz=RATE_HZ)
    some = [
        Selection(
            file=Path("/archive") / name,
            duration_s=10.0,
            channel=-1,
            interval=interval,
            low_hz=1.0,
            high_hz=9.0,
            said=("caw",),
        )
        for name in ("r .wav", "r\r.wav")
    ]
    (tmp_path / "all.txt").write_bytes("".join(raven_lines(some, ["Call"])).encode())
    table = read_annotations(tmp_path / "all.txt")
    assert (table.problems, len(table.annotations)) == ((), 2)


@pytest.mark.parametrize("hours", [12_000, 100_000])
def test_one_table_of_a_long_archive_comes_back_whole(tmp_path, hours):
    rng = np.random.default_rng(0)
    rate_hz, n_files, some = 44_100, 200, list[Selection]()
    for number in range(n_files):
        n_samples = 3600 * hours // n_files * rate_hz + int(rng.integers(rate_hz))
        for start in rng.integers(0, n_samples - rate_hz, 10).tolist():
            interval = Interval(start=start, stop=start + 5_001, sample_rate_hz=rate_hz)
            one = Selection(
                file=Path(f"/archive/{number}.wav"),
                duration_s=n_samples / rate_hz,
                channel=-1,
                interval=interval,
                low_hz=1.0,
                high_hz=9.0,
                said=("caw",),
            )
            some.append(one)
    (tmp_path / "all.txt").write_bytes("".join(raven_lines(some, ["Call"])).encode())
    table = read_annotations(tmp_path / "all.txt")
    assert table.problems == ()
    spans = [
        (round(one.start_s * rate_hz), round(one.stop_s * rate_hz)) for one in table.annotations
    ]
    assert spans == [(one.interval.start, one.interval.stop) for one in some]


@given(st.data())
def test_any_names_of_recordings_lead_back_to_them(tmp_path_factory, data):
    """Names that are the same once tabs and line ends are gone, and tables that quote nothing."""
    folder = tmp_path_factory.getbasetemp()
    paths = data.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    recordings = [
        tiny.recording(n, 100, path=path, sample_rate_hz=RATE_HZ, n_samples=10 * RATE_HZ)
        for n, path in enumerate(paths)
    ]
    events, rows = {}, []
    for number in range(1, data.draw(st.integers(1, 6)) + 1):
        row = data.draw(st.sampled_from(recordings))
        start = data.draw(st.integers(0, 9 * RATE_HZ))
        stop = start + data.draw(st.integers(1, RATE_HZ))
        events[number] = EventRow(
            event_id=number,
            recording_id=row.recording_id,
            start_frame=0,
            stop_frame=1,
            start_sample=start,
            stop_sample=stop,
            low_hz=data.draw(st.floats(0, 9_000)),
            high_hz=data.draw(st.floats(9_001, 24_000)),
            level_db=1.0,
        )
        rows.append((row, events[number]))
    label = data.draw(st.sampled_from(["caw", "", 'a "5" kek', "#7", "type 3"]))

    def selections(tag):
        for row, event in rows:
            key = event_key(event, row.content_key)
            yield Selection(
                file=Path(row.root) / row.path,
                duration_s=row.duration_s,
                channel=row.channel,
                interval=Interval(
                    start=event.start_sample, stop=event.stop_sample, sample_rate_hz=RATE_HZ
                ),
                low_hz=event.low_hz,
                high_hz=event.high_hz,
                said=(f"{label} #{key}".lstrip(),) if tag else (label, key),
            )

    (folder / "all.txt").write_bytes(
        "".join(raven_lines(selections(False), ["Call", "Oscine Event"])).encode()
    )
    (folder / "other name.txt").write_bytes("".join(audacity_lines(selections(True))).encode())
    for file, column in (("all.txt", "Call"), ("other name.txt", "label")):
        table = read_annotations(folder / file)
        matched = match_recordings(table.annotations, recordings, events)
        assert (table.problems, matched.problems) == ((), ())
        for one, (row, event) in zip(matched.annotations, rows, strict=True):
            assert (one.recording_id, one.event_id) == (row.recording_id, event.event_id)
            interval = one.interval
            assert (interval.start, interval.stop) == (event.start_sample, event.stop_sample)
            assert one.annotation.labels.get(column, "") == label
            assert (one.annotation.low_hz, one.annotation.high_hz) == (event.low_hz, event.high_hz)


# Corrected


def corrected(file, number, **changes):
    """Change cells of the row of an event in a Raven table."""
    header, *lines = file.read_text(encoding="utf-8").splitlines()
    names = header.split("\t")
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
    for row in rows:
        if row["Oscine Event"].startswith(f"{number}-"):
            row |= changes
    text = "\n".join(["\t".join(names), *("\t".join(row.values()) for row in rows)])
    file.write_text(text + "\n", encoding="utf-8")


MOVED = {"Begin Time (s)": "0.9", "End Time (s)": "0.95", "File Offset (s)": "0.9"}


def test_a_row_counts_for_its_event_wherever_its_box_was_moved(folder, tmp_path):
    first, *_ = export(folder, "raven", tmp_path / "out")
    corrected(first, 1, **MOVED, **{"Sound Type Name": "caw"})
    report = steps.import_labels([first], folder)
    assert counted(report, "Sound Type Name") == {"caw": (1, 1), "=low": (1, 1)}
    assert labelled(folder, "Sound Type Name") == {1: "caw", 2: "=low"}
    # Moved onto another event, it counts for its own still, and the other keeps its own row.
    onto = {"Begin Time (s)": "0.42", "End Time (s)": "0.5", "File Offset (s)": "0.42"}
    corrected(first, 1, **onto)
    steps.import_labels([first], folder)
    assert labelled(folder, "Sound Type Name") == {1: "caw", 2: "=low"}
    # Where the other's row was removed, nothing is said of that one.
    lines = first.read_text(encoding="utf-8").splitlines(keepends=True)
    first.write_text("".join(lines[:2]), encoding="utf-8")
    steps.import_labels([first], folder)
    assert labelled(folder, "Sound Type Name") == {1: "caw"}


def test_a_row_that_was_written_for_an_event_labels_no_other(folder, tmp_path):
    first, *_ = export(folder, "raven", tmp_path / "out")
    header, line, _ = first.read_text(encoding="utf-8").splitlines(keepends=True)
    first.write_text(header + line, encoding="utf-8")
    corrected(first, 1, **{"End Time (s)": "1.0", "Sound Type Name": "caw"})  # mistyped
    report = steps.import_labels([first], folder)
    assert counted(report, "Sound Type Name") == {"caw": (1, 1)}
    assert labelled(folder, "Sound Type Name") == {1: "caw"}
    corrected(first, 1, **{"Oscine Event": ""})  # without a key it labels what it covers
    steps.import_labels([first], folder)
    assert labelled(folder, "Sound Type Name") == {1: "caw", 2: "caw"}
    # A row for an event that gives no times holds for the event too, not for the recording.
    (table,) = export(folder, "csv", tmp_path / "csv")
    with table.open(encoding="utf-8", newline="") as file:
        key = next(csv.DictReader(file))["oscine_event"]
    whole = tmp_path / "whole.csv"
    whole.write_text(f"path,oscine_event,call\nnorth/1.wav,{key},kek\n", encoding="utf-8")
    steps.import_labels([whole], folder)
    assert labelled(folder, "call") == {1: "kek"}


def test_a_box_that_was_moved_in_one_of_its_two_times_alone_is_named(folder, tmp_path):
    first, *_ = export(folder, "raven", tmp_path / "out")
    corrected(first, 1, **{"Begin Time (s)": "0.9", "End Time (s)": "0.95"})
    report = steps.import_labels([first], folder)
    assert (report.rows, report.placed, report.refused) == (2, 1, 1)
    (problem,) = report.problems
    assert "line 2: Begin Time (s) is 0.9 and File Offset (s) 0.0208542, which do not" in problem


def test_no_sound_type_is_no_label(folder, tmp_path):
    *_, last = export(folder, "raven", tmp_path / "out")
    assert "\t-1\t" in last.read_text(encoding="utf-8")
    report = steps.import_labels([last], folder)
    assert report.placed == report.rows == 3
    assert counted(report, "Sound Type") == {"0": (1, 1), "1": (1, 1)}
    # In a table of somebody else it is what they said.
    own = "Begin Time (s)\tEnd Time (s)\tSound Type\n0.1\t0.2\t-1\n"
    (tmp_path / "two.txt").write_text(own)
    assert counted(steps.import_labels([tmp_path / "two.txt"], folder), "Sound Type")["-1"][0] == 1


def test_a_number_of_another_workspace_names_no_event_here(made, folder, tmp_path):
    first, *_ = export(folder, "raven", tmp_path / "out")
    key = first.read_text(encoding="utf-8").split("\t")[-1]
    assert re.search(r"\d-[0-9a-f]{8}$", key.strip())
    corrected(first, 2, **MOVED, **{"Sound Type Name": "caw", "Oscine Event": "2-00000000"})
    steps.import_labels([first], folder)
    assert labelled(folder, "Sound Type Name") == {1: "mésange 'tsi'"}


def test_a_row_whose_path_names_another_recording_was_not_written_for_its_event(
    made, folder, tmp_path
):
    north, *_ = export(folder, "raven", tmp_path / "out")
    south = str(made.archive / "south" / "1.wav")
    corrected(north, 1, **{"Begin Path": south, "Sound Type Name": "caw"})
    steps.import_labels([north], folder)
    # It lies half over the event there, and that is what counts for it.
    assert labelled(folder, "Sound Type Name") == {2: "=low"}
    moved = {"Begin Time (s)": "0.1", "End Time (s)": "0.18", "File Offset (s)": "0.1"}
    corrected(north, 1, **moved)
    steps.import_labels([north], folder)
    assert labelled(folder, "Sound Type Name") == {2: "=low", 3: "caw"}


def test_what_is_added_in_raven_belongs_to_the_recording_of_the_table(folder, tmp_path):
    first, *_ = export(folder, "raven", tmp_path / "out")
    new = "3\tSpectrogram 1\t1\t0.600000000\t0.700000000\t500.0\t900.0\t\t\t\t\tcaw\t\t\t\n"
    first.write_text(first.read_text(encoding="utf-8") + new, encoding="utf-8")
    report = steps.import_labels([first], folder)
    assert (report.rows, report.placed, report.problems) == (3, 3, [])
    assert counted(report, "Sound Type Name")["caw"] == (1, 0)


def test_what_is_added_in_audacity_belongs_to_the_recording_of_the_others(folder, tmp_path):
    north, south, _ = export(folder, "audacity", tmp_path / "out")
    assert (north.name, south.name) == ("1.txt", "1.txt")
    new = "0.070000\t0.200000\tkek\n"
    south.write_text(south.read_text(encoding="utf-8") + new, encoding="utf-8")
    report = steps.import_labels([south], folder)
    assert (report.rows, report.placed, report.problems) == (2, 2, [])
    alone = tmp_path / "1.txt"
    alone.write_text(new, encoding="utf-8")
    report = steps.import_labels([alone], folder)
    assert report.placed == 0
    assert "'1' (1 row) could be any of" in report.problems[0]


def test_the_text_of_an_audacity_label_may_be_changed_before_its_event(folder, tmp_path):
    north, *_ = export(folder, "audacity", tmp_path / "out")
    text = north.read_text(encoding="utf-8").replace("mésange 'tsi'", "kek #2")
    north.write_text(text, encoding="utf-8")
    steps.import_labels([north], folder)
    assert labelled(folder, "label") == {1: "kek #2", 2: "=low"}


def test_labels_of_a_column_of_ones_own_say_nothing_of_oscines(folder, tmp_path):
    (table,) = export(folder, "csv", tmp_path / "out")
    header, *lines = table.read_text(encoding="utf-8").splitlines()
    text = "\n".join([f"{header},species", *(f"{line},crow" for line in lines)])
    table.write_text(text + "\n", encoding="utf-8")
    report = steps.import_labels([table], folder)
    assert counted(report, "species") == {"crow": (6, 6)}
    assert not any(note.startswith("species") for note in report.notes)


def test_labels_of_ones_own_are_told_before_oscines(folder, tmp_path):
    tables = export(folder, "raven", tmp_path / "raven")
    for table in tables:
        head, *rows = table.read_text(encoding="utf-8").splitlines()
        lines = [f"{head}\tkind", *(f"{row}\tcaw" for row in rows)]
        table.write_text("\n".join(lines), encoding="utf-8")
    found = steps.import_labels(tables, folder).labels
    assert found[0].column == "kind"
    assert {one.column for one in found} >= {"kind", "Sound Type"}


def test_rows_that_say_different_things_of_an_event_are_told_in_one_note_a_column(folder, tmp_path):
    north, *_ = export(folder, "raven", tmp_path / "out")
    corrected(north, 2, **{"Sound Type Name": "caw"})
    # As people do who copy rows to have two opinions: the keys are copied too.
    header, *lines = north.read_text(encoding="utf-8").splitlines()
    other = [line.replace("\tmésange 'tsi'\t", "\tother\t") for line in lines]
    north.write_text("\n".join([header, *lines, *other]) + "\n", encoding="utf-8")
    (tmp_path / "labels.csv").write_text(
        "path,start_s,stop_s,call,mood\nsouth/1.wav,0.08,0.2,kek,calm\n"
        "south/1.wav,0.07,0.2,caw,calm\nnorth/1.wav,,,caw,calm\nnorth/1.wav,0.02,0.1,kek,calm\n"
        "two.wav,,,caw,calm\ntwo.wav,,,kek,\n"
    )
    report = steps.import_labels([north, tmp_path / "labels.csv"], folder)
    assert counted(report, "Sound Type Name")["other"] == (1, 0)
    call, name = (note for note in report.notes if "have several labels" in note)
    # What is said of a part does not contradict what is said of the whole recording.
    assert call.startswith(
        "call: 4 events have several labels, such as 'caw' (labels.csv, line 3) before 'kek' "
        "(labels.csv, line 2), 'caw' (labels.csv, line 6) before 'kek' (labels.csv, line 7): the"
    )
    assert name.startswith(
        "Sound Type Name: 1 events have several labels, such as \"mésange 'tsi'\" (1.Table.1.sele"
        "ctions.txt, line 2) before 'other' (1.Table.1.selections.txt, line 4): the row that was"
    )


def test_labels_that_differ_in_case_are_named(folder, tmp_path):
    (tmp_path / "labels.csv").write_text(
        "path,call,mood\nsouth/1.wav,Kek,calm\nnorth/1.wav,kek,calm\ntwo.wav,caw,\n"
    )
    report = steps.import_labels([tmp_path / "labels.csv"], folder)
    assert [note for note in report.notes if "case" in note] == [
        "call: 'Kek' and 'kek' differ in upper and lower case only: they are taken for different "
        "labels"
    ]


# Keeping them


def test_a_table_that_was_there_is_replaced_and_others_stay(folder, tmp_path):
    north, south, _ = export(folder, "raven", tmp_path / "out")
    report = steps.import_labels([tmp_path / "out"], folder)
    assert (report.tables, report.rows) == (3, 6)
    assert [(one.file, one.rows) for one in report.kept] == [
        (north.as_posix(), 2),
        (south.as_posix(), 1),
        ((tmp_path / "out" / "two.Table.1.selections.txt").as_posix(), 3),
    ]
    lines = north.read_text(encoding="utf-8").splitlines(keepends=True)
    north.write_text("".join(lines[:2]), encoding="utf-8")
    report = steps.import_labels([north], folder)
    assert (report.tables, report.rows, sum(one.rows for one in report.kept)) == (1, 1, 5)


def test_labels_are_forgotten_by_file_or_folder(folder, tmp_path):
    north, south, two = export(folder, "raven", tmp_path / "out")
    steps.import_labels([tmp_path / "out"], folder)
    with pytest.raises(WrongArgument, match=r"could be any of .*write more of its path"):
        steps.import_labels([], folder, forget=[north.name])
    for name in ("nowhere", "", ".", "orth", "north/2.txt", str(tmp_path / "outer")):
        with pytest.raises(WrongArgument, match="no labels came from there"):
            steps.import_labels([], folder, forget=[two.name, name])
    report = steps.import_labels([], folder, forget=[f"north/{north.name}"])
    assert report.forgotten == [north.as_posix()]
    assert [one.file for one in report.kept] == [south.as_posix(), two.as_posix()]
    report = steps.import_labels([north], folder, forget=[str(tmp_path / "out")])
    assert report.forgotten == [south.as_posix(), two.as_posix()]
    assert [one.file for one in report.kept] == [north.as_posix()]


def test_of_a_folder_what_is_no_table_is_named_and_the_rest_read(folder, tmp_path):
    out = tmp_path / "out"
    export(folder, "raven", out)
    (out / "notes.txt").write_text("some notes\n")
    (out / ".hidden.txt").write_text("1\t2\tx\n")
    (out / "table.csv").write_text("path,call\nnorth/1.wav,caw\n")
    report = steps.import_labels([out], folder)
    assert (report.tables, report.rows) == (3, 6)
    (problem,) = report.problems
    assert "notes.txt is no table of labels that is understood" in problem
    empty = tmp_path / "empty"
    empty.mkdir()
    report = steps.import_labels([empty, out / "table.csv"], folder)
    assert report.problems == [f"{empty.as_posix()} holds no *.txt: name the tables themselves"]
    assert report.rows == 1


def test_tables_of_which_none_can_be_read_change_nothing(folder, tmp_path):
    export(folder, "raven", tmp_path / "out")
    steps.import_labels([tmp_path / "out"], folder)
    (tmp_path / "notes.txt").write_text("some notes\n")
    with pytest.raises(ValueError, match=r"notes\.txt is no table of labels"):
        steps.import_labels([tmp_path / "notes.txt"], folder, forget=[str(tmp_path / "out")])
    assert sum(one.rows for one in steps.import_labels([], folder).kept) == 6


def test_rows_that_are_not_used_are_named(folder, tmp_path):
    (tmp_path / "labels.csv").write_text(
        "path,start_s,stop_s,call\nnorth/1.wav,0.02,0.1,caw\nnorth/1.wav,2,1,caw\n"
        "elsewhere.wav,0,1,caw\nsouth/1.wav,5,6,caw\n"
    )
    report = steps.import_labels([tmp_path / "labels.csv"], folder)
    assert (report.rows, report.placed, report.unplaced, report.refused) == (4, 1, 2, 1)
    assert sum(one.rows for one in report.kept) == report.placed + report.unplaced
    assert counted(report, "call") == {"caw": (1, 1)}
    said = ["from 2 s to 1 s is no stretch", "is no recording of the archive", "beyond the end"]
    for problem, words in zip(report.problems, said, strict=True):
        assert words in problem


def test_the_same_events_in_another_table_are_told(folder, tmp_path):
    export(folder, "raven", tmp_path / "out")
    steps.import_labels([tmp_path / "out"], folder)
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    report = steps.import_labels([tmp_path / "copy"], folder)
    (note,) = (one for one in report.notes if "already" in one)
    assert note.startswith("tables that were there already have 6 rows for the same events")
    assert str(tmp_path / "out" / "two.Table.1.selections.txt") in note


def test_an_exact_copy_of_a_recording_can_be_labelled(made, tmp_path):
    twin = {"state": "duplicate", "n_frames": 0, "n_samples": 0, "sample_rate_hz": 0}
    made.recording("copy.wav", noise(RATE_HZ), RATE_HZ)
    made.recordings[-1] = replace(
        made.recordings[-1], content_hash=made.recordings[0].content_hash, **twin
    )
    (tmp_path / "labels.csv").write_text("path,call\ncopy.wav,caw\n")
    report = steps.import_labels([tmp_path / "labels.csv"], made.write())
    assert (report.placed, report.problems) == (1, [])


def test_labels_come_in_while_another_run_works(folder, tmp_path):
    export(folder, "raven", tmp_path / "out")
    with Workspace(folder).alone():
        assert steps.import_labels([tmp_path / "out"], folder).placed == 6


# The command line


def test_the_command_line_brings_labels_in_lists_and_forgets_them(folder, tmp_path, call):
    export(folder, "raven", tmp_path / "out")

    def imported(*words):
        return call("import", *words, "-w", folder)

    (tmp_path / "out" / "notes.txt").write_text("some notes\n")
    (tmp_path / "out" / "other.txt").write_text("0.5\t0.1\tcaw\n")  # its only row is refused
    (tmp_path / "out" / "gone.txt").write_text("0.1\t0.5\tcaw\n")
    code, out, _ = imported(tmp_path / "out")
    assert code == 0
    assert (
        "tables read  5\nrows read    8: 6 used (they belong to a recording), 1 kept unused (of "
        "none, or beyond its end), 1 refused\nkept in all  7 rows of 4 tables"
    ) in out
    assert "  Sound Type Name = mésange 'tsi': 3 rows, 3 events" in out
    assert "3 problems:\n" in out
    assert imported("--forget", "gone.txt")[0] == 0
    code, out, _ = imported("--list", "--json")
    found = json.loads(out)
    assert (code, len(found["kept"]), found["labels"]) == (0, 3, [])
    code, out, _ = imported("--list", "--forget", "north")
    assert code == 0
    assert "kept in all  4 rows of 2 tables\nforgotten    1 tables" in out
    assert f"  {tmp_path / 'out' / 'two.Table.1.selections.txt'}: 3 rows" in out
    for words, said in (
        ([], "name label tables to bring in"),
        ([tmp_path / "none.csv"], "none.csv is not there: name a table of labels"),
        (["--forget", "north"], "no labels came from there"),
    ):
        code, out, err = imported(*words)
        assert (code, out) == (2, "")
        assert said in err
