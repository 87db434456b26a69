"""Masked reconstruction: one loop.

In come a sampler of windows and a configuration; out come checkpoints, a log and pictures in the
folder of the run. No label is within reach. Killed at any moment it goes on from its last
checkpoint, stopped by hand from the step at hand, and ends with the same weights. Under torchrun
the processes share each batch, and the first one writes.
"""

from __future__ import annotations

import math
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oscine.config import read_config, to_mapping, to_toml
from oscine.model.autoencoder import MaskedAutoencoder
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
from oscine.model.patches import PatchGrid
from oscine.training import log
from oscine.training.ahead import Ahead
from oscine.training.batches import MaskedWindows
from oscine.training.figures import draw_curves, draw_health, draw_reconstruction
from oscine.training.health import evaluate, evaluation_batch, measure
from oscine.training.learner import Learner, Step, draw_parts, make_optimiser, new_model
from oscine.training.ranks import Ranks, is_out_of_memory, joined_ranks
from oscine.training.stopping import Stopped, asked_to_stop, ended_together
from oscine.training.windows import WindowSampler
from oscine.workspace.arrays import NewFile

LOG_EVERY = 10
LOOK_EVERY = {"cuda": LOG_EVERY, "cpu": 1}
"""Steps whose figures are looked at together: to look at them is to wait for a GPU."""
KEPT_CHECKPOINTS = 2
TRIAL_WARM_STEPS, TRIAL_STEPS = 3, 12
LEAST_STEPS = 20
STARVED_SHARE = 0.7
"""Of the time of a trial on processors: below this something else had them."""
MOST_REWINDS = 5
"""Times that the rate is halved in a run before it is given up."""
FREE_TO_DIFFER = ("micro_batch", "compile")
"""Settings of training that say how it is computed, not what: a run may go on with others."""

Progress = Callable[[int, int, float], None]


class TrainingDiverged(RuntimeError):
    """Steps gave losses or gradients that are not finite, at ever lower rates."""


class _NotFinite(ArithmeticError):
    """A step gave a loss or a gradient that is not finite; the message has both."""

    def __init__(self, step: int, loss: float, norm: float) -> None:
        super().__init__(f"a loss of {loss:g} and a gradient of {norm:g}")
        self.step = step


def pretrain(
    folder: Path,
    sampler: WindowSampler,
    run: RunConfig,
    archive: str,
    progress: Progress | None = None,
    *,
    start: Path | None = None,
    note: Callable[[str], None] | None = None,
) -> Path:
    """Train to the last step, from the last checkpoint if there is one.

    Where a step is not finite the run goes back to its last checkpoint, and on from there at half
    the learning rate; the log says so. Where the last checkpoint is damaged it is set aside, and
    the run goes on from the one before. Asked to stop (SIGINT, SIGTERM) it writes a checkpoint at
    the step at hand first, unless several processes learn together or it is asked again.

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
        Told the step, their number and the loss; by the first process only.
    start : Path, optional
        A checkpoint whose weights the run begins with, in place of new ones.
    note : callable, optional
        Told, in a sentence, where the trial cannot be trusted, and when it was asked to stop; by
        the first process only.

    Returns
    -------
    Path
        The last checkpoint.

    Raises
    ------
    TrainingDiverged
        A step was not finite, and the rate was halved ever so often in this run; the message
        names the last good checkpoint.
    ValueError
        The folder holds a run of other settings or of another start, or checkpoints that are all
        damaged or another run's.
    Stopped
        Somebody did; the message says from where it goes on.
    """
    with (
        joined_ranks() as ranks,
        _others_named(ranks, folder),
        _stop_told(folder),
        _together(ranks),
    ):
        ranks.meet()  # whatever the first did with the folder before is seen by all
        run = _settled(folder, sampler, run, ranks, note if ranks.is_first else None)
        this = _Run(folder, sampler, run, archive, ranks, progress if ranks.is_first else None)
        stopping = nullcontext([]) if ranks.count > 1 else asked_to_stop(note)
        last = this.last_good()
        if start is not None:
            last = this.adopted(start, last)
        if last is None or _step_of(last) < run.training.steps:
            with stopping as asked:
                last = this.to_the_end(last, asked)
        if ranks.is_first:
            this.forget_old()
            _draw_figures(folder, last, sampler)
        ranks.meet()
        return last


@contextmanager
def _others_named(ranks: Ranks, folder: Path) -> Iterator[None]:
    """Say in words that processes which learn together stop together, and what to do."""
    try:
        yield
    except TrainingDiverged:
        raise
    except (RuntimeError, MemoryError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        process = f"process {ranks.number + 1} of {ranks.count}" if ranks.count > 1 else "training"
        if is_out_of_memory(error):
            raise torch.OutOfMemoryError(
                f"{process} has too little memory for its share of a batch ({said}): take fewer "
                "windows at a time with --set training.micro_batch=NUMBER (--plan says how many "
                f"fit), and {_next_time(folder)}"
            ) from error
        if ranks.count == 1:
            raise
        raise RuntimeError(
            f"{process} stopped, perhaps because another did ({said}): {_next_time(folder)}"
        ) from error


def _next_time(folder: Path) -> str:
    """Say from where a run goes on that was ended at once."""
    last = last_checkpoint(folder)
    if last is None:
        return "run the same command again, which begins it again: there was no checkpoint yet"
    return (
        f"run the same command again: the training goes on from step {_step_of(last):,}, its last "
        "checkpoint"
    )


def _together(ranks: Ranks) -> AbstractContextManager[None]:
    """Hear a shutdown as processes that learn together do, if they are several."""
    return ended_together() if ranks.count > 1 else nullcontext()


@contextmanager
def _stop_told(folder: Path) -> Iterator[None]:
    """Say from where a run goes on that was stopped at once."""
    try:
        yield
    except Stopped:
        raise
    except KeyboardInterrupt as error:
        raise Stopped(f"stopped; {_next_time(folder)}") from error


@dataclass(frozen=True, slots=True)
class _Run:
    """A run on this rank."""

    folder: Path
    sampler: WindowSampler
    config: RunConfig
    archive: str
    ranks: Ranks
    progress: Progress | None

    def to_the_end(self, last: Path | None, asked: list[int]) -> Path:
        """Learn from a checkpoint, or from nothing, to the last step; return the last checkpoint.

        It stops once something is in the list.

        Raises
        ------
        TrainingDiverged
        Stopped
        """
        training = self.config.training
        learner, step, carried = self.begun(last)
        if not self.is_regular(step):
            # A run that was not stopped would go back to the one before, and so does this.
            regular = [path for path in _whole(self.folder) if self.is_regular(_step_of(path))]
            last = regular[-1] if regular else None
        while step < training.steps:
            with Ahead(self.draw, range(step, training.steps)) as coming:
                try:
                    while step < training.steps:
                        every = training.checkpoint_every
                        stop = min(training.steps, (step // every + 1) * every)
                        step = self.learn(learner, coming, step, stop, asked)
                        last = self.saved(learner, step, carried)
                        if asked:
                            raise Stopped(
                                f"stopped after step {step:,} of {training.steps:,}, which is "
                                "kept; run the same command again to go on from here"
                            )
                except _NotFinite as error:
                    factor = learner.rate_factor / 2
                    if factor < 2**-MOST_REWINDS:
                        raise self.diverged(error, last) from error
                    learner, step, carried = self.begun(last, factor)
                    # Noted at the first step that is taken anew: a run that goes on from before
                    # it, or from after it, has the same lines.
                    row = {"not_finite_at": error.step + 1, "rate_factor": factor}
                    self.note({"step": step + 1} | row)
        assert last is not None
        return last

    def draw(self, step: int) -> list[MaskedWindows]:
        """Return this rank's share of the batch of a step."""
        return draw_parts(self.sampler, step, self.grid(), self.config.training, self.ranks)

    def grid(self) -> PatchGrid:
        """Return the patches of a window."""
        model, picture = self.config.model, self.config.picture
        return PatchGrid.covering(
            picture.window_frames,
            picture.n_mels,
            patch_frames=model.patch_frames,
            patch_bands=model.patch_bands,
        )

    def learn(
        self,
        learner: Learner,
        coming: Ahead[list[MaskedWindows]],
        step: int,
        stop: int,
        asked: list[int],
    ) -> int:
        """Take the steps of a range, and log some of them; return where it was asked to stop.

        Raises
        ------
        _NotFinite
        """
        steps = self.config.training.steps
        look_every = LOOK_EVERY[self.ranks.device.type]
        unseen: list[Step] = []
        loss = math.nan
        began, waited_s = time.perf_counter(), coming.waited_s
        for number in range(step, stop):
            done = number + 1
            is_logged = done % LOG_EVERY == 0 or done == steps
            unseen.append(learner.step(number, coming.take(), measured=is_logged))
            # Once: who asks later, while figures are looked at, waits for a step more.
            if asked:
                stop = done
            if done % look_every == 0 or done == stop:
                loss, norm = _looked_at(unseen, done)
                if is_logged:
                    now = time.perf_counter()
                    row = {"step": done, "training_loss": loss, "gradient_norm": norm}
                    change = unseen[-1].update_share
                    assert change is not None
                    row["update_share"] = change.item()
                    waiting = (coming.waited_s - waited_s) / (now - began)
                    row[log.WAITING] = round(waiting, 4)
                    self.note(row)
                    began, waited_s = now, coming.waited_s
                unseen = []
            if self.progress is not None:
                self.progress(done, steps, loss)
            if done == stop:
                break
        return stop

    def is_regular(self, step: int) -> bool:
        """Tell whether a run has a checkpoint at a step also where nobody stops it."""
        training = self.config.training
        return step % training.checkpoint_every == 0 or step == training.steps

    def saved(self, learner: Learner, step: int, carried: dict[str, Any]) -> Path:
        """Write a checkpoint and return it; measure the loss too where there always is one."""
        place = _checkpoints(self.folder) / f"{step:08d}"
        if self.ranks.is_first:
            if self.is_regular(step):
                self.measured(learner.model, step)
            facts = self.provenance(step) | {"rate_factor": learner.rate_factor} | carried
            state = optimiser_state(learner.optimiser)
            save_checkpoint(place, learner.model, self.config, facts, state)
            self.forget_old()
        return place

    def forget_old(self) -> None:
        """Keep the newest checkpoints only, and one where the run was stopped while it is last."""
        whole = _whole(self.folder)
        regular = [path for path in whole if self.is_regular(_step_of(path))]
        for path in whole[:-1]:
            if path not in regular[-KEPT_CHECKPOINTS:]:
                shutil.rmtree(path)

    def begun(
        self, last: Path | None, rate_factor: float | None = None
    ) -> tuple[Learner, int, dict[str, Any]]:
        """Return the learner of a checkpoint, the next step, and what all checkpoints carry on."""
        training = self.config.training
        if last is None:
            model, step, carried = new_model(self.sampler, self.config), 0, {}
            provenance = {}
            learner = Learner(model, training, self.ranks, rate_factor or 1.0)
        else:
            model, _, provenance = load_checkpoint(last)
            step = provenance["step"]
            carried = {"from": provenance["from"]} if "from" in provenance else {}
            factor = rate_factor or provenance.get("rate_factor", 1.0)
            learner = Learner(model, training, self.ranks, factor)
            restore_optimiser(learner.optimiser, load_optimiser(last))
        if self.ranks.is_first:
            # Where the run was stopped after a step that it goes back behind: of another rate.
            for path in _whole(self.folder):
                if _step_of(path) > step:
                    shutil.rmtree(path)
            log.cut(self.folder / log.LOG, step)
            if step == 0:
                self.measured(learner.model, 0)
            elif provenance["archive"] != self.archive:
                # At the next step: a run that goes back to before it notes it again.
                self.note({"step": step + 1, "archive": self.archive})
        return learner, step, carried

    def last_good(self) -> Path | None:
        """Return the newest checkpoint that can be gone on from; damaged ones are set aside.

        Raises
        ------
        ValueError
            All are damaged, or one is another run's.
        """
        damaged: list[tuple[Path, ValueError]] = []
        good = None
        for path in reversed(_whole(self.folder)):
            try:
                _, found, _ = load_checkpoint(path)
                load_optimiser(path)
            except (ValueError, FileNotFoundError) as error:
                damaged.append((path, ValueError(str(error))))
                continue
            if _differences(found, self.config):
                raise ValueError(
                    f"{path} is a checkpoint of another run than {self.folder / RUN} tells of: "
                    "move it away, or use --fresh to begin again (the old run is kept)"
                )
            good = path
            break
        self.ranks.meet()  # all have looked before one is moved
        if damaged and good is None:
            raise ValueError(
                f"{damaged[0][1]}; there is no earlier one: use --fresh to begin again"
            )
        if damaged and good is not None and self.ranks.is_first:
            log.cut(self.folder / log.LOG, _step_of(good))
            for path, _ in damaged:
                aside = path.with_name(f"damaged-{path.name}")
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
                self.note({"step": _step_of(good), "damaged": aside.name})
        self.ranks.meet()
        return good

    def adopted(self, start: Path, last: Path | None) -> Path:
        """Return the last checkpoint of a run that begins with given weights; at first, step 0.

        Raises
        ------
        ValueError
            The run was begun with others, or they are of other sizes.
        """
        weights = weights_fingerprint(start)
        if last is not None:
            if load_provenance(last).get("from") != weights:
                raise ValueError(
                    f"{self.folder} was begun with other weights than those of {start}: use "
                    "--fresh to begin again (the old run is kept)"
                )
            return last
        model, given, _ = load_checkpoint(start)
        if (given.model, given.picture) != (self.config.model, self.config.picture):
            raise ValueError(
                f"{start} has a model or pictures of other settings than this run: see [model] "
                f"and [picture] in its {RUN}"
            )
        place = _checkpoints(self.folder) / f"{0:08d}"
        if self.ranks.is_first:
            facts = self.provenance(0) | {"from": weights, "rate_factor": 1.0}
            state = optimiser_state(make_optimiser(model, self.config.training))
            save_checkpoint(place, model, self.config, facts, state)
        self.ranks.meet()
        return place

    def provenance(self, step: int) -> dict[str, Any]:
        """Return how a checkpoint comes about."""
        return {
            "step": step,
            "archive": self.archive,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "ranks": self.ranks.count,
        }

    def measured(self, model: MaskedAutoencoder, step: int) -> None:
        """Log how the model does on the windows of the evaluation, and the signs of its health."""
        at = model, self.sampler, self.config.training, step
        self.note(asdict(evaluate(*at)))
        self.note(asdict(measure(*at)))

    def note(self, row: dict[str, Any]) -> None:
        """Log a row, on the first rank."""
        if self.ranks.is_first:
            log.append(self.folder / log.LOG, row)

    def diverged(self, error: _NotFinite, last: Path | None) -> TrainingDiverged:
        """Return what is said of a run that is given up."""
        good = f"the last good checkpoint is {last}" if last else "there is none yet"
        return TrainingDiverged(
            f"step {error.step + 1} gave {error}, and the rate was halved {MOST_REWINDS} times "
            f"before; {good}: begin again (--fresh) at a lower training.learning_rate"
        )


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of a run, or None where it has none yet."""
    whole = _whole(folder)
    return whole[-1] if whole else None


def _looked_at(steps: list[Step], done: int) -> tuple[float, float]:
    """Return loss and gradient norm of the last of some steps, all of which must be finite.

    Raises
    ------
    _NotFinite
    """
    figures: Tensor = torch.stack(
        [torch.stack([one.loss, one.gradient_norm.to(one.loss)]) for one in steps]
    )
    loss = norm = math.nan
    for number, (loss, norm) in enumerate(figures.tolist(), start=done - len(steps)):
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise _NotFinite(number, loss, norm)
    return loss, norm


def _settled(
    folder: Path,
    sampler: WindowSampler,
    run: RunConfig,
    ranks: Ranks,
    note: Callable[[str], None] | None,
) -> RunConfig:
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
        free = {name: getattr(run.training, name) for name in FREE_TO_DIFFER}
        return replace(kept, training=replace(kept.training, **free))
    if run.training.steps == 0:
        steps, share = _steps_in_minutes(sampler, run, ranks)
        run = replace(run, training=replace(run.training, steps=steps))
        if note is not None and ranks.device.type == "cpu" and share < STARVED_SHARE:
            note(
                f"the trial that set the number of steps ({steps:,}) had a processor in "
                f"{share:.0%} of its time: this machine is busy, or reads slowly, and the "
                "training may be far shorter than asked for; --fresh begins it again"
            )
    ranks.meet()  # all have seen that there was no file
    if ranks.is_first:
        with NewFile(file) as path:
            path.write_text(to_toml(run), encoding="utf-8")
    ranks.meet()
    return read_config(file, RunConfig)  # as the first counted the steps


def _differences(kept: RunConfig, wanted: RunConfig) -> list[str]:
    """Return the settings of a run that are not as wanted, as section.name=value."""
    training = wanted.training
    if training.steps:
        training = replace(training, minutes=kept.training.minutes)
    elif training.minutes == kept.training.minutes:
        training = replace(training, steps=kept.training.steps)
    training = replace(training, **{name: getattr(kept.training, name) for name in FREE_TO_DIFFER})
    asked = to_mapping(replace(wanted, training=training))
    return [
        f"{section}.{name}={value}"
        for section, values in to_mapping(kept).items()
        for name, value in values.items()
        if asked[section][name] != value
    ]


def _steps_in_minutes(sampler: WindowSampler, run: RunConfig, ranks: Ranks) -> tuple[int, float]:
    """Time a few steps of a throw-away model and return how many fit into the minutes.

    The other figure is the time of all processors over that of the clock.
    """
    trial = replace(run.training, steps=TRIAL_WARM_STEPS + TRIAL_STEPS)
    this = _Run(Path(), sampler, replace(run, training=trial), "", ranks, None)
    learner = Learner(new_model(sampler, run), trial, ranks)
    began, worked = time.perf_counter(), time.process_time()
    with Ahead(this.draw, range(trial.steps)) as coming:
        for step in range(trial.steps):
            if step == TRIAL_WARM_STEPS:
                began, worked = time.perf_counter(), time.process_time()
            learner.step(step, coming.take()).loss.item()
    took_s, worked_s = time.perf_counter() - began, time.process_time() - worked
    fitting = int(run.training.minutes * 60 * TRIAL_STEPS / took_s)
    return max(LEAST_STEPS, fitting), worked_s / took_s


def _checkpoints(folder: Path) -> Path:
    return folder / "checkpoints"


def _whole(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the newest last."""
    return sorted(path for path in _checkpoints(folder).glob("[0-9]*") if path.is_dir())


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name)


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
        batch = evaluation_batch(model.eval(), sampler, run.training, 0)
        with NewFile(folder / "reconstruction.png") as path:
            draw_reconstruction(path, model, batch, run)
