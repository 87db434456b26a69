"""A file that kills, hangs or fills the process that draws it costs nothing but itself."""

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from oscine.config import ActivityConfig, PictureConfig
from oscine.picture import workers
from oscine.picture.drawing import not_drawn
from oscine.picture.workers import DiskFull, Outcome, Task, draw_in_order, draw_one
from oscine.sound.clock import ClockReading

NO_CLOCK = ClockReading(
    local=None,
    utc_offset_min=None,
    source="",
    is_weak=False,
    site="",
    recorder="",
    facts={},
    notes=(),
)
PICTURE, ACTIVITY = PictureConfig(), ActivityConfig()


def act(task, known, picture, activity):
    """Do what the file's name says: the work of a process."""
    name = task.file.stem
    if name.startswith("crash"):
        os.write(2, b"[lib.c:12] cannot go\n  on\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("leave"):
        os._exit(7)
    if name.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("once") and not task.file.exists():
        task.file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("hang"):
        time.sleep(1000)
    if name.startswith("full"):
        raise DiskFull(errno.ENOSPC, "No space left on device")
    if name.startswith("slow"):
        time.sleep(0.2)
    os.write(2, b"harmless chatter\n")
    return Outcome(content_hash=name, drawn=not_drawn(f"{name} was done"), clock=NO_CLOCK)


def drawn(folder, names, n_workers=2, draw=act):
    tasks = [
        Task(
            file=folder / f"{name}.wav",
            n_bytes=1,
            modified_s=0.0,
            part=folder / f"{n:03d}",
        )
        for n, name in enumerate(names)
    ]
    return list(draw_in_order(tasks, {}, folder, PICTURE, ACTIVITY, n_workers, draw))


def reasons(outcomes):
    return [one.drawn.reason for one in outcomes]


def test_outcomes_come_in_order_whatever_takes_long(tmp_path):
    names = [f"slow-{n}" if n % 5 == 0 else f"quick-{n}" for n in range(40)]
    assert reasons(drawn(tmp_path, names)) == [f"{name} was done" for name in names]
    assert [one.content_hash for one in drawn(tmp_path, names, 1)] == names
    assert drawn(tmp_path, []) == []
    assert list(tmp_path.iterdir()) == []


def test_a_crash_costs_its_file_alone_and_what_was_printed_is_told(tmp_path):
    names = ["a", "crash", "b", "c", "leave", "d", "e"]
    said = reasons(drawn(tmp_path, names))
    assert said[1] == "decoding it crashed the decoder (SIGSEGV): [lib.c:12] cannot go on"
    assert said[4] == "decoding it ended the decoder (exit code 7)"
    assert [said[n] for n in (0, 2, 3, 5, 6)] == [f"{name} was done" for name in "abcde"]


def test_a_process_that_was_killed_from_outside_is_replaced(tmp_path):
    said = reasons(drawn(tmp_path, ["a", "once-killed", "b"], 1))
    assert said == ["a was done", "once-killed was done", "b was done"]


def test_what_the_system_kills_is_tried_again_another_time(tmp_path):
    (one,) = drawn(tmp_path, ["killed"], 1)
    assert one.drawn.reason == "decoding it crashed the decoder (SIGKILL)"
    assert one.content_hash == ""


def test_processes_that_never_begin_are_no_fault_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_work", leave)
    with pytest.raises(RuntimeError, match=r"end before they begin \(exit code 9\)"):
        drawn(tmp_path, ["a", "b"])


def leave(*_):
    os._exit(9)


def test_a_file_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "HANGS_S", 0.5)
    monkeypatch.setattr(workers, "LOOKED_AFTER_S", 0.1)
    monkeypatch.setattr(workers, "TRIES", 1)
    said = reasons(drawn(tmp_path, ["a", "hang", "b"]))
    assert said[0] == "a was done"
    assert said[1].startswith("decoding it made no progress for over")
    assert said[2] == "b was done"


def test_a_full_disk_ends_the_run_and_blames_no_file(tmp_path):
    with pytest.raises(DiskFull):
        drawn(tmp_path, ["a", "full", "b"])


def greedy(task, known, picture, activity):
    """Take as much memory as the name says, in megabytes."""
    np.ones(int(task.file.stem) << 17)
    return Outcome(content_hash="", drawn=not_drawn("had enough"), clock=NO_CLOCK)


def greedy_file(task, known, picture, activity):
    """Draw a file with a decoder that asks for two gigabytes."""
    workers.draw_recording = lambda *_: np.ones(2 << 27)
    return draw_one(task, known, picture, activity)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no such limit on this system")
def test_memory_that_no_file_should_need_is_refused(tmp_path):
    (one,) = drawn(tmp_path, ["a"], draw=greedy_file)
    assert one.drawn.reason.startswith("needs more memory")
    (little,) = drawn(tmp_path, ["300"], draw=greedy)
    assert little.drawn.reason == "had enough"


def test_whatever_a_decoder_raises_is_the_reason_of_its_file(tmp_path, monkeypatch):
    file = tmp_path / "a.wav"
    soundfile.write(file, np.zeros(8), 8000)
    task = Task(file=file, n_bytes=1, modified_s=0.0, part=tmp_path / "part")

    def fail_with(error):
        def fail(*_):
            raise error

        monkeypatch.setattr(workers, "draw_recording", fail)
        return draw_one(task, {}, PICTURE, ACTIVITY).drawn

    assert fail_with(KeyError("x\ny" * 99)).reason.startswith("KeyError while it was read: ")
    assert "\n" not in fail_with(KeyError("x\ny" * 99)).reason
    assert fail_with(OSError(errno.EIO, "Input/output error")).reason == (
        "cannot be read: Input/output error"
    )
    with pytest.raises(DiskFull):
        fail_with(OSError(errno.ENOSPC, "No space left on device"))


def test_content_that_is_known_is_not_drawn(tmp_path, monkeypatch):
    file = tmp_path / "a.wav"
    soundfile.write(file, np.random.default_rng(0).uniform(-1, 1, 8000), 8000)
    task = Task(file=file, n_bytes=1, modified_s=0.0, part=tmp_path / "part")
    new = draw_one(task, {}, PICTURE, ACTIVITY)
    assert new.drawn.state == "whole"
    for part in tmp_path.glob("part.*"):
        part.unlink()
    again = draw_one(task, {new.content_hash: 1.0}, PICTURE, ACTIVITY)
    assert (again.content_hash, again.drawn, again.clock) == (new.content_hash, None, new.clock)
    assert list(tmp_path.iterdir()) == [file]

    # A disk that fails once: without a hash the file could not be known again.
    def fail(file):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(workers, "content_hash", fail)
    lost = draw_one(task, {}, PICTURE, ACTIVITY)
    assert (lost.content_hash, lost.drawn.state, lost.drawn.channels) == ("", "unreadable", ())
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("ray", [False, True])
def test_what_is_known_reaches_every_process(tmp_path, ray):
    if ray:
        pytest.importorskip("ray", reason="Ray is an optional extra")
    tasks = []
    for number in range(3):
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, np.random.default_rng(number).uniform(-1, 1, 8000), 8000)
        tasks.append(Task(file=file, n_bytes=1, modified_s=0.0, part=tmp_path / f"p{number}"))
    known = {workers.content_hash(tasks[1].file): 1.0}
    draw = workers.draw_with_ray if ray else draw_in_order
    found = list(draw(tasks, known, tmp_path, PICTURE, ACTIVITY, 2))
    assert [one.drawn is None for one in found] == [False, True, False]


def test_a_worker_that_begins_when_who_asks_has_gone_ends_quietly(tmp_path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)  # this process is to hear Ctrl-C
    here, there = multiprocessing.Pipe()
    workers._work(there, tmp_path / "gone" / "printed", act, tmp_path, PICTURE, ACTIVITY)
    assert not here.poll()
