"""Are frozen features good neighbours? ESC-50 clips, without any training on labels.

Each clip is one vector; its neighbours among clips of other folds are looked at: 5-NN accuracy,
mean average precision of retrieval (mAP), and average precision for crows (8 queries: shown, not
judged). Compared are statistics of log-mel and MFCC (plain, and behind the same readout: activity
weights, and whitening), an encoder with random weights, and trained encoders with a plain mean and
with the default readout.

The rules: choices are made on folds 1 and 2, each queried against the other (``--dev``); fold 3 is
queried against both once, for the figure. Three seeds; beside each difference a bootstrap over
recordings with its 90 % interval. One set of runs hears everything but ``formats/``, a second one
leaves fold 3 out of training too.

Runs are kept in ``--work`` and used again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.fft import dct

from oscine import steps
from oscine.config import OscineConfig, ReadoutConfig, read_config
from oscine.embedding.embed import pooled_features, tape_excerpt
from oscine.embedding.readout import fit_readout
from oscine.model.autoencoder import Encoder, MaskedAutoencoder, initialise
from oscine.picture.activity import DB_PER_NAT
from oscine.picture.indexing import tape_fingerprint
from oscine.picture.tape import Tape
from oscine.workspace import Workspace

N_COEFFICIENTS = 20
N_RESAMPLES = 2000


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("OSCINE_DATA"))
    parser.add_argument("--work", type=Path, default=Path("build/frozen_neighbours"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--dev", action="store_true", help="folds 1 and 2 only, one another's")
    parser.add_argument("--train-only", choices=["all", "without_fold_3"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.data is None:
        sys.exit("name the recordings with --data or OSCINE_DATA")
    sets = ["all"] if arguments.dev else ["all", "without_fold_3"]
    if arguments.train_only:
        for seed in arguments.seeds:
            trained(arguments, arguments.train_only, seed)
        return
    result = {
        "protocol": "folds 1 and 2, each against the other" if arguments.dev else "3 against 1, 2",
        "steps": arguments.steps,
        "seeds": arguments.seeds,
        "trained_on": {name: compare(arguments, name) for name in sets},
    }
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))


def compare(arguments: argparse.Namespace, archive: str) -> dict[str, object]:
    """Score every kind of feature; trained and random encoders once a seed."""
    labels = read_labels(arguments.data)
    runs = [trained(arguments, archive, seed) for seed in arguments.seeds]
    scores: dict[str, list[dict[str, np.ndarray]]] = {}
    for number, workspace in enumerate(runs):
        for name, vectors in all_vectors(workspace, arguments, with_controls=number == 0):
            score = score_neighbours(vectors, labels, dev=arguments.dev)
            scores.setdefault(name, []).append(score)
    ours = scores["trained, default readout"]
    return {
        name: {
            "five_nn": rounded(mean_of(each, "five_nn")),
            "map": rounded(mean_of(each, "map")),
            "crow_ap": rounded(np.mean([one["map"][one["is_crow"]].mean() for one in each])),
            "per_seed_map": [rounded(one["map"].mean()) for one in each],
            "ours_minus_this": {
                key: interval_of_difference(ours, each, key) for key in ("five_nn", "map")
            },
        }
        for name, each in scores.items()
    }


def trained(arguments: argparse.Namespace, archive: str, seed: int) -> Workspace:
    """Return a workspace that is trained and embedded; made once, then used again."""
    folder = arguments.work / f"{archive}-{seed}-{arguments.steps}"
    if (folder / "catalogue.sqlite").exists():
        with Workspace(folder).catalogue() as catalogue:
            stage = catalogue.stage("pretrain")
        if stage is not None and stage.finished:
            return Workspace(folder)
    recordings = listed(arguments.data, arguments.work / f"{archive}-recordings", archive)
    steps.index([recordings], folder)
    steps.pretrain(folder, steps=arguments.steps, seed=seed)
    return Workspace(folder)


def listed(data: Path, links: Path, archive: str) -> Path:
    """Link the recordings that may be heard into one folder, under their own names."""
    for row in csv.DictReader((data / "labels.csv").open(encoding="utf-8")):
        path = Path(row["path"])
        is_held_out = archive == "without_fold_3" and row["part"] == "esc50_fold3"
        link = links / path
        if path.parts[0] == "formats" or is_held_out or link.is_symlink():
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((data / path).resolve())
    return links


def read_labels(data: Path) -> dict[str, tuple[str, int, str]]:
    """Return kind, fold and original recording of each ESC-50 clip, by path."""
    rows = csv.DictReader((data / "labels.csv").open(encoding="utf-8"))
    return {
        row["path"]: (Path(row["path"]).parts[1], int(row["part"][-1]), row["recording_id"])
        for row in rows
        if row["part"].startswith("esc50")
    }


def all_vectors(
    workspace: Workspace, arguments: argparse.Namespace, *, with_controls: bool
) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Return the vectors of every clip, by path, for every kind of feature."""
    config = read_config(workspace.config_file, OscineConfig)
    with workspace.catalogue() as catalogue:
        run = workspace.folder / catalogue.stage("pretrain").facts["checkpoint"]
    encoder = Encoder.load(run)
    random = initialise(MaskedAutoencoder(encoder.config, encoder.picture), config.training.seed)
    random.encoder.log_mel_mean.copy_(encoder.log_mel_mean)
    random.encoder.log_mel_std.copy_(encoder.log_mel_std)

    # Fold 3 may be missing from the archive that was learned: clips come from a full index.
    full = arguments.work / "all-index"
    steps.index([listed(arguments.data, arguments.work / "all-recordings", "all")], full)
    clips = Clips(Workspace(full), encoder, ReadoutConfig())
    kinds: list[tuple[str, Callable[[], np.ndarray]]] = [
        ("trained, default readout", lambda: clips.read_out(encoder)),
        ("trained, plain mean", lambda: clips.plain_mean(encoder)),
        ("random encoder, default readout", lambda: clips.read_out(random.encoder.eval())),
    ]
    if with_controls:
        for name, frames in (("log-mel", lambda x: x), ("MFCC", cepstrum)):
            kinds += [
                (f"{name}, plain", lambda f=frames: clips.statistics(f, weighted=False)),
                (f"{name}, same readout", lambda f=frames: clips.whitened(f)),
            ]
    return [(name, dict(zip(clips.paths, make(), strict=True))) for name, make in kinds]


Frames = Callable[[np.ndarray], np.ndarray]
"""Log-mel (T, F) to features of each frame (T, V)."""


class Clips:
    """All recordings of a workspace, each as one interval; readouts are fitted on them."""

    def __init__(self, workspace: Workspace, encoder: Encoder, config: ReadoutConfig) -> None:
        settings = read_config(workspace.config_file, OscineConfig)
        with workspace.catalogue() as catalogue:
            rows = [row for row in catalogue.recordings() if row.n_frames]
            n_rows = catalogue.tape_rows()
        name = tape_fingerprint(settings.picture, settings.activity)
        tape = Tape(workspace.tape(name), settings.picture, n_rows)
        self.config = config
        self.paths = [row.path for row in rows]
        self.excerpts = [
            tape_excerpt(tape, row, (0, row.n_frames), encoder, config) for row in rows
        ]
        self.lengths = [row.n_frames for row in rows]

    def read_out(self, encoder: Encoder) -> np.ndarray:
        """Return vectors by the default readout of an encoder."""
        features = pooled_features(encoder, self.excerpts, self.config)
        return self._fitted(features)

    def plain_mean(self, encoder: Encoder) -> np.ndarray:
        """Return the mean of the last layer over all patches: what is usually done."""
        last = replace(self.config, layers=(-1,))
        even = [replace(one, weights=(one.weights > 0).astype(float)) for one in self.excerpts]
        features = pooled_features(encoder, even, last)[:, 0]  # (N, M, 2 * D + 1)
        return np.nanmean(features[..., : encoder.config.width], axis=1)

    def statistics(self, frames: Frames, *, weighted: bool) -> np.ndarray:
        """Return mean and deviation over time of frame features (of MFCC's differences too)."""
        found = []
        for one, length in zip(self.excerpts, self.lengths, strict=True):
            x = frames(one.log_mel[:length])
            weights = one.weights[:length] if weighted else np.ones(len(x))
            found.append(moments(x, weights / weights.sum(), with_change=frames is cepstrum))
        return np.stack(found)

    def whitened(self, frames: Frames) -> np.ndarray:
        """Return frame statistics behind the readout of the encoders.

        Log-mel keeps the frequency rows of the encoder apart, with their weights; cepstral
        coefficients have no frequency and are one row.
        """
        statistics = self.statistics(frames, weighted=True)
        if frames is cepstrum:
            values = statistics[:, None, None, :]
            below = np.zeros((len(values), 1, 1, 1))
        else:
            below = np.stack([one.below for one in self.excerpts])[:, None, :, None]
            n_rows = below.shape[2]
            values = statistics.reshape(len(statistics), 2, n_rows, -1)  # mean and deviation
            values = np.concatenate([values[:, 0], values[:, 1]], axis=-1)[:, None]
        return self._fitted(np.concatenate([values, below], axis=-1))

    def _fitted(self, features: np.ndarray) -> np.ndarray:
        config = self.config
        if features.shape[1:3] == (1, 1):  # one block: the first PCA must drop nothing
            config = replace(config, block_dimensions=features.shape[-1])
        readout = fit_readout(lambda start, stop: features[start:stop], len(features), config, "")
        return readout.vectors(features)


def cepstrum(log_mel: np.ndarray) -> np.ndarray:
    """Return MFCC: the first 20 cosine coefficients of the log-mel, in decibels."""
    return dct(log_mel * DB_PER_NAT, type=2, norm="ortho", axis=1)[:, :N_COEFFICIENTS]


def moments(x: np.ndarray, weights: np.ndarray, *, with_change: bool) -> np.ndarray:
    """Return weighted mean and deviation of each column, and the deviation of its differences."""
    mean = weights @ x
    found = [mean, np.sqrt(weights @ np.square(x - mean))]
    if with_change:
        change = np.diff(x, axis=0, prepend=x[:1])
        found.append(np.sqrt(np.maximum(weights @ np.square(change - weights @ change), 0)))
    return np.concatenate(found)


def score_neighbours(
    vectors: dict[str, np.ndarray], labels: dict[str, tuple[str, int, str]], *, dev: bool
) -> dict[str, np.ndarray]:
    """Return for each query whether its 5-NN vote is right, and its average precision."""
    paths = sorted(labels)
    x = np.stack([vectors[path] for path in paths]).astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    kinds = np.array([labels[path][0] for path in paths])
    folds = np.array([labels[path][1] for path in paths])
    origins = np.array([labels[path][2] for path in paths])
    found: dict[str, list[np.ndarray]] = {"five_nn": [], "map": [], "is_crow": [], "origin": []}
    for query_fold, gallery_folds in ((1, [2]), (2, [1])) if dev else ((3, [1, 2]),):
        queries = np.flatnonzero(folds == query_fold)
        gallery = np.flatnonzero(np.isin(folds, gallery_folds))
        likeness = x[queries] @ x[gallery].T
        order = np.argsort(-likeness, axis=1, kind="stable")
        ranked = kinds[gallery][order]
        relevant = ranked == kinds[queries][:, None]
        precision = np.cumsum(relevant, axis=1) / np.arange(1, relevant.shape[1] + 1)
        found["map"].append((precision * relevant).sum(axis=1) / relevant.sum(axis=1))
        votes = [majority(row[:5]) for row in ranked]
        found["five_nn"].append((np.array(votes) == kinds[queries]).astype(float))
        found["is_crow"].append(kinds[queries] == "crow")
        found["origin"].append(origins[queries])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def majority(five: np.ndarray) -> str:
    """Return the most frequent kind; of several, the one whose first comes first."""
    names, first, counts = np.unique(five, return_index=True, return_counts=True)
    return str(names[np.lexsort((first, -counts))[0]])


def interval_of_difference(
    ours: list[dict[str, np.ndarray]], theirs: list[dict[str, np.ndarray]], key: str
) -> dict[str, object]:
    """Bootstrap the difference of means over original recordings; seeds are averaged first."""
    difference = np.mean([one[key] for one in ours], axis=0) - np.mean(
        [one[key] for one in theirs], axis=0
    )
    _, groups = np.unique(ours[0]["origin"], return_inverse=True)
    members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
    generator = np.random.default_rng(0)
    draws = []
    for _ in range(N_RESAMPLES):
        chosen = generator.integers(len(members), size=len(members))
        draws.append(difference[np.concatenate([members[one] for one in chosen])].mean())
    low, high = np.percentile(draws, (5, 95))
    return {
        "difference": rounded(difference.mean()),
        "interval_90": [rounded(low), rounded(high)],
        "outside": bool(low > 0 or high < 0),
    }


def mean_of(each: list[dict[str, np.ndarray]], key: str) -> float:
    """Return the mean over queries and seeds."""
    return float(np.mean([one[key].mean() for one in each]))


def rounded(value: float) -> float:
    """Return four digits."""
    return round(float(value), 4)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    main()
