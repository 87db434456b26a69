"""Is it learning? Signs without labels.

In come a model and the sampler of its windows; out go losses beside their baselines, and signs of
what the features are like. Called by the loop at every evaluation, and by the step that takes a
model from elsewhere; :mod:`oscine.training.verdicts` says what they mean.

Axes: B batch, N patches, M hidden patches, P values in a patch, D width.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from oscine.config import TrainingConfig
from oscine.model.autoencoder import Encoder, MaskedAutoencoder, baseline_losses
from oscine.model.geometry import geometry
from oscine.model.masks import NO_PATCH, all_visible
from oscine.model.patches import patchify, valid_patches
from oscine.training.batches import Batch, draw, loss_of, make_batch
from oscine.training.log import Losses, Signs
from oscine.training.windows import EVALUATE, Windows, WindowSampler

EVALUATION_BATCHES = 4
LEVELS = 4
"""Quarters of the hidden patches, from the quietest to the loudest."""
SAMPLE_WINDOWS = 64
"""At most, of a batch: more tell little more, and other processes wait for it."""
SAMPLE_PLACES = 32
"""Patches of a window whose features are looked at, spread evenly over its places."""
QUIET_PATCHES = 4
"""Length of a stretch of quiet frames: what a song or a pause of half a second leaves."""
MOST_RATIO = 1e6
"""Stands for infinity, which JSON does not know."""


@torch.no_grad()
def evaluate(
    model: MaskedAutoencoder, sampler: WindowSampler, training: TrainingConfig, step: int
) -> Losses:
    """Measure the loss and its baselines on windows and masks that are the same at every step.

    They come from the same recordings that are learned from, at other places: the loss tells how
    the learning goes, not how it would go elsewhere.
    """
    sums = np.zeros((1 + LEVELS, 3))
    for number in range(EVALUATION_BATCHES):
        batch = evaluation_batch(model, sampler, training, number)
        drawn = _drawn(model, batch, training)
        for part, values in enumerate([batch.values, *_values_by_level(batch)]):
            only = replace(batch, values=values)
            guesses = _baselines(only, training)
            sums[part] += (float(loss_of(drawn, only, training)), *guesses)
    means = [[round(float(value), 6) for value in row] for row in sums / EVALUATION_BATCHES]
    loss, mean, interpolation = means[0]
    by_level, mean_by_level, interpolation_by_level = zip(*means[1:], strict=True)
    return Losses(
        step=step,
        loss=loss,
        loss_mean=mean,
        loss_interpolation=interpolation,
        by_level=by_level,
        mean_by_level=mean_by_level,
        interpolation_by_level=interpolation_by_level,
    )


@torch.no_grad()
def measure(
    model: MaskedAutoencoder, sampler: WindowSampler, training: TrainingConfig, step: int
) -> Signs:
    """Measure the signs of health on windows that are the same at every step.

    Takes about a second for the default model on one core.
    """
    vectors, places = _patch_features(model.encoder, sampler, training)
    vectors, centred = _centred(vectors, places)
    length = np.sqrt(np.square(vectors).sum(axis=1).mean())
    spread = float(np.sqrt(np.square(centred).sum(axis=1).mean()) / max(length, 1e-12))
    whole, content = geometry(vectors), geometry(centred)
    # Where nothing differs, or nothing is there, no dimension can stand out.
    rogue_ratio = min(content.rogue_ratio, MOST_RATIO) if spread > 1e-6 else 1.0
    rogue_offset = min(whole.rogue_ratio, MOST_RATIO) if length > 1e-6 else 1.0
    background = _background(model, sampler, training)
    change, shuffled_loss = _leak(model, sampler, training)
    return Signs(
        step=step,
        effective_rank=round(content.effective_rank, 4),
        first_share=round(content.first_share, 4),
        spread=round(spread, 6),
        # Vectors of zeros point nowhere: they are all alike.
        mean_cosine=round(float(np.nan_to_num(whole.mean_cosine, nan=1.0)), 6),
        rogue_ratio=round(rogue_ratio, 2),
        rogue_offset=round(rogue_offset, 2),
        background_identity=background[0],
        background_in_sound=background[1],
        background_chance=background[2],
        hidden_change=round(change, 8),
        shuffled_loss=round(shuffled_loss, 4),
    )


def evaluation_batch(
    model: MaskedAutoencoder, sampler: WindowSampler, training: TrainingConfig, number: int
) -> Batch:
    """Return a batch that is not learned from, where the model is; of a large one, a sample."""
    windows = sampler.draw(EVALUATE, number, min(training.batch_size, SAMPLE_WINDOWS))
    return make_batch(windows, model, training, next(model.parameters()).device)


def _drawn(model: MaskedAutoencoder, batch: Batch, training: TrainingConfig) -> Tensor:
    """Return drawings (B, M, P), made of as many windows at once as steps are."""
    parts = [
        replace(
            batch,
            patches=batch.patches[rows],
            values=batch.values[rows],
            masks=replace(
                batch.masks, visible=batch.masks.visible[rows], hidden=batch.masks.hidden[rows]
            ),
        )
        for rows in _parts(len(batch.patches), training)
    ]
    return torch.cat([draw(model, part) for part in parts])


def _parts(n_windows: int, training: TrainingConfig) -> list[slice]:
    """Return windows in parts that fit into the memory, as those of a step do."""
    size = training.micro_batch or n_windows
    return [slice(first, first + size) for first in range(0, n_windows, size)]


def _values_by_level(batch: Batch) -> list[Tensor]:
    """Return the values that count [shape=(B, N, P)] for each quarter of the hidden patches.

    A patch's level is how far its mean lies above the lowest in its row of the window: quiet
    patches are background, whatever the gain. The quarters are of patches, not of windows, since
    most of a window with a call in it is background.
    """
    values, grid = batch.values, batch.grid
    count = values.sum(dim=-1)
    mean = (batch.patches * values).sum(dim=-1) / count.clamp(min=1)  # (B, N)
    rows = mean.masked_fill(count == 0, torch.inf).unflatten(1, (grid.n_time, grid.n_mel))
    level = (rows - rows.amin(dim=1, keepdim=True)).flatten(1)

    is_hidden = torch.zeros_like(level, dtype=torch.bool)
    for row, hidden in zip(is_hidden, batch.masks.hidden, strict=True):
        row[hidden[hidden != NO_PATCH]] = True
    order = level[is_hidden].argsort(stable=True)
    quarter = torch.empty_like(order)
    quarter[order] = torch.arange(len(order), device=order.device) * LEVELS // max(1, len(order))
    quarters = torch.full_like(level, -1, dtype=torch.int64)
    quarters[is_hidden] = quarter
    # What is visible stays, to be interpolated from.
    return [values & (~is_hidden | (quarters == number))[..., None] for number in range(LEVELS)]


def _baselines(batch: Batch, training: TrainingConfig) -> tuple[float, float]:
    return baseline_losses(
        batch.patches,
        batch.values,
        batch.grid,
        batch.masks,
        training.target,
        training.target_damping,
    )


def _patch_features(
    encoder: Encoder, sampler: WindowSampler, training: TrainingConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return features of single patches, and the places in the window where they stand.

    Single patches and not means over windows: where the windows of an archive differ in loudness
    only, their means have one direction however well the model is.
    """
    found, places = [], []
    n_windows = min(training.batch_size, SAMPLE_WINDOWS)
    for number in range(-(-SAMPLE_WINDOWS // n_windows)):
        windows = sampler.draw(EVALUATE, number, n_windows)
        features, patches = _features(encoder, windows, training)
        n_places = encoder.grid(windows.log_mel.shape[1]).n_patches
        wanted = np.unique(np.linspace(0, n_places - 1, SAMPLE_PLACES).round())
        is_wanted = np.isin(patches, wanted)
        found.append(features[is_wanted])
        places.append(patches[is_wanted])
    return np.concatenate(found), np.concatenate(places)


def _features(
    encoder: Encoder, windows: Windows, training: TrainingConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return the last layer of whole windows (B, N, D), float64, and the number of each patch."""
    grid = encoder.grid(windows.log_mel.shape[1])
    valid = valid_patches(
        torch.from_numpy(windows.n_frames), torch.from_numpy(windows.n_bands), grid
    )
    visible = all_visible(valid.numpy())
    device = encoder.log_mel_mean.device
    log_mel = torch.from_numpy(windows.log_mel).to(device)
    patches = patchify(encoder.standardised(log_mel, grid), grid)
    features = torch.cat(
        [
            encoder(patches[rows], grid, visible[rows].to(device))[0]
            for rows in _parts(len(patches), training)
        ]
    )
    return features.double().cpu().numpy(), visible.numpy()


def _centred(vectors: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors, and the same less the mean of their place; none that are alone there."""
    _, which, count = np.unique(places, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), vectors.shape[1]))
    np.add.at(sums, which, vectors)
    centred = vectors - (sums / count[:, None])[which]
    is_kept = count[which] > 1
    return vectors[is_kept], centred[is_kept]


def _background(
    model: MaskedAutoencoder, sampler: WindowSampler, training: TrainingConfig
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Return how often quiet frames find their recording: by features, log-mel, and chance."""
    windows = sampler.quiet(QUIET_PATCHES * model.config.patch_frames)
    if windows is None:
        return None, None, None
    features, patches = _features(model.encoder, windows, training)
    is_real = (patches != NO_PATCH)[..., None]
    vectors = (features * is_real).sum(axis=1) / is_real.sum(axis=1)  # (B, D)
    is_valid = np.arange(windows.log_mel.shape[2]) < windows.n_bands[:, None]  # (B, F)
    spectra = windows.log_mel.mean(axis=1) * is_valid
    chance = round(1 / (len(vectors) - 1), 4)
    return _share_of_pairs(vectors), _share_of_pairs(spectra), chance


def _share_of_pairs(vectors: np.ndarray) -> float:
    """Return how often the nearest neighbour, by cosine, of a vector is the other of its pair.

    Parameters
    ----------
    vectors : np.ndarray [shape=(B, D)]
        The two of a pair follow each other.
    """
    centred = vectors - vectors.mean(axis=0)
    units = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    likeness = units @ units.T
    np.fill_diagonal(likeness, -np.inf)
    other = np.arange(len(vectors)) ^ 1
    return round(float(np.mean(likeness.argmax(axis=1) == other)), 4)


def _leak(
    model: MaskedAutoencoder, sampler: WindowSampler, training: TrainingConfig
) -> tuple[float, float]:
    """Return what becomes of drawings and loss when the hidden patches' values are shuffled.

    Nothing in the visible patches tells the new order. So whatever the archive, drawings that
    change, or a loss below that of drawing the mean, come of seeing what is to be guessed.
    """
    batch = evaluation_batch(model, sampler, training, 0)
    generator = np.random.default_rng(0)
    patches = batch.patches.clone()
    for picture, hidden in zip(patches, batch.masks.hidden, strict=True):
        chosen = hidden[hidden != NO_PATCH]
        order = generator.permuted(np.tile(np.arange(patches.shape[-1]), (len(chosen), 1)), axis=1)
        picture[chosen] = picture[chosen].gather(1, torch.from_numpy(order).to(patches.device))
    shuffled = replace(batch, patches=patches)

    real = (batch.masks.hidden != NO_PATCH)[..., None]
    before, after = (_drawn(model, one, training).float() * real for one in (batch, shuffled))
    change = float((after - before).square().sum() / before.square().sum().clamp(min=1e-12))
    loss, mean = float(loss_of(after, shuffled, training)), _baselines(shuffled, training)[0]
    return change, loss / mean if mean > 0 else 1.0
