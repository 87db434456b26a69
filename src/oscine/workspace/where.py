"""Filters that people type, such as ``site = 'north' and hour between 5 and 9``.

In comes text; out comes a condition for SQLite in which every value is a parameter: nothing that
was typed becomes part of the query but names of fields from a fixed list. The catalogue asks it of
its events.

    condition := and-condition { "or" and-condition }
    and-condition := test { "and" test }
    test := "not" test | "(" condition ")" | field comparison
    comparison := ("=" | "!=" | "<" | "<=" | ">" | ">=") value
                | "between" value "and" value        both ends belong to it
                | "in" "(" value { "," value } ")"
    value := number | 'text'
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from oscine.config import WrongArgument

_LOCAL_MS = "(start_ms + utc_offset_min * 60000)"
_LOCAL_DAY_MS = f"(({_LOCAL_MS} % 86400000 + 86400000) % 86400000)"
LOCAL_DATE = f"date({_LOCAL_MS} / 1000.0, 'unixepoch')"
"""By the clocks there; NULL where the time is not known."""

FIELDS: dict[str, tuple[str, type]] = {
    "site": ("site", str),
    "recorder": ("recorder", str),
    "path": ("path", str),
    "date": (LOCAL_DATE, str),
    "time": (f"strftime('%H:%M:%S', {_LOCAL_DAY_MS} / 1000.0, 'unixepoch')", str),
    "hour": (f"({_LOCAL_DAY_MS} / 3600000.0)", float),
    "month": (f"CAST(substr({LOCAL_DATE}, 6, 2) AS INTEGER)", float),
    "year": (f"CAST(substr({LOCAL_DATE}, 1, 4) AS INTEGER)", float),
    "low_hz": ("low_hz", float),
    "high_hz": ("high_hz", float),
    "duration_s": ("duration_s", float),
    "level_db": ("level_db", float),
    "cluster": ("cluster", float),
}
"""What can be asked of an event, as SQL over the view ``heard_events``, and the type of its values.

Dates (``2024-05-31``), times (``05:30``), hours, months and years are those of the clocks there. An
event whose time is not known meets no condition about it, not even a negated one."""
CIRCLES = ("hour", "time", "month")
"""Fields that come round again: `between 22 and 4` goes past midnight."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)(?![\w:])|(?P<text>'(?:[^']|'')*')"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<sign><=|>=|!=|[=<>(),]))"
)
_SIGNS = ("=", "!=", "<", "<=", ">", ">=")
_END = ("end", "")


@dataclass(frozen=True, slots=True)
class Where:
    """A condition for SQLite and its parameters."""

    sql: str
    parameters: tuple[str | float, ...]


def parse_where(text: str) -> Where:
    """Read a filter.

    Parameters
    ----------
    text : str
        See the grammar above; words may be in capitals.

    Returns
    -------
    Where

    Raises
    ------
    WrongArgument
    """
    parser = _Parser(text)
    sql = parser.condition()
    parser.expect_end()
    return Where(sql, tuple(parser.parameters))


class _Parser:
    """Goes through the tokens once; each method reads what it is named after."""

    def __init__(self, text: str) -> None:
        self.parameters: list[str | float] = []
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        self._depth = 0
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._error(f"{text[position:].strip()[:20]!r} cannot be read")
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind]))
            position = match.end()
        self._next = 0

    def condition(self) -> str:
        parts = [self._all_of()]
        while self._take("or"):
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def expect_end(self) -> None:
        if self._peek() != _END:
            raise self._error(f"{self._peek()[1]!r} was not expected; join tests with and, or")

    def _all_of(self) -> str:
        parts = [self._test()]
        while self._take("and"):
            parts.append(self._test())
        return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"

    def _test(self) -> str:
        self._depth += 1
        if self._depth > 50:
            raise self._error("it is nested too deeply")
        try:
            if self._take("not"):
                return f"NOT ({self._test()})"
            if self._take("("):
                inner = self.condition()
                self._need(")")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> str:
        kind, name = self._advance()
        if kind != "word" or name.lower() not in FIELDS:
            near = difflib.get_close_matches(name.lower(), FIELDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise self._error(f"{name!r} is no field{hint} Fields: {', '.join(FIELDS)}")
        name = name.lower()
        sql, type_ = FIELDS[name]
        if self._take("between"):
            low = self._value(name, type_)
            self._need("and")
            high = self._value(name, type_)
            self.parameters += [low, high]
            goes_round = name in CIRCLES and low > high  # type: ignore[operator]
            return f"({sql} >= ? {'OR' if goes_round else 'AND'} {sql} <= ?)"
        if self._take("in"):
            self._need("(")
            values = [self._value(name, type_)]
            while self._take(","):
                values.append(self._value(name, type_))
            self._need(")")
            self.parameters += values
            return f"{sql} IN ({', '.join('?' * len(values))})"
        kind, sign = self._advance()
        if sign not in _SIGNS:
            raise self._error(f"after {name} comes {', '.join(_SIGNS)}, between or in")
        self.parameters.append(self._value(name, type_))
        return f"{sql} {sign} ?"

    def _value(self, name: str, type_: type) -> str | float:
        kind, value = self._advance()
        if type_ is float and kind == "number":
            return float(value)
        if type_ is str and kind == "text":
            return value[1:-1].replace("''", "'")
        wanted = "a number" if type_ is float else "text in single quotes"
        raise self._error(f"{name} is compared with {wanted}, not {value or 'nothing'}")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else _END

    def _advance(self) -> tuple[str, str]:
        token = self._peek()
        self._next += 1
        return token

    def _take(self, wanted: str) -> bool:
        kind, value = self._peek()
        if kind in ("word", "sign") and value.lower() == wanted:
            self._next += 1
            return True
        return False

    def _need(self, wanted: str) -> None:
        if not self._take(wanted):
            raise self._error(f"{wanted!r} was expected, not {self._peek()[1] or 'the end'!r}")

    def _error(self, problem: str) -> WrongArgument:
        example = "site = 'north' and hour between 5 and 9"
        return WrongArgument(f"{self._text!r}: {problem}. Example: {example}", "--where")
