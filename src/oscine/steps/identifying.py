"""The same bird? How many are there? `same` and `individuals`.

In come calls; out come reports for the command line. What the calls are held against is heard once
and stays beside the vectors; all else only reads the workspace, and no label is kept.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oscine.config import WrongArgument
from oscine.search.similarity import Percentile
from oscine.steps.examples import Asked, Example, Stretch, all_asked, read_examples
from oscine.steps.found import write_rows
from oscine.steps.hearing_calls import hear_individuals
from oscine.steps.naming import check_sound_type, sound_types
from oscine.steps.shared import Progress, percent

if TYPE_CHECKING:
    from oscine.search.individuals import Groups, Likeness

MOST_GROUPED = 1000
"""Calls that are put in groups at a time."""
ALIKE = 0.95
"""Percentile from which backgrounds alone are alike."""
YES, NO = ("1", "yes", "true", "same"), ("0", "no", "false", "different")
KNOWN_COLUMNS = ("a", "b", "same")
MOST_IN_ONE_RECORDING = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class SameReport:
    """Whether two calls may be of one individual.

    Attributes
    ----------
    workspace : str
    one, other : str
    likeness : float or None
        In deviations: 0 is usual for two calls of their kind. None where nothing can be said.
    percentile : float or None
        Share of pairs of such calls, from different recordings, that are less alike.
    pairs, recordings : int or None
        That it rests on.
    recordings_of_kind : int
        Recordings of the archive with calls of their kind.
    backgrounds : float or None
        Share of pairs of the archive's backgrounds that are less alike than theirs; None where one
        of them cannot be measured.
    probability : float or None
        Of the same individual, by known pairs, both being as likely beforehand.
    equal_error_rate : float or None
        Of the known pairs.
    known_same, known_different : int
        Known pairs.
    warnings : list of str
    """

    workspace: str
    one: str
    other: str
    likeness: float | None
    percentile: float | None
    pairs: int | None
    recordings: int | None
    recordings_of_kind: int
    backgrounds: float | None
    probability: float | None
    equal_error_rate: float | None
    known_same: int
    known_different: int
    warnings: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class PutativeIndividual:
    """One group of calls.

    Attributes
    ----------
    individual : int
        From 1, the largest first.
    calls, recordings : int
    typical : int
        The event that is most surely in it.
    sureness : float
        Mean silhouette of its calls: near 0 they could as well be in another.
    """

    individual: int
    calls: int
    recordings: int
    typical: int
    sureness: float


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupedCall:
    """A call and the group it is in."""

    event: int
    individual: int
    sureness: float
    path: str
    start_s: float
    stop_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class IndividualsReport:
    """Putative individuals among some calls.

    Attributes
    ----------
    workspace : str
    calls, recordings : int
    individuals : int
        1 where the calls cannot be parted.
    at_least, at_most : int
        Numbers that fit about as well.
    silhouette, silhouette_by_chance : float
        How well the groups are parted, and how well those of calls without groups are (19 of 20).
    stability : float
        Adjusted Rand index with the groups that are found without a third of the recordings.
    groups : list of PutativeIndividual
    members : list of GroupedCall
    out : str or None
    notes : list of str
    """

    workspace: str
    calls: int
    recordings: int
    individuals: int
    at_least: int
    at_most: int
    silhouette: float
    silhouette_by_chance: float
    stability: float
    groups: list[PutativeIndividual]
    members: list[GroupedCall]
    out: str | None
    notes: list[str]


def same(
    one: Example,
    other: Example,
    folder: Path,
    *,
    known: Path | None = None,
    channel: int | None = None,
    progress: Progress | None = None,
) -> SameReport:
    """Tell how alike two calls are as individuals, and how far that can be trusted.

    Parameters
    ----------
    one, other : Example
    folder : Path
        Of the workspace. The first time, the readout for individuals is fitted and calls of the
        archive are heard with it; after that it is only read.
    known : Path, optional
        CSV with columns ``a``, ``b`` (as `one` and `other` on the command line) and ``same`` (yes
        or no): pairs that are known, for a probability.
    channel : int, optional
    progress : callable, optional

    Returns
    -------
    SameReport

    Raises
    ------
    WrongArgument
        A sound or the table cannot be meant.
    ValueError
        The archive is too small, the vectors are not of the model in use, another run holds the
        workspace the first time, or PyTorch is not installed.
    """
    from oscine.search.individuals import background_likeness, calibrate
    from oscine.search.individuals import same as told

    wanted = read_examples([one, other])
    pairs, said = ([], []) if known is None else _known_pairs(known)
    wanted_known = read_examples([side for pair in pairs for side in pair])
    if any(isinstance(side, np.ndarray) for side in wanted):
        raise WrongArgument("a vector is no call: name a file, or an event by its number")
    stretches = [side for side in wanted_known if isinstance(side, Stretch)]
    refused: dict[Stretch, str] = {}
    with (
        hear_individuals(folder, progress) as hearing,
        all_asked(hearing.archive, wanted, channel) as sides,
        hearing.archive.heard(stretches, channel, refused) as heard,
    ):
        asked, are_same = list(sides), []
        for row, is_same in enumerate(said):
            pair = wanted_known[2 * row : 2 * row + 2]
            if not any(isinstance(side, Stretch) and side in refused for side in pair):
                are_same.append(is_same)
                asked += [
                    heard[side] if isinstance(side, Stretch) else hearing.archive.event(int(side))
                    for side in pair
                ]
        cohort, calls = hearing.cohort, hearing.calls(asked)
        likeness = [
            told(calls.rows([row]), calls.rows([row + 1]), cohort)
            for row in range(0, len(asked), 2)
        ]
        shapes = [hearing.background(side) for side in sides]
        archive_shapes = hearing.backgrounds_without(sides)
    found, backgrounds, calibration = likeness[0], None, None
    if shapes[0] is not None and shapes[1] is not None:
        backgrounds = background_likeness(shapes[0], shapes[1], archive_shapes)
    if known is not None:
        try:
            calibration = calibrate([x.score for x in likeness[1:]], are_same)
        except ValueError as error:
            raise WrongArgument(f"{known}: {error}") from error
    is_weak = any(side.weakness for side in sides)
    rests_on = None if is_weak else found.percentile
    return SameReport(
        workspace=str(folder),
        one=sides[0].words,
        other=sides[1].words,
        likeness=None if is_weak else round(found.score, 3),
        percentile=_share(rests_on),
        pairs=None if rests_on is None else rests_on.n_pairs,
        recordings=None if rests_on is None else rests_on.n_recordings,
        recordings_of_kind=found.n_of_kind,
        backgrounds=_share(backgrounds),
        probability=None
        if calibration is None or is_weak
        else round(calibration.probability(found.score), 4),
        equal_error_rate=None if calibration is None else round(calibration.equal_error_rate, 4),
        known_same=0 if calibration is None else calibration.n_same,
        known_different=0 if calibration is None else calibration.n_different,
        warnings=[
            *_warnings(sides, found, rests_on, backgrounds, shapes),
            *(f"pairs of {known} with it are left out: {why}" for why in refused.values()),
        ],
    )


def individuals(
    folder: Path,
    *,
    cluster: int | None = None,
    where: str | None = None,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> IndividualsReport:
    """Group the calls of a sound type, or of what a condition names, into putative individuals.

    Parameters
    ----------
    folder : Path
    cluster : int, optional
        A sound type.
    where : str, optional
        A condition, as of :func:`oscine.workspace.where.parse_where`; of both, one is needed.
    seed : int
        Of the draws without groups, and of the choice where there are more than 1,000 calls.
    out : Path, optional
        A CSV file to write: a row for each call.
    progress : callable, optional

    Returns
    -------
    IndividualsReport

    Raises
    ------
    WrongArgument
        Neither is given, or too few calls are meant.
    ValueError
        As of :func:`same`.
    """
    from oscine.search.individuals import FEWEST_CALLS, group

    conditions = [where] if where is not None else []
    conditions += [f"cluster = {cluster}"] if cluster is not None else []
    if not conditions:
        raise WrongArgument(
            "say whose calls: a sound type with --cluster, or a condition with --where"
        )
    if cluster is not None and cluster < 0:
        raise WrongArgument(f"--cluster {cluster} is no sound type: they are numbered from 0")
    if seed < 0:
        raise WrongArgument(f"--seed must not be negative, not {seed}")
    if out is not None and (out.suffix.lower() != ".csv" or not out.absolute().parent.is_dir()):
        raise WrongArgument(f"--out {out}: name a .csv file in a folder that is there")
    with hear_individuals(folder, progress) as hearing:
        if cluster is not None:
            check_sound_type(cluster, list(sound_types(hearing.archive.catalogue).sizes))
        are_met = [hearing.archive.meeting(condition) for condition in conditions]
        numbers = np.flatnonzero(np.all(are_met, axis=0)) + 1
        n_all = len(numbers)
        if n_all > MOST_GROUPED:
            numbers = np.sort(np.random.default_rng(seed).permutation(numbers)[:MOST_GROUPED])
        events = [hearing.archive.event(number) for number in numbers.tolist()]
        kept = [one for one in events if not one.weakness]
        if len(kept) < FEWEST_CALLS:
            raise WrongArgument(
                f"{len(kept)} calls meet {' and '.join(conditions)} and are long enough: at least "
                f"{FEWEST_CALLS} are needed"
            )
        calls = hearing.calls(kept)
        frames_per_s = hearing.archive.config.picture.frames_per_s
    found = group(calls, seed)
    members = [
        _member(one, int(label), float(sureness), frames_per_s)
        for one, label, sureness in zip(kept, found.labels, found.sureness, strict=True)
    ]
    if out is not None:
        _write_members(out, members)
    recordings = calls.kinds.recordings
    return IndividualsReport(
        workspace=str(folder),
        calls=len(kept),
        recordings=len(np.unique(recordings)),
        individuals=found.n_groups,
        at_least=found.n_low,
        at_most=found.n_high,
        silhouette=round(found.silhouette, 4),
        silhouette_by_chance=round(found.null_silhouette, 4),
        stability=round(found.stability, 3),
        groups=_groups(members, recordings, found),
        members=members,
        out=None if out is None else str(out),
        notes=_group_notes(n_all, len(events) - len(kept), found, recordings),
    )


def _known_pairs(file: Path) -> tuple[list[tuple[Example, Example]], list[bool]]:
    """Read pairs of calls, and whether each is of one individual."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise WrongArgument(f"{file} cannot be read: {reason or error}") from error
    if not rows or not set(KNOWN_COLUMNS) <= set(rows[0]):
        raise WrongArgument(
            f"{file}: a table of known pairs has the columns a, b (files, file@start-stop, or "
            "numbers of events) and same (yes or no)"
        )
    pairs: list[tuple[Example, Example]] = []
    are_same: list[bool] = []
    for line, row in enumerate(rows, 2):
        said = (row["same"] or "").strip().lower()
        if said not in YES + NO or not row["a"] or not row["b"]:
            raise WrongArgument(f"{file}, line {line}: give a, b, and yes or no for same")
        pairs.append((row["a"].strip(), row["b"].strip()))
        are_same.append(said in YES)
    return pairs, are_same


def _warnings(
    sides: Sequence[Asked],
    found: Likeness,
    rests_on: Percentile | None,
    backgrounds: Percentile | None,
    shapes: Sequence[np.ndarray | None],
) -> list[str]:
    """Say what keeps a likeness from telling of individuals."""
    said = [f"{one.words} {one.weakness}: nothing can be said" for one in sides if one.weakness]
    if len({one.interval.recording.content_key for one in sides if one.interval}) == 1:
        said.append("both are of one recording: microphone, place and moment are the same")
    elif backgrounds is not None and backgrounds.share >= ALIKE:
        said.append(
            f"their backgrounds alone are more alike than {percent(backgrounds.share)} of those of "
            "unrelated recordings: the likeness may be that of a place or a microphone"
        )
    unknown = [one.words for one, shape in zip(sides, shapes, strict=True) if shape is None]
    if unknown:
        said.append(
            f"the background of {' and of '.join(unknown)} cannot be measured (too little quiet "
            "around it): that place or microphone make them alike cannot be excluded"
        )
    if rests_on is None and not any(one.weakness for one in sides):
        said.append("the archive has calls of too few other recordings for a percentile")
    if not found.is_matched:
        said.append(
            f"only {found.n_of_kind} recordings of the archive hold calls of this kind: a high "
            "percentile also says that both are of one kind, not that they are of one individual"
        )
    return said


def _member(one: Asked, label: int, sureness: float, frames_per_s: float) -> GroupedCall:
    assert one.event is not None
    assert one.interval is not None
    start, stop = one.interval.frames
    return GroupedCall(
        event=one.event.event_id,
        individual=label + 1,
        sureness=round(sureness, 3),
        path=one.interval.recording.path,
        start_s=round(start / frames_per_s, 3),
        stop_s=round(stop / frames_per_s, 3),
    )


def _groups(
    members: Sequence[GroupedCall], recordings: np.ndarray, found: Groups
) -> list[PutativeIndividual]:
    groups = []
    for label in range(found.n_groups):
        rows = np.flatnonzero(found.labels == label)
        surest = rows[np.argmax(found.sureness[rows])]
        groups.append(
            PutativeIndividual(
                individual=label + 1,
                calls=len(rows),
                recordings=len(np.unique(recordings[rows])),
                typical=members[surest].event,
                sureness=round(float(found.sureness[rows].mean()), 3),
            )
        )
    return groups


def _group_notes(n_all: int, n_short: int, found: Groups, recordings: np.ndarray) -> list[str]:
    """Say what keeps groups from being individuals."""
    from oscine.search.individuals import MOST_GROUPS

    notes = []
    if n_all > MOST_GROUPED:
        notes.append(f"{MOST_GROUPED:,} of {n_all:,} calls were drawn; the others are in no group")
    if n_short:
        notes.append(f"calls that are too short, left out: {n_short:,}")
    if found.n_groups == 1:
        notes.append(
            "the calls are not parted better than calls without groups would be: one individual, "
            "or several that cannot be told apart here"
        )
        return notes
    if found.n_high == MOST_GROUPS:
        notes.append(f"more than {MOST_GROUPS} are not looked for: there may be more")
    in_one = [
        label
        for label in range(found.n_groups)
        if len(np.unique(recordings[found.labels == label])) == 1
    ]
    if len(in_one) > MOST_IN_ONE_RECORDING * found.n_groups:
        notes.append(
            f"{len(in_one)} of {found.n_groups} groups are each of one recording: they may be "
            "recordings (place, microphone, distance) rather than individuals"
        )
    notes.append(
        "A group is a set of calls that are more alike than others. That it is one individual is "
        "for you to confirm, by calls of known birds or by what was seen."
    )
    return notes


def _write_members(out: Path, members: Sequence[GroupedCall]) -> None:
    names = [one.name for one in fields(GroupedCall)]
    write_rows(out, names, (astuple(one) for one in members))


def _share(found: Percentile | None) -> float | None:
    return None if found is None else round(found.share, 5)
