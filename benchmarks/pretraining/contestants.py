"""Who is compared: four models around one encoder, and the steps that train them.

In come the size of an encoder and an archive; out come trainers, alike but for decoder, type and
attention. Used by every part of ``benchmarks/pretrain.py``.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import record_function

from oscine.config import ModelConfig, OscineConfig
from oscine.model.autoencoder import MaskedAutoencoder, initialise
from oscine.picture.indexing import tape_fingerprint
from oscine.picture.tape import Tape
from oscine.training import batches
from oscine.training.batches import Batch, has_fast_bfloat16, make_batch
from oscine.training.pretrain import make_optimiser
from oscine.training.windows import TRAIN, WindowSampler
from oscine.workspace import Workspace

CONFIG = OscineConfig()
SIZES = {
    "128x4": CONFIG.model,
    "192x6": replace(CONFIG.model, width=192, depth=6, heads=3),
    "384x12": replace(
        CONFIG.model,
        width=384,
        depth=12,
        heads=6,
        decoder_width=256,
        decoder_depth=4,
        decoder_heads=8,
    ),
}
"""Our models by their encoders: a decoder of 96 x 2, for the large one 256 x 4."""
DEFAULT = "128x4"
OURS = "ours"
DATA, OPTIMISER = "data", "optimiser"
"""Parts of a step that a profile shows by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """A model, and how its steps are calculated.

    Attributes
    ----------
    name : str
    model : ModelConfig
    kind : torch.dtype
        Of what autocast allows; bfloat16 wherever `oscine pretrain` would take it.
    is_fused : bool
        Attention in one kernel, not in three products.
    wanted : float, optional
        How many times as fast ours is to be.
    """

    name: str
    model: ModelConfig
    kind: torch.dtype
    is_fused: bool = True
    wanted: float | None = None


def contestants(size: str) -> list[Contestant]:
    """Return who is compared at an encoder's size, ours first."""
    ours = SIZES[size]
    kind = torch.bfloat16 if has_fast_bfloat16(device().type) else torch.float32
    heavy = replace(ours, decoder_width=512, decoder_heads=16)
    return [
        Contestant(name=OURS, model=ours, kind=kind),
        Contestant(
            name="AudioMAE-shaped, 512 x 16",
            model=replace(heavy, decoder_depth=16),
            kind=kind,
            wanted=3.0,
        ),
        Contestant(
            name="Bird-MAE-shaped, 512 x 8",
            model=replace(heavy, decoder_depth=8),
            kind=kind,
            wanted=2.0,
        ),
        Contestant(
            name="ours, float32, attention not fused",
            model=ours,
            kind=torch.float32,
            is_fused=False,
        ),
    ]


class Trainer:
    """A contestant in training, step by step as `oscine pretrain` does it.

    Parameters
    ----------
    contestant : Contestant
    sampler : WindowSampler
    config : OscineConfig
        Its model is not looked at.
    """

    def __init__(
        self, contestant: Contestant, sampler: WindowSampler, config: OscineConfig
    ) -> None:
        self.contestant, self.training = contestant, config.training
        self._sampler = sampler
        model = initialise(MaskedAutoencoder(contestant.model, config.picture), self.training.seed)
        mean, std = sampler.statistics()
        model.encoder.log_mel_mean.fill_(mean)
        model.encoder.log_mel_std.fill_(std)
        self.model = model.to(device())
        self.optimiser = make_optimiser(self.model, self.training)
        self.forward = self.model
        self.n_steps = 0

    def step(self, rate_share: float = 1.0) -> float:
        """Take the next step, from drawing windows to the optimiser, and return its loss."""
        with record_function(DATA):
            batch = self.batch()
        return self.learn(batch, rate_share)

    def batch(self) -> Batch:
        """Draw the windows of the next step, cut them and draw their masks."""
        windows = self._sampler.draw(TRAIN, self.n_steps, self.training.batch_size)
        self.n_steps += 1
        return make_batch(windows, self.model, self.training, device())

    def learn(self, batch: Batch, rate_share: float = 1.0) -> float:
        """Learn from one batch and return its loss."""
        loss = self.loss(batch)
        with record_function(OPTIMISER):
            self.optimiser.zero_grad()
        loss.backward()
        with record_function(OPTIMISER):
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.gradient_clip)
            for group in self.optimiser.param_groups:
                group["lr"] = self.training.learning_rate * rate_share
            self.optimiser.step()
        return loss.item()

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a batch, calculated in the contestant's own way."""
        kind = self.contestant.kind
        attention = nullcontext() if self.contestant.is_fused else sdpa_kernel(SDPBackend.MATH)
        is_low = patch.object(batches, "has_fast_bfloat16", lambda _: kind == torch.bfloat16)
        with attention, is_low:
            return batches.batch_loss(self.forward, batch, self.training)


def open_sampler(workspace: Workspace, config: OscineConfig) -> WindowSampler:
    """Open the windows of an indexed archive; they may be longer than the default."""
    name = tape_fingerprint(CONFIG.picture, CONFIG.activity)
    with workspace.catalogue() as catalogue:
        tape = Tape(workspace.tape(name), config.picture, catalogue.tape_rows())
        rows = [row for row in catalogue.recordings() if row.n_frames]
        return WindowSampler(tape, rows, catalogue.events(), config.picture, config.training)


def made_trainer(contestant: Contestant, folder: Path, n_patches: int, batch_size: int) -> Trainer:
    """Return a trainer on windows of so many patches from an indexed archive."""
    frames = n_patches * contestant.model.patch_frames * contestant.model.patch_bands
    config = replace(
        CONFIG,
        picture=replace(CONFIG.picture, window_frames=frames // CONFIG.picture.n_mels),
        training=replace(CONFIG.training, batch_size=batch_size),
    )
    return Trainer(contestant, open_sampler(Workspace(folder), config), config)


def device() -> torch.device:
    """Return what `oscine pretrain` would train on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wait() -> None:
    """Wait until the device has done what it was given."""
    if device().type == "cuda":
        torch.cuda.synchronize()
