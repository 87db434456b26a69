"""The vectors that are compared: those of the frozen model, and of controls that learned nothing.

In come intervals of recordings, the tape, and encoders; out comes one vector an interval for each
kind of feature. Statistics of log-mel and MFCC stand beside the model plain, and behind the same
readout (activity weights, centring, whitening) fitted on the same intervals of the archive, for
the readout is worth as much as the model. Used by the evaluation and by `benchmarks/`.

Axes: N intervals, T frames, F mel bands, L layers, M frequency rows, V values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import dct

from oscine.config import ReadoutConfig
from oscine.embedding.embed import Excerpt, encoded_excerpts, tape_excerpt
from oscine.embedding.individual import (
    ExchangeSample,
    IndividualReadout,
    centred,
    fit_exchange,
    fit_individual,
)
from oscine.embedding.intervals import FrameInterval
from oscine.embedding.readout import Readout, fit_readout
from oscine.model.autoencoder import Encoder, MaskedAutoencoder, initialise
from oscine.picture.activity import DB_PER_NAT
from oscine.picture.tape import Tape

N_COEFFICIENTS = 20
"""Cepstral coefficients: what is usual for MFCC."""

OURS, PLAIN_MEAN, RANDOM = "model", "model, plain mean", "random encoder"
LOG_MEL, LOG_MEL_PLAIN = "log-mel", "log-mel, plain"
MFCC, MFCC_PLAIN = "MFCC", "MFCC, plain"
LOG_MEL_SCALED, MFCC_SCALED = "log-mel, standardised", "MFCC, standardised"
"""Plain, but scaled to unit deviation within the type of the calls that are compared."""
KIND_READOUT = "model, readout for kinds"
KINDS = (OURS, PLAIN_MEAN, RANDOM, LOG_MEL, LOG_MEL_PLAIN, MFCC, MFCC_PLAIN)
"""The kinds of feature; those that are not plain stand behind the same readout."""

Frames = Callable[[np.ndarray], np.ndarray]
"""Log-mel [shape=(T, F)] to features of each frame [shape=(T, V)]."""


Reader = Callable[["Heard"], np.ndarray]
"""Intervals to vectors [shape=(N, D)]."""


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
    excerpts = [tape_excerpt(tape, one.recording, one.frames, encoder, config) for one in intervals]
    return as_heard(excerpts)


def as_heard(excerpts: Sequence[Excerpt]) -> Heard:
    """Return excerpts with the frames that lie inside their intervals."""
    inside = [np.flatnonzero(one.weights) for one in excerpts]
    return Heard(excerpts=list(excerpts), spans=[(int(x[0]), int(x[-1]) + 1) for x in inside])


def encoded(encoder: Encoder, heard: Heard, config: ReadoutConfig) -> np.ndarray:
    """Return the features of an encoder, pooled, before the readout.

    Returns
    -------
    np.ndarray of float32 [shape=(N, L, M, 2 * D + 1)]
    """
    return encoded_excerpts(encoder, heard.excerpts, config)


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

    Bands that a recording does not have are taken to be as loud as its highest: vectors must be of
    one length, and what a file holds there is no sound.

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
        x = frames(_extended(one.log_mel[start:stop], one.n_bands))
        weights = one.weights[start:stop] if weighted else np.ones(len(x))
        with_change = frames is cepstral_frames
        found.append(_moments(x, weights / weights.sum(), with_change=with_change))
    return np.stack(found)


def statistics_as_features(heard: Heard, frames: Frames) -> np.ndarray:
    """Return weighted statistics in the shape that the readout takes.

    Log-mel keeps the frequency rows of the encoder apart, with their levels, and has NaN in those
    that are not wholly valid, as the encoder has; cepstral coefficients have no frequency and are
    one row.

    Returns
    -------
    np.ndarray of float64 [shape=(N, 1, M, V + 1)]
    """
    values = statistics(heard, frames, weighted=True)
    if frames is cepstral_frames:
        below = np.zeros((len(values), 1, 1, 1))
        return np.concatenate([values[:, None, None, :], below], axis=-1)
    below = np.stack([one.below for one in heard.excerpts])[:, None, :, None]  # (N, 1, M, 1)
    n_rows = below.shape[2]
    rows = values.reshape(len(values), 2, n_rows, -1)  # mean and deviation
    n_bands = np.array([one.n_bands for one in heard.excerpts])  # (N,)
    is_valid = np.arange(1, n_rows + 1) * rows.shape[-1] <= n_bands[:, None]  # (N, M)
    rows[~np.broadcast_to(is_valid[:, None], rows.shape[:3])] = np.nan
    return np.concatenate([rows[:, :1], rows[:, 1:], below], axis=-1)


def fitted_readout(features: np.ndarray, config: ReadoutConfig) -> Readout:
    """Fit a readout on the features of some intervals.

    Parameters
    ----------
    features : np.ndarray [shape=(K, L, M, V + 1)]
    config : ReadoutConfig
        Settled; its layers are taken for those of the features.

    Returns
    -------
    Readout
    """
    config = replace(config, layers=tuple(range(features.shape[1])))
    if features.shape[1:3] == (1, 1):  # one block: the first PCA must drop nothing
        config = replace(config, block_dimensions=features.shape[-1])
    return fit_readout(lambda start, stop: features[start:stop], len(features), config, "")


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
    return fitted_readout(fitted_on, config).vectors(features)


def kind_readers(
    archive: Heard, encoder: Encoder, readout: Readout, *, seed: int = 0
) -> dict[str, Reader]:
    """Return what reads intervals as vectors, for every kind of feature.

    Parameters
    ----------
    archive : Heard
        The intervals that the readout was fitted on: those of the controls are fitted on the same.
    encoder : Encoder
    readout : Readout
        That of the workspace.
    seed : int
        Of the random encoder.

    Returns
    -------
    dict of str to callable
    """
    config = readout.config
    random = random_encoder(encoder, seed)

    def behind_readout(features: Callable[[Heard], np.ndarray]) -> Reader:
        fit = fitted_readout(features(archive), config)
        return lambda heard: fit.vectors(features(heard))

    return {
        OURS: lambda heard: readout.vectors(encoded(encoder, heard, config)),
        PLAIN_MEAN: lambda heard: plain_mean(encoder, heard, config),
        RANDOM: behind_readout(lambda heard: encoded(random, heard, config)),
        LOG_MEL: behind_readout(lambda heard: statistics_as_features(heard, log_mel_frames)),
        LOG_MEL_PLAIN: lambda heard: statistics(heard, log_mel_frames, weighted=False),
        MFCC: behind_readout(lambda heard: statistics_as_features(heard, cepstral_frames)),
        MFCC_PLAIN: lambda heard: statistics(heard, cepstral_frames, weighted=False),
    }


def individual_readers(
    sample: ExchangeSample, encoder: Encoder, readout: IndividualReadout, *, seed: int = 0
) -> dict[str, Reader]:
    """Return what reads calls to compare individuals, for every kind of feature.

    Controls behind the same readout have their backgrounds exchanged on the same sample, their
    strength (and the layers of the random encoder) chosen in the same way.

    Parameters
    ----------
    sample : ExchangeSample
    encoder : Encoder
    readout : IndividualReadout
        That of the workspace.
    seed : int
        Of the random encoder.

    Returns
    -------
    dict of str to callable
        Vectors as they come; :func:`compared_within` readies them for comparison.
    """
    random = random_encoder(encoder, seed)
    of_random = fit_individual(sample, random, readout.config, "")

    def exchanged(frames: Frames) -> Reader:
        def values(excerpts: Sequence[Excerpt]) -> np.ndarray:
            return statistics(as_heard(excerpts), frames, weighted=True)[:, None]

        exchange, _ = fit_exchange(sample, values, (0,), [(0,)])
        return lambda heard: exchange.vectors(values(heard.excerpts))

    def plain(frames: Frames) -> Reader:
        return lambda heard: statistics(heard, frames, weighted=False)

    return {
        OURS: lambda heard: readout.vectors(encoded(encoder, heard, readout.config)),
        RANDOM: lambda heard: of_random.vectors(encoded(random, heard, of_random.config)),
        LOG_MEL: exchanged(log_mel_frames),
        LOG_MEL_SCALED: plain(log_mel_frames),
        LOG_MEL_PLAIN: plain(log_mel_frames),
        MFCC: exchanged(cepstral_frames),
        MFCC_SCALED: plain(cepstral_frames),
        MFCC_PLAIN: plain(cepstral_frames),
    }


def compared_within(kind: str, vectors: np.ndarray, types: Sequence[str]) -> np.ndarray:
    """Return vectors of calls ready to be compared within their type.

    Parameters
    ----------
    kind : str
        What is behind the readout for individuals is centred within the type; what is
        'standardised' is scaled to unit deviation too; the rest stays as it comes.
    vectors : np.ndarray [shape=(N, D)]
    types : sequence of N str

    Returns
    -------
    np.ndarray of float64 [shape=(N, D)]
    """
    if kind in (LOG_MEL_PLAIN, MFCC_PLAIN, KIND_READOUT):
        return vectors.astype(np.float64)
    found = centred(vectors, types)
    if kind in (LOG_MEL_SCALED, MFCC_SCALED):
        for one in set(types):
            own = np.array([kind_of == one for kind_of in types])
            found[own] /= found[own].std(axis=0) + 1e-9
    return found


def read_all(
    readers: Mapping[str, Reader],
    heard: Heard,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, np.ndarray]:
    """Return the vectors of every kind of feature.

    Parameters
    ----------
    readers : mapping of str to callable
    heard : Heard
        N intervals.
    progress : callable, optional
        Told the kinds done, their number, and the one at hand.

    Returns
    -------
    dict of str to np.ndarray [shape=(N, D)]
    """
    vectors = {}
    for number, (kind, reader) in enumerate(readers.items()):
        if progress is not None:
            progress(number, len(readers), kind)
        vectors[kind] = reader(heard)
    if progress is not None:
        progress(len(readers), len(readers), "")
    return vectors


def _extended(log_mel: np.ndarray, n_bands: int) -> np.ndarray:
    """Return frames (T, F) with the highest valid band in place of those above it."""
    return log_mel[:, np.minimum(np.arange(log_mel.shape[1]), n_bands - 1)]


def _moments(x: np.ndarray, weights: np.ndarray, *, with_change: bool) -> np.ndarray:
    """Return weighted mean and deviation of each column, and the deviation of its differences."""
    mean = weights @ x
    found = [mean, np.sqrt(weights @ np.square(x - mean))]
    if with_change:
        change = np.diff(x, axis=0, prepend=x[:1])
        found.append(np.sqrt(np.maximum(weights @ np.square(change - weights @ change), 0)))
    return np.concatenate(found)
