"""The processes that learn together, and what each of them learns from.

In comes the environment that torchrun makes; out come the device of this process, its share of a
batch, and sums over all processes. Without torchrun there is one process, and all of it is nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

LONGEST_WAIT = timedelta(minutes=10)
"""Processes wait so long for one that went missing before they give up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """One of the processes that learn together: this one.

    Attributes
    ----------
    number, count : int
        ``number`` in 0 to ``count - 1``; number 0 writes.
    device : torch.device
    """

    number: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Tell whether this process writes."""
        return self.number == 0

    def share(self, n_samples: int) -> range:
        """Return which samples of a batch this process takes: no sample is another's too.

        Raises
        ------
        ValueError
            There are fewer samples than processes.
        """
        if n_samples < self.count:
            raise ValueError(
                f"a batch of {n_samples} cannot be shared by {self.count} processes: raise "
                "training.batch_size, or start fewer"
            )
        first, stop = (
            n_samples * number // self.count for number in (self.number, self.number + 1)
        )
        return range(first, stop)

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a value over all processes."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def take_firsts(self, value: Tensor) -> None:
        """Write the value of the first process over that of the others."""
        if self.count > 1:
            dist.broadcast(value, src=0)

    def meet(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            dist.barrier()


def rank_number() -> int:
    """Return the number of this process among those that torchrun started; 0 without it."""
    return int(os.environ.get("RANK", "0"))


def rank_count() -> int:
    """Return how many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that the memory of this process does not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "DefaultCPUAllocator" in str(error)  # a RuntimeError like any other


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Meet the processes that torchrun started, on GPUs where there are any."""
    count = rank_count()
    has_gpu = torch.cuda.is_available()
    device = torch.device("cpu")
    if has_gpu:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if count == 1:
        yield Ranks(number=0, count=1, device=device)
        return
    dist.init_process_group("nccl" if has_gpu else "gloo", timeout=LONGEST_WAIT)
    try:
        yield Ranks(number=dist.get_rank(), count=count, device=device)
    finally:
        dist.destroy_process_group()
