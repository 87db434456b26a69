"""Writes what somebody saw as the programs of observers write it, after their documentation.

BORIS: its user guide, and the order of columns in its export_observation.py and export_events.py.
"""

import csv
import io
import zipfile
from dataclasses import dataclass
from xml.sax.saxutils import escape

NA = "NA"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A point (no `stop_s`) or a state."""

    behaviour: str
    start_s: float
    stop_s: float | None = None
    subject: str = "No focal subject"
    modifiers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Coded:
    """An observation of BORIS; no media: a live one."""

    seen: list
    name: str = "obs 1"
    media: tuple[tuple[str, float], ...] = (("audio/hide_1.wav", 600.0),)
    second_player: tuple[tuple[str, float], ...] = ()
    date: str = "2024-04-25 13:58:00"
    offset_s: float = 0
    variables: tuple[tuple[str, str], ...] = (("weather", "rain"),)

    def media_at(self, time_s):
        """The file that plays at a time: of those that follow one another."""
        begins = 0.0
        for file, length in self.media:
            begins += length
            if time_s - self.offset_s < begins:
                return file
        return self.media[-1][0] if self.media else NA

    @property
    def rows(self):
        """Time, status and what was seen, in the order of time."""
        rows = []
        for at, one in enumerate(self.seen):
            if one.stop_s is None:
                rows.append((one.start_s, at, "POINT", one))
            else:
                rows += [(one.start_s, at, "START", one), (one.stop_s, at, "STOP", one)]
        return sorted(rows, key=lambda row: (row[0], row[2] == "START", row[1]))

    @property
    def source(self):
        players = [self.media, self.second_player]
        files = [";".join(file for file, _ in player) for player in players if player]
        return "|".join(f"player #{at}:{some}" for at, some in enumerate(files, 1)) or NA

    @property
    def durations(self):
        players = [self.media, self.second_player]
        return "|".join(";".join(f"{s:.3f}" for _, s in player) for player in players if player)


def tabular_to_7(coded, *, knows_length=True):
    """One observation; what concerns all of it stands above the header (versions 2 to 7)."""
    rows = [["Observation id", coded.name], [""]]
    rows += [["Media file(s)" if coded.media else "Live observation"], [""]]
    for player, media in (("Player #1", coded.media), ("Player #2", coded.second_player)):
        rows += [[player, file] for file, _ in media]
    rows += [[""], ["Observation date", coded.date], [""], ["Description", ""], [""]]
    rows += [["Time offset (s)", str(coded.offset_s)], [""]]
    rows += [["independent variables"], ["variable", "value"], *map(list, coded.variables), [""]]
    names = _modifiers_named("Modifier {}", coded)
    header = ["Time", "Media file path", "Total length", "FPS", "Subject", "Behavior"]
    header += ["Behavioral category", *names, "Comment", "Status"]
    last = max((row[0] for row in coded.rows), default=0)
    total = _three(max(sum(length for _, length in coded.media), last))
    lines = [
        dict(zip(names, one.modifiers, strict=False))
        | {
            "Time": _three(time_s),
            "Media file path": coded.media_at(time_s) if coded.media else "LIVE",
            "Total length": total,
            "FPS": "25.0" if coded.media else NA,
            "Subject": _or_empty(one.subject),
            "Behavior": one.behaviour,
            "Comment": "a comment, of words",
            "Status": status,
        }
        for time_s, _, status, one in coded.rows
    ]
    table = _table(header, lines)
    if not knows_length:  # of three cells two are written, and both are NA
        table[1:] = [[row[0], NA, NA, *row[4:], ""] for row in table[1:]]
    rows += table
    width = max(map(len, rows))
    return [row + [""] * (width - len(row)) for row in rows]


def tabular_status(coded):
    """One observation, its id in every row, and still a column Status."""
    header = ["Observation id", "Observation date", "Description", "Media file", "Total length"]
    header += ["FPS", *(name for name, _ in coded.variables), "Subject", "Behavior"]
    header += ["Behavioral category", "Modifiers", "Time", "Comment", "Status"]
    lines = [
        dict(coded.variables)
        | {
            "Observation id": coded.name,
            "Observation date": coded.date,
            "Media file": coded.media_at(time_s),
            "Total length": _three(sum(length for _, length in coded.media)),
            "Subject": one.subject,
            "Behavior": one.behaviour,
            "Modifiers": "|".join(one.modifiers),
            "Time": _three(time_s),
            "Status": status,
        }
        for time_s, _, status, one in coded.rows
    ]
    return _table(header, lines)


def tabular_from_8(coded):
    """One observation, repeated in every row (version 8.9.4 to 9)."""
    names = _modifiers_named("Modifier #{}", coded)
    header = ["Observation id", "Observation date", "Description", "Observation duration"]
    header += ["Observation type", "Source", "Time offset (s)", "Media duration (s)", "FPS"]
    header += [*(name for name, _ in coded.variables), "Subject", "Behavior"]
    header += ["Behavioral category", *names, "Behavior type", "Time", "Media file name"]
    header += ["Image index", "Image file path", "Comment"]
    times = [row[0] for row in coded.rows] or [0]
    lines = [
        _about_from_8(coded)
        | dict(zip(names, one.modifiers, strict=False))
        | {
            "Observation duration": _three(max(times) - min(times)),
            "Observation type": "Media file(s)" if coded.media else "Live observation",
            "FPS": "25.000" if coded.media else NA,
            "Subject": _or_empty(one.subject),
            "Behavior": one.behaviour,
            "Behavior type": status,
            "Time": _three(time_s),
            "Media file name": coded.media_at(time_s),
            "Image index": NA,
            "Image file path": NA,
        }
        for time_s, _, status, one in coded.rows
    ]
    return _table(header, lines)


def aggregated_to_7(*observations, point_stops=True):
    """Many observations (versions 2 to 7; the first ones say no stop of points)."""
    header = ["Observation id", "Observation date", "Description", "Media file", "Total length"]
    header += ["FPS", *(name for name, _ in observations[0].variables), "Subject", "Behavior"]
    header += ["Behavioral category", "Modifiers", "Behavior type", "Start (s)", "Stop (s)"]
    header += ["Duration (s)", "Comment start", "Comment stop"]
    lines = [
        dict(coded.variables)
        | {
            "Observation id": coded.name,
            "Observation date": coded.date,
            "Media file": coded.media_at(one.start_s) if coded.media else "LIVE",
            "Total length": _three(sum(length for _, length in coded.media)),
            "FPS": "25.0" if coded.media else NA,
            "Subject": one.subject,
            "Behavior": one.behaviour,
            "Modifiers": "|".join(one.modifiers),
        }
        | _ends(one, point_stops)
        for coded in observations
        for one in sorted(coded.seen, key=lambda one: one.start_s)
    ]
    return _table(header, lines)


def aggregated_from_8(*observations):
    """Many observations (version 8.22.20 to 9)."""
    names = _modifiers_named("Modifier #{}", *observations)
    header = ["Observation id", "Observation date", "Description", "Observation type", "Source"]
    header += ["Time offset (s)", "Coding duration", "Media duration (s)", "FPS (frame/s)"]
    header += [*(name for name, _ in observations[0].variables), "Subject"]
    header += ["Observation duration by subject by observation", "Behavior"]
    header += ["Behavioral category", *names, "Behavior type", "Start (s)", "Stop (s)"]
    header += ["Duration (s)", "Media file name", "Image index start", "Image index stop"]
    header += ["Image file path start", "Image file path stop", "Comment start", "Comment stop"]
    lines = [
        _about_from_8(coded)
        | dict(zip(names, one.modifiers, strict=False))
        | {
            "Observation type": "Media file" if coded.media else "Live observation",
            "Coding duration": "12.000",
            "FPS (frame/s)": "25.000" if coded.media else NA,
            "Subject": one.subject,
            "Observation duration by subject by observation": "12.0",
            "Behavior": one.behaviour,
            "Behavioral category": "Not defined",
            "Media file name": coded.media_at(one.start_s),
            "Image index start": NA,
            "Image index stop": NA,
        }
        | _ends(one, True)
        for coded in observations
        for one in sorted(coded.seen, key=lambda one: one.start_s)
    ]
    return _table(header, lines)


def _about_from_8(coded):
    return dict(coded.variables) | {
        "Observation id": coded.name,
        "Observation date": coded.date,
        "Source": coded.source,
        "Time offset (s)": str(coded.offset_s),
        "Media duration (s)": coded.durations or NA,
    }


def _ends(one, point_stops):
    start, stop = one.start_s, one.start_s if one.stop_s is None else one.stop_s
    is_point = one.stop_s is None
    return {
        "Behavior type": "POINT" if is_point else "STATE",
        "Start (s)": _three(start),
        "Stop (s)": NA if is_point and not point_stops else _three(stop),
        "Duration (s)": NA if is_point else _three(stop - start),
    }


def _table(header, lines):
    return [header, *([line.get(name, "") for name in header] for line in lines)]


def _modifiers_named(pattern, *observations):
    numbers = [len(one.modifiers) for coded in observations for one in coded.seen]
    return [pattern.format(at + 1) for at in range(max(numbers, default=0))]


def _or_empty(subject):
    return "" if subject == "No focal subject" else subject


def _three(time_s):
    return f"{time_s:.3f}"


def write_text(file, rows, *, separator="\t", decimal="."):
    """Write a table as text; with a decimal comma, as a spreadsheet of Europe saves it."""
    if decimal != ".":
        rows = [[_with(cell, decimal) for cell in row] for row in rows]
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\r\n").writerows(rows)
    file.write_text(text.getvalue(), "utf-8", newline="")
    return file


def _with(cell, decimal):
    return cell.replace(".", decimal) if cell.replace(".", "").isdecimal() else cell


def write_xlsx(file, rows, *, sheet="obs 1"):
    """Write the least that is an Excel file: one sheet, numbers as numbers."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    lines = []
    for line, row in enumerate(rows, 1):
        cells = []
        for at, text in enumerate(row):
            place = f"{chr(65 + at // 26 - 1) if at > 25 else ''}{chr(65 + at % 26)}{line}"
            if text.replace(".", "", 1).isdecimal():
                cells.append(f'<c r="{place}"><v>{float(text)!r}</v></c>')
            elif text:
                text = f"<is><t>{escape(text)}</t></is>"
                cells.append(f'<c r="{place}" t="inlineStr">{text}</c>')
        lines.append(f'<row r="{line}">{"".join(cells)}</row>')
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        f'<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/>'
        "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        f'<sheet name="{escape(sheet)}" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/>'
        "</Relationships>",
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}'
        "</sheetData></worksheet>",
    }
    with zipfile.ZipFile(file, "w") as book:
        for name, text in parts.items():
            book.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')
    return file
