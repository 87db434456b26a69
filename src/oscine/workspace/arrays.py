"""Flat arrays on disk, in shards: append, memory-map.

In come rows of one type and shape; they lie one after another in ``00000.bin``, ``00001.bin``, ...
The catalogue says how many rows are whole: a writer cuts off what lies beyond before it appends,
so a process killed between the array and the catalogue leaves nothing to mend. The tape and the
vectors both use it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

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
        folder.mkdir(parents=True, exist_ok=True)
        self._cut_to(n_rows)

    def append(self, rows: np.ndarray) -> None:
        """Write rows [shape=(n, *row_shape)] behind the last; they count once flushed and noted."""
        rows = np.ascontiguousarray(rows, dtype=self.dtype).reshape(-1, *self.row_shape)
        start = 0
        while start < len(rows):
            shard, within = divmod(self.n_rows, self.rows_per_shard)
            n = min(len(rows) - start, self.rows_per_shard - within)
            with open(_shard(self.folder, shard), "ab") as file:
                file.write(rows[start : start + n].tobytes())
                file.flush()
                os.fsync(file.fileno())
            start += n
            self.n_rows += n

    def append_file(self, file: Path) -> None:
        """Append all rows of a flat file, a portion at a time."""
        with open(file, "rb") as source:
            while portion := source.read(self._row_bytes * ROWS_AT_ONCE):
                self.append(np.frombuffer(portion, self.dtype))

    def _cut_to(self, n_rows: int) -> None:
        """Truncate the shards to `n_rows` rows in all."""
        full, within = divmod(n_rows, self.rows_per_shard)
        number = 0
        while (path := _shard(self.folder, number)).exists() or number < full:
            keep = self.rows_per_shard if number < full else (within if number == full else 0)
            held = path.stat().st_size if path.exists() else 0
            if held < keep * self._row_bytes:
                raise ValueError(f"{path} is shorter than the catalogue says: index again from new")
            if keep == 0:
                path.unlink()
            elif held > keep * self._row_bytes:
                os.truncate(path, keep * self._row_bytes)
            number += 1
        if within and not _shard(self.folder, full).exists():
            raise ValueError(f"{_shard(self.folder, full)} is missing: index again from new")


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
        for number in range(-(-n_rows // rows_per_shard)):
            rows = min(rows_per_shard, n_rows - number * rows_per_shard)
            path = _shard(folder, number)
            if not path.exists() or path.stat().st_size < rows * row_bytes:
                raise ValueError(
                    f"{path} is missing or shorter than the catalogue says: "
                    "run the step that makes it again"
                )
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

    def _pieces(self, start: int, stop: int) -> Iterator[np.ndarray]:
        while start < stop:
            shard, within = divmod(start, self.rows_per_shard)
            n = min(stop - start, self.rows_per_shard - within)
            yield self._shards[shard][within : within + n]
            start += n


class NewFile:
    """A file that appears under its name only once it is whole: written beside it, then renamed."""

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
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.bin"
