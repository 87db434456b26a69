"""Each preset from made-up recordings in its pace to the report."""

import csv
import json

import numpy as np
import pytest
import soundfile
import tiny

from oscine.cli import run
from oscine.config import OscineConfig, read_config, with_overrides, with_preset
from oscine.workspace import Workspace

SET = [word for setting in tiny.SETTINGS for word in ("--set", setting)]
SPEEDS = {"bat": 8, "low": 1 / 16}
PLAYED = {"bat": "played at 1/10 speed", "low": "played at 10× speed"}


@pytest.fixture(scope="module", params=["bat", "low"])
def learned(request, tmp_path_factory):
    """An archive in the pace of a preset, with two recordings of lower rates, and its workspace."""
    folder = tmp_path_factory.mktemp(request.param)
    archive, workspace = folder / "archive", folder / "workspace"
    assert run(["synth", str(archive), "--minutes", "2", "--preset", request.param]) == 0
    rng = np.random.default_rng(0)
    rate_hz = round(12_000 * SPEEDS[request.param])  # a quarter of what the recorders have
    soundfile.write(archive / "lower.wav", rng.normal(0, 0.01, 240_000), rate_hz)
    soundfile.write(archive / "lowest.wav", rng.normal(0, 0.01, 10_000), rate_hz // 64)
    arguments = ["learn", archive, "-w", workspace, "--preset", request.param]
    assert run([*map(str, arguments), "--steps", "10", "--workers", "1", *SET]) == 0
    return request.param, archive, workspace


def catalogued(workspace):
    with Workspace(workspace).catalogue() as catalogue:
        recordings = {row.path: row for row in catalogue.recordings()}
        return recordings, catalogue.events(), catalogue.stage("embed").facts


def test_the_settings_are_kept_in_the_workspace(learned):
    preset, _, workspace = learned
    kept = read_config(workspace / "oscine.toml", OscineConfig)
    expected = with_preset(OscineConfig(), preset, "picture")
    assert (kept.picture, kept.activity) == (expected.picture, expected.activity)
    assert kept == with_overrides(
        expected, [*tiny.SETTINGS, "training.steps=10", "training.minutes=0"]
    )


def test_recordings_are_heard_with_the_bands_that_they_have(learned):
    _, archive, workspace = learned
    recordings, _, facts = catalogued(workspace)
    assert recordings["lower.wav"].state == "whole"
    assert 32 <= recordings["lower.wav"].n_valid_bands < 128
    assert recordings["lowest.wav"].state == "unreadable"
    assert "is too low for bands of" in recordings["lowest.wav"].reason
    others = [row for path, row in recordings.items() if "/" in path]
    assert len(others) == len(list(archive.glob("site-*/*"))) == 4
    assert {(row.state, row.n_valid_bands) for row in others} == {("whole", 128)}
    assert facts["duplicates"]["n_alike"] == 0


def test_loud_calls_are_found_where_they_are(learned):
    preset, archive, workspace = learned
    recordings, events, _ = catalogued(workspace)
    frame_s = 1 / with_preset(OscineConfig(), preset, "picture").picture.frames_per_s
    found = {path: [] for path in recordings}
    paths = {row.recording_id: row.path for row in recordings.values()}
    for event in events:
        path = paths[event.recording_id]
        rate_hz = recordings[path].sample_rate_hz
        found[path].append(
            (event.start_sample / rate_hz, event.stop_sample / rate_hz, event.low_hz, event.high_hz)
        )
    with (archive / "truth.csv").open(newline="") as table:
        calls = [row for row in csv.DictReader(table) if float(row["snr_db"]) > 18]
    n_found = 0
    for call in calls:
        start_s, stop_s, low_hz, high_hz = (
            float(call[name]) for name in ("start_s", "stop_s", "low_hz", "high_hz")
        )
        n_found += any(
            min(stop, stop_s) - max(start, start_s) > -2 * frame_s
            and low < high_hz
            and high > low_hz
            for start, stop, low, high in found[call["path"]]
        )
    assert len(calls) >= 8
    assert n_found >= 0.85 * len(calls)


def test_the_page_says_how_fast_it_plays(learned):
    preset, _, workspace = learned
    page = (workspace / "reports" / "atlas.html").read_text(encoding="utf-8")
    assert PLAYED[preset] in page
    assert "audio/mpeg" in page
    report = json.loads((workspace / "reports" / "learn.json").read_text(encoding="utf-8"))
    assert report["clusters"] >= 1
