"""The atlas: sound types, map and page."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oscine.atlas.cluster import (
    NOISE,
    ClusterConfig,
    _best_overlaps,
    central_rows,
    cluster_vectors,
    split_vectors,
    stability,
    stratified_sample,
)
from oscine.atlas.page import (
    AtlasPage,
    LossCurve,
    PageEvent,
    write_page,
)
from oscine.atlas.pictures import PageExemplar, spectrogram_png
from oscine.atlas.projection import project_vectors

TYPE_SIZES = (60, 40, 25)
N_SCATTERED = 15
CONFIG = ClusterConfig()


def in_any_order(test):
    """Try a test with rows in several orders, and with all of them fitted or a sample."""
    order = st.permutations(range(sum(TYPE_SIZES) + N_SCATTERED))
    tried = given(order=order, max_fit=st.sampled_from([80, 999]))
    return settings(deadline=None, max_examples=15)(tried(test))


def sounds_of_known_type(seed=0):
    """Unit vectors around a few directions, and some scattered ones: vectors, types."""
    rng = np.random.default_rng(seed)
    types = np.repeat([*range(len(TYPE_SIZES)), NOISE], [*TYPE_SIZES, N_SCATTERED])
    directions = np.linalg.qr(rng.normal(size=(24, 24)))[0][: len(TYPE_SIZES)]
    vectors = rng.normal(size=(len(types), 24))
    grouped = types != NOISE
    vectors[grouped] = directions[types[grouped]] + 0.04 * vectors[grouped]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), types


def keys_and_recordings(n_rows, n_recordings=7):
    return (
        [f"{row * 7919 % 100_003:06d}:{row}" for row in range(n_rows)],
        [f"day {row % n_recordings}.wav" for row in range(n_rows)],
    )


def by_key(keys, values):
    return dict(zip(keys, np.asarray(values).tolist(), strict=True))


# --- Sound types ---------------------------------------------------------------------------


def test_known_types_are_found_and_numbered_by_size():
    vectors, types = sounds_of_known_type()
    config = ClusterConfig(min_samples=5)
    clusters = cluster_vectors(vectors, *keys_and_recordings(len(types)), config)
    grouped = types != NOISE
    assert np.array_equal(clusters.labels[grouped], types[grouped])
    assert np.mean(clusters.labels[~grouped] == NOISE) > 0.8
    assert clusters.sizes == tuple(np.bincount(clusters.labels[clusters.labels >= 0]))
    assert list(clusters.sizes) == sorted(clusters.sizes, reverse=True)
    assert np.all(clusters.strengths[clusters.labels == NOISE] == 0)
    assert np.all(clusters.strengths[grouped] > 0)
    assert (clusters.n_fitted, clusters.note) == (len(types), "")


@in_any_order
def test_each_key_gets_the_same_type_in_any_order_of_rows(order, max_fit):
    vectors, types = sounds_of_known_type()
    keys, recordings = keys_and_recordings(len(types))
    config = ClusterConfig(max_fit=max_fit)
    first = cluster_vectors(vectors, keys, recordings, config)
    shuffled_keys = [keys[row] for row in order]
    second = cluster_vectors(
        vectors[order], shuffled_keys, [recordings[row] for row in order], config
    )
    assert by_key(keys, first.labels) == by_key(shuffled_keys, second.labels)
    assert by_key(keys, first.strengths) == by_key(shuffled_keys, second.strengths)
    assert [[keys[row] for row in group] for group in first.exemplars] == [
        [shuffled_keys[row] for row in group] for group in second.exemplars
    ]


@in_any_order
def test_types_that_all_recordings_hold_are_stable_in_any_order_of_rows(order, max_fit):
    vectors, types = sounds_of_known_type()
    keys, recordings = keys_and_recordings(len(types))
    config = ClusterConfig(max_fit=max_fit)
    stable = [
        stability(*rows, cluster_vectors(*rows, config), config)
        for rows in (
            (vectors, keys, recordings),
            (vectors[order], [keys[row] for row in order], [recordings[row] for row in order]),
        )
    ]
    assert stable[0] == stable[1]
    assert len(stable[0]) == len(TYPE_SIZES)
    assert min(stable[0]) > 0.75


def test_what_chance_groups_is_not_stable():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 16)).astype(np.float32)
    rows = vectors, *keys_and_recordings(len(vectors), n_recordings=40)
    found = cluster_vectors(*rows, CONFIG)
    assert len(found.sizes) > 5
    assert max(stability(*rows, found, CONFIG)) < 0.5


def test_stability_is_not_told_of_two_recordings():
    vectors, types = sounds_of_known_type()
    keys, recordings = keys_and_recordings(len(types), n_recordings=2)
    found = cluster_vectors(vectors, keys, recordings, CONFIG)
    assert stability(vectors, keys, recordings, found, CONFIG) == (None,) * len(TYPE_SIZES)


@given(
    st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 4)), max_size=40),
)
def test_best_overlaps_are_those_of_sets(pairs):
    labels, others = np.array(pairs, np.int32).reshape(-1, 2).T
    for kind, found in enumerate(_best_overlaps(labels, others, 4).tolist()):
        members = set(np.flatnonzero(labels == kind).tolist())
        groups = [set(np.flatnonzero(others == one).tolist()) for one in range(5)]
        if not members:
            assert np.isnan(found)
        else:
            assert found == max(len(members & one) / len(members | one) for one in groups)


def test_types_of_equal_size_are_numbered_by_their_smallest_key():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0)
    keys = [f"{row:02d}" for row in reversed(range(30))]
    clusters = cluster_vectors(vectors, keys, ["a"] * 30, ClusterConfig())
    assert clusters.labels.tolist() == [2] * 10 + [1] * 10 + [0] * 10


def test_only_the_direction_of_the_leading_columns_counts():
    vectors, types = sounds_of_known_type()
    rows = keys_and_recordings(len(types))
    config = ClusterConfig(n_dimensions=16)
    lengths = np.random.default_rng(1).choice([0.25, 1, 8], size=(len(types), 1))
    changed = (vectors * lengths).astype(np.float32)
    changed[:, 16:] = 5
    assert np.array_equal(
        cluster_vectors(vectors, *rows, config).labels,
        cluster_vectors(changed, *rows, config).labels,
    )


def test_exemplars_are_central_members_of_different_recordings():
    vectors, types = sounds_of_known_type()
    keys, recordings = keys_and_recordings(len(types), n_recordings=4)
    config = ClusterConfig(n_exemplars=6)
    clusters = cluster_vectors(vectors, keys, recordings, config)
    for label, exemplars in enumerate(clusters.exemplars):
        members = np.flatnonzero(clusters.labels == label)
        directions = vectors[members, : config.n_dimensions]
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        centrality = dict(zip(members.tolist(), directions @ directions.mean(axis=0), strict=True))
        most_central = max(centrality, key=centrality.__getitem__)
        assert len(set(exemplars)) == 6
        assert exemplars[0] == most_central
        assert list(exemplars) == sorted(exemplars, key=lambda row: -centrality[row])
        assert len({recordings[row] for row in exemplars}) == 4


def split_of(vectors, config=CONFIG, order=None):
    """Split a type; give the part of each of its rows, whatever their order, and what is said."""
    keys, recordings = keys_and_recordings(len(vectors))
    order = np.arange(len(vectors)) if order is None else order
    parts = split_vectors(
        vectors[order], [keys[row] for row in order], [recordings[row] for row in order], config
    )
    return dict(zip(order.tolist(), parts.labels.tolist(), strict=False)), parts


@settings(deadline=None, max_examples=15)
@given(
    order=st.permutations(range(TYPE_SIZES[0] + TYPE_SIZES[2])),
    max_fit=st.sampled_from([60, 999]),
)
def test_two_types_that_are_one_fall_apart_in_any_order_of_rows(order, max_fit):
    vectors, types = sounds_of_known_type()
    both = (types == 0) | (types == 2)
    labels, parts = split_of(vectors[both], ClusterConfig(max_fit=max_fit), np.array(order))
    assert labels == dict(enumerate((types[both] == 2).astype(int).tolist()))
    assert (parts.n_parts, parts.strengths.min() > 0) == (2, True)
    assert parts.held > 0.9


def test_events_in_no_part_go_with_the_nearest():
    vectors, types = sounds_of_known_type()
    chosen = vectors[(types == 0) | (types == 1) | (types == NOISE)]
    labels, parts = split_of(chosen)
    rows = keys_and_recordings(len(chosen))
    dense = cluster_vectors(chosen, *rows, ClusterConfig(min_cluster_size=parts.smallest)).labels
    assert parts.held == np.mean(dense != NOISE) < 1
    directions = chosen[:, : CONFIG.n_dimensions]
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    nearest = np.where(dense == NOISE, -2, directions @ directions.T).argmax(axis=1)
    assert list(labels.values()) == dense[nearest].tolist()


def test_a_cloud_of_events_seldom_falls_apart():
    rng = np.random.default_rng(3)
    n_split = 0
    for n_events in (20, 60, 60, 120, 120, 300, 300, 300):
        cloud = rng.normal(size=16) * 4 + rng.normal(size=(n_events, 16)) * np.exp(
            -np.arange(16) / 4
        )
        labels, parts = split_of(cloud.astype(np.float32))
        n_split += bool(labels)
        assert parts.held < 0.8 or labels
        assert parts.smallest >= max(8, n_events / 20)
    assert n_split <= 1


def test_few_events_do_not_fall_apart():
    labels, parts = split_of(sounds_of_known_type()[0][:9])
    assert (labels, parts.n_parts, parts.held, parts.smallest) == ({}, 0, 0, 8)


def test_the_central_rows_of_a_type_are_its_exemplars():
    vectors, types = sounds_of_known_type()
    keys, recordings = keys_and_recordings(len(types))
    clusters = cluster_vectors(vectors, keys, recordings, CONFIG)
    for label, expected in enumerate(clusters.exemplars):
        rows = np.random.default_rng(0).permutation(np.flatnonzero(clusters.labels == label))
        chosen = central_rows(
            vectors[rows], [keys[row] for row in rows], [recordings[row] for row in rows], CONFIG
        )
        assert rows[chosen].tolist() == list(expected)


def test_above_max_fit_the_rest_take_the_type_of_their_nearest_neighbour():
    vectors, types = sounds_of_known_type()
    clusters = cluster_vectors(
        vectors, *keys_and_recordings(len(types)), ClusterConfig(max_fit=100)
    )
    grouped = types != NOISE
    assigned = clusters.labels[grouped] != NOISE
    assert clusters.n_fitted == 100
    assert np.array_equal(clusters.labels[grouped][assigned], types[grouped][assigned])
    assert assigned.mean() > 0.85
    assert np.mean(clusters.labels[~grouped] == NOISE) > 0.8
    assert "100 of 140 events" in clusters.note


@pytest.mark.parametrize("n_rows", [0, 1, 4])
def test_too_few_events_are_not_grouped(n_rows):
    vectors = np.eye(4, dtype=np.float32)[:n_rows]
    clusters = cluster_vectors(vectors, *keys_and_recordings(n_rows), ClusterConfig())
    assert clusters.labels.tolist() == [NOISE] * n_rows
    assert clusters.exemplars == clusters.sizes == ()
    assert "too few" in clusters.note


@pytest.mark.parametrize("max_fit", [30, 1000])
def test_identical_and_silent_vectors_are_harmless(max_fit):
    same = np.repeat(np.eye(2, 8, dtype=np.float32), 40, axis=0)
    vectors = np.vstack([same, np.zeros((40, 8), dtype=np.float32)])
    clusters = cluster_vectors(
        vectors,
        *keys_and_recordings(len(vectors)),
        ClusterConfig(max_fit=max_fit, min_cluster_size=5, min_samples=5),
    )
    assert clusters.sizes == (40, 40, 40)
    assert len({tuple(row) for row in clusters.labels.reshape(3, 40)}) == 3


@settings(deadline=None)
@given(
    n_in_recording=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    extra=st.integers(0, 60),
)
def test_sample_holds_every_recording_in_proportion(n_in_recording, extra):
    recordings = [str(i) for i, n_rows in enumerate(n_in_recording) for _ in range(n_rows)]
    keys = [f"{row}" for row in range(len(recordings))]
    n_rows = min(len(n_in_recording) + extra, len(keys))
    chosen = stratified_sample(keys, recordings, n_rows)
    assert len(set(chosen.tolist())) == n_rows
    share = n_rows / len(keys)
    for i, n_there in enumerate(n_in_recording):
        n_chosen = sum(recordings[row] == str(i) for row in chosen)
        assert n_chosen >= 1
        # Sure places for small recordings leave a little less for the others.
        assert n_chosen <= share * n_there + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors": np.zeros(3)}, "shape"),
        ({"keys": ["a", "b"]}, "one key and one recording"),
        ({"keys": ["a", "b", "a"]}, "'a' comes twice"),
        ({"vectors": np.array([[0.0], [np.nan], [1.0]])}, "'b' is not finite"),
    ],
)
def test_rows_that_cannot_be_grouped_are_refused(change, message):
    rows = {"vectors": np.zeros((3, 1)), "keys": ["a", "b", "c"], "recordings": ["r"] * 3}
    with pytest.raises(ValueError, match=message):
        cluster_vectors(**(rows | change), config=ClusterConfig())


@pytest.mark.parametrize(
    "setting",
    ["n_dimensions", "min_cluster_size", "min_samples", "max_fit", "n_exemplars"],
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=setting):
        ClusterConfig(**{setting: -1})


# --- Map -----------------------------------------------------------------------------------


def test_map_keeps_types_apart_and_each_key_in_its_place():
    vectors, types = sounds_of_known_type()
    keys, recordings = keys_and_recordings(len(types))
    first = project_vectors(vectors, keys, recordings, seed=3, max_fit=100)
    order = np.random.default_rng(5).permutation(len(types))
    second = project_vectors(
        vectors[order],
        [keys[row] for row in order],
        [recordings[row] for row in order],
        seed=3,
        max_fit=100,
    )
    assert first.xy[order].tobytes() == second.xy.tobytes()
    assert first.xy.dtype == np.float32
    assert first.n_fitted == 100

    grouped = np.flatnonzero(types != NOISE)
    distance = np.linalg.norm(first.xy[grouped, None] - first.xy[None, grouped], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = grouped[distance.argmin(axis=1)]
    assert np.mean(types[nearest] == types[grouped]) > 0.95


@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 15])
def test_small_maps_are_principal_components(n_rows):
    vectors = sounds_of_known_type()[0][:: 140 // 15][:n_rows]
    rows = keys_and_recordings(n_rows)
    projection = project_vectors(vectors, *rows, seed=0)
    assert projection.xy.shape == (n_rows, 2)
    if n_rows >= 3:
        centred = vectors - vectors.mean(axis=0)
        deviations = np.linalg.svd(centred, compute_uv=False)[:2]
        assert np.linalg.norm(projection.xy, axis=0) == pytest.approx(deviations, rel=1e-4)


# --- Page ----------------------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script>.wav"
N_BANDS = 32
BAND_HZ = np.geomspace(50, 16_000, N_BANDS)


def page_event(number, cluster, recording="a.wav", **changes):
    values = {
        "event_id": f"e{number}",
        "x": float(number % 100),
        "y": number / 100,
        "cluster": cluster,
        "strength": 0.5,
        "recording": recording,
        "start_s": 1.0,
        "stop_s": 1.5,
        "low_hz": 1000.0,
        "high_hz": 4000.0,
        "level_db": 12.0,
        "began_ms": 1_714_993_202_062 if number else None,
    }
    return PageEvent(**(values | changes))


def page_exemplar(number, recording="a.wav", audio=b"ID3 sound"):
    return PageExemplar(
        event_id=f"e{number}",
        recording=recording,
        start_s=0.75,
        stop_s=1.75,
        spectrogram=np.random.default_rng(number).normal(size=(100, N_BANDS)),
        audio=audio,
    )


def atlas_page(**changes):
    values = {
        "title": "Atlas",
        "summary": [("hours heard", "1.2")],
        "events": [page_event(0, 0), page_event(1, 0), page_event(2, NOISE)],
        "exemplars": {0: [page_exemplar(0), page_exemplar(1, audio=None)]},
        "band_hz": BAND_HZ,
    }
    return AtlasPage(**(values | changes))


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text outside scripts and styles."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, html):
        super().__init__()
        self.found, self.open, self.text, self.scripts = [], [], "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]

    def with_class(self, name):
        return [a for _, a in self.found if name in (a.get("class") or "").split()]


def written(tmp_path, page):
    path = tmp_path / "atlas.html"
    write_page(path, page)
    assert [entry.name for entry in tmp_path.iterdir()] == ["atlas.html"]
    return Elements(path.read_text(encoding="utf-8"))


def script_data(elements):
    return json.loads(elements.scripts[1])


def test_page_shows_types_exemplars_training_and_skipped_files(tmp_path):
    page = atlas_page(
        loss_curve=LossCurve(
            steps=[0, 10],
            loss=[1.0, float("nan")],
            loss_mean=[1.1, 1.1],
            loss_interpolation=[0.9, 0.9],
        ),
        reconstruction_png=spectrogram_png(np.zeros((4, 4))),
        skipped=[
            ("b.wav", "silent", "every sample is zero"),
            ("c.wav", "too short", "0.01 s"),
            ("d.wav", "too short", "0.02 s"),
        ],
        notes=["The map was fitted on a sample."],
    )
    elements = written(tmp_path, page)
    assert "2 events in 1 recording, median 0.50 s, 1.0–4.0 kHz" in elements.text
    assert "played at" not in elements.text
    assert "33% of the events shown" in elements.text
    assert "an acoustic grouping, not a meaning" in elements.text
    assert "2 too short" in elements.text
    assert "every sample is zero" in elements.text
    assert "The map was fitted on a sample." in elements.text
    assert script_data(elements)["curve"]["loss"] == [1.0, None]
    assert [card["id"] for card in elements.with_class("type")] == ["type-0", "not-grouped"]
    assert len(elements.named("audio")) == 1
    assert all(image["alt"] for image in elements.named("img"))


def test_sounds_that_are_slowed_down_say_so_and_are_written_in_milliseconds(tmp_path):
    slow = replace(page_exemplar(0), start_s=0.75, stop_s=0.85, audio_speed=0.1)
    event = page_event(0, 0, start_s=0.78, stop_s=0.785, low_hz=30_000.0, high_hz=80_000.0)
    bands = np.geomspace(5e3, 12e4, N_BANDS)
    page = atlas_page(events=[event], exemplars={0: [slow]}, band_hz=bands)
    elements = written(tmp_path, page)
    assert "1 event in 1 recording, median 5 ms, 30.0–80.0 kHz" in elements.text
    assert "0:00.750played at 1/10 speed" in elements.text
    assert "kHz5102050100050100 ms" in elements.text  # both axes
    (button,) = elements.with_class("picture")
    assert button["aria-label"] == "Play a.wav, 0:00.750 to 0:00.850, played at 1/10 speed"
    assert button["data-duration"] == "1.0000"  # of the sound


def test_sounds_that_are_speeded_up_say_so_and_are_written_in_hertz(tmp_path):
    fast = replace(page_exemplar(0), start_s=0.0, stop_s=8.0, audio_speed=10.0)
    event = page_event(0, 0, start_s=1.0, stop_s=6.0, low_hz=12.0, high_hz=80.0)
    bands = np.linspace(10, 990, N_BANDS)
    page = atlas_page(events=[event], exemplars={0: [fast]}, band_hz=bands)
    elements = written(tmp_path, page)
    assert "median 5.00 s, 12–80 Hz" in elements.text
    assert "played at 10× speed" in elements.text
    assert "Hz10200500" in elements.text
    assert "kHz" not in elements.text
    (button,) = elements.with_class("picture")
    assert button["data-duration"] == "0.8000"


def test_only_pictures_with_sound_are_buttons(tmp_path):
    elements = written(tmp_path, atlas_page())
    pictures = [
        (tag, a.get("aria-label")) for tag, a in elements.found if a.get("class") == "picture"
    ]
    assert pictures == [("button", "Play a.wav, 0:00.75 to 0:01.75"), ("div", None)]


def test_extent_of_the_event_lies_where_it_is_in_the_picture(tmp_path):
    elements = written(tmp_path, atlas_page(exemplars={0: [page_exemplar(0)]}))
    (extent,) = elements.with_class("extent")
    left, width, bottom, height = (float(v) for v in re.findall(r"([\d.]+)%", extent["style"]))
    assert (left, width) == (25, 50)
    bands = (np.searchsorted(BAND_HZ, [1000, 4000])) / N_BANDS * 100
    assert (bottom, bottom + height) == pytest.approx(tuple(bands), abs=100 / N_BANDS)


def test_page_asks_nothing_of_the_network(tmp_path):
    elements = written(tmp_path, atlas_page())
    for _, attributes in elements.found:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    (policy,) = [m["content"] for m in elements.named("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    # Plotly would show a button that uploads the events.
    assert "showSendToCloud: false" in elements.scripts[2]


def test_hostile_names_stay_text(tmp_path):
    page = atlas_page(
        title=HOSTILE,
        summary=[(HOSTILE, HOSTILE)],
        events=[page_event(0, 0, HOSTILE, event_id=f'"{HOSTILE}')],
        exemplars={0: [page_exemplar(0, HOSTILE)]},
        skipped=[(HOSTILE, HOSTILE, HOSTILE)],
        notes=[HOSTILE, "$title ${data}"],
        names={0: HOSTILE},
    )
    elements = written(tmp_path, page)
    assert len(elements.named("script")) == len(elements.scripts) == 3
    assert script_data(elements)["recordings"] == [HOSTILE]
    assert script_data(elements)["names"] == {"0": HOSTILE}
    assert script_data(elements)["events"]["event_id"] == [f'"{HOSTILE}']
    assert elements.text.count(HOSTILE) >= 7
    assert "$title ${data}" in elements.text


def test_names_that_are_not_text_can_be_written(tmp_path):
    name = b"caw\xff.wav".decode("utf-8", "surrogateescape")
    elements = written(tmp_path, atlas_page(skipped=[(name, "unreadable", "no sound file")]))
    assert "caw?.wav" in elements.text


def test_page_of_an_empty_archive(tmp_path):
    elements = written(tmp_path, atlas_page(events=[], exemplars={}))
    for words in ("No events were found", "No sound types were found", "None skipped"):
        assert words in elements.text
    assert "No training was recorded" in elements.text
    assert script_data(elements)["events"]["x"] == []


def test_page_of_many_events_is_the_same_each_time(tmp_path):
    n_types = 130
    page = atlas_page(
        events=[page_event(i, i % (n_types + 1) - 1, f"{i % 300}.wav") for i in range(20_000)],
        exemplars={i: [page_exemplar(i + 1)] for i in range(n_types)},
    )
    write_page(tmp_path / "one.html", page)
    write_page(tmp_path / "two.html", page)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert (tmp_path / "one.html").stat().st_size < 12_000_000


def test_pages_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="a column for each band"):
        atlas_page(band_hz=BAND_HZ[1:])
    with pytest.raises(ValueError, match="of one length"):
        LossCurve(steps=[1])


def test_only_types_that_have_events_are_shown_with_their_names(tmp_path):
    page = atlas_page(
        events=[page_event(0, 7), page_event(1, 2), page_event(2, NOISE)],
        exemplars={7: [page_exemplar(0)], NOISE: [page_exemplar(2)], 5: [page_exemplar(3)]},
        names={7: "low & double", 3: "another"},
    )
    elements = written(tmp_path, page)
    cards = [card["id"] for card in elements.with_class("type")]
    assert cards == ["type-2", "type-7", "not-grouped"]
    assert "Type 7: low & double1 event in" in elements.text
    assert "Type 21 event in" in elements.text
    assert len(elements.named("audio")) == 2  # those of type 7, and of none


def test_pictures_and_sounds_may_lie_beside_the_page(tmp_path):
    page = atlas_page()
    write_page(tmp_path / "index.html", page, sounds=tmp_path / "sounds")
    elements = Elements((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert [one["src"] for one in elements.named("audio")] == ["sounds/e0.mp3"]
    assert (tmp_path / "sounds" / "e0.mp3").read_bytes() == b"ID3 sound"
    pictures = [one["src"] for one in elements.named("img")]
    assert pictures == ["sounds/e0.png", "sounds/e1.png"]
    exemplar = page.exemplars[0][1]
    assert (tmp_path / pictures[1]).read_bytes() == spectrogram_png(exemplar.spectrogram)
    (policy,) = [m["content"] for m in elements.named("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_missing_folder_is_an_os_error_that_names_it(tmp_path):
    with pytest.raises(OSError, match="missing"):
        write_page(tmp_path / "missing" / "atlas.html", atlas_page())


def brightness(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"), dtype=float)


def test_spectrogram_has_time_to_the_right_and_frequency_upwards():
    log_power = np.full((30, 20), -10.0)
    log_power[25, 3] = 0
    pixels = brightness(spectrogram_png(log_power))
    assert pixels.shape == (20, 30, 4)
    row, column = np.unravel_index(pixels[..., :3].sum(axis=2).argmax(), (20, 30))
    assert (row, column) == (20 - 1 - 3, 25)
    assert np.all(pixels[..., 3] == 255)


def test_bands_that_do_not_exist_are_transparent():
    log_power = np.zeros((5, 4))
    log_power[:, 3] = np.nan
    alpha = brightness(spectrogram_png(log_power))[..., 3]
    assert np.array_equal(alpha[:, 0], [0, 255, 255, 255])
    assert np.all(brightness(spectrogram_png(np.full((5, 4), -np.inf)))[..., 3] == 0)


def test_near_silence_is_drawn_dark():
    noise = np.random.default_rng(0).normal(scale=0.1, size=(50, 40))
    assert brightness(spectrogram_png(noise))[..., :3].mean() < 20
