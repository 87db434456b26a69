"""Sessions of observation: stretches in which somebody watched, and what fell into them.

In :mod:`oscine.behaviour.join` they are made of calls, observations and effort;
:mod:`oscine.behaviour.association` finds out from them what goes with what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Held:
    """A value that holds over stretches.

    Attributes
    ----------
    spans : np.ndarray of int64 [shape=(M, 2)]
        Start and stop on the session's axis, in ms; apart from each other, ascending.
    values : np.ndarray of float64 [shape=(M,)]
    """

    spans: Whole
    values: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Session:
    """One session, on an axis of its own that runs only while somebody watches.

    Attributes
    ----------
    name : str
        Log and session, and the site where there is one.
    site : str
    duration_ms : int
        Length of the axis: the effort.
    segments : np.ndarray of int64 [shape=(M, 2)]
        The stretches of effort on their timeline, in ms: the axis is these, end to end. By when
        they begin; those of recorders that ran beside each other share time. Of several recordings
        without a time they are as on the axis itself.
    is_dated : bool
        Whether the timeline is UTC, so that there is an hour of the day.
    calls : np.ndarray of int64 [shape=(N,)]
        Numbers of the calls that begin in it, by when they begin.
    starts, lengths : np.ndarray of int64 [shape=(N,)]
        In ms, on the axis.
    sound_types : np.ndarray of int64 [shape=(N,)]
        -1: not grouped.
    behaviours : mapping of str to np.ndarray of int64 [shape=(M, 2)]
        Where a call would be with each behaviour: its states, and its points widened by the
        tolerance on both sides, cut to the effort and merged. All behaviours that were watched for
        have an entry, which may be empty.
    of_subjects : mapping of (str, str) to np.ndarray of int64 [shape=(M, 2)]
        The same for each behaviour and subject.
    contexts : mapping of str to Held
    n_timelines : int
        How many timelines it is on: that of a site, and those of recordings.
    """

    name: str
    site: str
    duration_ms: int
    segments: Whole
    is_dated: bool
    calls: Whole
    starts: Whole
    lengths: Whole
    sound_types: Whole
    behaviours: Mapping[str, Whole]
    of_subjects: Mapping[tuple[str, str], Whole] = field(default_factory=dict)
    contexts: Mapping[str, Held] = field(default_factory=dict)
    n_timelines: int = 1


def overlaps(
    starts: NDArray[np.integer], stops: NDArray[np.integer], spans: Whole
) -> NDArray[np.bool_]:
    """Tell which half-open intervals share time with one of some spans.

    Parameters
    ----------
    starts, stops : np.ndarray of int [any one shape]
    spans : np.ndarray of int64 [shape=(M, 2)]
        Apart from each other, ascending.

    Returns
    -------
    np.ndarray of bool [that shape]
    """
    if not len(spans):
        return np.zeros(starts.shape, bool)
    first = np.searchsorted(spans[:, 1], starts, side="right")  # the first that ends later
    begins = np.append(spans[:, 0], np.iinfo(np.int64).max)
    return begins[first] < stops
