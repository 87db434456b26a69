"""Settings: ranges, TOML and back, overrides, fingerprints."""

import dataclasses
import tomllib
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oscine.config import (
    ActivityConfig,
    ClusterConfig,
    ModelConfig,
    OscineConfig,
    PictureConfig,
    ReadoutConfig,
    TrainingConfig,
    fingerprint,
    from_mapping,
    preset_names,
    read_config,
    to_mapping,
    to_toml,
    with_overrides,
    with_preset,
)
from oscine.model.checkpoint import RunConfig
from oscine.picture.mel import mel_filters

DEFAULT = OscineConfig()


@st.composite
def configs(draw):
    share = st.floats(0, 1)
    return OscineConfig(
        picture=PictureConfig(
            channels=draw(st.sampled_from(["mean", "first", "each"])),
            n_fft=4096,
            n_mels=draw(st.integers(64, 256)),
            low_hz=draw(st.floats(0, 1000)),
            power_floor=draw(st.floats(1e-20, 1)),
        ),
        training=TrainingConfig(
            mask_ratio=draw(st.floats(0.3, 0.8)),
            active_share=draw(share),
            seed=draw(st.integers(0, 2**32 - 1)),
        ),
        readout=ReadoutConfig(
            layers=tuple(draw(st.lists(st.integers(-9, 9), min_size=1, max_size=4)))
        ),
    )


@given(configs())
def test_toml_gives_the_same_values_back(tmp_path_factory, config):
    file = tmp_path_factory.mktemp("config") / "oscine.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    assert read_config(file, OscineConfig) == config


def test_what_a_file_leaves_out_keeps_its_default(tmp_path):
    file = tmp_path / "oscine.toml"
    file.write_text("[model]\ndepth = 2\n")
    assert read_config(file, OscineConfig) == OscineConfig(model=ModelConfig(depth=2))
    file.write_text("")
    assert read_config(file, OscineConfig) == DEFAULT


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"[model\n", "not valid TOML"),
        (b"\xff\xfe = 1", "not valid TOML"),
        (b"[model]\ndept = 2", "did you mean model.depth"),
        (b"[model]\ndepth = 'two'", "model.depth must be of type int"),
        (b"[model]\ndepth = 0", "depths and patch sizes"),
    ],
)
def test_a_bad_file_is_named_with_the_fault(tmp_path, content, complaint):
    file = tmp_path / "oscine.toml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as caught:
        read_config(file, OscineConfig)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"modle": {}}, "no setting modle; did you mean model"),
        ({"model": {"dept": 2}}, "no setting model.dept; did you mean model.depth"),
        ({"xyz": 1}, "no setting xyz; known: picture, activity, model"),
        ({"model": 3}, "model is a section"),
        ({"model": {"depth": "six"}}, "model.depth must be of type int, not 'six'"),
        ({"model": {"depth": 6.5}}, "model.depth must be of type int, not 6.5"),
        ({"model": {"depth": True}}, "model.depth must be of type int, not True"),
        ({"model": {"mlp_ratio": "4"}}, "model.mlp_ratio must be of type float"),
        ({"model": {"mlp_ratio": False}}, "model.mlp_ratio must be of type float"),
        ({"training": {"learning_rate": float("nan")}}, "learning_rate must be a finite number"),
        ({"training": {"steps": float("inf")}}, "training.steps must be a finite number"),
        ({"training": {"target": "Raw"}}, "training.target must be one of damped, raw"),
        ({"readout": {"layers": 3}}, "readout.layers must be a list"),
        ({"readout": {"layers": [1, "x"]}}, "readout.layers must be of type int"),
    ],
)
def test_what_does_not_fit_is_refused(values, complaint):
    with pytest.raises(ValueError, match=complaint):
        from_mapping(OscineConfig, values)


def test_whole_numbers_fit_floats_and_the_other_way_round():
    model = from_mapping(ModelConfig, {"mlp_ratio": 3, "depth": 2.0})
    assert (model.mlp_ratio, model.depth) == (3.0, 2)
    assert (type(model.mlp_ratio), type(model.depth)) == (float, int)


def test_a_section_without_defaults_must_be_there():
    values = to_mapping(
        RunConfig(picture=PictureConfig(), model=ModelConfig(), training=TrainingConfig())
    )
    assert from_mapping(RunConfig, values).model == ModelConfig()
    del values["model"]
    with pytest.raises(ValueError, match="model is missing"):
        from_mapping(RunConfig, values)


@pytest.mark.parametrize(
    ("section", "values", "complaint"),
    [
        (PictureConfig, {"n_fft": 1023}, "n_fft"),
        (PictureConfig, {"n_fft": 160}, "n_fft"),
        (PictureConfig, {"hop_samples": 0}, "hop_samples"),
        (PictureConfig, {"high_hz": 16_001.0}, "bands must lie within 0 to 16000 Hz"),
        (PictureConfig, {"low_hz": 16_000.0}, "bands must lie"),
        (PictureConfig, {"low_hz": -1.0}, "bands must lie"),
        (PictureConfig, {"power_floor": 0.0}, "power_floor"),
        (PictureConfig, {"n_mels": 0}, "n_mels"),
        (PictureConfig, {"window_frames": 0}, "window_frames"),
        (PictureConfig, {"min_duration_s": -0.1}, "min_duration_s"),
        (ActivityConfig, {"floor_percentile": 0.0}, "floor_percentile"),
        (ActivityConfig, {"off_db": 11.0}, "off_db"),
        (ActivityConfig, {"valley_db": 0.0}, "valley_db"),
        (ActivityConfig, {"min_duration_s": 5.0}, "min_duration_s"),
        (ModelConfig, {"heads": 5}, "width"),
        (ModelConfig, {"heads": 0}, "width"),
        (ModelConfig, {"decoder_width": 6}, "decoder_width"),
        (ModelConfig, {"depth": 0}, "depths"),
        (TrainingConfig, {"mask_ratio": 0.29}, "mask_ratio must lie in 0.3 to 0.8"),
        (TrainingConfig, {"mask_ratio": 0.81}, "mask_ratio must lie in 0.3 to 0.8"),
        (TrainingConfig, {"active_share": 1.1}, "active_share"),
        (TrainingConfig, {"steps": -1}, "steps"),
        (TrainingConfig, {"minutes": 0.0}, "minutes"),
        (ReadoutConfig, {"time_grids": 0}, "time_grids"),
        (ReadoutConfig, {"dimensions": -1}, "dimensions"),
        (ReadoutConfig, {"block_dimensions": 0}, "block_dimensions"),
        (ClusterConfig, {"min_samples": 0}, "min_samples"),
        (ClusterConfig, {"min_cluster_size": 1}, "min_cluster_size"),
    ],
)
def test_values_out_of_range_are_refused(section, values, complaint):
    with pytest.raises(ValueError, match=complaint):
        section(**values)


# Overrides


def test_overrides():
    overrides = [
        "model.depth=2",
        "training.target=raw",
        "readout.layers=[0, -1]",
        "activity.on_db = 8",
    ]
    changed = with_overrides(DEFAULT, overrides)
    assert changed == OscineConfig(
        model=ModelConfig(depth=2),
        training=TrainingConfig(target="raw"),
        readout=ReadoutConfig(layers=(0, -1)),
        activity=ActivityConfig(on_db=8.0),
    )
    assert OscineConfig() == DEFAULT


def test_the_last_override_counts_and_none_changes_nothing():
    assert with_overrides(DEFAULT, ["model.depth=2", "model.depth=3"]).model.depth == 3
    assert with_overrides(DEFAULT, []) == DEFAULT


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("model.depth", "sets nothing"),
        ("model.dept=2", "did you mean model.depth"),
        ("model.depth.x=2", "'depth' is a value"),
        ("model=2", "model is a section"),
        ("training.mask_ratio=0.9", "mask_ratio must lie in"),
    ],
)
def test_a_bad_override_is_refused(override, complaint):
    with pytest.raises(ValueError, match=complaint):
        with_overrides(DEFAULT, [override])


# Fingerprints


def test_the_fingerprint_is_the_same_everywhere():
    assert fingerprint([1, 2.5, "ü"], {"b": None, "a": True}) == "a410a8a19ecaf9dc"


def test_the_fingerprint_ignores_the_order_of_keys_alone():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(1, 2) != fingerprint(2, 1)
    assert fingerprint("1") != fingerprint(1)


def test_the_fingerprint_of_a_config_is_that_of_its_values():
    assert fingerprint(ModelConfig(depth=2)) == fingerprint(replace(ModelConfig(), depth=2))
    assert fingerprint(ModelConfig()) == fingerprint(to_mapping(ModelConfig()))


@pytest.mark.parametrize("section", [field.name for field in dataclasses.fields(OscineConfig)])
def test_every_setting_shows_in_the_fingerprint(section):
    seen = {fingerprint(DEFAULT)}
    names = [field.name for field in dataclasses.fields(getattr(DEFAULT, section))]
    for name in names:
        changed = replace(getattr(DEFAULT, section))
        object.__setattr__(changed, name, "another value")
        whole = replace(DEFAULT)
        object.__setattr__(whole, section, changed)
        seen.add(fingerprint(whole))
    assert len(seen) == 1 + len(names)


PRESETS = {"picture": ["bat", "bird", "low", "wide"], "training": ["base", "small", "tiny"]}
SECTIONS = {"picture": ("picture", "activity"), "training": ("model", "training")}
PRESET = [(name, kind) for kind, names in PRESETS.items() for name in names]


@pytest.mark.parametrize(("name", "kind"), PRESET)
def test_a_preset_sets_all_of_its_two_sections_but_the_seed_and_nothing_else(name, kind):
    assert preset_names(kind) == PRESETS[kind]
    file = files("oscine") / "presets" / kind / f"{name}.toml"
    values = tomllib.loads(file.read_text(encoding="utf-8"))
    assert tuple(values) == SECTIONS[kind]
    before = with_overrides(DEFAULT, ["training.seed=5", "cluster.min_samples=3"])
    config = with_preset(before, name, kind)
    for section in SECTIONS[kind]:
        settings = to_mapping(getattr(config, section))
        known = {key: value for key, value in settings.items() if key != "seed"}
        assert values[section] == known, f"write all of [{section}] into {name}.toml"
    assert config.training.seed == 5
    untouched = {one: getattr(before, one) for one in to_mapping(before) if one not in values}
    assert {one: getattr(config, one) for one in untouched} == untouched


@pytest.mark.parametrize(("name", "kind"), [("bird", "picture"), ("tiny", "training")])
def test_two_presets_are_the_defaults_written_out(name, kind):
    config = with_preset(DEFAULT, name, kind)
    for section in SECTIONS[kind]:
        assert getattr(config, section) == getattr(DEFAULT, section), (
            f"the defaults of [{section}] were changed in config.py: write the same into "
            f"presets/{kind}/{name}.toml, and the counts in its comments anew (tests/test_plan.py)"
        )


@pytest.mark.parametrize("name", PRESETS["picture"])
def test_a_preset_scales_with_its_frames(name):
    config = with_preset(DEFAULT, name, "picture")
    picture, activity = config.picture, config.activity
    assert picture.high_hz <= picture.sample_rate_hz / 2
    assert picture.min_duration_s * picture.frames_per_s == pytest.approx(16)
    assert activity.min_duration_s * picture.frames_per_s == pytest.approx(4)
    assert activity.min_gap_s * picture.frames_per_s == pytest.approx(8)
    assert activity.max_duration_s * picture.frames_per_s == pytest.approx(400)
    assert activity.floor_window_s * picture.frames_per_s == pytest.approx(3000)


def test_a_preset_of_ones_own_changes_what_it_names(tmp_path):
    file = tmp_path / "frogs.toml"
    file.write_text("[picture]\nlow_hz = 200\n[model]\ndepth = 6\n")
    before = with_overrides(DEFAULT, ["model.width=64", "picture.power_floor=1e-9"])
    config = with_preset(before, str(file), "picture")
    assert config == with_overrides(before, ["picture.low_hz=200.0", "model.depth=6"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[picture]\nlow_herz = 200\n", "did you mean picture.low_hz"),
        ("[pictures]\n", "did you mean picture"),
        ("picture = 1\n", "picture is a section"),
        ("[picture]\nhigh_hz = 99_000\n", "bands must lie within"),
        ("[picture\n", "not valid TOML"),
    ],
)
def test_a_preset_of_ones_own_is_read_strictly(tmp_path, text, words):
    file = tmp_path / "frogs.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=words) as raised:
        with_preset(DEFAULT, str(file), "picture")
    assert "frogs.toml" in str(raised.value)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'bats'.*known are bat, bird, low, wide"):
        with_preset(DEFAULT, "bats", "picture")


@pytest.mark.parametrize(("name", "kind"), PRESET)
def test_a_preset_of_the_other_kind_is_refused_with_the_place_for_it(name, kind):
    other, where = {
        "picture": ("training", "`oscine index`"),
        "training": ("picture", "`oscine pretrain --preset`"),
    }[kind]
    with pytest.raises(ValueError, match=f"'{name}' sets .*{where}.*: {', '.join(PRESETS[other])}"):
        with_preset(DEFAULT, name, other)


@given(
    rate_hz=st.sampled_from([2_000, 8_000, 32_000, 96_000, 256_000]),
    n_fft=st.sampled_from([64, 128, 512, 1024]),
    n_mels=st.integers(1, 200),
    low_share=st.floats(0, 0.4),
    high_share=st.floats(0.5, 1),
)
def test_a_picture_with_an_empty_band_is_refused(rate_hz, n_fft, n_mels, low_share, high_share):
    values = {
        "sample_rate_hz": rate_hz,
        "n_fft": n_fft,
        "hop_samples": n_fft,
        "n_mels": n_mels,
        "low_hz": low_share * rate_hz / 2,
        "high_hz": high_share * rate_hz / 2,
    }
    picture = replace(DEFAULT.picture)
    for name, value in values.items():
        object.__setattr__(picture, name, value)
    smallest = mel_filters(picture).max(axis=0).min()
    if smallest > 1e-9:
        assert PictureConfig(**values) == picture
    elif smallest == 0:
        with pytest.raises(ValueError, match="would be empty"):
            PictureConfig(**values)


def test_patches_leave_a_row_to_recordings_that_are_heard():
    with pytest.raises(ValueError, match=r"a quarter of picture\.n_mels"):
        OscineConfig(picture=PictureConfig(n_mels=32))
