"""What can be set, in one place: frozen dataclasses, and their way to TOML and back.

In comes a TOML file or a few dotted overrides (``model.depth=6``); out go frozen values and a
fingerprint. Every room takes its own section; :mod:`oscine.steps` reads and writes the whole.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tomli_w

T = TypeVar("T")

PresetKind = Literal["picture", "training"]

_PRESETS = files("oscine") / "presets"
"""A folder a kind."""
_CHOSEN: dict[PresetKind, str] = {
    "picture": "what is listened for (`--preset` of `oscine index` and `oscine learn`)",
    "training": "how large the model is and how long it learns (`oscine pretrain --preset`, "
    "`oscine learn --size`)",
}


class WrongArgument(ValueError):
    """What was asked for cannot be meant; the message says what can.

    Parameters
    ----------
    problem : str
    option : str
        Of the command line, in front of the problem; who asks otherwise is told the problem alone.
    """

    def __init__(self, problem: str, option: str = "") -> None:
        super().__init__(f"{option} {problem}" if option else problem)
        self.problem = problem
        self.option = option


class NotThere(WrongArgument, FileNotFoundError):
    """What was named is not there."""


def mel_edges_hz(low_hz: float, high_hz: float, n_bands: int) -> list[float]:
    """Return the edges of `n_bands` triangular bands, evenly spaced on the HTK mel scale.

    Band f rises from edge f to edge f + 1 and falls to edge f + 2.

    Parameters
    ----------
    low_hz, high_hz : float
        Lower edge of the lowest band, upper edge of the highest.
    n_bands : int

    Returns
    -------
    list of n_bands + 2 float
    """
    low, high = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (low_hz, high_hz))
    step = (high - low) / (n_bands + 1)
    mels = [*(low + step * edge for edge in range(n_bands + 1)), high]
    return [700.0 * (10.0 ** (mel / 2595.0) - 1.0) for mel in mels]


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureConfig:
    """How a waveform becomes a log-mel picture. The defaults are those of the tape."""

    sample_rate_hz: int = 32_000
    """Rate to which every recording is resampled."""
    channels: Literal["mean", "first", "each"] = "mean"
    """Of files with several: their mean, the first alone, or each as a recording of its own."""
    n_fft: int = 1024
    """Samples that a frame looks at: more of them part pitches better, and blur in time."""
    hop_samples: int = 320
    """Samples from one frame to the next."""
    n_mels: int = 128
    """Mel bands."""
    low_hz: float = 50.0
    """Lower edge of the lowest band."""
    high_hz: float = 16_000.0
    """Upper edge of the highest band."""
    power_floor: float = 1e-10
    """Added to the power before the logarithm: one constant for every clip, everywhere."""
    min_duration_s: float = 0.16
    """Shorter recordings are 'too short': they do not fill one patch of 16 frames."""
    window_frames: int = 256
    """Length of the fixed windows that are learned from and embedded."""

    def __post_init__(self) -> None:
        if self.n_fft < self.hop_samples or (self.n_fft - self.hop_samples) % 2:
            raise ValueError(
                f"n_fft ({self.n_fft}) must be at least hop_samples ({self.hop_samples}) and "
                "differ from it by an even number, so that frames centre on whole samples"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"bands must lie within 0 to {self.sample_rate_hz / 2:g} Hz, "
                f"not {self.low_hz:g} to {self.high_hz:g} Hz"
            )
        if min(self.hop_samples, self.n_mels, self.window_frames) < 1 or self.power_floor <= 0:
            raise ValueError("hop_samples, n_mels, window_frames and power_floor must be positive")
        if self.min_duration_s < 0:
            raise ValueError(f"min_duration_s must not be negative, not {self.min_duration_s}")
        self._check_bands()

    @property
    def frames_per_s(self) -> float:
        """Frames in a second."""
        return self.sample_rate_hz / self.hop_samples

    @property
    def band_hz(self) -> list[float]:
        """Centre of each band, ascending."""
        return mel_edges_hz(self.low_hz, self.high_hz, self.n_mels)[1:-1]

    def _check_bands(self) -> None:
        """Refuse bands so narrow that no frequency of the transform lies inside."""
        bin_hz = self.sample_rate_hz / self.n_fft
        edges = [edge / bin_hz for edge in mel_edges_hz(self.low_hz, self.high_hz, self.n_mels)]
        for band, (low, high) in enumerate(zip(edges, edges[2:], strict=False)):
            if math.floor(low) + 1 >= high:
                raise ValueError(
                    f"band {band} ({low * bin_hz:.0f} to {high * bin_hz:.0f} Hz) would be empty: "
                    f"n_fft={self.n_fft} at {self.sample_rate_hz} Hz looks every {bin_hz:.1f} Hz. "
                    "Give a larger n_fft, fewer n_mels, or a higher low_hz"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivityConfig:
    """When something stands out of the background. Levels are above the floor of each band."""

    floor_percentile: float = 20.0
    """Percentile of the levels of a band around an instant that counts as its background."""
    floor_window_s: float = 30.0
    """How long that "around" is."""
    on_db: float = 10.0
    """How far the loudest instant of an event stands above the background, at least."""
    off_db: float = 5.0
    """An event lasts while it stands so far above the background."""
    valley_db: float = 6.0
    """A fall that parts two events."""
    drop_db: float = 15.0
    """An event ends where it has fallen so far from its loudest instant: before its echo does."""
    min_gap_s: float = 0.08
    """Shorter gaps are bridged: syllables of one call."""
    min_duration_s: float = 0.04
    """Shorter events are left out."""
    max_duration_s: float = 4.0
    """Longer events are cut where they are quietest."""

    def __post_init__(self) -> None:
        if not 0 < self.floor_percentile < 100:
            raise ValueError(f"floor_percentile must lie in 0 to 100, not {self.floor_percentile}")
        if not 0 < self.off_db <= self.on_db:
            raise ValueError(
                f"off_db ({self.off_db}) must be positive and at most on_db ({self.on_db})"
            )
        if min(self.valley_db, self.drop_db) <= 0:
            raise ValueError("valley_db and drop_db must be positive")
        if self.min_duration_s > self.max_duration_s:
            raise ValueError("min_duration_s must not exceed max_duration_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Sizes of the masked autoencoder."""

    patch_frames: int = 16
    """Frames of a patch, the smallest piece that is hidden or seen."""
    patch_bands: int = 16
    """Mel bands of a patch."""
    width: int = 128
    """Values that describe a patch in the encoder, which is what is kept."""
    depth: int = 4
    """Blocks of the encoder: its layers."""
    heads: int = 4
    """Attention heads of a block; they divide the width."""
    decoder_width: int = 64
    """The same of the decoder, which draws what is hidden and is thrown away."""
    decoder_depth: int = 1
    """Blocks of the decoder."""
    decoder_heads: int = 2
    """Attention heads of the decoder."""
    mlp_ratio: float = 4.0
    """Hidden values of the network in a block, per value of the width."""

    def __post_init__(self) -> None:
        for name, width, heads in (
            ("width", self.width, self.heads),
            ("decoder_width", self.decoder_width, self.decoder_heads),
        ):
            if heads < 1 or width < 1 or width % heads or width % 4:
                raise ValueError(f"{name} ({width}) must divide by its heads ({heads}) and by 4")
        if min(self.depth, self.decoder_depth, self.patch_frames, self.patch_bands) < 1:
            raise ValueError("depths and patch sizes must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """One run of masked reconstruction."""

    batch_size: int = 16
    """Windows a step, over all processes."""
    micro_batch: int = 0
    """Windows that a process takes at once; its share of a batch is learned from in parts of so
    many where memory is short. 0: all of it."""
    steps: int = 0
    """0: as many as fit into ``minutes``, settled once by a short trial."""
    minutes: float = 8.0
    """How long the run takes; not counted where steps are given."""
    mask_ratio: float = 0.75
    """Share of the patches that are hidden."""
    mask_block_share: float = 0.5
    """Share of the samples whose masks are made of 2 x 2 blocks; the others' are random."""
    target: Literal["damped", "raw"] = "damped"
    """What is drawn of a hidden patch: its values less their mean over their deviation, which is
    damped so that silence stays silence; or the values as they are."""
    target_damping: float = 0.1
    """Deviation, in corpus deviations, below which a patch's own deviation stops counting."""
    active_share: float = 0.7
    """Share of the windows that are drawn around events; the others lie anywhere."""
    gain_db: float = 6.0
    """Windows are made louder or quieter by so much at most."""
    learning_rate: float = 1.5e-3
    """At its highest, after the warm-up; from there it falls along a cosine."""
    weight_decay: float = 0.05
    """How strongly weights are drawn to zero."""
    warmup_share: float = 0.05
    """Share of the steps in which the learning rate rises."""
    gradient_clip: float = 1.0
    """Longer gradients are cut to this length."""
    checkpoint_every: int = 200
    """Steps from one checkpoint to the next."""
    compile: bool = False
    """Let torch compile the model first: a minute or more, and a C++ compiler on processors."""
    seed: int = 0
    """Of weights, windows and masks."""

    def __post_init__(self) -> None:
        if not 0.3 <= self.mask_ratio <= 0.8:
            raise ValueError(f"mask_ratio must lie in 0.3 to 0.8, not {self.mask_ratio}")
        for name in ("mask_block_share", "active_share", "warmup_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0 to 1, not {getattr(self, name)}")
        if self.steps < 0 or self.batch_size < 1 or self.checkpoint_every < 1:
            raise ValueError("steps must not be negative; batch_size and checkpoint_every positive")
        if self.micro_batch < 0:
            raise ValueError(f"micro_batch must not be negative, not {self.micro_batch}")
        if self.steps == 0 and self.minutes <= 0:
            raise ValueError("give a positive number of steps or of minutes")
        _check_seed(self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadoutConfig:
    """How the layers of the frozen encoder become one vector.

    What is left open (no layers, 0 dimensions, a negative row sharpness or shrinkage) is chosen on
    the archive, without labels, when it is embedded.
    """

    layers: tuple[int, ...] = ()
    """Blocks to read, 1 the first, -1 the last; 0 is the embedded patches. None: chosen."""
    time_grids: int = 2
    """Patch grids in time, each shifted by so small a part of a patch, that are pooled together."""
    activity_sharpness: float = 4.0
    """Exponent per corpus deviation of a frame's level above its clip's floor."""
    row_sharpness: float = -1.0
    """Exponent per corpus deviation by which a frequency row lies below the liveliest one.
    Negative: chosen."""
    block_dimensions: int = 48
    """Kept of each layer and frequency row in the first of the two PCAs."""
    dimensions: int = 0
    """Length of the vectors. 0: chosen."""
    shrinkage: float = -1.0
    """Added to each eigenvalue before whitening, in units of the mean eigenvalue kept. Negative:
    chosen."""
    max_fit: int = 20_000
    """Most intervals that it is fitted on."""
    seed: int = 0
    """Of what is drawn by chance."""

    def __post_init__(self) -> None:
        if min(self.dimensions, self.activity_sharpness) < 0:
            raise ValueError("dimensions and activity_sharpness must not be negative")
        if self.block_dimensions < 1 or self.max_fit < 2:
            raise ValueError("block_dimensions must be positive and max_fit at least 2")
        if self.time_grids < 1:
            raise ValueError("time_grids must be at least 1")
        _check_seed(self.seed)

    @property
    def is_settled(self) -> bool:
        """Tell whether nothing is left open."""
        is_open = not self.layers or self.dimensions == 0
        return not is_open and min(self.row_sharpness, self.shrinkage) >= 0

    def settled(
        self, layers: tuple[int, ...], row_sharpness: float, dimensions: int, shrinkage: float
    ) -> ReadoutConfig:
        """Return this with what was left open filled in; what was given stays."""
        return replace(
            self,
            layers=self.layers or layers,
            row_sharpness=row_sharpness if self.row_sharpness < 0 else self.row_sharpness,
            dimensions=self.dimensions or dimensions,
            shrinkage=shrinkage if self.shrinkage < 0 else self.shrinkage,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """How vectors become sound types, and the map."""

    n_dimensions: int = 16
    """Leading columns of the vectors that are kept, scaled to unit length again: otherwise the
    events that these columns describe badly gather near the origin and pass for a dense type."""
    min_cluster_size: int = 0
    """Fewest fitted events that make a sound type; 0 takes a quarter of the square root of their
    number, and at least 8."""
    min_samples: int = 2
    """Neighbours that decide how dense the surroundings of an event are."""
    max_fit: int = 50_000
    """Most events that density and map are fitted on."""
    n_exemplars: int = 6
    """Typical events that are shown of each sound type."""
    seed: int = 0
    """Of the map, and of the recordings without which stability is looked at; the sound types need
    none."""

    def __post_init__(self) -> None:
        if min(self.n_dimensions, self.min_samples, self.n_exemplars) < 1 or self.max_fit < 2:
            raise ValueError(
                "n_dimensions, min_samples and n_exemplars must be positive, max_fit at least 2"
            )
        if self.min_cluster_size != 0 and self.min_cluster_size < 2:
            raise ValueError(f"min_cluster_size must be at least 2, not {self.min_cluster_size}")
        _check_seed(self.seed)

    def smallest_cluster(self, n_fitted: int) -> int:
        """Return the fewest events that make a sound type when `n_fitted` events are fitted."""
        return self.min_cluster_size or max(8, round(math.sqrt(n_fitted) / 4))


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockConfig:
    """What the files do not say of when and where they were recorded."""

    timezone: str = ""
    """Of the clocks where the recorders stood: an IANA name such as Europe/London, or UTC+2. Used
    for recorders that state none, and to tell the hour of the day there."""
    site_from: str = ""
    """Where the path of a file says its site, such as {site}/*/*.wav."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OscineConfig:
    """Everything that can be set."""

    picture: PictureConfig = field(default_factory=PictureConfig)
    activity: ActivityConfig = field(default_factory=ActivityConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    clock: ClockConfig = field(default_factory=ClockConfig)

    def __post_init__(self) -> None:
        # Recordings of which a quarter of the bands is valid are heard: each must have a token.
        if 4 * self.model.patch_bands > self.picture.n_mels:
            raise ValueError(
                f"model.patch_bands ({self.model.patch_bands}) must be at most a quarter of "
                f"picture.n_mels ({self.picture.n_mels})"
            )


def preset_names(kind: PresetKind) -> list[str]:
    """Return the names of the presets of a kind that come with Oscine, in alphabetical order."""
    return sorted(one.name.removesuffix(".toml") for one in (_PRESETS / kind).iterdir())


def with_preset(config: OscineConfig, preset: str, kind: PresetKind) -> OscineConfig:
    """Return a configuration with what a preset sets; what it leaves out stays.

    Parameters
    ----------
    config : OscineConfig
    preset : str
        One of :func:`preset_names`, or the path of a TOML file, which may set any section.
    kind : {"picture", "training"}
        What is chosen here: what is listened for (the presets set ``[picture]`` and
        ``[activity]``), or how large the model is and how long it learns (``[model]`` and
        ``[training]``).

    Raises
    ------
    ValueError
        There is no such preset of that kind, or the file is none: as for :func:`read_config`.
    """
    known = preset_names(kind)
    file = Path(preset)
    if preset in known:
        text = (_PRESETS / kind / f"{preset}.toml").read_text(encoding="utf-8")
        values = tomllib.loads(text)
    elif file.is_file():
        values = _read_toml(file)
    else:
        for other, sets in _CHOSEN.items():
            if preset in preset_names(other):
                raise ValueError(
                    f"{preset!r} sets {sets}; what is chosen here is {_CHOSEN[kind]}: "
                    f"{', '.join(known)}"
                )
        raise ValueError(
            f"there is no preset {preset!r}, and no such file: known are {', '.join(known)}"
        )
    merged = to_mapping(config)
    for section, settings in values.items():
        is_known = isinstance(settings, Mapping) and section in merged
        merged[section] = {**merged[section], **settings} if is_known else settings
    try:
        return from_mapping(OscineConfig, merged)
    except ValueError as error:
        raise ValueError(f"{preset}: {error}") from error


def read_config(file: Path, kind: type[T]) -> T:
    """Read a configuration from TOML; what it leaves out keeps its default.

    Parameters
    ----------
    file : Path
    kind : type
        A dataclass of this module.

    Raises
    ------
    ValueError
        A key is unknown or missing, a value has the wrong type or lies out of range, or the file
        is no TOML.
    """
    values = _read_toml(file)
    try:
        return from_mapping(kind, values)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def to_toml(config: Any) -> str:
    """Return a configuration as TOML that :func:`read_config` reads back to the same values."""
    return tomli_w.dumps(to_mapping(config))


def to_mapping(config: Any) -> dict[str, Any]:
    """Return a configuration as plain nested dictionaries and lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def with_overrides(config: T, overrides: Iterable[str]) -> T:
    """Return a configuration changed by dotted overrides such as ``model.depth=6``.

    Parameters
    ----------
    config : dataclass
    overrides : iterable of str
        The value is read as TOML; what is no TOML counts as a string.

    Raises
    ------
    ValueError
        As for :func:`read_config`, or an override has no ``=``.
    """
    values = to_mapping(config)
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise ValueError(f"{override!r} sets nothing: write it as model.depth=6")
        *sections, key = name.strip().split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ValueError(f"{name.strip()!r}: {section!r} is a value and has no parts")
        try:
            place[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            place[key] = text.strip()
    return from_mapping(type(config), values)


def from_mapping(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Build a configuration from nested mappings, strictly.

    Raises
    ------
    ValueError
        A key is unknown (the nearest known one is named), one without a default is missing, or a
        value is of the wrong type.
    """
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    known = [one.name for one in fields(kind)]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else f"; known: {', '.join(known)}"
            raise ValueError(f"there is no setting {prefix}{key}{hint}")
        arguments[key] = _checked(hints[key], value, f"{prefix}{key}")
    for one in fields(kind):
        is_required = one.default is MISSING and one.default_factory is MISSING
        if is_required and one.name not in arguments:
            raise ValueError(f"{prefix}{one.name} is missing")
    return kind(**arguments)


def fingerprint(*parts: Any) -> str:
    """Return 16 hexadecimal digits that stand for some values.

    Parameters
    ----------
    *parts
        Dataclasses of this module, or anything that JSON can hold.
    """
    plain = [to_mapping(part) if is_dataclass(part) else part for part in parts]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with open(file, "rb") as source:
            return tomllib.load(source)
    except ValueError as error:  # also where the bytes are no UTF-8
        raise ValueError(f"{file} is not valid TOML: {error}") from error


def _check_seed(seed: int) -> None:
    """Refuse what some of the libraries take no randomness from."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in 0 to {2**32 - 1}, not {seed}")


def _checked(hint: Any, value: Any, name: str) -> Any:
    """Return a value in the type that a field asks for, or say why it does not fit."""
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} is a section with settings of its own, not a value")
        return from_mapping(hint, value, prefix=f"{name}.")
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{name} must be one of {', '.join(get_args(hint))}, not {value!r}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name} must be a list, not {value!r}")
        return tuple(_checked(get_args(hint)[0], one, name) for one in value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and not -sys.float_info.max <= value <= sys.float_info.max:
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    if hint is float and is_number:
        return float(value)
    if hint is int and is_number and value == int(value):
        return int(value)
    if hint in (str, bool) and isinstance(value, hint):
        return value
    raise ValueError(f"{name} must be of type {hint.__name__}, not {value!r}")
