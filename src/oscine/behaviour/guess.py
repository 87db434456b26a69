"""Find out what the columns of a log are, from their names and from what stands in them.

In come a table and what was declared of it; out come the same settings with nothing left open, and
in words what was guessed and why. :mod:`oscine.behaviour.log` calls, and shows them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from oscine.behaviour.config import LogConfig
from oscine.behaviour.raw import RawTable, number
from oscine.behaviour.times import CLOCKS, ORDERS, parse_clock, parse_date, split
from oscine.config import WrongArgument
from oscine.sound.archive import shown


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MISSING = _words("- -- – — . / na n/a nan null") | {""}
"""What people write, in small letters, where they have nothing to write."""
NOTHING = MISSING | _words("0 no n false none")
"""And where they saw nothing."""
UNSURE = _words("? ?? maybe unsure")
STARTS = _words("start begin on onset started s 1")
STOPS = _words("stop end off offset stopped ended e 0")
POINTS = _words("point event p") | {""}
_SPELLED = _words("start stop begin end started ended stopped")

# Words in the names of columns.
_DATES = _words("date day datum fecha data jour pvm dato")
_TIMES = _words(
    "time clock hour datetime timestamp when utc local uhrzeit zeit hora heure tijd aika tid"
)
_STARTS = _words("start begin onset from beginning started beginn anfang von début inicio")
_STOPS = _words("stop end offset to until finish ending stopped ende bis fin")
_LENGTHS = _words("length duration dauer durée latency interval")
_NEUTRAL = _DATES | _TIMES | _words("s sec seconds ms at of state event behaviour behavior")
_BEHAVIOURS = _words(
    "behaviour behavior behaviours behaviors verhalten comportement conducta comportamiento "
    "comportamento beteende gedrag activity action event code act"
)
_STATUSES = _words("status type startstop modifier phase kind event")
_SUBJECTS = _words(
    "subject individual animal bird focal ring name actor caller who tier individuum sujet sujeto "
    "vogel oiseau ave"
)
_SITES = _words(
    "site location place station plot territory nest aviary standort ort lieu sitio lugar"
)
_SESSIONS = _words("session trial visit watch follow")
_COUNTS = _words("count number n quantity anzahl nombre numero")
_MARKERS = _words("marker recording file filename wav clip audio sound")
_NOTES = _words(
    "note notes comment comments remark remarks description observer bemerkung kommentar "
    "remarques notas usable valid quality excluded checked"
)
_IDS = _words("id nr no row index observation obs record line")
_CONTEXT = _words(
    "temperature temp wind humidity cloud rain pressure light noise group size number total n "
    "count distance height depth water weather tide temperatur temperatura vent viento"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

_MOSTLY, _SPARSE = 0.9, 0.5
"""Shares of cells: nearly all, and no more than half."""
_FEW_MARKS = 10
"""So few tell nothing of how often a column is marked."""
_FEW_WORDS = 12
"""A column of more different words than this is no context."""


def words_of(name: str) -> frozenset[str]:
    """Return the words and numbers in the name of a column, in small letters."""
    return frozenset(re.findall(r"[^\W\d_]+|\d+", _CAMEL.sub(" ", name).lower()))


class Look:
    """A column, as it looks."""

    def __init__(self, name: str, cells: Sequence[str]) -> None:
        self.name = name
        self.cells = cells
        self.words = words_of(name)
        self.filled = [at for at, cell in enumerate(cells) if cell.lower() not in NOTHING - {"0"}]
        self.values = [cells[at] for at in self.filled]
        self.distinct = set(self.values)

    def share(self, is_one: Callable[[str], object]) -> float:
        """Return the share of the filled cells that are such."""
        return self._n_such(is_one) / max(1, len(self.values))

    def are_mostly(self, is_one: Callable[[str], object]) -> bool:
        """Tell whether nearly all filled cells are such; among a few, all but one."""
        n_good, n = self._n_such(is_one), len(self.values)
        return n - n_good <= max(1, n * (1 - _MOSTLY)) and n_good > n / 2

    def _n_such(self, is_one: Callable[[str], object]) -> int:
        good = {value for value in self.distinct if is_one(value)}
        return sum(value in good for value in self.values)

    @cached_property
    def is_date(self) -> bool:
        """Tell whether it holds dates without a time of day."""
        return self.are_mostly(lambda text: any(parse_date(text, one) for one in ORDERS))

    @cached_property
    def is_moment(self) -> bool:
        """Tell whether it holds dates with a time of day."""

        def is_one(text: str) -> bool:
            parts = split(text)
            return (
                parts is not None
                and any(parse_date(parts[0], one) for one in ORDERS)
                and any(isinstance(parse_clock(parts[1], one), tuple) for one in CLOCKS)
            )

        return not self.is_date and self.are_mostly(is_one)

    @cached_property
    def is_clock(self) -> bool:
        """Tell whether it may hold times of day."""

        def is_one(text: str) -> bool:
            # Four digits are rather a number than hours and minutes.
            is_told = number(text) is None or len(text.partition(".")[0]) >= 5
            # 21.04.24 is rather a day than an hour; nobody parts month, day and year by points.
            if "." in text and (parse_date(text, ORDERS[0]) or parse_date(text, ORDERS[2])):
                return False
            return is_told and any(isinstance(parse_clock(text, one), tuple) for one in CLOCKS[:2])

        return self.are_mostly(is_one)

    @cached_property
    def is_number(self) -> bool:
        """Tell whether it holds numbers."""
        return self.are_mostly(lambda text: number(text) is not None)

    @cached_property
    def n_marks(self) -> int:
        """How many cells say that something was seen."""
        return sum(cell.lower() not in NOTHING for cell in self.cells)


@dataclass(frozen=True, kw_only=True, slots=True)
class Guess:
    """Settings with nothing left open.

    Attributes
    ----------
    config : LogConfig
    said : tuple of str
        What was guessed, a sentence each.
    """

    config: LogConfig
    said: tuple[str, ...]


def values_of(table: RawTable, name: str) -> list[str]:
    """Return what a setting names: the cells of a column, or one value for all (``=north``).

    Raises
    ------
    WrongArgument
        There is no such column.
    """
    if name.startswith("="):
        return [name[1:].strip()] * len(table.rows)
    if name not in table.columns:
        near = difflib.get_close_matches(name, table.columns, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(table.columns)}"
        raise WrongArgument(f"{shown(table.file)} has no column {name!r}: {hint}")
    return table.column(name)


def completed(table: RawTable, config: LogConfig) -> Guess:
    """Complete what was declared of a log by what its columns look like.

    Parameters
    ----------
    table : RawTable
    config : LogConfig
        With ``guess`` false it is returned as it is, once its columns are known to be there.

    Raises
    ------
    WrongArgument
        A column that is named is not there, or no column says when or what.
    """
    for name in declared_columns(config):
        values_of(table, name)
    if not config.guess:
        return Guess(config=config, said=())
    return _Guesser(table, config).completed()


def declared_columns(config: LogConfig) -> list[str]:
    """Return the columns, and the values in place of a column, that settings name."""
    single = (
        config.behaviour,
        config.status,
        config.subject,
        config.site,
        config.session,
        config.count,
        config.marker,
    )
    several = (
        config.time,
        config.start,
        config.stop,
        config.behaviours,
        config.context,
        config.effort_start,
        config.effort_stop,
    )
    return [name for name in single if name] + [name for names in several for name in names]


class _Guesser:
    """One table that is being understood: what is taken is not offered again."""

    def __init__(self, table: RawTable, config: LogConfig) -> None:
        self.table = table
        self.config = config
        self.looks = {name: Look(name, table.column(name)) for name in table.columns}
        self.taken = set(declared_columns(config))
        self.said: list[str] = []
        self.left: dict[str, str] = {}

    def completed(self) -> Guess:
        config = self.config
        if not config.time and not config.start:
            config = self._with_times(config)
        is_form = config.format == "form" or bool(config.behaviours)
        if not is_form and not config.status:
            config = replace(config, status=self._status(config))
        if not is_form and not config.behaviour:
            config = replace(
                config, behaviour=self._named("behaviour", _BEHAVIOURS, self._is_label)
            )
        for setting, words, fits in (
            ("marker", _MARKERS, self._is_marker),
            ("site", _SITES, self._is_any),
            ("session", _SESSIONS, self._is_any),
            ("subject", _SUBJECTS, self._is_label),
        ):
            if not getattr(config, setting):
                config = replace(config, **{setting: self._named(setting, words, fits)})
        if config.behaviour:
            config = replace(config, format=config.format or "table")
            if not config.count:
                config = replace(config, count=self._named("count", _COUNTS, self._is_number))
        elif config.format == "table":
            raise WrongArgument(self._no_behaviour())
        else:
            config = replace(config, format="form")
        self._leave_out(config)
        config = replace(config, context=self._context(config))
        if config.format == "form" and not config.behaviours:
            config = replace(config, behaviours=self._behaviours())
        self._say(config)
        return Guess(config=replace(config, guess=False), said=tuple(self.said))

    # Which column

    def _free(self) -> list[Look]:
        return [look for name, look in self.looks.items() if name not in self.taken]

    def _take(self, names: Iterable[str]) -> tuple[str, ...]:
        names = tuple(names)
        self.taken.update(names)
        return names

    def _named(self, setting: str, words: frozenset[str], fits: Callable[[Look], bool]) -> str:
        """Return the free column whose name says it: the one that says the least beside it."""
        found = [look for look in self._free() if look.words & words and fits(look)]
        if not found:
            return ""
        best = min(found, key=lambda look: len(look.words - words))
        self._take([best.name])
        self.said.append(f"{best.name!r} is the {setting}, by its name")
        return best.name

    def _is_any(self, look: Look) -> bool:
        return bool(look.values) and not (look.is_moment or look.is_date)

    def _is_label(self, look: Look) -> bool:
        return self._is_any(look) and not look.is_clock

    def _is_number(self, look: Look) -> bool:
        return self._is_any(look) and look.is_number

    def _is_marker(self, look: Look) -> bool:
        """Tell whether names of recordings may stand there: words that hardly repeat."""
        is_word = self._is_label(look) and look.share(_is_like_word) > _SPARSE
        return is_word and len(look.distinct) >= _MOSTLY * len(look.values)

    def _status(self, config: LogConfig) -> str:
        """Return the column that says START and STOP, if there is one."""
        if config.start:
            return ""
        for look in self._free():
            said = {value.lower() for value in look.distinct}
            is_known = said <= STARTS | STOPS | POINTS and bool(look.words & _STATUSES)
            if said & STARTS and said & STOPS and (is_known or len(said & _SPELLED) > 1):
                self._take([look.name])
                self.said.append(f"{look.name!r} says where states start and stop")
                return look.name
        return ""

    # When

    def _with_times(self, config: LogConfig) -> LogConfig:
        free = self._free()
        moments = [look for look in free if look.is_moment]
        dates = [look for look in free if look.is_date and not look.is_moment]
        clocks = [
            look
            for look in free
            if look.is_clock and not look.is_moment and not look.words & _LENGTHS
        ]
        named_dates = [look for look in dates if look.words & _DATES] or dates
        day = named_dates[0].name if len(named_dates) == 1 else ""
        numbers = [
            look
            for look in free
            if look.is_number and not (look.is_clock or look.is_date or look.is_moment)
        ]
        starts = [look for look in moments + clocks + numbers if _says(look, _STARTS)]
        stops = [look for look in moments + clocks + numbers if _says(look, _STOPS)]
        is_told = len(starts) == 1 == len(stops) and (starts[0] in numbers) == (stops[0] in numbers)
        if is_told and (starts[0].is_moment or starts[0] in numbers or day):
            start, stop = starts[0], stops[0]
            found = replace(
                config,
                start=(start.name,) if start.is_moment or not day else (day, start.name),
                stop=(stop.name,) if stop.is_moment or not day else (day, stop.name),
            )
            self.said.append(f"{start.name!r} and {stop.name!r} say when a state starts and stops")
            return self._with_taken(found)
        when = [look for look in moments if look.words & (_TIMES | _DATES)] or moments
        if len(when) == 1:
            self.said.append(f"{when[0].name!r} says when: each cell is a date and a time")
            return self._with_taken(replace(config, time=(when[0].name,)))
        hours = [look for look in clocks if look.words & _TIMES and look.words <= _NEUTRAL]
        hours = hours or [look for look in clocks if look.words & _TIMES]
        if day and len(hours) == 1 and not when:
            self.said.append(
                f"{day!r} and {hours[0].name!r} say when, the date and the time of day"
            )
            return self._with_taken(replace(config, time=(day, hours[0].name)))
        counted = [
            look
            for look in free
            if look.is_number
            and not look.is_date
            and look.words & _TIMES | (look.words & {"s", "ms"})
        ]
        if len(counted) == 1 and not when and not dates:
            self.said.append(f"{counted[0].name!r} says when, by its name: its cells are numbers")
            return self._with_taken(replace(config, time=(counted[0].name,)))
        if len(hours) == 1 and not when and not dates and config.media_start:
            self.said.append(f"{hours[0].name!r} says when, from {config.media_start} on")
            return self._with_taken(replace(config, time=(hours[0].name,)))
        if config.marker and not when and not hours:
            self.said.append(
                f"no column says when: what was seen goes with the recordings in {config.marker!r}"
            )
            return config
        raise WrongArgument(self._no_time(when, named_dates, hours, clocks))

    def _with_taken(self, config: LogConfig) -> LogConfig:
        self._take((*config.time, *config.start, *config.stop))
        return config

    def _no_time(
        self,
        when: Sequence[Look],
        dates: Sequence[Look],
        hours: Sequence[Look],
        clocks: Sequence[Look],
    ) -> str:
        """Say why no column could be taken for the time, and the way out."""
        file = shown(self.table.file)
        marker = "or name the recording in a column and declare it with --marker"
        if len(when) > 1:
            several = ", ".join(look.name for look in when)
            return f"{file}: several columns hold times ({several}): say which with --time"
        if len(hours) > 1 and dates:
            several = ", ".join(look.name for look in hours)
            return (
                f"{file}: several columns hold times of day ({several}): say which, as --time "
                f"{dates[0].name},{hours[0].name}"
            )
        if hours and dates:
            several = ", ".join(look.name for look in dates)
            return (
                f"{file}: several columns hold dates ({several}): say which, as --time "
                f"{dates[0].name},{hours[0].name}"
            )
        if hours:
            return (
                f"{file}: {hours[0].name!r} is a time of day, and no column holds the date: "
                f"declare both, as --time date,{hours[0].name}, or one date for all: --time "
                f"=2024-04-25,{hours[0].name}"
            )
        if dates and clocks:
            several = ", ".join(look.name for look in clocks)
            return (
                f"{file}: no column is called as one that says the time of day; what looks like it "
                f"is {several}: say which, as --time {dates[0].name},{clocks[0].name}"
            )
        if dates:
            return (
                f"{file} has no time of day: {dates[0].name!r} ({dates[0].values[0]}) says the day "
                "only. What was seen is joined with what was heard by when it was seen: add a "
                f"column with the time of each row and declare --time {dates[0].name},time; "
                f"{marker}"
            )
        return (
            f"{file} has no column that says when ({', '.join(self.table.columns)}): say which "
            f"with --time (or --start and --stop); {marker}"
        )

    # What

    def _no_behaviour(self) -> str:
        free = ", ".join(look.name for look in self._free()) or "none is left"
        return (
            f"{shown(self.table.file)}: no column says what was seen ({free}): say which with "
            "--behaviour, or one for all rows (--behaviour =feeding); where each behaviour has a "
            "column of its own, give these in join.toml: behaviours = [...]"
        )

    def _leave_out(self, config: LogConfig) -> None:
        """Set aside what is neither behaviour nor context."""
        marked = set(self.looks[config.marker].filled) if config.marker in self.looks else set()
        for look in self._free():
            filled = set(look.filled)
            if not filled:
                why = "empty"
            elif look.words & _NOTES or (not look.is_number and len(look.distinct) > _FEW_WORDS):
                why = "notes"
            elif look.is_clock or look.is_moment or look.is_date:
                why = "other readings of a clock"
            elif (
                look.words & _IDS and look.is_number and len(look.distinct) == len(look.values) > 1
            ):
                why = "numbers of the rows"
            elif look.words & _MARKERS and self._is_label(look) and look.share(_is_like_word) > 0:
                why = "names recordings, but not one a row (--marker to use it)"
            elif marked and len(filled & marked) >= _MOSTLY * max(len(filled), len(marked)):
                why = f"filled only where {config.marker!r} is"
            elif (
                look.share(_is_like_word) > _SPARSE and len({v.lower() for v in look.distinct}) > 1
            ):
                who = "" if config.subject else "--subject if they say who, "
                why = f"words ({who}--context makes states of them)"
            else:
                continue
            self.left[look.name] = why
            self.taken.add(look.name)

    def _context(self, config: LogConfig) -> tuple[str, ...]:
        names = self._take(
            look.name
            for look in self._free()
            if look.is_number
            and look.words & _CONTEXT
            # A count that is mostly not there is an event.
            and len(look.filled) > _SPARSE / 2 * len(look.cells)
        )
        if config.context:
            self.left.update(dict.fromkeys(names, "values, not among the context declared"))
            return config.context
        if names:
            self.said.append(
                f"values that hold until the next one, by their names: {', '.join(names)}"
            )
        return names

    def _behaviours(self) -> tuple[str, ...]:
        names = [
            look.name
            for look in self._free()
            if 0 < look.n_marks <= max(_SPARSE * len(look.cells), _FEW_MARKS)
        ]
        for look in self._free():
            if look.name not in names:
                self.left[look.name] = "marked in more than half of the rows, or never"
        if not names:
            raise WrongArgument(self._no_behaviour())
        self.said.append(
            f"a row is an instant and these {len(names)} columns are behaviours, as they hold "
            f"marks or counts in some rows: {', '.join(names)}"
        )
        return self._take(names)

    def _say(self, config: LogConfig) -> None:
        for why in dict.fromkeys(self.left.values()):
            names = [name for name, reason in self.left.items() if reason == why]
            self.said.append(f"not used: {', '.join(names)} ({why})")
        others = [look.name for look in self._free()]
        if others and config.format == "table":
            self.said.append(f"not used: {', '.join(others)}")
        if not config.time and not config.start:
            return
        if not config.session:
            self.said.append("no column names sessions: each day at a site is one")
        if not config.site:
            self.said.append("no column names sites: say it with --site (--site =north for all)")


def _says(look: Look, words: frozenset[str]) -> bool:
    """Tell whether a name says this of what was seen, and not of a camera or a recorder."""
    return bool(look.words & words) and look.words <= words | _NEUTRAL


def _is_like_word(text: str) -> bool:
    """Tell whether a text is a word, and no number nor a cross in a form."""
    return number(text) is None and len(text) > 1 and text.lower() not in ("yes", "true")
