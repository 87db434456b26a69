"""What does more audio buy? The same model on parts of the recordings, at equal steps.

An eighth, a quarter, half and all of the recordings (each part holds the smaller ones; recordings
are taken in the order of a seed until their duration is reached) are learned from for the same
number of steps, with three seeds. The encoders are asked as in ``sweep.py``: kinds, species,
syllables and individuals, behind readouts that are chosen and fitted on all recordings, whichever
part was learned from. Beside each score stands its difference to all of the audio with a 90 %
interval by bootstrap over recordings; a part of another seed holds other recordings, so seeds
differ by what was heard too. Beside them, an encoder that learned nothing.

Runs are kept in ``--work`` and used again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frozen_neighbours import listed, rounded
from pretraining.arms import BASELINE, Archive, find_arm
from sweep import MEASURES, differences, means_of, open_archive, score

from oscine import steps
from oscine.evaluation.features import random_encoder
from oscine.model.autoencoder import Encoder
from oscine.training.pretrain import pretrain
from oscine.training.windows import WindowSampler
from oscine.workspace.catalogue import RecordingRow

PARTS = (0.125, 0.25, 0.5, 1.0)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("OSCINE_DATA"))
    parser.add_argument("--work", type=Path, default=Path("build/sweep"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", type=float, nargs="+", default=PARTS)
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    if arguments.data is None:
        sys.exit("name the recordings with --data or OSCINE_DATA")
    arguments.data = Path(arguments.data)
    recordings = listed(arguments.data, arguments.work / "recordings", "all")
    steps.index([recordings], arguments.work / "archive.oscine")
    archive = open_archive(arguments)
    found: dict[float, list[Any]] = {}
    heard_s: dict[float, list[float]] = {}
    for seed in arguments.seeds:
        for part in arguments.parts:
            some = part_of(archive.recordings, part, seed)
            heard_s.setdefault(part, []).append(sum(duration_s(row) for row in some))
            encoder = trained(archive, some, part, seed, arguments)
            found.setdefault(part, []).append(score(encoder, archive, arguments.data)[0])
    untrained = random_encoder(encoder, 0)
    result = {
        "steps": arguments.steps,
        "windows": arguments.steps * find_arm(BASELINE).run(0).training.batch_size,
        "seeds": arguments.seeds,
        "parts": [
            {
                "part": part,
                "minutes": rounded(np.mean(heard_s[part]) / 60),
                **scores_of(found[part], found.get(1.0) if part != 1.0 else None),
            }
            for part in arguments.parts
        ],
        "untrained": means_of(score(untrained, archive, arguments.data)[0]),
    }
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))


def part_of(recordings: list[RecordingRow], part: float, seed: int) -> list[RecordingRow]:
    """Return recordings that hold a part of the audio; smaller parts lie in larger ones."""
    by_content = sorted(recordings, key=lambda row: row.content_key)
    order = np.random.default_rng(seed).permutation(len(by_content))
    shuffled = [by_content[number] for number in order]
    ends_s = np.cumsum([duration_s(row) for row in shuffled])
    return shuffled[: int(np.searchsorted(ends_s, part * ends_s[-1])) + 1]


def duration_s(row: RecordingRow) -> float:
    """Return the length of a recording."""
    return row.n_samples / row.sample_rate_hz


def trained(
    archive: Archive, some: list[RecordingRow], part: float, seed: int, arguments: Any
) -> Encoder:
    """Return an encoder that learned from some recordings; made once."""
    run = find_arm(BASELINE).run(seed)
    run = replace(run, training=replace(run.training, steps=arguments.steps))
    sampler = WindowSampler(archive.tape, some, archive.event_rows, run.picture, run.training)
    folder = arguments.work / "hours" / f"{part:g}-{arguments.steps}-{seed}"
    print(f"{folder.name}: {len(some)} recordings", file=sys.stderr, flush=True)
    return Encoder.load(pretrain(folder, sampler, run, archive.fingerprint))


def scores_of(own: list[Any], of_all: list[Any] | None) -> dict[str, Any]:
    """Return the mean scores of a part, and its differences to all of the audio."""
    each = [means_of(one) for one in own]
    means = {name: rounded(np.mean([one[name] for one in each])) for name in MEASURES}
    return {"scores": means} | ({"less_all": differences(own, of_all)} if of_all else {})


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    main()
