"""The log of a run: one line of JSON for each thing that happened, at a step.

In come rows as they happen; out go losses, signs of health, and what to tell people.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oscine.workspace.arrays import NewFile

LOG = "log.jsonl"
WAITING = "waiting_share"
"""Of a row: the share of the time in which a step waited for its windows. The only figure in a log
that a run which was stopped and went on does not have to the digit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """The loss on the evaluation windows beside its two baselines, on the same masks.

    Attributes
    ----------
    loss, loss_mean, loss_interpolation : float
    by_level, mean_by_level, interpolation_by_level : tuple of 4 floats
        The same, of the quarters of the hidden patches from the quietest to the loudest. Empty
        in logs of older versions.
    """

    step: int
    loss: float
    loss_mean: float
    loss_interpolation: float
    by_level: tuple[float, ...] = ()
    mean_by_level: tuple[float, ...] = ()
    interpolation_by_level: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Signs:
    """What the features of a fixed sample say at a step, and what the drawings give away.

    Ranks, shares and ratios are of the encoder's last layer, after its norm, nothing hidden: one
    vector a patch. Centred ones are less the mean of the sample's patches at the same place of the
    window: what is left is what the sound adds to its place.

    Attributes
    ----------
    effective_rank, first_share : float
        Of the centred vectors, as in :class:`oscine.model.geometry.Geometry`.
    spread : float
        Length of the centred vectors over that of the vectors as they come (root mean squares):
        0 where all sounds look the same.
    mean_cosine : float
        Between vectors as they come.
    rogue_ratio, rogue_offset : float
        The largest dimension over the median one, of the centred vectors and as they come; at
        most a million.
    background_identity, background_in_sound, background_chance : float or None
        How often the nearest neighbour of a stretch of quiet frames is the other one of its
        recording: by the features, by the mean log-mel itself, and by chance. None where fewer
        than two recordings have two such stretches.
    hidden_change : float
        How far the drawings change, in power, when the values of each hidden patch are shuffled:
        0, since the model does not see them.
    shuffled_loss : float
        The loss on these shuffled values over that of drawing each patch as its mean: at least 1,
        since nothing can be known of them.
    """

    step: int
    effective_rank: float
    first_share: float
    spread: float
    mean_cosine: float
    rogue_ratio: float
    rogue_offset: float
    background_identity: float | None
    background_in_sound: float | None
    background_chance: float | None
    hidden_change: float
    shuffled_loss: float


def read_losses(folder: Path) -> tuple[list[dict[str, float]], list[Losses]]:
    """Read the log of a run.

    Returns
    -------
    training : list of dict
        ``step`` and ``training_loss``; of newer versions ``gradient_norm`` and ``update_share``.
    evaluation : list of Losses

    Raises
    ------
    ValueError
        It is damaged.
    """
    rows = _rows(folder)
    training = [row for row in rows if "training_loss" in row]
    return training, [_losses(row) for row in rows if "loss" in row]


def read_signs(folder: Path) -> list[Signs]:
    """Read the signs of health from the log of a run; older versions wrote none.

    Raises
    ------
    ValueError
        It is damaged.
    """
    return [Signs(**row) for row in _rows(folder) if "effective_rank" in row]


def read_rewinds(folder: Path) -> list[str]:
    """Return where a run went back to an earlier step, or on with other recordings; sentences."""
    file = folder / LOG
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    said = []
    for row in map(json.loads, lines):
        if "not_finite_at" in row:
            said.append(
                f"Step {row['not_finite_at']:,} was not finite: the run went back to step "
                f"{row['step'] - 1:,}, and on at {row['rate_factor']:g} of the learning rate."
            )
        if "archive" in row:
            said.append(
                f"From step {row['step']:,} on the run learned from other recordings than before: "
                "the archive changed while it was stopped, so losses before and after are not of "
                "the same windows."
            )
        if "damaged" in row:
            said.append(
                f"A checkpoint was damaged (kept as {row['damaged']}): the run went back to step "
                f"{row['step']:,}."
            )
    return said


def append(file: Path, row: dict[str, Any]) -> None:
    """Add a line."""
    with open(file, "a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def cut(file: Path, step: int) -> None:
    """Drop the lines after a step: they will be written again, and so will a torn last line."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if step and row["step"] <= step:
            kept.append(line + "\n")
    with NewFile(file) as path:
        path.write_text("".join(kept), encoding="utf-8")


def _rows(folder: Path) -> list[dict[str, Any]]:
    file = folder / LOG
    if not file.exists():
        return []
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): use --fresh to train again") from error


def _losses(row: dict[str, Any]) -> Losses:
    lists: dict[str, Any] = {
        name: tuple(value) for name, value in row.items() if isinstance(value, list)
    }
    return Losses(**{**row, **lists})
