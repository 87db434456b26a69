"""Exports for Raven, Audacity and R: tables of events.

In come chosen events; out come files in an empty folder, and how many. Called by `export`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from oscine.sound.archive import located
from oscine.sound.selections import (
    EVENT_COLUMN,
    NO_TYPE,
    TYPE_COLUMN,
    Selection,
    audacity_lines,
    raven_lines,
)
from oscine.sound.tables import (
    EVENTS,
    RECORDINGS,
    meanings,
    tables_text,
    vector_column,
    write_csv,
    write_parquet,
)
from oscine.steps.chosen import Chosen, ExportedEvent, Written, box, sound_type
from oscine.steps.comparing import event_vectors, near_duplicates_of
from oscine.workspace.arrays import ArrayReader
from oscine.workspace.catalogue import RecordingRow
from oscine.workspace.exported import FreePaths, safe_name

RAVEN_OWN_COLUMNS = (
    *(TYPE_COLUMN, "Sound Type Name"),
    *("Oscine Strength", "Oscine Level (dB)", EVENT_COLUMN),
)
RAVEN_ENDING = ".Table.1.selections.txt"
"""How Raven ends the name of a table, after the name of the recording."""
ONE_TABLE = f"events{RAVEN_ENDING}"
ABOUT_TABLES = """# Events of an archive

Written by `oscine export`. Intervals are half-open: the stop is not in them. An empty cell is not
known or does not apply. Text is UTF-8. In CSV, text that a spreadsheet would take for a formula has
an apostrophe before it, and a path `./`.

In R: `readr::read_csv("FILE.csv")` or `arrow::read_parquet("FILE.parquet")`.
"""


def raven(chosen: Chosen, new: Path, one_table: bool) -> Written:
    """Write a selection table for each recording that has events, or one for all."""

    def lines(heard: Iterable[ExportedEvent]) -> Iterator[str]:
        said = partial(_raven_said, names=chosen.names)
        return raven_lines(_selections(heard, said), RAVEN_OWN_COLUMNS)

    if not one_table:
        return _a_file_each(chosen, new, RAVEN_ENDING, lines)
    written = Written()

    def all_heard() -> Iterator[ExportedEvent]:
        for _, heard in chosen.files():
            written.count(heard)
            yield from heard

    _write_lines(new / ONE_TABLE, lines(all_heard()))
    return written


def audacity(chosen: Chosen, new: Path) -> Written:
    """Write a file of labels for each recording that has events."""

    def lines(heard: Iterable[ExportedEvent]) -> Iterator[str]:
        return audacity_lines(_selections(heard, partial(_audacity_said, names=chosen.names)))

    return _a_file_each(chosen, new, ".txt", lines)


def audacity_words(cluster: int | None, names: dict[int, str]) -> str:
    """Return what a sound type is called where there is but one text."""
    return "" if cluster is None else names.get(cluster, f"type {cluster}")


def _a_file_each(
    chosen: Chosen,
    new: Path,
    ending: str,
    lines: Callable[[Iterable[ExportedEvent]], Iterator[str]],
) -> Written:
    """Write a file for each recording that has events, in folders like those of the archive."""
    written, paths, folders = Written(), FreePaths(), chosen.root_folders()
    for (first, *_), heard in chosen.files():
        if not heard:
            continue
        parts = PurePosixPath(first.path).with_suffix("").parts
        place = "/".join([*folders[first.root], *map(safe_name, parts)])
        file = new / paths.take(place, ending)
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_lines(file, lines(heard))
        written.count(heard)
    return written


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    with file.open("w", encoding="utf-8", newline="") as table:
        table.writelines(lines)


def _selections(
    heard: Iterable[ExportedEvent], said: Callable[[ExportedEvent], tuple[str, ...]]
) -> Iterator[Selection]:
    for recording, events in groupby(heard, key=lambda one: one.recording):
        file = located(Path(recording.root), recording.path)
        for one in events:
            yield Selection(
                file=file,
                duration_s=recording.duration_s,
                channel=recording.channel,
                interval=one.interval,
                low_hz=one.event.low_hz,
                high_hz=one.event.high_hz,
                said=said(one),
            )


def _raven_said(one: ExportedEvent, names: dict[int, str]) -> tuple[str, ...]:
    number, name = sound_type(one, names)
    return (
        str(NO_TYPE if number is None else number),
        name or "",
        "" if one.kind is None else f"{one.kind.strength:.3f}",
        f"{one.event.level_db:.1f}",
        one.key,
    )


def _audacity_said(one: ExportedEvent, names: dict[int, str]) -> tuple[str]:
    return (f"{audacity_words(one.cluster, names)} #{one.key}".lstrip(),)


def tables(chosen: Chosen, new: Path, ending: str, with_vectors: bool) -> Written:
    """Write a table of events, one of recordings, and what their columns mean."""
    written = Written()
    vectors = event_vectors(chosen.workspace, chosen.catalogue)[0] if with_vectors else None
    n_dimensions = vectors.row_shape[0] if vectors is not None else 0
    columns = (*EVENTS, *vector_column(n_dimensions))
    write = write_csv if ending == "csv" else write_parquet
    n_events: Counter[int] = Counter()

    def event_rows() -> Iterator[list[Any]]:
        copies = chosen.catalogue.n_copies()
        near = near_duplicates_of(chosen.catalogue)
        for (first, *_), heard in chosen.files():
            written.count(heard)
            n_events.update(one.recording.recording_id for one in heard)
            same = copies.get(first.content_hash, 0), near.get((first.root, first.path))
            rows = [[*_event_row(one, chosen.names), *same] for one in heard]
            if vectors is not None:
                for one, row in zip(heard, rows, strict=True):
                    row.append(_vector(vectors, one.event.event_id))
            yield from rows

    def recording_rows() -> Iterator[list[Any]]:
        for channels in chosen.catalogue.heard_files():
            for row in channels:
                yield [
                    *_recording_cells(row, 0.0),
                    row.sample_rate_hz,
                    row.duration_s,
                    row.state,
                    row.reason or None,
                    n_events[row.recording_id],
                ]

    write(new / f"events.{ending}", columns, event_rows(), n_dimensions)
    write(new / f"recordings.{ending}", RECORDINGS, recording_rows())
    write_readme(
        new,
        {
            f"events.{ending}": ("an event", meanings(columns)),
            f"recordings.{ending}": ("a recording that was heard", meanings(RECORDINGS)),
        },
    )
    if vectors is not None:
        n_newer = int(np.count_nonzero(chosen.numbers > vectors.n_rows))
        written.note_newer(n_newer, "no vector yet: run `oscine embed`")
    return written


def write_readme(new: Path, tables: Mapping[str, tuple[str, Mapping[str, str]]]) -> None:
    """Say in an export what the columns of its tables mean."""
    (new / "README.md").write_text(tables_text(ABOUT_TABLES, tables), encoding="utf-8")


def _event_row(one: ExportedEvent, names: dict[int, str]) -> list[Any]:
    event, interval, kind = one.event, one.interval, one.kind
    return [
        event.event_id,
        one.key,
        *_recording_cells(one.recording, interval.start_s),
        *box(one),
        interval.start,
        interval.stop,
        interval.sample_rate_hz,
        interval.duration_s,
        event.level_db,
        *sound_type(one, names),
        *((kind.strength, kind.map_x, kind.map_y) if kind is not None else (None, None, None)),
    ]


def _recording_cells(recording: RecordingRow, at_s: float) -> list[Any]:
    """Return path, place and time of what begins at some time in a recording."""
    began = None
    if recording.known_ms is not None:
        began_ms = recording.known_ms + round(1000 * at_s)
        with suppress(OverflowError):  # a clock that was never set
            began = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=began_ms)
    offset = recording.utc_offset_min if began is not None else None
    local = None
    if began is not None and offset is not None:
        local = began.replace(tzinfo=None) + timedelta(minutes=offset)
    return [
        recording.path,
        recording.root,
        recording.channel,
        recording.site or None,
        recording.recorder or None,
        began,
        local,
        offset,
        recording.zone or None,
    ]


def _vector(vectors: ArrayReader, event_id: int) -> np.ndarray | None:
    return vectors.rows(event_id - 1, event_id)[0] if event_id <= vectors.n_rows else None
