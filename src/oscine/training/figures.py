"""Pictures of a run: its curves, and what the model saw and drew.

In come the log and a batch; out come PNG files in the folder of the run.

Axes: B batch, T frames, F mel bands, N patches, M hidden patches, P values in a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from oscine.model.autoencoder import MaskedAutoencoder, hidden_values, targets
from oscine.model.checkpoint import RunConfig
from oscine.model.patches import unpatchify
from oscine.training.batches import Batch
from oscine.training.log import Losses

N_CLIPS = 5


def draw_curves(
    path: Path, training: Sequence[dict[str, float]], evaluation: Sequence[Losses]
) -> None:
    """Draw the loss over the steps, beside its two baselines.

    Parameters
    ----------
    path : Path
        A PNG file.
    training : sequence of dict
        ``step`` and ``training_loss`` (one noisy batch each).
    evaluation : sequence of Losses
        On the same windows and masks at every step.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        [row["step"] for row in training],
        [row["training_loss"] for row in training],
        color="0.8",
        linewidth=1,
        label="training batches",
    )
    steps = [losses.step for losses in evaluation]
    for name, label, style in (
        ("loss", "model", "o-"),
        ("loss_mean", "each patch drawn as its own mean", "--"),
        ("loss_interpolation", "interpolated from visible patches", ":"),
    ):
        axes.plot(steps, [getattr(losses, name) for losses in evaluation], style, label=label)
    axes.set(xlabel="step", ylabel="squared error per hidden value")
    axes.legend(frameon=False)
    _save(figure, path)


@torch.no_grad()
def draw_reconstruction(path: Path, model: MaskedAutoencoder, batch: Batch, run: RunConfig) -> None:
    """Draw a few clips: the picture, what the model saw, what it drew.

    Drawings of damped targets are put back at the true level and scale of each patch, which the
    model does not know; within a patch all is the model's.

    Parameters
    ----------
    path : Path
        A PNG file.
    model : MaskedAutoencoder
    batch : Batch
    run : RunConfig
    """
    drawn = model(batch.patches, batch.grid, batch.masks)  # (B, M, P)
    hidden, counted = hidden_values(batch.patches, batch.values, batch.masks)
    training = run.training
    _, mean, scale = targets(hidden, counted, training.target, training.target_damping)
    level = mean if training.target == "damped" else torch.zeros_like(mean)

    seen = batch.patches.clone()
    seen[~batch.values] = torch.nan
    filled = _with_hidden(seen, drawn * scale + level, batch)
    masked = _with_hidden(seen, torch.full_like(drawn, torch.nan), batch)
    pictures = [unpatchify(patches, batch.grid).numpy() for patches in (seen, masked, filled)]

    chosen = _liveliest(pictures[0])
    figure = Figure(figsize=(12, 1.9 * len(chosen) + 0.5), layout="constrained")
    rows = figure.subplots(len(chosen), 3, squeeze=False)
    extent = (0, batch.grid.n_frames / run.picture.frames_per_s, 0, run.picture.n_mels)
    for row, clip in zip(rows, chosen, strict=True):
        low, high = np.nanpercentile(pictures[0][clip], (2, 99.8))
        for axes, picture in zip(row, pictures, strict=True):
            axes.set_facecolor("0.85")
            axes.imshow(
                picture[clip].T,
                origin="lower",
                aspect="auto",
                extent=extent,
                vmin=low,
                vmax=high,
                cmap="magma",
                interpolation="nearest",
            )
            axes.set_yticks([])
    for axes, title in zip(rows[0], ("recorded", "seen", "seen and drawn"), strict=True):
        axes.set_title(title)
    for axes in rows[-1]:
        axes.set_xlabel("seconds")
    _save(figure, path)


def _with_hidden(patches: Tensor, drawn: Tensor, batch: Batch) -> Tensor:
    """Return (B, N, P) with the hidden patches replaced by (B, M, P)."""
    filled = patches.clone()
    for clip, hidden in enumerate(batch.masks.hidden):
        real = hidden >= 0
        filled[clip, hidden[real]] = drawn[clip, real]
    filled[~batch.values] = torch.nan
    return filled


def _liveliest(pictures: np.ndarray) -> list[int]:
    """Return the clips (of at least half the longest) whose values vary most, in order."""
    sound = np.isfinite(pictures).mean(axis=(1, 2))
    spread = np.nanstd(pictures, axis=(1, 2)) * (sound >= 0.5 * sound.max())
    return sorted(int(clip) for clip in np.argsort(-spread, kind="stable")[:N_CLIPS])


def _save(figure: Figure, path: Path) -> None:
    # Without metadata, the same picture gives the same bytes.
    FigureCanvasAgg(figure).print_figure(path, format="png", dpi=110, metadata={"Software": None})
