"""Do sound types agree with what is known? Adjusted mutual information with the truth.

On a synthetic archive (``oscine synth``: 4 species x 3 call types, wind and rain) the sound types
are held against species and call type of the calls they overlap. On real recordings they are held
against the labels of ``labels.csv``, beside k-means with the same number of groups on the same
vectors. Events that are not grouped count as one group of their own in the AMI (``ami``); the AMI
among grouped events alone is shown beside it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score

from oscine import steps
from oscine.atlas.cluster import unit_rows
from oscine.config import OscineConfig, read_config
from oscine.synth import SynthConfig
from oscine.workspace import Workspace

LEAST_SHARED = 0.5
"""A call belongs to an event when it covers half of it or is half covered by it."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("OSCINE_DATA"))
    parser.add_argument("--minutes", type=float, default=12.0, help="of synthetic recordings")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--real-workspace", type=Path, help="one that has learned --data already")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {"synthetic": synthetic(Path(folder), arguments)}
    if arguments.data is not None:
        with tempfile.TemporaryDirectory() as folder:
            place = arguments.real_workspace or Path(folder) / "real.oscine"
            result["real"] = real(place, arguments)
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))


def synthetic(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Learn a synthetic archive and compare."""
    archive = folder / "recordings"
    steps.synth(archive, SynthConfig(minutes=arguments.minutes))
    learned = steps.learn([archive], folder / "synth.oscine", steps=arguments.steps)
    calls: dict[str, list[tuple[float, float, str]]] = {}
    for row in csv.DictReader((archive / "truth.csv").open(encoding="utf-8")):
        place = float(row["start_s"]), float(row["stop_s"])
        calls.setdefault(row["path"], []).append((*place, f"{row['species']} {row['call_type']}"))
    workspace = Workspace(folder / "synth.oscine")
    truth = [call_of(path, start, stop, calls) for path, start, stop in event_places(workspace)]
    n_calls = sum(len(rows) for rows in calls.values())
    return {
        "calls": n_calls,
        "events": learned.events,
        "clusters": learned.clusters,
        "types": len({name for rows in calls.values() for *_, name in rows}),
        "found_share": round(sum(name is not None for name in truth) / n_calls, 4),
        "loss": learned.loss,
        "loss_mean": learned.loss_mean,
        **agreement(workspace, truth),
    }


def real(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Learn the real recordings and compare, every event with the label of its file."""
    learned = steps.learn([arguments.data], folder, steps=arguments.steps)
    labels = {
        row["path"]: row["label"]
        for row in csv.DictReader((arguments.data / "labels.csv").open(encoding="utf-8"))
    }
    workspace = Workspace(folder)
    truth = [labels.get(path) for path, _, _ in event_places(workspace)]
    return {
        "events": learned.events,
        "clusters": learned.clusters,
        "labels": len({name for name in truth if name}),
        "loss": learned.loss,
        "loss_mean": learned.loss_mean,
        **agreement(workspace, truth),
    }


def event_places(workspace: Workspace) -> list[tuple[str, float, float]]:
    """Return path, start and stop in seconds of each event, in the order of the vectors."""
    with workspace.catalogue() as catalogue:
        recordings = {row.recording_id: row for row in catalogue.recordings()}
        events = catalogue.events()
    places = []
    for event in events:
        recording = recordings[event.recording_id]
        rate = recording.sample_rate_hz
        places.append((recording.path, event.start_sample / rate, event.stop_sample / rate))
    return places


def call_of(
    path: str, start_s: float, stop_s: float, calls: dict[str, list[tuple[float, float, str]]]
) -> str | None:
    """Return the call that an event mostly is, or None."""
    best, most = None, 0.0
    for begin, end, name in calls.get(path, ()):
        shared = min(stop_s, end) - max(start_s, begin)
        share = shared / min(stop_s - start_s, end - begin)
        if share >= LEAST_SHARED and shared > most:
            best, most = name, shared
    return best


def agreement(workspace: Workspace, truth: list[str | None]) -> dict[str, object]:
    """Compare sound types, and k-means with as many groups, with what is known."""
    with workspace.catalogue() as catalogue:
        types = np.array([row.cluster for row in catalogue.sound_types()])
    known = np.array([name is not None for name in truth])
    names = np.array([name or "" for name in truth])[known]
    types = types[known]
    config = read_config(workspace.config_file, OscineConfig).cluster
    vectors, _ = workspace.vectors()
    vectors = unit_rows(np.asarray(vectors)[known][:, : config.n_dimensions])
    n_groups = max(2, len(set(types[types >= 0])))
    means = KMeans(n_groups, n_init=10, random_state=0).fit_predict(vectors)
    grouped = types >= 0
    return {
        "labelled_events": int(known.sum()),
        "noise_share": round(float(1 - grouped.mean()), 4),
        "ami": score(names, types),
        "ami_of_grouped": score(names[grouped], types[grouped]),
        "ami_k_means": score(names, means),
        "ami_k_means_of_grouped": score(names[grouped], means[grouped]),
    }


def score(names: np.ndarray, groups: np.ndarray) -> float:
    """Return the adjusted mutual information."""
    return round(float(adjusted_mutual_info_score(names, groups)), 4)


if __name__ == "__main__":
    main()
