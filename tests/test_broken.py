"""Broken things: every file keeps its good part, and says truly what is wrong with it.

Each file is made here from good sound and drawn by `steps.index`, all of them in one archive that
also holds good files; these must stay whole.
"""

import io
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import fuzzing
import numpy as np
import pytest
import soundfile
from fuzzing import calls, chunk, wave
from rights import open_to_others
from scipy.signal import correlate

from oscine import steps
from oscine.config import ActivityConfig, PictureConfig
from oscine.picture.drawing import draw_recording
from oscine.sound.archive import find_recordings
from oscine.sound.audio import UnreadableAudio, open_audio, read_interval
from oscine.sound.recording import Interval
from oscine.workspace import Workspace

RATE_HZ = 32_000
SOUND = calls(2.0, RATE_HZ)
PCM = np.round(SOUND[:, 0] * 32_767).astype("<i2").tobytes()
MP3_FRAME = 1152
GARBAGE = random.Random(0).randbytes(4096)


def encoded(container, subtype=None, sound=SOUND, rate_hz=RATE_HZ, **options):
    """The bytes of a good file."""

    file = io.BytesIO()
    soundfile.write(file, sound, rate_hz, format=container, subtype=subtype, **options)
    return file.getvalue()


def with_garbage(content, share=0.5, garbage=GARBAGE):
    at = round(len(content) * share)
    return content[:at] + garbage + content[at + len(garbage) :]


def cut(content, share=0.5):
    return content[: round(len(content) * share)]


def patched(content, position, new):
    return content[:position] + new + content[position + len(new) :]


def data_at(content):
    return content.index(b"data")


def riff(*chunks, is_padded=True):
    parts = [chunk(name, body) for name, body in chunks]
    if not is_padded:
        parts = [part[: 8 + len(body)] for part, (_, body) in zip(parts, chunks, strict=True)]
    body = b"WAVE" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def wave64bit(name, n_bytes=4 * RATE_HZ):
    ds64 = struct.pack("<QQQI", 0, n_bytes, n_bytes // 2, 0)
    head = name + b"\xff" * 4 + b"WAVE" + chunk(b"ds64", ds64) + chunk(b"fmt ", FORM)
    return head + b"data" + b"\xff" * 4 + PCM


def extensible(valid_bits, bits):
    """A WAVE_FORMAT_EXTENSIBLE with fewer bits in use than its container has."""
    sub_format = b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    extra = struct.pack("<HHI", 22, valid_bits, 4) + sub_format
    width = bits // 8
    values = np.round(SOUND[:, 0] * 2 ** (valid_bits - 1)).astype("<i4") << (32 - valid_bits)
    data = values.view(np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()
    return wave(0xFFFE, bits=bits, data=data, extra=extra)


def without_length(mp3):
    """An MP3 without the first frame, which says how long it is."""
    return mp3[mp3.index(mp3[:2], 100) :]


def free_format(mp3):
    """The same frames with a bit rate that is not told."""
    content = bytearray(without_length(mp3))
    at, (first, second) = 0, content[:2]
    while at >= 0:
        content[at + 2] &= 0x0F
        at = content.find(bytes([first, second]), at + 300)
    return bytes(content)


def ape_tag():
    item = struct.pack("<II", 5, 0) + b"Title\0crows"
    frame = struct.pack("<IIII", 2000, len(item) + 32, 1, 0xA0000000)
    footer = struct.pack("<IIII", 2000, len(item) + 32, 1, 0x80000000)
    return b"APETAGEX" + frame + bytes(8) + item + b"APETAGEX" + footer + bytes(8)


def id3_tag():
    return b"ID3\4\0\0" + bytes([0, 0, 2, 0]) + bytes(256)


FORM = struct.pack("<HHIIHH", 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
WAV = wave(data=PCM)
FLAC = encoded("FLAC")
MP3, VBR = (
    encoded("MP3", None, calls(4.0, 44_100), 44_100, bitrate_mode=mode, compression_level=0.4)
    for mode in ("CONSTANT", "VARIABLE")
)
OGG = encoded("OGG", "VORBIS", calls(6.0, 44_100), 44_100)
OPUS = encoded("OGG", "OPUS", calls(6.0, 48_000), 48_000)
W64, AU, AIFF, CAF = (encoded(container, "PCM_16") for container in ("W64", "AU", "AIFF", "CAF"))
FLOATS = SOUND.copy()
FLOATS[[5, 6, 7], 0] = np.nan, np.inf, -np.inf
LOST = r"s are lost at .* \(silence stands for what is lost\)"
UNKNOWN = "no audio format is recognised"
ALL_READ = "bytes of samples where .* lie: all were read"

# fmt: off
BROKEN = {
    # MP3
    "mp3/garbage.mp3": (with_garbage(MP3), "damaged", r"^0\.\d\d s are lost at (1\.9|2\.0)\d s"),
    "mp3/garbage-vbr.mp3": (with_garbage(VBR), "damaged", LOST),
    "mp3/garbage-no-length.mp3": (with_garbage(without_length(MP3)), "damaged", LOST),
    "mp3/no-head.mp3": (patched(MP3, 0, bytes(64)), "damaged", "first .* bytes are damaged"),
    "mp3/no-head.wav": (patched(VBR, 0, bytes(64)), "damaged", "first .* bytes are damaged"),
    "mp3/long-no-head.mp3": (patched(MP3, 0, bytes(5000)), "damaged", LOST),
    "mp3/cut.mp3": (cut(MP3), "damaged", "holds .* s of the 4.00 s"),
    "mp3/cut-no-length.mp3": (cut(without_length(MP3)), "whole", ""),
    "mp3/id3.mp3": (id3_tag() + MP3 + b"TAG" + bytes(125), "whole", ""),
    "mp3/id3-no-length.mp3": (
        id3_tag() + without_length(MP3) + ape_tag() + b"TAG" + bytes(125), "whole", ""),
    "mp3/ape.mp3": (ape_tag() + MP3 + ape_tag(), "whole", ""),
    "mp3/inserted.mp3": (MP3[:9000] + GARBAGE + MP3[9000:], "damaged", ""),
    "mp3/joined.mp3": (MP3 + id3_tag() + VBR, "damaged", "beyond the length"),
    "mp3/junk-behind.mp3": (without_length(MP3) + GARBAGE, "damaged", "is no MP3"),
    "mp3/free-format.mp3": (free_format(MP3), "whole", ""),
    "mp3/vbr-no-length.mp3": (without_length(VBR), "whole", ""),
    "mp3/mp3.wav": (MP3, "whole", ""),
    # FLAC
    "flac/cut.flac": (cut(FLAC), "damaged", r"cannot be decoded beyond 0\.\d\d s"),
    "flac/garbage.flac": (with_garbage(FLAC), "damaged", LOST),
    "flac/twice.flac": (
        with_garbage(with_garbage(FLAC, 0.3), 0.7), "damaged", "s are lost at .* are lost at"),
    "flac/one-bit.flac": (
        patched(FLAC, len(FLAC) // 2, bytes([FLAC[len(FLAC) // 2] ^ 4])), "damaged", LOST),
    "flac/unknown-length.flac": (
        patched(FLAC, 21, bytes([FLAC[21] & 0xF0]) + bytes(4)), "whole", ""),
    "flac/too-long.flac": (
        patched(FLAC, 22, (128_000).to_bytes(4, "big")), "damaged", r"2\.00 s of the 4\.00 s"),
    "flac/wrong-md5.flac": (patched(FLAC, 26, b"wrong checksum.."), "whole", ""),
    "flac/only-head.flac": (FLAC[:42], "unreadable", r"holds 0\.00 s of the 2\.00 s"),
    "flac/flac.wav": (FLAC + b"\0", "whole", ""),
    # WAV and its relatives: lengths
    "wav/wrapped.wav": (wave(data=PCM, data_bytes=4096, riff_bytes=4132), "damaged", ALL_READ),
    "wav/cut.wav": (cut(WAV), "damaged", r"holds 1\.00 s of the 2\.00 s"),
    "wav/sizes-zero.wav": (wave(data=PCM, data_bytes=0, riff_bytes=0), "whole", ""),
    "wav/data-size-zero.wav": (wave(data=PCM, data_bytes=0), "whole", ""),
    "wav/streamed.wav": (
        wave(data=PCM, data_bytes=2**32 - 1, riff_bytes=2**32 - 1), "whole", ""),
    "wav/claims-4-gib.wav": (
        wave(data=PCM, data_bytes=2**32 - 4), "damaged", r"holds 2\.00 s of the 67108\.86 s"),
    "wav/chunk-behind.wav": (wave(data=PCM, after=chunk(b"LIST", b"INFO")), "whole", ""),
    "wav/room-behind.wav": (wave(data=PCM, after=bytes(200_000)), "whole", ""),
    "wav/tag-behind.wav": (wave(data=PCM, after=b"TAG" + bytes(125)), "whole", ""),
    "wav/only-head.wav": (WAV[:44], "unreadable", r"holds 0\.00 s of the 2\.00 s"),
    "wav/empty-data.wav": (wave(), "unreadable", "holds no samples"),
    "wav/rf64.wav": (wave64bit(b"RF64"), "whole", ""),
    "wav/bw64.wav": (wave64bit(b"BW64"), "whole", ""),
    "wav/rf64-cut.wav": (cut(wave64bit(b"RF64")), "damaged", r"of the 2\.00 s"),
    "wav/rf64-2-to-63.wav": (wave64bit(b"RF64", 2**63), "damaged", "that its header promises"),
    "wav/rf64-short.wav": (wave64bit(b"RF64", 4096), "damaged", ALL_READ),
    "wav/cut.w64": (cut(W64), "damaged", r"of the 2\.00 s"),
    "wav/cut.au": (cut(AU), "damaged", r"of the 2\.00 s"),
    "wav/cut.aiff": (cut(AIFF), "damaged", r"of the 2\.00 s"),
    "wav/cut.caf": (cut(CAF), "damaged", r"of the 2\.00 s"),
    # WAV: chunks and fields
    "wav/data-first.wav": (riff((b"data", PCM), (b"fmt ", FORM)), "whole", ""),
    "wav/odd-chunk.wav": (
        riff((b"LIST", b"INFOodd"), (b"fmt ", FORM), (b"data", PCM)), "whole", ""),
    "wav/odd-chunk-unpadded.wav": (
        riff((b"LIST", b"INFOodd"), (b"fmt ", FORM), (b"data", PCM), is_padded=False),
        "whole", ""),
    "wav/no-fmt.wav": (riff((b"data", PCM)), "unreadable", "header is damaged: .*fmt"),
    "wav/no-data.wav": (riff((b"fmt ", FORM)), "unreadable", "header is damaged: .*data"),
    "wav/align-zero.wav": (wave(data=PCM, align=0), "whole", ""),
    "wav/align-wrong.wav": (wave(data=PCM, align=7), "whole", ""),
    "wav/no-channels.wav": (wave(data=PCM, n_channels=0), "unreadable", "header is damaged"),
    "wav/65-channels.wav": (wave(data=PCM, n_channels=65), "unreadable", "claims 65 channels"),
    "wav/65535-channels.wav": (
        wave(data=PCM, n_channels=65_535), "unreadable", "header is damaged"),
    "wav/rate-zero.wav": (wave(data=PCM, rate_hz=0), "unreadable", "header is damaged"),
    "wav/rate-one.wav": (wave(data=PCM, rate_hz=1), "unreadable", "1 Hz is too low"),
    "wav/rate-huge.wav": (wave(data=PCM, rate_hz=2**31 - 1), "unreadable",
                          "claims 2,147,483,647 samples a second"),
    "wav/rate-negative.wav": (wave(data=PCM, rate_hz=2**31), "unreadable", "header is damaged"),
    "wav/bits-zero.wav": (wave(data=PCM, bits=0, align=2), "unreadable", "header is damaged"),
    "wav/nan.wav": (encoded("WAV", "FLOAT", FLOATS), "damaged", "^3 samples are no numbers"),
    "wav/nan64.wav": (encoded("WAV", "DOUBLE", FLOATS), "damaged", "^3 samples are no numbers"),
    # Ogg
    "ogg/cut.ogg": (cut(OGG), "damaged", "its end may be missing"),
    "ogg/cut.opus": (cut(OPUS), "damaged", "its end may be missing"),
    "ogg/garbage.ogg": (with_garbage(OGG), "damaged", LOST),
    "ogg/garbage.opus": (with_garbage(OPUS), "damaged", LOST),
    "ogg/no-head.ogg": (patched(OGG, 0, bytes(64)), "unreadable", UNKNOWN),
    # Not what the name says, or nothing at all
    "odd/text.wav": (b"Dear diary, today I heard a crow.\n" * 99, "unreadable", UNKNOWN),
    "odd/picture.wav": (
        b"\xff\xd8\xff\xe0\0\x10JFIF\0" + random.Random(1).randbytes(9999), "unreadable", UNKNOWN),
    "odd/zip.wav": (b"PK\3\4" + random.Random(2).randbytes(50_000), "unreadable", UNKNOWN),
    "odd/zeros.wav": (bytes(50_000), "unreadable", UNKNOWN),
    "odd/zeros.mp3": (bytes(50_001), "unreadable", UNKNOWN),
    "odd/erased.mp3": (b"\xff" * 50_000, "unreadable", UNKNOWN),
    "odd/empty.wav": (b"", "unreadable", "empty"),
    "odd/" + "n" * 200 + ".wav": (WAV + b"\0\0", "whole", ""),
}
# fmt: on

# Whatever a field recorder may write: each must be whole, and of the length that was written.
KINDS = [
    *[("WAV", subtype, RATE_HZ, 1) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32")],
    *[("WAV", subtype, RATE_HZ, 1) for subtype in ("FLOAT", "DOUBLE", "ULAW", "ALAW")],
    *[("WAV", subtype, RATE_HZ, 1) for subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610")],
    *[("WAVE", "PCM_16", RATE_HZ, n_channels) for n_channels in (2, 6, 8)],
    *[("WAV", "PCM_24", rate_hz, 1) for rate_hz in (22_254, 250_000, 384_000, 500_000)],
    ("WAV", "PCM_16", 8_000, 64),
    *[(container, "PCM_24", RATE_HZ, 1) for container in ("RF64", "W64", "AU", "CAF")],
    *[("AIFF", subtype, RATE_HZ, 1) for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW")],
    *[("CAF", subtype, RATE_HZ, 2) for subtype in ("ALAC_16", "FLOAT", "ALAW")],
    *[("FLAC", subtype, RATE_HZ, 8) for subtype in ("PCM_S8", "PCM_16", "PCM_24")],
]
GOOD = {
    f"good/{subtype}-{rate_hz}x{n_channels}.{container.lower()}": (
        container,
        subtype,
        rate_hz,
        n_channels,
    )
    for container, subtype, rate_hz, n_channels in KINDS
}
EXTENSIBLE = {"good/12-in-16.wav": extensible(12, 16), "good/20-in-24.wav": extensible(20, 24)}


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """Rows of the catalogue, by path, of an archive of all these files."""
    archive = tmp_path_factory.mktemp("broken") / "archive"
    for name, (content, _, _) in BROKEN.items():
        (archive / name).parent.mkdir(parents=True, exist_ok=True)
        (archive / name).write_bytes(content)
    (archive / "good").mkdir()
    for number, (name, (container, subtype, rate_hz, n_channels)) in enumerate(GOOD.items()):
        sound = calls(1.0, rate_hz, n_channels, seed=number)
        container = container.replace("WAVE", "WAVEX")
        soundfile.write(archive / name, sound, rate_hz, format=container, subtype=subtype)
    for name, content in EXTENSIBLE.items():
        (archive / name).write_bytes(content)
    good = (archive / next(iter(GOOD))).read_bytes()
    (archive / "good" / "folder.wav").mkdir()
    (archive / "good" / "folder.wav" / "inside.wav").write_bytes(good + bytes(2))
    (archive / os.fsdecode(b"good/caf\xe9.wav")).write_bytes(good + bytes(4))
    (archive / "good" / "._hidden.wav").write_bytes(b"\0\5\x16\7" + bytes(100))
    (archive / "good" / "loop.wav").symlink_to("loop.wav")
    (archive / "good" / "up.wav").symlink_to(archive)
    os.mkfifo(archive / "good" / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(archive / "good")  # a socket's whole path must be short
        listener.bind("socket.wav")
        os.chdir(before)
    folder = tmp_path_factory.mktemp("workspace") / "w.oscine"
    report = steps.index([archive], folder, workers=1)
    with Workspace(folder).catalogue() as catalogue:
        return {row.path: row for row in catalogue.recordings()}, report


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_file_is_said(indexed, name):
    _, state, reason = BROKEN[name]
    row = indexed[0][name]
    assert row.state == state, row.reason

    assert re.search(reason, row.reason)
    assert (row.reason == "") == (state == "whole")


@pytest.mark.parametrize("name", [*GOOD, *EXTENSIBLE])
def test_good_files_beside_broken_ones_are_whole(indexed, name):
    row = indexed[0][name]
    assert (row.state, row.reason) == ("whole", "")
    _, subtype, rate_hz, n_channels = GOOD.get(name, (None, "PCM", RATE_HZ, 1))
    assert (row.sample_rate_hz, row.n_channels) == (rate_hz, n_channels)
    if "ADPCM" in subtype or "GSM" in subtype:  # whole blocks only
        assert rate_hz <= row.n_samples < 1.1 * rate_hz
    else:
        assert row.n_samples == (rate_hz if name in GOOD else 2 * rate_hz)


def test_every_recording_of_the_archive_has_its_row_and_nothing_else(indexed):
    rows, report = indexed
    odd_names = {"good/folder.wav/inside.wav", r"good/caf\xe9.wav"}
    assert set(rows) == {*BROKEN, *GOOD, *EXTENSIBLE, *odd_names}
    assert all(rows[name].state == "whole" for name in odd_names)
    assert all("loop.wav" in path for path, _, _ in report.skipped if path not in rows)


# Where the sound lies


def written(path, content):
    path.write_bytes(content)
    return path


def read(path, rate_hz=None, block_s=10.0):
    """All samples (S,) of a file, and the `Audio` after reading."""
    with open_audio(path) as audio:
        blocks = list(audio.blocks(rate_hz or audio.sample_rate_hz, block_s=block_s))
    return np.concatenate(blocks, axis=1)[0], audio


def lag(part, whole):
    """By how many samples the last quarter of a sound comes too late."""
    start, stop = 3 * len(whole) // 4, len(whole) - 4096
    likeness = correlate(part[start - 3000 : stop + 3000], whole[start:stop], "valid")
    return int(np.argmax(likeness)) - 3000


@pytest.mark.parametrize(
    ("name", "good", "broken"),
    [
        ("a.mp3", MP3, with_garbage(MP3)),
        ("a.mp3", VBR, with_garbage(VBR)),
        ("a.mp3", VBR, with_garbage(VBR, 0.3, bytes(2000))),
        ("a.mp3", MP3, with_garbage(MP3, 0.5, GARBAGE[:300])),
        ("a.mp3", MP3, patched(MP3, 0, bytes(64))),
        ("a.mp3", MP3, patched(MP3, 0, bytes(5000))),
        ("a.mp3", MP3, with_garbage(patched(MP3, 0, bytes(500)))),
        ("a.mp3", without_length(MP3), with_garbage(without_length(MP3))),
        ("a.mp3", without_length(VBR), with_garbage(without_length(VBR))),
        ("a.mp3", MP3, MP3[:9000] + GARBAGE + MP3[9000:]),
        ("a.ogg", OGG, with_garbage(OGG)),
        ("a.ogg", OGG, with_garbage(OGG, 0.5, bytes(10))),
        ("a.opus", OPUS, with_garbage(OPUS, 0.4)),
        ("a.flac", FLAC, with_garbage(FLAC)),
    ],
)
def test_what_lies_behind_a_fault_keeps_its_time(tmp_path, name, good, broken):
    whole, _ = read(written(tmp_path / f"good-{name}", good))
    part, audio = read(written(tmp_path / name, broken))
    assert audio.problem is not None
    # Where the first frames are gone, a frame is as near as one can come.
    is_headless = "its first" in audio.problem
    assert abs(lag(part, whole)) <= (MP3_FRAME if is_headless else 0)
    assert abs(len(part) - len(whole)) <= 2 * MP3_FRAME


def test_garbage_in_a_flac_costs_whole_frames_and_nothing_else(tmp_path):
    whole, _ = read(written(tmp_path / "good.flac", FLAC))
    part, audio = read(written(tmp_path / "a.flac", with_garbage(FLAC)))
    assert (audio.n_read, audio.n_promised) == (64_000, 64_000)
    lost = np.flatnonzero(part != whole)
    assert not part[lost].any()
    assert len(lost) <= audio.n_lost == audio.n_missing <= 4 * 4096
    assert lost[-1] - lost[0] < audio.n_lost


def test_what_lies_around_a_fault_in_an_mp3_is_untouched(tmp_path):
    whole, _ = read(written(tmp_path / "good.mp3", MP3))
    part, audio = read(written(tmp_path / "a.mp3", with_garbage(MP3)))
    differing = np.flatnonzero(np.abs(part - whole) > 1e-3)
    # Decoding overlaps by a frame on both sides.
    assert differing[-1] - differing[0] < audio.n_lost + 2 * MP3_FRAME
    assert len(GARBAGE) < audio.n_lost / 44_100 * len(MP3) / 4 < 2 * len(GARBAGE)


def test_a_length_that_wrapped_gives_way_to_what_is_there(tmp_path):
    content = wave(data=PCM, data_bytes=4096, after=b"")
    got, audio = read(written(tmp_path / "a.wav", content))
    assert np.array_equal(got, np.frombuffer(PCM, "<i2") / np.float32(32_768))
    assert audio.problem == (
        "its header claims 4,096 bytes of samples where 128,000 lie: all were read"
    )


def test_a_wav_of_more_than_4_gib_is_heard_to_its_end(tmp_path):
    path = tmp_path / "long.wav"
    n_bytes = 2**32 + 64_000
    path.write_bytes(wave(n_channels=8, rate_hz=500_000, data_bytes=n_bytes % 2**32))
    with open(path, "r+b") as file:  # a hole: it takes no room on the disk
        file.truncate(44 + n_bytes - len(PCM))
        file.seek(0, os.SEEK_END)
        file.write(PCM)
    n_samples = n_bytes // 16
    last = Interval(start=n_samples - 4_000, stop=n_samples, sample_rate_hz=500_000)
    expected = np.frombuffer(PCM, "<i2").reshape(-1, 8)[-4_000:, 3] / np.float32(32_768)
    assert np.array_equal(read_interval(path, last, channel=3), expected)


SOME = [
    *("mp3/garbage.mp3", "mp3/no-head.mp3", "mp3/garbage-no-length.mp3", "flac/twice.flac"),
    *("flac/cut.flac", "ogg/garbage.ogg", "ogg/garbage.opus", "wav/wrapped.wav"),
]


@pytest.mark.parametrize("name", SOME)
def test_samples_of_a_broken_file_do_not_depend_on_the_block(tmp_path, name):
    path = written(tmp_path / Path(name).name, BROKEN[name][0])
    for rate_hz in (None, 24_000):
        whole, audio = read(path, rate_hz)
        for block_s in (0.377, 0.0123):
            again, other = read(path, rate_hz, block_s)
            assert np.array_equal(again, whole)
            assert other.problem == audio.problem


@pytest.mark.parametrize("name", SOME)
def test_an_interval_of_a_broken_file_is_the_same_as_in_the_stream(tmp_path, name):
    path = written(tmp_path / Path(name).name, BROKEN[name][0])
    whole, audio = read(path)
    for start, stop in ((0, 5_000), (30_000, 34_000), (audio.n_read - 2_000, audio.n_read + 9)):
        interval = Interval(start=start, stop=stop, sample_rate_hz=audio.sample_rate_hz)
        tolerance = 1e-4 if name.endswith("mp3") else 0
        got = read_interval(path, interval)
        assert np.allclose(got, whole[start:stop], rtol=0, atol=tolerance)


# Places and moments


def test_what_may_not_be_read_says_so(tmp_path):
    """In a child without privileges: root may read everything."""
    archive = tmp_path / "archive"
    (archive / "closed").mkdir(parents=True)
    for name in ("a.wav", "b.wav", "closed/c.wav"):
        written(archive / name, WAV)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from oscine.sound.archive import find_recordings\n"
        "from oscine.sound.audio import UnreadableAudio, open_audio\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "found, problems = find_recordings([Path(sys.argv[1])])\n"
        "print([row.path for row in found], [reason for _, reason in problems])\n"
        "try: open_audio(found[1].file)\n"
        "except UnreadableAudio as error: print(error.reason)\n"
    )
    open_to_others(archive)
    (archive / "b.wav").chmod(0)
    (archive / "closed").chmod(0)
    command = [sys.executable, "-c", code, str(archive)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    (archive / "closed").chmod(0o700)
    assert said.stdout.splitlines() == [
        "['a.wav', 'b.wav'] ['Permission denied']",
        "cannot be opened: Permission denied",
    ], said.stderr


def drawn(path):
    return draw_recording(path, path.parent / "part", PictureConfig(), ActivityConfig())


def test_a_file_that_vanishes_before_it_is_read_says_so(tmp_path):
    written(tmp_path / "a.wav", WAV)
    (row,), _ = find_recordings([tmp_path])
    row.file.unlink()
    gone = drawn(row.file)
    assert (gone.state, gone.reason) == (
        "unreadable",
        "cannot be opened: No such file or directory",
    )


def test_an_archive_that_is_lost_says_so(tmp_path):
    (tmp_path / "archive").mkdir()
    written(tmp_path / "archive" / "a.wav", WAV)
    (row,), _ = find_recordings([tmp_path / "archive"])
    shutil.rmtree(tmp_path / "archive")
    gone = draw_recording(row.file, tmp_path / "part", PictureConfig(), ActivityConfig())
    assert (gone.state, gone.reason) == (
        "unreadable",
        "cannot be opened: No such file or directory",
    )


@pytest.mark.parametrize("name", ["wav/data-first.wav", "mp3/garbage-no-length.mp3"])
@pytest.mark.parametrize("becomes", ["longer", "shorter"])
def test_a_file_that_changes_while_it_is_read_ends_where_it_can(tmp_path, name, becomes):
    content = BROKEN[name][0]
    path = written(tmp_path / Path(name).name, content)
    with open_audio(path) as audio:
        blocks = audio.blocks(RATE_HZ, block_s=0.1)
        first = next(blocks).copy()
        os.truncate(path, len(content) * 2 if becomes == "longer" else len(content) // 8)
        rest = list(blocks)
    assert np.isfinite(first).all()
    assert all(np.isfinite(block).all() for block in rest)
    assert audio.n_read / audio.sample_rate_hz < 4.1
    if becomes == "shorter" and name.endswith("wav"):
        assert audio.problem is not None


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_never_blocks(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("x.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            listener.bind("x.wav")
        else:
            path.symlink_to("/dev/zero")
        assert find_recordings([tmp_path]) == ([], [])
        with pytest.raises(UnreadableAudio, match="not an ordinary file"):
            open_audio(path)


def test_aac_is_recognised_whatever_it_is_called(tmp_path):
    pytest.importorskip("av", reason="PyAV is an optional extra")
    path = fuzzing.write_m4a(tmp_path / "a.m4a", SOUND[:, 0], RATE_HZ)
    whole, _ = read(path)
    for name in ("a.mp3", "a.wav"):
        got, audio = read(path.rename(tmp_path / name))
        path = tmp_path / name
        assert np.array_equal(got, whole)
        assert audio.problem is None


def test_aac_goes_on_behind_a_fault(tmp_path):
    pytest.importorskip("av", reason="PyAV is an optional extra")
    path = fuzzing.write_m4a(tmp_path / "a.m4a", calls(6.0, 48_000)[:, 0])
    whole, _ = read(path)
    content = path.read_bytes()
    part, audio = read(written(tmp_path / "b.m4a", with_garbage(content, 0.4)))
    assert abs(len(part) - len(whole)) <= 2 * 1024
    assert abs(lag(part, whole)) == 0
    assert audio.problem is not None


# Chance


def test_a_child_that_dies_names_its_file_and_the_batch_goes_on(tmp_path):
    sources = [written(tmp_path / "a.flac", FLAC), written(tmp_path / "b.wav", WAV)]
    (tmp_path / "work").mkdir()
    outcomes = fuzzing.outcomes(tmp_path / "work", sources, range(60), 0)
    seen = [next(outcomes)]
    (child,) = multiprocessing.active_children()
    os.kill(child.pid, signal.SIGSEGV)
    seen += list(outcomes)
    assert [outcome.case for outcome in seen] == list(range(60))
    (dead,) = [outcome for outcome in seen if outcome.state not in fuzzing.STATES]
    assert (dead.state, dead.reason) == ("crashed", f"exit code {-signal.SIGSEGV}")


def test_no_mutation_gets_through(tmp_path):
    """Of 500 mutated files none hangs, kills the process, or ends in anything but a state."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "work").mkdir()
    sources = fuzzing.write_sources(tmp_path / "sources")
    outcomes = list(fuzzing.outcomes(tmp_path / "work", sources, range(500), 0))
    assert [outcome.case for outcome in outcomes] == list(range(500))
    for outcome in outcomes:
        assert outcome.state in fuzzing.STATES, outcome
        assert outcome.state == "whole" or not fuzzing.is_good(outcome.case), outcome
        assert (outcome.reason == "") == (outcome.state == "whole"), outcome
        assert outcome.seconds < fuzzing.HANG_S, outcome
        assert outcome.n_frames <= 3_000 + 40 * outcome.n_bytes, outcome
    assert {"whole", "damaged", "unreadable"} <= {outcome.state for outcome in outcomes}
