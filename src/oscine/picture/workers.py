"""Processes that draw files, so that a file which brings one down costs nothing but itself.

In come tasks, one a file; out comes what each gave, in the order of the tasks. A process that
dies, hangs, or asks for too much memory is replaced, and its file tried once more by a fresh one:
if that ends the same way, the file is unreadable, and what the decoder printed is part of the
reason. Called when an archive is indexed.
"""

from __future__ import annotations

import faulthandler
import json
import math
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from oscine.config import ActivityConfig, PictureConfig
from oscine.picture.drawing import Drawn, draw_recording, not_drawn
from oscine.sound.audio import content_hash
from oscine.sound.clock import ClockReading, read_clock
from oscine.workspace.arrays import DISK_FULL
from oscine.workspace.distribute import Lost, ray_cluster, ray_map

WAITING_FILES = 2
"""Files handed to a process at a time: the next is there when one is done."""
AHEAD_FILES = 16
"""Files, for each process, that may be done before one that comes earlier in the order."""
HANGS_S, SLOWEST_BYTES_PER_S = 60.0, 2e6
"""A process that writes nothing for so long, and the time to read its file once, hangs."""
LOOKED_AFTER_S = 1.0
SLOWEST_DECODED_BYTES_PER_S = 1e5
"""On a cluster nobody sees what is written: a file that takes longer than so hangs."""
MOST_MEMORY = 1 << 30
"""Bytes that drawing one file may take beyond what a process holds when it begins."""
TRIES = 2
LONGEST_WORD = 160
"""Characters of what a decoder printed that a reason repeats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One file to draw.

    Attributes
    ----------
    file : Path
    n_bytes : int
    modified_s : float
    part : Path
        How the names of its part files begin.
    """

    file: Path
    n_bytes: int
    modified_s: float
    part: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a file gave.

    Attributes
    ----------
    content_hash : str
        Empty where it could not be read.
    drawn : Drawn or None
        None where the content is known.
    clock : ClockReading
    """

    content_hash: str
    drawn: Drawn | None
    clock: ClockReading


Known = Mapping[str, float]
"""Contents that need no drawing, by their hash, and their seconds."""
Draw = Callable[[Task, Known, PictureConfig, ActivityConfig], Outcome]


class DiskFull(OSError):
    """There is no room for part files: the run must stop, no file is to blame."""


def draw_in_order(
    tasks: Sequence[Task],
    known: Known,
    folder: Path,
    picture: PictureConfig,
    activity: ActivityConfig,
    n_workers: int,
    draw: Draw | None = None,
) -> Generator[Outcome, None, None]:
    """Yield what each file gave, in the order of the tasks.

    Parameters
    ----------
    tasks : sequence of Task
    known : mapping of str to float
        Contents that need no drawing, by their hash, and their seconds.
    folder : Path
        Where processes find these, and may write what their decoders print.
    picture : PictureConfig
    activity : ActivityConfig
    n_workers : int
    draw : callable, optional
        What a process does with a task; `draw_one` if not given.

    Raises
    ------
    DiskFull
    RuntimeError
        The processes end before they begin.
    """
    if not tasks:
        return
    with _written(known, folder) as known_file:
        settings = draw or draw_one, known_file, picture, activity
        with _Pool(folder, settings, min(n_workers, len(tasks))) as pool:
            yield from pool.outcomes(tasks)


def draw_with_ray(
    tasks: Sequence[Task],
    known: Known,
    folder: Path,
    picture: PictureConfig,
    activity: ActivityConfig,
    n_workers: int,
) -> Generator[Outcome, None, None]:
    """Yield the same as :func:`draw_in_order`, from a Ray cluster that sees the same files.

    What decoders print stays in the logs of the cluster.
    """
    if not tasks:
        return
    with ray_cluster(n_workers) as ray, _written(known, folder) as known_file:
        draw = partial(_draw_within_limits, known=known_file, picture=picture, activity=activity)
        for outcome in ray_map(ray, draw, tasks):
            if isinstance(outcome, Lost):
                task = outcome.task
                for part in _parts(task):
                    part.unlink(missing_ok=True)
                lost = not_drawn(f"decoding it {outcome.reason}")
                yield _outcome(task, _hash_or_nothing(task.file), lost, lost.duration_s)
            else:
                yield outcome


def _draw_within_limits(
    task: Task, known: Path, picture: PictureConfig, activity: ActivityConfig
) -> Outcome:
    """Draw a file in a process that ends itself where it hangs: only it knows when it began."""
    _limit_memory()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        limit_s = HANGS_S + task.n_bytes / SLOWEST_DECODED_BYTES_PER_S
        faulthandler.dump_traceback_later(limit_s, exit=True, file=nowhere)
        try:
            return draw_one(task, _read(known), picture, activity)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _longest_s(task: Task) -> float:
    return HANGS_S + task.n_bytes / SLOWEST_BYTES_PER_S


@contextmanager
def _written(known: Known, folder: Path) -> Iterator[Path]:
    """Write down once what every process reads once: with each file it would be sent in vain."""
    file = folder / "known.json"
    file.write_text(json.dumps(dict(known)), encoding="ascii")
    try:
        yield file
    finally:
        file.unlink()


@lru_cache(maxsize=1)
def _read(known: Path) -> Known:
    return json.loads(known.read_text(encoding="ascii"))


def draw_one(task: Task, known: Known, picture: PictureConfig, activity: ActivityConfig) -> Outcome:
    """Hash and draw one file, whatever is in it.

    Raises
    ------
    DiskFull
    """
    try:
        digest = content_hash(task.file)
    except OSError:
        digest = ""  # drawing it says why it cannot be read
    if digest in known:
        return _outcome(task, digest, None, known[digest])
    try:
        drawn = draw_recording(task.file, task.part, picture, activity)
    except MemoryError:
        drawn = not_drawn("needs more memory than one file is given (1 GB): is its header damaged?")
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskFull(error.errno, error.strerror) from error
        drawn = not_drawn(f"cannot be read: {error.strerror or error}")
    except Exception as error:  # one bad file never costs a good one
        drawn = not_drawn(_in_one_line(f"{type(error).__name__} while it was read: {error}"))
    if not digest and drawn.channels:  # what has no hash cannot be told from others
        for part in _parts(task):
            part.unlink()
        drawn = not_drawn("could be read only in part of the attempts: index it again")
    return _outcome(task, digest, drawn, drawn.duration_s)


def _outcome(task: Task, digest: str, drawn: Drawn | None, duration_s: float | None) -> Outcome:
    """Add what the file says of when and where it was recorded."""
    clock = read_clock(task.file, modified_s=task.modified_s, duration_s=duration_s)
    return Outcome(content_hash=digest, drawn=drawn, clock=clock)


@dataclass(kw_only=True, eq=False)
class _Worker:
    """A process, the files it was handed, and since when it has shown no progress."""

    process: SpawnProcess
    connection: Connection
    printed: Path
    tasks: deque[int] = field(default_factory=deque)
    since_s: float = math.inf
    """Until it is ready to begin."""
    n_written: int = 0
    hangs: bool = False


class _Pool:
    """Hands out tasks, replaces processes that end, and keeps the order."""

    def __init__(
        self,
        folder: Path,
        settings: tuple[Draw, Path, PictureConfig, ActivityConfig],
        n_workers: int,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._n_begun = self._n_stillborn = 0
        self._looked_s = time.monotonic()
        self._n_workers = n_workers
        self._workers: list[_Worker] = []
        # A fresh interpreter, not a fork: torch's threads do not survive one.
        self._context = multiprocessing.get_context("spawn")

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            self._end(worker)

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        waiting = deque(range(len(tasks)))
        done: dict[int, Outcome] = {}
        n_tries = [0] * len(tasks)
        for number in range(len(tasks)):
            while number not in done:
                self._hand_out(tasks, waiting, number + AHEAD_FILES * self._n_workers)
                for worker in self._ready(tasks):
                    try:
                        outcome = worker.connection.recv()
                    except (EOFError, OSError):
                        self._replace(worker, tasks, waiting, done, n_tries)
                        continue
                    if isinstance(outcome, DiskFull):
                        raise outcome
                    worker.since_s, worker.n_written = time.monotonic(), 0
                    if outcome is None:  # it is ready to begin
                        self._n_stillborn = 0
                    else:
                        done[worker.tasks.popleft()] = outcome
            yield done.pop(number)

    def _hand_out(self, tasks: Sequence[Task], waiting: deque[int], before: int) -> None:
        """Give every process something to do; begin those that are missing."""
        while len(self._workers) < self._n_workers:
            self._workers.append(self._begun())
        for depth in range(WAITING_FILES):
            for worker in self._workers:
                if len(worker.tasks) == depth and waiting and waiting[0] < before:
                    if not worker.tasks and worker.since_s < math.inf:
                        worker.since_s, worker.n_written = time.monotonic(), 0
                    number = waiting.popleft()
                    worker.tasks.append(number)
                    with suppress(OSError):  # it is dead: that is seen when it is listened to
                        worker.connection.send(tasks[number])

    def _ready(self, tasks: Sequence[Task]) -> list[_Worker]:
        """Wait for news, and stop processes that hang."""
        busy = {worker.connection: worker for worker in self._workers if worker.tasks}
        heard_from = wait(list(busy), LOOKED_AFTER_S)
        now_s = time.monotonic()
        if now_s - self._looked_s > LOOKED_AFTER_S:
            self._looked_s = now_s
            for worker in busy.values():
                self._look_after(worker, tasks[worker.tasks[0]], now_s)
        return [busy[one] for one in heard_from if isinstance(one, Connection)]

    def _look_after(self, worker: _Worker, task: Task, now_s: float) -> None:
        n_written = 0
        for part in _parts(task):
            with suppress(FileNotFoundError):  # the process may be done with it just now
                n_written += part.stat().st_size
        if n_written != worker.n_written:
            worker.since_s, worker.n_written = now_s, n_written
        elif now_s - worker.since_s > _longest_s(task):
            worker.hangs = True
            worker.process.kill()

    def _replace(
        self,
        worker: _Worker,
        tasks: Sequence[Task],
        waiting: deque[int],
        done: dict[int, Outcome],
        n_tries: list[int],
    ) -> None:
        """Put back the files of a process that ended; the one at hand only so often."""
        number = worker.tasks[0]
        worker.process.join()
        if worker.since_s == math.inf:
            self._n_stillborn += 1
            if self._n_stillborn > TRIES:
                raise RuntimeError(
                    "the processes that decode end before they begin (exit code "
                    f"{worker.process.exitcode}): is there enough memory? A script that calls this "
                    'must do so under `if __name__ == "__main__":`'
                )
        else:
            n_tries[number] += 1
        for part in _parts(tasks[number]):
            part.unlink(missing_ok=True)
        if n_tries[number] >= TRIES:
            reason = _how_it_ended(worker.process.exitcode, worker.hangs)
            lost = not_drawn(reason + _printed(worker.printed))
            # What the system killed may have lacked memory only: without a hash it is tried again.
            is_killed = worker.process.exitcode == -signal.SIGKILL and not worker.hangs
            digest = "" if is_killed else _hash_or_nothing(tasks[number].file)
            done[number] = _outcome(tasks[number], digest, lost, lost.duration_s)
            worker.tasks.popleft()
        waiting.extendleft(reversed(worker.tasks))
        self._workers.remove(worker)
        self._end(worker)

    def _begun(self) -> _Worker:
        here, there = self._context.Pipe()
        self._n_begun += 1
        printed = self._folder / f"printed-{self._n_begun}"
        process = self._context.Process(target=_work, args=(there, printed, *self._settings))
        with _interrupts_held():
            process.start()
        there.close()
        return _Worker(process=process, connection=here, printed=printed)

    def _end(self, worker: _Worker) -> None:
        worker.connection.close()
        worker.process.kill()
        worker.process.join()
        worker.printed.unlink(missing_ok=True)


def _work(
    connection: Connection,
    printed: Path,
    draw: Draw,
    known: Path,
    picture: PictureConfig,
    activity: ActivityConfig,
) -> None:
    """Draw file after file, until nobody asks any more."""
    # Ctrl-C goes to all processes of a terminal: the one that asks ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    # Decoders write there from C, past any handler.
    try:
        os.dup2(os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    except FileNotFoundError:  # stopped while this one began: who asks has gone with the folder
        return
    _limit_memory()
    with suppress(EOFError, OSError):
        connection.send(None)
        while True:
            task = connection.recv()
            os.truncate(printed, 0)
            try:
                outcome = draw(task, _read(known), picture, activity)
            except DiskFull as error:
                outcome = error
            connection.send(outcome)


def _limit_memory() -> None:
    """Let memory run out for this process before it does for the machine, where that can be."""
    try:
        import resource

        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        (held_kb,) = (
            int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:")
        )
        limit, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if limit != resource.RLIM_INFINITY:  # it was set before
            return
        resource.setrlimit(resource.RLIMIT_DATA, (held_kb * 1024 + MOST_MEMORY, hard))
    except (ImportError, OSError, ValueError):  # no such limit on this system
        return


def _leave_with_parent() -> None:
    """End with the process that asks: killed, it leaves its children behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back Ctrl-C: a process begun meanwhile is deaf to it until it can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _parts(task: Task) -> list[Path]:
    return list(task.part.parent.glob(f"{task.part.name}.*"))


def _how_it_ended(exit_code: int | None, hangs: bool) -> str:
    if hangs:
        return f"decoding it made no progress for over {HANGS_S:g} s and was stopped"
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return f"decoding it crashed the decoder ({signal.Signals(-exit_code).name})"
    return f"decoding it ended the decoder (exit code {exit_code})"


def _printed(file: Path) -> str:
    """Return what a decoder printed, as the end of a reason."""
    try:
        said = _in_one_line(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return f": {said}" if said else ""


def _in_one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_WORD else words[: LONGEST_WORD - 1] + "…"


def _hash_or_nothing(file: Path) -> str:
    try:
        return content_hash(file)
    except OSError:
        return ""
