"""When and where recordings were made: one absolute time for each, and what is wrong with clocks.

In comes an audio file; out come the wall-clock time of its first sample, the zone that the recorder
states, site, recorder and other facts, and where each time was read. Absolute times follow, in a
zone that the user gives where the recorder states none; then, over many recordings, what is wrong
with their clocks. Nothing is guessed: what cannot be known is None, and a note says why.
"""

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone, tzinfo
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from oscine.sound import recorders
from oscine.sound.archive import shown
from oscine.sound.headers import read_headers
from oscine.sound.recorders import POSSIBLE_YEARS, Said, Stated, minutes, offset_minutes

_EPOCH = datetime(1970, 1, 1)

_SLACK = timedelta(seconds=2)
"""By how much two statements of one time may differ and agree: names are cut to seconds."""

_EARLIEST_SET = datetime(2000, 1, 31)
"""Clocks that were never set count from the start of 1970, 1980 or 2000."""

_WEAK_SOURCE = "file modification time"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockReading:
    """When and where a recording was made, as far as the file says.

    Attributes
    ----------
    local : datetime or None
        Wall-clock time of the first sample, without zone, to the millisecond.
    utc_offset_min : int or None
        How far that clock is ahead of UTC, in minutes; None where the file does not say.
    source : str
        Where `local` was read: `GUANO`, `WAMD`, `AudioMoth comment`, `Frontier Labs comment`,
        `BWF`, `file name`, `RIFF INFO`, `Vorbis comment`, `ID3` or `file modification time`; empty
        where there is no time.
    is_weak : bool
        Whether `local` is but a likely reading; a note says why.
    site, recorder : str
        Empty where the file does not say.
    facts : mapping of str to str or float
        `gain`, `temperature_c`, `battery_v`, `latitude`, `longitude`, `firmware`, `stopped_by`,
        `microphone`, `date` (of files without a time of day), and others.
    notes : tuple of str
        What contradicts, was never set, or could not be read.
    """

    local: datetime | None
    utc_offset_min: int | None
    source: str
    is_weak: bool
    site: str
    recorder: str
    facts: Mapping[str, str | float]
    notes: tuple[str, ...]


def read_clock(file: Path, *, modified_s: float, duration_s: float | None) -> ClockReading:
    """Read when and where a recording was made.

    The recorder's header comes first (GUANO, WAMD, AudioMoth or Frontier Labs comment, BWF), then
    the file name, then tags that hold a time of day, then the time of the last change. A zone that
    only one of them states counts for all whose wall clocks agree with it. AudioMoth names its
    files in UTC whatever the zone of its comment: a name that agrees in UTC is no contradiction.

    Parameters
    ----------
    file
        A damaged or missing file is read as far as it goes, and noted.
    modified_s
        When the file was last changed, in seconds since 1970.
    duration_s
        Length of the recording if known: recorders close a file at its end, so that it began this
        long before its last change.
    """
    headers = read_headers(file)
    said = [
        recorders.guano(headers),
        recorders.wamd(headers),
        recorders.audiomoth(headers),
        recorders.frontier(headers),
        recorders.bwf(headers),
        recorders.file_name(shown(Path(file.name))),
        recorders.info_tag(headers),
        recorders.vorbis_tag(headers),
        recorders.id3_tag(headers),
    ]
    times = [one.time for one in said if one.time]
    times.sort(key=lambda time: bool(time.weakness))
    said.append(_modification(modified_s, duration_s) if not times else Said())
    times = times or [one.time for one in said if one.time]
    notes = list(headers.notes)
    time = times[0] if times else None
    for other in times[1:]:
        if time:
            time, note = _reconciled(time, other)
            notes += [note] if note else []
    notes += [note for one in said for note in one.notes]
    if time and time.local < _EARLIEST_SET:
        notes.append(f"{time.source} says {_written(time.local)}: the clock was never set")
    if time and time.weakness:
        notes.append(time.weakness)
    recorder = next((one.recorder for one in said if one.recorder), "")
    sites = (one.site for one in said if one.site)
    facts: dict[str, str | float] = {}
    for one in reversed(said):
        facts |= one.facts
    return ClockReading(
        local=time.local if time else None,
        utc_offset_min=time.offset_min if time else None,
        source=time.source if time else "",
        is_weak=bool(time and time.weakness),
        # Song Meters put their serial number where the site goes, unless they are told a site.
        site=next((site for site in sites if site not in recorder), ""),
        recorder=recorder,
        facts=facts,
        notes=tuple(dict.fromkeys(notes)),
    )


def _reconciled(time: Stated, other: Stated) -> tuple[Stated, str]:
    """Hold a second statement against the first: give the first, completed, and what differs."""
    if time.offset_min is None and other.offset_min is not None and not other.weakness:
        if abs(time.local - other.local) <= _SLACK:
            return replace(time, offset_min=other.offset_min), ""
        difference = abs(time.local - other.local)
    elif time.utc and other.utc:
        difference = abs(time.utc - other.utc)
    else:
        difference = abs(time.local - other.local)
        if time.utc and time.offset_min and other.source == "file name":
            in_utc = abs(time.utc - other.local)
            if time.may_be_an_hour_off and abs(in_utc - timedelta(hours=1)) <= _SLACK:
                local = other.local + minutes(time.offset_min)
                right = Stated(local=local, offset_min=time.offset_min, source="file name")
                return right, (
                    "the hour in the AudioMoth comment is wrong, as firmware 1.2.2 writes it in "
                    "zones of half hours: the file name counts"
                )
            difference = min(difference, in_utc)
    if difference <= _SLACK or other.weakness:
        return time, ""
    return time, (
        f"{time.source} says {_stated(time)}, {other.source} says {_stated(other)}: "
        f"{difference.total_seconds():.0f} s apart; the first counts"
    )


def _modification(modified_s: float, duration_s: float | None) -> Said:
    """Take the last change of a file for its end."""
    try:
        end = _EPOCH + timedelta(milliseconds=round(modified_s * 1000))
        local = end - timedelta(milliseconds=round((duration_s or 0) * 1000))
        if local.year not in POSSIBLE_YEARS:
            raise ValueError(local)
    except (OverflowError, ValueError):
        return Said(notes=("the file's modification time is no time",))
    weakness = "only the file's modification time is known: it may be that of a copy"
    if duration_s is None:
        weakness += "; it is the end of the recording, whose length is not known"
    return Said(time=Stated(local=local, offset_min=0, source=_WEAK_SOURCE, weakness=weakness))


# Absolute time


def to_utc_ms(reading: ClockReading, timezone: str | None) -> tuple[int | None, str, str]:
    """Give the absolute time of a recording's first sample.

    Parameters
    ----------
    reading
    timezone
        Where the recorder states no zone: an IANA name (`Europe/London`), or a fixed offset as
        recorders are set to (`UTC+2`, `UTC-3:30`).

    Returns
    -------
    utc_ms : int or None
        Milliseconds since 1970-01-01 UTC; None where file and zone leave it open.
    zone : str
        The zone that was used: the recorder's own (`UTC+01:00`), or else the one given.
    note : str
        Why there is no time; empty if there is one.

    Raises
    ------
    ValueError
        If there is no such zone; the message names near ones.
    """
    zone = _zone(timezone) if timezone is not None else None
    local = reading.local
    if local is None:
        return None, "", "no start time is known"
    if reading.utc_offset_min is not None:
        utc = local - minutes(reading.utc_offset_min)
        return _epoch_ms(utc), _offset_name(reading.utc_offset_min), ""
    if zone is None or timezone is None:
        return None, "", f"the zone of {_written(local)} is not known: give it with --timezone"
    first, second = (
        local - (zone.utcoffset(local.replace(fold=fold)) or timedelta()) for fold in (0, 1)
    )
    if first == second:
        return _epoch_ms(first), timezone, ""
    if first > second:
        note = f"{_written(local)} never occurs in {timezone}, where clocks go forward over it"
        return None, timezone, note
    note = (
        f"{_written(local)} occurs twice in {timezone}, where clocks go back: it is "
        f"{_written(first)} or {_written(second)} UTC"
    )
    return None, timezone, note


@cache
def _zone(name: str) -> tzinfo:
    offset_min = offset_minutes(name) if name.startswith("UTC") else None
    if offset_min is not None:
        return timezone(minutes(offset_min))
    names = available_timezones()
    if name in names:
        return ZoneInfo(name)
    near = _near(name, names)
    hint = f"did you mean {' or '.join(near)}?" if near else "give an IANA name, or one like UTC+2"
    raise ValueError(f"there is no time zone {name!r}: {hint}")


def _near(name: str, names: Iterable[str]) -> list[str]:
    """Names that are spelled alike, whole or in their last part (`london`, `Ecuador`)."""
    spelled = {known.lower(): known for known in sorted(names)}
    spelled = {known.rpartition("/")[2]: name for known, name in spelled.items()} | spelled
    wanted = name.strip().lower().replace(" ", "_")
    close = difflib.get_close_matches(wanted, spelled, n=3)
    return list(dict.fromkeys(spelled[one] for one in close))


def _epoch_ms(utc: datetime) -> int:
    return (utc - _EPOCH) // timedelta(milliseconds=1)


def _offset_name(offset_min: int) -> str:
    hours, rest = divmod(abs(offset_min), 60)
    return f"UTC{'-' if offset_min < 0 else '+'}{hours:02}:{rest:02}" if offset_min else "UTC"


def _written(time: datetime) -> str:
    return time.isoformat(" ", "milliseconds" if time.microsecond else "seconds")


def _stated(time: Stated) -> str:
    zone = "" if time.offset_min is None else f" {_offset_name(time.offset_min)}"
    return _written(time.local) + zone


# Places in paths


def site_from(pattern: str, path: str) -> dict[str, str]:
    """Read named parts of a path, such as the site.

    Parameters
    ----------
    pattern
        Such as `{site}/{date}/*.wav`: `{name}` is one part of a name between slashes, or a piece of
        it; `*` is any text without a slash, `**` any text. Capitals and small letters are one.
    path
        Below the archive's folder, with `/` between names.

    Returns
    -------
    dict of str to str
        Empty where the path does not follow the pattern.

    Raises
    ------
    ValueError
        If the pattern cannot be used; the message says how to write it.
    """
    match = _compiled(pattern).fullmatch(path)
    return match.groupdict() if match else {}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    example = "write it like {site}/{date}/*.wav"
    expression, names = "", []
    for piece in re.findall(r"\{[^{}]*\}|\*\*|\*|[^{}*]+|[{}]", pattern):
        if piece in ("{", "}"):
            raise ValueError(f"the pattern {pattern!r} has a brace without its partner; {example}")
        if piece[0] == "{":
            name = piece[1:-1]
            if not name.isidentifier() or not name.isascii():
                raise ValueError(f"{piece} in the pattern {pattern!r} is no name; {example}")
            if name in names:
                raise ValueError(f"{piece} stands twice in the pattern {pattern!r}; {example}")
            if expression.endswith(")"):
                raise ValueError(
                    f"nothing parts {piece} from what stands before it in {pattern!r}; {example}"
                )
            names.append(name)
            expression += f"(?P<{name}>[^/]+?)"
        else:
            expression += {"**": ".*", "*": "[^/]*"}.get(piece) or re.escape(piece)
    if not names:
        raise ValueError(f"the pattern {pattern!r} names nothing; {example}")
    return re.compile(expression, re.IGNORECASE)


# Many recordings


class Timed(NamedTuple):
    """One recording of many, for `clock_trouble`."""

    path: str
    """Below the archive's folder, with `/` between names."""
    key: str
    """Recorder or site: what can record but one file at a time."""
    start_ms: int | None
    """Milliseconds since 1970 UTC."""
    duration_ms: int
    source: str
    """As `ClockReading.source`."""


_DAY_MS = 86_400_000
_YEAR_MS = 366 * _DAY_MS
_SLACK_MS = _SLACK // timedelta(milliseconds=1)
_FEWEST_FOR_SCHEDULE = 10
_LONG_GAP_PERIODS = 1.5
_MOST_STRAYS = 0.1
"""The share of a folder's files that may be far from its others and count as strays."""
_DAYS_OF_A_PAUSE = 3
_NAMED_FILES = 3


def clock_trouble(recordings: Iterable[Timed | tuple[str, str, int | None, int, str]]) -> list[str]:
    """Say what is wrong with the clocks of many recordings, in plain sentences that name files.

    Told are recordings without a time or with a weak one; clocks that were never set, or that are
    more than a year from the rest of their folder; recordings of one recorder that overlap; times
    that go back from one file name of a folder to the next; and gaps in a regular schedule. Pauses
    that come back at the same time on three days or more belong to the schedule.

    Parameters
    ----------
    recordings
        In any order; O(n log n) in their number.
    """
    rows = [Timed(*row) for row in recordings]
    troubles = _told([row for row in rows if row.start_ms is None], "without a known start time")
    weak = [row for row in rows if row.start_ms is not None and row.source == _WEAK_SOURCE]
    troubles += _told(weak, "with no start time but that of the file's last change")
    groups: defaultdict[str, list[_Placed]] = defaultdict(list)
    for row in rows:
        if row.start_ms is not None and row.source != _WEAK_SOURCE:
            folder = row.path.rpartition("/")[0]
            stop_ms = row.start_ms + row.duration_ms
            groups[row.key].append(_Placed(row.path, folder, row.start_ms, stop_ms))
    for key, group in sorted(groups.items()):
        of = f"of {key} " if key else ""
        unset = [one for one in group if one.start_ms < _epoch_ms(_EARLIEST_SET)]
        troubles += _told(unset, f"{of}whose clock was never set, or was reset")
        set_ = [one for one in group if one.start_ms >= _epoch_ms(_EARLIEST_SET)]
        folders: defaultdict[str, list[_Placed]] = defaultdict(list)
        for one in set_:
            folders[one.folder].append(one)
        strays = [stray for folder in folders.values() for stray in _strays(folder)]
        troubles += _told(strays, f"{of}more than a year from the others of their folder")
        away = {stray.path for stray in strays}
        for folder in folders.values():
            troubles += _backward([one for one in folder if one.path not in away], of)
        placed = sorted((one for one in set_ if one.path not in away), key=_start_ms)
        troubles += _overlaps(placed, of) + _gaps(placed, of)
    return troubles


class _Placed(NamedTuple):
    path: str
    folder: str
    start_ms: int
    stop_ms: int


def _start_ms(one: _Placed) -> int:
    return one.start_ms


def _strays(folder: list[_Placed]) -> list[_Placed]:
    middle_ms = median(map(_start_ms, folder))
    far = [one for one in folder if abs(one.start_ms - middle_ms) > _YEAR_MS]
    return far if len(far) <= _MOST_STRAYS * len(folder) else []


def _backward(folder: list[_Placed], of: str) -> list[str]:
    ordered = sorted(folder, key=lambda one: (len(one.path), one.path))  # REC2 before REC10
    jumps = [
        (before.start_ms - after.start_ms, before, after)
        for before, after in pairwise(ordered)
        if before.start_ms - after.start_ms > _SLACK_MS
    ]
    if not jumps:
        return []
    back_ms, before, after = max(jumps)
    return [
        f"{_times(len(jumps))} the clock {of}goes back from one file name to the next; most from "
        f"{before.path} ({_utc(before.start_ms)}) to {after.path}, by {_length(back_ms)}"
    ]


def _overlaps(placed: list[_Placed], of: str) -> list[str]:
    found: list[tuple[int, str, str]] = []
    last = placed[0] if placed else None
    for one in placed[1:]:
        if last and one.start_ms < last.stop_ms - _SLACK_MS:
            found.append((min(last.stop_ms, one.stop_ms) - one.start_ms, last.path, one.path))
        if last is None or one.stop_ms > last.stop_ms:
            last = one
    if not found:
        return []
    most_ms, first, second = max(found)
    number = f"{len(found)} recordings {of}begin" if len(found) > 1 else f"1 recording {of}begins"
    return [
        f"{number} before the one before ends: two recorders under one name, copies, or a clock "
        f"that was set back; most {first} and {second}, by {_length(most_ms)}"
    ]


def _gaps(placed: list[_Placed], of: str) -> list[str]:
    if len(placed) < _FEWEST_FOR_SCHEDULE:
        return []
    pairs = list(pairwise(placed))
    steps_ms = [after.start_ms - before.start_ms for before, after in pairs]
    period_ms = median(steps_ms)
    slack_ms = max(_SLACK_MS, 0.1 * period_ms)
    n_regular = sum(abs(step_ms - period_ms) <= slack_ms for step_ms in steps_ms)
    if period_ms <= 0 or 2 * n_regular < len(steps_ms):
        return []
    gaps = [
        (step_ms, *pair)
        for step_ms, pair in zip(steps_ms, pairs, strict=True)
        if step_ms > _LONG_GAP_PERIODS * period_ms
    ]

    def hours(before: _Placed, after: _Placed) -> tuple[int, int]:
        first, second = (int(one.start_ms % _DAY_MS // period_ms) for one in (before, after))
        return first, second

    by_hours = Counter(hours(before, after) for _, before, after in gaps)
    faults = [gap for gap in gaps if by_hours[hours(*gap[1:])] < _DAYS_OF_A_PAUSE]
    if not faults:
        return []
    longest_ms, before, after = max(faults)
    number = "1 gap" if len(faults) == 1 else f"{len(faults)} gaps"
    return [
        f"{number} in the schedule {of}(one recording each {_length(round(period_ms))}); the "
        f"longest, {_length(longest_ms)}, from {before.path} ({_utc(before.start_ms)}) to "
        f"{after.path} ({_utc(after.start_ms)})"
    ]


def _told(rows: Sequence[Timed | _Placed], what: str) -> list[str]:
    if not rows:
        return []
    names = ", ".join(row.path for row in rows[:_NAMED_FILES])
    others = f" and {len(rows) - _NAMED_FILES} more" if len(rows) > _NAMED_FILES else ""
    number = "1 recording" if len(rows) == 1 else f"{len(rows)} recordings"
    return [f"{number} {what}: {names}{others}"]


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _utc(time_ms: int) -> str:
    return f"{_written(_EPOCH + timedelta(milliseconds=time_ms))} UTC"


def _length(length_ms: int) -> str:
    """Write a length of time in its largest unit or two (`2 days 3 h`, `10 min`)."""
    parts, rest = [], length_ms
    for unit_ms, unit in ((_DAY_MS, "days"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        number, rest = divmod(rest, unit_ms)
        if number:
            parts.append(f"{number} {'day' if number == 1 and unit == 'days' else unit}")
    return " ".join(parts[:2]) or f"{length_ms} ms"
