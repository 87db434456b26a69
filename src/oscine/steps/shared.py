"""What the steps share: a workspace held by one of them, its settings, what came before.

In comes a folder; out come its open catalogue, its configuration and its tape.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from oscine.config import (
    OscineConfig,
    PresetKind,
    WrongArgument,
    read_config,
    to_toml,
    with_overrides,
    with_preset,
)
from oscine.sound.clock import check_clock
from oscine.workspace.arrays import DISK_FULL, NewFile
from oscine.workspace.catalogue import (
    HEARD,
    Catalogue,
    RecordingRow,
    Stage,
)
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    from oscine.picture.tape import Tape


Progress = Callable[[str, int, int, str], None]
"""Told the step, how far it is, how far it goes, and a word on what is at hand.

A step called ``note`` is none: its word is a sentence that is to be read now.
"""
NOTE = "note"


RUN_NAME = "default"


def is_disk_full(error: Exception) -> bool:
    """Tell whether a step failed for want of space."""
    return isinstance(error, OSError) and error.errno in DISK_FULL


@contextmanager
def at_work(
    folder: Path,
    settings: Iterable[str],
    preset: str | None = None,
    kind: PresetKind = "picture",
    *,
    create: bool = False,
    wait_s: float = 0,
) -> Iterator[tuple[Workspace, Catalogue, OscineConfig]]:
    """Hold a workspace for one step; settings that the step refuses are forgotten again."""
    workspace = Workspace(folder, create=create)
    file = workspace.config_file
    with workspace.alone(wait_s):
        known = file.read_bytes() if file.exists() else None
        config = configured(workspace, settings, preset, kind)
        try:
            with workspace.catalogue() as catalogue:
                yield workspace, catalogue, config
        except ValueError:
            if known is not None and known != file.read_bytes():
                with NewFile(file) as path:
                    path.write_bytes(known)
            raise


@contextmanager
def looked_at(
    folder: Path, settings: Iterable[str], preset: str | None, kind: PresetKind
) -> Iterator[tuple[Workspace, Catalogue, OscineConfig]]:
    """Read a workspace that another process of the same run holds, with the same settings."""
    workspace = Workspace(folder)
    _, config = asked_config(workspace, settings, preset, kind)
    with workspace.catalogue() as catalogue:
        yield workspace, catalogue, config


def configured(
    workspace: Workspace,
    settings: Iterable[str],
    preset: str | None = None,
    kind: PresetKind = "picture",
) -> OscineConfig:
    """Return the workspace's configuration with overrides, and write down what changed."""
    known, config = asked_config(workspace, settings, preset, kind)
    if config != known:
        with NewFile(workspace.config_file) as path:
            path.write_text(to_toml(config), encoding="utf-8")
    return config


def asked_config(
    workspace: Workspace, settings: Iterable[str], preset: str | None, kind: PresetKind
) -> tuple[OscineConfig | None, OscineConfig]:
    """Return the workspace's configuration, if it has one, and the same with overrides."""
    file = workspace.config_file
    known = read_config(file, OscineConfig) if file.exists() else None
    config = known or OscineConfig()
    try:
        if preset is not None:
            config = with_preset(config, preset, kind)
        config = with_overrides(config, settings)
    except ValueError as error:
        raise WrongArgument(str(error)) from error
    if config == known:
        return known, config
    if known is None or config.clock != known.clock:
        check_clock_of(config)
    depth = config.model.depth
    if not all(-depth <= layer <= depth for layer in config.readout.layers):
        raise WrongArgument(
            f"readout.layers={list(config.readout.layers)} names a layer that the model has not: "
            f"its layers are 0 to {depth} (model.depth)"
        )
    if known is not None and (config.picture, config.activity) != (known.picture, known.activity):
        raise ValueError(
            f"{workspace.folder} was indexed with other settings of [picture] or [activity] "
            f"(see {file.name} there): use a new workspace for another preset or these settings"
        )
    return known, config


def check_clock_of(config: OscineConfig) -> None:
    """Refuse a time zone or a pattern for sites that is none.

    Raises
    ------
    WrongArgument
    """
    try:
        check_clock(config.clock.timezone, config.clock.site_from)
    except ValueError as error:
        raise WrongArgument(f"clock.timezone or clock.site_from: {error}") from error


def seeds_of(seed: int | None, *sections: str) -> list[str]:
    """Return the seed of some sections as dotted overrides."""
    return [] if seed is None else [f"{section}.seed={seed}" for section in sections]


def n_cores() -> int:
    """Return the cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def telling(progress: Progress | None, step: str) -> Callable[[int, int, str], None] | None:
    """Return what a room tells of its progress with, under the name of a step."""
    if progress is None:
        return None
    return lambda done, total, word: progress(step, done, total, word)


def telling_plainly(progress: Progress | None, step: str) -> Callable[[int, int], None] | None:
    """Return the same for a room that has no word on what is at hand."""
    if progress is None:
        return None
    return lambda done, total: progress(step, done, total, "")


def heard_recordings(catalogue: Catalogue) -> list[RecordingRow]:
    """Return the recordings that have frames on the tape."""
    return [row for row in catalogue.recordings(HEARD) if row.n_frames]


def archive_of(catalogue: Catalogue) -> str:
    """Return the fingerprint of all that was heard."""
    return needed(catalogue, "index").fingerprint


def needed(catalogue: Catalogue, name: str) -> Stage:
    """Return a step that must be done."""
    stage = catalogue.stage(name)
    if stage is None or not stage.finished:
        raise ValueError(f"{catalogue.path.parent}: run `oscine {name}` first")
    return stage


def open_tape(
    workspace: Workspace, catalogue: Catalogue, config: OscineConfig
) -> tuple[Tape, list[RecordingRow]]:
    """Return the tape and the recordings on it."""
    return tape_of(workspace, catalogue, config), heard_recordings(catalogue)


def tape_of(workspace: Workspace, catalogue: Catalogue, config: OscineConfig) -> Tape:
    """Return the tape.

    Raises
    ------
    ValueError
        It is not there, or not whole.
    """
    from oscine.picture.tape import Tape, tape_fingerprint

    folder = workspace.tape(tape_fingerprint(config.picture, config.activity))
    try:
        return Tape(folder, config.picture, catalogue.tape_rows())
    except ValueError as error:
        raise ValueError(
            f"{error} (the tape holds the pictures of all recordings, and nothing draws it again "
            "here: `oscine learn ARCHIVE -w NEW` makes another workspace)"
        ) from error


def untimed_words(catalogue: Catalogue, condition: str) -> str:
    """Say of how many events a condition on time could not ask; what is said ends a sentence."""
    n_untimed = catalogue.n_untimed(condition)
    if not n_untimed:
        return ""
    return f"; of {n_untimed:,} the time is not known (`oscine status` says why)"


def percent(share: float) -> str:
    """Return a share in percent, with as many digits as its distance to 100 % needs; never 100."""
    if share <= 0.9:
        return f"{share:.0%}"
    return f"{share:.1%}" if share <= 0.99 else f"{min(share, 0.9999):.2%}"


def alarms_of(catalogue: Catalogue) -> list[str]:
    """Return what is wrong with the model in use."""
    model = catalogue.stage("pretrain")
    return list(model.facts.get("alarms", ())) if model and model.finished else []
