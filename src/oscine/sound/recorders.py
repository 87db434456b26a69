"""What recorders write about a recording: one function for each place where they write it.

In come the texts of a file's headers, or its name; out comes what that one place says: start time,
zone, site, recorder, facts. `oscine.sound.clock` weighs the places against each other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from oscine.sound.archive import AUDIO_SUFFIXES
from oscine.sound.headers import Headers

_LONGEST_FACT = 200  # characters
_LONGEST_COMMENT = 2000  # AudioMoth's own end before 384; other programs put some text around them
POSSIBLE_YEARS = range(1900, 2200)
_YEARS_IN_NAMES = range(1990, 2101)
_YEARS_OF_AUDIOMOTHS = range(2016, 2061)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """A start time as one place states it.

    Attributes
    ----------
    local : datetime
        Wall-clock time, without zone.
    offset_min : int or None
        How far that clock is ahead of UTC, if stated.
    source : str
        The place, as `ClockReading.source` names it.
    weakness : str
        Why this is but a likely reading; empty where it is a sure one.
    may_be_an_hour_off : bool
        Whether the firmware may be one that misprints the hour.
    """

    local: datetime
    offset_min: int | None
    source: str
    weakness: str = ""
    may_be_an_hour_off: bool = False

    @property
    def utc(self) -> datetime | None:
        """The same in UTC, if the offset is known."""
        return None if self.offset_min is None else self.local - timedelta(minutes=self.offset_min)


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """All that one place says; empty where it is silent."""

    time: Stated | None = None
    site: str = ""
    recorder: str = ""
    facts: Mapping[str, str | float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


_OFFSET = re.compile(r"[ _-]?(?:Z|UTC|GMT|(?:UTC|GMT)?(?P<sign>[+-])(\d{1,2}?)(?::?(\d\d))?)")


def offset_minutes(text: str | None) -> int | None:
    """Read `Z`, `UTC`, `+10`, `-0400` or `UTC+5:30` as minutes ahead of UTC; None if it is none."""
    match = _OFFSET.fullmatch(text or "")
    if match is None:
        return None
    number = int(match[2] or 0) * 60 + int(match[3] or 0)
    if number > 14 * 60 or number % 15:
        return None
    return -number if match[1] == "-" else number


# Headers

_ISO = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ](?P<hour>\d\d):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?\s*"
    r"(?P<zone>Z|UTC|[+-]\d{1,2}:?\d\d|[+-]\d\d)?"
)
_DATE = re.compile(r"(?:19|20)\d\d(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?)?(?!\d)")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def guano(headers: Headers) -> Said:
    """Read the lines of a GUANO chunk; those without a name here are facts under their own."""
    lines = dict(headers.guano)

    def take(*keys: str) -> str:
        return next((lines.pop(key) for key in keys if key in lines), "")

    time = _iso("GUANO", take("Timestamp"))
    latitude, _, longitude = take("Loc Position").partition(" ")
    numbers = {
        "elevation_m": take("Loc Elevation"),
        "temperature_c": take("Temperature Ext", "Temperature Int", "Temperature"),
        "humidity_percent": take("Humidity"),
        "battery_v": take(*(key for key in headers.guano if key.endswith("Battery Voltage"))),
    }
    texts = {
        "gain": take(*(key for key in headers.guano if key.endswith("|Gain"))),
        "firmware": take("Firmware Version"),
    }
    maker = [take("Make"), take("Model"), take("Serial", "Serial Number")]
    site = take("WA|Song Meter|Prefix", "WA|Prefix", "Site", "User|Site", "NABat|Site Name")
    return Said(
        time=time,
        site=site,
        recorder=_recorder(*maker),
        facts=_texts(lines) | _texts(texts) | _numbers(numbers) | _position(latitude, longitude),
    )


# WGS84,44.1,N,63.1,W,120; the EMTouch writes signs instead of letters.
_WAMD_PLACE = re.compile(
    r",\s*(?P<latitude>-?[\d.]+)\s*(?:,\s*(?P<ns>[NS]))?\s*,\s*(?P<longitude>-?[\d.]+)"
    r"\s*(?:,\s*(?P<ew>[EW]))?(?:\s*,\s*(?P<elevation>-?[\d.]+))?"
)


def wamd(headers: Headers) -> Said:
    """Read the parts of a Wildlife Acoustics chunk."""
    parts = headers.wamd
    place = _WAMD_PLACE.search(parts.get(0x06, parts.get(0x14, "")))
    said = place.groupdict(default="") if place else dict.fromkeys(_WAMD_PLACE.groupindex, "")
    numbers = {
        "elevation_m": said["elevation"],
        "temperature_c": parts.get(0x16, parts.get(0x15, "")),
        "humidity_percent": parts.get(0x17, ""),
        "light": parts.get(0x18, ""),
    }
    texts = {"firmware": parts.get(0x03, ""), "microphone": parts.get(0x12, ""),
             "notes": parts.get(0x0A, "")}  # fmt: skip
    model = parts.get(0x01, "")
    return Said(
        time=_iso("WAMD", parts.get(0x05, "")),
        site=parts.get(0x04, ""),
        recorder=_recorder("Wildlife Acoustics" if model else "", model, parts.get(0x02, "")),
        facts=_texts(texts)
        | _numbers(numbers)
        | _position(said["ns"] + said["latitude"], said["ew"] + said["longitude"]),
    )


_AUDIOMOTH_TIME = re.compile(
    r"Recorded at (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))? "
    r"(?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d{4})(?: \((?P<zone>UTC[^)]{0,7})\))?"
)
_AUDIOMOTH_ID = re.compile(r"AudioMoth ([0-9A-F]{16})")
_SHARED_AUDIOMOTH_ID = "0FE081F80FE081F0"  # where the id stands in memory, not the id
_GAINS = ("low", "low-medium", "medium", "medium-high", "high")
_STOPS = {
    "change of switch position": "switch position change",
    "low battery voltage": "low voltage",
}
_AUDIOMOTH_FACTS = {
    "gain": r"\bat (?:gain setting )?(\d|(?:low|medium|high)(?:-medium|-high)?)[ -](?:gain|while)",
    "battery": r"battery (?:state )?was ((?:<|>|less than|greater than) ?\d\.\dV)",
    "battery_v": r"battery (?:state )?was (\d+\.\d+)V",
    "temperature_c": r"temperature was (-?\d+(?:\.\d+)?)C",
    "deployment": r"during deployment ([0-9A-Za-z]{16})",
    "microphone": r"using (external) microphone|by AudioMoth Live using (.+)\.",
    "filter": r"((?:Low|Band|High)-pass filter .*?kHz(?: and [\d.]+kHz)?)",
    "trigger": r"((?:Amplitude threshold|Frequency trigger) .*? trigger duration"
    r"|Amplitude threshold was \d+)",
    "stopped_by": r"Recording (?:stopped|cancelled before completion) (?:due to|by) ([^.]+)",
}


def audiomoth(headers: Headers) -> Said:
    """Read an AudioMoth's comment, in the wording of any firmware from 1.0 on.

    Every fact is looked for on its own, so that a new wording of one costs no other. Firmware 1.0
    writes no zone, as its clock can only be set to UTC.
    """
    comments = (headers.info.get("ICMT"), headers.bext.get("description"),
                headers.id3.get("COMM"), headers.vorbis.get("COMMENT"),
                headers.vorbis.get("DESCRIPTION"))  # fmt: skip
    artists = (headers.info.get("IART"), headers.id3.get("TPE1"), headers.vorbis.get("ARTIST"))
    known = (text for text in comments if text and ("AudioMoth" in text or "Recorded at" in text))
    comment = next(known, "")[:_LONGEST_COMMENT]
    match = _AUDIOMOTH_TIME.search(comment)
    facts: dict[str, str | float] = {}
    for name, pattern in _AUDIOMOTH_FACTS.items():
        if said := re.search(pattern, comment):
            value = next(group for group in said.groups() if group)[:_LONGEST_FACT]
            facts[name] = float(value) if name.endswith(("_v", "_c")) else value
    is_numbered = (gain := str(facts.get("gain", ""))).isdigit() and int(gain) < len(_GAINS)
    if is_numbered:
        facts["gain"] = _GAINS[int(gain)]
    if stop := facts.get("stopped_by"):
        facts["stopped_by"] = _STOPS.get(str(stop), stop)
    ids = [said[1] for text in (*artists, comment) if text and (said := _AUDIOMOTH_ID.search(text))]
    notes: tuple[str, ...] = ()
    if _SHARED_AUDIOMOTH_ID in ids[:1]:
        notes = (
            f"{ids.pop(0)} is no serial number: AudioMoths before firmware 1.2.1 all write it",
        )
    is_audiomoth = bool(ids or notes or "AudioMoth" in comment)
    if not is_audiomoth and match is None:
        return Said()
    time = None
    if match and (local := _moment(match)):
        offset_min = offset_minutes(match["zone"] or "UTC")
        # Firmware 1.2.2 prints a wrong hour in zones such as UTC+5:30 (github.com/ecoacoustics/
        # known-problems, OAD004); its file names are right.
        is_suspect = is_numbered and bool(offset_min and offset_min % 60)
        time = Stated(local=local, offset_min=offset_min, source="AudioMoth comment",
                      may_be_an_hour_off=is_suspect)  # fmt: skip
        if offset_min is None:
            notes += (f"the zone ({match['zone']}) of the AudioMoth comment is none",)
    elif is_audiomoth and comment:
        notes += ("the AudioMoth comment holds no time that can be read",)
    recorder = f"AudioMoth {ids[0]}" if ids else "AudioMoth" if is_audiomoth else ""
    return Said(time=time, recorder=recorder, facts=facts, notes=notes)


def frontier(headers: Headers) -> Said:
    """Read the Vorbis comments of Frontier Labs' BAR recorders."""
    tags = headers.vorbis
    latitude, longitude = [*_NUMBER.findall(tags.get("SENSORLOCATION", "")), "", ""][:2]
    texts = {
        "gain": tags.get("CHANNELGAIN1", ""),
        "firmware": re.sub(r"^(Firmware:)?\s*V?", "", tags.get("SENSORFIRMWAREVERSION", "")),
        "microphone": tags.get("MICROPHONETYPE1", ""),
        "recording_end": tags.get("RECORDINGEND", ""),
    }
    volts = re.search(r"([\d.]+) ?V", tags.get("BATTERYLEVEL", ""))
    serial = tags.get("SENSORUID", "")
    return Said(
        time=_iso("Frontier Labs comment", tags.get("RECORDINGSTART", "")),
        recorder=f"Frontier Labs {serial}" if serial else "",
        facts=_texts(texts)
        | _numbers({"battery_v": volts[1] if volts else ""})
        | _position(latitude, longitude),
    )


def bwf(headers: Headers) -> Said:
    """Read the origination of a Broadcast Wave file: a local time, its zone unsaid."""
    fields = headers.bext
    date = re.sub(r"[_:/. ]", "-", fields.get("date", ""))
    time = re.sub(r"[_\-/. ]", ":", fields.get("time", ""))
    said = _tag("BWF", f"{date} {time}")
    return replace(
        said, facts={**_texts({"originator": fields.get("originator", "")}), **said.facts}
    )


def info_tag(headers: Headers) -> Said:
    """Read the creation date of RIFF INFO."""
    return _tag("RIFF INFO", headers.info.get("ICRD", ""))


def vorbis_tag(headers: Headers) -> Said:
    """Read the DATE of Vorbis comments."""
    return _tag("Vorbis comment", headers.vorbis.get("DATE", ""))


def id3_tag(headers: Headers) -> Said:
    """Read the recording time of ID3: TDRC (2.4), or TYER, TDAT and TIME (2.3)."""
    tags = headers.id3
    day, clock = tags.get("TDAT", ""), tags.get("TIME", "")
    date = tags.get("TYER", "") + (f"-{day[2:]}-{day[:2]}" if len(day) == 4 else "")
    return _tag("ID3", tags.get("TDRC") or f"{date} {clock[:2]}:{clock[2:]}".strip(" :"))


def _tag(source: str, text: str) -> Said:
    """Read a tag that may hold a time, or but a date: to the day (or year) and no start time."""
    time = _iso(source, text)
    date = None if time else _DATE.match(text)
    return Said(time=time, facts={"date": date[0]} if date else {})


def _iso(source: str, text: str) -> Stated | None:
    match = _ISO.search(text)
    local = _moment(match) if match else None
    if match is None or local is None:
        return None
    return Stated(local=local, offset_min=offset_minutes(match["zone"]), source=source)


def _moment(match: re.Match[str], century: int = 0) -> datetime | None:
    """Make a time of the named groups of a match, to the millisecond; None if there is none."""
    said = match.groupdict()
    year, month, day = int(said["year"]), int(said["month"]), int(said["day"])
    milliseconds = int((said.get("fraction") or "0").ljust(3, "0")[:3])
    try:
        hour, minute, second = int(said["hour"]), int(said["minute"]), int(said["second"] or 0)
        moment = datetime(century + year, month, day, hour, minute, second, 1000 * milliseconds)
    except ValueError:
        return None
    return moment if moment.year in POSSIBLE_YEARS else None


def _recorder(make: str, model: str, serial: str) -> str:
    """Join what is told of the recorder, each word once (`Wildlife Acoustics SM4 S4A01234`)."""
    # An AudioMoth is named as its comment names it, whatever the firmware.
    if model == "AudioMoth" or model.startswith(make):
        make = ""
    if serial in model.split():
        serial = ""
    return " ".join(part for part in (make, model, serial) if part)


def _texts(said: Mapping[str, str]) -> dict[str, str | float]:
    return {key: value.strip()[:_LONGEST_FACT] for key, value in said.items() if value.strip()}


def _numbers(said: Mapping[str, str]) -> dict[str, str | float]:
    found = ((key, _NUMBER.search(value)) for key, value in said.items())
    return {key: float(match[0]) for key, match in found if match}


def _position(latitude: str, longitude: str) -> dict[str, str | float]:
    """Read degrees, with a sign or after a letter (`S27.38`)."""
    degrees = []
    for text, limit in ((latitude, 90), (longitude, 180)):
        match = re.fullmatch(r"([NSEW]?)([+-]?\d+(?:\.\d+)?)", text.strip())
        value = float(match[2]) * (-1 if match[1] in ("S", "W") else 1) if match else limit + 1
        if abs(value) > limit:
            return {}
        degrees.append(value)
    return {"latitude": degrees[0], "longitude": degrees[1]}


# File names

_STAMP = re.compile(
    r"""(?<!\d)
    (?P<year>\d{4})(?P<d>[-_.]?)(?P<month>\d\d)(?P=d)(?P<day>[ \d]\d)
    (?P<between>[T_$ .-]{1,3}|(?=\d{6}))
    (?P<hour>\d\d)(?P<t>[-_.:h]?)(?P<minute>\d\d)(?P=t)(?P<second>\d\d)
    (?:[._](?P<fraction>\d{6}|\d{3})(?!\d))?
    (?P<zone>[ _-]?(?:UTC|GMT)(?:[+-]\d{1,2}(?::?\d\d)?)?(?![A-Za-z\d])
        |[+-]\d\d:?\d\d(?![\d.])|\+\d\d(?![\d.:])|Z(?![A-Za-z\d]))?
    (?P<trigger>T(?![A-Za-z\d]))?
    (?!\d)""",
    re.VERBOSE,
)
_SHORT_STAMP = re.compile(
    r"(?<!\d)(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)[-_]"
    r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?!\d)"
)
_SOUNDTRAP = re.compile(
    r"(?P<serial>\d{3,10})\.(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)"
    r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?:[._].*)?"
)
_DATE_ALONE = re.compile(r"(?<!\d)(\d{4})([-_.]?)(\d\d)\2(\d\d)(?!\d)")
_PLACE_IN_NAME = re.compile(
    r"[\[_ ](?P<lat>[+-]?\d{1,2}\.\d+)(?: |(?=[+-]))(?P<lon>[+-]?\d{1,3}\.\d+)(?:\]|_|$)"
)
_SONG_METER = re.compile(r"(?:S4[A-Z]|SM[234A-Z]|2M[A-Z])\d{5}")
_AUDIOMOTH_PREFIX = re.compile(r"24[0-9A-F]{6}(?:[0-9A-F]{8})?")
_FRONTIER_PREFIX = re.compile(r"(?P<serial>\d{4,8})(?:_(?P<site>.+))?")
_NO_SITE = re.compile(r"(?:rec|recording|audio|file|track|untitled|sound)[\W\d_]*", re.IGNORECASE)


def file_name(name: str) -> Said:
    """Read a file name.

    Known are `YYYYMMDD_HHMMSS` with the usual separators, zones and milliseconds, behind any prefix
    (AudioMoth, Song Meter, Swift, BAR-LT, PAMGuard, Loggerhead, Chorus, Raven), AudioMoth's seconds
    since 1970 in hexadecimal (UTC), and SoundTrap's `serial.YYMMDDHHMMSS`. Where no zone stands in
    the name none is known: all of these recorders can be set to UTC as well as to local time. A
    bare `YYMMDD-HHMMSS` is a weak reading. The text before the time is the site, unless it is a
    serial number.

    Parameters
    ----------
    name
        Without its folder.
    """
    stem, dot, suffix = name.rpartition(".")
    stem = stem if dot and f".{suffix.lower()}" in AUDIO_SUFFIXES else name
    said = _stamped(stem)
    if said is None and (match := _SOUNDTRAP.fullmatch(stem)):
        said = _named(match, recorder=f"SoundTrap {match['serial']}", century=2000)
    said = said or _hexadecimal(stem)
    if said is None:
        short = [match for match in _SHORT_STAMP.finditer(stem) if _moment(match, 2000)]
        if len(short) == 1:
            weakness = "the six digits of the date in the file name are read as year, month, day"
            said = _named(short[0], site=_site(stem[: short[0].start()]), century=2000,
                          weakness=weakness)  # fmt: skip
    if said is None:
        said = Said(facts=_date_alone(stem), notes=_unset(stem))
    place = _PLACE_IN_NAME.search(stem)
    position = _position(place["lat"], place["lon"]) if place else {}
    return Said(time=said.time, site=said.site, recorder=said.recorder,
                facts={**said.facts, **position}, notes=said.notes)  # fmt: skip


def _stamped(stem: str) -> Said | None:
    matches = [match for match in _STAMP.finditer(stem) if int(match["year"]) in _YEARS_IN_NAMES]
    times = [(match, local) for match in matches if (local := _moment(match))]
    if not times:
        return None
    match, local = times[0]
    notes: tuple[str, ...] = ()
    if any(other != local for _, other in times):
        notes = ("the file name holds two times: the first counts",)
    facts: dict[str, str | float] = {"trigger": "T in the file name"} if match["trigger"] else {}
    before, after = stem[: match.start()].strip("_-. "), stem[match.end() :]
    before = before.removesuffix("_0+1")  # both channels of a Song Meter
    site, recorder = _site(before), ""
    offset_min = offset_minutes(match["zone"])
    after = re.split(r"[\[+]|_-?\d+\.\d|_$", after)[0].strip("_ ")
    if _SONG_METER.fullmatch(before):
        site, recorder = "", f"Wildlife Acoustics {before}"
    elif _AUDIOMOTH_PREFIX.fullmatch(before):
        site, recorder = "", f"AudioMoth {before}"
    elif match["between"] == "T" and offset_min is not None and match["zone"] != "Z" and after:
        # Frontier Labs: [serial_][site_]time_schedule, or time_site; REC is the schedule's default.
        if prefix := _FRONTIER_PREFIX.fullmatch(before):
            site, recorder = prefix["site"] or "", f"Frontier Labs {prefix['serial']}"
        elif not before and after.lower() != "rec" and not after.isdigit():
            site = after
    return _named(match, site=site, recorder=recorder, facts=facts, notes=notes)


def _hexadecimal(stem: str) -> Said | None:
    if not re.fullmatch(r"[0-9A-F]{8}T?", stem):  # small letters are other programs' hashes
        return None
    local = datetime(1970, 1, 1) + timedelta(seconds=int(stem[:8], 16))
    if local.year not in _YEARS_OF_AUDIOMOTHS:
        return None
    weakness = "a file name of eight digits is read as AudioMoth's seconds in hexadecimal"
    time = Stated(local=local, offset_min=0, source="file name",
                  weakness=weakness if stem[:8].isdigit() else "")  # fmt: skip
    return Said(time=time)


def _named(
    match: re.Match[str],
    *,
    site: str = "",
    recorder: str = "",
    facts: Mapping[str, str | float] | None = None,
    notes: tuple[str, ...] = (),
    century: int = 0,
    weakness: str = "",
) -> Said | None:
    local = _moment(match, century)
    if local is None:
        return None
    offset_min = offset_minutes(match.groupdict().get("zone"))
    time = Stated(local=local, offset_min=offset_min, source="file name", weakness=weakness)
    return Said(time=time, site=site, recorder=recorder, facts=facts or {}, notes=notes)


def _site(before: str) -> str:
    before = before.strip("_-. ([")
    return "" if _NO_SITE.fullmatch(before) else before


def _date_alone(stem: str) -> dict[str, str | float]:
    for match in _DATE_ALONE.finditer(stem):
        try:
            date = datetime(int(match[1]), int(match[3]), int(match[4]))
        except ValueError:
            continue
        if date.year in _YEARS_IN_NAMES:
            return {"date": date.date().isoformat()}
    return {}


def _unset(stem: str) -> tuple[str, ...]:
    years = {match["year"] for match in _STAMP.finditer(stem) if _moment(match)}
    unset = sorted(years & {"1970", "1980"})
    return tuple(f"the file name says {year}: the clock was never set" for year in unset)
