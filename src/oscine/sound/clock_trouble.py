"""What is wrong with the clocks of many recordings, in plain sentences.

In come rows of path, recorder, start and length; out come sentences that name files: clocks that
were never set, went back or overlap, and gaps in a schedule. `oscine.steps` asks after it has
read when each recording was made (`oscine.sound.clock`).
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np

from oscine.sound.clock import EARLIEST_SET, EPOCH, MODIFICATION, epoch_ms, written

_DAY_MS = 86_400_000
_YEAR_MS = 366 * _DAY_MS
_SLACK_MS = 2000
"""Starts are cut to seconds in file names, so that good clocks may overlap by as much."""

_MOST_STRAYS = 0.1
"""The share of a folder's files that may be far from its others and count as strays."""

_FEWEST_FOR_SCHEDULE = 10
_LONG_GAP_PERIODS = 1.5
_DAYS_OF_A_PAUSE = 3
_NAMED_FILES = 3


class Timed(NamedTuple):
    """One recording of many."""

    path: str
    """Below the archive's folder, with `/` between names."""
    key: str
    """Recorder or site: what can record but one file at a time."""
    start_ms: int | None
    """Milliseconds since 1970 UTC."""
    duration_ms: int
    source: str
    """As `ClockReading.source`."""


def clock_trouble(recordings: Iterable[Timed | tuple[str, str, int | None, int, str]]) -> list[str]:
    """Say what is wrong with the clocks of many recordings, in plain sentences that name files.

    Told are recordings without a time or with a weak one; clocks that were never set, or that are
    more than a year from nearly all of their folder; recordings of one recorder that overlap; times
    that go back from one file name of a folder to the next; and gaps in a regular schedule. Pauses
    that come back at the same time of day, three times or more, belong to the schedule.

    Parameters
    ----------
    recordings
        In any order. O(n log n) in their number; a million take seconds.
    """
    paths: list[str] = []
    starts_ms, durations_ms = array("q"), array("q")
    timeless: list[str] = []
    weak: list[str] = []
    rows_of: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
    for path, key, start_ms, duration_ms, source in recordings:
        if start_ms is None:
            timeless.append(path)
        elif source == MODIFICATION:
            weak.append(path)
        else:
            rows_of[key].append(len(paths))
            paths.append(path)
            starts_ms.append(start_ms)
            durations_ms.append(duration_ms)
    troubles = _told(sorted(timeless), "without a known start time")
    troubles += _told(sorted(weak), "with no start time but that of the file's last change")
    start_ms, duration_ms = np.array(starts_ms, np.int64), np.array(durations_ms, np.int64)
    for key, rows in sorted(rows_of.items()):
        of = f"of {key} " if key else ""
        # Within a folder in the order of names, REC2 before REC10.
        order = sorted(rows, key=lambda row: (len(paths[row]), paths[row]))
        names = [paths[row] for row in order]
        clock = _Clock(of, names, start_ms[order], start_ms[order] + duration_ms[order])
        is_unset = clock.start_ms < epoch_ms(EARLIEST_SET)
        troubles += _told(clock.names(is_unset), f"{of}whose clock was never set, or was reset")
        clock = clock.only(~is_unset)
        folders = clock.folders()
        is_stray = np.zeros(len(clock.paths), bool)
        for folder in folders:
            is_stray[folder] = _strays(clock.start_ms[folder])
        what = f"{of}more than a year from the others of their folder"
        troubles += _told(clock.names(is_stray), what)
        clock = clock.only(~is_stray)
        troubles += _backward(clock)
        clock = clock.only(np.argsort(clock.start_ms, kind="stable"))
        troubles += _overlaps(clock) + _gaps(clock)
    return troubles


class _Clock(NamedTuple):
    """The recordings of one recorder; `of` is its name as sentences hold it."""

    of: str
    paths: Sequence[str]
    start_ms: np.ndarray
    stop_ms: np.ndarray

    def names(self, chosen: np.ndarray) -> list[str]:
        return [self.paths[row] for row in np.flatnonzero(chosen).tolist()]

    def only(self, chosen: np.ndarray) -> "_Clock":
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        paths = [self.paths[row] for row in rows.tolist()]
        return _Clock(self.of, paths, self.start_ms[rows], self.stop_ms[rows])

    def folders(self) -> list[list[int]]:
        rows_of: defaultdict[str, list[int]] = defaultdict(list)
        for row, path in enumerate(self.paths):
            rows_of[path.rpartition("/")[0]].append(row)
        return list(rows_of.values())

    def moment(self, row: int) -> str:
        time = EPOCH + timedelta(milliseconds=int(self.start_ms[row]))
        return f"{self.paths[row]} ({written(time)} UTC)"


def _strays(start_ms: np.ndarray) -> np.ndarray:
    is_far = np.abs(start_ms - np.median(start_ms)) > _YEAR_MS
    return is_far & (is_far.mean() <= _MOST_STRAYS)


def _backward(clock: _Clock) -> list[str]:
    jumps: list[tuple[int, int, int]] = []
    for folder in clock.folders():
        back_ms = -np.diff(clock.start_ms[folder])
        found = np.flatnonzero(back_ms > _SLACK_MS)
        jumps += [(int(back_ms[at]), folder[at], folder[at + 1]) for at in found]
    if not jumps:
        return []
    back_ms, before, after = max(jumps)
    number = "once" if len(jumps) == 1 else f"{len(jumps)} times"
    return [
        f"{number} the clock {clock.of}goes back from one file name to the next; most from "
        f"{clock.moment(before)} to {clock.moment(after)}, by {_length(back_ms)}"
    ]


def _overlaps(clock: _Clock) -> list[str]:
    """Find recordings that begin before an earlier one ends; the clock is in order of time."""
    ends_ms = np.maximum.accumulate(clock.stop_ms)[:-1]
    overlap_ms = np.minimum(ends_ms, clock.stop_ms[1:]) - clock.start_ms[1:]
    is_early = clock.start_ms[1:] < ends_ms - _SLACK_MS
    if not is_early.any():
        return []
    second = int(np.argmax(np.where(is_early, overlap_ms, -1))) + 1
    first = int(np.argmax(clock.stop_ms[:second]))
    n_early = int(is_early.sum())
    number = "1 recording" if n_early == 1 else f"{n_early} recordings"
    return [
        f"{number} {clock.of}{'begins' if n_early == 1 else 'begin'} before an earlier one ends: "
        "two recorders under one name, copies, or a clock that was set back; most "
        f"{clock.moment(first)} and {clock.moment(second)}, by "
        f"{_length(int(overlap_ms[second - 1]))}"
    ]


def _gaps(clock: _Clock) -> list[str]:
    """Find gaps in a regular schedule; the clock is in order of time."""
    if len(clock.paths) < _FEWEST_FOR_SCHEDULE:
        return []
    step_ms = np.diff(clock.start_ms)
    period_ms = float(np.median(step_ms))
    is_regular = np.abs(step_ms - period_ms) <= max(_SLACK_MS, 0.1 * period_ms)
    if period_ms <= 0 or is_regular.mean() < 0.5:
        return []
    gaps = np.flatnonzero(step_ms > _LONG_GAP_PERIODS * period_ms).tolist()
    # Two gaps are one pause where they begin and end at the same time of day, to a period.
    slots = (clock.start_ms % _DAY_MS // period_ms).astype(int).tolist()
    n_days = Counter((slots[gap], slots[gap + 1]) for gap in gaps)
    gaps = [gap for gap in gaps if n_days[slots[gap], slots[gap + 1]] < _DAYS_OF_A_PAUSE]
    if not gaps:
        return []
    longest = max(gaps, key=lambda gap: step_ms[gap])
    number = "1 gap" if len(gaps) == 1 else f"{len(gaps)} gaps"
    return [
        f"{number} in the schedule {clock.of}(one recording each {_length(round(period_ms))}); the "
        f"longest, {_length(int(step_ms[longest]))}, from {clock.moment(longest)} to "
        f"{clock.moment(longest + 1)}"
    ]


def _told(paths: Sequence[str], what: str) -> list[str]:
    if not paths:
        return []
    number = "1 recording" if len(paths) == 1 else f"{len(paths)} recordings"
    others = f" and {len(paths) - _NAMED_FILES} more" if len(paths) > _NAMED_FILES else ""
    return [f"{number} {what}: {', '.join(paths[:_NAMED_FILES])}{others}"]


def _length(length_ms: int) -> str:
    """Write a length of time in its two largest units (`2 days 3 h`, `10 min`)."""
    parts, rest = [], length_ms
    for unit_ms, unit in ((_DAY_MS, "days"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        number, rest = divmod(rest, unit_ms)
        if number:
            parts.append("1 day" if (number, unit) == (1, "days") else f"{number} {unit}")
    return " ".join(parts[:2]) or f"{length_ms} ms"
