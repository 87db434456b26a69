"""What a likeness is worth, which class a sound is of, and who calls: on vectors alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from oscine.model.geometry import unit_rows
from oscine.search.classes import class_means, which
from oscine.search.individuals import (
    Calls,
    calibrate,
    equal_error_rate,
    error_curve,
    group,
    same,
)
from oscine.search.similarity import (
    Cohort,
    Sounds,
    are_related,
    described,
    normalised,
    percentile,
    traits,
)
from oscine.workspace.catalogue import HeardEvent


def sounds(n, seed=0, dimensions=16, per_recording=2, days=None, shared=0.0):
    """Sounds of several recordings; those of one length share a direction where asked to."""
    rng = np.random.default_rng(seed)
    length = rng.integers(4, size=n)
    vectors = rng.standard_normal((n, dimensions))
    vectors += shared * np.eye(4, dimensions)[length]
    number = np.arange(n) // per_recording
    return Sounds(
        vectors=unit_rows(vectors),
        traits=traits(0.1 * 4.0**length, *(np.full(n, hz) for hz in (500.0, 4000.0, 20.0))),
        recordings=np.array([f"recording {one}" for one in number]),
        days=np.array([""] * n if days is None else [days[one % len(days)] for one in number]),
    )


def calls_of(birds, per_bird=12, seed=0, dimensions=24, apart=1.0, offset=3.0):
    """Calls of a few birds, each in a recording of its own, around a mean that all share."""
    rng = np.random.default_rng(seed)
    own = apart * rng.standard_normal((birds, dimensions))
    bird = np.repeat(np.arange(birds), per_bird)
    individuals = own[bird] + rng.standard_normal((len(bird), dimensions)) + offset
    kinds = unit_rows(np.eye(1, 8) + 0.2 * rng.standard_normal((len(bird), 8)))
    return (
        Calls(
            kinds=Sounds(
                vectors=kinds,
                traits=np.zeros((len(bird), 4)),
                recordings=np.array([f"{seed} {row}" for row in range(len(bird))]),
                days=np.array([""] * len(bird)),
            ),
            individuals=individuals,
        ),
        bird,
    )


def test_sounds_of_a_recording_or_of_a_site_and_day_are_related():
    one = Sounds(
        vectors=np.eye(4),
        traits=np.zeros((4, 4)),
        recordings=np.array(["a", "a", "b", "c"]),
        days=np.array(["north|2024-05-01", "", "north|2024-05-01", ""]),
    )
    wanted = np.eye(4, dtype=bool)
    wanted[0, 1] = wanted[1, 0] = True  # a recording
    wanted[0, 2] = wanted[2, 0] = True  # a day; unknown days are none
    assert (are_related(one, one) == wanted).all()


def test_events_are_described_by_where_when_and_how_they_sound():
    events = [
        HeardEvent(1, "hash:-1", "north", "2024-05-01", 0.5, 1000.0, 4000.0, 20.0, 3),
        HeardEvent(7, "other:0", "", "", 0.25, 10.0, 2000.0, 5.0, -1),
    ]
    found = described(np.eye(2), events)
    assert found.recordings.tolist() == ["hash:-1", "other:0"]
    assert found.days.tolist() == ["north|2024-05-01", ""]
    assert found.traits[0] == pytest.approx([-1.0, np.log2(1000), np.log2(4000), 2.0])
    assert found.traits[1] == pytest.approx([-2.0, np.log2(20), np.log2(2000), 0.5])


@given(st.integers(0, 50), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_a_sound_is_matched_by_the_nearest_in_band_length_and_level(seed, n):
    every = sounds(60, seed)
    rng = np.random.default_rng(seed)
    every = Sounds(
        vectors=every.vectors,
        traits=rng.standard_normal((60, 4)) * [1, 2, 3, 4],
        recordings=every.recordings,
        days=every.days,
    )
    found = Cohort(every).matched(every.rows([0]), n)
    scaled = (every.traits - every.traits.mean(axis=0)) / every.traits.std(axis=0)
    distance = [float(np.square(scaled[row] - scaled[0]).sum()) for row in range(60)]
    able = [row for row in range(60) if every.recordings[row] != every.recordings[0]]
    assert found.tolist() == sorted(able, key=lambda row: (distance[row], row))[:n]


def test_of_one_day_nothing_is_unrelated():
    every = sounds(60, days=["north|2024-05-01"])
    assert not len(Cohort(every).matched(every.rows([0])))
    assert Cohort(every).percentiles(every.rows([0]), every.rows([9])) == [None]


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50),
    st.floats(-1, 1, width=32),
    st.integers(1, 100),
)
def test_a_percentile_is_the_weighted_share_below_and_never_certain(unrelated, likeness, n):
    weights = np.linspace(0.5, 1, len(unrelated))
    found = percentile(likeness, np.array(unrelated), weights, n_recordings=10, n_independent=n)
    below = sum(w for one, w in zip(unrelated, weights, strict=True) if one < likeness)
    m = min(n, len(unrelated))
    assert found.share == pytest.approx((below / weights.sum() * m + 0.5) / (m + 1))
    assert 0 < found.share < 1
    assert (found.n_pairs, found.n_recordings) == (len(unrelated), 10)


def test_nine_recordings_give_no_percentile():
    some = np.zeros(50)
    assert percentile(0.5, some, some + 1, n_recordings=9, n_independent=36) is None


def test_percentiles_of_unrelated_pairs_are_even_among_sounds_of_one_length():
    # Sounds of one length are alike: pairs must be held against pairs of the same lengths.
    cohort, asked = Cohort(sounds(800, seed=1, shared=2.0)), sounds(400, seed=2, shared=2.0)
    asked = Sounds(
        vectors=asked.vectors,
        traits=asked.traits,
        recordings=np.array([f"asked {row}" for row in range(400)]),
        days=asked.days,
    )
    short = np.flatnonzero(asked.traits[:, 0] == asked.traits[:, 0].min())
    shares = [
        cohort.percentiles(asked.rows([one]), asked.rows([other]))[0].share
        for one, other in zip(short[::2], short[1::2], strict=False)
    ]
    assert len(shares) > 40
    assert kstest(shares, "uniform").pvalue > 0.01


def test_a_percentile_rests_on_pairs_of_other_recordings_only():
    cohort = Cohort(sounds(100))
    (found,) = cohort.percentiles(cohort.sounds.rows([0]), cohort.sounds.rows([50]))
    # 98 sounds are of other recordings than each of the two; those of one recording are no pair.
    assert found.n_recordings == 50
    own = [(a, b) for a in range(100) for b in range(100) if a // 2 != 0 and b // 2 != 25]
    assert found.n_pairs == sum(a // 2 != b // 2 for a, b in own)


def test_likeness_is_normalised_by_what_each_of_the_two_has_with_others():
    rng = np.random.default_rng(0)
    likeness = rng.random((8, 8))
    likeness = (likeness + likeness.T) / 2
    recording = np.arange(8) // 2
    is_unrelated = recording[:, None] != recording
    found = normalised(likeness, is_unrelated)
    for a, b in np.ndindex(8, 8):
        of_a, of_b = likeness[a][is_unrelated[a]], likeness[b][is_unrelated[b]]
        wanted = (likeness[a, b] - of_a.mean()) / of_a.std() / 2
        wanted += (likeness[a, b] - of_b.mean()) / of_b.std() / 2
        assert found[a, b] == pytest.approx(wanted)
    assert normalised(3 * likeness + 5, is_unrelated) == pytest.approx(found)


def examples_of(*directions, per_class=3, seed=0):
    rng = np.random.default_rng(seed)
    vectors = np.repeat(np.eye(16)[list(directions)], per_class, axis=0)
    n = len(vectors)
    return Sounds(
        vectors=unit_rows(vectors + 0.1 * rng.standard_normal(vectors.shape)),
        traits=traits(*(np.full(n, value) for value in (0.4, 500.0, 4000.0, 20.0))),
        recordings=np.array([f"example {row}" for row in range(n)]),
        days=np.array([""] * n),
    )


NAMES = ["crow"] * 3 + ["jay"] * 3


def test_a_sound_is_of_the_class_whose_examples_it_is_like():
    cohort, examples = Cohort(sounds(400, shared=0.0)), examples_of(0, 1)
    for direction, name in ((0, "crow"), (1, "jay")):
        asked = examples_of(direction, per_class=1, seed=9)
        found = which(asked, examples, NAMES, cohort)
        assert found.answer == found.classes[0].name == found.neighbours_say == name
        assert found.classes[0].share > 0.9
        assert sum(one.share for one in found.classes) + found.none_share == pytest.approx(1)
        assert [one.n_examples for one in found.classes] == [3, 3]
        assert [NAMES[row] for row, _ in found.neighbours] == [name] * 3


def test_a_sound_that_is_like_no_class_is_none_of_them():
    found = which(examples_of(7, per_class=1), examples_of(0, 1), NAMES, Cohort(sounds(400)))
    assert found.answer is None
    assert found.none_share > 0.3
    assert found.none_share == pytest.approx(1 - found.percentile.share)


def test_few_unseen_sounds_are_taken_for_a_class():
    cohort, examples = Cohort(sounds(400, seed=3)), examples_of(0, 1)
    unseen = sounds(300, seed=4)
    unseen = Sounds(
        vectors=unseen.vectors,
        traits=np.repeat(examples.traits[:1], 300, axis=0),
        recordings=np.array([f"unseen {row}" for row in range(300)]),
        days=unseen.days,
    )
    answers = [which(unseen.rows([row]), examples, NAMES, cohort).answer for row in range(300)]
    assert 0.02 < np.mean([one is not None for one in answers]) < 0.18


def test_the_order_of_the_examples_does_not_matter():
    cohort, examples = Cohort(sounds(200)), examples_of(0, 1)
    asked = examples_of(0, per_class=1, seed=5)
    order = np.random.default_rng(0).permutation(6)
    one = which(asked, examples, NAMES, cohort)
    other = which(asked, examples.rows(order), [NAMES[row] for row in order], cohort)
    assert [x.name for x in one.classes] == [x.name for x in other.classes]
    assert [x.share for x in one.classes] == pytest.approx([x.share for x in other.classes])
    assert [order[row] for row, _ in other.neighbours] == [row for row, _ in one.neighbours]


def test_a_small_archive_cannot_say_none_of_these():
    found = which(examples_of(0, per_class=1), examples_of(0, 1), NAMES, Cohort(sounds(12)))
    assert found.answer is None
    assert found.percentile is None
    assert found.none_share is None
    assert found.neighbours_say == "crow"


def test_without_examples_nothing_can_be_asked():
    empty = examples_of(0, 1).rows(np.empty(0, np.int64))
    with pytest.raises(ValueError, match="no example"):
        which(examples_of(0, per_class=1), empty, [], Cohort(sounds(200)))


def test_a_class_is_the_mean_of_its_examples():
    vectors = np.array([[1.0, 0], [0, 1], [0, 1]])
    assert class_means(vectors, np.array([0, 0, 1])) == pytest.approx(
        np.array([[0.5**0.5, 0.5**0.5], [0, 1]])
    )


def test_two_calls_of_one_bird_are_more_alike_than_two_of_different_birds():
    calls, bird = calls_of(10, apart=0.9)
    rng = np.random.default_rng(0)
    scores, shares, is_same = [], [], []
    for _ in range(200):
        a, b = rng.permutation(len(calls))[:2]
        found = same(calls.rows([a]), calls.rows([b]), calls)
        scores.append(found.score)
        shares.append(found.percentile.share)
        is_same.append(bird[a] == bird[b])
        assert found.is_matched
    scores, shares, is_same = map(np.array, (scores, shares, is_same))
    assert equal_error_rate(*error_curve(scores[is_same], scores[~is_same])) < 0.1
    assert shares[is_same].mean() > 0.9
    # The archive holds other calls of the same birds too, so this errs on the careful side.
    assert np.mean(shares[~is_same] > 0.95) <= 0.05


@given(st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_it_does_not_matter_which_of_two_calls_comes_first(seed):
    calls, _ = calls_of(6, seed=seed)
    one, other = same(calls.rows([0]), calls.rows([30]), calls), None
    other = same(calls.rows([30]), calls.rows([0]), calls)
    assert one.score == pytest.approx(other.score)
    assert one.percentile.share == pytest.approx(other.percentile.share)
    assert one.n_of_kind == other.n_of_kind


def test_what_all_calls_share_does_not_count():
    calls, _ = calls_of(6)
    moved = Calls(kinds=calls.kinds, individuals=calls.individuals + 1000.0)
    one, other = (same(x.rows([0]), x.rows([1]), x) for x in (calls, moved))
    assert one.score == pytest.approx(other.score, abs=1e-6)


def test_calls_of_a_kind_that_the_archive_lacks_are_not_matched():
    calls, _ = calls_of(6)
    kinds = calls.kinds
    strange = Sounds(
        vectors=np.eye(8)[[5]],
        traits=kinds.traits[:1],
        recordings=np.array(["strange"]),
        days=np.array([""]),
    )
    one = Calls(kinds=strange, individuals=calls.individuals[:1])
    found = same(one, one, calls)
    assert not found.is_matched
    assert found.n_of_kind == 0


def test_an_archive_without_other_recordings_gives_no_percentile():
    calls, _ = calls_of(1, per_bird=3)
    found = same(calls.rows([0]), calls.rows([1]), calls.rows([0, 1]))
    assert found.percentile is None


def test_known_pairs_say_what_a_score_has_meant():
    rng = np.random.default_rng(0)
    is_same = np.repeat([True, False], [40, 400])
    scores = rng.standard_normal(440) + 2 * is_same
    found = calibrate(scores, is_same)
    assert (found.n_same, found.n_different) == (40, 400)
    assert found.equal_error_rate == pytest.approx(0.16, abs=0.06)
    assert found.probability(1.0) == pytest.approx(0.5, abs=0.1)
    assert found.probability(-2) < 0.1 < 0.9 < found.probability(4)


def test_few_known_pairs_give_no_probability():
    with pytest.raises(ValueError, match="4 pairs of the same individual"):
        calibrate(np.arange(14.0), [True] * 4 + [False] * 10)


@given(st.integers(0, 1000), st.integers(2, 30), st.integers(2, 30))
@settings(deadline=None)
def test_the_equal_error_rate_is_where_both_errors_cross(seed, n_same, n_different):
    rng = np.random.default_rng(seed)
    own, other = rng.standard_normal(n_same) + 1, rng.standard_normal(n_different)
    rate = equal_error_rate(*error_curve(own, other))
    limits = np.concatenate([own, other, [np.inf]])
    accepted = np.array([(other >= limit).mean() for limit in limits])
    rejected = np.array([(own < limit).mean() for limit in limits])
    assert np.max(np.minimum(accepted, rejected)) <= rate + 1e-9
    assert rate <= np.min(np.maximum(accepted, rejected)) + 1e-9


def test_as_many_birds_are_found_as_there_are():
    calls, bird = calls_of(5, per_bird=14, apart=1.5)
    found = group(calls)
    assert found.n_groups == 5
    assert found.n_low <= 5 <= found.n_high
    assert found.stability > 0.9
    assert found.silhouette > found.null_silhouette
    for label in range(5):  # each group is one bird
        assert len(set(bird[found.labels == label])) == 1
    assert (np.diff(np.bincount(found.labels)) <= 0).all()
    assert len(found.sureness) == len(calls)


@pytest.mark.parametrize("seed", range(4))
def test_calls_of_one_bird_are_not_parted(seed):
    calls, _ = calls_of(1, per_bird=40, seed=seed)
    found = group(calls)
    assert found.n_groups == found.n_low == found.n_high == 1
    assert set(found.labels) == {0}


def test_groups_are_the_same_again():
    calls, _ = calls_of(4)
    one, other = group(calls, seed=3), group(calls, seed=3)
    assert (one.labels == other.labels).all()
    assert (one.silhouette, one.stability) == (other.silhouette, other.stability)


def test_five_calls_are_not_grouped():
    calls, _ = calls_of(1, per_bird=5)
    with pytest.raises(ValueError, match="too few"):
        group(calls)
