"""Folders that leave a workspace: written whole or not at all, and never over anything else.

In comes a place outside of workspace and archive; out comes an empty folder to fill, which takes
that place when it is full. What it holds then is written down beside it, so that an export can be
made again, and what somebody changed is not lost. Names of files are such that any system has them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oscine.config import WrongArgument
from oscine.workspace.folder import held, make_folder

CONTENTS = "oscine-export.json"
"""What an export says of itself: how it was made, and the hash of each file."""
MOST_NAME_BYTES = 120
_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file managers leave in folders."""
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


@contextmanager
def exported_folder(
    out: Path, about: Mapping[str, Any], elsewhere: Iterable[Path]
) -> Iterator[Path]:
    """Give an empty folder to write into; it takes the place of `out` once all is written.

    Parameters
    ----------
    out : Path
        Not there yet, empty, or an export that nobody changed.
    about : mapping of str to what JSON can hold
        How the export is made.
    elsewhere : iterable of Path
        Folders that it must not lie in.

    Raises
    ------
    WrongArgument
        It may not be written there.
    ValueError
        Another process writes there.
    """
    out = out.absolute().resolve()
    _check_place(out, elsewhere)
    _check_contents(out)
    part, old = (out.with_name(f".{out.name}.oscine-{what}") for what in ("part", "old"))
    make_folder(part, f"--out {out}")
    lock, is_ours = part / "lock.sqlite", False
    try:
        with held(lock, f"{out} is being written by another run: wait until it is done"):
            is_ours = True
            for left in part.iterdir():  # by a run that was killed
                if left != lock:
                    _remove(left)
            yield part
    except BaseException:
        if is_ours:
            _remove(part)
        raise
    lock.unlink()
    _write_contents(part, about)
    _remove(old)
    if out.exists():
        out.rename(old)
    part.rename(out)
    _remove(old)


def exported_files(out: Path) -> dict[str, str]:
    """Return the files of an export with the hash of each, as it says itself.

    Raises
    ------
    OSError, ValueError
        It is none.
    """
    said = json.loads((out / CONTENTS).read_bytes())
    if not isinstance(said, dict) or not isinstance(said.get("files"), dict):
        raise ValueError(f"{out / CONTENTS} names no files")
    return said["files"]


def safe_name(text: str, most_bytes: int = MOST_NAME_BYTES) -> str:
    """Return a text as a name that a file can have on any system, not longer than so many bytes."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", text))
    name = name.encode()[:most_bytes].decode(errors="ignore").strip(" .")
    return f"_{name}" if not name or _DEVICE.match(name) else name


class FreePaths:
    """Gives paths of which no two are the same, whatever a system makes of upper and lower case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, path: str, ending: str) -> str:
        """Return a path with an ending, and with a number between them if it is taken."""
        number, free = 1, f"{path}{ending}"
        while free.casefold() in self._taken:
            number += 1
            free = f"{path} ({number}){ending}"
        self._taken.add(free.casefold())
        return free


def _check_place(out: Path, elsewhere: Iterable[Path]) -> None:
    # Where one may not look, `Path.exists` raises.
    above = [place for place in (out, *out.parents) if os.path.exists(place)]
    for folder in elsewhere:
        if os.path.exists(folder) and any(os.path.samefile(place, folder) for place in above):
            raise WrongArgument(
                f"--out {out} lies in {folder}, where nothing is exported to (recordings are only "
                "read, and a workspace keeps to itself): name a folder elsewhere"
            )


def _check_contents(out: Path) -> None:
    """Refuse a folder that holds anything but an export as it was written."""
    if not out.exists():
        return
    if not out.is_dir():
        raise WrongArgument(f"--out {out} is a file: name a folder")
    there = sorted(path for path in out.rglob("*") if not path.is_dir() or path.is_symlink())
    files = [path for path in there if path.name not in _LITTER]
    if not files:
        return
    try:
        written = exported_files(out)
    except (OSError, ValueError):
        raise WrongArgument(
            f"--out {out} holds files, and is no export: name an empty or new folder"
        ) from None
    for file in files:
        name = file.relative_to(out).as_posix()
        if name != CONTENTS and (file.is_symlink() or written.get(name) != _hash(file)):
            what = "was changed since it was exported" if name in written else "is of no export"
            raise WrongArgument(
                f"--out {out}: {name} {what}, and would be lost: name another folder "
                "(tables that you corrected come back with `oscine import`)"
            )


def _write_contents(folder: Path, about: Mapping[str, Any]) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): _hash(path) for path in files}
    text = json.dumps({**about, "files": hashes}, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / CONTENTS).write_text(text + "\n", encoding="utf-8")


def _hash(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:32]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
