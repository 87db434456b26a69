"""Sounds that are not in the archive, heard as the archive was.

In come files; out come a tape of theirs, the rows that the archive would have of them, and why some
cannot be heard. Excerpts, quiet frames and vectors are then made of them as of recordings of the
archive: the same file gives the same vectors as guest and there. Called by the steps that are
asked of a file, or given examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from oscine.config import ActivityConfig, PictureConfig, WrongArgument
from oscine.embedding.intervals import FrameInterval
from oscine.picture.indexing import event_rows, recording_row
from oscine.picture.tape import Channel, Tape, TapeWriter
from oscine.picture.workers import Outcome, Task, draw_one
from oscine.sound.archive import Found, find_recordings
from oscine.sound.audio import hushed
from oscine.workspace.catalogue import EventRow, RecordingRow

LONGEST_QUERY_S = 60.0
"""A whole file that is longer holds many sounds: their mean is like none of them."""
LEAST_FRAMES = 2
"""One frame has no course in time."""
NAMED_EVENTS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Guests:
    """Files that were heard for a while.

    Attributes
    ----------
    tape : Tape
        Read while the context of :func:`hear_guests` is open.
    recordings : dict of Path to RecordingRow
        By file, as it was named; those that were heard. Numbered by themselves, from 1.
    events : dict of Path to list of EventRow
        By file; numbered by themselves, from 1.
    refused : dict of Path to str
        Why a file cannot be heard.
    """

    tape: Tape
    recordings: dict[Path, RecordingRow]
    events: dict[Path, list[EventRow]]
    refused: dict[Path, str]


@contextmanager
def hear_guests(
    files: Sequence[Path],
    picture: PictureConfig,
    activity: ActivityConfig,
    *,
    channel: int | None = None,
) -> Iterator[Guests]:
    """Draw some files and find their events, in a temporary folder.

    They are drawn whole and in this process: each is one that somebody named.

    Parameters
    ----------
    files : sequence of Path
    picture : PictureConfig
        Of the archive. Where it keeps each channel, one of a guest is heard.
    activity : ActivityConfig
    channel : int, optional
        Which, from 0; the first if not given.

    Yields
    ------
    Guests

    Raises
    ------
    WrongArgument
        A channel is asked for, and the archive has them mixed.
    DiskFull
        There is no room for temporary files.
    """
    if channel is not None and picture.channels != "each":
        raise WrongArgument(
            f"channel {channel} was asked for, but this workspace hears the channels of a file "
            f"together (picture.channels={picture.channels!r}): leave the channel out"
        )
    with TemporaryDirectory(prefix="oscine-guests-") as name:
        folder = Path(name)
        writer = TapeWriter(folder / "tape", picture, 0)
        recordings: dict[Path, RecordingRow] = {}
        events: dict[Path, list[EventRow]] = {}
        refused: dict[Path, str] = {}
        n_events = 0
        for number, file in enumerate(dict.fromkeys(files)):
            part = folder / f"{number:09d}"
            drawn = _drawn(file, part, picture, activity, channel)
            if isinstance(drawn, str):
                refused[file] = drawn
                continue
            found, outcome, chosen = drawn
            assert outcome.drawn is not None
            recordings[file] = recording_row(
                found,
                outcome.content_hash,
                outcome.drawn,
                chosen,
                recording_id=len(recordings) + 1,
                tape_row=writer.append(chosen),
            )
            events[file] = event_rows(recordings[file], chosen, picture, n_events + 1)
            n_events += len(events[file])
            for left in folder.glob(f"{part.name}.*"):  # its other channels
                left.unlink()
        yield Guests(
            tape=Tape(folder / "tape", picture, writer.n_rows),
            recordings=recordings,
            events=events,
            refused=refused,
        )


def guest_interval(
    recording: RecordingRow,
    start_s: float | None,
    stop_s: float | None,
    picture: PictureConfig,
    events: Sequence[EventRow] = (),
) -> FrameInterval:
    """Return the frames of a stretch of a recording, to the nearest frame.

    Parameters
    ----------
    recording : RecordingRow
    start_s, stop_s : float, optional
        Of the file; without, its beginning and its end.
    picture : PictureConfig
    events : sequence of EventRow
        Of the recording: the clearest are named where a stretch is needed.

    Returns
    -------
    FrameInterval

    Raises
    ------
    WrongArgument
        It is no stretch, does not lie within the file, is too short, or longer than 60 s where
        none was asked for.
    """
    duration_s, frames_per_s = recording.duration_s, picture.frames_per_s
    first_s = 0.0 if start_s is None else start_s
    last_s = duration_s if stop_s is None else stop_s
    stretch = f"{recording.path}: {first_s:g} to {last_s:g} s"
    if not 0 <= first_s < last_s:
        raise WrongArgument(f"{stretch} is no stretch of time: begin at 0 or later, end later")
    if last_s > duration_s + 0.5 / frames_per_s:
        raise WrongArgument(f"{stretch} lies outside of the file, which is {duration_s:.2f} s long")
    if start_s is None and stop_s is None and duration_s > LONGEST_QUERY_S:
        raise WrongArgument(
            f"{recording.path} is {duration_s:.0f} s long, and one sound is asked for: name it by "
            f"where it begins and ends{_clearest(recording, events)}"
        )
    start = round(first_s * frames_per_s)
    stop = min(recording.n_frames, round(last_s * frames_per_s))
    if stop - start < LEAST_FRAMES:
        raise WrongArgument(
            f"{stretch} is too short: at least {LEAST_FRAMES / frames_per_s:g} s are needed"
        )
    return FrameInterval(recording=recording, start_frame=start, stop_frame=stop)


def _drawn(
    file: Path, part: Path, picture: PictureConfig, activity: ActivityConfig, channel: int | None
) -> tuple[Found, Outcome, Channel] | str:
    """Draw a file and choose its channel, or say why it cannot be heard."""
    if not file.is_file():
        return "is a folder: name a file" if file.is_dir() else "is not there"
    found, problems = find_recordings([file])
    if not found:
        return f"cannot be looked at: {problems[0][1]}"
    one = found[0]
    task = Task(file=one.file, n_bytes=one.n_bytes, modified_s=one.modified_s, part=part)
    with hushed():
        outcome = draw_one(task, {}, picture, activity)
    assert outcome.drawn is not None  # for no content is known
    channels = outcome.drawn.channels
    if channels and not (channel or 0) < len(channels):
        return f"has {len(channels)} channels, counted from 0: there is no channel {channel}"
    chosen = channels[channel or 0] if channels else None
    if chosen is None or not chosen.n_frames:
        return f"{outcome.drawn.state}: {outcome.drawn.reason}"
    return one, outcome, chosen


def _clearest(recording: RecordingRow, events: Sequence[EventRow]) -> str:
    """Name the events that stand out most, in the order of time."""
    clearest = sorted(events, key=lambda one: -one.level_db)[:NAMED_EVENTS]
    rate = recording.sample_rate_hz
    named = [
        f"{one.start_sample / rate:.2f} to {one.stop_sample / rate:.2f} s"
        for one in sorted(clearest, key=lambda one: one.start_sample)
    ]
    return f"; its clearest sounds are at {', '.join(named)}" if named else ""
