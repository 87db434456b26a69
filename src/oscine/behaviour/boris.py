"""Exports of BORIS, tabular and aggregated events of versions 2 to 9, as observations.

In comes a table as it stands in the file; out go observations, effort, context, and what could not
be used. :mod:`oscine.behaviour.log` calls it for tables that :func:`boris_shape` knows.

What BORIS writes is in its user guide, "Export events", and in its own ``export_observation.py``
and ``export_events.py`` (github.com/olivierfriard/BORIS, versions 5 to 9.8):

* Times are seconds from the start of the first media file, those of the files that follow it in
  one player added on, plus the "Time offset (s)" of the observation. Its authors advise to give the
  Unix time of the first sample there for wall-clock times (issue 540), and live observations may
  count from 1970 ("Epoch time") or from midnight ("Day time").
* Tabular events have a row for each START and STOP of a state. Up to version 7 what concerns the
  whole observation stands above the header; later it is repeated in every row.
* Aggregated events have a row for each state, with its start and stop, and may hold many
  observations.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from oscine.behaviour.config import LogConfig
from oscine.behaviour.parts import (
    FOREVER,
    MEDIA,
    Bout,
    Gathered,
    LogParts,
    Stretch,
    clock_ms,
    in_seconds,
    media_key,
)
from oscine.behaviour.raw import RawTable
from oscine.behaviour.starts import MediaStarts, local_ms, media_starts, way_to_say
from oscine.behaviour.tables import FILE, SITE
from oscine.config import WrongArgument
from oscine.sound.archive import shown

EPOCH_FROM_MS = 100_000_000_000
"""From three years on, times count from 1970: no observation is that long."""
EPOCH_UNTIL_MS = 10_000_000_000_000
"""From the year 2286 on, they are rather milliseconds that are read as seconds."""
DURATION_SLACK_MS = 2
"""By how much "Duration (s)" may differ from stop minus start: all three are rounded."""
DAY_TIME_FROM_MS = 3_600_000
"""Day time can be told from time since the start where coding began later in the day than this."""
BEGUN_EARLY_MS = 60_000
"""The date of an observation may be noted this much later than its first row."""
NOBODY = ("", "no focal subject")
NOTHING = ("", "na", "nan", "-", "none", "not found", "not defined")
POINT, START, STOP, STATE = KINDS = ("POINT", "START", "STOP", "STATE")

_NAMES: Mapping[str, tuple[str, ...]] = {
    "observation": ("observation id",),
    "date": ("observation date",),
    "observation type": ("observation type",),
    "source": ("source",),
    "offset": ("time offset (s)", "time offset"),
    "lengths": ("media duration (s)",),
    "total": ("total length",),
    "media": ("media file name", "media file path", "media file"),
    "subject": ("subject",),
    "behaviour": ("behavior",),
    "kind": ("behavior type", "status"),
    "time": ("time",),
    "start": ("start (s)", "start"),
    "stop": ("stop (s)", "stop"),
    "duration": ("duration (s)",),
}
"""What is read of a row, and the headers that it goes by; the first that there is counts."""
_MODIFIER = re.compile(r"modif(ier)?s?( ?#?\d+)?")
_PLAYER = re.compile(r"\|?\s*player #\d+:\s*", re.IGNORECASE)


def boris_shape(table: RawTable) -> str:
    """Tell what export of BORIS a table is.

    Returns
    -------
    str
        Kind and versions; empty if it is none.
    """
    names = {name.casefold() for name in table.columns}
    has_observation = "observation id" in names or "observation id" in _preamble(table)
    if not {"behavior", "subject"} <= names or not (has_observation or "media file path" in names):
        return ""
    if {"start (s)", "stop (s)"} <= names or {"start", "stop"} <= names:
        versions = "version 8 or later" if "observation type" in names else "versions 2 to 7"
        return f"BORIS aggregated events, {versions}"
    if "time" in names and names & {"status", "behavior type"}:
        versions = "version 7 or 8" if "observation id" in names else "versions 2 to 7"
        versions = "version 8 or later" if "observation type" in names else versions
        return f"BORIS tabular events, {versions}"
    return ""


def read_boris(table: RawTable, config: LogConfig) -> LogParts:
    """Read an export of BORIS.

    Observations lie on ``file:`` timelines of the media files; or on the ``site:`` timeline, where
    the start of the media is declared, times count from 1970, or somebody watched live at a date.

    Parameters
    ----------
    table
    config
        Its `media_start`, `timezone`, `site`, `session`, `context`, `modifiers`, `tolerance_ms`.
        Columns may also be independent variables that stand above the header.

    Raises
    ------
    WrongArgument
        The table is no export of BORIS, or a column is not there; `media_start` cannot be read, or
        is one instant for several media.
    """
    shape = boris_shape(table)
    if not shape:
        raise WrongArgument(
            f"{shown(table.file)} is no export of BORIS: its columns are "
            f"{', '.join(table.columns)[:80]}. Export tabular or aggregated events, or read it as "
            "a table (--format table)"
        )
    gathered = Gathered(log=table.file.stem, lone_row_ms=config.tolerance_ms)
    gathered.say(shape)
    watched = _observations(_Sheet(table), config, gathered)
    heads = {one.head for one in watched}
    starts = media_starts(config, heads)
    for one in watched:
        bouts = _bouts(one, config.modifiers, gathered)
        stretches = _stretches(one, starts, len(heads), config.timezone, gathered)
        if stretches:
            known = _within(bouts, stretches, gathered)
            effort = gathered.place(one.session, one.site, known, stretches)
            gathered.hold(one.row, one.context, effort)
    if any(one["source"] == MEDIA for one in gathered.effort):
        gathered.say("media are taken to have been watched from end to end (else: --effort)")
    if not config.modifiers and any(event.modifiers for one in watched for event in one.events):
        gathered.say("modifiers are not used: behaviours are not told apart by them")
    return gathered.parts()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    """A row: a point, a start or a stop; or a whole state, as `_states` and aggregation give it."""

    row: int
    subject: str
    behaviour: str
    modifiers: tuple[str, ...]
    kind: str
    start_ms: int
    stop_ms: int
    media: str

    @property
    def key(self) -> tuple[str, ...]:
        """What must agree for a START and a STOP to belong together."""
        return self.subject, self.behaviour, *self.modifiers


@dataclass(kw_only=True, slots=True)
class _Observation:
    """An observation in the sense of BORIS: one stretch of coding, on a clock of its own."""

    name: str
    row: int
    session: str
    site: str
    date: str
    context: Mapping[str, str]
    is_live: bool
    n_players: int
    media: tuple[str, ...]
    """Of the first player, in the order in which they were watched."""
    lengths_ms: tuple[int, ...]
    """Of all of `media`, or none."""
    total_ms: int | None
    offset_ms: int
    events: list[_Event] = field(default_factory=list)

    @property
    def head(self) -> str:
        """What its clock starts with: the first media file, or else itself."""
        return self.media[0] if self.media else self.name

    @property
    def length_ms(self) -> int | None:
        """How long its media are, together."""
        return sum(self.lengths_ms) or self.total_ms if self.media else None


class _Sheet:
    """A table whose cells are found by what they mean."""

    def __init__(self, table: RawTable) -> None:
        self.table = table
        self.columns = [name.casefold() for name in table.columns]
        self.above = _preamble(table)
        self.modifiers = [at for at, name in enumerate(self.columns) if _MODIFIER.fullmatch(name)]
        self._at = {
            meaning: next(
                (self.columns.index(name) for name in names if name in self.columns), None
            )
            for meaning, names in _NAMES.items()
        }
        self.is_aggregated = self._at["start"] is not None and self._at["stop"] is not None

    def cell(self, cells: Sequence[str], meaning: str) -> str:
        """Return what a row has under a meaning, or else what stands above the header."""
        at = self._at[meaning]
        if at is not None:
            return cells[at]
        return next((self.above[name] for name in _NAMES[meaning] if name in self.above), "")

    def declared(self, cells: Sequence[str], column: str) -> str:
        """Return what a row has in a column of the user's, or the value given in its place."""
        if column.startswith("="):
            return column[1:]
        name = column.casefold()
        if name in self.columns:
            return cells[self.columns.index(name)]
        if name in self.above:
            return self.above[name]
        known = ", ".join(dict.fromkeys([*self.table.columns, *self.above]))
        raise WrongArgument(f"{shown(self.table.file)} has no column {column!r}; it has {known}")

    def rows(self) -> Iterable[tuple[int, tuple[str, ...]]]:
        """Give line and cells of each row.

        Where versions 5 to 7 do not know how long the media are, they write two cells for media,
        length and frame rate: the rest has moved left, and is put right here.
        """
        kind, total = self._at["kind"], self._at["total"]
        for row, cells in self.table.rows:
            is_short = (
                kind is not None
                and total is not None
                and self.cell(cells, "media") == "NA"
                and not cells[kind]
                and cells[kind - 1] in KINDS
            )
            yield row, (*cells[:total], "NA", *cells[total:-1]) if is_short else cells


def _preamble(table: RawTable) -> dict[str, str]:
    """Return what stands above the header, by its name; files of a player parted by semicolons."""
    above: dict[str, str] = {}
    for cells in table.preamble:
        name, value = (*cells, "", "")[:2]
        name = name.casefold()
        is_next = name.startswith("player #") and name in above
        above[name] = f"{above[name]};{value}" if is_next else value
    return above


def _observations(sheet: _Sheet, config: LogConfig, gathered: Gathered) -> list[_Observation]:
    """Sort the rows by the observation that they belong to, each with what it says of that."""
    found: dict[str, _Observation] = {}
    for row, cells in sheet.rows():
        name = sheet.cell(cells, "observation")
        if name not in found:
            found[name] = _about(name, row, cells, sheet, config)
        event = _event(row, cells, sheet, gathered)
        if event is not None:
            found[name].events.append(event)
    for one in found.values():
        if not one.media and not one.is_live:
            by_time = sorted(one.events, key=lambda event: event.start_ms)
            one.media = tuple(dict.fromkeys(event.media for event in by_time if event.media))
        last_ms = max((event.start_ms for event in one.events), default=0)
        if one.offset_ms and one.total_ms is not None and one.total_ms <= last_ms:
            one.total_ms = None  # it is no less than the last time, which the offset is added to
        if len(one.media) == 1 and not one.lengths_ms and one.total_ms:
            one.lengths_ms = (one.total_ms,)
        if one.n_players > 1:
            gathered.say("several players: times count on the media of the first", one.name)
    return list(found.values())


def _about(
    name: str, row: int, cells: Sequence[str], sheet: _Sheet, config: LogConfig
) -> _Observation:
    """Read what a row says of its whole observation."""
    kind = sheet.cell(cells, "observation type").casefold()
    is_live = (
        kind.startswith("live")
        or sheet.cell(cells, "media").casefold() == "live"
        or "live observation" in sheet.above
    )
    players = [] if is_live or "pictures" in kind or "images" in kind else _players(cells, sheet)
    media = players[0] if players else ()
    lengths = [clock_ms(one) for one in sheet.cell(cells, "lengths").split("|")[0].split(";")]
    known = tuple(one for one in lengths if one)
    return _Observation(
        name=name,
        row=row,
        session=sheet.declared(cells, config.session) if config.session else name,
        site=sheet.declared(cells, config.site) if config.site else "",
        date=sheet.cell(cells, "date"),
        context={column: sheet.declared(cells, column) for column in config.context},
        is_live=is_live,
        n_players=len(players),
        media=media,
        lengths_ms=known if len(known) == len(lengths) == len(media) else (),
        total_ms=clock_ms(sheet.cell(cells, "total")),
        offset_ms=clock_ms(sheet.cell(cells, "offset")) or 0,
    )


def _players(cells: Sequence[str], sheet: _Sheet) -> list[tuple[str, ...]]:
    """Return the files of each player, from ``player #1:a.wav;b.wav|player #2:c.wav`` or above."""
    above = [value for name, value in sheet.above.items() if name.startswith("player #")]
    parts = above or _PLAYER.split(sheet.cell(cells, "source"))
    players = [tuple(one.strip() for one in part.split(";") if one.strip()) for part in parts]
    return [files for files in players if files and files[0].casefold() not in NOTHING]


def _event(row: int, cells: Sequence[str], sheet: _Sheet, gathered: Gathered) -> _Event | None:
    """Read one row; None, with the reason noted, if it cannot be used."""
    behaviour = sheet.cell(cells, "behaviour")
    kind = sheet.cell(cells, "kind").upper()
    kind = "" if kind.casefold() in NOTHING else kind
    stated = sheet.cell(cells, "start" if sheet.is_aggregated else "time")
    start_ms = clock_ms(stated)
    wrong = ""
    if not behaviour:
        wrong = "names no behaviour: fill in the column Behavior"
    elif kind and kind not in KINDS:
        wrong = f"its type {kind!r} is none of {', '.join(KINDS)}"
    elif stated.casefold() in NOTHING:
        wrong = "has no time: observations from pictures without times cannot be joined"
    elif start_ms is None:
        wrong = f"its time {stated!r} is neither seconds nor hh:mm:ss"
    if wrong or start_ms is None:
        gathered.problem(row, "unread", wrong)
        return None
    subject, media = sheet.cell(cells, "subject"), sheet.cell(cells, "media")
    parts = [part.strip() for at in sheet.modifiers for part in cells[at].split("|")]
    event = _Event(
        row=row,
        subject="" if subject.casefold() in NOBODY else subject,
        behaviour=behaviour,
        modifiers=tuple(part for part in parts if part and part != "None"),
        kind=kind,
        start_ms=start_ms,
        stop_ms=start_ms,
        media="" if media.casefold() in NOTHING else media,
    )
    return _with_stop(event, cells, sheet, gathered) if sheet.is_aggregated else event


def _with_stop(
    event: _Event, cells: Sequence[str], sheet: _Sheet, gathered: Gathered
) -> _Event | None:
    """Give a row of aggregated events its stop and kind; None, with the reason noted, if wrong."""
    stated = sheet.cell(cells, "stop")
    stop_ms = clock_ms(stated)
    kind = event.kind
    if not kind:
        kind = POINT if stop_ms in (None, event.start_ms) else STATE
        gathered.say("rows without a type are points where they last no time, else states")
    if stop_ms is None and stated.casefold() not in NOTHING:
        wrong = f"its stop {stated!r} is neither seconds nor hh:mm:ss"
    elif kind in (START, STOP):
        wrong = f"is a {kind} among aggregated events, which have both in one row"
    elif kind == POINT:
        if stop_ms in (None, event.start_ms):
            return replace(event, kind=POINT)
        gathered.problem(
            event.row, "ambiguous", "is called a point, but stops later than it starts"
        )
        return None
    elif stop_ms is None:
        wrong = "is a state without a stop"
    elif stop_ms < event.start_ms:
        wrong = f"stops at {in_seconds(stop_ms)}, before it starts at {in_seconds(event.start_ms)}"
    else:
        lasts_ms, said_ms = stop_ms - event.start_ms, clock_ms(sheet.cell(cells, "duration"))
        if said_ms is not None and abs(lasts_ms - said_ms) > DURATION_SLACK_MS:
            gathered.problem(
                event.row,
                "suspicious",
                f"lasts {in_seconds(lasts_ms)} from start to stop, which count, but its duration "
                f"says {in_seconds(said_ms)}",
            )
        return replace(event, kind=STATE, stop_ms=stop_ms)
    gathered.problem(event.row, "unread", wrong)
    return None


def _bouts(one: _Observation, with_modifiers: bool, gathered: Gathered) -> list[Bout]:
    """Make points and states of the rows of an observation."""
    whole: list[_Event] = []
    halves: dict[tuple[str, ...], list[_Event]] = defaultdict(list)
    for event in _with_kinds(one, gathered):
        if event.kind in (POINT, STATE):
            whole.append(event)
        else:
            halves[event.key].append(event)
    whole += _states(halves.values(), gathered)
    whole.sort(key=lambda event: event.row)
    _note_overlaps(whole, gathered)
    bouts: list[Bout] = []
    for event in whole:
        is_state = event.stop_ms > event.start_ms
        if event.kind == STATE and not is_state:
            gathered.problem(event.row, "suspicious", "is a state that lasts no time: now a point")
        named = f" ({', '.join(event.modifiers)})" if with_modifiers and event.modifiers else ""
        bouts.append(
            Bout(
                row=event.row,
                behaviour=event.behaviour + named,
                subject=event.subject,
                start_ms=event.start_ms,
                stop_ms=event.stop_ms,
                is_state=is_state,
            )
        )
    return bouts


def _with_kinds(one: _Observation, gathered: Gathered) -> Iterable[_Event]:
    """Give rows of tabular events the kind that is missing, from others of their behaviour.

    BORIS itself tells START from STOP by turns within subject, behaviour and modifiers.
    """
    known: dict[str, set[str]] = defaultdict(set)
    turns: dict[tuple[str, ...], int] = defaultdict(int)
    for event in one.events:
        known[event.behaviour].add(event.kind)
    for event in one.events:
        kinds = known[event.behaviour] - {""}
        turns[event.key] += 1
        if event.kind:
            yield event
        elif kinds == {POINT}:
            gathered.say("rows without a type are points, as others of their behaviour", one.name)
            yield replace(event, kind=POINT)
        elif kinds and POINT not in kinds:
            gathered.say("rows without a type are START and STOP by turns", one.name)
            yield replace(event, kind=STOP if turns[event.key] % 2 == 0 else START)
        else:
            gathered.problem(
                event.row,
                "ambiguous",
                f"has no type, and other rows do not tell whether {event.behaviour!r} is a point "
                "or a state: fill it in",
            )


def _states(halves: Iterable[list[_Event]], gathered: Gathered) -> Iterable[_Event]:
    """Pair STARTs and STOPs, given by subject, behaviour and modifiers; say what is left over."""
    lone: list[tuple[_Event, int]] = []
    for events in halves:
        # By time, if they then take turns; else as they stand in the file, where the slip shows.
        by_time = sorted(events, key=lambda event: event.start_ms)
        take_turns = all(event.kind == (START, STOP)[at % 2] for at, event in enumerate(by_time))
        running: _Event | None = None
        for event in by_time if take_turns else events:
            if event.kind == STOP:
                if running is None:
                    lone.append((event, 0))
                else:
                    yield from _state(running, event, gathered)
                running = None
            else:
                if running is not None:
                    lone.append((running, event.row))
                running = event
        if running is not None:
            lone.append((running, 0))
    lone.sort(key=lambda one: (one[0].subject, one[0].behaviour, one[0].row))
    while lone:
        event, again = lone.pop(0)
        after = lone[0][0] if lone else None
        what = f"{event.behaviour!r}{f' of {event.subject}' if event.subject else ''}"
        if event.kind == STOP:
            gathered.problem(event.row, "unread", f"{what} stops, but did not start before")
        elif again:
            reason = f"{what} starts, and starts again in line {again} before it stops"
            gathered.problem(event.row, "unread", reason)
        elif (
            # Since version 8.26 modifiers may be chosen when a state stops.
            after is not None
            and (after.subject, after.behaviour, after.kind) == (*event.key[:2], STOP)
            and not event.modifiers
        ):
            lone.pop(0)
            yield from _state(replace(event, modifiers=after.modifiers), after, gathered)
        else:
            gathered.problem(event.row, "unread", f"{what} starts, but never stops")


def _state(start: _Event, stop: _Event, gathered: Gathered) -> Iterable[_Event]:
    if stop.start_ms < start.start_ms:
        gathered.problem(
            start.row,
            "unread",
            f"stops at {in_seconds(stop.start_ms)} (line {stop.row}), before it starts at "
            f"{in_seconds(start.start_ms)}",
        )
    else:
        yield replace(start, kind=STATE, stop_ms=stop.start_ms)


def _note_overlaps(events: Iterable[_Event], gathered: Gathered) -> None:
    last: dict[tuple[str, ...], _Event] = {}
    for event in sorted(events, key=lambda event: event.start_ms):
        if event.kind == POINT:
            continue
        before = last.get(event.key)
        if before is not None and before.stop_ms > event.start_ms:
            gathered.problem(
                event.row,
                "suspicious",
                f"{event.behaviour!r} overlaps with itself in line {before.row}: both are used",
            )
        if before is None or before.stop_ms < event.stop_ms:
            last[event.key] = event


def _stretches(
    one: _Observation, starts: MediaStarts, n_films: int, timezone: str, gathered: Gathered
) -> list[Stretch]:
    """Tell where the clock of an observation lies; nowhere, with the reason noted, if unknown."""
    if not one.events:
        return []
    first_ms = min(event.start_ms for event in one.events)
    start_ms = starts.of(one.name, one.head)
    site, length_ms = SITE + one.site, one.length_ms
    watched = None if length_ms is None else (one.offset_ms, one.offset_ms + length_ms)
    has_offset = one.offset_ms >= EPOCH_FROM_MS  # so that times from the start are known as well
    if first_ms >= EPOCH_UNTIL_MS:
        gathered.refuse(
            one.row,
            one.name,
            f"times like {in_seconds(first_ms)} look like milliseconds since 1970: BORIS writes "
            "seconds, so divide them by 1000",
        )
    elif first_ms >= EPOCH_FROM_MS and (start_ms is None or not has_offset):
        gathered.say("times are seconds since 1970, taken for UTC", one.name)
        return [Stretch(timeline=site, watched_ms=watched if has_offset else None)]
    elif start_ms is not None and (starts.is_of_all(one.name) or len(one.media) < 2):
        if len(one.media) > 1:
            gathered.say("media are taken to follow one another without a gap", one.name)
        return [
            Stretch(timeline=site, shift_ms=start_ms - one.offset_ms, watched_ms=watched),
        ]
    elif one.media:
        return _by_media(one, starts, n_films, site, gathered)
    elif one.is_live:
        return _live(one, first_ms, site, timezone, gathered)
    else:
        gathered.refuse(
            one.row,
            one.name,
            "names no media and is not called live, so that nothing tells when it was: give "
            "--media-start",
        )
    return []


def _by_media(
    one: _Observation, starts: MediaStarts, n_films: int, site: str, gathered: Gathered
) -> list[Stretch]:
    """Lay each media file of an observation on its own timeline, or at its own start."""
    if not one.n_players:
        gathered.say("media files that rows name are taken for all that were watched")
    stretches: list[Stretch] = []
    begins_ms = one.offset_ms
    for at, name in enumerate(one.media):
        start_ms = starts.of(name)
        if start_ms is None:
            # It may also be that of the coding: a hint to who knows, and never used.
            has_date = not at and one.date.casefold() not in NOTHING
            gathered.say(
                "times count from the beginning of a film and go with the recording of its name; "
                f"if it is no recording of the archive, {way_to_say(n_films)}",
                f"{name}, observation date {one.date}" if has_date else name,
            )
        stops_ms = begins_ms + one.lengths_ms[at] if one.lengths_ms else None
        is_last = at + 1 == len(one.media)
        if is_last:
            until_ms = FOREVER
        elif stops_ms is not None:
            until_ms = stops_ms
        else:  # the first lasts at least up to the rows that no longer name it
            others = (event.start_ms for event in one.events if event.media != name)
            until_ms = min(others, default=FOREVER)
        stretches.append(
            Stretch(
                timeline=site if start_ms is not None else FILE + media_key(name),
                shift_ms=(start_ms or 0) - begins_ms,
                start_ms=begins_ms if at else -FOREVER,
                stop_ms=until_ms,
                watched_ms=None if stops_ms is None else (begins_ms, stops_ms),
            )
        )
        if stops_ms is None:
            break
        begins_ms = stops_ms
    return stretches


def _live(
    one: _Observation, first_ms: int, site: str, timezone: str, gathered: Gathered
) -> list[Stretch]:
    """Lay an observation without media at the date when its coding started."""
    try:
        began = datetime.fromisoformat(one.date)
    except ValueError:
        reason = f"is live, and its date {one.date!r} is not as 2024-04-25 12:58:00"
        gathered.refuse(one.row, one.name, f"{reason}: give --media-start")
        return []
    midnight = began.replace(hour=0, minute=0, second=0, microsecond=0)
    of_day_ms = (began - midnight) // timedelta(milliseconds=1)
    if of_day_ms >= DAY_TIME_FROM_MS and first_ms >= of_day_ms - BEGUN_EARLY_MS:
        gathered.say("times of live observations are times of the day", one.name)
        local, clock_of_local_ms = midnight + timedelta(milliseconds=first_ms), first_ms
    else:
        gathered.say("live observations begin at their date", one.name)
        local, clock_of_local_ms = began, one.offset_ms
    try:
        return [Stretch(timeline=site, shift_ms=local_ms(local, timezone) - clock_of_local_ms)]
    except ValueError as error:
        gathered.refuse(one.row, one.name, f"is live, and {error}")
        return []


def _within(
    bouts: Sequence[Bout], stretches: Sequence[Stretch], gathered: Gathered
) -> Iterable[Bout]:
    """Give the bouts whose media is known, and note those that lie outside of all media."""
    until_ms = stretches[-1].stop_ms
    known: list[Bout] = []
    for bout in bouts:
        if bout.stop_ms < until_ms:
            known.append(bout)
        else:
            gathered.problem(
                bout.row,
                "ambiguous",
                "lies, at least in part, in a later one of several media, and how long those "
                "before it are is not known: export it with BORIS 8.9.11 or later, or give "
                "--media-start",
            )
    first, last = stretches[0].watched_ms, stretches[-1].watched_ms
    if not known or first is None or last is None:
        return known
    length_ms, furthest_ms = last[1] - first[0], max(bout.stop_ms for bout in known) - first[0]
    if 10 * length_ms < furthest_ms <= 1000 * length_ms:
        gathered.problem(
            known[0].row,
            "suspicious",
            f"times up to {in_seconds(furthest_ms)}, in media of {in_seconds(length_ms)}, look "
            "like milliseconds: BORIS writes seconds, so divide them by 1000",
        )
        return known
    for bout in known:
        if bout.start_ms < first[0]:
            gathered.problem(
                bout.row, "suspicious", "lies before its media begins: is the time offset right?"
            )
        if bout.stop_ms > last[1]:
            gathered.problem(
                bout.row,
                "suspicious",
                f"lies {in_seconds(bout.stop_ms - last[1])} after the end of its media",
            )
    return known
