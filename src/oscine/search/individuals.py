"""The same individual? Two calls held against other calls of their kind; and calls put in groups.

In come vectors of the readout for individuals; out come normalised likenesses, percentiles, and
putative individuals. What all calls of a kind share tells nobody apart: it is measured on the calls
of the archive that are most like the two in kind, from other recordings, and taken away; likeness
then counts in deviations from what each of the two has with those (s-norm). No label is needed;
known pairs only say what a likeness has meant before.

Axes: N sounds, D and E dimensions (of kind and of individual).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    adjusted_rand_score,
    roc_curve,
    silhouette_samples,
    silhouette_score,
)

from oscine.model.geometry import unit_rows
from oscine.search.similarity import (
    Percentile,
    Sounds,
    are_related,
    normalised,
    pairs_of,
    percentile,
)

SAME_KIND = 100
"""Calls of the archive, most like one in kind, that it is held against."""
KIND_LIKENESS = 0.4
"""Cosine from which a call is of the kind. Of zebra finches 0.4 is what the upper twentieth of
pairs of two birds have, and what no call of another species comes near."""
FEWEST_OF_KIND = 10
"""Recordings with calls of the kind; with fewer a percentile also says that two are of one kind."""
FEWEST_BANDS = 16
"""That two backgrounds must share to be compared."""
FEWEST_KNOWN = 5
"""Known pairs of either sort that a probability can be fitted to."""
FEWEST_CALLS = 6
"""That can be grouped."""
MOST_GROUPS = 30
N_NULLS = 20
N_THIRDS = 20
"""Times that a third of the recordings is left out to see what stays of the groups."""
NULL_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Calls:
    """Sounds with their vectors for individuals beside those for kinds.

    Attributes
    ----------
    kinds : Sounds [N sounds]
    individuals : np.ndarray of float [shape=(N, E)]
        As the readout for individuals gives them: not centred.
    """

    kinds: Sounds
    individuals: np.ndarray

    def __len__(self) -> int:
        """Return the number of calls."""
        return len(self.individuals)

    def rows(self, rows: np.ndarray | Sequence[int]) -> Calls:
        """Return some of the calls."""
        return Calls(kinds=self.kinds.rows(rows), individuals=self.individuals[rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class Likeness:
    """How alike two calls are as individuals.

    Attributes
    ----------
    score : float
        Deviations above what each of the two has with calls of their kind; 0 is usual.
    percentile : Percentile or None
        Among pairs of these calls from different recordings. None: too few.
    n_of_kind : int
        Recordings of the archive with calls of their kind.
    """

    score: float
    percentile: Percentile | None
    n_of_kind: int

    @property
    def is_matched(self) -> bool:
        """Whether the archive has their kind of call often enough."""
        return self.n_of_kind >= FEWEST_OF_KIND


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What known pairs make of a score.

    Attributes
    ----------
    slope, offset : float
        Of the log odds of the same individual.
    equal_error_rate : float
        Of the known pairs, by their score.
    n_same, n_different : int
    """

    slope: float
    offset: float
    equal_error_rate: float
    n_same: int
    n_different: int

    def probability(self, score: float) -> float:
        """Return the probability of the same individual, both being as likely beforehand."""
        return float(1 / (1 + np.exp(-(self.slope * score + self.offset))))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Groups:
    """Putative individuals.

    Attributes
    ----------
    labels : np.ndarray of int [shape=(N,)]
        From 0, the largest group first; all 0 where the calls cannot be parted.
    n_groups : int
    n_low, n_high : int
        Numbers of groups that fit about as well.
    silhouette, null_silhouette : float
        How well the groups are parted, and how well as many groups of one cloud of the same shape
        are, in 19 of 20 draws.
    stability : float
        Adjusted Rand index with the groups that are found without a third of the recordings; 0
        where there is one group.
    sureness : np.ndarray of float64 [shape=(N,)]
        Silhouette of each call: below 0 it is nearer to another group.
    """

    labels: np.ndarray
    n_groups: int
    n_low: int
    n_high: int
    silhouette: float
    null_silhouette: float
    stability: float
    sureness: np.ndarray


def same(one: Calls, other: Calls, archive: Calls) -> Likeness:
    """Hold two calls against each other.

    Parameters
    ----------
    one, other : Calls
        A single one each.
    archive : Calls
        Events that speak for the archive.

    Returns
    -------
    Likeness
    """
    able = ~are_related(one.kinds, archive.kinds)[0] & ~are_related(other.kinds, archive.kinds)[0]
    able = np.flatnonzero(able)
    to_each = archive.kinds.vectors[able] @ np.stack(
        [one.kinds.vectors[0], other.kinds.vectors[0]], axis=1
    )  # (N, 2)
    near = [able[np.argsort(-to_each[:, k], kind="stable")[:SAME_KIND]] for k in (0, 1)]
    held = archive.rows(np.union1d(*near))
    of_kind = able[to_each.max(axis=1) >= KIND_LIKENESS]
    n_of_kind = len(np.unique(archive.kinds.recordings[of_kind]))
    if not len(held):
        return Likeness(score=0.0, percentile=None, n_of_kind=n_of_kind)
    n = len(held)
    x = np.concatenate([held.individuals, one.individuals, other.individuals]).astype(np.float64)
    x = unit_rows(x - x[:n].mean(axis=0))
    likeness = x @ x.T
    is_unrelated = np.zeros((n + 2, n + 2), bool)
    is_unrelated[:n, :n] = ~are_related(held.kinds, held.kinds)
    is_unrelated[n:, :n] = is_unrelated[:n, n:] = True
    scores = normalised(likeness, is_unrelated)
    upper = np.triu(is_unrelated[:n, :n])
    _, number, count = np.unique(held.kinds.recordings, return_inverse=True, return_counts=True)
    weights = 1.0 / count[number]
    return Likeness(
        score=float(scores[n, n + 1]),
        percentile=percentile(
            float(scores[n, n + 1]),
            scores[:n, :n][upper],
            (weights[:, None] * weights)[upper],
            n_recordings=len(count),
            n_independent=pairs_of(len(count)),
        ),
        n_of_kind=n_of_kind,
    )


def background_likeness(
    one: np.ndarray, other: np.ndarray, archive: np.ndarray
) -> Percentile | None:
    """Return where the likeness of two backgrounds lies among those of an archive's recordings.

    The likeness is the cosine of their shapes less the mean shape: the same microphone at the same
    place has the same, whoever calls.

    Parameters
    ----------
    one, other : np.ndarray of float [shape=(F,)]
        Mean log-mel of quiet frames; NaN in bands that the recording does not have. Levels do not
        matter.
    archive : np.ndarray of float [shape=(R, F)]
        Of R other recordings.

    Returns
    -------
    Percentile or None
        None where they are too few, or the two have hardly a band in common.
    """
    common = np.isfinite(one) & np.isfinite(other)
    if common.sum() < FEWEST_BANDS:
        return None
    rows = archive[:, common]
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < 2:
        return None
    shapes = np.stack([*rows, one[common], other[common]])
    shapes = shapes - shapes.mean(axis=1, keepdims=True)
    shapes = unit_rows(shapes - shapes[:-2].mean(axis=0))
    pairs = np.triu_indices(len(rows), 1)
    unrelated = (shapes[:-2] @ shapes[:-2].T)[pairs]
    return percentile(
        float(shapes[-2] @ shapes[-1]),
        unrelated,
        np.ones(len(unrelated)),
        n_recordings=len(rows),
        n_independent=len(unrelated),
    )


def calibrate(scores: Sequence[float], is_same: Sequence[bool]) -> Calibration:
    """Fit what a score means to known pairs, same and different weighing alike.

    Parameters
    ----------
    scores : sequence of N float
    is_same : sequence of N bool

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        There are fewer than five pairs of either sort.
    """
    known = np.asarray(is_same, bool)
    n_same, n_different = int(known.sum()), int((~known).sum())
    if min(n_same, n_different) < FEWEST_KNOWN:
        raise ValueError(
            f"{n_same} pairs of the same individual and {n_different} of different ones are known: "
            f"at least {FEWEST_KNOWN} of either are needed"
        )
    values = np.asarray(scores, np.float64)[:, None]
    fitted = LogisticRegression(class_weight="balanced").fit(values, known)
    return Calibration(
        slope=float(fitted.coef_[0, 0]),
        offset=float(fitted.intercept_[0]),
        equal_error_rate=equal_error_rate(*error_curve(values[known, 0], values[~known, 0])),
        n_same=n_same,
        n_different=n_different,
    )


def error_curve(same: np.ndarray, different: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false accepts (rising from 0 to 1) and false rejects at every threshold of scores."""
    is_same = np.repeat([True, False], [len(same), len(different)])
    accepted_wrongly, accepted_rightly, _ = roc_curve(
        is_same, np.concatenate([same, different]), drop_intermediate=False
    )
    return accepted_wrongly, 1 - accepted_rightly


def equal_error_rate(false_accept: np.ndarray, false_reject: np.ndarray) -> float:
    """Return the error where both are equal, on a straight line between thresholds."""
    return float(np.interp(0, false_accept - false_reject, false_accept))


def group(calls: Calls, seed: int = 0) -> Groups:
    """Group calls of one kind into putative individuals.

    By average linkage on normalised likeness. As many groups are taken as are parted best, by mean
    silhouette (Rousseeuw 1987, https://doi.org/10.1016/0377-0427(87)90125-7), beyond what as many
    groups of calls without groups have (drawn from one normal cloud of the same shape, after the
    gap statistic of Tibshirani et al. 2001, https://doi.org/10.1111/1467-9868.00293). Where no
    number is parted better than that, there is one group.

    Parameters
    ----------
    calls : Calls
        Of one kind: what they share is taken away.
    seed : int

    Returns
    -------
    Groups

    Raises
    ------
    ValueError
        There are fewer than six calls.
    """
    n = len(calls)
    if n < FEWEST_CALLS:
        raise ValueError(f"{n} calls are too few to be grouped: at least {FEWEST_CALLS} are needed")
    recordings = calls.kinds.recordings
    numbers = range(2, min(MOST_GROUPS, n // 3) + 1)
    distance, tree = _tree(calls.individuals, recordings)
    fits = np.array([_silhouette(distance, tree, k) for k in numbers])
    rng = np.random.default_rng(seed)
    nulls = np.stack(
        [
            [_silhouette(*drawn, k) for k in numbers]
            for drawn in (_null_tree(calls.individuals, recordings, rng) for _ in range(N_NULLS))
        ]
    )  # (N_NULLS, number)
    gain = fits - nulls.mean(axis=0)
    limit = np.quantile(nulls, NULL_LEVEL, axis=0)
    best = int(np.argmax(gain))
    if fits[best] <= limit[best]:
        return Groups(
            labels=np.zeros(n, np.int64),
            n_groups=1,
            n_low=1,
            n_high=1,
            silhouette=float(fits[best]),
            null_silhouette=float(limit[best]),
            stability=0.0,
            sureness=np.zeros(n),
        )
    spread = nulls.std(axis=0)[best]
    as_good = [k for k, one in zip(numbers, gain, strict=True) if one >= gain[best] - spread]
    labels = _cut(tree, numbers[best])
    return Groups(
        labels=labels,
        n_groups=numbers[best],
        n_low=min(as_good),
        n_high=max(as_good),
        silhouette=float(fits[best]),
        null_silhouette=float(limit[best]),
        stability=_stability(calls, labels, numbers[best], rng),
        sureness=_sureness(distance, labels),
    )


def _tree(vectors: np.ndarray, recordings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distances [shape=(N, N)] and average linkage of vectors."""
    x = vectors.astype(np.float64)
    x = unit_rows(x - x.mean(axis=0))
    scores = normalised(x @ x.T, recordings[:, None] != recordings)
    distance = scores.max() - scores
    np.fill_diagonal(distance, 0)
    distance = (distance + distance.T) / 2
    return distance, linkage(squareform(distance, checks=False), "average")


def _null_tree(
    vectors: np.ndarray, recordings: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the same of as many vectors from one normal cloud with the same covariance."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    drawn = rng.standard_normal((len(vectors), len(vectors))) @ centred / np.sqrt(len(vectors))
    return _tree(drawn, recordings)


def _cut(tree: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the group of each call, the largest first."""
    labels = fcluster(tree, n_groups, "maxclust") - 1
    count = np.bincount(labels)
    first = np.array([np.flatnonzero(labels == k)[0] for k in range(len(count))])
    order = np.lexsort((first, -count))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[labels]


def _silhouette(distance: np.ndarray, tree: np.ndarray, n_groups: int) -> float:
    labels = fcluster(tree, n_groups, "maxclust")
    if len(np.unique(labels)) < 2:  # where merges tie
        return -1.0
    return float(silhouette_score(distance, labels, metric="precomputed"))


def _sureness(distance: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the silhouette of each call."""
    return np.asarray(silhouette_samples(distance, labels, metric="precomputed"))


def _stability(calls: Calls, labels: np.ndarray, n_groups: int, rng: np.random.Generator) -> float:
    """Return how alike the groups are that are found without a third of the recordings."""
    recordings = np.unique(calls.kinds.recordings)
    found = []
    for _ in range(N_THIRDS):
        kept = rng.permutation(recordings)[: -(-2 * len(recordings) // 3)]
        rows = np.flatnonzero(np.isin(calls.kinds.recordings, kept))
        if len(rows) > n_groups:
            _, tree = _tree(calls.individuals[rows], calls.kinds.recordings[rows])
            found.append(adjusted_rand_score(labels[rows], _cut(tree, n_groups)))
    return float(np.mean(found)) if found else 0.0
