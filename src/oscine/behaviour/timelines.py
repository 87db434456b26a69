"""On which timeline everything lies: what was recorded, what was heard, and what a log says.

In come recordings and the tables of logs, out comes a :class:`Layout`, by which
:mod:`oscine.behaviour.join` puts calls and observations beside each other.

A call lies on one timeline only, so that it counts once. It is that of its site, which is watched
as a whole. A recording that a log names has one of its own where its time is not known, and where
others ran beside it at the same site: what was seen on it says nothing of them. (Files that were
copied often have one and the same time.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from oscine.behaviour.matching import Matches, match_keys
from oscine.behaviour.sites import SLACK_MS, folded, places_of_sites
from oscine.behaviour.spans import sharing
from oscine.behaviour.starts import way_to_say
from oscine.behaviour.tables import FILE, Problem

_WITH_ITS_SITE, _NOWHERE = -1, -2  # beside numbers of recordings that have their own timelines
_BY_START = [False, False, False, True, False]  # the longest first of those that begin together
_SHOWN = 5
_BLOCK = 1_000_000
_END = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layout:
    """Timelines by number: first those of sites, which count in UTC, then those of recordings.

    Attributes
    ----------
    timelines : pl.DataFrame
        `line`, `site` (as the recordings spell it), `path` of the recording whose own it is (empty
        for a site), `is_dated` (whether it counts in UTC; otherwise from the first sample), and
        `beside`: for a dated one of a recording, the line of its site.
    recordings : pl.DataFrame
        As they came, with `number` (row), `is_dated`, `line` (null where neither time nor log tells
        where it belongs), and with times on it: `start_ms`, `stop_ms`.
    lies_on : pl.DataFrame
        Where a timeline of a log is found: `log`, `timeline`, `line`, and for that of a recording
        its `number` (row), `shift_ms` and `limit_ms` (length).
    problems : tuple of Problem
        What of the logs has no place, and why.
    """

    timelines: pl.DataFrame
    recordings: pl.DataFrame
    lies_on: pl.DataFrame
    problems: tuple[Problem, ...]

    def place(self, table: pl.DataFrame, reach_ms: int, *, is_cut: bool = False) -> pl.DataFrame:
        """Put rows of a log on the timelines of this layout.

        Parameters
        ----------
        table : pl.DataFrame
            With `log`, `timeline`, `start_ms` and `stop_ms`.
        reach_ms : int
            How far from a recording a row of its site may lie to be put on its own timeline too.
        is_cut : bool
            Whether such rows are cut to that recording.

        Returns
        -------
        pl.DataFrame
            With `line`, and with times on that timeline; `number` is the recording where the log
            names one, whose end also ends the row. Rows that lie nowhere are missing, and those
            that have no times or end before they start; some are there several times.
        """
        start, stop = pl.col("start_ms"), pl.col("stop_ms")
        limit = pl.col("limit_ms").fill_null(_END)
        limited = pl.min_horizontal(stop, pl.max_horizontal(limit, start))
        placed = (
            table.filter(stop >= start)  # neither is null
            .join(self.lies_on, on=["log", "timeline"], maintain_order="left_right")
            .filter((start == stop) | (start < limit))
            .with_columns(start + pl.col("shift_ms"), limited + pl.col("shift_ms"))
            .drop("timeline", "shift_ms", "limit_ms")
        )
        parts = [placed]
        own = self.timelines.drop_nulls("beside").select("line", "beside")
        own = own.join(self.recordings.select("line", "start_ms", "stop_ms"), on="line")
        for (line,), some in own.group_by("beside", maintain_order=True):
            rows = placed.filter((pl.col("line") == line) & pl.col("number").is_null())
            windows = rows.select(start - reach_ms, pl.max_horizontal(stop, start + 1) + reach_ms)
            spans = some.select("start_ms", "stop_ms")
            for hits, which in sharing(spans.to_numpy(), windows.to_numpy(), _BLOCK):
                copies = rows[which].with_columns(some["line"][hits])
                if is_cut:
                    copies = copies.with_columns(
                        pl.max_horizontal(start, spans["start_ms"][hits]).alias("start_ms"),
                        pl.min_horizontal(stop, spans["stop_ms"][hits]).alias("stop_ms"),
                    )
                parts.append(copies)
        return pl.concat(parts)


def lay_out(
    recordings: pl.DataFrame,
    observations: pl.DataFrame,
    effort: pl.DataFrame,
    context: pl.DataFrame,
) -> Layout:
    """Find the timelines, and what lies on them.

    Sites are the same whatever their capitals and the blanks around them. A log without a site goes
    with every site, unless several were recording while it was kept; recordings without a site go
    with every log, unless two places were watched at a time.

    Parameters
    ----------
    recordings : pl.DataFrame
        As :data:`~oscine.behaviour.matching.RECORDINGS`.
    observations, effort, context : pl.DataFrame
        As in :mod:`oscine.behaviour.tables`.

    Returns
    -------
    Layout
    """
    without_rows = effort.with_columns(row=pl.lit(None, pl.Int64))
    sources = (
        pl.concat(
            one.select("log", "timeline", "row") for one in (observations, without_rows, context)
        )
        .group_by("log", "timeline", maintain_order=True)
        .agg(pl.col("row").min())
    )
    is_file = pl.col("timeline").str.starts_with(FILE)
    keyed = sources.filter(is_file).with_columns(key=pl.col("timeline").str.strip_prefix(FILE))
    paths = recordings["path"].to_list()
    matches = match_keys(keyed["key"].unique(maintain_order=True), paths)

    numbered = _numbered(recordings, matches.found.values())
    timelines = _timelines(numbered)
    numbered = numbered.join(
        timelines.select("own", "place", "line"),
        on=["own", "place"],
        how="left",
        maintain_order="left",
    )
    found = pl.DataFrame(
        list(matches.found.items()), schema={"key": pl.String, "number": pl.Int64}, orient="row"
    )
    dated = numbered.filter("is_dated")
    places, problems = places_of_sites(sources.filter(~is_file), effort, dated)
    of_sites = timelines.filter(pl.col("own") == _WITH_ITS_SITE)
    lies_on = pl.concat(
        (
            keyed.join(found, on="key")
            .join(numbered, on="number")
            .rename({"start_ms": "shift_ms", "duration_ms": "limit_ms"}),
            places.join(of_sites, on="place").with_columns(shift_ms=pl.lit(0, pl.Int64)),
        ),
        how="diagonal",
    )
    return Layout(
        timelines=timelines.select("line", "site", "path", "is_dated", "beside"),
        recordings=numbered.select(*recordings.columns, "stop_ms", "number", "is_dated", "line"),
        lies_on=lies_on.select("log", "timeline", "line", "number", "shift_ms", "limit_ms"),
        problems=(*_key_problems(keyed, matches, paths, _of_films(observations)), *problems),
    )


def _numbered(recordings: pl.DataFrame, named: Iterable[int]) -> pl.DataFrame:
    """Add to recordings their number, place, and `own`: the number of one with its own timeline.

    `start_ms` is 0 where it is not known.
    """
    sites = recordings["site"].fill_null("")
    places = {site: folded(site) for site in sites.unique()}
    start, stop, is_dated = pl.col("start_ms"), pl.col("stop_ms"), pl.col("is_dated")
    reached = stop.cum_max().shift(1).over("is_dated", "place")
    most = pl.min_horizontal(SLACK_MS, pl.col("duration_ms") // 2)
    follows = pl.min_horizontal(stop, reached) - start <= most
    is_named = pl.col("number").is_in(list(named))
    return (
        recordings.with_columns(pl.col("duration_ms").fill_null(0).clip(1))
        .with_columns(
            start.fill_null(0),
            number=pl.int_range(pl.len()),
            site=sites,
            place=sites.replace_strict(places, return_dtype=pl.String),
            is_dated=start.is_not_null(),
            stop_ms=start.fill_null(0) + pl.col("duration_ms"),
        )
        .sort("is_dated", "place", "start_ms", "stop_ms", "number", descending=_BY_START)
        .with_columns(chain=(reached.is_null() | follows | ~is_dated).cum_sum())
        .with_columns(is_beside=pl.len().over("is_dated", "place", "chain") > 1)
        .with_columns(
            own=pl.when(is_named & (~is_dated | pl.col("is_beside")))
            .then(pl.col("number"))
            .when(is_dated)
            .then(_WITH_ITS_SITE)
            .otherwise(_NOWHERE)
        )
        .sort("number")
    )


def _timelines(numbered: pl.DataFrame) -> pl.DataFrame:
    """List the timelines: those of places with dated recordings, then those of recordings."""
    site = pl.col("site").str.strip_chars()
    of_sites = (
        numbered.filter("is_dated")
        .group_by("place", maintain_order=True)
        .agg(site.first())
        .sort("place")
        .with_columns(own=pl.lit(_WITH_ITS_SITE, pl.Int64), path=pl.lit(""), is_dated=True)
    )
    columns = ["own", "place", "site", "path", "is_dated"]
    own = numbered.filter(pl.col("own") >= 0).with_columns(site)
    timelines = pl.concat([of_sites.select(columns), own.select(columns)])
    timelines = timelines.with_columns(line=pl.int_range(pl.len()))
    lines = of_sites.select("place", beside=pl.int_range(pl.len()))
    is_beside = pl.col("is_dated") & (pl.col("own") >= 0)
    return timelines.join(lines, on="place", how="left", maintain_order="left").with_columns(
        pl.when(is_beside).then("beside")
    )


def _of_films(observations: pl.DataFrame) -> set[str]:
    """Return the logs of which times count from the beginning of what they name."""
    in_files = pl.col("timeline").str.starts_with(FILE) & (pl.col("start_ms") > 0)
    return set(observations.filter(in_files)["log"])


def _key_problems(
    keyed: pl.DataFrame, matches: Matches, paths: Sequence[str], films: Collection[str]
) -> list[Problem]:
    """Tell which keys name no recording, by log, and which name several."""
    problems: list[Problem] = []
    for log, key, row in keyed.select("log", "key", "row").iter_rows():
        if several := matches.ambiguous.get(key):
            names = ", ".join(paths[number] for number in several[:_SHOWN])
            more = f" and {len(several) - _SHOWN} more" if len(several) > _SHOWN else ""
            what = f"{key!r} can mean {names}{more}: write the name of the file that is meant"
            problems.append(Problem(log=log, row=row or 0, kind="ambiguous", what=what))
    missing = keyed.filter(pl.col("key").is_in(matches.missing)).sort("row", "key")
    for (log,), rows in missing.group_by("log", maintain_order=True):
        names = ", ".join(
            f"{key!r} (row {row})" if row else repr(key)
            for key, row in rows.head(_SHOWN).select("key", "row").iter_rows()
        )
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        what = (
            f"no recording goes by {names}{more}: what was seen on them is not joined; the name of "
            "a recording must be the key, or begin with it and go on with neither letter nor digit"
        )
        if log in films:
            n_films = keyed["log"].eq(log).sum()
            what += f". Its times count from the beginning of a film: {way_to_say(n_films)}"
        # Its rows are read, and count where they state a time.
        row = rows["row"][0] or 0
        problems.append(Problem(log=str(log), row=row, kind="suspicious", what=what))
    return problems
