"""The nearest vectors, found by comparing with all of them.

In come vectors of unit length on disk and some queries; out come the rows of the most alike and
their likeness, which is the cosine. Every likeness that leaves this room is computed here, in one
way: it depends on the two vectors alone, not on what else was compared with them.

Axes: N vectors, Q queries, K neighbours, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oscine.workspace.arrays import ArrayReader

ROWS_AT_ONCE = 2**14
QUERIES_AT_ONCE = 2**9
PAIRS_AT_ONCE = 2**15
SPARSE = 2
"""Where every second row is wanted, all are read in place: copying the others takes longer."""
NOBODY = -1
"""Stands for a row where there are fewer neighbours than were asked for."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Neighbours:
    """The most alike of each query, from the most alike down; of equals the lower row first.

    Attributes
    ----------
    rows : np.ndarray of int64 [shape=(Q, K)]
        -1 where there are no more.
    likeness : np.ndarray of float32 [shape=(Q, K)]
        Cosine; -inf where there are no more.
    """

    rows: np.ndarray
    likeness: np.ndarray


def exact(
    vectors: ArrayReader, queries: np.ndarray, k: int, allowed: np.ndarray | None = None
) -> Neighbours:
    """Return the nearest of all vectors, or of those allowed; only these are read then.

    Parameters
    ----------
    vectors : ArrayReader of float32 [shape=(N, D)]
        Of unit length.
    queries : np.ndarray of float32 [shape=(Q, D)]
        Of unit length.
    k : int
    allowed : np.ndarray of bool [shape=(N,)], optional

    Returns
    -------
    Neighbours

    Raises
    ------
    ValueError
        `allowed` or the queries are of another shape than the vectors.
    """
    check_shapes(vectors, queries, allowed)
    rows = range(vectors.n_rows) if allowed is None else np.flatnonzero(allowed)
    return exact_among(vectors, queries, k, rows)


def exact_among(
    vectors: ArrayReader, queries: np.ndarray, k: int, rows: np.ndarray | range
) -> Neighbours:
    """Return the nearest of the vectors of some rows.

    Parameters
    ----------
    vectors : ArrayReader of float32 [shape=(N, D)]
    queries : np.ndarray of float32 [shape=(Q, D)]
    k : int
    rows : np.ndarray of int64 or range of step 1
        Ascending.

    Returns
    -------
    Neighbours
    """
    queries = np.ascontiguousarray(queries, np.float32)
    found = [
        _nearest(vectors, queries[first : first + QUERIES_AT_ONCE], k, rows)
        for first in range(0, len(queries), QUERIES_AT_ONCE)
    ]
    found.append(nobody(0, k))
    return Neighbours(
        rows=np.concatenate([one.rows for one in found]),
        likeness=np.concatenate([one.likeness for one in found]),
    )


def exact_elsewhere(vectors: np.ndarray, places: np.ndarray, k: int) -> np.ndarray:
    """Return, for each of some vectors, the most alike of the others that have another place.

    Parameters
    ----------
    vectors : np.ndarray of float32 [shape=(N, D)]
        Of unit length.
    places : np.ndarray of int64 [shape=(N,)]
        Such as numbers of recordings.
    k : int

    Returns
    -------
    np.ndarray of int64 [shape=(N, k)]
        Rows, the most alike first; -1 where there are no more.
    """
    found = np.full((len(vectors), k), NOBODY)
    for first in range(0, len(vectors), QUERIES_AT_ONCE):
        likeness = vectors[first : first + QUERIES_AT_ONCE] @ vectors.T
        likeness[places[first : first + QUERIES_AT_ONCE, None] == places] = -np.inf
        best = np.argpartition(-likeness, min(k, len(vectors) - 1), axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(likeness, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        is_there = np.isfinite(np.take_along_axis(likeness, best, axis=1))
        found[first : first + len(best), : best.shape[1]] = np.where(is_there, best, NOBODY)
    return found


def _nearest(
    vectors: ArrayReader, queries: np.ndarray, k: int, rows: np.ndarray | range
) -> Neighbours:
    best = nobody(len(queries), k)
    # What float32 may lose of a product of two vectors of unit length.
    slack = queries.shape[1] * np.finfo(np.float32).eps
    for start in range(0, len(rows) if k else 0, ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        numbers = np.arange(some.start, some.stop) if isinstance(some, range) else some
        first, span = int(numbers[0]), int(numbers[-1] - numbers[0]) + 1
        if span <= SPARSE * len(numbers):
            block, place = vectors.rows(first, first + span), numbers - first
        else:
            block, place = vectors.take(numbers), np.arange(len(numbers))
        guess = queries @ block.T
        if len(place) < len(block):
            guess = guess[:, place]
        least = best.likeness[:, -1]
        if len(place) > k and np.isinf(least).any():
            least = np.maximum(least, np.partition(guess, -k, axis=1)[:, -k])
        of, column = np.nonzero(guess >= (least - slack)[:, None])
        likeness = pair_likeness(queries, of, block, place[column])
        best = ranked(k, len(queries), of, numbers[column], likeness, best)
    return best


def pair_likeness(
    queries: np.ndarray, of: np.ndarray, vectors: np.ndarray, which: np.ndarray
) -> np.ndarray:
    """Return the likeness of pairs: query `of[i]` and vector `which[i]`, as float32 [shape=(n,)].

    In float64, then rounded, so that equal vectors are equally alike.
    """
    likeness = np.empty(len(of), np.float32)
    for start in range(0, len(of), PAIRS_AT_ONCE):
        pairs = slice(start, start + PAIRS_AT_ONCE)
        product = queries[of[pairs]].astype(np.float64) * vectors[which[pairs]]
        likeness[pairs] = product.sum(axis=1)
    return likeness


def ranked(
    k: int,
    n_queries: int,
    of: np.ndarray,
    rows: np.ndarray,
    likeness: np.ndarray,
    known: Neighbours | None = None,
) -> Neighbours:
    """Return the best of some candidates, each a query's number, a row and its likeness.

    A row that is there twice counts once.

    Parameters
    ----------
    k, n_queries : int
    of, rows : np.ndarray of int64 [shape=(n,)]
    likeness : np.ndarray of float32 [shape=(n,)]
    known : Neighbours, optional
        More candidates.

    Returns
    -------
    Neighbours
    """
    if known is not None:
        at, column = np.nonzero(known.rows != NOBODY)
        of = np.concatenate([at, of])
        rows = np.concatenate([known.rows[at, column], rows])
        likeness = np.concatenate([known.likeness[at, column], likeness])
    order = np.lexsort((rows, -likeness, of))
    of, rows, likeness = of[order], rows[order], likeness[order]
    is_first = np.ones(len(of), bool)
    is_first[1:] = (of[1:] != of[:-1]) | (rows[1:] != rows[:-1])
    of, rows, likeness = of[is_first], rows[is_first], likeness[is_first]
    rank = np.arange(len(of)) - np.searchsorted(of, of)
    is_kept = rank < k
    best = nobody(n_queries, k)
    place = of[is_kept], rank[is_kept]
    best.rows[place], best.likeness[place] = rows[is_kept], likeness[is_kept]
    return best


def nobody(n_queries: int, k: int) -> Neighbours:
    """Return no neighbours, for so many queries."""
    return Neighbours(
        rows=np.full((n_queries, k), NOBODY, np.int64),
        likeness=np.full((n_queries, k), -np.inf, np.float32),
    )


def check_shapes(vectors: ArrayReader, queries: np.ndarray, allowed: np.ndarray | None) -> None:
    """Refuse queries and filters that do not belong to the vectors.

    Raises
    ------
    ValueError
    """
    if queries.ndim != 2 or queries.shape[1:] != vectors.row_shape:
        raise ValueError(
            f"queries must be of shape (Q, {vectors.row_shape[0]}), not {queries.shape}"
        )
    if allowed is not None and (allowed.dtype != bool or allowed.shape != (vectors.n_rows,)):
        raise ValueError(
            f"what is allowed must be one bool for each of {vectors.n_rows:,} rows, not "
            f"{allowed.dtype} of shape {allowed.shape}"
        )
