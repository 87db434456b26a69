"""The readout for individuals: what stays of a call when its background is exchanged.

In come events of the archive with their sound types; out comes a readout under which calls of one
recording, each heard before the background of another, are nearer to each other than to calls of
the same type in other recordings. No label is needed: a recording stands for the one bird that is
heard in it. What differs between a call and its copies before other backgrounds is counted as
nuisance, and weighs less from then on.

Vectors of this readout are compared by cosine after :func:`centred`: what all calls of a type share
says nothing of who calls.

Axes: N events, S copies of each, L parts (layers), V values of a part, K directions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oscine.config import ActivityConfig, ReadoutConfig, from_mapping, to_mapping
from oscine.embedding.backgrounds import Change, changed_excerpt
from oscine.embedding.choice import find_backgrounds, layer_sets, other_background
from oscine.embedding.embed import Excerpt, encoded_excerpts, tape_excerpt
from oscine.embedding.intervals import FrameInterval
from oscine.model.autoencoder import Encoder
from oscine.model.geometry import unit_rows
from oscine.picture.tape import Tape
from oscine.workspace.arrays import load_described, save_described
from oscine.workspace.catalogue import RecordingRow

INDIVIDUAL = "individual.safetensors"
TIME_GRIDS = 4
"""Calls of individuals are short: every quarter of a patch a column begins."""
COPIES_SNR_DB = (20.0, 10.0, 5.0)
VIEW_SNR_DB = 10.0
STRENGTHS = (0.03, 0.1, 0.3, 1.0)
MOST_OF_RECORDING, MOST_OF_TYPE, MOST_EVENTS = 4, 60, 500
FEWEST_RECORDINGS = 3
"""In which a type must be heard to tell recordings apart by it."""
FEWEST_SCORED = 10
"""Recordings that a choice must rest on."""
MOST_DIRECTIONS = 1024
LEAST_SHRUNK = 0.01


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExchangeSample:
    """Events of the archive before their own and before other backgrounds.

    Attributes
    ----------
    recordings, types : np.ndarray of int [shape=(N,)]
    clean : list of N Excerpt
    copies : list of N * S Excerpt
        Event by event.
    views : list of N Excerpt
        Once more, for the choice: other draws than the copies.
    """

    recordings: np.ndarray
    types: np.ndarray
    clean: list[Excerpt]
    copies: list[Excerpt]
    views: list[Excerpt]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExchangeCandidate:
    """One way to read individuals, and how well the archive agrees with it.

    Attributes
    ----------
    parts : tuple of int
        Layers.
    strength : float
        Below this share of the mean nuisance, nuisance is let be.
    agreement : float or None
        Mean over recordings of the ROC AUC of pairs within the recording against pairs of the same
        type with others, all before exchanged backgrounds. None where there is too little.
    """

    parts: tuple[int, ...]
    strength: float
    agreement: float | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exchange:
    """Values scaled, and drawn in along what backgrounds change.

    With N the covariance of the differences between copies and calls, ``z`` becomes
    ``(N + strength * mean eigenvalue * I) ** (-1/2) z``, but for a constant: within-class
    covariance normalisation as in speaker recognition (Hatch et al. 2006), the classes being calls.

    Attributes
    ----------
    parts : tuple of int
    strength : float
    scale : np.ndarray of float64 [shape=(L, V)]
    directions : np.ndarray of float32 [shape=(L * V, K)]
    shrunk : np.ndarray of float64 [shape=(K,)]
        What share is taken away along each direction.
    """

    parts: tuple[int, ...]
    strength: float
    scale: np.ndarray
    directions: np.ndarray
    shrunk: np.ndarray

    def vectors(self, values: np.ndarray) -> np.ndarray:
        """Return what stays [shape=(N, L * V)] of values of these parts [shape=(N, L, V)]."""
        z = _filled(values / self.scale).astype(np.float32)
        z = z.reshape(len(z), -1)  # (N, L * V)
        return z - (z @ self.directions * self.shrunk.astype(np.float32)) @ self.directions.T


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class IndividualReadout:
    """The readout of a workspace for individuals.

    Attributes
    ----------
    config : ReadoutConfig
        Layers, time grids and weights of frames.
    made_from : str
        Fingerprint of the weights and sound types that it was fitted on.
    exchange : Exchange
    candidates : tuple of ExchangeCandidate
    n_events : int
    """

    config: ReadoutConfig
    made_from: str
    exchange: Exchange
    candidates: tuple[ExchangeCandidate, ...]
    n_events: int

    def vectors(self, features: np.ndarray) -> np.ndarray:
        """Return vectors, not yet centred, of features [shape=(N, L, M, 2 * D + 1)]."""
        return self.exchange.vectors(values_of(features))

    def save(self, folder: Path) -> None:
        """Write ``individual.safetensors`` into a folder."""
        meta = {
            "config": to_mapping(self.config),
            "made_from": self.made_from,
            "candidates": [to_mapping(one) for one in self.candidates],
            "n_events": self.n_events,
            "strength": self.exchange.strength,
        }
        arrays = {
            "scale": self.exchange.scale,
            "directions": self.exchange.directions,
            "shrunk": self.exchange.shrunk,
        }
        save_described(folder / INDIVIDUAL, meta, arrays)

    @classmethod
    def load(cls, folder: Path) -> IndividualReadout:
        """Read ``individual.safetensors`` from a folder.

        Raises
        ------
        FileNotFoundError
            It is not there.
        ValueError
            It is damaged.
        """
        file = folder / INDIVIDUAL
        try:
            meta, arrays = load_described(file)
            config = from_mapping(ReadoutConfig, meta["config"])
            return cls(
                config=config,
                made_from=meta["made_from"],
                exchange=Exchange(parts=config.layers, strength=meta["strength"], **arrays),
                candidates=tuple(
                    ExchangeCandidate(**{**one, "parts": tuple(one["parts"])})
                    for one in meta["candidates"]
                ),
                n_events=meta["n_events"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is damaged ({error}): remove it, it is made again") from error


def fit_individual(
    sample: ExchangeSample, encoder: Encoder, config: ReadoutConfig, made_from: str
) -> IndividualReadout:
    """Fit the readout for individuals, its layers and strength chosen by the archive itself.

    Parameters
    ----------
    sample : ExchangeSample
    encoder : Encoder
    config : ReadoutConfig
        As the sample was heard with.
    made_from : str

    Returns
    -------
    IndividualReadout
    """
    values, layers, sets = _of_encoder(encoder, config)
    exchange, found = fit_exchange(sample, values, layers, sets)
    return IndividualReadout(
        config=replace(config, layers=exchange.parts),
        made_from=made_from,
        exchange=exchange,
        candidates=found,
        n_events=len(sample.clean),
    )


def individual_config(config: ReadoutConfig) -> ReadoutConfig:
    """Return how sounds are heard for this readout: as for the other, on more time grids."""
    return replace(config, time_grids=TIME_GRIDS)


def draw_sample(
    tape: Tape,
    encoder: Encoder,
    config: ReadoutConfig,
    activity: ActivityConfig,
    events: Sequence[FrameInterval],
    types: Sequence[int],
    recordings: Sequence[RecordingRow],
) -> ExchangeSample:
    """Hear events of sound types that several recordings share, before several backgrounds.

    Where there are no such types, any events are taken, and nothing can be chosen by them.

    Parameters
    ----------
    tape : Tape
    encoder : Encoder
    config : ReadoutConfig
        Of :func:`individual_config`.
    activity : ActivityConfig
    events : sequence of N FrameInterval
    types : sequence of N int
        Sound type of each event; -1 for none.
    recordings : sequence of RecordingRow
        Whose backgrounds may be used.

    Returns
    -------
    ExchangeSample

    Raises
    ------
    ValueError
        There are no events, or no backgrounds to exchange.
    """
    rng = np.random.default_rng(config.seed)
    order = sorted(range(len(events)), key=lambda number: events[number].content_key)
    shuffled = [order[number] for number in rng.permutation(len(order))]
    numbers = _shared_types(shuffled, events, types) or shuffled[:MOST_EVENTS]
    backgrounds = find_backgrounds(tape, recordings, encoder.picture, config.seed)
    if len({one.recording.content_key for one in backgrounds}) < 2 or len(numbers) < 2:
        raise ValueError(
            "the archive has too few events, or too few recordings with 50 frames of "
            "background, to find out what stays of a call when its background is exchanged"
        )
    some = [events[number] for number in numbers]

    def heard(one: FrameInterval, snr_db: float) -> Excerpt:
        noise, first = other_background(one.recording, backgrounds, rng)
        change = Change(noise=noise, snr_db=snr_db, first=first)
        return changed_excerpt(tape, one.recording, one.frames, encoder, config, activity, change)

    keys = [one.recording.content_key for one in some]
    return ExchangeSample(
        recordings=np.unique(keys, return_inverse=True)[1],
        types=np.array([types[number] for number in numbers], np.int64),
        clean=[tape_excerpt(tape, one.recording, one.frames, encoder, config) for one in some],
        copies=[heard(one, snr_db) for one in some for snr_db in COPIES_SNR_DB],
        views=[heard(one, VIEW_SNR_DB) for one in some],
    )


def fit_exchange(
    sample: ExchangeSample,
    values: Callable[[Sequence[Excerpt]], np.ndarray],
    parts: Sequence[int],
    sets: Sequence[tuple[int, ...]],
) -> tuple[Exchange, tuple[ExchangeCandidate, ...]]:
    """Fit what is drawn in, and choose its parts and strength.

    Parameters
    ----------
    sample : ExchangeSample
    values : callable
        Gives the values of excerpts [shape=(n, L, V)]; NaN where there is none.
    parts : sequence of L int
        Names of the parts of the values.
    sets : sequence of tuple of int
        Of parts, to choose from.

    Returns
    -------
    exchange : Exchange
    candidates : tuple of ExchangeCandidate
    """
    everything = list(_exchanges(sample, values, parts, sets))
    best, _ = max(everything, key=lambda one: one[1].agreement or 0.0)
    return best, tuple(candidate for _, candidate in everything)


def exchange_candidates(
    sample: ExchangeSample,
    encoder: Encoder,
    readout: IndividualReadout,
    excerpts: Sequence[Excerpt],
) -> Iterator[tuple[ExchangeCandidate, np.ndarray]]:
    """Read excerpts in every way that could have been chosen.

    Parameters
    ----------
    sample : ExchangeSample
    encoder : Encoder
    readout : IndividualReadout
    excerpts : sequence of N Excerpt
        Heard as the sample was.

    Yields
    ------
    candidate : ExchangeCandidate
    vectors : np.ndarray [shape=(N, L * V)]
        Not yet centred.
    """
    values, layers, sets = _of_encoder(encoder, readout.config)
    read = values(excerpts)
    for exchange, candidate in _exchanges(sample, values, layers, sets):
        yield candidate, exchange.vectors(read[:, [layers.index(one) for one in exchange.parts]])


def _of_encoder(
    encoder: Encoder, config: ReadoutConfig
) -> tuple[Callable[[Sequence[Excerpt]], np.ndarray], list[int], list[tuple[int, ...]]]:
    """Return what gives the values of all layers, these layers, and the sets to choose from."""
    sets = layer_sets(encoder.config.depth)
    layers = sorted({layer for one in sets for layer in one})
    wide = replace(config, layers=tuple(layers))
    return lambda excerpts: values_of(encoded_excerpts(encoder, excerpts, wide)), layers, sets


def _exchanges(
    sample: ExchangeSample,
    values: Callable[[Sequence[Excerpt]], np.ndarray],
    parts: Sequence[int],
    sets: Sequence[tuple[int, ...]],
) -> Iterator[tuple[Exchange, ExchangeCandidate]]:
    """Fit every way, and ask the archive how well it agrees."""
    clean, views = values(sample.clean), values(sample.views)
    # Rows of patches that no recording has count as 0.
    scale = np.nanstd(np.where(np.isfinite(clean).any(axis=0), clean, 0), axis=0)
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)  # (L, V)
    repeated = np.repeat(clean, len(sample.copies) // len(clean), axis=0)
    change = _filled((values(sample.copies) - repeated) / scale)  # (N * S, L, V)
    for one in sets:
        rows = [list(parts).index(part) for part in one]
        own = change[:, rows].reshape(len(change), -1)  # (N * S, L * V)
        directions, nuisance, mean = _nuisance(own)
        for strength in STRENGTHS:
            shrunk = 1 - np.sqrt(strength * mean / (nuisance + strength * mean))
            kept = shrunk > LEAST_SHRUNK
            exchange = Exchange(
                parts=one,
                strength=strength,
                scale=scale[rows],
                directions=directions[:, kept],
                shrunk=shrunk[kept],
            )
            vectors = exchange.vectors(views[:, rows])
            agreement = recording_agreement(vectors, sample.recordings, sample.types)
            rounded = None if agreement is None else round(agreement, 6)
            yield exchange, ExchangeCandidate(parts=one, strength=strength, agreement=rounded)


def recording_agreement(
    vectors: np.ndarray, recordings: np.ndarray, types: np.ndarray
) -> float | None:
    """Return how much nearer calls of one recording are to each other than to those of others.

    Parameters
    ----------
    vectors : np.ndarray [shape=(N, D)]
        Not centred.
    recordings, types : np.ndarray of int [shape=(N,)]
        Pairs are of one type; calls of none (-1) are left out.

    Returns
    -------
    float or None
        Mean over recordings of the ROC AUC of their own pairs against pairs with other recordings;
        None where fewer than ten recordings have both.
    """
    x = unit_rows(centred(vectors, types))
    likeness = x @ x.T
    pairs = (types[:, None] == types) & (types[:, None] >= 0)
    np.fill_diagonal(pairs, val=False)
    is_same = pairs & (recordings[:, None] == recordings)
    areas = []
    for recording in np.unique(recordings):
        own = np.flatnonzero(recordings == recording)
        same = likeness[own][is_same[own]]
        different = np.sort(likeness[own][pairs[own] & ~is_same[own]])
        if len(same) and len(different):
            below = np.searchsorted(different, same, "left")
            upto = np.searchsorted(different, same, "right")
            areas.append(float((below + upto).mean() / (2 * len(different))))
    return float(np.mean(areas)) if len(areas) >= FEWEST_SCORED else None


def centred(vectors: np.ndarray, types: np.ndarray | Sequence[Any]) -> np.ndarray:
    """Return vectors less the mean of their type: what all its calls share tells nobody apart.

    Parameters
    ----------
    vectors : np.ndarray [shape=(N, D)]
    types : sequence of N
        Whatever calls are compared with each other.

    Returns
    -------
    np.ndarray [shape=(N, D)]
    """
    found = vectors.astype(np.float64)
    numbers = np.unique(np.asarray(types), return_inverse=True)[1].ravel()
    for number in np.unique(numbers):
        found[numbers == number] -= found[numbers == number].mean(axis=0)
    return found


def values_of(features: np.ndarray) -> np.ndarray:
    """Return mean and deviation of all rows [shape=(N, L, M * 2 * D)], without the rows' levels."""
    return features[..., :-1].reshape(*features.shape[:2], -1)


def _shared_types(
    order: Sequence[int], events: Sequence[FrameInterval], types: Sequence[int]
) -> list[int]:
    """Return events of types that several recordings share, types in turn; few of a recording."""
    of_type: dict[int, list[int]] = defaultdict(list)
    taken: Counter[tuple[int, str]] = Counter()
    for number in order:
        key = types[number], events[number].recording.content_key
        if types[number] >= 0 and taken[key] < MOST_OF_RECORDING:
            taken[key] += 1
            of_type[types[number]].append(number)
    heard_in = Counter(kind for kind, _ in taken)
    shared = [
        numbers[:MOST_OF_TYPE]
        for kind, numbers in sorted(of_type.items())
        if heard_in[kind] >= FEWEST_RECORDINGS
    ]
    in_turn = sorted((turn, kind) for kind, one in enumerate(shared) for turn in range(len(one)))
    return [shared[kind][turn] for turn, kind in in_turn[:MOST_EVENTS]]


def _nuisance(change: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return directions [shape=(V, K)] and size of what changes, and its mean over all values.

    By the Gram matrix: there are fewer changes than values.
    """
    n_changes, n_values = change.shape
    gram = change.astype(np.float64) @ change.T.astype(np.float64) / n_changes
    sizes, vectors = np.linalg.eigh(gram)
    sizes, vectors = sizes[::-1][:MOST_DIRECTIONS], vectors[:, ::-1][:, :MOST_DIRECTIONS]
    kept = sizes > max(sizes[0], 1e-12) * 1e-9
    directions = change.T @ (vectors[:, kept] / np.sqrt(sizes[kept] * n_changes))
    return directions.astype(np.float32), sizes[kept], float(np.trace(gram)) / n_values


def _filled(values: np.ndarray) -> np.ndarray:
    """Return values with 0 where there is none."""
    return np.where(np.isfinite(values), values, 0)
