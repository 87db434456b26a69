"""The page and the figures of a whole workspace: `report`.

In comes a workspace with sound types; out come ``reports/atlas.html`` and ``reports/learn.json``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oscine.config import (
    OscineConfig,
    from_mapping,
)
from oscine.workspace.arrays import NewFile
from oscine.workspace.catalogue import (
    Catalogue,
    EventRow,
    RecordingRow,
)
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    from oscine.atlas.page import AtlasPage
    from oscine.atlas.pictures import PageExemplar
from oscine.steps.learning import model_notes
from oscine.steps.listening import IndexReport, index_report
from oscine.steps.mapping import duplicate_notes
from oscine.steps.naming import sound_types
from oscine.steps.shared import Progress, at_work, needed, open_tape
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
    from oscine.embedding.duplicates import Duplicates

    with at_work(folder, ()) as (workspace, catalogue, config):
        model = needed(catalogue, "pretrain").facts
        clusters = sound_types(catalogue).report
        indexed = index_report(catalogue)
        embedded = needed(catalogue, "embed").facts
        duplicates = from_mapping(Duplicates, embedded.get("duplicates", {}))
        summary = LearnReport(
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
        page = _page(workspace, catalogue, config, summary, indexed, progress)
        with NewFile(workspace.reports / LEARNED) as path:
            path.write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")
        write_page(workspace.reports / REPORT, page)
    return summary


def _page(
    workspace: Workspace,
    catalogue: Catalogue,
    config: OscineConfig,
    summary: LearnReport,
    indexed: IndexReport,
    progress: Progress | None,
) -> AtlasPage:
    """Gather what the page shows."""
    from oscine.atlas.page import AtlasPage, LossCurve, PageEvent
    from oscine.embedding.intervals import frame_intervals
    from oscine.picture.mel import band_edges_hz
    from oscine.training.log import read_losses

    recordings = {row.recording_id: row for row in catalogue.recordings()}
    events = {event.event_id: event for event in catalogue.events()}
    times = catalogue.event_times()
    page_events = [
        PageEvent(
            event_id=str(row.event_id),
            x=row.map_x,
            y=row.map_y,
            cluster=row.cluster,
            strength=row.strength,
            recording=recordings[events[row.event_id].recording_id].path,
            start_s=_seconds(events[row.event_id], recordings)[0],
            stop_s=_seconds(events[row.event_id], recordings)[1],
            low_hz=events[row.event_id].low_hz,
            high_hz=events[row.event_id].high_hz,
            level_db=events[row.event_id].level_db,
            began_ms=times[row.event_id],
        )
        for row in catalogue.sound_types()
    ]
    tape, _ = open_tape(workspace, catalogue, config)
    types = sound_types(catalogue)
    heard = {event.cluster for event in page_events}
    pages: dict[int, list[PageExemplar]] = {}
    for number in [number for number in types.exemplars if number in heard]:
        # Recordings may have gone since the events were grouped.
        rows = [events[one] for one in types.exemplars[number] if one in events]
        intervals = frame_intervals(rows, recordings)
        pages[number] = [
            pictured(interval, str(row.event_id), (row.low_hz, row.high_hz), tape, config)
            for row, interval in zip(rows, intervals, strict=True)
        ]
        if progress is not None:
            progress("report", len(pages), len(types.exemplars), "")
    run_folder = workspace.run(needed(catalogue, "pretrain").facts["run"])
    _, losses = read_losses(run_folder)
    drawing = run_folder / "reconstruction.png"
    return AtlasPage(
        title=f"Sound atlas of {workspace.folder.name}",
        summary=_summary_rows(summary),
        events=page_events,
        exemplars=pages,
        names=types.names,
        band_hz=band_edges_hz(config.picture)[1:-1],
        loss_curve=LossCurve(
            steps=[one.step for one in losses],
            loss=[one.loss for one in losses],
            loss_mean=[one.loss_mean for one in losses],
            loss_interpolation=[one.loss_interpolation for one in losses],
        ),
        reconstruction_png=drawing.read_bytes() if drawing.exists() else None,
        skipped=indexed.skipped,
        notes=summary.notes,
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


def _seconds(event: EventRow, recordings: dict[int, RecordingRow]) -> tuple[float, float]:
    rate = recordings[event.recording_id].sample_rate_hz
    return event.start_sample / rate, event.stop_sample / rate
