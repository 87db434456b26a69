"""What sounds like this: asked with events, files, stretches, several, and vectors."""

import csv
import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from oscine import steps
from oscine.config import WrongArgument
from oscine.embedding.backgrounds import quiet_frames
from oscine.embedding.guests import guest_interval, hear_guests
from oscine.embedding.intervals import frame_intervals
from oscine.embedding.readout import Readout
from oscine.embedding.vectors import vectors_of
from oscine.model.checkpoint import load_encoder
from oscine.sound.annotations import read_annotations
from oscine.sound.audio import content_hash
from oscine.sound.selections import RAVEN_COLUMNS
from oscine.steps.shared import needed, open_tape
from oscine.synth import SynthConfig
from oscine.workspace import Workspace
from oscine.workspace.catalogue import MODIFICATION

EVERY = 10_000
"""More than there are events."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "forest"
    steps.synth(folder, SynthConfig(minutes=1, recording_s=10))
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory, archive):
    return tiny.learned(tmp_path_factory.mktemp("learned") / "crows.oscine", archive)


@pytest.fixture
def copied(tmp_path, learned):
    """A copy of that workspace, to change."""
    return shutil.copytree(learned, tmp_path / "copy.oscine")


@pytest.fixture(scope="module")
def held(learned):
    """Vectors, events, and recordings by number."""
    workspace = Workspace(learned)
    with workspace.catalogue() as catalogue:
        recordings = {row.recording_id: row for row in catalogue.recordings()}
    return *workspace.vectors(), recordings


@pytest.fixture
def asked(held):
    """An event amid a recording that has the most, this recording, and the event's seconds."""
    _, events, recordings = held
    most = Counter(one.recording_id for one in events).most_common(1)[0][0]
    recording = recordings[most]
    mine = [one for one in events if one.recording_id == most]
    event = mine[len(mine) // 2]
    rate = recording.sample_rate_hz
    return event, recording, event.start_sample / rate, event.stop_sample / rate


def change(folder, *statements):
    """Change the catalogue of a workspace behind its back."""
    with closing(sqlite3.connect(folder / "catalogue.sqlite")) as catalogue, catalogue:
        for statement in statements:
            catalogue.execute(statement)


def numbers(found):
    return [one.event for one in found]


def contents_of(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


# What is heard


def test_a_guest_has_the_rows_frames_and_vectors_of_the_same_file_in_the_archive(
    learned, archive, held, tmp_path
):
    files = sorted(archive.glob("site-*/*"))[:2]
    copies = [tmp_path / f"copy-{number}{file.suffix}" for number, file in enumerate(files)]
    for file, copy in zip(files, copies, strict=True):
        shutil.copy(file, copy)
    vectors, events, recordings = held
    with steps.shared.looked_at(learned, (), None, "picture") as (workspace, catalogue, config):
        tape, _ = open_tape(workspace, catalogue, config)
        checkpoint = learned / needed(catalogue, "pretrain").facts["checkpoint"]
    encoder = load_encoder(checkpoint)
    readout = Readout.load(workspace.embeddings())
    by_content = {row.content_hash: row for row in recordings.values()}
    with hear_guests(copies, config.picture, config.activity) as guests:
        assert guests.refused == {}
        for copy in copies:
            guest = guests.recordings[copy]
            host = by_content[content_hash(copy)]
            assert guest.content_key == host.content_key
            assert guest.n_frames == host.n_frames
            assert guest.n_valid_bands == host.n_valid_bands
            mine = [one for one in events if one.recording_id == host.recording_id]
            assert mine
            unnumbered = {"event_id": 0, "recording_id": 0}
            assert [replace(one, **unnumbered) for one in guests.events[copy]] == [
                replace(one, **unnumbered) for one in mine
            ]
            as_guest, as_host = (
                quiet_frames(tape, row, config.picture)
                for tape, row in ((guests.tape, guest), (tape, host))
            )
            np.testing.assert_array_equal(as_guest.log_mel, as_host.log_mel)
            intervals = frame_intervals(guests.events[copy], {guest.recording_id: guest})
            found = vectors_of(guests.tape, encoder, readout, intervals)
            known = vectors[[one.event_id - 1 for one in mine]]
            assert np.sum(found * known, axis=1) == pytest.approx(1, abs=1e-6)
            # What is typed of an event, rounded, leads to its frames.
            for one, interval in zip(mine, intervals, strict=True):
                samples = one.start_sample, one.stop_sample
                seconds = (round(at / host.sample_rate_hz, 3) for at in samples)
                assert guest_interval(guest, *seconds, config.picture) == interval


# What is found


def test_the_nearest_events_come_in_the_order_of_their_cosines(learned, held, asked):
    vectors, events, _ = held
    event, *_ = asked
    report = steps.similar(event.event_id, learned, top=EVERY, own=EVERY)
    cosine = vectors.astype(np.float64) @ vectors[event.event_id - 1].astype(np.float64)
    wanted = {one.event_id: value for one, value in zip(events, cosine, strict=True)}
    for found, is_own in ((report.others, False), (report.own, True)):
        assert [one.likeness for one in found] == sorted(
            (one.likeness for one in found), reverse=True
        )
        for one in found:
            assert one.likeness == pytest.approx(wanted[one.event], abs=6e-4)
        mine = {one.event_id for one in events if one.recording_id == event.recording_id}
        assert set(numbers(found)) == (mine - {event.event_id} if is_own else set(wanted) - mine)
    assert report.compared == len(report.others) + len(report.own) == len(events) - 1
    few = steps.similar(event.event_id, learned, top=3, own=2)
    assert (few.others, few.own) == (report.others[:3], report.own[:2])


def test_of_each_event_it_is_said_what_where_and_when_it_is(learned, held):
    _, events, recordings = held
    report = steps.similar(events[0].event_id, learned, top=EVERY, own=EVERY)
    with Workspace(learned).catalogue() as catalogue:
        types = {row.event_id: row.cluster for row in catalogue.sound_types()}
    by_number = {event.event_id: event for event in events}
    for one in (*report.others, *report.own):
        event = by_number[one.event]
        row = recordings[event.recording_id]
        assert (one.path, one.root, one.site) == (row.path, row.root, row.path.split("/")[0])
        assert one.start_s == pytest.approx(event.start_sample / row.sample_rate_hz, abs=1e-4)
        assert one.stop_s == pytest.approx(event.stop_sample / row.sample_rate_hz, abs=1e-4)
        assert (one.low_hz, one.high_hz) == (event.low_hz, event.high_hz)
        assert one.level_db == pytest.approx(event.level_db, abs=0.06)
        assert (-1 if one.sound_type is None else one.sound_type) == types[one.event]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0[01]:00", one.time)
        assert one.percentile is None


def test_no_time_is_told_that_is_only_when_a_file_was_written(copied):
    with Workspace(copied).catalogue() as catalogue:
        connection = catalogue._connection
        connection.execute("UPDATE recordings SET zone = ?", [f"UTC ({MODIFICATION})"])
    assert {one.time for one in steps.similar(1, copied).others} == {None}


def test_a_file_and_a_stretch_of_it_find_what_the_event_there_finds(learned, asked, tmp_path):
    event, recording, start_s, stop_s = asked
    copy = shutil.copy(Path(recording.root) / recording.path, tmp_path / "card3_042.flac")
    by_number = steps.similar(event.event_id, learned)
    stretch = steps.Stretch(file=Path(copy), start_s=round(start_s, 3), stop_s=round(stop_s, 3))
    by_file = steps.similar(stretch, learned)
    # The copy has the bytes of a recording of the archive: it counts as that.
    assert by_file.others == by_number.others
    assert by_file.own == by_number.own
    as_text = steps.similar(f"{copy}@{start_s:.3f}-{stop_s:.3f}", learned)
    assert as_text == by_file
    whole = steps.similar(Path(copy), learned, own=EVERY)
    assert whole.own == []  # all of it overlaps what was asked
    assert not {one.path for one in whole.others} & {recording.path}


def test_a_file_that_is_new_finds_its_like_in_all_recordings(learned, held, asked, tmp_path):
    _, events, _ = held
    event, recording, start_s, stop_s = asked
    samples, rate = soundfile.read(Path(recording.root) / recording.path)
    new = tmp_path / "new.wav"
    soundfile.write(new, samples[: len(samples) - rate // 3], rate)  # the same, cut a little
    report = steps.similar(f"{new}@{start_s:.3f}-{stop_s:.3f}", learned, top=EVERY)
    assert report.own == []
    assert sorted(numbers(report.others)) == [one.event_id for one in events]
    assert report.others[0].event == event.event_id
    assert report.others[0].likeness > 0.95


def test_of_a_damaged_file_that_is_asked_with_it_is_said_what_is_wrong(learned, tmp_path):
    cut = tmp_path / "cut.wav"
    soundfile.write(cut, np.random.default_rng(0).normal(0, 0.05, 64_000), 32_000)
    with open(cut, "r+b") as file:
        file.truncate(64_044)
    report = steps.similar([cut, cut], learned, unlike=3)
    assert report.notes == [
        f"{cut} is damaged: holds 1.00 s of the 2.00 s that its header promises"
    ]
    assert len(report.others) == 20


def test_events_that_overlap_an_example_are_never_found(learned, asked):
    event, recording, _, stop_s = asked
    stretch = steps.Stretch(file=Path(recording.root) / recording.path, start_s=0, stop_s=stop_s)
    report = steps.similar(stretch, learned, own=EVERY)
    assert report.own
    assert min(one.start_s for one in report.own) >= stop_s - 1e-3
    elsewhere = 1 if event.recording_id != 1 else len(report.others)
    against = steps.similar(elsewhere, learned, unlike=stretch, top=EVERY)
    mine = [one.start_s for one in against.others if one.path == recording.path]
    assert mine
    assert min(mine) >= stop_s - 1e-3


def test_several_examples_are_asked_as_their_mean_less_what_is_not_wanted(learned, held):
    vectors, *_ = held
    report = steps.similar([3, 7], learned, unlike=[11], unlike_weight=0.5, top=8)
    query = vectors[[2, 6]].mean(axis=0) - 0.5 * vectors[10]
    by_vector = steps.similar(query, learned, top=EVERY)
    likeness = {one.event: one.likeness for one in by_vector.others}
    assert by_vector.own == []
    assert len(likeness) == len(vectors)
    for one in (*report.others, *report.own):
        assert one.likeness == pytest.approx(likeness[one.event], abs=2e-3)
    assert not {3, 7, 11} & {*numbers(report.others), *numbers(report.own)}
    assert len(report.like) == 2
    assert report.unlike[0].startswith("event 11 (")
    weaker = steps.similar([3, 7], learned, unlike=[11], unlike_weight=0, top=8)
    alone = steps.similar([3, 7], learned, top=9)
    assert numbers(weaker.others) == [one for one in numbers(alone.others) if one != 11][:8]


def test_a_condition_filters_before_ranking(learned, held):
    _, events, _ = held
    condition = "level_db > 20 and not site = 'site-01'"
    with Workspace(learned).catalogue() as catalogue:
        meeting = set(catalogue.events_where(condition).tolist()) - {events[0].event_id}
    assert 0 < len(meeting) < len(events) - 1
    report = steps.similar(events[0].event_id, learned, where=condition, top=EVERY, own=EVERY)
    assert {*numbers(report.others), *numbers(report.own)} == meeting
    assert report.compared == len(meeting)
    none = steps.similar(1, learned, where="level_db > 500")
    assert (none.others, none.own, none.compared) == ([], [], 0)
    assert none.notes == ["no event meets the condition 'level_db > 500'"]


def test_channels_that_are_kept_apart_are_one_recording(copied, held, asked, tmp_path):
    event, recording, start_s, stop_s = asked
    _, _, recordings = held
    other = next(one for one in recordings.values() if one.recording_id != recording.recording_id)
    change(
        copied,
        *(
            f"UPDATE recordings SET path = 'two.wav', content_hash = 'both', channel = {channel}"
            f" WHERE recording_id = {row.recording_id}"
            for channel, row in enumerate((other, recording))
        ),
    )
    out = tmp_path / "found.txt"
    report = steps.similar(event.event_id, copied, top=EVERY, own=EVERY, out=out)
    assert {one.channel for one in report.own} == {0, 1}
    assert {one.path for one in report.own} == {"two.wav"}
    assert not any(one.start_s < stop_s and one.stop_s > start_s for one in report.own)
    assert "two.wav" not in {one.path for one in report.others}
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert {row["Channel"] for row in rows if row["Begin File"] == "two.wav"} == {"1", "2"}


# What it leaves alone, and what it can do without


def test_it_reads_a_workspace_that_another_run_holds_and_changes_nothing(copied, asked, tmp_path):
    event, recording, start_s, stop_s = asked
    (copied / "labels.sqlite").write_text("no label is read\n")
    before = contents_of(copied)
    file = Path(recording.root) / recording.path
    archived = contents_of(Path(recording.root))
    with Workspace(copied).alone():
        for out in ("a.csv", "a.txt", "a.html"):
            steps.similar(
                [event.event_id, steps.Stretch(file=file, start_s=start_s, stop_s=stop_s)],
                copied,
                out=tmp_path / out,
            )
    (copied / "lock.sqlite").touch()
    assert contents_of(copied).items() >= before.items()
    assert contents_of(Path(recording.root)) == archived


def test_events_are_asked_without_torch_and_a_file_says_that_it_needs_it(learned, tmp_path):
    file = tmp_path / "a.wav"
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 32_000), 32_000)
    code = """
from oscine.cli import run
workspace, file, folder = sys.argv[1:]
for out in ("a.csv", "a.txt", "a.html"):
    assert run(["similar", "5", "-w", workspace, "--unlike", "7", "--out", f"{folder}/{out}"]) == 0
import numpy as np, oscine
oscine.similar(np.ones(oscine.Workspace(workspace).vectors()[0].shape[1]), workspace)
assert run(["similar", file, "-w", workspace]) == 1
"""
    ran = subprocess.run(
        [sys.executable, "-c", tiny.WITHOUT_TORCH + code, learned, file, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    (heard,) = ran.stderr.splitlines()
    assert "hearing a file needs PyTorch, which is not installed here: " in heard
    assert "events of the workspace can be asked by number" in heard
    assert (tmp_path / "a.html").exists()


def test_it_says_when_vectors_are_older_than_the_archive_or_the_model(copied, held, asked):
    _, events, _ = held
    event, recording, *_ = asked
    newest = events[-1].event_id
    change(
        copied,
        f"UPDATE stages SET facts = json_set(facts, '$.events', {newest - 2})"
        " WHERE stage = 'embed'",
        "UPDATE stages SET facts = json_set(facts, '$.weights', 'others') WHERE stage = 'pretrain'",
    )
    report = steps.similar(event.event_id, copied, top=EVERY)
    assert not {newest, newest - 1} & set(numbers(report.others))
    newer, model = report.notes
    assert newer == "2 newer events have no vector yet: run `oscine embed`"
    assert model.startswith("another model was trained since")
    with pytest.raises(WrongArgument, match=f"event {newest} has no vector yet"):
        steps.similar(newest, copied)
    with pytest.raises(ValueError, match=r"no file can be .* another model .* run `oscine embed`"):
        steps.similar(Path(recording.root) / recording.path, copied)


def test_events_of_recordings_that_are_gone_are_neither_found_nor_asked(copied, held, asked):
    _, events, _ = held
    event, recording, *_ = asked
    gone = recording.recording_id
    change(copied, f"UPDATE recordings SET is_present = 0 WHERE recording_id = {gone}")
    with pytest.raises(WrongArgument, match="is not in the archive any more"):
        steps.similar(event.event_id, copied)
    there = [one.event_id for one in events if one.recording_id != gone]
    found = steps.similar(there[0], copied, top=EVERY, own=EVERY)
    assert sorted([there[0], *numbers(found.others), *numbers(found.own)]) == there


# What is written


def test_a_spreadsheet_finds_no_formula_in_the_table(learned, tmp_path):
    folder = shutil.copytree(learned, tmp_path / "copy.oscine")
    with Workspace(folder).catalogue() as catalogue:
        catalogue._connection.execute("UPDATE recordings SET site = '=1+1', path = '+' || path")
    steps.similar(5, folder, top=2, own=0, out=tmp_path / "found.csv")
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert (row["site"], row["path"][:3]) == ("'=1+1", "./+")


def test_the_table_has_a_row_for_each_event(learned, tmp_path):
    out = tmp_path / "found.csv"
    report = steps.similar(5, learned, top=7, own=3, out=out)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["event"]) for row in rows] == numbers([*report.others, *report.own])
    assert [row["same_recording"] for row in rows] == ["false"] * 7 + ["true"] * 3
    assert [int(row["rank"]) for row in rows] == [*range(1, 8), *range(1, 4)]
    first = report.others[0]
    assert (rows[0]["path"], rows[0]["time"], rows[0]["site"]) == (
        first.path,
        first.time,
        first.site,
    )
    assert float(rows[0]["likeness"]) == first.likeness
    assert float(rows[0]["start_s"]) == first.start_s
    assert rows[0]["percentile"] == ""
    assert report.out == str(out)


def test_raven_finds_each_sound_in_its_file(learned, held, tmp_path):
    _, _, recordings = held
    out = tmp_path / "found.TXT"
    out.write_text("an older one")
    report = steps.similar(5, learned, top=9, own=2, out=out)
    lines = [line.split("\t") for line in out.read_text(encoding="utf-8").splitlines()]
    assert lines[0][:9] == [
        *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"),
        *("Low Freq (Hz)", "High Freq (Hz)", "Begin Path", "Begin File"),
    ]
    assert lines[0] == [*RAVEN_COLUMNS, "Likeness", "Event", "Found In"]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert len(rows) == 11
    rates = {Path(row.root) / row.path: row for row in recordings.values()}
    seen, begin_s = {}, 0.0
    for row, one in zip(rows, (*report.others, *report.own), strict=True):
        file = Path(row["Begin Path"])
        assert file == Path(one.root) / one.path
        assert file.exists()
        assert row["Begin File"] == file.name
        assert float(row["High Freq (Hz)"]) <= rates[file].sample_rate_hz / 2
        assert (row["Channel"], row["View"]) == ("1", "Spectrogram 1")
        assert float(row["File Offset (s)"]) == pytest.approx(one.start_s, abs=1e-4)
        # In a window that holds the files one after another, time counts through all of them.
        if file not in seen:
            seen[file], begin_s = begin_s, begin_s + rates[file].duration_s
        assert float(row["Begin Time (s)"]) == pytest.approx(seen[file] + one.start_s, abs=2e-4)
        assert int(row["Event"]) == one.event
    # Oscine reads selection tables too: labels that are added to this one lead back.
    for note, one in zip(
        read_annotations(out).annotations, (*report.others, *report.own), strict=True
    ):
        assert (note.start_s, note.stop_s) == pytest.approx((one.start_s, one.stop_s), abs=2e-4)
        assert note.path.endswith(one.path)


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, file):
        super().__init__()
        self.html = file.read_text(encoding="utf-8")
        self.tags, self.text = [], ""
        self.feed(self.html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def count(self, tag, name=None, value=None):
        return sum(one == tag and (name is None or at.get(name) == value) for one, at in self.tags)


def test_the_page_shows_and_plays_what_was_asked_and_what_was_found(learned, asked, tmp_path):
    _, recording, start_s, stop_s = asked
    file = Path(recording.root) / recording.path
    out = tmp_path / "found.html"
    stretch = steps.Stretch(file=file, start_s=start_s, stop_s=stop_s)
    report = steps.similar([stretch, 3], learned, unlike=7, top=4, own=2, out=out)
    page = Page(out)
    n_sounds = 3 + 4 + len(report.own)
    assert page.count("figure", "class", "exemplar") == n_sounds
    assert page.count("img") == n_sounds
    assert page.count("audio") == page.count("button", "class", "picture") == n_sounds
    assert page.count("span", "class", "extent") == n_sounds
    assert "data:audio/mpeg;base64," in page.html
    assert not re.search(r"https?://|src=\"(?!data:)", page.html)
    for heading in ("Asked for", "But not", "In other recordings", "In the same recording"):
        assert heading in page.text
    for one in (*report.others, *report.own):
        assert f"event {one.event}" in page.text
        assert f"likeness {one.likeness:.2f}" in page.text
        assert one.path in page.text
        assert one.time[:19].replace("T", " ") in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["found.html"]


def test_where_the_archive_is_gone_the_page_has_pictures_without_sound(copied, tmp_path):
    change(copied, f"UPDATE recordings SET root = '{tmp_path / 'unplugged'}'")
    out = tmp_path / "found.html"
    report = steps.similar(np.ones(16), copied, top=3, out=out)
    page = Page(out)
    assert page.count("figure", "class", "exemplar") == page.count("img") == 3
    assert page.count("audio") == page.count("button", "class", "picture") == 0
    assert page.text.count("no sound: its file cannot be read any more, or was changed") == 3
    assert "there is nothing to show" in page.text
    assert report.like == ["a vector"]


def test_names_that_are_no_plain_text_are_shown_and_break_nothing(copied, tmp_path):
    name = "<b>\t'\"&.flac"
    quoted = name.replace("'", "''")
    change(copied, f"UPDATE recordings SET path = path || '{quoted}'")
    for ending in ("csv", "txt", "html"):
        steps.similar(5, copied, top=2, own=1, out=tmp_path / f"found.{ending}")
    page = Page(tmp_path / "found.html")
    assert page.count("b") == page.count("figure")
    assert name in page.text
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        assert all(row["path"].endswith(name) for row in csv.DictReader(file))
    lines = (tmp_path / "found.txt").read_text(encoding="utf-8").splitlines()
    assert {line.count("\t") for line in lines} == {len(RAVEN_COLUMNS) + 2}


# The command line


def test_the_command_prints_a_table_or_one_json_object(call, learned, asked):
    event, recording, start_s, stop_s = asked
    file = Path(recording.root) / recording.path
    words = ("similar", file, "--start-s", f"{start_s:.3f}", "--stop-s", f"{stop_s:.3f}")
    code, out, _ = call(*words, "-w", learned, "--top", 4, "--own", 1)
    assert code == 0
    assert f"like             {file}, {start_s:.3f} to {stop_s:.3f} s" in out
    assert out.count("In other recordings:") == out.count("In the same recording:") == 1
    assert len(re.findall(r"^ +-?\d\.\d\d  ", out, re.MULTILINE)) == 5
    code, out, _ = call(*words, "-w", learned, "--top", 4, "--json")
    assert code == 0
    assert out.count("\n") == 1
    found = json.loads(out)
    same = steps.similar(event.event_id, learned, top=4)
    assert [one["event"] for one in found["others"]] == numbers(same.others)
    code, out, _ = call("similar", "--like", event.event_id, "--like", 3, "-w", learned, "--json")
    assert code == 0
    both = steps.similar([event.event_id, 3], learned)
    assert [one["event"] for one in json.loads(out)["others"]] == numbers(both.others)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say what it is to sound like"),
        (("5", "--like", "6"), "not both"),
        (("99999",), r"there is no event 99999: those of this workspace are numbered 1 to \d+"),
        (("0",), "there is no event 0"),
        (("gone.wav",), "gone.wav is not there"),
        (("gone.wav@1-2",), "gone.wav is not there"),
        (("{file}@8-12",), "lies outside of the file, which is 10.00 s long"),
        (("{file}", "--start-s", "12"), "no stretch of time"),
        (("5", "--start-s", "1"), "--start-s and --stop-s are of a file that is asked alone"),
        (("--like", "{file}", "--stop-s", "1"), "of a file that is the query"),
        (("{text}",), "text.wav cannot be heard: unreadable: no audio format"),
        (("{folder}",), "cannot be heard: is a folder"),
        (("5", "--top", "0"), "--top must be at least 1, not 0"),
        (("5", "--own", "-1"), "--own must not be negative"),
        (("5", "--out", "found.pdf"), r"end its name in \.csv .*\.txt .*\.html"),
        (("5", "--out", "nowhere/found.csv"), "is in a folder that is not there"),
        (("5", "--where", "sight = 'north'"), "did you mean site"),
        (("{file}", "--channel", "1"), "leave the channel out"),
        (("5", "--unlike", "6", "--unlike", "5"), "event 5 cannot be both like and unlike"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_way_out(
    call, learned, asked, tmp_path, arguments, words
):
    _, recording, *_ = asked
    text = tmp_path / "text.wav"
    text.write_text("not a sound\n")
    file = Path(recording.root) / recording.path
    told = [one.format(file=file, text=text, folder=tmp_path) for one in arguments]
    code, out, err = call("similar", *told, "-w", learned)
    assert (code, out) == (2, "")
    assert re.search(words, err.replace("\n", " ")), err


def test_examples_that_cancel_out_and_vectors_of_another_kind_are_refused(learned):
    with pytest.raises(WrongArgument, match="cancel each other out"):
        steps.similar(np.ones(16), learned, unlike=np.ones(16), unlike_weight=1)
    with pytest.raises(WrongArgument, match="event 5 cannot be both like and unlike"):
        steps.similar([4, 5], learned, unlike=5)
    for wrong in (np.ones(3), np.full(16, np.nan), np.ones((2, 16))):
        with pytest.raises(WrongArgument, match=r"must have the shape \(16,\)"):
            steps.similar(wrong, learned)
    with pytest.raises(WrongArgument, match="zero"):
        steps.similar(np.zeros(16), learned)


def test_a_workspace_without_vectors_says_what_to_run(call, copied, tmp_path):
    change(copied, "UPDATE stages SET finished = 0 WHERE stage = 'embed'")
    code, _, err = call("similar", "1", "-w", copied)
    assert code == 1
    assert "run `oscine embed` first" in err
    code, _, err = call("similar", "1", "-w", tmp_path / "none.oscine")
    assert code == 2
    assert "is no workspace" in err


def test_a_name_that_is_there_is_a_file_whatever_it_looks_like(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = Path("take@1-2")
    assert steps.read_example("take@1-2") == steps.Stretch(file=Path("take"), start_s=1, stop_s=2)
    odd.touch()
    assert steps.read_example("take@1-2") == steps.Stretch(file=odd)
    assert steps.read_example("10482") == 10482
    assert steps.read_example("./10482") == steps.Stretch(file=Path("10482"))
    assert steps.read_example("a.wav@0.5-1.25") == steps.Stretch(
        file=Path("a.wav"), start_s=0.5, stop_s=1.25
    )
