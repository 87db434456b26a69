"""How far, and how fast, the observer's clock runs from the recorder's: told from markers.

In come pairs of times, one instant read on both clocks (claps, spoken markers, paired readings);
out come a :class:`ClockFit` with its uncertainty, the pairs that disagree with the others, and a
:class:`Clock` that moves the observer's tables onto the recorder's time. Nothing is moved unless
the caller asks. What can be said without markers is in :mod:`oscine.behaviour.activity_offset`.

An offset is what the observer's clock shows more than the recorder's: positive where it is ahead. A
drift is positive where it gains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from oscine.behaviour.tables import SITE
from oscine.sound.clock import EPOCH, written

CONFIDENCE = 0.95
SUSPECT_DEVIATIONS, SUSPECT_MS = 5.0, 200.0
"""A pair may be wrong where it is off by more than so many robust standard deviations, and by more
than so many milliseconds; and it is left out where the others foretell it no better, at:"""
SUSPECT_LEVEL = 0.01
FEWEST_FOR_SUSPICION = 3
FEWEST_FOR_DRIFT, LEAST_SPAN_MS = 4, 600_000
"""Pairs, and the time between the first and the last of them, from which a drift can be told."""
QUARTZ_PPM = 100.0
"""Drift that any clock may have where markers cannot tell: ordinary quartz keeps 20 to 100 ppm over
the temperatures of the field."""
MOST_DRIFT_PPM = 10_000.0
"""No clock is so bad: beyond it a pair is wrong."""
SUSPICIOUS_PPM = 200.0
FEWEST_BY_CONSTRUCTION = 5
MOST_FOR_SLOPES = 32
"""Pairs that slopes are tried between; of more, so many evenly picked ones."""
SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1000, 60_000, 3_600_000, 86_400_000
WIDEST_ZONE_H = 14

Times = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """What the observer's clock shows more than the recorder's.

    Attributes
    ----------
    offset_ms : float
        When the observer's clock shows `at_ms`.
    drift_ppm : float
        What it gains, in millionths of the time that it shows.
    at_ms : int

    Raises
    ------
    ValueError
        If a value is not finite, or the drift beyond 100,000 ppm.
    """

    offset_ms: float
    drift_ppm: float = 0.0
    at_ms: int = 0

    def __post_init__(self) -> None:
        if not math.isfinite(self.offset_ms) or not abs(self.drift_ppm) <= 1e5:
            raise ValueError(
                f"an offset must be finite and a drift within 100,000 ppm; got {self}: are both "
                "clocks counted in the same unit?"
            )

    def ahead_ms(self, observer_ms: Any) -> Any:
        """Return how far it is ahead when it shows these times (an array or an expression)."""
        return self.offset_ms + self.drift_ppm * 1e-6 * (observer_ms - self.at_ms)


def corrected(
    frame: pl.DataFrame,
    clock: Clock | None,
    columns: Sequence[str] = ("start_ms", "stop_ms"),
    timeline_prefix: str = SITE,
) -> pl.DataFrame:
    """Move a table from the observer's clock onto the recorder's.

    Parameters
    ----------
    frame : pl.DataFrame
        Observations, effort or context, with a column ``timeline``.
    clock : Clock or None
        None moves nothing.
    columns : sequence of str
        Whole milliseconds; what is null stays null.
    timeline_prefix : str
        Timelines that the observer's clock counts; others (``file:``) are the recorder's own.

    Returns
    -------
    pl.DataFrame
        With times rounded to whole milliseconds, halves to even; their order stays.
    """
    if clock is None:
        return frame
    is_moved = pl.col("timeline").str.starts_with(timeline_prefix)
    times = [pl.col(name) for name in columns]
    moved = [time - clock.ahead_ms(time).round().cast(pl.Int64) for time in times]
    return frame.with_columns(
        pl.when(is_moved).then(new).otherwise(time) for new, time in zip(moved, times, strict=True)
    )


def around(clock: Clock, uncertainty_ms: float) -> tuple[Clock, Clock, Clock]:
    """Return the clock that puts observations earlier by the uncertainty, itself, and later."""
    early, late = (
        Clock(offset_ms=clock.offset_ms + by, drift_ppm=clock.drift_ppm, at_ms=clock.at_ms)
        for by in (uncertainty_ms, -uncertainty_ms)
    )
    return early, clock, late


@dataclass(frozen=True, kw_only=True, slots=True)
class Offset:
    """An offset at one time.

    Attributes
    ----------
    at_ms : int
        On the observer's clock.
    offset_ms : float
    interval_ms : (float, float) or None
        95 %; None where the pairs do not give one.
    """

    at_ms: int
    offset_ms: float
    interval_ms: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockFit:
    """What markers say of the clocks.

    Attributes
    ----------
    n_pairs : int
    left_out : tuple of int
        Pairs, from 0, that the others contradict.
    middle, start, stop : Offset
        At the middle of the markers, and at both ends of the log.
    drift_ppm : float
        0 where none was told.
    drift_interval_ppm : (float, float) or None
        95 %; None where the pairs are too few or too near each other.
    has_drift : bool
        Whether the interval leaves out 0, so that the drift is reckoned with.
    scatter_ms : float or None
        Standard deviation of the pairs around the fit.
    resolution_ms : int
        The coarser of the steps in which the two columns count.
    is_by_construction : bool
        Whether all pairs that were not left out agree to the second.
    """

    n_pairs: int
    left_out: tuple[int, ...]
    middle: Offset
    start: Offset
    stop: Offset
    drift_ppm: float
    drift_interval_ppm: tuple[float, float] | None
    has_drift: bool
    scatter_ms: float | None
    resolution_ms: int
    is_by_construction: bool

    @property
    def clock(self) -> Clock:
        """What to hand to :func:`corrected`."""
        return Clock(
            offset_ms=self.middle.offset_ms, drift_ppm=self.drift_ppm, at_ms=self.middle.at_ms
        )

    @property
    def uncertainty_ms(self) -> float | None:
        """The most that the offset may be off over the whole log, at 95 %; None if not known."""
        known = [
            max(place.offset_ms - place.interval_ms[0], place.interval_ms[1] - place.offset_ms)
            for place in (self.start, self.middle, self.stop)
            if place.interval_ms is not None
        ]
        return max(known, default=None)

    def words(self) -> list[str]:
        """Say it in sentences."""
        n_used = self.n_pairs - len(self.left_out)
        if n_used == 1:
            said = [f"From 1 marker: {offset_words(self.middle)}."]
        else:
            said = [
                f"From {n_used} of {self.n_pairs} markers: {offset_words(self.middle)} at their "
                "middle."
            ]
        if self.is_by_construction:
            same = "differ by the same" if self.middle.offset_ms else "agree"
            said.append(
                f"The times of the log and of the recordings {same} to the second in {n_used} of "
                f"{self.n_pairs} cases: one was taken from the other, so that they cannot tell "
                "whether the clocks agreed, and the offset has no interval."
            )
        elif n_used == 1:
            said.append("One marker gives an offset without an interval, and no drift.")
        else:
            said.append(
                f"At the log's start {offset_words(self.start)}; at its end "
                f"{offset_words(self.stop)}."
            )
            said.append(self._drift_words())
            if self.resolution_ms >= 10:
                said.append(
                    f"Times are given to {length(self.resolution_ms)}: they may be cut or rounded, "
                    "so that half of it or more is added to the intervals on both sides."
                )
        if self.scatter_ms is not None and self.scatter_ms > SECOND_MS:
            said.append(
                f"The markers scatter by {length(self.scatter_ms)} (standard deviation), more than "
                "an instant read on two clocks should: look for a wrong one, and for a clock that "
                "was set in between."
            )
        if self.left_out:
            which = ", ".join(str(pair + 1) for pair in self.left_out)
            said.append(
                f"Left out, for the others contradict {'it' if len(self.left_out) == 1 else 'them'}"
                f": marker {which} in the order of the log."
            )
        return said

    def _drift_words(self) -> str:
        if self.drift_interval_ppm is None:
            return (
                f"A drift can be told from {FEWEST_FOR_DRIFT} markers over {length(LEAST_SPAN_MS)} "
                f"or more; as there are fewer, {QUARTZ_PPM:g} ppm, which any quartz may have, is "
                "reckoned with away from them."
            )
        low, high = self.drift_interval_ppm
        if self.has_drift:
            said = (
                f"It {'gains' if self.drift_ppm > 0 else 'loses'} {abs(self.drift_ppm):.1f} ppm "
                f"(95 % interval {low:+.1f} to {high:+.1f})"
            )
            if abs(self.drift_ppm) > SUSPICIOUS_PPM:
                return said + ", more than clocks do: was one set in between, or a video's rate?"
            return said + "."
        if low > 0 or high < 0:
            return "The markers run apart faster than any clock drifts: some must be wrong."
        return (
            f"No drift is told from none (95 % interval {low:+.1f} to {high:+.1f} ppm), and none "
            "is corrected; the intervals at both ends hold what drift there may be."
        )


def fit_clock(
    observer_ms: ArrayLike, recorder_ms: ArrayLike, *, log_ms: tuple[int, int] | None = None
) -> ClockFit:
    """Tell offset and drift of the observer's clock from instants that both clocks showed.

    The offset is the mean difference, or, with a drift, the line of least squares through the
    differences over the observer's time; a drift is reckoned with where four pairs or more span ten
    minutes and the t interval of its slope leaves out 0. Intervals are t intervals of the mean and
    of the line's mean response, ``t s sqrt(1/n + (x - mean)^2 / Sxx)``, which grows beyond the
    markers (Draper & Smith, Applied Regression Analysis, 3rd ed. 1998, sections 1.4 and 3.1).

    Where a drift could be told but was not, the interval at a place holds both that of the mean and
    that of the line: not to have found a drift does not show that there is none. Where none could
    be told, that of the mean grows by 100 ppm of the distance from the markers. Half of the step in
    which the times are given is added, as one column may be cut and the other rounded; a drift must
    exceed what such steps at both ends of the markers make, and its interval is widened by that.

    Parameters
    ----------
    observer_ms, recorder_ms : array of int [shape=(N,)]
        N >= 1.
    log_ms : (int, int), optional
        First and last time of the log on the observer's clock; the markers' span if not given.

    Returns
    -------
    ClockFit

    Raises
    ------
    ValueError
        If there is no pair, or the columns differ in length.
    """
    observer, recorder = np.asarray(observer_ms, np.int64), np.asarray(recorder_ms, np.int64)
    if observer.ndim != 1 or observer.shape != recorder.shape or not len(observer):
        raise ValueError(
            f"markers come in pairs, one at least: got {observer.size} times of the observer and "
            f"{recorder.size} of the recorder"
        )
    resolution_ms = max(_resolution_ms(observer), _resolution_ms(recorder))
    is_used = _agreeing(observer, observer - recorder, resolution_ms)
    line = _Line.through(observer[is_used], (observer - recorder)[is_used], resolution_ms)
    n_used = int(is_used.sum())
    is_by_construction = (
        n_used >= FEWEST_BY_CONSTRUCTION
        and resolution_ms >= SECOND_MS
        and not np.ptp((observer - recorder)[is_used])
    )
    has_interval = n_used > 1 and not is_by_construction

    def offset_at(at_ms: int) -> Offset:
        interval_ms = line.interval_ms(at_ms) if has_interval else None
        return Offset(at_ms=at_ms, offset_ms=line.offset_ms(at_ms), interval_ms=interval_ms)

    first, last = int(observer[is_used].min()), int(observer[is_used].max())
    start, stop = log_ms or (first, last)
    return ClockFit(
        n_pairs=len(observer),
        left_out=tuple(np.flatnonzero(~is_used).tolist()),
        middle=offset_at((first + last) // 2),
        start=offset_at(int(start)),
        stop=offset_at(int(stop)),
        drift_ppm=line.slope * 1e6 if line.has_drift else 0.0,
        drift_interval_ppm=(
            ((line.slope - line.slope_half) * 1e6, (line.slope + line.slope_half) * 1e6)
            if line.can_drift and has_interval
            else None
        ),
        has_drift=line.has_drift,
        scatter_ms=line.scatter_ms if n_used > 1 else None,
        resolution_ms=resolution_ms,
        is_by_construction=is_by_construction,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """A pair of times that the other pairs contradict.

    Attributes
    ----------
    row : int
        Line of the log; 0 for a marker of a table of its own.
    marker : str
    observer_ms, recorder_ms : int
    off_ms : float
        What the log shows more than the other pairs say it should.
    looks_like : str
        What may have happened; empty where nothing fits.
    """

    row: int
    marker: str
    observer_ms: int
    recorder_ms: int
    off_ms: float
    looks_like: str

    @property
    def sentence(self) -> str:
        """Say it for the list of problems."""
        side = "late" if self.off_ms > 0 else "early"
        guess = f"; looks like {self.looks_like}" if self.looks_like else ""
        where = f"row {self.row}, marker {self.marker}" if self.row else f"marker {self.marker}"
        return (
            f"{where}: the log says {moment(self.observer_ms)}, the "
            f"recording {moment(self.recorder_ms)}: {length(self.off_ms)} too {side} by the other "
            f"markers{guess}"
        )


def disagreements(
    observer_ms: ArrayLike,
    recorder_ms: ArrayLike,
    *,
    rows: Sequence[int],
    markers: Sequence[str],
) -> list[Disagreement]:
    """List the pairs that :func:`fit_clock` leaves out, and what each looks like.

    Parameters
    ----------
    observer_ms, recorder_ms : array of int [shape=(N,)]
    rows : sequence of int [N]
        Lines of the log.
    markers : sequence of str [N]

    Raises
    ------
    ValueError
        As :func:`fit_clock`.
    """
    observer, recorder = np.asarray(observer_ms, np.int64), np.asarray(recorder_ms, np.int64)
    fit = fit_clock(observer, recorder)
    ahead = fit.clock.ahead_ms(observer)
    due = observer - np.rint(ahead).astype(np.int64)  # what the recorder should show
    tolerance_ms = max(SECOND_MS, fit.resolution_ms, SUSPECT_DEVIATIONS * (fit.scatter_ms or 0))

    def likeness(pair: int) -> str:
        others = np.flatnonzero(np.abs(recorder - due[pair]) <= tolerance_ms)
        if len(others) == 1:
            other = int(others[0])
            if abs(due[other] - recorder[pair]) <= tolerance_ms:
                return f"swapped with row {rows[other]}"
            return f"the time of row {rows[other]} (marker {markers[other]})"
        return slip(int(due[pair]), int(recorder[pair]), tolerance_ms)

    return [
        Disagreement(
            row=rows[pair],
            marker=markers[pair],
            observer_ms=int(observer[pair]),
            recorder_ms=int(recorder[pair]),
            off_ms=float(due[pair] - recorder[pair]),
            looks_like=likeness(pair),
        )
        for pair in fit.left_out
    ]


def slip(said_ms: int, true_ms: int, tolerance_ms: float) -> str:
    """Say which common slip turns one time into another; empty if none does."""
    off_ms = said_ms - true_ms
    if abs(off_ms) <= tolerance_ms:
        return ""
    hours = round(2 * off_ms / HOUR_MS) / 2
    days = round(off_ms / DAY_MS)
    if 0 < abs(hours) <= WIDEST_ZONE_H and abs(off_ms - hours * HOUR_MS) <= tolerance_ms:
        number = "an hour" if abs(hours) == 1 else f"{abs(hours):g} hours"
        cause = "morning for evening, or a time zone" if abs(hours) == 12 else "a time zone"
        return f"{number}: {cause}{' or daylight saving' if abs(hours) == 1 else ''}"
    said, true = (EPOCH + timedelta(milliseconds=time) for time in (said_ms, true_ms))
    slack = timedelta(milliseconds=tolerance_ms)
    for name, put in _CALENDAR_SLIPS.items():
        try:
            if abs(put(said, true) - true) <= slack:
                return name
        except ValueError:  # no such day in that month or year
            continue
    if 0 < abs(days) < 28 and abs(off_ms - days * DAY_MS) <= tolerance_ms:
        return "a day" if abs(days) == 1 else f"{abs(days)} days"
    return ""


_CALENDAR_SLIPS = {
    "the wrong year": lambda said, true: said.replace(year=true.year),
    "day and month exchanged": lambda said, true: said.replace(day=said.month, month=said.day),
    "the wrong month": lambda said, true: said.replace(month=true.month),
}


def length(length_ms: float) -> str:
    """Write a length of time, whatever its sign, in its two largest units (`1 h 2 min`)."""
    rest = round(abs(length_ms))
    if rest < MINUTE_MS:
        return f"{rest} ms" if rest < SECOND_MS else f"{rest / SECOND_MS:.3g} s"
    rest = round(rest / SECOND_MS) * SECOND_MS
    parts = []
    for unit_ms, unit in ((DAY_MS, "days"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (SECOND_MS, "s")):
        number, rest = divmod(rest, unit_ms)
        if number:
            parts.append("1 day" if (number, unit) == (1, "days") else f"{number} {unit}")
    return " ".join(parts[:2])


def hours_text(hours: float) -> str:
    """Write how long somebody watched: in hours, or below one as :func:`length` does."""
    return f"{hours:,.1f} h".replace(".0 h", " h") if hours >= 0.995 else length(hours * HOUR_MS)


def moment(time_ms: int) -> str:
    """Write a time in UTC."""
    try:
        return f"{written(EPOCH + timedelta(milliseconds=time_ms))} UTC"
    except OverflowError:
        return f"{time_ms} ms after 1970"


def offset_words(place: Offset) -> str:
    """Say which clock is ahead, by how much and how surely."""
    side = "ahead" if place.offset_ms >= 0 else "behind"
    by = f"{abs(place.offset_ms) / SECOND_MS:,.3f} s"
    if abs(place.offset_ms) >= MINUTE_MS:
        by += f" ({length(place.offset_ms)})"
    said = f"the observer's clock is {by} {side}"
    if place.interval_ms is None:
        return said
    low, high = (f"{bound / SECOND_MS:+,.3f}" for bound in place.interval_ms)
    return f"{said} (95 % interval {low} to {high} s)"


def _resolution_ms(times_ms: Times) -> int:
    """Return the step in which times are given; one time does not tell it."""
    if len(times_ms) < 2:
        return 1
    steps = (MINUTE_MS, SECOND_MS, 100, 10)
    return next((step for step in steps if not (times_ms % step).any()), 1)


@dataclass(frozen=True, slots=True)
class _Line:
    """Differences of two clocks over the time of one: their mean, and a line through them."""

    n: int
    step_ms: int
    """In which times are given; 0 for milliseconds, which are in the scatter."""
    span_ms: float
    at_ms: float
    mean_ms: float
    mean_scatter_ms: float
    squares: float
    slope: float
    line_scatter_ms: float

    @staticmethod
    def through(times_ms: Times, ahead_ms: Times, step_ms: int) -> _Line:
        n = len(times_ms)
        # Distances from the first, so that nothing is lost of numbers like 1,700,000,000,000.
        since_ms = (times_ms - times_ms[0]).astype(float)
        since_mean = since_ms.mean()
        mean_ms = ahead_ms[0] + (ahead_ms - ahead_ms[0]).mean()
        rest = (ahead_ms - ahead_ms[0]) - (ahead_ms - ahead_ms[0]).mean()
        apart = since_ms - since_mean
        squares = float(apart @ apart)
        slope = float(apart @ rest) / squares if squares else 0.0
        around_line = rest - slope * apart
        return _Line(
            n,
            step_ms if step_ms > 1 else 0,
            float(np.ptp(since_ms)),
            float(times_ms[0] + since_mean),
            float(mean_ms),
            math.sqrt(float(rest @ rest) / max(1, n - 1)),
            squares,
            slope,
            math.sqrt(float(around_line @ around_line) / max(1, n - 2)),
        )

    @property
    def can_drift(self) -> bool:
        return self.n >= FEWEST_FOR_DRIFT and self.span_ms >= LEAST_SPAN_MS

    @property
    def slope_half(self) -> float:
        by_steps = self.step_ms / self.span_ms
        return self._t(2) * self.line_scatter_ms / math.sqrt(self.squares) + by_steps

    @property
    def has_drift(self) -> bool:
        return self.can_drift and self.slope_half < abs(self.slope) <= MOST_DRIFT_PPM * 1e-6

    @property
    def scatter_ms(self) -> float:
        return self.line_scatter_ms if self.has_drift else self.mean_scatter_ms

    def offset_ms(self, at_ms: float) -> float:
        return self.mean_ms + self.has_drift * self.slope * (at_ms - self.at_ms)

    def interval_ms(self, at_ms: float) -> tuple[float, float]:
        distance = at_ms - self.at_ms
        mean_half = self._t(1) * self.mean_scatter_ms / math.sqrt(self.n) + self.step_ms / 2
        if not self.can_drift:
            half = mean_half + QUARTZ_PPM * 1e-6 * abs(distance)
            return self.mean_ms - half, self.mean_ms + half
        by_line = self.mean_ms + self.slope * distance
        response = math.sqrt(1 / self.n + distance**2 / self.squares)
        line_half = self._t(2) * self.line_scatter_ms * response
        line_half += self.step_ms * max(0.5, abs(distance) / self.span_ms)
        low, high = by_line - line_half, by_line + line_half
        if self.has_drift:
            return low, high
        return min(low, self.mean_ms - mean_half), max(high, self.mean_ms + mean_half)

    def _t(self, n_fitted: int) -> float:
        return float(stdtrit(max(1, self.n - n_fitted), (1 + CONFIDENCE) / 2))


def _agreeing(times_ms: Times, ahead_ms: Times, resolution_ms: int) -> NDArray[np.bool_]:
    """Tell which pairs the others bear out.

    The bulk is found by least median of squares (Rousseeuw 1984, J. Am. Stat. Assoc. 79: 871) among
    lines that a clock can follow; half of the pairs may be wrong. What lies far from it is left out
    where it also lies outside the interval, Bonferroni over the pairs, in which the bulk foretells
    one more pair (Draper & Smith 1998, section 3.2): with few pairs the robust deviation alone is
    often small by chance.
    """
    n = len(times_ms)
    if n < FEWEST_FOR_SUSPICION or np.ptp(ahead_ms) <= SUSPECT_MS:
        return np.ones(n, bool)
    since_ms = (times_ms - times_ms.min()).astype(float)
    ahead = (ahead_ms - int(np.median(ahead_ms))).astype(float)
    n_bulk = n // 2 + 1

    slopes = _slopes(since_ms, ahead)
    rests = ahead - slopes[:, None] * since_ms
    off = np.abs(rests - np.median(rests, axis=1, keepdims=True))
    spreads = np.partition(off, n_bulk - 1, axis=1)[:, n_bulk - 1]
    best = int(np.argmin(spreads))
    # 1.4826 makes the median deviation of a normal distribution its standard deviation;
    # 1 + 5 / (n - p) is Rousseeuw & Leroy's (1987, p. 202) allowance for few points.
    deviation_ms = 1.4826 * (1 + 5 / max(1, n - 2)) * float(spreads[best])
    limit_ms = max(SUSPECT_DEVIATIONS * deviation_ms, SUSPECT_MS, resolution_ms)
    is_bulk = off[best] <= limit_ms
    if is_bulk.all():
        return is_bulk
    line = _Line.through(times_ms[is_bulk], ahead_ms[is_bulk], resolution_ms)
    n_fitted = 2 if line.can_drift else 1
    distance = times_ms - line.at_ms
    missed = ahead_ms - line.mean_ms - (line.slope * distance if line.can_drift else 0.0)
    leverage = 1 + 1 / line.n + (distance**2 / line.squares if line.can_drift else 0.0)
    scatter_ms = line.line_scatter_ms if line.can_drift else line.mean_scatter_ms
    # Two times cut to a step differ by a triangle: its standard deviation is the step / sqrt(6).
    scatter_ms = max(scatter_ms, resolution_ms / math.sqrt(6))
    t = float(stdtrit(max(1, line.n - n_fitted), 1 - SUSPECT_LEVEL / (2 * n)))
    return is_bulk | (np.abs(missed) <= t * scatter_ms * np.sqrt(leverage))


def _slopes(since_ms: NDArray[np.float64], ahead_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return no drift, and the drifts between pairs that are far from each other."""
    span_ms = float(np.ptp(since_ms))
    if len(since_ms) < FEWEST_FOR_DRIFT or span_ms < LEAST_SPAN_MS:
        return np.zeros(1)
    order = np.argsort(since_ms, kind="stable")
    picked = order[np.unique(np.linspace(0, len(order) - 1, MOST_FOR_SLOPES).astype(int))]
    one, other = np.triu_indices(len(picked), 1)
    step_ms = since_ms[picked][other] - since_ms[picked][one]
    rise_ms = ahead_ms[picked][other] - ahead_ms[picked][one]
    is_far = step_ms >= span_ms / 2
    slopes = rise_ms[is_far] / step_ms[is_far]
    return np.append(0.0, slopes[np.abs(slopes) <= MOST_DRIFT_PPM * 1e-6])
