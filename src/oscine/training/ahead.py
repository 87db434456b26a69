"""What comes next is made ready while this is worked on.

In comes a function of a number; out come its values in order, made in a thread, and how long
they were waited for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
N_AHEAD = 3


class Ahead(Generic[T]):
    """Makes values for the numbers of a range, in a thread, a few before they are taken.

    Parameters
    ----------
    make : callable
    numbers : range
    """

    def __init__(self, make: Callable[[int], T], numbers: range) -> None:
        self.waited_s = 0.0
        self._make = make
        self._numbers = iter(numbers)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._coming: deque[Future[T]] = deque()
        for _ in range(N_AHEAD):
            self._begin_next()

    def take(self) -> T:
        """Return the next value.

        Raises
        ------
        Exception
            Whatever making it raised.
        IndexError
            There are no more.
        """
        started = time.perf_counter()
        value = self._coming.popleft().result()
        self.waited_s += time.perf_counter() - started
        self._begin_next()
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _begin_next(self) -> None:
        for number in self._numbers:
            self._coming.append(self._thread.submit(self._make, number))
            return
