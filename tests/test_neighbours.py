"""Exact neighbours equal brute force; an index finds what it promises, whatever befalls it."""

import operator
import subprocess
import sys
from dataclasses import replace
from unittest.mock import patch

import faiss
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oscine import steps
from oscine.cli import run
from oscine.config import OscineConfig
from oscine.embedding.readout import READOUT
from oscine.search import exact as exact_module
from oscine.search import index as index_module
from oscine.search import survey as survey_module
from oscine.search.exact import NOBODY, exact, exact_elsewhere
from oscine.search.index import DESCRIPTION, open_index, refresh_index
from oscine.search.survey import Events, survey
from oscine.steps import comparing
from oscine.workspace import Workspace
from oscine.workspace.arrays import ArrayReader, ArrayWriter
from oscine.workspace.catalogue import Catalogue, Placed, Stage

D = 64
"""As faiss compares them in the archive: from 64 on in whole numbers."""
N, N_QUERIES = 6000, 200


def unit(x):
    return (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-30)).astype(np.float32)


def stored(folder, x, rows_per_shard=2500):
    """Write vectors, or append those that are not there yet, and open them."""
    shape = x.shape[1:]
    n_there = sum(file.stat().st_size for file in folder.glob("*.bin")) // (4 * x.shape[1])
    writer = ArrayWriter(folder, np.dtype(np.float32), shape, n_there, rows_per_shard)
    writer.append(x[n_there:])
    writer.flush()
    return ArrayReader(folder, np.dtype(np.float32), shape, len(x), rows_per_shard)


def brute(x, queries, k, allowed=None):
    """Return rows [shape=(Q, k)] and likeness by sorting all products; ties go by row."""
    likeness = (queries.astype(np.float64) @ x.T.astype(np.float64)).astype(np.float32)
    rows = np.full((len(queries), k), -1)
    best = np.full((len(queries), k), -np.inf, np.float32)
    for number, one in enumerate(likeness):
        order = np.lexsort((np.arange(len(x)), -one))
        if allowed is not None:
            order = order[allowed[order]]
        rows[number, : len(order)] = order[:k]
        best[number, : len(order)] = one[order[:k]]
    return rows, best


def clustered(rng, n, n_groups=60):
    """Return vectors in groups of different width."""
    centres = rng.normal(size=(n_groups, D))
    group = rng.integers(n_groups, size=n)
    width = rng.uniform(0.1, 1.2, n_groups)[group, None]
    return unit(centres[group] + width * rng.normal(size=(n, D)))


def recall(found, x, queries, k, allowed=None):
    """Return the share of found neighbours that are as alike as the k-th should be."""
    _, likeness = brute(x, queries, k, allowed)
    return float((found.likeness >= likeness[:, -1:]).mean())


# Values whose products have no rounding, so that ties are ties.
coarse = st.sampled_from([-0.5, 0.0, 0.5])


@given(
    x=st.integers(0, 40).flatmap(lambda n: arrays(np.float32, (n, 4), elements=coarse)),
    queries=st.integers(0, 5).flatmap(lambda n: arrays(np.float32, (n, 4), elements=coarse)),
    k=st.integers(0, 12),
    density=st.sampled_from([None, 0.0, 0.1, 0.6, 1.0]),
    at_once=st.sampled_from([1, 3, 8, 1000]),
    seed=st.integers(0, 9),
)
@settings(max_examples=150)
def test_exact_equals_brute_force(tmp_path_factory, x, queries, k, density, at_once, seed):
    vectors = stored(tmp_path_factory.mktemp("v"), x, rows_per_shard=7)
    allowed = None if density is None else np.random.default_rng(seed).random(len(x)) < density
    with (
        patch.object(exact_module, "ROWS_AT_ONCE", at_once),
        patch.object(exact_module, "QUERIES_AT_ONCE", 2),
    ):
        found = exact(vectors, queries, k, allowed)
    rows, likeness = brute(x, queries, k, allowed)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.likeness, likeness)


def test_a_likeness_depends_on_nothing_but_its_two_vectors(tmp_path, rng):
    x = unit(rng.normal(size=(3000, D)))
    x[1500:1600] = x[7]
    vectors, allowed = stored(tmp_path, x), rng.random(3000) < 0.3
    together = exact(vectors, x[:50], 20)
    for number in range(0, 50, 7):
        alone = exact(vectors, x[number : number + 1], 20)
        np.testing.assert_array_equal(alone.rows[0], together.rows[number])
        np.testing.assert_array_equal(alone.likeness[0], together.likeness[number])
    assert together.rows[7].tolist() == [7, *range(1500, 1519)]
    found = exact(vectors, x[:50], 5, allowed)
    rows, likeness = brute(x, x[:50], 5, allowed)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.likeness, likeness)


def test_what_does_not_belong_to_the_vectors_is_refused(tmp_path, rng):
    vectors = stored(tmp_path, unit(rng.normal(size=(10, D))))
    with pytest.raises(ValueError, match="queries must be of shape"):
        exact(vectors, np.ones((2, D + 1), np.float32), 3)
    with pytest.raises(ValueError, match="one bool for each of 10 rows"):
        exact(vectors, np.ones((2, D), np.float32), 3, np.ones(9, bool))
    with pytest.raises(IndexError, match="rows 3 to 10 of an array of 10"):
        vectors.take(np.array([3, 10]))


SITES = ("north", "south", "")
NUMBERS = {"low_hz": (500.0, 1000.0, 2000.0), "level_db": (10.0, 20.0, 30.0)}
SIGNS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@st.composite
def field_tests(draw):
    """Return a condition as text, and as a function of an event's site and numbers."""
    name = draw(st.sampled_from(["site", *NUMBERS]))
    values = SITES if name == "site" else NUMBERS[name]
    a, b = draw(st.sampled_from(values)), draw(st.sampled_from(values))
    said_a, said_b = (f"'{one}'" if name == "site" else f"{one:g}" for one in (a, b))
    kind = draw(st.sampled_from([*SIGNS, "between", "in"]))
    if kind == "between":
        return f"{name} between {said_a} and {said_b}", lambda event: a <= event[name] <= b
    if kind == "in":
        return f"{name} in ({said_a}, {said_b})", lambda event: event[name] in (a, b)
    return f"{name} {kind} {said_a}", lambda event: SIGNS[kind](event[name], a)


def combined(inner):
    def both(word, join):
        return st.tuples(inner, inner).map(
            lambda two: (
                f"({two[0][0]} {word} {two[1][0]})",
                lambda event: join(two[0][1](event), two[1][1](event)),
            )
        )

    negated = inner.map(lambda one: (f"not ({one[0]})", lambda event: not one[1](event)))
    return st.one_of(both("and", operator.and_), both("or", operator.or_), negated)


predicates = st.recursive(field_tests(), combined, max_leaves=5)


def test_the_nearest_elsewhere_are_those_that_brute_force_finds(rng):
    vectors = rng.standard_normal((60, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = rng.integers(0, 4, 60)
    places[:3] = [7, 7, 8]
    found = exact_elsewhere(vectors, places, 8)
    for row, (vector, place) in enumerate(zip(vectors, places, strict=True)):
        others = np.flatnonzero(places != place)
        best = others[np.argsort(-(vectors[others] @ vector), kind="stable")][:8]
        assert found[row].tolist() == best.tolist()
    assert exact_elsewhere(vectors[:2], places[:2], 3).tolist() == [[NOBODY] * 3] * 2
    assert exact_elsewhere(vectors[:3], places[:3], 3)[0].tolist() == [2, NOBODY, NOBODY]
    assert exact_elsewhere(vectors[:0], places[:0], 3).shape == (0, 3)


@pytest.fixture(scope="module")
def filtered(tmp_path_factory):
    """A catalogue of events with sites and numbers, their vectors, and an index of them."""
    folder, rng = tmp_path_factory.mktemp("filtered"), np.random.default_rng(1)
    recordings = [tiny.recording(n, 90_000, 90_000 * n, site=SITES[n % 3]) for n in range(9)]
    events, told = [], []
    for number in range(3000):
        numbers = {name: float(rng.choice(values)) for name, values in NUMBERS.items()}
        event = tiny.event(number, 1 + number % 9, 20 * number, 20 * number + 10)
        events.append(replace(event, **numbers))
        told.append({"site": SITES[number % 9 % 3], **numbers})
    x = clustered(rng, len(events))
    vectors = stored(folder / "v", x)
    index = refresh_index(folder / "n", vectors, "a", exact_rows=1000)
    with Catalogue(folder / "catalogue.sqlite") as catalogue:
        catalogue.add(recordings, events, [])
        yield catalogue, told, x, index


@given(predicate=predicates, data=st.data())
@settings(max_examples=60)
def test_filters_equal_brute_force_on_random_predicates(filtered, predicate, data):
    catalogue, told, x, index = filtered
    text, is_met = predicate
    expected = np.array([is_met(event) for event in told])
    allowed = np.zeros(len(x), bool)
    allowed[catalogue.events_where(text) - 1] = True
    np.testing.assert_array_equal(allowed, expected)
    queries = x[data.draw(st.lists(st.integers(0, len(x) - 1), min_size=1, max_size=4))]
    found = exact(index.vectors, queries, 7, allowed)
    rows, likeness = brute(x, queries, 7, expected)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.likeness, likeness)
    # The index, too: few allowed rows are compared one by one, of many it must find its share.
    found = index.search(queries, 7, allowed)
    assert allowed[found.rows[found.rows >= 0]].all()
    assert (found.rows >= 0).sum() == (rows >= 0).sum()
    if expected.sum() <= index.filtered_rows:
        np.testing.assert_array_equal(found.rows, rows)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Vectors in groups, an index of them, and queries that are not among them."""
    folder, rng = tmp_path_factory.mktemp("archive"), np.random.default_rng(2)
    x = clustered(rng, N + N_QUERIES)
    x, queries = x[:N], x[N:]
    vectors = stored(folder / "v", x)
    told = []
    index = refresh_index(
        folder / "n", vectors, "a", exact_rows=1000, progress=lambda *at: told.append(at)
    )
    assert told[-1] == (N, N)
    return folder, x, queries, index


def held_rows(folder):
    """Return the rows in the lists of the index of a folder, as often as they are there."""
    (file,) = folder.glob("*.faiss")
    lists = faiss.read_index(str(file))
    inside = lists.invlists
    sizes = [(number, inside.list_size(number)) for number in range(lists.nlist)]
    found = [
        faiss.rev_swig_ptr(inside.get_ids(number), size).copy() for number, size in sizes if size
    ]
    return np.sort(np.concatenate(found))


def test_the_index_finds_what_it_promises(archive):
    _, x, queries, index = archive
    assert index.facts.recall >= index.facts.target == 0.98
    assert (index.facts.n_asked, index.facts.n_held, index.facts.n_covered) == (500, N, N)
    for k, wanted in ((1, 0.96), (10, 0.98), (50, 0.98)):  # at 10 is what is promised
        found = index.search(queries, k)
        assert recall(found, x, queries, k) >= wanted
        assert (np.diff(found.likeness, axis=1) <= 0).all()
        chosen = np.take_along_axis(queries @ x.T, found.rows, 1)
        np.testing.assert_allclose(found.likeness, chosen, atol=1e-6)
        assert all(len(set(rows)) == k for rows in found.rows.tolist())


@pytest.mark.parametrize("share", [0.5, 0.25, 0.05])
@pytest.mark.parametrize("kind", ["scattered", "elsewhere", "around"])
def test_the_index_finds_as_much_of_what_is_allowed(archive, rng, share, kind):
    """Whether what is allowed lies anywhere, far from the query, or near it."""
    _, x, queries, index = archive
    towards = x @ queries[0]
    allowed = {
        "scattered": rng.random(N) < share,
        "elsewhere": towards <= np.quantile(towards, share),
        "around": towards >= np.quantile(towards, 1 - share),
    }[kind]
    with patch.object(index, "filtered_rows", 0):
        found = index.search(queries, 10, allowed)
    assert allowed[found.rows].all()
    # What the index promises is a mean over its own vectors; these are 200 others.
    assert recall(found, x, queries, 10, allowed) >= 0.97


def test_few_allowed_are_compared_one_by_one(archive, rng):
    _, x, queries, index = archive
    allowed = np.zeros(N, bool)
    allowed[rng.choice(N, 6, replace=False)] = True
    for limit in (1000, 0):  # and where they are not, all the lists are looked into
        with patch.object(index, "filtered_rows", limit):
            found = index.search(queries, 10, allowed)
        np.testing.assert_array_equal(found.rows, brute(x, queries, 10, allowed)[0])
    nothing = index.search(queries, 10, np.zeros(N, bool))
    assert (nothing.rows == -1).all()
    assert index.search(queries[:0], 10).rows.shape == (0, 10)
    assert index.search(queries, 0).rows.shape == (N_QUERIES, 0)


def test_an_index_opens_as_it_was_made_and_is_made_as_before(archive, tmp_path):
    folder, _, queries, index = archive
    opened = open_index(folder / "n", index.vectors, "a")
    assert (opened.facts, opened.note) == (index.facts, "")
    with patch.object(opened, "filtered_rows", 0), patch.object(index, "filtered_rows", 0):
        np.testing.assert_array_equal(opened.search(queries, 9).rows, index.search(queries, 9).rows)
    refresh_index(tmp_path / "n", index.vectors, "a", exact_rows=1000)
    assert files_of(tmp_path / "n") == files_of(folder / "n")


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_what_is_appended_is_found_at_once_and_taken_in_when_it_is_much(tmp_path, rng):
    x = clustered(rng, 4000)
    known = refresh_index(tmp_path / "n", stored(tmp_path / "v", x[:3000]), "a", exact_rows=1000)
    before = files_of(tmp_path / "n")
    vectors = stored(tmp_path / "v", x[:3100])
    for index in (
        open_index(tmp_path / "n", vectors, "a"),
        refresh_index(tmp_path / "n", vectors, "a", exact_rows=1000),
    ):
        index.filtered_rows = 0
        assert index.facts == known.facts
        np.testing.assert_array_equal(index.search(x[3000:3100], 1).rows[:, 0], range(3000, 3100))
        assert recall(index.search(x[:100], 10), x[:3100], x[:100], 10) >= 0.98
    assert files_of(tmp_path / "n") == before
    with patch.object(index_module, "LEAST_TAIL", 100):
        vectors = stored(tmp_path / "v", x)
        index = refresh_index(tmp_path / "n", vectors, "a", exact_rows=1000)
        assert (index.facts.n_covered, index.facts.n_laid_out) == (4000, 3000)
        assert index.facts.file != known.facts.file
        np.testing.assert_array_equal(held_rows(tmp_path / "n"), range(4000))
        assert len(files_of(tmp_path / "n")) == 2
        # The lists are laid out anew when there is twice as much.
        x = np.concatenate([x, clustered(rng, 2100)])
        index = refresh_index(tmp_path / "n", stored(tmp_path / "v", x), "a", exact_rows=1000)
        assert index.facts.n_laid_out == 6100
    np.testing.assert_array_equal(held_rows(tmp_path / "n"), range(6100))


def test_an_index_is_made_anew_when_a_quarter_is_gone_and_what_comes_back_is_found(tmp_path, rng):
    x = clustered(rng, 3000)
    vectors = stored(tmp_path / "v", x)
    made = refresh_index(tmp_path / "n", vectors, "a", exact_rows=1000)
    present = np.ones(3000, bool)
    present[100:800] = False
    index = refresh_index(tmp_path / "n", vectors, "a", present, exact_rows=1000)
    assert index.facts == made.facts
    present[100:900] = False
    index = refresh_index(tmp_path / "n", vectors, "a", present, exact_rows=1000)
    index.filtered_rows = 0
    np.testing.assert_array_equal(held_rows(tmp_path / "n"), np.flatnonzero(present))
    found = index.search(x[::7], 10, present)
    assert present[found.rows].all()
    assert recall(found, x, x[::7], 10, present) >= 0.98
    present[500:] = True
    index = open_index(tmp_path / "n", vectors, "a")
    index.filtered_rows = 0
    np.testing.assert_array_equal(index.search(x[500:900], 1, present).rows[:, 0], range(500, 900))
    assert (index.search(x[100:500], 1, present).likeness < 0.9999).all()
    with patch.object(index_module, "LEAST_TAIL", 100):
        index = refresh_index(tmp_path / "n", vectors, "a", present, exact_rows=1000)
    assert index.facts.n_laid_out == 2200
    np.testing.assert_array_equal(held_rows(tmp_path / "n"), np.flatnonzero(present))


def test_there_is_no_index_of_few(tmp_path, rng):
    x = clustered(rng, 2000)
    vectors = stored(tmp_path / "v", x)
    refresh_index(tmp_path / "n", vectors, "a", exact_rows=1000)
    present = np.arange(2000) < 1500
    index = refresh_index(tmp_path / "n", vectors, "a", present, exact_rows=1500)
    assert index.facts is None
    assert not (tmp_path / "n").exists()
    np.testing.assert_array_equal(
        index.search(x[:9], 5, present).rows, brute(x, x[:9], 5, present)[0]
    )


def cut_off(folder, facts):
    file = folder / facts.file
    file.write_bytes(file.read_bytes()[:-5])


def flip_head(folder, facts):
    flip(folder / facts.file, facts.n_head_bytes // 2)


def flip_list(folder, facts):
    flip(folder / facts.file, facts.n_bytes - 3)


def flip(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 0xFF
    file.write_bytes(content)


def spoil_description(folder, facts):
    (folder / DESCRIPTION).write_bytes(b"nothing")


def lose_lists(folder, facts):
    (folder / facts.file).unlink()


def lose_description(folder, facts):
    (folder / DESCRIPTION).unlink()


@pytest.mark.parametrize(
    "damage", [cut_off, flip_head, flip_list, spoil_description, lose_lists, lose_description]
)
def test_a_damaged_index_is_said_and_made_anew(archive, tmp_path, damage):
    folder, x, queries, index = archive
    facts = index.facts
    for name, content in files_of(folder / "n").items():
        (tmp_path / name).write_bytes(content)
    damage(tmp_path, facts)
    opened = open_index(tmp_path, index.vectors, "a")
    found = opened.search(queries, 10)
    assert recall(found, x, queries, 10) >= 0.98
    if damage is flip_list:  # a row number: what it says now is no row, or one that is ranked last
        assert opened.facts == facts
    else:
        assert opened.facts is None
        assert ("`oscine embed` makes it anew" in opened.note) == (damage is not lose_description)
    made = refresh_index(tmp_path, index.vectors, "a", exact_rows=1000)
    assert ("made anew" in made.note) == (damage is not lose_description)
    assert made.facts == facts
    assert files_of(tmp_path) == files_of(folder / "n")


def test_an_index_of_other_vectors_is_not_used(archive, tmp_path):
    folder, x, _, index = archive
    for name, content in files_of(folder / "n").items():
        (tmp_path / name).write_bytes(content)
    fewer = stored(tmp_path / "v", x[: N - 1])
    for vectors, made_from in ((index.vectors, "b"), (fewer, "a")):
        opened = open_index(tmp_path, vectors, made_from)
        assert opened.facts is None
        assert "made from other vectors" in opened.note
    (tmp_path / "v").rename(tmp_path.with_name("v"))
    made = refresh_index(tmp_path, index.vectors, "b", exact_rows=1000)
    assert "made from other vectors: it was made anew" in made.note
    assert (made.facts.made_from, made.facts.recall) == ("b", index.facts.recall)


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from oscine.search import index
from oscine.workspace.arrays import ArrayReader

folder, name, place = Path(sys.argv[1]), *sys.argv[4:]
n_rows, n_dimensions = map(int, sys.argv[2:4])
calls = 0

def dying(call):
    def die(*arguments):
        global calls
        calls += 1
        if place == f"before {calls}":
            os._exit(9)
        call(*arguments)
        if place == f"after {calls}":
            os._exit(9)
    return die

setattr(os, name, dying(getattr(os, name)))
index.LEAST_TAIL = 100
shape = (n_dimensions,)
vectors = ArrayReader(folder / "v", np.dtype(np.float32), shape, n_rows, 2500)
index.refresh_index(folder / "n", vectors, "a", exact_rows=1000)
"""


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """An index, and the same after it took in what was appended."""
    folder, rng = tmp_path_factory.mktemp("grown"), np.random.default_rng(3)
    x = clustered(rng, 2600)
    refresh_index(folder / "n", stored(folder / "v", x[:2000]), "a", exact_rows=1000)
    before = files_of(folder / "n")
    with patch.object(index_module, "LEAST_TAIL", 100):
        refresh_index(folder / "n", stored(folder / "v", x), "a", exact_rows=1000)
    return x, before, files_of(folder / "n")


@pytest.mark.parametrize(
    ("call", "place"),
    [("replace", "before 1"), ("replace", "after 1"), ("replace", "after 2")],
)
def test_killed_at_any_moment_nothing_is_lost_or_there_twice(grown, tmp_path, call, place):
    x, before, after = grown
    (tmp_path / "n").mkdir()
    for name, content in before.items():
        (tmp_path / "n" / name).write_bytes(content)
    vectors = stored(tmp_path / "v", x)
    arguments = [tmp_path, *map(str, x.shape), call, place]
    ran = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert ran.returncode == 9
    index = open_index(tmp_path / "n", vectors, "a")
    index.filtered_rows = 0
    assert index.facts.n_covered == (2600 if place == "after 2" else 2000)
    found = index.search(x, 2)
    np.testing.assert_array_equal(found.rows[:, 0], range(len(x)))
    assert (found.rows[:, 1] != found.rows[:, 0]).all()
    with patch.object(index_module, "LEAST_TAIL", 100):
        refresh_index(tmp_path / "n", vectors, "a", exact_rows=1000)
    assert files_of(tmp_path / "n") == after


def recorded(rng, sizes):
    """Return vectors of events, the recording of each, and when it begins."""
    x = unit(rng.normal(size=(sum(sizes), D)))
    recordings = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    starts_s = np.concatenate([np.sort(rng.uniform(0, 60, size)) for size in sizes])
    return x, recordings, starts_s


def surveyed(folder, x, recordings, starts_s, rows=None):
    rows = np.arange(len(x)) if rows is None else rows
    vectors = stored(folder / "v", x)
    index = refresh_index(folder / "n", vectors, "a")
    return survey(index, Events(rows=rows, recordings=recordings, starts_s=starts_s), seed=0)


def slightly(rng, x):
    return unit(x + 0.2 * unit(rng.normal(size=x.shape)))


def test_copies_are_found_where_most_events_return_at_one_offset(tmp_path, rng):
    x, recordings, starts_s = recorded(rng, [12, 9, 8, 12, 5, 1, 1, 12, 1])
    of = [np.flatnonzero(recordings == number) for number in range(10)]
    # 2: the last nine events of 1, one of them spoilt, 3 s earlier, to a frame.
    x[of[2]] = slightly(rng, x[of[1][3:]])
    x[of[2][4]] = unit(rng.normal(size=D))
    starts_s[of[2]] = starts_s[of[1][3:]] - 3 + rng.choice([-0.01, 0, 0.01], 9)
    # 4 has the sounds of 1, at other times; 5 has two events of 3 at one offset, of five.
    x[of[4]] = slightly(rng, x[of[1]])
    x[of[5][:2]], starts_s[of[5][:2]] = x[of[3][:2]], starts_s[of[3][:2]] + 1
    # 7 is 6; 9 is only like it.
    x[of[7]] = slightly(rng, x[of[6]])
    x[of[9]] = unit(x[of[6]] + 0.6 * np.linalg.norm(x[of[6]]) * unit(rng.normal(size=(1, D))))
    found = surveyed(tmp_path, x, recordings, starts_s)
    assert [(one.recording, one.other) for one in found.near_duplicates] == [(1, 2), (6, 7)]
    pair = found.near_duplicates[0]
    assert pair.offset_s == pytest.approx(-3, abs=0.011)
    assert (pair.n_events, pair.share) == (8, pytest.approx(8 / 9, abs=1e-4))
    assert pair.likeness > 0.95
    assert (found.n_events, found.n_asked, found.n_not_compared) == (61, 61, 0)


def test_what_is_absent_is_no_copy(tmp_path, rng):
    x, recordings, starts_s = recorded(rng, [10, 10, 10])
    x[10:20], starts_s[10:20] = x[:10], starts_s[:10]
    rows = np.flatnonzero(recordings != 2)
    found = surveyed(tmp_path, x, recordings[rows], starts_s[rows], rows)
    assert (found.near_duplicates, found.n_events) == ((), 20)
    assert all(one.row in rows for one in found.oddities)


def test_the_oddest_event_is_least_like_its_fifth_nearest_elsewhere(tmp_path, rng):
    x, recordings, starts_s = recorded(rng, [60, 40, 40, 30])
    x = unit(x + 3 * unit(rng.normal(size=D)))
    # Recording 1 has 40 calls of one kind: the 32 nearest of each are of the same file.
    x[:40] = slightly(rng, np.tile(unit(rng.normal(size=D)), (40, 1)))
    found = surveyed(tmp_path, x, recordings, starts_s)
    likeness = x @ x.T
    likeness[recordings[:, None] == recordings] = -np.inf
    fifth = np.sort(likeness, axis=1)[:, -5]
    best = {}
    for row in np.argsort(fifth):
        best.setdefault(recordings[row], row)
    assert [one.row for one in found.oddities] == list(best.values())
    assert found.oddities[0].row < 40
    np.testing.assert_allclose(
        [one.likeness for one in found.oddities], fifth[list(best.values())], atol=1e-4
    )


def test_of_many_events_a_sample_is_asked(tmp_path, rng):
    x, recordings, starts_s = recorded(rng, [40] * 10)
    x[40:80], starts_s[40:80] = slightly(rng, x[:40]), starts_s[:40] + 2
    with (
        patch.object(survey_module, "MOST_COMPLETE", 300),
        patch.object(survey_module, "N_SAMPLED", 80),
        patch.object(survey_module, "ASKED_AT_ONCE", 30),
    ):
        found = surveyed(tmp_path, x, recordings, starts_s)
        assert found == surveyed(tmp_path, x, recordings, starts_s)
    assert (found.n_events, found.n_asked) == (400, 80)
    (pair,) = found.near_duplicates
    assert (pair.recording, pair.other, pair.offset_s, pair.n_events) == (1, 2, 2.0, 40)


def test_too_many_pairs_are_counted(tmp_path, rng):
    x, recordings, starts_s = recorded(rng, [5] * 4)
    x[5:], starts_s[5:] = np.tile(x[:5], (3, 1)), np.tile(starts_s[:5], 3)
    with patch.object(survey_module, "MOST_COMPARED", 2):
        found = surveyed(tmp_path, x, recordings, starts_s)
    assert (len(found.near_duplicates), found.n_not_compared) == (2, 4)


@pytest.mark.parametrize("sizes", [[], [1], [7], [3, 1]])
def test_little_is_no_trouble(tmp_path, rng, sizes):
    x, recordings, starts_s = (
        recorded(rng, sizes) if sizes else (np.empty((0, D)), *[np.empty(0)] * 2)
    )
    found = surveyed(tmp_path, x.astype(np.float32), recordings.astype(np.int64), starts_s)
    assert (found.near_duplicates, found.oddities) == ((), ())


@pytest.fixture
def workspace(tmp_path, rng):
    """A workspace whose events are embedded: `b` is `a` half a second later, in two channels."""
    workspace = Workspace(tmp_path / "w", create=True)
    names = [("a.wav", -1), ("b.mp3", 0), ("b.mp3", 1), ("c.wav", -1)]
    rows = [
        tiny.recording(n, 9000, 9000 * n, path=path, channel=channel)
        for n, (path, channel) in enumerate(names)
    ]
    starts = np.sort(rng.choice(800, 8, replace=False)) * 10
    shift = tiny.PICTURE.sample_rate_hz // tiny.PICTURE.hop_samples // 2
    x, events = unit(rng.normal(size=(32, D))), []
    for number in range(4):
        later = starts + (shift if number in (1, 2) else 0)
        if number in (1, 2):
            x[8 * number : 8 * number + 8] = slightly(rng, x[:8])
        events += [
            tiny.event(8 * number + n, number + 1, int(start), int(start) + 10)
            for n, start in enumerate(later)
        ]
    with workspace.catalogue() as catalogue:
        catalogue.add(rows, events, [])
        note_embedded(catalogue, "x")
    stored(workspace.embeddings() / "events", x)
    (workspace.embeddings() / READOUT).write_bytes(b"a readout")
    return workspace


def note_embedded(catalogue, digest):
    facts = {"events": 32, "dimensions": D, "made_with": "m", "digest": digest}
    catalogue.set_stage("embed", Stage(fingerprint="f", finished=True, facts=facts))


def compared(workspace):
    with workspace.catalogue() as catalogue:
        comparing.compare(workspace, catalogue, OscineConfig(), None)
    return steps.status(workspace.folder).neighbours


def test_status_names_near_duplicates_and_the_oddest_events(workspace, capsys):
    assert steps.status(workspace.folder).neighbours is None
    found = compared(workspace)
    (pair,) = found.near_duplicates
    assert (pair.path, pair.other, pair.offset_s, pair.share) == ("a.wav", "b.mp3", 0.5, 1.0)
    assert {event.path for event in found.oddest} == {"a.wav", "b.mp3", "c.wav"}
    assert (found.method, found.events, found.notes) == ("all are compared", 32, [])
    assert run(["status", "-w", str(workspace.folder)]) == 0
    said = capsys.readouterr().out
    assert "neighbours   all are compared" in said
    assert "a.wav and b.mp3: 100% of the events, +0.50 s" in said
    assert "The events least like anything in other recordings:" in said
    assert set(steps.status(workspace.folder).stages) == {"index", "pretrain", "embed", "cluster"}


def test_the_index_is_told_in_words(workspace):
    compared(workspace)
    with workspace.catalogue() as catalogue:
        stage = catalogue.stage("neighbours")
        index = {"lists": 2000, "probes": [3, 40, 2000], "recall": 0.9834}
        facts = stage.facts | {"index": index, "asked": 7, "pairs": 5, "pairs_not_compared": 3}
        catalogue.set_stage("neighbours", replace(stage, facts=facts))
    found = steps.status(workspace.folder).neighbours
    assert "2,000 lists, 40 looked into; it finds 98.3% of the nearest 10" in found.method
    assert [note.split(":")[0] for note in found.notes] == [
        "7 of 32 events were compared with all others",
        "5 pairs of recordings seem to hold the same sound",
        "3 more pairs of recordings have events that are nearly the same, and were not compared "
        "further",
    ]


def test_an_index_that_is_lost_is_made_again(workspace):
    first = compared(workspace)
    with workspace.catalogue() as catalogue:
        stage = catalogue.stage("neighbours")
        facts = stage.facts | {"index": {"lists": 2000, "probes": [3, 40, 2000], "recall": 0.98}}
        catalogue.set_stage("neighbours", replace(stage, facts=facts))
    assert steps.status(workspace.folder).neighbours != first
    assert compared(workspace) == first


def test_names_follow_files_that_moved(workspace):
    compared(workspace)
    with workspace.catalogue() as catalogue:
        was = catalogue.files()[0]
        moved = Placed(was=was, root="/archive", path="moved/a.wav", n_bytes=1, modified_s=0.0)
        catalogue.add([], [], [], placed=[moved])
    assert steps.status(workspace.folder).neighbours.near_duplicates[0].path == "moved/a.wav"


def test_what_was_compared_is_compared_again_only_when_it_changed(workspace):
    first = compared(workspace)
    with patch.object(survey_module, "survey", side_effect=AssertionError("again")):
        assert compared(workspace) == first
        with workspace.catalogue() as catalogue:
            note_embedded(catalogue, "y")
        assert steps.status(workspace.folder).neighbours is None
        with pytest.raises(AssertionError, match="again"):
            compared(workspace)
    assert compared(workspace) == first


def test_neighbours_of_a_workspace_come_with_what_is_present(workspace):
    compared(workspace)
    with workspace.catalogue() as catalogue:
        catalogue.add([], [], [], retired=[catalogue.files()[0]])
        index, present = comparing.open_neighbours(workspace, catalogue)
    assert present.tolist() == [False] * 8 + [True] * 24
    found = index.search(index.vectors.take(np.arange(8)), 2, present)
    assert {frozenset(rows) for rows in found.rows.tolist()} == {
        frozenset(pair) for pair in zip(range(8, 16), range(16, 24), strict=True)
    }


def test_a_readout_fitted_again_makes_other_vectors(workspace):
    with workspace.catalogue() as catalogue:
        _, first = comparing.event_vectors(workspace, catalogue)
        (workspace.embeddings() / READOUT).write_bytes(b"another readout")
        _, second = comparing.event_vectors(workspace, catalogue)
    assert first != second
