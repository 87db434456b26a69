"""How an archive is indexed: many small files, several workers, a Ray cluster of this machine.

Measured with `oscine index` in a process of its own, on synthetic sound:

- `small`: `--files` WAV files of 1 s: files a second, the largest resident size of the process
  that keeps the catalogue after a tenth of them and after all, and how much quicker a second pass
  is that finds nothing changed;
- `workers`: eight FLAC files of `--hours` hours each at 48 kHz, with 1 and 2 workers and, where it
  is installed, with Ray on 2; medians of `--runs` interleaved runs.

Wanted, on two cores: 300 small files a second, memory flat, the second pass 20 times quicker; two
workers at least 1.6 times as fast as one, Ray on two at least 1.4 times.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE_HZ = 48_000
SMALL_RATE_HZ = 32_000
N_LONG = 8
BLOCK_S = 10
CHILD = """
import json, resource, sys
from pathlib import Path
from oscine import steps
if __name__ == "__main__":
    archive, folder, workers, engine = sys.argv[1:]
    peaks = []
    def told(step, done, total, word):
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if not peaks and done > total / 10:
            peaks.append(peak_mb)
    steps.index([Path(archive)], Path(folder), workers=int(workers), engine=engine, progress=told)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps([round(one, 1) for one in peaks]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = {
            "small": small_files(folder / "small", arguments.files) if arguments.files else None,
            "workers": long_files(folder / "long", arguments.hours, arguments.runs)
            if arguments.runs
            else None,
        }
    print(json.dumps(result, indent=None if arguments.json else 2))


def small_files(folder: Path, n_files: int) -> dict[str, Any]:
    """Index many files of one second, then once more."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 10 * SMALL_RATE_HZ).astype(np.float32)
    call = 0.3 * np.sin(0.4 * np.arange(SMALL_RATE_HZ // 8), dtype=np.float32)
    for number in range(n_files):
        start = int(rng.integers(9 * SMALL_RATE_HZ))
        samples = noise[start : start + SMALL_RATE_HZ].copy()
        samples[10_000 : 10_000 + len(call)] += call
        file = folder / "archive" / f"{number // 1000:03d}" / f"{number:06d}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, samples, SMALL_RATE_HZ)
    workspace = folder / "w"
    first_s, (tenth_mb, all_mb) = indexed(folder / "archive", workspace, 2)
    again_s, _ = indexed(folder / "archive", workspace, 2)
    return {
        "files": n_files,
        "first_s": round(first_s, 1),
        "files_per_s": round(n_files / first_s, 1),
        "peak_mb_after_a_tenth": tenth_mb,
        "peak_mb": all_mb,
        "again_s": round(again_s, 1),
        "again_times_quicker": round(first_s / again_s, 1),
    }


def long_files(folder: Path, hours: float, n_runs: int) -> dict[str, Any]:
    """Index eight long files by one worker, by two, and by Ray."""
    write_long_files(folder / "archive", hours)
    ways = {"1 worker": (1, "processes"), "2 workers": (2, "processes")}
    if importlib.util.find_spec("ray"):
        ways["Ray, 2 workers"] = (2, "ray")
    times: dict[str, list[float]] = {way: [] for way in ways}
    for run in range(n_runs):
        for way, (workers, engine) in ways.items():
            workspace = folder / f"{run}-{workers}-{engine}"
            times[way].append(indexed(folder / "archive", workspace, workers, engine)[0])
            subprocess.run(["rm", "-rf", workspace], check=True)
    medians = {way: statistics.median(one) for way, one in times.items()}
    return {
        "hours_each": hours,
        "runs": n_runs,
        "seconds": {way: [round(one, 1) for one in runs] for way, runs in times.items()},
        "times_one_worker": {
            way: round(medians["1 worker"] / median, 2) for way, median in medians.items()
        },
        "times_real_time": {
            way: round(N_LONG * hours * 3600 / median) for way, median in medians.items()
        },
    }


def write_long_files(folder: Path, hours: float) -> None:
    """Write one file, and copies that differ in the name of their encoder alone."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 0.01, 6 * BLOCK_S * RATE_HZ)
    sound[::RATE_HZ] += 0.5
    block = BLOCK_S * RATE_HZ
    first = folder / "0.flac"
    with soundfile.SoundFile(first, "w", RATE_HZ, 1, "PCM_16", format="FLAC") as file:
        for number in range(round(hours * 3600 / BLOCK_S)):
            start = number * block % len(sound)
            file.write(sound[start : start + block] * (0.5 + 0.4 / (1 + number % 50)))
    with open(first, "rb") as file:
        place = file.read(4096).index(b"libFLAC")
    for number in range(1, N_LONG):
        copy = folder / f"{number}.flac"
        subprocess.run(["cp", first, copy], check=True)
        with open(copy, "r+b") as file:
            file.seek(place)
            file.write(b"LIBFLAC"[:number] + b"libFLAC"[number:])


def indexed(
    archive: Path, workspace: Path, workers: int, engine: str = "processes"
) -> tuple[float, list[float]]:
    """Index in a new process; return seconds and peak sizes in megabytes."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, archive, workspace, str(workers), engine],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return time.perf_counter() - started, json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
