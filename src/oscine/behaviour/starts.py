"""When media files begin, where that is declared: ``--media-start``.

In comes one instant, or a table with a row for each media file; out come milliseconds since 1970 in
UTC. Readers of logs that count from the start of a media file ask it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from oscine.behaviour.config import LogConfig
from oscine.behaviour.parts import media_key
from oscine.behaviour.raw import read_table
from oscine.config import WrongArgument
from oscine.sound.archive import shown
from oscine.sound.clock import epoch_ms, in_zone, written

COLUMNS = ("media", "start")
"""Of a table of starts; `media` holds names of files, with or without folder and suffix, or of
observations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaStarts:
    """Absolute starts of media files, in milliseconds since 1970 in UTC.

    Attributes
    ----------
    only_ms : int or None
        Of the one that there is.
    by_key : mapping of str to int
        Of each, where a table was given; by :func:`oscine.behaviour.parts.media_key`.
    """

    only_ms: int | None = None
    by_key: Mapping[str, int] = field(default_factory=dict)

    def of(self, *names: str) -> int | None:
        """Return the start of the first of some names that has one; None if none has."""
        found = (self.by_key.get(media_key(name)) for name in names)
        return next((one for one in found if one is not None), self.only_ms)

    def is_of_all(self, observation: str) -> bool:
        """Tell whether the media of an observation have one start together."""
        return self.only_ms is not None or media_key(observation) in self.by_key


def media_starts(config: LogConfig, heads: Collection[str]) -> MediaStarts:
    """Read what is declared of starts.

    Parameters
    ----------
    config
        Its `media_start` and `timezone`.
    heads
        The media files, or observations, of the log that need a start of their own.

    Raises
    ------
    WrongArgument
        `media_start` is neither an instant nor a table, or one instant for several.
    """
    declared = config.media_start.strip()
    if not declared:
        return MediaStarts()
    if Path(declared).is_file():
        return MediaStarts(by_key=_table(Path(declared), config.timezone))
    start_ms = _instant_ms(declared, config.timezone, "--media-start")
    if len(heads) > 1:
        some = ", ".join(sorted(heads)[:3])
        raise WrongArgument(
            f"--media-start gives one instant, but the log was made from {len(heads)} media "
            f"({some}): give a table with the columns {' and '.join(COLUMNS)} in its place"
        )
    return MediaStarts(only_ms=start_ms)


def way_to_say(n_films: int) -> str:
    """Say how the beginning of so many films is declared."""
    if n_films > 1:
        return (
            f"say when each began, in a table with the columns {' and '.join(COLUMNS)}: "
            "--media-start films.csv"
        )
    return "say when it began: --media-start 2024-04-25T12:58:00+01:00"


def local_ms(local: datetime, timezone: str) -> int:
    """Count a time of an observer's clock from 1970 in UTC, in milliseconds.

    Raises
    ------
    ValueError
        The zone is not known, or the time occurs twice or never in it.
    """
    if not timezone:
        raise ValueError(f"the zone of {written(local)} is not known: give it with --timezone")
    possible, note = in_zone(local, timezone)
    if len(possible) != 1:
        raise ValueError(note)
    return possible[0]


def _instant_ms(text: str, timezone: str, where: str) -> int:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongArgument(
            f"{where}: {text!r} is neither a table nor a time as 2024-04-25T12:58:00+01:00"
        ) from error
    if instant.tzinfo is not None:
        return epoch_ms(instant.astimezone(UTC).replace(tzinfo=None))
    try:
        return local_ms(instant, timezone)
    except ValueError as error:
        raise WrongArgument(f"{where}: {error}, or write it as {text}+01:00") from error


def _table(file: Path, timezone: str) -> dict[str, int]:
    table = read_table(file)
    names = [name.casefold() for name in table.columns]
    if not set(COLUMNS) <= set(names):
        raise WrongArgument(
            f"{shown(file)}: a table of starts has the columns {' and '.join(COLUMNS)}, "
            f"not {', '.join(table.columns)}"
        )
    media, start = (names.index(name) for name in COLUMNS)
    starts: dict[str, int] = {}
    for row, cells in table.rows:
        where = f"{shown(file)}, line {row}"
        key = media_key(cells[media])
        if key in starts:
            raise WrongArgument(f"{where}: {cells[media]!r} has a start already")
        starts[key] = _instant_ms(cells[start], timezone, where)
    return starts
