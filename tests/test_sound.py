"""Intervals, decoding, and the walk over folders."""

import hashlib
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from oscine.sound.archive import find_recordings, shown
from oscine.sound.audio import UnreadableAudio, content_hash, open_audio, read_interval
from oscine.sound.hearing import AUDIBLE_HZ, event_speed, playing_speed
from oscine.sound.recording import Interval

RATES_HZ = st.sampled_from([8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 192_000, 250_000])


@st.composite
def intervals(draw, rates_hz=RATES_HZ):
    start, stop = sorted(draw(st.tuples(*[st.integers(0, 10**10)] * 2)))
    return Interval(start=start, stop=stop, sample_rate_hz=draw(rates_hz))


def noise(duration_s, sample_rate_hz, n_channels=1, seed=0):
    shape = (round(duration_s * sample_rate_hz), n_channels)
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def write(path, samples, sample_rate_hz, subtype=None, **options):
    soundfile.write(path, samples, sample_rate_hz, subtype=subtype, **options)
    return path


def read(path, sample_rate_hz=None, block_s=10.0, **options):
    """All samples (C, S) of a file, and the `Audio` after reading."""
    with open_audio(path, **options) as audio:
        blocks = list(audio.blocks(sample_rate_hz or audio.sample_rate_hz, block_s=block_s))
    return np.concatenate(blocks, axis=1), audio


def cut(path, share):
    """Keep only the first part of the bytes of a file."""
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    return path


def overwrite(path, position, new):
    content = bytearray(path.read_bytes())
    content[position : position + len(new)] = new
    path.write_bytes(content)
    return path


# Intervals


@pytest.mark.parametrize(("start", "stop", "rate"), [(-1, 3, 8000), (4, 3, 8000), (0, 3, 0)])
def test_interval_refuses_what_is_none(start, stop, rate):
    with pytest.raises(ValueError, match="an interval needs"):
        Interval(start=start, stop=stop, sample_rate_hz=rate)


def test_interval_in_seconds():
    interval = Interval(start=12_000, stop=36_000, sample_rate_hz=24_000)
    assert (interval.start_s, interval.stop_s, interval.duration_s) == (0.5, 1.5, 1.0)


@given(intervals(), RATES_HZ)
def test_interval_survives_a_higher_rate(interval, rate):
    higher = interval.at(max(rate, interval.sample_rate_hz))
    assert higher.at(interval.sample_rate_hz) == interval


@given(intervals(), RATES_HZ)
def test_interval_at_another_rate_is_the_nearest_and_never_lost(interval, rate):
    other = interval.at(rate)
    # Distances times both rates, so that integers decide: half a sample is rate / 2 of them.
    assert 2 * abs(other.start * interval.sample_rate_hz - interval.start * rate) <= (
        interval.sample_rate_hz
    )
    assert (other.stop > other.start) == (interval.stop > interval.start)


@given(intervals(st.just(32_000)), st.integers(0, 10**10))
def test_halves_share_nothing_and_make_the_whole(interval, cut_at):
    middle = min(max(cut_at, interval.start), interval.stop)
    first = Interval(start=interval.start, stop=middle, sample_rate_hz=32_000)
    second = Interval(start=middle, stop=interval.stop, sample_rate_hz=32_000)
    assert first.shared_samples(second) == 0
    assert interval.shared_samples(first) + interval.shared_samples(second) == (
        interval.stop - interval.start
    )


def test_shared_samples_needs_one_rate():
    interval = Interval(start=0, stop=8, sample_rate_hz=8000)
    with pytest.raises(ValueError, match="one rate"):
        interval.shared_samples(interval.at(16_000))


# Samples


every_format = pytest.mark.parametrize(
    ("name", "subtype", "rate"),
    [
        ("a.wav", "PCM_24", 44_100),
        ("a.flac", "PCM_16", 48_000),
        ("a.mp3", None, 44_100),
        ("a.ogg", "VORBIS", 44_100),
        ("a.opus", "OPUS", 48_000),
    ],
)


@every_format
def test_samples_are_those_of_one_long_read(tmp_path, name, subtype, rate):
    container = "OGG" if name.endswith("opus") else None
    path = write(tmp_path / name, noise(2.3, rate, 2), rate, subtype, format=container)
    expected, _ = soundfile.read(path, dtype="float32")
    assert np.array_equal(read(path, channels="each")[0], expected.T)


@every_format
@pytest.mark.parametrize("to_hz", [None, 32_000])
def test_samples_do_not_depend_on_the_block(tmp_path, name, subtype, rate, to_hz):
    container = "OGG" if name.endswith("opus") else None
    path = write(tmp_path / name, noise(2.3, rate, 2), rate, subtype, format=container)
    whole, audio = read(path, to_hz)
    assert audio.n_read == round(2.3 * rate)
    for block_s in (0.3777, 0.00123):
        assert np.array_equal(read(path, to_hz, block_s)[0], whole)


@pytest.mark.parametrize(
    ("rate", "to_hz"), [(48_000, 32_000), (44_100, 32_000), (8_000, 32_000), (250_000, 32_000)]
)
@pytest.mark.parametrize("n_frames", [1, 777, 30_011])
def test_resampling_in_blocks_equals_all_at_once(tmp_path, rate, to_hz, n_frames):
    samples = noise(n_frames / rate, rate, 2)
    path = write(tmp_path / "a.wav", samples, rate, "FLOAT")
    got, _ = read(path, to_hz, block_s=0.013, channels="each")
    assert np.array_equal(got, soxr.resample(samples, rate, to_hz, quality="HQ").T)
    assert got.shape == (2, (2 * n_frames * to_hz + rate) // (2 * rate))


def test_channel_policies(tmp_path):
    path = write(tmp_path / "a.wav", noise(0.5, 8_000, 3), 8_000, "PCM_24")
    expected, _ = soundfile.read(path, dtype="float32")
    mean, audio = read(path)
    assert mean.shape == (1, 4_000)
    assert np.allclose(mean[0], expected.mean(axis=1), atol=1e-7)
    assert (audio.n_channels, audio.sample_rate_hz, audio.encoding) == (3, 8_000, "WAV PCM_24")
    assert audio.peak == np.abs(mean).max()
    assert np.array_equal(read(path, channels="first")[0], expected[:, :1].T)
    assert np.array_equal(read(path, channels="each")[0], expected.T)
    with pytest.raises(ValueError, match="'loudest'"):
        open_audio(path, channels="loudest")


def test_blocks_may_be_kept(tmp_path):
    path = write(tmp_path / "a.wav", noise(0.5, 8_000, 2), 8_000, "FLOAT")
    for channels in ("mean", "first", "each"):
        with open_audio(path, channels=channels) as audio:
            blocks = [(block, block.copy()) for block in audio.blocks(8_000, block_s=0.1)]
        assert len(blocks) == 5
        assert all(np.array_equal(kept, copied) for kept, copied in blocks)


def test_a_file_is_read_once(tmp_path):
    path = write(tmp_path / "a.wav", noise(0.1, 8_000), 8_000)
    with open_audio(path) as audio:
        list(audio.blocks(8_000))
        with pytest.raises(ValueError, match="open it again"):
            audio.blocks(8_000)


def test_what_is_no_number_is_silenced_and_told(tmp_path):
    samples = noise(1.0, 8_000)
    samples[[10, 20, 30, 40], 0] = [np.nan, np.inf, -np.inf, 1e30]
    path = write(tmp_path / "a.wav", samples, 8_000, "FLOAT")
    got, audio = read(path)
    assert np.array_equal(np.flatnonzero(got[0] != samples[:, 0]), [10, 20, 30, 40])
    assert not got[0, [10, 20, 30, 40]].any()
    assert audio.problem is not None
    assert audio.problem.startswith("4 samples")
    assert audio.peak <= 0.5


# Files that break their promise


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.rf64", "a.flac", "a.mp3"])
def test_a_cut_file_gives_what_it_holds(tmp_path, name):
    path = write(tmp_path / name, noise(4.0, 44_100), 44_100)
    whole, audio = read(path)
    assert (audio.n_promised, audio.n_read, audio.problem) == (176_400, 176_400, None)
    assert audio.n_missing == 0
    part, audio = read(cut(path, 0.6))
    assert audio.n_promised == 176_400
    assert audio.n_missing == 176_400 - audio.n_read
    # 0.1 s is the step, the rest a FLAC frame or what an MP3 spends on its header.
    assert 0.6 * 4 - 0.3 < audio.n_read / 44_100 < 0.6 * 4 + 0.1
    assert audio.problem is not None
    n_same = audio.n_read - 2_000  # the last MP3 frame lacks its successor
    assert np.array_equal(part[0, :n_same], whole[0, :n_same])


@pytest.mark.parametrize("n_bytes", [0, 0xFFFFFFFF, 0x7FFFF000, 12_345])
def test_a_wav_that_does_not_know_its_length_promises_nothing(tmp_path, n_bytes):
    path = write(tmp_path / "a.wav", noise(1.0, 8_000), 8_000, "PCM_16")
    position = path.read_bytes().index(b"data") + 4
    overwrite(path, position, n_bytes.to_bytes(4, "little"))
    with open_audio(path) as audio:
        assert audio.n_promised is None


def test_a_flac_that_does_not_know_its_length_is_read_whole(tmp_path):
    path = write(tmp_path / "a.flac", noise(1.0, 8_000), 8_000)
    content = path.read_bytes()
    overwrite(path, 21, bytes([content[21] & 0xF0]) + bytes(4))  # the number of samples, 36 bits
    _, audio = read(path)
    assert (audio.n_promised, audio.n_read, audio.problem) == (None, 8_000, None)


def without_length(path):
    """Drop the first frame of an MP3, which says how long it is."""
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 100) :])
    return path


def test_an_mp3_without_its_length_is_read_to_its_end(tmp_path):
    # A bit rate that falls: from the first frames one would guess a fourth of the length.
    samples = noise(20.0, 44_100)
    samples[5 * 44_100 :] = 0
    path = tmp_path / "a.mp3"
    write(path, samples, 44_100, bitrate_mode="VARIABLE", compression_level=0.5)
    _, audio = read(without_length(path))
    assert (audio.n_promised, audio.problem) == (None, None)
    assert 20.0 <= audio.n_read / 44_100 < 20.1
    quiet = Interval(start=15, stop=19, sample_rate_hz=1)
    assert len(read_interval(path, quiet)) == 4 * 44_100


@pytest.mark.parametrize("n_lost", [1, 200])
def test_an_mp3_without_its_length_may_end_within_a_frame(tmp_path, n_lost):
    path = without_length(write(tmp_path / "a.mp3", noise(3.0, 44_100), 44_100))
    path.write_bytes(path.read_bytes()[:-n_lost])
    _, audio = read(path)
    assert audio.problem is None
    assert audio.n_read / 44_100 > 2.9


def test_an_mp3_with_a_damaged_start_is_read_and_doubted(tmp_path):
    path = write(tmp_path / "a.mp3", noise(3.0, 44_100), 44_100)
    _, audio = read(overwrite(path, 0, bytes(64)))
    assert audio.n_read > 0
    assert audio.problem is not None
    assert "first 417 bytes" in audio.problem


def test_no_frames_at_all(tmp_path):
    path = write(tmp_path / "a.wav", noise(0.0, 8_000), 8_000)
    with open_audio(path) as audio:
        assert sum(block.shape[1] for block in audio.blocks(32_000)) == 0
    assert (audio.n_read, audio.peak) == (0, 0.0)


# Files that cannot be opened


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.wav", b"", "empty"),
        ("a.wav", b"Dear diary, today I heard a crow.\n" * 9, "not audio"),
        ("a.au", b"Dear diary, today I heard a crow.\n" * 9, "no audio format"),
        ("a.flac", b"fLaC" + bytes(96), "header is damaged"),
    ],
)
def test_unreadable_files_say_why(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableAudio, match=reason) as caught:
        open_audio(path)
    assert str(path) in str(caught.value)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (copied.path, copied.reason) == (path, caught.value.reason)


def test_places_without_a_file_say_so(tmp_path):
    with pytest.raises(UnreadableAudio, match="No such file"):
        open_audio(tmp_path / "gone.wav")
    with pytest.raises(UnreadableAudio, match="a folder"):
        open_audio(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_forbidden_file_says_so(tmp_path):
    path = write(tmp_path / "a.wav", noise(0.1, 8_000), 8_000)
    path.chmod(0)
    with pytest.raises(UnreadableAudio, match="Permission"):
        open_audio(path)


def test_aac_without_pyav_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x1cftypM4A " + bytes(64))
    with pytest.raises(UnreadableAudio, match=r"pip install 'oscine\[aac\]'"):
        open_audio(path)


def test_aac_with_pyav(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is an optional extra")
    samples = np.sin(np.arange(96_000) * 0.05).astype(np.float32)
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    got, audio = read(path)
    assert (audio.sample_rate_hz, audio.n_channels, audio.n_missing) == (48_000, 1, 0)
    assert abs(audio.n_read - 96_000) < 4_800
    # AAC begins with a frame of its own, which only files that say so (by an edit list) are rid of.
    late = 1024 if audio.n_read > 97_000 else 0
    assert np.corrcoef(got[0, 9_600 + late : 86_400 + late], samples[9_600:86_400])[0, 1] > 0.99
    excerpt = read_interval(path, Interval(start=1, stop=2, sample_rate_hz=2))
    assert np.array_equal(excerpt, got[0, 24_000:48_000])


# Intervals of files


@pytest.mark.parametrize(("name", "tolerance"), [("a.wav", 0), ("a.flac", 0), ("a.mp3", 1e-4)])
def test_an_interval_is_the_same_as_in_the_stream(tmp_path, name, tolerance):
    path = write(tmp_path / name, noise(3.0, 44_100, 2), 44_100)
    whole, _ = read(path, channels="each")
    mean, _ = read(path)
    for start, stop in [(4_500, 4_501), (10_000, 70_007), (130_000, 132_300)]:
        interval = Interval(start=start, stop=stop, sample_rate_hz=44_100)
        second = read_interval(path, interval, channel=1)
        assert np.allclose(second, whole[1, start:stop], rtol=0, atol=tolerance)
        assert np.allclose(read_interval(path, interval), mean[0, start:stop], 0, tolerance)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 250_000])
def test_an_interval_is_resampled_as_in_the_stream(tmp_path, rate):
    path = write(tmp_path / "a.wav", noise(2.0, rate), rate, "FLOAT")
    whole, _ = read(path, 32_000)
    for start, stop in [(0, 100), (20_001, 50_003), (63_000, 64_000)]:
        interval = Interval(start=start, stop=stop, sample_rate_hz=32_000)
        excerpt = read_interval(path, interval, sample_rate_hz=32_000)
        assert np.allclose(excerpt, whole[0, start:stop], rtol=0, atol=1e-6)
        assert len(excerpt) == stop - start


def test_an_interval_beyond_the_end_is_shorter(tmp_path):
    path = write(tmp_path / "a.flac", noise(1.0, 8_000), 8_000)
    interval = Interval(start=7_000, stop=9_000, sample_rate_hz=8_000)
    assert len(read_interval(path, interval)) == 1_000
    assert len(read_interval(path, interval, sample_rate_hz=32_000)) == 4_000
    beyond = Interval(start=9_000, stop=9_500, sample_rate_hz=8_000)
    assert len(read_interval(path, beyond, sample_rate_hz=32_000)) == 0
    with pytest.raises(ValueError, match="no channel 1"):
        read_interval(path, interval, channel=1)


def test_content_hash_is_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(noise(1.0, 48_000).tobytes())
    assert content_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()[:32]


# Folders


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def paths(folders):
    return [row.path for row in find_recordings(folders)[0]]


def test_walk_takes_recordings_in_order(tmp_path):
    touch(tmp_path, "b/2.WAV", "b/10.flac", "a.Mp3", "b-c/x.opus", "notes.txt", "b/wav")
    assert paths([tmp_path]) == ["a.Mp3", "b-c/x.opus", "b/10.flac", "b/2.WAV"]
    row = find_recordings([tmp_path])[0][2]
    assert (row.root, row.file) == (tmp_path.resolve(), tmp_path.resolve() / "b" / "10.flac")
    assert (row.n_bytes, row.modified_s) == (9, row.file.stat().st_mtime)


def test_walk_leaves_out_hidden_names(tmp_path):
    touch(tmp_path, ".a.wav", "._b.wav", ".trash/c.wav", "d.wav")
    assert paths([tmp_path]) == ["d.wav"]


def test_walk_leaves_out_what_was_exported_unless_it_is_named(tmp_path):
    touch(tmp_path, "card/1.wav", "clips/type-1/2.wav", "clips/oscine-export.json")
    found, problems = find_recordings([tmp_path])
    assert [row.path for row in found] == ["card/1.wav"]
    ((place, reason),) = problems
    assert Path(place).name == "clips"
    assert reason.startswith("an export of Oscine")
    assert paths([tmp_path / "clips"]) == ["type-1/2.wav"]


def test_walk_enters_a_folder_named_like_a_file(tmp_path):
    touch(tmp_path, "x.wav/y.wav")
    assert paths([tmp_path]) == ["x.wav/y.wav"]


def test_walk_lists_a_file_once_below_the_folder_given_first(tmp_path):
    touch(tmp_path, "a/1.wav", "a/b/2.wav", "c/3.wav")
    inner = tmp_path / "a" / "b"
    assert paths([tmp_path, inner]) == ["a/1.wav", "a/b/2.wav", "c/3.wav"]
    assert paths([inner, tmp_path]) == ["2.wav", "a/1.wav", "c/3.wav"]
    os.link(inner / "2.wav", tmp_path / "c" / "4.wav")
    assert len(paths([tmp_path])) == 3


def test_walk_follows_links_and_ends_in_a_loop(tmp_path):
    touch(tmp_path, "in/z/1.wav", "out/2.wav", "out/3.wav")
    folder = tmp_path / "in"
    (folder / "a").symlink_to(folder / "z")
    (folder / "up").symlink_to(folder)
    (folder / "z" / "again").symlink_to(folder / "a")
    (folder / "far.wav").symlink_to(tmp_path / "out" / "2.wav")
    (folder / "to").symlink_to(tmp_path / "out")
    (folder / "nowhere.wav").symlink_to(tmp_path / "gone.wav")
    (folder / "self.wav").symlink_to(folder / "self.wav")
    found, problems = find_recordings([folder])
    assert [row.path for row in found] == ["far.wav", "to/3.wav", "z/1.wav"]
    assert [Path(path).name for path, _ in problems] == ["nowhere.wav", "self.wav"]
    assert "No such file" in problems[0][1]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_walk_reports_a_forbidden_folder(tmp_path):
    touch(tmp_path, "a/1.wav", "b.wav")
    (tmp_path / "a").chmod(0)
    found, problems = find_recordings([tmp_path])
    (tmp_path / "a").chmod(0o700)
    assert [row.path for row in found] == ["b.wav"]
    assert problems == [(str(tmp_path.resolve() / "a"), "Permission denied")]


def test_walk_takes_a_named_file_and_refuses_a_missing_folder(tmp_path):
    touch(tmp_path, "a.wav", "b.bin")
    found, _ = find_recordings([tmp_path / "b.bin"])
    assert [(row.root, row.path) for row in found] == [(tmp_path.resolve(), "b.bin")]
    with pytest.raises(FileNotFoundError, match=r"gone does not exist; give the folder"):
        find_recordings([tmp_path / "gone"])


def test_a_name_that_is_no_utf8_can_be_stored_and_opened(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with open(tmp_path / name, "wb") as file:
        soundfile.write(file, noise(0.1, 8_000), 8_000, format="WAV")
    (row,), _ = find_recordings([tmp_path])
    assert row.path == r"caf\xe9.wav"
    assert read(row.file)[1].n_read == 800
    with pytest.raises(UnreadableAudio, match="No such file") as caught:
        open_audio(tmp_path / f"no {name}")
    assert str(caught.value).encode() == f"{shown(tmp_path)}/no {row.path}: ".encode() + (
        caught.value.reason.encode()
    )


# Real files


def test_formats_of_real_files(real_data):
    expected = {
        "audiomoth_comment.wav": ("WAV PCM_16", 32_000, 1, 479_022, 479_022),
        "audiomoth_gps.wav": ("WAV PCM_16", 48_000, 1, 95_999, 95_999),
        "float32_stereo.wav": ("WAV FLOAT", 44_100, 2, 441, 441),
        "pcm24_3ch_5samples.wav": ("WAV PCM_24", 8_000, 3, 5, 5),
        "silence_10s.mp3": ("MP3 MPEG_LAYER_III", 44_100, 1, 441_000, 441_000),
        "truncated.wav": ("WAVEX PCM_32", 44_100, 1, 4_410, 236),
        "veryshort.wav": ("WAV PCM_16", 44_100, 1, 6_266, 6_266),
    }
    found, problems = find_recordings([real_data / "formats"])
    assert [row.path for row in found] == sorted(expected)
    assert problems == []
    for row in found:
        samples, audio = read(row.file, 32_000)
        got = (audio.encoding, audio.sample_rate_hz, audio.n_channels, audio.n_promised)
        assert (*got, audio.n_read) == expected[row.path]
        assert (audio.problem is None) == (row.path != "truncated.wav")
        assert samples.shape == (1, round(audio.n_read * 32_000 / audio.sample_rate_hz))
        assert (audio.peak < 1e-3) == (row.path == "silence_10s.mp3")


# Resampling over the ratios that presets ask for


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(256_000, 2_000), (384_000, 2_000), (8_000, 256_000), (192_000, 640)]
)
def test_resampling_keeps_tones_and_makes_no_others(from_hz, to_hz):
    slower = min(from_hz, to_hz)
    time_s = np.arange(4 * from_hz) / from_hz
    tone = np.sin(2 * np.pi * 0.2 * slower * time_s).astype(np.float32)
    # Above the new Nyquist frequency: it would fold back to 0.3 of the new rate.
    above = np.sin(2 * np.pi * 0.7 * to_hz * time_s).astype(np.float32) if to_hz < from_hz else 0
    found = soxr.resample(tone + above, from_hz, to_hz, quality="HQ")
    assert len(found) == 4 * to_hz
    expected = np.sin(2 * np.pi * 0.2 * slower * np.arange(4 * to_hz) / to_hz)
    middle = slice(to_hz, 3 * to_hz)
    assert np.abs(found[middle] - expected[middle]).max() < 1e-4  # -80 dB


@pytest.mark.parametrize("to_hz", [640, 2_000, 320_000])
def test_an_excerpt_at_a_far_rate_is_that_of_the_whole(tmp_path, to_hz):
    path = write(tmp_path / "a.wav", noise(4, 96_000), 96_000, "FLOAT")
    whole, _ = read(path, to_hz)
    excerpt = read_interval(
        path, Interval(start=96_000, stop=192_000, sample_rate_hz=96_000), sample_rate_hz=to_hz
    )
    assert np.abs(excerpt - whole[0, to_hz : 2 * to_hz]).max() < 1e-4


# How fast sounds are played


@pytest.mark.parametrize(
    ("bands_hz", "speed"),
    [((50, 16_000), 1), ((5_000, 120_000), 0.1), ((8, 1_000), 10), ((50, 48_000), 1)],
    ids=["bird", "bat", "low", "wide"],
)
def test_presets_are_played_so_that_they_are_heard(bands_hz, speed):
    assert playing_speed(*bands_hz) == speed


@given(st.floats(0, 1e5), st.floats(1, 1e5))
def test_what_is_played_is_heard(low_hz, width_hz):
    high_hz = low_hz + width_hz
    speed = playing_speed(low_hz, high_hz)
    assert low_hz * speed < AUDIBLE_HZ[1]
    assert high_hz * speed > AUDIBLE_HZ[0]
    if low_hz >= AUDIBLE_HZ[0] and high_hz <= AUDIBLE_HZ[1]:
        assert speed == 1


def test_an_event_plays_at_the_speed_of_its_archive_unless_nothing_would_be_heard():
    wide = (50, 48_000)
    assert event_speed(wide, (2_000, 5_000)) == 1
    assert event_speed(wide, (14_000, 30_000)) == 1
    assert event_speed(wide, (38_000, 46_000)) == 0.05
    assert event_speed((5_000, 120_000), (9_000, 15_000)) == 0.1
