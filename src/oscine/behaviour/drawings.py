"""Drawings of the page of the join: intervals on a scale of ratios, and sessions over time.

In come numbers and :class:`oscine.behaviour.sessions.Session`s; out go pieces of HTML and SVG that
take their colours from ``join.css``, so that they follow light and dark. Text stays HTML, which
keeps its size on a phone while what is drawn shrinks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from html import escape

import numpy as np
from numpy.typing import NDArray

from oscine.atlas.pictures import clock_text, count_text
from oscine.behaviour.clocks import length
from oscine.behaviour.sessions import Session, Whole

# The scale of ratios: CSS pixels; ticks from which it takes what its intervals need.
SCALE_WIDTH, SCALE_HEIGHT, SCALE_EDGE = 220, 20, 12
RATIOS = tuple(
    (2.0**power, f"{2**power}" if power >= 0 else f"1/{2**-power}") for power in range(-7, 8)
)

MOST_RATIOS = 6

STRIP_WIDTH, ROW_HEIGHT = 600, 18
"""Units across a strip, and pixels of a row of it."""
TICK, BAR_TOP, BAR_HEIGHT = 2, 3, 12
MOST_TICKS, N_BINS = 150, 120
"""Calls of a row that are drawn one by one; of more, how many fall into each of so many bins."""
MOST_TYPES, MOST_BEHAVIOURS = 10, 10
"""Rows of a strip; what is heard or seen least shares one more."""
WIDEST_GAP, MOST_GAPS = 0.1, 0.4
"""A stretch without effort is drawn at most this wide, and all of them, as shares of the effort."""
STEPS_MS = tuple(
    1000 * seconds
    for seconds in (
        *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800),
        *(3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800),
    )
)
MOST_TIMES, TIME_SPACING, LAST_TIME = 6, 0.14, 0.96
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000


# --- Ratios with their intervals -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RatioScale:
    """A logarithmic scale from one ratio to another, with 1 in it."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float | None]) -> RatioScale:
        """Make a scale that holds ratios, cut at the ends of what can be read."""
        logs = [math.log2(value) for value in values if value and math.isfinite(value)]
        low = min(-1, math.floor(min(logs, default=0)))
        high = max(1, math.ceil(max(logs, default=0)))
        return cls(max(2.0**low, RATIOS[0][0]), min(2.0**high, RATIOS[-1][0]))

    def place(self, value: float) -> float:
        """Return where a ratio lies; what is outside lies on the edge."""
        share = math.log(min(max(value, self.low), self.high) / self.low) / math.log(
            self.high / self.low
        )
        return SCALE_EDGE + share * (SCALE_WIDTH - 2 * SCALE_EDGE)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Where ratios are written."""
        ticks = [tick for tick in RATIOS if self.low <= tick[0] <= self.high]
        one = next(number for number, tick in enumerate(ticks) if tick[0] == 1)
        step = math.ceil(len(ticks) / MOST_RATIOS)
        return [tick for number, tick in enumerate(ticks) if (number - one) % step == 0]

    def lines(self, name: str) -> str:
        """Draw its lines once, for all rows to use."""
        drawn = "".join(
            f'<path class="{"reference" if value == 1 else "grid"}" '
            f'd="M{self.place(value):.1f},0V{SCALE_HEIGHT}"/>'
            for value, _ in self.ticks
        )
        return (
            '<svg class="lines" width="0" height="0" aria-hidden="true">'
            f'<defs><g id="{name}">{drawn}</g></defs></svg>'
        )

    def head(self) -> str:
        """Write it for the head of a table."""
        written = "".join(
            f'<text class="tick" x="{self.place(value):.1f}" y="12" text-anchor="middle">{text}'
            "</text>"
            for value, text in self.ticks
        )
        size = f'width="{SCALE_WIDTH}" height="16"'
        return f'<svg class="scale" {size} aria-hidden="true">{written}</svg>'

    def row(
        self, name: str, ratio: float, low: float | None, high: float | None, *, is_found: bool
    ) -> str:
        """Draw a ratio with its interval; an arrow where it goes on beyond the scale."""
        middle = SCALE_HEIGHT / 2
        drawn = f'<use href="#{name}"/>'
        if low is not None and high is not None:
            start, stop = self.place(low), self.place(high)
            drawn += f'<path class="span" d="M{start:.1f},{middle:g}H{stop:.1f}"/>'
            if low < self.low:
                drawn += f'<path class="mark" d="M{start - 6:.1f},{middle:g}l6,-4v8z"/>'
            if high > self.high:
                drawn += f'<path class="mark" d="M{stop + 6:.1f},{middle:g}l-6,-4v8z"/>'
        kind = "mark" if is_found else "mark hollow"
        drawn += f'<circle class="{kind}" cx="{self.place(ratio):.1f}" cy="{middle:g}" r="4"/>'
        side = "more" if ratio >= 1 else "less"
        return (
            f'<svg class="scale {side}" width="{SCALE_WIDTH}" height="{SCALE_HEIGHT}" '
            f'aria-hidden="true">{drawn}</svg>'
        )


# --- Sessions over time --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PageSession:
    """A session and what the page says of it.

    Attributes
    ----------
    session : Session
    source : str
        Where its effort is from.
    zone : tzinfo
        In which its times are written.
    unobserved_ms : np.ndarray of int64 [shape=(N,)]
        Calls on its timeline, from its first to its last moment, that fell outside of its effort.
    """

    session: Session
    source: str
    zone: tzinfo = UTC
    unobserved_ms: Whole = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def n_subjects(self) -> int:
        """How many individuals were told apart in it."""
        return len({subject for _, subject in self.session.of_subjects if subject})

    @property
    def hours(self) -> float:
        """How long somebody watched."""
        return self.session.duration_ms / 3_600_000


@dataclass(frozen=True, slots=True, eq=False)
class _Course:
    """The stretches of effort and the gaps between them along a strip."""

    begins: NDArray[np.float64]  # where each stretch begins and ends, as shares of the strip
    ends: NDArray[np.float64]
    edges: Whole  # where each begins on the session's axis, and where the last ends
    scale: float

    @classmethod
    def of(cls, session: Session) -> _Course:
        lengths = np.diff(session.segments, axis=1)[:, 0]
        edges = np.concatenate([[0], np.cumsum(lengths)])
        gaps = np.maximum(session.segments[1:, 0] - session.segments[:-1, 1], 0)
        widest = min(WIDEST_GAP, MOST_GAPS / max(1, len(gaps))) * session.duration_ms
        before = np.concatenate([[0.0], np.cumsum(np.minimum(gaps, widest))])
        begins = edges[:-1] + before
        whole = float(begins[-1] + lengths[-1])
        return cls(begins / whole, (begins + lengths) / whole, edges, 1 / whole)

    def place(self, at_ms: Whole) -> NDArray[np.float64]:
        """Place moments of the session's axis."""
        stretch = np.searchsorted(self.edges, at_ms, side="right") - 1
        stretch = np.clip(stretch, 0, len(self.begins) - 1)
        return self.begins[stretch] + (at_ms - self.edges[stretch]) * self.scale

    def spans(self, spans: Whole) -> NDArray[np.float64]:
        """Place spans of the session's axis, cut where nobody watched."""
        cut = np.clip(spans[:, None], self.edges[:-1, None], self.edges[1:, None])
        placed = self.begins[:, None] + (cut - self.edges[:-1, None]) * self.scale
        return placed[cut[..., 1] > cut[..., 0]]


def strip(shown: PageSession, type_names: Sequence[str]) -> str:
    """Draw a session: a row for each sound type that is heard and each behaviour that is seen.

    Parameters
    ----------
    shown : PageSession
    type_names : sequence of str
        How each sound type is written.

    Returns
    -------
    str
        HTML; empty where nothing was heard or seen.
    """
    session = shown.session
    course = _Course.of(session)
    rows = [
        *_call_rows(session, course, type_names),
        *_behaviour_rows(session, course),
    ]
    if len(shown.unobserved_ms):
        rows.insert(0, _unobserved_row(shown, course))
    if not rows:
        return ""
    height = ROW_HEIGHT * len(rows)
    drawn = "".join(
        f'<g class="{row.kind}" transform="translate(0 {ROW_HEIGHT * number})">{row.drawn}</g>'
        for number, row in enumerate(rows)
        if row.drawn
    )
    gaps = "".join(
        f'<i class="gap" style="left:{start:.2%};width:{stop - start:.2%}"></i>'
        for start, stop in zip(course.ends[:-1], course.begins[1:], strict=True)
        if stop > start
    )
    names = "".join(f'<span class="{row.kind}">{escape(row.name)}</span>' for row in rows)
    counts = "".join(f"<span>{escape(row.count)}</span>" for row in rows)
    says = f"{session.name}: " + "; ".join(row.says for row in rows)
    return (
        f'<div class="strip"><div class="names" aria-hidden="true">{names}</div>'
        f'<div class="course" role="img" aria-label="{escape(says)}">{gaps}'
        f'<svg viewBox="0 0 {STRIP_WIDTH} {height}" height="{height}" '
        f'preserveAspectRatio="none">{drawn}</svg>{_times(shown, course)}</div>'
        f'<div class="amounts" aria-hidden="true">{counts}</div></div>'
    )


def when_text(shown: PageSession) -> str:
    """Write when a session was: its date, its first and last moment, and the time zone."""
    segments = shown.session.segments
    first, last = int(segments[0, 0]), int(segments[:, 1].max())
    if not shown.session.is_dated:
        n_recordings = shown.session.n_timelines
        of = "a recording" if n_recordings == 1 else f"{n_recordings:,} recordings end to end"
        return f"{clock_text(first / 1000, 1)} to {clock_text(last / 1000, 1)} of {of}"
    start, stop = _local(first, shown.zone), _local(last, shown.zone)
    is_short = last - first < 120_000
    written = "%H:%M:%S" if is_short else "%H:%M"
    end = f"{stop:{written}}" if stop.date() == start.date() else f"{stop:%Y-%m-%d {written}}"
    return f"{start:%Y-%m-%d {written}} to {end} ({shown.zone})"


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a strip: its name, what it draws, how many it has, and all that in words."""

    kind: str
    name: str
    drawn: str
    count: str
    says: str


def _call_rows(session: Session, course: _Course, type_names: Sequence[str]) -> list[_Row]:
    numbers: Counter[int] = Counter(session.sound_types.tolist())
    grouped = sorted(
        (kind for kind in numbers if kind >= 0), key=lambda kind: (-numbers[kind], kind)
    )
    alone = MOST_TYPES if len(grouped) > MOST_TYPES + 1 else len(grouped)
    shown = [([kind], type_names[kind]) for kind in sorted(grouped[:alone])]
    if grouped[alone:]:
        shown.append((grouped[alone:], f"{len(grouped) - alone} other types"))
    if numbers[-1]:
        shown.append(([-1], "not grouped"))
    rows = []
    for kinds, name in shown:
        places = course.place(session.starts[np.isin(session.sound_types, kinds)])
        rows.append(_ticks("heard", name, places, session.duration_ms))
    return rows


def _unobserved_row(shown: PageSession, course: _Course) -> _Row:
    knots = np.maximum.accumulate(shown.session.segments.ravel())
    along = np.stack([course.begins, course.ends], axis=1).ravel()
    places = np.interp(shown.unobserved_ms, knots, along)
    return _ticks("unobserved", "unobserved", places, shown.session.duration_ms)


def _ticks(kind: str, name: str, places: NDArray[np.float64], duration_ms: int) -> _Row:
    """Draw calls one by one, or, where there are many, how many there are in each bin."""
    n_calls = len(places)
    says = f"{name}, {count_text(n_calls, 'call')}"
    if n_calls <= MOST_TICKS:
        starts = np.minimum(places * STRIP_WIDTH, STRIP_WIDTH - TICK)
        drawn = _runs(np.stack([starts, starts + TICK], axis=1))
    else:
        numbers = np.histogram(places, bins=N_BINS, range=(0, 1))[0]
        drawn = _steps(numbers)
        says += f", up to {numbers.max():,} in {length(duration_ms / N_BINS)}"
    return _Row(kind, name, drawn, f"{n_calls:,}", says)


def _behaviour_rows(session: Session, course: _Course) -> list[_Row]:
    seen = {name: spans for name, spans in session.behaviours.items() if len(spans)}
    by_length = sorted(seen, key=lambda name: -int(np.diff(seen[name], axis=1).sum()))
    alone = MOST_BEHAVIOURS if len(seen) > MOST_BEHAVIOURS + 1 else len(seen)
    shown = [(name, seen[name]) for name in sorted(by_length[:alone])]
    if by_length[alone:]:
        rest = np.concatenate([seen[name] for name in by_length[alone:]])
        shown.append((f"{len(seen) - alone} other behaviours", rest[np.argsort(rest[:, 0])]))
    rows = []
    for name, spans in shown:
        placed = course.spans(spans) * STRIP_WIDTH
        placed[:, 1] = np.maximum(placed[:, 1], placed[:, 0] + TICK)
        count = f"{len(spans):,}×"
        rows.append(_Row("seen", name, _runs(placed), count, f"{name}, {len(spans):,} times"))
    return rows


def _runs(spans: NDArray[np.float64]) -> str:
    """Draw spans in whole units as one path; those that touch are one."""
    edges = np.rint(spans[np.argsort(spans[:, 0], kind="stable")]).astype(int)
    reached = np.maximum.accumulate(edges[:, 1])
    is_apart = np.append(True, edges[1:, 0] > reached[:-1])
    starts, stops = edges[is_apart, 0], reached[np.append(is_apart[1:], True)]
    steps = starts - np.append(0, stops[:-1])
    path = "".join(
        f"m{step},0h{length}"
        for step, length in zip(steps.tolist(), (stops - starts).tolist(), strict=True)
    )
    return f'<path d="M0,{BAR_TOP + BAR_HEIGHT // 2}{path}"/>'


def _steps(numbers: NDArray[np.integer]) -> str:
    """Draw how many there are in each bin, as one path."""
    width = STRIP_WIDTH // len(numbers)
    floor = BAR_TOP + BAR_HEIGHT
    # What is there at all shows: at least a pixel high.
    heights = np.ceil(numbers / numbers.max() * BAR_HEIGHT).astype(int)
    path, run = f"M0,{floor}", 0
    for number, height in enumerate(heights.tolist()):
        run += width
        if number + 1 == len(heights) or heights[number + 1] != height:
            path += f"V{floor - height}h{run}"
            run = 0
    return f'<path class="filled" d="{path}V{floor}z"/>'


def _times(shown: PageSession, course: _Course) -> str:
    """Write times below a strip: where stretches begin, and round ones, as have room."""
    segments = shown.session.segments
    step_ms = next(
        (step for step in STEPS_MS if shown.session.duration_ms / step <= MOST_TIMES), STEPS_MS[-1]
    )
    begun = [(stretch, int(start)) for stretch, start in enumerate(segments[:, 0])]
    rounded = []
    for stretch, (start, stop) in enumerate(segments.tolist()):
        ahead = 0
        if shown.session.is_dated:
            offset = _local(start, shown.zone).utcoffset() or timedelta()
            ahead = round(offset.total_seconds() * 1000)
        first = math.ceil((start + ahead) / step_ms) * step_ms - ahead
        n_times = math.ceil((stop - first) / step_ms)
        rounded += [(stretch, first + n * step_ms) for n in range(n_times)]
    placed: list[tuple[float, float]] = []
    for stretch, at_ms in [*rounded, *begun] if len(segments) == 1 else [*begun, *rounded]:
        share = course.begins[stretch] + (at_ms - int(segments[stretch, 0])) * course.scale
        is_free = all(abs(share - other) >= TIME_SPACING for other, _ in placed)
        if is_free and share <= LAST_TIME:
            placed.append((float(share), at_ms))
    written, day = "", _day(shown, int(segments[0, 0]))
    for share, at_ms in sorted(placed):
        date = _day(shown, at_ms)
        text = _time_text(shown, at_ms, step_ms)
        if date != day:
            text, day = f"{date} {text}", date
        written += f'<span class="time" style="left:{share:.1%}">{text}</span>'
    return f'<div class="times" aria-hidden="true">{written}</div>'


def _day(shown: PageSession, at_ms: float) -> str:
    return f"{_local(at_ms, shown.zone):%d %b}" if shown.session.is_dated else ""


def _time_text(shown: PageSession, at_ms: float, step_ms: float) -> str:
    if not shown.session.is_dated:
        return clock_text(at_ms / 1000, 1)
    return f"{_local(at_ms, shown.zone):{'%H:%M' if step_ms >= 60_000 else '%H:%M:%S'}}"


def _local(at_ms: float, zone: tzinfo) -> datetime:
    return (EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)
