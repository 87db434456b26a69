"""What is declared, or was guessed, of one log: the settings of ``join.toml``.

In come options of the command line or a file; out goes what the readers of logs are told.
:mod:`oscine.behaviour.log` completes it by what it guesses, so that the log can be read again in
the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LogFormat = Literal["", "table", "form", "boris", "solomon", "jwatcher"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogConfig:
    """How a log of observations is to be read.

    Columns go by the names in the header. Where one value holds for the whole log, it may be given
    in place of a column, after an equals sign (``=north``).
    """

    guess: bool = True
    """Whether what is left empty here is guessed from names and values. Oscine writes false: all
    that was guessed is then written, and what is empty is not there."""
    format: LogFormat = ""
    """``table``: a row is an observation; ``form``: a row is an instant and a column a behaviour;
    ``boris``, ``solomon`` and ``jwatcher``: files of these programs."""
    sheet: str = ""
    """Of a spreadsheet; empty for the first."""
    separator: str = ""
    """Between the columns of a text file; empty to find it."""
    encoding: str = ""
    """Of a text file, such as latin-1; empty to find it."""
    header_line: int = 0
    """Line that holds the names of the columns; 0 to find it."""

    time: tuple[str, ...] = ()
    """The column that says when, or two: date and time of day."""
    start: tuple[str, ...] = ()
    """Of states, instead of ``time``: the column, or two, of when they start."""
    stop: tuple[str, ...] = ()
    """The same of when they stop."""
    date_format: str = ""
    """The order of day, month and year (``day.month.year``), or what numbers count: ``excel days``,
    ``seconds since 1970``, ``milliseconds since 1970``, and ``seconds`` or ``milliseconds`` from
    ``media_start``."""
    time_format: str = ""
    """``h:m:s`` (also with AM and PM), ``hhmmss`` or ``hhmm`` without marks between, or
    ``excel days``."""
    timezone: str = ""
    """Of the observer's clock, where the log does not say: an IANA name, or one like UTC+2."""
    media_start: str = ""
    """When seconds begin to count, as 2024-04-25T12:58:00+01:00; of exports of BORIS and its like
    also a table with the columns media and start."""
    earliest_year: int = 1990
    """Times before it are slips."""
    latest_year: int = 0
    """Times after it are slips. 0: the year after this one."""

    behaviour: str = ""
    """The column that names what was seen (``table``)."""
    behaviours: tuple[str, ...] = ()
    """The columns that are behaviours (``form``)."""
    status: str = ""
    """The column that says START and STOP."""
    subject: str = ""
    """The column that says who was seen."""
    site: str = ""
    """The column that says where; as recorders name their sites."""
    session: str = ""
    """The column that tells sessions apart; empty: a day at a site is one."""
    count: str = ""
    """The column of how many were seen."""
    marker: str = ""
    """The column that names a recording which was made of what was seen."""
    modifiers: bool = False
    """Whether the modifiers of BORIS tell behaviours apart."""
    context: tuple[str, ...] = ()
    """Columns of values that hold until the next row: numbers, or words."""

    effort: str = ""
    """A table of when somebody watched."""
    effort_date_format: str = ""
    """The order of day, month and year in it."""
    effort_start: tuple[str, ...] = ()
    """Columns of the log that say when somebody began to watch; of times of day, with the date of
    the row."""
    effort_stop: tuple[str, ...] = ()
    """The same of when he stopped."""
    tolerance_ms: int = 500
    """A session of one row is taken to have lasted this long before and after it."""

    def __post_init__(self) -> None:
        if bool(self.start) != bool(self.stop):
            raise ValueError("start and stop go together: give both columns, or the one of time")
        if self.time and self.start:
            raise ValueError("give either time or start and stop, not both")
        if bool(self.effort_start) != bool(self.effort_stop):
            raise ValueError("effort_start and effort_stop go together")
        if self.effort and self.effort_start:
            raise ValueError("effort is either a table or two columns of the log, not both")
        if self.tolerance_ms < 1:
            raise ValueError(f"tolerance_ms must be positive, not {self.tolerance_ms}")
