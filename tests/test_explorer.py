"""The atlas in the browser: every answer against the workspace that it is about."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import atlas_server
import numpy as np
import pytest
import soundfile
import soxr
import tiny
from atlas_server import WRITING, columns, served
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from oscine import steps
from oscine.atlas.explorer import hearing
from oscine.atlas.explorer.columns import packed, unpacked
from oscine.atlas.explorer.hearing import PLAYED_HZ, checked, longest_s, played_rates_hz
from oscine.atlas.explorer.overview import Overview, sampled
from oscine.atlas.explorer.ranges import ranged
from oscine.atlas.explorer.serving import listening
from oscine.atlas.explorer.source import Unanswered
from oscine.atlas.page import PageEvent, _describe
from oscine.atlas.projection import project_vectors
from oscine.config import WrongArgument
from oscine.embedding.individual import centred, fit_individual, individual_config
from oscine.embedding.vectors import vectors_of
from oscine.sound import clips
from oscine.sound.annotations import (
    LabelBook,
    labels_of_events,
    match_recordings,
    read_annotations,
)
from oscine.steps import answering
from oscine.steps.apart import Apart
from oscine.steps.examples import Archive
from oscine.steps.exploring import is_loopback
from oscine.steps.hearing_calls import exchange_sample
from oscine.steps.listening import evaluation_fingerprint
from oscine.steps.shared import asked_config, looked_at, open_tape
from oscine.synth import SynthConfig
from oscine.workspace import Workspace
from oscine.workspace.catalogue import Stage

CONDITION = "site = 'site-03' or (hour between 22 and 2 and low_hz < 2000)"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return atlas_server.write(tmp_path_factory.mktemp("atlas"))


@pytest.fixture(scope="module")
def client(atlas):
    with served(atlas) as asked:
        yield asked


@pytest.fixture(scope="module")
def held(atlas):
    """What the workspace itself says."""
    workspace = Workspace(atlas)
    config = asked_config(workspace, (), None, "picture")[1]
    with workspace.catalogue() as catalogue:
        yield {
            "workspace": workspace,
            "catalogue": catalogue,
            "events": catalogue.events(),
            "recordings": {row.recording_id: row for row in catalogue.recordings()},
            "types": {row.event_id: row for row in catalogue.sound_types()},
            "tape": open_tape(workspace, catalogue, config)[0],
        }


@pytest.fixture
def copied(tmp_path, atlas):
    """A copy of the workspace, to change."""
    return Path(shutil.copytree(atlas, tmp_path / "copy.oscine"))


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    steps.synth(folder / "forest", SynthConfig(minutes=1, recording_s=10))
    return tiny.learned(folder / "crows.oscine", folder / "forest")


def begun(event, recording):
    """When an event began, by the clocks there."""
    utc = datetime.fromtimestamp(recording.started_ms / 1000, UTC)
    within = timedelta(milliseconds=round(1000 * event.start_sample / recording.sample_rate_hz))
    return utc + within + timedelta(minutes=recording.utc_offset_min)


def samples_of(recording):
    return soundfile.read(Path(recording.root) / recording.path, dtype="int16")[0]


# Columns


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        st.tuples(st.sampled_from(["<u4", "<i4", "<i2", "u1", "<f4"]), st.integers(0, 20)),
        max_size=4,
    )
)
def test_columns_come_back_as_they_were_and_begin_at_multiples_of_eight(kinds):
    sent = {name: np.arange(n).astype(dtype) for name, (dtype, n) in kinds.items()}
    data = packed(sent, said="yes")
    header, found = unpacked(data)
    assert header["said"] == "yes"
    assert (4 + int.from_bytes(data[:4], "little")) % 8 == 0
    assert all(one["offset"] % 8 == 0 for one in header["columns"])
    assert list(found) == list(sent)
    for name, column in sent.items():
        assert found[name].dtype == column.dtype
        np.testing.assert_array_equal(found[name], column)


# The map


def test_points_are_those_of_the_catalogue(client, held):
    header, found = columns(client.get("/api/points"))
    events, recordings, types = held["events"], held["recordings"], held["types"]
    assert (header["n"], header["total"], header["is_sample"]) == (len(events), len(events), False)
    sizes = Counter(types[one.event_id].cluster for one in events)
    assert header["types"] == {str(number): size for number, size in sorted(sizes.items())}
    sites = header["sites"]
    assert sites == client.get("/api/atlas").json()["sites"]
    for place, event in enumerate(events):
        row, kind = recordings[event.recording_id], types[event.event_id]
        at = begun(event, row)
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        expected = {
            "event": event.event_id,
            "x": kind.map_x,
            "y": kind.map_y,
            "type": kind.cluster,
            "strength": kind.strength,
            "recording": event.recording_id,
            "site": sites.index(row.site),
            "hour": (at - midnight) / timedelta(hours=1),
            "day": (at.date() - datetime(1970, 1, 1).date()).days,
            "level": event.level_db,
            "low": event.low_hz,
            "high": event.high_hz,
            "duration": (event.stop_sample - event.start_sample) / row.sample_rate_hz,
        }
        assert {name: found[name][place] for name in expected} == pytest.approx(expected, 1e-6)


def test_what_is_not_known_of_a_point_is_said_so(copied):
    with Workspace(copied).catalogue() as catalogue:
        connection = catalogue._connection
        connection.execute("UPDATE recordings SET zone = 'UTC (file modification time)', site = ''")
        connection.execute("DELETE FROM found_types WHERE event_id % 2")
        n_events = catalogue.count("events")
    with served(copied) as asked:
        _, found = columns(asked.get("/api/points"))
        odd = found["event"] % 2 == 1
        assert np.isnan(found["hour"]).all()
        assert (found["day"] == -1).all()
        assert (found["site"] == -1).all()
        assert np.isnan(found["x"][odd]).all()
        assert np.isfinite(found["x"][~odd]).all()
        assert (found["type"][odd] == -1).all()
        header, of_time = columns(asked.get("/api/points/where", params={"q": "hour < 24"}))
        assert header["n_untimed"] == n_events > 0
        assert not of_time["is_met"].any()
        header, _ = columns(asked.get("/api/points/where", params={"q": "site = 'north'"}))
        assert header["n_untimed"] == 0
        event = asked.get("/api/events/1").json()
        assert {event[name] for name in ("start_ms", "utc_offset_min", "x", "strength")} == {None}
        about = asked.get("/api/atlas").json()
        assert not about["has"]["times"]
        assert any("file's last change" in note for note in about["notes"])


@given(
    st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 4)), max_size=300),
    st.integers(1, 100),
)
def test_a_sample_keeps_the_shares_of_types_and_of_recordings_within_them(pairs, most):
    types = np.array([one for one, _ in pairs], np.int16)
    rows = np.array([one for _, one in pairs], np.int32)
    chosen = sampled(types, rows, most)
    assert len(chosen) == min(most, len(pairs))
    assert (np.diff(chosen) > 0).all()
    share = len(chosen) / max(1, len(pairs))
    for whole in ([one for one, _ in pairs], pairs):
        of_all, of_some = Counter(whole), Counter(whole[place] for place in chosen)
        for key, n in of_all.items():
            assert abs(of_some[key] - n * share) < 1 + 1e-9 if share < 1 else of_some[key] == n


def test_a_sample_is_shown_of_many_and_counts_are_of_all(held):
    catalogue, events = held["catalogue"], held["events"]
    overview = Overview.of(catalogue, most_shown=50)
    header, found = unpacked(overview.points(catalogue, "as found"))
    assert (header["n"], header["total"], header["is_sample"]) == (50, len(events), True)
    assert sum(header["types"].values()) == len(events)
    every = unpacked(Overview.of(catalogue).points(catalogue, "as found"))[1]
    place = np.searchsorted(every["event"], found["event"])
    for name, column in found.items():
        np.testing.assert_array_equal(column, every[name][place])


def test_likeness_is_that_of_brute_force(client, held):
    vectors, _ = held["workspace"].vectors()
    like, unlike = [5, 9], [40]
    _, found = columns(client.get("/api/points/likeness?like=5,9&unlike=40"))
    query = vectors[[n - 1 for n in like]].astype(float).mean(0)
    query = query - 0.5 * vectors[[n - 1 for n in unlike]].astype(float).mean(0)
    expected = vectors.astype(float) @ (query / np.linalg.norm(query))
    np.testing.assert_allclose(found["cosine"], expected, atol=1e-6)


def test_a_condition_is_met_by_the_points_that_the_catalogue_names(client, held):
    _, found = columns(client.get("/api/points/where", params={"q": CONDITION}))
    met = held["catalogue"].events_where(CONDITION)
    assert 0 < len(met) < len(held["events"])
    points = columns(client.get("/api/points"))[1]["event"]
    np.testing.assert_array_equal(points[found["is_met"] == 1], met)


def test_labels_of_points_and_events_are_those_of_the_tables(copied, held, tmp_path):
    table = tmp_path / "labels.csv"
    paths = sorted({row.path for row in held["recordings"].values()})[:6]
    rows = [f"{path},{name}" for path, name in zip(paths, ["crow", "jay", "crow"] * 2, strict=True)]
    table.write_text("path,species\n" + "\n".join(rows) + "\n")
    read = read_annotations(table)
    with LabelBook(Workspace(copied).labels_file) as book:
        book.replace([read])
    recordings = list(held["recordings"].values())
    matched = match_recordings(read.annotations, recordings)
    said = labels_of_events(held["events"], matched, "species")
    assert {"crow", "jay", None} == set(said)
    with served(copied) as asked:
        (label,) = asked.get("/api/atlas").json()["labels"]
        assert label == {"name": "species", "values": ["crow", "jay"]}
        _, found = columns(asked.get("/api/points/label/species"))
        assert [None if n < 0 else label["values"][n] for n in found["value"]] == said
        # Who asks now may know other values, of before an import that another visitor has seen.
        table.write_text(table.read_text() + f"{list(held['recordings'].values())[-1].path},ani\n")
        with LabelBook(Workspace(copied).labels_file) as book:
            book.replace([read_annotations(table)])
        asked.get("/api/atlas")
        header, found = columns(asked.get("/api/points/label/species"))
        assert header["values"] == ["ani", "crow", "jay"]
        again = [None if n < 0 else header["values"][n] for n in found["value"]]
        assert [one for one in again if one != "ani"] == [
            one for one, other in zip(said, again, strict=True) if other != "ani"
        ]
        for event, one in list(zip(held["events"], said, strict=True))[:40]:
            expected = {} if one is None else {"species": one}
            assert asked.get(f"/api/events/{event.event_id}").json()["labels"] == expected
        assert asked.get("/api/points/label/size").status_code == 404


def test_an_event_of_a_recording_that_is_absent_or_new_has_no_labels(copied, held, tmp_path):
    event = held["events"][30]
    table = tmp_path / "labels.csv"
    table.write_text(f"path,species\n{held['recordings'][event.recording_id].path},crow\n")
    steps.import_labels([table], copied)
    present = "UPDATE recordings SET is_present = ? WHERE recording_id = ?"
    with Workspace(copied).catalogue() as catalogue, served(copied) as asked:
        url = f"/api/events/{event.event_id}"
        assert asked.get(url).json()["labels"] == {"species": "crow"}
        catalogue._connection.execute(present, (False, event.recording_id))
        catalogue.set_stage("index", replace(catalogue.stage("index"), fingerprint="other"))
        asked.get("/api/atlas")
        assert asked.get(url).json()["labels"] == {}
        catalogue._connection.execute(present, (True, event.recording_id))  # and nobody has seen it
        assert asked.get(url).json()["labels"] == {}
        catalogue.set_stage("index", replace(catalogue.stage("index"), fingerprint="and back"))
        asked.get("/api/atlas")
        assert asked.get(url).json()["labels"] == {"species": "crow"}


def test_an_event_says_all_that_is_known_of_it(client, held):
    for event in held["events"][::97]:
        row, kind = held["recordings"][event.recording_id], held["types"][event.event_id]
        found = client.get(f"/api/events/{event.event_id}").json()
        for name in ("start_sample", "stop_sample", "low_hz", "high_hz", "level_db"):
            assert found[name] == getattr(event, name)
        assert found["start_s"] == event.start_sample / row.sample_rate_hz
        place = found["type"], found["x"], found["y"], found["strength"]
        assert place == (kind.cluster, kind.map_x, kind.map_y, kind.strength)
        for name in ("path", "n_samples", "site", "recorder", "sample_rate_hz"):
            assert found["recording"][name] == getattr(row, name)
        utc = begun(event, row) - timedelta(hours=1)
        assert found["start_ms"] == round(1000 * utc.timestamp())
        assert found["is_present"]
        assert found["has_sound"]
        assert "root" not in str(found)
    assert client.get("/api/events/999999").status_code == 404


# Pictures


@pytest.mark.parametrize("height", [16, 64, 100])
def test_a_strip_shows_the_frames_of_the_tape(client, held, height):
    event = held["events"][30]
    row = held["recordings"][event.recording_id]
    png = client.get(f"/api/events/{event.event_id}/strip.png?height={height}")
    assert png.headers["content-type"] == "image/png"
    picture = np.array(Image.open(io.BytesIO(png.content)))
    start, stop = max(0, event.start_frame - 20), min(row.n_frames, event.stop_frame + 20)
    log_mel = held["tape"].log_mel(row.tape_row + start, row.tape_row + stop)
    n = -(-log_mel.shape[1] // height)
    bands = np.stack([log_mel[:, at : at + n].max(1) for at in range(0, log_mel.shape[1], n)])
    low, high = np.percentile(bands, (50, 99.8))
    level = np.clip((bands[::-1] - low) / max(high - low, 2 * np.log(10)), 0, 1)
    assert picture.shape[0] <= height
    np.testing.assert_array_equal(picture, np.round(level * 254))


def test_a_strip_is_kept_for_ever_only_by_the_key_of_its_archive(client):
    key = client.get("/api/atlas").json()["key"]
    fixed = client.get(f"/api/events/3/strip.png?key={key}")
    other = client.get("/api/events/3/strip.png?key=another")
    assert fixed.content == other.content
    assert "immutable" in fixed.headers["cache-control"]
    assert other.headers["cache-control"] == "private, no-cache"
    known = {"If-None-Match": fixed.headers["etag"]}
    again = client.get("/api/events/3/strip.png", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/api/events/4/strip.png", headers=known).status_code == 200


@pytest.mark.parametrize("most", [4000, 7])
def test_a_spectrogram_is_the_tape_pooled(client, held, most):
    row = held["recordings"][2]
    asked = f"/api/recordings/2/spectrogram?start_s=1.203&stop_s=3.5&columns={most}"
    header, found = columns(client.get(asked))
    codes = held["tape"].codes(row.tape_row + 120, row.tape_row + 350)
    n = header["frames_per_column"]
    assert n == -(-230 // most)
    expected = np.stack([codes[at : at + n].max(0) for at in range(0, 230, n)])
    level = found["level"].reshape(header["n_frames"], header["n_bands"])
    np.testing.assert_array_equal(level, expected)
    assert header["start_s"] == pytest.approx(1.2)
    assert header["stop_s"] == pytest.approx(1.2 + len(expected) * n / 100)
    decibels = header["low_db"] + header["step_db"] * level.astype(float)
    log_mel = held["tape"].log_mel(row.tape_row + 120, row.tape_row + 350)
    assert decibels.max() == pytest.approx(log_mel.max() * 10 / np.log(10), abs=1e-4)


def test_a_whole_recording_is_pooled_in_portions_as_at_once(client, held, monkeypatch):
    whole = client.get("/api/recordings/1/spectrogram?columns=31").content
    monkeypatch.setattr("oscine.atlas.explorer.drawing.FRAMES_AT_ONCE", 100)
    assert client.get("/api/recordings/1/spectrogram?columns=31").content == whole


def test_a_waveform_has_the_extremes_of_the_file(client, held):
    header, found = columns(client.get("/api/recordings/3/waveform?start_s=2&stop_s=4&columns=13"))
    row = held["recordings"][3]
    rate = row.sample_rate_hz
    samples = samples_of(row)[2 * rate : 4 * rate] / 2**15
    parts = np.split(samples, [number * len(samples) // 13 for number in range(1, 13)])
    np.testing.assert_array_equal(found["low"], np.float32([part.min() for part in parts]))
    np.testing.assert_array_equal(found["high"], np.float32([part.max() for part in parts]))
    assert (header["start_s"], header["stop_s"]) == (2, 4)


# Sound


@pytest.mark.parametrize("speed", ["1", "0.5", "0.25"])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (12_345, 45_678), (300_000, 10**9)])
def test_audio_decodes_to_exactly_the_samples_asked_for(client, held, start, stop, speed):
    row = held["recordings"][4]
    every = samples_of(row)
    asked = f"/api/recordings/4/audio?start_sample={start}&stop_sample={stop}&speed={speed}"
    answer = client.get(asked)
    found, rate = soundfile.read(io.BytesIO(answer.content), dtype="int16")
    assert rate == row.sample_rate_hz * float(speed)
    np.testing.assert_array_equal(found, every[start:stop])
    assert answer.headers["x-start-sample"] == str(start)
    assert answer.headers["x-stop-sample"] == str(min(stop, len(every)))


def test_audio_at_a_tenth_is_resampled_to_a_rate_that_browsers_play(client, held):
    row = held["recordings"][4]
    every, rate = samples_of(row) / 2**15, row.sample_rate_hz
    asked = f"/api/recordings/4/audio?start_sample={rate}&stop_sample={2 * rate}&speed=0.1"
    found, stated = soundfile.read(io.BytesIO(client.get(asked).content))
    assert stated == 2 * rate // 10 == 9600
    expected = soxr.resample(every, rate, 2 * rate, quality="HQ")[2 * rate : 4 * rate]
    np.testing.assert_allclose(found, np.clip(expected, -1, 1), atol=2 / 2**15)


@given(
    st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000, 96_000, 250_000, 384_000, 11_111]),
    st.sampled_from([1, 2, 4, 10]),
)
def test_the_stated_rate_is_played_and_the_sound_lasts_as_long_as_it_should(rate_hz, slower):
    stated, needed = played_rates_hz(rate_hz, 1 / slower)
    assert PLAYED_HZ[0] <= stated <= PLAYED_HZ[1]
    assert needed / stated == pytest.approx(slower, 1e-6)
    if stated < 48_000:
        assert needed >= 0.999 * rate_hz  # nothing that can be heard is lost


def test_the_channels_of_a_file_count_as_one_recording(copied):
    with served(copied) as asked:
        n_before = asked.get("/api/atlas").json()["recordings"]
    with Workspace(copied).catalogue() as catalogue:
        change = (
            "UPDATE recordings SET path = 'two.wav', root = '/a', channel = recording_id - 1,"
            " n_channels = 2 WHERE recording_id <= 2"
        )
        catalogue._connection.execute(change)
        # Both have events of one type.
        change = (
            "UPDATE found_types SET cluster = 0 WHERE event_id IN"
            " (SELECT min(event_id) FROM events GROUP BY recording_id)"
        )
        catalogue._connection.execute(change)
        files = {row.recording_id: (row.root, row.path) for row in catalogue.recordings()}
        of_type = catalogue.sound_types_of(event.event_id for event in catalogue.events())
        file_of = {one.event_id: files[one.recording_id] for one in catalogue.events()}
    with served(copied) as asked:
        atlas = asked.get("/api/atlas").json()
        assert atlas["recordings"] == n_before - 1
        for one in atlas["types"]:
            in_files = {file_of[event] for event, kind in of_type.items() if kind == one["number"]}
            assert one["recordings"] == len(in_files)
            card = asked.get(f"/api/types/{one['number']}").json()
            assert card["recordings"] == len(in_files)


def test_both_channels_are_heard_as_they_were_catalogued(copied, held, tmp_path):
    stereo = np.random.default_rng(0).integers(-9000, 9000, (32_000, 2)).astype(np.int16)
    soundfile.write(tmp_path / "two.wav", stereo, held["recordings"][1].sample_rate_hz)
    change = (
        "UPDATE recordings SET root = ?, path = 'two.wav', n_bytes = ?, modified_s = ?,"
        " n_samples = 32000, n_channels = 2, channel = ? WHERE recording_id = ?"
    )
    now = (tmp_path / "two.wav").stat()
    shown = now.st_size, now.st_mtime
    with Workspace(copied).catalogue() as catalogue:
        for number, channel in ((1, 0), (2, 1)):
            catalogue._connection.execute(change, (str(tmp_path), *shown, channel, number))
    with served(copied) as asked:
        for number in (1, 2):
            answer = asked.get(f"/api/recordings/{number}/audio?start_sample=5&stop_sample=900")
            found, _ = soundfile.read(io.BytesIO(answer.content), dtype="int16")
            np.testing.assert_array_equal(found, stereo[5:900, number - 1])


@pytest.mark.parametrize(
    ("rate_hz", "n_channels", "seconds"), [(48_000, 1, 60), (96_000, 8, 43.7), (384_000, 2, 43.7)]
)
def test_as_much_sound_is_given_at_once_as_is_said_and_no_more(rate_hz, n_channels, seconds):
    most_s = longest_s(rate_hz, n_channels)
    assert most_s == pytest.approx(seconds, abs=0.1)
    stop = int(most_s * rate_hz)
    assert checked(0, stop, 10**9, rate_hz, n_channels).stop == stop
    with pytest.raises(Unanswered, match="s at once"):
        checked(0, stop + 1, 10**9, rate_hz, n_channels)


def test_a_recording_says_how_much_of_its_sound_is_given_at_once(client):
    assert client.get("/api/recordings/1").json()["longest_s"] == 60


def test_a_file_that_is_gone_or_has_changed_has_no_sound_but_a_picture(copied, held, tmp_path):
    with Workspace(copied).catalogue() as catalogue:
        execute = catalogue._connection.execute
        execute("UPDATE recordings SET root = ? WHERE recording_id = 1", (str(tmp_path),))
        execute("UPDATE recordings SET n_bytes = n_bytes + 1 WHERE recording_id = 2")
    with served(copied) as asked:
        for number in (1, 2):
            answer = asked.get(f"/api/recordings/{number}/audio")
            assert answer.status_code == 404
            assert "not there any more" in answer.json()["error"]
            assert not asked.get(f"/api/recordings/{number}").json()["has_sound"]
            assert asked.get(f"/api/recordings/{number}/spectrogram").status_code == 200


def test_another_sound_of_the_same_size_is_not_heard_in_the_place_of_a_recording(
    copied, held, tmp_path, monkeypatch
):
    event = held["events"][30]
    row = held["recordings"][event.recording_id]
    file = tmp_path / row.path
    file.parent.mkdir(parents=True)
    soundfile.write(file, samples_of(row), row.sample_rate_hz)
    kept, hashed, content_hash = file.read_bytes(), [], clips.content_hash
    with Workspace(copied).catalogue() as catalogue:
        catalogue._connection.execute(
            "UPDATE recordings SET root = ?, n_bytes = ?, content_hash = ? WHERE recording_id = ?",
            (str(tmp_path), len(kept), content_hash(file), row.recording_id),
        )
    monkeypatch.setattr(
        clips, "content_hash", lambda file: hashed.append(file) or content_hash(file)
    )
    with served(copied) as asked:

        def has_sound():
            urls = f"recordings/{row.recording_id}", f"events/{event.event_id}"
            (said,) = {asked.get(f"/api/{url}").json()["has_sound"] for url in urls}
            return said

        audio = f"/api/recordings/{row.recording_id}/audio?stop_sample=900"
        known = {"If-None-Match": asked.get(audio).headers["etag"]}
        assert has_sound()
        assert asked.get(audio, headers=known).status_code == 304
        assert len(hashed) == 1  # once, to see that what was written anew is the same
        soundfile.write(file, np.sin(np.arange(row.n_samples) / 9), row.sample_rate_hz)
        assert file.stat().st_size == len(kept)
        assert not has_sound()
        for headers in ({}, known):
            answer = asked.get(audio, headers=headers)
            assert answer.status_code == 404
            assert "has changed since" in answer.json()["error"]
        assert asked.get(audio.replace("audio", "waveform")).status_code == 404
        assert len(hashed) == 2
        file.write_bytes(kept)
        assert has_sound()
        assert asked.get(audio, headers=known).status_code == 304


def test_a_recording_that_is_present_no_more_has_no_sound_but_a_picture(copied, held):
    event = held["events"][30]
    number = event.recording_id
    with served(copied) as asked:
        assert asked.get(f"/api/recordings/{number}/audio?stop_sample=9").status_code == 200
        with Workspace(copied).catalogue() as catalogue:
            change = "UPDATE recordings SET is_present = 0 WHERE recording_id = ?"
            catalogue._connection.execute(change, (number,))
        assert asked.get(f"/api/recordings/{number}/audio?stop_sample=9").status_code == 404
        told = asked.get(f"/api/events/{event.event_id}").json()
        assert (told["is_present"], told["has_sound"]) == (False, False)
        assert asked.get(f"/api/events/{event.event_id}/strip.png").status_code == 200


@given(st.text("0123456789-, =b", max_size=12), st.integers(0, 30))
def test_a_range_is_the_slice_that_it_names(text, n):
    data = bytes(range(n))
    answer = ranged(f"bytes={text}", data, "audio/wav", {})
    first, dash, last = text.strip().partition("-")
    is_range = dash and (first + last).isdigit() and first.strip() == first and " " not in text
    if not is_range or (first and last and int(last) < int(first)):
        if answer.status_code == 200:
            assert answer.body == data
        return
    wanted = data[int(first) :] if not last else data[int(first or 0) : int(last) + 1]
    if not first:
        wanted = data[max(0, n - int(last)) :]
    if wanted:
        start = data.index(wanted)
        assert (answer.status_code, answer.body) == (206, wanted)
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/{n}"
    else:
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{n}"


def test_parts_of_a_sound_make_the_whole_and_broken_ranges_do_no_harm(client):
    url = "/api/recordings/5/audio?start_sample=1000&stop_sample=9000"
    whole = client.get(url)
    assert whole.headers["accept-ranges"] == "bytes"
    n = len(whole.content)
    parts = [
        client.get(url, headers={"Range": f"bytes={start}-{start + 6999}"})
        for start in range(0, n, 7000)
    ]
    assert {part.status_code for part in parts} == {206}
    assert b"".join(part.content for part in parts) == whole.content
    beyond = client.get(url, headers={"Range": f"bytes={n}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{n}")
    other = {"Range": "bytes=5-9", "If-Range": '"another"'}
    assert client.get(url, headers=other).content == whole.content
    same = {"Range": "bytes=5-9", "If-Range": whole.headers["etag"]}
    assert client.get(url, headers=same).content == whole.content[5:10]
    known = {"If-None-Match": whole.headers["etag"]}
    assert client.get(url, headers=known).status_code == 304
    for broken in ("bytes=5-2", "bytes=0-1,5-9", "lines=0-5", "bytes=a-b", "bytes=-", "x" * 500):
        answer = client.get(url, headers={"Range": broken})
        assert (answer.status_code, answer.content) == (200, whole.content)


def test_a_large_sound_is_not_decoded_anew_for_each_part(learned, monkeypatch):
    reads, read = [], hearing.read_interval

    def counted(*given, **settings):
        reads.append(given)
        return read(*given, **settings)

    monkeypatch.setattr(hearing, "read_interval", counted)
    monkeypatch.setattr(answering, "KEPT_BYTES", 1000)
    with served(learned) as asked:
        urls = [f"/api/recordings/{number}/audio?stop_sample=9000" for number in (5, 6)]
        for n_reads, url in enumerate(urls, 1):
            for start in range(0, 9000, 1000):
                part = asked.get(url, headers={"Range": f"bytes={start}-{start + 999}"})
                assert part.status_code == 206
            assert len(reads) == n_reads
        asked.get(urls[0])  # No more than one is kept that is larger than all may be.
        assert len(reads) == 3


@pytest.mark.parametrize(
    "url", ["/", "/api/atlas", "/api/recordings/5/audio", "/api/events/1/strip.png", "/api/nothing"]
)
def test_the_head_of_an_answer_is_that_of_the_answer_without_its_body(client, url):
    head, answer = client.head(url), client.get(url)
    assert head.content == b""
    assert head.status_code == answer.status_code
    assert head.headers["content-length"] == str(len(answer.content))


# Recordings


def test_recordings_are_listed_in_portions_and_filtered(client, held):
    every = [row.recording_id for row in held["recordings"].values()]
    found, after = [], 0
    while after is not None:
        page = client.get(f"/api/recordings?limit=7&after={after}").json()
        assert page["total"] == len(every)
        found += [row["id"] for row in page["rows"]]
        after = page["next"]
    assert found == every
    n_events = Counter(event.recording_id for event in held["events"])
    assert client.get(f"/api/recordings?limit={len(every)}").json()["next"] is None
    rows = client.get("/api/recordings").json()["rows"]
    assert {row["id"]: row["events"] for row in rows} == {n: n_events[n] for n in every}

    def listed(**asked):
        return [row["id"] for row in client.get("/api/recordings", params=asked).json()["rows"]]

    rows = held["recordings"].values()
    assert listed(ids="3,1,99999") == [1, 3]
    assert listed(site="site-03") == [row.recording_id for row in rows if row.site == "site-03"]
    assert listed(text="SITE-03/rec") == listed(site="site-03")
    assert listed(text="%") == []
    assert listed(state="damaged") == []
    day = (datetime(2024, 3, 1) - datetime(1970, 1, 1)).days
    at = [begun(held["events"][0], row).date() for row in rows]
    assert listed(day=day) == [n for n, one in zip(every, at, strict=True) if one.day == 1]
    assert listed(day=day + 9999) == []


def test_a_recording_is_listed_on_each_day_that_it_lasts_into(copied):
    with Workspace(copied).catalogue() as catalogue:
        execute = catalogue._connection.execute
        # Three seconds before midnight there, until midnight, and of nothing that was heard.
        start = "UPDATE recordings SET started_ms = 1709247597000"
        execute(f"{start} WHERE recording_id = 1")
        execute(f"{start}, n_samples = 3 * sample_rate_hz WHERE recording_id = 2")
        unreadable = "state = 'unreadable', n_samples = 0, sample_rate_hz = 0"
        execute(f"{start} + 3000, {unreadable} WHERE recording_id = 3")
    with served(copied) as asked:
        found = columns(asked.get("/api/timeline"))[1]
        days = sorted(set(found["day"].tolist()))[:2]
        assert days == [19782, 19783]
        before, after = (
            [row["id"] for row in asked.get(f"/api/recordings?day={day}").json()["rows"]]
            for day in days
        )
        assert before == [1, 2]
        assert after[:3] == [1, 3, 4]


def test_a_recording_has_its_events(client, held):
    found = client.get("/api/recordings/2").json()
    mine = [one for one in held["events"] if one.recording_id == 2]
    assert [one["event"] for one in found["events"]] == [one.event_id for one in mine]
    rate = held["recordings"][2].sample_rate_hz
    for box, event in zip(found["events"], mine, strict=True):
        assert (box["start_s"], box["low_hz"]) == (event.start_sample / rate, event.low_hz)
        assert box["type"] == held["types"][event.event_id].cluster
    assert len(found["band_hz"]) == 128
    assert client.get("/api/recordings/99999").status_code == 404


def test_the_timeline_counts_what_was_recorded_heard_and_damaged(copied):
    with Workspace(copied).catalogue() as catalogue:
        execute = catalogue._connection.execute
        execute("UPDATE recordings SET state = 'damaged' WHERE recording_id % 5 = 0")
        execute("UPDATE recordings SET started_ms = NULL WHERE recording_id % 7 = 0")
        # Across midnight there, and into a third hour.
        execute(
            "UPDATE recordings SET started_ms = 1709247540000, n_samples = sample_rate_hz * 3700"
            " WHERE recording_id = 1"
        )
        events, rows = catalogue.events(), catalogue.recordings()
    heard, recorded, damaged = Counter(), Counter(), Counter()
    by_number = {row.recording_id: row for row in rows}

    def hour(ms):
        return divmod(ms // 3_600_000, 24)

    for row in rows:
        if row.started_ms is None:
            continue
        start = row.started_ms + row.utc_offset_min * 60_000
        damaged[hour(start)] += row.state == "damaged"
        for ms in range(start, start + round(row.duration_s * 1000), 1000):
            recorded[hour(ms)] += 1
    for event in events:
        row = by_number[event.recording_id]
        if row.started_ms is not None:
            start = row.started_ms + row.utc_offset_min * 60_000
            heard[hour(start + round(1000 * event.start_sample / row.sample_rate_hz))] += 1
    with served(copied) as asked:
        header, found = columns(asked.get("/api/timeline"))
    keys = list(zip(found["day"].tolist(), found["hour"].tolist(), strict=True))
    assert keys == sorted(recorded)
    assert dict(zip(keys, found["recorded_s"].tolist(), strict=True)) == pytest.approx(recorded)
    assert [heard[key] for key in keys] == found["events"].tolist()
    assert [damaged[key] for key in keys] == found["damaged"].tolist()
    assert header["days"] == [keys[0][0], keys[-1][0]]
    assert header["without_time"] == sum(row.started_ms is None for row in rows)


# What is alike


def test_similar_events_are_those_of_the_step(client, atlas):
    found = client.get("/api/similar", params={"like": "12", "top": 9, "own": 3}).json()
    report = steps.similar(12, atlas, top=9, own=3)
    for name in ("others", "own"):
        expected = getattr(report, name)
        assert [one["event"] for one in found[name]] == [one.event for one in expected]
        assert [one["likeness"] for one in found[name]] == [one.likeness for one in expected]
        assert [one["percentile"] for one in found[name]] == [one.percentile for one in expected]
    assert found["others"][0]["percentile"] is not None
    assert found["why"] == ""
    asked = {"like": "12,13", "unlike": "40", "top": 5, "where": CONDITION}
    found = client.get("/api/similar", params=asked).json()
    report = steps.similar([12, 13], atlas, unlike=40, top=5, where=CONDITION)
    assert [one["event"] for one in found["others"]] == [one.event for one in report.others]
    assert "one example" in found["why"]


def test_a_call_cannot_be_both_like_and_unlike(client):
    for url in ("/api/similar", "/api/points/likeness"):
        answer = client.get(f"{url}?like=5,9&unlike=40,9")
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("event 9 cannot be both like and unlike")


def test_an_error_speaks_of_what_was_typed_into_the_page(client, atlas):
    for url in ("/api/points/where", "/api/similar?like=1"):
        name = "q" if url.endswith("where") else "where"
        answer = client.get(url, params={"like": 1, name: "nonsense"})
        assert answer.status_code == 422
        said = answer.json()["error"]
        assert said.startswith("the condition 'nonsense': ")
        assert "--" not in said
        assert said.endswith(".")
    with pytest.raises(WrongArgument, match=r"^--where 'nonsense': "):
        steps.similar(1, atlas, where="nonsense")


def test_without_a_model_a_sound_that_is_sent_is_told_so(copied, tmp_path):
    with Workspace(copied).catalogue() as catalogue:
        catalogue.drop_stage("pretrain")
    soundfile.write(tmp_path / "hum.wav", np.full(8000, 0.1), 8000)
    body = (tmp_path / "hum.wav").read_bytes()
    with served(copied) as asked:
        answer = asked.post("/api/similar", content=body, headers={"Content-Type": "audio/wav"})
        assert answer.status_code == 422
        assert "there is no model yet: run `oscine pretrain`" in answer.json()["error"]
        assert "another model" not in answer.text
        assert asked.get("/api/similar?like=1").json()["notes"] == []


def test_a_sound_that_is_sent_is_held_against_the_archive_as_a_file_is(learned, tmp_path):
    file = tmp_path / "crow.wav"
    rng = np.random.default_rng(0)
    soundfile.write(file, rng.normal(0, 0.2, 32_000) * np.hanning(32_000), 32_000)
    report = steps.similar(file, learned, top=5, own=0)
    with served(learned) as asked:
        answer = asked.post(
            "/api/similar?top=5", content=file.read_bytes(), headers={"Content-Type": "audio/wav"}
        )
        found = answer.json()
        assert [one["event"] for one in found["others"]] == [one.event for one in report.others]
        assert found["others"][0]["likeness"] == report.others[0].likeness
        assert tempfile_words(answer.text) == []

        event = report.others[0].event
        header, drawn = columns(asked.get(f"/api/events/{event}/reconstruction?seed=3"))
        shape = header["n_frames"], header["n_bands"]
        recorded, redrawn, hidden = (
            drawn[name].reshape(shape) for name in ("seen", "drawn", "hidden")
        )
        assert 0.6 < hidden.mean() < 0.8
        np.testing.assert_array_equal(redrawn[hidden == 0], recorded[hidden == 0])
        assert (redrawn[hidden == 1] != recorded[hidden == 1]).mean() > 0.5
        told = asked.get(f"/api/events/{event}").json()
        assert header["start_s"] <= told["start_s"] < told["stop_s"] <= header["stop_s"]
        row = Workspace(learned).catalogue().some_recordings([told["recording"]["id"]])
        row = row[told["recording"]["id"]]
        first = row.tape_row + round(100 * header["start_s"])
        with Workspace(learned).catalogue() as catalogue:
            config = asked_config(Workspace(learned), (), None, "picture")[1]
            tape, _ = open_tape(Workspace(learned), catalogue, config)
        np.testing.assert_array_equal(recorded, tape.codes(first, first + shape[0]))
        again = columns(asked.get(f"/api/events/{event}/reconstruction?seed=3"))[1]
        other = columns(asked.get(f"/api/events/{event}/reconstruction?seed=4"))[1]
        np.testing.assert_array_equal(again["drawn"], drawn["drawn"])
        assert (other["hidden"] != drawn["hidden"]).any()


def test_maps_are_drawn_by_single_layers_and_by_what_tells_individuals_apart(learned):
    workspace = Workspace(learned)
    before = sorted(workspace.embeddings().iterdir())
    with served(learned) as asked:
        events = columns(asked.get("/api/points"))[1]["event"]

        def map_by(readout):
            assert asked.get(f"/api/maps/{readout}").status_code == 404
            said = {"json": {"readout": readout}, "headers": WRITING}
            assert asked.post("/api/maps", **said).status_code == 202
            while (answer := asked.get(f"/api/maps/{readout}")).status_code == 202:
                assert 0 <= answer.json()["share"] <= 1
            header, found = columns(answer)
            assert header["readout"] == readout
            np.testing.assert_array_equal(found["event"], events)
            return np.stack([found["x"], found["y"]], axis=1)

        layers = map_by("layer-1"), map_by("layer-2")
        individuals = map_by("individuals")
        assert np.isfinite(layers).all()
        assert np.ptp(layers, axis=1).min() > 0
        assert not np.array_equal(*layers)
        for wrong in ("layer-99", "layer-01", "1", "individual"):
            said = {"json": {"readout": wrong}, "headers": WRITING}
            assert asked.post("/api/maps", **said).status_code == (404 if "99" in wrong else 422)
    assert sorted(workspace.embeddings().iterdir()) == before  # an atlas is only read
    with looked_at(learned, (), None, "picture") as opened:
        archive, tape = Archive.of(*opened), open_tape(*opened)[0]
        encoder = archive.encoder()
        sample = exchange_sample(opened[1], opened[2], tape, encoder, archive.readout)
        readout = fit_individual(sample, encoder, individual_config(archive.readout.config), "")
        numbers = events.tolist()
        by_number = archive.intervals(numbers)
        types = opened[1].found_types().by_event()
        vectors = vectors_of(tape, encoder, readout, [by_number[one] for one in numbers])
        expected = project_vectors(
            centred(vectors, [types.get(one, -1) for one in numbers]).astype(np.float32),
            [f"{one:010d}" for one in numbers],
            [by_number[one].recording.content_key for one in numbers],
            seed=opened[2].cluster.seed,
        )
    np.testing.assert_allclose(individuals, expected.xy, atol=1e-5)


def tempfile_words(text):
    return [word for word in ("oscine-heard", "sound-", os.sep + "tmp") if word in text]


# Sound types


def test_a_sound_type_looks_in_the_explorer_as_in_the_atlas_page(client, held):
    told = {one["number"]: one["look"] for one in client.get("/api/atlas").json()["types"]}
    sizes = Counter(one.cluster for one in held["types"].values())
    n_exemplars = len(held["catalogue"].stage("cluster").facts["exemplars"][0])
    assert sizes[0] > n_exemplars
    for number, look in told.items():
        some = [one for one in held["events"] if held["types"][one.event_id].cluster == number]
        rates = [held["recordings"][one.recording_id].sample_rate_hz for one in some]
        lasting = [
            (one.stop_sample - one.start_sample) / rate
            for one, rate in zip(some, rates, strict=True)
        ]
        page = [
            PageEvent(
                **dict.fromkeys(("x", "y", "strength", "level_db"), 0.0),
                **{name: getattr(one, name) for name in ("low_hz", "high_hz")},
                **{"event_id": "", "cluster": number, "recording": "", "began_ms": None},
                start_s=0.0,
                stop_s=duration_s,
            )
            for one, duration_s in zip(some, lasting, strict=True)
        ]
        assert look
        assert _describe(page).endswith(f", median {look}")


def test_a_look_of_a_type_that_the_sample_lacks_is_that_of_all_its_events(held):
    every = Overview.of(held["catalogue"]).looks(held["catalogue"])
    some = Overview.of(held["catalogue"], most_shown=1).looks(held["catalogue"])
    assert set(some) == set(every)
    assert sum(some[number] == every[number] for number in every) >= len(every) - 1


def test_where_there_are_no_events_no_type_has_a_look(copied):
    with Workspace(copied).catalogue() as catalogue:
        for table in ("found_types", "events"):
            catalogue._connection.execute(f"DELETE FROM {table}")
        assert Overview.of(catalogue).looks(catalogue) == {}


def test_a_card_says_of_a_sound_type_what_the_catalogue_does(client, held):
    number = 2
    events = [one for one in held["events"] if held["types"][one.event_id].cluster == number]
    card = client.get(f"/api/types/{number}?seed=5").json()
    assert card["size"] == len(events)
    rows = [held["recordings"][one.recording_id] for one in events]
    assert card["recordings"] == len({row.recording_id for row in rows})
    assert card["sites"] == dict(Counter(row.site for row in rows))
    at = [begun(event, row) for event, row in zip(events, rows, strict=True)]
    assert card["hours_of_day"] == [sum(one.hour == hour for one in at) for hour in range(24)]
    assert card["months"] == [sum(one.month == month for one in at) for month in range(1, 13)]
    assert card["first_ms"] == round(1000 * (min(at) - timedelta(hours=1)).timestamp())
    strengths = [held["types"][one.event_id].strength for one in events]
    assert card["strength_median"] == pytest.approx(np.median(strengths))
    exemplars = held["catalogue"].stage("cluster").facts["exemplars"][number]
    assert card["typical"] == exemplars[:5]
    numbers = {one.event_id for one in events}
    assert set(card["random"]) <= numbers
    assert len(set(card["random"])) == min(10, len(numbers))
    assert client.get(f"/api/types/{number}?seed=5").json() == card
    legend = {one["number"]: one for one in client.get("/api/atlas").json()["types"]}
    assert (legend[number]["size"], legend[number]["look"]) == (card["size"], card["look"])
    assert client.get("/api/types/3000").status_code == 404


def test_typical_calls_are_of_recordings_that_are_present(copied, held):
    exemplars = held["catalogue"].stage("cluster").facts["exemplars"][3]
    (first,) = (one for one in held["events"] if one.event_id == exemplars[0])
    gone = {one.event_id for one in held["events"] if one.recording_id == first.recording_id}
    with Workspace(copied).catalogue() as catalogue:
        change = "UPDATE recordings SET is_present = 0 WHERE recording_id = ?"
        catalogue._connection.execute(change, (first.recording_id,))
    with served(copied) as asked:
        typical = asked.get("/api/types/3").json()["typical"]
    assert typical == [one for one in exemplars if one not in gone][:5]


def test_what_the_sound_types_do_not_know_yet_is_said(copied, held):
    def notes():
        return asked.get("/api/atlas").json()["notes"]

    with served(copied) as asked, Workspace(copied).catalogue() as catalogue:
        assert notes() == []
        absent = max(one.event_id for one in held["events"])
        execute = catalogue._connection.execute
        execute("DELETE FROM found_types WHERE event_id > 300")
        execute(
            "UPDATE recordings SET is_present = 0 WHERE recording_id ="
            " (SELECT recording_id FROM events WHERE event_id = ?)",
            (absent,),
        )
        catalogue.set_stage("index", replace(catalogue.stage("index"), fingerprint="grown"))
        n = int((catalogue.clusters_where(None)[0] > 300).sum())
        assert 0 < n < 100
        (note,) = notes()
        assert note.startswith(f"{n} newer events are in no sound type and on no map yet")
        catalogue.set_stage("embed", replace(catalogue.stage("embed"), fingerprint="anew"))
        assert notes()[0] == note
        assert "the sound types are older than the vectors" in notes()[1]


def test_a_name_is_kept_in_the_catalogue(copied):
    with served(copied) as asked:
        grouping = asked.get("/api/atlas").json()["grouping"]
        given = {"grouping": grouping, "name": "  low double  caw ", "who": "Ada"}
        answer = asked.post("/api/types/3/name", json=given, headers=WRITING)
        assert answer.status_code == 200, answer.text
        again = asked.post("/api/types/3/name", json=given, headers=WRITING).json()
        assert (answer.json()["edit"], again["edit"]) == (1, None)
        assert asked.get("/api/types/3").json()["name"] == "low double caw"
        about = asked.get("/api/atlas").json()
        assert about["grouping"] == answer.json()["grouping"] == grouping
        (named,) = [one for one in about["types"] if one["name"]]
        assert (named["number"], named["name"]) == (3, "low double caw")
        asked.post("/api/types/3/name", json=given | {"name": "", "who": ""}, headers=WRITING)
        assert asked.get("/api/types/3").json()["name"] == ""
    steps.name_sound_type(copied, 3, "caw", who="Eve")
    with served(copied) as asked:
        assert asked.get("/api/types/3").json()["name"] == "caw"


def test_sound_types_are_merged_split_and_all_of_it_is_undone(copied):
    def told(asked):
        types = asked.get("/api/atlas").json()["types"]
        return {one["number"]: (one["name"], one["size"]) for one in types}

    def post(asked, what, **given):
        given["grouping"] = asked.get("/api/atlas").json()["grouping"]
        answer = asked.post(f"/api/{what}", json=given, headers=WRITING)
        assert answer.status_code == 200, answer.text
        return answer.json()

    with served(copied) as asked:
        before, points = told(asked), columns(asked.get("/api/points"))[1]
        post(asked, "types/2/name", name="trill", who="Ada")
        (named,) = asked.get("/api/types/2").json()["names"]
        assert (named["name"], named["who"]) == ("trill", "Ada")
        merged = post(asked, "types/merge", types=[2, 5], who="Ada")
        after = told(asked)
        assert after[2] == ("trill", before[2][1] + before[5][1])
        assert 5 not in after
        assert asked.get("/api/types/5").status_code == 404
        found = columns(asked.get("/api/points"))[1]["type"]
        expected = np.where(points["type"] == 5, 2, points["type"])
        np.testing.assert_array_equal(found, expected)
        assert [one["kind"] for one in merged["history"]] == ["merge", "name"]
        assert merged["grouping"] == asked.get("/api/atlas").json()["grouping"]
        assert asked.get("/api/history").json()["history"] == merged["history"]
        split = post(asked, "types/1/split", who="Eve")
        assert split["words"]
        history = asked.get("/api/history").json()["history"]
        for one in history:
            assert post(asked, "undo", edit=one["id"], who="Ada")["edit"] == one["id"]
        assert told(asked) == before
        np.testing.assert_array_equal(columns(asked.get("/api/points"))[1]["type"], points["type"])
        for what, given in (
            ("types/merge", {"types": [1, 3000]}),
            ("types/merge", {"types": [1, 1]}),
            ("types/3000/split", {}),
        ):
            given["grouping"] = asked.get("/api/atlas").json()["grouping"]
            answer = asked.post(f"/api/{what}", json=given, headers=WRITING)
            assert answer.status_code == 422, answer.text


def test_what_is_said_of_sound_types_that_are_no_longer_those_that_were_seen_is_refused(copied):
    """A number is then that of another type."""
    with served(copied) as asked:
        seen = asked.get("/api/atlas").json()["grouping"]
        steps.merge_sound_types(copied, [3, 1], who="Eve")
        for what, given in (
            ("types/3/name", {"name": "caw"}),
            ("types/merge", {"types": [2, 3]}),
            ("types/3/split", {}),
        ):
            said = {"grouping": seen, **given}
            answer = asked.post(f"/api/{what}", json=said, headers=WRITING)
            assert answer.status_code == 409
            assert "look again" in answer.json()["error"]
            unsaid = asked.post(f"/api/{what}", json=given, headers=WRITING)
            assert unsaid.status_code == 422
        (merge,) = asked.get("/api/history").json()["history"]
        assert (merge["kind"], merge["who"]) == ("merge", "Eve")
        now = {"grouping": asked.get("/api/atlas").json()["grouping"], "name": "caw"}
        assert asked.post("/api/types/3/name", json=now, headers=WRITING).json()["edit"] == 2
        # What Ada takes back is what she saw, or nothing.
        late = asked.post("/api/undo", json={"grouping": seen, "edit": 1}, headers=WRITING)
        assert late.status_code == 409
        late = asked.post("/api/undo", json=now | {"edit": 1}, headers=WRITING)
        assert late.status_code == 422
        assert "edit 2 was made since" in late.json()["error"]
        assert not any(one["is_undone"] for one in asked.get("/api/history").json()["history"])


def test_points_and_summary_tell_of_which_sound_types_they_are(copied):
    with served(copied) as asked:
        for _ in range(2):
            grouping = asked.get("/api/atlas").json()["grouping"]
            assert columns(asked.get("/api/points"))[0]["grouping"] == grouping
            steps.merge_sound_types(copied, [3, 1])
            assert grouping != asked.get("/api/atlas").json()["grouping"]
            steps.undo_edit(copied)


def test_answers_with_numbers_of_sound_types_tell_of_which_grouping_they_are(copied):
    """The number of a type is that of another one after a regrouping by somebody else."""
    with served(copied) as asked:

        def told():
            events = {one: asked.get(f"/api/events/{one}").json() for one in (5, 7)}
            found = {
                **events,
                "recording": asked.get("/api/recordings/1").json(),
                "similar": asked.get("/api/similar?like=5").json(),
                "card": asked.get("/api/types/3").json(),
                "where": columns(asked.get("/api/points/where?q=cluster=3"))[0],
                "likeness": columns(asked.get("/api/points/likeness?like=5"))[0],
            }
            return {name: one["grouping"] for name, one in found.items()}

        seen = asked.get("/api/atlas").json()["grouping"]
        assert set(told().values()) == {seen}
        steps.merge_sound_types(copied, [3, 1], who="Eve")
        found = told()
        now = asked.get("/api/atlas").json()["grouping"]
        assert now != seen
        assert set(found.values()) == {now}


def test_where_sound_types_are_of_before_no_answer_tells_of_a_grouping(copied):
    with Workspace(copied).catalogue() as catalogue:
        catalogue.set_stage("cluster", replace(catalogue.stage("cluster"), finished=False))
    with served(copied) as asked:
        for url in ("atlas", "events/5", "recordings/1", "similar?like=5", "types/3"):
            assert asked.get(f"/api/{url}").json()["grouping"] == "", url


def test_what_another_process_changes_is_seen_at_the_next_visit(copied):
    with served(copied) as asked:
        before = asked.get("/api/atlas").json()
        tag = asked.get("/api/points").headers["etag"]
        steps.name_sound_type(copied, 1, "trill")
        with Workspace(copied).catalogue() as catalogue:
            for table in ("found_types", "events"):
                catalogue._connection.execute(f"DELETE FROM {table} WHERE event_id = 400")
        assert asked.get("/api/points").headers["etag"] != tag
        after = asked.get("/api/atlas").json()
        assert after["events"] == before["events"] - 1
        assert after["key"] != before["key"]


def test_points_are_sent_again_when_a_clock_was_set(copied):
    with served(copied) as asked:
        asked.get("/api/atlas")
        known = {"If-None-Match": asked.get("/api/points").headers["etag"]}
        hours = columns(asked.get("/api/points"))[1]["hour"]
        assert asked.get("/api/points", headers=known).status_code == 304
        with Workspace(copied).catalogue() as catalogue:
            catalogue._connection.execute("UPDATE recordings SET utc_offset_min = 120")
            stage = catalogue.stage("index")
            catalogue.set_stage("index", replace(stage, facts={**stage.facts, "clock": "other"}))
        found = columns(asked.get("/api/points", headers=known))[1]["hour"]
        np.testing.assert_allclose(found, (hours + 1) % 24, atol=1e-5)


def test_the_map_follows_a_recording_that_has_another_name_now(learned, tmp_path):
    folder, archive = shutil.copytree(learned, tmp_path / "w.oscine"), learned.parent / "forest"
    with Workspace(folder).catalogue() as catalogue:
        row = catalogue.some_recordings([catalogue.events()[0].recording_id]).popitem()[1]
    old = archive / row.path
    assert "_20240506_053000" in old.name
    new = old.with_name(old.name.replace("_20240506_053000", "_20240509_053000"))

    def days(asked):
        found = columns(asked.get("/api/points"))[1]
        return set(found["day"][found["recording"] == row.recording_id].tolist())

    with served(folder) as asked:
        (day,) = days(asked)
        old.rename(new)
        try:
            assert steps.index([archive], folder).moved_files == 1
            assert days(asked) == {day + 3}
            assert day + 3 in columns(asked.get("/api/timeline"))[1]["day"]
        finally:
            new.rename(old)


def test_the_map_follows_recordings_while_they_are_indexed(copied):
    with served(copied) as asked, Workspace(copied).catalogue() as catalogue:
        catalogue.set_stage("index", replace(catalogue.stage("index"), finished=False))
        for offset_min in (0, 120):
            change = "UPDATE recordings SET utc_offset_min = ?"
            hours = columns(asked.get("/api/points"))[1]["hour"]
            catalogue._connection.execute(change, (offset_min,))
            assert (columns(asked.get("/api/points"))[1]["hour"] != hours).all()


def test_what_changes_while_the_atlas_is_read_is_read_whole_the_next_time(copied, monkeypatch):
    read = Overview.of.__func__
    merges = iter([[0, 1]])

    def disturbed(cls, catalogue, *given):
        overview = read(cls, catalogue, *given)
        for numbers in merges:
            steps.merge_sound_types(copied, numbers)
        return overview

    monkeypatch.setattr(Overview, "of", classmethod(disturbed))
    with served(copied) as asked:
        first, second = (asked.get("/api/atlas").json() for _ in range(2))
    for atlas, n_types in ((first, len(second["types"]) + 1), (second, len(first["types"]) - 1)):
        assert len(atlas["types"]) == n_types
        assert sum(one["size"] for one in atlas["types"]) == atlas["events"] - atlas["not_grouped"]
    assert 1 not in [one["number"] for one in second["types"]]


def test_answers_of_one_value_a_point_say_of_which_points(copied):
    asks = ("", "/likeness?like=5", "/where?q=hour<5", "/label/kind%2Fcall")
    table = copied / "labels.csv"
    with Workspace(copied).catalogue() as catalogue:
        path = catalogue.recordings()[0].path
    table.write_text(f"path,kind/call\n{path},trill\n")
    steps.import_labels([table], copied)
    with served(copied) as asked:
        samples = [columns(asked.get(f"/api/points{ask}"))[0]["sample"] for ask in asks]
        assert len(set(samples)) == 1
        with Workspace(copied).catalogue() as catalogue:
            for name in ("found_types", "events"):
                catalogue._connection.execute(f"DELETE FROM {name} WHERE event_id = 400")
        asked.get("/api/atlas")
        assert columns(asked.get("/api/points/where?q=hour<5"))[0]["sample"] != samples[0]


def test_a_recording_that_came_since_is_to_be_seen_at_the_next_visit(copied, held):
    with served(copied) as asked:
        asked.get("/api/atlas")
        last = max(held["recordings"])
        event = max(one.event_id for one in held["events"])
        with Workspace(copied).catalogue() as catalogue:
            change = "UPDATE recordings SET tape_row = 1000000 WHERE recording_id = ?"
            catalogue._connection.execute(change, (last,))
        for url in (f"recordings/{last}/spectrogram", f"events/{event}/strip.png"):
            answer = asked.get(f"/api/{url}")
            assert answer.status_code == 409
            assert "load the page again" in answer.json()["error"]


def test_without_sound_types_there_are_no_edits_and_that_is_said(copied):
    with Workspace(copied).catalogue() as catalogue:
        catalogue.drop_stage("cluster")
        catalogue._connection.execute("DELETE FROM found_types")
    with served(copied) as asked:
        atlas = asked.get("/api/atlas").json()
        assert (atlas["missing"][-1], atlas["types"]) == ("cluster", [])
        assert atlas["workspace"] == str(copied)
        for answer in (
            asked.get("/api/history"),
            asked.post("/api/undo", json={"grouping": "", "edit": 1}, headers=WRITING),
            asked.post("/api/types/1/name", json={"grouping": "", "name": "x"}, headers=WRITING),
        ):
            assert answer.status_code == 409
            assert "run `oscine cluster`" in answer.json()["error"]
            assert str(copied) not in answer.text


def test_a_map_that_could_not_be_drawn_can_be_asked_for_again(copied, monkeypatch):
    with served(copied) as asked:
        said = {"json": {"readout": "layer-1"}, "headers": WRITING}
        monkeypatch.setattr(Apart, "begin", lambda *_, done, **__: done(None, ValueError("full")))
        asked.post("/api/maps", **said)
        assert asked.get("/api/maps/layer-1").status_code == 422
        monkeypatch.setattr(Apart, "begin", lambda *_, **__: None)
        assert asked.post("/api/maps", **said).status_code == 202
        answer = asked.get("/api/maps/layer-1")
        assert (answer.status_code, answer.json()) == (202, {"share": 0})
        with Workspace(copied).catalogue() as catalogue:
            catalogue.set_stage("pretrain", Stage(fingerprint="new", finished=False, facts={}))
        asked.get("/api/atlas")
        assert asked.get("/api/maps/layer-1").status_code == 404


def test_a_name_that_another_run_is_in_the_way_of_is_refused_in_words(copied):
    with served(copied) as asked, Workspace(copied).alone():
        said = {"grouping": asked.get("/api/atlas").json()["grouping"], "name": "x"}
        answer = asked.post("/api/types/1/name", json=said, headers=WRITING)
    assert answer.status_code == 409
    assert "in use by another run" in answer.json()["error"]
    assert "-w" not in answer.json()["error"]


# Reports


def test_reports_are_shown_as_they_are_and_their_lack_is_said(copied):
    reports = Workspace(copied).reports
    reports.mkdir(exist_ok=True)
    with served(copied) as asked:
        assert not asked.get("/api/layers").json()["available"]
        assert "oscine evaluate" in asked.get("/api/layers").json()["why"]
        assert len(asked.get("/api/layers").json()["maps"]) == 6
        assert "oscine join" in asked.get("/api/behaviour").json()["why"]
        layers = {"layers": [0, 1], "scores": [], "verdict": "early", "problems": ["few"]}
        (reports / "evaluation.json").write_text(json.dumps({"layers": layers | {"geometry": []}}))
        found = asked.get("/api/layers").json()
        assert found["available"]
        assert {name: found[name] for name in layers} == layers
        assert found["is_stale"]  # nobody noted what it is of
        with Workspace(copied).catalogue() as catalogue:
            noted = Stage(fingerprint=evaluation_fingerprint(catalogue), finished=True, facts={})
            catalogue.set_stage("evaluate", noted)
            assert not asked.get("/api/layers").json()["is_stale"]
            catalogue.set_stage("embed", Stage(fingerprint="new", finished=True, facts={}))
        assert asked.get("/api/layers").json()["is_stale"]
        joined = {"verdict": "little", "association": {"pairs": [{"p": None}]}, "names": {"3": "a"}}
        (reports / "join.json").write_text(json.dumps(joined))
        found = asked.get("/api/behaviour").json()
        assert found["available"]
        assert (found["pairs"], found["verdict"]) == ([{"p": None}], "little")
        assert found["is_stale"]
        assert (found["watched"], found["untested"]) == ("", "")
        few, alike = "too few calls of the type ({}; 5 needed)", "it never changes"
        whys = [few.format(2), few.format(3), alike]
        pairs = [{"test": "not tested", "why": why} for why in whys]
        pairs.append({"test": "shifts within sessions", "why": ""})
        joined = {"hours": 0.0125, "association": {"pairs": pairs}}
        (reports / "join.json").write_text(json.dumps(joined))
        found = asked.get("/api/behaviour").json()
        assert found["watched"] == "45 s"
        assert found["untested"] == "too few calls of the type (2); it never changes (1)"
        (reports / "join.json").write_text("{")
        assert "damaged" in asked.get("/api/behaviour").json()["error"]


# The server


def test_the_command_serves_says_where_and_ends_at_ctrl_c(atlas):
    command = [sys.executable, "-m", "oscine", "explore", "-w", atlas, "--port", "0"]
    command += ["--no-browser", "--json"]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **piped) as process:
        try:
            report = json.loads(process.stdout.readline())
            with urlopen(report["address"] + "api/atlas", timeout=60) as answer:
                assert json.load(answer)["events"] == 400
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_a_used_port_is_passed_over_unless_it_was_asked_for():
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        with listening("127.0.0.1", None, port, 5) as (_, found):
            assert port < found < port + 5
        with pytest.raises(WrongArgument, match=f"port {port} cannot be listened on"):
            listening("127.0.0.1", port, port, 5).__enter__()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_computer_is_no_matter_of_the_port(host):
    for port in (None, 8137):
        with pytest.raises(WrongArgument, match=f"--host {host} is no address of this") as refused:
            listening(host, port, 8137, 2).__enter__()
        assert "--port" not in str(refused.value)


def test_a_token_is_needed_where_others_can_ask(atlas):
    for host in ("0.0.0.0", "::", "192.168.1.7", "somewhere"):
        assert not is_loopback(host)
        with pytest.raises(WrongArgument, match="--token"):
            steps.explore(atlas, host=host)
    with pytest.raises(WrongArgument, match="at least 16 characters"):
        steps.explore(atlas, token="short", port=0)
    with pytest.raises(WrongArgument, match="at least 16 characters"):
        steps.explore(atlas, token="", port=0)
    with pytest.raises(WrongArgument, match="cannot be read"):
        steps.explore(atlas, token="@nowhere", port=0)
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))


def test_a_workspace_without_events_is_refused_in_words(tmp_path):
    (tmp_path / "empty").mkdir()
    steps.index([tmp_path / "empty"], tmp_path / "w.oscine")
    with pytest.raises(ValueError, match="holds no events yet: run `oscine learn"):
        steps.explore(tmp_path / "w.oscine", port=0)


def test_a_workspace_without_its_tape_is_refused_with_what_to_run(copied):
    shutil.rmtree(copied / "tape")
    with pytest.raises(ValueError, match=r"is missing .* `oscine learn ARCHIVE -w NEW`"):
        steps.explore(copied, port=0, is_shown=False)


def test_the_page_is_what_lies_in_its_folder(client):
    index = client.get("/")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/static/index.html").content == index.content
    assert client.get("/", headers={"If-None-Match": index.headers["etag"]}).status_code == 304
    document = client.get("/openapi.json").json()
    assert "/api/similar" in document["paths"]
    assert client.get("/docs").status_code == 404


def test_the_atlas_is_served_without_torch(atlas):
    code = """
from atlas_server import served
with served(sys.argv[1]) as client:
    for url in ("atlas", "points", "points/likeness?like=1", "events/1", "events/1/strip.png",
                "recordings", "recordings/1", "recordings/1/spectrogram", "recordings/1/audio",
                "similar?like=1", "types/1", "timeline", "layers", "behaviour"):
        answer = client.get("/api/" + url)
        assert answer.status_code == 200, (url, answer.text)
    assert not client.get("/api/events/1/reconstruction").json()["available"]
assert "torch" not in sys.modules
"""
    ran = subprocess.run(
        [sys.executable, "-c", tiny.WITHOUT_TORCH + code, atlas],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
