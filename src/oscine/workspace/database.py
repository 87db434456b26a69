"""An SQLite file of a workspace: opened, checked, its errors in plain words.

In comes a path; out comes a connection that the catalogue and the book of labels build on.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Self

MAPPED_BYTES = 1 << 32
"""So much of a file is read through a memory map, which spares a copy."""
_STEPS_AT_ONCE = 100_000
"""Of SQLite, between two looks at the clock."""


class Database:
    """A file with tables of one version; a context manager.

    Leaving the context raises ValueError for what SQLite could not do inside: the file is damaged,
    locked, or the disk full.

    Parameters
    ----------
    path : Path
        Made if it is not there.
    is_read_only : bool
        Nothing can be changed through it; threads may use it in turn.

    Raises
    ------
    ValueError
        The file was made by another version, or is none of this kind.
    """

    schema: ClassVar[str]
    schema_version: ClassVar[int]
    unreadable: ClassVar[str]
    """What is said of a file that cannot be read, after its path."""
    if_damaged: ClassVar[str]
    """The way out of a damaged file."""
    if_other_version: ClassVar[str]
    """The way out of a file of another version."""
    upgrades: ClassVar[Mapping[int, Callable[[sqlite3.Connection], None]]] = MappingProxyType({})
    """What makes a file of some older version one of the next, within a transaction."""

    def __init__(self, path: Path, *, is_read_only: bool = False) -> None:
        self.path = path
        try:
            # Without an isolation level transactions begin where they are asked for.
            self._connection = sqlite3.connect(
                path, isolation_level=None, timeout=30, check_same_thread=not is_read_only
            )
        except sqlite3.Error as error:
            raise ValueError(f"{path} cannot be opened: {error}") from error
        self._connection.row_factory = sqlite3.Row
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
            self._prepare()
            if is_read_only:
                self._connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            self._connection.close()
            raise ValueError(
                f"{path} {self.unreadable}: {error}; if it is damaged, {self.if_damaged}"
            ) from error
        except ValueError:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        self.close()
        if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path)) from error
        if isinstance(error, sqlite3.Error):
            raise ValueError(
                f"{self.path} cannot be used: {error}; if it is damaged, {self.if_damaged}"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def within(self, limit_s: float) -> Iterator[None]:
        """Break off what is asked inside once it has taken so long.

        Raises
        ------
        TimeoutError
            It was broken off.
        """
        stop_s = time.monotonic() + limit_s
        self._connection.set_progress_handler(lambda: time.monotonic() > stop_s, _STEPS_AT_ONCE)
        try:
            yield
        except sqlite3.OperationalError as error:
            if time.monotonic() > stop_s:
                raise TimeoutError(f"it took more than {limit_s:g} s") from error
            raise
        finally:
            self._connection.set_progress_handler(None, 0)

    def _prepare(self) -> None:
        if self._version() in self.upgrades:
            with self._transaction():
                while (version := self._version()) in self.upgrades:  # nobody was quicker
                    self.upgrades[version](self._connection)
                    self._connection.execute(f"PRAGMA user_version = {version + 1}")
        version = self._version()
        if version == self.schema_version:
            return
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version or tables:
            raise ValueError(
                f"{self.path} was made by another version (schema {version}, this is "
                f"{self.schema_version}): {self.if_other_version}"
            )
        # One script, one transaction: a process killed here leaves no half-made file.
        script = f"BEGIN; {self.schema} PRAGMA user_version = {self.schema_version}; COMMIT;"
        self._connection.executescript(script)

    def _version(self) -> int:
        return self._connection.execute("PRAGMA user_version").fetchone()[0]

    def _transaction(self, kind: str = "IMMEDIATE") -> _Transaction:
        return _Transaction(self._connection, kind)


class _Transaction:
    """BEGIN on entry; COMMIT on success, ROLLBACK on error."""

    def __init__(self, connection: sqlite3.Connection, kind: str) -> None:
        self._connection = connection
        self._begin = f"BEGIN {kind}"

    def __enter__(self) -> None:
        self._connection.execute(self._begin)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")
