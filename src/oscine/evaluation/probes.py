"""What frozen vectors know: retrieval, neighbours, a label against the rest, few labels, clusters.

In come arrays: vectors, the labels that people gave, and groups; out come frozen values. A group
(recording or session) holds items that are never query and answer, nor training and test, of one
another; ``np.arange(N)`` as groups gives the score of a random split, with its leakage. Called by
the report and by ``verification``.

No score depends on the order of the items or on what the labels are called. Likenesses are cosines
of the vectors as they come (centre them before), rounded so that equal sounds tie; ties share.

Axes: N items, D width, Q queries, M gallery items, C labels, K patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    average_precision_score,
    roc_auc_score,
    v_measure_score,
)
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import StandardScaler

from oscine.evaluation.splits import grouped_folds
from oscine.model.geometry import unit_rows

LIKENESS_DIGITS = 9
"""Likenesses closer than this are a tie: a matrix product's last digits depend on its layout."""
QUERIES_AT_ONCE = 256
NEIGHBOUR_COUNTS = (1, 3, 5, 10, 20)
"""The numbers of neighbours among which the gallery chooses."""
N_FOLDS = 5
RIDGE_PENALTY = 100.0
"""Of standardised features; fixed, since a few examples cannot choose it."""
N_RESAMPLES = 2000
NOISE = -1
"""The cluster of items that are in none."""

Labels = Sequence[str] | np.ndarray
"""N labels; items without one are left out before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanInterval:
    """A mean and its 90 % interval by bootstrap over whole groups.

    Attributes
    ----------
    mean, low, high : float
    n_groups : int
    """

    mean: float
    low: float
    high: float
    n_groups: int

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference lies outside its interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Retrieval:
    """How well items find items of their label in other groups.

    Attributes
    ----------
    queries : np.ndarray of int [shape=(Q,)]
        Items that were scored, ascending.
    average_precision, precision_at_1, r_precision : np.ndarray of float64 [shape=(Q,)]
        R-precision is the precision among as many items as there are answers.
    n_unanswered : int
        Items whose label occurs in no other group: they were not scored.
    """

    queries: np.ndarray
    average_precision: np.ndarray
    precision_at_1: np.ndarray
    r_precision: np.ndarray
    n_unanswered: int

    @property
    def mean_average_precision(self) -> float:
        """Mean over queries (mAP)."""
        return float(self.average_precision.mean())

    @property
    def mean_precision_at_1(self) -> float:
        """Mean over queries."""
        return float(self.precision_at_1.mean())

    @property
    def mean_r_precision(self) -> float:
        """Mean over queries."""
        return float(self.r_precision.mean())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NeighbourVotes:
    """How often the nearest neighbours of other groups vote for the right label.

    Attributes
    ----------
    queries : np.ndarray of int [shape=(Q,)]
        Items that were scored, ascending.
    right : np.ndarray of float64 [shape=(Q,)]
        1 or 0; between them where a tie could not be broken.
    accuracy, balanced_accuracy : float
        Over queries, and over labels with equal weight.
    labels : tuple of C str
    confusion : np.ndarray of float64 [shape=(C, C)]
        Queries by true label (row) and answer (column).
    k : tuple of int
        Neighbours asked: the one given, or the one that each fold's gallery chose.
    n_unanswered : int
        Items whose label does not occur in their gallery: they were not scored.
    """

    queries: np.ndarray
    right: np.ndarray
    accuracy: float
    balanced_accuracy: float
    labels: tuple[str, ...]
    confusion: np.ndarray
    k: tuple[int, ...]
    n_unanswered: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OneAgainstRest:
    """How well each label stands out from all others.

    Attributes
    ----------
    labels : tuple of C str
    average_precision, roc_auc : np.ndarray of float64 [shape=(C,)]
    n_items : np.ndarray of int [shape=(C,)]
        Items of each label, of ``n_total``: chance is their share in average precision, 0.5 in AUC.
    n_total : int
    unscored : tuple of str
        Labels that occur in one group only.
    """

    labels: tuple[str, ...]
    average_precision: np.ndarray
    roc_auc: np.ndarray
    n_items: np.ndarray
    n_total: int
    unscored: tuple[str, ...]

    @property
    def macro_average_precision(self) -> float:
        """Mean over labels."""
        return float(self.average_precision.mean())

    @property
    def macro_roc_auc(self) -> float:
        """Mean over labels."""
        return float(self.roc_auc.mean())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FewLabels:
    """What a few examples of each label are enough for.

    Attributes
    ----------
    method : str
    n_shots : int
        Examples of each label.
    balanced_accuracy : np.ndarray of float64 [shape=(draws,)]
        Over the labels of the tested groups.
    mean, low, high : float
        Mean, 5th and 95th percentile over draws.
    labels : tuple of str
        Labels that can give that many examples and leave a group to be tested; chance is one in
        their number.
    left_out : tuple of str
        The others: neither answers nor tested.
    """

    method: str
    n_shots: int
    balanced_accuracy: np.ndarray
    mean: float
    low: float
    high: float
    labels: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Agreement of clusters with labels.

    Attributes
    ----------
    adjusted_mutual_information, adjusted_rand_index : float
        0 by chance, 1 at best.
    v_measure, purity : float
        1 at best; chance grows with the number of clusters.
    """

    adjusted_mutual_information: float
    adjusted_rand_index: float
    v_measure: float
    purity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterAgreement:
    """Agreement of clusters with labels, the items in no cluster counted.

    Attributes
    ----------
    every_item : Agreement
        With the items that are in no cluster as one cluster of their own.
    clustered_only : Agreement or None
        Without them; None if nothing is left.
    n_items, n_clusters, n_labels : int
    noise_share : float
        Share of items that are in no cluster.
    """

    every_item: Agreement
    clustered_only: Agreement | None
    n_items: int
    n_clusters: int
    n_labels: int
    noise_share: float


def retrieval(vectors: np.ndarray, labels: Labels, groups: np.ndarray) -> Retrieval:
    """Let each item search all items of other groups, and score the ranking.

    Items at equal likeness share their ranks: average precision is that of scikit-learn, the other
    two are what is expected if ties are broken by chance.

    Parameters
    ----------
    vectors : np.ndarray of float [shape=(N, D)]
    labels : sequence of N str
    groups : np.ndarray of int [shape=(N,)]

    Returns
    -------
    Retrieval

    Raises
    ------
    ValueError
        The arrays do not fit together, a vector is not finite, or no label is in two groups.
    """
    x, _, codes, groups = checked_items(vectors, labels, groups)
    queries = np.flatnonzero(_in_other_groups(codes, groups))
    scores = np.empty((3, len(queries)))
    for position, likeness in _likeness_rows(x[queries], x):
        query = queries[position]
        is_other = groups != groups[query]
        is_answer = is_other & (codes == codes[query])
        scores[:, position] = _ranking_scores(likeness[is_answer], likeness[is_other])
    return Retrieval(
        queries=queries,
        average_precision=scores[0],
        precision_at_1=scores[1],
        r_precision=scores[2],
        n_unanswered=len(x) - len(queries),
    )


def nearest_neighbour_labels(
    vectors: np.ndarray, labels: Labels, groups: np.ndarray, *, k: int | None = None
) -> NeighbourVotes:
    """Give each item the label of most of its nearest neighbours in other groups.

    A tie of votes goes to the label whose nearest item is nearest. Neighbours that tie for the
    last place share it.

    With a number of neighbours, each item asks all other groups. Without, the groups are dealt
    into five folds; each fold asks the other four, which choose the number (1, 3, 5, 10 or 20, the
    best balanced accuracy of one group against the others, the smallest of equals) among
    themselves.

    Parameters
    ----------
    vectors : np.ndarray of float [shape=(N, D)]
    labels : sequence of N str
    groups : np.ndarray of int [shape=(N,)]
    k : int, optional

    Returns
    -------
    NeighbourVotes

    Raises
    ------
    ValueError
        The arrays do not fit together, a vector is not finite, no label is in two groups, or ``k``
        is not positive.
    """
    x, names, codes, groups = checked_items(vectors, labels, groups)
    if k is not None and k < 1:
        raise ValueError(f"k is the number of neighbours asked: at least 1, not {k}")
    if k is None:
        parts = list(_folds(codes, groups))
        chosen = [_chosen_k(x[gallery], codes[gallery], groups[gallery]) for _, gallery in parts]
    else:
        parts, chosen = [(np.flatnonzero(_in_other_groups(codes, groups)), np.arange(len(x)))], [k]

    shares = np.full((len(x), len(names)), np.nan)
    for (queries, gallery), n_neighbours in zip(parts, chosen, strict=True):
        asked = queries[np.isin(codes[queries], codes[gallery])]
        for position, votes in _votes(x, codes, groups, asked, gallery, (n_neighbours,)):
            shares[asked[position]] = votes[0]

    queries = np.flatnonzero(~np.isnan(shares[:, 0]))
    if not len(queries):
        raise ValueError("no label occurs in two folds: give more groups, or the number k")
    right = shares[queries, codes[queries]]
    confusion = np.zeros((len(names), len(names)))
    np.add.at(confusion, codes[queries], shares[queries])
    return NeighbourVotes(
        queries=queries,
        right=right,
        accuracy=float(right.mean()),
        balanced_accuracy=_balanced(right, codes[queries]),
        labels=tuple(names.tolist()),
        confusion=confusion,
        k=tuple(chosen),
        n_unanswered=len(x) - len(queries),
    )


def one_against_rest(vectors: np.ndarray, labels: Labels, groups: np.ndarray) -> OneAgainstRest:
    """Score every item for each label by its cosine to the mean of the label's other groups.

    The simplest detector there is: it has nothing to fit or choose, and the mean an item is
    compared to never holds its own group, whether the item has the label or not.

    Parameters
    ----------
    vectors : np.ndarray of float [shape=(N, D)]
    labels : sequence of N str
        Two of them (``corvid``, ``other bird``) ask one question.
    groups : np.ndarray of int [shape=(N,)]

    Returns
    -------
    OneAgainstRest

    Raises
    ------
    ValueError
        The arrays do not fit together, a vector is not finite, no label is in two groups, or there
        is one label only.
    """
    x, names, codes, groups = checked_items(vectors, labels, groups)
    if len(names) < 2:
        raise ValueError(f"all items are {str(names[0])!r}: a label is scored against others")
    scored = np.unique(codes[_in_other_groups(codes, groups)])
    scores = np.empty((2, len(scored)))
    for position, code in enumerate(scored):
        likeness = _likeness_to_mean(x, codes == code, groups)
        scores[:, position] = (
            average_precision_score(codes == code, likeness),
            roc_auc_score(codes == code, likeness),
        )
    return OneAgainstRest(
        labels=tuple(names[scored].tolist()),
        average_precision=scores[0],
        roc_auc=scores[1],
        n_items=np.bincount(codes)[scored],
        n_total=len(x),
        unscored=tuple(np.delete(names, scored).tolist()),
    )


def one_against_another(
    vectors: np.ndarray, labels: Labels, groups: np.ndarray, n_labels: int
) -> tuple[tuple[str, ...], np.ndarray]:
    """Tell each two labels apart, where it is one of the two, as crow or jay.

    An item's score is the difference of its cosines to the means of both labels in other groups.

    Parameters
    ----------
    vectors : np.ndarray of float [shape=(N, D)]
    labels : sequence of N str
    groups : np.ndarray of int [shape=(N,)]
    n_labels : int
        Most frequent labels that are asked.

    Returns
    -------
    names : tuple of C str
        Those of them that occur in two groups.
    roc_auc : np.ndarray of float64 [shape=(C, C)]
        NaN against itself.

    Raises
    ------
    ValueError
        The arrays do not fit together, a vector is not finite, or no label is in two groups.
    """
    x, names, codes, groups = checked_items(vectors, labels, groups)
    asked = np.unique(codes[_in_other_groups(codes, groups)])
    asked = np.sort(asked[np.argsort(-np.bincount(codes)[asked], kind="stable")][:n_labels])
    likeness = {code: _likeness_to_mean(x, codes == code, groups) for code in asked}
    areas = np.full((len(asked), len(asked)), np.nan)
    for first, second in combinations(range(len(asked)), 2):
        either = np.isin(codes, asked[[first, second]])
        leaning = likeness[asked[first]] - likeness[asked[second]]
        area = roc_auc_score(
            codes[either] == asked[first], np.round(leaning[either], LIKENESS_DIGITS)
        )
        areas[first, second] = areas[second, first] = area
    return tuple(names[asked].tolist()), areas


def few_labels(
    vectors: np.ndarray,
    labels: Labels,
    groups: np.ndarray,
    *,
    shots: Sequence[int] = (1, 5, 10),
    n_draws: int = 20,
    seed: int = 0,
    patches: Sequence[np.ndarray] | None = None,
) -> tuple[FewLabels, ...]:
    """Learn labels from a few examples of each, and tell those of all groups not drawn from.

    In a draw the groups are put in random order; a label's examples are drawn from the first of
    its groups that hold enough, as a person would label a few recordings. The same groups are drawn
    whatever the vectors, so that draws of two kinds of vectors can be compared in pairs.

    Three ways to learn: the nearest class mean (cosine); ridge regression on one column a label,
    features standardised on the examples, penalty 100; and, where patches are given, prototypes: an
    example's prototype is its mean patch, an item is as like it as the most alike of its patches
    (cosine), and a label scores the mean over its examples.

    Parameters
    ----------
    vectors : np.ndarray of float [shape=(N, D)]
    labels : sequence of N str
    groups : np.ndarray of int [shape=(N,)]
    shots : sequence of int
        Examples of each label.
    n_draws : int
    seed : int
    patches : sequence of N np.ndarray of float [shape=(K, P)], optional
        K may differ between items. A patch's length is its weight in the mean.

    Returns
    -------
    tuple of FewLabels
        For each number of shots, each way. Numbers that fewer than two labels can give are left
        out.

    Raises
    ------
    ValueError
        The arrays do not fit together, a vector or patch is not finite, an item has no patch, or
        no label is in two groups.
    """
    x, names, codes, groups = checked_items(vectors, labels, groups)
    _, groups = np.unique(groups, return_inverse=True)
    features = np.asarray(vectors, dtype=np.float64)
    place = places(features, groups)
    methods: dict[str, _Method] = {
        "nearest class mean": lambda examples, tested: _class_mean_scores(x, examples, tested),
        "ridge": lambda examples, tested: _ridge_scores(features, examples, tested),
    }
    if patches is not None:
        all_patches, starts = _joined_patches(patches, len(x))
        methods["prototypes over patches"] = lambda examples, tested: _prototype_scores(
            all_patches, starts, examples, tested
        )

    found = []
    for n_shots in shots:
        able = _able_to_give(n_shots, codes, groups)
        if len(able) < 2:
            continue
        accuracy = np.empty((len(methods), n_draws))
        for draw in range(n_draws):
            rng = np.random.default_rng([seed, draw])
            examples, tested = _draw_examples(codes, groups, place, able, n_shots, rng)
            truth = np.searchsorted(able, codes[tested])
            for number, method in enumerate(methods.values()):
                answers = _shares_of_best(method(examples, tested))
                right = answers[np.arange(len(tested)), truth]
                accuracy[number, draw] = _balanced(right, truth)
        for name, per_draw in zip(methods, accuracy, strict=True):
            low, high = np.percentile(per_draw, (5, 95))
            found.append(
                FewLabels(
                    method=name,
                    n_shots=n_shots,
                    balanced_accuracy=per_draw,
                    mean=float(per_draw.mean()),
                    low=float(low),
                    high=float(high),
                    labels=tuple(names[able].tolist()),
                    left_out=tuple(np.delete(names, able).tolist()),
                )
            )
    return tuple(found)


def cluster_agreement(clusters: np.ndarray, labels: Labels) -> ClusterAgreement:
    """Compare clusters with labels, with and without the items that are in no cluster.

    Parameters
    ----------
    clusters : np.ndarray of int [shape=(N,)]
        -1 for items in no cluster.
    labels : sequence of N str

    Returns
    -------
    ClusterAgreement

    Raises
    ------
    ValueError
        There are no items, or not one label for each.
    """
    if len(clusters) != len(labels) or len(labels) == 0:
        raise ValueError(
            f"{len(clusters)} clusters and {len(labels)} labels: give one of each for each item"
        )
    names, codes = np.unique(labels, return_inverse=True)
    clustered = clusters != NOISE
    return ClusterAgreement(
        every_item=_agreement(clusters, codes),
        clustered_only=(
            _agreement(clusters[clustered], codes[clustered]) if clustered.any() else None
        ),
        n_items=len(codes),
        n_clusters=len(np.unique(clusters[clustered])),
        n_labels=len(names),
        noise_share=float(1 - clustered.mean()),
    )


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray, *, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> MeanInterval:
    """Return the mean of values and its 90 % interval over whole groups.

    Parameters
    ----------
    values : np.ndarray of float [shape=(Q,)]
        One of each query; for two ways on the same queries, their differences.
    groups : np.ndarray of int [shape=(Q,)]
    seed, n_resamples : int

    Returns
    -------
    MeanInterval

    Raises
    ------
    ValueError
        There are no values, or not one group for each.
    """
    if len(values) != len(groups) or len(values) == 0:
        raise ValueError(
            f"{len(values)} values and {len(groups)} groups: give one of each for each query"
        )
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    totals = np.round(np.bincount(numbers, weights=values), LIKENESS_DIGITS)
    # Sorted, the groups are drawn alike whatever they are called.
    order = np.lexsort((sizes, totals))
    totals, sizes = totals[order], sizes[order]
    rng = np.random.default_rng(seed)
    means = np.empty(n_resamples)
    for resample in range(n_resamples):
        drawn = rng.integers(len(sizes), size=len(sizes))
        means[resample] = totals[drawn].sum() / sizes[drawn].sum()
    low, high = np.percentile(means, (5, 95))
    return MeanInterval(
        mean=float(np.mean(values)), low=float(low), high=float(high), n_groups=len(sizes)
    )


def interval_of_difference(
    ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray, *, seed: int = 0
) -> MeanInterval:
    """Return how far one way is ahead of another on the same queries, seeds averaged first.

    Parameters
    ----------
    ours, theirs : np.ndarray of float [shape=(seeds, Q)]
        Their numbers of seeds may differ.
    groups : np.ndarray of int [shape=(Q,)]
    seed : int
        Of the bootstrap.

    Returns
    -------
    MeanInterval

    Raises
    ------
    ValueError
        There are no queries, or the two were not asked the same.
    """
    if ours.ndim != 2 or theirs.ndim != 2 or ours.shape[1] != theirs.shape[1]:
        raise ValueError(f"scores must be (seeds, Q) each, not {ours.shape} and {theirs.shape}")
    return bootstrap_interval(ours.mean(axis=0) - theirs.mean(axis=0), groups, seed=seed)


def checked_items(
    vectors: np.ndarray, labels: Labels, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return unit vectors, names of labels, the number of each item's label, and groups.

    Parameters
    ----------
    vectors : np.ndarray of float [shape=(N, D)]
    labels : sequence of N str
    groups : np.ndarray of int [shape=(N,)]

    Returns
    -------
    tuple
        Vectors (N, D) of unit length in float64, names (C,), numbers (N,), groups (N,).

    Raises
    ------
    ValueError
        They do not fit together, a vector is not finite, or no label is in two groups.
    """
    vectors, groups = np.asarray(vectors), np.asarray(groups)
    if vectors.ndim != 2 or not len(vectors) == len(labels) == len(groups) > 0:
        raise ValueError(
            f"vectors of shape {vectors.shape}, {len(labels)} labels and {len(groups)} groups: "
            "give vectors (N, D) and one label and one group for each of them"
        )
    n_bad = int((~np.isfinite(vectors)).any(axis=1).sum())
    if n_bad:
        raise ValueError(f"{n_bad} of {len(vectors)} vectors are not finite: leave them out")
    names, codes = np.unique(labels, return_inverse=True)
    if not _in_other_groups(codes, groups).any():
        raise ValueError(
            "no label occurs in two groups (recordings or sessions): nothing can be asked"
        )
    return unit_rows(vectors), names, codes, groups


def places(vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the place of each item (N,) among all, by group, then by vector; equal items share it.

    Chance starts from here, so that neither the order of the items nor their labels matter.
    """
    return np.unique(np.column_stack([groups, vectors]), axis=0, return_inverse=True)[1].ravel()


def _directions(sums: np.ndarray) -> np.ndarray:
    """Return sums of unit vectors at unit length; zeros where they cancel but for rounding."""
    return unit_rows(np.round(sums, 12))


def _likeness_to_mean(x: np.ndarray, has_label: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the cosine of each item to the mean of a label in other groups [shape=(N,)]."""
    _, groups = np.unique(groups, return_inverse=True)
    own = np.zeros((groups.max() + 1, x.shape[1]))
    np.add.at(own, groups[has_label], x[has_label])
    others = _directions(own.sum(axis=0) - own[groups])  # (N, D)
    return np.round(np.einsum("nd,nd->n", x, others), LIKENESS_DIGITS)


def _in_other_groups(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return for each item whether its label occurs in another group [shape=(N,)]."""
    pairs = np.unique(np.stack([codes, groups]), axis=1)
    return (np.bincount(pairs[0]) > 1)[codes]


def _likeness_rows(queries: np.ndarray, gallery: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Give for each query its likeness to the gallery [shape=(M,)]."""
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        block = queries[start : start + QUERIES_AT_ONCE] @ gallery.T
        yield from enumerate(np.round(block, LIKENESS_DIGITS), start)


def _ranking_scores(answers: np.ndarray, gallery: np.ndarray) -> tuple[float, float, float]:
    """Return average precision, precision at 1 and R-precision from likenesses.

    The gallery holds the answers too.
    """
    answers, gallery = np.sort(answers), np.sort(gallery)
    n_answers_so_far = len(answers) - np.searchsorted(answers, answers)
    n_so_far = len(gallery) - np.searchsorted(gallery, answers)
    return (
        float(np.mean(n_answers_so_far / n_so_far)),
        _expected_precision(answers, gallery, 1),
        _expected_precision(answers, gallery, len(answers)),
    )


def _expected_precision(answers: np.ndarray, gallery: np.ndarray, n_first: int) -> float:
    """Return the share of answers among the first, ties at the last place broken by chance."""
    last = gallery[-n_first]
    n_above, n_answers_above = np.sum(gallery > last), np.sum(answers > last)
    share = np.sum(answers == last) / np.sum(gallery == last)
    return float((n_answers_above + (n_first - n_above) * share) / n_first)


def _votes(
    x: np.ndarray,
    codes: np.ndarray,
    groups: np.ndarray,
    queries: np.ndarray,
    gallery: np.ndarray,
    counts: Sequence[int],
) -> Iterator[tuple[int, np.ndarray]]:
    """Give for each query the share of each label in the answer [shape=(len(counts), C)]."""
    n_labels = codes.max() + 1
    gallery_codes, gallery_groups = codes[gallery], groups[gallery]
    for position, likeness in _likeness_rows(x[queries], x[gallery]):
        is_other = gallery_groups != groups[queries[position]]
        likeness, voters = likeness[is_other], gallery_codes[is_other]
        most = min(max(counts), len(likeness))
        near = likeness >= np.partition(likeness, -most)[-most]
        likeness, voters = likeness[near], voters[near]
        yield (
            position,
            np.stack([_shares(likeness, voters, min(k, most), n_labels) for k in counts]),
        )


def _shares(likeness: np.ndarray, voters: np.ndarray, k: int, n_labels: int) -> np.ndarray:
    """Return the share of each label in the answer of the k nearest [shape=(C,)]."""
    last = np.partition(likeness, -k)[-k]
    n_above, n_last = np.sum(likeness > last), np.sum(likeness == last)
    weights = (likeness > last) + (likeness == last) * (k - n_above) / n_last
    votes = np.round(np.bincount(voters, weights, n_labels), LIKENESS_DIGITS)
    nearest = np.full(n_labels, -np.inf)
    np.maximum.at(nearest, voters, likeness)
    return _shares_of_best(np.where(votes == votes.max(), nearest, -np.inf)[None])[0]


def _shares_of_best(scores: np.ndarray) -> np.ndarray:
    """Return 1 for the best label of each row, shared where several are; 0 for the others."""
    scores = np.round(scores, LIKENESS_DIGITS)
    best = scores == scores.max(axis=1, keepdims=True)
    return best / best.sum(axis=1, keepdims=True)


def _balanced(right: np.ndarray, codes: np.ndarray) -> float:
    """Return the mean over labels of the share that is right."""
    present, numbers = np.unique(codes, return_inverse=True)
    return float(np.mean(np.bincount(numbers, right, len(present)) / np.bincount(numbers)))


def _folds(codes: np.ndarray, groups: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give queries and gallery of each fold."""
    # Labels are numbered by the groups they occur in, so that their names do not matter.
    members = [np.sort(groups[codes == code]).tolist() for code in range(codes.max() + 1)]
    number = np.argsort(sorted(range(len(members)), key=members.__getitem__))
    folds = grouped_folds([f"{number[code]:09d}" for code in codes], groups, n_folds=N_FOLDS)
    for fold in range(folds.max() + 1):
        yield np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)


def _chosen_k(x: np.ndarray, codes: np.ndarray, groups: np.ndarray) -> int:
    """Return the number of neighbours that serves a gallery best, one group against the others."""
    queries = np.flatnonzero(_in_other_groups(codes, groups))
    if not len(queries):
        return NEIGHBOUR_COUNTS[0]
    right = np.empty((len(NEIGHBOUR_COUNTS), len(queries)))
    everything = np.arange(len(x))
    for position, shares in _votes(x, codes, groups, queries, everything, NEIGHBOUR_COUNTS):
        right[:, position] = shares[:, codes[queries[position]]]
    scores = [round(_balanced(row, codes[queries]), LIKENESS_DIGITS) for row in right]
    return NEIGHBOUR_COUNTS[int(np.argmax(scores))]


_Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Examples (C, shots) and tested items (Q,) to scores (Q, C)."""


def _able_to_give(n_shots: int, codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the labels that have enough examples outside any one group, ascending."""
    able = []
    for code in range(codes.max() + 1):
        sizes = np.bincount(groups[codes == code])
        if sizes.sum() - sizes.max(initial=0) >= n_shots:
            able.append(code)
    return np.array(able, dtype=np.int64)


def _draw_examples(
    codes: np.ndarray,
    groups: np.ndarray,
    place: np.ndarray,
    able: np.ndarray,
    n_shots: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return examples (C, shots), and the items of all groups not drawn from.

    The last group that holds one of these labels is never drawn from: each has enough before it.
    """
    turn = rng.permutation(groups.max() + 1)[groups]
    lot = rng.random(place.max() + 1)[place]
    examples = np.empty((len(able), n_shots), dtype=np.int64)
    for row, code in enumerate(able):
        members = np.flatnonzero(codes == code)
        last = np.sort(turn[members])[n_shots - 1]
        members = members[turn[members] <= last]
        examples[row] = members[np.argsort(lot[members])[:n_shots]]
    is_tested = np.isin(codes, able) & ~np.isin(groups, groups[examples])
    return examples, np.flatnonzero(is_tested)


def _class_mean_scores(x: np.ndarray, examples: np.ndarray, tested: np.ndarray) -> np.ndarray:
    return x[tested] @ _directions(x[examples].sum(axis=1)).T


def _ridge_scores(vectors: np.ndarray, examples: np.ndarray, tested: np.ndarray) -> np.ndarray:
    n_labels, n_shots = examples.shape
    scaler = StandardScaler().fit(vectors[examples.ravel()])
    targets = np.repeat(np.eye(n_labels), n_shots, axis=0)
    ridge = Ridge(alpha=RIDGE_PENALTY).fit(scaler.transform(vectors[examples.ravel()]), targets)
    return ridge.predict(scaler.transform(vectors[tested]))


def _prototype_scores(
    patches: np.ndarray, starts: np.ndarray, examples: np.ndarray, tested: np.ndarray
) -> np.ndarray:
    prototypes = unit_rows(np.add.reduceat(patches, starts))
    directions = unit_rows(patches)
    scores = np.empty((len(tested), len(examples)))
    for column, shots in enumerate(examples):
        likeness = directions @ prototypes[shots].T  # (all patches, shots)
        scores[:, column] = np.maximum.reduceat(likeness, starts)[tested].mean(axis=1)
    return scores


def _joined_patches(patches: Sequence[np.ndarray], n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the patches of all items, and where each item's begin."""
    counts = [len(one) for one in patches]
    if len(counts) != n_items or min(counts) == 0:
        raise ValueError(
            f"{len(counts)} sets of patches for {n_items} items, the smallest of {min(counts)}: "
            "give at least one patch for each item"
        )
    joined = np.concatenate(patches).astype(np.float64)
    if not np.isfinite(joined).all():
        raise ValueError("some patches are not finite: leave them out")
    return joined, np.cumsum([0, *counts[:-1]])


def _agreement(clusters: np.ndarray, codes: np.ndarray) -> Agreement:
    shared = contingency_matrix(codes, clusters)
    return Agreement(
        adjusted_mutual_information=float(adjusted_mutual_info_score(codes, clusters)),
        adjusted_rand_index=float(adjusted_rand_score(codes, clusters)),
        v_measure=float(v_measure_score(codes, clusters)),
        purity=float(shared.max(axis=0).sum() / len(codes)),
    )
