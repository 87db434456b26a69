"""Tables of events for R and the like: their columns, and how they are written, a row at a time.

In come rows, which need not all be in memory at once; out comes one CSV or Parquet file, with its
header even where there are no rows. The steps make the rows; `oscine.sound.annotations` knows by
the columns which of them are no labels when such a table comes back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["integer", "number", "text", "path", "truth", "utc", "local", "vector"]

ROWS_AT_ONCE = 20_000
"""Rows of a Parquet file that are in memory at a time."""
FORMULA = r"^'*[=+\-@\t\r]"
"""How text begins that a spreadsheet takes for a formula, or that was kept from it."""
_TO_QUOTE = re.compile(r'[",\r\n]')


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
    kind : Kind
    means : str
        For people.
    is_label : bool
        Whether it holds a label for who reads the table back.
    """

    name: str
    kind: Kind
    means: str
    is_label: bool = False


_PATH = (
    Column("path", "path", "the recording, from the archive's folder"),
    Column("root", "path", "the archive's folder"),
    Column("channel", "integer", "of the recording, from 0; -1: all channels mixed"),
)
_PLACE = (
    Column("site", "text", "where it was recorded; empty: not known", is_label=True),
    Column("recorder", "text", "name or number of the recorder; empty: not known", is_label=True),
)
_TIMES = (
    Column("began_utc", "utc", "when it began, UTC; empty: not known"),
    Column("began_local", "local", "when it began, by the clocks there"),
    Column("utc_offset_min", "integer", "what those clocks are ahead of UTC, in minutes"),
    Column(
        "clock",
        "text",
        "the time zone, and how it is known; `file modification time` is no knowledge of when it "
        "was recorded, and the times are left empty",
    ),
)
_BOX = (
    Column("start_s", "number", "where it begins in the recording, in seconds"),
    Column("stop_s", "number", "where it ends; the stop is not in it"),
    Column("low_hz", "number", "lower end of its band"),
    Column("high_hz", "number", "upper end of its band"),
)
_TYPE = (
    Column(
        "sound_type",
        "integer",
        "number of the sound type, an acoustic group; empty: in none",
        is_label=True,
    ),
    Column("sound_type_name", "text", "its name, where it has one", is_label=True),
)
_EVENT = (
    Column("event", "integer", "number of the event in the workspace"),
    Column(
        "oscine_event",
        "text",
        "the same with a check: leave it, and `oscine import` knows the event again",
    ),
)

EVENTS: tuple[Column, ...] = (
    *_EVENT,
    *_PATH,
    *_PLACE,
    *_TIMES,
    *_BOX,
    Column("start_sample", "integer", "where it begins, in samples from 0"),
    Column("stop_sample", "integer", "the first sample after it"),
    Column("sample_rate_hz", "integer", "of the recording"),
    Column("duration_s", "number", "how long it is"),
    Column("level_db", "number", "how far it rises above the background"),
    *_TYPE,
    Column("type_strength", "number", "how firmly it belongs to its sound type, 0 to 1"),
    Column("map_x", "number", "where it lies on the map"),
    Column("map_y", "number", "likewise; distances between far groups mean little"),
    Column("n_copies", "integer", "other files of the archive with the same bytes"),
    Column(
        "near_duplicate",
        "path",
        "a recording of the archive that seems to hold the same sound under another name",
    ),
)
"""One row an event."""

RECORDINGS: tuple[Column, ...] = (
    *_PATH,
    *_PLACE,
    *_TIMES,
    Column("sample_rate_hz", "integer", "its rate"),
    Column("recording_s", "number", "how long it is, in seconds"),
    Column("state", "text", "`whole`, or `damaged`: see `reason`"),
    Column("reason", "text", "what is wrong with it"),
    Column("n_events", "integer", "events in it that are in the table of events; 0 counts too"),
)
"""One row a recording (or a channel of it) that was heard."""

CLIPS: tuple[Column, ...] = (
    Column("clip", "path", "the file; empty: there is none, see `problem`"),
    *_EVENT,
    *_PATH,
    *_BOX,
    Column("event_start_s", "number", "where the event begins in the clip, in seconds"),
    *_TYPE,
    Column("is_exemplar", "truth", "whether it is one of the examples of its type in the atlas"),
    Column("problem", "text", "why there is no clip"),
)
"""One row an event that was chosen."""


def vector_column(n_dimensions: int) -> tuple[Column, ...]:
    """Return the column of vectors of so many dimensions; none where that is 0."""
    means = (
        "of unit length: the product of two is their likeness; empty: not embedded yet. In CSV a "
        "column for each dimension, `v0` and on"
    )
    return (Column("vector", "vector", means),) if n_dimensions else ()


def write_csv(
    file: Path, columns: Sequence[Column], rows: Iterable[Sequence[Any]], n_dimensions: int = 0
) -> None:
    """Write a table as CSV.

    Vectors have a column for each dimension, ``v0`` and on. Text that a spreadsheet would take for
    a formula has an apostrophe before it, and a path ``./``.

    Parameters
    ----------
    file : Path
    columns : sequence of Column
    rows : iterable of sequences
        A value for each column; None where there is none.
    n_dimensions : int
        Of the vectors.
    """
    nothing = {"vector": "," * (n_dimensions - 1)}
    kinds = [(_TEXT_OF[column.kind], nothing.get(column.kind, "")) for column in columns]
    names = [
        ",".join(f"v{n}" for n in range(n_dimensions)) if column.kind == "vector" else column.name
        for column in columns
    ]
    with file.open("w", encoding="utf-8", newline="") as table:
        table.write(",".join(names) + "\n")
        for row in rows:
            cells = (
                empty if value is None else text_of(value)
                for (text_of, empty), value in zip(kinds, row, strict=True)
            )
            table.write(",".join(cells) + "\n")


def write_parquet(
    file: Path, columns: Sequence[Column], rows: Iterable[Sequence[Any]], n_dimensions: int = 0
) -> None:
    """Write a table as Parquet; vectors are lists of float32, all of one length.

    Parameters
    ----------
    file, columns, rows, n_dimensions
        As of :func:`write_csv`.
    """
    import polars as pl

    schema = _schema(columns, n_dimensions)
    parts: list[Path] = []
    for number, table in enumerate(_tables(columns, rows, schema)):
        parts.append(file.with_name(f"{file.name}.{number:06d}.part"))
        table.write_parquet(parts[-1])
    # Polars adds nothing to a file that is there: the parts are joined, a few rows at a time.
    pl.scan_parquet(parts).sink_parquet(file, row_group_size=ROWS_AT_ONCE)
    for part in parts:
        part.unlink()


def without_apostrophe(text: str) -> str:
    """Return the text that a cell of a CSV table stands for."""
    return text[1:] if text.startswith("'") and re.match(FORMULA, text) else text


def meanings(columns: Sequence[Column]) -> dict[str, str]:
    """Return what columns mean."""
    return {one.name: one.means for one in columns}


def tables_text(about: str, tables: Mapping[str, tuple[str, Mapping[str, str]]]) -> str:
    """Describe tables in Markdown.

    Parameters
    ----------
    about : str
        What stands above all tables: a heading and what holds for each.
    tables : mapping of str to (str, mapping of str to str)
        Of each file: what a row is, and what its columns mean.
    """
    parts = [about]
    for name, (row, columns) in tables.items():
        lines = [
            f"## {name}",
            "",
            f"One row {row}.",
            "",
            "| column | what it is |",
            "| --- | --- |",
        ]
        lines += [f"| `{column}` | {what} |" for column, what in columns.items()]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _quoted(text: str) -> str:
    # The writer of the standard library leaves a lone carriage return unquoted.
    return '"' + text.replace('"', '""') + '"' if _TO_QUOTE.search(text) else text


def _no_formula(text: str, before: str) -> str:
    return _quoted(before + text if re.match(FORMULA, text) else text)


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_TEXT_OF: dict[Kind, Callable[[Any], str]] = {
    "integer": str,
    "number": str,
    "text": partial(_no_formula, before="'"),
    "path": partial(_no_formula, before="./"),
    "truth": lambda value: str(value).lower(),
    "utc": _iso,
    "local": _iso,
    "vector": lambda values: ",".join(map(str, values)),
}
"""How a value is written in CSV. A path with `./` is the same path; a spreadsheet hides the
apostrophe."""


def _schema(columns: Sequence[Column], n_dimensions: int) -> dict[str, pl.DataType]:
    import polars as pl

    kinds: dict[Kind, pl.DataType] = {
        "integer": pl.Int64(),
        "number": pl.Float64(),
        "text": pl.String(),
        "path": pl.String(),
        "truth": pl.Boolean(),
        "utc": pl.Datetime("ms", "UTC"),
        "local": pl.Datetime("ms"),
        "vector": pl.Array(pl.Float32(), max(1, n_dimensions)),
    }
    return {column.name: kinds[column.kind] for column in columns}


def _tables(
    columns: Sequence[Column], rows: Iterable[Sequence[Any]], schema: dict[str, pl.DataType]
) -> Iterator[pl.DataFrame]:
    """Yield tables of a number of rows each, and one without rows where there are none."""
    import polars as pl

    left, is_first = iter(rows), True
    while (some := list(islice(left, ROWS_AT_ONCE))) or is_first:
        is_first = False
        by_column = zip(*some, strict=True) if some else ((),) * len(columns)
        yield pl.DataFrame(
            {
                column.name: _series(list(values), schema[column.name])
                for column, values in zip(columns, by_column, strict=True)
            }
        )


def _series(values: list[Any], kind: pl.DataType) -> pl.Series:
    import polars as pl

    if not isinstance(kind, pl.Array):
        return pl.Series(values, dtype=kind)
    # Polars makes arrays of rows that are all there.
    is_there = pl.Series([value is not None for value in values], dtype=pl.Boolean())
    nothing = np.zeros(kind.shape, np.float32)
    rows = np.array([nothing if value is None else value for value in values], np.float32)
    filled = pl.Series(rows.reshape(-1, *kind.shape), dtype=kind)
    return pl.select(pl.when(is_there).then(filled)).to_series()
