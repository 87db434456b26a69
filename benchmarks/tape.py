"""What the tape's eight bits a value cost: neighbours that change, and bytes that are saved.

Each ESC-50 clip becomes one vector, mean and deviation over time of its log-mel with the activity
weights of the readout, every value standardised; picture and activity are taken as they come back
from storage. Measured for float16 and for the codes of the tape, against float32:

- the share of a clip's ten nearest neighbours (cosine) that stay the same, over all clips;
- the root mean square error of a value, in decibels;
- megabytes for each hour of one channel, for the log-mel alone.

For a yardstick the same is done with the clips begun half a hop (5 ms) later and kept in float32:
a change that nobody can hear. Needs the recordings, named by ``--data`` or OSCINE_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

from oscine.config import ActivityConfig, PictureConfig, ReadoutConfig
from oscine.picture.activity import DB_PER_NAT, find_background
from oscine.picture.mel import log_mel, n_valid_bands
from oscine.picture.tape import LEVEL_STEP_DB, coded, decoded
from oscine.sound.audio import open_audio

PICTURE, ACTIVITY, READOUT = PictureConfig(), ActivityConfig(), ReadoutConfig()
N_NEIGHBOURS = 10
BYTES = {"float32": 4, "float16": 2, "codes": 1}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("OSCINE_DATA"))
    parser.add_argument("--clips", type=int, help="how many of the clips; all if not given")
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    if arguments.data is None:
        sys.exit("name the recordings with --data or OSCINE_DATA")
    files = sorted((Path(arguments.data) / "esc50").rglob("*.ogg"))
    result = measure(files[:: max(1, len(files) // (arguments.clips or len(files)))])
    print(json.dumps(result, indent=None if arguments.json else 2))


def measure(files: list[Path]) -> dict:
    """Return all figures."""
    sounds = [samples_of(file) for file in files]
    pictures = [drawn(samples, n_bands) for samples, n_bands in sounds]
    shift = PICTURE.hop_samples // 2
    shifted = [drawn(samples[:, shift:], n_bands) for samples, n_bands in sounds]
    deviation_db = float(np.std(np.concatenate([x.ravel() for x in pictures]))) * DB_PER_NAT

    stored = {
        "float32": pictures,
        "float16": [picture.astype(np.float16).astype(np.float32) for picture in pictures],
        "codes": [decoded(coded(picture)) for picture in pictures],
    }
    reference = neighbours(vectors(pictures, deviation_db))
    per_hour = PICTURE.n_mels * PICTURE.frames_per_s * 3600 / 1e6
    return {
        "clips": len(files),
        **{
            name: {
                "same_neighbours": same(reference, neighbours(vectors(back, deviation_db, name))),
                "error_db": error_db(pictures, back),
                "mb_per_hour": round(per_hour * BYTES[name], 1),
            }
            for name, back in stored.items()
        },
        "begun_5_ms_later": {
            "same_neighbours": same(reference, neighbours(vectors(shifted, deviation_db)))
        },
    }


def samples_of(file: Path) -> tuple[np.ndarray, int]:
    """Return a clip's samples [shape=(1, S)] and its number of valid bands."""
    with open_audio(file) as audio:
        samples = np.concatenate(list(audio.blocks(PICTURE.sample_rate_hz)), axis=1)
        return samples, n_valid_bands(audio.sample_rate_hz, PICTURE)


def drawn(samples: np.ndarray, n_bands: int) -> np.ndarray:
    """Return the log-mel of one clip, valid bands only [shape=(T, F)]."""
    return log_mel(torch.from_numpy(samples), PICTURE)[0, :, :n_bands].numpy()


def vectors(pictures: list[np.ndarray], deviation_db: float, storage: str = "") -> np.ndarray:
    """Return standardised statistics of each clip [shape=(N, 2 * F)]; 0 where a band is invalid."""
    step_db = LEVEL_STEP_DB if storage == "codes" else 0.0
    found = np.full((len(pictures), 2, PICTURE.n_mels), np.nan)
    for row, picture in zip(found, pictures, strict=True):
        level_db = find_background(picture, PICTURE, ACTIVITY).level_db.astype(np.float64)
        if step_db:
            level_db = np.rint(level_db / step_db) * step_db
        sharpness = READOUT.activity_sharpness / deviation_db
        weights = np.exp(sharpness * (level_db - level_db.max()))
        weights /= weights.sum()
        mean = weights @ picture
        row[0, : picture.shape[1]] = mean
        row[1, : picture.shape[1]] = np.sqrt(weights @ np.square(picture - mean))
    flat = found.reshape(len(pictures), -1)
    return np.nan_to_num((flat - np.nanmean(flat, axis=0)) / np.nanstd(flat, axis=0))


def neighbours(x: np.ndarray) -> np.ndarray:
    """Return the rows nearest to each [shape=(N, 10)], itself left out."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    likeness = x @ x.T
    np.fill_diagonal(likeness, -np.inf)
    return np.argsort(-likeness, axis=1, kind="stable")[:, :N_NEIGHBOURS]


def same(reference: np.ndarray, other: np.ndarray) -> float:
    """Return the share of the neighbours that both have."""
    kept = [len(set(a) & set(b)) for a, b in zip(reference, other, strict=True)]
    return round(float(np.mean(kept)) / N_NEIGHBOURS, 4)


def error_db(pictures: list[np.ndarray], back: list[np.ndarray]) -> float:
    """Return the root mean square difference of all values."""
    squares = [np.square(a - b).mean() for a, b in zip(pictures, back, strict=True)]
    return round(float(np.sqrt(np.mean(squares))) * DB_PER_NAT, 4)


if __name__ == "__main__":
    main()
