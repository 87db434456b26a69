"""Which class, the same individual, how many: the three verbs on a small finished workspace."""

import csv
import hashlib
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from oscine import steps
from oscine.config import WrongArgument
from oscine.embedding.calls import CALLS
from oscine.embedding.individual import INDIVIDUAL
from oscine.steps.shared import percent
from oscine.synth import SynthConfig
from oscine.workspace import Workspace

RATE_HZ = 32_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "forest"
    steps.synth(folder, SynthConfig(minutes=2, recording_s=6))
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory, archive):
    """A workspace in which no individual was asked for yet."""
    return tiny.learned(tmp_path_factory.mktemp("learned") / "crows.oscine", archive)


@pytest.fixture(scope="module")
def ready(tmp_path_factory, learned):
    """The same workspace with its calls heard."""
    folder = shutil.copytree(learned, tmp_path_factory.mktemp("ready") / "crows.oscine")
    steps.same(1, 2, folder)
    return folder


@pytest.fixture
def bare(tmp_path, learned):
    return shutil.copytree(learned, tmp_path / "bare.oscine")


@pytest.fixture
def copied(tmp_path, ready):
    return shutil.copytree(ready, tmp_path / "copy.oscine")


@pytest.fixture(scope="module")
def few(archive):
    """Three stretches of each of two species, all of different recordings."""
    with (archive / "truth.csv").open(encoding="utf-8", newline="") as file:
        truth = list(csv.DictReader(file))
    found = []
    for species, _ in Counter(row["species"] for row in truth).most_common(2):
        paths = {row["path"] for row in found}
        own = {
            row["path"]: row
            for row in truth
            if row["species"] == species
            and row["path"] not in paths
            and float(row["stop_s"]) - float(row["start_s"]) > 0.3
        }
        found += list(own.values())[:3]
    assert Counter(row["species"] for row in found).most_common()[1][1] == 3
    return [{name: row[name] for name in ("path", "start_s", "stop_s", "species")} for row in found]


@pytest.fixture
def new(tmp_path, archive, few):
    """A file that was never indexed, in which the first example sounds, and that stretch."""
    samples, rate = soundfile.read(archive / few[0]["path"])
    file = tmp_path / "new.wav"
    soundfile.write(file, samples[: len(samples) - rate // 10], rate)
    return f"{file}@{float(few[0]['start_s']):.3f}-{float(few[0]['stop_s']):.3f}"


def table(file, rows):
    """Write a table of rows as CSV."""
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def change(folder, *statements):
    """Change the catalogue of a workspace behind its back."""
    with closing(sqlite3.connect(folder / "catalogue.sqlite")) as catalogue, catalogue:
        for statement in statements:
            catalogue.execute(statement)


def contents_of(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock.sqlite"
    }


def kept(folder):
    """The bytes of what is made when individuals are first asked for."""
    return {
        file.name: file.read_bytes()
        for file in Workspace(folder).embeddings().iterdir()
        if file.name in (CALLS, INDIVIDUAL)
    }


# What a likeness is worth


def test_the_page_of_similar_says_what_a_likeness_is_worth(call, learned, tmp_path):
    out = tmp_path / "found.html"
    report = steps.similar(40, learned, top=3, own=1, out=out)
    page = out.read_text(encoding="utf-8")
    shares = [one.percentile for one in (*report.others, *report.own)]
    assert all(0 < share < 1 for share in shares)
    for one in (*report.others, *report.own):
        assert f"likeness {one.likeness:.2f}, above {percent(one.percentile)}" in page
    assert page.count("pairs of events from different recordings and days") == 1
    _, text, _ = call("similar", 40, "-w", learned, "--top", 3, "--own", 1)
    for one in report.others:
        assert re.search(rf" {one.likeness:.2f} +{percent(one.percentile)} +{one.event} ", text)
    assert "above: share of unrelated pairs" in text
    # Of several sounds at once there is no percentile, and the page does not speak of one.
    steps.similar([40, 41], learned, top=3, out=out)
    page = out.read_text(encoding="utf-8")
    assert ", above " not in page
    assert "pairs of events from different recordings" not in page


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.5, "50%"), (0.9, "90%"), (0.954, "95.4%"), (0.9967, "99.67%"), (0.999975, "99.99%")],
)
def test_a_percentile_has_the_digits_it_needs_and_is_never_all(share, shown):
    assert percent(share) == shown


# Crow, jay, or neither


def test_a_sound_that_was_never_indexed_is_of_the_class_it_is_like(learned, few, new, tmp_path):
    before = contents_of(learned)
    report = steps.which([new], learned, examples=[table(tmp_path / "few.csv", few)])
    assert contents_of(learned) == before
    assert not (learned / "labels.sqlite").exists()
    assert (report.label, report.examples, report.notes) == ("species", 6, [])
    (found,) = report.sounds
    assert found.sound.startswith(new.partition("@")[0])
    # One of the examples is this very sound, from another recording.
    assert found.nearest[0].label == few[0]["species"]
    assert few[0]["path"] in found.nearest[0].example
    assert found.nearest[0].likeness > 0.95
    assert found.classes[0].name == few[0]["species"]
    assert [one.likeness for one in found.classes] == sorted(
        (one.likeness for one in found.classes), reverse=True
    )
    assert {(one.examples, one.recordings) for one in found.classes} == {(3, 3)}
    assert found.none + found.percentile == pytest.approx(1)
    assert sum(one.share for one in found.classes) + found.none == pytest.approx(1, abs=2e-4)
    assert (found.answer == few[0]["species"]) == (found.percentile >= 0.9)
    assert 10 <= found.recordings <= 20 - 6
    assert found.recordings <= found.events


def test_an_event_and_its_stretch_of_the_file_are_told_the_same(learned, archive, few, tmp_path):
    examples = [table(tmp_path / "few.csv", few[:2] + few[4:])]
    with Workspace(learned).catalogue() as catalogue:
        recordings = {row.path: row for row in catalogue.recordings()}
        event = catalogue.events_of(recordings[few[3]["path"]].recording_id)[0]
    rate = recordings[few[3]["path"]].sample_rate_hz
    start_s, stop_s = event.start_sample / rate, event.stop_sample / rate
    stretch = f"{archive / few[3]['path']}@{start_s:.3f}-{stop_s:.3f}"
    report = steps.which([event.event_id, stretch], learned, examples=examples)
    by_number, by_file = report.sounds
    assert by_number.percentile is not None
    for name in ("answer", "classes", "none", "percentile", "events", "recordings", "nearest"):
        assert getattr(by_number, name) == getattr(by_file, name)
    assert by_number.sound.startswith(f"event {event.event_id} (")


def test_examples_are_looked_for_beside_the_table_here_and_in_the_archive(
    learned, few, new, tmp_path, monkeypatch
):
    stretch = {name: few[0][name] for name in ("start_s", "stop_s")}
    tables, here = tmp_path / "tables", tmp_path / "here"
    tables.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    for place, name in ((tables, "beside.wav"), (here, "here.wav")):
        shutil.copy(new.partition("@")[0], place / name)
    rows = [
        {"path": name, **stretch, "species": "dove"}
        for name in ("beside.wav", "here.wav", few[0]["path"], "nowhere.wav")
    ]
    asked = few[4]
    with Workspace(learned).catalogue() as catalogue:
        recording = next(row for row in catalogue.recordings() if row.path == asked["path"])
        number = catalogue.events_of(recording.recording_id)[0].event_id
    report = steps.which([number], learned, examples=[table(tables / "few.csv", rows)])
    assert report.examples == 3
    (problem,) = report.notes
    assert "nowhere.wav" in problem
    found = report.sounds[0].nearest
    assert {Path(one.example.partition(",")[0]).name for one in found} == {
        "beside.wav",
        "here.wav",
        Path(few[0]["path"]).name,
    }
    likeness = [one.likeness for one in found]
    assert likeness == pytest.approx([likeness[0]] * 3, abs=0.05)  # all are one sound


def test_an_archive_that_is_unplugged_still_shows_its_examples(bare, few, tmp_path):
    change(bare, f"UPDATE recordings SET root = '{tmp_path / 'unplugged'}'")
    report = steps.which([1], bare, examples=[table(tmp_path / "few.csv", few[1:])])
    assert report.examples == 5
    assert report.notes == []


def test_whole_files_stretches_and_raven_tables_can_be_examples(
    learned, archive, few, new, tmp_path
):
    whole = table(tmp_path / "whole.csv", [{"path": row["path"], "kind": "any"} for row in few[:2]])
    start_s, stop_s = few[3]["start_s"], few[3]["stop_s"]
    raven = tmp_path / "few.txt"
    raven.write_text(
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
        f"Begin Path\tkind\n1\tSpectrogram 1\t1\t{start_s}\t{stop_s}\t100\t9000\t"
        f"{archive / few[3]['path']}\tother\n",
        encoding="utf-8",
    )
    report = steps.which([new], learned, examples=[whole, raven])
    assert (report.label, report.examples) == ("kind", 3)
    assert {one.name: one.examples for one in report.sounds[0].classes} == {"any": 2, "other": 1}


def test_examples_that_cannot_be_heard_are_named_and_the_others_count(learned, few, new, tmp_path):
    (tmp_path / "text.wav").write_text("not a sound\n")
    bad = [
        {"path": "text.wav", "start_s": 0, "stop_s": 1, "species": "dove"},
        {**few[0], "start_s": 50, "stop_s": 51},
        {"path": "new.wav", "start_s": 50, "stop_s": 51, "species": "dove"},
    ]
    report = steps.which([new], learned, examples=[table(tmp_path / "few.csv", few + bad)])
    assert report.examples == 6
    outside, text, after = report.notes
    assert "few.csv, line 9: it starts at 50 s, beyond the end of " in outside
    assert "text.wav cannot be heard: unreadable" in text
    assert "new.wav: 50 to 51 s lies outside of the file" in after
    with pytest.raises(WrongArgument, match=r"no example can be heard: .*text\.wav cannot be"):
        steps.which([new], learned, examples=[table(tmp_path / "bad.csv", bad)])


def test_of_several_sounds_one_that_cannot_be_heard_is_named_and_the_others_are_told(
    learned, few, new, tmp_path
):
    gone = tmp_path / "gone.wav"
    gone.write_bytes(b"no sound")
    labels = table(tmp_path / "few.csv", few)
    report = steps.which([str(gone), str(new), 40], learned, examples=[labels])
    assert ["new.wav" in one.sound for one in report.sounds] == [True, False]
    assert any("gone.wav cannot be heard" in note for note in report.notes)
    with pytest.raises(WrongArgument, match=r"gone\.wav cannot be heard"):
        steps.which([str(gone)], learned, examples=[labels])
    with pytest.raises(WrongArgument, match="a vector is no sound"):
        steps.which([np.ones(3)], learned, examples=[labels])


def test_examples_of_the_recording_asked_about_do_not_count(learned, archive, few, tmp_path):
    own = few[0]
    clip = f"{archive / own['path']}@{own['start_s']}-{own['stop_s']}"
    copy = shutil.copy(archive / own["path"], tmp_path / "renamed.flac")
    examples = [table(tmp_path / "few.csv", few)]
    report = steps.which([clip, str(copy)], learned, examples=examples)
    for one in report.sounds:
        assert sum(each.examples for each in one.classes) == 5
        assert "examples of its own recording, left out: 1" in one.notes
        assert not any(own["path"] in near.example for near in one.nearest)
    with pytest.raises(WrongArgument, match="all examples are of its own recording"):
        steps.which([clip], learned, examples=[table(tmp_path / "own.csv", few[:1])])


def test_an_archive_that_is_all_examples_cannot_say_none_of_these(learned, archive, new):
    report = steps.which([new], learned, examples=[archive / "truth.csv"], label="species")
    (found,) = report.sounds
    assert found.answer is found.none is found.percentile is found.events is None
    assert {one.share for one in found.classes} == {None}
    assert any("too few recordings" in note for note in found.notes)


def test_of_silence_and_of_what_is_too_short_nothing_is_said(learned, few, archive, tmp_path):
    silent = tmp_path / "quiet.wav"
    noise = 1e-2 * np.random.default_rng(0).normal(size=3 * RATE_HZ)
    soundfile.write(silent, noise, RATE_HZ)
    short = f"{archive / few[0]['path']}@{few[0]['start_s']}-{float(few[0]['start_s']) + 0.05:.3f}"
    examples = [table(tmp_path / "few.csv", few[1:])]
    report = steps.which([f"{silent}@1-2", short], learned, examples=examples)
    for one, word in zip(report.sounds, ("is too quiet", "is too short"), strict=True):
        assert one.answer is one.none is one.percentile is None
        assert {each.share for each in one.classes} == {None}
        assert word in one.notes[0]
        assert "nothing can be said" in one.notes[0]
    soundfile.write(silent, np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(WrongArgument, match="silent"):
        steps.which([silent], learned, examples=examples)


def test_which_prints_shares_or_one_json_object(call, learned, few, new, tmp_path):
    words = ("which", new, "1", "--examples", table(tmp_path / "few.csv", few), "-w", learned)
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    name = few[0]["species"]
    assert re.search(rf"^  {name} 0\.\d\d; \w+ 0\.\d\d; none of these 0\.\d\d$", out, re.MULTILINE)
    assert out.count("nearest examples:") == 2
    assert re.search(rf"more like {name} than [\d.]+% of \d+ events like it", out)
    code, out, _ = call(*words, "--json")
    assert (code, out.count("\n")) == (0, 1)
    found = json.loads(out)
    assert set(found) == {"workspace", "label", "examples", "sounds", "notes"}
    assert set(found["sounds"][0]) >= {"sound", "answer", "classes", "none", "percentile"}
    assert found["sounds"][0]["classes"][0]["name"] == name


def test_many_classes_and_many_notes_are_cut_short_in_print_alone(
    call, learned, few, new, tmp_path
):
    rows = [{**few[1 + row % 2], "species": f"class-{row}"} for row in range(8)]
    rows += [{**few[0], "path": f"nowhere-{row}.wav"} for row in range(30)]
    asked = table(tmp_path / "many.csv", rows)
    words = ("which", new, "--examples", asked, "-w", learned)
    code, out, _ = call(*words)
    assert code == 0
    assert re.search(
        r"^  (class-\d (<0.01|\d\.\d\d); ){5}3 others (<0.01|\d\.\d\d); none", out, re.M
    )
    assert out.count("nowhere-") < 30
    assert re.search(r"and \d+ more \(--json has all\)", out)
    found = json.loads(call(*words, "--json")[1])
    assert len(found["sounds"][0]["classes"]) == 8
    assert len(found["notes"]) == 30


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("1",), "examples"),
        (("1", "--examples", "gone.csv"), "gone.csv"),
        (("1", "--examples", "{truth}"), r"--label: the examples have species, individual"),
        (
            ("1", "--examples", "{truth}", "--label", "sex"),
            "there is no column 'sex': the examples",
        ),
        (("1", "--examples", "{unlabelled}"), "--label: the examples have no labels"),
        (("1", "--examples", "{elsewhere}"), "none of the examples can be used: .*nowhere.wav"),
        (("gone.wav", "--examples", "{few}"), "gone.wav is not there"),
        (("9999", "--examples", "{few}"), "there is no event 9999"),
        (("1", "2", "--start-s", "1", "--examples", "{few}"), "--start-s"),
        (("{few}", "--examples", "{few}"), "few.csv cannot be heard"),
    ],
)
def test_what_cannot_be_told_is_refused_with_a_way_out(
    call, learned, archive, few, tmp_path, arguments, words
):
    files = {
        "truth": archive / "truth.csv",
        "few": table(tmp_path / "few.csv", few),
        "unlabelled": table(tmp_path / "unlabelled.csv", [{"path": few[0]["path"]}]),
        "elsewhere": table(tmp_path / "elsewhere.csv", [{"path": "nowhere.wav", "species": "x"}]),
    }
    code, out, err = call("which", *(one.format(**files) for one in arguments), "-w", learned)
    assert (code, out) == (2, "")
    assert re.search(words, err.replace("\n", " ")), err


def test_without_vectors_it_is_said_what_to_run(call, bare, few, tmp_path):
    change(bare, "UPDATE stages SET finished = 0 WHERE stage = 'embed'")
    examples = table(tmp_path / "few.csv", few)
    for words in (("which", 1, "--examples", examples), ("same", 1, 2)):
        code, out, err = call(*words, "-w", bare)
        assert (code, out) == (1, "")
        assert "run `oscine embed` first" in err


# The same individual?


def sweep(pitch_hz, seconds=0.5):
    """A call of five harmonics [shape=(samples,)]."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(7 * time_s))) / RATE_HZ
    return sum(np.sin(k * phase) / k for k in range(1, 6)) * np.hanning(len(time_s))


def call_before(file, pitch_hz, band_hz, seed):
    """Write a call at 1.5 to 2 s of 4 s of hiss that is loud in a band; return that stretch."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.normal(0, 0.002, 4 * RATE_HZ))
    hz = np.fft.rfftfreq(4 * RATE_HZ, 1 / RATE_HZ)
    spectrum[(hz > band_hz[0]) & (hz < band_hz[1])] *= 20
    samples = np.fft.irfft(spectrum)
    start = int(1.5 * RATE_HZ)
    voice = 0.3 * sweep(pitch_hz)
    samples[start : start + len(voice)] += voice
    soundfile.write(file, samples, RATE_HZ)
    return f"{file}@1.5-2"


def test_it_does_not_matter_which_of_two_sounds_is_named_first(ready, new):
    for one, other in ((1, 40), (new, 22), (3, new)):
        there, back = steps.same(one, other, ready), steps.same(other, one, ready)
        assert (there.one, there.other) == (back.other, back.one)
        assert there.likeness == pytest.approx(back.likeness, abs=2e-3)
        for name in ("percentile", "backgrounds"):
            assert getattr(there, name) == pytest.approx(getattr(back, name), abs=1e-3)
        assert (there.pairs, there.recordings) == (back.pairs, back.recordings)
        assert there.recordings >= 10
        assert 0 < there.percentile < 1


def test_two_calls_before_one_background_are_warned_of_and_one_call_before_two_is_not(
    ready, tmp_path
):
    low, high = (200, 600), (6000, 9000)
    one = call_before(tmp_path / "one.wav", 900, low, 1)
    neighbour = call_before(tmp_path / "neighbour.wav", 2200, low, 2)
    elsewhere = call_before(tmp_path / "elsewhere.wav", 900, high, 3)
    together = steps.same(one, neighbour, ready)
    assert together.backgrounds > 0.95
    assert any("their backgrounds alone are more alike" in said for said in together.warnings)
    apart = steps.same(one, elsewhere, ready)
    assert apart.backgrounds < 0.95
    assert not any("background" in said for said in apart.warnings)
    assert apart.likeness > together.likeness
    short = tmp_path / "short.wav"
    soundfile.write(short, 0.3 * sweep(900), RATE_HZ)
    unknown = steps.same(one, short, ready)
    assert unknown.backgrounds is None
    assert any("short.wav" in said and "cannot be measured" in said for said in unknown.warnings)


def test_two_calls_of_one_recording_are_warned_of(ready, archive, few, tmp_path):
    path = archive / few[0]["path"]
    copy = shutil.copy(path, tmp_path / "copy.flac")
    stretch = f"{few[0]['start_s']}-{few[0]['stop_s']}"
    for other in (f"{path}@{stretch}", f"{copy}@{stretch}"):
        report = steps.same(f"{path}@{stretch}", other, ready)
        assert any("of one recording" in said for said in report.warnings)
        assert report.percentile > 0.9


def test_of_a_call_that_is_too_weak_nothing_is_said(ready, archive, few):
    start_s = float(few[0]["start_s"])
    report = steps.same(f"{archive / few[0]['path']}@{start_s}-{start_s + 0.05:.3f}", 40, ready)
    assert report.likeness is report.percentile is report.pairs is report.probability is None
    assert any("is too short" in said for said in report.warnings)


def test_known_pairs_give_a_probability(call, ready, tmp_path):
    rows = [{"a": n, "b": n, "same": "Yes"} for n in range(1, 7)]
    rows += [{"a": n, "b": 56 - n, "same": "no"} for n in range(1, 10)]
    known = table(tmp_path / "known.csv", rows)
    report = steps.same(4, 30, ready, known=known)
    assert (report.known_same, report.known_different) == (6, 9)
    assert 0 <= report.equal_error_rate < 0.5
    alike = steps.same(4, 4, ready, known=known)
    assert 0 < report.probability < alike.probability < 1
    code, out, _ = call("same", 4, 30, "--known", known, "-w", ready)
    assert code == 0
    assert re.search(
        r"probability  0\.\d\d of the same individual, by 6 known pairs of one and 9 of different",
        out,
    )


def test_known_pairs_that_cannot_be_heard_are_left_out_and_named(ready, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("not a sound\n")
    rows = [{"a": n, "b": n + n // 7, "same": "no" if n > 6 else "yes"} for n in range(1, 14)]
    whole = steps.same(4, 30, ready, known=table(tmp_path / "known.csv", rows))
    rows[3:3] = [{"a": 1, "b": text, "same": "no"}, {"a": f"{text}@0-1", "b": 2, "same": "yes"}]
    some = steps.same(4, 30, ready, known=table(tmp_path / "known.csv", rows))
    assert (some.known_same, some.known_different) == (6, 7)
    assert some.probability == whole.probability
    assert some.warnings[: len(whole.warnings)] == whole.warnings
    added = some.warnings[len(whole.warnings) :]
    assert len(added) == 2
    assert all("known.csv" in said and "text.wav cannot be heard" in said for said in added)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b,same\n" + "1,2,yes\n" * 4 + "3,4,no\n" * 9, "4 pairs of the same individual and 9"),
        ("a,b,same\n1,2,maybe\n", "line 2: give a, b, and yes or no for same"),
        ("a,b,same\n1,2,yes\n3\n", "line 3: give a, b, and yes or no for same"),
        ("a,b,same\n,2,yes\n", "line 2: give a, b"),
        ("a,b,same\ngone.wav,2,yes\n", "gone.wav is not there"),
        ("one,two\n1,2\n", "has the columns a, b"),
        ("", "has the columns a, b"),
        (b"\xff\xfe\x00a", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_table_of_known_pairs_that_cannot_be_meant_is_refused(
    call, ready, tmp_path, content, words
):
    known = tmp_path / "known.csv"
    if content is not None:
        known.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = call("same", 1, 2, "--known", known, "-w", ready)
    assert (code, out) == (2, "")
    assert words in err.replace("\n", " ")
    assert "known.csv" in err or "gone.wav" in err


def test_a_vector_is_no_call(ready):
    with pytest.raises(WrongArgument, match="a vector is no call"):
        steps.same(1, np.ones(16), ready)


def test_it_is_made_once_and_a_second_call_writes_nothing(copied, bare):
    before = contents_of(copied)
    told = []
    first = steps.same(5, 41, copied, progress=lambda *words: told.append(words))
    steps.individuals(copied, where="duration_s > 0.2", progress=lambda *words: told.append(words))
    with Workspace(copied).alone():  # another run holds it
        again = steps.same(5, 41, copied)
    assert told == []
    assert contents_of(copied) == before
    assert first == again
    # Made elsewhere, it is the same to the byte.
    steps.same(5, 41, bare, progress=lambda *words: told.append(words))
    assert [words[:3] for words in told] == [("individuals", done, 2) for done in range(3)]
    assert kept(bare) == kept(copied)


def test_it_is_made_anew_when_sound_types_change(copied):
    before = kept(copied)
    change(
        copied,
        "UPDATE found_types SET cluster = CASE WHEN event_id % 2 THEN 0 ELSE 1 END",
    )
    change(copied, "UPDATE stages SET fingerprint = 'other' WHERE stage = 'cluster'")
    steps.same(1, 40, copied)
    after = kept(copied)
    assert before.keys() == after.keys()
    assert before[CALLS] != after[CALLS]
    steps.same(1, 40, copied)
    assert kept(copied) == after


def test_what_is_refused_is_refused_before_anything_is_made(call, bare):
    for words in (("same", 1, 9999), ("individuals", "--where", "sight = 'north'")):
        assert call(*words, "-w", bare)[0] == 2
    assert kept(bare) == {}


def test_while_another_run_holds_the_workspace_nothing_is_made_and_it_is_said(call, bare):
    with Workspace(bare).alone():
        code, out, err = call("same", 1, 40, "-w", bare)
    assert (code, out) == (1, "")
    assert "is in use by another run" in err
    assert kept(bare) == {}


@pytest.mark.parametrize("name", [CALLS, INDIVIDUAL])
def test_what_is_damaged_says_so_and_is_made_again_once_removed(call, copied, name):
    before = kept(copied)
    file = Workspace(copied).embeddings() / name
    file.write_bytes(before[name][: len(before[name]) // 2])
    code, out, err = call("same", 1, 40, "-w", copied)
    assert (code, out) == (1, "")
    assert re.search(rf"{name} is damaged .*: remove it, it is made again", err.replace("\n", " "))
    file.unlink()
    assert call("same", 1, 40, "-w", copied)[0] == 0
    assert kept(copied) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no process can be killed so there")
def test_where_making_was_killed_the_next_call_makes_it(bare, ready):
    code = """
import os, signal, sys
from pathlib import Path
from oscine import steps
from oscine.embedding.calls import HeardCalls

HeardCalls.save = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
steps.same(1, 40, Path(sys.argv[1]))
"""
    ran = subprocess.run([sys.executable, "-c", code, bare], capture_output=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()
    assert set(kept(bare)) == {INDIVIDUAL}
    assert steps.same(1, 40, bare).likeness == steps.same(1, 40, ready).likeness
    assert kept(bare) == kept(ready)


def test_a_readout_that_evaluate_has_fitted_is_taken(bare, ready):
    shutil.copy(Workspace(ready).embeddings() / INDIVIDUAL, Workspace(bare).embeddings())
    steps.same(1, 40, bare)
    assert kept(bare) == kept(ready)


def test_same_prints_a_table_or_one_json_object(call, ready, new):
    code, out, err = call("same", new, 40, "-w", ready)
    assert (code, err) == (0, "")
    assert re.search(r"^likeness +[+-]\d+\.\d\d \(0 is usual", out, re.MULTILINE)
    assert re.search(r"more alike than [\d.]+% of [\d,]+ pairs of such calls", out)
    assert re.search(r"^backgrounds +more alike than [\d.]+% of those", out, re.MULTILINE)
    code, out, _ = call("same", new, 40, "-w", ready, "--json")
    assert (code, out.count("\n")) == (0, 1)
    found = json.loads(out)
    assert found["probability"] is None
    assert {"likeness", "percentile", "pairs", "backgrounds", "warnings"} < set(found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("1",), "other"),
        (("1", "gone.wav"), "gone.wav is not there"),
        (("1", "9999"), "there is no event 9999"),
        (("1", "{file}@50-51"), "lies outside of the file"),
        (("{file}", "1", "--channel", "1"), "leave the channel out"),
    ],
)
def test_calls_that_cannot_be_meant_are_refused(call, ready, archive, few, arguments, words):
    told = [one.format(file=archive / few[0]["path"]) for one in arguments]
    code, out, err = call("same", *told, "-w", ready)
    assert (code, out) == (2, "")
    assert words in err.lower().replace("\n", " ")


def test_without_sound_types_nobody_is_told_apart(call, bare):
    change(bare, "UPDATE stages SET finished = 0 WHERE stage = 'cluster'")
    for words in (("same", 1, 2), ("individuals", "--cluster", 0)):
        code, out, err = call(*words, "-w", bare)
        assert (code, out) == (1, "")
        assert "run `oscine cluster` first" in err


# How many individuals?


def check(report):
    """Hold an account of groups against its calls."""
    assert len(report.members) == report.calls
    assert len(report.groups) == report.individuals
    assert report.at_least <= report.individuals <= report.at_most
    sizes = [one.calls for one in report.groups]
    assert sizes == sorted(sizes, reverse=True)
    for group in report.groups:
        mine = [one for one in report.members if one.individual == group.individual]
        assert len(mine) == group.calls
        assert len({one.path for one in mine}) == group.recordings
        assert group.typical in {one.event for one in mine}
        assert group.sureness == pytest.approx(np.mean([one.sureness for one in mine]), abs=2e-3)


def test_calls_of_a_condition_are_grouped_and_written(ready, tmp_path):
    before = contents_of(ready)
    out = tmp_path / "members.csv"
    report = steps.individuals(ready, where="duration_s > 0.3", out=out)
    assert contents_of(ready) == before
    check(report)
    with Workspace(ready).catalogue() as catalogue:
        meeting = catalogue.events_where("duration_s > 0.3").tolist()
    assert [one.event for one in report.members] == meeting
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["event", "individual", "sureness", "path", "start_s", "stop_s"]
    for row, one in zip(rows, report.members, strict=True):
        assert (int(row["event"]), int(row["individual"])) == (one.event, one.individual)
        assert row["path"] == one.path
        assert float(row["start_s"]) == one.start_s < one.stop_s == float(row["stop_s"])
    assert steps.individuals(ready, where="duration_s > 0.3").members == report.members
    other = steps.individuals(ready, where="duration_s > 0.3", seed=1)
    check(other)
    assert other.silhouette_by_chance != report.silhouette_by_chance


def test_a_sound_type_alone_or_with_a_condition_is_grouped(ready):
    with Workspace(ready).catalogue() as catalogue:
        types = Counter(row.cluster for row in catalogue.sound_types())
        largest = next(each for each, _ in types.most_common() if each >= 0)
        whole = catalogue.events_where(f"cluster = {largest} and duration_s > 0.2").tolist()
    report = steps.individuals(ready, cluster=largest, where="duration_s > 0.2 or level_db > 500")
    check(report)
    assert [one.event for one in report.members] == whole
    alone = steps.individuals(ready, cluster=largest)
    check(alone)
    assert set(whole) <= {one.event for one in alone.members}


def test_calls_too_short_to_tell_are_left_out(ready):
    with Workspace(ready).catalogue() as catalogue:
        short = catalogue.events_where("duration_s < 0.08").tolist()
    assert short
    report = steps.individuals(ready, where="duration_s > 0")
    assert not set(short) & {one.event for one in report.members}
    assert f"calls that are too short, left out: {len(short)}" in report.notes


def test_individuals_prints_a_table_or_one_json_object(call, ready, tmp_path):
    out_file = tmp_path / "members.csv"
    words = ("individuals", "--where", "duration_s > 0.3", "-w", ready)
    code, out, err = call(*words, "--out", out_file)
    assert (code, err) == (0, "")
    assert re.search(r"^individuals +\d+", out, re.MULTILINE)
    assert f"written      {out_file}" in out
    code, out, _ = call(*words, "--json")
    assert (code, out.count("\n")) == (0, 1)
    found = json.loads(out)
    assert len(found["members"]) == found["calls"]
    assert found["out"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "a sound type with --cluster, or a condition with --where"),
        (("--cluster", "99"), "there is no sound type 99: they are 0 to "),
        (("--where", "duration_s > 2"), "at least 6 are needed"),
        (("--where", "sight = 'north'"), "--where \"sight = 'north'\": 'sight' is no field"),
        (("--cluster", "-1"), "is no sound type"),
        (("--cluster", "0", "--seed", "-1"), "--seed must not be negative"),
        (("--where", "duration_s > 0.2", "--out", "groups.txt"), "name a .csv file"),
        (("--where", "duration_s > 0.2", "--out", "nowhere/groups.csv"), "in a folder that is"),
        (("--cluster", "many"), "many"),
    ],
)
def test_calls_that_cannot_be_grouped_are_refused(call, ready, arguments, words):
    code, out, err = call("individuals", *arguments, "-w", ready)
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())
