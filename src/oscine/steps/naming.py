"""Names of sound types, that people give (`cluster name`), and how types look.

In comes a number and a name; out comes what all are called. Names belong to one grouping: they are
kept when the events are grouped anew, and count again when the grouping is the same again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from oscine.config import WrongArgument
from oscine.steps.shared import at_work, needed
from oscine.workspace.catalogue import Catalogue, Stage

NAMES = "names"
"""The stage of the catalogue whose facts are the names, by grouping and number."""
LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedReport:
    """What sound types are called.

    Attributes
    ----------
    cluster : int
        That was named.
    name : str
        Empty: it has none any more.
    names : dict of int to str
        Of all sound types that have one.
    """

    cluster: int
    name: str
    names: dict[int, str]


def name_sound_type(folder: Path, cluster: int, name: str) -> NamedReport:
    """Name a sound type by how it sounds; an empty name takes it back.

    Raises
    ------
    WrongArgument
        There is no such sound type, or the name is too long or not one line.
    ValueError
        There are no sound types yet.
    """
    name = " ".join(name.split())
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise WrongArgument(f"a name has at most {LONGEST_NAME} characters, all of them printable")
    with at_work(folder, ()) as (_, catalogue, _):
        grouping = needed(catalogue, "cluster")
        n_types = grouping.facts["report"]["clusters"]
        if not 0 <= cluster < n_types:
            known = f"they are 0 to {n_types - 1}" if n_types else "there are none"
            raise WrongArgument(f"there is no sound type {cluster}: {known}")
        stage = catalogue.stage(NAMES)
        facts = dict(stage.facts) if stage else {}
        named = dict(facts.get(grouping.fingerprint, {}))
        named.pop(str(cluster), None)
        facts[grouping.fingerprint] = named | ({str(cluster): name} if name else {})
        catalogue.set_stage(NAMES, Stage(fingerprint="", finished=True, facts=facts))
        return NamedReport(cluster=cluster, name=name, names=sound_type_names(catalogue))


def sound_type_names(catalogue: Catalogue) -> dict[int, str]:
    """Return the names of the sound types of the grouping there is, by number."""
    grouping, stage = catalogue.stage("cluster"), catalogue.stage(NAMES)
    if grouping is None or stage is None:
        return {}
    named = stage.facts.get(grouping.fingerprint, {})
    return {int(number): name for number, name in sorted(named.items(), key=lambda x: int(x[0]))}


def sound_type_looks(catalogue: Catalogue) -> dict[int, str]:
    """Return band and length of each sound type, by number: medians of its exemplars."""
    looks: dict[int, str] = {}
    exemplars = needed(catalogue, "cluster").facts["exemplars"]
    events = catalogue.some_events(number for each in exemplars for number in each)
    heard = catalogue.some_recordings({event.recording_id for event in events.values()})
    for kind, numbers in enumerate(exemplars):
        some = [events[number] for number in numbers]
        low_khz, high_khz = (
            median(ends) / 1000
            for ends in ([one.low_hz for one in some], [one.high_hz for one in some])
        )
        duration_s = median(
            (one.stop_sample - one.start_sample) / heard[one.recording_id].sample_rate_hz
            for one in some
        )
        looks[kind] = f"{low_khz:.2g} to {high_khz:.2g} kHz, {duration_s:.2g} s"
    return looks
