"""Log-mel, events, and the tape, held against librosa, arithmetic and known sounds."""

from itertools import pairwise

import librosa
import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st

from oscine.config import (
    ActivityConfig,
    OscineConfig,
    PictureConfig,
    preset_names,
    with_preset,
)
from oscine.picture.activity import LEVEL_BANDS, SHORT_FRAMES, find_background, find_events
from oscine.picture.drawing import CHUNK_FRAMES, band_limits_hz, draw_recording, least_rate_hz
from oscine.picture.mel import (
    band_edges_hz,
    frame_margin_samples,
    log_mel,
    mel_filters,
    n_valid_bands,
)
from oscine.picture.tape import (
    LEVEL_STEP_DB,
    TAPE_LOW,
    TAPE_STEP,
    Tape,
    TapeWriter,
    coded,
    decoded,
)
from oscine.sound.audio import Audio

PICTURE = PictureConfig()
ACTIVITY = ActivityConfig()
RATE = PICTURE.sample_rate_hz
HOP = PICTURE.hop_samples
FPS = round(PICTURE.frames_per_s)
DB = 10 / np.log(10)


def noise(duration_s, level=0.01, seed=0):
    return np.random.default_rng(seed).normal(0, level, round(duration_s * RATE))


def tone(duration_s, hz, level=0.3):
    """A tone that swells and fades over 10 ms, as calls do, rather than clicks."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    swell = np.clip(np.minimum(time_s, duration_s - time_s) / 0.01, 0, 1)
    return level * swell * np.sin(2 * np.pi * hz * time_s)


def with_tones(samples, *starts_s_tones):
    samples = samples.copy()
    for start_s, sound in starts_s_tones:
        start = round(start_s * RATE)
        samples[start : start + len(sound)] += sound
    return samples


def drawn_log_mel(samples):
    """The picture of samples as the tape would hold it [shape=(T, F)]."""
    whole = log_mel(torch.from_numpy(samples.astype(np.float32))[None], PICTURE)
    return decoded(coded(whole[0].numpy()))


def events_of(picture, activity=ACTIVITY):
    return find_events(picture, find_background(picture, PICTURE, activity), PICTURE, activity)


def spans_of(picture, activity=ACTIVITY):
    return [(event.start_frame, event.stop_frame) for event in events_of(picture, activity)]


def band_at(hz):
    """The band whose centre is nearest."""
    return int(np.argmin(np.abs(band_edges_hz(PICTURE)[1:-1] - hz)))


# Log-mel


def librosa_power(samples):
    margin = frame_margin_samples(PICTURE)
    power = librosa.feature.melspectrogram(
        y=np.pad(samples, margin),
        sr=RATE,
        n_fft=PICTURE.n_fft,
        hop_length=HOP,
        window="hann",
        center=False,
        power=2.0,
        n_mels=PICTURE.n_mels,
        fmin=PICTURE.low_hz,
        fmax=PICTURE.high_hz,
        htk=True,
        norm=None,
        dtype=np.float64,
    )
    return power.T  # (T, F)


@pytest.mark.parametrize(("dtype", "tolerance_db"), [(np.float64, 1e-3), (np.float32, 0.02)])
def test_log_mel_is_that_of_librosa(rng, dtype, tolerance_db):
    swell = np.geomspace(1e-6, 1, 3 * RATE + 123)
    chirp = librosa.chirp(fmin=100, fmax=15_000, sr=RATE, length=len(swell))
    samples = (swell * (0.5 * chirp + 0.05 * rng.normal(size=len(swell)))).astype(dtype)
    power = librosa_power(samples.astype(np.float64))
    ours = log_mel(torch.from_numpy(samples)[None], PICTURE)[0].numpy()
    assert (ours.dtype, ours.shape) == (dtype, power.shape)
    is_compared = power > 100 * PICTURE.power_floor
    assert 0.5 < is_compared.mean() < 1
    differences_db = DB * (ours - np.log(power + PICTURE.power_floor))
    assert np.abs(differences_db[is_compared]).max() < tolerance_db


def test_filters_and_edges_are_those_of_librosa():
    filters = librosa.filters.mel(
        sr=RATE, n_fft=1024, n_mels=128, fmin=50, fmax=16_000, htk=True, norm=None, dtype=np.float64
    )
    assert np.allclose(mel_filters(PICTURE), filters.T, rtol=0, atol=1e-12)
    edges = librosa.mel_frequencies(130, fmin=50, fmax=16_000, htk=True)
    assert np.allclose(band_edges_hz(PICTURE), edges)


@given(st.integers(0, 4 * HOP - 1).filter(lambda sample: sample % HOP))
def test_an_impulse_shows_most_in_the_frame_that_covers_it(sample):
    samples = torch.zeros(1, 4 * HOP, dtype=torch.float64)
    samples[0, sample] = 1
    power = log_mel(samples, PICTURE)[0].exp().sum(dim=1)
    assert int(power.argmax()) == sample // HOP


def test_a_frame_is_centred_on_its_hop():
    samples = torch.zeros(1, 3 * HOP, dtype=torch.float64)
    samples[0, HOP + HOP // 2] = 1
    frames = log_mel(samples, PICTURE)[0]
    assert torch.allclose(frames[0], frames[2], rtol=0, atol=1e-9)


def test_the_number_of_frames_is_that_of_whole_hops():
    for n_samples in (0, 1, HOP - 1, HOP, 2 * HOP - 1, 10 * HOP):
        frames = log_mel(torch.zeros(2, n_samples), PICTURE)
        assert frames.shape == (2, n_samples // HOP, PICTURE.n_mels)
        assert torch.allclose(frames, torch.tensor(TAPE_LOW))


@pytest.mark.parametrize(
    ("rate_hz", "expected"),
    [(100, 0), (8_000, 75), (16_000, 100), (22_050, 113), (32_000, 128), (44_100, 128)],
)
def test_valid_bands_lie_below_the_nyquist_frequency_of_the_recording(rate_hz, expected):
    n_valid = n_valid_bands(rate_hz, PICTURE)
    assert n_valid == expected
    # Held against the filters themselves, on bins fine enough to see each band's upper edge.
    fine = PictureConfig(n_fft=2**16)
    above = np.fft.rfftfreq(fine.n_fft, 1 / RATE) > rate_hz / 2
    reaches_above = (mel_filters(fine)[above] > 0).any(axis=0)
    assert reaches_above.tolist() == [False] * expected + [True] * (128 - expected)


# Events


def test_tones_in_noise_are_found_where_they_are():
    tones = [(1.0, 0.3, 3000), (2.5, 0.12, 8000), (4.0, 0.8, 1000), (7.3, 0.2, 12_000)]
    samples = with_tones(noise(10), *((start, tone(length, hz)) for start, length, hz in tones))
    events = events_of(drawn_log_mel(samples))
    assert len(events) == len(tones)
    for event, (start_s, length_s, hz) in zip(events, tones, strict=True):
        assert abs(event.start_frame - start_s * FPS) <= 3
        assert abs(event.stop_frame - (start_s + length_s) * FPS) <= 3
        assert event.low_band <= band_at(hz) < event.high_band
        assert event.high_band - event.low_band <= 24
        low_hz, high_hz = band_limits_hz(event, PICTURE)
        assert low_hz < hz < high_hz
        assert event.level_db > 15


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("level", [1e-3, 0.1])
def test_steady_noise_has_no_events(seed, level):
    assert events_of(drawn_log_mel(noise(20, level, seed))) == []


@pytest.mark.parametrize("duration_s", [0.2, 2, 20])
def test_digital_silence_has_no_events(duration_s):
    picture = drawn_log_mel(np.zeros(round(duration_s * RATE)))
    assert events_of(picture) == []
    assert not find_background(picture, PICTURE, ACTIVITY).level_db.any()


@pytest.mark.parametrize("rise_db", [15, 25, 40])
def test_the_level_is_the_rise_above_the_floor(rng, rise_db):
    picture = rng.normal(-12, 0.3, (1000, 128))
    picture[500:550, 40:60] += rise_db / DB
    [event] = events_of(picture)
    assert event.level_db == pytest.approx(rise_db, abs=2)
    assert abs(event.start_frame - 500) <= 2
    assert abs(event.stop_frame - 550) <= 2
    assert abs(event.low_band - 40) <= 2
    assert abs(event.high_band - 60) <= 2


def test_the_floor_is_that_of_the_neighbourhood(rng):
    picture = rng.normal(-14, 0.3, (6000, 128))
    picture[3000:] += 20 / DB
    for start in (500, 5500):
        picture[start : start + 50, 40:60] += 25 / DB
    first, *_, last = events_of(picture)
    assert abs(first.start_frame - 500) <= 2
    assert abs(last.start_frame - 5500) <= 2
    assert first.level_db == pytest.approx(last.level_db, abs=1)


def test_calls_cut_by_either_end_of_a_recording_are_found():
    fading = tone(0.5, 3000) * np.geomspace(1, 1e-3, RATE // 2)
    samples = with_tones(noise(10), (0, fading[RATE // 50 :]), (9.5, fading[RATE // 50 :][::-1]))
    samples = samples[: round(9.98 * RATE)]
    first, last = spans_of(drawn_log_mel(samples))
    assert first[0] == 0
    assert last[1] == 998


@pytest.mark.parametrize("duration_s", [1, 5])
@pytest.mark.parametrize(("before_s", "after_s"), [(0, 3), (3, 0), (2.01, 6)])
def test_digital_silence_around_a_recording_changes_no_event(duration_s, before_s, after_s):
    tones = ((0.3, tone(0.15, 3000)), (0.6, tone(0.2, 6000)))
    samples = with_tones(noise(duration_s), *tones)
    padded = np.pad(samples, (round(before_s * RATE), round(after_s * RATE)))
    expected, found = events_of(drawn_log_mel(samples)), events_of(drawn_log_mel(padded))
    assert len(expected) == len(found) == 2
    for one, other in zip(expected, found, strict=True):
        assert abs(one.start_frame + before_s * FPS - other.start_frame) <= 3
        assert abs(one.stop_frame + before_s * FPS - other.stop_frame) <= 3
        assert abs(one.low_band - other.low_band) <= 2
        assert abs(one.high_band - other.high_band) <= 2
        assert one.level_db == pytest.approx(other.level_db, abs=1)


@pytest.mark.parametrize("padding_s", [0, 4])
@pytest.mark.parametrize("call", ["tone", "noise"])
def test_a_clip_that_is_all_call_is_one_event(call, padding_s):
    samples = tone(0.2, 4000) + noise(0.2, 1e-3) if call == "tone" else noise(0.2, 0.1)
    samples = np.pad(samples, round(padding_s * RATE))
    [event] = events_of(drawn_log_mel(samples))
    assert abs(event.start_frame - padding_s * FPS) <= 3
    assert abs(event.stop_frame - (padding_s + 0.2) * FPS) <= 3
    if call == "tone":
        assert event.low_band <= band_at(4000) < event.high_band <= event.low_band + 24
        assert event.level_db > 15


def test_calls_are_parted_by_a_gap_and_joined_over_a_short_one():
    def spans(gap_s):
        tones = (3.0, tone(0.2, 3000)), (3.2 + gap_s, tone(0.2, 3000))
        return spans_of(drawn_log_mel(with_tones(noise(10), *tones)))

    assert len(spans(2 * ACTIVITY.min_gap_s)) == 2
    [(start, stop)] = spans(ACTIVITY.min_gap_s / 2)
    assert abs(start - 3.0 * FPS) <= 3
    assert abs(stop - (3.4 + ACTIVITY.min_gap_s / 2) * FPS) <= 3


def test_calls_are_parted_by_a_valley_that_is_not_silent():
    valley = tone(0.3, 3000, 0.02)
    samples = with_tones(
        noise(10, 1e-3), (3.0, tone(0.2, 3000)), (3.2, valley), (3.5, tone(0.2, 3000))
    )
    first, second = spans_of(drawn_log_mel(samples))
    assert abs(first[0] - 300) <= 3
    assert abs(first[1] - 320) <= 3
    assert abs(second[0] - 350) <= 3
    assert abs(second[1] - 370) <= 3


def test_what_lasts_long_is_cut_into_pieces():
    picture = drawn_log_mel(with_tones(noise(30), (5, tone(13, 3000))))
    spans = spans_of(picture)
    assert abs(spans[0][0] - 500) <= 3
    assert abs(spans[-1][1] - 1800) <= 3
    assert all(one[1] == other[0] for one, other in pairwise(spans))
    assert all(stop - start <= ACTIVITY.max_duration_s * FPS for start, stop in spans)


@pytest.mark.parametrize("shape", [(0, 128), (1, 128), (1, 1), (2, 3), (5, 1)])
def test_small_pictures(shape):
    sounding = np.full(shape, -5, np.float32)
    assert spans_of(sounding) == ([(0, shape[0])] if shape[0] else [])
    assert spans_of(np.full(shape, TAPE_LOW, np.float32)) == []


@st.composite
def pictures(draw):
    """Pictures of any shape: noise, bursts, and stretches of digital silence."""
    n_frames, n_bands = draw(st.integers(1, 700)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    picture = rng.normal(-12, draw(st.floats(0, 3)), (n_frames, n_bands))
    for _ in range(draw(st.integers(0, 4))):
        start, band = rng.integers(n_frames), rng.integers(n_bands)
        stop = start + rng.integers(1, 300)
        picture[start:stop, band:] += draw(st.floats(-3, 10))
        if draw(st.booleans()):
            picture[start:stop] = TAPE_LOW
    return decoded(coded(picture))


@given(pictures(), st.sampled_from([0.02, 0.5, 4.0]), st.sampled_from([0.05, 2.0, 30.0]))
def test_events_are_in_order_apart_and_within_the_picture(picture, max_duration_s, floor_window_s):
    activity = ActivityConfig(
        min_duration_s=0.01, max_duration_s=max_duration_s, floor_window_s=floor_window_s
    )
    events = events_of(picture, activity)
    edges = [edge for event in events for edge in (event.start_frame, event.stop_frame)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(picture) for edge in edges)
    for event in events:
        assert 0 < event.stop_frame - event.start_frame <= max(2, max_duration_s * FPS)
        assert 0 <= event.low_band < event.high_band <= picture.shape[1]


# The tape


@given(st.floats(TAPE_LOW, TAPE_LOW + 255 * TAPE_STEP))
def test_the_tape_keeps_a_value_to_half_a_step(value):
    [back] = decoded(coded(np.array([value])))
    assert abs(back - value) <= TAPE_STEP / 2 + 1e-5


def test_codes_come_back_the_same_and_what_lies_beyond_is_clipped():
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(coded(decoded(codes)), codes)
    assert coded(np.array([-1e3, TAPE_LOW - 0.1, 1e3])).tolist() == [0, 0, 255]
    assert decoded(codes).dtype == np.float32


def test_the_loudest_sound_fits_the_tape(rng):
    square = np.sign(np.sin(np.arange(RATE) / 3))
    for samples in (square, rng.choice([-1.0, 1.0], RATE), np.ones(RATE)):
        loudest = log_mel(torch.from_numpy(samples)[None], PICTURE).max()
        assert loudest < TAPE_LOW + 255 * TAPE_STEP


def write(path, samples, sample_rate_hz=RATE, subtype="FLOAT"):
    soundfile.write(path, samples, sample_rate_hz, subtype)
    return path


def draw(file, **changes):
    return draw_recording(file, file.parent / "part", PictureConfig(**changes), ACTIVITY)


def codes_of(channel):
    return np.fromfile(channel.codes, np.uint8).reshape(-1, PICTURE.n_mels)


@pytest.mark.parametrize("block_s", [0.37, 10.0, 100.0])
@pytest.mark.parametrize("n_frames", [500, CHUNK_FRAMES, CHUNK_FRAMES + 1, 4500])
def test_the_tape_is_the_log_mel_of_the_whole_whatever_the_blocks(
    tmp_path, monkeypatch, n_frames, block_s
):
    samples = noise(n_frames / FPS, 0.1)[: n_frames * HOP].astype(np.float32)
    file = write(tmp_path / "a.wav", samples)
    monkeypatch.setitem(Audio.blocks.__kwdefaults__, "block_s", block_s)
    [channel] = draw(file).channels
    assert channel.n_frames == n_frames
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = coded(log_mel(torch.from_numpy(samples)[None], PICTURE)[0].numpy())
    torch.set_num_threads(threads)
    assert np.array_equal(codes_of(channel), whole)


@pytest.mark.parametrize("block_s", [0.37, 7.0])
def test_the_tape_of_a_resampled_file_does_not_depend_on_the_blocks(
    tmp_path, monkeypatch, rng, block_s
):
    samples = rng.uniform(-0.5, 0.5, (25 * 44_100, 2))
    file = write(tmp_path / "a.flac", samples, 44_100, "PCM_16")
    stored, _ = soundfile.read(file, dtype="float32")
    monkeypatch.setitem(Audio.blocks.__kwdefaults__, "block_s", block_s)
    drawn = draw(file)
    resampled = soxr.resample(stored.mean(axis=1), 44_100, RATE, quality="HQ")
    whole = coded(log_mel(torch.from_numpy(resampled)[None], PICTURE)[0].numpy())
    assert np.array_equal(codes_of(drawn.channels[0]), whole)
    assert (drawn.state, drawn.n_samples, drawn.n_channels) == ("whole", 25 * 44_100, 2)


def test_events_and_levels_of_a_part_file_are_those_of_the_picture_in_memory(tmp_path):
    samples = with_tones(noise(40), (3, tone(0.3, 3000)), (22, tone(0.1, 6000)))
    samples = soxr.resample(samples, RATE, 22_050)
    drawn = draw(write(tmp_path / "a.wav", samples, 22_050))
    [channel] = drawn.channels
    picture = decoded(codes_of(channel))[:, : drawn.n_valid_bands]
    kept = []
    background = find_background(picture, PICTURE, ACTIVITY, kept.append)
    events = find_events(picture, background, PICTURE, ACTIVITY)
    assert drawn.n_valid_bands == 113
    assert len(events) == 2
    assert channel.events == tuple(events)
    levels = np.fromfile(channel.levels, np.uint8).reshape(channel.n_frames, 16) * LEVEL_STEP_DB
    of_groups = np.concatenate(kept)
    assert np.abs(levels - np.minimum(of_groups, 255 * LEVEL_STEP_DB)).max() <= LEVEL_STEP_DB / 2
    # A frame stands as high as its liveliest group; groups without a valid band stay at 0.
    assert np.array_equal(of_groups.max(axis=1), background.level_db)
    assert not of_groups[:, 15:].any()
    loudest = np.argmax(background.level_db[300:330]) + 300
    centres = band_edges_hz(PICTURE)[1:-1]
    assert of_groups[loudest].argmax() == np.abs(centres - 3000).argmin() // LEVEL_BANDS


def test_a_whole_recording(tmp_path):
    drawn = draw(write(tmp_path / "a.wav", noise(1), subtype="PCM_16"))
    assert (drawn.state, drawn.reason, drawn.encoding) == ("whole", "", "WAV PCM_16")
    assert (drawn.n_samples, drawn.n_promised, drawn.n_valid_bands) == (RATE, RATE, 128)
    [channel] = drawn.channels
    assert (channel.channel, channel.n_frames) == (-1, FPS)
    assert channel.codes.stat().st_size == FPS * PICTURE.n_mels
    assert channel.levels.stat().st_size == FPS * 16


def test_a_damaged_recording_keeps_what_could_be_read(tmp_path):
    file = write(tmp_path / "a.wav", noise(2), subtype="PCM_16")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    drawn = draw(file)
    assert drawn.state == "damaged"
    assert drawn.reason == "holds 1.00 s of the 2.00 s that its header promises"
    assert drawn.channels[0].n_frames == 99


@pytest.mark.parametrize(
    ("samples", "state", "reason"),
    [
        (0.9e-3 * np.sign(noise(1)), "silent", "never rises above -60 dB of full scale"),
        (np.zeros(RATE), "silent", "never rises above -60 dB of full scale"),
        (noise(0.155), "too short", "0.155 s; at least 0.16 s are needed"),
        (noise(0), "unreadable", "holds no samples"),
    ],
    ids=["faint", "silence", "short", "empty"],
)
def test_what_is_not_heard_leaves_no_frames(tmp_path, samples, state, reason):
    drawn = draw(write(tmp_path / "a.wav", samples))
    assert (drawn.state, drawn.reason) == (state, reason)
    assert [(channel.n_frames, channel.events) for channel in drawn.channels] == [(0, ())]
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_a_recording_as_long_as_needed_is_heard(tmp_path):
    drawn = draw(write(tmp_path / "a.wav", noise(0.16)))
    assert (drawn.state, drawn.channels[0].n_frames) == ("whole", 16)


def test_a_file_that_is_no_audio_is_unreadable(tmp_path):
    (tmp_path / "a.wav").write_text("caw")
    drawn = draw(tmp_path / "a.wav")
    assert (drawn.state, drawn.channels) == ("unreadable", ())
    assert "not audio" in drawn.reason
    assert draw(tmp_path / "b.wav").state == "unreadable"


def test_a_rate_below_all_bands_is_said_to_be_so(tmp_path):
    drawn = draw(write(tmp_path / "a.wav", noise(0.02), 100))
    assert (drawn.state, drawn.n_valid_bands) == ("unreadable", 0)
    assert drawn.reason == (
        "a rate of 100 Hz is too low for bands of 50 to 16000 Hz: at least 1,918 Hz are needed for "
        "a quarter of them; index it in another workspace with a --preset for lower sounds"
    )
    assert drawn.channels == ()


@pytest.mark.parametrize("name", preset_names("picture"))
def test_a_rate_is_enough_from_a_quarter_of_the_bands_on(tmp_path, name):
    config = with_preset(OscineConfig(), name, "picture")
    least_hz = least_rate_hz(config.picture)
    for rate_hz, state in ((least_hz - 1, "unreadable"), (least_hz, "whole")):
        file = write(tmp_path / f"{rate_hz}.wav", noise(2 * rate_hz / RATE), rate_hz)
        drawn = draw_recording(file, tmp_path / "part", config.picture, config.activity)
        assert (drawn.state, drawn.n_valid_bands >= 32) == (state, state == "whole")


def test_channels_are_mixed_or_the_first_or_each(tmp_path):
    samples = np.stack([noise(1, 0.1, seed) for seed in range(3)], axis=1).astype(np.float32)
    file = write(tmp_path / "a.wav", samples)

    def expected(samples):
        return coded(log_mel(torch.from_numpy(samples)[None], PICTURE)[0].numpy())

    each = draw(file, channels="each").channels
    assert [channel.channel for channel in each] == [0, 1, 2]
    for channel, own in zip(each, samples.T.copy(), strict=True):
        assert np.abs(codes_of(channel) - expected(own).astype(int)).max() <= 1
        assert (codes_of(channel) == expected(own)).mean() > 0.999
    [first] = draw(file, channels="first").channels
    assert first.channel == -1
    assert np.array_equal(codes_of(first), expected(samples[:, 0].copy()))
    [mean] = draw(file, channels="mean").channels
    assert np.array_equal(codes_of(mean), expected(samples.mean(axis=1)))


@pytest.mark.parametrize(
    ("samples", "state"),
    [(noise(0.1), "too short"), (np.zeros(RATE), "silent")],
)
def test_each_channel_of_what_is_not_heard_has_a_row(tmp_path, samples, state):
    file = write(tmp_path / "a.wav", np.stack([samples, samples], axis=1))
    drawn = draw(file, channels="each")
    assert drawn.state == state
    assert [(one.channel, one.n_frames) for one in drawn.channels] == [(0, 0), (1, 0)]


def test_the_tape_gives_frames_and_levels_back(tmp_path):
    channels, expected, levels = [], [], []
    for name, samples in (("a", noise(1, 0.1, 1)), ("b", np.zeros(RATE)), ("c", noise(2, 0.1, 2))):
        file = write(tmp_path / f"{name}.wav", samples)
        drawn = draw_recording(file, tmp_path / name, PICTURE, ACTIVITY)
        channels += drawn.channels
        if drawn.channels[0].n_frames:
            expected.append(codes_of(drawn.channels[0]))
            levels.append(np.fromfile(drawn.channels[0].levels, np.uint8).reshape(-1, 16))
    writer = TapeWriter(tmp_path / "tape", PICTURE, 0)
    assert [writer.append(channel) for channel in channels] == [0, 100, 100]
    assert writer.n_rows == 300
    tape = Tape(tmp_path / "tape", PICTURE, 300)
    assert np.array_equal(tape.log_mel(90, 250), decoded(np.concatenate(expected)[90:250]))
    assert np.array_equal(tape.level_db(90, 250), np.concatenate(levels)[90:250] * LEVEL_STEP_DB)


# Real recordings


def test_states_of_real_files(real_data, tmp_path):
    expected = {
        "audiomoth_comment.wav": "whole",
        "audiomoth_gps.wav": "whole",
        "float32_stereo.wav": "too short",
        "pcm24_3ch_5samples.wav": "too short",
        "silence_10s.mp3": "silent",
        "truncated.wav": "damaged",
        "veryshort.wav": "too short",
    }
    for name, state in expected.items():
        file = real_data / "formats" / name
        drawn = draw_recording(file, tmp_path / "part", PICTURE, ACTIVITY)
        assert drawn.state == state
        assert bool(drawn.channels[0].events) == (state == "whole")


def test_a_real_clip_cut_to_its_call_is_one_event(real_data, tmp_path):
    file = real_data / "individual_zebra_finch/YelGre5275/YelGre5275_110728-DC-25.flac"
    drawn = draw_recording(file, tmp_path / "part", PICTURE, ACTIVITY)
    assert drawn.channels[0].n_frames == 16 < SHORT_FRAMES
    assert len(drawn.channels[0].events) == 1
