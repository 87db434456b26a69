"""What the arms of the sweep add to pretraining, and how its report compares them."""

import itertools
import json
from argparse import Namespace
from dataclasses import asdict, replace

import numpy as np
import pytest
import sweep
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from pretraining.arms import (
    ALL,
    ARMS,
    BACKGROUND_SNR_DB,
    BASELINE,
    MASK_SCORES,
    Archive,
    Arm,
    Parts,
    SlowCopy,
    both_losses,
    draw_scored,
    find_arm,
    make_optimisers,
    repeated,
    train,
    with_backgrounds,
)

from oscine.embedding.backgrounds import QuietFrames
from oscine.model.autoencoder import MaskedAutoencoder
from oscine.model.checkpoint import RunConfig
from oscine.model.masks import draw_masks
from oscine.model.patches import PatchGrid, patchify, valid_patches, valid_values
from oscine.picture.tape import TAPE_LOW
from oscine.training.batches import Batch, batch_loss, make_batch
from oscine.training.windows import TRAIN, Windows, WindowSampler

RUN = RunConfig(picture=tiny.PICTURE, model=tiny.MODEL, training=tiny.TRAINING)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    pictures = [tiny.codes(length, number) for number, length in enumerate([300, 200])]
    recordings = [tiny.recording(0, 300), tiny.recording(1, 200, 300)]
    return Archive(
        tape=tiny.tape(tmp_path_factory.mktemp("tape"), pictures, [np.zeros(300), np.zeros(200)]),
        recordings=recordings,
        event_rows=[tiny.event(0, 1, 50, 60)],
        events=[],
        windows=[],
        fingerprint="tiny",
    )


@pytest.fixture(scope="module")
def windows(archive):
    sampler = WindowSampler(
        archive.tape, archive.recordings, archive.event_rows, tiny.PICTURE, tiny.TRAINING
    )
    return sampler.draw(TRAIN, 0, 8)


def generators(n, seed=0):
    return [np.random.default_rng([seed, number]) for number in range(n)]


def random_batch(grid, n_frames, n_bands):
    n = len(n_frames)
    frames, bands = np.array(n_frames), np.full(n, n_bands)
    picture = np.random.default_rng(0).normal(size=(n, grid.n_frames, grid.n_bands))
    windows = Windows(
        log_mel=picture.astype(np.float32),
        n_frames=frames,
        n_bands=bands,
        generators=tuple(generators(n)),
    )
    values = valid_values(torch.from_numpy(frames), torch.from_numpy(bands), grid)
    patches = patchify(torch.from_numpy(windows.log_mel), grid)
    batch = Batch(patches=patches, values=values, grid=grid, masks=None, n_hidden_values=0)
    return batch, windows


def as_sets(index):
    return [set(row[row >= 0].tolist()) for row in index]


def test_every_arm_can_be_made_and_changes_something():
    made = [sweep.settings_of(arm, 0) for arm in ALL]
    texts = {json.dumps(one, sort_keys=True) for one in made}
    assert len(texts) == len(ALL) == len(ARMS)
    assert all(arm.run(3).training.seed == 3 for arm in ALL)


def test_joined_arms_hold_the_changes_of_all():
    both = find_arm("mask-ratio-.5+latent-1+masks-time")
    assert both.run(0).training.mask_ratio == 0.5
    assert both.parts == Parts(latent_weight=1.0, masks="time")


@pytest.mark.parametrize("name", ["latent-1+latent-.3", "batch-8+masks-2-a-clip", "nothing"])
def test_arms_that_change_the_same_or_are_unknown_are_refused(name):
    with pytest.raises(ValueError, match=r"cannot be joined|there is no arm"):
        find_arm(name)


@given(
    kind=st.sampled_from(sorted(MASK_SCORES)),
    ratio=st.floats(0.3, 0.8),
    n_frames=st.lists(st.integers(1, 64), min_size=1, max_size=3),
    n_bands=st.sampled_from([16, 24, 32]),
    shape=st.sampled_from([(8, 8), (4, 16), (16, 4)]),
)
def test_masks_of_every_kind_hide_as_many_as_those_of_oscine(kind, ratio, n_frames, n_bands, shape):
    grid = PatchGrid.covering(64, 32, *shape)
    batch, windows = random_batch(grid, n_frames, n_bands)
    counts = torch.from_numpy(windows.n_frames), torch.from_numpy(windows.n_bands)
    valid = valid_patches(*counts, grid).numpy()
    found = draw_scored(batch, windows, ratio, kind)
    usual = draw_masks(valid, grid, ratio=ratio, block_share=0.5, generators=generators(len(valid)))
    for row, (hidden, visible, like) in enumerate(
        zip(*map(as_sets, (found.hidden, found.visible, usual.hidden)), strict=True)
    ):
        assert len(hidden) == len(like)
        assert not hidden & visible
        assert hidden | visible == set(np.flatnonzero(valid[row]).tolist())


def test_time_masks_hide_whole_columns_and_frequency_masks_whole_rows():
    grid = PatchGrid.covering(256, 128, 16, 16)
    batch, windows = random_batch(grid, [256] * 6, 128)
    for kind, axis in (("time", 1), ("frequency", 0)):
        masks = draw_scored(batch, windows, 0.75, kind)
        for row in masks.hidden.numpy():
            hidden = np.zeros(grid.n_patches, bool)
            hidden[row] = True
            share = hidden.reshape(grid.n_time, grid.n_mel).mean(axis=axis)
            assert sorted(set(share)) == [0.0, 1.0]
            assert share.mean() == 0.75


def test_dispersion_masks_hide_patches_that_vary_more_often_than_others():
    grid = PatchGrid.covering(64, 32, 8, 8)
    batch, windows = random_batch(grid, [64] * 200, 32)
    is_lively = np.arange(grid.n_patches) % 2 == 0
    lively = 0.3 * torch.from_numpy(is_lively)[:, None]
    batch = replace(batch, patches=batch.patches * lively)
    masks = draw_scored(batch, windows, 0.5, "dispersion")
    share = is_lively[masks.hidden.numpy()].mean()
    assert 0.6 < share < 0.9


def test_without_parts_the_loss_is_that_of_oscine(windows):
    model = tiny.model()
    batch = make_batch(windows, model, tiny.TRAINING, CPU)
    ours, _ = both_losses(model, batch, batch.patches, tiny.TRAINING)
    assert ours.item() == batch_loss(model, batch, tiny.TRAINING).item()


def test_several_masks_of_one_clip_differ_and_their_clips_do_not(windows):
    fresh = replace(windows, generators=tuple(generators(8)))
    batch = make_batch(repeated(fresh, 2), tiny.model(), tiny.TRAINING, CPU)
    assert torch.equal(batch.patches[0::2], batch.patches[1::2])
    pairs = zip(batch.masks.hidden[0::2], batch.masks.hidden[1::2], strict=True)
    # 6 of 8 patches are hidden: now and then two masks are the same by chance.
    assert sum(not torch.equal(one, other) for one, other in pairs) >= 5


def backgrounds(level, n_bands=32):
    row = tiny.recording(7, 100, n_valid_bands=n_bands)
    frames = level + np.random.default_rng(1).normal(0, 0.1, (100, 32))
    return [QuietFrames(recording=row, log_mel=frames.astype(np.float32))]


def test_a_background_is_added_at_its_level_and_the_clean_picture_stays(windows):
    clean = windows.log_mel.copy()
    drawn = replace(windows, generators=tuple(generators(8)))
    mixed = with_backgrounds(drawn, backgrounds(-9.0), 1.0)
    assert np.array_equal(windows.log_mel, clean)
    for number in range(8):
        length = windows.n_frames[number]
        own, both = (np.exp(x[number, :length].astype(float)) for x in (clean, mixed))
        added = (both - own).mean()
        snr_db = 10 * np.log10(own.mean() / added)
        assert BACKGROUND_SNR_DB[0] - 0.1 < snr_db < BACKGROUND_SNR_DB[1] + 0.1
        assert (mixed[number, length:] == TAPE_LOW).all()


def test_backgrounds_are_as_frequent_as_asked_and_have_the_bands(windows):
    many = Windows(
        log_mel=np.repeat(windows.log_mel, 50, axis=0),
        n_frames=np.repeat(windows.n_frames, 50),
        n_bands=np.repeat(windows.n_bands, 50),
        generators=tuple(generators(400)),
    )
    mixed = with_backgrounds(many, backgrounds(-9.0), 0.5)
    assert 0.4 < (mixed != many.log_mel).any(axis=(1, 2)).mean() < 0.6
    few = replace(many, generators=tuple(generators(400)))
    assert np.array_equal(with_backgrounds(few, backgrounds(-9.0, n_bands=16), 1.0), many.log_mel)


def test_the_slow_copy_sees_nothing_but_the_hidden_patches(windows):
    model = tiny.model()
    batch = make_batch(windows, model, tiny.TRAINING, CPU)
    slow = SlowCopy(model, 0)
    features = slow.features(batch)
    changed = batch.patches.clone()
    for row, visible in zip(changed, batch.masks.visible, strict=True):
        row[visible[visible >= 0]] = 5.0
    assert torch.equal(features, slow.features(replace(batch, patches=changed)))
    assert slow.loss(features, batch).item() == pytest.approx(0, abs=1e-5)
    assert slow.loss(-features, batch).item() == pytest.approx(4, abs=1e-5)


def test_the_slow_copy_follows_and_learns_nothing_itself(windows):
    model = tiny.model()
    slow = SlowCopy(model, 0)
    before = slow.encoder.embed.weight.clone()
    batch = make_batch(windows, model, tiny.TRAINING, CPU)
    loss, beside = both_losses(model, batch, batch.patches, tiny.TRAINING, slow, 0.5)
    loss.backward()
    assert beside > 0
    assert all(weight.grad is None for weight in slow.encoder.parameters())
    assert model.encoder.embed.weight.grad is not None
    with torch.no_grad():
        model.encoder.embed.weight += 1.0
    for share, moved in ((0.0, 0.01), (1.0, 0.001)):
        slow.encoder.embed.weight.copy_(before)
        slow.follow(model.encoder, share)
        assert torch.allclose(slow.encoder.embed.weight - before, torch.tensor(moved), atol=1e-5)


def test_a_model_that_had_a_slow_copy_draws_as_before_when_it_is_gone(windows):
    model, untouched = tiny.model(), tiny.model()
    batch = make_batch(windows, untouched, tiny.TRAINING, CPU)
    slow = SlowCopy(model, 0)
    wide = model(batch.patches, batch.grid, batch.masks)
    drawn = untouched(batch.patches, batch.grid, batch.masks)
    torch.testing.assert_close(wide[..., : drawn.shape[-1]], drawn)
    slow.leave(model)
    torch.testing.assert_close(model(batch.patches, batch.grid, batch.masks), drawn)
    MaskedAutoencoder(tiny.MODEL, tiny.PICTURE).load_state_dict(model.state_dict())


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest():
    model = tiny.model()
    adam, muon = make_optimisers(model, RUN, 0.01)
    names = {id(weight): name for name, weight in model.named_parameters()}
    taken = [
        [names[id(weight)] for group in one.param_groups for weight in group["params"]]
        for one in (adam, muon)
    ]
    assert sorted(taken[0] + taken[1]) == sorted(names.values())
    assert all(".blocks." in name and name.endswith(".weight") for name in taken[1])
    assert "encoder.embed.weight" in taken[0]
    assert "decoder.draw.weight" in taken[0]
    assert {group["peak"] for group in muon.param_groups} == {0.01}


@pytest.mark.parametrize(
    "parts",
    [
        Parts(),
        Parts(masks="dispersion", masks_per_clip=2, background_share=1.0),
        Parts(latent_weight=1.0, muon_rate=0.001),
    ],
    ids=["none", "pictures", "losses"],
)
def test_training_lowers_the_loss_and_ends_with_a_model_of_oscine(archive, parts, monkeypatch):
    ticks = itertools.count()  # the processor's time goes on by a tick whenever it is asked for
    monkeypatch.setattr("pretraining.arms.time.process_time", lambda: next(ticks) / 64)
    model, facts = train(RUN, parts, archive, 1.0)
    assert 40 < facts["steps"] < 64
    assert facts["windows"] == facts["steps"] * tiny.TRAINING.batch_size
    assert facts["loss"][-1] < facts["loss"][0]
    MaskedAutoencoder(tiny.MODEL, tiny.PICTURE).load_state_dict(model.state_dict())


def test_without_time_the_weights_are_those_that_training_begins_with(archive):
    model, facts = train(RUN, Parts(), archive, 0.0)
    assert facts["steps"] == 0
    begun = tiny.model(tiny.TRAINING.seed)
    assert torch.equal(model.encoder.embed.weight, begun.encoder.embed.weight)


def test_individuals_are_told_by_calls_of_other_days():
    birds = ["a", "a", "a", "b", "b", "c"]
    days = ["1", "1", "2", "1", "2", "1"]
    bird_vectors = np.eye(3)[[0, 0, 0, 1, 1, 2]]
    found = sweep.individual_scores(bird_vectors, birds, days)
    assert found["origin"].tolist() == ["a 1", "a 1", "a 2", "b 1", "b 2"]
    assert (found["auc"] == 1).all()
    assert found["pooled"] == [1]
    # Nothing but the day is told: calls of one day are alike, whoever calls.
    of_days = np.eye(2)[[0, 0, 1, 0, 1, 0]]
    assert (sweep.individual_scores(of_days, birds, days)["auc"] < 0.5).all()


def plan(stage, **changes):
    given = {"stage": stage, "arms": None, "minutes": None, "seeds": None} | changes
    return [job.name for job in sweep.planned(Namespace(**given))]


def test_the_screen_has_every_arm_once_and_every_shape_of_encoder_untrained():
    names = plan("screen")
    assert {f"{name}-8-0" for name in ARMS} <= set(names)
    assert names[:3] == ["baseline-8-0", "baseline-0-0", "patches-8-frames-16-bands-8-0"]
    untrained = [name.removesuffix("-0-0") for name in names if name.endswith("-0-0")]
    assert len(untrained) == 9
    assert len(names) == len(set(names)) == len(ARMS) + 9 + 2


def test_finals_and_combinations_have_the_baseline_beside_them():
    finals = plan("finals", arms=["batch-8"])
    assert {"baseline-16-2", "batch-8-16-0", "baseline-0-0"} <= set(finals)
    assert "batch-8+latent-1-2-1" in plan("combine", arms=["batch-8", "latent-1"], minutes=2)
    with pytest.raises(ValueError, match="name the arms"):
        plan("finals")


def write_run(work, arm, seed, score, minutes=4.0):
    """Write a run with a score a query: 30 recordings of two queries, the last ten at 0."""
    job = sweep.Job(arm=arm, minutes=minutes, seed=seed)
    rng = np.random.default_rng(seed)
    values = score + rng.normal(0, 0.01, 60)
    origin = np.repeat(np.arange(30), 2).astype(str)
    arrays = {f"{of}.{key}": values for of, key in sweep.MEASURES.values()}
    arrays |= {f"{of}.origin": origin for of, _ in sweep.MEASURES.values()}
    file = sweep.result_file(job, work)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file.with_suffix(".npz"), **arrays)
    training = {"steps": 100, "windows": 1600, "processor_s": 240.0, "probe_ms": 1.0}
    result = {
        "job": asdict(job),
        "settings": sweep.settings_of(find_arm(arm), seed),
        "scoring": sweep.SCORING,
        "training": training,
        "evaluation": {"step": 100, "loss": 0.5, "loss_mean": 0.9, "loss_interpolation": 0.8},
        "scores": {name: float(values.mean()) for name in sweep.MEASURES},
        "readout": {"layers": [0, 1]},
        "scoring_s": 60.0,
    }
    sweep.write_result(file, result)
    return job


def test_the_report_puts_the_best_arm_first_and_compares_the_same_seeds(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, BASELINE, seed, 0.5)
    write_run(tmp_path, BASELINE, 0, 0.3, minutes=0)
    write_run(tmp_path, "batch-8", 0, 0.6)
    write_run(tmp_path, "batch-32", 0, 0.4)
    write_run(tmp_path, "batch-64", 0, 0.5, minutes=8.0)
    result = sweep.report(tmp_path)
    rows = {row["arm"]: row for row in result["minutes"]["4"]}
    assert list(rows) == ["batch-8", BASELINE, "batch-32"]
    gain = rows["batch-8"]["less_baseline"]["species mAP"]
    assert gain["difference"] == pytest.approx(0.1, abs=1e-3)
    assert gain["outside"]
    assert rows["batch-8"]["compared_seeds"] == [0]
    assert rows["batch-8"]["less_untrained"]["species mAP"]["outside"]
    assert "less_baseline" not in result["minutes"]["8"][0]
    json.dumps(result)
    text = sweep.as_markdown(result)
    assert "| batch-8 | 0 | 100 | 1.00 | 0, 1 | 0.6" in text
    assert "**-0.1" in text


def test_a_finished_run_is_not_made_again_and_one_of_other_settings_is_refused(tmp_path):
    job = write_run(tmp_path, "batch-8", 0, 0.5)
    assert sweep.is_finished(job, tmp_path)
    assert not sweep.is_finished(replace(job, seed=1), tmp_path)
    file = sweep.result_file(job, tmp_path)
    result = json.loads(file.read_text())
    sweep.write_result(file, {**result, "scoring": sweep.SCORING - 1})
    assert not sweep.is_finished(job, tmp_path)
    other = sweep.settings_of(Arm(name="x", overrides=("training.batch_size=9",)), 0)
    sweep.write_result(file, {**result, "settings": other})
    with pytest.raises(SystemExit, match="other settings"):
        sweep.is_finished(job, tmp_path)
