"""How quickly the page of `oscine explore` shows, points and moves, in headless Chromium.

Workspaces of so many events are written without learning (atlas_fixture.py); a server of its own is
started for each, and warmed by one call. Drawn by software, without a graphics card. Reported:
seconds until the map is drawn; milliseconds from the move of the pointer to the picture of the
call, and between two frames while the map is dragged; the most memory that the server held. Wanted
of 100,000 events: under 3 s, under 150 ms (median), under 100 ms (median), under 1 GB; of a
million: drawn in under 6 s.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import atlas_fixture
import explorer_load
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
"""The first of these browsers that there is."""
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
    parser.add_argument("--events", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--workspace", type=Path, help="one that is there already")
    parser.add_argument("--json", action="store_true", help="print one line")
    arguments = parser.parse_args()
    if CHROMIUM is None:
        sys.exit(f"there is no browser: install one of {', '.join(NAMES)}")
    results = []
    for n_events in arguments.events if arguments.workspace is None else [None]:
        with tempfile.TemporaryDirectory() as folder:
            workspace = arguments.workspace or atlas_fixture.write(Path(folder), n_events)
            results.append(measure(workspace))
    print(json.dumps(results, indent=None if arguments.json else 2))


def measure(workspace: Path) -> dict[str, object]:
    """Serve a workspace, and look at it."""
    with explorer_load.served(workspace) as (process, port), sync_playwright() as playwright:
        address = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{address}/api/atlas") as answer:
            n_events = json.load(answer)["events"]
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        seen = looked_at(browser, address, hovers=40, drag_s=5.0)
        browser.close()
        return {
            "events": n_events,
            **seen,
            "renderer": "headless Chromium, software",
            "server_mb": explorer_load.memory(process.pid),
        }


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


if __name__ == "__main__":
    main()
