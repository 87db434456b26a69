"""Is it learning? Signs without labels.

In come a model and the sampler of its windows; out go losses beside their baselines.
"""

from __future__ import annotations

import numpy as np
import torch

from oscine.config import TrainingConfig
from oscine.model.autoencoder import MaskedAutoencoder, baseline_losses
from oscine.training.batches import batch_loss, make_batch
from oscine.training.log import Losses
from oscine.training.windows import EVALUATE, WindowSampler

EVALUATION_BATCHES = 4


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
