"""How fast, and in how much memory, recordings are indexed on one core.

Measured on recordings made by `oscine.synth` at 48 kHz, written again with all 24 bits in use, as
FLAC, WAV and MP3:

- hours of audio for each second of processor time, for all the work that one file causes (hash,
  decode, resample, log-mel, activity, write), in a process of its own with one thread; the
  fastest of three runs counts, since what else a machine does can only slow it down;
- the share of that time spent in each; taken from a second, profiled run, so that calls which are
  many and short (decode) look a little larger than they are;
- the largest resident size of a process that indexes one FLAC file, for a file of `--hours` hours
  and for one of a sixth of that.

Wanted: at least 400 times real time for FLAC; under 500 MB for six hours, and within 5 % of one.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import multiprocessing
import pstats
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from oscine.config import ActivityConfig, PictureConfig
from oscine.synth import SynthConfig, write_archive

RATE_HZ = 48_000
BLOCK_S = 10
N_RUNS = 3
FORMATS = {"flac": ("FLAC", "PCM_24"), "wav": ("WAV", "PCM_24"), "mp3": ("MP3", None)}
STAGES = {
    "hash": ("content_hash",),
    "decode": ("_native_blocks",),
    "resample": ("resample_chunk",),
    "mel": ("log_mel_of_frames",),
    "activity": ("find_background", "find_events"),
    "write": ("coded", "append", "flush", "<method 'write' of '_io.BufferedWriter' objects>"),
}
"""The functions whose time, with all that they call, counts for each stage."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=6.0, help="length of the longest file")
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), arguments.hours)
    print(json.dumps(result, indent=None if arguments.json else 2))


def measure(folder: Path, hours: float) -> dict:
    """Return all figures; the longest file has `hours`, the timed ones a twelfth."""
    sound = made_sound(folder)
    speed = {}
    for suffix in FORMATS:
        file = folder / f"timed.{suffix}"
        write_recording(file, sound, hours / 12)
        runs = sorted(in_new_process(file)[0] for _ in range(N_RUNS))
        _, shares, _ = in_new_process(file, True)
        speed[suffix] = {
            "hours_per_cpu_s": round(hours / 12 / runs[0], 4),
            "times_real_time": round(hours / 12 * 3600 / runs[0]),
            "times_real_time_of_each_run": [round(hours / 12 * 3600 / one) for one in runs],
            "shares": shares,
        }
        file.unlink()
    peak_mb = []
    for length in (hours / 6, hours):
        file = folder / "long.flac"
        write_recording(file, sound, length)
        peak_mb.append(in_new_process(file)[2])
        file.unlink()
    return {
        "speed": speed,
        "peak_mb": {f"{hours / 6:g} h": peak_mb[0], f"{hours:g} h": peak_mb[1]},
        "peak_growth": round(peak_mb[1] / peak_mb[0] - 1, 4),
    }


def made_sound(folder: Path) -> np.ndarray:
    """Return a minute of calls, wind and rain [shape=(S,)]."""
    config = SynthConfig(minutes=1, recording_s=60, n_sites=1, sample_rate_hz=RATE_HZ)
    write_archive(folder / "synth", config)
    (file,) = (folder / "synth").rglob("*.flac")
    return soundfile.read(file, dtype="float32")[0]


def write_recording(file: Path, sound: np.ndarray, hours: float) -> None:
    """Write a sound over and over, a little quieter each time, until the file is long enough."""
    container, subtype = FORMATS[file.suffix[1:]]
    block = BLOCK_S * RATE_HZ
    n_left = round(hours * 3600) * RATE_HZ
    with soundfile.SoundFile(file, "w", RATE_HZ, 1, subtype, format=container) as target:
        for number in range(-(-n_left // block)):
            start = number * block % len(sound)
            gain = 0.6 + 0.3 / (1 + number * block // len(sound))
            target.write((sound[start : start + block] * gain)[:n_left])
            n_left -= block


def in_new_process(file: Path, profiled: bool = False) -> tuple[float, dict[str, float], float]:
    """Run :func:`index_one` in a process that has done nothing before."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(index_one, file, profiled).result()


def index_one(file: Path, profiled: bool) -> tuple[float, dict[str, float], float]:
    """Index one file; return processor seconds, shares of the stages, and peak megabytes."""
    from oscine.picture.drawing import draw_recording
    from oscine.picture.tape import TapeWriter
    from oscine.sound.audio import content_hash

    picture, activity = PictureConfig(), ActivityConfig()
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory(dir=file.parent) as name:
        started = time.process_time()
        if profiled:
            profile.enable()
        content_hash(file)
        drawn = draw_recording(file, Path(name) / "part", picture, activity)
        tape = TapeWriter(Path(name) / "tape", picture, 0)
        for channel in drawn.channels:
            tape.append(channel)
        tape.flush()
        profile.disable()
        cpu_s = time.process_time() - started
    if drawn.state != "whole":
        raise ValueError(f"{file} was not heard whole: {drawn.reason}")
    shares = stage_shares(profile) if profiled else {}
    return cpu_s, shares, round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def stage_shares(profile: cProfile.Profile) -> dict[str, float]:
    """Return the share of each stage in the time of a profile."""
    stats = pstats.Stats(profile)
    times: dict[str, float] = {}
    for (_, _, function), (_, _, _, cumulative_s, _) in stats.stats.items():  # pyright: ignore
        for stage, functions in STAGES.items():
            if function in functions:
                times[stage] = times.get(stage, 0) + cumulative_s
    total_s = stats.total_tt  # pyright: ignore
    shares = {stage: round(times[stage] / total_s, 3) for stage in STAGES}
    return {**shares, "other": round(1 - sum(shares.values()), 3)}


if __name__ == "__main__":
    main()
