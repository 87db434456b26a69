"""How strong: ratios of rates and of odds over strata, their intervals, and what could be found.

In come counts by stratum (a session, or a site where whole sessions are shuffled); out go numbers.
Called by :mod:`oscine.behaviour.association`.

Both ratios are conditional on the stratum, so that sessions with many calls and much of a behaviour
tie nothing together. Their variance is that of independent calls times a dispersion, which comes
from the arrangements (bouts) and from how far strata disagree, weighted as in
:meth:`oscine.behaviour.shifts.Tally.studentised`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from oscine.behaviour.shifts import studentised

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Of the intervals."""
AIM = 0.9
"""Power at which the least detectable effect is computed, so that it truly is 80 %: what a pair
needs to be found is itself known from a sample of arrangements alone."""
MARGIN_BELOW = 1.25
"""How much further than what a pair needs to be found a ratio below 1 must lead. What is needed
varies from study to study: above 1 a slightly greater ratio makes up for that, below 1 nothing
does, for calls cannot be rarer than none."""
MOST_DETECTABLE = 20.0
"""A ratio further from 1 is not called detectable: calls so many times as frequent, or as rare, are
nearly all during the behaviour, or none."""
MOST_TURNOVER = 8.0
"""How many sessions the variance over arrangements counts for at most in an interval. What it is
where there is a tie only sessions can tell."""
_FAR = 12.0
"""Logarithm of the largest ratio that is looked for."""


def shares(share: Floats, log_ratio: float) -> Floats:
    """Return the chance of each stratum that a call is during the behaviour, given the rate ratio.

    Parameters
    ----------
    share : np.ndarray of float64 [shape=(S,)]
        That chance where the ratio is 1, in [0, 1].
    log_ratio : float

    Returns
    -------
    np.ndarray of float64 [shape=(S,)]
        ``share * r / (1 - share + share * r)``.
    """
    return special.expit(special.logit(share) + log_ratio)


def rate_ratio(n_calls: Floats, share: Floats, together: float, dispersion: float) -> float:
    """Estimate how many times as frequent calls are during a behaviour as at other times.

    The maximum of the likelihood conditional on the calls of each stratum, drawn towards 1 by the
    weight of a single independent call, as the dispersion counts them (Greenland and Mansournia
    2015, doi:10.1002/sim.6537: the log-F(1, 1) penalty); so it is finite where all calls or none
    are during the behaviour, and never on the other side of 1 than the calls are. (Firth's
    correction, which draws towards a behaviour that takes half of the time, is at times.)

    Parameters
    ----------
    n_calls, share : np.ndarray of float64 [shape=(S,)]
        Calls of each stratum, and the chance of each to be during the behaviour.
    together : float
        Calls during the behaviour in all strata.
    dispersion : float

    Returns
    -------
    float
    """

    def score(log_ratio: float) -> float:
        excess = together - n_calls @ shares(share, log_ratio)
        return float(excess + dispersion * (0.5 - special.expit(log_ratio)))

    return float(np.exp(_root(score)))


def rate_interval(
    n_calls: Floats, share: Floats, together: float, dispersion: float, n_free: float
) -> tuple[float, float]:
    """Return the rate ratios that the number of calls during the behaviour does not contradict.

    A score interval with the quantile of Student's t.

    Parameters
    ----------
    n_calls, share, together, dispersion
        As in :func:`rate_ratio`.
    n_free : float
        Degrees of freedom of the dispersion.

    Returns
    -------
    low, high : float
        0 and infinite where there is no bound.
    """
    width = float(stats.t.ppf((1 + LEVEL) / 2, n_free)) * np.sqrt(dispersion)

    def beyond(side: float) -> Callable[[float], float]:
        def score(log_ratio: float) -> float:
            chance = shares(share, log_ratio)
            spread = np.sqrt(n_calls @ (chance * (1 - chance)))
            return float(together - n_calls @ chance - side * width * spread)

        return score

    most = float(n_calls @ (share > 0))
    least = float(n_calls @ (share >= 1))
    low = 0.0 if together <= least else float(np.exp(_root(beyond(1.0))))
    high = np.inf if together >= most else float(np.exp(_root(beyond(-1.0))))
    return low, float(high)


def rate_dispersion(
    n_calls: Floats,
    share: Floats,
    together: Floats,
    variance: Floats,
    n_effective: float,
    turnover: float,
) -> tuple[float, float]:
    """Return how many times as large as that of independent calls the variance is.

    Parameters
    ----------
    n_calls, share, together, variance : np.ndarray of float64 [shape=(S,)]
        The last two by stratum: calls during the behaviour, and the variance of that number over
        the arrangements.
    n_effective, turnover : float
        How many strata count for how they differ, and for how many the variance counts.

    Returns
    -------
    dispersion, n_free : float
        And its degrees of freedom.
    """
    turnover = min(turnover, MOST_TURNOVER)
    over_shifts = variance.sum() / (n_calls @ (share * (1 - share)))
    log_ratio = np.log(rate_ratio(n_calls, share, together.sum(), over_shifts))
    chance = shares(share, log_ratio)
    misfit = ((together - n_calls * chance) ** 2).sum() / (n_calls @ (chance * (1 - chance)))
    n_free = max(1.0, turnover + n_effective - 1)
    return float((turnover * over_shifts + n_effective * misfit) / n_free), n_free


def odds_ratio(
    cells: Floats, during: Floats, variance: float, n_effective: float, turnover: float
) -> tuple[float, float, float]:
    """Return the odds of a type among the calls during a behaviour against those at other times.

    Mantel and Haenszel's estimate with the variance of Robins, Breslow and Greenland (1986,
    doi:10.2307/2531052) times the dispersion. Where it would be 0 or infinite, each stratum gets
    its share of half a call in every cell.

    Parameters
    ----------
    cells : np.ndarray of float64 [shape=(4, S)]
        Calls of the type during the behaviour, other calls during it, calls of the type at other
        times, other calls then.
    during : np.ndarray of float64 [shape=(S,)]
        How many calls, of any type, are expected during the behaviour by chance.
    variance : float
        Of the first cell over the arrangements, about what the other calls make expected.
    n_effective, turnover : float
        As for :func:`rate_dispersion`.

    Returns
    -------
    ratio, low, high : float
    """
    n, of_type = cells.sum(axis=0), cells[0] + cells[2]
    spread = of_type * (n - of_type) * during * (n - during)
    independent = (spread / (n**2 * np.maximum(n - 1, 1))).sum()
    if not ((cells[0] @ (cells[3] / n)) and (cells[1] @ (cells[2] / n))):
        cells = cells + n / n.sum() / 2
        n = cells.sum(axis=0)
    a, b, c, d = cells
    up, down = a * d / n, b * c / n
    ratio = up.sum() / down.sum()
    along, across = (a + d) / n, (b + c) / n
    of_log = (
        along @ up / up.sum() ** 2
        + (along @ down + across @ up) / (up.sum() * down.sum())
        + across @ down / down.sum() ** 2
    ) / 2
    misfit = ((up - ratio * down) ** 2).sum() / up.sum() ** 2 / of_log
    turnover = min(turnover, MOST_TURNOVER)
    n_free = max(1.0, turnover + n_effective - 1)
    dispersion = (turnover * variance / independent + n_effective * misfit) / n_free
    width = stats.t.ppf((1 + LEVEL) / 2, n_free) * np.sqrt(dispersion * of_log)
    return float(ratio), float(ratio * np.exp(-width)), float(ratio * np.exp(width))


def detectable(
    deviation: Floats,
    misfit: Floats,
    echo: Floats,
    n_calls: Floats,
    share: Floats,
    spread: float,
    n_effective: float,
    turnover: float,
    n_allowed: int,
    *,
    is_above: bool,
) -> float | None:
    """Return the rate ratio nearest to 1 that would have been found four times out of five.

    Were the ratio r, calls would gather where the behaviour is. The sum over the calls of each
    stratum would then be where the shares say, and scatter as over the arrangements, times what
    calls of such shares scatter more or less, and for as many bouts as the spread over arrangements
    speaks of. In the arrangements against which it is held, part of the gathering would be left, as
    the behaviour is like itself moved.

    Parameters
    ----------
    deviation, misfit : np.ndarray of float64 [shape=(n_permutations,)]
        As :class:`oscine.behaviour.shifts.Tally` has them, of the arrangements that were not seen.
    echo : np.ndarray of float64 [shape=(S, n_permutations)]
        How the behaviour of each stratum correlates with itself in these arrangements.
    n_calls, share : np.ndarray of float64 [shape=(S,)]
    spread, n_effective, turnover : float
        As there.
    n_allowed : int
        How many arrangements may be as far from chance; below 0, nothing can be found.
    is_above : bool
        Whether to look above 1 or below.

    Returns
    -------
    float or None
        None where no ratio would be found so often.
    """
    if not 0 <= n_allowed < len(deviation):
        return None
    weight = n_calls * share * (1 - share)
    side, margin = (1, 1.0) if is_above else (-1, MARGIN_BELOW)
    squares = echo**2
    tail = stats.norm.isf(((n_allowed + 0.5) / len(deviation) / 2, 0.025))
    normal = max(1.0, tail[0] / tail[1])

    def lack(log_ratio: float) -> float:
        chance = shares(share, side * log_ratio)
        gain = n_calls * (chance - share)
        # Bouts that meet the behaviour have r times the calls, so bouts are less alike in size.
        ratio = np.exp(side * log_ratio)
        sizes = (share * ratio**2 + 1 - share) / (share * ratio + 1 - share) ** 2
        clumped = weight @ sizes / weight.sum()
        scatter = n_calls @ (chance * (1 - chance)) / weight.sum()
        scatter = max(scatter, scatter**2)  # of single calls, of whole bouts
        of_number = gain.sum() ** 2 / (n_calls.sum() * weight.sum())  # bouts may be more or fewer

        def statistic(left: Floats, left_squares: Floats, scale: float, more: float) -> Floats:
            common = gain @ left / weight.sum()
            squared = gain**2 @ left_squares
            apart = squared - 2 * common * ((gain * weight) @ left) + common**2 * (weight @ weight)
            apart = np.where(apart > 1e-9 * squared, apart, 0)  # the rest is rounding
            return studentised(
                deviation * np.sqrt(scale + more) + gain @ left,
                misfit * scale + apart,
                spread * clumped + gain**2 @ squares.mean(axis=1),
                n_effective,
                turnover,
            )

        whole = np.ones((len(gain), 1))
        distance = np.sort(np.abs(statistic(echo, squares, clumped, 0.0)))[::-1]
        # The few farthest are a matter of luck; the many are not, and tails are at least normal.
        far = max(distance[n_allowed], normal * np.quantile(distance, 0.95))
        moved = side * statistic(whole, whole, scatter, of_number)
        reached = np.quantile(moved, 1 - AIM)
        return float(far * (1 + 1e-9) * margin - reached)

    steps = np.log(MOST_DETECTABLE) * np.linspace(0, 1, 9)
    for before, step in pairwise(steps):
        if lack(step) < 0:
            return float(np.exp(side * _root(lack, before, step, 1e-3)))
    return None


def _root(
    falling: Callable[[float], float],
    low: float = -_FAR,
    high: float = _FAR,
    precision: float = 1e-10,
) -> float:
    """Return where a falling function is 0, or the end of the range that it comes nearest to."""
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    return cast(float, optimize.brentq(falling, low, high, xtol=precision))
