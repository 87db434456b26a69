"""Clocks of observer and recorder: what markers, activity and the times themselves say of them."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import clock_truth
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from oscine.behaviour.activity_offset import (
    SURROUNDINGS,
    circular_correlograms,
    correlogram,
    offset_from_activity,
)
from oscine.behaviour.clocks import (
    LEAST_SPAN_MS,
    QUARTZ_PPM,
    Clock,
    around,
    corrected,
    disagreements,
    fit_clock,
    length,
    slip,
)
from oscine.behaviour.tables import EFFORT, OBSERVATIONS, empty

START = 1_714_000_000_123
HOUR, DAY = 3_600_000, 86_400_000


def utc(*parts):
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 1000)


def pairs_of(truth, since_ms, *, noise=0.0, seed=0):
    """Times of observer and recorder at these times of the observer's clock."""
    shown = START + np.asarray(since_ms, float)
    late = np.random.default_rng(seed).normal(0, noise, len(shown)) if noise else 0
    return np.rint(shown + late).astype(int), np.rint(shown - truth.ahead_ms(shown)).astype(int)


def seven(**changed):
    """Seven good markers; `changed` adds to the observer's times of single ones."""
    observer, recorder = pairs_of(Clock(offset_ms=5000), np.arange(7) * 400_123, noise=20)
    for pair, by in changed.items():
        observer[int(pair[1:])] += by
    return observer, recorder


def telling(observer, recorder):
    n = len(observer)
    return disagreements(
        observer, recorder, rows=range(2, n + 2), markers=[f"m{pair}" for pair in range(n)]
    )


# Markers


def test_a_constant_offset_has_the_t_interval_of_a_mean():
    observer, recorder = pairs_of(Clock(offset_ms=5000), np.arange(5) * 50_001, noise=20)
    fit = fit_clock(observer, recorder)
    ahead = observer - recorder
    mean, deviation = ahead.mean(), ahead.std(ddof=1)
    low, high = stats.t.interval(0.95, 4, mean, deviation / np.sqrt(5))
    # The span of 200 s is too short for a drift: away from the mean any quartz is reckoned with.
    far = QUARTZ_PPM * 1e-6 * abs(fit.middle.at_ms - observer.mean())
    assert fit.middle.offset_ms == pytest.approx(mean)
    assert fit.middle.interval_ms == pytest.approx((low - far, high + far))
    assert fit.scatter_ms == pytest.approx(deviation)
    assert fit.drift_interval_ppm is None
    assert not fit.has_drift


def test_a_drift_has_the_intervals_of_least_squares():
    truth = Clock(offset_ms=-7000, drift_ppm=40, at_ms=START)
    since = np.array([0, 611_003, 1_503_207, 2_400_001, 3_000_333])
    observer, recorder = pairs_of(truth, since, noise=20)
    log = START - HOUR, START + 2 * HOUR
    fit = fit_clock(observer, recorder, log_ms=log)
    x, y = (observer - observer.mean()).astype(float), (observer - recorder).astype(float)
    line = stats.linregress(x, y)
    t = stats.t.ppf(0.975, 3)
    assert fit.has_drift
    assert fit.drift_ppm == pytest.approx(line.slope * 1e6)
    assert fit.drift_interval_ppm == pytest.approx(
        ((line.slope - t * line.stderr) * 1e6, (line.slope + t * line.stderr) * 1e6)
    )
    for place, at in ((fit.start, log[0]), (fit.stop, log[1])):
        away = at - observer.mean()
        middle = line.intercept + line.slope * away
        half = t * np.hypot(line.intercept_stderr, line.stderr * away)
        assert place.offset_ms == pytest.approx(middle)
        assert place.interval_ms == pytest.approx((middle - half, middle + half))
    assert fit.clock.ahead_ms(log[0]) == pytest.approx(fit.start.offset_ms)
    assert fit.uncertainty_ms == pytest.approx(fit.stop.interval_ms[1] - fit.stop.offset_ms)


@pytest.mark.parametrize("layout", clock_truth.LAYOUTS)
def test_five_markers_good_to_20_ms_give_the_offset_within_50_ms_and_honest_intervals(layout):
    for drift_ppm in clock_truth.DRIFTS_PPM:
        found = clock_truth.markers(layout, drift_ppm, 300, seed=1)
        assert found["within_50_ms_middle"] == 1
        # Of 300 draws at 95 %, fewer than 273 hold in one case of a thousand.
        assert found["interval_holds_middle"] > 0.91
        assert found["interval_holds_worse_end"] > 0.91
        if layout in ("even", "both ends"):
            assert found["within_50_ms_worse_end"] > 0.96


def test_a_drift_that_is_not_told_still_widens_the_interval_at_the_ends():
    observer, recorder = pairs_of(Clock(offset_ms=0), np.arange(5) * 700_001, noise=20, seed=3)
    fit = fit_clock(observer, recorder, log_ms=(START - 3 * HOUR, START))
    assert not fit.has_drift
    assert fit.start.offset_ms == fit.middle.offset_ms
    widths = [np.ptp(place.interval_ms) for place in (fit.middle, fit.start)]
    assert widths[1] > 5 * widths[0]
    assert any("No drift is told" in said for said in fit.words())


def test_markers_near_each_other_tell_no_drift():
    for span in (LEAST_SPAN_MS - 1, LEAST_SPAN_MS):
        truth = Clock(offset_ms=0, drift_ppm=2000, at_ms=START)
        since = np.linspace(0, span, 6)
        assert fit_clock(*pairs_of(truth, since)).has_drift == (span == LEAST_SPAN_MS)


def test_one_marker_gives_an_offset_without_an_interval_and_says_so():
    fit = fit_clock([START + 1234], [START], log_ms=(START, START + HOUR))
    assert fit.clock == Clock(offset_ms=1234, at_ms=START + 1234)
    assert fit.middle.interval_ms is fit.uncertainty_ms is fit.scatter_ms is None
    assert any("without an interval" in said for said in fit.words())


def test_two_and_three_markers_have_intervals():
    for n in (2, 3):
        observer, recorder = pairs_of(Clock(offset_ms=300), np.arange(n) * HOUR, noise=20)
        fit = fit_clock(observer, recorder)
        assert fit.n_pairs == n
        assert fit.left_out == ()
        assert fit.middle.interval_ms[0] < 300 < fit.middle.interval_ms[1]


def test_of_two_that_disagree_neither_is_left_out_but_it_is_said():
    fit = fit_clock([START, START + 60_007], [START, START + 60_007 - HOUR])
    assert fit.left_out == ()
    assert any("scatter" in said for said in fit.words())


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 4 * 10**12), st.integers(0, 4 * 10**12)), min_size=1))
def test_any_pairs_of_times_are_told_of(pairs):
    observer, recorder = np.array(pairs).T
    fit = fit_clock(observer, recorder)
    assert fit.n_pairs - len(fit.left_out) > len(pairs) // 2
    assert fit.words()
    assert len(telling(observer, recorder)) == len(fit.left_out)
    assert corrected(frame_of([0], [0]), fit.clock).height == 1


def test_what_runs_apart_faster_than_clocks_do_is_no_drift():
    observer = START + np.arange(6) * HOUR
    fit = fit_clock(observer, START + np.arange(6) * (HOUR + 90_001))
    assert not fit.has_drift
    assert any("faster than any clock" in said for said in fit.words())


def test_no_marker_and_unpaired_times_are_refused():
    for columns in (([], []), ([1, 2], [1])):
        with pytest.raises(ValueError, match="pairs"):
            fit_clock(*columns)


@pytest.mark.parametrize("n", [3, 4, 5, 8, 20])
def test_a_wrong_pair_is_left_out_and_named(n):
    truth = Clock(offset_ms=2000, drift_ppm=30, at_ms=START)
    observer, recorder = pairs_of(truth, np.linspace(0, 2 * HOUR, n), noise=20, seed=n)
    for wrong in range(n):
        shown = observer.copy()
        shown[wrong] += HOUR
        fit = fit_clock(shown, recorder)
        assert fit.left_out == (wrong,)
        assert abs(fit.middle.offset_ms - truth.ahead_ms(fit.middle.at_ms)) < 60
        assert any(f"marker {wrong + 1} in the order" in said for said in fit.words())


def test_markers_noted_by_hand_are_not_left_out_for_their_scatter():
    n_left_out = sum(
        len(
            fit_clock(
                *pairs_of(Clock(offset_ms=0), np.arange(n) * 500_009, noise=400, seed=seed)
            ).left_out
        )
        for n in (3, 4, 5, 8)
        for seed in range(50)
    )
    assert n_left_out <= 10  # of 1000


def test_a_drift_over_days_hides_no_wrong_pair():
    truth = Clock(offset_ms=2000, drift_ppm=80, at_ms=START)
    observer, recorder = pairs_of(truth, np.arange(12) * DAY, noise=50)
    observer[4] += 8000
    fit = fit_clock(observer, recorder)
    assert fit.left_out == (4,)
    assert fit.drift_ppm == pytest.approx(80, abs=1)


def test_hundreds_of_pairs_with_a_quarter_wrong_are_sorted():
    observer, recorder = pairs_of(Clock(offset_ms=100), np.arange(800) * 60_007, noise=20)
    wrong = np.arange(0, 800, 4)
    observer[wrong] += np.random.default_rng(0).integers(2000, DAY, len(wrong))
    assert fit_clock(observer, recorder).left_out == tuple(wrong)


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (HOUR, "an hour: a time zone or daylight saving"),
        (-2 * HOUR, "2 hours: a time zone"),
        (12 * HOUR, "12 hours: morning for evening"),
        (DAY, "a day"),
        (-3 * DAY, "3 days"),
        (-366 * DAY, "the wrong year"),  # 2024 was a leap year
        (71_000, ""),
    ],
)
def test_a_disagreement_says_row_marker_times_and_what_it_looks_like(by, words):
    observer, recorder = seven(_3=by)
    (found,) = telling(observer, recorder)
    assert (found.row, found.marker) == (5, "m3")
    assert (found.observer_ms, found.recorder_ms) == (observer[3], recorder[3])
    assert found.off_ms == pytest.approx(by, abs=100)
    assert words in found.looks_like
    assert bool(words) == ("looks like" in found.sentence)
    assert ("late" if by > 0 else "early") in found.sentence
    assert length(by) in found.sentence


def test_times_of_two_rows_that_were_swapped_are_told():
    observer, recorder = seven()
    observer[[2, 5]] = observer[[5, 2]]
    assert [found.looks_like for found in telling(observer, recorder)] == [
        "swapped with row 7",
        "swapped with row 4",
    ]


def test_a_time_that_was_copied_from_another_row_is_told():
    observer, recorder = seven()
    observer[2] = observer[5]
    (found,) = telling(observer, recorder)
    assert found.looks_like == "the time of row 7 (marker m5)"


def test_slips_of_the_calendar_are_told():
    assert slip(utc(2024, 4, 5, 10), utc(2024, 5, 4, 10), 1000) == "day and month exchanged"
    assert slip(utc(2024, 3, 5, 10), utc(2024, 4, 5, 10), 1000) == "the wrong month"
    assert slip(utc(2024, 2, 29, 10), utc(2023, 3, 1, 10), 1000) == ""
    assert slip(utc(2024, 4, 5, 10), utc(2024, 4, 5, 10), 1000) == ""


def test_whole_seconds_widen_the_interval_by_half_a_second():
    observer, recorder = seven()
    fine = fit_clock(observer, recorder)
    coarse = fit_clock(observer // 1000 * 1000, recorder)
    assert coarse.resolution_ms == 1000
    assert not coarse.has_drift
    assert np.ptp(coarse.middle.interval_ms) > 1000 > np.ptp(fine.middle.interval_ms)
    assert any("half of it" in said for said in coarse.words())
    assert coarse.middle.interval_ms[0] < 5000 < coarse.middle.interval_ms[1]


# By construction


@pytest.mark.parametrize("by", [0, HOUR])
def test_times_that_agree_to_the_second_in_every_case_say_nothing_of_the_clocks(by):
    recorder = np.cumsum(np.random.default_rng(0).integers(30, 3000, 20)) * 1000 + utc(2024, 4, 25)
    fit = fit_clock(recorder + by, recorder)
    assert fit.is_by_construction
    assert fit.middle.interval_ms is fit.uncertainty_ms is fit.drift_interval_ppm is None
    assert any("to the second in 20 of 20 cases" in said for said in fit.words())


def test_agreement_is_by_construction_only_in_whole_seconds_of_five_or_more():
    seconds = np.arange(5) * 777_000 + utc(2024, 4, 25)
    assert fit_clock(seconds, seconds).is_by_construction
    assert not fit_clock(seconds[:4], seconds[:4]).is_by_construction
    assert not fit_clock(seconds + 123, seconds + 123).is_by_construction
    assert not fit_clock(seconds + 1000 * (np.arange(5) % 2), seconds).is_by_construction


def test_the_sparrow_log_agrees_by_construction_and_five_planted_errors_are_found(
    real_data,
):
    with (real_data / "behaviour/house_sparrow_observations.csv").open(
        encoding="utf-8-sig"
    ) as lines:
        said = {
            row["audio_marker"]: (
                number,
                f"{row['date']} {row['time']:0>6}",
            )
            for number, row in enumerate(csv.DictReader(lines), 2)
            if row["audio_marker"] and row["time"]
        }
    with (real_data / "labels.csv").open(encoding="utf-8") as lines:
        clips = {
            Path(row["path"]).stem: datetime.fromisoformat(row["recorded_at"])
            for row in csv.DictReader(lines)
            if row["path"].startswith("behaviour_house_sparrow")
        }
    markers = [stem.rsplit("_", 1)[0] for stem in clips]
    noted = [datetime.strptime(said[marker][1], "%d.%m.%y %H%M%S") for marker in markers]
    observer, recorder = (
        np.array([utc(*time.timetuple()[:6]) for time in times])
        for times in (noted, clips.values())
    )
    fit = fit_clock(observer, recorder)
    assert len(clips) == 20
    assert fit.is_by_construction
    assert fit.clock.offset_ms == 0
    planted = observer.copy()
    planted[[3, 7]] = planted[[7, 3]]
    planted[[0, 11, 19]] += [HOUR, -DAY, 90_000]
    rows = [said[marker][0] for marker in markers]
    found = disagreements(planted, recorder, rows=rows, markers=markers)
    assert [one.row for one in found] == [rows[pair] for pair in (0, 3, 7, 11, 19)]
    assert [one.looks_like for one in found] == [
        "an hour: a time zone or daylight saving",
        f"swapped with row {rows[7]}",
        f"swapped with row {rows[3]}",
        "a day",
        "",
    ]
    assert fit_clock(planted, recorder).is_by_construction


# Applied

clocks = st.builds(
    Clock,
    offset_ms=st.floats(-1e8, 1e8),
    drift_ppm=st.floats(-5000, 5000),
    at_ms=st.integers(START - DAY, START + DAY),
)


def frame_of(starts, lengths, timeline="site:north"):
    return pl.DataFrame(
        {
            "timeline": [timeline] * len(starts),
            "start_ms": starts,
            "stop_ms": [start + by for start, by in zip(starts, lengths, strict=True)],
        },
        schema={"timeline": pl.String, "start_ms": pl.Int64, "stop_ms": pl.Int64},
    )


@settings(max_examples=50)
@given(
    clock=clocks,
    rows=st.lists(
        st.tuples(st.integers(START - DAY, START + DAY), st.integers(0, HOUR)), max_size=8
    ),
)
def test_what_is_moved_keeps_its_order(clock, rows):
    before = frame_of([start for start, _ in rows], [by for _, by in rows]).sort("start_ms")
    after = corrected(before, clock)
    assert after["start_ms"].is_sorted()
    assert (after["stop_ms"] >= after["start_ms"]).all()
    assert after.schema == before.schema
    for name in ("start_ms", "stop_ms"):
        exact = before[name].to_numpy() - clock.ahead_ms(before[name].to_numpy())
        np.testing.assert_allclose(after[name].to_numpy(), exact, atol=0.501)


def test_nothing_is_moved_unasked_nor_on_a_timeline_of_the_recorder():
    clock = Clock(offset_ms=1000)
    sites, files = frame_of([5000], [10]), frame_of([5000], [10], "file:a")
    assert corrected(sites, None) is sites
    assert corrected(sites, Clock(offset_ms=0)).equals(sites)
    assert corrected(files, clock).equals(files)
    assert corrected(sites, clock).row(0) == ("site:north", 4000, 4010)
    only = corrected(sites, clock, columns=["stop_ms"])
    assert only.row(0) == ("site:north", 5000, 4010)
    nulls = sites.with_columns(stop_ms=pl.lit(None, pl.Int64))
    assert corrected(nulls, clock).row(0) == ("site:north", 4000, None)


def test_around_puts_observations_earlier_and_later():
    clock = Clock(offset_ms=100, drift_ppm=3, at_ms=START)
    moved = [corrected(frame_of([START], [0]), one)["start_ms"][0] for one in around(clock, 40)]
    assert moved == [START - 140, START - 100, START - 60]
    assert around(clock, 40)[1] is clock


def test_a_clock_that_cannot_be_is_refused():
    for wrong in ({"offset_ms": float("nan")}, {"offset_ms": 0, "drift_ppm": 1e6}):
        with pytest.raises(ValueError, match="same unit"):
            Clock(**wrong)


# Without markers


@settings(max_examples=50)
@given(
    calls=st.lists(st.integers(0, 3000), max_size=8),
    spans=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 500)), min_size=1, max_size=5),
    is_during=st.booleans(),
)
def test_the_correlogram_counts_as_by_hand(calls, spans, is_during):
    reach, step = 1000, 100
    expected = np.zeros(2 * reach // step)
    for start, lasting in spans:
        last = start + lasting - 1 if is_during and lasting else start
        if is_during and not lasting:
            continue
        for call in calls:
            for lag_bin in {(at - call + reach) // step for at in range(start, last + 1)}:
                if 0 <= lag_bin < len(expected):
                    expected[lag_bin] += 1
    starts = np.array([start for start, _ in spans])
    stops = starts + [lasting for _, lasting in spans]
    if is_during:
        starts, stops = starts[stops > starts], stops[stops > starts]
    found = correlogram(np.array(sorted(calls), int), starts, stops, reach, step, is_during)
    np.testing.assert_array_equal(found, expected)


def test_the_correlograms_on_a_circle_are_sums_by_hand():
    rng = np.random.default_rng(0)
    heard, seen = rng.poisson(0.3, (2, 90)), rng.poisson(0.3, (3, 90))
    found = circular_correlograms(list(heard.astype("f4")), list(seen.astype("f4")), 2.0)
    turn = np.minimum(np.arange(90), 90 - np.arange(90))

    def bell(width):
        wraps = [np.exp(-0.5 * ((turn + 90 * lap) / width) ** 2) for lap in range(-3, 4)]
        return np.sum(wraps, axis=0) / np.sum(wraps)

    kernel = bell(2.0) - bell(2.0 * SURROUNDINGS)
    for one in range(2):
        for other in range(3):
            raw = [
                sum(heard[one, at] * seen[other, (at + lag) % 90] for at in range(90))
                for lag in range(90)
            ]
            by_hand = [
                sum(raw[(lag - step) % 90] * kernel[step] for step in range(90))
                for lag in range(90)
            ]
            np.testing.assert_allclose(found[one, other], by_hand, atol=1e-3)


def made(seed=0, *, strength=0.8, offset_ms=83_000.0, n_sessions=3):
    return clock_truth.made(
        np.random.default_rng(seed), strength=strength, offset_ms=offset_ms, n_sessions=n_sessions
    )


def test_the_offset_is_found_from_calls_that_follow_alarms():
    for seed, offset_ms in enumerate((-251_400.0, 0.0, 83_000.0)):
        found = offset_from_activity(*made(seed, offset_ms=offset_ms))
        low, high = found.offset.interval_ms
        assert low <= offset_ms <= high
        assert high - low < 15_000
        assert found.behaviour in ("alarm", "any behaviour")
        assert found.clock.offset_ms == pytest.approx(offset_ms, abs=4000)
        assert found.heights.max() > found.height_by_chance
        assert found.lags_ms[np.argmax(found.heights)] == pytest.approx(offset_ms, abs=4000)
        assert any("cannot be told apart" in said for said in found.words())


def test_where_calls_go_with_nothing_nothing_is_said_of_the_clocks():
    found = [offset_from_activity(*made(seed, strength=0.0)) for seed in range(4)]
    assert [one.offset for one in found] == [None] * 4
    assert all("chance makes peaks as high" in one.reason for one in found)
    assert found[0].clock is found[0].uncertainty_ms is None
    assert found[0].words()[0].startswith("Nothing can be said of the clocks without markers")


def test_the_same_seed_says_the_same():
    tables = made()
    one, other = (offset_from_activity(*tables, seed=3) for _ in range(2))
    assert one.words() == other.words()
    np.testing.assert_array_equal(one.heights, other.heights)


def test_two_peaks_of_like_height_are_no_offset():
    calls, observations, effort = made()
    again = observations.with_columns(
        start_ms=pl.col("start_ms") + 60_000, stop_ms=pl.col("stop_ms") + 60_000
    )
    found = offset_from_activity(calls, pl.concat([observations, again]), effort)
    assert found.offset is None
    assert "two peaks" in found.reason or "too wide" in found.reason


def test_an_offset_beyond_the_searched_lags_is_not_made_up():
    found = offset_from_activity(*made(offset_ms=100_000.0), max_lag_ms=60_000)
    assert found.offset is None


def test_an_observer_at_another_site_says_nothing():
    calls, observations, effort = made()
    found = offset_from_activity(calls.with_columns(site=pl.lit("south")), observations, effort)
    assert found.offset is None
    assert "only 0 calls and 0 observations" in found.reason


def test_too_few_observations_say_nothing():
    calls, observations, effort = made()
    found = offset_from_activity(calls, observations[:9], effort)
    assert found.offset is None
    assert "9 observations" in found.reason
    none = offset_from_activity(calls, empty(OBSERVATIONS), empty(EFFORT))
    assert none.offset is None


def test_times_in_files_say_nothing_of_clocks():
    calls, observations, effort = made()
    in_files = observations.with_columns(timeline=pl.lit("file:a"))
    assert offset_from_activity(calls, in_files, effort).offset is None


def test_too_short_lags_and_too_few_shifts_are_refused():
    for wrong in ({"max_lag_ms": 59_999}, {"n_permutations": 98}):
        with pytest.raises(ValueError, match="or more"):
            offset_from_activity(*made(), **wrong)
