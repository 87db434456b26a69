"""The first floor: what an archive holds (`synth`, `index`), and how a workspace stands (`status`).

In come folders of recordings; out come reports for the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from oscine.config import (
    OscineConfig,
    fingerprint,
    with_preset,
)
from oscine.sound.archive import is_gone
from oscine.workspace.catalogue import (
    Catalogue,
    RecordingRow,
    Stage,
    Summary,
)
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    from oscine.picture.indexing import Engine, Indexed
    from oscine.synth import SynthConfig, SynthReport
from oscine.steps.comparing import NeighboursReport, neighbours_report
from oscine.steps.naming import grouping_fingerprint, grouping_of, sound_type_names
from oscine.steps.shared import (
    RUN_NAME,
    Progress,
    alarms_of,
    asked_config,
    at_work,
    check_clock_of,
    heard_recordings,
    n_cores,
    telling,
)

EVALUATED = ("index", "pretrain", "embed")
"""Steps that an evaluation rests on."""


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
    copies: list[str]
    """How many files of which folder are duplicates, in sentences."""
    events: int
    windows: int
    notes: list[str]
    """From which other folders recordings moved, and which have no site."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusReport:
    """What a workspace holds, what is missing or stale, what failed and why."""

    workspace: str
    hours: float
    files: int
    states: dict[str, int]
    skipped: list[tuple[str, str, str]]
    copies: list[str]
    """As in :class:`IndexReport`."""
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
    neighbours: NeighboursReport | None
    """None where the vectors were not compared since they were made."""
    notes: list[str]
    """Folders that are not there, recordings without a site, what is wrong with the model in use.
    """


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

    with at_work(folder, settings, preset, "picture", create=True) as found:
        workspace, catalogue, config = found
        check_clock_of(config)  # which may have been written by hand
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
            workers=workers or n_cores(),
            engine=engine,
            progress=telling(progress, "index"),
        )
        _note_archive(catalogue, config, indexed)
        report = index_report(catalogue)
    return replace(
        report,
        new_files=indexed.n_new,
        changed_files=indexed.n_changed,
        moved_files=indexed.n_moved,
        gone_files=indexed.n_gone,
        notes=[
            *(
                f"{_n_recordings(count)} moved from {root}"
                for root, count in sorted(indexed.moved_from.items())
            ),
            *report.notes,
        ],
    )


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
    _, config = asked_config(workspace, (), None, "picture")
    with workspace.catalogue() as catalogue:
        stage, summary = catalogue.stage("index"), catalogue.summary()
        indexed = index_report(catalogue, summary)
        return StatusReport(
            workspace=str(workspace.folder),
            hours=indexed.hours,
            files=indexed.files,
            states=indexed.states,
            skipped=indexed.skipped,
            copies=indexed.copies,
            absent=summary.n_absent,
            absent_share=round(summary.absent_frames / max(1, catalogue.tape_rows()), 4),
            events=indexed.events,
            events_where=None if where is None else len(catalogue.events_where(where)),
            times=summary.zones,
            sites=summary.sites,
            clock_findings=stage.facts.get("clock_findings", []) if stage is not None else [],
            stages=_stages(workspace, catalogue, config),
            neighbours=neighbours_report(catalogue),
            notes=[
                *_gone(catalogue),
                *indexed.notes,
                *_went_back(workspace, catalogue),
                *alarms_of(catalogue),
            ],
        )


def _went_back(workspace: Workspace, catalogue: Catalogue) -> list[str]:
    """Say where the run of the model, or the first one, went back to an earlier step."""
    from oscine.training.log import read_rewinds

    model = catalogue.stage("pretrain")
    run = workspace.run(RUN_NAME if model is None else model.facts["run"])
    try:
        return read_rewinds(run)
    except ValueError:  # a log that is damaged or torn: `pretrain` mends it, or says so
        return []


def index_report(catalogue: Catalogue, summary: Summary | None = None) -> IndexReport:
    """Return what the archive holds."""
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
        copies=[
            f"{count:,} {'file' if count == 1 else 'files'} of {root}: copies of recordings "
            f"{'there' if other == root else f'in {other}'}, which are heard in their place"
            for root, other, count in catalogue.copies()
        ],
        events=catalogue.count("events"),
        windows=catalogue.count("windows"),
        notes=list(stage.facts.get("without_site", ())) if stage is not None else [],
    )


def _n_recordings(count: int) -> str:
    return f"{count:,} {'recording' if count == 1 else 'recordings'}"


def _gone(catalogue: Catalogue) -> list[str]:
    """Say which folders of recordings are not there: no file of theirs is looked for."""
    return [
        f"the folder {root} is not there: its {_n_recordings(count)} cannot be heard; if it moved "
        "or has another name now, `oscine index NEWNAME` finds them again"
        for root, count in catalogue.root_sizes().items()
        if is_gone(Path(root), ".")
    ]


def _without_site(recordings: Sequence[RecordingRow], pattern: str) -> list[str]:
    """Say how many recordings have paths that the pattern for sites does not fit."""
    from oscine.picture.indexing import without_site

    what = "site" if "{site}" in pattern else "recorder"
    return [
        f"{_n_recordings(len(paths))} below {root} without {what} by path: --site-from "
        f"{pattern!r} does not fit {paths[0]}{' and others' if len(paths) > 1 else ''}; index "
        "the folder below which it fits, or give a pattern that does"
        for root, paths in sorted(without_site(recordings, pattern).items())
    ]


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
        without_site, places = told.get("without_site", []), told.get("places")
    else:
        heard = heard_recordings(catalogue)
        archive = archive_fingerprint(heard, config.picture, config.activity)
        findings = clock_findings(catalogue, config.clock)
        without_site = _without_site(heard, config.clock.site_from)
        places = places_fingerprint(catalogue)
    facts = {
        "problems": list(indexed.problems),
        "clock": clock,
        "clock_findings": findings,
        "without_site": without_site,
        "places": places,
    }
    catalogue.set_stage("index", Stage(fingerprint=archive, finished=True, facts=facts))


def places_fingerprint(catalogue: Catalogue) -> str:
    """Return what stands for names, places and times of the recordings that were heard."""
    names = ("recording_id", "path", "site", "recorder", "started_ms", "utc_offset_min", "zone")
    return fingerprint(
        [[getattr(row, name) for name in names] for row in heard_recordings(catalogue)]
    )


def join_fingerprint(catalogue: Catalogue) -> str:
    """Return what the join with logs rests on: sound types, their names, recordings' times."""
    archive = catalogue.stage("index")
    facts = archive.facts if archive else {"clock": ""}
    return fingerprint(
        grouping_fingerprint(catalogue),
        sound_type_names(catalogue),
        facts.get("places") or facts.get("clock"),  # older workspaces know the clocks alone
    )


def evaluation_fingerprint(catalogue: Catalogue) -> str:
    """Return what an evaluation of layers rests on: recordings, the model, its vectors."""
    stages = [catalogue.stage(name) for name in EVALUATED]
    return fingerprint([one.fingerprint for one in stages if one is not None])


def _stages(workspace: Workspace, catalogue: Catalogue, config: OscineConfig) -> dict[str, str]:
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
        "cluster": grouping_of(embedded, config.cluster)
        if embedded and embedded.finished
        else None,
        "join": join_fingerprint(catalogue),
        "evaluate": evaluation_fingerprint(catalogue),
    }
    for name, expected in wanted.items():
        stage = catalogue.stage(name)
        # What is asked once vectors are there does not wait for sound types, nor for a log.
        before = [states.get(one) for one in wanted if name != "evaluate" or one in EVALUATED]
        if stage is None:
            if name == "pretrain" and workspace.runs():
                states[name] = "begun"  # no model is noted before a run is done
            elif name not in ("join", "evaluate"):  # not everybody has a log, or labels
                states[name] = "missing"
        elif not stage.finished:
            states[name] = "begun"
        elif stage.fingerprint != expected or "stale" in before:
            states[name] = "stale"
        else:
            states[name] = "done"
    is_other = archive and model and model.facts["archive"] != archive.fingerprint
    if is_other and states["pretrain"] == "done":
        states["pretrain"] = "done, on other recordings than the archive holds now"
    return states
