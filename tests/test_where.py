"""Filters that people type mean what they say, and nothing typed reaches the database as SQL."""

import re
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from oscine.workspace.catalogue import MODIFICATION, Catalogue, SoundTypeRow, Stage
from oscine.workspace.where import FIELDS, parse_where

START = datetime(2024, 5, 31, 21, 0, tzinfo=UTC)
OFFSET_MIN = 120  # summer time: 23 h on the clocks there


@pytest.fixture
def catalogue(tmp_path):
    """Two sites; events every hour from 23 h on the clocks there, and one of unknown time."""
    ms = round(START.timestamp() * 1000)
    north = tiny.recording(0, 9_000_000, started_ms=ms, utc_offset_min=OFFSET_MIN, site="north")
    south = tiny.recording(1, 9_000_000, started_ms=ms, utc_offset_min=OFFSET_MIN, site="o'hara")
    lost = tiny.recording(2, 100)
    rows = [
        *(tiny.event(n, 1, 360_000 * n, 360_000 * n + 50) for n in range(12)),
        replace(tiny.event(12, 2, 0, 100), low_hz=6000.0, level_db=31.0),
        tiny.event(13, 3, 0, 20),
    ]
    with Catalogue(tmp_path / "catalogue.sqlite") as catalogue:
        catalogue.add([north, south, lost], rows, [])
        types = [SoundTypeRow(event_id=1, cluster=7, strength=1, map_x=0, map_y=0)]
        catalogue.set_sound_types(types, Stage(fingerprint="", finished=True, facts={}))
        yield catalogue


EVERY = set(range(1, 15))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("site = 'north'", set(range(1, 13))),
        ("site = 'o''hara'", {13}),
        ("SITE != 'north' AND NOT path = '2.wav'", {13}),
        ("site in ('north', 'o''hara')", set(range(1, 14))),
        ("hour between 5 and 9", {7, 8, 9, 10, 11}),
        ("hour between 22 and 0.5", {1, 2, 13}),
        ("hour < 1", {2}),
        ("time between '23:00' and '23:59'", {1, 13}),
        ("time >= '04:30' and time <= '06:00:00'", {7, 8}),
        ("date = '2024-05-31'", {1, 13}),
        ("month = 6 and year = 2024 and hour > 9.5", {12}),
        ("not month = 6", {1, 13}),
        ("low_hz > 5000 or cluster = 7", {1, 13}),
        ("cluster != -1", {1}),
        ("level_db >= 31 and duration_s between 0.9 and 1.1", {13}),
        ("duration_s < 0.3", {14}),
        ("(site = 'north' or duration_s < 0.3) and not hour >= 0", set()),
        ("site = 'north' or site = '' and hour > 0", set(range(1, 13))),
    ],
)
def test_conditions_mean_what_they_say(catalogue, text, numbers):
    assert set(catalogue.events_where(text).tolist()) == numbers


def test_local_time_is_that_of_the_clocks_there(catalogue):
    local = START + timedelta(minutes=OFFSET_MIN)
    assert (local.hour, local.date().isoformat()) == (23, "2024-05-31")
    assert catalogue.events_where("hour = 23 and date = '2024-05-31'").tolist() == [1, 13]


OF_VERSION_3 = """
DROP VIEW heard_events;
CREATE VIEW heard_events AS SELECT
        events.*, root, path, channel, site, recorder, sample_rate_hz, utc_offset_min,
        started_ms + CAST(round(1000.0 * start_sample / sample_rate_hz) AS INTEGER) AS start_ms,
        1.0 * (stop_sample - start_sample) / sample_rate_hz AS duration_s,
        coalesce(edited_types.cluster, found_types.cluster, -1) AS cluster
    FROM events JOIN heard USING (recording_id) LEFT JOIN found_types USING (event_id)
        LEFT JOIN edited_types USING (event_id);
PRAGMA user_version = 3;
"""
"""Makes a catalogue one whose view told the time of a file's last change as that of its events."""


@pytest.mark.parametrize("is_old", [False, True])
def test_the_time_of_a_files_last_change_is_no_time_of_its_events(catalogue, is_old):
    catalogue._connection.execute(
        "UPDATE recordings SET zone = ? WHERE site = 'north'", [f"UTC ({MODIFICATION})"]
    )
    if is_old:
        catalogue._connection.executescript(OF_VERSION_3)
        assert catalogue.event_times()[1] is not None
    with Catalogue(catalogue.path) as opened:
        assert opened.events_where("hour >= 0 or not hour >= 0").tolist() == [13]
        assert opened.events_where("date > '1970'").tolist() == [13]
        times = opened.event_times()
        assert {number for number, time in times.items() if time is not None} == {13}
        assert {row[0] for block in opened.calls() for row in block if row[5] is not None} == {13}
        assert {one.event_id for one in opened.heard_events(sorted(EVERY)) if one.date} == {13}
        assert opened._connection.execute("PRAGMA user_version").fetchone()[0] == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no field"),
        ("sight = 'north'", "did you mean site?"),
        ("site = north", "text in single quotes"),
        ("site = 5", "text in single quotes, not 5"),
        ("hour = 'five'", "compared with a number"),
        ("hour between 5", "'and' was expected"),
        ("hour like 5", "after hour comes"),
        ("site = 'north", "cannot be read"),
        ("site = 'a'; DROP TABLE events", "cannot be read"),
        ("site = 'a' hour = 5", "was not expected"),
        ("(site = 'a'", "')' was expected"),
        ("site in ()", "text in single quotes, not )"),
        ("not " * 60 + "site = 'a'", "nested too deeply"),
        ("event_id = 5", "is no field"),
    ],
)
def test_what_cannot_be_understood_is_said(text, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        parse_where(text)
    assert "Example: site = 'north'" in str(caught.value)


WORDS = st.sampled_from(
    [*FIELDS, "and", "or", "not", "between", "in", "(", ")", ",", "=", "<", "5", "'a'", "'';--"]
)


@given(st.one_of(st.text(max_size=30), st.lists(WORDS, max_size=12).map(" ".join)))
def test_whatever_is_typed_is_refused_or_is_a_query(text):
    try:
        where = parse_where(text)
    except ValueError:
        return
    assert where.sql.count("?") == len(where.parameters)
    columns = "event_id, site, recorder, path, start_ms, utc_offset_min, low_hz, high_hz"
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE e ({columns}, duration_s, level_db, cluster)")
    connection.execute(f"SELECT * FROM e WHERE {where.sql}", where.parameters)
    connection.close()


@given(st.text(max_size=20))
def test_text_is_a_value_whatever_is_in_it(text):
    quoted = text.replace("'", "''")
    assert parse_where(f"site = '{quoted}'").parameters == (text,)
