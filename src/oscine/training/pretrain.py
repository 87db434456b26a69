"""Masked reconstruction: one loop.

In come a sampler of windows and a configuration; out come checkpoints, a log and pictures in the
folder of the run. No label is within reach. Killed at any moment it goes on from its last
checkpoint and ends with the same weights.

Axes: B batch, N patches, M hidden patches, P values in a patch.
"""

from __future__ import annotations

import json
import math
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oscine.config import TrainingConfig, read_config, to_mapping, to_toml
from oscine.model.autoencoder import (
    MaskedAutoencoder,
    baseline_losses,
    hidden_values,
    initialise,
    masked_loss,
    targets,
)
from oscine.model.checkpoint import (
    RUN,
    RunConfig,
    load_checkpoint,
    load_optimiser,
    load_provenance,
    optimiser_state,
    restore_optimiser,
    save_checkpoint,
    weights_fingerprint,
)
from oscine.model.masks import Masks, draw_masks
from oscine.model.patches import PatchGrid, patchify, valid_patches, valid_values
from oscine.training.figures import draw_curves, draw_reconstruction
from oscine.training.windows import EVALUATE, TRAIN, Windows, WindowSampler
from oscine.workspace.arrays import NewFile

LOG = "log.jsonl"
LOG_EVERY = 10
KEPT_CHECKPOINTS = 2
EVALUATION_BATCHES = 4
TRIAL_WARM_STEPS, TRIAL_STEPS = 3, 12
LEAST_STEPS = 20
LAST_RATE = 0.01
"""Learning rate at the last step, as a share of its peak."""


MOST_REWINDS = 5
"""Times that the rate is halved before a run is given up."""


class TrainingDiverged(RuntimeError):
    """Steps gave losses or gradients that are not finite, at ever lower rates."""


class _NotFinite(ArithmeticError):
    """A step gave a loss or a gradient that is not finite; the message has both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """The loss on the evaluation windows beside its two baselines, on the same masks."""

    step: int
    loss: float
    loss_mean: float
    loss_interpolation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Patches with their masks, ready for the model.

    Attributes
    ----------
    patches : Tensor [shape=(B, N, P)]
        Standardised.
    values : Tensor of bool [shape=(B, N, P)]
    grid : PatchGrid
    masks : Masks
    """

    patches: Tensor
    values: Tensor
    grid: PatchGrid
    masks: Masks


def pretrain(
    folder: Path,
    sampler: WindowSampler,
    run: RunConfig,
    archive: str,
    progress: Callable[[int, int, float], None] | None = None,
    *,
    start: Path | None = None,
) -> Path:
    """Train to the last step, from the last checkpoint if there is one.

    Where a step is not finite the run goes back to its last checkpoint, and on from there at half
    the learning rate; the log says so.

    Parameters
    ----------
    folder : Path
        Of the run.
    sampler : WindowSampler
    run : RunConfig
        With ``training.steps`` 0, the steps are those that fit into ``training.minutes``: a short
        trial settles their number once, and ``run.toml`` keeps it.
    archive : str
        Fingerprint of what the tape holds, for the provenance.
    progress : callable, optional
        Told the step, their number and the loss.
    start : Path, optional
        A checkpoint whose weights the run begins with, in place of new ones.

    Returns
    -------
    Path
        The last checkpoint.

    Raises
    ------
    TrainingDiverged
        Steps were not finite however low the rate; the message names the last good checkpoint.
    ValueError
        The folder holds a run of other settings or of another start.
    """
    run = _settled(folder, sampler, run)
    steps = run.training.steps
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    last = last_checkpoint(folder)
    if start is not None:
        last = _adopted(start, last, folder, run, archive)
    if last is not None and _step_of(last) == steps:
        _forget_old(folder)
        _draw_figures(folder, last, sampler)
        return last

    model, optimiser, step, carried = _begun(last, sampler, run, device)
    _begin_log(folder, step, model, sampler, run.training)
    n_rewinds = 0
    while step < steps:
        try:
            loss = _step(model, optimiser, sampler, run.training, step, carried["rate_factor"])
        except _NotFinite as error:
            n_rewinds += 1
            factor = carried["rate_factor"] / 2
            if n_rewinds > MOST_REWINDS:
                good = f"the last good checkpoint is {last}" if last else "there is none yet"
                raise TrainingDiverged(
                    f"step {step + 1} gave {error}, and so it did at {MOST_REWINDS} lower rates; "
                    f"{good}: try a lower training.learning_rate"
                ) from error
            model, optimiser, begin, carried = _begun(last, sampler, run, device)
            carried["rate_factor"] = factor
            _begin_log(folder, begin, model, sampler, run.training)
            # Noted at the first step that is taken anew: a run that goes on from before it, or
            # from after it, has the same lines.
            row = {"step": begin + 1, "not_finite_at": step + 1, "rate_factor": factor}
            _log(folder / LOG, row)
            step = begin
            continue
        done = step + 1
        if done % LOG_EVERY == 0 or done == steps:
            _log(folder / LOG, {"step": done, "training_loss": loss})
        if done % run.training.checkpoint_every == 0 or done == steps:
            _log(folder / LOG, _as_row(evaluate(model, sampler, run.training, done)))
            last = _checkpoints(folder) / f"{done:08d}"
            facts = _provenance(done, archive) | carried
            save_checkpoint(last, model, run, facts, optimiser_state(optimiser))
            _forget_old(folder)
            n_rewinds = 0
        if progress is not None:
            progress(done, steps, loss)
        step = done
    assert last is not None
    _draw_figures(folder, last, sampler)
    return last


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of a run, or None where it has none yet."""
    whole = sorted(path for path in _checkpoints(folder).glob("[0-9]*") if path.is_dir())
    return whole[-1] if whole else None


def read_losses(folder: Path) -> tuple[list[dict[str, float]], list[Losses]]:
    """Read the log of a run.

    Returns
    -------
    training : list of dict
        ``step`` and ``training_loss``.
    evaluation : list of Losses

    Raises
    ------
    ValueError
        It is damaged.
    """
    file = folder / LOG
    if not file.exists():
        return [], []
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): use --fresh to train again") from error
    training = [row for row in rows if "training_loss" in row]
    return training, [Losses(**row) for row in rows if "loss" in row]


def read_rewinds(folder: Path) -> list[str]:
    """Return where a run went back to an earlier step, in sentences."""
    file = folder / LOG
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [
        f"Step {row['not_finite_at']:,} was not finite: the run went back to step "
        f"{row['step'] - 1:,}, and on at {row['rate_factor']:g} of the learning rate."
        for row in map(json.loads, lines)
        if "not_finite_at" in row
    ]


def make_batch(
    windows: Windows, model: MaskedAutoencoder, training: TrainingConfig, device: torch.device
) -> Batch:
    """Cut windows into patches and draw their masks."""
    grid = model.encoder.grid(windows.log_mel.shape[1])
    values = valid_values(
        torch.from_numpy(windows.n_frames), torch.from_numpy(windows.n_bands), grid
    )
    masks = draw_masks(
        valid_patches(values).numpy(),
        grid,
        ratio=training.mask_ratio,
        block_share=training.mask_block_share,
        generators=windows.generators,
    )
    log_mel = torch.from_numpy(windows.log_mel).to(device)
    return Batch(
        patches=patchify(model.encoder.standardised(log_mel, grid), grid),
        values=values.to(device),
        grid=grid,
        masks=Masks(visible=masks.visible.to(device), hidden=masks.hidden.to(device)),
    )


def batch_loss(model: MaskedAutoencoder, batch: Batch, training: TrainingConfig) -> Tensor:
    """Return the loss of a batch; the model in bfloat16 where that pays, the rest in float32."""
    device = batch.patches.device.type
    with torch.autocast(device, torch.bfloat16, enabled=has_fast_bfloat16(device)):
        drawn = model(batch.patches, batch.grid, batch.masks)  # (B, M, P)
    hidden, counted = hidden_values(batch.patches, batch.values, batch.masks)
    target, _, _ = targets(hidden, counted, training.target, training.target_damping)
    return masked_loss(drawn, target, counted)


@torch.no_grad()
def evaluate(
    model: MaskedAutoencoder, sampler: WindowSampler, training: TrainingConfig, step: int
) -> Losses:
    """Measure the loss and its baselines on windows and masks that are the same at every step.

    They come from the same recordings that are learned from, at other places: the loss tells how
    the learning goes, not how it would go elsewhere.
    """
    device = next(model.parameters()).device
    sums = np.zeros(3)
    for number in range(EVALUATION_BATCHES):
        windows = sampler.draw(EVALUATE, number, training.batch_size)
        batch = make_batch(windows, model, training, device)
        guesses = baseline_losses(
            batch.patches,
            batch.values,
            batch.grid,
            batch.masks,
            training.target,
            training.target_damping,
        )
        sums += (float(batch_loss(model, batch, training)), *guesses)
    loss, mean, interpolation = (round(float(value), 6) for value in sums / EVALUATION_BATCHES)
    return Losses(step=step, loss=loss, loss_mean=mean, loss_interpolation=interpolation)


def has_fast_bfloat16(device: str) -> bool:
    """Tell whether a device multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def make_optimiser(model: MaskedAutoencoder, training: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW; weights decay, biases and norms and the mask token do not."""
    decaying = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": decaying, "weight_decay": training.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )


def rate_share(step: int, steps: int, warmup_share: float) -> float:
    """Return the learning rate at a step as a share of its peak: linear warm-up, then cosine."""
    warm = max(1, round(warmup_share * steps))
    if step < warm:
        return (step + 1) / warm
    along = (step - warm) / max(1, steps - warm)
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * along))


def _step(
    model: MaskedAutoencoder,
    optimiser: torch.optim.AdamW,
    sampler: WindowSampler,
    training: TrainingConfig,
    step: int,
    rate_factor: float = 1.0,
) -> float:
    """Take one step and return its loss.

    Raises
    ------
    _NotFinite
    """
    device = next(model.parameters()).device
    share = rate_factor * rate_share(step, training.steps, training.warmup_share)
    for group in optimiser.param_groups:
        group["lr"] = training.learning_rate * share

    windows = sampler.draw(TRAIN, step, training.batch_size)
    loss = batch_loss(model, make_batch(windows, model, training, device), training)
    optimiser.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), training.gradient_clip)
    if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
        raise _NotFinite(f"a loss of {loss.item():g} and a gradient of {norm.item():g}")
    optimiser.step()
    return loss.item()


def _settled(folder: Path, sampler: WindowSampler, run: RunConfig) -> RunConfig:
    """Return the run with its number of steps, the same as before if it was begun before."""
    file = folder / RUN
    if file.exists():
        kept = read_config(file, RunConfig)
        different = _differences(kept, run)
        if different:
            raise ValueError(
                f"{folder} was begun with other settings: {', '.join(different)}; give the same, "
                "use --fresh to begin again (the old run is kept)"
            )
        return kept
    if run.training.steps == 0:
        training = replace(run.training, steps=_steps_in_minutes(sampler, run))
        run = replace(run, training=training)
    with NewFile(file) as path:
        path.write_text(to_toml(run), encoding="utf-8")
    return run


def _differences(kept: RunConfig, wanted: RunConfig) -> list[str]:
    """Return the settings of a run that are not as wanted, as section.name=value."""
    training = wanted.training
    if training.steps:
        training = replace(training, minutes=kept.training.minutes)
    elif training.minutes == kept.training.minutes:
        training = replace(training, steps=kept.training.steps)
    asked = to_mapping(replace(wanted, training=training))
    return [
        f"{section}.{name}={value}"
        for section, values in to_mapping(kept).items()
        for name, value in values.items()
        if asked[section][name] != value
    ]


def _steps_in_minutes(sampler: WindowSampler, run: RunConfig) -> int:
    """Time a few steps of a throw-away model and return how many fit into the minutes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = _new_model(sampler, run).to(device)
    optimiser = make_optimiser(model, run.training)
    trial = replace(run.training, steps=TRIAL_WARM_STEPS + TRIAL_STEPS)
    begun = time.perf_counter()
    for step in range(trial.steps):
        if step == TRIAL_WARM_STEPS:
            begun = time.perf_counter()
        _step(model, optimiser, sampler, trial, step)
    per_step_s = (time.perf_counter() - begun) / TRIAL_STEPS
    return max(LEAST_STEPS, int(run.training.minutes * 60 / per_step_s))


def _new_model(sampler: WindowSampler, run: RunConfig) -> MaskedAutoencoder:
    model = initialise(MaskedAutoencoder(run.model, run.picture), run.training.seed)
    mean, std = sampler.statistics()
    model.encoder.log_mel_mean.fill_(mean)
    model.encoder.log_mel_std.fill_(std)
    return model


def _adopted(start: Path, last: Path | None, folder: Path, run: RunConfig, archive: str) -> Path:
    """Return the last checkpoint of a run that begins with given weights; at first, step 0."""
    weights = weights_fingerprint(start)
    if last is not None:
        if load_provenance(last).get("from") != weights:
            raise ValueError(
                f"{folder} was begun with other weights than those of {start}: use --fresh to "
                "begin again (the old run is kept)"
            )
        return last
    model, given, _ = load_checkpoint(start)
    if (given.model, given.picture) != (run.model, run.picture):
        raise ValueError(
            f"{start} has a model or pictures of other settings than this run: see [model] and "
            f"[picture] in its {RUN}"
        )
    place = _checkpoints(folder) / f"{0:08d}"
    optimiser = make_optimiser(model, run.training)
    facts = _provenance(0, archive) | {"from": weights, "rate_factor": 1.0}
    save_checkpoint(place, model, run, facts, optimiser_state(optimiser))
    return place


def _begun(
    last: Path | None, sampler: WindowSampler, run: RunConfig, device: torch.device
) -> tuple[MaskedAutoencoder, torch.optim.AdamW, int, dict[str, Any]]:
    """Return model, optimiser, the next step, and what its checkpoints say of how it came here."""
    if last is None:
        model = _new_model(sampler, run).to(device)
        return model, make_optimiser(model, run.training), 0, {"rate_factor": 1.0}
    model, _, provenance = load_checkpoint(last)
    model = model.to(device)
    optimiser = make_optimiser(model, run.training)
    restore_optimiser(optimiser, load_optimiser(last))
    carried = {"rate_factor": provenance.get("rate_factor", 1.0)}
    carried |= {"from": provenance["from"]} if "from" in provenance else {}
    return model, optimiser, provenance["step"], carried


def _begin_log(
    folder: Path,
    step: int,
    model: MaskedAutoencoder,
    sampler: WindowSampler,
    training: TrainingConfig,
) -> None:
    """Cut the log to a step; begin it with the loss before the first."""
    _cut_log(folder / LOG, step)
    if step == 0:
        _log(folder / LOG, _as_row(evaluate(model, sampler, training, 0)))


def _provenance(step: int, archive: str) -> dict[str, Any]:
    return {
        "step": step,
        "archive": archive,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _checkpoints(folder: Path) -> Path:
    return folder / "checkpoints"


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name)


def _forget_old(folder: Path) -> None:
    """Keep the newest checkpoints only."""
    for path in sorted(_checkpoints(folder).glob("[0-9]*"))[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(path)


def _as_row(losses: Losses) -> dict[str, float]:
    return {
        "step": losses.step,
        "loss": losses.loss,
        "loss_mean": losses.loss_mean,
        "loss_interpolation": losses.loss_interpolation,
    }


def _log(file: Path, row: dict[str, float]) -> None:
    with open(file, "a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")


def _cut_log(file: Path, step: int) -> None:
    """Drop the lines after a step: they will be written again, and so will a torn last line."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if step and row["step"] <= step:
            kept.append(line + "\n")
    with NewFile(file) as path:
        path.write_text("".join(kept), encoding="utf-8")


def _draw_figures(folder: Path, checkpoint: Path, sampler: WindowSampler) -> None:
    """Draw curves.png and reconstruction.png unless they are there."""
    training, evaluation = read_losses(folder)
    if not (folder / "curves.png").exists():
        with NewFile(folder / "curves.png") as path:
            draw_curves(path, training, evaluation)
    if not (folder / "reconstruction.png").exists():
        model, run, _ = load_checkpoint(checkpoint)
        windows = sampler.draw(EVALUATE, 0, run.training.batch_size)
        batch = make_batch(windows, model.eval(), run.training, torch.device("cpu"))
        with NewFile(folder / "reconstruction.png") as path:
            draw_reconstruction(path, model, batch, run)
