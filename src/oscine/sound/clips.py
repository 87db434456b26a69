"""Clips: stretches of recordings as WAV files of their own, sample for sample.

In come a row of the catalogue and a stretch of it; out come a file, or why there is none. The step
that exports calls it.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from oscine.sound.archive import located
from oscine.sound.audio import UnreadableAudio, content_hash, hushed, read_samples
from oscine.sound.recording import Interval
from oscine.workspace.catalogue import RecordingRow

_SCALES = ((np.int16, 2.0**15), (np.int32, 2.0**31))
"""Integers that a WAV file holds, and how many make up full scale."""


def unchanged_file(recording: RecordingRow) -> Path:
    """Return the file of a recording, which holds what was heard when it was indexed.

    A file that has another time than then is read through, once as long as it stays so.

    Raises
    ------
    UnreadableAudio
        It is gone, or holds something else now.
    """
    file = Path(recording.root) / recording.path
    try:
        file = located(Path(recording.root), recording.path)
        status = file.stat()
        is_same = status.st_size == recording.n_bytes and (
            status.st_mtime == recording.modified_s
            or _hash_of(file, status.st_size, status.st_mtime_ns) == recording.content_hash
        )
    except OSError as error:
        raise UnreadableAudio(file, f"cannot be opened: {error.strerror}") from error
    if not is_same:
        raise UnreadableAudio(file, "was changed since it was indexed: run `oscine index` again")
    return file


@lru_cache(maxsize=2**16)
def _hash_of(file: Path, n_bytes: int, modified_ns: int) -> str:
    """Return the hash of a file, remembered as long as its size and time stay what they are."""
    return content_hash(file)


def write_clip(clip: Path, recording: RecordingRow, file: Path, interval: Interval) -> None:
    """Write a stretch of a recording as WAV, at its own rate and with its own samples.

    Where the channels of the file are mixed in the workspace, the clip has all of them; else the
    one channel. Samples are written as integers of 16 or 32 bits where these hold them exactly, as
    they do those of PCM files, else as 32-bit floats.

    Parameters
    ----------
    clip : Path
    recording : RecordingRow
    file : Path
        As of :func:`unchanged_file`.
    interval : Interval

    Raises
    ------
    UnreadableAudio
        The file cannot be read that far.
    """
    from scipy.io import wavfile

    with hushed():
        samples = read_samples(file, interval)
    if len(samples) < interval.stop - interval.start:
        raise UnreadableAudio(file, f"cannot be read to {interval.stop_s:.3f} s")
    if recording.channel >= 0:
        samples = samples[:, recording.channel]
    # libsndfile would write the time of day into a file of floats.
    wavfile.write(clip, interval.sample_rate_hz, _exactly(samples))


def _exactly(samples: np.ndarray) -> np.ndarray:
    """Return the narrowest type that holds the samples as they are."""
    for kind, scale in _SCALES:
        scaled = samples.astype(np.float64) * scale
        limits = np.iinfo(kind)
        if np.all((scaled == np.rint(scaled)) & (limits.min <= scaled) & (scaled <= limits.max)):
            return scaled.astype(kind)
    return samples.astype(np.float32)
