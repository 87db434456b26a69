"""The command line: in come arguments, out go tables or JSON; no logic.

Every verb is a function here whose docstring is its help. The steps are imported when a verb runs,
so that help comes at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

if TYPE_CHECKING:
    from oscine.config import PresetKind
    from oscine.steps import (
        EditReport,
        EvaluateReport,
        ExploreReport,
        JoinReport,
        LearnReport,
        Progress,
        SimilarReport,
        Stretch,
    )
    from oscine.steps.comparing import NeighboursReport
    from oscine.steps.learning import Plan
    from oscine.steps.telling import WhichSound

DONE, FAILED, WRONG_USE = 0, 1, 2
SHOWN_CLASSES = 5
SHOWN_FILES = 12
"""Skipped files that a table names; the report has them all."""
SHOWN_NAMES = 6
LOW_STABILITY = 0.5
TIMES_WIDTH = len("  100 % 0:00:00 gone, 0:00:00 left ")
FULL = "the disk of the workspace is full: free some space, and run the same command again"
DOING = {
    "index": "listening",
    "pretrain": "learning",
    "embed": "embedding",
    "neighbours": "sorting vectors",
    "compare": "comparing",
    "cluster": "grouping",
    "report": "drawing the report",
    "features": "computing features",
    "evaluate": "asking",
    "individuals": "hearing individuals",
    "join": "joining",
    "export": "writing",
    "plan": "trying",
    "synth": "writing recordings",
}

app = App(
    name="oscine",
    help="From unlabelled field recordings to a map of their sounds.",
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `run` says how to go on
)

Workspace = Annotated[Path, Parameter(name=["--workspace", "-w"])]
Archives = Annotated[list[Path], Parameter(negative=())]
Preset = Annotated[str | None, Parameter(name="--preset")]
Size = Annotated[str | None, Parameter(name=["--preset", "--size"])]
Settings = Annotated[list[str], Parameter(name="--set", negative=())]
Json = Annotated[bool, Parameter(name="--json", negative=())]
Examples = Annotated[list[str], Parameter(negative=())]
Engine = Literal["processes", "ray"]
Form = Literal["raven", "audacity", "csv", "parquet", "clips", "page"]
Flag = Annotated[bool, Parameter(negative=())]
Who = Annotated[str | None, Parameter(name="--who")]

DEFAULT_WORKSPACE = Path("oscine-workspace")


class WrongUse(Exception):
    """The arguments do not make sense."""


@app.command(sort_key=0)
def learn(
    archives: Archives,
    /,
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    preset: Preset = None,
    size: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    model: Path | None = None,
    seed: int | None = None,
    workers: int | None = None,
    timezone: str | None = None,
    site_from: str | None = None,
    fresh: Flag = False,
    settings: Settings = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Do the main job: index, pretrain, embed, cluster, map, report.

    Example: oscine learn ~/recordings -w crows.oscine --minutes 8

    Parameters
    ----------
    archives
        Folders of recordings (or single files).
    workspace
        Where everything is kept.
    preset
        What is listened for: bird (50 Hz to 16 kHz), bat (5 to 120 kHz), low (8 Hz to 1 kHz:
        elephants, whales), wide (50 Hz to 48 kHz), or a TOML file of your own. Without, bird.
    size
        How large the model is and how long it learns, as `pretrain --preset`: tiny, small, base.
    minutes
        How long to train (8 if neither minutes nor steps nor a size are given): an estimate, by a
        short trial.
    steps
        How many training steps to take, instead of minutes.
    model
        A model to use instead of training: a workspace, a run or a checkpoint.
    seed
        Of everything that depends on chance.
    workers
        Processes that decode; one a core if not given.
    timezone
        Of the clocks where the recorders stood, such as Europe/London or UTC+2: for recorders that
        state none, and to tell the hour of the day there.
    site_from
        Where the path of a file says its site, such as `"{site}/*/*.wav"`.
    fresh
        Train again from new weights; the old run is kept aside.
    settings
        Any other setting, as section.name=value; may be repeated.
    as_json
        Print one JSON object instead of a table.
    """
    _check(archives, settings, minutes, steps, workers, preset=preset, size=size)
    from oscine import steps as verbs

    with _progress() as progress:
        report = verbs.learn(
            archives,
            workspace,
            minutes=minutes,
            steps=steps,
            seed=seed,
            preset=preset,
            size=size,
            model=model,
            workers=workers,
            fresh=fresh,
            settings=[*_clock(timezone, site_from), *settings],
            progress=progress,
        )
    if as_json:
        return _print_json(report)
    _print_learned(report)
    archive = verbs.status(workspace)
    _print_skipped(archive.skipped, archive.copies)


@app.command(sort_key=1)
def index(
    archives: Archives,
    /,
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    preset: Preset = None,
    workers: int | None = None,
    engine: Engine = "processes",
    timezone: str | None = None,
    site_from: str | None = None,
    settings: Settings = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Catalogue recordings, draw their log-mel and find their events.

    Example: oscine index ~/recordings -w crows.oscine

    Parameters
    ----------
    archives
        Folders of recordings (or single files).
    workspace
        Where everything is kept.
    preset
        What is listened for, as for `learn`: bird, bat, low, wide, or a TOML file of your own.
    workers
        Processes that decode; one a core if not given.
    engine
        Where they run: here, or on a Ray cluster whose machines see the same folders.
    timezone
        Of the clocks where the recorders stood, such as Europe/London or UTC+2: for recorders that
        state none, and to tell the hour of the day there.
    site_from
        Where the path of a file says its site, such as `"{site}/*/*.wav"`.
    settings
        Any other setting, as section.name=value; may be repeated.
    as_json
        Print one JSON object instead of a table.
    """
    _check(archives, settings, workers=workers, preset=preset)
    from oscine import steps as verbs

    with _progress() as progress:
        report = verbs.index(
            archives,
            workspace,
            preset=preset,
            workers=workers,
            engine=engine,
            settings=[*_clock(timezone, site_from), *settings],
            progress=progress,
        )
    if as_json:
        return _print_json(report)
    rows = [
        ("hours heard", f"{report.hours:.2f}"),
        ("files", f"{report.files:,}"),
        ("new in this run", f"{report.new_files:,}"),
        *((state, f"{count:,}") for state, count in report.states.items()),
        ("events", f"{report.events:,}"),
    ]
    changes = {
        "changed": report.changed_files,
        "moved": report.moved_files,
        "gone": report.gone_files,
    }
    rows += [(f"{name} in this run", f"{count:,}") for name, count in changes.items() if count]
    _print_table(rows, report.notes)
    _print_skipped(report.skipped, report.copies)


@app.command(sort_key=2)
def pretrain(
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    preset: Size = None,
    plan: Flag = False,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    name: str = "default",
    fresh: Flag = False,
    start: Annotated[Path | None, Parameter(name="--from")] = None,
    settings: Settings = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Learn the archive by masked reconstruction.

    Example: oscine pretrain -w crows.oscine --minutes 8

    Parameters
    ----------
    workspace
        Where everything is kept.
    preset
        How large the model is and how long it learns: tiny (two cores, minutes), small (a
        workstation's graphics card, a night), base (one card of 80 GB, a day), or a TOML file of
        your own. Without, as the workspace's oscine.toml says: tiny at first.
    plan
        Say what the run would take here (memory, hours, how often the archive is heard), after a
        trial of ten seconds; write nothing.
    minutes
        How long to train (8 if neither minutes nor steps nor a preset are given): an estimate, by a
        short trial.
    steps
        How many training steps to take, instead of minutes.
    seed
        Of weights, windows and masks.
    name
        Of the run.
    fresh
        Train again from new weights; the old run is kept aside.
    start
        Begin with the weights of another run: its workspace, run or checkpoint.
    settings
        Any other setting, such as model.depth=6; may be repeated.
    as_json
        Print one JSON object instead of a table.
    """
    _check([], settings, minutes, steps, size=preset)
    from oscine import steps as verbs

    if plan:
        with _progress() as progress:
            foreseen = verbs.plan(
                workspace,
                preset=preset,
                minutes=minutes,
                steps=steps,
                start=start,
                settings=settings,
                progress=progress,
            )
        return _print_json(foreseen) if as_json else _print_plan(foreseen)
    with _progress() as progress:
        report = verbs.pretrain(
            workspace,
            preset=preset,
            minutes=minutes,
            steps=steps,
            seed=seed,
            name=name,
            fresh=fresh,
            start=start,
            settings=settings,
            progress=progress,
        )
    if os.environ.get("RANK", "0") != "0":
        return None  # the first process of torchrun speaks for all
    if as_json:
        return _print_json(report)
    _print_table(
        [
            ("steps", f"{report.steps:,}"),
            ("loss", f"{report.loss:.4f}"),
            ("loss of each patch's mean", f"{report.loss_mean:.4f}"),
            ("loss of interpolation", f"{report.loss_interpolation:.4f}"),
            ("health", _counted_alarms(sum(one.is_alarm for one in report.health))),
            ("checkpoint", report.checkpoint),
        ],
        report.notes,
    )


@app.command(sort_key=3)
def embed(
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    refit: Flag = False,
    engine: Engine = "processes",
    settings: Settings = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Compute the vector of every event and every window.

    Example: oscine embed -w crows.oscine

    Parameters
    ----------
    workspace
        Where everything is kept.
    refit
        Fit the readout again, and renew all vectors.
    engine
        Where sounds are encoded: here, or on a Ray cluster whose machines see the workspace.
    settings
        Any other setting, such as readout.dimensions=32; may be repeated.
    as_json
        Print one JSON object instead of a table.
    """
    _check([], settings)
    from oscine import steps as verbs

    with _progress() as progress:
        report = verbs.embed(
            workspace, refit=refit, engine=engine, settings=settings, progress=progress
        )
    if as_json:
        return _print_json(report)
    fitted = f"fitted on {report.fitted_on:,}" if report.refitted else "kept as it was"
    _print_table(
        [
            ("events", f"{report.events:,}"),
            ("windows", f"{report.windows:,}"),
            ("dimensions", f"{report.dimensions}"),
            ("readout", fitted),
            (
                "duplicates",
                f"{report.duplicate_share:.1%} (events that differ and have the same vector)",
            ),
        ],
        report.notes,
    )


sound_types = App(name="cluster", sort_key=4)
app.command(sound_types)


@sound_types.default
def cluster(
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    seed: int | None = None,
    settings: Settings = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Group the events into sound types and draw their map.

    A sound type is an acoustic grouping: what it is for is not to be heard in it.

    Example: oscine cluster -w crows.oscine

    Parameters
    ----------
    workspace
        Where everything is kept.
    seed
        Of the map.
    settings
        Any other setting, such as cluster.min_samples=3; may be repeated.
    as_json
        Print one JSON object instead of a table.
    """
    _check([], settings)
    from oscine import steps as verbs

    with _progress() as progress:
        report = verbs.cluster(workspace, seed=seed, settings=settings, progress=progress)
        written = verbs.report(workspace, progress=progress)
    if as_json:
        return _print_json(report)
    _print_table(
        [
            ("events", f"{report.events:,}"),
            ("sound types", f"{report.clusters:,}"),
            ("not grouped", f"{report.noise_share:.0%}"),
            ("largest", ", ".join(str(size) for size in report.sizes[:8]) or "-"),
            *_stability(report.stability),
            ("report", written.report),
        ],
        report.notes,
    )


@sound_types.command(name="name")
def cluster_name(
    number: int,
    name: str,
    /,
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    who: Who = None,
    as_json: Json = False,
) -> None:
    """Name a sound type by how it sounds, not by what it may be for.

    Example: oscine cluster name 7 "low double caw" -w crows.oscine

    Parameters
    ----------
    number
        Of the sound type.
    name
        Such as "low double caw"; "" takes a name back.
    workspace
        Where everything is kept.
    who
        Says so; without, the user's name on this computer.
    as_json
        Print one JSON object instead of a table.
    """
    from oscine import steps as verbs

    _print_edited(verbs.name_sound_type(workspace, number, name, who=who), as_json)


@sound_types.command(name="merge")
def cluster_merge(
    numbers: Annotated[list[int], Parameter(negative=())],
    /,
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    who: Who = None,
    as_json: Json = False,
) -> None:
    """Make one sound type of several that are the same to you; the others' numbers stay unused.

    Example: oscine cluster merge 7 9 -w crows.oscine

    Parameters
    ----------
    numbers
        Of the sound types; the first is the number that stays.
    workspace
        Where everything is kept.
    who
        Says so; without, the user's name on this computer.
    as_json
        Print one JSON object instead of a table.
    """
    from oscine import steps as verbs

    _print_edited(verbs.merge_sound_types(workspace, numbers, who=who), as_json)


@sound_types.command(name="split")
def cluster_split(
    number: int,
    /,
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    who: Who = None,
    as_json: Json = False,
) -> None:
    """Part a sound type where its events fall apart; where they do not, say so.

    Example: oscine cluster split 7 -w crows.oscine

    Parameters
    ----------
    number
        Of the sound type; its largest part keeps it, the others have new ones.
    workspace
        Where everything is kept.
    who
        Says so; without, the user's name on this computer.
    as_json
        Print one JSON object instead of a table.
    """
    from oscine import steps as verbs

    _print_edited(verbs.split_sound_type(workspace, number, who=who), as_json)


@sound_types.command(name="undo")
def cluster_undo(
    edit: int | None = None,
    /,
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    who: Who = None,
    as_json: Json = False,
) -> None:
    """Undo the last name, merge or split that counts.

    Example: oscine cluster undo -w crows.oscine

    Parameters
    ----------
    edit
        Number of an edit that rests, as no sound type is the same any more: to forget it.
    workspace
        Where everything is kept.
    who
        Says so; without, the user's name on this computer.
    as_json
        Print one JSON object instead of a table.
    """
    from oscine import steps as verbs

    _print_edited(verbs.undo_edit(workspace, edit, who=who), as_json)


@sound_types.command(name="history")
def cluster_history(*, workspace: Workspace = DEFAULT_WORKSPACE, as_json: Json = False) -> None:
    """Tell who named, merged and split sound types, and when.

    Example: oscine cluster history -w crows.oscine

    Parameters
    ----------
    workspace
        Where everything is kept.
    as_json
        Print one JSON object instead of a table.
    """
    from oscine import steps as verbs

    report = verbs.edit_history(workspace)
    if as_json:
        return _print_json(report)
    for one in report.history:
        state = "" if one.types else ", rests: no sound type is the same now"
        if one.is_undone:
            state = f", undone by {one.undone_by} on {_day_and_time(one.undone_ms)}"
        who = one.who or "somebody"
        print(f"{one.id:>4}  {_day_and_time(one.made_ms)}  {who}: {one.words}{state}")
    if not report.history:
        print("nobody edited the sound types")


@app.command(sort_key=5)
def evaluate(
    tables: Annotated[list[Path], Parameter(negative=())] = [],  # noqa: B006
    /,
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    labels: str | None = None,
    group: str | None = None,
    within: str | None = None,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Hold the frozen vectors against labels that people gave; nothing is trained on them.

    Example: oscine evaluate labels.csv -w crows.oscine --labels species

    Parameters
    ----------
    tables
        CSV tables with a column `path` (and start_s, stop_s), Raven selection tables, Audacity
        labels. They are kept in the workspace: without tables, those given before are used
        (`import --forget` removes them).
    workspace
        Where everything is kept.
    labels
        Columns to evaluate, separated by commas; needs no naming where there is only one.
    group
        Columns, separated by commas, that say what belongs together (session, site, day,
        recording_id): never on both sides of a split.
    within
        Column of a sound type: individuals are compared within it.
    seed
        Of everything that depends on chance.
    as_json
        Print one JSON object instead of a table.
    """
    for table in tables:
        if not table.is_file():
            raise WrongUse(f"{table} is not there: name a table of labels")
    from oscine import steps as verbs

    with _progress() as progress:
        report = verbs.evaluate(
            tables,
            workspace,
            questions=_names(labels),
            groups=_names(group),
            types=within,
            seed=seed,
            progress=progress,
        )
    if as_json:
        return _print_json(report)
    _print_evaluated(report)


@app.command(sort_key=5)
def similar(
    query: str | None = None,
    /,
    *,
    like: Examples = [],  # noqa: B006
    unlike: Examples = [],  # noqa: B006
    start_s: float | None = None,
    stop_s: float | None = None,
    channel: int | None = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    where: str | None = None,
    top: int = 20,
    own: int = 5,
    out: Path | None = None,
    as_json: Json = False,
) -> None:
    """Find the events that sound most like a file, a stretch of it, or another event.

    The workspace is only read, also while another run works on it. A file need not be in the
    archive. Likeness is the cosine between vectors: 1 is the same sound, 0 unrelated.

    Example: oscine similar caw.wav --start-s 0.2 --stop-s 0.9 -w crows.oscine

    Parameters
    ----------
    query
        A recording, or the number of an event.
    like
        An example, instead of the query: a file, FILE@START-STOP in seconds, or the number of an
        event; may be repeated, and all are asked as one.
    unlike
        An example of what it is not to sound like; may be repeated.
    start_s
        Where the sound begins in the file, in seconds.
    stop_s
        Where it ends. A whole file may be 60 s long.
    channel
        Of the files, from 0, where the workspace keeps each channel; the first if not given.
    workspace
        Where everything is kept.
    where
        A condition that events must meet, such as "site = 'north' and hour between 5 and 9";
        `status --help` has the fields.
    top
        How many events of other recordings to list.
    own
        How many of the same recording: they are listed apart.
    out
        A file to write: .csv (a table), .txt (a Raven selection table), .html (a page with
        pictures and sound).
    as_json
        Print one JSON object instead of a table.
    """
    if query is not None and like:
        raise WrongUse("give a query, or examples by --like, not both")
    if query is None and (start_s, stop_s) != (None, None):
        raise WrongUse("--start-s and --stop-s are of a file that is the query")
    from oscine import steps as verbs

    asked = like if query is None else _stretched([query], start_s, stop_s)
    report = verbs.similar(
        asked,
        workspace,
        unlike=unlike,
        top=top,
        own=own,
        where=where,
        channel=channel,
        out=out,
    )
    if as_json:
        return _print_json(report)
    _print_similar(report)


@app.command(sort_key=5)
def which(
    clips: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    examples: Annotated[list[Path], Parameter(negative=())],
    label: str | None = None,
    start_s: float | None = None,
    stop_s: float | None = None,
    channel: int | None = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Tell a crow from a jay, or from neither, by a few labelled examples; nothing is trained.

    Shares are no probabilities. `None of these` is how many of the archive's own sounds of the same
    band, length and level are as much like a class; from 10 % on, none is the answer.

    Example: oscine which unknown.wav --examples few.csv -w crows.oscine

    Parameters
    ----------
    clips
        Recordings, FILE@START-STOP in seconds, or numbers of events.
    examples
        A table of labelled recordings or stretches, as for `evaluate`; may be repeated.
    label
        The column of the table that says the class, where there are several.
    start_s
        Where the sound begins in the file, in seconds; of one clip.
    stop_s
        Where it ends. A whole file may be 60 s long.
    channel
        Of the files, from 0, where the workspace keeps each channel; the first if not given.
    workspace
        Where everything is kept.
    as_json
        Print one JSON object instead of a table.
    """
    from oscine import steps as verbs

    report = verbs.which(
        _stretched(clips, start_s, stop_s),
        workspace,
        examples=examples,
        label=label,
        channel=channel,
    )
    if as_json:
        return _print_json(report)
    for sound in report.sounds:
        print(sound.sound)
        if sound.none is not None:
            shares = [f"{one.name} {_share(one.share)}" for one in sound.classes[:SHOWN_CLASSES]]
            others = sound.classes[SHOWN_CLASSES:]
            if others:
                rest = sum(one.share or 0 for one in others)
                shares.append(f"{len(others)} others {_share(rest)}")
            print(f"  {'; '.join(shares)}; none of these {_none(sound)}")
        print(f"  {f'it is {sound.answer}' if sound.answer else 'no answer'}; nearest examples:")
        for near in sound.nearest:
            print(f"    {near.likeness:5.2f}  {near.label}  {near.example}")
        if sound.percentile is not None:
            print(
                f"  more like {sound.classes[0].name} than {_percent(sound.percentile)} of "
                f"{sound.events:,} events like it in band, length and level "
                f"({sound.recordings:,} recordings)"
            )
        for note in sound.notes:
            print(f"  note: {note}")
        print()
    notes = report.notes[:SHOWN_FILES]
    if len(report.notes) > SHOWN_FILES:
        notes.append(f"... and {len(report.notes) - SHOWN_FILES:,} more (--json has all)")
    _print_table([("examples", f"{report.examples:,} ({report.label})")], notes)


@app.command(sort_key=5)
def same(
    one: str,
    other: str,
    /,
    *,
    known: Path | None = None,
    channel: int | None = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Tell how alike two calls are as individuals, and how far that can be trusted.

    Likeness counts in deviations above what each of the two has with other calls of their kind: 0
    is usual. The first time, calls of the archive are heard for this, which takes a minute or two.

    Example: oscine same morning.wav evening.wav@3.1-3.6 -w crows.oscine

    Parameters
    ----------
    one
        A recording, FILE@START-STOP in seconds, or the number of an event.
    other
        Another.
    known
        A CSV table of known pairs: columns a, b (as above) and same (yes or no). At least five
        pairs of the same and five of different individuals give a probability.
    channel
        Of the files, from 0, where the workspace keeps each channel; the first if not given.
    workspace
        Where everything is kept.
    as_json
        Print one JSON object instead of a table.
    """
    from oscine import steps as verbs

    with _progress() as progress:
        report = verbs.same(one, other, workspace, known=known, channel=channel, progress=progress)
    if as_json:
        return _print_json(report)
    rows = [("one", report.one), ("other", report.other)]
    if report.likeness is not None:
        rows.append(("likeness", f"{report.likeness:+.2f} (0 is usual for calls of this kind)"))
    if report.percentile is not None:
        rows.append(
            (
                "",
                f"more alike than {_percent(report.percentile)} of {report.pairs:,} pairs of such "
                f"calls from different recordings ({report.recordings:,} recordings)",
            )
        )
    if report.backgrounds is not None:
        rows.append(
            (
                "backgrounds",
                f"more alike than {_percent(report.backgrounds)} of those of unrelated recordings",
            )
        )
    if report.probability is not None:
        rows.append(
            (
                "probability",
                f"{report.probability:.2f} of the same individual, by {report.known_same} known "
                f"pairs of one and {report.known_different} of different individuals (equal error "
                f"rate {report.equal_error_rate:.0%}), both being as likely beforehand",
            )
        )
    _print_table(rows, report.warnings)


@app.command(sort_key=5)
def individuals(
    *,
    cluster: int | None = None,
    where: str | None = None,
    seed: int = 0,
    out: Path | None = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Group the calls of one sound type into putative individuals, with a number that it justifies.

    Example: oscine individuals --cluster 7 -w crows.oscine

    Parameters
    ----------
    cluster
        The sound type.
    where
        A condition that the calls must meet, instead or as well; `status --help` has the fields.
    seed
        Of what depends on chance.
    out
        A .csv file to write: a row for each call, with its group.
    workspace
        Where everything is kept.
    as_json
        Print one JSON object instead of a table.
    """
    from oscine import steps as verbs

    with _progress() as progress:
        report = verbs.individuals(
            workspace, cluster=cluster, where=where, seed=seed, out=out, progress=progress
        )
    if as_json:
        return _print_json(report)
    number = f"{report.individuals}"
    if report.at_most > report.at_least:
        number += f" ({report.at_least} to {report.at_most} fit about as well)"
    _print_table(
        [
            ("calls", f"{report.calls:,} of {report.recordings:,} recordings"),
            ("individuals", number),
            (
                "parted by",
                f"{report.silhouette:.3f} (silhouette; calls without groups: up to "
                f"{report.silhouette_by_chance:.3f})",
            ),
            *(
                []
                if report.individuals == 1
                else [("stability", f"{report.stability:.2f} without a third of the recordings")]
            ),
            *([] if report.out is None else [("written", report.out)]),
        ],
        report.notes,
    )
    if report.individuals > 1:
        print("\n  individual  calls  recordings  typical event  sureness")
        for one in report.groups:
            print(
                f"  {one.individual:>10}  {one.calls:>5}  {one.recordings:>10}  {one.typical:>13}"
                f"  {one.sureness:>8.2f}".replace("-0.00", " 0.00")
            )


@app.command(sort_key=5)
def join(
    log: Path | None = None,
    /,
    *,
    report: Flag = False,
    name: str = "",
    config: Path | None = None,
    time: str | None = None,
    start: str | None = None,
    stop: str | None = None,
    date_format: str = "",
    timezone: str = "",
    media_start: str = "",
    behaviour: str = "",
    behaviours: str | None = None,
    subject: str = "",
    site: str = "",
    session: str = "",
    count: str = "",
    marker: str = "",
    context: str | None = None,
    sheet: str = "",
    effort: Path | None = None,
    recorded: Path | None = None,
    markers: Path | None = None,
    offset_s: float | None = None,
    drift_ppm: float = 0.0,
    clock_uncertainty_s: float = 0.0,
    correct_clock: Flag = False,
    forget: str = "",
    settings: Settings = [],  # noqa: B006
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Join what was seen with what was heard, and say what goes with what.

    LOG is a table of observations (CSV, TSV, Excel) or an export of BORIS, Solomon Coder or
    JWatcher. What is not declared of it is guessed and shown; `join.toml` in the workspace holds
    all of it. Columns go by the names in the header; `=north` in place of one is a fixed value,
    and `=` alone says that there is none (`--marker =`), where one would be guessed.
    Sound types go with behaviours or do not: what a call is for is not in it.

    Example: oscine join seen.csv --time date,time --timezone Europe/London -w crows.oscine

    Parameters
    ----------
    log
        The log; without it, with --report, all logs joined before are reported on again.
    report
        Report again.
    name
        Of the log; the file's name if not given. A log of this name is replaced.
    config
        A join.toml that says how the log is read.
    time
        The column that says when, or two with a comma: date and time of day.
    start
        Of states, instead of --time: the column (or two) of when they start.
    stop
        The same of when they stop.
    date_format
        Order of dates, such as day.month.year; or what numbers count, such as `seconds since 1970`.
    timezone
        Of the observer's clock: an IANA name such as Europe/London, or UTC+2.
    media_start
        When a film began that seconds are counted from, as 2024-04-25T12:58:00+01:00; of several
        films in an export of BORIS, a table with the columns media (name of the film, or of the
        observation) and start.
    behaviour
        The column that names what was seen.
    behaviours
        The columns that are behaviours, with commas, where a row is an instant.
    subject
        The column that says who.
    site
        The column that says where; as recorders name their sites.
    session
        The column that tells sessions apart; otherwise each day at a site is one.
    count
        The column of how many.
    marker
        The column that names a recording made of what was seen.
    context
        Columns of values that hold until the next row, such as temperature,stimulus.
    sheet
        Of a spreadsheet, where there are several.
    effort
        A table of when somebody watched (start, stop, site, session).
    recorded
        A table of when recordings were made (path, recorded_at; site and caller if there), where
        their files do not say.
    markers
        A table of instants that both clocks showed (observer, recorder).
    offset_s
        What the observer's clock showed more than the recorder's: the log is moved by it.
    drift_ppm
        What it gained, in millionths.
    clock_uncertainty_s
        Half of the 95 % interval of the offset.
    correct_clock
        Move the log by what the markers, or calls and behaviour, say of the clocks.
    forget
        Name of a log to remove.
    settings
        Of the analysis: permutations=999 (0, as it is at first: as many as the pairs need, 999 to
        9,999), seed=1, join.tolerance_ms=300, join.before_ms, join.after_ms, join.by_subject,
        false_discovery_rate; kept; may be repeated.
    workspace
        Where everything is kept.
    as_json
        Print one JSON object instead of a table.
    """
    if log is None and not report and not forget:
        raise WrongUse("name a log, or give --report to report again on those that were joined")
    if log is not None and report:
        raise WrongUse(
            f"--report is of the logs that were joined before: to join {log}, leave --report out"
        )
    from oscine import steps as verbs

    declared: dict[str, Any] = {
        "time": _names(time),
        "start": _names(start),
        "stop": _names(stop),
        "date_format": date_format,
        "timezone": timezone,
        "media_start": media_start,
        "behaviour": behaviour,
        "behaviours": _names(behaviours),
        "subject": subject,
        "site": site,
        "session": session,
        "count": count,
        "marker": marker,
        "context": _names(context),
        "sheet": sheet,
    }
    clock = verbs.ClockAsked(
        offset_s=offset_s,
        drift_ppm=drift_ppm,
        uncertainty_s=clock_uncertainty_s,
        use_estimate=correct_clock,
        markers=markers,
    )
    with _progress() as progress:
        done = verbs.join(
            workspace,
            log,
            name=name,
            config=config,
            declared={key: value for key, value in declared.items() if value},
            effort=effort,
            recorded=recorded,
            clock=None if clock == verbs.ClockAsked() else clock,
            settings=settings,
            forget=forget,
            progress=progress,
        )
    if as_json:
        return _print_json(done)
    _print_joined(done)


@app.command(sort_key=5)
def export(
    *,
    to: Form,
    out: Path,
    where: str | None = None,
    cluster: Annotated[list[int], Parameter(negative=())] = [],  # noqa: B006
    one_table: Flag = False,
    vectors: Flag = False,
    margin_s: float | None = None,
    most: int | None = None,
    seed: int = 0,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Take events home: tables for Raven, Audacity and R, clips by sound type, a page to share.

    The workspace is only read, also while another run works on it.

    Example: oscine export --to raven --out tables -w crows.oscine

    Parameters
    ----------
    to
        What is written: raven (a selection table a recording), audacity (a label file a recording),
        csv or parquet (a table of events, one of recordings, and what their columns mean), clips
        (WAV files in a folder for each sound type), page (the atlas with sounds of each type, for
        a browser or a web server).
    out
        A folder: a new one, an empty one, or such an export, which is replaced unless somebody
        changed it. Not within the archive or the workspace.
    where
        A condition that events must meet, such as "site = 'north' and hour between 5 and 9";
        `status --help` has the fields.
    cluster
        A sound type that events must be of (-1: those in none); may be repeated.
    one_table
        For Raven: one table that spans all recordings, instead of one for each.
    vectors
        For csv and parquet: with the vector of each event.
    margin_s
        For clips: seconds of sound before and after each event.
    most
        For clips and page: how many of each sound type, its examples first, then others drawn by
        chance; 20 clips, or 12 on a page, if not given.
    seed
        Of that chance.
    workspace
        Where everything is kept.
    as_json
        Print one JSON object instead of a table.
    """
    from oscine import steps as verbs

    with _progress() as progress:
        report = verbs.export(
            workspace,
            to,
            out,
            where=where,
            clusters=cluster,
            one_table=one_table,
            vectors=vectors,
            margin_s=margin_s,
            most=most,
            seed=seed,
            progress=progress,
        )
    if as_json:
        return _print_json(report)
    _print_table(
        [
            ("events", f"{report.events:,} of {report.recordings:,} recordings"),
            ("files", f"{report.files:,}"),
            ("written", report.out),
        ],
        report.notes,
    )
    if report.skipped:
        print(f"\n{len(report.skipped):,} events could not be written:")
        _print_first([f"  {path}: {reason}" for path, reason in report.skipped])


@app.command(name="import", sort_key=5)
def import_labels(
    tables: Annotated[list[Path], Parameter(negative=())] = [],  # noqa: B006
    /,
    *,
    forget: Annotated[list[str], Parameter(negative=())] = [],  # noqa: B006
    listed: Annotated[bool, Parameter(name="--list", negative=())] = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Bring labels of people back: corrected Raven tables, Audacity labels, CSV tables.

    They are kept for `oscine evaluate`; nothing learns from them. A table that was there before is
    replaced. A row that `oscine export` wrote counts for its event alone, wherever its box is.

    Example: oscine import corrected -w crows.oscine

    Parameters
    ----------
    tables
        Raven selection tables, Audacity labels, CSV tables with a column `path`; or a folder, of
        which all .txt files are read.
    forget
        A file or folder whose labels are removed, by the end of its path; may be repeated.
    listed
        Say which files labels came from.
    workspace
        Where everything is kept.
    as_json
        Print one JSON object instead of a table.
    """
    for table in tables:
        if not table.exists():
            raise WrongUse(f"{table} is not there: name a table of labels, or a folder of them")
    if not tables and not forget and not listed:
        raise WrongUse("name label tables to bring in, or give --list or --forget")
    from oscine import steps as verbs

    report = verbs.import_labels(tables, workspace, forget=forget)
    if as_json:
        return _print_json(report)
    n_kept = sum(one.rows for one in report.kept)
    rows = [("kept in all", f"{n_kept:,} rows of {len(report.kept):,} tables")]
    if tables:
        read = (
            f"{report.rows:,}: {report.placed:,} used (they belong to a recording), "
            f"{report.unplaced:,} kept unused (of none, or beyond its end), "
            f"{report.refused:,} refused"
        )
        rows = [("tables read", f"{report.tables:,}"), ("rows read", read), *rows]
    if report.forgotten:
        rows.append(("forgotten", f"{len(report.forgotten):,} tables"))
    _print_table(rows, report.notes)
    if report.labels:
        print("\nLabels:")
        _print_first(
            [
                f"  {one.column} = {one.label}: {one.rows:,} rows, {one.events:,} events"
                for one in report.labels
            ]
        )
    if listed:
        print("\nTables:")
        _print_first([f"  {one.file}: {one.rows:,} rows" for one in report.kept])
    if report.problems:
        print(f"\n{len(report.problems):,} problems:")
        _print_first([f"  {problem}" for problem in report.problems])


@app.command(sort_key=6)
def explore(
    *,
    workspace: Workspace = DEFAULT_WORKSPACE,
    port: int | None = None,
    browser: bool = True,
    host: str = "127.0.0.1",
    token: str | None = None,
    as_json: Json = False,
) -> None:
    """Open the atlas in the browser: look, listen, and name sound types. Ctrl-C ends it.

    The workspace is only read, but for names and other edits of sound types.

    Example: oscine explore -w crows.oscine

    Parameters
    ----------
    workspace
        Where everything is kept.
    port
        Where to serve it; without, 8137 or the next that is free.
    browser
        Open it, too.
    host
        The address of this computer to listen on: any but its own needs a token.
    token
        What visitors must type once, at least 16 characters; or @file for what a file holds.
    as_json
        Print one JSON object, once the atlas is there.
    """
    if port is not None and not 0 <= port <= 65_535:
        raise WrongUse(f"--port must be from 0 to 65535, not {port}")
    from oscine import steps as verbs

    def tell(report: ExploreReport) -> None:
        if as_json:
            _print_json(report)
        else:
            print(f"The atlas of {report.workspace} is at {report.address}")
            for note in report.notes:
                print(f"note: {note}")
            print("Ctrl-C ends it.")
        sys.stdout.flush()

    verbs.explore(workspace, host=host, port=port, token=token, is_shown=browser, tell=tell)


@app.command(sort_key=6)
def status(
    *, workspace: Workspace = DEFAULT_WORKSPACE, where: str | None = None, as_json: Json = False
) -> None:
    """Say what a workspace holds, what is missing or stale, what failed and why.

    Example: oscine status -w crows.oscine

    Parameters
    ----------
    workspace
        Where everything is kept.
    where
        Count the events that meet a condition, such as "site = 'north' and hour between 5 and 9".
        Fields: site, recorder, path, date, time, hour, month, year (by the clocks there), low_hz,
        high_hz, duration_s, level_db, cluster.
    as_json
        Print one JSON object instead of a table.
    """
    from oscine import steps as verbs

    report = verbs.status(workspace, where=where)
    if as_json:
        return _print_json(report)
    gone = f"{report.absent:,} ({report.absent_share:.0%} of the tape; kept, should they come back)"
    _print_table(
        [
            ("workspace", report.workspace),
            ("hours heard", f"{report.hours:.2f}"),
            ("files", f"{report.files:,}"),
            *((state, f"{count:,}") for state, count in report.states.items()),
            *([("gone", gone)] if report.absent else []),
            *([("sites", _counted(report.sites))] if report.sites else []),
            *([("clocks", _counted(report.times))] if report.times else []),
            ("events", f"{report.events:,}"),
            *([] if where is None else [("events that meet it", f"{report.events_where:,}")]),
            *report.stages.items(),
            ("neighbours", _method(report.neighbours)),
        ],
        [*report.notes, *(report.neighbours.notes if report.neighbours else ())],
    )
    if report.clock_findings:
        print("\nWhat the clocks say:")
    _print_first([f"  {finding}" for finding in report.clock_findings])
    _print_compared(report.neighbours)
    _print_skipped(report.skipped, report.copies)


@app.command(sort_key=7)
def synth(
    folder: Path,
    /,
    *,
    minutes: float = 12.0,
    preset: Preset = None,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Write a synthetic archive with known truth: for tests and the tour, never for claims.

    Example: oscine synth made-up-forest --minutes 12

    Parameters
    ----------
    folder
        Where to write it.
    minutes
        Of recordings, in all; before they are made faster or slower for a preset.
    preset
        Made for `learn --preset` of the same name: the same calls, as many times as high and fast
        as the preset reaches higher than birds do.
    seed
        Of everything that depends on chance.
    as_json
        Print one JSON object instead of a table.
    """
    _check([], (), preset=preset)
    from oscine import steps as verbs
    from oscine.synth import SynthConfig

    try:
        speed = verbs.synthetic_speed(preset) if preset is not None else 1.0
        config = SynthConfig(minutes=minutes, seed=seed, speed=speed)
    except ValueError as error:
        raise WrongUse(str(error)) from error
    with _progress() as progress:
        report = verbs.synth(folder, config, progress)
    if as_json:
        return _print_json(report)
    _print_table(
        [
            ("recordings", f"{report.n_recordings:,}"),
            ("calls", f"{report.n_events:,}"),
            ("minutes", f"{report.duration_s / 60:.1f}"),
            ("truth", str(report.truth_path)),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with 0 (done), 1 (failed) or 2 (wrong use)."""
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # once more, while it was said that it was stopped
        code = FAILED
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what went wrong is said on standard error.

    Wrong use is what was asked for in a way that cannot be meant: a name of nothing that is there,
    a value out of range. A failure is what was meant and could not be done.
    """
    try:
        app(list(arguments), exit_on_error=False, print_error=False, error_console=None)
    except UnusedCliTokensError as error:
        verb = " ".join(["oscine", *(error.command_chain or ())])
        more = " ".join(error.unused_tokens or ())
        _complain(
            f"{more!r} is more than `{verb}` takes: leave it out, or put quotes around what "
            f"belongs together\nTry `{verb} --help`."
        )
        return WRONG_USE
    except (CycloptsError, WrongUse) as error:
        _complain(f"{error}\nTry `oscine --help`.")
        return WRONG_USE
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        return DONE  # so rich ends where nobody reads it to its end
    except KeyboardInterrupt as error:
        _complain(str(error) or "stopped; run the same command again to go on from here", error)
        return FAILED
    except (ValueError, OSError, RuntimeError) as error:
        from oscine.config import WrongArgument
        from oscine.steps import is_disk_full

        if isinstance(error, BrokenPipeError) and not _is_read("\n"):
            return DONE
        _complain(FULL if is_disk_full(error) else _said(error), error)
        return WRONG_USE if isinstance(error, WrongArgument) else FAILED
    _is_read()
    return DONE


def _is_read(more: str = "") -> bool:
    """Hand over what was printed, and tell whether somebody reads it still: `head` stops early.

    If nobody does, nothing is said of it at the end of the process either.
    """
    try:
        sys.stdout.write(more)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _said(error: Exception) -> str:
    """Return what an error says, without the numbers by which a system calls its own."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return (
            f"{error.filename}: {error.strerror}: see whether it is there and whether you may read "
            "and write it"
        )
    return str(error) or type(error).__name__


def _check(
    archives: Sequence[Path],
    settings: Sequence[str],
    minutes: float | None = None,
    steps: int | None = None,
    workers: int | None = None,
    *,
    preset: str | None = None,
    size: str | None = None,
) -> None:
    """Refuse arguments that cannot be meant, before anything is begun."""
    from oscine.config import OscineConfig, with_overrides, with_preset

    for archive in archives:
        if not archive.exists():
            raise WrongUse(f"{archive} is not there: name a folder of recordings")
    if minutes is not None and steps is not None:
        raise WrongUse("give --minutes or --steps, not both")
    if minutes is not None and not minutes > 0:
        raise WrongUse(f"--minutes must be positive, not {minutes:g}")
    if steps is not None and steps < 1:
        raise WrongUse(f"--steps must be at least 1, not {steps}")
    if workers is not None and workers < 1:
        raise WrongUse(f"--workers must be at least 1, not {workers}")
    config = OscineConfig()
    presets: tuple[tuple[str | None, PresetKind], ...] = ((preset, "picture"), (size, "training"))
    for name, kind in presets:
        try:
            config = with_preset(config, name, kind) if name is not None else config
        except ValueError as error:
            raise WrongUse(str(error)) from error
    try:
        with_overrides(config, settings)
    except ValueError as error:
        raise WrongUse(f"--set {error}") from error


def _clock(timezone: str | None, site_from: str | None) -> list[str]:
    """Return what was said of clocks and places as dotted overrides."""
    said = {"timezone": timezone, "site_from": site_from}
    return [f"clock.{name}={value}" for name, value in said.items() if value is not None]


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show a bar a step on standard error: what, how far, how long still."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console, name_width = Console(stderr=True), max(map(len, DOING.values()))

    def widths() -> tuple[int, int]:
        """Return the columns that a bar and a word may take, so that the times are shown whole."""
        room = max(3, console.width - name_width - TIMES_WIDTH)
        bar = min(40, room // 3)
        return bar, room - bar - 1

    columns = (
        TextColumn(f"{{task.description:<{name_width}}}"),
        BarColumn(widths()[0]),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        Remaining(),
        TextColumn("left"),
        TextColumn("{task.fields[word]}", style="dim", markup=False),
    )
    bars = Progress(*columns, console=console)
    tasks: dict[str, Any] = {}

    def tell(step: str, done: int, total: int, word: str) -> None:
        if step == "note":
            bars.console.print(f"note: {word}", markup=False, highlight=False, soft_wrap=True)
            return
        bars.start()  # not before: a step that is quick shows nothing
        if step not in tasks:
            tasks[step] = bars.add_task(DOING[step], total=total, word="")
        bars.update(tasks[step], completed=done, total=total, word=word[-widths()[1] :])

    try:
        yield tell
    finally:
        if tasks:
            bars.stop()


def _print_json(report: object) -> None:
    print(json.dumps(asdict(report), default=str))  # type: ignore[call-overload]


def _print_edited(report: EditReport, as_json: bool) -> None:
    if as_json:
        return _print_json(report)
    rows = [("done" if report.is_done else "not done", report.words)]
    rows.append(("sound types", f"{len(report.sizes):,}"))
    rows += [(f"sound type {number}", name) for number, name in report.names.items()]
    if report.is_done:
        rows.append(("report", "`oscine cluster` draws it anew"))
    _print_table(rows, report.notes)


def _stability(found: list[float | None]) -> list[tuple[str, str]]:
    """Sum up how surely sound types are found again."""
    from statistics import median

    known = [one for one in found if one is not None]
    if not known:
        return []
    low = sum(one < LOW_STABILITY for one in known)
    of = "" if len(known) == len(found) else f" (known of {len(known):,})"
    return [("stability", f"median {median(known):.2f}; {low:,} below {LOW_STABILITY:g}{of}")]


def _day_and_time(ms: int | None) -> str:
    """Write a time by the clock of this computer."""
    if ms is None:
        return f"{'at some time':<16}"
    return datetime.fromtimestamp(ms / 1000).strftime("%Y-%m-%d %H:%M")


def _print_learned(report: LearnReport) -> None:
    _print_table(
        [
            ("hours heard", f"{report.hours:.2f}"),
            ("files", f"{report.files:,}"),
            ("loss", f"{report.loss:.3f} after {report.steps:,} steps"),
            ("loss of each patch's mean", f"{report.loss_mean:.3f}"),
            ("loss of interpolation", f"{report.loss_interpolation:.3f}"),
            ("events", f"{report.events:,}"),
            ("sound types", f"{report.clusters:,} ({report.noise_share:.0%} not grouped)"),
            ("report", report.report),
        ],
        report.notes,
    )


def _print_plan(plan: Plan) -> None:
    """Print what a run would take, and say of each figure where it comes from."""
    seen = f"{plan.patches:,}, of which {plan.seen_patches:,} are seen"
    speed = (
        f"{plan.windows_per_s:,.1f} windows a second, {plan.flops_per_s / 1e9:,.1f} GFLOP/s "
        f"(measured, batches of {plan.trial_windows:,})"
    )
    peak, free = plan.memory_peak_bytes, plan.memory_free_bytes
    grown = [] if peak is None else [("memory, trial", f"{peak / 1e9:.2f} GB at most (measured)")]
    memory = f"{plan.memory_bytes / 1e9:.2f} GB (calculated, for a batch at once)"
    memory += "" if free is None else f", {free / 1e9:.1f} GB are free"
    disk = f"{plan.checkpoint_bytes / 1e9:.2f} GB on the disk (calculated)"
    _print_table(
        [
            ("archive", f"{plan.archive_hours:,.2f} hours"),
            ("device", f"{plan.device}, {plan.precision}"),
            ("parameters", f"{plan.parameters:,} (counted)"),
            ("patches a window", f"{seen} (counted)"),
            ("a window", f"{plan.flops_per_window / 1e9:.3f} GFLOP, there and back (counted)"),
            ("speed", speed),
            ("waiting for windows", f"{plan.waiting_share:.1%} of the time (measured)"),
            ("memory", memory),
            *grown,
            ("steps", f"{plan.steps:,} of {plan.batch_size:,} windows"),
            ("hours", f"{plan.hours:,.2f} (from the measured speed)"),
            ("heard", f"{plan.heard_hours:,.1f} hours, {plan.times_heard:,.1f} times the archive"),
            ("checkpoints", f"{disk}, {plan.disk_free_bytes / 1e9:,.0f} GB are free"),
        ],
        plan.notes,
    )


def _names(listed: str | None) -> list[str]:
    """Return names that are separated by commas."""
    return [name.strip() for name in (listed or "").split(",") if name.strip()]


def _print_evaluated(report: EvaluateReport) -> None:
    """Print what the scores may be due to, then the scores of every kind of vector."""
    evaluation = report.evaluation
    for finding in evaluation.findings[:SHOWN_FILES]:
        print(f"note: {finding}")
    if len(evaluation.findings) > SHOWN_FILES:
        print(f"note: ... and {len(evaluation.findings) - SHOWN_FILES:,} more findings")
    for answer in evaluation.answers:
        print(
            f"\n{answer.question}: {answer.n_items:,} items, {len(answer.counts)} labels, "
            f"{answer.n_groups:,} groups"
        )
        print(f"  {'':<18}{'mAP':>7}{'first':>7}{'votes':>7}{'rest':>7}{'leak':>7}")
        for kind, score in answer.kinds.items():
            leak = score.random_split_average_precision - score.mean_average_precision
            columns = (
                score.mean_average_precision,
                score.precision_at_1,
                score.neighbour_accuracy,
                score.rest_average_precision,
                leak,
            )
            print(f"  {kind:<18}" + "".join(_figure(value) for value in columns))
        for pairs in answer.pairs:
            chance = "" if pairs.p_value is None else f", p {pairs.p_value:.3f}"
            print(
                f"  {pairs.kind}: same or not, {pairs.pairs}: AUC {pairs.roc_auc:.3f}, "
                f"EER {pairs.equal_error_rate:.3f} ({pairs.n_individuals} individuals{chance})"
            )
        if answer.sound_types is not None:
            agreement = answer.sound_types.every_item.adjusted_mutual_information
            share = answer.sound_types.noise_share
            print(f"  sound types: AMI {agreement:.3f}, {share:.0%} not grouped")
        for problem in answer.problems:
            print(f"  not asked: {problem}")
    rows = [("items", f"{evaluation.n_items:,}"), ("recordings", f"{evaluation.n_recordings:,}")]
    if evaluation.not_evaluated:
        rows.append(("columns not evaluated", ", ".join(evaluation.not_evaluated)))
    print()
    _print_table([*rows, ("report", report.report)], report.notes)
    for problem in evaluation.problems[:SHOWN_FILES]:
        print(f"  {problem}")
    if len(evaluation.problems) > SHOWN_FILES:
        print(f"  ... and {len(evaluation.problems) - SHOWN_FILES:,} more (see the report)")


def _print_joined(report: JoinReport) -> None:
    """Print how the log was read, what can be said, and what cannot."""
    if report.guessed:
        print("How the log was read (join.toml in the workspace has it all):")
        _print_first([f"  {sentence}" for sentence in report.guessed])
        print()
    if not report.logs:
        return print("\n".join([report.verdict, *report.notes]))
    for one in report.logs:
        rows = f"{one.used:,} of {one.rows:,} rows" if one.rows else f"{one.used:,} rows"
        left = f" ({one.unread:,} left out)" if one.unread else ""
        whole = f", {one.whole:,} for whole recordings" if one.whole else ""
        nowhere = f", {one.nowhere:,} without a recording or site" if one.nowhere else ""
        print(
            f"{one.name}: {rows}{left}; {one.points:,} points, {one.states:,} states{whole}"
            f"{nowhere}; {one.sessions:,} sessions, "
            f"{one.watched}, {one.calls:,} calls"
        )
    print()
    _print_table(
        [
            ("calls", f"{report.calls:,}, {report.observed:,} of them observed"),
            ("unobserved", f"{report.unobserved:,}"),
            *([("without a time", f"{report.without_time:,}")] if report.without_time else []),
            *([("without a log", f"{report.without_log:,}")] if report.without_log else []),
            ("watched", f"{report.watched} in {report.sessions:,} sessions"),
            ("pairs tested", f"{report.tested:,}, {report.found:,} found"),
            ("report", report.report),
            ("a row a call", report.table),
        ],
        report.notes,
    )
    print(f"\n{report.verdict}")
    _print_first([f"  {finding}" for finding in report.findings])
    if report.limits:
        print("\nWhat is in the way:")
        _print_first([f"  {limit}" for limit in report.limits])
    print("\nClocks:")
    _print_first([f"  {said}" for said in report.clocks])
    if report.problems:
        print(f"\n{len(report.problems):,} rows to look at:")
        _print_first(
            [
                f"  {one.log}, {f'line {one.row}' if one.row else 'as a whole'} ({one.kind}): "
                f"{one.what}"
                for one in report.problems
            ]
        )


def _print_similar(report: SimilarReport) -> None:
    """Print what was found, those of other recordings first."""
    _print_table(
        [
            ("like", "; ".join(report.like)),
            *([("not like", "; ".join(report.unlike))] if report.unlike else []),
            ("events compared", f"{report.compared:,}"),
            *([] if report.out is None else [("written", report.out)]),
        ],
        report.notes,
    )
    for title, events in (
        ("In other recordings", report.others),
        ("In the same recording", report.own),
    ):
        print(f"\n{title}:{'' if events else ' none'}")
        if not events:
            continue
        header = (
            "likeness",
            "above",
            "event",
            "type",
            "from",
            "to (s)",
            "low",
            "high (Hz)",
            "when",
            "site",
            "file",
        )
        rows = [
            (
                f"{one.likeness:.2f}",
                "-" if one.percentile is None else _percent(one.percentile),
                f"{one.event}",
                "-" if one.sound_type is None else f"{one.sound_type}",
                f"{one.start_s:.3f}",
                f"{one.stop_s:.3f}",
                f"{one.low_hz:.0f}",
                f"{one.high_hz:.0f}",
                one.time[:19].replace("T", " ") if one.time else "-",
                one.site or "-",
                one.path,
            )
            for one in events
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            cells = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)]
            print("  ".join([" ", *cells[:-1], row[-1]]))
    if report.others and report.others[0].percentile is not None:
        nearest = report.others[0]
        print(
            "\nabove: share of unrelated pairs, each like the two in band, length and level, that "
            f"are less alike\n(for the first, of {nearest.pairs:,} pairs of "
            f"{nearest.pair_recordings:,} recordings)"
        )


def _stretched(
    asked: Sequence[str], start_s: float | None, stop_s: float | None
) -> list[str | Stretch]:
    """Return what was asked for; with seconds, that stretch of the file that it is."""
    from oscine import steps as verbs

    if start_s is None and stop_s is None:
        return list(asked)
    whole = verbs.Stretch(file=Path(asked[0]))
    if len(asked) > 1 or verbs.read_example(asked[0]) != whole:
        raise WrongUse("--start-s and --stop-s are of a file that is asked alone: FILE@START-STOP")
    return [replace(whole, start_s=start_s, stop_s=stop_s)]


def _share(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.01" if 0 < value < 0.005 else f"{value:.2f}"


def _none(sound: WhichSound) -> str:
    """Say how likely it is none of the classes; so exactly that it fits whether it is one."""
    text = _share(sound.none)
    return f"{sound.none:.3f}" if sound.answer and text == "0.10" else text


def _percent(share: float) -> str:
    from oscine.steps.shared import percent

    return percent(share)


def _figure(value: float | None) -> str:
    return f"{'-':>7}" if value is None else f"{value:>7.3f}"


def _print_table(rows: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    for note in notes:
        print(f"note: {note}")


def _method(found: NeighboursReport | None) -> str:
    """Say how neighbours are found."""
    return "not compared yet: run `oscine embed`" if found is None else found.method


def _print_compared(found: NeighboursReport | None) -> None:
    """Name recordings that are nearly the same, and events that are like no others."""
    if found is not None and found.near_duplicates:
        print(
            f"\n{found.near_duplicates_in_all:,} pairs of recordings seem to hold the same sound:"
        )
        _print_first(
            [
                f"  {pair.path} and {pair.other}: {pair.share:.0%} of the events"
                + (f", {pair.offset_s:+.2f} s" if pair.offset_s else "")
                for pair in found.near_duplicates
            ]
        )
    if found is not None and found.oddest:
        print("\nThe events least like anything in other recordings:")
        _print_first(
            [
                f"  {event.path}, {event.start_s:.2f} to {event.stop_s:.2f} s"
                for event in found.oddest
            ]
        )


def _print_skipped(skipped: Sequence[tuple[str, str, str]], copies: Sequence[str]) -> None:
    """Name the files that were not heard whole, and why; of many copies, only how many."""
    twice = [f"  {path}: {reason}" for path, state, reason in skipped if state == "duplicate"]
    named = [f"  {': '.join(one)}" for one in skipped if one[1] != "duplicate"]
    if named:
        print(f"\n{len(named):,} files were not heard whole:")
        _print_first(named)
    if len(twice) > SHOWN_FILES:
        print("\nFiles that are there twice (--json names them):")
        _print_first([f"  {line}" for line in copies])
    elif twice:
        print("\nFiles that are there twice:")
        _print_first(twice)


def _print_first(lines: Sequence[str]) -> None:
    for line in lines[:SHOWN_FILES]:
        print(line)
    if len(lines) > SHOWN_FILES:
        more = len(lines) - SHOWN_FILES
        print(f"  ... and {more:,} more (--json has them all)")


def _counted_alarms(n_alarms: int) -> str:
    return f"{n_alarms} alarms" if n_alarms > 1 else "1 alarm" if n_alarms else "no alarm"


def _counted(counts: dict[str, int]) -> str:
    """Name the most frequent, with their numbers."""
    often = sorted(counts.items(), key=lambda one: -one[1])
    named = ", ".join(f"{name} ({count:,})" for name, count in often[:SHOWN_NAMES])
    return named + (f" and {len(often) - SHOWN_NAMES:,} more" if len(often) > SHOWN_NAMES else "")


def _complain(message: str, error: BaseException | None = None) -> None:
    """Say what went wrong, and what an error was given to say besides."""
    print("\n".join([f"oscine: {message}", *getattr(error, "__notes__", ())]), file=sys.stderr)
