"""What can be measured in a sound by plain physics, to ask the layers of a model for it.

In come the samples of an interval; out come named quantities: spectral (level, centroid, bandwidth,
band energies), harmonic (fundamental frequency, harmonicity) and temporal (duration, attack,
modulation, elements). What a sound does not have is NaN. Used by the probes of layers.

Everything is measured between 50 Hz and 16 kHz, as on the tape of birds: what is below is wind and
handling. For animals that are higher and faster, or lower and slower, all of this, in Hertz and in
seconds, goes with a speed: their sounds are measured as if played at a bird's pace.

Axes: S samples, K steps of the envelope, R frames, F frequencies, W samples of a frame, T lags.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import signal
from scipy.fft import next_fast_len

from oscine.config import PictureConfig

LOW_HZ, HIGH_HZ = 50.0, 16_000.0
N_BANDS = 8
SPECTRUM_S = 0.032
"""Pieces whose spectra are averaged."""
QUIETEST_BAND_DB = -80.0
"""Of a band's energy, relative to the total: below that, it is what the encoder left."""
SILENCE_DB = -120.0
"""Relative to full scale: below the rounding noise of 16 bits, nothing was recorded."""

LOWEST_F0_HZ, HIGHEST_F0_HZ = 60.0, 8_000.0
LAG_RATE_HZ = 96_000
"""Least rate at which lags are looked at: the highest pitch has a period of twelve samples."""
HOP_S = 0.01
FRAMES_AT_ONCE = 128
LOUD_DB = 20.0
"""Frames this far below the loudest are not asked for pitch."""
ABOVE_BACKGROUND_DB = 3.0
DIP_MARGIN = 0.1
"""The period is the shortest lag whose dip is this near to the deepest (YIN's threshold, which is
counted from the deepest dip here, so that noise does not turn a period into its multiples)."""
VOICED_APERIODICITY = 0.25
"""A frame is voiced when at most this share of its power does not repeat."""
VOICED_SHARE = 0.25
"""Fewest of the loud frames that must be voiced for a sound to have a pitch."""

ENVELOPE_HZ = 500
SMOOTHING_S = 0.008
"""Of the envelope, so that pitch does not pass for modulation."""
MODULATION_HZ = (2.0, 100.0)
LEAST_DEPTH = 0.05
"""Of a modulation, relative to the mean amplitude."""
ELEMENT_PROMINENCE = 0.25
"""How far the envelope falls beside a peak that counts, relative to the highest."""

QUANTITIES = {
    "level_db": "spectral",
    "centroid_hz": "spectral",
    "bandwidth_hz": "spectral",
    **{f"band_{number}_db": "spectral" for number in range(1, N_BANDS + 1)},
    "f0_hz": "harmonic",
    "harmonicity_db": "harmonic",
    "duration_s": "temporal",
    "attack_s": "temporal",
    "modulation_hz": "temporal",
    "element_rate_hz": "temporal",
}
"""The family of each quantity that is measured."""


def picture_speed(picture: PictureConfig) -> float:
    """Return how many times as high as birds a picture reaches."""
    return picture.high_hz / HIGH_HZ


def measured(
    samples: np.ndarray,
    sample_rate_hz: int,
    *,
    background_db: float = -math.inf,
    speed: float = 1.0,
) -> dict[str, float]:
    """Measure a sound.

    Parameters
    ----------
    samples : np.ndarray of float [shape=(S,)]
        Of the interval alone, full scale being 1, at the rate at which they were recorded.
    sample_rate_hz : int
    background_db : float
        Level of the surroundings, as of :func:`background_level_db`: its power is taken off the
        level and the envelope, and frames that do not stand out of it are not asked for pitch.
    speed : float
        As of :func:`picture_speed`: ranges below are those at 1.

    Returns
    -------
    dict of str to float
        The names of `QUANTITIES`; NaN where the sound has no such quantity (silence has a duration
        only, noise no pitch, a single element no rate).

        level_db
            Mean power relative to full scale.
        centroid_hz, bandwidth_hz
            Mean and standard deviation of frequency, weighted by power.
        band_1_db to band_8_db
            Energy in bands of equal width on the mel scale, relative to the total, at least -80.
            NaN in bands above the Nyquist frequency.
        f0_hz
            Median over voiced frames, 60 Hz to 8 kHz.
        harmonicity_db
            Power that repeats with the period over power that does not (harmonics-to-noise ratio):
            median over the frames within 20 dB of the loudest, voiced or not; -30 to 30.
        duration_s
        attack_s
            Time in which the amplitude rises from 10 to 90 % of its peak; from the start of the
            interval where it is above 10 % from the start.
        modulation_hz
            Peak of the envelope's spectrum between 2 and 100 Hz.
        element_rate_hz
            Peaks of the envelope a second, from the first to the last.

    Raises
    ------
    ValueError
        The samples are not one channel of finite numbers, or there are none.
    """
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"samples must be one channel (S,) with something in it: {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("samples are not finite: leave the interval out")
    background = 10 ** (background_db / 10)
    sample_rate_hz = round(sample_rate_hz / speed)
    sound = _in_band(samples, sample_rate_hz, 1)
    found = dict.fromkeys(QUANTITIES, math.nan)
    found["duration_s"] = len(samples) / sample_rate_hz
    if np.mean(np.square(sound)) > 10 ** (SILENCE_DB / 10):
        found |= _spectral(sound, sample_rate_hz, background)
        found |= _harmonic(samples, sample_rate_hz, background)
        found |= _temporal(sound, sample_rate_hz, background)
    factors = {"hz": speed, "s": 1 / speed, "db": 1.0}  # by how a name ends
    return {name: value * factors[name.rsplit("_", 1)[1]] for name, value in found.items()}


def background_level_db(samples: np.ndarray, sample_rate_hz: int, *, speed: float = 1.0) -> float:
    """Return the level of the quieter moments of a recording: the fifth part of the 10 ms frames.

    Parameters
    ----------
    samples : np.ndarray of float [shape=(S,)]
        The recording, or the surroundings of an interval.
    sample_rate_hz : int
    speed : float
        As for :func:`measured`.

    Returns
    -------
    float
        Decibels relative to full scale; minus infinity where it is silent.
    """
    sample_rate_hz = round(sample_rate_hz / speed)
    power = np.square(_in_band(samples, sample_rate_hz, 1))
    size = min(len(power), round(HOP_S * sample_rate_hz))
    frames = power[: len(power) // size * size].reshape(-1, size).mean(axis=1)
    quiet = float(np.percentile(frames, 20))
    return 10 * math.log10(quiet) if quiet > 0 else -math.inf


def probe_targets(measurements: Sequence[dict[str, float]]) -> dict[str, np.ndarray]:
    """Return measurements as a linear probe should see them: times and frequencies by octaves.

    Parameters
    ----------
    measurements : sequence of N dict
        As of :func:`measured`.

    Returns
    -------
    dict of str to np.ndarray of float64 [shape=(N,)]
        Hertz and seconds as logarithms to base 2, decibels as they are.
    """
    table = {name: np.array([one[name] for one in measurements]) for name in QUANTITIES}
    return {
        name: values if name.endswith("_db") else np.log2(values) for name, values in table.items()
    }


def yin(sound: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the period of each frame (de Cheveigné & Kawahara 2002, "YIN").

    A frame compares a window with itself at every lag. Both are as long as the longest period
    (60 Hz) where the sound allows it; in a shorter sound the one frame is the whole sound, and
    periods are at most half of it.

    Parameters
    ----------
    sound : np.ndarray of float64 [shape=(S,)]
        Without offset.
    sample_rate_hz : int
        Several times the highest frequency in it, for exact lags.

    Returns
    -------
    f0_hz : np.ndarray of float64 [shape=(R,)]
        NaN where no lag stands out, or the period is shorter than that of 8 kHz.
    aperiodicity : np.ndarray of float64 [shape=(R,)]
        Share of the power that does not repeat with the period, 0 to 1.
    power : np.ndarray of float64 [shape=(R,)]
        Mean over the frame.
    """
    n_lags = min(round(sample_rate_hz / LOWEST_F0_HZ), len(sound) // 2)
    if n_lags < 3:
        return np.empty(0), np.empty(0), np.empty(0)
    frames = np.lib.stride_tricks.sliding_window_view(sound, 2 * n_lags)
    frames = frames[:: round(HOP_S * sample_rate_hz)]
    shortest = sample_rate_hz / HIGHEST_F0_HZ
    parts = []
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        some = frames[start : start + FRAMES_AT_ONCE]
        period, aperiodicity = _periods(_normalised_difference(some, n_lags))
        f0_hz = np.where(period >= shortest, sample_rate_hz / period, np.nan)
        parts.append((f0_hz, aperiodicity, np.square(some).mean(axis=1)))
    f0_hz, aperiodicity, power = (np.concatenate(part) for part in zip(*parts, strict=True))
    return f0_hz, aperiodicity, power


def _in_band(samples: np.ndarray, sample_rate_hz: int, factor: int) -> np.ndarray:
    """Return what lies between 50 Hz and 16 kHz, at a whole multiple of the rate, in float64."""
    spectrum = np.fft.rfft(samples.astype(np.float64))
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / sample_rate_hz)
    spectrum[(frequency_hz < LOW_HZ) | (frequency_hz > HIGH_HZ)] = 0
    if factor > 1 and len(samples) % 2 == 0:
        spectrum[-1] /= 2  # half of the Nyquist bin's energy belongs to its mirror
    return np.fft.irfft(spectrum, factor * len(samples)) * factor


def _decibels(power: float) -> float:
    return 10 * math.log10(power) if power > 0 else math.nan


def _spectral(sound: np.ndarray, sample_rate_hz: int, background: float) -> dict[str, float]:
    size = round(SPECTRUM_S * sample_rate_hz)
    frequency_hz, density = signal.welch(
        sound, sample_rate_hz, nperseg=min(size, len(sound)), nfft=size
    )
    inside = (frequency_hz >= LOW_HZ) & (frequency_hz <= HIGH_HZ)
    total = density[inside].sum()
    if total <= 0:
        return {}
    weights = np.where(inside, density, 0) / total
    centroid_hz = weights @ frequency_hz
    band = np.searchsorted(_band_edges_hz(), frequency_hz, side="right") - 1
    energy = np.bincount(band[inside].clip(0, N_BANDS - 1), weights[inside], N_BANDS)
    energy_db = 10 * np.log10(np.maximum(energy, 10 ** (QUIETEST_BAND_DB / 10)))
    energy_db[_band_edges_hz()[1:] > sample_rate_hz / 2 + 1] = np.nan
    return {
        "level_db": _decibels(float(np.mean(np.square(sound))) - background),
        "centroid_hz": float(centroid_hz),
        "bandwidth_hz": math.sqrt(weights @ np.square(frequency_hz - centroid_hz)),
        **{f"band_{number}_db": float(db) for number, db in enumerate(energy_db, 1)},
    }


def _band_edges_hz() -> np.ndarray:
    """Return the edges of the bands [shape=(N_BANDS + 1,)]: equal steps on the HTK mel scale."""
    low, high = (2595 * math.log10(1 + hz / 700) for hz in (LOW_HZ, HIGH_HZ))
    return 700 * (10 ** (np.linspace(low, high, N_BANDS + 1) / 2595) - 1)


def _harmonic(samples: np.ndarray, sample_rate_hz: int, background: float) -> dict[str, float]:
    factor = -(-LAG_RATE_HZ // sample_rate_hz)
    sound = _in_band(samples, sample_rate_hz, factor)
    f0_hz, aperiodicity, power = yin(sound, factor * sample_rate_hz)
    is_loud = power > background * 10 ** (ABOVE_BACKGROUND_DB / 10)
    is_loud &= power >= power.max(initial=0) * 10 ** (-LOUD_DB / 10)
    if not is_loud.any():
        return {}
    noise = float(np.median(aperiodicity[is_loud]).clip(1e-3, 1 - 1e-3))
    is_voiced = is_loud & (aperiodicity <= VOICED_APERIODICITY) & ~np.isnan(f0_hz)
    has_pitch = is_voiced.sum() >= VOICED_SHARE * is_loud.sum()
    return {
        "f0_hz": float(np.median(f0_hz[is_voiced])) if has_pitch else math.nan,
        "harmonicity_db": 10 * math.log10((1 - noise) / noise),
    }


def _normalised_difference(frames: np.ndarray, n_lags: int) -> np.ndarray:
    """Return the difference of a window to itself at each lag, over its mean at shorter lags.

    Steps 2 and 3 of YIN: ``d(lag) = sum over W of (x[j] - x[j + lag])^2`` and
    ``d'(lag) = d(lag) * lag / (d(1) + ... + d(lag))``.

    Parameters
    ----------
    frames : np.ndarray of float64 [shape=(R, W + n_lags)]
    n_lags : int

    Returns
    -------
    np.ndarray of float64 [shape=(R, n_lags + 1)]
        1 at lag 0, and where all is silent.
    """
    n_window = frames.shape[1] - n_lags
    size = next_fast_len(frames.shape[1], real=True)
    window = np.fft.rfft(frames[:, :n_window], size)
    product = np.fft.irfft(np.fft.rfft(frames, size) * window.conj(), size)[:, : n_lags + 1]
    running = np.cumsum(np.square(frames), axis=1)
    running = np.pad(running, ((0, 0), (1, 0)))
    energy = running[:, n_window:] - running[:, : n_lags + 1]  # of the window at each lag
    difference = np.maximum(energy[:, :1] + energy - 2 * product, 0)
    difference[:, 0] = 0
    total = np.cumsum(difference, axis=1)
    shares = np.ones_like(difference)
    np.divide(difference * np.arange(n_lags + 1), total, out=shares, where=total > 0)
    return shares


def _periods(difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the period in samples (NaN: no dip) and the aperiodicity there, by frame.

    Steps 4 and 5 of YIN: the first dip that is deep enough, and a parabola through it.
    """
    left, middle, right = difference[:, :-2], difference[:, 1:-1], difference[:, 2:]
    is_dip = (middle < left) & (middle <= right)
    depth = np.where(is_dip, middle, np.inf)
    is_deep = depth <= depth.min(axis=1, keepdims=True) + DIP_MARGIN
    has_dip = is_dip.any(axis=1)
    row, first = np.arange(len(difference)), np.argmax(is_deep, axis=1)
    before, at, after = left[row, first], middle[row, first], right[row, first]
    bend = np.where(has_dip, before - 2 * at + after, 1)
    shift = (before - after) / 2 / bend
    bottom = at - (before - after) * shift / 4
    period = np.where(has_dip, first + 1 + shift, np.nan)
    return period, np.where(has_dip, bottom, 1).clip(0, 1)


def _temporal(sound: np.ndarray, sample_rate_hz: int, background: float) -> dict[str, float]:
    envelope = _envelope(sound, sample_rate_hz, background)
    peak = envelope.max()
    if peak <= 0:
        return {}
    # On a plateau each ripple of the same height would count as an element: none is the same now.
    tilted = envelope * (1 + 1e-9 * np.arange(len(envelope)))
    elements, _ = signal.find_peaks(np.pad(tilted, 1), prominence=ELEMENT_PROMINENCE * peak)
    many = len(elements) > 1
    rate_hz = (len(elements) - 1) * ENVELOPE_HZ / np.ptp(elements) if many else math.nan
    return {
        "attack_s": _attack_s(envelope / peak),
        "modulation_hz": _modulation_hz(envelope),
        "element_rate_hz": float(rate_hz),
    }


def _envelope(sound: np.ndarray, sample_rate_hz: int, background: float) -> np.ndarray:
    """Return the amplitude above the background, 500 times a second [shape=(K,)]."""
    smoothing = np.hanning(max(1, round(SMOOTHING_S * sample_rate_hz)) + 2)[1:-1]
    power = signal.oaconvolve(np.square(sound), smoothing / smoothing.sum(), mode="same")
    n_steps = max(1, len(sound) * ENVELOPE_HZ // sample_rate_hz)
    steps = (np.arange(n_steps) + 0.5) * sample_rate_hz / ENVELOPE_HZ
    at = np.minimum(steps.astype(np.int64), len(power) - 1)
    return np.sqrt(np.maximum(power[at] - background, 0))


def _attack_s(envelope: np.ndarray) -> float:
    """Return the time from 10 to 90 % of the peak, on straight lines between steps."""
    end = int(np.argmax(envelope >= 0.9))
    below = np.flatnonzero(envelope[:end] <= 0.1)
    begin = int(below[-1]) if len(below) else 0
    rise = envelope[begin : end + 1]
    if len(rise) < 2:  # loud from the first step on
        return 1 / ENVELOPE_HZ
    start = np.interp(0.1, rise[:2], [0, 1]) if rise[0] <= 0.1 else 0.0
    stop = len(rise) - 2 + np.interp(0.9, rise[-2:], [0, 1])
    return max(float(stop - start), 1.0) / ENVELOPE_HZ


def _modulation_hz(envelope: np.ndarray) -> float:
    """Return the frequency of the highest peak of the envelope's spectrum, NaN if it has none.

    At least two periods must fit in. A spectrum that is highest at the edge of the range has no
    peak: a single swell is not modulated.
    """
    lowest_hz = max(MODULATION_HZ[0], 2 * ENVELOPE_HZ / len(envelope))
    size = max(8 * len(envelope), 4 * ENVELOPE_HZ)
    window = np.hanning(len(envelope) + 2)[1:-1]
    mean = np.average(envelope, weights=window)
    swing = envelope - mean
    depth = 2 * np.abs(np.fft.rfft(swing * window, size)) / window.sum()
    frequency_hz = np.fft.rfftfreq(size, 1 / ENVELOPE_HZ)
    inside = np.flatnonzero((frequency_hz >= lowest_hz) & (frequency_hz <= MODULATION_HZ[1]))
    if len(inside) < 3 or depth[inside].max() < LEAST_DEPTH * mean:
        return math.nan
    best = int(np.argmax(depth[inside]))
    return float(frequency_hz[inside[best]]) if 0 < best < len(inside) - 1 else math.nan
