"""What is measured in a sound, on sounds whose measures are known, and against librosa."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oscine.config import OscineConfig, with_preset
from oscine.evaluation.acoustics import (
    QUANTITIES,
    background_level_db,
    measured,
    picture_speed,
    probe_targets,
    yin,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of librosa's own imports
    import librosa

RATE_HZ = 32_000


def seconds(duration_s, rate_hz=RATE_HZ):
    return np.arange(round(duration_s * rate_hz)) / rate_hz


def tone(f0_hz, duration_s=0.2, rate_hz=RATE_HZ):
    return 0.3 * np.sin(2 * np.pi * f0_hz * seconds(duration_s, rate_hz))


def pulse_train(f0_hz, duration_s=0.2, rate_hz=RATE_HZ):
    """All harmonics below the Nyquist frequency, of one strength."""
    harmonics = np.arange(1, int(rate_hz / 2 / f0_hz) + 1)[:, None]
    sound = np.cos(2 * np.pi * f0_hz * harmonics * seconds(duration_s, rate_hz)).sum(axis=0)
    return 0.5 * sound / np.abs(sound).max()


# --- Harmonic ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [22_050, RATE_HZ, 48_000])
@pytest.mark.parametrize("f0_hz", [75, 212.3, 1000, 3456.7, 7500])
@pytest.mark.parametrize("make", [tone, pulse_train])
def test_pitch_of_tones_and_pulse_trains(make, f0_hz, rate_hz):
    found = measured(make(f0_hz, rate_hz=rate_hz), rate_hz)
    assert found["f0_hz"] == pytest.approx(f0_hz, rel=0.005)
    assert found["harmonicity_db"] > 20


def test_pitch_of_a_call_shorter_than_the_longest_period():
    assert measured(tone(2500, 0.008), RATE_HZ)["f0_hz"] == pytest.approx(2500, rel=0.01)


def test_pitch_of_a_sweep_is_near_its_middle():
    time_s = seconds(0.2)
    sweep = 0.3 * np.sin(2 * np.pi * (2000 * time_s + 5000 * time_s**2))  # 2000 to 4000 Hz
    assert measured(sweep, RATE_HZ)["f0_hz"] == pytest.approx(3000, rel=0.05)


def test_a_tone_above_the_range_has_no_pitch_yet_is_harmonic():
    found = measured(tone(11_000), RATE_HZ)
    assert np.isnan(found["f0_hz"])
    assert found["harmonicity_db"] > 20


def test_noise_has_no_pitch(rng):
    found = measured(0.1 * rng.normal(size=RATE_HZ // 2), RATE_HZ)
    assert np.isnan(found["f0_hz"])
    assert found["harmonicity_db"] < 0


@pytest.mark.parametrize("ratio_db", [5, 10, 20])
def test_harmonicity_is_the_ratio_of_harmonics_to_noise(rng, ratio_db):
    sound = tone(700, 0.5)
    noise = rng.normal(size=len(sound)) * np.sqrt(np.mean(sound**2) / 10 ** (ratio_db / 10))
    assert measured(sound + noise, RATE_HZ)["harmonicity_db"] == pytest.approx(ratio_db, abs=1)


def test_pitch_is_that_of_librosa_where_both_are_voiced(rng):
    time_s = seconds(0.6, 96_000)
    phase = 2 * np.pi * (300 * time_s + 50 * time_s**2)  # 300 to 360 Hz
    sound = sum(np.sin(k * phase) / k for k in range(1, 8)) * (1 + 0.5 * np.sin(30 * time_s))
    sound += 0.02 * rng.normal(size=len(sound))
    f0_hz, aperiodicity, _ = yin(sound, 96_000)
    # Windows of half a frame in both; without centring, frame by frame the same samples.
    theirs = librosa.yin(
        sound, fmin=60, fmax=8000, sr=96_000, frame_length=3202, hop_length=960, center=False
    )
    n_frames = min(len(f0_hz), len(theirs))
    both = (aperiodicity[:n_frames] < 0.1) & (theirs[:n_frames] < 7000)
    assert both.sum() > 0.9 * n_frames
    np.testing.assert_allclose(f0_hz[:n_frames][both], theirs[:n_frames][both], rtol=0.01)


def test_yin_is_its_definition(rng):
    from oscine.evaluation.acoustics import _normalised_difference

    frame, n_lags = rng.normal(size=40), 16
    difference = [
        sum((frame[j] - frame[j + lag]) ** 2 for j in range(len(frame) - n_lags))
        for lag in range(n_lags + 1)
    ]
    expected = [1.0] + [
        difference[lag] * lag / sum(difference[1 : lag + 1]) for lag in range(1, n_lags + 1)
    ]
    np.testing.assert_allclose(_normalised_difference(frame[None], n_lags)[0], expected)


# --- Spectral ------------------------------------------------------------------------------


def test_spectrum_of_a_tone():
    found = measured(tone(2000), RATE_HZ)
    assert found["level_db"] == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.01)
    assert found["centroid_hz"] == pytest.approx(2000, rel=0.01)
    assert found["bandwidth_hz"] < 100
    bands = [found[f"band_{number}_db"] for number in range(1, 9)]
    assert bands[3] == pytest.approx(0, abs=0.1)  # 1450 to 2230 Hz
    assert max(bands[:3] + bands[4:]) < -20


def test_spectrum_of_white_noise(rng):
    found = measured(0.1 * rng.normal(size=RATE_HZ), RATE_HZ)
    assert found["centroid_hz"] == pytest.approx(8000, rel=0.03)
    assert found["bandwidth_hz"] == pytest.approx(16_000 / np.sqrt(12), rel=0.03)
    energies = 10 ** (np.array([found[f"band_{n}_db"] for n in range(1, 9)]) / 10)
    mels = librosa.mel_frequencies(9, fmin=50, fmax=16_000, htk=True)
    np.testing.assert_allclose(energies, np.diff(mels) / np.diff(mels).sum(), rtol=0.15)


def test_rumble_and_offset_do_not_count():
    clean, rumble = tone(2000, 1.0), 0.5 + 0.3 * np.sin(2 * np.pi * 20 * seconds(1.0))
    assert measured(clean + rumble, RATE_HZ) == pytest.approx(measured(clean, RATE_HZ), nan_ok=True)


def test_bands_above_the_nyquist_frequency_are_unknown():
    found = measured(tone(2000, rate_hz=22_050), 22_050)
    assert np.isnan([found[f"band_{n}_db"] for n in range(1, 9)]).tolist() == [False] * 7 + [True]


def test_the_level_is_that_above_the_background(rng):
    noise = 0.05 * rng.normal(size=RATE_HZ)
    background_db = background_level_db(noise, RATE_HZ)
    assert background_db == pytest.approx(20 * np.log10(0.05), abs=1)
    sound = tone(2000, 1.0)
    plain = measured(sound, RATE_HZ)["level_db"]
    above = measured(sound + noise, RATE_HZ, background_db=background_db)["level_db"]
    assert above == pytest.approx(plain, abs=0.3)
    assert np.isnan(measured(sound, RATE_HZ, background_db=0.0)["level_db"])
    assert background_level_db(np.zeros(100), RATE_HZ) == -np.inf


# --- Temporal ------------------------------------------------------------------------------


@pytest.mark.parametrize("rise_s", [0.05, 0.2])
def test_attack_of_a_straight_rise(rise_s):
    envelope = np.minimum(seconds(0.5) / rise_s, 1)
    found = measured(envelope * tone(3000, 0.5), RATE_HZ)
    assert found["attack_s"] == pytest.approx(0.8 * rise_s, abs=0.006)
    assert found["duration_s"] == 0.5


@pytest.mark.parametrize("rate_hz", [4.0, 13.0, 60.0])
def test_modulation_and_elements(rate_hz):
    envelope = 0.5 - 0.5 * np.cos(2 * np.pi * rate_hz * seconds(1.0))
    found = measured(envelope * tone(3000, 1.0), RATE_HZ)
    assert found["modulation_hz"] == pytest.approx(rate_hz, rel=0.03)
    assert found["element_rate_hz"] == pytest.approx(rate_hz, rel=0.03)


def test_a_single_swell_is_neither_modulated_nor_several_elements():
    found = measured(np.hanning(RATE_HZ // 2) * tone(3000, 0.5), RATE_HZ)
    assert np.isnan(found["modulation_hz"])
    assert np.isnan(found["element_rate_hz"])


def test_pitch_does_not_pass_for_modulation():
    assert np.isnan(measured(pulse_train(440, 0.5), RATE_HZ)["modulation_hz"])


# --- Whatever comes ------------------------------------------------------------------------


@pytest.mark.parametrize("sound", [np.zeros(4000), np.full(4000, 0.5), np.full(1, 0.3)])
def test_silence_has_a_duration_only(sound):
    found = measured(sound, RATE_HZ)
    assert found.pop("duration_s") == len(sound) / RATE_HZ
    assert np.isnan(list(found.values())).all()


@settings(max_examples=25)
@given(
    st.sampled_from([1, 2, 3, 5, 17, 64, 65, 333, 4001]),
    st.sampled_from([8000, 22_050, RATE_HZ, 96_000]),
    st.sampled_from(["noise", "click", "clipped", "tone"]),
    st.sampled_from([-np.inf, -60.0, -10.0]),
)
def test_whatever_comes_is_measured_without_a_word(n_samples, rate_hz, kind, background_db):
    rng = np.random.default_rng(n_samples)
    time_s = np.arange(n_samples) / rate_hz
    sound = {
        "noise": rng.normal(size=n_samples),
        "click": np.eye(1, n_samples, n_samples // 2)[0],
        "clipped": np.sign(rng.normal(size=n_samples)),
        "tone": np.sin(2 * np.pi * 2000 * time_s),
    }[kind].astype(np.float32)
    found = measured(sound, rate_hz, background_db=background_db)
    assert list(found) == list(QUANTITIES)
    assert not np.isinf(list(found.values())).any()
    assert not np.isinf(list(probe_targets([found]).values())).any()


def test_a_gain_changes_the_level_alone(rng):
    sound = pulse_train(300) + 0.01 * rng.normal(size=round(0.2 * RATE_HZ))
    quiet, loud = measured(0.01 * sound, RATE_HZ), measured(sound, RATE_HZ)
    assert loud.pop("level_db") - quiet.pop("level_db") == pytest.approx(40)
    assert quiet == pytest.approx(loud, nan_ok=True)


def test_targets_count_octaves():
    rows = [dict.fromkeys(QUANTITIES, value) for value in (1.0, 8.0)]
    targets = probe_targets(rows)
    assert targets["f0_hz"].tolist() == targets["attack_s"].tolist() == [0, 3]
    assert targets["band_3_db"].tolist() == [1, 8]


@pytest.mark.parametrize(
    ("sound", "problem"),
    [
        (np.zeros((2, 10)), "one channel"),
        (np.zeros(0), "one channel"),
        (np.array([0.0, np.nan]), "not finite"),
    ],
)
def test_what_is_no_sound_is_refused(sound, problem):
    with pytest.raises(ValueError, match=problem):
        measured(sound, RATE_HZ)


@pytest.mark.parametrize("preset", ["bird", "bat", "low", "wide"])
def test_sounds_of_another_pace_are_measured_at_that_pace(rng, preset):
    speed = picture_speed(with_preset(OscineConfig(), preset, "picture").picture)
    sound = np.hanning(9_600) * pulse_train(700, 0.3) + 0.001 * rng.normal(size=9_600)
    around = 0.001 * rng.normal(size=RATE_HZ)
    slow = measured(sound, RATE_HZ, background_db=background_level_db(around, RATE_HZ))
    rate_hz = round(RATE_HZ * speed)
    background_db = background_level_db(around, rate_hz, speed=speed)
    fast = measured(sound, rate_hz, background_db=background_db, speed=speed)
    assert fast.keys() == slow.keys()
    assert slow["f0_hz"] == pytest.approx(700, rel=0.01)
    for name, value in slow.items():
        factor = speed if name.endswith("_hz") else 1 / speed if name.endswith("_s") else 1
        assert fast[name] == pytest.approx(value * factor, nan_ok=True), name
