"""How well the time that training takes is used: beside other shapes, and beside the processor.

Four contestants share an encoder, windows, masks (75 % hidden), optimiser and batch:

- ours, with the decoder that belongs to the encoder (64 wide x 1 block; 256 x 4 for 384 x 12), in
  the type that `oscine pretrain` would take: bfloat16 where the device multiplies it faster;
- an AudioMAE-shaped one: a decoder of 16 blocks x 512 with 16 heads (Huang et al. 2022,
  arXiv:2207.06405), with plain attention over all patches in place of shifted windows;
- a Bird-MAE-shaped one: 8 blocks x 512 with 16 heads (Rauch et al. 2025, arXiv:2504.12880);
- ours again, in float32 and without fused attention.

``--parts``, of which each is described in its module under ``pretraining/``:

- ``speed``: clips a second and memory of each, by turns, at every size and number of patches.
  Wanted: ours 3 times as fast as the first of the shapes, twice as fast as the second;
- ``map``: kinds of ESC-50 clips found by frozen features after equal processor time (or, with
  ``--map-windows``, equal numbers of windows). Wanted: ours best. Needs ``--data`` or OSCINE_DATA;
- ``product``: the share of the best product of matrices at the model's own shapes that training
  reaches, and a profile of the rest. Wanted: half of the best in bfloat16, for 384 x 12;
- ``waiting``: the share of a step that goes by until its windows are there, from the disk. Wanted:
  under 5 % on two cores;
- ``compile``: what torch.compile costs and saves, for the default model.

The last three measure ours alone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from pretraining import compiled, neighbours, product, speed, waiting
from pretraining.contestants import CONFIG, DEFAULT, SIZES, device

from oscine import steps
from oscine.synth import SynthConfig
from oscine.training.batches import has_fast_bfloat16

PARTS = ("speed", "map", "product", "waiting", "compile")


def main() -> None:
    """Measure and print."""
    arguments = parsed()
    with tempfile.TemporaryDirectory() as name:
        result = measure(arguments, Path(name))
    print(json.dumps(result, indent=None if arguments.json else 2))


def parsed() -> argparse.Namespace:
    """Read the command line."""
    on_gpu = device().type == "cuda"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["192x6", "384x12"])
    parser.add_argument("--patches", nargs="+", type=int, default=[128, 256])
    parser.add_argument("--batch", type=int, default=256 if on_gpu else 8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="most training steps in a turn")
    parser.add_argument("--turn-s", type=float, default=2.0, help="seconds of a turn")
    parser.add_argument("--minutes", type=float, default=0.5, help="of each in the part map")
    parser.add_argument("--map-size", choices=SIZES, default="192x6")
    parser.add_argument("--map-patches", type=int, default=128, help="of a window in that part")
    parser.add_argument("--map-windows", type=int, help="heard by each, in place of the minutes")
    parser.add_argument("--map-ours-only", action="store_true", help="without the other decoders")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the part map")
    parser.add_argument("--hours", type=float, default=20.0, help="on the tape of the part waiting")
    parser.add_argument("--waiting-steps", type=int, default=100)
    parser.add_argument("--data", type=Path, default=os.environ.get("OSCINE_DATA"))
    parser.add_argument("--work", type=Path, default=Path("build/frozen_neighbours"))
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    n_rows = CONFIG.picture.n_mels // CONFIG.model.patch_bands
    if any(one < n_rows or one % n_rows for one in [*arguments.patches, arguments.map_patches]):
        parser.error(f"a window has whole columns of patches: give multiples of {n_rows}")
    return arguments


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the figures of all parts that are asked for."""
    steps.synth(folder / "recordings", SynthConfig(minutes=2))
    steps.index([folder / "recordings"], folder / "workspace", workers=1)
    parts = {
        "speed": speed_part,
        "map": map_part,
        "product": product_part,
        "waiting": waiting_part,
        "compile": compile_part,
    }
    return {
        "device": torch.cuda.get_device_name() if device().type == "cuda" else "processor",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "trains_in": "bfloat16" if has_fast_bfloat16(device().type) else "float32",
        **{name: parts[name](arguments, folder) for name in PARTS if name in arguments.parts},
    }


def speed_part(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Compare speed and memory at every size."""
    return [
        speed.race(
            folder / "workspace",
            size,
            n_patches,
            batch=arguments.batch,
            rounds=arguments.rounds,
            steps=arguments.steps,
            turn_s=arguments.turn_s,
        )
        for size in arguments.sizes
        for n_patches in arguments.patches
    ]


def map_part(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Compare what was learned, where there are recordings with labels."""
    if arguments.data is None:
        return {"left_out": "name the recordings with --data or OSCINE_DATA"}
    return neighbours.measure(
        Path(arguments.data),
        arguments.work,
        arguments.map_size,
        arguments.map_patches,
        budget=neighbours.Budget(seconds=arguments.minutes * 60, n_windows=arguments.map_windows),
        seeds=arguments.seeds,
        ours_only=arguments.map_ours_only,
    )


def product_part(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Hold training against products of matrices, at every size, with the most patches."""
    return [
        product.measure(
            folder / "workspace",
            size,
            max(arguments.patches),
            batch=arguments.batch,
            rounds=arguments.rounds,
            steps=arguments.steps,
            turn_s=arguments.turn_s,
        )
        for size in arguments.sizes
    ]


def waiting_part(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train from the disk."""
    return waiting.measure(folder / "waiting", arguments.hours, arguments.waiting_steps)


def compile_part(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Compile the default model."""
    return compiled.measure(
        folder / "workspace",
        DEFAULT,
        min(arguments.patches),
        batch=arguments.batch,
        rounds=arguments.rounds,
        steps=arguments.steps,
        turn_s=arguments.turn_s,
    )


if __name__ == "__main__":
    main()
