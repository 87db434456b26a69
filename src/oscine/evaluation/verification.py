"""Same or different individual: how well the likeness of two sounds tells.

In come vectors, the individual, recording and session of each, and perhaps its sound type; out come
error rates over all pairs of items from different recordings, within and across sessions. Called by
the report.

The question across sessions is the honest one: within a session two sounds of one individual share
its microphone, distance and background.

Axes: N items, D width, B blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from sklearn.metrics import auc

from oscine.evaluation.probes import (
    LIKENESS_DIGITS,
    Labels,
    MeanInterval,
    bootstrap_interval,
    checked_items,
    places,
)
from oscine.search.individuals import equal_error_rate, error_curve

MOST_ITEMS = 3000
"""Of more items, so many are compared, drawn from all individuals in turn: 4.5 million pairs."""
MOST_CURVE_POINTS = 200
FEWEST_FOR_INTERVAL = 10
"""Individuals that a bootstrap needs."""
MOST_BLOCKS = 200
"""Of more bird-days, so many are permuted, drawn at random."""
N_BINS = 128
"""Levels of likeness, equally filled, that the permutations tell apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndividualScore:
    """One individual: its same pairs against its pairs with others.

    Attributes
    ----------
    name : str
    roc_auc, equal_error_rate : float
    n_items, n_sessions, n_same_pairs, n_different_pairs : int
        Sessions are recordings where no sessions are given.
    """

    name: str
    roc_auc: float
    equal_error_rate: float
    n_items: int
    n_sessions: int
    n_same_pairs: int
    n_different_pairs: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairComparison:
    """Same pairs against different pairs.

    Attributes
    ----------
    roc_auc, equal_error_rate : float
        Over all pairs together: individuals with many items weigh more.
    false_accept, false_reject : np.ndarray of float64 [shape=(points,)]
        The detection error trade-off, from accepting nothing to accepting everything; at most 200
        points of it.
    individuals : tuple of IndividualScore
        Those that have same pairs, by name.
    pooled_roc_auc, pooled_equal_error_rate : float
        Mean over these individuals: equal weight for each.
    n_sessions, n_same_pairs, n_different_pairs : int
    interval : MeanInterval or None
        Of the pooled AUC over individuals, where there are at least ten.
    p_value : float or None
        Where they are fewer: how often a pooled AUC as high comes about if individuals are
        permuted over whole bird-days. None within sessions too, where there is nothing to permute,
        and where no permutations were asked for.
    note : str
        What a reader must be told; empty if there is nothing to tell.
    """

    roc_auc: float
    equal_error_rate: float
    false_accept: np.ndarray
    false_reject: np.ndarray
    individuals: tuple[IndividualScore, ...]
    pooled_roc_auc: float
    pooled_equal_error_rate: float
    n_sessions: int
    n_same_pairs: int
    n_different_pairs: int
    interval: MeanInterval | None
    p_value: float | None
    note: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Verification:
    """How well likeness tells same from different individuals.

    Attributes
    ----------
    overall : PairComparison
    within_sessions : PairComparison or None
        Both items from one session.
    across_sessions : PairComparison or None
        Same pairs from two sessions; different pairs from any. Like ``within_sessions``, None
        where sessions are not given or there are no such pairs.
    n_items, n_left_out : int
        Items compared, and those left out because there were too many.
    """

    overall: PairComparison
    within_sessions: PairComparison | None
    across_sessions: PairComparison | None
    n_items: int
    n_left_out: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Items:
    """What is compared: numbers of individual and session of each item, and each pair."""

    names: np.ndarray
    individuals: np.ndarray
    sessions: np.ndarray
    place: np.ndarray
    likeness: np.ndarray  # (N, N)
    is_pair: np.ndarray  # (N, N), both ways


def verification(
    vectors: np.ndarray,
    individuals: Labels,
    groups: np.ndarray,
    sessions: Labels | None = None,
    *,
    types: Labels | None = None,
    seed: int = 0,
    n_permutations: int = 999,
) -> Verification:
    """Compare all pairs of items from different groups by cosine.

    Parameters
    ----------
    vectors : np.ndarray of float [shape=(N, D)]
        Centred as wanted: cosines are taken as they come.
    individuals : sequence of N str
    groups : np.ndarray of int [shape=(N,)]
        Recordings.
    sessions : sequence of N str, optional
        Days. All items of one individual in one session are a block (a bird-day) that permutations
        keep together; without sessions a block is a recording.
    types : sequence of N str, optional
        Sound types; given, both items of a pair are of one type.
    seed : int
        Of bootstrap and permutation, and of the choice of items where there are too many.
    n_permutations : int
        0: no p.

    Returns
    -------
    Verification

    Raises
    ------
    ValueError
        The arrays do not fit together, a vector is not finite, or there is no same or no different
        pair.
    """
    x, names, numbers, groups = checked_items(vectors, individuals, groups)
    for name, values in (("sessions", sessions), ("types", types)):
        if values is not None and len(values) != len(x):
            raise ValueError(f"{len(values)} {name} for {len(x)} vectors: give one for each")
    place = places(x, groups)
    kept = _thinned(numbers, place, seed)
    group = groups[kept]
    session = group if sessions is None else np.unique(sessions, return_inverse=True)[1][kept]
    is_pair = group[:, None] != group
    if types is not None:
        kind = np.unique(types, return_inverse=True)[1][kept]
        is_pair &= kind[:, None] == kind
    items = _Items(
        names=names,
        individuals=numbers[kept],
        sessions=session,
        place=place[kept],
        likeness=np.round(x[kept] @ x[kept].T, LIKENESS_DIGITS),
        is_pair=is_pair,
    )

    is_one_session = session[:, None] == session
    is_bird_day = is_one_session & (items.individuals[:, None] == items.individuals)

    def permuted(*, across: bool) -> float | None:
        if n_permutations == 0:
            return None
        return _permutation_p(items, n_permutations, seed, across=across)

    overall = _compare(items, is_pair, seed, lambda: permuted(across=False))
    if overall is None:
        raise ValueError(
            "there is no pair of one individual from two recordings, or none of two individuals: "
            "likeness cannot be judged; give more recordings, or leave out the types"
        )
    within = across = None
    if sessions is not None:
        within = _compare(items, is_pair & is_one_session, seed, None)
        across = _compare(items, is_pair & ~is_bird_day, seed, lambda: permuted(across=True))
    return Verification(
        overall=overall,
        within_sessions=within,
        across_sessions=across,
        n_items=len(kept),
        n_left_out=len(x) - len(kept),
    )


def _thinned(individuals: np.ndarray, place: np.ndarray, seed: int) -> np.ndarray:
    """Return at most so many items as can be compared, ascending: individuals take turns."""
    lot = np.random.default_rng(seed).random(place.max() + 1)[place]
    order = np.lexsort((lot, individuals))
    first = np.searchsorted(individuals[order], individuals[order])
    turn = np.empty(len(order), np.int64)
    turn[order] = np.arange(len(order)) - first
    return np.sort(np.lexsort((lot, turn))[:MOST_ITEMS])


def _compare(
    items: _Items, allowed: np.ndarray, seed: int, test: Callable[[], float | None] | None
) -> PairComparison | None:
    """Compare the allowed pairs [shape=(N, N), both ways]; None if nobody has both kinds."""
    is_same = allowed & (items.individuals[:, None] == items.individuals)
    is_different = allowed & ~is_same
    same = items.likeness[np.triu(is_same)]
    different = items.likeness[np.triu(is_different)]
    if not len(same) or not len(different):
        return None

    scores = tuple(
        score
        for number in range(len(items.names))
        if (score := _score_individual(items, number, is_same, is_different)) is not None
    )
    if not scores:
        return None
    areas = np.array([score.roc_auc for score in scores])
    interval = p_value = None
    note = ""
    if len(scores) >= FEWEST_FOR_INTERVAL:
        interval = bootstrap_interval(areas, np.arange(len(areas)), seed=seed)
    else:
        note = f"{len(scores)} individuals with same pairs: too few for an interval"
        p_value = None if test is None else test()
    false_accept, false_reject = error_curve(same, different)
    shown = _curve_points(false_accept, false_reject)
    return PairComparison(
        roc_auc=float(auc(false_accept, 1 - false_reject)),
        equal_error_rate=equal_error_rate(false_accept, false_reject),
        false_accept=false_accept[shown],
        false_reject=false_reject[shown],
        individuals=scores,
        pooled_roc_auc=float(areas.mean()),
        pooled_equal_error_rate=float(np.mean([score.equal_error_rate for score in scores])),
        n_sessions=len(np.unique(items.sessions[allowed.any(axis=1)])),
        n_same_pairs=len(same),
        n_different_pairs=len(different),
        interval=interval,
        p_value=p_value,
        note=note,
    )


def _score_individual(
    items: _Items, number: int, is_same: np.ndarray, is_different: np.ndarray
) -> IndividualScore | None:
    """Score one individual; None if it has no pairs of one kind."""
    own = np.flatnonzero(items.individuals == number)
    among = np.ix_(own, own)
    same = items.likeness[among][np.triu(is_same[among])]
    different = items.likeness[own][is_different[own]]
    if not len(same) or not len(different):
        return None
    false_accept, false_reject = error_curve(same, different)
    return IndividualScore(
        name=str(items.names[number]),
        roc_auc=float(auc(false_accept, 1 - false_reject)),
        equal_error_rate=equal_error_rate(false_accept, false_reject),
        n_items=len(own),
        n_sessions=len(np.unique(items.sessions[own])),
        n_same_pairs=len(same),
        n_different_pairs=len(different),
    )


def _curve_points(false_accept: np.ndarray, false_reject: np.ndarray) -> np.ndarray:
    """Choose points that lie evenly on the axes of a DET plot (normal deviates), ends included."""
    n_points = len(false_accept)
    if n_points <= MOST_CURVE_POINTS:
        return np.arange(n_points)
    levels = ndtr(np.linspace(-4, 4, MOST_CURVE_POINTS // 2 - 1))
    by_accept = np.searchsorted(false_accept, levels)
    by_reject = n_points - 1 - np.searchsorted(false_reject[::-1], levels)
    return np.unique(
        np.clip(np.concatenate([[0, n_points], by_accept, by_reject]), 0, n_points - 1)
    )


def _permutation_p(items: _Items, n_permutations: int, seed: int, *, across: bool) -> float:
    """Return how often permuted individuals reach the pooled AUC, blocks staying whole.

    Pairs are counted once, by their two blocks and by level of likeness; a permutation then adds
    up counts. What is permuted is which bird-day a block is, individual and session together, so
    that each individual keeps its number of sessions; across sessions, pairs within a block do not
    count.
    """
    rng = np.random.default_rng(seed)
    blocks = _numbered_blocks(items)
    chosen = rng.permutation(blocks.max() + 1)[:MOST_BLOCKS]
    members = [np.flatnonzero(blocks == block) for block in chosen]
    owners = np.array([items.individuals[one[0]] for one in members])
    counts = _count_pairs(items, members)
    counts_as_same = counts
    if across:
        counts_as_same = counts * ~np.eye(len(chosen), dtype=bool)[..., None]
    totals = counts.sum(axis=1)

    def pooled(owners: np.ndarray) -> float:
        return _pooled_auc(counts, counts_as_same, totals, owners)

    observed = pooled(owners) - 1e-12
    n_as_high = sum(pooled(rng.permutation(owners)) >= observed for _ in range(n_permutations))
    return (1 + n_as_high) / (1 + n_permutations)


def _numbered_blocks(items: _Items) -> np.ndarray:
    """Return the block of each item, numbered by the places of its items [shape=(N,)]."""
    pairs = np.stack([items.individuals, items.sessions])
    blocks = np.unique(pairs, axis=1, return_inverse=True)[1].ravel()
    members = [np.sort(items.place[blocks == block]).tolist() for block in range(blocks.max() + 1)]
    return np.argsort(sorted(range(len(members)), key=members.__getitem__))[blocks]


def _count_pairs(items: _Items, blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the number of pairs of each two blocks at each level [shape=(B, B, N_BINS)]."""
    member = np.concatenate(blocks)
    block = np.repeat(np.arange(len(blocks)), [len(one) for one in blocks])
    among = np.ix_(member, member)
    likeness, is_pair = items.likeness[among], items.is_pair[among]
    edges = np.quantile(likeness[is_pair], np.arange(1, N_BINS) / N_BINS)
    cell = block * N_BINS + np.searchsorted(edges, likeness)
    counts = np.empty((len(blocks), len(blocks), N_BINS), np.int32)
    for number in range(len(blocks)):
        rows = block == number
        counted = np.bincount(cell[rows][is_pair[rows]], minlength=len(blocks) * N_BINS)
        counts[number] = counted.reshape(len(blocks), N_BINS)
    return counts


def _pooled_auc(
    counts: np.ndarray, counts_as_same: np.ndarray, totals: np.ndarray, owners: np.ndarray
) -> float:
    """Return the mean AUC over the individuals that have same pairs; 0.5 if none has.

    Both counts are of all pairs of blocks [shape=(B, B, N_BINS)], totals those of each block with
    all others [shape=(B, N_BINS)].
    """
    areas = []
    for owner in np.unique(owners):
        own = np.flatnonzero(owners == owner)
        among = np.ix_(own, own)
        same = counts_as_same[among].sum(axis=(0, 1))
        different = totals[own].sum(axis=0) - counts[among].sum(axis=(0, 1))
        if same.any() and different.any():
            below = np.cumsum(different) - different / 2
            areas.append(same @ below / (same.sum() * different.sum()))
    return float(np.mean(areas)) if areas else 0.5
