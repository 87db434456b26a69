"""Indexing and embedding on a Ray cluster give the same rows and bytes as one process does."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import tiny

from oscine import steps
from oscine.synth import SynthConfig
from oscine.workspace import Workspace
from oscine.workspace.distribute import Lost, ray_cluster, ray_map

pytest.importorskip("ray", reason="Ray is an optional extra")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Synthetic recordings in pieces, and one that is no sound."""
    folder = tmp_path_factory.mktemp("archive")
    made = tmp_path_factory.mktemp("made") / "forest"
    steps.synth(made, SynthConfig(minutes=1, recording_s=10))
    for number, file in enumerate(sorted(made.glob("site-*/*"))):
        samples, rate_hz = soundfile.read(file, dtype="int16")
        for piece, part in enumerate(np.array_split(samples, 12)):
            soundfile.write(folder / f"{number}-{piece:02d}.wav", part, rate_hz)
    (folder / "text.wav").write_text("not a sound\n")
    return folder


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "crows.oscine"
    steps.index([archive], folder, workers=1)
    return held(folder)


def held(folder):
    """Return rows of the catalogue, and the bytes of the tape."""
    with Workspace(folder).catalogue() as catalogue:
        rows = catalogue.recordings(), catalogue.events(), catalogue.windows()
    return rows, {
        file.relative_to(folder): file.read_bytes() for file in (folder / "tape").rglob("*.bin")
    }


def test_rows_and_bytes_are_those_of_one_process(archive, whole, tmp_path):
    steps.index([archive], tmp_path / "w", engine="ray", workers=2)
    assert held(tmp_path / "w") == whole


def test_vectors_are_those_of_one_process(archive, tmp_path):
    folder = tmp_path / "w"
    steps.index([archive], folder, workers=1)
    steps.pretrain(folder, steps=5, settings=tiny.SETTINGS)
    shutil.copytree(folder, tmp_path / "far")
    assert steps.embed(folder) == steps.embed(tmp_path / "far", engine="ray")
    for name in ("events", "windows"):
        files = [
            at / "embeddings/default" / name / "00000.bin" for at in (folder, tmp_path / "far")
        ]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_killed_and_begun_again_it_ends_the_same(archive, whole, tmp_path):
    command = [sys.executable, "-m", "oscine", "index", archive, "-w", tmp_path / "w"]
    process = subprocess.Popen(
        [*command, "--engine", "ray", "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not any((tmp_path / "w").glob("parts-*/*")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    steps.index([archive], tmp_path / "w", workers=1)
    assert held(tmp_path / "w") == whole


def test_what_brings_its_process_down_is_lost_alone():
    # Defined here, for the processes know nothing of this file.
    def doubled_or_dead(number):
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 7:
            raise OSError("no room")
        return 2 * number

    with ray_cluster(2) as ray:
        found = list(ray_map(ray, doubled_or_dead, range(7)))
        assert [one for one in found if not isinstance(one, Lost)] == [0, 2, 4, 8, 10, 12]
        (lost,) = (one for one in found if isinstance(one, Lost))
        assert (lost.task, lost.reason) == (3, "ended the process that did it (WorkerCrashedError)")
        with pytest.raises(OSError, match="no room"):
            list(ray_map(ray, doubled_or_dead, [1, 7]))


def test_a_file_that_hangs_ends_its_process():
    code = """
import time
from pathlib import Path
from oscine.config import ActivityConfig, PictureConfig
from oscine.picture import workers
workers.HANGS_S = 0.5
workers.draw_one = lambda *_: time.sleep(60)
task = workers.Task(file=Path("a"), n_bytes=1, modified_s=0.0, part=Path("p"))
known = Path("known.json")
workers._read = lambda _: {}
workers._draw_within_limits(task, known, PictureConfig(), ActivityConfig())
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=50, check=False)
    assert done.returncode == 1
