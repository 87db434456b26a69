"""A workspace of many events that nobody learned, to measure the atlas with.

Eight recordings of a minute are made up, and heard as any: their log-mel is the tape, the events
found in them are real. All others are the same eight under other names (links to one file, the same
rows of the tape), at other sites and times. Sound types, places on the map and vectors are drawn by
chance around as many centres. The formats are those of any workspace: catalogue, tape, vectors, and
above 200,000 events an index.

What this does not show: a tape that is larger than the memory.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from oscine import steps
from oscine.config import OscineConfig, fingerprint, to_toml
from oscine.embedding.readout import Readout
from oscine.picture.drawing import draw_recording
from oscine.picture.indexing import event_rows, recording_row
from oscine.picture.tape import TapeWriter, tape_fingerprint
from oscine.search.index import refresh_index
from oscine.sound.archive import find_recordings
from oscine.sound.audio import content_hash
from oscine.steps.comparing import event_vectors
from oscine.synth import SynthConfig
from oscine.workspace import Workspace
from oscine.workspace.arrays import ArrayWriter, NewFile
from oscine.workspace.catalogue import EventRow, RecordingRow, SoundTypeRow, Stage

N_SOUNDS, N_TYPES, N_SITES = 8, 60, 12
NOISE_SHARE = 0.25
DIMENSIONS = 32
EVERY_MS = 600_000
FIRST_MS = 1_709_251_200_000
"""Of the first recording at each site: 2024-03-01, midnight UTC."""
EXEMPLARS = 6
AT_ONCE = 500
ROWS_AT_ONCE = 2**16


def main() -> None:
    """Write, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="a new one; else nothing is kept")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        started = time.perf_counter()
        workspace = write(folder, arguments.events)
        seconds = time.perf_counter() - started
        result = {"events": arguments.events, "seconds": round(seconds, 1), **sizes(workspace)}
    print(json.dumps(result, indent=None if arguments.json else 2))


def sizes(folder: Path) -> dict[str, float]:
    """Return the megabytes of what a workspace is made of."""
    return {
        f"{name}_mb": round(sum(one.stat().st_size for one in folder.rglob(pattern)) / 1e6, 1)
        for name, pattern in (
            ("catalogue", "catalogue.sqlite*"),
            ("tape", "tape/**/*.bin"),
            ("vectors", "embeddings/**/*.bin"),
            ("index", "*.faiss"),
        )
    }


def write(folder: Path, n_events: int, *, recording_s: float = 60.0, seed: int = 0) -> Path:
    """Write recordings and a workspace of so many events.

    Parameters
    ----------
    folder : Path
        Holds ``recordings`` and ``atlas.oscine`` afterwards.
    n_events : int
    recording_s : float
        Length of each recording.
    seed : int

    Returns
    -------
    Path
        Of the workspace.
    """
    config = OscineConfig()
    workspace = Workspace(folder / "atlas.oscine", create=True)
    with NewFile(workspace.config_file) as path:
        path.write_text(to_toml(config), encoding="utf-8")
    heard = _hear(folder, workspace, config, recording_s, seed)
    with workspace.catalogue() as catalogue:
        types = _add_events(catalogue, folder / "recordings", heard, n_events)
        archive = fingerprint(n_events, recording_s, seed)
        facts: dict[str, Any] = {"clock_findings": [], "problems": []}
        catalogue.set_stage("index", Stage(fingerprint=archive, finished=True, facts=facts))
        rng = np.random.default_rng(seed)
        _write_vectors(workspace, types, rng)
        facts = {"events": len(types), "dimensions": DIMENSIONS, "windows": 0, "kept": False}
        facts |= {"digest": "made up", "made_with": "made up", "fitted": 0, "duplicates": {}}
        catalogue.set_stage("embed", Stage(fingerprint=archive, finished=True, facts=facts))
        grouping = fingerprint(archive, facts["digest"], config.cluster)
        _add_sound_types(catalogue, types, rng, grouping)
        refresh_index(workspace.neighbours(), *event_vectors(workspace, catalogue))
    return workspace.folder


def _hear(
    folder: Path, workspace: Workspace, config: OscineConfig, recording_s: float, seed: int
) -> list[tuple[RecordingRow, list[EventRow]]]:
    """Make up the sounds, draw them, and find their events."""
    minutes = N_SOUNDS * recording_s / 60
    steps.synth(folder / "sounds", SynthConfig(minutes=minutes, recording_s=recording_s, seed=seed))
    found, _ = find_recordings([folder / "sounds"])
    tape = workspace.tape(tape_fingerprint(config.picture, config.activity))
    writer = TapeWriter(tape, config.picture, 0)
    heard = []
    for number, one in enumerate(found, 1):
        part = workspace.folder / f"part-{number}"
        drawn = draw_recording(one.file, part, config.picture, config.activity)
        (channel,) = drawn.channels
        row = recording_row(
            one,
            content_hash(one.file),
            drawn,
            channel,
            recording_id=number,
            tape_row=writer.append(channel),
        )
        events = event_rows(row, channel, config.picture, 1)
        if events:
            heard.append((row, events))
    writer.flush()
    return heard


def _add_events(
    catalogue: Any,
    root: Path,
    heard: list[tuple[RecordingRow, list[EventRow]]],
    n_events: int,
) -> np.ndarray:
    """Add recordings until there are so many events; return their sound types [shape=(N,)]."""
    root.mkdir()
    number, event_id, types = 0, 0, []
    while event_id < n_events:
        recordings, events = [], []
        while event_id < n_events and len(recordings) < AT_ONCE:
            which = number % len(heard)
            like, its_events = heard[which]
            site = f"site-{number % N_SITES:02d}"
            path = root / site / f"REC_{number:06d}.wav"
            path.parent.mkdir(exist_ok=True)
            os.link(Path(like.root) / like.path, path)
            number += 1
            recordings.append(
                replace(
                    like,
                    recording_id=number,
                    root=str(root),
                    path=str(path.relative_to(root)),
                    content_hash=f"{number:032x}",
                    started_ms=FIRST_MS + number // N_SITES * EVERY_MS,
                    utc_offset_min=60,
                    zone="UTC+1",
                    site=site,
                    recorder=f"recorder {number % N_SITES}",
                )
            )
            for place, one in enumerate(its_events[: n_events - event_id]):
                event_id += 1
                events.append(replace(one, event_id=event_id, recording_id=number))
                types.append((which * 101 + place) % N_TYPES)
        catalogue.add(recordings, events, [])
    return np.array(types)


def _write_vectors(workspace: Workspace, types: np.ndarray, rng: np.random.Generator) -> None:
    """Write vectors around a centre for each sound type, and a readout that nothing was read by."""
    centres = rng.normal(size=(N_TYPES, DIMENSIONS))
    writer = ArrayWriter(workspace.embeddings() / "events", np.dtype(np.float32), (DIMENSIONS,), 0)
    for start in range(0, len(types), ROWS_AT_ONCE):
        near = centres[types[start : start + ROWS_AT_ONCE]]
        vectors = near + rng.normal(size=near.shape)
        writer.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    writer.flush()
    Readout(
        config=replace(OscineConfig().readout, dimensions=DIMENSIONS),
        encoder="made up",
        mean=np.zeros((1, 2)),
        scale=np.ones((1, 2)),
        blocks=np.zeros((1, 2, 1)),
        joint=np.zeros((1, DIMENSIONS)),
        variance_share=1.0,
    ).save(workspace.embeddings())


def _add_sound_types(
    catalogue: Any, types: np.ndarray, rng: np.random.Generator, grouping: str
) -> None:
    """Put each type somewhere on the map, and leave some events out of them."""
    places = rng.normal(0, 8, (N_TYPES, 2))[types] + rng.normal(size=(len(types), 2))
    types = np.where(rng.random(len(types)) < NOISE_SHARE, -1, types)
    strengths = np.where(types >= 0, rng.uniform(0.1, 1, len(types)), 0).round(4)
    present = np.unique(types[types >= 0])
    types = np.where(types >= 0, np.searchsorted(present, types), -1)
    exemplars = [
        (np.flatnonzero(types == kind)[:EXEMPLARS] + 1).tolist() for kind in range(len(present))
    ]
    report = {
        "events": len(types),
        "clusters": len(present),
        "sizes": np.bincount(types[types >= 0], minlength=len(present)).tolist(),
        "noise_share": float(np.mean(types < 0)),
        "notes": [],
    }
    rows = (
        SoundTypeRow(event_id=number, cluster=kind, strength=strength, map_x=x, map_y=y)
        for number, (kind, strength, (x, y)) in enumerate(
            zip(types.tolist(), strengths.tolist(), places.tolist(), strict=True), 1
        )
    )
    facts = {"report": report, "exemplars": exemplars}
    catalogue.set_sound_types(rows, Stage(fingerprint=grouping, finished=True, facts=facts))


if __name__ == "__main__":
    main()
