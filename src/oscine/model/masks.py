"""Which patches are hidden: index arrays that the caller makes.

In come the valid patches of each picture and a generator for each; out go two index arrays. The
model merely gathers by them, so it is the same code with and without a mask.

Axes: B batch, N patches, K visible patches, M hidden patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from oscine.model.patches import PatchGrid

NO_PATCH = -1
"""Fills the index rows of pictures that have fewer patches than the widest of the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """What the model sees and what it must draw.

    Attributes
    ----------
    visible : Tensor of int64 [shape=(B, K)]
    hidden : Tensor of int64 [shape=(B, M)]
        Patch numbers, ascending; ``NO_PATCH`` (-1) where a row has no more.
    has_gaps : bool
        Whether there is any ``NO_PATCH``; True where that was not looked at.
    """

    visible: Tensor
    hidden: Tensor
    has_gaps: bool = True

    def to(self, device: torch.device) -> Masks:
        """Return the same on a device."""
        visible, hidden = (one.to(device, non_blocking=True) for one in (self.visible, self.hidden))
        return Masks(visible=visible, hidden=hidden, has_gaps=self.has_gaps)


def draw_masks(
    valid: np.ndarray,
    grid: PatchGrid,
    *,
    ratio: float,
    block_share: float,
    generators: Sequence[np.random.Generator],
) -> Masks:
    """Hide a share of each picture's valid patches.

    A row is masked in blocks of 2 x 2 patches with probability `block_share`, else patch by
    patch. Blocks cannot be filled in from the four nearest neighbours; single patches keep the
    fine detail in play. Either way every patch (or block) draws a score and the highest scores are
    hidden, so the number hidden is exact.

    Parameters
    ----------
    valid : np.ndarray of bool [shape=(B, N)]
    grid : PatchGrid
    ratio : float
        Share hidden, in 0.3 to 0.8. At least one patch of each row stays visible; a row of one
        patch hides none.
    block_share : float
    generators : sequence of B generators
        One a row, so that a row's mask does not depend on its neighbours in the batch.

    Returns
    -------
    Masks
        As wide as whole pictures need, or narrower by eighths of that where no row is whole: few
        shapes, for which a device prepares itself.

    Raises
    ------
    ValueError
        The ratio lies outside 0.3 to 0.8.
    """
    if not 0.3 <= ratio <= 0.8:
        raise ValueError(f"the mask ratio must lie in 0.3 to 0.8, not {ratio}")
    visible, hidden = [], []
    for row, generator in zip(valid, generators, strict=True):
        in_blocks = generator.random() < block_share
        scores = _block_scores(grid, generator) if in_blocks else generator.random(grid.n_patches)
        patches = np.flatnonzero(row)
        n_hidden = min(round(ratio * len(patches)), len(patches) - 1)
        order = patches[np.argsort(-scores[patches], kind="stable")]
        hidden.append(np.sort(order[:n_hidden]))
        visible.append(np.sort(order[n_hidden:]))
    n_hidden = min(round(ratio * grid.n_patches), grid.n_patches - 1)
    has_gaps = not valid.all() or n_hidden == 0
    return Masks(
        visible=_padded(visible, grid.n_patches - n_hidden),
        hidden=_padded(hidden, n_hidden),
        has_gaps=bool(has_gaps),
    )


def all_visible(valid: np.ndarray) -> Tensor:
    """Return the index rows that show every valid patch: the mask of a frozen encoder.

    Parameters
    ----------
    valid : np.ndarray of bool [shape=(B, N)]

    Returns
    -------
    Tensor of int64 [shape=(B, K)]
    """
    return _padded([np.flatnonzero(row) for row in valid])


def _block_scores(grid: PatchGrid, generator: np.random.Generator) -> np.ndarray:
    """Give the patches of each 2 x 2 block one score; the block grid starts at a random corner."""
    shift_time, shift_mel = generator.integers(0, 2, size=2)
    time = (np.arange(grid.n_time) + shift_time) // 2
    mel = (np.arange(grid.n_mel) + shift_mel) // 2
    scores = generator.random((grid.n_time // 2 + 1, grid.n_mel // 2 + 1))
    return scores[time[:, None], mel[None, :]].reshape(-1)


def _padded(rows: list[np.ndarray], full: int | None = None) -> Tensor:
    """Fill rows up with ``NO_PATCH``: to the longest, or to the next eighth of a full width."""
    width = max(1, max(len(row) for row in rows))
    if full is not None:
        eighth = max(1, full // 8)
        width = min(-(-width // eighth) * eighth, max(full, width))
    padded = np.full((len(rows), width), NO_PATCH, dtype=np.int64)
    for into, row in zip(padded, rows, strict=True):
        into[: len(row)] = row
    return torch.from_numpy(padded)
