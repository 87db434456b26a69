"""The masked autoencoder: encoder, light decoder, targets, loss and its baselines.

In come patches and masks; out come layers (encoder) or a loss (training). After He et al. 2021
(arXiv:2111.06377) and Huang et al. 2022 (arXiv:2207.06405).

Axes: B batch, N patches, K visible patches, M hidden patches, P values in a patch, D width,
L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from oscine.config import ModelConfig, PictureConfig
from oscine.model.masks import NO_PATCH, Masks, all_visible
from oscine.model.patches import PatchGrid, patchify, positions, valid_patches
from oscine.model.transformer import Block


class Encoder(nn.Module):
    """Visible patches to layers of features. Frozen, it is what all later floors use.

    It carries the front end it was trained on, and the mean and deviation of the log-mel.
    """

    log_mel_mean: Tensor
    log_mel_std: Tensor

    def __init__(self, config: ModelConfig, picture: PictureConfig) -> None:
        super().__init__()
        self.config = config
        self.picture = picture
        self.register_buffer("log_mel_mean", torch.tensor(0.0))
        self.register_buffer("log_mel_std", torch.tensor(1.0))
        self.embed = nn.Linear(config.patch_frames * config.patch_bands, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        patches: Tensor,
        grid: PatchGrid,
        visible: Tensor,
        layers: Sequence[int] = (-1,),
        *,
        has_gaps: bool = True,
    ) -> Tensor:
        """Encode the visible patches.

        Parameters
        ----------
        patches : Tensor [shape=(B, N, P)]
            Standardised log-mel.
        grid : PatchGrid
        visible : Tensor of int64 [shape=(B, K)]
            Patch numbers; ``NO_PATCH`` fills rows that have fewer.
        layers : sequence of int
            0 the embedded patches, 1 the first block, ... , ``depth`` or -1 the last block.
        has_gaps : bool
            False where `visible` is known to hold no ``NO_PATCH``: then it is not looked at, which
            a GPU would have to be waited for.

        Returns
        -------
        Tensor [shape=(L, B, K, D)]
            One entry a layer asked for, in that order, always after a LayerNorm (the model's own
            for the last block, one without parameters for the others): the raw residual stream
            can hold single rogue values thousands of times the rest.
        """
        wanted = [self.layer_number(layer) for layer in layers]
        keys = _keys(visible) if has_gaps else None
        where = _positions(grid, self.config.width, patches.device, patches.dtype)  # (N, D)
        x = self.embed(_gather(patches, visible)) + where[visible.clamp(min=0)]  # (B, K, D)

        found: dict[int, Tensor] = {0: x} if 0 in wanted else {}
        for number, block in enumerate(self.blocks[: max(wanted)], start=1):
            x = block(x, keys)
            if number in wanted:
                found[number] = x
        normed = {n: self._normed(n, features) for n, features in found.items()}
        return torch.stack([normed[number] for number in wanted])  # (L, B, K, D)

    @classmethod
    def load(cls, folder: Path | str) -> Encoder:
        """Return the frozen encoder of a checkpoint folder.

        Raises
        ------
        FileNotFoundError
            The folder is no checkpoint.
        ValueError
            It is damaged.
        """
        from oscine.model.checkpoint import load_encoder  # it imports this module

        return load_encoder(Path(folder))

    def layers(
        self, log_mel: Tensor, layers: Sequence[int], *, n_bands: int | None = None
    ) -> Tensor:
        """Encode whole pictures, nothing hidden: for notebooks and for the embedding.

        Parameters
        ----------
        log_mel : Tensor [shape=(B, T, F)]
            As of :func:`oscine.picture.mel.log_mel`. T is padded to whole patches, of which those
            that are half empty are left out.
        layers : sequence of int
            As in :meth:`forward`.
        n_bands : int, optional
            Valid bands, as of :func:`oscine.picture.mel.n_valid_bands`; all unless given.

        Returns
        -------
        Tensor [shape=(L, B, K, D)]
            K patches, time-major.
        """
        B, T, F = log_mel.shape
        grid = self.grid(T)
        n_bands = F if n_bands is None else n_bands
        valid = valid_patches(torch.full((B,), T), torch.full((B,), n_bands), grid)
        visible = all_visible(valid.numpy()).to(log_mel.device)
        patches = patchify(self.standardised(log_mel, grid), grid)
        return self(patches, grid, visible, layers)

    def grid(self, n_frames: int) -> PatchGrid:
        """Return the patch grid over a picture of so many frames."""
        return PatchGrid.covering(
            n_frames,
            self.picture.n_mels,
            patch_frames=self.config.patch_frames,
            patch_bands=self.config.patch_bands,
        )

    def standardised(self, log_mel: Tensor, grid: PatchGrid) -> Tensor:
        """Return pictures (B, T, F) in corpus deviations, padded with silence to the grid."""
        short = grid.n_frames - log_mel.shape[1]
        silence = float(torch.tensor(self.picture.power_floor).log())
        padded = functional.pad(log_mel, (0, 0, 0, short), value=silence)
        return (padded - self.log_mel_mean) / self.log_mel_std

    def layer_number(self, layer: int) -> int:
        """Return a layer's number in 0 to depth; negative ones count from the last block.

        Raises
        ------
        ValueError
            There is no such layer.
        """
        depth = self.config.depth
        if not -depth <= layer <= depth:
            raise ValueError(f"there is no layer {layer}: the encoder has layers 0 to {depth}")
        return layer if layer >= 0 else depth + 1 + layer

    def _normed(self, number: int, features: Tensor) -> Tensor:
        if number == self.config.depth:
            return self.norm(features)
        return functional.layer_norm(features, features.shape[-1:])


class Decoder(nn.Module):
    """Features of the visible patches to drawings of the hidden ones."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.decoder_width
        self.embed = nn.Linear(config.width, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(
            Block(width, config.decoder_heads, config.mlp_ratio)
            for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(width)
        self.draw = nn.Linear(width, config.patch_frames * config.patch_bands)

    def forward(self, features: Tensor, grid: PatchGrid, masks: Masks) -> Tensor:
        """Draw the hidden patches.

        Parameters
        ----------
        features : Tensor [shape=(B, K, D)]
        grid : PatchGrid
        masks : Masks

        Returns
        -------
        Tensor [shape=(B, M, P)]
            In target space; rows of ``NO_PATCH`` hold nothing of use.
        """
        width = self.config.decoder_width
        where = _positions(grid, width, features.device, features.dtype)  # (N, D)
        seen = self.embed(features) + where[masks.visible.clamp(min=0)]  # (B, K, D)
        asked = self.mask_token + where[masks.hidden.clamp(min=0)]  # (B, M, D)
        places = torch.cat([masks.visible, masks.hidden], dim=1)  # (B, K + M)
        keys = _keys(places) if masks.has_gaps else None

        x = torch.cat([seen, asked.to(seen.dtype)], dim=1)  # (B, K + M, D)
        for block in self.blocks:
            x = block(x, keys)
        n_visible = masks.visible.shape[1]
        return self.draw(self.norm(x[:, n_visible:]))  # (B, M, P)


class MaskedAutoencoder(nn.Module):
    """Encoder and decoder, as trained together."""

    def __init__(self, config: ModelConfig, picture: PictureConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, picture)
        self.decoder = Decoder(config)

    def forward(self, patches: Tensor, grid: PatchGrid, masks: Masks) -> Tensor:
        """Return drawings (B, M, P) of the hidden patches from the visible ones."""
        features = self.encoder(patches, grid, masks.visible, has_gaps=masks.has_gaps)[0]
        return self.decoder(features, grid, masks)


def initialise(model: MaskedAutoencoder, seed: int) -> MaskedAutoencoder:
    """Fill every weight from one seed (Xavier uniform; the mask token normal, 0.02)."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            nn.init.zeros_(module.bias)
    nn.init.normal_(model.decoder.mask_token, std=0.02, generator=generator)
    return model


def targets(
    patches: Tensor, values: Tensor, kind: Literal["damped", "raw"], damping: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the drawings are held against, with each patch's mean and scale.

    Parameters
    ----------
    patches : Tensor [shape=(B, M, P)]
        Standardised log-mel.
    values : Tensor of bool [shape=(B, M, P)]
        Which values are sound.
    kind : {"damped", "raw"}
        ``damped`` takes each patch's mean off and divides by ``sqrt(variance + damping**2)``: a
        silent patch stays near zero instead of becoming noise of unit variance. ``raw`` leaves
        the patches as they are.
    damping : float
        In corpus standard deviations.

    Returns
    -------
    target : Tensor [shape=(B, M, P)]
    mean, scale : Tensor [shape=(B, M, 1)]
        ``target = (patches - offset) / scale``, where the offset is the mean (damped) or 0 (raw).
    """
    counted = values.to(patches.dtype)
    count = counted.sum(dim=-1, keepdim=True).clamp(min=1)  # (B, M, 1)
    mean = (patches * counted).sum(dim=-1, keepdim=True) / count
    variance = ((patches - mean).square() * counted).sum(dim=-1, keepdim=True) / count
    if kind == "raw":
        return patches, mean, torch.ones_like(mean)
    scale = (variance + damping**2).sqrt()
    return (patches - mean) / scale, mean, scale


def masked_loss(drawn: Tensor, target: Tensor, values: Tensor) -> Tensor:
    """Return the sum of squared differences over hidden sound values, divided by their number.

    L = sum over masked i of ||f(x_visible) - x_i||^2, per value.

    Parameters
    ----------
    drawn, target : Tensor [shape=(B, M, P)]
    values : Tensor of bool [shape=(B, M, P)]
        Hidden and sound.

    Returns
    -------
    Tensor [shape=()]
        In float32 at least.
    """
    return squared_error(drawn, target, values) / values.sum().clamp(min=1)


def squared_error(drawn: Tensor, target: Tensor, values: Tensor) -> Tensor:
    """Return the sum of squared differences over hidden sound values; as :func:`masked_loss`."""
    dtype = torch.promote_types(target.dtype, torch.float32)
    missed = (drawn.to(dtype) - target.to(dtype)) * values.to(dtype)
    return missed.square().sum()


def hidden_values(patches: Tensor, values: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
    """Gather the hidden patches and which of their values count.

    Parameters
    ----------
    patches : Tensor [shape=(B, N, P)]
    values : Tensor of bool [shape=(B, N, P)]
    masks : Masks

    Returns
    -------
    patches : Tensor [shape=(B, M, P)]
    values : Tensor of bool [shape=(B, M, P)]
    """
    real = (masks.hidden != NO_PATCH)[..., None]
    return _gather(patches, masks.hidden), _gather(values, masks.hidden) & real


def baseline_losses(
    patches: Tensor,
    values: Tensor,
    grid: PatchGrid,
    masks: Masks,
    kind: Literal["damped", "raw"],
    damping: float,
) -> tuple[float, float]:
    """Return the losses of two guesses that know nothing of sound, on the same masks and targets.

    The first draws each hidden patch as its own mean. The second draws it as the mean of the
    visible patches weighted by (distance in patches) ** -4. For damped targets both are
    given the true patch's mean and deviation, which the model is not: that favours them.

    Parameters
    ----------
    patches : Tensor [shape=(B, N, P)]
    values : Tensor of bool [shape=(B, N, P)]
    grid : PatchGrid
    masks : Masks
    kind, damping
        As in :func:`targets`.

    Returns
    -------
    loss_mean, loss_interpolation : float
    """
    hidden, counted = hidden_values(patches, values, masks)
    target, mean, scale = targets(hidden, counted, kind, damping)
    own_mean = torch.zeros_like(target) if kind == "damped" else mean.expand_as(target)

    guess = _interpolated(patches, values, grid, masks)  # (B, M, P)
    if kind == "damped":
        count = counted.sum(dim=-1, keepdim=True).clamp(min=1)
        level = (guess * counted).sum(dim=-1, keepdim=True) / count
        guess = (guess - level) / scale
    return (
        float(masked_loss(own_mean, target, counted)),
        float(masked_loss(guess, target, counted)),
    )


def _interpolated(patches: Tensor, values: Tensor, grid: PatchGrid, masks: Masks) -> Tensor:
    """Return (B, M, P): at each place in the patch, the weighted mean over visible patches."""
    device = patches.device
    time = torch.arange(grid.n_time, device=device).repeat_interleave(grid.n_mel)
    mel = torch.arange(grid.n_mel, device=device).repeat(grid.n_time)
    visible, hidden = masks.visible.clamp(min=0), masks.hidden.clamp(min=0)
    square = (time[hidden][:, :, None] - time[visible][:, None, :]).square()  # (B, M, K)
    square = square + (mel[hidden][:, :, None] - mel[visible][:, None, :]).square()
    weights = square.clamp(min=1).float().pow(-2)
    weights = weights * (masks.visible != NO_PATCH)[:, None, :]

    sound = _gather(values, masks.visible).float()  # (B, K, P)
    total = torch.bmm(weights, _gather(patches, masks.visible) * sound)  # (B, M, P)
    return total / torch.bmm(weights, sound).clamp(min=1e-12)


def _gather(patches: Tensor, index: Tensor) -> Tensor:
    """Take rows (B, K, P) of (B, N, P) by (B, K); ``NO_PATCH`` takes row 0, to be masked later."""
    index = index.clamp(min=0)[..., None].expand(-1, -1, patches.shape[-1])
    return patches.gather(1, index)


@lru_cache(maxsize=32)
def _positions(grid: PatchGrid, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return positions where they are needed, made once."""
    return positions(grid, width).to(device, dtype)


def _keys(index: Tensor) -> Tensor | None:
    """Return which tokens are real, or None where all are (the faster attention)."""
    real = index != NO_PATCH
    return None if bool(real.all()) else real
