"""When and where recordings were made: headers, names, zones, places, and clocks gone wrong."""

import csv
import dataclasses
import struct
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from oscine.sound.clock import ClockReading, check_clock, read_clock, site_from, to_utc_ms
from oscine.sound.clock_trouble import Timed, clock_trouble
from oscine.sound.headers import read_headers

MODIFIED = datetime(2024, 2, 3, 4, 5, 6, 789_000)
MODIFIED_S = (MODIFIED - datetime(1970, 1, 1)).total_seconds()
MODIFICATION = "file modification time"


# Files, as bytes


def chunk(name, body, *, order="little", is_padded=True):
    return name + len(body).to_bytes(4, order) + body + b"\0" * (is_padded and len(body) % 2)


def riff(*chunks, form=b"RIFF", order="little", data_size=None):
    """A WAV of 4 samples; `chunks` follow its data, where most recorders put them."""
    fmt = struct.pack("<HHIIHH" if order == "little" else ">HHIIHH", 1, 1, 48_000, 96_000, 2, 16)
    data = chunk(b"data", bytes(8), order=order)
    if data_size is not None:
        data = b"data" + data_size.to_bytes(4, order) + data[8:]
    body = b"WAVE" + chunk(b"fmt ", fmt, order=order) + data + b"".join(chunks)
    return form + len(body).to_bytes(4, order) + body


def info(order="little", **texts):
    """RIFF INFO, each text ended by a zero as the standard asks."""
    parts = (chunk(key.encode(), text.encode() + b"\0", order=order) for key, text in texts.items())
    return chunk(b"LIST", b"INFO" + b"".join(parts), order=order)


def audiomoth(comment, artist="AudioMoth 24526B065D325963"):
    # The firmware gives the comment a fixed place of 384 bytes, and puts it before the data.
    body = b"INFO" + chunk(b"ICMT", comment.encode().ljust(384, b"\0"))
    return riff(chunk(b"LIST", body + chunk(b"IART", artist.encode().ljust(32, b"\0"))))


def guano(*lines):
    return riff(chunk(b"guan", "\n".join(("GUANO|Version: 1.0", *lines)).encode()))


def wamd_chunk(parts):
    parts = {0x00: b"\1\0", **parts}
    body = b"".join(
        struct.pack("<HI", number, len(value)) + value
        for number, value in (
            (n, v if isinstance(v, bytes) else v.encode()) for n, v in parts.items()
        )
    )
    return chunk(b"wamd", body)


def wamd(parts):
    return riff(wamd_chunk(parts))


def bext(description="", originator="", date="", time=""):
    body = description.encode().ljust(256, b"\0") + originator.encode().ljust(32, b"\0")
    body += bytes(32) + date.encode().ljust(10, b"\0") + time.encode().ljust(8, b"\0") + bytes(264)
    return riff(chunk(b"bext", body))


def vorbis(comments, vendor=b"Frontier Labs"):
    parts = [len(vendor).to_bytes(4, "little"), vendor, len(comments).to_bytes(4, "little")]
    for key, value in comments.items():
        line = f"{key}={value}".encode()
        parts += [len(line).to_bytes(4, "little"), line]
    return b"".join(parts)


def flac(*blocks):
    """FLAC headers: stream info, then blocks of (kind, body)."""
    blocks = ((0, bytes(34)), *blocks)
    last = len(blocks) - 1
    return b"fLaC" + b"".join(
        bytes([kind | (0x80 if index == last else 0)]) + len(body).to_bytes(3, "big") + body
        for index, (kind, body) in enumerate(blocks)
    )


def flac_tags(**comments):
    return flac((4, vorbis(comments)))


def ogg(*packets):
    """Ogg pages, one for each packet."""
    pages = []
    for number, packet in enumerate(packets):
        sizes = [255] * (len(packet) // 255) + [len(packet) % 255]
        head = struct.pack("<4sBBqIIIB", b"OggS", 0, 2 * (number == 0), 0, 1, number, 0, len(sizes))
        pages.append(head + bytes(sizes) + packet)
    return b"".join(pages)


def id3(frames, version=4, flags=0):
    def size(number):
        shifts = (21, 14, 7, 0)
        return bytes((number >> shift) & 0x7F for shift in shifts)

    body = b""
    for name, text in frames.items():
        content = text if isinstance(text, bytes) else b"\3" + text.encode()
        if name.startswith("COM"):
            content = b"\3eng\0" + text.encode()
        if version == 2:
            body += name.encode() + len(content).to_bytes(3, "big") + content
        else:
            length = size(len(content)) if version == 4 else len(content).to_bytes(4, "big")
            body += name.encode() + length + bytes(2) + content
    if flags & 0x80:
        body = body.replace(b"\xff", b"\xff\0")
    return b"ID3" + bytes([version, 0, flags]) + size(len(body)) + body


def read(tmp_path, name, content=b"", *, modified_s=MODIFIED_S, duration_s=10.0):
    file = tmp_path / name
    file.write_bytes(content)
    return read_clock(file, modified_s=modified_s, duration_s=duration_s)


# What files say

NAMES = {
    # AudioMoth: seconds since 1970 in hexadecimal, then dates; T for triggered files
    "5E90A4D4.WAV": ("2020-04-10T16:54:44", 0, ""),
    "5EC5A158.wav": ("2020-05-20T21:30:00", 0, ""),
    "5EC5A158.flac": ("2020-05-20T21:30:00", 0, ""),
    "5EC5A158T.WAV": ("2020-05-20T21:30:00", 0, ""),
    "20191219_192214.WAV": ("2019-12-19T19:22:14", None, ""),
    "20220607_023200.WAV": ("2022-06-07T02:32:00", None, ""),
    "24F31901_20210607_120000.WAV": ("2021-06-07T12:00:00", None, ""),
    "24F3190160376E5A_20210607_120000.WAV": ("2021-06-07T12:00:00", None, ""),
    "20210607_120000T.WAV": ("2021-06-07T12:00:00", None, ""),
    "HB-YRK016_HMTC_20221125_102500+1000.WAV": ("2022-11-25T10:25:00", 600, "HB-YRK016_HMTC"),
    # Wildlife Acoustics
    "SITE_20210607_120000.wav": ("2021-06-07T12:00:00", None, "SITE"),
    "S4A01234_20210607_120000.wav": ("2021-06-07T12:00:00", None, ""),
    "S4U09523_20210621_205706.wav": ("2021-06-21T20:57:06", None, ""),
    "2MM01234_20230401_060000.wav": ("2023-04-01T06:00:00", None, ""),
    "SM304290_0+1_20211001_120004.wav": ("2021-10-01T12:00:04", None, ""),
    "SITE_0+1_20210607_120000.wav": ("2021-06-07T12:00:00", None, "SITE"),
    "PREFIX_20210607$120000.wav": ("2021-06-07T12:00:00", None, "PREFIX"),
    "FNQ-RBS_20190102_044802_010.wav": ("2019-01-02T04:48:02.010", None, "FNQ-RBS"),
    "MF01-01_SMM119_20251103_160600.wav": ("2025-11-03T16:06:00", None, "MF01-01_SMM119"),
    # Frontier Labs
    "20210607T120000+1000_REC_[-27.38+152.87].flac": ("2021-06-07T12:00:00", 600, ""),
    "20210607T120000+1000_Site-name_[-27.38+152.87].flac": (
        "2021-06-07T12:00:00", 600, "Site-name"),
    "20190422T200000+1000_REC [19.2144 152.8811].flac": ("2019-04-22T20:00:00", 600, ""),
    "201906 7T095935+1000_REC [19.2144 152.8811].flac": ("2019-06-07T09:59:35", 600, ""),
    "20160809_063108_Dawn _1.4647 116.9136_.wav": ("2016-08-09T06:31:08", None, ""),
    "8537_20210614T120000-0300_every1d6x4hrs [+44.72053-062.80072].wav": (
        "2021-06-14T12:00:00", -180, ""),
    "-0000001_20220420T220000+1000_Rec_-27.61822+152.78111.flac": (
        "2022-04-20T22:00:00", 600, ""),
    "00008570_Dartmouth_20220331T094900-0300_Rec.flac": (
        "2022-03-31T09:49:00", -180, "Dartmouth"),
    "20191125T235900+1000_REC.flac": ("2019-11-25T23:59:00", 600, ""),
    # Swift, SwiftOne
    "S1234_20210607_120000.wav": ("2021-06-07T12:00:00", None, "S1234"),
    "SWIFT_20210607_120000-0400.wav": ("2021-06-07T12:00:00", -240, "SWIFT"),
    "SWIFT_20210607_120000Z.wav": ("2021-06-07T12:00:00", 0, "SWIFT"),
    "MSD_20210607_120000.123.wav": ("2021-06-07T12:00:00.123", None, "MSD"),
    "20210607_120000_UTC.wav": ("2021-06-07T12:00:00", 0, ""),
    "20210607_120000_UTC-5.wav": ("2021-06-07T12:00:00", -300, ""),
    "A_20210607_120000_UTC+05:45.wav": ("2021-06-07T12:00:00", 345, "A"),
    # others, and plain names
    "67391234.210607120000.wav": ("2021-06-07T12:00:00", None, ""),
    "2022-08-30_12-08-00 (1).wav": ("2022-08-30T12:08:00", None, ""),
    "PAM_20210607_120000_500.wav": ("2021-06-07T12:00:00.500", None, "PAM"),
    "20160608T120000_id_2.0dB_3.5V_ver1.0.wav": ("2016-06-08T12:00:00", None, ""),
    "2021-06-07_12-00-00.wav": ("2021-06-07T12:00:00", None, ""),
    "2021-06-07T12:00:00Z.wav": ("2021-06-07T12:00:00", 0, ""),
    "20210607T120000Z.wav": ("2021-06-07T12:00:00", 0, ""),
    "20091219T070006.789123+1130_00600.wav": ("2009-12-19T07:00:06.789", 690, ""),
    "20070415051314.wav.trimmed.wav": ("2007-04-15T05:13:14", None, ""),
    "crow.2021.06.07.12.00.00.mp3": ("2021-06-07T12:00:00", None, "crow"),
    "042_20210607_120000.wav": ("2021-06-07T12:00:00", None, "042"),
    "rec_20210607_120000.m4a": ("2021-06-07T12:00:00", None, ""),
    "Wald süd_20210607_120000.ogg": ("2021-06-07T12:00:00", None, "Wald süd"),
    "20210607_120000-02.wav": ("2021-06-07T12:00:00", None, ""),  # a copy, not a zone
    "20210607_120000-0001.wav": ("2021-06-07T12:00:00", None, ""),  # no zone is a minute off UTC
    "20210607_120000_00001.wav": ("2021-06-07T12:00:00", None, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_gives_time_zone_and_site(tmp_path, name):
    local, offset_min, site = NAMES[name]
    reading = read(tmp_path, name)
    assert reading.local == datetime.fromisoformat(local)
    assert reading.utc_offset_min == offset_min
    assert (reading.source, reading.site) == ("file name", site)
    assert not reading.is_weak
    assert reading.notes == ()


@pytest.mark.parametrize(
    ("name", "recorder"),
    [
        ("S4A01234_20210607_120000.wav", "Wildlife Acoustics S4A01234"),
        ("SM304290_0+1_20211001_120004.wav", "Wildlife Acoustics SM304290"),
        ("24F31901_20210607_120000.WAV", "AudioMoth 24F31901"),
        ("8537_20210614T120000-0300_x [+44.72053-062.80072].wav", "Frontier Labs 8537"),
        ("00008570_Dartmouth_20220331T094900-0300_Rec.flac", "Frontier Labs 00008570"),
        ("67391234.210607120000.wav", "SoundTrap 67391234"),
        ("SITE_20210607_120000.wav", ""),
    ],
)
def test_a_serial_number_in_a_file_name_is_the_recorder(tmp_path, name, recorder):
    assert read(tmp_path, name).recorder == recorder


def test_a_site_stays_a_site_where_its_letters_occur_in_the_recorder(tmp_path):
    reading = read(tmp_path, "A_20240528_100000.wav", audiomoth(COMMENT))
    assert (reading.site, reading.recorder) == ("A", ID)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("20210607T120000+1000_REC_[-27.38+152.87].flac", (-27.38, 152.87)),
        ("20190422T200000+1000_REC [19.2144 152.8811].flac", (19.2144, 152.8811)),
        ("20160809_063108_Dawn _1.4647 116.9136_.wav", (1.4647, 116.9136)),
        ("8537_20210614T120000-0300_x [+44.72053-062.80072].wav", (44.72053, -62.80072)),
        ("1_20220420T220000+1000_Rec_-27.61822+152.78111.flac", (-27.61822, 152.78111)),
        ("20160608T120000_id_2.0dB_3.5V_ver1.0.wav", (None, None)),
        ("20210607T120000+1000_REC_[-97.38+152.87].flac", (None, None)),
    ],
)
def test_a_position_in_a_file_name_is_read(tmp_path, name, place):
    facts = read(tmp_path, name).facts
    assert (facts.get("latitude"), facts.get("longitude")) == place


@pytest.mark.parametrize(
    "name",
    [
        "20210607_250000.wav", "20211307_120000.wav", "20210631_120000.wav", "18991231_120000.wav",
        "21010607_120000.wav", "20210607_126000.wav", "12345678.wav", "DEADBEEF.WAV",
        "00000000.WAV", "5e90a4d4.wav", "5E90A4D45.WAV", "220728_0744 Tascam dr-100 mk3.wav",
        "9920210607_120000.wav", "20210607_1200001.wav", "XC123456.mp3", "20210607.wav",
        "20210607_1200.wav", "119-25060-0.wav", "a.wav", "",
    ],
)  # fmt: skip
def test_what_merely_looks_like_a_time_is_none(tmp_path, name):
    reading = read_clock(tmp_path / name, modified_s=MODIFIED_S, duration_s=None)
    assert reading.source == MODIFICATION


@pytest.mark.parametrize("name", ["210607-120000.wav", "ZOOM 210607_120000.wav"])
def test_a_date_of_six_digits_is_a_weak_reading(tmp_path, name):
    reading = read(tmp_path, name)
    assert reading.local == datetime(2021, 6, 7, 12)
    assert reading.is_weak
    assert "year, month, day" in reading.notes[-1]
    sure = read(tmp_path, name, audiomoth("Recorded at 13:00:00 07/06/2021 (UTC) by AudioMoth"))
    assert (sure.source, sure.is_weak, sure.notes) == ("AudioMoth comment", False, ())


def test_digits_alone_are_weakly_read_as_hexadecimal(tmp_path):
    reading = read(tmp_path, "61234567.WAV")
    assert (reading.local, reading.is_weak) == (datetime(2021, 8, 23, 6, 51, 19), True)


def test_a_date_without_a_time_of_day_is_a_fact_and_no_start(tmp_path):
    reading = read(tmp_path, "crow 2021-06-07.wav")
    assert reading.facts["date"] == "2021-06-07"
    assert (reading.source, reading.is_weak) == (MODIFICATION, True)


def test_the_first_of_two_times_in_a_name_counts(tmp_path):
    reading = read(tmp_path, "A_20210607_120000_20210607_130000.wav")
    assert reading.local == datetime(2021, 6, 7, 12)
    assert reading.notes == ("the file name holds two times: the first counts",)


ID = "AudioMoth 24526B065D325963"
AUDIOMOTH = {
    # 1.0, 1.0.1, 1.2.0: no zone, (UTC), whole hours; voltages with signs
    f"Recorded at 19:22:14 19/12/2018 by {ID} at gain setting 2 while battery state was 4.2V":
        ("2018-12-19T19:22:14", 0, {"gain": "medium", "battery_v": 4.2}),
    f"Recorded at 19:22:14 19/12/2018 by {ID} at gain setting 0 while battery state was < 3.6V":
        ("2018-12-19T19:22:14", 0, {"gain": "low", "battery": "< 3.6V"}),
    f"Recorded at 19:22:14 19/12/2018 (UTC) by {ID} at gain setting 4 while battery state was "
    "> 5.0V": ("2018-12-19T19:22:14", 0, {"gain": "high", "battery": "> 5.0V"}),
    f"Recorded at 19:22:14 19/12/2018 (UTC-5) by {ID} at gain setting 3 while battery state was "
    "4.0V.": ("2018-12-19T19:22:14", -300, {"gain": "medium-high", "battery_v": 4.0}),
    # 1.2.1 to 1.3.0: words for the voltage, why it stopped, minutes of the zone
    f"Recorded at 01:02:03 01/02/2020 (UTC+12) by {ID} at gain setting 1 while battery state was "
    "less than 3.6V. Recording cancelled before completion due to low battery voltage.":
        ("2020-02-01T01:02:03", 720, {"gain": "low-medium", "battery": "less than 3.6V",
                                      "stopped_by": "low voltage"}),
    f"Recorded at 01:02:03 01/02/2020 (UTC+5:30) by {ID} at gain setting 2 while battery state was "
    "greater than 4.9V. Recording cancelled before completion due to change of switch position.":
        ("2020-02-01T01:02:03", 330, {"battery": "greater than 4.9V",
                                      "stopped_by": "switch position change"}),
    # 1.4.0 to 1.4.4: gain in words, temperature, threshold, filter
    f"Recorded at 19:22:14 19/12/2019 (UTC) by {ID} at medium gain setting while battery state was "
    "4.2V and temperature was 23.4C":
        ("2019-12-19T19:22:14", 0, {"gain": "medium", "battery_v": 4.2, "temperature_c": 23.4}),
    f"Recorded at 19:22:14 19/12/2020 (UTC-3:30) by {ID} at low-medium gain setting while battery "
    "state was less than 2.5V and temperature was -12.3C. Amplitude threshold was 512. Band-pass "
    "filter applied with cut-off frequencies of 1.0kHz and 8.0kHz. Recording cancelled before "
    "completion due to file size limit.":
        ("2020-12-19T19:22:14", -210, {
            "gain": "low-medium", "battery": "less than 2.5V", "temperature_c": -12.3,
            "trigger": "Amplitude threshold was 512", "stopped_by": "file size limit",
            "filter": "Band-pass filter applied with cut-off frequencies of 1.0kHz and 8.0kHz"}),
    # 1.5.0: deployment, external microphone
    "Recorded at 10:00:00 07/06/2021 (UTC+1) during deployment 0123456789ABCDEF using external "
    "microphone at high gain setting while battery state was 4.1V and temperature was 9.0C. "
    "Recording cancelled before completion due to microphone change.":
        ("2021-06-07T10:00:00", 60, {"deployment": "0123456789ABCDEF", "microphone": "external",
                                     "gain": "high", "stopped_by": "microphone change"}),
    # 1.6.0 and 1.7.0
    f"Recorded at 10:00:00 07/06/2022 (UTC) by {ID} at medium-high gain while battery was 3.9V and "
    "temperature was 9.1C. Amplitude threshold was 0.5% with 5s minimum trigger duration. Low-pass "
    "filter with frequency of 8.0kHz applied. Recording stopped due to switch position change.":
        ("2022-06-07T10:00:00", 0, {
            "trigger": "Amplitude threshold was 0.5% with 5s minimum trigger duration",
            "filter": "Low-pass filter with frequency of 8.0kHz",
            "stopped_by": "switch position change", "gain": "medium-high", "temperature_c": 9.1}),
    f"Recorded at 10:00:00 07/06/2022 (UTC+0:30) by {ID} at medium gain while battery was greater "
    "than 4.9V and temperature was 0.0C. Amplitude threshold was -48 dB with 5s minimum trigger "
    "duration. Recording stopped by magnetic switch.":
        ("2022-06-07T10:00:00", 30, {
            "stopped_by": "magnetic switch", "temperature_c": 0.0,
            "trigger": "Amplitude threshold was -48 dB with 5s minimum trigger duration"}),
    # 1.8.0 and later
    f"Recorded at 10:00:00 28/05/2024 (UTC-0:30) by {ID} at medium gain while battery was 3.8V and "
    "temperature was 12.8C. Frequency trigger (4.0kHz and window length of 256 samples) threshold "
    "was 1.0% with 2s minimum trigger duration. High-pass filter with frequency of 1.0kHz applied. "
    "Recording stopped due to low voltage.":
        ("2024-05-28T10:00:00", -30, {
            "trigger": "Frequency trigger (4.0kHz and window length of 256 samples) threshold was "
                       "1.0% with 2s minimum trigger duration",
            "filter": "High-pass filter with frequency of 1.0kHz", "stopped_by": "low voltage"}),
    # milliseconds, as synchronised and live recordings have them; wordings yet unknown
    f"Recorded at 19:22:14.123 19/12/2023 (UTC) by {ID} at medium-gain and 3.2 volts.":
        ("2023-12-19T19:22:14.123", 0, {"gain": "medium"}),
    "Recorded at 19:22:14.007 19/12/2023 (UTC+2) by AudioMoth Live using Built-in Microphone.":
        ("2023-12-19T19:22:14.007", 120, {"microphone": "Built-in Microphone"}),
    # what another program made of it
    f'opso_metadata{{"comment": "Recorded at 10:00:00 28/05/2024 (UTC) by {ID} at medium gain '
    'while battery was 3.8V and temperature was 12.8C.", "samplerate": 48000}':
        ("2024-05-28T10:00:00", 0, {"gain": "medium", "battery_v": 3.8, "temperature_c": 12.8}),
}  # fmt: skip


@pytest.mark.parametrize("comment", AUDIOMOTH)
def test_an_audiomoth_comment_of_any_firmware_is_read(tmp_path, comment):
    local, offset_min, facts = AUDIOMOTH[comment]
    reading = read(tmp_path, "a.wav", audiomoth(comment))
    assert reading.local == datetime.fromisoformat(local)
    assert reading.utc_offset_min == offset_min
    assert (reading.source, reading.recorder) == ("AudioMoth comment", ID)
    assert reading.facts | facts == reading.facts
    assert reading.notes == ()


COMMENT = f"Recorded at 10:00:00 28/05/2024 (UTC+1) by {ID} at medium gain while battery was 3.8V"


@pytest.mark.parametrize(
    "content",
    [
        riff(info(ICMT=COMMENT)),
        riff(info("big", ICMT=COMMENT), form=b"RIFX", order="big"),
        riff(chunk(b"id3 ", id3({"COMM": COMMENT}))),
        id3({"COMM": COMMENT}, version=3) + b"\xff\xfb",
        id3({"COM": COMMENT}, version=2),
        b"FORM" + bytes(4) + b"AIFF" + chunk(b"ID3 ", id3({"COMM": COMMENT}), order="big"),
        bext(description=COMMENT),
        flac_tags(COMMENT=COMMENT),
        flac_tags(description=COMMENT),
        flac((2, b"riff" + info(ICMT=COMMENT)), (4, vorbis({}))),  # flac --keep-foreign-metadata
        id3({"TIT2": "x"}) + flac_tags(comment=COMMENT),
        ogg(b"\1vorbis", b"\3vorbis" + vorbis({"COMMENT": COMMENT})),
        ogg(b"OpusHead", b"OpusTags" + vorbis({"COMMENT": COMMENT, "B": "x" * 600})),
        ogg(b"\x7fFLAC", b"\x04\0\0\0" + vorbis({"COMMENT": COMMENT})),
    ],
)
def test_an_audiomoth_comment_is_found_wherever_programs_put_it(tmp_path, content):
    reading = read(tmp_path, "a.wav", content)
    assert (reading.local, reading.utc_offset_min) == (datetime(2024, 5, 28, 10), 60)
    assert (reading.recorder, reading.facts["gain"], reading.notes) == (ID, "medium", ())


def test_the_id_that_early_audiomoths_share_is_no_serial_number(tmp_path):
    shared = "0FE081F80FE081F0"
    comment = f"Recorded at 19:22:14 19/12/2018 (UTC) by AudioMoth {shared} at gain setting 2"
    reading = read(tmp_path, "a.wav", audiomoth(comment, artist=""))
    assert reading.recorder == "AudioMoth"
    assert any(shared in note for note in reading.notes)


HEADERS = {
    "guano, with zone": (
        guano("Timestamp: 2012-03-29T03:58:01+04:00", "Make:  Pettersson", "Model:D1000X",
              "Loc Position:  37.1878016 -86.1057312", "Loc Elevation: 228.6", "PET|Gain: 80",
              "Temperature Ext: 12.5", "Temperature Int: 20.0", "Firmware Version: 1.0.4",
              "SB|Version: 3.4", "Note: one:two"),
        "2012-03-29T03:58:01", 240, "GUANO", "", "Pettersson D1000X",
        {"latitude": 37.1878016, "longitude": -86.1057312, "elevation_m": 228.6, "gain": "80",
         "temperature_c": 12.5, "Temperature Int": "20.0", "firmware": "1.0.4",
         "SB|Version": "3.4", "Note": "one:two"}),
    "guano, local": (guano("Timestamp: 2015-12-31T23:59:59.123456"),
                     "2015-12-31T23:59:59.123", None, "GUANO", "", "", {}),
    "guano, UTC": (guano("Timestamp:2015-12-31 23:59:59Z"),
                   "2015-12-31T23:59:59", 0, "GUANO", "", "", {}),
    "guano, Song Meter Mini": (
        guano("Timestamp:2023-11-17 09:08:00+10:00", "Make:Wildlife Acoustics, Inc.",
              "Model:Song Meter Mini", "Serial:SMM00215", "WA|Song Meter|Prefix:CREEK",
              "Temperature Int:18.75", "Loc Position:-27.5 153.0"),
        "2023-11-17T09:08:00", 600, "GUANO", "CREEK",
        "Wildlife Acoustics, Inc. Song Meter Mini SMM00215",
        {"temperature_c": 18.75, "latitude": -27.5, "longitude": 153.0}),
    "guano, prefix left as it came": (
        guano("Timestamp:2023-11-17 09:08:00+10:00", "Serial:SMM00215",
              "WA|Song Meter|Prefix:SMM00215"),
        "2023-11-17T09:08:00", 600, "GUANO", "", "SMM00215", {}),
    "guano, AudioMoth": (
        guano("Timestamp:2024-05-28T10:00:00-05:00", "Make:Open Acoustic Devices",
              "Model:AudioMoth", "Serial:24E144036037A5B6", "OAD|Battery Voltage:4.2"),
        "2024-05-28T10:00:00", -300, "GUANO", "",
        "AudioMoth 24E144036037A5B6", {"battery_v": 4.2}),
    "guano before the data, a bad line": (
        riff()[:12] + chunk(b"guan", b"no line\nTimestamp: 2021-06-07T12:00:00Z\n:x\0\0")
        + riff()[12:], "2021-06-07T12:00:00", 0, "GUANO", "", "", {}),
    "guano, in RF64 of no sizes": (
        b"RF64" + b"\xff" * 4 + b"WAVE" + chunk(b"ds64", struct.pack("<QQQI", 0, 8, 4, 0))
        + b"data" + b"\xff" * 4 + bytes(8) + chunk(b"guan", b"Timestamp: 2021-06-07T12:00:00Z"),
        "2021-06-07T12:00:00", 0, "GUANO", "", "", {}),
    "guano, behind an odd chunk that is padded": (
        riff(chunk(b"junk", b"odd"), chunk(b"guan", b"Timestamp: 2021-06-07T12:00:00Z")),
        "2021-06-07T12:00:00", 0, "GUANO", "", "", {}),
    "guano, behind an odd chunk that is not": (
        riff(chunk(b"junk", b"odd", is_padded=False),
             chunk(b"guan", b"Timestamp: 2021-06-07T12:00:00Z")),
        "2021-06-07T12:00:00", 0, "GUANO", "", "", {}),
    "wamd, SM4": (
        wamd({1: "SM4", 2: "S4A01234", 3: "2.1.1", 4: "CREEK", 5: "2014-04-02 22:59:14-05:00",
              6: "WGS84,44.12345,N,63.54321,W,120", 0x0D: bytes(9), 0x12: "U1", 0x15: "23.25C"}),
        "2014-04-02T22:59:14", -300, "WAMD", "CREEK", "Wildlife Acoustics SM4 S4A01234",
        {"firmware": "2.1.1", "temperature_c": 23.25, "latitude": 44.12345, "longitude": -63.54321,
         "elevation_m": 120.0, "microphone": "U1"}),
    "wamd, local with milliseconds": (
        wamd({1: "SM3", 4: "SM304246", 2: "SM304246", 5: "2021-10-24 00:26:17.000",
              6: ",33.5,S,151.2,E"}),
        "2021-10-24T00:26:17", None, "WAMD", "", "Wildlife Acoustics SM3 SM304246",
        {"latitude": -33.5, "longitude": 151.2}),
    "wamd, EMTouch": (
        wamd({1: "EMTouch", 5: "2014-04-02 22:59:14", 6: "WGS84, 44.5, -71.25, 90.0",
              0x16: "-3.5C", 0x17: "80"}),
        "2014-04-02T22:59:14", None, "WAMD", "", "Wildlife Acoustics EMTouch",
        {"latitude": 44.5, "longitude": -71.25, "elevation_m": 90.0, "temperature_c": -3.5,
         "humidity_percent": 80.0}),
    "wamd, kept in FLAC": (
        flac((2, b"riff" + wamd_chunk({1: "SM4", 5: "2014-04-02 22:59:14-05:00"}))),
        "2014-04-02T22:59:14", -300, "WAMD", "", "Wildlife Acoustics SM4", {}),
    "frontier, 3.08": (
        flac_tags(SensorUid="000010", SensorFirmwareVersion="Firmware: V3.08",
                  SensorLocation="+19.2144 +152.8811", ChannelGain1="50dB",
                  MicrophoneType1="STD AUDIO MIC", BatteryLevel="100p 12.83V",
                  RecordingEnd="2019-04-01 01:59:56", RecordingStart="2019-04-01 00:00:01"),
        "2019-04-01T00:00:01", None, "Frontier Labs comment", "", "Frontier Labs 000010",
        {"firmware": "3.08", "latitude": 19.2144, "longitude": 152.8811, "gain": "50dB",
         "battery_v": 12.83, "microphone": "STD AUDIO MIC"}),
    "frontier, 3.20": (
        flac_tags(SensorUid="00008488", SensorFirmwareVersion=" 3.20           ",
                  SensorLocation="-27.61822+152.78111", RecordingStart="2020-08-01T00:00:00+1000"),
        "2020-08-01T00:00:00", 600, "Frontier Labs comment", "", "Frontier Labs 00008488",
        {"firmware": "3.20", "latitude": -27.61822, "longitude": 152.78111}),
    "frontier, colon in the zone": (
        flac_tags(RECORDINGSTART="2021-06-14T12:00:00-03:00"),
        "2021-06-14T12:00:00", -180, "Frontier Labs comment", "", "", {}),
    "bwf": (bext(originator="SoundDevices", date="2021-06-07", time="12:00:01"),
            "2021-06-07T12:00:01", None, "BWF", "", "", {"originator": "SoundDevices"}),
    "bwf, other separators": (bext(date="2021:06:07", time="12-00-01"),
                              "2021-06-07T12:00:01", None, "BWF", "", "", {}),
    "info with a time": (riff(info(ICRD="2021-06-07 12:00:00")),
                         "2021-06-07T12:00:00", None, "RIFF INFO", "", "", {}),
    "id3 2.4": (id3({"TDRC": "2021-06-07T12:00:00"}),
                "2021-06-07T12:00:00", None, "ID3", "", "", {}),
    "id3 2.3": (id3({"TYER": b"\0" + b"2021\0", "TDAT": b"\1" + "0706".encode("utf-16"),
                     "TIME": b"\x002301"}, version=3),
                "2021-06-07T23:01:00", None, "ID3", "", "", {}),
    "id3 2.3, unsynchronised": (
        id3({"TYER": b"\1" + "2021".encode("utf-16"), "TDAT": b"\1" + "0706".encode("utf-16"),
             "TIME": b"\x002301"}, version=3, flags=0x80),
        "2021-06-07T23:01:00", None, "ID3", "", "", {}),
    "id3 2.2": (id3({"TYE": b"\x002021", "TDA": b"\x000706", "TIM": b"\x002301"}, version=2),
                "2021-06-07T23:01:00", None, "ID3", "", "", {}),
    "vorbis": (flac_tags(DATE="2021-06-07T12:00:00+02:00"),
               "2021-06-07T12:00:00", 120, "Vorbis comment", "", "", {}),
}  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_gives_time_zone_site_recorder_and_facts(tmp_path, header):
    content, local, offset_min, source, site, recorder, facts = HEADERS[header]
    reading = read(tmp_path, "a.wav", content)
    assert reading.local == datetime.fromisoformat(local)
    assert (reading.utc_offset_min, reading.source) == (offset_min, source)
    assert (reading.site, reading.recorder) == (site, recorder)
    assert reading.facts | facts == reading.facts
    assert reading.notes == ()


@pytest.mark.parametrize(
    ("content", "date"),
    [
        (bext(date="2021-06-07"), "2021-06-07"),
        (riff(info(ICRD="2014")), "2014"),
        (id3({"TYER": "2021", "TDAT": "0706"}, version=3), "2021-06-07"),
        (id3({"TDRC": "2021-06"}), "2021-06"),
        (flac_tags(DATE="2021-06-07"), "2021-06-07"),
        (bext(date="0000-00-00", time="00:00:00"), None),
        (riff(info(ICRD="20210")), None),
    ],
)
def test_a_tag_without_a_time_of_day_gives_a_date_and_no_start(tmp_path, content, date):
    reading = read(tmp_path, "a.wav", content)
    assert reading.facts.get("date") == date
    assert reading.source == MODIFICATION


@pytest.mark.parametrize("suffix", ["flac", "ogg", "wav", "mp3"])
def test_tags_that_libsndfile_writes_are_read(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    with soundfile.SoundFile(file, "w", 48_000, 1) as out:
        out.comment, out.artist, out.date = COMMENT, ID, "2024-05-28"
        out.write(np.zeros(4800))
    reading = read_clock(file, modified_s=MODIFIED_S, duration_s=0.1)
    assert (reading.local, reading.utc_offset_min) == (datetime(2024, 5, 28, 10), 60)
    assert (reading.recorder, reading.facts["date"]) == (ID, "2024-05-28")
    assert reading.notes == ()


# Which source counts


def both(*chunks_of):
    """One WAV with the chunks of several."""
    return riff(*(content[len(riff()) :] for content in chunks_of))


def test_sources_are_taken_in_their_order(tmp_path):
    contents = [
        guano("Timestamp: 2021-01-01T00:00:00Z"),
        wamd({5: "2021-01-02 00:00:00"}),
        audiomoth(f"Recorded at 00:00:00 03/01/2021 (UTC) by {ID}"),
        bext(date="2021-01-04", time="00:00:00"),
    ]
    for number in range(4):
        reading = read(tmp_path, "20210105_000000.wav", both(*contents[number:]))
        assert reading.local == datetime(2021, 1, 1 + number)
        assert len(reading.notes) == 4 - number
    tagged = id3({"TDRC": "2021-01-06T00:00:00"})
    assert read(tmp_path, "20210105_000000.wav", tagged).local == datetime(2021, 1, 5)
    assert read(tmp_path, "a.wav", tagged).local == datetime(2021, 1, 6)


@pytest.mark.parametrize(
    ("header", "name", "offset_min"),
    [
        (wamd({5: "2021-06-07 12:00:00"}), "S_20210607_120001-0400.wav", -240),
        (wamd({5: "2021-06-07 12:00:00-04:00"}), "S_20210607_120000.wav", -240),
        (bext(date="2021-06-07", time="12:00:00"), "20210607T120000Z.wav", 0),
        (wamd({5: "2021-06-07 12:00:00"}), "S_20210607_120000.wav", None),
    ],
)
def test_a_zone_that_only_one_source_knows_counts_for_both(tmp_path, header, name, offset_min):
    reading = read(tmp_path, name, header)
    assert (reading.local, reading.utc_offset_min) == (datetime(2021, 6, 7, 12), offset_min)
    assert reading.notes == ()


@pytest.mark.parametrize(
    ("comment", "name"),
    [
        ("10:00:00 07/06/2021 (UTC+1)", "20210607_090000.WAV"),  # named in UTC
        ("10:00:00 07/06/2021 (UTC+1)", "20210607_100000.WAV"),  # named in local time
        ("10:00:00 07/06/2021 (UTC+1)", "60BDE010.WAV"),
        ("20:00:00 07/06/2021 (UTC-5)", "20210608_010000T.WAV"),
        ("10:00:00 07/06/2021 (UTC+1)", "20210607_110000+0200.WAV"),
        ("10:00:00 07/06/2021 (UTC)", "20210607_100002.WAV"),
    ],
)
def test_an_audiomoth_name_in_utc_or_in_local_time_is_no_contradiction(tmp_path, comment, name):
    reading = read(tmp_path, name, audiomoth(f"Recorded at {comment} by {ID} at medium gain"))
    assert reading.source == "AudioMoth comment"
    assert reading.notes == ()


@pytest.mark.parametrize(
    ("header", "name", "seconds"),
    [
        (audiomoth(f"Recorded at 10:00:00 07/06/2021 (UTC) by {ID}"), "20210607_110000.WAV", 3600),
        (audiomoth(f"Recorded at 10:00:00 07/06/2021 (UTC+1) by {ID}"), "20210607_100003.WAV", 3),
        (wamd({5: "2021-06-07 12:00:00"}), "S_20210607_130000-0400.wav", 3600),
        (wamd({5: "2021-06-07 12:00:00-05:00"}), "S_20210607_120000-0400.wav", 3600),
        (wamd({5: "2021-06-07 12:00:00"}), "S_20210608_120000.wav", 86400),
    ],
)
def test_a_contradiction_is_noted_and_the_first_source_counts(tmp_path, header, name, seconds):
    reading = read(tmp_path, name, header)
    assert reading.local in (datetime(2021, 6, 7, 10), datetime(2021, 6, 7, 12))
    (note,) = reading.notes
    assert f"{seconds} s apart" in note
    assert "file name" in note


def test_the_hour_that_firmware_1_2_2_misprints_is_taken_from_the_name(tmp_path):
    comment = f"Recorded at 16:30:00 07/11/2019 (UTC+5:30) by {ID} at gain setting 2 while"
    reading = read(tmp_path, "20191107_100000.WAV", audiomoth(comment))
    assert (reading.local, reading.utc_offset_min) == (datetime(2019, 11, 7, 15, 30), 330)
    assert reading.source == "file name"
    assert "1.2.2" in reading.notes[0]


@pytest.mark.parametrize("date", ["01/01/1970", "01/01/1980", "01/01/2000"])
def test_a_clock_that_was_never_set_is_noted(tmp_path, date):
    reading = read(tmp_path, "a.wav", audiomoth(f"Recorded at 00:10:00 {date} (UTC) by {ID}"))
    assert "the clock was never set" in reading.notes[-1]
    assert reading.local is not None


def test_a_name_of_1970_is_no_time_but_noted(tmp_path):
    reading = read(tmp_path, "19700101_000012.WAV")
    assert reading.source == MODIFICATION
    assert any("never set" in note for note in reading.notes)


def test_the_last_change_of_a_file_is_the_weak_end_of_its_recording(tmp_path):
    reading = read(tmp_path, "a.wav", duration_s=60.5)
    assert reading.local == MODIFIED - timedelta(seconds=60.5)
    assert (reading.utc_offset_min, reading.source, reading.is_weak) == (0, MODIFICATION, True)
    unknown = read(tmp_path, "a.wav", duration_s=None)
    assert unknown.local == MODIFIED
    assert "length is not known" in unknown.notes[-1]


@pytest.mark.parametrize("modified_s", [float("nan"), float("inf"), 1e30, -1e12])
def test_a_modification_time_that_is_none_is_noted(tmp_path, modified_s):
    reading = read(tmp_path, "a.wav", modified_s=modified_s)
    assert (reading.local, reading.source, reading.is_weak) == (None, "", False)
    assert reading.notes == ("the file's modification time is no time",)


# Damage


def test_a_file_that_is_missing_is_read_by_its_name(tmp_path):
    reading = read_clock(tmp_path / "20210607_120000.wav", modified_s=0, duration_s=None)
    assert reading.local == datetime(2021, 6, 7, 12)
    assert reading.notes == ("the headers could not be read: No such file or directory",)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (guano("Timestamp: 2021-06-07T12:00:00-05:00")[:-4], "ends inside its chunk 'guan'"),
        (guano("Timestamp: 2021-06-07T12:00:00-05:00")[:-20], "ends inside its chunk 'guan'"),
        (riff(info(ICMT=COMMENT))[:-80], "ends inside its chunk 'LIST'"),
        (riff(b"\x01\x02\x03\x04" * 4), "is no chunk"),
        (
            riff(chunk(b"wamd", struct.pack("<HI", 5, 99) + b"2021-06-07 12:00")),
            "longer than itself",
        ),
        (flac((4, vorbis({"A": "b"})[:-2])), "Vorbis comments are damaged"),
        (flac_tags(A="b")[:44], "ends inside its FLAC headers"),
        (id3({"TDRC": "2021-06-07T12:00:00"})[:-4], "frame longer than itself"),
        (audiomoth(f"Recorded at 99:00:00 07/06/2021 by {ID}"), "no time that can be read"),
        (audiomoth(f"Recorded at 10:00:00 07/06/2021 (UTC+99) by {ID}"), "zone"),
    ],
)
def test_damage_is_noted_and_no_half_of_a_time_is_read(tmp_path, content, note):
    reading = read(tmp_path, "a.wav", content)
    assert reading.source in (MODIFICATION, "AudioMoth comment")
    assert reading.utc_offset_min in (0, None)
    assert any(note in said for said in reading.notes)


@pytest.mark.parametrize("data_size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wrong_size_of_the_data_does_not_harm_what_stands_before(tmp_path, data_size):
    content = riff(data_size=data_size)
    content = content[:12] + info(ICMT=COMMENT) + content[12:]
    assert read(tmp_path, "a.wav", content).source == "AudioMoth comment"


def test_a_size_beyond_all_files_is_no_place_to_look(tmp_path):
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, 2**64 - 1, 4, 0))
    content = b"RF64" + b"\xff" * 4 + b"WAVE" + info(ICMT=COMMENT) + sizes + b"data" + b"\xff" * 4
    assert read(tmp_path, "a.wav", content).source == "AudioMoth comment"


def test_headers_of_a_huge_file_are_read_without_its_samples(tmp_path):
    file = tmp_path / "huge.wav"
    n_bytes = 3 << 30
    with file.open("wb") as out:
        out.write(riff(data_size=n_bytes)[:-8])
        out.seek(n_bytes, 1)  # a hole: it takes no room
        out.write(chunk(b"guan", b"Timestamp: 2021-06-07T12:00:00Z"))
    assert read_clock(file, modified_s=0, duration_s=None).source == "GUANO"


def test_a_chunk_is_read_up_to_a_bound(tmp_path):
    lines = ("Timestamp: 2021-06-07T12:00:00Z", *("Note: " + "x" * 999,) * 999)
    headers = read_headers_of(tmp_path, guano(*lines))
    assert sum(map(len, headers.guano.values())) < 70_000
    many = read_headers_of(tmp_path, riff(*[chunk(b"junk", b"")] * 2000))
    assert any("more than" in note for note in many.notes)


def read_headers_of(tmp_path, content):
    file = tmp_path / "a.wav"
    file.write_bytes(content)
    return read_headers(file)


WHOLE_FILES = [content for content, *_ in HEADERS.values()] + [audiomoth(COMMENT)]


@given(
    content=st.one_of(
        st.binary(max_size=600),
        st.tuples(st.sampled_from(WHOLE_FILES), st.integers(0, 900)).map(lambda p: p[0][: p[1]]),
        st.tuples(
            st.sampled_from(WHOLE_FILES), st.integers(0, 900), st.binary(min_size=1, max_size=8)
        ).map(lambda p: p[0][: p[1]] + p[2] + p[0][p[1] + len(p[2]) :]),
        st.tuples(
            st.sampled_from([b"RIFF____WAVE", b"RF64____WAVE", b"fLaC", b"OggS", b"ID3\4\0\0"]),
            st.binary(max_size=300),
        ).map(b"".join),
    ),
    name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=40),
)
@example(content=b"", name="٢٠٢١0607_120000.wav")
def test_whatever_the_bytes_and_the_name_nothing_raises(tmp_path_factory, content, name):
    file = tmp_path_factory.getbasetemp() / "fuzzed.wav"
    file.write_bytes(content)
    for path in (file, file.parent / f"{name}.wav"):
        reading = read_clock(path, modified_s=MODIFIED_S, duration_s=1.0)
        assert reading.source
        assert isinstance(reading.local, datetime)
        assert all(isinstance(value, str | float) for value in reading.facts.values())
        to_utc_ms(reading, "Europe/London")


@given(
    local=st.datetimes(datetime(1990, 1, 1), datetime(2100, 12, 31)),
    zone=st.sampled_from(["", "Z", "+0530", "-0400", "+10:00"]),
    separators=st.sampled_from([("", "_", ""), ("-", "_", "-"), ("", "T", ""), ("-", "T", ":")]),
    prefix=st.sampled_from(["", "SITE_", "a 1 ", "S4A01234_"]),
)
def test_a_time_that_is_written_into_a_name_is_read_from_it(
    tmp_path_factory, local, zone, separators, prefix
):
    day, between, hour = separators
    stamp = local.strftime(f"%Y{day}%m{day}%d{between}%H{hour}%M{hour}%S")
    name = f"{prefix}{stamp}{zone}.wav"
    file = tmp_path_factory.getbasetemp() / name
    reading = read_clock(file, modified_s=MODIFIED_S, duration_s=None)
    offsets = {"": None, "Z": 0, "+0530": 330, "-0400": -240, "+10:00": 600}
    assert reading.local == local.replace(microsecond=0)
    assert reading.utc_offset_min == offsets[zone]


# Absolute time


def at(local, offset_min=None):
    return ClockReading(
        local=datetime.fromisoformat(local) if local else None,
        utc_offset_min=offset_min, source="file name", is_weak=False, site="", recorder="",
        facts={}, notes=(),
    )  # fmt: skip


def ms(utc):
    return round(datetime.fromisoformat(f"{utc}+00:00").timestamp() * 1000)


def test_the_zone_of_the_recorder_wins():
    assert to_utc_ms(at("2021-06-07T12:00:00.123", 600), "Europe/London") == (
        ms("2021-06-07T02:00:00.123"), "UTC+10:00", "")  # fmt: skip
    assert to_utc_ms(at("2021-06-07T12:00:00", 0), None)[1] == "UTC"
    assert to_utc_ms(at("2021-06-07T12:00:00", -210), None)[1] == "UTC-03:30"


@pytest.mark.parametrize(
    ("zone", "utc"),
    [
        ("Europe/London", "2021-06-07T11:00:00"),
        ("UTC", "2021-06-07T12:00:00"),
        ("UTC+2", "2021-06-07T10:00:00"),
        ("UTC-3:30", "2021-06-07T15:30:00"),
        ("Australia/Lord_Howe", "2021-06-07T01:30:00"),
    ],
)
def test_a_local_time_is_read_in_the_zone_that_is_given(zone, utc):
    assert to_utc_ms(at("2021-06-07T12:00:00"), zone) == (ms(utc), zone, "")


def test_without_a_zone_there_is_no_absolute_time():
    time, zone, note = to_utc_ms(at("2021-06-07T12:00:00"), None)
    assert (time, zone) == (None, "")
    assert "--timezone" in note
    assert to_utc_ms(at(None), "Europe/London")[0] is None


@pytest.mark.parametrize(
    ("local", "zone"),
    [
        ("2024-03-31T01:30:00", "Europe/London"),
        ("2024-03-31T01:00:00", "Europe/London"),
        ("2024-10-06T02:15:00", "Australia/Lord_Howe"),  # only half an hour is left out
        ("2024-03-10T02:00:00", "America/New_York"),
        ("2011-12-30T12:00:00", "Pacific/Apia"),  # a whole day
    ],
)
def test_a_time_that_never_occurs_is_not_guessed(local, zone):
    time, _, note = to_utc_ms(at(local), zone)
    assert time is None
    assert "never occurs" in note
    assert zone in note


@pytest.mark.parametrize(
    ("local", "zone", "candidates"),
    [
        ("2024-10-27T01:30:00", "Europe/London", ("2024-10-27 00:30:00", "2024-10-27 01:30:00")),
        ("2024-04-07T01:45:00", "Australia/Lord_Howe",
         ("2024-04-06 14:45:00", "2024-04-06 15:15:00")),
    ],
)  # fmt: skip
def test_a_time_that_occurs_twice_is_not_guessed(local, zone, candidates):
    time, _, note = to_utc_ms(at(local), zone)
    assert time is None
    assert all(candidate in note for candidate in candidates)
    assert to_utc_ms(at(local, 60), zone)[0] is not None  # unless the recorder knows better


@given(
    utc=st.datetimes(datetime(1995, 1, 1), datetime(2037, 1, 1)),
    zone=st.sampled_from(
        ["Europe/London", "Australia/Lord_Howe", "America/St_Johns", "Asia/Tokyo"]
    ),
)
def test_a_time_written_in_a_zone_is_read_back_or_said_to_occur_twice(utc, zone):
    utc = utc.replace(microsecond=0, tzinfo=UTC)
    local = utc.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    time, _, note = to_utc_ms(dataclasses.replace(at(None), local=local), zone)
    assert time == round(utc.timestamp() * 1000) or (
        time is None and "occurs twice" in note and str(utc.replace(tzinfo=None)) in note
    )


@pytest.mark.parametrize(
    ("zone", "near"),
    [
        ("Europe/Londno", "Europe/London"),
        ("london", "Europe/London"),
        ("europe/berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("../etc/passwd", "IANA"),
        ("Europe", "give|mean"),
        ("", "IANA"),
        ("UTC+99", "UTC"),
    ],
)
def test_a_zone_that_does_not_exist_is_refused_with_near_ones(zone, near):
    with pytest.raises(ValueError, match=near):
        to_utc_ms(at("2021-06-07T12:00:00"), zone)


# Sites


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("{site}/{date}/*.wav", "creek/2021/a.WAV", {"site": "creek", "date": "2021"}),
        ("{site}/{date}/*.wav", "creek/2021/deep/a.wav", {}),
        ("{site}/**", "creek/2021/deep/a.wav", {"site": "creek"}),
        ("**/{site}_{recorder}_*", "x/y/N1_B2_2021.wav", {"site": "N1", "recorder": "B2"}),
        ("{site}.{x}/*.wav", "a.b/c.wav", {"site": "a", "x": "b"}),
        ("{site}/a+(b).wav", "creek/a+(b).wav", {"site": "creek"}),
        ("{site}/*", "a.wav", {}),
    ],
)
def test_a_pattern_names_the_parts_of_a_path(pattern, path, fields):
    assert site_from(pattern, path) == fields


@pytest.mark.parametrize(
    "pattern",
    ["*.wav", "", "{site", "site}/", "{}/*", "{a b}/*", "{site}{date}/*", "{site}/{site}/*"],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_an_example(pattern):
    with pytest.raises(ValueError, match=r"\{site\}/\{date\}/\*\.wav"):
        site_from(pattern, "a/b.wav")


@pytest.mark.parametrize("pattern", ["{ort}/*", "{date}/{card}/*"])
def test_a_pattern_without_what_is_read_of_a_path_is_refused(pattern):
    with pytest.raises(ValueError, match=r"neither \{site\} nor \{recorder\}"):
        check_clock("", pattern)
    check_clock("", f"{pattern}{{recorder}}")


# Many recordings

MINUTE = 60_000
START = ms("2021-06-07T00:00:00")


def schedule(n, period_ms=10 * MINUTE, *, key="A", folder="A", start=START, duration_ms=MINUTE):
    return [
        Timed(f"{folder}/{number:04}.wav", key, start + number * period_ms, duration_ms, "WAMD")
        for number in range(n)
    ]


def test_clocks_that_go_right_are_not_spoken_of():
    # The minute of `b` is that of `a`: two recorders may record at once.
    rows = schedule(100) + schedule(100, key="B", folder="B") + schedule(3, 70 * MINUTE, key="C")
    assert clock_trouble(rows) == []
    assert clock_trouble([]) == []
    assert clock_trouble(iter(rows)) == []


def test_recordings_without_a_time_or_with_a_weak_one_are_told():
    rows = [Timed(f"{n}.wav", "A", None, 0, "") for n in range(5)]
    rows += [Timed("w.wav", "A", START, 0, MODIFICATION)]
    first, second = clock_trouble(rows)
    assert first == "5 recordings without a known start time: 0.wav, 1.wav, 2.wav and 2 more"
    assert second.startswith("1 recording with no start time but")
    assert "w.wav" in second


def test_a_clock_that_was_reset_is_told_and_left_out_of_the_rest():
    rows = [*schedule(20), Timed("A/x.wav", "A", 600_000, MINUTE, "WAMD")]
    rows += [Timed("A/y.wav", "A", ms("2000-01-01T00:05:00"), MINUTE, "WAMD")]
    (trouble,) = clock_trouble(rows)
    assert "2 recordings of A whose clock was never set" in trouble
    assert "A/x.wav, A/y.wav" in trouble


def test_a_time_far_from_its_folder_is_told():
    rows = [*schedule(20), Timed("A/x.wav", "A", ms("2012-01-01T00:05:00"), MINUTE, "WAMD")]
    (trouble,) = clock_trouble(rows)
    assert "more than a year from the others of their folder: A/x.wav" in trouble
    ten_years = schedule(500, 7 * 1440 * MINUTE)
    assert clock_trouble(ten_years) == []


def test_recordings_of_one_recorder_that_overlap_are_told():
    rows = schedule(20, duration_ms=10 * MINUTE)
    assert clock_trouble(rows) == []
    rows[7] = rows[7]._replace(duration_ms=15 * MINUTE)
    (trouble,) = clock_trouble(rows[::-1])
    assert trouble.startswith("1 recording of A begins before an earlier one ends")
    assert trouble.endswith(
        "A/0007.wav (2021-06-07 01:10:00 UTC) and A/0008.wav (2021-06-07 01:20:00 UTC), by 5 min"
    )


def test_a_clock_that_goes_back_is_told():
    rows = schedule(20)
    rows = rows[:10] + [row._replace(start_ms=row.start_ms - 35 * MINUTE) for row in rows[10:]]
    assert (
        "once the clock of A goes back from one file name to the next; most from A/0009.wav "
        "(2021-06-07 01:30:00 UTC) to A/0010.wav (2021-06-07 01:05:00 UTC), by 25 min"
    ) in clock_trouble(rows)


def test_gaps_in_a_schedule_are_told_and_its_own_pauses_are_not():
    rows = schedule(30)
    del rows[12:15], rows[5]
    (trouble,) = clock_trouble(rows)
    assert trouble == (
        "2 gaps in the schedule of A (one recording each 10 min); the longest, 40 min, from "
        "A/0011.wav (2021-06-07 01:50:00 UTC) to A/0015.wav (2021-06-07 02:30:00 UTC)"
    )
    nights = [
        row for day in range(7)
        for row in schedule(30, start=START + day * 1440 * MINUTE, folder=f"A/{day}")
    ]  # fmt: skip
    assert clock_trouble(nights) == []
    del nights[100:105]
    (trouble,) = clock_trouble(nights)
    assert trouble.startswith("1 gap in the schedule")
    assert clock_trouble(schedule(9)[:4] + schedule(9)[6:]) == []  # too few to know a schedule


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a/1.wav", "a/2.wav", "b/1.wav", "c.wav"]),
            st.sampled_from(["", "A", "B"]),
            st.none() | st.integers(-(10**12), 4 * 10**12),
            st.integers(0, 10**9),
            st.sampled_from(["", "WAMD", MODIFICATION]),
        ),
        max_size=40,
    )
)
def test_any_rows_give_sentences_whatever_their_order(rows):
    told = clock_trouble(rows)
    assert all(isinstance(trouble, str) and trouble for trouble in told)
    assert len(clock_trouble(rows[::-1])) == len(told)


# Real recordings


def test_real_audiomoth_files_are_read(real_data):
    formats = real_data / "formats"
    reading = read_clock(formats / "audiomoth_comment.wav", modified_s=MODIFIED_S, duration_s=10)
    assert (reading.local, reading.utc_offset_min) == (datetime(2020, 4, 4, 10, 25), 0)
    assert reading.recorder == "AudioMoth 24526B065D325963"
    assert reading.facts == {"gain": "medium", "battery_v": 4.7}
    reading = read_clock(formats / "audiomoth_gps.wav", modified_s=MODIFIED_S, duration_s=2)
    assert (reading.local, reading.utc_offset_min) == (datetime(2024, 5, 28, 10), 0)
    assert reading.facts == {"gain": "medium", "battery_v": 3.8, "temperature_c": 12.8}
    for file in sorted(formats.iterdir()):
        assert read_clock(file, modified_s=MODIFIED_S, duration_s=1).source


def test_the_times_of_a_real_day_are_those_of_its_labels(real_data):
    with (real_data / "labels.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["recorded_at"]]
    day = [row for row in rows if row["path"].startswith("soundscape/maad_day/")]
    assert len(day) == 48
    readings = {
        row["path"]: read_clock(real_data / row["path"], modified_s=MODIFIED_S, duration_s=10)
        for row in day
    }
    for row in day:
        reading = readings[row["path"]]
        assert reading.local == datetime.fromisoformat(row["recorded_at"])
        assert reading.recorder == "Wildlife Acoustics S4A03895"
    timed = [
        Timed(path, reading.recorder, to_utc_ms(reading, "UTC-3")[0], 10_000, reading.source)
        for path, reading in readings.items()
    ]
    assert clock_trouble(timed) == []


def test_real_clips_without_a_time_give_but_a_weak_one(real_data):
    clips = sorted((real_data / "behaviour_house_sparrow").iterdir())
    assert len(clips) == 20
    for clip in clips:
        reading = read_clock(clip, modified_s=MODIFIED_S, duration_s=7.0)
        assert (reading.source, reading.is_weak) == (MODIFICATION, True)
