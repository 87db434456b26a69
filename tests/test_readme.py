"""The README's examples, run on a tiny archive: in come its code blocks, out must come no error."""

import re
import shlex
from pathlib import Path

import pytest
import soundfile
from tiny import SETTINGS

from oscine import steps
from oscine.cli import app, run
from oscine.config import OscineConfig, to_toml, with_overrides
from oscine.synth import SynthConfig, write_archive

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
VERBS = [name for name in app if not name.startswith("-")]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for language, block in BLOCKS
    for line in block.splitlines()
    if language == "sh" and line.startswith("oscine ")
]
PYTHON = [block for language, block in BLOCKS if language == "python"]

# What takes minutes there takes a few steps here; nothing else of an example is changed.
SHORTER = {
    "--minutes 8": "--steps 4",
    "minutes=8": "steps=4",
    "--minutes 12": "--minutes 0.1",
}
SMALL = with_overrides(OscineConfig(), SETTINGS)
SEEN = """date,time,behaviour
2024-05-06,05:30:02,feeding
2024-05-06,05:30:07,flight
2024-05-06,05:30:09,feeding
"""
"""What was seen while the first recordings were made."""


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """A home with a few recordings, in which the examples are run one after another."""
    home = tmp_path_factory.mktemp("home")
    write_archive(home / "recordings", SynthConfig(minutes=0.5, recording_s=10))
    (home / "recordings" / "truth.csv").rename(home / "labels.csv")
    (home / "seen.csv").write_text(SEEN, encoding="utf-8")
    samples, rate = soundfile.read(next((home / "recordings").rglob("*.flac")), stop=48_000)
    soundfile.write(home / "caw.wav", samples, rate)
    (home / "crows.oscine").mkdir()
    (home / "crows.oscine" / "oscine.toml").write_text(to_toml(SMALL), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("HOME", str(home))
        patch.setitem(steps.plan.__kwdefaults__, "trial_s", 0.1)
        patch.setattr("oscine.atlas.explorer.serving.serve", lambda *_: None)  # nobody ends it
        patch.setattr("webbrowser.open", lambda _: None)
        yield home


def shortened(example):
    for long, short in SHORTER.items():
        example = example.replace(long, short)
    return example


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_readme_runs(command, capsys):
    arguments = [Path(one).expanduser() for one in shlex.split(shortened(command))[1:]]
    assert run([str(one) for one in arguments]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out


@pytest.mark.parametrize("example", PYTHON)
def test_python_of_the_readme_runs(example):
    exec(shortened(example), {})


def test_every_verb_has_an_example():
    assert sorted({shlex.split(command)[1] for command in COMMANDS}) == sorted(VERBS)


def test_the_house_of_the_readme_has_every_room():
    source = Path(__file__).parent.parent / "src" / "oscine"
    rooms = {f"{one.parent.name}/" for one in source.glob("*/__init__.py")}
    modules = {one.name for one in source.glob("*.py") if not one.name.startswith("__")}
    named = set(re.findall(r"^\| `([\w./]+)` \|", README, re.MULTILINE))
    assert named == rooms | modules
