"""Crow, jay, or none of these: `which`.

In come sounds and a few labelled examples; out comes a report. Nothing is trained, no label is
kept, and the workspace is only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oscine.config import WrongArgument
from oscine.search.classes import ACCEPTED, Which
from oscine.search.classes import which as told
from oscine.search.similarity import FEWEST_RECORDINGS, joined
from oscine.sound.annotations import match_recordings
from oscine.sound.archive import located
from oscine.steps.examples import Archive, Asked, Example, Stretch, read_examples
from oscine.steps.importing import read_table
from oscine.steps.shared import looked_at
from oscine.workspace.catalogue import Catalogue


@dataclass(frozen=True, kw_only=True, slots=True)
class NearExample:
    """One of the examples nearest to a sound."""

    example: str
    label: str
    likeness: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassShown:
    """How much speaks for a class; see :class:`oscine.search.classes.ClassShare`."""

    name: str
    share: float | None
    likeness: float
    examples: int
    recordings: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WhichSound:
    """Which class one sound is of.

    Attributes
    ----------
    sound : str
    answer : str or None
        None: none of these, or nothing can be said.
    classes : list of ClassShown
        The likeliest first.
    none : float or None
        How much speaks for none of them.
    percentile : float or None
        Share of the archive's events of the same length, band and level that are less like the
        nearest class; `none` is what is left of it to 1.
    events, recordings : int or None
        Of the archive, that this rests on.
    nearest : list of NearExample
    notes : list of str
    """

    sound: str
    answer: str | None
    classes: list[ClassShown]
    none: float | None
    percentile: float | None
    events: int | None
    recordings: int | None
    nearest: list[NearExample]
    notes: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class WhichReport:
    """Which class some sounds are of."""

    workspace: str
    label: str
    examples: int
    sounds: list[WhichSound]
    notes: list[str]


def which(
    clips: Sequence[Example],
    folder: Path,
    *,
    examples: Sequence[Path],
    label: str | None = None,
    channel: int | None = None,
) -> WhichReport:
    """Tell which class some sounds are of, by a few labelled examples, or that it is none.

    Parameters
    ----------
    clips : sequence of Example
        Files, stretches of files (``file@start-stop``), events by number.
    folder : Path
        Of the workspace. It is only read.
    examples : sequence of Path
        Tables of labels, as `evaluate` takes them. Recordings are looked for beside the table, in
        the working directory, and in the archive.
    label : str, optional
        The column that says the class; needed where there are several.
    channel : int, optional
        Of the files, from 0, where the workspace keeps each channel.

    Returns
    -------
    WhichReport

    Raises
    ------
    WrongArgument
        A table, a column or a sound cannot be meant.
    FileNotFoundError
        There is no workspace.
    ValueError
        There are no vectors yet, they are not of the model in use, or PyTorch is not installed.
    """
    read = read_examples(clips)
    wanted = [one for one in read if not isinstance(one, np.ndarray)]
    if len(wanted) < len(read):
        raise WrongArgument("a vector is no sound: name a file, or an event by its number")
    if not wanted:
        raise WrongArgument("name the sound that is asked about: a file, or an event by its number")
    with looked_at(folder, (), None, "picture") as (workspace, catalogue, config):
        archive = Archive.of(workspace, catalogue, config)
        label, labelled, problems = _labelled(examples, label, catalogue)
        refused: dict[Stretch, str] = {}
        stretches = [one for one, _ in labelled]
        clips_heard = [one for one in wanted if isinstance(one, Stretch)]
        with archive.heard([*clips_heard, *stretches], channel, refused) as heard:
            labelled = [(one, name) for one, name in labelled if one in heard]
            if not labelled:
                raise WrongArgument(f"no example can be heard: {refused[stretches[0]]}")
            shown = [heard[one] for one, _ in labelled]
            names = [name for _, name in labelled]
            asked = [
                heard[one] if isinstance(one, Stretch) else archive.event(one)
                for one in wanted
                if isinstance(one, int) or one in heard
            ]
            if not asked:
                raise WrongArgument(refused[clips_heard[0]])
            sounds = [_which(one, shown, names, archive) for one in asked]
    return WhichReport(
        workspace=str(folder),
        label=label,
        examples=len(labelled),
        sounds=sounds,
        notes=[*problems, *refused.values(), *_example_notes(shown, names)],
    )


def _which(
    one: Asked, shown: Sequence[Asked], names: Sequence[str], archive: Archive
) -> WhichSound:
    """Ask of one sound, by the examples that are not of its own recording."""
    own = [_origin(example) == _origin(one) for example in shown]
    kept = [example for example, is_own in zip(shown, own, strict=True) if not is_own]
    labels = [name for name, is_own in zip(names, own, strict=True) if not is_own]
    if not kept:
        raise WrongArgument(
            f"{one.words}: all examples are of its own recording, which tells nothing"
        )
    found = told(one.sounds, joined([example.sounds for example in kept]), labels, archive.cohort)
    rests_on = found.percentile
    return WhichSound(
        sound=one.words,
        answer=None if one.weakness else found.answer,
        classes=[
            ClassShown(
                name=each.name,
                share=None if one.weakness or each.share is None else round(each.share, 4),
                likeness=round(each.likeness, 3),
                examples=each.n_examples,
                recordings=each.n_recordings,
            )
            for each in found.classes
        ],
        none=None if one.weakness or rests_on is None else round(1 - rests_on.share, 4),
        percentile=None if one.weakness or rests_on is None else round(rests_on.share, 4),
        events=None if rests_on is None else rests_on.n_pairs,
        recordings=None if rests_on is None else rests_on.n_recordings,
        nearest=[
            NearExample(example=kept[row].words, label=labels[row], likeness=round(likeness, 3))
            for row, likeness in found.neighbours
        ],
        notes=_sound_notes(one, found, n_own=sum(own)),
    )


def _sound_notes(one: Asked, found: Which, n_own: int) -> list[str]:
    """Say what a reader of one answer must know."""
    notes = []
    if one.weakness:
        notes.append(f"it {one.weakness}: nothing can be said")
    elif found.percentile is None:
        notes.append(
            "to tell what is usual, the archive has too few recordings without examples "
            f"(at least {FEWEST_RECORDINGS}): it cannot be said whether it is any of these"
        )
    elif found.answer is None:
        notes.append(
            f"the nearest class is {found.classes[0].name}, but more than {1 - ACCEPTED:.0%} of "
            "the archive's sounds of this band, length and level are as much like a class"
        )
    if found.neighbours_say != found.classes[0].name:
        notes.append(f"most of the nearest examples are {found.neighbours_say}")
    if n_own:
        notes.append(f"examples of its own recording, left out: {n_own}")
    return notes


def _example_notes(shown: Sequence[Asked], names: Sequence[str]) -> list[str]:
    """Say of each class whether its examples can stand for it."""
    notes = [f"example {one.words} {one.weakness}" for one in shown if one.weakness]
    for name in sorted(set(names)):
        origins = {_origin(x) for x, own in zip(shown, names, strict=True) if own == name}
        if len(origins) == 1 and names.count(name) > 1:
            notes.append(f"all examples of {name} are of one recording: its background counts too")
    return notes


def _origin(one: Asked) -> str:
    return one.interval.recording.content_hash if one.interval else ""


def _labelled(
    tables: Sequence[Path], label: str | None, catalogue: Catalogue
) -> tuple[str, list[tuple[Stretch, str]], list[str]]:
    """Return the column asked for, the examples with their class, and what could not be used."""
    if not tables:
        raise WrongArgument("give labelled examples with --examples")
    read = [(table, read_table(table)) for table in tables]
    columns = list(dict.fromkeys(name for _, table in read for name in table.columns))
    have = f"the examples have {', '.join(columns) or 'no labels'}"
    if label is None and len(columns) != 1:
        raise WrongArgument(f"name the column of the class with --label: {have}")
    label = label or columns[0]
    if label not in columns:
        raise WrongArgument(f"there is no column {label!r}: {have}")
    found: list[tuple[Stretch, str]] = []
    problems = [said for _, table in read for said in table.problems]
    known = {row.recording_id: row for row in catalogue.recordings()}
    for table, content in read:
        for one in content.annotations:
            if label not in one.labels:
                continue
            places = [table.parent / one.path, Path(one.path)]
            file = next((place for place in places if place.is_file()), None)
            if file is None:
                matched = match_recordings([one], list(known.values()))
                problems += matched.problems
                if not matched.annotations:
                    continue
                row = known[matched.annotations[0].recording_id]
                file = located(Path(row.root), row.path)
            found.append(
                (Stretch(file=file, start_s=one.start_s, stop_s=one.stop_s), one.labels[label])
            )
    if not found:
        raise WrongArgument(
            f"none of the examples can be used{': ' + problems[0] if problems else ''}"
        )
    return label, found, problems
