"""Instants that both clocks showed (claps, spoken markers), from a table of the user's.

In comes a table with a column `observer` and a column `recorder`; out come pairs of times that
:mod:`oscine.behaviour.clocks` tells offset and drift from.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from oscine.behaviour.orders import read_times
from oscine.behaviour.raw import RawTable, read_table
from oscine.behaviour.times import to_utc_ms
from oscine.config import WrongArgument
from oscine.sound.archive import shown

MARKERS: Mapping[str, pl.DataType] = {
    "observer_ms": pl.Int64(),  # UTC since 1970, by the observer's clock
    "recorder_ms": pl.Int64(),  # by the recorder's
    "marker": pl.String(),
}
_SIDES = ("observer", "recorder")
_EARLIEST_YEAR = 1990


def read_markers(file: Path, timezone: str) -> pl.DataFrame:
    """Read pairs of times.

    Parameters
    ----------
    file : Path
        With columns `observer` and `recorder`, each a date and a time of day, and `marker` where
        they have names.
    timezone : str
        Of times that state none.

    Returns
    -------
    pl.DataFrame
        As :data:`MARKERS`.

    Raises
    ------
    WrongArgument
        The file is no table, a column is missing, or a time cannot be read: a marker that is left
        out in silence would change the clock.
    """
    table = read_table(file)
    columns = {one.strip().lower(): one for one in table.columns}
    if not all(side in columns for side in _SIDES):
        raise WrongArgument(
            f"{shown(file)}: markers need a column observer and a column recorder, each with date "
            f"and time; it has {', '.join(table.columns)}"
        )
    named = columns.get("marker")
    names = table.column(named) if named else [f"line {row}" for row, _ in table.rows]
    times = [_times(file, table, columns[side], timezone) for side in _SIDES]
    return pl.DataFrame(
        {"observer_ms": times[0], "recorder_ms": times[1], "marker": names}, schema=dict(MARKERS)
    )


def _times(file: Path, table: RawTable, column: str, timezone: str) -> list[int]:
    lines = [row for row, _ in table.rows]
    reading = read_times(
        [[text] for text in table.column(column)],
        years=range(_EARLIEST_YEAR, datetime.now(UTC).year + 2),
        what=f"{file.name}, {column}",
        lines=lines,
    )
    times: list[int] = []
    for at, (line, moment) in enumerate(zip(lines, reading.moments, strict=True)):
        if moment is not None and moment.offset_min is None and not timezone:
            raise WrongArgument(f"{shown(file)}: its times state no zone: give it with --timezone")
        told = reading.troubles.get(at) if moment is None else to_utc_ms(moment, timezone)
        if not isinstance(told, int):
            why = "it has no time" if told is None else told.what
            raise WrongArgument(f"{shown(file)}, line {line}, {column}: {why}")
        times.append(told)
    return times
