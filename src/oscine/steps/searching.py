"""Questions to a finished workspace: `similar`, what sounds like this.

In come examples (files, stretches of them, events, vectors); out come the events that are most
like them, as a report, a table or a page. The workspace is only read, no lock is taken, and no
label is looked at. Events of the workspace are asked without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from oscine.config import WrongArgument
from oscine.search.exact import NOBODY, Neighbours
from oscine.search.similarity import Percentile, described
from oscine.steps.examples import (
    OTHER_MODEL,
    Archive,
    Asked,
    Example,
    all_asked,
    read_examples,
    seconds,
    unit_vector,
)
from oscine.steps.found import (
    ShownExample,
    SimilarEvent,
    SimilarReport,
    write_page,
    write_raven,
    write_table,
)
from oscine.steps.shared import looked_at, open_tape, untimed_words
from oscine.workspace.catalogue import EventRow, RecordingRow

TOP, OWN = 20, 5
UNLIKE_WEIGHT = 0.5
"""Of what the events are to be unlike, beside what they are to be like."""
TABLE, RAVEN, PAGE = ".csv", ".txt", ".html"


def similar(
    like: Example | Sequence[Example],
    folder: Path,
    *,
    unlike: Example | Sequence[Example] = (),
    unlike_weight: float = UNLIKE_WEIGHT,
    top: int = TOP,
    own: int = OWN,
    where: str | None = None,
    channel: int | None = None,
    out: Path | None = None,
) -> SimilarReport:
    """Find the events that are most like some examples.

    Several are asked as one: the unit vector of ``mean(like) - unlike_weight * mean(unlike)``
    (J. J. Rocchio, Relevance feedback in information retrieval, in G. Salton (ed.), The SMART
    Retrieval System, 1971; there too what is wanted weighs more than what is not).

    Parameters
    ----------
    like : Example, or sequence of Example
        What they are to sound like.
    folder : Path
        Of the workspace. It is only read, also while another run works on it.
    unlike : Example, or sequence of Example
        What they are not to sound like.
    unlike_weight : float
    top : int
        How many of other recordings are wanted.
    own : int
        How many of the recordings of `like`: often the same animal a second later. What overlaps
        an example is left out.
    where : str, optional
        A condition that they must meet, as of :func:`oscine.workspace.where.parse_where`.
    channel : int, optional
        Of the files, from 0, where the workspace keeps each channel; the first if not given.
    out : Path, optional
        A file to write, by its ending: a table (``.csv``), a Raven selection table (``.txt``), or
        a page with pictures and sound (``.html``).

    Returns
    -------
    SimilarReport

    Raises
    ------
    WrongArgument
        An example or a setting cannot be meant.
    FileNotFoundError
        There is no workspace.
    ValueError
        There are no vectors yet; or a file is to be heard, and the vectors are not those of the
        model in use, or PyTorch is not installed.
    """
    wanted, unwanted = read_examples(like), read_examples(unlike)
    _check(wanted, top, own, out)
    with ExitStack() as stack, looked_at(folder, (), None, "picture") as opened:
        archive = Archive.of(*opened)
        asked = stack.enter_context(all_asked(archive, [*wanted, *unwanted], channel))
        liked, unliked = asked[: len(wanted)], asked[len(wanted) :]
        report = alike(
            archive, liked, unliked, unlike_weight=unlike_weight, top=top, own=own, where=where
        )
        if out is not None:
            report = replace(report, out=str(out))
            _write(out, report, archive, liked, unliked)
    return report


def alike(
    archive: Archive,
    liked: Sequence[Asked],
    unliked: Sequence[Asked] = (),
    *,
    unlike_weight: float = UNLIKE_WEIGHT,
    top: int = TOP,
    own: int = OWN,
    where: str | None = None,
) -> SimilarReport:
    """Find the events of an open archive that are most like some examples; as :func:`similar`.

    Raises
    ------
    WrongArgument
    """
    asked = [*liked, *unliked]
    query = query_vector(liked, unliked, unlike_weight)
    is_own = archive.of_recordings(liked)
    is_allowed = archive.meeting(where) & ~archive.overlapping(asked)
    of_others = archive.index.search(query[None], top, is_allowed & ~is_own)
    of_own = archive.index.search(query[None], own, is_allowed & is_own)
    judge = liked[0] if len(asked) == 1 and liked[0].interval is not None else None
    return SimilarReport(
        workspace=str(archive.workspace.folder),
        like=[one.words for one in liked],
        unlike=[one.words for one in unliked],
        where=where,
        compared=int(is_allowed.sum()),
        others=_found(archive, of_others, judge),
        own=_found(archive, of_own, judge),
        out=None,
        notes=_notes(archive, is_allowed, where, asked),
    )


def _found(archive: Archive, found: Neighbours, judge: Asked | None) -> list[SimilarEvent]:
    """Say of what was found what, where and when it is, and what its likeness is worth.

    `judge` is what was asked for, where that is one sound.
    """
    rows = found.rows[0][found.rows[0] != NOBODY]
    numbers = (rows + 1).tolist()
    events, intervals = archive.catalogue.some_events(numbers), archive.intervals(numbers)
    types = archive.catalogue.sound_types_of(numbers)
    worth: list[Percentile | None] = [None] * len(rows)
    if judge is not None and not judge.weakness and len(rows):
        heard = {one.event_id: one for one in archive.catalogue.heard_events(numbers)}
        others = described(archive.vectors.take(rows), [heard[number] for number in numbers])
        worth = archive.cohort.percentiles(judge.sounds, others)
    return [
        _described(events[number], intervals[number].recording, cosine, one, types.get(number))
        for number, cosine, one in zip(numbers, found.likeness[0].tolist(), worth, strict=False)
    ]


def _described(
    event: EventRow,
    recording: RecordingRow,
    likeness: float,
    worth: Percentile | None,
    sound_type: int | None,
) -> SimilarEvent:
    start_s, stop_s = seconds(event, recording)
    return SimilarEvent(
        event=event.event_id,
        likeness=round(likeness, 3),
        percentile=None if worth is None else round(worth.share, 5),
        pairs=None if worth is None else worth.n_pairs,
        pair_recordings=None if worth is None else worth.n_recordings,
        path=recording.path,
        root=recording.root,
        channel=recording.channel,
        start_s=round(start_s, 4),
        stop_s=round(stop_s, 4),
        time=_time(recording, start_s),
        site=recording.site,
        low_hz=event.low_hz,
        high_hz=event.high_hz,
        level_db=round(event.level_db, 1),
        sound_type=sound_type,
    )


def _check(wanted: Sequence[object], top: int, own: int, out: Path | None) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if not wanted:
        raise WrongArgument("say what it is to sound like: a file, or the number of an event")
    if top < 1:
        raise WrongArgument(f"--top must be at least 1, not {top}")
    if own < 0:
        raise WrongArgument(f"--own must not be negative, not {own}")
    if out is None:
        return
    if out.suffix.lower() not in (TABLE, RAVEN, PAGE):
        raise WrongArgument(
            f"--out {out}: end its name in {TABLE} (a table), {RAVEN} (a Raven selection table) or "
            f"{PAGE} (a page with pictures and sound)"
        )
    if out.is_dir() or not out.absolute().parent.is_dir():
        problem = "is a folder" if out.is_dir() else "is in a folder that is not there"
        raise WrongArgument(f"--out {out} {problem}: name a file to write")


def query_vector(
    liked: Sequence[Asked], unliked: Sequence[Asked], weight: float = UNLIKE_WEIGHT
) -> np.ndarray:
    """Return the unit vector that stands for all examples, as float32 [shape=(D,)].

    Raises
    ------
    WrongArgument
        They cancel each other out, or an event is among both.
    """
    events = [{one.event.event_id for one in some if one.event} for some in (liked, unliked)]
    for number in sorted(events[0] & events[1]):
        raise WrongArgument(f"event {number} cannot be both like and unlike what is asked for")
    query = np.stack([one.vector for one in liked]).mean(axis=0, dtype=np.float64)
    if unliked:
        query -= weight * np.stack([one.vector for one in unliked]).mean(axis=0, dtype=np.float64)
    several = len(liked) + len(unliked) > 1
    return unit_vector(
        query,
        "the examples cancel each other out: give fewer, or others"
        if several
        else f"{liked[0].words} does not differ from the average of the archive in anything",
    )


def _notes(
    archive: Archive, is_allowed: np.ndarray, where: str | None, asked: Sequence[Asked]
) -> list[str]:
    """Say what keeps the result from being what one may expect."""
    notes = list(dict.fromkeys(one.trouble for one in asked if one.trouble))
    notes += [f"{one.words} {one.weakness}: no percentiles" for one in asked if one.weakness]
    if where is not None and not is_allowed.any():
        untimed = untimed_words(archive.catalogue, where)
        notes.append(f"no event meets the condition {where!r}{untimed}")
    n_newer = archive.catalogue.last("events") - archive.vectors.n_rows
    if n_newer > 0:
        notes.append(f"{n_newer:,} newer events have no vector yet: run `oscine embed`")
    why = archive.why_no_model()
    if why == OTHER_MODEL:  # without any, events can be asked as well
        notes.append(why)
    if archive.index.note:
        notes.append(archive.index.note)
    return notes


def _write(
    out: Path,
    report: SimilarReport,
    archive: Archive,
    liked: Sequence[Asked],
    unliked: Sequence[Asked],
) -> None:
    """Write what was found, in the form that the ending of the file asks for."""
    intervals = archive.intervals([one.event for one in (*report.others, *report.own)])
    ending = out.suffix.lower()
    if ending == TABLE:
        return write_table(out, report)
    if ending == RAVEN:
        return write_raven(out, report, intervals)
    tape, _ = open_tape(archive.workspace, archive.catalogue, archive.config)
    shown = (
        [
            ShownExample(
                words=one.words,
                interval=one.interval,
                event=one.event,
                tape=one.tape or tape,
            )
            for one in examples
        ]
        for examples in (liked, unliked)
    )
    write_page(out, report, intervals, *shown, tape=tape, config=archive.config)


def _time(recording: RecordingRow, start_s: float) -> str | None:
    """Return when it was by the clocks there."""
    if recording.known_ms is None:
        return None
    zone = timezone(timedelta(minutes=recording.utc_offset_min or 0))
    began_s = recording.known_ms / 1000 + start_s
    return datetime.fromtimestamp(began_s, zone).isoformat(timespec="milliseconds")
