"""How much of the best product of matrices training reaches, and where the rest of a step goes.

Operations are the products of matrices of one step, counted by torch; their rate over whole steps
stands beside that of plain products at the shapes that the model's linear layers have, in float32
and in bfloat16 by turns. A profile shares the time of a step among its kinds of work: by what ran
on the processor, or on a GPU by its kernels, with the time in which none ran.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from pretraining.contestants import (
    WAITING,
    Trainer,
    contestants,
    device,
    made_trainer,
    wait,
)

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Shape = tuple[int, int, int]
PRODUCT_S, MOST_PRODUCTS = 0.05, 1000
"""Each product is repeated for so long."""
PROFILED_STEPS = 3
REST = "Python and the rest"
WHOLE = {WAITING: WAITING, "Optimizer.step": "optimiser", "Optimizer.zero_grad": "optimiser"}
"""Parts of a step of which all that happens in them counts."""
WORK = {
    "attention": ("scaled_dot_product", "bmm", "softmax"),
    "normalisation": ("layer_norm", "layernorm"),
    "GELU": ("gelu",),
    "changes of type": ("_to_copy", "tocopybackward"),
    "gather and scatter": ("gather", "scatter", "aten::index", "indexbackward"),
    "linear layers": ("linear", "addmm", "aten::mm"),
    "clipping": ("_foreach_", "vector_norm"),
}
OPERATION = ("aten::", "backward", "accumulategrad")
"""Names of operations by the work they do: the innermost one that is known here counts."""


def measure(
    folder: Path, size: str, n_patches: int, *, batch: int, rounds: int, steps: int, turn_s: float
) -> dict[str, Any]:
    """Return rates and the profile of our model at one size; turns as in the part speed."""
    ours = contestants(size)[0]
    trainers = {
        name: made_trainer(replace(ours, kind=kind), folder, n_patches, batch)
        for name, kind in TYPES.items()
    }
    shapes, operations = shapes_and_operations(trainers["float32"])
    factors = {
        name: [product_factors(shape, kind) for shape in shapes] for name, kind in TYPES.items()
    }
    step_s: dict[str, list[float]] = {name: [] for name in TYPES}
    rates: dict[str, list[list[float]]] = {name: [] for name in TYPES}
    for number in range(rounds + 1):
        for name, trainer in trainers.items():
            each_s = seconds(trainer.step, turn_s, steps)
            products = [product_rate(*pair) for pair in factors[name]]
            if number:  # the first round warms up
                step_s[name].append(each_s)
                rates[name].append(products)
    trains_in = str(ours.kind).removeprefix("torch.")
    return {
        "encoder": size,
        "patches": n_patches,
        "batch": batch,
        "gflop_per_clip": round(operations / batch / 1e9, 3),
        "trains_in": trains_in,
        "bfloat16_speed_up": round(median(step_s["float32"]) / median(step_s["bfloat16"]), 3),
        **{
            name: figures(median(step_s[name]), rates[name], shapes, operations, batch)
            for name in TYPES
        },
        "share_of_step_time": profiled(trainers[trains_in]),
    }


def figures(
    step_s: float, rates: list[list[float]], shapes: list[Shape], operations: int, batch: int
) -> dict[str, Any]:
    """Return the figures of one type."""
    medians = [median(each) for each in zip(*rates, strict=True)]
    reached = operations / step_s
    return {
        "clips_per_s": round(batch / step_s, 1),
        "gflop_per_s": round(reached / 1e9, 2),
        "share_of_best_product": round(reached / max(medians), 3),
        "product_gflop_per_s": {
            " x ".join(map(str, shape)): round(rate / 1e9, 2)
            for shape, rate in zip(shapes, medians, strict=True)
        },
    }


def shapes_and_operations(trainer: Trainer) -> tuple[list[Shape], int]:
    """Return the shapes (rows, in, out) of the linear layers, and the operations of a step."""
    shapes: set[Shape] = set()

    def note(layer: torch.nn.Module, given: tuple[torch.Tensor], _: torch.Tensor) -> None:
        rows = given[0].numel() // layer.in_features
        shapes.add((rows, layer.in_features, layer.out_features))

    layers = [one for one in trainer.model.modules() if isinstance(one, torch.nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    # Attention in one kernel would not be counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        trainer.step()
    for hook in hooks:
        hook.remove()
    return sorted(shapes), counter.get_total_flops()


def product_factors(shape: Shape, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two matrices to be multiplied."""
    rows, n_in, n_out = shape
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(rows, n_in, generator=generator).to(device(), kind)
    return left, torch.randn(n_in, n_out, generator=generator).to(device(), kind)


def product_rate(left: torch.Tensor, right: torch.Tensor) -> float:
    """Return operations in a second of one product of matrices."""
    operations = 2 * left.shape[0] * left.shape[1] * right.shape[1]
    return operations / seconds(lambda: left @ right, PRODUCT_S, MOST_PRODUCTS)


def seconds(work: Callable[[], object], within_s: float, most: int) -> float:
    """Return the seconds that some work takes, on average over as many times as fit.

    A first time is not counted: it only tells how many fit.
    """
    started = time.perf_counter()
    work()
    wait()
    n_times = max(1, min(most, int(within_s / (time.perf_counter() - started))))
    started = time.perf_counter()
    for _ in range(n_times):
        work()
    wait()
    return (time.perf_counter() - started) / n_times


def profiled(trainer: Trainer) -> dict[str, float]:
    """Return the share of step time that each kind of work takes, the largest first."""
    activities = [ProfilerActivity.CPU]
    on_gpu = device().type == "cuda"
    if on_gpu:
        activities.append(ProfilerActivity.CUDA)
    trainer.step()
    wait()
    with profile(activities=activities) as found:
        started = time.perf_counter()
        for _ in range(PROFILED_STEPS):
            with record_function("step"):
                trainer.step()
        wait()
        whole_us = (time.perf_counter() - started) * 1e6
    spent: dict[str, float] = {}
    for event in found.events() or ():
        if event.device_type == torch.autograd.DeviceType.CPU:
            us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            kind = work_of(event)
            spent[kind] = spent.get(kind, 0.0) + us
    rest = "no kernel running" if on_gpu else REST
    spent[rest] = whole_us - sum(us for kind, us in spent.items() if kind != rest)
    shares = {kind: round(us / whole_us, 3) for kind, us in spent.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def work_of(event: Any) -> str:
    """Return the kind of work that an event of the profiler belongs to."""
    names = []
    while event is not None:
        names.append(event.name)
        event = event.cpu_parent
    for name in names:
        for known, kind in WHOLE.items():
            if name.startswith(known):
                return kind
    for name in names:
        for kind, known in WORK.items():
            if any(one in name.lower() for one in known):
                return kind
    is_operation = any(one in names[0].lower() for one in OPERATION)
    return "sums and copies" if is_operation else REST
