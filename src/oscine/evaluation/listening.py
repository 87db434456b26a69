"""The labelled items as the evaluation hears them: plain, in noise, and without the sound itself.

In come items, the tape, the encoder and both readouts; out come vectors of every kind of feature
under every condition, and those of every readout that was not chosen. Called by the steps, asked by
`assess`.

Axes: N items, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oscine.config import ActivityConfig, ReadoutConfig
from oscine.embedding.backgrounds import (
    Change,
    QuietFrames,
    background_excerpt,
    changed_excerpt,
    quiet_frames,
)
from oscine.embedding.choice import (
    MOST_FITTED,
    Family,
    candidates,
    find_backgrounds,
    fit_family,
    other_background,
)
from oscine.embedding.embed import Excerpt, patch_vectors
from oscine.embedding.individual import (
    ExchangeSample,
    IndividualReadout,
    exchange_candidates,
)
from oscine.embedding.intervals import FrameInterval, spread
from oscine.embedding.readout import Readout
from oscine.evaluation.features import (
    KIND_READOUT,
    OURS,
    Heard,
    Reader,
    as_heard,
    encoded,
    hear,
    individual_readers,
    kind_readers,
    read_all,
)
from oscine.evaluation.items import Item
from oscine.model.autoencoder import Encoder
from oscine.model.geometry import unit_rows
from oscine.picture.tape import Tape
from oscine.workspace.catalogue import RecordingRow

SNRS_DB = (20.0, 10.0, 0.0, -10.0)
"""Of other recordings' noise, the sound's mean power over that of the noise."""
CLEAN, BACKGROUND_ONLY, SWAPPED = "clean", "background only", "backgrounds swapped"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Condition:
    """Items as they are heard under one condition.

    Attributes
    ----------
    name : str
    snr_db : float or None
        None where no noise was added.
    kept : np.ndarray of int
        Which of the items could be heard so.
    kinds : dict of str to np.ndarray [shape=(kept, D)]
    individuals : dict of str to np.ndarray [shape=(kept, D)]
        By the readout for individuals, not yet centred; empty where nobody asks.
    """

    name: str
    snr_db: float | None
    kept: np.ndarray
    kinds: dict[str, np.ndarray]
    individuals: dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """A readout that could have been chosen."""

    name: str
    is_chosen: bool


class Listener:
    """Hears labelled items with a frozen model and with the controls.

    Parameters
    ----------
    tape : Tape
    encoder : Encoder
    activity : ActivityConfig
    readout : Readout
    archive : sequence of FrameInterval
        What the readout was fitted on.
    recordings : sequence of RecordingRow
        Whose backgrounds may be used.
    items : sequence of N Item
    individual : (IndividualReadout, ExchangeSample), optional
        Where individuals are asked for.
    seed : int
    """

    def __init__(
        self,
        tape: Tape,
        encoder: Encoder,
        activity: ActivityConfig,
        readout: Readout,
        archive: Sequence[FrameInterval],
        recordings: Sequence[RecordingRow],
        items: Sequence[Item],
        *,
        individual: tuple[IndividualReadout, ExchangeSample] | None = None,
        seed: int = 0,
    ) -> None:
        self._tape, self._encoder, self._activity = tape, encoder, activity
        self._readout, self._archive, self._items = readout, archive, items
        self._individual, self._seed = individual, seed
        self._family: Family | None = None
        self._backgrounds = find_backgrounds(tape, recordings, encoder.picture, seed)
        self._heard = hear(tape, [one.interval for one in items], encoder, readout.config)
        heard = hear(tape, archive, encoder, readout.config)
        self._kinds = kind_readers(heard, encoder, readout, seed=seed)
        self._individuals: dict[str, Reader] = {}
        if individual is not None:
            self._individuals = individual_readers(individual[1], encoder, individual[0], seed=seed)

    @property
    def has_individuals(self) -> bool:
        """Tell whether there is a readout for individuals."""
        return bool(self._individuals)

    def picture(self, number: int) -> np.ndarray:
        """Return the log-mel of an item [shape=(T, F)]."""
        return self._heard.excerpts[number].log_mel

    def vectors(
        self, progress: Callable[[int, int, str], None] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the vectors of all items, by kind of feature."""
        return read_all(self._kinds, self._heard, progress)

    def patches(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """Return the patches of some items by the last layer that is read, each (K, D).

        They are standardised over all of them; their length is their weight, 1 for the heaviest of
        each item.
        """
        config = self._readout.config
        found = [
            patch_vectors(
                self._encoder, self._heard.excerpts[n], config.layers[-1], config.row_sharpness
            )
            for n in numbers
        ]
        everything = np.concatenate([patches for patches, _ in found])
        mean, scale = everything.mean(axis=0), everything.std(axis=0) + 1e-6
        return [
            unit_rows((patches - mean) / scale) * (weights / weights.max())[:, None]
            for patches, weights in found
        ]

    def individuals(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        """Return vectors of some items for comparing individuals, not yet centred."""
        return self._read_individuals(
            lambda config: hear(self._tape, self._intervals(numbers), self._encoder, config)
        )

    def conditions(
        self, numbers: Sequence[int], owners: Sequence[str] | None = None
    ) -> Iterator[Condition]:
        """Hear some items as they are, in noise, and their backgrounds alone.

        Parameters
        ----------
        numbers : sequence of n int
        owners : sequence of n str, optional
            Who calls; backgrounds are swapped between them too.

        Yields
        ------
        Condition
        """
        intervals = self._intervals(numbers)
        everything = np.arange(len(intervals))
        asks = owners is not None and self.has_individuals

        def condition(
            name: str,
            snr_db: float | None,
            kept: np.ndarray,
            make: Callable[[int, ReadoutConfig], Excerpt],
        ) -> Condition:
            def heard(config: ReadoutConfig) -> Heard:
                return as_heard([make(int(number), config) for number in kept])

            return Condition(
                name=name,
                snr_db=snr_db,
                kept=kept,
                kinds=read_all(self._kinds, heard(self._readout.config)),
                individuals=self._read_individuals(heard) if asks else {},
            )

        def changed(number: int, config: ReadoutConfig, change: Change) -> Excerpt:
            one = intervals[number]
            return changed_excerpt(
                self._tape, one.recording, one.frames, self._encoder, config, self._activity, change
            )

        yield condition(CLEAN, None, everything, lambda n, c: changed(n, c, Change()))
        rng = np.random.default_rng(self._seed)
        noises = [other_background(one.recording, self._backgrounds, rng) for one in intervals]
        noisy = np.array([n for n, (noise, _) in enumerate(noises) if noise is not None], int)
        for snr_db in SNRS_DB if len(noisy) else ():
            made = [Change(noise=noise, snr_db=snr_db, first=at) for noise, at in noises]
            yield condition(
                f"noise at {snr_db:+.0f} dB",
                snr_db,
                noisy,
                lambda n, c, made=made: changed(n, c, made[n]),
            )
        quiet = [
            quiet_frames(self._tape, one.recording, self._encoder.picture, one.start_frame)
            for one in intervals
        ]
        firsts = rng.integers(2**31, size=len(intervals))
        silent = np.array([n for n, one in enumerate(quiet) if one is not None], int)
        if len(silent):

            def alone(number: int, config: ReadoutConfig) -> Excerpt:
                own, one = quiet[number], intervals[number]
                assert own is not None
                n_frames = one.stop_frame - one.start_frame
                return background_excerpt(own, int(firsts[number]), n_frames, self._encoder, config)

            yield condition(BACKGROUND_ONLY, None, silent, alone)
        if owners is not None and len(silent):
            changes = _swaps(intervals, owners, quiet, rng)
            swapped = np.array(sorted(changes), int)
            if len(swapped):
                yield condition(SWAPPED, None, swapped, lambda n, c: changed(n, c, changes[n]))

    def alternatives(self, numbers: Sequence[int]) -> Iterator[tuple[Alternative, np.ndarray]]:
        """Read some items with every readout for kinds that could have been chosen.

        Yields
        ------
        alternative : Alternative
        vectors : np.ndarray [shape=(n, D)]
        """
        choice = self._readout.choice
        if choice is None or not choice.candidates:
            return
        configs = candidates(choice.asked, self._encoder.config.depth)
        layers = tuple(sorted({layer for one in configs for layer in one.layers}))
        wide = replace(choice.asked, layers=layers)

        def features(intervals: Sequence[FrameInterval]) -> np.ndarray:
            return encoded(self._encoder, hear(self._tape, intervals, self._encoder, wide), wide)

        if self._family is None:
            fitted_on = spread(self._archive, MOST_FITTED, choice.asked.seed)
            self._family = fit_family(features(fitted_on), layers, configs)
        family, of_items = self._family, features(self._intervals(numbers))
        for one in configs:
            name = (
                f"layers {_listed(one.layers)}, row sharpness {one.row_sharpness:g}, "
                f"{one.dimensions} dimensions, shrinkage {one.shrinkage:g}"
            )
            (vectors,) = family.vectors(one, of_items)
            yield Alternative(name=name, is_chosen=one == self._readout.config), vectors

    def individual_alternatives(
        self, numbers: Sequence[int]
    ) -> Iterator[tuple[Alternative, np.ndarray]]:
        """Read some items with every readout for individuals that could have been chosen."""
        if self._individual is None:
            return
        readout, sample = self._individual
        heard = hear(self._tape, self._intervals(numbers), self._encoder, readout.config)
        for one, vectors in exchange_candidates(sample, self._encoder, readout, heard.excerpts):
            name = f"layers {_listed(one.parts)}, strength {one.strength:g}"
            is_chosen = (one.parts, one.strength) == (
                readout.exchange.parts,
                readout.exchange.strength,
            )
            yield Alternative(name=name, is_chosen=is_chosen), vectors

    def _intervals(self, numbers: Sequence[int]) -> list[FrameInterval]:
        return [self._items[number].interval for number in numbers]

    def _read_individuals(self, heard: Callable[[ReadoutConfig], Heard]) -> dict[str, np.ndarray]:
        """Read by the readout for individuals, and beside it by that for kinds."""
        assert self._individual is not None
        found = read_all(self._individuals, heard(self._individual[0].config))
        kind = self._kinds[OURS](heard(self._readout.config))
        return {OURS: found[OURS], KIND_READOUT: kind, **found}


def _swaps(
    intervals: Sequence[FrameInterval],
    owners: Sequence[str],
    quiet: Sequence[QuietFrames | None],
    rng: np.random.Generator,
) -> dict[int, Change]:
    """Give the items of a recording the background of another individual, as loud as their own."""
    of_recording: dict[str, int] = {}
    for number, one in enumerate(intervals):
        if quiet[number] is not None:
            of_recording.setdefault(one.recording.content_key, number)
    places = list(of_recording.values())
    chosen: dict[str, QuietFrames] = {}
    for key, number in of_recording.items():
        draw = rng.random()
        others = [place for place in places if owners[place] != owners[number]]
        if others:
            found = quiet[others[int(draw * len(others))]]
            assert found is not None
            chosen[key] = found
    return {
        number: Change(without=quiet[number], noise=chosen[one.recording.content_key])
        for number, one in enumerate(intervals)
        if quiet[number] is not None and one.recording.content_key in chosen
    }


def _listed(layers: Sequence[int]) -> str:
    return ", ".join(str(layer) for layer in layers)
