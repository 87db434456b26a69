"""Sound types: groups of events that sound alike, found without labels.

Vectors of events come in, each with a content key and the recording it lies in; a label, a
strength and a few exemplars per group go out, or the parts of one group. Called by the step that
makes the atlas, and by that which edits its sound types.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oscine.config import ClusterConfig

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

NOISE = -1

# A new event belongs to the type of its nearest fitted event only if it is no farther from it
# than 95 % of that type's own events are from their nearest neighbour.
REACH_PERCENTILE = 95.0

# A sound type falls apart if dense parts, none smaller than this share of its events, hold so many
# of them together. Two sound types that were merged do; of single clouds of events, few.
LEAST_PART = 0.05
HELD_BY_PARTS = 0.8

N_WITHOUT = 5
"""How often a third of the recordings is left out for the stability of sound types."""
FEWEST_FOR_STABILITY = 3
"""Recordings."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clusters:
    """Sound types of N events.

    Attributes
    ----------
    labels
        (N,) int32: 0 is the largest sound type, 1 the next; ``NOISE`` (-1) is not grouped.
    strengths
        (N,) float32 in 0 to 1: how firmly an event belongs to its type; 0 where not grouped.
    exemplars
        Row numbers for each type, most central first, from different recordings where possible.
    sizes
        Number of events of each type.
    n_fitted
        Number of events that the density was fitted on.
    note
        What a reader of the result must be told (only a sample was fitted, or there were too
        few events); empty if there is nothing to tell.
    """

    labels: NDArray[np.int32]
    strengths: NDArray[np.float32]
    exemplars: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    n_fitted: int
    note: str


def cluster_vectors(
    vectors: NDArray[np.float32],
    keys: Sequence[str],
    recordings: Sequence[str],
    config: ClusterConfig,
) -> Clusters:
    """Group vectors by density (HDBSCAN).

    Rows are sorted by key first, so each key gets the same result for any order of rows.
    Above ``config.max_fit`` rows a sample is fitted, drawn from every recording in proportion,
    and each other row takes the type of its nearest fitted row if it lies within that type's
    reach.

    Parameters
    ----------
    vectors
        (N, D), whitened, with columns in order of falling variance.
    keys
        A unique content key for each row.
    recordings
        The recording of each row.
    config
        How to group.

    Raises
    ------
    ValueError
        If the three do not fit together, a key comes twice or a value is not finite.
    """
    check_rows(vectors, keys, recordings)
    order = sort_by_key(keys)
    directions = unit_rows(vectors[order, : config.n_dimensions])
    sorted_keys = [keys[row] for row in order]
    sorted_recordings = [recordings[row] for row in order]
    fitted = stratified_sample(sorted_keys, sorted_recordings, config.max_fit)

    sorted_labels = np.full(len(order), NOISE, dtype=np.int32)
    sorted_strengths = np.zeros(len(order), dtype=np.float32)
    smallest = config.smallest_cluster(len(fitted))
    enough = len(fitted) >= max(smallest, config.min_samples)
    if enough:
        sorted_labels[fitted], sorted_strengths[fitted] = _fit_density(
            directions[fitted], smallest, config.min_samples
        )
    if enough and len(fitted) < len(order):
        rest = np.setdiff1d(np.arange(len(order)), fitted)
        sorted_labels[rest], sorted_strengths[rest] = _assign_to_nearest(
            directions[rest], directions[fitted], sorted_labels[fitted], sorted_strengths[fitted]
        )
    sorted_labels, sizes = _number_by_size(sorted_labels)

    labels, strengths = np.empty_like(sorted_labels), np.empty_like(sorted_strengths)
    labels[order], strengths[order] = sorted_labels, sorted_strengths
    exemplars = tuple(
        tuple(
            order[member]
            for member in _central_members(
                directions, sorted_labels == label, sorted_recordings, config.n_exemplars
            )
        )
        for label in range(len(sizes))
    )
    return Clusters(
        labels=labels,
        strengths=strengths,
        exemplars=exemplars,
        sizes=sizes,
        n_fitted=len(fitted),
        note=_explain(len(order), len(fitted), smallest, enough),
    )


def stability(
    vectors: NDArray[np.float32],
    keys: Sequence[str],
    recordings: Sequence[str],
    found: Clusters,
    config: ClusterConfig,
) -> tuple[float | None, ...]:
    """Tell how surely each sound type would be found in other recordings of the same kind.

    A third of the recordings is left out, the other events are grouped anew, and of each sound type
    the overlap (Jaccard's index, among the events that are left) with the group most like it is
    taken: the mean over several such draws. Hennig (2007, doi:10.1016/j.csda.2006.11.025) takes
    0.75 and more for stable, and less than 0.5 for dissolved.

    Parameters
    ----------
    vectors, keys, recordings, config
        As of :func:`cluster_vectors`; ``config.seed`` draws the recordings.
    found : Clusters
        What it found. Only events that the density was fitted on are looked at.

    Returns
    -------
    tuple of float or None
        0 to 1, of each type; None where there are fewer than three recordings, and of a type whose
        recordings were left out in every draw.
    """
    order = sort_by_key(keys)
    names = [recordings[row] for row in order]
    fitted = stratified_sample([keys[row] for row in order], names, config.max_fit)
    directions = unit_rows(vectors[order, : config.n_dimensions])[fitted]
    labels = found.labels[order][fitted]
    recording = np.unique(np.array(names)[fitted], return_inverse=True)[1]
    n_recordings, n_types = len(np.unique(recording)), len(found.sizes)
    if n_recordings < FEWEST_FOR_STABILITY:
        return (None,) * n_types
    overlaps = np.full((N_WITHOUT, n_types), np.nan)
    for draw in range(N_WITHOUT):
        rng = np.random.default_rng((config.seed, draw))
        left_out = rng.permutation(n_recordings)[: n_recordings // 3]
        kept = np.flatnonzero(~np.isin(recording, left_out))
        smallest = config.smallest_cluster(len(kept))
        again = np.full(len(kept), NOISE, np.int32)
        if len(kept) >= max(smallest, config.min_samples):
            again = _fit_density(directions[kept], smallest, config.min_samples)[0]
        overlaps[draw] = _best_overlaps(labels[kept], again, n_types)
    n_known = (~np.isnan(overlaps)).sum(axis=0)
    means = np.nansum(overlaps, axis=0) / np.maximum(n_known, 1)
    return tuple(
        float(mean) if n else None for mean, n in zip(means.tolist(), n_known.tolist(), strict=True)
    )


def _best_overlaps(
    labels: NDArray[np.int32], others: NDArray[np.int32], n_types: int
) -> NDArray[np.float64]:
    """Return the best Jaccard's index of each type with a group of others; NaN without events."""
    n_groups = int(others.max(initial=NOISE)) + 1
    cells = (labels + 1).astype(np.int64) * (n_groups + 1) + others + 1
    shared = np.bincount(cells, minlength=(n_types + 1) * (n_groups + 1))
    shared = shared.reshape(n_types + 1, n_groups + 1)  # (K + 1, G + 1), first those of no group
    sizes, of_groups = shared.sum(axis=1)[1:, None], shared.sum(axis=0)[None, 1:]
    both = shared[1:, 1:]
    overlap = both / np.maximum(sizes + of_groups - both, 1)
    return np.where(sizes[:, 0] > 0, overlap.max(axis=1, initial=0.0), np.nan)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Parts:
    """What a sound type of N events falls apart into.

    Attributes
    ----------
    labels
        (N,) int32: 0 is the largest part; empty where it does not fall apart.
    strengths
        (N,) float32 in 0 to 1: how firmly an event belongs to its part.
    n_parts
        Number of parts; where it does not fall apart, of those that hold most of the events
        together (0: there are no two).
    held
        Share of the events that lie within a dense part; each other took that of its nearest.
    smallest
        Fewest events that such a part was to have.
    """

    labels: NDArray[np.int32]
    strengths: NDArray[np.float32]
    n_parts: int
    held: float
    smallest: int


def split_vectors(
    vectors: NDArray[np.float32],
    keys: Sequence[str],
    recordings: Sequence[str],
    config: ClusterConfig,
) -> Parts:
    """Look for the parts of one sound type by density, the largest first.

    Its events are grouped by themselves (see :func:`cluster_vectors`, also for the order of rows),
    with ever smaller parts allowed: from half of its events down to a twentieth, but not below the
    smallest sound type. The first grouping counts in which at least two parts hold most events.

    Parameters
    ----------
    vectors, keys, recordings, config
        As of :func:`cluster_vectors`, of the events of one type.

    Raises
    ------
    ValueError
        As :func:`cluster_vectors`.
    """
    n_fitted = min(len(vectors), config.max_fit)
    smallest = max(config.smallest_cluster(n_fitted), math.ceil(LEAST_PART * n_fitted))
    size, most = n_fitted // 2, (0.0, 0)
    while size >= smallest:
        found = cluster_vectors(vectors, keys, recordings, replace(config, min_cluster_size=size))
        held, n_parts = float(np.mean(found.labels != NOISE)), len(found.sizes)
        if n_parts > 1 and held >= HELD_BY_PARTS:
            return _whole_parts(vectors, keys, found, config, held, size)
        if n_parts > 1:
            most = max(most, (held, n_parts))
        size = int(size / 1.5)
    nothing = np.empty(0)
    return Parts(
        labels=nothing.astype(np.int32),
        strengths=nothing.astype(np.float32),
        n_parts=most[1],
        held=most[0],
        smallest=smallest,
    )


def _whole_parts(
    vectors: NDArray[np.float32],
    keys: Sequence[str],
    found: Clusters,
    config: ClusterConfig,
    held: float,
    smallest: int,
) -> Parts:
    """Give the events between the parts to the nearest, and number the parts by size again."""
    order = np.array(sort_by_key(keys))
    inside, between = order[found.labels[order] >= 0], order[found.labels[order] < 0]
    labels, strengths = found.labels.copy(), found.strengths.copy()
    if len(between):
        nearest = inside[nearest_rows(vectors[inside], vectors[between], config)]
        labels[between], strengths[between] = labels[nearest], strengths[nearest]
    labels[order], sizes = _number_by_size(labels[order])
    return Parts(
        labels=labels, strengths=strengths, n_parts=len(sizes), held=held, smallest=smallest
    )


def nearest_rows(
    vectors: NDArray[np.float32], others: NDArray[np.float32], config: ClusterConfig
) -> NDArray[np.intp]:
    """Find for each of M > 0 other vectors which of N is nearest, (M,), as grouping sees them."""
    known, asked = (unit_rows(each[:, : config.n_dimensions]) for each in (vectors, others))
    return _nearest(known).kneighbors(asked)[1][:, 0]


def central_rows(
    vectors: NDArray[np.float32],
    keys: Sequence[str],
    recordings: Sequence[str],
    config: ClusterConfig,
) -> list[int]:
    """Choose the exemplars of one sound type among its events, as :func:`cluster_vectors` does."""
    order = sort_by_key(keys)
    directions = unit_rows(vectors[order, : config.n_dimensions])
    everything = np.ones(len(order), dtype=np.bool_)
    in_order = [recordings[row] for row in order]
    return [
        order[row] for row in _central_members(directions, everything, in_order, config.n_exemplars)
    ]


def check_rows(
    vectors: NDArray[np.float32], keys: Sequence[str], recordings: Sequence[str]
) -> None:
    """Refuse rows that cannot be grouped or mapped.

    Raises
    ------
    ValueError
        If the vectors are not (N, D) and finite, or keys and recordings do not name N rows,
        each key once.
    """
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError(f"vectors must have shape (N, D) with D > 0, not {vectors.shape}")
    if not len(vectors) == len(keys) == len(recordings):
        raise ValueError(
            f"{len(vectors)} vectors, {len(keys)} keys and {len(recordings)} recordings: "
            "give one key and one recording for each vector"
        )
    if len(set(keys)) < len(keys):
        twice = next(key for key, following in pairwise(sorted(keys)) if key == following)
        raise ValueError(f"key {twice!r} comes twice: give each event a key of its own")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ValueError(f"the vector of {keys[bad[0]]!r} is not finite ({len(bad)} such rows)")


def sort_by_key(keys: Sequence[str]) -> list[int]:
    """Sort row numbers by key."""
    return sorted(range(len(keys)), key=keys.__getitem__)


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows (N, D) to unit length; rows of zeros stay as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def stratified_sample(
    keys: Sequence[str], recordings: Sequence[str], n_rows: int
) -> NDArray[np.intp]:
    """Choose at most ``n_rows`` rows, from each recording in proportion to its rows.

    The choice depends on keys and recordings only, not on their order, and every recording is
    in it as long as there are no more than ``n_rows`` of them.

    Parameters
    ----------
    keys
        A unique content key for each row.
    recordings
        The recording of each row.
    n_rows
        Most rows to choose.

    Returns
    -------
    NDArray[np.intp]
        Row numbers, ascending.
    """
    if len(keys) <= n_rows:
        return np.arange(len(keys))
    # A digest scatters the rows of a recording evenly and needs no random state.
    scatter = np.array(
        [int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) for key in keys],
        dtype=np.uint64,
    )
    numbers = {recording: number for number, recording in enumerate(dict.fromkeys(recordings))}
    recording = np.array([numbers[name] for name in recordings])
    by_recording = np.lexsort((scatter, recording))
    rank, n_in_recording = _rank_in_runs(recording[by_recording])
    share = rank / n_in_recording
    chosen = np.lexsort((scatter[by_recording], share))[:n_rows]
    return np.sort(by_recording[chosen])


def _rank_in_runs(groups: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the place of each row in its run of equal groups, and the length of that run."""
    _, starts, run, lengths = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    return np.arange(len(groups)) - starts[run], lengths[run]


def _fit_density(
    directions: NDArray[np.float32], smallest: int, min_samples: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    from sklearn.cluster import HDBSCAN

    fit = HDBSCAN(
        min_cluster_size=smallest,
        min_samples=min_samples,
        n_jobs=1,
        copy=True,  # pyright: ignore[reportArgumentType]  (its default is a string)
    ).fit(directions)
    return fit.labels_.astype(np.int32), fit.probabilities_.astype(np.float32)


def _assign_to_nearest(
    directions: NDArray[np.float32],
    fitted: NDArray[np.float32],
    labels: NDArray[np.int32],
    strengths: NDArray[np.float32],
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Take type and strength of the nearest fitted row, or noise if out of its type's reach."""
    neighbours = _nearest(fitted)
    spacing = neighbours.kneighbors()[0][:, 0]
    distance, nearest = (found[:, 0] for found in neighbours.kneighbors(directions))
    reach = np.zeros(len(fitted))
    for label in range(labels.max() + 1):
        members = labels == label
        reach[members] = np.percentile(spacing[members], REACH_PERCENTILE)
    within = distance <= reach[nearest]
    return (
        np.where(within, labels[nearest], NOISE).astype(np.int32),
        np.where(within, strengths[nearest], 0).astype(np.float32),
    )


def _nearest(directions: NDArray[np.float32]) -> NearestNeighbors:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=1, algorithm="kd_tree", n_jobs=1).fit(directions)


def _number_by_size(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], tuple[int, ...]]:
    """Renumber labels by falling size, equal sizes by their first row; also give the sizes."""
    old, first_row, size = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    by_size = np.lexsort((first_row, -size))
    renumbered = np.full_like(labels, NOISE)
    for new, position in enumerate(by_size):
        renumbered[labels == old[position]] = new
    return renumbered, tuple(size[by_size].tolist())


def _central_members(
    directions: NDArray[np.float32],
    is_member: NDArray[np.bool_],
    recordings: Sequence[str],
    n_exemplars: int,
) -> list[int]:
    """Choose the rows of one type nearest to its mean direction, most central first.

    The most central row of each recording comes before the second of any.
    """
    members = np.flatnonzero(is_member)
    centrality = directions[members] @ directions[members].mean(axis=0)
    central_first: list[int] = members[np.argsort(-centrality, kind="stable")].tolist()
    n_before: Counter[str] = Counter()
    turns: list[int] = []
    for row in central_first:
        turns.append(n_before[recordings[row]])
        n_before[recordings[row]] += 1
    chosen = np.argsort(turns, kind="stable")[:n_exemplars]
    return [central_first[place] for place in np.sort(chosen)]


def _explain(n_events: int, n_fitted: int, smallest: int, enough: bool) -> str:
    if not enough:
        return (
            f"{n_events:,} events are too few to be grouped into sound types "
            f"(a type needs {smallest:,})."
        )
    if n_fitted < n_events:
        return (
            f"Sound types were found on {n_fitted:,} of {n_events:,} events, drawn from every "
            "recording in proportion; each other event took the type of its nearest neighbour "
            "among them, if that was near enough."
        )
    return ""
