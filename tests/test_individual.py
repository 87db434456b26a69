"""What stays of a call when its background is exchanged."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
from sklearn.metrics import roc_auc_score

from oscine.config import ActivityConfig, ReadoutConfig
from oscine.embedding.individual import (
    COPIES_SNR_DB,
    INDIVIDUAL,
    STRENGTHS,
    ExchangeSample,
    IndividualReadout,
    centred,
    draw_sample,
    exchange_candidates,
    fit_exchange,
    fit_individual,
    individual_config,
    recording_agreement,
    unit_rows,
)
from oscine.embedding.intervals import FrameInterval

CONFIG = individual_config(
    ReadoutConfig(layers=(0, 1), dimensions=10, row_sharpness=1.5, shrinkage=3.0)
)


class Numbers:
    """Stands for excerpts in a sample: values are given, not heard."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)


def numbers_sample(rng, n=60, n_values=8, n_copies=3):
    """Return a sample of 15 recordings of two types: who calls shows in one value, weakly.

    Another value is background: strong, and the only one that an exchange changes.
    """
    recordings, types = np.repeat(np.arange(15), 4), np.repeat(np.arange(15) % 2, 4)
    clean = rng.normal(size=(n, 1, n_values))
    clean[:, 0, 0] += 3 * rng.normal(size=15)[recordings]
    clean[:, 0, 1] += 3 * rng.normal(size=15)[recordings]

    def before_others(values):
        values = values.copy()
        values[:, 0, 1] += 8 * rng.normal(size=len(values))
        return values

    return ExchangeSample(
        recordings=recordings,
        types=types,
        clean=Numbers(clean),
        copies=Numbers(before_others(np.repeat(clean, n_copies, axis=0))),
        views=Numbers(before_others(clean)),
    )


def given(numbers):
    return numbers.values


def test_what_backgrounds_change_is_drawn_in_as_by_the_inverse_root_of_its_covariance(rng):
    sample = numbers_sample(rng)
    exchange, found = fit_exchange(sample, given, (0,), [(0,)])
    assert [one.strength for one in found] == list(STRENGTHS)
    clean = sample.clean.values[:, 0]
    scale = clean.std(axis=0)
    change = (sample.copies.values[:, 0] - np.repeat(clean, 3, axis=0)) / scale
    nuisance = change.T @ change / len(change)
    ridge = exchange.strength * np.trace(nuisance) / 8
    sizes, axes = np.linalg.eigh(nuisance + ridge * np.eye(8))
    root = axes @ np.diag(sizes**-0.5) @ axes.T
    expected = unit_rows(clean / scale @ root)
    vectors = exchange.vectors(sample.clean.values)
    np.testing.assert_allclose(unit_rows(vectors), expected, atol=0.02)
    # The background hardly counts any more, the rest is as it was.
    assert np.abs(vectors[:, 1]).max() < 0.5 * np.abs(clean[:, 1] / scale[1]).max()
    np.testing.assert_allclose(vectors[:, 2:], (clean / scale)[:, 2:], rtol=1e-5)


def test_the_strength_is_taken_that_the_archive_agrees_with_most(rng):
    exchange, found = fit_exchange(numbers_sample(rng), given, (0,), [(0,)])
    best = max(found, key=lambda one: one.agreement)
    assert exchange.strength == best.strength
    assert best.agreement > 0.6


def test_agreement_is_the_mean_auc_of_recordings_within_types(rng):
    vectors = rng.normal(size=(60, 5)) + np.repeat(rng.normal(size=(15, 5)), 4, axis=0)
    recordings, types = np.repeat(np.arange(15), 4), np.repeat(np.arange(15) % 3, 4)
    types[:8] = -1
    x = unit_rows(centred(vectors, types))
    areas = []
    for recording in range(2, 15):
        own = np.flatnonzero(recordings == recording)
        same = [x[i] @ x[j] for i in own for j in own if i != j]
        others = np.flatnonzero((recordings != recording) & (types == types[own[0]]))
        different = [x[i] @ x[j] for i in own for j in others]
        truth = [1] * len(same) + [0] * len(different)
        areas.append(roc_auc_score(truth, same + different))
    assert recording_agreement(vectors, recordings, types) == pytest.approx(np.mean(areas))
    assert recording_agreement(vectors[:20], recordings[:20], types[:20]) is None


def test_centred_takes_the_mean_of_each_type_away(rng):
    vectors, types = rng.normal(size=(30, 4)) + 5, ["caw", "rattle", "caw"] * 10
    found = centred(vectors, types)
    for one in ("caw", "rattle"):
        own = np.array(types) == one
        np.testing.assert_allclose(found[own].mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(found[own] - found[own][0], vectors[own] - vectors[own][0])


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """Twelve recordings of three calls each before a quiet background, and their sample."""
    n_recordings, length = 12, 600
    level_db = np.where(np.arange(length) % 150 < 40, 20.0, 0.0)
    pictures = [tiny.codes(length, number) for number in range(n_recordings)]
    tape = tiny.tape(tmp_path_factory.mktemp("individuals"), pictures, [level_db] * n_recordings)
    recordings = [tiny.recording(n, length, n * length) for n in range(n_recordings)]
    events = [
        FrameInterval(recording=one, start_frame=start, stop_frame=start + 40)
        for one in recordings
        for start in (0, 150, 300)
    ]
    types = [number % 2 for number in range(len(events))]
    encoder = tiny.encoder()

    def draw(order=1, types=types):
        return draw_sample(
            tape,
            encoder,
            CONFIG,
            ActivityConfig(),
            events[::order],
            types[::order],
            recordings[::order],
        )

    return encoder, draw


def test_a_sample_holds_every_event_before_several_backgrounds(heard):
    _, draw = heard
    sample = draw()
    assert len(sample.clean) == len(sample.views) == len(sample.types) == 36
    assert len(sample.copies) == 36 * len(COPIES_SNR_DB)
    assert len(set(sample.recordings.tolist())) == 12
    # The louder the background, the farther is the copy.
    first, second, third = (
        np.mean(
            [
                np.abs(copy.log_mel - one.log_mel).mean()
                for one, copy in zip(sample.clean, sample.copies[number::3], strict=True)
            ]
        )
        for number in range(3)
    )
    assert first < second < third


def test_a_sample_does_not_depend_on_the_order_of_the_events(heard):
    _, draw = heard
    for one, other in zip(draw().views, draw(order=-1).views, strict=True):
        assert np.array_equal(one.log_mel, other.log_mel)


def test_without_shared_types_nothing_is_chosen_and_a_readout_is_made_all_the_same(heard):
    encoder, draw = heard
    sample = draw(types=[-1] * 36)
    readout = fit_individual(sample, encoder, CONFIG, "made from")
    assert {one.agreement for one in readout.candidates} == {None}
    assert readout.config.layers == readout.exchange.parts


def test_what_is_saved_is_loaded_and_reads_the_same(heard, tmp_path):
    encoder, draw = heard
    sample = draw()
    readout = fit_individual(sample, encoder, CONFIG, "made from")
    readout.save(tmp_path)
    found = IndividualReadout.load(tmp_path)
    assert (found.config, found.made_from, found.n_events) == (readout.config, "made from", 36)
    assert found.candidates == readout.candidates
    read = dict(
        ((one.parts, one.strength), vectors)
        for one, vectors in exchange_candidates(sample, encoder, readout, sample.clean)
    )
    chosen = read[readout.exchange.parts, readout.exchange.strength]
    assert len(read) == len(readout.candidates)
    features = np.zeros((1, len(readout.config.layers), 2, 33))
    assert np.array_equal(found.vectors(features), readout.vectors(features))
    assert chosen.shape == (36, found.exchange.scale.size)
    (tmp_path / INDIVIDUAL).write_bytes(b"no numbers")
    with pytest.raises(ValueError, match="damaged"):
        IndividualReadout.load(tmp_path)


def test_too_small_an_archive_says_what_is_missing(heard):
    encoder, _ = heard
    with pytest.raises(ValueError, match="too few events"):
        draw_sample(None, encoder, CONFIG, ActivityConfig(), [], [], [])
    assert replace(CONFIG, time_grids=4) == CONFIG
