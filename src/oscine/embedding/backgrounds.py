"""Sounds before other backgrounds: what is asked where no label may be.

In come intervals of the tape; out come excerpts of the same sounds with the quiet frames of another
recording mixed in, or in place of their own. The choices of readouts listen to them, and so do the
controls of the evaluation.

Axes: T frames, F mel bands, G groups of bands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from oscine.config import ActivityConfig, PictureConfig, ReadoutConfig
from oscine.embedding.embed import Excerpt, excerpt, excerpt_frames, interval_grids
from oscine.model.autoencoder import Encoder
from oscine.picture.activity import Frames, find_background, is_quiet, n_level_groups
from oscine.picture.tape import TAPE_LOW, Tape
from oscine.workspace.catalogue import RecordingRow

LEAST_QUIET_FRAMES = 50
"""Less than this is no background to judge by."""
AROUND_FRAMES = 6000
"""Quiet frames are looked for within so many around a sound: the background changes within hours.
"""
MOST_QUIET_FRAMES = 1000
LEAST_POWER = float(np.exp(TAPE_LOW))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QuietFrames:
    """The background of a recording: its quiet frames, in the order of time.

    Attributes
    ----------
    recording : RecordingRow
    log_mel : np.ndarray of float32 [shape=(T, F)]
    """

    recording: RecordingRow
    log_mel: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Change:
    """How a sound is to be heard instead.

    Attributes
    ----------
    noise : QuietFrames or None
        The background that is added.
    snr_db : float or None
        How far the mean power of the sound, over its valid bands and its interval, lies above that
        of the noise. None: as loud as the background that is taken away.
    first : int
        The quiet frame that comes first; the others follow, and begin again at the end.
    without : QuietFrames or None
        The background whose mean power is taken away from each band.
    gain_db : float
        Of the whole.
    """

    noise: QuietFrames | None = None
    snr_db: float | None = None
    first: int = 0
    without: QuietFrames | None = None
    gain_db: float = 0.0


def quiet_frames(
    tape: Tape, recording: RecordingRow, picture: PictureConfig, frame: int | None = None
) -> QuietFrames | None:
    """Return the quiet frames of a recording, the nearest to a frame.

    Digital silence is no background.

    Parameters
    ----------
    tape : Tape
    recording : RecordingRow
    picture : PictureConfig
    frame : int, optional
        Of the recording; by default the middle.

    Returns
    -------
    QuietFrames or None
        None where there are less than 50; at most 1000 (half a second to ten, of birds).
    """
    at = recording.n_frames // 2 if frame is None else frame
    reach = AROUND_FRAMES // 2
    low, high = max(0, at - reach), min(recording.n_frames, at + reach)
    rows = recording.tape_row + low, recording.tape_row + high
    log_mel = tape.log_mel(*rows)
    valid = log_mel[:, : recording.n_valid_bands]
    quiet = np.flatnonzero(is_quiet(valid, tape.level_db(*rows), picture))
    if len(quiet) < LEAST_QUIET_FRAMES:
        return None
    nearest = np.sort(np.argsort(np.abs(quiet + low - at), kind="stable")[:MOST_QUIET_FRAMES])
    return QuietFrames(recording=recording, log_mel=log_mel[quiet[nearest]])


def background_shape(quiet: QuietFrames) -> np.ndarray:
    """Return the mean log-mel of a background [shape=(F,)]; NaN in bands that are not valid."""
    shape = quiet.log_mel.mean(axis=0)
    shape[quiet.recording.n_valid_bands :] = np.nan
    return shape


def changed_excerpt(
    tape: Tape,
    recording: RecordingRow,
    interval: tuple[int, int],
    encoder: Encoder,
    config: ReadoutConfig,
    activity: ActivityConfig,
    change: Change,
) -> Excerpt:
    """Cut an interval from the tape as it would be heard after a change.

    The change reaches the surroundings too, and levels are measured anew, so that weights of frames
    and rows are those that the changed recording would have. Bands that the noise does not have
    are not valid any more.

    Parameters
    ----------
    tape : Tape
    recording : RecordingRow
    interval : (start, stop)
        Frames of the recording.
    encoder : Encoder
    config : ReadoutConfig
    activity : ActivityConfig
    change : Change

    Returns
    -------
    Excerpt
    """
    grids = interval_grids(recording, interval, encoder, config)
    first, last = excerpt_frames(interval, grids)
    reach = round(activity.floor_window_s * encoder.picture.frames_per_s / 2)
    low, high = max(0, first - reach), min(recording.n_frames, last + reach)
    n_bands = recording.n_valid_bands
    if change.noise is not None:
        n_bands = min(n_bands, change.noise.recording.n_valid_bands)
    log_mel = tape.log_mel(recording.tape_row + low, recording.tape_row + high)
    inside = slice(interval[0] - low, interval[1] - low)
    log_mel[:, :n_bands] = _changed(log_mel[:, :n_bands], inside, change)
    level_db = group_levels_db(log_mel[:, :n_bands], encoder.picture, activity)
    cut = slice(first - low, last - low)
    return excerpt(log_mel[cut], level_db[cut], interval, grids, n_bands, encoder, config)


def background_excerpt(
    quiet: QuietFrames, first: int, n_frames: int, encoder: Encoder, config: ReadoutConfig
) -> Excerpt:
    """Make an excerpt of background alone: quiet frames, all weighing alike.

    Parameters
    ----------
    quiet : QuietFrames
    first, n_frames : int
        The quiet frame that comes first, and how many follow it, beginning again at the end.
    encoder : Encoder
    config : ReadoutConfig

    Returns
    -------
    Excerpt
    """
    n_frames = max(n_frames, encoder.config.patch_frames)
    recording = replace(quiet.recording, n_frames=n_frames)
    grids = interval_grids(recording, (0, n_frames), encoder, config)
    log_mel = _in_turn(quiet.log_mel, first, n_frames)
    level_db = np.zeros((n_frames, n_level_groups(encoder.picture)), np.float32)
    return excerpt(
        log_mel, level_db, (0, n_frames), grids, recording.n_valid_bands, encoder, config
    )


def group_levels_db(
    log_mel: np.ndarray, picture: PictureConfig, activity: ActivityConfig
) -> np.ndarray:
    """Return how far each group of bands stands above the background [shape=(T, G)]."""
    levels: list[np.ndarray] = []
    find_background(cast(Frames, log_mel), picture, activity, levels.append)
    return np.concatenate(levels)


def _changed(log_mel: np.ndarray, inside: slice, change: Change) -> np.ndarray:
    """Change frames [shape=(T, F), valid bands]; `inside` are those of the sound."""
    n_frames, n_bands = log_mel.shape
    power = np.exp(log_mel.astype(np.float64))
    taken = 0.0
    if change.without is not None:
        own = np.exp(change.without.log_mel[:, :n_bands].astype(np.float64)).mean(axis=0)
        power, taken = np.maximum(power - own, 0), own.mean()
    if change.noise is not None:
        noise = _in_turn(change.noise.log_mel[:, :n_bands], change.first, n_frames)
        noise = np.exp(noise.astype(np.float64))
        wanted = taken
        if change.snr_db is not None:
            wanted = power[inside].mean() / 10 ** (change.snr_db / 10)
        power = power + noise * (wanted / noise[inside].mean())
    power = power * 10 ** (change.gain_db / 10)
    return np.log(np.maximum(power, LEAST_POWER)).astype(np.float32)


def _in_turn(frames: np.ndarray, first: int, n_frames: int) -> np.ndarray:
    """Return so many frames, beginning again at the end."""
    return frames[(first + np.arange(n_frames)) % len(frames)]
