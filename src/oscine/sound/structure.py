"""How an audio file is built, read from its bytes without decoding, and how a broken one is mended.

In comes a path; out comes what its header promises, what is there, and, where a decoder would stop
short of it, the pieces of a sound file without the fault: `PiecedFile` hands them to a decoder as
if they were one file. `oscine.sound.decoders` calls it. Nothing is written, and nothing that a
header says makes anything here larger.
"""

from __future__ import annotations

import io
import os
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

Piece = bytes | range
"""What a `PiecedFile` is made of: bytes, or where they lie in the file on disk."""

_WINDOW_BYTES = 1 << 16

# Data sizes that programs write when they cannot know better (streams, recorders cut off).
_PLACEHOLDER_SIZES = frozenset({0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**64 - 1})

# Chunks that may follow the samples of a WAV, and are believed even where the file ends in them.
_TRAILERS = frozenset(
    name.ljust(4).encode()
    for name in (
        *("LIST", "bext", "iXML", "id3", "ID3", "cue", "JUNK", "PAD", "FLLR", "smpl", "inst"),
        *("guan", "wamd", "_PMX", "afsp", "cart", "axml", "chna", "plst", "fact"),
    )
)

# What lies beyond the samples that a header claims may be filling; this much of it is sound.
_SURPLUS_S = 0.1

# So many frames in a row, each beginning where the last one ends, are no chance.
_MP3_RUN = 4
# The first frame says how long the file is, and has no sound: the size that encoders give it.
_MP3_HEADER_BYTES = 417
# A file that nothing else recognises is taken for MP3 if frames begin within so many bytes.
_MP3_SEARCH_BYTES = 1 << 22


_MP3_SYNC = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]")
_FLAC_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_OGG_SYNC = re.compile(rb"OggS")

_MP3_KBITS = {  # by MPEG version (2 stands for 2.5 too) and layer
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 0),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, 0),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}

_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# Headers with pictures in them fill this many pages of 64 KiB at most.
_OGG_HEADER_PAGES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Structure:
    """What a file's own bytes say.

    Attributes
    ----------
    n_promised : int or None
        Samples per channel that the header promises, where it counts in samples.
    n_claimed, n_held : int or None
        Bytes of samples that the header claims, and that are there.
    has_length : bool
        Whether an MP3 says how long it is.
    pieces : tuple of bytes or range
        The file to decode in place of this one; none where it can be decoded as it is.
    doubt, refusal : str or None
        What is amiss, in plain words; and why it cannot be decoded at all.
    losses : tuple of (int, int)
        Where sound is lost, as (first sample, number of samples): the pieces hold silence there.
    """

    n_promised: int | None = None
    n_claimed: int | None = None
    n_held: int | None = None
    has_length: bool = False
    pieces: tuple[Piece, ...] = ()
    doubt: str | None = None
    refusal: str | None = None
    losses: tuple[tuple[int, int], ...] = ()


class PiecedFile(io.RawIOBase):
    """Pieces of a file, and bytes, read as one file.

    Without a length in the header, libsndfile ends an MP3 where the bit rate of its first frames
    would put the end: far too early where that is high and the rest is not. So `claim` says how
    many times as long as it is the file claims to be, and decoding ends with the bytes.
    """

    def __init__(self, path: Path, pieces: Sequence[Piece], claim: int = 1) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._pieces = [piece for piece in pieces if len(piece)]
        self._starts = list(accumulate(map(len, self._pieces), initial=0))
        self._position = 0
        self._claim = claim
        self._is_at_end = False

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether it can be sought in."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go somewhere."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        self._is_at_end = whence == os.SEEK_END
        return self._position

    def tell(self) -> int:
        """Say where it stands."""
        return self._position * (self._claim if self._is_at_end else 1)

    def readinto(self, buffer: bytearray, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fill the buffer; less only at the end, or where the disk fails."""
        view = memoryview(buffer).cast("B")
        n_read = 0
        while n_read < len(view) and self._position < self._starts[-1]:
            number = bisect_right(self._starts, self._position) - 1
            piece, within = self._pieces[number], self._position - self._starts[number]
            n_wanted = min(len(view) - n_read, len(piece) - within)
            part = piece[within : within + n_wanted]
            if isinstance(part, range):
                try:
                    self._file.seek(part.start)
                    part = self._file.read(n_wanted)
                except OSError:  # must not leave a callback; the decoder finds the file too short
                    break
                if not part:
                    break
            view[n_read : n_read + len(part)] = part
            n_read += len(part)
            self._position += len(part)
        return n_read

    def is_used_up(self) -> bool:
        """Whether all its bytes were read: what fails then is only a last frame that is cut."""
        return self._position >= self._starts[-1]


# WAV, Wave64, AU, CAF, AIFF


def chunked_structure(path: Path) -> Structure:
    """Structure of a file of chunks, by how it begins; an empty one for any other."""
    n_there = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(16)
        if start[:4] in (b"RIFF", b"RF64", b"BW64") and start[8:12] == b"WAVE":
            return _wave_structure(file, n_there, start[:4])
        if start[:4] == b"riff":
            return _wave64_structure(file, n_there)
        if start[:4] == b"caff":
            return _caf_structure(file, n_there)
        if start[:4] == b"FORM":
            return _aiff_structure(file, n_there)
        if start[:4] in (b".snd", b"dns."):
            order = "big" if start[:4] == b".snd" else "little"
            offset, n_bytes = (int.from_bytes(start[i : i + 4], order) for i in (4, 8))
            n_claimed = None if n_bytes in _PLACEHOLDER_SIZES else n_bytes
            return Structure(n_claimed=n_claimed, n_held=max(0, n_there - offset))
    return Structure()


def _wave_structure(file: BinaryIO, n_there: int, kind: bytes) -> Structure:
    form = data = n_claimed = n_bytes_64 = None
    is_plain = kind != b"BW64"  # libsndfile knows it by its older name only
    for name, start, n_bytes, is_padded in _wave_chunks(file, n_there):
        is_plain = is_plain and is_padded
        if name == b"ds64":
            n_bytes_64 = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"fmt ":
            is_plain = is_plain and data is None
            form = file.read(min(n_bytes, 1024))
        elif name == b"data" and data is None:
            # The 64-bit size counts where the other one says so; some programs leave it empty.
            n_claimed = n_bytes_64 or n_bytes if kind != b"RIFF" else n_bytes
            data = range(start, _data_stop(file, start, n_claimed, n_there))
            is_plain = is_plain and len(data) == min(n_claimed, n_there - start)
        if form is not None and data is not None:
            break
    if form is None and data is not None:
        return Structure(refusal="no chunk `fmt ` says how its samples are written")
    if form is None or len(form) < 16 or data is None or n_claimed is None:
        return Structure()
    doubt = None
    n_surplus = len(data) - n_claimed
    if n_claimed in _PLACEHOLDER_SIZES:
        n_claimed = None
    elif n_surplus > 0:
        rate_hz, align = (int.from_bytes(form[a:b], "little") for a, b in ((4, 8), (12, 14)))
        if n_surplus <= _SURPLUS_S * rate_hz * align:
            data = data[:n_claimed]
        else:
            doubt = (
                f"its header claims {n_claimed:,} bytes of samples where {len(data):,} lie: "
                "all were read"
            )
            n_claimed = None
    pieces = () if is_plain else (_wave_header(form, len(data)), data)
    return Structure(n_claimed=n_claimed, n_held=len(data), pieces=pieces, doubt=doubt)


def _wave_chunks(file: BinaryIO, n_there: int) -> Iterator[tuple[bytes, int, int, bool]]:
    """Chunks of a WAV: name, where the content begins (there stands the file), size, padding."""
    position, is_padded = 12, True
    while (header := _chunk_header(file, position)) is not None:
        name, n_bytes = header
        yield name, position + 8, n_bytes, is_padded
        position += 8 + n_bytes + n_bytes % 2
        if n_bytes % 2 and position <= n_there and _chunk_header(file, position) is None:
            # Some programs forget to pad a chunk of odd length.
            is_padded = _chunk_header(file, position - 1) is None
            position -= not is_padded


def _chunk_header(file: BinaryIO, position: int) -> tuple[bytes, int] | None:
    """Name and size of a chunk; None where there is none. The file stands at the content."""
    header = _read(file, position, 8)
    if len(header) < 8 or not all(0x20 <= byte < 0x7F for byte in header[:4]):
        return None
    return header[:4], int.from_bytes(header[4:], "little")


def _data_stop(file: BinaryIO, start: int, n_claimed: int, n_there: int) -> int:
    """Where the samples end: where the header says, if other chunks follow there or nothing."""
    claimed_stop = position = start + n_claimed
    if claimed_stop >= n_there:
        return n_there
    position += n_claimed % 2
    while position < n_there:
        header = _chunk_header(file, position)
        if header is None:
            # Room that a recorder took and did not need is left as zeros.
            last = max(position, n_there - _WINDOW_BYTES)
            has_sound = any(any(_read(file, at, _WINDOW_BYTES)) for at in (position, last))
            return n_there if has_sound or not n_claimed else claimed_stop
        name, n_bytes = header
        position += 8 + n_bytes + n_bytes % 2
        if name in _TRAILERS:
            break
        if position > n_there + 1:
            return n_there
    return claimed_stop


def _wave_header(form: bytes, n_bytes: int) -> bytes:
    """Make the start of a WAV up to its samples: in the 64-bit form where they need that."""
    content = b"fmt " + len(form).to_bytes(4, "little") + form + bytes(len(form) % 2) + b"data"
    n_all = 4 + len(content) + 4 + n_bytes
    if n_all < 0xFFFFFFFF:
        sizes = [n.to_bytes(4, "little") for n in (n_all, n_bytes)]
        return b"RIFF" + sizes[0] + b"WAVE" + content + sizes[1]
    sizes_64 = (n_all + 36).to_bytes(8, "little") + n_bytes.to_bytes(8, "little") + bytes(12)
    ds64 = b"ds64" + len(sizes_64).to_bytes(4, "little") + sizes_64
    return b"RF64" + b"\xff" * 4 + b"WAVE" + ds64 + content + b"\xff" * 4


def _wave64_structure(file: BinaryIO, n_there: int) -> Structure:
    position = 40
    while len(header := _read(file, position, 24)) == 24:
        n_bytes = int.from_bytes(header[16:], "little")
        if header.startswith(b"data"):
            n_claimed = None if n_bytes in _PLACEHOLDER_SIZES else max(0, n_bytes - 24)
            return Structure(n_claimed=n_claimed, n_held=n_there - position - 24)
        position += max(24, n_bytes + -n_bytes % 8)
    return Structure()


def _caf_structure(file: BinaryIO, n_there: int) -> Structure:
    position = 8
    while len(header := _read(file, position, 12)) == 12:
        n_bytes = int.from_bytes(header[4:], "big")
        start = position + 12
        if header.startswith(b"data"):
            if n_bytes in _PLACEHOLDER_SIZES or start + n_bytes <= n_there:
                return Structure()
            # libsndfile refuses a file whose last chunk is cut.
            n_held = n_there - start
            size = n_held.to_bytes(8, "big")
            pieces = (range(position + 4), size, range(start, n_there))
            return Structure(n_claimed=n_bytes - 4, n_held=max(0, n_held - 4), pieces=pieces)
        position = start + n_bytes
    return Structure()


def _aiff_structure(file: BinaryIO, n_there: int) -> Structure:
    position = 12
    while len(header := _read(file, position, 14)) == 14:
        if header.startswith(b"COMM"):
            return Structure(n_promised=int.from_bytes(header[10:], "big") or None)
        n_bytes = int.from_bytes(header[4:8], "big")
        position += 8 + n_bytes + n_bytes % 2
        if position > n_there:
            break
    return Structure()


# MP3


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mp3Frame:
    """What the header of an MPEG audio frame says; the frames of one stream agree in `kind`.

    `n_side` are the bytes before its share of the bit reservoir, `silent` is a frame like it
    without sound.
    """

    kind: tuple[int, int, int, bool]
    n_bytes: int
    n_samples: int
    n_side: int
    silent: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mp3Run:
    """Frames that lie one right behind the other, in bytes [start, stop)."""

    start: int
    stop: int
    n_frames: int
    first: _Mp3Frame


def mp3_structure(path: Path, *, is_sought: bool = False) -> Structure | None:
    """Structure of an MP3: its frames, with silent ones in place of what lies between them.

    A frame counts if others follow right behind it. What is lost between two frames is as many
    frames as fill the space on average; where all are of one length that is exact.

    Parameters
    ----------
    path
        The file.
    is_sought
        Whether it is only hoped to be MP3: then None unless frames are found near its start.
    """
    runs: list[_Mp3Run] = []
    gaps: list[tuple[int, int]] = []  # bytes, and frames behind them that need what is lost
    with open(path, "rb", buffering=_WINDOW_BYTES) as file:
        n_there = os.fstat(file.fileno()).st_size
        begin = position = _after_tags(file, 0)
        limit = begin + _MP3_SEARCH_BYTES if is_sought else n_there
        while run := _next_mp3_run(file, position, limit, n_there, runs[0] if runs else None):
            gap = run.start - position
            n_maimed, start = _maimed(file, run) if gap else (0, run.start)
            gaps.append((gap, n_maimed))
            runs.append(replace(run, start=start, n_frames=run.n_frames - n_maimed))
            position, limit = _after_tags(file, run.stop), n_there
        if not runs:
            return None if is_sought else Structure()
        has_length, n_told, n_told_bytes = _mp3_length(_read(file, runs[0].start, 1024))
        rest = _read(file, position, _WINDOW_BYTES)
    first = runs[0].first
    n_frames = sum(run.n_frames for run in runs)
    mean_bytes = sum(run.stop - run.start for run in runs) / max(1, n_frames)
    # Where the header says how many there were, no more can be lost: other bytes were put between
    # them. If the end is there too, that is the number.
    n_short = max(0, n_told + 1 - n_frames) if n_told else n_there
    is_cut = not n_told_bytes or position - begin < n_told_bytes - 2 * mean_bytes
    pieces: list[Piece] = []
    losses: list[tuple[int, int]] = []
    words = []
    n_placed = -1 if has_length else 0  # the frame that says the length has no sound
    for (gap, n_maimed), run in zip(gaps, runs, strict=True):
        n_lost = min(round(gap / mean_bytes) + n_maimed, n_short)
        if run is runs[-1] and gap and not is_cut and n_short < 2 * n_lost + _MP3_RUN:
            n_lost = n_short
        if gap and not pieces:
            words.append(f"its first {gap:,} bytes are damaged")
            n_lost = 0 if has_length else round(max(0, gap - _MP3_HEADER_BYTES) / mean_bytes)
        if n_lost > 0:
            losses.append((n_placed * first.n_samples, n_lost * first.n_samples))
            pieces.extend([first.silent] * n_lost)
            n_placed += n_lost
            n_short -= n_lost
        pieces.append(range(run.start, run.stop))
        n_placed += run.n_frames
    if n_told and n_placed > n_told + 1:
        words.append("it goes on beyond the length that its header promises: all was read")
        pieces[0] = range(runs[0].start + first.n_bytes, runs[0].stop)
        has_length = False
    if len(rest) > 2 * mean_bytes and any(rest) and not has_length and b"APETAGEX" not in rest:
        words.append(f"what follows byte {position:,} is no MP3")
    is_plain = len(runs) == 1 and not gaps[0][0] and not words
    return Structure(
        has_length=has_length,
        pieces=() if is_plain else tuple(pieces),
        losses=tuple(losses),
        doubt="; ".join(words) or None,
    )


def _next_mp3_run(
    file: BinaryIO, position: int, limit: int, n_there: int, like: _Mp3Run | None
) -> _Mp3Run | None:
    """Find the next frames, which begin before `limit`."""
    for start in _matches(file, position, limit, _MP3_SYNC):
        first = _mp3_frame(_read(file, start, 4))
        if first is None or (like is not None and first.kind != like.first.kind):
            continue
        stop, n_frames, frame = start, 0, first
        while frame is not None and frame.kind == first.kind and stop + frame.n_bytes <= n_there:
            stop += frame.n_bytes
            n_frames += 1
            frame = _mp3_frame(_read(file, stop, 4))
        if n_frames >= _MP3_RUN or (n_frames and _after_tags(file, stop) == n_there):
            return _Mp3Run(start=start, stop=stop, n_frames=n_frames, first=first)
    return None


def _maimed(file: BinaryIO, run: _Mp3Run) -> tuple[int, int]:
    """How many first frames of a run need bits from before it, and where the others begin."""
    start = run.start
    n_reservoir = 0
    for number in range(run.n_frames - 1):
        head = _read(file, start, 8)
        frame = _mp3_frame(head[:4])
        if frame is None or frame.kind[1] != 3:  # layers I and II have no reservoir
            return number, start
        side = head[4 if head[1] & 1 else 6 :]
        n_needed = side[0] << 1 | side[1] >> 7 if frame.kind[0] == 1 else side[0]
        if n_needed <= n_reservoir:
            return number, start
        n_reservoir += frame.n_bytes - frame.n_side
        start += frame.n_bytes
    return 0, run.start


@lru_cache(maxsize=4096)
def _mp3_frame(header: bytes) -> _Mp3Frame | None:
    """Read the header of a frame (ISO 11172-3, 13818-3); None if it is none, or of free format."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version = {3: 1, 2: 2, 0: 3}.get(header[1] >> 3 & 3, 0)  # MPEG 1, 2, 2.5
    layer = 4 - (header[1] >> 1 & 3)
    rate = header[2] >> 2 & 3
    kbits = _MP3_KBITS[min(version, 2), layer][header[2] >> 4] if version and layer < 4 else 0
    if not kbits or rate == 3:
        return None
    rate_hz = (44_100, 48_000, 32_000)[rate] >> version - 1
    is_mono = header[3] >> 6 == 3
    n_samples = 384 if layer == 1 else 576 if layer == 3 and version > 1 else 1152
    unit = 4 if layer == 1 else 1  # what a frame's length is counted in, and padded with
    n_bare = n_samples // 8 * kbits * 1000 // (rate_hz * unit) * unit
    n_side = 4 + ((9, 17) if version > 1 else (17, 32))[not is_mono] + 2 * (~header[1] & 1)
    # Without checksum and padding; all zeros behind the header is silence in every layer.
    silent = bytes([0xFF, header[1] | 1, header[2] & 0xFD, header[3]]) + bytes(n_bare - 4)
    return _Mp3Frame(
        kind=(version, layer, rate, is_mono),
        n_bytes=n_bare + unit * (header[2] >> 1 & 1),
        n_samples=n_samples,
        n_side=n_side,
        silent=silent,
    )


def _mp3_length(head: bytes) -> tuple[bool, int, int]:
    """Whether an MP3's first frame says how long it is; how many frames and bytes, 0 if not."""
    for name in (b"Xing", b"Info", b"VBRI"):
        if (at := head.find(name)) >= 0:
            is_vbri = name == b"VBRI"
            if not is_vbri and head[at + 7 : at + 8].ljust(1)[0] & 3 != 3:
                return True, 0, 0
            frames_at, bytes_at = (at + 14, at + 10) if is_vbri else (at + 8, at + 12)
            told = [int.from_bytes(head[i : i + 4], "big") for i in (frames_at, bytes_at)]
            return True, told[0], told[1]
    return False, 0, 0


def _after_tags(file: BinaryIO, position: int) -> int:
    """Where the tags end that may stand before, behind and between the frames of an MP3."""
    while len(tag := _read(file, position, 32)) >= 10:
        if tag.startswith(b"ID3"):
            # Four bytes of seven bits each, and ten for this header itself.
            position += 10 + sum((tag[9 - i] & 0x7F) << (7 * i) for i in range(4))
        elif tag.startswith(b"TAG"):
            position += 128
        elif tag.startswith(b"APETAGEX"):
            # The size leaves out the header: bit 29 of the flags says that this is one.
            position += 32 + (int.from_bytes(tag[12:16], "little") if tag[23] & 0x20 else 0)
        else:
            break
    return position


# FLAC


def flac_head(path: Path) -> bytes | None:
    """Make the start of a FLAC that promises no length: its frames from anywhere may follow."""
    with open(path, "rb") as file:
        begin = _after_tags(file, 0)
        head = bytearray(_read(file, begin, 42))
    if len(head) < 42 or not head.startswith(b"fLaC"):
        return None
    head[4] |= 0x80  # no other block of metadata follows
    head[21] &= 0xF0
    head[22:26] = bytes(4)
    return bytes(head)


def flac_frames(path: Path, head: bytes) -> Iterator[tuple[int, int, int]]:
    """Find what looks like frames of a FLAC, in the order of the file.

    Parameters
    ----------
    path
        The file.
    head
        Its start, with the description of the stream.

    Yields
    ------
    tuple of int
        Where it begins in bytes, its first sample, how many samples.
    """
    n_fixed = int.from_bytes(head[10:12], "big")
    with open(path, "rb", buffering=_WINDOW_BYTES) as file:
        n_there = os.fstat(file.fileno()).st_size
        for start in _matches(file, 42, n_there, _FLAC_SYNC):
            found = _flac_frame(_read(file, start, 16), n_fixed)
            if found is not None:
                yield start, *found


def _flac_frame(header: bytes, n_fixed: int) -> tuple[int, int] | None:
    """First sample and number of samples of a frame (RFC 9639, 9.1); None if it is no header."""
    if len(header) < 16:
        header += bytes(16 - len(header))
    n_number = max(1, 8 - (header[4] ^ 0xFF).bit_length())
    number = header[4] & (0xFF if n_number == 1 else 0x7F >> n_number)
    for byte in header[5 : 4 + n_number]:
        number = number << 6 | byte & 0x3F
    end = 4 + n_number
    size, rate = header[2] >> 4, header[2] & 15
    if size in (6, 7):
        n_samples = int.from_bytes(header[end : end + size - 5], "big") + 1
        end += size - 5
    else:
        n_samples = 192 if size == 1 else 144 << size if size < 6 else 1 << size
    end += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if n_number > 7 or size == 0 or rate == 15 or header[3] & 1 or end > 15:
        return None
    if _crc8(header[:end]) != header[end]:
        return None
    # With blocks of one length their numbers are counted, else their samples.
    return (number if header[1] & 1 else number * (n_fixed or n_samples)), n_samples


def _crc8(content: bytes) -> int:
    """Checksum of polynomial 0x07, of a frame's header."""
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x107 if crc & 0x80 else 0)) & 0x1FF
    return crc & 0xFF


# Ogg


@dataclass(frozen=True, kw_only=True, slots=True)
class OggStretch:
    """Whole pages that follow one another: `stop_position` is what the last one says it reaches.

    `pieces` are these pages behind those with the stream's headers.
    """

    pieces: tuple[Piece, ...]
    stop_position: int


def ogg_structure(path: Path) -> tuple[list[OggStretch], str | None, int]:
    """Whole stretches of an Ogg, what is amiss with its end, and Opus samples to skip.

    No stretches are given where nothing is missing inside, or where there are several streams.
    """
    stretches: list[list[_OggPage]] = [[]]
    headers: list[_OggPage] = []
    is_broken = is_several = False
    n_skipped = 0
    page = None
    with open(path, "rb", buffering=_WINDOW_BYTES) as file:
        n_there = os.fstat(file.fileno()).st_size
        position = 0
        for start in _matches(file, 0, n_there, _OGG_SYNC):
            if start < position or (found := _ogg_page(file, start)) is None:
                continue
            is_next = start == position and (page is None or found.number == page.number + 1)
            is_broken = is_broken or not is_next
            is_several = is_several or (page is not None and found.serial != page.serial)
            position, page = found.stop, found
            if found.reach in (0, -1) and not stretches[0] and len(headers) < _OGG_HEADER_PAGES:
                headers.append(found)
                continue
            if not is_next and stretches[-1]:
                stretches.append([])
            stretches[-1].append(found)
        opus = _read(file, 28, 12)
        if opus.startswith(b"OpusHead"):
            n_skipped = int.from_bytes(opus[10:], "little")
    doubt = None
    if page is not None and not page.is_last:
        doubt = "no page is marked as its last: its end may be missing"
    if is_several or not is_broken or not stretches[0]:
        return [], doubt, n_skipped
    begin = tuple(range(one.start, one.stop) for one in headers)
    return (
        [
            OggStretch(
                pieces=(*begin, range(stretch[0].start, stretch[-1].stop)),
                stop_position=stretch[-1].reach,
            )
            for stretch in stretches
        ],
        doubt,
        n_skipped,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _OggPage:
    """A page in bytes [start, stop); `reach` is the position in samples at its end."""

    start: int
    stop: int
    serial: int
    number: int
    reach: int
    is_last: bool


def _ogg_page(file: BinaryIO, start: int) -> _OggPage | None:
    """Read a page whose checksum holds (RFC 3533); None if there is none."""
    head = _read(file, start, 27)
    if len(head) < 27:
        return None
    lengths = file.read(head[26])
    n_body = sum(lengths)
    body = file.read(n_body)
    if len(lengths) < head[26] or len(body) < n_body:
        return None
    page = head[:22] + bytes(4) + head[26:] + lengths + body
    # zlib's checksum has the same polynomial, with the bits of every byte the other way round.
    reversed_crc = zlib.crc32(page.translate(_BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    crc = reversed_crc.to_bytes(4, "little").translate(_BITS_REVERSED)
    if crc[::-1] != head[22:26]:
        return None
    return _OggPage(
        start=start,
        stop=start + 27 + len(lengths) + n_body,
        serial=int.from_bytes(head[14:18], "little"),
        number=int.from_bytes(head[18:22], "little"),
        reach=int.from_bytes(head[6:14], "little", signed=True),
        is_last=bool(head[5] & 4),
    )


def _read(file: BinaryIO, position: int, n_bytes: int) -> bytes:
    if position >= 1 << 62:  # a damaged size leads beyond what can be sought
        return b""
    file.seek(position)
    return file.read(n_bytes)


def _matches(file: BinaryIO, start: int, stop: int, sync: re.Pattern[bytes]) -> Iterator[int]:
    """Where a pattern of two to four bytes begins, in bytes [start, stop) of a file."""
    while start < stop:
        window = _read(file, start, min(_WINDOW_BYTES, stop + 3 - start))
        if len(window) < 2:
            return
        for match in sync.finditer(window):
            if start + match.start() < stop:
                yield start + match.start()
        # The last three bytes are looked at again: a pattern may begin there and reach beyond.
        start += max(len(window) - 3, 1) if len(window) == _WINDOW_BYTES else len(window)
