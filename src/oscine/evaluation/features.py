"""The vectors that are compared: those of the frozen model, and of controls that learned nothing.

In come intervals of recordings, the tape, and encoders; out comes one vector an interval for each
kind of feature. Statistics of log-mel and MFCC stand beside the model plain, and behind the same
readout (activity weights, centring, whitening) fitted on the same intervals of the archive, for
the readout is worth as much as the model. Used by the evaluation and by `benchmarks/`.

Axes: N intervals, T frames, F mel bands, L layers, M frequency rows, V values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import dct

from oscine.config import ReadoutConfig
from oscine.embedding.embed import Excerpt, pooled_features, tape_excerpt
from oscine.embedding.intervals import FrameInterval
from oscine.embedding.readout import Readout, fit_readout
from oscine.model.autoencoder import Encoder, MaskedAutoencoder, initialise
from oscine.picture.activity import DB_PER_NAT
from oscine.picture.tape import Tape

N_COEFFICIENTS = 20
"""Cepstral coefficients: what is usual for MFCC."""
ENCODED_AT_ONCE = 512

OURS, PLAIN_MEAN, RANDOM = "model", "model, plain mean", "random encoder"
LOG_MEL, LOG_MEL_PLAIN = "log-mel", "log-mel, plain"
MFCC, MFCC_PLAIN = "MFCC", "MFCC, plain"
KINDS = (OURS, PLAIN_MEAN, RANDOM, LOG_MEL, LOG_MEL_PLAIN, MFCC, MFCC_PLAIN)
"""The kinds of feature; those that are not plain stand behind the same readout."""

Frames = Callable[[np.ndarray], np.ndarray]
"""Log-mel [shape=(T, F)] to features of each frame [shape=(T, V)]."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Heard:
    """Intervals as they lie on the tape, with the weight of each frame.

    Attributes
    ----------
    excerpts : list of N Excerpt
    spans : list of N (start, stop)
        Frames of each excerpt that lie inside its interval.
    """

    excerpts: list[Excerpt]
    spans: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.excerpts)


def hear(
    tape: Tape, intervals: Sequence[FrameInterval], encoder: Encoder, config: ReadoutConfig
) -> Heard:
    """Read intervals from the tape.

    Parameters
    ----------
    tape : Tape
    intervals : sequence of N FrameInterval
    encoder : Encoder
        For its patches and its corpus deviation.
    config : ReadoutConfig

    Returns
    -------
    Heard
    """
    excerpts = [
        tape_excerpt(tape, one.recording, (one.start_frame, one.stop_frame), encoder, config)
        for one in intervals
    ]
    inside = [np.flatnonzero(one.weights) for one in excerpts]
    return Heard(excerpts=excerpts, spans=[(int(x[0]), int(x[-1]) + 1) for x in inside])


def encoded(encoder: Encoder, heard: Heard, config: ReadoutConfig) -> np.ndarray:
    """Return the features of an encoder, pooled, before the readout.

    Returns
    -------
    np.ndarray of float32 [shape=(N, L, M, 2 * D + 1)]
    """
    return np.concatenate(
        [
            pooled_features(encoder, heard.excerpts[start : start + ENCODED_AT_ONCE], config)
            for start in range(0, len(heard), ENCODED_AT_ONCE)
        ]
    )


def random_encoder(encoder: Encoder, seed: int) -> Encoder:
    """Return an encoder of the same shape whose weights have learned nothing."""
    model = initialise(MaskedAutoencoder(encoder.config, encoder.picture), seed)
    model.encoder.log_mel_mean.copy_(encoder.log_mel_mean)
    model.encoder.log_mel_std.copy_(encoder.log_mel_std)
    return model.encoder.eval().requires_grad_(False)


def plain_mean(encoder: Encoder, heard: Heard, config: ReadoutConfig) -> np.ndarray:
    """Return the mean of the last layer over all patches: what is usually done.

    Returns
    -------
    np.ndarray of float32 [shape=(N, D)]
    """
    even = [
        replace(one, weights=(one.weights > 0).astype(float), grids=one.grids[:1])
        for one in heard.excerpts
    ]
    last = encoded(
        encoder, replace(heard, excerpts=even), replace(config, layers=(-1,))
    )  # (N, 1, M, 2 * D + 1)
    return np.nanmean(last[:, 0, :, : encoder.config.width], axis=1)


def log_mel_frames(log_mel: np.ndarray) -> np.ndarray:
    """Return the log-mel itself."""
    return log_mel


def cepstral_frames(log_mel: np.ndarray) -> np.ndarray:
    """Return MFCC: the first 20 cosine coefficients of the log-mel, in decibels [shape=(T, 20)]."""
    coefficients = np.asarray(dct(log_mel * DB_PER_NAT, type=2, norm="ortho", axis=1))
    return coefficients[:, :N_COEFFICIENTS]


def statistics(heard: Heard, frames: Frames, *, weighted: bool) -> np.ndarray:
    """Return mean and deviation over time of frame features, of MFCC also that of differences.

    Parameters
    ----------
    heard : Heard
    frames : callable
    weighted : bool
        By activity, as the readout does; otherwise each frame counts alike.

    Returns
    -------
    np.ndarray of float64 [shape=(N, 2 * V) or (N, 3 * V)]
    """
    found = []
    for one, (start, stop) in zip(heard.excerpts, heard.spans, strict=True):
        x = frames(one.log_mel[start:stop])
        weights = one.weights[start:stop] if weighted else np.ones(len(x))
        with_change = frames is cepstral_frames
        found.append(_moments(x, weights / weights.sum(), with_change=with_change))
    return np.stack(found)


def statistics_as_features(heard: Heard, frames: Frames) -> np.ndarray:
    """Return weighted statistics in the shape that the readout takes.

    Log-mel keeps the frequency rows of the encoder apart, with their levels; cepstral coefficients
    have no frequency and are one row.

    Returns
    -------
    np.ndarray of float64 [shape=(N, 1, M, V + 1)]
    """
    values = statistics(heard, frames, weighted=True)
    if frames is cepstral_frames:
        below = np.zeros((len(values), 1, 1, 1))
        return np.concatenate([values[:, None, None, :], below], axis=-1)
    below = np.stack([one.below for one in heard.excerpts])[:, None, :, None]  # (N, 1, M, 1)
    rows = values.reshape(len(values), 2, below.shape[2], -1)  # mean and deviation
    return np.concatenate([rows[:, :1], rows[:, 1:], below], axis=-1)


def same_readout(fitted_on: np.ndarray, features: np.ndarray, config: ReadoutConfig) -> np.ndarray:
    """Fit a readout on the features of some intervals, and read others with it.

    Parameters
    ----------
    fitted_on : np.ndarray [shape=(K, L, M, V + 1)]
    features : np.ndarray [shape=(N, L, M, V + 1)]
    config : ReadoutConfig

    Returns
    -------
    np.ndarray of float32 [shape=(N, D)]
    """
    if fitted_on.shape[1:3] == (1, 1):  # one block: the first PCA must drop nothing
        config = replace(config, block_dimensions=fitted_on.shape[-1])
    fit = fit_readout(lambda start, stop: fitted_on[start:stop], len(fitted_on), config, "")
    return fit.vectors(features)


def all_vectors(
    heard: Heard,
    archive: Heard,
    encoder: Encoder,
    readout: Readout,
    *,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, np.ndarray]:
    """Return the vectors of every kind of feature.

    Parameters
    ----------
    heard : Heard
        N intervals.
    archive : Heard
        The intervals that the readout was fitted on: those of the controls are fitted on the same.
    encoder : Encoder
    readout : Readout
        That of the workspace.
    seed : int
        Of the random encoder.
    progress : callable, optional
        Told the kinds done, their number, and the one at hand.

    Returns
    -------
    dict of str to np.ndarray [shape=(N, D)]
    """
    config = readout.config
    random = random_encoder(encoder, seed)
    make: dict[str, Callable[[], np.ndarray]] = {
        OURS: lambda: readout.vectors(encoded(encoder, heard, config)),
        PLAIN_MEAN: lambda: plain_mean(encoder, heard, config),
        RANDOM: lambda: same_readout(
            encoded(random, archive, config), encoded(random, heard, config), config
        ),
    }
    for name, plain, frames in (
        (LOG_MEL, LOG_MEL_PLAIN, log_mel_frames),
        (MFCC, MFCC_PLAIN, cepstral_frames),
    ):
        make[name] = lambda f=frames: same_readout(
            statistics_as_features(archive, f), statistics_as_features(heard, f), config
        )
        make[plain] = lambda f=frames: statistics(heard, f, weighted=False)
    vectors = {}
    for number, kind in enumerate(KINDS):
        if progress is not None:
            progress(number, len(KINDS), kind)
        vectors[kind] = make[kind]()
    if progress is not None:
        progress(len(KINDS), len(KINDS), "")
    return vectors


def _moments(x: np.ndarray, weights: np.ndarray, *, with_change: bool) -> np.ndarray:
    """Return weighted mean and deviation of each column, and the deviation of its differences."""
    mean = weights @ x
    found = [mean, np.sqrt(weights @ np.square(x - mean))]
    if with_change:
        change = np.diff(x, axis=0, prepend=x[:1])
        found.append(np.sqrt(np.maximum(weights @ np.square(change - weights @ change), 0)))
    return np.concatenate(found)
