"""From sound to what goes with what: the whole way, on archives with known truth.

Each run writes a synthetic archive in which every bout of calls has a context: that which is usual
for its call type in four of five, any other else. An observer's log is made of it: a state from 2 s
before each bout to 2 s after, with the effort (all recordings) in a table of its own. Then Oscine
listens, embeds and groups (with one model for all runs, trained on the first archive), and joins.

A sound type is of the call type that most of its events overlap with. Of the pairs of a sound type
and the usual context of its call type, how many are found; of pairs found with a ratio above 1, how
many have a context that is not usual for the type. These are made-up sounds: the figures say that
the parts fit together, not how animals are.

Runs are kept in ``--work`` and used again.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from oscine import steps
from oscine.synth import SynthConfig
from oscine.workspace import Workspace

AROUND_S = 2.0
BOUT_GAP_S = 20.0
"""Calls of one individual and type, further apart than this, are of two bouts."""
ALPHA = 0.05


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/join_sounds"))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=60.0, help="of each archive")
    parser.add_argument("--recording-s", type=float, default=300.0)
    parser.add_argument("--steps", type=int, default=3000, help="that the model learns")
    parser.add_argument("--permutations", type=int, default=0, help="0: as many as are needed")
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    runs = [one_run(seed, arguments) for seed in range(arguments.runs)]
    usual = sum(run["usual_tested"] for run in runs)
    above = sum(run["found_above"] for run in runs)
    whole = {
        "runs": runs,
        "usual_pairs_tested": usual,
        "usual_pairs_found": sum(run["usual_found"] for run in runs) / max(1, usual),
        "found_above": above,
        "of_these_not_usual": sum(run["not_usual_found"] for run in runs) / max(1, above),
    }
    print(json.dumps(whole) if arguments.json else json.dumps(whole, indent=1))


def one_run(seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write, learn and join one archive, and hold the findings against its truth."""
    home = arguments.work / f"{arguments.minutes:g}-{seed}"
    archive, folder = home / "recordings", home / "join.oscine"
    config = SynthConfig(
        seed=seed, minutes=arguments.minutes, recording_s=arguments.recording_s, n_sites=2
    )
    steps.synth(archive, config)
    first = arguments.work / f"{arguments.minutes:g}-0" / "join.oscine"
    settings = ["clock.timezone=UTC", "clock.site_from={site}/*"]
    training = {"steps": arguments.steps} if seed == 0 else {"model": first}
    steps.learn([archive], folder, seed=0, settings=settings, **training)
    truth = read_truth(archive / "truth.csv")
    log, effort = write_log(home, truth, arguments.recording_s)
    report = steps.join(
        folder,
        log,
        declared={"timezone": "UTC"},
        effort=effort,
        settings=[f"permutations={arguments.permutations}"],
    )
    kinds, purity = call_types(folder, truth)
    usual = {one["call_type"]: one["usual"] for one in truth}
    facts = json.loads((folder / "reports" / "join.json").read_bytes())
    tested = [pair for pair in facts["association"]["pairs"] if pair["q"] is not None]
    found = [pair for pair in tested if pair["q"] <= ALPHA and (pair["rate_ratio"] or 0) > 1]

    def is_usual(pair: dict[str, Any]) -> bool:
        return usual.get(kinds.get(pair["sound_type"], "")) == pair["behaviour"]

    return {
        "seed": seed,
        "hours": report.hours,
        "calls": report.calls,
        "observed": report.observed,
        "sound_types": len(kinds),
        "purity": purity,
        "tested": len(tested),
        "usual_tested": sum(map(is_usual, tested)),
        "usual_found": sum(map(is_usual, found)),
        "found_above": len(found),
        "not_usual_found": sum(not is_usual(pair) for pair in found),
        "verdict": report.verdict,
    }


def read_truth(file: Path) -> list[dict[str, Any]]:
    """Return the true calls, each with the context that is usual for its type."""
    with file.open(newline="") as opened:
        calls: list[dict[str, Any]] = list(csv.DictReader(opened))
    contexts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in calls:
        one["call_type"] = f"{one['species']} {one['call_type']}"
        one["start_s"], one["stop_s"] = float(one["start_s"]), float(one["stop_s"])
        contexts[one["call_type"]][one["context"]] += 1
    for one in calls:
        one["usual"] = contexts[one["call_type"]].most_common(1)[0][0]
    return calls


def write_log(home: Path, truth: list[dict[str, Any]], recording_s: float) -> tuple[Path, Path]:
    """Write what an observer would have noted, and when he watched."""
    states, watched = [], {}
    for path, of_file in groupby(truth, key=lambda one: one["path"]):
        calls = list(of_file)
        watched[path] = calls[0]
        bouts: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        for one in calls:
            bouts[one["individual"], one["call_type"], one["context"]].append(one)
        for some in bouts.values():
            breaks = [
                number
                for number, (one, other) in enumerate(pairwise(some), 1)
                if other["start_s"] - one["stop_s"] > BOUT_GAP_S
            ]
            for start, stop in pairwise([0, *breaks, len(some)]):
                states.append((some[start], some[stop - 1]))
    log, effort = home / "seen.csv", home / "watched.csv"
    with log.open("w", newline="") as opened:
        table = csv.writer(opened)
        table.writerow(("start", "stop", "behaviour", "subject", "site"))
        for one, last in states:
            began = datetime.fromisoformat(one["recorded_at"])
            ends = one["start_s"] - AROUND_S, last["stop_s"] + AROUND_S
            table.writerow(
                (
                    *(written(began, at_s) for at_s in ends),
                    one["context"],
                    one["individual"],
                    one["site"],
                )
            )
    with effort.open("w", newline="") as opened:
        table = csv.writer(opened)
        table.writerow(("start", "stop", "site"))
        for one in watched.values():
            began = datetime.fromisoformat(one["recorded_at"])
            table.writerow((written(began, 0), written(began, recording_s), one["site"]))
    return log, effort


def written(began: datetime, at_s: float) -> str:
    """Return a time as the log has it."""
    return f"{began + timedelta(seconds=at_s):%Y-%m-%d %H:%M:%S.%f}"


def call_types(folder: Path, truth: list[dict[str, Any]]) -> tuple[dict[int, str], float]:
    """Return the call type of each sound type, and the share of events that are of it."""
    by_path: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in truth:
        by_path[one["path"]].append(one)
    votes: dict[int, Counter[str]] = defaultdict(Counter)
    with Workspace(folder).catalogue() as catalogue:
        for rows in catalogue.calls():
            for _, _, path, _, cluster, _, start_ms, length_ms, *_ in rows:
                shared = {
                    one["call_type"]: min(start_ms + length_ms, 1000 * one["stop_s"])
                    - max(start_ms, 1000 * one["start_s"])
                    for one in by_path[path]
                }
                best = max(shared, key=lambda kind: shared[kind], default="")
                if cluster >= 0 and best and shared[best] > 0:
                    votes[cluster][best] += 1
    kinds = {cluster: counted.most_common(1)[0][0] for cluster, counted in votes.items()}
    n_right = sum(counted.most_common(1)[0][1] for counted in votes.values())
    return kinds, float(np.round(n_right / max(1, sum(map(Counter.total, votes.values()))), 3))


if __name__ == "__main__":
    main()
