"""Find the dates in a log that are slips.

In come the times of the rows, in the order of the log; out come those of which the year alone falls
out of that order, as where a cell was dragged down in a spreadsheet, which counts the year up, or
where January still has the old year; and those of a night that kept the date of its evening.
:mod:`oscine.behaviour.orders` and :mod:`oscine.behaviour.rows` call.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Sequence
from datetime import date
from itertools import groupby
from typing import NamedTuple

from oscine.sound.clock import EPOCH

DAY_MS = 86_400_000
"""Length of a day."""

_SLIPS_SHARE = 0.2
"""A log of which more than this share of the rows is out of order has no order to slip from."""
_SLIP_DAYS = 31
"""By how much, at most, a date differs from those around it when its year is put right."""
_DAYS = range(date.min.toordinal() - EPOCH.toordinal(), date.max.toordinal() - EPOCH.toordinal())
"""That can be written as dates."""


class Slip(NamedTuple):
    """A row whose year is out of order: the row beside it, and its time in that one's year."""

    beside: int
    right_ms: int


def slips_of_year(times_ms: Sequence[int | None]) -> dict[int, Slip]:
    """Find the rows whose year alone falls out of the order of the log.

    Rows of one day that follow each other are a block. Where a block is of the same day and month
    as the one before, and the clock just runs on, one of them slips: that of the year of fewer
    rows. Of the other blocks the heaviest run that never goes back is taken for the order of the
    log; a block outside of it slips if another year puts it between its neighbours.

    Parameters
    ----------
    times_ms : sequence of int or None
        Wall-clock times in the order of the log; None where there is none.

    Returns
    -------
    dict of int to Slip
        By row.
    """
    rows = [(at, ms) for at, ms in enumerate(times_ms) if ms is not None and ms // DAY_MS in _DAYS]
    blocks = [list(same) for _, same in groupby(rows, key=lambda row: row[1] // DAY_MS)]
    days = [block[0][1] // DAY_MS for block in blocks]
    years = [date.fromordinal(day + EPOCH.toordinal()).year for day in days]
    n_rows: Counter[int] = Counter()
    for year, block in zip(years, blocks, strict=True):
        n_rows[year] += len(block)
    slips: dict[int, Slip] = {}

    def mark(n: int, right_day: int, beside: int) -> None:
        shift_ms = (right_day - days[n]) * DAY_MS
        near = blocks[beside][-1 if beside < n else 0][0]
        slips.update((at, Slip(near, ms + shift_ms)) for at, ms in blocks[n])

    kept: list[int] = []
    for n, day in enumerate(days):
        last = kept[-1] if kept else n
        runs_on = blocks[n][0][1] % DAY_MS >= blocks[last][-1][1] % DAY_MS
        if day == days[last] or not runs_on or _in_year_of(day, days[last]) != days[last]:
            kept.append(n)
        elif n_rows[years[last]] < n_rows[years[n]]:
            mark(last, day, n)
            kept[-1] = n
        else:
            mark(n, days[last], last)

    forward = _longest_forward([days[n] for n in kept], [len(blocks[n]) for n in kept])
    order = [kept[at] for at in sorted(forward)]
    outside = [kept[at] for at in range(len(kept)) if at not in forward]
    if sum(len(blocks[n]) for n in outside) > _SLIPS_SHARE * len(rows):
        return slips
    for n in outside:
        place = bisect_right(order, n)
        around = order[max(0, place - 1) : place + 1]
        right = _in_year_of(days[n], days[around[0]])
        is_between = all(days[one] <= right if one < n else right <= days[one] for one in around)
        if right != days[n] and is_between and abs(right - days[around[0]]) <= _SLIP_DAYS:
            mark(n, right, around[0])
    return slips


def kept_evenings(
    times_ms: Sequence[int | None], groups: Sequence[Hashable]
) -> dict[int, tuple[int, int]]:
    """Find where a night log keeps the date of the evening after midnight.

    Of rows of one group and date that follow each other, time goes back by more than half a day
    once, to before all that stood there; on both sides of that it goes forward.

    Parameters
    ----------
    times_ms : sequence of int or None
        Wall-clock times in the order of the log; None where there is none.
    groups : sequence of N values
        What must be the same for rows to be of one night, such as the session.

    Returns
    -------
    dict of int to (int, int)
        By row, the first after midnight: the time before it, and its own.
    """
    rows = [
        (at, ms, (ms // DAY_MS, group))
        for at, (ms, group) in enumerate(zip(times_ms, groups, strict=True))
        if ms is not None
    ]
    found: dict[int, tuple[int, int]] = {}
    for _, same in groupby(rows, key=lambda row: row[2]):
        run = [(at, ms) for at, ms, _ in same]
        times = [ms for _, ms in run]
        back = (n for n in range(1, len(run)) if times[n - 1] - times[n] > DAY_MS // 2)
        n = next(back, None)
        if n is None:
            continue
        evening, night = times[:n], times[n:]
        goes_on = evening[0] <= evening[-1] and night[0] <= night[-1]
        if goes_on and max(night) < min(evening):
            found[run[n][0]] = evening[-1], night[0]
    return found


def _in_year_of(day: int, other: int) -> int:
    """Return a day in the year that brings it nearest to another."""
    start = EPOCH.toordinal()
    one, beside = date.fromordinal(day + start), date.fromordinal(other + start)
    options: list[int] = []
    for year in (beside.year - 1, beside.year, beside.year + 1):
        try:
            options.append(one.replace(year=year).toordinal() - start)
        except ValueError:  # 29 February
            continue
    return min(options, key=lambda option: abs(option - other), default=day)


def _longest_forward(values: Sequence[int], weights: Sequence[int]) -> set[int]:
    """Return the places of the heaviest subsequence that never falls."""
    # Best weight of a subsequence that ends at or below a value: kept as a rising staircase.
    tops: list[int] = []
    best: list[tuple[int, int]] = []  # weight, place
    previous: list[int] = []
    for at, (value, weight) in enumerate(zip(values, weights, strict=True)):
        step = bisect_right(tops, value)
        total = weight + (best[step - 1][0] if step else 0)
        previous.append(best[step - 1][1] if step else -1)
        stop = step
        while stop < len(tops) and best[stop][0] <= total:
            stop += 1
        if step and tops[step - 1] == value:
            step -= 1
        tops[step:stop] = [value]
        best[step:stop] = [(total, at)]
    at = best[-1][1] if best else -1
    kept: set[int] = set()
    while at >= 0:
        kept.add(at)
        at = previous[at]
    return kept
