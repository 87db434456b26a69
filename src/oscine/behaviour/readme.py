"""What the columns of the tables mean that the join writes, for who reads them into R.

In come names of files and which table each holds; out goes Markdown that is written beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

from oscine.behaviour.ratios import MOST_DETECTABLE
from oscine.sound.tables import tables_text

_CALL = "number of the call, as the atlas and `oscine export` have it"
_TYPE = "number of the sound type (an acoustic group); -1: in none"
_TOGETHER = "shared time with the behaviour, or was within the tolerance of its point"

CALLS: Mapping[str, str] = {
    "call": _CALL,
    "recording": "number of the recording",
    "path": "the recording, from the archive's folder",
    "site": "where it was made; empty: not known",
    "caller": "who called; empty: not known",
    "sound_type": _TYPE,
    "start_ms": "when the call began, milliseconds of UTC since 1970; empty: not known",
    "stop_ms": "when it ended, likewise",
    "file_start_ms": "when it began, milliseconds from the first sample of the recording",
    "file_stop_ms": "when it ended, likewise",
    "status": "`observed`: began while somebody watched; `unobserved`: when nobody did; `no time`: "
    "its recording has none; `no log`: no log says anything of its site or recording",
    "joined_session": "place of its session of observation, from 0; empty: not observed",
    "behaviours": "names of what it was during, sorted; empty where not observed, which is not the "
    "same as a list without names",
    "n_during": "observations that it " + _TOGETHER,
    "n_before": "observations that began within the window after it ended",
    "n_after": "observations that ended within the window before it began",
    "context_NAME": "what was measured when it began, in the unit of the log",
}
"""One row a call."""

PAIRS: Mapping[str, str] = {
    "call": _CALL,
    "observation": "number of the observation",
    "relation": "what the call was to it: `during`, `before` or `after`",
    "lag_ms": "from the start of the observation to that of the call, milliseconds",
    "shared_ms": "time that both have in common, milliseconds; 0 with a point",
}
"""One row a call and an observation."""

OBSERVATIONS: Mapping[str, str] = {
    "observation": "its number, from 0, in the order of log and row",
    "log": "the log that it is from",
    "row": "line of the file, the header being 1; of a start and a stop, that of the start. What a "
    "row says that names a recording and states a time is there twice, once for the whole of that "
    "recording and once at its time: a call goes with it once, and it counts once if rows with the "
    "same `log`, `row`, `behaviour` and `subject` do",
    "behaviour": "what was seen",
    "is_state": "whether it lasted; else it was an instant",
    "subject": "who was seen; empty: nobody was named",
    "session": "session of the log",
    "timeline": "what its times count on: `site:NAME` (milliseconds of UTC since 1970) or "
    "`file:KEY` (milliseconds from the first sample of the recording of that key)",
    "start_ms": "when it began, on the recorder's clock where that was corrected",
    "stop_ms": "when it ended; that of an instant is when it began; empty: it holds for the whole "
    "of the recording",
    "count": "how many there were; empty: not counted",
}
"""One row an observation."""

EFFORT: Mapping[str, str] = {
    "log": "the log",
    "session": "session of the log",
    "site": "where it was watched: of the recordings or, where they have none, of the log",
    "path": "the recording, where only that was watched; else empty",
    "sources": "where the hours are from: declared, media, whole recording, or first to last row",
    "watched_h": "hours that somebody watched",
    "recorded_h": "hours of these during which a recorder ran",
    "n_calls": "calls that began in these",
    "joined_session": "place of its session of observation, from 0; empty: nothing was recorded",
}
"""One row a session of a log at a site."""

OBSERVED: Mapping[str, str] = {
    "log": "the log",
    "behaviour": "what was seen",
    "n": "observations",
    "n_nowhere": "of these, how many have no recording or site",
    "n_whole": "how many hold for the whole of a recording that the log names, whatever its time",
    "n_points": "how many of the others are instants, by their times",
    "n_states": "how many of the others last",
    "n_outside_effort": "how many lie outside the hours that are said to be watched",
    "n_unrecorded": "how many were seen while no recorder ran",
    "n_with_calls": "how many a call was during",
}
"""One row a log and behaviour."""

ASSOCIATION: Mapping[str, str] = {
    "sound_type": _TYPE,
    "behaviour": "what was seen",
    "n_calls": "calls of the type while somebody watched for the behaviour",
    "n_together": "calls of these that " + _TOGETHER,
    "expected": "how many would by chance, given what each session has of both (each site, where "
    "sessions were shuffled; all sessions, where no site has several)",
    "hours_on": "hours watched with the behaviour",
    "hours_off": "hours watched without it",
    "n_sessions": "sessions in which it was watched for",
    "n_subjects": "individuals that showed it; 0: nobody noted them",
    "rate_on": "calls an hour with it, over all sessions",
    "rate_off": "calls an hour without it, over all sessions",
    "rate_ratio": "rate of calls with it over that without, compared within sessions (between the "
    "sessions of each site where `test` is `shuffled sessions`); empty: not tested",
    "low": "lower end of the 95 % interval of the ratio",
    "high": "upper end of it; Inf: no bound",
    "p": "two-sided, by permutation",
    "q": "the false discovery rate at which the pair would just be found",
    "is_found": "whether q is at most the false discovery rate, and stays so with observations "
    "moved to either end of what is known of the clocks",
    "taken_back": "where it does not stay so: how observations were moved; else empty",
    "test": "`shifts within sessions`, `shuffled sessions`, or `not tested`",
    "why": "why it was not tested",
    "detectable": "the least ratio above 1 that would have been found in 80 % of such studies; "
    f"empty: none up to {MOST_DETECTABLE:g}",
    "detectable_below": "the ratio nearest to 1, below it, likewise; empty: none down to "
    f"{1 / MOST_DETECTABLE:g}",
    "share_of_one_session": "largest share of the calls together that is from one session, 0 to 1",
    "share_of_one_subject": "largest share of them that is with one individual, 0 to 1",
    "ratio_without_it": "the rate ratio without that session",
    "low_without_it": "lower end of its 95 % interval",
    "high_without_it": "upper end of it",
    "rests_on_one": "whether the finding rests on one session or individual",
    "odds_ratio": "odds of the type among calls with the behaviour over those among other calls of "
    "the same sessions (of the same site where `test` is `shuffled sessions`); empty: not tested",
    "odds_low": "lower end of its 95 % interval",
    "odds_high": "upper end of it",
    "odds_p": "two-sided, by permutation",
    "odds_q": "the false discovery rate at which it would just be found, a family of its own",
    "is_odds_found": "as `is_found`",
    "odds_taken_back": "as `taken_back`",
    "odds_why": "why it was not tested",
}
"""One row a sound type and a behaviour."""


CONTEXT: Mapping[str, str] = {
    "sound_type": _TYPE,
    "context": "what was measured; `hour of the day` comes with every dated session, in local time",
    "n_calls": "calls of the type for which it is known",
    "n_sessions": "sessions in which it is known",
    "hours": "hours watched for which it is known",
    "mean_at_calls": "its mean at calls of the type, in the unit of the log",
    "mean_at_all_calls": "its mean at calls of all types",
    "mean_over_effort": "its mean over the hours watched",
    "deviation": "its standard deviation over them",
    "mean_compared": "its mean at those calls of the type that can be compared, which are those in "
    "sessions in which it changes (where `test` is `shuffled sessions`: the mean of the sessions "
    "of the calls); empty: not tested",
    "mean_by_chance": "what that would be by chance: the mean over the hours watched in the "
    "sessions of the calls (where `test` is `shuffled sessions`: in all sessions of their sites)",
    "difference": "the one less the other",
    "low": "lower end of its 95 % interval",
    "high": "upper end of it",
    "p": "two-sided, by permutation",
    "q": "the false discovery rate at which it would just be found",
    "test": "`shifts within sessions`, `shuffled sessions`, or `not tested`",
    "why": "why it was not tested",
    "from_calls": "at calls of the type less at calls of all types",
    "from_calls_p": "two-sided, by permutation",
    "from_calls_q": "the false discovery rate at which it would just be found, a family of its own",
    "from_calls_why": "why it was not tested",
}
"""One row a sound type and a measured value."""

LIKENESS: Mapping[str, str] = {
    "behaviour": "what was seen",
    "n_pairs": "pairs of a call and a neighbour in embedding space, from another session",
    "n_calls": "calls that they are made of",
    "n_sessions": "sessions that these come from",
    "both": "share of the pairs in which both calls are with the behaviour, 0 to 1",
    "by_chance": "the same for calls drawn from the two sessions of each pair",
    "times_chance": "their ratio",
    "p": "one-sided, by permutation",
    "q": "the false discovery rate at which it would just be found",
    "why": "why it was not tested",
}
"""One row a behaviour: are calls that sound alike more alike in it."""


def readme_text(tables: Mapping[str, tuple[str, Mapping[str, str]]]) -> str:
    """Describe tables in Markdown.

    Parameters
    ----------
    tables : mapping of str to (str, mapping of str to str)
        Of each file: what a row is, and what its columns mean.

    Returns
    -------
    str
    """
    return tables_text(
        "# The tables of `oscine join`\n\nTimes are whole milliseconds, intervals half-open (the "
        "stop is not in them). In CSV, an empty cell is not known or does not apply; `Inf` "
        "has no bound; text that a spreadsheet would take for a formula has `'` before it. In R: "
        '`arrow::read_parquet("FILE.parquet")` or `read.csv("FILE.csv")`.\n',
        tables,
    )
