"""Does torch.compile pay? The default model with and without it, by turns, at fixed shapes.

The compiler starts with an empty cache; its seconds are those of the first step over what a later
one takes. Where it fails (on a processor it needs a C++ compiler) the reason stands in the result.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from pretraining.contestants import Trainer, contestants, made_trainer, wait
from pretraining.product import seconds


def measure(
    folder: Path, size: str, n_patches: int, *, batch: int, rounds: int, steps: int, turn_s: float
) -> dict[str, Any]:
    """Return step times of both ways, and after how many steps compiling has paid."""
    ours = contestants(size)[0]
    plain, compiled = (
        made_trainer(ours, folder, n_patches, batch, compiled=one) for one in (False, True)
    )
    asked = {"encoder": size, "patches": n_patches, "batch": batch}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        try:
            first_s = first_step_s(compiled)
        except Exception as error:  # whatever a compiler says
            return asked | {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        return asked | compared(plain, compiled, first_s, rounds, steps, turn_s)


def compared(
    plain: Trainer, compiled: Trainer, first_s: float, rounds: int, steps: int, turn_s: float
) -> dict[str, Any]:
    """Time both by turns."""
    step_s: dict[str, list[float]] = {"plain": [], "compiled": []}
    for _ in range(rounds):
        step_s["plain"].append(seconds(plain.step, turn_s, steps))
        step_s["compiled"].append(seconds(compiled.step, turn_s, steps))
    plain_s, compiled_s = median(step_s["plain"]), median(step_s["compiled"])
    compile_s = first_s - compiled_s
    saved_s = plain_s - compiled_s
    return {
        "compile_s": round(compile_s, 1),
        "plain_clips_per_s": round(plain.training.batch_size / plain_s, 1),
        "compiled_clips_per_s": round(plain.training.batch_size / compiled_s, 1),
        "speed_up": round(plain_s / compiled_s, 3),
        "pays_after_steps": round(compile_s / saved_s) if saved_s > 0 else None,
    }


def first_step_s(trainer: Trainer) -> float:
    """Return the seconds of the first step: it compiles."""
    started = time.perf_counter()
    trainer.step()
    wait()
    return time.perf_counter() - started
