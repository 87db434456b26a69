"""Events taken home: tables that other programs read, clips, a page, and folders left alone."""

import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import get_args

import numpy as np
import polars as pl
import pytest
import soundfile
import tiny
from handmade import Handmade, noise
from hypothesis import given
from hypothesis import strategies as st

from oscine import cli, steps
from oscine.cli import run
from oscine.config import WrongArgument, fingerprint
from oscine.sound.clips import write_clip
from oscine.sound.recording import Interval
from oscine.sound.selections import RAVEN_COLUMNS, Selection, audacity_lines, raven_lines
from oscine.sound.tables import CLIPS, EVENTS, RECORDINGS
from oscine.steps import exporting
from oscine.synth import SynthConfig
from oscine.workspace import Workspace
from oscine.workspace.catalogue import MODIFICATION, Catalogue, Stage
from oscine.workspace.exported import CONTENTS, FreePaths, exported_folder, safe_name

ODD = 'sü"d/=SUM(1)\t"2"\n3.wav'
"""A path that says more than a path should."""
STARTED_MS = round(datetime(2024, 5, 31, 21, 59, 59, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def made(tmp_path):
    """An archive of two folders: names that are the same but for their ending, channels, types."""
    made = Handmade(tmp_path / "w.oscine", tmp_path / "archive")
    clock = {"started_ms": STARTED_MS, "utc_offset_min": 120, "zone": "Europe/Berlin (filename)"}
    day = made.recording("north/day 1.wav", noise(48_000), 48_000, site="north", **clock)
    flac = made.recording("north/day 1.flac", noise(9_000, seed=1), 22_050)
    left = made.recording("south/two.wav", noise(44_100, 2, seed=2), 44_100, channel=0)
    right = made.recording("south/two.wav", noise(44_100, 2, seed=2), 44_100, channel=1)
    copy = {"started_ms": STARTED_MS, "utc_offset_min": 0, "zone": f"UTC ({MODIFICATION})"}
    made.recording("south/silent.wav", noise(8_000, seed=3), 8_000, **copy)
    made.event(day, 24_001, 47_999, cluster=1)
    made.event(day, 7, 480, high_hz=30_000.0)
    made.event(flac, 100, 2_205, cluster=0)
    made.event(flac, 3_001, 9_000, cluster=0)
    made.event(left, 5, 4_410, low_hz=123.4, cluster=0)
    made.event(right, 1, 4_411, cluster=1)
    made.event(right, 20_000, 30_000, cluster=None)
    made.names = {1: "low double caw"}
    return made


@pytest.fixture
def folder(made):
    return made.write()


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A workspace that was learned, and its archive."""
    archive = tmp_path_factory.mktemp("archive") / "forest"
    steps.synth(archive, SynthConfig(minutes=0.5, recording_s=10))
    return tiny.learned(tmp_path_factory.mktemp("learned") / "crows.oscine", archive), archive


def contents(folder):
    """Every file of a folder and its bytes."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def rows_of(file):
    """The rows of a table with tabs, read by the rule alone: a line a row, a tab a cell."""
    header, *lines = file.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    names = header.split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]


def samples_of(row, rate_hz):
    """Where a row of Raven lies in its file."""
    start_s = float(row["File Offset (s)"])
    duration_s = float(row["End Time (s)"]) - float(row["Begin Time (s)"])
    return round(start_s * rate_hz), round((start_s + duration_s) * rate_hz)


# Raven


def test_raven_has_a_table_for_each_recording_where_the_recording_is(made, folder, tmp_path):
    report = steps.export(folder, "raven", tmp_path / "out")
    out = tmp_path / "out"
    assert sorted(contents(out)) == [
        "north/day 1 (2).Table.1.selections.txt",
        "north/day 1.Table.1.selections.txt",
        CONTENTS,
        "south/two.Table.1.selections.txt",
    ]
    assert (report.events, report.recordings, report.files) == (7, 3, 3)
    first, second = rows_of(out / "north" / "day 1 (2).Table.1.selections.txt")
    assert list(first) == [
        *RAVEN_COLUMNS,
        *("Sound Type", "Sound Type Name", "Oscine Strength", "Oscine Level (dB)", "Oscine Event"),
    ]
    assert Path(first["Begin Path"]) == made.archive / "north" / "day 1.wav"
    assert first["Begin File"] == "day 1.wav"
    assert first["Begin Time (s)"] == first["File Offset (s)"]
    assert (samples_of(first, 48_000), samples_of(second, 48_000)) == ((7, 480), (24_001, 47_999))
    assert (first["Selection"], second["Selection"]) == ("1", "2")
    assert (first["Sound Type"], first["Sound Type Name"]) == ("-1", "")
    assert (second["Sound Type"], second["Sound Type Name"]) == ("1", "low double caw")
    assert (float(first["Low Freq (Hz)"]), float(first["High Freq (Hz)"])) == (1000.0, 24_000.0)
    assert re.fullmatch(r"2-[0-9a-f]{8}", first["Oscine Event"])


def test_raven_shows_events_in_the_channel_they_are_of(folder, tmp_path):
    steps.export(folder, "raven", tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "south" / "two.Table.1.selections.txt")
    assert [(row["Channel"], samples_of(row, 44_100)) for row in rows] == [
        ("2", (1, 4_411)),
        ("1", (5, 4_410)),
        ("2", (20_000, 30_000)),
    ]
    assert [row["Oscine Strength"] for row in rows] == ["0.750", "0.750", ""]


def test_one_table_counts_through_the_recordings_and_says_the_same(folder, tmp_path):
    steps.export(folder, "raven", tmp_path / "each")
    report = steps.export(folder, "raven", tmp_path / "one", one_table=True)
    assert (report.events, report.recordings, report.files) == (7, 3, 1)
    rows = rows_of(tmp_path / "one" / "events.Table.1.selections.txt")
    each = [row for file in (tmp_path / "each").rglob("*.txt") for row in rows_of(file)]
    begins = {"day 1.flac": 0.0, "day 1.wav": 9_000 / 22_050, "two.wav": 9_000 / 22_050 + 1}
    assert list(dict.fromkeys(row["Begin File"] for row in rows)) == list(begins)
    for number, row in enumerate(rows, 1):
        (same,) = (one for one in each if one["Oscine Event"] == row["Oscine Event"])
        for column in same.keys() - {"Selection", "Begin Time (s)", "End Time (s)"}:
            assert row[column] == same[column]
        assert row["Selection"] == str(number)
        expected_s = begins[row["Begin File"]] + float(same["Begin Time (s)"])
        assert float(row["Begin Time (s)"]) == pytest.approx(expected_s, abs=1e-8)


RATES_HZ = st.sampled_from([8_000, 22_050, 44_100, 48_000, 96_000, 250_000, 384_000, 500_000])


@st.composite
def selections(draw, file="a.wav"):
    rate_hz = draw(RATES_HZ)
    n_samples = draw(st.integers(1, 86_400 * rate_hz))
    start = draw(st.integers(0, n_samples - 1))
    stop = draw(st.integers(start + 1, n_samples))
    low_hz = draw(st.floats(0, 250_000))
    return Selection(
        file=Path("/archive") / file,
        duration_s=n_samples / rate_hz,
        channel=draw(st.integers(-1, 7)),
        interval=Interval(start=start, stop=stop, sample_rate_hz=rate_hz),
        low_hz=low_hz,
        high_hz=draw(st.floats(low_hz, 250_001, exclude_min=True)),
        said=(draw(st.text(st.characters(codec="utf-8"))),),
    )


@given(st.lists(st.one_of(selections(), selections("b\tc\n.wav")), max_size=6))
def test_any_row_of_raven_gives_back_samples_and_band_and_is_one_that_raven_takes(some):
    lines = list(raven_lines(some, ["Note"]))
    assert all(line.count("\n") == 1 and "\r" not in line for line in lines)
    assert len(lines) == len(some) + 1
    names = lines[0].rstrip("\n").split("\t")
    for number, (line, one) in enumerate(zip(lines[1:], some, strict=True), 1):
        row = dict(zip(names, line.removesuffix("\n").split("\t"), strict=True))
        rate_hz = one.interval.sample_rate_hz
        assert samples_of(row, rate_hz) == (one.interval.start, one.interval.stop)
        low_hz, high_hz = float(row["Low Freq (Hz)"]), float(row["High Freq (Hz)"])
        assert 0 <= low_hz < high_hz <= rate_hz / 2
        if one.high_hz <= rate_hz / 2:
            assert (low_hz, high_hz) == (one.low_hz, one.high_hz)
        assert 0 <= float(row["Begin Time (s)"]) < float(row["End Time (s)"])
        assert int(row["Channel"]) == max(1, one.channel + 1)
        assert row["Selection"] == str(number)
        assert row["Note"] == re.sub(r"[\t\r\n]", " ", one.said[0])


@given(st.lists(selections(), max_size=6))
def test_any_label_of_audacity_gives_back_samples_and_band(some):
    lines = list(audacity_lines(some))
    assert len(lines) == 2 * len(some)
    for one, time, band in zip(some, lines[::2], lines[1::2], strict=True):
        start_s, stop_s, _ = time.split("\t")
        rate_hz = one.interval.sample_rate_hz
        assert round(float(start_s) * rate_hz) == one.interval.start
        assert round(float(stop_s) * rate_hz) == one.interval.stop
        sign, low_hz, high_hz = band.split("\t")
        assert (sign, float(low_hz), float(high_hz)) == ("\\", *one.band_hz)


@pytest.mark.skipif(sys.platform == "win32", reason="no file can have such a name there")
def test_names_break_neither_tables_nor_folders(made, tmp_path):
    odd = made.recording(ODD, noise(8_000), 8_000)
    made.event(odd, 80, 4_000, cluster=0)
    folder = made.write()
    for to, name in (("raven", "3.Table.1.selections.txt"), ("audacity", "3.txt")):
        steps.export(folder, to, tmp_path / to, where="cluster = 0")
        (table,) = (tmp_path / to / "sü_d").iterdir()
        assert table.name == f"=SUM(1)__2__{name}"
    (row,) = rows_of(tmp_path / "raven" / "sü_d" / "=SUM(1)__2__3.Table.1.selections.txt")
    assert row["Begin File"] == '=SUM(1) "2" 3.wav'
    steps.export(folder, "clips", tmp_path / "clips", where="cluster = 0")
    assert (tmp_path / "clips" / "type-000" / "sü_d_=SUM(1)__2__3 00000.010s e8.wav").exists()


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # crowsetta's own
def test_crowsettas_reader_of_raven_reads_the_same(folder, tmp_path):
    crowsetta = pytest.importorskip("crowsetta")
    steps.export(folder, "raven", tmp_path / "out", where="cluster = 1")
    file = tmp_path / "out" / "north" / "day 1.Table.1.selections.txt"
    read = crowsetta.formats.by_name("raven").from_file(file, annot_col="Sound Type Name")
    (box,) = read.to_bbox()
    assert (round(box.onset * 48_000), round(box.offset * 48_000)) == (24_001, 47_999)
    assert (box.low_freq, box.high_freq, box.label) == (1000.0, 2500.0, "low double caw")
    # It takes no empty cell for an annotation: events in no type have one that says so.
    steps.export(folder, "raven", tmp_path / "all")
    file = tmp_path / "all" / "north" / "day 1 (2).Table.1.selections.txt"
    read = crowsetta.formats.by_name("raven").from_file(file, annot_col="Sound Type")
    assert [box.label for box in read.to_bbox()] == ["-1", "1"]


def test_several_archives_have_a_folder_each(made, tmp_path):
    for place in ("a/forest", "b/Forest"):
        made.archive = tmp_path / place
        new = made.recording("new.wav", noise(8_000, seed=len(place)), 8_000)
        made.event(new, 0, 800)
    steps.export(made.write(), "audacity", tmp_path / "out", where="path = 'new.wav'")
    assert sorted(contents(tmp_path / "out")) == [
        "Forest (2)/new.txt",
        "forest/new.txt",
        CONTENTS,
    ]


# Audacity


def test_audacity_labels_hold_time_band_type_and_event(folder, tmp_path):
    report = steps.export(folder, "audacity", tmp_path / "out")
    assert (report.events, report.recordings, report.files) == (7, 3, 3)
    lines = (tmp_path / "out" / "south" / "two.txt").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[2] for line in lines[::2]]
    assert [re.sub(r"-[0-9a-f]{8}$", "", text) for text in texts] == [
        "low double caw #6",
        "type 0 #5",
        "#7",
    ]
    assert lines[3] == "\\\t123.4\t2500.0"


def test_an_event_at_the_very_end_has_a_sample_still(made, tmp_path):
    day = made.recordings[0]
    made.event(day, 48_000, 48_000)
    steps.export(made.write(), "audacity", tmp_path / "out", where="path = 'north/day 1.wav'")
    lines = (tmp_path / "out" / "north" / "day 1.txt").read_text(encoding="utf-8").splitlines()
    start_s, stop_s, _ = lines[-2].split("\t")
    assert (round(48_000 * float(start_s)), round(48_000 * float(stop_s))) == (47_999, 48_000)


# CSV and Parquet


def read_csv(file):
    with file.open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def names_of(columns):
    return [column.name for column in columns]


def test_csv_has_a_row_for_each_event_with_all_that_is_known(made, folder, tmp_path):
    report = steps.export(folder, "csv", tmp_path / "out")
    rows = read_csv(tmp_path / "out" / "events.csv")
    assert list(rows[0]) == names_of(EVENTS)
    assert (report.events, report.recordings, report.files) == (7, 3, 3)
    assert [int(row["event"]) for row in rows] == [3, 4, 2, 1, 6, 5, 7]
    row = rows[3]
    assert (row["path"], row["root"]) == ("north/day 1.wav", str(made.archive))
    assert (row["channel"], row["site"], row["recorder"]) == ("-1", "north", "")
    assert row["began_utc"] == "2024-05-31T21:59:59.500Z"
    assert row["began_local"] == "2024-05-31T23:59:59.500"
    assert (row["utc_offset_min"], row["clock"]) == ("120", "Europe/Berlin (filename)")
    assert (row["start_sample"], row["stop_sample"]) == ("24001", "47999")
    assert float(row["start_s"]) == 24_001 / 48_000
    assert float(row["duration_s"]) == 23_998 / 48_000
    assert (row["low_hz"], row["high_hz"], row["level_db"]) == ("1000.0", "2500.0", "12.25")
    assert (row["sound_type"], row["sound_type_name"]) == ("1", "low double caw")
    assert (row["type_strength"], row["map_x"], row["map_y"]) == ("0.75", "1.0", "-0.5")
    newest = rows[-1]
    assert [newest[name] for name in ("sound_type", "type_strength", "map_x")] == ["", "", ""]
    assert rows[2]["type_strength"] == "0.75"  # it was grouped, into none
    assert rows[2]["sound_type"] == ""


def test_recordings_without_events_are_rows_too_and_weak_clocks_tell_no_time(folder, tmp_path):
    steps.export(folder, "csv", tmp_path / "out", where="cluster = 0")
    rows = read_csv(tmp_path / "out" / "recordings.csv")
    assert list(rows[0]) == names_of(RECORDINGS)
    counts = {(row["path"], row["channel"]): row["n_events"] for row in rows}
    assert counts == {
        ("north/day 1.flac", "-1"): "2",
        ("north/day 1.wav", "-1"): "0",
        ("south/silent.wav", "-1"): "0",
        ("south/two.wav", "0"): "1",
        ("south/two.wav", "1"): "0",
    }
    silent = rows[2]
    assert (silent["began_utc"], silent["clock"]) == ("", f"UTC ({MODIFICATION})")
    assert (silent["recording_s"], silent["state"], silent["reason"]) == ("1.0", "whole", "")


def test_duplicates_are_told(made, tmp_path):
    day = made.recordings[0]
    twin = {"state": "duplicate", "n_frames": 0, "content_hash": day.content_hash}
    made.recording("copy.wav", noise(48_000), 48_000, **twin)
    folder = made.write()
    embedded = Stage(fingerprint="e", finished=True, facts={"digest": "d"})
    pair = {"recording": 2, "other": 1, "offset_s": 0.0, "share": 1.0}
    with Workspace(folder).catalogue() as catalogue:
        catalogue.set_stage("embed", embedded)
        compared = Stage(
            fingerprint=fingerprint("e", "d"), finished=True, facts={"near_duplicates": [pair]}
        )
        catalogue.set_stage("neighbours", compared)
    steps.export(folder, "csv", tmp_path / "out")
    told = {
        row["path"]: (row["n_copies"], row["near_duplicate"])
        for row in read_csv(tmp_path / "out" / "events.csv")
    }
    assert told == {
        "north/day 1.flac": ("0", "north/day 1.wav"),
        "north/day 1.wav": ("1", "north/day 1.flac"),
        "south/two.wav": ("0", ""),
    }


def test_parquet_says_what_csv_says_in_types_of_its_own(folder, tmp_path):
    steps.export(folder, "csv", tmp_path / "csv")
    steps.export(folder, "parquet", tmp_path / "parquet")
    for name, columns in (("events", EVENTS), ("recordings", RECORDINGS)):
        table = pl.read_parquet(tmp_path / "parquet" / f"{name}.parquet")
        rows = read_csv(tmp_path / "csv" / f"{name}.csv")
        assert table.columns == names_of(columns)
        assert len(table) == len(rows)
        for row, values in zip(rows, table.iter_rows(named=True), strict=True):
            for column in columns:
                value = values[column.name]
                if isinstance(value, datetime):
                    value = value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                assert row[column.name] == ("" if value is None else str(value))
        assert table.schema["began_utc"] == pl.Datetime("ms", "UTC")
        assert table.schema["began_local"] == pl.Datetime("ms")
    readme = (tmp_path / "parquet" / "README.md").read_text(encoding="utf-8")
    for column in (*EVENTS, *RECORDINGS):
        assert f"| `{column.name}` | {column.means} |" in readme


def test_where_no_event_meets_a_condition_on_time_those_without_are_counted(folder, tmp_path):
    report = steps.export(folder, "csv", tmp_path / "none", where="hour > 24", clusters=[0])
    said = "of 5 the time is not known (`oscine status` says why)"
    assert report.notes == [f"no event meets the condition; {said}"]


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_a_table_without_rows_has_its_header_and_types(folder, tmp_path, to):
    report = steps.export(folder, to, tmp_path / "none", where="site = 'nowhere'")
    assert report.notes == ["no event meets the condition"]
    assert report.events == 0
    if to == "csv":
        line = (tmp_path / "none" / "events.csv").read_text(encoding="utf-8")
        assert line == ",".join(names_of(EVENTS)) + "\n"
    else:
        steps.export(folder, to, tmp_path / "all")
        files = (tmp_path / name / "events.parquet" for name in ("none", "all"))
        none, every = map(pl.read_parquet, files)
        assert none.schema == every.schema
        assert none.is_empty()


@pytest.mark.skipif(sys.platform == "win32", reason="no file can have such a name there")
def test_a_spreadsheet_finds_no_formula_in_names(made, tmp_path):
    odd = made.recording("=HYPERLINK(1).wav", noise(8_000), 8_000, site="@SUM(1)", recorder="'=x")
    made.event(odd, 80, 4_000, cluster=0)
    made.names = {0: "-1 + 2"}
    folder = made.write()
    steps.export(folder, "csv", tmp_path / "csv", where="site = '@SUM(1)'")
    (row,) = read_csv(tmp_path / "csv" / "events.csv")
    texts = [row[name] for name in ("path", "site", "recorder", "sound_type_name")]
    assert texts == ["./=HYPERLINK(1).wav", "'@SUM(1)", "''=x", "'-1 + 2"]
    assert row["map_y"] == "-0.5"
    steps.export(folder, "parquet", tmp_path / "parquet", where="site = '@SUM(1)'")
    table = pl.read_parquet(tmp_path / "parquet" / "events.parquet")
    names = ["path", "site", "recorder", "sound_type_name"]
    assert table.select(names).row(0) == ("=HYPERLINK(1).wav", "@SUM(1)", "'=x", "-1 + 2")


def test_a_clock_that_was_never_set_is_no_time(made, tmp_path):
    made.recordings[1] = replace(made.recordings[1], started_ms=2**60, utc_offset_min=0, zone="UTC")
    steps.export(made.write(), "csv", tmp_path / "out", where="path = 'north/day 1.flac'")
    assert {row["began_utc"] for row in read_csv(tmp_path / "out" / "events.csv")} == {""}


def test_vectors_go_along(learned, tmp_path):
    folder, _ = learned
    vectors, events = Workspace(folder).vectors()
    for to in ("csv", "parquet"):
        report = steps.export(folder, to, tmp_path / to, vectors=True)
        assert report.events == len(events) > 5
    table = pl.read_parquet(tmp_path / "parquet" / "events.parquet")
    assert table.schema["vector"] == pl.Array(pl.Float32, 16)
    rows = np.argsort(table["event"].to_numpy())
    assert np.array_equal(table["vector"].to_numpy()[rows], vectors)
    cells = read_csv(tmp_path / "csv" / "events.csv")
    assert [name for name in cells[0] if name.startswith("v")] == [f"v{n}" for n in range(16)]
    read = np.array([[row[f"v{n}"] for n in range(16)] for row in cells]).astype(np.float32)
    assert np.array_equal(read[rows], vectors)


def test_events_that_are_not_embedded_yet_have_no_vector(learned, tmp_path):
    folder = shutil.copytree(learned[0], tmp_path / "copy.oscine")
    with closing(sqlite3.connect(folder / "catalogue.sqlite")) as connection, connection:
        connection.execute(
            "INSERT INTO events SELECT 1000, recording_id, 5, 9, start_sample, stop_sample, low_hz,"
            " high_hz, level_db FROM events WHERE event_id = 1"
        )
    report = steps.export(folder, "csv", tmp_path / "out", vectors=True)
    assert report.notes == ["1 newer events have no vector yet: run `oscine embed`"]
    new = [row for row in read_csv(tmp_path / "out" / "events.csv") if row["event"] == "1000"]
    assert [row["v0"] for row in new] == [""]
    table = steps.export(folder, "parquet", tmp_path / "parquet", vectors=True)
    assert table.events == report.events
    vectors = pl.read_parquet(tmp_path / "parquet" / "events.parquet")["vector"]
    assert vectors.null_count() == 1


# Clips


def test_clips_lie_by_sound_type_with_the_samples_of_their_recordings(made, folder, tmp_path):
    report = steps.export(folder, "clips", tmp_path / "out")
    out = tmp_path / "out"
    assert sorted(contents(out)) == [
        "README.md",
        "clips.csv",
        "not grouped/north_day 1 00000.000s e2.wav",
        "not grouped/south_two 00000.454s e7.wav",
        CONTENTS,
        "type-000/north_day 1 00000.005s e3.wav",
        "type-000/north_day 1 00000.136s e4.wav",
        "type-000/south_two 00000.000s e5.wav",
        "type-001 low double caw/north_day 1 00000.500s e1.wav",
        "type-001 low double caw/south_two 00000.000s e6.wav",
    ]
    assert (report.events, report.recordings, report.files) == (7, 3, 9)
    assert report.skipped == []
    rows = read_csv(out / "clips.csv")
    assert list(rows[0]) == names_of(CLIPS)
    recordings = {(row.path, row.channel): row for row in made.recordings}
    events = {event.event_id: event for event in made.events}
    for row in rows:
        event, channel = events[int(row["event"])], int(row["channel"])
        whole, rate_hz = soundfile.read(made.archive / row["path"], dtype="int16")
        clip, clip_rate_hz = soundfile.read(out / row["clip"], dtype="int16")
        expected = whole[event.start_sample : event.stop_sample]
        if channel >= 0:
            expected = expected[:, channel]
        assert np.array_equal(clip, expected)
        assert rate_hz == clip_rate_hz == recordings[row["path"], channel].sample_rate_hz
        assert (float(row["event_start_s"]), row["problem"]) == (0.0, "")
        assert Path(row["clip"]).parent.name == (
            "not grouped" if row["sound_type"] == "" else PurePosixPath(row["clip"]).parent.name
        )
    examples = {row["event"] for row in rows if row["is_exemplar"] == "true"}
    assert examples == {"4", "5", "1", "6"}


@pytest.mark.parametrize(
    ("subtype", "width"),
    [("PCM_U8", 2), ("PCM_16", 2), ("PCM_24", 4), ("PCM_32", 4), ("FLOAT", 4), ("DOUBLE", 4)],
)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_clip_holds_what_is_decoded_whatever_the_encoding(
    made, tmp_path, rng, subtype, width, n_channels
):
    samples = np.tanh(rng.normal(0, 0.6, (3_000, n_channels)))
    row = made.recording("a.wav", samples, 96_000, subtype=subtype)
    interval = Interval(start=1_000, stop=1_777, sample_rate_hz=96_000)
    for name in ("one.wav", "again.wav"):
        write_clip(tmp_path / name, row, made.archive / "a.wav", interval)
    decoded, _ = soundfile.read(made.archive / "a.wav", dtype="float32", always_2d=True)
    clip, rate_hz = soundfile.read(tmp_path / "one.wav", dtype="float32", always_2d=True)
    assert rate_hz == 96_000
    assert np.array_equal(clip, decoded[1_000:1_777])
    n_bytes = (tmp_path / "one.wav").stat().st_size
    assert 0 <= n_bytes - 777 * n_channels * width < 100
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "again.wav").read_bytes()


def test_a_margin_goes_as_far_as_the_recording(folder, tmp_path):
    steps.export(folder, "clips", tmp_path / "out", margin_s=0.1, where="path = 'north/day 1.wav'")
    rows = {row["event"]: row for row in read_csv(tmp_path / "out" / "clips.csv")}
    for event, (n_samples, start) in {"1": (28_799, 4_800), "2": (5_280, 7)}.items():
        row = rows[event]
        assert soundfile.info(tmp_path / "out" / row["clip"]).frames == n_samples
        assert round(float(row["event_start_s"]) * 48_000) == start


def test_so_many_of_each_type_are_taken_its_examples_first(made, tmp_path):
    recording = made.recordings[0]
    new = [made.event(recording, 100 * n, 100 * n + 50, cluster=0).event_id for n in range(40)]
    folder = made.write()  # the last two of a type are its examples here

    def taken(name, **asked):
        steps.export(folder, "clips", tmp_path / name, clusters=[0], **asked)
        return {int(row["event"]) for row in read_csv(tmp_path / name / "clips.csv")}

    assert taken("one", most=1) == {new[-2]}
    assert taken("two", most=2) == set(new[-2:])
    ten = taken("ten", most=10)
    assert len(ten) == 10
    assert ten > set(new[-2:])
    assert taken("same", most=10) == ten
    assert taken("other", most=10, seed=1) != ten
    assert len(taken("usual")) == 20
    assert len(taken("every", most=99)) == 43


def test_what_cannot_be_cut_is_a_row_with_the_reason_and_is_counted(made, folder, tmp_path):
    (made.archive / "north" / "day 1.wav").unlink()
    soundfile.write(made.archive / "south" / "two.wav", noise(44_100, 2, seed=9), 44_100)
    flac = made.archive / "north" / "day 1.flac"
    os.utime(flac, (1, 1))  # touched, but the same
    report = steps.export(folder, "clips", tmp_path / "out")
    assert (report.events, report.files, len(report.skipped)) == (2, 4, 5)
    rows = read_csv(tmp_path / "out" / "clips.csv")
    assert len(rows) == 7
    said = {(row["path"], row["problem"]) for row in rows if row["clip"] == ""}
    gone, changed = sorted(said)
    assert gone == ("north/day 1.wav", "cannot be opened: No such file or directory")
    assert changed[0] == "south/two.wav"
    assert "was changed since it was indexed: run `oscine index` again" in changed[1]
    assert {path for path, _ in report.skipped} == {"north/day 1.wav", "south/two.wav"}
    wavs = [name for name in contents(tmp_path / "out") if name.endswith(".wav")]
    assert len(wavs) == 2


def test_the_command_line_counts_what_could_not_be_written(made, folder, tmp_path, capsys):
    (made.archive / "north" / "day 1.wav").unlink()
    arguments = ["export", "--to", "clips", "--out", tmp_path / "out", "-w", folder]
    assert run([str(word) for word in arguments]) == 0
    said = capsys.readouterr().out
    assert "events   5 of 2 recordings" in said
    assert "2 events could not be written:\n  north/day 1.wav: cannot be opened" in said


def test_clips_of_which_none_can_be_cut_are_no_export(made, folder, tmp_path, call):
    arguments = ("export", "--to", "clips", "--out", tmp_path / "out", "-w", folder)
    assert call(*arguments)[0] == 0
    before = contents(tmp_path / "out")
    shutil.rmtree(made.archive)
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    assert "none of 7 clips could be cut (the first, of north/day 1" in err
    assert "run `oscine index`" in err
    assert contents(tmp_path / "out") == before


# The page


def test_the_page_shows_names_and_more_sounds_of_each_type_from_files(learned, tmp_path):
    folder = shutil.copytree(learned[0], tmp_path / "copy.oscine")
    steps.name_sound_type(folder, 0, "rattle & <roll>")
    report = steps.export(folder, "page", tmp_path / "out", most=3)
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Type 0: rattle &amp; &lt;roll&gt;" in html
    shown = re.findall(r'<audio preload="none" src="([^"]+)"', html)
    pictures = re.findall(r'<img [^>]*src="(sounds/[^"]+)"', html)
    assert len(shown) == len(pictures) > 3
    files = contents(tmp_path / "out")
    assert sorted(files) == sorted(["index.html", CONTENTS, *shown, *pictures])
    assert report.files == len(files) - 1
    assert all(files[name].startswith((b"ID3", b"\xff\xfb", b"\xff\xf3")) for name in shown)
    types = {row.cluster for row in sound_types(folder)}
    assert html.count('<article class="type"') == len(types)
    assert report.events == len(sound_types(folder))
    assert "https://" not in re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)


def test_the_page_tells_no_time_that_is_only_when_a_file_was_written(learned, tmp_path):
    folder = shutil.copytree(learned[0], tmp_path / "copy.oscine")
    with Workspace(folder).catalogue() as catalogue:
        connection = catalogue._connection
        connection.execute("UPDATE recordings SET zone = ?", [f"UTC ({MODIFICATION})"])
    steps.export(folder, "page", tmp_path / "out", most=1)
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    (times,) = re.findall(r'"began_ms":\s*\[([^\]]+)\]', html)
    assert set(times.replace(" ", "").split(",")) == {"null"}


def sound_types(folder):
    with Workspace(folder).catalogue() as catalogue:
        return catalogue.sound_types()


def test_the_page_shows_what_was_asked_for_alone(learned, tmp_path):
    folder, archive = learned
    moved = archive.with_name("unplugged")
    archive.rename(moved)
    try:
        report = steps.export(folder, "page", tmp_path / "out", clusters=[0])
    finally:
        moved.rename(archive)
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'<article class="type" id="([^"]+)"', html) == ["type-0"]
    assert "that meet</dt><dd>cluster in (0)" in html
    n_sounds = html.count('<figure class="exemplar"')
    assert html.count("<audio ") == 0  # the pictures are there all the same
    assert len(report.skipped) == n_sounds > 0
    assert {what for _, what in report.skipped} == {
        "its file cannot be read any more, or was changed: a picture without sound"
    }


def test_the_page_has_no_other_sound_that_took_the_place_of_a_recording(learned, tmp_path):
    folder, archive = shutil.copytree(learned[0], tmp_path / "copy.oscine"), learned[1]
    assert not steps.export(folder, "page", tmp_path / "every").skipped
    with Workspace(folder).catalogue() as catalogue:
        row, other = catalogue.recordings()[:2]
        change = "UPDATE recordings SET n_bytes = ? WHERE recording_id = ?"
        catalogue._connection.execute(change, (other.n_bytes, row.recording_id))
    kept = (archive / row.path).read_bytes()
    try:
        shutil.copyfile(archive / other.path, archive / row.path)
        report = steps.export(folder, "page", tmp_path / "out")
    finally:
        (archive / row.path).write_bytes(kept)
        os.utime(archive / row.path, (row.modified_s, row.modified_s))
    assert {path for path, _ in report.skipped} == {row.path}


def test_everything_is_exported_without_torch(learned, tmp_path):
    code = """
import sys
sys.modules["torch"] = None
from oscine.cli import run
out, folder = sys.argv[1:]
for to in ("raven", "audacity", "csv", "parquet", "clips", "page"):
    assert run(["export", "--to", to, "--out", f"{out}/{to}", "-w", folder]) == 0
"""
    subprocess.run([sys.executable, "-c", code, tmp_path, learned[0]], check=True)


# What is exported


def test_conditions_and_sound_types_choose(folder, tmp_path):
    def chosen(name, **asked):
        steps.export(folder, "csv", tmp_path / name, **asked)
        return [int(row["event"]) for row in read_csv(tmp_path / name / "events.csv")]

    assert chosen("a", clusters=[0, 1]) == [3, 4, 1, 6, 5]
    assert chosen("b", clusters=[-1]) == [2, 7]
    either = "cluster = 1 or path = 'north/day 1.flac'"
    assert chosen("c", where=either) == [3, 4, 1, 6]
    assert chosen("d", where=either, clusters=[0]) == [3, 4]


@pytest.mark.parametrize(
    ("to", "asked", "said"),
    [
        ("kml", {}, "--to kml: it is one of raven, audacity, csv, parquet, clips, page"),
        ("csv", {"one_table": True}, "--one-table goes with --to raven, not with csv"),
        ("raven", {"vectors": True}, "--vectors goes with --to csv or parquet, not with raven"),
        ("page", {"margin_s": 0.0}, "--margin-s goes with --to clips, not with page"),
        ("audacity", {"most": 3}, "--most goes with --to clips or page"),
        ("clips", {"margin_s": -1.0}, "--margin-s must not be negative"),
        ("clips", {"margin_s": float("nan")}, "--margin-s must not be negative"),
        ("clips", {"most": 0}, "--most must be at least 1, not 0"),
        ("clips", {"seed": -1}, "--seed must not be negative"),
        ("csv", {"where": "hour is 5"}, "hour"),
        ("csv", {"clusters": [0, 77]}, "there is no sound type 77: they are 0 to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_written(folder, tmp_path, to, asked, said):
    with pytest.raises(WrongArgument, match=re.escape(said)):
        steps.export(folder, to, tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()


def test_steps_that_are_missing_are_said(made, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no workspace"):
        steps.export(tmp_path / "none", "csv", tmp_path / "out")
    with Workspace(made.folder, create=True).catalogue():
        pass
    with pytest.raises(ValueError, match="run `oscine index` first"):
        steps.export(made.folder, "csv", tmp_path / "out")
    made.write()
    with pytest.raises(ValueError, match="run `oscine embed` first"):
        steps.export(made.folder, "csv", tmp_path / "out", vectors=True)
    assert not (tmp_path / "out").exists()


def test_what_is_exported_is_as_it_was_when_the_export_began(folder, monkeypatch, tmp_path):
    read = Catalogue.heard_files

    def grouped_anew_meanwhile(self):
        monkeypatch.undo()
        with Workspace(folder).catalogue() as other:
            other.set_sound_types([], Stage(fingerprint="new", finished=True, facts={}))  # no names
        yield from read(self)

    steps.export(folder, "csv", tmp_path / "before")
    monkeypatch.setattr(Catalogue, "heard_files", grouped_anew_meanwhile)
    steps.export(folder, "csv", tmp_path / "meanwhile")
    assert contents(tmp_path / "meanwhile") == contents(tmp_path / "before")


# The folder

FORMS = ["raven", "audacity", "csv", "parquet", "clips"]


@pytest.mark.parametrize("to", FORMS)
def test_the_same_export_has_the_same_bytes_and_touches_nothing_else(made, folder, tmp_path, to):
    archive, workspace = contents(made.archive), contents(folder)
    for name in ("one", "two"):
        steps.export(folder, to, tmp_path / name)
    first = contents(tmp_path / "one")
    assert contents(tmp_path / "two") == first
    steps.export(folder, to, tmp_path / "two")  # it takes its own place
    assert contents(tmp_path / "two") == first
    listed = json.loads(first[CONTENTS])["files"]
    assert sorted(listed) == sorted(name for name in first if name != CONTENTS)
    assert contents(made.archive) == archive
    assert {n: b for n, b in contents(folder).items() if not n.endswith(("-wal", "-shm"))} == {
        name: content for name, content in workspace.items() if not name.endswith(("-wal", "-shm"))
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "one", "two", "w.oscine"]


def test_the_page_has_the_same_bytes_each_time(learned, tmp_path):
    for name in ("one", "two"):
        steps.export(learned[0], "page", tmp_path / name, most=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("to", ["raven", "clips"])
def test_a_run_that_was_stopped_leaves_the_old_export_and_can_be_repeated(
    folder, tmp_path, monkeypatch, to
):
    out = tmp_path / "out"
    steps.export(folder, "csv", out)
    before = contents(out)
    target = {"raven": "exported_tables._write_lines", "clips": "exported_sounds.write_clip"}[to]
    module, name = f"oscine.steps.{target}".rsplit(".", 1)
    write = getattr(sys.modules[module], name)
    done = []

    def stop_at_the_second(*arguments):
        if done:
            raise KeyboardInterrupt
        done.append(write(*arguments))

    monkeypatch.setattr(f"{module}.{name}", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        steps.export(folder, to, out)
    monkeypatch.undo()
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []
    steps.export(folder, to, out)
    steps.export(folder, to, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_what_a_killed_run_left_is_no_part_of_the_next(folder, tmp_path):
    steps.export(folder, "raven", tmp_path / "whole")
    part = tmp_path / ".out.oscine-part"
    shutil.copytree(tmp_path / "whole" / "north", part / "north")
    (part / "half.txt").write_text("half")
    (tmp_path / ".out.oscine-old").mkdir()
    (tmp_path / ".out.oscine-old" / "older.txt").write_text("older")
    steps.export(folder, "raven", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []


def test_a_run_that_was_killed_between_two_names_can_be_repeated(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    steps.export(folder, "csv", out)
    before = contents(out)
    rename = Path.rename

    def killed(self, target):
        if self.name.endswith("part"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        steps.export(folder, "csv", out)
    monkeypatch.undo()
    steps.export(folder, "csv", out)
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "out", "w.oscine"]


def test_two_runs_do_not_write_to_one_place(folder, tmp_path):
    with (
        exported_folder(tmp_path / "out", {}, []),
        pytest.raises(ValueError, match="out is being written by another run"),
    ):
        steps.export(folder, "csv", tmp_path / "out")


def refused(folder, out, said):
    before = contents(out) if out.is_dir() else None
    with pytest.raises(WrongArgument, match=said):
        steps.export(folder, "csv", out)
    assert before is None or contents(out) == before


def test_nothing_is_written_into_archive_or_workspace(made, folder, tmp_path):
    elsewhere = "where nothing is exported to .*: name a folder elsewhere"
    for out in (
        made.archive,
        made.archive / "north",
        made.archive / "north" / "new" / "newer",
        made.archive / ".." / "archive" / "new",
        folder,
        folder / "reports" / "new",
    ):
        refused(folder, out, elsewhere)
    (tmp_path / "link").symlink_to(made.archive / "north", target_is_directory=True)
    refused(folder, tmp_path / "link" / "new", elsewhere)
    assert not (made.archive / "north" / "new").exists()


def test_an_archive_that_is_gone_is_not_written_into_either(made, folder, tmp_path):
    with Workspace(folder).catalogue() as catalogue:
        catalogue.add([], [], [], retired=catalogue.files())
        catalogue.set_stage("index", Stage(fingerprint="i", finished=True, facts={}))
    refused(folder, made.archive / "new", "where nothing is exported to")


def test_a_folder_of_something_else_is_not_filled(folder, tmp_path):
    out = tmp_path / "letters"
    out.mkdir()
    (out / ".DS_Store").write_bytes(b"what a file manager leaves")
    (out / "letter.txt").write_text("dear")
    refused(folder, out, "letters holds files, and is no export: name an empty or new folder")
    (out / "letter.txt").unlink()
    steps.export(folder, "csv", out)
    (tmp_path / "file").write_text("dear")
    refused(folder, tmp_path / "file", "file is a file: name a folder")


def test_an_export_that_somebody_changed_is_not_replaced(folder, tmp_path):
    out = tmp_path / "out"
    steps.export(folder, "raven", out)
    table = out / "north" / "day 1.Table.1.selections.txt"
    corrected = table.read_text(encoding="utf-8").replace("\t\t", "\tcaw\t")
    table.write_text(corrected, encoding="utf-8")
    refused(folder, out, "was changed since it was exported, and would be lost: name another")
    assert table.read_text(encoding="utf-8") == corrected
    table.unlink()
    steps.export(folder, "raven", out)  # what was removed is no loss
    (out / "north" / "day 1.wav.Table.2.selections.txt").write_text("new")
    refused(folder, out, "is of no export, and would be lost")


# Names


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_name_becomes_one_that_every_system_takes(text):
    name = safe_name(text)
    assert 0 < len(name.encode()) <= 121
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f]', name)
    assert name[0] != "."
    assert name[-1] not in " ."
    assert not re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)", name.split(".")[0], re.IGNORECASE)
    assert safe_name(name) == name


def test_usual_names_stay_as_they_are():
    for name in ("day 1", "S4A03895_20190522_000000", "mésange (2)", "2024-05-31T04:30"[:13]):
        assert safe_name(name) == name


@given(st.lists(st.sampled_from(["a", "A", "a (2)", "b"]), max_size=12))
def test_no_two_paths_are_the_same_on_a_system_that_knows_no_case(paths):
    free = FreePaths()
    given_out = [free.take(path, ".txt").lower() for path in paths]
    assert len(set(given_out)) == len(paths)


# The command line


def test_the_command_line_takes_events_home(folder, tmp_path, call):
    def made(*words):
        return call("export", *words, "-w", folder)

    code, out, _ = made("--to", "raven", "--out", tmp_path / "a", "--cluster", 1, "--cluster", -1)
    assert code == 0
    assert f"events   4 of 2 recordings\nfiles    2\nwritten  {tmp_path / 'a'}\n" in out
    code, out, _ = made("--to", "csv", "--out", tmp_path / "b", "--where", "cluster = 0", "--json")
    found = json.loads(out)
    assert (code, found["events"], found["to"]) == (0, 3, "csv")
    assert get_args(cli.Form) == get_args(exporting.Form)
    for words, said in (
        (["--to", "kml", "--out", tmp_path / "c"], "kml"),
        (["--to", "csv"], "--out"),
        (["--to", "csv", "--out", folder / "x"], "name a folder elsewhere"),
        (["--to", "csv", "--out", tmp_path / "c", "--where", "hour is 5"], "after hour comes"),
    ):
        code, out, err = made(*words)
        assert (code, out) == (2, "")
        assert said in err


def test_times_of_an_event_are_those_of_its_recording_and_place_in_it(made, tmp_path):
    """A night across midnight, by the clocks there, to the millisecond."""
    steps.export(made.write(), "parquet", tmp_path / "out", where="site = 'north'")
    table = pl.read_parquet(tmp_path / "out" / "events.parquet")
    began = datetime(2024, 5, 31, 21, 59, 59, tzinfo=UTC)
    for row in table.iter_rows(named=True):
        at = began + timedelta(milliseconds=round(1000 * row["start_s"]))
        assert row["began_utc"] == at
        assert row["began_local"] == at.replace(tzinfo=None) + timedelta(hours=2)
