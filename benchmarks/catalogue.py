"""How fast a catalogue of a million recordings answers.

Measured on synthetic rows (`--recordings` of them, 90 % whole, three events each for `--events`):

- `status`: seconds for all that `oscine status` asks;
- `where`: seconds for each of a few filters over all events;
- `append`: seconds for 10,000 recordings with their events and windows, in one transaction;
- bytes a recording, an event and a window take on disk.

Wanted, at a million recordings: under 2 s for each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from oscine import steps
from oscine.sound.clock import ClockReading, reading_to_json
from oscine.workspace import Workspace
from oscine.workspace.catalogue import (
    Catalogue,
    ClockRow,
    EventRow,
    RecordingRow,
    Stage,
    WindowRow,
)

CONDITIONS = (
    "site = 'site-07' and hour between 5 and 9",
    "date between '2024-03-01' and '2024-03-31' and low_hz > 2000",
    "duration_s > 0.5 or level_db >= 35",
)
BATCH = 10_000
READING = reading_to_json(
    ClockReading(
        local=datetime(2024, 3, 1, 5, 30),
        utc_offset_min=60,
        source="AudioMoth comment",
        is_weak=False,
        site="",
        recorder="AudioMoth 24F319046063F5A0",
        facts={"gain": "medium", "battery_v": 4.2, "temperature_c": 11.3},
        notes=(),
    )
)
FRAMES_PER_S = 100
SECONDS = 60
TILES = 23


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), arguments.recordings, arguments.events)
    print(json.dumps(result, indent=None if arguments.json else 2))


def measure(folder: Path, n_recordings: int, n_events: int) -> dict[str, Any]:
    """Fill a catalogue, then ask it."""
    workspace = Workspace(folder, create=True)
    sizes = {}
    with workspace.catalogue() as catalogue:
        started = time.perf_counter()
        per_recording = n_events / n_recordings
        for first in range(0, n_recordings, BATCH):
            add(catalogue, first, min(BATCH, n_recordings - first), per_recording)
        filled_s = time.perf_counter() - started
        catalogue.set_stage("index", Stage(fingerprint="made up", finished=True, facts={}))
        connection = catalogue._connection
        for table in ("recordings", "clocks", "events", "windows"):
            query = "SELECT sum(pgsize) FROM dbstat WHERE name LIKE ? || '%'"
            (n_bytes,) = connection.execute(query, (table,)).fetchone()
            numbered = "recordings" if table == "clocks" else table
            sizes[table] = round(n_bytes / catalogue.last(numbered), 1)
        append_s = timed(lambda: add(catalogue, n_recordings, BATCH, per_recording))
        where_s = {
            condition: timed(lambda one=condition: catalogue.events_where(one))
            for condition in CONDITIONS
        }
        listing_s = timed(catalogue.files)
    return {
        "recordings": n_recordings,
        "events": n_events,
        "status_s": timed(lambda: steps.status(folder)),
        "where_s": where_s,
        "append_of_10000_s": append_s,
        "listing_s": listing_s,
        "filled_s": round(filled_s, 1),
        "bytes_each": sizes,
        "megabytes": round(workspace.catalogue_file.stat().st_size / 1e6, 1),
    }


def add(catalogue: Catalogue, first: int, n: int, events_each: float) -> None:
    """Add so many recordings, as a run of `index` does."""
    recordings, events, windows = batch(first, n, events_each)
    clocks = [
        ClockRow(
            root=row.root,
            path=row.path,
            reading=READING,
            started_ms=row.started_ms,
            utc_offset_min=row.utc_offset_min,
            zone=row.zone,
            site=row.site,
            recorder=row.recorder,
            note="",
        )
        for row in recordings
    ]
    catalogue.add(recordings, events, windows, clocks=clocks)


def batch(
    first: int, n: int, events_each: float
) -> tuple[list[RecordingRow], list[EventRow], list[WindowRow]]:
    """Return rows of recordings of a minute, one after another at 20 sites."""
    recordings, events, windows = [], [], []
    for number in range(first, first + n):
        state = "whole" if number % 10 else ("silent", "damaged", "unreadable")[number // 10 % 3]
        n_frames = SECONDS * FRAMES_PER_S if state in ("whole", "damaged") else 0
        recordings.append(
            RecordingRow(
                recording_id=number + 1,
                root="/archive",
                path=f"site-{number % 20:02d}/2024/REC_{number:08d}.wav",
                channel=-1,
                n_bytes=2_880_044,
                modified_s=1.7e9 + number,
                content_hash=f"{number:032x}",
                state=state,
                reason="" if n_frames else "never rises above -60 dB of full scale",
                encoding="WAV PCM_16",
                sample_rate_hz=48_000,
                n_channels=1,
                n_samples=SECONDS * 48_000,
                n_promised=SECONDS * 48_000,
                n_valid_bands=128,
                tape_row=number * SECONDS * FRAMES_PER_S,
                n_frames=n_frames,
                started_ms=1_704_067_200_000 + (number // 20) * 1_800_000,
                utc_offset_min=60,
                zone="UTC+01:00 (recorder)",
                site=f"site-{number % 20:02d}",
                recorder=f"24F3190{number % 20:02d}",
            )
        )
        start, stop = (round(events_each * one) for one in (number, number + 1))
        events += [
            EventRow(
                event_id=event + 1,
                recording_id=number + 1,
                start_frame=event * 37 % 5000,
                stop_frame=event * 37 % 5000 + 20 + event % 50,
                start_sample=event * 37 % 5000 * 480,
                stop_sample=(event * 37 % 5000 + 20 + event % 50) * 480,
                low_hz=500.0 + event % 4000,
                high_hz=5000.0 + event % 4000,
                level_db=10.0 + event % 30,
            )
            for event in range(start, stop)
        ]
        if number < BATCH:  # what one takes on the disk can be told from a few
            windows += [
                WindowRow(
                    window_id=number * TILES + tile + 1,
                    recording_id=number + 1,
                    start_frame=tile * 256,
                    stop_frame=(tile + 1) * 256,
                )
                for tile in range(TILES)
            ]
    return recordings, events, windows


def timed(ask: Callable[[], Any]) -> float:
    """Return the seconds that one call takes."""
    started = time.perf_counter()
    ask()
    return round(time.perf_counter() - started, 3)


if __name__ == "__main__":
    main()
