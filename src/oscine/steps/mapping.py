"""From a model to the map: `embed` and `cluster`.

In comes a workspace with a model; out come vectors, what their neighbours say of the archive, sound
types, and reports of all.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oscine.workspace.catalogue import (
    SoundTypeRow,
    Stage,
    TypedEvents,
)
from oscine.workspace.distribute import ray_cluster

if TYPE_CHECKING:
    from oscine.embedding.duplicates import Duplicates
    from oscine.picture.indexing import Engine
from oscine.steps.comparing import compare
from oscine.steps.editing import content_keys, edited
from oscine.steps.naming import ClusterReport, grouping_of, sound_types
from oscine.steps.shared import (
    Progress,
    archive_of,
    at_work,
    n_cores,
    needed,
    open_tape,
    seeds_of,
    telling_plainly,
)

MOST_DUPLICATES = 0.005
"""Share of events with the vector of another, different one, above which the reports say so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedReport:
    """What was embedded."""

    events: int
    windows: int
    dimensions: int
    fitted_on: int
    refitted: bool
    duplicate_share: float
    """Of events (of a sample of 4,000), those that have the vector of another, different event."""
    notes: list[str]


def embed(
    folder: Path,
    *,
    refit: bool = False,
    engine: Engine = "processes",
    settings: Iterable[str] = (),
    progress: Progress | None = None,
) -> EmbedReport:
    """Compute the vector of every event and every window, and compare the events.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    refit : bool
        Fit the readout again.
    engine : "processes" or "ray"
        Where sounds are encoded: here, or on a Ray cluster as in :func:`index`.
    settings : iterable of str
    progress : callable, optional

    Returns
    -------
    EmbedReport

    Raises
    ------
    ValueError
        There is no model yet, or too little to fit a readout.
    """
    from oscine.embedding.vectors import Places, embed_archive, encode_with_ray
    from oscine.model.checkpoint import load_encoder

    with ExitStack() as stack, at_work(folder, settings) as (workspace, catalogue, config):
        model = needed(catalogue, "pretrain")
        tape, _ = open_tape(workspace, catalogue, config)
        checkpoint = workspace.folder / model.facts["checkpoint"]
        far = None
        if engine == "ray":
            places = Places(
                tape=tape.folder.resolve(),
                picture=config.picture,
                n_rows=catalogue.tape_rows(),
                checkpoint=checkpoint.resolve(),
            )
            far = partial(encode_with_ray, stack.enter_context(ray_cluster(n_cores())), places)
        done = embed_archive(
            catalogue,
            workspace.embeddings(),
            tape,
            load_encoder(checkpoint),
            config.readout,
            config.activity,
            archive=archive_of(catalogue),
            weights=model.facts["weights"],
            refit=refit,
            far=far,
            progress=telling_plainly(progress, "embed"),
        )
        compare(workspace, catalogue, config, progress)
    return EmbedReport(
        events=done.n_events,
        windows=done.n_windows,
        dimensions=done.dimensions,
        fitted_on=done.n_fitted,
        refitted=done.refitted,
        duplicate_share=round(done.duplicates.share, 4),
        notes=duplicate_notes(done.duplicates),
    )


def cluster(
    folder: Path,
    *,
    seed: int | None = None,
    settings: Iterable[str] = (),
    progress: Progress | None = None,
) -> ClusterReport:
    """Group the events into sound types and draw the map.

    Edits that people made of an earlier grouping are carried over where they fit.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    seed : int, optional
        Of the map.
    settings : iterable of str
    progress : callable, optional

    Returns
    -------
    ClusterReport

    Raises
    ------
    ValueError
        There are no vectors yet.
    """
    from oscine.atlas.cluster import cluster_vectors, stability
    from oscine.atlas.projection import project_vectors

    overrides = [*seeds_of(seed, "cluster"), *settings]
    with at_work(folder, overrides) as (workspace, catalogue, config):
        embedded = needed(catalogue, "embed")
        wanted = grouping_of(embedded, config.cluster)
        stage = catalogue.stage("cluster")
        if stage is not None and stage.finished and stage.fingerprint == wanted:
            return sound_types(catalogue).report
        vectors, events = workspace.vectors()
        keys, contents = content_keys(catalogue, events)
        tell = progress or (lambda *_: None)
        tell("cluster", 0, 3, "sound types")
        found = cluster_vectors(vectors, keys, contents, config.cluster)
        tell("cluster", 1, 3, "how stable they are")
        stable = stability(vectors, keys, contents, found, config.cluster)
        tell("cluster", 2, 3, "map")
        projected = project_vectors(
            vectors, keys, contents, seed=config.cluster.seed, max_fit=config.cluster.max_fit
        )
        tell("cluster", 3, 3, "")
        notes = [found.note] if found.note else []
        if projected.n_fitted < len(events):
            notes.append(
                f"The map was fitted on {projected.n_fitted:,} of {len(events):,} events; "
                "the others were placed among them."
            )
        report = ClusterReport(
            events=len(events),
            clusters=len(found.sizes),
            sizes=list(found.sizes),
            noise_share=round(float(np.mean(found.labels == -1)), 4) if len(events) else 0.0,
            notes=notes,
            stability=[None if one is None else round(one, 4) for one in stable],
        )
        exemplars = [[events[row].event_id for row in rows] for rows in found.exemplars]
        facts = {"report": asdict(report), "exemplars": exemplars}
        rows = [
            SoundTypeRow(
                event_id=event.event_id,
                cluster=int(label),
                strength=round(float(strength), 4),
                map_x=float(x),
                map_y=float(y),
            )
            for event, label, strength, (x, y) in zip(
                events, found.labels, found.strengths, projected.xy, strict=True
            )
        ]
        stage = Stage(fingerprint=wanted, finished=True, facts=facts)
        typed = TypedEvents(
            events=np.array([row.event_id for row in rows], np.int64),
            clusters=np.array([row.cluster for row in rows], np.int64),
            strengths=np.array([row.strength for row in rows]),
        )
        edits = catalogue.edits(with_events=True)
        by_people = edited(workspace, catalogue, config.cluster, stage, typed, edits)
        catalogue.set_sound_types(rows, stage, *by_people)
        return sound_types(catalogue).report


def duplicate_notes(found: Duplicates) -> list[str]:
    """Say of events that differ that they have the same vector, where they are many."""
    if found.share <= MOST_DUPLICATES:
        return []
    return [
        f"{found.n_alike:,} of {found.n_events:,} events ({found.share:.1%}) have the same vector "
        "as another event that is not the same sound: they cannot be told apart. Most are in "
        f"{', '.join(found.files)}. Likely causes: a header that gives a wrong sample rate, a "
        "preset in whose bands nothing is heard, one recording under several names in different "
        "encodings, or a model that was hardly trained."
    ]
