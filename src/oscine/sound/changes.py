"""What changed in an archive since it was last listed.

In come the files found now and those that the catalogue knows; out comes which to read, which are
back and which are gone. Nothing is opened here. Called when an archive is indexed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from oscine.sound.archive import Found
from oscine.workspace.catalogue import FileRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """How a listing differs from the catalogue.

    Attributes
    ----------
    unread : list of Found
        New files, files that are not as they were, and those that could not be read at all; in the
        order of the listing.
    returned : list of (FileRow, Found)
        Files that were gone and are back as they were.
    gone : list of FileRow
        Files that are not where they were.
    """

    unread: list[Found]
    returned: list[tuple[FileRow, Found]]
    gone: list[FileRow]


def changes_since(
    files: Iterable[FileRow],
    found: Sequence[Found],
    places: Sequence[Path],
    unseen: Iterable[str] = (),
) -> Changes:
    """Hold a listing against what the catalogue knows.

    A file counts as unchanged by its path, size and time of writing. One whose content could not
    be read at all (an unreachable disk, no permission) is tried again each time.

    Parameters
    ----------
    files : iterable of FileRow
    found : sequence of Found
    places : sequence of Path
        The folders and files that were listed: what lies elsewhere is not looked for.
    unseen : iterable of str
        Paths that could not be looked into: what lies there is not gone, as far as anyone knows.

    Returns
    -------
    Changes
    """
    present: dict[tuple[str, str], FileRow] = {}
    absent: dict[tuple[str, str], FileRow] = {}
    for row in files:
        (present if row.is_present else absent)[row.root, row.path] = row
    unread: list[Found] = []
    returned: list[tuple[FileRow, Found]] = []
    listed: set[tuple[str, str]] = set()
    for one in found:
        key = str(one.root), one.path
        listed.add(key)
        if (row := present.get(key)) is not None:
            if not _is_as_it_was(row, one):
                unread.append(one)
        elif (row := absent.get(key)) is not None and row.is_heard and _is_as_it_was(row, one):
            returned.append((row, one))
        else:
            unread.append(one)
    folders = {str(place.resolve()) for place in places if place.is_dir()}
    named = {(str(place.parent.resolve()), place.name) for place in places if not place.is_dir()}
    hidden = [PurePosixPath(path) for path in unseen]
    gone = [
        row
        for key, row in present.items()
        if key not in listed
        and (row.root in folders or key in named)
        and not any(PurePosixPath(row.root, row.path).is_relative_to(path) for path in hidden)
    ]
    return Changes(unread=unread, returned=returned, gone=gone)


def _is_as_it_was(row: FileRow, found: Found) -> bool:
    same = (row.n_bytes, row.modified_s) == (found.n_bytes, found.modified_s)
    return same and row.content_hash != ""
