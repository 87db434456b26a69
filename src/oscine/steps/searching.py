"""Questions to a finished workspace: `similar`, what sounds like this.

In come examples (files, stretches of them, events, vectors); out come the events that are most
like them, as a report, a table or a page. The workspace is only read, no lock is taken, and no
label is looked at. Events of the workspace are asked without torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oscine.config import OscineConfig, WrongArgument
from oscine.embedding.intervals import FrameInterval, frame_intervals
from oscine.embedding.readout import Readout
from oscine.steps.found import (
    ShownExample,
    SimilarEvent,
    SimilarReport,
    write_page,
    write_raven,
    write_table,
)
from oscine.steps.shared import looked_at, open_tape
from oscine.workspace.catalogue import Catalogue, EventRow, RecordingRow
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    from oscine.picture.tape import Tape

TOP, OWN = 20, 5
UNLIKE_WEIGHT = 0.5
"""Of what the events are to be unlike, beside what they are to be like."""
ROWS_AT_ONCE = 2**16
LEAST_LENGTH = 1e-6
"""A vector that is shorter has no direction."""
TABLE, RAVEN, PAGE = ".csv", ".txt", ".html"
_STRETCH = re.compile(r"(?P<file>.+)@(?P<start>\d+(?:\.\d+)?)-(?P<stop>\d+(?:\.\d+)?)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A stretch of a file, in or out of the archive; without seconds, the whole file."""

    file: Path
    start_s: float | None = None
    stop_s: float | None = None


Example = int | str | Path | Stretch | np.ndarray
"""An event by its number, a file, a stretch of one, or a vector [shape=(D,)]; text is read by
:func:`read_example`."""


def read_example(text: str) -> int | Stretch:
    """Read an example: the number of an event, a file, or ``file@start-stop`` in seconds."""
    if text.isascii() and text.isdecimal():
        return int(text)
    match = _STRETCH.fullmatch(text)
    if match is None or Path(text).exists():
        return Stretch(file=Path(text))
    start_s, stop_s = float(match["start"]), float(match["stop"])
    return Stretch(file=Path(match["file"]), start_s=start_s, stop_s=stop_s)


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
    wanted, unwanted = _listed(like), _listed(unlike)
    _check(wanted, unwanted, top, own, out)
    with ExitStack() as stack, looked_at(folder, (), None, "picture") as opened:
        archive = _read(*opened)
        stretches = [one for one in (*wanted, *unwanted) if isinstance(one, Stretch)]
        heard = stack.enter_context(_heard(archive, stretches, channel))

        def example(one: int | Stretch | np.ndarray) -> _Example:
            if isinstance(one, Stretch):
                return heard[one]
            return _known(archive, one) if isinstance(one, int) else _given(archive, one)

        liked, unliked = [example(one) for one in wanted], [example(one) for one in unwanted]
        query = _query(liked, unliked, unlike_weight)
        is_own = archive.are_of(liked)
        is_allowed = archive.meet(where) & ~archive.overlap([*liked, *unliked])
        report = SimilarReport(
            workspace=str(archive.workspace.folder),
            like=[one.words for one in liked],
            unlike=[one.words for one in unliked],
            where=where,
            compared=int(is_allowed.sum()),
            others=archive.found(*_nearest(archive.vectors, query, top, is_allowed & ~is_own)),
            own=archive.found(*_nearest(archive.vectors, query, own, is_allowed & is_own)),
            out=None if out is None else str(out),
            notes=_notes(archive, [*liked, *unliked], is_allowed, where),
        )
        if out is not None:
            _write(out, report, archive, liked, unliked)
    return report


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Example:
    """What was asked with: its vector, and its sound where there is one."""

    words: str
    vector: np.ndarray
    interval: FrameInterval | None = None
    event: EventRow | None = None
    tape: Tape | None = None
    """Of a guest; None: that of the archive."""
    trouble: str = ""
    """What is wrong with the file."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Archive:
    """The events that can be found, row by row."""

    workspace: Workspace
    catalogue: Catalogue
    config: OscineConfig
    vectors: np.ndarray
    events: list[EventRow]
    columns: dict[str, np.ndarray]
    """Numbers, recordings and frames of the events [each shape=(N,)]."""
    recordings: dict[int, RecordingRow]
    sound_types: dict[int, int]

    def are_of(self, examples: Iterable[_Example]) -> np.ndarray:
        """Tell which events are in a recording of the examples [shape=(N,)]."""
        contents = {one.interval.recording.content_hash for one in examples if one.interval}
        numbers = [row.recording_id for row in self._with_content(contents)]
        return np.isin(self.columns["recording_id"], numbers)

    def overlap(self, examples: Iterable[_Example]) -> np.ndarray:
        """Tell which events sound while an example does, on any channel [shape=(N,)]."""
        start, stop = self.columns["start_frame"], self.columns["stop_frame"]
        overlaps = np.zeros(len(self.events), bool)
        for one in examples:
            if one.interval is not None:
                first, last = one.interval.frames
                overlaps |= self.are_of([one]) & (start < last) & (stop > first)
        return overlaps

    def meet(self, where: str | None) -> np.ndarray:
        """Tell which events meet a condition [shape=(N,)]."""
        if where is None:
            return np.ones(len(self.events), bool)
        return np.isin(self.columns["event_id"], self.catalogue.events_where(where))

    def model(self, readout: Readout) -> dict[str, Any] | None:
        """Return the facts of the model in use, or None where the vectors are not of it."""
        stage = self.catalogue.stage("pretrain")
        if stage is None or not stage.finished or stage.facts["weights"] != readout.encoder:
            return None
        return stage.facts

    def found(self, rows: np.ndarray, likeness: np.ndarray) -> list[SimilarEvent]:
        """Say of some events what, where and when they are."""
        return [
            self._described(self.events[row], float(cosine))
            for row, cosine in zip(rows, likeness, strict=True)
        ]

    def interval(self, event: EventRow) -> FrameInterval:
        """Return where an event is on the tape."""
        return frame_intervals([event], self.recordings)[0]

    def _with_content(self, contents: set[str]) -> Iterator[RecordingRow]:
        return (row for row in self.recordings.values() if row.content_hash in contents)

    def _described(self, event: EventRow, likeness: float) -> SimilarEvent:
        recording = self.recordings[event.recording_id]
        start_s, stop_s = _seconds(event, recording)
        return SimilarEvent(
            event=event.event_id,
            likeness=round(likeness, 3),
            percentile=None,  # the one place where it is to be told
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
            sound_type=self.sound_types.get(event.event_id),
        )


def _read(workspace: Workspace, catalogue: Catalogue, config: OscineConfig) -> _Archive:
    vectors, events = workspace.vectors()
    types = {row.event_id: row.cluster for row in catalogue.sound_types() if row.cluster >= 0}
    return _Archive(
        workspace=workspace,
        catalogue=catalogue,
        config=config,
        vectors=vectors,
        events=events,
        columns={
            name: np.fromiter((getattr(one, name) for one in events), np.int64, len(events))
            for name in ("event_id", "recording_id", "start_frame", "stop_frame")
        },
        # Another run may just have found that a file is gone.
        recordings={row.recording_id: row for row in catalogue.recordings(with_absent=True)},
        sound_types=types,
    )


def _listed(examples: Example | Sequence[Example]) -> list[int | Stretch | np.ndarray]:
    """Return examples as a list, with what was written of them read."""
    if isinstance(examples, int | np.integer | str | Path | Stretch | np.ndarray):
        examples = [examples]
    read: list[int | Stretch | np.ndarray] = []
    for one in examples:
        if isinstance(one, str):
            read.append(read_example(one))
        elif isinstance(one, Path):
            read.append(Stretch(file=one))
        else:
            read.append(one if isinstance(one, Stretch | np.ndarray) else int(one))
    return read


def _check(
    wanted: Sequence[int | Stretch | np.ndarray],
    unwanted: Sequence[int | Stretch | np.ndarray],
    top: int,
    own: int,
    out: Path | None,
) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if not wanted:
        raise WrongArgument("say what it is to sound like: a file, or the number of an event")
    if top < 1:
        raise WrongArgument(f"--top must be at least 1, not {top}")
    if own < 0:
        raise WrongArgument(f"--own must not be negative, not {own}")
    for one in (*wanted, *unwanted):
        if isinstance(one, Stretch) and not one.file.exists():
            raise WrongArgument(
                f"{one.file} is not there: name a recording, or an event by its number"
            )
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


def _known(archive: _Archive, number: int) -> _Example:
    """Return an event of the workspace as an example."""
    row = int(np.searchsorted(archive.columns["event_id"], number))
    if row == len(archive.events) or archive.events[row].event_id != number:
        last = archive.catalogue.last("events")
        if not 1 <= number <= last:
            raise WrongArgument(
                f"there is no event {number}: those of this workspace are numbered 1 to {last:,} "
                "(a file whose name is a number is meant by ./ before it)"
            )
        events = archive.catalogue.events()
        if any(one.event_id == number for one in events):
            raise WrongArgument(f"event {number} has no vector yet: run `oscine embed`")
        raise WrongArgument(
            f"event {number} is of a recording that is not in the archive any more: run `oscine "
            "index` where it is now, or name another event"
        )
    event = archive.events[row]
    interval = archive.interval(event)
    start_s, stop_s = _seconds(event, interval.recording)
    return _Example(
        words=f"event {number} ({_words(interval.recording.path, start_s, stop_s)})",
        vector=archive.vectors[row],
        interval=interval,
        event=event,
    )


def _given(archive: _Archive, vector: np.ndarray) -> _Example:
    """Return a vector as an example."""
    wanted = archive.vectors.shape[1:]
    if vector.shape != wanted or not np.isfinite(vector).all():
        raise WrongArgument(
            f"a vector must have the shape {wanted} of those of the workspace and be finite, not "
            f"{vector.shape}"
        )
    return _Example(words="a vector", vector=_unit(vector, "the vector that was given is zero"))


@contextmanager
def _heard(
    archive: _Archive, stretches: Sequence[Stretch], channel: int | None
) -> Iterator[dict[Stretch, _Example]]:
    """Hear stretches of files as the archive was heard, all at once."""
    if not stretches:
        yield {}
        return
    with _torch_for("hearing a file", "events of the workspace can be asked by number"):
        from oscine.embedding.guests import guest_interval, hear_guests, vectors_of
        from oscine.model.checkpoint import load_encoder
    readout = Readout.load(archive.workspace.embeddings())
    model = archive.model(readout)
    if model is None:
        raise ValueError(
            f"{archive.workspace.folder}: the vectors are not of the model in use: no file "
            "can be compared with them: run `oscine embed` once training is done; events can be "
            "asked by number meanwhile"
        )
    config, files = archive.config, list(dict.fromkeys(one.file for one in stretches))
    with hear_guests(files, config.picture, config.activity, channel=channel) as guests:
        for file, reason in guests.refused.items():
            raise WrongArgument(f"{file} cannot be heard: {reason}")
        intervals = []
        for one in stretches:
            row, events = guests.recordings[one.file], guests.events[one.file]
            intervals.append(guest_interval(row, one.start_s, one.stop_s, config.picture, events))
        encoder = load_encoder(archive.workspace.folder / model["checkpoint"])
        vectors = vectors_of(guests.tape, encoder, readout, intervals)
        frames_per_s = config.picture.frames_per_s
        yield {
            one: _Example(
                words=_words(
                    str(one.file),
                    interval.start_frame / frames_per_s,
                    interval.stop_frame / frames_per_s,
                ),
                vector=vector,
                interval=interval,
                tape=guests.tape,
                trouble=_trouble(one.file, interval.recording),
            )
            for one, interval, vector in zip(stretches, intervals, vectors, strict=True)
        }


def _trouble(file: Path, recording: RecordingRow) -> str:
    return f"{file} is {recording.state}: {recording.reason}" if recording.reason else ""


@contextmanager
def _torch_for(purpose: str, otherwise: str) -> Iterator[None]:
    """Say in words what needs PyTorch, where it is not installed, and what does not."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise ValueError(
            f"{purpose} needs PyTorch, which is not installed here: install it, or go without: "
            f"{otherwise}"
        ) from error


def _query(liked: Sequence[_Example], unliked: Sequence[_Example], weight: float) -> np.ndarray:
    """Return the unit vector that stands for all examples [shape=(D,)]."""
    query = np.stack([one.vector for one in liked]).mean(axis=0, dtype=np.float64)
    if unliked:
        query -= weight * np.stack([one.vector for one in unliked]).mean(axis=0, dtype=np.float64)
    several = len(liked) + len(unliked) > 1
    return _unit(
        query,
        "the examples cancel each other out: give fewer, or others"
        if several
        else f"{liked[0].words} does not differ from the average of the archive in anything",
    )


def _unit(vector: np.ndarray, problem: str) -> np.ndarray:
    length = np.linalg.norm(vector)
    if length < LEAST_LENGTH:
        raise WrongArgument(problem)
    return (vector / length).astype(np.float32)


def _nearest(
    vectors: np.ndarray, query: np.ndarray, k: int, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the `k` nearest that are allowed, and their likeness, falling.

    Exact; of several alike, the first. To be replaced by ``NeighbourIndex.search``.
    """
    rows = np.flatnonzero(allowed)
    starts = range(0, len(rows), ROWS_AT_ONCE)
    portions = [vectors[rows[start : start + ROWS_AT_ONCE]] @ query for start in starts]
    likeness = np.concatenate([np.empty(0, np.float32), *portions])
    order = np.argsort(-likeness, kind="stable")[:k]
    return rows[order], likeness[order]


def _notes(
    archive: _Archive, examples: Sequence[_Example], is_allowed: np.ndarray, where: str | None
) -> list[str]:
    """Say what keeps the result from being what one may expect."""
    notes = list(dict.fromkeys(one.trouble for one in examples if one.trouble))
    if where is not None and not is_allowed.any():
        notes.append(f"no event meets the condition {where!r}")
    n_newer = archive.catalogue.count("events") - len(archive.events)
    if n_newer > 0:
        notes.append(f"{n_newer:,} newer events have no vector yet: run `oscine embed`")
    if archive.model(Readout.load(archive.workspace.embeddings())) is None:
        notes.append("another model was trained since these vectors were made: run `oscine embed`")
    return notes


def _write(
    out: Path,
    report: SimilarReport,
    archive: _Archive,
    liked: Sequence[_Example],
    unliked: Sequence[_Example],
) -> None:
    """Write what was found, in the form that the ending of the file asks for."""
    numbers = {one.event for one in (*report.others, *report.own)}
    intervals = {
        event.event_id: archive.interval(event)
        for event in archive.events
        if event.event_id in numbers
    }
    ending = out.suffix.lower()
    if ending == TABLE:
        return write_table(out, report)
    if ending == RAVEN:
        return write_raven(out, report, intervals)
    with _torch_for("a page with pictures", f"{TABLE} and {RAVEN} can be written"):
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


def _seconds(event: EventRow, recording: RecordingRow) -> tuple[float, float]:
    rate = recording.sample_rate_hz
    return event.start_sample / rate, event.stop_sample / rate


def _words(path: str, start_s: float, stop_s: float) -> str:
    return f"{path}, {start_s:.3f} to {stop_s:.3f} s"


def _time(recording: RecordingRow, start_s: float) -> str | None:
    """Return when it was by the clocks there."""
    if recording.started_ms is None:
        return None
    zone = timezone(timedelta(minutes=recording.utc_offset_min or 0))
    began_s = recording.started_ms / 1000 + start_s
    return datetime.fromtimestamp(began_s, zone).isoformat(timespec="milliseconds")
