"""Masked reconstruction: one loop.

In come a sampler of windows and a configuration; out come checkpoints, a log and pictures in the
folder of the run. No label is within reach. Killed at any moment it goes on from its last
checkpoint and ends with the same weights.

Axes: B batch, N patches, M hidden patches, P values in a patch.
"""

from __future__ import annotations

import math
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from oscine.config import TrainingConfig, read_config, to_mapping, to_toml
from oscine.model.autoencoder import MaskedAutoencoder, initialise
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
from oscine.training import log
from oscine.training.batches import batch_loss, make_batch
from oscine.training.figures import draw_curves, draw_health, draw_reconstruction
from oscine.training.health import evaluate, measure
from oscine.training.windows import EVALUATE, TRAIN, WindowSampler
from oscine.workspace.arrays import NewFile

LOG_EVERY = 10
KEPT_CHECKPOINTS = 2
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
            log.append(folder / log.LOG, row)
            step = begin
            continue
        done = step + 1
        if done % LOG_EVERY == 0 or done == steps:
            log.append(folder / log.LOG, {"step": done, "training_loss": loss})
        if done % run.training.checkpoint_every == 0 or done == steps:
            log.append(folder / log.LOG, asdict(evaluate(model, sampler, run.training, done)))
            log.append(folder / log.LOG, asdict(measure(model, sampler, run.training, done)))
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
    """Cut the log to a step; begin it with loss and signs before the first."""
    log.cut(folder / log.LOG, step)
    if step == 0:
        log.append(folder / log.LOG, asdict(evaluate(model, sampler, training, 0)))
        log.append(folder / log.LOG, asdict(measure(model, sampler, training, 0)))


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


def _draw_figures(folder: Path, checkpoint: Path, sampler: WindowSampler) -> None:
    """Draw curves.png, health.png and reconstruction.png unless they are there."""
    training, evaluation = log.read_losses(folder)
    if not (folder / "curves.png").exists():
        with NewFile(folder / "curves.png") as path:
            draw_curves(path, training, evaluation)
    if not (folder / "health.png").exists():
        settings = read_config(folder / RUN, RunConfig).training
        with NewFile(folder / "health.png") as path:
            draw_health(path, training, evaluation, log.read_signs(folder), settings)
    if not (folder / "reconstruction.png").exists():
        model, run, _ = load_checkpoint(checkpoint)
        windows = sampler.draw(EVALUATE, 0, run.training.batch_size)
        batch = make_batch(windows, model.eval(), run.training, torch.device("cpu"))
        with NewFile(folder / "reconstruction.png") as path:
            draw_reconstruction(path, model, batch, run)
