"""From folders to a catalogue and a tape, in the order of the archive.

In come folders; out come catalogue rows, frames on the tape and events. Files are drawn by worker
processes; this process alone appends to the tape and to the catalogue, in the order of the list,
so that neither the number of workers nor an interruption shows in the result.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from oscine.config import ActivityConfig, ClockConfig, PictureConfig, fingerprint
from oscine.picture.drawing import Drawn, band_limits_hz, not_drawn
from oscine.picture.tape import Channel, TapeWriter, tape_fingerprint
from oscine.picture.workers import Outcome, Task, draw_in_order, draw_with_ray
from oscine.sound.archive import Found, find_recordings, is_gone
from oscine.sound.changes import Changes, changes_since
from oscine.sound.clock import (
    ClockReading,
    read_clock,
    reading_from_json,
    reading_to_json,
    site_from,
    when_and_where,
)
from oscine.sound.clock_trouble import Timed, clock_trouble
from oscine.workspace.catalogue import (
    HEARD,
    Catalogue,
    ClockRow,
    EventRow,
    FileRow,
    Placed,
    RecordingRow,
    WindowRow,
)
from oscine.workspace.folder import Workspace

FILES_AT_ONCE = 64
"""Files noted in one transaction, or fewer that took so long:"""
NOTED_AFTER_S = 30.0
MIXED = -1
NO_ZONE = "files state a time without a zone: give it with --timezone"
MOST_REASONS = 100
"""Notes on single clocks that are kept, the most frequent ones."""
Engine = Literal["processes", "ray"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexed:
    """What a pass over the archive did.

    Attributes
    ----------
    n_new : int
        Files drawn in this pass for the first time.
    n_changed : int
        Files drawn again, for they are not as they were.
    n_moved : int
        Files known by their content under another name: not drawn again.
    moved_from : dict of str to int
        Those of them that came from elsewhere, by the folder that held them.
    n_gone : int
        Files that are not where they were, and nowhere else.
    problems : list of (path, reason)
        Folders that could not be looked into.
    """

    n_new: int
    n_changed: int
    n_moved: int
    moved_from: dict[str, int]
    n_gone: int
    problems: list[tuple[str, str]]


def index_archive(
    workspace: Workspace,
    folders: Sequence[Path],
    picture: PictureConfig,
    activity: ActivityConfig,
    clock: ClockConfig,
    *,
    workers: int,
    engine: Engine = "processes",
    progress: Callable[[int, int, str], None] | None = None,
) -> Indexed:
    """Bring the catalogue up to date with some folders: draw what is new or changed.

    What is gone is kept, present no more: its frames count again when the file comes back, here or
    elsewhere. A recording of another folder whose file is gone from there, and found here, is
    here from then on.

    Parameters
    ----------
    workspace : Workspace
    folders : sequence of Path
    picture : PictureConfig
    activity : ActivityConfig
    clock : ClockConfig
    workers : int
        Processes that decode, at least 1.
    engine : "processes" or "ray"
        Where they run: here, or on a Ray cluster that sees the same folders.
    progress : callable, optional
        Told the bytes done, the bytes in all, and the file at hand.

    Returns
    -------
    Indexed

    Raises
    ------
    FileNotFoundError
        A folder is not there.
    OSError
        The disk of the workspace is full.
    """
    found, problems = find_recordings(folders)
    for left in workspace.folder.glob("parts-*"):
        shutil.rmtree(left, ignore_errors=True)
    with (
        TemporaryDirectory(prefix="parts-", dir=workspace.folder) as parts,
        workspace.catalogue() as catalogue,
    ):
        files = catalogue.files()
        changes = changes_since(files, found, folders, [path for path, _ in problems])
        note = _Notebook(catalogue, workspace, picture, activity, clock, files, changes)
        tasks = [
            Task(
                file=one.file,
                n_bytes=one.n_bytes,
                modified_s=one.modified_s,
                part=Path(parts) / f"{number:09d}",
            )
            for number, one in enumerate(changes.unread)
        ]
        done, total = 0, sum(task.n_bytes for task in tasks)
        draw = draw_with_ray if engine == "ray" else draw_in_order
        drawing = draw(tasks, note.known, Path(parts), picture, activity, workers)
        with closing(drawing) as outcomes:  # its processes end before their folder goes
            for one, outcome in zip(changes.unread, outcomes, strict=True):
                note.add(one, outcome)
                done += one.n_bytes
                if progress is not None:
                    progress(done, total, one.path)
        note.write_down()
        moved = _settle_duplicates(catalogue, files, found)
    before = {(row.root, row.path) for row in files if row.is_present}
    return Indexed(
        n_new=note.n_new - sum((row.root, row.path) not in before for row, _ in moved),
        n_changed=note.n_changed,
        n_moved=note.n_moved + len(moved),
        moved_from=Counter(heard.root for _, heard in moved),
        n_gone=note.n_gone,
        problems=problems,
    )


def tell_time_again(catalogue: Catalogue, clock: ClockConfig) -> None:
    """Work out again when and where all files were recorded, from what they say."""
    rows = [row for row, _, _ in catalogue.clocks()]
    catalogue.set_clocks(
        clock_row(row.root, row.path, reading_from_json(row.reading), clock) for row in rows
    )


def clock_findings(catalogue: Catalogue, clock: ClockConfig) -> list[str]:
    """Return what is wrong with the clocks of the recordings that were heard, in sentences."""
    reasons: Counter[str] = Counter()

    def timed() -> Iterator[Timed]:
        for row, duration_s, state in catalogue.clocks():
            if state in HEARD:
                # One recorder can make but one recording at a time; where it is not known, a site.
                key = row.recorder.rpartition(" ")[2] or row.site
                reading = reading_from_json(row.reading)
                if row.started_ms is None:
                    reasons.update([row.note if clock.timezone else NO_ZONE])
                reasons.update(note for note in reading.notes if not reading.is_weak)
                duration_ms = round(1000 * duration_s)
                yield Timed(row.path, key, row.started_ms, duration_ms, reading.source)

    sentences = clock_trouble(timed())
    named = [f"{text} ({n:,} files)" if n > 1 else text for text, n in reasons.most_common()]
    return [*sentences, *named[:MOST_REASONS]]


def without_site(recordings: Sequence[RecordingRow], pattern: str) -> dict[str, list[str]]:
    """Return by the folder of their archive the paths of files that a pattern does not fit.

    Parameters
    ----------
    recordings : sequence of RecordingRow
    pattern : str
        As in :func:`oscine.sound.clock.site_from`; empty: there is none.
    """
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for row in recordings:
        if pattern and row.channel <= 0 and not site_from(pattern, row.path):
            paths[row.root].append(row.path)
    return dict(paths)


def archive_fingerprint(
    recordings: Sequence[RecordingRow], picture: PictureConfig, activity: ActivityConfig
) -> str:
    """Return what stands for all that was heard, whatever the files are called."""
    contents = sorted((row.content_key, row.n_frames) for row in recordings)
    return fingerprint(contents, picture, activity)


def clock_row(root: Path | str, path: str, reading: ClockReading, clock: ClockConfig) -> ClockRow:
    """Return when and where a file was recorded, as the catalogue holds it."""
    found = when_and_where(reading, path, timezone=clock.timezone, pattern=clock.site_from)
    return ClockRow(root=str(root), path=path, reading=reading_to_json(reading), **asdict(found))


def recording_row(
    found: Found,
    digest: str,
    drawn: Drawn,
    channel: Channel | None,
    *,
    recording_id: int,
    tape_row: int,
) -> RecordingRow:
    """Return the row of one channel of a file, or of a file of which nothing could be drawn."""
    return RecordingRow(
        recording_id=recording_id,
        root=str(found.root),
        path=found.path,
        channel=channel.channel if channel else MIXED,
        n_bytes=found.n_bytes,
        modified_s=found.modified_s,
        content_hash=digest,
        state=drawn.state,
        reason=drawn.reason,
        encoding=drawn.encoding,
        sample_rate_hz=drawn.sample_rate_hz,
        n_channels=drawn.n_channels,
        n_samples=drawn.n_samples,
        n_promised=drawn.n_promised,
        n_valid_bands=drawn.n_valid_bands,
        tape_row=tape_row,
        n_frames=channel.n_frames if channel else 0,
    )


def event_rows(
    recording: RecordingRow, channel: Channel, picture: PictureConfig, first_id: int
) -> list[EventRow]:
    """Return the events of a channel, numbered from `first_id`."""

    def sample(frame: int) -> int:
        """Return where a frame begins, in samples of the file's own rate."""
        at = frame * picture.hop_samples * recording.sample_rate_hz
        return min(recording.n_samples, round(at / picture.sample_rate_hz))

    rows = []
    for event_id, event in enumerate(channel.events, first_id):
        low_hz, high_hz = band_limits_hz(event, picture)
        rows.append(
            EventRow(
                event_id=event_id,
                recording_id=recording.recording_id,
                start_frame=event.start_frame,
                stop_frame=event.stop_frame,
                start_sample=sample(event.start_frame),
                stop_sample=sample(event.stop_frame),
                low_hz=low_hz,
                high_hz=high_hz,
                level_db=event.level_db,
            )
        )
    return rows


class _Notebook:
    """Puts files on the tape and into the catalogue, a batch in one transaction."""

    def __init__(
        self,
        catalogue: Catalogue,
        workspace: Workspace,
        picture: PictureConfig,
        activity: ActivityConfig,
        clock: ClockConfig,
        files: Sequence[FileRow],
        changes: Changes,
    ) -> None:
        self._catalogue = catalogue
        self._picture = picture
        self._clock = clock
        folder = workspace.tape(tape_fingerprint(picture, activity))
        self._tape = TapeWriter(folder, picture, catalogue.tape_rows())
        self._next_id = catalogue.last("recordings") + 1
        self._next_event = catalogue.last("events") + 1
        self._next_window = catalogue.last("windows") + 1
        self._recordings: list[RecordingRow] = []
        self._events: list[EventRow] = []
        self._windows: list[WindowRow] = []
        self._retired = list(changes.gone)
        self._placed: list[Placed] = []
        self._clocks: list[ClockRow] = []
        self._noted_s = time.monotonic()
        self.n_new = self.n_changed = self.n_moved = 0
        self._gone = gone = {row.recording_id for row in changes.gone}
        self._present = {
            (row.root, row.path): row
            for row in files
            if row.is_present and row.recording_id not in gone
        }
        heard = [row for row in files if row.is_heard]
        sizes = {one.n_bytes for one in changes.unread}
        self.known = {row.content_hash: row.duration_s for row in heard if row.n_bytes in sizes}
        """Contents on the tape that the unread files may have, and their seconds."""
        self._heard = {
            row.content_hash: (row.root, row.path) for row in self._present.values() if row.is_heard
        }
        self._absent = {
            row.content_hash: row for row in reversed(heard) if row.content_hash not in self._heard
        }
        for row, one in changes.returned:
            self._place(row, one)
            reading = read_clock(one.file, modified_s=one.modified_s, duration_s=row.duration_s)
            self._clocks.append(clock_row(one.root, one.path, reading, clock))

    @property
    def n_gone(self) -> int:
        """Files that are gone and were not found elsewhere."""
        return len(self._gone)

    def add(self, found: Found, outcome: Outcome) -> None:
        """Note one file."""
        digest, key = outcome.content_hash, (str(found.root), found.path)
        before = self._present.get(key)
        if outcome.drawn is None and before is not None and before.content_hash == digest:
            self._place(before, found)  # only written again
        else:
            if before is not None:
                self._retired.append(self._present.pop(key))
                self._forget(before)
            if outcome.drawn is None and digest in self._absent:
                self._place(self._absent[digest], found)
                self.n_moved += 1
            else:
                self._add_new(found, outcome)
                self.n_new += before is None
                self.n_changed += before is not None
        self._clocks.append(clock_row(found.root, found.path, outcome.clock, self._clock))
        n_noted = len(self._recordings) + len(self._placed)
        if n_noted >= FILES_AT_ONCE or time.monotonic() - self._noted_s > NOTED_AFTER_S:
            self.write_down()

    def write_down(self) -> None:
        """Make all that was noted last."""
        if not (self._recordings or self._retired or self._placed or self._clocks):
            return
        self._tape.flush()
        self._catalogue.add(
            self._recordings,
            self._events,
            self._windows,
            retired=self._retired,
            placed=self._placed,
            clocks=self._clocks,
        )
        self._recordings, self._events, self._windows = [], [], []
        self._retired, self._placed, self._clocks = [], [], []
        self._noted_s = time.monotonic()

    def _place(self, row: FileRow, found: Found) -> None:
        """Note that a file is there, or elsewhere, with the content it was heard with."""
        self._placed.append(_placed(row, found))
        self._gone.discard(row.recording_id)
        if row.is_heard:
            self._absent.pop(row.content_hash, None)
            self._heard[row.content_hash] = str(found.root), found.path

    def _forget(self, row: FileRow) -> None:
        """Let a file that was heard count as gone: its content may be found elsewhere."""
        if row.is_heard:
            self._heard.pop(row.content_hash, None)
            self._absent[row.content_hash] = row

    def _add_new(self, found: Found, outcome: Outcome) -> None:
        """Note a file that was not heard before, under any name."""
        digest, drawn = outcome.content_hash, outcome.drawn
        twin = self._heard.get(digest)
        if drawn is None or (drawn.state in HEARD and twin is not None):
            _discard(drawn.channels if drawn is not None else ())
            drawn = replace(not_drawn(_same_bytes(found, twin)), state="duplicate")
        if drawn.state in HEARD:
            self._heard[digest] = str(found.root), found.path
        if not drawn.channels:
            self._add_recording(found, digest, drawn, None)
        for channel in drawn.channels:
            recording = self._add_recording(found, digest, drawn, channel)
            self._add_events(recording, channel)
            self._add_windows(recording)

    def _add_recording(
        self,
        found: Found,
        digest: str,
        drawn: Drawn,
        channel: Channel | None,
    ) -> RecordingRow:
        row = recording_row(
            found,
            digest,
            drawn,
            channel,
            recording_id=self._next_id,
            tape_row=self._tape.append(channel) if channel else self._tape.n_rows,
        )
        self._next_id += 1
        self._recordings.append(row)
        return row

    def _add_events(self, recording: RecordingRow, channel: Channel) -> None:
        events = event_rows(recording, channel, self._picture, self._next_event)
        self._next_event += len(events)
        self._events += events

    def _add_windows(self, recording: RecordingRow) -> None:
        """Tile a recording; a rest of under half a window is left out unless it is all there is."""
        length = self._picture.window_frames
        for start in range(0, recording.n_frames, length):
            stop = min(recording.n_frames, start + length)
            if start and stop - start < length / 2:
                break
            self._windows.append(
                WindowRow(
                    window_id=self._next_window,
                    recording_id=recording.recording_id,
                    start_frame=start,
                    stop_frame=stop,
                )
            )
            self._next_window += 1


def _same_bytes(found: Found, twin: tuple[str, str] | None) -> str:
    """Say which file, by folder and path, is heard in place of its duplicate."""
    assert twin is not None  # what was not drawn is on the tape
    root, path = twin
    return f"the same bytes as {path}" + (f" in {root}" if root != str(found.root) else "")


def _settle_duplicates(
    catalogue: Catalogue, files: Sequence[FileRow], found: Sequence[Found]
) -> list[tuple[FileRow, FileRow]]:
    """Let a duplicate take the place of the file it stood back for, where that is gone.

    So a recording follows its file to a folder of another name: return these, each with the row
    it had. What else was known of the folders they left, and is found here, is there no more.
    A file that was listed before by the folder above or below has moved in this sense too.
    """
    listed = {(str(one.root), one.path) for one in found}
    places = {os.path.join(*names) for names in listed}
    here: defaultdict[str, list[FileRow]] = defaultdict(list)
    elsewhere = [row for row in files if row.is_present and not row.content_hash]
    for row in catalogue.twins():
        if (row.root, row.path) in listed:
            here[row.content_hash].append(row)
        else:
            elsewhere.append(row)
    gone = [
        row
        for row in elsewhere
        if (row.content_hash in here or not row.content_hash)
        and (os.path.join(row.root, row.path) in places or is_gone(Path(row.root), row.path))
    ]
    moved = [(_nearest(row, here[row.content_hash]), row) for row in gone if row.is_heard]
    left = {row.root for _, row in moved}
    settled = catalogue.orphans() + moved
    if settled:
        names = {(row.root, row.path) for row, _ in settled}
        catalogue.add(
            [],
            [],
            [],
            retired=[
                *(row for row, _ in settled),
                *(row for row in gone if row.root in left and not row.is_heard),
            ],
            placed=[_placed(heard, row) for row, heard in settled],
            clocks=[row for row, _, _ in catalogue.clocks() if (row.root, row.path) in names],
        )
    return moved


def _nearest(row: FileRow, twins: Sequence[FileRow]) -> FileRow:
    """Return the file that is named most like another, from the end of its path; else the first."""

    def n_shared(twin: FileRow) -> int:
        names = zip(reversed(twin.path.split("/")), reversed(row.path.split("/")), strict=False)
        return len(list(takewhile(lambda pair: pair[0] == pair[1], names)))

    return max(twins, key=n_shared)


def _placed(row: FileRow, place: Found | FileRow) -> Placed:
    return Placed(
        was=row,
        root=str(place.root),
        path=place.path,
        n_bytes=place.n_bytes,
        modified_s=place.modified_s,
    )


def _discard(channels: Sequence[Channel]) -> None:
    for channel in channels:
        channel.codes.unlink(missing_ok=True)
        channel.levels.unlink(missing_ok=True)
