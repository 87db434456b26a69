"""Flat arrays on disk, in shards: append, memory-map; and small ones in one file that names them.

In come rows of one type and shape; they lie one after another in ``00000.bin``, ``00001.bin``, ...
and come out again by number, through a memory map. The catalogue says how many rows are whole: a
writer cuts off what lies beyond before it appends, so a process killed between the array and the
catalogue leaves nothing to mend. The tape and the vectors both use it.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk says that takes no more."""
ROWS_PER_SHARD = 2**21
ROWS_AT_ONCE = 2**16


class ArrayWriter:
    """Appends rows after the first `n_rows`, which the catalogue vouches for.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    dtype : np.dtype
    row_shape : tuple of int
    n_rows : int
        Whole rows; whatever the files hold beyond is cut off.
    rows_per_shard : int

    Raises
    ------
    ValueError
        The files hold fewer whole rows than `n_rows`.
    """

    def __init__(
        self,
        folder: Path,
        dtype: np.dtype,
        row_shape: tuple[int, ...],
        n_rows: int,
        rows_per_shard: int = ROWS_PER_SHARD,
    ) -> None:
        self.folder = folder
        self.dtype = np.dtype(dtype)
        self.row_shape = row_shape
        self.n_rows = n_rows
        self.rows_per_shard = rows_per_shard
        self._row_bytes = self.dtype.itemsize * math.prod(row_shape)
        self._unsynced: set[int] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._cut_to(n_rows)

    def append(self, rows: np.ndarray) -> None:
        """Write rows [shape=(n, *row_shape)] behind the last."""
        rows = np.ascontiguousarray(rows, dtype=self.dtype).reshape(-1, *self.row_shape)
        start = 0
        while start < len(rows):
            number, within = divmod(self.n_rows, self.rows_per_shard)
            n = min(len(rows) - start, self.rows_per_shard - within)
            with open(_shard(self.folder, number), "ab") as file:
                file.write(rows[start : start + n].tobytes())
            self._unsynced.add(number)
            start += n
            self.n_rows += n

    def flush(self) -> None:
        """See to it that all rows are on the disk: from here on the catalogue may count them."""
        for number in sorted(self._unsynced):
            sync(_shard(self.folder, number))
        self._unsynced.clear()

    def append_file(self, file: Path) -> None:
        """Append all rows of a flat file, a portion at a time."""
        with open(file, "rb") as source:
            while portion := source.read(self._row_bytes * ROWS_AT_ONCE):
                self.append(np.frombuffer(portion, self.dtype))

    def _cut_to(self, n_rows: int) -> None:
        """Truncate the shards to `n_rows` rows in all."""
        n_shards = _n_shards(n_rows, self.rows_per_shard)
        for number in range(n_shards):
            keep = min(self.rows_per_shard, n_rows - number * self.rows_per_shard)
            path = _whole_shard(self.folder, number, keep * self._row_bytes)
            if path.stat().st_size > keep * self._row_bytes:
                os.truncate(path, keep * self._row_bytes)
        for path in self.folder.glob("*.bin"):
            if path.stem.isdecimal() and int(path.stem) >= n_shards:
                path.unlink()


class ArrayReader:
    """Reads rows through a memory map.

    Parameters
    ----------
    folder : Path
    dtype : np.dtype
    row_shape : tuple of int
    n_rows : int
        As the catalogue says.
    rows_per_shard : int

    Raises
    ------
    ValueError
        The files hold fewer rows than the catalogue says.
    """

    def __init__(
        self,
        folder: Path,
        dtype: np.dtype,
        row_shape: tuple[int, ...],
        n_rows: int,
        rows_per_shard: int = ROWS_PER_SHARD,
    ) -> None:
        self.n_rows = n_rows
        self.row_shape = row_shape
        self.dtype = np.dtype(dtype)
        self.rows_per_shard = rows_per_shard
        self._shards: list[np.ndarray] = []
        row_bytes = self.dtype.itemsize * math.prod(row_shape)
        for number in range(_n_shards(n_rows, rows_per_shard)):
            rows = min(rows_per_shard, n_rows - number * rows_per_shard)
            path = _whole_shard(folder, number, rows * row_bytes)
            self._shards.append(
                np.memmap(path, dtype=self.dtype, mode="r", shape=(rows, *row_shape))
            )

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return the rows [start, stop): a view where they lie in one shard, else a copy.

        Raises
        ------
        IndexError
            They reach beyond the array.
        """
        if not 0 <= start <= stop <= self.n_rows:
            raise IndexError(f"rows {start} to {stop} of an array of {self.n_rows}")
        pieces = list(self._pieces(start, stop))
        if not pieces:
            return np.empty((0, *self.row_shape), self.dtype)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Return the rows of these numbers, as a copy.

        Parameters
        ----------
        numbers : np.ndarray of int [shape=(n,)]
            In any order.

        Raises
        ------
        IndexError
            One of them is none of the array's.
        """
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.n_rows:
            raise IndexError(
                f"rows {numbers.min()} to {numbers.max()} of an array of {self.n_rows}"
            )
        taken = np.empty((len(numbers), *self.row_shape), self.dtype)
        shards, within = np.divmod(numbers, self.rows_per_shard)
        for shard in np.unique(shards):
            here = shards == shard
            taken[here] = self._shards[shard][within[here]]
        return taken

    def _pieces(self, start: int, stop: int) -> Iterator[np.ndarray]:
        while start < stop:
            shard, within = divmod(start, self.rows_per_shard)
            n = min(stop - start, self.rows_per_shard - within)
            yield self._shards[shard][within : within + n]
            start += n


class NewFile:
    """A file that appears under its name only once it is whole: written beside it, then renamed.

    What it holds is on the disk by then, should the power fail.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.part")

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self.temporary

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            sync(self.temporary)
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)


def sync(file: Path) -> None:
    """See to it that what was written to a file is on the disk."""
    with open(file, "r+b") as written:
        os.fsync(written.fileno())


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.bin"


def _n_shards(n_rows: int, rows_per_shard: int) -> int:
    return -(-n_rows // rows_per_shard)


def _whole_shard(folder: Path, number: int, n_bytes: int) -> Path:
    """Return a shard of at least so many bytes, or say that it is not there."""
    path = _shard(folder, number)
    if not path.exists() or path.stat().st_size < n_bytes:
        raise ValueError(
            f"{path} is missing or shorter than the catalogue says: "
            "begin a new workspace, or put the file back"
        )
    return path


@contextmanager
def system_errors(file: Path) -> Iterator[None]:
    """Raise what safetensors says of the system while it writes as the OSError that it is.

    Raises
    ------
    OSError
        Such as a full disk; it names the file.
    """
    try:
        yield
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        number = int(found[1])
        # The last is for Windows, where the number is one of its own.
        raise OSError(number, os.strerror(number), str(file), number) from error


def save_described(file: Path, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays and what is said about them into one safetensors file, whole or not at all.

    Parameters
    ----------
    file : Path
        Its stem names what is said about the arrays.
    about : mapping of str to what JSON can hold
    arrays : mapping of str to np.ndarray

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with NewFile(file) as path, system_errors(path):
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            path,
            metadata={file.stem: json.dumps(about, sort_keys=True)},
        )


def load_described(file: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what is said about some arrays, and the arrays.

    Parameters
    ----------
    file : Path

    Returns
    -------
    about : dict of str to what JSON can hold
    arrays : dict of str to np.ndarray

    Raises
    ------
    FileNotFoundError
        It is not there.
    ValueError
        It is damaged.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file} is not there")
    try:
        with safe_open(file, framework="numpy") as source:
            about = json.loads(source.metadata()[file.stem])
            return about, {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged ({error})") from error
