"""Read tables and forms of people's own, row by row.

In come a table, and settings that leave nothing open; out go what was seen, when somebody watched,
what was measured, and the rows that could not be used, into a
:class:`~oscine.behaviour.parts.Gathered`. :mod:`oscine.behaviour.log` calls.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from oscine.behaviour.config import LogConfig
from oscine.behaviour.guess import (
    MISSING,
    NOTHING,
    POINTS,
    STARTS,
    STOPS,
    UNSURE,
    Look,
    completed,
    values_of,
)
from oscine.behaviour.orders import Reading, read_times, suspicious_pace
from oscine.behaviour.parts import FIRST_TO_LAST, FOREVER, Gathered, LogParts
from oscine.behaviour.raw import RawTable, number, read_table
from oscine.behaviour.slips import kept_evenings
from oscine.behaviour.tables import FILE, SITE, ProblemKind
from oscine.behaviour.times import (
    DAY_MS,
    FROM_START_MS,
    FROM_START_S,
    ORDERS,
    Moment,
    Trouble,
    day_of,
    days_of,
    parse_date,
    read_instant,
    to_utc_ms,
    written_ms,
)
from oscine.config import WrongArgument
from oscine.sound.archive import AUDIO_SUFFIXES, shown

DECLARED, WHOLE_RECORDING = "declared", "whole recording"
"""Sources of effort, beside `FIRST_TO_LAST`."""

_IN_FILE_YEARS = range(1970, 1971)
"""Times from the first sample of a recording, counted as if from 1970."""


def next_year() -> int:
    """Return the year up to which times are believed."""
    return datetime.now(UTC).year + 1


def read_effort(
    file: Path, config: LogConfig, *, log: str, days: Collection[int] = (), prefer: str = ""
) -> tuple[LogParts, str]:
    """Read a table of when somebody watched.

    Parameters
    ----------
    file : Path
        With columns that say when a stretch started and stopped and, where there are any, its site
        and its session. Without sessions each day at a site is one.
    config : LogConfig
        Of the log: its zone and years count here too, and its site, where it is a value.
    log : str
        Name of the log.
    days, prefer
        As in :func:`~oscine.behaviour.orders.read_times`: the days of the log, and the order of
        dates that is declared for it.

    Returns
    -------
    parts : LogParts
        Of which only effort, problems and what was guessed are used.
    date_format : str
        In which its dates were read.

    Raises
    ------
    WrongArgument
        As for :func:`oscine.behaviour.log.read_log`.
    """
    table = read_table(file)
    wanted = LogConfig(
        format="table",
        behaviour="=watching",
        timezone=config.timezone,
        earliest_year=config.earliest_year,
        latest_year=config.latest_year,
        site=config.site if config.site.startswith("=") else "",
    )
    guess = completed(table, wanted)
    if not guess.config.start:
        raise WrongArgument(
            f"{shown(file)}: no columns say when a stretch of watching started and stopped: name "
            "them start and stop (and date, where these are times of day)"
        )
    gathered = Gathered(log=log, lone_row_ms=config.tolerance_ms)
    guessed = replace(guess.config, date_format=config.effort_date_format)
    reader = TableReader(table, guessed, gathered, days=days, prefer=prefer)
    for row in reader.rows:
        if row.start_ms is None or row.stop_ms is None or row.stop_ms <= row.start_ms:
            if row.start_ms is not None:
                reader.problem(row, "unread", "it does not stop after it starts")
            continue
        gathered.effort.append(
            row.placed(log) | {"start_ms": row.start_ms, "stop_ms": row.stop_ms, "source": DECLARED}
        )
    if not gathered.effort:
        raise WrongArgument(f"{shown(file)}: no stretch of watching can be read in it")
    return gathered.parts(), reader.config.date_format


@dataclass(kw_only=True, slots=True)
class _Row:
    """A row of a log, and where it lies."""

    at: int
    line: int
    site: str
    session: str
    marker: str
    subject: str
    timeline: str
    day: str = ""
    start_ms: int | None = None
    stop_ms: int | None = None
    has_stop: bool = False
    possible_ms: tuple[int, ...] = ()
    """Where it has no time because it can be of two: these, and the other end of a state."""

    def placed(self, log: str) -> dict[str, Any]:
        place = {"session": self.session, "timeline": self.timeline, "site": self.site}
        return {"log": log} | place


class TableReader:
    """Tables and forms: rows find their place, then what was seen, watched and measured."""

    def __init__(
        self,
        table: RawTable,
        config: LogConfig,
        gathered: Gathered,
        *,
        days: Collection[int],
        prefer: str = "",
    ) -> None:
        self.table = table
        self.config = config
        self.gathered = gathered
        self.days, self.prefer = days, prefer
        self.declared_format = config.date_format
        self.file = shown(table.file)
        self.lines = [line for line, _ in table.rows]
        self.is_in_file = (
            bool(config.marker)
            and not config.media_start
            and config.date_format in (FROM_START_S, FROM_START_MS)
        )
        """Whether times count from the first sample of the recording that the row names."""
        sites, sessions, markers, subjects = (
            self._cells(name)
            for name in (config.site, config.session, config.marker, config.subject)
        )
        self.rows = [
            _Row(
                at=at,
                line=line,
                site=sites[at],
                session=sessions[at],
                marker=_key(markers[at]),
                subject=subjects[at],
                timeline=FILE + _key(markers[at]) if self.is_in_file else SITE + sites[at],
            )
            for at, line in enumerate(self.lines)
        ]
        self.unsure: dict[str, list[tuple[int, int]]] = defaultdict(list)
        """By timeline, from when to when rows may lie that can be of two times."""
        self._note_duplicates()
        if config.time or config.start:
            self._place()
        for row in self.rows:
            if not row.session:
                row.session = " ".join(filter(None, (row.site, row.day or row.marker)))

    def _cells(self, name: str) -> list[str]:
        """Return the cells of a column, without what people write where there is nothing."""
        if not name:
            return [""] * len(self.lines)
        return ["" if cell.lower() in MISSING else cell for cell in values_of(self.table, name)]

    def problem(self, row: _Row, kind: ProblemKind, what: str) -> None:
        """Note what is wrong with a row."""
        self.gathered.problem(row.line, kind, what)

    def untimed(self, row: _Row, kind: ProblemKind, what: str) -> None:
        """Note why a row has no time; it still counts where it names a recording."""
        if row.marker and not self.is_in_file:
            kind, what = "suspicious", f"{what}. It counts for the recording {row.marker!r} alone"
        self.problem(row, kind, what)

    def read(self) -> None:
        """Fill in observations, effort and context."""
        seen = self._seen_in_form() if self.config.format == "form" else self._seen_in_table()
        self._watched(seen)
        self._keep(seen)
        self._hold_context()
        if not self.is_in_file:
            self.gathered.stated += [
                {
                    "log": self.gathered.log,
                    "row": row.line,
                    "key": row.marker,
                    "observer_ms": row.start_ms,
                }
                for row in self._timed_rows()
                if row.marker
            ]
        if not self.gathered.observations:
            self.gathered.problem(0, "suspicious", "nothing in it says that something was seen")

    # When

    def _place(self) -> None:
        """Find the time of each row."""
        config = self.config
        start = self._counted_from()
        begins = config.start or config.time
        if len(begins) > 2:
            raise WrongArgument(
                f"{self.file}: a time stands in one column or two, not in {', '.join(begins)}"
            )
        reading = self._reading(begins, start)
        self.config = config = replace(
            config, date_format=reading.date_format, time_format=reading.time_format
        )
        for sentence in reading.why:
            self.gathered.say(sentence)
        if start is None:
            self._note_kept_evenings(reading)
        starts = self._absolute(reading)
        for row, moment in zip(self.rows, starts, strict=True):
            if moment is not None:
                row.start_ms, row.day = moment
                row.stop_ms = row.start_ms
                row.day = "" if self.is_in_file else row.day
        if config.start:
            ends = config.stop
            if len(begins) == 2 and len(ends) == 1:
                ends = (begins[0], *ends)
            self._place_stops(ends, start)
        for row in self.rows:
            if row.possible_ms:
                ends = (*row.possible_ms, row.stop_ms or row.possible_ms[0])
                self.unsure[row.timeline].append((min(ends), max(ends)))
        times = [row.start_ms for row in self.rows if row.start_ms is not None]
        if pace := suspicious_pace(times, reading.date_format):
            self.gathered.problem(0, "suspicious", pace)

    def _counted_from(self) -> Moment | None:
        if self.is_in_file:
            return Moment(0, 0)
        if not self.config.media_start:
            return None
        given = read_instant(self.config.media_start, "--media-start")
        self._need_zone(given, self.config.media_start)
        utc_ms = to_utc_ms(given, self.config.timezone)
        if isinstance(utc_ms, Trouble):
            raise WrongArgument(f"--media-start: {utc_ms.what}: write it with its zone")
        return Moment(utc_ms, 0)

    def _need_zone(self, moment: Moment, text: str) -> None:
        if moment.offset_min is None and not self.config.timezone:
            raise WrongArgument(
                f"{self.file}: its times ({text}) do not say in which zone: give that of the "
                "observer's clock, as --timezone Europe/London or --timezone UTC+2"
            )

    def _reading(self, columns: Sequence[str], start: Moment | None) -> Reading:
        """Read the times in one column, or in two of dates and times of day."""
        config = self.config
        cells = [self._cells(name) for name in columns]
        if len(cells) == 2 and _is_swapped(*cells):
            cells.reverse()
        years = range(config.earliest_year, (config.latest_year or next_year()) + 1)
        return read_times(
            list(zip(*cells, strict=True)),
            years=_IN_FILE_YEARS if self.is_in_file else years,
            date_format=config.date_format,
            time_format=config.time_format,
            start=start,
            prefer=self.prefer,
            days=self.days,
            what=self.file,
            lines=self.lines,
        )

    def _absolute(self, reading: Reading, *, what: str = "") -> list[tuple[int, str] | None]:
        """Return milliseconds in UTC, and the day there, of each row; note what has none."""
        found: list[tuple[int, str] | None] = []
        for row, moment in zip(self.rows, reading.moments, strict=True):
            trouble = reading.troubles.get(row.at)
            one = None
            if moment is not None:
                self._need_zone(moment, written_ms(moment.local_ms))
                utc_ms = to_utc_ms(moment, self.config.timezone)
                if isinstance(utc_ms, Trouble):
                    trouble = utc_ms
                    row.possible_ms += utc_ms.possible_ms
                else:
                    one = utc_ms, day_of(moment, utc_ms, self.config.timezone)
            if trouble is not None:
                note = self.problem if one is not None else self.untimed
                note(row, trouble.kind, f"{what}{trouble.what}")
            found.append(one)
        return found

    def _place_stops(self, columns: Sequence[str], start: Moment | None) -> None:
        """Find where states stop. Behaviours that never do are points."""
        config = self.config
        stops = self._cells(columns[-1])
        if not any(stops):
            return
        behaviours = self._cells(config.behaviour)
        with_stop = {one for one, stop in zip(behaviours, stops, strict=True) if stop}
        reading = self._reading(columns, start)
        troubles = {at: one for at, one in reading.troubles.items() if stops[at]}
        found = self._absolute(replace(reading, troubles=troubles), what="its stop: ")
        for row, one in zip(self.rows, found, strict=True):
            if one is not None:
                row.stop_ms, row.has_stop = one[0], True
            elif row.start_ms is not None and (stops[row.at] or behaviours[row.at] in with_stop):
                if row.possible_ms:
                    row.possible_ms += (row.start_ms,)
                row.start_ms = row.stop_ms = None
                if not stops[row.at]:
                    self.untimed(row, "unread", "it has a start and no stop: write when it stopped")

    def _note_kept_evenings(self, reading: Reading) -> None:
        """Ask of rows after midnight that have the date of the evening."""
        times = [None if one is None else one.local_ms for one in reading.moments]
        groups = [(row.session, row.site) for row in self.rows]
        for at, ends in kept_evenings(times, groups).items():
            before, after = (written_ms(ms).partition(" ")[2] for ms in ends)
            self.problem(
                self.rows[at],
                "suspicious",
                f"goes back from {before} to {after} of the same date: is it of the next day? Then "
                "write that day, here and in the rows after it",
            )

    def _note_duplicates(self) -> None:
        first: dict[tuple[str, ...], int] = {}
        for line, cells in self.table.rows:
            if cells in first:
                self.gathered.problem(
                    line,
                    "suspicious",
                    f"it is the same as line {first[cells]} in every cell: was it entered twice? "
                    "They are two observations, and count once in rates and tests",
                )
            first.setdefault(cells, line)

    # What

    def _seen_in_form(self) -> list[tuple[_Row, str, bool, float | None]]:
        """Return row, behaviour, whether it is a state, and count of each mark in a form."""
        columns = {name: values_of(self.table, name) for name in self.config.behaviours}
        seen: list[tuple[_Row, str, bool, float | None]] = []
        for row in self.rows:
            for name, cells in columns.items():
                cell = cells[row.at]
                is_seen, count = self._marked(row, name, cell)
                if is_seen:
                    seen.append((row, name, row.has_stop, count))
        return seen

    def _marked(self, row: _Row, name: str, cell: str) -> tuple[bool, float | None]:
        """Tell whether a cell of a form says that something was seen, and how many."""
        if cell.lower() in NOTHING:
            return False, None
        count = number(cell)
        if count is not None and count <= 0:
            if count < 0:
                self.problem(row, "suspicious", f"{name}: {cell!r} is no count; left out")
            return False, None
        if cell.lower() in UNSURE:
            self.problem(
                row,
                "suspicious",
                f"{name}: {cell!r} can be yes or no, and is left out: write 1, or leave it empty",
            )
            return False, None
        if count is None and any(character.isdigit() for character in cell):
            self.problem(
                row,
                "suspicious",
                f"{name}: {cell!r} is no number: it counts as seen, not how often",
            )
        return True, count

    def _seen_in_table(self) -> list[tuple[_Row, str, bool, float | None]]:
        """Return row, behaviour, whether it is a state, and count of each row of a table."""
        config = self.config
        behaviours = self._cells(config.behaviour)
        counts = self._cells(config.count)
        statuses = [cell.lower() for cell in self._cells(config.status)]
        seen: list[tuple[_Row, str, bool, float | None]] = []
        ends: list[tuple[_Row, str, bool]] = []
        n_none = 0
        for row in self.rows:
            behaviour, status = behaviours[row.at], statuses[row.at]
            if not behaviour:
                self.problem(row, "unread", f"it does not say what was seen ({config.behaviour})")
                continue
            count = number(counts[row.at])
            if count == 0:
                n_none += 1
                continue
            if (count is None and counts[row.at]) or (count is not None and count < 0):
                self.problem(
                    row, "suspicious", f"{config.count}: {counts[row.at]!r} is no count; left open"
                )
                count = None
            if config.status and status in STARTS | STOPS:
                ends.append((row, behaviour, status in STARTS))
            elif status not in POINTS:
                self.problem(
                    row,
                    "unread",
                    f"{config.status}: {status!r} is neither START nor STOP, nor POINT",
                )
            else:
                seen.append((row, behaviour, row.has_stop, count))
        if n_none:
            self.gathered.say(f"rows with {config.count} 0 ({n_none}) say that nothing was seen")
        return seen + self._paired(ends)

    def _paired(
        self, ends: Iterable[tuple[_Row, str, bool]]
    ) -> list[tuple[_Row, str, bool, float | None]]:
        """Make states of rows that say START and STOP, one subject and behaviour at a time."""
        open_rows: dict[tuple[str, ...], _Row] = {}
        states: list[tuple[_Row, str, bool, float | None]] = []
        timed = [one for one in ends if one[0].start_ms is not None]
        for row, behaviour, is_start in sorted(timed, key=lambda one: one[0].start_ms or 0):
            session = row.session if self.config.session else ""
            key = row.timeline, session, row.subject, behaviour
            begun = open_rows.pop(key, None)
            if is_start:
                if begun is not None:
                    self._never_stopped(begun, behaviour, f": line {row.line} starts it again")
                open_rows[key] = row
            elif begun is None:
                self.problem(row, "unread", f"{behaviour!r} stops here and never started")
            else:
                begun.stop_ms = row.start_ms
                states.append((begun, behaviour, True, None))
        for (*_, behaviour), row in open_rows.items():
            self._never_stopped(row, behaviour, "")
        return states

    def _never_stopped(self, row: _Row, behaviour: str, why: str) -> None:
        self.problem(row, "unread", f"{behaviour!r} starts here and never stops (no STOP){why}")

    def _keep(self, seen: Iterable[tuple[_Row, str, bool, float | None]]) -> None:
        """Write down what was seen, on the timeline of the site and on that of the recording."""
        states: dict[tuple[str, str, str], list[_Row]] = defaultdict(list)
        for row, behaviour, is_state, count in sorted(seen, key=lambda one: one[0].line):
            said = {
                "row": row.line,
                "behaviour": behaviour,
                "is_state": is_state,
                "subject": row.subject,
                "count": count,
            }
            start, stop = row.start_ms, row.stop_ms
            if row.marker and not self.is_in_file:
                whole = said | {"is_state": True}
                self._observed(row, whole, FILE + row.marker, 0, FOREVER)
            if start is None or stop is None:
                continue
            if stop < start:
                self.untimed(
                    row,
                    "unread",
                    f"{behaviour!r} stops {_apart(start - stop)} before it starts: exchange them, "
                    "or write the date of the stop where it went past midnight",
                )
                continue
            self._observed(row, said, row.timeline, start, stop)
            if stop - start > DAY_MS // 2:
                self.problem(
                    row,
                    "suspicious",
                    f"{behaviour!r} lasts {_apart(stop - start)}: is an end missing?",
                )
            if is_state:
                states[row.timeline, row.subject, behaviour].append(row)
        for (_, subject, behaviour), rows in states.items():
            self._note_overlaps(subject, behaviour, rows)

    def _observed(
        self, row: _Row, said: Mapping[str, Any], timeline: str, start_ms: int, stop_ms: int
    ) -> None:
        place = row.placed(self.gathered.log) | {"timeline": timeline}
        self.gathered.observations.append(
            {**place, **said, "start_ms": start_ms, "stop_ms": stop_ms}
        )

    def _note_overlaps(self, subject: str, behaviour: str, rows: list[_Row]) -> None:
        last: _Row | None = None
        for row in sorted(rows, key=lambda one: one.start_ms or 0):
            start, stop = row.start_ms or 0, row.stop_ms or 0
            if last is not None and start < (last.stop_ms or 0):
                whose = f" of {subject!r}" if subject else ""
                self.problem(
                    row,
                    "suspicious",
                    f"the state {behaviour!r}{whose} overlaps that of line {last.line} by "
                    f"{_apart(min(stop, last.stop_ms or 0) - start)}: an end that was missed, or "
                    "two animals? They count as one",
                )
            if last is None or stop > (last.stop_ms or 0):
                last = row

    # When somebody watched

    def _watched(self, seen: Sequence[tuple[_Row, str, bool, float | None]]) -> None:
        """Find the effort: declared, or from the first to the last row of each session."""
        config, log = self.config, self.gathered.log
        if config.effort:
            self._watched_by_table()
        elif config.effort_start:
            self._watched_by_columns()
        elif not self.is_in_file:
            self._watched_by_rows()
        self._leave_out_unsure()
        recordings = {(row.session, row.marker): row for row in self.rows if row.marker}
        for row in recordings.values():
            whole = {"timeline": FILE + row.marker, "start_ms": 0, "stop_ms": FOREVER}
            self.gathered.effort.append(row.placed(log) | whole | {"source": WHOLE_RECORDING})

    def _leave_out_unsure(self) -> None:
        """Take out of the effort the time in which rows may lie that can be of two times."""
        near_ms = self.config.tolerance_ms
        kept: list[dict[str, Any]] = []
        left_out_ms = 0
        for one in self.gathered.effort:
            start, stop = one["start_ms"], one["stop_ms"]
            left_out_ms += stop - start
            for first, last in (*sorted(self.unsure[one["timeline"]]), (FOREVER, FOREVER)):
                until = min(first - near_ms, stop)
                if start < until:
                    kept.append(one | {"start_ms": start, "stop_ms": until})
                    left_out_ms -= until - start
                start = max(start, last + near_ms)
        self.gathered.effort = kept
        if left_out_ms:
            self.gathered.problem(
                0,
                "suspicious",
                f"{_apart(left_out_ms)} do not count as watched, as rows that can be of two times "
                "may lie in them: write these with their zone (02:10+01:00)",
            )

    def _timed_rows(self) -> list[_Row]:
        return [row for row in self.rows if row.start_ms is not None]

    def _watched_by_rows(self) -> None:
        by_session: dict[tuple[str, str], list[_Row]] = defaultdict(list)
        for row in self._timed_rows():
            by_session[row.session, row.timeline].append(row)
        long: list[str] = []
        for (session, _), rows in by_session.items():
            stretches = [rows]
            if _last(rows) - _first(rows) > DAY_MS:
                long.append(session)
                by_day: dict[str, list[_Row]] = defaultdict(list)
                for row in rows:
                    by_day[row.day].append(row)
                stretches = list(by_day.values())
            for stretch in stretches:
                first, last = _first(stretch), _last(stretch)
                if first == last:
                    first, last = first - self.config.tolerance_ms, last + self.config.tolerance_ms
                self.gathered.effort.append(
                    stretch[0].placed(self.gathered.log)
                    | {"start_ms": first, "stop_ms": last, "source": FIRST_TO_LAST}
                )
        if long:
            some = ", ".join(map(repr, long[:5])) + (" and more" if len(long) > 5 else "")
            self.gathered.problem(
                0,
                "suspicious",
                f"between the first and the last row of session {some} lies more than a day: only "
                "from the first to the last row of each of its days counts as watched. Say when "
                "somebody watched with --effort",
            )

    def _watched_by_table(self) -> None:
        file = Path(self.config.effort)
        if not file.exists():
            file = self.table.file.parent / file
        times = [] if self.is_in_file else [row.start_ms or 0 for row in self._timed_rows()]
        parts, order = read_effort(
            file,
            self.config,
            log=self.gathered.log,
            days=days_of(((ms, ms) for ms in times), self.config.timezone) or self.days,
            prefer=self.declared_format,
        )
        self.config = replace(self.config, effort_date_format=order)
        for one in parts.problems:
            self.gathered.problem(0, one.kind, f"{file.name}, line {one.row}: {one.what}")
        self.gathered.effort += parts.effort.to_dicts()
        for sentence in parts.guessed:
            self.gathered.say(f"{file.name}: {sentence}")
        names = set(parts.effort["session"])
        if not self.config.session or not names & {row.session for row in self._timed_rows()}:
            stretches = self._stretches(by_session=False)
            for row in self._timed_rows():
                held = _holding(stretches.get(("", row.timeline), []), row.start_ms or 0)
                row.session = held[2] if held else row.session
            if self.config.session:
                self.gathered.say(
                    f"sessions are those of {file.name}, which names them otherwise than the log"
                )
        self._note_unwatched()

    def _watched_by_columns(self) -> None:
        """Take stretches from two columns, which most rows of a session repeat."""
        config = self.config
        ends: list[list[tuple[int, str] | None]] = []
        texts: list[list[str]] = []
        for columns in (config.effort_start, config.effort_stop):
            when = config.time or config.start
            is_dated = len(columns) == 2 or Look(columns[0], self._cells(columns[0])).is_moment
            wanted = columns if is_dated or len(when) < 2 else (when[0], columns[0])
            texts.append(self._cells(columns[-1]))
            self.config = replace(config, time_format="")
            reading = self._reading(wanted, None)
            self.config = config
            # What is wrong with the date is said of the row's own time.
            ends.append(self._absolute(replace(reading, troubles={})))
        known: set[tuple[str, str, int, int]] = set()
        for row, start, stop in zip(self.rows, *ends, strict=True):
            if start is None or stop is None:
                written = [one[row.at] for one in texts]
                if any(written) and row.start_ms is not None:
                    self.problem(
                        row,
                        "suspicious",
                        f"{' to '.join(written)!r} is no stretch of watching; left out",
                    )
                continue
            key = row.session, row.timeline, start[0], stop[0]
            if key in known:
                continue
            known.add(key)
            if stop[0] <= start[0]:
                self.problem(
                    row,
                    "suspicious",
                    "its stretch of watching does not stop after it starts; left out",
                )
                continue
            self.gathered.effort.append(
                row.placed(self.gathered.log)
                | {"start_ms": start[0], "stop_ms": stop[0], "source": DECLARED}
            )
        self._note_unwatched()

    def _note_unwatched(self) -> None:
        stretches = self._stretches()
        for row in self._timed_rows():
            held = _holding(stretches.get((row.session, row.timeline), []), row.start_ms or 0)
            if held is None:
                self.problem(
                    row,
                    "suspicious",
                    f"it lies outside of the time in which somebody watched, as declared: is its "
                    f"time right ({written_ms(row.start_ms or 0)} UTC)?",
                )

    def _stretches(self, *, by_session: bool = True) -> dict[tuple[str, str], list[Any]]:
        """Return start, stop and session of the effort, by session and timeline, in order."""
        found: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
        for one in self.gathered.effort:
            key = one["session"] if by_session else "", one["timeline"]
            found[key].append((one["start_ms"], one["stop_ms"], one["session"]))
        return {key: sorted(spans) for key, spans in found.items()}

    # What was measured

    def _hold_context(self) -> None:
        """Numbers hold until the next number, words until the next row, within the watching."""
        stretches = self._stretches()
        timed = sorted(
            self._timed_rows(), key=lambda row: (row.session, row.timeline, row.start_ms)
        )
        sessions = [
            (stretches.get(key, []), list(rows))
            for key, rows in groupby(timed, key=lambda row: (row.session, row.timeline))
        ]
        for name in self.config.context:
            cells = self._cells(name)
            is_number = Look(name, cells).is_number
            hold = self._measured if is_number else self._held
            for spans, rows in sessions:
                places = [(row, _holding(spans, row.start_ms or 0)) for row in rows]
                if is_number:
                    kept = [one for one in places if number(cells[one[0].at]) is not None]
                else:  # a word that stays is one state
                    said = [(cells[row.at], span) for row, span in places]
                    kept = [
                        one for at, one in enumerate(places) if at == 0 or said[at] != said[at - 1]
                    ]
                for at, (row, span) in enumerate(kept):
                    start = row.start_ms or 0
                    stop = span[1] if span else start
                    if at + 1 < len(kept):
                        stop = min(stop, kept[at + 1][0].start_ms or 0)
                    hold(row, name, cells[row.at], row.timeline, start, stop)
            for row in self.rows:
                if is_number and cells[row.at] and number(cells[row.at]) is None:
                    self.problem(
                        row, "suspicious", f"{name}: {cells[row.at]!r} is no number; left out"
                    )
                elif row.marker and not self.is_in_file:
                    hold(row, name, cells[row.at], FILE + row.marker, 0, FOREVER)

    def _measured(
        self, row: _Row, name: str, cell: str, timeline: str, start_ms: int, stop_ms: int
    ) -> None:
        value = number(cell)
        if value is not None:
            place = row.placed(self.gathered.log) | {"timeline": timeline, "row": row.line}
            span = {"start_ms": start_ms, "stop_ms": stop_ms}
            self.gathered.context.append({**place, **span, "name": name, "value": value})

    def _held(
        self, row: _Row, name: str, cell: str, timeline: str, start_ms: int, stop_ms: int
    ) -> None:
        if cell:
            said = {"row": row.line, "behaviour": f"{name}={cell}", "is_state": True, "subject": ""}
            self._observed(row, said, timeline, start_ms, stop_ms)


def _key(marker: str) -> str:
    """Return the name of a recording without folder and, where it is one of audio, ending."""
    name = marker.replace("\\", "/").rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in AUDIO_SUFFIXES else name


def _is_swapped(dates: Sequence[str], times: Sequence[str]) -> bool:
    """Tell whether dates stand where times of day should, and the reverse."""
    some = list(zip(dates, times, strict=True))[:100]
    swapped = sum(
        ":" in first and any(parse_date(second, one) for one in ORDERS) for first, second in some
    )
    return 2 * swapped > len(some)


def _first(rows: Iterable[_Row]) -> int:
    return min(row.start_ms or 0 for row in rows)


def _last(rows: Iterable[_Row]) -> int:
    return max(max(row.start_ms or 0, row.stop_ms or 0) for row in rows)


def _holding(spans: Sequence[tuple[int, int, str]], ms: int) -> tuple[int, int, str] | None:
    """Return the stretch in which a time lies; its end belongs to it, as a last row does."""
    at = bisect_right(spans, ms, key=lambda span: span[0])
    return next((span for span in reversed(spans[:at]) if ms <= span[1]), None)


def _apart(ms: int) -> str:
    """Write a length of time."""
    return f"{ms / 1000:g} s" if ms < 600_000 else f"{ms / 60_000:.0f} min"
