"""Figures of a page as SVG: rows of marks, and curves over two axes.

In come names, numbers and signs; out goes SVG that takes its colours from the page (`figures.css`),
so that it follows light and dark. Shape and dashes tell apart what colour does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Sizes in units of the drawing: CSS pixels, a fifth less on a phone.
WIDTH, ROW_HEIGHT, LETTER_WIDTH = 440, 24, 8.2
LONGEST_NAME = 24
NOTE_WIDTH = 108
AXIS_HEIGHT = 44
MOST_STEPS = 4
STEPS = (
    *(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5),
    *(n * 10**power for power in range(9) for n in (1, 2, 5)),
)
PANEL_LEFT, PANEL_HEIGHT = 62, 370


@dataclass(frozen=True, kw_only=True, slots=True)
class Sign:
    """How one thing looks in every figure: shape and dashes tell it apart without the colour."""

    shape: str
    tint: str
    dashes: str = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """An axis: its name with the unit, its ends, its ticks, and a line across it."""

    name: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    reference: float | None = None

    def place(self, value: float, start: float, stop: float) -> float:
        """Return where a value lies on a drawing on which the axis goes from start to stop."""
        return start + (value - self.low) / (self.high - self.low) * (stop - start)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A sign at a place."""

    at: float
    sign: Sign
    is_hollow: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of a figure: what it is of, its marks, a span between two places, and a note."""

    name: str
    marks: Sequence[Mark]
    note: str = ""
    span: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A line through points, marks on some of them, and bars from low to high at x."""

    name: str
    sign: Sign
    points: Sequence[tuple[float, float]]
    marked: Sequence[tuple[float, float]] = ()
    bars: Sequence[tuple[float, float, float]] = ()


SHAPES = {
    "circle": "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z",
    "square": "M-4.5,-4.5h9v9h-9z",
    "diamond": "M0,-6.5 6.5,0 0,6.5 -6.5,0z",
    "up": "M0,-5.5 5.5,4.5h-11z",
    "down": "M0,5.5 5.5,-4.5h-11z",
    "plus": "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    "saltire": "M-5,-3 -3,-5 0,-2 3,-5 5,-3 2,0 5,3 3,5 0,2 -3,5 -5,3 -2,0z",
    "bar": "M-0.5,-7h1v14h-1z",
    "none": "",
}


def axis_from(name: str, low: float, high: float, *, reference: float | None = None) -> Axis:
    """Make an axis with round ticks, widened to the next tick."""
    high = max(high, low + 0.01)

    def ends(step: float) -> tuple[int, int]:
        return math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)

    step = next((one for one in STEPS if ends(one)[1] - ends(one)[0] <= MOST_STEPS), STEPS[-1])
    first, last = ends(step)
    numbers = [number * step for number in range(first, last + 1)]
    ticks = [(number, f"{number:,.9g}".replace("-", "−")) for number in numbers]
    return Axis(name=name, low=numbers[0], high=numbers[-1], ticks=ticks, reference=reference)


def row_chart(says: str, axis: Axis, rows: Sequence[Row]) -> str:
    """Draw marks on a row for each name, with a note at the end of the row."""
    longest = min(max(len(row.name) for row in rows), LONGEST_NAME)
    left, right = longest * LETTER_WIDTH + 16, WIDTH - NOTE_WIDTH
    bottom = len(rows) * ROW_HEIGHT + 6
    drawn = _across(axis, left, right, 0, bottom)
    for number, row in enumerate(rows):
        y = number * ROW_HEIGHT + ROW_HEIGHT / 2 + 3
        drawn += (
            f"<g><title>{escape(f'{row.name}: {row.note}')}</title>"
            + _text(left - 8, y + 4.5, shortened(row.name), anchor="end")
            + _text(right + 12, y + 4.5, row.note)
        )
        places = [axis.place(mark.at, left, right) for mark in row.marks]
        if row.span is not None:
            start, stop = (axis.place(end, left, right) for end in row.span)
            drawn += line_through([(start, y), (stop, y)], row.marks[0].sign, kind="span")
        for x, mark in zip(places, row.marks, strict=True):
            drawn += mark_at(x, y, mark.sign, is_hollow=mark.is_hollow)
        drawn += "</g>"
    return _svg(says, WIDTH, bottom + AXIS_HEIGHT, drawn)


def curve_chart(
    says: str,
    across: Axis,
    up: Axis,
    curves: Sequence[Curve],
    *,
    has_diagonal: bool = False,
    band: Sequence[tuple[float, float, float]] = (),
) -> str:
    """Draw curves over two axes, and behind them a band from low to high at each x."""
    left, right, top, bottom = PANEL_LEFT, WIDTH - 12, 8, PANEL_HEIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        return across.place(x, left, right), up.place(y, bottom, top)

    inside = ""
    if has_diagonal:
        ends = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, *[(up.low, up.high)] * 2))
        inside += f'<polyline class="diagonal" points="{ends}"/>'
    if band:
        edge = [(x, high) for x, _, high in band] + [(x, low) for x, low, _ in reversed(band)]
        ends = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in edge))
        inside += f'<polygon class="band" points="{ends}"/>'
    for curve in curves:
        inside += f"<g><title>{escape(curve.name)}</title>"
        if curve.points:
            inside += line_through([place(*point) for point in curve.points], curve.sign)
        for x, low, high in curve.bars:
            inside += line_through([place(x, low), place(x, high)], curve.sign, kind="span")
        inside += "".join(mark_at(*place(*point), curve.sign) for point in curve.marked) + "</g>"
    # A viewport of its own cuts off what lies beyond the axes.
    size = f'x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"'
    box = f'viewBox="{left} {top} {right - left} {bottom - top}"'
    drawn = (
        _across(across, left, right, top, bottom)
        + _upwards(up, left, right, top, bottom)
        + f'<svg {size} {box}>{inside}</svg><rect class="frame" {size}/>'
    )
    return _svg(says, WIDTH, bottom + AXIS_HEIGHT, drawn)


def _across(axis: Axis, left: float, right: float, top: float, bottom: float) -> str:
    """Draw grid, ticks and name of the axis that goes across."""
    drawn = ""
    for value, name in axis.ticks:
        x = axis.place(value, left, right)
        drawn += f'<path class="grid" d="M{x:.1f},{top}V{bottom}"/>'
        drawn += _text(x, bottom + 16, name, kind="tick", anchor="middle")
    if axis.reference is not None:
        x = axis.place(axis.reference, left, right)
        drawn += f'<path class="reference" d="M{x:.1f},{top}V{bottom}"/>'
    return drawn + _text((left + right) / 2, bottom + 36, axis.name, anchor="middle")


def _upwards(axis: Axis, left: float, right: float, top: float, bottom: float) -> str:
    """Draw grid, ticks and name of the axis that goes up."""
    drawn = ""
    for value, name in axis.ticks:
        y = axis.place(value, bottom, top)
        drawn += f'<path class="grid" d="M{left},{y:.1f}H{right}"/>'
        drawn += _text(left - 6, y + 4, name, kind="tick", anchor="end")
    if axis.reference is not None:
        y = axis.place(axis.reference, bottom, top)
        drawn += f'<path class="reference" d="M{left},{y:.1f}H{right}"/>'
    middle = (top + bottom) / 2
    turned = f'transform="rotate(-90 14 {middle})"'
    return drawn + (
        f'<text x="14" y="{middle}" text-anchor="middle" {turned}>{escape(axis.name)}</text>'
    )


def line_through(points: Sequence[tuple[float, float]], sign: Sign, *, kind: str = "curve") -> str:
    """Draw a line through points; a ``span`` is never dashed."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = f' stroke-dasharray="{sign.dashes}"' if kind == "curve" else ""
    return f'<polyline class="{kind} tint-{sign.tint}"{dashes} points="{joined}"/>'


def mark_at(x: float, y: float, sign: Sign, *, is_hollow: bool = False) -> str:
    """Draw a sign at a place."""
    hollow = " hollow" if is_hollow else ""
    place = f'transform="translate({x:.1f} {y:.1f})"'
    return f'<path class="mark tint-{sign.tint}{hollow}" {place} d="{SHAPES[sign.shape]}"/>'


def _text(x: float, y: float, words: str, *, kind: str = "name", anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def _svg(says: str, width: float, height: float, inside: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(says)}">'
        f"{inside}</svg>"
    )


def shortened(name: str) -> str:
    """Cut a name to what a figure has room for."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
