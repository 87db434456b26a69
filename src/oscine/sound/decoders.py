"""Samples of a file from its decoders, broken files included.

In comes a path; out comes an open `Decoder`. `oscine.sound.audio` makes blocks of its steps.
libsndfile decodes, and PyAV what libsndfile cannot open. Where a file is broken, what
`oscine.sound.structure` reads from its bytes lets decoding go on behind the fault: silence stands
for what is lost, so that the sound behind it keeps its time.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from oscine.sound.archive import shown
from oscine.sound.structure import (
    OggStretch,
    PiecedFile,
    Structure,
    chunked_structure,
    flac_frames,
    flac_head,
    mp3_structure,
    ogg_structure,
)

MAX_CHANNELS = 64
MAX_RATE_HZ = 4_000_000
"""What claims more is a damaged header: buffers grow with both."""

# Decoding goes in short steps, so that a fault costs no more than one of them, and none is large.
_STEP_S = 0.1
_STEP_FRAMES = 1 << 16

# By how much a promise may be off that counts whole codec frames, or their padding.
_PROMISE_SLACK_S = 0.1

# libsndfile reads on at the end of a damaged MP3: the file claims to be as many times as long as
# it is, since bit rates lie within a factor of 40.
_MP3_CLAIM = 64

# So many frames in a row that cannot be decoded are the end.
_MP3_PATIENCE = 16

_SAMPLE_BYTES = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's word for a length that the header does not give

# libsndfile's SF_ERR_UNRECOGNISED_FORMAT, and SFE_BAD_FILE for an MP3 in which it finds nothing.
_UNRECOGNISED = frozenset({1, 7})

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


class DecodingFault(Exception):
    """Decoding stopped before the end; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoder:
    """An open file: what its header says, and its samples from some frame on.

    Attributes
    ----------
    sample_rate_hz, n_channels : int
    encoding : str
        Container and encoding, such as `WAV PCM_24`.
    n_promised : int or None
        Samples per channel that the header promises.
    slack_frames : int
        By how much a promise of this kind of file may be wrong.
    doubt : str or None
        What else is amiss with it.
    losses : list of (int, int)
        Where silence stands for what is lost, as (first sample, number of samples); complete once
        the steps are at their end.
    steps : callable
        `steps(start, stop)` gives float32 arrays (S, C) that hold until the next one is asked
        for, and raises `DecodingFault` after the last one that can be had.
    close : callable
    """

    sample_rate_hz: int
    n_channels: int
    encoding: str
    n_promised: int | None
    slack_frames: int
    doubt: str | None
    losses: list[tuple[int, int]] = field(default_factory=list)
    steps: Callable[[int, int | None], Iterator[np.ndarray]]
    close: Callable[[], None]


def open_decoder(path: Path) -> Decoder:
    """Open a file with the decoder that knows it.

    Raises
    ------
    UnreadableAudio
        If nothing can be decoded: not there, empty, not audio, a damaged header.
    """
    _check_file(path)
    try:
        decoder = _first_decoder(path)
    except OSError as error:  # the disk fails, or the file is gone again
        raise UnreadableAudio(path, f"cannot be read: {error.strerror}") from error
    what = None
    if decoder.n_channels > MAX_CHANNELS:
        what = f"{decoder.n_channels} channels"
    elif decoder.sample_rate_hz > MAX_RATE_HZ:
        what = f"{decoder.sample_rate_hz:,} samples a second"
    if what:
        decoder.close()
        raise UnreadableAudio(path, f"its header is damaged: it claims {what}")
    return decoder


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


def _first_decoder(path: Path) -> Decoder:
    try:
        return _soundfile_decoder(path)
    except soundfile.LibsndfileError as error:
        refusal = error
    if refusal.code in _UNRECOGNISED and (structure := mp3_structure(path, is_sought=True)):
        with suppress(soundfile.LibsndfileError):
            return _mp3_decoder(path, structure)
    try:
        return _pyav_decoder(path)
    except ImportError:
        if path.suffix.lower() in _PYAV_SUFFIXES:
            reason = "this kind of file needs PyAV: pip install 'oscine[aac]'"
            raise UnreadableAudio(path, reason) from None
    except ValueError:  # PyAV's errors about what is in a file; libsndfile's word is kept
        pass
    raise UnreadableAudio(path, _refusal_in_words(refusal))


def _refusal_in_words(error: soundfile.LibsndfileError) -> str:
    if error.code in _UNRECOGNISED:
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


def _soundfile_decoder(path: Path) -> Decoder:
    structure = chunked_structure(path)
    if structure.refusal:
        raise UnreadableAudio(path, f"its header is damaged: {structure.refusal}")
    resources = ExitStack()
    if structure.pieces:
        source = resources.enter_context(PiecedFile(path, structure.pieces))
    else:
        # Bytes, because soundfile cannot encode a name that is no UTF-8; Windows has none.
        source = os.fsencode(path) if os.name == "posix" else str(path)
    with resources:
        sound = resources.enter_context(_ForwardFile(source))  # pyright: ignore[reportArgumentType]
        if sound.format == "RAW":  # by its extension alone; nothing in it says that it is audio
            reason = "no audio format is recognised, whatever its extension says"
            raise UnreadableAudio(path, reason)
        if sound.format == "MP3":
            return _mp3_decoder(path, mp3_structure(path) or Structure())
        resources = resources.pop_all()
    if sound.format == "OGG":
        return _ogg_decoder(path, sound)

    def steps(start: int, stop: int | None) -> Iterator[np.ndarray]:
        if sound.format == "FLAC":
            return _flac_steps(path, sound, start, stop, losses)
        return _soundfile_steps(sound, start, stop)

    losses: list[tuple[int, int]] = []
    return Decoder(
        sample_rate_hz=sound.samplerate,
        n_channels=sound.channels,
        encoding=f"{sound.format} {sound.subtype}",
        n_promised=_promised_frames(sound, structure),
        slack_frames=0,
        doubt=structure.doubt,
        losses=losses,
        steps=steps,
        close=resources.close,
    )


def _promised_frames(sound: soundfile.SoundFile, structure: Structure) -> int | None:
    """Frames that the header promises; libsndfile trims that to what is there in some formats."""
    if sound.format == "FLAC":
        return sound.frames if sound.frames != _UNKNOWN_FRAMES else None
    sample_bytes = _SAMPLE_BYTES.get(sound.subtype)
    if structure.n_promised is not None:
        return structure.n_promised if sample_bytes else None
    if structure.n_claimed is None or structure.n_held is None:
        return None
    if sample_bytes:
        n_bytes = sample_bytes * sound.channels
        return structure.n_claimed // n_bytes if structure.n_claimed % n_bytes == 0 else None
    if structure.n_claimed <= structure.n_held:
        return sound.frames
    return round(sound.frames * structure.n_claimed / max(1, structure.n_held))


def _soundfile_steps(
    sound: soundfile.SoundFile, start: int, stop: int | None
) -> Iterator[np.ndarray]:
    n_step = max(1, min(round(_STEP_S * sound.samplerate), _STEP_FRAMES))
    buffer = np.empty((n_step, sound.channels), np.float32)
    try:
        if start:
            sound.seek(min(start, sound.frames))
        n_left = (sound.frames if stop is None else stop) - start
        # Into a plain buffer: `read` looks at its array anew each time, a tenth of the decoding.
        while n_read := sound.buffer_read_into(buffer[: max(0, n_left)], "float32"):
            n_left -= n_read
            yield buffer[:n_read]
    except soundfile.LibsndfileError as error:
        raise DecodingFault(_libsndfile_words(error)) from error


def _silence(n_frames: int, n_channels: int) -> Iterator[np.ndarray]:
    block = np.zeros((min(n_frames, _STEP_FRAMES), n_channels), np.float32)
    while n_frames > 0:
        yield block[:n_frames]
        n_frames -= len(block)
        block.fill(0)  # it is the reader's to change


def _placed(steps: Iterator[np.ndarray], start: int, stop: int | None) -> Iterator[np.ndarray]:
    """Keep of steps from the beginning of a file what lies in [start, stop)."""
    position = 0
    for step in steps:
        first = max(0, start - position)
        yield step[first : None if stop is None else max(0, stop - position)]
        position += len(step)
        if stop is not None and position >= stop:
            return


def _mp3_decoder(path: Path, structure: Structure) -> Decoder:
    resources = ExitStack()
    if structure.has_length and not structure.pieces:
        source = os.fsencode(path) if os.name == "posix" else str(path)
        bounded = None
    else:
        pieces = structure.pieces or (range(path.stat().st_size),)
        claim = 1 if structure.has_length else _MP3_CLAIM
        source = bounded = resources.enter_context(PiecedFile(path, pieces, claim))
    with resources:
        sound = resources.enter_context(_ForwardFile(source))  # pyright: ignore[reportArgumentType]
        resources = resources.pop_all()

    losses = list(structure.losses)
    return Decoder(
        sample_rate_hz=sound.samplerate,
        n_channels=sound.channels,
        encoding=f"{sound.format} {sound.subtype}",
        n_promised=sound.frames if structure.has_length else None,
        slack_frames=round(_PROMISE_SLACK_S * sound.samplerate),
        doubt=structure.doubt,
        losses=losses,
        steps=lambda start, stop: _mp3_steps(sound, bounded, start, stop, losses),
        close=resources.close,
    )


def _mp3_steps(
    sound: soundfile.SoundFile,
    source: PiecedFile | None,
    start: int,
    stop: int | None,
    losses: list[tuple[int, int]],
) -> Iterator[np.ndarray]:
    """Decode on behind frames that look sound and are not: libsndfile leaves out one at a fault."""
    frame = 1152 if sound.samplerate >= 32_000 else 576
    n_step = max(1, min(round(_STEP_S * sound.samplerate), _STEP_FRAMES))
    buffer = np.empty((n_step, sound.channels), np.float32)
    position, n_lost = start, 0
    limit: int = sound.frames if stop is None else stop
    try:
        if start:
            sound.seek(min(start, sound.frames))
        while position < limit:
            buffer.fill(np.nan)  # what is decoded before a fault is not counted, but is there
            fault = None
            try:
                n_read = sound.buffer_read_into(buffer[: limit - position], "float32")
            except soundfile.LibsndfileError as error:
                n_read, fault = int(np.count_nonzero(~np.isnan(buffer[:, 0]))), error
            if n_read and n_lost:
                losses.append((position, n_lost))
                yield from _silence(n_lost, sound.channels)
                position, n_lost = position + n_lost, 0
            if n_read:
                yield buffer[:n_read]
                position += n_read
            elif fault is None:
                return
            if fault is not None:
                if source is not None and source.is_used_up():
                    return  # only a last frame that is cut
                if n_lost > _MP3_PATIENCE * frame:
                    raise fault
                n_lost += frame
    except soundfile.LibsndfileError as error:
        raise DecodingFault(_libsndfile_words(error)) from error


def _flac_steps(
    path: Path,
    sound: soundfile.SoundFile,
    start: int,
    stop: int | None,
    losses: list[tuple[int, int]],
) -> Iterator[np.ndarray]:
    """Decode on frame by frame behind a fault: every frame tells its first sample."""
    position = start
    try:
        for step in _soundfile_steps(sound, start, stop):
            yield step
            position += len(step)
        return
    except DecodingFault as error:
        fault = error
    head = flac_head(path)
    if head is None:
        raise fault
    n_there = path.stat().st_size
    limit = sound.frames if stop is None else stop
    source = None
    behind = 0  # where the last sound frame lies
    is_open = True
    with ExitStack() as resources:
        for begin, first, n_samples in flac_frames(path, head):
            # No frame is so short that a lost one stands for more samples than that a byte.
            is_far = first - position > (begin - behind) * 8192
            if first + n_samples <= position or first >= limit or is_far:
                continue
            buffer = np.empty((n_samples, sound.channels), np.float32)
            try:
                if source is None:
                    pieces = (head, range(begin, n_there))
                    file = resources.enter_context(PiecedFile(path, pieces))
                    source = resources.enter_context(_ForwardFile(file))  # pyright: ignore[reportArgumentType]
                n_read = source.buffer_read_into(buffer, "float32")
            except soundfile.LibsndfileError:
                n_read = 0
            if n_read < n_samples:  # damaged within, or not a frame at all
                resources.close()
                source, is_open = None, True
                continue
            behind, is_open = begin, False
            if first > position:
                losses.append((position, first - position))
                yield from _silence(first - position, sound.channels)
                position = first
            kept = buffer[position - first : limit - first]
            yield kept
            position += len(kept)
    if stop is None and (is_open if limit == _UNKNOWN_FRAMES else position < limit):
        raise fault


def _ogg_decoder(path: Path, sound: soundfile.SoundFile) -> Decoder:
    stretches, doubt, n_skipped = ogg_structure(path)
    losses: list[tuple[int, int]] = []

    def steps(start: int, stop: int | None) -> Iterator[np.ndarray]:
        if not stretches:
            return _soundfile_steps(sound, start, stop)
        return _placed(_ogg_steps(path, stretches, n_skipped, losses), start, stop)

    return Decoder(
        sample_rate_hz=sound.samplerate,
        n_channels=sound.channels,
        encoding=f"{sound.format} {sound.subtype}",
        n_promised=sound.frames if sound.frames != _UNKNOWN_FRAMES else None,
        slack_frames=n_skipped if stretches else 0,  # what `_ogg_steps` skips once too often
        doubt=doubt,
        losses=losses,
        steps=steps,
        close=sound.close,
    )


def _ogg_steps(
    path: Path, stretches: list[OggStretch], n_skipped: int, losses: list[tuple[int, int]]
) -> Iterator[np.ndarray]:
    """Decode the whole stretches of an Ogg, each in its place by what its last page says."""
    position = 0
    for number, stretch in enumerate(stretches):
        with ExitStack() as resources:
            try:
                file = resources.enter_context(PiecedFile(path, stretch.pieces))
                sound = resources.enter_context(_ForwardFile(file))  # pyright: ignore[reportArgumentType]
            except soundfile.LibsndfileError:
                continue
            begin = 0
            if number:
                # Opus counts at 48 kHz. What its encoder begins with is skipped in every stretch,
                # though it lies in the first alone.
                scale = 48_000 // sound.samplerate if n_skipped else 1
                begin = (stretch.stop_position - 2 * n_skipped) // scale - sound.frames
            if begin > position:
                losses.append((position, begin - position))
                yield from _silence(begin - position, sound.channels)
                position = begin
            with suppress(DecodingFault):
                for step in _soundfile_steps(sound, 0, None):
                    fresh = step[max(0, position - begin) :]
                    begin += len(step)
                    position += len(fresh)
                    yield fresh


def _pyav_decoder(path: Path) -> Decoder:
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
    codec = stream.codec_context
    if codec is None or codec.sample_rate < 1 or codec.layout.nb_channels < 1:
        container.close()
        raise ValueError("no known encoding, no rate or no channels")
    rate_hz, layout = codec.sample_rate, codec.layout
    # A raw AAC stream has no header: FFmpeg guesses its length from the bit rate.
    promised_s = None
    if stream.duration and stream.time_base and container.format.name != "aac":
        promised_s = stream.duration * stream.time_base
    n_promised = round(promised_s * rate_hz) if promised_s else None
    losses: list[tuple[int, int]] = []

    def all_steps() -> Iterator[np.ndarray]:
        # Always from the beginning: after a seek, PyAV's positions are off in some formats.
        to_float = av.AudioResampler(format="fltp", layout=layout, rate=rate_hz)
        position, stop_s, fault = 0, None, None
        try:
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError as error:
                    fault = error
                    continue
                for frame in frames:
                    if fault is not None and n_promised and frame.time and stop_s is not None:
                        n_lost = round((frame.time - stop_s) * rate_hz)
                        n_lost = max(0, min(n_lost, n_promised - position))
                        losses.append((position, n_lost))
                        yield from _silence(n_lost, layout.nb_channels)
                        position += n_lost
                    fault = None
                    if frame.time is not None:
                        stop_s = frame.time + frame.samples / rate_hz
                    for converted in to_float.resample(frame):
                        yield converted.to_ndarray().T
                        position += converted.samples
        except (av.error.FFmpegError, ValueError) as error:
            fault = error
        if fault is not None:
            raise DecodingFault(str(fault))

    return Decoder(
        sample_rate_hz=rate_hz,
        n_channels=layout.nb_channels,
        encoding=f"{container.format.name} {codec.name}",
        n_promised=n_promised,
        slack_frames=round(_PROMISE_SLACK_S * rate_hz),
        doubt=None,
        losses=losses,
        steps=lambda start, stop: _placed(all_steps(), start, stop),
        close=container.close,
    )
