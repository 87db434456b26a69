"""The log of a run: one line of JSON for each thing that happened, at a step.

In come rows as they happen; out go losses, and what to tell people.
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
    """The loss on the evaluation windows beside its two baselines, on the same masks."""

    step: int
    loss: float
    loss_mean: float
    loss_interpolation: float


def read_losses(folder: Path) -> tuple[list[dict[str, float]], list[Losses]]:
    """Read the log of a run.

    Returns
    -------
    training : list of dict
        ``step`` and ``training_loss``.
    evaluation : list of Losses

    Raises
    ------
    ValueError
        It is damaged.
    """
    file = folder / LOG
    if not file.exists():
        return [], []
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): use --fresh to train again") from error
    training = [row for row in rows if "training_loss" in row]
    return training, [Losses(**row) for row in rows if "loss" in row]


def read_rewinds(folder: Path) -> list[str]:
    """Return where and why a run went back to an earlier step, in sentences."""
    file = folder / LOG
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    said = []
    for row in map(json.loads, lines):
        if "not_finite_at" in row:
            said.append(
                f"Step {row['not_finite_at']:,} was not finite: the run went back to step "
                f"{row['step'] - 1:,}, and on at {row['rate_factor']:g} of the learning rate."
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
