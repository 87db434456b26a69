"""Probes of frozen vectors, against scikit-learn and loops that spell out what is meant."""

from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from oscine.evaluation.probes import (
    NEIGHBOUR_COUNTS,
    bootstrap_interval,
    cluster_agreement,
    few_labels,
    interval_of_difference,
    nearest_neighbour_labels,
    one_against_another,
    one_against_rest,
    retrieval,
)
from oscine.evaluation.splits import grouped_folds

# Few directions, so that likenesses tie often.
DIRECTIONS = np.array([[1, 0], [0, 1], [1, 1], [-1, 1], [3, 1], [2, 2], [0, 0], [-1, -1]], float)


@st.composite
def tied_items(draw, n_labels=3, n_groups=4):
    """Items with many ties; at least one label is in two groups."""
    n_items = draw(st.integers(4, 14))
    several = {"min_size": n_items, "max_size": n_items}
    vectors = DIRECTIONS[draw(st.lists(st.integers(0, len(DIRECTIONS) - 1), **several))]
    labels = np.array(draw(st.lists(st.sampled_from("abcdef"[:n_labels]), **several)))
    groups = np.array(draw(st.lists(st.integers(0, n_groups - 1), **several)))
    assume(len(np.unique(groups)) > 1)
    assume(any(len(np.unique(groups[labels == label])) > 1 for label in labels))
    return vectors, labels, groups


def calls(rng, n_labels=4, n_groups=12, n_each=3, noise=0.8):
    """Items of a few labels, each group holding several of one label: vectors, labels, groups."""
    group_labels = np.arange(n_groups) % n_labels
    labels = np.repeat(group_labels, n_each)
    centres = rng.normal(size=(n_labels, 8))
    vectors = centres[labels] + noise * rng.normal(size=(len(labels), 8))
    return (
        vectors,
        np.array([f"kind {label}" for label in labels]),
        np.repeat(range(n_groups), n_each),
    )


def cosine(vectors):
    length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.round((vectors / length) @ (vectors / length).T, 9)


def renamed(labels):
    """The same labels under names that sort the other way round."""
    return np.array([chr(ord("z") - ord(label[-1]) % 26) for label in labels])


# --- Retrieval -----------------------------------------------------------------------------


@settings(max_examples=20)
@given(tied_items())
def test_average_precision_is_that_of_scikit_learn(items):
    vectors, labels, groups = items
    found = retrieval(vectors, labels, groups)
    likeness = cosine(vectors)
    expected, unanswered = [], 0
    for query in range(len(labels)):
        other = groups != groups[query]
        relevant = labels[other] == labels[query]
        if not relevant.any():
            unanswered += 1
            continue
        expected.append(average_precision_score(relevant, likeness[query, other]))
    assert found.average_precision == pytest.approx(expected)
    assert found.n_unanswered == unanswered
    assert found.mean_average_precision == pytest.approx(np.mean(expected))


def test_tied_precisions_are_the_mean_over_all_ways_to_break_ties():
    vectors = np.array([[1, 0], [1, 1], [1, 1], [1, 1], [2, 1], [0, 1]], float)
    labels = np.array(list("aabaab"))
    likeness = cosine(vectors)
    found = retrieval(vectors, labels, np.arange(6))
    for query, at_1, r_precision in zip(
        found.queries, found.precision_at_1, found.r_precision, strict=True
    ):
        others = [item for item in range(6) if item != query]
        ways = [
            [labels[item] == labels[query] for item in way]
            for way in permutations(others)
            if all(likeness[query, one] >= likeness[query, two] for one, two in pairwise(way))
        ]
        n_answers = sum(ways[0])
        assert at_1 == pytest.approx(np.mean([way[0] for way in ways]))
        assert r_precision == pytest.approx(np.mean([np.mean(way[:n_answers]) for way in ways]))


def test_a_group_never_answers_itself(rng):
    vectors, labels, groups = calls(rng, noise=3)
    vectors += 20 * rng.normal(size=(12, 8))[groups]  # each recording sounds like itself
    leaky = retrieval(vectors, labels, np.arange(len(labels)))
    assert leaky.mean_precision_at_1 > 0.9
    assert retrieval(vectors, labels, groups).mean_precision_at_1 < 0.5


def test_memory_stays_flat_across_blocks_of_queries(rng):
    vectors, labels, groups = calls(rng, n_groups=200)  # 600 queries: three blocks
    found = retrieval(vectors, labels, groups)
    likeness = cosine(vectors)
    for query in (0, 255, 256, 599):
        other = groups != groups[query]
        expected = average_precision_score(labels[other] == labels[query], likeness[query, other])
        assert found.average_precision[query] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, y, g: (v, y, np.zeros_like(g)), "no label occurs in two groups"),
        (lambda v, y, g: (v, y[:-1], g), "35 labels"),
        (lambda v, y, g: (np.full_like(v, np.nan), y, g), "36 of 36 vectors are not finite"),
    ],
)
@pytest.mark.parametrize("probe", [retrieval, nearest_neighbour_labels, one_against_rest])
def test_what_cannot_be_asked_is_refused(rng, probe, change, message):
    with pytest.raises(ValueError, match=message):
        probe(*change(*calls(rng)))


# --- Neighbours ----------------------------------------------------------------------------


def spelled_out_answer(likeness, labels, k):
    """The shares of labels among the k nearest: exact fractions, one item after the other."""
    k = min(k, len(likeness))
    last = sorted(likeness, reverse=True)[k - 1]
    n_above = sum(value > last for value in likeness)
    n_last = sum(value == last for value in likeness)
    votes, nearest = {}, {}
    for value, label in zip(likeness, labels, strict=True):
        if value >= last:
            weight = Fraction(1) if value > last else Fraction(k - n_above, n_last)
            votes[label] = votes.get(label, 0) + weight
            nearest[label] = max(nearest.get(label, -2), value)
    first = [label for label in votes if votes[label] == max(votes.values())]
    best = max(nearest[label] for label in first)
    first = [label for label in first if nearest[label] == best]
    return {label: 1 / len(first) for label in first}


@settings(max_examples=50)
@given(tied_items(), st.integers(1, 6))
def test_votes_are_counted_as_said(items, k):
    vectors, labels, groups = items
    found = nearest_neighbour_labels(vectors, labels, groups, k=k)
    likeness = cosine(vectors)
    confusion = np.zeros_like(found.confusion)
    for query, right in zip(found.queries, found.right, strict=True):
        other = groups != groups[query]
        answer = spelled_out_answer(likeness[query, other].tolist(), labels[other].tolist(), k)
        assert right == pytest.approx(answer.get(labels[query], 0))
        for label, share in answer.items():
            confusion[found.labels.index(labels[query]), found.labels.index(label)] += share
    assert found.confusion == pytest.approx(confusion)
    assert len(found.queries) + found.n_unanswered == len(labels)


def test_accuracies_are_those_of_scikit_learn(rng):
    vectors, labels, groups = calls(rng, noise=2)
    labels[3:6] = labels[0]  # not as many of each
    found = nearest_neighbour_labels(vectors, labels, groups, k=3)
    likeness = np.where(groups[:, None] == groups, -2, cosine(vectors))
    answers = []
    for row in likeness:
        three = labels[np.argsort(-row)[:3]]
        names, first, votes = np.unique(three, return_index=True, return_counts=True)
        answers.append(names[np.lexsort((first, -votes))[0]])
    assert found.accuracy == pytest.approx(np.mean(labels == answers))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, answers))
    assert found.confusion.sum() == len(labels)


def test_each_fold_asks_as_many_as_its_gallery_chose(rng):
    vectors, labels, groups = calls(rng, n_labels=2, n_groups=60, n_each=2, noise=4)
    found = nearest_neighbour_labels(vectors, labels, groups)
    assert len(found.k) == 5
    assert set(found.k) <= set(NEIGHBOUR_COUNTS)
    assert max(found.k) > 1  # in so much noise one neighbour is a poor choice
    assert found.accuracy > nearest_neighbour_labels(vectors, labels, groups, k=1).accuracy


def test_k_is_chosen_in_the_gallery_alone(rng):
    vectors, labels, groups = calls(rng, n_groups=20, noise=4)
    folds = grouped_folds(labels.tolist(), groups, n_folds=5)
    expected, right = [], np.empty(len(labels))
    for fold in range(5):
        gallery, queries = folds != fold, folds == fold
        mine = vectors[gallery], labels[gallery], groups[gallery]
        scores = [nearest_neighbour_labels(*mine, k=k).balanced_accuracy for k in NEIGHBOUR_COUNTS]
        expected.append(NEIGHBOUR_COUNTS[int(np.argmax(np.round(scores, 9)))])
        likeness = cosine(vectors)[np.ix_(queries, gallery)]
        right[queries] = [
            spelled_out_answer(row.tolist(), labels[gallery].tolist(), expected[-1]).get(label, 0)
            for row, label in zip(likeness, labels[queries], strict=True)
        ]
    found = nearest_neighbour_labels(vectors, labels, groups)
    assert found.k == tuple(expected)
    assert found.right == pytest.approx(right)


def test_k_must_be_positive(rng):
    with pytest.raises(ValueError, match="at least 1, not 0"):
        nearest_neighbour_labels(*calls(rng), k=0)


# --- One label against the rest ------------------------------------------------------------


@settings(max_examples=20)
@given(tied_items())
def test_one_against_rest_is_the_cosine_to_the_mean_of_other_groups(items):
    vectors, labels, groups = items
    assume(len(np.unique(labels)) > 1)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    x = vectors / np.where(length > 0, length, 1)
    found = one_against_rest(vectors, labels, groups)
    for number, label in enumerate(found.labels):
        scores = []
        for item in range(len(x)):
            mean = x[(labels == label) & (groups != groups[item])].mean(axis=0)
            size = np.linalg.norm(mean)
            scores.append(round(x[item] @ mean / size, 9) if size > 1e-9 else 0)
        is_label = labels == label
        assert found.average_precision[number] == pytest.approx(
            average_precision_score(is_label, scores)
        )
        assert found.roc_auc[number] == pytest.approx(roc_auc_score(is_label, scores))
        assert found.n_items[number] == is_label.sum()
    assert sorted(found.labels + found.unscored) == np.unique(labels).tolist()
    assert found.macro_roc_auc == pytest.approx(found.roc_auc.mean())


@settings(max_examples=20)
@given(tied_items(), st.integers(2, 4))
def test_one_against_another_leans_to_the_nearer_mean_of_other_groups(items, n_labels):
    vectors, labels, groups = items
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    x = vectors / np.where(length > 0, length, 1)

    def likeness(item, label):
        mean = x[(labels == label) & (groups != groups[item])].mean(axis=0)
        size = np.linalg.norm(mean)
        return round(x[item] @ mean / size, 9) if size > 1e-9 else 0

    names, areas = one_against_another(vectors, labels, groups, n_labels)
    counts = {
        label: np.sum(labels == label)
        for label in np.unique(labels)
        if len(np.unique(groups[labels == label])) > 1
    }
    assert len(names) == min(n_labels, len(counts))
    assert sorted(counts[name] for name in names) == sorted(counts.values())[-len(names) :]
    for i, first in enumerate(names):
        assert np.isnan(areas[i, i])
        for j, second in enumerate(names[:i]):
            either = np.flatnonzero((labels == first) | (labels == second))
            leaning = [round(likeness(k, first) - likeness(k, second), 9) for k in either]
            expected = roc_auc_score(labels[either] == first, leaning)
            assert areas[i, j] == areas[j, i] == pytest.approx(expected)


def test_crow_and_jay_are_told_apart_only_where_their_sounds_differ(rng):
    labels = np.repeat(["crow", "jay", "raven"], 20)
    centres = np.repeat([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]], 20, axis=0)
    vectors = centres + 0.1 * rng.normal(size=(60, 3))
    names, areas = one_against_another(vectors, labels, np.arange(60), 30)
    assert names == ("crow", "jay", "raven")
    assert areas[0, 1] > 0.99
    assert areas[1, 2] > 0.99
    assert abs(areas[0, 2] - 0.5) < 0.25


def test_one_label_has_no_rest(rng):
    vectors, _, groups = calls(rng)
    with pytest.raises(ValueError, match="all items are 'crow'"):
        one_against_rest(vectors, ["crow"] * len(vectors), groups)


# --- Few labels ----------------------------------------------------------------------------


def test_few_examples_suffice_where_kinds_are_far_apart_and_teach_nothing_where_labels_are_chance(
    rng,
):
    vectors, labels, groups = calls(rng, n_groups=40, noise=0.1)
    patches = [vector + 0.1 * rng.normal(size=(5, 8)) for vector in vectors]
    found = few_labels(vectors, labels, groups, patches=patches)
    assert [(one.n_shots, one.method) for one in found] == [
        (n_shots, method)
        for n_shots in (1, 5, 10)
        for method in ("nearest class mean", "ridge", "prototypes over patches")
    ]
    assert min(one.low for one in found) > 0.9

    by_chance = rng.permutation(labels[::3]).repeat(3)
    for one in few_labels(vectors, by_chance, groups, shots=(5,), patches=patches):
        assert one.mean == pytest.approx(1 / len(one.labels), abs=0.08)
        assert one.low <= one.mean <= one.high


def test_a_call_in_few_patches_is_found_by_the_patch_most_alike(rng):
    labels = np.arange(40) % 2
    patches = []
    for label in labels:
        item = rng.normal(size=(30, 64)) / 8  # background: unit length, any direction
        item[:2, label] += 5
        patches.append(item)
    shown_evenly = [item / np.linalg.norm(item, axis=1, keepdims=True) for item in patches]
    vectors = np.stack([item.mean(axis=0) for item in shown_evenly])
    names = np.array(["a", "b"])[labels]
    found = {
        one.method: one.mean
        for one in few_labels(vectors, names, np.arange(40), shots=(1,), patches=patches)
    }
    assert found["prototypes over patches"] > 0.95
    assert found["nearest class mean"] < 0.9


def test_examples_and_tested_items_share_no_group(rng):
    """Vectors that tell nothing but their group: only a leak could be ahead of chance."""
    vectors, labels, groups = calls(rng, n_groups=40, n_each=4)
    vectors = np.eye(40)[groups] + 0.01 * rng.normal(size=(160, 40))
    for one in few_labels(vectors, labels, groups, shots=(1, 5), n_draws=40):
        assert one.mean < 0.35


def test_labels_that_cannot_give_the_examples_are_named():
    labels = np.array(["often"] * 8 + ["seldom"] * 8 + ["rare"] * 2 + ["in one place"] * 6)
    groups = np.array([*range(8), *range(8), 8, 9, *[10] * 6])
    vectors = np.random.default_rng(0).normal(size=(24, 5))
    one, five = few_labels(vectors, labels, groups, shots=(1, 5, 8))[::2]
    assert (one.labels, one.left_out) == (("often", "rare", "seldom"), ("in one place",))
    assert five.n_shots == 5
    assert five.left_out == ("in one place", "rare")


def test_the_same_groups_are_drawn_whatever_the_vectors(rng):
    """One item a group and vectors that only tell the label from its place in a fixed table."""
    _, labels, _ = calls(rng, n_groups=36, n_each=1)
    table = np.eye(36)
    one = few_labels(table, labels, np.arange(36), shots=(5,))
    other = few_labels(7 * table, labels, np.arange(36), shots=(5,))
    shifted = few_labels(np.roll(table, 5, axis=1), labels, np.arange(36), shots=(5,))
    for first, second, third in zip(one, other, shifted, strict=True):
        assert np.array_equal(first.balanced_accuracy, second.balanced_accuracy)
        assert first.balanced_accuracy == pytest.approx(third.balanced_accuracy)


def test_an_item_without_patches_is_refused(rng):
    vectors, labels, groups = calls(rng)
    with pytest.raises(ValueError, match="the smallest of 0"):
        few_labels(vectors, labels, groups, patches=[np.ones((0, 3))] * len(vectors))


# --- Clusters ------------------------------------------------------------------------------


def test_noise_is_counted_as_one_cluster_and_left_out_beside_it():
    clusters = np.array([0, 0, 0, 1, 1, -1, -1, -1])
    labels = list("aaabbabc")
    found = cluster_agreement(clusters, labels)
    assert found.noise_share == 3 / 8
    assert (found.n_items, found.n_clusters, found.n_labels) == (8, 2, 3)
    assert found.every_item.purity == 6 / 8  # 3 + 2, and one of the three that are in none
    assert found.clustered_only is not None
    assert found.clustered_only.purity == 1
    assert found.clustered_only.adjusted_mutual_information == pytest.approx(1)
    assert found.every_item.adjusted_rand_index < 1


def test_purity_is_counted_by_hand_and_all_noise_leaves_nothing():
    found = cluster_agreement(np.full(4, -1), list("aabb"))
    assert found.clustered_only is None
    assert found.noise_share == 1
    assert found.every_item.purity == 0.5
    assert found.every_item.adjusted_rand_index == 0
    with pytest.raises(ValueError, match="3 clusters and 2 labels"):
        cluster_agreement(np.zeros(3, int), ["a", "b"])


# --- Intervals -----------------------------------------------------------------------------


def test_the_interval_is_over_groups_not_queries(rng):
    values = rng.normal(size=20).repeat(30)  # 600 queries, but only 20 recordings
    by_group = bootstrap_interval(values, np.arange(20).repeat(30))
    by_query = bootstrap_interval(values, np.arange(600))
    assert by_group.mean == pytest.approx(values.mean())
    assert (by_group.n_groups, by_query.n_groups) == (20, 600)
    expected = 2 * 1.645 * values.std() / np.sqrt(20)
    assert by_group.high - by_group.low == pytest.approx(expected, rel=0.15)
    assert by_query.high - by_query.low < 0.3 * expected


def test_a_difference_is_paired_and_averages_seeds(rng):
    theirs = rng.normal(size=(1, 200))
    ours = theirs + 0.1 + 0.2 * rng.normal(size=(3, 200))
    found = interval_of_difference(ours, theirs, np.arange(200))
    assert found.mean == pytest.approx((ours.mean(axis=0) - theirs[0]).mean())
    assert found.excludes_zero
    assert not interval_of_difference(theirs, theirs[:, ::-1], np.arange(200)).excludes_zero
    with pytest.raises(ValueError, match=r"\(seeds, Q\)"):
        interval_of_difference(ours, theirs[:, 1:], np.arange(199))


# --- What must not matter ------------------------------------------------------------------


def everything(vectors, labels, groups):
    """All numbers that do not belong to one item, in an order that names do not change."""
    found = retrieval(vectors, labels, groups)
    numbers = [
        found.mean_average_precision,
        found.mean_precision_at_1,
        found.mean_r_precision,
        found.n_unanswered,
    ]
    for k in (1, 4):
        votes = nearest_neighbour_labels(vectors, labels, groups, k=k)
        numbers += [votes.accuracy, votes.balanced_accuracy, *np.sort(votes.confusion.ravel())]
    if len(np.unique(labels)) > 1:
        rest = one_against_rest(vectors, labels, groups)
        numbers += [*np.sort(rest.average_precision), *np.sort(rest.roc_auc)]
    areas = one_against_another(vectors, labels, groups, len(labels))[1]
    numbers += np.sort(areas[np.isfinite(areas)]).tolist()
    for one in few_labels(vectors, labels, groups, shots=(1, 2), n_draws=3):
        numbers += one.balanced_accuracy.tolist()
    clusters = np.unique(vectors, axis=0, return_inverse=True)[1].ravel() - 1
    agreement = cluster_agreement(clusters, labels).every_item
    numbers += [agreement.adjusted_mutual_information, agreement.v_measure, agreement.purity]
    values = vectors[:, 0]
    interval = bootstrap_interval(values, groups, n_resamples=50)
    return np.array([*numbers, interval.mean, interval.low, interval.high])


@settings(max_examples=10)
@given(tied_items(), st.randoms(use_true_random=False))
def test_permuting_clips_and_renaming_labels_change_nothing(items, random):
    vectors, labels, groups = items
    before = everything(vectors, labels, groups)
    order = np.array(random.sample(range(len(labels)), len(labels)))
    shuffled = everything(vectors[order], labels[order], groups[order])
    assert shuffled == pytest.approx(before, abs=1e-9)
    assert everything(vectors, renamed(labels), groups) == pytest.approx(before, abs=1e-9)


def test_nor_does_the_choice_of_k_depend_on_order_or_names(rng):
    vectors, labels, groups = calls(rng, n_groups=30, noise=3)
    before = nearest_neighbour_labels(vectors, labels, groups)
    order = rng.permutation(len(labels))
    shuffled = nearest_neighbour_labels(vectors[order], labels[order], groups[order])
    assert shuffled.k == before.k
    assert np.array_equal(shuffled.right, before.right[order])
    other_names = nearest_neighbour_labels(vectors, renamed(labels), groups)
    assert other_names.k == before.k
    assert np.array_equal(other_names.right, before.right)
