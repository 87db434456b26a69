"""Learns on tiny recordings as one of the processes of torchrun, for tests/test_ranks.py.

Arguments: where to write, the type of the weights, and the number of steps.
"""

import sys
from dataclasses import replace
from pathlib import Path

import tiny
import torch
from safetensors.torch import save_file
from test_training import make_sampler

from oscine.training.learner import Learner, draw_parts
from oscine.training.ranks import joined_ranks


def learn(folder, dtype, n_steps, batch_size=32, micro_batch=0):
    """Return losses, and the gradient of the first step by name."""
    training = replace(tiny.TRAINING, batch_size=batch_size, micro_batch=micro_batch, steps=n_steps)
    with joined_ranks() as ranks:
        # One of the recordings is shorter than a window: rows with fewer patches than others.
        sampler = make_sampler(folder / f"tape-{ranks.number}", [300, 200, 30], batch_size=32)
        model = tiny.model().to(dtype)
        learner = Learner(model, training, ranks)
        grid = model.encoder.grid(tiny.PICTURE.window_frames)
        losses, gradients = [], {}
        for step in range(n_steps):
            parts = draw_parts(sampler, step, grid, training, ranks)
            losses.append(learner.step(step, parts).loss)
            if step == 0:
                gradients = {name: each.grad.clone() for name, each in model.named_parameters()}
        return ranks, torch.stack(losses), gradients


if __name__ == "__main__":
    folder, dtype, n_steps = Path(sys.argv[1]), getattr(torch, sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    ranks, losses, gradients = learn(folder, dtype, n_steps)
    save_file({"losses": losses, **gradients}, folder / f"{dtype}-{ranks.number}.safetensors")
