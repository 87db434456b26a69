"""From a file to the tape: its log-mel, block by block, and its events.

In comes one audio file; out come a part file for each channel and what was found in it. The steps
append the parts to the tape in the order of the archive, so the tape's bytes do not depend on the
number of workers.

Axes: T frames, F mel bands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from oscine.config import ActivityConfig, PictureConfig
from oscine.picture.activity import Event, find_background, find_events
from oscine.picture.mel import (
    band_edges_hz,
    frame_margin_samples,
    log_mel_of_frames,
    n_valid_bands,
)
from oscine.picture.tape import LEVEL_STEP_DB, Channel, coded, decoded
from oscine.sound.audio import Audio, UnreadableAudio, open_audio
from oscine.workspace.catalogue import HEARD

LEAST_VALID_SHARE = 0.25
"""Of the bands: a recording that has fewer is refused. It would leave the model next to nothing."""
CHUNK_FRAMES = 2048
"""Frames that are drawn and coded at a time."""
SILENT_PEAK = 1e-3
"""A recording that stays below -60 dB of full scale is silent: what lossy codecs make of silence
can reach half of that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """What one file gave: its state in plain words, and its channels."""

    state: str
    reason: str
    encoding: str
    sample_rate_hz: int
    n_channels: int
    n_samples: int
    n_promised: int
    n_valid_bands: int
    channels: tuple[Channel, ...]

    @property
    def duration_s(self) -> float | None:
        """Seconds that were decoded; None where nothing was."""
        return self.n_samples / self.sample_rate_hz if self.n_samples else None


def draw_recording(
    file: Path, part: Path, picture: PictureConfig, activity: ActivityConfig
) -> Drawn:
    """Draw the log-mel of a file, block by block, and find its events.

    Parameters
    ----------
    file : Path
    part : Path
        How the names of the part files begin.
    picture : PictureConfig
    activity : ActivityConfig

    Returns
    -------
    Drawn
        ``state`` is one of whole, damaged, silent, too short, unreadable.
    """
    try:
        audio = open_audio(file, channels=picture.channels)
    except UnreadableAudio as error:
        return not_drawn(error.reason)
    n_bands = n_valid_bands(audio.sample_rate_hz, picture)
    if audio.sample_rate_hz < least_rate_hz(picture):
        audio.close()
        refusal = not_drawn(
            f"a rate of {audio.sample_rate_hz:,} Hz is too low for bands of {picture.low_hz:g} to "
            f"{picture.high_hz:g} Hz: at least {least_rate_hz(picture):,} Hz are needed for a "
            "quarter of them; index it in another workspace with a --preset for lower sounds"
        )
        return replace(refusal, encoding=audio.encoding, sample_rate_hz=audio.sample_rate_hz)
    with audio, _one_thread():
        n_tracks = audio.n_channels if picture.channels == "each" else 1
        parts = [part.with_name(f"{part.name}.{track}.codes") for track in range(n_tracks)]
        n_frames = _write_codes(audio, parts, picture)
    state, reason = _state(audio, n_frames, picture)
    enough = n_frames >= picture.min_duration_s * picture.frames_per_s
    if state not in HEARD or not enough or audio.peak < SILENT_PEAK:
        n_frames = 0
    numbers = range(n_tracks) if picture.channels == "each" else [-1]
    return Drawn(
        state=state,
        reason=reason,
        encoding=audio.encoding,
        sample_rate_hz=audio.sample_rate_hz,
        n_channels=audio.n_channels,
        n_samples=audio.n_read,
        n_promised=audio.n_promised or 0,
        n_valid_bands=n_bands,
        channels=tuple(
            _channel(number, part, n_frames, n_bands, picture, activity)
            for number, part in zip(numbers, parts, strict=True)
        ),
    )


def not_drawn(reason: str) -> Drawn:
    """Return what a file gives of which nothing can be heard."""
    return Drawn(
        state="unreadable",
        reason=reason,
        encoding="",
        sample_rate_hz=0,
        n_channels=0,
        n_samples=0,
        n_promised=0,
        n_valid_bands=0,
        channels=(),
    )


def least_rate_hz(picture: PictureConfig) -> int:
    """Return the lowest sample rate of a recording of which a quarter of the bands is valid."""
    n_least = math.ceil(LEAST_VALID_SHARE * picture.n_mels)
    return math.ceil(2 * band_edges_hz(picture)[n_least + 1] - 2e-6)


def band_limits_hz(event: Event, picture: PictureConfig) -> tuple[float, float]:
    """Return the lowest and the highest frequency of an event's bands."""
    edges = band_edges_hz(picture)
    return round(float(edges[event.low_band]), 1), round(float(edges[event.high_band + 1]), 1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum on one thread: the sums must not depend on how many cores the machine has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _write_codes(audio: Audio, parts: list[Path], picture: PictureConfig) -> int:
    """Draw all frames into the part files; return their number."""
    n_frames = 0
    with ExitStack() as stack:
        files = [stack.enter_context(open(part, "wb")) for part in parts]
        for pictures in _pictures(audio, picture):  # (C, T, F)
            n_frames += pictures.shape[1]
            for file, channel in zip(files, coded(pictures.numpy()), strict=True):
                file.write(channel.tobytes())
    return n_frames


def _pictures(audio: Audio, picture: PictureConfig) -> Iterator[Tensor]:
    """Yield log-mel in chunks of `CHUNK_FRAMES` frames, counted from the start of the file.

    The chunks are the same however the decoder's blocks fall: sums over many values come out
    alike only when they are made in the same portions.
    """
    hop, margin = picture.hop_samples, frame_margin_samples(picture)
    reach = (CHUNK_FRAMES - 1) * hop + picture.n_fft
    waiting: list[np.ndarray] = []
    n_waiting = n_samples = n_frames = 0
    for block in audio.blocks(picture.sample_rate_hz):  # (C, S)
        if not waiting:
            waiting = [np.zeros((len(block), margin), np.float32)]
            n_waiting = margin
        waiting.append(block)
        n_waiting += block.shape[1]
        n_samples += block.shape[1]
        if n_waiting < reach:
            continue
        samples = np.concatenate(waiting, axis=1)
        start = 0
        while samples.shape[1] - start >= reach:
            piece = torch.from_numpy(samples[:, start : start + reach])
            yield log_mel_of_frames(piece, CHUNK_FRAMES, picture)
            n_frames += CHUNK_FRAMES
            start += CHUNK_FRAMES * hop
        waiting = [samples[:, start:].copy()]
        n_waiting = waiting[0].shape[1]
    rest = n_samples // hop - n_frames
    if rest > 0:
        samples = np.concatenate(waiting, axis=1)
        need = (rest - 1) * hop + picture.n_fft
        samples = np.pad(samples, ((0, 0), (0, max(0, need - samples.shape[1]))))
        yield log_mel_of_frames(torch.from_numpy(samples[:, :need]), rest, picture)


def _channel(
    number: int,
    part: Path,
    n_frames: int,
    n_bands: int,
    picture: PictureConfig,
    activity: ActivityConfig,
) -> Channel:
    """Find the events of a part file and write down the levels of its frames."""
    levels = part.with_suffix(".levels")
    if not n_frames:
        part.unlink(missing_ok=True)
        return Channel(channel=number, codes=part, levels=levels, n_frames=0, events=())
    with _PartRows(part, n_frames, picture.n_mels, n_bands) as rows, levels.open("wb") as file:

        def keep(level_db: np.ndarray) -> None:
            steps = np.clip(np.rint(level_db / LEVEL_STEP_DB), 0, 255)
            file.write(steps.astype(np.uint8).tobytes())

        background = find_background(rows, picture, activity, keep)
        events = find_events(rows, background, picture, activity)
    return Channel(
        channel=number, codes=part, levels=levels, n_frames=n_frames, events=tuple(events)
    )


class _PartRows:
    """The valid bands of a part file, read by slices of frames: it may be larger than memory."""

    def __init__(self, part: Path, n_frames: int, n_mels: int, n_bands: int) -> None:
        self.shape = (n_frames, n_bands)
        self._n_mels = n_mels
        self._file = part.open("rb")

    def __enter__(self) -> _PartRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: slice) -> np.ndarray:
        start, stop, _ = frames.indices(len(self))
        self._file.seek(start * self._n_mels)
        codes = np.frombuffer(self._file.read((stop - start) * self._n_mels), np.uint8)
        return decoded(codes.reshape(-1, self._n_mels)[:, : self.shape[1]])


def _state(audio: Audio, n_frames: int, picture: PictureConfig) -> tuple[str, str]:
    """Say in plain words how much of a file was heard."""
    seconds = audio.n_read / audio.sample_rate_hz
    if audio.n_read == audio.n_lost:
        return "unreadable", audio.problem or "holds no samples"
    if audio.n_missing or audio.problem:
        promised = (audio.n_promised or audio.n_read) / audio.sample_rate_hz
        return "damaged", audio.problem or f"{seconds:.3f} s of {promised:.3f} s could be read"
    if n_frames < picture.min_duration_s * picture.frames_per_s:
        return "too short", f"{seconds:.3f} s; at least {picture.min_duration_s:g} s are needed"
    if audio.peak < SILENT_PEAK:
        return "silent", "never rises above -60 dB of full scale"
    return "whole", ""
