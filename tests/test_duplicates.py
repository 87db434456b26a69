"""Sounds that differ have vectors that differ: the test of it, and that it holds."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import tiny

from oscine import steps
from oscine.embedding import duplicates as module
from oscine.embedding import vectors as vectors_module
from oscine.embedding.duplicates import Duplicates, find_duplicates
from oscine.embedding.embed import tape_excerpt
from oscine.embedding.intervals import FrameInterval
from oscine.workspace import Workspace

N_EVENTS, LENGTH = 60, 20


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    """Two recordings of the same frames, but for bands above the Nyquist frequency of one."""
    picture = tiny.codes(N_EVENTS * LENGTH, 0)
    other = picture.copy()
    other[:, 24:] = 7
    return tiny.tape(tmp_path_factory.mktemp("tape"), [picture, other])


def events(number, n_valid=32):
    row = tiny.recording(
        number, N_EVENTS * LENGTH, number * N_EVENTS * LENGTH, n_valid_bands=n_valid
    )
    return [
        FrameInterval(recording=row, start_frame=start, stop_frame=start + LENGTH)
        for start in range(0, N_EVENTS * LENGTH, LENGTH)
    ]


def unit(rng, n, dimensions=8):
    vectors = rng.normal(size=(n, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_vectors_that_differ_are_no_duplicates(tape, rng):
    found = find_duplicates(unit(rng, N_EVENTS), events(0), tape, 0)
    assert found == Duplicates(n_events=N_EVENTS, n_alike=0, files=())
    assert found.share == 0


def test_events_that_differ_and_share_a_vector_are_counted_and_named(tape, rng):
    vectors = unit(rng, N_EVENTS)
    vectors[7] = vectors[3]
    vectors[30:33] = vectors[3] + np.float32(1e-5)  # cosine within 1e-6 of 1
    vectors[40] = vectors[41] + np.float32(0.01)  # that is another vector
    found = find_duplicates(vectors, events(0), tape, 0)
    assert (found.n_alike, found.files) == (5, ("0.wav",))
    assert found.share == pytest.approx(5 / N_EVENTS)


@pytest.mark.parametrize("vector", [np.zeros(8), np.eye(8)[0]], ids=["nothing", "one vector"])
def test_where_all_are_alike_all_are_counted(tape, vector):
    vectors = np.tile(vector, (N_EVENTS, 1)).astype(np.float32)
    assert find_duplicates(vectors, events(0), tape, 0).share == 1


def test_the_same_sound_twice_is_no_duplicate(tape, rng):
    """Valid bands count alone: what else the files hold reaches no vector."""
    vectors = np.tile(unit(rng, N_EVENTS), (2, 1))
    both = [*events(0, 24), *events(1, 24)]
    assert find_duplicates(vectors, both, tape, 0).n_alike == 0
    as_wide = [*events(0), *events(1)]
    assert find_duplicates(vectors, as_wide, tape, 0).n_alike == 2 * N_EVENTS
    assert find_duplicates(vectors, as_wide, tape, 0).files == ("0.wav", "1.wav")


def test_a_large_archive_is_asked_for_a_sample(tape, monkeypatch, rng):
    monkeypatch.setattr(module, "MOST_EVENTS", 20)
    vectors = np.tile(unit(rng, 1), (N_EVENTS, 1))
    found = find_duplicates(vectors, events(0), tape, 0)
    assert (found.n_events, found.n_alike, found.share) == (20, 20, 1)
    assert find_duplicates(vectors, events(0), tape, 0) == found


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Sweeps that all differ, at 16 kHz; half of the headers say 48 kHz."""
    folder = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(0)
    for number in range(6):
        samples = rng.normal(0, 0.003, 16_000 * 12)
        for start in range(8_000, len(samples) - 16_000, 16_000):
            time_s = np.arange(6_000) / 16_000
            low, high = rng.uniform(400, 3_000), rng.uniform(400, 3_000)
            phase = 2 * np.pi * (low * time_s + (high - low) * time_s**2 / 0.75)
            samples[start : start + 6_000] += 0.3 * np.hanning(6_000) * np.sin(phase)
        soundfile.write(folder / f"{number}.wav", samples, 48_000 if number % 2 else 16_000)
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory, archive):
    folder = tmp_path_factory.mktemp("learned") / "sweeps.oscine"
    steps.learn([archive], folder, steps=10, workers=1, settings=tiny.SETTINGS)
    return folder


def test_headers_of_a_wrong_rate_leave_vectors_apart(learned):
    report = steps.embed(learned)
    assert report.events >= 50
    assert (report.duplicate_share, report.notes) == (0, [])
    notes = steps.report(learned).notes
    assert not any("same vector" in note for note in notes)


def test_an_archive_of_which_the_same_is_heard_everywhere_is_found_out(
    learned, tmp_path, monkeypatch
):
    copied = shutil.copytree(learned, tmp_path / "copy.oscine")
    heard = []

    def deaf(*what):
        heard.append(tape_excerpt(*what))
        return heard[0]

    monkeypatch.setattr(vectors_module, "tape_excerpt", deaf)
    report = steps.embed(copied, refit=True)
    assert report.duplicate_share == 1
    (note,) = report.notes
    assert "have the same vector as another event" in note
    assert ".wav" in note
    assert "wrong sample rate" in note
    with Workspace(copied).catalogue() as catalogue:
        stage = catalogue.stage("embed")
    assert stage.facts["duplicates"]["n_events"] == report.events
    assert steps.embed(copied) == replace(report, refitted=False)
    steps.cluster(copied)
    assert note in steps.report(copied).notes
    page = (copied / "reports" / "atlas.html").read_text(encoding="utf-8")
    assert "have the same vector as another event" in page
