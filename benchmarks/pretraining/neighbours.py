"""How good the frozen features are after equal time: kinds of ESC-50 clips, folds 1 and 2.

Every contestant hears the real recordings for the same processor time, all threads counted (on a
GPU: for the same time on the clock), in short turns; its learning rate goes down with the time
that it has spent. Or each hears the same number of windows: that tells what a type costs from what
more windows bring. Then each clip is one vector behind Oscine's own readout, chosen and fitted
without labels on the archive, and looks for its kind in the other fold. Fold 3 is not asked. The
encoder that all begin with is scored too: after little time none may be above it.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from frozen_neighbours import (
    lead,
    listed,
    mean_of,
    read_labels,
    rounded,
    score_neighbours,
    tape_of,
    whole_clips,
)

from oscine import steps
from oscine.config import OscineConfig
from oscine.embedding.choice import choose_readout
from oscine.embedding.intervals import fit_sample, frame_intervals
from oscine.embedding.readout import fit_readout
from oscine.evaluation.features import encoded, hear
from oscine.model.autoencoder import Encoder
from oscine.workspace import Workspace
from pretraining.contestants import (
    CONFIG,
    OURS,
    SCHEDULE,
    SIZES,
    Contestant,
    Trainer,
    contestants,
    device,
    in_windows_of,
    open_sampler,
)

TURN_S = 5.0
TURN_WINDOWS = 640
LAST_STEPS = 100
UNTRAINED = "the same encoder, not trained"
Scores = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What each contestant may spend: so many seconds or, where they are given, windows."""

    seconds: float
    n_windows: int | None = None

    @property
    def n_turns(self) -> int:
        """Number of turns in which it is spent."""
        if self.n_windows is None:
            return math.ceil(self.seconds / TURN_S)
        return math.ceil(self.n_windows / TURN_WINDOWS)


@dataclass(kw_only=True, slots=True)
class Pupil:
    """A contestant in training, the seconds that it has spent, and its last losses."""

    trainer: Trainer
    budget: Budget
    spent_s: float
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=LAST_STEPS))

    @property
    def has_failed(self) -> bool:
        """Tell whether a step was not finite."""
        return bool(self.losses) and not math.isfinite(self.losses[-1])

    @property
    def n_windows(self) -> int:
        """Windows that it has heard."""
        return self.trainer.n_steps * self.trainer.training.batch_size

    @property
    def spent(self) -> float:
        """Share of its budget that it has spent."""
        if self.budget.n_windows is None:
            return self.spent_s / self.budget.seconds
        return self.n_windows / self.budget.n_windows

    def learn(self, until: float) -> None:
        """Take steps until such a share of its budget is spent, or one is not finite."""
        while self.spent < until and not self.has_failed:
            begun = clock()
            self.trainer.step(int(SCHEDULE * self.spent))
            self.losses.append(self.trainer.loss)
            self.spent_s += clock() - begun

    def facts(self) -> dict[str, Any]:
        """Return how far it came."""
        return {
            "seconds": round(self.spent_s, 1),
            "windows": self.n_windows,
            "last_training_loss": rounded(mean(self.losses)),
            "not_finite_at_step": self.trainer.n_steps if self.has_failed else None,
        }


def measure(
    data: Path,
    work: Path,
    size: str,
    n_patches: int,
    *,
    budget: Budget,
    seeds: list[int],
    ours_only: bool = False,
) -> dict[str, Any]:
    """Train and score every contestant on windows of so many patches, once a seed."""
    compared = [one for one in contestants(size) if one.model == SIZES[size] or not ours_only]
    workspace = indexed(data, work)
    labels = read_labels(data)
    scores: dict[str, list[Scores]] = {}
    trained: dict[str, list[dict[str, Any]]] = {}

    def score(name: str, trainer: Trainer) -> None:
        vectors = clip_vectors(workspace, trainer.model.encoder.cpu().eval())
        scores.setdefault(name, []).append(score_neighbours(vectors, labels, dev=True))

    for seed in seeds:
        training = replace(CONFIG.training, seed=seed)
        config = in_windows_of(n_patches, replace(CONFIG, training=training))
        score(UNTRAINED, Trainer(compared[0], open_sampler(workspace, config), config))
        for name, pupil in taught(workspace, compared, budget, config).items():
            trained.setdefault(name, []).append(pupil.facts())
            if not pupil.has_failed:
                score(name, pupil.trainer)
    return {
        "protocol": "folds 1 and 2, each against the other",
        "encoder": size,
        "patches": n_patches,
        "minutes_each": None if budget.n_windows else budget.seconds / 60,
        "windows_each": budget.n_windows,
        "time_is": "on the clock" if device().type == "cuda" else "of the processor, all threads",
        "seeds": seeds,
        "contestants": {
            name: {"trained": facts} | scored(scores.get(OURS, []), scores.get(name, []))
            for name, facts in trained.items()
        }
        | {UNTRAINED: scored(scores.get(OURS, []), scores[UNTRAINED])},
    }


def taught(
    workspace: Workspace, compared: list[Contestant], budget: Budget, config: OscineConfig
) -> dict[str, Pupil]:
    """Train all contestants by turns, until each has spent its budget."""
    pupils = {}
    for one in compared:
        begun = clock()
        trainer = Trainer(one, open_sampler(workspace, config), config)
        pupils[one.name] = Pupil(trainer=trainer, budget=budget, spent_s=clock() - begun)
    for turn in range(1, budget.n_turns + 1):
        for pupil in pupils.values():
            pupil.learn(turn / budget.n_turns)
    return pupils


def scored(ours: list[Scores], each: list[Scores]) -> dict[str, Any]:
    """Return how one contestant scored, over the seeds whose steps were all finite."""
    if not each:
        return {}
    found: dict[str, Any] = {key: rounded(mean_of(each, key)) for key in ("five_nn", "map")}
    if ours and each is not ours:
        found["ours_minus_this"] = {key: lead(ours, each, key) for key in ("five_nn", "map")}
    return found


def indexed(data: Path, work: Path) -> Workspace:
    """Index all recordings; those of an earlier benchmark are used again."""
    folder = work / "all-index"
    steps.index([listed(data, work / "all-recordings", "all")], folder)
    return Workspace(folder)


def clip_vectors(workspace: Workspace, encoder: Encoder) -> dict[str, np.ndarray]:
    """Return one vector for each recording, by path.

    The readout is chosen and fitted on events and windows of the archive, as `oscine embed` does.
    """
    tape = tape_of(workspace, CONFIG)
    with workspace.catalogue() as catalogue:
        recordings = catalogue.recordings()
        by_number = {row.recording_id: row for row in recordings}
        events = frame_intervals(catalogue.events(), by_number)
        windows = frame_intervals(catalogue.windows(), by_number)
    sample = fit_sample(events, windows, CONFIG.readout)
    config, _ = choose_readout(
        tape, encoder, CONFIG.readout, CONFIG.activity, events, sample, recordings
    )
    clips = whole_clips(workspace)
    fit_on, asked = (
        encoded(encoder, hear(tape, some, encoder, config), config) for some in (sample, clips)
    )
    readout = fit_readout(lambda start, stop: fit_on[start:stop], len(fit_on), config, "")
    return {one.recording.path: row for one, row in zip(clips, readout.vectors(asked), strict=True)}


def clock() -> float:
    """Return seconds of the processor, or on the clock where a GPU does the work."""
    return time.perf_counter() if device().type == "cuda" else time.process_time()
