"""What the headers of an audio file say beside its sound: chunks, comments and tags, as text.

In comes a path; out come the texts of RIFF, FLAC, Ogg and ID3 headers, unread otherwise.
`oscine.sound.clock` reads times and places from them. Only headers are read, each up to a bound:
never the samples, and never a whole file. What is damaged is left out and noted.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

_ByteOrder = Literal["little", "big"]

# What is read at most of one chunk, and how many chunks, blocks or frames are looked at.
_LARGEST_TEXT = 65_536
_LARGEST_TAG = 1 << 20
_MOST_PARTS = 512

_FORMS: dict[bytes, _ByteOrder] = {
    b"RIFF": "little", b"RF64": "little", b"BW64": "little", b"RIFX": "big", b"FORM": "big",
}  # fmt: skip
_TEXT_CHUNKS = frozenset({b"LIST", b"guan", b"wamd", b"bext", b"id3 ", b"ID3 "})
_CHUNKS = _TEXT_CHUNKS | {b"data", b"fmt ", b"fact", b"iXML", b"cue ", b"JUNK", b"junk"}
_IN_DS64 = 0xFFFFFFFF  # the size of a chunk whose true size stands in the chunk ds64

_BEXT_FIELDS = {
    "description": (0, 256),
    "originator": (256, 288),
    "date": (320, 330),
    "time": (330, 338),
}

_FLAC_APPLICATION, _FLAC_COMMENT = 2, 4

# How the packet with the comments begins in Ogg Vorbis, Opus and FLAC (a block header of 4 bytes).
_OGG_COMMENTS = (b"\x03vorbis", b"OpusTags", b"\x04", b"\x84")
_HEADER_PACKETS = 8

# Wildlife Acoustics' own numbers for binary parts without text: voice note, program, run state.
_WAMD_NO_TEXT = frozenset({0x0D, 0x10, 0x11, 0xFFFF})


@dataclass(frozen=True, kw_only=True, slots=True)
class Headers:
    """The texts in the headers of one file.

    Attributes
    ----------
    guano : dict of str to str
        The lines of a `guan` chunk, by their key, namespace included (`WA|Song Meter|Prefix`).
    wamd : dict of int to str
        The parts of a `wamd` chunk, by Wildlife Acoustics' number.
    bext : dict of str to str
        Fields of a Broadcast Wave chunk: description, originator, date, time.
    info : dict of str to str
        RIFF INFO (`ICMT`, `IART`, `ICRD`, ...).
    vorbis : dict of str to str
        Vorbis comments of FLAC and Ogg, keys in capitals; several of one key in lines.
    id3 : dict of str to str
        Text frames of ID3v2, by their name in version 2.3 or 2.4.
    notes : list of str
        What could not be read, in plain words.
    """

    guano: dict[str, str] = field(default_factory=dict)
    wamd: dict[int, str] = field(default_factory=dict)
    bext: dict[str, str] = field(default_factory=dict)
    info: dict[str, str] = field(default_factory=dict)
    vorbis: dict[str, str] = field(default_factory=dict)
    id3: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_headers(file: Path) -> Headers:
    """Read the texts in the headers of an audio file; what is damaged becomes a note.

    Sources: Microsoft's RIFF and EBU Tech 3285/3306 (bext, RF64), the GUANO specification 1.0,
    Wildlife Acoustics' `wa_meta.h`, RFC 9639 (FLAC), RFC 3533 (Ogg) and id3.org.
    """
    headers = Headers()
    try:
        with file.open("rb") as stream:
            n_bytes = stream.seek(0, os.SEEK_END)
            _read_file(stream, n_bytes, headers)
    except OSError as error:
        headers.notes.append(f"the headers could not be read: {error.strerror or error}")
    return headers


def _read_file(stream: BinaryIO, n_bytes: int, headers: Headers) -> None:
    start = 0
    if _at(stream, 0, 3) == b"ID3":
        start = _read_id3(stream, 0, n_bytes, headers)
    magic = _at(stream, start, 4)
    if magic in _FORMS:
        _read_riff(stream, start, n_bytes, _FORMS[magic], headers)
    elif magic == b"fLaC":
        _read_flac(stream, start + 4, n_bytes, headers)
    elif magic == b"OggS":
        for packet in islice(_ogg_packets(_at(stream, start, _LARGEST_TAG)), _HEADER_PACKETS):
            for opening in _OGG_COMMENTS:
                if packet.startswith(opening):
                    _read_vorbis(packet[max(4, len(opening)) :], headers)


# RIFF


def _read_riff(
    stream: BinaryIO, start: int, n_bytes: int, order: _ByteOrder, headers: Headers
) -> None:
    position, data_size = start + 12, _IN_DS64
    for _ in range(_MOST_PARTS):
        if position + 8 > n_bytes:
            return
        head = _at(stream, position, 8)
        if head[:4] == bytes(4):
            return
        name, size = head[:4], int.from_bytes(head[4:], order)
        if not all(32 <= byte < 127 for byte in name):
            headers.notes.append(f"what stands at byte {position} is no chunk: reading ended there")
            return
        position += 8
        if name == b"ds64":
            data_size = int.from_bytes(_at(stream, position + 8, 8), order)
        elif name == b"data" and size == _IN_DS64:
            size = data_size
        elif name == b"wamd":
            _read_wamd(stream, position, min(position + size, n_bytes), headers)
        elif name in (b"id3 ", b"ID3 "):
            _read_id3(stream, position, min(position + size, n_bytes), headers)
        elif name in _TEXT_CHUNKS:
            body = _at(stream, position, min(size, _LARGEST_TEXT))
            _read_chunk(name, body, order, headers, is_whole=len(body) == size)
        position += size
        if position > n_bytes:
            if name in _TEXT_CHUNKS:
                headers.notes.append(f"the file ends inside its chunk {name.decode()!r}")
            return
        # Chunks of odd size are padded, but not by every program.
        position += size % 2 and _at(stream, position, 4) not in _CHUNKS
    headers.notes.append(f"more than {_MOST_PARTS} chunks: the others were not looked at")


def _read_chunk(
    name: bytes, body: bytes, order: _ByteOrder, headers: Headers, *, is_whole: bool
) -> None:
    if name == b"guan":
        if not is_whole:  # half a time would be a wrong time
            body = body.rpartition(b"\n")[0]
        for line in _text(body).splitlines():
            key, colon, value = line.partition(":")
            if colon and key.strip() and value.strip():
                headers.guano.setdefault(key.strip(), value.strip())
    elif name == b"bext":
        for key, (start, stop) in _BEXT_FIELDS.items():
            if len(body) >= stop:
                headers.bext[key] = _text(body[start:stop])
    elif name == b"LIST" and body[:4] == b"INFO":
        position = 4
        while position + 8 <= len(body):
            size = int.from_bytes(body[position + 4 : position + 8], order)
            value = body[position + 8 : position + 8 + size]
            if len(value) == size:
                key = body[position : position + 4].decode("latin-1")
                headers.info.setdefault(key, _text(value))
            position += 8 + size + size % 2


def _read_wamd(stream: BinaryIO, position: int, stop: int, headers: Headers) -> None:
    for _ in range(_MOST_PARTS):
        head = _at(stream, position, 6)
        if position + 6 > stop or len(head) < 6:
            return
        number, size = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:], "little")
        position += 6
        if position + size > stop:
            headers.notes.append("the chunk 'wamd' holds a part longer than itself")
            return
        if number not in _WAMD_NO_TEXT:
            headers.wamd.setdefault(number, _text(_at(stream, position, min(size, _LARGEST_TEXT))))
        position += size


# FLAC and Ogg


def _read_flac(stream: BinaryIO, position: int, n_bytes: int, headers: Headers) -> None:
    for _ in range(_MOST_PARTS):
        head = _at(stream, position, 4)
        if len(head) < 4:
            headers.notes.append("the file ends inside its FLAC headers")
            return
        kind, size = head[0] & 0x7F, int.from_bytes(head[1:], "big")
        position += 4
        if kind == _FLAC_COMMENT:
            _read_vorbis(_at(stream, position, min(size, _LARGEST_TAG)), headers)
        elif kind == _FLAC_APPLICATION and _at(stream, position, 4) == b"riff":
            # `flac --keep-foreign-metadata` keeps each chunk of the WAV in such a block.
            name = _at(stream, position + 4, 4)
            start, stop = position + 12, min(position + size, n_bytes)
            if name == b"wamd":
                _read_wamd(stream, start, stop, headers)
            else:
                body = _at(stream, start, min(max(0, stop - start), _LARGEST_TEXT))
                _read_chunk(name, body, "little", headers, is_whole=len(body) == stop - start)
        position += size
        if head[0] & 0x80:
            return


def _ogg_packets(pages: bytes) -> Iterator[bytes]:
    """Give the first packets of an Ogg stream."""
    position, packet = 0, bytearray()
    for _ in range(_MOST_PARTS):
        if pages[position : position + 4] != b"OggS" or position + 27 > len(pages):
            break
        sizes = pages[position + 27 : position + 27 + pages[position + 26]]
        position += 27 + len(sizes)
        for size in sizes:
            packet += pages[position : position + size]
            position += size
            if size < 255:
                yield bytes(packet)
                packet = bytearray()
    yield bytes(packet)


def _read_vorbis(body: bytes, headers: Headers) -> None:
    position = 4 + int.from_bytes(body[:4], "little")
    n_comments = int.from_bytes(body[position : position + 4], "little")
    position += 4
    for _ in range(min(n_comments, _MOST_PARTS)):
        size = int.from_bytes(body[position : position + 4], "little")
        position += 4
        if position + size > len(body) or size == 0:
            headers.notes.append("the Vorbis comments are damaged")
            return
        key, equals, value = _text(body[position : position + size]).partition("=")
        position += size
        if equals:
            known = headers.vorbis.get(key.upper())
            headers.vorbis[key.upper()] = value if known is None else f"{known}\n{value}"


# ID3

_ID3_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_ID3_V22 = {"TYE": "TYER", "TDA": "TDAT", "TIM": "TIME", "COM": "COMM", "TP1": "TPE1"}


def _read_id3(stream: BinaryIO, start: int, stop: int, headers: Headers) -> int:
    """Read an ID3v2 tag; give the position after it."""
    head = _at(stream, start, 10)
    if len(head) < 10 or head[:3] != b"ID3" or not 2 <= head[3] <= 4:
        return start
    version, flags = head[3], head[5]
    end = start + 10 + _synchsafe(head[6:10]) + 10 * bool(flags & 0x10)
    position, stop = start + 10, min(stop, end)
    if flags & 0x80 and version < 4:  # bytes were put in between, so that no 0xFF 0xEx occurs
        body = _at(stream, position, min(stop - position, _LARGEST_TAG))
        body = body.replace(b"\xff\x00", b"\xff")
        stream, position, stop = io.BytesIO(body), 0, len(body)
    if flags & 0x40:
        extended = _at(stream, position, 4)
        position += _synchsafe(extended) if version == 4 else 4 + int.from_bytes(extended, "big")
    n_name, n_head = (3, 6) if version == 2 else (4, 10)
    for _ in range(_MOST_PARTS):
        head = _at(stream, position, n_head)
        if position + n_head > stop or len(head) < n_head or head[0] == 0:
            break
        name, number = head[:n_name].decode("latin-1"), head[n_name : 2 * n_name]
        size = _synchsafe(number) if version == 4 else int.from_bytes(number, "big")
        position += n_head
        if position + size > stop:
            headers.notes.append("the ID3 tag holds a frame longer than itself")
            break
        if name[0] == "T" or name in ("COM", "COMM"):
            body = _at(stream, position, min(size, _LARGEST_TEXT))
            headers.id3.setdefault(_ID3_V22.get(name, name), _id3_text(name, body))
        position += size
    return end


def _id3_text(name: str, body: bytes) -> str:
    encoding = _ID3_ENCODINGS[body[0]] if body and body[0] < 4 else "latin-1"
    skipped = 4 if name.startswith("COM") else 1  # a comment names its language first
    parts = body[skipped:].decode(encoding, "replace").split("\0")
    return "\n".join(part.strip("\ufeff \r\n") for part in parts).strip()


def _synchsafe(number: bytes) -> int:
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(number)))


def _at(stream: BinaryIO, position: int, n_bytes: int) -> bytes:
    stream.seek(position)
    return stream.read(n_bytes)


def _text(body: bytes) -> str:
    """Decode text of unsure encoding, up to the zero byte that ends it."""
    body = body.split(b"\0", 1)[0]
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    return text.strip()
