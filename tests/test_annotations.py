"""Label tables in, their store, and which events they speak of."""

import re
import sqlite3
import sys
import time
import unicodedata
from contextlib import closing
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from oscine.sound.annotations import (
    Annotation,
    AnnotationTable,
    LabelBook,
    labels_of_events,
    match_recordings,
    read_annotations,
)
from oscine.sound.archive import AUDIO_SUFFIXES
from oscine.sound.selections import event_key
from oscine.workspace.catalogue import EventRow, RecordingRow


def read(folder, text, name="labels.csv"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_annotations(file)


def said(table):
    """What a table says, without where it says so."""
    return [
        (one.path, one.start_s, one.stop_s, one.low_hz, one.high_hz, dict(one.labels))
        for one in table.annotations
    ]


def reasons(table):
    """The problems of a table as (line, rest of the sentence)."""
    found = []
    for problem in table.problems:
        name = PurePosixPath(table.file).name
        place, reason = problem.removeprefix(f"{name}, line ").split(": ", 1)
        found.append((int(place), reason))
    return found


# CSV


def test_a_row_speaks_of_a_recording_or_of_a_part_of_it(tmp_path):
    table = read(
        tmp_path,
        "path,start_s,stop_s,low_hz,high_hz,species,call\n"
        "a/1.wav,,,,,crow,\n"
        "a/2.wav,0.5,1.25,300,4e3,jay,alarm\n"
        "a/3.wav,0,1,,8000,,\n",
    )
    assert said(table) == [
        ("a/1.wav", None, None, None, None, {"species": "crow"}),
        ("a/2.wav", 0.5, 1.25, 300.0, 4000.0, {"species": "jay", "call": "alarm"}),
        ("a/3.wav", 0.0, 1.0, None, 8000.0, {}),
    ]
    assert [one.row for one in table.annotations] == [2, 3, 4]
    assert (table.format, table.columns, table.problems) == ("csv", ("species", "call"), ())
    assert {one.table for one in table.annotations} == {table.file}
    assert table.file == (tmp_path / "labels.csv").as_posix()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_ways_of_writing_a_table_make_no_difference(tmp_path, delimiter, line_end, encoding):
    rows = [
        [],
        ["path", "onset_s", "offset_s", "who", "note"],
        ["a.wav", "1", "2", "Zoë", "'two' "],
        ["", "", "", "", ""],
        [],
        ["b.wav", "3", "4", " Ann ", '"1, 2; 3\t4"'],
    ]
    lines = [delimiter.join(row) for row in rows]
    table = read(tmp_path, line_end.join(lines).encode(encoding))
    assert said(table) == [
        ("a.wav", 1.0, 2.0, None, None, {"who": "Zoë", "note": "'two'"}),
        ("b.wav", 3.0, 4.0, None, None, {"who": "Ann", "note": "1, 2; 3\t4"}),
    ]
    assert table.columns == ("who", "note")
    assert [one.row for one in table.annotations] == [3, 6]
    assert table.problems == ()


def test_a_row_of_several_lines_stands_where_it_begins(tmp_path):
    table = read(tmp_path, 'path,note\na.wav,"one\ntwo"\nb.wav,\n')
    assert [(one.row, dict(one.labels)) for one in table.annotations] == [
        (2, {"note": "one\ntwo"}),
        (4, {}),
    ]


def test_columns_without_a_name_are_row_numbers_of_other_programs(tmp_path):
    assert read(tmp_path, '"","path","call"\n"1","a.wav","caw"\n').columns == ("call",)


def test_what_looks_the_same_is_the_same_label(tmp_path):
    composed, apart = "mésange", unicodedata.normalize("NFD", "mésange")
    assert composed != apart
    table = read(tmp_path, f"path,{apart}\na.wav,{apart}\nb.wav,{composed}\n")
    assert table.columns == (composed,)
    assert [dict(one.labels) for one in table.annotations] == 2 * [{composed: composed}]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",0,1,,,x", "it names no recording"),
        ("a.wav,one,2,,,x", "start_s is 'one', which is no number"),
        ('a.wav,"1,5",2,,,x', r"start_s is '1,5'.*decimals with a point: 1\.5"),
        ("a.wav,nan,2,,,x", "start_s is 'nan', which is no number"),
        ("a.wav,0,inf,,,x", "stop_s is 'inf', which is no number"),
        ("a.wav,0,1e999,,,x", "stop_s is '1e999', which is no number"),
        ("a.wav,-0.5,1,,,x", "from -0.5 s to 1 s is no stretch"),
        ("a.wav,2,2,,,x", "from 2 s to 2 s is no stretch"),
        ("a.wav,2,1,,,x", "from 2 s to 1 s is no stretch"),
        ("a.wav,2,,,,x", "it has a start alone"),
        ("a.wav,,2,,,x", "it has a stop alone"),
        ("a.wav,0,1,high,,x", "low_hz is 'high', which is no number"),
        ("a.wav,0,1,900,900,x", "from 900 Hz to 900 Hz is no band"),
        ("a.wav,0,1,-1,900,x", "from -1 Hz to 900 Hz is no band"),
        ("a.wav,0,1,,0,x", "from 0 Hz to 0 Hz is no band"),
        ("a.wav,1,5,2,,,x", "it has 7 cells, and the header 6; text that holds ',' needs quotes"),
        ("a.wav,1", "it has 2 cells, and the header 6$"),
        ('a.wav,0,1,,,"x" y', "it cannot be split into cells"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_the_others_count(tmp_path, row, reason):
    header = "path,start_s,stop_s,low_hz,high_hz,call\n"
    table = read(tmp_path, f"{header}a.wav,0,1,,,caw\n{row}\nb.wav,0,1,,,caw\n")
    assert [one.row for one in table.annotations] == [2, 4]
    ((line, problem),) = reasons(table)
    assert line == 3
    assert re.match(reason, problem)


def test_a_quote_that_is_never_closed_is_named_where_it_opens(tmp_path):
    table = read(tmp_path, 'path,call\na.wav,caw\nb.wav,"caw\nc.wav,caw\n')
    assert [one.path for one in table.annotations] == ["a.wav"]
    assert [line for line, _ in reasons(table)] == [3]
    assert "a quote opened here and not closed" in table.problems[0]


HEADERS = ["path,start_s,stop_s,call\n", "0\t1\tcaw\n", "Begin Time (s)\tEnd Time (s)\n"]
CELLS = st.sampled_from(["a.wav", "caw", "0", "1.5", "-1", "nan", "1e999", '"', "\\", "é", "\0"])
LINES = st.lists(CELLS, max_size=5).flatmap(
    lambda cells: st.sampled_from([separator.join(cells) for separator in ",\t"])
)


@given(st.sampled_from(HEADERS), st.lists(LINES, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_every_line_is_used_or_named(tmp_path_factory, header, lines, line_end):
    table = read(tmp_path_factory.getbasetemp(), header + line_end.join(lines))
    for one in table.annotations:
        assert one.path
        assert 0 <= (one.start_s or 0) < (np.inf if one.stop_s is None else one.stop_s)
    if not any(mark in line for line in lines for mark in '"\\'):  # these join lines
        rows = [number for number, line in enumerate(lines, 2) if line.strip(", \t")]
        first = [1] if table.format == "audacity" else []
        used = [one.row for one in table.annotations]
        assert sorted(used + [line for line, _ in reasons(table)]) == first + rows
        assert len(used) + table.refused == len(first + rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no table of labels that is understood"),
        (b"file,call\na.wav,caw\n", "a CSV table with a column `path`.*Raven.*Audacity"),
        (b'"a,path,b"\nx\n', "no table of labels that is understood"),
        ("path,who\na.wav,Zoë\n".encode("cp1252"), r"not UTF-8 text \(at byte 17\).*save it"),
        ("path,who\na.wav,Zoe\n".encode("utf-16"), "not UTF-8 text"),
        (b"path,call,call\na.wav,x,y\n", "more than one column 'call'"),
        (b"path,start_s,onset_s\na.wav,1,1\n", "both start_s and onset_s"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "labels.csv") in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_annotations(tmp_path / "none.csv")


# Raven

RAVEN = [
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tCall",
    "1\tWaveform 1\t1\t0.500\t1.250\t300.0\t4000.0\tcaw",
    "1\tSpectrogram 1\t1\t0.500\t1.250\t300.0\t4000.0\tcaw",
    "2\tWaveform 1\t1\t2.000\t3.000\t0.0\t9000.0\t",
    '3\tSpectrogram 1\t1\t4.000\t5.000\t300.0\t4000.0\t"5" kek',
]


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("crow 1.Table.1.selections.txt", "crow 1"),
        ("crow 1.table.12.selections.txt", "crow 1"),
        ("crow.2024.selections.txt", "crow.2024"),
        ("crow.wav.txt", "crow.wav"),
    ],
)
def test_a_raven_selection_counts_once(tmp_path, name, recording):
    table = read(tmp_path, "\r\n".join(RAVEN), name)
    assert said(table) == [
        (recording, 0.5, 1.25, 300.0, 4000.0, {"Call": "caw"}),
        (recording, 2.0, 3.0, 0.0, 9000.0, {}),
        (recording, 4.0, 5.0, 300.0, 4000.0, {"Call": '"5" kek'}),
    ]
    assert [one.row for one in table.annotations] == [3, 4, 5]
    assert (table.format, table.columns, table.problems) == ("raven", ("Call",), ())


def test_channels_of_raven_count_from_1(tmp_path):
    rows = "".join(f"{cell}\t1\t2\tcaw\n" for cell in ("1", "2.0", "", "0", "left", "1e300"))
    table = read(tmp_path, f"Channel\tBegin Time (s)\tEnd Time (s)\tCall\n{rows}", "day.txt")
    assert [one.channel for one in table.annotations] == [0, 1, None, None, None, None]
    assert (table.columns, table.problems) == (("Call",), ())


def test_raven_says_which_file_a_selection_is_in_and_where(tmp_path):
    header = (
        "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tBegin Path\tFile Offset (s)\tCall\n"
    )
    table = read(
        tmp_path,
        header + "1\t0.5\t1.0\ta.wav\tD:\\crows\\a.wav\t0.5\tcaw\n"
        "2\t60.5\t61.25\tb.wav\t\t0.25\tkek\n"
        "3\t90\t91\tc.wav\t\t\tkek\n"
        "4\t90\t91\t\t\t1\tkek\n"
        "5\t\t91\tc.wav\t\t1\tkek\n"
        "6\t91\t90\tc.wav\t\t1\tkek\n",
        "day.txt",
    )
    assert said(table) == [
        ("D:\\crows\\a.wav", 0.5, 1.0, None, None, {"Call": "caw"}),
        ("b.wav", 0.25, 1.0, None, None, {"Call": "kek"}),
        ("c.wav", 90.0, 91.0, None, None, {"Call": "kek"}),
    ]
    assert [line for line, _ in reasons(table)] == [5, 6, 7]
    assert "names no recording" in table.problems[0]
    assert "no 'Begin Time (s)'" in table.problems[1]
    assert "no stretch of time" in table.problems[2]


def raven_rows(tmp_path, *rows):
    """Read a Raven table of (begin, end, path, offset)."""
    header = "Begin Time (s)\tEnd Time (s)\tBegin Path\tFile Offset (s)\tCall"
    lines = ["\t".join([*row, "caw"]) for row in rows]
    return read(tmp_path, "\n".join([header, *lines]), "day.txt")


def test_raven_times_of_one_file_that_contradict_each_other_are_named(tmp_path):
    table = raven_rows(
        tmp_path,
        ("0.500000000", "1", "a.wav", "0.5"),
        ("2.0004", "3", "a.wav", "2"),  # rounded otherwise: the same time
        ("9", "9.5", "a.wav", "2.25"),  # moved in a spreadsheet
        ("-3", "-2", "a.wav", "4"),
        ("4000", "4001", "a.wav", "6"),
        ("7", "7.75", "a.wav", "7"),  # made longer
        ("8", "9", "a.wav", ""),
        ("3", "4", "a.wav", "3.4"),
    )
    assert [(one.start_s, one.stop_s) for one in table.annotations] == [
        (0.5, 1.0),
        (2.0, pytest.approx(2.9996)),
        (7.0, 7.75),
        (8.0, 9.0),
    ]
    assert [line for line, _ in reasons(table)] == [4, 5, 6, 9]
    for (_, reason), (begin, offset) in zip(
        reasons(table), (("9", "2.25"), ("-3", "4"), ("4000", "6"), ("3", "3.4")), strict=True
    ):
        assert f"Begin Time (s) is {begin} and File Offset (s) {offset}, which do not" in reason
        assert "write the time from the start of the recording in both" in reason


def test_raven_times_are_held_against_each_other_where_the_table_names_no_file(tmp_path):
    header = "Begin Time (s)\tEnd Time (s)\tFile Offset (s)\tCall\n"
    table = read(tmp_path, header + "1\t2\t1\tcaw\n5\t6\t1\tcaw\n", "day.txt")
    assert said(table) == [("day", 1.0, 2.0, None, None, {"Call": "caw"})]
    assert "Begin Time (s) is 5 and File Offset (s) 1" in table.problems[0]


def test_raven_times_of_several_files_differ_by_the_same_in_all_rows_of_a_file(tmp_path):
    table = raven_rows(
        tmp_path,
        ("60.5", "61", "b.wav", "0.5"),
        ("63.0", "64", "b.wav", "3.0"),
        ("66.5", "67", "b.wav", "5.0"),  # moved in a spreadsheet
        ("120.5", "121", "c.wav", "0.5"),
        ("122.5", "123", "c.wav", "1.5"),  # one of the two was moved
        ("200.0", "201", "d.wav", "7.0"),
        ("3.0", "4", "e.wav", "7.0"),  # before its file begins
    )
    one = raven_rows(tmp_path, ("60.5", "61", "b.wav", "0.5"), ("3", "4", "c.wav", ""))
    assert [(row.path, row.start_s) for row in one.annotations] == [("b.wav", 0.5), ("c.wav", 3.0)]
    assert [(one.path, one.start_s) for one in table.annotations] == [
        ("b.wav", 0.5),
        ("b.wav", 3.0),
        ("d.wav", 7.0),
    ]
    found = reasons(table)
    assert [line for line, _ in found] == [4, 5, 6, 8]
    assert "is 66.5 and File Offset (s) 5, which" in found[0][1]
    assert "by most rows of this recording they differ by 60 s" in found[0][1]
    assert "disagree on where it begins" in found[1][1]
    assert "is 3 and File Offset (s) 7, which" in found[3][1]


def test_a_raven_table_of_a_later_one_of_several_files_is_warned_of(tmp_path):
    table = raven_rows(
        tmp_path, ("60.5", "61", "b.wav", "0.5"), ("63.001", "64", "b.wav", "3.0004")
    )
    assert [one.start_s for one in table.annotations] == [0.5, 3.0004]
    (problem,) = table.problems
    assert problem.startswith("day.txt: in all 2 rows Begin Time (s) is 60")
    # Of a single row nobody knows.
    table = raven_rows(tmp_path, ("60.5", "61", "b.wav", "0.5"))
    assert table.annotations == ()
    assert "is 60.5 and File Offset (s) 0.5" in table.problems[0]


# Audacity


def test_audacity_labels_with_and_without_a_band(tmp_path):
    table = read(
        tmp_path,
        "0.500000\t1.250000\tcaw caw\n"
        "\\\t300.000000\t4000.000000\n"
        "2.000000\t3.000000\t\n"
        "4.000000\t5.000000\tkek\n"
        "\\\t-1.000000\t4000.000000\n",
        "crow 1.txt",
    )
    assert said(table) == [
        ("crow 1", 0.5, 1.25, 300.0, 4000.0, {"label": "caw caw"}),
        ("crow 1", 2.0, 3.0, None, None, {}),
        ("crow 1", 4.0, 5.0, None, 4000.0, {"label": "kek"}),
    ]
    assert [one.row for one in table.annotations] == [1, 3, 4]
    assert (table.format, table.columns, table.problems) == ("audacity", ("label",), ())


def test_audacity_lines_that_cannot_be_used_are_named(tmp_path):
    table = read(
        tmp_path,
        "0,5\t1,25\tcaw\n1.0\t1.0\tpoint\n\\\t5\n7.0\nword\n1.0\t2.0\tcaw\n\\\t900\t300\n",
        "crow.txt",
    )
    assert table.annotations == ()
    expected = ["0.5", "no stretch", "frequencies holds two", "a tab between", "no number"]
    assert [line for line, _ in reasons(table)] == [1, 2, 3, 4, 5, 6]
    for words, problem in zip([*expected, "no band"], table.problems, strict=True):
        assert words in problem


# Files of other programs, through crowsetta


def praat(*tiers):
    """A TextGrid, written as Praat writes one; a tier is a name and its stretches or points."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0", "xmax = 9", "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for n, (name, marks) in enumerate(tiers, start=1):
        is_points = len(marks[0]) == 2
        kind, part = ("TextTier", "points") if is_points else ("IntervalTier", "intervals")
        fields = ("number", "mark") if is_points else ("xmin", "xmax", "text")
        lines += [f"    item [{n}]:", f'        class = "{kind}"', f'        name = "{name}"']
        lines += ["        xmin = 0", "        xmax = 9", f"        {part}: size = {len(marks)}"]
        for k, mark in enumerate(marks, start=1):
            lines.append(f"        {part} [{k}]:")
            for field, value in zip(fields, mark, strict=True):
                text = f'"{value}"' if isinstance(value, str) else value
                lines.append(f"            {field} = {text}")
    return "\n".join(lines) + "\n"


CALLS = ("call", [(0, 0.51234567, ""), (0.51234567, 1.25, " mésange "), (1.25, 2, "kek")])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_textgrid_is_read_by_its_stretches(tmp_path, encoding):
    pytest.importorskip("crowsetta")
    table = read(tmp_path, praat(CALLS).encode(encoding), "crow 1.TextGrid")
    assert said(table) == [
        ("crow 1", 0.51234567, 1.25, None, None, {"label": "mésange"}),
        ("crow 1", 1.25, 2.0, None, None, {"label": "kek"}),
    ]
    assert [one.row for one in table.annotations] == [1, 2]
    assert (table.format, table.columns, table.problems) == ("textgrid", ("label",), ())
    assert table.annotations[0].place == "crow 1.TextGrid, label 1"
    with LabelBook(tmp_path / "labels.sqlite") as book:
        book.replace([table])
        assert book.annotations() == list(table.annotations)


def test_what_a_textgrid_holds_beside_one_tier_of_stretches_is_named(tmp_path):
    pytest.importorskip("crowsetta")
    tiers = [CALLS, ("peak", [(0.7, "x")]), ("who", [(3, 3, "Zoe"), (4, 5, "Ann")])]
    table = read(tmp_path, praat(*tiers), "crow.TextGrid")
    assert [(one.row, one.labels["label"]) for one in table.annotations] == [
        (1, "mésange"),
        (2, "kek"),
        (4, "Ann"),
    ]
    points, several, empty = table.problems
    assert points.startswith("crow.TextGrid: tier 'peak' is left out: it holds points")
    assert several.startswith("crow.TextGrid: tiers 'call', 'who' are read into one column")
    assert empty.startswith("crow.TextGrid, label 3: from 3 s to 3 s is no stretch of time")


@pytest.mark.parametrize(
    ("name", "text", "recording"),
    [
        ("sa1.phn", "0 8000 h#\n8000 24000 sh\n", "sa1.wav"),
        (
            "Annotation.xml",
            "<Sequences><Sequence><WaveFileName>0.wav</WaveFileName>"
            "<Position>0</Position><Length>24000</Length>"
            "<Note><Position>0</Position><Length>8000</Length><Label>h#</Label></Note>"
            "<Note><Position>8000</Position><Length>16000</Length><Label>sh</Label></Note>"
            "</Sequence></Sequences>",
            "Wave/0.wav",
        ),
    ],
)
def test_what_counts_in_samples_needs_its_recording_at_hand(tmp_path, name, text, recording):
    pytest.importorskip("crowsetta")
    table = read(tmp_path, text, name)
    (problem,) = table.problems
    assert (table.annotations, table.refused) == ((), 2)
    assert problem.startswith(f"{name}: 2 labels left out, for they count in samples")
    assert f"{tmp_path.as_posix()}/{recording}: cannot be opened" in problem

    (tmp_path / recording).parent.mkdir(exist_ok=True)
    soundfile.write(tmp_path / recording, np.zeros(24_000), 16_000)
    table = read(tmp_path, text, name)
    assert table.problems == ()
    assert said(table) == [
        (PurePosixPath(recording).name, 0.0, 0.5, None, None, {"label": "h#"}),
        (PurePosixPath(recording).name, 0.5, 1.5, None, None, {"label": "sh"}),
    ]


@pytest.mark.parametrize(
    ("name", "text", "file_format"),
    [
        ("crow.TextGrid", praat(CALLS)[:-40], "textgrid"),
        ("crow.TextGrid", praat(CALLS).encode("latin-1"), "textgrid"),
        ("crow.TextGrid", "", "textgrid"),
        ("crow.phn", "0 8000\n", "timit"),
        ("crow.phn", "", "timit"),
        ("crow.xml", "<Sequences><Sequence>", "birdsong-recognition-dataset"),
        ("crow.xml", "<feed></feed>", "birdsong-recognition-dataset"),
    ],
)
def test_a_damaged_file_of_another_program_is_named(tmp_path, name, text, file_format):
    pytest.importorskip("crowsetta")
    with pytest.raises(ValueError, match=rf"cannot be read as {file_format} \(.*is it whole") as e:
        read(tmp_path, text, name)
    assert str(e.value).startswith((tmp_path / name).as_posix())


@pytest.mark.parametrize("name", ["none.TextGrid", "none.phn", "none.xml"])
def test_a_file_of_another_program_that_is_not_there_is_named(tmp_path, name):
    pytest.importorskip("crowsetta")
    with pytest.raises(FileNotFoundError, match=name):
        read_annotations(tmp_path / name)


def test_without_crowsetta_its_files_say_how_to_get_it_and_others_are_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "crowsetta", None)
    message = (
        r"crow\.TextGrid cannot be read: .* needs crowsetta: pip install 'oscine\[crowsetta\]'"
    )
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, praat(CALLS), "crow.TextGrid")
    assert str(caught.value).startswith(tmp_path.as_posix())
    assert len(read(tmp_path, "path,call\na.wav,caw\n").annotations) == 1


# The store


def annotation(row=2, **changes):
    one = Annotation(
        table="labels.csv",
        row=row,
        path="a.wav",
        start_s=None,
        stop_s=None,
        low_hz=None,
        high_hz=None,
        labels={"call": "caw"},
    )
    return replace(one, **changes)


def table_of(file, annotations, columns=("call",)):
    return AnnotationTable(
        file=file,
        format="csv",
        columns=columns,
        annotations=tuple(replace(one, table=file) for one in annotations),
        refused=0,
        problems=(),
    )


def test_labels_come_back_by_file_and_line(tmp_path):
    part = annotation(3, start_s=0.1, stop_s=0.2, low_hz=300.0, labels={"who": "Zoë", "b": "1"})
    second = table_of("b.csv", [annotation(10), annotation(2, labels={})], ("site", "call"))
    first = table_of("a.csv", [part], ("who", "b", "call"))
    with LabelBook(tmp_path / "labels.sqlite") as book:
        assert book.annotations() == []
        book.replace([second, first])
    with LabelBook(tmp_path / "labels.sqlite") as book:
        assert book.annotations() == [*first.annotations, *second.annotations[::-1]]


def test_a_file_that_is_read_again_replaces_its_rows_alone(tmp_path):
    other = table_of("b.csv", [annotation(2)])
    new = table_of("a.csv", [annotation(5, labels={"who": "Ann"})], ("who",))
    with LabelBook(tmp_path / "labels.sqlite") as book:
        book.replace([table_of("a.csv", [annotation(2), annotation(3)]), other])
        book.replace([new])
        assert book.annotations() == [*new.annotations, *other.annotations]


def test_all_tables_are_put_in_or_none(tmp_path):
    before = table_of("a.csv", [annotation(2)])
    twice = table_of("b.csv", [annotation(2), annotation(2)])  # no two rows begin on one line
    with LabelBook(tmp_path / "labels.sqlite") as book:
        book.replace([before])
    with (
        pytest.raises(ValueError, match=r"labels\.sqlite cannot be used"),
        LabelBook(tmp_path / "labels.sqlite") as book,
    ):
        book.replace([table_of("a.csv", [annotation(7)]), twice])
    with LabelBook(tmp_path / "labels.sqlite") as book:
        assert book.annotations() == list(before.annotations)


def test_a_file_that_is_no_label_book_is_refused_and_kept(tmp_path):
    file = tmp_path / "labels.sqlite"
    file.write_bytes(b"no database " * 100)
    with pytest.raises(ValueError, match=r"labels\.sqlite holds no labels.*remove it"):
        LabelBook(file)
    assert file.read_bytes() == b"no database " * 100


def test_a_label_book_of_another_version_is_refused(tmp_path):
    file = tmp_path / "labels.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="made by another version"):
        LabelBook(file)


def test_a_label_book_of_version_1_keeps_its_labels(tmp_path):
    file = tmp_path / "labels.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            """
            CREATE TABLE annotations (
                file TEXT NOT NULL, row INTEGER NOT NULL, path TEXT NOT NULL, start_s REAL,
                stop_s REAL, low_hz REAL, high_hz REAL, labels TEXT NOT NULL,
                PRIMARY KEY (file, row)
            ) STRICT;
            INSERT INTO annotations
                VALUES ('a.csv', 2, 'one.wav', 0.5, 1.5, NULL, 4000.0, '{"species": "jay"}');
            PRAGMA user_version = 1;
            """
        )
    said = annotation(path="one.wav", start_s=0.5, stop_s=1.5, high_hz=4000.0)
    old = table_of("a.csv", [replace(said, labels={"species": "jay"})])
    new = table_of("b.csv", [annotation(event="13-9f3a21c4", channel=1)])
    with LabelBook(file) as book:
        book.replace([new])
        assert book.annotations() == [*old.annotations, *new.annotations]


# Which recording

RATE_HZ = 1000
N_SAMPLES = 10_000


def recording(recording_id, path, **changes):
    row = RecordingRow(
        recording_id=recording_id,
        root="/archive/crows",
        path=path,
        channel=-1,
        n_bytes=1,
        modified_s=0.0,
        content_hash=f"{recording_id:032x}",
        state="whole",
        reason="",
        encoding="WAV PCM_16",
        sample_rate_hz=RATE_HZ,
        n_channels=1,
        n_samples=N_SAMPLES,
        n_promised=N_SAMPLES,
        n_valid_bands=128,
        tape_row=0,
        n_frames=100,
    )
    return replace(row, **changes)


ARCHIVE = [
    recording(1, "a/1.wav"),
    recording(2, "b/1.wav"),
    recording(3, "b/2.flac"),
    recording(4, unicodedata.normalize("NFD", "b/é.wav")),
    recording(5, "3.wav", root="/archive/jays"),
    recording(6, "3.wav", root="/archive/ravens"),
    recording(7, "crows/a/1.wav", root="/archive/old"),
    recording(8, "4.wav", root="/archive/jays"),
    recording(9, "4.mp3", root="/archive/jays"),
]


@pytest.mark.parametrize(
    ("path", "recording_id"),
    [
        ("b/1.wav", 2),
        ("./b//x/../1.wav", 2),
        ("b\\1.wav", 2),
        ("b/1", 2),
        ("b/1.FLAC", 2),
        ("2.flac", 3),
        ("2", 3),
        ("b/é.wav", 4),
        (unicodedata.normalize("NFD", "é"), 4),
        ("/archive/crows/b/1.wav", 2),
        ("D:\\field\\b\\1.wav", 2),
        ("jays/3.wav", 5),
        ("/archive/ravens/3.wav", 6),
        ("D:/copy of/ravens/3.wav", 6),
        ("crows/a/1.wav", 7),  # just so below a root, before what ends so
        ("/archive/crows/a/1.wav", 1),
        ("4.wav", 8),
        ("4.mp3", 9),
    ],
)
def test_a_path_finds_its_recording(path, recording_id):
    matched = match_recordings([annotation(path=path)], ARCHIVE)
    assert matched.problems == ()
    (one,) = matched.annotations
    assert one.recording_id == recording_id
    assert (one.interval.start, one.interval.stop) == (0, N_SAMPLES)
    assert one.interval.sample_rate_hz == RATE_HZ


@pytest.mark.parametrize("path", ["c/1.wav", "5.wav", "b", "..", "D:\\field\\c\\2.flac", "4.txt"])
def test_a_path_of_no_recording_is_named_once_with_its_rows(path):
    rows = [annotation(row, path=path) for row in (2, 3)]
    rows = [replace(one, table="/field/labels.csv") for one in rows]
    matched = match_recordings([*rows, annotation(4, path="b/1.wav")], ARCHIVE)
    assert [one.annotation.row for one in matched.annotations] == [4]
    assert matched.problems == (f"labels.csv: {path!r} (2 rows) is no recording of the archive",)


@pytest.mark.parametrize(
    ("path", "candidates"),
    [
        ("1.wav", ["crows/a/1.wav", "crows/b/1.wav", "old/crows/a/1.wav"]),
        ("3.wav", ["jays/3.wav", "ravens/3.wav"]),
        ("D:\\new\\3.wav", ["jays/3.wav", "ravens/3.wav"]),
        ("4", ["jays/4.wav", "jays/4.mp3"]),
    ],
)
def test_a_path_of_several_recordings_is_named_with_them(path, candidates):
    matched = match_recordings([annotation(path=path)], ARCHIVE)
    assert matched.annotations == ()
    (problem,) = matched.problems
    named = ", ".join(f"/archive/{candidate}" for candidate in candidates)
    assert f"(1 row) could be any of {named}: write more" in problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "unreadable", "reason": "no sound"}, "was not heard: unreadable (no sound)"),
        ({"state": "duplicate", "reason": "the same bytes as x.wav"}, "the same bytes as x.wav"),
        ({"n_frames": 0}, "was not heard: whole (no frames on the tape)"),
    ],
)
def test_recordings_that_were_not_heard_are_named_with_their_state(changes, words):
    matched = match_recordings([annotation()], [recording(1, "a.wav", **changes)])
    assert matched.annotations == ()
    assert len(matched.problems) == 1
    assert words in matched.problems[0]


def test_a_damaged_recording_is_heard_and_its_first_channel_stands_for_all():
    rows = [recording(3 - channel, "a.wav", channel=channel, state="damaged") for channel in (1, 0)]
    (one,) = match_recordings([annotation()], rows).annotations
    assert one.recording_id == 3


def test_a_row_is_of_the_channel_of_its_event_or_of_the_one_that_it_names():
    rows = [recording(1 + n, "a.wav", channel=n, n_channels=2) for n in (0, 1)]
    rows.append(recording(3, "mixed.wav", n_channels=2))
    its = replace(event(100, 200, recording_id=2), event_id=7)
    of_event = annotation(start_s=0.1, stop_s=0.2, event=event_key(its, rows[1].content_key))
    said = [
        of_event,
        replace(of_event, channel=0),
        annotation(4, channel=1),
        annotation(5, channel=0),
        annotation(6, channel=2),
        annotation(7, path="mixed.wav", channel=1),
    ]
    matched = match_recordings(said, rows, {7: its})
    placed = [(one.recording_id, one.event_id) for one in matched.annotations]
    assert placed == [(2, 7), (2, 7), (2, None), (1, None), (1, None), (3, None)]
    assert matched.problems == (
        "labels.csv, line 6: channel 3 of a.wav was not heard by itself: channel 1 stands for it",
    )


@pytest.mark.parametrize(
    ("start_s", "stop_s", "samples", "problem"),
    [
        (0.0, 10.0, (0, 10_000), None),
        (1.2344, 2.3456, (1234, 2346), None),
        (1.0, 1.0001, (1000, 1001), None),
        (9.0, 10.0999, (9000, 10_000), None),
        (9.0, 10.2, (9000, 10_000), "stops at 10.2 s, beyond the end of a.wav at 10.000 s: cut"),
        (9.0, 1e308, (9000, 10_000), "cut there"),
        (9.99999, 10.0, None, "starts at 9.99999 s, beyond the end"),
        (10.0, 10.05, None, "starts at 10 s, beyond the end of a.wav at 10.000 s: left out"),
        (1e307, 1e308, None, "left out"),
    ],
)
def test_times_are_samples_within_the_recording(start_s, stop_s, samples, problem):
    rows = [recording(1, "a.wav")]
    one = annotation(start_s=start_s, stop_s=stop_s, table="/field/labels.csv")
    matched = match_recordings([one], rows)
    assert [(m.interval.start, m.interval.stop) for m in matched.annotations] == (
        [samples] if samples else []
    )
    assert len(matched.problems) == (problem is not None)
    for named in matched.problems:
        assert named.startswith("labels.csv, line 2: ")
        assert problem in named


def test_matching_many_paths_of_one_name_takes_no_square_of_them():
    n = 10_000
    rows = [recording(k + 1, f"bird {k}/song.wav") for k in range(n)]
    paths = [f"crows/bird {k}/song" for k in range(n)]
    started = time.perf_counter()
    matched = match_recordings([annotation(k, path=path) for k, path in enumerate(paths)], rows)
    assert [one.recording_id for one in matched.annotations] == list(range(1, n + 1))
    assert time.perf_counter() - started < 10  # a square takes minutes


# Which events


def event(start, stop, recording_id=1, low_hz=1000.0, high_hz=2000.0):
    return EventRow(
        event_id=1,
        recording_id=recording_id,
        start_frame=start,
        stop_frame=stop,
        start_sample=start,
        stop_sample=stop,
        low_hz=low_hz,
        high_hz=high_hz,
        level_db=20.0,
    )


def part(start, stop, label, path="a.wav", **changes):
    labels = {"call": label} if label else {"other": "x"}
    return annotation(
        path=path, start_s=start / RATE_HZ, stop_s=stop / RATE_HZ, labels=labels, **changes
    )


def whole(label, path="a.wav", **changes):
    return annotation(path=path, labels={"call": label}, **changes)


def labelled(events, annotations, recordings):
    matched = match_recordings(annotations, recordings)
    assert matched.problems == ()
    return labels_of_events(events, matched, "call")


@pytest.mark.parametrize(
    ("annotations", "label"),
    [
        ([part(150, 300, "half of the event")], "half of the event"),
        ([part(151, 300, "less")], None),
        ([part(60, 140, "half of the label")], "half of the label"),
        ([part(50, 120, "less than half of both")], None),
        ([part(200, 300, "beside")], None),
        ([part(0, 5000, "around")], "around"),
        ([part(100, 160, "less"), part(120, 300, "more")], "more"),
        ([part(0, 5000, "long"), part(90, 210, "near")], "near"),
        ([part(0, 300, "first"), part(0, 300, "second")], "first"),
        ([part(100, 200, "elsewhere", low_hz=2000.0)], None),
        ([part(100, 200, "elsewhere", high_hz=1000.0)], None),
        ([part(100, 200, "band", low_hz=1999.0), part(100, 200, "open")], "band"),
        ([part(100, 200, "x", low_hz=2000.0), part(100, 160, "in band")], "in band"),
        ([part(100, 200, "")], None),
        ([whole("all")], "all"),
        ([whole("all"), part(100, 150, "part")], "part"),
        ([whole("all"), part(100, 200, "")], "all"),
        ([whole("high", low_hz=5000.0)], None),
        ([whole("another", path="b.wav")], None),
    ],
)
def test_the_label_of_an_event(annotations, label):
    recordings = [recording(1, "a.wav"), recording(2, "b.wav")]
    assert labelled([event(100, 200)], annotations, recordings) == [label]


def test_labels_of_any_length_reach_an_event_at_their_end():
    recordings = [recording(1, "a.wav")]
    for n in range(1, 70):
        at_the_end = [event(n - 1, n + 1), event(n, n + 2)]
        assert labelled(at_the_end, [part(0, n, "caw")], recordings) == ["caw", None]


def test_a_label_holds_for_all_channels_of_its_file():
    recordings = [recording(1 + channel, "a.wav", channel=channel) for channel in (0, 1)]
    recordings.append(recording(3, "b.wav"))
    events = [event(100, 200, recording_id) for recording_id in (1, 2, 3)]
    annotations = [part(100, 200, "caw"), whole("kek", path="b.wav")]
    assert labelled(events, annotations, recordings) == ["caw", "caw", "kek"]
    annotations = [part(100, 200, "caw"), part(120, 200, "jay", channel=1)]
    assert labelled(events, annotations, recordings) == ["caw", "jay", None]
    assert labelled(events, annotations[1:], recordings) == ["jay", "jay", None]


def test_labels_are_sorted_once_however_many_events_and_columns_are_asked_one_by_one():
    recordings = [recording(1, "a.wav", n_samples=10**9)]
    said = [
        replace(part(1000 * n, 1000 * n + 100, "x", row=n), labels={"call": str(n), "mood": "calm"})
        for n in range(50_000)
    ]
    matched = match_recordings(said, recordings)
    started = time.perf_counter()
    for n in range(0, 50_000, 100):
        one = event(1000 * n, 1000 * n + 80)
        assert labels_of_events([one], matched, "call") == [str(n)]
        assert labels_of_events([one], matched, "mood") == ["calm"]
        assert labels_of_events([one], matched, "none") == [None]
    assert time.perf_counter() - started < 10  # sorted anew each time, minutes


def brute_force(one_event, annotations, paths):
    """The rule as it is written, one label after the other."""
    best = None
    fallback = None
    for number, one in enumerate(annotations):
        if one.path != paths[one_event.recording_id] or "call" not in one.labels:
            continue
        low = 0 if one.low_hz is None else one.low_hz
        high = np.inf if one.high_hz is None else one.high_hz
        if min(high, one_event.high_hz) <= max(low, one_event.low_hz):
            continue
        if one.start_s is None:
            fallback = fallback or one.labels["call"]
            continue
        start, stop = round(one.start_s * RATE_HZ), round(one.stop_s * RATE_HZ)
        samples = set(range(start, stop))
        shared = samples & set(range(one_event.start_sample, one_event.stop_sample))
        covers = len(shared) >= (one_event.stop_sample - one_event.start_sample) / 2
        is_covered = len(shared) >= len(samples) / 2
        rank = (len(shared), -len(samples), -number)
        if shared and (covers or is_covered) and (best is None or rank > best[0]):
            best = rank, one.labels["call"]
    return best[1] if best else fallback


STRETCHES = st.tuples(st.integers(0, 60), st.integers(1, 40)).map(lambda t: (t[0], t[0] + t[1]))
BANDS = st.tuples(st.integers(1, 4), st.integers(1, 3)).map(lambda t: (t[0], t[0] + t[1]))
PATHS = {1: "a.wav", 2: "b.wav"}


@st.composite
def annotation_rows(draw, number):
    path = draw(st.sampled_from(["a.wav", "b.wav"]))
    low_hz, high_hz = draw(BANDS)
    band = {
        "low_hz": draw(st.sampled_from([None, float(low_hz)])),
        "high_hz": draw(st.sampled_from([None, float(high_hz)])),
    }
    if draw(st.integers(0, 4)) == 0:
        return whole(str(number), path, row=number, **band)
    start, stop = draw(STRETCHES)
    label = draw(st.sampled_from(["", str(number), str(number)]))
    return part(start, stop, label, path, row=number, **band)


@st.composite
def event_rows(draw):
    (start, stop), (low_hz, high_hz) = draw(STRETCHES), draw(BANDS)
    return event(start, stop, draw(st.sampled_from([1, 2])), float(low_hz), float(high_hz))


@given(st.data())
def test_labels_of_events_agree_with_brute_force(data):
    n_annotations = data.draw(st.integers(0, 12))
    annotations = [data.draw(annotation_rows(number)) for number in range(1, n_annotations + 1)]
    events = data.draw(st.lists(event_rows(), max_size=8))
    recordings = [recording(number, path) for number, path in PATHS.items()]
    assert labelled(events, annotations, recordings) == [
        brute_force(one, annotations, PATHS) for one in events
    ]


def test_many_events_and_labels_take_no_square_of_them(rng):
    n = 20_000
    long = recording(1, "a.wav", n_samples=100 * n)
    starts = np.sort(rng.integers(0, 100 * n - 200, n)).tolist()
    annotations = [part(start, start + 80, str(start)) for start in starts]
    annotations.insert(0, part(0, 100 * n, "all of it, as a part"))
    events = [event(start, start + 80) for start in starts]
    started = time.perf_counter()
    assert labelled(events, annotations, [long]) == [str(start) for start in starts]
    assert time.perf_counter() - started < 10  # a square takes minutes


# Real tables


@pytest.mark.parametrize(
    ("name", "n_rows", "columns"),
    [("labels.csv", 702, 21), ("syllables.csv", 652, 1), ("events.csv", 18, 1)],
)
def test_real_tables_are_read_and_matched_whole(real_data, name, n_rows, columns):
    table = read_annotations(real_data / name)
    assert table.problems == ()
    assert (len(table.annotations), len(table.columns)) == (n_rows, columns)
    files = [path for path in real_data.rglob("*") if path.suffix in AUDIO_SUFFIXES]
    recordings = [
        recording(
            number,
            file.relative_to(real_data).as_posix(),
            root=str(real_data),
            n_samples=600 * RATE_HZ,
        )
        for number, file in enumerate(sorted(files), start=1)
    ]
    matched = match_recordings(table.annotations, recordings)
    assert matched.problems == ()
    assert len(matched.annotations) == n_rows
