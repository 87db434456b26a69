"""`export`: events taken home, as tables for Raven, Audacity and R, as clips, or as a page.

In comes a finished workspace; out comes a folder outside of it, written whole or not at all. The
workspace and the archive are only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from oscine.config import WrongArgument
from oscine.sound.selections import NO_TYPE
from oscine.steps.chosen import Chosen
from oscine.steps.exported_sounds import clips, page
from oscine.steps.exported_tables import audacity, raven, tables
from oscine.steps.naming import check_sound_type, sound_type_names, sound_types
from oscine.steps.shared import Progress, looked_at, needed, telling, untimed_words
from oscine.workspace.exported import exported_files, exported_folder

Form = Literal["raven", "audacity", "csv", "parquet", "clips", "page"]
MOST = {"clips": 20, "page": 12}
"""Events of a sound type that are taken where no number is given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What was written.

    Attributes
    ----------
    workspace : str
    to : str
        The form.
    out : str
        The folder.
    events : int
        That were written.
    recordings : int
        That they are of.
    files : int
        That were written, as ``oscine-export.json`` beside them names them.
    skipped : list of (str, str)
        Path of a recording of which something could not be written, and why, once for each event.
    notes : list of str
    """

    workspace: str
    to: str
    out: str
    events: int
    recordings: int
    files: int
    skipped: list[tuple[str, str]]
    notes: list[str]


def export(
    folder: Path,
    to: Form,
    out: Path,
    *,
    where: str | None = None,
    clusters: Sequence[int] = (),
    one_table: bool = False,
    vectors: bool = False,
    margin_s: float | None = None,
    most: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ExportReport:
    """Write events of a workspace into a folder, for other programs and for people.

    Parameters
    ----------
    folder : Path
        Of the workspace. It is only read, also while another run works on it, and as it was when
        the export began.
    to : str
        ``raven`` (a selection table a recording), ``audacity`` (a label file a recording), ``csv``
        or ``parquet`` (a table of events and one of recordings), ``clips`` (WAV files by sound
        type), ``page`` (a page with pictures and sounds).
    out : Path
        A folder that is not there, empty, or an export that nobody changed, which is replaced. It
        must not lie in the workspace or in the archive.
    where : str, optional
        A condition that events must meet, as of :func:`oscine.workspace.where.parse_where`.
    clusters : sequence of int
        Sound types that events must be of; -1: none.
    one_table : bool
        For Raven, one table that spans all recordings.
    vectors : bool
        With the vectors of the events in the table (CSV, Parquet).
    margin_s : float, optional
        Sound before and after an event in its clip; none if not given.
    most : int, optional
        Clips, or sounds on the page, of each sound type: its examples first, then others that are
        drawn by chance. 20 clips, 12 on the page if not given.
    seed : int
        Of that chance.
    progress : callable, optional

    Returns
    -------
    ExportReport

    Raises
    ------
    WrongArgument
        A setting cannot be meant, there is no such sound type, or the folder holds something else.
    FileNotFoundError
        There is no workspace.
    ValueError
        A step is missing, or no clip could be cut.
    """
    _check(to, one_table, vectors, margin_s, most, seed)
    condition = _condition(where, clusters)
    with looked_at(folder, (), None, "picture") as opened:
        workspace, catalogue, config = opened
        with catalogue.unchanged():
            needed(catalogue, "index")
            for cluster in clusters:
                if cluster != NO_TYPE:
                    check_sound_type(cluster, list(sound_types(catalogue).sizes))
            numbers, of_clusters = catalogue.clusters_where(condition)
            untimed = untimed_words(catalogue, condition) if condition else ""
            chosen = Chosen(
                workspace=workspace,
                catalogue=catalogue,
                config=config,
                numbers=numbers,
                clusters=of_clusters,
                names=sound_type_names(catalogue),
                progress=telling(progress, "export"),
            )
            elsewhere = [folder, *map(Path, catalogue.roots(with_absent=True))]
            with exported_folder(out, {"to": to, "where": condition}, elsewhere) as new:
                if to == "raven":
                    written = raven(chosen, new, one_table)
                elif to == "audacity":
                    written = audacity(chosen, new)
                elif to == "clips":
                    written = clips(chosen, new, margin_s or 0.0, most or MOST[to], seed)
                elif to == "page":
                    written = page(chosen, new, condition, most or MOST[to], seed)
                else:
                    written = tables(chosen, new, to, vectors)
    if not len(numbers):
        written.notes.append(
            f"no event meets the condition{untimed}" if condition else "there is no event"
        )
    return ExportReport(
        workspace=str(folder),
        to=to,
        out=str(out),
        events=written.events,
        recordings=written.recordings,
        files=len(exported_files(out)),
        skipped=written.skipped,
        notes=written.notes,
    )


def _check(
    to: str,
    one_table: bool,
    vectors: bool,
    margin_s: float | None,
    most: int | None,
    seed: int,
) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if to not in get_args(Form):
        raise WrongArgument(f"--to {to}: it is one of {', '.join(get_args(Form))}")
    for name, is_given, forms in (
        ("--one-table", one_table, ("raven",)),
        ("--vectors", vectors, ("csv", "parquet")),
        ("--margin-s", margin_s is not None, ("clips",)),
        ("--most", most is not None, tuple(MOST)),
    ):
        if is_given and to not in forms:
            raise WrongArgument(f"{name} goes with --to {' or '.join(forms)}, not with {to}")
    if margin_s is not None and not 0 <= margin_s < float("inf"):
        raise WrongArgument(f"--margin-s must not be negative, not {margin_s:g}")
    if most is not None and most < 1:
        raise WrongArgument(f"--most must be at least 1, not {most}")
    if seed < 0:
        raise WrongArgument(f"--seed must not be negative, not {seed}")


def _condition(where: str | None, clusters: Sequence[int]) -> str | None:
    """Return both as one condition."""
    if not clusters:
        return where
    among = f"cluster in ({', '.join(str(number) for number in clusters)})"
    return among if where is None else f"({where}) and {among}"
