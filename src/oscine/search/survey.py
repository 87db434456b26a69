"""What the vectors of a whole archive say about it: sounds under two names, sounds like no other.

In come a neighbour index and which event is in which file when; out come pairs of recordings that
hold the same sound (in another encoding, louder, cut), and the events least like anything else.
Byte for byte copies never get here: the catalogue knows them. Called by the step that embeds.

Axes: N events, Q events that are asked, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from oscine.search.exact import Neighbours
from oscine.search.index import NeighbourIndex

MOST_COMPLETE = 200_000
"""Of so many events each is asked for its neighbours; of more, a sample."""
N_SAMPLED = 50_000
K = 32

SAME = 0.9
"""Likeness of an event and its copy. Measured on 73 real recordings and 286 copies of them (MP3,
Ogg Vorbis, 8 dB quieter, a second shorter) among 600 others: with these settings 442 of 579 pairs
with several events are found, and 58 of 68 with one. Of 450,000 pairs that are no copies 16 are
taken for some: songs and calls of one bird. At 0.8 it were 34 more, and 30 more such songs."""
SAME_ALONE = 0.95
"""The same where the shorter recording has one event only."""
SPREAD_S = 0.021
"""The events of a copy lie as far apart as those it was made from, to a frame on either side."""
LEAST_SHARE = 0.5
"""Of the events of the shorter recording, more than this must be found in the other."""
LEAST_ASKED_SHARE = 0.25
"""Of those asked, so many must be found for two recordings to be compared event by event."""
MOST_COMPARED = 20_000
ODD_RANK = 5
"""An event is as odd as its fifth nearest in other files is unlike it: copies hide nothing."""
N_ODD = 10
ASKED_AT_ONCE = 2**12


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Events:
    """The events that are present.

    Attributes
    ----------
    rows : np.ndarray of int64 [shape=(N,)]
        Of their vectors; ascending.
    recordings : np.ndarray of int64 [shape=(N,)]
        The same number for all channels of a file.
    starts_s : np.ndarray of float64 [shape=(N,)]
        Within the recording.
    """

    rows: np.ndarray
    recordings: np.ndarray
    starts_s: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicate:
    """Two recordings that hold the same sound.

    Attributes
    ----------
    recording, other : int
        The lower number first.
    offset_s : float
        What happens in the first at some time happens in the other so much later.
    n_events : int
        That were found in both.
    share : float
        Of the events of the one that has fewer.
    likeness : float
        Their median.
    """

    recording: int
    other: int
    offset_s: float
    n_events: int
    share: float
    likeness: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Oddity:
    """An event that is like no other.

    Attributes
    ----------
    row : int
    likeness : float
        To its fifth nearest event in other files.
    """

    row: int
    likeness: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What was found.

    Attributes
    ----------
    n_events, n_asked : int
        Events, and those whose neighbours were looked for.
    near_duplicates : tuple of NearDuplicate
        By the number of events found in both, most first.
    n_not_compared : int
        Pairs of recordings with a few events alike that were too many to compare.
    oddities : tuple of Oddity
        Oddest first; one a file, and at most ten.
    """

    n_events: int
    n_asked: int
    near_duplicates: tuple[NearDuplicate, ...]
    n_not_compared: int
    oddities: tuple[Oddity, ...]


def survey(
    index: NeighbourIndex,
    events: Events,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Ask events for their neighbours, and look for what stands out.

    Parameters
    ----------
    index : NeighbourIndex
    events : Events
    seed : int
        Of the sample that is asked where there are more than 200,000 events.
    progress : callable, optional
        Told the events asked and their number.

    Returns
    -------
    Survey
    """
    n_events = len(events.rows)
    asked = np.arange(n_events)
    if n_events > MOST_COMPLETE:
        asked = np.sort(np.random.default_rng(seed).choice(n_events, N_SAMPLED, replace=False))
    present = np.zeros(index.vectors.n_rows, bool)
    present[events.rows] = True
    recording_of = np.full(index.vectors.n_rows, -1)
    recording_of[events.rows] = events.recordings
    alike: list[np.ndarray] = []
    oddness = np.full(len(asked), np.inf, np.float32)
    for start in range(0, len(asked), ASKED_AT_ONCE):
        if progress is not None:
            progress(start, len(asked))
        some = asked[start : start + ASKED_AT_ONCE]
        queries = index.vectors.take(events.rows[some])
        near = index.search(queries, K, present)
        is_elsewhere = (near.rows >= 0) & (recording_of[near.rows] != events.recordings[some, None])
        alike.append(_alike(some, near, is_elsewhere, events))
        rest = slice(start, start + len(some))
        oddness[rest] = _oddness(
            index, queries, events.recordings[some], near, is_elsewhere, present, recording_of
        )
    if progress is not None:
        progress(len(asked), len(asked))
    duplicates, n_left = _near_duplicates(index, events, asked, np.concatenate([*alike, _NONE]))
    return Survey(
        n_events=n_events,
        n_asked=len(asked),
        near_duplicates=duplicates,
        n_not_compared=n_left,
        oddities=_oddest(events, asked, oddness),
    )


_NONE = np.empty((0, 2), np.int64)


def _alike(
    some: np.ndarray, near: Neighbours, is_elsewhere: np.ndarray, events: Events
) -> np.ndarray:
    """Return pairs of events of two files that may be the same sound [shape=(n, 2)]."""
    at, column = np.nonzero(is_elsewhere & (near.likeness >= SAME))
    other = np.searchsorted(events.rows, near.rows[at, column])
    return np.stack([some[at], other], axis=1)


def _oddness(
    index: NeighbourIndex,
    queries: np.ndarray,
    recordings: np.ndarray,
    near: Neighbours,
    is_elsewhere: np.ndarray,
    present: np.ndarray,
    recording_of: np.ndarray,
) -> np.ndarray:
    """Return how alike the fifth nearest in other files is; inf where there are not so many."""
    is_rank = is_elsewhere & (np.cumsum(is_elsewhere, axis=1) == ODD_RANK)
    found = np.where(
        is_rank.any(axis=1), near.likeness.max(axis=1, where=is_rank, initial=-1), np.inf
    )
    # Where the nearest are nearly all of the same file, the others are asked for by themselves.
    is_open = ~is_rank.any(axis=1) & (near.rows[:, -1] >= 0)
    for recording in np.unique(recordings[is_open]):
        here = np.flatnonzero(is_open & (recordings == recording))
        others = present & (recording_of != recording)
        likeness = index.search(queries[here], ODD_RANK, others).likeness[:, -1]
        found[here] = np.where(np.isinf(likeness), np.inf, likeness)
    return found


def _oddest(events: Events, asked: np.ndarray, oddness: np.ndarray) -> tuple[Oddity, ...]:
    """Return the events least like anything else, one a file."""
    found: dict[int, Oddity] = {}
    for number in np.argsort(oddness, kind="stable"):
        if len(found) == N_ODD or np.isinf(oddness[number]):
            break
        recording = int(events.recordings[asked[number]])
        row, likeness = int(events.rows[asked[number]]), round(float(oddness[number]), 4)
        found.setdefault(recording, Oddity(row=row, likeness=likeness))
    return tuple(found.values())


def _near_duplicates(
    index: NeighbourIndex, events: Events, asked: np.ndarray, alike: np.ndarray
) -> tuple[tuple[NearDuplicate, ...], int]:
    """Compare pairs of recordings that have events alike, and say how many were left out."""
    if len(alike) == 0:
        return (), 0
    numbers, of_event = np.unique(events.recordings, return_inverse=True)
    n_asked = np.bincount(of_event[asked], minlength=len(numbers))
    # Each asked event counts once for a pair of recordings, however often it is found there.
    votes = np.unique(
        np.stack([of_event[alike[:, 0]], of_event[alike[:, 1]], alike[:, 0]], 1), axis=0
    )
    pairs, counts = np.unique(votes[:, :2], axis=0, return_counts=True)
    shares = counts / np.maximum(1, n_asked[pairs[:, 0]])
    best: dict[tuple[int, int], float] = {}
    for (one, other), share in zip(pairs.tolist(), shares.tolist(), strict=True):
        pair = min(one, other), max(one, other)
        best[pair] = max(best.get(pair, 0.0), share)
    ranked = sorted(
        (pair for pair, share in best.items() if share >= LEAST_ASKED_SHARE),
        key=lambda pair: (-best[pair], pair),
    )
    order = np.argsort(of_event, kind="stable")
    borders = np.searchsorted(of_event[order], np.arange(len(numbers) + 1))
    found = []
    for one, other in ranked[:MOST_COMPARED]:
        mine, theirs = (order[borders[which] : borders[which + 1]] for which in (one, other))
        aligned = _aligned(index, events, mine, theirs)
        if aligned is not None:
            offset_s, n_events, likeness = aligned
            found.append(
                NearDuplicate(
                    recording=int(numbers[one]),
                    other=int(numbers[other]),
                    offset_s=round(offset_s, 2),
                    n_events=n_events,
                    share=round(n_events / min(len(mine), len(theirs)), 4),
                    likeness=round(likeness, 4),
                )
            )
    found.sort(key=lambda one: (-one.n_events, -one.share, one.recording, one.other))
    return tuple(found), len(ranked) - len(ranked[:MOST_COMPARED])


def _aligned(
    index: NeighbourIndex, events: Events, mine: np.ndarray, theirs: np.ndarray
) -> tuple[float, int, float] | None:
    """Return offset, events in both and their median likeness, where two recordings are the same.

    Most events of the shorter one must have their like in the other, all at one offset.
    """
    a, b = (index.vectors.take(events.rows[which]) for which in (mine, theirs))
    likeness = a @ b.T
    i, j = np.nonzero(likeness >= SAME)
    if len(i) == 0:
        return None
    offsets_s = events.starts_s[theirs[j]] - events.starts_s[mine[i]]
    order = np.argsort(offsets_s, kind="stable")
    offsets_s = offsets_s[order]
    stops = np.searchsorted(offsets_s, offsets_s + SPREAD_S, side="right")
    first = int(np.argmax(stops - np.arange(len(stops))))
    within = order[first : stops[first]]
    n_events = min(len(np.unique(i[within])), len(np.unique(j[within])))
    n_fewer = min(len(mine), len(theirs))
    found = likeness[i[within], j[within]]
    is_same = n_events > LEAST_SHARE * n_fewer and (n_events > 1 or found.max() >= SAME_ALONE)
    if not is_same:
        return None
    return float(np.median(offsets_s[first : stops[first]])), n_events, float(np.median(found))
