"""The page of the join and its words: what is said has its numbers, what is not its reason."""

import base64
import csv
import hashlib
import re
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from oscine.atlas.pictures import PageExemplar
from oscine.behaviour import readme, words
from oscine.behaviour.activity_offset import ActivityOffset
from oscine.behaviour.association import Association, Pair, associate
from oscine.behaviour.clocks import Offset, fit_clock, hours_text
from oscine.behaviour.config import LogConfig
from oscine.behaviour.context import HOUR, Standing, in_context
from oscine.behaviour.drawings import PageSession, RatioScale, strip, when_text
from oscine.behaviour.join import PAIRS, JoinConfig, join
from oscine.behaviour.log import read_log
from oscine.behaviour.matching import RECORDINGS, marker_pairs
from oscine.behaviour.methods import (
    context_text,
    methods_text,
    neighbourhood_text,
)
from oscine.behaviour.neighbourhood import Likeness, agreement
from oscine.behaviour.page import (
    Correlogram,
    JoinPage,
    PageClock,
    PageContext,
    PageLikeness,
    PageLog,
    write_join,
)
from oscine.behaviour.sessions import Held, Session
from oscine.behaviour.showing import (
    clock_of_activity,
    clock_of_markers,
    evidence_of,
    page_context,
    page_likenesses,
    page_log,
    page_sessions,
)
from oscine.behaviour.tables import CALLS, OBSERVATIONS, Problem
from oscine.behaviour.words import ClockState, Evidence, findings, limits, verdict

HOSTILE = '</script><script>alert(1)</script><b onmouseover="x">&$title'
HOUR_MS = 3_600_000

FEEDING = Pair(
    sound_type=7,
    behaviour="feeding",
    n_calls=34,
    n_together=28,
    expected=12.1,
    hours_on=1.1,
    hours_off=5.1,
    n_sessions=8,
    n_subjects=3,
    rate_on=25.5,
    rate_off=1.2,
    rate_ratio=2.3,
    low=1.4,
    high=3.9,
    p=0.002,
    q=0.012,
    is_found=True,
    test="shifts within sessions",
    why="",
    detectable=1.9,
    detectable_below=0.5,
    share_of_one_session=0.2,
    share_of_one_subject=0.4,
    ratio_without_it=2.2,
    low_without_it=1.3,
    high_without_it=3.8,
    odds_ratio=2.6,
    odds_low=1.5,
    odds_high=4.4,
    odds_p=0.004,
    odds_q=0.02,
    is_odds_found=True,
    odds_why="",
)
FLYING = replace(
    FEEDING,
    behaviour="flying",
    rate_ratio=0.41,
    low=0.1,
    high=1.7,
    p=0.4,
    q=0.4,
    is_found=False,
)
UNTESTED = Pair(
    sound_type=3,
    behaviour="feeding",
    n_calls=2,
    n_together=0,
    expected=0.4,
    hours_on=1.1,
    hours_off=5.1,
    n_sessions=8,
    n_subjects=3,
    rate_on=0.0,
    rate_off=0.4,
    test="not tested",
    why="2 calls (5 needed)",
    share_of_one_session=None,
    share_of_one_subject=None,
    odds_why="2 calls (5 needed)",
)


def association(*pairs, **changes):
    values = {
        "pairs": list(pairs),
        "n_permutations": 999,
        "seed": 0,
        "alpha": 0.05,
        "n_tested": sum(pair.q is not None for pair in pairs),
        "n_found": 1,
        "n_odds_tested": 2,
        "n_odds_found": 1,
        "n_sessions": 8,
        "n_calls": 400,
        "n_ungrouped": 0,
        "hours": 6.2,
        "notes": (),
    }
    return Association(**values | changes)


def evidence(*pairs, **changes):
    of_association = {
        name: changes.pop(name)
        for name in ("n_permutations", "n_sessions", "n_calls", "n_ungrouped", "hours")
        if name in changes
    }
    found = association(*(pairs or (FEEDING, FLYING, UNTESTED)), **of_association)
    values = {
        "association": words.standing(found, changes.get("at_offsets", {})),
        "n_unobserved": 0,
        "n_elsewhere": 0,
        "n_timeless": 0,
        "n_subjects": 5,
        "has_subjects": True,
        "guessed_hours": 0.0,
        "pooled_hours": 0.0,
        "tolerance_ms": 500,
        "names": {7: "low double caw"},
    }
    return Evidence(**values | changes)


def reasons(*pairs, **changes):
    return {limit.sentence: limit.leaves for limit in limits(evidence(*pairs, **changes))}


def reason(part, *pairs, **changes):
    """Return what the one reason that says this leaves to be said."""
    (leaves,) = (left for said, left in reasons(*pairs, **changes).items() if part in said)
    return leaves


# --- Words ---------------------------------------------------------------------------------


def test_a_finding_is_said_with_all_its_numbers_and_never_as_a_meaning():
    (finding,) = findings(evidence())
    assert finding.sentence == (
        "Sound type 7 'low double caw' goes with feeding: 2.3 times as often as at other times "
        "(95 % interval 1.4 to 3.9; 28 of 34 calls together with it, 12.1 expected; 8 sessions, "
        "3 individuals, 6.2 h watched, 1.1 h of it with feeding; q .012)."
    )
    assert finding.warnings == []
    assert "mean" not in finding.sentence


def test_where_nothing_could_be_tested_no_finding_is_said_to_be_that(tmp_path):
    def said(*pairs):
        html = written(tmp_path, page(evidence=evidence(*pairs)))
        return re.search(r"What can be said</h3>.*?</div>", html, re.DOTALL).group()

    assert "could be tested" not in said(FLYING, UNTESTED)
    assert "Nothing: no pair of a sound type and a behaviour could be tested." in said(UNTESTED)


def test_what_is_heard_less_goes_less_with():
    less = replace(FLYING, q=0.01, high=0.8, is_found=True)
    (finding,) = findings(evidence(less))
    assert "goes less with flying: 0.41 times as often" in finding.sentence


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        (
            {"share_of_one_session": 0.71, "rests_on_one": True},
            "It rests on one session: 71% of the calls together with it. Without it the ratio is "
            "2.2 (1.3 to 3.8).",
        ),
        (
            {"low_without_it": 0.8, "rests_on_one": True},
            "It rests on one session. Without it the ratio is 2.2 (0.80 to 3.8).",
        ),
        (
            {"share_of_one_subject": 0.9, "rests_on_one": True},
            "It rests on one individual: 90% of the calls together with it.",
        ),
        ({"n_sessions": 2}, "It was seen in 2 sessions only."),
        ({"n_subjects": 1}, "One individual was seen: this may be how it calls, and no other."),
        ({"low": 0.9}, "The interval holds 1, so how strong it is stays open."),
        (
            {"test": "shuffled sessions"},
            "It hardly changes within sessions, so whole sessions were compared; what else "
            "differed between them cannot be told from it.",
        ),
    ],
)
def test_what_weakens_a_finding_is_said_with_it(changes, warning):
    (finding,) = findings(evidence(replace(FEEDING, **changes)))
    assert list(finding.warnings) == [warning]


def test_where_nothing_speaks_against_it_only_the_least_effect_is_said():
    (said,) = reasons()
    assert said.startswith("An effect below 1.9 times would have been missed")
    assert said.endswith("no finding is not no effect.")
    assert verdict(evidence()) == (
        "1 of 2 tested pairs goes together more or less often than chance allows."
    )


def test_twenty_clips_with_twenty_observations_cannot_say_much():
    weak = replace(FLYING, detectable=8.0)
    clips = evidence(
        weak,
        UNTESTED,
        n_calls=20,
        n_sessions=20,
        hours=140 / 3600,
        n_subjects=0,
        has_subjects=False,
        clocks=[
            ClockState(
                log="sparrows",
                is_needed=True,
                source="markers",
                offset_ms=0.0,
                is_by_construction=True,
                n_markers=20,
                n_markers_used=20,
            )
        ],
    )
    assert verdict(clips) == "Not much can be said: 0 of 1 tested pairs stood out."
    assert findings(clips) == []
    said = " ".join(limit.sentence for limit in limits(clips))
    for part in (
        "20 calls are few",
        "2 min 20 s of watching is little",
        "Individuals were not told apart",
        "agree to the second in 20 of 20 cases",
        "is not known. Were it more than 500 ms",
        "An effect below 8.0 times",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("part", "changes", "leaves"),
    [
        ("3 sessions are few", {"n_sessions": 3}, "little"),
        ("1 session is few", {"n_sessions": 1}, "little"),
        ("30 min of watching is little", {"hours": 0.5}, "little"),
        ("49 calls are few", {"n_calls": 49}, "little"),
        ("Individuals were not told apart", {"n_subjects": 0, "has_subjects": False}, "less"),
        ("Individuals were noted, but none in the hours that count", {"n_subjects": 0}, "less"),
        ("1 individual was seen", {"n_subjects": 1}, "less"),
        ("from the first to the last row", {"guessed_hours": 3.0}, "less"),
        ("200 of 600 calls (33%)", {"n_unobserved": 200}, "less"),
        ("12 calls could not be joined: their recordings", {"n_timeless": 12}, "less"),
        ("12 calls could not be joined: no log says anything", {"n_elsewhere": 12}, "less"),
        ("For 6 min (of 6.2 h) several recorders ran", {"pooled_hours": 0.1}, "less"),
        ("For all of 6.2 h several recorders ran", {"pooled_hours": 6.2}, "little"),
        ("20 of 40 observations fell when", {"n_seen": 40, "n_unrecorded": 20}, "little"),
        ("19 of 40 observations fell when", {"n_seen": 40, "n_unrecorded": 19}, "less"),
        ("1 of 40 observations fell when", {"n_seen": 40, "n_unrecorded": 1}, "less"),
        ("dst: 30 of 60 rows were left out (listed)", {"left_out": {"dst": (30, 60)}}, "little"),
        ("dst: 6 of 60 rows were left out (listed)", {"left_out": {"dst": (6, 60)}}, "less"),
        ("dst: 1 row was left out (listed)", {"left_out": {"dst": (1, 0)}}, "less"),
    ],
)
def test_little_to_go_by_is_said(part, changes, leaves):
    assert not any(part in said for said in reasons())
    assert reason(part, **changes) == leaves


def test_just_enough_to_go_by_is_no_reason():
    enough = {"n_sessions": words.FEW_SESSIONS, "n_calls": words.FEW_CALLS, "hours": 1.0}
    assert len(reasons(**enough, n_subjects=words.FEW_SUBJECTS)) == 1


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"n_unobserved": 80}, "80 fell outside the hours that somebody watched"),
        ({"n_elsewhere": 80}, "80 lie in recordings of which no log says anything"),
        ({"n_timeless": 80}, "80 lie in recordings that have no time"),
        ({}, "The workspace holds no calls"),
    ],
)
def test_where_no_call_is_observed_nothing_can_be_said(changes, part):
    none = evidence(UNTESTED, n_calls=0, **changes)
    (limit,) = limits(none)
    assert limit.leaves == "nothing"
    assert part in limit.sentence
    assert findings(none) == []
    assert verdict(none) == "Nothing can be said of what goes with what."


def test_where_no_pair_is_tested_the_reasons_add_up_to_all_pairs():
    whys = ["a", "b", "c", "d", "too few calls (3; 5 needed)", "too few calls (2; 5 needed)"]
    pairs = [replace(UNTESTED, why=why) for why in whys]
    said = "None of 6 pairs could be tested: too few calls (2); a (1); b (1); c (1); d (1)."
    assert reasons(*pairs)[said] == "nothing"


CLOCK = ClockState(
    log="crows",
    is_needed=True,
    source="markers",
    offset_ms=4200.0,
    uncertainty_ms=200.0,
    is_applied=True,
    n_markers=10,
    n_markers_used=9,
)


@pytest.mark.parametrize(
    ("changes", "part", "leaves"),
    [
        ({"offset_ms": None, "source": "none"}, "crows: how far the observer's clock", "less"),
        ({"uncertainty_ms": None}, "the offset of 4.2 s has no interval", "less"),
        ({"uncertainty_ms": 900.0}, "known to ± 900 ms only, more than the 500 ms", "little"),
        ({"is_applied": False}, "stood 4.2 s ahead, as markers tell, and this was not", "little"),
        ({"is_by_construction": True}, "They agree by construction", "less"),
    ],
)
def test_what_is_wrong_with_a_clock_is_said(changes, part, leaves):
    assert len(reasons(clocks=[CLOCK])) == 1
    assert reason(part, clocks=[replace(CLOCK, **changes)]) == leaves


def test_a_clock_that_was_told_and_not_corrected_comes_first_with_the_way_out():
    told = replace(CLOCK, offset_ms=84_000.0, uncertainty_ms=900.0, is_applied=False)
    first, *_ = limits(evidence(clocks=[told], n_calls=20, n_sessions=2, hours=0.2))
    assert "stood 1 min 24 s ahead" in first.sentence
    assert "--correct-clock" in first.sentence


def test_a_log_that_names_its_recordings_needs_no_clock():
    unknown = replace(CLOCK, offset_ms=None, source="none", is_needed=False)
    assert reasons(clocks=[unknown]) == reasons()


@pytest.mark.parametrize("moved", [{"q": 0.2, "is_found": False}, {"rate_ratio": 0.4}])
def test_a_pair_that_a_wrong_clock_would_undo_is_taken_back_and_counts_nowhere(moved, tmp_path):
    stands, falls = association(FEEDING), association(replace(FEEDING, **moved))
    both = evidence(at_offsets={"320 ms earlier": falls, "320 ms later": stands})
    assert findings(both) == []
    assert both.association.n_found == 0
    (said,) = (limit.sentence for limit in limits(both) if "taken back" in limit.sentence)
    assert "not with observations 320 ms earlier," in said
    assert "later" not in said
    assert verdict(both).startswith("0 of 2 tested pairs stood out")
    assert verdict(both).endswith(
        "1 more was taken back: the clocks are not known well enough for it."
    )
    html = written(tmp_path, page(evidence=both))
    assert 'class="more found"' not in html
    assert "(2.3)<i>, taken back</i>" in html
    assert "<small>taken back: not found with observations 320 ms earlier</small>" in html
    assert "1 sound type tested within sessions, 0 found, 1 taken back</summary>" in html
    still = evidence(at_offsets={"320 ms earlier": stands, "320 ms later": stands})
    assert len(findings(still)) == still.association.n_found == 1


def test_the_reverse_question_is_held_to_the_clocks_as_well():
    falls = association(replace(FEEDING, is_odds_found=False))
    (pair, *_) = evidence(at_offsets={"320 ms later": falls}).pairs
    assert (pair.is_found, pair.is_odds_found) == (True, False)
    assert pair.odds_taken_back == "observations 320 ms later"


def test_too_few_permutations_for_the_number_of_pairs_are_said():
    many = [replace(FLYING, sound_type=kind) for kind in range(60)]
    part = "199 permutations give no p below .005, which among 60 pairs is a q of .30"
    assert reason(part, *many, n_permutations=199) == "little"
    assert any("It takes 1,199." in said for said in reasons(*many, n_permutations=199))
    assert not any("permutations" in said for said in reasons(*many, n_permutations=1199))


def test_effects_that_would_have_been_missed_are_said():
    pairs = [replace(FLYING, sound_type=kind, detectable=1.5 + kind) for kind in range(3)]
    assert reason("An effect below 1.5 times", *pairs) == "less"
    assert reason("and one below 2.5 in half of them", *pairs) == "less"
    assert reason("An effect below 6.0 times", replace(FLYING, detectable=6.0)) == "little"
    none = replace(FLYING, detectable=None)
    assert reason("of up to 20 times would have been missed in every pair (", none) == "little"
    found = replace(FEEDING, detectable=None)
    assert reason("would have been missed in all other pairs (", none, found) == "little"
    assert not any("up to 20 times" in said for said in reasons(found))


@pytest.mark.parametrize(
    ("name", "is_warned"),
    [
        ("feeding", True),
        ("Feeding call", True),
        ("long_feeding_rasp", True),
        ("mobbing a predator, loud", True),
        ("low double caw", False),
        ("unfeeding", False),
        ("mobbing", False),
    ],
)
def test_a_sound_that_is_named_after_a_behaviour_is_warned_of(name, is_warned):
    said = words.name_warnings({4: name}, ["feeding", "mobbing a predator"])
    assert len(said) == is_warned
    assert all(name in one and "oscine cluster name 4" in one for one in said)


@pytest.mark.parametrize(
    ("write", "value", "written"),
    [
        (words.ratio_text, 2.345, "2.3"),
        (words.ratio_text, 0.4149, "0.41"),
        (words.ratio_text, 0.9999, "1.0"),
        (words.ratio_text, 1234.5, "1,234"),
        (words.ratio_text, float("inf"), "∞"),
        (words.ratio_text, None, "–"),
        (words.p_text, 0.0001, "< .001"),
        (words.p_text, 0.0123, ".012"),
        (words.p_text, 0.3, ".30"),
        (words.p_text, 0.999, "1"),
        (hours_text, 6.2, "6.2 h"),
        (hours_text, 1.0, "1 h"),
        (hours_text, 1234.56, "1,234.6 h"),
        (hours_text, 0.25, "15 min"),
        (hours_text, 126 / 3600, "2 min 6 s"),
        (hours_text, 7 / 3600, "7 s"),
        (words.alpha_text, 0.05, ".05"),
        (words.offset_text, -320.0, "320 ms earlier"),
        (words.listed, ["a", "b", "c"], "a, b and c"),
    ],
)
def test_numbers_are_written_as_papers_write_them(write, value, written):
    assert write(value) == written


# --- Methods and columns -------------------------------------------------------------------

LOG = PageLog(
    name="crows.csv",
    kind="table",
    n_rows=500,
    n_used=420,
    n_unread=1,
    n_points=300,
    n_states=120,
    n_whole=0,
    n_nowhere=0,
    n_recordings=0,
    n_measured=60,
    n_calls=400,
    n_sessions=8,
    n_subjects=3,
    hours=6.2,
    effort="declared",
    timezone="Europe/London",
    sites=["north"],
    guessed=["column 'what' says what was seen"],
    settings=[("time", "date, time"), ("behaviour", "what")],
    problems=[
        Problem(log="crows.csv", row=5, kind="unread", what="'25:61' is no time of day"),
        Problem(log="crows.csv", row=0, kind="suspicious", what="the log is of another year"),
    ],
)
WINDOWS = JoinConfig(tolerance_ms=500, before_ms=5000, after_ms=4000, by_subject=True)


def test_the_methods_name_every_parameter_and_cite_who_is_due():
    shuffled = replace(FLYING, test="shuffled sessions")
    where = "200 ms earlier"
    said = evidence(FEEDING, shuffled, clocks=[CLOCK], at_offsets={where: association(FEEDING)})
    by_site = replace(said.association, is_within_sites=True)
    text = methods_text(replace(said, association=by_site), [LOG], WINDOWS, version="1.2.3")
    for part in (
        "crows.csv (500 rows: 420 with what was seen, 1 that could not be read without doubt (left "
        "out) and 79 with nothing, or with the end of something; 420 observations: 300 points and "
        "120 states; 6.2 h in 8 sessions, taken from: declared; time zone Europe/London)",
        "400 calls of 1 sound type",
        "4.2 s ahead of the recorder's (from 9 of 10 markers; 95 % interval ± 200 ms at its "
        "widest); its times were corrected by this.",
        "with the times of the observations 200 ms earlier.",
        "at most 500 ms away",
        "at most 5 s before an observation, or began at most 4 s after",
        "999 permutations",
        "(flying), the share of time that each took was shuffled among whole sessions of a site "
        "instead, and the ratio was conditional on the calls of each site.",
        "only where it was, and in the same direction, with the observations moved",
        "held at .05",
        "Oscine 1.2.3; random numbers were drawn from seed 0.",
        "Benjamini Y, Hochberg Y (1995)",
        "Phipson B, Smyth GK (2010)",
        "Mantel N, Haenszel W (1959)",
        "Lotwick HW, Silverman BW (1982)",
    ):
        assert part in text
    assert " is tested" not in text  # past tense
    anywhere = methods_text(said, [LOG], WINDOWS, version="1.2.3")
    assert "among whole sessions instead, and the ratio was conditional on the calls of" in anywhere
    assert "site" not in anywhere.replace("recording or site", "")


def test_only_what_was_done_is_in_the_methods():
    text = methods_text(
        replace(evidence(), association=association(FEEDING, n_odds_tested=0)),
        [LOG],
        replace(WINDOWS, by_subject=False),
        version="1",
    )
    for part in ("Mantel", "clock", "whole sessions", "same individual", "moved", "of none"):
        assert part not in text


def test_a_join_by_names_of_recordings_is_described_as_one():
    log = replace(LOG, n_points=0, n_states=0, n_whole=27, n_nowhere=600, n_recordings=20)
    clock = ClockState(log="crows.csv", is_needed=False, source="none")
    said = evidence(clocks=[clock], n_calls=87, n_ungrouped=59)
    text = methods_text(said, [log], WINDOWS, version="1")
    for part in (
        "627 observations: 27 that hold for a whole recording and 600 without a recording or site",
        "What a row of crows.csv says of a recording that it names (20 recordings of the archive) "
        "was joined with all calls of that recording.",
        "A call was together with what was said of its recording.",
        "87 calls, 28 of 2 sound types and 59 of none;",
    ):
        assert part in text
    for part in ("clock of", "500 ms", "5 s before", "repeated"):
        assert part not in text


def test_every_column_that_is_written_is_described(joined):
    assert list(readme.ASSOCIATION) == [one.name for one in fields(Pair)]
    assert list(readme.OBSERVATIONS) == list(OBSERVATIONS)
    assert list(readme.CONTEXT) == [one.name for one in fields(Standing)]
    assert list(readme.LIKENESS) == [one.name for one in fields(Likeness)]
    assert list(readme.PAIRS) == list(PAIRS)
    _, one = joined
    assert list(readme.EFFORT) == one.effort.columns
    assert list(readme.OBSERVED) == one.observed.columns
    assert list(readme.CALLS)[:-1] == one.calls.columns  # without context
    text = readme.readme_text({"join.parquet": ("a call", readme.CALLS)})
    assert "## join.parquet\n\nOne row a call." in text
    assert "| `status` | `observed`: began while somebody watched" in text


# --- The page ------------------------------------------------------------------------------


def session(name="day 1", *, segments=((0, HOUR_MS),), starts=(), types=(), dated=True, **seen):
    segments = np.array(segments, np.int64)
    return Session(
        name=name,
        site="north",
        duration_ms=int((segments[:, 1] - segments[:, 0]).sum()),
        segments=segments + 1_714_000_000_000 * dated,
        is_dated=dated,
        calls=np.arange(len(starts)),
        starts=np.array(starts, np.int64),
        lengths=np.full(len(starts), 200),
        sound_types=np.array(types, np.int64),
        behaviours={key: np.array(spans, np.int64).reshape(-1, 2) for key, spans in seen.items()},
        of_subjects={("feeding", "anna"): np.zeros((0, 2), np.int64)},
    )


def page(**changes):
    shown = PageSession(
        session=session(starts=[0, 60_000], types=[7, -1], feeding=[(0, 600_000)]),
        source="declared",
        zone=ZoneInfo("Europe/London"),
    )
    values = {
        "title": "Joined",
        "evidence": evidence(
            at_offsets={
                "320 ms earlier": association(FEEDING),
                "320 ms later": association(FEEDING),
            }
        ),
        "logs": [LOG],
        "sessions": [shown],
        "methods": "How.\n\nAnd who.",
        "clocks": [
            PageClock(log="crows.csv", said=["It is ahead."], residuals=[(0.0, 12.0, "clap")]),
            PageClock(
                log="other.csv",
                said=[],
                correlogram=Correlogram(
                    lags_ms=[-1000.0, 0.0, 1000.0],
                    heights=[0.1, 5.0, -0.3],
                    height_by_chance=4.0,
                    peak_ms=0.0,
                ),
            ),
        ],
        "files": [("join.parquet", "one row a call")],
        "notes": ["Look here."],
    }
    return JoinPage(**values | changes)


class Parsed(HTMLParser):
    """Tags that are open, and all that a page holds."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.tables = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1] += [""] * int(dict(attrs).get("colspan", 1))
        if tag not in self.VOID and not (self.in_svg and self.get_starttag_text().endswith("/>")):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data
        if (
            "table" in self.open
            and self.tables[-1]
            and self.tables[-1][-1]
            and "svg" not in self.open
        ):
            self.tables[-1][-1][-1] += data

    @property
    def in_svg(self):
        return "svg" in self.open


def written(tmp_path, one):
    write_join(tmp_path / "join.html", one)
    return (tmp_path / "join.html").read_text(encoding="utf-8")


def test_the_same_page_gives_the_same_bytes_and_its_tags_match(tmp_path):
    html = written(tmp_path, page())
    assert html == written(tmp_path, page())
    assert Parsed(html).open == []


def test_the_page_fetches_nothing_and_runs_no_script_but_its_own(tmp_path):
    html = written(tmp_path, page())
    parsed = Parsed(html)
    policy = next(value for _, name, value in parsed.attributes if "default-src" in str(value))
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    links = [value for _, name, value in parsed.attributes if name in ("href", "src", "xlink:href")]
    assert links
    assert all(value.startswith(("#", "data:")) for value in links)
    assert not re.search(r"url\(|@import|https?://", html.replace("http-equiv", ""))
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in links if value.startswith("#")} <= set(ids)


def test_names_that_are_scripts_stay_text(tmp_path):
    hostile = replace(FEEDING, behaviour=HOSTILE)
    odd = replace(UNTESTED, behaviour=HOSTILE, why=HOSTILE, odds_why=HOSTILE)
    log = replace(
        LOG,
        name=HOSTILE,
        kind=HOSTILE,
        effort=HOSTILE,
        timezone=HOSTILE,
        sites=[HOSTILE],
        guessed=[HOSTILE],
        settings=[(HOSTILE, HOSTILE)],
        problems=[Problem(log=HOSTILE, row=1, kind="unread", what=HOSTILE)],
    )
    shown = PageSession(
        session=replace(
            session(HOSTILE, starts=[5], types=[7], **{HOSTILE: [(0, 10)]}), site=HOSTILE
        ),
        source=HOSTILE,
    )
    html = written(
        tmp_path,
        page(
            title=HOSTILE,
            evidence=evidence(
                hostile,
                odd,
                names={7: HOSTILE},
                clocks=[replace(CLOCK, log=HOSTILE, uncertainty_ms=None)],
                at_offsets={"5 ms earlier": association(hostile), "5 ms later": association(odd)},
            ),
            logs=[log],
            sessions=[shown],
            methods=HOSTILE,
            clocks=[PageClock(log=HOSTILE, said=[HOSTILE], residuals=[(0.0, 1.0, HOSTILE)])],
            files=[(HOSTILE, HOSTILE)],
            notes=[HOSTILE],
        ),
    )
    parsed = Parsed(html)
    assert parsed.open == []
    assert parsed.tags.count("script") == 1
    assert not any(name.startswith("on") for _, name, _ in parsed.attributes)
    assert parsed.text.count(HOSTILE) > 20


def test_every_row_of_a_table_says_what_it_rests_on(tmp_path):
    tables = Parsed(written(tmp_path, page())).tables
    counted = [table for table in tables if "Calls" in table[0]]
    # Logs, the matrix, a forest for each of two behaviours and questions, offsets, sessions.
    assert len(counted) == 8
    for head, *rows in counted:
        places = [head.index(name) for name in ("Calls", "Sessions", "Individuals", "Watched")]
        assert rows
        for row in rows:
            assert len(row) == len(head)
            if row[0] not in ("Calls with it", "Sessions", "Individuals", "Watched with it"):
                assert all(re.fullmatch(r"[\d.,]+( h)?", row[place]) for place in places), row
    # What has no count is about a log as a whole: its settings and its rows to look at.
    assert {table[0][0] for table in tables if "Calls" not in table[0]} == {"Setting", "Row"}


def test_a_pair_shows_its_effect_and_an_untested_one_its_reason(tmp_path):
    html = written(tmp_path, page())
    parsed = Parsed(html)
    forest = next(table for table in parsed.tables if "Expected" in table[0])
    assert [row[0] for row in forest[1:]] == ["type 7 'low double caw'", "type 3"]
    assert "2.3 [1.4, 3.9]" in forest[1]
    assert "not tested: 2 calls (5 needed)" in forest[2]
    assert 'title="not tested: 2 calls (5 needed)"' in html
    assert re.search(r'<td class="more found"[^>]*><b>2.3</b><i>, found</i></td>', html)
    assert re.search(r'<td class="less" [^>]*>0.41</td>', html)


CONTEXT = PageContext(
    sound_type=7,
    value="temperature",
    at_calls=1234.5,
    over_effort=1235.0,
    compared=1234.5,
    by_chance=1235.0,
    test="shifts within sessions",
    difference=-0.5,
    low=-0.9,
    high=-0.1,
    deviations=-0.25,
    p=0.01,
    q=0.03,
    from_calls=-0.4,
    from_calls_q=0.2,
    why="",
    n_calls=34,
    n_sessions=8,
    n_subjects=0,
    hours=6.2,
)
ALIKE = PageLikeness(
    behaviour="feeding",
    n_pairs=900,
    both=0.31,
    by_chance=0.22,
    times_chance=1.4,
    p=0.01,
    q=0.02,
    why="",
    n_calls=400,
    n_sessions=8,
    n_subjects=3,
    hours=6.2,
)


def test_measured_values_and_neighbours_have_tables_the_surest_row_first(tmp_path):
    nothing = {"difference": None, "low": None, "high": None, "deviations": None, "test": "none"}
    context = [
        replace(CONTEXT, value=HOSTILE, p=None, q=None, why=HOSTILE, **nothing),
        replace(CONTEXT, value="wind", p=None, q=None, why="never measured", **nothing),
        replace(CONTEXT, value="group size", q=0.5),
        CONTEXT,
    ]
    alike = [
        replace(ALIKE, behaviour=HOSTILE, both=None, times_chance=None, q=None, why="too few"),
        ALIKE,
    ]
    html = written(tmp_path, page(context=context, neighbourhood=alike))
    parsed = Parsed(html)
    assert parsed.open == []
    assert parsed.tags.count("script") == 1
    measured = next(table for table in parsed.tables if "Measured" in table[0])
    counts = ["34", "8", "–", "6.2 h"]
    assert measured[1] == [
        "type 7 'low double caw'", "temperature", "1,234, 1,235", "within sessions",
        "1,234, 1,235", "−0.5", "[−0.9, −0.1]", "−0.25", ".010", ".030", "−0.4", *counts,
    ]  # fmt: skip
    assert [row[1] for row in measured[2:]] == ["group size", HOSTILE, "wind"]
    assert [row[3] for row in measured[3:]] == ["not tested", "not tested"]
    assert "Not tested, wind: never measured (type 7 'low double caw')." in parsed.text
    assert "<b>−0.5</b>" in html
    near = next(table for table in parsed.tables if "Pairs of neighbours" in table[0])
    found = ["feeding", "900", "31%", "22%", "1.4", ".010", ".020", "400", "8", "3", "6.2 h"]
    assert near[1] == found
    assert (near[2][0], near[2][6]) == (HOSTILE, "not tested: too few")


def test_a_sound_that_is_spoken_of_can_be_heard(tmp_path):
    exemplar = PageExemplar(
        event_id="e1",
        recording="north/a.flac",
        start_s=1.0,
        stop_s=2.0,
        spectrogram=np.zeros((20, 8)),
        audio=b"ID3",
    )
    shown = {7: (exemplar, None), 3: (exemplar, None)}
    band_hz = np.geomspace(200, 8000, 8)
    html = written(tmp_path, page(exemplars=shown, band_hz=band_hz))
    assert html.count('<figure class="exemplar"') == 1
    assert "<b>type 7 &#x27;low double caw&#x27;</b>" in html
    script = re.search(r'<script type="module">(.*?)</script>', html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html


def test_what_can_be_said_comes_first_and_what_cannot_beside_it(tmp_path):
    text = Parsed(written(tmp_path, page())).text
    order = [
        text.index(part)
        for part in (
            "1 of 2 tested pairs goes together",
            "Sound type 7 'low double caw' goes with feeding",
            "What cannot be said, and why",
            "no finding is not no effect",
            "Look here.",
            "Read as",
        )
    ]
    assert order == sorted(order)


def test_long_lists_are_folded_after_the_first_rows(tmp_path):
    problems = [replace(LOG.problems[0], row=row) for row in range(2, 47)]
    shown = [
        PageSession(session=session(f"day {n}", starts=[1], types=[7]), source="declared")
        for n in range(30)
    ]
    html = written(tmp_path, page(logs=[replace(LOG, problems=problems)], sessions=shown))
    assert "<summary>25 more rows</summary>" in html
    assert "<summary>18 more sessions</summary>" in html  # strips
    assert "<summary>10 more sessions</summary>" in html  # rows of the table of effort


def test_what_is_hidden_in_a_table_scrolls_with_it_and_does_not_widen_the_page(tmp_path):
    """Reasons for untested cells are placed absolutely, which must be within what scrolls."""
    html = written(tmp_path, page())
    hidden = re.search(r"([^}]*)\{ position: absolute; width: 1px", html).group(1)
    assert ".matrix i" in hidden
    (table,) = re.findall(r"^\.table \{ max-width.*?\}", html, re.MULTILINE)
    assert "position: relative" in table


def test_the_largest_join_stays_small(tmp_path, rng):
    """50 types x 20 behaviours, 200 sessions of 500 calls."""
    pairs = [
        replace(FEEDING, sound_type=kind, behaviour=f"behaviour {n}", q=float(rng.random()))
        for n in range(20)
        for kind in range(50)
    ]
    shown = []
    for number in range(200):
        starts = np.sort(rng.integers(0, HOUR_MS, 500))
        seen = {
            f"behaviour {n}": np.sort(rng.choice(HOUR_MS, 16, replace=False)).reshape(-1, 2)
            for n in range(20)
        }
        one = session(f"day {number}", starts=starts, types=rng.integers(-1, 50, 500), **seen)
        shown.append(PageSession(session=one, source="declared"))
    html = written(tmp_path, page(evidence=evidence(*pairs, names={}), sessions=shown))
    assert len(html.encode()) < 3_000_000


@pytest.fixture(scope="module")
def made():
    """Sessions in which calls of type 1 are in bouts of feeding, at 12 degrees; others are not."""
    rng = np.random.default_rng(0)
    sessions = []
    for number in range(10):
        bouts = np.arange(60_000, HOUR_MS - 60_000, 200_000)
        bouts = bouts + rng.integers(0, 100_000, len(bouts))
        spans = np.stack([bouts, bouts + 60_000], axis=1)
        tied = (bouts[:, None] + rng.integers(0, 60_000, (len(bouts), 2))).ravel()
        free = rng.integers(0, HOUR_MS, 40)
        starts, types = np.append(tied, free), np.repeat([1, 0], [len(tied), 40])
        order = np.argsort(starts)
        one = session(f"day {number}", starts=starts[order], types=types[order], feeding=spans)
        edges = np.append(np.append(0, spans.ravel()), HOUR_MS)
        held = Held(
            spans=np.stack([edges[:-1], edges[1:]], axis=1),
            values=np.where(np.arange(len(edges) - 1) % 2, 12.0, 10.0),
        )
        calls = one.calls + 100 * number
        sessions.append(replace(one, calls=calls, contexts={"temperature": held}))
    return sessions


def test_a_join_of_made_sessions_goes_from_statistics_to_page(tmp_path, made):
    found = associate(made, n_permutations=199)
    said = replace(evidence(), association=found, names={})
    (finding,) = findings(said)
    assert finding.sentence.startswith("Sound type 1 goes with feeding")
    shown = [PageSession(session=one, source="declared") for one in made]
    html = written(tmp_path, page(evidence=said, sessions=shown))
    assert "Sound type 1 goes with feeding" in html


def test_a_sound_type_without_a_name_is_told_by_band_and_length(tmp_path):
    looks = {3: "0.9 to 2.8 kHz, 0.24 s", 7: "1 to 2 kHz, 0.5 s"}
    shown = evidence(replace(FEEDING, sound_type=3), FEEDING, looks=looks)
    assert [finding.sentence.split(" goes with ")[0] for finding in findings(shown)] == [
        "Sound type 3 (0.9 to 2.8 kHz, 0.24 s)",
        "Sound type 7 'low double caw'",
    ]
    html = written(tmp_path, page(evidence=shown))
    assert all(f"<small>{look}</small>" in html for look in looks.values())


def test_values_and_neighbours_of_made_sessions_come_to_the_page(tmp_path, made):
    stood = in_context(made, n_permutations=199)
    context = page_context(stood, made)
    warm = next(one for one in context if (one.sound_type, one.value) == (1, "temperature"))
    assert warm.at_calls > warm.over_effort
    assert warm.difference > 0
    assert warm.q <= 0.05
    n_of_type = sum(int((one.sound_types == 1).sum()) for one in made)
    assert (warm.n_calls, warm.n_sessions, warm.n_subjects) == (n_of_type, 10, 1)
    assert any(one.value == HOUR for one in context)

    calls = np.concatenate([one.calls for one in made])
    types = np.concatenate([one.sound_types for one in made])
    others = [np.flatnonzero(types == kind) for kind in types]
    rng = np.random.default_rng(1)
    neighbours = np.array([rng.choice(one, 4, replace=False) for one in others])
    near = agreement(made, calls, neighbours, n_permutations=199)
    (alike,) = page_likenesses(near, made)
    assert alike.behaviour == "feeding"
    assert alike.times_chance > 1
    assert alike.hours == pytest.approx(10)

    said = replace(evidence(), association=associate(made, n_permutations=199), names={})
    text = methods_text(
        said,
        [LOG],
        WINDOWS,
        version="1",
        more=[context_text(stood), neighbourhood_text(near, 4)],
    )
    assert "What was measured (hour of the day and temperature)" in text
    assert "the 4 nearest calls of other recordings" in text
    # What was not tested is not described.
    hours = [replace(one, p=None) if one.context == HOUR else one for one in stood.standings]
    assert "measured (temperature)" in context_text(replace(stood, standings=hours))
    assert context_text(replace(stood, standings=[one for one in hours if one.p is None])) == ""
    assert neighbourhood_text(replace(near, p=None), 4) == ""
    html = written(
        tmp_path,
        page(context=context, neighbourhood=[alike], neighbourhood_p=0.021, methods=text),
    )
    assert "All behaviours together: p .021." in html
    parsed = Parsed(html)
    assert parsed.open == []
    assert sum("Measured" in table[0] for table in parsed.tables) == 1
    assert sum("Pairs of neighbours" in table[0] for table in parsed.tables) == 1


# --- From logs to the page -----------------------------------------------------------------


@pytest.fixture
def joined(tmp_path):
    """An hour at north, of which the observer watched from 10:00 to 10:40; a call each minute."""
    log = tmp_path / "crows.csv"
    log.write_text(
        "start,stop,behaviour,subject\n"
        "2024-04-25 10:00:00,2024-04-25 10:10:00,feeding,anna\n"
        "2024-04-25 10:20:00,2024-04-25 10:30:00,feeding,bob\n"
        "2024-04-25 10:35:00,2024-04-25 10:40:00,alert,\n"
        "2024-04-25 10:38:00,2024-04-25 10:37:00,alert,anna\n"
    )
    config = LogConfig(timezone="Europe/London", site="=north")
    start_ms = 1_714_035_600_000  # 10:00 in London is 09:00 UTC
    recordings = pl.DataFrame(
        [(0, "a.flac", "North", start_ms, HOUR_MS)], schema=dict(RECORDINGS), orient="row"
    )
    at_ms = [minute * 60_000 + 30_000 for minute in range(60)]
    calls = pl.DataFrame(
        [
            (n, 0, "a.flac", "North", "", n % 2, start_ms + at, start_ms + at + 200, at, at + 200)
            for n, at in enumerate(at_ms)
        ],
        schema=dict(CALLS),
        orient="row",
    )
    read = read_log(log, config)
    one = join(calls, recordings, read.observations, read.effort, read.context, JoinConfig())
    return read, one


def test_what_a_log_gave_is_counted(joined):
    shown = page_log(*joined)
    assert (shown.n_rows, shown.n_used, shown.n_unread) == (4, 3, 1)
    assert (shown.n_points, shown.n_states, shown.n_measured) == (0, 3, 0)
    assert (shown.n_whole, shown.n_nowhere, shown.n_recordings) == (0, 0, 0)
    assert (shown.n_calls, shown.n_sessions, shown.n_subjects) == (40, 1, 2)
    assert shown.hours == pytest.approx(40 / 60)
    assert shown.effort == "first to last row"
    assert shown.timezone == "Europe/London"
    assert shown.sites == ["North"]
    assert ("timezone", "Europe/London") in shown.settings
    assert [problem.row for problem in shown.problems if problem.kind == "unread"] == [5]


def test_what_nobody_watched_is_known_to_words_and_page(joined):
    _, one = joined
    known = evidence_of(one, associate(one.sessions, n_permutations=99), tolerance_ms=500)
    assert (known.n_unobserved, known.n_elsewhere, known.n_timeless) == (20, 0, 0)
    assert known.n_subjects == 2
    assert known.guessed_hours == pytest.approx(known.association.hours)
    (shown,) = page_sessions(one, {"crows": "Europe/London"})
    assert when_text(shown) == "2024-04-25 10:00 to 10:40 (Europe/London)"
    assert shown.source == "first to last row"
    assert shown.n_subjects == 2
    assert not len(shown.unobserved_ms)  # they lie after it


def test_individuals_of_a_log_are_those_that_were_seen_in_the_hours_that_count(joined):
    read, one = joined
    unseen = read.observations.with_columns(pl.lit("zoe").alias("subject"))
    more = replace(read, observations=pl.concat([read.observations, unseen]))
    known = evidence_of(
        one, associate(one.sessions, n_permutations=99), tolerance_ms=500, has_subjects=True
    )
    assert page_log(more, one).n_subjects == known.n_subjects == 2


def test_unobserved_calls_within_a_session_are_those_of_its_gaps(joined):
    _, one = joined
    first, *_ = one.sessions
    start, stop = first.segments[0]
    cut = np.array([[start, start + 600_000], [stop - 600_000, stop]])
    one.sessions[0] = replace(first, segments=cut, duration_ms=1_200_000)
    times = pl.col("start_ms")
    is_in_gap = (times >= start + 600_000) & (times < stop - 600_000)
    status = pl.when(is_in_gap).then(pl.lit("unobserved")).otherwise(pl.col("status"))
    calls = one.calls.with_columns(status=status.cast(one.calls["status"].dtype))
    (shown,) = page_sessions(replace(one, calls=calls), {})
    assert len(shown.unobserved_ms) == 20
    assert shown.unobserved_ms[0] == start + 630_000


def test_logs_join_and_statistics_come_to_the_page(joined, tmp_path):
    read, one = joined
    known = evidence_of(one, associate(one.sessions, n_permutations=99), tolerance_ms=500)
    shown = page_log(read, one)
    html = written(
        tmp_path,
        page(
            evidence=known,
            logs=[shown],
            sessions=page_sessions(one, {}),
            methods=methods_text(known, [shown], WINDOWS, version="1"),
        ),
    )
    text = Parsed(html).text
    assert "Not much can be said" in text or "Nothing can be said" in text
    assert "1 session is few" in text
    assert "20 calls at other times counted as unobserved" in text


def test_clocks_told_by_markers_come_to_words_and_page():
    observer = np.arange(10) * 600_000 + 4200 + np.array([0, 30, -20, 10, 0, -10, 20, 0, 10, -30])
    recorder = np.arange(10) * 600_000
    fit = fit_clock(observer, recorder)
    names = [f"clap {n}" for n in range(10)]
    state, shown = clock_of_markers(
        "crows",
        fit,
        observer,
        recorder,
        names,
        is_needed=True,
    )
    assert state.offset_ms == pytest.approx(4200, abs=20)
    assert state.uncertainty_ms == fit.uncertainty_ms
    assert (state.n_markers, state.n_markers_used) == (10, 10)
    assert shown.said == fit.words()
    hours, off_ms, name = shown.residuals[1]
    assert (hours, name) == (pytest.approx(600_030 / HOUR_MS), "clap 1")
    assert off_ms == pytest.approx(30, abs=20)
    same = fit_clock(recorder, recorder)
    state, _ = clock_of_markers("crows", same, recorder, recorder, names, is_needed=True)
    assert reason("agree to the second in 10 of 10 cases", clocks=[state]) == "less"


def test_a_clock_that_activity_does_not_tell_is_not_known():
    nothing = ActivityOffset(
        reason="flat", n_blocks=1, effort_h=1.0, max_lag_ms=600_000, n_permutations=199, seed=0
    )
    state, shown = clock_of_activity("crows", nothing, is_needed=True)
    assert shown.correlogram is None
    assert reason("how far the observer's clock stood", clocks=[state]) == "less"
    lags = np.arange(-2.0, 3.0) * 1000
    found = replace(
        nothing,
        offset=Offset(at_ms=0, offset_ms=1000.0, interval_ms=(800.0, 1300.0)),
        reason="",
        p=0.005,
        peak_ms=1000.0,
        behaviour="feeding",
        lags_ms=lags,
        heights=np.array([0.0, 0.1, 0.2, 7.0, 0.3]),
        height_by_chance=4.0,
    )
    state, shown = clock_of_activity("crows", found, is_needed=True)
    assert (state.offset_ms, state.uncertainty_ms) == (1000.0, 300.0)
    assert shown.correlogram.heights[3] == 7.0


def test_twenty_sparrow_clips_cannot_say_much(real_data):
    """The clips' times were taken from the log: every one agrees, and that is said."""
    with (real_data / "labels.csv").open(encoding="utf-8-sig") as file:
        clips = [row for row in csv.DictReader(file) if row["part"] == "behaviour_house_sparrow"]
    times = [
        datetime.fromisoformat(row["recorded_at"]).replace(tzinfo=ZoneInfo("Europe/London"))
        for row in clips
    ]
    starts = [round(time.timestamp() * 1000) for time in times]
    places = [(n, clip["path"], "lundy") for n, clip in enumerate(clips)]
    recordings = pl.DataFrame(
        [(*place, start, 7000) for place, start in zip(places, starts, strict=True)],
        schema=dict(RECORDINGS),
        orient="row",
    )
    calls = pl.DataFrame(
        [
            (n, n, clip["path"], "lundy", "", n % 2, start, start + 7000, 0, 7000)
            for n, (clip, start) in enumerate(zip(clips, starts, strict=True))
        ],
        schema=dict(CALLS),
        orient="row",
    )
    log = read_log(
        real_data / "behaviour" / "house_sparrow_observations.csv",
        LogConfig(time=("date", "time"), timezone="Europe/London", marker="audio_marker"),
    )
    one = join(calls, recordings, log.observations, log.effort, log.context, JoinConfig())
    pairs = marker_pairs(log.stated, recordings)
    observer, recorder = pairs["observer_ms"].to_numpy(), pairs["recorder_ms"].to_numpy()
    fit = fit_clock(observer, recorder)
    state, _ = clock_of_markers(
        log.name,
        fit,
        observer,
        recorder,
        pairs["key"].to_list(),
        is_needed=True,
    )
    known = evidence_of(one, associate(one.sessions), tolerance_ms=500, clocks=[state])
    assert verdict(known).startswith(("Not much can be said", "Nothing can be said"))
    said = " ".join(limit.sentence for limit in limits(known))
    assert "calls are few" in said
    assert "min 20 s of watching is little" in said
    assert "They agree by construction" in said


# --- Drawings ------------------------------------------------------------------------------


def test_a_strip_hatches_what_nobody_watched_and_puts_unobserved_calls_there():
    gap = HOUR_MS // 20
    watched = session(
        segments=((0, HOUR_MS), (HOUR_MS + gap, 2 * HOUR_MS)),
        starts=[0, HOUR_MS],
        types=[0, 0],
        feeding=[(HOUR_MS - 1000, HOUR_MS + 1000)],
    )
    shown = PageSession(
        session=watched,
        source="declared",
        unobserved_ms=np.array([watched.segments[0, 1] + gap // 2]),
    )
    html = strip(shown, ["type 0"])
    left, width = (
        float(part) for part in re.search(r'gap" style="left:(.+?)%;width:(.+?)%"', html).groups()
    )
    assert left == pytest.approx(50, abs=0.01)
    assert width == pytest.approx(2.5, abs=0.01)
    unobserved, heard, seen = re.findall(r'<path d="M0,9(.+?)"', html)
    assert unobserved == "m308,0h2"  # in the middle of the gap: (60 + 1.5) / 120 of 600
    assert heard == "m0,0h2m313,0h2"  # the second as the watching goes on: 315 of 600
    assert seen == "m300,0h2m13,0h2"  # nobody saw it go on during the gap
    assert "type 0, 2 calls; feeding, 1 times" in html


def test_a_long_gap_is_drawn_shorter_than_it_was():
    watched = session(
        segments=((0, HOUR_MS), (100 * HOUR_MS, 101 * HOUR_MS)), starts=[0], types=[0]
    )
    html = strip(PageSession(session=watched, source="declared"), ["type 0"])
    width = float(re.search(r"width:(.+?)%", html).group(1))
    assert width == pytest.approx(100 * 0.2 / 2.2, abs=0.01)


def test_many_calls_are_drawn_as_how_many_there_are_at_a_time():
    starts = np.sort(np.append(np.arange(0, HOUR_MS, 10_000), np.full(40, 1000)))
    many = session(starts=starts, types=np.zeros(len(starts), int))
    html = strip(PageSession(session=many, source="declared"), ["type 0"])
    assert html.count('class="filled"') == 1
    assert "type 0, 400 calls, up to 43 in 30 s" in html


def test_rare_types_and_behaviours_share_a_row():
    types = np.repeat(np.arange(30), np.arange(30, 0, -1))
    seen = {f"b{n:02}": [(1000, 2000 + n)] for n in range(14)}
    wide = session(starts=np.arange(len(types)) * 100, types=types, **seen)
    html = strip(PageSession(session=wide, source="declared"), [f"type {n}" for n in range(30)])
    assert "20 other types" in html
    assert "4 other behaviours" in html
    assert "b13<" in html
    assert "b00<" not in html


def test_a_session_in_which_nothing_was_heard_or_seen_is_not_drawn():
    assert strip(PageSession(session=session(feeding=[]), source="declared"), []) == ""


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        (ZoneInfo("Europe/London"), "2024-04-25 00:06 to 01:06 (Europe/London)"),
        (timezone(timedelta(hours=2)), "2024-04-25 01:06 to 02:06 (UTC+02:00)"),
    ],
)
def test_times_of_a_session_are_those_of_its_zone(zone, text):
    assert when_text(PageSession(session=session(), source="", zone=zone)) == text


def test_times_go_over_the_change_of_clocks_and_midnight():
    """On 27 October 2024 clocks in London go back at 02:00: 01:30 comes twice."""
    start = 1_729_980_000_000 - 1_714_000_000_000  # 2024-10-26 22:00 UTC
    night = session(segments=((start, start + 5 * HOUR_MS),), starts=[5], types=[0])
    shown = PageSession(session=night, source="", zone=ZoneInfo("Europe/London"))
    assert when_text(shown) == "2024-10-26 23:00 to 2024-10-27 03:00 (Europe/London)"
    times = re.findall(r'class="time"[^>]*>([^<]+)<', strip(shown, ["type 0"]))
    assert times == ["23:00", "27 Oct 00:00", "01:00", "01:00", "02:00"]


def test_times_in_a_recording_count_from_its_start():
    clip = session(segments=((0, 7000),), starts=[5], types=[0], dated=False)
    shown = PageSession(session=clip, source="whole recording")
    assert when_text(shown) == "0:00.0 to 0:07.0 of a recording"
    assert "0:02.0" in strip(shown, ["type 0"])


def test_recordings_of_a_session_are_drawn_one_after_the_other():
    clips = session(segments=((0, 7000), (7000, 14_000)), starts=[5], types=[0], dated=False)
    shown = PageSession(session=replace(clips, n_timelines=2), source="whole recording")
    assert when_text(shown) == "0:00.0 to 0:14.0 of 2 recordings end to end"
    beside = session(
        segments=((0, HOUR_MS), (0, HOUR_MS // 2)), starts=[5, HOUR_MS + 5], types=[0, 0]
    )
    shown = PageSession(session=beside, source="whole recording")
    assert when_text(shown) == "2024-04-24 23:06 to 2024-04-25 00:06 (UTC)"
    html = strip(shown, ["type 0"])
    assert 'class="gap"' not in html
    times = re.findall(r'class="time" style="left:([\d.]+)%">([^<]+)<', html)
    assert [share for share, text in times if text == times[0][1]] == ["0.0", "66.7"]


def test_a_scale_of_ratios_holds_one_and_says_where_an_interval_goes_on():
    scale = RatioScale.of([0.3, 3.0, None, float("inf"), 0.0])
    assert (scale.low, scale.high) == (0.25, 4)
    assert [text for _, text in scale.ticks] == ["1/4", "1/2", "1", "2", "4"]
    assert scale.place(0.5) - scale.place(0.25) == pytest.approx(scale.place(4) - scale.place(2))
    inside = scale.row("ratios", 2.0, 1.0, 3.0, is_found=True)
    beyond = scale.row("ratios", 2.0, 0.1, float("inf"), is_found=False)
    assert inside.count("l6") == inside.count("l-6") == 0
    assert beyond.count("l6") == beyond.count("l-6") == 1
    assert "hollow" in beyond
    assert "hollow" not in inside
    assert len(RatioScale.of([1e-9, 1e9]).ticks) < 8
