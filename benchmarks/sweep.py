"""What pays in pretraining, at the same processor time? One thing changed at a time.

Every arm (``pretraining/arms.py``) is the default with one thing changed, and gets the same minutes
of processor time, on one thread: drawing windows, masks and whatever else it needs is counted, so
an arm that does more in a step takes fewer. The learning rate goes by the share of the time that is
spent. Seeds fix weights, windows and masks, but how many steps there are depends on how fast the
machine is at that moment: a run made again is not the same to the last digit. Steps, windows,
processor time and the median time of a fixed piece of work during training (``probe_ms``) are kept
with every run; a run whose probe was slow had less than its share.

What is asked of the frozen encoder, behind the readouts that Oscine chooses and fits on the archive
without labels: kinds of sound (ESC-50 folds 1 and 2, each queried against the other; fold 3 is
neither encoded nor asked), species (`xc_clips`, each recording against all others), syllables
(Bengalese finches, within a bird, across songs) and individuals (zebra finches, behind the readout
for individuals: for each call, the ROC AUC of its bird's calls of other days against the calls of
other birds). An encoder without training is asked too, for every shape of encoder: an arm that is
not above its own learned nothing. All recordings but ``formats/`` are heard in training.

Stages: ``screen`` (all arms, 8 minutes of one core, which is `oscine pretrain --minutes 4` on two,
seed 0; of the baseline two more seeds, to show how far seeds are apart), ``finals --arms A B …``
(16 minutes of one core, or ``--minutes`` as always: docs/recipe.md has 8; three seeds, and the
baseline), ``combine --arms A B …`` (their changes joined, as long, three seeds, and the baseline),
``report``. With half of that the default is still
in the bad middle of training (docs/recipe.md), where it is no better than an untrained encoder.
Beside each difference to the baseline of the same minutes and seeds stands its 90 % interval by
bootstrap over recordings (over days of a bird, for individuals). That interval does not hold what
another seed would change. Forty arms and four questions give some sixteen differences outside their
intervals by chance alone: the screen chooses what to look at again, and decides nothing.

Every finished run is a file in ``--work``/runs, with its checkpoint and the score of each query
beside it. Killed at any moment, the same command goes on. Without ``--stage`` two arms of half a
minute show that all of this works: their figures mean nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frozen_neighbours import lead, listed, rounded, tape_of
from pretraining.arms import ARMS, BASELINE, Archive, Arm, Diverged, find_arm, train
from readout import Scores, asked_of, scores_of, whole
from sklearn.metrics import roc_auc_score

from oscine import steps
from oscine.atlas.cluster import cluster_vectors
from oscine.config import OscineConfig, ReadoutConfig, fingerprint, read_config, to_mapping
from oscine.embedding.choice import choose_readout
from oscine.embedding.individual import (
    centred,
    draw_sample,
    fit_individual,
    individual_config,
)
from oscine.embedding.intervals import FrameInterval, fit_sample, frame_intervals
from oscine.embedding.readout import fit_readout
from oscine.evaluation.features import encoded, hear
from oscine.evaluation.verification import verification
from oscine.model.autoencoder import Encoder
from oscine.model.checkpoint import load_checkpoint, load_provenance, save_checkpoint
from oscine.model.geometry import unit_rows
from oscine.training.health import evaluate
from oscine.training.windows import WindowSampler
from oscine.workspace import Workspace
from oscine.workspace.arrays import NewFile

SCORING = 1
"""Raise it when scores are made in another way: finished runs are then scored anew."""
MEASURES = {
    "kinds 5-NN": ("kinds", "five_nn"),
    "kinds mAP": ("kinds", "map"),
    "species mAP": ("species", "map"),
    "syllables mAP": ("syllables", "map"),
    "individuals AUC": ("individuals", "auc"),
}
JUDGED = tuple(name for name in MEASURES if name != "kinds 5-NN")
"""One of each question: arms are put in order by the mean of these."""
HALF_INTERVAL = 1.645
"""Standard errors in half a 90 % interval."""
LEGEND = (
    "Beside a score its difference to the baseline with the 90 % interval, bold where that leaves "
    "out 0. Above: of four questions, those in which the arm is above its own encoder without "
    "training. The probe is a fixed piece of work: where it took long the processor was slow, and "
    "the arm had less than its share."
)
CONFIG = OscineConfig()


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run: an arm, minutes of processor time, a seed."""

    arm: str
    minutes: float
    seed: int

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.arm}-{self.minutes:g}-{self.seed}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("OSCINE_DATA"))
    parser.add_argument("--work", type=Path, default=Path("build/sweep"))
    parser.add_argument("--stage", choices=["screen", "finals", "combine", "report"])
    parser.add_argument("--arms", nargs="+", help=", ".join(ARMS))
    parser.add_argument("--minutes", type=float, help="of processor time for each run")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--rescore", action="store_true", help="score finished runs anew")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    if arguments.data is None:
        sys.exit("name the recordings with --data or OSCINE_DATA")
    arguments.data = Path(arguments.data)
    if arguments.run:
        name, minutes, seed = arguments.run
        end_with_parent()
        make(Job(arm=name, minutes=float(minutes), seed=int(seed)), arguments)
        return
    n_failed = 0
    if arguments.stage != "report":
        try:
            jobs = planned(arguments)
        except ValueError as error:
            sys.exit(str(error))
        steps.index(
            [listed(arguments.data, arguments.work / "recordings", "all")], index_of(arguments)
        )
        with Workspace(index_of(arguments)).alone():
            n_failed = work_off(jobs, arguments)
    result = report(arguments.work)
    print(json.dumps(result) if arguments.json else as_markdown(result))
    if n_failed:
        sys.exit(f"{n_failed} runs ended without a result: see above")


def planned(arguments: argparse.Namespace) -> list[Job]:
    """Return the runs of a stage, in the order in which they are made."""
    named = arguments.arms
    if arguments.stage in ("finals", "combine") and not named:
        raise ValueError(f"name the arms of the {arguments.stage} with --arms")
    if arguments.stage == "screen":
        arms, minutes, seeds = named or list(ARMS), 8.0, [0]
    elif arguments.stage == "finals":
        arms, minutes, seeds = [BASELINE, *named], 16.0, [0, 1, 2]
    elif arguments.stage == "combine":
        arms, minutes, seeds = [BASELINE, "+".join(named)], 16.0, [0, 1, 2]
    else:
        arms, minutes, seeds = named or list(ARMS)[:2], 0.5, [0]
    minutes = arguments.minutes or minutes
    seeds = arguments.seeds or seeds
    jobs: list[Job] = []
    shapes: set[str] = set()
    for seed in seeds:
        for name in dict.fromkeys(arms):
            jobs.append(Job(arm=name, minutes=minutes, seed=seed))
            shape = shape_of(find_arm(name))
            if shape not in shapes:  # the same encoder before training
                shapes.add(shape)
                jobs.append(Job(arm=name, minutes=0, seed=0))
    if arguments.stage == "screen" and not named:
        jobs += [Job(arm=BASELINE, minutes=minutes, seed=seed) for seed in (1, 2)]
    return list(dict.fromkeys(jobs))


def shape_of(arm: Arm) -> str:
    """Return what stands for all that an encoder's output depends on before training."""
    run = arm.run(0)
    model = replace(run.model, decoder_width=64, decoder_depth=1, decoder_heads=2)
    return fingerprint(run.picture, model)


def work_off(jobs: Sequence[Job], arguments: argparse.Namespace) -> int:
    """Make the runs that are not finished, several at a time; return how many failed."""
    left = [job for job in jobs if arguments.rescore or not is_finished(job, arguments.work)]
    tell(f"{len(jobs) - len(left)} of {len(jobs)} runs are finished")
    begun = time.monotonic()
    n_failed = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        waiting = {pool.submit(make_apart, job, arguments): job for job in left}
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                job, has_failed = waiting[future], future.result() != 0
                n_failed += has_failed
                said = "FAILED" if has_failed else said_of(job, arguments.work)
                minutes_left = (time.monotonic() - begun) / done * (len(left) - done) / 60
                tell(f"{job.name}: {said}; {len(left) - done} left, {minutes_left:.0f} minutes")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return n_failed


def make_apart(job: Job, arguments: argparse.Namespace) -> int:
    """Make a run in a process of its own, on one thread, that ends when this one does."""
    command = [sys.executable, __file__, "--run", job.arm, str(job.minutes), str(job.seed)]
    command += ["--data", str(arguments.data), "--work", str(arguments.work)]
    command += ["--rescore"] if arguments.rescore else []
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    child = subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | one_thread)
    return child.wait()


def end_with_parent() -> None:
    """End this process when the one that holds the other end of its input is gone."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # nothing is ever written: it returns at the end
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def make(job: Job, arguments: argparse.Namespace) -> None:
    """Train and score one run, or go on where it was stopped."""
    torch.set_num_threads(1)
    file = result_file(job, arguments.work)
    checkpoint = file.with_suffix("")
    arm = find_arm(job.arm)
    run = arm.run(job.seed)
    archive = open_archive(arguments)
    about = {"job": asdict(job), "settings": settings_of(arm, job.seed), "scoring": SCORING}
    if not checkpoint.exists():
        try:
            model, facts = train(run, arm.parts, archive, job.minutes * 60)
        except Diverged as error:
            write_result(file, {**about, "failed": str(error)})
            return
        provenance = {"step": facts["steps"], "archive": archive.fingerprint, "facts": facts}
        save_checkpoint(checkpoint, model, run, provenance)
    model, _, _ = load_checkpoint(checkpoint)
    facts = load_provenance(checkpoint)["facts"]
    sampler = WindowSampler(
        archive.tape, archive.recordings, archive.event_rows, run.picture, run.training
    )
    begun = time.process_time()
    losses = evaluate(model, sampler, run.training, facts["steps"])
    scores, chosen = score(Encoder.load(checkpoint), archive, arguments.data)
    arrays = {f"{one}.{key}": x for one, each in scores.items() for key, x in each.items()}
    with NewFile(file.with_suffix(".npz")) as path, open(path, "wb") as out:
        np.savez_compressed(out, **arrays)
    result = {
        **about,
        "training": facts,
        "evaluation": asdict(losses),
        "scores": means_of(scores),
        "readout": chosen,
        "scoring_s": round(time.process_time() - begun, 1),
    }
    write_result(file, result)


def open_archive(arguments: argparse.Namespace) -> Archive:
    """Return what was indexed."""
    workspace = Workspace(index_of(arguments))
    config = read_config(workspace.config_file, OscineConfig)
    with workspace.catalogue() as catalogue:
        recordings = [row for row in catalogue.recordings() if row.n_frames]
        by_number = {row.recording_id: row for row in recordings}
        events, windows = catalogue.events(), catalogue.windows()
        stage = catalogue.stage("index")
    assert stage is not None
    return Archive(
        tape=tape_of(workspace, config),
        recordings=recordings,
        event_rows=events,
        events=frame_intervals(events, by_number),
        windows=frame_intervals(windows, by_number),
        fingerprint=stage.fingerprint,
    )


def score(
    encoder: Encoder, archive: Archive, data: Path
) -> tuple[dict[str, Scores], dict[str, Any]]:
    """Return the score of each query of each question, and which readouts were chosen."""
    tape, events = archive.tape, archive.events
    asked = asked_of(archive.recordings, data, folds=(1, 2))

    def features(intervals: Sequence[FrameInterval], config: ReadoutConfig) -> np.ndarray:
        return encoded(encoder, hear(tape, intervals, encoder, config), config)

    sample = fit_sample(events, archive.windows, CONFIG.readout)
    config, choice = choose_readout(
        tape, encoder, CONFIG.readout, CONFIG.activity, events, sample, archive.recordings
    )
    heard = features(sample, config)
    readout = fit_readout(lambda start, stop: heard[start:stop], len(heard), config, "")
    scores = scores_of(asked, readout.vectors(features(asked.intervals, config)), dev=True)

    # Sound types, as `oscine cluster` makes them: individuals are compared within a type.
    row_of = {one.content_key: row for row, one in enumerate(sample)}
    vectors = readout.vectors(heard[[row_of[one.content_key] for one in events]])
    contents = [one.recording.content_key for one in events]
    keys = [f"{one.recording.content_key}:{one.start_frame:010d}" for one in events]
    types = cluster_vectors(vectors, keys, contents, CONFIG.cluster).labels.tolist()
    exchanged = draw_sample(
        tape,
        encoder,
        individual_config(config),
        CONFIG.activity,
        events,
        types,
        archive.recordings,
    )
    individual = fit_individual(exchanged, encoder, individual_config(config), "")
    calls, birds, days = zebra_finches(archive, data)
    of_calls = individual.vectors(features(calls, individual.config))
    scores["individuals"] = individual_scores(of_calls, birds, days)
    return scores, {
        "layers": list(config.layers),
        "row_sharpness": config.row_sharpness,
        "dimensions": config.dimensions,
        "shrinkage": config.shrinkage,
        "consistency": max(one.consistency for one in choice.candidates),
        "sound_types": len(set(types) - {-1}),
        "individual_layers": list(individual.config.layers),
        "individual_strength": individual.exchange.strength,
    }


def zebra_finches(archive: Archive, data: Path) -> tuple[list[FrameInterval], list[str], list[str]]:
    """Return the calls of zebra finches, who calls, and on which day."""
    heard = {row.path: row for row in archive.recordings}
    rows = [
        row
        for row in csv.DictReader((data / "labels.csv").open(encoding="utf-8"))
        if row["part"] == "individual_zebra_finch" and row["path"] in heard
    ]
    calls = [whole(heard[row["path"]]) for row in rows]
    return calls, [row["individual"] for row in rows], [row["session"] for row in rows]


def individual_scores(vectors: np.ndarray, birds: Sequence[str], days: Sequence[str]) -> Scores:
    """Return for each call how well its bird's calls of other days stand out from other birds'.

    All are calls of one type. ``pooled`` is the figure of `oscine evaluate` across sessions: the
    AUC over all pairs of each bird, birds weighing alike.
    """
    x = centred(vectors, ["distance call"] * len(vectors))
    found = verification(x, birds, np.arange(len(x)), days, n_permutations=0).across_sessions
    assert found is not None
    likeness = unit_rows(x) @ unit_rows(x).T
    bird, day = np.array(birds), np.array(days)
    areas, origins = [], []
    for call in range(len(x)):
        same = (bird == bird[call]) & (day != day[call])
        other = bird != bird[call]
        if same.any():
            areas.append(roc_auc_score(same[same | other], likeness[call, same | other]))
            origins.append(f"{bird[call]} {day[call]}")
    return {
        "auc": np.array(areas),
        "origin": np.array(origins),
        "pooled": np.array([found.pooled_roc_auc]),
    }


def means_of(scores: dict[str, Scores]) -> dict[str, float]:
    """Return the figures of a run."""
    means = {name: rounded(scores[one][key].mean()) for name, (one, key) in MEASURES.items()}
    return means | {"individuals pooled AUC": rounded(scores["individuals"]["pooled"][0])}


def index_of(arguments: argparse.Namespace) -> Path:
    """Return the workspace that holds the tape."""
    return arguments.work / "archive.oscine"


def result_file(job: Job, work: Path) -> Path:
    """Return where the result of a run lies; its weights and scores are beside it."""
    return work / "runs" / f"{job.name}.json"


def settings_of(arm: Arm, seed: int) -> dict[str, Any]:
    """Return all that was set."""
    return {"run": to_mapping(arm.run(seed)), "parts": asdict(arm.parts)}


def is_finished(job: Job, work: Path) -> bool:
    """Tell whether a run has its scores, as they are made now.

    Raises
    ------
    SystemExit
        It was made with other settings.
    """
    file = result_file(job, work)
    if not file.exists():
        return False
    result = json.loads(file.read_text(encoding="utf-8"))
    if result["settings"] != settings_of(find_arm(job.arm), job.seed):
        sys.exit(f"{file} was made with other settings than now: name another --work")
    return "failed" in result or result["scoring"] == SCORING


def write_result(file: Path, result: dict[str, Any]) -> None:
    """Write the result of a run."""
    with NewFile(file) as path:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def said_of(job: Job, work: Path) -> str:
    """Return a result in one line."""
    result = json.loads(result_file(job, work).read_text(encoding="utf-8"))
    if "failed" in result:
        return result["failed"]
    figures = ", ".join(f"{name} {value:.3f}" for name, value in result["scores"].items())
    return f"{result['training']['steps']:,} steps, {figures}"


def tell(text: str) -> None:
    """Say something to people."""
    print(text, file=sys.stderr, flush=True)


def report(work: Path) -> dict[str, Any]:
    """Gather all runs: every arm beside the baseline of the same minutes and seeds.

    Returns
    -------
    dict
        ``minutes`` (text) to its arms, the best first; ``untrained`` encoders; ``failed`` runs.
    """
    runs = [
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted((work / "runs").glob("*.json"))
    ]
    failed = {Job(**one["job"]).name: one["failed"] for one in runs if "failed" in one}
    runs = [one for one in runs if "failed" not in one]
    scores: dict[tuple[str, float], dict[int, dict[str, Scores]]] = {}
    results: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for one in runs:
        job = Job(**one["job"])
        scores.setdefault((job.arm, job.minutes), {})[job.seed] = read_scores(job, work)
        results.setdefault((job.arm, job.minutes), []).append(one)
    untrained = {shape_of(find_arm(name)): name for name, minutes in results if minutes == 0}
    tables: dict[str, list[dict[str, Any]]] = {}
    spread: dict[str, dict[str, float]] = {}
    for minutes in sorted({minutes for _, minutes in results if minutes}):
        rows = []
        for name in sorted(name for name, own in results if own == minutes):
            row = summary(results[name, minutes], scores[name, minutes])
            base = scores.get((BASELINE, minutes), {})
            both = sorted(scores[name, minutes].keys() & base.keys())
            if both and name != BASELINE:
                own, other = (
                    [some[seed] for seed in both] for some in (scores[name, minutes], base)
                )
                row["less_baseline"] = differences(own, other)
                row["compared_seeds"] = both
            twin = untrained.get(shape_of(find_arm(name)))
            if twin is not None:
                own = list(scores[name, minutes].values())
                row["less_untrained"] = differences(own, list(scores[twin, 0.0].values()))
            rows.append({"arm": name, **row})
        standardise(rows)
        rows.sort(key=lambda row: -row.get("mean_standardised", 0.0))
        tables[f"{minutes:g}"] = rows
        base = list(scores.get((BASELINE, minutes), {}).values())
        if len(base) > 1:
            spread[f"{minutes:g}"] = {
                name: rounded(np.std([one[of][key].mean() for one in base], ddof=1))
                for name, (of, key) in MEASURES.items()
            }
    return {
        "minutes": tables,
        "deviation_of_baseline_over_seeds": spread,
        "untrained": {
            name: summary(results[name, 0.0], scores[name, 0.0]) for name in untrained.values()
        },
        "failed": failed,
    }


def read_scores(job: Job, work: Path) -> dict[str, Scores]:
    """Read the score of each query."""
    scores: dict[str, Scores] = {}
    with np.load(result_file(job, work).with_suffix(".npz")) as arrays:
        for name in arrays:
            question, _, key = name.partition(".")
            scores.setdefault(question, {})[key] = arrays[name]
    return scores


def summary(results: Sequence[dict[str, Any]], scores: dict[int, Any]) -> dict[str, Any]:
    """Return the figures of an arm, means over its seeds."""
    trainings = [one["training"] for one in results]
    return {
        "seeds": sorted(scores),
        "steps": round(np.mean([one["steps"] for one in trainings])),
        "windows": round(np.mean([one["windows"] for one in trainings])),
        "processor_s": rounded(np.mean([one["processor_s"] for one in trainings])),
        "scoring_s": rounded(np.mean([one["scoring_s"] for one in results])),
        "probe_ms": [one["probe_ms"] for one in trainings],
        "layers": [one["readout"]["layers"] for one in results],
        "loss": rounded(np.mean([one["evaluation"]["loss"] for one in results])),
        "loss_mean": rounded(np.mean([one["evaluation"]["loss_mean"] for one in results])),
        "scores": {
            name: rounded(np.mean([one["scores"][name] for one in results]))
            for name in results[0]["scores"]
        },
    }


def differences(own: list[dict[str, Scores]], other: list[dict[str, Scores]]) -> dict[str, Any]:
    """Return how far one is ahead of the other in each measure."""
    return {
        name: lead([one[of] for one in own], [one[of] for one in other], key)
        for name, (of, key) in MEASURES.items()
    }


def standardise(rows: list[dict[str, Any]]) -> None:
    """Add the mean over questions of the differences to the baseline in standard errors.

    The standard error of a question is one for all arms (the root mean square of theirs, from the
    intervals): an arm that hardly differs from the baseline gains nothing by a narrow interval.
    """
    compared = [row for row in rows if "less_baseline" in row]
    if not compared:
        return
    totals = np.zeros(len(compared))
    for name in JUDGED:
        found = [row["less_baseline"][name] for row in compared]
        ends = np.array([one["interval_90"] for one in found]).reshape(-1, 2)
        error = np.sqrt(np.mean(np.square((ends[:, 1] - ends[:, 0]) / (2 * HALF_INTERVAL))))
        totals += np.array([one["difference"] for one in found]) / max(error, 1e-9)
    for row, total in zip(compared, totals, strict=True):
        row["mean_standardised"] = rounded(total / len(JUDGED))


def as_markdown(result: dict[str, Any]) -> str:
    """Return the tables."""
    lines: list[str] = []
    head = ["arm", "seeds", "steps", "probe, ms", "layers read", *MEASURES]
    for minutes, rows in result["minutes"].items():
        lines += ["", f"{minutes} processor-minutes. {LEGEND}", ""]
        lines += table_head([*head, "above", "mean standardised difference"])
        for row in rows:
            cells = [row["arm"], ", ".join(map(str, row["seeds"])), f"{row['steps']:,}"]
            cells.append(", ".join(f"{one:.2f}" for one in row["probe_ms"]))
            cells.append("; ".join(", ".join(map(str, one)) for one in row["layers"]))
            cells += [figure(row, name) for name in MEASURES]
            above = row.get("less_untrained")
            cells.append("" if above is None else str(sum(is_above(above[x]) for x in JUDGED)))
            cells.append(f"{row['mean_standardised']:+.2f}" if "mean_standardised" in row else "")
            lines.append(f"| {' | '.join(cells)} |")
        spread = result["deviation_of_baseline_over_seeds"].get(minutes)
        if spread:
            said = ", ".join(f"{name} {value:.3f}" for name, value in spread.items())
            lines += ["", f"Deviation of the baseline over its seeds: {said}."]
    if result["untrained"]:
        lines += ["", "Encoders without training:", "", *table_head(["arm", *MEASURES])]
        for name, row in result["untrained"].items():
            cells = [name, *(f"{row['scores'][measure]:.3f}" for measure in MEASURES)]
            lines.append(f"| {' | '.join(cells)} |")
    lines += [f"\n{name} ended without a model: {why}" for name, why in result["failed"].items()]
    return "\n".join(lines).strip() or "there are no finished runs yet"


def table_head(names: Sequence[str]) -> list[str]:
    """Return the first two lines of a table."""
    return [f"| {' | '.join(names)} |", "|" + " --- |" * len(names)]


def figure(row: dict[str, Any], name: str) -> str:
    """Return a score with its difference to the baseline."""
    score = f"{row['scores'][name]:.3f}"
    if "less_baseline" not in row:
        return score
    one = row["less_baseline"][name]
    low, high = one["interval_90"]
    mark = "**" if one["outside"] else ""
    return f"{score} {mark}{one['difference']:+.3f}{mark} [{low:+.3f}, {high:+.3f}]"


def is_above(difference: dict[str, Any]) -> bool:
    """Tell whether a difference is positive and outside its interval."""
    return difference["interval_90"][0] > 0


if __name__ == "__main__":
    main()
