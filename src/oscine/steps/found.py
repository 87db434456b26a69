"""What was found to be alike, written down: a table, a Raven selection table, a page.

In comes a report of `similar`; out comes a file that appears whole or not at all. The page shows
and plays the sounds themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oscine.config import OscineConfig
from oscine.embedding.intervals import FrameInterval
from oscine.sound.archive import located
from oscine.sound.recording import Interval
from oscine.sound.selections import Selection, raven_lines
from oscine.sound.tables import Column, Kind, write_csv
from oscine.steps.shared import percent
from oscine.steps.sounds import SILENT, pictured
from oscine.workspace.arrays import NewFile
from oscine.workspace.catalogue import EventRow

if TYPE_CHECKING:
    from oscine.atlas.similar import PageSection, PageSound
    from oscine.picture.tape import Tape

LIKENESS = (
    "Likeness is the cosine between vectors: 1 is the same, 0 unrelated. It says how alike two "
    "sounds are to the model, not whether they are one species, one animal or one meaning."
)
ABOVE = (
    "Above says where a likeness lies: the share of unrelated pairs that are less alike. Those are "
    "pairs of events from different recordings and days, each like one of the two in band, length "
    "and level."
)
RAVEN_OWN_COLUMNS = ("Likeness", "Event", "Found In")
KINDS: dict[str, Kind] = {
    "path": "path",
    "root": "path",
    "time": "text",
    "site": "text",
    "same_recording": "truth",
}
"""Of the columns of tables that are no numbers."""
MOST_NAMED = 3
"""Examples that the title of the page names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimilarEvent:
    """An event that is like what was asked for.

    Attributes
    ----------
    event : int
        Its number in the workspace.
    likeness : float
        Cosine between its vector and what was asked for: 1 is the same, 0 unrelated.
    percentile : float or None
        Share of unrelated pairs that are less alike: pairs of events from different recordings and
        days, each like one of the two in band, length and level. None where the archive is too
        small to tell, or what was asked for is not one sound that stands out.
    pairs, pair_recordings : int or None
        That it rests on.
    path : str
        Of the recording, below `root`.
    root : str
        The folder that was indexed.
    channel : int
        From 0; -1 where the channels were mixed.
    start_s, stop_s : float
    time : str or None
        When it began by the clocks there, ISO 8601 with the offset; None where it is not known.
    site : str
        Empty where it is not known.
    low_hz, high_hz : float
    level_db : float
        Above the background.
    sound_type : int or None
        None where it is in none.
    """

    event: int
    likeness: float
    percentile: float | None
    pairs: int | None
    pair_recordings: int | None
    path: str
    root: str
    channel: int
    start_s: float
    stop_s: float
    time: str | None
    site: str
    low_hz: float
    high_hz: float
    level_db: float
    sound_type: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SimilarReport:
    """What is like some examples, the most alike first.

    Attributes
    ----------
    workspace : str
    like, unlike : list of str
        What was asked for, in words.
    where : str or None
        The condition that events had to meet.
    compared : int
        Events that were compared: those that meet the condition, but for the examples.
    others : list of SimilarEvent
        In other recordings than the examples.
    own : list of SimilarEvent
        In the recordings of what they are to be like.
    out : str or None
        The file that was written.
    notes : list of str
    """

    workspace: str
    like: list[str]
    unlike: list[str]
    where: str | None
    compared: int
    others: list[SimilarEvent]
    own: list[SimilarEvent]
    out: str | None
    notes: list[str]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShownExample:
    """Something that was asked with, to be shown.

    Attributes
    ----------
    words : str
        As in the report.
    interval : FrameInterval or None
        None: a vector, of which nothing can be shown.
    event : EventRow or None
        None: no event of the archive.
    tape : Tape
        That it is on.
    """

    words: str
    interval: FrameInterval | None
    event: EventRow | None
    tape: Tape


def write_table(out: Path, report: SimilarReport) -> None:
    """Write CSV: a row for each event, those of other recordings first."""
    names = [field.name for field in fields(SimilarEvent)]
    rows = [
        [rank, is_own, *(getattr(one, name) for name in names)]
        for is_own, events in ((False, report.others), (True, report.own))
        for rank, one in enumerate(events, 1)
    ]
    write_rows(out, ["rank", "same_recording", *names], rows)


def write_rows(out: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write CSV of columns with such names, in which a spreadsheet finds no formula."""
    columns = [Column(name, KINDS.get(name, "number"), "") for name in names]
    with NewFile(out) as part:
        write_csv(part, columns, rows)


def write_raven(out: Path, report: SimilarReport, intervals: Mapping[int, FrameInterval]) -> None:
    """Write a selection table of Raven: see :func:`oscine.sound.selections.raven_lines`.

    Parameters
    ----------
    out : Path
    report : SimilarReport
    intervals : mapping of int to FrameInterval
        Of the events.
    """
    selections = []
    for number, one in enumerate((*report.others, *report.own), 1):
        recording = intervals[one.event].recording
        rate_hz = recording.sample_rate_hz
        where = "other recording" if number <= len(report.others) else "same recording"
        selections.append(
            Selection(
                file=located(Path(one.root), one.path),
                duration_s=recording.duration_s,
                channel=one.channel,
                interval=Interval(
                    start=round(one.start_s * rate_hz),
                    stop=round(one.stop_s * rate_hz),
                    sample_rate_hz=rate_hz,
                ),
                low_hz=one.low_hz,
                high_hz=one.high_hz,
                said=(f"{one.likeness:.3f}", str(one.event), where),
            )
        )
    with NewFile(out) as part:
        part.write_bytes("".join(raven_lines(selections, RAVEN_OWN_COLUMNS)).encode())


def write_page(
    out: Path,
    report: SimilarReport,
    intervals: Mapping[int, FrameInterval],
    liked: Sequence[ShownExample],
    unliked: Sequence[ShownExample],
    tape: Tape,
    config: OscineConfig,
) -> None:
    """Write the page: what was asked for, and what was found, to look at and to hear.

    Parameters
    ----------
    out : Path
    report : SimilarReport
    intervals : mapping of int to FrameInterval
        Of the events.
    liked, unliked : sequence of ShownExample
    tape : Tape
        Of the archive.
    config : OscineConfig
    """
    from oscine.atlas.similar import PageSection, SimilarPage, write_similar

    def asked(title: str, examples: Sequence[ShownExample]) -> PageSection:
        sounds = [_example(one, one.interval, config) for one in examples if one.interval]
        hint = "" if len(sounds) == len(examples) else "Of a vector there is nothing to show."
        return PageSection(title=title, hint=hint, sounds=sounds)

    def found(title: str, hint: str, events: Sequence[SimilarEvent]) -> list[PageSection]:
        sounds = [
            _result(rank, one, intervals[one.event], tape, config)
            for rank, one in enumerate(events, 1)
        ]
        return [PageSection(title=title, hint=hint, sounds=sounds)] if sounds else []

    picture = config.picture
    has_percentile = any(one.percentile is not None for one in (*report.others, *report.own))
    apart = "Apart, for the nearest is often the same animal a second later."
    page = SimilarPage(
        title=_title(liked),
        summary=[
            ("workspace", Path(report.workspace).name),
            ("events compared", f"{report.compared:,}"),
            *([] if report.where is None else [("that meet", report.where)]),
        ],
        sections=[
            asked("Asked for", liked),
            *([asked("But not", unliked)] if unliked else []),
            *found("In other recordings", "The most alike first.", report.others),
            *found("In the same recording", apart, report.own),
        ],
        band_hz=np.array(picture.band_hz),
        notes=[LIKENESS, *([ABOVE] if has_percentile else []), *report.notes],
    )
    write_similar(out, page)


def _title(liked: Sequence[ShownExample]) -> str:
    if len(liked) > MOST_NAMED:
        return f"Sounds like {len(liked)} examples"
    return f"Sounds like {' and '.join(_name(one) for one in liked)}"


def _name(one: ShownExample) -> str:
    if one.event is not None:
        return f"event {one.event.event_id}"
    return one.words if one.interval is None else Path(one.interval.recording.path).name


def _example(one: ShownExample, interval: FrameInterval, config: OscineConfig) -> PageSound:
    start_s, stop_s = (frame / config.picture.frames_per_s for frame in interval.frames)
    lines = [] if one.event is None else [interval.recording.path]
    band_hz = None if one.event is None else (one.event.low_hz, one.event.high_hz)
    lines.append(f"{start_s:.3f} to {stop_s:.3f} s")
    return _sound(_name(one), lines, interval, band_hz, one.tape, config)


def _result(
    rank: int, one: SimilarEvent, interval: FrameInterval, tape: Tape, config: OscineConfig
) -> PageSound:
    time = datetime.fromisoformat(one.time).strftime("%Y-%m-%d %H:%M:%S") if one.time else ""
    place = [time or "time not known", one.site]
    what = [f"event {one.event}"]
    what += [] if one.sound_type is None else [f"sound type {one.sound_type}"]
    lines = [
        one.path,
        f"{one.start_s:.3f} to {one.stop_s:.3f} s, {one.low_hz:.0f} to {one.high_hz:.0f} Hz",
        ", ".join(part for part in place if part),
        ", ".join([*what, f"{one.level_db:.0f} dB above the floor"]),
    ]
    heading = f"{rank}. likeness {one.likeness:.2f}"
    if one.percentile is not None:
        heading += f", above {percent(one.percentile)}"
    return _sound(heading, lines, interval, (one.low_hz, one.high_hz), tape, config)


def _sound(
    heading: str,
    lines: Sequence[str],
    interval: FrameInterval,
    band_hz: tuple[float, float] | None,
    tape: Tape,
    config: OscineConfig,
) -> PageSound:
    """Return picture and sound of a stretch; where its file is gone, the picture says so."""
    from oscine.atlas.pictures import Box
    from oscine.atlas.similar import PageSound

    picture = config.picture
    low_hz, high_hz = band_hz or (picture.low_hz, picture.high_hz)
    exemplar = pictured(interval, "", (low_hz, high_hz), tape, config)
    silent = [] if exemplar.audio is not None else [f"no sound: {SILENT}"]
    box = Box(
        start_s=interval.start_frame / picture.frames_per_s,
        stop_s=interval.stop_frame / picture.frames_per_s,
        low_hz=low_hz,
        high_hz=high_hz,
    )
    return PageSound(exemplar=exemplar, box=box, heading=heading, lines=[*lines, *silent])
