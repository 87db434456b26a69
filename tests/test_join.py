"""Calls joined with observations: held against the rules written out, one pair and one ms each."""

import csv
from collections import defaultdict
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oscine.behaviour.join import JoinConfig, join
from oscine.behaviour.matching import RECORDINGS, marker_pairs, match_keys
from oscine.behaviour.sessions import overlaps
from oscine.behaviour.sites import SLACK_MS
from oscine.behaviour.spans import cut, merged, merged_by_group, sharing
from oscine.behaviour.tables import CALLS, CONTEXT, EFFORT, OBSERVATIONS
from oscine.sound.clock import ClockReading, to_utc_ms

WHOLE = 2**62  # where a state that lasts as long as the recording ends
HOUR = 3_600_000


def table(schema, rows):
    return pl.DataFrame([dict(row) for row in rows], schema=dict(schema), orient="row")


def recording(number, path="a.flac", site="north", start=0, duration=HOUR):
    return {
        "recording": number,
        "path": path,
        "site": site,
        "start_ms": start,
        "duration_ms": duration,
    }


def call(number, start, stop, of, caller="", sound_type=0):
    """Return a call of a recording; times are from its first sample."""
    begins = of["start_ms"]
    return {
        "call": number,
        "recording": of["recording"],
        "path": of["path"],
        "site": of["site"],
        "caller": caller,
        "sound_type": sound_type,
        "start_ms": None if begins is None else begins + start,
        "stop_ms": None if begins is None else begins + stop,
        "file_start_ms": start,
        "file_stop_ms": stop,
    }


def seen(start, stop, behaviour="feeding", timeline="site:north", *, subject="", log="log", row=2):
    return {
        "log": log,
        "row": row,
        "behaviour": behaviour,
        "is_state": stop > start,
        "subject": subject,
        "session": "s",
        "timeline": timeline,
        "start_ms": start,
        "stop_ms": stop,
        "count": None,
    }


def watched(start, stop, timeline="site:north", *, session="s", log="log"):
    return {
        "log": log,
        "session": session,
        "timeline": timeline,
        "start_ms": start,
        "stop_ms": stop,
        "source": "declared",
    }


def measured(value, start, stop, timeline="site:north", *, name="temperature", log="log", row=2):
    return {
        "log": log,
        "row": row,
        "name": name,
        "value": value,
        "session": "s",
        "timeline": timeline,
        "start_ms": start,
        "stop_ms": stop,
    }


def joined(calls, recordings, observations=(), effort=(), context=(), **settings):
    numbered = [{"observation": n} | one for n, one in enumerate(observations)]
    return join(
        table(CALLS, calls),
        table(RECORDINGS, recordings),
        table(OBSERVATIONS, numbered),
        table(EFFORT, effort),
        table(CONTEXT, context),
        JoinConfig(**settings),
    )


def relations(found):
    """Return pairs by call and observation."""
    return {(one["call"], one["observation"]): one["relation"] for one in found.pairs.to_dicts()}


def told(found, kind=None):
    return " | ".join(one.what for one in found.unmatched if kind in (None, one.kind))


# Sets of intervals against sets of whole numbers

SPANS = st.lists(
    st.tuples(st.integers(-8, 12), st.integers(0, 9)).map(lambda one: (one[0], sum(one))),
    max_size=6,
).map(lambda spans: np.array(spans, np.int64).reshape(-1, 2))


def numbers(spans):
    return {number for start, stop in spans for number in range(start, stop)}


@given(SPANS, SPANS)
def test_intervals_are_merged_and_cut_as_sets_of_numbers_are(spans, others):
    by = merged(others)
    assert numbers(by) == numbers(others)
    assert (by[1:, 0] > by[:-1, 1]).all()
    rows, by_rows, parts = cut(spans, by)
    for row, span in enumerate(spans):
        for by_row, other in enumerate(by):
            here = parts[(rows == row) & (by_rows == by_row)]
            assert numbers(here) == numbers([span]) & numbers([other])
    assert (parts[:, 1] > parts[:, 0]).all()


@given(SPANS, st.data())
def test_intervals_of_each_group_are_merged_by_themselves(spans, data):
    groups = data.draw(st.lists(st.integers(0, 2), min_size=len(spans), max_size=len(spans)))
    groups = np.array(groups, np.int64)
    owners, united = merged_by_group(groups, spans)
    for group in range(3):
        assert np.array_equal(united[owners == group], merged(spans[groups == group]))


@given(SPANS, SPANS, st.integers(1, 5))
def test_pairs_that_share_time_are_found_in_blocks_of_any_size(spans, windows, block):
    spans, windows = (one[one[:, 1] > one[:, 0]] for one in (spans, windows))
    found = [
        (int(row), int(window))
        for rows, window_rows in sharing(spans, windows, block)
        for row, window in zip(rows, window_rows, strict=True)
    ]
    assert sorted(found) == [
        (row, window)
        for row, span in enumerate(spans)
        for window, other in enumerate(windows)
        if numbers([span]) & numbers([other])
    ]


# Everything against the rules, one by one


@st.composite
def archives(draw):
    """Return recordings, calls, observations, effort and settings; many times are the same."""
    small = st.integers(-4, 14)
    recordings = [
        recording(
            10 + n,
            f"d/r{n}_b.flac",
            draw(st.sampled_from(["North", " north", "South"])),
            draw(st.sampled_from([None, 0, 8, 300, 2100])),
            draw(st.sampled_from([6, 12, 310, 2110])),
        )
        for n in range(draw(st.integers(1, 5)))
    ]
    calls = []
    for number in range(draw(st.integers(0, 12))):
        of = draw(st.sampled_from(recordings))
        start = draw(st.integers(0, min(14, of["duration_ms"] - 1)))
        stop = min(start + draw(st.sampled_from([1, 2, 3, 40])), of["duration_ms"])
        calls.append(call(100 - number, start, stop, of, draw(st.sampled_from(["", "Ann", "Bo"]))))
    timelines = st.sampled_from(
        ["site:north", "site: NORTH ", "site:South", "file:r0", "file:r1", "file:r9"]
    )
    places = st.sampled_from([0, 0, 0, 300, 2100])
    observations = []
    for row in range(draw(st.integers(0, 12))):
        place = draw(places)
        timeline = draw(timelines)
        start = draw(small) + (place if timeline.startswith("site") else 0)
        one = seen(
            start,
            start + draw(st.sampled_from([0, 0, 1, 3, 30, WHOLE])),
            draw(st.sampled_from(["feeding", "mobbing"])),
            timeline,
            subject=draw(st.sampled_from(["", "Ann", "Bo"])),
            log=draw(st.sampled_from(["one", "two"])),
            row=row,
        )
        if timeline.startswith("site"):
            one["stop_ms"] = min(one["stop_ms"], start + 500)
        observations.append(one)
        if timeline.startswith("file") and draw(st.booleans()):  # a marker, and its stated time
            start = draw(small) + draw(places)
            again = {"timeline": "site:north", "start_ms": start, "stop_ms": start}
            observations.append(one | again | {"is_state": False})
    effort = []
    for _ in range(draw(st.integers(0, 6))):
        timeline = draw(timelines)
        start = draw(small) + (draw(places) if timeline.startswith("site") else 0)
        stop = start + draw(st.sampled_from([1, 4, 9, 400, WHOLE]))
        if timeline.startswith("site"):
            stop = min(stop, start + 2500)
        session, log = draw(st.sampled_from("xy")), draw(st.sampled_from(["one", "two"]))
        effort.append(watched(start, stop, timeline, session=session, log=log))
    config = {
        "tolerance_ms": draw(st.integers(0, 3)),
        "before_ms": draw(st.integers(0, 4)),
        "after_ms": draw(st.integers(0, 4)),
        "by_subject": draw(st.booleans()),
    }
    return recordings, calls, observations, effort, config


def place_of(text):
    return text.removeprefix("site:").strip().lower()


def named_by(timeline, recordings):
    """Return the recording that a timeline names; all are called r<number>_b."""
    key = timeline.removeprefix("file:")
    return next((one for one in recordings if one["path"] == f"d/{key}_b.flac"), None)


def held_times(one, recordings):
    """Return the recording that an observation names, and its times; the end of that is its end."""
    if one["timeline"].startswith("site:"):
        return None, one["start_ms"], one["stop_ms"]
    of = named_by(one["timeline"], recordings)
    is_state = one["stop_ms"] > one["start_ms"]
    if of is None or (is_state and one["start_ms"] >= of["duration_ms"]):
        return None, None, None
    stop = min(one["stop_ms"], of["duration_ms"]) if is_state else one["start_ms"]
    return of, one["start_ms"], stop


def expected_relation(heard, one, recordings, config):
    """Return how a call lies to an observation, as the docstring of `join` has it."""
    of, start, stop = held_times(one, recordings)
    if start is None:
        return None
    if of is not None:
        if of["recording"] != heard["recording"]:
            return None
        begins, ends = heard["file_start_ms"], heard["file_stop_ms"]
    else:
        if heard["start_ms"] is None or place_of(heard["site"]) != place_of(one["timeline"]):
            return None
        begins, ends = heard["start_ms"], heard["stop_ms"]
    differ = "" not in (heard["caller"], one["subject"]) and heard["caller"] != one["subject"]
    if config["by_subject"] and differ:
        return None
    if start == stop:
        away = max(begins - start, start - (ends - 1), 0)
        is_during = away <= config["tolerance_ms"]
    else:
        is_during = max(begins, start) < min(ends, stop)
    if is_during:
        return "during"
    if ends <= start and start - ends <= config["before_ms"]:
        return "before"
    if begins >= stop and begins - stop <= config["after_ms"]:
        return "after"
    return None


ORDER = {"during": 0, "before": 1, "after": 2}


def check_pairs(archive, found):
    """See whether the pairs are those that the rules name one by one."""
    recordings, calls, observations, _, config = archive
    expected = {}
    for heard in calls:
        best = {}
        for number, one in enumerate(observations):
            relation = expected_relation(heard, one, recordings, config)
            if relation is None:
                continue
            # What one row says of a recording and of its time counts once.
            rank = ORDER[relation], number
            twin = one["log"], one["row"]
            best[twin] = min(best.get(twin, rank), rank)
        for rank, number in best.values():
            expected[heard["call"], number] = next(n for n in ORDER if ORDER[n] == rank)
    assert relations(found) == expected
    assert len(found.pairs) == len(expected)
    by_number = {one["call"]: one for one in calls}
    for pair in found.pairs.to_dicts():
        heard, one = by_number[pair["call"]], observations[pair["observation"]]
        of, start, stop = held_times(one, recordings)
        begins, ends = (heard[("" if of is None else "file_") + n] for n in ("start_ms", "stop_ms"))
        assert pair["lag_ms"] == begins - start
        shared = len(set(range(begins, ends)) & set(range(start, stop)))
        assert pair["shared_ms"] == shared


def lines_of(archive):
    """Return the timeline of each recording: a place, its path, or None."""
    recordings, _, observations, effort, _ = archive
    named = [named_by(one["timeline"], recordings) for one in [*observations, *effort]]
    beside, chains = set(), defaultdict(list)
    dated = [one for one in recordings if one["start_ms"] is not None]
    for one in sorted(dated, key=lambda one: (one["start_ms"], -one["duration_ms"])):
        chain = chains[place_of(one["site"])]
        stop = one["start_ms"] + one["duration_ms"]
        reached = max((stop for _, stop in chain), default=-WHOLE)
        if min(stop, reached) - one["start_ms"] <= min(SLACK_MS, one["duration_ms"] // 2):
            chain.clear()
        chain.append((one["path"], stop))
        if len(chain) > 1:
            beside |= {path for path, _ in chain}
    return {
        one["path"]: (one["path"] if one in named else None)
        if one["start_ms"] is None
        else (one["path"] if one in named and one["path"] in beside else place_of(one["site"]))
        for one in recordings
    }


def on_lines(one, recordings, lines):
    """Yield each timeline that a row of a log lies on, and its ms there; a point has one."""
    of, start, stop = held_times(one, recordings)
    if start is None:
        return
    if of is not None:
        shift = of["start_ms"] or 0
        yield lines[of["path"]], range(start + shift, max(stop, start + 1) + shift)
        return
    place = place_of(one["timeline"])
    dated = [r for r in recordings if r["start_ms"] is not None and place_of(r["site"]) == place]
    for line in {place, *(lines[r["path"]] for r in dated)} if dated else ():
        yield line, range(start, max(stop, start + 1))


def ran(recordings, lines):
    """Return the ms of each timeline in which a recorder ran."""
    recorded = defaultdict(set)
    for one in recordings:
        start = one["start_ms"] or 0
        recorded[lines[one["path"]]] |= set(range(start, start + one["duration_ms"]))
    return recorded


def expected_sessions(archive):
    """Return timeline, logs and ms of each session: effort while a recorder ran, joined."""
    recordings, _, _, effort, _ = archive
    lines = lines_of(archive)
    recorded = ran(recordings, lines)
    groups = defaultdict(set)
    for one in effort:
        for line, times in on_lines(one, recordings, lines):
            own = recorded[line] if "/" in line and "site" in one["timeline"] else set(times)
            groups[line, one["log"], one["session"]] |= set(times) & own
    sessions = []
    for (line, log, _), times in groups.items():
        share = [one for one in sessions if one[0] == line and one[2] & times]
        sessions = [one for one in sessions if one not in share]
        logs = {log}.union(*(one[1] for one in share))
        sessions.append((line, logs, times.union(*(one[2] for one in share))))
    made = [(line, logs, sorted(times & recorded[line])) for line, logs, times in sessions]
    return sorted((one for one in made if one[2]), key=lambda one: (one[0], one[2]))


def own_effort(archive, log):
    """Return the ms that a log was kept, by timeline."""
    recordings, _, _, effort, _ = archive
    lines, kept = lines_of(archive), defaultdict(set)
    for one in effort:
        if one["log"] == log:
            for line, times in on_lines(one, recordings, lines):
                kept[line] |= set(times)
    return kept


def with_it(one, of, times, tolerance):
    """Return the ms in which a call would be with an observation that lies at some ms."""
    if one["stop_ms"] == one["start_ms"]:
        times = range(times.start - tolerance, times.stop + tolerance)
    if of is None:
        return set(times)
    start = of["start_ms"] or 0
    return set(times) & set(range(start, start + of["duration_ms"]))


def check_sessions(archive, found):
    """See whether sessions are the ms in which somebody watched and a recorder ran."""
    recordings, calls, observations, _, config = archive
    lines, expected = lines_of(archive), expected_sessions(archive)
    dated = {place_of(one["site"]) for one in recordings if one["start_ms"] is not None}

    def key(session):
        path = session.name.rpartition(", ")[2]
        line = path if "/" in path else place_of(session.site)
        return line, [ms for start, stop in session.segments for ms in range(start, stop)]

    sessions = sorted(found.sessions, key=key)
    assert [key(one) for one in sessions] == [(line, times) for line, _, times in expected]
    in_a_session = set()
    for session, (line, logs, times) in zip(sessions, expected, strict=True):
        where = {ms: number for number, ms in enumerate(times)}
        assert session.duration_ms == len(times)
        assert session.is_dated == (line in dated or lines_of_dated(recordings, line))
        heard = []
        for one in calls:
            of = next(r for r in recordings if r["recording"] == one["recording"])
            if lines[of["path"]] != line:
                continue
            begins = one["start_ms"] if of["start_ms"] is not None else one["file_start_ms"]
            if begins in where:
                lasts = 1
                while (
                    lasts < one["file_stop_ms"] - one["file_start_ms"] and begins + lasts in where
                ):
                    lasts += 1
                heard.append((where[begins], one["call"], lasts))
        assert sorted(zip(session.starts, session.calls, session.lengths, strict=True)) == sorted(
            heard
        )
        assert (np.diff(session.starts) >= 0).all()
        in_a_session |= {number for _, number, _ in heard}
        behaviours = {one["behaviour"]: set() for one in observations if one["log"] in logs}
        of_subjects = defaultdict(set)
        for one in observations:
            kept = own_effort(archive, one["log"])[line]
            of = held_times(one, recordings)[0]
            for there, its in on_lines(one, recordings, lines):
                if there == line:
                    shown = with_it(one, of, its, config["tolerance_ms"]) & kept & where.keys()
                    if shown:
                        behaviours[one["behaviour"]] |= {where[ms] for ms in shown}
                        of_subjects[one["behaviour"], one["subject"]] |= {where[ms] for ms in shown}
        assert {name: numbers(spans) for name, spans in session.behaviours.items()} == behaviours
        assert {name: numbers(spans) for name, spans in session.of_subjects.items()} == of_subjects
        for spans in [*session.behaviours.values(), *session.of_subjects.values()]:
            assert np.array_equal(spans, merged(spans))
    assert in_a_session == set(found.calls.filter(status="observed")["call"])
    assert found.effort["n_calls"].sum() >= len(in_a_session)


def lines_of_dated(recordings, line):
    return any(one["path"] == line and one["start_ms"] is not None for one in recordings)


def check_that_both_agree(archive, found):
    """See whether a call is during a behaviour by the pairs if it is by the session."""
    recordings, calls, observations, _, config = archive
    lines = lines_of(archive)
    by_number = {one["call"]: one for one in calls}
    during = {pair for pair, relation in relations(found).items() if relation == "during"}
    ms = [
        range(r["start_ms"], r["start_ms"] + r["duration_ms"])
        for r in recordings
        if r["start_ms"] is not None
    ]
    is_apart = sum(map(len, ms)) == len(set().union(*ms))
    for session in found.sessions:
        for number, start, length in zip(
            session.calls, session.starts, session.lengths, strict=True
        ):
            heard = by_number[number]
            if length < heard["file_stop_ms"] - heard["file_start_ms"]:
                continue  # it outlasts the effort
            of = next(one for one in recordings if one["recording"] == heard["recording"])
            for behaviour, spans in session.behaviours.items():
                sets = [spans]
                if config["by_subject"] and heard["caller"]:
                    names = [(behaviour, subject) for subject in (heard["caller"], "")]
                    sets = [session.of_subjects.get(name, spans[:0]) for name in names]
                by_session = any(
                    overlaps(start[None], start[None] + length, one)[0] for one in sets
                )
                paired = [
                    one
                    for n, one in enumerate(observations)
                    if (number, n) in during and one["behaviour"] == behaviour
                ]
                if by_session and is_apart:
                    assert paired
                for one in paired:
                    kept = own_effort(archive, one["log"])[lines[of["path"]]]
                    there = dict(on_lines(one, recordings, lines))[lines[of["path"]]]
                    shown = with_it(
                        one, held_times(one, recordings)[0], there, config["tolerance_ms"]
                    )
                    if shown <= kept:
                        assert by_session


@settings(max_examples=80)
@given(archives())
def test_pairs_and_sessions_are_as_the_rules_have_them_one_ms_at_a_time(archive):
    recordings, calls, observations, effort, config = archive
    found = joined(calls, recordings, observations, effort, **config)
    check_pairs(archive, found)
    check_sessions(archive, found)
    check_that_both_agree(archive, found)
