"""What must stay on one side of a split, and what gives a score away.

In come the labels of items, the columns that say what belongs together (recording, session, site,
day), and likenesses; out come groups that are never parted, and findings in plain words: labels
that coincide with a recording or session, and the same sound under two names.

Axes: N items, T frames, F mel bands.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from oscine.picture.activity import DB_PER_NAT

UNRELATED_PERCENTILE = 99.9
"""Pairs more alike than this share of pairs from different groups are listened to again."""
LEAST_CANDIDATES, MOST_CANDIDATES = 50, 2000
"""Pairs that are listened to at least (where there are few) and at most."""
SAME_SOUND = 0.9
"""Two log-mel pictures that agree this well at their best shift are one sound. Of 40 real clips,
95 % are found again after an MP3 of low rate and a shift, 77 % after a Vorbis that lacks the first
quarter; stereotyped calls and songs of one bird reach .89, unrelated clips .46."""
AGREEMENT_RANGE_DB = 50.0
"""Below that, under the loudest value, encoders leave holes."""
ITEMS_AT_ONCE = 512
NAMED = 6
"""Labels that a sentence names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confound:
    """Labels that cannot be told from the place or time where they were recorded.

    Attributes
    ----------
    question, column : str
    single : tuple of str
        Labels that occur in one value of the column only.
    n_labels : int
    apart : tuple of (str, str)
        Pairs of labels that share no value of the column.
    sentence : str
    """

    question: str
    column: str
    single: tuple[str, ...]
    n_labels: int
    apart: tuple[tuple[str, str], ...]
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicate:
    """One sound in two items that a split could part.

    Attributes
    ----------
    kind : str
        ``exact`` (the same bytes) or ``near`` (the same sound, encoded again or cut otherwise).
    first, second : int
        Numbers of the items, the smaller first.
    agreement : float
        Of their log-mel at the best shift; 1 where they are exact.
    """

    kind: str
    first: int
    second: int
    agreement: float


def joined_groups(
    *columns: Sequence[str | None], pairs: Sequence[tuple[int, int]] = ()
) -> np.ndarray:
    """Return groups such that items that share a value in any column are in one.

    Parameters
    ----------
    *columns : sequence of N str or None
        Recordings, sessions, sites; None or an empty value joins nothing.
    pairs : sequence of (int, int)
        Items that belong together besides.

    Returns
    -------
    np.ndarray of int64 [shape=(N,)]
        Numbered by first appearance.

    Raises
    ------
    ValueError
        No column is given, or they differ in length.
    """
    lengths = {len(column) for column in columns}
    if len(lengths) != 1:
        raise ValueError(f"columns must be of one length, not {sorted(lengths)}")
    n_items = lengths.pop()
    joined = np.array(pairs, np.int64).reshape(-1, 2)
    first, second = [joined[:, 0]], [joined[:, 1]]
    for column in columns:
        members: dict[str, int] = {}
        known = [number for number, value in enumerate(column) if value]
        first.append(np.array(known, np.int64))
        second.append(np.array([members.setdefault(str(column[n]), n) for n in known], np.int64))
    ends = np.concatenate(first), np.concatenate(second)
    links = coo_matrix((np.ones(len(ends[0])), ends), shape=(n_items, n_items))
    _, component = connected_components(links, directed=False)
    _, start, number = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(start))[number].astype(np.int64)


def grouped_folds(
    labels: Sequence[str], groups: np.ndarray, *, n_folds: int, seed: int = 0
) -> np.ndarray:
    """Return a fold for each item: no group is in two, and labels are spread evenly.

    Parameters
    ----------
    labels : sequence of N str
    groups : np.ndarray of int [shape=(N,)]
    n_folds : int
        Fewer where there are fewer groups.
    seed : int

    Returns
    -------
    np.ndarray of int64 [shape=(N,)]

    Raises
    ------
    ValueError
        All items are in one group, or no label occurs twice: nothing can be held out.
    """
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError("all items are in one group (recording or session): nothing is held out")
    most = int(np.unique(labels, return_counts=True)[1].max())
    if most < 2:
        raise ValueError("no label occurs twice: nothing is held out")
    # Neither the order of the items nor the names of the groups may matter for the folds.
    order = np.lexsort((groups, np.asarray(labels)))
    n_folds = min(n_folds, n_groups, most)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    folds = np.empty(len(groups), np.int64)
    sorted_labels, sorted_groups = np.asarray(labels)[order], np.asarray(groups)[order]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # rare labels
        parts = list(splitter.split(np.zeros(len(order)), sorted_labels, sorted_groups))
    for fold, (_, held_out) in enumerate(parts):
        folds[order[held_out]] = fold
    return folds


def find_confounds(
    questions: Mapping[str, Sequence[str | None]], columns: Mapping[str, Sequence[str | None]]
) -> list[Confound]:
    """Find labels that coincide with a recording, a session or a source.

    Parameters
    ----------
    questions : mapping of name to N labels
    columns : mapping of name to N values
        The column ``recording`` is judged by single recordings alone: two labels never share one.

    Returns
    -------
    list of Confound
        In the order of questions and columns; none where every label occurs in several values and
        every pair of labels shares one.
    """
    found = []
    for question, labels in questions.items():
        for column, values in columns.items():
            places: dict[str, set[str]] = {}
            for label, value in zip(labels, values, strict=True):
                if label and value:
                    places.setdefault(label, set()).add(value)
            names = sorted(places)
            single = tuple(name for name in names if len(places[name]) == 1)
            apart = () if column == "recording" else _apart(places)
            if len(names) > 1 and (single or apart):
                found.append(
                    Confound(
                        question=question,
                        column=column,
                        single=single,
                        n_labels=len(names),
                        apart=apart,
                        sentence=_sentence(question, column, single, apart, len(names)),
                    )
                )
    return found


def _apart(places: Mapping[str, set[str]]) -> tuple[tuple[str, str], ...]:
    names = sorted(places)
    return tuple(
        (one, other)
        for number, one in enumerate(names)
        for other in names[number + 1 :]
        if not places[one] & places[other]
    )


def _sentence(
    question: str,
    column: str,
    single: tuple[str, ...],
    apart: tuple[tuple[str, str], ...],
    n_labels: int,
) -> str:
    words = []
    if single:
        words.append(
            f"{question}: {len(single)} of {n_labels} labels occur in one {column} only "
            f"({_listed(single)}), so what tells them apart may be the {column}"
        )
    n_pairs = n_labels * (n_labels - 1) // 2
    if apart and len(apart) == n_pairs:
        words.append(f"{question}: no two labels share a {column}")
    elif apart:
        pairs = _listed(tuple(f"{one} and {other}" for one, other in apart))
        words.append(f"{question}: {len(apart)} of {n_pairs} pairs share no {column} ({pairs})")
    return "; ".join(words)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def find_duplicates(
    contents: Sequence[str],
    groups: np.ndarray,
    vectors: np.ndarray,
    picture: Callable[[int], np.ndarray],
) -> list[Duplicate]:
    """Find one sound in items of different groups, under different names.

    Items with the same bytes are exact duplicates. Of the other pairs, those more alike than
    99.9 % of all pairs of different groups are listened to: they are near duplicates when their
    log-mel pictures agree at their best shift.

    Parameters
    ----------
    contents : sequence of N str
        A hash of what each item sounds like, byte by byte.
    groups : np.ndarray of int [shape=(N,)]
        As they would be without knowing of duplicates.
    vectors : np.ndarray of float [shape=(N, D)]
    picture : callable
        Gives the log-mel of an item [shape=(T, F)].

    Returns
    -------
    list of Duplicate
        Exact ones first, then the most alike.
    """
    first: dict[str, int] = {}
    exact = []
    for number, content in enumerate(contents):
        twin = first.setdefault(content, number)
        if groups[twin] != groups[number]:
            exact.append(Duplicate(kind="exact", first=twin, second=number, agreement=1.0))
    near = []
    for one, other in _most_alike(vectors, groups):
        if contents[one] == contents[other]:
            continue
        agreement = best_agreement(picture(one), picture(other))
        if agreement >= SAME_SOUND:
            near.append(Duplicate(kind="near", first=one, second=other, agreement=agreement))
    return exact + sorted(near, key=lambda two: (-two.agreement, two.first, two.second))


def best_agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Return how well two pictures agree at the shift at which they agree best.

    The correlation over all bands and overlapping frames, each band less its mean, so that a
    steady background does not count as agreement; what lies 50 dB below the loudest value counts
    as silence. At least half of the shorter picture overlaps.

    Parameters
    ----------
    one, other : np.ndarray of float [shape=(T, F)]
        Natural logarithm of power.

    Returns
    -------
    float
        In -1 to 1; 0 where a picture does not change over time.
    """
    long, short = (one, other) if len(one) >= len(other) else (other, one)
    long, short = _centred(long), _centred(short)
    n_long, n_short = len(long), len(short)
    size = next_fast_len(n_long + n_short)
    spectrum = np.fft.rfft(long, size, axis=0) * np.fft.rfft(short, size, axis=0).conj()
    product = np.fft.irfft(spectrum, size, axis=0).sum(axis=1)
    least = -(-n_short // 2)
    shifts = np.arange(least - n_short, n_long - least + 1)
    starts, stops = np.maximum(shifts, 0), np.minimum(shifts + n_short, n_long)
    energy = _energy(long, starts, stops) * _energy(short, starts - shifts, stops - shifts)
    floor = 1e-9 * (np.square(long).sum() * np.square(short).sum() + 1e-30)
    agreement = np.where(energy > floor, product[shifts] / np.sqrt(np.maximum(energy, floor)), 0)
    return float(agreement.max(initial=0))


def _centred(picture: np.ndarray) -> np.ndarray:
    """Return a picture in float64 without what is too quiet, each band less its mean."""
    x = np.maximum(picture.astype(np.float64), picture.max() - AGREEMENT_RANGE_DB / DB_PER_NAT)
    return x - x.mean(axis=0)


def _energy(picture: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return the sum of squares over frames [start, stop) for each pair."""
    running = np.concatenate(([0.0], np.cumsum(np.square(picture).sum(axis=1))))
    return running[stops] - running[starts]


def _most_alike(vectors: np.ndarray, groups: np.ndarray) -> list[tuple[int, int]]:
    """Return the most alike pairs of different groups, those above the percentile of all."""
    x = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    n_pairs = _n_pairs(groups)
    n_kept = round(n_pairs * (1 - UNRELATED_PERCENTILE / 100))
    n_kept = min(max(n_kept, LEAST_CANDIDATES), MOST_CANDIDATES)
    kept = np.empty((0, 3))  # likeness, one, other
    for start in range(0, len(x), ITEMS_AT_ONCE):
        likeness = x[start : start + ITEMS_AT_ONCE] @ x.T
        rows = np.arange(start, start + len(likeness))
        is_pair = (rows[:, None] < np.arange(len(x))) & (groups[rows][:, None] != groups)
        likeness[~is_pair] = -np.inf
        best = np.argpartition(likeness, max(0, likeness.size - n_kept), axis=None)[-n_kept:]
        row, column = np.unravel_index(best, likeness.shape)
        found = np.stack([likeness[row, column], row + start, column], axis=1)
        kept = np.concatenate([kept, found[np.isfinite(found[:, 0])]])
        kept = kept[np.argsort(-kept[:, 0], kind="stable")][:n_kept]
    return [(int(one), int(other)) for _, one, other in kept]


def _n_pairs(groups: np.ndarray) -> int:
    """Return the number of pairs of items of different groups."""
    sizes = np.unique(groups, return_counts=True)[1]
    return int((len(groups) ** 2 - np.square(sizes).sum()) // 2)
