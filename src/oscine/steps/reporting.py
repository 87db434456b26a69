"""The page and the figures of a whole workspace: `report`.

In comes a workspace with sound types; out come ``reports/atlas.html`` and ``reports/learn.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oscine.config import (
    OscineConfig,
    from_mapping,
)
from oscine.workspace.arrays import NewFile
from oscine.workspace.catalogue import (
    Catalogue,
    SoundTypeRow,
)
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    from oscine.atlas.page import AtlasPage
    from oscine.atlas.pictures import PageExemplar
from oscine.steps.examples import seconds
from oscine.steps.learning import model_notes
from oscine.steps.listening import index_report
from oscine.steps.mapping import duplicate_notes
from oscine.steps.naming import sound_types
from oscine.steps.shared import Progress, at_work, needed, open_tape, telling
from oscine.steps.sounds import pictured

REPORT, LEARNED = "atlas.html", "learn.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnReport:
    """What `learn` ends with."""

    hours: float
    files: int
    unreadable: int
    damaged: int
    silent: int
    too_short: int
    duplicates: int
    events: int
    steps: int
    loss: float
    loss_interpolation: float
    loss_mean: float
    clusters: int
    noise_share: float
    report: str
    notes: list[str]


def report(folder: Path, *, progress: Progress | None = None) -> LearnReport:
    """Write ``reports/atlas.html`` for people and ``reports/learn.json`` for programs.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    progress : callable, optional

    Returns
    -------
    LearnReport

    Raises
    ------
    ValueError
        A step is missing.
    """
    from oscine.atlas.page import write_page

    with at_work(folder, ()) as (workspace, catalogue, config):
        summary = _learned(workspace, catalogue)
        events = catalogue.clusters_where(None)[0]
        present = set(events.tolist())  # recordings may have gone since the events were grouped
        page = atlas_page(
            workspace,
            catalogue,
            config,
            drawn=events,
            shown={
                number: [event for event in exemplars if event in present]
                for number, exemplars in sound_types(catalogue).exemplars.items()
            },
            progress=telling(progress, "report"),
        )
        with NewFile(workspace.reports / LEARNED) as path:
            path.write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")
        write_page(workspace.reports / REPORT, page)
    return summary


def _learned(workspace: Workspace, catalogue: Catalogue) -> LearnReport:
    """Return what was learned of an archive."""
    from oscine.embedding.duplicates import Duplicates

    model = needed(catalogue, "pretrain").facts
    clusters = sound_types(catalogue).report
    indexed = index_report(catalogue)
    embedded = needed(catalogue, "embed").facts
    duplicates = from_mapping(Duplicates, embedded.get("duplicates", {}))
    return LearnReport(
        hours=indexed.hours,
        files=indexed.files,
        unreadable=indexed.states.get("unreadable", 0),
        damaged=indexed.states.get("damaged", 0),
        silent=indexed.states.get("silent", 0),
        too_short=indexed.states.get("too short", 0),
        duplicates=indexed.states.get("duplicate", 0),
        events=indexed.events,
        steps=model["steps"],
        loss=model["loss"],
        loss_interpolation=model["loss_interpolation"],
        loss_mean=model["loss_mean"],
        clusters=clusters.clusters,
        noise_share=clusters.noise_share,
        report=str(workspace.reports / REPORT),
        notes=[*model_notes(catalogue), *duplicate_notes(duplicates), *clusters.notes],
    )


def atlas_page(
    workspace: Workspace,
    catalogue: Catalogue,
    config: OscineConfig,
    *,
    drawn: np.ndarray,
    shown: Mapping[int, Sequence[int]],
    about: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> AtlasPage:
    """Gather what the page of an archive shows.

    Parameters
    ----------
    workspace : Workspace
        In which the events are grouped.
    catalogue : Catalogue
    config : OscineConfig
    drawn : np.ndarray of int [shape=(N,)]
        Numbers of the events on the map, ascending.
    shown : mapping of int to sequence of int
        By sound type (-1: none), the events that are shown with picture and sound.
    about : sequence of (str, str)
        What is said of the page at its top.
    notes : sequence of str
        That stand on the page too.
    progress : callable, optional
    """
    from oscine.atlas.page import AtlasPage, LossCurve, PageEvent
    from oscine.embedding.intervals import frame_intervals
    from oscine.training.log import read_losses

    summary, indexed = _learned(workspace, catalogue), index_report(catalogue)
    recordings = {row.recording_id: row for row in catalogue.recordings()}
    events = catalogue.some_events({*drawn.tolist(), *chain.from_iterable(shown.values())})
    times = catalogue.event_times()

    def page_event(row: SoundTypeRow) -> PageEvent:
        event = events[row.event_id]
        recording = recordings[event.recording_id]
        start_s, stop_s = seconds(event, recording)
        return PageEvent(
            event_id=str(row.event_id),
            x=row.map_x,
            y=row.map_y,
            cluster=row.cluster,
            strength=row.strength,
            recording=recording.path,
            start_s=start_s,
            stop_s=stop_s,
            low_hz=event.low_hz,
            high_hz=event.high_hz,
            level_db=event.level_db,
            began_ms=times[row.event_id],
        )

    types, placed = sound_types(catalogue), catalogue.some_sound_types(drawn.tolist())
    tape, _ = open_tape(workspace, catalogue, config)
    exemplars: dict[int, list[PageExemplar]] = {}
    for number, (kind, event_ids) in enumerate(shown.items(), 1):
        rows = [events[event_id] for event_id in event_ids]
        exemplars[kind] = [
            pictured(interval, str(row.event_id), (row.low_hz, row.high_hz), tape, config)
            for row, interval in zip(rows, frame_intervals(rows, recordings), strict=True)
        ]
        if progress is not None:
            progress(number, len(shown), "")
    run_folder = workspace.run(needed(catalogue, "pretrain").facts["run"])
    _, losses = read_losses(run_folder)
    drawing = run_folder / "reconstruction.png"
    return AtlasPage(
        title=f"Sound atlas of {workspace.folder.name}",
        summary=[*_summary_rows(summary), *about],
        events=[page_event(row) for row in placed.values()],
        exemplars=exemplars,
        band_hz=np.array(config.picture.band_hz),
        loss_curve=LossCurve(
            steps=[one.step for one in losses],
            loss=[one.loss for one in losses],
            loss_mean=[one.loss_mean for one in losses],
            loss_interpolation=[one.loss_interpolation for one in losses],
        ),
        reconstruction_png=drawing.read_bytes() if drawing.exists() else None,
        skipped=indexed.skipped,
        notes=[*notes, *summary.notes],
        names=types.names,
        stability=types.stability,
    )


def _summary_rows(summary: LearnReport) -> list[tuple[str, str]]:
    return [
        ("hours heard", f"{summary.hours:.2f}"),
        ("files", f"{summary.files:,}"),
        ("events", f"{summary.events:,}"),
        ("sound types", f"{summary.clusters:,}"),
        ("not grouped", f"{summary.noise_share:.0%}"),
        ("training steps", f"{summary.steps:,}"),
        ("loss", f"{summary.loss:.3f}"),
        ("loss of each patch's mean", f"{summary.loss_mean:.3f}"),
        ("loss of interpolation", f"{summary.loss_interpolation:.3f}"),
    ]
