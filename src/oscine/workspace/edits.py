"""Edits of sound types that people made, as the catalogue keeps them.

In come what a person said and the events it was said of; out come rows of the table ``edits``. An
edit names its events, so that it still says something when the events are grouped anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

EditKind = Literal["name", "merge", "split"]

EDITS = """
CREATE TABLE edits (
    edit_id INTEGER PRIMARY KEY,
    grouping TEXT NOT NULL,
    kind TEXT NOT NULL,
    who TEXT NOT NULL,
    made_ms INTEGER,
    undone_ms INTEGER,
    undone_by TEXT NOT NULL,
    facts TEXT NOT NULL,
    events TEXT
) STRICT;
CREATE TABLE edited_types (
    event_id INTEGER PRIMARY KEY REFERENCES events,
    cluster INTEGER NOT NULL,
    strength REAL NOT NULL
) STRICT;
CREATE VIEW sound_types AS SELECT
        event_id, coalesce(edited_types.cluster, found_types.cluster) AS cluster,
        coalesce(edited_types.strength, found_types.strength) AS strength, map_x, map_y
    FROM found_types LEFT JOIN edited_types USING (event_id);
"""
"""What the grouping found (``found_types``) is never written to by an edit: ``edited_types`` holds
the events whose type or strength people changed. All readers ask the views."""
TYPES = "types"
"""The stage of the catalogue whose facts are the sound types as people edited them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditRow:
    """What a person said of sound types.

    Attributes
    ----------
    edit_id : int
        Ascending in the order they were made.
    grouping : str
        Fingerprint of the grouping in which it was said.
    kind : "name", "merge" or "split"
    who : str
    made_ms, undone_ms : int or None
        In milliseconds of UTC since 1970. Not known of names that were given before edits were
        kept; not undone.
    undone_by : str
    facts : dict
        ``numbers`` of the types in that grouping: of the one that was named, of those that were
        merged, into the first, of the parts, the largest first; the ``name`` that the first then
        has, if any.
    events : dict or None
        The events of each of these types (``types``), of parts also their ``strengths``, and all
        events of that grouping (``known``), as :func:`runs_of`. None: not known, or not asked for.
    """

    edit_id: int
    grouping: str
    kind: EditKind
    who: str
    made_ms: int | None
    undone_ms: int | None = None
    undone_by: str = ""
    facts: dict[str, Any]
    events: dict[str, Any] | None


def runs_of(numbers: Sequence[int] | np.ndarray) -> list[list[int]]:
    """Return ascending numbers as runs, each from its first to the one after its last."""
    found = np.asarray(numbers, np.int64)
    if not len(found):
        return []
    gaps = np.flatnonzero(np.diff(found) != 1) + 1
    firsts, lasts = found[np.r_[0, gaps]], found[np.r_[gaps - 1, len(found) - 1]]
    return np.stack([firsts, lasts + 1], axis=1).tolist()


def keep_edits(connection: sqlite3.Connection) -> None:
    """Make a catalogue of version 2, whose names are the facts of a stage, one that keeps edits.

    Its view ``heard_events`` is made anew by the next version.
    """
    connection.execute("DROP VIEW heard_events")
    connection.execute("ALTER TABLE sound_types RENAME TO found_types")
    for statement in EDITS.split(";")[:-1]:
        connection.execute(statement)
    facts = {
        stage: (grouping, json.loads(facts))
        for stage, grouping, facts in connection.execute(
            "SELECT stage, fingerprint, facts FROM stages WHERE stage IN ('names', 'cluster')"
        )
    }
    connection.execute("DELETE FROM stages WHERE stage = 'names'")
    grouping, found = facts.get("cluster", ("", {}))
    types: dict[int, list[int]] = {}
    for event, cluster in connection.execute("SELECT event_id, cluster FROM found_types"):
        types.setdefault(cluster, []).append(event)
    known = runs_of(sorted(event for members in types.values() for event in members))
    fits = {}
    for named_in, names in facts.get("names", ("", {}))[1].items():
        for number, name in names.items():
            members = types.get(int(number)) if named_in == grouping else None
            edit = EditRow(
                edit_id=connection.execute("SELECT count(*) + 1 FROM edits").fetchone()[0],
                grouping=named_in,
                kind="name",
                who="",
                made_ms=None,
                facts={"numbers": [int(number)], "name": name},
                events=None if members is None else {"known": known, "types": [members]},
            )
            put_edit(connection, edit)
            if members is not None:
                fits[edit.edit_id] = [int(number)]
    if fits:
        named = found | {
            "numbers": list(range(len(found["exemplars"]))),
            "names": facts["names"][1][grouping],
            "fits": fits,
        }
        connection.execute(
            "INSERT INTO stages VALUES (?, ?, 1, ?)",
            (TYPES, grouping, json.dumps(named, sort_keys=True)),
        )


def put_edit(connection: sqlite3.Connection, edit: EditRow) -> None:
    """Put an edit in."""
    values = {name: getattr(edit, name) for name in EditRow.__slots__}
    values["facts"] = json.dumps(edit.facts, sort_keys=True)
    values["events"] = edit.events and json.dumps(edit.events)
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO edits VALUES ({marks})", tuple(values.values()))


def get_edits(connection: sqlite3.Connection, *, with_events: bool) -> list[EditRow]:
    """Return all edits in the order they were made."""
    *plain, facts, events = EditRow.__slots__
    asked = [*plain, facts, events if with_events else "NULL"]
    rows = connection.execute(f"SELECT {', '.join(asked)} FROM edits ORDER BY edit_id")
    return [
        EditRow(
            **dict(zip(plain, values, strict=True)),
            facts=json.loads(facts),
            events=events and json.loads(events),
        )
        for *values, facts, events in rows
    ]
