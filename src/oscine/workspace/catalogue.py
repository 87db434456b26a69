"""The catalogue: what there is, what was made from it, whether it is whole (SQLite).

In come plain rows, each batch in one transaction; out go plain rows in a stable order. Every step
asks it what is left to do and tells it what is done.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import chain, groupby
from types import MappingProxyType
from typing import Any

import numpy as np

from oscine.workspace.database import Database
from oscine.workspace.edits import EDITS, TYPES, EditRow, get_edits, keep_edits, put_edit
from oscine.workspace.where import LOCAL_DATE, Where, parse_where

SCHEMA_VERSION = 4

MODIFICATION = "file modification time"
"""What the zone of a recording names where nothing else tells when it was: it may be a copy's."""
DAY_MS = 86_400_000
HEARD = ("whole", "damaged")
"""States of recordings that have frames on the tape."""

_HEARD_EVENTS = f"""
CREATE VIEW heard_events AS SELECT
        events.*, root, path, channel, site, recorder, sample_rate_hz, utc_offset_min,
        CASE WHEN NOT instr(zone, '{MODIFICATION}') THEN
            started_ms + CAST(round(1000.0 * start_sample / sample_rate_hz) AS INTEGER)
        END AS start_ms,
        1.0 * (stop_sample - start_sample) / sample_rate_hz AS duration_s,
        coalesce(edited_types.cluster, found_types.cluster, -1) AS cluster
    FROM events JOIN heard USING (recording_id) LEFT JOIN found_types USING (event_id)
        LEFT JOIN edited_types USING (event_id);
"""
"""Of a time that is only when a file was written nothing is told: it may be a copy's."""
_SCHEMA = f"""
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
    is_present INTEGER NOT NULL,
    started_ms INTEGER,
    utc_offset_min INTEGER,
    zone TEXT NOT NULL,
    site TEXT NOT NULL,
    recorder TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX recordings_path ON recordings (root, path, channel) WHERE is_present;
CREATE INDEX recordings_content ON recordings (content_hash);
CREATE INDEX recordings_summary ON recordings (
    is_present, state, channel, zone, site, started_ms, n_frames, n_samples, sample_rate_hz);
CREATE INDEX recordings_end ON recordings (tape_row + n_frames);
CREATE TABLE clocks (
    recording_id INTEGER PRIMARY KEY REFERENCES recordings,
    reading TEXT NOT NULL,
    note TEXT NOT NULL
) STRICT;
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
CREATE TABLE found_types (
    event_id INTEGER PRIMARY KEY REFERENCES events,
    cluster INTEGER NOT NULL,
    strength REAL NOT NULL,
    map_x REAL NOT NULL,
    map_y REAL NOT NULL
) STRICT;
CREATE VIEW heard AS SELECT * FROM recordings
    WHERE is_present AND state IN ('whole', 'damaged');
{EDITS}{_HEARD_EVENTS}"""

_TYPED_EVENTS = """events LEFT JOIN found_types USING (event_id)
    LEFT JOIN edited_types USING (event_id)"""
"""As the view ``sound_types`` has it, which SQLite writes down whole before it joins it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingRow:
    """One channel of one file, or one file that could not be read.

    ``n_samples`` counts samples of the file's own rate that were decoded, with silence for those
    that are lost between others; ``n_promised`` those that its header promised (0: it does not
    say). ``channel`` is -1 where channels were mixed.

    A file that went away is not present: its frames, events and vectors stay where they are, and
    count for nothing until it comes back. ``started_ms`` is when its first sample was recorded, in
    milliseconds of UTC since 1970, and ``utc_offset_min`` what was added to it on the clocks there;
    None where that is not known. ``zone`` names the time zone and where it comes from.
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
    is_present: bool = True
    started_ms: int | None = None
    utc_offset_min: int | None = None
    zone: str = ""
    site: str = ""
    recorder: str = ""

    @property
    def duration_s(self) -> float:
        """Seconds that were decoded."""
        return self.n_samples / self.sample_rate_hz if self.sample_rate_hz else 0.0

    @property
    def known_ms(self) -> int | None:
        """When it was begun, as ``started_ms``; None where that is only when it was written."""
        return None if MODIFICATION in self.zone else self.started_ms

    @property
    def content_key(self) -> str:
        """Tell this recording from others by its sound, whatever its name."""
        return f"{self.content_hash}:{self.channel}"


@dataclass(frozen=True, slots=True)
class FileRow:
    """What tells a file in the catalogue from one in a folder; of several channels, the first."""

    recording_id: int
    root: str
    path: str
    n_bytes: int
    modified_s: float
    content_hash: str
    state: str
    sample_rate_hz: int
    n_samples: int
    n_frames: int
    is_present: bool

    @property
    def duration_s(self) -> float:
        """Seconds that were decoded."""
        return self.n_samples / self.sample_rate_hz if self.sample_rate_hz else 0.0

    @property
    def is_heard(self) -> bool:
        """Whether it has frames on the tape."""
        return self.n_frames > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockRow:
    """What a file says of when and where it was recorded, and what that comes to.

    ``reading`` is a line of JSON; ``note`` says why there is no time, or why it is weak.
    """

    root: str
    path: str
    reading: str
    started_ms: int | None
    utc_offset_min: int | None
    zone: str
    site: str
    recorder: str
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A file that was heard under some name before, and the name it has now."""

    was: FileRow
    root: str
    path: str
    n_bytes: int
    modified_s: float

    @property
    def place(self) -> tuple[str, str, int, float]:
        """Where it is now, and as the folder shows it."""
        return self.root, self.path, self.n_bytes, self.modified_s


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


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """What likeness must be matched for: where, when and how an event sounds, not what it is.

    ``recording`` is the content key of its recording, ``date`` by the clocks there (empty where
    it is not known, or only from when the file was written), ``cluster`` its sound type or -1.
    """

    event_id: int
    recording: str
    site: str
    date: str
    duration_s: float
    low_hz: float
    high_hz: float
    level_db: float
    cluster: int


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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TypedEvents:
    """Sound types of all events that were grouped, those of absent recordings too.

    Attributes
    ----------
    events : np.ndarray of int64 [shape=(N,)]
        Their numbers, ascending.
    clusters : np.ndarray of int64 [shape=(N,)]
        -1: not grouped.
    strengths : np.ndarray of float64 [shape=(N,)]
    """

    events: np.ndarray
    clusters: np.ndarray
    strengths: np.ndarray

    def by_event(self) -> dict[int, int]:
        """Return the sound type of each event."""
        return dict(zip(self.events.tolist(), self.clusters.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """How far a step has come, for which inputs, and what it found."""

    fingerprint: str
    finished: bool
    facts: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What the catalogue holds.

    Attributes
    ----------
    states : dict of str to int
        Files of each state that are present.
    heard_s : float
        Seconds of recordings that are on the tape.
    n_absent : int
        Recordings on the tape that are present no more.
    absent_frames : int
        Their frames.
    zones, sites : dict of str to int
        Files that were heard, by the zone of their clock (`unknown`: no time) and by site.
    """

    states: dict[str, int]
    heard_s: float
    n_absent: int
    absent_frames: int
    zones: dict[str, int]
    sites: dict[str, int]


def _renew_heard_events(connection: sqlite3.Connection) -> None:
    """Make a catalogue of version 3 one whose events have no time that is only their file's."""
    connection.execute("DROP VIEW IF EXISTS heard_events")
    connection.execute(_HEARD_EVENTS)


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
    upgrades = MappingProxyType({2: keep_edits, 3: _renew_heard_events})

    def recordings(
        self, states: Sequence[str] | None = None, *, with_absent: bool = False
    ) -> list[RecordingRow]:
        """Return the recordings that are present, or all, in the order they were listed.

        Parameters
        ----------
        states : sequence of str, optional
            Only those in some states.
        with_absent : bool
        """
        chosen, values = _in("state", states)
        query = (
            f"SELECT * FROM recordings WHERE {_presence(with_absent)} {chosen} "
            "ORDER BY recording_id"
        )
        return self._rows(RecordingRow, query, values)

    def files(self) -> list[FileRow]:
        """Return every file that was ever listed, by number: what a new listing is held against."""
        return self._files("channel <= 0")

    def orphans(self) -> list[tuple[FileRow, FileRow]]:
        """Return duplicates of what was heard under a name that is gone, each with that file."""
        heard = "SELECT 1 FROM recordings AS other WHERE other.content_hash ="
        present = f"NOT EXISTS ({heard} recordings.content_hash AND is_present AND n_frames > 0)"
        found: dict[str, tuple[FileRow, FileRow]] = {}
        for row in self._files(f"is_present AND state = 'duplicate' AND {present}"):
            files = self._files(
                "content_hash = ? AND channel <= 0 AND n_frames > 0", row.content_hash
            )
            if files:
                found.setdefault(row.content_hash, (row, files[0]))
        return list(found.values())

    def copies(self) -> list[tuple[str, str, int]]:
        """Return whose folder's duplicates stand back for files of which folder, and how many."""
        query = """
            SELECT recordings.root, other.root, count(*)
            FROM recordings JOIN recordings AS other USING (content_hash)
            WHERE recordings.is_present AND recordings.state = 'duplicate'
                AND other.is_present AND other.n_frames > 0 AND other.channel <= 0
            GROUP BY recordings.root, other.root ORDER BY recordings.root, other.root"""
        return [tuple(row) for row in self._connection.execute(query)]

    def twins(self) -> list[FileRow]:
        """Return the files present whose bytes another file present has too, by number."""
        return self._files(
            "is_present AND channel <= 0 AND content_hash IN (SELECT content_hash FROM recordings"
            " WHERE is_present AND channel <= 0 AND content_hash != ''"
            " GROUP BY content_hash HAVING count(*) > 1)"
        )

    def _files(self, condition: str, *values: Any) -> list[FileRow]:
        names = ", ".join(field.name for field in fields(FileRow))
        query = f"SELECT {names} FROM recordings WHERE {condition} ORDER BY recording_id"
        return [FileRow(*row) for row in self._connection.execute(query, values)]

    def events(self, *, with_absent: bool = False) -> list[EventRow]:
        """Return the events of recordings that are present, or of all, by number."""
        query = f"{_of('events', with_absent)} ORDER BY event_id"
        return self._rows(EventRow, query)

    def events_where(self, condition: str) -> np.ndarray:
        """Return the numbers of the events present that meet a condition.

        Parameters
        ----------
        condition : str
            As :func:`oscine.workspace.where.parse_where` reads it.

        Returns
        -------
        np.ndarray of int64 [shape=(N,)]
            Ascending.

        Raises
        ------
        WrongArgument
        """
        return self.clusters_where(condition)[0]

    def n_untimed(self, condition: str) -> int:
        """Return of how many events the time is not known, 0 if a condition does not ask for it.

        Such events meet no condition on time.
        """
        if "start_ms" not in parse_where(condition).sql:
            return 0
        query = "SELECT count(*) FROM heard_events WHERE start_ms IS NULL"
        (n_untimed,) = self._connection.execute(query).fetchone()
        return n_untimed

    def recordings_called(self, name: str) -> list[RecordingRow]:
        """Return the recordings present and heard whose path is the end of a name.

        Parameters
        ----------
        name : str
            A whole path, with slashes.
        """
        query = (
            "SELECT * FROM recordings WHERE is_present AND n_frames > 0"
            " AND substr(?, -length(path)) = path ORDER BY recording_id"
        )
        return self._rows(RecordingRow, query, [name])

    def events_of(self, recording_id: int) -> list[EventRow]:
        """Return the events of a recording, by number."""
        query = "SELECT * FROM events WHERE recording_id = ? ORDER BY event_id"
        return self._rows(EventRow, query, [recording_id])

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """See the catalogue as it is now until the end, whatever other processes write into it."""
        with self._transaction("DEFERRED"):
            yield

    def roots(self, *, with_absent: bool = False) -> list[str]:
        """Return the folders of the recordings that are present, or of all."""
        query = f"SELECT DISTINCT root FROM recordings WHERE {_presence(with_absent)} ORDER BY root"
        return [row[0] for row in self._connection.execute(query)]

    def root_sizes(self) -> dict[str, int]:
        """Return the folders of the files present that were heard, and how many each holds."""
        query = "SELECT root, count(*) FROM heard WHERE channel <= 0 GROUP BY root ORDER BY root"
        return {root: count for root, count in self._connection.execute(query)}

    def heard_files(self) -> Iterator[list[RecordingRow]]:
        """Yield each file present that was heard, a row a channel, by root and path."""
        query = "SELECT * FROM heard ORDER BY root, path, channel"
        rows = (RecordingRow(**row) for row in self._connection.execute(query))
        for _, channels in groupby(rows, key=lambda row: (row.root, row.path)):
            yield list(channels)

    def typed_events_of(self, recording_id: int) -> list[tuple[EventRow, SoundTypeRow | None]]:
        """Return the events of a recording with their sound types, by number.

        None stands for an event that came after the events were grouped.
        """
        events = self.events_of(recording_id)
        types = self.some_sound_types(event.event_id for event in events)
        return [(event, types.get(event.event_id)) for event in events]

    def clusters_where(self, condition: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the events present that meet a condition, and their sound types.

        Returns
        -------
        numbers, clusters : np.ndarray of int64 [shape=(N,)]
            By number; -1 where an event is in no sound type.
        """
        where = Where("true", ()) if condition is None else parse_where(condition)
        query = f"SELECT event_id, cluster FROM heard_events WHERE {where.sql} ORDER BY event_id"
        found = self._connection.execute(query, where.parameters)
        numbers, clusters = _table(found, np.int64, 2).T
        return numbers, clusters

    def n_copies(self) -> dict[str, int]:
        """Return how many other files hold the same bytes, by content hash."""
        query = (
            "SELECT content_hash, count(*) FROM recordings"
            " WHERE is_present AND state = 'duplicate' GROUP BY content_hash"
        )
        return dict(tuple(row) for row in self._connection.execute(query))

    def absent_events(self) -> np.ndarray:
        """Return the numbers of the events of recordings that are not present, ascending."""
        query = (
            "SELECT event_id FROM recordings JOIN events USING (recording_id)"
            " WHERE is_present = 0 ORDER BY event_id"
        )
        return np.fromiter((row[0] for row in self._connection.execute(query)), np.int64)

    def events_of_content(self, contents: Sequence[str]) -> list[EventRow]:
        """Return the events of recordings with some content hashes, by number."""
        query = (
            "SELECT events.* FROM recordings JOIN events USING (recording_id)"
            " WHERE content_hash IN (SELECT value FROM json_each(?)) ORDER BY event_id"
        )
        return self._rows(EventRow, query, [json.dumps(list(contents))])

    def sound_types_of(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return the sound types of those of some events that are in one."""
        rows = self.some_sound_types(numbers).values()
        return {row.event_id: row.cluster for row in rows if row.cluster >= 0}

    def some_sound_types(self, numbers: Iterable[int]) -> dict[int, SoundTypeRow]:
        """Return the sound types of those of some events that went into the grouping, by event."""
        rows = self._some(SoundTypeRow, "sound_types", numbers, key="event_id")
        return {row.event_id: row for row in rows}

    def heard_events(self, numbers: Sequence[int]) -> list[HeardEvent]:
        """Return some events that are present, by number, with what their recordings say of them.

        Parameters
        ----------
        numbers : sequence of int
            Those that are not present are left out.
        """
        query = f"""
            SELECT event_id, content_hash || ':' || recordings.channel, place, day, duration_s,
                low_hz, high_hz, level_db, cluster
            FROM (SELECT *, site AS place, coalesce({LOCAL_DATE}, '') AS day FROM heard_events
                WHERE event_id IN (SELECT value FROM json_each(?)))
            JOIN recordings USING (recording_id) ORDER BY event_id"""
        asked = json.dumps([int(one) for one in numbers])
        return [HeardEvent(*row) for row in self._connection.execute(query, (asked,))]

    def some_recordings(self, numbers: Iterable[int]) -> dict[int, RecordingRow]:
        """Return the recordings of some numbers, present or not."""
        return {row.recording_id: row for row in self._some(RecordingRow, "recordings", numbers)}

    def some_events(self, numbers: Iterable[int]) -> dict[int, EventRow]:
        """Return the events of some numbers, present or not."""
        return {row.event_id: row for row in self._some(EventRow, "events", numbers)}

    def _some(self, kind: type, table: str, numbers: Iterable[int], key: str = "") -> list[Any]:
        key = key or f"{table[:-1]}_id"
        asked = f"{key} IN (SELECT value FROM json_each(?))"
        query = f"SELECT * FROM {table} WHERE {asked} ORDER BY {key}"
        return self._rows(kind, query, [json.dumps(sorted(set(numbers)))])

    def calls(self, n_rows: int = 100_000) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the events present in blocks, by number, as the join with behaviour needs them.

        Each row holds event, recording, path, site, sound type (-1: none), when it began (ms of
        UTC since 1970; None where that is not known, or only from when the file was written), when
        it began in its recording and how long it is (ms), its lowest and highest frequency (Hz).
        """
        query = """
            SELECT event_id, recording_id, heard.path, heard.site, cluster, start_ms,
                CAST(round(1000.0 * start_sample / heard.sample_rate_hz) AS INTEGER),
                CAST(round(1000.0 * (stop_sample - start_sample) / heard.sample_rate_hz)
                    AS INTEGER),
                low_hz, high_hz
            FROM heard_events JOIN heard USING (recording_id) ORDER BY event_id"""
        cursor = self._connection.execute(query)
        while rows := cursor.fetchmany(n_rows):
            yield [tuple(row) for row in rows]

    def event_places(self) -> np.ndarray:
        """Return all events, present or not, by number, without a row object for each.

        Returns
        -------
        np.ndarray of int64 [shape=(N, 4)]
            Event, recording, first sample, sound type (-1: none).
        """
        query = f"""
            SELECT event_id, recording_id, start_sample,
                coalesce(edited_types.cluster, found_types.cluster, -1)
            FROM {_TYPED_EVENTS} ORDER BY event_id"""
        return _table(self._connection.execute(query), np.int64, 4)

    def n_grouped(self) -> int:
        """Return the number of events present that went into the grouping."""
        # Few are absent: it is quicker to count those, and all.
        query = """
            SELECT (SELECT count(*) FROM found_types) - (
                SELECT count(*) FROM recordings JOIN events USING (recording_id)
                JOIN found_types USING (event_id) WHERE is_present = 0)"""
        return self._connection.execute(query).fetchone()[0]

    def event_traits(self, numbers: np.ndarray) -> np.ndarray:
        """Return what is measured in some events, in the order of their numbers.

        Returns
        -------
        np.ndarray of float64 [shape=(N, 7)]
            Sample after the last, lowest and highest frequency (Hz), level (dB), then strength and
            place on the map (x, y), NaN where there is no map.
        """
        query = f"""
            SELECT stop_sample, low_hz, high_hz, level_db,
                coalesce(edited_types.strength, found_types.strength, 'nan'),
                coalesce(map_x, 'nan'), coalesce(map_y, 'nan')
            FROM {_TYPED_EVENTS}
            WHERE event_id IN (SELECT value FROM json_each(?)) ORDER BY event_id"""
        asked = json.dumps(numbers.tolist())
        return _table(self._connection.execute(query, [asked]), np.float64, 7)

    def recording_places(self) -> list[tuple[Any, ...]]:
        """Return of each recording present, by number, where and when it was.

        Each row holds recording, sample rate (0: not known), number of samples, channel, when it
        began (ms of UTC since 1970; None where that is not known, or only from when the file was
        written), minutes added to that on the clocks there, site, recorder, state.
        """
        query = """
            SELECT recording_id, sample_rate_hz, n_samples, channel,
                CASE WHEN instr(zone, ?) THEN NULL ELSE started_ms END, utc_offset_min, site,
                recorder, state
            FROM recordings WHERE is_present ORDER BY recording_id"""
        return [tuple(row) for row in self._connection.execute(query, (MODIFICATION,))]

    def list_recordings(
        self,
        *,
        after: int,
        limit: int,
        ids: Sequence[int] | None = None,
        site: str | None = None,
        text: str | None = None,
        state: str | None = None,
        day: int | None = None,
    ) -> tuple[list[tuple[RecordingRow, int]], int]:
        """Return some recordings that are present, each with its number of events, and how many.

        Parameters
        ----------
        after, limit : int
            Those with higher numbers, at most so many.
        ids : sequence of int, optional
            Only these.
        site, state : str, optional
            Only those of it.
        text : str, optional
            Only those whose path holds it, in capitals or not.
        day : int, optional
            Only those that were begun on it or last into it: days since 1970, by the clocks there.
        """
        conditions, values = ["is_present"], list[Any]()

        def only(condition: str, *given: Any) -> None:
            conditions.append(condition)
            values.extend(given)

        if ids is not None:
            only("recording_id IN (SELECT value FROM json_each(?))", json.dumps(list(ids)))
        if site is not None:
            only("site = ?", site)
        if text is not None:
            only("instr(lower(path), lower(?))", text)
        if state is not None:
            only("state = ?", state)
        if day is not None:
            local_ms = "started_ms + utc_offset_min * 60000"
            lasts_ms = "max(1, 1000 * n_samples / max(1, sample_rate_hz))"
            only("NOT instr(zone, ?)", MODIFICATION)
            only(f"{local_ms} < ?", (day + 1) * DAY_MS)
            only(f"{local_ms} + {lasts_ms} > ?", day * DAY_MS)
        met = " AND ".join(conditions)
        (total,) = self._connection.execute(
            f"SELECT count(*) FROM recordings WHERE {met}", values
        ).fetchone()
        query = f"""
            SELECT *, (SELECT count(*) FROM events
                WHERE events.recording_id = recordings.recording_id)
            FROM recordings WHERE {met} AND recording_id > ? ORDER BY recording_id LIMIT ?"""
        names = [field.name for field in fields(RecordingRow)]
        found = self._connection.execute(query, [*values, after, limit])
        return [
            (RecordingRow(**dict(zip(names, row, strict=True))), n_events)
            for *row, n_events in found
        ], total

    def event_times(self) -> dict[int, int | None]:
        """Return when each event present began, in ms of UTC since 1970.

        None where that is not known, or only from when the file was written.
        """
        query = "SELECT event_id, start_ms FROM heard_events ORDER BY event_id"
        return {number: start_ms for number, start_ms in self._connection.execute(query)}

    def windows(self, *, with_absent: bool = False) -> list[WindowRow]:
        """Return the windows of recordings that are present, or of all, by number."""
        query = f"{_of('windows', with_absent)} ORDER BY window_id"
        return self._rows(WindowRow, query)

    def sound_types(self) -> list[SoundTypeRow]:
        """Return the sound type of each event present that has one, by event number."""
        query = (
            "SELECT sound_types.* FROM sound_types JOIN events USING (event_id)"
            " JOIN recordings USING (recording_id) WHERE is_present ORDER BY event_id"
        )
        return self._rows(SoundTypeRow, query)

    def count(self, table: str) -> int:
        """Return the number of events or windows of recordings that are present."""
        if table not in ("events", "windows"):
            raise ValueError(f"the catalogue counts events and windows, not {table!r}")
        # Few are absent: it is quicker to count those, and all.
        absent = f"SELECT count(*) FROM {table} JOIN recordings USING (recording_id)"
        query = f"SELECT (SELECT count(*) FROM {table}) - ({absent} WHERE NOT is_present)"
        return self._connection.execute(query).fetchone()[0]

    def last(self, table: str) -> int:
        """Return the highest number given in a table, present or not; 0 where there is none."""
        if table not in ("recordings", "events", "windows"):
            raise ValueError(f"the catalogue numbers no {table!r}")
        column = f"{table[:-1]}_id"
        return self._connection.execute(
            f"SELECT coalesce(max({column}), 0) FROM {table}"
        ).fetchone()[0]

    def summary(self) -> Summary:
        """Return how many files there are of each state, and how much is on the tape."""
        # The first channel stands for its file. Grouped in the order of the index: no sort.
        query = """
            SELECT is_present, state, zone, site, count(*), count(started_ms),
                count(*) FILTER (WHERE n_frames > 0), total(n_frames),
                total(1.0 * n_samples / sample_rate_hz) FILTER (WHERE n_frames > 0)
            FROM recordings INDEXED BY recordings_summary
            WHERE is_present IN (0, 1) AND channel <= 0
            GROUP BY is_present, state, channel, zone, site"""
        states, zones, sites = Counter[str](), Counter[str](), Counter[str]()
        heard_s, n_absent, absent_frames = 0.0, 0, 0
        for row in self._connection.execute(query):
            is_present, state, zone, site, n_files, n_timed, n_heard, n_frames, seconds = row
            if not is_present:
                n_absent += n_heard
                absent_frames += int(n_frames)
                continue
            states[state] += n_files
            heard_s += seconds
            if state in HEARD:
                zones.update({zone: n_timed, "unknown": n_files - n_timed})
                sites[site] += n_files
        return Summary(
            states=dict(states),
            heard_s=heard_s,
            n_absent=n_absent,
            absent_frames=absent_frames,
            zones={zone: count for zone, count in sorted(zones.items()) if count},
            sites={site: count for site, count in sorted(sites.items()) if site},
        )

    def not_whole(self) -> list[tuple[str, str, str]]:
        """Return path, state and reason of each file present that was not heard whole."""
        query = """
            SELECT path, state, reason FROM recordings
            WHERE is_present AND channel <= 0 AND (state < 'whole' OR state > 'whole')
            ORDER BY recording_id"""
        return [tuple(row) for row in self._connection.execute(query)]

    def tape_rows(self) -> int:
        """Return the number of frames on the tape that are whole."""
        query = "SELECT coalesce(max(tape_row + n_frames), 0) FROM recordings"
        return self._connection.execute(query).fetchone()[0]

    def add(
        self,
        recordings: Iterable[RecordingRow],
        events: Iterable[EventRow],
        windows: Iterable[WindowRow],
        *,
        retired: Iterable[FileRow] = (),
        placed: Iterable[Placed] = (),
        clocks: Iterable[ClockRow] = (),
    ) -> None:
        """Change what there is in one transaction: all of it or nothing.

        The step that indexes then counts as unfinished until it is noted again.

        Parameters
        ----------
        recordings, events, windows : iterable of rows
            That are new.
        retired : iterable of FileRow
            Files that are present no more. This comes first, so that others can take their names.
        placed : iterable of Placed
            Files that are at another place, or were written again, with the same content.
        clocks : iterable of ClockRow
            Of files that are present then.
        """
        with self._transaction():
            self._connection.execute("UPDATE stages SET finished = 0 WHERE stage = 'index'")
            self._connection.executemany(
                "UPDATE recordings SET is_present = 0 WHERE root = ? AND path = ? AND is_present",
                [(row.root, row.path) for row in retired],
            )
            self._connection.executemany(
                "UPDATE recordings SET root = ?, path = ?, n_bytes = ?, modified_s = ?,"
                " is_present = 1"
                " WHERE content_hash = ? AND root = ? AND path = ? AND n_frames > 0",
                [(*one.place, one.was.content_hash, one.was.root, one.was.path) for one in placed],
            )
            self._insert("recordings", recordings)
            self._insert("events", events)
            self._insert("windows", windows)
            self._set_clocks(clocks)

    def set_clocks(self, clocks: Iterable[ClockRow]) -> None:
        """Change when and where files were recorded, in one transaction."""
        with self._transaction():
            self._set_clocks(clocks)

    def clocks(self) -> Iterator[tuple[ClockRow, float, str]]:
        """Yield of each file present its clock, its seconds and its state, by number."""
        query = """
            SELECT root, path, reading, started_ms, utc_offset_min, zone, site, recorder, note,
                n_samples / max(1.0, sample_rate_hz), state
            FROM recordings JOIN clocks USING (recording_id)
            WHERE is_present AND channel <= 0 ORDER BY recording_id"""
        names = [field.name for field in fields(ClockRow)]
        for *values, duration_s, state in self._connection.execute(query):
            yield ClockRow(**dict(zip(names, values, strict=True))), duration_s, state

    def _set_clocks(self, clocks: Iterable[ClockRow]) -> None:
        for one in clocks:
            key = one.root, one.path
            self._connection.execute(
                "UPDATE recordings SET started_ms = ?, utc_offset_min = ?, zone = ?, site = ?,"
                " recorder = ? WHERE root = ? AND path = ? AND is_present",
                (one.started_ms, one.utc_offset_min, one.zone, one.site, one.recorder, *key),
            )
            self._connection.execute(
                "INSERT OR REPLACE INTO clocks SELECT recording_id, ?, ? FROM recordings"
                " WHERE root = ? AND path = ? AND is_present",
                (one.reading, one.note, *key),
            )

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

    def drop_stage(self, name: str) -> None:
        """Note that nothing is left of a step."""
        with self._transaction():
            self._connection.execute("DELETE FROM stages WHERE stage = ?", (name,))

    def set_sound_types(
        self,
        rows: Iterable[SoundTypeRow],
        stage: Stage,
        edited: TypedEvents | None = None,
        types: Stage | None = None,
    ) -> None:
        """Replace all sound types, and note the step, in one transaction.

        Parameters
        ----------
        rows : iterable of SoundTypeRow
            As they were found.
        stage : Stage
            Of the step.
        edited, types
            As in :meth:`edit_types`.
        """
        with self._transaction():
            self._connection.execute("DELETE FROM found_types")
            self._insert("found_types", rows)
            self._put_stage("cluster", stage)
            self._set_edited(edited, types)

    def found_types(self) -> TypedEvents:
        """Return the sound types as they were found, before any edit."""
        columns = np.dtype([("event", np.int64), ("cluster", np.int64), ("strength", np.float64)])
        query = "SELECT event_id, cluster, strength FROM found_types ORDER BY event_id"
        table = np.fromiter((tuple(row) for row in self._connection.execute(query)), columns)
        return TypedEvents(
            events=table["event"], clusters=table["cluster"], strengths=table["strength"]
        )

    def edits(self, *, with_events: bool = False) -> list[EditRow]:
        """Return all edits of sound types that people made, in that order."""
        return get_edits(self._connection, with_events=with_events)

    def edit_types(
        self,
        edited: TypedEvents | None,
        types: Stage | None,
        *,
        made: EditRow | None = None,
        undone: EditRow | None = None,
    ) -> None:
        """Change the sound types as people see them, in one transaction.

        Parameters
        ----------
        edited : TypedEvents, optional
            All events of another type or strength than was found.
        types : Stage, optional
            What is then known of the sound types; None: what was found.
        made : EditRow, optional
            That is new.
        undone : EditRow, optional
            That is undone, with when and by whom.
        """
        with self._transaction():
            if made is not None:
                put_edit(self._connection, made)
            if undone is not None:
                self._connection.execute(
                    "UPDATE edits SET undone_ms = ?, undone_by = ? WHERE edit_id = ?",
                    (undone.undone_ms, undone.undone_by, undone.edit_id),
                )
            self._set_edited(edited, types)

    def _set_edited(self, edited: TypedEvents | None, types: Stage | None) -> None:
        self._connection.execute("DELETE FROM edited_types")
        if edited is not None:
            columns = edited.events, edited.clusters, edited.strengths
            self._connection.executemany(
                "INSERT INTO edited_types VALUES (?, ?, ?)",
                zip(*(column.tolist() for column in columns), strict=True),
            )
        self._connection.execute("DELETE FROM stages WHERE stage = ?", (TYPES,))
        if types is not None:
            self._put_stage(TYPES, types)

    def _put_stage(self, name: str, stage: Stage) -> None:
        facts = json.dumps(stage.facts, sort_keys=True)
        self._connection.execute(
            "INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?)",
            (name, stage.fingerprint, int(stage.finished), facts),
        )

    def _insert(self, table: str, rows: Iterable[Any]) -> None:
        values = [tuple(getattr(row, name) for name in row.__slots__) for row in rows]
        if values:
            marks = ", ".join("?" * len(values[0]))
            self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)

    def _rows(self, kind: type, query: str, values: Sequence[Any] = ()) -> list[Any]:
        names = [field.name for field in fields(kind)]
        cursor = self._connection.execute(query, values)
        # A table's columns come in the order of its row's fields.
        return [kind(**dict(zip(names, row, strict=True))) for row in cursor]


def _table(rows: Iterable[Any], dtype: type, n_columns: int) -> np.ndarray:
    """Return rows of numbers as an array [shape=(N, n_columns)]."""
    values = chain.from_iterable(rows)
    return np.fromiter(values, dtype).reshape(-1, n_columns)


def _in(column: str, values: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    if values is None:
        return "", ()
    return f"AND {column} IN ({', '.join('?' * len(values))})", tuple(values)


def _presence(with_absent: bool) -> str:
    return "true" if with_absent else "is_present"


def _of(table: str, with_absent: bool) -> str:
    if with_absent:
        return f"SELECT * FROM {table}"
    return f"SELECT {table}.* FROM {table} JOIN recordings USING (recording_id) WHERE is_present"
