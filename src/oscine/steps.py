"""Each verb as a function, and `learn`, which is all of them: the only place where floors meet.

In come plain values (folders, numbers, a progress callback); out come frozen reports that the
command line prints. Rooms that need torch or scikit-learn are imported by the step that uses them.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oscine.config import (
    OscineConfig,
    PictureConfig,
    PresetKind,
    WrongArgument,
    fingerprint,
    from_mapping,
    read_config,
    to_mapping,
    to_toml,
    with_overrides,
    with_preset,
)
from oscine.sound.archive import located
from oscine.sound.audio import UnreadableAudio, read_interval
from oscine.sound.clock import check_clock
from oscine.sound.hearing import event_speed
from oscine.sound.recording import Interval
from oscine.workspace.arrays import DISK_FULL, NewFile
from oscine.workspace.catalogue import (
    HEARD,
    Catalogue,
    EventRow,
    RecordingRow,
    SoundTypeRow,
    Stage,
    Summary,
)
from oscine.workspace.distribute import ray_cluster
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    from oscine.atlas.page import AtlasPage, PageExemplar
    from oscine.embedding.duplicates import Duplicates
    from oscine.embedding.individual import ExchangeSample, IndividualReadout
    from oscine.embedding.intervals import FrameInterval
    from oscine.embedding.readout import Readout
    from oscine.evaluation.assess import Evaluation
    from oscine.model.checkpoint import RunConfig
    from oscine.picture.indexing import Engine, Indexed
    from oscine.picture.tape import Tape
    from oscine.synth import SynthConfig, SynthReport
    from oscine.training.log import Losses
    from oscine.training.plan import Plan
    from oscine.training.verdicts import Verdict

Progress = Callable[[str, int, int, str], None]
"""Told the step, how far it is, how far it goes, and a word on what is at hand."""

RUN_NAME = "default"
GIVEN_RUN = "given"
PLAYED_HZ = 32_000
"""Rate of the sounds on the page: MP3 knows few."""
PAD_FRAMES = 30
"""Sound and picture of an exemplar reach this far beyond it on either side."""
AROUND_FRAMES = 200
"""Sound before and after an event in which its background is measured."""
MOST_DUPLICATES = 0.005
"""Share of events with the vector of another, different one, above which the reports say so."""
REPORT, LEARNED = "atlas.html", "learn.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexReport:
    """What the archive holds."""

    hours: float
    files: int
    new_files: int
    changed_files: int
    moved_files: int
    gone_files: int
    states: dict[str, int]
    skipped: list[tuple[str, str, str]]
    """Path, state, reason."""
    events: int
    windows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainReport:
    """What was learned; the losses are on the same windows and masks."""

    run: str
    steps: int
    loss: float
    loss_mean: float
    loss_interpolation: float
    checkpoint: str
    health: list[Verdict]
    notes: list[str]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterReport:
    """Which sound types there are."""

    events: int
    clusters: int
    sizes: list[int]
    noise_share: float
    notes: list[str]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateReport:
    """What labels tell about the frozen model."""

    evaluation: Evaluation
    report: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusReport:
    """What a workspace holds, what is missing or stale, what failed and why."""

    workspace: str
    hours: float
    files: int
    states: dict[str, int]
    skipped: list[tuple[str, str, str]]
    absent: int
    """Recordings on the tape whose files are gone."""
    absent_share: float
    """Of the tape, that is theirs."""
    events: int
    events_where: int | None
    """Those that meet the condition asked for."""
    times: dict[str, int]
    """Files that were heard, by the zone of their clock and where it comes from; `unknown`."""
    sites: dict[str, int]
    """Files that were heard, by site; those of unknown site are left out."""
    clock_findings: list[str]
    """What is wrong with the clocks."""
    stages: dict[str, str]
    """Each step: missing, begun, stale or done."""
    notes: list[str]
    """What is wrong with the model in use."""


def synth(
    folder: Path, config: SynthConfig | None = None, progress: Progress | None = None
) -> SynthReport:
    """Write a synthetic archive with known truth.

    Parameters
    ----------
    folder : Path
    config : SynthConfig, optional
    progress : callable, optional

    Returns
    -------
    SynthReport

    Raises
    ------
    ValueError
        The folder holds something else.
    """
    from oscine.synth import SynthConfig, write_archive

    config = config or SynthConfig()
    tell = None if progress is None else (lambda done, total: progress("synth", done, total, ""))
    return write_archive(folder, config, tell)


def synthetic_speed(preset: str) -> float:
    """Return how many times as fast a synthetic archive must be to fill the bands of a preset.

    Raises
    ------
    ValueError
        There is no such preset.
    """
    wanted = with_preset(OscineConfig(), preset, "picture").picture
    return wanted.sample_rate_hz / OscineConfig().picture.sample_rate_hz


def index(
    archives: Sequence[Path],
    folder: Path,
    *,
    preset: str | None = None,
    workers: int | None = None,
    engine: Engine = "processes",
    settings: Iterable[str] = (),
    progress: Progress | None = None,
) -> IndexReport:
    """Catalogue the recordings of some folders, draw their log-mel and find their events.

    Parameters
    ----------
    archives : sequence of Path
    folder : Path
        Of the workspace; made if it is not there.
    preset : str, optional
        Settings for the sounds that are looked for, as of :func:`oscine.config.with_preset`.
    workers : int, optional
        Processes that decode; by default one a core.
    engine : "processes" or "ray"
        Where they run: here, or on the Ray cluster that ``RAY_ADDRESS`` names, whose machines see
        the archive and the workspace under the same paths.
    settings : iterable of str
        Dotted overrides such as ``activity.on_db=12``; they go before the preset.
    progress : callable, optional

    Returns
    -------
    IndexReport

    Raises
    ------
    FileNotFoundError
        An archive is not there.
    ValueError
        The workspace was made with another front end.
    """
    from oscine.picture.indexing import index_archive

    with _at_work(folder, settings, preset, "picture", create=True) as found:
        workspace, catalogue, config = found
        try:
            check_clock(config.clock.timezone, config.clock.site_from)
        except ValueError as error:
            raise WrongArgument(f"clock.timezone or clock.site_from: {error}") from error
        if catalogue.stage("index") is None:
            # A run that is stopped and goes on with another zone must know of the first.
            facts = {"clock": fingerprint(config.clock)}
            catalogue.set_stage("index", Stage(fingerprint="", finished=False, facts=facts))
        indexed = index_archive(
            workspace,
            archives,
            config.picture,
            config.activity,
            config.clock,
            workers=workers or _n_cores(),
            engine=engine,
            progress=_told(progress, "index"),
        )
        _note_archive(catalogue, config, indexed)
        report = _index_report(catalogue)
    return replace(
        report,
        new_files=indexed.n_new,
        changed_files=indexed.n_changed,
        moved_files=indexed.n_moved,
        gone_files=indexed.n_gone,
    )


def pretrain(
    folder: Path,
    *,
    preset: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    name: str = RUN_NAME,
    fresh: bool = False,
    start: Path | None = None,
    settings: Iterable[str] = (),
    progress: Progress | None = None,
) -> PretrainReport:
    """Learn the archive by masked reconstruction.

    A run that is finished is kept, also when the archive has grown since; a run that was stopped
    goes on. Under torchrun the processes share each batch; the first of them writes and reports.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    preset : str, optional
        How large the model is and how long it learns, as of :func:`oscine.config.with_preset`.
    minutes : float, optional
        Of training; turned into steps once, by a short trial.
    steps : int, optional
        Instead of minutes.
    seed : int, optional
    name : str
        Of the run.
    fresh : bool
        Begin again; the old run is kept under a numbered name.
    start : Path, optional
        A checkpoint (or a run, or a workspace, for its newest) whose weights the run begins with;
        the model has the sizes of that one.
    settings : iterable of str
        Dotted overrides such as ``model.depth=6``; they go before the preset.
    progress : callable, optional

    Returns
    -------
    PretrainReport

    Raises
    ------
    ValueError
        Nothing is indexed, or the run was begun with other settings.
    TrainingDiverged
        A step was not finite.
    """
    from oscine.model.checkpoint import RUN, RunConfig
    from oscine.training.log import read_losses, read_signs
    from oscine.training.pretrain import pretrain as train
    from oscine.training.ranks import rank_number
    from oscine.training.verdicts import verdicts

    is_first = rank_number() == 0
    start, given, sizes = _begun_with(start)
    overrides = [*sizes, *_length(minutes, steps), *_seeds(seed, "training"), *settings]
    hold = _at_work if is_first else _looked_at
    with hold(folder, overrides, preset, "training") as (workspace, catalogue, config):
        if start is not None and given is not None:
            _check_picture(start, given.picture, config)
        run_folder = workspace.run(name)
        run = RunConfig(picture=config.picture, model=config.model, training=config.training)
        archive = _archive(catalogue)
        sampler = _sampler(workspace, catalogue, config)
        if fresh and is_first and run_folder.exists():
            _set_aside(catalogue, run_folder)
        told = _told_loss(progress)
        last = train(run_folder, sampler, run, archive, told, start=start)
        rows, losses = read_losses(run_folder)
        if not losses:
            raise ValueError(f"{run_folder} has lost its log: use --fresh to train again")
        training = read_config(last / RUN, RunConfig).training  # with its number of steps
        health = verdicts(rows, losses, read_signs(run_folder), training)
        if is_first:
            _note_model(workspace, catalogue, name, last, losses[-1], health)
        return _pretrain_report(workspace, catalogue, name, last, losses[-1], health)


def plan(
    folder: Path,
    *,
    preset: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    start: Path | None = None,
    settings: Iterable[str] = (),
    trial_s: float = 10.0,
    progress: Progress | None = None,
) -> Plan:
    """Foresee what :func:`pretrain` would take here, with the same arguments; write nothing.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    preset, minutes, steps, start, settings
        As in :func:`pretrain`.
    trial_s : float
        Seconds in which a throw-away model takes real steps.
    progress : callable, optional

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        Nothing is indexed, or the memory does not hold the model.
    """
    from oscine.model.checkpoint import RunConfig
    from oscine.training.plan import plan as foresee

    start, given, sizes = _begun_with(start)
    workspace = Workspace(folder)
    overrides = [*sizes, *_length(minutes, steps), *settings]
    _, config = _asked(workspace, overrides, preset, "training")
    if start is not None and given is not None:
        _check_picture(start, given.picture, config)
    with workspace.catalogue() as catalogue:
        _needed(catalogue, "index")
        n_frames = sum(row.n_frames for row in _heard(catalogue))
        return foresee(
            _sampler(workspace, catalogue, config),
            RunConfig(picture=config.picture, model=config.model, training=config.training),
            archive_s=n_frames / config.picture.frames_per_s,
            disk_free_bytes=shutil.disk_usage(workspace.folder).free,
            trial_s=trial_s,
            progress=_told_plain(progress, "plan"),
        )


def take_model(folder: Path, checkpoint: Path, *, settings: Iterable[str] = ()) -> PretrainReport:
    """Use a model that was trained elsewhere, in place of pretraining.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    checkpoint : Path
        A checkpoint, or a run or workspace for its newest; it is copied into the workspace.
    settings : iterable of str

    Returns
    -------
    PretrainReport
        Its losses on this archive.

    Raises
    ------
    ValueError
        It was trained on pictures made in another way.
    """
    from oscine.model.checkpoint import find_checkpoint, load_checkpoint
    from oscine.training.health import evaluate, measure
    from oscine.training.verdicts import verdicts

    checkpoint = find_checkpoint(checkpoint)
    model, run, provenance = load_checkpoint(checkpoint)
    with _at_work(folder, settings) as (workspace, catalogue, config):
        _check_picture(checkpoint, run.picture, config)
        place = workspace.run(GIVEN_RUN) / "checkpoints" / f"{provenance['step']:08d}"
        if place.resolve() != checkpoint.resolve():
            shutil.rmtree(workspace.run(GIVEN_RUN), ignore_errors=True)
            shutil.copytree(checkpoint, place)
        sampler = _sampler(workspace, catalogue, config)
        at = model, sampler, run.training, provenance["step"]
        losses = evaluate(*at)
        health = verdicts([], [losses], [measure(*at)], run.training)
        _note_model(workspace, catalogue, GIVEN_RUN, place, losses, health)
        return _pretrain_report(workspace, catalogue, GIVEN_RUN, place, losses, health)


def embed(
    folder: Path,
    *,
    refit: bool = False,
    engine: Engine = "processes",
    settings: Iterable[str] = (),
    progress: Progress | None = None,
) -> EmbedReport:
    """Compute the vector of every event and every window.

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

    with ExitStack() as stack, _at_work(folder, settings) as (workspace, catalogue, config):
        model = _needed(catalogue, "pretrain")
        tape, _ = _tape(workspace, catalogue, config)
        checkpoint = workspace.folder / model.facts["checkpoint"]
        far = None
        if engine == "ray":
            places = Places(
                tape=tape.folder.resolve(),
                picture=config.picture,
                n_rows=catalogue.tape_rows(),
                checkpoint=checkpoint.resolve(),
            )
            far = partial(encode_with_ray, stack.enter_context(ray_cluster(_n_cores())), places)
        done = embed_archive(
            catalogue,
            workspace.embeddings(),
            tape,
            load_encoder(checkpoint),
            config.readout,
            config.activity,
            archive=_archive(catalogue),
            weights=model.facts["weights"],
            refit=refit,
            far=far,
            progress=_told_plain(progress, "embed"),
        )
    return EmbedReport(
        events=done.n_events,
        windows=done.n_windows,
        dimensions=done.dimensions,
        fitted_on=done.n_fitted,
        refitted=done.refitted,
        duplicate_share=round(done.duplicates.share, 4),
        notes=_duplicate_notes(done.duplicates),
    )


def cluster(
    folder: Path,
    *,
    seed: int | None = None,
    settings: Iterable[str] = (),
    progress: Progress | None = None,
) -> ClusterReport:
    """Group the events into sound types and draw the map.

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
    from oscine.atlas.cluster import cluster_vectors
    from oscine.atlas.projection import project_vectors

    overrides = [*_seeds(seed, "cluster"), *settings]
    with _at_work(folder, overrides) as (workspace, catalogue, config):
        embedded = _needed(catalogue, "embed")
        wanted = fingerprint(embedded.fingerprint, embedded.facts["digest"], config.cluster)
        stage = catalogue.stage("cluster")
        if stage is not None and stage.finished and stage.fingerprint == wanted:
            return ClusterReport(**stage.facts["report"])
        vectors, events = workspace.vectors()
        keys, contents = _content_keys(catalogue, events)
        tell = progress or (lambda *_: None)
        tell("cluster", 0, 2, "sound types")
        found = cluster_vectors(vectors, keys, contents, config.cluster)
        tell("cluster", 1, 2, "map")
        projected = project_vectors(
            vectors, keys, contents, seed=config.cluster.seed, max_fit=config.cluster.max_fit
        )
        tell("cluster", 2, 2, "")
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
        catalogue.set_sound_types(rows, stage)
    return report


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

    with _at_work(folder, ()) as (workspace, catalogue, config):
        model = _needed(catalogue, "pretrain").facts
        clusters = ClusterReport(**_needed(catalogue, "cluster").facts["report"])
        indexed = _index_report(catalogue)
        embedded = _needed(catalogue, "embed").facts
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
            notes=[*_model_notes(catalogue), *_duplicate_notes(duplicates), *clusters.notes],
        )
        page = _page(workspace, catalogue, config, summary, indexed, progress)
        with NewFile(workspace.reports / LEARNED) as path:
            path.write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")
        write_page(workspace.reports / REPORT, page)
    return summary


def learn(
    archives: Sequence[Path],
    folder: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    preset: str | None = None,
    size: str | None = None,
    model: Path | None = None,
    workers: int | None = None,
    fresh: bool = False,
    settings: Iterable[str] = (),
    progress: Progress | None = None,
) -> LearnReport:
    """Do the main job: index, pretrain, embed, cluster, map, report.

    Parameters
    ----------
    archives : sequence of Path
    folder : Path
        Of the workspace.
    minutes, steps, fresh
        As in :func:`pretrain`.
    seed : int, optional
        Of everything that depends on chance.
    model : Path, optional
        A checkpoint to use instead of pretraining.
    preset, workers
        As in :func:`index`.
    size : str, optional
        The preset of :func:`pretrain`.
    settings : iterable of str
        Dotted overrides.
    progress : callable, optional

    Returns
    -------
    LearnReport
    """
    settings = [*_seeds(seed, "training", "readout", "cluster"), *settings]
    if size is not None:
        with_preset(OscineConfig(), size, "training")  # refused before hours of listening
    index(archives, folder, preset=preset, workers=workers, settings=settings, progress=progress)
    if model is None:
        pretrain(
            folder,
            preset=size,
            minutes=minutes,
            steps=steps,
            fresh=fresh,
            settings=settings,
            progress=progress,
        )
    else:
        take_model(folder, model, settings=settings)
    embed(folder, settings=settings, progress=progress)
    cluster(folder, settings=settings, progress=progress)
    return report(folder, progress=progress)


def evaluate(
    tables: Sequence[Path],
    folder: Path,
    *,
    questions: Sequence[str] = (),
    groups: Sequence[str] = (),
    types: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> EvaluateReport:
    """Hold the frozen vectors against labels that people gave; nothing is trained on them.

    Labels are kept in ``labels.sqlite``, which no other step opens. Writes
    ``reports/evaluation.html`` for people and ``reports/evaluation.json`` for programs. Where
    individuals are asked for, a readout of their own is fitted on the archive, without labels,
    the first time.

    Parameters
    ----------
    tables : sequence of Path
        CSV tables, Raven selection tables, Audacity labels. Without any, those that were given
        before.
    folder : Path
        Of the workspace.
    questions : sequence of str
        Columns of the tables that are evaluated. Where the tables have one column of labels only
        (as Audacity's), it needs no naming.
    groups : sequence of str
        Columns that say what belongs together, such as ``session``.
    types : str, optional
        Individuals are compared among items that this column says the same of.
    seed : int
    progress : callable, optional

    Returns
    -------
    EvaluateReport

    Raises
    ------
    ValueError
        There are no vectors yet, a table or a column cannot be understood, or no label belongs to
        a recording that was heard.
    """
    from oscine.embedding.intervals import fit_sample, frame_intervals
    from oscine.embedding.readout import Readout
    from oscine.evaluation.assess import INDIVIDUAL_COLUMNS, assess
    from oscine.evaluation.items import heard_twins, labelled_items
    from oscine.evaluation.layer_report import report_layers
    from oscine.evaluation.listening import Listener
    from oscine.evaluation.report import write_evaluation
    from oscine.model.checkpoint import load_encoder
    from oscine.sound.annotations import (
        LabelBook,
        labels_of_events,
        match_recordings,
        read_annotations,
    )

    # By its full path a table is known again: what it said before is replaced.
    read = [read_annotations(table.resolve()) for table in tables]
    with _at_work(folder, ()) as (workspace, catalogue, config):
        _needed(catalogue, "embed")
        model = _needed(catalogue, "pretrain")
        readout = Readout.load(workspace.embeddings())
        if readout.encoder != model.facts["weights"]:
            raise ValueError(f"{folder}: the model is another since: run `oscine embed` again")
        with LabelBook(workspace.labels_file) as book:
            book.replace(read)
            files = {table.file for table in read}
            annotations = [one for one in book.annotations() if not files or one.table in files]
        columns = list(dict.fromkeys(name for one in annotations for name in one.labels))
        asked = _questions(questions, groups, types, columns)
        recordings = heard_twins(catalogue.recordings())
        matched = match_recordings(annotations, recordings)
        items = labelled_items(matched.annotations, recordings, config.picture)

        events, by_number = catalogue.events(), {row.recording_id: row for row in recordings}
        sample = fit_sample(
            frame_intervals(events, by_number),
            frame_intervals(catalogue.windows(), by_number),
            readout.config,
        )
        tape, _ = _tape(workspace, catalogue, config)
        encoder = load_encoder(workspace.folder / model.facts["checkpoint"])
        clusters = {row.event_id: row.cluster for row in catalogue.sound_types()}
        individual = None
        if any(name.lower() in INDIVIDUAL_COLUMNS for name in asked):
            individual = _individual(
                workspace, catalogue, config, tape, encoder, readout, events, clusters
            )
        listener = Listener(
            tape,
            encoder,
            config.activity,
            readout,
            sample,
            recordings,
            items,
            individual=individual,
            seed=seed,
        )
        vectors = listener.vectors(_told(progress, "features"))
        evaluation = assess(
            items,
            vectors,
            asked,
            groups,
            picture=listener.picture,
            listener=listener,
            types=types,
            sound_types={
                name: _typed(clusters, events, labels_of_events(events, matched, name, recordings))
                for name in asked
            },
            layers=lambda groups: report_layers(
                encoder,
                tape,
                readout.config,
                frame_intervals(events, by_number),
                lambda one: _sound(one, config),
                items,
                groups,
                asked,
                seed=seed,
            ),
            problems=[*(said for table in read for said in table.problems), *matched.problems],
            seed=seed,
            progress=_told(progress, "evaluate"),
        )
        written = write_evaluation(workspace.reports, evaluation)
    return EvaluateReport(evaluation=evaluation, report=str(written))


def _individual(
    workspace: Workspace,
    catalogue: Catalogue,
    config: OscineConfig,
    tape: Any,
    encoder: Any,
    readout: Readout,
    events: Sequence[EventRow],
    clusters: dict[int, int],
) -> tuple[IndividualReadout, ExchangeSample] | None:
    """Return the readout for individuals, made when it is first needed, and what it was made of.

    None where the archive is too small for one.
    """
    from oscine.embedding.individual import (
        IndividualReadout,
        draw_sample,
        fit_individual,
        individual_config,
    )
    from oscine.embedding.intervals import frame_intervals

    recordings = catalogue.recordings()
    by_number = {row.recording_id: row for row in recordings}
    types = [clusters.get(event.event_id, -1) for event in events]
    heard_as = individual_config(readout.config)
    try:
        sample = draw_sample(
            tape,
            encoder,
            heard_as,
            config.activity,
            frame_intervals(events, by_number),
            types,
            recordings,
        )
    except ValueError:  # too few events or backgrounds
        return None
    made_from = fingerprint(readout.encoder, _archive(catalogue), heard_as, types)
    folder = workspace.embeddings()
    with suppress(FileNotFoundError):
        found = IndividualReadout.load(folder)
        if found.made_from == made_from:
            return found, sample
    found = fit_individual(sample, encoder, heard_as, made_from)
    found.save(folder)
    return found, sample


def _sound(
    interval: FrameInterval, config: OscineConfig
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Return the sound of an interval, that around it, and their rate; None where it is gone."""
    recording, hop = interval.recording, config.picture.hop_samples
    start = max(0, interval.start_frame - AROUND_FRAMES)
    stop = min(recording.n_frames, interval.stop_frame + AROUND_FRAMES)
    rate_hz = recording.sample_rate_hz
    wide = Interval(
        start=start * hop, stop=stop * hop, sample_rate_hz=config.picture.sample_rate_hz
    )
    channel = None if recording.channel < 0 else recording.channel
    try:
        with _hushed():
            around = read_interval(
                located(Path(recording.root), recording.path), wide, channel=channel
            )
    except (UnreadableAudio, OSError, ValueError):
        return None
    first, last = (
        round((frame - start) * hop * rate_hz / config.picture.sample_rate_hz)
        for frame in (interval.start_frame, interval.stop_frame)
    )
    return around[first:last], around, rate_hz


def _questions(
    questions: Sequence[str], groups: Sequence[str], types: str | None, columns: Sequence[str]
) -> list[str]:
    """Return the columns to evaluate: those named, or the only one there is."""
    have = f"the label tables have {', '.join(columns) or 'no labels'}"
    for name in [*questions, *groups, *([types] if types else [])]:
        if name not in columns:
            raise ValueError(f"there is no column {name!r}: {have}")
    left = [name for name in columns if name not in groups and name != types]
    if not questions and len(left) != 1:
        raise ValueError(f"name the columns to evaluate with --labels: {have}")
    return list(dict.fromkeys(questions)) or left


def _typed(
    clusters: dict[int, int], events: Sequence[EventRow], labels: Sequence[str | None]
) -> tuple[np.ndarray, list[str]] | None:
    """Return the sound types of labelled events, and their labels; None where there are none."""
    both = [
        (clusters[event.event_id], label)
        for event, label in zip(events, labels, strict=True)
        if label is not None and event.event_id in clusters
    ]
    if not both:
        return None
    return np.array([cluster for cluster, _ in both]), [label for _, label in both]


def status(folder: Path, *, where: str | None = None) -> StatusReport:
    """Say what a workspace holds, what is missing or stale, what failed and why.

    Parameters
    ----------
    folder : Path
    where : str, optional
        A condition: how many events meet it is counted too.

    Returns
    -------
    StatusReport

    Raises
    ------
    FileNotFoundError
        There is no workspace.
    WrongArgument
        The condition is none.
    """
    workspace = Workspace(folder)
    config = _configured(workspace, ())
    with workspace.catalogue() as catalogue:
        stage, summary = catalogue.stage("index"), catalogue.summary()
        indexed = _index_report(catalogue, summary)
        return StatusReport(
            workspace=str(workspace.folder),
            hours=indexed.hours,
            files=indexed.files,
            states=indexed.states,
            skipped=indexed.skipped,
            absent=summary.n_absent,
            absent_share=round(summary.absent_frames / max(1, catalogue.tape_rows()), 4),
            events=indexed.events,
            events_where=None if where is None else len(catalogue.events_where(where)),
            times=summary.zones,
            sites=summary.sites,
            clock_findings=stage.facts.get("clock_findings", []) if stage is not None else [],
            stages=_stages(catalogue, config),
            notes=_alarms(catalogue),
        )


def is_disk_full(error: Exception) -> bool:
    """Tell whether a step failed for want of space."""
    return isinstance(error, OSError) and error.errno in DISK_FULL


@contextmanager
def _at_work(
    folder: Path,
    settings: Iterable[str],
    preset: str | None = None,
    kind: PresetKind = "picture",
    *,
    create: bool = False,
) -> Iterator[tuple[Workspace, Catalogue, OscineConfig]]:
    """Hold a workspace for one step; settings that the step refuses are forgotten again."""
    workspace = Workspace(folder, create=create)
    file = workspace.config_file
    with workspace.alone():
        known = file.read_bytes() if file.exists() else None
        config = _configured(workspace, settings, preset, kind)
        try:
            with workspace.catalogue() as catalogue:
                yield workspace, catalogue, config
        except ValueError:
            if known is not None and known != file.read_bytes():
                with NewFile(file) as path:
                    path.write_bytes(known)
            raise


@contextmanager
def _looked_at(
    folder: Path, settings: Iterable[str], preset: str | None, kind: PresetKind
) -> Iterator[tuple[Workspace, Catalogue, OscineConfig]]:
    """Read a workspace that another process of the same run holds, with the same settings."""
    workspace = Workspace(folder)
    _, config = _asked(workspace, settings, preset, kind)
    with workspace.catalogue() as catalogue:
        yield workspace, catalogue, config


def _configured(
    workspace: Workspace,
    settings: Iterable[str],
    preset: str | None = None,
    kind: PresetKind = "picture",
) -> OscineConfig:
    """Return the workspace's configuration with overrides, and write down what changed."""
    known, config = _asked(workspace, settings, preset, kind)
    if config != known:
        with NewFile(workspace.config_file) as path:
            path.write_text(to_toml(config), encoding="utf-8")
    return config


def _asked(
    workspace: Workspace, settings: Iterable[str], preset: str | None, kind: PresetKind
) -> tuple[OscineConfig | None, OscineConfig]:
    """Return the workspace's configuration, if it has one, and the same with overrides."""
    file = workspace.config_file
    known = read_config(file, OscineConfig) if file.exists() else None
    config = known or OscineConfig()
    if preset is not None:
        config = with_preset(config, preset, kind)
    config = with_overrides(config, settings)
    if config == known:
        return known, config
    depth = config.model.depth
    if not all(-depth <= layer <= depth for layer in config.readout.layers):
        raise ValueError(
            f"readout.layers={list(config.readout.layers)} names a layer that the model has not: "
            f"its layers are 0 to {depth} (model.depth)"
        )
    if known is not None and (config.picture, config.activity) != (known.picture, known.activity):
        raise ValueError(
            f"{workspace.folder} was indexed with other settings of [picture] or [activity] "
            f"(see {file.name} there): use a new workspace for another preset or these settings"
        )
    return known, config


def _begun_with(start: Path | None) -> tuple[Path | None, RunConfig | None, list[str]]:
    """Return the checkpoint that a run begins with, its run, and its sizes as dotted overrides."""
    from oscine.model.checkpoint import find_checkpoint, load_checkpoint

    if start is None:
        return None, None, []
    start = find_checkpoint(start)
    _, run, _ = load_checkpoint(start)
    return start, run, [f"model.{name}={value}" for name, value in to_mapping(run.model).items()]


def _length(minutes: float | None, steps: int | None) -> list[str]:
    """Return how long to train as dotted overrides."""
    if steps is not None:
        return [f"training.steps={steps}", "training.minutes=0"]
    if minutes is not None:
        return [f"training.minutes={float(minutes)}", "training.steps=0"]
    return []


def _seeds(seed: int | None, *sections: str) -> list[str]:
    """Return the seed of some sections as dotted overrides."""
    return [] if seed is None else [f"{section}.seed={seed}" for section in sections]


def _n_cores() -> int:
    """Return the cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _told(progress: Progress | None, step: str) -> Callable[[int, int, str], None] | None:
    if progress is None:
        return None
    return lambda done, total, word: progress(step, done, total, word)


def _told_plain(progress: Progress | None, step: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(step, done, total, "")


def _told_loss(progress: Progress | None) -> Callable[[int, int, float], None] | None:
    if progress is None:
        return None
    return lambda done, total, loss: progress("pretrain", done, total, f"loss {loss:.3f}")


def _index_report(catalogue: Catalogue, summary: Summary | None = None) -> IndexReport:
    stage, summary = catalogue.stage("index"), summary or catalogue.summary()
    skipped = catalogue.not_whole()
    if stage is not None:
        problems = stage.facts.get("problems", ())
        skipped += [(path, "unreadable", reason) for path, reason in problems]
    return IndexReport(
        hours=round(summary.heard_s / 3600, 4),
        files=sum(summary.states.values()),
        new_files=0,
        changed_files=0,
        moved_files=0,
        gone_files=0,
        states=summary.states,
        skipped=skipped,
        events=catalogue.count("events"),
        windows=catalogue.count("windows"),
    )


def _heard(catalogue: Catalogue) -> list[RecordingRow]:
    return [row for row in catalogue.recordings(HEARD) if row.n_frames]


def _note_archive(catalogue: Catalogue, config: OscineConfig, indexed: Indexed) -> None:
    """Note what was heard, what its clocks say, and the places that could not be looked into."""
    from oscine.picture.indexing import archive_fingerprint, clock_findings, tell_time_again

    clock, before = fingerprint(config.clock), catalogue.stage("index")
    told = before.facts if before is not None else {}
    is_same_clock = told.get("clock") == clock
    if told and not is_same_clock:
        tell_time_again(catalogue, config.clock)
    if before is not None and before.finished and is_same_clock:  # and nothing was added since
        archive, findings = before.fingerprint, told["clock_findings"]
    else:
        archive = archive_fingerprint(_heard(catalogue), config.picture, config.activity)
        findings = clock_findings(catalogue, config.clock)
    facts = {"problems": list(indexed.problems), "clock": clock, "clock_findings": findings}
    catalogue.set_stage("index", Stage(fingerprint=archive, finished=True, facts=facts))


def _archive(catalogue: Catalogue) -> str:
    """Return the fingerprint of all that was heard."""
    return _needed(catalogue, "index").fingerprint


def _needed(catalogue: Catalogue, name: str) -> Stage:
    """Return a step that must be done."""
    stage = catalogue.stage(name)
    if stage is None or not stage.finished:
        raise ValueError(f"{catalogue.path.parent}: run `oscine {name}` first")
    return stage


def _tape(
    workspace: Workspace, catalogue: Catalogue, config: OscineConfig
) -> tuple[Tape, list[RecordingRow]]:
    from oscine.picture.indexing import tape_fingerprint
    from oscine.picture.tape import Tape

    folder = workspace.tape(tape_fingerprint(config.picture, config.activity))
    return Tape(folder, config.picture, catalogue.tape_rows()), _heard(catalogue)


def _sampler(workspace: Workspace, catalogue: Catalogue, config: OscineConfig) -> Any:
    from oscine.training.windows import WindowSampler

    tape, recordings = _tape(workspace, catalogue, config)
    return WindowSampler(tape, recordings, catalogue.events(), config.picture, config.training)


def _check_picture(checkpoint: Path, picture: PictureConfig, config: OscineConfig) -> None:
    if picture != config.picture:
        raise ValueError(
            f"{checkpoint} was trained on pictures made in another way (see [picture] in its "
            "run.toml): index into a new workspace with the same settings"
        )


def _set_aside(catalogue: Catalogue, run_folder: Path) -> None:
    """Rename an old run to the first free number; its model is in use no more."""
    stage = catalogue.stage("pretrain")
    if stage is not None:
        catalogue.set_stage("pretrain", replace(stage, finished=False))
    number = 1
    while (aside := run_folder.with_name(f"{run_folder.name}.{number}")).exists():
        number += 1
    run_folder.rename(aside)


def _note_model(
    workspace: Workspace,
    catalogue: Catalogue,
    name: str,
    checkpoint: Path,
    losses: Losses,
    health: list[Verdict],
) -> None:
    """Note which model is in use."""
    from oscine.model.checkpoint import load_provenance, weights_fingerprint
    from oscine.training.verdicts import alarms

    weights = weights_fingerprint(checkpoint)
    facts = {
        "run": name,
        "checkpoint": checkpoint.relative_to(workspace.folder).as_posix(),
        "weights": weights,
        "archive": load_provenance(checkpoint)["archive"],
        "steps": losses.step,
        "loss": losses.loss,
        "loss_mean": losses.loss_mean,
        "loss_interpolation": losses.loss_interpolation,
        "alarms": alarms(health),
    }
    catalogue.set_stage("pretrain", Stage(fingerprint=weights, finished=True, facts=facts))


def _pretrain_report(
    workspace: Workspace,
    catalogue: Catalogue,
    name: str,
    checkpoint: Path,
    losses: Losses,
    health: list[Verdict],
) -> PretrainReport:
    from oscine.training.log import read_rewinds

    return PretrainReport(
        run=name,
        steps=losses.step,
        loss=losses.loss,
        loss_mean=losses.loss_mean,
        loss_interpolation=losses.loss_interpolation,
        checkpoint=str(checkpoint),
        health=health,
        notes=[*read_rewinds(workspace.run(name)), *_model_notes(catalogue)],
    )


def _model_notes(catalogue: Catalogue) -> list[str]:
    notes = _alarms(catalogue)
    if _needed(catalogue, "pretrain").facts["archive"] != _archive(catalogue):
        notes.append(
            "The model was trained on other recordings than the archive holds now; "
            "`oscine pretrain --fresh` trains it again."
        )
    return notes


def _alarms(catalogue: Catalogue) -> list[str]:
    """Return what is wrong with the model in use."""
    model = catalogue.stage("pretrain")
    return list(model.facts.get("alarms", ())) if model and model.finished else []


def _duplicate_notes(found: Duplicates) -> list[str]:
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


def _content_keys(catalogue: Catalogue, events: Sequence[EventRow]) -> tuple[list[str], list[str]]:
    """Return a key for each event, and one for its recording, that tell nothing but content."""
    contents = {row.recording_id: row.content_key for row in catalogue.recordings()}
    of_events = [contents[event.recording_id] for event in events]
    keys = [f"{key}:{event.start_frame:010d}" for key, event in zip(of_events, events, strict=True)]
    return keys, of_events


def _stages(catalogue: Catalogue, config: OscineConfig) -> dict[str, str]:
    """Say of each step whether it is missing, begun, stale or done."""
    states: dict[str, str] = {}
    archive = catalogue.stage("index")
    model, embedded = catalogue.stage("pretrain"), catalogue.stage("embed")
    wanted = {
        "index": archive.fingerprint if archive else None,
        "pretrain": model.fingerprint if model else None,
        "embed": fingerprint(archive.fingerprint, model.fingerprint, config.readout)
        if archive and model
        else None,
        "cluster": fingerprint(embedded.fingerprint, embedded.facts["digest"], config.cluster)
        if embedded and embedded.finished
        else None,
    }
    for name, expected in wanted.items():
        stage = catalogue.stage(name)
        if stage is None:
            states[name] = "missing"
        elif not stage.finished:
            states[name] = "begun"
        elif stage.fingerprint != expected or "stale" in states.values():
            states[name] = "stale"
        else:
            states[name] = "done"
    is_other = archive and model and model.facts["archive"] != archive.fingerprint
    if is_other and states["pretrain"] == "done":
        states["pretrain"] = "done, on other recordings than the archive holds now"
    return states


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
    tape, _ = _tape(workspace, catalogue, config)
    exemplars = _needed(catalogue, "cluster").facts["exemplars"]
    pages = []
    for number, event_ids in enumerate(exemplars):
        pages.append([_exemplar(events[one], recordings, tape, config) for one in event_ids])
        if progress is not None:
            progress("report", number + 1, len(exemplars), "")
    run_folder = workspace.run(_needed(catalogue, "pretrain").facts["run"])
    _, losses = read_losses(run_folder)
    drawing = run_folder / "reconstruction.png"
    return AtlasPage(
        title=f"Sound atlas of {workspace.folder.name}",
        summary=_summary_rows(summary),
        events=page_events,
        exemplars=pages,
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


def _exemplar(
    event: EventRow, recordings: dict[int, RecordingRow], tape: Tape, config: OscineConfig
) -> PageExemplar:
    """Return picture and sound of an event, with a little of what surrounds it."""
    from oscine.atlas.page import PageExemplar

    recording = recordings[event.recording_id]
    start = max(0, event.start_frame - PAD_FRAMES)
    stop = min(recording.n_frames, event.stop_frame + PAD_FRAMES)
    speed = event_speed(
        (config.picture.low_hz, config.picture.high_hz), (event.low_hz, event.high_hz)
    )
    log_mel = tape.log_mel(recording.tape_row + start, recording.tape_row + stop)
    frame_s = 1 / config.picture.frames_per_s
    return PageExemplar(
        event_id=str(event.event_id),
        recording=recording.path,
        start_s=start * frame_s,
        stop_s=stop * frame_s,
        spectrogram=log_mel,
        audio=_mp3(recording, start, stop, config, speed),
        audio_speed=speed,
    )


@contextmanager
def _hushed() -> Iterator[None]:
    """Silence standard error: decoders write there from C, past any handler."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _mp3(
    recording: RecordingRow,
    start_frame: int,
    stop_frame: int,
    config: OscineConfig,
    speed: float,
) -> bytes | None:
    """Return a stretch of a recording as MP3, loud and slow enough to hear; None if it is gone."""
    import soundfile

    hop, rate = config.picture.hop_samples, config.picture.sample_rate_hz
    interval = Interval(start=start_frame * hop, stop=stop_frame * hop, sample_rate_hz=rate)
    channel = None if recording.channel < 0 else recording.channel
    file = located(Path(recording.root), recording.path)
    try:
        with _hushed():
            samples = read_interval(
                file, interval, channel=channel, sample_rate_hz=round(PLAYED_HZ / speed)
            )
    except (UnreadableAudio, OSError, ValueError):
        return None
    peak = float(np.abs(samples).max(initial=0))
    if peak == 0:
        return None
    sound = io.BytesIO()
    soundfile.write(sound, samples * (0.7 / peak), PLAYED_HZ, format="MP3")
    return sound.getvalue()
