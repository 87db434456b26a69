"""The catalogue: what there is, what was made from it, whether it is whole (SQLite).

In come plain rows, each batch in one transaction; out go plain rows in a stable order. Every step
asks it what is left to do and tells it what is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from oscine.workspace.database import Database

SCHEMA_VERSION = 1

HEARD = ("whole", "damaged")
"""States of recordings that have frames on the tape."""

_SCHEMA = """
CREATE TABLE recordings (
    recording_id INTEGER PRIMARY KEY,
    root TEXT NOT NULL,
    path TEXT NOT NULL,
    channel INTEGER NOT NULL,
    n_bytes INTEGER NOT NULL,
    modified_s REAL NOT NULL,
    content_hash TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    encoding TEXT NOT NULL,
    sample_rate_hz INTEGER NOT NULL,
    n_channels INTEGER NOT NULL,
    n_samples INTEGER NOT NULL,
    n_promised INTEGER NOT NULL,
    n_valid_bands INTEGER NOT NULL,
    tape_row INTEGER NOT NULL,
    n_frames INTEGER NOT NULL,
    UNIQUE (root, path, channel)
) STRICT;
CREATE INDEX recordings_content ON recordings (content_hash);
CREATE TABLE events (
    event_id INTEGER PRIMARY KEY,
    recording_id INTEGER NOT NULL REFERENCES recordings,
    start_frame INTEGER NOT NULL,
    stop_frame INTEGER NOT NULL,
    start_sample INTEGER NOT NULL,
    stop_sample INTEGER NOT NULL,
    low_hz REAL NOT NULL,
    high_hz REAL NOT NULL,
    level_db REAL NOT NULL
) STRICT;
CREATE INDEX events_recording ON events (recording_id);
CREATE TABLE windows (
    window_id INTEGER PRIMARY KEY,
    recording_id INTEGER NOT NULL REFERENCES recordings,
    start_frame INTEGER NOT NULL,
    stop_frame INTEGER NOT NULL
) STRICT;
CREATE TABLE stages (
    stage TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    finished INTEGER NOT NULL,
    facts TEXT NOT NULL
) STRICT;
CREATE TABLE sound_types (
    event_id INTEGER PRIMARY KEY REFERENCES events,
    cluster INTEGER NOT NULL,
    strength REAL NOT NULL,
    map_x REAL NOT NULL,
    map_y REAL NOT NULL
) STRICT;
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingRow:
    """One channel of one file, or one file that could not be read.

    ``n_samples`` counts samples of the file's own rate that were decoded, with silence for those
    that are lost between others; ``n_promised`` those that its header promised (0: it does not
    say). ``channel`` is -1 where channels were mixed.
    """

    recording_id: int
    root: str
    path: str
    channel: int
    n_bytes: int
    modified_s: float
    content_hash: str
    state: str
    reason: str
    encoding: str
    sample_rate_hz: int
    n_channels: int
    n_samples: int
    n_promised: int
    n_valid_bands: int
    tape_row: int
    n_frames: int

    @property
    def duration_s(self) -> float:
        """Seconds that were decoded."""
        return self.n_samples / self.sample_rate_hz if self.sample_rate_hz else 0.0

    @property
    def content_key(self) -> str:
        """Tell this recording from others by its sound, whatever its name."""
        return f"{self.content_hash}:{self.channel}"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRow:
    """Something that stands out of the background; frames of the tape, samples of the file."""

    event_id: int
    recording_id: int
    start_frame: int
    stop_frame: int
    start_sample: int
    stop_sample: int
    low_hz: float
    high_hz: float
    level_db: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowRow:
    """A fixed stretch of a recording; frames of the tape."""

    window_id: int
    recording_id: int
    start_frame: int
    stop_frame: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundTypeRow:
    """Which sound type an event is of (-1: not grouped), how surely, and where on the map."""

    event_id: int
    cluster: int
    strength: float
    map_x: float
    map_y: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """How far a step has come, for which inputs, and what it found."""

    fingerprint: str
    finished: bool
    facts: dict[str, Any]


class Catalogue(Database):
    """The tables of one workspace; a context manager.

    Parameters
    ----------
    path : Path
        Made if it is not there.

    Raises
    ------
    ValueError
        The file was made by another version, or is no catalogue. Leaving the context raises it
        too, for what SQLite could not do inside: the file is damaged, locked, or the disk full.
    """

    schema = _SCHEMA
    schema_version = SCHEMA_VERSION
    unreadable = "is not a catalogue that can be read"
    if_damaged = "begin a new workspace"
    if_other_version = "use a new workspace"

    def recordings(self, states: Sequence[str] | None = None) -> list[RecordingRow]:
        """Return the recordings in the order they were listed, or those in some states."""
        where, values = _in("state", states)
        return self._rows(
            RecordingRow, f"SELECT * FROM recordings {where} ORDER BY recording_id", values
        )

    def events(self) -> list[EventRow]:
        """Return all events, by number."""
        return self._rows(EventRow, "SELECT * FROM events ORDER BY event_id")

    def windows(self) -> list[WindowRow]:
        """Return all windows, by number."""
        return self._rows(WindowRow, "SELECT * FROM windows ORDER BY window_id")

    def sound_types(self) -> list[SoundTypeRow]:
        """Return the sound type of each event that has one, by event number."""
        return self._rows(SoundTypeRow, "SELECT * FROM sound_types ORDER BY event_id")

    def count(self, table: str) -> int:
        """Return the number of rows of a table."""
        if table not in ("recordings", "events", "windows", "sound_types"):
            raise ValueError(f"the catalogue has no table {table!r}")
        return self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def tape_rows(self) -> int:
        """Return the number of frames on the tape that are whole."""
        query = "SELECT coalesce(max(tape_row + n_frames), 0) FROM recordings"
        return self._connection.execute(query).fetchone()[0]

    def add(
        self,
        recordings: Iterable[RecordingRow],
        events: Iterable[EventRow],
        windows: Iterable[WindowRow],
    ) -> None:
        """Add rows in one transaction: all of them or none.

        The step that indexes then counts as unfinished until it is noted again.
        """
        with self._transaction():
            self._connection.execute("UPDATE stages SET finished = 0 WHERE stage = 'index'")
            self._insert("recordings", recordings)
            self._insert("events", events)
            self._insert("windows", windows)

    def clear(self) -> None:
        """Forget all recordings and everything made from them, in one transaction."""
        with self._transaction():
            for table in ("sound_types", "windows", "events", "recordings", "stages"):
                self._connection.execute(f"DELETE FROM {table}")

    def stage(self, name: str) -> Stage | None:
        """Return how far a step has come, or None where it was never begun."""
        row = self._connection.execute("SELECT * FROM stages WHERE stage = ?", (name,)).fetchone()
        if row is None:
            return None
        facts = json.loads(row["facts"])
        return Stage(fingerprint=row["fingerprint"], finished=bool(row["finished"]), facts=facts)

    def set_stage(self, name: str, stage: Stage) -> None:
        """Note how far a step has come."""
        with self._transaction():
            self._put_stage(name, stage)

    def set_sound_types(self, rows: Iterable[SoundTypeRow], stage: Stage) -> None:
        """Replace all sound types, and note the step, in one transaction."""
        with self._transaction():
            self._connection.execute("DELETE FROM sound_types")
            self._insert("sound_types", rows)
            self._put_stage("cluster", stage)

    def _put_stage(self, name: str, stage: Stage) -> None:
        facts = json.dumps(stage.facts, sort_keys=True)
        self._connection.execute(
            "INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?)",
            (name, stage.fingerprint, int(stage.finished), facts),
        )

    def _insert(self, table: str, rows: Iterable[Any]) -> None:
        values = [tuple(asdict(row).values()) for row in rows]
        if values:
            marks = ", ".join("?" * len(values[0]))
            self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)

    def _rows(self, kind: type, query: str, values: Sequence[Any] = ()) -> list[Any]:
        names = [field.name for field in fields(kind)]
        cursor = self._connection.execute(query, values)
        return [kind(**{name: row[name] for name in names}) for row in cursor]


def _in(column: str, values: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    if values is None:
        return "", ()
    return f"WHERE {column} IN ({', '.join('?' * len(values))})", tuple(values)
