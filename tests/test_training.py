"""Windows to learn from, the loop, and what it leaves behind."""

import json
import math
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from rights import files_of_at_most

from oscine.config import read_config
from oscine.model.checkpoint import (
    RunConfig,
    find_checkpoint,
    load_checkpoint,
    load_provenance,
    weights_fingerprint,
)
from oscine.picture.activity import DB_PER_NAT
from oscine.picture.tape import TAPE_LOW, decoded
from oscine.steps import is_disk_full
from oscine.training.ahead import Ahead
from oscine.training.health import evaluate
from oscine.training.learner import LAST_RATE, Learner, make_optimiser, rate_share
from oscine.training.log import WAITING, read_losses, read_rewinds
from oscine.training.pretrain import (
    LEAST_STEPS,
    LOOK_EVERY,
    TrainingDiverged,
    last_checkpoint,
    pretrain,
)
from oscine.training.stopping import Stopped
from oscine.training.windows import EVALUATE, MEASURE, TRAIN, WindowSampler

FRAMES = tiny.PICTURE.window_frames
RUN = RunConfig(picture=tiny.PICTURE, model=tiny.MODEL, training=tiny.TRAINING)


def make_sampler(folder, lengths, events=(), order=None, kind=WindowSampler, **changes):
    """Return a sampler over recordings that lie on the tape in some order."""
    order = range(len(lengths)) if order is None else order
    pictures = [tiny.codes(lengths[number], number) for number in order]
    rows, at = [], 0
    for place, number in enumerate(order):
        row = tiny.recording(number, lengths[number], at, path=f"{place}.wav")
        rows.append(replace(row, recording_id=place + 1))
        at += lengths[number]
    ids = {number: place + 1 for place, number in enumerate(order)}
    found = [tiny.event(n, ids[number], start, stop) for n, (number, start, stop) in events]
    training = replace(tiny.TRAINING, **changes)
    return kind(tiny.tape(folder, pictures), rows, found, tiny.PICTURE, training)


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
    events = enumerate([(0, 50, 60), (1, 9, 80)])
    return make_sampler(tmp_path_factory.mktemp("tape"), [300, 200, 30], events)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, sampler):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    pretrain(folder, sampler, RUN, "archive")
    return folder


# Windows


def same_windows(one, other):
    return (
        np.array_equal(one.log_mel, other.log_mel)
        and np.array_equal(one.n_frames, other.n_frames)
        and np.array_equal(one.n_bands, other.n_bands)
        and [g.random() for g in one.generators] == [g.random() for g in other.generators]
    )


def test_a_window_depends_on_seed_step_and_sample_alone(sampler):
    many, few = sampler.draw(TRAIN, 3, 8), sampler.draw(TRAIN, 3, 2)
    assert np.array_equal(many.log_mel[:2], few.log_mel)
    assert [g.random() for g in many.generators[:2]] == [g.random() for g in few.generators]


@pytest.mark.parametrize(
    ("stream", "step", "seed"), [(TRAIN, 4, 0), (EVALUATE, 3, 0), (TRAIN, 3, 1)]
)
def test_other_steps_streams_and_seeds_give_other_windows(tmp_path, stream, step, seed):
    lengths = [3000, 2000]
    one = make_sampler(tmp_path / "one", lengths).draw(TRAIN, 3, 4)
    other = make_sampler(tmp_path / "other", lengths, seed=seed).draw(stream, step, 4)
    assert not any(np.array_equal(a, b) for a in one.log_mel for b in other.log_mel)


def test_neither_order_nor_names_of_recordings_matter(tmp_path):
    lengths, events = [300, 200, 30], [(0, 50, 60), (1, 9, 80), (0, 150, 170)]
    one = make_sampler(tmp_path / "one", lengths, enumerate(events))
    other = make_sampler(tmp_path / "other", lengths, enumerate(events[::-1]), order=[2, 0, 1])
    assert same_windows(one.draw(TRAIN, 5, 32), other.draw(TRAIN, 5, 32))
    assert one.statistics(64) == other.statistics(64)


def test_seven_windows_in_ten_show_the_middle_of_an_event(tmp_path):
    # The bands of the one event are silent, so that windows tell whether they show it.
    n_frames, middle = 20_000, 9000
    picture = np.full((n_frames, tiny.PICTURE.n_mels), 100, np.uint8)
    picture[middle] = 200
    sampler = WindowSampler(
        tiny.tape(tmp_path, [picture]),
        [tiny.recording(0, n_frames)],
        [tiny.event(0, 1, middle - 5, middle + 5)],
        tiny.PICTURE,
        replace(tiny.TRAINING, gain_db=0.0),
    )
    n_windows = 2000
    windows = sampler.draw(TRAIN, 0, n_windows).log_mel[:, :, 0]
    shown, where = np.nonzero(windows == windows.max())
    expected = 0.7 + 0.3 * FRAMES / n_frames
    assert len(shown) / n_windows == pytest.approx(expected, abs=4 * math.sqrt(0.21 / n_windows))
    # It stands anywhere in the window: each eighth of it has its share, within 5 deviations.
    counts = np.bincount(where // (FRAMES // 8), minlength=8)
    expected_count = len(shown) / 8
    assert np.all(np.abs(counts - expected_count) < 5 * math.sqrt(expected_count))


def test_other_windows_are_spread_over_the_time_of_the_archive(tmp_path):
    lengths = [640, 10_000]
    pictures = [np.full((n, tiny.PICTURE.n_mels), 50 + 100 * k) for k, n in enumerate(lengths)]
    rows = [tiny.recording(0, 640), tiny.recording(1, 10_000, 640)]
    training = replace(tiny.TRAINING, gain_db=0.0)
    sampler = WindowSampler(tiny.tape(tmp_path, pictures), rows, [], tiny.PICTURE, training)
    of_long = sampler.draw(TRAIN, 0, 1000).log_mel[:, 0, 0] == decoded(np.array(150))
    n_places = [length - FRAMES + 1 for length in lengths]
    assert of_long.mean() == pytest.approx(n_places[1] / sum(n_places), abs=0.03)


def test_short_recordings_are_followed_by_silence(tmp_path):
    sampler = WindowSampler(
        tiny.tape(tmp_path, [tiny.codes(20, 0)]),
        [tiny.recording(0, 20, n_valid_bands=24)],
        [tiny.event(0, 1, 0, 20)],
        tiny.PICTURE,
        replace(tiny.TRAINING, gain_db=0.0),
    )
    windows = sampler.draw(TRAIN, 0, 4)
    assert windows.n_frames.tolist() == 4 * [20]
    assert windows.n_bands.tolist() == 4 * [24]
    assert np.array_equal(windows.log_mel[:, :20], np.stack(4 * [decoded(tiny.codes(20, 0))]))
    assert np.all(windows.log_mel[:, 20:] == np.float32(TAPE_LOW))


def test_a_window_is_a_stretch_of_the_tape_made_louder_or_softer(tmp_path):
    picture = tiny.codes(500, 0)
    picture[:, 3] = 0  # what is silent stays silent when it is made softer
    sampler = WindowSampler(
        tiny.tape(tmp_path, [picture]), [tiny.recording(0, 500)], [], tiny.PICTURE, tiny.TRAINING
    )
    places = np.lib.stride_tricks.sliding_window_view(decoded(picture), FRAMES, axis=0)
    places = places.transpose(0, 2, 1)  # (places, FRAMES, F)
    gains_db = []
    for window in sampler.draw(TRAIN, 0, 50).log_mel:
        assert np.all(window[:, 3] >= np.float32(TAPE_LOW))
        louder = window[:, 4:] - places[:, :, 4:]
        spread = np.ptp(louder, axis=(1, 2))
        assert spread.min() < 1e-4
        gains_db.append(louder[spread.argmin()].mean() * DB_PER_NAT)
    assert -6 <= min(gains_db) < -4
    assert 4 < max(gains_db) <= 6


def test_statistics_are_those_of_sounding_values(tmp_path):
    # A flat picture whose invalid bands are full of noise: only the random gain makes it vary.
    picture = np.full((400, tiny.PICTURE.n_mels), 100, np.uint8)
    picture[:, 24:] = np.random.default_rng(0).integers(0, 256, (400, 8))
    row = tiny.recording(0, 400, n_valid_bands=24)
    short = tiny.recording(1, 30, 370, n_valid_bands=24)
    sampler = WindowSampler(
        tiny.tape(tmp_path, [picture]), [row, short], [], tiny.PICTURE, tiny.TRAINING
    )
    mean, deviation = sampler.statistics()
    gain = tiny.TRAINING.gain_db / DB_PER_NAT / math.sqrt(3)  # deviation of a uniform gain
    assert deviation == pytest.approx(gain, rel=0.05)
    assert mean == pytest.approx(float(decoded(np.array(100))), abs=0.15)

    windows = [sampler.draw(MEASURE, step, 64) for step in range(2)]
    values = np.concatenate(
        [
            picture[:frames, :bands].ravel()
            for batch in windows
            for picture, frames, bands in zip(
                batch.log_mel, batch.n_frames, batch.n_bands, strict=True
            )
        ]
    )
    assert sampler.statistics(128) == pytest.approx((values.mean(), values.std()), rel=1e-5)


def test_an_archive_without_sound_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no recording was heard: `oscine index FOLDER`"):
        WindowSampler(tiny.tape(tmp_path, [tiny.codes(9, 0)]), [], [], tiny.PICTURE, tiny.TRAINING)


# Schedule and optimiser


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_rate_rises_to_its_peak_then_falls(steps, warmup_share):
    shares = np.array([rate_share(step, steps, warmup_share) for step in range(steps)])
    peak = int(shares.argmax())
    assert shares[peak] == pytest.approx(1)
    assert np.all((shares > 0) & (shares <= 1 + 1e-12))
    assert np.all(np.diff(shares[: peak + 1]) >= 0)
    assert np.all(np.diff(shares[peak:]) <= 1e-12)
    assert peak <= max(1, round(warmup_share * steps))


def test_the_rate_is_linear_then_half_a_cosine():
    shares = [rate_share(step, 1000, 0.1) for step in range(1000)]
    assert shares[:100] == pytest.approx([(step + 1) / 100 for step in range(100)])
    assert shares[550] == pytest.approx((1 + LAST_RATE) / 2, abs=1e-3)
    assert shares[-1] == pytest.approx(LAST_RATE, abs=1e-4)


def test_matrices_decay_but_biases_norms_and_the_mask_token_do_not():
    model = tiny.model()
    optimiser = make_optimiser(model, tiny.TRAINING)
    names = {id(weight): name for name, weight in model.named_parameters()}
    decaying, others = (
        {names[id(weight)] for weight in group["params"]} for group in optimiser.param_groups
    )
    assert [group["weight_decay"] for group in optimiser.param_groups] == [
        tiny.TRAINING.weight_decay,
        0.0,
    ]
    assert decaying | others == set(names.values())
    assert not decaying & others
    assert "decoder.mask_token" in others
    assert all(name.endswith("weight") and "norm" not in name for name in decaying)
    assert all(name.endswith("bias") or "norm" in name for name in others - {"decoder.mask_token"})


# The loop


def interrupt_at(step):
    def progress(done, total, loss):
        if done == step:
            raise KeyboardInterrupt

    return progress


def test_learning_lowers_the_loss_below_its_start_and_its_baselines(tmp_path, sampler):
    training = replace(RUN.training, steps=80, checkpoint_every=20, learning_rate=1e-2)
    run = replace(RUN, training=training)
    told = []
    last = pretrain(tmp_path / "run", sampler, run, "archive", lambda *what: told.append(what))
    training, evaluation = read_losses(tmp_path / "run")

    assert last == tmp_path / "run" / "checkpoints" / "00000080"
    assert [what[:2] for what in told] == [(step, 80) for step in range(1, 81)]
    assert [row["step"] for row in training] == list(range(10, 81, 10))
    assert [losses.step for losses in evaluation] == [0, 20, 40, 60, 80]
    first, final = evaluation[0], evaluation[-1]
    assert final.loss < 0.7 * first.loss
    assert final.loss < min(final.loss_mean, final.loss_interpolation)
    assert {losses.loss_mean for losses in evaluation} == {first.loss_mean}
    assert {losses.loss_interpolation for losses in evaluation} == {first.loss_interpolation}
    provenance = load_provenance(last)
    assert (provenance["step"], provenance["archive"]) == (80, "archive")


def test_the_measured_loss_does_not_depend_on_the_step_it_is_measured_at(sampler):
    one, other = (evaluate(tiny.model(), sampler, tiny.TRAINING, step) for step in (0, 7))
    assert replace(one, step=7) == other
    better = evaluate(tiny.model(seed=1), sampler, tiny.TRAINING, 0)
    assert (better.loss_mean, better.loss_interpolation) == (
        one.loss_mean,
        one.loss_interpolation,
    )
    assert better.loss != one.loss


def files(folder):
    """Return all that a run left, by name; of the log, what is not a duration."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return found | ({"log.jsonl": log_rows(folder)} if "log.jsonl" in found else {})


def log_rows(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name != WAITING} for row in rows]


@pytest.mark.parametrize("stopped_at", [1, 4, 7, 12])
def test_a_stopped_run_ends_as_if_it_had_not_been_stopped(tmp_path, sampler, whole, stopped_at):
    torch.manual_seed(stopped_at)  # of no consequence
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path, sampler, RUN, "archive", interrupt_at(stopped_at))
    pretrain(tmp_path, sampler, RUN, "archive")
    # Weights, optimiser, provenance, log and figures alike; and only the newest checkpoints.
    assert files(tmp_path) == files(whole)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["00000008", "00000012"]


def ask_at(step, number=signal.SIGINT, times=1):
    """Send this process a signal while a step is told of, as Ctrl-C or a shutdown does."""

    def progress(done, total, loss):
        if done == step:
            for _ in range(times):
                signal.raise_signal(number)

    return progress


def checkpoints(folder):
    return sorted(path.name for path in (folder / "checkpoints").glob("*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("asked_at", "kept"),
    [(1, ["00000002"]), (4, ["00000004"]), (9, ["00000004", "00000008", "00000010"])],
)
def test_a_run_that_is_asked_to_stop_keeps_its_steps(
    tmp_path, sampler, whole, asked_at, kept, number
):
    before = signal.getsignal(number)
    said = rf"after step {int(kept[-1])} of 12, which is kept; run the same command again"
    with pytest.raises(Stopped, match=said):
        pretrain(tmp_path, sampler, RUN, "archive", ask_at(asked_at, number))
    assert signal.getsignal(number) is before
    assert checkpoints(tmp_path) == kept
    told = []
    pretrain(tmp_path, sampler, RUN, "archive", lambda done, *_: told.append(done))
    assert told[0] == int(kept[-1]) + 1
    assert files(tmp_path) == files(whole)


def test_who_stops_a_run_is_told_that_it_is_heard(tmp_path, sampler):
    told = []
    with pytest.raises(Stopped):
        pretrain(tmp_path, sampler, RUN, "archive", ask_at(3), note=told.append)
    (said,) = told
    assert said.startswith("stopping after this step, which is kept")


def test_a_run_may_be_stopped_again_and_again(tmp_path, sampler, whole):
    for asked_at in (1, 3, 5, 11):
        with pytest.raises(Stopped):
            pretrain(tmp_path, sampler, RUN, "archive", ask_at(asked_at))
    assert checkpoints(tmp_path) == ["00000004", "00000008", "00000012"][1:]
    pretrain(tmp_path, sampler, RUN, "archive")
    assert files(tmp_path) == files(whole)


@pytest.mark.parametrize(
    ("asked_at", "said"), [(2, "begins it again"), (6, "goes on from step 4, its last checkpoint")]
)
def test_a_second_signal_stops_at_once(tmp_path, sampler, whole, asked_at, said):
    with pytest.raises(Stopped, match=said):
        pretrain(tmp_path, sampler, RUN, "archive", ask_at(asked_at, times=2))
    assert checkpoints(tmp_path) == ["00000004"] * (asked_at > 4)
    pretrain(tmp_path, sampler, RUN, "archive")
    assert files(tmp_path) == files(whole)


def test_a_signal_that_is_ignored_stays_so(tmp_path, sampler):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell
    try:
        last = pretrain(tmp_path, sampler, RUN, "archive", ask_at(3))
    finally:
        signal.signal(signal.SIGINT, before)
    assert last.name == "00000012"


@pytest.mark.parametrize("torn", ['{"step": 6, "training_', "{"])
def test_a_torn_last_line_of_the_log_is_written_again(tmp_path, sampler, whole, torn):
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path, sampler, RUN, "archive", interrupt_at(5))
    with open(tmp_path / "log.jsonl", "a") as log:
        log.write(torn)
    pretrain(tmp_path, sampler, RUN, "archive")
    assert log_rows(tmp_path) == log_rows(whole)


def test_a_finished_run_is_left_alone(sampler, whole):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    last = pretrain(whole, sampler, RUN, "other", interrupt_at(1))
    assert last == whole / "checkpoints" / "00000012"
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_figure_that_was_removed_is_drawn_again(sampler, whole):
    before = files(whole)
    (whole / "reconstruction.png").unlink()
    pretrain(whole, sampler, RUN, "archive")
    assert files(whole) == before


@pytest.mark.parametrize(
    ("section", "changes", "named"),
    [
        ("training", {"learning_rate": 1e-4}, "training.learning_rate=0.003"),
        ("training", {"steps": 13}, "training.steps=12"),
        ("training", {"steps": 0, "minutes": 1.0}, "training.steps=12"),
        ("model", {"width": 32}, "model.width=16"),
        ("picture", {"low_hz": 100.0}, "picture.low_hz=50.0"),
    ],
)
def test_a_run_of_other_settings_is_refused_and_they_are_named(
    sampler, whole, section, changes, named
):
    other = replace(RUN, **{section: replace(getattr(RUN, section), **changes)})
    with pytest.raises(ValueError, match=f"begun with other settings: .*{named}.* --fresh"):
        pretrain(whole, sampler, other, "archive")


def test_minutes_become_steps_once(tmp_path, sampler):
    short = replace(RUN, training=replace(RUN.training, steps=0, minutes=0.001))
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path, sampler, short, "archive", interrupt_at(2))
    kept = read_config(tmp_path / "run.toml", RunConfig)
    assert kept.training.minutes == 0.001
    assert kept.training.steps >= LEAST_STEPS

    # Whatever the file says from now on holds: no second trial.
    file = tmp_path / "run.toml"
    text = file.read_text()
    assert f"steps = {kept.training.steps}\n" in text
    file.write_text(text.replace(f"steps = {kept.training.steps}\n", "steps = 9\n"))
    assert pretrain(tmp_path, sampler, short, "archive").name == "00000009"
    same_steps = replace(RUN, training=replace(RUN.training, steps=9, minutes=5.0))
    assert pretrain(tmp_path, sampler, same_steps, "archive").name == "00000009"
    longer = replace(RUN, training=replace(RUN.training, steps=0, minutes=2.0))
    with pytest.raises(ValueError, match=r"training.minutes=0.001"):
        pretrain(tmp_path, sampler, longer, "archive")


@pytest.mark.parametrize("worked_s", [0.0, 1e3])
def test_a_trial_that_was_starved_is_told_of(tmp_path, sampler, monkeypatch, worked_s):
    clock = iter(np.arange(100) * worked_s)
    monkeypatch.setattr("time.process_time", lambda: next(clock))
    short = replace(RUN, training=replace(RUN.training, steps=0, minutes=1e-6))
    said = []
    pretrain(tmp_path, sampler, short, "archive", note=said.append)
    assert [one[:60] for one in said] == [
        "the trial that set the number of steps (20) had a processor in 0%"[:60]
    ] * (worked_s == 0)


class FailingSampler(WindowSampler):
    """Gives windows without a number in them at one step of training."""

    fails_at = 0

    def draw(self, stream, step, samples):
        windows = super().draw(stream, step, samples)
        if stream == TRAIN and step == self.fails_at:
            windows.log_mel[:] = np.nan
        return windows


@pytest.mark.parametrize(
    ("fails_at", "good"), [(0, "there is none yet"), (6, "checkpoints/00000004:")]
)
def test_a_step_that_is_never_finite_stops_the_run(tmp_path, fails_at, good):
    sampler = make_sampler(tmp_path / "tape", [300, 200], kind=FailingSampler)
    sampler.fails_at = fails_at
    with pytest.raises(TrainingDiverged, match=rf"step {fails_at + 1} gave .*{good}"):
        pretrain(tmp_path / "run", sampler, RUN, "archive")
    last = last_checkpoint(tmp_path / "run")
    assert (last and last.name) == (f"{fails_at // 4 * 4:08d}" if fails_at else None)


def test_a_run_is_given_up_however_far_apart_its_bad_steps_are(tmp_path, monkeypatch):
    sampler = make_sampler(tmp_path / "tape", [300, 200])
    true_step, failed = Learner.step, set()

    def step(self, number, parts, *, measured=False):
        found = true_step(self, number, parts, measured=measured)
        if number % 4 == 2 and number not in failed:  # once between two checkpoints
            failed.add(number)
            return replace(found, loss=torch.tensor(torch.nan))
        return found

    monkeypatch.setattr(Learner, "step", step)
    run = replace(RUN, training=replace(RUN.training, steps=40))
    said = r"step 23 gave .* halved 5 times before; .*checkpoints/00000020: .*--fresh"
    with pytest.raises(TrainingDiverged, match=said):
        pretrain(tmp_path / "run", sampler, run, "archive")
    assert len(read_rewinds(tmp_path / "run")) == 5
    # The same command again has no more of them.
    failed.remove(22)
    with pytest.raises(TrainingDiverged, match=said):
        pretrain(tmp_path / "run", sampler, run, "archive")


@pytest.fixture
def shaky(monkeypatch):
    """Make steps 3 and 7 (from 1) give no number unless the rate is at most a quarter of its."""
    true_step = Learner.step

    def step(self, number, parts, *, measured=False):
        found = true_step(self, number, parts, measured=measured)
        if number in (2, 6) and self.rate_factor > {2: 0.5, 6: 0.25}[number]:
            return replace(found, loss=torch.tensor(torch.nan))
        return found

    monkeypatch.setattr(Learner, "step", step)


def test_a_run_goes_back_and_on_at_a_lower_rate(tmp_path, shaky):
    sampler = make_sampler(tmp_path / "tape", [300, 200])
    last = pretrain(tmp_path / "run", sampler, RUN, "archive")
    assert last.name == f"{RUN.training.steps:08d}"
    assert read_rewinds(tmp_path / "run") == [
        "Step 3 was not finite: the run went back to step 0, and on at 0.5 of the learning rate.",
        "Step 7 was not finite: the run went back to step 4, and on at 0.25 of the learning rate.",
    ]
    assert load_provenance(last)["rate_factor"] == 0.25
    _, losses = read_losses(tmp_path / "run")
    assert [one.step for one in losses] == sorted({one.step for one in losses})


def test_a_run_goes_back_where_its_gradient_alone_is_not_finite(tmp_path, monkeypatch):
    sampler = make_sampler(tmp_path / "tape", [300, 200])
    true_step, failed = Learner.step, []

    def step(self, number, parts, *, measured=False):
        if number != 6 or failed:
            return true_step(self, number, parts, measured=measured)
        hook = next(self.model.parameters()).register_hook(lambda gradient: gradient * torch.inf)
        failed.append(true_step(self, number, parts, measured=measured))
        hook.remove()
        return failed[0]

    monkeypatch.setattr(Learner, "step", step)
    last = pretrain(tmp_path / "run", sampler, RUN, "archive")
    assert torch.isfinite(failed[0].loss)
    assert read_rewinds(tmp_path / "run") == [
        "Step 7 was not finite: the run went back to step 4, and on at 0.5 of the learning rate."
    ]
    assert all(torch.isfinite(one).all() for one in load_checkpoint(last)[0].parameters())


@pytest.mark.parametrize("asked_at", [None, 2, 6, 9])
def test_figures_may_be_looked_at_together_as_on_a_gpu(tmp_path, monkeypatch, shaky, asked_at):
    sampler = make_sampler(tmp_path / "tape", [300, 200])
    pretrain(tmp_path / "each", sampler, RUN, "archive")
    monkeypatch.setitem(LOOK_EVERY, "cpu", 10)
    if asked_at is not None:
        with pytest.raises(Stopped):
            pretrain(tmp_path / "together", sampler, RUN, "archive", ask_at(asked_at))
    pretrain(tmp_path / "together", sampler, RUN, "archive")
    assert files(tmp_path / "together") == files(tmp_path / "each")


@pytest.mark.parametrize("asked_at", [1, 2, 4, 5, 6])
def test_a_run_that_goes_back_after_it_was_stopped_ends_the_same(tmp_path, shaky, asked_at):
    sampler = make_sampler(tmp_path / "tape", [300, 200])
    whole = pretrain(tmp_path / "whole", sampler, RUN, "archive")
    with pytest.raises(Stopped):
        pretrain(tmp_path / "stopped", sampler, RUN, "archive", ask_at(asked_at))
    pretrain(tmp_path / "stopped", sampler, RUN, "archive")
    assert files(tmp_path / "stopped") == files(whole.parent.parent)


@pytest.mark.parametrize("stopped_at", [1, 3, 5, 6, 8, 11])
def test_a_run_that_went_back_and_was_stopped_ends_the_same(tmp_path, shaky, stopped_at):
    sampler = make_sampler(tmp_path / "tape", [300, 200])
    whole = pretrain(tmp_path / "whole", sampler, RUN, "archive")
    calls = []

    def stop(*_):
        calls.append(1)
        if len(calls) == stopped_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path / "stopped", sampler, RUN, "archive", stop)
    stopped = pretrain(tmp_path / "stopped", sampler, RUN, "archive")
    assert weights_fingerprint(stopped) == weights_fingerprint(whole)
    assert log_rows(tmp_path / "stopped") == log_rows(tmp_path / "whole")
    assert load_provenance(stopped) == load_provenance(whole)


def test_a_run_that_went_back_behind_where_it_was_stopped_keeps_its_next_stop(
    tmp_path, monkeypatch
):
    sampler = make_sampler(tmp_path / "tape", [300, 200])
    true_step = Learner.step

    def step(self, number, parts, *, measured=False):
        found = true_step(self, number, parts, measured=measured)
        is_bad = number == 7 and self.rate_factor > 0.5
        return replace(found, loss=torch.tensor(torch.nan)) if is_bad else found

    monkeypatch.setattr(Learner, "step", step)
    run = tmp_path / "run"
    with pytest.raises(Stopped, match="step 7 "):
        pretrain(run, sampler, RUN, "archive", ask_at(6))
    assert checkpoints(run) == ["00000004", "00000007"]
    with pytest.raises(Stopped, match="step 6 of 12, which is kept"):
        pretrain(run, sampler, RUN, "archive", ask_at(5))
    assert checkpoints(run) == ["00000004", "00000006"]
    assert load_provenance(last_checkpoint(run))["rate_factor"] == 0.5


def test_a_run_that_goes_on_with_a_grown_archive_says_so(tmp_path, monkeypatch):
    sampler = make_sampler(tmp_path / "old", [300, 200])
    grown = make_sampler(tmp_path / "new", [300, 200, 400])
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        pretrain(run, sampler, RUN, "old", ask_at(4))
    assert read_rewinds(run) == []
    # Said once, however often it is stopped then, before its next checkpoint or after.
    with pytest.raises(KeyboardInterrupt):
        pretrain(run, grown, RUN, "new", interrupt_at(6))
    with pytest.raises(Stopped):
        pretrain(run, grown, RUN, "new", ask_at(9))
    last = pretrain(run, grown, RUN, "new")
    (said,) = read_rewinds(run)
    assert said.startswith("From step 5 on the run learned from other recordings than before")
    assert load_provenance(last)["archive"] == "new"
    pretrain(run, sampler, RUN, "old")  # finished: nothing is learned from it any more
    assert read_rewinds(run) == [said]


# Going on from another run


def test_a_run_begins_with_the_weights_of_another(tmp_path):
    sampler = make_sampler(tmp_path / "tape", [300, 200])
    first = pretrain(tmp_path / "first", sampler, RUN, "archive")
    _, before = read_losses(tmp_path / "first")
    second = pretrain(tmp_path / "second", sampler, RUN, "other", start=first)
    _, after = read_losses(tmp_path / "second")
    assert (after[0].step, after[0].loss) == (0, before[-1].loss)
    assert after[-1].loss < before[-1].loss
    assert load_provenance(second)["from"] == weights_fingerprint(first)
    # Finished, and asked for again: the same; with other weights, or others' sizes: refused.
    assert pretrain(tmp_path / "second", sampler, RUN, "other", start=first) == second
    with pytest.raises(ValueError, match=r"other weights .*--fresh"):
        pretrain(tmp_path / "first", sampler, RUN, "archive", start=second)
    wide = replace(RUN, model=replace(RUN.model, width=32))
    with pytest.raises(ValueError, match="other settings"):
        pretrain(tmp_path / "third", sampler, wide, "archive", start=first)


def test_a_run_from_another_that_was_stopped_at_once_goes_on_from_it(tmp_path):
    sampler = make_sampler(tmp_path / "tape", [300, 200])
    first = pretrain(tmp_path / "first", sampler, RUN, "archive")
    whole = pretrain(tmp_path / "whole", sampler, RUN, "archive", start=first)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path / "stopped", sampler, RUN, "archive", stop, start=first)
    # Also where the other is not named again, or is gone.
    stopped = pretrain(tmp_path / "stopped", sampler, RUN, "archive")
    assert weights_fingerprint(stopped) == weights_fingerprint(whole)


def test_a_checkpoint_is_found_at_its_run_and_its_workspace(tmp_path):
    run = tmp_path / "w" / "runs" / "default"
    sampler = make_sampler(tmp_path / "tape", [300, 200])
    last = pretrain(run, sampler, RUN, "archive")
    assert find_checkpoint(last) == find_checkpoint(run) == find_checkpoint(tmp_path / "w") == last
    with pytest.raises(FileNotFoundError, match="is no checkpoint, and holds none"):
        find_checkpoint(tmp_path)


# Figures


def is_near(picture, colour):
    return np.all(np.abs(picture[..., :3] - np.array(colour)) < 0.02, axis=-1)


def test_the_figures_show_something(whole):
    curves = imread(whole / "curves.png")
    assert min(curves.shape[:2]) > 300
    for colour in ((0.122, 0.467, 0.706), (1.0, 0.498, 0.055), (0.173, 0.627, 0.173)):
        assert is_near(curves, colour).sum() > 100  # the loss and its two baselines

    drawn = imread(whole / "reconstruction.png")
    third = drawn.shape[1] // 3
    # Three hidden quarters are grey in the middle; left and right hold more colours than that.
    recorded, seen, filled = (
        is_near(drawn[:, n * third : (n + 1) * third], 3 * (0.85,)).mean() for n in range(3)
    )
    assert 0.4 < seen < 0.8
    assert max(recorded, filled) < 0.5 * seen
    assert len(np.unique(drawn.reshape(-1, drawn.shape[2]), axis=0)) > 100


def test_raw_targets_are_learned_and_drawn_too(tmp_path, sampler):
    run = replace(RUN, training=replace(RUN.training, target="raw", steps=40))
    pretrain(tmp_path, sampler, run, "archive")
    _, evaluation = read_losses(tmp_path)
    assert evaluation[-1].loss < 0.9 * evaluation[0].loss
    assert imread(tmp_path / "reconstruction.png").std() > 0.1


# Faults


def torn(file):
    """Leave the first half of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("name", ["weights.safetensors", "optimiser.safetensors", "run.toml"])
def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(tmp_path, sampler, whole, name):
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path, sampler, RUN, "archive", interrupt_at(9))
    checkpoints = tmp_path / "checkpoints"
    torn(checkpoints / "00000008" / name)
    last = pretrain(tmp_path, sampler, RUN, "archive")
    assert weights_fingerprint(last) == weights_fingerprint(whole / "checkpoints" / last.name)
    assert read_rewinds(tmp_path) == [
        "A checkpoint was damaged (kept as damaged-00000008): the run went back to step 4."
    ]
    kept = sorted(path.name for path in checkpoints.iterdir())
    assert kept == ["00000008", "00000012", "damaged-00000008"]


def test_a_run_whose_checkpoints_are_all_damaged_says_so_and_leaves_them(tmp_path, sampler):
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path, sampler, RUN, "archive", interrupt_at(5))
    torn(tmp_path / "checkpoints" / "00000004" / "weights.safetensors")
    before = files(tmp_path)
    with pytest.raises(ValueError, match=r"00000004 is damaged .*no earlier one: use --fresh"):
        pretrain(tmp_path, sampler, RUN, "archive")
    assert files(tmp_path) == before


def test_a_checkpoint_of_another_run_is_refused_and_left(tmp_path, sampler):
    deeper = replace(RUN, model=replace(RUN.model, depth=2))
    other = pretrain(tmp_path / "other", sampler, deeper, "archive")
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        pretrain(run, sampler, RUN, "archive", interrupt_at(5))
    other.rename(run / "checkpoints" / other.name)
    before = files(run)
    with pytest.raises(ValueError, match=r"00000012 is a checkpoint of another run"):
        pretrain(run, sampler, RUN, "archive")
    assert files(run) == before


@pytest.mark.skipif(sys.platform == "win32", reason="files cannot be limited there")
@pytest.mark.parametrize("times", [0.5, 1.5])
def test_a_disk_that_is_full_at_a_checkpoint_leaves_the_last_one(tmp_path, sampler, whole, times):
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path, sampler, RUN, "archive", interrupt_at(5))
    good = files(tmp_path / "checkpoints" / "00000004")
    # No room for the weights, or for them but not for the optimiser, which has two of each.
    n_bytes = int(times * len(good["weights.safetensors"]))
    with files_of_at_most(n_bytes), pytest.raises(OSError, match="safetensors") as full:
        pretrain(tmp_path, sampler, RUN, "archive")
    assert is_disk_full(full.value)
    assert checkpoints(tmp_path) == ["00000004"]  # and nothing half written
    assert files(tmp_path / "checkpoints" / "00000004") == good
    pretrain(tmp_path, sampler, RUN, "archive")
    assert files(tmp_path) == files(whole)


@pytest.mark.parametrize(
    ("fails_at", "said"), [(0, "there was no checkpoint yet"), (6, "goes on from step 4, its last")]
)
def test_a_batch_that_does_not_fit_into_memory_is_told_of(
    tmp_path, sampler, monkeypatch, fails_at, said
):
    true_step = Learner.step

    def step(self, number, parts, *, measured=False):
        if number == fails_at:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate much.")
        return true_step(self, number, parts, measured=measured)

    monkeypatch.setattr(Learner, "step", step)
    advice = r"training has too little memory .*\(CUDA out of memory\.\): .*micro_batch=NUMBER"
    with pytest.raises(torch.OutOfMemoryError, match=f"{advice}.* run the same .*{said}"):
        pretrain(tmp_path, sampler, RUN, "archive")


def test_a_run_goes_on_in_other_parts(tmp_path, sampler):
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path, sampler, RUN, "archive", interrupt_at(5))
    small = replace(RUN, training=replace(RUN.training, micro_batch=3))
    assert pretrain(tmp_path, sampler, small, "archive").name == "00000012"


def test_what_failed_while_it_was_made_ahead_is_raised_when_it_is_taken():
    def make(number):
        if number == 2:
            raise FileNotFoundError("the card is gone")
        return number * number

    with Ahead(make, range(9)) as coming:
        assert [coming.take(), coming.take()] == [0, 1]
        with pytest.raises(FileNotFoundError, match="the card is gone"):
            coming.take()
    with Ahead(make, range(1)) as coming:
        assert coming.take() == 0
        assert coming.waited_s >= 0
        with pytest.raises(IndexError):
            coming.take()
