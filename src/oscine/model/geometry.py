"""How vectors lie among each other: signs of collapse and of rogue dimensions, without labels.

In come vectors of any layer or readout; out comes a `Geometry`. Used by training (is it learning?),
by the choice of a readout, and beside the probes of layers. NumPy only.

Axes: N vectors, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_LEADING = 10
"""Components whose share is given together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """How vectors lie.

    Attributes
    ----------
    mean_cosine : float
        Between different vectors, as they come: near 1 they all point one way (Ethayarajh 2019,
        "How contextual are contextualized word representations?"). Vectors of zeros do not count;
        NaN where fewer than two are left.
    effective_rank : float
        How many directions share the variance evenly: ``exp`` of the entropy of the variance
        shares (Roy & Vetterli 2007, "The effective rank"). The shares are eigenvalues of the
        covariance of the centred vectors. Roy & Vetterli, and RankMe (Garrido et al. 2023) after
        them, take singular values of vectors that are not centred: this gives larger numbers,
        and measures the mean vector too.
    first_share, leading_share : float
        Share of the variance along the first component, and along the first ten.
    rogue_ratio : float
        The largest mean absolute value of a dimension over the median one: hundreds or more where
        single dimensions drown all others (Timkey & van Schijndel 2021, "All bark and no bite:
        rogue dimensions"). Infinite where most dimensions are zero.
    """

    mean_cosine: float
    effective_rank: float
    first_share: float
    leading_share: float
    rogue_ratio: float


def geometry(vectors: np.ndarray) -> Geometry:
    """Measure how vectors lie.

    Where all vectors are the same there is no variance to share: rank and shares are then 1, as
    for vectors on a line.

    Parameters
    ----------
    vectors : np.ndarray of float [shape=(N, D)]

    Returns
    -------
    Geometry

    Raises
    ------
    ValueError
        There are fewer than two vectors, or one is not finite.
    """
    if vectors.ndim != 2 or len(vectors) < 2 or vectors.shape[1] < 1:
        raise ValueError(f"geometry needs at least two vectors (N, D), not shape {vectors.shape}")
    x = vectors.astype(np.float64)
    n_bad = int((~np.isfinite(x)).any(axis=1).sum())
    if n_bad:
        raise ValueError(f"{n_bad} of {len(x)} vectors are not finite: leave them out")
    shares = _variance_shares(x)
    present = shares[shares > 0]
    size = np.abs(x).mean(axis=0)  # (D,)
    median = np.median(size)
    return Geometry(
        mean_cosine=_mean_cosine(x),
        effective_rank=float(np.exp(-np.sum(present * np.log(present)))),
        first_share=float(shares[0]),
        leading_share=float(shares[:N_LEADING].sum()),
        rogue_ratio=float(size.max() / median) if median > 0 else float("inf"),
    )


def _variance_shares(vectors: np.ndarray) -> np.ndarray:
    """Return the share of the variance along each principal component, the largest first.

    Parameters
    ----------
    vectors : np.ndarray of float64 [shape=(N, D)]

    Returns
    -------
    np.ndarray of float64 [shape=(min(N, D),)]
    """
    centred = vectors - vectors.mean(axis=0)
    n_vectors, n_dimensions = centred.shape
    gram = centred.T @ centred if n_dimensions <= n_vectors else centred @ centred.T
    values = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0)
    # What centring leaves of equal vectors is rounding, not variance.
    if values.sum() <= np.square(np.finfo(np.float64).eps * np.abs(vectors).max()) * vectors.size:
        values = np.eye(1, len(values))[0]
    return values / values.sum()


def _mean_cosine(x: np.ndarray) -> float:
    """Return the mean over all pairs, from the sum of unit vectors: |sum|^2 = N + all pairs."""
    length = np.linalg.norm(x, axis=1)
    units = x[length > 0] / length[length > 0, None]
    n_units = len(units)
    if n_units < 2:
        return float("nan")
    total = np.square(units.sum(axis=0)).sum()
    return float((total - n_units) / (n_units * (n_units - 1)))


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Return rows (N, D) at unit length, in float64; rows of zeros stay zeros."""
    rows = rows.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
