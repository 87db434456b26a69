"""Pictures straight from the tape: the strip of an event, and the levels of a stretch.

In come the tape and frames of it; out come a PNG, or the bytes of the tape themselves as columns,
the highest of each few frames. Called by whatever answers from a workspace.

Axes: T frames, F mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oscine.atlas.explorer.columns import packed
from oscine.atlas.pictures import spectrogram_png
from oscine.picture.tape import TAPE_LOW, TAPE_STEP, Tape, decoded

PAD_FRAMES = 20
"""A strip reaches so far beyond its event on either side."""
STRIP_FRAMES = 400
"""A longer strip shows the highest of each few frames."""
FRAMES_AT_ONCE = 2**16
DB_PER_NAT = 10 / np.log(10)


def strip_png(tape: Tape, start: int, stop: int, height: int, n_valid_bands: int) -> bytes:
    """Draw some frames, small.

    Parameters
    ----------
    tape : Tape
    start, stop : int
        Rows of the tape.
    height : int
        Most pixels; the highest of each few bands is shown.
    n_valid_bands : int
        Bands beyond the rate of the recording are left out.
    """
    per_column = -(-(stop - start) // STRIP_FRAMES)
    codes = highest(tape, start, stop, per_column)
    codes = codes[:, :n_valid_bands]
    per_row = -(-codes.shape[1] // height)
    return spectrogram_png(decoded(pooled(codes.T, per_row).T))


def stretch(
    tape: Tape,
    first_row: int,
    frames: tuple[int, int],
    most_columns: int,
    frame_s: float,
    band_hz: Sequence[float],
) -> bytes:
    """Return the levels of a stretch of a recording as columns.

    Parameters
    ----------
    tape : Tape
    first_row : int
        Row of the recording's first frame.
    frames : (start, stop)
        Of the recording.
    most_columns : int
        More frames are pooled: the highest level of each few is kept.
    frame_s : float
    band_hz : sequence of F float
        Middles of the bands.
    """
    start, stop = frames
    per_column = -(-(stop - start) // most_columns)
    codes = highest(tape, first_row + start, first_row + stop, per_column)
    return packed(
        {"level": codes},
        start_s=start * frame_s,
        stop_s=(start + len(codes) * per_column) * frame_s,
        n_frames=codes.shape[0],
        n_bands=codes.shape[1],
        frames_per_column=per_column,
        **levels(band_hz),
    )


def levels(band_hz: Sequence[float]) -> dict[str, Any]:
    """Return what turns codes into decibels, and bands into hertz."""
    return {
        "low_db": TAPE_LOW * DB_PER_NAT,
        "step_db": TAPE_STEP * DB_PER_NAT,
        "band_hz": list(band_hz),
    }


def highest(tape: Tape, start: int, stop: int, per_column: int) -> np.ndarray:
    """Return the highest code of each few frames as uint8 [shape=(T // per_column, F)].

    The last column may have fewer frames.
    """
    if per_column == 1:
        return tape.codes(start, stop)
    at_once = max(1, FRAMES_AT_ONCE // per_column) * per_column
    return np.concatenate(
        [
            pooled(tape.codes(begin, min(stop, begin + at_once)), per_column)
            for begin in range(start, stop, at_once)
        ]
    )


def pooled(values: np.ndarray, n: int) -> np.ndarray:
    """Return the highest of each `n` values along the first axis; the last may be of fewer."""
    if n == 1:
        return values
    return np.maximum.reduceat(values, np.arange(0, len(values), n), axis=0)
