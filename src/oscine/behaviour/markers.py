"""Instants that both clocks showed (claps, spoken markers), from a table of the user's.

In comes a table with a column `observer` and a column `recorder`; out come pairs of times that
:mod:`oscine.behaviour.clocks` tells offset and drift from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from oscine.behaviour.orders import Reading, read_times
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


def read_markers(
    file: Path, timezone: str, *, prefer: str = "", days: Collection[int] = ()
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Read pairs of times.

    Parameters
    ----------
    file : Path
        With columns `observer` and `recorder`, each a date and a time of day, and `marker` where
        they have names.
    timezone : str
        Of times that state none.
    prefer, days
        As in :func:`~oscine.behaviour.orders.read_times`.

    Returns
    -------
    markers : pl.DataFrame
        As :data:`MARKERS`.
    said : tuple of str
        In which order dates were read, where that was not declared.

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
    readings = [_reading(file, table, columns[side], prefer, days) for side in _SIDES]
    observer, recorder = (
        _times(file, table, columns[side], one, timezone)
        for side, one in zip(_SIDES, readings, strict=True)
    )
    said = tuple(
        f"{file.name}, {side}: {why}"
        for side, one in zip(_SIDES, readings, strict=True)
        for why in one.why
    )
    return pl.DataFrame(
        {"observer_ms": observer, "recorder_ms": recorder, "marker": names}, schema=dict(MARKERS)
    ), said


def _reading(
    file: Path, table: RawTable, column: str, prefer: str, days: Collection[int]
) -> Reading:
    return read_times(
        [[text] for text in table.column(column)],
        years=range(_EARLIEST_YEAR, datetime.now(UTC).year + 2),
        prefer=prefer,
        days=days,
        what=f"{file.name}, {column}",
        lines=[row for row, _ in table.rows],
    )


def _times(file: Path, table: RawTable, column: str, reading: Reading, timezone: str) -> list[int]:
    times: list[int] = []
    for at, ((line, _), moment) in enumerate(zip(table.rows, reading.moments, strict=True)):
        if moment is not None and moment.offset_min is None and not timezone:
            raise WrongArgument(f"{shown(file)}: its times state no zone: give it with --timezone")
        told = reading.troubles.get(at) if moment is None else to_utc_ms(moment, timezone)
        if not isinstance(told, int):
            why = "it has no time" if told is None else told.what
            raise WrongArgument(f"{shown(file)}, line {line}, {column}: {why}")
        times.append(told)
    return times
