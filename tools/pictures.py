"""Take the pictures of the manual, from made-up recordings.

In comes docs/tutorial.md, whose commands are gone through, and the notebooks; out come
docs/pictures/*.png, each taken where the tutorial shows it, and what each command printed, which
the tutorial quotes. It takes a quarter of an hour; where --work holds a walk, only its last
pictures are taken again. It needs Chromium.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from pages import DOCS, typed, words
from PIL import Image
from playwright.sync_api import Page, sync_playwright

OSCINE = [sys.executable, "-m", "oscine"]
WIDTH = 1240
LEARNED = {
    "map": (800, "view=map&colour=type"),
    "hours": (800, "view=map&colour=hour"),
    "call": (1080, "view=map&event={event}"),
    "types": (800, "view=types"),
    "recordings": (800, "view=recordings&recording={recording}"),
}
"""How high each picture is, and what the address says: where the tutorial opens the atlas."""
EVALUATED = {
    "layers": (960, "view=layers"),
    "behaviour": (800, "view=behaviour"),
}
"""The same, of what the last commands made."""
LARGE = 140_000
"""Bytes from which a picture is drawn with fewer colours."""


def main() -> None:
    """Go through the tutorial, then take the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/tutorial"))
    work = parser.parse_args().work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    walked = work / "walked.txt"
    if not walked.exists():
        walked.write_text("".join(_printed(work)), encoding="utf-8")
    print(walked.read_text(encoding="utf-8"))
    _look(work, EVALUATED)


def _printed(work: Path) -> Iterator[str]:
    """Run what the tutorial says, and give what is seen."""
    for command in typed(DOCS / "tutorial.md"):
        if words(command)[0] == "explore":
            _look(work, LEARNED)
            continue
        ran = subprocess.run(
            [*OSCINE, *words(command)], cwd=work, stdout=subprocess.PIPE, text=True, check=True
        )
        yield f"$ {command}\n{ran.stdout}\n"
    for notebook in sorted((DOCS.parent / "notebooks").glob("*.ipynb")):
        opened = nbformat.read(notebook, as_version=4)
        NotebookClient(opened, resources={"metadata": {"path": str(work)}}).execute()


def _look(work: Path, views: dict[str, tuple[int, str]]) -> None:
    """Open the atlas as it is now, and take pictures of it."""
    with _explored(work) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(color_scheme="light")
        event = page.request.get(f"{address}api/types/1").json()["typical"][0]
        recording = page.request.get(f"{address}api/events/{event}").json()["recording"]["id"]
        for name, (height, state) in views.items():
            page.set_viewport_size({"width": WIDTH, "height": height})
            _take(page, f"{address}#{state.format(event=event, recording=recording)}", name)
        browser.close()


@contextmanager
def _explored(work: Path) -> Iterator[str]:
    """Serve the atlas of the tutorial, and give its address."""
    command = [*OSCINE, "explore", "-w", "forest.oscine", "--no-browser", "--json"]
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["address"]
        finally:
            server.terminate()


def _take(page: Page, address: str, name: str) -> None:
    """Take one picture."""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("body:not(.starting)")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    file = DOCS / "pictures" / f"{name}.png"
    picture.save(file, optimize=True)
    if file.stat().st_size > LARGE:
        # So that the few points of a rare colour keep it.
        few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, optimize=True)


if __name__ == "__main__":
    main()
