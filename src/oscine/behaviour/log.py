"""Read a log of observations: what was seen, when somebody watched, and what could not be used.

In come a file as its observers keep it and what is declared of it; out come the tables of
:mod:`oscine.behaviour.tables`, the settings with nothing left open (``join.toml``: the log is read
again in the same way), and in words what was guessed. The steps call. Coding programs have readers
of their own (:mod:`oscine.behaviour.boris`, :mod:`oscine.behaviour.coders`), and so have tables and
forms (:mod:`oscine.behaviour.rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from oscine.behaviour.boris import boris_shape, read_boris
from oscine.behaviour.coders import is_jwatcher, is_solomon, read_jwatcher, read_solomon
from oscine.behaviour.config import LogConfig
from oscine.behaviour.guess import completed, words_of
from oscine.behaviour.parts import Gathered, LogParts
from oscine.behaviour.raw import RawTable, other_sheets, read_table
from oscine.behaviour.rows import TableReader, next_year
from oscine.behaviour.tables import Problem
from oscine.behaviour.times import days_of
from oscine.config import WrongArgument
from oscine.sound.archive import shown
from oscine.sound.clock import check_clock

_CODERS: Mapping[str, str] = {
    "boris": "BORIS",
    "solomon": "Solomon Coder",
    "jwatcher": "JWatcher",
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Log:
    """What one log says.

    Attributes
    ----------
    name : str
        Of the log.
    config : LogConfig
        What was declared and what was guessed: nothing is left open.
    guessed : tuple of str
        What was guessed and why, a sentence each.
    observations, effort, context, stated : pl.DataFrame
        As in :mod:`oscine.behaviour.tables`.
    problems : tuple of Problem
        In the order of the rows.
    n_rows : int
        Of the file, below the header; 0 where it is no table.
    """

    name: str
    config: LogConfig
    guessed: tuple[str, ...]
    observations: pl.DataFrame
    effort: pl.DataFrame
    context: pl.DataFrame
    stated: pl.DataFrame
    problems: tuple[Problem, ...]
    n_rows: int = 0


def read_log(
    file: Path,
    config: LogConfig | None = None,
    *,
    name: str = "",
    default_timezone: str = "",
    recorded: Iterable[tuple[int, int]] = (),
) -> Log:
    """Read a log of observations.

    Parameters
    ----------
    file : Path
    config : LogConfig
        What is declared of it. What is left open is guessed from the names of the columns and from
        what stands in them, and said.
    name : str
        Of the log; the stem of the file if empty.
    default_timezone : str
        Where none is declared, for times that state none; it is said that it was taken.
    recorded : iterable of (int, int)
        When each recording began and ended, milliseconds of UTC since 1970: where dates can be read
        in several orders, the one that has most of them on these days is taken, and it is said.

    Returns
    -------
    Log
        Rows that cannot be used are among its problems.

    Raises
    ------
    WrongArgument
        The file cannot be read, a column that is named is not there, nothing says when or what, no
        time can be read, dates can be read in several orders, or a zone is needed.
    """
    config = config or LogConfig()
    said: list[str] = []
    zone = config.timezone or default_timezone
    try:
        check_clock(zone, "")
    except ValueError as error:
        raise WrongArgument(str(error)) from error
    is_declared = bool(config.timezone)
    config = replace(config, timezone=zone, latest_year=config.latest_year or next_year())
    if config.latest_year < config.earliest_year:
        raise WrongArgument(
            f"latest_year ({config.latest_year}) lies before earliest_year ({config.earliest_year})"
        )
    n_rows = 0
    if config.format in ("", "jwatcher") and not _is_plain(config) and is_jwatcher(file):
        config, parts = replace(config, format="jwatcher"), read_jwatcher(file, config)
    else:
        try:
            table = read_table(
                file,
                sheet=config.sheet,
                separator=config.separator,
                encoding=config.encoding,
                header_line=config.header_line,
            )
            config, parts = _read(table, config, recorded, is_zone_declared=is_declared)
        except WrongArgument as error:
            if config.sheet or not (others := other_sheets(file)):
                raise
            raise WrongArgument(f"{error} ({others})") from error
        said.append(f"{table.described}; line {table.header_line} names the columns")
        n_rows = len(table.rows)
    if config.timezone and not is_declared:
        said.append(f"times that state no zone are of {config.timezone} (another: --timezone)")
    log = Log(
        name=file.stem,
        config=replace(config, guess=False),
        guessed=(*said, *parts.guessed),
        observations=parts.observations,
        effort=parts.effort,
        context=parts.context,
        stated=parts.stated,
        problems=parts.problems,
        n_rows=n_rows,
    )
    return _renamed(log, name) if name else log


def _is_plain(config: LogConfig) -> bool:
    """Tell whether what is declared is of a table or form of people's own."""
    is_told = config.time or config.start or config.behaviour or config.behaviours
    return config.format in ("table", "form") or (not config.format and bool(is_told))


def _read(
    table: RawTable,
    config: LogConfig,
    recorded: Iterable[tuple[int, int]],
    *,
    is_zone_declared: bool,
) -> tuple[LogConfig, LogParts]:
    """Read a table by the reader for its kind."""
    if not _is_plain(config):
        if config.format in ("", "boris") and boris_shape(table):
            return replace(config, format="boris"), read_boris(table, config)
        if config.format in ("", "solomon") and is_solomon(table):
            return replace(config, format="solomon"), read_solomon(table, config)
    if config.format in _CODERS:
        raise WrongArgument(
            f"{shown(table.file)} is not laid out as {_CODERS[config.format]} writes its logs: "
            "leave the format out, and it is found"
        )
    guess = completed(table, config)
    names = (*guess.config.time, *guess.config.start)
    if not is_zone_declared and any(words_of(name) & {"utc", "gmt"} for name in names):
        guess = replace(guess, config=replace(guess.config, timezone="UTC"))
    gathered = Gathered(log=table.file.stem, lone_row_ms=config.tolerance_ms)
    for sentence in guess.said:
        gathered.say(sentence)
    days = days_of(recorded, guess.config.timezone)
    reader = TableReader(table, guess.config, gathered, days=days)
    reader.read()
    return reader.config, gathered.parts()


def _renamed(log: Log, name: str) -> Log:
    tables = {
        one: getattr(log, one).with_columns(log=pl.lit(name))
        for one in ("observations", "effort", "context", "stated")
    }
    problems = tuple(replace(one, log=name) for one in log.problems)
    return replace(log, name=name, problems=problems, **tables)
