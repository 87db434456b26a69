import csv
from collections import Counter
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from oscine import synth
from oscine.evaluation.layer_report import FORMANT_COLUMN, PITCH_COLUMN
from oscine.synth import SynthConfig, write_archive

CONFIG = SynthConfig(seed=3, minutes=0.6, recording_s=6.0, n_sites=2)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "made"
    write_archive(folder, CONFIG)
    return folder


@pytest.fixture(scope="module")
def default_plans():
    """The calls of each recording of the default archive, and its site; no backgrounds.

    Sampled at the lowest rate, which is faster and changes none of what is asked here.
    """
    config = SynthConfig(sample_rate_hz=32_000)
    sites = [synth._make_site(config, number) for number in range(config.n_sites)]
    individuals = synth._make_individuals(config)
    recorders = [sites[number % config.n_sites] for number in range(config.n_recordings)]
    return [
        (site, synth._plan_recording(config, number, site, individuals))
        for number, site in enumerate(recorders)
    ]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def recordings(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".flac", ".wav"))


def truth(folder: Path) -> list[dict[str, str]]:
    with (folder / "truth.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(archive, tmp_path):
    write_archive(tmp_path / "again", CONFIG)
    assert contents(tmp_path / "again") == contents(archive)
    write_archive(tmp_path / "other", replace(CONFIG, seed=4, minutes=0.1))
    (other,) = recordings(tmp_path / "other")
    same_name = archive / other.relative_to(tmp_path / "other")
    assert same_name.read_bytes() != other.read_bytes()


def test_a_recording_does_not_depend_on_how_many_there_are(archive, tmp_path):
    write_archive(tmp_path / "few", replace(CONFIG, minutes=0.3))
    few = recordings(tmp_path / "few")
    assert len(few) == 3
    for path in few:
        assert (archive / path.relative_to(tmp_path / "few")).read_bytes() == path.read_bytes()


def test_an_interrupted_run_is_finished_with_the_same_bytes(archive, tmp_path):
    folder = tmp_path / "interrupted"

    def stop_after_two(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_archive(folder, CONFIG, stop_after_two)
    assert not (folder / "truth.csv").exists()
    kept = recordings(folder)
    assert len(kept) == 2
    # What a kill in the middle of a write leaves behind.
    missing = recordings(archive)[-1].relative_to(archive)
    assert not (folder / missing).exists()
    (folder / missing.parent).mkdir(exist_ok=True)
    (folder / missing).with_name(f".{missing.name}.part").write_bytes(b"half a recording")
    written = [path.stat().st_mtime_ns for path in kept]
    write_archive(folder, CONFIG)
    assert contents(folder) == contents(archive)
    assert [path.stat().st_mtime_ns for path in kept] == written


def test_a_finished_archive_is_left_alone(archive):
    before = {path: path.stat().st_mtime_ns for path in archive.rglob("*")}
    calls = []
    report = write_archive(archive, CONFIG, lambda done, total: calls.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in archive.rglob("*")} == before
    assert calls == [(done, 6) for done in range(1, 7)]
    assert report.n_recordings == len(recordings(archive)) == 6
    assert report.n_events == len(truth(archive))
    lengths_s = [soundfile.info(path).duration for path in recordings(archive)]
    assert report.duration_s == pytest.approx(sum(lengths_s))


def test_another_configuration_or_a_strange_folder_is_refused(archive, tmp_path):
    before = contents(archive)
    with pytest.raises(ValueError, match="another configuration"):
        write_archive(archive, replace(CONFIG, seed=4))
    assert contents(archive) == before
    (tmp_path / "truth.csv").write_text("somebody's table")
    with pytest.raises(ValueError, match="no synthetic archive"):
        write_archive(tmp_path, CONFIG)
    assert contents(tmp_path) == {"truth.csv": b"somebody's table"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"minutes": 0.0},
        {"minutes": float("nan")},
        {"recording_s": 1.0},
        {"n_sites": 0},
        {"n_individuals": 0},
        {"sample_rate_hz": 8000},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SynthConfig(**wrong)


def test_names_tell_the_time_and_the_last_site_has_another_recorder(archive):
    times = {row["path"]: row["recorded_at"] for row in truth(archive)}
    for path in recordings(archive):
        prefix, day, clock = path.stem.split("_")
        at = datetime.strptime(f"{day}{clock}+0000", "%Y%m%d%H%M%S%z")
        assert times.get(path.relative_to(archive).as_posix(), at.isoformat()) == at.isoformat()
        info = soundfile.info(path)
        last = path.parent.name == "site-02"
        assert prefix == ("REC02" if last else "REC01")
        assert (info.format, info.samplerate) == (("WAV", 32_000) if last else ("FLAC", 48_000))
        assert (info.subtype, info.channels, info.duration) == ("PCM_16", 1, 6.0)


def test_true_intervals_lie_in_their_files_in_order_on_whole_samples(archive):
    rows = truth(archive)
    for path in {row["path"] for row in rows}:
        info = soundfile.info(archive / path)
        mine = [row for row in rows if row["path"] == path]
        starts = [float(row["start_s"]) for row in mine]
        assert starts == sorted(starts)
        for row in mine:
            bounds = np.array([float(row["start_s"]), float(row["stop_s"])]) * info.samplerate
            np.testing.assert_allclose(bounds, np.round(bounds), atol=0.05)
            assert 0 <= bounds[0] < bounds[1] <= info.frames
            assert 0 < float(row["low_hz"]) < float(row["high_hz"]) <= info.samplerate / 2


def test_factors_of_pitch_and_formants_are_those_of_the_very_call(archive):
    by_individual = {}
    for row in truth(archive):
        factors = row[PITCH_COLUMN], row[FORMANT_COLUMN]
        assert all(float(one) > 0 and len(one.partition(".")[2]) == 4 for one in factors)
        by_individual.setdefault(row["individual"], []).append(factors)
    assert len(by_individual) > 2
    assert any(len(called) > 1 for called in by_individual.values())
    for called in by_individual.values():
        assert len(set(called)) == len(called)


@pytest.mark.parametrize("habit", ["pitch", "resonance"])
def test_a_voice_varies_less_from_call_to_call_than_between_individuals(default_plans, habit):
    calls = [call for _, plan in default_plans for call in plan]
    own = np.log([getattr(call.individual.voice, habit) for call in calls])
    off = np.log([getattr(call.voice, habit) for call in calls]) - own
    within = getattr(synth._WITHIN_INDIVIDUAL, habit)
    assert np.abs(off).max() <= 2 * within + 1e-9
    assert off.std() == pytest.approx(within, rel=0.25)
    assert own.std() > 3 * off.std()


def test_calls_stand_out_by_their_signal_to_noise_ratio_and_nothing_clips(archive):
    promised, found = [], []
    rows = truth(archive)
    for row in rows:
        samples, rate_hz = soundfile.read(archive / row["path"])
        assert np.abs(samples).max() < 0.9
        start, stop = (round(float(row[name]) * rate_hz) for name in ("start_s", "stop_s"))
        alone = all(
            float(other["stop_s"]) < float(row["start_s"]) - 0.3
            or float(other["start_s"]) >= float(row["stop_s"])
            for other in rows
            if other["path"] == row["path"] and other is not row
        )
        if alone:
            band = float(row["low_hz"]), float(row["high_hz"])
            call = band_power(samples[start:stop], rate_hz, *band)
            before = band_power(samples[start - round(0.3 * rate_hz) : start], rate_hz, *band)
            promised.append(float(row["snr_db"]))
            found.append(10 * np.log10(call / before))
    promised, found = np.array(promised), np.array(found)
    assert len(found) >= 8
    # The background of another moment, with gusts and echoes: single calls are off by some dB.
    assert np.median(np.abs(found - promised)) < 2.5
    assert np.all(found[promised > 12] > 6)


def band_power(samples, rate_hz, low_hz, high_hz):
    spectrum = np.abs(np.fft.rfft(samples)) ** 2 / len(samples) ** 2
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / rate_hz)
    return spectrum[(frequency_hz >= low_hz) & (frequency_hz <= high_hz)].sum()


def test_the_default_archive_has_every_call_type_from_several_individuals(default_plans):
    callers = {}
    for _, plan in default_plans:
        for call in plan:
            key = call.individual.species.name, call.call_type.name
            callers.setdefault(key, Counter())[call.individual.name] += 1
    assert len(callers) == 12
    assert min(len(names) for names in callers.values()) >= 2
    assert min(names.total() for names in callers.values()) >= 8


def test_the_default_archive_is_neither_empty_nor_crowded(default_plans):
    n_calls = [len(plan) for _, plan in default_plans]
    assert 0 < n_calls.count(0) < len(n_calls) / 4
    assert all(8 <= n <= 14 for n in n_calls if n)
    n_overlapping = 0
    for site, plan in default_plans:
        for call, following in pairwise(plan):
            gap_s = (following.start - call.start - len(call.dry)) / site.sample_rate_hz
            n_overlapping += gap_s < 0
            assert gap_s < 0 or gap_s > 0.39
    assert 0 < n_overlapping < 0.15 * sum(n_calls)


def test_call_lengths_levels_and_contexts_are_as_promised(default_plans):
    calls = [(site, call) for site, plan in default_plans for call in plan]
    seconds = [len(call.dry) / site.sample_rate_hz for site, call in calls]
    assert min(seconds) >= 0.08
    assert max(seconds) <= 1.2
    snr_db = np.array([call.snr_db for _, call in calls])
    assert snr_db.min() >= 3
    assert snr_db.max() <= 30
    assert np.mean((snr_db > 8) & (snr_db < 25)) > 0.6
    usual = np.mean([call.context == call.call_type.usual_context for _, call in calls])
    assert 0.6 < usual < 0.97


@given(
    ratio=st.floats(0.0, 0.9),
    phase=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=20),
)
def test_pulses_are_the_sum_of_their_harmonics(ratio, phase):
    harmonic = np.arange(1, 400)
    amplitudes = ratio ** (harmonic - 1.0) * np.sqrt(2 * (1 - ratio**2))
    expected = np.cos(np.outer(phase, harmonic)) @ amplitudes
    np.testing.assert_allclose(synth._pulses(np.array(phase), ratio), expected, atol=1e-9)


@given(n=st.integers(2, 10_000_000))
def test_transform_lengths_hold_what_they_must_and_little_more(n):
    length = synth._fft_length(n)
    assert n <= length <= 1.5 * n
    while length % 2 == 0:
        length //= 2
    assert length in (1, 3)


@pytest.mark.parametrize("speed", [8.0, 1 / 16, 3.0])
def test_a_faster_archive_is_the_same_samples_at_another_rate(archive, tmp_path, speed):
    report = write_archive(tmp_path / "fast", replace(CONFIG, speed=speed))
    assert report.duration_s == pytest.approx(36 / speed)
    for slow, fast in zip(recordings(archive), recordings(tmp_path / "fast"), strict=True):
        samples, rate_hz = soundfile.read(slow, dtype="int16")
        faster, faster_hz = soundfile.read(fast, dtype="int16")
        assert faster_hz == rate_hz * speed
        assert np.array_equal(faster, samples)
    for slow, fast in zip(truth(archive), truth(tmp_path / "fast"), strict=True):
        for time in ("start_s", "stop_s"):
            assert float(fast[time]) == pytest.approx(float(slow[time]) / speed, abs=2e-5)
        assert float(fast["low_hz"]) == pytest.approx(float(slow["low_hz"]) * speed, abs=0.6)
        assert float(fast["high_hz"]) == pytest.approx(float(slow["high_hz"]) * speed, abs=0.6)
        assert fast["individual"] == slow["individual"]
    with pytest.raises(ValueError, match="another configuration"):
        write_archive(tmp_path / "fast", CONFIG)


def test_a_speed_that_no_file_can_give_is_refused():
    with pytest.raises(ValueError, match="a rate that a file can hold"):
        SynthConfig(speed=1.00001)
    with pytest.raises(ValueError, match=r"speed must lie in 0\.01\.\.10"):
        SynthConfig(speed=20)


def test_what_is_claimed_without_a_speed_is_claimed_as_before(archive):
    assert "speed" not in (archive / "synth.json").read_text()
