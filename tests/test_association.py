"""The statistics of joined logs, held against loops, closed forms and drawn truth."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from oscine.behaviour import ratios, tables
from oscine.behaviour.association import associate
from oscine.behaviour.columns import behaviour_column, shuffled
from oscine.behaviour.context import HOUR, in_context
from oscine.behaviour.neighbourhood import agreement
from oscine.behaviour.sessions import Held, Session, overlaps
from oscine.behaviour.shifts import (
    LEAST_POOL,
    Track,
    draw_shifts,
    false_discovery,
    in_order,
    sums_by_type,
)
from oscine.synth_log import Tie, TruthConfig, draw_truth

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
NOTHING = np.zeros((0, 2), np.int64)


def session(number=0, *, duration_ms=HOUR_MS, starts=(), lengths=300, kinds=0, site="", **more):
    starts = np.sort(np.array(starts, np.int64))
    begin = number * DAY_MS
    values = {
        "name": f"session {number}",
        "site": site,
        "duration_ms": duration_ms,
        "segments": np.array([[begin, begin + duration_ms]]),
        "is_dated": False,
        "calls": np.arange(len(starts)) + 10_000 * number,
        "starts": starts,
        "lengths": np.broadcast_to(np.array(lengths, np.int64), starts.shape),
        "sound_types": np.broadcast_to(np.array(kinds, np.int64), starts.shape),
        "behaviours": {},
    }
    return Session(**(values | more))


def spans(*pairs):
    return np.array(pairs, np.int64).reshape(-1, 2)


def bouts(rng, duration_ms=HOUR_MS, n=8):
    return np.sort(rng.choice(duration_ms, 2 * n, replace=False)).reshape(-1, 2).astype(np.int64)


def untied(seed, n_sessions=6, n_calls=30, n_types=3, duration_ms=HOUR_MS):
    """Sessions in which nothing goes with anything; calls come in runs of three."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n_sessions):
        begins = rng.integers(0, duration_ms, n_calls // 3)
        starts = (begins[:, None] + np.array([0, 4000, 9000])).ravel() % duration_ms
        made.append(
            session(
                number,
                duration_ms=duration_ms,
                starts=starts,
                kinds=rng.integers(0, n_types, len(starts)),
                behaviours={"forages": bouts(rng), "sings": bouts(rng, n=5)},
            )
        )
    return made


def tied(rng, number, n_calls=40, share_on=0.8, **more):
    """A session in which most calls of type 0 fall into a behaviour; those of type 1 do not."""
    on = bouts(rng)
    within = np.concatenate([np.arange(a, b, 1000) for a, b in on])
    n_on = round(share_on * n_calls)
    starts = np.concatenate(
        [rng.choice(within, n_on), rng.integers(0, HOUR_MS, 2 * n_calls - n_on)]
    )
    kinds = np.repeat([0, 1], n_calls)
    order = np.argsort(starts, kind="stable")
    return session(number, starts=starts, kinds=kinds[order], behaviours={"forages": on}, **more)


# --- Arrangements ---------------------------------------------------------------------------------


@st.composite
def small_sessions(draw):
    duration = draw(st.integers(5, 40))
    edges = sorted(draw(st.sets(st.integers(0, duration), max_size=8)))
    edges = edges[: len(edges) // 2 * 2]
    n = draw(st.integers(1, 6))
    starts = sorted(draw(st.lists(st.integers(0, duration - 1), min_size=n, max_size=n)))
    lengths = draw(st.lists(st.integers(1, duration), min_size=n, max_size=n))
    kinds = draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n))
    return session(
        duration_ms=duration,
        starts=starts,
        lengths=lengths,
        kinds=kinds,
        behaviours={"b": spans(*edges)},
    )


def shares_time(one, number, shift):
    """Whether a call, moved and wrapped, shares a millisecond with the behaviour: by a loop."""
    start, length = int(one.starts[number]), int(one.lengths[number])
    length = min(length, one.duration_ms - start)  # nobody watched what hangs over
    on = {ms for a, b in one.behaviours["b"].tolist() for ms in range(a, b)}
    return any((start + shift + ms) % one.duration_ms in on for ms in range(length))


@settings(max_examples=60, deadline=None)
@given(small_sessions())
def test_calls_moved_over_the_end_go_on_at_the_beginning(one):
    types = np.array([0, 2])
    every = np.arange(one.duration_ms)
    track = Track(spans=one.behaviours["b"])
    found, expected, n_calls = sums_by_type(one, track, every, types)
    wanted = [
        [
            sum(shares_time(one, i, shift) for i in np.flatnonzero(one.sound_types == kind))
            for shift in every
        ]
        for kind in types
    ]
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(expected, np.mean(wanted, axis=1))
    np.testing.assert_array_equal(n_calls, [(one.sound_types == kind).sum() for kind in types])


@settings(max_examples=40, deadline=None)
@given(small_sessions())
def test_a_behaviour_is_like_itself_moved_as_its_correlation_says(one):
    is_on = np.zeros(one.duration_ms)
    for start, stop in one.behaviours["b"]:
        is_on[start:stop] = 1
    echo = Track(spans=one.behaviours["b"]).echo(np.arange(one.duration_ms), one.duration_ms)
    if 0 < is_on.mean() < 1:
        wanted = [np.corrcoef(is_on, np.roll(is_on, n))[0, 1] for n in range(one.duration_ms)]
        np.testing.assert_allclose(echo, wanted, atol=1e-12)
    else:
        assert not echo.any()


def test_what_holds_when_a_call_begins_counts_and_nothing_counts_as_0():
    track = Track(spans=spans(10, 20, 20, 25, 30, 40), values=np.array([1.0, -2.0, 4.0]))
    found = track.at(np.array([9, 10, 19, 20, 24, 25, 29, 30, 39, 40]), np.array(5), 50)
    np.testing.assert_array_equal(found, [0, 1, 1, -2, -2, 0, 0, 4, 4, 0])
    np.testing.assert_allclose(track.mean(np.array([5, 1]), 50), (10 - 10 + 40) / 50)


def test_many_calls_share_pools_of_shifts_and_what_was_seen_is_among_them(monkeypatch):
    monkeypatch.setattr("oscine.behaviour.shifts.MOST_LOOKED_UP", 1000)
    shifts = draw_shifts(untied(0), 999, 0, 2)
    for pool, pick in zip(shifts.pools, shifts.picks, strict=True):
        assert (len(pool), len(pick)) == (LEAST_POOL, 1000)
        assert pool[0] == pick[0] == 0
        assert np.unique(pick).size > LEAST_POOL / 2
    alone = draw_shifts(untied(0)[:1], 999, 0, 2)
    assert len(alone.pools[0]) == 1000


@pytest.mark.parametrize("is_pooled", [False, True])
def test_p_is_uniform_where_nothing_goes_with_anything(is_pooled, monkeypatch):
    if is_pooled:
        monkeypatch.setattr("oscine.behaviour.shifts.MOST_LOOKED_UP", 1)
        monkeypatch.setattr("oscine.behaviour.shifts.LEAST_POOL", 40)
    p, odds_p = [], []
    for seed in range(40):
        for pair in associate(untied(seed), n_permutations=99, seed=seed).pairs:
            p.append(pair.p)
            odds_p.append(pair.odds_p)
    for each in (p, odds_p):
        assert len(each) == 240
        # Pairs of one run depend on each other a little: wide bounds, that a wrong null breaks.
        assert stats.kstest(each, "uniform").statistic < 0.12
        assert np.mean(np.array(each) <= 0.05) < 0.1


def test_whole_sessions_are_shuffled_within_their_site_and_p_is_that_of_all_rearrangements():
    rng = np.random.default_rng(3)
    levels = [1, 0, 1, 0, 0, 1, 1, 0, 0]
    made = [
        session(
            number,
            starts=rng.integers(0, HOUR_MS, 12 + 25 * on),
            kinds=0,
            site="north" if number < 5 else "south",
            behaviours={"rains": spans(0, HOUR_MS) if on else NOTHING},
        )
        for number, on in enumerate(levels)
    ]
    (pair,) = associate(made, n_permutations=9_999).pairs
    assert pair.test == "shuffled sessions"
    counts = np.array([len(one.calls) for one in made])
    residual = np.concatenate([c - c.mean() for c in (counts[:5], counts[5:])])
    every = [
        abs(residual[[*north, *(5 + np.array(south))]].sum())
        for north in itertools.combinations(range(5), 2)
        for south in itertools.combinations(range(4), 2)
    ]
    seen = abs(residual[np.array(levels) == 1].sum())
    exact = np.mean(np.array(every) >= seen - 1e-9)
    assert pair.p == pytest.approx(exact, abs=4 * math.sqrt(exact / 9_999) + 2e-4)
    # By chance, the calls of a site are during the rain as much of the time as it rains there.
    assert pair.expected == pytest.approx(counts[:5].sum() * 2 / 5 + counts[5:].sum() * 2 / 4)
    assert pair.n_together == counts[np.array(levels) == 1].sum()


def test_shuffles_give_every_session_each_level_as_often():
    made = [
        session(n, starts=[5], behaviours={"b": spans(0, 1 + n * HOUR_MS // 6)}) for n in range(5)
    ]
    column = behaviour_column("b", made, 0.05)
    n_calls = np.eye(5, dtype=np.int64)  # type k calls in session k alone
    by_time, _ = shuffled(column, n_calls, np.ones(5, np.int64), 4_000, 0)
    given = by_time.deviation[:, 1:] + column.levels.mean()
    assert np.allclose(by_time.deviation[:, 0] + column.levels.mean(), column.levels)
    for level in column.levels:
        np.testing.assert_allclose(np.isclose(given, level).mean(axis=1), 0.2, atol=0.03)


# --- Invariances ----------------------------------------------------------------------------------


def numbers(association):
    """All that a pair says but its names."""
    rows = {}
    for pair in association.pairs:
        values = [getattr(pair, name) for name in pair.__slots__]
        rows[pair.sound_type, pair.behaviour] = [
            value for value in values if value is None or isinstance(value, int | float)
        ][1:]
    return rows


def test_neither_the_order_of_sessions_nor_that_of_calls_at_one_time_nor_names_matter():
    made = untied(1)
    wanted = numbers(associate(made, n_permutations=99))
    assert numbers(associate(made[::-1], n_permutations=99)) == wanted
    again = []
    for one in made:
        order = np.lexsort((np.random.default_rng(0).random(len(one.starts)), one.starts))
        again.append(
            replace(one, name=f"x{one.name}", sound_types=one.sound_types[order], calls=one.calls)
        )
    assert numbers(associate(again, n_permutations=99)) == wanted
    renamed = [
        replace(
            one,
            sound_types=np.array([7, 3, 5])[one.sound_types],
            behaviours={f"to {name}": value for name, value in reversed(one.behaviours.items())},
        )
        for one in made
    ]
    found = numbers(associate(renamed, n_permutations=99))
    for (kind, name), values in wanted.items():
        assert found[(7, 3, 5)[kind], f"to {name}"] == pytest.approx(values)
    assert in_order(made[::-1]) == made


def test_a_session_in_which_nobody_watched_for_a_behaviour_does_not_count():
    made = untied(2)
    other = replace(untied(3)[0], name="other", behaviours={"sings": NOTHING})
    other = replace(other, segments=other.segments + 9 * DAY_MS, calls=other.calls + 10**6)
    with_it = associate([*made, other], n_permutations=99).pairs
    for one, two in zip(with_it, associate(made, n_permutations=99).pairs, strict=True):
        if one.behaviour == "forages":
            assert (one.n_sessions, one.n_calls, one.p) == (6, two.n_calls, two.p)
        else:
            assert one.n_sessions == 7
            assert one.n_calls > two.n_calls
            assert one.p == two.p  # never on there: nothing to compare
            assert one.rate_ratio == pytest.approx(two.rate_ratio)


# --- What is tested -------------------------------------------------------------------------------


def test_q_is_that_of_benjamini_and_hochberg_over_the_tested_pairs_alone():
    made = untied(4)
    made[0] = replace(made[0], behaviours={**made[0].behaviours, "naps": NOTHING})
    pairs = associate(made, n_permutations=99).pairs
    tested = [pair for pair in pairs if pair.test != "not tested"]
    assert 0 < len(tested) < len(pairs)
    q = stats.false_discovery_control([pair.p for pair in tested])
    np.testing.assert_allclose([pair.q for pair in tested], q)
    odds_q = stats.false_discovery_control([pair.odds_p for pair in tested])
    np.testing.assert_allclose([pair.odds_q for pair in tested], odds_q)
    for pair in pairs:
        if pair.test == "not tested":
            assert pair.p is pair.q is pair.rate_ratio is pair.odds_p is pair.detectable is None
            assert pair.why
    assert np.isnan(false_discovery(np.array([0.1]), np.array([False]))).all()


def why(made, behaviour="forages", kind=0):
    pairs = associate(made, n_permutations=99).pairs
    (pair,) = [one for one in pairs if (one.behaviour, one.sound_type) == (behaviour, kind)]
    assert (pair.test == "not tested") == bool(pair.why)
    return pair.why, pair.odds_why


def test_each_thing_that_cannot_be_said_has_its_reason_in_numbers():
    made = untied(5)

    def watched(*each):
        return [
            replace(one, behaviours={"forages": on})
            for one, on in zip(made, itertools.cycle(each), strict=False)
        ]

    assert why(made) == ("", "")
    assert why(watched(NOTHING))[0] == "never seen in 6 h"
    assert why(watched(spans(0, HOUR_MS)))[0] == "on for all of 6 h"
    half = spans(HOUR_MS // 2, HOUR_MS)
    reason = why(watched(half))[0]
    assert "changes 6 times within sessions (10 needed)" in reason
    assert "rearranged in 1 ways, so that p cannot be less than 1" in reason
    assert why(watched(spans(0, HOUR_MS), NOTHING))[0] == ""  # 20 ways
    assert "in 3 ways" in why(watched(spans(0, HOUR_MS), NOTHING)[:3])[0]
    few = [replace(one, sound_types=one.sound_types.copy()) for one in made]
    for one in few:
        one.sound_types[one.sound_types == 0] = 1
    few[0].sound_types[:4] = 0
    assert why(few)[0] == "4 calls of the type in sessions that can be compared (5 needed)"
    rare = [spans(*range(1000 * n, 1000 * n + 40 * 3, 20)) for n in range(1, 7)]
    reason = why(watched(*rare))[0]
    assert "are expected during the behaviour by chance (1 needed)" in reason
    alone = [replace(one, sound_types=np.zeros_like(one.sound_types)) for one in made]
    assert why(alone) == ("", "0 other calls in sessions that can be compared (5 needed)")


def test_notes_say_when_calls_count_twice_and_when_a_behaviour_seldom_changes():
    made = untied(6)
    assert associate(made, n_permutations=199).notes == ()
    twice = [*made, replace(made[0], name="the same again")]
    (note,) = associate(twice, n_permutations=199).notes
    assert f"{len(made[0].calls)} calls lie in more than one session" in note
    assert associate(made).n_permutations == 999
    assert associate([], n_permutations=19).pairs == []
    seldom = [replace(one, behaviours={"forages": spans(0, HOUR_MS // 2)}) for one in untied(0, 12)]
    (note,) = associate(seldom, n_permutations=199).notes
    assert note.startswith("'forages' changes 1 times in a session")


# --- How strong -----------------------------------------------------------------------------------


def test_the_rate_ratio_is_the_maximum_of_the_conditional_likelihood():
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = rng.integers(1, 40, 5).astype(float)
        share = rng.uniform(0.05, 0.9, 5)
        together = np.floor(n * rng.uniform(0.2, 0.8, 5))
        if not 0 < together.sum() < n.sum():
            continue

        def deviance(log_ratio, n=n, share=share, together=together):
            chance = ratios.shares(share, log_ratio)
            return -(together @ np.log(chance) + (n - together) @ np.log1p(-chance))

        wanted = optimize.minimize_scalar(deviance, bracket=(-1, 1), tol=1e-10).x
        found = ratios.rate_ratio(n, share, together.sum(), 0.0)
        assert np.log(found) == pytest.approx(wanted, abs=1e-5)
    one = ratios.rate_ratio(np.array([50.0]), np.array([0.2]), 30.0, 0.0)
    assert one == pytest.approx((30 / 20) / (0.2 / 0.8))


@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0.01, 0.97)), min_size=1, max_size=6),
    st.floats(0, 1),
    st.floats(0.1, 20),
)
def test_the_ratio_is_on_the_side_of_1_that_the_calls_are_on_and_nearer(strata, part, dispersion):
    n, share = np.array(strata, dtype=float).T
    together = np.floor(part * n.sum())
    drawn = ratios.rate_ratio(n, share, together, dispersion)
    plain = ratios.rate_ratio(n, share, together, 0.0)
    assert min(1.0, plain) - 1e-6 <= drawn <= max(1.0, plain) + 1e-6
    assert 0 < drawn < np.inf
    if together == n @ share:
        assert drawn == pytest.approx(1)


def test_being_drawn_towards_1_weighs_one_call():
    # Half of the time, in one stratum: as half a call more with the behaviour, and half without.
    ratio = ratios.rate_ratio(np.array([9.0]), np.array([0.5]), 8.0, 1.0)
    assert ratio == pytest.approx(8.5 / 1.5)
    none = ratios.rate_ratio(np.array([30.0]), np.array([0.04]), 0.0, 2.4)
    assert 0.2 < none < 1  # none of 1.2 expected is fewer, however few that is


def test_the_ratio_stays_finite_and_the_interval_around_it():
    n, share = np.array([12.0, 9.0]), np.array([0.3, 0.5])
    for together in (0.0, 1.0, 10.0, 20.0, 21.0):
        for dispersion in (0.7, 3.0):
            ratio = ratios.rate_ratio(n, share, together, dispersion)
            low, high = ratios.rate_interval(n, share, together, dispersion, 12.0)
            assert low < ratio < high
            assert 0 < ratio < np.inf
            assert (low == 0) == (together == 0)
            assert (high == np.inf) == (together == 21)
            if 0 < together < 21:
                for bound in (low, high):
                    chance = ratios.shares(share, np.log(bound))
                    spread = np.sqrt(dispersion * (n @ (chance * (1 - chance))))
                    distance = abs(together - n @ chance) / spread
                    assert distance == pytest.approx(stats.t.ppf(0.975, 12))


def test_the_odds_ratio_of_one_table_is_that_of_its_cells():
    cells = np.array([[20.0], [30.0], [15.0], [60.0]])
    # With no dispersion but that of independent calls, and many degrees of freedom.
    n, during, of_type = 125, 50.0, 35.0
    variance = of_type * (n - of_type) * during * (n - during) / (n**2 * (n - 1))
    found = ratios.odds_ratio(cells, np.array([during]), variance, 0.0, ratios.MOST_TURNOVER)
    ratio = 20 * 60 / (30 * 15)
    assert found[0] == pytest.approx(ratio)
    free = ratios.MOST_TURNOVER - 1
    width = stats.t.ppf(0.975, free) * np.sqrt(
        ratios.MOST_TURNOVER / free * (1 / 20 + 1 / 30 + 1 / 15 + 1 / 60)
    )
    assert found[1:] == pytest.approx((ratio * np.exp(-width), ratio * np.exp(width)))
    none = ratios.odds_ratio(cells * [[0], [1], [1], [1]], np.array([40.0]), 5.0, 0.0, 8.0)
    assert 0 < none[0] < 1
    assert none[1] < none[0] < none[2] < np.inf


def test_a_tie_is_found_with_its_ratio_and_what_it_rests_on():
    rng = np.random.default_rng(0)
    made = [tied(rng, number) for number in range(8)]
    association = associate(made, n_permutations=199)
    first, second = association.pairs
    assert first.q <= 0.05 < second.q
    assert first.odds_q <= 0.05
    assert first.low > 1
    assert second.low < 1 < second.high
    assert first.detectable < first.rate_ratio
    assert not first.rests_on_one
    assert association.n_found == 1
    counts = [
        sum(
            any(start < b and start + 300 > a for a, b in one.behaviours["forages"].tolist())
            for start in one.starts[one.sound_types == 0].tolist()
        )
        for one in made
    ]
    assert first.n_together == sum(counts)
    assert first.share_of_one_session == pytest.approx(max(counts) / sum(counts))
    on = sum((one.behaviours["forages"] @ [-1, 1]).sum() for one in made) / HOUR_MS
    assert first.hours_on == pytest.approx(on)
    assert first.hours_off == pytest.approx(8 - on)
    assert first.rate_on == pytest.approx(sum(counts) / on)
    left_out = [one for n, one in enumerate(made) if n != int(np.argmax(counts))]
    again = associate(left_out, n_permutations=199).pairs[0]
    assert first.ratio_without_it == pytest.approx(again.rate_ratio, rel=0.1)


def test_what_rests_on_one_subject_or_one_session_says_so():
    rng = np.random.default_rng(1)
    made = [tied(rng, number) for number in range(6)]
    named = []
    for number, one in enumerate(made):
        on = one.behaviours["forages"]
        who = {("forages", "ada"): on, ("forages", "bo"): on[: 4 if number else 8]}
        named.append(replace(one, of_subjects=who | {("forages", "cy"): NOTHING}))
    pair = associate(named, n_permutations=99).pairs[0]
    assert (pair.n_subjects, pair.share_of_one_subject, pair.rests_on_one) == (2, 1.0, True)
    assert associate(made, n_permutations=99).pairs[0].share_of_one_subject is None
    lone = [tied(rng, 0, n_calls=400), *untied(8)[1:4]]
    pair = associate(lone, n_permutations=99).pairs[0]
    assert pair.share_of_one_session > 0.5
    assert pair.rests_on_one


def test_more_sessions_make_less_detectable_and_too_few_permutations_nothing():
    rng = np.random.default_rng(2)
    made = [tied(rng, number, share_on=0.15) for number in range(24)]
    few, many = (associate(made[:n], n_permutations=199).pairs[1] for n in (6, 24))
    assert 1 < many.detectable < few.detectable
    assert 1 > many.detectable_below > few.detectable_below
    hopeless = associate(made, n_permutations=19).pairs[1]
    assert hopeless.p is not None
    assert hopeless.detectable is hopeless.detectable_below is None


# --- Contexts -------------------------------------------------------------------------------------


def test_a_type_that_comes_when_it_is_warm_stands_there():
    rng = np.random.default_rng(0)
    edges = np.arange(0, HOUR_MS + 1, HOUR_MS // 12)
    pieces = np.stack([edges[:-1], edges[1:]], axis=1)
    made = []
    for number in range(6):
        warmth = rng.normal(-5, 2, 12)
        warm = pieces[np.argsort(warmth)[-4:]]
        starts = np.concatenate(
            [rng.integers(*warm[n % 4], 1) for n in range(20)] + [rng.integers(0, HOUR_MS, 20)]
        )
        kinds = np.repeat([0, 1], 20)[np.argsort(starts, kind="stable")]
        held = Held(spans=pieces[:11], values=warmth[:11])  # not known at the end
        made.append(session(number, starts=starts, kinds=kinds, contexts={"°C": held}))
    found = in_context(made, n_permutations=199)
    warm, other = found.standings
    assert (warm.context, warm.test, warm.n_sessions) == ("°C", "shifts within sessions", 6)
    assert warm.hours == pytest.approx(5.5)
    assert warm.q <= 0.05 < other.q
    assert warm.from_calls_q <= 0.05
    assert warm.low > 0.5
    assert other.low < 0 < other.high
    values = [
        one.contexts["°C"].values[np.searchsorted(edges, start, side="right") - 1]
        for one in made
        for start in one.starts[one.sound_types == 0]
        if start < edges[11]
    ]
    assert warm.n_calls == len(values)
    assert warm.mean_at_calls == pytest.approx(np.mean(values))
    every = np.concatenate([one.contexts["°C"].values for one in made])
    assert warm.mean_over_effort == pytest.approx(every.mean())
    assert warm.deviation == pytest.approx(every.std())


def test_a_context_that_holds_for_whole_sessions_is_shuffled_or_not_tested():
    rng = np.random.default_rng(1)
    made = [
        session(
            number,
            starts=rng.integers(0, HOUR_MS, 5 + 4 * number),
            contexts={"group": Held(spans=spans(0, HOUR_MS), values=np.array([float(number)]))},
        )
        for number in range(7)
    ]
    (one,) = in_context(made, n_permutations=999).standings
    assert one.test == "shuffled sessions"
    assert one.p < 0.01
    n = np.array([len(each.calls) for each in made])
    assert one.difference == pytest.approx(n @ np.arange(7) / n.sum() - 3)
    assert one.from_calls_why == "it is known at 0 other calls (5 needed)"
    (few,) = in_context(made[:3], n_permutations=999).standings
    assert few.test == "not tested"
    assert "3 sessions can be rearranged in 6 ways" in few.why
    (flat,) = in_context(made[:1], n_permutations=99).standings
    assert flat.why == "the same throughout"


def test_hours_have_no_jump_at_midnight_and_are_local():
    rng = np.random.default_rng(2)
    begin = 23 * HOUR_MS
    made = [
        session(
            number,
            duration_ms=2 * HOUR_MS,
            starts=rng.integers(0, HOUR_MS // 2, 20),  # the first half hour alone
            is_dated=True,
            segments=spans(begin + number * DAY_MS, begin + number * DAY_MS + 2 * HOUR_MS),
        )
        for number in range(12)
    ]
    (one,) = in_context(made, n_permutations=199).standings
    assert one.context == HOUR
    assert one.mean_over_effort % 24 == pytest.approx(0, abs=1e-6)
    assert one.mean_at_calls == pytest.approx(23.25, abs=0.05)
    assert one.difference == pytest.approx(-0.75, abs=0.05)
    assert one.p == 1 / 200
    (local,) = in_context(made, n_permutations=199, utc_offset_min=-90).standings
    assert local.mean_at_calls == pytest.approx(21.75, abs=0.05)
    assert local.difference == pytest.approx(one.difference)
    by_name = {each.name: -90.0 for each in made}
    assert in_context(made, n_permutations=199, utc_offset_min=by_name).standings == [local]


# --- Neighbours -----------------------------------------------------------------------------------


def by_loops(made, calls, neighbours, behaviour, n_permutations, seed):
    """The statistic in each arrangement, pair by pair."""
    made = in_order(made)
    names = sorted({name for one in made for name in one.behaviours})
    shifts = draw_shifts(made, n_permutations, seed, len(names))
    values = []
    for arrangement in range(1 + n_permutations):
        centred, home = {}, {}
        for number, one in enumerate(made):
            shift = shifts.pools[number][shifts.picks[number][arrangement]]
            track = Track(spans=one.behaviours[behaviour])
            moved = (one.starts + shift) % one.duration_ms
            lengths = np.minimum(one.lengths, one.duration_ms - one.starts)
            on = track.at(moved, lengths, one.duration_ms).astype(float)
            for call, value in zip(one.calls.tolist(), on - on.mean(), strict=True):
                centred[call], home[call] = value, number
        values.append(
            sum(
                centred[call] * centred[calls[row]]
                for call, rows in zip(calls.tolist(), neighbours.tolist(), strict=True)
                for row in rows
                if row >= 0 and home[call] != home[calls[row]]
            )
        )
    return np.array(values)


def test_agreement_of_neighbours_is_that_of_a_loop_over_pairs(monkeypatch):
    monkeypatch.setattr("oscine.behaviour.neighbourhood.HELD_AT_A_TIME", 1000)
    made = untied(7, n_sessions=3, n_calls=18)
    calls = np.random.default_rng(0).permutation(np.concatenate([one.calls for one in made]))
    neighbours = np.random.default_rng(1).integers(-1, len(calls), (len(calls), 4))
    found = agreement(made, calls, neighbours, n_permutations=49, seed=3)
    overall = 0
    for one in found.likenesses:
        values = by_loops(made, calls, neighbours, one.behaviour, 49, 3)
        assert one.p == pytest.approx(np.mean(values >= values[0] - 1e-9))
        on = {}
        for each in made:
            stops = each.starts + each.lengths
            is_on = overlaps(each.starts, stops, each.behaviours[one.behaviour])
            rows = zip(each.calls.tolist(), is_on, strict=True)
            on |= {call: (flag, is_on.mean(), each.name) for call, flag in rows}
        pairs = [
            (on[call], on[calls[row]])
            for call, rows in zip(calls.tolist(), neighbours.tolist(), strict=True)
            for row in rows
            if row >= 0 and on[call][2] != on[calls[row]][2]
        ]
        assert one.n_pairs == len(pairs)
        assert one.both == pytest.approx(np.mean([a[0] * b[0] for a, b in pairs]))
        assert one.by_chance == pytest.approx(np.mean([a[1] * b[1] for a, b in pairs]))
        overall = overall + (values - values.mean()) / values.std()
    assert found.p == pytest.approx(np.mean(overall >= overall[0] - 1e-9))
    q = stats.false_discovery_control([one.p for one in found.likenesses])
    np.testing.assert_allclose([one.q for one in found.likenesses], q)
    assert found.n_within + found.likenesses[0].n_pairs == (neighbours >= 0).sum()


def test_neighbours_that_share_a_behaviour_agree_and_any_others_do_not():
    rng = np.random.default_rng(0)
    made = [tied(rng, number) for number in range(5)]
    calls = np.concatenate([one.calls for one in made])
    kinds = np.concatenate([one.sound_types for one in made])
    home = np.repeat(np.arange(5), [len(one.calls) for one in made])

    def neighbours(is_alike):
        choice = [
            np.flatnonzero((home != home[n]) & (is_alike[n] == is_alike)) for n in range(len(home))
        ]
        return np.stack([rng.choice(each, 5) for each in choice])

    (alike,) = agreement(made, calls, neighbours(kinds), n_permutations=199).likenesses
    assert alike.p == 1 / 200
    assert alike.times_chance > 1.05
    (other,) = agreement(
        made, calls, neighbours(np.zeros(len(home))), n_permutations=199
    ).likenesses
    assert other.p > 0.05
    assert other.times_chance == pytest.approx(1, abs=0.15)


def test_neighbours_that_say_nothing_say_why_and_wrong_ones_are_refused():
    made = untied(9, n_sessions=2)
    calls = np.concatenate([one.calls for one in made])
    none = np.full((len(calls), 2), -1)
    found = agreement(made, calls, none, n_permutations=19)
    assert {one.why for one in found.likenesses} == {"0 pairs of neighbours (20 needed)"}
    assert found.p is None
    constant = [replace(one, behaviours={"b": spans(0, HOUR_MS // 2)}) for one in made]
    (one,) = agreement(constant, calls, none, n_permutations=19).likenesses
    assert "changes 2 times within sessions" in one.why
    with pytest.raises(ValueError, match="do not fit 60 calls"):
        agreement(made, calls, none[:3])
    with pytest.raises(ValueError, match="from 0 to 59, or -1"):
        agreement(made, calls, none + 61)


# --- Drawn truth ----------------------------------------------------------------------------------


def test_drawn_tables_are_those_of_a_join_and_the_clock_goes_back():
    config = TruthConfig(n_sessions=2, offset_s=37.0, drift_ppm=50.0)
    truth = draw_truth(config)
    assert truth.calls.schema == dict(tables.CALLS)
    assert truth.observations.schema == dict(tables.OBSERVATIONS)
    assert truth.effort.schema == dict(tables.EFFORT)
    effort = truth.effort.select("start_ms", "stop_ms").to_numpy()
    watched_h = (effort[:, 1] - effort[:, 0]).sum() / HOUR_MS
    assert watched_h == pytest.approx(2 * 0.8, rel=1e-3)
    seen = truth.observations.select("start_ms", "stop_ms").to_numpy()
    assert all(any(a <= start <= stop <= b for a, b in effort) for start, stop in seen)
    back = truth.recorder_ms(truth.markers[:, 1].astype(np.int64))
    assert np.abs(back - truth.markers[:, 0]).max() < 5 * config.marker_sd_ms
    again = draw_truth(replace(config, calls_seed=1))
    assert again.observations.equals(truth.observations)
    assert not again.calls.equals(truth.calls)
    with pytest.raises(ValueError, match="not in the repertoire: moo"):
        TruthConfig(call_types=("moo",))
    with pytest.raises(ValueError, match="a tie names what is not drawn"):
        TruthConfig(ties=(Tie(call_type="dove coo", behaviour="foraging", rate_ratio=2),))


@pytest.mark.parametrize("behaviour", ["foraging", "takes off"])
def test_calls_are_as_many_times_as_frequent_as_a_tie_says(behaviour):
    config = TruthConfig(
        n_sessions=30,
        watched=1.0,
        calls_per_h=200.0,
        calls_per_bout=1.0,
        bias=0.0,
        ties=(Tie(call_type="crow caw", behaviour=behaviour, rate_ratio=3.0),),
    )
    truth = draw_truth(config)
    width = 0 if behaviour == "foraging" else config.tolerance_ms
    rows = truth.observations.filter(behaviour=behaviour)
    seen = rows.select("start_ms", "stop_ms").to_numpy() + np.array([-width, width])
    seen = seen[np.argsort(seen[:, 0])]
    reach = np.maximum.accumulate(seen[:, 1])
    is_first = np.append(True, seen[1:, 0] > reach[:-1])
    on = np.stack([seen[is_first, 0], reach[np.append(is_first[1:], True)]], axis=1)
    calls = truth.calls.filter(sound_type=0).select("start_ms", "stop_ms").to_numpy()
    length = 420
    first = np.searchsorted(on[:, 1], calls[:, 0], side="right")
    begins = np.append(on[:, 0], np.iinfo(np.int64).max)
    n_on = int((begins[first] < calls[:, 1]).sum())
    begins = np.maximum(on[:, 0] - length + 1, np.append(0, on[:-1, 1]))
    share = (on[:, 1] - begins).sum() / (30 * HOUR_MS)
    ratio = n_on / (len(calls) - n_on) / (share / (1 - share))
    assert ratio == pytest.approx(3.0, rel=0.12)
