"""What people say of sound types: kept, undone, carried over to another grouping, never lost."""

import getpass
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from oscine import steps
from oscine.atlas import projection
from oscine.atlas.editing import SHARED, edited_types
from oscine.atlas.explorer.overview import Overview
from oscine.atlas.projection import Projection
from oscine.config import ClusterConfig, OscineConfig, ReadoutConfig, WrongArgument
from oscine.embedding import individual
from oscine.embedding.readout import READOUT
from oscine.steps import editing
from oscine.steps.hearing_calls import exchange_sample
from oscine.steps.naming import sound_type_names, sound_types
from oscine.workspace import Workspace
from oscine.workspace.arrays import ArrayWriter
from oscine.workspace.catalogue import Catalogue, Stage, TypedEvents
from oscine.workspace.edits import EditRow, keep_edits, runs_of

D = 16
EVENTS_A_RECORDING = 5
SIZES = (24, 21, 18, 16, 14, 12, 10)
"""Events of each kind of sound; the first two kinds are alike."""
N_STRAYS = 7  # too few for a type
TOO_MANY = 10**6


@pytest.fixture(autouse=True, scope="module")
def quick_map():
    """Map events by two columns of their vectors: no test here is of the map."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            projection,
            "project_vectors",
            lambda vectors, *_, **__: Projection(xy=vectors[:, :2], n_fitted=len(vectors)),
        )
        yield


def sounds(kinds, seed):
    """Return vectors of events of some kinds: unit vectors about axes; those of -1 are strays."""
    rng = np.random.default_rng(seed)
    centres = np.vstack([np.eye(D), np.zeros(D)])
    centres[1] = centres[0] + 0.5 * centres[1]
    vectors = rng.normal(size=(len(kinds), D))
    is_stray = np.array(kinds) < 0
    vectors[is_stray, : len(SIZES)] = 0  # far from all kinds
    vectors[~is_stray] = centres[kinds][~is_stray] + 0.04 * vectors[~is_stray]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def add_sounds(folder, kinds, seed=0):
    """Add recordings of sounds of some kinds to a workspace, embedded but not grouped."""
    workspace = Workspace(folder, create=True)
    with workspace.catalogue() as catalogue:
        n_events, n_recordings = catalogue.last("events"), catalogue.last("recordings")
        n_new = -(-len(kinds) // EVENTS_A_RECORDING)
        recordings = [
            tiny.recording(number, 60, 60 * number)
            for number in range(n_recordings, n_recordings + n_new)
        ]
        events = [
            tiny.event(
                n_events + row,
                recordings[row % n_new].recording_id,
                10 * (row // n_new),
                10 * (row // n_new) + 5 + kind % 3,
            )
            for row, kind in enumerate(kinds)
        ]
        catalogue.add(recordings, events, [])
        home = workspace.embeddings() / "events"
        ArrayWriter(home, np.dtype(np.float32), (D,), n_events).append(sounds(kinds, seed))
        (workspace.embeddings() / READOUT).write_bytes(b"")
    embedded(folder)


def embedded(folder):
    """Note that all events have vectors: of those that are present."""
    with Workspace(folder).catalogue() as catalogue:
        present = [event.event_id for event in catalogue.events()]
        facts = {
            "events": catalogue.last("events"),
            "dimensions": D,
            "digest": str(runs_of(present)),
            "made_with": {},
        }
        catalogue.set_stage("embed", Stage(fingerprint="vectors", finished=True, facts=facts))


IN_TURN = np.repeat([*range(len(SIZES)), -1], [*SIZES, N_STRAYS])
KINDS: list[int] = np.random.default_rng(0).permutation(IN_TURN).tolist()


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """A workspace whose sounds are grouped by kind."""
    folder = tmp_path_factory.mktemp("grouped") / "crows.oscine"
    add_sounds(folder, KINDS)
    report = steps.cluster(folder)
    assert report.sizes == list(SIZES)
    return folder


@pytest.fixture
def workspace(tmp_path, grouped):
    return shutil.copytree(grouped, tmp_path / "crows.oscine")


def dump(folder, *tables):
    """Return all rows of some tables of a catalogue, or of all."""
    with closing(sqlite3.connect(Path(folder) / "catalogue.sqlite")) as file:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        tables = tables or [name for (name,) in file.execute(query)]
        return {
            name: file.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in tables
        }


def types_of(folder):
    """Return the events of each sound type, by number, as the readers see them."""
    types = {}
    with Workspace(folder).catalogue() as catalogue:
        for row in catalogue.sound_types():
            types.setdefault(row.cluster, set()).add(row.event_id)
    types.pop(-1, None)
    return types


def known(folder):
    with Workspace(folder).catalogue() as catalogue:
        return sound_types(catalogue)


def edits_of(folder):
    return steps.edit_history(folder).history


def type_like(folder, kind, kinds=KINDS):
    """Return the number of the sound type that has most events of a kind."""
    of_kind = set((np.flatnonzero(np.array(kinds) == kind) + 1).tolist())
    return max(types_of(folder).items(), key=lambda one: len(one[1] & of_kind))[0]


# Against a model


class Edits(RuleBasedStateMachine):
    """Random edits and undos, beside sets in memory that are kept whole before each edit."""

    @initialize()
    def begin(self):
        self.folder = self.fresh()
        self.bytes_found = dump(self.folder, "found_types")
        self.rows_found = dump(self.folder, "sound_types")
        self.fingerprint = known(self.folder).grouping
        types = types_of(self.folder)
        self.now = (types, {}, max(types) + 1)
        self.before = []
        self.n_made = self.n_undone = 0

    def number(self, data):
        return data.draw(st.sampled_from(sorted(self.now[0])), label="number")

    def done(self, report, now):
        assert report.is_done
        self.before.append(self.now)
        self.now = now
        self.n_made += 1

    @rule(data=st.data(), name=st.sampled_from(["caw", "low  caw", "rattle", " ", "krähe"]))
    def name(self, data, name):
        types, names, following = self.now
        number, name = self.number(data), " ".join(name.split())
        report = steps.name_sound_type(self.folder, number, name)
        if names.get(number, "") == name:
            assert not report.is_done
            return
        names = {other: given for other, given in names.items() if other != number}
        self.done(report, (types, names | ({number: name} if name else {}), following))

    @precondition(lambda self: len(self.now[0]) > 1)
    @rule(data=st.data())
    def merge(self, data):
        types, names, following = self.now
        numbers = data.draw(
            st.lists(st.sampled_from(sorted(types)), min_size=2, max_size=3, unique=True)
        )
        report = steps.merge_sound_types(self.folder, numbers, who="ann")
        into, *others = numbers
        all_of_them = set().union(*(types[number] for number in numbers))
        given = [names[number] for number in numbers if number in names]
        types = {number: each for number, each in types.items() if number not in others}
        names = {number: name for number, name in names.items() if number not in numbers}
        names |= {into: given[0]} if given else {}
        self.done(report, (types | {into: all_of_them}, names, following))

    @rule(data=st.data())
    def split(self, data):
        types, names, following = self.now
        number = self.number(data)
        before = dump(self.folder)
        report = steps.split_sound_type(self.folder, number)
        if not report.is_done:
            assert "does not fall apart" in report.words
            assert dump(self.folder) == before
            return
        now = types_of(self.folder)
        parts = [number, *(other for other in now if other not in types)]
        assert sorted(parts[1:]) == list(range(following, following + len(parts) - 1))
        assert len(parts) > 1
        assert set().union(*(now[part] for part in parts)) == types[number]
        assert sum(len(now[part]) for part in parts) == len(types[number])
        sizes = [len(now[part]) for part in [number, *sorted(parts[1:])]]
        assert sizes == sorted(sizes, reverse=True)
        parted = types | {part: now[part] for part in parts}
        self.done(report, (parted, names, following + len(parts) - 1))

    @precondition(lambda self: len(self.now[0]) > 1)
    @rule(data=st.data())
    def merge_and_split(self, data):
        self.merge(data)
        self.split(data)

    @rule()
    def undo(self):
        if not self.before:
            with pytest.raises(ValueError, match="nothing is to be undone"):
                steps.undo_edit(self.folder)
            return
        report = steps.undo_edit(self.folder, who="bob")
        assert report.is_done
        self.now = self.before.pop()
        self.n_undone += 1

    @invariant()
    def readers_see_the_model(self):
        types, names, _ = self.now
        assert types_of(self.folder) == types
        with Workspace(self.folder).catalogue() as catalogue:
            found = sound_types(catalogue)
            assert found.sizes == {number: len(types[number]) for number in sorted(types)}
            assert found.names == sound_type_names(catalogue) == names
            assert set(Overview.of(catalogue).looks(catalogue)) == set(types)
            for number, members in types.items():
                where = catalogue.events_where(f"cluster = {number}").tolist()
                assert set(where) == members
                assert set(found.exemplars[number]) <= members
                assert found.exemplars[number] == exemplars(self.folder, members)
            kinds = {row[0]: row[4] for block in catalogue.calls() for row in block}
            of_some = catalogue.sound_types_of([1, 2, 3])
            assert of_some == {event: kinds[event] for event in (1, 2, 3) if kinds[event] >= 0}
            assert all(row.strength > 0 for row in catalogue.sound_types() if row.cluster >= 0)
            report = found.report
        assert (report.clusters, sum(report.sizes)) == (
            len(types),
            len(set().union(*types.values())),
        )

    @invariant()
    def what_was_found_stays(self):
        assert dump(self.folder, "found_types") == self.bytes_found
        is_as_found = dump(self.folder, "sound_types") == self.rows_found
        assert (known(self.folder).grouping == self.fingerprint) == is_as_found
        if not self.before:
            assert is_as_found
            assert not dump(self.folder, "edited_types")["edited_types"]

    @invariant()
    def all_is_in_the_history(self):
        edits = edits_of(self.folder)
        assert len(edits) == self.n_made
        assert sum(one.is_undone for one in edits) == self.n_undone
        assert all(bool(one.types) != one.is_undone for one in edits)
        assert {one.undone_by for one in edits} <= {"", "bob"}
        assert {one.who for one in edits if one.kind == "merge"} <= {"ann"}
        assert {one.who for one in edits if one.kind != "merge"} <= {getpass.getuser()}
        times = [one.made_ms for one in edits]
        assert all(one <= other for one, other in pairwise(times))


def exemplars(folder, members):
    """Return the events nearest to the mean direction of some, the first of each recording first.

    By plain loops, for what `atlas.cluster` does with arrays.
    """
    workspace = Workspace(folder)
    vectors, events = workspace.vectors()
    n_exemplars = ClusterConfig().n_exemplars
    rows = [row for row, event in enumerate(events) if event.event_id in members]
    rows.sort(key=lambda row: (events[row].recording_id, events[row].start_frame))
    chosen = vectors[rows] / np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    near = dict(zip(rows, chosen.astype(np.float32) @ chosen.mean(axis=0), strict=True))
    central = sorted(rows, key=lambda row: -near[row])
    turn, taken = 0, []
    while len(taken) < min(n_exemplars, len(rows)):
        for row in central:
            mine = [
                other for other in central if events[other].recording_id == events[row].recording_id
            ]
            if mine.index(row) == turn and len(taken) < n_exemplars:
                taken.append(row)
        turn += 1
    return [events[row].event_id for row in central if row in taken]


def test_any_edits_and_undos_are_as_the_model_says(grouped, tmp_path):
    numbers = iter(range(TOO_MANY))
    Edits.fresh = lambda self: shutil.copytree(grouped, tmp_path / str(next(numbers)))
    run_state_machine_as_test(
        Edits, settings=settings(deadline=None, max_examples=25, stateful_step_count=12)
    )


# Each edit


def test_a_merge_keeps_the_first_number_and_the_first_name(workspace):
    steps.name_sound_type(workspace, 3, "rattle")
    steps.name_sound_type(workspace, 5, "caw")
    report = steps.merge_sound_types(workspace, [2, 5, 3])
    assert report.words == "merged 5 and 3 into 2: 46 events; the name 'rattle' is gone"
    assert report.names == {2: "caw"}
    assert not {3, 5} & set(report.sizes)
    assert steps.undo_edit(workspace).names == {3: "rattle", 5: "caw"}


def test_stability_is_of_types_as_they_were_found(workspace):
    before = known(workspace).stability
    assert set(before) == set(types_of(workspace))
    assert all(0 <= one <= 1 for one in before.values())
    steps.merge_sound_types(workspace, [4, 2])
    assert known(workspace).stability == {n: before[n] for n in before if n not in (2, 4)}
    steps.undo_edit(workspace)
    assert known(workspace).stability == before


def test_two_types_that_were_merged_fall_apart_again(workspace):
    before = types_of(workspace)
    steps.merge_sound_types(workspace, [4, 2])
    report = steps.split_sound_type(workspace, 4)
    now = types_of(workspace)
    following = max(before) + 1
    assert (now[4], now[following]) == (before[2], before[4])
    assert "18 and 14 events; 100% of them within a dense part" in report.words
    steps.undo_edit(workspace)
    steps.split_sound_type(workspace, 4)
    assert types_of(workspace) == now


def test_each_part_has_a_number_of_its_own(workspace):
    before = types_of(workspace)
    for one, other in ((2, 3), (4, 5)):
        steps.merge_sound_types(workspace, [one, other])
        steps.split_sound_type(workspace, one)
    now = types_of(workspace)
    assert (now[2], now[4], now[7], now[8]) == tuple(before[number] for number in (2, 4, 3, 5))
    assert set(now) == {0, 1, 2, 4, 6, 7, 8}


def test_a_type_that_does_not_fall_apart_is_left_whole_and_told_so_with_numbers(workspace):
    before = dump(workspace)
    report = steps.split_sound_type(workspace, 2)
    assert not report.is_done
    assert re.search(r"parts of at least 8 of its 18 events.*nothing was changed", report.words)
    assert dump(workspace) == before


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (
            lambda folder: steps.name_sound_type(folder, 99, "caw"),
            "no sound type 99: they are 0 to",
        ),
        (lambda folder: steps.name_sound_type(folder, -1, "caw"), "no sound type -1"),
        (lambda folder: steps.name_sound_type(folder, 0, "caw\0"), "printable"),
        (lambda folder: steps.name_sound_type(folder, 0, "x" * 81), "at most 80"),
        (lambda folder: steps.name_sound_type(folder, 0, "caw", who=" "), "say who edits"),
        (lambda folder: steps.name_sound_type(folder, 0, "caw", who="x" * 81), "who edits has"),
        (lambda folder: steps.merge_sound_types(folder, [1]), "at least two"),
        (lambda folder: steps.merge_sound_types(folder, [1, 2, 1]), "each once"),
        (lambda folder: steps.merge_sound_types(folder, [1, 99]), "no sound type 99"),
        (lambda folder: steps.split_sound_type(folder, 99), "no sound type 99"),
        (lambda folder: steps.undo_edit(folder, 1), "no edit 1 to be undone"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(workspace, edit, what):
    before = dump(workspace)
    with pytest.raises(WrongArgument, match=what):
        edit(workspace)
    assert dump(workspace) == before


def test_only_the_last_edit_that_counts_is_undone(workspace):
    steps.name_sound_type(workspace, 0, "caw")
    steps.merge_sound_types(workspace, [1, 2])
    with pytest.raises(WrongArgument, match="edit 1 counts, and edit 2 was made since"):
        steps.undo_edit(workspace, 1)
    assert steps.undo_edit(workspace, 2).edit == 2
    with pytest.raises(WrongArgument, match="no edit 2 to be undone"):
        steps.undo_edit(workspace, 2)


def test_types_older_than_the_vectors_are_not_edited(workspace):
    add_sounds(workspace, [0] * 5)
    with pytest.raises(ValueError, match=r"older than the vectors.*run `oscine cluster` first"):
        steps.name_sound_type(workspace, 0, "caw")


def test_an_edit_counts_the_events_of_recordings_that_have_gone(workspace):
    """They are in the grouping still, until the events are grouped anew."""
    with Workspace(workspace).catalogue() as catalogue:
        file = catalogue.files()[0]
        catalogue.add([], [], [], retired=[file])
    report = steps.merge_sound_types(workspace, [2, 3])
    assert report.sizes[2] == 18 + 16
    assert len(types_of(workspace)[2]) < 18 + 16


# Another grouping


def test_edits_are_carried_over_when_recordings_are_added(workspace):
    steps.name_sound_type(workspace, 2, "rattle")
    steps.merge_sound_types(workspace, [4, 5], who="ann")
    steps.merge_sound_types(workspace, [0, 3])
    steps.split_sound_type(workspace, 0)
    parts = known(workspace).sizes
    (new_part,) = set(parts) - set(range(len(SIZES)))
    steps.name_sound_type(workspace, new_part, "chak")
    more = [2] * 16 + [3] * 20 + [5] * 3 + [0] * 2
    add_sounds(workspace, more, seed=7)
    kinds = [*KINDS, *more]
    report = steps.cluster(workspace)
    assert "2 names, 2 merges and 1 split carried over from an earlier grouping." in report.notes
    now, names = types_of(workspace), known(workspace).names
    of_kind = {
        kind: set((np.flatnonzero(np.array(kinds) == kind) + 1).tolist()) for kind in range(7)
    }
    assert now[type_like(workspace, 2, kinds)] == of_kind[2]
    assert now[type_like(workspace, 4, kinds)] == of_kind[4] | of_kind[5]
    # Sounds that came later go with the part that they are like.
    assert now[type_like(workspace, 0, kinds)] == of_kind[0]
    assert now[type_like(workspace, 3, kinds)] == of_kind[3]
    assert names == {
        type_like(workspace, 2, kinds): "rattle",
        type_like(workspace, 3, kinds): "chak",
    }
    assert next(one.who for one in edits_of(workspace) if one.kind == "merge") == "ann"
    # All can be undone here too, to what was found here.
    for _ in range(5):
        steps.undo_edit(workspace)
    assert dump(workspace, "edited_types") == {"edited_types": []}
    assert known(workspace).names == {}


def test_what_no_longer_fits_rests_and_counts_again(workspace):
    steps.name_sound_type(workspace, 6, "click")
    steps.name_sound_type(workspace, 2, "rattle")
    steps.merge_sound_types(workspace, [6, 5])
    before, fingerprint = types_of(workspace), known(workspace).grouping
    # Of the smallest kind, most recordings go: too few of its events are left to tell.
    members = types_of(workspace)[6]
    with Workspace(workspace).catalogue() as catalogue:
        gone = {event.recording_id for event in catalogue.some_events(members).values()}
        files = [file for file in catalogue.files() if file.recording_id in gone]
        catalogue.add([], [], [], retired=files)
    embedded(workspace)
    report = steps.cluster(workspace)
    assert any("no longer fit" in note and 'named 6 "click"' in note for note in report.notes)
    resting = [one.id for one in edits_of(workspace) if not one.types]
    assert 1 in resting
    assert 2 not in resting
    assert set(known(workspace).names.values()) == {"rattle"}
    # They come back.
    with Workspace(workspace).catalogue() as catalogue:
        catalogue._connection.execute("UPDATE recordings SET is_present = 1")
    embedded(workspace)
    report = steps.cluster(workspace)
    assert types_of(workspace) == before
    assert known(workspace).grouping == fingerprint
    assert known(workspace).names == {2: "rattle", 6: "click"}
    assert report.notes == ["People edited the sound types: 1 merge."]


def test_an_edit_that_rests_can_be_forgotten(workspace):
    steps.name_sound_type(workspace, 2, "rattle")
    steps.name_sound_type(workspace, 6, "click")
    with Workspace(workspace).catalogue() as catalogue:
        row = catalogue.edits(with_events=True)[1]
        facts = json.dumps(row.events | {"types": [[TOO_MANY, TOO_MANY + 1]]})
        catalogue._connection.execute("UPDATE edits SET events = ? WHERE edit_id = 2", [facts])
    add_sounds(workspace, [0] * 5)
    assert any("1 name no longer fits" in note for note in steps.cluster(workspace).notes)
    # It is not what is undone: that is the last that counts.
    assert steps.undo_edit(workspace).words.startswith('undone: named 2 "rattle"')
    report = steps.undo_edit(workspace, 2)
    assert report.words.startswith('undone: named 6 "click"')
    assert (report.names, report.notes) == ({}, [])


def typed(clusters, first=1):
    events = np.arange(first, first + len(clusters))
    return TypedEvents(
        events=events, clusters=np.array(clusters), strengths=np.full(len(clusters), 0.5)
    )


def said(kind, types, known, name="", number=1, **changes):
    """Return an edit of another grouping."""
    events = {"known": runs_of(sorted(known)), "types": [sorted(each) for each in types]}
    if kind == "split":
        events["strengths"] = [[0.25] * len(each) for each in types]
    return EditRow(
        edit_id=number,
        grouping="other",
        kind=kind,
        who="ann",
        made_ms=0,
        facts={"numbers": list(range(len(types))), "name": name},
        events=events,
        **changes,
    )


def nobody(events, others):
    raise AssertionError("no vector is asked for")


def test_a_merge_that_a_grouping_found_by_itself_is_so_already_and_keeps_its_name():
    found = typed([0] * 10 + [1] * 5)
    one, other = set(range(1, 7)), set(range(7, 11))
    known = set(range(1, 16))
    now = edited_types("here", found, [said("merge", [one, other], known, "caw")], nobody)
    assert np.array_equal(now.types.clusters, found.clusters)
    assert (now.names, now.fits) == ({0: "caw"}, {1: [0]})
    rests = edited_types("here", found, [said("merge", [one, set(range(11, 14))], known)], nobody)
    assert rests.fits == {}


def test_a_split_that_a_grouping_found_by_itself_is_so_already_and_keeps_its_name():
    found = typed([1] * 10 + [0] * 5)
    parts = [set(range(1, 11)), set(range(11, 16))]
    now = edited_types("here", found, [said("split", parts, range(1, 16), "caw")], nobody)
    assert np.array_equal(now.types.clusters, found.clusters)
    assert (now.names, now.fits) == ({1: "caw"}, {1: [1, 0]})


def test_a_part_without_events_is_no_part():
    found = typed([0] * 20 + [1] * 5)
    parts = [set(range(1, 21)), {21, 22, 23}]
    now = edited_types("here", found, [said("split", parts, range(1, 26))], nobody)
    assert np.array_equal(now.types.clusters, found.clusters)
    assert now.fits == {}


def test_edits_that_are_undone_are_passed_over():
    found = typed([0] * 10)
    edit = said("name", [range(1, 11)], range(1, 11), "caw", undone_ms=5)
    assert edited_types("here", found, [edit], nobody).names == {}


@given(
    clusters=st.lists(st.integers(-1, 2), min_size=1, max_size=40),
    members=st.sets(st.integers(1, 45), min_size=1),
    data=st.data(),
)
def test_a_name_is_carried_over_exactly_where_enough_is_shared(clusters, members, data):
    known = members | data.draw(st.sets(st.integers(1, 45)))
    found = typed(clusters)
    now = edited_types("here", found, [said("name", [members], known, "caw")], nobody)
    fitting = []
    here = set(found.events.tolist())
    for number in {*clusters} - {-1}:
        events = {event for event, of in zip(here, clusters, strict=True) if of == number}
        shared = len(events & members)
        is_same = shared >= SHARED * len(members & here) and shared >= SHARED * len(events & known)
        if shared and is_same and len(members & here) >= len(members) / 2:
            fitting.append(number)
    assert sorted(now.names) == fitting
    assert len(fitting) <= 1


@given(st.sets(st.integers(-50, 50)))
def test_runs_hold_the_numbers_that_they_were_made_of(numbers):
    runs = runs_of(sorted(numbers))
    assert {number for first, stop in runs for number in range(first, stop)} == numbers
    assert all(first < stop for first, stop in runs)
    assert all(one[1] < other[0] for one, other in pairwise(runs))


# The catalogue


def made_old(folder, names):
    """Make a workspace one of version 2, in which names were facts of a stage."""
    with Workspace(folder).catalogue() as catalogue, closing(catalogue._connection.cursor()) as at:
        view = "SELECT sql FROM sqlite_master WHERE name = 'heard_events'"
        old_view = (
            at.execute(view)
            .fetchone()[0]
            .replace("edited_types.cluster, found_types.cluster", "sound_types.cluster")
            .replace(
                "LEFT JOIN found_types USING (event_id)", "LEFT JOIN sound_types USING (event_id)"
            )
            .replace("LEFT JOIN edited_types USING (event_id)", "")
        )
        for name in ("sound_types", "heard_events"):
            at.execute(f"DROP VIEW {name}")
        for name in ("edits", "edited_types"):
            at.execute(f"DROP TABLE {name}")
        at.execute("ALTER TABLE found_types RENAME TO sound_types")
        at.execute(old_view)
        at.execute("INSERT INTO stages VALUES ('names', '', 1, ?)", [json.dumps(names)])
        at.execute("PRAGMA user_version = 2")


def test_a_workspace_of_the_version_before_opens_with_its_names(workspace):
    grouping, before = known(workspace).grouping, dump(workspace, "sound_types")
    schema = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY name"
    with closing(sqlite3.connect(workspace / "catalogue.sqlite")) as file:
        objects = file.execute(schema).fetchall()
    made_old(workspace, {grouping: {"2": "rattle", "0": "caw"}, "another": {"1": "click"}})
    assert known(workspace).names == {0: "caw", 2: "rattle"}
    assert known(workspace).grouping == grouping
    assert dump(workspace, "sound_types") == before
    with closing(sqlite3.connect(workspace / "catalogue.sqlite")) as file:
        assert file.execute(schema).fetchall() == objects
    edits = edits_of(workspace)
    assert {one.words: one.types for one in edits} == {
        'named 2 "rattle"': [2],
        'named 0 "caw"': [0],
        'named 1 "click"': [],
    }
    assert {(one.who, one.made_ms) for one in edits} == {("", None)}
    # They are carried over as any; that of the other grouping rests.
    assert any(
        "1 name no longer fits" in note for note in steps.merge_sound_types(workspace, [3, 4]).notes
    )
    add_sounds(workspace, [2] * 5)
    assert any(
        "2 names and 1 merge carried over" in note for note in steps.cluster(workspace).notes
    )
    assert set(known(workspace).names.values()) == {"caw", "rattle"}


def test_a_name_from_before_counts_again_when_its_grouping_returns(workspace):
    made_old(workspace, {"another": {"1": "click"}})
    with Workspace(workspace).catalogue() as catalogue:
        edits, found = catalogue.edits(with_events=True), catalogue.found_types()
    assert edited_types("another", found, edits, nobody).names == {1: "click"}
    assert edited_types("here", found, edits, nobody).names == {}


def test_an_old_workspace_without_names_opens(workspace):
    made_old(workspace, {})
    assert edits_of(workspace) == []
    assert known(workspace).names == {}


def test_two_processes_that_open_an_old_workspace_at_once_both_can(workspace):
    made_old(workspace, {known(workspace).grouping: {"0": "caw"}})
    script = (
        "import sys; from pathlib import Path; from oscine.steps.editing import edit_history;"
        "print(len(edit_history(Path(sys.argv[1])).history))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script, workspace], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in both] == [b"1\n"] * 2


def test_a_failed_upgrade_leaves_the_old_workspace(workspace, monkeypatch):
    made_old(workspace, {known(workspace).grouping: {"0": "caw"}})
    before = dump(workspace)

    def fail(connection):
        keep_edits(connection)
        raise sqlite3.OperationalError("no space")

    monkeypatch.setattr(Catalogue, "upgrades", {2: fail})
    with pytest.raises(ValueError, match="no space"):
        known(workspace)
    assert dump(workspace) == before
    monkeypatch.undo()
    assert known(workspace).names == {0: "caw"}


KILLED = """
import os, signal, sys
from pathlib import Path
from oscine import steps
from oscine.workspace import database

folder, edit = Path(sys.argv[1]), sys.argv[2]
database._Transaction.__exit__ = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
{
    "name": lambda: steps.name_sound_type(folder, 1, "caw"),
    "merge": lambda: steps.merge_sound_types(folder, [1, 2]),
    "split": lambda: steps.split_sound_type(folder, 3),
    "undo": lambda: steps.undo_edit(folder),
}[edit]()
"""


@pytest.mark.parametrize("edit", ["name", "merge", "split", "undo"])
def test_an_edit_killed_before_it_is_whole_never_was(workspace, edit):
    steps.merge_sound_types(workspace, [3, 4])
    before = dump(workspace)
    arguments = [sys.executable, "-c", KILLED, workspace, edit]
    assert subprocess.run(arguments, timeout=120, check=False).returncode == -signal.SIGKILL
    assert dump(workspace) == before
    assert steps.undo_edit(workspace).edit == 1


def test_an_edit_waits_for_another_process_a_little_and_then_says_so(workspace, monkeypatch):
    monkeypatch.setattr(editing, "WAIT_S", 0.1)
    before = dump(workspace)
    with (
        Workspace(workspace).alone(),
        pytest.raises(ValueError, match="is in use by another run"),
    ):
        steps.name_sound_type(workspace, 0, "caw")
    assert dump(workspace) == before
    monkeypatch.setattr(editing, "WAIT_S", 60)
    held, waited = threading.Event(), []

    def hold():
        with Workspace(workspace).alone():
            held.set()
            time.sleep(0.3)
            waited.append(True)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    assert steps.name_sound_type(workspace, 0, "caw").is_done
    assert waited
    thread.join()


def test_who_reads_meanwhile_sees_all_of_an_edit_or_nothing(workspace):
    with Workspace(workspace).catalogue() as reader:
        assert len(reader.events_where("cluster = 3")) == 16
        steps.merge_sound_types(workspace, [3, 4])
        assert len(reader.events_where("cluster = 3")) == 30
        assert sound_types(reader).sizes[3] == 30


# The command line


def test_types_are_edited_from_the_command_line(workspace, call):
    assert call("cluster", "history", "-w", workspace)[:2] == (0, "nobody edited the sound types\n")
    code, out, err = call("cluster", "name", 4, "low caw", "--who", "ann", "-w", workspace)
    assert (code, err) == (0, "")
    assert 'named 4 "low caw"' in out
    code, out, _ = call("cluster", "merge", 4, 5, 6, "-w", workspace, "--json")
    assert code == 0
    assert json.loads(out)["sizes"]["4"] == 36
    code, out, _ = call("cluster", "split", 2, "-w", workspace)
    assert code == 0
    assert "does not fall apart" in out
    code, out, _ = call("cluster", "split", 4, "-w", workspace)
    assert code == 0
    assert "split 4 into 4" in out
    code, out, _ = call("cluster", "undo", "-w", workspace)
    assert code == 0
    assert "undone: split 4" in out
    code, out, _ = call("cluster", "history", "-w", workspace)
    lines = out.splitlines()
    assert [re.search(r"  (\w+): ", line)[1] for line in lines] == ["ann", *[getpass.getuser()] * 2]
    assert lines[1].endswith(": merged 5 and 6 into 4")
    assert f"undone by {getpass.getuser()} on 20" in lines[2]
    history = json.loads(call("cluster", "history", "-w", workspace, "--json")[1])
    assert [one["is_undone"] for one in history["history"]] == [False, False, True]
    assert history["grouping"] == known(workspace).grouping


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["name", "99", "caw"], 2, "there is no sound type 99"),
        (["name", "seven", "caw"], 2, "seven"),
        (["merge", "1"], 2, "at least two"),
        (["merge"], 2, "numbers"),
        (["split", "99"], 2, "there is no sound type 99"),
        (["undo"], 1, "nothing is to be undone"),
        (["undo", "5"], 2, "there is no edit 5"),
        (["history", "-w", "nowhere"], 2, "is no workspace"),
    ],
)
def test_wrong_use_of_the_command_line_is_told_plainly(workspace, call, arguments, code, what):
    where = [] if "-w" in arguments else ["-w", workspace]
    found, out, err = call("cluster", *arguments, *where)
    assert (found, out) == (code, "")
    assert what in err.lower()
    assert "Traceback" not in err


@pytest.mark.parametrize("verb", ["name", "merge", "split", "undo", "history"])
def test_every_edit_has_help_with_an_example(call, verb):
    code, out, _ = call("cluster", verb, "--help")
    assert code == 0
    assert f"Example: oscine cluster {verb}" in out


def test_who_is_not_known_to_the_system_is_unknown(workspace, monkeypatch):
    def fail():
        raise OSError

    monkeypatch.setattr(getpass, "getuser", fail)
    steps.name_sound_type(workspace, 0, "caw")
    assert edits_of(workspace)[0].who == "unknown"


def test_what_people_say_reaches_nothing_that_is_fitted(workspace, monkeypatch):
    asked = []
    monkeypatch.setattr(individual, "draw_sample", lambda *given: asked.append(given[5]))
    for _ in range(2):
        with Workspace(workspace).catalogue() as catalogue:
            readout = SimpleNamespace(config=ReadoutConfig())
            exchange_sample(catalogue, OscineConfig(), None, None, readout)
        steps.merge_sound_types(workspace, [0, len(asked)])
    assert asked[0] == asked[1]
    assert set(asked[0]) == {-1, *range(len(SIZES))}


def test_no_types_no_edits(tmp_path):
    add_sounds(tmp_path / "crows.oscine", [0] * 5)
    for edit in (lambda folder: steps.name_sound_type(folder, 0, "caw"), steps.edit_history):
        with pytest.raises(ValueError, match="run `oscine cluster` first"):
            edit(tmp_path / "crows.oscine")


def test_an_undone_edit_is_the_same_row_but_for_that(workspace):
    steps.merge_sound_types(workspace, [1, 2])
    with Workspace(workspace).catalogue() as catalogue:
        (before,) = catalogue.edits(with_events=True)
    steps.undo_edit(workspace, who="bob")
    with Workspace(workspace).catalogue() as catalogue:
        (after,) = catalogue.edits(with_events=True)
    assert after.undone_ms >= before.made_ms
    assert after == replace(before, undone_ms=after.undone_ms, undone_by="bob")
