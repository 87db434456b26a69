"""A model that takes training steps: with the other ranks, in parts that fit into memory.

In come masked windows; out go changed weights and what the step showed. Called by the loop, and by
whoever times steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import (
    clip_grad_norm_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)

from oscine.config import TrainingConfig
from oscine.model.autoencoder import MaskedAutoencoder, initialise
from oscine.model.checkpoint import RunConfig
from oscine.model.patches import PatchGrid
from oscine.training.batches import MaskedWindows, draw, error_of, masked_windows, on_device
from oscine.training.ranks import Ranks
from oscine.training.windows import TRAIN, WindowSampler

LAST_RATE = 0.01
"""Learning rate at the last step, as a share of its peak."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What a step showed; on a GPU the figures may still be on their way.

    Attributes
    ----------
    loss, gradient_norm : Tensor [shape=()]
        Over all ranks; the norm is that before clipping.
    update_share : Tensor [shape=()] or None
        Norm of the change of the weights, as a share of their norm; where it was asked for.
    """

    loss: Tensor
    gradient_norm: Tensor
    update_share: Tensor | None


class Learner:
    """A model, its optimiser, and its ranks.

    The gradient is that of the whole batch, however it is shared: squared errors are divided by
    the number of hidden values in all parts on all ranks.

    Parameters
    ----------
    model : MaskedAutoencoder
    training : TrainingConfig
    ranks : Ranks
    rate_factor : float
        Of the learning rate.
    """

    def __init__(
        self,
        model: MaskedAutoencoder,
        training: TrainingConfig,
        ranks: Ranks,
        rate_factor: float = 1.0,
    ) -> None:
        self.model = model.to(ranks.device)
        self.optimiser = make_optimiser(self.model, training)
        self.rate_factor = rate_factor
        self._training = training
        self._ranks = ranks
        if training.compile:
            self.model.compile()
        # Measured by each rank for itself, statistics may differ in the last digit.
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            ranks.take_firsts(tensor.detach())

    def step(self, number: int, parts: Sequence[MaskedWindows], *, measured: bool = False) -> Step:
        """Take one step.

        Parameters
        ----------
        number : int
            Of the step, from 0: it sets the learning rate.
        parts : sequence of MaskedWindows
            This rank's share of the batch, as of :func:`draw_parts`.
        measured : bool
            Also measure how much the weights change, which takes a copy of them.

        Returns
        -------
        Step
        """
        training, ranks = self._training, self._ranks
        share = rate_share(number, training.steps, training.warmup_share)
        for group in self.optimiser.param_groups:
            group["lr"] = training.learning_rate * share * self.rate_factor

        n_values = sum(part.n_hidden_values for part in parts)
        n_in_all = ranks.total(torch.tensor(n_values, dtype=torch.float64, device=ranks.device))
        n_in_all = n_in_all.clamp(min=1).to(self.model.encoder.log_mel_std.dtype)
        self.optimiser.zero_grad()
        errors = []
        for part in parts:
            batch = on_device(part, self.model, ranks.device)
            error = error_of(draw(self.model, batch), batch, training)[0] / n_in_all
            error.backward()
            errors.append(error.detach())
        loss = ranks.total(torch.stack(errors).sum())
        if ranks.count > 1:
            self._add_gradients()
        norm = clip_grad_norm_(self.model.parameters(), training.gradient_clip)
        weights = [weight.detach() for weight in self.model.parameters()]
        before = [weight.clone() for weight in weights] if measured else []
        self.optimiser.step()
        update_share = None
        if measured:
            change = [now - then for now, then in zip(weights, before, strict=True)]
            update_share = get_total_norm(change) / get_total_norm(before)
        return Step(loss=loss, gradient_norm=norm.detach(), update_share=update_share)

    def _add_gradients(self) -> None:
        """Give each rank the sum of all gradients.

        As one vector, always of the same order: which rank is added to which first depends on the
        place in it, and where the order changed (as that of `DistributedDataParallel` does after
        its first step) a run that goes on would end with other bytes.
        """
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        vector_to_parameters(self._ranks.total(parameters_to_vector(gradients)), gradients)


def draw_parts(
    sampler: WindowSampler,
    step: int,
    grid: PatchGrid,
    training: TrainingConfig,
    ranks: Ranks,
) -> list[MaskedWindows]:
    """Draw this rank's share of a batch, in parts of ``training.micro_batch`` windows.

    Needs no model: it can be done while another batch is learned from.
    """
    samples = ranks.share(training.batch_size)
    size = training.micro_batch or len(samples)
    parts = [
        masked_windows(sampler.draw(TRAIN, step, samples[first : first + size]), grid, training)
        for first in range(0, len(samples), size)
    ]
    return [part.pinned() for part in parts] if ranks.device.type == "cuda" else parts


def new_model(sampler: WindowSampler, run: RunConfig) -> MaskedAutoencoder:
    """Return a model that has learned nothing, with the statistics of the archive's log-mel."""
    model = initialise(MaskedAutoencoder(run.model, run.picture), run.training.seed)
    mean, std = sampler.statistics()
    model.encoder.log_mel_mean.fill_(mean)
    model.encoder.log_mel_std.fill_(std)
    return model


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
