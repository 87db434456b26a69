"""Open a table as people keep it, with every cell as the text that stands in it.

In comes a file of text (separated by commas, semicolons, tabs or bars) or of a spreadsheet; out
come the names of its columns and its rows, each with the line that a spreadsheet shows. What a cell
means is found out by those who call: :mod:`oscine.behaviour.log`, :mod:`oscine.behaviour.boris`.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import fastexcel

from oscine.config import WrongArgument
from oscine.sound.archive import shown

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""What parts cells in a file of text, and how it is called."""
NAMED = 5
"""Lines that a message names."""

_HEADER_SHARE = 0.75
"""The header names at least this share of as many columns as the fullest line fills."""
_SNIFFED = 500
"""Lines that are looked at to find the separator."""
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"  # how .xlsx and .ods, and how .xls begin
_TIME_CELL = re.compile(r"1899-12-3[01] (?=\d\d:)")
"""How a cell of a spreadsheet that holds a time of day is read: on the day that it counts from."""
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?")
_VALUE = re.compile(r"[-+]?\d[\d.,:/\- ]*")

_Lines = list[tuple[int, tuple[str, ...]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RawTable:
    """A table as it stands in a file.

    Attributes
    ----------
    file : Path
    columns : tuple of str
        Each name once: of two that are alike the second gets ' (2)'; a column without a name is
        called by its place ('column 3').
    rows : tuple of (int, tuple of str)
        Line of the file as a spreadsheet shows it, and as many cells as there are columns, without
        spaces around them. Lines that hold nothing are left out.
    preamble : tuple of tuple of str
        What stands above the header, a tuple a line.
    header_line : int
    described : str
        How the file was read, for people.
    """

    file: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    preamble: tuple[tuple[str, ...], ...] = ()
    header_line: int = 1
    described: str = ""

    def column(self, name: str) -> list[str]:
        """Return the cells of a column, a cell a row."""
        at = self.columns.index(name)
        return [cells[at] for _, cells in self.rows]


def read_table(
    file: Path, *, sheet: str = "", separator: str = "", encoding: str = "", header_line: int = 0
) -> RawTable:
    """Read a table.

    Parameters
    ----------
    file : Path
    sheet : str
        Of a spreadsheet; empty for the first.
    separator, encoding : str
        Of a file of text; empty to find out. Encodings are found by the mark at the beginning, as
        UTF-8, or else taken for that of Windows in the West (Latin-1 with more).
    header_line : int
        Line that holds the names of the columns; 0 to find it: the first that fills about as many
        cells as the fullest.

    Raises
    ------
    WrongArgument
        There is no such file or sheet, it is empty or no table, a line has more cells than there
        are columns, or the header is missing.
    """
    name = shown(file)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise WrongArgument(f"{name} cannot be read: {error.strerror or error}") from error
    if not data.strip(b"\0 \t\r\n"):
        raise WrongArgument(f"{name} is empty: there is no line in it")
    if data.startswith((_ZIP, _OLE)):
        lines, described = _spreadsheet(name, data, sheet)
    else:
        lines, described = _text_lines(name, data, separator, encoding)
    if not lines:
        raise WrongArgument(f"{name} is empty: all its cells are")
    return _table(file, lines, header_line, described)


def other_sheets(file: Path) -> str:
    """Say what sheets a spreadsheet has beside the first, which is read if none is named.

    Returns
    -------
    str
        Empty where there are none, or the file cannot be read as a spreadsheet.
    """
    try:
        first, *others = fastexcel.read_excel(file.read_bytes()).sheet_names
    except (OSError, fastexcel.FastExcelError):
        return ""
    if not others:
        return ""
    known = ", ".join(map(repr, others))
    return f"the first sheet, {first!r}, was read; the others are {known}: say which with --sheet"


def number(text: str) -> float | None:
    """Read a finite number, with a decimal point or comma; None if it is none."""
    value = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def lines_of(rows: Sequence[int]) -> str:
    """Name lines of a file, at most a few of them."""
    some = ", ".join(str(row) for row in rows[:NAMED])
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f"line{'s' if len(rows) > 1 else ''} {some}{more}"


def _spreadsheet(name: str, data: bytes, sheet: str) -> tuple[_Lines, str]:
    try:
        book = fastexcel.read_excel(data)
        if sheet and sheet not in book.sheet_names:
            known = ", ".join(repr(one) for one in book.sheet_names)
            raise WrongArgument(f"{name} has no sheet {sheet!r}; it has {known}")
        wanted = sheet or book.sheet_names[0]
        # As text, or numbers would lose their zeros; from the first line, or the lines that are
        # named in messages would not be those that are seen.
        loaded = book.load_sheet(wanted, header_row=None, skip_rows=0, dtypes="string")
        cells = loaded.to_polars().rows()
    except fastexcel.FastExcelError as error:
        reason = str(error).partition("\n")[0]
        raise WrongArgument(
            f"{name} looks like a spreadsheet and cannot be read as one ({reason}): save it again "
            "as .xlsx or CSV"
        ) from error
    known = ", ".join(map(repr, book.sheet_names))
    is_one = sheet or len(book.sheet_names) == 1
    more = "" if is_one else f", the first of {known} (another: --sheet)"
    texts = ([_TIME_CELL.sub("", cell or "") for cell in row] for row in cells)
    return _filled(zip(count(1), texts)), f"sheet {wanted!r} of a spreadsheet{more}"


def _text_lines(name: str, data: bytes, separator: str, encoding: str) -> tuple[_Lines, str]:
    text, encoding = _decoded(name, data, encoding)
    if separator:
        if len(separator) != 1:
            raise WrongArgument(f"the separator {separator!r} is not one character")
    else:
        separator = max(SEPARATORS, key=lambda one: _evenness(text, one))
    try:
        lines = _filled(zip(count(1), _records(text, separator)))
    except csv.Error as error:
        raise WrongArgument(
            f"{name} cannot be split into cells ({error}): is a quote opened and never closed?"
        ) from error
    parted = SEPARATORS.get(separator, repr(separator))
    return lines, f"text with cells parted by {parted}, in {encoding}"


def _decoded(name: str, data: bytes, encoding: str) -> tuple[str, str]:
    if not encoding:
        pairs = data[:1000]
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            encoding = "utf-16"
        elif 3 * pairs[1::2].count(0) > len(pairs[1::2]) > 0 and not pairs[0::2].count(0):
            encoding = "utf-16-le"
        elif b"\0" in pairs:
            raise WrongArgument(f"{name} is no table: it holds no text; give a CSV or Excel file")
        else:
            encoding = "utf-8-sig"
            try:
                data.decode(encoding)
            except UnicodeDecodeError:
                encoding = "cp1252"
    try:
        # Windows leaves five bytes without a letter: those are shown as such.
        text = data.decode(encoding, errors="replace" if encoding == "cp1252" else "strict")
    except LookupError as error:
        raise WrongArgument(f"there is no encoding {encoding!r}") from error
    except UnicodeDecodeError as error:
        raise WrongArgument(f"{name} is not in {encoding} (at byte {error.start})") from error
    spoken = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "cp1252": "Windows Latin-1"}
    return unicodedata.normalize("NFC", text), spoken.get(encoding, encoding)


def _records(text: str, separator: str) -> Iterator[list[str]]:
    # Strict: otherwise a quote that is never closed swallows the rest of the file in silence.
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)


def _evenness(text: str, separator: str) -> tuple[int, int]:
    """Return how many of the first lines have the commonest number of cells, and that number."""
    widths: Counter[int] = Counter()
    # An error is that of the wrong one, or of a broken file, and is raised again on reading.
    with suppress(csv.Error):
        for _, cells in zip(range(_SNIFFED), _records(text, separator), strict=False):
            widths[len(cells)] += any(cell.strip() for cell in cells)
    width, n_lines = max(widths.items(), key=lambda one: one[1], default=(0, 0))
    return (n_lines, width) if width > 1 else (0, width)


def _filled(lines: Iterator[tuple[int, list[str]]]) -> _Lines:
    """Take the spaces around cells away, and the lines that hold nothing."""
    stripped = ((line, tuple(cell.strip() for cell in cells)) for line, cells in lines)
    return [(line, cells) for line, cells in stripped if any(cells)]


def _is_value(cell: str) -> bool:
    """Tell whether a cell holds a number, a date or a time of day."""
    return bool(_VALUE.fullmatch(cell))


def _n_filled(cells: Sequence[str]) -> int:
    return sum(map(bool, cells))


def _table(file: Path, lines: _Lines, header_line: int, described: str) -> RawTable:
    name = shown(file)
    if header_line:
        header = next((at for at, (line, _) in enumerate(lines) if line == header_line), None)
        if header is None:
            raise WrongArgument(f"{name}: line {header_line} holds no names of columns")
    else:
        fullest = max(_n_filled(cells) for _, cells in lines)
        wide = (_n_filled(cells) >= _HEADER_SHARE * fullest for _, cells in lines)
        header = next(at for at, is_wide in enumerate(wide) if is_wide)
    line, names = lines[header]
    if not header_line and 2 * sum(map(_is_value, names)) > _n_filled(names):
        raise WrongArgument(
            f"{name}: line {line} holds values ({', '.join(one for one in names if one)[:80]}), "
            "where the names of the columns should stand: write them above it, or say with "
            "header_line in join.toml which line names them"
        )
    body = lines[header + 1 :]
    if not body:
        raise WrongArgument(
            f"{name} has no rows: below its columns ({', '.join(names)[:80]}) there is nothing"
        )
    width = max(len(cells) for _, cells in body)
    padded = [(row, cells + ("",) * (width - len(cells))) for row, cells in body]
    named = len(names)
    long = [row for row, cells in padded if any(cells[named:])]
    if long:
        raise WrongArgument(
            f"{name}: {lines_of(long)}: more cells than the {named} columns that line {line} "
            "names. Text that holds the separator needs quotes around it, and every column a name"
        )
    kept = [
        at for at, one in enumerate(names) if one or any(at < width and c[at] for _, c in padded)
    ]
    return RawTable(
        file=file,
        columns=_each_once([names[at] or f"column {at + 1}" for at in kept]),
        rows=tuple(
            (row, tuple(cells[at] if at < width else "" for at in kept)) for row, cells in padded
        ),
        preamble=tuple(cells for _, cells in lines[:header]),
        header_line=line,
        described=described,
    )


def _each_once(names: Sequence[str]) -> tuple[str, ...]:
    taken: list[str] = []
    for name in names:
        again = (f"{name} ({n})" for n in count(2))
        taken.append(next(one for one in again if one not in taken) if name in taken else name)
    return tuple(taken)
