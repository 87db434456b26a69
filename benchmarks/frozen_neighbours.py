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
from pathlib import Path

import numpy as np
import torch

from oscine import steps
from oscine.config import OscineConfig, ReadoutConfig, read_config
from oscine.embedding.choice import choose_readout
from oscine.embedding.intervals import FrameInterval, frame_intervals
from oscine.evaluation.features import (
    cepstral_frames,
    encoded,
    hear,
    log_mel_frames,
    plain_mean,
    random_encoder,
    same_readout,
    statistics,
    statistics_as_features,
)
from oscine.evaluation.probes import interval_of_difference
from oscine.model.autoencoder import Encoder
from oscine.picture.tape import Tape, tape_fingerprint
from oscine.workspace import Workspace


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("OSCINE_DATA"))
    parser.add_argument("--work", type=Path, default=Path("build/frozen_neighbours"))
    parser.add_argument("--steps", type=int, default=8000)
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
        kinds = all_vectors(workspace, arguments, with_controls=number == 0)
        for name, vectors in kinds.items():
            score = score_neighbours(vectors, labels, dev=arguments.dev)
            scores.setdefault(name, []).append(score)
    ours = scores["trained, default readout"]
    return {
        name: {
            "five_nn": rounded(mean_of(each, "five_nn")),
            "map": rounded(mean_of(each, "map")),
            "crow_ap": rounded(np.mean([one["map"][one["is_crow"]].mean() for one in each])),
            "per_seed_map": [rounded(one["map"].mean()) for one in each],
            "ours_minus_this": {key: lead(ours, each, key) for key in ("five_nn", "map")},
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
) -> dict[str, dict[str, np.ndarray]]:
    """Return the vectors of every clip, by path, for every kind of feature.

    Each clip is one interval, and every readout is chosen and fitted without labels on all clips:
    fold 3 may be missing from the archive that was learned, so they come from a full index.
    """
    config = read_config(workspace.config_file, OscineConfig)
    with workspace.catalogue() as catalogue:
        run = workspace.folder / catalogue.stage("pretrain").facts["checkpoint"]
    encoder = Encoder.load(run)
    full = arguments.work / "all-index"
    steps.index([listed(arguments.data, arguments.work / "all-recordings", "all")], full)
    clips = whole_clips(Workspace(full))
    tape = tape_of(Workspace(full), config)
    with Workspace(full).catalogue() as catalogue:
        recordings = catalogue.recordings()
        by_number = {row.recording_id: row for row in recordings}
        events = frame_intervals(catalogue.events(), by_number)
    readout, _ = choose_readout(
        tape, encoder, ReadoutConfig(), config.activity, events, clips, recordings
    )
    heard = hear(tape, clips, encoder, readout)

    def read_out(features: np.ndarray) -> np.ndarray:
        return same_readout(features, features, readout)

    random = random_encoder(encoder, config.training.seed)
    kinds = {
        "trained, default readout": read_out(encoded(encoder, heard, readout)),
        "trained, plain mean": plain_mean(encoder, heard, readout),
        "random encoder, default readout": read_out(encoded(random, heard, readout)),
    }
    if with_controls:
        for name, frames in (("log-mel", log_mel_frames), ("MFCC", cepstral_frames)):
            kinds[f"{name}, plain"] = statistics(heard, frames, weighted=False)
            kinds[f"{name}, same readout"] = read_out(statistics_as_features(heard, frames))
    paths = [one.recording.path for one in clips]
    return {kind: dict(zip(paths, rows, strict=True)) for kind, rows in kinds.items()}


def whole_clips(workspace: Workspace) -> list[FrameInterval]:
    """Return every recording that was heard as one interval."""
    with workspace.catalogue() as catalogue:
        rows = [row for row in catalogue.recordings() if row.n_frames]
    return [FrameInterval(recording=row, start_frame=0, stop_frame=row.n_frames) for row in rows]


def tape_of(workspace: Workspace, config: OscineConfig) -> Tape:
    """Open the tape of a workspace."""
    with workspace.catalogue() as catalogue:
        n_rows = catalogue.tape_rows()
    name = tape_fingerprint(config.picture, config.activity)
    return Tape(workspace.tape(name), config.picture, n_rows)


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


def lead(
    ours: list[dict[str, np.ndarray]], theirs: list[dict[str, np.ndarray]], key: str
) -> dict[str, object]:
    """Bootstrap the difference of means over original recordings; seeds are averaged first."""
    _, groups = np.unique(ours[0]["origin"], return_inverse=True)
    found = interval_of_difference(
        np.stack([one[key] for one in ours]), np.stack([one[key] for one in theirs]), groups
    )
    return {
        "difference": rounded(found.mean),
        "interval_90": [rounded(found.low), rounded(found.high)],
        "outside": found.excludes_zero,
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
