"""How it was done, in paragraphs for a paper: every parameter, and who is to be cited for what.

In come what was joined and with which settings; out goes plain text in the past tense. Called by
the step that joins; the page and the JSON carry it.
"""

from __future__ import annotations

from collections.abc import Sequence

from oscine.atlas.pictures import count_text
from oscine.behaviour.association import MIN_CALLS, MIN_EXPECTED
from oscine.behaviour.clocks import hours_text, length
from oscine.behaviour.columns import MIN_CHANGES, MIN_WITHIN
from oscine.behaviour.context import Contexts
from oscine.behaviour.join import JoinConfig
from oscine.behaviour.neighbourhood import Neighbourhood
from oscine.behaviour.page import PageLog
from oscine.behaviour.words import (
    ClockState,
    Evidence,
    alpha_text,
    listed,
)

REFERENCES = {
    "Benjamini & Hochberg 1995": "Benjamini Y, Hochberg Y (1995) Controlling the false discovery "
    "rate. J. R. Stat. Soc. B 57: 289–300.",
    "Greenland & Mansournia 2015": "Greenland S, Mansournia MA (2015) Penalization, bias "
    "reduction, and default priors in logistic and related categorical and survival regressions. "
    "Stat. Med. 34: 3133–3143.",
    "Harris 2020": "Harris KD (2020) Nonsense correlations in neuroscience. bioRxiv "
    "2020.11.29.402719.",
    "Lotwick & Silverman 1982": "Lotwick HW, Silverman BW (1982) Methods for analysing spatial "
    "processes of several types of points. J. R. Stat. Soc. B 44: 406–413.",
    "Mantel & Haenszel 1959": "Mantel N, Haenszel W (1959) Statistical aspects of the analysis of "
    "data from retrospective studies of disease. J. Natl. Cancer Inst. 22: 719–748.",
    "Phipson & Smyth 2010": "Phipson B, Smyth GK (2010) Permutation p-values should never be zero. "
    "Stat. Appl. Genet. Mol. Biol. 9: 39.",
    "Robins et al. 1986": "Robins J, Breslow N, Greenland S (1986) Estimators of the "
    "Mantel-Haenszel variance consistent in both sparse data and large-strata limiting models. "
    "Biometrics 42: 311–323.",
}


def methods_text(
    evidence: Evidence,
    logs: Sequence[PageLog],
    windows: JoinConfig,
    *,
    version: str,
    more: Sequence[str] = (),
) -> str:
    """Describe what was done, for a paper.

    Parameters
    ----------
    evidence : Evidence
    logs : sequence of PageLog
    windows : JoinConfig
    version : str
        Of Oscine.
    more : sequence of str
        Paragraphs on what else was asked; what they cite of ``REFERENCES`` is listed as well.

    Returns
    -------
    str
        Paragraphs, apart by an empty line; the last lists the references.
    """
    paragraphs = [
        _material(evidence, logs),
        _clocks(evidence),
        _together(evidence, logs, windows),
        _by_time(evidence),
        _among_calls(evidence),
        *more,
        f"All of this was done with Oscine {version}; random numbers were drawn from seed "
        f"{evidence.association.seed}.",
    ]
    said = " ".join(paragraphs)
    cited = [whole for short, whole in REFERENCES.items() if short in said]
    return "\n\n".join([*(one for one in paragraphs if one), "References: " + " ".join(cited)])


def context_text(found: Contexts) -> str:
    """Describe how sound types were held against what was measured.

    Parameters
    ----------
    found : Contexts

    Returns
    -------
    str
        A paragraph for :func:`methods_text`; empty where nothing was tested.
    """
    values = sorted({one.context for one in found.standings if one.p is not None})
    if not values:
        return ""
    return (
        f"What was measured ({listed(values)}) was held against sound types in the same way: the "
        "mean at the calls of a type less the mean over the time that was observed in their "
        f"sessions{_whole_means(found)}, and less that at the calls of all types; two-sided "
        f"p-values from {found.n_permutations:,} of the same permutations (seed {found.seed}), "
        f"{found.n_tested:,} tested pairs in one family, and a false discovery rate of "
        f"{alpha_text(found.alpha)}."
    )


def _whole_means(found: Contexts) -> str:
    """Say what was compared between sessions."""
    names = {one.context for one in found.standings if one.test == "shuffled sessions"}
    if not names:
        return ""
    return (
        f" (for {listed(sorted(names))}, which hardly changed within sessions, the mean of the "
        "sessions of the calls less that over the time observed in all sessions"
        f"{' of their site' if found.is_within_sites else ''})"
    )


def neighbourhood_text(found: Neighbourhood, n_neighbours: int) -> str:
    """Describe how neighbours in embedding space were compared; as :func:`context_text`.

    Parameters
    ----------
    found : Neighbourhood
    n_neighbours : int
        Of each call.
    """
    if found.p is None:
        return ""
    return (
        "Without sound types, it was asked whether calls that sound alike go with the same "
        f"behaviour: of each call, the {n_neighbours:,} nearest calls of other recordings in "
        f"embedding space; pairs within a session ({found.n_within:,}) were left out. The "
        "statistic was the sum over pairs of the product of both calls' deviations from the share "
        "of calls of their session that are with the behaviour; one-sided p-values came from "
        f"{found.n_permutations:,} of the same shifts (seed {found.seed})."
    )


def _material(evidence: Evidence, logs: Sequence[PageLog]) -> str:
    association = evidence.association
    each = [
        f"{log.name} ({_rows(log)}{_observations(log)}; {hours_text(log.hours)} in "
        f"{count_text(log.n_sessions, 'session')}, taken from: {log.effort}; time zone "
        f"{log.timezone or 'not given'})"
        for log in logs
    ]
    types = count_text(len({pair.sound_type for pair in evidence.pairs}), "sound type")
    calls = f"{count_text(association.n_calls, 'call')} of {types}"
    if association.n_ungrouped:
        calls = (
            f"{count_text(association.n_calls, 'call')}, "
            f"{association.n_calls - association.n_ungrouped:,} of {types} and "
            f"{association.n_ungrouped:,} of none"
        )
    said = (
        f"Behaviour was taken from {listed(each)}. {' '.join(map(_by_name, logs))}A time counted "
        f"as observed where somebody watched and a recorder ran: {hours_text(association.hours)} "
        f"in {count_text(association.n_sessions, 'session')}, with {calls}; sound types are "
        "acoustic groups. "
    )
    if evidence.n_unobserved:
        said += (
            f"{count_text(evidence.n_unobserved, 'call')} at other times counted as unobserved and "
            "took no part. "
        )
    if evidence.n_elsewhere or evidence.n_timeless:
        said += (
            f"{count_text(evidence.n_elsewhere + evidence.n_timeless, 'call')} of recordings of "
            "which no log says anything, or that have no time, took no part. "
        )
    return said.strip()


def _rows(log: PageLog) -> str:
    """Account for all rows of a log."""
    n_other = log.n_rows - log.n_used - log.n_unread
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (log.n_used, "with what was seen"),
            (log.n_unread, "that could not be read without doubt (left out)"),
            (n_other, "with nothing, or with the end of something"),
        )
        if number > 0
    ]
    return f"{count_text(log.n_rows, 'row')}: {listed(parts)}; " if log.n_rows else ""


def _observations(log: PageLog) -> str:
    """Account for all observations of a log."""
    parts = [
        count_text(number, what)
        for number, what in ((log.n_points, "point"), (log.n_states, "state"))
        if number
    ]
    if log.n_whole:
        parts.append(f"{log.n_whole:,} that hold for a whole recording")
    if log.n_nowhere:
        parts.append(f"{log.n_nowhere:,} without a recording or site, which took no part")
    n_all = log.n_points + log.n_states + log.n_whole + log.n_nowhere
    return f"{count_text(n_all, 'observation')}: {listed(parts)}"


def _by_name(log: PageLog) -> str:
    """Say what was joined by the names of recordings, whatever the clocks showed."""
    if not log.n_whole or not log.n_recordings:
        return ""
    return (
        f"What a row of {log.name} says of a recording that it names "
        f"({count_text(log.n_recordings, 'recording')} of the archive) was joined with all calls "
        "of that recording. "
    )


def _clocks(evidence: Evidence) -> str:
    said = [_clock(clock) for clock in evidence.clocks if clock.is_needed]
    if evidence.at_offsets:
        said.append(
            "The analysis was repeated at the ends of what is known of the clocks: with the times "
            f"of the observations {listed(list(evidence.at_offsets))}."
        )
    return " ".join(said)


def _clock(clock: ClockState) -> str:
    whence = {
        "markers": f"from {clock.n_markers_used:,} of {count_text(clock.n_markers, 'marker')}",
        "activity": "from the cross-correlation of calls and behaviour, with a null distribution "
        "of circular shifts",
        "declared": "as declared",
        "none": "",
    }[clock.source]
    if clock.offset_ms is None or (clock.is_by_construction and not clock.is_applied):
        return f"The observer's clock of {clock.log} could not be compared with the recorder's."
    side = "ahead of" if clock.offset_ms >= 0 else "behind"
    if clock.interval_ms is not None:
        low, high = (f"{end / 1000:+.2f}" for end in clock.interval_ms)
        within = f"95 % interval {low} to {high} s"
    elif clock.uncertainty_ms is not None:
        within = f"95 % interval ± {length(clock.uncertainty_ms)} at its widest"
    else:
        within = "no interval"
    drift = f", drifting by {clock.drift_ppm:+.1f} ppm" if clock.drift_ppm else ""
    done = "its times were corrected by this" if clock.is_applied else "this was not corrected"
    was = "seemed" if clock.source == "activity" else "was"
    doubt = (
        " Animals that call before or after what is seen look the same as such an offset."
        if clock.source == "activity"
        else ""
    )
    return (
        f"The observer's clock of {clock.log} {was} {length(clock.offset_ms)} {side} the "
        f"recorder's{drift} ({whence}; {within}); {done}.{doubt}"
    )


def _together(evidence: Evidence, logs: Sequence[PageLog], windows: JoinConfig) -> str:
    subjects = (
        " Where the caller was known, only behaviour of the same individual, or of none that was "
        "named, counted."
        if windows.by_subject and evidence.has_subjects
        else ""
    )
    if not any(log.n_points or log.n_states for log in logs):
        return f"A call was together with what was said of its recording.{subjects}"
    return (
        "A call was together with a state where they shared time, and with a point where it was at "
        f"most {length(windows.tolerance_ms)} away.{subjects} Calls that ended at most "
        f"{length(windows.before_ms)} before an observation, or began at most "
        f"{length(windows.after_ms)} after it, were listed as before and after it and took no "
        "part in the statistics."
    )


def _by_time(evidence: Evidence) -> str:
    association = evidence.association
    shuffled = sorted({p.behaviour for p in evidence.pairs if p.test == "shuffled sessions"})
    of_site = " of a site" if association.is_within_sites else ""
    whole = (
        f" For behaviours that changed fewer than {MIN_CHANGES} times within sessions, or had less "
        f"than {MIN_WITHIN:.0%} of their variance there ({listed(shuffled)}), the share of time "
        f"that each took was shuffled among whole sessions{of_site} instead, and the ratio was "
        f"conditional on the calls of {'each site' if of_site else 'all of these'}."
        if shuffled
        else ""
    )
    clocks = (
        " A pair counted as found only where it was, and in the same direction, with the "
        "observations moved either way as well."
        if evidence.at_offsets
        else ""
    )
    return (
        "For each sound type and behaviour, the rate of calls during the behaviour was compared "
        "with the rate at other times. The rate ratio was estimated by maximum likelihood "
        "conditional on the calls of each session, drawn towards 1 by the weight of one "
        "independent call (Greenland & Mansournia 2015), and given a 95 % score interval whose "
        "dispersion came from the permutations and from how sessions differed. Two-sided p-values "
        f"came from {association.n_permutations:,} permutations, in "
        "which all calls of a session were shifted together along the time that was observed, by "
        "a time drawn at random and over the end to the beginning, while behaviours stayed "
        "(circular shifts, Lotwick & Silverman 1982); so neither bouts nor individuals counted as "
        f"independent calls.{whole} The statistic was studentised, with more of its variance from "
        "how sessions differed the seldomer a behaviour changed within them, as shifts of slow "
        "changes vary too little (Harris 2020), and what was seen counted as one of the "
        f"permutations (Phipson & Smyth 2010). Pairs with fewer than {MIN_CALLS} calls, or fewer "
        f"than {MIN_EXPECTED:g} expected by chance during the behaviour or at other times, were "
        f"not tested; {association.n_tested:,} of {len(evidence.pairs):,} were. The false "
        f"discovery rate was held at {alpha_text(evidence.alpha)} over all tested pairs "
        f"(Benjamini & Hochberg 1995).{clocks} The least detectable effect is the ratio that would "
        "have been found in 80 % of such studies."
    )


def _among_calls(evidence: Evidence) -> str:
    if not evidence.association.n_odds_tested:
        return ""
    return (
        "Whether a sound type made up more of the calls during a behaviour than of the other calls "
        "was asked by the odds ratio over sessions (Mantel & Haenszel 1959), with the variance of "
        "Robins et al. 1986 times a dispersion, under the same permutations; its "
        f"{evidence.association.n_odds_tested:,} tested pairs were a family of their own in the "
        "false discovery rate."
    )
