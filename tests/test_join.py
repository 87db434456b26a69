"""Calls joined with observations: held against the rules written out, one pair and one ms each."""

import csv
from collections import defaultdict
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oscine.behaviour.association import associate
from oscine.behaviour.config import LogConfig
from oscine.behaviour.join import JoinConfig, join
from oscine.behaviour.log import read_log
from oscine.behaviour.matching import RECORDINGS, marker_pairs, match_keys
from oscine.behaviour.sessions import overlaps
from oscine.behaviour.sites import SLACK_MS
from oscine.behaviour.spans import cut, merged, merged_by_group, sharing
from oscine.behaviour.tables import CALLS, CONTEXT, EFFORT, OBSERVATIONS, STATED
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
            draw(st.sampled_from(["North", " north", "NORTH", "South"])),
            draw(st.sampled_from([None, 0, 0, 8, 300, 2100])),
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
        [*["site:north", "site: NORTH "] * 2, "site:South", "file:r0", "file:r1", "file:r9"]
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
        stop = start + draw(st.sampled_from([1, 4, 9, 9, 400, WHOLE]))
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
    """Return logs, stretches and (timeline, ms) of each session, both in the order of its axis."""
    recordings, _, _, effort, _ = archive
    lines = lines_of(archive)
    recorded = ran(recordings, lines)
    sites = {lines[one["path"]]: place_of(one["site"]) for one in recordings}
    dated = [place_of(one["site"]) for one in recordings if one["start_ms"] is not None]
    sites |= dict(zip(dated, dated, strict=True))
    groups, named = defaultdict(set), []
    for one in effort:
        for line, times in on_lines(one, recordings, lines):
            own = recorded[line] if "/" in line and "site" in one["timeline"] else set(times)
            groups[one["log"], one["session"], sites[line]] |= {
                (line, ms) for ms in set(times) & own
            }
            named.append(line)
    sessions = []
    for (log, _, _), times in groups.items():
        share = [one for one in sessions if one[1] & times]
        sessions = [one for one in sessions if one not in share]
        logs = {log}.union(*(one[0] for one in share))
        sessions.append((logs, times.union(*(one[1] for one in share))))
    order = sorted({line for line in sites if line and "/" not in line})
    order += [lines[one["path"]] for one in recordings if "/" in (lines[one["path"]] or "")]
    made = []
    for logs, times in sessions:
        where = [at for at in times if at[1] in recorded[at[0]]]
        runs = []
        for line, ms in sorted(where, key=lambda at: (order.index(at[0]), at[1])):
            if runs and runs[-1][0] == line and runs[-1][2] == ms:
                runs[-1][2] += 1
            else:
                runs.append([line, ms, ms + 1])
        if runs:
            first = order.index(runs[0][0]), runs[0][1]
            runs.sort(key=lambda run: (rank_of(run[0], recordings, named), run[1]))
            made.append((first, logs, runs))
    return [
        (logs, runs, [(line, ms) for line, *run in runs for ms in range(*run)])
        for _, logs, runs in sorted(made, key=lambda one: one[0])
    ]


def rank_of(line, recordings, named):
    """Return -1 for a timeline in UTC; of others, which the log named first."""
    is_dated = "/" not in line or lines_of_dated(recordings, line)
    return -1 if is_dated else named.index(line)


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
    assert len(found.sessions) == len(expected)
    in_a_session = set()
    for session, (logs, runs, times) in zip(found.sessions, expected, strict=True):
        where = {at: number for number, at in enumerate(times)}
        known = {line for line, *_ in runs}
        is_dated = all(rank_of(line, recordings, [*known]) < 0 for line in known)
        if is_dated or len(known) == 1:
            assert session.segments.tolist() == [run for _, *run in runs]
        else:
            ends = np.cumsum([stop - start for _, start, stop in runs])
            assert session.segments[:, 1].tolist() == ends.tolist()
            assert session.segments[:, 0].tolist() == [0, *ends[:-1]]
        assert session.is_dated == is_dated
        assert session.n_timelines == len(known)
        assert {session.site.lower()} == {
            place_of(one["site"]) for one in recordings if lines[one["path"]] in known
        }
        assert session.duration_ms == len(times)
        heard = []
        for one in calls:
            of = next(r for r in recordings if r["recording"] == one["recording"])
            line = lines[of["path"]]
            begins = one["start_ms"] if of["start_ms"] is not None else one["file_start_ms"]
            if (line, begins) in where:
                lasts, length = 1, one["file_stop_ms"] - one["file_start_ms"]
                while lasts < length and (line, begins + lasts) in where:
                    lasts += 1
                heard.append((where[line, begins], one["call"], lasts))
        assert sorted(zip(session.starts, session.calls, session.lengths, strict=True)) == sorted(
            heard
        )
        assert (np.diff(session.starts) >= 0).all()
        in_a_session |= {number for _, number, _ in heard}
        behaviours = {one["behaviour"]: set() for one in observations if one["log"] in logs}
        of_subjects = defaultdict(set)
        for one in observations:
            kept = own_effort(archive, one["log"])
            of = held_times(one, recordings)[0]
            for line, its in on_lines(one, recordings, lines):
                shown = with_it(one, of, its, config["tolerance_ms"]) & kept[line]
                shown = {where[line, ms] for ms in shown if (line, ms) in where}
                if shown:
                    behaviours[one["behaviour"]] |= shown
                    of_subjects[one["behaviour"], one["subject"]] |= shown
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


# What goes by a key


@pytest.mark.parametrize(
    ("key", "paths", "meant"),
    [
        ("1_1", ["s/1_118_b.flac", "s/1_11.flac", "s/1_1_b.flac"], [2]),
        ("1_1", ["1_1_b.flac", "1_1.flac"], [1]),
        ("2_4", ["2_41.flac"], []),
        ("1_1", ["1_1_a.flac", "1_1_b.flac"], [0, 1]),
        ("Films/Nest 3.MP4", ["2024/nest 3.wav"], [0]),
        (r"D:\rec\south\001.WAV", ["north/001.wav", "south/001.wav"], [1]),
        ("001.wav", ["north/001.wav", "south/001.wav"], [0, 1]),
        ("a.flac", ["a.wav", "a.flac"], [1]),
        ("rec.day1", ["rec_5.wav"], []),
        ("caf\u00e9", ["cafe\u0301-1.wav"], [0]),
        (" 1_1 ", ["1_1 b.flac"], [0]),
        ("", ["a.wav"], []),
        ("a", [], []),
    ],
)
def test_a_recording_goes_by_its_name_or_what_its_name_begins_with(key, paths, meant):
    matches = match_keys([key], paths)
    if len(meant) == 1:
        assert matches.found == {key: meant[0]}
    else:
        assert matches.found == {}
        assert matches.ambiguous == ({key: tuple(meant)} if meant else {})
        assert matches.missing == (() if meant else (key,))


def test_a_recording_that_goes_by_two_keys_belongs_to_the_longer():
    matches = match_keys(["1", "1_1", "1_1_b"], ["1_1_b.wav", "1_1_a.wav", "1_2.wav"])
    assert matches.found == {"1_1_b": 0, "1_1": 1, "1": 2}


@given(
    st.lists(st.text("1a_", min_size=1, max_size=4), unique=True, max_size=6),
    st.lists(st.text("1a_", min_size=1, max_size=5), unique=True, max_size=6),
)
@example(["1", "1_"], ["1_", "1__"])
def test_keys_are_matched_as_the_rule_has_it(keys, stems):
    def goes_by(stem, key):
        return stem == key or (stem.startswith(key) and not stem[len(key)].isalnum())

    matches = match_keys(keys, [f"{stem}.wav" for stem in stems])
    for key in keys:
        longest = [
            number
            for number, stem in enumerate(stems)
            if goes_by(stem, key)
            and not any(len(other) > len(key) and goes_by(stem, other) for other in keys)
        ]
        meant = [stems.index(key)] if key in stems else longest
        assert matches.found.get(key) == (meant[0] if len(meant) == 1 else None)
        assert matches.ambiguous.get(key, ()) == (tuple(meant) if len(meant) > 1 else ())
        assert (key in matches.missing) == (not meant)


def test_a_marker_pairs_the_time_of_its_row_with_that_of_its_recording():
    recordings = [
        recording(4, "r1_b.flac", start=5000),
        recording(5, "r2_b.flac", start=None),
        recording(6, "r3_b.flac", start=7000),
    ]
    rows = [("log", row, key, ms) for row, key, ms in [(2, "r1", 4600), (3, "r2", 9), (4, "r9", 9)]]
    stated = pl.DataFrame(rows, schema=dict(STATED), orient="row")
    found = marker_pairs(stated, table(RECORDINGS, recordings))
    assert found.rows() == [("log", 2, "r1", 4, "r1_b.flac", 4600, 5000)]


def test_the_markers_of_the_house_sparrow_log_find_all_of_its_clips(real_data):
    log = real_data / "behaviour" / "house_sparrow_observations.csv"
    with open(log, encoding="utf-8-sig", newline="") as lines:
        keys = [row["audio_marker"].strip() for row in csv.DictReader(lines)]
    clips = sorted(file.name for file in (real_data / "behaviour_house_sparrow").glob("*.flac"))
    matches = match_keys(filter(None, keys), clips)
    assert sorted(matches.found.values()) == list(range(20))
    assert not matches.ambiguous
    for key, number in matches.found.items():
        assert clips[number].rpartition("_")[0] == key


# Clocks


def utc_ms(text, zone):
    reading = ClockReading(
        local=datetime.fromisoformat(text),
        utc_offset_min=None,
        source="log",
        is_weak=False,
        site="",
        recorder="",
        facts={},
        notes=(),
    )
    return to_utc_ms(reading, zone)[0]


@pytest.mark.parametrize(
    ("first", "start", "stop", "hours"),
    [
        ("2024-03-31 00:30", "2024-03-31 00:50", "2024-03-31 02:10", 1 / 3),
        ("2024-10-27 00:30", "2024-10-27 00:50", "2024-10-27 02:10", 7 / 3),
    ],
)
def test_a_state_over_the_hour_when_clocks_change_lasts_as_long_as_it_did(
    first, start, stop, hours
):
    zone = "Europe/London"
    night = recording(1, start=utc_ms(first, zone), duration=4 * HOUR)
    start, stop = utc_ms(start, zone), utc_ms(stop, zone)
    calls = [call(n, n * 600_000, n * 600_000 + 1, night) for n in range(24)]
    found = joined(
        calls, [night], [seen(start, stop)], [watched(start, stop)], before_ms=0, after_ms=0
    )
    during = [n for (n, _), relation in relations(found).items() if relation == "during"]
    assert during == list(range(2, 2 + round(6 * hours)))
    assert found.effort["recorded_h"].item() == pytest.approx(hours)
    assert [len(one.calls) for one in found.sessions] == [len(during)]


def test_what_the_clock_skips_in_spring_is_as_near_as_it_is():
    zone = "Europe/London"
    night = recording(1, start=utc_ms("2024-03-31 00:59:59.800", zone))
    heard = [call(1, 0, 100, night)]  # until 00:59:59.900; 100 ms later it is two o'clock
    point = utc_ms("2024-03-31 02:00:00", zone)
    assert relations(joined(heard, [night], [seen(point, point)])) == {(1, 0): "during"}


def test_a_time_that_the_clock_shows_twice_joins_nothing_without_being_guessed():
    zone = "Europe/London"
    assert utc_ms("2024-10-27 01:30", zone) is None
    night = recording(1, start=utc_ms("2024-10-27 00:30", zone), duration=4 * HOUR)
    unknown = seen(0, 0) | {"start_ms": None, "stop_ms": None}
    found = joined([call(1, 0, 4 * HOUR, night)], [night], [unknown], [watched(0, 1)])
    assert len(found.pairs) == 0
    assert found.observed.row(0, named=True)["n_nowhere"] == 1


def test_a_session_and_a_call_go_on_past_midnight():
    midnight = utc_ms("2024-05-02 00:00", "Europe/Madrid")
    files = [
        recording(1, "20240501.wav", start=midnight - 60_000, duration=60_000),
        recording(2, "20240502.wav", start=midnight, duration=60_000),
    ]
    calls = [call(1, 59_000, 60_000, files[0]), call(2, 0, 500, files[1])]
    state = seen(midnight - 200, midnight + 200)
    found = joined(calls, files, [state], [watched(midnight - 30_000, midnight + 30_000)])
    assert relations(found) == {(1, 0): "during", (2, 0): "during"}
    assert found.pairs["shared_ms"].to_list() == [200, 200]
    assert found.pairs["lag_ms"].to_list() == [-800, 200]
    (session,) = found.sessions
    assert session.segments.tolist() == [[midnight - 30_000, midnight + 30_000]]


# Whom it goes with, and what is told


def test_a_call_that_nobody_watched_is_unobserved_and_not_without_behaviour():
    hour, other = recording(1), recording(2, "b.flac", "south")
    undated, named = recording(3, "c.flac", start=None), recording(4, "d.flac", start=None)
    calls = [
        call(1, 2000, 2100, hour),
        call(2, 4500, 4600, hour),
        call(3, 60_000, 60_100, hour),
        call(4, 0, 100, other),
        call(5, 0, 100, undated),
        call(6, 0, 100, named),
    ]
    observations = [seen(1000, 3000), seen(2050, 2050, "mobbing"), seen(0, 9, timeline="file:d")]
    effort = [watched(0, 5000), watched(0, WHOLE, "file:d")]
    found = joined(calls, [hour, other, undated, named], observations, effort).calls
    assert found["status"].to_list() == [
        "observed",
        "observed",
        "unobserved",
        "no log",
        "no time",
        "observed",
    ]
    assert found["behaviours"].to_list() == [
        ["feeding", "mobbing"],
        [],
        None,
        None,
        None,
        ["feeding"],
    ]
    assert found["n_during"].to_list() == [2, 0, None, None, None, 1]
    assert found["n_after"].to_list() == [0, 2, None, None, None, 0]
    assert found["joined_session"].to_list() == [0, 0, None, None, None, 0]  # session "s" is one


def test_a_known_caller_goes_with_what_was_seen_of_it_or_of_nobody_named():
    hour = recording(1)
    calls = [call(1, 0, 9, hour, "Ann"), call(2, 0, 9, hour)]
    observations = [seen(0, 9, subject=subject) for subject in ("Ann", "Bo", "")]
    assert set(relations(joined(calls, [hour], observations))) == {
        (1, 0), (1, 2), (2, 0), (2, 1), (2, 2),
    }  # fmt: skip
    assert len(joined(calls, [hour], observations, by_subject=False).pairs) == 6


def test_effort_counts_only_while_the_recorder_ran():
    minutes = [
        recording(n, f"{n}.wav", start=n * 600_000, duration=60_000) for n in range(6)
    ]  # one minute in ten
    calls = [call(10 + n, 30_000, 30_100, one) for n, one in enumerate(minutes)]
    points = [seen(n * 60_000, n * 60_000, row=n) for n in range(60)]
    found = joined(calls, minutes, points, [watched(0, HOUR)], tolerance_ms=100)
    effort = found.effort.row(0, named=True)
    assert (effort["watched_h"], effort["recorded_h"], effort["n_calls"]) == (1.0, 0.1, 6)
    (session,) = found.sessions
    assert session.duration_ms == 6 * 60_000
    assert session.starts.tolist() == [n * 60_000 + 30_000 for n in range(6)]
    # Points at the end of a minute are within the tolerance of it; those of the other eight...
    counts = found.observed.row(0, named=True)
    assert (counts["n"], counts["n_unrecorded"], counts["n_outside_effort"]) == (60, 48, 0)


def test_sessions_of_one_site_that_share_time_are_one_so_that_a_call_counts_once():
    hour = recording(1)
    calls = [call(1, 1500, 1600, hour), call(2, 9000, 9100, hour)]
    effort = [
        watched(0, 2000, session="a"),
        watched(1000, 3000, log="other", session="b"),
        watched(8000, 10_000, session="a"),
        watched(3000, 8000, session="c"),  # touches both and shares time with none
    ]
    observations = [seen(1500, 1700), seen(1500, 1700, "mobbing", log="other")]
    found = joined(calls, [hour], observations, effort)
    assert [one.name for one in found.sessions] == ["log a + other b, north", "log c, north"]
    assert found.sessions[0].segments.tolist() == [[0, 3000], [8000, 10_000]]
    assert found.sessions[0].calls.tolist() == [1, 2]
    assert found.sessions[0].starts.tolist() == [1500, 4000]
    assert set(found.sessions[0].behaviours) == {"feeding", "mobbing"}
    assert set(found.sessions[1].behaviours) == {"feeding"}
    assert found.effort["n_calls"].to_list() == [2, 1, 0]
    assert "feeding, mobbing: while another log was kept alone" in told(found, "suspicious")


def test_measured_values_hold_for_calls_until_the_next_one():
    hour = recording(1)
    calls = [call(n, at, at + 10, hour) for n, at in enumerate((50, 100, 250, 400, 900))]
    context = [
        measured(10.0, 100, 300),
        measured(11.0, 200, 500, log="other"),
        measured(3.0, 0, 1000, name="group size"),
    ]
    found = joined(calls, [hour], [seen(0, 1)], [watched(0, 450)], context)
    assert found.calls["context_temperature"].to_list() == [None, 10.0, 11.0, 11.0, None]
    assert found.calls["context_group size"].to_list() == [3.0] * 5
    held = found.sessions[0].contexts["temperature"]
    assert held.spans.tolist() == [[100, 200], [200, 450]]
    assert held.values.tolist() == [10.0, 11.0]


def test_a_row_that_names_a_recording_and_states_a_time_is_one_pair():
    clip = recording(1, "1_1_b.flac", start=5000, duration=7000)
    rows = [seen(0, WHOLE, timeline="file:1_1"), seen(5100, 5100)]
    found = joined([call(1, 0, 200, clip)], [clip], rows, [watched(0, WHOLE, "file:1_1")])
    assert relations(found) == {(1, 0): "during"}
    assert found.observed.row(0, named=True)["n"] == 1
    assert len(found.sessions) == 1


def test_what_was_seen_on_one_of_two_recordings_says_nothing_of_the_other():
    pair = [recording(1, "left.wav"), recording(2, "right.wav")]
    calls = [call(n, 0, 100, one) for n, one in enumerate(pair)]
    observations = [seen(0, 1000, timeline="file:right"), seen(0, 500, "mobbing")]
    effort = [watched(0, WHOLE, "file:right"), watched(0, 60_000, session="by time")]
    found = joined(calls, pair, observations, effort)
    assert set(relations(found)) == {(0, 1), (1, 0), (1, 1)}
    (both,) = found.sessions  # as what was watched by time was watched on both
    assert both.segments.tolist() == [[0, 60_000], [0, HOUR]]
    assert both.calls.tolist() == [0, 1]
    assert both.starts.tolist() == [0, 60_000]
    assert both.behaviours["feeding"].tolist() == [[60_000, 61_000]]
    assert both.behaviours["mobbing"].tolist() == [[0, 500], [60_000, 60_500]]
    assert "a call that is in several counts several times" in told(found)


def test_a_log_without_a_site_goes_with_all_unless_two_recorded_at_a_time():
    north, south = recording(1), recording(2, "b.flac", "south", start=2 * HOUR)
    calls = [call(1, 0, 10, north), call(2, 0, 10, south)]
    points = [seen(5, 5, timeline="site:"), seen(2 * HOUR, 2 * HOUR, timeline="site:", row=3)]
    effort = [watched(0, 3 * HOUR, "site:")]
    found = joined(calls, [north, south], points, effort)
    assert set(relations(found)) == {(1, 0), (2, 1)}
    assert not found.unmatched
    found = joined(calls, [north, south | {"start_ms": HOUR // 2}], points, effort)
    assert len(found.pairs) == 0
    (problem,) = found.unmatched
    assert problem.kind == "ambiguous"
    assert "'north' and 'south' were recorded at a time" in problem.what
    assert "--site" in problem.what


def test_recordings_without_a_site_are_where_somebody_watched_and_it_is_told():
    clip = recording(1, site="")
    found = joined([call(1, 0, 10, clip)], [clip], [seen(5, 5)], [watched(0, 100)])
    assert set(relations(found)) == {(1, 0)}
    assert "they are taken for those of 'north'" in told(found, "suspicious")
    both = [watched(0, HOUR), watched(0, HOUR, "site:south")]
    found = joined([call(1, 0, 10, clip)], [clip], [seen(5, 5)], both)
    assert len(found.pairs) == 0
    assert "several were watched at a time" in told(found, "ambiguous")


YEAR_2024 = 1_714_000_000_000


def test_hours_with_several_recorders_at_one_place_are_told():
    hour = recording(0, "a.flac", "", duration=HOUR)
    beside = [recording(n, f"{n}.flac", "", start=HOUR // 2, duration=HOUR) for n in (1, 2)]
    effort = [watched(0, 2 * HOUR, "site:"), watched(0, HOUR, "site:", log="other")]
    found = joined([], [hour, *beside], effort=effort)
    assert found.pooled_h == pytest.approx(1)  # from half past, be it two recorders or three
    assert "for 1 h of it recordings run beside each other" in told(found, "suspicious")
    placed = [one | {"site": str(n)} for n, one in enumerate([hour, *beside])]
    assert joined([], placed, effort=effort).pooled_h == 0


def test_observations_are_counted_by_how_they_were_joined():
    dated, undated = recording(0), recording(1, "b.flac", start=None, duration=7000)
    forever = WHOLE
    observations = [
        seen(0, forever, timeline="file:b", row=2),
        seen(1000, 1000, row=2),  # the same row, by its time
        seen(2000, 2000, row=3),
        seen(0, forever, timeline="file:c", row=4),  # the archive has none of that name,
        seen(5000, 9000, row=4),  # but the time counts
        seen(0, forever, timeline="file:c", row=5),
    ]
    effort = [watched(0, HOUR), watched(0, forever, "file:b")]
    found = joined([], [dated, undated], observations, effort)
    (counts,) = found.observed.to_dicts()
    kinds = ("n_whole", "n_points", "n_states", "n_nowhere")
    assert [counts[kind] for kind in kinds] == [1, 1, 1, 1]
    assert counts["n"] == 4
    assert found.named == {"log": 1}


@pytest.mark.parametrize(
    ("start", "timeline", "says"),
    [
        (YEAR_2024, "site:nroth", "nothing was recorded at 'nroth', but at 'north': did you mean"),
        (YEAR_2024, "site:mill", "give the right one (--site)"),
        (YEAR_2024 - 366 * 24 * HOUR, "site:north", "it would fit 1 year later"),
        (YEAR_2024 + 2 * HOUR, "site:north", "it would fit 2 h earlier: is its time zone right"),
        (YEAR_2024 // 1000, "site:north", "if seconds had been taken for milliseconds"),
        (YEAR_2024 * 1000, "site:north", "if milliseconds had been taken for seconds"),
        (YEAR_2024 + 40 * 24 * HOUR, "site:north", "are its dates right"),
    ],
)
def test_a_log_that_fits_no_recording_is_told_what_would_fit(start, timeline, says):
    hour = recording(1, start=YEAR_2024)
    if timeline == "site:north" and start not in (YEAR_2024 // 1000,):
        start += 1000
    effort = [watched(start, start + 60_000, timeline)]
    found = joined([call(1, 0, 10, hour)], [hour], [seen(start, start, timeline=timeline)], effort)
    (problem,) = found.unmatched
    assert problem.kind == "unread"
    assert says in problem.what
    assert not found.sessions


def test_recordings_without_a_time_are_told_where_only_time_could_join():
    clip = recording(1, start=None)
    found = joined([call(1, 0, 10, clip)], [clip], [seen(5, 5)], [watched(0, 100)])
    assert found.calls["status"].to_list() == ["no time"]
    assert "no recording has a time" in told(found, "unread")
    # Once of the whole log, whatever sites it names.
    everywhere = [seen(5, 5, timeline=f"site:{name}") for name in ("north", "south", "east")]
    (problem,) = joined([call(1, 0, 10, clip)], [clip], everywhere, []).unmatched
    assert problem.row == 0


@pytest.mark.parametrize(
    ("times", "kind", "says"),
    [
        ([(1, 1), (2, 2), (600, 600)], "suspicious", "first 600 ms of 10 min: were seconds taken"),
        ([(1, 1), (601_000, 601_000)], "unread", "1 of 2 observations on film.wav begin after"),
    ],
)
def test_times_in_a_recording_that_cannot_be_meant_are_told(times, kind, says):
    film = recording(1, "film.wav", start=None, duration=600_000)
    observations = [seen(*one, timeline="file:film.mp4") for one in times]
    found = joined([], [film], observations, [watched(0, WHOLE, "file:film.mp4")])
    assert says in told(found, kind)


def test_keys_and_effort_that_do_not_fit_are_told():
    clips = [recording(1, "1_1_a.flac"), recording(2, "1_1_b.flac", start=2 * HOUR)]
    observations = [
        seen(0, WHOLE, timeline="file:1_1", row=7),
        seen(0, WHOLE, timeline="file:2_4", row=9),
        seen(9000, 9000, row=11),
        seen(8000, 8000, row=12),  # at the very end of the effort
    ]
    found = joined([], clips, observations, [watched(0, 8000)], tolerance_ms=0)
    problems = [(one.row, one.kind) for one in found.unmatched]
    assert problems == [(7, "ambiguous"), (9, "suspicious"), (11, "suspicious")]
    assert "can mean 1_1_a.flac, 1_1_b.flac" in told(found)
    assert "no recording goes by '2_4' (row 9)" in told(found)
    assert "1 row lies outside the effort (11)" in told(found)
    counts = found.observed.row(0, named=True)
    assert (counts["n"], counts["n_nowhere"], counts["n_outside_effort"]) == (4, 2, 1)


def test_nothing_joined_with_nothing_is_nothing():
    found = joined([], [])
    assert len(found.pairs) == len(found.calls) == len(found.sessions) == 0
    found = joined([], [recording(1)], [seen(0, 1)], [])
    assert found.observed["n_outside_effort"].to_list() == [1]


def test_a_call_of_a_recording_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="1 calls are of recordings that are not in the table"):
        joined([call(1, 0, 10, recording(2))], [recording(1)])


def test_a_negative_window_is_refused():
    with pytest.raises(ValueError, match="before_ms must not be negative, not -1"):
        JoinConfig(before_ms=-1)


def test_what_stops_before_it_starts_lies_nowhere():
    hour = recording(1)
    found = joined([call(1, 0, 10, hour)], [hour], [seen(9, 2)], [watched(0, 100)])
    assert len(found.pairs) == 0
    assert found.observed["n_nowhere"].to_list() == [1]


# Clips that are joined by their names


def clips(sessions, sites=None, *, own_sites=None):
    """Return clips of a minute without a time, and rows of a log that hold for them whole."""
    own_sites = own_sites or [""] * len(sessions)
    files = [
        recording(n, f"c{n}.wav", own_sites[n], start=None, duration=60_000)
        for n in range(len(sessions))
    ]
    effort = [
        watched(0, WHOLE, f"file:c{n}", session=one) | {"site": (sites or own_sites)[n]}
        for n, one in enumerate(sessions)
    ]
    return files, effort


def test_clips_of_one_session_lie_end_to_end_in_the_order_of_the_log():
    files, effort = clips(["a", "b", "a", "a"])
    calls = [call(n, 1000, 1100, one) for n, one in enumerate(files)]
    state = seen(0, WHOLE, timeline="file:c2")
    context = [measured(float(n), 0, WHOLE, f"file:c{n}") for n in (0, 2, 3)]
    found = joined(calls, files, [state], effort[::-1], context)
    a, b = found.sessions
    assert (a.name, b.name) == ("log a", "log b, c1.wav")
    assert a.segments.tolist() == [[0, 60_000], [60_000, 120_000], [120_000, 180_000]]
    assert (a.n_timelines, a.is_dated, a.duration_ms) == (3, False, 180_000)
    assert a.calls.tolist() == [3, 2, 0]
    assert a.starts.tolist() == [1000, 61_000, 121_000]
    assert a.behaviours["feeding"].tolist() == [[60_000, 120_000]]
    assert a.contexts["temperature"].spans.tolist() == a.segments.tolist()
    assert a.contexts["temperature"].values.tolist() == [3, 2, 0]
    assert found.effort.select("session", "path", "n_calls").rows() == [
        ("a", "", 3),
        ("b", "c1.wav", 1),
    ]


def test_a_clip_that_two_sessions_name_makes_them_one_and_it_is_told():
    files, effort = clips(["a", "a", "b"])
    found = joined([], files, [], [*effort, effort[1] | {"session": "b"}])
    assert [one.name for one in found.sessions] == ["log a + log b"]
    assert "sessions 'a' and 'b' share recordings or time" in told(found, "suspicious")
    assert not joined([], files, [], effort).unmatched


def test_clips_beside_each_other_that_have_a_time_share_a_session_and_keep_it():
    files = [recording(n, f"c{n}.wav", start=n // 2 * HOUR, duration=60_000) for n in range(4)]
    effort = [watched(0, WHOLE, f"file:c{n}") for n in (3, 2, 1, 0)]
    (found,) = joined([], files, [], effort).sessions
    assert found.is_dated
    assert found.segments[:, 0].tolist() == [0, 0, HOUR, HOUR]


def test_the_site_of_a_session_is_that_of_its_recordings_or_of_its_rows():
    files, effort = clips(["a", "a", "a", "a"], ["North", "south", " north", "east"])
    files[3]["site"] = "South"
    found = joined([], files, [], effort)
    assert [(one.name, one.site, one.n_timelines) for one in found.sessions] == [
        ("log a, North", "North", 2),
        ("log a, South", "South", 2),
    ]
    assert found.effort["site"].to_list() == ["North", "South"]


def null_log(rates, columns, config, folder, rng):
    """Join a log of clips with calls that were drawn beside it: `rates` are calls a clip and type.

    Returns
    -------
    sessions, and how many pairs are found either way
    """
    files = [recording(n, f"c{n}.wav", "", None, 60_000) for n in range(len(rates))]
    counts = rng.poisson(rates)
    of, kinds = (np.repeat(one.ravel(), counts.ravel()) for one in np.indices(counts.shape))
    at = rng.integers(59_000, size=len(of)).tolist()
    heard = [
        call(n, at[n], at[n] + 300, files[of[n]], sound_type=int(kinds[n])) for n in range(len(of))
    ]
    paths = [one["path"] for one in files]
    lines = [("clip", *columns), *zip(paths, *columns.values(), strict=True)]
    file = folder / "log.csv"
    file.write_text("\n".join(",".join(map(str, line)) for line in lines) + "\n")
    log = read_log(file, LogConfig(marker="clip", behaviours=("hawk",), **config))
    tables = table(CALLS, heard), table(RECORDINGS, files), log.observations, log.effort
    sessions = join(*tables, log.context, JoinConfig()).sessions
    found = associate(sessions, n_permutations=199)
    return sessions, max(found.n_found, found.n_odds_found)


N_NULL, MOST_NULL = 20, 4
"""So many of 20 have a finding by luck, at 5 % each, in all but 3 of 1,000 cases."""


def test_what_marks_whole_trials_is_found_no_oftener_than_by_chance_in_clips(tmp_path):
    n_found = 0
    for seed in range(N_NULL):
        rng = np.random.default_rng(seed)
        trial = np.repeat(np.arange(12), 12)
        rates = 2 * rng.gamma(3, 1 / 3, (12, 3))[trial]
        hawk = np.isin(trial, rng.choice(12, 5, replace=False)).astype(int)
        columns = {"trial": trial, "hawk": hawk}
        sessions, found = null_log(rates, columns, {"session": "trial"}, tmp_path, rng)
        n_found += found > 0
    assert n_found <= MOST_NULL
    assert [one.n_timelines for one in sessions] == [12] * 12


def test_what_is_commoner_at_one_site_is_found_no_oftener_than_by_chance_within_it(tmp_path):
    n_found = 0
    for seed in range(N_NULL):
        rng = np.random.default_rng(seed)
        is_south = np.repeat([0, 1], 30)
        rates = np.array([[4, 1, 2], [1, 4, 2]])[is_south]
        hawk = (rng.random(60) < np.where(is_south, 0.2, 0.8)).astype(int)
        columns = {"site": np.where(is_south, "south", "north"), "hawk": hawk}
        sessions, found = null_log(rates, columns, {"site": "site"}, tmp_path, rng)
        n_found += found > 0
    assert n_found <= MOST_NULL
    assert [one.site for one in sessions] == columns["site"].tolist()


def test_the_house_sparrow_log_has_a_session_a_trial_when_its_clips_are_joined_by_name(real_data):
    file = real_data / "behaviour" / "house_sparrow_observations.csv"
    log = read_log(
        file, LogConfig(marker="audio_marker", session="trial", site="site", timezone="UTC")
    )
    paths = sorted((real_data / "behaviour_house_sparrow").glob("*.flac"))
    files = [recording(n, one.name, "", None, 7000) for n, one in enumerate(paths)]
    tables = table(CALLS, []), table(RECORDINGS, files), log.observations, log.effort
    sessions = join(*tables, log.context, JoinConfig()).sessions
    trials = {one.stem.partition("_")[0] for one in paths}
    assert len(sessions) == len(trials) < len(paths)
    assert {one.site for one in sessions} == {"lundy", "essex", "ascot"}
