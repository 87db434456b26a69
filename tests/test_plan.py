"""What a run would take: the counts of the presets, the trial, the arithmetic, and its words."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
from torch import nn

from oscine.config import OscineConfig, preset_names, with_preset
from oscine.model.autoencoder import MaskedAutoencoder, initialise
from oscine.model.checkpoint import RunConfig, optimiser_state
from oscine.training import batches
from oscine.training import plan as planning
from oscine.training.learner import Learner, draw_parts
from oscine.training.plan import Counts, TooLittleMemory, Trial, count, plan
from oscine.training.pretrain import LEAST_STEPS
from oscine.training.ranks import Ranks
from oscine.training.windows import WindowSampler

ROOT = Path(__file__).parent.parent
RUN = RunConfig(picture=tiny.PICTURE, model=tiny.MODEL, training=tiny.TRAINING)
CPU = torch.device("cpu")
GB = 10**9


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
    tape = tiny.tape(tmp_path_factory.mktemp("tape"), [tiny.codes(300, 0)])
    return WindowSampler(tape, [tiny.recording(0, 300)], [], tiny.PICTURE, tiny.TRAINING)


def run_of(preset):
    config = with_preset(OscineConfig(), preset, "training")
    return RunConfig(picture=config.picture, model=config.model, training=config.training)


# Counts


@pytest.mark.parametrize("preset", preset_names("training"))
def test_the_comments_of_a_preset_and_its_row_in_the_docs_say_what_is_counted(preset, monkeypatch):
    run = run_of(preset)
    model = initialise(MaskedAutoencoder(run.model, run.picture), 0)
    n_encoder = sum(weight.numel() for weight in model.encoder.parameters())
    counts, memory_gb = None, {}
    for kind in ("float32", "bfloat16"):
        monkeypatch.setattr(batches, "has_fast_bfloat16", lambda _, kind=kind: kind == "bfloat16")
        counts = count(model, run)
        memory_gb[kind] = counts.memory_bytes(run.training.batch_size) / GB
    assert counts is not None
    millions, encoder = f"{counts.parameters / 1e6:.3g} million", f"{n_encoder / 1e6:.3g}"
    cost = f"{counts.flops / 1e9:.3g} GFLOP"

    file = ROOT / "src" / "oscine" / "presets" / "training" / f"{preset}.toml"
    said = re.sub(r"\n# *", " ", file.read_text(encoding="utf-8").partition("[model]")[0])
    assert f"parameters: {millions}, of which the encoder has {encoder} (counted)" in said
    window = f"{counts.patches} patches, of which {counts.seen_patches} are seen"
    assert f"window: {window}; {cost} forward and backward (counted)" in said
    # What the kernels keep may change a little between versions of torch.
    single, half = re.findall(r"([\d.]+) GB (?:for a batch )?in (?:float32|bfloat16)", said)
    assert (float(single), float(half)) == pytest.approx(tuple(memory_gb.values()), rel=0.1)
    if run.training.steps:
        n_windows = run.training.steps * run.training.batch_size
        flops = n_windows * counts.flops
        assert f"run: {n_windows / 1e6:.0f} million windows, {flops:.1e} FLOP" in said
        hours, share, peak = re.search(
            r": ([\d.]+) hours \(calculated, not measured: (a quarter|30 %) of the (\d+) TFLOP/s",
            said,
        ).groups()
        reached = {"a quarter": 0.25, "30 %": 0.3}[share] * float(peak) * 1e12
        assert float(hours) == pytest.approx(flops / reached / 3600, rel=0.01)

    table = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    row = next(line for line in table.splitlines() if line.startswith(f"| `{preset}` |"))
    assert f"| {millions} | {cost} |" in row
    assert f"| {half} GB |" in row


def test_operations_are_those_of_the_products_in_the_model():
    """The same number by hand: two operations for each multiplication, three passes in all."""
    run = replace(RUN, model=replace(tiny.MODEL, depth=2))
    counts = count(initialise(MaskedAutoencoder(run.model, run.picture), 0), run)
    n, seen, values = counts.patches, counts.seen_patches, 256
    assert (n, seen) == (8, 2)

    def block(tokens, width):
        linear = tokens * width * width * (3 + 1 + 2 * run.model.mlp_ratio)
        return linear + 2 * tokens * tokens * width

    width, narrow = run.model.width, run.model.decoder_width
    encoder = seen * values * width + 2 * block(seen, width)
    decoder = seen * width * narrow + block(n, narrow) + (n - seen) * narrow * values
    # No gradient goes to the patches themselves.
    expected = 2 * (3 * (encoder + decoder) - seen * values * width)
    assert counts.flops == expected


def test_a_step_keeps_what_is_counted_for_weights_and_optimiser(sampler):
    model = initialise(MaskedAutoencoder(tiny.MODEL, tiny.PICTURE), 0)
    counts = count(model, RUN)
    ranks = Ranks(number=0, count=1, device=CPU)
    learner = Learner(model, tiny.TRAINING, ranks)
    grid = model.encoder.grid(tiny.PICTURE.window_frames)
    learner.step(0, draw_parts(sampler, 0, grid, tiny.TRAINING, ranks))
    weights = [*model.parameters(), *(weight.grad for weight in model.parameters())]
    moments = [one for one in optimiser_state(learner.optimiser).values() if one.ndim]
    held = sum(tensor.nbytes for tensor in (*weights, *moments))
    copies = counts.fixed_bytes - held  # of weights in bfloat16, where the processor has it
    assert 0 <= copies <= 2 * counts.parameters
    assert counts.window_bytes > 8 * 256 * 2  # at least the patches of one layer


def test_a_batch_is_halved_until_it_fits():
    counts = Counts(
        parameters=1, patches=1, seen_patches=1, flops=1, fixed_bytes=GB, window_bytes=GB
    )
    assert counts.most_windows(48, None) == 48
    assert counts.most_windows(48, 100 * GB) == 48
    assert counts.most_windows(48, 30 * GB) == 24
    assert counts.most_windows(48, 3 * GB) == 1
    assert counts.most_windows(48, 2 * GB) == 0


# The trial


@pytest.fixture
def clock(monkeypatch):
    """A clock on which 10 ms pass whenever it is looked at."""
    ticks = itertools.count()
    ticking = SimpleNamespace(perf_counter=lambda: 0.01 * next(ticks))
    monkeypatch.setattr(planning, "time", ticking)


def tried(sampler, run=RUN, **changes):
    given = {"archive_s": 3.0, "disk_free_bytes": GB, "trial_s": 0.0} | changes
    return plan(sampler, run, **given)


def test_a_plan_is_counted_and_tried(sampler, clock):
    told = []
    found = tried(sampler, trial_s=1.0, progress=lambda *what: told.append(what))
    assert found.parameters == sum(weight.numel() for weight in tiny.model().parameters())
    assert (found.patches, found.seen_patches) == (8, 2)
    assert found.trial_windows == found.batch_size == found.part_windows == 8
    assert found.windows_per_s == pytest.approx(8 / 0.04)  # a step looks four times at the clock
    assert found.flops_per_s == pytest.approx(8 / 0.04 * found.flops_per_window)
    assert 0 <= found.waiting_share <= 1
    assert told[-1] == (100, 100)
    assert [share for share, _ in told] == sorted(share for share, _ in told)


def test_however_high_the_rate_nothing_diverges_in_the_trial(sampler, clock):
    run = replace(RUN, training=replace(tiny.TRAINING, learning_rate=1e30))
    assert tried(sampler, run, trial_s=1.0).windows_per_s > 0


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_where_the_memory_runs_out_in_the_trial_the_batch_is_parted(
    sampler, clock, monkeypatch, error
):
    true_step = planning._step

    def step(learner, parts):
        if len(parts[0].log_mel) > 2:
            raise error
        true_step(learner, parts)

    monkeypatch.setattr(planning, "_step", step)
    found = tried(sampler, trial_s=1.0)
    assert (found.trial_windows, found.part_windows, found.batch_size) == (2, 2, 8)
    said = next(note for note in found.notes if "does not fit" in note)
    assert "parts of 2 windows do" in said
    assert "training.micro_batch=2" in said


def test_where_not_even_one_window_fits_it_is_said(sampler, monkeypatch):
    def step(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(planning, "_step", step)
    with pytest.raises(TooLittleMemory, match=r"not even one window .* smaller --preset"):
        tried(sampler)


@pytest.mark.parametrize("free_bytes", [1000, 200_000], ids=["weights", "window"])
def test_what_cannot_fit_by_calculation_is_not_tried(sampler, monkeypatch, free_bytes):
    monkeypatch.setattr(planning, "_free_bytes", lambda _: free_bytes)
    monkeypatch.setattr(planning, "_step", None)
    with pytest.raises(TooLittleMemory, match=r"needs at least .* GB, and .* GB are free"):
        tried(sampler)


def test_other_errors_of_the_trial_are_not_taken_for_want_of_memory(sampler, monkeypatch):
    def step(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(planning, "_step", step)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        tried(sampler)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells of its memory")
def test_the_peak_is_that_since_it_was_last_asked_for():
    nn.Linear(4096, 4096)  # 67 MB, before
    peak = planning._Peak(CPU)
    kept = torch.ones(2**24)  # 67 MB, since
    grown = peak.grown_bytes()
    del kept
    assert grown is not None
    assert 60e6 < grown < 120e6


# Arithmetic and words

COUNTS = Counts(
    parameters=1_000_000,
    patches=128,
    seen_patches=32,
    flops=GB // 2,
    fixed_bytes=16_000_000,
    window_bytes=1_000_000,
)
TRIAL = Trial(
    windows_per_s=100.0, windows=16, most_windows=16, waiting_share=0.1, peak_bytes=5_000_000
)


def foreseen(
    counts=COUNTS, trial=TRIAL, free_bytes=GB, disk_free_bytes=GB, archive_s=3600.0, **changes
):
    config = OscineConfig()
    training = replace(config.training, **changes)
    run = RunConfig(picture=config.picture, model=config.model, training=training)
    return planning._foreseen(counts, trial, run, CPU, free_bytes, archive_s, disk_free_bytes, 10.0)


def test_steps_take_the_hours_that_their_windows_take():
    found = foreseen(steps=90_000, batch_size=16)
    assert found.hours == 4.0  # 1,440,000 windows, 100 a second
    assert found.heard_hours == 1024.0  # 2.56 s each
    assert found.times_heard == 1024.0
    assert found.flops_per_s == 50 * GB
    assert found.memory_bytes == 32_000_000
    assert found.checkpoint_bytes == 36_000_000
    assert found.notes[:2] == [
        "This run takes about 4 hours here. With --preset tiny it takes 8 minutes.",
        "A batch of 16 windows fits into the memory: 0.032 GB by calculation, 1 GB are free.",
    ]
    assert "The archive is heard 1,024 times" in found.notes[2]


def test_minutes_become_as_many_steps_as_fit():
    found = foreseen(minutes=8.0, batch_size=16)
    assert found.steps == 3000
    assert found.hours == pytest.approx(8 / 60, abs=1e-4)
    assert found.notes[0] == "This run takes about 8 minutes here."
    slow = foreseen(trial=replace(TRIAL, windows_per_s=0.1), minutes=8.0, batch_size=16)
    assert slow.steps == LEAST_STEPS
    assert slow.notes[0].startswith("This run takes about 53 minutes here.")


def test_a_run_that_fits_nowhere_is_told_so_in_plain_words():
    counts = replace(COUNTS, flops=22 * GB, window_bytes=100_000_000)
    trial = replace(TRIAL, windows_per_s=2.0, waiting_share=0.6, most_windows=8)
    found = foreseen(counts, trial, disk_free_bytes=30_000_000, steps=100_000, batch_size=16)
    said = "\n".join(found.notes)
    assert "takes about 9 days here. With --preset tiny it takes 8 minutes" in said
    assert "There is no graphics card here" in said
    assert "does not fit into the memory at once (1.6 GB by calculation, 1 GB are free)" in said
    assert "--set training.micro_batch=8" in said
    assert "The checkpoints do not fit on the disk of the workspace: they take 0.036 GB" in said
    assert "Steps wait for their windows for 60% of the time" in said
    assert "bad middle" not in said


def test_a_run_too_short_to_learn_is_told_so():
    said = "\n".join(foreseen(steps=100, batch_size=16, archive_s=1.0).notes)
    assert "bad middle" in said
    assert "is heard" not in said  # however short the archive: fewer steps would not help


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0.001, "less than a minute"),
        (0.017, "a minute"),
        (8 / 60, "8 minutes"),
        (1.5, "90 minutes"),
        (31, "31 hours"),
        (47.9, "48 hours"),
        (48, "2 days"),
        (50_000, "6 years"),
    ],
)
def test_durations_are_said_in_a_unit_that_fits(hours, words):
    assert planning._duration(hours) == words
