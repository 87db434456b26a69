"""What a reader of logs gathers: rows of the tables, what could not be used, what was guessed.

In come what readers find (:mod:`oscine.behaviour.log`, :mod:`oscine.behaviour.boris` and
:mod:`oscine.behaviour.coders`), into a :class:`Gathered`; out go :class:`LogParts`. Coders count
in ms from the start of an observation; a :class:`Stretch` says where on which timeline it lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from oscine.behaviour.raw import NAMED, number
from oscine.behaviour.tables import CONTEXT, EFFORT, OBSERVATIONS, STATED, Problem, ProblemKind

FOREVER = 1 << 60
"""Later than anything, in milliseconds."""
FIRST_TO_LAST, MEDIA = "first to last row", "media"
"""Sources of effort."""
_CLOCK = re.compile(r"([-+]?)(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?)")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LogParts:
    """What was read of one log.

    Attributes
    ----------
    observations, effort, context, stated : pl.DataFrame
        See :mod:`oscine.behaviour.tables`.
    problems : tuple of Problem
    guessed : tuple of str
        What the reader took for granted, a sentence each, for the user to see.
    """

    observations: pl.DataFrame
    effort: pl.DataFrame
    context: pl.DataFrame
    stated: pl.DataFrame
    problems: tuple[Problem, ...]
    guessed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bout:
    """A point or state, in milliseconds of its observation's own clock."""

    row: int
    behaviour: str
    subject: str
    start_ms: int
    stop_ms: int
    is_state: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Part of an observation's clock, and where it lies on a timeline.

    Attributes
    ----------
    timeline : str
    shift_ms : int
        What is added to the observation's clock to give the timeline's.
    start_ms, stop_ms : int
        On the observation's clock. Points that lie at `stop_ms` belong to the next stretch.
    watched_ms : tuple of (int, int) or None
        On the observation's clock; None where only its rows tell when somebody watched.
    source : str
        Of the effort, where `watched_ms` is known.
    """

    timeline: str
    shift_ms: int = 0
    start_ms: int = -FOREVER
    stop_ms: int = FOREVER
    watched_ms: tuple[int, int] | None = None
    source: str = MEDIA

    def holds(self, bout: Bout) -> bool:
        """Tell whether a bout lies in it, at least in part."""
        if bout.start_ms == bout.stop_ms:
            return self.start_ms <= bout.start_ms < self.stop_ms
        return bout.start_ms < self.stop_ms and bout.stop_ms > self.start_ms


@dataclass(kw_only=True, slots=True)
class Gathered:
    """Rows and problems of one log, while it is read."""

    log: str
    lone_row_ms: int
    """By how much the effort of a single row reaches to both sides."""
    observations: list[dict[str, Any]] = field(default_factory=list)
    effort: list[dict[str, Any]] = field(default_factory=list)
    context: list[dict[str, Any]] = field(default_factory=list)
    stated: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    said: dict[str, list[str]] = field(default_factory=dict)
    """What was taken for granted, and in which observations."""

    def problem(self, row: int, kind: ProblemKind, what: str) -> None:
        """Note what is wrong with a row (0: with the whole log)."""
        self.problems.append(Problem(log=self.log, row=row, kind=kind, what=what))

    def refuse(self, row: int, name: str, reason: str) -> None:
        """Note why an observation, which begins at a row, is left out as a whole."""
        self.problem(row, "unread", f"the whole observation {name!r} is left out: {reason}")

    def say(self, sentence: str, name: str = "") -> None:
        """Note what is taken for granted, in an observation or in the whole log."""
        names = self.said.setdefault(sentence, [])
        if name and name not in names:
            names.append(name)

    def place(
        self, session: str, site: str, bouts: Iterable[Bout], stretches: Iterable[Stretch]
    ) -> list[dict[str, Any]]:
        """Add bouts of a session, cut where one stretch ends and the next begins, and its effort.

        Returns
        -------
        list of dict
            The rows of effort.
        """
        bouts, effort = tuple(bouts), []
        for stretch in stretches:
            common = {"log": self.log, "session": session, "timeline": stretch.timeline}
            ends: list[int] = []
            for bout in filter(stretch.holds, bouts):
                start = max(bout.start_ms, stretch.start_ms) + stretch.shift_ms
                stop = min(bout.stop_ms, stretch.stop_ms) + stretch.shift_ms
                ends += [start, stop]
                self.observations.append(
                    common
                    | {
                        "row": bout.row,
                        "behaviour": bout.behaviour,
                        "is_state": bout.is_state,
                        "subject": bout.subject,
                        "start_ms": start,
                        "stop_ms": stop,
                    }
                )
            if stretch.watched_ms is not None:
                first, last = (end + stretch.shift_ms for end in stretch.watched_ms)
                source = stretch.source
            elif ends:
                first, last, source = min(ends), max(ends), FIRST_TO_LAST
                if first == last:
                    first, last = first - self.lone_row_ms, last + self.lone_row_ms
            else:
                continue
            span = {"start_ms": first, "stop_ms": last}
            effort.append(common | span | {"source": source, "site": site})
        self.effort += effort
        return effort

    def hold(
        self, row: int, values: Mapping[str, str], effort: Iterable[Mapping[str, Any]]
    ) -> None:
        """Add values that hold all over some effort: numbers as context, words as states."""
        for watched in effort:
            common = {name: value for name, value in watched.items() if name != "source"}
            for name, text in values.items():
                value = number(text)
                if value is not None:
                    self.context.append(common | {"row": row, "name": name, "value": value})
                elif text:
                    named = {"behaviour": f"{name}={text}", "is_state": True, "subject": ""}
                    self.observations.append(common | {"row": row} | named)

    def parts(self) -> LogParts:
        """Hand on what was gathered, in the order of the rows."""
        observations = sorted(self.observations, key=lambda one: one["row"])
        rows = [{"observation": at, "count": None, **one} for at, one in enumerate(observations)]
        return LogParts(
            observations=pl.DataFrame(rows, schema=dict(OBSERVATIONS)),
            effort=pl.DataFrame(self.effort, schema=dict(EFFORT)),
            context=pl.DataFrame(self.context, schema=dict(CONTEXT)),
            stated=pl.DataFrame(self.stated, schema=dict(STATED)),
            problems=tuple(sorted(self.problems, key=lambda one: one.row)),
            guessed=tuple(_spoken(sentence, names) for sentence, names in self.said.items()),
        )


def _spoken(sentence: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{sentence} ({', '.join(names[:NAMED])}{more})" if names else sentence


def in_seconds(ms: int) -> str:
    """Write a time for people."""
    return f"{ms / 1000:.3f} s"


def clock_ms(text: str) -> int | None:
    """Read a time that counts from a start: seconds (`75.25`, `75,25`) or `00:01:15.250`.

    Returns
    -------
    int or None
        Milliseconds; None if the text is neither.
    """
    text = text.strip()
    found = _CLOCK.fullmatch(text)
    try:
        if found is None:
            seconds = Decimal(text)  # 1.714e9, as spreadsheets write it
        else:
            sign, hours, minutes, rest = found.groups()
            seconds = (
                3600 * int(hours or 0) + 60 * int(minutes or 0) + Decimal(rest.replace(",", "."))
            )
            seconds = -seconds if sign == "-" else seconds
    except InvalidOperation:
        return None
    if not seconds.is_finite() or abs(seconds) > FOREVER // 1000:
        return None
    return int((1000 * seconds).to_integral_value(ROUND_HALF_EVEN))


def media_key(name: str) -> str:
    """Return the stem of a media file, whichever system its path was written on."""
    return PurePosixPath(re.split(r"[\\/]", name.strip())[-1]).stem
