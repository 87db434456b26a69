"""Which windows are learned from: seeded, and the same whatever else runs.

In come the tape, its recordings and its events; out come batches of log-mel windows. A sample
depends on (seed, step, sample) alone, so a run that was killed goes on with the windows it would
have had.

Axes: B batch, T frames, F mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oscine.config import PictureConfig, TrainingConfig
from oscine.picture.activity import DB_PER_NAT, is_quiet
from oscine.picture.tape import TAPE_LOW, Tape
from oscine.workspace.catalogue import EventRow, RecordingRow

TRAIN, EVALUATE, MEASURE, QUIET = 0, 1, 2, 3
"""Streams of random numbers that never meet: training, the fixed evaluation, the statistics, and
whose quiet frames are listened to."""
QUIET_RECORDINGS = 64
QUIET_TRIED = 128
"""Recordings that are searched for quiet frames before those that were found must do."""
QUIET_AROUND_FRAMES = 6000
"""They are looked for within so many in the middle of a recording."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """A batch of windows.

    Attributes
    ----------
    log_mel : np.ndarray of float32 [shape=(B, T, F)]
        Silence beyond the end of a recording.
    n_frames, n_bands : np.ndarray of int64 [shape=(B,)]
        How much of each is sound.
    generators : tuple of B generators
        One a window, for whatever else depends on chance (its mask).
    """

    log_mel: np.ndarray
    n_frames: np.ndarray
    n_bands: np.ndarray
    generators: tuple[np.random.Generator, ...]


class WindowSampler:
    """Draws windows from the tape, a share of them by activity and the rest uniformly in time.

    Parameters
    ----------
    tape : Tape
    recordings : sequence of RecordingRow
        Those on the tape. They are put in the order of their content, so that neither names nor
        places of files matter.
    events : sequence of EventRow
    picture : PictureConfig
    training : TrainingConfig

    Raises
    ------
    ValueError
        Nothing is on the tape.
    """

    def __init__(
        self,
        tape: Tape,
        recordings: Sequence[RecordingRow],
        events: Sequence[EventRow],
        picture: PictureConfig,
        training: TrainingConfig,
    ) -> None:
        if not recordings:
            raise ValueError(
                "no recording was heard: `oscine index FOLDER` adds some (and `oscine status` says "
                "what was wrong with files that were there)"
            )
        self._tape = tape
        self._picture = picture
        self._training = training
        self._recordings = sorted(recordings, key=lambda recording: recording.content_key)
        numbers = {row.recording_id: number for number, row in enumerate(self._recordings)}
        places = [
            (numbers[event.recording_id], event.start_frame, event.stop_frame)
            for event in events
            if event.recording_id in numbers
        ]
        self._events = np.array(sorted(places), dtype=np.int64).reshape(-1, 3)
        lengths = [max(1, row.n_frames - picture.window_frames + 1) for row in self._recordings]
        self._first_start = np.concatenate(([0], np.cumsum(lengths)))

    @property
    def window_frames(self) -> int:
        """Length of a window."""
        return self._picture.window_frames

    def draw(self, stream: int, step: int, samples: range | int) -> Windows:
        """Draw a batch, or some of its samples.

        Parameters
        ----------
        stream : int
            One of ``TRAIN``, ``EVALUATE``, ``MEASURE``.
        step : int
        samples : range or int
            Numbers of the samples, or how many; B of them. A sample is the same whichever others
            are drawn.

        Returns
        -------
        Windows
        """
        samples = range(samples) if isinstance(samples, int) else samples
        n_windows = len(samples)
        frames, bands = self._picture.window_frames, self._picture.n_mels
        log_mel = np.empty((n_windows, frames, bands), np.float32)
        n_frames = np.empty(n_windows, np.int64)
        n_bands = np.empty(n_windows, np.int64)
        generators = []
        for place, sample in enumerate(samples):
            seed = np.random.SeedSequence([self._training.seed, stream, step, sample])
            generator = np.random.default_rng(seed)
            recording, start = self._place(generator)
            row = recording.tape_row + start
            length = min(frames, recording.n_frames - start)
            gain_db = generator.uniform(-self._training.gain_db, self._training.gain_db)
            picture = self._tape.log_mel(row, row + length) + gain_db / DB_PER_NAT
            np.maximum(picture, TAPE_LOW, out=log_mel[place, :length])
            log_mel[place, length:] = TAPE_LOW
            n_frames[place], n_bands[place] = length, recording.n_valid_bands
            generators.append(generator)
        return Windows(
            log_mel=log_mel, n_frames=n_frames, n_bands=n_bands, generators=tuple(generators)
        )

    def statistics(self, n_windows: int = 1024) -> tuple[float, float]:
        """Return mean and standard deviation of the log-mel, measured on windows of its own."""
        total = square = count = 0.0
        for step in range(-(-n_windows // 64)):
            windows = self.draw(MEASURE, step, 64)
            for picture, frames, bands in zip(
                windows.log_mel, windows.n_frames, windows.n_bands, strict=True
            ):
                values = picture[:frames, :bands].astype(np.float64)
                total, square = total + values.sum(), square + np.square(values).sum()
                count += values.size
        mean = total / count
        return float(mean), float(np.sqrt(max(square / count - mean**2, 1e-6)))

    def quiet(self, n_frames: int) -> Windows | None:
        """Return two stretches of quiet frames of each of up to 64 recordings, as they are.

        Parameters
        ----------
        n_frames : int
            Of a stretch. The first quiet frames make the one, the last the other.

        Returns
        -------
        Windows or None
            Those of one recording follow each other; no generators. None where fewer than two
            recordings have so many.
        """
        rng = np.random.default_rng(np.random.SeedSequence([self._training.seed, QUIET]))
        found, n_bands = [], []
        for number in rng.permutation(len(self._recordings))[:QUIET_TRIED]:
            recording = self._recordings[number]
            low = max(0, (recording.n_frames - QUIET_AROUND_FRAMES) // 2)
            high = min(recording.n_frames, low + QUIET_AROUND_FRAMES)
            rows = recording.tape_row + low, recording.tape_row + high
            log_mel = self._tape.log_mel(*rows)
            valid = log_mel[:, : recording.n_valid_bands]
            quiet = np.flatnonzero(is_quiet(valid, self._tape.level_db(*rows), self._picture))
            if len(quiet) < 2 * n_frames:
                continue
            found += [log_mel[quiet[:n_frames]], log_mel[quiet[-n_frames:]]]
            n_bands += 2 * [recording.n_valid_bands]
            if len(found) == 2 * QUIET_RECORDINGS:
                break
        if len(found) < 4:
            return None
        return Windows(
            log_mel=np.stack(found),
            n_frames=np.full(len(found), n_frames),
            n_bands=np.array(n_bands),
            generators=(),
        )

    def _place(self, generator: np.random.Generator) -> tuple[RecordingRow, int]:
        """Draw a recording and a first frame."""
        frames = self._picture.window_frames
        if len(self._events) and generator.random() < self._training.active_share:
            number, begin, end = self._events[generator.integers(len(self._events))]
            recording = self._recordings[number]
            # Anywhere that shows the middle of the event: it must not always stand at one place.
            start = (begin + end) // 2 - int(generator.integers(frames))
        else:
            place = int(generator.integers(self._first_start[-1]))
            number = int(np.searchsorted(self._first_start, place, side="right")) - 1
            recording, start = self._recordings[number], place - self._first_start[number]
        return recording, int(np.clip(start, 0, max(0, recording.n_frames - frames)))
