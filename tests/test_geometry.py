"""How vectors lie, against loops over pairs, an SVD, and what must not matter."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oscine.model.geometry import N_LEADING, geometry

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def some_vectors(draw):
    rng = np.random.default_rng(draw(SEEDS))
    shape = draw(st.tuples(st.integers(2, 20), st.integers(1, 20)))
    spread = 10.0 ** rng.uniform(-2, 1, shape[1])
    return rng.normal(size=shape) * spread + draw(st.sampled_from([0.0, 3.0]))


@settings(max_examples=20)
@given(some_vectors())
def test_against_pairs_and_singular_values(vectors):
    found = geometry(vectors)
    pairs = [
        one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        for i, one in enumerate(vectors)
        for j, other in enumerate(vectors)
        if i != j
    ]
    assert found.mean_cosine == pytest.approx(np.mean(pairs), abs=1e-12)
    variance = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False) ** 2
    shares = variance / variance.sum()
    entropy = -sum(share * np.log(share) for share in shares if share > 0)
    assert found.effective_rank == pytest.approx(np.exp(entropy), rel=1e-6)
    assert found.first_share == pytest.approx(shares[0])
    assert found.leading_share == pytest.approx(shares[:N_LEADING].sum())
    sizes = np.abs(vectors).mean(axis=0)
    assert found.rogue_ratio == pytest.approx(sizes.max() / np.median(sizes))


@settings(max_examples=20)
@given(some_vectors(), SEEDS)
def test_a_rotation_changes_nothing_but_the_ratio_of_dimensions(vectors, seed):
    square = np.random.default_rng(seed).normal(size=(vectors.shape[1],) * 2)
    rotation, _ = np.linalg.qr(square)
    before, after = asdict(geometry(vectors)), asdict(geometry(vectors @ rotation))
    for one in (before, after):
        del one["rogue_ratio"]
    assert after == pytest.approx(before, rel=1e-6, abs=1e-9)


@settings(max_examples=20)
@given(some_vectors(), st.sampled_from([1e-6, 0.3, 1e6]), SEEDS)
def test_neither_scale_nor_order_matters(vectors, scale, seed):
    order = np.random.default_rng(seed).permutation(len(vectors))
    changed = asdict(geometry(scale * vectors[order]))
    assert changed == pytest.approx(asdict(geometry(vectors)), rel=1e-6, abs=1e-9)


def test_known_shapes(rng):
    square = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    assert geometry(square).effective_rank == pytest.approx(2)
    assert geometry(square).mean_cosine == pytest.approx(-1 / 3)
    line = np.outer(rng.normal(size=50), rng.normal(size=8)) + 5
    assert geometry(line).effective_rank == pytest.approx(1)
    ball = rng.normal(size=(5000, 8))
    assert geometry(ball).effective_rank == pytest.approx(8, rel=0.01)
    assert geometry(ball + 100).mean_cosine > 0.99
    assert geometry(ball * [1, 1, 1, 1, 1, 1, 1, 1000]).rogue_ratio == pytest.approx(1000, rel=0.1)


@pytest.mark.parametrize("value", [0.1, 0.0, 1e-30])
def test_equal_vectors_are_collapsed(value):
    found = geometry(np.full((7, 5), value))
    assert (found.effective_rank, found.first_share, found.leading_share) == (1, 1, 1)
    cosine = pytest.approx(1) if value else pytest.approx(np.nan, nan_ok=True)
    assert found.mean_cosine == cosine


def test_a_single_dimension_in_use_is_rogue():
    vectors = np.zeros((4, 5))
    vectors[:, 2] = [1, 2, 3, 4]
    assert geometry(vectors).rogue_ratio == np.inf


def test_float32_is_measured_in_float64(rng):
    vectors = (rng.normal(size=(300, 16)) + 1000).astype(np.float32)
    assert geometry(vectors) == geometry(vectors.astype(np.float64))


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        (np.ones((1, 3)), "at least two"),
        (np.ones(3), "at least two"),
        (np.array([[1.0], [np.nan]]), "1 of 2 vectors are not finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(vectors, problem):
    with pytest.raises(ValueError, match=problem):
        geometry(vectors)
