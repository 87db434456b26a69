"""`import`: what people said of recordings, brought back into a workspace as labels.

In come label tables, such as exported ones that were corrected; out comes what they say of which
events. Labels lie in ``labels.sqlite``, which only evaluation reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from oscine.config import WrongArgument
from oscine.sound.archive import shown
from oscine.steps.exported_tables import audacity_words
from oscine.steps.naming import sound_type_names
from oscine.steps.shared import looked_at
from oscine.workspace.catalogue import Catalogue, EventRow, RecordingRow

if TYPE_CHECKING:
    from oscine.sound.annotations import Annotation, AnnotationTable, Matched

TABLES = "*.txt"
"""What is read of a folder: the tables of Raven and the labels of Audacity."""
OWN_LABELS = frozenset({"Sound Type", "Sound Type Name", "sound_type", "sound_type_name", "label"})
"""Columns that `oscine export` fills with what sound types are called."""
WHICH_COUNTS = (
    "the row that was written for the event counts, else one of its channel, of these the one that "
    "shares the most time with it, then the shortest, then the first"
)
"""As of `oscine.sound.annotations.rows_of_events`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptTable:
    """A table of labels in a workspace, and how many rows of it are kept."""

    file: str
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCount:
    """A label of the tables that were read: its rows, and the events that it is the label of."""

    column: str
    label: str
    rows: int
    events: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportReport:
    """What label tables say.

    Attributes
    ----------
    workspace : str
    tables, rows : int
        That were read; each row is one of those that follow.
    placed : int
        Rows that belong to a recording: they are used.
    unplaced : int
        Rows that are kept and not used: of no recording that was heard, or beyond its end.
    refused : int
        Rows that cannot be used and are not kept.
    labels : list of LabelCount
        By column, the most frequent first.
    kept : list of KeptTable
        All that the workspace holds now.
    forgotten : list of str
        Files whose labels were removed.
    problems : list of str
        What could not be used, with the reason.
    notes : list of str
    """

    workspace: str
    tables: int
    rows: int
    placed: int
    unplaced: int
    refused: int
    labels: list[LabelCount]
    kept: list[KeptTable]
    forgotten: list[str]
    problems: list[str]
    notes: list[str]


def import_labels(
    tables: Sequence[Path], folder: Path, *, forget: Sequence[str] = ()
) -> ImportReport:
    """Keep what label tables say of recordings, for `evaluate`; nothing learns from it.

    Parameters
    ----------
    tables : sequence of Path
        CSV tables, Raven selection tables, Audacity labels, others as of
        :func:`oscine.sound.annotations.read_annotations`; of a folder, all ``.txt`` in it. A table
        that is there already, by its full path, is replaced, all of them at once or none.
    folder : Path
        Of the workspace. Other runs may work on it meanwhile.
    forget : sequence of str
        Files or folders whose labels are removed, by the end of their path.

    Returns
    -------
    ImportReport

    Raises
    ------
    WrongArgument
        None of the tables can be read; or what is to be forgotten is not there, or could be
        several.
    FileNotFoundError
        There is no workspace.
    """
    from oscine.sound.annotations import LabelBook

    with looked_at(folder, (), None, "picture") as (workspace, catalogue, _):
        read, problems = _read(tables)
        with LabelBook(workspace.labels_file) as book:
            forgotten = _meant(forget, list(book.files()))
            book.forget(forgotten)
            book.replace(read)
            kept = [KeptTable(file=file, rows=rows) for file, rows in book.files().items()]
            annotations = book.annotations() if read else []
        files = {table.file for table in read}
        own = [one for one in annotations if one.table in files]
        matched, recordings = placed_annotations(catalogue, own)
        refused = sum(table.refused for table in read)
        labels, contradicted = _counted(catalogue, matched, recordings)
        return ImportReport(
            workspace=str(folder),
            tables=len(read),
            rows=len(own) + refused,
            placed=len(matched.annotations),
            unplaced=len(own) - len(matched.annotations),
            refused=refused,
            labels=labels,
            kept=kept,
            forgotten=forgotten,
            problems=[
                *problems,
                *(said for table in read for said in table.problems),
                *matched.problems,
            ],
            notes=[*contradicted, *_twice(annotations, files), *_by_oscine(catalogue, matched)],
        )


def placed_annotations(
    catalogue: Catalogue, annotations: Sequence[Annotation]
) -> tuple[Matched, list[RecordingRow]]:
    """Return where annotations belong, and all recordings, duplicates as what was heard of them."""
    from oscine.sound.annotations import heard_twins, match_recordings, named_events

    recordings = heard_twins(catalogue.recordings())
    events = catalogue.some_events(named_events(annotations))
    return match_recordings(annotations, recordings, events), recordings


def read_table(table: Path) -> AnnotationTable:
    """Read a table of labels that somebody named.

    Raises
    ------
    WrongArgument
        It cannot be read.
    """
    from oscine.sound.annotations import read_annotations

    try:
        return read_annotations(table)
    except OSError as error:
        reason = error.strerror or error
        raise WrongArgument(
            f"{shown(table)} cannot be read: {reason}: name a table of labels"
        ) from error
    except ValueError as error:
        raise WrongArgument(str(error)) from error


def _read(tables: Iterable[Path]) -> tuple[list[AnnotationTable], list[str]]:
    """Read tables by their full paths, by which they are known again; return what cannot be."""
    read: dict[str, AnnotationTable] = {}
    problems: list[str] = []
    for table in tables:
        files = [table]
        if table.is_dir():
            files = sorted(file for file in table.rglob(TABLES) if not file.name.startswith("."))
            if not files:
                problems.append(f"{shown(table)} holds no {TABLES}: name the tables themselves")
        for file in files:
            try:
                content = read_table(file.resolve())
                read[content.file] = content
            except WrongArgument as error:
                problems.append(str(error))
    if problems and not read:
        raise WrongArgument(problems[0])
    return list(read.values()), problems


def _meant(names: Iterable[str], files: Sequence[str]) -> list[str]:
    """Return the files that names mean: a file, or all below a folder."""
    meant: list[str] = []
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        of_name = [file for file in files if PurePosixPath(file).parts[-len(parts) :] == parts]
        if len(of_name) > 1:
            raise WrongArgument(
                f"--forget {name} could be any of {', '.join(of_name)}: write more of its path"
            )
        found = of_name or (_below(parts, files) if parts else [])  # every file is below nothing
        meant += found
        if not found:
            raise WrongArgument(
                f"--forget {name}: no labels came from there (`oscine import --list` names files)"
            )
    return sorted(set(meant))


def _below(folder: tuple[str, ...], files: Sequence[str]) -> list[str]:
    n = len(folder)

    def is_below(file: str) -> bool:
        parts = PurePosixPath(file).parts
        return any(parts[start : start + n] == folder for start in range(len(parts) - n))

    return [file for file in files if is_below(file)]


def _counted(
    catalogue: Catalogue, matched: Matched, recordings: Sequence[RecordingRow]
) -> tuple[list[LabelCount], list[str]]:
    """Count rows and events of each label; say where rows say different things, or nearly alike."""
    from oscine.sound.annotations import contradictions, rows_of_events, written_alike

    by_id = {row.recording_id: row for row in recordings}
    labelled = [by_id[one.recording_id] for one in matched.annotations]
    files = {(row.root, row.path) for row in labelled}
    events: list[EventRow] = []
    for row in recordings:
        if (row.root, row.path) in files:
            events += catalogue.events_of(row.recording_id)
    said = [one.annotation.labels for one in matched.annotations]
    counts, notes = list[LabelCount](), list[str]()
    columns = dict.fromkeys(name for labels in said for name in labels)
    # What people wrote comes first: the sound types of an export are many, and their own.
    for column in sorted(columns, key=lambda name: name in OWN_LABELS):
        rows = Counter(labels[column] for labels in said if column in labels)
        of_events = [found for found in rows_of_events(events, matched, column) if found]
        covered = Counter(found[0].labels[column] for found in of_events)
        counts += [
            LabelCount(column=column, label=label, rows=number, events=covered[label])
            for label, number in rows.most_common()
        ]
        notes += contradictions(column, of_events, each="events", which=WHICH_COUNTS)
        notes += written_alike(column, rows)
    return counts, notes


def _twice(annotations: Iterable[Annotation], files: set[str]) -> list[str]:
    """Name tables that speak of events which the tables that were read speak of too."""
    keys = {one.event for one in annotations if one.event and one.table in files}
    others = Counter(
        one.table for one in annotations if one.event in keys and one.table not in files
    )
    if not others:
        return []
    return [
        f"tables that were there already have {others.total():,} rows for the same events (most "
        f"of them {others.most_common(1)[0][0]}): where tables say different things, the one whose "
        "path comes first counts; if those are older copies, remove them with --forget"
    ]


def _by_oscine(catalogue: Catalogue, matched: Matched) -> list[str]:
    """Say of columns in which rows hold what `oscine export` wrote there that these are no news."""
    placed = [one for one in matched.annotations if one.event_id is not None]
    kinds = catalogue.sound_types_of(one.event_id or 0 for one in placed)
    names = sound_type_names(catalogue)
    rows, same = Counter[str](), Counter[str]()
    for one in placed:
        kind = kinds.get(one.event_id or 0)
        for column in OWN_LABELS & one.annotation.labels.keys():
            rows[column] += 1
            label = one.annotation.labels[column]
            same[column] += kind is not None and label in (str(kind), audacity_words(kind, names))
    return [
        f"{column}: {number:,} of {rows[column]:,} labels of events are those that Oscine wrote; "
        "they say what it found, and are no test of it"
        for column, number in sorted(same.items())
        if number
    ]
