"""Label-free events: when something stands out of the background, in which bands, by how much.

In come frames of the tape; out come the level of each frame above its background, and events.
Called once for each recording while it is indexed.

Axes: T frames, F mel bands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from oscine.config import ActivityConfig, PictureConfig

DB_PER_NAT = 10 / np.log(10)
SMOOTH_FRAMES = 5
SMOOTH_BANDS = 5
FLOOR_STEP_FRAMES = 4
"""The floor looks at every fourth frame: neighbours overlap by two thirds and say the same."""
PEAK_FRAMES = 2**16
"""Frames that are searched for peaks at a time, and some more: the search needs ten times their
memory."""
SHORT_FRAMES = 300
"""A neighbourhood shorter than this may be nothing but call, so its floor is capped."""
CAP_DB = 6.0
SILENCE_DB = -75.0
"""Rounding noise of 16 bits in one frequency of a transform of 1024 samples."""
RANGE_DB = 50.0
QUIET_DB = 5.0
"""A frame is quiet when no group of bands stands this far above the background."""
LEVEL_BANDS = 8
"""Bands that share a level where levels are kept for later."""
BAND_SHARE = 0.5
"""A band belongs to an event when it rises at least this share as high as the highest band."""


class Frames(Protocol):
    """Log-mel frames [shape=(T, F)] that are read by slices, so that they may stay on disk."""

    shape: tuple[int, int]

    def __len__(self) -> int: ...

    def __getitem__(self, frames: slice, /) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Frames [start_frame, stop_frame) and bands [low_band, high_band) that stand out."""

    start_frame: int
    stop_frame: int
    low_band: int
    high_band: int
    level_db: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Background:
    """The floor of each band, block by block, and how far each frame stands above it.

    Attributes
    ----------
    floor_db : np.ndarray of float32 [shape=(blocks, F)]
    block_frames : int
        Frames that share a floor.
    level_db : np.ndarray of float32 [shape=(T,)]
        Of the band that stands highest above its floor; not below 0.
    is_sounding : np.ndarray of bool [shape=(T,)]
        False in digital silence.
    """

    floor_db: np.ndarray
    block_frames: int
    level_db: np.ndarray
    is_sounding: np.ndarray


def find_background(
    log_mel: Frames,
    picture: PictureConfig,
    activity: ActivityConfig,
    keep: Callable[[np.ndarray], None] | None = None,
) -> Background:
    """Measure the background of a recording and how far each frame stands above it.

    The picture is smoothed over 5 frames x 5 bands. The floor of a band is a low percentile over
    ``floor_window_s`` around each block. Where so little sounds that it may be nothing but a
    call (under 300 frames), the floor is at most 6 dB above the lower quartile of the bands'
    floors. Digital silence counts for no floor, and none lies more than 50 dB below the loudest
    sound around: further down are the holes that lossy codecs leave, not background.

    Parameters
    ----------
    log_mel : Frames [shape=(T, F)]
        Valid bands only, in nats: an array, or anything that gives one by slices of frames.
    picture : PictureConfig
    activity : ActivityConfig
    keep : callable, optional
        Given the levels of every ``LEVEL_BANDS`` bands, block by block [shape=(frames, G)]: they
        may be larger than memory.

    Returns
    -------
    Background
    """
    n_frames, n_bands = log_mel.shape
    block = max(1, round(activity.floor_window_s * picture.frames_per_s / 2))
    starts = range(0, n_frames, block)
    floors = np.empty((len(starts), n_bands), np.float32)
    levels = np.empty(n_frames, np.float32)
    is_sounding = np.empty(n_frames, bool)
    smooth, smooth_start = np.empty((0, n_bands), np.float32), 0
    silence = silence_db(picture)
    for number, start in enumerate(starts):
        stop = min(n_frames, start + block)
        low, high = max(0, start - block // 2), min(n_frames, stop + block // 2)
        # Neighbourhoods overlap by half: what is smooth already is kept.
        more = _smooth_db(log_mel, smooth_start + len(smooth), high, silence)
        smooth = np.concatenate([smooth[low - smooth_start :], more])  # frames [low, high)
        smooth_start = low
        around = smooth.max(axis=1) > silence
        is_sounding[start:stop] = around[start - low : stop - low]
        if not around.any():
            floors[number], levels[start:stop] = silence, 0
            if keep is not None:
                keep(np.zeros((stop - start, n_level_groups(picture)), np.float32))
            continue
        sounding = smooth[around]
        floor = np.percentile(sounding[::FLOOR_STEP_FRAMES], activity.floor_percentile, axis=0)
        floor = np.maximum(floor, smooth.max() - RANGE_DB)
        if len(sounding) < SHORT_FRAMES:
            floor = np.minimum(floor, np.percentile(floor, 25) + CAP_DB)
        floors[number] = floor
        excess = smooth[start - low : stop - low] - floors[number]
        levels[start:stop] = np.maximum(excess.max(axis=1), 0)
        if keep is not None:
            keep(_group_levels(excess, n_level_groups(picture)))
    return Background(floor_db=floors, block_frames=block, level_db=levels, is_sounding=is_sounding)


def silence_db(picture: PictureConfig) -> float:
    """Return the level below which a frame, in every band, holds digital silence."""
    return SILENCE_DB + 10 * float(np.log10(picture.n_fft / 1024))


def is_quiet(log_mel: np.ndarray, level_db: np.ndarray, picture: PictureConfig) -> np.ndarray:
    """Say of each frame whether it holds nothing but background; digital silence is none.

    Parameters
    ----------
    log_mel : np.ndarray [shape=(T, F)]
        Valid bands only.
    level_db : np.ndarray [shape=(T, G)]
        Of each group of bands above the background.
    picture : PictureConfig

    Returns
    -------
    np.ndarray of bool [shape=(T,)]
    """
    is_sounding = log_mel.max(axis=1) * DB_PER_NAT > silence_db(picture)
    return is_sounding & (level_db.max(axis=1) < QUIET_DB)


def n_level_groups(picture: PictureConfig) -> int:
    """Return the number of groups of ``LEVEL_BANDS`` bands."""
    return -(-picture.n_mels // LEVEL_BANDS)


def find_events(
    log_mel: Frames,
    background: Background,
    picture: PictureConfig,
    activity: ActivityConfig,
) -> list[Event]:
    """Find the stretches that stand out of the background.

    Every peak of the level that reaches ``on_db`` and is parted from higher ones by a valley of
    ``valley_db`` is the heart of an event, which lasts while the level stays above ``off_db`` and
    within ``drop_db`` of the peak (so that a loud call ends before its echo does). Gaps shorter
    than ``min_gap_s`` are bridged; what lasts longer than ``max_duration_s`` is cut where it is
    quietest. Where less than 300 frames sound and nothing stands out, because the recording was cut
    to the call, what sounds is one event.

    Parameters
    ----------
    log_mel : Frames [shape=(T, F)]
        As for :func:`find_background`.
    background : Background
    picture : PictureConfig
    activity : ActivityConfig

    Returns
    -------
    list of Event
        In order of time, not overlapping.
    """
    spans = _spans(background.level_db, picture, activity)
    n_sounding = np.count_nonzero(background.is_sounding)
    if not spans and 0 < n_sounding < SHORT_FRAMES:
        sounding = np.flatnonzero(background.is_sounding)
        spans = [(int(sounding[0]), int(sounding[-1]) + 1)]
    longest = max(2, round(activity.max_duration_s * picture.frames_per_s))
    return [
        _event(log_mel, background, start, stop, silence_db(picture))
        for span in spans
        for start, stop in _parted(background.level_db, *span, longest)
    ]


def _group_levels(excess_db: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the highest level in each group of bands [shape=(T, G)]; 0 where none is valid."""
    n_frames, n_bands = excess_db.shape
    padded = np.zeros((n_frames, n_groups * LEVEL_BANDS), np.float32)
    padded[:, :n_bands] = np.maximum(excess_db, 0)
    levels = padded[:, ::LEVEL_BANDS].copy()
    # Numpy is slow at the maximum of many short rows: band by band takes a quarter of the time.
    for band in range(1, LEVEL_BANDS):
        np.maximum(levels, padded[:, band::LEVEL_BANDS], out=levels)
    return levels


def _spans(
    level_db: np.ndarray, picture: PictureConfig, activity: ActivityConfig
) -> list[tuple[int, int]]:
    """Return the frames [start, stop) around each peak of the level, short gaps bridged."""
    fps = picture.frames_per_s
    peaks = _peaks(level_db, activity)
    if not len(peaks):
        return []
    valleys = [0]
    valleys += [int(left + np.argmin(level_db[left:right])) for left, right in pairwise(peaks)]
    spans: list[tuple[int, int]] = []
    for peak, low, high in zip(peaks, valleys, [*valleys[1:], len(level_db)], strict=True):
        quiet = level_db[low:high] < max(activity.off_db, level_db[peak] - activity.drop_db)
        before, after = np.flatnonzero(quiet[: peak - low]), np.flatnonzero(quiet[peak - low :])
        start = low + int(before[-1]) + 1 if len(before) else low
        stop = int(peak + after[0]) if len(after) else high
        if spans and start - spans[-1][1] < activity.min_gap_s * fps:
            spans[-1] = (spans[-1][0], stop)
        else:
            spans.append((start, stop))
    return [s for s in spans if s[1] - s[0] >= activity.min_duration_s * fps]


def _peaks(level_db: np.ndarray, activity: ActivityConfig) -> np.ndarray:
    """Return the frames of all peaks, looking at a portion at a time.

    A portion ends in a frame so quiet that it parts the peaks on both its sides, whatever lies
    beyond: the peaks are those of the whole. The ends count as quiet too, so that a recording cut
    to its call still has a peak.
    """
    from scipy.signal import find_peaks  # takes a second: whoever only reads a tape is spared it

    quiet_db = activity.on_db - activity.valley_db
    found = [np.empty(0, np.int64)]
    start = 0
    while start < len(level_db):
        stop = min(start + PEAK_FRAMES, len(level_db))
        while stop < len(level_db) and level_db[stop - 1] > quiet_db:
            stop += 1
        padded = np.concatenate(([0.0], level_db[start:stop], [0.0]))
        peaks, _ = find_peaks(padded, height=activity.on_db, prominence=activity.valley_db)
        found.append(peaks + (start - 1))
        start = stop
    return np.concatenate(found)


def _parted(level_db: np.ndarray, start: int, stop: int, longest: int) -> list[tuple[int, int]]:
    """Cut a span at the quietest frame of its middle half until no piece is too long."""
    if stop - start <= longest:
        return [(start, stop)]
    quarter = max(1, (stop - start) // 4)
    middle = start + quarter
    cut = middle + int(np.argmin(level_db[middle : stop - quarter]))
    return _parted(level_db, start, cut, longest) + _parted(level_db, cut, stop, longest)


def _event(log_mel: Frames, background: Background, start: int, stop: int, silence: float) -> Event:
    """Measure in which bands, and how far, a stretch stands out."""
    smooth = _smooth_db(log_mel, start, stop, silence)
    blocks = np.arange(start, stop) // background.block_frames
    rise = (smooth - background.floor_db[blocks]).max(axis=0)  # (F,)
    bands = np.flatnonzero(rise >= min(BAND_SHARE * rise.max(), rise.max()))
    return Event(
        start_frame=start,
        stop_frame=stop,
        low_band=int(bands[0]),
        high_band=int(bands[-1]) + 1,
        level_db=round(float(rise.max()), 2),
    )


def _smooth_db(log_mel: Frames, start: int, stop: int, silence: float) -> np.ndarray:
    """Return frames [start, stop) in decibels, smoothed; digital silence blurs into no sound.

    The same values whatever else is asked for: frames around are read too.
    """
    margin = SMOOTH_FRAMES // 2
    low, high = max(0, start - margin), min(len(log_mel), stop + margin)
    level_db = np.asarray(log_mel[low:high], dtype=np.float32) * np.float32(DB_PER_NAT)
    is_sounding = level_db.max(axis=1, keepdims=True) > silence  # (T, 1)
    counted = is_sounding.astype(np.float32)
    smooth = _moving_sum(level_db * counted, SMOOTH_FRAMES)
    smooth /= np.maximum(_moving_sum(counted, SMOOTH_FRAMES), 1)
    np.copyto(smooth, level_db, where=~is_sounding)
    smooth = _moving_sum(smooth[start - low : stop - low].T, SMOOTH_BANDS).T
    smooth /= SMOOTH_BANDS
    return smooth


def _moving_sum(values: np.ndarray, size: int) -> np.ndarray:
    """Sum `size` rows around each; the outermost rows are repeated beyond the ends.

    Each sum is made anew: a running one would depend on where the rows begin.
    """
    margin = size // 2
    padded = np.concatenate([values[:1]] * margin + [values] + [values[-1:]] * margin)
    total = padded[: len(values)].copy()
    for shift in range(1, size):
        total += padded[shift : shift + len(values)]
    return total
