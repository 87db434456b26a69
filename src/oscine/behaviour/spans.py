"""Many intervals at once: their union, what they share, and all timelines on one axis.

In come arrays of starts and stops; out come others. The rest of the join is written with these, so
that no loop in Python goes over calls, observations or timelines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oscine.behaviour.sessions import Whole


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Axis:
    """All timelines end to end, so that one sorted search serves them all.

    Attributes
    ----------
    first, last : np.ndarray of int64 [shape=(K,)]
        What is searched on timeline k lies within, in ms.
    begins : np.ndarray of int64 [shape=(K,)]
        Where `first` comes to lie.
    """

    first: Whole
    last: Whole
    begins: Whole

    @classmethod
    def of(cls, timelines: Whole, starts: Whole, stops: Whole, n_timelines: int) -> Axis:
        """Make an axis with room for some intervals, and a millisecond more on both sides."""
        first, last = np.full((2, n_timelines), 0, np.int64)
        first[timelines], last[timelines] = starts, stops  # any one of them, to begin with
        np.minimum.at(first, timelines, starts - 1)
        np.maximum.at(last, timelines, stops + 1)
        ends = np.cumsum(last - first + 1)
        return cls(first=first, last=last, begins=ends - (last - first + 1))

    def at(self, timelines: Whole, times_ms: Whole) -> Whole:
        """Return where times lie; what is outside the room of a timeline goes to its edge."""
        first = self.first[timelines]
        inside = np.clip(times_ms, first, self.last[timelines])
        return self.begins[timelines] + inside - first

    def spans(self, timelines: Whole, starts_ms: Whole, stops_ms: Whole) -> Whole:
        """Return where intervals lie [shape=(N, 2)]."""
        return np.stack((self.at(timelines, starts_ms), self.at(timelines, stops_ms)), axis=1)

    def timelines(self, positions: Whole) -> Whole:
        """Return the timelines that positions are of."""
        return np.searchsorted(self.begins, positions, side="right") - 1

    def back(self, timelines: Whole, positions: Whole) -> Whole:
        """Return the times on their timelines that lie at positions; the two are broadcast."""
        return positions - self.begins[timelines] + self.first[timelines]


def merged(spans: Whole) -> Whole:
    """Return the union of some intervals: apart from each other, ascending.

    Parameters
    ----------
    spans : np.ndarray of int64 [shape=(N, 2)]
        Starts and stops. Empty ones are left out; those that touch become one.
    """
    spans = spans[spans[:, 1] > spans[:, 0]]
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reached = np.maximum.accumulate(spans[:, 1])
    is_first = np.ones(len(spans), bool)
    is_first[1:] = spans[1:, 0] > reached[:-1]
    is_last = np.append(is_first[1:], True)[: len(spans)]
    return np.stack((spans[is_first, 0], reached[is_last]), axis=1)


def merged_by_group(groups: Whole, spans: Whole) -> tuple[Whole, Whole]:
    """Return the union of the intervals of each group, in the order of groups.

    Parameters
    ----------
    groups : np.ndarray of int64 [shape=(N,)]
        From 0.
    spans : np.ndarray of int64 [shape=(N, 2)]

    Returns
    -------
    groups : np.ndarray of int64 [shape=(M,)]
    spans : np.ndarray of int64 [shape=(M, 2)]
    """
    times, ranks = np.unique(spans, return_inverse=True)
    room = len(times) + 1  # what ends one group does not touch what begins the next
    united = merged(ranks.reshape(-1, 2) + groups[:, None] * room)
    owners = united[:, 0] // room
    return owners, times[united - owners[:, None] * room]


def cut(spans: Whole, by: Whole) -> tuple[Whole, Whole, Whole]:
    """Return every stretch that one of some intervals shares with one of others.

    Parameters
    ----------
    spans : np.ndarray of int64 [shape=(N, 2)]
    by : np.ndarray of int64 [shape=(M, 2)]
        Apart from each other (they may touch), ascending.

    Returns
    -------
    rows, by_rows : np.ndarray of int64 [shape=(P,)]
        Which two share it; ascending.
    parts : np.ndarray of int64 [shape=(P, 2)]
    """
    first = np.searchsorted(by[:, 1], spans[:, 0], side="right")
    last = np.searchsorted(by[:, 0], spans[:, 1], side="left")
    rows, by_rows = expanded(first, last)
    parts = np.stack(
        (np.maximum(spans[rows, 0], by[by_rows, 0]), np.minimum(spans[rows, 1], by[by_rows, 1])),
        axis=1,
    )
    kept = parts[:, 1] > parts[:, 0]
    return rows[kept], by_rows[kept], parts[kept]


def cut_by_group(groups: Whole, spans: Whole, by_groups: Whole, by: Whole) -> tuple[Whole, Whole]:
    """Return the stretches that intervals share with those of the same group.

    Parameters
    ----------
    groups, by_groups : np.ndarray of int64 [shape=(N,)], [shape=(M,)]
        From 0; `by_groups` ascending.
    spans, by : np.ndarray of int64 [shape=(N, 2)], [shape=(M, 2)]
        `by` as in :func:`cut` within each group.

    Returns
    -------
    rows : np.ndarray of int64 [shape=(P,)]
    parts : np.ndarray of int64 [shape=(P, 2)]
    """
    times, ranks = np.unique(np.concatenate((spans, by)), return_inverse=True)
    ranks = ranks.reshape(-1, 2)
    room = len(times)
    rows, _, parts = cut(
        ranks[: len(spans)] + groups[:, None] * room,
        ranks[len(spans) :] + by_groups[:, None] * room,
    )
    return rows, times[parts - groups[rows, None] * room]


def sharing(spans: Whole, windows: Whole, block: int) -> Iterator[tuple[Whole, Whole]]:
    """Find out which of some intervals share time with which of others; all may overlap.

    Intervals are sorted by length class and start: of a class, those that can share time with a
    window begin in a stretch that is at most twice as long as it needs to be, however long the
    longest of all is.

    Parameters
    ----------
    spans : np.ndarray of int64 [shape=(N, 2)]
        None is empty.
    windows : np.ndarray of int64 [shape=(M, 2)]
        None is empty.
    block : int
        About how many pairs are looked at at once; more, where one window has more.

    Yields
    ------
    rows, window_rows : np.ndarray of int64 [shape=(P,)]
        The pairs, each once, in no particular order.
    """
    starts, lengths = spans[:, 0], spans[:, 1] - spans[:, 0]
    classes = np.frexp(lengths)[1]
    order = np.lexsort((starts, classes))
    borders = np.flatnonzero(np.diff(classes[order])) + 1
    for rows in np.split(order, borders) if len(order) else []:
        first = np.searchsorted(starts[rows], windows[:, 0] - lengths[rows].max(), side="right")
        last = np.searchsorted(starts[rows], windows[:, 1], side="left")
        ends = np.cumsum(last - first)
        here = 0
        while here < len(windows):
            done = ends[here - 1] if here else 0
            there = max(here + 1, int(np.searchsorted(ends, done + block, side="right")))
            window_rows, numbers = expanded(first[here:there], last[here:there])
            window_rows += here
            found = rows[numbers]
            kept = spans[found, 1] > windows[window_rows, 0]
            yield found[kept], window_rows[kept]
            here = there


def expanded(first: NDArray[np.integer], last: NDArray[np.integer]) -> tuple[Whole, Whole]:
    """Return each whole number of some ranges [first, last), and the range that it is of.

    Returns
    -------
    rows, numbers : np.ndarray of int64 [shape=(P,)]
    """
    counts = np.maximum(last - first, 0)
    rows = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return rows, np.arange(len(rows)) + np.repeat(first - before, counts)


def length_ms(spans: Whole) -> int:
    """Return how long some intervals last together."""
    return int((spans[:, 1] - spans[:, 0]).sum())


def split_by(groups: Whole, n_groups: int) -> list[Whole]:
    """Return the rows of each group, in their order."""
    ends = np.cumsum(np.bincount(groups, minlength=n_groups))
    return np.split(np.argsort(groups, kind="stable"), ends[:-1]) if n_groups else []
