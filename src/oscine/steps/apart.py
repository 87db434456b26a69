"""Work for a process of its own: one job at a time, with limits of time and of memory.

In come a function that can be named and what it is given; out comes what it returns, or a refusal
in words. What a stranger's file does to a decoder, and what the model needs of memory, stays there.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from oscine.config import WrongArgument

MOST_BYTES = 4 * 2**30
"""Of memory that it may take for data."""

Tell = Callable[[float], None]


class Busy(Exception):
    """It has a job already."""


class Lost(Exception):
    """It took too long or too much, and was ended."""


class Apart:
    """A process that is started when it is first needed, and again when it was lost."""

    def __init__(self) -> None:
        self._at_work = threading.Lock()
        self._process: BaseProcess | None = None
        self._line: Connection | None = None

    def run(self, job: Callable[..., Any], *given: Any, limit_s: float) -> Any:
        """Return what a job returns.

        Parameters
        ----------
        job : callable
            Of a module; it is told how to tell its share, after what it is given.
        given
        limit_s : float

        Raises
        ------
        Busy, Lost
        WrongArgument, ValueError
            As the job raised them.
        RuntimeError
            The job failed otherwise; the message is its traceback.
        """
        self._take()
        return self._finish(job, given, limit_s, lambda _: None)

    def begin(
        self,
        job: Callable[..., Any],
        *given: Any,
        limit_s: float,
        tell: Tell,
        done: Callable[[Any, Exception | None], None],
    ) -> None:
        """Begin a job, and return; `done` is told what it returned, or what went wrong.

        Raises
        ------
        Busy
        """
        self._take()

        def finish() -> None:
            try:
                done(self._finish(job, given, limit_s, tell), None)
            except Exception as error:  # it is handed on
                done(None, error)

        threading.Thread(target=finish, daemon=True).start()

    def close(self) -> None:
        """End the process, whatever it does."""
        process, line = self._process, self._line
        self._process = self._line = None
        if process is not None and line is not None:
            process.kill()
            process.join()
            line.close()

    def _take(self) -> None:
        if not self._at_work.acquire(blocking=False):
            raise Busy

    def _finish(
        self, job: Callable[..., Any], given: tuple[Any, ...], limit_s: float, tell: Tell
    ) -> Any:
        try:
            return self._answer(self._started(), job, given, limit_s, tell)
        except (EOFError, OSError) as error:
            self.close()
            raise Lost("it ended before it was done") from error
        finally:
            self._at_work.release()

    def _answer(
        self,
        line: Connection,
        job: Callable[..., Any],
        given: tuple[Any, ...],
        limit_s: float,
        tell: Tell,
    ) -> Any:
        stop_s = time.monotonic() + limit_s
        line.send((job, given))
        while line.poll(max(0.0, stop_s - time.monotonic())):
            what, value = line.recv()
            if what == "told":
                tell(value)
            elif what == "done":
                return value
            elif what == "failed":
                raise RuntimeError(value)
            else:
                raise (WrongArgument if what == "wrong" else ValueError)(value)
        self.close()
        raise Lost(f"it was not done after {limit_s:g} s")

    def _started(self) -> Connection:
        if self._process is None or not self._process.is_alive() or self._line is None:
            self.close()
            # Not forked: this process has threads, and files open that are none of its business.
            context = multiprocessing.get_context("spawn")
            self._line, far = context.Pipe()
            self._process = context.Process(target=_work, args=(far,), daemon=True)
            self._process.start()
            far.close()
        return self._line


def _work(line: Connection) -> None:
    """Do jobs until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    with suppress(ImportError):  # Windows has none
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    with suppress(EOFError, OSError):
        while True:
            job, given = line.recv()
            line.send(_done(job, given, lambda share: line.send(("told", share))))


def _done(job: Callable[..., Any], given: tuple[Any, ...], tell: Tell) -> tuple[str, Any]:
    try:
        return "done", job(*given, tell)
    except WrongArgument as error:
        return "wrong", str(error)
    except (ValueError, FileNotFoundError) as error:
        return "refused", str(error)
    except MemoryError:
        return "refused", "it takes more memory than there is for it"
    except Exception:
        return "failed", traceback.format_exc()
