"""Logs of Solomon Coder and JWatcher, as observations.

In come a table of Solomon Coder, or a focal data file of JWatcher; out go observations and effort.
:mod:`oscine.behaviour.log` calls it. Both programs count from the start of the media, whose name
they do not write: the log itself is taken to be called like the recording.

* **Solomon Coder** (solomon.andraspeter.com; an example of its files is
  ``misc/solomon_example.csv`` of github.com/sgoldenlab/simba) writes a row for each time step and a
  column for each channel, which holds the name of the behaviour as long as it lasts. Tables of 0
  and 1, a column a behaviour, as BORIS exports them ("behaviors binary table"), are read in the
  same way.
* **JWatcher** (jwatcher.ucla.edu) writes ``milliseconds, key`` below a line ``#BEGIN DATA``, and
  ``EOF`` where the watching ended. What keys are called is in a focal master file (``.fmf``,
  ``Behaviour.name.KEY=``), and which key ends which state in a focal analysis master file
  (``.faf``: ``Behavior.switchesOff.KEY=a,b``, ``Behavior.isEventAnalyzed.KEY``,
  ``AllCodesMutuallyExclusive``), as BORIS writes them too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path

from oscine.behaviour.config import LogConfig
from oscine.behaviour.parts import FIRST_TO_LAST, Bout, Gathered, LogParts, Stretch, clock_ms
from oscine.behaviour.raw import RawTable, number
from oscine.behaviour.starts import media_starts
from oscine.behaviour.tables import FILE, SITE
from oscine.config import WrongArgument
from oscine.sound.archive import shown

FEWEST_STEPS = 3
LONGEST_STEP_MS = 10_000
"""A table of time steps has at least so many rows, and steps at most this long: else it is rather a
form that somebody filled in at even times."""
STEP_SLACK_MS = 2
"""By how much steps may differ: times are rounded (0.033, 0.067, 0.100)."""
OFF, ON = ("", "0"), "1"
_JWATCHER = b"FirstLineOfData"
DATA_BEGINS, WATCHING_ENDS = "#BEGIN DATA", "EOF"
_SWITCHES_OFF, _IS_EVENT = "Behavior.switchesOff.", "Behavior.isEventAnalyzed."
_NAMES_KEY = "Behaviour.name."


def is_solomon(table: RawTable) -> bool:
    """Tell whether a table has a row for each of even time steps, below names of channels."""
    if table.columns[0].casefold() not in ("time", "time (s)") or len(table.columns) < 2:
        return False
    times = [clock_ms(cells[0]) for _, cells in table.rows]
    steps = [
        after - before
        for before, after in pairwise(times)
        if before is not None and after is not None
    ]
    if not FEWEST_STEPS <= len(times) == len(steps) + 1:
        return False
    if min(steps) <= 0 or max(steps) > min(min(steps) + STEP_SLACK_MS, LONGEST_STEP_MS):
        return False
    cells = {cell for _, cells in table.rows for cell in cells[1:]}
    return cells <= {*OFF, ON} or not any(number(cell) is not None for cell in cells)


def read_solomon(table: RawTable, config: LogConfig) -> LogParts:
    """Read a table of time steps.

    Parameters
    ----------
    table
    config
        Its `media_start`, `timezone`, and `site`, `session` and `subject` where they are values
        (``=north``). Channels among its `context` name their states ``channel=value``.

    Raises
    ------
    WrongArgument
        The rows are no even steps, `media_start` cannot be read, or site, session or subject is a
        column.
    """
    if not is_solomon(table):
        raise WrongArgument(
            f"{shown(table.file)} is no table of Solomon Coder: that has a first column Time, in "
            f"even steps of {LONGEST_STEP_MS // 1000} s or less, and names below its other columns"
        )
    gathered = Gathered(log=table.file.stem, lone_row_ms=config.tolerance_ms)
    gathered.say("Solomon Coder: a row each time step, states last as long as their name stands")
    rows = [(row, clock_ms(cells[0]) or 0) for row, cells in table.rows]
    # The last row lasts as long as the one before it.
    rows.append((0, 2 * rows[-1][1] - rows[-2][1]))
    channels = {name: table.column(name) for name in table.columns[1:]}
    in_channels = Counter(cell for cells in channels.values() for cell in set(cells))
    bouts: list[Bout] = []
    for channel, cells in channels.items():
        for cell, run in groupby(range(len(cells)), key=cells.__getitem__):
            steps = list(run)
            if cell in OFF:
                continue
            if cell == ON:
                behaviour = channel
            elif channel in config.context or in_channels[cell] > 1:
                behaviour = f"{channel}={cell}"
            else:
                behaviour = cell
            (row, start_ms), (_, stop_ms) = rows[steps[0]], rows[steps[-1] + 1]
            bouts.append(_bout(row, behaviour, start_ms, stop_ms, config))
    watched_ms = (rows[0][1], rows[-1][1])
    return _placed(table.file, bouts, watched_ms, FIRST_TO_LAST, config, gathered)


def is_jwatcher(file: Path) -> bool:
    """Tell whether a file is a focal data file of JWatcher."""
    try:
        with file.open("rb") as data:
            return data.read(len(_JWATCHER)) == _JWATCHER
    except OSError:
        return False


def read_jwatcher(file: Path, config: LogConfig) -> LogParts:
    """Read a focal data file of JWatcher.

    With a focal analysis master file of the same name beside it, a key begins a state that lasts
    until a key that switches it off; without one, the instant of each key is a point. Its times
    of day are not used: they say when the coding was done, which may be long after.

    Parameters
    ----------
    file
        One that :func:`is_jwatcher` knows.
    config
        Its `media_start`, `timezone`, and `site`, `session` and `subject` where they are values
        (``=north``).

    Raises
    ------
    WrongArgument
        The file holds no data, `media_start` cannot be read, or site, session or subject is a
        column.
    """
    gathered = Gathered(log=file.stem, lone_row_ms=config.tolerance_ms)
    gathered.say("JWatcher focal data")
    keys, end_ms = _keys(file, gathered)
    master, analysis = _settings(file, ".fmf"), _settings(file, ".faf")
    if not any(name.startswith(_NAMES_KEY) for name in master):
        gathered.say("behaviours go by their keys: no focal master file (.fmf) lies beside it")
    if not analysis:
        gathered.say(
            "keys are points: no focal analysis master file (.faf) beside it says how states end"
        )
    elif end_ms is None and keys:
        end_ms = keys[-1][1]
        gathered.problem(
            keys[-1][0], "suspicious", f"no {WATCHING_ENDS} follows: states end with the last key"
        )
    bouts: list[Bout] = []
    for at, (row, start_ms, key) in enumerate(keys):
        stop_ms = start_ms
        if analysis and analysis.get(_IS_EVENT + key, "") != "true":
            ends = (when for _, when, other in keys[at + 1 :] if _ends(other, key, analysis))
            stop_ms = next(ends, end_ms if end_ms is not None else start_ms)
        behaviour = master.get(_NAMES_KEY + key, key)
        bouts.append(_bout(row, behaviour, start_ms, max(start_ms, stop_ms), config))
    watched_ms = None if end_ms is None else (0, end_ms)
    return _placed(file, bouts, watched_ms, "declared", config, gathered)


def _keys(file: Path, gathered: Gathered) -> tuple[list[tuple[int, int, str]], int | None]:
    """Return line, time and key of each key, and when the watching ended."""
    lines = file.read_text("utf-8", errors="replace").splitlines()
    if DATA_BEGINS not in lines:
        raise WrongArgument(f"{shown(file)} is a file of JWatcher without a line {DATA_BEGINS}")
    keys: list[tuple[int, int, str]] = []
    first = lines.index(DATA_BEGINS) + 1
    for row, line in enumerate(lines[first:], first + 1):
        stated, _, key = (part.strip() for part in line.partition(","))
        if not stated and not key:
            continue
        if not stated.isdecimal() or not key:
            gathered.problem(row, "unread", f"{line.strip()!r} is not a time in ms and a key")
        elif key == WATCHING_ENDS:
            return keys, int(stated)
        elif keys and int(stated) < keys[-1][1]:
            gathered.problem(row, "unread", f"{stated} ms is before the key of line {keys[-1][0]}")
        else:
            keys.append((row, int(stated), key))
    return keys, None


def _settings(file: Path, suffix: str) -> dict[str, str]:
    """Read ``name=value`` of the master file that lies beside; nothing if there is none."""
    beside = file.with_suffix(suffix)
    if not beside.is_file():
        return {}
    lines = beside.read_text("utf-8", errors="replace").splitlines()
    parts = (line.partition("=") for line in lines if not line.startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in parts if equals}


def _ends(key: str, state: str, analysis: Mapping[str, str]) -> bool:
    """Tell whether a key ends the state of another key, or of itself."""
    if key == state or analysis.get("AllCodesMutuallyExclusive") == "true":
        return True
    return state in (one.strip() for one in analysis.get(_SWITCHES_OFF + key, "").split(","))


def _bout(row: int, behaviour: str, start_ms: int, stop_ms: int, config: LogConfig) -> Bout:
    return Bout(
        row=row,
        behaviour=behaviour,
        subject=_value("subject", config.subject),
        start_ms=start_ms,
        stop_ms=stop_ms,
        is_state=stop_ms > start_ms,
    )


def _placed(
    file: Path,
    bouts: Sequence[Bout],
    watched_ms: tuple[int, int] | None,
    source: str,
    config: LogConfig,
    gathered: Gathered,
) -> LogParts:
    """Lay a log on the timeline of the recording of its name, or at its declared start."""
    start_ms = media_starts(config, {file.name}).of(file.name)
    timeline, site = FILE + file.stem, _value("site", config.site)
    if start_ms is None:
        gathered.say(f"times count from the first sample of the recording called {file.stem!r}")
    else:
        timeline = SITE + site
    stretch = Stretch(
        timeline=timeline, shift_ms=start_ms or 0, watched_ms=watched_ms, source=source
    )
    gathered.place(_value("session", config.session) or file.stem, site, bouts, [stretch])
    return gathered.parts()


def _value(setting: str, given: str) -> str:
    if given and not given.startswith("="):
        raise WrongArgument(
            f"{setting}: logs of Solomon Coder and JWatcher have no such column {given!r}; give a "
            f"value for the whole log as ={given}"
        )
    return given[1:]
