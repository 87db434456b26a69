"""How fast, and in how little memory, calls are joined with observations.

Tables are made by a seed: sites with recorders that run half of every hour, calls in bouts (most of
a fraction of a second, a few of minutes), logs of sessions of two hours with points, states of
seconds and a few of an hour, subjects, callers, and a measured value. Reported: wall and processor
seconds of the join alone, peak memory of the whole process (also what the tables take), pairs, and
what share of all possible pairs and of the calls they are. Wanted of 5 million calls and 100,000
observations: under 60 s and 4 GB on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import polars as pl

from oscine.behaviour.join import JoinConfig, join
from oscine.behaviour.matching import RECORDINGS
from oscine.behaviour.tables import CALLS, CONTEXT, EFFORT, OBSERVATIONS

SITES, DAYS = 20, 10
HOUR_MS = 3_600_000
FIRST_MS = 1_711_756_800_000  # 2024-03-30: clocks go forward in Europe the next night
BEHAVIOURS, SUBJECTS = 30, 40


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=5_000_000)
    parser.add_argument("--observations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    recordings = recordings_of()
    calls = calls_of(recordings, arguments.calls, rng)
    logs = logs_of(arguments.observations, rng)
    tables_mb = peak_mb()
    wall, processor = time.perf_counter(), time.process_time()
    joined = join(calls, recordings, *logs, JoinConfig())
    seconds = {
        "wall_s": round(time.perf_counter() - wall, 1),
        "processor_s": round(time.process_time() - processor, 1),
    }
    result = {
        "calls": len(calls),
        "observations": len(logs[0]),
        **seconds,
        "peak_mb": peak_mb(),
        "peak_before_mb": tables_mb,
        "pairs": len(joined.pairs),
        "share_of_possible_pairs": len(joined.pairs) / len(calls) / len(logs[0]),
        "share_of_calls_with_pairs": joined.pairs["call"].n_unique() / len(calls),
        "share_of_calls_observed": (joined.calls["status"] == "observed").mean(),
        "sessions": len(joined.sessions),
        "problems": len(joined.unmatched),
    }
    print(json.dumps(result, indent=None if arguments.json else 2))


def recordings_of() -> pl.DataFrame:
    """Return half an hour of every hour at every site."""
    site, hour = (one.ravel() for one in np.mgrid[:SITES, : DAYS * 24])
    names = np.char.add("site ", site.astype(str))
    return pl.DataFrame(
        {
            "recording": np.arange(len(site)),
            "path": [f"{name}/{number:04}.flac" for name, number in zip(names, hour, strict=True)],
            "site": names,
            "start_ms": FIRST_MS + hour * HOUR_MS,
            "duration_ms": np.full(len(site), HOUR_MS // 2),
        },
        schema=dict(RECORDINGS),
    )


def calls_of(recordings: pl.DataFrame, n: int, rng: np.random.Generator) -> pl.DataFrame:
    """Return calls in bouts of ten or so."""
    n_bouts = n // 10 + 1
    bout = np.sort(rng.integers(n_bouts, size=n))
    recording = np.sort(rng.integers(len(recordings), size=n_bouts))[bout]
    begins = rng.integers(HOUR_MS // 2 - 60_000, size=n_bouts)[bout]
    start = begins + rng.integers(60_000, size=n)
    length = np.minimum(rng.lognormal(np.log(300), 1.0, n), HOUR_MS).astype(np.int64) + 1
    known = pl.Series(rng.integers(5 * SUBJECTS, size=n))
    of_recording = recordings[recording]
    return pl.DataFrame(
        {
            "call": np.arange(n),
            "recording": recording,
            "path": of_recording["path"],
            "site": of_recording["site"],
            "caller": pl.Series([*names(SUBJECTS), *[""] * 4 * SUBJECTS]).gather(known),
            "sound_type": rng.integers(-1, 12, size=n),
            "start_ms": of_recording["start_ms"] + start,
            "stop_ms": of_recording["start_ms"] + start + length,
            "file_start_ms": start,
            "file_stop_ms": start + length,
        },
        schema=dict(CALLS),
    )


def names(n: int) -> list[str]:
    """Return names of individuals."""
    return [f"ring {number:03}" for number in range(n)]


def logs_of(n: int, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return observations, effort and context: two hours a day at every site, by two observers."""
    site, day = (one.ravel() for one in np.mgrid[:SITES, :DAYS])
    log = pl.Series(["anna", "ben"]).gather(day % 2)
    session = pl.Series([str(number) for number in day])
    timeline = pl.Series([f"site:Site {number} " for number in site])
    begins = FIRST_MS + day * 24 * HOUR_MS + rng.integers(22 * HOUR_MS, size=len(site))
    effort = pl.DataFrame(
        {
            "log": log,
            "session": session,
            "timeline": timeline,
            "start_ms": begins,
            "stop_ms": begins + 2 * HOUR_MS,
            "source": pl.Series(["declared"]).new_from_index(0, len(site)),
            "site": pl.Series([""]).new_from_index(0, len(site)),
        },
        schema=dict(EFFORT),
    )
    of = np.sort(rng.integers(len(site), size=n))
    start = begins[of] + rng.integers(2 * HOUR_MS, size=n)
    kind = rng.random(n)
    length = np.where(kind < 0.5, 0, rng.exponential(20_000, n).astype(np.int64) + 1)
    length = np.where(kind > 0.99, HOUR_MS, length)
    observations = pl.DataFrame(
        {
            "observation": np.arange(n),
            "log": log.gather(of),
            "row": np.arange(n) + 2,
            "behaviour": pl.Series(
                [f"behaviour {number:02}" for number in range(BEHAVIOURS)]
            ).gather(rng.integers(BEHAVIOURS, size=n)),
            "is_state": length > 0,
            "subject": pl.Series([*names(SUBJECTS), *[""] * SUBJECTS]).gather(
                rng.integers(2 * SUBJECTS, size=n)
            ),
            "session": session.gather(of),
            "timeline": timeline.gather(of),
            "start_ms": start,
            "stop_ms": start + length,
            "count": np.ones(n),
        },
        schema=dict(OBSERVATIONS),
    )
    context = observations[::10].select(
        "log",
        "row",
        "session",
        "timeline",
        "start_ms",
        name=pl.lit("temperature"),
        value=pl.lit(12.5),
        stop_ms=pl.col("start_ms") + 600_000,
    )
    return observations, effort, context.select(list(CONTEXT))


def peak_mb() -> float:
    """Return the most memory this process held."""
    told = Path("/proc/self/status")
    if not told.exists():
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    (line,) = (one for one in told.read_text().splitlines() if one.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
