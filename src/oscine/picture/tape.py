"""The tape: the log-mel of an archive on disk, eight bits a value.

In come part files of channels, as `oscine.picture.drawing` makes them; out come frames again, by
memory map. Reading needs no torch: a finished workspace opens without.

A value is stored as ``round((log_mel - TAPE_LOW) / TAPE_STEP)``: steps of 0.14 nats (0.6 dB).
``benchmarks/tape.py`` measures what that does to neighbours, beside float16.

Axes: T frames, F mel bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oscine.config import ActivityConfig, PictureConfig, fingerprint
from oscine.picture.activity import LEVEL_BANDS, Event, n_level_groups
from oscine.workspace.arrays import ArrayReader, ArrayWriter

TAPE_LOW = float(np.log(1e-10))
TAPE_STEP = 0.14
LEVEL_STEP_DB = 0.25
"""Step of the level above the background, one byte for every ``LEVEL_BANDS`` bands of a frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """One channel on its way to the tape.

    Attributes
    ----------
    channel : int
        -1 where the channels were mixed.
    codes, levels : Path
        Part files: a byte for each band of a frame, and for each group of bands. Absent without
        frames.
    n_frames : int
    events : tuple of Event
    """

    channel: int
    codes: Path
    levels: Path
    n_frames: int
    events: tuple[Event, ...]


def tape_fingerprint(picture: PictureConfig, activity: ActivityConfig) -> str:
    """Return the name of the tape drawn with these settings."""
    layout = {"low": TAPE_LOW, "step": TAPE_STEP, "level": [LEVEL_BANDS, LEVEL_STEP_DB]}
    return fingerprint(layout, picture, activity)


def decoded(codes: np.ndarray) -> np.ndarray:
    """Return the log-mel (float32, natural logarithm of power) of codes of the tape."""
    return codes.astype(np.float32) * np.float32(TAPE_STEP) + np.float32(TAPE_LOW)


def coded(log_mel: np.ndarray) -> np.ndarray:
    """Return the codes of a log-mel picture: the nearest of 256 steps of 0.14 nats."""
    steps = np.rint((log_mel - TAPE_LOW) / TAPE_STEP)
    return np.clip(steps, 0, 255).astype(np.uint8)


class Tape:
    """The tape of a workspace: append parts, read frames.

    Parameters
    ----------
    folder : Path
    picture : PictureConfig
    n_rows : int
        Frames that are whole, as the catalogue says.

    Raises
    ------
    ValueError
        The files hold fewer frames than that.
    """

    def __init__(self, folder: Path, picture: PictureConfig, n_rows: int) -> None:
        self.folder = folder
        self._codes = ArrayReader(folder / "codes", np.dtype(np.uint8), (picture.n_mels,), n_rows)
        groups = (n_level_groups(picture),)
        self._levels = ArrayReader(folder / "levels", np.dtype(np.uint8), groups, n_rows)

    def codes(self, start: int, stop: int) -> np.ndarray:
        """Return frames [start, stop) as they are on the disk, uint8 [shape=(T, F)]."""
        return self._codes.rows(start, stop)

    def log_mel(self, start: int, stop: int) -> np.ndarray:
        """Return frames [start, stop) as float32 [shape=(T, F)]."""
        return decoded(self.codes(start, stop))

    def level_db(self, start: int, stop: int) -> np.ndarray:
        """Return how far each group of bands stands above its background [shape=(T, G)]."""
        return self._levels.rows(start, stop).astype(np.float32) * np.float32(LEVEL_STEP_DB)


class TapeWriter:
    """Appends part files to the tape, after the frames that the catalogue vouches for."""

    def __init__(self, folder: Path, picture: PictureConfig, n_rows: int) -> None:
        self._codes = ArrayWriter(folder / "codes", np.dtype(np.uint8), (picture.n_mels,), n_rows)
        groups = (n_level_groups(picture),)
        self._levels = ArrayWriter(folder / "levels", np.dtype(np.uint8), groups, n_rows)

    @property
    def n_rows(self) -> int:
        """Frames on the tape."""
        return self._codes.n_rows

    def append(self, channel: Channel) -> int:
        """Append a channel's part files, remove them, and return the row of its first frame."""
        first = self.n_rows
        if channel.n_frames:
            self._codes.append_file(channel.codes)
            self._levels.append_file(channel.levels)
            channel.codes.unlink()
            channel.levels.unlink()
        return first

    def flush(self) -> None:
        """See to it that all frames are on the disk."""
        self._codes.flush()
        self._levels.flush()
