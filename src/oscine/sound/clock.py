"""When and where a recording was made.

In comes an audio file; out come the wall-clock time of its first sample, the zone that the recorder
states, where both were read, site, recorder and other facts; then its absolute time, in a zone that
the user gives where the recorder states none. Nothing is guessed: what cannot be known is None, and
a note says why. `oscine.sound.recorders` reads each place, and `oscine.sound.clock_trouble` looks
over the clocks of many recordings.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from oscine.sound import recorders
from oscine.sound.archive import shown
from oscine.sound.headers import read_headers
from oscine.sound.recorders import POSSIBLE_YEARS, Said, Stated, offset_minutes
from oscine.workspace.catalogue import MODIFICATION

EPOCH = datetime(1970, 1, 1)

_SLACK = timedelta(seconds=2)
"""By how much two statements of one time may differ and agree: names are cut to seconds."""

EARLIEST_SET = datetime(2000, 1, 31)
"""Clocks that were never set count from the start of 1970, 1980 or 2000."""


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
        `microphone`, `date` (of a name or tag without a time of day), and others; GUANO lines that
        have no name here under their own.
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
    if not any(one.time for one in said):
        said.append(_modification(modified_s, duration_s))
    time: Stated | None = None
    notes = list(headers.notes)
    times = [one.time for one in said if one.time]
    for other in sorted(times, key=lambda time: bool(time.weakness)):
        time, note = _reconciled(time, other) if time else (other, "")
        notes += [note] if note else []
    notes += [note for one in said for note in one.notes]
    if time and time.local < EARLIEST_SET:
        notes.append(f"{time.source} says {written(time.local)}: the clock was never set")
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
        site=next((site for site in sites if site not in recorder.split()), ""),
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
                local = other.local + timedelta(minutes=time.offset_min)
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
        end = EPOCH + timedelta(milliseconds=round(modified_s * 1000))
        local = end - timedelta(milliseconds=round((duration_s or 0) * 1000))
        if local.year not in POSSIBLE_YEARS:
            raise ValueError(local)
    except (OverflowError, ValueError):
        return Said(notes=("the file's modification time is no time",))
    weakness = "only the file's modification time is known: it may be that of a copy"
    if duration_s is None:
        weakness += "; it is the end of the recording, whose length is not known"
    return Said(time=Stated(local=local, offset_min=0, source=MODIFICATION, weakness=weakness))


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
    if timezone is not None:
        zone_of(timezone)  # refused also where it is not needed
    local = reading.local
    if local is None:
        return None, "", "no start time is known"
    if reading.utc_offset_min is not None:
        utc = local - timedelta(minutes=reading.utc_offset_min)
        return epoch_ms(utc), _offset_name(reading.utc_offset_min), ""
    if timezone is None:
        return None, "", f"the zone of {written(local)} is not known: give it with --timezone"
    possible, note = in_zone(local, timezone)
    return (possible[0], timezone, "") if len(possible) == 1 else (None, timezone, note)


def in_zone(local: datetime, timezone: str) -> tuple[tuple[int, ...], str]:
    """Give the absolute times that a wall clock can mean.

    Parameters
    ----------
    local : datetime
        Without zone.
    timezone : str
        As in :func:`to_utc_ms`.

    Returns
    -------
    possible : tuple of int
        In milliseconds since 1970-01-01 UTC: one, none where clocks go forward over it, or two
        where they go back.
    note : str
        Why it is not one.

    Raises
    ------
    ValueError
        If there is no such zone; the message names near ones.
    """
    zone = zone_of(timezone)
    first, second = (
        local - (zone.utcoffset(local.replace(fold=fold)) or timedelta()) for fold in (0, 1)
    )
    if first == second:
        return (epoch_ms(first),), ""
    if first > second:
        return (), f"{written(local)} never occurs in {timezone}, where clocks go forward over it"
    return (epoch_ms(first), epoch_ms(second)), (
        f"{written(local)} occurs twice in {timezone}, where clocks go back: it is "
        f"{written(first)} or {written(second)} UTC"
    )


def offset_minutes_at(utc_ms: int, timezone: str) -> int:
    """Tell how far the clocks of a zone are ahead of UTC, at a time since 1970 in UTC.

    Raises
    ------
    ValueError
        If there is no such zone.
    """
    utc = EPOCH.replace(tzinfo=UTC) + timedelta(milliseconds=utc_ms)
    offset = utc.astimezone(zone_of(timezone)).utcoffset() or timedelta()
    return offset // timedelta(minutes=1)


@cache
def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name, or by one like UTC+2.

    Raises
    ------
    ValueError
        If there is no such zone; it says which ones are spelled alike.
    """
    offset_min = offset_minutes(name) if name.startswith("UTC") else None
    if offset_min is not None:
        return timezone(timedelta(minutes=offset_min))
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


def epoch_ms(utc: datetime) -> int:
    """Count a time without zone, taken for UTC, in milliseconds since 1970."""
    return (utc - EPOCH) // timedelta(milliseconds=1)


def _offset_name(offset_min: int) -> str:
    hours, rest = divmod(abs(offset_min), 60)
    return f"UTC{'-' if offset_min < 0 else '+'}{hours:02}:{rest:02}" if offset_min else "UTC"


def written(time: datetime) -> str:
    """Write a time as messages show it: to the second, or to the millisecond where it has any."""
    return time.isoformat(" ", "milliseconds" if time.microsecond else "seconds")


def _stated(time: Stated) -> str:
    zone = "" if time.offset_min is None else f" {_offset_name(time.offset_min)}"
    return written(time.local) + zone


@dataclass(frozen=True, kw_only=True, slots=True)
class WhenWhere:
    """When and where a recording was made, as the catalogue holds it.

    Attributes
    ----------
    started_ms : int or None
        Of the first sample, in milliseconds since 1970-01-01 UTC.
    utc_offset_min : int or None
        How far the clocks there were ahead of UTC at that time; None where that is not known.
    zone : str
        The zone, and where it comes from.
    site, recorder : str
    note : str
        Why there is no time, or why it is weak.
    """

    started_ms: int | None
    utc_offset_min: int | None
    zone: str
    site: str
    recorder: str
    note: str


def when_and_where(
    reading: ClockReading, path: str, *, timezone: str = "", pattern: str = ""
) -> WhenWhere:
    """Complete what a file says of its time and place by what the user says.

    Parameters
    ----------
    reading
    path
        Below the archive's folder, with `/` between names.
    timezone
        As in :func:`to_utc_ms`; also the zone of the clocks there where recorders run on UTC.
    pattern
        As in :func:`site_from`; its `site` and `recorder` come before those of the file.

    Raises
    ------
    ValueError
        If the zone or the pattern cannot be used.
    """
    started_ms, zone, note = to_utc_ms(reading, timezone or None)
    offset_min = None
    if started_ms is not None:
        offset_min = reading.utc_offset_min
        if timezone:
            offset_min = offset_minutes_at(started_ms, timezone)
        zone = f"{zone} ({'given' if reading.utc_offset_min is None else reading.source})"
    named = site_from(pattern, path) if pattern else {}
    return WhenWhere(
        started_ms=started_ms,
        utc_offset_min=offset_min,
        zone=zone,
        site=named.get("site") or reading.site,
        recorder=named.get("recorder") or reading.recorder,
        note=note or (reading.notes[-1] if reading.is_weak and reading.notes else ""),
    )


def check_clock(timezone: str, pattern: str) -> None:
    """See to it that a zone and a pattern can be used, where they are given.

    Raises
    ------
    ValueError
        One of them cannot; the message says how to write it.
    """
    if timezone:
        zone_of(timezone)
    if pattern and not {"site", "recorder"} & _compiled(pattern).groupindex.keys():
        raise ValueError(
            f"the pattern {pattern!r} has neither {{site}} nor {{recorder}}, which are what is "
            "read of a path; write it like {site}/{date}/*.wav"
        )


def reading_to_json(reading: ClockReading) -> str:
    """Write a reading as one line that :func:`reading_from_json` reads back."""
    local = reading.local and reading.local.isoformat(timespec="milliseconds")
    return json.dumps(asdict(reading) | {"local": local}, sort_keys=True)


def reading_from_json(text: str) -> ClockReading:
    """Read a reading that was written by :func:`reading_to_json`."""
    values = json.loads(text)
    values["local"] = values["local"] and datetime.fromisoformat(values["local"])
    return ClockReading(**values | {"notes": tuple(values["notes"])})


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
