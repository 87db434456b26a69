"""Stopping by hand: what is learned up to there is kept.

In come the signals of Ctrl-C and of a shutdown; out comes a list that is empty until one came, so
that the loop can end the step at hand and write a checkpoint first. Of several processes that learn
together, each says from where it goes on, whoever ended it. Training calls it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""What the signals do otherwise; whoever has set something else has a reason for it."""


class Stopped(KeyboardInterrupt):
    """Somebody stopped the training; the message says from where it goes on."""


@contextmanager
def asked_to_stop(tell: Callable[[str], None] | None = None) -> Iterator[list[int]]:
    """Note the first signal to stop, in place of being stopped by it; another stops at once.

    Parameters
    ----------
    tell : callable, optional
        Told that it is stopping, for a step may take long.

    Yields
    ------
    list of int
        The signal, once it came; always empty in a thread, where signals do not come.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        if tell is not None:
            tell(
                "stopping after this step, which is kept; another Ctrl-C stops at once, without it"
            )

    taken = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number, usual in USUAL.items():
                if signal.getsignal(number) == usual:
                    taken[number] = signal.signal(number, note)
        yield asked
    finally:
        for number, before in taken.items():
            signal.signal(number, before)


@contextmanager
def ended_together() -> Iterator[None]:
    """Be stopped by a shutdown as by Ctrl-C, and by one alone: the way out is not cut short.

    torchrun sends SIGTERM to all others as soon as it sees that one is gone, while these may be
    about to say why they end. After an error the signal is not heard any more; what does not end
    then is killed by torchrun, after 30 seconds.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    is_taken = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    )
    if not is_taken:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except BaseException:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
