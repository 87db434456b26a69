"""Exports to listen to: clips by sound type, and a page.

In come chosen events; out come files in an empty folder, and what could not be read. Called by
`export`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from oscine.sound.audio import UnreadableAudio
from oscine.sound.clips import unchanged_file, write_clip
from oscine.sound.recording import Interval
from oscine.sound.tables import CLIPS, meanings, write_csv
from oscine.steps.chosen import Chosen, ExportedEvent, Written, box, sound_type
from oscine.steps.exported_tables import write_readme
from oscine.steps.reporting import atlas_page
from oscine.steps.shared import needed
from oscine.steps.sounds import SILENT
from oscine.workspace.catalogue import RecordingRow
from oscine.workspace.exported import safe_name

UNGROUPED = "not grouped"
MOST_DRAWN = 100_000
"""Events on the map of a page."""


def clips(chosen: Chosen, new: Path, margin_s: float, most: int, seed: int) -> Written:
    """Write clips in a folder for each sound type, and a table that says which clip is what.

    Raises
    ------
    ValueError
        Not one of them could be cut.
    """
    written, folders = Written(), chosen.root_folders()
    taken, examples = chosen.drawn(most, seed)
    n_taken = sum(map(len, taken.values()))
    sources: dict[int, Path | UnreadableAudio] = {}
    heard: list[int] = []
    rows: list[list[Any]] = []
    for cluster, numbers in taken.items():
        name = UNGROUPED
        if cluster >= 0:
            name = safe_name(f"type-{cluster:03d} {chosen.names.get(cluster, '')}")
        (new / name).mkdir()
        for one in chosen.some(numbers):
            recording, interval = one.recording, _with_margin(one, margin_s)
            clip = f"{name}/{_clip_name(one, folders[recording.root])}"
            problem = _cut(new / clip, recording, interval, sources)
            if problem:
                written.skipped.append((recording.path, problem))
            else:
                heard.append(one.event.event_id)
            rows.append(
                [
                    None if problem else clip,
                    one.event.event_id,
                    one.key,
                    recording.path,
                    recording.root,
                    recording.channel,
                    *box(one),
                    (one.interval.start - interval.start) / interval.sample_rate_hz,
                    *sound_type(one, chosen.names),
                    one.event.event_id in examples,
                    problem,
                ]
            )
            if chosen.progress is not None:
                chosen.progress(len(rows), n_taken, recording.path)
    if rows and not heard:
        path, reason = written.skipped[0]
        raise ValueError(
            f"none of {len(rows):,} clips could be cut (the first, of {path}: {reason}): are the "
            "recordings where they were indexed? If they moved, run `oscine index` on their folder"
        )
    written.events, written.recordings = len(heard), chosen.n_recordings(heard)
    write_csv(new / "clips.csv", CLIPS, rows)
    write_readme(new, {"clips.csv": ("an event that was chosen", meanings(CLIPS))})
    return written


def _with_margin(one: ExportedEvent, margin_s: float) -> Interval:
    interval, margin = one.interval, round(margin_s * one.recording.sample_rate_hz)
    return Interval(
        start=max(0, interval.start - margin),
        stop=min(max(one.recording.n_samples, interval.stop), interval.stop + margin),
        sample_rate_hz=interval.sample_rate_hz,
    )


def _clip_name(one: ExportedEvent, root: tuple[str, ...]) -> str:
    """Return a name that sorts by recording and time, and that no other event has."""
    path = PurePosixPath(one.recording.path).with_suffix("")
    # Of a long path its end says more.
    end = "_".join([*root, *path.parts]).encode()[-100:].decode(errors="ignore")
    return f"{safe_name(end)} {one.interval.start_s:09.3f}s e{one.event.event_id}.wav"


def _cut(
    clip: Path,
    recording: RecordingRow,
    interval: Interval,
    sources: dict[int, Path | UnreadableAudio],
) -> str | None:
    """Write a clip, or return why there is none."""
    source = sources.get(recording.recording_id)
    if source is None:
        try:
            source = unchanged_file(recording)
        except UnreadableAudio as error:
            source = error
        sources[recording.recording_id] = source
    if isinstance(source, UnreadableAudio):
        return source.reason
    try:
        write_clip(clip, recording, source, interval)
    except UnreadableAudio as error:
        return error.reason
    return None


def page(chosen: Chosen, new: Path, condition: str | None, most: int, seed: int) -> Written:
    """Write a page of the map and of sounds of each type; pictures and sounds lie beside it."""
    from oscine.atlas.page import write_page
    from oscine.embedding.intervals import spread

    needed(chosen.catalogue, "cluster")
    grouped = chosen.catalogue.some_sound_types(chosen.numbers.tolist())
    on_map = [number for number in chosen.numbers.tolist() if number in grouped]
    drawn = np.array(spread(on_map, MOST_DRAWN, seed), np.int64)
    about = [("events shown", f"{len(drawn):,}")]
    about += [] if condition is None else [("that meet", condition)]
    notes = [
        f"Of each sound type up to {most} sounds are shown: its examples, then others that were "
        "drawn by chance."
    ]
    if len(drawn) < len(on_map):
        notes.append(
            f"{len(drawn):,} of {len(on_map):,} events were drawn by chance: the map shows these, "
            "and all counts are of these."
        )
    places = np.searchsorted(chosen.numbers, drawn)
    taken, _ = replace(chosen, numbers=drawn, clusters=chosen.clusters[places]).drawn(most, seed)
    page = atlas_page(
        chosen.workspace,
        chosen.catalogue,
        chosen.config,
        drawn=drawn,
        shown=taken,
        about=about,
        notes=notes,
        progress=chosen.progress,
    )
    write_page(new / "index.html", page, sounds=new / "sounds")
    written = Written(
        events=len(drawn),
        recordings=chosen.n_recordings(drawn.tolist()),
        skipped=[
            (one.recording, f"{SILENT}: a picture without sound")
            for each in page.exemplars.values()
            for one in each
            if one.audio is None
        ],
    )
    written.note_newer(len(chosen.numbers) - len(on_map), "no sound type yet: run `oscine cluster`")
    return written
