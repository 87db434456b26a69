"""Small valid files of all formats, ways to break them, and a child that draws what is broken.

`tests/test_broken.py` and `benchmarks/fuzz.py` share it. Every case is made from its number alone.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import random
import resource
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import soundfile

from oscine.config import ActivityConfig, PictureConfig
from oscine.picture.drawing import draw_recording

STATES = frozenset({"whole", "damaged", "silent", "too short", "unreadable"})
HANG_S = 5.0
MEMORY_BYTES = 1 << 30
"""What one file may cost, above what a worker holds when it begins."""

HAS_PYAV = importlib.util.find_spec("av") is not None

# Name, container, encoding, rate, channels, seconds.
SOURCES = (
    ("16.wav", "WAV", "PCM_16", 44_100, 1, 1.0),
    ("24.wav", "WAV", "PCM_24", 48_000, 2, 0.5),
    ("float.wav", "WAV", "FLOAT", 32_000, 1, 0.5),
    ("ulaw.wav", "WAV", "ULAW", 8_000, 1, 1.0),
    ("adpcm.wav", "WAV", "MS_ADPCM", 22_050, 1, 1.0),
    ("a.rf64", "RF64", "PCM_16", 32_000, 1, 0.5),
    ("a.w64", "W64", "PCM_16", 32_000, 1, 0.5),
    ("a.aiff", "AIFF", "PCM_16", 22_254, 1, 0.5),
    ("a.au", "AU", "PCM_16", 16_000, 1, 0.5),
    ("a.caf", "CAF", "PCM_24", 32_000, 1, 0.5),
    ("a.flac", "FLAC", "PCM_16", 48_000, 1, 1.5),
    ("a.ogg", "OGG", "VORBIS", 44_100, 1, 2.0),
    ("a.opus", "OGG", "OPUS", 48_000, 1, 2.0),
    ("a.mp3", "MP3", "MPEG_LAYER_III", 44_100, 1, 2.0),
)


def calls(duration_s, rate_hz, n_channels=1, seed=0):
    """Return swept tones in noise [shape=(S, C)]: no two stretches of it are alike."""
    n_samples = round(duration_s * rate_hz)
    rng = np.random.default_rng(seed)
    hz = np.interp(np.arange(n_samples) / rate_hz, np.arange(60) / 6, rng.uniform(0.02, 0.3, 60))
    tone = 0.4 * np.sin(2 * np.pi * np.cumsum(hz))
    noise = rng.uniform(-0.1, 0.1, (n_samples, n_channels))
    return (tone[:, None] + noise).astype(np.float32)


def write_sources(folder: Path) -> list[Path]:
    """Write one valid file of each format."""
    files = []
    for name, container, subtype, rate_hz, n_channels, duration_s in SOURCES:
        files.append(folder / name)
        sound = calls(duration_s, rate_hz, n_channels)
        soundfile.write(files[-1], sound, rate_hz, format=container, subtype=subtype)
    if HAS_PYAV:
        files.append(write_m4a(folder / "a.m4a", calls(1.0, 48_000)[:, 0]))
    return files


def write_m4a(path, samples, rate_hz=48_000):
    """Write AAC in MP4, with PyAV."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# Ways to break a file


def _flip(content, rng):
    for _ in range(rng.choice((1, 3, 30))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _flip_in_header(content, rng):
    for _ in range(rng.choice((1, 2, 5))):
        content[rng.randrange(min(128, len(content)))] = rng.randrange(256)


def _overwrite(content, rng):
    n_bytes = rng.choice((16, 64, 512, 4096))
    start = rng.randrange(len(content))
    new = bytes(n_bytes) if rng.random() < 0.3 else rng.randbytes(n_bytes)
    content[start : start + n_bytes] = new[: len(content) - start]


def _cut(content, rng):
    del content[rng.randrange(len(content)) :]


def _remove(content, rng):
    start = rng.randrange(len(content))
    del content[start : start + rng.choice((1, 7, 100, 5000))]


def _insert(content, rng):
    start = rng.randrange(len(content))
    content[start:start] = rng.randbytes(rng.choice((1, 7, 100, 5000)))


def _repeat(content, rng):
    start, stop = sorted(rng.randrange(len(content)) for _ in range(2))
    content[stop:stop] = content[start:stop]


def _swap(content, rng):
    a, b, c = sorted(rng.randrange(len(content)) for _ in range(3))
    content[a:c] = content[b:c] + content[a:b]


def _extreme(content, rng):
    value = rng.choice((0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**40, 2**64 - 1))
    n_bytes = rng.choice((2, 4, 8))
    start = rng.randrange(min(96, len(content)))
    new = (value % 256**n_bytes).to_bytes(n_bytes, rng.choice(("little", "big")))
    content[start : start + n_bytes] = new[: len(content) - start]


MUTATIONS = (
    *(_flip, _flip_in_header, _overwrite, _cut, _remove, _insert, _repeat, _swap),
    *(_extreme, _extreme),
)


def is_good(case: int) -> bool:
    """Whether a case is left as it was: good files must survive between broken ones."""
    return case % 20 == 19


def broken(sources: Sequence[Path], seed: int, case: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a case: a source, broken once or twice, or a good one."""
    rng = random.Random(f"{seed}:{case}")
    source = sources[case % len(sources)]
    content = bytearray(source.read_bytes())
    if is_good(case):
        return f"{case:06d}-{source.name}", bytes(content)
    for _ in range(rng.choice((1, 1, 2))):
        if content:
            rng.choice(MUTATIONS)(content, rng)
    name = rng.choice(sources).name if rng.random() < 0.1 else source.name
    return f"{case:06d}-{name}", bytes(content)


# Drawing them


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one case; `state` is crashed or hung where its child did not live."""

    case: int
    name: str
    state: str
    reason: str
    seconds: float = 0.0
    peak_mb: float = 0.0
    n_frames: int = 0
    n_bytes: int = 0


def outcomes(
    folder: Path, sources: Sequence[Path], cases: Sequence[int], seed: int
) -> Iterator[Outcome]:
    """Draw each case in a child; where one dies or hangs, the next begins behind that case."""
    context = multiprocessing.get_context("spawn")
    cases = list(cases)
    while cases:
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=_draw_all, args=(folder, sources, cases, seed, there))
        child.start()
        there.close()
        patience_s = 60.0  # it has to import first
        while cases:
            try:
                fate = "crashed" if here.poll(patience_s) else "hung"
                outcome = here.recv() if fate == "crashed" else None
            except EOFError:
                outcome = None
            if outcome is None:
                child.kill()
                child.join()
                case = cases.pop(0)
                name, _ = broken(sources, seed, case)
                code = child.exitcode if fate == "crashed" else None
                yield Outcome(case=case, name=name, state=fate, reason=f"exit code {code}")
                break
            patience_s = 2 * HANG_S
            cases.pop(0)
            yield outcome
        here.close()
        child.join()


def _draw_all(
    folder: Path, sources: Sequence[Path], cases: Sequence[int], seed: int, connection: Connection
) -> None:
    """Draw cases one after another, with bounded memory and a silent standard error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    # Once to load all that is loaded late; then what is added counts.
    draw_recording(sources[0], folder / "part", PictureConfig(), ActivityConfig())
    limit = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (limit + MEMORY_BYTES,) * 2)
    for case in cases:
        name, content = broken(sources, seed, case)
        file = folder / name
        file.write_bytes(content)
        before_mb, begun_s = _peak_mb(), time.perf_counter()
        try:
            drawn = draw_recording(file, folder / "part", PictureConfig(), ActivityConfig())
            state, reason = drawn.state, drawn.reason
            n_frames = sum(channel.n_frames for channel in drawn.channels)
        except BaseException as error:
            state, reason, n_frames = "escaped", repr(error), 0
        connection.send(
            Outcome(
                case=case,
                name=name,
                state=state,
                reason=reason,
                seconds=round(time.perf_counter() - begun_s, 3),
                peak_mb=round(_peak_mb() - before_mb, 1),
                n_frames=n_frames,
                n_bytes=len(content),
            )
        )
        file.unlink()
        for part in folder.glob("part*"):
            part.unlink()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def wave(form_tag=1, n_channels=1, rate_hz=32_000, bits=16, align=None, data=b"", **changes):
    """Return a WAV byte by byte; `changes` are `data_bytes`, `riff_bytes`, `extra`, `after`."""
    align = n_channels * ((bits + 7) // 8) % 65_536 if align is None else align
    byte_rate = rate_hz * align % 2**32
    form = struct.pack("<HHIIHH", form_tag, n_channels, rate_hz, byte_rate, align, bits)
    form += changes.get("extra", b"")
    data_bytes = changes.get("data_bytes", len(data))
    body = b"WAVE" + chunk(b"fmt ", form) + b"data" + struct.pack("<I", data_bytes) + data
    body += changes.get("after", b"")
    return b"RIFF" + struct.pack("<I", changes.get("riff_bytes", len(body))) + body


def chunk(name, content):
    """Return a chunk of a RIFF file, padded."""
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
