"""Instants that both clocks showed (claps, spoken markers), from a table of the user's.

In comes a table with a column `observer` and a column `recorder`; out come pairs of times that
:mod:`oscine.behaviour.clocks` tells offset and drift from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from oscine.behaviour.orders import read_times
from oscine.behaviour.raw import RawTable, read_table
from oscine.behaviour.starts import local_ms
from oscine.behaviour.times import Moment
from oscine.config import WrongArgument
from oscine.sound.archive import shown
from oscine.sound.clock import EPOCH

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
    return [
        _utc_ms(moment, timezone, f"{shown(file)}, line {line}, {column}", reading.troubles, at)
        for at, (line, moment) in enumerate(zip(lines, reading.moments, strict=True))
    ]


def _utc_ms(
    moment: Moment | None,
    timezone: str,
    where: str,
    troubles: Mapping[int, Sequence[str]],
    at: int,
) -> int:
    if moment is None:
        why = troubles[at][1] if at in troubles else "there is no time"
        raise WrongArgument(f"{where}: {why}")
    if moment.offset_min is not None:
        return moment.local_ms - moment.offset_min * 60_000
    try:
        return local_ms(EPOCH + timedelta(milliseconds=moment.local_ms), timezone)
    except ValueError as error:
        raise WrongArgument(f"{where}: {error}") from error
