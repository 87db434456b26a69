"""The readout: pooled layers of the frozen encoder to one vector of unit length.

In come features, mean and deviation over time of each layer and frequency row; out come vectors.
It is fitted on the archive without labels, once, and kept. NumPy only.

Axes: N intervals, L layers, M frequency rows, D width, C blocks (one a layer and row), V values of
a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oscine.config import ReadoutConfig, from_mapping, to_mapping
from oscine.workspace.arrays import load_described, save_described

READOUT = "readout.safetensors"
PORTION = 1024
"""Intervals held in float64 at a time while fitting."""

Features = Callable[[int, int], np.ndarray]
"""Rows [start, stop) of the features [shape=(n, L, M, V + 1)]: V = 2 * D values of each layer and
frequency row (NaN where the row is not valid), then how far it lies below the liveliest row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One way to read, and how well the archive agrees with it.

    Attributes
    ----------
    layers : tuple of int
    row_sharpness, shrinkage : float
    dimensions : int
    consistency : float
        Share of other events that are less alike than the event itself, heard before another
        background.
    """

    layers: tuple[int, ...]
    row_sharpness: float
    dimensions: int
    shrinkage: float
    consistency: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """How the settings of a readout were chosen without labels.

    Attributes
    ----------
    asked : ReadoutConfig
        What was given, and what was left open.
    candidates : tuple of Candidate
        Empty where the archive is too small to choose.
    n_events, n_backgrounds : int
        That were listened to.
    """

    asked: ReadoutConfig
    candidates: tuple[Candidate, ...]
    n_events: int
    n_backgrounds: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Readout:
    """A fitted readout.

    Every value is standardised, then multiplied by ``exp(-row_sharpness * below)``: rows that show
    background hardly count. Each layer and frequency row is reduced by a PCA of its own, and all of
    them together by a second one, whose components are divided by
    ``sqrt(eigenvalue + shrinkage * mean eigenvalue)``; the result has unit length. Two PCAs need
    a hundredth of the time of one over all values, and memory that does not grow with the model.
    Values of rows above a recording's Nyquist count as average.

    Attributes
    ----------
    config : ReadoutConfig
        Settled.
    encoder : str
        Fingerprint of the weights whose features it reads; it refuses others.
    mean, scale : np.ndarray of float64 [shape=(C, V)]
    blocks : np.ndarray of float64 [shape=(C, V, block_dimensions)]
    joint : np.ndarray of float64 [shape=(C * block_dimensions, dimensions)]
        Whitening included.
    variance_share : float
        Of the reduced blocks, held by the dimensions kept.
    choice : Choice or None
        How its settings were chosen; None where they were given.
    """

    config: ReadoutConfig
    encoder: str
    mean: np.ndarray
    scale: np.ndarray
    blocks: np.ndarray
    joint: np.ndarray
    variance_share: float
    choice: Choice | None = None

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self.joint.shape[1]

    def vectors(self, features: np.ndarray) -> np.ndarray:
        """Return the vectors of some intervals.

        Parameters
        ----------
        features : np.ndarray of float [shape=(N, L, M, 2 * D + 1)]

        Returns
        -------
        np.ndarray of float32 [shape=(N, dimensions)]
            Of unit length (all zeros only where nothing differs from the average).
        """
        reduced = _reduced(features, self.mean, self.scale, self.blocks, self.config.row_sharpness)
        projected = reduced @ self.joint
        length = np.linalg.norm(projected, axis=1, keepdims=True)
        return (projected / np.where(length > 0, length, 1)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write ``readout.safetensors`` into a folder."""
        meta = {
            "config": to_mapping(self.config),
            "encoder": self.encoder,
            "choice": None if self.choice is None else to_mapping(self.choice),
        }
        arrays = {
            "mean": self.mean,
            "scale": self.scale,
            "blocks": self.blocks,
            "joint": self.joint,
            "variance_share": np.array(self.variance_share),
        }
        save_described(folder / READOUT, meta, arrays)

    @classmethod
    def load(cls, folder: Path) -> Readout:
        """Read ``readout.safetensors`` from a folder.

        Raises
        ------
        FileNotFoundError
            It is not there.
        ValueError
            It is damaged.
        """
        file = folder / READOUT
        if not file.exists():
            raise FileNotFoundError(f"{file} is not there: run `oscine embed`")
        try:
            meta, arrays = load_described(file)
            return cls(
                config=from_mapping(ReadoutConfig, meta["config"]),
                encoder=meta["encoder"],
                mean=arrays["mean"],
                scale=arrays["scale"],
                blocks=arrays["blocks"],
                joint=arrays["joint"],
                variance_share=arrays["variance_share"].item(),
                choice=meta["choice"] and from_mapping(Choice, meta["choice"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is damaged ({error}): run `oscine embed --refit`") from error


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedBlocks:
    """What readouts of one row sharpness share: they differ in layers, dimensions and shrinkage.

    Attributes
    ----------
    config : ReadoutConfig
        Its layers are those of the features.
    encoder : str
    mean, scale : np.ndarray of float64 [shape=(C, V)]
    blocks : np.ndarray of float64 [shape=(C, V, n_kept)]
    covariance : np.ndarray of float64 [shape=(C, n_kept, C, n_kept)]
        Of the reduced blocks.
    n_fitted : int
    """

    config: ReadoutConfig
    encoder: str
    mean: np.ndarray
    scale: np.ndarray
    blocks: np.ndarray
    covariance: np.ndarray
    n_fitted: int

    def readout(self, config: ReadoutConfig) -> Readout:
        """Return the readout of some of the layers.

        Parameters
        ----------
        config : ReadoutConfig
            As the blocks were fitted with, but for fewer layers, dimensions and shrinkage.
        """
        rows = np.arange(len(self.mean)).reshape(len(self.config.layers), -1)
        chosen = rows[[self.config.layers.index(layer) for layer in config.layers]].ravel()
        n_kept = self.covariance.shape[-1]
        covariance = self.covariance[chosen][:, :, chosen].reshape(len(chosen) * n_kept, -1)
        n_dimensions = min(config.dimensions, self.n_fitted - 1)
        values, directions = _leading(covariance, n_dimensions)
        whitening = 1 / np.sqrt(values + config.shrinkage * values.mean() + 1e-12)
        return Readout(
            config=config,
            encoder=self.encoder,
            mean=self.mean[chosen],
            scale=self.scale[chosen],
            blocks=self.blocks[chosen],
            joint=directions * whitening,
            variance_share=float(values.sum() / max(np.trace(covariance), 1e-12)),
        )


def fit_readout(features: Features, n_rows: int, config: ReadoutConfig, encoder: str) -> Readout:
    """Fit a readout on the features of an archive.

    Parameters
    ----------
    features : callable
        Gives rows of features, so that they may stay on disk.
    n_rows : int
    config : ReadoutConfig
        Settled.
    encoder : str
        Fingerprint of the weights.

    Returns
    -------
    Readout

    Raises
    ------
    ValueError
        There are fewer than two rows.
    """
    return fit_blocks(features, n_rows, config, encoder).readout(config)


def fit_blocks(
    features: Features, n_rows: int, config: ReadoutConfig, encoder: str
) -> FittedBlocks:
    """Fit what the readouts of all sets of these layers share; as :func:`fit_readout`."""
    if n_rows < 2:
        raise ValueError(f"a readout needs at least two events or windows, not {n_rows}")
    mean, scale = _moments(features, n_rows)
    blocks = _block_components(features, n_rows, mean, scale, config)
    covariance = sum(
        reduced.T @ reduced / n_rows
        for reduced in (
            _reduced(rows, mean, scale, blocks, config.row_sharpness)
            for rows in _portions(features, n_rows)
        )
    )
    return FittedBlocks(
        config=config,
        encoder=encoder,
        mean=mean,
        scale=scale,
        blocks=blocks,
        covariance=np.asarray(covariance).reshape(2 * (len(blocks), blocks.shape[-1])),
        n_fitted=n_rows,
    )


def _portions(features: Features, n_rows: int) -> Iterator[np.ndarray]:
    for start in range(0, n_rows, PORTION):
        yield features(start, min(n_rows, start + PORTION))


def _moments(features: Features, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation [shape=(C, V)] of each value, over the rows that have it."""
    count = total = square = np.zeros(1)
    for rows in _portions(features, n_rows):
        flat, _ = _parted(rows)
        valid = np.isfinite(flat)
        flat = np.where(valid, flat, 0)
        count = count + valid.sum(axis=0)
        total = total + flat.sum(axis=0)
        square = square + np.square(flat).sum(axis=0)
    known = np.maximum(count, 1)
    mean = total / known
    variance = np.maximum(square / known - mean**2, 0)
    # What no row has is not known how to read: should a later recording have it, it counts as 0.
    return mean, np.where(count > 0, np.sqrt(variance) + 1e-6, np.inf)


def _block_components(
    features: Features,
    n_rows: int,
    mean: np.ndarray,
    scale: np.ndarray,
    config: ReadoutConfig,
) -> np.ndarray:
    """Return the leading components of each block [shape=(C, V, n_kept)]."""
    covariance = np.zeros((mean.shape[0], mean.shape[1], mean.shape[1]))
    for rows in _portions(features, n_rows):
        z = _standardised(rows, mean, scale, config.row_sharpness).transpose(1, 0, 2)  # (C, N, V)
        covariance += z.transpose(0, 2, 1) @ z / n_rows
    n_kept = min(config.block_dimensions, mean.shape[1])
    return np.stack([_leading(block, n_kept)[1] for block in covariance])


def _leading(covariance: np.ndarray, n_kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues, falling, and their vectors with a settled sign."""
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1][:n_kept], vectors[:, ::-1][:, :n_kept]
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return np.maximum(values, 0), vectors * np.where(signs == 0, 1, signs)


def _reduced(
    features: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    blocks: np.ndarray,
    sharpness: float,
) -> np.ndarray:
    """Return (N, C * block_dimensions): each block on its own components."""
    z = _standardised(features, mean, scale, sharpness)  # (N, C, V)
    reduced = z.transpose(1, 0, 2) @ blocks  # (C, N, block_dimensions)
    return reduced.transpose(1, 0, 2).reshape(len(features), -1)


def _standardised(
    features: np.ndarray, mean: np.ndarray, scale: np.ndarray, sharpness: float
) -> np.ndarray:
    """Return the values (N, C, V) in deviations, those of quiet rows drawn towards the average."""
    values, below = _parted(features)
    z = (values - mean) / scale * np.exp(-sharpness * below)
    return np.where(np.isfinite(z), z, 0)


def _parted(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values (N, C, V), and how far each block lies below the liveliest (N, C, 1)."""
    n, n_layers, n_rows, n_values = features.shape
    flat = features.astype(np.float64).reshape(n, n_layers * n_rows, n_values)  # (N, C, V + 1)
    return flat[..., :-1], flat[..., -1:]
