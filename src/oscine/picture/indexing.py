"""From folders to a catalogue and a tape, in the order of the archive.

In come folders; out come catalogue rows, frames on the tape and events. Files are drawn by worker
processes; this process alone appends to the tape and to the catalogue, in the order of the list,
so that neither the number of workers nor an interruption shows in the result.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from oscine.config import ActivityConfig, PictureConfig, fingerprint
from oscine.picture.activity import LEVEL_BANDS
from oscine.picture.tape import (
    LEVEL_STEP_DB,
    TAPE_LOW,
    TAPE_STEP,
    Channel,
    Drawn,
    TapeWriter,
    band_limits_hz,
    draw_recording,
)
from oscine.sound.archive import Found, find_recordings
from oscine.sound.audio import content_hash
from oscine.workspace.catalogue import HEARD, Catalogue, EventRow, RecordingRow, WindowRow
from oscine.workspace.folder import Workspace

FILES_AT_ONCE = 64
"""Files noted in one transaction."""
MIXED = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexed:
    """What a pass over the archive did.

    Attributes
    ----------
    n_new : int
        Files drawn in this pass.
    n_changed : int
        Files that are no longer as they were when they were indexed; their old rows stand.
    problems : list of (path, reason)
        Folders that could not be looked into.
    """

    n_new: int
    n_changed: int
    problems: list[tuple[str, str]]


def index_archive(
    workspace: Workspace,
    folders: Sequence[Path],
    picture: PictureConfig,
    activity: ActivityConfig,
    *,
    workers: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> Indexed:
    """Draw every recording that the catalogue does not hold yet.

    Parameters
    ----------
    workspace : Workspace
    folders : sequence of Path
    picture : PictureConfig
    activity : ActivityConfig
    workers : int
        Processes that decode, at least 1.
    progress : callable, optional
        Told the bytes done, the bytes in all, and the file at hand.

    Returns
    -------
    Indexed

    Raises
    ------
    FileNotFoundError
        A folder is not there.
    """
    found, problems = find_recordings(folders)
    for left in workspace.folder.glob("parts-*"):
        shutil.rmtree(left, ignore_errors=True)
    with (
        TemporaryDirectory(prefix="parts-", dir=workspace.folder) as parts,
        workspace.catalogue() as catalogue,
    ):
        known = {(row.root, row.path): row for row in catalogue.recordings()}
        new = [one for one in found if (str(one.root), one.path) not in known]
        n_changed = sum(
            (one.n_bytes, one.modified_s) != (row.n_bytes, row.modified_s)
            for one in found
            if (row := known.get((str(one.root), one.path)))
        )
        note = _Notebook(catalogue, workspace, picture, activity)
        done, total = 0, sum(one.n_bytes for one in new)
        for one, (digest, drawn) in _drawn(new, Path(parts), picture, activity, workers):
            note.add(one, digest, drawn)
            done += one.n_bytes
            if progress is not None:
                progress(done, total, one.path)
        note.write_down()
    return Indexed(n_new=len(new), n_changed=n_changed, problems=problems)


def tape_fingerprint(picture: PictureConfig, activity: ActivityConfig) -> str:
    """Return the name of the tape drawn with these settings."""
    layout = {"low": TAPE_LOW, "step": TAPE_STEP, "level": [LEVEL_BANDS, LEVEL_STEP_DB]}
    return fingerprint(layout, picture, activity)


def archive_fingerprint(
    recordings: Sequence[RecordingRow], picture: PictureConfig, activity: ActivityConfig
) -> str:
    """Return what stands for all that was heard, whatever the files are called."""
    contents = sorted((row.content_key, row.n_frames) for row in recordings)
    return fingerprint(contents, picture, activity)


class _Notebook:
    """Puts drawn files on the tape and into the catalogue, a batch in one transaction."""

    def __init__(
        self,
        catalogue: Catalogue,
        workspace: Workspace,
        picture: PictureConfig,
        activity: ActivityConfig,
    ) -> None:
        self._catalogue = catalogue
        self._picture = picture
        folder = workspace.tape(tape_fingerprint(picture, activity))
        self._tape = TapeWriter(folder, picture, catalogue.tape_rows())
        self._first_path = {
            row.content_hash: row.path for row in catalogue.recordings() if row.state in HEARD
        }
        self._next_id = catalogue.count("recordings") + 1
        self._next_event = catalogue.count("events") + 1
        self._next_window = catalogue.count("windows") + 1
        self._recordings: list[RecordingRow] = []
        self._events: list[EventRow] = []
        self._windows: list[WindowRow] = []

    def add(self, found: Found, digest: str, drawn: Drawn) -> None:
        """Note one file."""
        channels = drawn.channels
        state, reason = drawn.state, drawn.reason
        twin = self._first_path.get(digest)
        if state in HEARD and twin is not None:
            state, reason = "duplicate", f"the same bytes as {twin}"
            _discard(channels)
            channels = ()
        if state in HEARD:
            self._first_path[digest] = found.path
        if not channels:
            self._add_recording(found, digest, drawn, state, reason, None)
        for channel in channels:
            recording = self._add_recording(found, digest, drawn, state, reason, channel)
            self._add_events(recording, channel)
            self._add_windows(recording)
        if len(self._recordings) >= FILES_AT_ONCE:
            self.write_down()

    def write_down(self) -> None:
        """Make all that was noted last."""
        self._tape.flush()
        self._catalogue.add(self._recordings, self._events, self._windows)
        self._recordings, self._events, self._windows = [], [], []

    def _add_recording(
        self,
        found: Found,
        digest: str,
        drawn: Drawn,
        state: str,
        reason: str,
        channel: Channel | None,
    ) -> RecordingRow:
        row = RecordingRow(
            recording_id=self._next_id,
            root=str(found.root),
            path=found.path,
            channel=channel.channel if channel else MIXED,
            n_bytes=found.n_bytes,
            modified_s=found.modified_s,
            content_hash=digest,
            state=state,
            reason=reason,
            encoding=drawn.encoding,
            sample_rate_hz=drawn.sample_rate_hz,
            n_channels=drawn.n_channels,
            n_samples=drawn.n_samples,
            n_promised=drawn.n_promised,
            n_valid_bands=drawn.n_valid_bands,
            tape_row=self._tape.append(channel) if channel else self._tape.n_rows,
            n_frames=channel.n_frames if channel else 0,
        )
        self._next_id += 1
        self._recordings.append(row)
        return row

    def _add_events(self, recording: RecordingRow, channel: Channel) -> None:
        for event in channel.events:
            low_hz, high_hz = band_limits_hz(event, self._picture)
            self._events.append(
                EventRow(
                    event_id=self._next_event,
                    recording_id=recording.recording_id,
                    start_frame=event.start_frame,
                    stop_frame=event.stop_frame,
                    start_sample=self._sample(event.start_frame, recording),
                    stop_sample=self._sample(event.stop_frame, recording),
                    low_hz=low_hz,
                    high_hz=high_hz,
                    level_db=event.level_db,
                )
            )
            self._next_event += 1

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

    def _sample(self, frame: int, recording: RecordingRow) -> int:
        """Return where a frame begins, in samples of the file's own rate."""
        at = frame * self._picture.hop_samples * recording.sample_rate_hz
        return min(recording.n_samples, round(at / self._picture.sample_rate_hz))


def _drawn(
    found: Sequence[Found],
    parts: Path,
    picture: PictureConfig,
    activity: ActivityConfig,
    workers: int,
) -> Iterator[tuple[Found, tuple[str, Drawn]]]:
    """Yield what each file gave, in the order of the list."""
    tasks = [
        (one.file, parts / f"{number:09d}", picture, activity) for number, one in enumerate(found)
    ]
    if not tasks:
        return
    with ExitStack() as stack:
        # A fresh interpreter, not a fork: torch's threads do not survive one.
        context = multiprocessing.get_context("spawn")
        pool = stack.enter_context(
            ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker)
        )
        waiting: deque[tuple[Found, Future[tuple[str, Drawn]]]] = deque()
        for one, task in zip(found, tasks, strict=True):
            with _interrupts_held():
                waiting.append((one, pool.submit(_draw, *task)))
            if len(waiting) > 4 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()


def _draw(
    file: Path, part: Path, picture: PictureConfig, activity: ActivityConfig
) -> tuple[str, Drawn]:
    """Hash and draw one file: the work of a worker process."""
    try:
        digest = content_hash(file)
    except OSError:
        digest = ""  # drawing it says why it cannot be read
    return digest, draw_recording(file, part, picture, activity)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back Ctrl-C: a worker begun meanwhile is deaf to it until it can leave in silence."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker() -> None:
    """Silence standard error (decoders write there from C, past any handler); end with the parent.

    A pool leaves its workers behind when its process is killed: they would wait for ever.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGINT, lambda *_: os._exit(1))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _discard(channels: Sequence[Channel]) -> None:
    for channel in channels:
        channel.codes.unlink(missing_ok=True)
        channel.levels.unlink(missing_ok=True)
