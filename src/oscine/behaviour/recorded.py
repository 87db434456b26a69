"""When and where recordings were made, from a table of the user's, where the files do not say.

In comes a table with a row a recording; out come its times, sites and callers for those recordings
of the archive that it names. The step `join` asks for it with ``--recorded``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from oscine.behaviour.matching import match_keys
from oscine.behaviour.orders import read_times
from oscine.behaviour.raw import RawTable, lines_of, read_table
from oscine.behaviour.times import Trouble, to_utc_ms
from oscine.config import WrongArgument
from oscine.sound.archive import shown

RECORDED: Mapping[str, pl.DataType] = {
    "path": pl.String(),  # as the table has it
    "row": pl.Int64(),
    "start_ms": pl.Int64(),  # of the first sample, UTC since 1970; null where it is not said
    "site": pl.String(),
    "caller": pl.String(),
}

_PATHS = ("path", "file", "filename", "file_name", "recording")
_TIMES = ("recorded_at", "start", "started_at", "datetime", "date_time", "time")
_DATES = ("date", "day")
_SITES, _CALLERS = ("site", "location", "station"), ("caller", "subject")
_EARLIEST_YEAR = 1990


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recorded:
    """What a table says of recordings.

    Attributes
    ----------
    recordings : pl.DataFrame
        As :data:`RECORDED`.
    said : tuple of str
        How the table was read, and which of its rows have a time that cannot be used.
    """

    recordings: pl.DataFrame
    said: tuple[str, ...]


def read_recorded(file: Path, timezone: str, *, prefer: str = "") -> Recorded:
    """Read a table of recordings.

    Parameters
    ----------
    file : Path
        With a column `path` (or `file`, `filename`, `recording`) and one of when the recording
        began (`recorded_at`, `start`, `datetime`, or `date` and `time`); `site` and `caller` are
        taken where they are there. Other columns are not looked at.
    timezone : str
        Of times that state none.
    prefer : str
        As in :func:`~oscine.behaviour.orders.read_times`.

    Returns
    -------
    Recorded

    Raises
    ------
    WrongArgument
        The file is no table, a column is missing, no time can be read, or a zone is needed.
    """
    table = read_table(file)
    name = shown(Path(file.name))
    path_column = _column(table, _PATHS)
    time_columns = _time_columns(table)
    if not path_column or not time_columns:
        raise WrongArgument(
            f"{shown(file)}: --recorded needs a column path and a column recorded_at (or date and "
            f"time); it has {', '.join(table.columns)}"
        )
    site_column, caller_column = _column(table, _SITES), _column(table, _CALLERS)
    texts = list(zip(*(table.column(one) for one in time_columns), strict=True))
    reading = read_times(
        texts,
        years=range(_EARLIEST_YEAR, datetime.now(UTC).year + 2),
        prefer=prefer,
        what=name,
        lines=[row for row, _ in table.rows],
    )
    said = [
        f"{name}: recordings begin at {' and '.join(time_columns)}, read as {reading.date_format}",
        *(f"{name}: {why}" for why in reading.why),
    ]
    unusable: list[tuple[int, str]] = []
    rows: list[tuple[str, int, int | None, str, str]] = []
    sites = table.column(site_column) if site_column else [""] * len(table.rows)
    callers = table.column(caller_column) if caller_column else [""] * len(table.rows)
    for at, ((row, _), path, moment, site, caller) in enumerate(
        zip(table.rows, table.column(path_column), reading.moments, sites, callers, strict=True)
    ):
        trouble = reading.troubles.get(at)
        if moment is not None and moment.offset_min is None and not timezone:
            raise WrongArgument(f"{shown(file)}: its times state no zone: give it with --timezone")
        told = to_utc_ms(moment, timezone) if moment is not None else None
        start_ms = told if isinstance(told, int) else None
        trouble = told if isinstance(told, Trouble) else trouble
        if trouble is not None and any(texts[at]):  # an empty cell says that nothing is known
            unusable.append((row, trouble.what))
        if path and (start_ms is not None or site or caller):
            rows.append((path.replace("\\", "/"), row, start_ms, site, caller))
    if unusable:
        lines = lines_of([row for row, _ in unusable])
        said.append(
            f"{name}: {len(unusable)} of its times cannot be used ({lines}); the first: "
            f"{unusable[0][1]}"
        )
    return Recorded(
        recordings=pl.DataFrame(rows, schema=dict(RECORDED), orient="row"), said=tuple(said)
    )


def applied(recordings: pl.DataFrame, recorded: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Say of recordings of the archive what a table says of them.

    Parameters
    ----------
    recordings : pl.DataFrame
        As :data:`oscine.behaviour.matching.RECORDINGS`.
    recorded : pl.DataFrame
        As :data:`RECORDED`.

    Returns
    -------
    recordings : pl.DataFrame
        With times and sites where the table says any, and a column `caller`.
    n_missing : int
        Rows of the table that no recording, or several, go by.
    """
    matches = match_keys(recorded["path"].unique(maintain_order=True), recordings["path"].to_list())
    numbered = recorded.with_columns(
        number=pl.col("path").replace_strict(matches.found, default=None, return_dtype=pl.Int64)
    )
    told = numbered.drop_nulls("number").unique("number", keep="first", maintain_order=True)
    both = recordings.with_columns(number=pl.int_range(pl.len(), dtype=pl.Int64)).join(
        told.select("number", "caller", said_ms="start_ms", said_site="site"),
        on="number",
        how="left",
        maintain_order="left",
    )
    said_site = pl.when(pl.col("said_site").fill_null("") != "").then("said_site")
    return (
        both.with_columns(
            start_ms=pl.coalesce("said_ms", "start_ms"),
            site=pl.coalesce(said_site, "site"),
            caller=pl.col("caller").fill_null(""),
        ).drop("number", "said_ms", "said_site"),
        numbered["number"].null_count(),
    )


def _column(table: RawTable, names: Sequence[str]) -> str:
    known = {one.strip().lower().replace(" ", "_"): one for one in table.columns}
    return next((known[name] for name in names if name in known), "")


def _time_columns(table: RawTable) -> list[str]:
    day, time = _column(table, _DATES), _column(table, _TIMES)
    return [one for one in (day, time) if one] if day and time else [time or day][: bool(time)]
