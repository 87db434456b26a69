"""The offset of the observer's clock without markers: from when calls and behaviour come together.

In come calls, observations and effort; out comes an :class:`ActivityOffset`, which says an offset
only where calls and behaviour go together closely enough at one lag and at no other, and otherwise
why not. Nothing is moved: :mod:`oscine.behaviour.clocks` does that when asked.

Both clocks are taken to run apart by the same amount throughout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from oscine.behaviour.clocks import (
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    Clock,
    Offset,
    Times,
    hours_text,
    length,
    offset_words,
)
from oscine.behaviour.tables import SITE

MAX_LAG_MS = 600_000
KERNELS_MS = (1000, 4000, 16_000)
"""Standard deviations of the Gaussians that correlograms are smoothed with; each is tried."""
SURROUNDINGS = 10
"""What is seen is the excess over a Gaussian so many times as wide, so that calls and behaviour
that wax and wane together over a day are no peak."""
BINS_PER_KERNEL = 2
FINE_MS = 100
"""Bins of the correlogram that the offset is read from."""
BLOCK_LAGS = 6
"""Effort is cut into blocks of so many times the longest lag, each shifted for itself."""
PIECE_MS, MOST_PIECES, FEWEST_PIECES = 300_000, 200, 8
"""Stretches of effort that are drawn anew for the interval."""
FEWEST_CALLS, FEWEST_SEEN = 20, 10
"""Calls, and observations, of a kind that is tried."""
MOST_BEHAVIOURS, MOST_PAIRS = 12, 40
"""Behaviours that are tried, the most frequent ones; and pairs, or else no sound types are."""
LEVEL = 0.01
N_DRAWS = 499
WIDEST = 0.1
"""An interval wider than this share of the searched lags says nothing."""
LIKE_HEIGHT = 0.8
"""A second peak of this share of the height of the first leaves open which it is."""
ANY = "any behaviour"
ALL_CALLS, FIRST_CALLS = -1, -2
QUIET_MS = 5000
"""First calls are those that follow no other by less. Where animals call in bouts, what sets off a
bout shows in them, and not in the many calls that only follow their first."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ActivityOffset:
    """What calls and behaviour say of the clocks.

    Attributes
    ----------
    offset : Offset or None
        None where nothing can be said.
    reason : str
        Why nothing can be said; empty where something can.
    n_blocks : int
        Stretches of effort that were shifted.
    effort_h : float
        Their hours.
    max_lag_ms, n_permutations, seed : int
        As they were asked for.
    n_tried : int
        Correlograms; all that follows is of the highest, and None or empty where there is none.
    p : float or None
        Of the highest point among all that were tried.
    peak_ms : float or None
        Where it lies, whether or not it is believed.
    behaviour : str
        Its observations: "X" for where X starts, "during X".
    sound_type : int
        Its calls; -1 for all, -2 for all that do not follow others at once.
    kernel_ms : int
        Its smoothing.
    n_calls, n_seen : int
        Inside the effort.
    lags_ms, heights : np.ndarray of float64
        The correlogram, in its standard deviations under shifts.
    height_by_chance : float
        What the highest point of all that were tried exceeds by chance in 1 % of cases.
    """

    offset: Offset | None = None
    reason: str
    n_blocks: int
    effort_h: float
    max_lag_ms: int
    n_permutations: int
    seed: int
    n_tried: int = 0
    p: float | None = None
    peak_ms: float | None = None
    behaviour: str = ""
    sound_type: int = ALL_CALLS
    kernel_ms: int = 0
    n_calls: int = 0
    n_seen: int = 0
    lags_ms: Floats = field(default_factory=lambda: np.empty(0))
    heights: Floats = field(default_factory=lambda: np.empty(0))
    height_by_chance: float | None = None

    @property
    def clock(self) -> Clock | None:
        """What to hand to :func:`oscine.behaviour.clocks.corrected`, or None."""
        return None if self.offset is None else Clock(offset_ms=self.offset.offset_ms)

    @property
    def uncertainty_ms(self) -> float | None:
        """The most that the offset may be off, at 95 %; None if there is none."""
        if self.offset is None or self.offset.interval_ms is None:
            return None
        low, high = self.offset.interval_ms
        return max(high - self.offset.offset_ms, self.offset.offset_ms - low)

    def words(self) -> list[str]:
        """Say it in sentences."""
        if self.offset is None:
            return [f"Nothing can be said of the clocks without markers: {self.reason}."]
        calls = {
            ALL_CALLS: "all",
            FIRST_CALLS: f"the first after {length(QUIET_MS)} without any",
        }.get(self.sound_type, f"sound type {self.sound_type}")
        return [
            f"Without markers: if they call in the moment of the act, {offset_words(self.offset)}.",
            f"This rests on {self.n_calls} calls ({calls}) and {self.n_seen} observations "
            f"({self.behaviour}) in {hours_text(self.effort_h)}; p = {self.p:.2g} for the highest "
            f"of {self.n_tried} correlograms with lags up to {length(self.max_lag_ms)}, against "
            f"{self.n_permutations} circular shifts within {self.n_blocks} blocks (seed "
            f"{self.seed}).",
            "Animals that call before or after the act, and an observer who notes it late, move "
            "it as a wrong clock would: the two cannot be told apart.",
        ]


def offset_from_activity(
    calls: pl.DataFrame,
    observations: pl.DataFrame,
    effort: pl.DataFrame,
    *,
    max_lag_ms: int = MAX_LAG_MS,
    n_permutations: int = 199,
    seed: int = 0,
) -> ActivityOffset:
    """Tell the offset of the observer's clock from when calls and behaviour come together.

    Tried are all calls, the first calls of bouts, and each sound type if they are few, with the
    starts of all observations and of each behaviour and with what lasts of it, at three widths of
    smoothing. Each pair gives
    a cross-correlogram (Perkel, Gerstein & Moore 1967, Biophys. J. 7: 419): how many calls lie how
    long before an observation, less what lies around. Its null distribution comes from circular
    shifts of the observations within blocks of effort, each block by its own (Lotwick & Silverman
    1982, J. R. Stat. Soc. B 44: 406), which keep the bouts of calls, callers and behaviours. The
    statistic is the highest point of all correlograms in units of their deviation under shifts, so
    that lags, pairs and widths are all paid for (Westfall & Young 1993, Resampling-based multiple
    testing); p counts the data among the draws (Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol.
    9: 39).

    The offset is where the finer correlogram of the best pair is highest. Its interval goes from
    where the peak rises to half its height to where it has fallen to half, as calls anywhere under
    it may be those of the very moment: the 2.5 % quantile of the one and the 97.5 % quantile of the
    other over resampled stretches of effort (Künsch 1989, Ann. Stat. 17: 1217), widened by the
    smoothing and one bin.

    Parameters
    ----------
    calls, observations, effort : pl.DataFrame
        As :mod:`oscine.behaviour.tables`; only timelines of sites count.
    max_lag_ms : int
        Offsets up to this are searched, both ways.
    n_permutations, seed : int

    Raises
    ------
    ValueError
        If the longest lag is under a minute, or there are fewer permutations than p < .01 takes.
    """
    if max_lag_ms < MINUTE_MS or n_permutations < 1 / LEVEL:
        raise ValueError(
            f"max_lag_ms must be {MINUTE_MS} or more and n_permutations {round(1 / LEVEL)} or "
            f"more; got {max_lag_ms} and {n_permutations}"
        )
    heard, seen = _heard(calls), _seen(observations)
    sites = {timeline for timeline, _ in heard} & {timeline for timeline, _ in seen}
    here = effort.filter(pl.col("timeline").is_in(sorted(sites)))
    blocks = _blocks(here, BLOCK_LAGS * max_lag_ms)
    asked = {
        "n_blocks": len(blocks),
        "effort_h": sum(block.n_ms for block in blocks) / HOUR_MS,
        "max_lag_ms": max_lag_ms,
        "n_permutations": n_permutations,
        "seed": seed,
    }
    pairs = _pairs(blocks, heard, seen)
    if not pairs:
        n_calls, n_seen = _n_calls(blocks, heard, ALL_CALLS), _n_seen(blocks, seen, _What(ANY))
        return ActivityOffset(
            reason=f"only {n_calls} calls and {n_seen} observations fall into hours that were "
            f"observed at the site of both; {FEWEST_CALLS} and {FEWEST_SEEN} of a kind are needed",
            **asked,
        )
    scan = _scan(blocks, heard, seen, pairs, max_lag_ms, n_permutations, seed)
    sound_type, what = scan.pair
    if scan.p < LEVEL:
        found = _locate(blocks, heard, seen, scan.pair, scan.kernel_ms, max_lag_ms, seed)
    else:
        reason = (
            f"the correlogram is flat: chance makes peaks as high (p = {scan.p:.2g}, and {LEVEL:g} "
            "is needed)"
        )
        found = _Found(float(scan.lags_ms[np.argmax(scan.heights)]), None, reason)
    place = Offset(at_ms=0, offset_ms=found.peak_ms, interval_ms=found.interval_ms)
    return ActivityOffset(
        offset=None if found.reason else place,
        reason=found.reason,
        n_tried=len(pairs) * len(KERNELS_MS),
        p=scan.p,
        peak_ms=found.peak_ms,
        behaviour=what.words,
        sound_type=sound_type,
        kernel_ms=scan.kernel_ms,
        n_calls=_n_calls(blocks, heard, sound_type),
        n_seen=_n_seen(blocks, seen, what),
        lags_ms=scan.lags_ms,
        heights=scan.heights,
        height_by_chance=scan.height_by_chance,
        **asked,
    )


class _Block(NamedTuple):
    """A stretch of effort, as long as a whole number of the coarsest bins."""

    timeline: str
    start_ms: int
    n_ms: int

    def within(self, starts_ms: Times) -> slice:
        first, stop = np.searchsorted(starts_ms, [self.start_ms, self.start_ms + self.n_ms])
        return slice(int(first), int(stop))


class _What(NamedTuple):
    """Observations that are compared with calls: where a behaviour starts, or what lasts of it."""

    behaviour: str
    is_during: bool = False

    @property
    def words(self) -> str:
        return f"during {self.behaviour}" if self.is_during else self.behaviour


class _Spans(NamedTuple):
    """Observations in the order in which they start."""

    starts: Times
    stops: Times


_NO_TIMES = np.empty(0, np.int64)
_Heard = Mapping[tuple[str, int], Times]
"""When calls start, ascending, by timeline and sound type."""
_Seen = Mapping[tuple[str, _What], _Spans]
_Pair = tuple[int, _What]


def _heard(calls: pl.DataFrame) -> _Heard:
    dated = calls.filter(pl.col("start_ms").is_not_null()).sort("start_ms")
    heard: dict[tuple[str, int], Times] = {}
    for (site,), here in dated.group_by("site"):
        starts = here["start_ms"].to_numpy()
        heard[f"{SITE}{site}", ALL_CALLS] = starts
        is_first = np.diff(starts, prepend=starts[0] - QUIET_MS) >= QUIET_MS
        heard[f"{SITE}{site}", FIRST_CALLS] = starts[is_first]
        for (sound_type,), rows in here.filter(pl.col("sound_type") >= 0).group_by("sound_type"):
            heard[f"{SITE}{site}", int(str(sound_type))] = rows["start_ms"].to_numpy()
    return heard


def _seen(observations: pl.DataFrame) -> _Seen:
    dated = observations.filter(pl.col("timeline").str.starts_with(SITE)).sort("start_ms")
    counts = dated["behaviour"].value_counts().sort("count", "behaviour", descending=[True, False])
    seen: dict[tuple[str, _What], _Spans] = {}
    for (timeline,), here in dated.group_by("timeline"):
        chosen = {_What(ANY): here}
        for name in counts["behaviour"][:MOST_BEHAVIOURS]:
            chosen[_What(name)] = here.filter(pl.col("behaviour") == name)
            chosen[_What(name, True)] = chosen[_What(name)].filter("is_state")
        for what, rows in chosen.items():
            spans = _Spans(rows["start_ms"].to_numpy(), rows["stop_ms"].to_numpy())
            seen[str(timeline), what] = spans
    return seen


def _blocks(effort: pl.DataFrame, longest_ms: int) -> list[_Block]:
    """Cut what was observed, by one or several at a time, into blocks of like length."""
    coarsest_ms = KERNELS_MS[-1] // BINS_PER_KERNEL
    blocks = []
    for (timeline,), here in effort.sort("start_ms").group_by("timeline", maintain_order=True):
        starts, stops = here["start_ms"].to_numpy(), here["stop_ms"].to_numpy()
        reached = np.maximum.accumulate(stops)
        firsts = np.flatnonzero(np.append(True, starts[1:] > reached[:-1]))
        lasts = np.append(firsts[1:], len(starts)) - 1
        for start_ms, stop_ms in zip(starts[firsts], reached[lasts], strict=True):
            n_parts = max(1, round((stop_ms - start_ms) / longest_ms))
            n_ms = int((stop_ms - start_ms) // n_parts // coarsest_ms * coarsest_ms)
            if n_ms >= MINUTE_MS:
                parts = range(n_parts)
                blocks += [
                    _Block(str(timeline), int(start_ms) + part * n_ms, n_ms) for part in parts
                ]
    return blocks


def _calls_in(block: _Block, heard: _Heard, sound_type: int) -> Times:
    starts = heard.get((block.timeline, sound_type), _NO_TIMES)
    return starts[block.within(starts)]


def _seen_in(block: _Block, seen: _Seen, what: _What) -> _Spans:
    """Return those that start in the block, cut at its end."""
    spans = seen.get((block.timeline, what), _Spans(_NO_TIMES, _NO_TIMES))
    inside = block.within(spans.starts)
    stops = np.minimum(spans.stops[inside], block.start_ms + block.n_ms)
    return _Spans(spans.starts[inside], stops)


def _n_calls(blocks: Sequence[_Block], heard: _Heard, sound_type: int) -> int:
    return sum(len(_calls_in(block, heard, sound_type)) for block in blocks)


def _n_seen(blocks: Sequence[_Block], seen: _Seen, what: _What) -> int:
    return sum(len(_seen_in(block, seen, what).starts) for block in blocks)


def _pairs(blocks: Sequence[_Block], heard: _Heard, seen: _Seen) -> list[_Pair]:
    """Return what there is enough of to be compared."""
    kinds, whats = sorted({kind for _, kind in heard}), sorted({what for _, what in seen})
    kinds = [kind for kind in kinds if _n_calls(blocks, heard, kind) >= FEWEST_CALLS]
    whats = [what for what in whats if _n_seen(blocks, seen, what) >= FEWEST_SEEN]
    if len(kinds) * len(whats) > MOST_PAIRS:
        kinds = [kind for kind in kinds if kind < 0]
    return [(kind, what) for kind in kinds for what in whats]


class _Scan(NamedTuple):
    """The highest point of all correlograms, and how high chance makes them."""

    pair: _Pair
    kernel_ms: int
    p: float
    lags_ms: Floats
    heights: Floats
    height_by_chance: float


def _scan(
    blocks: Sequence[_Block],
    heard: _Heard,
    seen: _Seen,
    pairs: Sequence[_Pair],
    max_lag_ms: int,
    n_permutations: int,
    seed: int,
) -> _Scan:
    """Compare all correlograms with those after shifts; of every draw the highest point counts."""
    kinds = list(dict.fromkeys(kind for kind, _ in pairs))
    whats = list(dict.fromkeys(what for _, what in pairs))
    # The first draw is the data: it is not shifted.
    shifts = np.random.default_rng(seed).random((len(blocks), 1 + n_permutations))
    shifts[:, 0] = 0
    highest = np.zeros((len(KERNELS_MS), 1 + n_permutations))
    curves: list[Floats] = []
    for row, kernel_ms in enumerate(KERNELS_MS):
        bin_ms = kernel_ms // BINS_PER_KERNEL
        reach = max_lag_ms // bin_ms
        total = np.zeros((1 + n_permutations, len(pairs), 2 * reach + 1), np.float32)
        variance = np.zeros(len(pairs))
        for block, draws in zip(blocks, shifts, strict=True):
            heard_here = [_calls_in(block, heard, kind) for kind in kinds]
            seen_here = [(_seen_in(block, seen, what), what.is_during) for what in whats]
            excess = circular_correlograms(
                [_binned(block, starts, starts, bin_ms, False) for starts in heard_here],
                [_binned(block, *spans, bin_ms, is_during) for spans, is_during in seen_here],
                kernel_ms / bin_ms,
            ).reshape(len(pairs), -1)
            variance += excess.var(axis=1)
            n_bins = excess.shape[1]
            near = min(reach, n_bins // 2)  # beyond half of the circle it is round again
            around = np.take(excess, np.arange(-near, n_bins + near), axis=1, mode="wrap")
            lags = slice(reach - near, reach + near + 1)
            for draw, shift in enumerate((draws * n_bins).astype(int).tolist()):
                total[draw, :, lags] += around[:, shift : shift + 2 * near + 1]
        heights = total / np.sqrt(np.maximum(variance, 1e-12))[:, None]
        highest[row] = heights.max(axis=(1, 2))
        curves.append(heights[0].astype(float))
    by_chance = highest.max(axis=0)
    best = int(np.argmax(highest[:, 0]))
    pair = int(np.argmax(curves[best].max(axis=1)))
    bin_ms = KERNELS_MS[best] // BINS_PER_KERNEL
    reach = max_lag_ms // bin_ms
    return _Scan(
        pairs[pair],
        KERNELS_MS[best],
        float((by_chance >= by_chance[0]).mean()),
        np.arange(-reach, reach + 1).astype(float) * bin_ms,
        curves[best][pair],
        float(np.quantile(by_chance[1:], 1 - LEVEL)),
    )


def _binned(
    block: _Block, starts: Times, stops: Times, bin_ms: int, is_during: bool
) -> NDArray[np.float32]:
    """Count in every bin of a block what starts there, or what lasts there."""
    n_bins = block.n_ms // bin_ms
    first = (starts - block.start_ms) // bin_ms
    counts = np.bincount(first, minlength=n_bins + 1)
    if is_during:
        last = np.maximum(first, (stops - 1 - block.start_ms) // bin_ms)
        counts = np.cumsum(counts - np.bincount(last + 1, minlength=n_bins + 1))
    return counts[:n_bins].astype(np.float32)


def circular_correlograms(
    heard: Sequence[NDArray[np.float32]], seen: Sequence[NDArray[np.float32]], kernel_bins: float
) -> NDArray[np.float32]:
    """Count how often what is seen comes how long after what is heard, on a circle.

    Parameters
    ----------
    heard, seen : sequences of np.ndarray [shape=(T,)]
        Counts in bins; one array a sound type, or a behaviour.
    kernel_bins : float
        Standard deviation of the Gaussian in bins, from which one `SURROUNDINGS` times as wide is
        taken off.

    Returns
    -------
    np.ndarray of float32 [shape=(n_heard, n_seen, T)]
        At lag L: the sum over t of heard[t] seen[t + L], smoothed. The mean over lags is 0.
    """
    n_bins = len(seen[0])
    spectrum = np.fft.rfft(np.stack(seen)) * np.conj(np.fft.rfft(np.stack(heard)))[:, None]
    return np.fft.irfft(spectrum * _excess(n_bins, kernel_bins), n_bins).astype(np.float32)


def _excess(n_bins: int, kernel_bins: float) -> Floats:
    """Return a Gaussian less a wider one, as factors of a real spectrum."""
    turns = 2 * np.pi * np.arange(n_bins // 2 + 1) / n_bins
    narrow, wide = (
        np.exp(-0.5 * (turns * width) ** 2) for width in (kernel_bins, SURROUNDINGS * kernel_bins)
    )
    return narrow - wide


class _Found(NamedTuple):
    """Where a correlogram peaks, between which bounds, and why that is not to be believed."""

    peak_ms: float
    interval_ms: tuple[float, float] | None
    reason: str


def _locate(
    blocks: Sequence[_Block],
    heard: _Heard,
    seen: _Seen,
    pair: _Pair,
    kernel_ms: int,
    max_lag_ms: int,
    seed: int,
) -> _Found:
    """Read the offset from the finer correlogram, with calls from beyond the effort as well."""
    # The flanks of a peak and its surroundings may lie beyond the longest lag.
    margin_ms = 3 * SURROUNDINGS * kernel_ms
    reach_ms = (max_lag_ms + margin_ms) // FINE_MS * FINE_MS
    pieces, piece_ms = _pieces(blocks, heard, seen, pair, reach_ms)
    n_lags = pieces.shape[1]
    n_padded = -(-(n_lags + margin_ms // FINE_MS) // 1000) * 1000  # of small factors
    spectrum = np.fft.rfft(pieces, n_padded) * _excess(n_padded, kernel_ms / FINE_MS)
    pieces = np.fft.irfft(spectrum, n_padded)[:, :n_lags].astype(float)
    lags_ms = ((np.arange(n_lags) + 0.5) * FINE_MS - reach_ms).astype(float)
    curve = pieces.sum(axis=0)
    peak, left, right = _peak(curve, lags_ms, max_lag_ms)
    peak_ms = float(lags_ms[peak])
    if len(pieces) < FEWEST_PIECES:
        reason = (
            f"{pair[1].words} was seen in {len(pieces)} stretches of {length(piece_ms)} only; an "
            f"interval takes {FEWEST_PIECES}"
        )
        return _Found(peak_ms, None, reason)
    rng = np.random.default_rng((seed, 1))
    drawn = rng.multinomial(len(pieces), np.full(len(pieces), 1 / len(pieces)), N_DRAWS)
    sides = np.array([_peak(weights @ pieces, lags_ms, max_lag_ms)[1:] for weights in drawn])
    widened_ms = kernel_ms + FINE_MS
    # A percentile interval may, rarely, leave the peak out.
    low_ms = min(peak_ms, float(np.quantile(lags_ms[sides[:, 0]], 0.025)) - widened_ms)
    high_ms = max(peak_ms, float(np.quantile(lags_ms[sides[:, 1]], 0.975)) + widened_ms)
    is_elsewhere = np.abs(lags_ms) <= max_lag_ms
    apart = 2 * kernel_ms // FINE_MS
    is_elsewhere[max(0, left - apart) : right + apart] = False
    second = int(np.argmax(np.where(is_elsewhere, curve, -np.inf)))
    reason = ""
    if abs(peak_ms) > max_lag_ms - 2 * kernel_ms:
        reason = "the peak lies at the end of the searched lags: search further"
    elif curve[second] >= LIKE_HEIGHT * curve[peak]:
        reason = (
            f"two peaks are of like height, at {peak_ms / SECOND_MS:+.1f} and "
            f"{lags_ms[second] / SECOND_MS:+.1f} s"
        )
    elif high_ms - low_ms > WIDEST * 2 * max_lag_ms:
        reason = (
            f"the peak is too wide: the offset may be {low_ms / SECOND_MS:+.1f} to "
            f"{high_ms / SECOND_MS:+.1f} s"
        )
    return _Found(peak_ms, (low_ms, high_ms), reason)


def _pieces(
    blocks: Sequence[_Block], heard: _Heard, seen: _Seen, pair: _Pair, reach_ms: int
) -> tuple[Floats, int]:
    """Return the correlogram of each stretch of effort with observations, and its length in ms."""
    sound_type, what = pair
    piece_ms = max(PIECE_MS, sum(block.n_ms for block in blocks) // MOST_PIECES)
    pieces: dict[int, Floats] = {}
    before_ms = 0
    for block in blocks:
        calls = heard.get((block.timeline, sound_type), _NO_TIMES)
        spans = _seen_in(block, seen, what)
        number = (spans.starts - block.start_ms + before_ms) // piece_ms
        for piece in np.unique(number).tolist():
            starts, stops = (times[number == piece] for times in spans)
            counts = correlogram(calls, starts, stops, reach_ms, FINE_MS, what.is_during)
            pieces[piece] = pieces.get(piece, 0) + counts
        before_ms += block.n_ms
    return np.stack(list(pieces.values())), piece_ms


def _peak(curve: Floats, lags_ms: Floats, max_lag_ms: int) -> tuple[int, int, int]:
    """Return where a curve is highest within the searched lags, and half as high on both sides."""
    inside = np.flatnonzero(np.abs(lags_ms) <= max_lag_ms)
    peak = int(inside[0] + np.argmax(curve[inside]))
    is_low = curve < curve[peak] / 2
    below, above = np.flatnonzero(is_low[:peak]), np.flatnonzero(is_low[peak:])
    left = int(below[-1]) if len(below) else 0
    right = peak + int(above[0]) if len(above) else len(curve) - 1
    return peak, left, right


def correlogram(
    calls: Times, starts: Times, stops: Times, reach_ms: int, bin_ms: int, is_during: bool
) -> Floats:
    """Count how often an observation comes how long after a call.

    Parameters
    ----------
    calls : np.ndarray of int64 [shape=(N,)]
        When they start, ascending.
    starts, stops : np.ndarray of int64 [shape=(M,)]
    reach_ms : int
        The longest lag, both ways; a whole number of bins.
    bin_ms : int
    is_during : bool
        Whether all that an observation lasts counts, in every bin that it touches, or its start.

    Returns
    -------
    np.ndarray of float64 [shape=(2 * reach_ms / bin_ms,)]
        Bin 0 holds lags from ``-reach_ms``.
    """
    n_bins = 2 * reach_ms // bin_ms
    if not is_during:
        stops = starts + 1
    first = np.searchsorted(calls, starts - reach_ms, side="right")
    stop = np.searchsorted(calls, stops - 1 + reach_ms, side="right")
    n_near = np.maximum(stop - first, 0)
    of = np.repeat(np.arange(len(starts)), n_near)
    call = np.arange(len(of)) - np.repeat(np.cumsum(n_near) - n_near - first, n_near)
    begins = np.clip((starts[of] - calls[call] + reach_ms) // bin_ms, 0, n_bins)
    ends = np.clip((stops[of] - 1 - calls[call] + reach_ms) // bin_ms + 1, 0, n_bins)
    steps = np.bincount(begins, minlength=n_bins + 1) - np.bincount(ends, minlength=n_bins + 1)
    return np.cumsum(steps)[:n_bins].astype(float)
