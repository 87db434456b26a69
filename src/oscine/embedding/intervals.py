"""Stretches of recordings that are embedded, and which of them speak for an archive.

In come rows of the catalogue; out come intervals, in an order that goes by their content, so that
neither names nor places of files matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from oscine.config import ReadoutConfig
from oscine.workspace.catalogue import EventRow, RecordingRow, WindowRow

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameInterval:
    """Frames [start_frame, stop_frame) of a recording: an event, a window, a labelled stretch."""

    recording: RecordingRow
    start_frame: int
    stop_frame: int

    @property
    def frames(self) -> tuple[int, int]:
        """Where it begins and ends."""
        return self.start_frame, self.stop_frame

    @property
    def content_key(self) -> tuple[str, int, int]:
        """Tell this interval from others by its sound, whatever its name."""
        return self.recording.content_key, self.start_frame, self.stop_frame


def frame_intervals(
    rows: Sequence[EventRow] | Sequence[WindowRow], recordings: dict[int, RecordingRow]
) -> list[FrameInterval]:
    """Return events or windows as intervals of their recordings."""
    return [
        FrameInterval(
            recording=recordings[row.recording_id],
            start_frame=row.start_frame,
            stop_frame=row.stop_frame,
        )
        for row in rows
    ]


def fit_sample(
    events: Sequence[FrameInterval], windows: Sequence[FrameInterval], config: ReadoutConfig
) -> list[FrameInterval]:
    """Return the intervals that a readout is fitted on, in an order that goes by content."""
    sample = sorted([*events, *windows], key=lambda one: one.content_key)
    return spread(sample, config.max_fit, config.seed)


def spread(everything: Sequence[T], most: int, seed: int) -> list[T]:
    """Return at most so many of a sequence, in their order."""
    if len(everything) <= most:
        return list(everything)
    chosen = np.random.default_rng(seed).choice(len(everything), most, replace=False)
    return [everything[number] for number in np.sort(chosen)]
