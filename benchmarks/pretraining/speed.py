"""Clips a second and memory of every contestant, by turns.

Each contestant lives in a process of its own for as long as its encoder's size is asked; one at a
time takes a turn of a few steps, in another order each round. So memory is that of the process
that was timed. On a GPU it is the most that its tensors held at once; on a processor the largest
resident size of the process, beside the size that it had before the model was made.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pretraining.contestants import (
    OURS,
    Contestant,
    Trainer,
    contestants,
    device,
    made_trainer,
    wait,
)

WARM_STEPS = 2
"""The second is the first that holds the optimiser's state beside activations and gradients."""


class Runner:
    """What one process keeps between its turns."""

    trainer: Trainer
    program_mb: float


def race(
    folder: Path, size: str, n_patches: int, *, batch: int, rounds: int, steps: int, turn_s: float
) -> dict[str, Any]:
    """Time the contestants of one size by turns.

    A turn has as many steps as fit into `turn_s` seconds: at least one, at most `steps`.
    """
    everyone = {one.name: one for one in contestants(size)}
    step_s: dict[str, list[float]] = {name: [] for name in everyone}
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(own_process(one, folder, n_patches, batch))
            for name, one in everyone.items()
        }
        for number in range(rounds + 1):  # the first round warms up
            for name in np.roll(list(everyone), -number).tolist():
                if name in failed:
                    continue
                per_turn = min(steps, int(turn_s / step_s[name][-1])) if number else WARM_STEPS
                try:
                    step_s[name].append(pools[name].submit(turn, max(1, per_turn)).result())
                except (RuntimeError, BrokenProcessPool) as error:  # no memory, most likely
                    failed[name] = str(error).splitlines()[0]
                    pools[name].shutdown()
        memory = {
            name: pools[name].submit(memory_mb).result() for name in pools if name not in failed
        }
    timed = {name: np.array(step_s[name][1:]) for name in memory}
    return {
        "encoder": size,
        "patches": n_patches,
        "batch": batch,
        "contestants": {
            name: {"failed": failed[name]}
            if name in failed
            else figures(one, batch, timed[name], timed.get(OURS)) | memory[name]
            for name, one in everyone.items()
        },
    }


def figures(
    contestant: Contestant, batch: int, step_s: np.ndarray, ours_s: np.ndarray | None
) -> dict[str, Any]:
    """Return the figures of one contestant over its rounds."""
    found: dict[str, Any] = {
        "type": str(contestant.kind).removeprefix("torch."),
        "attention": "fused" if contestant.is_fused else "not fused",
        "clips_per_s": spread(batch / step_s),
    }
    if contestant.name != OURS and ours_s is not None:
        found["ours_times_faster"] = spread(step_s / ours_s)
        if contestant.wanted is not None:
            found["wanted"] = contestant.wanted
    return found


def spread(values: np.ndarray) -> dict[str, Any]:
    """Return median and quartiles."""
    low, median, high = (float(f"{one:.4g}") for one in np.percentile(values, (25, 50, 75)))
    return {"median": median, "quartiles": [low, high]}


def own_process(contestant: Contestant, folder: Path, n_patches: int, batch: int) -> Executor:
    """Return a fresh process that holds one contestant; it starts with its first turn."""
    return ProcessPoolExecutor(
        1,
        multiprocessing.get_context("spawn"),
        begin,
        (contestant, folder, n_patches, batch, torch.get_num_threads()),
    )


def begin(contestant: Contestant, folder: Path, n_patches: int, batch: int, n_threads: int) -> None:
    """Make the contestant of this process."""
    torch.set_num_threads(n_threads)
    Runner.program_mb = resident_mb()
    Runner.trainer = made_trainer(contestant, folder, n_patches, batch)


def turn(n_steps: int) -> float:
    """Return the seconds of a step, on average over a turn in this process."""
    if device().type == "cuda":
        Runner.trainer.step()  # its memory went back after the turn before
    wait()
    started = time.perf_counter()
    for _ in range(n_steps):
        Runner.trainer.step()
    wait()
    seconds = (time.perf_counter() - started) / n_steps
    if device().type == "cuda":
        torch.cuda.empty_cache()
    return seconds


def memory_mb() -> dict[str, Any]:
    """Return what this process held at most, and how large its model is."""
    parameters = sum(weight.numel() for weight in Runner.trainer.model.parameters())
    if device().type == "cuda":
        peak = {"peak_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20, 1)}
    else:
        peak = {
            "peak_memory_mb": round(resident_mb(), 1),
            "before_the_model_mb": round(Runner.program_mb, 1),
        }
    return {"parameters": parameters, **peak}


def resident_mb() -> float:
    """Return the largest resident size of this process.

    Linux hands ``ru_maxrss`` down from the process that started this one; ``VmHWM`` is its own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
