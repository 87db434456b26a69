"""Learns on tiny recordings as one of the processes of torchrun, for tests/test_ranks.py.

Arguments: where to write, the number of steps, and types to compute in.
"""

import sys
from dataclasses import replace
from pathlib import Path

import tiny
import torch
from safetensors.torch import save_file
from test_training import make_sampler

from oscine.training import batches
from oscine.training.learner import Learner, draw_parts
from oscine.training.ranks import joined_ranks


def learn(ranks, folder, dtype, n_steps, batch_size=32, micro_batch=0):
    """Return losses, and the gradient of the first step by name."""
    training = replace(tiny.TRAINING, batch_size=batch_size, micro_batch=micro_batch, steps=n_steps)
    # One of the recordings is shorter than a window: rows with fewer patches than others.
    tape = folder / f"tape-{dtype}-{ranks.number}"
    sampler = make_sampler(tape, [300, 200, 30], batch_size=32)
    model = tiny.model().to(dtype)
    learner = Learner(model, training, ranks)
    grid = model.encoder.grid(tiny.PICTURE.window_frames)
    losses, gradients = [], {}
    for step in range(n_steps):
        parts = draw_parts(sampler, step, grid, training, ranks)
        losses.append(learner.step(step, parts).loss)
        if step == 0:
            gradients = {name: each.grad.clone() for name, each in model.named_parameters()}
    return torch.stack(losses), gradients


if __name__ == "__main__":
    folder, n_steps = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    batches.has_fast_bfloat16 = lambda device: False  # in the type that was asked for
    with joined_ranks() as ranks:  # once: processes of one torchrun cannot meet twice
        for dtype in (getattr(torch, name) for name in sys.argv[3:]):
            losses, gradients = learn(ranks, folder, dtype, n_steps)
            found = {"losses": losses, **gradients}
            save_file(found, folder / f"{dtype}-{ranks.number}.safetensors")
