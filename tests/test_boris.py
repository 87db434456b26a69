"""Exports of BORIS, Solomon Coder and JWatcher give back what somebody saw."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from boris_exports import (
    Coded,
    Seen,
    aggregated_from_8,
    aggregated_to_7,
    tabular_from_8,
    tabular_status,
    tabular_to_7,
    write_text,
    write_xlsx,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from oscine.behaviour.boris import boris_shape, read_boris
from oscine.behaviour.coders import (
    is_jwatcher,
    is_solomon,
    read_jwatcher,
    read_solomon,
)
from oscine.behaviour.config import LogConfig
from oscine.behaviour.log import read_log
from oscine.behaviour.parts import FIRST_TO_LAST, clock_ms, media_key
from oscine.behaviour.raw import RawTable, read_table
from oscine.behaviour.tables import CONTEXT, EFFORT, OBSERVATIONS
from oscine.config import WrongArgument

TO_7 = "BORIS tabular events, versions 2 to 7"
SHAPES = {
    "tabular to 7": (tabular_to_7, TO_7),
    "tabular to 7, no length": (lambda coded: tabular_to_7(coded, knows_length=False), TO_7),
    "tabular, status": (tabular_status, "BORIS tabular events, version 7 or 8"),
    "tabular from 8": (tabular_from_8, "BORIS tabular events, version 8 or later"),
    "aggregated to 5": (
        lambda coded: aggregated_to_7(coded, point_stops=False),
        "BORIS aggregated events, versions 2 to 7",
    ),
    "aggregated to 7": (aggregated_to_7, "BORIS aggregated events, versions 2 to 7"),
    "aggregated from 8": (aggregated_from_8, "BORIS aggregated events, version 8 or later"),
}
WRITERS = {
    "tsv": lambda file, rows: write_text(file.with_suffix(".tsv"), rows),
    "csv": lambda file, rows: write_text(file.with_suffix(".csv"), rows, separator=","),
    "decimal comma": lambda file, rows: write_text(
        file.with_suffix(".csv"), rows, separator=";", decimal=","
    ),
    "xlsx": lambda file, rows: write_xlsx(file.with_suffix(".xlsx"), rows),
}
START_MS = 1_714_046_280_000  # 2024-04-25 11:58 UTC, 12:58 in London


def as_read(rows):
    """A table without a file, as it is read from one."""
    header = next(at for at, row in enumerate(rows) if "Behavior" in row)
    columns = rows[header]
    return RawTable(
        file=Path("events.tsv"),
        columns=tuple(columns),
        rows=tuple((header + at + 2, tuple(row)) for at, row in enumerate(rows[header + 1 :])),
        preamble=tuple(tuple(row) for row in rows[:header] if any(row)),
    )


def read(rows, **settings):
    return read_boris(as_read(rows), LogConfig(**settings))


def seen(parts):
    """What was seen, without the order of rows."""
    columns = ["behaviour", "subject", "is_state", "timeline", "start_ms", "stop_ms"]
    return sorted(parts.observations.select(columns).rows())


def effort(parts):
    return parts.effort.select("session", "timeline", "start_ms", "stop_ms", "source").rows()


def problems(parts):
    return [(one.row, one.kind, one.what) for one in parts.problems]


# What the exports look like, written out after the user guide


VERSION_5 = """\
Observation id\tperch 3\t\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t\t
Media file(s)\t\t\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t\t
Player #1\tC:\\films\\perch_3.wav\t\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t\t
Observation date\t2018-05-02 06:12:00\t\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t\t
Description\tmorning\t\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t\t
Time offset (s)\t0.0\t\t\t\t\t\t\t\t
\t\t\t\t\t\t\t\t\t
Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\t\
Behavioral category\tModifier 1\tComment\tStatus
2.500\tC:\\films\\perch_3.wav\t90.000\t25.0\tKra\tpreen\tcomfort\twing\t\tSTART
4.250\tC:\\films\\perch_3.wav\t90.000\t25.0\t\tcaw\t\t\tloud\tPOINT
7.125\tC:\\films\\perch_3.wav\t90.000\t25.0\tKra\tpreen\tcomfort\twing\t\tSTOP
"""
VERSION_7 = """\
Observation id,Observation date,Description,Media file,Total length,FPS,weather,Subject,Behavior,\
Behavioral category,Modifiers,Behavior type,Start (s),Stop (s),Duration (s),\
Comment start,Comment stop
perch 3,2018-05-02 06:12:00,morning,C:\\films\\perch_3.wav,90.000,25.0,rain,Kra,preen,comfort,wing,\
STATE,2.500,7.125,4.625,,
perch 3,2018-05-02 06:12:00,morning,C:\\films\\perch_3.wav,90.000,25.0,rain,No focal subject,caw,,,\
POINT,4.250,4.250,NA,loud,
"""
VERSION_8 = """\
Observation id,Observation date,Description,Observation duration,Observation type,Source,\
Time offset (s),Media duration (s),FPS,weather,Subject,Behavior,Behavioral category,Modifier #1,\
Behavior type,Time,Media file name,Image index,Image file path,Comment
perch 3,2018-05-02 06:12:00,morning,4.625,Media file(s),player #1:films/perch_3.wav,0,90.000,\
25.000,rain,Kra,preen,comfort,wing,START,2.500,films/perch_3.wav,62,NA,
perch 3,2018-05-02 06:12:00,morning,4.625,Media file(s),player #1:films/perch_3.wav,0,90.000,\
25.000,rain,,caw,,,POINT,4.250,films/perch_3.wav,106,NA,loud
perch 3,2018-05-02 06:12:00,morning,4.625,Media file(s),player #1:films/perch_3.wav,0,90.000,\
25.000,rain,Kra,preen,comfort,wing,STOP,7.125,films/perch_3.wav,178,NA,
"""


@pytest.mark.parametrize("text", [VERSION_5, VERSION_7, VERSION_8])
def test_exports_of_three_versions_say_the_same(tmp_path, text):
    file = tmp_path / "events.txt"
    file.write_text(text)
    table = read_table(file)
    assert boris_shape(table)
    parts = read_boris(table, LogConfig())
    assert seen(parts) == [
        ("caw", "", False, "file:perch_3", 4250, 4250),
        ("preen", "Kra", True, "file:perch_3", 2500, 7125),
    ]
    assert effort(parts) == [("perch 3", "file:perch_3", 0, 90_000, "media")]
    assert parts.observations["log"].unique().to_list() == ["events"]
    assert not parts.problems
    assert any("modifiers" in sentence for sentence in parts.guessed)
    assert any("from end to end" in sentence for sentence in parts.guessed)


HIDE = Coded(
    seen=[
        Seen(behaviour="peck", start_s=3.3),
        Seen(behaviour="fly", start_s=4, stop_s=10.75, subject="A", modifiers=("up", "fast")),
        Seen(behaviour="fly", start_s=7.125, stop_s=12, subject="B"),
        Seen(behaviour="fly", start_s=11, stop_s=11.5, subject="A", modifiers=("up", "fast")),
        Seen(behaviour="peck", start_s=599.999, subject="B"),
    ]
)
HIDE_SEEN = [
    ("fly", "A", True, "file:hide_1", 4000, 10_750),
    ("fly", "A", True, "file:hide_1", 11_000, 11_500),
    ("fly", "B", True, "file:hide_1", 7125, 12_000),
    ("peck", "", False, "file:hide_1", 3300, 3300),
    ("peck", "B", False, "file:hide_1", 599_999, 599_999),
]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_read_from_every_kind_of_file(tmp_path, shape, writer):
    write, named = SHAPES[shape]
    table = read_table(WRITERS[writer](tmp_path / "events", write(HIDE)))
    assert boris_shape(table) == named
    parts = read_boris(table, LogConfig())
    assert seen(parts) == HIDE_SEEN
    assert not parts.problems
    assert parts.observations.schema == dict(OBSERVATIONS)
    assert parts.effort.schema == dict(EFFORT)
    assert parts.context.schema == dict(CONTEXT)
    assert parts.observations["observation"].to_list() == [0, 1, 2, 3, 4]
    first, last = (3300, 599_999) if "no length" in shape else (0, 600_000)
    source = FIRST_TO_LAST if "no length" in shape else "media"
    assert effort(parts) == [("obs 1", "file:hide_1", first, last, source)]


@st.composite
def codings(draw, most_media=1):
    """Whatever can be coded: bouts of one animal, behaviour and modifiers do not overlap."""
    whole_seen = []
    lengths = draw(st.lists(st.integers(10, 60_000), min_size=1, max_size=most_media))
    instants = st.integers(0, sum(lengths) - 1)
    keys = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["peck", "call", "fly", "rest"]),
                st.sampled_from(["No focal subject", "A", "B"]),
                st.sampled_from([(), ("up",), ("up", "fast")]),
            ),
            unique=True,
            min_size=1,
            max_size=4,
        )
    )
    for behaviour, subject, modifiers in keys:
        common = {"behaviour": behaviour, "subject": subject, "modifiers": modifiers}
        times = sorted(draw(st.lists(instants, unique=True, min_size=2, max_size=6)))
        if behaviour in ("peck", "call"):
            whole_seen += [Seen(start_s=time / 1000, **common) for time in times]
        else:
            are_apart = draw(st.booleans())  # else each stops where the next one starts
            whole_seen += [
                Seen(start_s=start / 1000, stop_s=stop / 1000, **common)
                for at, (start, stop) in enumerate(pairwise(times))
                if not (are_apart and at % 2)
            ]
    media = tuple((f"day {at}.wav", ms / 1000) for at, ms in enumerate(lengths))
    return Coded(seen=whole_seen, media=media)


def truth(coded):
    """What a coding comes to, a file at a time."""
    rows = []
    begins = 0
    for file, length_s in coded.media:
        ends = begins + round(1000 * length_s)
        for one in coded.seen:
            start = round(1000 * one.start_s)
            stop = start if one.stop_s is None else round(1000 * one.stop_s)
            is_state = stop > start
            if start < ends and (stop > begins if is_state else start >= begins):
                named = f" ({', '.join(one.modifiers)})" if one.modifiers else ""
                subject = "" if one.subject == "No focal subject" else one.subject
                held = max(start, begins) - begins, min(stop, ends) - begins
                timeline = f"file:{file.removesuffix('.wav')}"
                rows.append((one.behaviour + named, subject, is_state, timeline, *held))
        begins = ends
    return sorted(rows)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=20)
@given(coded=codings())
def test_whatever_is_coded_is_read_back_the_same(shape, coded):
    parts = read(SHAPES[shape][0](coded), modifiers=True)
    assert not parts.problems
    assert seen(parts) == truth(coded)


@pytest.mark.parametrize("shape", ["tabular from 8", "aggregated from 8"])
@settings(max_examples=20)
@given(coded=codings(most_media=3))
def test_what_runs_over_several_files_is_parted_where_they_end(shape, coded):
    parts = read(SHAPES[shape][0](coded), modifiers=True)
    assert not parts.problems
    assert seen(parts) == truth(coded)
    lengths = [(f"file:{file[:-4]}", 0, round(1000 * s), "media") for file, s in coded.media]
    assert [one[1:] for one in effort(parts)] == lengths


# Which clock


def test_a_declared_start_of_the_media_gives_absolute_times():
    parts = read(tabular_from_8(HIDE), media_start="2024-04-25T12:58:00+01:00", site="=hide")
    assert [one[3:5] for one in seen(parts)] == [
        ("site:hide", START_MS + ms) for ms in (4000, 11_000, 7125, 3300, 599_999)
    ]
    assert effort(parts) == [("obs 1", "site:hide", START_MS, START_MS + 600_000, "media")]


def test_a_start_without_zone_is_in_the_zone_of_the_observer():
    declared = {"media_start": "2024-04-25 12:58:00", "timezone": "Europe/London"}
    assert seen(read(tabular_to_7(HIDE), **declared))[0][4] == START_MS + 4000
    with pytest.raises(WrongArgument, match="--timezone"):
        read(tabular_to_7(HIDE), media_start="2024-04-25 12:58:00")
    with pytest.raises(WrongArgument, match="neither a table nor a time"):
        read(tabular_to_7(HIDE), media_start="noon")


def test_a_table_gives_each_file_its_start(tmp_path):
    morning = Coded(name="a", seen=[Seen(behaviour="peck", start_s=1)], media=(("x/1.wav", 9.0),))
    evening = Coded(name="b", seen=[Seen(behaviour="peck", start_s=2)], media=(("x/2.wav", 9.0),))
    third = Coded(name="c", seen=[Seen(behaviour="peck", start_s=3)], media=(("x/3.wav", 9.0),))
    rows = aggregated_to_7(morning, evening, third)
    starts = tmp_path / "starts.csv"
    starts.write_text("media,start\n1.wav,2024-04-25T11:58:00Z\nx/2,2024-04-25T12:58:00Z\n")
    parts = read(rows, media_start=str(starts))
    hour = 3_600_000
    assert parts.observations["timeline"].to_list() == ["site:", "site:", "file:3"]
    assert parts.observations["start_ms"].to_list() == [
        START_MS + 1000,
        START_MS + hour + 2000,
        3000,
    ]
    with pytest.raises(WrongArgument, match="3 media"):
        read(rows, media_start="2024-04-25T12:58:00+01:00")
    starts.write_text("media,start\n1.wav,2024-04-25T11:58:00Z\n1,2024-04-25T12:58:00Z\n")
    with pytest.raises(WrongArgument, match=r"line 3: '1' has a start already"):
        read(rows, media_start=str(starts))
    starts.write_text("file,start\n1.wav,2024-04-25T11:58:00Z\n")
    with pytest.raises(WrongArgument, match="columns media and start"):
        read(rows, media_start=str(starts))


TWO_FILES = Coded(
    seen=[
        Seen(behaviour="rest", start_s=50, stop_s=130),
        Seen(behaviour="peck", start_s=40),
        Seen(behaviour="peck", start_s=100),
    ],
    media=(("a.wav", 100.0), ("b.wav", 60.0)),
)


def test_several_files_with_starts_of_their_own_need_not_follow_one_another(tmp_path):
    starts = tmp_path / "starts.csv"
    starts.write_text("media;start\na;2024-04-25T11:58:00Z\nb;2024-04-25T12:58:00Z\n")
    second_ms = START_MS + 3_600_000
    parts = read(tabular_from_8(TWO_FILES), media_start=str(starts))
    assert seen(parts) == [
        ("peck", "", False, "site:", START_MS + 40_000, START_MS + 40_000),
        ("peck", "", False, "site:", second_ms, second_ms),
        ("rest", "", True, "site:", START_MS + 50_000, START_MS + 100_000),
        ("rest", "", True, "site:", second_ms, second_ms + 30_000),
    ]
    assert [one[2:4] for one in effort(parts)] == [
        (START_MS, START_MS + 100_000),
        (second_ms, second_ms + 60_000),
    ]


def test_several_files_after_one_declared_start_follow_without_a_gap():
    parts = read(tabular_from_8(TWO_FILES), media_start="2024-04-25T11:58:00Z")
    assert ("rest", "", True, "site:", START_MS + 50_000, START_MS + 130_000) in seen(parts)
    assert any("without a gap" in sentence for sentence in parts.guessed)


@pytest.mark.parametrize("shape", ["tabular to 7", "tabular to 7, no length", "aggregated to 7"])
def test_what_lies_in_later_files_is_refused_where_their_lengths_are_unknown(shape):
    parts = read(SHAPES[shape][0](TWO_FILES))
    refused = {row for row, kind, what in problems(parts) if "later one of several media" in what}
    in_first = 0 if "no length" in shape else 1
    assert len(refused) == len(parts.problems) == 3 - in_first
    assert len(parts.observations) == in_first


def test_several_players_count_on_the_first():
    coded = Coded(seen=HIDE.seen, second_player=(("film.mp4", 500.0),))
    for write in (tabular_to_7, tabular_from_8, aggregated_from_8):
        parts = read(write(coded))
        assert seen(parts) == HIDE_SEEN
        assert any("players" in sentence for sentence in parts.guessed)


def test_a_time_offset_is_taken_off():
    late = [Seen(behaviour="peck", start_s=100.25), Seen(behaviour="fly", start_s=101, stop_s=103)]
    coded = Coded(seen=late, offset_s=90)
    for write in (tabular_to_7, tabular_from_8, aggregated_from_8):
        parts = read(write(coded))
        assert [one[4:] for one in seen(parts)] == [(11_000, 13_000), (10_250, 10_250)]
        assert effort(parts)[0][2:4] == (0, 600_000)
        assert not parts.problems


def test_times_from_1970_are_known_as_such():
    # 2024-04-25 13:00 UTC as time offset: how BORIS's authors advise to note wall-clock times.
    epoch = 1_714_050_000
    caws = [Seen(behaviour="caw", start_s=epoch + 0.25), Seen(behaviour="caw", start_s=epoch + 9)]
    coded = Coded(seen=caws, offset_s=epoch)
    for write in (tabular_to_7, tabular_from_8, aggregated_from_8):
        parts = read(write(coded), site="=hide")
        first = parts.observations["start_ms"][0]
        assert datetime.fromtimestamp(first / 1000, UTC).isoformat() == (
            "2024-04-25T13:00:00.250000+00:00"
        )
        # "Total length" is no less than the last time, so that it does not tell that of the media.
        watched = (0, 600_000, "media") if write != tabular_to_7 else (250, 9000, FIRST_TO_LAST)
        assert effort(parts) == [
            ("obs 1", "site:hide", *(1000 * epoch + ms for ms in watched[:2]), watched[2])
        ]
        assert any("since 1970" in sentence for sentence in parts.guessed)
        declared = read(write(coded), media_start="2024-04-25T11:58:00Z")
        assert declared.observations["start_ms"].to_list() == [START_MS + 250, START_MS + 9000]
    # Older aggregated events do not say the offset: nothing tells when the media began.
    parts = read(aggregated_to_7(coded))
    assert effort(parts)[0][2:] == (1000 * epoch + 250, 1000 * epoch + 9000, FIRST_TO_LAST)
    [(_, kind, what)] = problems(read(tabular_from_8(Coded(seen=[_later(caws[0], 1000)]))))
    assert kind == "unread"
    assert "milliseconds since 1970" in what


def _later(one, factor):
    return Seen(behaviour=one.behaviour, start_s=one.start_s * factor)


LIVE = Coded(
    seen=[Seen(behaviour="peck", start_s=5), Seen(behaviour="rest", start_s=8, stop_s=20)], media=()
)


@pytest.mark.parametrize(
    "write", [tabular_to_7, tabular_from_8, aggregated_to_7, aggregated_from_8]
)
def test_live_observations_begin_at_their_date(write):
    start_ms = START_MS + 3_600_000  # 13:58 in London
    parts = read(write(LIVE), timezone="Europe/London", site="=hide")
    assert seen(parts) == [
        ("peck", "", False, "site:hide", start_ms + 5000, start_ms + 5000),
        ("rest", "", True, "site:hide", start_ms + 8000, start_ms + 20_000),
    ]
    assert effort(parts) == [
        ("obs 1", "site:hide", start_ms + 5000, start_ms + 20_000, FIRST_TO_LAST)
    ]
    assert any("begin at their date" in sentence for sentence in parts.guessed)
    declared = read(write(LIVE), media_start="2024-04-25T11:58:00Z")
    assert seen(declared)[0][4] == START_MS + 5000
    [(_, kind, what)] = problems(read(write(LIVE)))
    assert (kind, "--timezone" in what) == ("unread", True)


def test_live_observations_may_count_from_midnight():
    midnight = (13 * 60 + 58) * 60  # the date is 13:58
    later = [Seen(behaviour="peck", start_s=midnight + 7)]
    parts = read(tabular_from_8(Coded(seen=later, media=())), timezone="Europe/London")
    assert parts.observations["start_ms"].to_list() == [START_MS + 3_600_000 + 7000]
    assert any("times of the day" in sentence for sentence in parts.guessed)
    assert effort(parts)[0][3] - effort(parts)[0][2] == 1000  # a single row: half a second around


def test_an_hour_that_occurs_twice_is_refused_with_both_times():
    coded = Coded(seen=LIVE.seen, media=(), date="2024-10-27 01:30:00")
    [(_, kind, what)] = problems(read(tabular_from_8(coded), timezone="Europe/London"))
    assert kind == "unread"
    assert "occurs twice" in what


def test_variables_give_site_session_and_context():
    variables = (("Place", "ridge"), ("weather", "rain"), ("temperature", "7,5"))
    coded = Coded(seen=HIDE.seen, variables=variables)
    for write in (tabular_to_7, tabular_from_8, aggregated_to_7, aggregated_from_8):
        parts = read(
            write(coded),
            media_start="2024-04-25T11:58:00Z",
            site="place",
            session="weather",
            context=("weather", "temperature"),
        )
        assert parts.observations["timeline"].unique().to_list() == ["site:ridge"]
        assert effort(parts)[0][0] == "rain"
        watched = (START_MS, START_MS + 600_000)
        assert ("weather=rain", "", True, "site:ridge", *watched) in seen(parts)
        assert parts.context.select("name", "value", "start_ms", "stop_ms").rows() == [
            ("temperature", 7.5, *watched)
        ]
        with pytest.raises(WrongArgument, match="no column 'wind'"):
            read(write(coded), site="wind")


# What is wrong with a row


def _changed(rows, line, column, cell):
    header = next(row for row in rows if "Behavior" in row)
    rows[line - 1][header.index(column)] = cell
    return rows


def _tabular(*events):
    """Versions from 8 on, of rows (time, status); of one behaviour and animal."""
    rows = tabular_from_8(Coded(seen=[Seen(behaviour="fly", start_s=1, subject="A")] * len(events)))
    for line, (time, status) in enumerate(events, 2):
        _changed(rows, line, "Time", time)
        _changed(rows, line, "Behavior type", status)
    return rows


def _aggregated(start, stop, kind="STATE", duration="NA"):
    rows = aggregated_from_8(Coded(seen=[Seen(behaviour="fly", start_s=1)]))
    for column, cell in (
        ("Start (s)", start),
        ("Stop (s)", stop),
        ("Behavior type", kind),
        ("Duration (s)", duration),
    ):
        _changed(rows, 2, column, cell)
    return rows


WRONG = {
    "never stops": (_tabular(("1", "START")), [(2, "unread", "'fly' of A starts, but never")], []),
    "did not start": (
        _tabular(("1", "STOP"), ("2", "START"), ("3", "STOP")),
        [(2, "unread", "'fly' of A stops, but did not start before")],
        [(2000, 3000)],
    ),
    "starts again": (
        _tabular(("1", "START"), ("2", "START"), ("3", "STOP")),
        [(2, "unread", "starts, and starts again in line 3 before it stops")],
        [(2000, 3000)],
    ),
    "stop before start": (
        _tabular(("5", "START"), ("3", "STOP"), ("7", "START"), ("8", "STOP")),
        [(2, "unread", r"stops at 3\.000 s \(line 3\), before it starts at 5\.000 s")],
        [(7000, 8000)],
    ),
    "rows not in order": (
        _tabular(("3", "START"), ("7", "START"), ("5", "STOP"), ("8", "STOP")),
        [],
        [(3000, 5000), (7000, 8000)],
    ),
    "no length": (
        _tabular(("5", "START"), ("5", "STOP")),
        [(2, "suspicious", "lasts no time")],
        [(5000, 5000)],
    ),
    "a clock": (
        _tabular(("00:01:05,250", "POINT"), ("01:06", "POINT")),
        [],
        [(65_250,) * 2, (66_000,) * 2],
    ),
    "no number": (_tabular(("soon", "POINT")), [(2, "unread", "'soon' is neither seconds")], []),
    "no time": (_tabular(("NA", "POINT")), [(2, "unread", "has no time")], []),
    "unknown type": (_tabular(("1", "BEGIN")), [(2, "unread", "its type 'BEGIN' is none")], []),
    "no type": (
        _tabular(("1", ""), ("2", "NA")),
        [(2, "ambiguous", "has no type"), (3, "ambiguous", "has no type")],
        [],
    ),
    "types by turns": (
        _tabular(("1", "START"), ("2", ""), ("4", ""), ("5", "STOP")),
        [],
        [(1000, 2000), (4000, 5000)],
    ),
    "points, as others": (_tabular(("1", "POINT"), ("2", "")), [], [(1000,) * 2, (2000,) * 2]),
    "mixed types": (
        _tabular(("1", "POINT"), ("2", ""), ("3", "START"), ("4", "STOP")),
        [(3, "ambiguous", "has no type")],
        [(1000, 1000), (3000, 4000)],
    ),
    "no behaviour": (
        _changed(_tabular(("1", "POINT")), 2, "Behavior", ""),
        [(2, "unread", "names no behaviour")],
        [],
    ),
    "after the end": (
        _tabular(("601.5", "POINT")),
        [(2, "suspicious", r"1\.500 s after the end of its media")],
        [(601_500, 601_500)],
    ),
    "before the start": (
        _tabular(("-1", "POINT")),
        [(2, "suspicious", "before its media begins")],
        [(-1000, -1000)],
    ),
    "milliseconds": (
        _tabular(("1000", "POINT"), ("500000", "POINT")),
        [(2, "suspicious", "look like milliseconds")],
        [(1_000_000,) * 2, (500_000_000,) * 2],
    ),
    "aggregated: stop before start": (
        _aggregated("5", "3"),
        [(2, "unread", r"stops at 3\.000 s, before it starts at 5\.000 s")],
        [],
    ),
    "aggregated: no stop": (
        _aggregated("5", "NA"),
        [(2, "unread", "is a state without a stop")],
        [],
    ),
    "aggregated: no number": (
        _aggregated("5", "late"),
        [(2, "unread", "its stop 'late' is neither seconds")],
        [],
    ),
    "aggregated: a long point": (
        _aggregated("5", "6", "POINT"),
        [(2, "ambiguous", "is called a point, but stops later")],
        [],
    ),
    "aggregated: a half": (
        _aggregated("5", "6", "START"),
        [(2, "unread", "is a START among aggregated events")],
        [],
    ),
    "aggregated: another duration": (
        _aggregated("5", "6", "STATE", "2.5"),
        [(2, "suspicious", r"its duration says 2\.500 s")],
        [(5000, 6000)],
    ),
    "aggregated: no type": (_aggregated("5", "6", ""), [], [(5000, 6000)]),
    "aggregated: no type, no length": (_aggregated("5", "5", ""), [], [(5000, 5000)]),
    "aggregated: overlap": (
        aggregated_from_8(
            Coded(
                seen=[
                    Seen(behaviour="fly", start_s=1, stop_s=9),
                    Seen(behaviour="fly", start_s=2, stop_s=3),
                    Seen(behaviour="fly", start_s=5, stop_s=12),
                    Seen(behaviour="fly", start_s=5, stop_s=12, subject="A"),
                ]
            )
        ),
        [
            (3, "suspicious", "overlaps with itself in line 2"),
            (4, "suspicious", "overlaps with itself in line 2"),
        ],
        [(1000, 9000), (2000, 3000), (5000, 12_000), (5000, 12_000)],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_mistake_has_its_own_message(case):
    rows, expected, kept = WRONG[case]
    parts = read(rows)
    found = problems(parts)
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    for (_, _, what), (_, _, pattern) in zip(found, expected, strict=True):
        assert re.search(pattern, what)
    assert sorted(parts.observations.select("start_ms", "stop_ms").rows()) == kept


NUMBERS = ("0", "1", "2.5", "2,5", "-3", "1e9", "1714050000", "1714050000000", "0:01")
WORDS = ("", "NA", "x", "START", "STOP", "POINT", "STATE", "LIVE", "a.wav", "9.0;8.0", "2024-13-01")
ABOUT = ("player #1:a.wav;b.wav", "Live observation", "2024-04-25 12:58:00")
CELLS = st.sampled_from(NUMBERS + WORDS + ABOUT)


@pytest.mark.parametrize("write", [tabular_to_7, tabular_from_8, aggregated_from_8])
@settings(max_examples=40)
@given(data=st.data())
def test_no_row_is_lost_in_silence_whatever_stands_in_it(write, data):
    rows = write(Coded(seen=[Seen(behaviour="fly", start_s=1, stop_s=2)] * 3))
    table = as_read(rows)
    lines = []
    for line, cells in table.rows:
        changes = data.draw(st.dictionaries(st.integers(0, len(cells) - 1), CELLS, max_size=6))
        lines.append((line, tuple(changes.get(at, cell) for at, cell in enumerate(cells))))
    table = replace(table, rows=tuple(lines))
    parts = read_boris(table, LogConfig(timezone="UTC"))
    if any("whole observation" in what for _, _, what in problems(parts)):
        return
    told = {row for row, _, _ in problems(parts)} | set(parts.observations["row"])
    told |= {int(row) for _, _, what in problems(parts) for row in re.findall(r"line (\d+)", what)}
    no_time = {row for row, _, what in problems(parts) if "lasts no time" in what}
    states = no_time | set(parts.observations.filter("is_state")["row"])
    n_stops = len(states) if write != aggregated_from_8 else 0  # a state takes two rows
    assert len(told) + n_stops >= len(lines)


def test_modifiers_may_be_chosen_when_a_state_stops():
    rows = tabular_from_8(
        Coded(seen=[Seen(behaviour="fly", start_s=2, stop_s=5, modifiers=("up",))])
    )
    _changed(rows, 2, "Modifier #1", "")
    parts = read(rows, modifiers=True)
    assert not parts.problems
    assert seen(parts) == [("fly (up)", "", True, "file:hide_1", 2000, 5000)]


def test_pictures_without_media_are_left_out_as_a_whole():
    rows = tabular_from_8(Coded(seen=[Seen(behaviour="fly", start_s=2)]))
    _changed(rows, 2, "Observation type", "From directories of images")
    _changed(rows, 2, "Source", "pictures/hide")
    _changed(rows, 2, "Media file name", "NA")
    parts = read(rows)
    [(row, kind, what)] = problems(parts)
    assert (row, kind) == (2, "unread")
    assert "'obs 1' is left out: names no media" in what
    assert parts.observations.is_empty()
    assert parts.effort.is_empty()


def test_other_tables_are_no_export_of_boris():
    for columns in (
        ("date", "time", "Subject", "Behavior"),
        ("Observation id", "Subject", "Behavior", "Total number of occurences"),
        ("start", "stop", "behavior", "subject"),
        ("Time", "Subject", "Behavior", "Status"),
    ):
        rows = ((2, ("1",) * len(columns)),)
        table = RawTable(file=Path("form.csv"), columns=columns, rows=rows)
        assert not boris_shape(table)
        with pytest.raises(WrongArgument, match=r"form\.csv is no export of BORIS"):
            read_boris(table, LogConfig())


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("3.300", 3300),
        ("3,3", 3300),
        ("7", 7000),
        ("1.714050000250E9", 1_714_050_000_250),
        ("1714050000.25", 1_714_050_000_250),
        ("01:02:03.004", 3_723_004),
        ("2:03,5", 123_500),
        ("-00:00:01", -1000),
        ("0.0005", 0),
        ("", None),
        ("NaN", None),
        ("1e400", None),
        ("1:2:3:4", None),
        ("2024-04-25 12:00", None),
    ],
)
def test_times_from_a_start_are_read_as_they_are_written(text, ms):
    assert clock_ms(text) == ms


def test_media_go_by_their_stem_on_every_system():
    assert media_key(r"C:\films\a.b.wav") == media_key("/films/a.b.flac") == media_key("a.b.wav")
    assert media_key("a.b.wav") == "a.b"


# Solomon Coder and JWatcher


def solomon(tmp_path, text, name="hide_1.csv", **settings):
    file = tmp_path / name
    file.write_text(text)
    table = read_table(file)
    assert is_solomon(table)
    return read_solomon(table, LogConfig(**settings))


STEPS = "Time;Place;Behaviour\n0;ground;\n0,2;ground;peck\n0,4;tree;peck\n0,6;tree;\n0,8;;fly\n"


def test_solomon_coder_names_what_lasts_from_step_to_step(tmp_path):
    parts = solomon(tmp_path, STEPS)
    assert seen(parts) == [
        ("fly", "", True, "file:hide_1", 800, 1000),
        ("ground", "", True, "file:hide_1", 0, 400),
        ("peck", "", True, "file:hide_1", 200, 600),
        ("tree", "", True, "file:hide_1", 400, 800),
    ]
    assert parts.observations["row"].to_list() == [2, 3, 4, 6]
    assert effort(parts) == [("hide_1", "file:hide_1", 0, 1000, FIRST_TO_LAST)]
    declared = solomon(
        tmp_path,
        STEPS,
        media_start="2024-04-25T11:58:00Z",
        site="=hide",
        subject="=A",
        context=("Place",),
    )
    assert seen(declared)[0] == (
        "Place=ground", "A", True, "site:hide", START_MS, START_MS + 400
    )  # fmt: skip
    with pytest.raises(WrongArgument, match="=bird"):
        solomon(tmp_path, STEPS, subject="bird")


def test_a_table_of_zeros_and_ones_is_read_by_its_columns(tmp_path):
    parts = solomon(tmp_path, "time\talert\tswim\n0.0\t0\t1\n1.0\t0\t1\n2.0\t1\t0\n", "a.tsv")
    assert seen(parts) == [
        ("alert", "", True, "file:a", 2000, 3000),
        ("swim", "", True, "file:a", 0, 2000),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Time,A\n0,x\n0.2,x\n0.5,x\n",  # uneven
        "Time,A\n0,x\n60,x\n120,x\n",  # samples
        "Time,A\n0,x\n0.2,x\n",  # too few to tell
        "Time,A\n0,3\n0.2,4\n0.4,1\n",  # counts
        "Time,A\n9:00 h,x\n9:01 h,x\n9:02 h,x\n",
        "A,Time\nx,0\nx,0.2\nx,0.4\n",
    ],
)
def test_other_tables_are_not_of_solomon_coder(tmp_path, text):
    file = tmp_path / "form.csv"
    file.write_text(text)
    table = read_table(file)
    assert not is_solomon(table)
    with pytest.raises(WrongArgument, match="no table of Solomon Coder"):
        read_solomon(table, LogConfig())


FOCAL = """\
FirstLineOfData=9
#-----------------------------------------------------------
# Name: hide_1.dat
# Format: Focal Data File 1.0
FocalMasterFile=hide.fmf
StartTime=1480211846000
#BEGIN DATA
0, f
1500, p
1500, v
4000, f
3000, p
oops
6000, v
9000, EOF
"""
MASTER = "# Format: Focal Master File 1.0\nBehaviour.name.f=forage\nBehaviour.name.p=peck\n"
ANALYSIS = """\
# Format: Focal Analysis Master File 1.0
AllCodesMutuallyExclusive=false
Behavior.isEventAnalyzed.p=true
Behavior.switchesOff.f=v
Behavior.switchesOff.v=f, p
"""


def jwatcher(tmp_path, **settings):
    file = tmp_path / "hide_1.dat"
    file.write_text(FOCAL)
    assert is_jwatcher(file)
    return read_jwatcher(file, LogConfig(**settings))


def test_keys_of_jwatcher_are_points_where_nothing_says_how_states_end(tmp_path):
    parts = jwatcher(tmp_path)
    assert parts.observations.select("row", "behaviour", "is_state", "start_ms").rows() == [
        (8, "f", False, 0),
        (9, "p", False, 1500),
        (10, "v", False, 1500),
        (11, "f", False, 4000),
        (14, "v", False, 6000),
    ]
    assert [one[:2] for one in problems(parts)] == [(12, "unread"), (13, "unread")]
    assert "before the key of line 11" in problems(parts)[0][2]
    assert "'oops' is not a time" in problems(parts)[1][2]
    assert effort(parts) == [("hide_1", "file:hide_1", 0, 9000, "declared")]
    assert any(".faf" in sentence for sentence in parts.guessed)
    assert any(".fmf" in sentence for sentence in parts.guessed)


def test_keys_of_jwatcher_last_until_a_key_that_switches_them_off(tmp_path):
    (tmp_path / "hide_1.fmf").write_text(MASTER)
    (tmp_path / "hide_1.faf").write_text(ANALYSIS)
    parts = jwatcher(tmp_path, media_start="2024-04-25T11:58:00Z", site="=hide")
    assert [(*one[:3], one[4] - START_MS, one[5] - START_MS) for one in seen(parts)] == [
        ("forage", "", True, 0, 1500),
        ("forage", "", True, 4000, 6000),
        ("peck", "", False, 1500, 1500),
        ("v", "", True, 1500, 4000),
        ("v", "", True, 6000, 9000),
    ]
    assert parts.observations["timeline"].unique().to_list() == ["site:hide"]
    exclusive = ANALYSIS.replace("Exclusive=false", "Exclusive=true")
    (tmp_path / "hide_1.faf").write_text(exclusive)
    assert [one[4:] for one in seen(jwatcher(tmp_path)) if one[0] == "v"] == [
        (1500, 4000),
        (6000, 9000),
    ]


def test_jwatcher_files_without_end_or_data_are_told(tmp_path):
    (tmp_path / "a.faf").write_text(ANALYSIS)
    file = tmp_path / "a.dat"
    file.write_text(FOCAL.replace("9000, EOF\n", ""))
    parts = read_jwatcher(file, LogConfig())
    assert ("suspicious", "no EOF follows") in [
        (kind, what[:14]) for _, kind, what in problems(parts)
    ]
    assert effort(parts)[0][2:4] == (0, 6000)
    file.write_text("FirstLineOfData=2\n")
    with pytest.raises(WrongArgument, match="without a line #BEGIN DATA"):
        read_jwatcher(file, LogConfig())
    assert not is_jwatcher(tmp_path / "none.dat")


def test_a_log_of_each_program_is_known_and_read_again_in_the_same_way(tmp_path):
    (tmp_path / "steps.csv").write_text(STEPS)
    (tmp_path / "focal.dat").write_text(FOCAL)
    files = {
        "boris": write_text(tmp_path / "events.tsv", tabular_from_8(HIDE)),
        "solomon": tmp_path / "steps.csv",
        "jwatcher": tmp_path / "focal.dat",
    }
    for program, file in files.items():
        log = read_log(file, LogConfig())
        assert log.config.format == program
        again = read_log(file, log.config)
        assert again.config == log.config
        assert again.observations.equals(log.observations)
        assert again.effort.equals(log.effort)
        assert again.problems == log.problems
