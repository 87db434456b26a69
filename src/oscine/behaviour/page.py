"""What was heard joined with what was seen, as one HTML file.

Plain frozen values come in, a file goes out that needs no network and nothing beside it. What can
be said comes first, then what it rests on: logs, clocks, pairs with their intervals, sessions.
Called by the step that joins.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from importlib.resources import files
from string import Template

import numpy as np
from numpy.typing import NDArray

from oscine.atlas.figures import Axis, Curve, Sign, axis_from, curve_chart
from oscine.atlas.pictures import (
    Box,
    PageExemplar,
    asset,
    count_text,
    sound_figure,
    summary_items,
    write_html,
)
from oscine.behaviour.association import Pair
from oscine.behaviour.clocks import hours_text
from oscine.behaviour.drawings import PageSession, RatioScale, strip, when_text
from oscine.behaviour.ratios import MOST_DETECTABLE
from oscine.behaviour.tables import Problem
from oscine.behaviour.words import (
    NONE,
    Evidence,
    alpha_text,
    findings,
    is_below,
    limits,
    listed,
    name_warnings,
    no_finding,
    offset_text,
    p_text,
    ratio_text,
    type_text,
    verdict,
)

OPEN_ROWS = 20
OPEN_SENTENCES = 8
OPEN_STRIPS = 12
OPEN_PAIRS = 60
"""Pairs up to which all tables stand open; of more, the first in which something was found."""
STEEP = 3.0
"""Doublings from which the colour of a ratio grows no stronger."""
LONG_CELL = 48
"""Characters from which a cell of a table is wrapped."""
WRAPPED, UNTESTED = ' class="text"', ' class="untested"'
COUNTS = ("Calls", "Sessions", "Individuals", "Watched")
"""What every row of pairs, logs and sessions rests on."""
MOST = "Most of one session, individual"
NUMBER = re.compile(r"(<b>)?([-+−\d.,<∞–e ]|h|min|m?s)+(</b>)?")
SIGN = Sign(shape="circle", tint="blue")


@dataclass(frozen=True, kw_only=True, slots=True)
class PageLog:
    """A log and what came of it.

    Attributes
    ----------
    name : str
    kind : str
        What it was read as.
    n_rows, n_used, n_unread : int
        Rows of the file (0: not known); those that tell what was seen; those that could not be
        read without doubt. The others say that nothing was seen, or that it ended.
    n_points, n_states, n_whole, n_nowhere : int
        Observations that were made of them: instants and what lasted, by their times; those that
        hold for the whole of a recording that their row names; those without a recording or site.
    n_recordings : int
        That the archive has of those that it names.
    n_measured : int
        Measured values.
    n_calls, n_sessions, n_subjects : int
        Calls heard while it was kept, and individuals seen then, 0 where they were not told apart.
    hours : float
        Watched.
    effort : str
        Where the hours are from.
    timezone : str
    sites : sequence of str
    guessed : sequence of str
        What was guessed of how it is to be read, and why.
    settings : sequence of (str, str)
        All that it was read with.
    problems : sequence of Problem
    """

    name: str
    kind: str
    n_rows: int
    n_used: int
    n_unread: int
    n_points: int
    n_states: int
    n_whole: int
    n_nowhere: int
    n_recordings: int
    n_measured: int
    n_calls: int
    n_sessions: int
    n_subjects: int
    hours: float
    effort: str
    timezone: str
    sites: Sequence[str] = ()
    guessed: Sequence[str] = ()
    settings: Sequence[tuple[str, str]] = ()
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Correlogram:
    """How closely calls and observations come together at each lag.

    Attributes
    ----------
    lags_ms : sequence of float
        Positive where the observer's clock is ahead.
    heights : sequence of float
        In standard deviations under shifts.
    height_by_chance : float
        What the highest exceeds by chance in 1 % of cases.
    peak_ms : float
    """

    lags_ms: Sequence[float]
    heights: Sequence[float]
    height_by_chance: float
    peak_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PageClock:
    """The clocks of one log: what is said of them, and what it was told from.

    Attributes
    ----------
    log : str
    said : sequence of str
        Sentences.
    residuals : sequence of (float, float, str)
        Of markers: hours since the first, ms by which the log is ahead of the fit, and name.
    correlogram : Correlogram or None
    """

    log: str
    said: Sequence[str]
    residuals: Sequence[tuple[float, float, str]] = ()
    correlogram: Correlogram | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PageContext:
    """A sound type and a value that was measured: what it is when the type is heard.

    Attributes
    ----------
    sound_type : int
    value : str
        What was measured.
    at_calls, over_effort : float or None
        Its mean at calls of the type, and over all time for which it is known, in the unit of the
        log.
    compared, by_chance, difference, low, high : float or None
        As in :class:`oscine.behaviour.context.Standing`. None where not tested.
    test : str
    deviations : float or None
        The difference in standard deviations of the value.
    p, q : float or None
    from_calls, from_calls_q : float or None
        The difference from calls of all types.
    why : str
        Why it was not tested; else empty.
    n_calls, n_sessions, n_subjects : int
    hours : float
        For which the value is known.
    """

    sound_type: int
    value: str
    at_calls: float | None
    over_effort: float | None
    compared: float | None
    by_chance: float | None
    test: str
    difference: float | None
    low: float | None
    high: float | None
    deviations: float | None
    p: float | None
    q: float | None
    from_calls: float | None
    from_calls_q: float | None
    why: str
    n_calls: int
    n_sessions: int
    n_subjects: int
    hours: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PageLikeness:
    """Whether calls that sound alike have a behaviour in common, without sound types.

    Attributes
    ----------
    behaviour : str
    n_pairs : int
        Of a call and a neighbour from another session.
    both, by_chance : float or None
        Share of the pairs in which both go with it, and what that would be by chance.
    times_chance : float or None
    p, q : float or None
    why : str
        Why it was not tested; else empty.
    n_calls, n_sessions, n_subjects : int
    hours : float
    """

    behaviour: str
    n_pairs: int
    both: float | None
    by_chance: float | None
    times_chance: float | None
    p: float | None
    q: float | None
    why: str
    n_calls: int
    n_sessions: int
    n_subjects: int
    hours: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JoinPage:
    """Everything that the page shows.

    Attributes
    ----------
    title : str
    evidence : Evidence
    logs : sequence of PageLog
    clocks : sequence of PageClock
    context : sequence of PageContext
    neighbourhood : sequence of PageLikeness
    neighbourhood_p : float or None
        Of all its behaviours together.
    sessions : sequence of PageSession
        In the order in which they are shown.
    methods : str
        Paragraphs, apart by an empty line.
    exemplars : mapping of int to (PageExemplar, Box or None)
        A sound of each type that can be heard.
    band_hz : np.ndarray [shape=(F,)]
        Centre frequency of each band of their spectrograms, ascending.
    files : sequence of (str, str)
        Tables written beside the page, and what is in them.
    notes : sequence of str
        Sentences that a reader should know of.
    """

    title: str
    evidence: Evidence
    logs: Sequence[PageLog]
    sessions: Sequence[PageSession]
    methods: str
    clocks: Sequence[PageClock] = ()
    context: Sequence[PageContext] = ()
    neighbourhood: Sequence[PageLikeness] = ()
    neighbourhood_p: float | None = None
    exemplars: Mapping[int, tuple[PageExemplar, Box | None]] = field(default_factory=dict)
    band_hz: NDArray[np.floating] = field(default_factory=lambda: np.zeros(0))
    files: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()


def write_join(path: str | os.PathLike[str], page: JoinPage) -> None:
    """Write the page as one HTML file that needs no network; it appears whole or not at all.

    The same page gives the same bytes.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    script = asset("playing.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    sections = [
        ("answer", "What can be said, and what cannot", _answer(page)),
        ("logs", "What was joined", _logs(page)),
        ("pairs", "Sound types and behaviours", _pairs(page.evidence)),
        ("reverse", "Given the behaviour: which sound", _reverse(page.evidence)),
        ("context", "What was measured when a sound is heard", _context(page)),
        ("neighbourhood", "Without sound types: do calls that sound alike go alike", _alike(page)),
        ("clocks", "Clocks", _clocks(page)),
        ("sessions", "Sessions", _sessions(page)),
        ("problems", "Rows to look at", _problems(page)),
        ("methods", "Methods", _methods(page)),
    ]
    shown = [section for section in sections if section[2]]
    html = Template(_own("join.html")).substitute(
        title=escape(page.title),
        style=asset("page.css") + asset("similar.css") + asset("figures.css") + _own("join.css"),
        summary=_summary(page),
        contents="".join(
            f'<li><a class="chip" href="#{name}">{heading}</a></li>' for name, heading, _ in shown
        ),
        sections="".join(
            f'<section id="{name}" aria-labelledby="{name}-heading">'
            f'<h2 id="{name}-heading">{heading}</h2>{body}</section>'
            for name, heading, body in shown
        ),
        script=script,
        script_hash=f"sha256-{digest}",
    )
    write_html(path, html)


def _own(name: str) -> str:
    """Return the text of a template or style of this room."""
    return (files("oscine.behaviour") / name).read_text(encoding="utf-8")


def _summary(page: JoinPage) -> str:
    evidence = page.evidence
    types = {pair.sound_type for pair in evidence.pairs}
    behaviours = {pair.behaviour for pair in evidence.pairs}
    return summary_items(
        [
            ("Watched", hours_text(evidence.association.hours)),
            ("Sessions", f"{evidence.association.n_sessions:,}"),
            (
                "Individuals",
                f"{evidence.n_subjects:,}"
                if evidence.n_subjects
                else "none in these hours"
                if evidence.has_subjects
                else "not told apart",
            ),
            ("Calls while somebody watched", f"{evidence.association.n_calls:,}"),
            ("Calls unobserved", f"{evidence.n_unobserved:,}"),
            ("Sound types × behaviours", f"{len(types):,} × {len(behaviours):,}"),
            ("Pairs tested", f"{len(evidence.tested):,} of {len(evidence.pairs):,}"),
            ("Rows to look at", f"{sum(len(log.problems) for log in page.logs):,}"),
        ]
    )


# --- What can be said ----------------------------------------------------------------------


def _answer(page: JoinPage) -> str:
    evidence = page.evidence
    said, left = findings(evidence), limits(evidence)
    behaviours = list(dict.fromkeys(pair.behaviour for pair in evidence.pairs))
    cannot = [_sentence(limit.sentence, limit.leaves) for limit in left]
    can = [
        f"<li>{escape(finding.sentence)}"
        + "".join(f'<span class="warning">{escape(one)}</span>' for one in finding.warnings)
        + "</li>"
        for finding in said
    ]
    cautions = [*name_warnings(evidence.names, behaviours), *page.notes]
    heard = dict.fromkeys(finding.pair.sound_type for finding in said)
    sounds = "".join(_exemplar(kind, page) for kind in heard if kind in page.exemplars)
    return (
        f'<p class="verdict">{escape(verdict(evidence))}</p>'
        '<div class="sides"><div><h3>What can be said</h3>'
        '<p class="hint">‘Goes with’ is not ‘means’: a call and a behaviour come together more '
        "often than by chance. Why they do is not seen here.</p>"
        + (_list(can, "findings") or f"<p>{escape(no_finding(evidence))}</p>")
        + "</div><div><h3>What cannot be said, and why</h3>"
        + (_list(cannot, "reasons") or "<p>No rule speaks against what is said.</p>")
        + "</div></div>"
        + (f'<div class="alike"><div class="exemplars">{sounds}</div></div>' if sounds else "")
        + (
            f"<h3>Look at</h3>{_list([_sentence(one) for one in cautions], 'notes')}"
            if cautions
            else ""
        )
    )


def _sentence(sentence: str, kind: str = "") -> str:
    return f'<li class="{kind}">{escape(sentence)}</li>' if kind else f"<li>{escape(sentence)}</li>"


def _exemplar(kind: int, page: JoinPage) -> str:
    exemplar, box = page.exemplars[kind]
    name = escape(type_text(kind, page.evidence.names))
    return sound_figure(exemplar, box, page.band_hz, [f"<b>{name}</b>", escape(exemplar.recording)])


# --- What was joined -----------------------------------------------------------------------


def _logs(page: JoinPage) -> str:
    if not page.logs:
        return "<p>No log was joined.</p>"
    table = _table(
        "Logs",
        ["Log", "Read as", "Rows", "Tell what was seen", "Left out", "Points", "States",
         "Of a whole recording", "Without a recording", "Measured values", *COUNTS,
         "Hours from", "Time zone", "Sites"],
        [
            [
                _name(log.name),
                escape(log.kind),
                f"{log.n_rows:,}" if log.n_rows else NONE,
                *(
                    f"{n:,}"
                    for n in (
                        *(log.n_used, log.n_unread, log.n_points, log.n_states),
                        *(log.n_whole, log.n_nowhere, log.n_measured),
                    )
                ),
                *_counts(log.n_calls, log.n_sessions, log.n_subjects, log.hours),
                escape(log.effort),
                escape(log.timezone or "not given"),
                escape(", ".join(log.sites) or NONE),
            ]
            for log in page.logs
        ],
    )  # fmt: skip
    return table + "".join(_reading(log) for log in page.logs)


def _reading(log: PageLog) -> str:
    said = ""
    if log.guessed:
        guessed = _list([_sentence(one) for one in log.guessed], "guesses")
        said += f'<div class="part"><h3>{_name(log.name)}: what was guessed</h3>{guessed}</div>'
    if log.settings:
        rows = [[_name(name), escape(value)] for name, value in log.settings]
        table = _table(f"Settings of {log.name}", ["Setting", "Value"], rows)
        said += _folded(f"How {log.name} was read, setting by setting", table)
    return said


def _problems(page: JoinPage) -> str:
    parts = [_problems_of(log) for log in page.logs if log.problems]
    if not parts:
        return ""
    return (
        '<p class="hint">What is called ‘unread’ or ‘ambiguous’ was left out, though something '
        "else in its row may have been used; what is called ‘suspicious’ was used as it stands."
        f"</p>{''.join(parts)}"
    )


def _problems_of(log: PageLog) -> str:
    rows = [
        [
            f"{problem.row:,}" if problem.row else "whole log",
            escape(problem.kind),
            escape(problem.what),
        ]
        for problem in log.problems
    ]
    table = _long_table(f"Rows of {log.name} to look at", ["Row", "Kind", "What"], rows, "rows")
    return f'<div class="part"><h3>{_name(log.name)}</h3>{table}</div>'


# --- Sound types and behaviours ------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Effect:
    """What a pair shows for one question: a ratio, or why there is none."""

    ratio: float | None
    low: float | None
    high: float | None
    p: float | None
    q: float | None
    is_found: bool
    taken_back: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """A question put to all pairs, with the columns that only its tables have."""

    name: str
    heading: str
    hint: str
    effect: Callable[[Pair], _Effect]
    columns: Mapping[str, Callable[[Pair], str]]


BY_TIME = _Question(
    name="ratios",
    heading="Beside other times",
    hint="The dot is the rate of calls with the behaviour over the rate without it, the line its "
    "95 % interval; filled and bold: found. An effect weaker than ‘least to be found’ (above 1, "
    f"below 1) would have been missed more often than once in five; {NONE}: one of up to "
    f"{MOST_DETECTABLE:g} times would.",
    effect=lambda pair: _Effect(
        ratio=pair.rate_ratio,
        low=pair.low,
        high=pair.high,
        p=pair.p,
        q=pair.q,
        is_found=pair.is_found,
        taken_back=pair.taken_back,
        why=pair.why,
    ),
    columns={
        "Expected": lambda pair: f"{pair.expected:,.1f}",
        "Calls an hour with it, without": lambda pair: (
            f"{_rate(pair.rate_on)}, {_rate(pair.rate_off)}"
        ),
        "Least to be found": lambda pair: (
            NONE
            if pair.q is None
            else f"{ratio_text(pair.detectable)}, {ratio_text(pair.detectable_below)}"
        ),
    },
)
AMONG_CALLS = _Question(
    name="odds",
    heading="Beside other types",
    hint="Of the calls heard with a behaviour, is this type among them more often than among the "
    "others? Moments in which all types are heard more do not count here. The dot is the odds "
    "ratio, the line its 95 % interval; filled and bold: found.",
    effect=lambda pair: _Effect(
        ratio=pair.odds_ratio,
        low=pair.odds_low,
        high=pair.odds_high,
        p=pair.odds_p,
        q=pair.odds_q,
        is_found=pair.is_odds_found,
        taken_back=pair.odds_taken_back,
        why=pair.odds_why,
    ),
    columns={},
)


def _pairs(evidence: Evidence) -> str:
    return _matrix(evidence) + _forests(evidence, BY_TIME) if evidence.pairs else ""


def _reverse(evidence: Evidence) -> str:
    return _forests(evidence, AMONG_CALLS)


def _matrix(evidence: Evidence) -> str:
    """Show all pairs at once: a row for each sound type, a column for each behaviour."""
    by_behaviour = _by_behaviour(evidence)
    by_type: defaultdict[int, dict[str, Pair]] = defaultdict(dict)
    for pair in evidence.pairs:
        by_type[pair.sound_type][pair.behaviour] = pair
    head = "".join(
        f'<th scope="col"><span>{escape(behaviour)}</span></th>' for behaviour in by_behaviour
    ) + "".join(f'<th scope="col" class="n">{name}</th>' for name in COUNTS)
    rows = "".join(
        f'<tr><th scope="row">{_type(kind, evidence)}{_look(kind, evidence)}</th>'
        + "".join(_cell(pairs.get(behaviour)) for behaviour in by_behaviour)
        + "".join(f'<td class="n">{count}</td>' for count in _most(pairs.values()))
        + "</tr>"
        for kind, pairs in sorted(by_type.items())
    )
    # The other way up: of each behaviour, what its column rests on.
    foot = "".join(
        f'<tr><th scope="row">{name}</th>'
        + "".join(f"<td>{count(pairs)}</td>" for pairs in by_behaviour.values())
        + f'<td colspan="{len(COUNTS)}"></td></tr>'
        for name, count in (
            ("Calls with it", lambda pairs: f"{sum(pair.n_together for pair in pairs):,}"),
            ("Sessions", lambda pairs: f"{max(pair.n_sessions for pair in pairs):,}"),
            ("Individuals", lambda pairs: _individuals(max(p.n_subjects for p in pairs))),
            ("Watched with it", lambda pairs: hours_text(max(pair.hours_on for pair in pairs))),
        )
    )
    return (
        '<p class="hint">How many times as often a sound is heard with a behaviour as at other '
        "times. Framed and bold: found. In brackets: taken back, as it would not be found were the "
        "clocks a little off. Orange: more often; blue: less often; a point: not tested (the "
        "reason shows on it, and in the tables below). Calls, sessions, individuals and time are "
        "those of the pair that rests on most of each.</p>"
        '<div class="table tall"><table class="numbers matrix"><caption>Rate ratio of '
        'each sound type and behaviour</caption><thead><tr><th scope="col">Sound</th>'
        f"{head}</tr></thead>"
        f"<tbody>{rows}</tbody><tfoot>{foot}</tfoot></table></div>"
    )


def _cell(pair: Pair | None) -> str:
    if pair is None:
        return "<td></td>"
    if pair.q is None or pair.rate_ratio is None:
        return (
            f'<td class="untested" title="not tested: {escape(pair.why)}">·'
            f"<i>not tested: {escape(pair.why)}</i></td>"
        )
    doublings = math.log2(pair.rate_ratio) if pair.rate_ratio > 0 else -math.inf
    side = "more" if doublings >= 0 else "less"
    strength = min(abs(doublings) / STEEP, 1.0)
    ratio = ratio_text(pair.rate_ratio)
    title = f"{_interval(pair.low, pair.high)}, q {p_text(pair.q)}"
    title += f"; taken back: not found with {pair.taken_back}" if pair.taken_back else ""
    shade = f'style="--strength:{strength:.2f}" title="{escape(title)}"'
    if pair.taken_back:
        return f'<td class="{side}" {shade}>({ratio})<i>, taken back</i></td>'
    if pair.is_found:
        return f'<td class="{side} found" {shade}><b>{ratio}</b><i>, found</i></td>'
    return f'<td class="{side}" {shade}>{ratio}</td>'


def _forests(evidence: Evidence, question: _Question) -> str:
    """Show pairs with their intervals, in a table for each behaviour."""
    effects = [question.effect(pair) for pair in evidence.pairs]
    scale = RatioScale.of([end for one in effects for end in (one.ratio, one.low, one.high)])
    tables, n_open = "", 0
    for behaviour, pairs in _by_behaviour(evidence).items():
        of_pairs = [question.effect(pair) for pair in pairs]
        n_tested = sum(one.q is not None for one in of_pairs)
        n_found = sum(one.is_found for one in of_pairs)
        n_back = sum(bool(one.taken_back) for one in of_pairs)
        is_open = n_tested > 0 and len(effects) <= OPEN_PAIRS
        is_open |= n_found > 0 and n_open < OPEN_PAIRS
        n_open += is_open * len(pairs)
        tables += _folded(
            f"{behaviour}: {count_text(n_tested, 'sound type')} tested"
            + (f" {_compared(pairs)}, {n_found:,} found" if n_tested else "")
            + (f", {n_back:,} taken back" if n_back else ""),
            _forest(evidence, question, scale, behaviour, pairs),
            is_open=is_open,
        )
    return f'<p class="hint part">{question.hint}</p>{scale.lines(question.name)}{tables}'


def _forest(
    evidence: Evidence,
    question: _Question,
    scale: RatioScale,
    behaviour: str,
    pairs: Sequence[Pair],
) -> str:
    """Show the pairs of one behaviour: those that go with it first, those not tested last."""

    def place(pair: Pair) -> tuple[bool, float, int]:
        effect = question.effect(pair)
        return effect.q is None, -(effect.ratio or 0.0), pair.sound_type

    rows = ""
    for pair in sorted(pairs, key=place):
        effect = question.effect(pair)
        if effect.ratio is None:
            drawn = f'<td colspan="2" class="text">not tested: {escape(effect.why)}</td>'
        else:
            mark = scale.row(
                question.name, effect.ratio, effect.low, effect.high, is_found=effect.is_found
            )
            ratio = _strong(ratio_text(effect.ratio), effect.is_found)
            back = f"taken back: not found with {effect.taken_back}" if effect.taken_back else ""
            drawn = (
                f"<td>{mark}</td><td>{ratio} {_interval(effect.low, effect.high)}"
                + (f"<small>{escape(back)}</small>" if back else "")
                + "</td>"
            )
        cells = [
            p_text(effect.p),
            p_text(effect.q),
            f"{pair.n_together:,}",
            *(cell(pair) for cell in question.columns.values()),
            *_counts_of(pair),
            hours_text(pair.hours_on),
            f"{_share(pair.share_of_one_session)}, {_share(pair.share_of_one_subject)}",
        ]
        rows += (
            f"<tr{UNTESTED if effect.ratio is None else ''}>"
            f'<th scope="row">{_type(pair.sound_type, evidence)}</th>{drawn}'
            + "".join(f'<td class="n">{cell}</td>' for cell in cells)
            + "</tr>"
        )
    head = "".join(
        f'<th scope="col" class="n">{name}</th>'
        for name in ("p", "q", "Calls with it", *question.columns, *COUNTS, "Watched with it", MOST)
    )
    return (
        f'<div class="table"><table class="numbers forest"><caption>{escape(behaviour)}</caption>'
        f'<thead><tr><th scope="col">Sound</th>'
        f'<th scope="col">{question.heading}{scale.head()}</th>'
        f'<th scope="col">Ratio and 95 % interval</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _compared(pairs: Sequence[Pair]) -> str:
    """Say what was compared of a behaviour: the test is one for all types."""
    is_whole = any(pair.test == "shuffled sessions" for pair in pairs)
    return "between whole sessions" if is_whole else "within sessions"


def _by_behaviour(evidence: Evidence) -> dict[str, list[Pair]]:
    groups: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in evidence.pairs:
        groups[pair.behaviour].append(pair)
    return groups


# --- Measured values, and neighbours -------------------------------------------------------


def _context(page: JoinPage) -> str:
    if not page.context:
        return ""
    alpha = page.evidence.alpha
    ordered = sorted(page.context, key=lambda row: (_order(row.q), row.value, row.sound_type))
    untested: defaultdict[str, list[str]] = defaultdict(list)
    for row in ordered:
        if row.q is None:
            untested[f"{row.value}: {row.why}"].append(
                type_text(row.sound_type, page.evidence.names)
            )
    rows = [
        [
            _type(row.sound_type, page.evidence),
            escape(row.value),
            f"{_measure(row.at_calls)}, {_measure(row.over_effort)}",
            {
                "shifts within sessions": "within sessions",
                "shuffled sessions": "whole sessions",
            }.get(row.test, "not tested"),
            f"{_measure(row.compared)}, {_measure(row.by_chance)}" if row.q is not None else NONE,
            _strong(_signed(row.difference), is_below(row.q, alpha)),
            f"[{_signed(row.low)}, {_signed(row.high)}]" if row.q is not None else NONE,
            _signed(row.deviations),
            p_text(row.p),
            p_text(row.q),
            _strong(_signed(row.from_calls), is_below(row.from_calls_q, alpha)),
            *_counts(row.n_calls, row.n_sessions, row.n_subjects, row.hours),
        ]
        for row in ordered
    ]
    columns = ["Sound", "Measured", "Mean at its calls, at all times", "Compared",
               "Mean of what is compared, by chance", "Difference", "95 % interval",
               "In standard deviations", "p", "q", "From all calls", *COUNTS]  # fmt: skip
    reasons = [
        _sentence(f"Not tested, {why} ({', '.join(kinds)}).") for why, kinds in untested.items()
    ]
    return (
        '<p class="hint">In the units of the log. The means over all calls and all times also '
        "differ by what sessions were like; the difference is that of the two means after them. "
        "Within sessions: calls beside the watched time of their own session, where the value "
        "changes in it. Whole sessions: each call has the mean of its session, and by chance that "
        "of the sessions of its site (of all, where no site has several). ‘From all calls’: the "
        "difference from calls of all types. "
        "Bold: found. Watched: as long as the value is known.</p>"
        f"{_long_table('Measured values', columns, rows, 'rows')}{_list(reasons, 'reasons')}"
    )


def _alike(page: JoinPage) -> str:
    if not page.neighbourhood:
        return ""
    alpha = page.evidence.alpha
    ordered = sorted(page.neighbourhood, key=lambda row: (_order(row.q), row.behaviour))
    rows = [
        [
            _name(row.behaviour),
            f"{row.n_pairs:,}",
            _share(row.both),
            _share(row.by_chance),
            _strong(ratio_text(row.times_chance), is_below(row.q, alpha)),
            p_text(row.p),
            f"not tested: {escape(row.why)}" if row.q is None else p_text(row.q),
            *_counts(row.n_calls, row.n_sessions, row.n_subjects, row.hours),
        ]
        for row in ordered
    ]
    columns = ["Behaviour", "Pairs of neighbours", "Both with it", "By chance", "Times chance",
               "p", "q", *COUNTS]  # fmt: skip
    table = _long_table("Agreement of neighbours", columns, rows, "rows")
    return (
        '<p class="hint">Do the calls that sound most like a call, in other sessions, go with the '
        "same behaviour as it does more often than by chance? Bold: found. All behaviours "
        f"together: p {p_text(page.neighbourhood_p)}.</p>{table}"
    )


# --- Clocks --------------------------------------------------------------------------------


def _clocks(page: JoinPage) -> str:
    shown = "".join(
        f'<div class="part"><h3>{_name(clock.log)}</h3>'
        f"{_list([_sentence(one) for one in clock.said], 'sentences')}"
        f"{_clock_figures(clock)}</div>"
        for clock in page.clocks
    )
    return shown + _sensitivity(page.evidence)


def _clock_figures(clock: PageClock) -> str:
    figures = ""
    if clock.residuals:
        hours, off_ms = zip(*((at, off) for at, off, _ in clock.residuals), strict=True)
        unit, size = ("s", 1000.0) if max(map(abs, off_ms)) >= 2000 else ("ms", 1.0)
        long, hours_each = ("days", 24.0) if max(hours) > 72 else ("hours", 1.0)
        points = [(at / hours_each, off / size) for at, off in zip(hours, off_ms, strict=True)]
        curve = Curve(name="markers", sign=SIGN, points=(), marked=points)
        drawing = curve_chart(
            f"Markers of {clock.log} around the fitted clock",
            axis_from(f"{long} since the first marker", 0, max(hours) / hours_each),
            _both_sides(f"log later than the fit ({unit})", [y for _, y in points]),
            [curve],
        )
        figures += _figure("Markers around the fitted clock", drawing)
    if clock.correlogram is not None:
        figures += _figure(
            "How closely calls and observations come together at each lag (shaded: by chance)",
            _correlogram(clock.log, clock.correlogram),
        )
    return f'<div class="figures">{figures}</div>' if figures else ""


def _correlogram(log: str, shown: Correlogram) -> str:
    unit, size = ("s", 1000.0) if max(map(abs, shown.lags_ms)) >= 5000 else ("ms", 1.0)
    lags = [lag / size for lag in shown.lags_ms]
    across = axis_from(f"the observer's clock is ahead by ({unit})", min(lags), max(lags))
    up = axis_from(
        "height (standard deviations)",
        min(shown.heights),
        max(shown.height_by_chance, *shown.heights),
        reference=shown.height_by_chance,
    )
    points = list(zip(lags, shown.heights, strict=True))
    return curve_chart(
        f"How closely calls and observations of {log} come together at each lag",
        replace(across, low=min(lags), high=max(lags), reference=shown.peak_ms / size),
        up,
        [Curve(name="correlogram", sign=SIGN, points=points)],
        band=[(lag, up.low, shown.height_by_chance) for lag in (lags[0], lags[-1])],
    )


def _both_sides(name: str, values: Sequence[float]) -> Axis:
    most = max(map(abs, values)) or 1.0
    return axis_from(name, -most, most, reference=0)


def _sensitivity(evidence: Evidence) -> str:
    """Show what is found at the edges of what is known of the clocks."""
    if not evidence.at_offsets:
        return ""
    offsets = {offset_text(0): evidence.association, **evidence.at_offsets}
    by_offset = {
        where: {(pair.sound_type, pair.behaviour): pair for pair in association.pairs}
        for where, association in offsets.items()
    }
    found = {
        key
        for pairs in by_offset.values()
        for key, pair in pairs.items()
        if is_below(pair.q, evidence.alpha)
    }
    hint = (
        "The same question at the ends of what is known of the clocks: with observations moved to "
        "where they would be then. "
        f"Bold: q at most {alpha_text(evidence.alpha)}. Found is only what is bold in every "
        "column, and on one side of 1."
    )
    if not found:
        said = f"No pair is found with observations {listed(list(by_offset))}."
        return f'<div class="part"><h3>Were the clocks wrong</h3><p>{said}</p></div>'
    rows = [
        [
            _type(pair.sound_type, evidence),
            escape(pair.behaviour),
            *(_at_offset(pairs.get(key), evidence.alpha) for pairs in by_offset.values()),
            *_counts_of(pair),
        ]
        for key, pair in by_offset[offset_text(0)].items()
        if key in found
    ]
    columns = ["Sound", "Behaviour", *by_offset, *COUNTS]
    table = _long_table("Ratios at other offsets", columns, rows, "pairs")
    return (
        f'<div class="part"><h3>Were the clocks wrong</h3><p class="hint">{hint}</p>{table}</div>'
    )


def _at_offset(pair: Pair | None, alpha: float) -> str:
    if pair is None or pair.q is None:
        return "not tested"
    ratio = ratio_text(pair.rate_ratio)
    ratio = f"<b>{ratio}</b>" if is_below(pair.q, alpha) else ratio
    return f"{ratio} {_interval(pair.low, pair.high)}, q {p_text(pair.q)}"


# --- Sessions ------------------------------------------------------------------------------


def _sessions(page: JoinPage) -> str:
    if not page.sessions:
        return ""
    numbers = [int(shown.session.sound_types.max(initial=-1)) for shown in page.sessions]
    type_names = [type_text(kind, page.evidence.names) for kind in range(max(numbers) + 1)]
    strips = [
        f'<article class="session"><h3>{_name(shown.session.name)}</h3>'
        f"<p>{escape(_session_text(shown))}</p>{drawn}</article>"
        for shown in page.sessions
        if (drawn := strip(shown, type_names))
    ]
    first, rest = strips[:OPEN_STRIPS], strips[OPEN_STRIPS:]
    folded = _folded(f"{len(rest):,} more sessions", "".join(rest)) if rest else ""
    n_empty = len(page.sessions) - len(strips)
    empty = (
        f'<p class="hint">{count_text(n_empty, "session")} without calls or behaviours: only in '
        "the table.</p>"
        if n_empty
        else ""
    )
    rows = [
        [
            _name(shown.session.name),
            escape(shown.session.site or NONE),
            escape(when_text(shown)),
            escape(shown.source),
            *_counts(len(shown.session.calls), 1, shown.n_subjects, shown.hours),
            f"{len(shown.unobserved_ms):,}",
            f"{sum(len(spans) > 0 for spans in shown.session.behaviours.values()):,}",
        ]
        for shown in page.sessions
    ]
    columns = [
        "Session",
        "Site",
        "When",
        "Hours from",
        *COUNTS,
        "Calls unobserved",
        "Behaviours seen",
    ]
    return (
        '<p class="hint">Calls above, behaviours below, over the time of the session. Hatched: '
        "nobody watched or nothing was recorded; a long gap is drawn shorter than it was. A row "
        "with many calls shows how many there were at a time instead of each.</p>"
        f"{''.join(first)}{folded}{empty}"
        '<div class="part"><h3>Effort</h3>'
        + _long_table("Effort of each session", columns, rows, "sessions")
        + "</div>"
    )


def _session_text(shown: PageSession) -> str:
    unobserved = f", {len(shown.unobserved_ms):,} unobserved" if len(shown.unobserved_ms) else ""
    subjects = f", {count_text(shown.n_subjects, 'individual')}" if shown.n_subjects else ""
    return (
        f"{when_text(shown)}, {hours_text(shown.hours)} watched ({shown.source}); "
        f"{count_text(len(shown.session.calls), 'call')}{unobserved}{subjects}"
    )


# --- Methods -------------------------------------------------------------------------------


def _methods(page: JoinPage) -> str:
    paragraphs = "".join(f"<p>{escape(one)}</p>" for one in page.methods.split("\n\n"))
    files_list = "".join(
        f"<li><code>{escape(name)}</code> {escape(what)}</li>" for name, what in page.files
    )
    return (
        '<p class="hint">For a paper; a click into it selects all of it.</p>'
        f'<blockquote class="methods">{paragraphs}</blockquote>'
        + (f'<h3>Tables</h3><ul class="notes">{files_list}</ul>' if files_list else "")
    )


# --- Pieces --------------------------------------------------------------------------------


def _counts(n_calls: int, n_sessions: int, n_subjects: int, hours: float) -> list[str]:
    """Write what a row rests on, in the order of ``COUNTS``."""
    return [f"{n_calls:,}", f"{n_sessions:,}", _individuals(n_subjects), hours_text(hours)]


def _counts_of(pair: Pair) -> list[str]:
    hours = pair.hours_on + pair.hours_off
    return _counts(pair.n_calls, pair.n_sessions, pair.n_subjects, hours)


def _individuals(number: int) -> str:
    return f"{number:,}" if number else NONE


def _most(pairs: Iterable[Pair]) -> list[str]:
    """Write what a row of pairs rests on: that of the pair that rests on most."""
    pairs = list(pairs)
    return _counts(
        max(pair.n_calls for pair in pairs),
        max(pair.n_sessions for pair in pairs),
        max(pair.n_subjects for pair in pairs),
        max(pair.hours_on + pair.hours_off for pair in pairs),
    )


def _type(kind: int, evidence: Evidence) -> str:
    return escape(type_text(kind, evidence.names))


def _look(kind: int, evidence: Evidence) -> str:
    look = evidence.looks.get(kind)
    return f"<small>{escape(look)}</small>" if look else ""


def _name(name: str) -> str:
    return escape(name or "without a name")


def _order(q: float | None) -> float:
    """Put what is surest first, and what was not tested last."""
    return math.inf if q is None else q


def _measure(value: float | None, sign: str = "") -> str:
    """Write a value of any size to three significant digits at least."""
    if value is None:
        return NONE
    said = f"{value:{sign},.0f}" if abs(value) >= 999.5 else f"{value:{sign}.3g}"
    return said.replace("-", "−")


def _signed(value: float | None) -> str:
    return _measure(value, "+")


def _strong(text: str, is_found: bool) -> str:
    return f"<b>{text}</b>" if is_found else text


def _share(share: float | None) -> str:
    return NONE if share is None else f"{share:.0%}"


def _rate(rate: float | None) -> str:
    if rate is None:
        return NONE
    return f"{rate:,.0f}" if rate >= 99.5 else f"{rate:.3g}"


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "no interval"
    return f"[{ratio_text(low)}, {ratio_text(high)}]"


def _figure(title: str, drawing: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing}</figure>"


def _folded(summary: str, inside: str, *, is_open: bool = False) -> str:
    state = " open" if is_open else ""
    return f"<details{state}><summary>{escape(summary)}</summary>{inside}</details>"


def _list(items: Sequence[str], noun: str) -> str:
    """List items, a long list folded after the first few."""
    first, rest = items[:OPEN_SENTENCES], items[OPEN_SENTENCES:]
    listed = f'<ul class="sentences">{"".join(first)}</ul>' if first else ""
    if rest:
        listed += _folded(
            f"{len(rest):,} more {noun}", f'<ul class="sentences">{"".join(rest)}</ul>'
        )
    return listed


def _long_table(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], noun: str
) -> str:
    """Write a table, a long one folded after the first rows."""
    first, rest = rows[:OPEN_ROWS], rows[OPEN_ROWS:]
    table = _table(caption, columns, first)
    if rest:
        table += _folded(f"{len(rest):,} more {noun}", _table(caption, columns, rest))
    return table


def _table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; its cells are HTML, the first of a row its header."""
    is_number = [
        all(NUMBER.fullmatch(cell) for cell in column) for column in zip(*rows, strict=True)
    ]
    kinds = [' class="n"' if number else "" for number in is_number]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for name, kind in zip(columns, kinds, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(
            f"<td{WRAPPED if len(cell) > LONG_CELL else kind}>{cell}</td>"
            for cell, kind in zip(row[1:], kinds[1:], strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="table"><table class="numbers"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
