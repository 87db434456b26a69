"""What a run would take, before it is begun: counted, calculated, and tried for a few seconds.

In come a sampler of windows and a configuration; out come sizes, memory, speed and time, each
counted (operations, by torch), calculated, or measured in a trial: real steps of a throw-away model
on the archive's own tape. Nothing is written.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from oscine.config import OscineConfig, TrainingConfig, with_preset
from oscine.model.autoencoder import MaskedAutoencoder, initialise
from oscine.model.checkpoint import RunConfig
from oscine.model.masks import NO_PATCH
from oscine.picture.tape import TAPE_LOW
from oscine.training.ahead import Ahead
from oscine.training.batches import (
    Batch,
    MaskedWindows,
    batch_loss,
    has_fast_bfloat16,
    make_batch,
)
from oscine.training.learner import Learner, draw_parts
from oscine.training.pretrain import KEPT_CHECKPOINTS, LEAST_STEPS
from oscine.training.ranks import Ranks, is_out_of_memory
from oscine.training.windows import Windows, WindowSampler

STATE_BYTES, SAVED_BYTES = 16, 12
"""A weight in memory (itself, its gradient, two moments of AdamW), and in a checkpoint (without
the gradient)."""
USABLE_SHARE = 0.9
"""Of the free memory, what a run may fill by calculation: gradients on their way are not in it."""
LEAST_TRIAL_STEPS = 2
PROCESSOR_FLOPS = 2e9
"""Operations a window above which a model is one for graphics cards."""
LEAST_WINDOWS = 30_000
"""Shorter runs end in the bad middle of training (docs/recipe.md)."""
MOST_TIMES_HEARD = 300
"""Passes over the archive in the longest of the published runs: AudioMAE 33, Bird-MAE 150, M2D
300."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What a model is and what a whole window costs.

    Attributes
    ----------
    parameters : int
    patches, seen_patches : int
        Of a window; the model sees the latter, and draws the others.
    flops : int
        Floating-point operations, forward and backward; a multiplication and addition are two.
    fixed_bytes : int
        Weights, gradients, moments of the optimiser, copies of the weights in bfloat16.
    window_bytes : int
        What the forward pass keeps of each window for the backward pass.
    """

    parameters: int
    patches: int
    seen_patches: int
    flops: int
    fixed_bytes: int
    window_bytes: int

    def memory_bytes(self, n_windows: int) -> int:
        """Return the memory of a step with so many windows."""
        return self.fixed_bytes + n_windows * self.window_bytes

    def most_windows(self, n_windows: int, free_bytes: int | None) -> int:
        """Return how many of `n_windows` fit at once: all, a half, a quarter, ... ; 0 if none."""
        if free_bytes is None:
            return n_windows
        while n_windows and self.memory_bytes(n_windows) > USABLE_SHARE * free_bytes:
            n_windows //= 2
        return n_windows


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What a few seconds of training showed.

    Attributes
    ----------
    windows_per_s : float
    windows : int
        In a step of the trial.
    most_windows : int
        That fit at once; as was asked for, unless the memory ran out.
    waiting_share : float
        Of the time, in which steps waited for windows to be read from the tape and masked.
    peak_bytes : int or None
        By how much memory grew at most; None where the system does not tell.
    """

    windows_per_s: float
    windows: int
    most_windows: int
    waiting_share: float
    peak_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run would take.

    Counted: ``parameters``, ``patches``, ``seen_patches``, ``flops_per_window``. Measured in the
    trial: ``windows_per_s``, ``flops_per_s``, ``waiting_share``, ``memory_peak_bytes`` (with
    ``trial_windows`` in a step). Calculated: all else; ``hours`` from the measured speed.
    """

    device: str
    precision: str
    archive_hours: float
    window_s: float
    parameters: int
    patches: int
    seen_patches: int
    flops_per_window: int
    trial_s: float
    trial_windows: int
    windows_per_s: float
    flops_per_s: float
    waiting_share: float
    memory_bytes: int
    """For a batch at once."""
    memory_free_bytes: int | None
    memory_peak_bytes: int | None
    batch_size: int
    part_windows: int
    """Windows that fit into the memory at once: the batch, or a part of it."""
    steps: int
    hours: float
    heard_hours: float
    """Of sound, in all windows of all steps."""
    times_heard: float
    checkpoint_bytes: int
    """On the disk at most: those that are kept, and the next on its way."""
    disk_free_bytes: int
    notes: list[str]


class TooLittleMemory(ValueError):
    """Not even one window fits; the message says what can be done."""


def plan(
    sampler: WindowSampler,
    run: RunConfig,
    *,
    archive_s: float,
    disk_free_bytes: int,
    trial_s: float = 10.0,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Foresee a run on this archive and this machine.

    Parameters
    ----------
    sampler : WindowSampler
    run : RunConfig
    archive_s : float
        Seconds on the tape.
    disk_free_bytes : int
        Where checkpoints would be written.
    trial_s : float
        How long to try; slow models take longer, for at least a few steps are taken.
    progress : callable, optional
        Told how much of the trial is done, and of how much.

    Returns
    -------
    Plan

    Raises
    ------
    TooLittleMemory
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    free_bytes = _free_bytes(device)
    with torch.device("meta"):
        weights = MaskedAutoencoder(run.model, run.picture).parameters()
    least_bytes = STATE_BYTES * sum(weight.numel() for weight in weights)
    if free_bytes is not None and least_bytes > free_bytes:
        raise _too_little(least_bytes, free_bytes)
    peak = _Peak(device)
    try:
        model = initialise(MaskedAutoencoder(run.model, run.picture), run.training.seed).to(device)
        counts = count(model, run)
        most = counts.most_windows(run.training.batch_size, free_bytes)
        if not most:
            raise _too_little(counts.memory_bytes(1), free_bytes)
        trial = _try(model, sampler, run.training, most, trial_s, peak, progress)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise _too_little(least_bytes, free_bytes) from error
        raise
    return _foreseen(counts, trial, run, device, free_bytes, archive_s, disk_free_bytes, trial_s)


def count(model: MaskedAutoencoder, run: RunConfig) -> Counts:
    """Count what a model is and what a whole window costs, in the precision of its device."""
    parameters = sum(weight.numel() for weight in model.parameters())
    batch = _whole_windows(model, run, 1)
    # Attention in one kernel would not be counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        batch_loss(model, batch, run.training).backward()
    one, two = (_kept_bytes(model, run, n_windows) for n_windows in (1, 2))
    return Counts(
        parameters=parameters,
        patches=batch.grid.n_patches,
        seen_patches=int((batch.masks.visible != NO_PATCH).sum()),
        flops=counter.get_total_flops(),
        fixed_bytes=STATE_BYTES * parameters + max(0, 2 * one - two),
        window_bytes=two - one,
    )


def _whole_windows(model: MaskedAutoencoder, run: RunConfig, n_windows: int) -> Batch:
    """Return a batch of silence in which no window is cut short."""
    frames, bands = run.picture.window_frames, run.picture.n_mels
    windows = Windows(
        log_mel=np.full((n_windows, frames, bands), TAPE_LOW, np.float32),
        n_frames=np.full(n_windows, frames),
        n_bands=np.full(n_windows, bands),
        generators=tuple(np.random.default_rng(number) for number in range(n_windows)),
    )
    return make_batch(windows, model, run.training, next(model.parameters()).device)


def _kept_bytes(model: MaskedAutoencoder, run: RunConfig, n_windows: int) -> int:
    """Return how much the forward pass keeps for the backward pass, beside the weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = _whole_windows(model, run, n_windows)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        _loss = batch_loss(model, batch, run.training)  # while it lives, what is kept does
    return sum(kept.values())


def _try(
    model: MaskedAutoencoder,
    sampler: WindowSampler,
    training: TrainingConfig,
    most: int,
    trial_s: float,
    peak: _Peak,
    progress: Callable[[int, int], None] | None,
) -> Trial:
    """Take steps, at first with ever more windows, until the time is over."""
    # At a rate of zero the weights stay as they are: however long it is tried, nothing diverges.
    training = replace(training, learning_rate=0.0, steps=1, micro_batch=0, compile=False)
    ranks = Ranks(number=0, count=1, device=next(model.parameters()).device)
    learner = Learner(model, training, ranks)
    grid = model.encoder.grid(sampler.window_frames)
    begun = time.perf_counter()
    taken = 0

    def drawn(step: int, n_windows: int) -> list[MaskedWindows]:
        return draw_parts(sampler, step, grid, replace(training, batch_size=n_windows), ranks)

    def step_s(n_windows: int, parts: list[MaskedWindows] | None = None) -> float:
        nonlocal taken
        before = time.perf_counter()
        _step(learner, drawn(taken, n_windows) if parts is None else parts)
        _wait_for(model)
        taken += 1
        if progress is not None:
            progress(min(99, int(100 * (time.perf_counter() - begun) / max(trial_s, 1e-9))), 100)
        return time.perf_counter() - before

    step_s(1)  # the first is slow: kernels are loaded
    windows, window_s = 1, step_s(1)
    while windows < most and 2 * windows * window_s < trial_s / 4:
        more = min(2 * windows, most)
        try:
            window_s = min(window_s, step_s(more) / more)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            most = windows
            break
        windows = more
    model.zero_grad()  # what a step that ran out of memory left behind

    n_steps, waited_s = 0, 0.0
    with Ahead(lambda step: drawn(step, windows), range(taken, sys.maxsize)) as coming:
        coming.take()  # the first are drawn while nothing is learned
        trained = time.perf_counter()
        waited_s = coming.waited_s
        while n_steps < LEAST_TRIAL_STEPS or time.perf_counter() - begun < trial_s:
            step_s(windows, coming.take())
            n_steps += 1
        trained_s = time.perf_counter() - trained
        waited_s = coming.waited_s - waited_s
    if progress is not None:
        progress(100, 100)
    return Trial(
        windows_per_s=windows * n_steps / trained_s,
        windows=windows,
        most_windows=most,
        waiting_share=min(1.0, waited_s / trained_s),
        peak_bytes=peak.grown_bytes(),
    )


def _step(learner: Learner, parts: list[MaskedWindows]) -> None:
    learner.step(0, parts)


def _foreseen(
    counts: Counts,
    trial: Trial,
    run: RunConfig,
    device: torch.device,
    free_bytes: int | None,
    archive_s: float,
    disk_free_bytes: int,
    trial_s: float,
) -> Plan:
    """Work out what follows from what was counted and tried."""
    training = run.training
    fitting = int(training.minutes * 60 * trial.windows_per_s / training.batch_size)
    steps = training.steps or max(LEAST_STEPS, fitting)
    n_windows = steps * training.batch_size
    window_s = run.picture.window_frames / run.picture.frames_per_s
    found = Plan(
        device=_device_name(device),
        precision="bfloat16" if has_fast_bfloat16(device.type) else "float32",
        archive_hours=round(archive_s / 3600, 4),
        window_s=window_s,
        parameters=counts.parameters,
        patches=counts.patches,
        seen_patches=counts.seen_patches,
        flops_per_window=counts.flops,
        trial_s=trial_s,
        trial_windows=trial.windows,
        windows_per_s=round(trial.windows_per_s, 2),
        flops_per_s=round(trial.windows_per_s * counts.flops),
        waiting_share=round(trial.waiting_share, 4),
        memory_bytes=counts.memory_bytes(training.batch_size),
        memory_free_bytes=free_bytes,
        memory_peak_bytes=trial.peak_bytes,
        batch_size=training.batch_size,
        part_windows=trial.most_windows,
        steps=steps,
        hours=round(n_windows / trial.windows_per_s / 3600, 4),
        heard_hours=round(n_windows * window_s / 3600, 2),
        times_heard=round(n_windows * window_s / archive_s, 2),
        checkpoint_bytes=(KEPT_CHECKPOINTS + 1) * SAVED_BYTES * counts.parameters,
        disk_free_bytes=disk_free_bytes,
        notes=[],
    )
    return replace(found, notes=_notes(found, device))


def _notes(found: Plan, device: torch.device) -> list[str]:
    """Say in plain words whether it fits, and what to think of."""
    tiny_hours = with_preset(OscineConfig(), "tiny", "training").training.minutes / 60
    notes = [f"This run takes about {_duration(found.hours)} here."]
    if found.hours > 2 * tiny_hours:
        notes[0] += f" With --preset tiny it takes {_duration(tiny_hours)}."
    if device.type == "cpu" and found.flops_per_window > PROCESSOR_FLOPS:
        notes.append(
            "There is no graphics card here that PyTorch can use, and a model of this size is made "
            "for one."
        )
    batch = f"A batch of {found.batch_size:,} windows"
    needs = f"{_gigabytes(found.memory_bytes)} by calculation"
    free = found.memory_free_bytes
    if found.part_windows < found.batch_size:
        notes.append(
            f"{batch} does not fit into the memory at once ({needs}"
            f"{'' if free is None else f', {_gigabytes(free)} are free'}): parts of "
            f"{found.part_windows:,} windows do, and their gradients add up to the same "
            f"(--set training.micro_batch={found.part_windows})."
        )
    elif free is not None:
        notes.append(f"{batch} fits into the memory: {needs}, {_gigabytes(free)} are free.")
    if found.checkpoint_bytes > found.disk_free_bytes:
        notes.append(
            f"The checkpoints do not fit on the disk of the workspace: they take "
            f"{_gigabytes(found.checkpoint_bytes)}, {_gigabytes(found.disk_free_bytes)} are free."
        )
    if found.steps * found.batch_size < LEAST_WINDOWS:
        notes.append(
            f"Runs of fewer than {LEAST_WINDOWS:,} windows end in the bad middle of training, "
            "where an untrained model is as good; it is longer for wider models and longer windows "
            "(docs/recipe.md)."
        )
    elif found.times_heard > MOST_TIMES_HEARD:
        notes.append(
            f"The archive is heard {found.times_heard:,.0f} times. Published runs hear theirs, "
            f"which are larger, 30 to {MOST_TIMES_HEARD} times: fewer steps or a smaller preset "
            "may teach as much."
        )
    if found.waiting_share > 0.05:
        notes.append(
            f"Steps wait for their windows for {found.waiting_share:.0%} of the time: a faster "
            "processor or disk would help, a faster graphics card would not."
        )
    return notes


class _Peak:
    """By how much the memory of a device has grown at most, since this was made."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._begun: int | None
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats()
            self._begun = torch.cuda.memory_allocated()
            return
        try:
            # Linux: from here on the peak counts anew.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._begun = _process_bytes("VmRSS")
        except OSError:
            self._begun = None

    def grown_bytes(self) -> int | None:
        """Return it, or None where the system does not tell."""
        if self._begun is None:
            return None
        peak = torch.cuda.max_memory_allocated() if self._is_cuda else _process_bytes("VmHWM")
        return max(0, peak - self._begun)


def _process_bytes(name: str) -> int:
    """Return a line of what Linux says of this process' memory."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(text.partition(f"{name}:")[2].split()[0])


def _free_bytes(device: torch.device) -> int | None:
    """Return the memory that is free on a device, or None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info()[0]
    if sys.platform == "linux":
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        free = 1024 * int(text.partition("MemAvailable:")[2].split()[0])
        group = Path("/sys/fs/cgroup/memory.max")  # of a container
        limit = group.read_text(encoding="ascii").strip() if group.exists() else "max"
        return free if limit == "max" else min(free, int(limit))
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _too_little(needed_bytes: int, free_bytes: int | None) -> TooLittleMemory:
    free = "" if free_bytes is None else f", and {_gigabytes(free_bytes)} are free"
    return TooLittleMemory(
        f"not even one window of this model fits into the memory: it needs at least "
        f"{_gigabytes(needed_bytes)}{free}. Take a smaller --preset, or end what else is running"
    )


def _wait_for(model: MaskedAutoencoder) -> None:
    """Wait until a graphics card has done what it was given."""
    if next(model.parameters()).is_cuda:
        torch.cuda.synchronize()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"processor, {torch.get_num_threads()} threads"


def _duration(hours: float) -> str:
    """Return a duration in words."""
    for unit, in_hours in (("year", 8766.0), ("day", 24.0), ("hour", 1.0), ("minute", 1 / 60)):
        # Two of a unit at least: 90 minutes say more than 2 hours.
        if hours >= 2 * in_hours:
            return f"{hours / in_hours:,.0f} {unit}s"
    return "a minute" if hours * 60 >= 0.5 else "less than a minute"


def _gigabytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.2g} GB" if n_bytes < 1e10 else f"{n_bytes / 1e9:,.0f} GB"
