"""Events that are exported, a file of the archive at a time, with all that is known of them.

In come a catalogue and the numbers of events; out come the events in a stable order. The modules
that write exports use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from oscine.config import OscineConfig
from oscine.sound.recording import Interval
from oscine.sound.selections import event_key
from oscine.steps.naming import grouping_fingerprint, sound_types
from oscine.workspace.catalogue import Catalogue, EventRow, RecordingRow, SoundTypeRow
from oscine.workspace.exported import FreePaths, safe_name
from oscine.workspace.folder import Workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedEvent:
    """An event and all that is known of it; `kind` is None until it is grouped."""

    recording: RecordingRow
    event: EventRow
    kind: SoundTypeRow | None

    @property
    def interval(self) -> Interval:
        """Never empty, and within the recording."""
        start = min(self.event.start_sample, self.recording.n_samples - 1)
        stop = max(self.event.stop_sample, start + 1)
        return Interval(start=start, stop=stop, sample_rate_hz=self.recording.sample_rate_hz)

    @property
    def cluster(self) -> int | None:
        """Its sound type, where it is in one."""
        return self.kind.cluster if self.kind is not None and self.kind.cluster >= 0 else None

    @property
    def key(self) -> str:
        """What names it in a table."""
        return event_key(self.event, self.recording.content_key)

    @property
    def place(self) -> tuple[str, str, int, int]:
        """What events are sorted by: recording, then time."""
        return (
            self.recording.root,
            self.recording.path,
            self.event.start_sample,
            self.event.event_id,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Chosen:
    """Some events of a workspace.

    Attributes
    ----------
    workspace : Workspace
    catalogue : Catalogue
    config : OscineConfig
    numbers : np.ndarray of int [shape=(N,)]
        Of the events, ascending.
    clusters : np.ndarray of int [shape=(N,)]
        Their sound types; -1: none.
    names : dict of int to str
        Of the sound types that have one.
    progress : callable, optional
    """

    workspace: Workspace
    catalogue: Catalogue
    config: OscineConfig
    numbers: np.ndarray
    clusters: np.ndarray
    names: dict[int, str]
    progress: Callable[[int, int, str], None] | None

    def files(self) -> Iterator[tuple[list[RecordingRow], list[ExportedEvent]]]:
        """Yield each file that was heard, a row a channel, with its events in order of time."""
        done = 0
        for channels in self.catalogue.heard_files():
            heard = [
                ExportedEvent(recording=recording, event=event, kind=kind)
                for recording in channels
                for event, kind in self.catalogue.typed_events_of(recording.recording_id)
            ]
            is_chosen = self._are_chosen([one.event.event_id for one in heard])
            heard = [one for one, is_one in zip(heard, is_chosen, strict=True) if is_one]
            yield channels, sorted(heard, key=lambda one: one.place)
            done += len(heard)
            if self.progress is not None:
                self.progress(done, max(1, len(self.numbers)), channels[0].path)

    def some(self, numbers: Iterable[int]) -> list[ExportedEvent]:
        """Return some events, by recording and time."""
        events = self.catalogue.some_events(numbers)
        rows = self.catalogue.some_recordings({one.recording_id for one in events.values()})
        kinds = self.catalogue.some_sound_types(events)
        heard = (
            ExportedEvent(recording=rows[one.recording_id], event=one, kind=kinds.get(number))
            for number, one in events.items()
        )
        return sorted(heard, key=lambda one: one.place)

    def n_recordings(self, numbers: Iterable[int]) -> int:
        """Return how many files of the archive some events are of."""
        ids = {one.recording_id for one in self.catalogue.some_events(numbers).values()}
        rows = self.catalogue.some_recordings(ids).values()
        return len({(row.root, row.path) for row in rows})

    def drawn(self, most: int, seed: int) -> tuple[dict[int, list[int]], set[int]]:
        """Return events to take of each sound type (-1: none), and which events are its examples.

        Examples come first, then others that are drawn by chance.
        """
        examples: dict[int, list[int]] = {}
        if grouping_fingerprint(self.catalogue):
            examples = sound_types(self.catalogue).exemplars
        taken: dict[int, list[int]] = {}
        for cluster in np.unique(self.clusters).tolist():
            members = self.numbers[self.clusters == cluster]
            among = set(members.tolist())
            first = [number for number in examples.get(cluster, []) if number in among][:most]
            others = np.setdiff1d(members, first)
            rng = np.random.default_rng([seed, cluster + 1])
            n_drawn = min(most - len(first), len(others))
            taken[cluster] = [*first, *rng.choice(others, n_drawn, replace=False).tolist()]
        return taken, {number for own in examples.values() for number in own}

    def root_folders(self) -> dict[str, tuple[str, ...]]:
        """Return the folder of an export that stands for each root, where there are several."""
        roots, paths = self.catalogue.roots(), FreePaths()
        if len(roots) == 1:
            return {roots[0]: ()}
        return {root: (paths.take(safe_name(PurePosixPath(root).name), ""),) for root in roots}

    def _are_chosen(self, numbers: Sequence[int]) -> np.ndarray:
        if not len(self.numbers):
            return np.zeros(len(numbers), bool)
        places = np.searchsorted(self.numbers, numbers)
        return self.numbers[np.minimum(places, len(self.numbers) - 1)] == numbers


@dataclass(kw_only=True, slots=True)
class Written:
    """What was written so far.

    Attributes
    ----------
    events, recordings : int
    skipped : list of (str, str)
        Paths of recordings of which something could not be written, and why; once an event.
    notes : list of str
    """

    events: int = 0
    recordings: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, heard: Sequence[ExportedEvent]) -> None:
        """Count the events of a file."""
        self.events += len(heard)
        self.recordings += bool(heard)

    def note_newer(self, number: int, what: str) -> None:
        """Note that some events came after a step, if any did."""
        if number:
            self.notes.append(f"{number:,} newer events have {what}")


def box(one: ExportedEvent) -> tuple[float, float, float, float]:
    """Return the cells of `oscine.sound.tables` that say where an event lies."""
    interval = one.interval
    return interval.start_s, interval.stop_s, one.event.low_hz, one.event.high_hz


def sound_type(one: ExportedEvent, names: dict[int, str]) -> tuple[int | None, str | None]:
    """Return the cells that say of which sound type an event is."""
    return one.cluster, None if one.cluster is None else names.get(one.cluster)
