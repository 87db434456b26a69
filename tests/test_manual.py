"""The manual: its commands and notebooks run, links lead somewhere, the reference is the code's."""

import io
import json
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import soundfile
from nbclient import NotebookClient
from pages import DOCS, blocks, commands, typed, words
from reference import FOLDER, pages
from tiny import SETTINGS

from oscine import steps
from oscine.cli import app, run
from oscine.config import OscineConfig, to_toml, with_overrides, with_preset
from oscine.synth import SynthConfig, write_archive

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TUTORIAL = DOCS / "tutorial.md"
HOW_TO = sorted((DOCS / "how-to").glob("*.md"))
SLOW = ("continue", "evaluate", "ultrasound")
"""Pages whose commands learn again, or hear individuals."""

# What takes minutes there takes a few steps here, which find fewer sound types; nothing else of a
# command is changed.
SHORTER = {
    "synth card": "synth card --minutes 1",
    "synth night": "synth night --minutes 0.5",
    "--minutes 3": "",
    "--minutes 5": "--steps 4",
    "--minutes 8": "--steps 4",
    " --preset small --plan": " --plan",
    "name 8": "name 1",
    "merge 7 10": "merge 0 1",
    "name 7": "name 0",
}
SMALL = with_overrides(OscineConfig(), SETTINGS)
BATS = with_preset(SMALL, "bat", "picture")
WORKSPACES = {
    **dict.fromkeys(("forest", "other", "taken"), SMALL),
    "bats": BATS,
    "high": with_overrides(BATS, ["picture.low_hz=15000"]),
}
"""With a model that is small; the commands set the rest."""


WRITTEN = [(page, line) for page in sorted(DOCS.rglob("*.md")) for line in commands(page)]


def type_in(command):
    """Run a command as a reader would, but for what takes minutes."""
    for long, short in SHORTER.items():
        command = command.replace(long, short)
    with redirect_stdout(io.StringIO()) as printed:
        assert run(words(command)) == 0, command
    assert printed.getvalue(), command


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which a reader goes through the manual."""
    home = tmp_path_factory.mktemp("home")
    for name, config in WORKSPACES.items():
        (home / f"{name}.oscine").mkdir()
        (home / f"{name}.oscine" / "oscine.toml").write_text(to_toml(config), encoding="utf-8")
    for page in HOW_TO:
        for language, title, text in blocks(page):
            if title and language == "csv":
                (home / title).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SynthConfig.__init__.__kwdefaults__, "recording_s", 10.0)
        write_archive(home / "other-card", SynthConfig(minutes=0.5, seed=1))
        patch.chdir(home)
        patch.setitem(steps.plan.__kwdefaults__, "trial_s", 0.1)
        patch.setattr("oscine.atlas.explorer.serving.serve", lambda *_: None)  # nobody ends it
        patch.setattr("webbrowser.open", lambda _: None)
        other = next((home / "other-card").rglob("*.flac"))
        samples, rate = soundfile.read(other, stop=48_000)
        soundfile.write(home / "new.wav", samples, rate)
        yield home


@pytest.fixture(scope="module")
def forest(home):
    """The same, once he has gone through the tutorial."""
    for command in typed(TUTORIAL):
        type_in(command)
    return home


def of_pages():
    """Return each how-to page; some are for `make bars`."""
    return [
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem in SLOW else [])
        for page in HOW_TO
    ]


@pytest.mark.usefixtures("forest")
@pytest.mark.parametrize("page", of_pages())
def test_every_command_of_a_page_runs_after_the_tutorial(page):
    assert typed(page)
    for command in typed(page):
        type_in(command)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda one: one.stem)
def test_notebook_runs_after_the_tutorial(notebook, forest):
    opened = nbformat.read(notebook, as_version=4)
    NotebookClient(opened, timeout=120, resources={"metadata": {"path": str(forest)}}).execute()


def test_every_file_of_a_workspace_is_in_the_reference(forest):
    page = (FOLDER / "files.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w./-]+)`", "".join(re.findall(r"^\| (.+?) \|", page, re.MULTILINE)))
    known = re.compile("|".join(re.sub(r"[A-Z]+", r"[^/]+", re.escape(one)) for one in named))
    workspace = forest / "forest.oscine"
    made = [one.relative_to(workspace).as_posix() for one in workspace.rglob("*") if one.is_file()]
    assert len(made) > 20
    assert [one for one in made if not known.fullmatch(one)] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda one: one.stem)
def test_notebook_is_kept_without_what_it_printed(notebook):
    nbformat.validate(nbformat.read(notebook, as_version=4))
    cells = [one for one in json.loads(notebook.read_bytes())["cells"] if "outputs" in one]
    assert all(one["outputs"] == [] and one["execution_count"] is None for one in cells)


@pytest.mark.parametrize(("page", "command"), WRITTEN, ids=lambda one: getattr(one, "stem", one))
def test_command_of_any_page_is_one_that_there_is(page, command):
    app.parse_args(words(command), exit_on_error=False, print_error=False)


def test_the_reference_is_that_of_the_code():
    for name, text in pages().items():
        written = (FOLDER / name).read_text(encoding="utf-8")
        assert written == text, f"run `python tools/reference.py`: {name} is not that of the code"


def test_every_setting_says_what_it_is():
    text = (FOLDER / "settings.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.endswith("|  |")] == []


class Links(HTMLParser):
    """What a page refers to, loads, and can be referred to by."""

    def __init__(self, page):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], {""}
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Take note of an element."""
        given = dict(attrs)
        self.anchors |= {given.get("id"), given.get("name")} - {None}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag in ("script", "img", "iframe") and given.get("src"):
            self.loads.append(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "preconnect", "icon"):
            self.loads.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The manual, built."""
    folder = tmp_path_factory.mktemp("manual")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(DOCS, folder / "docs")
    zensical = Path(sys.executable).with_name("zensical")
    built = subprocess.run(
        [zensical, "build", "--strict"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "build" / "manual"


def test_every_link_of_the_manual_leads_somewhere(site):
    pages = {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) == len(list(DOCS.rglob("*.md")))
    broken = []
    for page, found in pages.items():
        for link in [*found.links, *found.loads]:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            is_there = target.exists() and (
                not anchor or target not in pages or anchor in pages[target].anchors
            )
            if not is_there:
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_the_manual_loads_nothing_from_a_network(site):
    loaded = [each for page in site.rglob("*.html") for each in Links(page).loads]
    assert [each for each in loaded if re.match(r"[a-z]*:?//", each)] == []
    for file in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", file.read_text("utf-8"))


def test_every_page_is_in_the_navigation():
    named = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert named == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}


def test_links_of_the_readme_lead_somewhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(((?!\w+:)[^)#]+)", readme)
    assert linked
    assert [one for one in linked if not (ROOT / one).exists()] == []


def test_pictures_are_small_and_shown():
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    pictures = list((DOCS / "pictures").glob("*"))
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < 150_000
        assert f"pictures/{picture.name}" in text
