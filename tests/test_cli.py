"""The command line: exit codes, what it prints where, and what it says of trouble."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import docstring_parser
import numpy as np
import pytest
import soundfile
import tiny
from rights import write_protected

from oscine import cli
from oscine import steps as verbs
from oscine.cli import _progress, app, run
from oscine.config import OscineConfig, read_config, to_toml, with_overrides
from oscine.training.pretrain import TrainingDiverged

VERBS = (
    *("learn", "index", "pretrain", "embed", "cluster", "evaluate"),
    *("similar", "which", "same", "individuals", "join", "explore", "export", "import"),
    *("status", "synth"),
)
SMALL = with_overrides(OscineConfig(), tiny.SETTINGS)
SET = [word for setting in tiny.SETTINGS for word in ("--set", setting)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A small archive with a file that is no sound."""
    folder = tmp_path_factory.mktemp("archive") / "forest"
    assert run(["synth", str(folder), "--minutes", "0.5"]) == 0
    (folder / "text.wav").write_text("not a sound\n")
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory, archive):
    """A workspace after `learn`."""
    folder = tmp_path_factory.mktemp("learned") / "crows.oscine"
    arguments = ["learn", archive, "-w", folder, "--steps", "20", "--workers", "1", *SET]
    assert run([str(word) for word in arguments]) == 0
    return folder


@pytest.fixture
def copied(tmp_path, learned):
    """A copy of that workspace, to change."""
    return shutil.copytree(learned, tmp_path / "copy.oscine")


@pytest.fixture
def ask(call):
    """Run a command with --json and give the one object that it prints."""

    def ask(*arguments):
        code, out, _ = call(*arguments, "--json")
        assert code == 0
        assert out.count("\n") == 1
        return json.loads(out)

    return ask


# Help


def test_every_verb_is_known():
    assert {name for name in app if not name.startswith("-")} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(call, verb):
    code, out, err = call(verb, "--help")
    assert (code, err) == (0, "")
    assert f"Example: oscine {verb} " in out
    assert "--json" in out
    # Every option says what it is for: a line that begins with one goes on after its type.
    for line in out.splitlines():
        words = line.strip("│ ").split()
        if words and words[0].startswith("--"):
            assert len(words) > 3


def commands(one=app):
    """Return each command with the words that lead to it."""
    found = [([], one)] if one.default_command else []
    for name in one:
        if not name.startswith("-"):
            found += [([name, *words], below) for words, below in commands(one[name])]
    return found


def squeezed(text):
    """Return a text without what the help lays it out with."""
    return re.sub(r"[\s│`]", "", text)


def test_help_shows_every_text_as_it_is_written(call):
    n_texts = 0
    for words, command in commands():
        out = squeezed(call(*words, "--help")[1])
        said = docstring_parser.parse_from_object(command.default_command)
        assert said.params
        for text in (said.description, *(one.description for one in said.params)):
            assert squeezed(text) in out, words
            n_texts += 1
    assert n_texts > 150


def test_help_comes_without_torch_or_scikit_learn():
    code = """
import sys
from oscine.cli import run
for arguments in ([], ["--help"], ["--version"], *([verb, "--help"] for verb in sys.argv[1:])):
    assert run(arguments) == 0, arguments
slow = {"torch", "sklearn", "scipy", "matplotlib", "umap"} & set(sys.modules)
assert not slow, slow
"""
    subprocess.run(
        [sys.executable, "-c", code, *VERBS], check=True, stdout=subprocess.DEVNULL, timeout=60
    )


# What is printed


def test_learn_prints_one_table_and_the_skipped_files(call, archive, copied):
    code, out, err = call("learn", archive, "-w", copied)
    assert code == 0
    assert "drawing the report" in err
    names = [line.split("  ")[0] for line in out.splitlines()]
    for name in ("hours heard", "files", "loss", "events", "sound types", "report"):
        assert name in names
    assert str(copied / "reports" / "atlas.html") in out
    assert "1 files were not heard whole:\n  text.wav: unreadable: no audio format" in out


def test_many_copies_are_told_in_one_sentence(call, ask, archive, copied, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (one,) = archive.rglob("*.flac")
    shutil.copy(one, copy / "0.flac")
    index = ("index", archive, copy, "-w", copied)
    _, out, _ = call(*index)
    name = one.relative_to(archive)
    assert out.endswith(
        f"\nFiles that are there twice:\n  0.flac: the same bytes as {name} in {archive}\n"
    )
    for number in range(1, 13):
        shutil.copy(one, copy / f"{number}.flac")
    assert ask(*index)["states"]["duplicate"] == 13
    for words in (index, ("status", "-w", copied)):
        _, out, _ = call(*words)
        assert "1 files were not heard whole:\n  text.wav: unreadable: " in out
        assert out.endswith(
            "\nFiles that are there twice (--json names them):\n"
            f"  13 files of {copy}: copies of recordings in {archive}, which are heard in "
            "their place\n"
        )
    assert len(ask("status", "-w", copied)["skipped"]) == 13 + 1


def test_learn_prints_one_json_object(ask, archive, copied):
    found = ask("learn", archive, "-w", copied)
    wanted = {
        "hours": float,
        "files": int,
        "unreadable": int,
        "damaged": int,
        "events": int,
        "steps": int,
        "loss": float,
        "loss_interpolation": float,
        "loss_mean": float,
        "clusters": int,
        "noise_share": float,
        "report": str,
    }
    assert {name: type(found[name]) for name in wanted} == wanted
    assert (found["files"], found["unreadable"], found["steps"]) == (2, 1, 20)


def test_every_verb_prints_json(ask, archive, copied, tmp_path):
    at = ("-w", copied)
    assert ask("index", archive, *at)["new_files"] == 0
    assert ask("pretrain", *at)["checkpoint"].endswith("runs/default/checkpoints/00000020")
    assert ask("embed", *at)["dimensions"] == 16
    assert ask("cluster", *at)["clusters"] >= 1
    imported = ask("import", archive / "truth.csv", *at)
    assert imported["placed"] == imported["rows"] > 0
    assert (imported["unplaced"], imported["refused"]) == (0, 0)
    asked = ask("evaluate", *at, "--labels", "species,call_type")
    assert [one["question"] for one in asked["evaluation"]["answers"]] == ["species", "call_type"]
    assert len(ask("similar", 1, *at, "--own", 3)["own"]) == 3  # there is one recording
    assert ask("status", *at)["stages"]["cluster"] == "done"
    exported = ask("export", "--to", "raven", "--out", tmp_path / "home", *at)
    assert exported["events"] == ask("status", *at)["events"]
    assert ask("synth", tmp_path / "made", "--minutes", "0.1")["n_recordings"] == 1


def test_every_verb_prints_a_table(call, archive, copied, tmp_path):
    at = ("-w", copied)
    for arguments, row in (
        (("index", archive, *at), "new in this run  0"),
        (("pretrain", *at), "steps                      20"),
        (("embed", *at, "--refit"), "dimensions  16"),
        (("embed", *at), "duplicates  0.0%"),
        (("cluster", *at), "not grouped"),
        (("similar", 1, *at), "In other recordings:"),
        (("import", archive / "truth.csv", *at), "belong to a recording"),
        (("export", "--to", "csv", "--out", tmp_path / "home", *at), "written  "),
        (("status", *at), "pretrain     done"),
        (("synth", tmp_path / "made", "--minutes", "0.1"), "recordings  1"),
    ):
        code, out, _ = call(*arguments)
        assert code == 0
        assert row in out


def test_evaluate_prints_findings_then_figures_then_what_was_not_used(
    call, archive, copied, tmp_path
):
    table = tmp_path / "labels.csv"
    truth = (archive / "truth.csv").read_text(encoding="utf-8").splitlines()
    gone = truth[1].replace(truth[1].partition(",")[0], "gone.wav")
    named = dict(zip(truth[0].split(","), truth[1].split(","), strict=True))
    other = ",".join([*(named | {"individual": "nobody"}).values()])
    table.write_text("\n".join([*truth, gone, other]) + "\n", encoding="utf-8")
    code, out, _ = call(
        "evaluate", table, "-w", copied, "--labels", "individual", "--group", "site"
    )
    assert code == 0
    places = [
        out.index(words)
        for words in (
            "note: individual:",
            "\nindividual: ",
            "not asked: no label",
            "report",
            "individual: 1 stretches have several labels, such as",
            "'gone.wav'",
        )
    ]
    assert places == sorted(places)
    assert str(copied / "reports" / "evaluation.html") in out


def test_evaluate_says_that_it_keeps_a_table_and_how_it_is_forgotten(
    ask, call, archive, copied, tmp_path
):
    at = ("-w", copied, "--labels", "species")
    table = shutil.copy(archive / "truth.csv", tmp_path / "my labels.csv")
    _, out, _ = call("evaluate", table, *at)
    said = "note: the labels of my labels.csv are kept: `oscine evaluate` without tables asks them"
    assert said in out
    assert "`oscine import --forget 'my labels.csv'` removes them" in out
    wrong(call, 2, "evaluate", archive / "truth.csv", *at, "--group", "nix")
    kept = ask("import", "--list", "-w", copied)["kept"]
    assert [one["file"].rpartition("/")[2] for one in kept] == ["my labels.csv"]  # what was asked
    assert "are kept" not in call("evaluate", *at)[1]  # nothing new is
    assert ask("import", "--forget", "my labels.csv", "-w", copied)["kept"] == []


def test_evaluate_says_what_is_wrong_with_labels(call, archive, copied, tmp_path):
    at = ("-w", copied)
    assert "is not there" in wrong(call, 2, "evaluate", tmp_path / "none.csv", *at)
    assert "have no labels" in wrong(call, 2, "evaluate", *at)
    assert "name the columns" in wrong(call, 2, "evaluate", archive / "truth.csv", *at)
    (tmp_path / "notes.csv").write_text("some notes\n")
    labels = ("evaluate", archive / "truth.csv", *at, "--labels")
    assert "there is no column 'nix'" in wrong(call, 2, *labels, "nix")
    assert "there is no column 'nix'" in wrong(call, 2, *labels, "species", "--group", "nix")
    message = wrong(call, 2, "evaluate", tmp_path / "notes.csv", *at)
    assert "notes.csv is no table of labels that is understood" in message
    (tmp_path / "other.csv").write_text("path,species\nelsewhere.wav,crow\n")
    message = wrong(call, 1, "evaluate", tmp_path / "other.csv", *at)
    assert "nothing can be evaluated" in message
    assert not (copied / "labels.sqlite").exists()  # what was refused changes nothing


def test_names_of_files_are_no_markup(call, archive, tmp_path):
    folder = tmp_path / "site [red"
    folder.mkdir()
    shutil.copy(archive / "text.wav", folder / "x].wav")
    shutil.copy(archive / "text.wav", folder / "[bold].wav")
    code, out, _ = call("index", tmp_path, "-w", tmp_path / "w", "--workers", "1")
    assert code == 0
    assert "site [red/[bold].wav: unreadable" in out


# What can go wrong


def wrong(call, code, *arguments):
    """Run a command that must fail; return what it said, a sentence for people."""
    found, out, err = call(*arguments)
    assert (found, out) == (code, "")
    assert "Traceback" not in err
    said = err[err.index("oscine: ") :]
    assert len(said) > 20
    return said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["learn"], "ARCHIVES"),
        (["lern", "x"], 'Did you mean "learn"?'),
        (["learn", "nowhere"], "nowhere is not there: name a folder of recordings"),
        (["learn", ".", "--minutes", "-1"], "--minutes must be positive, not -1"),
        (["learn", ".", "--minutes", "nan"], "--minutes must be positive"),
        (["learn", ".", "--minutes", "soon"], '--minutes: unable to convert "soon"'),
        (["learn", ".", "--steps", "0"], "--steps must be at least 1, not 0"),
        (["learn", ".", "--steps", "5", "--minutes", "1"], "--minutes or --steps, not both"),
        (["learn", ".", "--workers", "0"], "--workers must be at least 1, not 0"),
        (["learn", ".", "--seed", "one"], '--seed: unable to convert "one"'),
        (["learn", ".", "--bogus"], "Unknown option: --bogus"),
        (["learn", ".", "-w"], "-w requires an argument"),
        (["index", ".", "--set", "activity.on"], "write it as model.depth=6"),
        (
            ["pretrain", "--set", "model.deepth=3"],
            "no setting model.deepth; did you mean model.depth?",
        ),
        (["pretrain", "--set", "model.depth=deep"], "model.depth must be of type int, not 'deep'"),
        (["pretrain", "--set", "training.mask_ratio=0.9"], "mask_ratio must lie in 0.3 to 0.8"),
        (["learn", ".", "--preset", "bats"], "no preset 'bats', and no such file: known are bat, "),
        (["index", ".", "--preset", "bats"], "known are bat, bird, low, wide"),
        (["pretrain", "--preset", "smal"], "known are base, small, tiny"),
        (["pretrain", "--plan", "--preset", "bat"], "'bat' sets what is listened for (`--preset`"),
        (["pretrain", "--plan", "--steps", "0"], "--steps must be at least 1, not 0"),
        (["index", ".", "--preset", "small"], "'small' sets how large the model is and how long"),
        (["learn", ".", "--preset", "small"], "listened for (`--preset` of `oscine index` and"),
        (["learn", ".", "--size", "wide"], "`oscine learn --size`): base, small, tiny"),
        (["synth", "x", "--preset", "tiny"], "'tiny' sets how large the model is"),
        (
            ["index", ".", "--preset", "bat", "--set", "picture.n_fft=512"],
            "would be empty: n_fft=512 at 256000 Hz",
        ),
        (["synth"], "FOLDER"),
        (["status", "a", "b"], "'a b' is more than `oscine status` takes: leave it out"),
        (["status", "-w", "w", "a"], "Try `oscine status --help`"),
        (["synth", "x", "--minutes", "0"], "minutes must be more than 0, not 0\nTry"),
        (["synth", "x", "--seed", "-1"], "seed must be 0 or more, not -1\nTry"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_told_from_failure(call, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    message = wrong(call, 2, *arguments)
    assert said in message
    assert "Try `oscine" in message
    assert list(tmp_path.iterdir()) == []  # nothing was begun


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["join", "--help"]])
def test_who_stops_reading_is_told_nothing(learned, words):
    command = [sys.executable, "-m", "oscine", *words, "-w", learned]
    told = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told.stdout.close()
    assert told.communicate(timeout=60)[1] == b""
    assert told.returncode == 0


def test_a_pipe_of_ones_own_that_breaks_is_a_failure(call, monkeypatch):
    def fail(*_, **__):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("oscine.steps.status", fail)
    code, _, err = call("status")
    assert code == 1
    assert "Broken pipe" in err


def test_what_the_system_refuses_is_said_without_its_numbers(call, monkeypatch):
    def fail(*_, **__):
        raise PermissionError(13, "Permission denied", "some/file")

    monkeypatch.setattr("oscine.steps.status", fail)
    message = wrong(call, 1, "status")
    assert message.startswith("oscine: some/file: Permission denied: see whether")


@pytest.mark.parametrize("width", [64, 80, 120, 200])
def test_the_times_of_a_step_are_shown_whole(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    with cli._progress() as tell:
        for step in cli.DOING:
            tell(step, 1, 2, "site-03/" + 40 * "x" + "REC03_20240508_120000.wav")
            tell(step, 2, 2, "site-03/" + 40 * "x" + "REC03_20240508_120000.wav")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(cli.DOING)
    for line, doing in zip(lines, cli.DOING.values(), strict=True):
        assert line.startswith(doing)
        assert re.search(r" 100 % \d:\d\d:\d\d gone, \d:\d\d:\d\d left", line)
        assert len(line) <= width
        assert ("_120000.wav" in line) == (width >= 80)


# Planning

PLANNED = {
    "device": str,
    "precision": str,
    "archive_hours": float,
    "parameters": int,
    "patches": int,
    "seen_patches": int,
    "flops_per_window": int,
    "trial_windows": int,
    "windows_per_s": float,
    "flops_per_s": int,
    "waiting_share": float,
    "memory_bytes": int,
    "batch_size": int,
    "part_windows": int,
    "steps": int,
    "hours": float,
    "heard_hours": float,
    "times_heard": float,
    "checkpoint_bytes": int,
    "disk_free_bytes": int,
    "notes": list,
}


@pytest.fixture
def short_trial(monkeypatch):
    """A trial of a few steps instead of ten seconds."""
    monkeypatch.setitem(verbs.plan.__kwdefaults__, "trial_s", 0.1)


def contents(folder):
    """Return bytes and time of change of each file in a folder, and its folders."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes()) if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_plan_writes_nothing_and_foresees_what_is_asked_for(ask, copied, tmp_path, short_trial):
    own = tmp_path / "own.toml"
    own.write_text("[model]\nwidth = 32\n[training]\nsteps = 1000\nbatch_size = 4\n")
    before = contents(copied)
    planned = ("pretrain", "--plan", "-w", copied)
    kept = ask(*planned)
    found = ask(*planned, "--preset", own)
    longer = ask(*planned, "--size", own, "--steps", 2000, "--set", "training.batch_size=8")
    assert contents(copied) == before

    for plan in (kept, found, longer):
        assert {name: type(plan[name]) for name in PLANNED} == PLANNED
        assert plan["notes"][0].startswith("This run takes ")
        assert plan["part_windows"] == plan["batch_size"]
    assert (kept["steps"], kept["batch_size"]) == (20, 8)
    assert (found["steps"], found["batch_size"]) == (1000, 4)
    assert (longer["steps"], longer["batch_size"]) == (2000, 8)
    assert found["parameters"] == longer["parameters"] > kept["parameters"]
    assert found["archive_hours"] == pytest.approx(0.5 / 60, rel=0.01)
    assert found["heard_hours"] == pytest.approx(4000 * 2.56 / 3600, rel=0.01)
    assert longer["times_heard"] == pytest.approx(4 * found["times_heard"], rel=0.01)


def test_a_plan_is_printed_as_a_table_that_says_where_its_figures_are_from(
    call, copied, short_trial
):
    code, out, err = call("pretrain", "--plan", "-w", copied, "--minutes", 3)
    assert code == 0
    assert "trying" in err
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines() if "  " in line)
    for row, words in (
        ("parameters", "(counted)"),
        ("a window", "(counted)"),
        ("speed", "(measured, "),
        ("memory", "(calculated"),
        ("hours", "0.05 ("),
        ("checkpoints", "are free"),
    ):
        assert words in rows[row]
    assert "note: This run takes about 3 minutes here." in out


def test_a_plan_goes_by_the_sizes_of_the_model_it_begins_with(
    ask, call, archive, copied, tmp_path, short_trial
):
    other = tmp_path / "other"
    ask("index", archive, "-w", other)
    planned = ("pretrain", "--plan", "-w", other, "--steps", 5)
    small, usual = ask(*planned, "--from", copied), ask(*planned)
    assert small["parameters"] < usual["parameters"] == 901_952
    assert not (other / "runs").exists()
    assert "is no checkpoint" in wrong(call, 2, *planned, "--from", archive)


def test_a_plan_needs_an_indexed_archive_and_enough_memory(
    call, copied, tmp_path, monkeypatch, short_trial
):
    new = tmp_path / "new"
    assert "is no workspace" in wrong(call, 2, "pretrain", "--plan", "-w", new)
    assert not new.exists()
    monkeypatch.setattr("oscine.training.plan._free_bytes", lambda _: 1000)
    message = wrong(call, 1, "pretrain", "--plan", "-w", copied)
    assert "not even one window of this model fits into the memory" in message


def test_a_size_of_ones_own_is_trained_and_kept(ask, call, archive, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(to_toml(SMALL))
    at = ("-w", tmp_path / "w")
    assert ask("index", archive, *at)["files"] == 2
    assert ask("pretrain", *at, "--preset", own, "--steps", 3)["steps"] == 3
    kept = read_config(tmp_path / "w" / "oscine.toml", OscineConfig)
    assert kept.model == SMALL.model
    assert kept.training.steps == 3
    code, out, err = call("pretrain", *at, "--preset", "tiny", "--steps", 3)
    assert (code, out) == (1, "")
    assert "was begun with other settings: model.width=16" in err
    assert read_config(tmp_path / "w" / "oscine.toml", OscineConfig) == kept


@pytest.mark.parametrize("verb", ["pretrain", "embed", "cluster", "status"])
def test_a_missing_workspace_is_said(call, tmp_path, verb):
    message = wrong(call, 2, verb, "-w", tmp_path / "new")
    assert f"{tmp_path / 'new'} is no workspace: make one with `oscine learn ARCHIVE" in message
    assert not (tmp_path / "new").exists()


def test_an_archive_without_sound_is_said(call, tmp_path):
    (tmp_path / "empty").mkdir()
    message = wrong(call, 1, "learn", tmp_path / "empty", "-w", tmp_path / "w", "--steps", 1)
    assert f"{tmp_path / 'empty'} holds no recording: no file in it ends in .aac" in message
    assert "name the folder that they are in" in message
    assert "status" not in message


@pytest.mark.parametrize("verb", ["learn", "index", "status"])
def test_a_file_in_place_of_the_workspace_is_said(call, archive, tmp_path, verb):
    (tmp_path / "w").write_text("something else")
    archives = [archive] if verb != "status" else []
    message = wrong(call, 2, verb, *archives, "-w", tmp_path / "w")
    assert f"{tmp_path / 'w'} is a file: name a folder as the workspace" in message


@pytest.mark.parametrize("n_bytes", [1000, 4096], ids=["header", "pages"])
@pytest.mark.parametrize("verb", ["learn", "status", "pretrain", "embed", "cluster"])
def test_a_damaged_catalogue_is_said(call, archive, copied, verb, n_bytes):
    file = copied / "catalogue.sqlite"
    file.write_bytes(file.read_bytes()[:n_bytes])
    archives = [archive] if verb == "learn" else []
    assert str(file) in wrong(call, 1, verb, *archives, "-w", copied)


def test_a_catalogue_of_another_kind_is_said(call, tmp_path):
    (tmp_path / "catalogue.sqlite").write_bytes(b"no database at all" * 100)
    message = wrong(call, 1, "status", "-w", tmp_path)
    assert "catalogue.sqlite is not a catalogue that can be read" in message


def test_steps_out_of_order_are_said(call, archive, tmp_path):
    at = ("-w", tmp_path / "w")
    assert call("index", archive, *at, "--workers", 1)[0] == 0
    assert "run `oscine pretrain` first" in wrong(call, 1, "embed", *at)
    assert "run `oscine embed` first" in wrong(call, 1, "cluster", *at)


def test_other_settings_than_before_are_named(call, archive, copied):
    message = wrong(call, 1, "learn", archive, "-w", copied, "--steps", 30)
    assert "training.steps=20" in message
    assert "--fresh" in message
    message = wrong(call, 1, "index", archive, "-w", copied, "--set", "picture.n_fft=2048")
    assert "use a new workspace" in message
    known = (copied / "oscine.toml").read_bytes()
    message = wrong(call, 1, "index", archive, "-w", copied, "--preset", "bat")
    assert "use a new workspace for another preset" in message
    assert (copied / "oscine.toml").read_bytes() == known
    again = ("learn", archive, "-w", copied, "--steps", 20)
    assert call(*again, "--preset", "bird")[0] == 0  # the same as before
    assert call(*again)[0] == 0
    assert (copied / "oscine.toml").read_bytes() == known


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_generator_takes_is_said_before_anything_is_done(
    call, archive, tmp_path, seed
):
    message = wrong(call, 2, "learn", archive, "-w", tmp_path / "w", "--seed", seed)
    assert f"seed must lie in 0 to 4294967295, not {seed}" in message
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["lock.sqlite"]


def test_a_model_that_is_none_is_said(call, archive, copied, tmp_path):
    message = wrong(call, 2, "learn", archive, "-w", copied, "--model", tmp_path)
    assert f"{tmp_path} is no checkpoint" in message


def test_a_run_stays_in_its_place(call, copied, tmp_path):
    for name in ("..", "../../elsewhere", ""):
        message = wrong(call, 2, "pretrain", "-w", copied, "--name", name)
        assert "the name of a run must be that of a folder" in message
    assert call("pretrain", "-w", copied, "--name", "second")[0] == 0
    assert (copied / "runs" / "second" / "run.toml").exists()


def test_a_folder_of_something_else_is_not_filled(call, archive, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    message = wrong(call, 2, "synth", tmp_path)
    assert "choose an empty or new folder" in message
    message = wrong(call, 2, "synth", tmp_path / "letter.txt")
    assert "letter.txt is a file: name a folder" in message


def test_what_is_no_table_is_said_by_every_verb_that_takes_one(call, copied, tmp_path):
    folder, text = tmp_path / "folder.csv", tmp_path / "text.csv"
    folder.mkdir()
    text.write_text("some words\n")
    for words in (["evaluate"], ["import"], ["which", 1, "--examples"], ["same", 1, 2, "--known"]):
        for file in (tmp_path / "none.csv", folder, text):
            if words == ["import"] and file == folder:
                continue  # of which all tables are read
            message = wrong(call, 2, *words, file, "-w", copied)
            assert str(file) in message
            assert "Errno" not in message


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc takes no folders there")
def test_a_folder_that_cannot_be_made_is_said(call, archive, copied):
    for words in (
        ("synth", "/proc/x"),
        ("index", archive, "-w", "/proc/x"),
        ("export", "--to", "csv", "--out", "/proc/x", "-w", copied),
    ):
        message = wrong(call, 2, *words)
        assert "/proc/x cannot be made: No such file or directory: name a folder" in message


@pytest.mark.skipif(os.name != "posix", reason="folders are protected in another way there")
def test_where_one_may_not_write_one_can_read(call, copied, tmp_path):
    out = tmp_path / "out"

    def answers():
        export = ("export", "--to", "csv", "--out", out)
        return [call(*words, "-w", copied) for words in (("status",), ("similar", "1"), export)]

    as_before = answers()
    assert [code for code, _, _ in as_before] == [0, 0, 0]
    shutil.rmtree(out)
    tmp_path.chmod(0o777)
    with write_protected(copied):
        assert [said[:2] for said in answers()] == [said[:2] for said in as_before]


@pytest.mark.skipif(os.name != "posix", reason="folders are protected in another way there")
@pytest.mark.parametrize("verb", ["cluster", "embed", "evaluate"])
def test_a_verb_that_writes_says_where_one_may_not_write(call, copied, verb):
    call(verb, "-w", copied)  # all is imported
    with write_protected(copied):
        code, out, said = call(verb, "-w", copied)
    assert (code, out) == (1, "")
    assert said == (
        f"oscine: {copied} may not be written to: ask for permission, or copy the workspace to a "
        "folder of your own\n"
    )


def test_a_training_that_was_stopped_is_not_called_missing(call, archive, tmp_path, monkeypatch):
    folder = tmp_path / "new.oscine"
    verbs.index([archive], folder, workers=1, settings=tiny.SETTINGS)
    assert verbs.status(folder).stages["pretrain"] == "missing"

    def stop(*told):
        if told[:2] == ("pretrain", 7):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("oscine.cli._progress", lambda: nullcontext(stop))
    wrong(call, 1, "pretrain", "-w", folder, "--steps", "20")
    assert verbs.status(folder).stages["pretrain"] == "begun"
    monkeypatch.setattr("oscine.cli._progress", lambda: nullcontext(None))
    assert call("pretrain", "-w", folder, "--steps", "20")[0] == 0
    assert verbs.status(folder).stages["pretrain"] == "done"


@pytest.mark.parametrize(
    ("none", "answer", "text"),
    [(0.098, "jay", "0.098"), (0.1, "", "0.10"), (0.004, "jay", "<0.01"), (0.94, "", "0.94")],
)
def test_the_share_of_none_fits_the_answer(none, answer, text):
    assert cli._none(SimpleNamespace(none=none, answer=answer)) == text


def test_a_fresh_training_that_was_stopped_goes_on_without_fresh(
    call, archive, copied, monkeypatch
):
    def stop(*told):
        if told[:2] == ("pretrain", 7):
            signal.raise_signal(signal.SIGINT)

    without = "Leave out --fresh then: it would begin the training once more.\n"
    monkeypatch.setattr("oscine.cli._progress", lambda: nullcontext(stop))
    said = wrong(call, 1, "pretrain", "-w", copied, "--fresh")
    assert said.endswith(
        "stopped after step 8 of 20, which is kept; run the same command again to go on from "
        f"here\n{without}"
    )
    assert call("pretrain", "-w", copied)[0] == 0  # from there: step 7 does not come again

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    # Also where it is stopped after the training, or by something else.
    monkeypatch.setattr("oscine.cli._progress", lambda: nullcontext(None))
    monkeypatch.setattr("oscine.steps.whole.embed", full)
    learn = ["learn", archive, "-w", copied, "--steps", "20"]
    assert without in wrong(call, 1, *learn, "--fresh")
    assert "--fresh" not in wrong(call, 1, *learn)

    # One that cannot be gone on with is to be begun once more.
    def diverge(*_, **__):
        raise TrainingDiverged("try a lower training.learning_rate")

    monkeypatch.setattr("oscine.training.pretrain.pretrain", diverge)
    assert "--fresh" not in wrong(call, 1, "pretrain", "-w", copied, "--fresh")


def test_stopping_says_how_to_go_on(call, archive, copied, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("oscine.steps.status", stop)
    assert "stopped; run the same command again" in wrong(call, 1, "status", "-w", copied)


@pytest.mark.skipif(sys.platform == "win32", reason="files cannot be limited there")
def test_a_disk_that_fills_up_is_named_and_what_was_done_goes_on(tmp_path):
    import resource

    archive, folder = tmp_path / "archive", tmp_path / "w"
    archive.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).uniform(-0.1, 0.1, 20 * 32_000)
        soundfile.write(archive / f"{number}.wav", noise, 32_000)
    command = [sys.executable, "-m", "oscine", "index", archive, "-w", folder, "--workers", "1"]

    def limit():
        # Room for the catalogue and for a recording on its way, not for the tape of two.
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))

    stopped = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert stopped.returncode == 1
    assert "the disk of the workspace is full: free some space" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    subprocess.run(command, check=True, capture_output=True)
    whole = tmp_path / "whole"
    subprocess.run([*command[:6], whole], check=True, capture_output=True)
    for file in (whole / "tape").rglob("*.bin"):
        assert (folder / file.relative_to(whole)).read_bytes() == file.read_bytes()


def test_a_condition_is_counted_and_one_that_is_none_is_wrong_use(call, ask, copied):
    found = ask("status", "-w", copied, "--where", "duration_s > 0")
    assert found["events_where"] == found["events"] > 0
    code, out, err = call("status", "-w", copied, "--where", "hour betwixt 5 and 9")
    assert (code, out) == (2, "")
    assert "after hour comes" in err


def test_a_model_goes_on_in_another_workspace(ask, call, archive, copied, tmp_path):
    other = tmp_path / "other"
    ask("index", archive, "-w", other)
    found = ask("pretrain", "-w", other, "--from", copied, "--steps", 5)
    assert found["steps"] == 5
    # The sizes of the model come with it: nobody named them here.
    assert "width = 16" in (other / "oscine.toml").read_text()
    code, out, err = call("pretrain", "-w", other, "--from", archive, "--steps", 5)
    assert (code, out) == (2, "")
    assert "is no checkpoint, and holds none" in err


def test_a_note_of_a_step_is_a_line_on_standard_error(capsys):
    with _progress() as tell:
        tell("note", 0, 0, "slow [red]" + 100 * " and slow")
    assert capsys.readouterr().err == "note: slow [red]" + 100 * " and slow" + "\n"
