"""Find out in which order a log writes its dates, and read the times of all its rows.

In come the texts of one or two columns; out come the moment of each row, what is wrong with others,
and in words why they were read that way. An order of day, month and year is never assumed: what
fits several is held against the days of the recordings, and refused where these tell nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from oscine.behaviour.raw import number
from oscine.behaviour.slips import DAY_MS, slips_of_year
from oscine.behaviour.tables import ProblemKind
from oscine.behaviour.times import (
    CLOCKS,
    COUNTS,
    DIGITS,
    EXCEL_DAYS,
    FROM_START_MS,
    FROM_START_S,
    ORDERS,
    SINCE_1970_MS,
    SINCE_1970_S,
    Moment,
    Reader,
    Trouble,
    as_order,
    parse_clock,
    parse_date,
    split,
    written_day,
    written_ms,
)
from oscine.config import WrongArgument
from oscine.sound.clock import epoch_ms

_NEARLY_ALL = 0.9
"""Share of the rows that an order must read to be considered."""
_LONG_DAYS, _SHORT_MS = 7, 20
"""A log is not expected to count for longer from one start, nor faster between rows."""
_PIECES = re.compile(r"\d+|[^\W\d_]+")


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


def read_times(
    rows: Sequence[Sequence[str]],
    *,
    years: range,
    date_format: str = "",
    time_format: str = "",
    start: Moment | None = None,
    prefer: str = "",
    days: Collection[int] = (),
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
        Empty to find them out. Of those that read nearly all rows one is chosen where the others
        cannot read some, or put none on any of `days`.
    start : Moment or None
        Of what counts from a start.
    prefer : str
        A date format that is chosen if it reads nearly all rows.
    days : collection of int
        Counted from 1970 on the observer's clock: those on which something was recorded.
    what : str
        Whose times these are, for messages.
    lines : sequence of int
        Lines of the file, a row; for messages.

    Raises
    ------
    WrongArgument
        Nothing can be read, or dates can be read in several orders and nothing tells which.
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
    chosen, why = candidates[0], ""
    if not date_format:
        chosen, why = _chosen(candidates, rows, years, what, prefer and as_order(prefer), days)
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
        if match := DIGITS.fullmatch(parts[1]):
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
    """A format, and what becomes of the rows in it.

    Attributes
    ----------
    read : list of (Moment, Trouble or None)
    outside : dict of int to Moment
        By row, what lies outside the years.
    slips : dict of int to Slip
    moments : list of (Moment or None)
        Without those.
    n_usable : int
    readable : frozenset of int
        Rows that are dates in this format, though the year may be a slip.
    days : frozenset of int
        From 1970 on.
    """

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
        self.readable = frozenset(
            at for at, one in enumerate(self.moments) if one is not None or at in self.slips
        )
        self.days = frozenset(one.local_ms // DAY_MS for one in self.moments if one is not None)


def _within(years: range) -> range:
    """Return the milliseconds of some years."""
    return range(*(epoch_ms(datetime(year, 1, 1)) for year in (years.start, years.stop)))


def _chosen(
    candidates: Sequence[_Candidate],
    rows: Sequence[Sequence[str]],
    years: range,
    what: str,
    prefer: str,
    days: Collection[int],
) -> tuple[_Candidate, str]:
    """Choose between formats by what the others cannot read, or put on other days."""
    most = max(one.n_usable for one in candidates)
    fitting = [one for one in candidates if one.n_usable >= max(1, _NEARLY_ALL * most)]
    if not fitting:
        return candidates[0], ""
    different = [
        one
        for at, one in enumerate(fitting)
        if all(one.moments != other.moments for other in fitting[:at])
    ]
    for one in different:
        if one.reader.date_format == prefer:
            return one, ""
    left = [one for one in different if not any(one.readable < two.readable for two in different)]
    best: _Candidate | None = left[0]
    reasons: list[str] = []
    if len(left) > 1:
        best = next((one for one in left if _is_told(one, left, days)), None)
        if best is None:
            raise WrongArgument(_in_several(left, rows, what))
        others = " or ".join(one.reader.date_format for one in left if one is not best)
        n_recorded = len(best.days.intersection(days))
        reasons.append(
            f"something was recorded on {n_recorded} of its {len(best.days)} days, and on none as "
            f"{others}"
        )
    order = best.reader.date_format
    for other in candidates:
        both = zip(rows, best.moments, other.moments, strict=True)
        unlike = (texts[0] for texts, mine, its in both if mine is not None and its is None)
        if other not in left and other.n_usable and (text := next(unlike, "")):
            reasons.append(
                f"{text} is no day of {years.start} to {years.stop - 1} as "
                f"{other.reader.date_format}"
            )
    if order in (ORDERS[2], EXCEL_DAYS) and not reasons:
        return best, ""  # the year or the spreadsheet says it
    why = "".join(f"; {reason}" for reason in reasons)
    at, moment = next((n, one) for n, one in enumerate(best.moments) if one is not None)
    if order in COUNTS:
        example = f"{rows[at][0]} is {written_ms(moment.local_ms)} UTC"
        return best, f"numbers are read as {order} ({example}){why}"
    return best, f"dates are read as {order} ({rows[at][0]} is {written_day(moment)}){why}"


def _is_told(one: _Candidate, others: Sequence[_Candidate], days: Collection[int]) -> bool:
    """Tell whether a format puts most rows on some days, and no other format any."""
    return 2 * len(one.days.intersection(days)) >= len(one.days) and not any(
        other.days.intersection(days) for other in others if other is not one
    )


def _in_several(several: Sequence[_Candidate], rows: Sequence[Sequence[str]], what: str) -> str:
    """Say that dates can be read in several formats, with the readings of two, and the way out."""
    orders = [one.reader.date_format for one in several]
    texts: dict[tuple[str, ...], str] = {}
    for at, row in enumerate(rows):
        texts.setdefault(tuple(written_day(one.read[at]) for one in several), row[0])
    examples = (
        f"{texts[days]!r} is "
        + " or ".join(f"{day} ({order})" for day, order in zip(days, orders, strict=True))
        for days in sorted(texts, key=lambda days: -len(set(days)))[:2]
    )
    return (
        f"{what}: {'; '.join(examples)}. Neither its other dates nor the days of the recordings "
        f"tell which: say --date-format {' or --date-format '.join(orders)}"
    )


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
