"""The neighbours of vectors, in an archive of any size.

In come the vectors of an archive, memory-mapped, and some queries; out come the rows of the most
alike. Up to 200,000 vectors all are compared. Beyond, an index on disk (faiss: inverted lists, a
byte a value) names a short list for each query, which is ranked by the vectors themselves. How far
it looks is chosen from a recall measured on the archive's own vectors. Rows that the index does not
hold (appended since, or absent when it was made) are compared one by one: nothing is ever left out.
Called by the steps.

Axes: N vectors, Q queries, K neighbours, D dimensions.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oscine.config import from_mapping, to_mapping
from oscine.search.exact import (
    NOBODY,
    Neighbours,
    check_shapes,
    exact,
    exact_among,
    pair_likeness,
    ranked,
)
from oscine.workspace.arrays import ArrayReader, NewFile, load_described, save_described

EXACT_ROWS = 200_000
"""So many vectors are compared one by one."""
FILTERED_ROWS = 20_000
"""So many allowed rows are compared one by one where there is an index."""
TARGET = 0.98
"""Recall at 10 that the index must have."""
LEAST_TAIL, TAIL_SHARE = 20_000, 0.05
"""The index takes in what was appended when that is more than both."""
GONE_SHARE = 0.25
"""The index is made anew when more of its rows are absent."""
GROWN = 2
"""The index is made anew when it holds so many times the rows that its lists were laid out for."""

DESCRIPTION = "index.safetensors"
_NAMES = ("a.faiss", "b.faiss")
"""In turn, so that the old index stays whole until the description names the new one."""
_RECALL_AT = 10
_RANKS = (_RECALL_AT, 100)
_N_BOUNDS = 16
_FACTORS = (2, 4, 8, 16)
_PARTS = 4
_N_ASKED = 1000
_ROWS_A_LIST = 50
"""That its centre is found from."""
_ROUNDS = 10
_QUERY_BY_QUERY = 3
"""What faiss calls the mode in which it deals queries out to threads one by one."""
_LARGEST_CODE = 127
_CUT_SHARE = 1e-4
"""Of the values, those so large that they are cut to the largest code."""
_ROWS_AT_ONCE = 2**16

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexFacts:
    """What an index was made from, how it looks, and how well it finds.

    Attributes
    ----------
    made_from : str
        Stands for what made the vectors.
    dimensions : int
    n_covered : int
        It holds the rows below this, but for those that were absent.
    n_held : int
    n_laid_out : int
        Rows that it held when its lists were laid out.
    scale : float
        Values are held as the nearest whole number of so many parts of one.
    lists : int
    first_probes : int
        Lists looked into for every query, nearest first.
    bounds : tuple of float
        Likeness, descending.
    probes : tuple of int
        Lists looked into where the last neighbour so found is as alike as the bound of the same
        place, or more; one longer than the bounds.
    short_list : int
        Candidates that are ranked by their own vectors, for each neighbour asked for.
    target, recall : float
        Recall at 10 that was wanted, and that was measured on vectors that had no part in the
        choice.
    n_asked : int
        Of them.
    seed : int
    file : str
    n_bytes, n_head_bytes : int
        Of the file, and of what comes before the lists.
    head_digest, digest : str
        Of these bytes.
    """

    made_from: str
    dimensions: int
    n_covered: int
    n_held: int
    n_laid_out: int
    scale: float
    lists: int
    first_probes: int
    bounds: tuple[float, ...]
    probes: tuple[int, ...]
    short_list: int
    target: float
    recall: float
    n_asked: int
    seed: int
    file: str
    n_bytes: int
    n_head_bytes: int
    head_digest: str
    digest: str

    def probes_for(self, likeness: np.ndarray) -> np.ndarray:
        """Return how many lists hold what is as alike as this, or more alike [shape=(Q,)]."""
        place = np.searchsorted(-np.array(self.bounds), -likeness)
        return np.array(self.probes)[place]


class NeighbourIndex:
    """Finds neighbours, whichever way is quicker.

    Parameters
    ----------
    vectors : ArrayReader of float32 [shape=(N, D)]
        Of unit length.
    facts : IndexFacts, optional
        None: all vectors are compared.
    missing : np.ndarray of int64, optional
        Rows below `n_covered` that the index does not hold.
    lists : faiss.IndexIVF, optional
    filtered_rows : int
        So many allowed rows are compared one by one.
    note : str
        Why an index that is there is not used.
    """

    def __init__(
        self,
        vectors: ArrayReader,
        facts: IndexFacts | None = None,
        missing: np.ndarray | None = None,
        lists: Any = None,
        *,
        filtered_rows: int = FILTERED_ROWS,
        note: str = "",
    ) -> None:
        self.vectors = vectors
        self.facts = facts
        self.note = note
        self.filtered_rows = filtered_rows
        self._lists = lists
        n_covered = facts.n_covered if facts is not None else 0
        tail = np.arange(n_covered, vectors.n_rows) if facts is not None else np.empty(0, np.int64)
        self._missing = np.empty(0, np.int64) if missing is None else missing
        self._unheld = np.concatenate([self._missing, tail])

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Neighbours:
        """Return the nearest vectors, of all or of those allowed.

        Parameters
        ----------
        queries : np.ndarray of float32 [shape=(Q, D)]
            Of unit length.
        k : int
        allowed : np.ndarray of bool [shape=(N,)], optional
            What is not allowed is passed over before anything is ranked.

        Returns
        -------
        Neighbours
            Their likeness is exact, also where the index may have missed one.

        Raises
        ------
        ValueError
            `allowed` or the queries are of another shape than the vectors.
        """
        check_shapes(self.vectors, queries, allowed)
        queries = np.ascontiguousarray(queries, np.float32)
        n_allowed = self.vectors.n_rows if allowed is None else int(np.count_nonzero(allowed))
        if self.facts is None or n_allowed <= self.filtered_rows or not k > 0 or not len(queries):
            return exact(self.vectors, queries, k, allowed)
        short = _short_lists(self._lists, self.facts, queries, k, allowed)
        of, rows, likeness = _candidates(self.vectors, queries, short)
        unheld = self._unheld if allowed is None else self._unheld[allowed[self._unheld]]
        others = exact_among(self.vectors, queries, k, unheld) if len(unheld) else None
        return ranked(k, len(queries), of, rows, likeness, others)


def open_index(folder: Path, vectors: ArrayReader, made_from: str) -> NeighbourIndex:
    """Open what is there; where that is no index of these vectors, all of them are compared.

    Parameters
    ----------
    folder : Path
        Of the index.
    vectors : ArrayReader of float32 [shape=(N, D)]
        Of unit length.
    made_from : str
        Stands for what made the vectors: an index of others is not used.

    Returns
    -------
    NeighbourIndex
        Its note says why an index that is there is not used.
    """
    try:
        facts, missing = _described(folder, vectors, made_from)
        return NeighbourIndex(vectors, facts, missing, _opened(folder, facts))
    except FileNotFoundError:
        return NeighbourIndex(vectors)
    except ValueError as error:
        note = f"{error}: every vector is compared instead; `oscine embed` makes it anew"
        return NeighbourIndex(vectors, note=note)


def refresh_index(
    folder: Path,
    vectors: ArrayReader,
    made_from: str,
    present: np.ndarray | None = None,
    *,
    seed: int = 0,
    target: float = TARGET,
    exact_rows: int = EXACT_ROWS,
    progress: Progress | None = None,
) -> NeighbourIndex:
    """Make the index, or bring it up to date, or leave it, and open it.

    Killed at any moment it leaves the old index or the new one, and is simply called again.

    Parameters
    ----------
    folder : Path
        Of the index.
    vectors : ArrayReader of float32 [shape=(N, D)]
        Of unit length.
    made_from : str
        Stands for what made the vectors.
    present : np.ndarray of bool [shape=(N,)], optional
        Rows that the index should hold; all by default.
    seed : int
    target : float
        Recall at 10.
    exact_rows : int
        Up to so many present rows, and up to 1,000, there is no index.
    progress : callable, optional
        Told the rows taken in and their number.

    Returns
    -------
    NeighbourIndex
        Its note says what was wrong with an index that had to be made anew.
    """
    is_present = np.ones(vectors.n_rows, bool) if present is None else present
    n_present = int(np.count_nonzero(is_present))
    if n_present <= max(exact_rows, _N_ASKED):
        shutil.rmtree(folder, ignore_errors=True)
        return NeighbourIndex(vectors)
    note, known = "", None
    held = np.zeros(vectors.n_rows, bool)
    try:
        known, missing = _described(folder, vectors, made_from)
        if (known.target, known.seed) != (target, seed):
            raise ValueError(f"{folder} was made for another recall or with another seed")
        if _digest(folder / known.file) != known.digest:
            raise ValueError(f"{folder / known.file} is damaged")
        held[: known.n_covered] = True
        held[missing] = False
    except FileNotFoundError:
        pass
    except ValueError as error:
        note, known = f"{error}: it was made anew", None
    if known is not None:
        n_gone = known.n_held - int(np.count_nonzero(held & is_present))
        if n_gone > GONE_SHARE * known.n_held or n_present > GROWN * known.n_laid_out:
            known, held = None, np.zeros(vectors.n_rows, bool)
    added = np.flatnonzero(is_present & ~held)
    if known is None or len(added) > max(LEAST_TAIL, TAIL_SHARE * known.n_held):
        facts, missing = _made(
            folder, vectors, made_from, known, held, added, seed, target, progress or _untold
        )
    else:
        facts = known
        missing = np.flatnonzero(~held[: known.n_covered])
    _tidy(folder, facts.file)
    return NeighbourIndex(
        vectors,
        facts,
        missing,
        _opened(folder, facts),
        filtered_rows=min(exact_rows, FILTERED_ROWS),
        note=note,
    )


def _made(
    folder: Path,
    vectors: ArrayReader,
    made_from: str,
    known: IndexFacts | None,
    held: np.ndarray,
    added: np.ndarray,
    seed: int,
    target: float,
    progress: Progress,
) -> tuple[IndexFacts, np.ndarray]:
    """Add rows to the index, or to a new one, choose how far it looks, and write it."""
    faiss = _faiss()
    if known is None:
        lists, scale = _laid_out(vectors, added, seed)
        n_laid_out = len(added)
    else:
        lists, scale = faiss.read_index(str(folder / known.file)), known.scale
        n_laid_out = known.n_laid_out
    lists.parallel_mode = _QUERY_BY_QUERY
    for start in range(0, len(added), _ROWS_AT_ONCE):
        progress(start, len(added))
        rows = added[start : start + _ROWS_AT_ONCE]
        lists.add_with_ids(_coded(vectors.take(rows), scale), rows)
    held = held.copy()
    held[added] = True
    rows = np.flatnonzero(held)
    file = _NAMES[0] if known is None or known.file != _NAMES[0] else _NAMES[1]
    with NewFile(folder / file) as path:
        faiss.write_index(lists, str(path))
        n_bytes = path.stat().st_size
        # What lies before the codes and row numbers of the lists, which come last.
        n_head_bytes = n_bytes - len(rows) * (lists.code_size + np.dtype(np.int64).itemsize)
        digest, head_digest = _digest(path), _digest(path, n_head_bytes)
    facts = IndexFacts(
        made_from=made_from,
        dimensions=vectors.row_shape[0],
        n_covered=vectors.n_rows,
        n_held=len(rows),
        n_laid_out=n_laid_out,
        scale=scale,
        lists=lists.nlist,
        first_probes=round(math.sqrt(lists.nlist)),
        bounds=(),
        probes=(lists.nlist,),
        short_list=1,
        target=target,
        recall=0.0,
        n_asked=0,
        seed=seed,
        file=file,
        n_bytes=n_bytes,
        n_head_bytes=n_head_bytes,
        head_digest=head_digest,
        digest=digest,
    )
    facts = _chosen(vectors, rows, lists, facts)
    progress(len(added), len(added))
    missing = np.flatnonzero(~held)
    save_described(folder / DESCRIPTION, to_mapping(facts), {"missing": missing})
    return facts, missing


def _laid_out(vectors: ArrayReader, rows: np.ndarray, seed: int) -> tuple[Any, float]:
    """Return empty lists around centres that a sample of the rows gave, and the scale of codes.

    Whole numbers as they are: faiss compares these in less than half the time of codes that have a
    range for each dimension, or that count from the centre of their list.
    """
    faiss = _faiss()
    n_lists = max(1, round(2 * math.sqrt(len(rows))))
    n_sample = min(len(rows), n_lists * _ROWS_A_LIST)
    sample = np.random.default_rng(seed).choice(rows, n_sample, replace=False)
    dimensions = vectors.row_shape[0]
    heard = vectors.take(np.sort(sample))
    scale = float(_LARGEST_CODE / max(np.quantile(np.abs(heard), 1 - _CUT_SHARE), 1e-6))
    centres = faiss.IndexFlatIP(dimensions)
    lists = faiss.IndexIVFScalarQuantizer(
        centres,
        dimensions,
        n_lists,
        faiss.ScalarQuantizer.QT_8bit_direct_signed,
        faiss.METRIC_INNER_PRODUCT,
    )
    lists.by_residual = False
    lists.cp.seed = seed % 2**31
    lists.cp.spherical = True
    lists.cp.niter = _ROUNDS
    lists.train(heard)
    return lists, scale


def _coded(vectors: np.ndarray, scale: float) -> np.ndarray:
    """Return vectors as whole numbers that a byte holds."""
    return np.clip(np.rint(vectors * scale), -_LARGEST_CODE, _LARGEST_CODE)


def _chosen(vectors: ArrayReader, rows: np.ndarray, lists: Any, facts: IndexFacts) -> IndexFacts:
    """Choose how far the index looks by asking it for the neighbours of its own vectors.

    How many lists hold the nearest K of a query depends on how far the last of them lies, whatever
    K is and whichever rows are allowed. So that is what is measured, for the nearest 10 and the
    nearest 100. Half of the queries choose; the other half says what recall that gives.
    """
    own = np.random.default_rng(facts.seed).choice(rows, _N_ASKED, replace=False)
    queries = vectors.take(own)
    likeness, near = _others(vectors, queries, own, rows)
    places = _places(vectors, queries, near, lists)
    half = _N_ASKED // 2

    def recalls(tried: IndexFacts, part: slice) -> dict[int, np.ndarray]:
        """Return the recall of each query, by the length of the short list."""
        # One more is asked for: the query itself.
        longest = replace(tried, short_list=_FACTORS[-1])
        short = _short_lists(lists, longest, queries[part], _RECALL_AT + 1, None)
        of, found, alike = _candidates(vectors, queries[part], short)
        place = np.nonzero(_is_row(short, vectors))[1]
        last = likeness[part, :_RECALL_AT].min(axis=1)
        is_hit = (found != own[part][of]) & (alike >= last[of])
        hits = {
            factor: np.bincount(of[is_hit & (place < factor * (_RECALL_AT + 1))], minlength=half)
            for factor in _FACTORS
        }
        return {
            factor: np.minimum(found, _RECALL_AT) / _RECALL_AT for factor, found in hits.items()
        }

    def is_enough(found: np.ndarray) -> bool:
        # What these queries reach by chance, others would not.
        return found.mean() - 2 * found.std() / math.sqrt(len(found)) >= facts.target

    # What is found in the first look is less alike than what there is, so that the second goes too
    # far: less than the target, asked of the lists, is often enough.
    left = 1 - facts.target
    enough: list[int] = []
    for aim in (1 - 3 / 2 * left, 1 - left, 1 - left / 2, 1.0):
        bounds, probes = _bounds(likeness[:half], places[:half], aim, facts.lists)
        facts = replace(facts, bounds=bounds, probes=probes)
        found = recalls(facts, slice(0, half))
        enough = [factor for factor in _FACTORS if is_enough(found[factor])]
        if enough:
            break
    factor = min([*enough, _FACTORS[-1]])
    recall = recalls(facts, slice(half, None))[factor]
    return replace(
        facts, short_list=factor, recall=round(float(recall.mean()), 4), n_asked=len(recall)
    )


def _others(
    vectors: ArrayReader, queries: np.ndarray, own: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return likeness and rows of the nearest 100 [shape=(Q, 100)], each query itself left out."""
    near = exact_among(vectors, queries, _RANKS[-1] + 1, rows)
    # The query comes last; where 101 others are as alike, it is not among them, and one goes.
    order = np.argsort(near.rows == own[:, None], axis=1, kind="stable")[:, :-1]
    likeness, rows = near.likeness, near.rows
    return np.take_along_axis(likeness, order, 1), np.take_along_axis(rows, order, 1)


def _places(vectors: ArrayReader, queries: np.ndarray, near: np.ndarray, lists: Any) -> np.ndarray:
    """Return how many lists must be looked into to find each of the neighbours."""
    some, back = np.unique(near, return_inverse=True)
    home = lists.quantizer.search(vectors.take(some), 1)[1][back.reshape(near.shape), 0]
    order = lists.quantizer.search(queries, lists.nlist)[1]
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(1, lists.nlist + 1)[None, :], 1)
    return np.take_along_axis(place, home, 1)


def _bounds(
    likeness: np.ndarray, places: np.ndarray, aim: float, n_lists: int
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return, by the likeness of the last neighbour, how many lists hold this share of all."""
    asked = [
        (one[rank - 1], where[:rank])
        for rank in _RANKS
        for one, where in zip(likeness, places, strict=True)
    ]
    asked.sort(key=lambda one: -one[0])
    bounds, probes = [], [1]
    for part in np.array_split(np.arange(len(asked)), _N_BOUNDS):
        found = np.sort(np.concatenate([asked[number][1] for number in part]))
        bounds.append(float(asked[part[-1]][0]))
        probes.append(max(probes[-1], int(found[math.ceil(aim * len(found)) - 1])))
    return tuple(bounds), (*probes[1:], n_lists)


def _short_lists(
    lists: Any, facts: IndexFacts, queries: np.ndarray, k: int, allowed: np.ndarray | None
) -> np.ndarray:
    """Return the rows that the index finds nearest [shape=(Q, short_list * k)]; -1: no more.

    A first look tells how alike the last of the K neighbours is at least, and that, how many lists
    the others can lie in.
    """
    faiss = _faiss()
    chosen: dict[str, Any] = {}
    if allowed is not None:
        bits = np.packbits(allowed, bitorder="little")
        chosen["sel"] = faiss.IDSelectorBitmap(bits)

    def look(queries: np.ndarray, n_probes: int) -> tuple[np.ndarray, np.ndarray]:
        n = facts.short_list * k
        likeness, short = _look(lists, queries, facts.scale, n, n_probes, chosen)
        return likeness / facts.scale**2, short

    likeness, short = look(queries, facts.first_probes)
    probes = facts.probes_for(np.where(short[:, k - 1] == NOBODY, -np.inf, likeness[:, k - 1]))
    for n_probes in np.unique(probes[probes > facts.first_probes]):
        here = probes == n_probes
        short[here] = look(queries[here], int(n_probes))[1]
    return short


def _look(
    lists: Any, queries: np.ndarray, scale: float, n: int, n_probes: int, chosen: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return likeness of codes, and rows, of the nearest in the nearest lists [both shape=(Q, n)].

    The lists of a query are dealt out to a few threads; always to as many, so that what is found
    does not depend on how many there are, or on how many queries come together.
    """
    faiss = _faiss()
    n_dealt = -(-n_probes // _PARTS)
    towards, near = lists.quantizer.search(queries, n_probes)
    rest = ((0, 0), (0, n_dealt * _PARTS - n_probes))
    shape = (len(queries), n_dealt, _PARTS)
    dealt = [
        np.ascontiguousarray(np.pad(one, rest, constant_values=-1).reshape(shape).swapaxes(1, 2))
        for one in (near, towards)
    ]
    repeated = np.repeat(_coded(queries, scale), _PARTS, axis=0)
    likeness = np.empty((len(repeated), n), np.float32)
    rows = np.empty((len(repeated), n), np.int64)
    # What faiss offers in Python under this name, without the suffix, takes no parameters.
    lists.search_preassigned_c(
        len(repeated),
        faiss.swig_ptr(repeated),
        n,
        *map(faiss.swig_ptr, (*dealt, likeness, rows)),
        False,
        faiss.SearchParametersIVF(nprobe=n_dealt, **chosen),
    )
    likeness, rows = (one.reshape(len(queries), -1) for one in (likeness, rows))
    best = np.argsort(-likeness, axis=1, kind="stable")[:, :n]
    return np.take_along_axis(likeness, best, 1), np.take_along_axis(rows, best, 1)


def _candidates(
    vectors: ArrayReader, queries: np.ndarray, short: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return query number, row and likeness of each candidate of the short lists."""
    of, column = np.nonzero(_is_row(short, vectors))
    rows = short[of, column]
    likeness = np.empty(len(of), np.float32)
    for start in range(0, len(of), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        block = vectors.take(rows[some])
        likeness[some] = pair_likeness(queries, of[some], block, np.arange(len(block)))
    return of, rows, likeness


def _is_row(short: np.ndarray, vectors: ArrayReader) -> np.ndarray:
    """Tell rows from what stands for none, and from what a damaged list may hold."""
    return (short >= 0) & (short < vectors.n_rows)


def _described(folder: Path, vectors: ArrayReader, made_from: str) -> tuple[IndexFacts, np.ndarray]:
    """Read what is said of an index, and refuse it where it is none of these vectors.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        It is damaged, or of other vectors.
    """
    about, arrays = load_described(folder / DESCRIPTION)
    try:
        facts = from_mapping(IndexFacts, about)
        missing = arrays["missing"]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{folder / DESCRIPTION} is damaged ({error})") from error
    is_theirs = (facts.made_from, facts.dimensions) == (made_from, *vectors.row_shape)
    if not is_theirs or facts.n_covered > vectors.n_rows:
        raise ValueError(f"{folder} was made from other vectors")
    file = folder / facts.file
    if not file.exists() or file.stat().st_size != facts.n_bytes:
        raise ValueError(f"{file} is missing or of another size than it was written")
    return facts, missing


def _opened(folder: Path, facts: IndexFacts) -> Any:
    """Map the lists; what faiss builds in memory from the file is held against its digest first.

    Raises
    ------
    ValueError
        It is damaged.
    """
    faiss = _faiss()
    file = folder / facts.file
    try:
        if _digest(file, facts.n_head_bytes) != facts.head_digest:
            raise ValueError(f"{file} is damaged")
        lists: Any = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{file} cannot be read ({error})") from error
    # Threads that read ahead cost more than they bring where the file is in memory.
    faiss.downcast_InvertedLists(lists.invlists).prefetch_nthread = 0
    lists.parallel_mode = _QUERY_BY_QUERY
    return lists


def _digest(file: Path, n_bytes: int | None = None) -> str:
    """Return what stands for the first bytes of a file, or for all."""
    digest = hashlib.blake2b(digest_size=8)
    left = file.stat().st_size if n_bytes is None else n_bytes
    with open(file, "rb") as source:
        while left > 0 and (portion := source.read(min(left, 2**24))):
            digest.update(portion)
            left -= len(portion)
    return digest.hexdigest()


def _tidy(folder: Path, used: str) -> None:
    """Remove what a killed process left."""
    for name in os.listdir(folder):
        if name not in (used, DESCRIPTION):
            (folder / name).unlink()


def _faiss() -> Any:
    """Import it when it is needed; its stubs lack much of what is called here."""
    import faiss

    return faiss


def _untold(done: int, total: int) -> None:
    """Stand in for a progress that nobody follows."""
