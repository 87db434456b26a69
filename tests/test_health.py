"""Is a run learning? Signs measured on real models, good ones and planted collapses; verdicts."""

import copy
import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from oscine import steps
from oscine.cli import main
from oscine.config import TrainingConfig
from oscine.model import autoencoder
from oscine.model.autoencoder import MaskedAutoencoder
from oscine.model.checkpoint import RunConfig, load_checkpoint
from oscine.model.masks import Masks
from oscine.synth import SynthConfig
from oscine.training import health
from oscine.training.figures import draw_health
from oscine.training.health import evaluate, measure
from oscine.training.log import Losses, Signs, read_losses, read_signs
from oscine.training.pretrain import pretrain
from oscine.training.verdicts import alarms, verdicts
from oscine.training.windows import WindowSampler

TRAINING = replace(tiny.TRAINING, steps=120, checkpoint_every=40, learning_rate=1e-2)
RUN = RunConfig(picture=tiny.PICTURE, model=tiny.MODEL, training=TRAINING)
PAGE = Path(__file__).parents[1] / "docs" / "health.md"


def make_sampler(folder, pictures, levels_db=None, training=TRAINING, **changes):
    """Return a sampler over recordings of codes."""
    starts = np.cumsum([0, *map(len, pictures)])
    rows = [
        tiny.recording(number, len(picture), int(start), **changes)
        for number, (picture, start) in enumerate(zip(pictures, starts[:-1], strict=True))
    ]
    events = [tiny.event(0, 1, 50, 60), tiny.event(1, 2, 9, 80)]
    tape = tiny.tape(folder, pictures, levels_db)
    return WindowSampler(tape, rows, events, tiny.PICTURE, training)


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
    pictures = [tiny.codes(n, number) for number, n in enumerate((900, 700, 800, 500))]
    return make_sampler(tmp_path_factory.mktemp("tape"), pictures)


@pytest.fixture(scope="module")
def good(tmp_path_factory, sampler):
    """The folder of a run that learned."""
    folder = tmp_path_factory.mktemp("good")
    pretrain(folder, sampler, RUN, "archive")
    return folder


def judged(folder, training=TRAINING):
    rows, losses = read_losses(folder)
    return verdicts(rows, losses, read_signs(folder), training)


def alarming(found):
    return [one.name for one in found if one.is_alarm]


# Good runs


def test_a_good_run_gives_no_alarm_and_a_verdict_on_every_sign_it_logged(good):
    found = judged(good)
    assert alarming(found) == alarms(found) == []
    assert [one.name for one in found] == [
        "loss",
        "loud patches",
        "course",
        "gradients",
        "updates",
        "collapse",
        "rogue dimension",
        "leak",
    ]
    assert all(one.value and one.words.endswith(".") for one in found)
    assert [one.step for one in read_signs(good)] == [0, 40, 80, 120]


def noisy(n_frames, seed):
    """Return codes of coloured noise with calls: sweeps of a pitch of their own."""
    rng = np.random.default_rng(seed)
    tilt = np.linspace(0, rng.uniform(-30, 30), tiny.PICTURE.n_mels)
    codes = 100 + tilt + rng.normal(0, 8, (n_frames, tiny.PICTURE.n_mels))
    for start in range(10, n_frames - 40, 60):
        pitch, slope = rng.uniform(4, 28), rng.uniform(-0.3, 0.3)
        for frame in range(30):
            band = np.arange(tiny.PICTURE.n_mels) - (pitch + slope * frame)
            codes[start + frame] += 90 * np.exp(-np.square(band) / 4)
    return np.rint(np.clip(codes, 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("seed", [1, 2])
def test_other_good_runs_give_none_either(tmp_path, seed):
    # Other recordings, another size, another seed.
    pictures = [noisy(600, 10 * seed + number) for number in range(6)]
    model = replace(tiny.MODEL, width=32, depth=seed)
    training = replace(TRAINING, seed=seed, learning_rate=5e-3)
    run = replace(RUN, model=model, training=training)
    pretrain(tmp_path / "run", make_sampler(tmp_path / "tape", pictures, None, training), run, "a")
    assert alarming(judged(tmp_path / "run", training)) == []


def test_signs_depend_on_nothing_but_model_and_archive(good, sampler):
    model, _, _ = load_checkpoint(good / "checkpoints" / "00000120")
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(1)
    signs = measure(model, sampler, TRAINING, 120)
    assert signs == read_signs(good)[-1]
    assert replace(signs, step=7) == measure(model, sampler, TRAINING, 7)
    assert evaluate(model, sampler, TRAINING, 120) == read_losses(good)[1][-1]
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


@pytest.mark.parametrize(("micro_batch", "most"), [(0, 64), (24, 24)])
def test_no_more_windows_are_measured_at_once_than_are_learned_from(
    good, sampler, micro_batch, most
):
    model, _, _ = load_checkpoint(good / "checkpoints" / "00000120")
    large = replace(TRAINING, batch_size=100, micro_batch=micro_batch)
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    found = [one(model, sampler, large, 0) for one in (evaluate, measure)]
    assert max(seen) == most
    whole = replace(TRAINING, batch_size=64)
    for one, function in zip(found, (evaluate, measure), strict=True):
        expected = asdict(function(model, sampler, whole, 0))
        for name, value in asdict(one).items():
            known = expected[name]
            assert value == (known if known is None else pytest.approx(known, rel=1e-3)), name


# Planted collapses, each on the run that learned: measured, then judged


def constant(model):
    model.encoder.norm.weight.zero_()


def nothing(model):
    model.encoder.norm.weight.zero_()
    model.encoder.norm.bias.zero_()


def drowned(model):
    """What the last block adds is far longer than all that differs."""
    model.encoder.blocks[-1].mlp[2].bias += 1000 * torch.linspace(-1, 1, tiny.MODEL.width)


def one_direction(model):
    """All that differs lies along one direction, which is no single dimension."""
    onto = torch.nn.Linear(tiny.MODEL.width, tiny.MODEL.width, bias=False)
    direction = torch.linspace(-1, 1, tiny.MODEL.width)
    onto.weight.copy_(torch.outer(direction, direction))
    model.encoder.norm = torch.nn.Sequential(model.encoder.norm, onto)


def loud_dimension(model):
    model.encoder.norm.weight[3] *= 100


def shifted_dimension(model):
    model.encoder.norm.bias[3] += 1000


@pytest.mark.parametrize(
    ("plant", "alarm", "said"),
    [
        (constant, "collapse", "The loss fell but the features are the same whatever sounds"),
        (nothing, "collapse", "The loss fell but the features are the same whatever sounds"),
        (drowned, "collapse", "The loss fell but the features are the same whatever sounds"),
        (one_direction, "collapse", "The loss fell but the features collapsed onto one direction"),
        (loud_dimension, "rogue dimension", "One dimension of the features drowns the others"),
        (shifted_dimension, "rogue dimension", "One dimension of the features drowns the others"),
    ],
)
def test_a_planted_collapse_raises_its_own_alarm_and_no_other(good, sampler, plant, alarm, said):
    model, _, _ = load_checkpoint(good / "checkpoints" / "00000120")
    with torch.no_grad():
        plant(model)
    rows, losses = read_losses(good)
    signs = [*read_signs(good), measure(model, sampler, TRAINING, 120)]
    found = verdicts(rows, losses, signs, TRAINING)
    assert alarming(found) == [alarm]
    (sentence,) = alarms(found)
    assert sentence.startswith(said)
    json.loads(json.dumps([asdict(one) for one in signs], allow_nan=False))


def sees_all(self, patches, grid, masks):
    both = torch.cat([masks.visible, masks.hidden], dim=1)
    features = self.encoder(patches, grid, both)[0]
    return self.decoder(features, grid, Masks(visible=both, hidden=masks.hidden))


def is_handed_targets(self, patches, grid, masks):
    hidden = autoencoder._gather(patches, masks.hidden)
    guess = self.decoder(self.encoder(patches, grid, masks.visible)[0], grid, masks)
    return guess + 0.3 * (hidden - hidden.mean(dim=-1, keepdim=True))


@pytest.mark.parametrize("leaking", [sees_all, is_handed_targets])
def test_a_model_that_sees_what_it_is_to_guess_is_found_out(
    tmp_path, monkeypatch, sampler, leaking
):
    monkeypatch.setattr(MaskedAutoencoder, "forward", leaking)
    pretrain(tmp_path, sampler, RUN, "archive")
    assert alarming(judged(tmp_path)) == ["leak"]


def test_a_target_that_is_known_is_found_out(monkeypatch, good, sampler):
    # The drawings do not change, but the loss is one of values that were never shuffled.
    model, _, _ = load_checkpoint(good / "checkpoints" / "00000120")
    monkeypatch.setattr(health, "loss_of", lambda drawn, batch, training: torch.tensor(0.2))
    signs = measure(model, sampler, TRAINING, 120)
    assert signs.hidden_change == 0
    assert alarming(verdicts([], [], [signs], TRAINING)) == ["leak"]


# Losses by level


def test_quarters_hold_a_quarter_of_the_hidden_patches_each(sampler):
    losses = evaluate(tiny.model(), sampler, TRAINING, 0)
    for whole, parts in (
        (losses.loss, losses.by_level),
        (losses.loss_mean, losses.mean_by_level),
        (losses.loss_interpolation, losses.interpolation_by_level),
    ):
        assert np.mean(parts) == pytest.approx(whole, rel=1e-4)


def test_what_stands_out_of_the_background_is_in_the_loudest_quarter(tmp_path):
    # Faint noise varies less than the damping, loud noise more: the mean's loss tells which is.
    rng = np.random.default_rng(0)
    picture = np.full((2000, tiny.PICTURE.n_mels), 100.0)
    picture += rng.normal(0, 0.5, picture.shape)
    for start in range(0, 2000, 64):  # one patch in four of the lower row, at every place
        picture[start : start + 16, :16] += 80 + rng.normal(0, 40, (16, 16))
    sampler = make_sampler(tmp_path, [np.rint(np.clip(picture, 0, 255)).astype(np.uint8)] * 2)
    by_level = evaluate(tiny.model(), sampler, TRAINING, 0).mean_by_level
    assert by_level[0] < 0.1
    assert by_level[-1] > 0.5


@pytest.mark.parametrize("n_frames", [16, 17, 40])
def test_archives_of_next_to_nothing_are_measured_too(tmp_path, n_frames):
    sampler = make_sampler(tmp_path, [tiny.codes(n_frames, 0), tiny.codes(n_frames, 1)])
    model = tiny.model()
    losses = evaluate(model, sampler, TRAINING, 1)
    signs = measure(model, sampler, TRAINING, 1)
    assert alarming(verdicts([], [losses], [signs], TrainingConfig())) == ["loss"]


# Backgrounds


def backgrounds(is_one_recorder):
    """Return quiet recordings: noise of one colour, or each of its own."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(12):
        colour = np.random.default_rng(0 if is_one_recorder else number).normal(0, 20, 32)
        pictures.append(np.rint(120 + colour + rng.normal(0, 4, (400, 32))).astype(np.uint8))
    return pictures


@pytest.mark.parametrize("is_one_recorder", [True, False])
def test_quiet_frames_give_away_their_recording_where_backgrounds_differ(tmp_path, is_one_recorder):
    quiet = [np.zeros(400)] * 12
    sampler = make_sampler(tmp_path, backgrounds(is_one_recorder), quiet)
    signs = measure(tiny.model(), sampler, TRAINING, 0)
    assert signs.background_chance == pytest.approx(1 / 23, abs=1e-4)
    low, high = (0, 0.3) if is_one_recorder else (0.9, 1)
    assert low <= signs.background_identity <= high
    assert low <= signs.background_in_sound <= high


def test_loud_frames_and_silence_are_no_background(tmp_path):
    pictures = backgrounds(is_one_recorder=False)
    loud = [np.full(400, 20.0)] * 10
    # Of two recordings alone there are two stretches, each of 64 of the frames that are quiet.
    some = np.where(np.arange(400) % 3 == 0, 0.0, 20.0)
    windows = make_sampler(tmp_path / "two", pictures, [*loud, some, some]).quiet(64)
    assert windows.log_mel.shape == (4, 64, 32)
    expected = [
        pictures[number][::3][part] for number in (10, 11) for part in (slice(64), slice(-64, None))
    ]
    found = [np.rint((one - one.min()) / 0.14) for one in windows.log_mel]
    wanted = [one.astype(float) - one.min() for one in expected]
    assert sorted(map(np.ndarray.tolist, found)) == sorted(map(np.ndarray.tolist, wanted))

    few = np.where(np.arange(400) < 127, 0.0, 20.0)
    assert make_sampler(tmp_path / "few", pictures, [*loud, some, few]).quiet(64) is None
    silent = [np.zeros((400, 32), np.uint8)] * 12
    assert make_sampler(tmp_path / "silent", silent, [np.zeros(400)] * 12).quiet(64) is None


# Verdicts on logs


GOOD = Signs(
    step=400,
    effective_rank=20.0,
    first_share=0.2,
    spread=0.5,
    mean_cosine=0.7,
    rogue_ratio=2.5,
    rogue_offset=15.0,
    background_identity=0.9,
    background_in_sound=0.95,
    background_chance=0.01,
    hidden_change=0.0,
    shuffled_loss=1.3,
)


def log_of(*values, mean=0.8, interpolation=1.2, by_level=(0.5, 0.6, 0.6, 0.6)):
    """Return losses at steps 0, 100, 200, ..."""
    return [
        Losses(
            step=100 * number,
            loss=value,
            loss_mean=mean,
            loss_interpolation=interpolation,
            by_level=by_level,
            mean_by_level=4 * (0.8,),
            interpolation_by_level=4 * (1.2,),
        )
        for number, value in enumerate(values)
    ]


def rows_of(**figures):
    return [{"step": step, "training_loss": 0.6, **figures} for step in range(10, 410, 10)]


FELL = log_of(1.3, 0.7, 0.6, 0.58, 0.57)
SETTINGS = TrainingConfig(steps=400)


@pytest.mark.parametrize(
    ("rows", "losses", "signs", "alarm", "said"),
    [
        ([], log_of(1.3, 1.31, 1.29, 1.3, 1.3), [], "loss", "is where it began"),
        ([], log_of(1.3, 1.1, 0.9, 0.81, 0.79), [], "loss", "each patch as its mean"),
        ([], log_of(1.3, 0.7, interpolation=0.6), [], "loss", "from the patches around"),
        (
            [],
            log_of(1.3, 0.7, by_level=(0.64, 0.66, 0.68, 0.76)),
            [],
            "loud patches",
            "little of what stands out",
        ),
        ([], log_of(1.3, 0.7, 0.55, 0.6, 0.65), [], "course", "has risen again"),
        (rows_of(gradient_norm=3.0), FELL, [], "gradients", "cut to the length"),
        (rows_of(update_share=3e-7), FELL, [], "updates", "hardly move"),
        (rows_of(update_share=0.3), FELL, [], "updates", "thrown about"),
        ([], FELL, [replace(GOOD, spread=0.005)], "collapse", "The loss fell but the features are"),
        ([], [], [replace(GOOD, effective_rank=1.1)], "collapse", "The features collapsed onto"),
        ([], FELL, [replace(GOOD, first_share=0.98)], "collapse", "onto one direction"),
        (
            [],
            FELL,
            [replace(GOOD, rogue_ratio=30.0, first_share=0.98)],
            "rogue dimension",
            "drowns",
        ),
        ([], FELL, [replace(GOOD, rogue_offset=1e6, spread=0.0)], "rogue dimension", "drowns"),
        ([], FELL, [replace(GOOD, hidden_change=1e-3)], "leak", "sees what it is to guess"),
        ([], FELL, [replace(GOOD, shuffled_loss=0.9)], "leak", "sees what it is to guess"),
        (
            [],
            FELL,
            [
                replace(GOOD, step=0, background_identity=0.6, background_in_sound=0.7),
                replace(GOOD, background_identity=0.95, background_in_sound=0.7),
            ],
            "background",
            "more than its background does",
        ),
    ],
)
def test_an_alarm_says_what_is_wrong_and_where_more_stands(rows, losses, signs, alarm, said):
    found = verdicts(rows, losses, signs, SETTINGS)
    assert alarming(found) == [alarm]
    (sentence,) = alarms(found)
    assert said in sentence
    (anchor,) = re.findall(r"docs/health\.md#([a-z-]+)", sentence)
    headings = re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in [heading.lower().replace(" ", "-") for heading in headings]


@pytest.mark.parametrize(
    ("rows", "losses", "signs"),
    [
        ([], [], []),
        (rows_of(gradient_norm=0.1, update_share=2e-3), FELL, [replace(GOOD, step=0), GOOD]),
        # Before the warm-up is over nothing is asked of loss, gradients and updates.
        (rows_of(gradient_norm=9.0, update_share=1e-9)[:2], log_of(1.3)[:1], []),
        # A run that began with the weights of another has little to gain.
        ([], log_of(0.551, 0.55, 0.549), []),
        # Among few recordings one more or less is chance.
        ([], FELL, [replace(GOOD, background_in_sound=0.5, background_chance=0.15)]),
        # It was so before training, too.
        ([], FELL, [replace(GOOD, step=0), replace(GOOD, background_in_sound=0.5)]),
        # Background that is as good as known, and calls that are learned: no fault.
        ([], log_of(1.3, 0.4, by_level=(0.05, 0.1, 0.2, 0.3)), []),
    ],
)
def test_what_is_well_or_not_known_raises_no_alarm(rows, losses, signs):
    assert alarming(verdicts(rows, losses, signs, SETTINGS)) == []


share = st.none() | st.floats(0, 1)
figure = st.floats(0, 1e6)
levels = st.just(()) | st.tuples(*4 * [figure])


@st.composite
def logs(draw):
    rows = draw(
        st.lists(
            st.fixed_dictionaries(
                {"step": st.integers(1, 1000), "training_loss": figure},
                optional={"gradient_norm": figure, "update_share": figure},
            ),
            max_size=30,
        )
    )
    losses = []
    for step in sorted(draw(st.sets(st.integers(0, 1000), max_size=5))):
        parts = draw(levels)
        losses.append(
            Losses(
                step=step,
                loss=draw(figure),
                loss_mean=draw(figure),
                loss_interpolation=draw(figure),
                by_level=parts,
                mean_by_level=parts and draw(st.tuples(*4 * [figure])),
                interpolation_by_level=parts,
            )
        )
    kinds = {"step": st.integers(0, 1000)}
    for one in fields(Signs):
        kinds.setdefault(one.name, share if "background" in one.name else figure)
    signs = draw(st.lists(st.builds(Signs, **kinds), max_size=4))
    return rows, losses, sorted(signs, key=lambda one: one.step)


@given(logs(), st.integers(0, 1000))
def test_any_log_has_verdicts(log, n_steps):
    found = verdicts(*log, TrainingConfig(steps=n_steps))
    assert len({one.name for one in found}) == len(found)
    assert all(one.words.endswith(".") for one in found)
    assert len(alarms(found)) == len(alarming(found))


def test_logs_of_older_versions_are_read(tmp_path):
    lines = [
        '{"step": 0, "loss": 1.3, "loss_mean": 0.8, "loss_interpolation": 1.2}',
        '{"step": 10, "training_loss": 1.2}',
        '{"step": 20, "loss": 0.6, "loss_mean": 0.8, "loss_interpolation": 1.2}',
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    assert read_signs(tmp_path) == []
    found = judged(tmp_path)
    assert [one.name for one in found] == ["loss", "course"]
    assert alarming(found) == []
    draw_health(tmp_path / "health.png", *read_losses(tmp_path), [], TRAINING)
    assert is_drawn(tmp_path / "health.png")


# What people see


def is_drawn(file, colour=(0.122, 0.467, 0.706)):
    picture = imread(file)[..., :3]
    return bool(np.sum(np.all(np.abs(picture - np.array(colour)) < 0.02, axis=-1)) > 50)


def test_the_figure_shows_alarms_in_red(tmp_path, good):
    red = (0.839, 0.153, 0.157)
    assert is_drawn(good / "health.png")
    assert not is_drawn(good / "health.png", red)
    rows, losses = read_losses(good)
    signs = [*read_signs(good), replace(GOOD, step=120, hidden_change=0.5)]
    draw_health(tmp_path / "health.png", rows, losses, signs, TRAINING)
    assert is_drawn(tmp_path / "health.png", red)


def test_the_figure_bears_zeros_and_what_is_missing(tmp_path):
    nothing = {name: 0.0 for name in ("spread", "rogue_ratio", "rogue_offset", "first_share")}
    signs = [replace(GOOD, **nothing, background_identity=None, background_chance=None)]
    rows = rows_of(gradient_norm=0.0, update_share=0.0)
    draw_health(tmp_path / "zeros.png", rows, log_of(0.0, 0.0, mean=0.0), signs, SETTINGS)
    draw_health(tmp_path / "nothing.png", [], [], [], TrainingConfig())
    assert is_drawn(tmp_path / "zeros.png")
    assert not is_drawn(tmp_path / "nothing.png")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("health") / "archive"
    steps.synth(folder, SynthConfig(minutes=1))
    return folder


def test_a_made_up_forest_is_learned_without_alarm_and_a_bad_run_with(archive, tmp_path, capsys):
    work = tmp_path / "w"
    small = ["picture.n_mels=64", "picture.window_frames=128"]
    steps.index([archive], work, settings=small)
    settings = [*tiny.SETTINGS, "training.checkpoint_every=75", "training.learning_rate=1e-2"]
    report = steps.pretrain(work, steps=150, settings=settings)
    assert alarming(report.health) == report.notes == steps.status(work).notes == []

    bad = steps.pretrain(
        work, steps=40, fresh=True, settings=[*settings, "training.learning_rate=1e-9"]
    )
    (note,) = bad.notes
    assert note.startswith("The loss is where it began")
    assert steps.status(work).notes == [note]
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["pretrain", "-w", str(work), "--steps", "40"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert re.search(r"^health +1 alarm$", shown, re.MULTILINE)
    assert f"note: {note}" in shown
    with pytest.raises(SystemExit):
        main(["pretrain", "-w", str(work), "--steps", "40", "--json"])
    health = json.loads(capsys.readouterr().out)["health"]
    assert [one["name"] for one in health if one["is_alarm"]] == ["loss"]

    # A model from elsewhere is judged on this archive, without what it was before training.
    good_run = work / "runs" / "default.1"
    taken = steps.take_model(work, good_run)
    assert alarming(taken.health) == steps.status(work).notes == []
    assert {"loss", "collapse", "leak"} <= {one.name for one in taken.health}
