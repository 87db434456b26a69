"""Who is compared: four models around one encoder, and the steps that train them.

In come the size of an encoder and an archive; out come trainers, alike but for decoder, type and
attention. Used by every part of ``benchmarks/pretrain.py``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import record_function

from oscine.config import ModelConfig, OscineConfig
from oscine.model.checkpoint import RunConfig
from oscine.picture.tape import Tape, tape_fingerprint
from oscine.training import batches
from oscine.training.ahead import Ahead
from oscine.training.batches import has_fast_bfloat16
from oscine.training.learner import Learner, draw_parts, new_model
from oscine.training.pretrain import LOG_EVERY
from oscine.training.ranks import Ranks
from oscine.training.windows import WindowSampler
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
"""Our models by their encoders: a decoder of 64 x 1, for the large one 256 x 4."""
DEFAULT = "128x4"
OURS = "ours"
WAITING = "waiting for windows"
SCHEDULE = 10_000
"""Places of the learning rate between the first and the last step."""


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
    """A contestant in training: the steps of `oscine pretrain`, one by one, windows drawn ahead.

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
        self.contestant = contestant
        self.training = replace(config.training, steps=SCHEDULE)
        model = new_model(
            sampler,
            RunConfig(picture=config.picture, model=contestant.model, training=self.training),
        )
        ranks = Ranks(number=0, count=1, device=device())
        grid = model.encoder.grid(config.picture.window_frames)
        self.model = model
        self._learner = Learner(model, self.training, ranks)
        self._coming = Ahead(
            lambda number: draw_parts(sampler, number, grid, self.training, ranks),
            range(sys.maxsize),
        )
        self.n_steps = 0
        self.loss = math.nan

    def step(self, place: int = SCHEDULE // 2) -> None:
        """Take the next step, at some place of the schedule of the learning rate."""
        is_logged = self.n_steps % LOG_EVERY == 0
        with record_function(WAITING):
            parts = self._coming.take()
        with self._own_way():
            taken = self._learner.step(place, parts, measured=is_logged)
        self.n_steps += 1
        if is_logged or device().type == "cpu":  # to look at a figure is to wait for a GPU
            self.loss = taken.loss.item()

    @contextmanager
    def _own_way(self) -> Iterator[None]:
        """Calculate in the contestant's type, and with its attention."""
        is_low = self.contestant.kind == torch.bfloat16
        attention = nullcontext() if self.contestant.is_fused else sdpa_kernel(SDPBackend.MATH)
        with attention, patch.object(batches, "has_fast_bfloat16", lambda _: is_low):
            yield


def open_sampler(workspace: Workspace, config: OscineConfig) -> WindowSampler:
    """Open the windows of an indexed archive; they may be longer than the default."""
    name = tape_fingerprint(CONFIG.picture, CONFIG.activity)
    with workspace.catalogue() as catalogue:
        tape = Tape(workspace.tape(name), config.picture, catalogue.tape_rows())
        rows = [row for row in catalogue.recordings() if row.n_frames]
        return WindowSampler(tape, rows, catalogue.events(), config.picture, config.training)


def made_trainer(
    contestant: Contestant, folder: Path, n_patches: int, batch_size: int, *, compiled: bool = False
) -> Trainer:
    """Return a trainer on windows of so many patches from an indexed archive."""
    training = replace(CONFIG.training, batch_size=batch_size, compile=compiled)
    config = in_windows_of(n_patches, replace(CONFIG, training=training))
    return Trainer(contestant, open_sampler(Workspace(folder), config), config)


def in_windows_of(n_patches: int, config: OscineConfig) -> OscineConfig:
    """Return settings under which a window has so many patches."""
    n_values = n_patches * config.model.patch_frames * config.model.patch_bands
    frames = n_values // config.picture.n_mels
    return replace(config, picture=replace(config.picture, window_frames=frames))


def device() -> torch.device:
    """Return what `oscine pretrain` would train on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wait() -> None:
    """Wait until the device has done what it was given."""
    if device().type == "cuda":
        torch.cuda.synchronize()
