r"""Stretches of recordings written as Raven and Audacity read them, and the keys that lead back.

In come events with what is said of them; out come the lines of a selection table or of labels. A
key names an event of a workspace by its number and by what it is, so that a row that comes back in
a label table (`oscine.sound.annotations` reads them) counts for its event wherever its box went.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oscine.sound.archive import shown
from oscine.sound.recording import Interval
from oscine.workspace.catalogue import EventRow

OWN_PREFIX = "Oscine "
"""How columns of a selection table begin that Oscine writes and that hold no label."""
EVENT_COLUMN = "Oscine Event"
TYPE_COLUMN = "Sound Type"
NO_TYPE = -1
"""Stands for the sound type of events in none, for programs that take no empty cells."""
RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Begin Path",
    "Begin File",
    "File Offset (s)",
)
"""What Raven knows by itself; columns of one's own follow."""
AUDACITY_TAG = re.compile(r"(?:^|\s+)#(?P<key>\d+-[0-9a-f]{8})$")
"""How the text of an Audacity label ends that Oscine wrote."""
_KEY = re.compile(r"(\d+)-[0-9a-f]{8}")
_BREAKS = re.compile(r"[\t\r\n]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """A stretch of a recording, as a row of a table.

    Attributes
    ----------
    file : Path
    duration_s : float
        Of the recording.
    channel : int
        From 0; -1 where the channels were mixed.
    interval : Interval
    low_hz, high_hz : float
    said : tuple of str
        What stands in the columns of one's own; in Audacity, the one text.
    """

    file: Path
    duration_s: float
    channel: int
    interval: Interval
    low_hz: float
    high_hz: float
    said: tuple[str, ...]

    @property
    def band_hz(self) -> tuple[float, float]:
        """Its band as far as the recording's rate goes: Raven refuses a table that goes beyond."""
        high_hz = min(self.high_hz, self.interval.sample_rate_hz / 2)
        return (self.low_hz if self.low_hz < high_hz else 0.0), high_hz


def event_key(event: EventRow, content_key: str) -> str:
    """Return a key that names an event in a table, such as ``13-9f3a21c4``.

    Parameters
    ----------
    event : EventRow
    content_key : str
        Of its recording. An event that has this number in another workspace, or after the archive
        was indexed otherwise, has another key.
    """
    what = f"{content_key}:{event.start_sample}:{event.stop_sample}"
    digest = hashlib.blake2b(what.encode(), digest_size=4).hexdigest()
    return f"{event.event_id}-{digest}"


def event_number(key: str) -> int | None:
    """Return the number of the event that a key names; None where the text is no key."""
    match = _KEY.fullmatch(key)
    return int(match[1]) if match else None


def raven_lines(selections: Iterable[Selection], columns: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a selection table of Raven, which may span several files.

    Opened as a "sound selection table", Raven finds each sound by ``Begin Path`` and
    ``File Offset``; opened in a window, by ``Begin Time``, which counts through the files in the
    order in which the table names them first. Channels are counted from 1. There are as many
    decimals as give back the same sample at any rate that is in use.

    Parameters
    ----------
    selections : iterable of Selection
    columns : sequence of str
        Names of the columns of what is said.
    """
    yield _line(*RAVEN_COLUMNS, *columns)
    names: dict[Path, tuple[str, str]] = {}
    begins_s: dict[str, float] = {}  # by what is written: files whose names come out alike are one
    end_s = 0.0
    for number, one in enumerate(selections, 1):
        if one.file not in names:
            names[one.file] = one_line(shown(one.file)), one_line(shown(Path(one.file.name)))
        path, name = names[one.file]
        if path not in begins_s:
            begins_s[path] = end_s
            end_s += one.duration_s
        begin_s = begins_s[path]
        low_hz, high_hz = one.band_hz
        yield _line(
            str(number),
            "Spectrogram 1",
            str(max(0, one.channel) + 1),
            f"{begin_s + one.interval.start_s:.9f}",
            f"{begin_s + one.interval.stop_s:.9f}",
            repr(low_hz),
            repr(high_hz),
            path,
            name,
            f"{one.interval.start_s:.9f}",
            *map(one_line, one.said),
        )


def audacity_lines(selections: Iterable[Selection]) -> Iterator[str]:
    """Yield the lines of a label file of Audacity: of each label one for time, one for its band."""
    for one in selections:
        times = f"{one.interval.start_s:.9f}", f"{one.interval.stop_s:.9f}"
        yield _line(*times, *map(one_line, one.said))
        yield _line("\\", *map(repr, one.band_hz))


def _line(*cells: str) -> str:
    return "\t".join(cells) + "\n"


def one_line(text: str) -> str:
    """Return a text as it stands in tables in which nothing is quoted, so that no line breaks."""
    return _BREAKS.sub(" ", text)
