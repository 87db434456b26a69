"""Patches, masks, transformer, autoencoder, checkpoints: held against torch and brute force."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

from oscine.config import ModelConfig, PictureConfig, TrainingConfig
from oscine.model.autoencoder import (
    Encoder,
    MaskedAutoencoder,
    baseline_losses,
    hidden_values,
    initialise,
    masked_loss,
    targets,
)
from oscine.model.checkpoint import (
    RunConfig,
    load_checkpoint,
    load_optimiser,
    optimiser_state,
    restore_optimiser,
    save_checkpoint,
    weights_fingerprint,
)
from oscine.model.masks import NO_PATCH, Masks, all_visible, draw_masks
from oscine.model.patches import (
    PatchGrid,
    n_valid_values,
    patchify,
    positions,
    unpatchify,
    valid_patches,
    valid_values,
)
from oscine.model.transformer import Attention, Block

MADE = {"step": 1, "archive": "none"}
RUN = RunConfig(
    picture=PictureConfig(n_mels=16),
    model=ModelConfig(
        patch_frames=4,
        patch_bands=4,
        width=24,
        depth=3,
        heads=2,
        decoder_width=16,
        decoder_depth=2,
        decoder_heads=2,
    ),
    training=TrainingConfig(steps=10),
)
GRID = PatchGrid(n_time=6, n_mel=4, patch_frames=4, patch_bands=4)


def tensor(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generators(n, seed=0):
    return [np.random.default_rng([seed, row]) for row in range(n)]


@st.composite
def grids(draw):
    sizes = st.integers(1, 6)
    return PatchGrid(
        n_time=draw(st.integers(1, 12)),
        n_mel=draw(st.integers(1, 9)),
        patch_frames=draw(sizes),
        patch_bands=draw(sizes),
    )


# Patches


@given(grids(), st.integers(1, 3))
def test_unpatchify_is_the_exact_inverse(grid, n_pictures):
    picture = tensor(n_pictures, grid.n_frames, grid.n_bands)
    patches = patchify(picture, grid)
    assert patches.shape == (n_pictures, grid.n_patches, grid.patch_values)
    assert torch.equal(unpatchify(patches, grid), picture)
    assert torch.equal(patchify(unpatchify(patches, grid), grid), patches)


def test_patches_are_time_major_and_so_are_their_values():
    picture = tensor(1, GRID.n_frames, GRID.n_bands)
    patches = patchify(picture, GRID)
    for t in range(GRID.n_time):
        for m in range(GRID.n_mel):
            piece = picture[0, 4 * t : 4 * t + 4, 4 * m : 4 * m + 4]
            assert torch.equal(patches[0, t * GRID.n_mel + m], piece.flatten())


def test_a_picture_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a picture of 23 frames x 16 bands does not fit"):
        patchify(tensor(1, 23, 16), GRID)
    with pytest.raises(ValueError, match="16 mel bands do not divide into patches of 5"):
        PatchGrid.covering(24, 16, patch_frames=4, patch_bands=5)


@pytest.mark.parametrize(("n_frames", "n_time"), [(0, 1), (1, 1), (4, 1), (5, 2), (24, 6)])
def test_the_grid_covers_the_picture(n_frames, n_time):
    grid = PatchGrid.covering(n_frames, 16, patch_frames=4, patch_bands=4)
    assert grid == replace(GRID, n_time=n_time)


@given(grids(), st.data())
def test_padding_and_bands_above_nyquist_are_never_sound(grid, data):
    n_frames = data.draw(st.integers(1, grid.n_frames))
    n_bands = data.draw(st.integers(1, grid.n_bands))
    values = valid_values(torch.tensor([n_frames]), torch.tensor([n_bands]), grid)
    sound = unpatchify(values, grid)[0]
    n_whole = n_bands // grid.patch_bands * grid.patch_bands  # bands of whole rows of patches
    assert sound[:n_frames, :n_whole].all()
    assert sound.sum() == n_frames * n_whole

    n_sound = n_valid_values(torch.tensor([n_frames]), torch.tensor([n_bands]), grid)
    assert torch.equal(n_sound, values.sum(dim=-1))
    tokens = valid_patches(torch.tensor([n_frames]), torch.tensor([n_bands]), grid)[0]
    share = values[0].float().mean(dim=1)
    assert tokens.any() == (n_whole > 0)
    is_above = (torch.arange(grid.n_bands) >= n_bands).expand(1, grid.n_frames, -1)
    assert not patchify(is_above, grid)[0, tokens].any()
    assert not tokens[share == 0].any()
    assert tokens[share >= 0.5].all()
    if (share >= 0.5).any():
        assert not tokens[share < 0.5].any()


@given(grids(), st.integers(4, 12).map(lambda n: 4 * n))
def test_every_position_is_its_own(grid, width):
    where = positions(grid, width)
    assert where.shape == (grid.n_patches, width)
    assert where.abs().max() <= 1
    distances = torch.cdist(where.double(), where.double())
    distances.fill_diagonal_(torch.inf)
    assert distances.min() > 1e-3


def test_half_of_a_position_tells_time_and_half_frequency():
    where = positions(GRID, 24).reshape(GRID.n_time, GRID.n_mel, 24)
    assert torch.equal(where[:, :1, :12].expand(-1, GRID.n_mel, -1), where[..., :12])
    assert torch.equal(where[:1, :, 12:].expand(GRID.n_time, -1, -1), where[..., 12:])
    assert torch.allclose(where[3, 2, 0], torch.sin(torch.tensor(3.0)))
    assert torch.allclose(where[3, 2, 12], torch.sin(torch.tensor(2.0)))
    with pytest.raises(ValueError, match="divisible by 4"):
        positions(GRID, 26)


# Masks


@given(grids(), st.floats(0.3, 0.8), st.floats(0, 1), st.integers(0, 1000), st.data())
def test_masks_part_the_valid_patches_in_the_exact_ratio(grid, ratio, block_share, seed, data):
    n = data.draw(st.integers(1, 4))
    valid = np.random.default_rng(seed).random((n, grid.n_patches)) < data.draw(st.floats(0, 1))
    valid[:, 0] = True
    masks = draw_masks(
        valid, grid, ratio=ratio, block_share=block_share, generators=generators(n, seed)
    )
    for row, visible, hidden in zip(valid, masks.visible, masks.hidden, strict=True):
        visible, hidden = visible[visible != NO_PATCH], hidden[hidden != NO_PATCH]
        assert sorted([*visible.tolist(), *hidden.tolist()]) == np.flatnonzero(row).tolist()
        assert visible.tolist() == sorted(visible.tolist())
        assert hidden.tolist() == sorted(hidden.tolist())
        assert len(hidden) == min(round(ratio * row.sum()), row.sum() - 1)


@pytest.mark.parametrize(("n_valid", "n_hidden"), [(1, 0), (2, 1), (3, 2), (5, 4), (10, 8)])
def test_one_patch_at_least_stays_visible(n_valid, n_hidden):
    valid = np.arange(GRID.n_patches)[None] < n_valid
    masks = draw_masks(valid, GRID, ratio=0.8, block_share=0.5, generators=generators(1))
    assert (masks.hidden != NO_PATCH).sum() == n_hidden
    assert (masks.visible != NO_PATCH).sum() == n_valid - n_hidden


@pytest.mark.parametrize("block_share", [0.0, 0.5, 1.0])
def test_a_mask_does_not_depend_on_its_neighbours(rng, block_share):
    valid = rng.random((5, GRID.n_patches)) < 0.7

    def drawn(rows):
        masks = draw_masks(
            valid[rows],
            GRID,
            ratio=0.6,
            block_share=block_share,
            generators=[generators(5)[row] for row in rows],
        )
        return [hidden[hidden != NO_PATCH].tolist() for hidden in masks.hidden]

    together = drawn([0, 1, 2, 3, 4])
    assert [drawn([row])[0] for row in range(5)] == together
    assert drawn([4, 2, 0]) == [together[4], together[2], together[0]]
    assert len({tuple(hidden) for hidden in together}) == 5


def fewest_cut_blocks(hidden, grid):
    """How many blocks of 2 x 2 are hidden in part, where the blocks begin at the best corner."""
    is_hidden = np.zeros((grid.n_time, grid.n_mel), bool)
    is_hidden.flat[hidden] = True
    numbers = []
    for corner in np.ndindex(2, 2):
        time, mel = (np.indices(is_hidden.shape) + np.reshape(corner, (2, 1, 1))) // 2
        block = time * grid.n_mel + mel
        cut = [len(set(is_hidden[block == number])) == 2 for number in np.unique(block)]
        numbers.append(sum(cut))
    return min(numbers)


@pytest.mark.parametrize("shape", [(16, 8), (7, 5)])
def test_block_masks_hide_blocks_of_two_by_two(shape):
    grid = replace(GRID, n_time=shape[0], n_mel=shape[1])
    valid = np.ones((40, grid.n_patches), bool)

    def cut_blocks(block_share):
        masks = draw_masks(
            valid, grid, ratio=0.6, block_share=block_share, generators=generators(40)
        )
        return np.array([fewest_cut_blocks(hidden, grid) for hidden in masks.hidden.numpy()])

    # The exact number cuts through one block at most.
    assert cut_blocks(1.0).max() <= 1
    assert cut_blocks(0.0).min() > 1
    assert 10 <= np.sum(cut_blocks(0.5) <= 1) <= 30


@pytest.mark.parametrize("ratio", [0.29, 0.81, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio):
    valid = np.ones((1, GRID.n_patches), bool)
    with pytest.raises(ValueError, match=r"must lie in 0\.3 to 0\.8"):
        draw_masks(valid, GRID, ratio=ratio, block_share=0.5, generators=generators(1))


def test_all_visible_shows_every_valid_patch():
    valid = np.array([[True, False, True, True], [False, True, False, False]])
    assert all_visible(valid).tolist() == [[0, 2, 3], [1, NO_PATCH, NO_PATCH]]


# Transformer


WIDTH, HEADS = 24, 3


def without_qk_norm(attention):
    attention.q_norm, attention.k_norm = nn.Identity(), nn.Identity()


def copy_attention(ours, theirs):
    theirs.in_proj_weight.data.copy_(ours.qkv.weight)
    theirs.in_proj_bias.data.copy_(ours.qkv.bias)
    theirs.out_proj.load_state_dict(ours.out.state_dict())


@pytest.fixture
def keys():
    keys = torch.ones(2, 7, dtype=torch.bool)
    keys[0, 5:] = False
    keys[1, 0] = False
    return keys


@pytest.mark.parametrize("is_masked", [False, True])
def test_attention_is_that_of_torch(keys, is_masked):
    ours = Attention(WIDTH, HEADS)
    without_qk_norm(ours)
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    copy_attention(ours, theirs)
    x = tensor(2, 7, WIDTH)
    mask = keys if is_masked else None
    expected, _ = theirs(x, x, x, key_padding_mask=~keys if is_masked else None)
    assert torch.allclose(ours(x, mask), expected, atol=1e-6)


@pytest.mark.parametrize("is_masked", [False, True])
def test_a_block_is_a_pre_norm_encoder_layer_of_torch(keys, is_masked):
    ours = Block(WIDTH, HEADS, mlp_ratio=2.5)
    without_qk_norm(ours.attention)
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 60, dropout=0, activation="gelu", batch_first=True, norm_first=True
    )
    copy_attention(ours.attention, theirs.self_attn)
    for one, other in (
        (ours.norm1, theirs.norm1),
        (ours.norm2, theirs.norm2),
        (ours.mlp[0], theirs.linear1),
        (ours.mlp[2], theirs.linear2),
    ):
        nn.init.normal_(one.weight)
        other.load_state_dict(one.state_dict())
    x = tensor(2, 7, WIDTH)
    mask = keys if is_masked else None
    expected = theirs(x, src_key_padding_mask=~keys if is_masked else None)
    assert torch.allclose(ours(x, mask), expected, atol=1e-4, rtol=1e-5)


def test_attention_with_normed_queries_and_keys_is_an_explicit_softmax(keys):
    attention = Attention(WIDTH, HEADS)
    for norm in (attention.q_norm, attention.k_norm):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = tensor(2, 7, WIDTH)
    size = WIDTH // HEADS
    q, k, v = attention.qkv(x).split(WIDTH, dim=-1)
    heads = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        logits = attention.q_norm(q[..., part]) @ attention.k_norm(k[..., part]).mT / size**0.5
        logits = logits.masked_fill(~keys[:, None, :], -torch.inf)
        heads.append(logits.softmax(dim=-1) @ v[..., part])
    expected = attention.out(torch.cat(heads, dim=-1))
    assert torch.allclose(attention(x, keys), expected, atol=1e-6)


def test_tokens_that_are_no_keys_change_nothing(keys):
    block = Block(WIDTH, HEADS, mlp_ratio=2)
    x = tensor(2, 7, WIDTH)
    other = torch.where(keys[..., None], x, 100 * tensor(2, 7, WIDTH, seed=1))
    assert torch.equal(block(x, keys)[keys], block(other, keys)[keys])
    assert not torch.allclose(block(x)[keys], block(other)[keys], atol=1e-2)


# Encoder and decoder


@pytest.fixture(scope="module")
def model():
    return made(0)


def made(seed):
    return initialise(MaskedAutoencoder(RUN.model, RUN.picture), seed)


SOUND = torch.tensor([24, 14, 19]), torch.tensor([16, 16, 10])
"""Frames and bands of three pictures: whole, short, and short with few bands."""


def masks_of(n_frames, n_bands, seed=0, grid=GRID):
    valid = valid_patches(n_frames, n_bands, grid).numpy()
    return draw_masks(
        valid, grid, ratio=0.6, block_share=0.5, generators=generators(len(valid), seed)
    )


def batch(seed=0):
    """Three pictures, whole, short, and short with few bands: patches, valid values, masks."""
    patches = tensor(3, GRID.n_patches, GRID.patch_values, seed=seed)
    return patches, valid_values(*SOUND, GRID), masks_of(*SOUND)


def test_a_clip_is_encoded_the_same_in_any_company_and_padding(model):
    patches = batch()[0]
    visible = all_visible(valid_patches(*SOUND, GRID).numpy())
    together = model.encoder(patches, GRID, visible, layers=(0, 1, 2, 3))  # (L, B, K, D)
    noise = 50 * tensor(*patches.shape, seed=9)
    for row, own in enumerate(visible):
        own = own[own != NO_PATCH]
        alone = model.encoder(patches[row : row + 1], GRID, own[None], layers=(0, 1, 2, 3))
        company = torch.where(torch.arange(3)[:, None, None] == row, patches, noise)
        hidden_noise = company.clone()
        hidden_noise[row][~valid_patches(*SOUND, GRID)[row]] = 1e3
        in_noise = model.encoder(hidden_noise, GRID, visible, layers=(0, 1, 2, 3))
        for other in (together, in_noise):
            features = other[:, row, : len(own)]
            cosine = nn.functional.cosine_similarity(features, alone[:, 0], dim=-1)
            assert cosine.min() >= 1 - 1e-5


def test_layers_come_in_the_order_asked_for_and_by_either_name(model):
    patches, _, masks = batch()

    def features(*layers):
        return model.encoder(patches, GRID, masks.visible, layers)

    ordered = features(0, 1, 2, 3)
    assert ordered.shape == (4, 3, masks.visible.shape[1], RUN.model.width)
    assert torch.equal(features(3, 0, 2), ordered[[3, 0, 2]])
    assert torch.equal(features(-1, -2, -3, 1, 1), ordered[[3, 2, 1, 1, 1]])
    assert torch.equal(model.encoder(patches, GRID, masks.visible), ordered[3:])
    for layer in (4, -4):
        with pytest.raises(ValueError, match=f"no layer {layer}: the encoder has layers 0 to 3"):
            features(layer)


def test_every_layer_is_normed(model):
    patches, _, masks = batch()
    features = model.encoder(patches, GRID, masks.visible, layers=(0, 1, 2))
    assert features.mean(dim=-1).abs().max() < 1e-5
    assert torch.allclose(features.std(dim=-1, unbiased=False), torch.tensor(1.0), atol=1e-3)
    last = model.encoder(patches, GRID, masks.visible)
    assert torch.allclose(last.mean(dim=-1), torch.tensor(0.0), atol=1e-5)


def test_where_a_patch_stands_matters(model):
    patches = torch.ones(1, GRID.n_patches, GRID.patch_values)
    features = model.encoder(patches, GRID, torch.arange(GRID.n_patches)[None], (0,))[0, 0]
    distances = torch.cdist(features, features) + torch.diag(torch.full((GRID.n_patches,), 9.0))
    assert distances.min() > 1e-2


@pytest.mark.parametrize("n_frames", [1, 4, 22, 24])
def test_whole_pictures_are_padded_cut_and_standardised(n_frames):
    encoder = made(0).encoder
    encoder.log_mel_mean.fill_(-10.0)
    encoder.log_mel_std.fill_(3.0)
    log_mel = tensor(2, n_frames, 16) - 9
    grid = encoder.grid(n_frames)
    silence = torch.full((2, grid.n_frames - n_frames, 16), np.log(RUN.picture.power_floor))
    patches = patchify((torch.cat([log_mel, silence], dim=1) + 10) / 3, grid)
    n_columns = max(1, (n_frames + 2) // 4)  # a half-empty column counts
    visible = torch.arange(4 * n_columns).expand(2, -1)
    expected = encoder(patches, grid, visible, (1, -1))
    assert torch.allclose(encoder.layers(log_mel, (1, -1)), expected, atol=1e-6)


def test_what_is_hidden_has_no_influence_on_what_is_drawn(model):
    patches, _, masks = batch()
    other = patches.clone()
    for row, hidden in enumerate(masks.hidden):
        other[row, hidden[hidden != NO_PATCH]] = 1e3
    assert torch.equal(model(patches, GRID, masks), model(other, GRID, masks))


def test_a_drawing_depends_on_what_is_seen_and_on_its_place(model):
    patches, _, masks = batch()
    drawn = model(patches, GRID, masks)
    assert drawn.shape == (3, masks.hidden.shape[1], GRID.patch_values)
    assert not torch.allclose(model(-patches, GRID, masks), drawn, atol=1e-2)
    assert not torch.allclose(drawn[0, 0], drawn[0, 1], atol=1e-2)


def test_a_drawing_does_not_depend_on_the_company(model):
    patches, _, masks = batch()
    drawn = model(patches, GRID, masks)
    for row in range(3):
        visible, hidden = masks.visible[row], masks.hidden[row]
        own = Masks(
            visible=visible[visible != NO_PATCH][None], hidden=hidden[hidden != NO_PATCH][None]
        )
        alone = model(patches[row : row + 1], GRID, own)[0]
        assert torch.allclose(drawn[row, : len(alone)], alone, atol=1e-5)


# Loss and targets


def loss_of(model, patches, values, masks, kind="damped"):
    hidden, counted = hidden_values(patches, values, masks)
    target, _, _ = targets(hidden, counted, kind, 0.1)
    return masked_loss(model(patches, GRID, masks), target, counted)


@pytest.mark.parametrize("kind", ["damped", "raw"])
def test_the_loss_is_of_hidden_sound_values_alone(model, kind):
    patches, values, masks = batch()
    hidden, counted = hidden_values(patches, values, masks)
    target, _, _ = targets(hidden, counted, kind, 0.1)
    drawn = model(patches, GRID, masks)
    expected = masked_loss(drawn, target, counted)

    is_hidden = torch.zeros(values.shape[:2], dtype=torch.bool)
    for row, index in enumerate(masks.hidden):
        is_hidden[row, index[index != NO_PATCH]] = True
    assert counted.sum() == (values & is_hidden[..., None]).sum()

    other = torch.where(values & is_hidden[..., None], patches, 77.0)
    hidden, counted = hidden_values(other, values, masks)
    target, _, _ = targets(hidden, counted, kind, 0.1)
    assert torch.allclose(masked_loss(drawn, target, counted), expected)
    scribbled = torch.where(counted, drawn, 77.0)
    assert torch.allclose(masked_loss(scribbled, target, counted), expected)


def test_the_loss_is_the_mean_square_by_brute_force():
    drawn, target = tensor(2, 3, 5), tensor(2, 3, 5, seed=1)
    values = tensor(2, 3, 5, seed=2) > 0
    squares = [
        (float(drawn[at]) - float(target[at])) ** 2 for at in np.ndindex(2, 3, 5) if values[at]
    ]
    loss = masked_loss(drawn, target, values)
    assert float(loss) == pytest.approx(np.mean(squares), rel=1e-6)
    assert float(masked_loss(drawn, target, torch.zeros_like(values))) == 0
    halves = masked_loss(drawn.bfloat16(), target.bfloat16(), values)
    assert halves.dtype == torch.float32


def test_targets_by_their_formulas():
    patches = 3 + 2 * tensor(2, 4, 16)
    values = tensor(2, 4, 16, seed=1) > -1
    values[1, 3] = False
    damped, mean, scale = targets(patches, values, "damped", 0.5)
    raw, raw_mean, ones = targets(patches, values, "raw", 0.5)
    for at in np.ndindex(2, 4):
        sound = patches[at][values[at]].double().numpy()
        if not len(sound):
            continue
        expected = np.sqrt(sound.var() + 0.5**2)
        assert float(mean[at]) == pytest.approx(sound.mean(), rel=1e-5)
        assert float(scale[at]) == pytest.approx(expected, rel=1e-5)
        normed = (patches[at].double().numpy() - sound.mean()) / expected
        assert np.allclose(damped[at], normed, atol=1e-5)
    assert damped.isfinite().all()
    assert torch.equal(raw, patches)
    assert torch.equal(raw_mean, mean)
    assert torch.equal(ones, torch.ones(2, 4, 1))


def test_a_silent_patch_stays_near_zero():
    silent = -2 + 1e-3 * tensor(1, 1, 256)
    target, _, _ = targets(silent, torch.ones(1, 1, 256, dtype=torch.bool), "damped", 0.1)
    assert target.abs().max() < 0.05


def baselines_by_brute_force(patches, values, masks, kind, damping):
    """Both baseline losses, one value at a time."""
    place = [(patch // GRID.n_mel, patch % GRID.n_mel) for patch in range(GRID.n_patches)]
    of_mean, of_interpolation = [], []
    for row in range(len(patches)):
        visible = [int(p) for p in masks.visible[row] if p != NO_PATCH]
        for patch in (int(p) for p in masks.hidden[row] if p != NO_PATCH):
            guesses, truths = [], []
            for value in np.flatnonzero(values[row, patch]):
                above, below = 0.0, 0.0
                for other in visible:
                    if values[row, other, value]:
                        weight = np.hypot(*np.subtract(place[patch], place[other])) ** -4.0
                        above += weight * float(patches[row, other, value])
                        below += weight
                guesses.append(above / below if below else 0.0)
                truths.append(float(patches[row, patch, value]))
            guesses, truths = np.array(guesses), np.array(truths)
            scale = np.sqrt(truths.var() + damping**2) if kind == "damped" else 1.0
            of_mean.extend(((truths - truths.mean()) / scale) ** 2)
            if kind == "damped":
                guesses = guesses - guesses.mean() + truths.mean()
            of_interpolation.extend(((truths - guesses) / scale) ** 2)
    return np.mean(of_mean), np.mean(of_interpolation)


@pytest.mark.parametrize("kind", ["damped", "raw"])
def test_baselines_by_brute_force(kind):
    patches, values, masks = batch()
    found = baseline_losses(patches, values, GRID, masks, kind, 0.1)
    expected = baselines_by_brute_force(patches, values, masks, kind, 0.1)
    assert found == pytest.approx(expected, rel=1e-4)


def test_interpolation_draws_what_does_not_change(model):
    patches = tensor(1, 1, GRID.patch_values).expand(2, GRID.n_patches, -1)
    values = torch.ones(patches.shape, dtype=torch.bool)
    masks = masks_of(torch.tensor([24, 24]), torch.tensor([16, 16]))
    _, interpolation = baseline_losses(patches, values, GRID, masks, "raw", 0.1)
    assert interpolation < 1e-10


# Learning


def test_weights_depend_on_the_seed_alone():
    weights = []
    for global_seed, seed in ((1, 5), (2, 5), (1, 6)):
        torch.manual_seed(global_seed)
        weights.append(made(seed).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    drawn = [name for name in weights[0] if not torch.equal(weights[0][name], weights[2][name])]
    matrices = [name for name, weight in weights[0].items() if weight.ndim == 2]
    assert sorted(drawn) == sorted([*matrices, "decoder.mask_token"])


def test_every_weight_is_learned():
    model = made(0)
    loss_of(model, *batch()).backward()
    for name, weight in model.named_parameters():
        if not name.endswith("k_norm.bias"):  # it shifts all logits of a query alike
            assert weight.grad is not None, name
            assert weight.grad.abs().max() > 1e-6, name


def test_a_tiny_model_learns_one_batch_by_heart():
    model = made(0)
    time = torch.linspace(0, 12, GRID.n_frames)[None, :, None]
    band = torch.linspace(0, 3, GRID.n_bands)[None, None, :]
    patches = patchify(torch.sin(time + torch.arange(3)[:, None, None] * band), GRID)
    _, values, masks = batch()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = loss_of(model, patches, values, masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


# Checkpoints


def outputs(model):
    patches, _, masks = batch(seed=3)
    with torch.no_grad():
        return model(patches, GRID, masks)


def test_a_checkpoint_gives_the_same_outputs_bit_for_bit(tmp_path):
    model = made(1)
    model.encoder.log_mel_mean.fill_(-11.125)
    model.encoder.log_mel_std.fill_(2.7)
    save_checkpoint(tmp_path / "last", model, RUN, {"step": 7, "archive": "ü"})
    again, run, provenance = load_checkpoint(tmp_path / "last")
    assert (run, provenance) == (RUN, {"step": 7, "archive": "ü"})
    assert torch.equal(outputs(again), outputs(model))
    assert again.encoder.log_mel_mean == -11.125
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_the_frozen_encoder_is_that_of_the_model(tmp_path):
    model = made(1)
    model.encoder.log_mel_mean.fill_(-11.125)
    save_checkpoint(tmp_path / "last", model, RUN, MADE)
    log_mel = tensor(2, 13, 16)
    expected = model.encoder.layers(log_mel, (0, 2, -1))
    for folder in (tmp_path / "last", str(tmp_path / "last")):
        encoder = Encoder.load(folder)
        assert torch.equal(encoder.layers(log_mel, (0, 2, -1)), expected)
        assert not encoder.training
        assert not any(weight.requires_grad for weight in encoder.parameters())
        assert encoder.picture == RUN.picture


def test_a_checkpoint_is_plain_tensors_and_text(tmp_path, monkeypatch):
    model = made(1)
    optimiser = torch.optim.AdamW(model.parameters())
    loss_of(model, *batch()).backward()
    optimiser.step()
    save_checkpoint(tmp_path / "last", model, RUN, MADE, optimiser_state(optimiser))
    names = sorted(path.name for path in (tmp_path / "last").iterdir())
    assert names == ["optimiser.safetensors", "provenance.json", "run.toml", "weights.safetensors"]
    with safe_open(tmp_path / "last" / "weights.safetensors", "pt") as weights:
        assert sorted(weights.keys()) == sorted(model.state_dict())
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    load_checkpoint(tmp_path / "last")
    load_optimiser(tmp_path / "last")


def test_a_run_goes_on_from_a_checkpoint_bit_for_bit(tmp_path):
    def step(model, optimiser, seed):
        optimiser.zero_grad()
        loss_of(model, *batch(seed)).backward()
        optimiser.step()

    model = made(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for seed in range(3):
        step(model, optimiser, seed)
    save_checkpoint(tmp_path / "last", model, RUN, MADE, optimiser_state(optimiser))
    step(model, optimiser, 3)

    again, _, _ = load_checkpoint(tmp_path / "last")
    optimiser = torch.optim.AdamW(again.parameters(), lr=1e-3)
    restore_optimiser(optimiser, load_optimiser(tmp_path / "last"))
    step(again, optimiser, 3)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_replaces_the_one_before_only_when_whole(tmp_path):
    folder = tmp_path / "last"
    save_checkpoint(folder, made(1), RUN, MADE | {"step": 1})
    with pytest.raises(TypeError):
        save_checkpoint(folder, made(2), RUN, MADE | {"step": object()})
    assert torch.equal(outputs(load_checkpoint(folder)[0]), outputs(made(1)))
    save_checkpoint(folder, made(2), RUN, MADE | {"step": 2})
    assert torch.equal(outputs(load_checkpoint(folder)[0]), outputs(made(2)))
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_what_was_killed_while_it_was_written_goes_with_the_next_checkpoint(tmp_path):
    left = tmp_path / ".00000007.part"
    left.mkdir()
    (left / "weights.safetensors").write_bytes(b"half")
    save_checkpoint(tmp_path / "00000008", made(1), RUN, MADE)
    assert [path.name for path in tmp_path.iterdir()] == ["00000008"]


def test_the_fingerprint_stands_for_the_weights(tmp_path):
    save_checkpoint(tmp_path / "a", made(1), RUN, MADE | {"step": 1})
    save_checkpoint(tmp_path / "b", made(1), RUN, MADE | {"step": 2})
    save_checkpoint(tmp_path / "c", made(2), RUN, MADE | {"step": 1})
    prints = [weights_fingerprint(tmp_path / name) for name in "abc"]
    assert prints[0] == prints[1] != prints[2]
    assert len(prints[0]) == 16


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path / "last", made(1), RUN, MADE | {"step": 1})
    return tmp_path / "last"


@pytest.mark.parametrize("name", ["weights.safetensors", "run.toml", "provenance.json"])
def test_a_folder_that_lacks_a_file_is_no_checkpoint(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"is no checkpoint: it holds no {name}") as caught:
        Encoder.load(folder)
    assert str(folder) in str(caught.value)


def shorten(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: round(len(content) * share)])


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_damaged_weights_are_refused(folder, share):
    shorten(folder / "weights.safetensors", share)
    with pytest.raises(ValueError, match="is damaged and cannot be loaded") as caught:
        Encoder.load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"{}", b"[]"])
def test_damaged_provenance_is_refused(folder, content):
    (folder / "provenance.json").write_bytes(content)
    with pytest.raises(ValueError, match="is damaged and cannot be loaded") as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value)


def test_weights_of_another_model_are_refused(folder):
    text = (folder / "run.toml").read_text().replace("depth = 3", "depth = 2", 1)
    (folder / "run.toml").write_text(text)
    with pytest.raises(ValueError, match="is damaged and cannot be loaded") as caught:
        Encoder.load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[picture]\nhop_sample = 320\n", "did you mean picture.hop_samples"),
        ("[picture]\n[model]\n", "training is missing"),
        ("[picture", "not valid TOML"),
    ],
)
def test_a_run_that_cannot_be_read_is_refused(folder, text, complaint):
    (folder / "run.toml").write_text(text)
    with pytest.raises(ValueError, match=complaint) as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value)


def test_a_checkpoint_without_its_optimiser_cannot_be_trained_on(folder):
    with pytest.raises(ValueError, match="cannot be trained on") as caught:
        load_optimiser(folder)
    assert str(folder) in str(caught.value)
    (folder / "optimiser.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be trained on"):
        load_optimiser(folder)
