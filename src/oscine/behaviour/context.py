"""Where sound types stand in what was measured: the hour, temperature, the size of the group.

In come sessions (:mod:`oscine.behaviour.sessions`) with contexts; out goes a row for each sound
type and context. Called by the `join` step. The arrangements are those of
:mod:`oscine.behaviour.association`: calls are moved within sessions, or, where a context hardly
changes within them, whole sessions are shuffled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from oscine.behaviour.association import MIN_CALLS
from oscine.behaviour.columns import Column, Test, column, is_within_sites, shuffled
from oscine.behaviour.sessions import Held, Session
from oscine.behaviour.shifts import (
    Shifts,
    Tally,
    Track,
    draw_shifts,
    enough,
    false_discovery,
    in_order,
    sound_types,
    tally,
)

Whole = NDArray[np.int64]
Floats = NDArray[np.float64]

HOUR = "hour of the day"
"""Name of the context that comes with every dated session."""
LEVEL = 0.95
"""Of the intervals."""
_MINUTE_MS, _HOUR_MS, _DAY_MS = 60_000, 3_600_000, 86_400_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A sound type and a context.

    Attributes
    ----------
    sound_type : int
    context : str
    n_calls : int
        Calls of the type for which the context is known.
    n_sessions : int
        Sessions in which it is known.
    hours : float
        Effort for which it is known.
    mean_at_calls, mean_at_all_calls, mean_over_effort : float or None
        Of the context, all sessions together; of hours, from 0 to 24. None without calls.
    deviation : float
        Standard deviation of the context over effort.
    mean_compared, mean_by_chance : float or None
        Of the calls of the type that can be compared, those in sessions in which the context
        changes, and what that would be by chance: over the effort of their own sessions. Where
        whole sessions are shuffled, a call has the mean of its session, and by chance that of the
        sessions of its site (of all, where no site has several). None where not tested.
    difference, low, high : float or None
        The one less the other, and the 95 % interval, in units of the context.
    p, q : float or None
        As in :class:`oscine.behaviour.association.Pair`, over all types and contexts.
    test, why : str
    from_calls, from_calls_p, from_calls_q : float or None
        The same difference from calls of all types in the same sessions, a family of its own.
    from_calls_why : str
    """

    sound_type: int
    context: str
    n_calls: int
    n_sessions: int
    hours: float
    mean_at_calls: float | None
    mean_at_all_calls: float | None
    mean_over_effort: float
    deviation: float
    mean_compared: float | None = None
    mean_by_chance: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    q: float | None = None
    test: Test
    why: str
    from_calls: float | None = None
    from_calls_p: float | None = None
    from_calls_q: float | None = None
    from_calls_why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Contexts:
    """Where sound types stand.

    Attributes
    ----------
    standings : list of Standing
        By context and sound type.
    n_permutations, seed, alpha
        As used.
    n_tested, n_found : int
    is_within_sites : bool
        As of :class:`~oscine.behaviour.association.Association`.
    """

    standings: list[Standing]
    n_permutations: int
    seed: int
    alpha: float
    n_tested: int
    n_found: int
    is_within_sites: bool = False


def in_context(
    sessions: Sequence[Session],
    *,
    utc_offset_min: float | Mapping[str, float] = 0.0,
    n_permutations: int = 0,
    seed: int = 0,
    alpha: float = 0.05,
) -> Contexts:
    """Ask whether sound types stand elsewhere in the contexts than the effort.

    Parameters
    ----------
    sessions : sequence of Session
    utc_offset_min : float or mapping of session name to float
        Of local time, for the hour of the day.
    n_permutations, seed, alpha
        As for :func:`oscine.behaviour.association.associate`.

    Returns
    -------
    Contexts
    """
    sessions = in_order(sessions)
    types = sound_types(sessions)
    held = _contexts(sessions, utc_offset_min)
    columns = [_column(name, held[name], sessions, alpha) for name in sorted(held)]
    as_seen = draw_shifts(sessions, 0, seed, 1)
    calls = [_Calls.of(sessions, held[one.name], as_seen, types) for one in columns]
    shape = (2, len(columns), len(types))  # against effort, then against calls
    whys = np.full(shape, "", object)
    for place, (one, heard) in enumerate(zip(columns, calls, strict=True)):
        for kind in range(len(types)):
            whys[:, place, kind] = _why_not(one, heard, kind)
    is_tested = whys == ""
    n_tested = int(is_tested[0].sum())
    n_permutations = n_permutations or enough(n_tested, alpha)
    shifts = draw_shifts(sessions, n_permutations, seed, len(columns))
    tallies: list[tuple[Tally, Tally]] = []
    for one, heard in zip(columns, calls, strict=True):
        if one.test == "shifts within sessions":
            tallied = tally(sessions, one.tracks, shifts, types, one.turnover)
            tallies.append((tallied.by_time, tallied.among_calls))
        else:
            tallies.append(shuffled(one, heard.n_calls, heard.n_all, n_permutations, seed))
    p = np.array([[both[side].p for both in tallies] for side in range(2)]).reshape(shape)
    q = np.stack([false_discovery(one, each) for one, each in zip(p, is_tested, strict=True)])
    standings: list[Standing] = []
    for place, (one, heard) in enumerate(zip(columns, calls, strict=True)):
        for kind, sound_type in enumerate(types.tolist()):
            why, from_calls_why = whys[:, place, kind].tolist()
            standing = Standing(
                sound_type=sound_type,
                test="not tested" if why else one.test,
                why=why,
                from_calls_why=from_calls_why,
                **_described(one, heard, kind),
            )
            if not why:
                difference, width, compared = _difference(one, heard, tallies[place][0], kind)
                standing = replace(
                    standing,
                    mean_compared=_shown(one, compared),
                    mean_by_chance=_shown(one, compared - difference),
                    difference=difference,
                    low=difference - width,
                    high=difference + width,
                    p=float(p[0, place, kind]),
                    q=float(q[0, place, kind]),
                )
            if not from_calls_why:
                standing = replace(
                    standing,
                    from_calls=_difference(one, heard, tallies[place][1], kind)[0],
                    from_calls_p=float(p[1, place, kind]),
                    from_calls_q=float(q[1, place, kind]),
                )
            standings.append(standing)
    return Contexts(
        standings=standings,
        n_permutations=n_permutations,
        seed=seed,
        alpha=alpha,
        n_tested=n_tested,
        n_found=int((is_tested[0] & (q[0] <= alpha * (1 + 1e-9))).sum()),
        is_within_sites=is_within_sites(columns),
    )


def _contexts(
    sessions: Sequence[Session], utc_offset_min: float | Mapping[str, float]
) -> dict[str, list[Held | None]]:
    """Return what each session has of each context, the hour of the day included."""
    held: dict[str, list[Held | None]] = {
        name: [session.contexts.get(name) for session in sessions]
        for name in {name for session in sessions for name in session.contexts}
    }
    hours: list[Held | None] = []
    for session in sessions:
        of_one = isinstance(utc_offset_min, Mapping)
        offset = utc_offset_min.get(session.name, 0.0) if of_one else utc_offset_min
        hours.append(_hours(session, offset) if session.is_dated else None)
    if any(one is not None for one in hours):
        held[HOUR] = _unrolled(hours)
    return held


def _hours(session: Session, utc_offset_min: float) -> Held:
    """Return the hour of the day, minute by minute."""
    spans, values = [], []
    begin = 0
    for start, stop in session.segments.tolist():
        edges = np.append(np.arange(start, stop, _MINUTE_MS), stop)
        spans.append(np.stack([edges[:-1], edges[1:]], axis=1) - start + begin)
        middle = (edges[:-1] + edges[1:]) / 2 + _MINUTE_MS * utc_offset_min
        values.append(middle % _DAY_MS / _HOUR_MS)
        begin += stop - start
    return Held(spans=np.concatenate(spans), values=np.concatenate(values))


def _unrolled(hours: Sequence[Held | None]) -> list[Held | None]:
    """Cut the day where it is farthest from the effort, so that there is no jump at midnight."""
    known = [one for one in hours if one is not None]
    widths = np.concatenate([one.spans[:, 1] - one.spans[:, 0] for one in known])
    angle = np.concatenate([one.values for one in known]) * 2 * np.pi / 24
    middle = np.angle(widths @ np.exp(1j * angle)) * 24 / (2 * np.pi)
    return [
        None
        if one is None
        else Held(spans=one.spans, values=middle + (one.values - middle + 12) % 24 - 12)
        for one in hours
    ]


def _column(
    name: str, held: Sequence[Held | None], sessions: Sequence[Session], alpha: float
) -> Column:
    """Return a context as a column; its tracks are about the mean of each session."""
    n = len(sessions)
    effort_ms, n_changes = np.zeros((2, n), np.int64)
    total = np.zeros(n)
    squares = 0.0
    tracks: list[Track | None] = [None] * n
    for number, one in enumerate(held):
        if one is None or not len(one.spans):
            continue
        widths = one.spans[:, 1] - one.spans[:, 0]
        effort_ms[number], total[number] = widths.sum(), widths @ one.values
        squares += float(widths @ one.values**2)
        values = one.values - total[number] / effort_ms[number]
        n_changes[number] = (np.diff(values > 0) != 0).sum()
        tracks[number] = Track(spans=one.spans, values=values)
    return column(
        name,
        tracks,
        effort_ms=effort_ms,
        total=total,
        squares=squares,
        n_changes=n_changes,
        sites=[session.site for session in sessions],
        alpha=alpha,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Calls:
    """Calls at which a context is known, and its sums over them.

    By session and type, (S, K), and over all types, those of none included.
    """

    n_calls: Whole
    n_all: Whole
    total: Floats
    total_all: float

    @classmethod
    def of(
        cls, sessions: Sequence[Session], held: Sequence[Held | None], as_seen: Shifts, types: Whole
    ) -> _Calls:
        known, values = (
            tally(
                sessions,
                [
                    None if one is None else Track(spans=one.spans, values=what(one.values))
                    for one in held
                ],
                as_seen,
                types,
                1.0,
            )
            for what in (np.ones_like, np.asarray)
        )
        return cls(
            n_calls=np.rint(known.found).astype(np.int64),
            n_all=np.rint(known.found_all).astype(np.int64),
            total=values.found,
            total_all=float(values.found_all.sum()),
        )


def _why_not(one: Column, heard: _Calls, kind: int) -> tuple[str, str]:
    """Say why a type is not tested against effort, and against calls."""
    if one.why:
        return one.why, one.why
    n_calls = int(heard.n_calls[:, kind].sum())
    if n_calls < MIN_CALLS:
        why = f"known at too few calls of the type ({n_calls}; {MIN_CALLS} needed)"
        return why, why
    n_others = int(heard.n_all.sum()) - n_calls
    few = f"known at too few other calls ({n_others}; {MIN_CALLS} needed)"
    return "", few if n_others < MIN_CALLS else ""


def _described(one: Column, heard: _Calls, kind: int) -> dict[str, Any]:
    """Return what needs no test."""
    n_calls, n_all = int(heard.n_calls[:, kind].sum()), int(heard.n_all.sum())
    total = float(heard.total[:, kind].sum())
    effort_ms = int(one.effort_ms.sum())
    return {
        "context": one.name,
        "n_calls": n_calls,
        "n_sessions": int(one.is_watched.sum()),
        "hours": effort_ms / _HOUR_MS,
        "mean_at_calls": _shown(one, total / n_calls) if n_calls else None,
        "mean_at_all_calls": _shown(one, heard.total_all / n_all) if n_all else None,
        "mean_over_effort": _shown(one, float(one.levels @ one.effort_ms) / effort_ms),
        "deviation": one.deviation,
    }


def _shown(one: Column, mean: float) -> float:
    """Return a mean; of hours, from 0 to 24."""
    return mean % 24 if one.name == HOUR else mean


def _difference(one: Column, heard: _Calls, tally: Tally, kind: int) -> tuple[float, float, float]:
    """Return a mean difference, half the width of its interval, and the mean of what is compared.

    The mean less the difference is what it would be by chance.
    """
    n_calls = heard.n_calls[:, kind]
    if one.test == "shuffled sessions":
        n_free = max(1, int(one.is_watched.sum()) - len(np.unique(one.groups[one.is_watched])) - 1)
        variance = float(tally.spread[kind])
        total = float(one.levels @ n_calls)
    else:
        has = tally.variance[:, kind] > 0
        n_calls, total = n_calls[has], float(heard.total[has, kind].sum())
        n_free = max(1.0, one.turnover + float(tally.n_effective[kind]) - 1)
        both = one.turnover * tally.spread[kind] + tally.n_effective[kind] * tally.misfit[kind, 0]
        variance = float(both) / n_free
    n = max(1, int(n_calls.sum()))
    width = float(stats.t.ppf((1 + LEVEL) / 2, n_free)) * np.sqrt(variance) / n
    return float(tally.deviation[kind, 0]) / n, width, total / n
