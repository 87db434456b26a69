"""Where in the model things are known: each layer, asked for what was measured and what was said.

In come the encoder, events of the archive with their sound, and labelled items; out comes a
`LayerReport`: scores of every layer, the geometry of its features, and a verdict in words on the
claim "early = spectral templates, middle = harmonic relations, late = call types". The measured
part needs no labels. Where the true factors of pitch and formants are known, as in the synthetic
archive, layers are also asked for the formants at equal pitch. Called by the steps.

Axes: N items, L layers, V values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oscine.config import ReadoutConfig
from oscine.embedding.intervals import FrameInterval, spread
from oscine.evaluation.acoustics import (
    QUANTITIES,
    background_level_db,
    measured,
    picture_speed,
    probe_targets,
)
from oscine.evaluation.features import encoded, hear
from oscine.evaluation.items import Groups, Item
from oscine.evaluation.layers import LayerProbe, LayerProbes, probe_layers, verdict
from oscine.evaluation.splits import joined_groups
from oscine.model.autoencoder import Encoder
from oscine.model.geometry import Geometry, geometry
from oscine.picture.tape import Tape

MOST_EVENTS = 800
"""Events whose sound is measured: more would take minutes."""
MOST_ITEMS = 1500
"""Labelled items that are asked."""

PITCH_COLUMN, FORMANT_COLUMN = "pitch_factor", "formant_factor"
"""Columns of numbers that say how high the pitch and the formants of a call lie for its species."""
FORMANT_AT_EQUAL_PITCH, TIMBRE = "formant_at_equal_pitch", "timbre"
"""What is asked where both are there, and its family."""
RESIDUAL_DECIMALS = 9
"""Of what pitch leaves of the formants: less is rounding."""

SoundOf = Callable[[FrameInterval], tuple[np.ndarray, np.ndarray, int] | None]
"""Gives the samples of an interval, those of its surroundings, and their rate; None where the
recording is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerScore:
    """How well one thing is read from each layer; as in `LayerProbe`."""

    name: str
    family: str
    measure: str
    chance: float
    n_items: int
    n_groups: int
    scores: list[float]
    low: list[float]
    high: list[float]
    permuted: list[float]
    is_read: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerReport:
    """What each layer knows.

    Attributes
    ----------
    layers : list of L int
        0 is the embedded patches.
    scores : list of LayerScore
    geometry : list of L Geometry
        Of the features of the events.
    verdict : str
    problems : list of str
        What could not be asked, and why.
    """

    layers: list[int]
    scores: list[LayerScore]
    geometry: list[Geometry]
    verdict: str
    problems: list[str]


def report_layers(
    encoder: Encoder,
    tape: Tape,
    config: ReadoutConfig,
    events: Sequence[FrameInterval],
    sound_of: SoundOf,
    items: Sequence[Item],
    groups: Groups,
    questions: Sequence[str],
    *,
    seed: int = 0,
) -> LayerReport:
    """Ask every layer for what is measured in events, and for what was said of items.

    Parameters
    ----------
    encoder : Encoder
    tape : Tape
    config : ReadoutConfig
        For the weights of frames; its layers do not matter.
    events : sequence of FrameInterval
        Of the archive; at most `MOST_EVENTS` of them are measured, chosen by the seed.
    sound_of : callable
    items : sequence of N Item
        Those that have numbers in both `PITCH_COLUMN` and `FORMANT_COLUMN` are asked for
        `FORMANT_AT_EQUAL_PITCH`, whatever the questions.
    groups : Groups
        Of the items.
    questions : sequence of str
        Labels that are asked for.
    seed : int

    Returns
    -------
    LayerReport
    """
    layers = tuple(range(encoder.config.depth + 1))
    config = replace(config, layers=layers)
    speed = picture_speed(encoder.picture)

    def features(intervals: Sequence[FrameInterval]) -> np.ndarray:
        # The last value, how quiet a row is, is the same in all layers.
        pooled = encoded(encoder, hear(tape, intervals, encoder, config), config)[..., :-1]
        return pooled.reshape(*pooled.shape[:2], -1)  # (N, L, M * 2 * D)

    chosen = spread(events, MOST_EVENTS, seed)
    probes, problems = [], []
    of_events = features(chosen) if chosen else np.empty((0, len(layers), 0))
    asked = [
        lambda: probe_layers(
            of_events,
            probe_targets([_measured(sound_of(one), speed) for one in chosen]),
            {},
            joined_groups([one.recording.content_hash for one in chosen]),
            families=QUANTITIES,
            layers=layers,
            seed=seed,
        ),
        lambda: _probe_items(features, items, groups, questions, layers, seed),
    ]
    for ask in asked:
        try:
            found = ask()
        except ValueError as error:  # such as: all events are of one recording
            problems.append(str(error))
            continue
        probes += found.probes
        problems += found.problems
    every = LayerProbes(layers=layers, probes=tuple(probes), problems=tuple(problems))
    return LayerReport(
        layers=list(layers),
        scores=[_score(one) for one in probes],
        geometry=[geometry(np.nan_to_num(of_events[:, layer])) for layer in layers]
        if len(chosen) > 1
        else [],
        verdict=verdict(every),
        problems=problems,
    )


def _probe_items(
    features: Callable[[Sequence[FrameInterval]], np.ndarray],
    items: Sequence[Item],
    groups: Groups,
    questions: Sequence[str],
    layers: Sequence[int],
    seed: int,
) -> LayerProbes:
    numbers = spread(range(len(items)), MOST_ITEMS, seed)
    some = [items[number] for number in numbers]
    said: Mapping[str, list[str | None]] = {
        question: [one.labels.get(question) for one in some] for question in questions
    }
    timbre = _formant_at_equal_pitch(some)
    return probe_layers(
        features([one.interval for one in some]),
        {} if np.isnan(timbre).all() else {FORMANT_AT_EQUAL_PITCH: timbre},
        said,
        groups.split[numbers],
        families={FORMANT_AT_EQUAL_PITCH: TIMBRE},
        layers=layers,
        seed=seed,
    )


def _formant_at_equal_pitch(items: Sequence[Item]) -> np.ndarray:
    """Return what a least-squares line on log pitch leaves of the log formant factors.

    It is uncorrelated with pitch: a layer that knows pitch alone reads nothing of it.

    Parameters
    ----------
    items : sequence of N Item

    Returns
    -------
    np.ndarray of float64 [shape=(N,)]
        NaN where an item lacks one of the numbers.
    """
    pitch, formant = (
        np.log([_factor(one.labels.get(column)) for one in items])
        for column in (PITCH_COLUMN, FORMANT_COLUMN)
    )
    known = ~np.isnan(pitch + formant)
    line = np.stack([np.ones(known.sum()), pitch[known]], axis=1)
    # Unlike a polynomial fit, this is content with a pitch that never changes.
    coefficients = np.linalg.lstsq(line, formant[known], rcond=None)[0]
    left = np.full(len(items), np.nan)
    left[known] = np.round(formant[known] - line @ coefficients, RESIDUAL_DECIMALS)
    return left


def _factor(text: str | None) -> float:
    """Return the factor that a label is; NaN where it is no positive number."""
    try:
        number = float(text or "nan")
    except ValueError:
        return np.nan
    return number if 0 < number < np.inf else np.nan


def _measured(sound: tuple[np.ndarray, np.ndarray, int] | None, speed: float) -> dict[str, float]:
    """Return what is measured in a sound; nothing where it is gone."""
    if sound is None or len(sound[0]) == 0:
        return dict.fromkeys(QUANTITIES, float("nan"))
    samples, around, rate_hz = sound
    background_db = background_level_db(around, rate_hz, speed=speed)
    return measured(samples, rate_hz, background_db=background_db, speed=speed)


def _score(one: LayerProbe) -> LayerScore:
    return LayerScore(
        name=one.name,
        family=one.family,
        measure=one.measure,
        chance=one.chance,
        n_items=one.n_items,
        n_groups=one.n_groups,
        scores=one.scores.tolist(),
        low=one.low.tolist(),
        high=one.high.tolist(),
        permuted=one.permuted.tolist(),
        is_read=one.is_read,
    )
