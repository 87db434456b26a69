"""How quickly the page of `oscine explore` shows, points and moves, in headless Chromium.

A workspace of so many events is written without learning (atlas_fixture.py), a server of its own is
started and warmed by one call. Drawn by software, without a graphics card. Reported: seconds
until the map is drawn; milliseconds from the move of the pointer to the picture of the call; and
between two frames while the map is dragged. Wanted of 100,000 events: under 3 s, under 150 ms
(median), under 100 ms (median), and a server under 1 GB; of a million: drawn in under 6 s.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import atlas_fixture
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SIZE = {"width": 1440, "height": 900}

# Times what the page itself cannot know: when the pointer came, and when the picture was there.
WATCH_HOVER = """() => {
  const image = document.querySelector(".hover img");
  window.hovers = [];
  let from = null;
  let shown = null;
  const map = document.querySelector("#map");
  map.addEventListener("pointermove", () => (from = performance.now()), { capture: true });
  image.addEventListener("load", () => {
    if (from !== null && image.src !== shown) window.hovers.push(performance.now() - from);
    [shown, from] = [image.src, null];
  });
}"""
# Frames in which the map was drawn anew, until the next one began.
WATCH_FRAMES = """() => {
  window.frames_ms = [];
  let [last, hasMoved, wasDrawn] = [performance.now(), false, false];
  const map = document.querySelector("#map");
  map.addEventListener("pointermove", () => (hasMoved = true), { capture: true });
  const next = (now) => {
    if (wasDrawn) window.frames_ms.push(now - last);
    [last, wasDrawn, hasMoved] = [now, hasMoved, false];
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--workspace", type=Path, help="one that is there already")
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = arguments.workspace or atlas_fixture.write(Path(folder), arguments.events)
        server, address = served(workspace)
        try:
            with sync_playwright() as playwright:
                flags = ["--no-sandbox", "--disable-gpu"]
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
                result = looked_at(browser, address, hovers=40, drag_s=5.0)
                browser.close()
            result["renderer"] = "headless Chromium, software"
            result["server_peak_mb"] = peak_mb(server.pid)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)
    print(json.dumps(result, indent=None if arguments.json else 2))


def served(workspace: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server and wait until it has answered once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "oscine", "explore", "-w", workspace, "--port", str(port)]
    server = subprocess.Popen([*command, "--no-browser"], stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api/atlas") as answer:
                answer.read()
            return server, address
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"oscine explore ended with {server.returncode}")


def looked_at(browser: Browser, address: str, *, hovers: int, drag_s: float) -> dict[str, object]:
    """Open the page, point at so many calls, drag the map for so long."""
    page = browser.new_page(viewport=SIZE)
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("body:not(.starting)", timeout=60_000)
    page.evaluate("new Promise(requestAnimationFrame)")
    first_s = time.perf_counter() - began
    points = page.evaluate("import('/static/atlas.js').then(({ points }) => points.n)")
    hovers_ms, frames_ms = hovered(page, hovers), dragged(page, drag_s)
    page.close()
    return {
        "points": points,
        "first_picture_s": round(first_s, 2),
        "hovers": len(hovers_ms),
        "hover_median_ms": round(float(np.median(hovers_ms)), 1),
        "hover_90_ms": round(float(np.quantile(hovers_ms, 0.9)), 1),
        "frames": len(frames_ms),
        "frame_median_ms": round(float(np.median(frames_ms)), 1),
        "frame_90_ms": round(float(np.quantile(frames_ms, 0.9)), 1),
        "frame_longest_ms": round(float(np.max(frames_ms)), 1),
    }


def hovered(page: Page, n: int) -> list[float]:
    """Point at so many calls, and return how long each picture took."""
    box = page.locator("#map").bounding_box()
    assert box is not None
    places = page.evaluate("import('/static/mapview.js').then(({ drawnAt }) => drawnAt())")
    page.evaluate(WATCH_HOVER)
    for row in np.random.default_rng(0).choice(len(places), n, replace=False):
        x, y = places[row]
        page.mouse.move(box["x"] + x, box["y"] + y)
        page.wait_for_timeout(300)
    return page.evaluate("window.hovers")


def dragged(page: Page, drag_s: float) -> list[float]:
    """Drag the map about for some seconds, and return the time between frames."""
    box = page.locator("#map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(WATCH_FRAMES)
    until = time.perf_counter() + drag_s
    n = 0
    while time.perf_counter() < until:
        n += 1
        page.mouse.move(x + 80 * np.sin(n / 9), y + 50 * np.cos(n / 7))
    page.mouse.up()
    return page.evaluate("window.frames_ms")


def peak_mb(process: int) -> float:
    """Return the most memory that a process held."""
    told = Path(f"/proc/{process}/status")
    (line,) = (one for one in told.read_text().splitlines() if one.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
