"""Sessions out of effort: when somebody watched while a recorder ran, and what fell into it.

In come effort, calls, observations and context on the axis of all timelines; out come
:class:`~oscine.behaviour.sessions.Session`. :mod:`oscine.behaviour.join` calls it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from oscine.behaviour.sessions import Held, Session, Whole
from oscine.behaviour.sites import folded
from oscine.behaviour.spans import Axis, cut, cut_by_group, merged, merged_by_group, split_by

_NO_SPANS = np.zeros((0, 2), np.int64)
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Watch:
    """When somebody watched.

    A **group** is the effort of one session of one log at one site; a **segment** is a stretch of
    effort while a recorder ran. Positions are those of the axis of all timelines.

    Attributes
    ----------
    groups : pl.DataFrame
        `log`, `session`, `site`, `path` of the recording whose timeline it is on, where that is the
        only one, `log_number`, `sources`; `joined`: the session that it is part of, null where
        nothing was recorded.
    effort : (groups, spans)
        What each group watched; spans are apart from each other within a group.
    recorded : np.ndarray of int64 [shape=(R, 2)]
        When a recorder ran; apart, ascending.
    of_logs : (log numbers, spans)
        What each log watched.
    sessions : np.ndarray of int64 [shape=(M,)]
        Of each segment.
    segments : np.ndarray of int64 [shape=(M, 2)]
        Apart or touching, ascending.
    lines : np.ndarray of int64 [shape=(M,)]
        Timeline of each.
    offsets : np.ndarray of int64 [shape=(M,)]
        Where each begins on the axis of its session.
    durations : np.ndarray of int64 [shape=(S,)]
    """

    groups: pl.DataFrame
    effort: tuple[Whole, Whole]
    recorded: Whole
    of_logs: tuple[Whole, Whole]
    sessions: Whole
    segments: Whole
    lines: Whole
    offsets: Whole
    durations: Whole

    def begins_in(self, positions: Whole) -> Whole:
        """Return the segment that each position lies in, or -1."""
        if not len(self.segments):
            return np.full(len(positions), -1)
        found = np.searchsorted(self.segments[:, 0], positions, side="right") - 1
        is_inside = (found >= 0) & (positions < self.segments[found, 1])
        return np.where(is_inside, found, -1)

    def on_sessions(self, spans: Whole) -> tuple[Whole, Whole, Whole]:
        """Cut spans to the segments: rows, sessions, and stretches on the axes of sessions."""
        rows, hit, parts = cut(spans, self.segments)
        return rows, self.sessions[hit], parts + (self.offsets - self.segments[:, 0])[hit, None]


def watch(axis: Axis, effort: pl.DataFrame, timelines: pl.DataFrame, recorded: Whole) -> Watch:
    """Make sessions of effort.

    What one session of a log watched at one site is one session, be it on many recordings: clips of
    one trial are no independent witnesses. Sessions that share time or recordings become one, with
    what was watched by either, so that a call counts once. A session lasts as long as somebody
    watched *and* a recorder ran: with a recorder that runs for one minute in ten, nobody can have
    heard what was called in the other nine, and rates would be a tenth of what they are. What was
    never recorded makes no session. On its axis stretches lie as they began; recordings without a
    time come last, in the order in which the log names them.

    The site is that of the recordings; where they have none, it is as the log states it.

    Parameters
    ----------
    axis : Axis
    effort : pl.DataFrame
        As :data:`~oscine.behaviour.tables.EFFORT`, with `line`, and with `site` as the log states
        it.
    timelines : pl.DataFrame
        As in :class:`~oscine.behaviour.timelines.Layout`.
    recorded : np.ndarray of int64 [shape=(R, 2)]
        When a recorder ran, on the axis; in any order.

    Returns
    -------
    Watch
    """
    keys = ["log", "session", "site"]
    effort = _at_sites(effort, timelines)
    line, path = pl.col("line"), pl.col("path")
    groups = (
        effort.group_by(keys, maintain_order=True)
        .agg(
            path=pl.when(line.n_unique() == 1).then(path.first()).otherwise(pl.lit("")),
            sources=pl.col("source").unique().sort().str.join(", "),
        )
        .with_columns(group=pl.int_range(pl.len()), log_number=pl.col("log").rank("dense") - 1)
        .cast({"log_number": pl.Int64})
    )
    numbered = effort.join(groups, on=keys, maintain_order="left")
    spans = axis.spans(*(numbered[name].to_numpy() for name in ("line", "start_ms", "stop_ms")))
    of_group, united = merged_by_group(numbered["group"].to_numpy(), spans)
    log_numbers = groups["log_number"].to_numpy()
    components = _components(of_group, united, len(groups))

    of_component, watched = merged_by_group(components[of_group], united)
    recorded = merged(recorded)
    rows, _, segments = cut(watched, recorded)
    order = np.argsort(segments[:, 0], kind="stable")
    segments, of_segment = segments[order], of_component[rows[order]]
    known, first, of_segment = np.unique(of_segment, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))  # sessions in the order in which they begin
    sessions = rank[of_segment]
    joined = np.full(len(groups), -1)
    joined[known] = rank
    lengths = segments[:, 1] - segments[:, 0]
    lines = axis.timelines(segments[:, 0])
    named = np.full(len(timelines), len(effort))  # when each was named first, if it has no time
    np.minimum.at(named, effort["line"].to_numpy(), np.arange(len(effort)))
    named[timelines["is_dated"].to_numpy()] = -1
    by_session = np.lexsort((axis.back(lines, segments[:, 0]), named[lines], sessions))
    durations = np.bincount(sessions, lengths, minlength=len(known)).astype(np.int64)
    offsets = np.zeros(len(segments), np.int64)
    offsets[by_session] = np.cumsum(lengths[by_session]) - lengths[by_session]
    offsets -= (np.cumsum(durations) - durations)[sessions]
    joined_groups = pl.Series(joined[components], dtype=pl.Int64)
    return Watch(
        groups=groups.with_columns(joined=joined_groups.set(joined_groups < 0, None)),
        effort=(of_group, united),
        recorded=recorded,
        of_logs=merged_by_group(log_numbers[of_group], united),
        sessions=sessions,
        segments=segments,
        lines=lines,
        offsets=offsets,
        durations=durations,
    )


def _at_sites(effort: pl.DataFrame, timelines: pl.DataFrame) -> pl.DataFrame:
    """Add the `path` of timelines, and write the site: of the recordings, or else as stated."""
    own = pl.col("own_site")
    effort = effort.join(
        timelines.select("line", "path", own_site="site"), on="line", maintain_order="left"
    ).with_columns(site=pl.when(own != "").then(own).otherwise(pl.col("site").fill_null("")))
    sites = effort["site"].unique(maintain_order=True).to_list()
    spelled: dict[str, str] = {}
    for site in [*timelines["site"], *sites]:
        spelled.setdefault(folded(site), site.strip())
    alike = {site: spelled[folded(site)] for site in sites}
    return effort.with_columns(pl.col("site").replace_strict(alike, return_dtype=pl.String))


def _components(groups: Whole, spans: Whole, n_groups: int) -> Whole:
    """Give one number to groups that share time, with each other or with a third."""
    order = np.argsort(spans[:, 0], kind="stable")
    reached = np.maximum.accumulate(spans[order, 1])
    begins_apart = np.ones(len(spans), bool)
    begins_apart[1:] = spans[order[1:], 0] >= reached[:-1]
    chains = np.cumsum(begins_apart) - 1  # all that are in one chain overlap
    n = n_groups + len(spans)
    links = coo_array((np.ones(len(spans)), (groups[order], n_groups + chains)), shape=(n, n))
    return connected_components(links, directed=False)[1][:n_groups].astype(np.int64)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Values:
    """A measured value and when it holds: at any time one at most.

    Attributes
    ----------
    spans : np.ndarray of int64 [shape=(N, 2)]
        On the axis of all timelines; apart or touching, ascending.
    values : np.ndarray of float64 [shape=(N,)]
    """

    spans: Whole
    values: NDArray[np.float64]

    def at(self, positions: Whole) -> NDArray[np.float64]:
        """Return the values at some positions; NaN where none holds."""
        found = np.searchsorted(self.spans[:, 1], positions, side="right")
        begins = np.append(self.spans[:, 0], _NEVER)[found]
        return np.where(begins <= positions, np.append(self.values, np.nan)[found], np.nan)


def measured(axis: Axis, context: pl.DataFrame) -> dict[str, Values]:
    """Put measured values on the axis of all timelines, by name.

    Where two logs measure the same at one time, the value that began last holds.

    Parameters
    ----------
    axis : Axis
    context : pl.DataFrame
        As :data:`~oscine.behaviour.tables.CONTEXT`, with `line`.
    """
    found: dict[str, Values] = {}
    for (name,), rows in context.drop_nulls("value").group_by("name", maintain_order=True):
        rows = rows.sort("line", "start_ms", "log", "row")
        spans = axis.spans(*(rows[one].to_numpy() for one in ("line", "start_ms", "stop_ms")))
        spans[:-1, 1] = np.minimum(spans[:-1, 1], spans[1:, 0])
        kept = spans[:, 1] > spans[:, 0]
        found[str(name)] = Values(spans=spans[kept], values=rows["value"].to_numpy()[kept])
    return dict(sorted(found.items()))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """What was seen, on the axis of all timelines.

    Attributes
    ----------
    spans : np.ndarray of int64 [shape=(N, 2)]
        Where a call would be with it.
    log_numbers : np.ndarray of int64 [shape=(N,)]
        As in the groups of :class:`Watch`; -1: the log has no effort.
    behaviours, subjects : np.ndarray of int64 [shape=(N,)]
        Numbers of names.
    behaviour_names, subject_names : list of str
    """

    spans: Whole
    log_numbers: Whole
    behaviours: Whole
    subjects: Whole
    behaviour_names: Sequence[str]
    subject_names: Sequence[str]


def sessions_of(
    watch: Watch,
    axis: Axis,
    timelines: pl.DataFrame,
    calls: tuple[Whole, Whole, Whole],
    seen: Seen,
    watched_for: Mapping[str, Sequence[str]],
    values: Mapping[str, Values],
) -> list[Session]:
    """Make the sessions.

    Parameters
    ----------
    watch : Watch
    axis : Axis
    timelines : pl.DataFrame
        As in :class:`~oscine.behaviour.timelines.Layout`.
    calls : (numbers, spans, sound types)
        Of the calls that have a place; spans are on the axis of all timelines.
    seen : Seen
        Counts where its own log says that somebody watched.
    watched_for : mapping of str to sequence of str
        Behaviours by log: they have an entry, perhaps an empty one, in all of its sessions.
    values : mapping of str to Values
    """
    n_sessions = len(watch.durations)
    numbers, spans, sound_types = calls
    segment = watch.begins_in(spans[:, 0])
    inside = np.flatnonzero(segment >= 0)
    segment = segment[inside]
    offsets = watch.offsets[segment] - watch.segments[segment, 0]
    order = np.argsort(spans[inside, 0] + offsets, kind="stable")
    inside, segment, offsets = inside[order], segment[order], offsets[order]
    starts = spans[inside, 0] + offsets
    # A call that outlasts its segment would reach into the next one, which may be hours later.
    stops = np.minimum(spans[inside, 1], watch.segments[segment, 1]) + offsets
    calls_of = split_by(watch.sessions[segment], n_sessions)

    is_dated = timelines["is_dated"].to_numpy()
    by_offset = np.argsort(watch.offsets, kind="stable")
    segments_of = [by_offset[rows] for rows in split_by(watch.sessions[by_offset], n_sessions)]
    groups_of = watch.groups.drop_nulls("joined").partition_by("joined", as_dict=True)
    behaviours, of_subjects = _behaviours(watch, seen)
    contexts = _contexts(watch, values)
    made: list[Session] = []
    for session, mine in enumerate(calls_of):
        groups = groups_of[(session,)]
        segments = watch.segments[segments_of[session]]
        lines = watch.lines[segments_of[session]]
        known = np.unique(lines)
        site = next(filter(None, groups["site"]), "")
        path = timelines["path"][int(known[0])] if len(known) == 1 else ""
        times = axis.back(lines[:, None], segments)
        if len(known) > 1 and not is_dated[known].all():
            times += (watch.offsets[segments_of[session]] - times[:, 0])[:, None]
        names = sorted({name for log in groups["log"] for name in watched_for.get(log, ())})
        made.append(
            Session(
                name=_name(groups, site, path),
                site=site,
                duration_ms=int(watch.durations[session]),
                segments=times,
                is_dated=bool(is_dated[known].all()),
                calls=numbers[inside[mine]],
                starts=starts[mine],
                lengths=(stops - starts)[mine],
                sound_types=sound_types[inside[mine]],
                behaviours={name: behaviours[session].get(name, _NO_SPANS) for name in names},
                of_subjects=of_subjects[session],
                contexts=contexts[session],
                n_timelines=len(known),
            )
        )
    return made


def _name(groups: pl.DataFrame, site: str, path: str) -> str:
    """Return logs and their sessions, the site, and the recording if its timeline is the only."""
    sessions = (f"{log} {session}".strip() for log, session in groups["log", "session"].iter_rows())
    return ", ".join(filter(None, (" + ".join(dict.fromkeys(sessions)), site, path)))


def _behaviours(
    watch: Watch, seen: Seen
) -> tuple[list[dict[str, Whole]], list[dict[tuple[str, str], Whole]]]:
    """Return what was seen in each session: by behaviour, and by behaviour and subject."""
    n_sessions = len(watch.durations)
    known = np.flatnonzero(seen.log_numbers >= 0)
    rows, parts = cut_by_group(seen.log_numbers[known], seen.spans[known], *watch.of_logs)
    again, sessions, parts = watch.on_sessions(parts)
    rows = known[rows[again]]
    n_behaviours, n_subjects = len(seen.behaviour_names), len(seen.subject_names)
    of_behaviour = sessions * n_behaviours + seen.behaviours[rows]
    behaviours: list[dict[str, Whole]] = [{} for _ in range(n_sessions)]
    for group, spans in _united(of_behaviour, parts):
        session, name = divmod(group, n_behaviours)
        behaviours[session][seen.behaviour_names[name]] = spans
    of_subjects: list[dict[tuple[str, str], Whole]] = [{} for _ in range(n_sessions)]
    for group, spans in _united(of_behaviour * n_subjects + seen.subjects[rows], parts):
        group, subject = divmod(group, n_subjects)
        session, name = divmod(group, n_behaviours)
        key = seen.behaviour_names[name], seen.subject_names[subject]
        of_subjects[session][key] = spans
    return behaviours, of_subjects


def _united(groups: Whole, spans: Whole) -> Iterator[tuple[int, Whole]]:
    """Yield each group and the union of its intervals."""
    groups, spans = merged_by_group(groups, spans)
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    for start, stop in zip(first, np.append(first, len(groups))[1:], strict=True):
        yield int(groups[start]), spans[start:stop]


def _contexts(watch: Watch, values: Mapping[str, Values]) -> list[dict[str, Held]]:
    """Return what was measured in each session."""
    n_sessions = len(watch.durations)
    contexts: list[dict[str, Held]] = [{} for _ in range(n_sessions)]
    for name, one in values.items():
        rows, sessions, parts = watch.on_sessions(one.spans)
        order = np.argsort(parts[:, 0], kind="stable")
        rows, sessions, parts = rows[order], sessions[order], parts[order]
        for session, mine in enumerate(split_by(sessions, n_sessions)):
            if len(mine):
                contexts[session][name] = Held(spans=parts[mine], values=one.values[rows[mine]])
    return contexts
