"""Which readout suits an archive? Chosen by what the archive itself says, without labels.

In come events of the tape and an encoder; out comes the setting under which an event stays nearer
to itself than to other events, although it is cropped, louder or fainter, and heard before the
background of another recording. Called once, before the readout is fitted.

Axes: N events, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from oscine.config import ActivityConfig, PictureConfig, ReadoutConfig
from oscine.embedding.backgrounds import Change, QuietFrames, changed_excerpt, quiet_frames
from oscine.embedding.embed import (
    ENCODED_AT_ONCE,
    Excerpt,
    pooled_features,
    tape_excerpt,
)
from oscine.embedding.intervals import FrameInterval, spread
from oscine.embedding.readout import Candidate, Choice, FittedBlocks, Readout, fit_blocks
from oscine.model.autoencoder import Encoder
from oscine.picture.tape import Tape
from oscine.workspace.catalogue import RecordingRow

MOST_EVENTS = 400
"""Events that are listened to."""
N_VIEWS = 3
"""Times that each is listened to: every two views are compared."""
FEWEST_EVENTS = 40
"""Fewer cannot tell one setting from another."""
MOST_FITTED = 2000
"""Intervals that the candidates are fitted on."""
MOST_BACKGROUNDS = 200
SHORTEST_CROP = 0.7
MOST_GAIN_DB = 6.0
SNR_DB = 10.0
ROW_SHARPNESSES = (0.0, 1.5)
DIMENSIONS = (32, 128)
SHRINKAGES = (0.3, 3.0, 10.0, 100.0)
WITHOUT_CHOICE = {"row_sharpness": 1.5, "dimensions": 128, "shrinkage": 3.0}
"""What is taken where an archive is too small to choose, with the layers of `layer_sets`' last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Readouts of all candidates, fitted on the same intervals.

    Attributes
    ----------
    layers : tuple of int
        All that any of them reads.
    by_sharpness : dict of float to FittedBlocks
    configs : tuple of ReadoutConfig
    """

    layers: tuple[int, ...]
    by_sharpness: dict[float, FittedBlocks]
    configs: tuple[ReadoutConfig, ...]

    def vectors(self, config: ReadoutConfig, *features: np.ndarray) -> list[np.ndarray]:
        """Read features of all layers [each shape=(N, L, M, V + 1)] with one of them."""
        readout = self.readout(config)
        rows = [self.layers.index(layer) for layer in config.layers]
        return [readout.vectors(one[:, rows]) for one in features]

    def readout(self, config: ReadoutConfig) -> Readout:
        """Return the readout of a candidate."""
        return self.by_sharpness[config.row_sharpness].readout(config)


def layer_sets(depth: int) -> list[tuple[int, ...]]:
    """Return the sets of layers to choose from: five single ones, early ones, and from all over.

    Parameters
    ----------
    depth : int
        Blocks of the encoder; layer 0 is the embedded patches.

    Returns
    -------
    list of tuple of int
    """
    spaced = sorted({round(depth * number / 4) for number in range(5)})
    sets = [*((layer,) for layer in spaced), tuple(spaced[:3])]
    return list(dict.fromkeys([*sets, tuple(sorted({*spaced[1:3], spaced[-1]}))]))


def candidates(config: ReadoutConfig, depth: int) -> list[ReadoutConfig]:
    """Return the settings to choose from: all ways to fill in what is left open."""
    everything = product(layer_sets(depth), ROW_SHARPNESSES, DIMENSIONS, SHRINKAGES)
    return list(dict.fromkeys(config.settled(*one) for one in everything))


def fit_family(
    features: np.ndarray, layers: tuple[int, ...], configs: Sequence[ReadoutConfig]
) -> Family:
    """Fit all candidates on the features of some intervals.

    Parameters
    ----------
    features : np.ndarray of float32 [shape=(N, L, M, V + 1)]
    layers : tuple of L int
    configs : sequence of ReadoutConfig
        Settled.

    Returns
    -------
    Family
    """
    blocks = {
        sharpness: fit_blocks(
            lambda start, stop: features[start:stop],
            len(features),
            replace(configs[0], layers=layers, row_sharpness=sharpness),
            "",
        )
        for sharpness in dict.fromkeys(one.row_sharpness for one in configs)
    }
    return Family(layers=layers, by_sharpness=blocks, configs=tuple(configs))


def choose_readout(
    tape: Tape,
    encoder: Encoder,
    config: ReadoutConfig,
    activity: ActivityConfig,
    events: Sequence[FrameInterval],
    sample: Sequence[FrameInterval],
    recordings: Sequence[RecordingRow],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ReadoutConfig, Choice]:
    """Fill in what a configuration leaves open by what the archive says.

    Three views of each event are compared, two by two: each cropped to 70-100 % of its length, 6 dB
    louder or fainter at most, and before the quiet frames of another recording 10 dB below it. The
    setting is taken under which the largest share of other events is less alike to one view than
    the other view is.

    Parameters
    ----------
    tape : Tape
    encoder : Encoder
    config : ReadoutConfig
    activity : ActivityConfig
    events : sequence of FrameInterval
        Of the archive; at most 400 are listened to.
    sample : sequence of FrameInterval
        What the readout will be fitted on; the candidates are fitted on at most 2,000 of it.
    recordings : sequence of RecordingRow
        Whose backgrounds may be used.
    progress : callable, optional
        Told the intervals encoded and their number.

    Returns
    -------
    settled : ReadoutConfig
    choice : Choice
    """
    configs = candidates(config, encoder.config.depth)
    some = spread(sorted(events, key=lambda one: one.content_key), MOST_EVENTS, config.seed)
    if len(some) < FEWEST_EVENTS:
        last = layer_sets(encoder.config.depth)[-1]
        choice = Choice(asked=config, candidates=(), n_events=len(some), n_backgrounds=0)
        return config.settled(last, **WITHOUT_CHOICE), choice
    layers = tuple(sorted({layer for one in configs for layer in one.layers}))
    wide = replace(config, layers=layers)
    backgrounds = find_backgrounds(tape, recordings, encoder.picture, config.seed)
    fitted_on = spread(sample, MOST_FITTED, config.seed)
    n_steps = len(fitted_on) + N_VIEWS * len(some)
    done = 0

    def encoded(
        make: Callable[[FrameInterval], Excerpt], what: Sequence[FrameInterval]
    ) -> np.ndarray:
        nonlocal done
        parts = []
        for start in range(0, len(what), ENCODED_AT_ONCE):
            portion = what[start : start + ENCODED_AT_ONCE]
            parts.append(pooled_features(encoder, [make(one) for one in portion], wide))
            done += len(portion)
            if progress is not None:
                progress(done, n_steps)
        return np.concatenate(parts)

    family = fit_family(
        encoded(
            lambda one: tape_excerpt(tape, one.recording, one.frames, encoder, wide), fitted_on
        ),
        layers,
        configs,
    )
    rng = np.random.default_rng(config.seed)
    views = [
        encoded(lambda one: _view(tape, one, encoder, wide, activity, backgrounds, rng), some)
        for _ in range(N_VIEWS)
    ]

    def agreement(one: ReadoutConfig) -> float:
        pairs = combinations(family.vectors(one, *views), 2)
        return round(float(np.mean([consistency(*two) for two in pairs])), 6)

    found = tuple(
        Candidate(
            layers=one.layers,
            row_sharpness=one.row_sharpness,
            dimensions=one.dimensions,
            shrinkage=one.shrinkage,
            consistency=agreement(one),
        )
        for one in configs
    )
    best = configs[int(np.argmax([one.consistency for one in found]))]
    return best, Choice(
        asked=config, candidates=found, n_events=len(some), n_backgrounds=len(backgrounds)
    )


def consistency(one: np.ndarray, other: np.ndarray) -> float:
    """Return how much nearer things stay to themselves than to others.

    Parameters
    ----------
    one, other : np.ndarray [shape=(N, D)]
        Vectors of unit length of two views of the same things.

    Returns
    -------
    float
        Mean over things, and over both directions, of the share of other things that are less
        alike than the other view; ties count half. 0.5 by chance.
    """
    likeness = one.astype(np.float64) @ other.T.astype(np.float64)
    own = np.diag(likeness)
    less = 0.0
    for rows in (likeness, likeness.T):
        ties = np.sum(rows == own[:, None], axis=1) - 1  # the own pair is none
        less += np.mean(np.sum(rows < own[:, None], axis=1) + ties / 2)
    return float(less / (2 * (len(own) - 1)))


def find_backgrounds(
    tape: Tape, recordings: Sequence[RecordingRow], picture: PictureConfig, seed: int
) -> list[QuietFrames]:
    """Return the quiet frames of recordings that have enough of them, in an order by content."""
    heard = sorted((one for one in recordings if one.n_frames), key=lambda one: one.content_key)
    found = (quiet_frames(tape, one, picture) for one in spread(heard, MOST_BACKGROUNDS, seed))
    return [one for one in found if one is not None]


def other_background(
    recording: RecordingRow, backgrounds: Sequence[QuietFrames], rng: np.random.Generator
) -> tuple[QuietFrames | None, int]:
    """Draw the background of another recording, and its first frame; None if there is no other.

    One that has all bands of the recording is taken where there is such.
    """
    draws = rng.random(2)
    others = [one for one in backgrounds if one.recording.content_key != recording.content_key]
    if not others:
        return None, 0
    others = [
        one for one in others if one.recording.n_valid_bands >= recording.n_valid_bands
    ] or others
    chosen = others[int(draws[0] * len(others))]
    return chosen, int(draws[1] * len(chosen.log_mel))


def _view(
    tape: Tape,
    one: FrameInterval,
    encoder: Encoder,
    config: ReadoutConfig,
    activity: ActivityConfig,
    backgrounds: Sequence[QuietFrames],
    rng: np.random.Generator,
) -> Excerpt:
    """Hear an event cropped, louder or fainter, and before another background."""
    draws = rng.random(3)
    n_frames = one.stop_frame - one.start_frame
    length = max(1, round(n_frames * (SHORTEST_CROP + (1 - SHORTEST_CROP) * draws[0])))
    start = one.start_frame + int(draws[1] * (n_frames - length + 1))
    noise, first = other_background(one.recording, backgrounds, rng)
    change = Change(
        noise=noise, snr_db=SNR_DB, first=first, gain_db=MOST_GAIN_DB * (2 * draws[2] - 1)
    )
    return changed_excerpt(
        tape, one.recording, (start, start + length), encoder, config, activity, change
    )
