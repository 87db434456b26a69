"""The house as a whole: import rules, public names, quick help, and what no file may hold."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import oscine
from oscine.cli import app
from oscine.sound.archive import AUDIO_SUFFIXES

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
VERBS = [name for name in app if not name.startswith("-")]
HEAVY = {"faiss", "matplotlib", "numba", "scipy", "sklearn", "soundfile", "torch", "umap"}
ABSOLUTE = re.compile(r"(?<![\w.~/-])/(?:etc|home|media|mnt|opt|private|root|tmp|Users|var|work)/")
AUDIO_BEGINS = (b"RIFF", b"FORM", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"caff")


@pytest.fixture(scope="module")
def repository_files():
    """All files that are, or are about to be, part of the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def loaded_after(code):
    """Return which heavy packages a fresh interpreter has loaded after running some code."""
    code += f"\nimport sys; print('LOADED', *sorted({HEAVY!r} & set(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return ran.stdout.splitlines()[-1].split()[1:]


def test_every_import_goes_down_the_stairs():
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_help_of_every_verb_loads_nothing_heavy():
    helps = [["--help"], *([verb, "--help"] for verb in VERBS)]
    code = f"from oscine.cli import run\nfor one in {helps!r}: assert run(one) == 0"
    assert loaded_after(code) == []


def test_a_workspace_and_the_atlas_load_no_torch():
    rooms = ["atlas.cluster", "atlas.page", "atlas.projection", "embedding.readout", "workspace"]
    rooms += ["search.index", "search.survey"]
    loaded = loaded_after("\n".join(f"import oscine.{room}" for room in rooms) + "\nimport faiss")
    assert "torch" not in loaded


def test_importing_oscine_loads_nothing_but_itself():
    code = "import sys, oscine\nassert not [m for m in sys.modules if m.startswith('oscine.')]"
    assert loaded_after(code) == []


def test_every_public_name_is_there():
    for name in oscine.__all__:
        assert getattr(oscine, name) is not None
        assert name in dir(oscine)
    with pytest.raises(AttributeError, match="no attribute 'lern'"):
        _ = oscine.lern


def test_public_names_are_the_verbs_the_classes_and_the_version():
    # `oscine.synth` is the module that makes archives; its verb is `oscine.steps.synth`. `import`
    # is a word of Python.
    steps = importlib.import_module("oscine.steps")
    verbs = set(VERBS) - {"synth", "import"} | {"plan", "report", "import_labels"}
    assert set(oscine.__all__) == verbs | {"Encoder", "Readout", "Workspace", "__version__"}
    assert oscine.__all__ == sorted(oscine.__all__)
    for verb in verbs:
        assert getattr(oscine, verb) is getattr(steps, verb)


def test_no_file_names_a_place_on_one_machine(repository_files):
    found = []
    for path in repository_files:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {line}" for line in lines if ABSOLUTE.search(line)]
    assert found == []


@pytest.mark.parametrize("folder", ["home/me", "tmp", "root"])
def test_places_on_one_machine_are_recognised(folder):
    assert ABSOLUTE.search(f"cd /{folder}/x")
    assert not ABSOLUTE.search(f"cd ~/{folder}/x")


def test_no_file_is_a_recording(repository_files):
    audio = [
        path.relative_to(ROOT)
        for path in repository_files
        if path.suffix.lower() in AUDIO_SUFFIXES or path.read_bytes().startswith(AUDIO_BEGINS)
    ]
    assert audio == []


def test_every_module_says_what_comes_in_and_what_goes_out():
    unsaid = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        words = set(re.findall(r"\w+", (ast.get_docstring(tree) or "").lower()))
        defines = any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body)
        if not words or (defines and not {"in", "out"} <= words):
            unsaid.append(path.relative_to(ROOT))
    assert unsaid == []
