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


def _three(time_s):
    return f"{time_s:.3f}"


def tabular_to_7(coded, *, knows_length=True, with_category=True):
    """One observation; what concerns all of it stands above the header (versions 2 to 7)."""
    kind = "Media file(s)" if coded.media else "Live observation"
    rows = [["Observation id", coded.name], [""], [kind], [""]]
    for player, media in (("Player #1", coded.media), ("Player #2", coded.second_player)):
        rows += [[player, file] for file, _ in media]
    rows += [[""], ["Observation date", coded.date], [""], ["Description", ""], [""]]
    rows += [["Time offset (s)", str(coded.offset_s)], [""]]
    rows += [["independent variables"], ["variable", "value"], *map(list, coded.variables), [""]]
    n_modifiers = max((len(one.modifiers) for one in coded.seen), default=0)
    rows.append(
        ["Time", "Media file path", "Total length", "FPS", "Subject", "Behavior"]
        + ["Behavioral category"] * with_category
        + [f"Modifier {at + 1}" for at in range(n_modifiers)]
        + ["Comment", "Status"]
    )
    last = max((row[0] for row in coded.rows), default=0)
    total = _three(max(sum(length for _, length in coded.media), last))
    for time_s, _, status, one in coded.rows:
        if not coded.media:
            about = ["LIVE", total, NA]
        elif knows_length:
            about = [coded.media_at(time_s), total, "25.0"]
        else:
            about = [NA, NA]
        subject = "" if one.subject == "No focal subject" else one.subject
        modifiers = [*one.modifiers, *[""] * n_modifiers][:n_modifiers]
        rows.append(
            [_three(time_s), *about, subject, one.behaviour]
            + [""] * with_category
            + [*modifiers, "a comment, of words", status]
        )
    width = max(map(len, rows))
    return [row + [""] * (width - len(row)) for row in rows]


def tabular_status(coded):
    """One observation, repeated in every row, as some releases between 7 and 8.9 wrote it."""
    rows = [
        ["Observation id", "Observation date", "Description", "Media file", "Total length", "FPS"]
        + [name for name, _ in coded.variables]
        + ["Subject", "Behavior", "Behavioral category", "Modifiers", "Time", "Comment", "Status"]
    ]
    total = _three(sum(length for _, length in coded.media))
    for time_s, _, status, one in coded.rows:
        rows.append(
            [coded.name, coded.date, "", coded.media_at(time_s), total, "25.0"]
            + [value for _, value in coded.variables]
            + [one.subject, one.behaviour, "", "|".join(one.modifiers), _three(time_s), "", status]
        )
    return rows


def tabular_from_8(coded):
    """One observation, repeated in every row (version 8.9.4 to 9)."""
    n_modifiers = max((len(one.modifiers) for one in coded.seen), default=0)
    rows = [
        ["Observation id", "Observation date", "Description", "Observation duration"]
        + ["Observation type", "Source", "Time offset (s)", "Media duration (s)", "FPS"]
        + [name for name, _ in coded.variables]
        + ["Subject", "Behavior", "Behavioral category"]
        + [f"Modifier #{at + 1}" for at in range(n_modifiers)]
        + ["Behavior type", "Time", "Media file name", "Image index", "Image file path", "Comment"]
    ]
    times = [row[0] for row in coded.rows] or [0]
    for time_s, _, status, one in coded.rows:
        kind = "Media file(s)" if coded.media else "Live observation"
        rows.append(
            [coded.name, coded.date, "", _three(max(times) - min(times)), kind, coded.source]
            + [str(coded.offset_s), coded.durations or NA, "25.000" if coded.media else NA]
            + [value for _, value in coded.variables]
            + ["" if one.subject == "No focal subject" else one.subject, one.behaviour, ""]
            + [*one.modifiers, *[""] * n_modifiers][:n_modifiers]
            + [status, _three(time_s), coded.media_at(time_s), NA, NA, ""]
        )
    return rows


def aggregated_to_7(*observations, point_stops=True):
    """Many observations (versions 2 to 7; the first ones say no stop of points)."""
    variables = [name for name, _ in observations[0].variables]
    rows = [
        ["Observation id", "Observation date", "Description", "Media file", "Total length", "FPS"]
        + [*variables, "Subject", "Behavior", "Behavioral category", "Modifiers", "Behavior type"]
        + ["Start (s)", "Stop (s)", "Duration (s)", "Comment start", "Comment stop"]
    ]
    for coded in observations:
        media = coded.media
        total = _three(sum(length for _, length in media)) if media else NA
        for one in sorted(coded.seen, key=lambda one: one.start_s):
            rows.append(
                [coded.name, coded.date, "", coded.media_at(one.start_s) if media else "LIVE"]
                + [total, "25.0" if media else NA, *[value for _, value in coded.variables]]
                + [
                    one.subject,
                    one.behaviour,
                    "",
                    "|".join(one.modifiers),
                    *_ends(one, point_stops),
                ]
                + ["", ""]
            )
    return rows


def aggregated_from_8(*observations):
    """Many observations (version 8.22.20 to 9)."""
    every = [one for coded in observations for one in coded.seen]
    n_modifiers = max((len(one.modifiers) for one in every), default=0)
    rows = [
        ["Observation id", "Observation date", "Description", "Observation type", "Source"]
        + ["Time offset (s)", "Coding duration", "Media duration (s)", "FPS (frame/s)"]
        + [name for name, _ in observations[0].variables]
        + ["Subject", "Observation duration by subject by observation", "Behavior"]
        + ["Behavioral category", *[f"Modifier #{at + 1}" for at in range(n_modifiers)]]
        + ["Behavior type", "Start (s)", "Stop (s)", "Duration (s)", "Media file name"]
        + ["Image index start", "Image index stop", "Image file path start"]
        + ["Image file path stop", "Comment start", "Comment stop"]
    ]
    for coded in observations:
        kind = "Media file" if coded.media else "Live observation"
        for one in sorted(coded.seen, key=lambda one: one.start_s):
            rows.append(
                [coded.name, coded.date, "", kind, coded.source, str(coded.offset_s), "12.000"]
                + [coded.durations or NA, "25.000" if coded.media else NA]
                + [value for _, value in coded.variables]
                + [one.subject, "12.0", one.behaviour, "Not defined"]
                + [*one.modifiers, *[""] * n_modifiers][:n_modifiers]
                + [*_ends(one, True), coded.media_at(one.start_s), NA, NA, "", "", "", ""]
            )
    return rows


def _ends(one, point_stops):
    if one.stop_s is None:
        return ["POINT", _three(one.start_s), _three(one.start_s) if point_stops else NA, NA]
    lasts = _three(one.stop_s - one.start_s)
    return ["STATE", _three(one.start_s), _three(one.stop_s), lasts]


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
