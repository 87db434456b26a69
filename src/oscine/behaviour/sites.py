"""Which place is meant by the site of a log.

In come the sites of logs, when they were kept, and the recordings that have a time; out comes the
place whose recordings go with each log, or why there is none.
:mod:`oscine.behaviour.timelines` lays out logs by it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from oscine.behaviour.sessions import Whole
from oscine.behaviour.spans import cut, length_ms, merged
from oscine.behaviour.tables import SITE, Problem, ProblemKind

SLACK_MS = 2000
"""Recordings that follow each other may overlap by so much, and by half of the later one: their
times are often whole seconds."""

_NO_SPANS = np.zeros((0, 2), np.int64)


def folded(site: str) -> str:
    """Return a site, or the timeline of one, as it is compared."""
    return site.removeprefix(SITE).strip().casefold()


def places_of_sites(
    sources: pl.DataFrame, effort: pl.DataFrame, dated: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[Problem, ...]]:
    """Find the places that are meant by the sites of logs.

    Parameters
    ----------
    sources : pl.DataFrame
        `log`, `timeline` and first `row` of the timelines of sites.
    effort : pl.DataFrame
        As :data:`~oscine.behaviour.tables.EFFORT`.
    dated : pl.DataFrame
        `place` (as :func:`folded`), `site`, `start_ms` and `stop_ms` of recordings.

    Returns
    -------
    places : pl.DataFrame
        `log`, `timeline`, `place`; several places for a log without a site.
    problems : tuple of Problem
    """
    where = _Where(
        sites={place: site.strip() for place, site in dated.select("place", "site").iter_rows()},
        recorded={place: spans for (place,), spans in _spans_by(dated, "place").items()},
        watched=_spans_by(effort, "log", "timeline"),
    )
    rows: list[tuple[str, str, str]] = []
    problems: list[Problem] = []
    for log, timeline, row in sources.select("log", "timeline", "row").iter_rows():
        found, kind, what = where.meant(log, timeline)
        rows += [(log, timeline, place) for place in found]
        # Without a time of any recording it is nothing of that row, nor of that site.
        problem = Problem(log=log, row=row or 0 if where.recorded else 0, kind=kind, what=what)
        if what and problem not in problems:
            problems.append(problem)
    schema = {"log": pl.String, "timeline": pl.String, "place": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row"), tuple(problems)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Where:
    """Where there were recordings and observers, and when.

    Attributes
    ----------
    sites : mapping of str to str
        How the recordings spell each place.
    recorded : mapping of str to np.ndarray of int64 [shape=(M, 2)]
        By place.
    watched : mapping of (log, timeline) to np.ndarray of int64 [shape=(M, 2)]
    """

    sites: Mapping[str, str]
    recorded: Mapping[str, Whole]
    watched: Mapping[tuple[str, ...], Whole]

    def meant(self, log: str, timeline: str) -> tuple[list[str], ProblemKind, str]:
        """Return the places that are meant, and what is to be said of that."""
        place = folded(timeline)
        if not self.recorded:
            return (
                [],
                "unread",
                "no recording has a time, so that nothing can be joined by time: give their zone "
                "to oscine index with --timezone, or a column that names recordings (--marker)",
            )
        if place in self.recorded and (place or len(self.recorded) == 1):
            return [place], "suspicious", ""
        if not place:
            return self._anywhere(self.watched.get((log, timeline), _NO_SPANS))
        site = timeline.removeprefix(SITE).strip()
        if set(self.recorded) == {""}:
            return self._unnamed(site)
        near = difflib.get_close_matches(place, self.recorded, n=1)
        hint = f"did you mean {self.sites[near[0]]!r}?" if near else "give the right one (--site)"
        sites = _listed(self.sites.values())
        return [], "unread", f"nothing was recorded at {site!r}, but at {sites}: {hint}"

    def _anywhere(self, watched: Whole) -> tuple[list[str], ProblemKind, str]:
        """Take a log without a site for every place, unless it can be of one only."""
        heard = {place: cut(spans, watched)[2] for place, spans in self.recorded.items()}
        if not _are_simultaneous(list(heard.values())):
            return list(heard), "suspicious", ""
        sites = _listed(self.sites[place] for place, spans in heard.items() if len(spans))
        return (
            [],
            "ambiguous",
            f"the log says no site, and while it was kept, {sites} were recorded at a time: give "
            "its site with --site",
        )

    def _unnamed(self, site: str) -> tuple[list[str], ProblemKind, str]:
        """Take recordings without a site to be where somebody watched, unless that is nonsense."""
        by_place: dict[str, list[Whole]] = {}
        for (_, timeline), spans in self.watched.items():
            by_place.setdefault(folded(timeline), []).append(spans)
        by_place.pop("", None)
        if _are_simultaneous([merged(np.concatenate(spans)) for spans in by_place.values()]):
            return (
                [],
                "ambiguous",
                "the recordings say no site, and several were watched at a time: tell that of the "
                "recordings to oscine index with --site-from",
            )
        return (
            [""],
            "suspicious",
            f"the recordings say no site: they are taken for those of {site!r} while it was "
            "watched; if they are not, tell theirs to oscine index with --site-from",
        )


def _spans_by(table: pl.DataFrame, *columns: str) -> dict[tuple[str, ...], Whole]:
    """Return the union of the times of each group."""
    groups = table.drop_nulls(["start_ms", "stop_ms"]).group_by(*columns, maintain_order=True)
    return {
        tuple(map(str, key)): merged(rows.select("start_ms", "stop_ms").to_numpy())
        for key, rows in groups
    }


def _are_simultaneous(spans: Sequence[Whole]) -> bool:
    """Tell whether one of some sets of intervals shares time with another."""
    every = np.concatenate([_NO_SPANS, *spans])
    return length_ms(every) - length_ms(merged(every)) > SLACK_MS


def _listed(sites: Iterable[str]) -> str:
    return " and ".join(repr(site) for site in sites) if (sites := sorted(sites)) else "no site"
