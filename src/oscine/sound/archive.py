"""Which recordings lie in some folders.

In come folders (or single files); out comes one row for each audio file, by name only (nothing is
decoded here), and what could not be looked at. `oscine.steps` calls it when it indexes.
"""

import os
import re
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oscine.workspace.exported import CONTENTS

# fmt: off
AUDIO_SUFFIXES = frozenset({
    ".wav", ".wave", ".w64", ".rf64", ".aif", ".aiff", ".aifc", ".au", ".caf",
    ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".mp4",
})
# fmt: on
IS_EXPORT = (
    "an export of Oscine, whose sounds are pieces of recordings: left out (to index it all the "
    "same, name the folder itself)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    r"""One audio file of an archive.

    Attributes
    ----------
    root : Path
        The folder that was given, resolved.
    path : str
        Where the file lies below `root`, with `/` between names. Bytes that are no UTF-8 are
        written as `\xNN`, so that the text can be stored and printed; `file` knows them.
    n_bytes : int
        Size of the file.
    modified_s : float
        When it was last written, in seconds since 1970.
    """

    root: Path
    path: str
    n_bytes: int
    modified_s: float

    @property
    def file(self) -> Path:
        """The file itself, to open it."""
        return located(self.root, self.path)


def find_recordings(folders: Sequence[Path]) -> tuple[list[Found], list[tuple[str, str]]]:
    """List the audio files below some folders, by their extension.

    Links are followed. A file that is reached more than once is listed once: below the folder
    given first, and by its own path rather than by a link. Names that start with a dot are left
    out; so is, and is named among the problems, what Oscine exported into a folder below.

    Parameters
    ----------
    folders
        Where to look. A file may be named too, and is then listed whatever its extension.

    Returns
    -------
    found : list of Found
        In the order of the folders, then of their paths.
    problems : list of (str, str)
        What could not be looked at or was left out, as (path, reason).

    Raises
    ------
    FileNotFoundError
        If a folder does not exist.
    """
    starts = [_start(folder) for folder in folders]
    found: list[tuple[int, Found]] = []
    problems: list[tuple[str, str]] = []
    seen: set[tuple[int, int]] = set()

    def is_new(status: os.stat_result) -> bool:
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            return False
        seen.add(identity)
        return True

    places = [(rank, start) for rank, (_, start) in enumerate(starts)][::-1]
    links: deque[tuple[int, Path]] = deque()  # looked at last, so that true paths come first
    while places or links:
        rank, place = places.pop() if places else links.popleft()
        root, start = starts[rank]
        try:
            status = place.stat()
            if stat.S_ISREG(status.st_mode):
                if (place == start or _is_audio(place.name)) and is_new(status):
                    path = place.relative_to(root).as_posix()
                    found.append((rank, _row(root, path, status)))
                continue
            if not stat.S_ISDIR(status.st_mode) or not is_new(status):
                continue
            with os.scandir(place) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            problems.append((shown(place), error.strerror or str(error)))
            continue
        if place != start and any(entry.name == CONTENTS for entry in entries):
            problems.append((shown(place), IS_EXPORT))
            continue
        above = "" if place == root else f"{place.relative_to(root).as_posix()}/"
        folders_within = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                links.append((rank, place / entry.name))
            elif entry.is_dir(follow_symlinks=False):
                folders_within.append((rank, place / entry.name))
            elif _is_audio(entry.name):
                try:
                    # What the folder tells of a file is not enough on every system.
                    status = os.stat(entry.path, follow_symlinks=False)
                except OSError as error:
                    problems.append((shown(place / entry.name), error.strerror or str(error)))
                    continue
                if stat.S_ISREG(status.st_mode) and is_new(status):
                    found.append((rank, _row(root, above + entry.name, status)))
        places.extend(reversed(folders_within))
    found.sort(key=lambda ranked: (ranked[0], ranked[1].path))
    return [row for _, row in found], sorted(problems)


def shown(path: Path) -> str:
    r"""Write a path as text that can be stored and printed: bytes not in UTF-8 as `\xNN`."""
    return _shown(path.as_posix())


def located(root: Path, path: str) -> Path:
    """Find the file that `Found.path` names, also where its name is no UTF-8."""
    literal = root / path
    if literal.exists():
        return literal
    original = re.sub(
        rb"\\x([89a-f][0-9a-f])", lambda match: bytes.fromhex(match[1].decode()), path.encode()
    )
    return root / os.fsdecode(original)


def is_gone(root: Path, path: str) -> bool:
    """Tell whether `Found.path` names a file no more; not where nobody may look."""
    try:
        located(root, path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _start(folder: Path) -> tuple[Path, Path]:
    """Root, and where to begin below it: the root itself, or the one file that was named."""
    if not folder.exists():
        raise FileNotFoundError(
            f"{shown(folder)} does not exist; give the folder or the file that holds the recordings"
        )
    if folder.is_dir():
        return folder.resolve(), folder.resolve()
    return folder.parent.resolve(), folder.parent.resolve() / folder.name


def _row(root: Path, path: str, status: os.stat_result) -> Found:
    return Found(root=root, path=_shown(path), n_bytes=status.st_size, modified_s=status.st_mtime)


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _is_audio(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES
