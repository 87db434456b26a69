"""What the events of an archive are to each other: neighbours, near-duplicates, oddities.

In comes a workspace with vectors; out come what finds neighbours in it, and a report of what
comparing all events told. `embed` ends with it, `status` shows it.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from oscine.config import OscineConfig, fingerprint, to_mapping
from oscine.steps.shared import Progress, needed, telling_plainly
from oscine.workspace.arrays import ArrayReader
from oscine.workspace.catalogue import Catalogue, Stage
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    from oscine.search.index import NeighbourIndex

MOST_PAIRS = 1000
"""Pairs of near-duplicate recordings that are kept by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicates:
    """Two recordings that hold the same sound, in another encoding, louder, or cut."""

    path: str
    other: str
    offset_s: float
    """What happens in the first at some time happens in the other so much later."""
    share: float
    """Of the events of the one that has fewer, those found in both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OddEvent:
    """An event least like anything in other recordings."""

    path: str
    start_s: float
    stop_s: float
    likeness: float
    """To its fifth nearest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NeighboursReport:
    """What comparing the events of an archive with each other told."""

    method: str
    """How neighbours are found: all are compared, or an index, and what it finds of them."""
    recall: float
    """At 10, measured; 1 where all are compared."""
    lists: int
    """Of the index; 0 where there is none."""
    probes: int
    """Lists that half of the questions look into, or fewer."""
    events: int
    asked: int
    """Events that were compared with all others."""
    near_duplicates: list[NearDuplicates]
    near_duplicates_in_all: int
    oddest: list[OddEvent]
    notes: list[str]


def compare(
    workspace: Workspace, catalogue: Catalogue, config: OscineConfig, progress: Progress | None
) -> None:
    """Bring the index up to date, and look for near-duplicate recordings and odd events.

    Parameters
    ----------
    workspace : Workspace
        In which the events are embedded.
    catalogue : Catalogue
    config : OscineConfig
    progress : callable, optional
    """
    from oscine.search.index import open_index, refresh_index
    from oscine.search.survey import Events, survey

    wanted = _vectors_fingerprint(needed(catalogue, "embed"))
    stage = catalogue.stage("neighbours")
    vectors, made_from = event_vectors(workspace, catalogue)
    if stage is not None and stage.fingerprint == wanted:
        opened = open_index(workspace.neighbours(), vectors, made_from).facts
        if stage.facts["index"] == (None if opened is None else to_mapping(opened)):
            return
    recordings = {row.recording_id: row for row in catalogue.recordings()}
    events = catalogue.events()
    first_channel: dict[tuple[str, str], int] = {}
    for row in recordings.values():
        first_channel.setdefault((row.root, row.path), row.recording_id)
    of_events = [recordings[event.recording_id] for event in events]
    table = Events(
        rows=np.array([event.event_id - 1 for event in events], np.int64),
        recordings=np.array([first_channel[row.root, row.path] for row in of_events], np.int64),
        starts_s=np.array(
            [
                event.start_sample / row.sample_rate_hz
                for event, row in zip(events, of_events, strict=True)
            ]
        ),
    )
    present = np.zeros(vectors.n_rows, bool)
    present[table.rows] = True
    seed = config.readout.seed
    index = refresh_index(
        workspace.neighbours(),
        vectors,
        made_from,
        present,
        seed=seed,
        progress=telling_plainly(progress, "neighbours"),
    )
    found = survey(index, table, seed, telling_plainly(progress, "compare"))
    facts = {
        "index": None if index.facts is None else to_mapping(index.facts),
        "note": index.note,
        "events": found.n_events,
        "asked": found.n_asked,
        "pairs": len(found.near_duplicates),
        "pairs_not_compared": found.n_not_compared,
        "near_duplicates": [asdict(one) for one in found.near_duplicates[:MOST_PAIRS]],
        "oddities": [{"event": one.row + 1, "likeness": one.likeness} for one in found.oddities],
    }
    catalogue.set_stage("neighbours", Stage(fingerprint=wanted, finished=True, facts=facts))


def open_neighbours(
    workspace: Workspace, catalogue: Catalogue
) -> tuple[NeighbourIndex, np.ndarray]:
    """Return what finds neighbours among the events, and which of its rows are present.

    Row n is that of event n + 1.

    Returns
    -------
    index : NeighbourIndex
    present : np.ndarray of bool [shape=(N,)]

    Raises
    ------
    ValueError
        There are no vectors yet.
    """
    from oscine.search.index import open_index

    vectors, made_from = event_vectors(workspace, catalogue)
    present = np.ones(vectors.n_rows, bool)
    absent = catalogue.absent_events()
    present[absent[absent <= vectors.n_rows] - 1] = False
    return open_index(workspace.neighbours(), vectors, made_from), present


def near_duplicates_of(catalogue: Catalogue) -> dict[tuple[str, str], str]:
    """Return the path of the recording that holds most of the same sound, by root and path."""
    stage = _compared(catalogue)
    pairs = stage.facts["near_duplicates"] if stage is not None else []
    sides = [(pair["recording"], pair["other"]) for pair in pairs]
    rows = catalogue.some_recordings({number for pair in sides for number in pair})
    found: dict[tuple[str, str], str] = {}
    for pair in sides:
        for one, other in (pair, pair[::-1]):
            found.setdefault((rows[one].root, rows[one].path), rows[other].path)
    return found


def neighbours_report(catalogue: Catalogue) -> NeighboursReport | None:
    """Return what comparing the events told, by the names that the recordings have now."""
    stage = _compared(catalogue)
    if stage is None:
        return None
    facts, index = stage.facts, stage.facts["index"]
    pairs, odd = facts["near_duplicates"], facts["oddities"]
    events = catalogue.some_events(one["event"] for one in odd)
    numbers = {pair[side] for pair in pairs for side in ("recording", "other")}
    rows = catalogue.some_recordings(numbers | {one.recording_id for one in events.values()})
    oddest = []
    for one in odd:
        event = events[one["event"]]
        row = rows[event.recording_id]
        start_s, stop_s = (
            round(sample / row.sample_rate_hz, 3)
            for sample in (event.start_sample, event.stop_sample)
        )
        oddest.append(
            OddEvent(path=row.path, start_s=start_s, stop_s=stop_s, likeness=one["likeness"])
        )
    notes = [facts["note"]] if facts["note"] else []
    if facts["asked"] < facts["events"]:
        notes.append(
            f"{facts['asked']:,} of {facts['events']:,} events were compared with all others: "
            "near-duplicates and odd events are those among them"
        )
    if facts["pairs"] > len(pairs):
        notes.append(
            f"{facts['pairs']:,} pairs of recordings seem to hold the same sound: the "
            f"{len(pairs):,} with the most events in common are kept by name"
        )
    if facts["pairs_not_compared"]:
        notes.append(
            f"{facts['pairs_not_compared']:,} more pairs of recordings have events that are "
            "nearly the same, and were not compared further"
        )
    probes = index["probes"][len(index["probes"]) // 2] if index else 0
    return NeighboursReport(
        method="all are compared"
        if index is None
        else f"an index of {index['lists']:,} lists, {probes:,} looked into; it finds "
        f"{index['recall']:.1%} of the nearest 10 (measured)",
        recall=index["recall"] if index else 1.0,
        lists=index["lists"] if index else 0,
        probes=probes,
        events=facts["events"],
        asked=facts["asked"],
        near_duplicates=[
            NearDuplicates(
                path=rows[pair["recording"]].path,
                other=rows[pair["other"]].path,
                offset_s=pair["offset_s"],
                share=pair["share"],
            )
            for pair in pairs
        ],
        near_duplicates_in_all=facts["pairs"],
        oddest=oddest,
        notes=notes,
    )


def _compared(catalogue: Catalogue) -> Stage | None:
    """Return the comparison of the events with each other, where it is of the vectors in use."""
    embedded, stage = catalogue.stage("embed"), catalogue.stage("neighbours")
    if embedded is None or not embedded.finished or stage is None:
        return None
    return stage if stage.fingerprint == _vectors_fingerprint(embedded) else None


def _vectors_fingerprint(embedded: Stage) -> str:
    """Return what stands for the vectors that were compared."""
    return fingerprint(embedded.fingerprint, embedded.facts["digest"])


def event_vectors(workspace: Workspace, catalogue: Catalogue) -> tuple[ArrayReader, str]:
    """Return the vectors of all events, absent ones too, and what stands for their making."""
    from oscine.embedding.readout import READOUT

    facts = needed(catalogue, "embed").facts
    folder = workspace.embeddings()
    shape = (facts["dimensions"],)
    vectors = ArrayReader(folder / "events", np.dtype(np.float32), shape, facts["events"])
    # A readout that was fitted again, to the same weights and settings, gives other vectors.
    readout = hashlib.blake2b((folder / READOUT).read_bytes(), digest_size=8).hexdigest()
    return vectors, fingerprint(facts["made_with"], readout)
