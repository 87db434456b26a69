"""Learns as one of the processes of torchrun, with faults, for tests/test_ranks.py.

Argument: where to write. Each rank writes what became of each run as a line of JSON.
"""

import json
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import FRAMES, RUN, make_sampler, torn

from oscine.model.checkpoint import load_provenance, weights_fingerprint
from oscine.training.learner import Learner
from oscine.training.log import read_rewinds
from oscine.training.pretrain import pretrain
from oscine.training.ranks import joined_ranks
from oscine.training.windows import TRAIN, WindowSampler

# Gradients of so many values that the ranks add them up in pieces.
WIDE = replace(RUN, model=replace(RUN.model, width=64, decoder_width=64))
NUMBER = int(os.environ["RANK"])


class OnceFailing(WindowSampler):
    """Gives the last rank a window without a number in it, once."""

    is_failing = False

    def draw(self, stream, step, samples):
        windows = super().draw(stream, step, samples)
        if self.is_failing and (stream, step) == (TRAIN, 6):
            self.is_failing = False
            windows.log_mel[-1, FRAMES // 2] = np.nan
        return windows


def told(folder, sampler):
    """Learn, and write down how it ended."""
    last = pretrain(folder, sampler, WIDE, "archive")
    facts = {
        "weights": weights_fingerprint(last),
        "rate_factor": load_provenance(last)["rate_factor"],
        "rewinds": read_rewinds(folder),
    }
    with open(folder.parent / f"told-{NUMBER}.jsonl", "a", encoding="utf-8") as lines:
        lines.write(json.dumps(facts) + "\n")


def stop_at(folder, sampler, number):
    """Learn, and be stopped at a step, as all are that are killed together."""
    true_step = Learner.step

    def step(self, now, parts, *, measured=False):
        if now == number:
            raise KeyboardInterrupt
        return true_step(self, now, parts, measured=measured)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", step)
        with pytest.raises(KeyboardInterrupt):
            pretrain(folder, sampler, WIDE, "archive")


def learn(place):
    """Learn without a fault, and with one of each kind."""
    sampler = make_sampler(place / f"tape-{NUMBER}", [300, 200], kind=OnceFailing)
    told(place / "whole", sampler)

    stop_at(place / "stopped", sampler, 9)
    told(place / "stopped", sampler)

    stop_at(place / "damaged", sampler, 9)
    if NUMBER == 0:
        torn(place / "damaged" / "checkpoints" / "00000008" / "weights.safetensors")
    told(place / "damaged", sampler)

    sampler.is_failing = int(os.environ["WORLD_SIZE"]) - 1 == NUMBER
    told(place / "not-finite", sampler)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined_ranks() as ranks, pytest.MonkeyPatch.context() as patch:
        # Met once: processes of one torchrun cannot meet twice.
        patch.setattr("oscine.training.pretrain.joined_ranks", lambda: nullcontext(ranks))
        patch.setattr("oscine.training.pretrain._draw_figures", lambda *_: None)  # takes long
        learn(Path(sys.argv[1]))
