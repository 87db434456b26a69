"""What logs, clocks, the join and its statistics gave, as the values that page and words take.

In come the results of this room's modules; out go the plain values of
:mod:`oscine.behaviour.words` and :mod:`oscine.behaviour.page`. Called by the step that joins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from oscine.behaviour.activity_offset import ActivityOffset
from oscine.behaviour.association import Association
from oscine.behaviour.clocks import Clock, ClockFit, length
from oscine.behaviour.context import HOUR, Contexts
from oscine.behaviour.drawings import PageSession
from oscine.behaviour.join import Joined
from oscine.behaviour.kept import ClockConfig
from oscine.behaviour.log import Log
from oscine.behaviour.neighbourhood import Neighbourhood
from oscine.behaviour.page import Correlogram, PageClock, PageContext, PageLikeness, PageLog
from oscine.behaviour.parts import FIRST_TO_LAST
from oscine.behaviour.sessions import Session, Whole
from oscine.behaviour.sites import folded
from oscine.behaviour.words import ClockSource, ClockState, Evidence, ahead_text
from oscine.sound.clock import zone_of

_HOUR_MS = 3_600_000


def evidence_of(
    joined: Joined,
    association: Association,
    *,
    tolerance_ms: int,
    clocks: Sequence[ClockState] = (),
    at_offsets: Mapping[str, Association] | None = None,
    names: Mapping[int, str] | None = None,
    looks: Mapping[int, str] | None = None,
    has_subjects: bool = False,
) -> Evidence:
    """Gather what the words rest on.

    Parameters
    ----------
    joined : Joined
    association : Association
        Of its sessions.
    tolerance_ms : int
    clocks : sequence of ClockState
    at_offsets : mapping of str to Association, optional
        Of the join with observations where the key says.
    names, looks : mapping of int to str, optional
        Names of sound types; band and length of each.
    has_subjects : bool
        Whether a log names individuals.

    Returns
    -------
    Evidence
    """
    statuses = dict(joined.calls.group_by("status").len().iter_rows())
    sources = _sources(joined)
    return Evidence(
        association=association,
        n_unobserved=statuses.get("unobserved", 0),
        n_elsewhere=statuses.get("no log", 0),
        n_timeless=statuses.get("no time", 0),
        n_subjects=_n_subjects(joined.sessions),
        has_subjects=has_subjects,
        pooled_hours=joined.pooled_h,
        guessed_hours=sum(
            session.duration_ms / _HOUR_MS
            for number, session in enumerate(joined.sessions)
            if sources[number] == FIRST_TO_LAST
        ),
        tolerance_ms=tolerance_ms,
        at_offsets=at_offsets or {},
        clocks=clocks,
        names=names or {},
        looks=looks or {},
    )


def page_log(log: Log, joined: Joined) -> PageLog:
    """Say what a log holds, and what became of it in the join."""
    effort = joined.effort.filter(pl.col("log") == log.name)
    numbers = effort["joined_session"].drop_nulls().unique().sort().to_list()
    sessions = [joined.sessions[number] for number in numbers]
    used = log.observations["row"].unique()
    unread = {one.row for one in log.problems if one.row and one.kind != "suspicious"}
    seen = joined.observed.filter(pl.col("log") == log.name)
    named = {who for who in log.observations["subject"].unique() if who}
    return PageLog(
        name=log.name,
        kind=log.config.format or "table",
        n_rows=log.n_rows,
        n_used=len(used),
        n_unread=len(unread - set(used)),
        n_points=int(seen["n_points"].sum()),
        n_states=int(seen["n_states"].sum()),
        n_whole=int(seen["n_whole"].sum()),
        n_nowhere=int(seen["n_nowhere"].sum()),
        n_recordings=joined.named.get(log.name, 0),
        n_measured=len(log.context),
        n_calls=sum(len(session.calls) for session in sessions),
        n_sessions=len(sessions),
        n_subjects=len(named & _subjects(sessions)),
        hours=sum(session.duration_ms for session in sessions) / _HOUR_MS,
        effort=_kinds(effort["sources"]),
        timezone=log.config.timezone,
        sites=[site for site in effort["site"].unique().sort().to_list() if site],
        guessed=log.guessed,
        settings=[
            (one.name, _joined(value) if isinstance(value, tuple) else str(value))
            for one in fields(log.config)
            if (value := getattr(log.config, one.name)) not in ("", (), 0)
        ],
        problems=[*log.problems, *(one for one in joined.unmatched if one.log == log.name)],
    )


def page_sessions(joined: Joined, timezones: Mapping[str, str]) -> list[PageSession]:
    """Return the sessions with the calls that nobody was there for.

    Parameters
    ----------
    joined : Joined
    timezones : mapping of str to str
        Of each log: the zone in which its times are written; UTC where there is none.

    Returns
    -------
    list of PageSession
        In the order of the join.
    """
    sources = _sources(joined)
    of_sessions = joined.effort.drop_nulls("joined_session").sort("joined_session", "log")
    first = {
        row["joined_session"]: row
        for row in of_sessions.unique("joined_session", keep="first").iter_rows(named=True)
    }
    unobserved = joined.calls.filter(pl.col("status") == "unobserved")
    by_site = _starts_by(
        [folded(site or "") for site in unobserved["site"]], unobserved["start_ms"]
    )
    by_path = _starts_by(unobserved["path"], unobserved["start_ms"])
    by_file = _starts_by(unobserved["path"], unobserved["file_start_ms"])
    has_sites = joined.calls["site"].fill_null("").str.strip_chars().ne("").any()
    shown: list[PageSession] = []
    for number, session in enumerate(joined.sessions):
        row = first[number]
        if row["path"]:
            starts = (by_path if session.is_dated else by_file).get(row["path"])
        else:
            # Where no recording has a site, that of a session is as the log states it.
            starts = by_site.get(folded(session.site) if has_sites else "")
        ends = session.segments[0, 0], session.segments[:, 1].max()
        nearby = np.zeros(0, np.int64)
        if starts is not None:
            nearby = starts[slice(*np.searchsorted(starts, ends))]
        timezone = timezones.get(row["log"], "")
        shown.append(
            PageSession(
                session=session,
                source=sources[number],
                zone=zone_of(timezone) if timezone else UTC,
                unobserved_ms=nearby,
            )
        )
    return shown


def page_context(found: Contexts, sessions: Sequence[Session]) -> list[PageContext]:
    """Say where sound types stand in what was measured."""
    subjects = {
        name: _n_subjects(session for session in sessions if name in session.contexts)
        for name in {one.context for one in found.standings}
    }
    subjects[HOUR] = _n_subjects(session for session in sessions if session.is_dated)
    return [
        PageContext(
            sound_type=one.sound_type,
            value=one.context,
            at_calls=one.mean_at_calls,
            over_effort=one.mean_over_effort,
            compared=one.mean_compared,
            by_chance=one.mean_by_chance,
            test=one.test,
            difference=one.difference,
            low=one.low,
            high=one.high,
            deviations=None if one.difference is None else one.difference / one.deviation,
            p=one.p,
            q=one.q,
            from_calls=one.from_calls,
            from_calls_q=one.from_calls_q,
            why=one.why,
            n_calls=one.n_calls,
            n_sessions=one.n_sessions,
            n_subjects=subjects[one.context],
            hours=one.hours,
        )
        for one in found.standings
    ]


def page_likenesses(found: Neighbourhood, sessions: Sequence[Session]) -> list[PageLikeness]:
    """Say whether calls that sound alike go with the same."""
    shown: list[PageLikeness] = []
    for one in found.likenesses:
        watched = [session for session in sessions if one.behaviour in session.behaviours]
        shown.append(
            PageLikeness(
                behaviour=one.behaviour,
                n_pairs=one.n_pairs,
                both=one.both,
                by_chance=one.by_chance,
                times_chance=one.times_chance,
                p=one.p,
                q=one.q,
                why=one.why,
                n_calls=one.n_calls,
                n_sessions=one.n_sessions,
                n_subjects=_n_subjects(watched),
                hours=sum(session.duration_ms for session in watched) / _HOUR_MS,
            )
        )
    return shown


def clock_of_markers(
    log: str,
    fit: ClockFit,
    observer_ms: ArrayLike,
    recorder_ms: ArrayLike,
    markers: Sequence[str],
    *,
    is_needed: bool,
) -> tuple[ClockState, PageClock]:
    """Say what markers told of a clock.

    Parameters
    ----------
    log : str
    fit : ClockFit
        From these times.
    observer_ms, recorder_ms : array of int [shape=(N,)]
    markers : sequence of N str
    is_needed : bool
        Whether anything of the log was joined by time.
    """
    observer, recorder = np.asarray(observer_ms, np.int64), np.asarray(recorder_ms, np.int64)
    off_ms = observer - recorder - fit.clock.ahead_ms(observer)
    hours = (observer - observer.min()) / _HOUR_MS
    state = ClockState(
        log=log,
        is_needed=is_needed,
        source="markers",
        offset_ms=fit.middle.offset_ms,
        uncertainty_ms=fit.uncertainty_ms,
        drift_ppm=fit.drift_ppm,
        is_by_construction=fit.is_by_construction,
        n_markers=fit.n_pairs,
        n_markers_used=fit.n_pairs - len(fit.left_out),
    )
    residuals = list(zip(hours.tolist(), off_ms.tolist(), markers, strict=True))
    return state, PageClock(log=log, said=fit.words(), residuals=residuals)


def clock_of_activity(
    log: str, found: ActivityOffset, *, is_needed: bool
) -> tuple[ClockState, PageClock]:
    """Say what calls and behaviour told of a clock; as :func:`clock_of_markers`."""
    state = ClockState(
        log=log,
        is_needed=is_needed,
        source="none" if found.offset is None else "activity",
        offset_ms=None if found.offset is None else found.offset.offset_ms,
        uncertainty_ms=found.uncertainty_ms,
        interval_ms=None if found.offset is None else found.offset.interval_ms,
    )
    correlogram = None
    if len(found.lags_ms) and found.height_by_chance is not None and found.peak_ms is not None:
        correlogram = Correlogram(
            lags_ms=found.lags_ms.tolist(),
            heights=found.heights.tolist(),
            height_by_chance=found.height_by_chance,
            peak_ms=found.peak_ms,
        )
    return state, PageClock(log=log, said=found.words(), correlogram=correlogram)


def as_corrected(
    told: ClockState,
    page: PageClock,
    declared: ClockConfig,
    estimate: Clock | None,
    estimated_by: ClockSource,
    middle_ms: int,
) -> tuple[ClockState, PageClock]:
    """Say by what a log was corrected, beside what is told of its clock.

    Parameters
    ----------
    told : ClockState
    page : PageClock
    declared : ClockConfig
    estimate : Clock or None
        What markers, or calls and behaviour, tell; None where they tell nothing.
    estimated_by : str
    middle_ms : int
        Of the log: where offsets are given and compared.
    """
    clock = declared.clock
    if clock is None:
        raise ValueError(f"the clock of {told.log} was not corrected")
    offset_ms = float(clock.ahead_ms(middle_ms))
    uncertainty_ms = declared.uncertainty_ms or None
    instead = None
    if estimate is not None and abs(estimate.ahead_ms(middle_ms) - offset_ms) >= 1:
        instead = replace(told, source=estimated_by, offset_ms=float(estimate.ahead_ms(middle_ms)))
    state = replace(
        told,
        source=declared.source,
        offset_ms=offset_ms,
        uncertainty_ms=uncertainty_ms,
        interval_ms=None,
        drift_ppm=clock.drift_ppm,
        is_applied=True,
        instead=instead,
    )
    whence = "as declared" if declared.source == "declared" else "as this tells"
    surely = "" if uncertainty_ms is None else f" (± {length(uncertainty_ms)})"
    said = (
        f"Its times were corrected, {whence}: the observer's clock {ahead_text(offset_ms)}{surely}."
    )
    return state, replace(page, said=[*page.said, said])


def _n_subjects(sessions: Iterable[Session]) -> int:
    return len(_subjects(sessions))


def _subjects(sessions: Iterable[Session]) -> set[str]:
    """Return the individuals that were told apart."""
    return {who for session in sessions for _, who in session.of_subjects if who}


def _sources(joined: Joined) -> list[str]:
    """Return where the hours of each session are from."""
    of_sessions = joined.effort.drop_nulls("joined_session").group_by("joined_session")
    by_number = {number: _kinds(group["sources"]) for (number,), group in of_sessions}
    return [by_number[number] for number in range(len(joined.sessions))]


def _kinds(sources: pl.Series) -> str:
    """Write each kind of source once."""
    return ", ".join(sorted({kind for one in sources for kind in one.split(", ")}))


def _starts_by(keys: Sequence[str] | pl.Series, starts: pl.Series) -> dict[str, Whole]:
    """Group times by what they belong to; each group ascending."""
    table = pl.DataFrame({"key": keys, "start": starts}, schema_overrides={"key": pl.String})
    table = table.drop_nulls().sort("start")
    return {
        str(key): group["start"].to_numpy()
        for (key,), group in table.partition_by("key", as_dict=True, include_key=False).items()
    }


def _joined(values: Sequence[str]) -> str:
    return ", ".join(map(str, values))
