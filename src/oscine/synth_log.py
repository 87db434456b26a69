"""What was called and what was seen, with known truth: tables alone, no sound.

In: a `TruthConfig`. Out: a `Truth` with the calls on the recorder's clock, and the log, the effort
and the markers on the observer's. Called by benchmarks/join_truth.py and by tests. Never the ground
of a claim about real animals.

A session is an hour or so of one group. Some of the individuals are there; each calls in bouts,
with a repertoire of its own, and does what it does in bouts of its own. A **tie** makes calls of a
type so many times as frequent while somebody of the group does something: candidates come in bouts
that know nothing of it and are then thinned, so the ratio of rates is the one given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from oscine.synth import repertoire

_FIRST_MS = 1_714_975_200_000
"""2024-05-06 06:00 UTC, when the first session begins; the others do so on the days after it."""
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_SITE, _LOG = "meadow", "truth.csv"
_FONDNESS = 6.0
"""How many times as often a confounded individual does what it is fond of."""

Whole = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tie:
    """Calls of a type are `rate_ratio` times as frequent while a behaviour is on as while not."""

    call_type: str
    behaviour: str
    rate_ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TruthConfig:
    """What to draw; the same values give the same tables.

    Parameters
    ----------
    seed
        Seed of everything random.
    calls_seed
        Another one gives other calls of the same individuals, with the same behaviours and effort.
    n_sessions, session_min
        One session a day, of so many minutes.
    watched
        Share of each session in which somebody watched; the rest is one gap within it.
    n_individuals, n_present
        Animals in all, and in each session.
    call_types
        Names from `oscine.synth.repertoire`.
    calls_per_h
        Of each type, by the average group.
    calls_per_bout, call_gap_s
        Means of the number of calls of one individual and type in a row, and of the time from one
        to the next.
    states, points
        Names of behaviours.
    state_share, state_min
        Share of its time that an individual of the average spends in a state, and the mean length
        of a bout of it in minutes.
    points_per_h, points_per_bout, point_gap_s
        The same for behaviours without duration, by individual.
    tolerance_ms
        A call shares time with a point if it comes so near.
    ties
        What goes with what.
    chattiness
        How many times as much as the others the first individual calls and does.
    bias
        How far repertoires and habits of individuals differ: the standard deviation of the
        logarithm of their rates.
    is_confounded
        Individuals that are fond of one call type are fond of one behaviour too.
    offset_s, drift_ppm
        The observer's clock shows later than the recorder's by so much when the first session
        begins, and gains so much.
    n_markers, marker_sd_ms
        Instants noted on both clocks, spread over the first session, and how precisely.

    Raises
    ------
    ValueError
        If a name is not in the repertoire, or a tie names what is not drawn.
    """

    seed: int = 0
    calls_seed: int = 0
    n_sessions: int = 12
    session_min: float = 60.0
    watched: float = 0.8
    n_individuals: int = 8
    n_present: int = 3
    call_types: tuple[str, ...] = (
        "crow caw",
        "crow double caw",
        "crow rattle",
        "jay screech",
        "jay mew",
    )
    calls_per_h: float = 20.0
    calls_per_bout: float = 4.0
    call_gap_s: float = 5.0
    states: tuple[str, ...] = ("foraging",)
    points: tuple[str, ...] = ("takes off",)
    state_share: float = 0.15
    state_min: float = 3.0
    points_per_h: float = 40.0
    points_per_bout: float = 3.0
    point_gap_s: float = 10.0
    tolerance_ms: int = 500
    ties: tuple[Tie, ...] = ()
    chattiness: float = 1.0
    bias: float = 0.3
    is_confounded: bool = False
    offset_s: float = 0.0
    drift_ppm: float = 0.0
    n_markers: int = 5
    marker_sd_ms: float = 20.0

    def __post_init__(self) -> None:
        known = repertoire()
        strange = [name for name in self.call_types if name not in known]
        if strange:
            raise ValueError(f"not in the repertoire: {', '.join(strange)}; there are {set(known)}")
        for tie in self.ties:
            if tie.call_type not in self.call_types or tie.behaviour not in self.behaviours:
                raise ValueError(f"a tie names what is not drawn: {tie}")

    @property
    def behaviours(self) -> tuple[str, ...]:
        """States, then points."""
        return self.states + self.points


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Truth:
    """Tables as :mod:`oscine.behaviour.tables` names their columns.

    Attributes
    ----------
    calls : pl.DataFrame
        On the recorder's clock, all of them, watched or not. `sound_type` is the place of the type
        in `call_types`, `caller` the individual.
    observations, effort : pl.DataFrame
        On the observer's clock.
    markers : np.ndarray of float64 [shape=(n_markers, 2)]
        An instant by the recorder and by the observer, in ms since 1970.
    config : TruthConfig
    """

    calls: pl.DataFrame
    observations: pl.DataFrame
    effort: pl.DataFrame
    markers: NDArray[np.float64]
    config: TruthConfig

    def recorder_ms(self, observer_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what the recorder's clock shows when the observer's shows that."""
        shown = observer_ms - _FIRST_MS - 1000 * self.config.offset_s
        return np.rint(_FIRST_MS + shown / (1 + 1e-6 * self.config.drift_ppm)).astype(np.int64)


def draw_truth(config: TruthConfig) -> Truth:
    """Draw calls, observations, effort and markers.

    Parameters
    ----------
    config : TruthConfig

    Returns
    -------
    Truth
    """
    length_ms = round(config.session_min * 60_000)
    calling, doing = _habits(config)
    calls: list[Whole] = []
    seen: list[Whole] = []
    effort: list[Whole] = []
    for number in range(config.n_sessions):
        rng = np.random.default_rng((config.seed, 1, number))
        again = np.random.default_rng((config.seed, 3, number, config.calls_seed))
        present = rng.choice(config.n_individuals, config.n_present, replace=False)
        gap_ms = round((1 - config.watched) * length_ms)
        gap_at = int(rng.integers(length_ms - gap_ms + 1))
        watched = np.array([[0, gap_at], [gap_at + gap_ms, length_ms]])
        watched = watched[watched[:, 0] < watched[:, 1]]
        spans = [
            [_spans(config, place, doing[who, place], length_ms, rng) for who in present]
            for place in range(len(config.behaviours))
        ]
        calls += [
            _rows(one, number, present[turn], kind)
            for kind, turn, one in _calls(config, calling[present], spans, length_ms, again)
        ]
        seen += [
            _rows(_cut(one, watched), number, present[turn], place)
            for place, each in enumerate(spans)
            for turn, one in enumerate(each)
        ]
        effort.append(_rows(watched, number, 0, 0))
    return Truth(
        calls=_call_table(np.concatenate(calls)),
        observations=_seen_table(config, np.concatenate(seen)),
        effort=_effort_table(config, np.concatenate(effort)),
        markers=_markers(config, length_ms),
        config=config,
    )


def _rows(spans: Whole, *labels: int) -> Whole:
    """Put labels beside intervals: start, stop, session, individual, type or behaviour, (M, 5)."""
    return np.concatenate([spans, np.tile(labels, (len(spans), 1))], axis=1)


def _call_table(rows: Whole) -> pl.DataFrame:
    start, stop, session, who, kind = rows[np.lexsort((rows[:, 0], rows[:, 2]))].T
    n = len(rows)
    return pl.DataFrame(
        {
            "call": np.arange(n),
            "recording": session,
            "path": [f"day-{number + 1}.flac" for number in session.tolist()],
            "site": [_SITE] * n,
            "caller": [f"bird {one + 1}" for one in who.tolist()],
            "sound_type": kind,
            "start_ms": start + _FIRST_MS + session * _DAY_MS,
            "stop_ms": stop + _FIRST_MS + session * _DAY_MS,
            "file_start_ms": start,
            "file_stop_ms": stop,
        }
    )


def _seen_table(config: TruthConfig, rows: Whole) -> pl.DataFrame:
    rows = rows[np.lexsort((rows[:, 4], rows[:, 3], rows[:, 0], rows[:, 2]))]
    n = len(rows)
    start_ms, stop_ms = _observer_ms(config, rows)
    return pl.DataFrame(
        {
            "observation": np.arange(n),
            "log": [_LOG] * n,
            "row": np.arange(n) + 2,
            "behaviour": [config.behaviours[place] for place in rows[:, 4].tolist()],
            "is_state": rows[:, 4] < len(config.states),
            "subject": [f"bird {one + 1}" for one in rows[:, 3].tolist()],
            "session": [f"day {number + 1}" for number in rows[:, 2].tolist()],
            "timeline": [f"site:{_SITE}"] * n,
            "start_ms": start_ms,
            "stop_ms": stop_ms,
            "count": pl.Series([None] * n, dtype=pl.Float64),
        }
    )


def _effort_table(config: TruthConfig, rows: Whole) -> pl.DataFrame:
    n = len(rows)
    start_ms, stop_ms = _observer_ms(config, rows)
    return pl.DataFrame(
        {
            "log": [_LOG] * n,
            "session": [f"day {number + 1}" for number in rows[:, 2].tolist()],
            "timeline": [f"site:{_SITE}"] * n,
            "start_ms": start_ms,
            "stop_ms": stop_ms,
            "source": ["declared"] * n,
            "site": [""] * n,
        }
    )


def _observer_ms(config: TruthConfig, rows: Whole) -> tuple[Whole, Whole]:
    """Return starts and stops as the observer's clock shows them."""
    recorder_ms = rows[:, :2] + _FIRST_MS + rows[:, 2:3] * _DAY_MS
    start_ms, stop_ms = np.rint(_shown_ms(config, recorder_ms.astype(np.float64))).T
    return start_ms.astype(np.int64), stop_ms.astype(np.int64)


def _shown_ms(config: TruthConfig, recorder_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    gone = (recorder_ms - _FIRST_MS) * (1 + 1e-6 * config.drift_ppm)
    return _FIRST_MS + 1000 * config.offset_s + gone


def _markers(config: TruthConfig, length_ms: int) -> NDArray[np.float64]:
    rng = np.random.default_rng((config.seed, 2))
    at = _FIRST_MS + length_ms * (np.arange(config.n_markers) + 0.5) / config.n_markers
    noise = config.marker_sd_ms * rng.standard_normal(config.n_markers)
    return np.stack([at, _shown_ms(config, at) + noise], axis=1)


def _habits(config: TruthConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many times as much as the average each individual calls (I, K) and does (I, B)."""
    rng = np.random.default_rng((config.seed, 0))
    n, kinds, ways = config.n_individuals, len(config.call_types), len(config.behaviours)
    both = np.exp(config.bias * rng.standard_normal((n, kinds + ways)))
    both[0] *= config.chattiness
    if config.is_confounded:
        who = np.arange(n)
        both[who, who % kinds] *= _FONDNESS
        both[who, kinds + who % ways] *= _FONDNESS
    both /= both.mean(axis=0)
    return both[:, :kinds], both[:, kinds:]


def _spans(
    config: TruthConfig, place: int, habit: float, length_ms: int, rng: np.random.Generator
) -> Whole:
    """Draw when an individual shows its behaviour number `place`: (M, 2), apart, ascending."""
    if place < len(config.states):
        odds = habit * config.state_share / (1 - config.state_share)
        on_ms = 60_000 * config.state_min
        cycle_ms = on_ms / odds + on_ms
        turns = rng.exponential((on_ms / odds, on_ms), (12 + round(3 * length_ms / cycle_ms), 2))
        # It began long before the session, so that it may be on when that begins.
        edges = np.cumsum(turns).reshape(-1, 2) - cycle_ms * (3 + rng.random())
        return _cut(np.rint(edges).astype(np.int64), np.array([[0, length_ms]]))
    per_ms = habit * config.points_per_h / _HOUR_MS
    at = _bouts(per_ms, config.points_per_bout, 1000 * config.point_gap_s, length_ms, rng)
    return np.unique(at)[:, None].repeat(2, axis=1)


def _calls(
    config: TruthConfig,
    calling: NDArray[np.float64],
    spans: Sequence[Sequence[Whole]],
    length_ms: int,
    rng: np.random.Generator,
) -> Iterator[tuple[int, int, Whole]]:
    """Yield the type, the turn among those present, and the calls (M, 2) of each of them.

    `calling` is (individuals present, K).
    """
    lengths_s = repertoire()
    wide = [0] * len(config.states) + [config.tolerance_ms] * len(config.points)
    on = {
        behaviour: _merged([one + np.array([-width, width]) for one in each])
        for behaviour, width, each in zip(config.behaviours, wide, spans, strict=True)
    }
    every_s = np.arange(0, length_ms, 1000)
    for kind, call_type in enumerate(config.call_types):
        ties = [tie for tie in config.ties if tie.call_type == call_type]
        most = float(np.prod([max(1.0, tie.rate_ratio) for tie in ties]))
        # Ties change neither how many calls there are in all, nor how many bouts or how long.
        more = most / _favour(ties, on, every_s, every_s + 1).mean()
        for turn in range(len(calling)):
            per_ms = calling[turn, kind] * config.calls_per_h / config.n_present / _HOUR_MS
            n_mean, gap_ms = config.calls_per_bout * more, 1000 * config.call_gap_s / more
            start = _bouts(per_ms * more, n_mean, gap_ms, length_ms, rng)
            length_s = rng.uniform(*lengths_s[call_type], len(start))
            stop = start + np.rint(1000 * length_s).astype(np.int64)
            is_kept = rng.random(len(start)) < _favour(ties, on, start, stop) / most
            yield kind, turn, np.stack([start, stop], axis=1)[is_kept]


def _favour(
    ties: Sequence[Tie], on: Mapping[str, Whole], start: Whole, stop: Whole
) -> NDArray[np.float64]:
    """Return how many times as frequent calls of a type are then."""
    favour = np.ones(len(start))
    for tie in ties:
        favour[_meets(start, stop, on[tie.behaviour])] *= tie.rate_ratio
    return favour


def _bouts(
    per_ms: float, n_mean: float, gap_ms: float, length_ms: int, rng: np.random.Generator
) -> Whole:
    """Draw instants that come in bouts at a rate that is the same throughout."""
    lead_ms = 10 * n_mean * gap_ms  # bouts that began before the session reach into it
    n_mean = max(1.0, n_mean)
    n_bouts = rng.poisson(per_ms / n_mean * (length_ms + lead_ms))
    sizes = rng.geometric(1 / n_mean, n_bouts)
    begin = np.repeat(rng.uniform(-lead_ms, length_ms, n_bouts), sizes)
    since = np.cumsum(rng.exponential(gap_ms, len(begin)))
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    at = np.floor(begin + since - since[first]).astype(np.int64) if len(begin) else begin
    return np.sort(at[(at >= 0) & (at < length_ms)]).astype(np.int64)


def _merged(each: Sequence[Whole]) -> Whole:
    """Return the union of intervals."""
    spans = np.concatenate(each)
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    begins = np.concatenate([[True], spans[1:, 0] > reach[:-1]])[: len(spans)]
    ends = np.concatenate([begins[1:], [True]])[: len(spans)]
    return np.stack([spans[begins, 0], reach[ends]], axis=1)


def _cut(spans: Whole, watched: Whole) -> Whole:
    """Cut states and points to the effort; a point at its very end is out."""
    parts = [
        np.clip(spans[(spans[:, 0] < stop) & (spans[:, 1] >= start)], start, stop)
        for start, stop in watched
    ]
    return np.concatenate(parts)


def _meets(start: Whole, stop: Whole, spans: Whole) -> NDArray[np.bool_]:
    """Tell which intervals share time with one of some spans."""
    first = np.searchsorted(spans[:, 1], start, side="right")
    return np.append(spans[:, 0], np.iinfo(np.int64).max)[first] < stop
