"""Are calls that sound alike more alike in what goes on than chance? No sound types, no threshold.

In come sessions (:mod:`oscine.behaviour.sessions`) and for each call its nearest neighbours in
embedding space; out goes a row for each behaviour. Called by the `join` step. The arrangements are
those of :mod:`oscine.behaviour.association`: calls keep their neighbours and their times towards
each other, and are moved against behaviours within each session.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from oscine.behaviour.columns import Column, behaviour_column
from oscine.behaviour.sessions import Session
from oscine.behaviour.shifts import (
    Shifts,
    Track,
    draw_shifts,
    false_discovery,
    in_order,
    kept_lengths,
    p_values,
)

Whole = NDArray[np.int64]
Floats = NDArray[np.float64]

MIN_PAIRS = 20
"""Pairs of neighbours that a test needs."""
HELD_AT_A_TIME = 2_000_000
"""Calls x arrangements."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Likeness:
    """How alike neighbours are with one behaviour.

    Attributes
    ----------
    behaviour : str
    n_pairs, n_calls, n_sessions : int
        Pairs of a call and a neighbour from another session, both watched for the behaviour; calls
        and sessions that they come from.
    both : float or None
        Share of the pairs in which both calls share time with the behaviour. None without pairs.
    by_chance : float or None
        The same for calls drawn from the two sessions of each pair.
    times_chance : float or None
        Their ratio; None where the latter is 0.
    p : float or None
        One-sided: neighbours as much more alike than other calls of their sessions, or more.
    q : float or None
        Over all behaviours tested.
    why : str
        Why it was not tested; else empty.
    """

    behaviour: str
    n_pairs: int
    n_calls: int
    n_sessions: int
    both: float | None
    by_chance: float | None
    times_chance: float | None
    p: float | None
    q: float | None
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbourhood:
    """How alike neighbours are.

    Attributes
    ----------
    likenesses : list of Likeness
        By behaviour.
    p : float or None
        Of all tested behaviours together: the sum of their statistics in standard deviations.
    n_within : int
        Pairs left out because both calls are of one session.
    n_permutations, seed
        As used.
    """

    likenesses: list[Likeness]
    p: float | None
    n_within: int
    n_permutations: int
    seed: int


def agreement(
    sessions: Sequence[Session],
    calls: Whole,
    neighbours: Whole,
    *,
    n_permutations: int = 999,
    seed: int = 0,
    alpha: float = 0.05,
) -> Neighbourhood:
    """Ask whether neighbours are more alike in behaviour than other calls of their sessions.

    The statistic is the sum over pairs of the product of two numbers: whether each call shares time
    with the behaviour, less the share of calls of its session that do. So it asks for likeness of
    the neighbours alone: a behaviour with which all calls go says nothing.

    Parameters
    ----------
    sessions : sequence of Session
    calls : np.ndarray of int64 [shape=(N,)]
        Numbers of calls. Those of no session, and calls of sessions that are not here, do not
        count; a call of several sessions counts in the first.
    neighbours : np.ndarray of int64 [shape=(N, k)]
        Rows of `calls`, -1 for none; from other recordings than the call itself, as the caller has
        chosen them. Pairs of one session are left out.
    n_permutations, seed : int
    alpha : float
        Decides with what precision a behaviour must be arrangeable.

    Returns
    -------
    Neighbourhood

    Raises
    ------
    ValueError
        If the arrays do not fit together.
    """
    n = len(calls)
    if neighbours.ndim != 2 or len(neighbours) != n or (n and neighbours.max(initial=-1) >= n):
        raise ValueError(
            f"neighbours {neighbours.shape} do not fit {n} calls: give a row for each call, with "
            f"rows of calls in it, from 0 to {n - 1}, or -1"
        )
    sessions = in_order(sessions)
    home, where = _homes(sessions, calls)
    left = np.repeat(np.arange(n), neighbours.shape[1])
    right = neighbours.ravel()
    has = (right >= 0) & (home[left] >= 0) & (home[right] >= 0)
    is_within = has & (home[left] == home[right])
    left, right = left[has & ~is_within], right[has & ~is_within]
    names = sorted({name for session in sessions for name in session.behaviours})
    shifts = draw_shifts(sessions, n_permutations, seed, len(names))
    likenesses: list[Likeness] = []
    together = np.zeros(1 + n_permutations)
    for name in names:
        column = behaviour_column(name, sessions, alpha)
        of_watched = column.is_watched[home[left]] & column.is_watched[home[right]]
        pairs = left[of_watched], right[of_watched]
        why = column.why
        if not why and column.test != "shifts within sessions":
            why = "hardly changes within sessions, and calls are moved within sessions here"
        if not why and len(pairs[0]) < MIN_PAIRS:
            why = f"too few pairs of neighbours ({len(pairs[0])}; {MIN_PAIRS} needed)"
        looked_up = _LookedUp(
            column=column, sessions=sessions, shifts=shifts, home=home, where=where
        )
        p = None
        if not why:
            matrix = sparse.csr_array((np.ones(len(pairs[0])), pairs), shape=(n, n))
            alike = np.concatenate([(x * (matrix @ x)).sum(axis=0) for x in looked_up.centred()])
            p = float(p_values(alike))
            together += (alike - alike.mean()) / (alike.std() or 1.0)
        likenesses.append(_likeness(looked_up, pairs, p, why))
    tested = [place for place, one in enumerate(likenesses) if one.p is not None]
    p = np.array([one.p for one in likenesses], np.float64)
    q = false_discovery(p, ~np.isnan(p))
    for place in tested:
        likenesses[place] = replace(likenesses[place], q=float(q[place]))
    return Neighbourhood(
        likenesses=likenesses,
        p=float(p_values(together)) if tested else None,
        n_within=int(is_within.sum()),
        n_permutations=n_permutations,
        seed=seed,
    )


def _homes(sessions: Sequence[Session], calls: Whole) -> tuple[Whole, Whole]:
    """Return the session of each call (N,), -1 for none, and its place among the calls there."""
    home, where = np.full((2, len(calls)), -1)
    order = np.argsort(calls)
    for number, session in reversed(list(enumerate(sessions))):
        place = np.searchsorted(calls, session.calls, sorter=order)
        row = order[np.minimum(place, len(calls) - 1)] if len(calls) else place
        is_here = calls[row] == session.calls if len(calls) else np.zeros(len(row), bool)
        home[row[is_here]], where[row[is_here]] = number, np.flatnonzero(is_here)
    return home, where


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _LookedUp:
    """Which of N calls share time with a behaviour, in each arrangement."""

    column: Column
    sessions: Sequence[Session]
    shifts: Shifts
    home: Whole
    where: Whole

    def on(self, number: int, track: Track, arrangements: slice) -> tuple[Whole, Floats]:
        """Return the rows of the calls of a session, and whether each is with it, (n, R)."""
        session = self.sessions[number]
        rows = np.flatnonzero(self.home == number)
        place = self.where[rows]
        moved = self.shifts.pools[number][self.shifts.picks[number][arrangements]]
        moved = session.starts[place][:, None] + moved
        moved -= session.duration_ms * (moved >= session.duration_ms)
        lengths = kept_lengths(session)[place][:, None]
        return rows, track.at(moved, lengths, session.duration_ms).astype(np.float64)

    def centred(self) -> Iterator[Floats]:
        """Yield it less the share of the session, (N, R) for some arrangements after others."""
        n, n_arrangements = len(self.home), len(self.shifts.picks[0])
        step = max(1, HELD_AT_A_TIME // n)
        for begin in range(0, n_arrangements, step):
            arrangements = slice(begin, min(begin + step, n_arrangements))
            x = np.zeros((n, arrangements.stop - begin))
            for number, track in enumerate(self.column.tracks):
                if track is not None and (self.home == number).any():
                    rows, on = self.on(number, track, arrangements)
                    x[rows] = on - on.mean(axis=0)
            yield x


def _likeness(
    looked_up: _LookedUp, pairs: tuple[Whole, Whole], p: float | None, why: str
) -> Likeness:
    """Return the row of a behaviour."""
    column, n_pairs = looked_up.column, len(pairs[0])
    seen, share = np.zeros((2, len(looked_up.home)))
    for number, track in enumerate(column.tracks):
        if track is not None and (looked_up.home == number).any():
            rows, on = looked_up.on(number, track, slice(0, 1))
            seen[rows], share[rows] = on[:, 0], on.mean()
    both, by_chance = (float((one[pairs[0]] * one[pairs[1]]).sum()) for one in (seen, share))
    in_pairs = np.unique(np.concatenate(pairs))
    return Likeness(
        behaviour=column.name,
        n_pairs=n_pairs,
        n_calls=len(in_pairs),
        n_sessions=len(np.unique(looked_up.home[in_pairs])),
        both=both / n_pairs if n_pairs else None,
        by_chance=by_chance / n_pairs if n_pairs else None,
        times_chance=both / by_chance if by_chance else None,
        p=p,
        q=None,
        why=why,
    )
