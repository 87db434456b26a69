"""Samples of an audio file, in blocks, and what could not be read of it.

In comes a path; out come float32 blocks (C, S) at the rate that was asked for, and plain words
about what the file promised and did not hold. `oscine.picture` draws from these blocks;
`oscine.steps` reads single intervals again to play or embed them. Nothing holds a whole file.
"""

import hashlib
import io
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Self, get_args

import numpy as np
import soundfile
import soxr

from oscine.sound.archive import shown
from oscine.sound.recording import Interval

Channels = Literal["mean", "first", "each"]

# Decoding goes in short steps, so that a fault costs no more than one of them.
_STEP_S = 0.1

# What a float file may hold and still be sound: far above any scale in use (integers stored as
# floats reach 2e9), and small enough for power spectra to stay finite in float32.
_LARGEST_SAMPLE = 1e15

# By how much a promise may be off that counts whole codec frames, or their padding.
_PROMISE_SLACK_S = 0.1

# The samples beyond both ends of an excerpt that the resampling filter needs, generously: at least
# so many seconds, and so many samples of the lower rate.
_RESAMPLING_MARGIN_S, _RESAMPLING_MARGIN_SAMPLES = 0.1, 128

# Data sizes that programs write when they cannot know better (streams, recorders cut off).
_PLACEHOLDER_SIZES = frozenset({0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF})
_UNPACKED_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's word for a length that the header does not give

_UNRECOGNISED = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT

_PYAV_SUFFIXES = frozenset({".m4a", ".mp4", ".aac", ".wma", ".amr", ".webm", ".mka"})


class UnreadableAudio(ValueError):
    """A file of which nothing can be decoded.

    Attributes
    ----------
    path : Path
    reason : str
        Why, in plain words.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.reason}"


class _DecodingFault(Exception):
    """Decoding stopped before the end; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Decoder:
    """An open file: what its header says, and its samples from some frame on.

    `steps(start, stop)` gives float32 arrays (S, C) that hold until the next one is asked for, and
    raises `_DecodingFault` after the last one that can be had. `slack_frames` is by how much a
    promise of this kind of file may be wrong; `doubt` is what else is amiss with it.
    """

    sample_rate_hz: int
    n_channels: int
    encoding: str
    n_promised: int | None
    slack_frames: int
    doubt: str | None
    steps: Callable[[int, int | None], Iterator[np.ndarray]]
    close: Callable[[], None]


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
        Frames decoded so far, at the file's own rate.
    peak : float
        Largest absolute sample handed out so far, before resampling.
    problem : str or None
        After the last block: what is wrong with the file, in plain words.
    """

    def __init__(self, decoder: _Decoder, channels: Channels) -> None:
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
    def n_missing(self) -> int:
        """Frames promised but not read; 0 where nothing is promised, or not to that precision."""
        n_missing = (self.n_promised or 0) - self.n_read
        return n_missing if n_missing > self._decoder.slack_frames else 0

    def blocks(self, sample_rate_hz: int, *, block_s: float = 10.0) -> Iterator[np.ndarray]:
        """Give the samples from start to end, resampled where the file has another rate.

        A fault in the file does not raise: the blocks end there, and `problem` tells.

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
        native = self._native_blocks(max(1, round(block_s * self.sample_rate_hz)))
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
        except _DecodingFault as error:
            fault = str(error)
        self.problem = self._account(fault, n_unsound)

    def _account(self, fault: str | None, n_unsound: int) -> str | None:
        read_s = self.n_read / self.sample_rate_hz
        words = []
        if fault:
            words.append(f"cannot be decoded beyond {read_s:.2f} s: {fault}")
        elif self.n_promised and self.n_missing:
            promised_s = self.n_promised / self.sample_rate_hz
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
    return Audio(_open_decoder(path), channels)


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
    decoder = _open_decoder(path)
    try:
        if channel is not None and not 0 <= channel < decoder.n_channels:
            raise ValueError(
                f"{shown(path)} has {decoder.n_channels} channels, counted from 0; "
                f"there is no channel {channel}"
            )
        native_hz = decoder.sample_rate_hz
        wanted = interval.at(native_hz)
        if sample_rate_hz is None or sample_rate_hz == native_hz:
            return _excerpt(decoder, wanted.start, wanted.stop, channel)
        # The filter needs samples on both sides, and the excerpt must begin where a sample of
        # one rate falls on a sample of the other.
        lower_hz = min(native_hz, sample_rate_hz)
        margin_s = max(_RESAMPLING_MARGIN_S, _RESAMPLING_MARGIN_SAMPLES / lower_hz)
        margin = round(margin_s * native_hz)
        meeting = native_hz // math.gcd(native_hz, sample_rate_hz)
        begin = max(0, wanted.start - margin) // meeting * meeting
        samples = _excerpt(decoder, begin, wanted.stop + margin, channel)
    finally:
        decoder.close()
    resampled = soxr.resample(samples, native_hz, sample_rate_hz, quality="HQ")
    target = interval.at(sample_rate_hz)
    skipped = begin * sample_rate_hz // native_hz
    return resampled[target.start - skipped : target.stop - skipped]


def content_hash(path: Path) -> str:
    """Hash of the bytes of a file (the first 16 bytes of SHA-256, as 32 hexadecimal digits).

    Processors have instructions for it: it takes half the time of BLAKE2b.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _excerpt(decoder: _Decoder, start: int, stop: int, channel: int | None) -> np.ndarray:
    """Read samples (S,) at the file's own rate, as far as they can be had."""
    block = np.zeros((stop - start, decoder.n_channels), np.float32)
    n_filled = 0
    with suppress(_DecodingFault):
        for step in decoder.steps(start, stop):
            block[n_filled : n_filled + len(step)] = step
            n_filled += len(step)
    block = block[:n_filled]
    _silence_unsound(block)
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
    except _DecodingFault as error:
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


def _open_decoder(path: Path) -> _Decoder:
    _check_file(path)
    try:
        return _soundfile_decoder(path)
    except soundfile.LibsndfileError as error:
        refusal = error
    try:
        return _pyav_decoder(path)
    except ImportError:
        if path.suffix.lower() in _PYAV_SUFFIXES:
            reason = "this kind of file needs PyAV: pip install 'oscine[aac]'"
            raise UnreadableAudio(path, reason) from None
    except ValueError:  # PyAV's errors about what is in a file; libsndfile's word is kept
        pass
    raise UnreadableAudio(path, _refusal_in_words(refusal))


def _check_file(path: Path) -> None:
    """Find what can be said without decoding, in the system's words or plainer ones."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableAudio(path, "a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableAudio(path, "not an ordinary file")
        if status.st_size == 0:
            raise UnreadableAudio(path, "empty (0 bytes)")
        open(path, "rb").close()
    except OSError as error:
        raise UnreadableAudio(path, f"cannot be opened: {error.strerror}") from error


def _refusal_in_words(error: soundfile.LibsndfileError) -> str:
    if error.code == _UNRECOGNISED:
        return "no audio format is recognised: not audio, or its header is damaged"
    return f"its header is damaged: {_libsndfile_words(error)}"


def _libsndfile_words(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(".")


class _ForwardFile(soundfile.SoundFile):
    """A `SoundFile` that reads straight on.

    Where a file is seekable, soundfile seeks after every read to where it already is: in MP3 that
    changes the samples, in damaged Ogg it skips some, and in short steps it costs as much as
    decoding.
    """

    def seekable(self) -> bool:
        return False


class _LongerFile(io.FileIO):
    """A file that claims to be 64 times as long as it is.

    Without a length in the header, libsndfile ends an MP3 where the bit rate of its first frames
    would put the end: far too early where that is high and the rest is not. The claim puts the
    end out of the way (bit rates lie within a factor of 40), and decoding ends with the bytes.
    """

    _is_at_end = False

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._is_at_end = whence == os.SEEK_END
        return super().seek(offset, whence)

    def tell(self) -> int:
        return super().tell() * (64 if self._is_at_end else 1)

    def is_used_up(self) -> bool:
        """Whether all its bytes were read: what fails then is only a last frame that is cut."""
        return super().tell() >= os.fstat(self.fileno()).st_size


def _soundfile_decoder(path: Path) -> _Decoder:
    resources = ExitStack()
    # Bytes, because soundfile cannot encode a name that is no UTF-8; Windows has no such names.
    name = os.fsencode(path) if os.name == "posix" else str(path)
    sound = resources.enter_context(_ForwardFile(name))  # pyright: ignore[reportArgumentType]
    longer = doubt = None
    if sound.format == "RAW":  # by its extension alone; nothing in it says that it is audio
        resources.close()
        raise UnreadableAudio(path, "no audio format is recognised, whatever its extension says")
    if sound.format == "MP3" and not _has_mp3_length(path):
        try:
            longer = resources.enter_context(_LongerFile(path))
            sound = resources.enter_context(_ForwardFile(longer))
        except soundfile.LibsndfileError:  # unnamed bytes are known by how they begin
            doubt = "its first bytes are damaged, so more may follow than was read"
    return _Decoder(
        sample_rate_hz=sound.samplerate,
        n_channels=sound.channels,
        encoding=f"{sound.format} {sound.subtype}",
        n_promised=_promised_frames(path, sound),
        slack_frames=round(_PROMISE_SLACK_S * sound.samplerate) if sound.format == "MP3" else 0,
        doubt=doubt,
        steps=lambda start, stop: _soundfile_steps(sound, start, stop, longer),
        close=resources.close,
    )


def _soundfile_steps(
    sound: soundfile.SoundFile, start: int, stop: int | None, source: _LongerFile | None
) -> Iterator[np.ndarray]:
    buffer = np.empty((max(1, round(_STEP_S * sound.samplerate)), sound.channels), np.float32)
    try:
        if start:
            sound.seek(min(start, sound.frames))
        n_left = (sound.frames if stop is None else stop) - start
        # Into a plain buffer: `read` looks at its array anew each time, a tenth of the decoding.
        while n_read := sound.buffer_read_into(buffer[:n_left], "float32"):
            n_left -= n_read
            yield buffer[:n_read]
    except soundfile.LibsndfileError as error:
        if source is None or not source.is_used_up():
            raise _DecodingFault(_libsndfile_words(error)) from error


def _promised_frames(path: Path, sound: soundfile.SoundFile) -> int | None:
    """Frames that the header promises; libsndfile trims that to what is there in some formats."""
    if sound.format in ("WAV", "WAVEX", "RF64"):
        return _riff_frames(path) if sound.subtype.startswith(_UNPACKED_SUBTYPES) else None
    if sound.format == "AIFF":
        return _aiff_frames(path)
    if sound.format == "MP3":
        return sound.frames if _has_mp3_length(path) else None
    if sound.format in ("FLAC", "OGG"):
        return sound.frames if sound.frames != _UNKNOWN_FRAMES else None
    return None


def _riff_frames(path: Path) -> int | None:
    """Frames by the data chunk of a WAV, in its 32-bit or 64-bit form."""
    block_align = 0
    n_bytes_64 = 0
    with open(path, "rb") as file:
        if file.read(4) not in (b"RIFF", b"RF64"):
            return None
        for name, n_bytes in _chunks(file, "little"):
            if name == b"ds64":
                n_bytes_64 = int.from_bytes(file.read(16)[8:], "little")
            elif name == b"fmt ":
                block_align = int.from_bytes(file.read(14)[12:], "little")
            elif name == b"data":
                n_bytes = n_bytes_64 or n_bytes
                is_credible = n_bytes not in _PLACEHOLDER_SIZES and block_align > 0
                if is_credible and n_bytes % block_align == 0:
                    return n_bytes // block_align
                return None
    return None


def _aiff_frames(path: Path) -> int | None:
    """Frames by the common chunk of an AIFF."""
    with open(path, "rb") as file:
        for name, _ in _chunks(file, "big"):
            if name == b"COMM":
                return int.from_bytes(file.read(6)[2:], "big") or None
    return None


def _chunks(file: BinaryIO, order: Literal["little", "big"]) -> Iterator[tuple[bytes, int]]:
    """Names and sizes of the chunks of a RIFF or IFF file, which stands at each one's content."""
    position = 12
    file.seek(position)
    while len(header := file.read(8)) == 8:
        n_bytes = int.from_bytes(header[4:], order)
        yield header[:4], n_bytes
        position += 8 + n_bytes + n_bytes % 2
        file.seek(position)


def _has_mp3_length(path: Path) -> bool:
    """Whether an MP3 says how long it is (a Xing, Info or VBRI header in its first frame)."""
    with open(path, "rb") as file:
        position = 0
        while len(tag := file.read(10)) == 10 and tag.startswith(b"ID3"):
            # Four bytes of seven bits each, and ten for this header itself.
            position += 10 + sum((tag[9 - i] & 0x7F) << (7 * i) for i in range(4))
            file.seek(position)
        file.seek(position)
        first_frame = file.read(1024)
    return any(name in first_frame for name in (b"Xing", b"Info", b"VBRI"))


def _pyav_decoder(path: Path) -> _Decoder:
    """Decode with PyAV, for what libsndfile cannot open (AAC, WMA, the sound of a film).

    Raises
    ------
    ImportError
        If PyAV is not installed.
    ValueError
        If PyAV cannot open the file, or finds no sound in it.
    """
    import av.error  # pyright: ignore[reportMissingImports]

    try:
        container = av.open(os.fspath(path))
    except av.error.FFmpegError as error:
        raise ValueError(str(error)) from error
    if not container.streams.audio:
        container.close()
        raise ValueError("no sound in it")
    stream = container.streams.audio[0]
    rate_hz = stream.codec_context.sample_rate
    layout = stream.codec_context.layout

    def steps(start: int, stop: int | None) -> Iterator[np.ndarray]:
        # Always from the beginning: after a seek, PyAV's positions are off in some formats.
        to_float = av.AudioResampler(format="fltp", layout=layout, rate=rate_hz)
        position = 0
        try:
            for frame in container.decode(stream):
                for converted in to_float.resample(frame):
                    step = converted.to_ndarray().T
                    first = max(0, start - position)
                    yield step[first : None if stop is None else max(0, stop - position)]
                    position += len(step)
                if stop is not None and position >= stop:
                    return
        except (av.error.FFmpegError, ValueError) as error:
            raise _DecodingFault(str(error)) from error

    # A raw AAC stream has no header: FFmpeg guesses its length from the bit rate.
    promised_s = None
    if stream.duration and stream.time_base and container.format.name != "aac":
        promised_s = stream.duration * stream.time_base
    return _Decoder(
        sample_rate_hz=rate_hz,
        n_channels=layout.nb_channels,
        encoding=f"{container.format.name} {stream.codec_context.name}",
        n_promised=round(promised_s * rate_hz) if promised_s else None,
        slack_frames=round(_PROMISE_SLACK_S * rate_hz),
        doubt=None,
        steps=steps,
        close=container.close,
    )
