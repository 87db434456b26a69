"""A trained model as a folder: weights.safetensors, run.toml, provenance.json.

In come a model and the configuration it was made with; out comes the same, from another process
or another machine. Nothing is ever unpickled. A folder appears under its name only once whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from oscine.config import (
    ModelConfig,
    NotThere,
    PictureConfig,
    TrainingConfig,
    read_config,
    to_toml,
)
from oscine.model.autoencoder import Encoder, MaskedAutoencoder
from oscine.workspace.arrays import sync, system_errors

WEIGHTS, RUN, PROVENANCE, OPTIMISER = (
    "weights.safetensors",
    "run.toml",
    "provenance.json",
    "optimiser.safetensors",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """What a run was made with: enough to make it again."""

    picture: PictureConfig
    model: ModelConfig
    training: TrainingConfig


def save_checkpoint(
    folder: Path,
    model: MaskedAutoencoder,
    run: RunConfig,
    provenance: dict[str, Any],
    optimiser: dict[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint beside its place, then rename it there.

    Parameters
    ----------
    folder : Path
    model : MaskedAutoencoder
    run : RunConfig
    provenance : dict
        What JSON can hold: step, versions, the fingerprint of the archive.
    optimiser : dict of Tensor, optional
        Flat state, to go on training from.

    Raises
    ------
    OSError
        It cannot be written, as on a full disk; nothing of it is left.
    """
    beside = folder.with_name(f".{folder.name}.part")
    for left in (beside, *folder.parent.glob(".[0-9]*.part")):  # by one that was killed
        shutil.rmtree(left, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in _state(model)}
        _save(weights, beside / WEIGHTS)
        if optimiser is not None:
            _save(optimiser, beside / OPTIMISER)
        (beside / RUN).write_text(to_toml(run), encoding="utf-8")
        text = json.dumps(provenance, indent=2, sort_keys=True)
        (beside / PROVENANCE).write_text(text + "\n", encoding="utf-8")
        for path in beside.iterdir():
            sync(path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(beside, folder)


def find_checkpoint(place: Path) -> Path:
    """Return the checkpoint at a place: itself, the newest of a run, or that of a workspace's run.

    Parameters
    ----------
    place : Path
        A checkpoint, a run (``WORKSPACE/runs/NAME``), or a workspace with a run named default.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    if (place / WEIGHTS).is_file():
        return place
    for run in (place, place / "runs" / "default"):
        found = sorted(one for one in (run / "checkpoints").glob("[0-9]*") if one.is_dir())
        if found:
            return found[-1]
    raise NotThere(
        f"{place} is no checkpoint, and holds none: name a workspace, a run, or one of "
        "WORKSPACE/runs/NAME/checkpoints/"
    )


def load_checkpoint(folder: Path) -> tuple[MaskedAutoencoder, RunConfig, dict[str, Any]]:
    """Read a checkpoint back.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    model : MaskedAutoencoder
    run : RunConfig
    provenance : dict

    Raises
    ------
    FileNotFoundError
        The folder is no checkpoint.
    ValueError
        A file of it is damaged, or the weights do not fit the configuration.
    """
    for name in (WEIGHTS, RUN, PROVENANCE):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} is no checkpoint: it holds no {name} "
                "(checkpoints lie in WORKSPACE/runs/NAME/checkpoints/)"
            )
    run = read_config(folder / RUN, RunConfig)
    model = MaskedAutoencoder(run.model, run.picture)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
        provenance = load_provenance(folder)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise ValueError(f"{folder} is damaged and cannot be loaded: {error}") from error
    return model, run, provenance


def load_optimiser(folder: Path) -> dict[str, Tensor]:
    """Read the optimiser's state of a checkpoint.

    Raises
    ------
    ValueError
        The checkpoint has none, or it is damaged.
    """
    try:
        return load_file(folder / OPTIMISER)
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"{folder} cannot be trained on: {error}") from error


def load_encoder(folder: Path) -> Encoder:
    """Return the frozen encoder of a checkpoint, in evaluation mode and without gradients."""
    model, _, _ = load_checkpoint(folder)
    return model.encoder.eval().requires_grad_(False)


def load_provenance(folder: Path) -> dict[str, Any]:
    """Return how a checkpoint came about: step, versions, the fingerprint of its archive.

    Raises
    ------
    ValueError
        The file is damaged, or does not say step and archive.
    """
    provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    if not isinstance(provenance, dict) or not {"step", "archive"} <= provenance.keys():
        raise ValueError(f"{PROVENANCE} does not give step and archive")
    return provenance


def weights_fingerprint(folder: Path) -> str:
    """Return 16 hexadecimal digits that stand for a checkpoint's weights."""
    with open(folder / WEIGHTS, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as flat tensors, named by parameter number and kind."""
    state = optimiser.state_dict()["state"]
    return {
        f"{number}.{kind}": tensor.detach().cpu().contiguous()
        for number, kinds in state.items()
        for kind, tensor in kinds.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    """Put flat state, as of :func:`optimiser_state`, back into an optimiser."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in flat.items():
        number, kind = name.split(".")
        state.setdefault(int(number), {})[kind] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _state(model: MaskedAutoencoder) -> list[tuple[str, Tensor]]:
    return sorted(model.state_dict().items())


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    with system_errors(file):
        save_file(tensors, file)
