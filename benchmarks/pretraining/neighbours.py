"""How good the frozen features are after equal time: kinds of ESC-50 clips, folds 1 and 2.

Every contestant hears the real recordings for the same processor time, all threads counted (on a
GPU: for the same time on the clock), in short turns; its learning rate goes down with the time
that it has spent. Then each clip is one vector behind Oscine's own readout, chosen and fitted
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
    Trainer,
    contestants,
    device,
    in_windows_of,
    open_sampler,
)

TURN_S = 5.0
LAST_STEPS = 100
UNTRAINED = "the same encoder, not trained"
Scores = dict[str, np.ndarray]


@dataclass(kw_only=True, slots=True)
class Pupil:
    """A contestant in training, the seconds that it has spent, and its last losses."""

    trainer: Trainer
    spent_s: float
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=LAST_STEPS))

    @property
    def has_failed(self) -> bool:
        """Tell whether a step was not finite."""
        return bool(self.losses) and not math.isfinite(self.losses[-1])

    def learn(self, until_s: float, budget_s: float) -> None:
        """Take steps until so much of its time is spent, or one is not finite."""
        while self.spent_s < until_s and not self.has_failed:
            begun = clock()
            self.trainer.step(int(SCHEDULE * self.spent_s / budget_s))
            self.losses.append(self.trainer.loss)
            self.spent_s += clock() - begun

    def facts(self) -> dict[str, Any]:
        """Return how far it came."""
        n_steps = self.trainer.n_steps
        return {
            "seconds": round(self.spent_s, 1),
            "windows": n_steps * self.trainer.training.batch_size,
            "last_training_loss": rounded(mean(self.losses)),
            "not_finite_at_step": n_steps if self.has_failed else None,
        }


def measure(
    data: Path, work: Path, size: str, n_patches: int, *, minutes: float, seeds: list[int]
) -> dict[str, Any]:
    """Train and score every contestant on windows of so many patches, once a seed."""
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
        score(UNTRAINED, Trainer(contestants(size)[0], open_sampler(workspace, config), config))
        for name, pupil in taught(workspace, size, minutes * 60, config).items():
            trained.setdefault(name, []).append(pupil.facts())
            if not pupil.has_failed:
                score(name, pupil.trainer)
    return {
        "protocol": "folds 1 and 2, each against the other",
        "encoder": size,
        "patches": n_patches,
        "minutes_each": minutes,
        "time_is": "on the clock" if device().type == "cuda" else "of the processor, all threads",
        "seeds": seeds,
        "contestants": {
            name: {"trained": facts} | scored(scores.get(OURS, []), scores.get(name, []))
            for name, facts in trained.items()
        }
        | {UNTRAINED: scored(scores.get(OURS, []), scores[UNTRAINED])},
    }


def taught(
    workspace: Workspace, size: str, budget_s: float, config: OscineConfig
) -> dict[str, Pupil]:
    """Train all contestants by turns, until each has spent its time."""
    pupils = {}
    for one in contestants(size):
        begun = clock()
        trainer = Trainer(one, open_sampler(workspace, config), config)
        pupils[one.name] = Pupil(trainer=trainer, spent_s=clock() - begun)
    for turn in range(1, int(np.ceil(budget_s / TURN_S)) + 1):
        for pupil in pupils.values():
            pupil.learn(min(turn * TURN_S, budget_s), budget_s)
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
