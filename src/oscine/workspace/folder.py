"""The folder of a workspace: where everything lies.

In comes a path; out go the paths inside it and its catalogue. Used by the steps and in notebooks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from oscine.config import NotThere, WrongArgument
from oscine.workspace.arrays import DISK_FULL, ArrayReader
from oscine.workspace.catalogue import Catalogue, EventRow
from oscine.workspace.database import may_write, not_permitted

VECTORS_SET = "default"


class Workspace:
    """One workspace folder.

    Parameters
    ----------
    folder : Path or str
    create : bool
        Make it if it is not there.

    Raises
    ------
    FileNotFoundError
        There is no workspace at the folder, and `create` is false.
    WrongArgument
        Something else is in its place.
    """

    def __init__(self, folder: Path | str, *, create: bool = False) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise WrongArgument(f"{self.folder} is a file: name a folder as the workspace")
        if create:
            make_folder(self.folder, f"the workspace {self.folder}")
        elif not self.catalogue_file.exists():
            raise NotThere(
                f"{self.folder} is no workspace: make one with `oscine learn ARCHIVE "
                f"-w {self.folder}` or name another with -w"
            )

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.folder / "oscine.toml"

    @property
    def catalogue_file(self) -> Path:
        """The catalogue."""
        return self.folder / "catalogue.sqlite"

    @property
    def labels_file(self) -> Path:
        """What people said of the recordings: for evaluation alone."""
        return self.folder / "labels.sqlite"

    @property
    def reports(self) -> Path:
        """Reports for people and programs."""
        return self.folder / "reports"

    def tape(self, fingerprint: str) -> Path:
        """Return the folder of the tape drawn with one configuration."""
        return self.folder / "tape" / fingerprint

    def run(self, name: str) -> Path:
        """Return the folder of a training run.

        Raises
        ------
        WrongArgument
            The name is none that a folder can have.
        """
        if name in ("", "..") or Path(name).name != name:
            raise WrongArgument(f"the name of a run must be that of a folder, not {name!r}")
        return self.folder / "runs" / name

    def runs(self) -> list[Path]:
        """Return the folders of all training runs, whether they are done or not."""
        return sorted(one.parent for one in self.folder.glob("runs/*/run.toml"))

    def embeddings(self, name: str = VECTORS_SET) -> Path:
        """Return the folder of a set of vectors."""
        return self.folder / "embeddings" / name

    def neighbours(self, name: str = VECTORS_SET) -> Path:
        """Return the folder of the index of a set of vectors."""
        return self.embeddings(name) / "neighbours"

    @property
    def behaviour(self) -> Path:
        """The logs of observers that were joined, a folder each."""
        return self.folder / "behaviour"

    def catalogue(self, *, is_read_only: bool = False) -> Catalogue:
        """Open the catalogue."""
        return Catalogue(self.catalogue_file, is_read_only=is_read_only)

    @contextmanager
    def alone(self, wait_s: float = 0) -> Iterator[None]:
        """Keep all other processes from writing here meanwhile.

        Parameters
        ----------
        wait_s : float
            How long to wait for another process to be done.

        Raises
        ------
        ValueError
            Another process holds it, or one may not write here.
        """
        said = f"{self.folder} is in use by another run: wait until it is done, or stop it"
        lock = self.folder / "lock.sqlite"
        if not (may_write(lock) and may_write(self.catalogue_file)):
            raise not_permitted(self.folder)
        with held(lock, said, wait_s):
            yield

    def vectors(self, name: str = VECTORS_SET) -> tuple[np.ndarray, list[EventRow]]:
        """Return the vectors of the events that are present, and the events, row by row.

        Parameters
        ----------
        name : str

        Returns
        -------
        vectors : np.ndarray of float32 [shape=(N, D)]
            Of unit length; a read-only memory map where they lie in one shard and none is gone.
        events : list of EventRow
            Those that are embedded; the archive may hold newer ones.

        Raises
        ------
        ValueError
            There are none yet, or the files are shorter than the catalogue says.
        """
        with self.catalogue() as catalogue:
            stage = catalogue.stage("embed")
            if stage is None or not stage.finished:
                raise ValueError(f"{self.folder} holds no vectors yet: run `oscine embed`")
            n_rows = stage.facts["events"]
            events = [event for event in catalogue.events() if event.event_id <= n_rows]
        shape = (stage.facts["dimensions"],)
        reader = ArrayReader(self.embeddings(name) / "events", np.dtype(np.float32), shape, n_rows)
        vectors = reader.rows(0, n_rows)
        if len(events) == n_rows:
            return vectors, events
        # The row of an event is its number, which it keeps: those of absent ones are passed over.
        return vectors[[event.event_id - 1 for event in events]], events


def make_folder(folder: Path, named: str) -> None:
    """Make a folder that somebody named, and those above it; it may be there.

    Parameters
    ----------
    folder : Path
    named : str
        What it is called where it cannot be made.

    Raises
    ------
    WrongArgument
        It cannot be made there.
    OSError
        The disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise WrongArgument(
            f"{named} cannot be made: {error.strerror}: name a folder where you may write"
        ) from error


@contextmanager
def held(lock: Path, otherwise: str, wait_s: float = 0) -> Iterator[None]:
    """Keep other processes out that hold the same file.

    The lock is one of SQLite's, on a file of its own: it works on every system, and goes with the
    process that holds it, however that ends.

    Parameters
    ----------
    lock : Path
        Made if it is not there.
    otherwise : str
        What is said if another process holds it.
    wait_s : float
        How long to wait for that one to be done.

    Raises
    ------
    ValueError
        Another process holds it.
    """
    connection = sqlite3.connect(lock, isolation_level=None, timeout=wait_s)
    with closing(connection):
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise ValueError(f"{otherwise} ({error})") from error
        yield
