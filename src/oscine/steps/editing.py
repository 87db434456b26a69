"""People's edits of sound types: `cluster name`, `merge`, `split`, `undo`, `history`.

In comes what a person says of sound types, by number; out comes what then holds. Each edit is one
transaction of the catalogue, kept with who and when; what the grouping found stays as it is. When
events are grouped anew, `cluster` asks here which edits still fit.
"""

from __future__ import annotations

import getpass
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from oscine.config import ClusterConfig, WrongArgument, fingerprint
from oscine.steps.comparing import event_vectors
from oscine.steps.naming import OLDER, ClusterReport, check_sound_type, grouping_of, sound_types
from oscine.steps.shared import at_work, needed
from oscine.workspace.catalogue import Catalogue, EventRow, Stage, TypedEvents
from oscine.workspace.edits import EditKind, EditRow, runs_of
from oscine.workspace.folder import Workspace

LONGEST_NAME = 80
WAIT_S = 5.0
"""So long an edit waits for another process to be done with the workspace."""
LISTED = 5
"""Edits that rest, named in a note."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditReport:
    """What an edit did, and what then holds.

    Attributes
    ----------
    is_done : bool
        False: it was not to be done, as `words` say, and nothing changed.
    edit : int or None
        Number of the edit that was made or undone.
    words : str
    grouping : str
        Fingerprint of which event is in which type.
    sizes, names : dict of int to int, and to str
        Of the sound types, by number.
    notes : list of str
        What a reader of the sound types must be told.
    """

    is_done: bool
    edit: int | None
    words: str
    grouping: str
    sizes: dict[int, int]
    names: dict[int, str]
    notes: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """An edit, as the history tells it.

    Attributes
    ----------
    id : int
    kind : "name", "merge" or "split"
    who : str
        Empty, and `made_ms` None, of a name that was given before edits were kept.
    made_ms : int or None
        In milliseconds of UTC since 1970.
    words : str
        With the numbers that the types had then.
    is_undone : bool
    undone_ms : int or None
    undone_by : str
    types : list of int
        The numbers that its types have in the present grouping: none where it is undone, or rests.
    """

    id: int
    kind: EditKind
    who: str
    made_ms: int | None
    words: str
    is_undone: bool
    undone_ms: int | None
    undone_by: str
    types: list[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryReport:
    """All edits, in the order they were made, and the sound types that there are now."""

    history: list[Edit]
    grouping: str


def name_sound_type(
    folder: Path, cluster: int, name: str, *, who: str | None = None, grouping: str | None = None
) -> EditReport:
    """Name a sound type by how it sounds; an empty name takes it back.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    cluster : int
    name : str
    who : str, optional
        Says so; by default the user that the system knows.
    grouping : str, optional
        Fingerprint of the sound types that whoever says so has seen; by default, those of now.

    Returns
    -------
    EditReport

    Raises
    ------
    WrongArgument
        There is no such sound type, or the name is too long or not one line.
    ValueError
        There are no sound types yet, or they are older than the vectors, or others than those that
        were seen, or another process holds the workspace.
    """
    name, who = _line(name, "a name"), _person(who)
    with _editing(folder, grouping) as types:
        types.check(cluster)
        if types.state.names.get(cluster, "") == name:
            return types.report(None, f"sound type {cluster} is called so already")
        facts = {"numbers": [cluster], "name": name}
        return types.make("name", who, facts, [types.state.members(cluster)])


def merge_sound_types(
    folder: Path, clusters: Sequence[int], *, who: str | None = None, grouping: str | None = None
) -> EditReport:
    """Make one sound type of several: it has the number of the first, and the first of their names.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    clusters : sequence of int
    who, grouping : str, optional
        As in :func:`name_sound_type`.

    Returns
    -------
    EditReport

    Raises
    ------
    WrongArgument
        There are not two, or one is none of the sound types.
    ValueError
        As of :func:`name_sound_type`.
    """
    if len(set(clusters)) < 2 or len(set(clusters)) < len(clusters):
        raise WrongArgument("name at least two sound types to merge, each once")
    who = _person(who)
    with _editing(folder, grouping) as types:
        for cluster in clusters:
            types.check(cluster)
        names = [types.state.names[one] for one in clusters if one in types.state.names]
        facts = {"numbers": list(clusters), "name": names[0] if names else ""}
        members = [types.state.members(one) for one in clusters]
        done = types.make("merge", who, facts, members)
    lost = "".join(f"; the name {name!r} is gone" for name in names[1:])
    return replace(done, words=f"{done.words}: {done.sizes[clusters[0]]:,} events{lost}")


def split_sound_type(
    folder: Path, cluster: int, *, who: str | None = None, grouping: str | None = None
) -> EditReport:
    """Part a sound type where its events fall apart; the largest part keeps number and name.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    cluster : int
    who, grouping : str, optional
        As in :func:`name_sound_type`.

    Returns
    -------
    EditReport
        With `is_done` false where it does not fall apart.

    Raises
    ------
    WrongArgument
        There is no such sound type.
    ValueError
        As of :func:`name_sound_type`.
    """
    from oscine.atlas.cluster import HELD_BY_PARTS, split_vectors

    who = _person(who)
    with _editing(folder, grouping) as types:
        types.check(cluster)
        events = types.state.members(cluster)
        found = split_vectors(*types.described(events), types.config)
        if not len(found.labels):
            best = (
                f"at best, {found.n_parts} dense parts hold {found.held:.0%} of its events "
                f"(it takes {HELD_BY_PARTS:.0%})"
                if found.n_parts
                else "there are no two dense parts in it"
            )
            return types.report(
                None,
                f"sound type {cluster} does not fall apart: with parts of at least "
                f"{found.smallest} of its {len(events):,} events, {best}; nothing was changed",
            )
        first = types.state.next_number
        facts = {
            "numbers": [cluster, *range(first, first + found.n_parts - 1)],
            "name": types.state.names.get(cluster, ""),
        }
        parts = [found.labels == part for part in range(found.n_parts)]
        strengths = [_rounded(found.strengths[part]) for part in parts]
        done = types.make("split", who, facts, [events[part] for part in parts], strengths)
    sizes = _listed(f"{done.sizes[number]:,}" for number in facts["numbers"])
    return replace(
        done, words=f"{done.words}: {sizes} events; {found.held:.0%} of them within a dense part"
    )


def undo_edit(
    folder: Path, edit: int | None = None, *, who: str | None = None, grouping: str | None = None
) -> EditReport:
    """Undo the last edit that counts in the present grouping.

    Parameters
    ----------
    folder : Path
        Of the workspace.
    edit : int, optional
        The one that is meant: the last that counts, or one that rests, which is then forgotten.
    who, grouping : str, optional
        As in :func:`name_sound_type`.

    Returns
    -------
    EditReport

    Raises
    ------
    WrongArgument
        There is no such edit, or others were made since.
    ValueError
        There is nothing to undo; else as of :func:`name_sound_type`.
    """
    who = _person(who)
    with _editing(folder, grouping) as types:
        last = max(types.state.fits, default=None)
        asked = last if edit is None else edit
        if asked is None:
            raise ValueError(
                f"{folder}: no edit of the sound types counts: nothing is to be undone"
            )
        found = next((one for one in types.edits if one.edit_id == asked), None)
        if found is None or found.undone_ms is not None:
            raise WrongArgument(
                f"there is no edit {asked} to be undone: see `oscine cluster history`"
            )
        if asked in types.state.fits and asked != last:
            raise WrongArgument(
                f"edit {asked} counts, and edit {last} was made since: undo the later ones first"
            )
        return types.undo(replace(found, undone_ms=_now_ms(), undone_by=who))


def edit_history(folder: Path) -> HistoryReport:
    """Tell all edits of sound types, in the order they were made; the workspace is only read.

    Parameters
    ----------
    folder : Path
        Of the workspace.

    Returns
    -------
    HistoryReport

    Raises
    ------
    ValueError
        There are no sound types yet.
    """
    with Workspace(folder).catalogue() as catalogue:
        types = sound_types(catalogue)
        history = [
            Edit(
                id=one.edit_id,
                kind=one.kind,
                who=one.who,
                made_ms=one.made_ms,
                words=edit_words(one),
                is_undone=one.undone_ms is not None,
                undone_ms=one.undone_ms,
                undone_by=one.undone_by,
                types=types.fits.get(one.edit_id, []),
            )
            for one in catalogue.edits()
        ]
    return HistoryReport(history=history, grouping=types.grouping)


def edit_words(edit: EditRow) -> str:
    """Say what an edit did, with the numbers that the types had then."""
    first, *others = edit.facts["numbers"]
    if edit.kind == "merge":
        return f"merged {_listed(others)} into {first}"
    if edit.kind == "split":
        return f"split {first} into {_listed(edit.facts['numbers'])}"
    name = edit.facts["name"]
    return f'named {first} "{name}"' if name else f"took the name of {first} back"


def edited(
    workspace: Workspace,
    catalogue: Catalogue,
    config: ClusterConfig,
    stage: Stage,
    found: TypedEvents,
    edits: Sequence[EditRow],
) -> tuple[TypedEvents | None, Stage | None]:
    """Return what people made of the sound types that were found, as the catalogue keeps it.

    Parameters
    ----------
    workspace, catalogue
    config : ClusterConfig
    stage : Stage
        Of the grouping.
    found : TypedEvents
        By the grouping.
    edits : sequence of EditRow
        With their events.
    """
    types = _Types(workspace, catalogue, config, stage, found, edits)
    return types.changed(), types.stage()


class _Types:
    """The sound types of a grouping with edits applied, and what is made of them.

    Parameters
    ----------
    workspace, catalogue, config, grouping, found, edits
        As of :func:`edited`.
    """

    def __init__(
        self,
        workspace: Workspace,
        catalogue: Catalogue,
        config: ClusterConfig,
        grouping: Stage,
        found: TypedEvents,
        edits: Sequence[EditRow],
    ) -> None:
        from oscine.atlas.editing import edited_types

        self._workspace, self._catalogue = workspace, catalogue
        self.config, self.grouping, self.found, self.edits = config, grouping, found, edits
        self.state = edited_types(grouping.fingerprint, found, edits, self._nearest)

    def described(self, events: np.ndarray) -> tuple[np.ndarray, list[str], list[str]]:
        """Return vectors, content keys and recordings of some events, as grouping needs them."""
        vectors, _ = event_vectors(self._workspace, self._catalogue)
        rows = self._catalogue.some_events(events.tolist())
        in_order = [rows[number] for number in events.tolist()]
        return vectors.take(events - 1), *content_keys(self._catalogue, in_order)

    def _nearest(self, events: np.ndarray, others: np.ndarray) -> np.ndarray:
        from oscine.atlas.cluster import nearest_rows

        vectors, _ = event_vectors(self._workspace, self._catalogue)
        return nearest_rows(vectors.take(events - 1), vectors.take(others - 1), self.config)

    def changed(self) -> TypedEvents | None:
        """Return the events of another type or strength than was found."""
        now, found = self.state.types, self.found
        rows = (now.clusters != found.clusters) | (now.strengths != found.strengths)
        if not rows.any():
            return None
        return TypedEvents(
            events=now.events[rows], clusters=now.clusters[rows], strengths=now.strengths[rows]
        )

    def stage(self) -> Stage | None:
        """Return what is known of the types; None: nobody edited them."""
        if not any(edit.undone_ms is None for edit in self.edits):
            return None
        numbers, clusters = self.state.numbers(), self.state.types.clusters
        found = self.grouping.facts
        report = ClusterReport(
            events=len(clusters),
            clusters=len(numbers),
            sizes=np.bincount(clusters[clusters >= 0])[numbers].tolist() if numbers else [],
            noise_share=found["report"]["noise_share"],  # nobody groups what was not
            notes=[*found["report"]["notes"], *self._notes()],
            stability=[self._stability(number) for number in numbers],
        )
        facts = {
            "report": asdict(report),
            "numbers": numbers,
            "exemplars": [self._exemplars(number) for number in numbers],
            "names": self.state.names,
            "fits": self.state.fits,
        }
        changed = self.changed()
        made = self.grouping.fingerprint
        if changed is not None:
            made = fingerprint(made, changed.events.tolist(), changed.clusters.tolist())
        return Stage(fingerprint=made, finished=True, facts=facts)

    def _is_as_found(self, number: int) -> bool:
        found = self.found.events[self.found.clusters == number]
        return np.array_equal(self.state.members(number), found)

    def _stability(self, number: int) -> float | None:
        known = self.grouping.facts["report"].get("stability")  # older groupings have none
        return known[number] if known and self._is_as_found(number) else None

    def _exemplars(self, number: int) -> list[int]:
        from oscine.atlas.cluster import central_rows

        if self._is_as_found(number):
            return self.grouping.facts["exemplars"][number]
        events = self.state.members(number)
        return events[central_rows(*self.described(events), self.config)].tolist()

    def _notes(self) -> list[str]:
        """Say which edits count, which were carried over, and which rest."""
        live = [edit for edit in self.edits if edit.undone_ms is None]
        fitting = [edit for edit in live if edit.edit_id in self.state.fits]
        here = self.grouping.fingerprint
        made = [edit for edit in fitting if edit.grouping == here and edit.kind != "name"]
        carried = [edit for edit in fitting if edit.grouping != here]
        resting = [edit for edit in live if edit.edit_id not in self.state.fits]
        notes = []
        if made:
            notes.append(f"People edited the sound types: {_counted(made)}.")
        if carried:
            notes.append(f"{_counted(carried)} carried over from an earlier grouping.")
        if resting:
            some = "; ".join(edit_words(edit) for edit in resting[:LISTED])
            more = f" and {len(resting) - LISTED} more" if len(resting) > LISTED else ""
            fit = "fits any sound type, and rests" if len(resting) == 1 else "fit, and rest"
            notes.append(
                f"{_counted(resting)} no longer {fit} until one is the same again: "
                f"{some}{more} (in the numbers of that time)."
            )
        return notes

    def check(self, cluster: int) -> None:
        """Refuse a number that no sound type has."""
        check_sound_type(cluster, self.state.numbers())

    def make(
        self,
        kind: EditKind,
        who: str,
        facts: dict[str, object],
        members: Sequence[np.ndarray],
        strengths: Sequence[np.ndarray] = (),
    ) -> EditReport:
        """Make an edit that is new."""
        events = {
            "known": runs_of(self.found.events),
            "types": [each.tolist() for each in members],
        }
        if strengths:
            events["strengths"] = [each.tolist() for each in strengths]
        edit = EditRow(
            edit_id=max((one.edit_id for one in self.edits), default=0) + 1,
            grouping=self.grouping.fingerprint,
            kind=kind,
            who=who,
            made_ms=_now_ms(),
            facts=facts,
            events=events,
        )
        then = self._with([*self.edits, edit])
        self._catalogue.edit_types(then.changed(), then.stage(), made=edit)
        return then.report(edit, edit_words(edit))

    def undo(self, edit: EditRow) -> EditReport:
        """Note that an edit is undone, and what then holds."""
        edits = [edit if one.edit_id == edit.edit_id else one for one in self.edits]
        then = self._with(edits)
        self._catalogue.edit_types(then.changed(), then.stage(), undone=edit)
        by = f" (by {edit.who})" if edit.who else ""
        return then.report(edit, f"undone: {edit_words(edit)}{by}")

    def _with(self, edits: Sequence[EditRow]) -> _Types:
        return _Types(
            self._workspace, self._catalogue, self.config, self.grouping, self.found, edits
        )

    def report(self, edit: EditRow | None, words: str) -> EditReport:
        """Return what the catalogue holds after an edit."""
        now = sound_types(self._catalogue)
        return EditReport(
            is_done=edit is not None,
            edit=edit and edit.edit_id,
            words=words,
            grouping=now.grouping,
            sizes=now.sizes,
            names=now.names,
            notes=now.report.notes,
        )


@contextmanager
def _editing(folder: Path, seen: str | None = None) -> Iterator[_Types]:
    """Hold a workspace for one edit, of the sound types that were seen."""
    with at_work(folder, (), wait_s=WAIT_S) as (workspace, catalogue, config):
        grouping, embedded = needed(catalogue, "cluster"), needed(catalogue, "embed")
        if grouping.fingerprint != grouping_of(embedded, config.cluster):
            raise ValueError(
                f"{folder}: {OLDER}: run `oscine cluster` first (names, merges and splits are "
                "carried over)"
            )
        if seen is not None and seen != sound_types(catalogue).grouping:
            raise ValueError(
                "nothing was changed: since this was looked at, the sound types were grouped anew, "
                "merged or split, and a number may be that of another; look again"
            )
        edits = catalogue.edits(with_events=True)
        yield _Types(workspace, catalogue, config.cluster, grouping, catalogue.found_types(), edits)


def content_keys(catalogue: Catalogue, events: Sequence[EventRow]) -> tuple[list[str], list[str]]:
    """Return a key for each event, and one for its recording, that tell nothing but content."""
    recordings = catalogue.some_recordings(event.recording_id for event in events)
    of_events = [recordings[event.recording_id].content_key for event in events]
    keys = [f"{key}:{event.start_frame:010d}" for key, event in zip(of_events, events, strict=True)]
    return keys, of_events


def _line(text: str, what: str) -> str:
    text = " ".join(text.split())
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise WrongArgument(f"{what} has at most {LONGEST_NAME} characters, all of them printable")
    return text


def _person(who: str | None) -> str:
    """Return who edits: as said, or the user that the system knows."""
    if who is not None:
        if not who.strip():
            raise WrongArgument("say who edits, or leave --who out")
        return _line(who, "who edits")
    try:
        return _line(getpass.getuser(), "who edits")
    except (OSError, KeyError, ImportError):  # no such user, as in some containers
        return "unknown"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _rounded(strengths: np.ndarray) -> np.ndarray:
    return np.array([round(float(strength), 4) for strength in strengths])


def _counted(edits: Sequence[EditRow]) -> str:
    """Count edits by kind: `3 names and 1 merge`."""
    counts = Counter(edit.kind for edit in edits)
    return _listed(
        f"{counts[kind]:,} {kind}{'s' if counts[kind] > 1 else ''}"
        for kind in ("name", "merge", "split")
        if counts[kind]
    )


def _listed(words: Iterable[object]) -> str:
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last
