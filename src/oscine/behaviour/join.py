"""The join: which calls were heard while, before or after what was seen.

In come calls and recordings as the workspace has them, and the tables of logs; out comes a
:class:`Joined`: pairs of a call and an observation, one row a call, sessions for
:mod:`oscine.behaviour.association`, hours of effort, and what found no counterpart.

A call goes with an observation at its time and site, and of its caller if both are known. A call at
whose time nobody watched is unobserved: that nothing was noted then says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from oscine.behaviour.misfits import find_misfits, pooled_hours
from oscine.behaviour.parts import FOREVER
from oscine.behaviour.sessions import Session, Whole, overlaps
from oscine.behaviour.spans import Axis, cut, cut_by_group, sharing
from oscine.behaviour.tables import FILE, SITE, Problem
from oscine.behaviour.timelines import Layout, lay_out
from oscine.behaviour.watching import Seen, Values, Watch, measured, sessions_of, watch

RELATIONS = ("during", "before", "after")

STATUSES = ("observed", "unobserved", "no time", "no log")

PAIRS = {
    "call": pl.Int64(),
    "observation": pl.Int64(),
    "relation": pl.Enum(RELATIONS),  # what the call was to what was seen
    "lag_ms": pl.Int64(),  # from the start of the observation to that of the call
    "shared_ms": pl.Int64(),  # 0 with a point
}
"""One row a call and an observation, in the order of calls."""

_FOUND = {
    "call_row": pl.UInt32(),
    "observed": pl.UInt32(),
    "code": pl.UInt8(),
    "lag_ms": pl.Int64(),
    "shared_ms": pl.Int64(),
}
_TWINS = ["log", "row", "behaviour", "subject"]
"""What one row says of a recording and of its time has these in common."""
_CONTEXT = "context_"
_UNKNOWN = -(2**63)
_BLOCK = 2_000_000
_MS_AN_HOUR = 3_600_000


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinConfig:
    """What goes together."""

    tolerance_ms: int = 500
    """A call is with a point if it is no further away than this."""
    before_ms: int = 5000
    """A call that ends at most so long before an observation begins is before it."""
    after_ms: int = 5000
    """A call that begins at most so long after an observation ends is after it."""
    by_subject: bool = True
    """Whether a known caller goes only with what was seen of the same subject, or of nobody
    named."""

    def __post_init__(self) -> None:
        for name in ("tolerance_ms", "before_ms", "after_ms"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Joined:
    """What goes with what.

    Attributes
    ----------
    pairs : pl.DataFrame
        As :data:`PAIRS`. Calls and observations stand in as many rows as they have counterparts.
    calls : pl.DataFrame
        As :data:`~oscine.behaviour.tables.CALLS`, with `status` (one of :data:`STATUSES`),
        `joined_session` (its place in `sessions`), `behaviours` (names of what it was during,
        sorted), `n_during`, `n_before` and `n_after` (observations), and `context_NAME`: what was
        measured when it began. Where a call was not observed, behaviours and counts are null.
    sessions : list of Session
        In the order of their timelines and times.
    effort : pl.DataFrame
        One row a session of a log at a site: `log`, `session`, `site`, `path` (of a recording that
        has a timeline of its own, where only that was watched), `sources`, `watched_h`,
        `recorded_h` (of these hours), `n_calls` (that began in these), `joined_session`.
    observed : pl.DataFrame
        One row a log and behaviour: how many observations there are (`n`; what one row says of one
        recording and of its time is one), and of these `n_nowhere` (no recording or site for
        them), `n_whole` (they hold for the whole of a recording, which they name), `n_points` and
        `n_states` (the others, by their times), which make up all; `n_outside_effort`,
        `n_unrecorded` (nothing was recorded when it was seen), `n_with_calls`.
    named : mapping of str to int
        How many recordings each log names, of those that there are.
    pooled_h : float
        Hours watched in which several recorders ran at one place, so that calls may count twice.
    unmatched : tuple of Problem
        Keys without a recording or with several, sites without one, logs of another time, what was
        seen outside the effort.
    """

    pairs: pl.DataFrame
    calls: pl.DataFrame
    sessions: list[Session]
    effort: pl.DataFrame
    observed: pl.DataFrame
    named: Mapping[str, int]
    pooled_h: float
    unmatched: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Heard:
    """The calls that have a place.

    Attributes
    ----------
    rows : np.ndarray of int64 [shape=(N,)]
        Of the table of calls.
    recordings, lines, starts, stops : np.ndarray of int64 [shape=(N,)]
        Row of the recording, timeline, and times on it.
    """

    rows: Whole
    recordings: Whole
    lines: Whole
    starts: Whole
    stops: Whole


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Windows:
    """Observations where they have a place; some have several.

    Attributes
    ----------
    rows : np.ndarray of int64 [shape=(M,)]
        Of the table of observations.
    recordings : np.ndarray of int64 [shape=(M,)]
        Row of the one that the log names; -1: none.
    lines, starts, stops : np.ndarray of int64 [shape=(M,)]
        Timeline, and times on it.
    lows, highs : np.ndarray of int64 [shape=(M,)]
        A call that shares time with [low, high) is during it.
    """

    rows: Whole
    recordings: Whole
    lines: Whole
    starts: Whole
    stops: Whole
    lows: Whole
    highs: Whole


def join(
    calls: pl.DataFrame,
    recordings: pl.DataFrame,
    observations: pl.DataFrame,
    effort: pl.DataFrame,
    context: pl.DataFrame,
    config: JoinConfig,
) -> Joined:
    """Join calls with observations.

    All intervals are half-open; a point is the millisecond that it lies in. A call is **during** a
    state if they share time, and during a point if it is at most `tolerance_ms` away; otherwise
    **before** an observation if it ended at most `before_ms` before that began, or **after** it if
    it began at most `after_ms` after that ended. What a row says of a recording goes with calls of
    that recording only; a call goes with a row once, though the row may also say a time.

    Sessions hold effort only as long as a recorder ran. For calls that do not outlast a stretch of
    effort, and what was seen within the effort of its own log, ``pairs`` and sessions say the same:
    a call is during a behaviour if and only if :func:`~oscine.behaviour.sessions.overlaps` says so
    of its interval and that behaviour; under `by_subject`, for a known caller, that behaviour of
    the same subject or of nobody named. (Recordings that overlap by a second or two, as clocks
    have it, are an exception: what was seen on one reaches into the other there.)

    Parameters
    ----------
    calls, observations, effort, context : pl.DataFrame
        As in :mod:`oscine.behaviour.tables`.
    recordings : pl.DataFrame
        As :data:`~oscine.behaviour.matching.RECORDINGS`: all that a log may name, and all that tell
        when the recorders ran, also where nothing was heard.
    config : JoinConfig

    Returns
    -------
    Joined

    Raises
    ------
    ValueError
        A call is of a recording that is not among these.
    """
    layout = lay_out(recordings, observations, effort, context)
    heard = _heard(calls, layout)
    reach_ms = max(config.tolerance_ms, config.before_ms, config.after_ms) + 1
    windows = _windows(observations, layout, config, reach_ms)
    timeline = pl.col("timeline")
    stated = pl.when(timeline.str.starts_with(SITE)).then(timeline.str.strip_prefix(SITE))
    effort = effort.with_columns(site=stated.otherwise(pl.col("site")))
    watched = layout.place(effort, 0, is_cut=True).filter(pl.col("stop_ms") > pl.col("start_ms"))
    recorded = layout.recordings.drop_nulls("line")
    axis = Axis.of(
        *(
            np.concatenate((ours, watched[name].to_numpy(), recorded[name].to_numpy()))
            for ours, name in (
                (heard.lines, "line"),
                (heard.starts, "start_ms"),
                (heard.stops, "stop_ms"),
            )
        ),
        n_timelines=len(layout.timelines),
    )
    spans = axis.spans(heard.lines, heard.starts, heard.stops)
    pairs = _pairs(calls, observations, heard, windows, spans, axis, config)

    ran = (recorded[name].to_numpy() for name in ("line", "start_ms", "stop_ms"))
    watching = watch(axis, watched, layout.timelines, axis.spans(*ran))
    values = measured(axis, layout.place(context, 0, is_cut=True))
    seen = _seen(observations, windows, layout, axis, watching)
    names = observations.group_by("log").agg(pl.col("behaviour").drop_nulls().unique())
    watched_for = {str(log): behaviours for log, behaviours in names.iter_rows()}
    sessions = sessions_of(
        watching,
        axis,
        layout.timelines,
        (
            calls["call"].to_numpy()[heard.rows],
            spans,
            calls["sound_type"].to_numpy()[heard.rows],
        ),
        seen,
        watched_for,
        values,
    )
    observed, is_outside = _observed(observations, windows, seen, watching, pairs)
    return Joined(
        pairs=pairs.select(list(PAIRS)),
        calls=_calls(
            calls, observations, heard, spans, watched["line"].to_numpy(), watching, pairs, values
        ),
        sessions=sessions,
        effort=_effort(watching, spans),
        observed=observed,
        named=dict(
            layout.lies_on.drop_nulls("number")
            .group_by("log")
            .agg(pl.col("number").n_unique())
            .iter_rows()
        ),
        pooled_h=pooled_hours(layout, watched),
        unmatched=(
            *layout.problems,
            *find_misfits(layout, observations, watched, is_outside, watched_for, watching.groups),
        ),
    )


def _heard(calls: pl.DataFrame, layout: Layout) -> _Heard:
    """Find the timeline of each call, and its times there."""
    known = layout.recordings.select(
        "recording", "number", "is_dated", pl.col("line").fill_null(-1)
    )
    of = calls.select("recording").join(known, on="recording", how="left", maintain_order="left")
    if unknown := of["number"].null_count():
        raise ValueError(f"{unknown} calls are of recordings that are not in the table of these")
    lines = of["line"].to_numpy()
    times = [
        np.where(
            of["is_dated"].to_numpy(),
            calls[name].fill_null(_UNKNOWN).to_numpy(),
            calls[f"file_{name}"].fill_null(_UNKNOWN).to_numpy(),
        )
        for name in ("start_ms", "stop_ms")
    ]
    rows = np.flatnonzero((lines >= 0) & (times[0] != _UNKNOWN))
    starts = times[0][rows]
    return _Heard(
        rows=rows,
        recordings=of["number"].to_numpy()[rows],
        lines=lines[rows],
        starts=starts,
        stops=np.maximum(times[1][rows], starts + 1),  # a call lasts a millisecond at least
    )


def _windows(
    observations: pl.DataFrame, layout: Layout, config: JoinConfig, reach_ms: int
) -> _Windows:
    """Find the timelines of observations, their times there, and when a call is during them."""
    placed = layout.place(
        observations.select(
            "log", "timeline", "start_ms", "stop_ms", observed=pl.int_range(pl.len())
        ),
        reach_ms,
    )
    starts, stops = placed["start_ms"].to_numpy(), placed["stop_ms"].to_numpy()
    is_point = starts == stops
    return _Windows(
        rows=placed["observed"].to_numpy(),
        recordings=placed["number"].fill_null(-1).to_numpy(),
        lines=placed["line"].to_numpy(),
        starts=starts,
        stops=stops,
        lows=np.where(is_point, starts - config.tolerance_ms, starts),
        highs=np.where(is_point, starts + 1 + config.tolerance_ms, stops),
    )


def _pairs(
    calls: pl.DataFrame,
    observations: pl.DataFrame,
    heard: _Heard,
    windows: _Windows,
    spans: Whole,
    axis: Axis,
    config: JoinConfig,
) -> pl.DataFrame:
    """Return pairs as in :data:`PAIRS`, with the rows of call and observation in their tables."""
    reach = axis.spans(
        windows.lines,
        np.minimum(windows.lows, windows.starts - config.before_ms - 1),
        np.maximum(windows.highs, windows.stops + config.after_ms + 1),
    )
    callers, subjects = _numbered_alike(calls["caller"], observations["subject"])
    blocks = [pl.DataFrame(schema=_FOUND)]
    for call, window in sharing(spans, reach, _BLOCK):
        named = windows.recordings[window]
        kept = (named < 0) | (named == heard.recordings[call])
        if config.by_subject:
            caller, subject = callers[heard.rows[call]], subjects[windows.rows[window]]
            kept &= (caller == subject) | (caller == 0) | (subject == 0)
        call, window = call[kept], window[kept]
        starts, stops = heard.starts[call], heard.stops[call]
        is_during = (starts < windows.highs[window]) & (stops > windows.lows[window])
        relation = np.where(is_during, 0, np.where(stops <= windows.starts[window], 1, 2))
        shared = np.minimum(stops, windows.stops[window]) - np.maximum(
            starts, windows.starts[window]
        )
        blocks.append(
            pl.DataFrame(
                {
                    "call_row": heard.rows[call].astype(np.uint32),
                    "observed": windows.rows[window].astype(np.uint32),
                    "code": relation.astype(np.uint8),
                    "lag_ms": starts - windows.starts[window],
                    "shared_ms": np.maximum(shared, 0),
                }
            )
        )
    rows = _once(pl.concat(blocks), observations)
    rows = rows[(rows["call_row"].cast(pl.Int64) * len(observations) + rows["observed"]).arg_sort()]
    return rows.with_columns(
        call=calls["call"].gather(rows["call_row"]),
        observation=observations["observation"].gather(rows["observed"]),
        relation=pl.Series(RELATIONS, dtype=PAIRS["relation"]).gather(rows["code"]),
    )


def _numbered_alike(callers: pl.Series, subjects: pl.Series) -> tuple[Whole, Whole]:
    """Give callers and subjects numbers, 0 to nobody; who has one name has one number."""
    names = pl.concat([pl.Series([""]), callers.unique(), subjects.unique()]).drop_nulls()
    kind = pl.Enum(names.unique(maintain_order=True))
    callers, subjects = (
        names.fill_null("").cast(kind).to_physical().cast(pl.Int64) for names in (callers, subjects)
    )
    return callers.to_numpy(), subjects.to_numpy()


def _once(pairs: pl.DataFrame, observations: pl.DataFrame) -> pl.DataFrame:
    """Keep one pair of a call and what one row of a log says of a recording and of its time."""
    is_twin = observations.select(
        pl.col("timeline").str.starts_with(FILE).n_unique().over(_TWINS) > 1
    ).to_series()
    if not is_twin.any():
        return pairs
    twin = observations.select(pl.struct(_TWINS).rank("dense")).to_series()
    concerns = is_twin.gather(pairs["observed"])
    once = (
        pairs.filter(concerns)
        .with_columns(twin=twin.gather(pairs["observed"].filter(concerns)))
        .sort("call_row", "twin", "code", "observed")
        .unique(["call_row", "twin"], keep="first", maintain_order=True)
    )
    return pl.concat([pairs.filter(~concerns), once.drop("twin")])


def _seen(
    observations: pl.DataFrame,
    windows: _Windows,
    layout: Layout,
    axis: Axis,
    watching: Watch,
) -> Seen:
    """Put when a call would be with each observation on the axis of all timelines."""
    lows, highs = windows.lows, windows.highs
    if len(layout.recordings):  # what is said of a recording ends with it
        start, stop = (layout.recordings[one].to_numpy() for one in ("start_ms", "stop_ms"))
        named = windows.recordings
        lows = np.where(named < 0, lows, np.maximum(lows, start[named]))
        highs = np.where(named < 0, highs, np.minimum(highs, stop[named]))
    numbers = watching.groups.select("log", "log_number").unique()
    of_logs = observations.select("log").join(numbers, on="log", how="left", maintain_order="left")
    behaviours, subjects = (
        observations[one].fill_null("").unique().sort() for one in ("behaviour", "subject")
    )
    return Seen(
        spans=axis.spans(windows.lines, lows, np.maximum(lows, highs)),
        log_numbers=of_logs["log_number"].fill_null(-1).to_numpy()[windows.rows],
        behaviours=_numbers(observations["behaviour"], behaviours)[windows.rows],
        subjects=_numbers(observations["subject"], subjects)[windows.rows],
        behaviour_names=behaviours.to_list(),
        subject_names=subjects.to_list(),
    )


def _numbers(names: pl.Series, known: pl.Series) -> Whole:
    """Return the place of each name among those that are known."""
    return names.fill_null("").cast(pl.Enum(known)).to_physical().cast(pl.Int64).to_numpy()


def _observed(
    observations: pl.DataFrame,
    windows: _Windows,
    seen: Seen,
    watching: Watch,
    pairs: pl.DataFrame,
) -> tuple[pl.DataFrame, NDArray[np.bool_]]:
    """Count observations by log and behaviour, and tell which lie outside the effort."""
    rows = windows.rows
    known = np.flatnonzero(seen.log_numbers >= 0)
    # The last row of a session often is a point at the very end of its effort.
    lows, highs = seen.spans.T
    spans = np.stack((lows - (windows.starts == windows.stops), highs), axis=1)[known]
    inside, _ = cut_by_group(seen.log_numbers[known], spans, *watching.of_logs)
    is_recorded = overlaps(lows, highs, watching.recorded)
    paired = pairs["observed"].filter(pairs["code"] == 0).to_numpy()
    is_whole = observations["stop_ms"].fill_null(0).to_numpy()[rows] >= FOREVER
    has = {
        name: np.isin(np.arange(len(observations)), which)
        for name, which in (
            ("placed", rows),
            ("inside", rows[known[inside]]),
            ("recorded", rows[is_recorded]),
            ("paired", paired),
            ("whole", rows[is_whole & (windows.recordings >= 0)]),
            ("point", rows[windows.starts == windows.stops]),
        )
    }
    each = observations.select(_TWINS).with_columns(
        **{name: pl.Series(v) for name, v in has.items()}
    )
    each = each.with_columns(pl.col(*has).any().over(_TWINS))
    placed, inside, whole = pl.col("placed"), pl.col("inside"), pl.col("whole")
    counts = (
        each.unique(_TWINS)
        .group_by("log", "behaviour")
        .agg(
            n=pl.len(),
            n_nowhere=(~placed).sum(),
            n_whole=whole.sum(),
            n_points=(placed & ~whole & pl.col("point")).sum(),
            n_states=(placed & ~whole & ~pl.col("point")).sum(),
            n_outside_effort=(placed & ~inside).sum(),
            n_unrecorded=(placed & ~pl.col("recorded")).sum(),
            n_with_calls=pl.col("paired").sum(),
        )
        .sort("log", "behaviour")
    )
    return counts, (each["placed"] & ~each["inside"]).to_numpy()


def _calls(
    calls: pl.DataFrame,
    observations: pl.DataFrame,
    heard: _Heard,
    spans: Whole,
    watched_lines: Whole,
    watching: Watch,
    pairs: pl.DataFrame,
    values: dict[str, Values],
) -> pl.DataFrame:
    """Add to calls what there is to be said of them."""
    n = len(calls)
    segment = watching.begins_in(spans[:, 0])
    is_observed = segment >= 0
    session = np.full(n, -1)
    session[heard.rows[is_observed]] = watching.sessions[segment[is_observed]]
    status = np.full(n, STATUSES.index("no time"))
    is_watched = np.isin(heard.lines, watched_lines)
    status[heard.rows] = np.where(
        is_observed,
        STATUSES.index("observed"),
        np.where(is_watched, STATUSES.index("unobserved"), STATUSES.index("no log")),
    )
    found = pairs["call_row"].to_numpy()
    code = pairs["code"].to_numpy()
    counts = {
        f"n_{relation}": np.bincount(found[code == number], minlength=n)
        for number, relation in enumerate(RELATIONS)
    }
    measured_there: dict[str, pl.Series] = {}
    for name, one in values.items():
        at = np.full(n, np.nan)
        at[heard.rows] = one.at(spans[:, 0])
        measured_there[_CONTEXT + name] = pl.Series(at).fill_nan(None)
    observed = pl.col("joined_session").is_not_null()
    names = observations["behaviour"].unique().sort()
    behaviours = _numbers(observations["behaviour"], names)
    during = code == 0
    held = found[during].astype(np.int64) * len(names)
    held += behaviours[pairs["observed"].to_numpy()[during]]
    row, behaviour = np.divmod(np.unique(held), max(len(names), 1))
    by_call = (
        pl.DataFrame({"call_row": row.astype(np.uint32), "behaviours": names.gather(behaviour)})
        .group_by("call_row", maintain_order=True)
        .agg("behaviours")
    )
    nothing = pl.lit([], pl.List(pl.String))
    return (
        calls.with_columns(
            status=pl.Series(STATUSES, dtype=pl.Enum(STATUSES)).gather(status),
            joined_session=pl.Series(session),
            call_row=pl.int_range(pl.len(), dtype=pl.UInt32),
        )
        .with_columns(pl.col("joined_session").replace(-1, None))
        .join(by_call, on="call_row", how="left", maintain_order="left")
        .with_columns(
            pl.when(observed).then(pl.col("behaviours").fill_null(nothing)),
            *(pl.when(observed).then(pl.Series(one)).alias(name) for name, one in counts.items()),
            **measured_there,
        )
        .drop("call_row")
    )


def _effort(watching: Watch, spans: Whole) -> pl.DataFrame:
    """Count hours and calls of each session of a log at each site."""
    groups, watched = watching.effort
    n = len(watching.groups)
    rows, _, recorded = cut(watched, watching.recorded)
    starts = np.sort(spans[:, 0])
    n_calls = np.searchsorted(starts, recorded[:, 1]) - np.searchsorted(starts, recorded[:, 0])
    sums = {
        "watched_h": np.bincount(groups, np.diff(watched)[:, 0], n) / _MS_AN_HOUR,
        "recorded_h": np.bincount(groups[rows], np.diff(recorded)[:, 0], n) / _MS_AN_HOUR,
        "n_calls": np.bincount(groups[rows], n_calls, n).astype(np.int64),
    }
    return watching.groups.with_columns(
        **{name: pl.Series(values) for name, values in sums.items()}
    ).select("log", "session", "site", "path", "sources", *sums, joined_session="joined")
