"""Same or different individual, against scikit-learn on pairs that are listed one by one."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score

from oscine.evaluation import verification as room
from oscine.evaluation.probes import nearest_neighbour_labels
from oscine.evaluation.verification import verification

DIRECTIONS = np.array([[1, 0], [0, 1], [1, 1], [-1, 1], [3, 1], [2, 2], [-1, -1]], float)


def birds(rng, n_birds=4, n_days=3, n_calls=4, voice=1.0, day=0.0):
    """Calls of some birds on days of their own: vectors, individuals, recordings, sessions."""
    bird, date, _ = (index.ravel() for index in np.indices((n_birds, n_days, n_calls)))
    vectors = rng.normal(size=(len(bird), 8))
    vectors += voice * rng.normal(size=(n_birds, 8))[bird]
    vectors += day * rng.normal(size=(n_birds, n_days, 8))[bird, date]
    names = np.array([f"bird {one:02d}" for one in bird])
    return vectors, names, np.arange(len(bird)) // 2, np.array([f"day {one}" for one in date])


@st.composite
def tied_calls(draw):
    """A few calls with many ties in likeness; bird a has calls on two days, b on one at least."""
    n_more = draw(st.integers(0, 8))
    several = {"min_size": n_more, "max_size": n_more}
    individuals = np.array(["a", "a", "b", *draw(st.lists(st.sampled_from("abc"), **several))])
    sessions = np.array(["1", "2", "1", *draw(st.lists(st.sampled_from("123"), **several))])
    chosen = draw(st.lists(st.integers(0, 6), min_size=len(individuals), max_size=len(individuals)))
    # Two calls of one bird on one day share a recording, the third is in another.
    recording = {}
    groups = []
    for number, key in enumerate(zip(individuals, sessions, strict=True)):
        recording.setdefault(key, []).append(number)
        groups.append(recording[key][(len(recording[key]) - 1) // 2 * 2])
    return DIRECTIONS[chosen], individuals, np.array(groups), sessions


def listed_pairs(items, question, types=None):
    """Return likeness, whether it is the same bird, and both birds of each pair of a question."""
    vectors, individuals, groups, sessions = items
    x = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = []
    for one, two in combinations(range(len(x)), 2):
        same = individuals[one] == individuals[two]
        same_day = sessions[one] == sessions[two]
        if (
            groups[one] == groups[two]
            or (types is not None and types[one] != types[two])
            or (question == "within" and not same_day)
            or (question == "across" and same and same_day)
        ):
            continue
        found.append((round(x[one] @ x[two], 9), same, individuals[one], individuals[two]))
    return found


def crossing(likeness, same):
    """Return the error at which two straight-line curves of error rates cross, by root finding."""
    levels = [np.inf, *np.unique(likeness)[::-1]]
    accept = np.array([np.mean(likeness[~same] >= level) for level in levels])
    reject = np.array([np.mean(likeness[same] < level) for level in levels])
    at = np.arange(len(levels))
    place = brentq(
        lambda t: np.interp(t, at, accept) - np.interp(t, at, reject), 0, len(levels) - 1
    )
    return np.interp(place, at, accept)


@settings(max_examples=15)
@given(tied_calls())
def test_every_question_is_that_of_listed_pairs(items):
    vectors, individuals, groups, sessions = items
    found = verification(vectors, individuals, groups, sessions, n_permutations=5)
    for question, comparison in (
        ("overall", found.overall),
        ("within", found.within_sessions),
        ("across", found.across_sessions),
    ):
        pairs = listed_pairs(items, question)
        likeness, same = np.array([pair[0] for pair in pairs]), [pair[1] for pair in pairs]
        same = np.array(same, bool)
        birds_of = [
            np.array([bird in pair[2:] for pair in pairs], bool) for bird in set(individuals)
        ]
        if not any(len(set(same[own])) == 2 for own in birds_of):
            assert comparison is None
            continue
        assert comparison is not None
        assert comparison.roc_auc == pytest.approx(roc_auc_score(same, likeness))
        assert comparison.equal_error_rate == pytest.approx(crossing(likeness, same), abs=1e-6)
        assert comparison.n_same_pairs == same.sum()
        assert comparison.n_different_pairs == (~same).sum()
        areas = []
        for bird in np.unique(individuals):
            own = np.array([bird in pair[2:] for pair in pairs])
            if len(set(same[own])) == 2:
                areas.append(roc_auc_score(same[own], likeness[own]))
        assert [one.roc_auc for one in comparison.individuals] == pytest.approx(areas)
        assert comparison.pooled_roc_auc == pytest.approx(np.mean(areas))


def test_where_nobody_has_both_kinds_of_pairs_nothing_is_compared():
    # Within sessions c has its same pair alone, a and b only each other.
    sessions = ["1", "2", "1", "3", "3", "3"]
    found = verification(
        np.eye(6), list("aabccc"), np.array([0, 1, 2, 3, 3, 5]), sessions, n_permutations=0
    )
    assert found.within_sessions is None
    assert found.overall.p_value is None


def numbers_of(found):
    """All numbers of a result, in an order that names do not change."""
    numbers = []
    for one in (found.overall, found.within_sessions, found.across_sessions):
        numbers += [one.roc_auc, one.equal_error_rate, one.pooled_roc_auc, one.p_value or -1]
        numbers += [*one.false_accept, *one.false_reject]
        numbers += sorted(bird.roc_auc for bird in one.individuals)
    return numbers


def test_order_and_names_change_nothing(rng):
    vectors, individuals, groups, sessions = birds(rng, n_calls=6)

    def numbers(order, names):
        chosen = vectors[order], names[order], groups[order], sessions[order]
        return numbers_of(verification(*chosen, n_permutations=50))

    as_they_are = np.arange(len(vectors))
    before = numbers(as_they_are, individuals)
    assert numbers(rng.permutation(as_they_are), individuals) == pytest.approx(before, abs=1e-12)
    new_names = np.array([f"{9 - int(name[-1])}" for name in individuals])
    assert numbers(as_they_are, new_names) == pytest.approx(before, abs=1e-12)


def test_a_microphone_helps_within_a_day_and_not_across(rng):
    """Birds that differ by nothing but the day of recording are known on that day only."""
    found = verification(*birds(rng, n_birds=6, n_calls=6, voice=0, day=3), n_permutations=99)
    assert found.within_sessions is not None
    assert found.across_sessions is not None
    assert found.within_sessions.pooled_roc_auc > 0.9
    assert found.across_sessions.pooled_roc_auc == pytest.approx(0.5, abs=0.1)
    assert found.across_sessions.p_value is not None
    assert found.across_sessions.p_value > 0.05
    assert found.within_sessions.p_value is None
    assert found.overall.n_sessions == 3
    assert {one.n_sessions for one in found.overall.individuals} == {3}


def test_few_birds_get_a_p_value_and_many_an_interval(rng):
    few = verification(*birds(rng, n_birds=4, n_days=4, voice=2), n_permutations=199)
    assert few.across_sessions is not None
    assert few.across_sessions.interval is None
    assert few.across_sessions.p_value == pytest.approx(1 / 200)
    assert few.across_sessions.note == "4 individuals with same pairs: too few for an interval"

    many = verification(*birds(rng, n_birds=12, voice=2)).across_sessions
    assert many is not None
    assert many.interval is not None
    assert many.interval.low <= many.pooled_roc_auc <= many.interval.high
    assert many.interval.n_groups == 12
    assert (many.p_value, many.note) == (None, "")


def test_p_is_even_where_there_is_no_identity(rng):
    """Under chance, p at most 0.2 comes about in a fifth of all cases, days being alike."""
    values = []
    for seed in range(40):  # the same 19 permutations each time would not be even
        items = birds(rng, n_birds=3, n_days=3, n_calls=3, voice=0, day=2)
        across = verification(*items, seed=seed, n_permutations=19).across_sessions
        assert across is not None
        values.append(across.p_value)
    assert 0.05 < np.mean(np.array(values) <= 0.2) < 0.35


def test_pairs_within_one_type_only(rng):
    items = birds(rng, n_calls=6)
    types = np.array(["song", "call", "call"] * 24)
    found = verification(*items, types=types, n_permutations=9)
    pairs = listed_pairs(items, "overall", types)
    assert found.overall.n_same_pairs + found.overall.n_different_pairs == len(pairs)
    expected = roc_auc_score([pair[1] for pair in pairs], [pair[0] for pair in pairs])
    assert found.overall.roc_auc == pytest.approx(expected)


def test_few_points_keep_the_course_of_a_long_curve(rng):
    items = birds(rng, n_birds=10, n_calls=5)
    found = verification(*items).overall
    pairs = listed_pairs(items, "overall")
    likeness = np.array([pair[0] for pair in pairs])
    same = np.array([pair[1] for pair in pairs])
    assert len(found.false_accept) <= 200
    assert (found.false_accept[0], found.false_reject[0]) == (0, 1)
    assert (found.false_accept[-1], found.false_reject[-1]) == (1, 0)
    for level in np.quantile(likeness, np.linspace(0.01, 0.99, 25)):
        accept, reject = np.mean(likeness[~same] >= level), np.mean(likeness[same] < level)
        assert np.interp(accept, found.false_accept, found.false_reject) == pytest.approx(
            reject, abs=0.03
        )


def test_too_many_items_are_thinned_evenly(rng, monkeypatch):
    monkeypatch.setattr(room, "MOST_ITEMS", 60)
    monkeypatch.setattr(room, "MOST_BLOCKS", 9)
    found = verification(*birds(rng, n_birds=5, n_days=4, n_calls=10, voice=2), n_permutations=99)
    assert (found.n_items, found.n_left_out) == (60, 140)
    assert {one.n_items for one in found.overall.individuals} == {12}
    assert found.overall.p_value is not None
    assert found.overall.pooled_roc_auc > 0.8


def test_what_cannot_be_judged_is_refused(rng):
    vectors, individuals, groups, sessions = birds(rng)
    with pytest.raises(ValueError, match="no label occurs in two groups"):
        verification(vectors, individuals, np.unique(individuals, return_inverse=True)[1])
    with pytest.raises(ValueError, match="likeness cannot be judged"):
        verification(vectors, ["one bird"] * len(vectors), groups)
    with pytest.raises(ValueError, match="1 sessions for 48 vectors"):
        verification(vectors, individuals, groups, sessions[:1])
    found = verification(vectors, individuals, groups, n_permutations=9)
    assert found.within_sessions is None
    assert found.across_sessions is None


def test_known_birds_are_named_across_days(rng):
    vectors, individuals, _, sessions = birds(rng, voice=3)
    days = np.unique(np.char.add(individuals, sessions), return_inverse=True)[1]
    assert nearest_neighbour_labels(vectors, individuals, days).accuracy > 0.9
