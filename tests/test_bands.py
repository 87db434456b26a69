"""Bands above a recording's Nyquist frequency: whatever they hold, nothing changes."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from oscine.config import ActivityConfig, ReadoutConfig
from oscine.embedding.backgrounds import Change, background_excerpt, changed_excerpt, quiet_frames
from oscine.embedding.choice import choose_readout, other_background
from oscine.embedding.embed import (
    encoded_excerpts,
    patch_vectors,
    pooled_features,
    tape_excerpt,
)
from oscine.embedding.individual import draw_sample, fit_individual, individual_config
from oscine.embedding.intervals import FrameInterval
from oscine.embedding.readout import fit_readout
from oscine.evaluation.features import as_heard, individual_readers, kind_readers, read_all
from oscine.model.autoencoder import baseline_losses
from oscine.model.checkpoint import RunConfig
from oscine.model.patches import unpatchify
from oscine.picture.activity import n_level_groups
from oscine.training.batches import batch_loss, make_batch
from oscine.training.figures import draw_reconstruction
from oscine.training.windows import TRAIN, Windows, WindowSampler

PICTURE = replace(tiny.PICTURE, n_mels=64)  # four rows of patches
N_VALID = (64, 40, 33, 32, 31)
"""Bands of recordings 0, 1, ...: four, two, two, two rows and one are whole."""
ACTIVITY = ActivityConfig()
CONFIG = ReadoutConfig(layers=(0, 1), block_dimensions=8, dimensions=6, row_sharpness=1.5)
N_FRAMES = 400
CPU = torch.device("cpu")


def recordings():
    return [
        tiny.recording(number, N_FRAMES, number * N_FRAMES, n_valid_bands=n)
        for number, n in enumerate(N_VALID)
    ]


def make_tape(folder, garbage):
    """Write a tape whose invalid bands, and levels of these, are empty or full of garbage."""
    rng = np.random.default_rng(7)
    pictures, levels = [], []
    for number, n_valid in enumerate(N_VALID):
        picture = tiny.codes(N_FRAMES, number, PICTURE.n_mels)
        picture[:, n_valid:] = rng.integers(0, 256, (N_FRAMES, 64 - n_valid)) if garbage else 0
        pictures.append(picture)
        levels.append(np.abs(20 * np.sin(np.arange(N_FRAMES) / 7 + number)))
    return tiny.tape(folder, pictures, levels)


@pytest.fixture(scope="module")
def tapes(tmp_path_factory):
    return [make_tape(tmp_path_factory.mktemp("tape"), garbage) for garbage in (False, True)]


@pytest.fixture(scope="module")
def encoder():
    return tiny.encoder(picture=PICTURE)


def intervals():
    return [
        FrameInterval(recording=row, start_frame=start, stop_frame=start + length)
        for row in recordings()
        for start, length in ((20, 40), (90, 9), (200, 150), (385, 15))
    ]


def excerpts(tape, encoder, config=CONFIG):
    return [tape_excerpt(tape, one.recording, one.frames, encoder, config) for one in intervals()]


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30, -1e30, 5.0])
@pytest.mark.parametrize("target", ["damped", "raw"])
def test_loss_gradients_and_baselines_are_the_same_to_the_bit(garbage, target):
    training = replace(tiny.TRAINING, target=target)

    def learned(fill):
        rng = np.random.default_rng(3)
        log_mel = rng.normal(-10, 4, (len(N_VALID), 64, 64)).astype(np.float32)
        for picture, n_valid in zip(log_mel, N_VALID, strict=True):
            picture[:, n_valid:] = fill
        windows = Windows(
            log_mel=log_mel,
            n_frames=np.array([64, 64, 40, 24, 5]),
            n_bands=np.array(N_VALID),
            generators=tuple(np.random.default_rng([5, row]) for row in range(len(N_VALID))),
        )
        model = tiny.model(picture=PICTURE)
        batch = make_batch(windows, model, training, CPU)
        loss = batch_loss(model, batch, training)
        loss.backward()
        gradients = [weight.grad for weight in model.parameters()]
        guesses = baseline_losses(
            batch.patches, batch.values, batch.grid, batch.masks, training.target, 0.1
        )
        return loss, gradients, guesses

    loss, gradients, guesses = learned(0.0)
    other_loss, other_gradients, other_guesses = learned(garbage)
    assert torch.isfinite(loss)
    assert torch.equal(loss, other_loss)
    assert all(map(torch.equal, gradients, other_gradients))
    assert guesses == other_guesses


def test_no_token_and_no_target_has_an_invalid_band(tapes):
    rows = recordings()
    sampler = WindowSampler(tapes[1], rows, [], PICTURE, tiny.TRAINING)
    windows = sampler.draw(TRAIN, 0, 40)
    assert set(windows.n_bands) == set(N_VALID)
    batch = make_batch(windows, tiny.model(picture=PICTURE), tiny.TRAINING, CPU)
    sound = unpatchify(batch.values, batch.grid)
    for row, n_bands in enumerate(windows.n_bands):
        used = torch.cat([batch.masks.visible[row], batch.masks.hidden[row]])
        used = used[used >= 0]
        highest = (used % batch.grid.n_mel + 1) * batch.grid.patch_bands
        assert highest.max() == n_bands // 16 * 16
        assert not sound[row, :, n_bands // 16 * 16 :].any()


def test_windows_and_statistics_are_those_of_valid_bands(tapes, tmp_path):
    samplers = [WindowSampler(tape, recordings(), [], PICTURE, tiny.TRAINING) for tape in tapes]
    assert samplers[0].statistics(128) == samplers[1].statistics(128)
    run = RunConfig(picture=PICTURE, model=tiny.MODEL, training=tiny.TRAINING)
    drawings = []
    for number, sampler in enumerate(samplers):
        model = tiny.model(picture=PICTURE)
        batch = make_batch(sampler.draw(TRAIN, 0, 8), model, tiny.TRAINING, CPU)
        draw_reconstruction(tmp_path / f"{number}.png", model, batch, run)
        drawings.append((tmp_path / f"{number}.png").read_bytes())
    assert drawings[0] == drawings[1]


def test_pooled_features_and_patches_are_the_same_to_the_bit(tapes, encoder):
    clean, full = (excerpts(tape, encoder) for tape in tapes)
    features = pooled_features(encoder, clean, CONFIG)
    np.testing.assert_array_equal(features, pooled_features(encoder, full, CONFIG))
    for one, other, found in zip(clean, full, features, strict=True):
        # Values of rows that are not whole are no numbers; of the others all are.
        is_known = np.isfinite(found[..., :-1]).all(axis=(0, 2))
        assert is_known.tolist() == [row < one.n_bands // 16 for row in range(4)]
        for mine, others in zip(
            patch_vectors(encoder, one, 1, 1.5), patch_vectors(encoder, other, 1, 1.5), strict=True
        ):
            np.testing.assert_array_equal(mine, others)


def test_levels_of_rows_that_are_not_whole_have_no_say(tapes, encoder):
    row = recordings()[2]  # 33 bands: one alone of the third row
    levels = np.full((N_FRAMES, n_level_groups(PICTURE)), 3.0, np.float32)
    levels[:, 4:] = 40 * np.random.default_rng(0).random((N_FRAMES, 4))
    quiet = tape_excerpt(tapes[0], row, (20, 60), encoder, CONFIG)

    class Levels:
        log_mel = tapes[0].log_mel

        def level_db(self, start, stop):
            return levels[: stop - start]

    one = tape_excerpt(Levels(), row, (20, 60), encoder, CONFIG)
    assert np.ptp(quiet.weights[quiet.weights > 0]) > 0
    assert np.ptp(one.weights[one.weights > 0]) == 0
    assert one.below[:2].tolist() == [0, 0]


def test_whole_pictures_of_a_recording_with_fewer_bands(encoder):
    picture = torch.randn(1, 48, 64, generator=torch.Generator().manual_seed(0))
    features = encoder.layers(picture, [1], n_bands=40)
    assert features.shape[2] == 3 * 2
    picture[..., 40:] = torch.nan
    assert torch.equal(encoder.layers(picture, [1], n_bands=40), features)


def test_other_backgrounds_are_the_same_to_the_bit(tapes, encoder):
    rows = recordings()
    found = []
    for tape in tapes:
        quiet = [quiet_frames(tape, row, PICTURE) for row in rows]
        assert all(quiet)
        heard = [
            changed_excerpt(
                tape,
                row,
                (100, 150),
                encoder,
                CONFIG,
                ACTIVITY,
                Change(noise=noise, snr_db=3.0, without=own),
            )
            for row, own in zip(rows, quiet, strict=True)
            for noise in quiet
            if noise is not own
        ]
        alone = [background_excerpt(one, 3, 40, encoder, CONFIG) for one in quiet]
        found.append(pooled_features(encoder, [*heard, *alone], CONFIG))
    np.testing.assert_array_equal(found[0], found[1])


def test_a_sound_before_a_background_with_fewer_bands_has_no_more_than_that(tapes, encoder):
    rows = recordings()
    noise = quiet_frames(tapes[1], rows[1], PICTURE)
    change = Change(noise=noise, snr_db=3.0)
    one = changed_excerpt(tapes[1], rows[0], (100, 150), encoder, CONFIG, ACTIVITY, change)
    assert one.n_bands == 40
    # Where there is a background with all bands, that is taken.
    wide = quiet_frames(tapes[1], replace(rows[1], n_valid_bands=64), PICTURE)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert other_background(rows[0], [noise, wide], rng)[0] is wide
        assert other_background(rows[0], [noise], rng)[0] is noise


def test_every_kind_of_vector_is_the_same_to_the_bit(tapes, encoder):
    settled = replace(CONFIG, shrinkage=3.0)
    found = []
    for tape in tapes:
        heard = as_heard(excerpts(tape, encoder, settled))
        features = encoded_excerpts(encoder, heard.excerpts, settled)
        readout = fit_readout(lambda a, b: features[a:b], len(features), settled, "")  # noqa: B023
        found.append(read_all(kind_readers(heard, encoder, readout), heard))
    for kind, vectors in found[0].items():
        assert np.isfinite(vectors).all(), kind
        np.testing.assert_array_equal(vectors, found[1][kind], err_msg=kind)


@pytest.mark.parametrize("rows", [slice(0, None), slice(1, None)], ids=["mixed", "all without"])
def test_vectors_of_individuals_are_the_same_to_the_bit(tapes, encoder, rows):
    chosen = recordings()[rows]
    events = [one for one in intervals() if one.recording in chosen]
    config = individual_config(CONFIG)
    found = []
    for tape in tapes:
        sample = draw_sample(tape, encoder, config, ACTIVITY, events, [0] * len(events), chosen)
        readout = fit_individual(sample, encoder, config, "")
        heard = as_heard(sample.clean)
        found.append(read_all(individual_readers(sample, encoder, readout), heard))
    for kind, vectors in found[0].items():
        assert np.isfinite(vectors).all(), kind
        np.testing.assert_array_equal(vectors, found[1][kind], err_msg=kind)


def test_the_choice_of_a_readout_is_the_same(tapes, encoder):
    open_config = ReadoutConfig(block_dimensions=8)
    events = [
        FrameInterval(recording=row, start_frame=start, stop_frame=start + 30)
        for row in recordings()
        for start in range(0, 360, 40)
    ]
    first, second = (
        choose_readout(tape, encoder, open_config, ACTIVITY, events, events, recordings())
        for tape in tapes
    )
    assert first == second


def test_rows_that_no_fitted_recording_had_count_as_average_in_later_ones(rng):
    fitted = rng.normal(size=(50, 1, 2, 7))
    fitted[:, :, 1] = np.nan
    config = replace(CONFIG, layers=(1,), dimensions=12, shrinkage=0.3, row_sharpness=0.0)
    readout = fit_readout(lambda a, b: fitted[a:b], 50, config, "")
    later = rng.normal(size=(5, 1, 2, 7))
    without = later.copy()
    without[:, :, 1] = np.nan
    np.testing.assert_array_equal(readout.vectors(later), readout.vectors(without))
