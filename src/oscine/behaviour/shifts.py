"""What would be seen if calls and observations had nothing to do with each other.

In come :class:`oscine.behaviour.sessions.Session`s; out go sums over calls as they are and as they
would be with the calls of each session moved along its effort by one time drawn at random, over the
end to the beginning, while behaviours stay. That keeps how calls follow on each other, of all types
together, and how behaviours do; only what ties the two is broken. Called by
:mod:`oscine.behaviour.association`, `.context` and `.neighbourhood`.

Where the processes are the same throughout a session, every such arrangement is as likely as the
one that was seen, and a permutation test is exact whatever its statistic. It is not exact where
bouts are about as long as the session: moved over the end, a slow rise becomes a saw, and sums vary
less than they should (Harris 2020, doi:10.1101/2020.11.29.402719). The statistic therefore is
studentised (:func:`studentised`): the seldomer a behaviour changes within sessions, the more of its
variance is taken from how sessions differ, which nothing of this disturbs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from oscine.behaviour.sessions import Session, overlaps

Whole = NDArray[np.int64]
Floats = NDArray[np.float64]

FEWEST, MOST = 999, 9_999
"""Permutations, where their number is not given."""
MOST_LOOKED_UP = 400_000_000
"""Calls x shifts x columns that are looked up at most; more, and sessions draw from a pool."""
LEAST_POOL = 250
"""Shifts of a session that are drawn at least, where there are several sessions."""
CHUNK = 2_000_000
"""Calls x shifts that are held at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """What a session has of one column: a behaviour, or a context.

    Attributes
    ----------
    spans : np.ndarray of int64 [shape=(M, 2)]
        Apart from each other, ascending, on the session's axis.
    values : np.ndarray of float64 [shape=(M,)], optional
        What holds during each; it is 0 elsewhere, and what holds when a call begins counts. None
        for a behaviour: 1 for a call that shares time with a span, else 0.
    """

    spans: Whole
    values: Floats | None = None

    def at(self, starts: Whole, lengths: Whole, duration_ms: int) -> NDArray[np.generic]:
        """Look up calls; those that run over the end of the session go on at its beginning.

        Parameters
        ----------
        starts : np.ndarray of int64
            In [0, duration).
        lengths : np.ndarray of int64
            Broadcast against the starts; none longer than the session.
        duration_ms : int

        Returns
        -------
        np.ndarray of bool, or of float64 where there are values [shape of the starts]
        """
        if self.values is None:
            twice = np.concatenate([self.spans, self.spans + duration_ms])
            return overlaps(starts, starts + lengths, twice)
        if not len(self.spans):
            return np.zeros(starts.shape)
        place = np.searchsorted(self.spans[:, 0], starts, side="right") - 1
        is_inside = (place >= 0) & (starts < self.spans[place, 1])
        return np.where(is_inside, self.values[place], 0.0)

    def mean(self, lengths: Whole, duration_ms: int) -> Floats:
        """Return the mean over all shifts of what calls of these lengths find.

        Parameters
        ----------
        lengths : np.ndarray of int64 [shape=(N,)]
        duration_ms : int

        Returns
        -------
        np.ndarray of float64 [shape=(N,)]
        """
        widths = self.spans[:, 1] - self.spans[:, 0]
        if self.values is not None:
            return np.full(len(lengths), (widths @ self.values) / duration_ms)
        if not len(self.spans):
            return np.zeros(len(lengths))
        # A call of L ms meets a span from L - 1 ms before its start on, unless the span before
        # reaches into that: so each gap between spans adds up to L - 1 ms.
        starts = np.append(self.spans[1:, 0], self.spans[0, 0] + duration_ms)
        gaps = np.sort(starts - self.spans[:, 1])
        n_filled = np.searchsorted(gaps, lengths - 1)
        filled = np.concatenate([[0], np.cumsum(gaps)])[n_filled]
        shared = widths.sum() + filled + (len(gaps) - n_filled) * (lengths - 1)
        return shared / duration_ms

    def variance(self, means: Floats, duration_ms: int) -> Floats:
        """Return the variance over all shifts of what single calls find.

        Parameters
        ----------
        means : np.ndarray of float64 [shape=(K,)]
            Mean of :meth:`mean` over the calls of each type.
        duration_ms : int

        Returns
        -------
        np.ndarray of float64 [shape=(K,)]
        """
        if self.values is None:
            return means * (1 - means)
        squares = (self.spans[:, 1] - self.spans[:, 0]) @ self.values**2
        return squares / duration_ms - means**2

    def echo(self, shifts: Whole, duration_ms: int) -> Floats:
        """Return how a behaviour correlates with itself moved: 1 unmoved, on average about 0.

        Parameters
        ----------
        shifts : np.ndarray of int64 [shape=(P,)]
            In [0, duration).
        duration_ms : int

        Returns
        -------
        np.ndarray of float64 [shape=(P,)]
            0 where the behaviour is on for all or none of the time.
        """
        twice = np.concatenate([self.spans, self.spans + duration_ms])
        so_far = np.concatenate([[0], np.cumsum(twice[:, 1] - twice[:, 0])]).repeat(2)[1:-1]
        moved = shifts[:, None, None] + self.spans
        on_ms = np.interp(moved, twice.ravel(), so_far) if len(twice) else np.zeros(moved.shape)
        share = (self.spans[:, 1] - self.spans[:, 0]).sum() / duration_ms
        if not 0 < share < 1:
            return np.zeros(len(shifts))
        both = (on_ms[..., 1] - on_ms[..., 0]).sum(axis=1) / duration_ms
        return (both - share**2) / (share * (1 - share))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shifts:
    """How far the calls of each session are moved in each arrangement.

    Attributes
    ----------
    pools : list of np.ndarray of int64 [shape=(P,)]
        Of each session, in ms; the first is 0.
    picks : list of np.ndarray of int64 [shape=(1 + n_permutations,)]
        Which of them it has in each arrangement; the first is what was seen.

    Notes
    -----
    A pool smaller than the number of arrangements keeps the test exact: what was seen is as likely
    as any other combination of what the pools hold, and the arrangements are drawn from those.
    """

    pools: list[Whole]
    picks: list[Whole]


def in_order(sessions: Sequence[Session]) -> list[Session]:
    """Put sessions with effort into an order of their own: the same shifts are drawn for each."""
    return sorted(
        (session for session in sessions if session.duration_ms > 0),
        key=lambda one: (one.segments.tolist(), np.sort(one.starts).tolist(), one.name),
    )


def sound_types(sessions: Sequence[Session]) -> Whole:
    """Return all sound types of some sessions, ascending, [shape=(K,)]."""
    every = [session.sound_types for session in sessions]
    types = np.unique(np.concatenate([*every, np.zeros(0, np.int64)]))
    return types[types >= 0]


def draw_shifts(
    sessions: Sequence[Session], n_permutations: int, seed: int, n_columns: int
) -> Shifts:
    """Draw shifts; they depend on seed and order of the sessions.

    Parameters
    ----------
    sessions : sequence of Session
    n_permutations : int
    seed : int
    n_columns : int
        How many columns will be looked up, on which the size of the pools depends.

    Returns
    -------
    Shifts
    """
    n_calls = sum(len(session.calls) for session in sessions)
    size = 1 + n_permutations
    if sum(len(session.calls) > 0 for session in sessions) > 1:
        affordable = MOST_LOOKED_UP // max(1, n_calls * n_columns)
        size = min(size, max(LEAST_POOL, affordable))
    pools, picks = [], []
    for number, session in enumerate(sessions):
        rng = np.random.default_rng((seed, number))
        pool = rng.integers(0, max(1, session.duration_ms), size)
        pool[0] = 0
        pick = np.arange(size)
        if size < 1 + n_permutations:
            pick = rng.integers(0, size, 1 + n_permutations)
            pick[0] = 0
        pools.append(pool)
        picks.append(pick)
    return Shifts(pools=pools, picks=picks)


def sums_by_type(
    session: Session, track: Track, pool: Whole, types: Whole
) -> tuple[Floats, Floats, Whole]:
    """Add up what the calls of each type find, under each shift.

    Parameters
    ----------
    session : Session
    track : Track
    pool : np.ndarray of int64 [shape=(P,)]
    types : np.ndarray of int64 [shape=(K,)]
        Ascending; calls of other types are left out.

    Returns
    -------
    found : np.ndarray of float64 [shape=(K, P)]
    expected : np.ndarray of float64 [shape=(K,)]
        Mean of the sums over all shifts there are.
    n_calls : np.ndarray of int64 [shape=(K,)]
    """
    order = np.argsort(session.sound_types, kind="stable")
    order = order[np.isin(session.sound_types[order], types)]
    kinds = np.searchsorted(types, session.sound_types[order])
    starts = session.starts[order]
    lengths = kept_lengths(session)[order]
    duration_ms = session.duration_ms
    n_calls = np.bincount(kinds, minlength=len(types))
    means = track.mean(lengths, duration_ms)
    expected = np.bincount(kinds, weights=means, minlength=len(types))
    found = np.zeros((len(types), len(pool)))
    if len(order):
        present, first = np.unique(kinds, return_index=True)
        step = max(1, CHUNK // len(order))
        for begin in range(0, len(pool), step):
            moved = starts[:, None] + pool[None, begin : begin + step]
            moved -= duration_ms * (moved >= duration_ms)
            values = track.at(moved, lengths[:, None], duration_ms)
            dtype = np.int64 if values.dtype == bool else np.float64
            sums = np.add.reduceat(values, first, axis=0, dtype=dtype)
            found[present, begin : begin + step] = sums
    return found, expected.astype(np.float64), n_calls.astype(np.int64)


def kept_lengths(session: Session) -> Whole:
    """Return lengths of calls within the effort: what hangs over its end nobody watched."""
    return np.minimum(session.lengths, session.duration_ms - session.starts)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tally:
    """How far sums over calls are from what they would be by chance, with one column.

    Attributes
    ----------
    deviation : np.ndarray of float64 [shape=(K, 1 + n_permutations)]
        Sum minus expected, over all sessions, in each arrangement; the first is what was seen.
    misfit : np.ndarray of float64 [shape=(K, 1 + n_permutations)]
        Squares of how far sessions are from the deviation that all have in common, by `weight`.
    variance : np.ndarray of float64 [shape=(S, K)]
        Of the sum of a session over its arrangements; 0 where it does not change.
    weight : np.ndarray of float64 [shape=(S, K)]
        The same, were all calls independent.
    spread : np.ndarray of float64 [shape=(K,)]
        Variance of the deviation over arrangements.
    n_effective : np.ndarray of float64 [shape=(K,)]
        How many sessions, all alike, would vary as much in all.
    turnover : float
        How many sessions the spread counts for, beside the misfit.
    """

    deviation: Floats
    misfit: Floats
    variance: Floats
    weight: Floats
    spread: Floats
    n_effective: Floats
    turnover: float

    @property
    def p(self) -> Floats:
        """Share of arrangements at least as far from chance, two-sided, [shape=(K,)]."""
        distance = studentised(
            self.deviation,
            self.misfit,
            self.spread[:, None],
            self.n_effective[:, None],
            self.turnover,
        )
        return p_values(np.abs(distance))


def effective(variance: Floats) -> Floats:
    """Return how many terms, all alike, vary as much in all as some, along the first axis."""
    squares, whole = (variance**2).sum(axis=0), variance.sum(axis=0) ** 2
    return np.divide(whole, squares, out=np.zeros_like(whole), where=squares > 0)


def studentised(
    deviation: Floats,
    misfit: Floats,
    spread: Floats | float,
    n_effective: Floats | float,
    turnover: float,
) -> Floats:
    """Return deviations in standard errors.

    Their square is the mean of the variance between sessions, which counts as many times as there
    are sessions, and that over arrangements, which counts as many times as the column changes in a
    session: the oftener it does, the better a session alone tells how much its sum varies, and
    where it changes once, only other sessions can tell.

    Parameters
    ----------
    deviation, misfit : np.ndarray of float64
    spread, n_effective : np.ndarray of float64 or float
        Broadcast against the two.
    turnover : float
        As :class:`Tally` has them.

    Returns
    -------
    np.ndarray of float64 [shape of `deviation`]
        0 where nothing varies.
    """
    n_free = np.maximum(turnover + n_effective - 1, 1e-9)
    variance = (turnover * spread + n_effective * misfit) / n_free
    return np.divide(deviation, np.sqrt(variance), out=np.zeros_like(deviation), where=variance > 0)


def p_values(distance: Floats) -> Floats:
    """Return the share of arrangements whose statistic is at least that of the first.

    Parameters
    ----------
    distance : np.ndarray of float64 [shape=(..., 1 + n_permutations)]
        The first of each row is what was seen, so it counts as one (Phipson and Smyth 2010,
        doi:10.2202/1544-6115.1585). Differences of one part in 10**9 are taken for rounding.

    Returns
    -------
    np.ndarray of float64 [shape=(...)]
    """
    seen = distance[..., :1]
    return (distance >= seen - 1e-9 * np.abs(seen)).mean(axis=-1)


def enough(n_tested: int, alpha: float) -> int:
    """Return how many permutations let one pair among so many be found, from 999 to 9,999."""
    return min(MOST, max(FEWEST, math.ceil(2 * n_tested / alpha)))


def false_discovery(p: Floats, is_tested: NDArray[np.bool_]) -> Floats:
    """Return q by Benjamini and Hochberg (1995), of the tested alone; NaN for the others.

    Parameters
    ----------
    p : np.ndarray of float64
    is_tested : np.ndarray of bool [shape of `p`]

    Returns
    -------
    np.ndarray of float64 [shape of `p`]
    """
    q = np.full(p.shape, np.nan)
    if is_tested.any():
        q[is_tested] = stats.false_discovery_control(p[is_tested])
    return q


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tallied:
    """A column tallied.

    Attributes
    ----------
    n_calls : np.ndarray of int64 [shape=(S, K)]
    found, expected : np.ndarray of float64 [shape=(S, K)]
        Sum over the calls of a type as seen, and the mean of it over all shifts.
    n_all, found_all, expected_all : np.ndarray [shape=(S,)]
        The same of calls of all types, those of none included.
    by_time : Tally
        Against the mean over shifts: does the type go with it?
    among_calls : Tally
        Against the share that the type has of all calls of a session: more than other types?
    """

    n_calls: Whole
    found: Floats
    expected: Floats
    n_all: Whole
    found_all: Floats
    expected_all: Floats
    by_time: Tally
    among_calls: Tally


def tally(
    sessions: Sequence[Session],
    tracks: Sequence[Track | None],
    shifts: Shifts,
    types: Whole,
    turnover: float,
) -> Tallied:
    """Tally one column.

    Parameters
    ----------
    sessions : sequence of S Session
    tracks : sequence of S Track or None
        None where nobody watched for it: the session does not count.
    shifts : Shifts
    types : np.ndarray of int64 [shape=(K,)]
        Ascending.
    turnover : float
        How often the column changes in a session.

    Returns
    -------
    Tallied
    """
    every = np.append(-1, types)  # calls of no type are calls too
    shape = (len(sessions), len(types))
    n_calls = np.zeros(shape, np.int64)
    found, expected = np.zeros((2, *shape))
    n_all, (found_all, expected_all) = np.zeros(shape[0], np.int64), np.zeros((2, shape[0]))
    both = _Adding(shape, len(shifts.picks[0])), _Adding(shape, len(shifts.picks[0]))
    for number, (session, track) in enumerate(zip(sessions, tracks, strict=True)):
        if track is None or not len(session.calls):
            continue
        sums, means, n = sums_by_type(session, track, shifts.pools[number], every)
        n_all[number], found_all[number], expected_all[number] = (
            n.sum(),
            sums[:, 0].sum(),
            means.sum(),
        )
        n_calls[number], found[number], expected[number] = n[1:], sums[1:, 0], means[1:]
        deviations = sums - means[:, None]
        share = n / max(1, n.sum())
        weight = n * track.variance(means / np.maximum(n, 1), session.duration_ms)
        picks = shifts.picks[number]
        both[0].add(number, deviations[1:], weight[1:], picks)
        deviations -= share[:, None] * deviations.sum(axis=0)
        both[1].add(number, deviations[1:], (weight * (1 - share))[1:], picks)
    return Tallied(
        n_calls=n_calls,
        found=found,
        expected=expected,
        n_all=n_all,
        found_all=found_all,
        expected_all=expected_all,
        by_time=both[0].tally(turnover),
        among_calls=both[1].tally(turnover),
    )


class _Adding:
    """Sums over sessions for a tally: of deviations, of their squares, of weight x deviation."""

    def __init__(self, shape: tuple[int, int], n_arrangements: int) -> None:
        self.variance, self.weight = np.zeros((2, *shape))
        self.deviation, self.squares, self.products = np.zeros((3, shape[1], n_arrangements))

    def add(self, number: int, deviations: Floats, weight: Floats, picks: Whole) -> None:
        variance = (deviations**2).mean(axis=1)
        self.variance[number], self.weight[number] = variance, np.where(variance > 0, weight, 0)
        if variance.any():
            picked = deviations[:, picks]
            self.deviation += picked
            self.squares += picked**2
            self.products += self.weight[number][:, None] * picked

    def tally(self, turnover: float) -> Tally:
        whole = self.weight.sum(axis=0)[:, None]
        common = np.divide(
            self.deviation, whole, out=np.zeros_like(self.deviation), where=whole > 0
        )
        misfit = self.squares - 2 * common * self.products
        misfit += common**2 * (self.weight**2).sum(axis=0)[:, None]
        return Tally(
            deviation=self.deviation,
            misfit=np.maximum(misfit, 0),
            variance=self.variance,
            weight=self.weight,
            spread=self.variance.sum(axis=0),
            n_effective=effective(self.variance),
            turnover=turnover,
        )
