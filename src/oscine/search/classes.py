"""Crow, jay, or none of these: a few labelled examples against one sound. Nothing is trained.

In come vectors of examples, of the sound that is asked about, and of the archive's events; out come
shares of the classes and of none of them.

A class is the mean of its examples (nearest class mean: Mensink et al. 2013,
https://doi.org/10.1109/TPAMI.2013.83). How alike a sound is to the class that is nearest counts by
its percentile among events of the archive that are like it in band, length and level: what lies
lower than most of them is none of the classes. Axes: Q examples, K classes, N events, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oscine.search.similarity import Cohort, Percentile, Sounds, percentile

MATCHED_EVENTS = 200
ACCEPTED = 0.9
"""Percentile from which a sound may be one of the classes."""
NEAREST = 3
LEAST_DEVIATION = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassShare:
    """How much speaks for one class.

    Attributes
    ----------
    name : str
    share : float or None
        All shares and that of none add up to one. They are not probabilities: nothing was fitted.
        None where the archive has too little to say what is usual.
    likeness : float
        Cosine to the mean of its examples.
    n_examples, n_recordings : int
    """

    name: str
    share: float | None
    likeness: float
    n_examples: int
    n_recordings: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Which:
    """Which class a sound is of.

    Attributes
    ----------
    answer : str or None
        None: none of these, or nothing can be said.
    classes : tuple of ClassShare
        The likeliest first.
    none_share : float or None
        None where the archive has too little to say whether it is any of them.
    percentile : Percentile or None
        Of the likeness to the nearest class, among events of the archive like the sound.
    neighbours : tuple of (row, likeness)
        The nearest examples.
    neighbours_say : str
        The class most of them are of; of the nearest where they are equally many.
    """

    answer: str | None
    classes: tuple[ClassShare, ...]
    none_share: float | None
    percentile: Percentile | None
    neighbours: tuple[tuple[int, float], ...]
    neighbours_say: str


def which(one: Sounds, examples: Sounds, names: Sequence[str], cohort: Cohort) -> Which:
    """Tell which class a sound is of.

    Parameters
    ----------
    one : Sounds
        A single one.
    examples : Sounds [Q sounds]
    names : sequence of Q str
        Class of each.
    cohort : Cohort

    Returns
    -------
    Which

    Raises
    ------
    ValueError
        There are no examples.
    """
    if not len(examples):
        raise ValueError("no example is left to compare with")
    classes = sorted(set(names))
    of_class = np.array([classes.index(name) for name in names])
    means = class_means(examples.vectors, of_class)
    likeness = means @ one.vectors[0]  # (K,)
    rows = cohort.matched(one, MATCHED_EVENTS)
    rows = rows[~np.isin(cohort.sounds.recordings[rows], examples.recordings)]
    others = cohort.sounds.vectors[rows] @ means.T  # (N, K)
    weights = cohort.weights[rows]
    n_recordings = len(np.unique(cohort.sounds.recordings[rows]))
    nearest = percentile(
        float(likeness.max()),
        others.max(axis=1),
        weights,
        n_recordings=n_recordings,
        n_independent=n_recordings,
    )
    shares: list[float | None] = [None] * len(classes)
    if nearest is not None:
        # A deviation of what is usual is worth a factor of e.
        each = np.exp((likeness - likeness.max()) / max(float(others.std()), LEAST_DEVIATION))
        shares = (nearest.share * each / each.sum()).tolist()
    to_examples = examples.vectors @ one.vectors[0]
    nearest_rows = np.argsort(-to_examples, kind="stable")[:NEAREST]
    found = tuple(
        ClassShare(
            name=classes[k],
            share=shares[k],
            likeness=float(likeness[k]),
            n_examples=int((of_class == k).sum()),
            n_recordings=len(np.unique(examples.recordings[of_class == k])),
        )
        for k in np.argsort(-likeness, kind="stable").tolist()
    )
    is_accepted = nearest is not None and nearest.share >= ACCEPTED
    return Which(
        answer=found[0].name if is_accepted else None,
        classes=found,
        none_share=None if nearest is None else 1 - nearest.share,
        percentile=nearest,
        neighbours=tuple((int(row), float(to_examples[row])) for row in nearest_rows),
        neighbours_say=_most([str(names[row]) for row in nearest_rows]),
    )


def class_means(vectors: np.ndarray, of_class: np.ndarray) -> np.ndarray:
    """Return the mean of each class at unit length [shape=(K, D)]."""
    sums = np.stack([vectors[of_class == k].mean(axis=0) for k in range(of_class.max() + 1)])
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    return sums / np.where(length > 0, length, 1)


def _most(names: Sequence[str]) -> str:
    """Return the commonest name; the first of those equally common."""
    return max(names, key=lambda name: (names.count(name), -names.index(name)))
