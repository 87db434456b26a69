"""Read what people write for a time, and find out in which order they write it.

In come the texts of one or two columns; out comes the wall-clock time of each row, with how far
that clock is ahead of UTC where the text says it, and in words why the texts were read that way. An
order of day, month and year is never assumed: what fits several is held against the order of the
rows, and refused where that tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from oscine.behaviour.raw import number
from oscine.behaviour.slips import DAY_MS, slips_of_year
from oscine.behaviour.tables import ProblemKind
from oscine.config import WrongArgument
from oscine.sound.clock import EPOCH, epoch_ms, in_zone, offset_minutes_at, written
from oscine.sound.recorders import offset_minutes

ORDERS = ("day.month.year", "month.day.year", "year.month.day")
"""How dates are written."""
EXCEL_DAYS, SINCE_1970_S, SINCE_1970_MS = (
    "excel days",
    "seconds since 1970",
    "milliseconds since 1970",
)
FROM_START_S, FROM_START_MS = "seconds", "milliseconds"
COUNTS: Mapping[str, float] = {
    EXCEL_DAYS: DAY_MS,
    SINCE_1970_S: 1000,
    SINCE_1970_MS: 1,
    FROM_START_S: 1000,
    FROM_START_MS: 1,
}
"""What a number may count, and how many milliseconds each is."""
CLOCKS = ("h:m:s", "hhmmss", "hhmm", EXCEL_DAYS)
"""How times of day are written; the first is understood beside each of the others."""

_EXCEL_EPOCH_MS = -25_569 * DAY_MS  # 1899-12-30
_NEARLY_ALL = 0.9
"""Share of the rows that an order must read to be considered."""
_LARGEST = 1e15
"""A number above counts nothing that was observed."""
_LONG_DAYS, _SHORT_MS = 7, 20
"""A log is not expected to count for longer from one start, nor faster between rows."""

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_PIECES = re.compile(r"\d+|[^\W\d_]+")
_DATE = re.compile(r"(\d+|[^\W\d_]{3,})([./\- ]+|, ?)(\d+|[^\W\d_]{3,})([./\- ]+|, ?)(\d+)")
_ZONE = r"(?P<zone>Z|(?:UTC|GMT)?[+-]\d\d?(?::?\d\d)?|UTC|GMT)?"
_CLOCK = re.compile(
    r"(?P<hour>\d\d?)(?:[:h](?P<minute>\d\d)(?:[:m](?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?s?)?"
    r"|\.(?P<minute2>\d\d)\.(?P<second2>\d\d))?"
    rf"\s*(?P<half>[ap]\.?m\.?)?\s*{_ZONE}",
    re.IGNORECASE,
)
_DIGITS = re.compile(rf"(?P<digits>\d{{1,6}})(?:[.,](?P<fraction>\d{{1,9}}))?\s*{_ZONE}")
_BOTH = re.compile(
    r"(?P<date>.+?)(?:\s+|\s*[T_,;]\s*|\s+-\s+)"
    r"(?P<time>\d\d?[:h.]\d\d.*|\d\d?\s*[ap]\.?m.*|\d{3,6}(?:[.,]\d+)?\s*(?:Z|UTC|[+-]\d.*)?)",
    re.IGNORECASE,
)
_RUN_TOGETHER = re.compile(r"(?P<date>\d{8})(?P<time>\d{6}|\d{4})")
_MIDNIGHT = re.compile(r"[ T]00:00(:00(\.0+)?)?$")
"""What spreadsheets add to a date."""


class Moment(NamedTuple):
    """A time as it is written.

    Attributes
    ----------
    local_ms : int
        What the wall clock shows, counted from 1970 as if that clock were UTC.
    offset_min : int or None
        How far the clock is ahead of UTC; None where the text does not say.
    """

    local_ms: int
    offset_min: int | None


class Trouble(NamedTuple):
    """Why a row has no time, or one that should be looked at."""

    kind: ProblemKind
    what: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The times of the rows.

    Attributes
    ----------
    date_format, time_format : str
        As they were declared or found.
    moments : tuple of Moment or None
        None where there is none; ``troubles`` says why, unless nothing is written there.
    troubles : mapping of int to Trouble
        By place in the sequence.
    why : tuple of str
        How dates and times of day are read and why, where that was not declared.
    """

    date_format: str
    time_format: str
    moments: tuple[Moment | None, ...]
    troubles: Mapping[int, Trouble] = field(default_factory=dict)
    why: tuple[str, ...] = ()


# One text


def parse_date(text: str, order: str) -> date | None:
    """Read a date.

    Parameters
    ----------
    text : str
        Three parts (``21.04.24``, ``4/21/2024``, ``21 April 2024``), or six or eight digits. What
        begins with a year of four digits is year, month, day in every order. Years of two digits
        lie in 1970 to 2069.
    order : str
        One of `ORDERS`.
    """
    text = _MIDNIGHT.sub("", text)
    match = _DATE.fullmatch(text)
    if match:
        parts = [match[1], match[3], match[5]]
    elif text.isascii() and text.isdigit() and 5 <= len(text) <= 8:
        digits = text.zfill(len(text) + len(text) % 2)
        if order == ORDERS[2] or (digits[:2] in ("19", "20") and len(digits) == 8):
            parts = [digits[:-4], digits[-4:-2], digits[-2:]]
        else:
            parts = [digits[:2], digits[2:4], digits[4:]]
    else:
        return None
    if len(parts[0]) == 4 and parts[0].isdigit():
        order = ORDERS[2]
    elif parts[0].isalpha():
        order = ORDERS[1]
    elif parts[1].isalpha() and order == ORDERS[1]:
        order = ORDERS[0]
    by_name = dict(zip((word[0] for word in order.split(".")), parts, strict=True))
    year, month, day = by_name["y"], by_name["m"], by_name["d"]
    if not (year.isdigit() and day.isdigit() and len(year) in (2, 4) and len(day) <= 2):
        return None
    if not (month.isalpha() or len(month) <= 2):
        return None
    n_month = _month_named(month) if month.isalpha() else int(month)
    n_year = int(year)
    if len(year) == 2:
        n_year += 2000 if n_year < 70 else 1900
    try:
        return date(n_year, n_month, int(day))
    except ValueError:
        return None


def _month_named(text: str) -> int:
    """Return the number of a month by its English name or the beginning of it; 0 if it is none."""
    plain = text.lower().replace("sept", "sep") if len(text) == 4 else text.lower()
    return next((n for n, name in enumerate(_MONTHS, 1) if name.startswith(plain)), 0)


@lru_cache(65_536)
def parse_clock(text: str, time_format: str) -> tuple[int, int | None] | Trouble | None:
    """Read a time of day.

    Parameters
    ----------
    text : str
    time_format : str
        One of `CLOCKS`.

    Returns
    -------
    (ms since midnight, minutes ahead of UTC or None), or why it could be two, or None
    """
    match = _CLOCK.fullmatch(text)
    if match and (match["minute"] or match["minute2"] or match["half"]):
        hour = int(match["hour"])
        minute, second = match["minute"] or match["minute2"], match["second"] or match["second2"]
        if match["half"]:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + 12 * (match["half"][0] in "pP")
        # 10:28-11:00 is rather a stretch than a zone.
        if second is None and (match["zone"] or "").startswith("-"):
            return None
        parts = hour, int(minute or 0), int(second or 0), match["fraction"], match["zone"]
    elif time_format == EXCEL_DAYS:
        share = number(text)
        return (
            (round(share * DAY_MS) % DAY_MS, None) if share is not None and 0 <= share < 1 else None
        )
    elif time_format in ("hhmmss", "hhmm") and (match := _DIGITS.fullmatch(text)):
        digits = match["digits"]
        n = len(time_format)
        if len(digits) > n or (time_format == "hhmm" and match["fraction"]):
            return None
        if len(digits) < n - 1:
            return Trouble(
                "ambiguous",
                f"the time {text!r} is short of {n} digits: is it {digits.zfill(n)} or "
                f"{digits.ljust(n, '0')}? Write all {n}",
            )
        digits = digits.zfill(n).ljust(6, "0")
        parts = int(digits[:2]), int(digits[2:4]), int(digits[4:]), match["fraction"], match["zone"]
    else:
        return None
    hour, minute, second, fraction, zone = parts
    offset = offset_minutes(zone.upper().replace("GMT", "UTC")) if zone else None
    if hour > 23 or minute > 59 or second > 59 or (zone and offset is None):
        return None
    whole_ms = 1000 * (3600 * hour + 60 * minute + second)
    return whole_ms + _fraction_ms(fraction), offset


def _fraction_ms(digits: str | None) -> int:
    """Round decimals of a second; what would be the next second stays below it."""
    return min(999, (int(digits.ljust(9, "0")) + 500_000) // 1_000_000) if digits else 0


def split(text: str) -> tuple[str, str] | None:
    """Part a text into its date and its time of day; None where it does not hold both."""
    match = _RUN_TOGETHER.fullmatch(text) or _BOTH.fullmatch(text)
    return (match["date"], match["time"]) if match else None


def as_order(text: str) -> str:
    """Return the date format that a user means (``DD.MM.YYYY``, ``dmy``, ``month/day/year``).

    Raises
    ------
    WrongArgument
        It is none.
    """
    plain = text.strip().lower()
    if plain in COUNTS:
        return plain
    words = re.findall(r"[a-z]+", plain)
    initials = "".join(word[0] for word in words) if len(words) == 3 else "".join(words)
    for order in ORDERS:
        if initials == "".join(word[0] for word in order.split(".")):
            return order
    raise WrongArgument(
        f"{text!r} is no format of dates: give one of {', '.join((*ORDERS, *COUNTS))}"
    )


# One row


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """How the texts of a row become a time.

    Attributes
    ----------
    date_format, time_format : str
        Of `ORDERS` or `COUNTS`, and of `CLOCKS`.
    start : Moment or None
        Where seconds and milliseconds that do not count from 1970 begin.
    """

    date_format: str
    time_format: str
    start: Moment | None = None

    def read(self, texts: Sequence[str]) -> Moment | Trouble | None:
        """Read one text, or a date and a time of day; None where it cannot be read."""
        if len(texts) == 1 and self.date_format in COUNTS:
            return self._counted(texts[0])
        parts = split(texts[0]) if len(texts) == 1 else (texts[0], texts[1])
        if parts is None:
            return None
        if self.date_format == EXCEL_DAYS:
            days = number(parts[0])
            day_ms = None if days is None else int(days) * DAY_MS + _EXCEL_EPOCH_MS
        else:
            day_ms = _day_ms(parts[0], self.date_format)
        clock = parse_clock(parts[1], self.time_format)
        if day_ms is None or clock is None or isinstance(clock, Trouble):
            return clock if isinstance(clock, Trouble) and day_ms is not None else None
        return Moment(day_ms + clock[0], clock[1])

    def _counted(self, text: str) -> Moment | None:
        value = number(text)
        if value is not None and abs(value) > _LARGEST:
            return None
        if value is None:
            if self.date_format not in (FROM_START_S, FROM_START_MS) or self.start is None:
                return None
            clock = parse_clock(text, "h:m:s")  # how long after the start
            if clock is None or isinstance(clock, Trouble) or clock[1] is not None:
                return None
            return Moment(self.start.local_ms + clock[0], self.start.offset_min)
        ms = round(value * COUNTS[self.date_format])
        if self.date_format == EXCEL_DAYS:
            return Moment(ms + _EXCEL_EPOCH_MS, None)
        if self.date_format in (SINCE_1970_S, SINCE_1970_MS):
            return Moment(ms, 0)
        return Moment(self.start.local_ms + ms, self.start.offset_min) if self.start else None


@lru_cache(4096)
def _day_ms(text: str, order: str) -> int | None:
    day = parse_date(text, order)
    return None if day is None else (day.toordinal() - EPOCH.toordinal()) * DAY_MS


def written_ms(ms: int) -> str:
    """Write a wall-clock time as messages show it."""
    try:
        return written(EPOCH + timedelta(milliseconds=ms))
    except OverflowError:
        return "no time at all"


def read_instant(text: str, what: str) -> Moment:
    """Read one time that a user gives, year first (``2024-04-25T12:58:00+01:00``).

    Raises
    ------
    WrongArgument
        It is none.
    """
    moment = Reader(date_format=ORDERS[2], time_format="h:m:s").read([text.strip()])
    if not isinstance(moment, Moment):
        raise WrongArgument(f"{what} {text!r} is no time: write it as 2024-04-25T12:58:00+01:00")
    return moment


# Many rows


def read_times(
    rows: Sequence[Sequence[str]],
    *,
    years: range,
    date_format: str = "",
    time_format: str = "",
    start: Moment | None = None,
    what: str = "the log",
    lines: Sequence[int] = (),
) -> Reading:
    """Read the times of the rows of a log.

    Parameters
    ----------
    rows : sequence of sequence of str
        One text each, or a date and a time of day. Rows in which one is empty have no time.
    years : range
        That times may lie in; others are slips.
    date_format, time_format : str
        Empty to find them out. Those that read nearly all rows are considered; chosen is the one in
        which the log runs forward and spans the least.
    start : Moment or None
        Of what counts from a start.
    what : str
        Whose times these are, for messages.
    lines : sequence of int
        Lines of the file, a row; for messages.

    Raises
    ------
    WrongArgument
        Nothing can be read, or dates can be read in two orders and nothing tells which.
    """
    lines = lines or range(1, len(rows) + 1)
    present = [at for at, texts in enumerate(rows) if all(texts)]
    if not present:
        raise WrongArgument(f"{what}: no row has a time")
    is_declared = bool(time_format)
    if not time_format:
        time_format = _clock_format([rows[at] for at in present])
    elif time_format not in CLOCKS:
        raise WrongArgument(
            f"{time_format!r} is no format of times of day: give one of {', '.join(CLOCKS)}"
        )
    if date_format:
        tried = (as_order(date_format),)
        if tried[0] in COUNTS and tried[0] != EXCEL_DAYS and len(rows[0]) > 1:
            raise WrongArgument(f"{what}: {tried[0]} stand in one column, not beside a time of day")
    else:
        tried = tuple(_considered([rows[at] for at in present], start))
    candidates = [
        _Candidate(Reader(date_format=one, time_format=time_format, start=start), rows, years)
        for one in tried
    ]
    chosen, why = (candidates[0], "") if date_format else _chosen(candidates, present, rows, what)
    if chosen.n_usable == 0 or (not date_format and 2 * chosen.n_usable < len(present)):
        is_guess = not date_format
        raise WrongArgument(_nothing_read(chosen, rows, present, years, what, is_guess=is_guess))
    return Reading(
        date_format=chosen.reader.date_format,
        time_format=time_format,
        moments=tuple(chosen.moments),
        troubles=dict(_troubles(chosen, rows, years, lines)),
        why=tuple(filter(None, (why, "" if is_declared else _clock_words(chosen, rows)))),
    )


def _clock_format(rows: Sequence[Sequence[str]]) -> str:
    """Return the way in which most times of day are written."""
    n_digits: list[int] = []
    n_shares = 0
    for texts in rows:
        parts = split(texts[0]) if len(texts) == 1 else (texts[0], texts[1])
        if parts is None:
            continue
        if match := _DIGITS.fullmatch(parts[1]):
            value = number(parts[1])
            n_shares += value is not None and value < 1 and "." in parts[1].replace(",", ".")
            n_digits.append(len(match["digits"]))
    if 2 * len(n_digits) < len(rows):
        return "h:m:s"
    if 2 * n_shares > len(n_digits):
        return EXCEL_DAYS
    return "hhmmss" if 2 * sum(n > 4 for n in n_digits) >= len(n_digits) else "hhmm"


def _clock_words(one: _Candidate, rows: Sequence[Sequence[str]]) -> str:
    """Say how times of day are read, where that is not plain to see."""
    if one.reader.time_format == CLOCKS[0]:
        return ""
    at = next(n for n, moment in enumerate(one.moments) if moment is not None)
    moment = one.moments[at]
    assert moment is not None
    shown = written_ms(moment.local_ms).partition(" ")[2]
    return f"times of day are read as {one.reader.time_format} ({rows[at][-1]} is {shown})"


def _considered(rows: Sequence[Sequence[str]], start: Moment | None) -> Iterator[str]:
    """Yield the formats that rows may be in, by how they look."""
    dates = [texts[0] for texts in rows]
    is_alone = len(rows[0]) == 1
    if start is not None and is_alone and not any(map(split, dates)):
        yield FROM_START_S
        return
    if 2 * sum(number(text) is not None for text in dates) > len(dates):
        yield EXCEL_DAYS
        if is_alone:
            yield from (SINCE_1970_S, SINCE_1970_MS)
    if 2 * sum(text[:4].isdigit() for text in dates) > len(dates):
        yield ORDERS[2]
    yield ORDERS[0]
    # Nobody parts month, day and year by points.
    if 2 * sum(_PIECES.sub("", text[:10]).startswith("..") for text in dates) <= len(dates):
        yield ORDERS[1]
    yield ORDERS[2]


class _Candidate:
    """A format, and what becomes of the rows in it."""

    def __init__(self, reader: Reader, rows: Sequence[Sequence[str]], years: range) -> None:
        self.reader = reader
        self.read = [reader.read(texts) if all(texts) else None for texts in rows]
        within = _within(years)
        self.outside = {
            at: one
            for at, one in enumerate(self.read)
            if isinstance(one, Moment) and one.local_ms not in within
        }
        self.moments = [
            one if isinstance(one, Moment) and at not in self.outside else None
            for at, one in enumerate(self.read)
        ]
        self.slips = slips_of_year(
            [one.local_ms if isinstance(one, Moment) else None for one in self.read]
        )
        self.n_usable = sum(one is not None for one in self.moments)
        self.n_back, self.span_days = self._run()

    def _run(self, *, without: Container[int] = ()) -> tuple[int, int]:
        """Return how often the days go back, and how many they span."""
        days = [
            one.local_ms // DAY_MS
            for at, one in enumerate(self.moments)
            if one is not None and at not in without
        ]
        n_back = sum(after < before for before, after in pairwise(days))
        return n_back, max(days) - min(days) + 1 if days else 0

    def told(self) -> str:
        """Say how the log runs."""
        n_back, n_days = self._run(without=self.slips)
        runs = f"goes back {n_back} times" if n_back > 1 else "goes back once"
        spans = f"spans {n_days} day{'s' if n_days != 1 else ''}"
        told = f"{runs if n_back else 'runs forward'} and {spans}"
        n_slips = sum(self.moments[at] is not None for at in self.slips)
        rows = "1 row" if n_slips == 1 else f"{n_slips} rows"
        return f"{told} but for {rows} in which the year may be a slip" if n_slips else told


def _within(years: range) -> range:
    """Return the milliseconds of some years."""
    return range(*(epoch_ms(datetime(year, 1, 1)) for year in (years.start, years.stop)))


def _chosen(
    candidates: Sequence[_Candidate],
    present: Sequence[int],
    rows: Sequence[Sequence[str]],
    what: str,
) -> tuple[_Candidate, str]:
    """Choose between formats by how the log runs in them."""
    most = max(one.n_usable for one in candidates)
    fitting = [one for one in candidates if one.n_usable >= max(1, _NEARLY_ALL * most)]
    if not fitting:
        return candidates[0], ""
    different = [
        one
        for at, one in enumerate(fitting)
        if all(one.moments != other.moments for other in fitting[:at])
    ]

    def costs(one: _Candidate) -> tuple[int, int, int]:
        # With the slips: a wrong order is full of them, and would look short without.
        return len(present) - one.n_usable, one.n_back, one.span_days

    best = min(different, key=costs)
    others = [one for one in different if one is not best]
    for other in others:
        is_better = all(a <= b for a, b in zip(costs(best), costs(other), strict=True))
        if not is_better or costs(best) == costs(other):
            at = next(n for n in present if best.moments[n] != other.moments[n])
            shown = (
                f"{written_day(one.read[at])} ({one.reader.date_format}: the log {one.told()})"
                for one in (best, other)
            )
            raise WrongArgument(
                f"{what}: {' '.join(rows[at])!r} can be {' or '.join(shown)}, and nothing tells "
                f"which: say --date-format {best.reader.date_format} or --date-format "
                f"{other.reader.date_format}"
            )
    if not others and best.reader.date_format in (ORDERS[2], EXCEL_DAYS):
        return best, ""  # the year or the spreadsheet says it
    at = next(n for n in present if best.moments[n] is not None)
    if best.reader.date_format in COUNTS:
        moment = best.moments[at]
        assert moment is not None
        return best, (
            f"numbers are read as {best.reader.date_format} ({rows[at][0]} is "
            f"{written_ms(moment.local_ms)} UTC)"
        )
    example = f"{rows[at][0]} is {written_day(best.moments[at])}"
    order = best.reader.date_format
    why = f"dates are read as {order} ({example}): in that order the log {best.told()}"
    if others:
        why += "; " + ", ".join(f"as {one.reader.date_format} it {one.told()}" for one in others)
    return best, why


def written_day(moment: Moment | Trouble | None) -> str:
    """Write a day with the name of its month, so that it can be meant in one way only."""
    if not isinstance(moment, Moment):
        return "no date"
    try:
        day = EPOCH + timedelta(days=moment.local_ms // DAY_MS)
    except OverflowError:
        return "no date"
    return f"{day.day} {_MONTHS[day.month - 1].capitalize()} {day.year}"


def _nothing_read(
    one: _Candidate,
    rows: Sequence[Sequence[str]],
    present: Sequence[int],
    years: range,
    what: str,
    *,
    is_guess: bool,
) -> str:
    """Say why too few times can be read, and the way out."""
    at = next((at for at in present if one.moments[at] is None), present[0])
    text = " ".join(rows[at])
    is_number = len(rows[at]) == 1 and number(text) is not None
    if one.outside and not (is_guess and is_number):
        at = next(iter(one.outside))
        return f"{what}: {_out_of_years(one, at, rows[at], years)}"
    if one.reader.date_format in (FROM_START_S, FROM_START_MS) and one.reader.start is None:
        return (
            f"{what}: {text!r} counts from a start that is not known: say when it was, as "
            "--media-start 2024-04-25T12:58:00+01:00"
        )
    if is_number:
        return (
            f"{what}: {text!r} is a number, and no time in seconds or milliseconds since 1970 nor "
            "a day of a spreadsheet. If it counts seconds from a start, say when that was: "
            "--media-start 2024-04-25T12:58:00+01:00"
        )
    if len(rows[at]) == 1 and any(parse_date(text, order) for order in ORDERS):
        return (
            f"{what}: {text!r} is a date without a time of day: give both, as --time date,time. "
            "A log without times can but name recordings, in a column that --marker declares"
        )
    if len(rows[at]) == 1 and parse_clock(text, "h:m:s"):
        return (
            f"{what}: {text!r} is a time of day without a date: give the column of the date too, "
            "as --time date,time, or one date for all: --time =2024-04-25,time"
        )
    return (
        f"{what}: {text!r} cannot be read as a time"
        f"{f' in {one.reader.date_format}' if one.reader.date_format else ''}: write times as "
        "2024-04-25 12:58:00, or say how they are written with --date-format"
    )


def _out_of_years(one: _Candidate, at: int, texts: Sequence[str], years: range) -> str:
    moment = one.outside[at]
    said = f"{' '.join(texts)!r} is {written_day(moment)} in {one.reader.date_format}"
    value = number(texts[0])
    if value is not None and one.reader.date_format in (SINCE_1970_S, SINCE_1970_MS):
        for other, other_words in ((SINCE_1970_S, "seconds"), (SINCE_1970_MS, "milliseconds")):
            ms = round(value * COUNTS[other])
            if other != one.reader.date_format and ms in _within(years):
                mine = one.reader.date_format.split()[0]
                return (
                    f"{said}: {other_words} were taken for {mine}. As {other_words} it is "
                    f"{written_ms(ms)}: say --date-format '{other}'"
                )
    return f"{said}, outside {years.start} to {years.stop - 1}: put the year right"


def _troubles(
    one: _Candidate, rows: Sequence[Sequence[str]], years: range, lines: Sequence[int]
) -> Iterator[tuple[int, Trouble]]:
    for at, texts in enumerate(rows):
        read = one.read[at]
        text = " ".join(texts).strip()
        if isinstance(read, Trouble):
            yield at, read
        elif at in one.outside or at in one.slips:
            kind: ProblemKind = "unread" if at in one.outside else "suspicious"
            said = f"{text!r} is {written_day(read)}"
            if at in one.outside:
                said = _out_of_years(one, at, texts, years)
            if at in one.slips:
                near, right_ms = one.slips[at]
                said = (
                    f"{said.removesuffix(': put the year right')}, but line {lines[near]} beside "
                    f"it is of {written_day(one.read[near])}: if the year is a slip, it is "
                    f"{written_day(Moment(right_ms, None))}; then put it right in the log"
                )
            yield at, Trouble(kind, said)
        elif read is None and not any(texts):
            yield at, Trouble("unread", "it has no time")
        elif read is None and not all(texts):
            missing = "date" if not texts[0] else "time of day"
            yield at, Trouble("unread", f"it has no {missing} ({text!r}): fill it in")
        elif read is None:
            yield at, Trouble("unread", f"{text!r} is no time as the other rows write it")


# Zones


def to_utc_ms(moment: Moment, timezone: str) -> int | Trouble:
    """Give the absolute time of a moment; where its text states no zone, in the one given.

    Returns
    -------
    ms since 1970 in UTC, or why there is none or are two
    """
    if moment.offset_min is not None:
        return moment.local_ms - 60_000 * moment.offset_min
    local = EPOCH + timedelta(milliseconds=moment.local_ms)
    possible, note = in_zone(local, timezone)
    if len(possible) == 1:
        return possible[0]
    return Trouble("ambiguous" if possible else "unread", note)


def day_of(moment: Moment, utc_ms: int, timezone: str) -> str:
    """Return the day, where the observer stood, as ``2024-04-21``."""
    local_ms = moment.local_ms
    if moment.offset_min == 0 and timezone:  # counted in UTC, whatever the clocks there said
        local_ms = utc_ms + 60_000 * offset_minutes_at(utc_ms, timezone)
    return (EPOCH + timedelta(milliseconds=local_ms)).date().isoformat()


def suspicious_pace(times_ms: Sequence[int], date_format: str) -> str:
    """Say where counts from a start look like seconds taken for milliseconds or the reverse."""
    if len(times_ms) < 3 or date_format not in (FROM_START_S, FROM_START_MS):
        return ""
    span_ms = max(times_ms) - min(times_ms)
    if date_format == FROM_START_S and span_ms > _LONG_DAYS * DAY_MS:
        return (
            f"it spans {span_ms / DAY_MS:.0f} days from one start: milliseconds were taken for "
            f"seconds? Then say --date-format {FROM_START_MS}"
        )
    if date_format == FROM_START_MS and span_ms < _SHORT_MS * (len(times_ms) - 1):
        return (
            f"its {len(times_ms)} rows lie within {span_ms} ms: seconds were taken for "
            f"milliseconds? Then say --date-format {FROM_START_S}"
        )
    return ""
