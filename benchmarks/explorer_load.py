"""How the server of an atlas bears fifty visitors at once, among them slow and broken ones.

Of a workspace of `benchmarks/atlas_fixture.py`, served by `oscine explore` on this computer:

- opening: seconds from the command until the points of the map have arrived;
- first picture: seconds for the page, the atlas and the points from a server that is warm;
- strip: median milliseconds of a spectrogram strip, one visitor alone;
- load: `--clients` visitors for `--seconds` s (60 % strips, 20 % ranges of sound, 20 % events),
  each asking again as soon as it has its answer: requests, errors, median and 99th percentile, by
  kind; meanwhile some clients ask byte by byte, some ask for the map and take nothing, some ask for
  ranges that are none;
- memory of the server before (after ten seconds of the same) and after.

Wanted at 100,000 events: first picture under 3 s, strips under 150 ms, memory under 1 GB; under
load no error and a 99th percentile under 500 ms. At a million: opening under 6 s.

The visitors share the processors with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import atlas_fixture

from oscine.atlas.explorer.columns import unpacked

SLOW, GREEDY = 10, 10
BROKEN = (
    "bytes=5-2",
    "bytes=0-1,5-9",
    "lines=0-5",
    "bytes=99999999-",
    "bytes=-",
    "bytes=" + "9" * 99,
)
ALONE, WARM_S = 200, 10.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, help="of atlas_fixture.py; else one is written")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        workspace = arguments.workspace or atlas_fixture.write(Path(name), arguments.events)
        result = measure(workspace, arguments.clients, arguments.seconds)
    print(json.dumps(result, indent=None if arguments.json else 2))


def measure(workspace: Path, n_clients: int, seconds: float) -> dict[str, Any]:
    """Serve a workspace, and ask."""
    started = time.perf_counter()
    with served(workspace) as (process, port):
        data = asyncio.run(ask(port, "/api/points"))[2]
        opening_s = time.perf_counter() - started
        header, points = unpacked(data)
        result: dict[str, Any] = {
            "events": header["total"],
            "shown": header["n"],
            "opening_s": round(opening_s, 2),
            "memory_open_mb": memory(process.pid),
        }
        result |= asyncio.run(alone(port, points["event"].tolist()))
        asked = points["event"].tolist(), points["recording"].tolist()
        asyncio.run(load(port, *asked, n_clients, min(seconds, WARM_S)))
        result["memory_before_mb"] = memory(process.pid)
        result["load"] = asyncio.run(load(port, *asked, n_clients, seconds))
        result["memory_after_mb"] = memory(process.pid)
    return result


@contextmanager
def served(workspace: Path) -> Any:
    """Yield the process that serves a workspace, and its port."""
    command = [sys.executable, "-m", "oscine", "explore", "-w", str(workspace), "--port", "0"]
    with subprocess.Popen(
        [*command, "--no-browser", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            yield process, urlsplit(address).port
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def memory(pid: int) -> dict[str, float]:
    """Return the most megabytes that a process held, those now, and those of them not of files."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = {
        line.split(":")[0]: line.split()[1] for line in status.splitlines() if "kB" in line
    }
    return {name: round(int(kilobytes[name]) / 1024, 1) for name in ("VmHWM", "VmRSS", "RssAnon")}


class Visitor:
    """A connection that is kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str, headers: str = "") -> tuple[int, bytes, bytes]:
        """Return status, head and body of an answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{headers}\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split(b" ", 2)[1]), head, await reader.readexactly(length)

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()


async def ask(port: int, path: str) -> tuple[int, bytes, bytes]:
    """Ask once."""
    visitor = Visitor(port)
    try:
        return await visitor.ask(path)
    finally:
        visitor.close()


async def alone(port: int, events: list[int]) -> dict[str, float]:
    """Measure what one visitor waits for."""
    visitor, chance = Visitor(port), random.Random(1)
    started = time.perf_counter()
    for path in ("/", "/api/atlas", "/api/points"):
        await visitor.ask(path)
    first_s = time.perf_counter() - started
    waited = []
    for event in chance.sample(events, min(ALONE, len(events))):
        started = time.perf_counter()
        status, _, _ = await visitor.ask(f"/api/events/{event}/strip.png")
        waited.append(time.perf_counter() - started)
        assert status == 200
    visitor.close()
    return {
        "first_picture_s": round(first_s, 3),
        "strip_median_ms": round(1000 * statistics.median(waited), 1),
    }


async def load(
    port: int, events: list[int], recordings: list[int], n_clients: int, seconds: float
) -> dict[str, Any]:
    """Ask with many visitors at once, while others do harm."""
    stop_s = time.perf_counter() + seconds
    waited: dict[str, list[float]] = defaultdict(list)
    errors: list[str] = []

    async def visit(number: int) -> None:
        visitor, chance = Visitor(port), random.Random(number)
        while time.perf_counter() < stop_s:
            place = chance.randrange(len(events))
            kind = chance.choices(("strip", "sound", "event"), (60, 20, 20))[0]
            path, headers, wanted = f"/api/events/{events[place]}", "", 200
            if kind == "strip":
                path += "/strip.png"
            elif kind == "sound":
                start = chance.randrange(10**5)
                path = f"/api/recordings/{recordings[place]}/audio"
                path += f"?start_sample={start}&stop_sample={start + 48_000}"
                headers, wanted = f"Range: bytes=0-{chance.randrange(100, 50_000)}\r\n", 206
            started = time.perf_counter()
            try:
                status, _, _ = await visitor.ask(path, headers)
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                errors.append(f"{kind}: {error!r}")
                visitor = Visitor(port)
                continue
            waited[kind].append(time.perf_counter() - started)
            if status != wanted:
                errors.append(f"{kind}: {status}")
        visitor.close()

    harm = [
        *(asyncio.create_task(drip(port)) for _ in range(SLOW)),
        *(asyncio.create_task(refuse(port)) for _ in range(GREEDY)),
        asyncio.create_task(break_ranges(port, recordings)),
    ]
    await asyncio.gather(*(visit(number) for number in range(n_clients)))
    for one in harm:
        one.cancel()
    await asyncio.gather(*harm, return_exceptions=True)
    every = [one for each in waited.values() for one in each]
    return {
        "clients": n_clients,
        "seconds": seconds,
        "requests": len(every),
        "per_s": round(len(every) / seconds, 1),
        "errors": len(errors),
        "first_errors": sorted(set(errors))[:5],
        **{kind: quantiles(each) for kind, each in [("all", every), *sorted(waited.items())]},
    }


def quantiles(waited: list[float]) -> dict[str, float]:
    """Return what visitors waited for, in milliseconds."""
    cuts = statistics.quantiles(waited, n=100)
    return {"median_ms": round(1000 * cuts[49], 1), "p99_ms": round(1000 * cuts[98], 1)}


async def drip(port: int) -> None:
    """Ask byte by byte, and begin again when sent away."""
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            for byte in b"GET /api/points HTTP/1.1\r\n" + b"X: y\r\n" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.2)


async def refuse(port: int) -> None:
    """Ask for the map, and take nothing of it."""
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(f"GET /api/points HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            await asyncio.sleep(20)
            writer.close()


async def break_ranges(port: int, recordings: list[int]) -> None:
    """Ask for ranges that are none."""
    visitor = Visitor(port)
    while True:
        for header in BROKEN:
            path = f"/api/recordings/{recordings[0]}/audio?stop_sample=1000"
            status, _, _ = await visitor.ask(path, f"Range: {header}\r\n")
            assert status in (200, 416), status
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    main()
