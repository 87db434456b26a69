"""Logs that do not fit the recordings: of another year, in other units, of what nobody recorded.

In come logs and recordings laid out on timelines; out come problems that say what is wrong, and
what would fit. :mod:`oscine.behaviour.join` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from oscine.behaviour.clocks import HOUR_MS, hours_text, length
from oscine.behaviour.sessions import Whole
from oscine.behaviour.sites import SLACK_MS
from oscine.behaviour.spans import cut, length_ms, merged
from oscine.behaviour.tables import Problem
from oscine.behaviour.timelines import Layout
from oscine.sound.clock import EPOCH, epoch_ms, written

_MOST_YEARS, _MOST_HOURS = 10, 14
"""How far off a year and a time zone are looked for."""
_POOLED = 0.01
"""Share of the recorded time that may be recorded twice before it is told."""
_FEW, _TOO_EARLY = 3, 500
"""So many observations in so small a part of a recording (one in 500) are not believed."""
_SHOWN = 5


def find_misfits(
    layout: Layout,
    observations: pl.DataFrame,
    watched: pl.DataFrame,
    is_outside: NDArray[np.bool_],
    watched_for: Mapping[str, Sequence[str]],
    groups: pl.DataFrame,
) -> Iterator[Problem]:
    """Yield what does not fit.

    Parameters
    ----------
    layout : Layout
    observations : pl.DataFrame
        As :data:`~oscine.behaviour.tables.OBSERVATIONS`.
    watched : pl.DataFrame
        Effort as :meth:`Layout.place` gives it.
    is_outside : np.ndarray of bool [shape=(N,)]
        Whether each observation lies outside the effort of its log.
    watched_for : mapping of str to sequence of str
        Behaviours by log.
    groups : pl.DataFrame
        As in :class:`~oscine.behaviour.watching.Watch`.
    """
    for log, places in _by_log(layout, watched):
        yield from _of_another_time(log, places)
        yield from _heard_twice(log, places)
    yield from _of_another_length(layout, observations)
    yield from _outside(observations, is_outside)
    yield from _sessions_that_share(groups)
    yield from _watched_for_in_part(groups, watched_for)


def pooled_hours(layout: Layout, watched: pl.DataFrame) -> float:
    """Return for how long recorders ran beside each other at one place while somebody watched.

    Parameters
    ----------
    layout, watched
        As for :func:`find_misfits`.
    """
    of_all = _by_log(layout, watched.with_columns(log=pl.lit("")))
    return sum(place.pooled_ms for _, places in of_all for place in places) / HOUR_MS


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Place:
    """A site by its recordings, and when a log was kept there; both in UTC [shape=(M, 2)]."""

    site: str
    recorded: Whole
    watched: Whole

    @property
    def pooled_ms(self) -> int:
        """For how long several recorders ran at a time while it was kept; 0 for next to nothing."""
        parts = cut(self.recorded, self.watched)[2]
        order = np.argsort(parts, axis=None, kind="stable")
        n_running = np.cumsum(np.tile([1, -1], len(parts))[order])
        pooled_ms = int(np.diff(parts.ravel()[order]) @ (n_running[:-1] > 1))
        return pooled_ms if pooled_ms > max(SLACK_MS, _POOLED * length_ms(merged(parts))) else 0


def _by_log(layout: Layout, watched: pl.DataFrame) -> Iterator[tuple[str, list[_Place]]]:
    """Yield logs that state times, with the places that they are of."""
    timelines = layout.timelines.filter("is_dated")
    places = timelines.select("line", "site", place=pl.coalesce("beside", "line"))
    recorded = {
        place: rows.select("start_ms", "stop_ms").to_numpy()
        for (place,), rows in layout.recordings.drop("site")
        .join(places, on="line")
        .group_by("place")
    }
    stated = watched.filter(pl.col("number").is_null()).join(places, on="line")
    for (log,), of_log in stated.group_by("log", maintain_order=True):
        yield (
            str(log),
            [
                _Place(
                    site=rows["site"][0],
                    recorded=recorded[place],
                    watched=merged(rows.select("start_ms", "stop_ms").to_numpy()),
                )
                for (place,), rows in of_log.group_by("place", maintain_order=True)
            ],
        )


def _of_another_time(log: str, places: Sequence[_Place]) -> Iterator[Problem]:
    """Tell whether a log was kept while nothing was recorded, and what would make it fit."""
    united = [(place.watched, merged(place.recorded)) for place in places]

    def fits(change: Callable[[Whole], Whole]) -> bool:
        return any(len(cut(change(watched), recorded)[0]) for watched, recorded in united)

    if fits(lambda times: times):
        return
    recorded = np.concatenate([place.recorded for place in places])
    watched = np.concatenate([place.watched for place in places])
    yield Problem(
        log=log,
        row=0,
        kind="unread",
        what=(
            f"nothing was recorded while it was kept, {_from_to(watched)}; the recordings are "
            f"{_from_to(recorded)}: {_way_out(fits, int(watched.min()))}"
        ),
    )


def _way_out(fits: Callable[[Callable[[Whole], Whole]], bool], first_ms: int) -> str:
    """Return what would make a log fit the recordings."""
    if fits(lambda times: times * 1000):
        return "it would fit if seconds had been taken for milliseconds"
    if fits(lambda times: times // 1000):
        return "it would fit if milliseconds had been taken for seconds"
    for name, exchange in _EXCHANGES.items():
        # By the clocks there the day may be another than in UTC.
        for hours in range(-_MOST_HOURS, _MOST_HOURS + 1):
            if fits(lambda times, by=hours * HOUR_MS, to=exchange: _exchanged(times, to, by)):
                return f"it would fit with {name} exchanged: is the order right (--date-format)?"
    for hours in range(1, _MOST_HOURS + 1):
        for sign, way in ((1, "later"), (-1, "earlier")):
            if fits(lambda times, by=sign * hours * HOUR_MS: times + by):
                return f"it would fit {hours} h {way}: is its time zone right (--timezone)?"
    for years in range(1, _MOST_YEARS + 1):
        for sign, way in ((1, "later"), (-1, "earlier")):
            by = _years_ms(first_ms, sign * years)
            if by is not None and fits(lambda times, by=by: times + by):
                return (
                    f"it would fit {years} year{'s' if years > 1 else ''} {way}: is its year right?"
                )
    return "are its dates right, and the clock of the recorder?"


_EXCHANGES: Mapping[str, Callable[[date], date]] = {
    "day and month": lambda day: day.replace(day=day.month, month=day.day),
    "day and year": lambda day: day.replace(day=day.year % 100, year=2000 + day.day),
}
"""What a wrong order of dates does to them."""


def _exchanged(times: Whole, exchange: Callable[[date], date], by_ms: int) -> Whole:
    """Exchange parts of the days of stretches, on clocks that are so far ahead of UTC."""
    moved = times.copy()
    is_day = np.zeros(len(times), bool)
    for at, start_ms in enumerate((times[:, 0] + by_ms).tolist()):
        try:
            day = (EPOCH + timedelta(milliseconds=start_ms)).date()
            moved[at] += (exchange(day) - day) // timedelta(milliseconds=1)
            is_day[at] = True
        except (OverflowError, ValueError):  # there is no such day
            continue
    return merged(moved[is_day])


def _years_ms(first_ms: int, years: int) -> int | None:
    """Return how far a time is from the same time of another year, if there are such times."""
    try:
        first = EPOCH + timedelta(milliseconds=first_ms)
        return epoch_ms(first.replace(year=first.year + years)) - epoch_ms(first)
    except (OverflowError, ValueError):  # no such year, or 29 February
        return None


def _from_to(spans: Whole) -> str:
    return f"from {_told(int(spans.min()))} to {_told(int(spans.max()))} UTC"


def _told(time_ms: int) -> str:
    try:
        return written((EPOCH + timedelta(milliseconds=time_ms)).replace(microsecond=0))
    except OverflowError:
        return f"{time_ms} ms after 1970"


def _heard_twice(log: str, places: Sequence[_Place]) -> Iterator[Problem]:
    """Tell where several recorders ran while a log was kept."""
    for place in places:
        if place.pooled_ms:
            site = f" of {place.site!r}" if place.site else ""
            yield Problem(
                log=log,
                row=0,
                kind="suspicious",
                what=(
                    f"for {hours_text(place.pooled_ms / HOUR_MS)} of it recordings{site} run "
                    "beside each other: a call that is in several counts several times; join the "
                    "recordings of one recorder, or give each place a site of its own (oscine "
                    "index --site-from)"
                ),
            )


def _of_another_length(layout: Layout, observations: pl.DataFrame) -> Iterator[Problem]:
    """Tell of what is said to be in a recording, but past its end or all at its very beginning."""
    named = layout.lies_on.drop_nulls("number").select("log", "timeline", "number", "limit_ms")
    start, limit = pl.col("start_ms"), pl.col("limit_ms")
    is_whole = (start <= 0) & (pl.col("stop_ms") >= limit)
    each = observations.join(named, on=["log", "timeline"]).filter(~is_whole)
    stop = pl.when(pl.col("stop_ms") < limit).then("stop_ms").otherwise(start)
    found = each.group_by("log", "timeline", maintain_order=True).agg(
        pl.col("number", "limit_ms", "row").first(),
        n=pl.len(),
        n_past=(start > limit).sum(),
        first_past=pl.col("row").filter(start > limit).min(),
        latest=stop.max(),
    )
    for one in found.iter_rows(named=True):
        path = layout.recordings["path"][one["number"]]
        if one["n_past"]:
            yield Problem(
                log=one["log"],
                row=one["first_past"],
                kind="unread",
                what=(
                    f"{one['n_past']} of {one['n']} observations on {path} begin after its end "
                    f"({length(one['limit_ms'])}): is it the right recording, and are the times "
                    "seconds?"
                ),
            )
        elif one["n"] >= _FEW and 0 < one["latest"] * _TOO_EARLY < one["limit_ms"]:
            yield Problem(
                log=one["log"],
                row=one["row"],
                kind="suspicious",
                what=(
                    f"all {one['n']} observations on {path} lie in its first "
                    f"{length(one['latest'])} of {length(one['limit_ms'])}: were seconds taken for "
                    "milliseconds?"
                ),
            )


def _outside(observations: pl.DataFrame, is_outside: NDArray[np.bool_]) -> Iterator[Problem]:
    """Tell of what was seen while nobody watched."""
    outside = observations.filter(pl.Series(is_outside)).unique(["log", "row"]).sort("row")
    for (log,), rows in outside.group_by("log", maintain_order=True):
        numbers = ", ".join(str(row) for row in rows["row"].head(_SHOWN))
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        yield Problem(
            log=str(log),
            row=rows["row"][0],
            kind="suspicious",
            what=(
                f"{len(rows)} row{'s lie' if len(rows) > 1 else ' lies'} outside the effort "
                f"({numbers}{more}), so that no rate counts what they say: tell with --effort when "
                "somebody watched"
            ),
        )


def _sessions_that_share(groups: pl.DataFrame) -> Iterator[Problem]:
    """Tell of sessions of one log that became one."""
    shared = (
        groups.drop_nulls("joined")
        .group_by("log", "joined", maintain_order=True)
        .agg(pl.col("session").unique(maintain_order=True))
        .filter(pl.col("session").list.len() > 1)
    )
    for (log,), sets in shared.group_by("log", maintain_order=True):
        names = sets["session"][0].to_list()
        some = " and ".join(map(repr, names[:_SHOWN]))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        others = f" (and so do {len(sets) - 1:,} other groups of them)" if len(sets) > 1 else ""
        yield Problem(
            log=str(log),
            row=0,
            kind="suspicious",
            what=(
                f"sessions {some}{more} share recordings or time{others}, and count as one, so "
                "that no call is counted twice: does each row name the right session?"
            ),
        )


def _watched_for_in_part(
    groups: pl.DataFrame, watched_for: Mapping[str, Sequence[str]]
) -> Iterator[Problem]:
    """Tell of sessions of several logs that became one, where one watched for more."""
    told: set[tuple[str, ...]] = set()
    logs = pl.col("log").unique(maintain_order=True)
    for (mine,) in (
        groups.drop_nulls("joined").group_by("joined").agg(logs).select("log").iter_rows()
    ):
        key = tuple(sorted(mine))
        sets = [set(watched_for.get(log, ())) for log in key]
        in_part = sorted(set.union(*sets) - set.intersection(*sets))
        if in_part and key not in told:
            told.add(key)
            yield Problem(
                log=key[0],
                row=0,
                kind="suspicious",
                what=(
                    f"sessions of {' and '.join(key)} share time and count as one, though not all "
                    f"of these logs tell of {', '.join(in_part[:_SHOWN])}: while another log was "
                    "kept alone, these count as not shown; join the logs one by one to see if it "
                    "matters"
                ),
            )
