"""Which sound type goes with which behaviour, how strongly, and what could not have been found.

In come sessions (:mod:`oscine.behaviour.sessions`); out goes an :class:`Association` with a row for
each sound type and behaviour. Called by the `join` step; :mod:`.context` and :mod:`.neighbourhood`
ask of the same sessions what this does not.

A p says how often calls and behaviours that have nothing to do with each other would be as far from
chance. Calls are moved against behaviours by one time a session (:mod:`.shifts`), so neither bouts
nor individuals count as independent calls. A behaviour that hardly changes within sessions is given
whole to other sessions of the same site instead (to any, where no site has several). Which pairs
are tested is decided before it is looked at how often they go together, so that the false discovery
rate is that of all pairs tested.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oscine.behaviour.columns import (
    Column,
    Test,
    behaviour_column,
    is_within_sites,
    shuffled,
)
from oscine.behaviour.ratios import (
    detectable,
    odds_ratio,
    rate_dispersion,
    rate_interval,
    rate_ratio,
)
from oscine.behaviour.sessions import Session, overlaps
from oscine.behaviour.shifts import (
    Shifts,
    Tallied,
    Tally,
    draw_shifts,
    effective,
    enough,
    false_discovery,
    in_order,
    kept_lengths,
    sound_types,
    tally,
)

Whole = NDArray[np.int64]
Floats = NDArray[np.float64]

MIN_CALLS = 5
"""Calls of a type, and of other types, that a test needs."""
MIN_EXPECTED = 1.0
"""Calls that by chance must be expected during a behaviour, and as many at other times."""
FEW_CHANGES = 4.0
"""A behaviour that changes less often in a session gets a note."""
MOST_OF_ONE = 0.5
"""A larger share of one session or one subject is said to rest on it."""
_HOUR_MS = 3_600_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A sound type and a behaviour.

    Attributes
    ----------
    sound_type : int
    behaviour : str
    n_calls : int
        Calls of the type while somebody watched for the behaviour.
    n_together : int
        Those that share time with it.
    expected : float
        How many would by chance, given what each session has of both; where whole sessions are
        shuffled, given what those among which they are have.
    hours_on, hours_off : float
        Effort with the behaviour and without.
    n_sessions, n_subjects : int
        Sessions in which it was watched for; subjects that showed it, 0 where nobody noted them.
    rate_on, rate_off : float or None
        Calls that share time with the behaviour by hour of it, and other calls by other hours, all
        sessions together. None without such hours.
    rate_ratio, low, high : float or None
        Calls during the behaviour against other times, compared within sessions (within sites where
        whole sessions are shuffled), and the 95 % interval, from 0 or to infinity where it has no
        bound. None where not tested.
    p, q : float or None
        Two-sided, and the false discovery rate at which the pair would just be found.
    is_found : bool
        Whether q is small enough, and stays so however the clocks may stand.
    taken_back : str
        Where q is small enough: how observations need to be moved, within what is known of the
        clocks, for it not to be, or for the other direction; else empty.
    test : str
    why : str
        Why it was not tested; else empty.
    detectable, detectable_below : float or None
        The rate ratio above 1, and below, that would have been found four times out of five. None
        where none would.
    share_of_one_session, share_of_one_subject : float or None
        The largest share of the calls together that one has. None without such calls, or subjects.
    ratio_without_it, low_without_it, high_without_it : float or None
        The rate ratio without the session that has the largest share. None where none is left.
    rests_on_one : bool
        Whether more than half rests on one session or subject, or 1 lies in the interval only
        without that session.
    odds_ratio, odds_low, odds_high, odds_p, odds_q, is_odds_found, odds_taken_back
        Given the behaviour, which call: the odds of the type among calls during the behaviour
        against those among the other calls of the same sessions.
    odds_why : str
        Why that was not tested; else empty.
    """

    sound_type: int
    behaviour: str
    n_calls: int
    n_together: int
    expected: float
    hours_on: float
    hours_off: float
    n_sessions: int
    n_subjects: int
    rate_on: float | None
    rate_off: float | None
    rate_ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    q: float | None = None
    is_found: bool = False
    taken_back: str = ""
    test: Test
    why: str
    detectable: float | None = None
    detectable_below: float | None = None
    share_of_one_session: float | None
    share_of_one_subject: float | None
    ratio_without_it: float | None = None
    low_without_it: float | None = None
    high_without_it: float | None = None
    rests_on_one: bool = False
    odds_ratio: float | None = None
    odds_low: float | None = None
    odds_high: float | None = None
    odds_p: float | None = None
    odds_q: float | None = None
    is_odds_found: bool = False
    odds_taken_back: str = ""
    odds_why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Association:
    """What goes with what.

    Attributes
    ----------
    pairs : list of Pair
        By behaviour and sound type.
    n_permutations, seed, alpha
        As used.
    n_tested, n_found : int
        Pairs, and those that are found.
    n_odds_tested, n_odds_found : int
        The same of the reverse question, which is a family of its own.
    n_sessions, n_calls, n_ungrouped, hours
        Of all sessions; ungrouped are calls of no sound type.
    is_within_sites : bool
        Whether whole sessions were shuffled within sites; else they all were one group.
    notes : tuple of str
        What a reader must know before believing any row.
    """

    pairs: list[Pair]
    n_permutations: int
    seed: int
    alpha: float
    n_tested: int
    n_found: int
    n_odds_tested: int
    n_odds_found: int
    n_sessions: int
    n_calls: int
    n_ungrouped: int
    hours: float
    is_within_sites: bool = False
    notes: tuple[str, ...]


def associate(
    sessions: Sequence[Session], *, n_permutations: int = 0, seed: int = 0, alpha: float = 0.05
) -> Association:
    """Ask which sound types go with which behaviours.

    Parameters
    ----------
    sessions : sequence of Session
        In any order.
    n_permutations : int
        0: as many as one pair among all tested needs to be found, from 999 to 9,999.
    seed : int
    alpha : float
        False discovery rate at which a pair is found.

    Returns
    -------
    Association
    """
    sessions = in_order(sessions)
    types = sound_types(sessions)
    names = sorted({name for session in sessions for name in session.behaviours})
    columns = [behaviour_column(name, sessions, alpha) for name in names]
    as_seen = draw_shifts(sessions, 0, seed, 1)
    margins = [
        tally(sessions, column.tracks, as_seen, types, column.turnover) for column in columns
    ]
    shape = (2, len(names), len(types))  # by time, then among calls
    whys = np.full(shape, "", object)
    for place, (column, margin) in enumerate(zip(columns, margins, strict=True)):
        for kind in range(len(types)):
            whys[:, place, kind] = _why_not(column, margin, kind)
    is_tested = whys == ""
    n_tested, n_odds_tested = is_tested.sum(axis=(1, 2)).tolist()
    n_permutations = n_permutations or enough(max(n_tested, n_odds_tested), alpha)
    shifts = draw_shifts(sessions, n_permutations, seed, len(columns))
    tallies: list[tuple[Tally, Tally]] = []
    for column, margin in zip(columns, margins, strict=True):
        if column.test == "shuffled sessions":
            both = shuffled(column, margin.n_calls, margin.n_all, n_permutations, seed)
        elif column.test == "not tested":
            both = margin.by_time, margin.among_calls
        else:
            tallied = tally(sessions, column.tracks, shifts, types, column.turnover)
            both = tallied.by_time, tallied.among_calls
        tallies.append(both)
    p = np.array([[one[side].p for one in tallies] for side in range(2)]).reshape(shape)
    q = np.stack([false_discovery(one, each) for one, each in zip(p, is_tested, strict=True)])
    is_found = is_tested & (q <= alpha * (1 + 1e-9))
    n_found, n_odds_found = is_found.sum(axis=(1, 2)).tolist()
    pairs: list[Pair] = []
    for place, column in enumerate(columns):
        subjects = _by_subject(sessions, column.name, types)
        echoes = _echoes(sessions, column, shifts)
        for kind, sound_type in enumerate(types.tolist()):
            evidence = _Evidence(
                column=column, margin=margins[place], tallies=tallies[place], kind=kind
            )
            why, odds_why = whys[:, place, kind].tolist()
            pair = evidence.described(sound_type, subjects, why, odds_why)
            if not why:
                others = n_found - int(is_found[0, place, kind])
                n_allowed = _n_allowed(alpha, others, n_tested, n_permutations)
                pair = replace(
                    pair,
                    **evidence.by_time(n_allowed, echoes),
                    p=float(p[0, place, kind]),
                    q=float(q[0, place, kind]),
                    is_found=bool(is_found[0, place, kind]),
                )
                pair = replace(pair, rests_on_one=_rests_on_one(pair))
            if not odds_why:
                pair = replace(
                    pair,
                    **evidence.among_calls(),
                    odds_p=float(p[1, place, kind]),
                    odds_q=float(q[1, place, kind]),
                    is_odds_found=bool(is_found[1, place, kind]),
                )
            pairs.append(pair)
    n_ungrouped = sum(int((session.sound_types < 0).sum()) for session in sessions)
    return Association(
        pairs=pairs,
        n_permutations=n_permutations,
        seed=seed,
        alpha=alpha,
        n_tested=n_tested,
        n_found=n_found,
        n_odds_tested=n_odds_tested,
        n_odds_found=n_odds_found,
        n_sessions=len(sessions),
        n_calls=sum(len(session.calls) for session in sessions),
        n_ungrouped=n_ungrouped,
        hours=sum(session.duration_ms for session in sessions) / _HOUR_MS,
        is_within_sites=is_within_sites(columns),
        notes=tuple(_notes(sessions, columns, n_ungrouped)),
    )


def _why_not(column: Column, margin: Tallied, kind: int) -> tuple[str, str]:
    """Say why a pair is not tested by time, and among calls; by what no arrangement changes."""
    if column.why:
        return column.why, column.why
    why = _too_few(_Strata.of(column, margin, kind), "calls of the type")
    return why, why or _too_few(_Strata.of(column, margin, kind, is_rest=True), "other calls")


def _too_few(strata: _Strata, what: str) -> str:
    n_calls, expected = float(strata.n_calls.sum()), float(strata.n_calls @ strata.share)
    if n_calls < MIN_CALLS:
        return (
            f"too few {what} in sessions that can be compared ({n_calls:.0f}; {MIN_CALLS} needed)"
        )
    least = min(expected, n_calls - expected)
    if least < MIN_EXPECTED:
        side = "during the behaviour" if least == expected else "at other times"
        return (
            f"too few {what} expected {side} by chance "
            f"({math.floor(100 * least) / 100:g} of {n_calls:.0f}; {MIN_EXPECTED:g} needed)"
        )
    return ""


def _n_allowed(alpha: float, n_others: int, n_tested: int, n_permutations: int) -> int:
    """Return how many arrangements may be as far from chance if a pair is to be found as well."""
    p = alpha * (n_others + 1) / n_tested
    return math.floor(p * (1 + n_permutations) * (1 + 1e-9)) - 1


def _rests_on_one(pair: Pair) -> bool:
    shares = (pair.share_of_one_session, pair.share_of_one_subject)
    if any(share is not None and share > MOST_OF_ONE for share in shares):
        return True
    holds_one = [
        low is None or high is None or low <= 1 <= high
        for low, high in ((pair.low, pair.high), (pair.low_without_it, pair.high_without_it))
    ]
    return holds_one == [False, True]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Strata:
    """Calls that can be compared, by G sessions, or by groups of sessions that are shuffled.

    `label` (S,) tells which stratum a session is in, -1 for none. Of each stratum: number of calls,
    the chance of each to be during the behaviour, and how many are.
    """

    label: Whole
    n_calls: Floats
    share: Floats
    together: Floats

    @classmethod
    def of(
        cls,
        column: Column,
        margin: Tallied,
        kind: int,
        *,
        without: int | None = None,
        is_rest: bool = False,
    ) -> _Strata:
        """Take the calls of a type, or the `is_rest`; leave out a session if that is wanted."""
        label = column.groups.copy()
        if column.test != "shuffled sessions":
            label[column.is_watched] = np.arange(column.is_watched.sum())
        if without is not None:
            label[without] = -1
        n_calls, expected, found = (
            each[:, kind] for each in (margin.n_calls, margin.expected, margin.found)
        )
        if is_rest:
            n_calls, expected, found = (
                whole - part
                for whole, part in zip(
                    (margin.n_all, margin.expected_all, margin.found_all),
                    (n_calls, expected, found),
                    strict=True,
                )
            )
        n, together = _sums(label, n_calls), _sums(label, found)
        if column.test == "shuffled sessions":
            on, effort = (_sums(label, one) for one in (column.on_ms, column.effort_ms))
            share = on / np.maximum(effort, 1)
            is_useful = _sums(label, np.ones(len(label))) > 1
        else:
            share = _sums(label, expected) / np.maximum(n, 1)
            is_useful = np.ones(len(n), bool)
        is_useful &= (n > 0) & (share > 0) & (share < 1)
        number = np.append(np.where(is_useful, np.cumsum(is_useful) - 1, -1), -1)
        return cls(
            label=number[label],
            n_calls=n[is_useful],
            share=share[is_useful],
            together=together[is_useful],
        )


def _sums(label: Whole, values: NDArray[np.generic]) -> Floats:
    """Add up (S,) values by label; those labelled -1 are left out."""
    has = label >= 0
    return np.bincount(label[has], weights=values[has]).astype(np.float64)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Evidence:
    """All there is on a sound type, number `kind` of the tallies, and a behaviour."""

    column: Column
    margin: Tallied
    tallies: tuple[Tally, Tally]
    kind: int

    def described(
        self, sound_type: int, subjects: Mapping[str, Whole], why: str, odds_why: str
    ) -> Pair:
        """Return the row as far as it needs no test."""
        n_calls = int(self.margin.n_calls[:, self.kind].sum())
        found = self.margin.found[:, self.kind]
        together = int(found.sum())
        on, effort = self.column.on_ms.sum() / _HOUR_MS, self.column.effort_ms.sum() / _HOUR_MS
        of_one = max(
            (int(counts[self.kind]) for name, counts in subjects.items() if name), default=0
        )
        named = [name for name in subjects if name]
        return Pair(
            sound_type=sound_type,
            behaviour=self.column.name,
            n_calls=n_calls,
            n_together=together,
            expected=self._expected(),
            hours_on=float(on),
            hours_off=float(effort - on),
            n_sessions=int(self.column.is_watched.sum()),
            n_subjects=len(named),
            rate_on=float(together / on) if on else None,
            rate_off=float((n_calls - together) / (effort - on)) if effort > on else None,
            test="not tested" if why else self.column.test,
            why=why,
            share_of_one_session=float(found.max() / together) if together else None,
            share_of_one_subject=of_one / together if together and named else None,
            odds_why=odds_why,
        )

    def _expected(self) -> float:
        """Return how many calls would be during the behaviour by chance, as the test takes it."""
        if self.column.test != "shuffled sessions":
            return float(self.margin.expected[:, self.kind].sum())
        on, effort, n_calls = (
            _sums(self.column.groups, each)
            for each in (
                self.column.on_ms,
                self.column.effort_ms,
                self.margin.n_calls[:, self.kind],
            )
        )
        return float(n_calls @ (on / np.maximum(effort, 1)))

    def by_time(self, n_allowed: int, echoes: Floats) -> dict[str, float | None]:
        """Return how strong it is, with all sessions and without one, and what could be found."""
        names = ("rate_ratio", "low", "high")
        strength = self._strength(None)
        one = int(self.margin.found[:, self.kind].argmax())
        without = self._strength(one) or (None, None, None)
        strata = _Strata.of(self.column, self.margin, self.kind)
        tally = self.tallies[0]
        if self.column.test == "shuffled sessions":
            echo = np.zeros((len(strata.n_calls), tally.deviation.shape[1] - 1))
        else:
            echo = echoes[strata.label >= 0, 1:]
        least = [
            detectable(
                tally.deviation[self.kind, 1:],
                tally.misfit[self.kind, 1:],
                echo,
                strata.n_calls,
                strata.share,
                float(tally.spread[self.kind]),
                float(tally.n_effective[self.kind]),
                tally.turnover,
                n_allowed,
                is_above=is_above,
            )
            for is_above in (True, False)
        ]
        return {
            **dict(zip(names, strength or (None, None, None), strict=True)),
            **dict(
                zip(("ratio_without_it", "low_without_it", "high_without_it"), without, strict=True)
            ),
            "detectable": least[0],
            "detectable_below": least[1],
        }

    def _strength(self, without: int | None) -> tuple[float, float, float] | None:
        """Return the rate ratio and its interval, or None where nothing can be compared."""
        strata = _Strata.of(self.column, self.margin, self.kind, without=without)
        n, share, together = strata.n_calls, strata.share, float(strata.together.sum())
        if not len(n):
            return None
        if self.column.test == "shuffled sessions":
            dispersion, n_free = self._between_sessions(strata)
        else:
            has = strata.label >= 0
            variance = self.tallies[0].variance[has, self.kind]
            n_effective, turnover = float(effective(variance)), self.column.turnover
            dispersion, n_free = rate_dispersion(
                n, share, strata.together, variance, n_effective, turnover
            )
        return (
            rate_ratio(n, share, together, dispersion),
            *rate_interval(n, share, together, dispersion, n_free),
        )

    def _between_sessions(self, strata: _Strata) -> tuple[float, float]:
        """Return Pearson's dispersion by session, at least 1, and its degrees of freedom."""
        ratio = rate_ratio(strata.n_calls, strata.share, float(strata.together.sum()), 1.0)
        weight = self.column.effort_ms + (ratio - 1) * self.column.on_ms
        whole = _sums(strata.label, weight)
        has = strata.label >= 0
        expected = weight[has] * (strata.n_calls / whole)[strata.label[has]]
        misfit = (self.margin.n_calls[has, self.kind] - expected) ** 2 / expected
        n_free = max(1, int(has.sum()) - len(whole) - 1)
        return max(1.0, float(misfit.sum()) / n_free), n_free

    def among_calls(self) -> dict[str, float]:
        """Return the odds ratio and its interval."""
        strata = _Strata.of(self.column, self.margin, self.kind)
        label, margin, tally = strata.label, self.margin, self.tallies[1]
        found, of_type = margin.found[:, self.kind], margin.n_calls[:, self.kind]
        cells = [found, margin.found_all - found, of_type - found]
        cells = np.stack([_sums(label, one) for one in (*cells, margin.n_all - sum(cells))])
        if self.column.test == "shuffled sessions":
            during = strata.share * cells.sum(axis=0)
            variance = float(tally.spread[self.kind])
            turnover, n_effective = float((label >= 0).sum() - len(during)), 0.0
        else:
            during = _sums(label, margin.expected_all)
            variance = float(tally.spread[self.kind])
            turnover, n_effective = self.column.turnover, float(tally.n_effective[self.kind])
        values = odds_ratio(cells, during, variance, n_effective, turnover)
        return dict(zip(("odds_ratio", "odds_low", "odds_high"), values, strict=True))


def _echoes(sessions: Sequence[Session], column: Column, shifts: Shifts) -> Floats:
    """Return how a behaviour correlates with itself in each arrangement, (S, R)."""
    if column.test != "shifts within sessions":
        return np.zeros((len(sessions), 1))
    return np.stack(
        [
            np.zeros(len(pick)) if track is None else track.echo(pool, session.duration_ms)[pick]
            for session, track, pool, pick in zip(
                sessions, column.tracks, shifts.pools, shifts.picks, strict=True
            )
        ]
    )


def _by_subject(sessions: Sequence[Session], name: str, types: Whole) -> dict[str, Whole]:
    """Count the calls of each type (K,) that share time with a behaviour of each subject."""
    counts: dict[str, Whole] = {}
    for session in sessions:
        for (behaviour, subject), spans in session.of_subjects.items():
            if behaviour == name and len(spans):
                stops = session.starts + kept_lengths(session)
                kinds = session.sound_types[overlaps(session.starts, stops, spans)]
                found = (kinds[:, None] == types).sum(axis=0)
                counts[subject] = counts.get(subject, 0) + found
    return counts


def _notes(sessions: Sequence[Session], columns: Sequence[Column], n_ungrouped: int) -> list[str]:
    """Say what concerns all rows."""
    notes = []
    numbers = np.concatenate([*(session.calls for session in sessions), np.zeros(0, np.int64)])
    n_repeated = len(numbers) - len(np.unique(numbers))
    if n_repeated:
        notes.append(
            f"{n_repeated} calls lie in more than one session: where sessions overlap, calls count "
            "more than once and p is too small; join such logs one at a time"
        )
    notes += [
        f"'{column.name}' changes only {column.turnover:.2g} times a session, on average over the "
        "sessions in which it changes: where calls come in bouts about as long as a session, p is "
        "too small (in simulations, up to 9 % of pairs with nothing to them had 0.05 or less); "
        "more or longer sessions mend that"
        for column in columns
        if column.test == "shifts within sessions" and column.turnover < FEW_CHANGES
    ]
    if n_ungrouped:
        notes.append(
            f"{n_ungrouped} calls belong to no sound type; they count among 'other calls' only"
        )
    return notes
