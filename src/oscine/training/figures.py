"""Pictures of a run: its curves, its health, and what the model saw and drew.

In come the log and a batch; out come PNG files in the folder of the run.

Axes: B batch, T frames, F mel bands, N patches, M hidden patches, P values in a patch.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from oscine.config import TrainingConfig
from oscine.model.autoencoder import MaskedAutoencoder, hidden_values, targets
from oscine.model.checkpoint import RunConfig
from oscine.model.patches import unpatchify
from oscine.training.batches import Batch, make_batch
from oscine.training.log import Losses, Signs
from oscine.training.verdicts import (
    LEAST_RANK,
    LEAST_SHUFFLED_LOSS,
    LEAST_SPREAD,
    LEAST_UPDATE,
    MOST_FIRST,
    MOST_HIDDEN_CHANGE,
    MOST_OFFSET,
    MOST_ROGUE,
    MOST_UPDATE,
    alarms,
    verdicts,
)
from oscine.training.windows import Windows

N_CLIPS = 5
LEAST_SHOWN = 1e-9
"""Stands for 0 where a scale is logarithmic."""

Line = tuple[Sequence[float], Sequence[float]]
"""Steps and values."""


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


def draw_health(
    path: Path,
    training: Sequence[dict[str, float]],
    evaluation: Sequence[Losses],
    signs: Sequence[Signs],
    settings: TrainingConfig,
) -> None:
    """Draw the signs of health over the steps; what raises an alarm has a red title.

    Dotted lines stand where an alarm begins. What was not logged is left out.

    Parameters
    ----------
    path : Path
        A PNG file.
    training, evaluation, signs, settings
        As for :func:`oscine.training.verdicts.verdicts`.
    """
    found = verdicts(training, evaluation, signs, settings)
    alarming = {one.name for one in found if one.is_alarm}

    def of_loss(quarter: int | None) -> Line:
        rows = [one for one in evaluation if quarter is None or one.by_level]
        shares = []
        for one in rows:
            loss, mean = one.loss, one.loss_mean
            if quarter is not None:
                loss, mean = one.by_level[quarter], one.mean_by_level[quarter]
            shares.append(loss / mean if mean > 0 else np.nan)
        return [one.step for one in rows], shares

    def of_sign(name: str) -> Line:
        rows = [one for one in signs if getattr(one, name) is not None]
        return [one.step for one in rows], [getattr(one, name) for one in rows]

    def of_row(name: str) -> Line:
        rows = [row for row in training if name in row]
        return [row["step"] for row in rows], [row[name] for row in rows]

    # Title, scale, the verdicts that it shows, and lines with where their alarms begin.
    panels: tuple[tuple[str, str, set[str], dict[str, tuple[Line, list[float]]]], ...] = (
        (
            "loss over that of each patch's mean",
            "linear",
            {"loss", "loud patches", "course"},
            {
                "all": (of_loss(None), [1.0]),
                "quietest quarter": (of_loss(0), []),
                "loudest quarter": (of_loss(-1), []),
            },
        ),
        (
            "effective rank of the features",
            "linear",
            {"collapse"},
            {"effective rank": (of_sign("effective_rank"), [LEAST_RANK])},
        ),
        (
            "how far the features are one direction",
            "linear",
            {"collapse"},
            {
                "share along the first": (of_sign("first_share"), [MOST_FIRST]),
                "mean cosine of two": (of_sign("mean_cosine"), []),
            },
        ),
        (
            "spread of the features",
            "log",
            {"collapse"},
            {"spread": (of_sign("spread"), [LEAST_SPREAD])},
        ),
        (
            "their largest dimension over the median",
            "log",
            {"rogue dimension"},
            {
                "centred": (of_sign("rogue_ratio"), [MOST_ROGUE]),
                "as they come": (of_sign("rogue_offset"), [MOST_OFFSET]),
            },
        ),
        (
            "quiet frames that find their recording",
            "linear",
            {"background"},
            {
                "by the features": (of_sign("background_identity"), []),
                "by their spectrum": (of_sign("background_in_sound"), []),
                "by chance": (of_sign("background_chance"), []),
            },
        ),
        (
            "what cannot be known of hidden patches",
            "linear",
            {"leak"},
            {
                "loss on shuffled ones over their mean's": (
                    of_sign("shuffled_loss"),
                    [LEAST_SHUFFLED_LOSS],
                ),
                "change of drawings with what is hidden": (
                    of_sign("hidden_change"),
                    [MOST_HIDDEN_CHANGE],
                ),
            },
        ),
        (
            "length of the gradient",
            "log",
            {"gradients"},
            {"before it is clipped": (of_row("gradient_norm"), [settings.gradient_clip])},
        ),
        (
            "step over the length of the weights",
            "log",
            {"updates"},
            {"step": (of_row("update_share"), [LEAST_UPDATE, MOST_UPDATE])},
        ),
    )
    said = [
        line
        for sentence in alarms(found)
        for line in textwrap.wrap(sentence, 150, break_on_hyphens=False)
    ] or ["no alarm"]
    # Laid out by hand, in inches: a layout that fits itself takes twice the time.
    head = 0.5 + 0.2 * len(said)
    height = 9 + head
    figure = Figure(figsize=(12, height))
    figure.subplots_adjust(0.06, 0.5 / height, 0.98, 1 - head / height, hspace=0.3)
    figure.text(0.01, 1 - 0.1 / height, "\n".join(said), verticalalignment="top")
    for axes, (title, scale, names, lines) in zip(figure.subplots(3, 3).flat, panels, strict=True):
        if not any(steps for (steps, _), _ in lines.values()):
            axes.set_visible(False)
            continue
        axes.set(xlabel="step", yscale=scale)
        for label, ((steps, values), limits) in lines.items():
            shown = np.maximum(values, LEAST_SHOWN) if scale == "log" else values
            (drawn,) = axes.plot(steps, shown, label=label)
            for limit in limits:
                axes.axhline(limit, color=drawn.get_color(), linestyle=":")
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")  # powers are set as formulas, which takes long
        is_alarm = not alarming.isdisjoint(names)
        axes.set_title(
            f"ALARM: {title}" if is_alarm else title,
            color="tab:red" if is_alarm else "black",
            fontsize="medium",
        )
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize="small")
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
    pictures = _redrawn(model, batch, run.training)

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


@torch.no_grad()
def redrawn_window(
    model: MaskedAutoencoder,
    log_mel: np.ndarray,
    n_bands: int,
    training: TrainingConfig,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Hide patches of a window as in training, and let the model draw them.

    Parameters
    ----------
    model : MaskedAutoencoder
    log_mel : np.ndarray of float32 [shape=(T, F)]
    n_bands : int
        Valid bands.
    training : TrainingConfig
    seed : int
        Of the mask.

    Returns
    -------
    drawn : np.ndarray of float32 [shape=(T, F)]
        Log-mel; as it was where nothing was hidden. See :func:`draw_reconstruction`.
    is_hidden : np.ndarray of bool [shape=(T, F)]
    """
    windows = Windows(
        log_mel=log_mel[None],
        n_frames=np.array([len(log_mel)]),
        n_bands=np.array([n_bands]),
        generators=(np.random.default_rng(seed),),
    )
    batch = make_batch(windows, model.eval(), training, torch.device("cpu"))
    _, masked, filled = (one[0, : len(log_mel)] for one in _redrawn(model, batch, training))
    is_hidden = np.isnan(masked) & np.isfinite(filled)
    encoder = model.encoder
    drawn = filled * float(encoder.log_mel_std) + float(encoder.log_mel_mean)
    return np.where(is_hidden, drawn, log_mel), is_hidden


def _redrawn(model: MaskedAutoencoder, batch: Batch, training: TrainingConfig) -> list[np.ndarray]:
    """Return the pictures (B, T, F), what the model saw of them, and with what it drew.

    Standardised; NaN where there is no sound, and where it is hidden.
    """
    drawn = model(batch.patches, batch.grid, batch.masks)  # (B, M, P)
    hidden, counted = hidden_values(batch.patches, batch.values, batch.masks)
    _, mean, scale = targets(hidden, counted, training.target, training.target_damping)
    level = mean if training.target == "damped" else torch.zeros_like(mean)

    seen = batch.patches.clone()
    seen[~batch.values] = torch.nan
    filled = _with_hidden(seen, drawn * scale + level, batch)
    masked = _with_hidden(seen, torch.full_like(drawn, torch.nan), batch)
    return [unpatchify(patches, batch.grid).numpy() for patches in (seen, masked, filled)]


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
