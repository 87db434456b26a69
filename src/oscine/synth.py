"""Recordings with known truth: a small synthetic archive for tests and for the tour.

In: a `SynthConfig`. Out: a folder of recorder-like files, one sub-folder a site, and `truth.csv`
with one row a call: when, in which band, which species, which individual, which call type, and how
high its pitch and its formants lie for the species. Called by the `synth` step and by tests. Never
the ground of a claim about real animals.

A call is made as a voice makes it: a source (a train of pulses with its own pitch, roughness and
breath) goes through a tract (a few resonances), then through the air and the echoes of the site
into a background of wind, rain, insects and engines. Three scales of variation are kept apart:
call types differ most, individuals of a species less, the calls of one individual least.
"""

import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import signal

from oscine.config import WrongArgument
from oscine.workspace.folder import make_folder

Samples = NDArray[np.floating]

# Raise it when a change below alters bytes: an archive begun by an older recipe is then refused
# instead of being finished with other sounds.
_RECIPE = 2

_CALLS_PER_30_S = (8, 14)
_CALLS_PER_BOUT = 3
_MIN_GAP_S = 0.4
_SNR_RANGE_DB = (3.0, 30.0)
_PEAK_LIMIT = 0.8

_FIRST_DAY = datetime(2024, 5, 6, tzinfo=UTC)
_SCHEDULE = (timedelta(hours=5, minutes=30), timedelta(hours=12), timedelta(hours=20, minutes=30))

# Names of the independent random streams; part of the recipe.
_SITE, _INDIVIDUAL, _PLAN, _BACKGROUND = range(4)

_TRUTH_COLUMNS = (
    "path",
    "start_s",
    "stop_s",
    "low_hz",
    "high_hz",
    "species",
    "individual",
    "call_type",
    "site",
    "snr_db",
    "recorded_at",
    "context",
    "pitch_factor",
    "formant_factor",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthConfig:
    """What archive to make; the same values give the same bytes.

    Parameters
    ----------
    seed
        Seed of everything random.
    minutes
        Audio in the whole archive; rounded to whole recordings, at least one.
    recording_s
        Length of each recording, 2 to 600 s.
    n_sites
        Recorder sites; the recordings go round them. Where there are several, the last one has
        another make of recorder: 32 kHz WAV instead of FLAC.
    n_individuals
        Individuals of each species.
    sample_rate_hz
        Sampling rate of the FLAC recorders, 32,000 to 96,000 Hz.
    speed
        How many times as fast all of it is, so that everything lies as many times higher and lasts
        as many times less: 8 makes something like bats, 1/16 something like elephants. The samples
        stay the same, the files give another rate, and the truth other times and frequencies. All
        other values (minutes, rates) are those before.

    Raises
    ------
    ValueError
        If a value lies outside its range.
    """

    seed: int = 0
    minutes: float = 12.0
    recording_s: float = 30.0
    n_sites: int = 3
    n_individuals: int = 3
    sample_rate_hz: int = 48_000
    speed: float = 1.0

    def __post_init__(self) -> None:
        checks = {
            "seed must be 0 or more": self.seed >= 0,
            "minutes must be more than 0": 0 < self.minutes < float("inf"),
            "recording_s must lie in 2..600": 2 <= self.recording_s <= 600,
            "n_sites must lie in 1..99": 1 <= self.n_sites <= 99,
            "n_individuals must lie in 1..99": 1 <= self.n_individuals <= 99,
            "sample_rate_hz must lie in 32000..96000": 32_000 <= self.sample_rate_hz <= 96_000,
            "speed must lie in 0.01..10": 0.01 <= self.speed <= 10,
            # A FLAC file can give no rate above 65,535 Hz that is no multiple of 10.
            "speed must give a rate that a file can hold": self._is_rate_held,
        }
        wrong = [
            f"{rule}, not {getattr(self, rule.split()[0]):g}"
            for rule, holds in checks.items()
            if not holds
        ]
        if wrong:
            raise ValueError(f"synthetic archive: {'; '.join(wrong)}")

    @property
    def _is_rate_held(self) -> bool:
        rates_hz = [rate_hz * self.speed for rate_hz in (32_000, self.sample_rate_hz)]
        return all(
            rate_hz == round(rate_hz) and (rate_hz < 2**16 or rate_hz % 10 == 0)
            for rate_hz in rates_hz
        )

    @property
    def n_recordings(self) -> int:
        """Number of recordings in the archive."""
        return max(1, round(self.minutes * 60 / self.recording_s))


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthReport:
    """What an archive holds once `write_archive` has returned."""

    n_recordings: int
    n_events: int
    duration_s: float
    truth_path: Path


def write_archive(
    folder: Path, config: SynthConfig, progress: Callable[[int, int], None] | None = None
) -> SynthReport:
    """Write the synthetic archive of `config` into `folder`, or finish one begun there.

    Files that are already there are kept, so a run that was killed is simply run again and ends
    with the same bytes.

    Parameters
    ----------
    folder
        Made if missing. It gets `<site>/<recorder>_YYYYMMDD_HHMMSS.flac` (or `.wav`),
        `truth.csv` and `synth.json`. Times are UTC. In the table `pitch_factor` and
        `formant_factor` are what the pitch and the resonances of that very call are multiplied by:
        1 is the species' own value.
    config
        What to make.
    progress
        Called after each recording with the number done and the number in all.

    Returns
    -------
    SynthReport
        Totals, and where the truth table lies.

    Raises
    ------
    ValueError
        If the folder holds the archive of another configuration, or files that are no archive.
    """
    _claim(folder, config)
    sites = [_make_site(config, number) for number in range(config.n_sites)]
    individuals = _make_individuals(config)
    rows: list[tuple[str, ...]] = []
    for number in range(config.n_recordings):
        site = sites[number % config.n_sites]
        slot = number // config.n_sites
        recorded_at = _recorded_at(slot)
        path = f"{site.name}/{site.recorder}_{recorded_at:%Y%m%d_%H%M%S}.{site.container.lower()}"
        plan = _plan_recording(config, number, site, individuals)
        rows += [_truth_row(call, path, site, recorded_at, config.speed) for call in plan]
        if not (folder / path).exists():
            rate_hz = round(site.sample_rate_hz * config.speed)
            _write_recording(folder / path, _render(config, number, site, plan), site, rate_hz)
        if progress is not None:
            progress(number + 1, config.n_recordings)
    truth_path = folder / "truth.csv"
    if not truth_path.exists():
        table = io.StringIO(newline="")
        csv.writer(table, lineterminator="\n").writerows([_TRUTH_COLUMNS, *rows])
        _write_bytes(truth_path, table.getvalue().encode())
    return SynthReport(
        n_recordings=config.n_recordings,
        n_events=len(rows),
        duration_s=config.n_recordings * config.recording_s / config.speed,
        truth_path=truth_path,
    )


# --- Files --------------------------------------------------------------------------------------


def _claim(folder: Path, config: SynthConfig) -> None:
    """Mark `folder` as the archive of `config`; refuse it if it is anything else."""
    values = asdict(config)
    if config.speed == 1:  # as archives were claimed before there was a speed
        del values["speed"]
    claim = {"recipe": _RECIPE, "config": values}
    claim_path = folder / "synth.json"
    if folder.exists() and not folder.is_dir():
        raise WrongArgument(f"{folder} is a file: name a folder for the archive")
    if claim_path.exists():
        if json.loads(claim_path.read_bytes()) != claim:
            raise WrongArgument(
                f"{folder} holds a synthetic archive of another configuration or version "
                f"(see {claim_path}); choose another folder, or delete this one first"
            )
        return
    make_folder(folder, f"the archive {folder}")
    if any(not path.name.startswith(".") for path in folder.iterdir()):
        raise WrongArgument(
            f"{folder} holds files that are no synthetic archive; choose an empty or new folder"
        )
    _write_bytes(claim_path, (json.dumps(claim, indent=2) + "\n").encode())


def _write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _write_recording(path: Path, samples: Samples, site: "_Site", rate_hz: int) -> None:
    pcm = np.rint(samples * 32767).astype(np.int16)
    encoded = io.BytesIO()
    soundfile.write(encoded, pcm, rate_hz, format=site.container, subtype="PCM_16")
    _write_bytes(path, encoded.getvalue())


def _recorded_at(slot: int) -> datetime:
    """Compute when a recorder's `slot`-th recording starts: dawn, noon and dusk of each day."""
    day, turn = divmod(slot, len(_SCHEDULE))
    return _FIRST_DAY + timedelta(days=day) + _SCHEDULE[turn]


def _truth_row(
    call: "_PlannedCall", path: str, site: "_Site", recorded_at: datetime, speed: float
) -> tuple[str, ...]:
    stop = call.start + len(call.dry)
    rate_hz = site.sample_rate_hz * speed
    return (
        path,
        f"{call.start / rate_hz:.6f}",
        f"{stop / rate_hz:.6f}",
        f"{call.low_hz * speed:.1f}",
        f"{call.high_hz * speed:.1f}",
        call.individual.species.name,
        call.individual.name,
        call.call_type.name,
        site.name,
        f"{call.snr_db:.2f}",
        recorded_at.isoformat(),
        call.context,
        f"{call.voice.pitch:.4f}",
        f"{call.voice.resonance:.4f}",
    )


# --- Who calls, and how: the species and their call types ---------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Syllable:
    """One unbroken piece of voice.

    `pitch_hz` are the knots of a smooth contour. `tilt_db` is the fall from one harmonic to the
    next. `noise` is the share of turbulence in the source and `onset_noise` what the first few
    hundredths of a second have more. `chaos` (share of the pitch) and `subharmonic` roughen the
    voice; `warble` is a regular modulation: rate in Hz and depth as a share of the pitch.
    """

    duration_s: float
    pitch_hz: tuple[float, ...]
    tilt_db: float
    noise: float = 0.0
    onset_noise: float = 0.0
    chaos: float = 0.0
    subharmonic: float = 0.0
    warble: tuple[float, float] = (1.0, 0.0)
    attack_s: float = 0.02
    release_s: float = 0.04
    gain: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _CallType:
    """Syllables said in turn, `gap_s` apart, the whole repeated `repeats` (least, most) times."""

    name: str
    usual_context: str
    syllables: tuple[_Syllable, ...]
    gap_s: float = 0.0
    repeats: tuple[int, int] = (1, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Species:
    """A tract, as resonances (frequency Hz, bandwidth Hz, gain dB), and what it utters.

    The beak opens and closes with each syllable: closed, all resonances lie lower by the share
    `gape`.
    """

    name: str
    resonances: tuple[tuple[float, float, float], ...]
    gape: float
    call_types: tuple[_CallType, ...]


# fmt: off  (a table reads better than a column)
# A table reads better than a column.
# fmt: off
_CROW = _Species(
    name="crow",
    resonances=((900, 600, -7), (1550, 800, 0), (3400, 1000, -13), (6500, 2200, -20)),
    gape=0.24,
    call_types=(
        _CallType(name="caw", usual_context="territory", syllables=(
            _Syllable(duration_s=0.42, pitch_hz=(330, 440, 425, 315), tilt_db=0.6,
                      noise=0.17, onset_noise=0.5, chaos=0.03, subharmonic=0.15,
                      attack_s=0.03, release_s=0.09),
        )),
        _CallType(name="double caw", usual_context="flight", gap_s=0.09, syllables=(
            _Syllable(duration_s=0.15, pitch_hz=(480, 570, 520), tilt_db=0.7,
                      noise=0.1, onset_noise=0.4, chaos=0.02),
            _Syllable(duration_s=0.2, pitch_hz=(460, 510, 380), tilt_db=0.7,
                      noise=0.12, onset_noise=0.3, chaos=0.03),
        )),
        _CallType(name="rattle", usual_context="nest", gap_s=0.024, repeats=(10, 14),
                  syllables=(
            _Syllable(duration_s=0.024, pitch_hz=(260,), tilt_db=0.3, noise=0.45,
                      attack_s=0.003, release_s=0.018),
        )),
    ),
)

_JAY = _Species(
    name="jay",
    resonances=((2300, 1100, 0), (3700, 1500, -2), (5600, 2400, -6), (9000, 4500, -16)),
    gape=0.12,
    call_types=(
        _CallType(name="screech", usual_context="predator", syllables=(
            _Syllable(duration_s=0.45, pitch_hz=(1150, 1250, 1050), tilt_db=0.5,
                      noise=0.55, onset_noise=0.2, chaos=0.12, subharmonic=0.5, release_s=0.06),
        )),
        _CallType(name="mew", usual_context="feeding", syllables=(
            _Syllable(duration_s=0.6, pitch_hz=(1900, 2750, 2500, 1650), tilt_db=7.0,
                      noise=0.04, attack_s=0.06, release_s=0.15),
        )),
        _CallType(name="clicks", usual_context="territory", gap_s=0.1, repeats=(5, 8),
                  syllables=(
            _Syllable(duration_s=0.014, pitch_hz=(700,), tilt_db=0.2, noise=0.7,
                      attack_s=0.001, release_s=0.012),
        )),
    ),
)

_SONGBIRD = _Species(
    name="songbird",
    resonances=((4500, 4500, 0), (7500, 4500, -3)),
    gape=0.05,
    call_types=(
        _CallType(name="whistle", usual_context="territory", syllables=(
            _Syllable(duration_s=0.4, pitch_hz=(3300, 4200, 6300, 5200), tilt_db=28.0,
                      attack_s=0.03),
        )),
        _CallType(name="trill", usual_context="courtship", gap_s=0.024, repeats=(10, 14),
                  syllables=(
            _Syllable(duration_s=0.038, pitch_hz=(7200, 5600, 4600), tilt_db=26.0,
                      attack_s=0.008, release_s=0.014),
        )),
        _CallType(name="buzz", usual_context="predator", syllables=(
            _Syllable(duration_s=0.3, pitch_hz=(5900, 6100, 5700), tilt_db=18.0,
                      noise=0.15, chaos=0.02, warble=(135, 0.13), attack_s=0.015),
        )),
    ),
)

_DOVE = _Species(
    name="dove",
    resonances=((520, 330, 0), (1000, 600, -14)),
    gape=0.0,
    call_types=(
        _CallType(name="coo", usual_context="courtship", syllables=(
            _Syllable(duration_s=0.65, pitch_hz=(470, 530, 540, 480), tilt_db=18.0,
                      noise=0.02, attack_s=0.1, release_s=0.18),
        )),
        _CallType(name="double coo", usual_context="territory", gap_s=0.12, syllables=(
            _Syllable(duration_s=0.17, pitch_hz=(600, 680, 640), tilt_db=16.0,
                      noise=0.02, attack_s=0.03, gain=0.7),
            _Syllable(duration_s=0.36, pitch_hz=(560, 740, 590), tilt_db=16.0,
                      noise=0.02, attack_s=0.05, release_s=0.1),
        )),
        _CallType(name="grunt", usual_context="nest", syllables=(
            _Syllable(duration_s=0.2, pitch_hz=(210, 240, 190), tilt_db=1.5,
                      noise=0.12, chaos=0.05, subharmonic=0.6, release_s=0.05),
        )),
    ),
)
# fmt: on

_SPECIES = (_CROW, _JAY, _SONGBIRD, _DOVE)
_REPERTOIRE = tuple((species, kind) for species in _SPECIES for kind in species.call_types)
_CONTEXTS = tuple(sorted({kind.usual_context for _, kind in _REPERTOIRE}))


def repertoire() -> dict[str, tuple[float, float]]:
    """Return how long a call of each type lasts, in s, at least and at most, by its full name."""
    lengths = {}
    for species, kind in _REPERTOIRE:
        once = sum(syllable.duration_s + kind.gap_s for syllable in kind.syllables)
        shortest, longest = (times * once - kind.gap_s for times in kind.repeats)
        lengths[f"{species.name} {kind.name}"] = (shortest, longest)
    return lengths


class _Voice(NamedTuple):
    """Habits as factors on what the species has: 1 is the species' own value."""

    resonance: float = 1.0
    pitch: float = 1.0
    tempo: float = 1.0
    tilt: float = 1.0
    roughness: float = 1.0


# Standard deviations of the natural logarithm of those factors.
_BETWEEN_INDIVIDUALS = _Voice(resonance=0.06, pitch=0.07, tempo=0.09, tilt=0.15, roughness=0.25)
_WITHIN_INDIVIDUAL = _Voice(resonance=0.008, pitch=0.018, tempo=0.04, tilt=0.04, roughness=0.1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Individual:
    name: str
    species: _Species
    voice: _Voice
    home: int


def _make_individuals(config: SynthConfig) -> list[_Individual]:
    """Make all individuals of all species, each with its habits and its home site."""
    individuals = []
    for index, species in enumerate(_SPECIES):
        rng = _rng(config.seed, _INDIVIDUAL, index)
        n = config.n_individuals
        # Habits are dealt evenly over the species' range, so that no two share one by chance.
        ranks = np.stack([rng.permutation(n) for _ in _Voice._fields], axis=1)
        deviations = np.sqrt(3) * (2 * (ranks + 0.5) / n - 1)
        for number in range(n):
            individuals.append(
                _Individual(
                    name=f"{species.name}-{number + 1}",
                    species=species,
                    voice=_vary(_Voice(), _BETWEEN_INDIVIDUALS, deviations[number]),
                    home=(number + index) % config.n_sites,
                )
            )
    return individuals


def _vary(voice: _Voice, spread: _Voice, deviations: NDArray[np.float64]) -> _Voice:
    """Move each habit by its (5,) `deviations`, counted in standard deviations of `spread`."""
    return _Voice(*(np.array(voice) * np.exp(np.array(spread) * deviations)).tolist())


# --- One call: source, then filter --------------------------------------------------------------


def _utter(
    species: _Species, kind: _CallType, voice: _Voice, rng: np.random.Generator, rate_hz: int
) -> Samples:
    """Make one call as it leaves the beak, (S,), with unit power."""
    gap = np.zeros(round(kind.gap_s / voice.tempo * rate_hz))
    n_repeats = int(rng.integers(kind.repeats[0], kind.repeats[1] + 1))
    sources: list[Samples] = []
    openings: list[Samples] = []
    for syllable in kind.syllables * n_repeats:
        source = _syllable_source(syllable, voice, rng, rate_hz)
        sources += [source, gap]
        openings += [np.sin(np.pi * np.linspace(0, 1, len(source)) ** 0.8), gap]
    source, opening = np.concatenate(sources[:-1]), np.concatenate(openings[:-1])
    # Two tracts and a cross-fade stand for one that moves.
    shut = _tract(source, species, voice.resonance * (1 - species.gape), rate_hz)
    agape = _tract(source, species, voice.resonance, rate_hz)
    call = shut + opening * (agape - shut)
    return call / np.sqrt(np.mean(call**2))


def _syllable_source(
    syllable: _Syllable, voice: _Voice, rng: np.random.Generator, rate_hz: int
) -> Samples:
    """Make the source of one syllable, (S,): pulses with a pitch contour, mixed with breath."""
    n = max(2, round(syllable.duration_s / voice.tempo * rate_hz))
    time_s = np.arange(n) / rate_hz
    phase = 2 * np.pi * np.cumsum(_pitch_contour(syllable, voice, rng, rate_hz, n)) / rate_hz

    pulses = _pulses(phase, 10 ** (-syllable.tilt_db * voice.tilt / 20))
    pulses *= 1 + syllable.subharmonic * voice.roughness * np.cos(phase / 2)

    noise = syllable.noise * voice.roughness + syllable.onset_noise * np.exp(-time_s / 0.03)
    noise = np.minimum(noise, 1.0)
    mixed = (1 - noise) * pulses + noise * rng.standard_normal(n)
    shimmer = 1 + 0.12 * _wander(rng, n, 30.0, rate_hz)
    ramps = _ramps(n, syllable.attack_s, syllable.release_s, rate_hz)
    return syllable.gain * mixed * shimmer * ramps


def _pulses(phase: Samples, ratio: float) -> Samples:
    """Make harmonics k = 1, 2, ... of amplitude ratio**(k - 1), of unit power, from a phase (S,).

    The geometric series is summed in closed form.
    """
    pulses = (np.cos(phase) - ratio) / (1 - 2 * ratio * np.cos(phase) + ratio**2)
    return pulses * np.sqrt(2 * (1 - ratio**2))


def _pitch_contour(
    syllable: _Syllable, voice: _Voice, rng: np.random.Generator, rate_hz: int, n: int
) -> Samples:
    """Compute the pitch in Hz at each of `n` samples."""
    knots = np.linspace(0, 1, len(syllable.pitch_hz))
    contour = np.polynomial.Polynomial.fit(
        knots, syllable.pitch_hz, deg=len(knots) - 1, domain=[0, 1]
    )(np.linspace(0, 1, n))
    warble_hz, warble_depth = syllable.warble
    jitter = (
        0.006 * _wander(rng, n, 25.0, rate_hz)
        + syllable.chaos * voice.roughness * _wander(rng, n, 300.0, rate_hz)
        + warble_depth * np.sin(2 * np.pi * warble_hz * voice.tempo * np.arange(n) / rate_hz)
    )
    return contour * voice.pitch * (1 + jitter)


def _tract(source: Samples, species: _Species, scale: float, rate_hz: int) -> Samples:
    """Send the source through the resonances of the tract, side by side."""
    out = np.zeros_like(source)
    for index, (centre_hz, width_hz, gain_db) in enumerate(species.resonances):
        quality = centre_hz / width_hz
        resonated = source
        for _ in range(2):  # twice, for steep flanks
            resonated = _resonate(resonated, centre_hz * scale, quality, rate_hz)
        # Neighbouring resonances take opposite signs, or a hole would open between them.
        out += (-1) ** index * _level(gain_db) * resonated
    return out


def _ramps(n: int, attack_s: float, release_s: float, rate_hz: int) -> Samples:
    """Make an envelope (n,) that rises and falls as half a cosine."""
    position = np.arange(n) / rate_hz
    rise = np.minimum(1, (position + 1 / rate_hz) / attack_s)
    fall = np.minimum(1, (position[::-1]) / release_s)
    return (1 - np.cos(np.pi * rise)) * (1 - np.cos(np.pi * fall)) / 4


def _wander(rng: np.random.Generator, n: int, cutoff_hz: float, rate_hz: int) -> Samples:
    """Make slow random movement (n,) about zero of about unit variance, up to `cutoff_hz`."""
    n_knots = int(n / rate_hz * 2 * cutoff_hz) + 3
    knots = rng.standard_normal(n_knots)
    position = rng.random() + np.arange(n) * (2 * cutoff_hz / rate_hz)
    return np.interp(position, np.arange(n_knots), knots) * np.sqrt(1.5)


# --- Which calls, when and how far: the plan of a recording -------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlannedCall:
    """A call and where it goes: `start` counts samples; `wet` is what arrives, echoes and all.

    `voice` is that of this call, a little off the individual's own.
    """

    individual: _Individual
    voice: _Voice
    call_type: _CallType
    context: str
    start: int
    dry: Samples
    wet: Samples
    low_hz: float
    high_hz: float
    snr_db: float


class _Utterance(NamedTuple):
    """A call as it leaves the beak, (S,), and the voice that made it."""

    dry: Samples
    voice: _Voice


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bout:
    """Calls of one type that one individual gives in a row from one perch."""

    individual: _Individual
    call_type: _CallType
    context: str
    distance_m: float
    calls: list[_Utterance]


def _plan_recording(
    config: SynthConfig, number: int, site: "_Site", individuals: list[_Individual]
) -> list[_PlannedCall]:
    """Decide the calls of recording `number`, in order of their start; needs no background."""
    if number % 8 == 5:  # now and then nobody calls
        return []
    rng = _rng(config.seed, _PLAN, number)
    bouts = _draw_bouts(config, number, site, individuals, rng)
    n_samples = round(config.recording_s * site.sample_rate_hz)
    starts = _place(bouts, n_samples, site.sample_rate_hz, rng)
    queue = [(bout, call) for bout in bouts for call in bout.calls]
    return [
        _receive(bout, call, start, site, rng)
        for (bout, call), start in zip(queue, starts, strict=False)
    ]


def _draw_bouts(
    config: SynthConfig,
    number: int,
    site: "_Site",
    individuals: list[_Individual],
    rng: np.random.Generator,
) -> list[_Bout]:
    least, most = _CALLS_PER_30_S
    n_calls = max(1, round(rng.integers(least, most + 1) * config.recording_s / 30))
    n_bouts = -(-n_calls // _CALLS_PER_BOUT)
    # Call types are dealt from a shuffled pack, so that even a short archive has all of them;
    # 5 has no factor in common with their number, so every recording starts at another card.
    pack = _rng(config.seed, _PLAN).permutation(len(_REPERTOIRE))
    bouts = []
    sizes = 1 + rng.multinomial(n_calls - n_bouts, np.full(n_bouts, 1 / n_bouts))
    for index, size in zip(rng.permutation(n_bouts), sizes, strict=True):
        species, kind = _REPERTOIRE[pack[(5 * number + index) % len(pack)]]
        candidates = [bird for bird in individuals if bird.species is species]
        # Birds are mostly heard at home, yet not only there: site and individual can be told apart.
        weights = np.array([4.0 if bird.home == site.number else 1.0 for bird in candidates])
        individual = candidates[int(rng.choice(len(candidates), p=weights / weights.sum()))]
        usual = rng.random() < 0.8
        bouts.append(
            _Bout(
                individual=individual,
                call_type=kind,
                context=kind.usual_context if usual else str(rng.choice(_CONTEXTS)),
                distance_m=float(np.exp(rng.uniform(np.log(8), np.log(80)))),
                calls=[_one_call(individual, kind, rng, site.sample_rate_hz) for _ in range(size)],
            )
        )
    return bouts


def _one_call(
    individual: _Individual, kind: _CallType, rng: np.random.Generator, rate_hz: int
) -> _Utterance:
    deviations = np.clip(rng.standard_normal(len(_Voice._fields)), -2, 2)
    voice = _vary(individual.voice, _WITHIN_INDIVIDUAL, deviations)
    return _Utterance(_utter(individual.species, kind, voice, rng, rate_hz), voice)


def _place(bouts: list[_Bout], n_samples: int, rate_hz: int, rng: np.random.Generator) -> list[int]:
    """Choose the start of each call in samples, in order; calls that do not fit get none."""
    owners = [index for index, bout in enumerate(bouts) for _ in bout.calls]
    lengths = [len(call.dry) for bout in bouts for call in bout.calls]
    min_gap = round(_MIN_GAP_S * rate_hz)
    while lengths and sum(lengths) + min_gap * (len(lengths) + 1) > n_samples:
        lengths.pop()
    spare = n_samples - sum(lengths) - min_gap * (len(lengths) + 1)
    turns = [True] + [owners[i] != owners[i - 1] for i in range(1, len(lengths))] + [True]
    # What time is left goes mostly between bouts.
    weights = rng.exponential(np.where(turns, 1.0, 0.15))
    gaps = min_gap + np.floor(spare * weights / weights.sum()).astype(int)
    starts: list[int] = []
    free_from = 0
    for index, length in enumerate(lengths):
        start = free_from + int(gaps[index])
        if index and turns[index] and _may_interrupt(bouts, owners[index], rng):
            start = starts[-1] + int(rng.uniform(0.3, 0.9) * lengths[index - 1])
        starts.append(start)
        free_from = max(free_from, start + length)
    return starts


def _may_interrupt(bouts: list[_Bout], index: int, rng: np.random.Generator) -> bool:
    """Decide whether the caller of bout `index` interrupts the last call of the one before."""
    return bool(rng.random() < 0.3) and bouts[index].individual is not bouts[index - 1].individual


def _receive(
    bout: _Bout, call: _Utterance, start: int, site: "_Site", rng: np.random.Generator
) -> _PlannedCall:
    """Carry a call to the recorder; its band and level are those of what arrives."""
    n = _fft_length(len(call.dry) + len(site.echoes))
    frequency_hz = np.fft.rfftfreq(n, 1 / site.sample_rate_hz)
    absorption_db = 0.02 * bout.distance_m * frequency_hz / 1000
    direct = np.fft.rfft(call.dry, n) * 10 ** (-absorption_db / 20)
    echoes = np.fft.rfft(site.echoes, n) * np.sqrt(bout.distance_m / 30)
    wet = np.fft.irfft(direct * (1 + echoes), n)
    share = np.cumsum(np.abs(direct) ** 2)
    low, high = np.searchsorted(share, [0.02 * share[-1], 0.98 * share[-1]])
    snr_db = 27 - 20 * np.log10(bout.distance_m / 8) + rng.normal(0, 2)
    return _PlannedCall(
        individual=bout.individual,
        voice=call.voice,
        call_type=bout.call_type,
        context=bout.context,
        start=start,
        dry=call.dry,
        wet=wet,
        low_hz=float(frequency_hz[low]),
        high_hz=float(frequency_hz[high]),
        snr_db=float(np.clip(snr_db, *_SNR_RANGE_DB)),
    )


# --- Where it is heard: sites and their backgrounds ---------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Site:
    """A recorder and its place. `echoes` (S,) is the answer of the place to a click."""

    number: int
    name: str
    recorder: str
    container: str
    sample_rate_hz: int
    background_db: float
    background_slope: float
    echoes: Samples


def _make_site(config: SynthConfig, number: int) -> _Site:
    rng = _rng(config.seed, _SITE, number)
    other_make = number > 0 and number == config.n_sites - 1
    rate_hz = 32_000 if other_make else config.sample_rate_hz
    return _Site(
        number=number,
        name=f"site-{number + 1:02d}",
        recorder=f"REC{number + 1:02d}",
        container="WAV" if other_make else "FLAC",
        sample_rate_hz=rate_hz,
        background_db=float(rng.uniform(-60, -52)),
        background_slope=float(rng.uniform(0.5, 0.9)),
        echoes=_make_echoes(rng, rate_hz),
    )


def _make_echoes(rng: np.random.Generator, rate_hz: int) -> Samples:
    """Make a few early reflections and a decaying tail, (S,)."""
    reverberation_s = rng.uniform(0.4, 1.0)  # time to fall by 60 dB
    time_s = np.arange(round(0.6 * reverberation_s * rate_hz)) / rate_hz
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / reverberation_s)
    tail *= np.minimum(1, time_s / 0.02)
    tail = _muffle(tail, 4500.0, rate_hz)
    echoes = 0.45 * tail / np.sqrt(np.sum(tail**2))
    early_s = np.sort(rng.uniform(0.006, 0.07, 7))
    early_gain = rng.choice([-1.0, 1.0], 7) * 0.25 * np.exp(-early_s / 0.04)
    echoes[np.round(early_s * rate_hz).astype(int)] += early_gain
    return echoes


def _render(config: SynthConfig, number: int, site: _Site, plan: list[_PlannedCall]) -> Samples:
    """Make the samples (S,) of a recording: its background, each call at its promised SNR."""
    n = round(config.recording_s * site.sample_rate_hz)
    background = _background(site, n, _rng(config.seed, _BACKGROUND, number))
    recording = background.copy()
    for call in plan:
        stop = call.start + len(call.dry)
        noise = _band_energy(background[call.start : stop], call, site.sample_rate_hz)
        voice = _band_energy(call.wet[: len(call.dry)], call, site.sample_rate_hz)
        gain = np.sqrt(noise / voice * 10 ** (call.snr_db / 10))
        heard = call.wet[: n - call.start]
        recording[call.start : call.start + len(heard)] += gain * heard
    peak = np.abs(recording).max()
    return recording * min(1.0, _PEAK_LIMIT / peak)


def _band_energy(samples: Samples, call: _PlannedCall, rate_hz: int) -> float:
    n = _fft_length(len(samples))
    spectrum = np.abs(np.fft.rfft(samples, n)) ** 2
    frequency_hz = np.fft.rfftfreq(n, 1 / rate_hz)
    inside = (frequency_hz >= call.low_hz) & (frequency_hz <= call.high_hz)
    return float(spectrum[inside].sum())


def _background(site: _Site, n: int, rng: np.random.Generator) -> Samples:
    """Make the background (n,): the site's own, and what weather, insects and engines add."""
    rate_hz = site.sample_rate_hz
    own = _coloured(rng, n, rate_hz, lambda hz: (hz + 40) ** -site.background_slope + 2e-4)
    own *= _level(site.background_db) * np.exp(0.12 * _wander(rng, n, 0.5, rate_hz))
    present = rng.random(4) < (0.35, 0.2, 0.25, 0.2)
    layers = (_wind, _rain, _insects, _engine)
    for layer, here in zip(layers, present, strict=True):
        if here:
            own += layer(rng, n, rate_hz)
    return own


def _wind(rng: np.random.Generator, n: int, rate_hz: int) -> Samples:
    """Make a rumble that comes in gusts, and leaves that rustle when it is strong."""
    gusts = np.exp(0.7 * _wander(rng, n, 0.35, rate_hz) + 0.2 * _wander(rng, n, 3.0, rate_hz))
    rumble = _coloured(rng, n, rate_hz, lambda hz: 1 / (1 + (hz / 90) ** 2))
    leaves = _coloured(rng, n, rate_hz, lambda hz: 1 / (1 + ((hz - 3500) / 2500) ** 2))
    level = _level(rng.uniform(-42, -34))
    return level * gusts * (rumble + 0.015 * gusts * leaves)


def _rain(rng: np.random.Generator, n: int, rate_hz: int) -> Samples:
    """Make a steady hiss under single drops, which ring for a moment on what they hit."""
    hiss = _coloured(rng, n, rate_hz, lambda hz: hz / (hz + 800) / (1 + (hz / 7000) ** 2))
    drops = np.zeros(n)
    for ring_hz in (900.0, 1600.0, 2700.0, 4200.0, 6500.0):
        impacts = np.zeros(n)
        where = rng.integers(0, n, rng.poisson(6 * n / rate_hz))
        np.add.at(impacts, where, rng.lognormal(0, 1.1, len(where)))
        ringing = _resonate(impacts, ring_hz * rng.uniform(0.85, 1.15), 3.0, rate_hz)
        drops += ringing * rate_hz / ring_hz
    return _level(rng.uniform(-56, -48)) * (hiss + drops)


def _insects(rng: np.random.Generator, n: int, rate_hz: int) -> Samples:
    """Make insects that stridulate, each on its own carrier, with pauses."""
    chorus = np.zeros(n)
    time_s = np.arange(n) / rate_hz
    for _ in range(3):
        carrier_hz = rng.uniform(6000, 11000) * (1 + 0.012 * _wander(rng, n, 200.0, rate_hz))
        pulses = (0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(14, 45) * time_s)) ** 3
        singing = 1 / (1 + np.exp(-8 * _wander(rng, n, 0.6, rate_hz)))
        chorus += singing * pulses * np.sin(2 * np.pi * np.cumsum(carrier_hz) / rate_hz)
    return _level(rng.uniform(-62, -54)) * chorus


def _engine(rng: np.random.Generator, n: int, rate_hz: int) -> Samples:
    """Make a distant engine that passes: a slowly changing low note with muffled harmonics."""
    note_hz = rng.uniform(35, 80) * (1 + 0.03 * _wander(rng, n, 0.1, rate_hz))
    phase = 2 * np.pi * np.cumsum(note_hz) / rate_hz
    passing = np.exp(-(((np.arange(n) / n - rng.uniform(0.2, 0.8)) / 0.35) ** 2))
    return _level(rng.uniform(-44, -36)) * passing * _muffle(_pulses(phase, 0.85), 250.0, rate_hz)


def _coloured(
    rng: np.random.Generator, n: int, rate_hz: int, amplitude: Callable[[Samples], Samples]
) -> Samples:
    """Make Gaussian noise (n,) of unit power with spectrum `amplitude(frequency in Hz)`."""
    n_fft = _fft_length(n)
    spectrum = rng.standard_normal(n_fft // 2 + 1) + 1j * rng.standard_normal(n_fft // 2 + 1)
    spectrum *= amplitude(np.fft.rfftfreq(n_fft, 1 / rate_hz))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, n_fft)[:n]
    return noise / np.sqrt(np.mean(noise**2))


def _resonate(samples: Samples, centre_hz: float, quality: float, rate_hz: int) -> Samples:
    b, a = signal.iirpeak(centre_hz, quality, fs=rate_hz)
    return np.asarray(signal.lfilter(b, a, samples))


def _muffle(samples: Samples, cutoff_hz: float, rate_hz: int) -> Samples:
    b, a = cast(tuple[Samples, Samples], signal.butter(2, cutoff_hz, fs=rate_hz))
    return np.asarray(signal.lfilter(b, a, samples))


def _fft_length(n: int) -> int:
    """Find the least length of the form 2**k or 3 * 2**k that holds `n`: its transform is fast."""
    power = 1 << (n - 1).bit_length()
    return 3 * power // 4 if 3 * power // 4 >= n else power


def _level(decibels: float) -> float:
    """Convert decibels to a factor on the amplitude."""
    return 10 ** (decibels / 20)


def _rng(*stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(stream))
