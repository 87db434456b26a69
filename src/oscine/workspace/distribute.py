"""Work spread over the machines of a Ray cluster, or over processes of this one, in order.

In come a function and its tasks; out come the results in the order of the tasks. All machines must
see the archive and the workspace under the same paths; only the caller writes the catalogue. Ray is
the extra ``oscine[ray]``. Called by the steps that take ``--engine ray``.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 4
"""Tasks, for each processor of the cluster, that may be under way or done before their turn."""
TRIES = 2


class Lost(Generic[Task]):
    """A task that brought down the process that did it, each time."""

    def __init__(self, task: Task, reason: str) -> None:
        self.task = task
        self.reason = reason


@contextmanager
def ray_cluster(n_workers: int) -> Iterator[Any]:
    """Join the cluster that ``RAY_ADDRESS`` names, or begin one of so many processes here.

    Raises
    ------
    ValueError
        Ray is not installed.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError("--engine ray needs Ray: pip install 'oscine[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    is_local = not os.environ.get("RAY_ADDRESS")
    only_here: dict[str, Any] = {"num_cpus": n_workers, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **(only_here if is_local else {}))
    try:
        yield ray
    finally:
        ray.shutdown()


def ray_map(
    ray: Any, function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[Result | Lost[Task]]:
    """Yield what a function makes of each task, in the order of the tasks.

    Parameters
    ----------
    ray : module
        As of :func:`ray_cluster`.
    function : callable
        Its exceptions end the work, whichever machine raises them.
    tasks : sequence of Task

    Yields
    ------
    Result or Lost
    """

    def call(task: Task) -> Result:  # Ray takes no other callables
        return function(task)

    remote = ray.remote(max_retries=TRIES - 1, retry_exceptions=False)(call)
    n_ahead = max(2, AHEAD * int(ray.cluster_resources().get("CPU", 1)))
    under_way: deque[Any] = deque()
    given = iter(tasks)
    for task in tasks:
        while len(under_way) < n_ahead and (another := next(given, None)) is not None:
            under_way.append(remote.remote(another))
        try:
            yield ray.get(under_way.popleft())
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from error
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.RaySystemError) as error:
            yield Lost(task, f"ended the process that did it ({type(error).__name__})")
