"""Which sound types there are as people edited them: how many, their names, how they look.

In comes a catalogue; out come facts of the sound types that are in use. What reads sound types asks
here, and the catalogue for each event; `cluster` and its edits write both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from oscine.config import ClusterConfig, WrongArgument, fingerprint
from oscine.steps.shared import needed
from oscine.workspace.catalogue import Catalogue, Stage
from oscine.workspace.edits import TYPES, runs_of

OLDER = "the sound types are older than the vectors or the settings of [cluster]"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterReport:
    """Which sound types there are."""

    events: int
    clusters: int
    sizes: list[int]
    """In the order of their numbers."""
    noise_share: float
    notes: list[str]
    stability: list[float | None] = field(default_factory=list)
    """In the order of their numbers: how surely each is found without a third of the recordings, 0
    to 1; None where that is not known, as of types that people made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundTypes:
    """The sound types in use.

    Attributes
    ----------
    grouping : str
        Fingerprint of which event is in which type: what rests on them is stale when it changes.
        Names do not change it.
    report : ClusterReport
    sizes : dict of int to int
        By number, ascending; numbers of types that were merged are missing.
    exemplars : dict of int to list of int
        Events of each type, the most typical first.
    names : dict of int to str
        Of those that have one.
    stability : dict of int to float
        Of those of which it is known.
    fits : dict of int to list of int
        The numbers of the types of each edit that fits, by number of the edit.
    """

    grouping: str
    report: ClusterReport
    sizes: dict[int, int]
    exemplars: dict[int, list[int]]
    names: dict[int, str]
    stability: dict[int, float]
    fits: dict[int, list[int]]


def sound_types(catalogue: Catalogue) -> SoundTypes:
    """Return the sound types in use.

    Raises
    ------
    ValueError
        There are none yet.
    """
    stage = needed(catalogue, "cluster")
    stage = catalogue.stage(TYPES) or stage
    facts = stage.facts
    report = ClusterReport(**facts["report"])
    numbers = facts.get("numbers", range(len(report.sizes)))
    return SoundTypes(
        grouping=stage.fingerprint,
        report=report,
        sizes=dict(zip(numbers, report.sizes, strict=True)),
        exemplars=dict(zip(numbers, facts["exemplars"], strict=True)),
        names=_by_number(facts.get("names", {})),
        stability={
            number: value
            for number, value in zip(numbers, report.stability, strict=False)  # [] in older ones
            if value is not None
        },
        fits=_by_number(facts.get("fits", {})),
    )


def sound_type_names(catalogue: Catalogue) -> dict[int, str]:
    """Return the names of the sound types that there are, by number."""
    stage = catalogue.stage(TYPES)
    return {} if stage is None else _by_number(stage.facts["names"])


def grouping_fingerprint(catalogue: Catalogue) -> str:
    """Return the fingerprint of the sound types in use; empty where there are none."""
    stage = catalogue.stage(TYPES) or catalogue.stage("cluster")
    return "" if stage is None else stage.fingerprint


def grouping_of(embedded: Stage, config: ClusterConfig) -> str:
    """Return the fingerprint of what `cluster` finds in some vectors."""
    return fingerprint(embedded.fingerprint, embedded.facts["digest"], config)


def check_sound_type(cluster: int, numbers: Sequence[int]) -> None:
    """Refuse a number that no sound type has; `numbers` are those that there are, ascending.

    Raises
    ------
    WrongArgument
        It names those that there are.
    """
    if cluster in numbers:
        return
    known = ", ".join(
        f"{first} to {stop - 1}" if stop - first > 1 else f"{first}"
        for first, stop in runs_of(numbers)
    )
    said = f"they are {known}" if known else "there are none"
    raise WrongArgument(f"there is no sound type {cluster}: {said}")


def _by_number(facts: dict[str, Any]) -> dict[int, Any]:
    """Return what JSON keeps by text by number, ascending."""
    return {number: facts[str(number)] for number in sorted(map(int, facts))}
