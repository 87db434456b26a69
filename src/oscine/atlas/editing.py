"""People's edits of sound types, applied to a grouping of the events.

In come the sound types as they were found, and edits, each with the events it was said of; out come
the sound types as people see them, and which edits fit. An edit fits where the grouping has the
types that it was said of: always in the grouping in which it was made, and in another one only by
the events that they share. Called by the steps that group, and that edit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from oscine.atlas.cluster import NOISE
from oscine.workspace.catalogue import TypedEvents
from oscine.workspace.edits import EditRow

SHARED = 0.8
"""Two types are the same if they share so much of each, of the events that both groupings know."""
STILL_THERE = 0.5
"""Of the events of a type, so many must be in a grouping that is to tell what became of it."""

Nearest = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Told the numbers of N events and of M others, says which of the N each of the others is nearest
to, (M,)."""


@dataclass(kw_only=True, slots=True, eq=False)
class EditedTypes:
    """Sound types while edits are applied to them.

    Attributes
    ----------
    grouping : str
        Fingerprint of the grouping.
    types : TypedEvents
        Changed in place.
    next_number : int
        Of the next part; numbers of types that were merged are not given again.
    names : dict of int to str
    fits : dict of int to list of int
        The numbers here of the types of each edit that fits, by number of the edit.
    """

    grouping: str
    types: TypedEvents
    next_number: int
    names: dict[int, str] = field(default_factory=dict)
    fits: dict[int, list[int]] = field(default_factory=dict)

    def numbers(self) -> list[int]:
        """Return the numbers of the types that there are, ascending."""
        return [number for number in np.unique(self.types.clusters).tolist() if number != NOISE]

    def members(self, number: int) -> np.ndarray:
        """Return the numbers of the events of a type, ascending."""
        return self.types.events[self.types.clusters == number]


def edited_types(
    grouping: str, found: TypedEvents, edits: Sequence[EditRow], nearest: Nearest
) -> EditedTypes:
    """Apply edits that are not undone, in the order they were made.

    Parameters
    ----------
    grouping : str
        Fingerprint of the grouping.
    found : TypedEvents
        As it found them.
    edits : sequence of EditRow
        With their events; those that are undone are passed over.
    nearest : callable
        Asked where a type that people split has other events now.

    Returns
    -------
    EditedTypes
    """
    state = EditedTypes(
        grouping=grouping,
        types=TypedEvents(
            events=found.events,
            clusters=found.clusters.copy(),
            strengths=found.strengths.copy(),
        ),
        next_number=int(found.clusters.max(initial=NOISE)) + 1,
    )
    for edit in edits:
        if edit.undone_ms is None:
            numbers = _apply(state, edit, nearest)
            if numbers:
                state.fits[edit.edit_id] = numbers
    return state


def _apply(state: EditedTypes, edit: EditRow, nearest: Nearest) -> list[int]:
    """Apply one edit, and return the numbers of its types; none: it does not fit."""
    if edit.events is None:  # a name from before edits were kept: told by its number alone
        (number,) = edit.facts["numbers"]
        if edit.grouping != state.grouping or number not in state.numbers():
            return []
        return _name(state, number, edit.facts["name"])
    known = _within(state.types.events, edit.events["known"])
    said_of = [np.array(events, np.int64) for events in edit.events["types"]]
    if edit.kind == "name":
        number = _same_type(state, said_of[0], known)
        return [] if number is None else _name(state, number, edit.facts["name"])
    each = [_same_type(state, events, known) for events in said_of]
    apart = [number for number in each if number is not None]
    whole = _same_type(state, np.concatenate(said_of), known)
    if len(set(apart)) < len(said_of):
        apart = []
    if edit.kind == "merge":
        if apart:
            return _merge(state, apart)
        numbers = [] if whole is None else [whole]
    else:
        if not apart:
            return [] if whole is None else _split(state, whole, edit.events, nearest)
        numbers = apart
    # This grouping found by itself what was said of another: what is left of that is a name.
    if numbers and edit.facts["name"]:
        state.names.setdefault(numbers[0], edit.facts["name"])
    return numbers


def _name(state: EditedTypes, number: int, name: str) -> list[int]:
    state.names.pop(number, None)
    if name:
        state.names[number] = name
    return [number]


def _merge(state: EditedTypes, numbers: Sequence[int]) -> list[int]:
    """Make one type of several: the first, with the first of their names."""
    into = numbers[0]
    state.types.clusters[np.isin(state.types.clusters, numbers)] = into
    names = [state.names.pop(number) for number in numbers if number in state.names]
    if names:
        state.names[into] = names[0]
    return [into]


def _split(
    state: EditedTypes, number: int, parts: dict[str, list[list]], nearest: Nearest
) -> list[int]:
    """Part a type; events that it did not have when it was split go with the nearest that it had.

    It does not fit where a part has none of its events left.
    """
    of_part = np.repeat(np.arange(len(parts["types"])), [len(each) for each in parts["types"]])
    events, strengths = (np.concatenate(parts[name]) for name in ("types", "strengths"))
    rows = np.flatnonzero(state.types.clusters == number)
    here = state.types.events[rows]
    is_here = np.isin(events, here)
    events, of_part, strengths = events[is_here], of_part[is_here], strengths[is_here]
    if len(np.unique(of_part)) < len(parts["types"]):
        return []
    is_new = ~np.isin(here, events)
    like = np.empty(len(here), np.int64)  # the row in `events` that says what becomes of each
    order = np.argsort(events)
    like[~is_new] = order[np.searchsorted(events, here[~is_new], sorter=order)]
    if is_new.any():
        like[is_new] = nearest(events, here[is_new])
    numbers = [number, *range(state.next_number, state.next_number + len(parts["types"]) - 1)]
    state.next_number += len(numbers) - 1
    state.types.clusters[rows] = np.array(numbers)[of_part[like]]
    state.types.strengths[rows] = strengths[like]
    return numbers


def _same_type(state: EditedTypes, events: np.ndarray, known: np.ndarray) -> int | None:
    """Return the type that some events were, or None where none is the same.

    Parameters
    ----------
    state : EditedTypes
    events : np.ndarray of int64 [shape=(N,)]
        Of the type in another grouping.
    known : np.ndarray of bool
        The events of this grouping that the other one knows.
    """
    there = state.types.events
    rows = np.searchsorted(there, events)
    rows = rows[(rows < len(there)) & (there[np.minimum(rows, len(there) - 1)] == events)]
    clusters = state.types.clusters[rows]
    inside = clusters[clusters != NOISE]
    if not len(inside) or len(rows) < STILL_THERE * len(events):
        return None
    number = int(np.bincount(inside).argmax())
    shared = np.sum(inside == number)
    of_either = len(rows), np.sum(known & (state.types.clusters == number))
    return number if shared >= SHARED * max(of_either) else None


def _within(numbers: np.ndarray, runs: Sequence[Sequence[int]]) -> np.ndarray:
    """Tell which of some numbers lie in one of some ascending runs."""
    ends = np.array(runs, np.int64).reshape(-1)
    return np.searchsorted(ends, numbers, side="right") % 2 == 1
