"""`oscine index`, killed at random moments and run again, ends as if it had not been.

While the archive grows, too: between two runs files are added, moved and taken away, and at last
its folder gets another name.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from oscine import steps
from oscine.picture.indexing import FILES_AT_ONCE
from oscine.synth import SynthConfig
from oscine.workspace import Workspace

N_FILES = 2 * FILES_AT_ONCE


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """Pieces of synthetic recordings."""
    made = tmp_path_factory.mktemp("made") / "forest"
    steps.synth(made, SynthConfig(minutes=1, recording_s=10))
    samples = np.concatenate(
        [soundfile.read(file, dtype="int16")[0] for file in sorted(made.glob("site-*/*"))]
    )
    return np.array_split(samples, N_FILES), 32_000


@pytest.fixture
def archive(tmp_path, pieces):
    """Those pieces as files, and one that is no sound."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for number, piece in enumerate(pieces[0]):
        soundfile.write(folder / f"{number:03d}.wav", piece, pieces[1])
    (folder / "text.wav").write_text("not a sound\n")
    return folder


def grow(archive):
    """Change an archive: one file moves, one goes, one is another, one is new."""
    shutil.move(archive / "001.wav", archive / "moved.wav")
    (archive / "002.wav").unlink()
    samples, rate_hz = soundfile.read(archive / "003.wav")
    soundfile.write(archive / "003.wav", samples[::-1], rate_hz)
    soundfile.write(archive / "new.wav", -samples, rate_hz)
    return archive


def rename(archive):
    """Give the archive another name."""
    return archive.rename(archive.with_name("renamed"))


def held(folder):
    """Return all that indexing makes: rows of the catalogue, and the bytes of the tape."""
    with Workspace(folder).catalogue() as catalogue:
        rows = (
            catalogue.recordings(with_absent=True),
            catalogue.events(with_absent=True),
            catalogue.windows(with_absent=True),
            [row for row, _, _ in catalogue.clocks()],
            catalogue.stage("index"),
        )
    files = sorted((folder / "tape").rglob("*.bin"))
    return rows, {str(file.relative_to(folder)): file.read_bytes() for file in files}


def begun(archive, folder, engine, workers):
    command = [sys.executable, "-m", "oscine", "index", archive, "-w", folder]
    return subprocess.Popen(
        [*command, "--engine", engine, "--workers", str(workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def lasts_s(archive, folder, engine, workers):
    started = time.monotonic()
    assert begun(archive, folder, engine, workers).wait() == 0
    return time.monotonic() - started


def kill(process):
    """Kill a process and those it began, unless it is done."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def killed_often(archive, folder, engine, workers, n_kills, seed):
    """Kill it at so many moments; whenever it came to its end, hold it against the whole."""
    whole = folder.with_name("whole.oscine")
    lasted_s = lasts_s(archive, whole, engine, workers)
    before = held(whole)
    rng = np.random.default_rng(seed)
    for _ in range(n_kills):
        process = begun(archive, folder, engine, workers)
        time.sleep(rng.uniform(0, lasted_s))
        kill(process)
        if process.returncode == 0:
            assert held(folder) == before
            shutil.rmtree(folder)
    assert begun(archive, folder, engine, workers).wait() == 0
    assert held(folder) == before

    for change in (grow, rename):
        archive = change(archive)
        assert begun(archive, whole, engine, workers).wait() == 0
        after = held(whole)
        assert after != before
        for _ in range(2):
            process = begun(archive, folder, engine, workers)
            time.sleep(rng.uniform(0, lasted_s))
            kill(process)
        assert begun(archive, folder, engine, workers).wait() == 0
        assert held(folder) == after
        before = after


def test_killed_at_some_moments(archive, tmp_path):
    killed_often(archive, tmp_path / "w.oscine", "processes", 2, 2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "workers"), [("processes", 1), ("processes", 2), ("ray", 2)])
def test_killed_at_many_moments(archive, tmp_path, engine, workers):
    if engine == "ray" and not importlib.util.find_spec("ray"):
        pytest.skip("Ray is an optional extra")
    killed_often(archive, tmp_path / "w.oscine", engine, workers, 33, seed=workers)
