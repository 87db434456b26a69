"""How fast the model is trained, beside what the processor can do at most.

A model of the default size takes training steps on windows of a synthetic archive, in float32 and
in bfloat16 by turns (bfloat16 is used by `oscine pretrain` only where the processor has units for
it; without them it is slower). Measured for each:

- clips (windows) and patches in a second of training, from drawing windows to the optimiser;
- operations in a second: products of matrices in one step, counted by torch, over its time;
- the same for plain products of matrices at the shapes that the model's linear layers have, in
  the same run; and the share of the best of them that training reaches.

All are medians over rounds, in which the types take turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from oscine import steps
from oscine.config import OscineConfig
from oscine.model.autoencoder import (
    MaskedAutoencoder,
    hidden_values,
    initialise,
    masked_loss,
    targets,
)
from oscine.picture.indexing import tape_fingerprint
from oscine.picture.tape import Tape
from oscine.synth import SynthConfig
from oscine.training.batches import Batch, has_fast_bfloat16, make_batch
from oscine.training.pretrain import make_optimiser
from oscine.training.windows import TRAIN, WindowSampler
from oscine.workspace import Workspace

CONFIG = OscineConfig()
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="training steps in a round")
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = measure(made_sampler(Path(name)), arguments.rounds, arguments.steps)
    print(json.dumps(result, indent=None if arguments.json else 2))


def measure(sampler: WindowSampler, n_rounds: int, n_steps: int) -> dict:
    """Return all figures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = initialise(MaskedAutoencoder(CONFIG.model, CONFIG.picture), 0).to(device)
    optimiser = make_optimiser(model, CONFIG.training)

    def step(number: int, name: str) -> None:
        windows = sampler.draw(TRAIN, number, CONFIG.training.batch_size)
        loss = loss_of(model, make_batch(windows, model, CONFIG.training, device), TYPES[name])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CONFIG.training.gradient_clip)
        optimiser.step()

    windows = sampler.draw(TRAIN, 0, CONFIG.training.batch_size)
    batch = make_batch(windows, model, CONFIG.training, device)
    shapes, operations = shapes_and_operations(model, batch)
    factors = {
        name: [product_factors(shape, kind, device) for shape in shapes]
        for name, kind in TYPES.items()
    }

    step_s: dict[str, list[float]] = {name: [] for name in TYPES}
    products: dict[str, list[list[float]]] = {name: [] for name in TYPES}
    for number in range(n_rounds + 1):
        for name in TYPES:
            each_s = seconds(lambda name=name: step(0, name), n_steps, device)
            rates = [product_rate(*pair, device) for pair in factors[name]]
            if number:  # the first round warms up
                step_s[name].append(each_s)
                products[name].append(rates)
    n_patches = int((batch.masks.visible >= 0).sum() + (batch.masks.hidden >= 0).sum())
    result = {
        name: figures(median(step_s[name]), products[name], shapes, operations, n_patches)
        for name in TYPES
    }
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "processor",
        "threads": torch.get_num_threads(),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "trains_in": "bfloat16" if has_fast_bfloat16(device.type) else "float32",
        "bfloat16_speed_up": round(median(step_s["float32"]) / median(step_s["bfloat16"]), 3),
        **result,
    }


def figures(
    step_s: float,
    products: list[list[float]],
    shapes: list[tuple[int, int, int]],
    operations: int,
    n_patches: int,
) -> dict:
    """Return the figures of one type."""
    rates = [median(each) for each in zip(*products, strict=True)]
    reached = operations / step_s
    return {
        "clips_per_s": round(CONFIG.training.batch_size / step_s, 1),
        "patches_per_s": round(n_patches / step_s),
        "gflop_per_s": round(reached / 1e9, 2),
        "share_of_best_product": round(reached / max(rates), 3),
        "product_gflop_per_s": {
            " x ".join(map(str, shape)): round(rate / 1e9, 2)
            for shape, rate in zip(shapes, rates, strict=True)
        },
    }


def made_sampler(folder: Path) -> WindowSampler:
    """Return a sampler over a small synthetic archive."""
    steps.synth(folder / "recordings", SynthConfig(minutes=2))
    steps.index([folder / "recordings"], folder / "workspace", workers=1)
    workspace = Workspace(folder / "workspace")
    name = tape_fingerprint(CONFIG.picture, CONFIG.activity)
    with workspace.catalogue() as catalogue:
        tape = Tape(workspace.tape(name), CONFIG.picture, catalogue.tape_rows())
        rows = [row for row in catalogue.recordings() if row.n_frames]
        return WindowSampler(tape, rows, catalogue.events(), CONFIG.picture, CONFIG.training)


def loss_of(model: MaskedAutoencoder, batch: Batch, kind: torch.dtype) -> torch.Tensor:
    """Return the loss as training does, in the type that is asked for."""
    training = CONFIG.training
    with torch.autocast(batch.patches.device.type, kind, enabled=kind != torch.float32):
        drawn = model(batch.patches, batch.grid, batch.masks)
    hidden, counted = hidden_values(batch.patches, batch.values, batch.masks)
    target, _, _ = targets(hidden, counted, training.target, training.target_damping)
    return masked_loss(drawn, target, counted)


def shapes_and_operations(
    model: MaskedAutoencoder, batch: Batch
) -> tuple[list[tuple[int, int, int]], int]:
    """Return the shapes (rows, in, out) of the linear layers, and the operations of a step."""
    shapes: set[tuple[int, int, int]] = set()

    def note(layer: torch.nn.Module, given: tuple[torch.Tensor], _: torch.Tensor) -> None:
        rows = given[0].numel() // layer.in_features
        shapes.add((rows, layer.in_features, layer.out_features))

    layers = [one for one in model.modules() if isinstance(one, torch.nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    # Attention in one kernel would not be counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss_of(model, batch, torch.float32).backward()
    for hook in hooks:
        hook.remove()
    return sorted(shapes), counter.get_total_flops()


def product_factors(
    shape: tuple[int, int, int], kind: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two matrices to be multiplied."""
    rows, n_in, n_out = shape
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(rows, n_in, generator=generator).to(device, kind)
    return left, torch.randn(n_in, n_out, generator=generator).to(device, kind)


def product_rate(left: torch.Tensor, right: torch.Tensor, device: torch.device) -> float:
    """Return operations in a second of one product of matrices."""
    operations = 2 * left.shape[0] * left.shape[1] * right.shape[1]
    return operations / seconds(lambda: left @ right, max(3, int(3e8 / operations)), device)


def seconds(work: Callable[[], object], n_times: int, device: torch.device) -> float:
    """Return the seconds that some work takes, on average over a few times."""
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    work()
    wait()
    started = time.perf_counter()
    for _ in range(n_times):
        work()
    wait()
    return (time.perf_counter() - started) / n_times


if __name__ == "__main__":
    main()
