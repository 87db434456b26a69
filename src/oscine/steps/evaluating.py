"""`evaluate`: the frozen vectors against labels that people gave.

In come label tables and a finished workspace; out come ``reports/evaluation.html`` and ``.json``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from oscine.config import WrongArgument
from oscine.workspace.catalogue import EventRow, Stage

if TYPE_CHECKING:
    from oscine.evaluation.assess import Evaluation
    from oscine.sound.annotations import Annotation, AnnotationTable
    from oscine.workspace import Workspace
from oscine.steps.hearing_calls import exchange_sample, individual_readout
from oscine.steps.importing import placed_annotations, read_table
from oscine.steps.listening import evaluation_fingerprint
from oscine.steps.shared import Progress, at_work, needed, open_tape, telling
from oscine.steps.sounds import sound_around


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateReport:
    """What labels tell about the frozen model, and which of them are kept from now on."""

    evaluation: Evaluation
    report: str
    notes: list[str]


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

    The labels of tables are kept in ``labels.sqlite`` once they were evaluated; what is refused
    changes nothing there. Writes ``reports/evaluation.html`` for people and
    ``reports/evaluation.json`` for programs. Where individuals are asked for, a readout of their
    own is fitted on the archive, without labels, the first time.

    Parameters
    ----------
    tables : sequence of Path
        CSV tables, Raven selection tables, Audacity labels. Without any, those that were given
        before, or imported.
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
    WrongArgument
        A table or a column cannot be understood.
    FileNotFoundError
        There is no workspace.
    ValueError
        There are no vectors yet, or no label belongs to a recording that was heard.
    """
    from oscine.embedding.intervals import fit_sample, frame_intervals
    from oscine.embedding.readout import Readout
    from oscine.evaluation.assess import INDIVIDUAL_COLUMNS, assess
    from oscine.evaluation.items import contradicted_items, labelled_items
    from oscine.evaluation.layer_report import report_layers
    from oscine.evaluation.listening import Listener
    from oscine.evaluation.report import write_evaluation
    from oscine.model.checkpoint import load_encoder
    from oscine.sound.annotations import (
        LabelBook,
        labels_of_events,
    )

    # By its full path a table is known again: what it said before is replaced.
    by_file = {one.resolve(): read_table(one.resolve()) for one in tables}
    read = sorted(by_file.values(), key=lambda table: table.file)  # as they are kept
    with at_work(folder, ()) as (workspace, catalogue, config):
        needed(catalogue, "embed")
        model = needed(catalogue, "pretrain")
        readout = Readout.load(workspace.embeddings())
        if readout.encoder != model.facts["weights"]:
            raise ValueError(f"{folder}: the model is another since: run `oscine embed` again")
        kept = _kept_before(workspace)  # what is wrong with the book is said before the work
        annotations = [one for table in read for one in table.annotations] if read else kept
        asked = _questions(questions, groups, types, _columns(annotations))
        matched, recordings = placed_annotations(catalogue, annotations)
        items = labelled_items(matched.annotations, recordings, config.picture)
        used: list[str] = [*asked, *groups, *([types] if types else [])]
        contradicted = contradicted_items(
            matched.annotations, recordings, config.picture, list(dict.fromkeys(used))
        )

        events, by_number = catalogue.events(), {row.recording_id: row for row in recordings}
        sample = fit_sample(
            frame_intervals(events, by_number),
            frame_intervals(catalogue.windows(), by_number),
            readout.config,
        )
        tape, _ = open_tape(workspace, catalogue, config)
        encoder = load_encoder(workspace.folder / model.facts["checkpoint"])
        # As they were found: people may have heard the labels in what they merged and split.
        clusters = catalogue.found_types().by_event()
        individual = None
        if any(name.lower() in INDIVIDUAL_COLUMNS for name in asked):
            with suppress(ValueError):  # too few events or backgrounds
                drawn = exchange_sample(catalogue, config, tape, encoder, readout)
                individual = (
                    individual_readout(workspace, catalogue, encoder, readout, lambda: drawn),
                    drawn,
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
        vectors = listener.vectors(telling(progress, "features"))
        evaluation = assess(
            items,
            vectors,
            asked,
            groups,
            picture=listener.picture,
            listener=listener,
            types=types,
            sound_types={
                name: _typed(clusters, events, labels_of_events(events, matched, name))
                for name in asked
            },
            layers=lambda groups: report_layers(
                encoder,
                tape,
                readout.config,
                frame_intervals(events, by_number),
                lambda one: sound_around(one, config),
                items,
                groups,
                asked,
                seed=seed,
            ),
            problems=[
                *contradicted,
                *(said for table in read for said in table.problems),
                *matched.problems,
            ],
            seed=seed,
            progress=telling(progress, "evaluate"),
        )
        written = write_evaluation(workspace.reports, evaluation)
        stage = Stage(fingerprint=evaluation_fingerprint(catalogue), finished=True, facts={})
        catalogue.set_stage("evaluate", stage)
        if read:  # now that nothing was refused
            with LabelBook(workspace.labels_file) as book:
                book.replace(read)
    return EvaluateReport(evaluation=evaluation, report=str(written), notes=_kept(read))


def _kept_before(workspace: Workspace) -> list[Annotation]:
    """Return the labels that were given before; where there are none, no book is made."""
    from oscine.sound.annotations import LabelBook

    if not workspace.labels_file.exists():
        return []
    with LabelBook(workspace.labels_file, is_read_only=True) as book:
        return book.annotations()


def _kept(read: Sequence[AnnotationTable]) -> list[str]:
    """Say that what was read is kept, and how to be rid of it."""
    if not read:
        return []
    name = PurePosixPath(read[0].file).name
    named, forgotten = name, shlex.quote(name)
    if len(read) > 1:
        named, forgotten = f"{len(read):,} tables", "NAME"
    return [
        f"the labels of {named} are kept: `oscine evaluate` without tables asks them too; "
        f"`oscine import --forget {forgotten}` removes them (`--list` names what is kept)"
    ]


def _columns(annotations: Iterable[Annotation]) -> list[str]:
    """Return the columns that say something, in their order."""
    return list(dict.fromkeys(name for one in annotations for name in one.labels))


def _questions(
    questions: Sequence[str], groups: Sequence[str], types: str | None, columns: Sequence[str]
) -> list[str]:
    """Return the columns to evaluate: those named, or the only one there is."""
    have = f"the label tables have {', '.join(columns) or 'no labels'}"
    for name in [*questions, *groups, *([types] if types else [])]:
        if name not in columns:
            raise WrongArgument(f"there is no column {name!r}: {have}")
    left = [name for name in columns if name not in groups and name != types]
    if not questions and len(left) != 1:
        raise WrongArgument(f"name the columns to evaluate with --labels: {have}")
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
