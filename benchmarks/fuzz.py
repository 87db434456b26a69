"""What mutated files do to decoding: nothing may crash, hang, grow without bound or get lost.

Small valid files of all formats (see `tests/fuzzing.py`) are broken by chance, each case from its
number and the seed, and drawn in child processes with bounded memory; every twentieth is left as
it was. Measured:

- how many ended in each state; `escaped` is an exception that `draw_recording` let through;
- cases whose process died (a crash in a library written in C) or took over five seconds;
- the longest time for one file, and the most memory that one added to its process;
- good files that did not come out whole.

Wanted: no exception, no hang, no good file lost. A crash costs its file alone and is named.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import fuzzing


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), arguments.cases, arguments.seed)
    print(json.dumps(result, indent=None if arguments.json else 2))


def measure(folder: Path, n_cases: int, seed: int) -> dict:
    """Return all figures."""
    (folder / "sources").mkdir()
    (folder / "work").mkdir()
    sources = fuzzing.write_sources(folder / "sources")
    states: Counter[str] = Counter()
    bad: dict[str, list[str]] = {"escaped": [], "crashed": [], "hung": []}
    slowest_s = peak_mb = 0.0
    lost_good_files = 0
    for outcome in fuzzing.outcomes(folder / "work", sources, range(n_cases), seed):
        states[outcome.state] += 1
        state = "hung" if outcome.seconds > fuzzing.HANG_S else outcome.state
        if state in bad:
            bad[state].append(f"{outcome.name}: {outcome.reason}")
        slowest_s = max(slowest_s, outcome.seconds)
        peak_mb = max(peak_mb, outcome.peak_mb)
        lost_good_files += fuzzing.is_good(outcome.case) and outcome.state != "whole"
    return {
        "cases": n_cases,
        "seed": seed,
        "formats": len(sources),
        "states": dict(sorted(states.items())),
        "escaped": bad["escaped"],
        "crashes": bad["crashed"],
        "hangs": bad["hung"],
        "slowest_s": slowest_s,
        "peak_mb": peak_mb,
        "lost_good_files": lost_good_files,
    }


if __name__ == "__main__":
    main()
