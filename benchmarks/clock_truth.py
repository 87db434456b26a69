"""How often offsets of clocks, and their intervals, are right where the truth is known.

**Markers**: five in an hour, good to 20 ms, with and without drift. Counted are offsets within
50 ms of the truth and 95 % intervals that hold it, at the middle of the markers and at the worse
end of the log.

**Activity**: logs without markers. Animals call in bouts, one individual far more than the others;
`strength` is the share of alarms that a call follows within 2 s. Observers watch one hour in four
and write down alarms, feeding and preening, half a second late or early and cut to the second, by a
clock that is up to five minutes wrong. Counted are runs in which an offset is given, and those of
them whose 95 % interval holds the truth (bar: 90 %). At strength 0 hardly any should be given.

The interval beside a share is Wilson's.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import polars as pl

from oscine.behaviour.activity_offset import offset_from_activity
from oscine.behaviour.clocks import Clock, fit_clock
from oscine.behaviour.tables import CALLS, EFFORT, OBSERVATIONS

START_MS = 1_714_000_000_123
HOUR_MS = 3_600_000
GOOD_MS, NEAR_MS = 20.0, 50.0
N_MARKERS = 5
LAYOUTS = ("even", "anywhere", "both ends", "first minute")
DRIFTS_PPM = (0.0, 50.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000, help="of markers, for each case")
    parser.add_argument("--runs", type=int, default=40, help="of activity, for each strength")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.15, 0.3, 0.6])
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    began = time.perf_counter()
    result = {
        "markers": [
            markers(layout, drift_ppm, arguments.draws, arguments.seed)
            for layout in LAYOUTS
            for drift_ppm in DRIFTS_PPM
        ],
        "activity": [
            activity(strength, arguments.runs, arguments.sessions, arguments.seed)
            for strength in arguments.strengths
        ],
    }
    result["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(result, indent=None if arguments.json else 2))


def markers(layout: str, drift_ppm: float, n_draws: int, seed: int) -> dict:
    """Fit markers in many draws."""
    rng = np.random.default_rng((seed, LAYOUTS.index(layout), round(drift_ppm)))
    truth = Clock(offset_ms=83_456.7, drift_ppm=drift_ppm, at_ms=START_MS)
    is_near, is_held, has_drift = [], [], []
    for _ in range(n_draws):
        shown = START_MS + marker_times(layout, rng)
        recorder = shown - truth.ahead_ms(shown)
        observer = shown + rng.normal(0, GOOD_MS, len(shown))
        fit = fit_clock(
            np.rint(observer).astype(int),
            np.rint(recorder).astype(int),
            log_ms=(START_MS, START_MS + HOUR_MS),
        )
        places = (fit.start, fit.middle, fit.stop)
        true = [float(truth.ahead_ms(place.at_ms)) for place in places]
        is_near.append(
            [abs(place.offset_ms - at) <= NEAR_MS for place, at in zip(places, true, strict=True)]
        )
        is_held.append(
            [holds(place.interval_ms, at) for place, at in zip(places, true, strict=True)]
        )
        has_drift.append(fit.has_drift)
    near, held = np.mean(is_near, axis=0), np.mean(is_held, axis=0)
    return {
        "layout": layout,
        "drift_ppm": drift_ppm,
        "draws": n_draws,
        "within_50_ms_middle": round(float(near[1]), 4),
        "within_50_ms_worse_end": round(float(min(near[0], near[2])), 4),
        "interval_holds_middle": round(float(held[1]), 4),
        "interval_holds_worse_end": round(float(min(held[0], held[2])), 4),
        "drift_told": round(float(np.mean(has_drift)), 4),
    }


def marker_times(layout: str, rng: np.random.Generator) -> np.ndarray:
    """Return times of markers after the start of the log, in ms."""
    if layout == "even":
        even = np.linspace(0, HOUR_MS, N_MARKERS) + rng.uniform(-1000, 1000, N_MARKERS)
        return np.clip(even, 0, HOUR_MS)
    if layout == "anywhere":
        return rng.uniform(0, HOUR_MS, N_MARKERS)
    within_ms = rng.uniform(0, 60_000, N_MARKERS)
    if layout == "first minute":
        return within_ms
    return np.where(np.arange(N_MARKERS) % 2, within_ms, HOUR_MS - within_ms)


def holds(interval: tuple[float, float] | None, true: float) -> bool:
    """Tell whether an interval holds a value."""
    return interval is not None and interval[0] <= true <= interval[1]


def activity(strength: float, n_runs: int, n_sessions: int, seed: int) -> dict:
    """Estimate the offset of many logs without markers."""
    n_held, errors_s, widths_s, reasons, seconds = 0, [], [], [], 0.0
    for run in range(n_runs):
        rng = np.random.default_rng((seed, 99, run))
        offset_ms = float(rng.uniform(-300_000, 300_000))
        tables = made(rng, strength=strength, offset_ms=offset_ms, n_sessions=n_sessions)
        began = time.perf_counter()
        found = offset_from_activity(*tables, seed=run)
        seconds += time.perf_counter() - began
        if found.offset is None or found.offset.interval_ms is None:
            reasons.append(found.reason)
            continue
        low, high = found.offset.interval_ms
        n_held += low <= offset_ms <= high
        errors_s.append(abs(found.offset.offset_ms - offset_ms) / 1000)
        widths_s.append((high - low) / 1000)
    n_given = len(widths_s)
    return {
        "strength": strength,
        "runs": n_runs,
        "sessions": n_sessions,
        "given": n_given,
        "given_wilson": wilson(n_given, n_runs),
        "interval_holds": n_held,
        "interval_holds_wilson": wilson(n_held, n_given) if n_given else None,
        "error_s_median": round(float(np.median(errors_s)), 2) if errors_s else None,
        "interval_s_median": round(float(np.median(widths_s)), 1) if widths_s else None,
        "why_not": sorted({reason.split(":")[0].split(",")[0] for reason in reasons}),
        "seconds_a_run": round(seconds / n_runs, 2),
    }


def wilson(n_true: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share."""
    share = n_true / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return round(float(middle - half), 3), round(float(middle + half), 3)


def made(
    rng: np.random.Generator,
    *,
    strength: float,
    offset_ms: float,
    n_sessions: int,
    session_ms: int = HOUR_MS,
    n_alarms: int = 20,
    n_bouts: int = 30,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Make calls, observations and effort.

    Parameters
    ----------
    rng
    strength
        Share of alarms that a call follows within 2 s.
    offset_ms
        Of the observer's clock.
    n_sessions
        One every four hours; what happens in between is heard, not seen.
    session_ms
    n_alarms, n_bouts
        In a session, and in as much of the time between: alarms, and bouts of calls that go with
        nothing.
    """
    calls: list[tuple[float, int, str]] = []
    seen: list[tuple[str, float, float, int]] = []
    effort = []
    for session in range(n_sessions):
        begin = START_MS + session * 4 * HOUR_MS
        watched = begin + HOUR_MS, begin + HOUR_MS + session_ms
        effort.append((session, *watched))
        stretch = begin, watched[1] + HOUR_MS
        share = (stretch[1] - stretch[0]) / session_ms
        for start in in_bouts(rng, stretch, round(n_alarms * share / 4), 4, 15_000):
            seen.append(("alarm", start, start, session))
            if rng.random() < strength:
                calls.append((start + rng.uniform(0, 2000), 0, f"bird {rng.integers(1, 5)}"))
        for start in in_bouts(rng, stretch, round(6 * share), 1, 1):
            seen.append(("feed", start, start + rng.uniform(20_000, 120_000), session))
        for start in in_bouts(rng, stretch, round(5 * share), 3, 20_000):
            seen.append(("preen", start, start, session))
        for bout in range(round(n_bouts * share)):
            # Two bouts of three are the chatty one's, and longer.
            n_calls = rng.geometric(1 / 12 if bout % 3 else 1 / 4)
            caller = "chatty" if bout % 3 else f"bird {rng.integers(1, 5)}"
            kind = int(rng.choice(4))
            times = rng.uniform(*stretch) + np.cumsum(rng.exponential(1500, n_calls))
            calls += [(float(at), kind, caller) for at in times]
    seen = [row for row in seen if effort[row[3]][1] <= row[1] < effort[row[3]][2]]
    return (
        call_table(calls),
        observation_table(seen, offset_ms, rng),
        effort_table(effort, offset_ms),
    )


def in_bouts(
    rng: np.random.Generator,
    stretch: tuple[float, float],
    n_bouts: int,
    mean_length: float,
    mean_gap_ms: float,
) -> list[float]:
    """Return times in bouts that begin anywhere."""
    return [
        float(at)
        for _ in range(n_bouts)
        for at in rng.uniform(*stretch)
        + np.cumsum(rng.exponential(mean_gap_ms, rng.geometric(1 / mean_length)))
    ]


def call_table(calls: list[tuple[float, int, str]]) -> pl.DataFrame:
    """Return calls as a table."""
    calls = sorted(calls)
    starts = [round(at) for at, _, _ in calls]
    return pl.DataFrame(
        {
            "call": range(len(calls)),
            "recording": 0,
            "path": "a.flac",
            "site": "north",
            "caller": [caller for _, _, caller in calls],
            "sound_type": [kind for _, kind, _ in calls],
            "start_ms": starts,
            "stop_ms": [start + 200 for start in starts],
            "file_start_ms": 0,
            "file_stop_ms": 200,
        },
        schema=dict(CALLS),
    )


def observation_table(
    seen: list[tuple[str, float, float, int]], offset_ms: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Return observations as they are written down: late or early, cut to the second."""
    late = rng.normal(0, 500, len(seen))
    return pl.DataFrame(
        {
            "observation": range(len(seen)),
            "log": "log.csv",
            "row": range(2, len(seen) + 2),
            "behaviour": [name for name, *_ in seen],
            "is_state": [stop > start for _, start, stop, _ in seen],
            "subject": "",
            "session": [str(session) for *_, session in seen],
            "timeline": "site:north",
            "start_ms": [
                int((row[1] + by + offset_ms) // 1000 * 1000)
                for row, by in zip(seen, late, strict=True)
            ],
            "stop_ms": [
                int((row[2] + by + offset_ms) // 1000 * 1000)
                for row, by in zip(seen, late, strict=True)
            ],
            "count": None,
        },
        schema=dict(OBSERVATIONS),
    )


def effort_table(effort: list[tuple[int, float, float]], offset_ms: float) -> pl.DataFrame:
    """Return when somebody watched, by the observer's clock."""
    return pl.DataFrame(
        {
            "log": "log.csv",
            "session": [str(session) for session, _, _ in effort],
            "timeline": "site:north",
            "start_ms": [round(start + offset_ms) for _, start, _ in effort],
            "stop_ms": [round(stop + offset_ms) for _, _, stop in effort],
            "source": "declared",
            "site": "",
        },
        schema=dict(EFFORT),
    )


if __name__ == "__main__":
    main()
