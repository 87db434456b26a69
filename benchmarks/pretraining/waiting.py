"""What share of a step goes by until its windows are there, with the archive on disk.

A tape of some hours is made on disk and its pages are dropped from memory, so that windows, drawn
uniformly, are read from the disk; how much was, Linux says. The model is the default one: the
smallest, so the one that has least time to wait.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from oscine.model.checkpoint import RunConfig
from oscine.picture.activity import n_level_groups
from oscine.picture.tape import Tape
from oscine.training import log
from oscine.training.pretrain import pretrain
from oscine.training.windows import WindowSampler
from oscine.workspace.arrays import ArrayWriter
from oscine.workspace.catalogue import RecordingRow
from pretraining.contestants import CONFIG

FRAMES_AT_ONCE = 2**16


def measure(folder: Path, hours: float, steps: int) -> dict[str, Any]:
    """Train a short run from the disk, and read in its log for how long its steps waited."""
    n_frames = int(hours * 3600 * CONFIG.picture.frames_per_s)
    write_tape(folder / "tape", n_frames)
    run = RunConfig(
        picture=CONFIG.picture,
        model=CONFIG.model,
        training=replace(CONFIG.training, steps=steps, checkpoint_every=steps),
    )
    dropped = drop_pages(folder / "tape")
    before = read_mb()
    pretrain(folder / "run", cold_sampler(folder / "tape", n_frames), run, "benchmark")
    rows = [json.loads(line) for line in (folder / "run" / log.LOG).read_text().splitlines()]
    shares = [row[log.WAITING] for row in rows if log.WAITING in row]
    return {
        "waiting_share": round(mean(shares), 4),
        "most_in_a_row_of_the_log": max(shares),
        "wanted_below": 0.05,
        "tape_mb": round(n_frames * CONFIG.picture.n_mels / 2**20),
        "read_from_disk_mb": None if before is None else round((read_mb() or 0) - before),
        "memory_dropped": dropped,
        "batch": CONFIG.training.batch_size,
        "steps": steps,
    }


def write_tape(folder: Path, n_frames: int) -> None:
    """Put noise on a tape: how windows are read does not depend on what is on it."""
    rng = np.random.default_rng(0)
    n_bands, n_groups = CONFIG.picture.n_mels, n_level_groups(CONFIG.picture)
    byte = np.dtype(np.uint8)
    codes = ArrayWriter(folder / "codes", byte, (n_bands,), 0)
    levels = ArrayWriter(folder / "levels", byte, (n_groups,), 0)
    for start in range(0, n_frames, FRAMES_AT_ONCE):
        n_rows = min(FRAMES_AT_ONCE, n_frames - start)
        codes.append(rng.integers(256, size=(n_rows, n_bands), dtype=np.uint8))
        levels.append(np.zeros((n_rows, n_groups), np.uint8))
    codes.flush()
    levels.flush()


def cold_sampler(folder: Path, n_frames: int) -> WindowSampler:
    """Open the tape as one long recording without events: every window is drawn uniformly."""
    recording = RecordingRow(
        recording_id=1,
        root="",
        path="noise",
        channel=-1,
        n_bytes=0,
        modified_s=0.0,
        content_hash="noise",
        state="whole",
        reason="",
        encoding="",
        sample_rate_hz=CONFIG.picture.sample_rate_hz,
        n_channels=1,
        n_samples=n_frames * CONFIG.picture.hop_samples,
        n_promised=0,
        n_valid_bands=CONFIG.picture.n_mels,
        tape_row=0,
        n_frames=n_frames,
    )
    tape = Tape(folder, CONFIG.picture, n_frames)
    return WindowSampler(tape, [recording], [], CONFIG.picture, CONFIG.training)


def drop_pages(folder: Path) -> str:
    """Ask the system to forget what it holds of some files, and say whether it can be asked."""
    if not hasattr(os, "posix_fadvise"):
        return "no: this system cannot be asked to forget a file"
    for path in folder.rglob("*.bin"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return "asked for; read_from_disk_mb says what came of it"


def read_mb() -> float | None:
    """Return what this process had read from disks so far; None where the system does not say."""
    file = Path("/proc/self/io")
    if not file.exists():
        return None
    fields = dict(line.split(": ") for line in file.read_text().splitlines())
    return int(fields["read_bytes"]) / 2**20
