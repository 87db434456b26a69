"""Samples of an audio file, in blocks, and what could not be read of it.

In comes a path; out come float32 blocks (C, S) at the rate that was asked for, and plain words
about what the file promised and did not hold. `oscine.picture` draws from these blocks;
`oscine.steps` reads single intervals again to play or embed them. Nothing holds a whole file.
"""

import hashlib
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
import soxr

from oscine.sound.archive import shown
from oscine.sound.decoders import Decoder, DecodingFault, UnreadableAudio, open_decoder
from oscine.sound.recording import Interval

__all__ = [
    "Audio",
    "Channels",
    "UnreadableAudio",
    "content_hash",
    "hushed",
    "open_audio",
    "read_interval",
    "read_samples",
]

Channels = Literal["mean", "first", "each"]

# What a float file may hold and still be sound: far above any scale in use (integers stored as
# floats reach 2e9), and small enough for power spectra to stay finite in float32.
_LARGEST_SAMPLE = 1e15

# The samples beyond both ends of an excerpt that the resampling filter needs, generously: at least
# so many seconds, and so many samples of the lower rate.
_RESAMPLING_MARGIN_S, _RESAMPLING_MARGIN_SAMPLES = 0.1, 128

# A block holds no more values than that, whatever rate and channels a header claims.
_BLOCK_VALUES = 1 << 24

# So many losses are told one by one.
_TOLD_LOSSES = 3


class Audio:
    """An open audio file, to be read once from start to end; see `open_audio`.

    Attributes
    ----------
    sample_rate_hz : int
        The file's own rate.
    n_channels : int
        Channels in the file.
    encoding : str
        Container and encoding, such as `WAV PCM_24`.
    n_promised : int or None
        Frames (samples per channel) that the header promises; None where it does not say.
    n_read : int
        Frames given so far, at the file's own rate: those decoded, and silence for those lost.
    peak : float
        Largest absolute sample handed out so far, before resampling.
    problem : str or None
        After the last block: what is wrong with the file, in plain words.
    """

    def __init__(self, decoder: Decoder, channels: Channels) -> None:
        self._decoder = decoder
        self._channels: Channels = channels
        self._is_begun = False
        self.sample_rate_hz = decoder.sample_rate_hz
        self.n_channels = decoder.n_channels
        self.encoding = decoder.encoding
        self.n_promised = decoder.n_promised
        self.n_read = 0
        self.peak = 0.0
        self.problem: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    @property
    def n_lost(self) -> int:
        """Frames, among those given, that silence stands for."""
        return min(self.n_read, sum(n_frames for _, n_frames in self._decoder.losses))

    @property
    def n_missing(self) -> int:
        """Frames lost, or promised but not read, as far as the promise is precise."""
        n_short = (self.n_promised or 0) - self.n_read
        return self.n_lost + (n_short if n_short > self._decoder.slack_frames else 0)

    def blocks(self, sample_rate_hz: int, *, block_s: float = 10.0) -> Iterator[np.ndarray]:
        """Give the samples from start to end, resampled where the file has another rate.

        A fault in the file does not raise: silence stands for what is lost, or the blocks end
        there, and `problem` tells.

        Parameters
        ----------
        sample_rate_hz
            Rate of the samples that are given.
        block_s
            Length of the blocks; the samples do not depend on it.

        Returns
        -------
        iterator of ndarray
            float32 (C, S), each in an array of its own: one channel under the policies `mean` and
            `first`, all under `each`.

        Raises
        ------
        ValueError
            If the file was read before: open it again.
        """
        if self._is_begun:
            raise ValueError(f"{self.encoding}: a file is read once; open it again to read again")
        self._is_begun = True
        n_kept = self.n_channels if self._channels == "each" else 1
        n_frames = min(round(block_s * self.sample_rate_hz), _BLOCK_VALUES // self.n_channels)
        native = self._native_blocks(max(1, n_frames))
        if sample_rate_hz != self.sample_rate_hz:
            native = _resampled(native, self.sample_rate_hz, sample_rate_hz, n_kept)
        return (block.T for block in native)

    def _native_blocks(self, n_frames: int) -> Iterator[np.ndarray]:
        """Blocks (S, C) at the file's own rate; keeps the account of what was read."""
        n_unsound = 0
        fault = None
        try:
            for block in _gathered(self._decoder.steps(0, None), n_frames, self.n_channels):
                n_unsound += _silence_unsound(block)
                self.n_read += len(block)
                chosen = _choose(block, self._channels)
                self.peak = max(self.peak, float(chosen.max()), -float(chosen.min()))
                yield chosen
        except DecodingFault as error:
            fault = str(error)
        self.problem = self._account(fault, n_unsound)

    def _account(self, fault: str | None, n_unsound: int) -> str | None:
        rate_hz = self.sample_rate_hz
        read_s = self.n_read / rate_hz
        losses = sorted(loss for loss in self._decoder.losses if loss[0] < self.n_read)
        words = []
        for first, n_frames in losses[:_TOLD_LOSSES]:
            length = f"{n_frames / rate_hz:.2f} s are" if n_frames else "an unknown length is"
            words.append(f"{length} lost at {max(0, first) / rate_hz:.2f} s")
        if len(losses) > _TOLD_LOSSES:
            n_more = len(losses) - _TOLD_LOSSES
            words.append(f"{n_more} more losses, {self.n_lost / rate_hz:.2f} s in all")
        if losses:
            words[-1] += " (silence stands for what is lost)"
        if fault:
            words.append(f"cannot be decoded beyond {read_s:.2f} s: {fault}")
        elif self.n_promised and self.n_missing > self.n_lost:
            promised_s = self.n_promised / rate_hz
            words.append(f"holds {read_s:.2f} s of the {promised_s:.2f} s that its header promises")
        if self._decoder.doubt:
            words.append(self._decoder.doubt)
        if n_unsound:
            words.append(f"{n_unsound} samples are no numbers or absurdly large, read as 0")
        return "; ".join(words) or None


def open_audio(path: Path, *, channels: Channels = "mean") -> Audio:
    """Open an audio file, as a context manager.

    Parameters
    ----------
    path
        The file.
    channels
        What becomes of several channels: their mean, the first alone, or each kept.

    Raises
    ------
    UnreadableAudio
        If nothing can be decoded: not there, empty, not audio, a damaged header.
    ValueError
        If the policy is none of the three.
    """
    if channels not in get_args(Channels):
        raise ValueError(f"channels must be one of {get_args(Channels)}, not {channels!r}")
    return Audio(open_decoder(path), channels)


def read_interval(
    path: Path,
    interval: Interval,
    *,
    channel: int | None = None,
    sample_rate_hz: int | None = None,
) -> np.ndarray:
    """Read one stretch of a file, as `Audio.blocks` gives it.

    Parameters
    ----------
    path
        The file.
    interval
        What to read, at any rate.
    channel
        Which channel, from 0; None for the mean of all.
    sample_rate_hz
        Rate of the result; None for the file's own.

    Returns
    -------
    ndarray
        float32 (S,), shorter where the file ends or fails before the interval does.

    Raises
    ------
    UnreadableAudio
        If the file cannot be opened.
    ValueError
        If there is no such channel.
    """
    decoder = open_decoder(path)
    try:
        if channel is not None and not 0 <= channel < decoder.n_channels:
            raise ValueError(
                f"{shown(path)} has {decoder.n_channels} channels, counted from 0; "
                f"there is no channel {channel}"
            )
        native_hz = decoder.sample_rate_hz
        wanted = interval.at(native_hz)
        if sample_rate_hz is None or sample_rate_hz == native_hz:
            return _one_channel(_excerpt(decoder, wanted.start, wanted.stop), channel)
        # The filter needs samples on both sides, and the excerpt must begin where a sample of
        # one rate falls on a sample of the other.
        lower_hz = min(native_hz, sample_rate_hz)
        margin_s = max(_RESAMPLING_MARGIN_S, _RESAMPLING_MARGIN_SAMPLES / lower_hz)
        margin = round(margin_s * native_hz)
        meeting = native_hz // math.gcd(native_hz, sample_rate_hz)
        begin = max(0, wanted.start - margin) // meeting * meeting
        samples = _one_channel(_excerpt(decoder, begin, wanted.stop + margin), channel)
    finally:
        decoder.close()
    resampled = soxr.resample(samples, native_hz, sample_rate_hz, quality="HQ")
    target = interval.at(sample_rate_hz)
    skipped = begin * sample_rate_hz // native_hz
    return resampled[target.start - skipped : target.stop - skipped]


def read_samples(path: Path, interval: Interval) -> np.ndarray:
    """Read one stretch of a file as it is: all channels, at the file's own rate.

    Parameters
    ----------
    path
        The file.
    interval
        What to read, at any rate.

    Returns
    -------
    ndarray
        float32 (S, C), shorter where the file ends or fails before the interval does.

    Raises
    ------
    UnreadableAudio
        If the file cannot be opened.
    """
    decoder = open_decoder(path)
    try:
        wanted = interval.at(decoder.sample_rate_hz)
        return _excerpt(decoder, wanted.start, wanted.stop)
    finally:
        decoder.close()


@contextmanager
def hushed() -> Iterator[None]:
    """Silence standard error: decoders write there from C, past any handler."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def content_hash(path: Path) -> str:
    """Hash of the bytes of a file (the first 16 bytes of SHA-256, as 32 hexadecimal digits).

    Processors have instructions for it: it takes half the time of BLAKE2b.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _excerpt(decoder: Decoder, start: int, stop: int) -> np.ndarray:
    """Read samples (S, C) at the file's own rate, as far as they can be had."""
    block = np.zeros((stop - start, decoder.n_channels), np.float32)
    n_filled = 0
    with suppress(DecodingFault):
        for step in decoder.steps(start, stop):
            block[n_filled : n_filled + len(step)] = step
            n_filled += len(step)
    block = block[:n_filled]
    _silence_unsound(block)
    return block


def _one_channel(block: np.ndarray, channel: int | None) -> np.ndarray:
    """Give one channel of samples (S, C), or their mean, as (S,)."""
    return _mean(block) if channel is None else block[:, channel].copy()


def _gathered(steps: Iterator[np.ndarray], n_frames: int, n_channels: int) -> Iterator[np.ndarray]:
    """Join steps (S, C) of any length into blocks of `n_frames`, the last one shorter.

    All blocks share one buffer. A fault is passed on after the samples before it.
    """
    block = np.empty((n_frames, n_channels), np.float32)
    n_filled = 0
    fault = None
    try:
        for step in steps:
            while len(step):
                n_taken = min(len(step), n_frames - n_filled)
                block[n_filled : n_filled + n_taken] = step[:n_taken]
                step = step[n_taken:]
                n_filled += n_taken
                if n_filled == n_frames:
                    yield block
                    n_filled = 0
    except DecodingFault as error:
        fault = error
    if n_filled:
        yield block[:n_filled]
    if fault:
        raise fault


def _resampled(
    blocks: Iterator[np.ndarray], from_hz: int, to_hz: int, n_channels: int
) -> Iterator[np.ndarray]:
    """Blocks (S, C) at another rate: together the same bits as all at once."""
    stream = soxr.ResampleStream(from_hz, to_hz, n_channels, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty((0, n_channels), np.float32), last=True)


def _silence_unsound(block: np.ndarray) -> int:
    """Set to 0, in place, what cannot be a sample of sound; count it."""
    # Comparisons with a NaN are false, and minimum and maximum pass one on.
    if block.min(initial=0) >= -_LARGEST_SAMPLE and block.max(initial=0) <= _LARGEST_SAMPLE:
        return 0
    unsound = ~(np.abs(block) <= _LARGEST_SAMPLE)
    block[unsound] = 0
    return int(np.count_nonzero(unsound))


def _choose(block: np.ndarray, channels: Channels) -> np.ndarray:
    """Give the channels that the policy keeps (S, C), in a new array."""
    if channels == "mean":
        return _mean(block)[:, np.newaxis]
    return block[:, :1].copy() if channels == "first" else block.copy()


def _mean(block: np.ndarray) -> np.ndarray:
    """Mean over channels (S, C) -> (S,), added one after the other: for all S the same bits."""
    total = block[:, 0].copy()
    if block.shape[1] > 1:
        for channel in block.T[1:]:
            total += channel
        total /= block.shape[1]
    return total
