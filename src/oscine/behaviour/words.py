"""What can be said of calls and behaviours, what cannot, and why: in sentences.

In comes :class:`Evidence`, all that was joined and reckoned; out go plain sentences for the page,
the terminal and the JSON. The rules are these: a sound type *goes with* a behaviour or *goes less
with* it, it never means it; every sentence carries its numbers; and what weakens a finding is said
with it. Called by :mod:`oscine.behaviour.page` and the step that joins.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal

from oscine.atlas.pictures import count_text
from oscine.behaviour.association import Association, Pair
from oscine.behaviour.clocks import hours_text, length
from oscine.behaviour.ratios import MOST_DETECTABLE

FEW_CALLS = 50
"""Calls heard while somebody watched: with fewer, spread over types and behaviours, little is seen.
"""
FEW_SESSIONS = 6
"""Sessions: five can be put in 120 orders only, and a chance event in one of them is a fifth."""
FEW_HOURS = 1.0
FEW_SUBJECTS = 3
MOST_OF_ONE = 0.5
"""A finding rests on one session or individual from this share of its calls on."""
MOST_GUESSED = 0.1
"""Share of the hours from which it is said that they were guessed."""
MOST_UNOBSERVED = 0.2
MOST_POOLED = 0.1
"""Share of the hours in which recorders ran beside each other, from which little can be said."""
MOST_LEFT_OUT = 0.1
"""Share of the rows of a log, left out, from which little can be said."""
MOST_UNRECORDED = 0.5
"""Share of the observations, of what nobody recorded, from which little can be said."""
LARGE_RATIO = 3.0
"""Where no pair could have shown an effect below this, little can be said."""

NONE = "–"

ClockSource = Literal["markers", "activity", "declared", "none"]
"""Where an offset is from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockState:
    """What is known of the observer's clock beside the recorder's, for one log.

    Attributes
    ----------
    log : str
    is_needed, has_points : bool
        Whether anything was joined by time, for what names its recording needs no clock; and
        whether it has points, which are near a call or not.
    source : str
        Where the offset is from: ``markers``, ``activity``, ``declared``, or ``none``.
    offset_ms : float or None
        What the observer's clock shows more than the recorder's.
    uncertainty_ms : float or None
        Half of the 95 % interval at its widest; None where it is not known.
    interval_ms : (float, float) or None
        That interval, where it does not reach as far on both sides.
    drift_ppm : float
    is_applied : bool
    is_by_construction : bool
        Whether the times agree to the second, as they do where one was written from the other.
    n_markers, n_markers_used : int
        Of all, those that the others do not contradict.
    instead : ClockState or None
        What markers, or calls and behaviour, tell of the clock, where it was corrected by something
        else.
    """

    log: str
    is_needed: bool
    source: ClockSource
    offset_ms: float | None = None
    uncertainty_ms: float | None = None
    interval_ms: tuple[float, float] | None = None
    drift_ppm: float = 0.0
    is_applied: bool = False
    is_by_construction: bool = False
    has_points: bool = True
    n_markers: int = 0
    n_markers_used: int = 0
    instead: ClockState | None = None

    @property
    def is_off(self) -> bool:
        """Whether the two clocks cannot have agreed, at 95 %."""
        if self.offset_ms is None:
            return False
        reach_ms = self.uncertainty_ms or 0.0
        low, high = self.interval_ms or (self.offset_ms - reach_ms, self.offset_ms + reach_ms)
        return not low <= 0 <= high


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """All that the words rest on.

    Attributes
    ----------
    association : Association
        As :func:`standing` leaves it.
    at_offsets : mapping of str to Association
        The same, had the observations been where the key says (as `2 s earlier`).
    n_unobserved : int
        Calls heard when nobody watched.
    n_elsewhere : int
        Calls of recordings of which no log says anything, neither by site nor by name.
    n_timeless : int
        Calls of recordings that have no time and that no log names.
    n_subjects : int
        Individuals that were told apart in the hours that count; 0 where none was.
    has_subjects : bool
        Whether a log names individuals at all.
    pooled_hours : float
        How many of the hours several recorders ran at one place, as far as is known.
    guessed_hours : float
        How many of the hours reach from the first to the last row of a session only.
    tolerance_ms : int
        A call this near to a point is together with it.
    left_out : mapping of str to (int, int)
        By log: rows that could not be read without doubt, of all rows (0 where it is no table).
    n_seen, n_unrecorded : int
        Observations; those of them that fell when nothing was recorded.
    clocks : sequence of ClockState
    names, looks : mapping of int to str
        Names of sound types; band and length of each.
    """

    association: Association
    n_unobserved: int
    n_elsewhere: int
    n_timeless: int
    n_subjects: int
    has_subjects: bool
    guessed_hours: float
    pooled_hours: float
    tolerance_ms: int
    at_offsets: Mapping[str, Association] = field(default_factory=dict)
    left_out: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    n_seen: int = 0
    n_unrecorded: int = 0
    clocks: Sequence[ClockState] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    looks: Mapping[int, str] = field(default_factory=dict)

    @property
    def pairs(self) -> list[Pair]:
        """All pairs of a sound type and a behaviour."""
        return self.association.pairs

    @property
    def alpha(self) -> float:
        """False discovery rate."""
        return self.association.alpha

    @property
    def tested(self) -> list[Pair]:
        """The pairs that have a p-value."""
        return [pair for pair in self.pairs if pair.q is not None]

    @property
    def found(self) -> list[Pair]:
        """The pairs that are found, the surest first."""
        found = [pair for pair in self.pairs if pair.is_found]
        return sorted(found, key=lambda pair: (pair.q, pair.p, -pair.n_together))

    @property
    def taken_back(self) -> list[Pair]:
        """The pairs that would be found if the clocks were known to stand as they are taken."""
        return [pair for pair in self.pairs if pair.taken_back]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A sentence with its numbers, and what weakens it."""

    pair: Pair
    sentence: str
    warnings: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A reason for which less can be said.

    Attributes
    ----------
    leaves : str
        What it leaves to be said: ``nothing``, ``little``, or ``less``.
    sentence : str
    """

    leaves: Literal["nothing", "little", "less"]
    sentence: str


def standing(association: Association, at_offsets: Mapping[str, Association]) -> Association:
    """Take back what would not be found, or the other way round, were the clocks a little off.

    What remains is what is counted as found everywhere.

    Parameters
    ----------
    association : Association
    at_offsets : mapping of str to Association
        The same, had the observations been where the key says (as `2 s earlier`).
    """
    moved = {
        where: {(pair.sound_type, pair.behaviour): pair for pair in one.pairs}
        for where, one in at_offsets.items()
    }

    def stands(
        pair: Pair, question: Callable[[Pair], tuple[bool, float | None]]
    ) -> tuple[bool, str]:
        is_found, ratio = question(pair)
        if not is_found:
            return False, ""
        undone = [
            where
            for where, pairs in moved.items()
            if (other := pairs.get((pair.sound_type, pair.behaviour))) is None
            or not question(other)[0]
            or _is_more(question(other)[1]) != _is_more(ratio)
        ]
        return not undone, f"observations {listed(undone)}" if undone else ""

    pairs = []
    for pair in association.pairs:
        is_found, taken_back = stands(pair, lambda one: (one.is_found, one.rate_ratio))
        is_odds_found, odds_taken_back = stands(
            pair, lambda one: (one.is_odds_found, one.odds_ratio)
        )
        pairs.append(
            replace(
                pair,
                is_found=is_found,
                taken_back=taken_back,
                is_odds_found=is_odds_found,
                odds_taken_back=odds_taken_back,
            )
        )
    return replace(
        association,
        pairs=pairs,
        n_found=sum(pair.is_found for pair in pairs),
        n_odds_found=sum(pair.is_odds_found for pair in pairs),
    )


def verdict(evidence: Evidence) -> str:
    """Say in a sentence or two how much can be said."""
    left = {limit.leaves for limit in limits(evidence)}
    if "nothing" in left:
        return "Nothing can be said of what goes with what."
    n_found, n_back = len(evidence.found), len(evidence.taken_back)
    pairs = f"{n_found:,} of {len(evidence.tested):,} tested pairs"
    if "little" in left:
        found = f"{pairs} stood out, with little behind them" if n_found else f"{pairs} stood out"
        said = f"Not much can be said: {found}."
    elif n_found:
        go = "goes" if n_found == 1 else "go"
        said = f"{pairs} {go} together more or less often than chance allows."
    else:
        said = f"{pairs} stood out from chance. Not to find an effect is not to show that none is."
    if n_back:
        were = "was" if n_back == 1 else "were"
        said += f" {n_back:,} more {were} taken back: the clocks are not known well enough for it."
    return said


def findings(evidence: Evidence) -> list[Finding]:
    """Return what can be said: each pair that is found, the surest first."""
    return [
        Finding(
            pair=pair,
            sentence=pair_sentence(pair, evidence),
            warnings=pair_warnings(pair),
        )
        for pair in evidence.found
    ]


def no_finding(evidence: Evidence) -> str:
    """Say what there is instead of findings: none, or none as nothing could be tested."""
    if evidence.tested:
        return "No pair of a sound type and a behaviour."
    return "Nothing: no pair of a sound type and a behaviour could be tested."


def pair_sentence(pair: Pair, evidence: Evidence) -> str:
    """Say how a sound type and a behaviour go together, with all numbers."""
    goes = "goes with" if _is_more(pair.rate_ratio) else "goes less with"
    look = evidence.looks.get(pair.sound_type, "")
    look = f" ({look})" if look and pair.sound_type not in evidence.names else ""
    subjects = (
        count_text(pair.n_subjects, "individual")
        if pair.n_subjects
        else "individuals not noted with it"
        if evidence.has_subjects
        else "individuals not told apart"
    )
    return (
        f"Sound {type_text(pair.sound_type, evidence.names)}{look} {goes} {pair.behaviour}: "
        f"{ratio_text(pair.rate_ratio)} times as often as at other times (95 % interval "
        f"{ratio_text(pair.low)} to {ratio_text(pair.high)}; "
        f"{pair.n_together:,} of {count_text(pair.n_calls, 'call')} together with it, "
        f"{pair.expected:,.1f} expected; {count_text(pair.n_sessions, 'session')}, {subjects}, "
        f"{hours_text(pair.hours_on + pair.hours_off)} watched, {hours_text(pair.hours_on)} of it "
        f"with {pair.behaviour}; q {p_text(pair.q)})."
    )


def pair_warnings(pair: Pair) -> list[str]:
    """Say what weakens a finding."""
    said = []
    if _share(pair.share_of_one_session) > MOST_OF_ONE:
        said.append(
            f"It rests on one session: {pair.share_of_one_session:.0%} of the calls together with "
            f"it. {_without_it(pair)}"
        )
    elif pair.rests_on_one and _holds_one(pair.low_without_it, pair.high_without_it):
        said.append(f"It rests on one session. {_without_it(pair)}")
    if _share(pair.share_of_one_subject) > MOST_OF_ONE:
        said.append(
            f"It rests on one individual: {pair.share_of_one_subject:.0%} of the calls together "
            "with it."
        )
    if pair.n_sessions < FEW_SESSIONS:
        said.append(f"It was seen in {count_text(pair.n_sessions, 'session')} only.")
    if pair.n_subjects == 1:
        said.append("One individual was seen: this may be how it calls, and no other.")
    if pair.test == "shuffled sessions":
        said.append(
            "It hardly changes within sessions, so whole sessions were compared; what else "
            "differed between them cannot be told from it."
        )
    if _holds_one(pair.low, pair.high):
        said.append("The interval holds 1, so how strong it is stays open.")
    return said


def _share(share: float | None) -> float:
    return 0.0 if share is None else share


def _holds_one(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low <= 1 <= high


def _without_it(pair: Pair) -> str:
    if pair.ratio_without_it is None:
        return "Without it nothing is left."
    low, high = ratio_text(pair.low_without_it), ratio_text(pair.high_without_it)
    return f"Without it the ratio is {ratio_text(pair.ratio_without_it)} ({low} to {high})."


def _is_more(ratio: float | None) -> bool:
    return ratio is not None and ratio >= 1


def limits(evidence: Evidence) -> list[Limit]:
    """Say what cannot be said, and why, by explicit rules.

    Returns
    -------
    list of Limit
        What leaves least to be said first.
    """
    if not evidence.association.n_calls:
        return [_nothing(_no_calls(evidence))]
    found = [
        *(limit for clock in evidence.clocks for limit in _clock(clock, evidence.tolerance_ms)),
        *_too_few(evidence),
        *_effort(evidence),
        *_left_out(evidence),
        *_unrecorded(evidence),
        *_permutations(evidence),
        *_detectable(evidence),
        *_taken_back(evidence),
    ]
    order = ("nothing", "little", "less")
    return sorted(found, key=lambda limit: order.index(limit.leaves))


def name_warnings(names: Mapping[int, str], behaviours: Sequence[str]) -> list[str]:
    """Warn where the name of a sound type holds the name of a behaviour, as words of its own."""
    said = []
    for number, name in sorted(names.items()):
        words = _words(name)
        for behaviour in behaviours:
            some = _words(behaviour)
            places = range(len(words) - len(some) + 1)
            if some and any(words[at : at + len(some)] == some for at in places):
                said.append(
                    f"Sound type {number} is named '{name}', which holds the behaviour "
                    f"'{behaviour}': who reads that takes for known what is asked here. Name "
                    f"sounds by how they sound: oscine cluster name {number} 'low double caw'"
                )
                break
    return said


# --- The rules -----------------------------------------------------------------------------


def _no_calls(evidence: Evidence) -> str:
    whys = [
        f"{number:,} {why}"
        for number, why in (
            (evidence.n_unobserved, "fell outside the hours that somebody watched"),
            (evidence.n_elsewhere, "lie in recordings of which no log says anything"),
            (evidence.n_timeless, "lie in recordings that have no time and that no log names"),
        )
        if number
    ]
    if not whys:
        return "The workspace holds no calls, so there is nothing to join."
    return (
        f"No call was heard while somebody watched; of all calls, {listed(whys)}. What was done "
        "then is not known, which is not the same as without behaviour. "
        f"{_where_to_look(evidence)}"
    )


def _where_to_look(evidence: Evidence) -> str:
    if evidence.n_unobserved:
        return "Look at the dates, the time zone and the sites of the log, and at --effort."
    if evidence.n_elsewhere:
        return "Look at the sites and at the names of recordings in the log."
    return "Say when they were made (--recorded), or name recordings in the log."


def untested_text(whys: Sequence[str]) -> str:
    """Say why pairs were not tested, the commonest reason first, and of how many each holds."""
    # Figures stand in brackets behind each reason; without them, reasons can be counted.
    counts = Counter(why.partition(" (")[0] for why in whys)
    return "; ".join(f"{why} ({number:,})" for why, number in counts.most_common())


def _too_few(evidence: Evidence) -> list[Limit]:
    association, found = evidence.association, []
    if not evidence.tested:
        why = untested_text([pair.why for pair in evidence.pairs])
        sentence = (
            f"None of {count_text(len(evidence.pairs), 'pair')} could be tested"
            if evidence.pairs
            else "No log says what was watched for, so there is no pair to test"
        )
        found.append(_nothing(f"{sentence}: {why}." if why else f"{sentence}."))
    if association.n_calls < FEW_CALLS:
        are = "call is" if association.n_calls == 1 else "calls are"
        found.append(
            _little(
                f"{association.n_calls:,} {are} few (fewer than {FEW_CALLS} heard while somebody "
                "watched)."
            )
        )
    if association.hours < FEW_HOURS:
        found.append(
            _little(
                f"{hours_text(association.hours)} of watching is little (less than "
                f"{hours_text(FEW_HOURS)}): what was not seen in it may still be common."
            )
        )
    if association.n_sessions < FEW_SESSIONS:
        are = "session is" if association.n_sessions == 1 else "sessions are"
        found.append(
            _little(
                f"{association.n_sessions:,} {are} few (fewer than {FEW_SESSIONS}): what holds in "
                "them may be particular to those days."
            )
        )
    if not evidence.n_subjects:
        why = (
            "Individuals were noted, but none in the hours that count"
            if evidence.has_subjects
            else "Individuals were not told apart"
        )
        found.append(
            _less(f"{why}, so one that calls much may stand behind a finding without being seen.")
        )
    elif evidence.n_subjects < FEW_SUBJECTS:
        were = "individual was" if evidence.n_subjects == 1 else "individuals were"
        found.append(_less(f"{evidence.n_subjects:,} {were} seen: nothing can be said of others."))
    return found


def _effort(evidence: Evidence) -> list[Limit]:
    association, found = evidence.association, []
    if evidence.guessed_hours > MOST_GUESSED * association.hours:
        found.append(
            _less(
                f"For {_of_all(evidence.guessed_hours, association.hours)} it was not written down "
                "that somebody watched: they are taken to reach from the first to the last row of "
                "each session. Where the observer watched longer and wrote nothing, time without "
                "behaviour is missing. Give --effort."
            )
        )
    if evidence.pooled_hours:
        leaves = _little if evidence.pooled_hours > MOST_POOLED * association.hours else _less
        found.append(
            leaves(
                f"For {_of_all(evidence.pooled_hours, association.hours)} several recorders ran at "
                "what counts as one place: a call that several heard counts several times, and "
                "what one of them heard is held against what was seen beside another. Tell their "
                "sites (oscine index --site-from), or join the recordings of one."
            )
        )
    n_all = association.n_calls + evidence.n_unobserved
    if evidence.n_unobserved > MOST_UNOBSERVED * n_all:
        found.append(
            _less(
                f"{evidence.n_unobserved:,} of {n_all:,} calls ({evidence.n_unobserved / n_all:.0%}"
                ") were heard when nobody watched: they are unobserved, and in none of the rates."
            )
        )
    for number, why in (
        (evidence.n_elsewhere, "no log says anything of their recordings, by site or by name"),
        (evidence.n_timeless, "their recordings have no time, and no log names them"),
    ):
        if number:
            found.append(_less(f"{count_text(number, 'call')} could not be joined: {why}."))
    return found


def _left_out(evidence: Evidence) -> list[Limit]:
    """Say of which rows nothing is known but that somebody watched around them."""
    found: list[Limit] = []
    for log, (number, n_rows) in evidence.left_out.items():
        if not number:
            continue
        leaves = _little if n_rows and number > MOST_LEFT_OUT * n_rows else _less
        rows = f"{number:,} of {count_text(n_rows, 'row')}" if n_rows else count_text(number, "row")
        found.append(
            leaves(
                f"{log}: {rows} {'was' if number == 1 else 'were'} left out (listed): what they "
                "saw counts as not seen, and the time around them, where it counts as watched, as "
                "watched without it."
            )
        )
    return found


def _unrecorded(evidence: Evidence) -> list[Limit]:
    """Say how much was seen that no recorder could hear."""
    number, n_seen = evidence.n_unrecorded, evidence.n_seen
    if not number:
        return []
    leaves = _little if number >= MOST_UNRECORDED * n_seen else _less
    take = "it takes" if number == 1 else "they take"
    return [
        leaves(
            f"{number:,} of {count_text(n_seen, 'observation')} fell when nothing was recorded: "
            f"{take} no part."
        )
    ]


_TELLING: Mapping[ClockSource, str] = {"markers": "markers", "activity": "calls and behaviour"}


def _of_all(hours: float, of_hours: float) -> str:
    """Say how many of the hours, so that no figure is said twice."""
    part, whole = hours_text(hours), hours_text(of_hours)
    return f"all of {whole}" if part == whole else f"{part} (of {whole})"


def _clock(clock: ClockState, tolerance_ms: int) -> list[Limit]:
    found = []
    is_told = clock.is_applied or not clock.is_by_construction
    offset_ms = clock.offset_ms if is_told else None
    if (
        clock.is_needed
        and not clock.is_applied
        and offset_ms is not None
        and clock.is_off
        and abs(offset_ms) > tolerance_ms
    ):
        doubt = (
            ", unless the animals call that much before or after what was seen"
            if clock.source == "activity"
            else ""
        )
        found.append(
            _little(
                f"{clock.log}: the observer's clock stood {ahead_text(offset_ms)}, as "
                f"{_TELLING[clock.source]} tell{doubt}, and this was not corrected. Join the log "
                "again with --correct-clock."
            )
        )
    other = clock.instead
    if other is not None and other.offset_ms is not None and offset_ms is not None:
        known_ms = (clock.uncertainty_ms or 0.0) + (other.uncertainty_ms or 0.0)
        if abs(offset_ms - other.offset_ms) > max(known_ms, tolerance_ms):
            found.append(
                _little(
                    f"{clock.log}: its times were corrected as if the observer's clock had stood "
                    f"{ahead_text(offset_ms)}, but {_TELLING[other.source]} tell that it stood "
                    f"{ahead_text(other.offset_ms)}."
                )
            )
    if clock.is_by_construction:
        found.append(
            _less(
                f"{clock.log}: the times of the log and of the recordings agree to the second in "
                f"{clock.n_markers_used:,} of {clock.n_markers:,} cases, as they do where one was "
                "written from the other. They agree by construction, and cannot show that the "
                "clocks did."
            )
        )
    if not clock.is_needed:
        return found
    if offset_ms is None:
        found.append(
            _less(
                f"{clock.log}: how far the observer's clock stood from the recorder's is "
                f"not known. Were it more than {length(tolerance_ms)}, calls would be put "
                "together with the wrong moments. Give markers seen in both clocks.",
            )
        )
    elif clock.uncertainty_ms is None:
        found.append(
            _less(
                f"{clock.log}: the offset of {length(offset_ms)} has no interval, "
                "so whether the clocks are near enough for what was asked is not known.",
            )
        )
    elif clock.has_points and clock.uncertainty_ms > tolerance_ms:
        found.append(
            _little(
                f"{clock.log}: the offset of the clocks is known to "
                f"± {length(clock.uncertainty_ms)} only, more than the {length(tolerance_ms)} "
                "within which a call counts as together with a point.",
            )
        )
    return found


def _taken_back(evidence: Evidence) -> list[Limit]:
    return [
        _less(
            f"Sound {type_text(pair.sound_type, evidence.names)} and {pair.behaviour} would be "
            f"found (ratio {ratio_text(pair.rate_ratio)}, q {p_text(pair.q)}), but not with "
            f"{pair.taken_back}, and the clocks are not known better than that: it is taken back."
        )
        for pair in evidence.taken_back
    ]


def _permutations(evidence: Evidence) -> list[Limit]:
    """Say where even the least p of one pair would not pass the false discovery rate."""
    n_tested, n_permutations = len(evidence.tested), evidence.association.n_permutations
    least_p = 1 / (n_permutations + 1)
    if n_tested * least_p <= evidence.alpha or evidence.found or evidence.taken_back:
        return []
    return [
        _little(
            f"{n_permutations:,} permutations give no p below {p_text(least_p)}, which among "
            f"{n_tested:,} pairs is a q of {p_text(min(1.0, n_tested * least_p))}: a single pair "
            f"could not have been found. It takes {math.ceil(n_tested / evidence.alpha) - 1:,}."
        )
    ]


def _detectable(evidence: Evidence) -> list[Limit]:
    """Say which effects would have stayed unseen."""
    rest = [pair for pair in evidence.tested if not (pair.is_found or pair.taken_back)]
    if not rest:
        return []
    known = [math.inf if pair.detectable is None else pair.detectable for pair in rest]
    least, middle = min(known), median(known)
    every = "every pair" if len(rest) == len(evidence.tested) else "all other pairs"
    if math.isinf(least):
        said = f"An effect of up to {MOST_DETECTABLE:g} times would have been missed in {every}"
    else:
        said = f"An effect below {ratio_text(least)} times would have been missed in {every}"
        if middle > least:
            is_beyond = math.isinf(middle)
            size = f"up to {MOST_DETECTABLE:g}" if is_beyond else f"below {ratio_text(middle)}"
            said += f", and one {size} in half of them"
    leaves = _little if least > LARGE_RATIO else _less
    return [leaves(f"{said} (more often than once in five): no finding is not no effect.")]


def _nothing(sentence: str) -> Limit:
    return Limit(leaves="nothing", sentence=sentence)


def _little(sentence: str) -> Limit:
    return Limit(leaves="little", sentence=sentence)


def _less(sentence: str) -> Limit:
    return Limit(leaves="less", sentence=sentence)


# --- Numbers and names ---------------------------------------------------------------------


def is_below(q: float | None, alpha: float) -> bool:
    """Tell whether what has this q is found."""
    return q is not None and q <= alpha * (1 + 1e-9)


def type_text(number: int, names: Mapping[int, str]) -> str:
    """Write a sound type: its number, and its name where it has one."""
    name = names.get(number)
    return f"type {number} '{name}'" if name else f"type {number}"


def ratio_text(value: float | None) -> str:
    """Write a ratio to two significant digits."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞"
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.{1 if value >= 0.995 else 2}f}"


def p_text(value: float | None) -> str:
    """Write a probability without the zero before the point: ``.012``, ``< .001``."""
    if value is None or math.isnan(value):
        return NONE
    if value < 0.001:
        return "< .001"
    if value >= 0.995:
        return "1"
    return f"{value:.{3 if value < 0.0995 else 2}f}".removeprefix("0")


def alpha_text(alpha: float) -> str:
    """Write a level as papers do: ``.05``."""
    return f"{alpha:g}".removeprefix("0")


def offset_text(offset_ms: float) -> str:
    """Say where observations are moved."""
    if not offset_ms:
        return "as joined"
    return f"{length(offset_ms)} {'later' if offset_ms > 0 else 'earlier'}"


def ahead_text(offset_ms: float) -> str:
    """Say where the observer's clock stands beside the recorder's."""
    return f"{length(offset_ms)} {'ahead' if offset_ms >= 0 else 'behind'}"


def listed(items: Sequence[str]) -> str:
    """Write several things as a sentence has them."""
    *first, last = items or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last


def _words(name: str) -> list[str]:
    return re.findall(r"\w+", name.casefold().replace("_", " "))
