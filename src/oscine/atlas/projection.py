"""A map for the eye: vectors of events laid out on a plane so that like lies near like.

Vectors come in with their content keys and recordings, positions go out. Called by the step that
makes the atlas. Nothing is ever computed from the map: sound types come from the vectors.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oscine.atlas.cluster import check_rows, sort_by_key, stratified_sample, unit_rows


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Projection:
    """Positions of N events on the map.

    Attributes
    ----------
    xy
        (N, 2) float32; the axes have no unit.
    n_fitted
        Number of events that the map was fitted on; the others were placed into it.
    """

    xy: NDArray[np.float32]
    n_fitted: int


def project_vectors(
    vectors: NDArray[np.float32],
    keys: Sequence[str],
    recordings: Sequence[str],
    *,
    seed: int,
    max_fit: int = 50_000,
    n_neighbors: int = 15,
) -> Projection:
    """Lay vectors out on a plane (UMAP).

    Rows are sorted by key first, so each key gets the same position for any order of rows.
    Above ``max_fit`` rows the map is fitted on a sample of every recording in proportion and the
    other rows are placed into it. No more rows than ``n_neighbors`` are laid out by their first
    two principal components.

    Parameters
    ----------
    vectors
        (N, D); only their directions count.
    keys
        A unique content key for each row.
    recordings
        The recording of each row.
    seed
        Seed of the layout.
    max_fit
        Most rows the map is fitted on.
    n_neighbors
        Neighbours that each row is drawn towards.

    Raises
    ------
    ValueError
        If the three do not fit together, a key comes twice or a value is not finite.
    """
    check_rows(vectors, keys, recordings)
    order = sort_by_key(keys)
    directions = unit_rows(vectors[order])
    fitted = stratified_sample(
        [keys[row] for row in order], [recordings[row] for row in order], max_fit
    )
    if len(fitted) <= n_neighbors:
        placed = _principal_plane(directions, fitted)
    else:
        placed = _umap_plane(directions, fitted, n_neighbors, seed)
    xy = np.empty((len(order), 2), dtype=np.float32)
    xy[order] = placed
    return Projection(xy=xy, n_fitted=len(fitted))


def _principal_plane(
    directions: NDArray[np.float32], fitted: NDArray[np.intp]
) -> NDArray[np.float32]:
    if len(fitted) == 0:
        return np.zeros((0, 2), dtype=np.float32)
    centre = directions[fitted].mean(axis=0)
    axes = np.linalg.svd(directions[fitted] - centre, full_matrices=False)[2][:2]
    # The sign of a principal axis is arbitrary: its largest value is made positive.
    axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    plane = np.zeros((len(directions), 2), dtype=np.float32)
    plane[:, : len(axes)] = (directions - centre) @ axes.T
    return plane


def _umap_plane(
    directions: NDArray[np.float32], fitted: NDArray[np.intp], n_neighbors: int, seed: int
) -> NDArray[np.float32]:
    plane = np.empty((len(directions), 2), dtype=np.float32)
    # UMAP and numba warn of their own internals: parts of the graph that do not connect, cached
    # code, deprecations. None of it is for the person who asked for a map.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        mapper = UMAP(n_neighbors=n_neighbors, random_state=seed, n_jobs=1)
        plane[fitted] = mapper.fit_transform(directions[fitted])
        rest = np.setdiff1d(np.arange(len(directions)), fitted)
        if len(rest):
            plane[rest] = mapper.transform(directions[rest])
    return plane
