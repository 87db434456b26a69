"""What people gave labels to, and which of it belongs together.

In come annotations that were matched to recordings; out come `Item`s, each a stretch of a recording
with all that was said of it, and their `Groups`: what a split must keep together. Called by the
steps; asked by the rest of the evaluation.

Axes: N items.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oscine.config import PictureConfig
from oscine.embedding.intervals import FrameInterval
from oscine.evaluation.splits import Duplicate, joined_groups
from oscine.sound.annotations import (
    Annotation,
    PlacedAnnotation,
    contradictions,
    written_alike,
)
from oscine.workspace.catalogue import RecordingRow

SESSION_COLUMNS = ("session", "day", "date", "night", "site")
"""Columns that hold recordings made under the same circumstances: a split keeps them together,
and individuals are compared within and across them. Other columns name one recording."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A stretch of a recording that people gave labels to."""

    interval: FrameInterval
    path: str
    labels: Mapping[str, str]

    @property
    def name(self) -> str:
        """Where it is, for people."""
        recording, start = self.interval.recording, self.interval.start_frame
        if (start, self.interval.stop_frame) == (0, recording.n_frames):
            return self.path
        return f"{self.path} (frames {start} to {self.interval.stop_frame})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """Which items belong together.

    Attributes
    ----------
    recordings : np.ndarray of int [shape=(N,)]
        Items of one recording, whatever its name.
    split : np.ndarray of int [shape=(N,)]
        The same, and of one session where a column says so: never on both sides.
    session : tuple of N str or None
        None where no such column is given.
    """

    recordings: np.ndarray
    split: np.ndarray
    session: tuple[str, ...] | None

    def of(self, numbers: np.ndarray) -> Groups:
        """Return those of some items."""
        session = None if self.session is None else tuple(self.session[n] for n in numbers)
        return Groups(
            recordings=self.recordings[numbers], split=self.split[numbers], session=session
        )


def labelled_items(
    placed: Sequence[PlacedAnnotation], recordings: Sequence[RecordingRow], picture: PictureConfig
) -> list[Item]:
    """Return the stretches that were labelled, each once, with all that was said of it.

    Parameters
    ----------
    placed : sequence of PlacedAnnotation
        Where two tables contradict each other, the first holds.
    recordings : sequence of RecordingRow
        As of :func:`oscine.sound.annotations.heard_twins`.
    picture : PictureConfig

    Returns
    -------
    list of Item
        By path and time: their order does not depend on that of the tables.

    Raises
    ------
    ValueError
        There are none.
    """
    if not placed:
        raise ValueError(
            "no label belongs to a recording that was heard: nothing can be evaluated; are the "
            "paths of the table those of the recordings (see `oscine status`)?"
        )
    rows = {row.recording_id: row for row in recordings}
    return [
        Item(
            interval=FrameInterval(recording=rows[number], start_frame=start, stop_frame=stop),
            path=path,
            # What comes first is written last, and holds.
            labels={name: label for one in reversed(said) for name, label in one.labels.items()},
        )
        for (path, number, start, stop), said in _by_stretch(placed, rows, picture).items()
    ]


def contradicted_items(
    placed: Sequence[PlacedAnnotation],
    recordings: Sequence[RecordingRow],
    picture: PictureConfig,
    columns: Sequence[str],
) -> list[str]:
    """Say of how many stretches rows say different things, and which labels are nearly alike.

    Parameters
    ----------
    placed, recordings, picture
        As of :func:`labelled_items`.
    columns : sequence of str
        That are asked of.
    """
    rows = {row.recording_id: row for row in recordings}
    said = _by_stretch(placed, rows, picture).values()
    found: list[str] = []
    for column in columns:
        found += contradictions(column, said, each="stretches", which="the first counts")
        found += written_alike(
            column,
            (one.labels[column] for each in said for one in each if column in one.labels),
        )
    return found


def _by_stretch(
    placed: Sequence[PlacedAnnotation], rows: Mapping[int, RecordingRow], picture: PictureConfig
) -> dict[tuple[str, int, int, int], list[Annotation]]:
    """Return what was said of each stretch: of a path, a recording, from a frame to a frame."""
    said: defaultdict[tuple[str, int, int, int], list[Annotation]] = defaultdict(list)
    for one in placed:
        recording = rows[one.recording_id]
        key = (recording.path, one.recording_id, *_frames(one, recording, picture))
        if one.annotation.labels:
            said[key].append(one.annotation)
    return dict(sorted(said.items()))


def group_items(
    items: Sequence[Item], columns: Sequence[str], duplicates: Sequence[Duplicate] = ()
) -> Groups:
    """Return which items belong together, by recording, by columns, and as one sound.

    Parameters
    ----------
    items : sequence of N Item
    columns : sequence of str
        Of the tables; those of `SESSION_COLUMNS` hold several recordings.
    duplicates : sequence of Duplicate

    Returns
    -------
    Groups
    """
    said = {name: [one.labels.get(name) for one in items] for name in columns}
    same = [(one.first, one.second) for one in duplicates]
    wide = [name for name in columns if name.lower() in SESSION_COLUMNS]
    narrow = [said[name] for name in columns if name not in wide]
    recordings = joined_groups([one.path for one in items], *narrow, pairs=same)
    named = [str(number) for number in recordings]
    session = None
    if wide:
        known = zip(said[wide[0]], named, strict=True)
        session = tuple(day or f"recording {number}" for day, number in known)
    split = joined_groups(named, *(said[name] for name in wide))
    return Groups(recordings=recordings, split=split, session=session)


def _frames(
    one: PlacedAnnotation, recording: RecordingRow, picture: PictureConfig
) -> tuple[int, int]:
    """Return the frames of the tape that an annotation covers, at least one."""
    if one.annotation.start_s is None:
        return 0, recording.n_frames
    rate, hop = one.interval.sample_rate_hz, picture.hop_samples
    start = one.interval.start * picture.sample_rate_hz // (rate * hop)
    stop = -(-one.interval.stop * picture.sample_rate_hz // (rate * hop))
    start = min(start, recording.n_frames - 1)
    return start, max(start + 1, min(stop, recording.n_frames))
