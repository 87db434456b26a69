"""Whether the times and sites of a log can be those of the recordings, in plain sentences.

In come observations, effort, and when something was recorded; out come sentences: the wrong site,
a wrong year, day or time zone, seconds taken for milliseconds, no time in common. Asked before a
log is joined; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import polars as pl

from oscine.behaviour.clocks import (
    DAY_MS,
    HOUR_MS,
    WIDEST_ZONE_H,
    Times,
    length,
    moment,
)
from oscine.behaviour.tables import SITE

BRIDGED_MS = HOUR_MS
"""Recordings, or calls, nearer than this to each other are taken for one stretch."""
FEW, MOST = 0.5, 0.9
"""Something is amiss where a smaller share of the observations than the first falls into what was
recorded, and would be right where the second or more would."""
FASTEST_MS, SLOWEST_MS = 50, HOUR_MS
"""Nobody notes things faster than the one; the other is 1000 times 3.6 s."""
FEWEST_ROWS = 10
KILO = 500.0, 2000.0
"""Ratios that are taken for a thousand."""
FIRST_MS, LAST_MS = 10**11, 10**14
"""1973 and 5138: outside, a count from 1970 is not in milliseconds."""
NAMED = 5


@dataclass(frozen=True, slots=True)
class _Stretches:
    """When something was recorded, apart and ascending."""

    starts: Times
    stops: Times

    @staticmethod
    def of(recorded: pl.DataFrame) -> _Stretches:
        rows = recorded.sort("start_ms")
        starts, stops = rows["start_ms"].to_numpy(), rows["stop_ms"].to_numpy()
        if not len(starts):
            return _Stretches(starts, stops)
        reached = np.maximum.accumulate(stops)
        firsts = np.flatnonzero(np.append(True, starts[1:] > reached[:-1] + BRIDGED_MS))
        return _Stretches(starts[firsts], reached[np.append(firsts[1:], len(starts)) - 1])

    def share(self, times: Times) -> float:
        """Return the share of times that fall into it."""
        last = np.searchsorted(self.starts, times, side="right") - 1
        return float(((last >= 0) & (times < self.stops[last])).mean())


def overlap_trouble(
    observations: pl.DataFrame, effort: pl.DataFrame, recorded: pl.DataFrame
) -> list[str]:
    """Say where a log and the recordings cannot be of the same time, site or unit.

    Parameters
    ----------
    observations, effort : pl.DataFrame
        As :mod:`oscine.behaviour.tables`, on the observer's clock.
    recorded : pl.DataFrame
        Recordings, or calls where there are none: ``site``, ``start_ms``, ``stop_ms`` (UTC; rows
        without a time are left aside).

    Returns
    -------
    list of str
        Empty where nothing is amiss.
    """
    dated = recorded.filter(pl.col("start_ms").is_not_null())
    troubles: list[str] = []
    for (name,), seen in observations.group_by("log", maintain_order=True):
        log = str(name)
        watched = effort.filter(pl.col("log") == log)
        troubles += [f"{log}: {what}" for what in _unit_trouble(seen, watched)]
        on_sites = seen.filter(pl.col("timeline").str.starts_with(SITE))
        if on_sites.is_empty():
            continue
        if dated.is_empty():
            troubles.append(f"{log}: no recording has a time that the log could be joined by")
            continue
        troubles += [f"{log}: {what}" for what in _site_trouble(on_sites, dated)]
        troubles += [f"{log}: {what}" for what in _time_trouble(on_sites, dated)]
    return troubles


def _unit_trouble(seen: pl.DataFrame, watched: pl.DataFrame) -> Iterator[str]:
    """Compare how fast rows follow each other with people, and how long they last with effort."""
    key = ["session", "timeline"]
    gaps = (
        seen.select(*key, "start_ms")
        .unique()
        .sort(*key, "start_ms")
        .select(pl.col("start_ms").diff().over(key))
        .drop_nulls()["start_ms"]
    )
    if len(gaps) >= FEWEST_ROWS - 1 and float(np.median(gaps)) < FASTEST_MS:
        yield (
            f"half of its rows follow the one before within {length(float(np.median(gaps)))}, "
            "faster than anybody notes: seconds were taken for milliseconds"
        )
        return
    span = pl.col("stop_ms").max() - pl.col("start_ms").min()
    known = watched.filter(pl.col("source").is_in(["declared", "media"]))
    both = (
        seen.group_by(key)
        .agg(span.alias("seen"), pl.len().alias("n"))
        .filter(pl.col("n") >= FEWEST_ROWS)
        .join(known.group_by(key).agg(span.alias("watched")), on=key)
        .filter((pl.col("seen") > 0) & (pl.col("watched") > 0))
    )
    ratios = (both["seen"] / both["watched"]).to_numpy()
    if not len(ratios):
        return
    ratio = float(np.median(ratios))
    seen_ms, watched_ms = (float(np.median(both[column])) for column in ("seen", "watched"))
    if 1 / KILO[1] < ratio < 1 / KILO[0]:
        yield (
            f"a session of {length(watched_ms)} has all its rows within {length(seen_ms)}: seconds "
            "were taken for milliseconds"
        )
    elif KILO[0] < ratio < KILO[1]:
        yield (
            f"the rows of a session of {length(watched_ms)} reach over {length(seen_ms)}: "
            "milliseconds were taken for seconds"
        )


def _site_trouble(seen: pl.DataFrame, recorded: pl.DataFrame) -> Iterator[str]:
    """Compare the names of sites."""
    said = sorted({name.removeprefix(SITE) for name in seen["timeline"].unique()})
    known = sorted(recorded["site"].unique())
    for name in said:
        if name in known:
            continue
        there = ", ".join(known[:NAMED]) or "none named"
        there += f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
        if not name:
            yield f"it names no site, while the recordings do ({there}): give it with --site"
            continue
        lowered = {site.lower(): site for site in known if site}
        lowered = {site.lower(): site for site in known if site}
        near = get_close_matches(name.lower(), lowered, n=1)
        guess = f" (is it {lowered[near[0]]}?)" if near else ""
        yield (
            f"nothing was recorded at its site {name}{guess}; recorded was at: {there}. Give the "
            "site with --site"
        )


def _time_trouble(seen: pl.DataFrame, recorded: pl.DataFrame) -> Iterator[str]:
    """Compare times, at the sites in common if there are any, and try what would make them meet."""
    common = set(seen["timeline"].unique()) & {SITE + site for site in recorded["site"].unique()}
    places = []
    for (name,), rows in seen.group_by("timeline", maintain_order=True):
        if name in common:
            there = recorded.filter(pl.col("site") == str(name).removeprefix(SITE))
        elif common:
            continue
        else:
            there = recorded
        first = rows.select(pl.col("start_ms").min().over("session"))["start_ms"]
        places.append((rows["start_ms"].to_numpy(), first.to_numpy(), _Stretches.of(there)))
    times = np.concatenate([times for times, _, _ in places])

    def share(move: _Move) -> float:
        inside = [there.share(move(times, first)) * len(times) for times, first, there in places]
        return sum(inside) / len(times)

    now = share(lambda times, _: times)
    if now >= FEW:
        return
    first_ms = int(min(there.starts[0] for *_, there in places))
    last_ms = int(max(there.stops[-1] for *_, there in places))
    said = (
        f"{round(now * len(times))} of {len(times)} observations ({moment(int(times.min()))} to "
        f"{moment(int(times.max()))}) fall into what was recorded ({moment(first_ms)} to "
        f"{moment(last_ms)})"
    )
    tried = [(share(move), words) for words, move in _moves(times, (first_ms, last_ms))]
    best, words = max(tried, key=lambda one: one[0])  # of several the first
    if best >= MOST:
        yield f"{said}; {round(best * len(times))} would, {words}"
    elif now == 0:
        yield f"{said}, and no other year, day, zone or unit would change that: is it another log?"


_Move = Callable[[Times, Times], Times]
"""Of times, and of the first of the session of each."""


def _moves(times: Times, recorded_ms: tuple[int, int]) -> Iterator[tuple[str, _Move]]:
    """Propose what may have happened, the smallest slip first, in words and as a function."""
    if times.max() < FIRST_MS:
        yield (
            "if seconds since 1970 were taken for milliseconds: give them as dates",
            lambda times, _: times * 1000,
        )
    if times.min() > LAST_MS:
        yield (
            "if milliseconds since 1970 were taken for seconds: give them as dates",
            lambda times, _: times // 1000,
        )
        return
    gaps = np.diff(np.unique(times))
    if len(gaps) >= FEWEST_ROWS - 1 and np.median(gaps) >= SLOWEST_MS:
        yield (
            "if milliseconds were taken for seconds: give the log in seconds",
            lambda times, first: first + (times - first) // 1000,
        )
    zones = range(-2 * WIDEST_ZONE_H, 2 * WIDEST_ZONE_H + 1)
    for half_hours in sorted(zones, key=lambda zone: (zone % 2, abs(zone))):
        if half_hours:
            by_ms = half_hours * HOUR_MS // 2
            why = "a time zone or daylight saving (--timezone)"
            if abs(half_hours) == 24:
                why = "morning for evening, or a time zone (--timezone)"
            yield f"were it {_later(by_ms)}: {why}", _shifted(by_ms)
    for by_ms in (-DAY_MS, DAY_MS):
        yield f"were it {_later(by_ms)}: the wrong date", _shifted(by_ms)
    year, first, last = (_year(time) for time in (int(np.median(times)), *recorded_ms))
    for years in sorted(range(first - year - 1, last - year + 2), key=abs):
        if years:
            number = "a year" if abs(years) == 1 else f"{abs(years)} years"
            side = "later" if years > 0 else "earlier"
            yield (
                f"were it {number} {side}: the wrong year (--date-format, or the log)",
                _in_other_year(years),
            )


def _later(by_ms: int) -> str:
    return f"{length(by_ms)} {'later' if by_ms > 0 else 'earlier'}"


def _shifted(by_ms: int) -> _Move:
    return lambda times, _: times + by_ms


def _in_other_year(years: int) -> _Move:
    def move(times: Times, _: Times) -> Times:
        dates = pl.Series(times).cast(pl.Datetime("ms"))
        return dates.dt.offset_by(f"{years}y").cast(pl.Int64).to_numpy()

    return move


def _year(time_ms: int) -> int:
    return 1970 + round(time_ms / (365.2425 * DAY_MS) - 0.5)
