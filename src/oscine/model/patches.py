"""A picture as a grid of patches, and back.

In comes a log-mel picture (B, T, F); out go patches (B, N, P) in time-major order, which of them
are valid, and where each stands. Used by the model, its training and the embedding.

Axes: B batch, T frames, F mel bands, N patches, P values in a patch, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchGrid:
    """How many patches stand side by side in time and in frequency, and how large one is."""

    n_time: int
    n_mel: int
    patch_frames: int
    patch_bands: int

    @property
    def n_patches(self) -> int:
        """Patches in the grid."""
        return self.n_time * self.n_mel

    @property
    def n_frames(self) -> int:
        """Frames that the grid covers."""
        return self.n_time * self.patch_frames

    @property
    def n_bands(self) -> int:
        """Mel bands that the grid covers."""
        return self.n_mel * self.patch_bands

    @property
    def patch_values(self) -> int:
        """Values in one patch."""
        return self.patch_frames * self.patch_bands

    @classmethod
    def covering(
        cls, n_frames: int, n_bands: int, patch_frames: int, patch_bands: int
    ) -> PatchGrid:
        """Return the smallest grid over a picture of `n_frames` x `n_bands`.

        Raises
        ------
        ValueError
            The bands do not divide into whole patches (only time may be padded).
        """
        if n_bands % patch_bands:
            raise ValueError(f"{n_bands} mel bands do not divide into patches of {patch_bands}")
        return cls(
            n_time=max(1, math.ceil(n_frames / patch_frames)),
            n_mel=n_bands // patch_bands,
            patch_frames=patch_frames,
            patch_bands=patch_bands,
        )


def patchify(picture: Tensor, grid: PatchGrid) -> Tensor:
    """Cut pictures into patches, time-major: patch ``t * n_mel + m``.

    Parameters
    ----------
    picture : Tensor [shape=(B, T, F)]
        T and F are those of the grid.
    grid : PatchGrid

    Returns
    -------
    Tensor [shape=(B, N, P)]
        Within a patch, frames vary slowest.
    """
    B, T, F = picture.shape
    if (grid.n_frames, grid.n_bands) != (T, F):
        raise ValueError(
            f"a picture of {T} frames x {F} bands does not fit a grid of "
            f"{grid.n_frames} x {grid.n_bands}"
        )
    x = picture.reshape(B, grid.n_time, grid.patch_frames, grid.n_mel, grid.patch_bands)
    x = x.transpose(2, 3)  # (B, n_time, n_mel, patch_frames, patch_bands)
    return x.reshape(B, grid.n_patches, grid.patch_values)  # (B, N, P)


def unpatchify(patches: Tensor, grid: PatchGrid) -> Tensor:
    """Put patches together again: the exact inverse of :func:`patchify`.

    Parameters
    ----------
    patches : Tensor [shape=(B, N, P)]
    grid : PatchGrid

    Returns
    -------
    Tensor [shape=(B, T, F)]
    """
    B = patches.shape[0]
    x = patches.reshape(B, grid.n_time, grid.n_mel, grid.patch_frames, grid.patch_bands)
    x = x.transpose(2, 3)  # (B, n_time, patch_frames, n_mel, patch_bands)
    return x.reshape(B, grid.n_frames, grid.n_bands)  # (B, T, F)


def valid_values(n_frames: Tensor, n_bands: Tensor, grid: PatchGrid) -> Tensor:
    """Say which values of each patch are sound, not padding and not above a recording's Nyquist.

    A row of patches that reaches above it, if only by a band, is not sound at all: no band of it is
    ever seen, drawn or pooled.

    Parameters
    ----------
    n_frames, n_bands : Tensor of int [shape=(B,)]
        Real frames, and valid bands, of each picture; the rest of the grid is padding.
    grid : PatchGrid

    Returns
    -------
    Tensor of bool [shape=(B, N, P)]
    """
    device = n_frames.device
    frames = torch.arange(grid.n_frames, device=device) < n_frames[:, None]  # (B, T)
    n_whole = n_bands // grid.patch_bands * grid.patch_bands
    bands = torch.arange(grid.n_bands, device=device) < n_whole[:, None]  # (B, F)
    return patchify(frames[:, :, None] & bands[:, None, :], grid)  # (B, N, P)


def n_valid_values(n_frames: Tensor, n_bands: Tensor, grid: PatchGrid) -> Tensor:
    """Count the values of each patch that are sound: of :func:`valid_values`, without making it.

    Parameters
    ----------
    n_frames, n_bands : Tensor of int [shape=(B,)]
    grid : PatchGrid

    Returns
    -------
    Tensor of int64 [shape=(B, N)]
    """
    begins = torch.arange(grid.n_time) * grid.patch_frames
    frames = (n_frames[:, None] - begins).clamp(0, grid.patch_frames)  # (B, n_time)
    n_rows = n_bands[:, None] // grid.patch_bands
    bands = grid.patch_bands * (torch.arange(grid.n_mel) < n_rows)  # (B, n_mel)
    return (frames[:, :, None] * bands[:, None, :]).flatten(1)  # (B, N)


def valid_patches(n_frames: Tensor, n_bands: Tensor, grid: PatchGrid) -> Tensor:
    """Say which patches may be tokens: those of which at least half is sound.

    As all bands of a patch are sound or none, that is half of its frames. A picture shorter than
    half a patch keeps its first column all the same, so that no recording of which a row is sound
    is without a token.

    Parameters
    ----------
    n_frames, n_bands : Tensor of int [shape=(B,)]
        As in :func:`valid_values`.
    grid : PatchGrid

    Returns
    -------
    Tensor of bool [shape=(B, N)]
    """
    count = n_valid_values(n_frames, n_bands, grid)
    enough = 2 * count >= grid.patch_values
    fallback = (count > 0) & ~enough.any(dim=-1, keepdim=True)
    return enough | fallback


def positions(grid: PatchGrid, width: int) -> Tensor:
    """Return fixed sine and cosine positions: half of the width tells time, half frequency.

    After Vaswani et al. 2017 (arXiv:1706.03762), in two dimensions as in He et al. 2021
    (arXiv:2111.06377).

    Parameters
    ----------
    grid : PatchGrid
    width : int
        Divisible by 4.

    Returns
    -------
    Tensor [shape=(N, D)]
    """
    if width % 4:
        raise ValueError(f"the width must be divisible by 4 to hold positions, not {width}")
    quarter = width // 4
    rate = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)  # (D/4,)
    time, mel = torch.meshgrid(
        torch.arange(grid.n_time, dtype=torch.float64),
        torch.arange(grid.n_mel, dtype=torch.float64),
        indexing="ij",
    )
    angles = [axis.reshape(-1, 1) * rate for axis in (time, mel)]  # 2 x (N, D/4)
    waves = [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)]
    return torch.cat(waves, dim=1).float()  # (N, D)
