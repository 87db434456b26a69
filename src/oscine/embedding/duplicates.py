"""Do sounds that differ have vectors that differ? A test of the whole way from file to vector.

In come the vectors of events and the tape they were made from; out comes the share of events whose
vector is also that of another, although the frames of the two differ. A published set of vectors
once held 97 % of these: the recordings had been read at a wrong rate.

Axes: N events, D dimensions.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oscine.embedding.intervals import FrameInterval, spread
from oscine.picture.tape import Tape

MOST_EVENTS = 4000
SAME_COSINE = 1e-6
"""Vectors whose cosine lies less than this below 1 are the same."""
NAMED_FILES = 3
ROWS_AT_ONCE = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """Events that share their vector with an event of other frames.

    Attributes
    ----------
    n_events : int
        That were compared, each with all others.
    n_alike : int
    files : tuple of str
        Those with the most of them, at most three.
    """

    n_events: int = 0
    n_alike: int = 0
    files: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Of the events that were compared."""
        return self.n_alike / max(1, self.n_events)


def find_duplicates(
    vectors: np.ndarray, events: Sequence[FrameInterval], tape: Tape, seed: int
) -> Duplicates:
    """Compare the vectors of events with each other.

    The same sound may well be there twice (a file under two names): where all valid bands of all
    frames are the same, the vectors may be.

    Parameters
    ----------
    vectors : np.ndarray [shape=(N, D)]
        Of unit length.
    events : sequence of N FrameInterval
    tape : Tape
    seed : int
        Of the sample that is drawn where there are more than 4,000 events.

    Returns
    -------
    Duplicates
    """
    chosen = spread(range(len(events)), MOST_EVENTS, seed)
    x = vectors[chosen].astype(np.float64)
    square = np.square(x).sum(axis=1)
    sounds = np.array([_sound(events[number], tape) for number in chosen])
    is_alike = np.zeros(len(x), bool)
    for start in range(0, len(x), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        # Of unit vectors, 2 - 2 cosine; vectors of zeros are alike too.
        apart = square[rows, None] + square - 2 * x[rows] @ x.T
        is_same = (apart < 2 * SAME_COSINE) & (sounds[rows, None] != sounds)
        is_alike[rows] = is_same.any(axis=1)
    found = Counter(events[chosen[row]].recording.path for row in np.flatnonzero(is_alike))
    ranked = sorted(found, key=lambda path: (-found[path], path))
    return Duplicates(
        n_events=len(x), n_alike=int(is_alike.sum()), files=tuple(ranked[:NAMED_FILES])
    )


def _sound(event: FrameInterval, tape: Tape) -> str:
    """Return what stands for the frames of an event, as far as they are valid."""
    row = event.recording.tape_row
    frames = tape.log_mel(row + event.start_frame, row + event.stop_frame)
    valid = np.ascontiguousarray(frames[:, : event.recording.n_valid_bands])
    return hashlib.blake2b(valid.tobytes(), digest_size=8).hexdigest() + f":{len(valid)}"
