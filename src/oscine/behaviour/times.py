"""Read what people write for a time: dates, times of day, numbers that count, zones.

In come texts and how they are to be read; out come moments, which are wall-clock times and how far
that clock is ahead of UTC, or why there is none. Which order of day, month and year a log is in,
:mod:`oscine.behaviour.orders` finds out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple

from oscine.behaviour.raw import number
from oscine.behaviour.slips import DAY_MS
from oscine.behaviour.tables import ProblemKind
from oscine.config import WrongArgument
from oscine.sound.clock import EPOCH, in_zone, offset_minutes_at, written
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
_LARGEST = 1e15
"""A number above counts nothing that was observed."""

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_DATE = re.compile(r"(\d+|[^\W\d_]{3,})([./\- ]+|, ?)(\d+|[^\W\d_]{3,})([./\- ]+|, ?)(\d+)")
_ZONE = r"(?P<zone>Z|(?:UTC|GMT)?[+-]\d\d?(?::?\d\d)?|UTC|GMT)?"
_CLOCK = re.compile(
    r"(?P<hour>\d\d?)(?:[:h](?P<minute>\d\d)(?:[:m](?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?s?)?"
    r"|\.(?P<minute2>\d\d)\.(?P<second2>\d\d))?"
    rf"\s*(?P<half>[ap]\.?m\.?)?\s*{_ZONE}",
    re.IGNORECASE,
)
DIGITS = re.compile(rf"(?P<digits>\d{{1,6}})(?:[.,](?P<fraction>\d{{1,9}}))?\s*{_ZONE}")
"""Times of day without marks between."""
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
    """Why a row has no time, or one that should be looked at; and, if it can be of two, these."""

    kind: ProblemKind
    what: str
    possible_ms: tuple[int, ...] = ()


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
    elif time_format in ("hhmmss", "hhmm") and (match := DIGITS.fullmatch(text)):
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


def written_day(moment: Moment | Trouble | None) -> str:
    """Write a day with the name of its month, so that it can be meant in one way only."""
    if not isinstance(moment, Moment):
        return "no date"
    try:
        day = EPOCH + timedelta(days=moment.local_ms // DAY_MS)
    except OverflowError:
        return "no date"
    return f"{day.day} {_MONTHS[day.month - 1].capitalize()} {day.year}"


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
    return Trouble("ambiguous" if possible else "unread", note, possible)


def day_of(moment: Moment, utc_ms: int, timezone: str) -> str:
    """Return the day, where the observer stood, as ``2024-04-21``."""
    local_ms = moment.local_ms
    if moment.offset_min == 0 and timezone:  # counted in UTC, whatever the clocks there said
        local_ms = utc_ms + 60_000 * offset_minutes_at(utc_ms, timezone)
    return (EPOCH + timedelta(milliseconds=local_ms)).date().isoformat()


def days_of(spans: Iterable[tuple[int, int]], timezone: str) -> frozenset[int]:
    """Return the days, counted from 1970 on the clocks of a zone, on which some spans of UTC lie.

    Parameters
    ----------
    spans : iterable of (int, int)
        Start and stop, milliseconds since 1970.
    timezone : str
        Empty: UTC.
    """

    def day(ms: int) -> int:
        return (ms + 60_000 * offset_minutes_at(ms, timezone or "UTC")) // DAY_MS

    return frozenset(one for start, stop in spans for one in range(day(start), day(stop) + 1))
