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
    locked, or the disk full. Where nobody may write, what is there can be read all the same.

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
                _address(path),
                uri=True,
                isolation_level=None,
                timeout=30,
                check_same_thread=not is_read_only,
            )
        except sqlite3.Error as error:
            raise self._refused(error) or ValueError(f"{path} cannot be opened: {error}") from error
        self._connection.row_factory = sqlite3.Row
        try:
            if may_write(path):
                self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
            self._prepare()
            if is_read_only:
                self._connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            self._connection.close()
            raise self._refused(error) or ValueError(
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
            raise self._refused(error) or ValueError(
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

    def _refused(self, error: sqlite3.Error) -> ValueError | None:
        """Return what is said where the system lets nobody write or read; None: it is not that."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_READONLY or (
            code == sqlite3.SQLITE_CANTOPEN and not may_write(self.path)
        ):
            is_unread = self.path.exists() and not os.access(self.path, os.R_OK)
            return not_permitted(self.path if is_unread else self.path.parent, is_read=is_unread)
        return None

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


def may_write(path: Path) -> bool:
    """Tell whether a file may be written or made, and others beside it, as SQLite needs them."""
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def not_permitted(place: Path, *, is_read: bool = False) -> ValueError:
    """Return what is raised where one may not write, or not even read."""
    return ValueError(
        f"{place} may not be {'read' if is_read else 'written to'}: ask for permission, or "
        f"{'have it copied' if is_read else 'copy the workspace'} to a folder of your own"
    )


def _address(path: Path) -> str:
    """Return how SQLite is told to open a file: to read alone, where it may not be written.

    Without its log it is as it will stay, so far as one can tell who may not write beside it. With
    a log somebody writes, and the memory that they share is asked, which lies there then.
    """
    address = path.absolute().as_uri()
    if may_write(path) or not path.exists():
        return address
    log = path.with_name(f"{path.name}-wal")
    return f"{address}?mode=ro" if log.exists() else f"{address}?immutable=1"
