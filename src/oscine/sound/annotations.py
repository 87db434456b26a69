r"""What people said of recordings: label tables, their store, and the events they speak of.

In come CSV tables, Raven selection tables and Audacity labels, and files of a few other programs
where crowsetta is installed; out come annotations, the recordings and stretches they belong to,
and the label of each event. What could not be used is always named. This is the only room that
opens `labels.sqlite`; evaluation calls it, and nothing that learns does.
"""

from __future__ import annotations

import csv
import io
import json
import math
import posixpath
import re
import sqlite3
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from oscine.sound.archive import AUDIO_SUFFIXES, shown
from oscine.sound.audio import UnreadableAudio, open_audio
from oscine.sound.recording import Interval
from oscine.sound.selections import (
    AUDACITY_TAG,
    EVENT_COLUMN,
    NO_TYPE,
    OWN_PREFIX,
    TYPE_COLUMN,
    event_key,
    event_number,
    one_line,
)
from oscine.sound.tables import CLIPS, EVENTS, without_apostrophe
from oscine.workspace.catalogue import HEARD, EventRow, RecordingRow
from oscine.workspace.database import Database

SCHEMA_VERSION = 3

END_TOLERANCE_S = 0.1
"""A label may end this much after its recording: players and taggers round durations."""
NAMED = 5
"""Recordings that a sentence names."""
EXAMPLES = 2
"""Contradictions that a sentence shows."""
COARSEST_S = 0.01
"""Times of Raven that are written more coarsely than this count as if written to this."""

_UNDERSTOOD = (
    "a CSV table with a column `path` (and, for parts of recordings, `start_s` and `stop_s`), "
    "a Raven selection table with `Begin Time (s)` and `End Time (s)`, separated by tabs, "
    "Audacity labels (start, stop and text, separated by tabs), "
    "or a file that ends in .TextGrid, .phn, .wrd or .xml"
)
# Crowsetta's names of the formats that a file's ending gives away. Its others are those read here
# already, CSV without the recording, and files of MATLAB.
_CROWSETTA_FORMATS = {
    ".textgrid": "textgrid",
    ".phn": "timit",
    ".wrd": "timit",
    ".xml": "birdsong-recognition-dataset",
}
_COUNTED_IN_SAMPLES = ("timit", "birdsong-recognition-dataset")
_CSV_EVENT = "oscine_event"
"""The column by which a CSV table is known as one that Oscine wrote."""
_MEASURES = frozenset(
    column.name for table in (EVENTS, CLIPS) for column in table if not column.is_label
)
_VECTOR = re.compile(r"v\d+")
_RAVEN_TIMES = ("Begin Time (s)", "End Time (s)")
_RAVEN_BAND = ("Low Freq (Hz)", "High Freq (Hz)")
_RAVEN_FILES = ("Begin Path", "Begin File")  # the one that says more first
_RAVEN_OFFSET = "File Offset (s)"
_RAVEN_CHANNEL = "Channel"
_MOST_CHANNELS = 65_535  # of a WAV
_RAVEN_OTHER = ("Selection", "View", _RAVEN_CHANNEL)
_TABLE_ENDING = re.compile(r"(\.Table\.\d+)?(\.selections)?\.\w+$", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")

_SCHEMA = """
CREATE TABLE annotations (
    file TEXT NOT NULL,
    row INTEGER NOT NULL,
    path TEXT NOT NULL,
    start_s REAL,
    stop_s REAL,
    low_hz REAL,
    high_hz REAL,
    labels TEXT NOT NULL,
    event TEXT NOT NULL,
    channel INTEGER,
    PRIMARY KEY (file, row)
) STRICT;
"""

_Record = TypeVar("_Record")
_SpansByBits: TypeAlias = dict[int, list[tuple[int, int, int]]]
"""Sorted (start, stop, number) of labels, by the bits of their length: it is below 2 ** bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """What a person said of a recording, or of a part of it.

    Attributes
    ----------
    table : str
        The file it comes from, as it was given.
    row : int
        The line of that file on which it begins; the first line is 1. In a file that crowsetta
        reads, the number of the label.
    path : str
        Of the recording, as the table has it.
    start_s, stop_s : float or None
        The part of the recording; both None for the whole of it.
    low_hz, high_hz : float or None
        The band; None where it is open on that side.
    labels : mapping of str to str
        Column to value; empty values are left out.
    event : str
        The key of the event that Oscine wrote the row for; empty where there is none.
    channel : int or None
        Of the recording, from 0; None where the table names none.
    """

    table: str
    row: int
    path: str
    start_s: float | None
    stop_s: float | None
    low_hz: float | None
    high_hz: float | None
    labels: Mapping[str, str]
    event: str = ""
    channel: int | None = None

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return _place(self.table, self.row)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotationTable:
    """What one file of labels says.

    Attributes
    ----------
    file : str
        As it was given.
    format : str
        ``csv``, ``raven``, ``audacity``, or crowsetta's name of it.
    columns : tuple of str
        All columns that hold labels, in the order of the file.
    annotations : tuple of Annotation
        In the order of the file.
    refused : int
        Rows beside these, that could not be used.
    problems : tuple of str
        These, each with the file's name, line and reason, and what is doubtful of the whole file.
    """

    file: str
    format: str
    columns: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    refused: int
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedAnnotation:
    """An annotation and what it speaks of.

    Attributes
    ----------
    annotation : Annotation
    recording_id : int
        Where the channels of a file are kept apart, of the channel of the event that it was written
        for, else of the one that it names, else of the first.
    interval : Interval
        At the recording's own rate, within it, never empty.
    event_id : int or None
        The event that it was written for.
    """

    annotation: Annotation
    recording_id: int
    interval: Interval
    event_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Annotations that belong to recordings, and what stood in the way.

    Attributes
    ----------
    annotations : tuple of PlacedAnnotation
        In the order given.
    problems : tuple of str
    file_of : mapping of int to int
        Of each recording the one that stands for its file: its first channel.
    """

    annotations: tuple[PlacedAnnotation, ...]
    problems: tuple[str, ...]
    file_of: Mapping[int, int]

    @cached_property
    def spoken(self) -> _Spoken:
        """What is said of events, of parts of files, and of whole files; sorted once."""
        said = _Spoken()
        for one in self.annotations:
            file = self.file_of[one.recording_id]
            if one.event_id is not None:
                said.of_events[one.event_id].append(one.annotation)
            elif one.annotation.start_s is None:
                said.of_wholes[file].append(one.annotation)
            else:
                start, stop = one.interval.start, one.interval.stop
                spans = said.of_parts[file].setdefault((stop - start).bit_length(), [])
                spans.append((start, stop, len(said.parts)))
                said.parts.append(one)
        for spans_by_bits in said.of_parts.values():
            for spans in spans_by_bits.values():
                spans.sort()
        return said


@dataclass(frozen=True, slots=True)
class _Spoken:
    """Rows of labels, as they are looked up for events.

    Attributes
    ----------
    of_events : mapping of int to list of Annotation
        By event, those that were written for it.
    of_wholes : mapping of int to list of Annotation
        By file, those of all of it.
    parts : list of PlacedAnnotation
        Of parts of files.
    of_parts : mapping of int to _SpansByBits
        By file, where in ``parts`` they stand: by length, then by start, so that one long label
        does not make every label after it a candidate.
    """

    of_events: defaultdict[int, list[Annotation]] = field(default_factory=lambda: defaultdict(list))
    of_wholes: defaultdict[int, list[Annotation]] = field(default_factory=lambda: defaultdict(list))
    parts: list[PlacedAnnotation] = field(default_factory=list)
    of_parts: defaultdict[int, _SpansByBits] = field(default_factory=lambda: defaultdict(dict))


# Reading tables


def read_annotations(file: Path) -> AnnotationTable:
    r"""Read a table of labels, whatever its format.

    Text is UTF-8, with or without a byte order mark. The formats are

    - CSV, separated by commas, semicolons or tabs, with a column ``path`` and, as far as they
      are there, ``start_s`` and ``stop_s`` (or ``onset_s`` and ``offset_s``), ``low_hz`` and
      ``high_hz``. All other columns that have a name hold labels.
    - Raven selection tables. The recording is that of ``Begin Path`` or ``Begin File``, and the
      time in it that of ``File Offset (s)``, where these are there; else the recording is called
      like the table. A row whose ``Begin Time (s)`` contradicts its ``File Offset (s)``, as where a
      spreadsheet changed one of them, is left out: in a table of one recording they must be the
      same, in one of several differ by the same in all rows of a recording. ``Channel`` counts
      from 1, and says where to listen where channels are kept apart. A selection that is
      listed once a view is counted once. One that was added in Raven names no file: it is in the
      file of the others, where they are all in one.
    - Audacity labels, with or without lines of frequencies. The recording is called like the
      table, and the label column ``label``.
    - Through crowsetta (``oscine[crowsetta]``), by the ending of the file: ``.TextGrid`` of
      Praat (stretches, not points), ``.phn`` and ``.wrd`` of TIMIT, and ``.xml`` of the data
      set BirdsongRecognition. The label column is called ``label``; the recording as the file
      has it, or else like the file. All but Praat count in samples: the recording must lie
      beside the file (for ``.xml``, in a folder ``Wave`` there), for its rate.

    Tables that `oscine export` wrote say which event a row was written for; what it measured is
    no label.

    Parameters
    ----------
    file : Path

    Returns
    -------
    AnnotationTable
        Label values and column names are stripped, and composed (Unicode NFC), so that what looks
        the same is the same.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not UTF-8, of no known format, or two of its columns mean the same; or it needs
        crowsetta, and that is not installed or cannot read it.
    """
    table = shown(file)
    crowsetta_format = _crowsetta_format(table)
    if crowsetta_format:
        return _read_by_crowsetta(table, _name_of_recording(file), file, crowsetta_format)
    text = _text(file)
    cells = _first_row(text, "\t", quoted=False)
    if set(_RAVEN_TIMES) <= set(cells):
        return _read_raven(table, _name_of_recording(file), text)
    if len(cells) > 1 and all(_is_like_a_number(cell) for cell in cells[:2]):
        return _read_audacity(table, _name_of_recording(file), text)
    for delimiter in ",\t;":
        if "path" in _first_row(text, delimiter, quoted=True):
            return _read_csv(table, text, delimiter)
    raise ValueError(f"{table} is no table of labels that is understood: give {_UNDERSTOOD}")


def _crowsetta_format(table: str) -> str | None:
    return _CROWSETTA_FORMATS.get(posixpath.splitext(table)[1].lower())


def _place(table: str, row: int) -> str:
    """Say where an annotation stands, for people."""
    counted = "label" if _crowsetta_format(table) else "line"
    return f"{posixpath.basename(table)}, {counted} {row}"


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{shown(file)} is not UTF-8 text (at byte {error.start}): save it again as UTF-8 (in "
            "a spreadsheet: as 'CSV UTF-8'), lest names with accents be misread"
        ) from error


def _name_of_recording(file: Path) -> str:
    return _TABLE_ENDING.sub("", shown(Path(file.name)))


def _first_row(text: str, delimiter: str, *, quoted: bool) -> list[str]:
    """Return the first row that holds something; no cells where there is none."""
    _, cells = next(_rows(text, delimiter, quoted=quoted), (1, []))
    return [] if isinstance(cells, csv.Error) else cells


def _is_like_a_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _read_csv(table: str, text: str, delimiter: str) -> AnnotationTable:
    header, records, problems = _records(table, text, delimiter, quoted=True)
    start = _one_of(table, header, "start_s", "onset_s")
    stop = _one_of(table, header, "stop_s", "offset_s")
    is_own = _CSV_EVENT in header
    columns = _label_columns(header, ("path", start, stop, "low_hz", "high_hz"))
    if is_own:
        measures = {*_MEASURES, *filter(_VECTOR.fullmatch, header)}
        columns = tuple(column for column in columns if column not in measures)

    def parse(line: int, cells: Mapping[str, str]) -> Annotation:
        labels = {column: cells[column] for column in columns}
        if is_own:
            labels = {column: without_apostrophe(text) for column, text in labels.items()}
        return _annotation(
            table,
            line,
            cells["path"],
            times_s=(_number(cells, start), _number(cells, stop)),
            band_hz=(_number(cells, "low_hz"), _number(cells, "high_hz")),
            labels=labels,
            event=cells.get(_CSV_EVENT, ""),
        )

    return _parsed(table, "csv", columns, records, problems, parse)


def _read_raven(table: str, own_recording: str, text: str) -> AnnotationTable:
    header, records, problems = _records(table, text, "\t", quoted=False)
    known = (*_RAVEN_TIMES, *_RAVEN_BAND, *_RAVEN_FILES, _RAVEN_OFFSET, *_RAVEN_OTHER)
    columns = _label_columns(header, known)
    columns = tuple(column for column in columns if not column.startswith(OWN_PREFIX))
    is_own = EVENT_COLUMN in header
    names_files = any(column in header for column in _RAVEN_FILES)
    files = {_raven_file(cells) for _, cells in records} - {""}
    only_file = own_recording if not names_files else files.pop() if len(files) == 1 else ""

    def file_of(cells: Mapping[str, str]) -> str:
        return _raven_file(cells) or only_file

    selections = _once(records)
    begins = _FileBegins.of((file_of(cells), cells) for _, cells in selections)

    def parse(line: int, cells: Mapping[str, str]) -> Annotation:
        times_s = (_number(cells, _RAVEN_TIMES[0]), _number(cells, _RAVEN_TIMES[1]))
        if None in times_s:
            raise ValueError(f"it has no {_RAVEN_TIMES[times_s.index(None)]!r}")
        return _annotation(
            table,
            line,
            file_of(cells),
            times_s=begins.within_file(times_s, file_of(cells), cells),
            band_hz=(_number(cells, _RAVEN_BAND[0]), _number(cells, _RAVEN_BAND[1])),
            labels={
                column: cells[column]
                for column in columns
                if not (is_own and column == TYPE_COLUMN and cells[column] == str(NO_TYPE))
            },
            event=cells.get(EVENT_COLUMN, ""),
            channel=_raven_channel(cells),
        )

    read = _parsed(table, "raven", columns, selections, problems, parse)
    named = (f"{posixpath.basename(table)}: {problem}" for problem in begins.warnings())
    return replace(read, problems=(*named, *read.problems))


def _raven_file(cells: Mapping[str, str]) -> str:
    return cells.get(_RAVEN_FILES[0]) or cells.get(_RAVEN_FILES[1]) or ""


def _raven_channel(cells: Mapping[str, str]) -> int | None:
    """Return the channel of a row from 0, for Raven counts from 1; None where it names none."""
    # Other programs write what they like there; what the row says counts all the same.
    with suppress(ValueError):
        number = _number(cells, _RAVEN_CHANNEL)
        if number is not None and 1 <= number <= _MOST_CHANNELS:
            return int(number) - 1
    return None


@dataclass(frozen=True, slots=True)
class _FileBegins:
    """When the files of a Raven table begin, by ``Begin Time`` without ``File Offset``.

    Raven counts ``Begin Time`` from the first of the files it had open, so the two differ by the
    same in all rows of a file, and by nothing in a table of one. It keeps both when a box is moved;
    who moves one in a spreadsheet may change ``Begin Time`` alone, and then nobody knows which is
    meant.

    Attributes
    ----------
    begins_s : mapping of str to (float or None)
        Path to what most rows of the file say; None where no such majority is.
    n_rows : mapping of str to int
        Rows of the file that have both.
    is_of_one : bool
        Whether the table is of one file.
    """

    begins_s: Mapping[str, float | None]
    n_rows: Mapping[str, int]
    is_of_one: bool

    @classmethod
    def of(cls, rows: Iterable[tuple[str, Mapping[str, str]]]) -> _FileBegins:
        """Hold the rows of each file against each other."""
        found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        paths: set[str] = set()
        for path, cells in rows:
            paths |= {path} - {""}
            try:
                start_s, offset_s = _number(cells, _RAVEN_TIMES[0]), _number(cells, _RAVEN_OFFSET)
            except ValueError:  # which is said of the row itself
                continue
            if path and start_s is not None and offset_s is not None:
                found[path].append((start_s - offset_s, _written_to_s(cells)))
        begins_s: dict[str, float | None] = {}
        for path, pairs in found.items():
            # What most rows agree on is the median too.
            begin_s = sorted(begin_s for begin_s, _ in pairs)[(len(pairs) - 1) // 2]
            agree = sum(abs(one_s - begin_s) <= 2 * within_s for one_s, within_s in pairs)
            begins_s[path] = begin_s if 2 * agree > len(pairs) else None
        if len(paths) == len(found) == 1:
            ((path, pairs),) = found.items()
            # A table of one file may still be of a later one of several that were open.
            is_later = len(pairs) > 1 and all(
                one_s > within_s and abs(one_s - (begins_s[path] or 0.0)) <= 2 * within_s
                for one_s, within_s in pairs
            )
            begins_s[path] = begins_s[path] if is_later else 0.0
        n_rows = {path: len(pairs) for path, pairs in found.items()}
        return cls(begins_s, n_rows, is_of_one=len(paths) == 1)

    def within_file(
        self, times_s: tuple[float | None, float | None], path: str, cells: Mapping[str, str]
    ) -> tuple[float | None, float | None]:
        """Return the times of a row from the start of its file.

        Raises
        ------
        ValueError
            Its two times contradict each other.
        """
        start_s, stop_s = times_s
        offset_s = _number(cells, _RAVEN_OFFSET)
        if not path or offset_s is None or start_s is None or stop_s is None:
            return times_s
        begin_s, within_s = self.begins_s[path], _written_to_s(cells)
        is_before = start_s - offset_s < -within_s
        # Where the file does not begin at 0, that is as coarse itself.
        within_s *= 2 if begin_s else 1
        if begin_s is None or is_before or abs(start_s - offset_s - begin_s) > within_s:
            if is_before or begin_s == 0:
                hint = "write the time from the start of the recording in both"
            elif begin_s is None:
                hint = "the rows of this recording disagree on where it begins among the others"
            else:
                hint = f"by most rows of this recording they differ by {begin_s:g} s"
            raise ValueError(
                f"{_RAVEN_TIMES[0]} is {start_s:g} and {_RAVEN_OFFSET} {offset_s:g}, which do not "
                f"go together, so that it is not known which is meant: {hint} (Raven changes both "
                "when a box is moved, a spreadsheet one)"
            )
        return offset_s, offset_s + (stop_s - start_s)

    def warnings(self) -> list[str]:
        """Name a table of one file that seems to be a later one of several."""
        if not self.is_of_one:
            return []
        return [
            f"in all {self.n_rows[path]} rows {_RAVEN_TIMES[0]} is {begin_s:g} s more than "
            f"{_RAVEN_OFFSET}, as where Raven had other files open before {path!r}: "
            f"{_RAVEN_OFFSET} counts; if the boxes were moved, write the same in both"
            for path, begin_s in self.begins_s.items()
            if begin_s
        ]


def _written_to_s(cells: Mapping[str, str]) -> float:
    """Return what times of Raven may differ by, from the decimals that they are written with.

    A time that counts through a year of files is no number to the nanosecond.
    """
    steps_s = (
        min(COARSEST_S, 10.0 ** -len(cells[column].partition(".")[2]))
        for column in (_RAVEN_TIMES[0], _RAVEN_OFFSET)
    )
    return sum(steps_s) / 2 + 1e-9 + 2 * math.ulp(float(cells[_RAVEN_TIMES[0]]))


def _once(records: Sequence[tuple[int, dict[str, str]]]) -> list[tuple[int, dict[str, str]]]:
    """Leave out the waveform's row of a selection that has another view's row too."""
    columns = ("Selection", *_RAVEN_TIMES, *_RAVEN_FILES)

    def selection(cells: Mapping[str, str]) -> tuple[str | None, ...]:
        return tuple(cells.get(column) for column in columns)

    def is_waveform(cells: Mapping[str, str]) -> bool:
        return cells.get("View", "").startswith("Waveform")

    seen = {selection(cells) for _, cells in records if not is_waveform(cells)}
    return [
        (line, cells)
        for line, cells in records
        if not (is_waveform(cells) and selection(cells) in seen)
    ]


def _read_audacity(table: str, own_recording: str, text: str) -> AnnotationTable:
    names = ("start", "stop", "low frequency", "high frequency")
    records: list[tuple[int, dict[str, str]]] = []
    problems: list[tuple[int, str]] = []
    for line, cells in _rows(text, "\t", quoted=False):
        if isinstance(cells, csv.Error):
            problems.append((line, _unreadable(cells)))
        elif cells[0] != "\\":
            label = " ".join(cells[2:])
            records.append((line, {**dict(zip(names, cells[:2], strict=False)), "label": label}))
        elif records and len(cells) == 3:
            records[-1][1].update(zip(names[2:], cells[1:], strict=True))
        else:
            problems.append((line, "a line of frequencies holds two, and follows its label"))

    def parse(line: int, cells: Mapping[str, str]) -> Annotation:
        times_s = (_number(cells, "start"), _number(cells, "stop"))
        if None in times_s:
            raise ValueError("a label has a start and a stop, with a tab between")
        low_hz, high_hz = _number(cells, names[2]), _number(cells, names[3])
        tag = AUDACITY_TAG.search(cells["label"])
        return _annotation(
            table,
            line,
            own_recording,
            times_s=times_s,
            # Audacity writes -1 for a side of the band that is open.
            band_hz=(None if low_hz == -1 else low_hz, None if high_hz == -1 else high_hz),
            labels={"label": AUDACITY_TAG.sub("", cells["label"])},
            event=tag["key"] if tag else "",
        )

    return _parsed(table, "audacity", ("label",), records, problems, parse)


def _read_by_crowsetta(
    table: str, own_recording: str, file: Path, file_format: str
) -> AnnotationTable:
    try:
        import crowsetta  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            f"{table} cannot be read: this kind of file needs crowsetta: "
            "pip install 'oscine[crowsetta]'"
        ) from error
    counts_samples = file_format in _COUNTED_IN_SAMPLES
    try:
        content = crowsetta.formats.by_name(file_format).from_file(file)
        # At a rate of 1 Hz seconds are samples. Left to itself crowsetta fails where it finds no
        # recording, and rounds to milliseconds.
        rate = {"samplerate": 1} if counts_samples else {}
        annotated = content.to_annot(round_times=False, **rate)
    except OSError:
        raise
    except Exception as error:  # what a damaged file leads to is of any kind
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{table} cannot be read as {file_format} ({reason}): is it whole, and of the format "
            "that its name says?"
        ) from error
    labels = [
        (one.notated_path, segment)
        for one in _as_list(annotated)
        for sequence in _as_list(one.seq)
        for segment in sequence.segments
    ]
    rates_hz: dict[Path | None, int] = {None: 1}
    problems = _lost_in_tiers(getattr(content, "tiers", ()))
    if counts_samples:
        rates_hz, problems = _rates_hz(Counter(recording for recording, _ in labels))

    def parse(row: int, label: tuple[Path | None, Any]) -> Annotation:
        recording, segment = label
        rate_hz = rates_hz[recording]
        return _annotation(
            table,
            row,
            shown(Path(recording.name)) if recording else own_recording,
            times_s=(float(segment.onset_s) / rate_hz, float(segment.offset_s) / rate_hz),
            band_hz=(None, None),
            labels={"label": segment.label.strip()},
        )

    records = [(row, label) for row, label in enumerate(labels, start=1) if label[0] in rates_hz]
    read = _parsed(table, file_format, ("label",), records, [], parse)
    named = (f"{posixpath.basename(table)}: {problem}" for problem in problems)
    return replace(
        read,
        refused=read.refused + len(labels) - len(records),
        problems=(*named, *read.problems),
    )


def _as_list(one_or_several: Any) -> list[Any]:
    return one_or_several if isinstance(one_or_several, list) else [one_or_several]


def _lost_in_tiers(tiers: Sequence[Any]) -> list[str]:
    """Say what of the tiers of a TextGrid a table of stretches cannot hold."""
    stretches = [repr(tier.name) for tier in tiers if hasattr(tier, "intervals")]
    problems = [
        f"tier {tier.name!r} is left out: it holds points, and a label needs a start and a stop"
        for tier in tiers
        if not hasattr(tier, "intervals")
    ]
    if len(stretches) > 1:
        problems.append(
            f"tiers {', '.join(stretches)} are read into one column: save each to a file of its "
            "own to ask for one alone"
        )
    return problems


def _rates_hz(n_labels: Mapping[Path, int]) -> tuple[dict[Path | None, int], list[str]]:
    """Return the rates of recordings, and which of them have none that can be read."""
    rates_hz: dict[Path | None, int] = {}
    problems: list[str] = []
    for recording, n in n_labels.items():
        try:
            with open_audio(recording) as audio:
                rates_hz[recording] = audio.sample_rate_hz
        except UnreadableAudio as error:
            problems.append(
                f"{n} {'label' if n == 1 else 'labels'} left out, for they count in samples and "
                f"the rate of their recording is not known: {error}"
            )
    return rates_hz, problems


def _parsed(
    table: str,
    kind: str,
    columns: tuple[str, ...],
    records: Iterable[tuple[int, _Record]],
    problems: list[tuple[int, str]],
    parse: Callable[[int, _Record], Annotation],
) -> AnnotationTable:
    """Turn records into annotations, and those that cannot be turned into problems."""
    annotations: list[Annotation] = []
    for line, record in records:
        try:
            annotations.append(parse(line, record))
        except ValueError as error:
            problems.append((line, str(error)))
    return AnnotationTable(
        file=table,
        format=kind,
        columns=columns,
        annotations=tuple(annotations),
        refused=len(problems),
        problems=tuple(f"{_place(table, line)}: {reason}" for line, reason in sorted(problems)),
    )


def _annotation(
    table: str,
    row: int,
    path: str,
    *,
    times_s: tuple[float | None, float | None],
    band_hz: tuple[float | None, float | None],
    labels: Mapping[str, str],
    event: str = "",
    channel: int | None = None,
) -> Annotation:
    """Check what a row says."""
    if not path:
        raise ValueError("it names no recording")
    start_s, stop_s = times_s
    if (start_s is None) != (stop_s is None):
        raise ValueError(
            f"it has a {'stop' if start_s is None else 'start'} alone: "
            "give start and stop, or neither for the whole recording"
        )
    if start_s is not None and stop_s is not None and not 0 <= start_s < stop_s:
        raise ValueError(
            f"from {start_s:g} s to {stop_s:g} s is no stretch of time: the start must not be "
            "negative, and the stop must come after it"
        )
    low_hz, high_hz = band_hz
    lowest, highest = 0.0 if low_hz is None else low_hz, math.inf if high_hz is None else high_hz
    if not 0 <= lowest < highest:
        raise ValueError(
            f"from {lowest:g} Hz to {highest:g} Hz is no band: the lower limit must not be "
            "negative, and the upper must be above it"
        )
    return Annotation(
        table=table,
        row=row,
        path=path,
        start_s=start_s,
        stop_s=stop_s,
        low_hz=low_hz,
        high_hz=high_hz,
        labels={column: _composed(value) for column, value in labels.items() if value},
        event=event,
        channel=channel,
    )


def _number(cells: Mapping[str, str], column: str) -> float | None:
    """Read a cell that holds a number; None where it is empty or not there."""
    text = cells.get(column, "")
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return number
    hint = ""
    if _DECIMAL_COMMA.fullmatch(text):
        hint = f" (write decimals with a point: {text.replace(',', '.')})"
    raise ValueError(f"{column} is {text!r}, which is no number{hint}")


def _records(
    table: str, text: str, delimiter: str, *, quoted: bool
) -> tuple[list[str], list[tuple[int, dict[str, str]]], list[tuple[int, str]]]:
    """Split a table into its header, its rows by column, and the lines that do not fit it."""
    header = [_composed(column) for column in _first_row(text, delimiter, quoted=quoted)]
    rows = islice(_rows(text, delimiter, quoted=quoted), 1, None)
    twice = [column for column, count in Counter(header).items() if column and count > 1]
    if twice:
        raise ValueError(f"{table} has more than one column {twice[0]!r}: rename or remove one")
    records: list[tuple[int, dict[str, str]]] = []
    problems: list[tuple[int, str]] = []
    for line, cells in rows:
        if isinstance(cells, csv.Error):
            problems.append((line, _unreadable(cells)))
        elif len(cells) != len(header):
            hint = ""
            if quoted and len(cells) > len(header):
                hint = f"; text that holds {delimiter!r} needs quotes around it"
            counts = f"it has {len(cells)} cells, and the header {len(header)}"
            problems.append((line, counts + hint))
        else:
            records.append((line, dict(zip(header, cells, strict=True))))
    return header, records, problems


def _rows(
    text: str, delimiter: str, *, quoted: bool
) -> Iterator[tuple[int, list[str]] | tuple[int, csv.Error]]:
    """Split text into rows that hold something, each with the line on which it begins."""
    # Strict: otherwise a quote that is never closed swallows the rest of the file in silence.
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            yield line, error
            continue
        if any(cells):
            yield line, cells


def _unreadable(error: csv.Error) -> str:
    return f"it cannot be split into cells ({error}): is a quote opened here and not closed?"


def _one_of(table: str, header: Sequence[str], name: str, other: str) -> str:
    """Return which of two names of a column the table uses."""
    if name in header and other in header:
        raise ValueError(f"{table} has both {name} and {other}, which mean the same: remove one")
    return other if other in header else name


def _label_columns(header: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that have a name (tables of R and pandas number rows without one)."""
    return tuple(column for column in header if column and column not in known)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


# Keeping them


def _keep_keys(connection: sqlite3.Connection) -> None:
    """Make a book of version 1 one that keeps the keys of events that rows were written for."""
    connection.execute("ALTER TABLE annotations ADD COLUMN event TEXT NOT NULL DEFAULT ''")


def _keep_channels(connection: sqlite3.Connection) -> None:
    """Make a book of version 2 one that keeps the channels that rows name."""
    connection.execute("ALTER TABLE annotations ADD COLUMN channel INTEGER")


class LabelBook(Database):
    """The labels of one workspace; a context manager.

    Parameters
    ----------
    path : Path
        Made if it is not there.

    Raises
    ------
    ValueError
        The file was made by another version, or holds no labels. Leaving the context raises it
        too, for what SQLite could not do inside: the file is damaged, locked, or the disk full.
    """

    schema = _SCHEMA
    schema_version = SCHEMA_VERSION
    unreadable = "holds no labels that can be read"
    if_damaged = "remove it and read the label tables again"
    if_other_version = "remove it and read the label tables again"
    upgrades = MappingProxyType({1: _keep_keys, 2: _keep_channels})

    def replace(self, tables: Sequence[AnnotationTable]) -> None:
        """Put in tables in place of what the same files said before, in one transaction."""
        with self._transaction():
            for table in tables:
                self._connection.execute("DELETE FROM annotations WHERE file = ?", (table.file,))
                self._connection.executemany(
                    "INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        (
                            table.file,
                            one.row,
                            one.path,
                            one.start_s,
                            one.stop_s,
                            one.low_hz,
                            one.high_hz,
                            json.dumps(dict(one.labels)),
                            one.event,
                            one.channel,
                        )
                        for one in table.annotations
                    ),
                )

    def annotations(self) -> list[Annotation]:
        """Return all annotations, by file and line."""
        rows = self._connection.execute("SELECT * FROM annotations ORDER BY file, row")
        return [
            Annotation(
                table=file,
                row=row,
                path=path,
                start_s=start_s,
                stop_s=stop_s,
                low_hz=low_hz,
                high_hz=high_hz,
                labels=json.loads(labels),
                event=event,
                channel=channel,
            )
            for file, row, path, start_s, stop_s, low_hz, high_hz, labels, event, channel in rows
        ]

    def files(self) -> dict[str, int]:
        """Return the files that labels came from, and how many rows of each are kept."""
        query = "SELECT file, count(*) FROM annotations GROUP BY file ORDER BY file"
        return dict(tuple(row) for row in self._connection.execute(query))

    def forget(self, files: Iterable[str]) -> None:
        """Remove what some files said, in one transaction."""
        with self._transaction():
            self._connection.executemany(
                "DELETE FROM annotations WHERE file = ?", [(file,) for file in files]
            )


# Which recording an annotation speaks of


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a file of the archive lies: the parts of its path, whole and below its root."""

    full: tuple[str, ...]
    below: tuple[str, ...]
    recording: RecordingRow


def heard_twins(recordings: Sequence[RecordingRow]) -> list[RecordingRow]:
    """Return recordings in which an exact duplicate stands for the one that was heard.

    It keeps its number and its name and takes the rest from the other, so that what was said of it
    counts.
    """
    heard: dict[str, RecordingRow] = {}
    for row in recordings:
        if row.n_frames:
            heard.setdefault(row.content_hash, row)
    return [
        replace(
            heard[row.content_hash],
            recording_id=row.recording_id,
            root=row.root,
            path=row.path,
        )
        if row.state == "duplicate" and row.content_hash in heard
        else row
        for row in recordings
    ]


def match_recordings(
    annotations: Sequence[Annotation],
    recordings: Sequence[RecordingRow],
    events: Mapping[int, EventRow] = MappingProxyType({}),
) -> Matched:
    r"""Find the recording of each annotation, and the samples it covers.

    A path of a table names the recording that has just this path below a root. Failing that, a
    relative path names the recording whose path, root included, ends with it; an absolute path
    that of the same path or, as on another computer, the recording whose path below its root it
    ends with; of several, the one that agrees furthest up. Failing that too, all this without
    the extensions of audio files. Backslashes count as slashes, and letters that are composed
    otherwise (Unicode NFC and NFD) as the same.

    A row that was written for an event is of that event's recording, unless its path names another
    one. Other rows of the same table and path go with it. Where the channels of a file are kept
    apart, such a row is of its event's channel, another of the one that it names.

    Parameters
    ----------
    annotations : sequence of Annotation
    recordings : sequence of RecordingRow
        All of the catalogue, those that could not be read too, as of :func:`heard_twins`.
    events : mapping of int to EventRow
        Those of the catalogue that :func:`named_events` asks for.

    Returns
    -------
    Matched
        Its problems name paths of no recording or of several, recordings that were not heard,
        and times beyond the end of a recording. A stretch that ends beyond it is cut there,
        and named if more than `END_TOLERANCE_S` is lost; one that begins there is left out.
    """
    by_name = _finder(recordings, strip=False)
    by_stem = _finder(recordings, strip=True)
    found = {path: by_name(path) or by_stem(path) for path in {one.path for one in annotations}}
    own = _recordings_of_events(annotations, recordings, events)
    first = _first_channels(recordings)
    files_of = {key: first[row.root, row.path] for key, row in own.items()}
    channels: dict[tuple[str, str, int | None], RecordingRow] = {
        (row.root, row.path, row.channel): row for row in recordings
    }

    def named(one: Annotation) -> list[RecordingRow]:
        """Return the recordings that a row may mean, by its event and its path."""
        file, by_path = files_of.get(one.event), found[one.path]
        is_another = len(by_path) == 1 and by_path[0] != file
        if file is None or (is_another and not _could_be_written(one, file)):
            return by_path
        return [file]

    def of_channel(one: Annotation, file: RecordingRow) -> RecordingRow:
        """Return the channel of a file that a row speaks of; the first where it names none."""
        if files_of.get(one.event) == file:
            return own[one.event]
        return channels.get((file.root, file.path, one.channel), file)

    meant = [named(one) for one in annotations]
    beside: defaultdict[tuple[str, str], dict[int, RecordingRow]] = defaultdict(dict)
    for one, rows in zip(annotations, meant, strict=True):
        if one.event in files_of and len(rows) == 1:
            beside[one.table, one.path][rows[0].recording_id] = rows[0]
    for number, one in enumerate(annotations):
        neighbours = list(beside.get((one.table, one.path), {}).values())
        if one.event not in files_of and len(neighbours) == 1:
            meant[number] = neighbours
    meant = [
        [of_channel(one, row) for row in rows] if len(rows) == 1 else rows
        for one, rows in zip(annotations, meant, strict=True)
    ]
    obstacles = [_obstacle(rows) for rows in meant]
    n_rows = Counter(
        (one.table, one.path, obstacle)
        for one, obstacle in zip(annotations, obstacles, strict=True)
        if obstacle
    )
    problems = [
        f"{posixpath.basename(table)}: {path!r} ({n} {'row' if n == 1 else 'rows'}) {obstacle}"
        for (table, path, obstacle), n in n_rows.items()
    ]
    placed: list[PlacedAnnotation] = []
    for one, rows, obstacle in zip(annotations, meant, obstacles, strict=True):
        if obstacle:
            continue
        (recording,) = rows
        is_of_event = own.get(one.event) == recording
        is_apart = recording.channel >= 0 and not is_of_event
        if is_apart and one.channel is not None and one.channel != recording.channel:
            problems.append(
                f"{one.place}: channel {one.channel + 1} of {recording.path} was not heard by "
                f"itself: channel {recording.channel + 1} stands for it"
            )
        interval, problem = _interval(one, recording)
        if problem:
            problems.append(f"{one.place}: {problem}")
        if interval is not None:
            placed.append(
                PlacedAnnotation(
                    annotation=one,
                    recording_id=recording.recording_id,
                    interval=interval,
                    event_id=event_number(one.event) if is_of_event else None,
                )
            )
    return Matched(
        annotations=tuple(placed),
        problems=tuple(problems),
        file_of={row.recording_id: first[row.root, row.path].recording_id for row in recordings},
    )


def named_events(annotations: Iterable[Annotation]) -> set[int]:
    """Return the numbers of the events that rows say they were written for."""
    return {number for one in annotations if (number := event_number(one.event)) is not None}


def _could_be_written(one: Annotation, file: RecordingRow) -> bool:
    """Tell whether a table that was written for a recording may name it as a row does.

    Names of tables, and names in tables that quote nothing, are not always those of recordings.
    """
    if one.path == _name_of_recording(Path(one.table)):
        return True
    below = _parts(one_line(file.path).strip(), strip=False)
    return _parts(one.path, strip=False)[-len(below) :] == below


def _recordings_of_events(
    annotations: Iterable[Annotation],
    recordings: Sequence[RecordingRow],
    events: Mapping[int, EventRow],
) -> dict[str, RecordingRow]:
    """Return the recording of each key that names an event as it is."""
    if not events:
        return {}
    rows = {row.recording_id: row for row in recordings}
    found: dict[str, RecordingRow] = {}
    for key in {one.event for one in annotations}:
        event = events.get(event_number(key) or 0)
        row = None if event is None else rows.get(event.recording_id)
        if event is not None and row is not None and event_key(event, row.content_key) == key:
            found[key] = row
    return found


def _first_channels(recordings: Sequence[RecordingRow]) -> dict[tuple[str, str], RecordingRow]:
    """Return one row for each file."""
    first: dict[tuple[str, str], RecordingRow] = {}
    for row in recordings:
        kept = first.setdefault((row.root, row.path), row)
        if row.channel < kept.channel:
            first[row.root, row.path] = row
    return first


def _finder(
    recordings: Sequence[RecordingRow], *, strip: bool
) -> Callable[[str], list[RecordingRow]]:
    """Return what finds the recordings that a path may name, with or without extensions."""
    places = [
        _Place(
            full=_parts(f"{row.root}/{row.path}", strip=strip),
            below=_parts(row.path, strip=strip),
            recording=row,
        )
        for row in _first_channels(recordings).values()
    ]
    by_below = _grouped(places, lambda place: place.below)

    @cache
    def by_ending(n: int) -> dict[tuple[str, ...], list[_Place]]:
        return _grouped(places, lambda place: place.full[-n:])

    def find(path: str) -> list[RecordingRow]:
        parts = _parts(path, strip=strip)
        agreeing = by_below.get(parts, [])
        if not agreeing and _ABSOLUTE.match(path.replace("\\", "/")):
            # Its folders may be those of another computer, down to where the archive begins.
            endings = [parts[first:] for first in range(1, len(parts))]
            agreeing = [place for ending in endings for place in by_below.get(ending, [])]
            furthest = max((_n_shared(parts, place.full) for place in agreeing), default=0)
            agreeing = [p for p in agreeing if _n_shared(parts, p.full) == furthest]
        elif not agreeing and parts:
            agreeing = by_ending(len(parts)).get(parts, [])
        return [place.recording for place in agreeing]

    return find


def _grouped(
    places: Sequence[_Place], key: Callable[[_Place], tuple[str, ...]]
) -> dict[tuple[str, ...], list[_Place]]:
    groups: defaultdict[tuple[str, ...], list[_Place]] = defaultdict(list)
    for place in places:
        groups[key(place)].append(place)
    return dict(groups)


def _parts(path: str, *, strip: bool) -> tuple[str, ...]:
    """Split a path into names that can be compared; the first of an absolute one is empty."""
    path = posixpath.normpath(_composed(path.replace("\\", "/")))
    parts = [part for part in path.split("/") if part not in (".", "..")]
    if strip and parts:
        stem, suffix = posixpath.splitext(parts[-1])
        parts[-1] = stem if suffix.lower() in AUDIO_SUFFIXES else parts[-1]
    return tuple(parts)


def _n_shared(first: Sequence[str], second: Sequence[str]) -> int:
    """Count the names in which two paths agree, from the innermost."""
    n = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        n += 1
    return n


def _obstacle(candidates: Sequence[RecordingRow]) -> str:
    """Say why a path gives no recording to listen to; nothing where it does."""
    if not candidates:
        return "is no recording of the archive"
    if len(candidates) > 1:
        named = ", ".join(f"{row.root}/{row.path}" for row in candidates[:NAMED])
        more = f" and {len(candidates) - NAMED} more" if len(candidates) > NAMED else ""
        return f"could be any of {named}{more}: write more of its path"
    row = candidates[0]
    if row.state in HEARD and row.n_frames > 0:
        return ""
    return f"was not heard: {row.state} ({row.reason or 'no frames on the tape'})"


def _interval(annotation: Annotation, recording: RecordingRow) -> tuple[Interval | None, str]:
    """Return the samples that an annotation covers (None: none), and what is wrong with it."""
    rate_hz, n_samples = recording.sample_rate_hz, recording.n_samples
    start_s, stop_s = annotation.start_s, annotation.stop_s
    if start_s is None or stop_s is None:
        return Interval(start=0, stop=n_samples, sample_rate_hz=rate_hz), ""
    end = f"the end of {recording.path} at {recording.duration_s:.3f} s"
    start = round(min(start_s, recording.duration_s) * rate_hz)
    if start >= n_samples:
        return None, f"it starts at {start_s:g} s, beyond {end}: left out"
    stop = round(min(stop_s, recording.duration_s) * rate_hz)
    problem = ""
    if stop_s - recording.duration_s >= END_TOLERANCE_S:
        problem = f"it stops at {stop_s:g} s, beyond {end}: cut there"
    return Interval(start=start, stop=max(stop, start + 1), sample_rate_hz=rate_hz), problem


# Which label an event has


def labels_of_events(
    events: Sequence[EventRow],
    matched: Matched,
    column: str,
) -> list[str | None]:
    """Return what the labels of one column say of each event.

    Parameters
    ----------
    events : sequence of EventRow
    matched : Matched
    column : str

    Returns
    -------
    list of (str or None) [shape=(N,)]
        Of the row that counts, as of :func:`rows_of_events`; None where no row belongs to the
        event.
    """
    return [
        rows[0].labels[column] if rows else None for rows in rows_of_events(events, matched, column)
    ]


def rows_of_events(
    events: Sequence[EventRow],
    matched: Matched,
    column: str,
) -> Iterator[list[Annotation]]:
    """Yield the rows of labels that belong to each event, the one that counts first.

    A row that was written for an event (see `oscine.sound.selections`) belongs to it alone,
    wherever its box is now, and counts before all others; of several, the first. Another row of a
    part of a recording belongs to an event when it covers at least half of it or is at least half
    covered by it, in time; where the row has a band, that must overlap the event's too. Of several,
    one of the event's channel counts before others, where channels are kept apart, then the one
    that shares the most time with the event, then the shortest, then the first. What was said of a
    whole recording holds for its events that no other row belongs to. It holds, as what was said of
    a part does, for all channels of the file.

    Parameters
    ----------
    events : sequence of EventRow
    matched : Matched
    column : str
        Annotations without a value in it count as absent.

    Yields
    ------
    list of Annotation
        Empty where none belongs to the event.
    """
    file_of, said = matched.file_of, matched.spoken

    def that_say(rows: Iterable[Annotation]) -> list[Annotation]:
        return [one for one in rows if column in one.labels]

    for event in events:
        file = file_of.get(event.recording_id, -1)  # it may have gone, or come since
        rows = [
            *said.of_events.get(event.event_id, ()),
            *_nearest_first(event, said.of_parts.get(file, {}), said.parts),
        ]
        yield that_say(rows) or that_say(
            one for one in said.of_wholes.get(file, ()) if _bands_overlap(event, one)
        )


def contradictions(
    column: str, rows_of_each: Iterable[Sequence[Annotation]], *, each: str, which: str
) -> list[str]:
    """Say of how many things rows say different things in a column; nothing where they agree.

    Parameters
    ----------
    column : str
    rows_of_each : iterable of sequence of Annotation
        The rows that speak of each thing, the one that counts first.
    each : str
        What the things are, such as ``events``.
    which : str
        Which row counts, in words.
    """
    n, examples = 0, list[str]()
    for rows in rows_of_each:
        said = [(one.labels[column], one.place) for one in rows if column in one.labels]
        other = next((one for one in said if one[0] != said[0][0]), None)
        if other is not None:
            n += 1
            if n <= EXAMPLES:
                (label, place), (other_label, other_place) = said[0], other
                examples.append(f"{label!r} ({place}) before {other_label!r} ({other_place})")
    if not n:
        return []
    return [f"{column}: {n:,} {each} have several labels, such as {', '.join(examples)}: {which}"]


def written_alike(column: str, labels: Iterable[str]) -> list[str]:
    """Say which labels of a column differ in upper and lower case only; nothing where none do."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(set(labels)):
        alike[label.casefold()].append(label)
    several = [" and ".join(map(repr, each)) for each in alike.values() if len(each) > 1]
    if not several:
        return []
    more = f" and {len(several) - EXAMPLES:,} more" if len(several) > EXAMPLES else ""
    return [
        f"{column}: {', '.join(several[:EXAMPLES])}{more} differ in upper and lower case only: "
        "they are taken for different labels"
    ]


def _nearest_first(
    event: EventRow, spans_by_bits: _SpansByBits, spoken: Sequence[PlacedAnnotation]
) -> list[Annotation]:
    """Return the rows of parts that belong to an event, the one that counts first."""
    length = event.stop_sample - event.start_sample
    ranks: list[tuple[bool, int, int, int]] = []
    for bits, spans in spans_by_bits.items():
        begin = bisect_left(spans, (event.start_sample - (1 << bits) + 1,))
        end = bisect_left(spans, (event.stop_sample,))
        for start, stop, number in spans[begin:end]:
            shared = min(stop, event.stop_sample) - max(start, event.start_sample)
            belongs = shared > 0 and 2 * shared >= min(length, stop - start)
            if belongs and _bands_overlap(event, spoken[number].annotation):
                is_of_another = spoken[number].recording_id != event.recording_id
                ranks.append((is_of_another, -shared, stop - start, number))
    return [spoken[number].annotation for *_, number in sorted(ranks)]


def _bands_overlap(event: EventRow, annotation: Annotation) -> bool:
    """Tell whether the bands meet; one that is open on a side has no limit there."""
    below = annotation.low_hz is None or annotation.low_hz < event.high_hz
    above = annotation.high_hz is None or annotation.high_hz > event.low_hz
    return below and above
