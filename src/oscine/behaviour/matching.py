"""Which recording is meant by a name in a log: a marker, or the media file that was looked at.

In come keys as observers write them and the recordings of the archive; out comes what goes by what.
:mod:`oscine.behaviour.timelines` lays out observations by it, :mod:`oscine.behaviour.clocks` takes
the pairs of times.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

RECORDINGS: Mapping[str, pl.DataType] = {
    "recording": pl.Int64(),
    "path": pl.String(),  # below the archive's folder, with / between names
    "site": pl.String(),
    "start_ms": pl.Int64(),  # UTC since 1970; null where it is not known
    "duration_ms": pl.Int64(),  # rounded up, so that no call begins after the end
}
"""One row a recording, whether anything was heard in it or not: this is when the recorder ran."""

MARKER_PAIRS: Mapping[str, pl.DataType] = {
    "log": pl.String(),
    "row": pl.Int64(),
    "key": pl.String(),
    "recording": pl.Int64(),
    "path": pl.String(),
    "observer_ms": pl.Int64(),  # by the observer's clock
    "recorder_ms": pl.Int64(),  # when the recording began, by the recorder's
}
"""One row a line of a log that names a recording and states a time."""

_MEDIA = re.compile(
    r"\.(aac|ac3|aif|aifc|aiff|au|caf|flac|m4a|mp2|mp3|oga|ogg|opus|w4v|wac|wav|wma"
    r"|3gp|asf|avi|flv|m2ts|m4v|mkv|mod|mov|mp4|mpeg|mpg|mts|mxf|ogv|ts|vob|webm|wmv)$"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Matches:
    """What goes by some keys.

    Attributes
    ----------
    found : mapping of str to int
        Number of the path.
    ambiguous : mapping of str to tuple of int
        The paths that could be meant.
    missing : tuple of str
    """

    found: Mapping[str, int]
    ambiguous: Mapping[str, tuple[int, ...]]
    missing: tuple[str, ...]


def match_keys(keys: Iterable[str], paths: Sequence[str]) -> Matches:
    """Find the recordings that go by some keys.

    A recording goes by a key that is its file's name, with or without the extension (another one
    too: a film ``a.mp4`` is watched, its sound ``a.wav`` is in the archive), or by which its name
    begins, if what follows is neither letter nor digit: ``1_1`` means ``1_1_b.flac``, not
    ``1_118_b.flac``. A recording that goes by several keys so belongs to the longest of them. Where
    several files have the name, those count that share most folders with the key. Capitals and
    small letters are one, as are the two ways to write an accent.

    Parameters
    ----------
    keys : iterable of str
    paths : sequence of str

    Returns
    -------
    Matches
    """
    folded = {key: _folded(key) for key in dict.fromkeys(keys)}
    places = [_folded(path) for path in paths]
    by_name: dict[str, list[int]] = {}
    for number, place in enumerate(places):
        for name in {place[-1], _stem(place[-1])}:
            by_name.setdefault(name, []).append(number)
    hits: dict[str, list[int]] = {}
    for key, parts in folded.items():
        exact = by_name.get(parts[-1]) or by_name.get(_MEDIA.sub("", parts[-1])) or []
        shared = [_common_end(parts[:-1], places[number][:-1]) for number in exact]
        hits[key] = [number for number, n in zip(exact, shared, strict=True) if n == max(shared)]
    claimed = {number for numbers in hits.values() for number in numbers}
    stems = sorted((_stem(place[-1]), number) for number, place in enumerate(places))
    named = [key for key in folded if folded[key][-1]]
    for key in sorted(named, key=lambda key: -len(folded[key][-1])):
        begun = _begun(_MEDIA.sub("", folded[key][-1]), stems)
        free = [number for number in begun if number not in claimed]
        claimed.update(free)  # also where the key is a file's own name: no shorter one gets them
        hits[key] = hits[key] or free
    return Matches(
        found={key: numbers[0] for key, numbers in hits.items() if len(numbers) == 1},
        ambiguous={key: tuple(numbers) for key, numbers in hits.items() if len(numbers) > 1},
        missing=tuple(key for key, numbers in hits.items() if not numbers),
    )


def _folded(path: str) -> tuple[str, ...]:
    """Return folders and name as they are compared."""
    text = unicodedata.normalize("NFC", path.strip()).casefold()
    return tuple(part.strip() for part in re.split(r"[/\\]", text))


def _stem(name: str) -> str:
    """Return a file's name without its extension."""
    return name[:dot] if (dot := name.rfind(".")) > 0 else name


def _common_end(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Count the innermost folders that two have in common."""
    n = 0
    while n < min(len(one), len(other)) and one[-1 - n] == other[-1 - n]:
        n += 1
    return n


def _begun(text: str, stems: list[tuple[str, int]]) -> list[int]:
    """Return whose stem begins with a text that a letter or digit does not go on from."""
    numbers = []
    for stem, number in stems[bisect_left(stems, (text, -1)) :]:
        if not stem.startswith(text):
            break
        if not stem[len(text) : len(text) + 1].isalnum():
            numbers.append(number)
    return sorted(numbers)


def marker_pairs(stated: pl.DataFrame, recordings: pl.DataFrame) -> pl.DataFrame:
    """Return where a log states the time of a recording that it names.

    Parameters
    ----------
    stated : pl.DataFrame
        As :data:`~oscine.behaviour.tables.STATED`.
    recordings : pl.DataFrame
        As :data:`RECORDINGS`.

    Returns
    -------
    pl.DataFrame
        As :data:`MARKER_PAIRS`, in the order of log and row. Keys that no recording or several go
        by are left out, and recordings without a time.
    """
    matches = match_keys(stated["key"].unique(maintain_order=True), recordings["path"].to_list())
    numbers = pl.DataFrame(
        {"key": list(matches.found), "number": list(matches.found.values())},
        schema={"key": pl.String, "number": pl.Int64},
    )
    numbered = recordings.with_columns(number=pl.int_range(pl.len(), dtype=pl.Int64))
    return (
        stated.join(numbers, on="key")
        .join(numbered.rename({"start_ms": "recorder_ms"}), on="number")
        .drop_nulls(["observer_ms", "recorder_ms"])
        .sort("log", "row", "key")
        .select(list(MARKER_PAIRS))
    )
