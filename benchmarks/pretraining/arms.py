"""The arms of ``sweep.py``: what each of them changes, and a loop that trains with the change.

An arm is the default configuration with one thing changed: a setting of Oscine, or one of the
parts below, which Oscine does not have. They stay here unless they win.

Axes: B batch, N patches, M hidden patches, P values in a patch, D width, T frames, F mel bands.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from oscine.config import OscineConfig, TrainingConfig, with_overrides
from oscine.embedding.backgrounds import QuietFrames
from oscine.embedding.choice import find_backgrounds
from oscine.embedding.intervals import FrameInterval
from oscine.model.autoencoder import Encoder, MaskedAutoencoder
from oscine.model.checkpoint import RunConfig
from oscine.model.masks import NO_PATCH, Masks, all_visible
from oscine.model.patches import PatchGrid, patchify, valid_patches
from oscine.picture.tape import TAPE_LOW, Tape
from oscine.training.batches import Batch, draw, has_fast_bfloat16, loss_of, make_batch
from oscine.training.learner import make_optimiser, new_model, rate_share
from oscine.training.windows import TRAIN, Windows, WindowSampler
from oscine.workspace.catalogue import EventRow, RecordingRow

BASELINE = "baseline"
CPU = torch.device("cpu")
SCHEDULE = 10_000
"""Parts of the processor time that the learning rate goes by."""
SPAN_FRAMES, SPAN_BANDS = 32, 16
"""How much masks of time spans and of frequency bands hide at a time."""
DISPERSION_SHARPNESS = 6.0
"""Of dispersion-weighted masks, per corpus deviation. With square patches 60 % of what is hidden is
then of the half of the patches that varies more (50 % at random, 67 % at most with ratio .75)."""
BACKGROUND_SNR_DB = (0.0, 20.0)
SLOW_FIRST, SLOW_LAST = 0.99, 0.999
"""Decay of the slow copy in a step. Runs are a thousand times shorter than those of M2D."""
PROBE_EVERY, PROBE_SIZE, PROBE_TIMES = 50, 256, 10


class Diverged(ArithmeticError):
    """A step was not finite; the message says which."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What Oscine cannot be told; the defaults change nothing.

    Attributes
    ----------
    masks : str
        One of ``MASK_SCORES``, in place of random patches and blocks.
    masks_per_clip : int
        Masks that are drawn of each window in a step.
    background_share : float
        Share of the windows that are seen before the quiet frames of another recording (rarely of
        the same), 0 to 20 dB below them; what must be drawn is the clean picture.
    latent_weight : float
        Of a second loss: the features that a slow copy of the encoder has of the hidden patches,
        of which it sees nothing but these, as in M2D (Niizumi et al. 2023, arXiv:2210.14648).
    muon_rate : float
        Peak rate of Muon for the matrices of the blocks, scaled to the size of AdamW's updates
        (arXiv:2502.16982); AdamW keeps all others.
    """

    masks: str = ""
    masks_per_clip: int = 1
    background_share: float = 0.0
    latent_weight: float = 0.0
    muon_rate: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """The default with one thing changed."""

    name: str
    overrides: tuple[str, ...] = ()
    parts: Parts = Parts()

    def run(self, seed: int) -> RunConfig:
        """Return the configuration of one run."""
        default = OscineConfig()
        run = RunConfig(picture=default.picture, model=default.model, training=default.training)
        return with_overrides(run, [*self.overrides, f"training.seed={seed}"])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Archive:
    """What was heard, the same for all arms."""

    tape: Tape
    recordings: list[RecordingRow]
    event_rows: list[EventRow]
    events: list[FrameInterval]
    windows: list[FrameInterval]
    fingerprint: str


def arm(name: str, *overrides: str, **parts: Any) -> Arm:
    """Return an arm."""
    return Arm(name=name, overrides=overrides, parts=Parts(**parts))


def patches(frames: int, bands: int) -> tuple[str, str]:
    """Return the overrides for one shape of patches."""
    return f"model.patch_frames={frames}", f"model.patch_bands={bands}"


def decoder(width: int, depth: int, heads: int) -> tuple[str, str, str]:
    """Return the overrides for one size of decoder."""
    return (
        f"model.decoder_width={width}",
        f"model.decoder_depth={depth}",
        f"model.decoder_heads={heads}",
    )


ALL = [
    arm(BASELINE),
    arm("patches-8-frames-16-bands", *patches(8, 16)),
    arm("patches-8-frames-32-bands", *patches(8, 32)),
    arm("patches-4-frames-64-bands", *patches(4, 64)),
    arm("mask-ratio-.3", "training.mask_ratio=0.3"),
    arm("mask-ratio-.5", "training.mask_ratio=0.5"),
    arm("mask-ratio-.65", "training.mask_ratio=0.65"),
    arm("mask-ratio-.8", "training.mask_ratio=0.8"),
    arm("targets-raw", "training.target=raw"),
    arm("targets-normalised", "training.target_damping=0.001"),
    arm("targets-damped-.3", "training.target_damping=0.3"),
    arm("masks-random", "training.mask_block_share=0.0"),
    arm("masks-blocks", "training.mask_block_share=1.0"),
    arm("masks-time", masks="time"),
    arm("masks-frequency", masks="frequency"),
    arm("masks-dispersion", masks="dispersion"),
    arm("decoder-96x1", *decoder(96, 1, 3)),
    arm("decoder-96x2", *decoder(96, 2, 3)),
    arm("decoder-96x4", *decoder(96, 4, 3)),
    arm("decoder-128x2", *decoder(128, 2, 4)),
    arm("masks-2-a-clip", "training.batch_size=8", masks_per_clip=2),
    arm("masks-4-a-clip", "training.batch_size=4", masks_per_clip=4),
    arm("batch-8", "training.batch_size=8"),
    arm("batch-32", "training.batch_size=32"),
    arm("batch-64", "training.batch_size=64"),
    arm("rate-.00075", "training.learning_rate=0.00075"),
    arm("rate-.003", "training.learning_rate=0.003"),
    arm("muon-.0015", muon_rate=0.0015),
    arm("muon-.0045", muon_rate=0.0045),
    arm("background-.5", background_share=0.5),
    arm("latent-.3", latent_weight=0.3),
    arm("latent-1", latent_weight=1.0),
    arm("window-128", "picture.window_frames=128"),
    arm("window-512", "picture.window_frames=512"),
    arm("active-0", "training.active_share=0.0"),
    arm("active-.4", "training.active_share=0.4"),
    arm("active-1", "training.active_share=1.0"),
    arm("encoder-192x4", "model.width=192"),
    arm("encoder-128x6", "model.depth=6"),
    arm("encoder-128x2", "model.depth=2"),
]
ARMS = {one.name: one for one in ALL}


def find_arm(name: str) -> Arm:
    """Return an arm by its name; ``a+b`` joins what two of them change.

    Raises
    ------
    ValueError
        There is no such arm, or two of them change the same thing.
    """
    names = name.split("+")
    for one in names:
        if one not in ARMS:
            raise ValueError(f"there is no arm {one!r}: known are {', '.join(ARMS)}")
    arms = [ARMS[one] for one in names]
    overrides = [one for joined in arms for one in joined.overrides]
    parts = [
        (field.name, getattr(one.parts, field.name))
        for one in arms
        for field in fields(Parts)
        if getattr(one.parts, field.name) != field.default
    ]
    changed = [one.partition("=")[0] for one in overrides] + [key for key, _ in parts]
    twice = {key for key in changed if changed.count(key) > 1}
    if twice:
        raise ValueError(f"the arms {name} cannot be joined: two change {', '.join(sorted(twice))}")
    return Arm(name=name, overrides=tuple(overrides), parts=Parts(**dict(parts)))


def train(
    run: RunConfig, parts: Parts, archive: Archive, budget_s: float
) -> tuple[MaskedAutoencoder, dict[str, Any]]:
    """Train for so many seconds of processor time, all threads counted.

    Everything that an arm needs counts, from measuring the mean of the log-mel on. Every 50 steps
    a fixed piece of work tells how fast the processor is just then; that does not count.

    Parameters
    ----------
    run : RunConfig
    parts : Parts
    archive : Archive
    budget_s : float
        0: the weights that training would begin with.

    Returns
    -------
    model : MaskedAutoencoder
    facts : dict
        What JSON can hold.

    Raises
    ------
    Diverged
    """
    training = run.training
    wall = time.perf_counter()
    begun, probing_s = time.process_time(), 0.0
    sampler = WindowSampler(
        archive.tape, archive.recordings, archive.event_rows, run.picture, training
    )
    model = new_model(sampler, run)
    slow = SlowCopy(model, training.seed) if parts.latent_weight else None
    optimisers = make_optimisers(model, run, parts.muon_rate)
    backgrounds = (
        find_backgrounds(archive.tape, archive.recordings, run.picture, training.seed)
        if parts.background_share
        else []
    )
    step, losses, latent, probes = 0, [], [], []

    def spent_s() -> float:
        return time.process_time() - begun - probing_s

    while (share := spent_s() / max(budget_s, 1e-9)) < 1:
        rate = rate_share(int(share * SCHEDULE), SCHEDULE, training.warmup_share)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * rate
        windows = repeated(sampler.draw(TRAIN, step, training.batch_size), parts.masks_per_clip)
        batch = make_batch(windows, model, training, CPU)
        if parts.masks:
            masks = draw_scored(batch, windows, training.mask_ratio, parts.masks)
            batch = replace(batch, masks=masks)
        seen = batch.patches
        if parts.background_share:
            mixed = with_backgrounds(windows, backgrounds, parts.background_share)
            picture = model.encoder.standardised(torch.from_numpy(mixed), batch.grid)
            seen = patchify(picture, batch.grid)
        loss, beside = both_losses(model, batch, seen, training, slow, parts.latent_weight)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), training.gradient_clip)
        if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
            raise Diverged(f"step {step + 1} gave a loss of {loss.item():g}, a gradient of {norm}")
        for optimiser in optimisers:
            optimiser.step()
        if slow is not None:
            slow.follow(model.encoder, share)
            latent.append(beside)
        losses.append(loss.item() - parts.latent_weight * beside)
        step += 1
        if step % PROBE_EVERY == 1:
            probes.append(probe_s())
            probing_s += probes[-1]
    processor_s = spent_s()
    if slow is not None:
        slow.leave(model)
    return model, {
        "steps": step,
        "windows": step * training.batch_size,
        "processor_s": round(processor_s, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
        "probe_ms": round(1e3 * median(probes), 3) if probes else None,
        "loss": curve(losses),
        **({"latent_loss": curve(latent), "latent_deviation": slow.deviation} if slow else {}),
    }


def make_optimisers(
    model: MaskedAutoencoder, run: RunConfig, muon_rate: float
) -> list[torch.optim.Optimizer]:
    """Return AdamW of all weights; or of what Muon does not take, and Muon."""
    adam = make_optimiser(model, run.training)
    optimisers: list[torch.optim.Optimizer] = [adam]
    if muon_rate:
        blocks = [model.encoder.blocks, model.decoder.blocks]
        matrices = [one for some in blocks for one in some.parameters() if one.ndim == 2]
        taken = {id(one) for one in matrices}
        for group in adam.param_groups:
            group["params"] = [one for one in group["params"] if id(one) not in taken]
        muon = torch.optim.Muon(
            matrices,
            lr=muon_rate,
            weight_decay=run.training.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        optimisers.append(muon)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers


def both_losses(
    model: MaskedAutoencoder,
    batch: Batch,
    seen: Tensor,
    training: TrainingConfig,
    slow: SlowCopy | None = None,
    latent_weight: float = 0.0,
) -> tuple[Tensor, float]:
    """Return the loss of a batch, and what it holds of the second loss, unweighted.

    Parameters
    ----------
    model : MaskedAutoencoder
    batch : Batch
        What must be drawn.
    seen : Tensor [shape=(B, N, P)]
        What the encoder is shown of: the same patches, or with a background.
    training : TrainingConfig
    slow : SlowCopy, optional
    latent_weight : float
    """
    drawn = draw(model, replace(batch, patches=seen))  # (B, M, P), with a slow copy (B, M, P + D)
    n_values = batch.patches.shape[-1]
    loss = loss_of(drawn[..., :n_values], batch, training)
    if slow is None:
        return loss, 0.0
    latent = slow.loss(drawn[..., n_values:], batch)
    return loss + latent_weight * latent, latent.item()


class SlowCopy:
    """A slow copy of the encoder that sees only the hidden patches, and what predicts it.

    The decoder's last layer is widened: beside the values of a hidden patch it gives a guess of
    the features that the copy has of it.
    """

    def __init__(self, model: MaskedAutoencoder, seed: int) -> None:
        self.encoder: Encoder = deepcopy(model.encoder).requires_grad_(False)
        self.deviation = 0.0
        """Of a feature over the hidden patches of the last batch: near 0, the copy has collapsed.
        """
        draw = model.decoder.draw
        wide = nn.Linear(draw.in_features, draw.out_features + model.config.width)
        generator = torch.Generator().manual_seed(seed)
        nn.init.xavier_uniform_(wide.weight, generator=generator)
        nn.init.zeros_(wide.bias)
        with torch.no_grad():
            wide.weight[: draw.out_features] = draw.weight
        model.decoder.draw = wide

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """Return what the copy makes of the hidden patches [shape=(B, M, D)], each normed."""
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16("cpu")):
            found = self.encoder(batch.patches, batch.grid, batch.masks.hidden)[0]
        return functional.layer_norm(found.float(), found.shape[-1:])

    def loss(self, guess: Tensor, batch: Batch) -> Tensor:
        """Return 2 - 2 cos of guess [shape=(B, M, D)] and features, over the hidden patches."""
        wanted = self.features(batch)
        real = batch.masks.hidden != NO_PATCH
        self.deviation = round(float(wanted[real].std(dim=0).mean()), 4)
        return (2 - 2 * functional.cosine_similarity(guess.float(), wanted, dim=-1))[real].mean()

    @torch.no_grad()
    def follow(self, encoder: Encoder, share: float) -> None:
        """Move towards the encoder that learns, ever more slowly; `share` of the run is over."""
        decay = 1 - (1 - SLOW_FIRST) * ((1 - SLOW_LAST) / (1 - SLOW_FIRST)) ** share
        for own, other in zip(self.encoder.parameters(), encoder.parameters(), strict=True):
            own.lerp_(other, 1 - decay)

    @torch.no_grad()
    def leave(self, model: MaskedAutoencoder) -> None:
        """Give the decoder its last layer back, as a model of Oscine has it."""
        wide = model.decoder.draw
        draw = nn.Linear(wide.in_features, wide.out_features - model.config.width)
        draw.weight.copy_(wide.weight[: draw.out_features])
        draw.bias.copy_(wide.bias[: draw.out_features])
        model.decoder.draw = draw


def repeated(windows: Windows, times: int) -> Windows:
    """Return each window so many times; its generator goes on, so that every mask is another."""
    return Windows(
        log_mel=np.repeat(windows.log_mel, times, axis=0),
        n_frames=np.repeat(windows.n_frames, times),
        n_bands=np.repeat(windows.n_bands, times),
        generators=tuple(one for one in windows.generators for _ in range(times)),
    )


def with_backgrounds(
    windows: Windows, backgrounds: Sequence[QuietFrames], share: float
) -> np.ndarray:
    """Return windows [shape=(B, T, F)], a share of them with the background of another recording.

    Its mean power over the bands of the window lies 0 to 20 dB below that of the window.
    """
    mixed = windows.log_mel.copy()
    rows = zip(mixed, windows.n_frames, windows.n_bands, windows.generators, strict=True)
    for picture, n_frames, n_bands, generator in rows:
        is_mixed, chosen, first, snr_db = generator.random(4)
        able = [one for one in backgrounds if one.recording.n_valid_bands >= n_bands]
        if is_mixed >= share or not able:
            continue
        noise = able[int(chosen * len(able))].log_mel
        order = (int(first * len(noise)) + np.arange(n_frames)) % len(noise)
        added = np.exp(noise[order, :n_bands])
        power = np.exp(picture[:n_frames, :n_bands])
        low, high = BACKGROUND_SNR_DB
        wanted = power.mean() / 10 ** ((low + (high - low) * snr_db) / 10)
        power += added * (wanted / added.mean())
        picture[:n_frames, :n_bands] = np.maximum(np.log(power), TAPE_LOW)
    return mixed


def draw_scored(batch: Batch, windows: Windows, ratio: float, kind: str) -> Masks:
    """Hide the share of each picture's valid patches that scores highest.

    As many as :func:`oscine.model.masks.draw_masks` hides.
    """
    n_frames, n_bands = torch.from_numpy(windows.n_frames), torch.from_numpy(windows.n_bands)
    valid = valid_patches(n_frames, n_bands, batch.grid).numpy()
    hidden = np.zeros_like(valid)
    dispersions = dispersion(batch.patches, batch.values)
    for row, is_valid, spread, generator in zip(
        hidden, valid, dispersions, windows.generators, strict=True
    ):
        able = np.flatnonzero(is_valid)
        n_hidden = min(round(ratio * len(able)), len(able) - 1)
        scores = MASK_SCORES[kind](batch.grid, generator, spread)[able]
        row[able[np.argsort(-scores, kind="stable")[:n_hidden]]] = True
    return Masks(visible=all_visible(valid & ~hidden), hidden=all_visible(hidden))


def dispersion(patches: Tensor, values: Tensor) -> np.ndarray:
    """Return the mean absolute deviation of the sound values of each patch [shape=(B, N)]."""
    count = values.sum(dim=-1).clamp(min=1)
    mean = (patches * values).sum(dim=-1, keepdim=True) / count[..., None]
    return (((patches - mean).abs() * values).sum(dim=-1) / count).numpy()


def time_scores(grid: PatchGrid, generator: np.random.Generator, _: np.ndarray) -> np.ndarray:
    """Give whole columns of patches one score, several that follow each other the same."""
    spans = _span_scores(grid.n_time, max(1, SPAN_FRAMES // grid.patch_frames), generator)
    return np.repeat(spans, grid.n_mel)


def frequency_scores(grid: PatchGrid, generator: np.random.Generator, _: np.ndarray) -> np.ndarray:
    """Give whole rows of patches one score."""
    spans = _span_scores(grid.n_mel, max(1, SPAN_BANDS // grid.patch_bands), generator)
    return np.tile(spans, grid.n_time)


def dispersion_scores(
    _: PatchGrid, generator: np.random.Generator, spread: np.ndarray
) -> np.ndarray:
    """Hide patches that vary rather than others: weights ``exp(sharpness * dispersion)``.

    With Gumbel noise the highest scores are a draw by weight, without replacement. After Niizumi
    et al. 2026 (arXiv:2603.23810), without their schedule.
    """
    return DISPERSION_SHARPNESS * spread + generator.gumbel(size=len(spread))


MASK_SCORES: dict[str, Callable[[PatchGrid, np.random.Generator, np.ndarray], np.ndarray]] = {
    "time": time_scores,
    "frequency": frequency_scores,
    "dispersion": dispersion_scores,
}


def _span_scores(n: int, length: int, generator: np.random.Generator) -> np.ndarray:
    """Return n scores, the same for so many that follow each other; the first span is cut."""
    shift = int(generator.integers(length))
    return generator.random(n // length + 2)[(np.arange(n) + shift) // length]


def curve(values: Sequence[float], n_points: int = 20) -> list[float]:
    """Return means over equal parts of the steps, the last is where the run ended."""
    return [round(float(part.mean()), 5) for part in np.array_split(values, n_points) if len(part)]


def probe_s() -> float:
    """Return the processor time of a fixed piece of work."""
    left = torch.full((PROBE_SIZE, PROBE_SIZE), 0.5)
    begun = time.process_time()
    for _ in range(PROBE_TIMES):
        torch.mm(left, left)
    return time.process_time() - begun
