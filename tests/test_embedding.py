"""From intervals of the tape to vectors of unit length, and the files they lie in."""

import math
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from oscine.config import ActivityConfig, ReadoutConfig
from oscine.embedding.backgrounds import (
    Change,
    QuietFrames,
    background_excerpt,
    changed_excerpt,
    quiet_frames,
)
from oscine.embedding.choice import candidates, consistency, fit_family, layer_sets
from oscine.embedding.embed import (
    Excerpt,
    excerpt,
    patch_columns,
    patch_grids,
    patch_vectors,
    pooled_features,
    tape_excerpt,
)
from oscine.embedding.readout import READOUT, Readout, fit_readout
from oscine.embedding.vectors import PORTION, embed_archive
from oscine.model.geometry import unit_rows
from oscine.model.patches import patchify
from oscine.picture.activity import DB_PER_NAT
from oscine.picture.tape import TAPE_LOW, decoded
from oscine.workspace import Catalogue
from oscine.workspace.catalogue import WindowRow

CONFIG = ReadoutConfig(
    layers=(0, 1), block_dimensions=8, dimensions=10, row_sharpness=1.5, shrinkage=10.0
)
PATCH = tiny.MODEL.patch_frames

# Which patches belong to an interval


@st.composite
def intervals(draw):
    """Return start and stop of an interval, frames of the recording, and of a patch."""
    n_frames = draw(st.integers(1, 300))
    start = draw(st.integers(0, n_frames - 1))
    return start, draw(st.integers(start + 1, n_frames)), n_frames, draw(st.sampled_from([8, 16]))


def shared_frames(one, other):
    return min(one[1], other[1]) - max(one[0], other[0])


@given(intervals())
def test_patch_columns_are_whole_and_lie_within_the_recording(case):
    start, stop, n_frames, patch = case
    first, last = patch_columns(*case)
    assert last > first
    assert (last - first) % patch == 0
    assert first >= 0
    assert last <= n_frames or (first, last) == (0, patch)
    assert shared_frames((first, last), (start, stop)) > 0


@given(intervals())
def test_a_patch_column_belongs_to_an_interval_when_half_of_it_lies_inside(case):
    start, stop, n_frames, patch = case
    first, last = patch_columns(*case)
    columns = [(at, at + patch) for at in range(first, last, patch)]
    if last <= n_frames and stop - start >= patch / 2:
        assert all(shared_frames(column, (start, stop)) >= patch / 2 for column in columns)
    # As many as come nearest to the length: one more, or one less, would be farther from it.
    longest = n_frames // patch * patch
    assert len(columns) == 1 or abs(last - first - min(stop - start, longest)) <= patch / 2


@given(intervals())
def test_patch_columns_are_centred_where_there_is_room(case):
    start, stop, n_frames, _ = case
    first, last = patch_columns(*case)
    if first > 0 and last < n_frames:
        assert abs((first + last) - (start + stop)) <= 1


@given(intervals(), st.sampled_from([2, 4, 8]))
def test_columns_lie_in_the_interval_and_are_those_around_it_where_it_is_too_short(case, n_grids):
    start, stop, _, patch = case
    grids = patch_grids(*case, n_grids)
    possible = [begin for begin in range(start, stop) if begin + patch <= stop]
    if not possible:
        assert grids == [patch_columns(*case)]
        return
    assert len(grids) <= n_grids
    columns = sorted(at for begin, end in grids for at in range(begin, end, patch))
    assert all((end - begin) % patch == 0 for begin, end in grids)
    assert set(columns) <= set(possible)
    # One follows the other by a part of a patch, and as many are left out before as after.
    assert set(np.diff(columns)) <= {patch // n_grids}
    before, after = columns[0] - possible[0], possible[-1] - columns[-1]
    assert before <= after <= before + 1
    assert before + after < patch // n_grids


def test_one_grid_is_that_of_the_columns_nearest_in_length():
    assert patch_grids(90, 125, 1000, 16, 1) == [patch_columns(90, 125, 1000, 16)] == [(92, 124)]
    with pytest.raises(ValueError, match="time_grids=3 does not part the 16 frames"):
        patch_grids(90, 125, 1000, 16, 3)


# Excerpts


def test_frames_outside_the_interval_and_near_the_background_do_not_count():
    encoder = tiny.encoder()
    log_mel = decoded(tiny.codes(40, 0))
    level_db = np.linspace(0, 39, 40, dtype=np.float32)[:, None] * [0.25, 0.5, 0, 1]  # (T, G)
    grids = [(100, 148), (108, 124)]
    cut = excerpt(log_mel, level_db, (105, 130), grids, 32, encoder, CONFIG)
    inside = np.arange(5, 30)
    assert cut.log_mel.shape == (48, 32)
    assert cut.grids == ((0, 48), (8, 24))
    assert np.array_equal(cut.log_mel[:40], log_mel)
    assert np.all(cut.log_mel[40:] == np.float32(TAPE_LOW))
    assert np.flatnonzero(cut.weights).tolist() == inside.tolist()
    deviation_db = float(encoder.log_mel_std) * DB_PER_NAT
    expected = np.exp(CONFIG.activity_sharpness * (inside - 29) / deviation_db)
    assert cut.weights[inside] == pytest.approx(expected)
    # The lower row of patches rises half as high as the upper one, where the liveliest bands are.
    level = np.average(inside, weights=expected)
    assert cut.below == pytest.approx([0.5 * level / deviation_db, 0])


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    """Two recordings of 1000 and 20 frames, with levels that go up and down."""
    levels = [20 + 20 * np.sin(np.arange(n) / 7) for n in (1000, 20)]
    pictures = [tiny.codes(1000, 0), tiny.codes(20, 1)]
    return tiny.tape(tmp_path_factory.mktemp("tape"), pictures, levels)


LONG = tiny.recording(0, 1000)
SHORT = tiny.recording(1, 20, 1000)
NARROW = tiny.recording(2, 1000, 0, n_valid_bands=20)  # the upper row of patches is not valid


def cut(tape, recording, interval, encoder, config=CONFIG):
    return tape_excerpt(tape, recording, interval, encoder, config)


def test_an_excerpt_of_the_tape_holds_the_columns_of_its_interval(tape):
    encoder = tiny.encoder()
    one = cut(tape, LONG, (90, 125), encoder)
    assert one.grids == ((1, 33), (9, 25))
    assert np.array_equal(one.log_mel, tape.log_mel(90, 125))
    short = cut(tape, SHORT, (0, 20), encoder)
    assert short.grids == ((2, 18),)
    assert np.array_equal(short.log_mel, tape.log_mel(1000, 1020))
    shorter = cut(tape, replace(SHORT, n_frames=9), (0, 9), encoder)
    assert np.array_equal(shorter.log_mel[:9], tape.log_mel(1000, 1009))
    assert np.all(shorter.log_mel[9:] == np.float32(TAPE_LOW))
    assert np.flatnonzero(shorter.weights).tolist() == list(range(9))


# Features


def pooled_by_hand(encoder, one, config, piece_frames):
    """Pool patch by patch, grid by grid: each weighs as much as the frames of its column."""
    n_rows = one.n_bands // 16  # that are wholly valid
    found = np.full((len(config.layers), encoder.grid(1).n_mel, 2 * encoder.config.width), np.nan)
    seen = {}
    for first, last in one.grids:
        for start in range(first, last, piece_frames):
            picture = torch.from_numpy(one.log_mel[start : min(last, start + piece_frames)])[None]
            grid = encoder.grid(picture.shape[1])
            numbers = [t * grid.n_mel + m for t in range(grid.n_time) for m in range(n_rows)]
            patches = patchify(encoder.standardised(picture, grid), grid)
            layers = encoder(patches, grid, torch.tensor([numbers]), config.layers)[:, 0].numpy()
            for at, number in enumerate(numbers):
                column, row = divmod(number, grid.n_mel)
                frames = slice(start + column * PATCH, start + (column + 1) * PATCH)
                weight = one.weights[frames].sum()
                for layer in range(len(config.layers)):
                    patch = layers[layer, at].astype(np.float64)
                    seen.setdefault((layer, row), []).append((weight, patch))
    for (layer, row), patches in seen.items():
        weights = np.array([weight for weight, _ in patches])
        values = np.array([patch for _, patch in patches])
        mean = np.average(values, axis=0, weights=weights)
        variance = np.average((values - mean) ** 2, axis=0, weights=weights)
        found[layer, row] = np.concatenate([mean, np.sqrt(variance)])
    return found


@pytest.mark.parametrize(
    ("recording", "interval"),
    [
        (LONG, (90, 125)),
        (LONG, (333, 337)),  # shorter than a patch
        (SHORT, (0, 20)),
        (NARROW, (90, 125)),
        (LONG, (100, 300)),  # longer than a window: in pieces
        (NARROW, (0, 1000)),
    ],
)
def test_features_are_pooled_over_patches_by_the_weight_of_their_frames(tape, recording, interval):
    encoder = tiny.encoder()
    one = cut(tape, recording, interval, encoder)
    (features,) = pooled_features(encoder, [one], CONFIG)
    expected = pooled_by_hand(encoder, one, CONFIG, tiny.PICTURE.window_frames)
    assert features.dtype == np.float32
    assert features.shape == (2, 2, 33)
    assert np.isnan(features[:, 1, :-1]).all() == (recording is NARROW)
    np.testing.assert_allclose(features[..., :-1], expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(features[..., -1], np.tile(one.below.astype(np.float32), (2, 1)))


def test_one_column_has_no_deviation(tape):
    config = replace(CONFIG, time_grids=1)
    one = cut(tape, LONG, (333, 337), tiny.encoder(), config)
    (features,) = pooled_features(tiny.encoder(), [one], config)
    assert np.abs(features[..., tiny.MODEL.width : -1]).max() < 1e-6


def test_more_time_grids_make_a_sound_depend_less_on_where_the_first_one_cuts_it(tmp_path):
    encoder = tiny.encoder()
    tape = tiny.tape(tmp_path, [tiny.codes(1000, 3)])
    turn = {}
    for n_grids in (1, 2, 4):
        config = replace(CONFIG, time_grids=n_grids)
        pooled = [
            pooled_features(
                encoder, [cut(tape, LONG, (100 + moved, 228 + moved), encoder, config)], config
            )[0, :, :, : tiny.MODEL.width]
            for moved in (0, 4, 8)
        ]
        turn[n_grids] = np.mean([np.abs(other - pooled[0]).mean() for other in pooled[1:]])
    assert turn[1] > turn[2] > turn[4]


@pytest.mark.parametrize("recording", [LONG, NARROW])
def test_unpooled_patches_are_those_that_are_pooled(tape, recording):
    encoder, config = tiny.encoder(), replace(CONFIG, time_grids=1, layers=(1,))
    one = cut(tape, recording, (100, 300), encoder, config)
    patches, weights = patch_vectors(encoder, one, 1, 0.0)
    n_rows = 1 if recording is NARROW else 2
    assert patches.shape == (len(one.log_mel) // PATCH * n_rows, tiny.MODEL.width)
    (features,) = pooled_features(encoder, [one], config)
    for row in range(n_rows):
        mean = np.average(patches[row::n_rows], axis=0, weights=weights[row::n_rows])
        np.testing.assert_allclose(mean, features[0, row, : tiny.MODEL.width], atol=1e-4)
    _, quieter = patch_vectors(encoder, replace(one, below=np.array([1.0, 0.0])), 1, 2.0)
    np.testing.assert_allclose(quieter[::n_rows], weights[::n_rows] * np.exp(-2))


def test_windows_need_not_be_whole_patches(tape):
    # 40 frames hold two patches and a half: pieces are cut between patches all the same.
    encoder = tiny.encoder(picture=replace(tiny.PICTURE, window_frames=40))
    one = cut(tape, LONG, (100, 300), encoder)
    (features,) = pooled_features(encoder, [one], CONFIG)
    expected = pooled_by_hand(encoder, one, CONFIG, 32)
    np.testing.assert_allclose(features[..., :-1], expected, rtol=1e-4, atol=1e-5)


def test_a_piece_whose_frames_count_for_nothing_hides_no_other():
    encoder = tiny.encoder()
    weights = np.zeros(128)
    weights[100:110] = 1
    log_mel = decoded(tiny.codes(128, 3))
    grids = ((0, 128), (8, 120))
    one = Excerpt(log_mel=log_mel, weights=weights, grids=grids, below=np.zeros(2), n_bands=32)
    (features,) = pooled_features(encoder, [one], CONFIG)
    expected = pooled_by_hand(encoder, one, CONFIG, 64)
    np.testing.assert_allclose(features[..., :-1], expected, atol=1e-5)


def cosines(one, other):
    return np.sum(one.astype(np.float64) * other, axis=-1)


@pytest.fixture(scope="module")
def many(tape):
    """A hundred intervals of all lengths."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 700, 98)
    stops = starts + rng.integers(1, 250, 98)
    encoder = tiny.encoder()
    found = [cut(tape, LONG, pair, encoder) for pair in zip(starts, stops, strict=True)]
    return [*found, cut(tape, SHORT, (3, 17), encoder), cut(tape, NARROW, (5, 90), encoder)]


def rows_of(features):
    return lambda start, stop: features[start:stop]


def test_a_vector_does_not_depend_on_what_else_is_in_the_batch(many):
    encoder = tiny.encoder()
    together = pooled_features(encoder, many, CONFIG)
    alone = np.concatenate([pooled_features(encoder, [one], CONFIG) for one in many])
    few = pooled_features(encoder, many[::-1][:7], CONFIG)
    readout = fit_readout(rows_of(together), len(many), CONFIG, "weights")
    vectors = readout.vectors(together)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert cosines(vectors, readout.vectors(alone)).min() >= 1 - 1e-5
    assert cosines(vectors[::-1][:7], readout.vectors(few)).min() >= 1 - 1e-5


def test_nothing_outside_its_columns_reaches_an_event(tmp_path):
    picture, interval = tiny.codes(200, 0), (90, 125)
    grids = patch_grids(*interval, 200, PATCH, CONFIG.time_grids)
    first, last = min(one for one, _ in grids), max(one for _, one in grids)
    elsewhere = np.random.default_rng(0).integers(0, 256, picture.shape)
    outside = np.ones(200, bool)
    outside[first:last] = False
    other = np.where(outside[:, None], elsewhere, picture)
    encoder, recording = tiny.encoder(), tiny.recording(0, 200)
    one, same = (
        pooled_features(
            encoder,
            [cut(tiny.tape(tmp_path / name, [codes]), recording, interval, encoder)],
            CONFIG,
        )
        for name, codes in (("one", picture), ("other", other))
    )
    assert np.array_equal(one, same)
    touched = picture.copy()
    touched[first] = 255 - touched[first]
    changed = cut(tiny.tape(tmp_path / "touched", [touched]), recording, interval, encoder)
    assert not np.array_equal(one, pooled_features(encoder, [changed], CONFIG))


# The readout


def random_features(rng, n=300, layers=1, rows=2, values=6):
    """Return features [shape=(n, L, M, V + 1)] whose values hang together and differ in scale.

    All rows are as lively as the liveliest.
    """
    shape = (layers, rows, values)
    mix = rng.normal(size=(math.prod(shape), math.prod(shape)))
    flat = rng.normal(size=(n, math.prod(shape))) @ mix
    scale = rng.uniform(0.1, 10, math.prod(shape))
    features = (flat * scale + rng.normal(size=scale.shape)).reshape(n, *shape)
    return np.concatenate([features, np.zeros((*features.shape[:3], 1))], -1).astype(np.float32)


def fit(features, **changes):
    layers = tuple(range(features.shape[1]))
    config = replace(CONFIG, layers=layers, block_dimensions=100, dimensions=100)
    config = replace(config, **changes)
    return fit_readout(rows_of(features), len(features), config, "weights")


def before_unit_length(readout, features):
    """Return what the readout's own arrays make of features, by their documentation."""
    n, layers, rows, values = features.shape
    flat = features.reshape(n, layers * rows, values)
    z = (flat[..., :-1] - readout.mean) / readout.scale
    z *= np.exp(-readout.config.row_sharpness * flat[..., -1:])
    z = np.where(np.isfinite(z), z, 0)
    reduced = np.concatenate([z[:, c] @ readout.blocks[c] for c in range(z.shape[1])], axis=1)
    return reduced @ readout.joint


def test_without_shrinkage_what_it_was_fitted_on_is_white(rng):
    features = random_features(rng)
    readout = fit(features, shrinkage=0.0)
    assert readout.dimensions == 12
    assert readout.variance_share == pytest.approx(1)
    white = before_unit_length(readout, features)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(12), atol=1e-5)
    unit = white / np.linalg.norm(white, axis=1, keepdims=True)
    np.testing.assert_allclose(readout.vectors(features), unit, atol=1e-6)


@pytest.mark.parametrize("dimensions", [3, 12])
def test_a_single_block_is_the_pca_of_scikit_learn(rng, dimensions):
    features = random_features(rng, rows=1, values=12)
    vectors = fit(features, shrinkage=0.0, dimensions=dimensions).vectors(features)
    flat = features[..., :-1].reshape(len(features), -1).astype(np.float64)
    z = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    expected = PCA(dimensions, whiten=True).fit_transform(z)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    signs = np.sign(np.sum(vectors * expected, axis=0))
    np.testing.assert_allclose(vectors, expected * signs, atol=1e-4)


def test_shrinkage_keeps_the_small_components_small(rng):
    features = random_features(rng)
    spreads = [
        before_unit_length(fit(features, shrinkage=shrinkage), features).std(axis=0)
        for shrinkage in (0.0, 0.3, 3.0)
    ]
    assert spreads[0] == pytest.approx(1, abs=1e-4)
    for spread in spreads[1:]:
        assert np.all(np.diff(spread) <= 1e-9)  # columns by falling variance
    eigenvalues = (spreads[1] ** 2 / (1 - spreads[1] ** 2)) * 0.3  # v / (v + 0.3 m) = spread^2
    assert eigenvalues.mean() == pytest.approx(1, rel=1e-4)  # in units of m, the mean


def test_the_components_that_are_kept_hold_the_share_of_variance_it_says(rng):
    features = random_features(rng)
    white = before_unit_length(fit(features, shrinkage=0.0), features)
    full, part = fit(features, shrinkage=0.0), fit(features, shrinkage=0.0, dimensions=4)
    variances = 1 / np.linalg.norm(full.joint, axis=0) ** 2
    assert part.variance_share == pytest.approx(variances[:4].sum() / variances.sum(), rel=1e-6)
    np.testing.assert_allclose(before_unit_length(part, features), white[:, :4], atol=1e-6)


def test_rows_above_the_nyquist_frequency_count_as_average(rng):
    features = random_features(rng, rows=3)
    missing = features.copy()
    missing[::3, :, 2, :-1] = np.nan
    readout = fit(missing)
    assert np.isfinite(readout.joint).all()
    known = np.isfinite(missing[:, 0, 2, 0])
    np.testing.assert_allclose(readout.mean[2], features[known, 0, 2, :-1].mean(axis=0), rtol=1e-5)
    average = np.concatenate([readout.mean, np.zeros((3, 1))], axis=1)
    filled = np.where(np.isnan(missing), average, missing)
    np.testing.assert_allclose(readout.vectors(missing), readout.vectors(filled), atol=1e-6)
    # A row that no recording has says nothing, and breaks nothing.
    missing[:, :, 2, :-1] = np.nan
    vectors = fit(missing).vectors(missing)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)


def test_the_quieter_a_row_the_less_it_counts(rng):
    features = random_features(rng, rows=3)
    features[:, :, 1, -1] = rng.uniform(0, 2, (300, 1))
    readout = fit(features, row_sharpness=2.0)
    expected = before_unit_length(readout, features)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(readout.vectors(features), expected, atol=1e-6)
    # A row far below the liveliest one says nothing at all; where it is as lively, it does.
    other = features.copy()
    other[:, :, 1, :-1] += rng.normal(0, 1, (300, 1, 6)).astype(np.float32)
    assert cosines(readout.vectors(features), readout.vectors(other)).min() < 0.999
    features[:, :, 1, -1] = other[:, :, 1, -1] = 20
    np.testing.assert_allclose(readout.vectors(features), readout.vectors(other), atol=1e-7)


def test_a_large_fit_reads_a_portion_at_a_time(rng):
    features = random_features(rng, n=2500)
    asked = []

    def rows(start, stop):
        asked.append(stop - start)
        return features[start:stop]

    whole = fit_readout(rows, len(features), replace(CONFIG, layers=(0,), dimensions=5), "weights")
    assert max(asked) <= 1024
    reference = before_unit_length(whole, features)
    flat = features[..., :-1].reshape(2500, 2, 6).astype(np.float64)
    np.testing.assert_allclose(whole.mean, flat.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(whole.scale, flat.std(axis=0) + 1e-6, rtol=1e-6)
    assert reference.shape == (2500, 5)


def test_a_readout_needs_two_rows(rng):
    with pytest.raises(ValueError, match="at least two events or windows, not 1"):
        fit(random_features(rng)[:1])
    assert fit(random_features(rng)[:2]).dimensions == 1


def test_what_is_saved_is_loaded_bit_for_bit(rng, tmp_path):
    features = random_features(rng)
    saved = fit(features, layers=(2, -1), dimensions=7)
    saved.save(tmp_path)
    loaded = Readout.load(tmp_path)
    assert (loaded.config, loaded.encoder) == (saved.config, "weights")
    for name in ("mean", "scale", "blocks", "joint", "variance_share"):
        assert np.array_equal(getattr(loaded, name), getattr(saved, name))
    assert np.array_equal(loaded.vectors(features), saved.vectors(features))
    before = (tmp_path / READOUT).read_bytes()
    loaded.save(tmp_path)
    assert (tmp_path / READOUT).read_bytes() == before


@pytest.mark.parametrize("n_bytes", [0, 4, 300, -1])
def test_a_damaged_readout_is_named_with_the_way_out(rng, tmp_path, n_bytes):
    fit(random_features(rng)).save(tmp_path)
    file = tmp_path / READOUT
    file.write_bytes(file.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=r"readout.safetensors is damaged .*--refit"):
        Readout.load(tmp_path)


def test_a_readout_of_settings_that_are_no_more_counts_as_damaged(rng, tmp_path):
    fit(random_features(rng)).save(tmp_path)
    file = tmp_path / READOUT
    text = file.read_bytes()
    assert text.count(b"max_fit") == 1
    file.write_bytes(text.replace(b"max_fit", b"max_fat"))
    with pytest.raises(ValueError, match=r"damaged .*max_fat.*--refit"):
        Readout.load(tmp_path)


def test_a_missing_readout_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `oscine embed`"):
        Readout.load(tmp_path)


# Whole archives


class Archive:
    """A tape with its catalogue, and where its vectors go."""

    def __init__(self, folder, *, order=(0, 1), n_events=PORTION + 90):
        lengths = {0: 900, 1: 700}
        pictures = [tiny.codes(lengths[number], number) for number in order]
        levels = [20 + 20 * np.sin(np.arange(len(picture)) / 7) for picture in pictures]
        self.tape = tiny.tape(folder / "tape", pictures, levels)
        self.catalogue = Catalogue(folder / "catalogue.sqlite")
        self.folder = folder / "vectors"
        ids, rows, at = {}, [], 0
        for place, number in enumerate(order):
            ids[number] = place + 1
            row = tiny.recording(number, lengths[number], at, path=f"{place}.wav")
            rows.append(replace(row, recording_id=place + 1))
            at += lengths[number]
        rng = np.random.default_rng(1)
        found = []
        for _ in range(n_events):
            number = int(rng.integers(2))
            start = int(rng.integers(lengths[number] - 40))
            found.append((ids[number], start, start + int(rng.integers(4, 40))))
        found = sorted(set(found))
        events = [tiny.event(place, *one) for place, one in enumerate(found)]
        places = [(ids[number], start) for number in (0, 1) for start in range(0, 320, 64)]
        windows = [
            WindowRow(
                window_id=place + 1, recording_id=of, start_frame=start, stop_frame=start + 64
            )
            for place, (of, start) in enumerate(sorted(places))
        ]
        self.catalogue.add(rows, events, windows)

    def embed(self, *, archive="archive", weights="weights", config=CONFIG, seed=0, **options):
        return embed_archive(
            self.catalogue,
            self.folder,
            self.tape,
            tiny.encoder(seed),
            config,
            ActivityConfig(),
            archive=archive,
            weights=weights,
            **options,
        )

    def vectors(self, name="events"):
        shape = (-1, Readout.load(self.folder).dimensions)
        return np.fromfile(self.folder / name / "00000.bin", np.float32).reshape(shape)

    def bytes(self):
        files = (self.folder / READOUT, *sorted(self.folder.glob("*/*.bin")))
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}

    def by_content(self):
        """Return the vectors by what they are of."""
        contents = {row.recording_id: row.content_key for row in self.catalogue.recordings()}
        return {
            (contents[event.recording_id], event.start_frame, event.stop_frame): vector
            for event, vector in zip(self.catalogue.events(), self.vectors(), strict=True)
        }


@pytest.fixture
def make(tmp_path):
    """Make archives in folders of their own, and close them again."""
    made = []

    def make(name="archive", **options):
        made.append(Archive(tmp_path / name, **options))
        return made[-1]

    (tmp_path / "archive").mkdir()
    (tmp_path / "other").mkdir()
    yield make
    for one in made:
        one.catalogue.close()


def test_every_event_and_window_has_a_vector(make):
    archive = make()
    told = []
    done = archive.embed(progress=lambda *what: told.append(what))
    n_events, n_windows = len(archive.catalogue.events()), len(archive.catalogue.windows())
    assert n_events > PORTION
    assert (done.n_events, done.n_windows, done.dimensions) == (n_events, n_windows, 10)
    assert (done.n_fitted, done.refitted) == (n_events + n_windows, True)
    assert told[-1] == (2 * (n_events + n_windows), 2 * (n_events + n_windows))
    assert [done for done, _ in told] == sorted(done for done, _ in told)

    recordings = {row.recording_id: row for row in archive.catalogue.recordings()}
    readout = Readout.load(archive.folder)
    for name, rows in (
        ("events", archive.catalogue.events()),
        ("windows", archive.catalogue.windows()),
    ):
        excerpts = [
            cut(
                archive.tape,
                recordings[row.recording_id],
                (row.start_frame, row.stop_frame),
                tiny.encoder(),
            )
            for row in rows
        ]
        expected = readout.vectors(pooled_features(tiny.encoder(), excerpts, CONFIG))
        assert cosines(archive.vectors(name), expected).min() >= 1 - 1e-5
    assert not (archive.folder / "features").exists()


def test_embedding_again_does_nothing(make):
    archive = make()
    first = archive.embed()
    before = archive.bytes()

    def fail(done, total):
        raise AssertionError("there is nothing to do")

    assert archive.embed(progress=fail) == replace(first, refitted=False)
    assert archive.bytes() == before


@pytest.mark.parametrize("stopped_at", range(1, 6))
def test_a_stopped_embedding_ends_as_if_it_had_not_been_stopped(make, stopped_at):
    calls = []

    def stop(done, total):
        calls.append(done)
        if len(calls) == stopped_at:
            raise KeyboardInterrupt

    stopped, whole = make(), make("other")
    with pytest.raises(KeyboardInterrupt):
        stopped.embed(progress=stop)
    stage = stopped.catalogue.stage("embed")
    assert stage is not None
    assert not stage.finished
    done = stopped.embed()
    assert done == whole.embed()
    assert stopped.bytes() == whole.bytes()


def test_a_larger_archive_is_read_with_the_readout_that_is_there(make):
    archive = make(n_events=50)
    archive.embed()
    readout, old = (archive.folder / READOUT).read_bytes(), archive.by_content()
    rows = archive.catalogue.events()
    archive.catalogue.add([], [tiny.event(len(rows), 1, 500, 520)], [])
    done = archive.embed(archive="larger")
    assert (done.refitted, done.n_events) == (False, len(rows) + 1)
    assert (archive.folder / READOUT).read_bytes() == readout
    new = archive.by_content()
    assert all(cosines(new[key], vector) >= 1 - 1e-5 for key, vector in old.items())
    assert np.linalg.norm(new["content-000:-1", 500, 520]) == pytest.approx(1, abs=1e-6)


def test_a_readout_of_other_weights_or_settings_is_not_kept(make):
    archive = make(n_events=50)
    archive.embed()
    first = archive.vectors()
    other = archive.embed(weights="others", seed=1)
    assert other.refitted
    assert Readout.load(archive.folder).encoder == "others"
    assert not np.allclose(archive.vectors(), first, atol=0.1)
    back = archive.embed()
    assert back.refitted
    assert np.array_equal(archive.vectors(), first)
    fewer = archive.embed(config=replace(CONFIG, dimensions=4))
    assert (fewer.refitted, fewer.dimensions) == (True, 4)


def test_a_readout_is_fitted_again_when_asked(make):
    archive = make(n_events=50)
    archive.embed()
    before = archive.bytes()
    rows = archive.catalogue.events()
    archive.catalogue.add([], [tiny.event(len(rows), 1, 500, 520)], [])
    assert archive.embed(archive="larger", refit=True).refitted
    assert archive.bytes()[READOUT] != before[READOUT]


def test_a_damaged_readout_can_be_fitted_again(make):
    archive = make(n_events=50)
    archive.embed()
    before = archive.bytes()
    (archive.folder / READOUT).write_bytes(b"")
    with pytest.raises(ValueError, match="--refit"):
        archive.embed(archive="larger")
    archive.embed(refit=True)
    assert archive.bytes() == before


def test_a_large_archive_is_fitted_on_a_sample(make):
    archive = make(n_events=200)
    done = archive.embed(config=replace(CONFIG, max_fit=40))
    assert done.n_fitted == 40
    for name in ("events", "windows"):
        assert np.linalg.norm(archive.vectors(name), axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("max_fit", [40, 20_000])
def test_neither_order_nor_names_of_recordings_matter(make, max_fit):
    config = replace(CONFIG, max_fit=max_fit)
    one, other = make(n_events=200), make("other", n_events=200, order=(1, 0))
    one.embed(config=config)
    other.embed(config=config)
    vectors, same = one.by_content(), other.by_content()
    shared = vectors.keys() & same.keys()
    assert len(shared) == len(vectors)
    assert min(cosines(vectors[key], same[key]) for key in shared) >= 1 - 1e-5


def test_a_missing_layer_is_named(make):
    with pytest.raises(ValueError, match="no layer 5: the encoder has layers 0 to 1"):
        make(n_events=5).embed(config=replace(CONFIG, layers=(1, 5)))


# Other backgrounds


def noisy(tape, change, interval=(400, 450), recording=LONG):
    return changed_excerpt(
        tape, recording, interval, tiny.encoder(), CONFIG, ActivityConfig(), change
    )


def power(log_mel):
    return np.exp(log_mel.astype(np.float64))


def quiet_tape(folder, levels_db):
    pictures = [tiny.codes(len(level), number) for number, level in enumerate(levels_db)]
    return tiny.tape(folder, pictures, levels_db)


def test_quiet_frames_are_those_near_the_background_and_never_digital_silence(tmp_path):
    level_db = np.where(np.arange(400) % 4 == 0, 3.0, 20.0)
    tape = quiet_tape(tmp_path / "some", [level_db])
    found = quiet_frames(tape, tiny.recording(0, 400), tiny.PICTURE)
    assert np.array_equal(found.log_mel, tape.log_mel(0, 400)[::4])
    assert quiet_frames(tape, tiny.recording(0, 196), tiny.PICTURE) is None  # 49 of them
    silence = tiny.tape(tmp_path / "none", [np.zeros((400, 32), np.uint8)], [np.zeros(400)])
    assert quiet_frames(silence, tiny.recording(0, 400), tiny.PICTURE) is None


def test_the_nearest_quiet_frames_are_taken(tmp_path):
    tape = quiet_tape(tmp_path, [np.zeros(20_000)])
    recording = tiny.recording(0, 20_000)
    near = quiet_frames(tape, recording, tiny.PICTURE, 15_000)
    assert np.array_equal(near.log_mel, tape.log_mel(14_500, 15_500))


@pytest.mark.parametrize("snr_db", [20.0, 0.0, -10.0])
def test_noise_is_added_at_the_ratio_that_is_asked_for(tape, snr_db):
    noise = QuietFrames(recording=SHORT, log_mel=tape.log_mel(1000, 1020))
    plain = noisy(tape, Change())
    mixed = noisy(tape, Change(noise=noise, snr_db=snr_db, first=3))
    inside = plain.weights > 0
    added = power(mixed.log_mel) - power(plain.log_mel)
    ratio = power(plain.log_mel)[inside].mean() / added[inside].mean()
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.05)
    # It is that noise, frame by frame, and reaches the surroundings.
    shape = added / added.sum(axis=1, keepdims=True)
    turned = power(noise.log_mel)
    turned /= turned.sum(axis=1, keepdims=True)
    nearest = np.argmin(np.abs(shape[:, None] - turned[None]).sum(axis=-1), axis=1)
    assert set(np.diff(nearest) % 20) == {1}


def test_a_gain_changes_the_picture_and_not_the_weights(tape):
    plain, louder = noisy(tape, Change()), noisy(tape, Change(gain_db=6))
    np.testing.assert_allclose(louder.log_mel, plain.log_mel + 6 / DB_PER_NAT, atol=1e-4)
    np.testing.assert_allclose(louder.weights, plain.weights, rtol=1e-3)


def test_an_exchanged_background_is_as_loud_as_the_one_taken_away(tape):
    own = QuietFrames(recording=LONG, log_mel=tape.log_mel(0, 60) - 3)
    other = QuietFrames(recording=SHORT, log_mel=tape.log_mel(1000, 1020))
    plain = noisy(tape, Change())
    bare = noisy(tape, Change(without=own))
    inside = plain.weights > 0
    expected = np.maximum(power(plain.log_mel) - power(own.log_mel).mean(axis=0), 1e-10)
    np.testing.assert_allclose(power(bare.log_mel), expected, rtol=1e-4, atol=1e-12)
    swapped = noisy(tape, Change(without=own, noise=other))
    added = power(swapped.log_mel) - power(bare.log_mel)
    assert added[inside].mean() == pytest.approx(power(own.log_mel).mean(), rel=1e-3)


def test_background_alone_weighs_evenly(tape):
    quiet = QuietFrames(recording=LONG, log_mel=tape.log_mel(0, 60))
    one = background_excerpt(quiet, 50, 20, tiny.encoder(), CONFIG)
    assert np.array_equal(one.log_mel[:10], quiet.log_mel[50:])
    assert np.array_equal(one.log_mel[10:], quiet.log_mel[:10])
    assert set(one.weights) == {1}
    assert not one.below.any()


# Choices without labels


def test_consistency_is_the_share_of_others_that_are_less_alike(rng):
    one = unit_rows(rng.normal(size=(30, 4)))
    other = unit_rows(one + 0.5 * rng.normal(size=(30, 4)))
    shares = []
    for views in ((one, other), (other, one)):
        for row in range(30):
            own = views[0][row] @ views[1][row]
            rest = [views[0][row] @ views[1][n] for n in range(30) if n != row]
            shares.append(np.mean([value < own for value in rest]))
    assert consistency(one, other) == pytest.approx(np.mean(shares))
    assert consistency(np.ones((5, 1)), np.ones((5, 1))) == 0.5
    assert consistency(np.eye(5), np.eye(5)) == 1


@pytest.mark.parametrize("depth", [1, 2, 4, 12])
def test_layers_to_choose_from_are_those_of_the_encoder(depth):
    sets = layer_sets(depth)
    assert len(set(sets)) == len(sets)
    assert all(0 <= layer <= depth for one in sets for layer in one)
    assert all(one == tuple(sorted(set(one))) for one in sets)
    assert {(0,), (depth,)} <= set(sets)


def test_what_was_given_is_not_chosen():
    given = ReadoutConfig(layers=(1,), dimensions=16)
    assert {(one.layers, one.dimensions) for one in candidates(given, 4)} == {((1,), 16)}
    assert len(candidates(given, 4)) == 8
    assert candidates(CONFIG, 4) == [CONFIG]
    assert CONFIG.is_settled
    assert not given.is_settled
    assert len(candidates(ReadoutConfig(), 4)) == 112
    assert all(one.is_settled for one in candidates(ReadoutConfig(), 4))


def test_a_readout_of_some_layers_is_the_one_fitted_on_them_alone(rng):
    features = random_features(rng, layers=3)
    config = replace(CONFIG, block_dimensions=4)
    family = fit_family(features, (0, 1, 2), [config])
    some = replace(config, layers=(0, 2), dimensions=5, shrinkage=1.0)
    alone = fit_readout(rows_of(features[:, [0, 2]]), len(features), some, "")
    (vectors,) = family.vectors(some, features)
    np.testing.assert_allclose(vectors, alone.vectors(features[:, [0, 2]]), atol=1e-6)


OPEN = ReadoutConfig(block_dimensions=8, dimensions=8)


def test_the_setting_is_taken_that_the_archive_agrees_with_most(make):
    archive = make()
    assert archive.embed(config=OPEN).refitted
    readout = Readout.load(archive.folder)
    choice = readout.choice
    assert choice.asked == OPEN
    assert choice.n_events == 400
    best = max(choice.candidates, key=lambda one: one.consistency)
    assert readout.config == OPEN.settled(
        best.layers, best.row_sharpness, best.dimensions, best.shrinkage
    )
    assert best.consistency > 0.6
    assert len(choice.candidates) == len(candidates(OPEN, 1))
    # Asked again, it is there; given as settings, it is the same.
    assert not archive.embed(config=OPEN).refitted
    given = make("given")
    given.embed(config=readout.config)
    assert np.array_equal(given.vectors(), archive.vectors())


def test_a_choice_that_was_stopped_ends_as_if_it_had_not_been(make):
    whole = make()
    whole.embed(config=OPEN)
    for stopped_at in (1, 9):
        archive = make(f"stopped at {stopped_at}")
        calls = []

        def stop(done, total, calls=calls, stopped_at=stopped_at):
            calls.append(done)
            if len(calls) == stopped_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            archive.embed(config=OPEN, progress=stop)
        archive.embed(config=OPEN)
        assert archive.bytes() == whole.bytes()


def test_a_small_archive_gets_settings_that_were_found_to_do(make):
    archive = make(n_events=20)
    archive.embed(config=OPEN)
    readout = Readout.load(archive.folder)
    assert readout.config.is_settled
    assert readout.choice.candidates == ()
