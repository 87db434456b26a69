"""What a split keeps together, what coincides with a recording, and one sound under two names."""

import io

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oscine.config import PictureConfig
from oscine.evaluation.splits import (
    best_agreement,
    find_confounds,
    find_duplicates,
    grouped_folds,
    joined_groups,
)
from oscine.picture.mel import log_mel

RATE_HZ = 32_000
VALUES = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d", ""]))


def chirps(seed, n_calls=6, duration_s=2.0):
    """Return a sound of some calls over quiet noise."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    sound = 1e-3 * rng.normal(size=len(time_s))
    for _ in range(n_calls):
        start_s, low_hz, rise = rng.uniform(0, duration_s - 0.2), rng.uniform(800, 8000), 5000
        inside = (time_s >= start_s) & (time_s < start_s + 0.15)
        phase = 2 * np.pi * (low_hz + rise * (time_s - start_s)) * (time_s - start_s)
        sound += 0.2 * np.sin(phase) * inside
    return sound.astype(np.float32)


def picture(sound):
    return log_mel(torch.from_numpy(sound)[None], PictureConfig())[0].numpy()


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=12))
def test_items_that_share_a_value_are_one_group(items):
    columns = list(zip(*items, strict=True))
    groups = joined_groups(*columns)
    # By brute force: join until nothing changes.
    joined = list(range(len(items)))
    for _ in items:
        for one in range(len(items)):
            for other in range(len(items)):
                if any(column[one] and column[one] == column[other] for column in columns):
                    joined[one] = joined[other] = min(joined[one], joined[other])
    assert [[a == b for a in groups] for b in groups] == [[a == b for a in joined] for b in joined]
    assert list(dict.fromkeys(groups)) == list(range(len(set(groups))))


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="of one length"):
        joined_groups(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="of one length"):
        joined_groups()


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 5)), min_size=8, max_size=30))
def test_folds_part_no_group_whatever_the_order(items):
    labels, groups = [label for label, _ in items], np.array([group for _, group in items])
    if len(set(groups)) < 2:
        with pytest.raises(ValueError, match="nothing is held out"):
            grouped_folds(labels, groups, n_folds=3)
        return
    folds = grouped_folds(labels, groups, n_folds=3)
    assert all(len(set(folds[groups == group])) == 1 for group in groups)
    order = np.random.default_rng(0).permutation(len(items))
    again = grouped_folds([labels[n] for n in order], groups[order], n_folds=3)
    np.testing.assert_array_equal(again, folds[order])


def test_labels_of_one_recording_are_named():
    (found,) = find_confounds(
        {"individual": ["anna", "anna", "berta", "berta", None]},
        {"recording": ["1", "2", "3", "3", "4"]},
    )
    assert found.single == ("berta",)
    assert (
        "individual: 1 of 2 labels occur in one recording only (berta), "
        "so what tells them apart may be the recording" in found.sentence
    )


def test_labels_that_share_no_source_are_named():
    questions = {"species": ["crow", "crow", "jay", "jay", "magpie", "magpie"]}
    sources = ["museum", "radio", "radio", "card", "card", "radio"]
    assert find_confounds(questions, {"source": sources}) == []
    (found,) = find_confounds(questions, {"source": ["a", "b", "c", "d", "a", "c"]})
    assert found.apart == (("crow", "jay"),)
    assert "1 of 3 pairs share no source (crow and jay)" in found.sentence
    (found,) = find_confounds(questions, {"source": ["a", "a", "b", "b", "c", "c"]})
    assert "3 of 3 labels occur in one source only" in found.sentence
    assert "no two labels share a source" in found.sentence


def test_many_labels_are_counted_not_listed():
    names = [f"bird {number:02d}" for number in range(20)]
    (found,) = find_confounds({"individual": names}, {"recording": names})
    assert "20 of 20" in found.sentence
    assert "bird 05 and 14 more" in found.sentence


def test_a_sound_encoded_again_and_cut_is_the_same():
    sound = chirps(0)
    file = io.BytesIO()
    soundfile.write(file, sound[len(sound) // 5 :], RATE_HZ, format="MP3", compression_level=0.9)
    file.seek(0)
    again, _ = soundfile.read(file, dtype="float32")
    assert best_agreement(picture(sound), picture(again)) > 0.9
    assert best_agreement(picture(again), picture(sound)) > 0.9
    assert best_agreement(picture(sound), picture(chirps(1))) < 0.6


def test_agreement_of_pictures_that_do_not_change_is_none():
    still = np.zeros((20, 8))
    assert best_agreement(still, still) == 0
    assert best_agreement(still, np.random.default_rng(0).normal(size=(30, 8))) == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 99))
def test_agreement_is_that_of_the_best_shift(n_one, n_other, seed):
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(n_one, 3)), rng.normal(size=(n_other, 3))
    found = []
    for shift in range(-n_other, n_one + 1):
        start, stop = max(0, shift), min(n_one, shift + n_other)
        if stop - start >= min(n_one, n_other) / 2:
            a = (one - one.mean(axis=0))[start:stop]
            b = (other - other.mean(axis=0))[start - shift : stop - shift]
            found.append((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))
    assert best_agreement(one, other) == pytest.approx(max(0, *found), abs=1e-9)


def test_a_planted_duplicate_is_found_across_groups_only():
    sounds = [chirps(seed) for seed in range(8)]
    sounds.append(np.roll(sounds[3], 2000) * np.float32(0.7))  # the same, shifted and quieter
    sounds.append(sounds[5])
    pictures = [picture(sound) for sound in sounds]
    vectors = np.stack([one.mean(axis=0) for one in pictures])
    contents = [*"abcdefgh", "i", "f"]
    groups = np.arange(len(sounds))
    found = find_duplicates(contents, groups, vectors, pictures.__getitem__)
    assert [(one.kind, one.first, one.second) for one in found] == [
        ("exact", 5, 9),
        ("near", 3, 8),
    ]
    groups[[8, 9]] = groups[[3, 5]]
    assert find_duplicates(contents, groups, vectors, pictures.__getitem__) == []
