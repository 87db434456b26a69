"""Sound of a recording for the browser: a WAV of exactly some samples, and its extremes.

In come a file and samples of it; out come bytes. Nothing is made louder or softer, and nothing but
the stretch that is asked for is decoded. Called by whatever answers from a workspace.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from oscine.atlas.explorer.columns import packed
from oscine.atlas.explorer.source import Unanswered, Wav
from oscine.sound.audio import UnreadableAudio, read_interval
from oscine.sound.recording import Interval

LONGEST_S = 60.0
MOST_VALUES = 2**25
"""Samples times channels that are decoded for one answer."""
PLAYED_HZ = (8_000, 48_000)
"""Rates that browsers play."""
_FULL_SCALE = 2**15


def longest_s(rate_hz: int, n_channels: int) -> float:
    """Return how long a stretch of a recording may be: less than a minute of many channels."""
    return min(LONGEST_S, MOST_VALUES / max(1, n_channels * rate_hz))


def checked(start: int, stop: int, n_samples: int, rate_hz: int, n_channels: int) -> Interval:
    """Return a stretch of a recording, cut at its end.

    Raises
    ------
    Unanswered
        It is empty, outside of the recording, or too long.
    """
    stop = min(stop, n_samples)
    if not start < stop:
        raise Unanswered(
            422, f"this is no stretch of the recording, which has {n_samples:,} samples"
        )
    most_s = longest_s(rate_hz, n_channels)
    if stop - start > most_s * rate_hz:
        raise Unanswered(422, f"at most {most_s:g} s at once")
    return Interval(start=start, stop=stop, sample_rate_hz=rate_hz)


def played_rates_hz(rate_hz: int, speed: float) -> tuple[int, int]:
    """Return the rate that a WAV states, and that which the sound must have to be played so.

    Parameters
    ----------
    rate_hz : int
        Of the recording.
    speed : float
        1 divided by a whole number.
    """
    stated = rate_hz * speed
    low, high = PLAYED_HZ
    if stated > high:
        stated = high
    elif stated < low:
        stated *= -(-low // stated)
    return round(stated), round(round(stated) / speed)


def wav_of(file: Path, interval: Interval, channel: int | None, speed: float) -> Wav:
    """Return a stretch of a file as a WAV file of 16 bits.

    Parameters
    ----------
    file : Path
    interval : Interval
        At the file's own rate.
    channel : int or None
        None: the mean of all.
    speed : float

    Raises
    ------
    Unanswered
        The file cannot be read.
    """
    stated_hz, needed_hz = played_rates_hz(interval.sample_rate_hz, speed)
    samples = _read(file, interval, channel, needed_hz)
    stop = interval.stop
    if needed_hz == interval.sample_rate_hz:
        stop = interval.start + len(samples)  # fewer where the file is damaged
    levels = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    data = levels.astype("<i2").tobytes()
    head = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE"
    head += b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, stated_hz, 2 * stated_hz, 2, 16)
    head += b"data" + struct.pack("<I", len(data))
    return Wav(data=head + data, start_sample=interval.start, stop_sample=stop)


def extremes(file: Path, interval: Interval, channel: int | None, most_columns: int) -> bytes:
    """Return the lowest and the highest sample of each column of a stretch of a file.

    Raises
    ------
    Unanswered
        The file cannot be read.
    """
    samples = _read(file, interval, channel, interval.sample_rate_hz)
    n = min(most_columns, len(samples))
    edges = np.arange(n) * len(samples) // max(1, n)
    return packed(
        {
            "low": np.minimum.reduceat(samples, edges) if n else samples,
            "high": np.maximum.reduceat(samples, edges) if n else samples,
        },
        start_s=interval.start_s,
        stop_s=(interval.start + len(samples)) / interval.sample_rate_hz,
    )


def _read(file: Path, interval: Interval, channel: int | None, rate_hz: int) -> np.ndarray:
    try:
        return read_interval(file, interval, channel=channel, sample_rate_hz=rate_hz)
    except UnreadableAudio as error:
        raise Unanswered(404, f"its file cannot be read any more: {error.reason}") from error
    except (OSError, ValueError) as error:
        raise Unanswered(404, "its file cannot be read any more") from error
