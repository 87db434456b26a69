"""Logs as a workspace keeps them: a folder each, from which the join is made again.

In come a log that was read and how its clock is corrected; out come the same again, from
``join.toml`` and Parquet tables beside it. The step `join` is the only caller.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from oscine.behaviour.clocks import Clock
from oscine.behaviour.config import LogConfig
from oscine.behaviour.join import JoinConfig
from oscine.behaviour.log import Log
from oscine.behaviour.tables import CONTEXT, EFFORT, OBSERVATIONS, STATED, Problem, empty
from oscine.config import WrongArgument, from_mapping, read_config, to_toml
from oscine.workspace.arrays import NewFile

SETTINGS, ABOUT, SAID = "analysis.toml", "join.toml", "said.json"
_TABLES = {"observations": OBSERVATIONS, "effort": EFFORT, "context": CONTEXT, "stated": STATED}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockConfig:
    """How the observer's clock is corrected; nothing unless it is declared."""

    is_corrected: bool = False
    source: Literal["declared", "markers", "activity"] = "declared"
    """Who told: the user, or what Oscine reckoned from markers, or from calls and behaviour."""
    offset_ms: float = 0.0
    """What the observer's clock shows more than the recorder's, when it shows ``at_ms``."""
    drift_ppm: float = 0.0
    at_ms: int = 0
    """In milliseconds of UTC since 1970."""
    uncertainty_ms: float = 0.0
    """Half of the 95 % interval of the offset; 0: not known."""

    @property
    def clock(self) -> Clock | None:
        """What to hand to :func:`oscine.behaviour.clocks.corrected`."""
        if not self.is_corrected:
            return None
        return Clock(offset_ms=self.offset_ms, drift_ppm=self.drift_ppm, at_ms=self.at_ms)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisConfig:
    """How all logs of a workspace are joined, and what is asked of the join."""

    join: JoinConfig = field(default_factory=JoinConfig)
    permutations: int = 0
    """0: as many as one pair among all needs to be found."""
    false_discovery_rate: float = 0.05
    """Share of false ones among the pairs that are called found."""
    seed: int = 0
    """Of the permutations."""

    def __post_init__(self) -> None:
        if self.permutations < 0:
            raise ValueError(f"permutations must not be negative, not {self.permutations}")
        if not 0 < self.false_discovery_rate < 1:
            raise ValueError(
                f"false_discovery_rate must lie between 0 and 1, not {self.false_discovery_rate}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class AboutLog:
    """What ``join.toml`` of a log holds."""

    file: str
    """Name of the file it was read from."""
    content_hash: str
    log: LogConfig
    clock: ClockConfig = field(default_factory=ClockConfig)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KeptLog:
    """A log of a workspace.

    Attributes
    ----------
    about : AboutLog
    log : Log
    markers : pl.DataFrame
        Pairs of times that were given for its clock, as
        :data:`oscine.behaviour.markers.MARKERS`.
    """

    about: AboutLog
    log: Log
    markers: pl.DataFrame


def content_hash(file: Path) -> str:
    """Return what tells one version of a file from another."""
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


def check_name(name: str) -> str:
    """Return the name of a log, if a folder can have it.

    Raises
    ------
    WrongArgument
    """
    if not re.fullmatch(r"[\w][\w .,+()-]*", name):
        raise WrongArgument(
            f"a log cannot be called {name!r}: give --name with letters, digits and - or _"
        )
    return name


def config_of(file: Path) -> LogConfig:
    """Read how a log is read: a ``join.toml`` of a workspace, or the settings alone.

    Raises
    ------
    WrongArgument
        It is neither.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
        if "log" in values:
            return from_mapping(AboutLog, values).log
        return from_mapping(LogConfig, values)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise WrongArgument(f"{file} does not say how a log is read: {error}") from error


def keep(folder: Path, kept: KeptLog) -> None:
    """Write a log into the folder of all logs, in place of one of its name.

    ``join.toml`` comes last: a log without it was not written whole, and is not there.
    """
    home = folder / check_name(kept.log.name)
    home.mkdir(parents=True, exist_ok=True)
    (home / ABOUT).unlink(missing_ok=True)
    tables = {name: getattr(kept.log, name) for name in _TABLES} | {"markers": kept.markers}
    for name, table in tables.items():
        with NewFile(home / f"{name}.parquet") as path:
            table.write_parquet(path)
    said = {
        "n_rows": kept.log.n_rows,
        "guessed": list(kept.log.guessed),
        "problems": [asdict(problem) for problem in kept.log.problems],
    }
    with NewFile(home / SAID) as path:
        path.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    with NewFile(home / ABOUT) as path:
        path.write_text(to_toml(kept.about), encoding="utf-8")


def kept_logs(folder: Path) -> list[KeptLog]:
    """Return the logs in a folder, by name; their observations are numbered through.

    Raises
    ------
    ValueError
        One cannot be read: it was changed by hand.
    """
    found: list[KeptLog] = []
    n_before = 0
    for about_file in sorted(folder.glob(f"*/{ABOUT}")):
        home = about_file.parent
        about = read_config(about_file, AboutLog)
        try:
            said = json.loads((home / SAID).read_bytes())
            tables = {name: pl.read_parquet(home / f"{name}.parquet") for name in _TABLES}
            markers = pl.read_parquet(home / "markers.parquet")
            problems = tuple(Problem(**one) for one in said["problems"])
            guessed = tuple(said["guessed"])
        except (OSError, ValueError, TypeError, KeyError, pl.exceptions.PolarsError) as error:
            raise ValueError(f"{home} cannot be read ({error}): join {about.file} again") from error
        observations = tables["observations"].with_columns(pl.col("observation") + n_before)
        n_before += len(observations)
        log = Log(
            name=home.name,
            config=about.log,
            guessed=guessed,
            observations=observations,
            effort=tables["effort"],
            context=tables["context"],
            stated=tables["stated"],
            problems=problems,
            n_rows=said.get("n_rows", 0),
        )
        found.append(KeptLog(about=about, log=log, markers=markers))
    return found


def broken_off(folder: Path) -> list[str]:
    """Return the names of logs that were not written whole."""
    return sorted(one.name for one in folder.glob("*/") if not (one / ABOUT).exists())


def check_kept(folder: Path, name: str) -> None:
    """See that there is a log of a name.

    Raises
    ------
    WrongArgument
        There is none.
    """
    if not (folder / check_name(name) / ABOUT).exists():
        known = ", ".join(sorted(one.parent.name for one in folder.glob(f"*/{ABOUT}"))) or "none"
        raise WrongArgument(f"no log {name!r} was joined; there are: {known}")


def forget(folder: Path, name: str) -> None:
    """Remove a log, or what is left of it."""
    home = folder / check_name(name)
    (home / ABOUT).unlink(missing_ok=True)
    if home.exists():
        shutil.rmtree(home)


def analysis(folder: Path) -> AnalysisConfig:
    """Return the settings of the join, as they were last."""
    file = folder / SETTINGS
    return read_config(file, AnalysisConfig) if file.exists() else AnalysisConfig()


def keep_analysis(folder: Path, config: AnalysisConfig) -> None:
    """Write the settings of the join."""
    with NewFile(folder / SETTINGS) as path:
        path.write_text(to_toml(config), encoding="utf-8")


def together(tables: Sequence[pl.DataFrame], kind: str) -> pl.DataFrame:
    """Return the rows of several logs as one table; `kind` names it."""
    # Logs that were kept by an earlier version state no site of their effort.
    return pl.concat([empty(_TABLES[kind]), *tables], how="diagonal")
