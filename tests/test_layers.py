"""Probes of layers: what was planted is found where it was planted, and the verdict can say no."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.preprocessing import StandardScaler

from oscine.config import ReadoutConfig
from oscine.embedding.intervals import FrameInterval
from oscine.evaluation.items import Item, group_items
from oscine.evaluation.layer_report import (
    FORMANT_AT_EQUAL_PITCH,
    FORMANT_COLUMN,
    PITCH_COLUMN,
    TIMBRE,
    _formant_at_equal_pitch,
    report_layers,
)
from oscine.evaluation.layers import (
    BALANCED_ACCURACY,
    N_FOLDS,
    PENALTIES,
    LayerProbe,
    LayerProbes,
    _components,
    _ridge_path,
    probe_layers,
    read_families,
    verdict,
)
from oscine.evaluation.splits import grouped_folds

N_GROUPS, N_EACH, N_VALUES = 40, 4, 12
GROUPS = np.repeat(np.arange(N_GROUPS), N_EACH)
N_ITEMS = len(GROUPS)
LAYERS = (0, 1, 2)


@pytest.fixture
def planted(rng):
    """Three layers of noise; each layer alone holds one target, and the last one the kind too."""
    features = rng.normal(size=(N_ITEMS, len(LAYERS), N_VALUES))
    targets = {}
    for layer in LAYERS:
        clean = features[:, layer] @ rng.normal(size=N_VALUES)
        targets[f"held by {layer}"] = clean + 0.3 * rng.normal(size=N_ITEMS)
    kinds = np.where(features[:, 2, 0] > 0.5, "a", np.where(features[:, 2, 1] > 0, "b", "c"))
    return features, targets, {"kind": kinds.tolist()}


def probed(features, targets, labels, groups=GROUPS, **settings):
    families = dict(zip(targets, ("spectral", "harmonic", "temporal"), strict=False))
    found = probe_layers(
        features, targets, labels, groups, families=families, layers=LAYERS, **settings
    )
    return found, {one.name: one for one in found.probes}


def test_what_was_planted_is_found_in_its_layer(planted):
    found, by_name = probed(*planted)
    assert found.problems == ()
    assert [one.family for one in found.probes] == ["spectral", "harmonic", "temporal", "label"]
    for layer in LAYERS:
        one = by_name[f"held by {layer}"]
        assert one.scores[layer] > 0.9
        assert max(np.delete(one.scores, layer)) < 0.1
        assert one.low[layer] <= one.scores[layer] <= one.high[layer]
        assert one.is_read
        assert np.all(one.permuted < 0.1)
        assert (one.n_items, one.n_groups) == (N_ITEMS, N_GROUPS)
    kind = by_name["kind"]
    assert (kind.measure, kind.chance) == (BALANCED_ACCURACY, pytest.approx(1 / 3))
    assert kind.scores[2] > 0.7 > 0.5 > max(kind.scores[:2])
    assert kind.is_read
    assert np.all(np.abs(kind.permuted - kind.chance) < 0.15)


def test_a_random_target_is_at_chance(rng):
    features = rng.normal(size=(N_ITEMS, len(LAYERS), N_VALUES))
    labels = {"coin": rng.choice(["heads", "tails"], N_ITEMS).tolist()}
    found, by_name = probed(features, {"random": rng.normal(size=N_ITEMS)}, labels)
    assert not by_name["random"].is_read
    assert not by_name["coin"].is_read
    assert "spectral: not read" in verdict(found)
    assert "harmonic: not asked" in verdict(found)


def test_what_is_learned_by_heart_of_a_group_does_not_score(rng):
    by_group = rng.normal(size=(N_GROUPS, len(LAYERS), N_VALUES))
    features = by_group[GROUPS] + 0.01 * rng.normal(size=(N_ITEMS, len(LAYERS), N_VALUES))
    target = {"of the group": rng.normal(size=N_GROUPS)[GROUPS]}
    _, grouped = probed(features, target, {})
    assert np.all(grouped["of the group"].scores < 0.1)
    assert not grouped["of the group"].is_read
    # With random splits the same target is read: the features do tell the groups apart.
    nonlinear = np.concatenate([features, np.sin(3 * features), np.cos(5 * features)], axis=2)
    _, random = probed(nonlinear, target, {}, groups=np.arange(N_ITEMS))
    assert random["of the group"].is_read


def test_the_ridge_is_that_of_scikit_learn(rng):
    train, test = rng.normal(size=(30, 7)), rng.normal(size=(5, 7))
    values, weights = rng.normal(size=(30, 2)), rng.choice([0, 1, 2.5], 30)
    share = weights / weights.sum()
    variance = np.trace(np.cov(train.T, aweights=share, bias=True)) / 7
    expected = [
        Ridge(alpha=penalty * variance).fit(train, values, share).predict(test)
        for penalty in PENALTIES
    ]
    np.testing.assert_allclose(_ridge_path(train, values, weights, test), expected)


@pytest.mark.parametrize("n_items", [20, 60])
def test_components_are_those_of_scikit_learn(rng, n_items):
    train, test = rng.normal(size=(n_items, 30)) * 3 + 1, rng.normal(size=(7, 30))
    scaler = StandardScaler().fit(train)
    pca = PCA(min(n_items - 1, 30)).fit(scaler.transform(train))
    ours = _components(train, test)
    theirs = pca.transform(scaler.transform(train)), pca.transform(scaler.transform(test))
    for mine, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.abs(mine[:, ::-1]), np.abs(their), atol=1e-8)


def test_the_score_is_that_of_scikit_learn_where_one_penalty_is_allowed(rng, monkeypatch):
    monkeypatch.setattr("oscine.evaluation.layers.PENALTIES", (0.1,))
    features = rng.normal(size=(N_ITEMS, 1, N_VALUES))
    number = features[:, 0, 0] + rng.normal(size=N_ITEMS)
    # In the order that the probes give to items; folds do not depend on it.
    folds = grouped_folds(["0"] * N_ITEMS, GROUPS, n_folds=N_FOLDS)
    predicted, means = np.empty(N_ITEMS), np.empty(N_ITEMS)
    for fold in range(N_FOLDS):
        held, rest = folds == fold, folds != fold
        scaler = StandardScaler().fit(features[rest, 0])
        x = scaler.transform(features[:, 0])
        ridge = Ridge(alpha=0.1 * rest.sum()).fit(x[rest], number[rest])
        predicted[held], means[held] = ridge.predict(x[held]), number[rest].mean()
    saved = np.square(number - predicted).sum() / np.square(number - means).sum()
    found = probe_layers(
        features, {"n": number}, {}, GROUPS, families={"n": "spectral"}, layers=(0,)
    )
    assert found.probes[0].scores[0] == pytest.approx(1 - saved)
    assert found.probes[0].scores[0] == pytest.approx(r2_score(number, predicted), abs=0.03)


def test_balanced_accuracy_is_that_of_scikit_learn():
    from oscine.evaluation.layers import _label, _score_parts, _scores

    rng = np.random.default_rng(1)
    said = rng.choice(["a", "b", "c"], N_ITEMS, p=[0.6, 0.3, 0.1])
    target = _label("x", said.tolist(), GROUPS)
    predicted = rng.normal(size=(N_ITEMS, 1, 3))
    parts = _score_parts(target, predicted, GROUPS % 5, GROUPS, N_GROUPS)
    expected = balanced_accuracy_score(
        said, np.array(list(dict.fromkeys(said)))[predicted[:, 0].argmax(1)]
    )
    assert _scores(*parts, np.ones((1, N_GROUPS)))[0, 0] == pytest.approx(expected)


def test_items_without_a_target_do_not_count(planted, rng):
    features, targets, labels = planted
    name = "held by 1"
    unknown = rng.random(N_ITEMS) < 0.4
    holed = np.where(unknown, np.nan, targets[name])
    _, by_name = probed(features, {name: holed}, {})
    assert by_name[name].n_items == (~unknown).sum()
    assert by_name[name].scores[1] > 0.9
    said = [None if gone else label for gone, label in zip(unknown, labels["kind"], strict=True)]
    _, some = probed(features, {}, {"kind": said})
    _, same = probed(
        features[~unknown], {}, {"kind": [one for one in said if one]}, GROUPS[~unknown]
    )
    np.testing.assert_array_equal(some["kind"].scores, same["kind"].scores)


def test_unknown_and_constant_features_count_as_average(planted):
    features, targets, _ = planted
    poor = np.concatenate([features, np.full_like(features, np.nan), np.ones_like(features)], 2)
    poor[::7, :, -1] = np.nan
    _, plain = probed(features, targets, {})
    _, padded = probed(poor, targets, {})
    for name, one in plain.items():
        np.testing.assert_allclose(padded[name].scores, one.scores)
    _, nothing = probed(np.ones_like(features), targets, {})
    np.testing.assert_allclose(nothing["held by 0"].scores, 0, atol=1e-12)
    assert not nothing["held by 0"].is_read


def test_neither_order_nor_names_matter(planted, rng):
    features, targets, labels = planted
    order = rng.permutation(N_ITEMS)
    renamed = {"kind": [{"a": "z", "b": "y", "c": "x"}[labels["kind"][n]] for n in order]}
    moved = {name: values[order] for name, values in targets.items()}
    _, one = probed(features, targets, labels)
    _, other = probed(features[order], moved, renamed, GROUPS[order])
    for name in one:
        for field in ("scores", "low", "high", "permuted"):
            np.testing.assert_allclose(
                getattr(one[name], field), getattr(other[name], field), atol=1e-9
            )


def test_the_same_seed_gives_the_same_bytes(planted):
    one, other = (probed(*planted, seed=3)[0] for _ in range(2))
    for mine, theirs in zip(one.probes, other.probes, strict=True):
        assert mine.draws.tobytes() == theirs.draws.tobytes()
        assert mine.permuted.tobytes() == theirs.permuted.tobytes()


def test_what_cannot_be_asked_is_said(planted):
    features, targets, labels = planted
    few = np.where(GROUPS < 5, targets["held by 0"], np.nan)
    alone = ["a" if group == 0 else "b" for group in GROUPS]
    found, _ = probed(features, {"few": few, "flat": np.ones(N_ITEMS)}, {"alone": alone, **labels})
    assert [one.name for one in found.probes] == ["kind"]
    assert found.problems == (
        "few: known in 5 groups only, and it takes 10 (of --group)",
        "flat: it is the same in all items",
        "alone: 1 labels occur in several groups: there must be two",
    )


def test_what_does_not_fit_together_is_refused(planted):
    features, targets, labels = planted
    with pytest.raises(ValueError, match="one number for each layer"):
        probe_layers(features, {}, {}, GROUPS, families={}, layers=(0, 1))
    with pytest.raises(ValueError, match="no family is given for held by 0"):
        probe_layers(features, targets, {}, GROUPS, families={}, layers=LAYERS)
    with pytest.raises(ValueError, match="kind has 3 values"):
        probed(features, {}, {"kind": labels["kind"][:3]})
    with pytest.raises(ValueError, match="all items are in one group"):
        probed(features, targets, {}, np.zeros(N_ITEMS, int))


def test_a_label_that_is_rare_does_not_put_chance_above_one_half(rng):
    features = rng.normal(size=(N_ITEMS, len(LAYERS), N_VALUES))
    said = ["rare" if number in (0, 50) else "common" for number in range(N_ITEMS)]
    _, by_name = probed(features, {}, {"rare": said})
    assert np.all(by_name["rare"].permuted <= 0.75)
    assert not by_name["rare"].is_read


# --- The verdict ---------------------------------------------------------------------------


def probe(family, scores, *, spread=0.01, chance=0.0, name=None, n_layers=5):
    """A probe whose scores vary by so much between resamples, each layer on its own."""
    rng = np.random.default_rng(0)
    scores = np.resize(np.array(scores, float), n_layers)
    draws = scores + spread * rng.normal(size=(400, n_layers))
    low, high = np.percentile(draws, (5, 95), axis=0)
    return LayerProbe(
        name=name or family,
        family=family,
        measure="R²",
        chance=chance,
        n_items=100,
        n_groups=50,
        scores=scores,
        low=low,
        high=high,
        permuted=np.full(n_layers, chance - 0.05),
        draws=draws,
    )


def probes(*some, layers=(0, 1, 2, 3, 4)):
    return LayerProbes(layers=layers, probes=some, problems=())


EARLY, MIDDLE, LATE = (
    [0.3, 0.8, 0.5, 0.4, 0.3],
    [0.2, 0.4, 0.7, 0.5, 0.3],
    [0.2, 0.3, 0.4, 0.5, 0.8],
)


def test_the_claim_holds():
    found = probes(probe("spectral", EARLY), probe("harmonic", MIDDLE), probe("label", LATE))
    words = verdict(found)
    assert 'call types" holds for this model.' in words
    assert "spectral: read best by layer 1 (early), 0.80 of the way" in words
    assert "ahead of layer 2, the best of the other thirds, by 0.30" in words


def test_the_claim_holds_in_part():
    found = probes(probe("spectral", EARLY), probe("harmonic", LATE), probe("label", EARLY))
    assert "holds in part for this model: early = spectral templates. " in verdict(found)


def test_the_claim_does_not_hold():
    found = probes(probe("spectral", LATE), probe("harmonic", EARLY), probe("label", MIDDLE))
    assert "does not hold" in verdict(found)


def test_a_lead_within_its_interval_is_none():
    flat = [0.5, 0.52, 0.5, 0.5, 0.5]
    found = probes(probe("spectral", flat, spread=0.1))
    assert read_families(found)["spectral"].third == "early"
    assert "does not hold" in verdict(found)
    assert "no difference" in verdict(found)


def test_a_family_at_chance_is_not_read():
    found = probes(probe("spectral", [0.0, 0.005, 0, 0, 0]), probe("harmonic", MIDDLE))
    words = verdict(found)
    assert "spectral: not read, no layer is better than chance." in words
    assert "label: not asked, as there are no labels." in words
    refused = replace(found, problems=("hum: too few", "call: in one group only"))
    assert "label: not asked, for hum: too few; call: in one group only." in verdict(refused)
    assert "holds in part for this model: middle = harmonic relations. " in words


def test_a_family_is_the_mean_of_what_is_read_and_counts_from_chance():
    found = probes(
        probe("label", [0.5, 0.5, 0.5, 0.5, 0.75], chance=0.5, name="species"),
        probe("label", [0, 0, 0, 0, 1], name="call type"),
        probe("label", [-3, -3, -3, -3, -3], name="nothing"),
        probe("timbre", LATE),
    )
    reading = read_families(found)["label"]
    assert reading.targets == ("species", "call type")
    np.testing.assert_allclose(reading.scores, [0, 0, 0, 0, 0.75])
    assert (reading.best, reading.third, reading.is_certain) == (4, "late", True)
    assert "timbre: read best by layer 4 (late)" in verdict(found)


@pytest.mark.parametrize(
    ("n_layers", "thirds"),
    [(3, "eml"), (4, "emml"), (5, "eemll"), (7, "eemmmll"), (13, "eeeemmmmmllll")],
)
def test_thirds(n_layers, thirds):
    found = []
    for best in range(n_layers):
        one = probe("spectral", np.eye(n_layers)[best], n_layers=n_layers)
        reading = read_families(probes(one, layers=tuple(range(n_layers))))["spectral"]
        assert reading.best == best
        found.append(reading.third[0])
    assert "".join(found) == thirds


def test_two_layers_have_no_middle():
    one = replace(probe("spectral", [0.9, 0.1], n_layers=2))
    assert "cannot be asked of 2 layers" in verdict(probes(one, layers=(0, 1)))


# --- The report: timbre --------------------------------------------------------------------

N_RECORDINGS, N_CALLS, CALL_FRAMES = 20, 4, 24
READOUT = ReadoutConfig(row_sharpness=1.0)


@pytest.fixture
def voices(rng):
    """Log factors of pitch and of formants that go along with it, one of each for a call."""
    pitch = rng.normal(0, 0.1, N_RECORDINGS * N_CALLS)
    return pitch, 0.7 * pitch + rng.normal(0, 0.05, len(pitch))


def calls(pitch, formant):
    """Calls, side by side in their recordings, and the table of what was said of them."""
    n_frames = N_CALLS * CALL_FRAMES
    items = []
    for number, (one, other) in enumerate(zip(np.exp(pitch), np.exp(formant), strict=True)):
        recording_number, place = divmod(number, N_CALLS)
        recording = tiny.recording(recording_number, n_frames, recording_number * n_frames)
        interval = FrameInterval(
            recording=recording,
            start_frame=place * CALL_FRAMES,
            stop_frame=(place + 1) * CALL_FRAMES,
        )
        labels = {
            "species": "crow" if number % 3 else "jay",
            PITCH_COLUMN: f"{one:.4f}",
            FORMANT_COLUMN: f"{other:.4f}",
        }
        items.append(Item(interval=interval, path=recording.path, labels=labels))
    return items


def said_otherwise(items, changes):
    return [replace(one, labels={**one.labels, **changes}) for one in items]


def reported(folder, items, audible):
    """Report on calls in which a number is audible as the level of the upper half of the bands."""
    pictures = [
        tiny.codes(N_CALLS * CALL_FRAMES, number).astype(float) for number in range(N_RECORDINGS)
    ]
    for number, level in enumerate(audible):
        recording_number, place = divmod(number, N_CALLS)
        call = pictures[recording_number][place * CALL_FRAMES : (place + 1) * CALL_FRAMES]
        call[:, tiny.PICTURE.n_mels // 2 :] += 300 * level
    tape = tiny.tape(folder, [np.rint(one).clip(0, 255).astype(np.uint8) for one in pictures])
    encoder = tiny.encoder(config=replace(tiny.MODEL, depth=2))
    report = report_layers(
        encoder, tape, READOUT, [], lambda _: None, items, group_items(items, []), ["species"]
    )
    return report, {one.name: one for one in report.scores}


def test_formants_at_equal_pitch_are_asked_for(voices, tmp_path):
    pitch, formant = voices
    report, by_name = reported(tmp_path, calls(pitch, formant), formant - 0.7 * pitch)
    timbre = by_name[FORMANT_AT_EQUAL_PITCH]
    assert (timbre.family, timbre.measure, timbre.chance) == (TIMBRE, "R²", 0)
    assert (timbre.n_items, timbre.n_groups) == (len(pitch), N_RECORDINGS)
    assert timbre.is_read
    assert max(timbre.scores) > 0.8
    assert by_name["species"].family == "label"
    assert "does not hold" in report.verdict
    assert "timbre: read best by layer" in report.verdict


def test_who_hears_pitch_alone_does_not_read_formants_at_equal_pitch(voices, tmp_path):
    pitch, formant = voices
    report, by_name = reported(tmp_path, calls(pitch, formant), pitch)
    assert not by_name[FORMANT_AT_EQUAL_PITCH].is_read
    assert "timbre: not read, no layer is better than chance." in report.verdict


def test_formants_at_equal_pitch_are_what_pitch_leaves(voices):
    pitch, formant = voices
    items = calls(pitch, formant)
    left = _formant_at_equal_pitch(items)
    assert np.corrcoef(left, pitch)[0, 1] == pytest.approx(0, abs=1e-3)
    slope, level = np.polyfit(pitch, formant, 1)
    np.testing.assert_allclose(left, formant - slope * pitch - level, atol=2e-4)
    # Where formants follow pitch to the digit there is nothing but rounding.
    same = [
        replace(one, labels={**one.labels, FORMANT_COLUMN: one.labels[PITCH_COLUMN]})
        for one in items
    ]
    assert not _formant_at_equal_pitch(same).any()
    # Where pitch never changes, all of the formants is left.
    level_pitch = said_otherwise(items, {PITCH_COLUMN: "1.1"})
    np.testing.assert_allclose(
        _formant_at_equal_pitch(level_pitch), formant - formant.mean(), atol=2e-4
    )


@pytest.mark.parametrize(
    "wrong", ["", "high", "nan", "inf", "0", "-1.2"], ids=lambda text: text or "empty"
)
def test_an_item_without_both_numbers_is_left_out(voices, wrong):
    pitch, formant = voices
    items = calls(pitch, formant)
    some = [*said_otherwise(items[:1], {PITCH_COLUMN: wrong}), *items[1:]]
    left = _formant_at_equal_pitch(some)
    assert np.isnan(left[0])
    np.testing.assert_array_equal(left[1:], _formant_at_equal_pitch(items[1:]))
    assert np.isnan(_formant_at_equal_pitch(said_otherwise(items, {FORMANT_COLUMN: wrong}))).all()


def test_of_timbre_nothing_is_said_where_no_item_has_the_numbers(voices, tmp_path):
    pitch, formant = voices
    items = calls(pitch, formant)
    absent = [replace(one, labels={"species": one.labels["species"]}) for one in items]
    words = said_otherwise(items, {PITCH_COLUMN: "high", FORMANT_COLUMN: "low"})
    spoken = {}
    for name, some in (("all", items), ("absent", absent), ("words", words)):
        spoken[name] = reported(tmp_path / name, some, formant)
        report, _ = spoken[name]
        assert (TIMBRE in {one.family for one in report.scores}) == (name == "all")
        assert (TIMBRE in report.verdict) == (name == "all")
        assert not any(FORMANT_AT_EQUAL_PITCH in one for one in report.problems)
    # What else is asked does not change with it.
    assert spoken["absent"][1]["species"] == spoken["all"][1]["species"]


def test_too_few_recordings_with_the_numbers_are_a_problem(voices, tmp_path):
    pitch, formant = voices
    items = calls(pitch, formant)
    few = 3 * N_CALLS
    some = [*items[:few], *said_otherwise(items[few:], {FORMANT_COLUMN: "unknown"})]
    report, by_name = reported(tmp_path, some, formant)
    assert list(by_name) == ["species"]
    assert (
        f"{FORMANT_AT_EQUAL_PITCH}: known in 3 groups only, and it takes 10 (of --group)"
        in report.problems
    )
