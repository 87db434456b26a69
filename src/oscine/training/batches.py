"""Windows as what the model takes: patches, masks, and their loss.

In come windows of the tape; out go patches with masks drawn for them, and the loss of a model.

Axes: B batch, T frames, F mel bands, N patches, M hidden patches, P values in a patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from oscine.config import TrainingConfig
from oscine.model.autoencoder import MaskedAutoencoder, hidden_values, squared_error, targets
from oscine.model.masks import NO_PATCH, Masks, draw_masks
from oscine.model.patches import (
    PatchGrid,
    n_valid_values,
    patchify,
    valid_patches,
    valid_values,
)
from oscine.training.windows import Windows


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedWindows:
    """Windows with their masks, in the memory of the processor.

    Attributes
    ----------
    log_mel : Tensor [shape=(B, T, F)]
    n_frames, n_bands : Tensor of int64 [shape=(B,)]
        How much of each is sound.
    grid : PatchGrid
    masks : Masks
    n_hidden_values : int
        Hidden and sound: the loss is divided by their number.
    """

    log_mel: Tensor
    n_frames: Tensor
    n_bands: Tensor
    grid: PatchGrid
    masks: Masks
    n_hidden_values: int

    def pinned(self) -> MaskedWindows:
        """Return the same in memory that a GPU copies from while it works."""
        return MaskedWindows(
            log_mel=self.log_mel.pin_memory(),
            n_frames=self.n_frames.pin_memory(),
            n_bands=self.n_bands.pin_memory(),
            grid=self.grid,
            masks=Masks(
                visible=self.masks.visible.pin_memory(),
                hidden=self.masks.hidden.pin_memory(),
                has_gaps=self.masks.has_gaps,
            ),
            n_hidden_values=self.n_hidden_values,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Patches with their masks, ready for the model.

    Attributes
    ----------
    patches : Tensor [shape=(B, N, P)]
        Standardised.
    values : Tensor of bool [shape=(B, N, P)]
    grid : PatchGrid
    masks : Masks
    n_hidden_values : int
    """

    patches: Tensor
    values: Tensor
    grid: PatchGrid
    masks: Masks
    n_hidden_values: int


def masked_windows(windows: Windows, grid: PatchGrid, training: TrainingConfig) -> MaskedWindows:
    """Draw the masks of windows; needs no model, so it can be done while the last batch is learned.

    Parameters
    ----------
    windows : Windows
    grid : PatchGrid
    training : TrainingConfig

    Returns
    -------
    MaskedWindows
    """
    n_frames, n_bands = torch.from_numpy(windows.n_frames), torch.from_numpy(windows.n_bands)
    masks = draw_masks(
        valid_patches(n_frames, n_bands, grid).numpy(),
        grid,
        ratio=training.mask_ratio,
        block_share=training.mask_block_share,
        generators=windows.generators,
    )
    count = n_valid_values(n_frames, n_bands, grid)  # (B, N)
    hidden = count.gather(1, masks.hidden.clamp(min=0)) * (masks.hidden != NO_PATCH)
    return MaskedWindows(
        log_mel=torch.from_numpy(windows.log_mel),
        n_frames=n_frames,
        n_bands=n_bands,
        grid=grid,
        masks=masks,
        n_hidden_values=int(hidden.sum()),
    )


def on_device(masked: MaskedWindows, model: MaskedAutoencoder, device: torch.device) -> Batch:
    """Take windows to where the model is, and cut them into patches."""
    dtype = model.encoder.log_mel_std.dtype
    log_mel = masked.log_mel.to(device, dtype, non_blocking=True)
    n_frames, n_bands = (
        count.to(device, non_blocking=True) for count in (masked.n_frames, masked.n_bands)
    )
    return Batch(
        patches=patchify(model.encoder.standardised(log_mel, masked.grid), masked.grid),
        values=valid_values(n_frames, n_bands, masked.grid),
        grid=masked.grid,
        masks=masked.masks.to(device),
        n_hidden_values=masked.n_hidden_values,
    )


def make_batch(
    windows: Windows, model: MaskedAutoencoder, training: TrainingConfig, device: torch.device
) -> Batch:
    """Cut windows into patches and draw their masks."""
    grid = model.encoder.grid(windows.log_mel.shape[1])
    return on_device(masked_windows(windows, grid, training), model, device)


def draw(model: MaskedAutoencoder, batch: Batch) -> Tensor:
    """Return drawings (B, M, P) of the hidden patches; in bfloat16 where that pays."""
    device = batch.patches.device.type
    is_low = batch.patches.dtype == torch.float32 and has_fast_bfloat16(device)
    with torch.autocast(device, torch.bfloat16, enabled=is_low):
        return model(batch.patches, batch.grid, batch.masks)


def error_of(drawn: Tensor, batch: Batch, training: TrainingConfig) -> tuple[Tensor, Tensor]:
    """Return the sum of squared errors of drawings (B, M, P), and how many values it is of."""
    hidden, counted = hidden_values(batch.patches, batch.values, batch.masks)
    weights = counted.to(hidden.dtype)  # once: it is multiplied with three times
    target, _, _ = targets(hidden, weights, training.target, training.target_damping)
    return squared_error(drawn, target, weights), counted.sum()


def loss_of(drawn: Tensor, batch: Batch, training: TrainingConfig) -> Tensor:
    """Return the loss of drawings (B, M, P), in float32 at least."""
    error, count = error_of(drawn, batch, training)
    return error / count.clamp(min=1)


def batch_loss(model: MaskedAutoencoder, batch: Batch, training: TrainingConfig) -> Tensor:
    """Return the loss of a model on a batch."""
    return loss_of(draw(model, batch), batch, training)


@lru_cache
def has_fast_bfloat16(device: str) -> bool:
    """Tell whether a device multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
