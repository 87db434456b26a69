"""How fast, how well and in how little memory neighbours are found, beside other libraries.

Vectors are grown from real ones (``--workspace``, or the recordings of ``--data``, learned from
briefly): the real set again and again, each time turned at random, as an archive ten times as large
holds other sounds and not the same ones ten times; each vector is mixed with a random one of its 20
nearest and with noise. So the first and the tenth neighbour lie as far away as real ones do; how
far, in both sets, is reported. Queries are grown with the rest and held out.

Each contestant builds, and then answers, in a process of its own. hnswlib and usearch look as far
as half of the queries need for the recall that ours is made for; recall is that of the others.

Reported of each: seconds to build and to open, bytes of the index a vector, peak memory, queries a
second one by one and in batches, median and 99th percentile of one, recall at 10. Of ours also:
recall and median with a share of the rows allowed, and seconds until 1,000 appended vectors are
found. Wanted of ours at a million: recall 0.98 with a median under 10 ms on 2 cores, at most 160
bytes a vector, the appended within 2 s; at ten million it opens within 1 s.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from oscine.search.exact import exact, exact_among
from oscine.search.index import EXACT_ROWS, TARGET, open_index, refresh_index
from oscine.workspace import Workspace
from oscine.workspace.arrays import ArrayReader, ArrayWriter

K = 10
MIXED, NOISE = 0.15, 0.1
N_NEAR = 20
BATCH = 64
APPENDED = 1000
SHARES = (0.5, 0.1, 0.01)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MADE_FROM = "grown"
CONTESTANTS = ("oscine", "exact", "hnswlib", "usearch")
REACH = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
"""Expansions (ef) that the graphs try."""


def main() -> None:
    """Run the benchmark, or one part of it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000, help="vectors")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--data", type=Path, default=os.environ.get("OSCINE_DATA"))
    parser.add_argument("--workspace", type=Path, help="one whose events are embedded; is read")
    parser.add_argument("--work", type=Path, help="where the vectors are made; kept")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=CONTESTANTS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one line")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part is not None:
        name, phase = arguments.part
        print(json.dumps(PARTS[phase](arguments, name)))
        return
    if arguments.workspace is None and arguments.data is None:
        sys.exit("name a workspace with --workspace, or the recordings with --data or OSCINE_DATA")
    with tempfile.TemporaryDirectory() as folder:
        arguments.work = arguments.work or Path(folder)
        result = measure(arguments)
    print(json.dumps(result, indent=None if arguments.json else 2))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Grow the vectors, find the truth, and ask every contestant."""
    real = real_vectors(arguments)
    vectors, queries = grow(arguments.work, real, arguments.n, arguments.queries)
    truth = exact(vectors, queries, K)
    np.save(arguments.work / "truth.npy", truth.likeness)
    result: dict[str, Any] = {
        "n": arguments.n,
        "dimensions": real.shape[1],
        "threads": arguments.threads,
        "real_vectors": len(real),
        "quantiles": QUANTILES,
        "distance_real": distances(likeness_among(arguments.work, real)),
        "distance_grown": distances(truth.likeness),
    }
    for name in arguments.only:
        if name in ("hnswlib", "usearch") and importlib.util.find_spec(name) is None:
            result[name] = "not installed: pip install 'oscine[bars]'"
            continue
        result[name] = {}
        for phase in PARTS:
            print(f"{name}: {phase}", file=sys.stderr)
            result[name] |= in_a_process(arguments, name, phase)
    return result


def in_a_process(arguments: argparse.Namespace, name: str, phase: str) -> dict[str, Any]:
    """Run one part, and add its peak memory."""
    threads = str(arguments.threads)
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    sizes = ["--n", str(arguments.n), "--threads", threads, "--work", str(arguments.work)]
    ran = subprocess.run(
        [sys.executable, __file__, *sizes, "--part", name, phase],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | limits,
    )
    return json.loads(ran.stdout)


def real_vectors(arguments: argparse.Namespace) -> np.ndarray:
    """Return the vectors of real events."""
    if arguments.workspace is not None:
        return np.array(Workspace(arguments.workspace).vectors()[0])
    from oscine import steps

    folder = arguments.work / "real.oscine"
    steps.index([arguments.data], folder)
    steps.pretrain(folder, steps=200)
    steps.embed(folder)
    return np.array(Workspace(folder).vectors()[0])


def grow(folder: Path, real: np.ndarray, n: int, n_queries: int) -> tuple[ArrayReader, np.ndarray]:
    """Write so many vectors, and return them and queries that are not among them."""
    near = nearest(real)
    rng = np.random.default_rng(0)
    is_query = np.zeros(n + n_queries, bool)
    is_query[rng.choice(n + n_queries, n_queries, replace=False)] = True
    writer = ArrayWriter(folder / "vectors", np.dtype(np.float32), real.shape[1:], 0)
    queries = []
    for start in range(0, n + n_queries, len(real)):
        some = is_query[start : start + len(real)]
        copy = turned(real, near, rng)[: len(some)]
        queries.append(copy[some])
        writer.append(copy[~some])
    writer.flush()
    np.save(folder / "queries.npy", np.concatenate(queries))
    return opened(folder, n), np.concatenate(queries)


def turned(real: np.ndarray, near: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the real vectors, each mixed with a neighbour and noise, all turned the same way."""
    n, dimensions = real.shape
    other = near[np.arange(n), rng.integers(near.shape[1], size=n)]
    share = rng.uniform(0, MIXED, (n, 1)).astype(np.float32)
    noise = rng.standard_normal((n, dimensions), np.float32) * NOISE / np.sqrt(dimensions)
    mixed = (1 - share) * real + share * real[other] + noise.astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))[0].astype(np.float32)
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)) @ turn


def nearest(real: np.ndarray) -> np.ndarray:
    """Return the rows of the nearest of each vector, itself left out [shape=(N, 20)]."""
    likeness = real @ real.T
    np.fill_diagonal(likeness, -np.inf)
    return np.argsort(-likeness, axis=1)[:, :N_NEAR]


def likeness_among(folder: Path, real: np.ndarray) -> np.ndarray:
    """Return how alike the nearest of each real vector are [shape=(N, 10)]."""
    writer = ArrayWriter(folder / "real", np.dtype(np.float32), real.shape[1:], 0)
    writer.append(real)
    vectors = ArrayReader(folder / "real", np.dtype(np.float32), real.shape[1:], len(real))
    found = exact_among(vectors, real, K + 1, range(len(real)))
    return found.likeness[:, 1:]


def distances(likeness: np.ndarray) -> dict[str, list[float]]:
    """Return quantiles of the distance to the first and the tenth neighbour."""
    apart = np.sqrt(np.maximum(0, 2 - 2 * likeness))
    return {
        f"neighbour {rank}": [
            round(float(q), 3) for q in np.quantile(apart[:, rank - 1], QUANTILES)
        ]
        for rank in (1, K)
    }


def opened(folder: Path, n: int) -> ArrayReader:
    """Open the vectors that were grown."""
    shape = np.load(folder / "queries.npy", mmap_mode="r").shape[1:]
    return ArrayReader(folder / "vectors", np.dtype(np.float32), shape, n)


def build(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Build an index of one kind and keep it in a file."""
    vectors = opened(arguments.work, arguments.n)
    file = arguments.work / name
    started = time.perf_counter()
    if name == "oscine":
        made = refresh_index(file, vectors, MADE_FROM, exact_rows=min(EXACT_ROWS, arguments.n // 2))
        assert made.facts is not None
        told: dict[str, Any] = {
            "lists": made.facts.lists,
            "first_probes": made.facts.first_probes,
            "probes": made.facts.probes,
            "short_list": made.facts.short_list,
            "recall_measured_by_itself": made.facts.recall,
        }
        n_bytes = sum(one.stat().st_size for one in file.iterdir())
    elif name == "exact":
        told, n_bytes = {}, 0
    else:
        told = {}
        graph = {"hnswlib": build_hnswlib, "usearch": build_usearch}[name]
        graph(arguments, vectors, file)
        n_bytes = file.stat().st_size
    return {
        "build_s": round(time.perf_counter() - started, 1),
        "bytes_a_vector": round(n_bytes / arguments.n, 1),
        "build_peak_mb": peak_mb(),
        **told,
    }


def build_hnswlib(arguments: argparse.Namespace, vectors: ArrayReader, file: Path) -> None:
    """Build a graph of hnswlib (float32, M 16)."""
    import hnswlib  # pyright: ignore[reportMissingImports]

    graph = hnswlib.Index("ip", vectors.row_shape[0])
    graph.init_index(arguments.n, ef_construction=128, M=16, random_seed=0)
    for rows, block in blocks(vectors):
        graph.add_items(block, rows, num_threads=arguments.threads)
    graph.save_index(str(file))


def build_usearch(arguments: argparse.Namespace, vectors: ArrayReader, file: Path) -> None:
    """Build a graph of usearch (float16, connectivity 16)."""
    from usearch.index import Index  # pyright: ignore[reportMissingImports]

    graph = Index(
        ndim=vectors.row_shape[0], metric="ip", dtype="f16", connectivity=16, expansion_add=128
    )
    for rows, block in blocks(vectors):
        graph.add(rows, block, threads=arguments.threads)
    graph.save(str(file))


def blocks(vectors: ArrayReader) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield row numbers and vectors, some at a time."""
    for start in range(0, vectors.n_rows, 2**16):
        stop = min(vectors.n_rows, start + 2**16)
        yield np.arange(start, stop), vectors.rows(start, stop)


def ask(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Open an index and ask it, one by one and in batches."""
    vectors = opened(arguments.work, arguments.n)
    queries = np.load(arguments.work / "queries.npy")
    least = np.load(arguments.work / "truth.npy")[:, -1:]
    started = time.perf_counter()
    search, told = SEARCHERS[name](arguments, vectors, queries, least)
    opened_s = time.perf_counter() - started - told.pop("choosing_s", 0.0)
    asked = queries[len(queries) // 2 :]
    search(asked[:1])
    lasted = []
    for number in range(len(asked)):
        started = time.perf_counter()
        search(asked[number : number + 1])
        lasted.append(time.perf_counter() - started)
    started = time.perf_counter()
    found = [search(asked[at : at + BATCH]) for at in range(0, len(asked), BATCH)]
    batches_s = time.perf_counter() - started
    result = {
        "open_s": round(opened_s, 3),
        "recall": recall(vectors, asked, np.concatenate(found), least[len(queries) // 2 :]),
        "median_ms": round(float(np.median(lasted)) * 1e3, 2),
        "p99_ms": round(float(np.quantile(lasted, 0.99)) * 1e3, 2),
        "queries_a_second": round(1 / float(np.mean(lasted)), 1),
        f"queries_a_second_by_{BATCH}": round(len(asked) / batches_s, 1),
        "ask_peak_mb": peak_mb(),
        **told,
    }
    if name == "oscine":
        result |= filtered(arguments, vectors, asked[:BATCH])
        result |= appended(arguments, vectors)
    return result


Searcher = Callable[[np.ndarray], np.ndarray]


def search_oscine(
    arguments: argparse.Namespace, vectors: ArrayReader, queries: np.ndarray, least: np.ndarray
) -> tuple[Searcher, dict[str, Any]]:
    """Return what searches with our index."""
    index = open_index(arguments.work / "oscine", vectors, MADE_FROM)
    assert index.facts is not None, index.note
    return lambda some: index.search(some, K).rows, {}


def search_exact(
    arguments: argparse.Namespace, vectors: ArrayReader, queries: np.ndarray, least: np.ndarray
) -> tuple[Searcher, dict[str, Any]]:
    """Return what compares all vectors."""
    return lambda some: exact(vectors, some, K).rows, {}


def search_hnswlib(
    arguments: argparse.Namespace, vectors: ArrayReader, queries: np.ndarray, least: np.ndarray
) -> tuple[Searcher, dict[str, Any]]:
    """Return what searches with the graph of hnswlib."""
    import hnswlib  # pyright: ignore[reportMissingImports]

    graph = hnswlib.Index("ip", vectors.row_shape[0])
    graph.load_index(str(arguments.work / "hnswlib"))
    graph.set_num_threads(arguments.threads)

    def search(some: np.ndarray) -> np.ndarray:
        return graph.knn_query(some, K)[0].astype(np.int64)

    return search, reaching(graph.set_ef, search, vectors, queries, least)


def search_usearch(
    arguments: argparse.Namespace, vectors: ArrayReader, queries: np.ndarray, least: np.ndarray
) -> tuple[Searcher, dict[str, Any]]:
    """Return what searches with the graph of usearch."""
    from usearch.index import Index  # pyright: ignore[reportMissingImports]

    graph: Any = Index.restore(str(arguments.work / "usearch"))

    def search(some: np.ndarray) -> np.ndarray:
        found = graph.search(some, K, threads=arguments.threads)
        return np.asarray(found.keys).reshape(len(some), -1).astype(np.int64)

    def set_reach(reach: int) -> None:
        graph.expansion_search = reach

    return search, reaching(set_reach, search, vectors, queries, least)


def reaching(
    set_reach: Callable[[int], None],
    search: Searcher,
    vectors: ArrayReader,
    queries: np.ndarray,
    least: np.ndarray,
) -> dict[str, Any]:
    """Let a graph look as far as half of the queries need."""
    started, half = time.perf_counter(), len(queries) // 2
    reach = REACH[0]
    for reach in REACH:
        set_reach(reach)
        if recall(vectors, queries[:half], search(queries[:half]), least[:half]) >= TARGET:
            break
    return {"expansion": reach, "choosing_s": time.perf_counter() - started}


SEARCHERS = {
    "oscine": search_oscine,
    "exact": search_exact,
    "hnswlib": search_hnswlib,
    "usearch": search_usearch,
}
PARTS = {"build": build, "ask": ask}


def recall(vectors: ArrayReader, queries: np.ndarray, rows: np.ndarray, least: np.ndarray) -> float:
    """Return the share of neighbours that are as alike as the tenth should be."""
    found = vectors.take(rows.reshape(-1)).reshape(*rows.shape, -1)
    likeness = np.einsum("qkd,qd->qk", found, queries, dtype=np.float64)
    return round(float((likeness >= least - 1e-6).mean()), 4)


def filtered(
    arguments: argparse.Namespace, vectors: ArrayReader, queries: np.ndarray
) -> dict[str, Any]:
    """Ask among a share of the rows: random ones, and those that are least like the queries."""
    index = open_index(arguments.work / "oscine", vectors, MADE_FROM)
    towards = np.concatenate([block @ queries[0] for _, block in blocks(vectors)])
    result = {}
    for share in SHARES:
        kinds = {
            "random": np.random.default_rng(1).random(arguments.n) < share,
            "unlike": towards <= np.quantile(towards, share),
        }
        for kind, allowed in kinds.items():
            truth = exact(vectors, queries, K, allowed)
            started, found = time.perf_counter(), []
            for number in range(len(queries)):
                found.append(index.search(queries[number : number + 1], K, allowed).rows)
            lasted_s = time.perf_counter() - started
            rows = np.concatenate(found)
            assert allowed[rows].all()
            result[f"{share:g} allowed, {kind}"] = {
                "recall": recall(vectors, queries, rows, truth.likeness[:, -1:]),
                "mean_ms": round(lasted_s / len(queries) * 1e3, 2),
            }
    return result


def appended(arguments: argparse.Namespace, vectors: ArrayReader) -> dict[str, Any]:
    """Append vectors, and take the time until they are found."""
    rng = np.random.default_rng(2)
    new = rng.standard_normal((APPENDED, vectors.row_shape[0]), np.float32)
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    folder, n = arguments.work / "vectors", arguments.n
    started = time.perf_counter()
    writer = ArrayWriter(folder, vectors.dtype, vectors.row_shape, n)
    writer.append(new)
    writer.flush()
    more = ArrayReader(folder, vectors.dtype, vectors.row_shape, writer.n_rows)
    index = refresh_index(
        arguments.work / "oscine", more, MADE_FROM, exact_rows=min(EXACT_ROWS, n // 2)
    )
    first = index.search(new[:1], 1)
    lasted_s = time.perf_counter() - started
    every = np.concatenate([first.rows, index.search(new[1:], 1).rows])
    assert (every[:, 0] == np.arange(n, n + APPENDED)).all()
    return {"append_s": round(lasted_s, 2)}


def peak_mb() -> float:
    """Return the most memory this process held, mapped files included."""
    told = Path("/proc/self/status")
    if not told.exists():
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    # What getrusage says counts from before this program began, when it was its parent's.
    (line,) = (one for one in told.read_text().splitlines() if one.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
