"""Several processes learn together as one would, and faults of one cost no more than its steps."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from learning_ranks import learn
from safetensors.torch import load_file

from oscine import steps
from oscine.model.checkpoint import load_checkpoint, load_provenance
from oscine.synth import SynthConfig
from oscine.training.log import read_losses
from oscine.training.pretrain import _others_named, last_checkpoint
from oscine.training.ranks import Ranks
from oscine.workspace import Workspace

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
TWO_RANKS = [*TORCHRUN, "2"]
CPU = torch.device("cpu")
N_STEPS = 300
"""Of a run that is ended before."""
ALONE = Ranks(number=0, count=1, device=CPU)


@given(st.integers(1, 9), st.data())
def test_every_sample_of_a_batch_is_one_ranks(count, data):
    n_samples = data.draw(st.integers(count, 100))
    shares = [Ranks(number=n, count=count, device=CPU).share(n_samples) for n in range(count)]
    assert [sample for share in shares for sample in share] == list(range(n_samples))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_batch_too_small_for_the_ranks_is_refused():
    with pytest.raises(ValueError, match=r"batch of 2 .* 3 processes: raise training.batch_size"):
        Ranks(number=0, count=3, device=CPU).share(2)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Connection closed by peer"), "stopped, perhaps because another did .Conn"),
        (torch.OutOfMemoryError("CUDA out of memory."), "too little memory .*micro_batch"),
    ],
)
@pytest.mark.parametrize("n_steps", [0, 4])
def test_a_process_that_fails_says_why_and_what_to_do(tmp_path, error, said, n_steps):
    if n_steps:
        (tmp_path / "checkpoints" / f"{n_steps:08d}").mkdir(parents=True)
    then = "goes on from step 4" if n_steps else "there was no checkpoint yet"
    with (
        pytest.raises(RuntimeError, match=f"process 2 of 3 .*{said}.* same command again.*{then}"),
        _others_named(Ranks(number=1, count=3, device=CPU), tmp_path),
    ):
        raise error


def largest_difference(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_two_ranks_learn_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr("oscine.training.batches.has_fast_bfloat16", lambda device: False)
    script = Path(__file__).with_name("learning_ranks.py")
    command = [*TWO_RANKS, script, tmp_path, "50", "float64", "float32"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    # In float32 4.1e-8 and 1.2e-7 were found.
    for dtype, most, most_of_loss in ((torch.float64, 1e-9, 1e-6), (torch.float32, 1e-6, 1e-5)):
        losses, gradients = learn(ALONE, tmp_path, dtype, 50)
        assert max(float(each.abs().max()) for each in gradients.values()) > 1e-3
        for number in range(2):
            found = load_file(tmp_path / f"{dtype}-{number}.safetensors")
            assert largest_difference(gradients, found) < most
            assert float((found["losses"] - losses).abs().max()) < most_of_loss
        assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("micro_batch", [1, 5, 31])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(tmp_path, micro_batch):
    whole, gradients = learn(ALONE, tmp_path / "whole", torch.float64, 3)
    parts, of_parts = learn(ALONE, tmp_path / "parts", torch.float64, 3, micro_batch=micro_batch)
    assert largest_difference(gradients, of_parts) < 1e-9
    assert torch.allclose(whole, parts, atol=1e-9)


def test_three_ranks_that_meet_faults_end_as_if_there_had_been_none(tmp_path):
    # Three, since the order of two summands does not matter.
    script = Path(__file__).with_name("faulty_ranks.py")
    subprocess.run([*TORCHRUN, "3", script, tmp_path], check=True, capture_output=True, timeout=300)
    of_ranks = [(tmp_path / f"told-{number}.jsonl").read_text() for number in range(3)]
    assert of_ranks == 3 * [of_ranks[0]]
    whole, stopped, damaged, shaken = map(json.loads, of_ranks[0].splitlines())
    assert stopped == whole
    assert damaged["weights"] == whole["weights"]
    assert damaged["rewinds"] == [
        "A checkpoint was damaged (kept as damaged-00000008): the run went back to step 4."
    ]
    assert shaken["rate_factor"] == 0.5
    assert shaken["rewinds"] == [
        "Step 7 was not finite: the run went back to step 4, and on at 0.5 of the learning rate."
    ]


# The command


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A small archive that is indexed."""
    folder = tmp_path_factory.mktemp("ranks")
    steps.synth(folder / "recordings", SynthConfig(minutes=1))
    steps.index([folder / "recordings"], folder / "w", workers=1)
    return folder / "w"


def command(workspace, name, n_steps):
    """Return the arguments of a run, without the program."""
    settings = [
        one
        for each in (*tiny.SETTINGS[:7], "training.checkpoint_every=25")
        for one in ("--set", each)
    ]
    names = ["-w", str(workspace), "--name", name, "--steps", str(n_steps)]
    return ["-m", "oscine", "pretrain", *names, *settings]


def ended(workspace, name, end, **started):
    """Return what two processes say whose learning is ended at their first checkpoint."""
    together = subprocess.Popen(
        [*TWO_RANKS, *command(workspace, name, N_STEPS)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **started,
    )
    try:
        deadline = time.monotonic() + 120
        while last_checkpoint(workspace / "runs" / name) is None:
            assert together.poll() is None, together.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        end(together.pid)
        _, said = together.communicate(timeout=120)
    finally:
        together.kill()
    assert together.returncode != 0
    assert "run the same command again" in said
    return said


@pytest.mark.parametrize("number", [0, 1])
def test_a_rank_that_is_killed_ends_the_run_and_one_process_goes_on(workspace, number):
    name = f"killed-{number}"
    run = workspace / "runs" / name
    ended(workspace, name, lambda pid: os.kill(child_with(pid, f"RANK={number}"), signal.SIGKILL))
    last = last_checkpoint(run)
    assert load_provenance(last)["ranks"] == 2

    done = int(last.name)
    assert done < N_STEPS
    subprocess.run(
        [sys.executable, *command(workspace, name, N_STEPS)], check=True, capture_output=True
    )
    final = last_checkpoint(run)
    assert (int(final.name), load_provenance(final)["ranks"]) == (N_STEPS, 1)
    load_checkpoint(final)
    _, losses = read_losses(run)
    assert [one.step for one in losses] == list(range(0, N_STEPS + 1, 25))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ranks_that_are_stopped_by_hand_end_and_go_on_from_their_checkpoint(workspace, how):
    ended(
        workspace,
        f"stopped-{how}",
        lambda pid: os.killpg(pid, how),  # as a terminal does, or a cluster at the end of a job
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    last = last_checkpoint(workspace / "runs" / f"stopped-{how}")
    assert int(last.name) % 25 == 0  # each would end another step


@pytest.mark.parametrize("number", [0, 1])
def test_a_rank_that_is_ended_says_from_where_it_goes_on(workspace, number):
    said = ended(
        workspace,
        f"ended-{number}",
        lambda pid: os.kill(child_with(pid, f"RANK={number}"), signal.SIGTERM),
    )
    assert "the training goes on from step" in said


def test_a_process_that_is_ending_is_not_ended_by_another_signal():
    program = """
import os, signal
from oscine.training.stopping import ended_together
with ended_together():
    pass
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
try:
    with ended_together():
        os.kill(os.getpid(), signal.SIGTERM)
        print("went on")
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGTERM)
    print("told why")
"""
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert said.stdout == b"told why\n"


def child_with(parent, setting):
    """Return the process below another whose environment has a setting."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        if setting.encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"none of {children} has {setting}")


def test_ranks_say_things_once(workspace):
    found = subprocess.run(
        [*TWO_RANKS, *command(workspace, "said", 10)], check=True, capture_output=True, text=True
    )
    assert found.stdout.count("loss of interpolation") == 1
    assert load_provenance(last_checkpoint(workspace / "runs" / "said"))["ranks"] == 2


def test_another_rank_needs_no_model_that_the_first_has_yet_to_note(workspace, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with Workspace(workspace).catalogue() as catalogue:
        catalogue.drop_stage("pretrain")
        report = steps.pretrain(workspace, name="other", steps=2, settings=tiny.SETTINGS[:7])
        assert report.steps == 2
        assert catalogue.stage("pretrain") is None
