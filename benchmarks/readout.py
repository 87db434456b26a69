"""What each part of the readout gives, and what choosing without labels costs.

Every variant is read from the same frozen encoders, fitted on the same intervals of the archive
without labels, and asked for the kinds of ESC-50 clips (folds 1 and 2, each queried against the
other), the species of `xc_clips` (six songbirds, each recording against all others) and the
syllables of Bengalese finches (within a bird, across songs). Beside each stands its difference to
the readout that was chosen, over all encoders, with the 90 % interval of a bootstrap over
recordings. ``--fold-3`` asks fold 3 against folds 1 and 2 instead, of the chosen readout and the
controls only: the figure, not for choosing.

``--workspaces`` names trained workspaces that were embedded, one a seed; without it, those of
``frozen_neighbours.py`` are trained and embedded first.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from frozen_neighbours import lead, read_labels, rounded, score_neighbours, tape_of, trained

from oscine import steps
from oscine.config import OscineConfig, ReadoutConfig, read_config
from oscine.embedding.backgrounds import background_excerpt, quiet_frames
from oscine.embedding.choice import MOST_FITTED, candidates, fit_family
from oscine.embedding.embed import encoded_excerpts
from oscine.embedding.intervals import FrameInterval, fit_sample, frame_intervals, spread
from oscine.embedding.readout import Readout
from oscine.evaluation.features import (
    OURS,
    encoded,
    fitted_readout,
    hear,
    kind_readers,
    plain_mean,
    read_all,
)
from oscine.evaluation.probes import retrieval
from oscine.model.autoencoder import Encoder
from oscine.picture.tape import Tape
from oscine.workspace import Workspace

Scores = dict[str, np.ndarray]
BACKGROUND_SHARE = 0.5
"""How much of the recording's background is taken away where that is tried."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Asked:
    """The intervals that labels are known of, in one list, and who asks which."""

    intervals: list[FrameInterval]
    clips: dict[str, int]
    labels: dict[str, tuple[str, int, str]]
    retrievals: dict[str, list[tuple[np.ndarray, list[str], np.ndarray]]]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("OSCINE_DATA"))
    parser.add_argument("--workspaces", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, default=Path("build/frozen_neighbours"))
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--fold-3", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.data is None:
        sys.exit("name the recordings with --data or OSCINE_DATA")
    arguments.data = Path(arguments.data)
    found: dict[str, list[dict[str, Scores]]] = {}
    chosen, regrets = [], []
    for folder in arguments.workspaces or made(arguments):
        bench = Bench(Workspace(folder), arguments.data)
        variants = bench.controls() if arguments.fold_3 else {**bench.controls(), **bench.parts()}
        for name, vectors in variants.items():
            found.setdefault(name, []).append(
                scores_of(bench.asked, vectors, dev=not arguments.fold_3)
            )
        chosen.append(bench.chosen)
        if not arguments.fold_3:
            regrets.append(bench.regret())
    result = {
        "protocol": "3 against 1, 2" if arguments.fold_3 else "folds 1 and 2, each the other",
        "chosen": chosen,
        "regret": regrets,
        "variants": {name: summary(found[OURS], each) for name, each in found.items()},
    }
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))


def made(arguments: argparse.Namespace) -> list[Path]:
    """Train and embed what ``frozen_neighbours.py`` compares; made once."""
    folders = []
    for seed in arguments.seeds:
        workspace = trained(arguments, "all", seed)
        steps.embed(workspace.folder)
        folders.append(workspace.folder)
    return folders


class Bench:
    """One trained workspace, asked with many readouts."""

    def __init__(self, workspace: Workspace, data: Path) -> None:
        config = read_config(workspace.config_file, OscineConfig)
        with workspace.catalogue() as catalogue:
            recordings = catalogue.recordings()
            by_number = {row.recording_id: row for row in recordings}
            events = frame_intervals(catalogue.events(), by_number)
            windows = frame_intervals(catalogue.windows(), by_number)
            stage = catalogue.stage("pretrain")
        assert stage is not None
        self.encoder = Encoder.load(workspace.folder / stage.facts["checkpoint"])
        self.readout = Readout.load(workspace.embeddings())
        self.config = self.readout.config
        self.tape: Tape = tape_of(workspace, config)
        self.sample = fit_sample(events, windows, self.config)
        self.some = spread(self.sample, MOST_FITTED, self.config.seed)
        self.asked = asked_of(recordings, data)
        self.chosen = {
            "layers": list(self.config.layers),
            "row_sharpness": self.config.row_sharpness,
            "dimensions": self.config.dimensions,
            "shrinkage": self.config.shrinkage,
        }

    def controls(self) -> dict[str, np.ndarray]:
        """Return the vectors of every kind of feature, behind the readout that was chosen."""
        archive = hear(self.tape, self.sample, self.encoder, self.config)
        readers = kind_readers(archive, self.encoder, self.readout)
        heard = hear(self.tape, self.asked.intervals, self.encoder, self.config)
        return read_all(readers, heard)

    def parts(self) -> dict[str, np.ndarray]:
        """Return the vectors of every variant of the readout, fitted on the same sample."""
        config, depth = self.config, self.encoder.config.depth
        every = tuple(range(depth + 1))
        found = {"the chosen, fitted on the sample": self.read(config)}
        of_all = [self.features(replace(config, layers=every), x) for x in self.both()]

        def layers_read(some: Sequence[int], changed: ReadoutConfig = config) -> np.ndarray:
            return fitted(*(x[:, list(some)] for x in of_all), changed)

        own = config.layers
        for some in [*((layer,) for layer in every), (0, 1, 2), (1, 2, depth), every]:
            found[f"layers {some}"] = layers_read(some)
        for value in (0.0, 0.75, 1.5, 3.0):
            found[f"row sharpness {value:g}"] = layers_read(
                own, replace(config, row_sharpness=value)
            )
        for value in (0.3, 1.0, 3.0, 10.0, 100.0):
            found[f"shrinkage {value:g}"] = layers_read(own, replace(config, shrinkage=value))
        found["no whitening"] = layers_read(own, replace(config, shrinkage=1e9))
        for value in (16, 32, 64, 128, 256, 512):
            found[f"{value} dimensions"] = layers_read(own, replace(config, dimensions=value))
        for value in (0.0, 2.0, 8.0):
            changed = replace(config, activity_sharpness=value)
            found[f"activity sharpness {value:g}"] = self.read(changed)
        for value in (1, 4):
            found[f"{value} time grids"] = self.read(replace(config, time_grids=value))
        width = self.encoder.config.width
        chosen = [x[:, list(own)] for x in of_all]
        found["mean over time only"] = fitted(
            *(np.concatenate([x[..., :width], x[..., -1:]], -1) for x in chosen), config
        )
        found["rows averaged"] = fitted(*(over_rows(x) for x in chosen), config)
        normed = cast(Encoder, Normed(self.encoder))
        found["each patch normed"] = fitted(
            *(
                encoded(normed, hear(self.tape, x, self.encoder, config), config)
                for x in self.both()
            ),
            config,
        )
        found["background of the recording taken away"] = fitted(
            *(self.without_background(x, config) for x in self.both()), config
        )
        for count in (1, 2, 5):
            found[f"top {count} removed"] = without_leading(*chosen, config, count)
        found["centred, nothing else"] = flat(*chosen)
        heard = hear(self.tape, self.asked.intervals, self.encoder, config)
        found["plain mean, centred"] = plain_mean(self.encoder, heard, config) - plain_mean(
            self.encoder, hear(self.tape, self.some, self.encoder, config), config
        ).mean(axis=0)
        return found

    def both(self) -> tuple[list[FrameInterval], list[FrameInterval]]:
        """Return what readouts are fitted on, and what is asked."""
        return list(self.some), self.asked.intervals

    def features(self, config: ReadoutConfig, intervals: Sequence[FrameInterval]) -> np.ndarray:
        """Return pooled features [shape=(N, L, M, V + 1)]."""
        return encoded(self.encoder, hear(self.tape, intervals, self.encoder, config), config)

    def read(self, config: ReadoutConfig) -> np.ndarray:
        """Fit and read with changed settings."""
        return fitted(*(self.features(config, x) for x in self.both()), config)

    def without_background(
        self, intervals: Sequence[FrameInterval], config: ReadoutConfig
    ) -> np.ndarray:
        """Take a share of the mean over quiet frames, of each recording that has them, away."""
        features = self.features(config, intervals)
        width = self.encoder.config.width
        known: dict[str, int] = {}
        excerpts = []
        for one in intervals:
            if one.recording.content_key in known:
                continue
            quiet = quiet_frames(self.tape, one.recording, self.encoder.picture)
            known[one.recording.content_key] = -1 if quiet is None else len(excerpts)
            if quiet is not None:
                excerpts.append(
                    background_excerpt(quiet, 0, len(quiet.log_mel), self.encoder, config)
                )
        quiet_features = encoded_excerpts(self.encoder, excerpts, config)[..., :width]
        centre = np.nanmean(quiet_features, axis=0)
        for row, one in zip(features, intervals, strict=True):
            place = known[one.recording.content_key]
            if place >= 0:
                row[..., :width] -= BACKGROUND_SHARE * (quiet_features[place] - centre)
        return features

    def regret(self) -> dict[str, Any]:
        """Return what the best of all candidates would score, and the one that was chosen."""
        choice = self.readout.choice
        assert choice is not None
        configs = candidates(choice.asked, self.encoder.config.depth)
        layers = tuple(sorted({layer for one in configs for layer in one.layers}))
        wide = replace(choice.asked, layers=layers)
        fit_on, of_asked = (self.features(wide, x) for x in self.both())
        family = fit_family(fit_on, layers, configs)
        scores: dict[str, list[float]] = {}
        for one in configs:
            (vectors,) = family.vectors(one, of_asked)
            for question, score in scores_of(self.asked, vectors, dev=True).items():
                scores.setdefault(question, []).append(float(score["map"].mean()))
        at = configs.index(self.config)
        return {
            question: {
                "chosen": rounded(each[at]),
                "best": rounded(max(each)),
                "best_is": str(configs[int(np.argmax(each))].layers),
                "median": rounded(float(np.median(each))),
                "regret": rounded(1 - each[at] / max(each)),
            }
            for question, each in scores.items()
        }


class Normed:
    """An encoder whose patches have mean 0 and deviation 1 over their values."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def __call__(self, *arguments: Any) -> torch.Tensor:
        """Encode, then norm."""
        layers = self.encoder(*arguments)
        return torch.nn.functional.layer_norm(layers, layers.shape[-1:])


def asked_of(recordings: Sequence[Any], data: Path, folds: Sequence[int] = (1, 2, 3)) -> Asked:
    """Return what is asked of the recordings of the development data, clips of some folds only."""
    heard = {row.path: row for row in recordings if row.n_frames}
    labels = {path: one for path, one in read_labels(data).items() if one[1] in folds}
    intervals = [whole(heard[path]) for path in labels]
    clips = {path: number for number, path in enumerate(labels)}
    songs = sorted(path for path in heard if path.startswith("xc_clips/"))
    rows = np.arange(len(intervals), len(intervals) + len(songs))
    intervals += [whole(heard[path]) for path in songs]
    retrievals = {
        "species": [(rows, [Path(path).parts[1] for path in songs], np.arange(len(songs)))]
    }
    by_bird: dict[str, list[tuple[FrameInterval, str, str]]] = {}
    for row in csv.DictReader((data / "syllables.csv").open(encoding="utf-8")):
        if row["path"].startswith("individual_bengalese_finch/"):
            recording = heard[row["path"]]
            start = int(float(row["onset_s"]) * 100)
            stop = min(max(start + 1, round(float(row["offset_s"]) * 100)), recording.n_frames)
            one = FrameInterval(recording=recording, start_frame=start, stop_frame=stop)
            by_bird.setdefault(Path(row["path"]).parts[1], []).append(
                (one, row["label"], row["path"])
            )
    retrievals["syllables"] = []
    for bird in sorted(by_bird):
        some = by_bird[bird]
        rows = np.arange(len(intervals), len(intervals) + len(some))
        intervals += [one for one, _, _ in some]
        groups = np.unique([path for _, _, path in some], return_inverse=True)[1]
        retrievals["syllables"].append((rows, [label for _, label, _ in some], groups))
    return Asked(intervals=intervals, clips=clips, labels=labels, retrievals=retrievals)


def scores_of(asked: Asked, vectors: np.ndarray, *, dev: bool) -> dict[str, Scores]:
    """Return the score of each query of each question."""
    by_path = {path: vectors[number] for path, number in asked.clips.items()}
    found = {"kinds": score_neighbours(by_path, asked.labels, dev=dev)}
    for question, parts in asked.retrievals.items():
        answers = [(retrieval(vectors[rows], said, own), own) for rows, said, own in parts]
        found[question] = {
            "map": np.concatenate([one.average_precision for one, _ in answers]),
            "origin": np.concatenate(
                [
                    [f"{part}:{group}" for group in own[one.queries]]
                    for part, (one, own) in enumerate(answers)
                ]
            ),
        }
    return found


def whole(recording: Any) -> FrameInterval:
    """Return a recording as one interval."""
    return FrameInterval(recording=recording, start_frame=0, stop_frame=recording.n_frames)


def fitted(fit_on: np.ndarray, asked: np.ndarray, config: ReadoutConfig) -> np.ndarray:
    """Fit a readout on features, and read others with it."""
    return fitted_readout(fit_on, config).vectors(asked)


def over_rows(features: np.ndarray) -> np.ndarray:
    """Average rows by their weights: frequency is not kept [shape=(N, L, 1, V + 1)]."""
    weights = np.exp(-1.5 * features[..., -1:])
    values = np.where(np.isfinite(features), features, 0) * weights
    mean = values.sum(axis=2, keepdims=True) / weights.sum(axis=2, keepdims=True)
    mean[..., -1] = 0
    return mean


def without_leading(
    fit_on: np.ndarray, asked: np.ndarray, config: ReadoutConfig, count: int
) -> np.ndarray:
    """Read without the first components: their columns lead."""
    config = replace(config, dimensions=config.dimensions + count)
    return fitted_readout(fit_on, config).vectors(asked)[:, count:]


def flat(fit_on: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return all values, centred: no weights of rows, no PCA, no whitening."""
    width = fit_on.shape[-1] - 1
    centre = np.nanmean(fit_on[..., :width], axis=0)
    return np.nan_to_num(asked[..., :width] - centre).reshape(len(asked), -1)


def summary(ours: list[dict[str, Scores]], each: list[dict[str, Scores]]) -> dict[str, Any]:
    """Return means over seeds and queries, and the difference to the readout that was chosen."""
    found: dict[str, Any] = {}
    for question in each[0]:
        keys = [key for key in ("five_nn", "map") if key in each[0][question]]
        for key in keys:
            own, other = ([one[question] for one in some] for some in (ours, each))
            found[f"{question} {key}"] = rounded(np.mean([one[key].mean() for one in other]))
            if each is not ours:
                found[f"{question} {key} less chosen"] = minus(lead(own, other, key))
    return found


def minus(difference: dict[str, Any]) -> dict[str, Any]:
    """Turn a lead of the chosen readout into the gain of the variant."""
    low, high = difference["interval_90"]
    return {
        "difference": rounded(-difference["difference"]),
        "interval_90": [rounded(-high), rounded(-low)],
        "outside": difference["outside"],
    }


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    main()
