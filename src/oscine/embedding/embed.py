"""The frozen encoder over intervals of recordings: pooled features, ready for the readout.

In come excerpts of log-mel and an encoder; out come features, mean and deviation over time of each
layer and frequency row. Patches lie within their interval, on several patch grids; one that is
shorter than a patch has the column of patches around it. Only those are shown to the encoder: no
background from further outside an event reaches its features.

Axes: N excerpts, B crops, T frames, L layers, M frequency rows, K patches, P values, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from oscine.config import ReadoutConfig
from oscine.model.autoencoder import Encoder
from oscine.model.masks import all_visible
from oscine.model.patches import patchify, valid_patches
from oscine.picture.activity import DB_PER_NAT, LEVEL_BANDS
from oscine.picture.tape import TAPE_LOW, Tape
from oscine.workspace.catalogue import RecordingRow

CROPS_AT_ONCE = 64
ENCODED_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Excerpt:
    """The frames of one interval and of the patch columns that belong to it.

    Attributes
    ----------
    log_mel : np.ndarray of float32 [shape=(T, F)]
        Silence where the recording has ended.
    weights : np.ndarray of float64 [shape=(T,)]
        How much each frame counts; 0 outside the interval.
    grids : tuple of (start, stop)
        The frames of the patch columns on each grid, each a whole number of patches.
    below : np.ndarray of float64 [shape=(M,)]
        How far the level of each frequency row lies below that of the liveliest, in corpus
        deviations.
    n_bands : int
        Valid bands.
    """

    log_mel: np.ndarray
    weights: np.ndarray
    grids: tuple[tuple[int, int], ...]
    below: np.ndarray
    n_bands: int


def patch_columns(start: int, stop: int, n_frames: int, patch_frames: int) -> tuple[int, int]:
    """Return the frames of the patch columns of an interval, centred on it.

    As many columns as come nearest to its length and the recording has, and at least one; moved to
    lie inside the recording (but for one that is shorter than a column: that ends in silence).

    Parameters
    ----------
    start, stop : int
        Frames of the interval, within the recording.
    n_frames : int
        Of the recording.
    patch_frames : int

    Returns
    -------
    start, stop : int
    """
    n_columns = min((stop - start + patch_frames // 2) // patch_frames, n_frames // patch_frames)
    length = max(1, n_columns) * patch_frames
    first = start - (length - (stop - start)) // 2
    first = max(0, min(first, n_frames - length))
    return first, first + length


def patch_grids(
    start: int, stop: int, n_frames: int, patch_frames: int, n_grids: int
) -> list[tuple[int, int]]:
    """Return the frames of the patch columns of an interval on several grids.

    A column begins every so small a part of a patch, wherever it lies in the interval with all of
    its frames; they stand centred. Columns that follow each other without a gap are a grid. Where
    there are none, or one grid is asked for, it is that of :func:`patch_columns`.

    Parameters
    ----------
    start, stop, n_frames, patch_frames : int
        As of :func:`patch_columns`.
    n_grids : int

    Returns
    -------
    list of (start, stop)

    Raises
    ------
    ValueError
        A patch cannot be parted into so many.
    """
    if patch_frames % n_grids:
        raise ValueError(
            f"readout.time_grids={n_grids} does not part the {patch_frames} frames of a patch: "
            "give a number that divides them"
        )
    step = patch_frames // n_grids
    high = stop - patch_frames + 1
    left_over = (high - 1 - start) % step if high > start else 0
    columns = range(start + left_over // 2, high, step)
    if n_grids == 1 or not columns:
        return [patch_columns(start, stop, n_frames, patch_frames)]
    grids = (columns[number::n_grids] for number in range(n_grids))
    return [(grid[0], grid[-1] + patch_frames) for grid in grids if grid]


def excerpt(
    log_mel: np.ndarray,
    level_db: np.ndarray,
    interval: tuple[int, int],
    grids: Sequence[tuple[int, int]],
    n_bands: int,
    encoder: Encoder,
    config: ReadoutConfig,
) -> Excerpt:
    """Make an excerpt of the frames of an interval, with the weight of each.

    A frame weighs ``exp(sharpness * (level - highest level) / corpus deviation)``, the level being
    that of its liveliest bands: frames near the background hardly count. The level of a frequency
    row is the weighted mean over its frames.

    Parameters
    ----------
    log_mel : np.ndarray of float32 [shape=(T, F)]
        The frames of :func:`excerpt_frames`, as far as the recording goes.
    level_db : np.ndarray of float32 [shape=(T, G)]
        How far each group of bands stands above the background.
    interval : (start, stop)
        Frames of the recording.
    grids : sequence of (start, stop)
        As of :func:`patch_grids`, frames of the recording.
    n_bands : int
    encoder : Encoder
    config : ReadoutConfig

    Returns
    -------
    Excerpt
    """
    first, last = excerpt_frames(interval, grids)
    frames = np.arange(first, first + len(log_mel))
    inside = (frames >= interval[0]) & (frames < interval[1])
    deviation_db = float(encoder.log_mel_std) * DB_PER_NAT
    # Rows of patches that are not wholly valid have no say, as they have no token.
    n_whole = n_bands // encoder.config.patch_bands * encoder.config.patch_bands
    level_db = np.where(np.arange(level_db.shape[1]) < -(-n_whole // LEVEL_BANDS), level_db, 0)
    level = level_db.max(axis=1)
    weights = np.zeros(last - first)
    rise = (level - level[inside].max()) / deviation_db
    weights[: len(log_mel)] = np.exp(config.activity_sharpness * rise) * inside
    rows_db = weights[: len(log_mel)] @ _of_rows(level_db, encoder) / weights.sum()  # (M,)
    picture = np.full((last - first, log_mel.shape[1]), TAPE_LOW, np.float32)
    picture[: len(log_mel)] = log_mel
    return Excerpt(
        log_mel=picture,
        weights=weights,
        grids=tuple((start - first, stop - first) for start, stop in grids),
        below=(rows_db.max() - rows_db) / deviation_db,
        n_bands=n_bands,
    )


def excerpt_frames(interval: tuple[int, int], grids: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the frames that hold an interval and all its patch columns."""
    return (
        min(interval[0], *(start for start, _ in grids)),
        max(interval[1], *(stop for _, stop in grids)),
    )


def _of_rows(level_db: np.ndarray, encoder: Encoder) -> np.ndarray:
    """Return the level of each frequency row [shape=(T, M)]: the highest of its groups of bands."""
    bands = encoder.config.patch_bands
    starts = range(0, encoder.picture.n_mels, bands)
    groups = [(low // LEVEL_BANDS, -(-(low + bands) // LEVEL_BANDS)) for low in starts]
    return np.stack([level_db[:, first:last].max(axis=1) for first, last in groups], axis=1)


def tape_excerpt(
    tape: Tape,
    recording: RecordingRow,
    interval: tuple[int, int],
    encoder: Encoder,
    config: ReadoutConfig,
) -> Excerpt:
    """Cut the patch columns of an interval of a recording from the tape.

    Parameters
    ----------
    tape : Tape
    recording : RecordingRow
    interval : (start, stop)
        Frames of the recording.
    encoder : Encoder
    config : ReadoutConfig

    Returns
    -------
    Excerpt
    """
    grids = interval_grids(recording, interval, encoder, config)
    first, last = excerpt_frames(interval, grids)
    rows = recording.tape_row + first, recording.tape_row + min(last, recording.n_frames)
    return excerpt(
        tape.log_mel(*rows),
        tape.level_db(*rows),
        interval,
        grids,
        recording.n_valid_bands,
        encoder,
        config,
    )


def interval_grids(
    recording: RecordingRow, interval: tuple[int, int], encoder: Encoder, config: ReadoutConfig
) -> list[tuple[int, int]]:
    """Return the patch columns of an interval of a recording, on the grids of a readout."""
    n_frames, patch_frames = recording.n_frames, encoder.config.patch_frames
    return patch_grids(*interval, n_frames, patch_frames, config.time_grids)


def pooled_features(
    encoder: Encoder, excerpts: Sequence[Excerpt], config: ReadoutConfig
) -> np.ndarray:
    """Encode excerpts and pool each layer and frequency row over time.

    Each grid of an excerpt is encoded by itself, and all are pooled together: what a sound looks
    like depends less on where the first grid happens to cut it. What is longer than the windows
    that the encoder was trained on is encoded in pieces and pooled over all of these too. Pieces of
    one size are encoded together, so none is padded.

    Parameters
    ----------
    encoder : Encoder
        Frozen; run in float32.
    excerpts : sequence of N Excerpt
    config : ReadoutConfig

    Returns
    -------
    np.ndarray of float32 [shape=(N, L, M, 2 * D + 1)]
        Weighted mean, then weighted deviation (NaN in rows that are not valid); last, how far the
        row lies below the liveliest one.
    """
    n_layers, width = len(config.layers), encoder.config.width
    n_rows = encoder.grid(1).n_mel
    sums = np.zeros((len(excerpts), 3, n_layers, n_rows, width))  # of w, w x, w x^2
    for crops in _crops_by_size(encoder, excerpts):
        for start in range(0, len(crops), CROPS_AT_ONCE):
            _add_sums(sums, encoder, excerpts, crops[start : start + CROPS_AT_ONCE], config)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums[:, 1] / sums[:, 0]
        square = sums[:, 2] / sums[:, 0]
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    below = np.stack([one.below for one in excerpts])[:, None, :, None]  # (N, 1, M, 1)
    below = np.broadcast_to(below, (*mean.shape[:3], 1))
    return np.concatenate([mean, deviation, below], axis=-1).astype(np.float32)


def encoded_excerpts(
    encoder: Encoder, excerpts: Sequence[Excerpt], config: ReadoutConfig
) -> np.ndarray:
    """Return the pooled features of any number of excerpts [shape=(N, L, M, 2 * D + 1)]."""
    return np.concatenate(
        [
            pooled_features(encoder, excerpts[start : start + ENCODED_AT_ONCE], config)
            for start in range(0, len(excerpts), ENCODED_AT_ONCE)
        ]
    )


@torch.no_grad()
def patch_vectors(
    encoder: Encoder, one: Excerpt, layer: int, row_sharpness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the patches of an excerpt, on its first grid, unpooled.

    Parameters
    ----------
    encoder : Encoder
    one : Excerpt
    layer : int
    row_sharpness : float
        As of a readout.

    Returns
    -------
    patches : np.ndarray of float32 [shape=(K, D)]
    weights : np.ndarray of float64 [shape=(K,)]
        That of the frames of each, less where its frequency row is quiet.
    """
    groups = _crops_by_size(encoder, [replace(one, grids=one.grids[:1])])
    patches, weights = [], []
    for _, start, stop in (crop for group in groups for crop in group):
        grid = encoder.grid(stop - start)
        picture = torch.from_numpy(one.log_mel[start:stop])[None]
        frames, bands = torch.tensor([grid.n_frames]), torch.tensor([one.n_bands])
        valid = valid_patches(frames, bands, grid)  # (1, N)
        tokens = patchify(encoder.standardised(picture, grid), grid)
        found = encoder(tokens, grid, all_visible(valid.numpy()), (layer,))[0, 0]  # (K, D)
        columns = one.weights[start:stop].reshape(grid.n_time, -1).sum(axis=1)  # (n_time,)
        each = columns[:, None] * np.exp(-row_sharpness * one.below)  # (n_time, M)
        patches.append(found.numpy())
        weights.append(each.reshape(-1)[valid[0].numpy()])
    return np.concatenate(patches), np.concatenate(weights)


def _crops_by_size(
    encoder: Encoder, excerpts: Sequence[Excerpt]
) -> list[list[tuple[int, int, int]]]:
    """Return (excerpt, first frame, last frame) in groups of one length and one set of bands."""
    patch_frames = encoder.config.patch_frames
    longest = max(1, encoder.picture.window_frames // patch_frames) * patch_frames
    groups: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for number, one in enumerate(excerpts):
        for first, last in one.grids:
            for start in range(first, last, longest):
                stop = min(last, start + longest)
                groups.setdefault((stop - start, one.n_bands), []).append((number, start, stop))
    return [groups[key] for key in sorted(groups)]


@torch.no_grad()
def _add_sums(
    sums: np.ndarray,
    encoder: Encoder,
    excerpts: Sequence[Excerpt],
    crops: list[tuple[int, int, int]],
    config: ReadoutConfig,
) -> None:
    """Encode crops of one size and add their weighted sums to those of their excerpts."""
    _, begin, end = crops[0]
    grid = encoder.grid(end - begin)
    pictures = np.stack([excerpts[number].log_mel[start:stop] for number, start, stop in crops])
    weights = np.stack([excerpts[number].weights[start:stop] for number, start, stop in crops])
    columns = weights.reshape(len(crops), grid.n_time, -1).sum(axis=-1)  # (B, n_time)

    n_frames = torch.full((len(crops),), grid.n_frames)
    n_bands = torch.tensor([excerpts[number].n_bands for number, _, _ in crops])
    valid = valid_patches(n_frames, n_bands, grid)  # (B, N)
    patches = patchify(encoder.standardised(torch.from_numpy(pictures), grid), grid)
    layers = encoder(patches, grid, all_visible(valid.numpy()), config.layers)  # (L, B, K, D)

    # One size and one set of bands: the valid patches are whole columns of the same rows.
    rows = valid[0].reshape(grid.n_time, grid.n_mel)[0]  # (M,)
    L, B, _, D = layers.shape
    layers = layers.reshape(L, B, grid.n_time, -1, D).transpose(2, 3)  # (L, B, rows, n_time, D)
    # In float64: the deviation over one column must be 0, not what float32 leaves of x^2 - x^2.
    layers = layers.double()
    share = torch.from_numpy(columns)[:, None, None, :]  # (B, 1, 1, n_time)
    pooled = torch.stack(
        [
            share.sum(dim=-1, keepdim=True).expand(L, B, layers.shape[2], 1, D),
            share @ layers,
            share @ layers.square(),
        ]
    )[..., 0, :]  # (3, L, B, rows, D)
    numbers = [number for number, _, _ in crops]
    for kind, values in enumerate(pooled.transpose(1, 2).numpy()):  # (B, L, rows, D)
        into = np.zeros((B, L, grid.n_mel, D))
        into[:, :, rows.numpy()] = values
        np.add.at(sums, (numbers, kind), into)
