"""`oscine learn`, killed at random moments of every step and run again, ends as if it had not been.

The same bytes (tape, weights, log, figures, vectors, page) and the same rows of the catalogue and
of the report; also for one worker and for two.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
import soundfile
import tiny

from oscine.picture.indexing import FILES_AT_ONCE
from oscine.synth import SynthConfig, write_archive
from oscine.training.log import WAITING
from oscine.workspace import Workspace

STEPS = ("index", "pretrain", "embed", "cluster", "report")
SETTINGS = [word for setting in tiny.SETTINGS for word in ("--set", setting)]
WITH_UMAP = [*SETTINGS, "--set", "cluster.max_fit=1000"]
PIECES = 12


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Pieces of synthetic recordings: more of them than are noted in one transaction."""
    made = tmp_path_factory.mktemp("made") / "forest"
    write_archive(made, SynthConfig(minutes=1, recording_s=10))
    folder = tmp_path_factory.mktemp("archive")
    for number, file in enumerate(sorted(made.glob("site-*/*"))):
        samples, rate_hz = soundfile.read(file, dtype="int16")
        for piece, part in enumerate(np.array_split(samples, PIECES)):
            soundfile.write(folder / f"{number}-{piece:02d}.wav", part, rate_hz)
    assert len(list(folder.iterdir())) > FILES_AT_ONCE
    return folder


class Learning:
    """`oscine learn` as a process group of its own."""

    def __init__(self, archive, folder, settings=SETTINGS, workers=1):
        self.folder = folder
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "oscine", "learn", archive, "-w", folder),
                *("--steps", "30", "--workers", str(workers), "--json", *settings),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Also where these tests run in the background, deaf to it themselves.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def wait_for(self, step, is_true):
        """Wait until something is true of a step, and return when."""
        while not is_true(self.folder, step):
            if self.process.poll() is not None:
                raise AssertionError(f"it ended before {step} began: {self.process.stderr.read()}")
            time.sleep(0.005)
        return time.monotonic()

    def finish(self):
        """Wait until it is done, and return what it printed."""
        out, err = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, err
        return json.loads(out)

    def kill(self, with_workers=True):
        """Kill it, and wait until nothing of it is left: then its pipes are closed."""
        if with_workers:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.communicate(timeout=60)


def noted(folder, step):
    """Return whether the catalogue says that a step is finished; None where it knows none."""
    try:
        with closing(sqlite3.connect(f"file:{folder}/catalogue.sqlite?mode=ro", uri=True)) as file:
            query = "SELECT finished FROM stages WHERE stage = ?"
            row = file.execute(query, (step,)).fetchone()
    except sqlite3.OperationalError:  # not there yet
        return None
    return row and bool(row[0])


def is_begun(folder, step):
    """Tell whether a step that was never begun before is at work."""
    if step == "index":
        return any(folder.glob("parts-*/*"))
    if step == "pretrain":
        return (folder / "runs/default/log.jsonl").exists()
    if step == "embed":
        return noted(folder, "embed") is not None
    return bool(noted(folder, STEPS[STEPS.index(step) - 1]))


def is_finished(folder, step):
    if step == "report":
        return (folder / "reports/atlas.html").exists()
    return bool(noted(folder, step))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, archive):
    """A workspace that nothing interrupted, made by two workers, and how long each step took."""
    return uninterrupted(archive, tmp_path_factory.mktemp("whole") / "crows.oscine", SETTINGS)


def uninterrupted(archive, folder, settings):
    learning = Learning(archive, folder, settings, workers=2)
    lasted_s = {}
    for step in STEPS:
        begin = learning.wait_for(step, is_begun)
        lasted_s[step] = learning.wait_for(step, is_finished) - begin
    learning.finish()
    return folder, lasted_s


def kill_within(step, archive, folder, lasted_s, rng, settings=SETTINGS, with_workers=True):
    """Run until a random moment of a step. Where that came too late, go back and come earlier."""
    before = folder.with_name("before")
    for attempt in range(6):
        shutil.rmtree(before, ignore_errors=True)
        if folder.exists():
            shutil.copytree(folder, before)
        learning = Learning(archive, folder, settings)
        learning.wait_for(step, is_begun)
        time.sleep(rng.uniform(0, lasted_s) / 2**attempt)
        learning.kill(with_workers)
        if not is_finished(folder, step):
            return
        shutil.rmtree(folder)
        if before.exists():
            before.rename(folder)
    raise AssertionError(f"{step} was always finished before it could be killed")


def assert_same(folder, other):
    """Compare by the rules of what the same means: bytes, rows and reports."""
    assert files_of(folder) == files_of(other)
    assert rows_of(folder) == rows_of(other)
    assert report_of(folder) == report_of(other)


def files_of(folder):
    """Return all files but the catalogue and what names the folder, with their bytes.

    Of the log, without what is a duration.
    """
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    found = {
        name: file.read_bytes()
        for name, file in files.items()
        if not name.startswith("catalogue.sqlite") and name != "reports/learn.json"
    }
    name = "runs/default/log.jsonl"
    rows = [json.loads(line) for line in found[name].splitlines()]
    return found | {name: [{key: row[key] for key in row if key != WAITING} for row in rows]}


def rows_of(folder):
    with Workspace(folder).catalogue() as catalogue:
        return (
            catalogue.recordings(),
            catalogue.events(),
            catalogue.windows(),
            catalogue.sound_types(),
            {step: catalogue.stage(step) for step in STEPS},
        )


def report_of(folder):
    return json.loads((folder / "reports/learn.json").read_text()) | {"report": ""}


def test_killed_once_in_each_step(archive, whole, tmp_path):
    reference, lasted_s = whole
    folder = tmp_path / "crows.oscine"
    rng = np.random.default_rng(0)
    for step in STEPS:
        # While it indexes, only the process itself: its workers must notice and leave.
        kill_within(step, archive, folder, lasted_s[step], rng, with_workers=step != "index")
    found = Learning(archive, folder).finish()
    assert found | {"report": ""} == report_of(reference)
    assert found["clusters"] > 0
    assert_same(folder, reference)


def test_stopping_the_training_by_hand_keeps_its_steps(archive, tmp_path, whole):
    reference = whole[0]
    folder = tmp_path / "crows.oscine"
    learning = Learning(archive, folder)
    learning.wait_for("pretrain", is_begun)
    os.killpg(learning.process.pid, signal.SIGINT)  # as a terminal does
    _, err = learning.process.communicate(timeout=60)
    assert learning.process.returncode == 1
    assert "oscine: stopped" in err
    assert "Traceback" not in err
    Learning(archive, folder).finish()
    assert_same(folder, reference)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_many_times(archive, tmp_path_factory, tmp_path, seed, many):
    reference, lasted_s = many
    folder = tmp_path / "crows.oscine"
    rng = np.random.default_rng(seed)
    for step in STEPS:
        if not is_finished(folder, step):
            kill_within(step, archive, folder, lasted_s[step], rng, WITH_UMAP)
        for _ in range(2):  # and at any moment of what is left, imports included
            learning = Learning(archive, folder, WITH_UMAP, workers=1 + seed % 2)
            time.sleep(rng.uniform(0, sum(lasted_s.values())))
            learning.kill()
    Learning(archive, folder, WITH_UMAP).finish()
    assert_same(folder, reference)


@pytest.fixture(scope="module")
def many(tmp_path_factory, archive):
    """As `whole`, with the map that larger archives have."""
    return uninterrupted(archive, tmp_path_factory.mktemp("many") / "crows.oscine", WITH_UMAP)


def test_stopping_by_hand_says_how_to_go_on(archive, tmp_path):
    learning = Learning(archive, tmp_path / "w", workers=2)
    learning.wait_for("index", is_begun)
    os.killpg(learning.process.pid, signal.SIGINT)  # as a terminal does
    out, err = learning.process.communicate(timeout=60)
    assert (learning.process.returncode, out) == (1, "")
    assert "oscine: stopped; run the same command again to go on from here" in err
    assert "Traceback" not in err
