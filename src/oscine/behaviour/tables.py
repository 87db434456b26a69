"""The tables that go in and out of every file of this room, and what could not be used of a log.

Times are whole milliseconds. A **timeline** is what they count on: ``site:NAME`` counts from 1970
in UTC (``site:`` alone where no site is known), ``file:KEY`` from the first sample of a recording,
or of the media file, that goes by that key. Intervals are half-open; a point has ``stop_ms ==
start_ms``. An empty text means not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

SITE, FILE = "site:", "file:"
"""How the names of timelines begin."""

CALLS: Mapping[str, pl.DataType] = {
    "call": pl.Int64(),  # number of the event in the catalogue
    "recording": pl.Int64(),
    "path": pl.String(),
    "site": pl.String(),
    "caller": pl.String(),
    "sound_type": pl.Int64(),  # -1: not grouped
    "start_ms": pl.Int64(),  # UTC since 1970; null where the recording has no time
    "stop_ms": pl.Int64(),
    "file_start_ms": pl.Int64(),  # from the first sample of the recording
    "file_stop_ms": pl.Int64(),
}
"""One row a call, as the workspace has it. A call lies on the timeline of its site and, for
observations that name a recording, on that of its file."""

OBSERVATIONS: Mapping[str, pl.DataType] = {
    "observation": pl.Int64(),  # from 0, in the order of log and row
    "log": pl.String(),
    "row": pl.Int64(),  # line of the file, the header being 1; of a pair, where it starts
    "behaviour": pl.String(),
    "is_state": pl.Boolean(),
    "subject": pl.String(),
    "session": pl.String(),
    "timeline": pl.String(),
    "start_ms": pl.Int64(),
    "stop_ms": pl.Int64(),
    "count": pl.Float64(),  # null where nobody counted
}
"""One row a point or state that somebody saw."""

EFFORT: Mapping[str, pl.DataType] = {
    "log": pl.String(),
    "session": pl.String(),
    "timeline": pl.String(),
    "start_ms": pl.Int64(),
    "stop_ms": pl.Int64(),
    "source": pl.String(),  # "declared", "media", "first to last row", "whole recording"
    "site": pl.String(),  # as the log states it: the timeline of a recording does not hold it
}
"""When somebody watched. What lies outside is unobserved, which is not the same as no behaviour."""

CONTEXT: Mapping[str, pl.DataType] = {
    "log": pl.String(),
    "row": pl.Int64(),
    "name": pl.String(),
    "value": pl.Float64(),
    "session": pl.String(),
    "timeline": pl.String(),
    "start_ms": pl.Int64(),
    "stop_ms": pl.Int64(),  # until the next value of the session, or its end
}
"""What was measured beside behaviour (temperature, group size): a value and how long it holds."""

STATED: Mapping[str, pl.DataType] = {
    "log": pl.String(),
    "row": pl.Int64(),
    "key": pl.String(),  # of the recording
    "observer_ms": pl.Int64(),  # UTC since 1970, by the observer's clock
}
"""One row a line that names a recording and states a time, whatever was seen then."""

ProblemKind = Literal["unread", "ambiguous", "suspicious"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A row of a log that was not used, or that should be looked at.

    Attributes
    ----------
    log : str
    row : int
        Line of the file, the header being 1; 0 for what concerns the whole log.
    kind : str
        ``unread``: left out; ``ambiguous``: could be meant in two ways, left out; ``suspicious``:
        used as it stands.
    what : str
        What is wrong and the way out, in one sentence.
    """

    log: str
    row: int
    kind: ProblemKind
    what: str


def empty(schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return a table without rows."""
    return pl.DataFrame(schema=dict(schema))
