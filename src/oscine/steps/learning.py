"""Pretraining: `plan`, `pretrain`, and `take_model` for a model that was trained elsewhere.

In comes an indexed workspace; out come a run and a report of its losses and health.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oscine.config import (
    OscineConfig,
    PictureConfig,
    read_config,
    to_mapping,
)
from oscine.workspace.catalogue import (
    Catalogue,
    Stage,
)
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    from oscine.model.checkpoint import RunConfig
    from oscine.training.log import Losses
    from oscine.training.plan import Plan
    from oscine.training.verdicts import Verdict
from oscine.steps.shared import (
    NOTE,
    RUN_NAME,
    Progress,
    alarms_of,
    archive_of,
    asked_config,
    at_work,
    heard_recordings,
    looked_at,
    needed,
    open_tape,
    seeds_of,
    telling_plainly,
)

GIVEN_RUN = "given"
LATE = 1.5
"""Times the minutes asked for, after which it is said that a run takes longer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainReport:
    """What was learned; the losses are on the same windows and masks."""

    run: str
    steps: int
    loss: float
    loss_mean: float
    loss_interpolation: float
    checkpoint: str
    health: list[Verdict]
    notes: list[str]


def pretrain(
    folder: Path,
    *,
    preset: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    name: str = RUN_NAME,
    fresh: bool = False,
    start: Path | None = None,
    settings: Iterable[str] = (),
    progress: Progress | None = None,
) -> PretrainReport:
    """Learn the archive by masked reconstruction.

    A run that is finished is kept, also when the archive has grown since; a run that was stopped
    goes on. Under torchrun the processes share each batch; the first of them writes, and reports
    what is wrong with the model.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    preset : str, optional
        How large the model is and how long it learns, as of :func:`oscine.config.with_preset`.
    minutes : float, optional
        Of training, about: turned into steps once, by a short trial. A machine that gets slower
        takes longer.
    steps : int, optional
        Instead of minutes.
    seed : int, optional
    name : str
        Of the run.
    fresh : bool
        Begin again; the old run is kept under a numbered name.
    start : Path, optional
        A checkpoint (or a run, or a workspace, for its newest) whose weights the run begins with;
        the model has the sizes of that one.
    settings : iterable of str
        Dotted overrides such as ``model.depth=6``; they go before the preset.
    progress : callable, optional

    Returns
    -------
    PretrainReport

    Raises
    ------
    ValueError
        Nothing is indexed, or the run was begun with other settings.
    TrainingDiverged
        A step was not finite.
    """
    from oscine.model.checkpoint import RUN, RunConfig
    from oscine.training.log import read_losses, read_signs
    from oscine.training.pretrain import pretrain as train
    from oscine.training.ranks import rank_number
    from oscine.training.verdicts import verdicts

    is_first = rank_number() == 0
    start, given, sizes = _begun_with(start)
    overrides = [*sizes, *_length(minutes, steps), *seeds_of(seed, "training"), *settings]
    hold = at_work if is_first else looked_at
    with hold(folder, overrides, preset, "training") as (workspace, catalogue, config):
        if start is not None and given is not None:
            _check_picture(start, given.picture, config)
        run_folder = workspace.run(name)
        own = None if start is None else _own_start(start, run_folder, fresh)
        run = RunConfig(picture=config.picture, model=config.model, training=config.training)
        archive = archive_of(catalogue)
        sampler = _sampler(workspace, catalogue, config)
        if fresh and is_first and run_folder.exists():
            aside = _set_aside(catalogue, run_folder)
            start = start if own is None else aside / own
        minutes = 0.0 if run.training.steps else run.training.minutes
        with fresh_no_more(fresh):
            last = train(
                run_folder,
                sampler,
                run,
                archive,
                _told_loss(progress, minutes),
                start=start,
                note=None if progress is None else partial(progress, NOTE, 0, 0),
            )
        rows, losses = read_losses(run_folder)
        if not losses:
            raise ValueError(f"{run_folder} has lost its log: use --fresh to train again")
        training = read_config(last / RUN, RunConfig).training  # with its number of steps
        health = verdicts(rows, losses, read_signs(run_folder), training)
        notes = []
        if is_first:
            _note_model(workspace, catalogue, name, last, losses[-1], health)
            notes = model_notes(catalogue)  # to the others the model may not be noted yet
        return _pretrain_report(workspace, name, last, losses[-1], health, notes)


def plan(
    folder: Path,
    *,
    preset: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    start: Path | None = None,
    settings: Iterable[str] = (),
    trial_s: float = 10.0,
    progress: Progress | None = None,
) -> Plan:
    """Foresee what :func:`pretrain` would take here, with the same arguments; write nothing.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    preset, minutes, steps, start, settings
        As in :func:`pretrain`.
    trial_s : float
        Seconds in which a throw-away model takes real steps.
    progress : callable, optional

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        Nothing is indexed, or the memory does not hold the model.
    """
    from oscine.model.checkpoint import RunConfig
    from oscine.training.plan import plan as foresee

    start, given, sizes = _begun_with(start)
    workspace = Workspace(folder)
    overrides = [*sizes, *_length(minutes, steps), *settings]
    _, config = asked_config(workspace, overrides, preset, "training")
    if start is not None and given is not None:
        _check_picture(start, given.picture, config)
    with workspace.catalogue() as catalogue:
        needed(catalogue, "index")
        n_frames = sum(row.n_frames for row in heard_recordings(catalogue))
        return foresee(
            _sampler(workspace, catalogue, config),
            RunConfig(picture=config.picture, model=config.model, training=config.training),
            archive_s=n_frames / config.picture.frames_per_s,
            disk_free_bytes=shutil.disk_usage(workspace.folder).free,
            trial_s=trial_s,
            progress=telling_plainly(progress, "plan"),
        )


def take_model(folder: Path, checkpoint: Path, *, settings: Iterable[str] = ()) -> PretrainReport:
    """Use a model that was trained elsewhere, in place of pretraining.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    checkpoint : Path
        A checkpoint, or a run or workspace for its newest; it is copied into the workspace.
    settings : iterable of str

    Returns
    -------
    PretrainReport
        Its losses on this archive.

    Raises
    ------
    ValueError
        It was trained on pictures made in another way.
    """
    from oscine.model.checkpoint import find_checkpoint, load_checkpoint
    from oscine.training.health import evaluate, measure
    from oscine.training.verdicts import verdicts

    checkpoint = find_checkpoint(checkpoint)
    model, run, provenance = load_checkpoint(checkpoint)
    with at_work(folder, settings) as (workspace, catalogue, config):
        _check_picture(checkpoint, run.picture, config)
        place = workspace.run(GIVEN_RUN) / "checkpoints" / f"{provenance['step']:08d}"
        if place.resolve() != checkpoint.resolve():
            shutil.rmtree(workspace.run(GIVEN_RUN), ignore_errors=True)
            shutil.copytree(checkpoint, place)
        sampler = _sampler(workspace, catalogue, config)
        at = model, sampler, run.training, provenance["step"]
        losses = evaluate(*at)
        health = verdicts([], [losses], [measure(*at)], run.training)
        _note_model(workspace, catalogue, GIVEN_RUN, place, losses, health)
        notes = model_notes(catalogue)
        return _pretrain_report(workspace, GIVEN_RUN, place, losses, health, notes)


def _begun_with(start: Path | None) -> tuple[Path | None, RunConfig | None, list[str]]:
    """Return the checkpoint that a run begins with, its run, and its sizes as dotted overrides."""
    from oscine.model.checkpoint import find_checkpoint, load_checkpoint

    if start is None:
        return None, None, []
    start = find_checkpoint(start)
    _, run, _ = load_checkpoint(start)
    return start, run, [f"model.{name}={value}" for name, value in to_mapping(run.model).items()]


def _length(minutes: float | None, steps: int | None) -> list[str]:
    """Return how long to train as dotted overrides."""
    if steps is not None:
        return [f"training.steps={steps}", "training.minutes=0"]
    if minutes is not None:
        return [f"training.minutes={float(minutes)}", "training.steps=0"]
    return []


def _told_loss(
    progress: Progress | None, minutes: float
) -> Callable[[int, int, float], None] | None:
    """Return what training tells its loss; where it takes far longer than asked it says so, once.

    Parameters
    ----------
    progress : callable, optional
    minutes : float
        That the steps were to take; 0 where their number was asked for.
    """
    if progress is None:
        return None
    first: tuple[int, float] | None = None
    is_said = minutes == 0

    def tell(done: int, total: int, loss: float) -> None:
        nonlocal first, is_said
        progress("pretrain", done, total, f"loss {loss:.3f}")
        if first is None or done <= first[0]:  # or it went back to a checkpoint
            first = done, time.monotonic()
        began, began_s = first
        taken_s = time.monotonic() - began_s
        if not is_said and done < total and taken_s > LATE * 60 * minutes * (total - began) / total:
            is_said = True
            left = taken_s / 60 / (done - began) * (total - done)
            progress(
                NOTE,
                0,
                0,
                f"the training takes longer than {minutes:g} min: the machine is slower than "
                f"in the trial that set the number of steps; {done:,} of {total:,} are done, for "
                f"the others it needs about {left:,.0f} min more; it may be stopped (Ctrl-C), and "
                "the same command goes on with it",
            )

    return tell


def _sampler(workspace: Workspace, catalogue: Catalogue, config: OscineConfig) -> Any:
    from oscine.training.windows import WindowSampler

    tape, recordings = open_tape(workspace, catalogue, config)
    return WindowSampler(tape, recordings, catalogue.events(), config.picture, config.training)


def _check_picture(checkpoint: Path, picture: PictureConfig, config: OscineConfig) -> None:
    if picture != config.picture:
        raise ValueError(
            f"{checkpoint} was trained on pictures made in another way (see [picture] in its "
            "run.toml): index into a new workspace with the same settings"
        )


@contextmanager
def fresh_no_more(fresh: bool) -> Iterator[None]:
    """Let what stops a run that was begun again say that the same command would do so once more."""
    from oscine.training.pretrain import TrainingDiverged

    try:
        yield
    except TrainingDiverged:
        raise  # there is nothing to go on with
    except (KeyboardInterrupt, OSError, RuntimeError) as error:
        if fresh:
            error.add_note("Leave out --fresh then: it would begin the training once more.")
        raise


def _own_start(start: Path, run_folder: Path, fresh: bool) -> Path | None:
    """Return where in a run the weights lie that it begins with; None if they lie elsewhere.

    Raises
    ------
    ValueError
        They are its own, and it is not begun again, or by several processes.
    """
    from oscine.training.ranks import rank_count

    inside, around = start.resolve(), run_folder.resolve()
    if not inside.is_relative_to(around):
        return None
    if not fresh:
        raise ValueError(
            f"{start} is a checkpoint of the run itself: leave out --from to go on with the run, "
            "or add --fresh to begin again with these weights"
        )
    if rank_count() > 1:
        # The others would look for it where the first moved it away.
        raise ValueError(
            f"{start} belongs to the run that --fresh sets aside, which is not possible with "
            "several processes: leave out --fresh and give the new run another --name"
        )
    return inside.relative_to(around)


def _set_aside(catalogue: Catalogue, run_folder: Path) -> Path:
    """Rename an old run to the first free number; if its model was in use, none is."""
    stage = catalogue.stage("pretrain")
    if stage is not None and stage.facts["run"] == run_folder.name:
        catalogue.set_stage("pretrain", replace(stage, finished=False))
    number = 1
    while (aside := run_folder.with_name(f"{run_folder.name}.{number}")).exists():
        number += 1
    run_folder.rename(aside)
    return aside


def _note_model(
    workspace: Workspace,
    catalogue: Catalogue,
    name: str,
    checkpoint: Path,
    losses: Losses,
    health: list[Verdict],
) -> None:
    """Note which model is in use."""
    from oscine.model.checkpoint import load_provenance, weights_fingerprint
    from oscine.training.verdicts import alarms

    weights = weights_fingerprint(checkpoint)
    facts = {
        "run": name,
        "checkpoint": checkpoint.relative_to(workspace.folder).as_posix(),
        "weights": weights,
        "archive": load_provenance(checkpoint)["archive"],
        "steps": losses.step,
        "loss": losses.loss,
        "loss_mean": losses.loss_mean,
        "loss_interpolation": losses.loss_interpolation,
        "alarms": alarms(health),
    }
    catalogue.set_stage("pretrain", Stage(fingerprint=weights, finished=True, facts=facts))


def _pretrain_report(
    workspace: Workspace,
    name: str,
    checkpoint: Path,
    losses: Losses,
    health: list[Verdict],
    notes: list[str],
) -> PretrainReport:
    from oscine.training.log import read_rewinds

    return PretrainReport(
        run=name,
        steps=losses.step,
        loss=losses.loss,
        loss_mean=losses.loss_mean,
        loss_interpolation=losses.loss_interpolation,
        checkpoint=str(checkpoint),
        health=health,
        notes=[*read_rewinds(workspace.run(name)), *notes],
    )


def model_notes(catalogue: Catalogue) -> list[str]:
    """Say what is wrong with the model in use, and where it was trained on other recordings."""
    notes = alarms_of(catalogue)
    if needed(catalogue, "pretrain").facts["archive"] != archive_of(catalogue):
        notes.append(
            "The model was trained on other recordings than the archive holds now; "
            "`oscine pretrain --fresh` trains it again."
        )
    return notes
