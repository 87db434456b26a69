"""Waveform to log-mel.

In come samples (B, S) at the rate of the configuration; out go frames (B, T, F) of
``log(power + power_floor)``. Called by the tape, block by block, and by notebooks.

Axes: B batch, S samples, T frames, F mel bands.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from oscine.config import PictureConfig, mel_edges_hz

FRAMES_AT_ONCE = 256
"""Frames per call of the transform: more spill out of the processor's caches."""
FILTER_GROUPS = 4


def log_mel(samples: Tensor, config: PictureConfig) -> Tensor:
    """Return the log-mel picture of whole clips.

    Frame t covers the samples ``[t * hop, (t + 1) * hop)`` and is computed from the ``n_fft``
    samples centred on them; before the start and after the end of the clip there is silence.

    Parameters
    ----------
    samples : Tensor [shape=(B, S)]
        At ``config.sample_rate_hz``, full scale 1; float32, or float64 for a reference.
    config : PictureConfig

    Returns
    -------
    Tensor [shape=(B, S // hop_samples, n_mels)]
        Natural logarithm of power, in the type of the samples.
    """
    margin = frame_margin_samples(config)
    n_frames = samples.shape[-1] // config.hop_samples
    padded = torch.nn.functional.pad(samples, (margin, margin + config.hop_samples))
    return log_mel_of_frames(padded, n_frames, config)


def frame_margin_samples(config: PictureConfig) -> int:
    """Return the samples that a frame reaches beyond its own hop, on either side."""
    return (config.n_fft - config.hop_samples) // 2


def log_mel_of_frames(samples: Tensor, n_frames: int, config: PictureConfig) -> Tensor:
    """Return the first `n_frames` frames of samples that start a margin before the first frame.

    Parameters
    ----------
    samples : Tensor [shape=(B, S)]
        At least ``(n_frames - 1) * hop_samples + n_fft`` long.
    n_frames : int
    config : PictureConfig

    Returns
    -------
    Tensor [shape=(B, n_frames, n_mels)]
    """
    window, filters = _window(config, samples.dtype), _filters(config, samples.dtype)
    frames = samples.unfold(-1, config.n_fft, config.hop_samples)  # (B, T, n_fft)
    pieces = []
    for start in range(0, n_frames, FRAMES_AT_ONCE):
        piece = frames[:, start : min(start + FRAMES_AT_ONCE, n_frames)] * window
        squares = torch.view_as_real(torch.fft.rfft(piece)).square_()  # (B, T, n_fft/2 + 1, 2)
        power = squares[..., 0] + squares[..., 1]  # (B, T, n_fft/2 + 1)
        mel = torch.cat([power[..., low:high] @ some for low, high, some in filters], dim=-1)
        pieces.append(mel.add_(config.power_floor).log_())  # (B, T, F)
    if not pieces:
        return samples.new_zeros(samples.shape[0], 0, config.n_mels)
    return torch.cat(pieces, dim=1)  # (B, n_frames, F)


def band_edges_hz(config: PictureConfig) -> np.ndarray:
    """Return the edges of the bands, as of :func:`oscine.config.mel_edges_hz`.

    Parameters
    ----------
    config : PictureConfig

    Returns
    -------
    np.ndarray of float64 [shape=(n_mels + 2,)]
    """
    return np.array(mel_edges_hz(config.low_hz, config.high_hz, config.n_mels))


def mel_filters(config: PictureConfig) -> np.ndarray:
    """Return the triangular filters, of height 1 (no area norm).

    Parameters
    ----------
    config : PictureConfig

    Returns
    -------
    np.ndarray of float64 [shape=(n_fft // 2 + 1, n_mels)]
    """
    bins = np.fft.rfftfreq(config.n_fft, 1.0 / config.sample_rate_hz)[:, None]
    edges = band_edges_hz(config)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def n_valid_bands(native_rate_hz: int, config: PictureConfig) -> int:
    """Return how many of the lowest bands lie wholly below a recording's own Nyquist frequency.

    Parameters
    ----------
    native_rate_hz : int
        The rate at which the recording was made.
    config : PictureConfig

    Returns
    -------
    int
        The bands above are invalid: never a token, a target or a pooled value.
    """
    return int(np.sum(band_edges_hz(config)[2:] <= native_rate_hz / 2 + 1e-6))


@lru_cache(maxsize=8)
def _window(config: PictureConfig, dtype: torch.dtype) -> Tensor:
    return torch.hann_window(config.n_fft, dtype=torch.float64).to(dtype)  # periodic


@lru_cache(maxsize=8)
def _filters(config: PictureConfig, dtype: torch.dtype) -> list[tuple[int, int, Tensor]]:
    """Return the filters in groups of neighbouring bands, with the bins [low, high) of each.

    Most of the whole matrix is zeros: in groups, its product takes a third of the time.
    """
    groups = []
    for filters in np.array_split(mel_filters(config), FILTER_GROUPS, axis=1):
        bins = np.flatnonzero(filters.any(axis=1))
        low, high = int(bins[0]), int(bins[-1]) + 1
        groups.append((low, high, torch.from_numpy(filters[low:high]).to(dtype)))
    return groups
