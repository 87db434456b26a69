"""Files that are not in the archive: which are heard, which stretch of them, and why not others.

That they have the vectors that they would have in the archive is seen in test_similar.py.
"""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import tiny

from oscine.config import ActivityConfig, PictureConfig, WrongArgument
from oscine.embedding.guests import guest_interval, hear_guests

PICTURE, ACTIVITY = PictureConfig(), ActivityConfig()
RATE_HZ = 32_000


def chirps(duration_s, times_s, rate_hz=RATE_HZ, seed=0):
    """Return noise with a rising tone of 0.3 s at each time."""
    samples = np.random.default_rng(seed).normal(0, 1e-3, round(duration_s * rate_hz))
    time_s = np.arange(round(0.3 * rate_hz)) / rate_hz
    tone = 0.3 * np.sin(2 * np.pi * (2000 + 3000 * time_s) * time_s) * np.hanning(len(time_s))
    for number, at_s in enumerate(times_s):
        start = round(at_s * rate_hz)
        samples[start : start + len(tone)] += tone / (number + 1)
    return samples


def test_files_that_cannot_be_heard_are_refused_in_words(tmp_path, capfd):
    heard, silent, short = (tmp_path / f"{name}.wav" for name in ("heard", "silent", "short"))
    soundfile.write(heard, chirps(2, [0.5]), RATE_HZ)
    soundfile.write(silent, np.zeros(RATE_HZ), RATE_HZ)
    soundfile.write(short, chirps(0.1, []), RATE_HZ)
    low, text, gone = tmp_path / "low.wav", tmp_path / "text.wav", tmp_path / "gone.wav"
    soundfile.write(low, chirps(2, [], 1000), 1000)
    text.write_text("not a sound\n")
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"\xff\xfb\x90\x00" + bytes(3000))
    files = [silent, heard, short, low, text, gone, tmp_path, broken]
    with hear_guests(files, PICTURE, ACTIVITY) as guests:
        assert list(guests.recordings) == list(guests.events) == [heard]
        refused = guests.refused
    assert set(refused) == set(files) - {heard}
    assert refused[silent].startswith("silent: never rises above -60 dB")
    assert refused[short].startswith("too short: 0.100 s; at least 0.16 s")
    assert "a rate of 1,000 Hz is too low" in refused[low]
    assert refused[text].startswith("unreadable: ")
    assert refused[broken].startswith(("unreadable: ", "too short: ", "silent: "))
    assert refused[gone] == "is not there"
    assert refused[tmp_path] == "is a folder: name a file"
    assert capfd.readouterr().err == ""


def test_a_guest_that_is_named_twice_is_heard_once_and_leaves_nothing(tmp_path):
    file = tmp_path / "a.wav"
    soundfile.write(file, chirps(2, [0.5]), RATE_HZ)
    with hear_guests([file, file], PICTURE, ACTIVITY) as guests:
        assert len(guests.recordings) == 1
        folder = guests.tape.folder.parent
        assert sorted(one.name for one in folder.iterdir()) == ["tape"]
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == [file]


def test_of_several_channels_the_one_that_is_asked_for_is_heard(tmp_path):
    file = tmp_path / "two.wav"
    left, right = chirps(2, [0.5]), chirps(2, [1.2], seed=1)
    soundfile.write(file, np.stack([left, right], axis=1), RATE_HZ)
    alone = [tmp_path / "left.wav", tmp_path / "right.wav"]
    for one, samples in zip(alone, (left, right), strict=True):
        soundfile.write(one, samples, RATE_HZ)
    each = replace(PICTURE, channels="each")

    def picture_of(file, channel=None):
        with hear_guests([file], each, ACTIVITY, channel=channel) as guests:
            row = guests.recordings[file]
            return row.channel, guests.tape.log_mel(row.tape_row, row.tape_row + row.n_frames)

    for channel, one in ((None, alone[0]), (0, alone[0]), (1, alone[1])):
        number, drawn = picture_of(file, channel)
        assert number == (channel or 0)
        np.testing.assert_array_equal(drawn, picture_of(one)[1])
    with hear_guests([file], each, ACTIVITY, channel=2) as guests:
        assert guests.refused == {file: "has 2 channels, counted from 0: there is no channel 2"}
    with (
        pytest.raises(WrongArgument, match="hears the channels of a file together"),
        hear_guests([file], PICTURE, ACTIVITY, channel=1),
    ):
        pass


def test_a_stretch_must_lie_in_the_file_and_be_long_enough():
    ten = tiny.recording(0, 1000, sample_rate_hz=RATE_HZ, n_samples=10 * RATE_HZ + 200)
    assert guest_interval(ten, None, None, PICTURE).frames == (0, 1000)
    assert guest_interval(ten, 1.234, 2.5, PICTURE).frames == (123, 250)
    assert guest_interval(ten, 9, None, PICTURE).frames == (900, 1000)
    assert guest_interval(ten, None, 10.01, PICTURE).frames == (0, 1000)  # as rounded
    for start_s, stop_s, problem in (
        (2, 1, "is no stretch of time"),
        (-1, 1, "is no stretch of time"),
        (float("nan"), 1, "is no stretch of time"),
        (9, 12, r"0.wav: 9 to 12 s lies outside of the file, which is 10.01 s long"),
        (20, None, "is no stretch of time"),
        (1, 1.01, "is too short: at least 0.02 s"),
    ):
        with pytest.raises(WrongArgument, match=problem):
            guest_interval(ten, start_s, stop_s, PICTURE)


def test_of_a_long_file_the_clearest_sounds_are_named(tmp_path):
    file = tmp_path / "long.wav"
    soundfile.write(file, chirps(61, [50, 10, 30]), RATE_HZ)
    with hear_guests([file], PICTURE, ACTIVITY) as guests:
        row, events = guests.recordings[file], guests.events[file]
        with pytest.raises(WrongArgument, match="is 61 s long") as caught:
            guest_interval(row, None, None, PICTURE, events)
        named = str(caught.value).partition("clearest sounds are at ")[2]
        assert [int(float(one.split()[0]) + 0.5) for one in named.split(", ")] == [10, 30, 50]
        assert guest_interval(row, 0, 61, PICTURE).frames == (0, 6100)
