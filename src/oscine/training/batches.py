"""Windows as what the model takes: patches, masks, and their loss.

In come windows of the tape; out go patches with masks drawn for them, and the loss of a model.

Axes: B batch, N patches, M hidden patches, P values in a patch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oscine.config import TrainingConfig
from oscine.model.autoencoder import MaskedAutoencoder, hidden_values, masked_loss, targets
from oscine.model.masks import Masks, draw_masks
from oscine.model.patches import PatchGrid, patchify, valid_patches, valid_values
from oscine.training.windows import Windows


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
    """

    patches: Tensor
    values: Tensor
    grid: PatchGrid
    masks: Masks


def make_batch(
    windows: Windows, model: MaskedAutoencoder, training: TrainingConfig, device: torch.device
) -> Batch:
    """Cut windows into patches and draw their masks."""
    grid = model.encoder.grid(windows.log_mel.shape[1])
    values = valid_values(
        torch.from_numpy(windows.n_frames), torch.from_numpy(windows.n_bands), grid
    )
    masks = draw_masks(
        valid_patches(values).numpy(),
        grid,
        ratio=training.mask_ratio,
        block_share=training.mask_block_share,
        generators=windows.generators,
    )
    log_mel = torch.from_numpy(windows.log_mel).to(device)
    return Batch(
        patches=patchify(model.encoder.standardised(log_mel, grid), grid),
        values=values.to(device),
        grid=grid,
        masks=Masks(visible=masks.visible.to(device), hidden=masks.hidden.to(device)),
    )


def draw(model: MaskedAutoencoder, batch: Batch) -> Tensor:
    """Return drawings (B, M, P) of the hidden patches; in bfloat16 where that pays."""
    device = batch.patches.device.type
    with torch.autocast(device, torch.bfloat16, enabled=has_fast_bfloat16(device)):
        return model(batch.patches, batch.grid, batch.masks)


def loss_of(drawn: Tensor, batch: Batch, training: TrainingConfig) -> Tensor:
    """Return the loss of drawings (B, M, P), in float32."""
    hidden, counted = hidden_values(batch.patches, batch.values, batch.masks)
    target, _, _ = targets(hidden, counted, training.target, training.target_damping)
    return masked_loss(drawn, target, counted)


def batch_loss(model: MaskedAutoencoder, batch: Batch, training: TrainingConfig) -> Tensor:
    """Return the loss of a model on a batch."""
    return loss_of(draw(model, batch), batch, training)


def has_fast_bfloat16(device: str) -> bool:
    """Tell whether a device multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
