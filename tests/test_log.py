"""Logs of observers: files, columns, times, and what is made of them."""

import csv
import io
import itertools
import re
import unicodedata
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from oscine.behaviour.config import LogConfig
from oscine.behaviour.log import read_log
from oscine.behaviour.orders import read_times
from oscine.behaviour.parts import FOREVER
from oscine.behaviour.raw import number, read_table
from oscine.behaviour.rows import read_effort
from oscine.behaviour.slips import DAY_MS, _longest_forward, slips_of_year
from oscine.behaviour.tables import CONTEXT, EFFORT, OBSERVATIONS
from oscine.behaviour.times import (
    ORDERS,
    Moment,
    as_order,
    days_of,
    parse_clock,
    parse_date,
    to_utc_ms,
)
from oscine.config import WrongArgument, from_mapping, read_config, to_mapping, to_toml

YEARS = range(1990, 2028)
LONDON = LogConfig(timezone="Europe/London")


def write(folder: Path, text: str, *, name="log.csv", encoding="utf-8") -> Path:
    file = folder / name
    file.write_bytes(text.encode(encoding))
    return file


def read(folder: Path, text: str, config: LogConfig | None = None, **settings):
    """Read a log that is written down here."""
    return read_log(write(folder, text), replace(config or LONDON, **settings))


def ms(text: str) -> int:
    """Milliseconds since 1970 of a time in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def rows(table: pl.DataFrame, *columns: str) -> list[tuple]:
    return table.select(columns).rows()


def problems(log) -> list[tuple[int, str]]:
    return [(one.row, one.kind) for one in log.problems]


def what(log, row: int) -> str:
    return " / ".join(one.what for one in log.problems if one.row == row)


def sheet_of(lines: list[list], first_line: int) -> str:
    shown = {"date": 1, "time": 2, "both": 3}
    sheet = ""
    for line, cells in enumerate(lines, first_line):
        sheet += f'<row r="{line}">'
        for letter, cell in zip("ABCDEFGH", cells, strict=False):
            place = f'r="{letter}{line}"'
            if isinstance(cell, tuple):
                sheet += f'<c {place} s="{shown[cell[0]]}"><v>{cell[1]!r}</v></c>'
            elif isinstance(cell, str):
                sheet += f'<c {place} t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
            elif cell is not None:
                sheet += f"<c {place}><v>{cell!r}</v></c>"
        sheet += "</row>"
    return f'<worksheet xmlns="{MAIN}"><sheetData>{sheet}</sheetData></worksheet>'


MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
TWO = '<sheet name="Two" sheetId="2" r:id="rId3"/>'


def spreadsheet(file: Path, lines: list[list], *, first_line=1, second=()) -> Path:
    """Write sheets; a cell is a text, a number, or a number shown as a date or time of day."""
    main = MAIN
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    formats = "".join(f'<xf numFmtId="{number}"/>' for number in (0, 14, 21, 22))
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Log" sheetId="1" r:id="rId1"/>'
        f"{TWO if second else ''}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId3" Type="{office}/worksheet" Target="worksheets/sheet2.xml"/>'
        f'<Relationship Id="rId2" Type="{office}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs count="4">{formats}</cellXfs>'
        "</styleSheet>",
        "xl/worksheets/sheet1.xml": sheet_of(lines, first_line),
        "xl/worksheets/sheet2.xml": sheet_of(list(second), 1),
    }
    with zipfile.ZipFile(file, "w") as book:
        for name, text in parts.items():
            book.writestr(name, f'<?xml version="1.0"?>{text}')
    return file


# Files

CELL = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\ufeff\r"), min_size=1, max_size=6
).filter(lambda text: text == text.strip())


@with_settings(max_examples=40)
@given(
    cells=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=5),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_cells_are_read_as_they_stand(tmp_path_factory, cells, separator, encoding):
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([["a", "b", "c"], *cells])
    file = write(tmp_path_factory.getbasetemp(), text.getvalue(), encoding=encoding)
    table = read_table(file, separator=separator)
    assert table.columns == ("a", "b", "c")
    composed = [tuple(unicodedata.normalize("NFC", one) for one in line) for line in cells]
    assert list(table.rows) == list(enumerate(composed, 2))


@pytest.mark.parametrize("separator", ",;\t|")
def test_the_separator_is_found_beside_other_marks(tmp_path, separator):
    lines = [["date", "time", "note"], ["1.5.24", "10:00", "1,5; x | y"], ["2.5.24", "11:00", "a"]]
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(lines)
    table = read_table(write(tmp_path, text.getvalue()))
    assert [table.columns, *(cells for _, cells in table.rows)] == [tuple(one) for one in lines]


def test_a_file_of_semicolons_may_have_decimal_commas(tmp_path):
    table = read_table(write(tmp_path, "t;a;b;c\n0,5;1,5;2,5;3,5\n1,5;1,5;2,5;3,5\n"))
    assert table.columns == ("t", "a", "b", "c")
    assert number(table.rows[0][1][1]) == 1.5


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("date,note\n1,Füße\n".encode("cp1252"), "Windows Latin-1"),
        ("date,note\n1,Füße\n".encode("utf-16-le"), "utf-16-le"),
        ("date,note\n1,Füße\n".encode("utf-16"), "UTF-16"),
        ("date,note\n1,Füße\n".encode("utf-8-sig"), "UTF-8"),
    ],
)
def test_encodings_are_found_and_told(tmp_path, data, encoding):
    file = tmp_path / "log.csv"
    file.write_bytes(data)
    table = read_table(file)
    assert table.rows == ((2, ("1", "Füße")),)
    assert table.described.endswith(f"in {encoding}")


def test_lines_are_counted_as_a_spreadsheet_shows_them(tmp_path):
    text = 'Birds 2024\n,\n\ndate,note\n\n1,"two\nlines"\n\n2,x\n'
    table = read_table(write(tmp_path, text))
    assert table.preamble == (("Birds 2024",),)
    assert table.header_line == 4
    assert table.rows == ((6, ("1", "two\nlines")), (8, ("2", "x")))


def test_columns_without_name_or_with_that_of_another_get_one(tmp_path):
    table = read_table(write(tmp_path, "date,note,note,,\n1,a,b,c,\n2,a,b,,\n"))
    assert table.columns == ("date", "note", "note (2)", "column 4")
    assert table.column("note (2)") == ["b", "b"]


def test_short_lines_are_filled_up(tmp_path):
    assert read_table(write(tmp_path, "a,b,c\n1,2\n1,2,3\n")).rows[0] == (2, ("1", "2", ""))


def test_a_spreadsheet_is_read_with_its_dates_times_and_lines(tmp_path):
    file = spreadsheet(
        tmp_path / "log.xlsx",
        [
            ["date", "time", "when", "behaviour", "code"],
            [("date", 45403.0), ("time", 0.5), ("both", 45403.43663194444), "peck & run", "0012"],
            [],
            [("date", 45404.0), ("time", 0.25), ("both", 45404.5), "peck", 7],
        ],
        first_line=3,
    )
    table = read_table(file)
    assert table.header_line == 3
    assert [row for row, _ in table.rows] == [4, 6]
    assert table.column("code") == ["0012", "7"]
    apart = read_log(file, replace(LONDON, time=("date", "time")))
    together = read_log(file, replace(LONDON, time=("when",)))
    assert apart.observations["start_ms"].to_list() == [
        ms("2024-04-21 11:00"),
        ms("2024-04-22 05:00"),
    ]
    assert together.observations["start_ms"].to_list() == [
        ms("2024-04-21 09:28:45"),
        ms("2024-04-22 11:00"),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"log\.csv cannot be read: No such file"),
        (b"", "is empty"),
        (b"\xff\xfe\n\0", "is empty|no names|all its cells are"),
        (b"RIFF\0\0\0\0WAVEfmt \0\0\0\0\0", "is no table"),
        (b"PK\x03\x04broken", "looks like a spreadsheet and cannot be read as one"),
        (b"a,b,c\n", "has no rows"),
        (b"a,b,c\n1,2,3,4\n1,2,3\n1,2,3,4\n", "lines 2, 4: more cells than the 3 columns"),
        (b'a,b,c\n1,"2,3\n1,2,3\n', "is a quote opened and never closed"),
        (b"21.04.24,10:00,peck\n21.04.24,10:05,peck\n", "line 1 holds values"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, data, message):
    file = tmp_path / "log.csv"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(WrongArgument, match=message):
        read_table(file)


def test_an_error_in_the_first_sheet_names_the_others(tmp_path):
    file = tmp_path / "log.xlsx"
    lines = [["when", "behaviour"], ["2024-04-21 10:00", "peck"]]
    spreadsheet(file, [["made by", "notes"], ["Ann", "none"]], second=lines)
    with pytest.raises(WrongArgument, match=r"says when.*'Log', was read; .* are 'Two': .*--sheet"):
        read_log(file, LONDON)
    with pytest.raises(WrongArgument) as refused:
        read_log(file, replace(LONDON, sheet="Log"))
    assert "--sheet" not in str(refused.value)
    assert read_log(file, replace(LONDON, sheet="Two")).observations.height == 1


def test_a_sheet_or_header_that_is_not_there_is_refused(tmp_path):
    file = spreadsheet(tmp_path / "log.xlsx", [["a", "b"], ["1", "2"]])
    with pytest.raises(WrongArgument, match="no sheet 'Birds'; it has 'Log'"):
        read_table(file, sheet="Birds")
    with pytest.raises(WrongArgument, match="line 9 holds no names"):
        read_table(file, header_line=9)


# Times

SECOND = timedelta(seconds=1)


def twelve_hours(time: datetime) -> str:
    return f"{time.hour % 12 or 12}:{time:%M:%S}{fraction(time)} {'AM' if time.hour < 12 else 'PM'}"


def fraction(time: datetime) -> str:
    return f".{time.microsecond // 1000:03}"


def days(time: datetime) -> float:
    return (time - datetime(1899, 12, 30)) / timedelta(days=1)


def run_together(time: datetime) -> str:
    """102845, and 92845 as a spreadsheet leaves it; from midnight to one with all its zeros."""
    text = f"{time:%H%M%S}"
    return (text.lstrip("0") if time.hour else text) + fraction(time)


WRITTEN = {
    "points": ("day.month.year", lambda t: [f"{t:%d.%m.%Y}", f"{t:%H:%M:%S}{fraction(t)}"]),
    "two digits": ("day.month.year", lambda t: [f"{t:%d/%m/%y}", f"{t:%H:%M:%S}{fraction(t)}"]),
    "american": ("month.day.year", lambda t: [f"{t.month}/{t.day}/{t.year}", twelve_hours(t)]),
    "run together": ("year.month.day", lambda t: [f"{t:%Y%m%d}", run_together(t)]),
    "six digits": ("day.month.year", lambda t: [f"{t:%d%m%y}", run_together(t)]),
    "month's name": ("day.month.year", lambda t: [f"{t:%d %b %Y}", twelve_hours(t)]),
    "iso": ("year.month.day", lambda t: [f"{t:%Y-%m-%d} {t:%H:%M:%S}{fraction(t)}"]),
    "iso with zone": ("year.month.day", lambda t: [f"{t:%Y-%m-%dT%H:%M:%S}{fraction(t)}+00:00"]),
    "comma": ("day.month.year", lambda t: [f"{t:%d.%m.%Y, %H:%M:%S},{t.microsecond // 1000:03}"]),
    "of files": ("year.month.day", lambda t: [f"{t:%Y%m%d_%H%M%S}{fraction(t)}"]),
    "excel": ("excel days", lambda t: [repr(days(t))]),
    "excel apart": ("excel days", lambda t: [str(int(days(t))), repr(days(t) % 1)]),
    "seconds": ("seconds since 1970", lambda t: [f"{(t - datetime(1970, 1, 1)) / SECOND:.3f}"]),
    "milliseconds": (
        "milliseconds since 1970",
        lambda t: [str(round((t - datetime(1970, 1, 1)) / SECOND * 1000))],
    ),
}


def to_ms(time: datetime) -> int:
    return (time - datetime(1970, 1, 1)) // timedelta(milliseconds=1)


@given(
    times=st.lists(
        st.integers(ms("1990-01-01"), ms("2027-12-31")).map(
            lambda n: datetime(1970, 1, 1) + timedelta(milliseconds=n)
        ),
        min_size=1,
        max_size=5,
    ),
    form=st.sampled_from(sorted(WRITTEN)),
)
def test_times_in_every_format_are_read_to_the_millisecond(times, form):
    date_format, written = WRITTEN[form]
    texts = [written(time) for time in times]
    clock = "excel days" if form == "excel apart" else ""
    if form in ("run together", "six digits", "of files"):
        clock = "hhmmss"
    reading = read_times(texts, years=YEARS, date_format=date_format, time_format=clock)
    assert [to_utc_ms(one, "UTC") for one in reading.moments] == [to_ms(time) for time in times]


@given(
    begin=st.dates(datetime(1995, 1, 1).date(), datetime(2026, 1, 1).date()),
    steps=st.lists(st.integers(0, 20), min_size=1, max_size=30),
    order=st.sampled_from(ORDERS),
    mark=st.sampled_from("./-"),
    year=st.sampled_from(["%Y", "%y"]),
)
def test_an_order_of_dates_is_found_rightly_or_refused(begin, steps, order, mark, year):
    if mark == "." and order == ORDERS[1]:
        mark = "/"
    dates = [begin + timedelta(days=n) for n in itertools.accumulate(steps)]
    pattern = mark.join({"day": "%d", "month": "%m", "year": year}[one] for one in order.split("."))
    texts = [(f"{one:{pattern}}", "10:00") for one in dates]
    has_late_day = any(one.day > 12 for one in dates)
    try:
        reading = read_times(texts, years=YEARS)
    except WrongArgument:
        assert year == "%y" or not has_late_day
        return
    right = [(one - datetime(1970, 1, 1).date()).days * DAY_MS + 36_000_000 for one in dates]
    assert [one and one.local_ms for one in reading.moments] == right


@given(st.integers(ms("2023-01-01"), ms("2026-01-01")), st.sampled_from(["Europe/London", "UTC+2"]))
def test_wall_clocks_are_read_back_or_named_ambiguous(utc_ms, zone):
    known = ZoneInfo(zone) if "/" in zone else ZoneInfo("Etc/GMT-2")
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms)).astimezone(known)
    found = to_utc_ms(Moment(to_ms(local.replace(tzinfo=None)), None), zone)
    if local.utcoffset() == local.replace(fold=1 - local.fold).utcoffset():
        assert found == utc_ms
    else:
        assert found[0] == "ambiguous"


@pytest.mark.parametrize(
    ("text", "time_format", "expected"),
    [
        ("10:28", "h:m:s", (37_680_000, None)),
        ("10h28", "h:m:s", (37_680_000, None)),
        ("10.28.45", "h:m:s", (37_725_000, None)),
        ("12 am", "h:m:s", (0, None)),
        ("1:05 p.m.", "h:m:s", (47_100_000, None)),
        ("10:28:45.2506", "h:m:s", (37_725_251, None)),
        ("10:28:59.9999", "h:m:s", (37_739_999, None)),
        ("10:28:45-03:30", "h:m:s", (37_725_000, -210)),
        ("10:28Z", "h:m:s", (37_680_000, 0)),
        ("10:28-11:00", "h:m:s", None),
        ("13:00 pm", "h:m:s", None),
        ("24:00", "h:m:s", None),
        ("102845", "h:m:s", None),
        ("92425", "hhmmss", (33_865_000, None)),
        ("9:24", "hhmmss", (33_840_000, None)),
        ("106145", "hhmmss", None),
        ("930", "hhmm", (34_200_000, None)),
        ("0.5", "excel days", (43_200_000, None)),
        ("1.5", "excel days", None),
    ],
)
def test_times_of_day_are_read(text, time_format, expected):
    assert parse_clock(text, time_format) == expected


def test_a_time_of_day_without_its_zeros_can_be_two(tmp_path):
    log = read(
        tmp_path,
        "date,time,behaviour\n2024-04-21,102845,a\n2024-04-21,1028,a\n2024-04-21,92425,b\n",
    )
    assert problems(log) == [(3, "ambiguous")]
    assert "001028 or 102800" in what(log, 3)
    assert "times of day are read as hhmmss (102845 is 10:28:45)" in log.guessed


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("21.04.24", "day.month.year", "2024-04-21"),
        ("21.04.24", "year.month.day", "2021-04-24"),
        ("21.04.24", "month.day.year", None),
        ("1/2/1999", "month.day.year", "1999-01-02"),
        ("2024-04-21", "day.month.year", "2024-04-21"),
        ("21-Apr-24", "month.day.year", "2024-04-21"),
        ("April 21, 2024", "day.month.year", "2024-04-21"),
        ("3 Sept 2024", "day.month.year", "2024-09-03"),
        ("30.02.24", "day.month.year", None),
        ("40524", "day.month.year", "2024-05-04"),
        ("2024-04-21 00:00:00", "year.month.day", "2024-04-21"),
        ("21.04.", "day.month.year", None),
        ("21.04.024", "day.month.year", None),
    ],
)
def test_dates_are_read(text, order, expected):
    found = parse_date(text, order)
    assert (found and found.isoformat()) == expected


def test_orders_are_understood_as_people_write_them():
    assert {as_order(one) for one in ("dmy", "DD.MM.YYYY", "day/month/year")} == {ORDERS[0]}
    assert as_order("yyyy-mm-dd") == ORDERS[2]
    with pytest.raises(WrongArgument, match="'weekly' is no format of dates"):
        as_order("weekly")


def test_dates_in_two_orders_are_refused_with_both_readings(tmp_path):
    text = "date,time,behaviour\n03/04/24,10:00,a\n03/04/24,11:00,b\n"
    with pytest.raises(WrongArgument, match=r"3 April 2024.* or 4 March 2024.*--date-format"):
        read(tmp_path, text)
    log = read(tmp_path, text, date_format="mdy")
    assert log.observations["start_ms"][0] == ms("2024-03-04 10:00")
    assert log.config.date_format == "month.day.year"


def dated(*dates: str) -> str:
    return "date,time,behaviour\n" + "".join(f"{date},10:00,a\n" for date in dates)


def test_a_date_that_one_order_alone_can_read_decides_and_it_is_said(tmp_path):
    log = read(tmp_path, dated("03/04/24", "13/04/24", "30/04/24"))
    assert log.observations["start_ms"][0] == ms("2024-04-03 09:00")
    (said,) = (one for one in log.guessed if "dates are read" in one)
    assert said.startswith("dates are read as day.month.year (03/04/24 is 3 April 2024); ")
    assert "13/04/24 is no day of 1990 to 20" in said
    assert re.search(r"30/04/24 is no day of 1990 to 20\d\d as year.month.day", said)


def test_a_short_or_orderly_log_is_no_evidence_of_an_order(tmp_path):
    with pytest.raises(WrongArgument) as refused:
        read(tmp_path, dated("06/03/24", "06/04/24", "06/05/24"))
    for said in (
        "log.csv: '06/03/24' is 6 March 2024 (day.month.year) or 3 June 2024 (month.day.year)",
        "'06/04/24' is 6 April 2024 (day.month.year) or 4 June 2024 (month.day.year)",
        "--date-format day.month.year or --date-format month.day.year",
    ):
        assert said in str(refused.value)


@pytest.mark.parametrize(
    ("days", "right"),
    [
        (("2024-06-03", "2024-06-04", "2024-07-01"), "2024-06-03"),
        (("2024-03-06", "2024-04-06"), "2024-03-06"),
        (("2024-03-06",), None),  # one of three days may be chance
        (("2024-03-06", "2024-04-06", "2024-06-05"), None),
        (("2023-06-03",), None),
    ],
)
def test_the_days_of_the_recordings_decide_where_one_order_alone_falls_on_them(
    tmp_path, days, right
):
    file = write(tmp_path, dated("06/03/24", "06/04/24", "06/05/24"))
    recorded = [(ms(f"{day} 22:30"), ms(f"{day} 22:45")) for day in days]
    if right is None:
        with pytest.raises(WrongArgument, match="Neither its other dates nor the days of"):
            read_log(file, LONDON, recorded=recorded)
        return
    log = read_log(file, LONDON, recorded=recorded)
    assert log.observations["start_ms"][0] == ms(f"{right} 10:00") - (
        0 if right == "2024-03-06" else 3_600_000
    )
    assert any(
        "something was recorded on 2 of its 3 days, and on none as" in s for s in log.guessed
    )


def test_days_are_those_of_the_clocks_there():
    night = [(ms("2024-06-03 22:30"), ms("2024-06-03 23:30"))]
    start = (ms("2024-06-03")) // DAY_MS
    assert days_of(night, "Europe/London") == {start, start + 1}
    assert days_of(night, "UTC+2") == {start + 1}
    assert days_of(night, "") == {start}


# Years that slip


def test_a_date_dragged_down_is_suspicious_with_both_readings(tmp_path):
    text = "date,time,behaviour\n20.04.2024,9:00,a\n21.04.2024,10:00,a\n"
    text += "".join(f"21.04.{2024 + n},10:0{n},a\n" for n in range(1, 4))
    text += "22.04.2024,9:00,a\n"
    log = read(tmp_path, text, latest_year=2026)
    assert problems(log) == [(4, "suspicious"), (5, "suspicious"), (6, "unread")]
    assert "21 April 2025, but line 3 beside it is of 21 April 2024" in what(log, 4)
    assert "21 April 2027 in day.month.year, outside 1990 to 2026" in what(log, 6)
    assert ms("2025-04-21 09:01") in log.observations["start_ms"].to_list()


def days_ms(*dates: str) -> list[int]:
    return [ms(f"{one} 10:00") + n for n, one in enumerate(dates)]


@pytest.mark.parametrize(
    ("dates", "slips"),
    [
        # The old year in January.
        (
            ["2023-12-29", "2023-12-30", "2023-01-02", "2024-01-04", "2024-01-05", "2024-01-09"],
            {2: 1},
        ),
        # A block of another year in between.
        (
            ["2024-04-21", "2025-04-21", "2025-04-21", "2024-04-21", *["2024-04-22"] * 8],
            {1: 0, 2: 0},
        ),
        # The first row, before many.
        (["2023-04-21", "2024-04-21", "2024-04-21", "2024-04-23"], {0: 1}),
        # Another season is no slip, nor is a log that is sorted otherwise.
        (["2023-04-21", "2023-05-20", "2024-04-22", "2024-05-20"], {}),
        (["2024-04-21", "2023-04-20", "2024-05-21", "2023-05-20", "2024-06-01", "2023-06-03"], {}),
        (["2024-04-21"], {}),
    ],
)
def test_years_that_fall_out_of_the_order_are_found(dates, slips):
    found = slips_of_year(days_ms(*dates))
    assert {at: slip.beside for at, slip in found.items()} == slips


def test_a_slip_is_put_into_the_year_of_the_rows_beside_it():
    times = days_ms("2023-12-30", "2023-12-30", "2023-01-02", "2024-01-04", "2024-01-05")
    assert slips_of_year(times)[2].right_ms == ms("2024-01-02 10:00") + 2


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 5)), min_size=1, max_size=9))
def test_the_heaviest_forward_run_is_the_heaviest_of_all(blocks):
    values, weights = zip(*blocks, strict=True)
    kept = sorted(_longest_forward(values, weights))
    forward = (
        some
        for size in range(1, len(blocks) + 1)
        for some in itertools.combinations(range(len(blocks)), size)
        if all(values[a] <= values[b] for a, b in itertools.pairwise(some))
    )
    assert all(values[a] <= values[b] for a, b in itertools.pairwise(kept))
    assert sum(weights[n] for n in kept) == max(sum(weights[n] for n in one) for one in forward)


# Zones


def test_a_night_that_keeps_the_date_of_its_evening_is_asked_about_once(tmp_path):
    evening = ["23:30", "23:31", "23:34"]
    night = "date,time,behaviour\n" + "".join(
        f"26.10.2024,{time},a\n" for time in [*evening, "00:30", "01:30", "00:50"]
    )
    log = read(tmp_path, night + "27.10.2024,22:00,a\n")
    assert problems(log) == [(5, "suspicious")]
    assert "goes back from 23:34:00 to 00:30:00 of the same date: is it of the next" in what(log, 5)
    assert len(log.observations) == 7


@pytest.mark.parametrize(
    "times",
    [
        ["23:30", "11:40"],  # less than half a day
        ["23:30", "20:00", "06:00", "05:00"],  # the newest first
        ["05:00", "22:00", "05:30", "22:30"],  # by behaviour
    ],
)
def test_rows_in_another_order_than_that_of_time_are_no_night(tmp_path, times):
    text = "date,time,behaviour\n" + "".join(f"26.10.2024,{time},a\n" for time in times)
    assert problems(read(tmp_path, text)) == []
    at_two = "date,time,site,behaviour\n26.10.2024,23:30,north,a\n26.10.2024,00:30,south,a\n"
    assert problems(read(tmp_path, at_two)) == []


def test_a_zone_must_be_given_where_times_state_none(tmp_path):
    text = "time,behaviour\n2024-04-21 10:00,a\n"
    with pytest.raises(WrongArgument, match=r"do not say in which zone.*--timezone Europe/London"):
        read(tmp_path, text, LogConfig())
    with pytest.raises(WrongArgument, match="no time zone 'Londn': did you mean Europe/London"):
        read(tmp_path, text, LogConfig(timezone="Londn"))
    log = read_log(write(tmp_path, text), LogConfig(), default_timezone="UTC+2")
    assert log.observations["start_ms"].to_list() == [ms("2024-04-21 08:00")]
    assert any("times that state no zone are of UTC+2" in one for one in log.guessed)
    stated = read(tmp_path, "time,behaviour\n2024-04-21T10:00:00-03:00,a\n", LogConfig())
    assert stated.observations["start_ms"].to_list() == [ms("2024-04-21 13:00")]


def test_hours_that_daylight_saving_leaves_out_or_repeats_are_listed(tmp_path):
    log = read(
        tmp_path,
        "time,behaviour\n2024-03-31 00:59:59,a\n2024-03-31 01:30,a\n2024-03-31 02:00,a\n"
        "2024-10-27 01:30,a\n2024-10-27 02:00,a\n",
    )
    assert problems(log) == [(3, "unread"), (5, "ambiguous")]
    assert "never occurs in Europe/London" in what(log, 3)
    assert "2024-10-27 00:30:00 or 2024-10-27 01:30:00 UTC" in what(log, 5)
    assert log.observations["start_ms"].to_list() == [
        ms("2024-03-31 00:59:59"),
        ms("2024-03-31 01:00"),
        ms("2024-10-27 02:00"),
    ]


def test_time_in_which_a_row_may_lie_that_can_be_of_two_is_not_watched(tmp_path):
    def watched(text: str, **settings) -> list[tuple]:
        log = read(tmp_path, text, LogConfig(timezone="Europe/Berlin", tolerance_ms=1), **settings)
        told = [one.what for one in log.problems if not one.row]
        assert any("60 min do not count as watched" in one for one in told) == ("02:" in text)
        return [
            tuple(f"{datetime.fromtimestamp(ms / 1000, UTC):%H:%M}" for ms in span)
            for span in rows(log.effort, "start_ms", "stop_ms")
        ]

    point = "time,behaviour\n27.10.2024 01:00,a\n27.10.2024 {},a\n27.10.2024 04:00,a\n"
    assert watched(point.format("01:30")) == [("23:00", "03:00")]
    # It is 00:10 or 01:10 in UTC.
    assert watched(point.format("02:10")) == [("23:00", "00:09"), ("01:10", "03:00")]
    effort = write(tmp_path, "start,stop\n27.10.2024 00:10,27.10.2024 05:00\n", name="e.csv")
    declared = watched(point.format("02:10"), effort=str(effort))
    assert declared == [("22:10", "00:09"), ("01:10", "04:00")]


def test_a_state_with_an_end_that_can_be_of_two_times_is_not_watched(tmp_path):
    text = (
        "start,stop,behaviour\n27.10.2024 00:30,27.10.2024 00:40,a\n"
        "27.10.2024 01:50,27.10.2024 02:10,a\n27.10.2024 03:30,,a\n27.10.2024 04:00,,b\n"
    )
    log = read(tmp_path, text, LogConfig(timezone="Europe/Berlin", tolerance_ms=1))
    first, second = rows(log.effort, "start_ms", "stop_ms")
    assert first == (ms("2024-10-26 22:30"), ms("2024-10-26 23:50") - 1)
    assert second == (ms("2024-10-27 01:10") + 1, ms("2024-10-27 03:00"))


def test_a_zone_in_the_name_of_the_column_counts_unless_another_is_declared(tmp_path):
    file = write(tmp_path, "Date,Time (UTC),Behaviour\n2024-06-21,10:00,a\n")
    log = read_log(file, LogConfig(), default_timezone="Europe/London")
    assert log.observations["start_ms"].to_list() == [ms("2024-06-21 10:00")]
    assert "times that state no zone are of UTC (another: --timezone)" in log.guessed
    assert read_log(file, LONDON).observations["start_ms"].to_list() == [ms("2024-06-21 09:00")]


# Numbers


@pytest.mark.parametrize(
    ("cells", "settings", "message"),
    [
        (
            "1713692925\n1713692999",
            {"date_format": "milliseconds since 1970"},
            r"20 January 1970.*seconds were taken for milliseconds\. As seconds it is 2024-04-21",
        ),
        (
            "1713692925000\n1713692999000",
            {"date_format": "seconds since 1970"},
            "milliseconds were taken for seconds.*--date-format 'milliseconds since 1970'",
        ),
        ("0.5\n12.25", {}, "counts seconds from a start, say when that was: --media-start"),
        ("0.5\n1", {"date_format": "seconds"}, "counts from a start that is not known"),
        ("21.04.1824 10:00\n22.04.1824 10:00", {}, "21 April 1824.*outside 1990"),
        ("soon\nlater", {"time": ("time",)}, "'soon' cannot be read as a time"),
        ("10:00\n11:00", {"time": ("time",)}, "time of day without a date.*--time date,time"),
        ("21.04.24\n22.04.24", {"time": ("time",)}, "a date without a time of day"),
        ("10:00\n11:00", {}, "'time' is a time of day, and no column holds the date"),
        ("10:00\n11:00", {"media_start": "noon"}, "--media-start 'noon' is no time"),
        ("10:00", {"time_format": "sundial", "time": ("=2024-04-21", "time")}, "'sundial' is no"),
        ("10:00", {"time": ("time", "time", "time")}, "one column or two"),
        ("10:00", {"latest_year": 1980}, "latest_year .1980. lies before"),
    ],
)
def test_times_that_cannot_be_are_refused_with_the_way_out(tmp_path, cells, settings, message):
    text = "time,behaviour\n" + "".join(f"{cell},a\n" for cell in cells.splitlines())
    with pytest.raises(WrongArgument, match=message):
        read(tmp_path, text, **settings)


def test_numbers_since_1970_are_told_apart_by_their_size(tmp_path):
    seconds = read(tmp_path, "timestamp,event\n1713692925,a\n1713692999.5,b\n", LogConfig())
    thousands = read(tmp_path, "timestamp,event\n1713692925000,a\n1713692999500,b\n", LogConfig())
    assert seconds.observations.equals(thousands.observations)
    assert seconds.observations["start_ms"].to_list() == [1713692925000, 1713692999500]


def test_seconds_count_from_a_declared_start_over_a_change_of_the_clocks(tmp_path):
    log = read(
        tmp_path, "s,behaviour\n0.5,a\n5400,b\n", time=("s",), media_start="2024-03-31 00:30:00"
    )
    assert log.observations["start_ms"].to_list() == [
        ms("2024-03-31 00:30:00.500"),
        ms("2024-03-31 02:00"),
    ]


@pytest.mark.parametrize(
    ("unit", "times", "words"),
    [
        ("seconds", (500, 900_000, 1_800_000), "milliseconds were taken for seconds"),
        ("milliseconds", (0, 5, 11, 17), "seconds were taken for milliseconds"),
    ],
)
def test_a_pace_that_cannot_be_is_suspicious(tmp_path, unit, times, words):
    text = "s,behaviour\n" + "".join(f"{one},a\n" for one in times)
    start = "2024-04-25T12:58:00+01:00"
    log = read(tmp_path, text, time=("s",), date_format=unit, media_start=start)
    assert words in what(log, 0)


# Tables


def test_numbers_that_say_start_and_stop_and_a_column_who_are_guessed(tmp_path):
    log = read(
        tmp_path,
        "start,stop,who,behaviour\n1713692925,1713692999,Alma,rest\n1713693000,1713693009,Bo,fly\n",
        LogConfig(),
    )
    assert (log.config.start, log.config.stop) == (("start",), ("stop",))
    assert rows(log.observations, "subject", "is_state", "stop_ms") == [
        ("Alma", True, 1713692999000),
        ("Bo", True, 1713693009000),
    ]
    film = read(
        tmp_path,
        "start_s,stop_s,behaviour\n0.5,2,rest\n3,4,fly\n",
        media_start="2024-04-25T12:58:00+01:00",
    )
    assert film.observations["stop_ms"][0] == ms("2024-04-25 11:58:02")
    with pytest.raises(WrongArgument, match=r"counts seconds from a start.*--media-start"):
        read(tmp_path, "start,stop,behaviour\n0.5,2,rest\n3,4,fly\n")


def test_points_with_subject_site_session_and_count_are_read(tmp_path):
    log = read(
        tmp_path,
        "when,site,session,bird,behaviour,n\n"
        "2024-04-21 10:00,north,A,Alma,peck,2\n"
        "2024-04-21 10:00,south,B,,peck,\n"
        "2024-04-21 10:05,north,A,Bert,fly,many\n"
        "2024-04-21 10:06,north,A,Bert,fly,0\n"
        "2024-04-21 10:07,north,A,Bert,,1\n",
    )
    assert rows(
        log.observations, "row", "behaviour", "subject", "session", "timeline", "count"
    ) == [
        (2, "peck", "Alma", "A", "site:north", 2.0),
        (3, "peck", "", "B", "site:south", None),
        (4, "fly", "Bert", "A", "site:north", None),
    ]
    assert problems(log) == [(4, "suspicious"), (6, "unread")]
    assert "rows with n 0 (1) say that nothing was seen" in log.guessed
    assert rows(log.effort, "session", "timeline", "start_ms", "stop_ms", "source") == [
        ("A", "site:north", ms("2024-04-21 09:00"), ms("2024-04-21 09:07"), "first to last row"),
        (
            "B",
            "site:south",
            ms("2024-04-21 08:59:59.500"),
            ms("2024-04-21 09:00:00.500"),
            "first to last row",
        ),
    ]
    for table, schema in (
        (log.observations, OBSERVATIONS),
        (log.effort, EFFORT),
        (log.context, CONTEXT),
    ):
        assert dict(table.schema) == dict(schema)
    assert log.observations["observation"].to_list() == [0, 1, 2]
    assert set(log.observations["log"]) == {"log"}


def test_fixed_values_stand_for_columns(tmp_path):
    log = read(
        tmp_path,
        "time\n10:00\n11:00\n",
        time=("=2024-04-21", "time"),
        behaviour="=flight",
        site="=north",
        session="=first",
    )
    assert (
        rows(log.observations, "behaviour", "session", "timeline")
        == [("flight", "first", "site:north")] * 2
    )


STATES = """start,stop,behaviour,subject
2024-04-21 10:00,2024-04-21 10:05,rest,A
2024-04-21 10:04,2024-04-21 10:06,rest,A
2024-04-21 10:04,2024-04-21 10:06,rest,B
2024-04-21 11:00,2024-04-21 10:59,fly,A
2024-04-21 12:00,,rest,B
2024-04-21 12:00,,chirp,B
2024-04-21 12:30,late,rest,B
2024-04-21 12:00,2024-04-22 01:30,sleep,B
"""


def test_states_with_start_and_stop_are_read_and_their_faults_listed(tmp_path):
    log = read(tmp_path, STATES, LogConfig(timezone="UTC"))
    assert rows(log.observations, "row", "is_state", "start_ms", "stop_ms") == [
        (2, True, ms("2024-04-21 10:00"), ms("2024-04-21 10:05")),
        (3, True, ms("2024-04-21 10:04"), ms("2024-04-21 10:06")),
        (4, True, ms("2024-04-21 10:04"), ms("2024-04-21 10:06")),
        (7, False, ms("2024-04-21 12:00"), ms("2024-04-21 12:00")),
        (9, True, ms("2024-04-21 12:00"), ms("2024-04-22 01:30")),
    ]
    assert problems(log) == [
        (3, "suspicious"),
        (5, "unread"),
        (6, "unread"),
        (8, "unread"),
        (9, "suspicious"),
    ]
    assert "'rest' of 'A' overlaps that of line 2 by 60 s" in what(log, 3)
    assert "stops 60 s before it starts" in what(log, 5)
    assert "has a start and no stop" in what(log, 6)
    assert "its stop: '2024" not in what(log, 8)
    assert "'late'" in what(log, 8)
    assert "lasts 810 min: is an end missing?" in what(log, 9)


def test_times_of_day_that_start_and_stop_share_the_date(tmp_path):
    log = read(
        tmp_path,
        "date,start,stop,behaviour\n2024-04-21,10:00,10:05,rest\n2024-04-21,10:07,10:09,rest\n",
        LogConfig(timezone="UTC"),
    )
    assert log.config.start == ("date", "start")
    assert log.config.stop == ("date", "stop")
    assert log.observations["stop_ms"].to_list() == [ms("2024-04-21 10:05"), ms("2024-04-21 10:09")]


def test_marks_in_a_form_of_stretches_are_states(tmp_path):
    log = read(
        tmp_path,
        "date,from,to,peck,fly\n21.04.2024,10:00,10:05,1,\n21.04.2024,10:05,10:10,,3\n",
    )
    assert rows(log.observations, "behaviour", "is_state", "stop_ms", "count") == [
        ("peck", True, ms("2024-04-21 09:05"), 1.0),
        ("fly", True, ms("2024-04-21 09:10"), 3.0),
    ]


def test_rows_of_start_and_stop_are_paired_by_subject_and_behaviour(tmp_path):
    log = read(
        tmp_path,
        "datetime,behaviour,status,subject\n"
        "2024-04-21T10:00:00Z,rest,START,A\n"
        "2024-04-21T10:01:00Z,rest,start,B\n"
        "2024-04-21T10:02:00Z,call,POINT,A\n"
        "2024-04-21T10:05:00Z,rest,STOP,A\n"
        "2024-04-21T10:06:00Z,rest,STOP,A\n"
        "2024-04-21T10:07:00Z,rest,START,B\n"
        "2024-04-21T10:08:00Z,rest,pause,B\n",
        LogConfig(),
    )
    assert rows(log.observations, "row", "behaviour", "is_state", "subject") == [
        (2, "rest", True, "A"),
        (4, "call", False, "A"),
    ]
    assert log.observations["stop_ms"][0] == ms("2024-04-21 10:05")
    assert problems(log) == [(3, "unread"), (6, "unread"), (7, "unread"), (8, "unread")]
    assert "never stops (no STOP): line 7 starts it again" in what(log, 3)
    assert "stops here and never started" in what(log, 6)
    assert "neither START nor STOP" in what(log, 8)


def test_rows_that_are_alike_are_suspicious_and_two_observations(tmp_path):
    log = read(tmp_path, "time,behaviour\n2024-04-21 10:00,a\n2024-04-21 10:00,a\n")
    assert problems(log) == [(3, "suspicious")]
    assert "same as line 2" in what(log, 3)
    assert "count once in rates and tests" in what(log, 3)
    assert log.observations.height == 2


def test_a_total_line_and_cells_left_out_are_listed(tmp_path):
    log = read(
        tmp_path,
        "date,time,behaviour\n21.04.2024,10:00,a\n\n,10:05,a\n21.04.2024,,a\n22.04.2024,CHECK,b\n"
        "22.04.2024,9:00,b\ntotal,,5\n",
    )
    assert problems(log) == [(row, "unread") for row in (4, 5, 6, 8)]
    assert "it has no date ('10:05')" in what(log, 4)
    assert "it has no time of day ('21.04.2024')" in what(log, 5)
    assert "'22.04.2024 CHECK' is no time" in what(log, 6)


def test_rows_of_sync_are_observations_as_others(tmp_path):
    log = read(tmp_path, "time,behaviour\n2024-04-21 10:00,clap\n2024-04-21 10:01,peck\n")
    assert log.observations["behaviour"].to_list() == ["clap", "peck"]


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("time,who\n2024-04-21 10:00,x\n", {"format": "table"}, "no column says what was seen"),
        ("day,behaviour\n21.04.24,a\n22.04.24,b\n", {}, "has no time of day: 'day' .21.04.24."),
        ("date,dawn,behaviour\n2024-04-21,5:10,a\n", {}, "looks like it is dawn.*--time date,dawn"),
        (
            "entered,seen,time,behaviour\n2024-06-01,2024-04-21,5:10,a\n",
            {},
            "several columns hold dates .entered, seen.: say which, as --time entered,time",
        ),
        (
            "date,time,hour,behaviour\n2024-04-21,5:10,5:20,a\n",
            {},
            "several columns hold times of day .time, hour.",
        ),
        ("where,behaviour\nhere,a\n", {}, "no column that says when .where, behaviour."),
        ("a,b,behaviour\n2024-04-21 10:00,2024-04-21 10:00,x\n", {}, "several columns hold times"),
        ("time,behaviour\n2024-04-21 10:00,a\n", {"subject": "brid"}, "no column 'brid'"),
        ("time,behaviour\n2024-04-21 10:00,a\n", {"site": "tim"}, "did you mean 'time'"),
    ],
)
def test_columns_that_are_not_there_are_refused(tmp_path, text, settings, message):
    with pytest.raises(WrongArgument, match=message):
        read(tmp_path, text, **settings)


# Forms

FORM = """trial,nr,date,time,wind,audio_marker,camera_start,peck,fly,stimulus,remarks
1,1,21.04.2024,102845,3,1_1.wav,100912,1,,hawk,all calm
1,2,21.04.2024,103000,,,100912,,2-3,hawk,
1,3,21.04.2024,103100,4,1_3.WAV,100912,?,-1,dove,one left
2,4,22.04.2024,92425,2,,91000,x,0,dove,
2,5,22.04.2024,92500,,,91000,no,3,,none
"""


def test_a_form_is_understood_without_a_word(tmp_path):
    log = read(tmp_path, FORM)
    assert log.config.format == "form"
    assert log.config.time == ("date", "time")
    assert log.config.behaviours == ("peck", "fly")
    assert log.config.context == ("wind",)
    assert (log.config.session, log.config.marker) == ("trial", "audio_marker")
    said = "\n".join(log.guessed)
    assert "these 2 columns are behaviours, as they hold marks or counts in some rows" in said
    assert "not used: camera_start (other readings of a clock)" in said
    assert "not used: nr (numbers of the rows)" in said
    assert "stimulus (words (--subject if they say who, --context makes states of them))" in said
    on_site = log.observations.filter(pl.col("timeline") == "site:")
    assert rows(on_site, "row", "behaviour", "count") == [
        (2, "peck", 1.0),
        (3, "fly", None),
        (5, "peck", None),
        (6, "fly", 3.0),
    ]
    assert problems(log) == [(3, "suspicious"), (4, "suspicious"), (4, "suspicious")]


def test_a_marker_gives_observations_on_the_timeline_of_its_recording(tmp_path):
    log = read(tmp_path, FORM)
    on_file = log.observations.filter(pl.col("timeline").str.starts_with("file:"))
    assert rows(on_file, "behaviour", "timeline", "is_state", "start_ms", "stop_ms") == [
        ("peck", "file:1_1", True, 0, FOREVER)
    ]
    watched = log.effort.filter(pl.col("source") == "whole recording")
    assert rows(watched, "session", "timeline", "stop_ms") == [
        ("1", "file:1_1", FOREVER),
        ("1", "file:1_3", FOREVER),
    ]


def test_an_equals_sign_alone_is_no_column_where_one_would_be_guessed(tmp_path):
    text = (
        "datetime,behaviour,subject,site,session,count,recording\n"
        "2024-04-21 10:00,peck,A,north,s1,3,a.wav\n2024-04-21 10:05,peck,B,south,s2,2,b.wav\n"
    )
    names = ("subject", "site", "session", "count", "marker")
    guessed = read(tmp_path, text)
    assert all(getattr(guessed.config, name) for name in names)
    log = read(tmp_path, text, LogConfig(timezone="UTC", **dict.fromkeys(names, "=")))
    assert log.problems == ()
    assert (
        rows(log.observations, "subject", "timeline", "session", "count")
        == [("", "site:", "2024-04-21", None)] * 2
    )
    assert log.effort["source"].to_list() == ["first to last row"]


def test_numbers_hold_until_the_next_number_and_words_until_the_next_row(tmp_path):
    log = read(tmp_path, FORM, LogConfig(timezone="UTC", context=("wind", "stimulus"), marker="="))
    assert rows(log.context, "row", "value", "start_ms", "stop_ms") == [
        (2, 3.0, ms("2024-04-21 10:28:45"), ms("2024-04-21 10:31:00")),
        (4, 4.0, ms("2024-04-21 10:31:00"), ms("2024-04-21 10:31:00")),
        (5, 2.0, ms("2024-04-22 09:24:25"), ms("2024-04-22 09:25:00")),
    ]
    states = log.observations.filter(pl.col("is_state"))
    assert rows(states, "behaviour", "row", "start_ms", "stop_ms") == [
        ("stimulus=hawk", 2, ms("2024-04-21 10:28:45"), ms("2024-04-21 10:31:00")),
        ("stimulus=dove", 4, ms("2024-04-21 10:31:00"), ms("2024-04-21 10:31:00")),
        ("stimulus=dove", 5, ms("2024-04-22 09:24:25"), ms("2024-04-22 09:25:00")),
    ]


def test_a_guess_is_overridden_by_what_is_declared(tmp_path):
    log = read(tmp_path, FORM, behaviours=("fly",), session="=all", site="=garden")
    assert set(log.observations["behaviour"]) == {"fly"}
    assert set(log.observations["session"]) == {"all"}
    assert "site:garden" in set(log.observations["timeline"])


def test_recordings_named_by_a_form_need_no_time(tmp_path):
    log = read(tmp_path, "recording,peck,fly\nr1,1,\nr2,,3\nr3,,\n", marker="recording")
    assert rows(log.observations, "behaviour", "timeline", "count") == [
        ("peck", "file:r1", 1.0),
        ("fly", "file:r2", 3.0),
    ]
    assert log.effort.height == 3


def test_seconds_into_a_recording_lie_on_its_timeline(tmp_path):
    log = read(
        tmp_path,
        "recording,seconds,behaviour\na/r1.wav,1.5,x\nr1.flac,3,y\nr2,0.25,x\n",
        LogConfig(time=("seconds",), date_format="seconds", marker="recording"),
    )
    assert rows(log.observations, "timeline", "is_state", "start_ms", "stop_ms") == [
        ("file:r1", False, 1500, 1500),
        ("file:r1", False, 3000, 3000),
        ("file:r2", False, 250, 250),
    ]
    assert rows(log.effort, "session", "timeline", "start_ms") == [
        ("r1", "file:r1", 0),
        ("r2", "file:r2", 0),
    ]


# When somebody watched

WATCHED = """date,time,behaviour,site,wind,from,to
21.04.2024,10:10,a,north,1,10:00,11:00
21.04.2024,11:10,b,north,2,10:00,11:00
22.04.2024,12:10,b,north,3,12:00,12:30
"""


def test_effort_is_declared_by_columns(tmp_path):
    log = read(tmp_path, WATCHED, effort_start=("from",), effort_stop=("to",), context=("wind",))
    assert rows(log.effort, "session", "start_ms", "stop_ms", "source") == [
        ("north 2024-04-21", ms("2024-04-21 09:00"), ms("2024-04-21 10:00"), "declared"),
        ("north 2024-04-22", ms("2024-04-22 11:00"), ms("2024-04-22 11:30"), "declared"),
    ]
    assert problems(log) == [(3, "suspicious")]
    assert "outside of the time in which somebody watched" in what(log, 3)
    assert rows(log.context, "value", "stop_ms") == [
        (1.0, ms("2024-04-21 10:00")),
        (2.0, ms("2024-04-21 10:10")),
        (3.0, ms("2024-04-22 11:30")),
    ]


def test_effort_is_declared_by_a_table_whose_stretches_name_the_sessions(tmp_path):
    file = write(
        tmp_path,
        "session,site,date,start,stop\nmorning,north,21.04.2024,10:00,11:30\n"
        "noon,north,22.04.2024,12:00,13:00\nnever,north,22.04.2024,15:00,14:00\n",
        name="effort.csv",
    )
    log = read(tmp_path, WATCHED, effort="effort.csv")
    assert log.observations["session"].to_list() == ["morning", "morning", "noon"]
    assert rows(log.effort, "session", "start_ms", "stop_ms") == [
        ("morning", ms("2024-04-21 09:00"), ms("2024-04-21 10:30")),
        ("noon", ms("2024-04-22 11:00"), ms("2024-04-22 12:00")),
    ]
    assert problems(log) == [(0, "unread")]
    assert "effort.csv, line 4: it does not stop after it starts" in what(log, 0)
    alone, _ = read_effort(file, LONDON, log="log")
    assert alone.effort.equals(log.effort)
    assert any("effort.csv: dates are read as day.month.year" in one for one in log.guessed)
    with pytest.raises(WrongArgument, match="no columns say when a stretch of watching started"):
        read(
            tmp_path, WATCHED, effort=str(write(tmp_path, "time\n2024-04-21 10:00\n", name="e.csv"))
        )


@pytest.mark.parametrize(
    ("dates", "declared", "day"),
    [
        (["05/06/24"], "", "2024-06-05"),  # of the log, and no other
        (["05/06/24", "13/06/24"], "", "2024-06-05"),
        (["05/06/24", "06/13/24"], "", "2024-05-06"),
        (["05/06/24"], "mdy", "2024-05-06"),
    ],
)
def test_dates_of_effort_are_found_for_themselves_and_read_the_same_again(
    tmp_path, dates, declared, day
):
    table = "".join(f"{date},10:00,12:00\n" for date in dates)
    write(tmp_path, f"date,start,stop\n{table}", name="effort.csv")
    text = "time,behaviour\n2024-06-05 11:00,a\n2024-06-13 11:00,a\n"
    log = read(tmp_path, text, effort="effort.csv", date_format=declared)
    assert log.effort["start_ms"][0] == ms(f"{day} 09:00")
    assert any("effort.csv: dates are read" in one for one in log.guessed) == (not declared)
    again = read_log(tmp_path / "log.csv", log.config)
    assert again.effort.equals(log.effort)
    assert again.config == log.config


def test_dates_of_effort_that_nothing_tells_apart_are_asked_for(tmp_path):
    write(tmp_path, "date,start,stop\n05/06/24,10:00,12:00\n", name="effort.csv")
    text = "time,behaviour\n2024-06-07 11:00,a\n"
    with pytest.raises(WrongArgument, match=r"effort.csv: '05/06/24' is 5 June.*--date-format"):
        read(tmp_path, text, effort="effort.csv")


def test_a_session_of_days_is_watched_on_each_of_them(tmp_path):
    log = read(
        tmp_path,
        "time,behaviour,session\n2024-04-21 10:00,a,1\n2024-04-21 11:00,a,1\n"
        "2024-05-21 10:00,a,1\n",
        LogConfig(timezone="UTC"),
    )
    assert rows(log.effort, "start_ms", "stop_ms") == [
        (ms("2024-04-21 10:00"), ms("2024-04-21 11:00")),
        (ms("2024-05-21 09:59:59.5"), ms("2024-05-21 10:00:00.5")),
    ]
    assert "session '1' lies more than a day" in what(log, 0)


# Settings


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (FORM, {"context": ("stimulus",)}),
        (STATES, {}),
        (WATCHED, {"effort_start": ("from",), "effort_stop": ("to",)}),
        ("timestamp,event\n1713692925,a\n1713692999,b\n", {}),
        ("date,time,behaviour\n2024-04-21,102845,a\n2024-04-21,1028,a\n2024-04-21,92425,b\n", {}),
    ],
)
def test_a_log_read_again_with_its_join_toml_gives_the_same_rows(tmp_path, text, settings):
    log = read(tmp_path, text, **settings)
    (tmp_path / "join.toml").write_text(to_toml(log.config), encoding="utf-8")
    again = read_log(tmp_path / "log.csv", read_config(tmp_path / "join.toml", LogConfig))
    assert again.config == log.config
    assert again.problems == log.problems
    for table in ("observations", "effort", "context"):
        assert getattr(again, table).equals(getattr(log, table))


def test_settings_are_strict():
    assert from_mapping(LogConfig, to_mapping(LogConfig(time=("date", "time")))).time[1] == "time"
    for settings, message in (
        ({"start": ["a"]}, "start and stop go together"),
        ({"start": ["a"], "stop": ["b"], "time": ["c"]}, "either time or start and stop"),
        ({"effort_start": ["a"]}, "effort_start and effort_stop go together"),
        ({"effort": "x", "effort_start": ["a"], "effort_stop": ["b"]}, "not both"),
        ({"tolerance_ms": 0}, "tolerance_ms must be positive"),
        ({"behavior": "a"}, "did you mean behaviour"),
    ):
        with pytest.raises(ValueError, match=message):
            from_mapping(LogConfig, settings)


def test_a_log_goes_by_its_file_or_by_another_name(tmp_path):
    file = write(tmp_path, FORM, name="birds.csv")
    assert read_log(file, LONDON).name == "birds"
    log = read_log(file, LONDON, name="crows")
    assert {*log.observations["log"], *log.effort["log"], *log.context["log"]} == {"crows"}
    assert {one.log for one in log.problems} == {"crows"}


def test_an_export_of_boris_goes_to_its_own_reader(tmp_path):
    text = (
        "Observation id,Media file name,Subject,Behavior,Behavior type,Time\n"
        "one,day/clip.wav,Alma,peck,POINT,1.5\n"
    )
    log = read(tmp_path, text, LogConfig())
    assert log.config.format == "boris"
    assert rows(log.observations, "behaviour", "timeline", "start_ms") == [
        ("peck", "file:clip", 1500)
    ]


DATES = ("21.04.24", "22.04.24", "21.04.25", "31.12.9999", "2024-03-31", "45403", "")
CLOCKS = ("10:00", "01:30", "102845", "1028", "0.5", "noon", "")
MARKS = ("START", "STOP", "1", "0", "x", "?", "-", "NA", "5+", "-3", "1e308", "²", "r1.wav", "")
LINE = st.tuples(
    *(st.sampled_from(one) for one in (DATES, CLOCKS, MARKS, MARKS, MARKS, ("r1.wav", "r2", "")))
)
DECLARED = {
    "behaviour": "behaviour",
    "behaviours": ("peck",),
    "context": ("wind",),
    "marker": "file",
    "media_start": "2024-04-25T12:58:00+01:00",
    "date_format": "dmy",
    "status": "peck",
    "format": "form",
}


@with_settings(max_examples=60)
@given(
    cells=st.lists(LINE, min_size=1, max_size=6),
    declared=st.sets(st.sampled_from(sorted(DECLARED)), max_size=3),
)
def test_whatever_stands_in_a_log_is_read_the_same_again_or_refused_in_words(
    tmp_path_factory, cells, declared
):
    lines = ["date;time;behaviour;peck;wind;file", *map(";".join, cells)]
    file = write(tmp_path_factory.getbasetemp(), "\n".join(lines), name="any.csv")
    config = replace(LONDON, time=("date", "time"), **{name: DECLARED[name] for name in declared})
    try:
        log = read_log(file, config)
    except WrongArgument:
        return
    again = read_log(file, log.config)
    assert again.config == log.config
    assert again.problems == log.problems
    assert again.observations.equals(log.observations)
    assert again.effort.equals(log.effort)
    assert again.context.equals(log.context)
    assert (log.observations["start_ms"] <= log.observations["stop_ms"]).all()
    assert (log.effort["start_ms"] < log.effort["stop_ms"]).all()


# Real logs


def test_the_house_sparrow_log_is_read_with_its_times_alone(real_data):
    file = real_data / "behaviour" / "house_sparrow_observations.csv"
    config = replace(LONDON, time=("date", "time"), latest_year=2027)
    log = read_log(file, config)
    assert len(log.config.behaviours) == 17
    assert {"stationary", "feeding", "freeze", "hide", "wild_gull"} <= set(log.config.behaviours)
    assert not {"open", "usable_stimuli", "first_reveal", "trial"} & set(log.config.behaviours)
    assert log.config.context == ("number_male", "number_female", "total_sparrows")
    assert (log.config.site, log.config.session) == ("site", "trial")
    assert log.config.marker == "audio_marker"
    assert any("dates are read as day.month.year" in one for one in log.guessed)
    first = log.observations.filter(pl.col("timeline") == "site:lundy").row(0, named=True)
    assert (first["behaviour"], first["start_ms"]) == ("wild_gull", ms("2024-04-21 09:28:45"))
    kinds = dict(problems(log))
    assert [row for row, kind in kinds.items() if kind == "suspicious" and row] == [
        *range(3, 13),
        166,
        *(440, 441, 442, 444, 445, 447, 448, 449, 451),
    ]
    assert [row for row, kind in kinds.items() if kind == "unread"] == [45, 92, 443, 446, 450]
    assert "It counts for the recording '34_443' alone" in what(log, 444)
    assert not {45, 92, 443, 446, 450} & set(log.observations["row"])
    assert "21 April 2025, but line 2 beside it is of 21 April 2024" in what(log, 3)
    n_marked = sum(bool(cell) for cell in read_table(file).column("audio_marker"))
    assert log.effort.filter(pl.col("source") == "whole recording").height == n_marked
    again = read_log(file, log.config)
    assert again.observations.equals(log.observations)
    assert again.problems == log.problems


def test_a_log_without_times_of_day_says_so(real_data):
    file = real_data / "behaviour" / "siberian_jay_playback_responses.csv"
    for config in (LONDON, replace(LONDON, time=("date",))):
        with pytest.raises(WrongArgument, match=r"time of day.*--time date.*--marker"):
            read_log(file, config)
