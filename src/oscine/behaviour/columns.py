"""What calls are held against, and how it is rearranged: a behaviour or a context over sessions.

In come sessions; out go columns, each with the test that it allows, chosen by the column alone and
never by the calls. Called by :mod:`oscine.behaviour.association` and :mod:`.context`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oscine.behaviour.clocks import HOUR_MS, hours_text
from oscine.behaviour.sessions import Session
from oscine.behaviour.shifts import Tally, Track

Whole = NDArray[np.int64]
Floats = NDArray[np.float64]
Test = Literal["shifts within sessions", "shuffled sessions", "not tested"]

MIN_CHANGES = 10
"""How often a column must change within sessions for calls to be moved against it."""
MIN_WITHIN = 0.05
"""Share of its variance over time that a column must have within sessions for the same."""
_DIGITS = 3
"""Decimals of a level, in standard deviations, that count as a difference between sessions."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Column:
    """A behaviour or a context over S sessions.

    Attributes
    ----------
    name : str
    tracks : list of Track or None
        None where nobody watched for it.
    effort_ms : np.ndarray of int64 [shape=(S,)]
        How long it was watched for; 0 where it was not.
    levels : np.ndarray of float64 [shape=(S,)]
        Its mean over that time: of a behaviour, the share of time that it is on.
    deviation : float
        Standard deviation over the effort.
    turnover : float
        How often it changes within a session, of those in which it does; at least 1.
    groups : np.ndarray of int64 [shape=(S,)]
        Sessions among which whole ones are shuffled; -1 where nobody watched for it.
    test : str
    why : str
        Why there is no test; else empty.
    """

    name: str
    tracks: list[Track | None]
    effort_ms: Whole
    levels: Floats
    deviation: float
    turnover: float
    groups: Whole
    test: Test
    why: str

    @property
    def on_ms(self) -> Floats:
        """How long a behaviour is on in each session, [shape=(S,)]."""
        return self.levels * self.effort_ms

    @property
    def is_watched(self) -> NDArray[np.bool_]:
        """Which sessions have it, [shape=(S,)]."""
        return self.groups >= 0


def behaviour_column(name: str, sessions: Sequence[Session], alpha: float) -> Column:
    """Return the column of a behaviour.

    Parameters
    ----------
    name : str
    sessions : sequence of Session
    alpha : float
        A test that cannot give so small a p is none.

    Returns
    -------
    Column
    """
    spans = [session.behaviours.get(name) for session in sessions]
    effort = [
        0 if one is None else session.duration_ms
        for session, one in zip(sessions, spans, strict=True)
    ]
    on = [0 if one is None else int((one[:, 1] - one[:, 0]).sum()) for one in spans]
    hours = hours_text(sum(effort) / HOUR_MS)
    why = ""
    if not sum(on):
        why = f"never seen (in {hours})"
    elif sum(on) == sum(effort):
        why = f"seen all the time (for {hours})"
    changes = [
        0 if one is None else int((one > 0).sum() - (one >= length).sum())
        for one, length in zip(spans, effort, strict=True)
    ]
    return column(
        name,
        [None if one is None else Track(spans=one) for one in spans],
        effort_ms=np.array(effort, np.int64),
        total=np.array(on, np.float64),
        squares=float(sum(on)),
        n_changes=np.array(changes),
        sites=[session.site for session in sessions],
        alpha=alpha,
        why=why,
    )


def column(
    name: str,
    tracks: list[Track | None],
    *,
    effort_ms: Whole,
    total: Floats,
    squares: float,
    n_changes: Whole,
    sites: Sequence[str],
    alpha: float,
    why: str = "",
) -> Column:
    """Choose the test of a column by what it is like.

    Parameters
    ----------
    name, tracks, effort_ms, alpha
        As for :class:`Column` and :func:`behaviour_column`.
    total : np.ndarray of float64 [shape=(S,)]
        Integral of the column over the effort of each session.
    squares : float
        Integral of its square over all effort.
    n_changes : np.ndarray of int64 [shape=(S,)]
        How often it changes within each session.
    sites : sequence of S str
    why : str
        Why there can be no test, where that is known.

    Returns
    -------
    Column
    """
    watched = effort_ms > 0
    levels = np.divide(total, effort_ms, out=np.zeros(len(total)), where=watched)
    mean = total.sum() / max(1, effort_ms.sum())
    within = squares - effort_ms @ levels**2
    overall = squares - effort_ms.sum() * mean**2
    groups = _groups(sites, watched)
    test: Test = "not tested"
    if not why and not overall > 0:
        why = "the same throughout"
    if not why:
        ways = _rearrangements(levels / math.sqrt(overall / effort_ms.sum()), groups)
        if n_changes.sum() >= MIN_CHANGES and within >= MIN_WITHIN * overall:
            test = "shifts within sessions"
        elif ways * alpha >= 1:
            test = "shuffled sessions"
        else:
            way = "1 way" if ways == 1 else f"{ways:.0f} ways"
            why = (
                "it hardly changes within sessions, and these are too few or too alike to compare "
                f"them whole ({n_changes.sum()} changes, {MIN_CHANGES} needed, with "
                f"{max(0.0, within / overall):.0%} of its variance, {MIN_WITHIN:.0%} needed; "
                f"{int(watched.sum())} sessions can be rearranged in {way}, so that p cannot be "
                f"less than {1 / ways:.2g})"
            )
    return Column(
        name=name,
        tracks=tracks,
        effort_ms=effort_ms,
        levels=levels,
        deviation=math.sqrt(max(0.0, overall) / max(1, effort_ms.sum())),
        turnover=float(n_changes.sum() / max(1, (n_changes > 0).sum())) or 1.0,
        groups=groups,
        test=test,
        why=why,
    )


def _groups(sites: Sequence[str], watched: NDArray[np.bool_]) -> Whole:
    """Group sessions by site where a site has several; else all are one group."""
    numbers = np.unique(np.array(sites), return_inverse=True)[1]
    counts = np.bincount(numbers[watched], minlength=1)
    if counts.max() < 2:
        numbers = np.zeros(len(numbers), np.int64)
    return np.where(watched, numbers, -1)


def is_within_sites(columns: Sequence[Column]) -> bool:
    """Tell whether whole sessions that are shuffled stay at their site.

    Parameters
    ----------
    columns : sequence of Column

    Returns
    -------
    bool
        False where none is shuffled, and where all sessions are one group: no site has several, or
        they are of one site or of none.
    """
    return any(
        one.test == "shuffled sessions" and len(np.unique(one.groups[one.is_watched])) > 1
        for one in columns
    )


def _rearrangements(levels: Floats, groups: Whole) -> float:
    """Count the different ways to give the levels to the sessions of each group."""
    log_ways = 0.0
    for group in np.unique(groups[groups >= 0]):
        alike = Counter(np.round(levels[groups == group], _DIGITS).tolist())
        log_ways += math.lgamma(alike.total() + 1)
        log_ways -= sum(math.lgamma(count + 1) for count in alike.values())
    return float(np.round(math.exp(min(log_ways, 700.0))))


def shuffled(
    column: Column, n_calls: Whole, n_all: Whole, n_permutations: int, seed: int
) -> tuple[Tally, Tally]:
    """Tally a column by giving each session the level of another of its group.

    All columns are shuffled alike, so what goes together among them stays so.

    Parameters
    ----------
    column : Column
    n_calls : np.ndarray of int64 [shape=(S, K)]
        Calls of each type.
    n_all : np.ndarray of int64 [shape=(S,)]
        Calls of all types.
    n_permutations, seed : int

    Returns
    -------
    by_time, among_calls : Tally
        Against calls by effort, and against the share of the type among all calls of the group.
    """
    deviations = np.zeros((2, n_calls.shape[1], 1 + n_permutations))
    for group in np.unique(column.groups[column.is_watched]):
        members = np.flatnonzero(column.groups == group)
        keys = np.stack(
            [
                np.random.default_rng((seed, number, 1)).random(1 + n_permutations)
                for number in members.tolist()
            ]
        )
        keys[:, 0] = np.arange(len(members))
        given = column.levels[members][np.argsort(keys, axis=0)]
        of_type = n_calls[members]
        for deviation, weights in zip(deviations, (column.effort_ms, n_all), strict=True):
            share = weights[members] / max(1, weights[members].sum())
            deviation += (of_type - share[:, None] * of_type.sum(axis=0)).T @ given
    spreads = (deviations**2).mean(axis=2)
    tallies = [
        Tally(
            deviation=deviation,
            misfit=np.zeros_like(deviation),
            variance=np.zeros(n_calls.shape),
            weight=np.zeros(n_calls.shape),
            spread=spread,
            n_effective=np.ones(len(spread)),
            turnover=1.0,
        )
        for deviation, spread in zip(deviations, spreads, strict=True)
    ]
    return tallies[0], tallies[1]
