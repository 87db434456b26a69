"""Everything that is asked of the logs of a workspace, in order: clocks, join, what goes with what.

In come logs as they are kept, calls and recordings; out comes an :class:`Analysed`, from which
page, words and tables are made. The step `join` calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from oscine.behaviour.activity_offset import offset_from_activity
from oscine.behaviour.association import Association, associate
from oscine.behaviour.clocks import Clock, around, corrected, disagreements, fit_clock
from oscine.behaviour.context import Contexts, in_context
from oscine.behaviour.join import Joined, join
from oscine.behaviour.kept import AnalysisConfig, KeptLog, together
from oscine.behaviour.matching import marker_pairs, match_keys
from oscine.behaviour.neighbourhood import Neighbourhood, agreement
from oscine.behaviour.page import PageClock
from oscine.behaviour.sessions import Whole
from oscine.behaviour.showing import as_corrected, clock_of_activity, clock_of_markers
from oscine.behaviour.tables import FILE, SITE, Problem
from oscine.behaviour.words import ClockState, listed, offset_text, standing
from oscine.sound.clock import offset_minutes_at

UNKNOWN_MS = 2000.0
"""By how much observations are moved to see what depends on the clocks, where nothing tells how far
they were apart: two watches set by hand."""

MOST_NEIGHBOURS = 20_000
"""Calls whose neighbours are looked at; of more, so many drawn at random."""

Tell = Callable[[int, int, str], None]
Nearest = Callable[[Whole], Whole]
"""Takes numbers of calls [shape=(N,)] and returns, for each, rows of the most alike of other
recordings among them [shape=(N, k)], -1 for none."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ToldClock:
    """What is known of the clock of one log.

    Attributes
    ----------
    state : ClockState
    page : PageClock
    estimate : Clock or None
        By markers, or by calls and behaviour; None where they tell nothing.
    estimated_by : str
    ends : (Clock, Clock) or None
        The observer's clock at either end of what is known of it; None where it takes no part.
    problems : tuple of Problem
        Markers that contradict the others.
    """

    state: ClockState
    page: PageClock
    estimate: Clock | None
    estimated_by: Literal["markers", "activity"]
    ends: tuple[Clock, Clock] | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Analysed:
    """What came of the logs of a workspace.

    Attributes
    ----------
    joined : Joined
    observations : pl.DataFrame
        Of all logs, on the recorders' clock as far as it was corrected.
    association : Association
        Without what does not stand at the offsets.
    at_offsets : mapping of str to Association
        The same, at the ends of what is known of the clocks: had observations been where the key
        says.
    contexts : Contexts
    neighbourhood : Neighbourhood or None
        None where the calls have no vectors.
    clocks : list of ToldClock
        One a log.
    problems : tuple of Problem
        Of the join, of clocks and of reading.
    """

    joined: Joined
    observations: pl.DataFrame
    association: Association
    at_offsets: Mapping[str, Association]
    contexts: Contexts
    neighbourhood: Neighbourhood | None
    clocks: list[ToldClock]
    problems: tuple[Problem, ...]


def analyse(
    logs: Sequence[KeptLog],
    calls: pl.DataFrame,
    recordings: pl.DataFrame,
    config: AnalysisConfig,
    tell: Tell,
    nearest: Nearest | None = None,
) -> Analysed:
    """Join all logs with all calls and ask what goes with what.

    Parameters
    ----------
    logs : sequence of KeptLog
    calls : pl.DataFrame
        As :data:`oscine.behaviour.tables.CALLS`.
    recordings : pl.DataFrame
        As :data:`oscine.behaviour.matching.RECORDINGS`.
    config : AnalysisConfig
    tell : callable
        Told how far it is, how far it goes, and what is at hand.
    nearest : callable, optional

    Returns
    -------
    Analysed
    """
    tell(0, 6, "clocks")
    clocks = [tell_clock(kept, calls, recordings, config.seed) for kept in logs]
    tell(1, 6, "joining")
    as_joined = [kept.about.clock.clock for kept in logs]
    tables = _corrected(logs, as_joined)
    joined = join(calls, recordings, *tables, config.join)
    tell(2, 6, "what goes with what")
    association = _associated(joined, config)
    tell(3, 6, "what was measured, and neighbours")
    contexts = in_context(
        joined.sessions,
        utc_offset_min=_utc_offsets(joined, logs),
        n_permutations=config.permutations,
        seed=config.seed,
        alpha=config.false_discovery_rate,
    )
    neighbourhood = None
    if nearest is not None:
        heard = _some_calls(joined, config.seed)
        neighbourhood = agreement(
            joined.sessions,
            heard,
            nearest(heard),
            n_permutations=config.permutations or 999,
            seed=config.seed,
            alpha=config.false_discovery_rate,
        )
    at_offsets: dict[str, Association] = {}
    for end in range(2) if any(told.ends for told in clocks) else ():
        tell(4 + end, 6, "the same at an end of what is known of the clocks")
        at_end = [
            told.ends[end] if told.ends else clock
            for told, clock in zip(clocks, as_joined, strict=True)
        ]
        again = join(calls, recordings, *_corrected(logs, at_end), config.join)
        at_offsets[_moved(logs, at_end)] = _associated(again, config)
    tell(6, 6, "")
    return Analysed(
        joined=joined,
        observations=tables[0],
        association=standing(association, at_offsets),
        at_offsets=at_offsets,
        contexts=contexts,
        neighbourhood=neighbourhood,
        clocks=clocks,
        problems=(
            *joined.unmatched,  # first, for one of these may keep a whole log from being joined
            *(problem for told in clocks for problem in told.problems),
            *(problem for kept in logs for problem in kept.log.problems),
        ),
    )


def _some_calls(joined: Joined, seed: int) -> Whole:
    """Return the numbers of the observed calls, or of so many of them that are drawn."""
    numbers = [session.calls for session in joined.sessions]
    known = np.unique(np.concatenate([np.zeros(0, np.int64), *numbers]))
    if len(known) <= MOST_NEIGHBOURS:
        return known
    return np.sort(np.random.default_rng(seed).choice(known, MOST_NEIGHBOURS, replace=False))


def _utc_offsets(joined: Joined, logs: Sequence[KeptLog]) -> dict[str, float]:
    """Return how far the clocks of each session are ahead of UTC, in minutes."""
    zones = {kept.log.name: kept.log.config.timezone for kept in logs}
    offsets: dict[str, float] = {}
    for number, log in (
        joined.effort.drop_nulls("joined_session").select("joined_session", "log").iter_rows()
    ):
        session = joined.sessions[number]
        if session.is_dated and zones[log]:
            offsets[session.name] = offset_minutes_at(int(session.segments[0, 0]), zones[log])
    return offsets


def _corrected(
    logs: Sequence[KeptLog], clocks: Sequence[Clock | None]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return observations, effort and context of all logs, on the recorders' clock."""

    def table(kind: str) -> pl.DataFrame:
        of_logs = [
            corrected(getattr(kept.log, kind), clock)
            for kept, clock in zip(logs, clocks, strict=True)
        ]
        return together(of_logs, kind)

    return table("observations"), table("effort"), table("context")


def _associated(joined: Joined, config: AnalysisConfig) -> Association:
    return associate(
        joined.sessions,
        n_permutations=config.permutations,
        seed=config.seed,
        alpha=config.false_discovery_rate,
    )


def _moved(logs: Sequence[KeptLog], clocks: Sequence[Clock | None]) -> str:
    """Say where the observations of logs are with other clocks, beside where they were joined."""
    moved = {
        kept.log.name: offset_text(
            round(_ahead_ms(kept.about.clock.clock, at) - _ahead_ms(clock, at))
        )
        for kept, clock in zip(logs, clocks, strict=True)
        if clock != kept.about.clock.clock
        for at in [_middle_ms(kept.log.observations)]
    }
    if len(set(moved.values())) == 1:
        return next(iter(moved.values()))
    return listed([f"those of {name} {where}" for name, where in moved.items()])


def _ahead_ms(clock: Clock | None, at_ms: int) -> float:
    return 0.0 if clock is None else float(clock.ahead_ms(at_ms))


def tell_clock(
    kept: KeptLog, calls: pl.DataFrame, recordings: pl.DataFrame, seed: int
) -> ToldClock:
    """Tell how the observer's clock ran beside the recorder's, as the log stands.

    Markers come first: those that were given, and rows that name a recording and state a time.
    Where they give no interval, calls and behaviour are asked.

    Parameters
    ----------
    kept : KeptLog
    calls, recordings : pl.DataFrame
        As in :func:`analyse`.
    seed : int

    Returns
    -------
    ToldClock
    """
    log, declared = kept.log, kept.about.clock
    # A row that names its recording is joined by that; its time tells of the clock alone.
    timeline, row = pl.col("timeline"), pl.col("row")
    keys = timeline.str.strip_prefix(FILE)
    of_files = log.observations.filter(timeline.str.starts_with(FILE)).select(row, key=keys)
    matches = match_keys(of_files["key"].unique(), recordings["path"].to_list())
    named = of_files.filter(pl.col("key").is_in(list(matches.found)))["row"].unique()
    timed = log.observations.filter(timeline.str.starts_with(SITE) & ~row.is_in(named.implode()))
    has_times = recordings["start_ms"].is_not_null().any()
    is_needed = has_times and not timed.is_empty()
    pairs = marker_pairs(log.stated, recordings)
    marks = pl.concat(
        [
            kept.markers.with_columns(row=pl.lit(0, pl.Int64)),
            pairs.select("observer_ms", "recorder_ms", "row", marker="key").select(
                "observer_ms", "recorder_ms", "marker", "row"
            ),
        ]
    )
    problems: tuple[Problem, ...] = ()
    told: tuple[ClockState, PageClock] | None = None
    estimate, marked, has_interval = None, None, False
    estimated_by: Literal["markers", "activity"] = "markers"
    if len(marks):
        observer, recorder = marks["observer_ms"].to_numpy(), marks["recorder_ms"].to_numpy()
        fit = fit_clock(observer, recorder, log_ms=_ends_ms(log.observations))
        names = marks["marker"].to_list()
        told = clock_of_markers(
            log.name,
            fit,
            observer,
            recorder,
            names,
            is_needed=is_needed,
        )
        estimate = marked = None if fit.is_by_construction else fit.clock
        has_interval = fit.uncertainty_ms is not None
        problems = tuple(
            Problem(log=log.name, row=one.row, kind="suspicious", what=one.sentence)
            for one in disagreements(observer, recorder, rows=marks["row"].to_list(), markers=names)
        )
    if is_needed and not has_interval:
        calls, observations, effort = _at_one_place(calls, log.observations, log.effort)
        activity = offset_from_activity(calls, observations, effort, seed=seed)
        state, page = clock_of_activity(log.name, activity, is_needed=is_needed)
        if told is None:
            told = state, page
        else:  # markers that cannot tell the interval are shown with what calls and behaviour say
            told = (
                told[0],
                PageClock(
                    log=log.name,
                    said=[*told[1].said, *page.said],
                    residuals=told[1].residuals,
                    correlogram=page.correlogram,
                ),
            )
        if estimate is None:
            estimate, estimated_by = activity.clock, "activity"
    if told is None:
        state = ClockState(log=log.name, is_needed=False, source="none")
        if named.is_empty():
            said = "None of its rows is joined, so the clocks take no part."
        elif timed.is_empty():
            said = "All that is joined is joined by names of recordings: the clocks take no part."
        else:
            said = (
                "Rows are joined by names of recordings alone, as no recording has a time: the "
                "clocks take no part."
            )
        told = state, PageClock(log=log.name, said=[said])
    if declared.is_corrected:
        told = as_corrected(*told, declared, estimate, estimated_by, _middle_ms(log.observations))
    return ToldClock(
        state=replace(told[0], has_points=not timed.filter(~pl.col("is_state")).is_empty()),
        page=told[1],
        estimate=estimate,
        estimated_by=estimated_by,
        ends=_ends(told[0], declared.clock or marked) if is_needed else None,
        problems=problems,
    )


def _ends(told: ClockState, clock: Clock | None) -> tuple[Clock, Clock]:
    """Return the clock at either end of what is known of it, farthest ahead first.

    What calls and behaviour tell may come of animals that call before or after the act. So where
    their interval reaches into what any two watches may be apart, it is that.
    """
    if told.source == "activity" and not told.is_applied and told.interval_ms is not None:
        low, high = told.interval_ms
        if low <= UNKNOWN_MS and high >= -UNKNOWN_MS:
            low, high = -UNKNOWN_MS, UNKNOWN_MS
        return Clock(offset_ms=high), Clock(offset_ms=low)
    within_ms = UNKNOWN_MS if told.uncertainty_ms is None else told.uncertainty_ms
    early, _, late = around(clock or Clock(offset_ms=0.0), within_ms)
    return early, late


def _at_one_place(
    calls: pl.DataFrame, observations: pl.DataFrame, effort: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Leave sites out where only the log, or only the archive, names any."""
    if _names_sites(observations) and calls["site"].fill_null("").ne("").any():
        return calls, observations, effort
    timeline = pl.col("timeline")
    anywhere = pl.when(timeline.str.starts_with(SITE)).then(pl.lit(SITE)).otherwise(timeline)
    return (
        calls.with_columns(site=pl.lit("")),
        observations.with_columns(timeline=anywhere),
        effort.with_columns(timeline=anywhere),
    )


def _names_sites(observations: pl.DataFrame) -> bool:
    timelines = observations["timeline"].unique()
    return any(one.startswith(SITE) and one != SITE for one in timelines)


def _middle_ms(observations: pl.DataFrame) -> int:
    """Return the middle of a log on the observer's clock; 0 where it has no times."""
    ends = _ends_ms(observations)
    return 0 if ends is None else sum(ends) // 2


def _ends_ms(observations: pl.DataFrame) -> tuple[int, int] | None:
    """Return the first and the last time of a log on the observer's clock."""
    dated = observations.filter(pl.col("timeline").str.starts_with(SITE))
    if dated.is_empty():
        return None
    first, last = dated["start_ms"].min(), dated["stop_ms"].max()
    assert isinstance(first, int)
    assert isinstance(last, int)
    return first, last
