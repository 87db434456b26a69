"""What a finished workspace is asked with: events of it, files in or out of it, vectors.

In come numbers, files and stretches of them; out come their vectors and what else is known of them,
and the archive that they are held against. The workspace is only read. Events of it are asked
without torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oscine.config import OscineConfig, WrongArgument
from oscine.embedding.intervals import FrameInterval
from oscine.embedding.readout import Readout
from oscine.search.similarity import (
    Cohort,
    Sounds,
    day_of,
    described,
    draw_events,
    stretch_traits,
)
from oscine.sound.archive import located
from oscine.steps.comparing import open_neighbours
from oscine.steps.shared import open_tape
from oscine.workspace.arrays import ArrayReader
from oscine.workspace.catalogue import Catalogue, EventRow, RecordingRow
from oscine.workspace.folder import Workspace

if TYPE_CHECKING:
    from oscine.model.autoencoder import Encoder
    from oscine.picture.tape import Tape
    from oscine.search.index import NeighbourIndex

OTHER_MODEL = "another model was trained since these vectors were made: run `oscine embed`"
LEAST_LENGTH = 1e-6
"""A vector that is shorter has no direction."""
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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Asked:
    """What was asked with: its vector, and its sound where there is one.

    Attributes
    ----------
    words : str
        What it is, for people.
    vector : np.ndarray of float32 [shape=(D,)]
    interval : FrameInterval or None
        Where it is; None: a vector.
    event : EventRow or None
        None: no event of the archive.
    tape : Tape or None
        Of a file; None: that of the archive.
    traits : np.ndarray [shape=(1, 4)] or None
        What it is matched by, as of :func:`oscine.search.similarity.traits`.
    day : str
        Site and date; empty where it is not known.
    weakness : str
        Why nothing can be claimed of it, in plain words; empty if it can.
    trouble : str
        What is wrong with its file.
    """

    words: str
    vector: np.ndarray
    interval: FrameInterval | None = None
    event: EventRow | None = None
    tape: Tape | None = None
    traits: np.ndarray | None = None
    day: str = ""
    weakness: str = ""
    trouble: str = ""

    @property
    def sounds(self) -> Sounds:
        """Return it as a sound that can be held against others."""
        assert self.interval is not None
        assert self.traits is not None
        return Sounds(
            vectors=self.vector[None],
            traits=self.traits,
            recordings=np.array([self.interval.recording.content_key]),
            days=np.array([self.day]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Archive:
    """The events of a workspace that can be found; row n is that of event n + 1.

    Attributes
    ----------
    workspace : Workspace
    catalogue : Catalogue
        Open.
    config : OscineConfig
    index : NeighbourIndex
    is_present : np.ndarray of bool [shape=(N,)]
    """

    workspace: Workspace
    catalogue: Catalogue
    config: OscineConfig
    index: NeighbourIndex
    is_present: np.ndarray

    @classmethod
    def of(cls, workspace: Workspace, catalogue: Catalogue, config: OscineConfig) -> Archive:
        """Open the vectors of a workspace.

        Raises
        ------
        ValueError
            There are none yet.
        """
        index, is_present = open_neighbours(workspace, catalogue)
        return cls(
            workspace=workspace,
            catalogue=catalogue,
            config=config,
            index=index,
            is_present=is_present,
        )

    @property
    def vectors(self) -> ArrayReader:
        """Those of all events, absent ones too."""
        return self.index.vectors

    @cached_property
    def readout(self) -> Readout:
        """That of the vectors."""
        return Readout.load(self.workspace.embeddings())

    @cached_property
    def cohort(self) -> Cohort:
        """Events that speak for the archive."""
        drawn = draw_events(self.catalogue, self.vectors.n_rows, self.config.readout.seed)
        rows = np.array([one.event_id - 1 for one in drawn], np.int64)
        return Cohort(described(self.vectors.take(rows), drawn))

    def of_recordings(self, examples: Iterable[Asked]) -> np.ndarray:
        """Tell which events are in a recording of the examples, on any channel [shape=(N,)]."""
        return self._mask(self._beside(examples))

    def overlapping(self, examples: Iterable[Asked]) -> np.ndarray:
        """Tell which events sound while an example does, on any channel [shape=(N,)]."""
        found: list[EventRow] = []
        for one in examples:
            if one.interval is not None:
                start, stop = one.interval.frames
                found += [
                    event
                    for event in self._beside([one])
                    if event.start_frame < stop and event.stop_frame > start
                ]
        return self._mask(found)

    def meeting(self, where: str | None) -> np.ndarray:
        """Tell which events are present and meet a condition [shape=(N,)]."""
        if where is None:
            return self.is_present
        numbers = self.catalogue.events_where(where)
        is_met = np.zeros_like(self.is_present)
        is_met[numbers[numbers <= len(is_met)] - 1] = True
        return is_met & self.is_present

    def model(self) -> dict[str, Any] | None:
        """Return the facts of the model in use, or None where the vectors are not of it."""
        stage = self.catalogue.stage("pretrain")
        if stage is None or not stage.finished:
            return None
        return stage.facts if stage.facts["weights"] == self.readout.encoder else None

    def needed_model(self) -> dict[str, Any]:
        """Return the facts of the model in use.

        Raises
        ------
        ValueError
            There is none, or the vectors are not of it.
        """
        model = self.model()
        if model is None:
            raise ValueError(
                f"{self.workspace.folder}: no file can be compared with the events: "
                f"{self.why_no_model()}; events can be asked by number meanwhile"
            )
        return model

    def why_no_model(self) -> str:
        """Say why there is no model that the vectors are of, and the way out; empty if there is."""
        stage = self.catalogue.stage("pretrain")
        if stage is None or not stage.finished:
            is_begun = "training is not done" if stage else "there is no model yet"
            return f"{is_begun}: run `oscine pretrain`, then `oscine embed`"
        return OTHER_MODEL if self.model() is None else ""

    def encoder(self) -> Encoder:
        """Return the encoder that the vectors are of.

        Raises
        ------
        ValueError
            It is not the one in use, or PyTorch is not installed.
        """
        with torch_for("hearing a file", "events of the workspace can be asked by number"):
            from oscine.model.checkpoint import load_encoder
        return load_encoder(self.workspace.folder / self.needed_model()["checkpoint"])

    def intervals(self, numbers: Sequence[int]) -> dict[int, FrameInterval]:
        """Return where some events are on the tape, by number."""
        events = self.catalogue.some_events(numbers)
        recordings = self.catalogue.some_recordings(one.recording_id for one in events.values())
        return {
            number: FrameInterval(
                recording=recordings[one.recording_id],
                start_frame=one.start_frame,
                stop_frame=one.stop_frame,
            )
            for number, one in events.items()
        }

    def event(self, number: int) -> Asked:
        """Return an event as an example.

        Raises
        ------
        WrongArgument
            There is none of that number, or it cannot be asked.
        """
        last = self.catalogue.last("events")
        if not 1 <= number <= last:
            raise WrongArgument(
                f"there is no event {number}: those of this workspace are numbered 1 to {last:,} "
                "(a file whose name is a number is meant by ./ before it)"
            )
        if number > self.vectors.n_rows:
            raise WrongArgument(f"event {number} has no vector yet: run `oscine embed`")
        if not self.is_present[number - 1]:
            raise WrongArgument(
                f"event {number} is of a recording that is not in the archive any more: run "
                "`oscine index` where it is now, or name another event"
            )
        event, interval = self.catalogue.some_events([number])[number], self.intervals([number])
        sounds = described(
            self.vectors.take(np.array([number - 1])), self.catalogue.heard_events([number])
        )
        return Asked(
            words=f"event {number} ({_words(interval[number], self.config.picture.frames_per_s)})",
            vector=sounds.vectors[0],
            interval=interval[number],
            event=event,
            traits=sounds.traits,
            day=str(sounds.days[0]),
            weakness=self._weakness(interval[number], [event]),
        )

    def vector(self, vector: np.ndarray) -> Asked:
        """Return a vector as an example.

        Raises
        ------
        WrongArgument
            It is none of this workspace.
        """
        wanted = self.vectors.row_shape
        if vector.shape != wanted or not np.isfinite(vector).all():
            raise WrongArgument(
                f"a vector must have the shape {wanted} of those of the workspace and be finite, "
                f"not {vector.shape}"
            )
        problem = "the vector that was given is zero"
        return Asked(words="a vector", vector=unit_vector(vector, problem))

    @contextmanager
    def heard(
        self,
        stretches: Sequence[Stretch],
        channel: int | None = None,
        refused: dict[Stretch, str] | None = None,
    ) -> Iterator[dict[Stretch, Asked]]:
        """Hear stretches of files as the archive was heard, all at once.

        Parameters
        ----------
        stretches : sequence of Stretch
        channel : int, optional
        refused : dict of Stretch to str, optional
            Given, it is told of those that cannot be heard, and they are left out.

        Yields
        ------
        dict of Stretch to Asked
            Their tape can be read while the context is open.

        Raises
        ------
        WrongArgument
            A file cannot be heard, or a stretch is not in it.
        ValueError
            The vectors are not of the model in use, or PyTorch is not installed.
        """
        if not stretches:
            yield {}
            return
        encoder, picture = self.encoder(), self.config.picture
        from oscine.embedding.guests import guest_interval, hear_guests
        from oscine.embedding.vectors import vectors_of

        known = {one.file: self._known(one.file, channel) for one in stretches}
        files = [file for file, recording in known.items() if recording is None]
        with hear_guests(files, picture, self.config.activity, channel=channel) as guests:
            own_tape, _ = open_tape(self.workspace, self.catalogue, self.config)
            meant: dict[Stretch, tuple[FrameInterval, Sequence[EventRow]]] = {}
            for one in stretches:
                recording = known[one.file]
                try:
                    if one.file in guests.refused:
                        raise WrongArgument(
                            f"{one.file} cannot be heard: {guests.refused[one.file]}"
                        )
                    if recording is not None:
                        events = self.catalogue.events_of(recording.recording_id)
                    else:
                        recording, events = guests.recordings[one.file], guests.events[one.file]
                    interval = guest_interval(recording, one.start_s, one.stop_s, picture, events)
                except WrongArgument as error:
                    if refused is None:
                        raise
                    refused[one] = str(error)
                    continue
                meant[one] = interval, events
            found: dict[Stretch, Asked] = {}
            for tape in (own_tape, guests.tape):
                here = {
                    one: said
                    for one, said in meant.items()
                    if (known[one.file] is None) == (tape is guests.tape)
                }
                intervals = [interval for interval, _ in here.values()]
                vectors = vectors_of(tape, encoder, self.readout, intervals)
                for (one, (interval, events)), vector in zip(here.items(), vectors, strict=True):
                    found[one] = self._stretch(str(one.file), interval, vector, events, tape)
            yield found

    def _known(self, file: Path, channel: int | None) -> RecordingRow | None:
        """Return the recording of the archive that a file is, if it is one and has not changed."""
        for row in self.catalogue.recordings_called(file.resolve().as_posix()):
            place = located(Path(row.root), row.path)
            if place.resolve() != file.resolve() or row.channel not in (-1, channel or 0):
                continue
            if not place.exists():  # its sound is still on the tape
                return row
            now = place.stat()
            if (now.st_size, now.st_mtime) == (row.n_bytes, row.modified_s):
                return row
        return None

    def _stretch(
        self,
        name: str,
        interval: FrameInterval,
        vector: np.ndarray,
        events: Sequence[EventRow],
        tape: Tape,
    ) -> Asked:
        (start, stop), recording = interval.frames, interval.recording
        inside = [one for one in events if one.start_frame < stop and one.stop_frame > start]
        picture = self.config.picture
        return Asked(
            words=_words(interval, picture.frames_per_s, name),
            vector=vector,
            interval=interval,
            tape=tape,
            traits=stretch_traits(
                (stop - start) / picture.frames_per_s,
                [(one.low_hz, one.high_hz, one.level_db) for one in inside],
                (picture.low_hz, picture.high_hz),
            ),
            day=self._day(recording),
            weakness=self._weakness(interval, inside),
            trouble=f"{name} is {recording.state}: {recording.reason}" if recording.reason else "",
        )

    def _day(self, recording: RecordingRow) -> str:
        """Return site and date of a recording that the archive has, under whatever name."""
        events = self.catalogue.events_of_content([recording.content_hash])
        return next(map(day_of, self.catalogue.heard_events([x.event_id for x in events])), "")

    def _weakness(self, interval: FrameInterval, events: Sequence[EventRow]) -> str:
        """Say why nothing can be claimed of a stretch, where that is so."""
        start, stop = interval.frames
        frames_per_s, patch_frames = (
            self.config.picture.frames_per_s,
            self.config.model.patch_frames,
        )
        if stop - start < patch_frames // 2:
            return (
                f"is too short ({(stop - start) / frames_per_s:.2f} s): at less than "
                f"{patch_frames / 2 / frames_per_s:.2f} s most of what is compared is its "
                "surroundings"
            )
        if not events:
            return "is too quiet: nothing in it stands out of its background"
        return ""

    def _beside(self, examples: Iterable[Asked]) -> list[EventRow]:
        """Return the events of recordings with the same content as those of examples."""
        contents = {one.interval.recording.content_hash for one in examples if one.interval}
        return self.catalogue.events_of_content(sorted(contents))

    def _mask(self, events: Iterable[EventRow]) -> np.ndarray:
        mask = np.zeros_like(self.is_present)
        rows = np.array([one.event_id - 1 for one in events], np.int64)
        mask[rows[rows < len(mask)]] = True
        return mask


def read_example(text: str) -> int | Stretch:
    """Read an example: the number of an event, a file, or ``file@start-stop`` in seconds."""
    if text.isascii() and text.isdecimal():
        return int(text)
    match = _STRETCH.fullmatch(text)
    if match is None or Path(text).exists():
        return Stretch(file=Path(text))
    start_s, stop_s = float(match["start"]), float(match["stop"])
    return Stretch(file=Path(match["file"]), start_s=start_s, stop_s=stop_s)


def read_examples(examples: Example | Sequence[Example]) -> list[int | Stretch | np.ndarray]:
    """Return examples as a list, with what was written of them read.

    Raises
    ------
    WrongArgument
        A file is not there.
    """
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
    for one in read:
        if isinstance(one, Stretch) and not one.file.exists():
            raise WrongArgument(
                f"{one.file} is not there: name a recording, or an event by its number"
            )
    return read


@contextmanager
def all_asked(
    archive: Archive,
    examples: Sequence[int | Stretch | np.ndarray],
    channel: int | None = None,
) -> Iterator[list[Asked]]:
    """Find out about examples of all kinds; as :meth:`Archive.heard`, in their order."""
    stretches = [one for one in examples if isinstance(one, Stretch)]
    with archive.heard(stretches, channel) as heard:
        yield [
            heard[one]
            if isinstance(one, Stretch)
            else archive.event(one)
            if isinstance(one, int)
            else archive.vector(one)
            for one in examples
        ]


def unit_vector(vector: np.ndarray, problem: str) -> np.ndarray:
    """Return a vector at unit length.

    Raises
    ------
    WrongArgument
        It has no direction: the problem is said.
    """
    length = np.linalg.norm(vector)
    if length < LEAST_LENGTH:
        raise WrongArgument(problem)
    return (vector / length).astype(np.float32)


@contextmanager
def torch_for(purpose: str, otherwise: str) -> Iterator[None]:
    """Say in words what needs PyTorch, where it is not installed, and what does not."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise ValueError(
            f"{purpose} needs PyTorch, which is not installed here: install it; without, "
            f"{otherwise}"
        ) from error


def seconds(event: EventRow, recording: RecordingRow) -> tuple[float, float]:
    """Return where an event begins and ends in its recording."""
    rate = recording.sample_rate_hz
    return event.start_sample / rate, event.stop_sample / rate


def _words(interval: FrameInterval, frames_per_s: float, name: str | None = None) -> str:
    start_s, stop_s = (frame / frames_per_s for frame in interval.frames)
    return f"{name or interval.recording.path}, {start_s:.3f} to {stop_s:.3f} s"
