"""Sound of a workspace's recordings, read again: to play it, or to measure it.

In come frames of a recording; out come samples or MP3, or None where the file is gone or holds
another sound.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from oscine.config import (
    OscineConfig,
)
from oscine.sound.audio import UnreadableAudio, hushed, read_interval
from oscine.sound.clips import unchanged_file
from oscine.sound.hearing import event_speed
from oscine.sound.recording import Interval
from oscine.workspace.catalogue import (
    RecordingRow,
)

if TYPE_CHECKING:
    from oscine.atlas.pictures import PageExemplar
    from oscine.embedding.intervals import FrameInterval
    from oscine.picture.tape import Tape


PLAYED_HZ = 32_000
"""Rate of the sounds on the page: MP3 knows few."""


SILENT = "its file cannot be read any more, or was changed"
"""Why there is a picture without sound."""


PAD_FRAMES = 30
"""Sound and picture of an exemplar reach this far beyond it on either side."""


AROUND_FRAMES = 200
"""Sound before and after an event in which its background is measured."""


def sound_around(
    interval: FrameInterval, config: OscineConfig
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Return the sound of an interval, that around it, and their rate; None where it is gone."""
    recording, hop = interval.recording, config.picture.hop_samples
    start = max(0, interval.start_frame - AROUND_FRAMES)
    stop = min(recording.n_frames, interval.stop_frame + AROUND_FRAMES)
    rate_hz = recording.sample_rate_hz
    wide = Interval(
        start=start * hop, stop=stop * hop, sample_rate_hz=config.picture.sample_rate_hz
    )
    channel = None if recording.channel < 0 else recording.channel
    try:
        with hushed():
            around = read_interval(unchanged_file(recording), wide, channel=channel)
    except (UnreadableAudio, OSError, ValueError):
        return None
    first, last = (
        round((frame - start) * hop * rate_hz / config.picture.sample_rate_hz)
        for frame in (interval.start_frame, interval.stop_frame)
    )
    return around[first:last], around, rate_hz


def as_mp3(
    recording: RecordingRow,
    start_frame: int,
    stop_frame: int,
    config: OscineConfig,
    speed: float,
) -> bytes | None:
    """Return a stretch of a recording as MP3, loud and slow enough to hear; None if it is gone."""
    import soundfile

    hop, rate = config.picture.hop_samples, config.picture.sample_rate_hz
    interval = Interval(start=start_frame * hop, stop=stop_frame * hop, sample_rate_hz=rate)
    channel = None if recording.channel < 0 else recording.channel
    played_hz = round(PLAYED_HZ / speed)
    try:
        file = unchanged_file(recording)
        with hushed():
            samples = read_interval(file, interval, channel=channel, sample_rate_hz=played_hz)
    except (UnreadableAudio, OSError, ValueError):
        return None
    peak = float(np.abs(samples).max(initial=0))
    if peak == 0:
        return None
    sound = io.BytesIO()
    soundfile.write(sound, samples * (0.7 / peak), PLAYED_HZ, format="MP3")
    return sound.getvalue()


def pictured(
    interval: FrameInterval,
    event_id: str,
    band_hz: tuple[float, float],
    tape: Tape,
    config: OscineConfig,
) -> PageExemplar:
    """Return picture and sound of a stretch of a recording, with a little of what surrounds it.

    `band_hz` is where its sound lies: it is played so that it is heard.
    """
    from oscine.atlas.pictures import PageExemplar

    recording = interval.recording
    start = max(0, interval.start_frame - PAD_FRAMES)
    stop = min(recording.n_frames, interval.stop_frame + PAD_FRAMES)
    speed = event_speed((config.picture.low_hz, config.picture.high_hz), band_hz)
    frame_s = 1 / config.picture.frames_per_s
    return PageExemplar(
        event_id=event_id,
        recording=recording.path,
        start_s=start * frame_s,
        stop_s=stop * frame_s,
        spectrogram=tape.log_mel(recording.tape_row + start, recording.tape_row + stop),
        audio=as_mp3(recording, start, stop, config, speed),
        audio_speed=speed,
    )
