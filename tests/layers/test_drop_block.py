"""What DropBlock drops: against the paper's formulas and an oracle written out in full."""

import itertools

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F

from convzoo.errors import InputError, UnknownNameError
from convzoo.layers import (
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    drop_block,
    drop_block_fraction,
    drop_block_gamma,
)

# (map, block, drop_prob, gamma, expected fraction): the paper's formula, overlaps counted.
TABLE = [
    (56, 7, 0.10, 0.00256, 0.0946),
    (28, 7, 0.10, 0.00331, 0.0939),
    (14, 7, 0.05, 0.00313, 0.0482),
    (14, 7, 0.10, 0.00625, 0.0929),
    (14, 7, 0.25, 0.01563, 0.2095),
    (14, 5, 0.10, 0.00784, 0.0938),
    (14, 3, 0.10, 0.01512, 0.0951),
    (8, 7, 0.10, 0.03265, 0.0961),
    (8, 3, 0.10, 0.01975, 0.0947),
    (7, 7, 0.05, 0.05, 0.0500),
    (7, 7, 0.10, 0.10, 0.1000),
    (7, 5, 0.10, 0.02178, 0.0947),
    (7, 3, 0.10, 0.02178, 0.0947),
    (4, 3, 0.10, 0.04444, 0.0961),
    (4, 7, 0.10, 0.10, 0.1000),  # the block is cut to 4: even, where torchvision fails
    (3, 7, 0.10, 0.10, 0.1000),
    (2, 3, 0.10, 0.10, 0.1000),
    (14, 1, 0.10, 0.10, 0.1000),
]


def oracle(gamma, size, block):
    """1 - mean over cells of (1 - gamma)^(seeds whose block covers the cell), cell by cell."""
    kept = []
    for cell in itertools.product(*(range(s) for s in size)):
        covering = 1
        for i, s, b in zip(cell, size, block, strict=True):
            covering *= sum(1 for v in range(s - b + 1) if v <= i < v + b)
        kept.append((1 - gamma) ** covering)
    return 1 - sum(kept) / len(kept)


def fraction_and_error(y):
    """Dropped fraction and its standard error: every channel has a mask of its own."""
    dropped = (y == 0).flatten(2).double().mean(2)
    return dropped.mean().item(), (dropped.std() / dropped.numel() ** 0.5).item()


@pytest.mark.parametrize(("side", "block", "p", "gamma", "fraction"), TABLE)
def test_gamma_and_expected_fraction_are_the_tabulated(side, block, p, gamma, fraction):
    assert drop_block_gamma(p, (side, side), block) == pytest.approx(gamma, abs=6e-6)
    assert drop_block_fraction(p, (side, side), block) == pytest.approx(fraction, abs=5e-5)
    assert drop_block_fraction(p, (side, side), block, calibrated=True) == pytest.approx(p)


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize(("side", "block", "p"), [row[:3] for row in TABLE])
def test_realised_fraction_is_the_expected(side, block, p, calibrated):
    torch.manual_seed(0)
    planes = 1024 if side > 14 else 8192
    y = drop_block(torch.ones(planes // 128, 128, side, side), p, block, calibrated=calibrated)
    fraction, error = fraction_and_error(y)
    expected = drop_block_fraction(p, (side, side), block, calibrated=calibrated)
    assert abs(fraction - expected) < 3 * error


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    size=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    blocks=st.lists(st.integers(1, 10), min_size=3, max_size=3),
    p=st.floats(0.01, 0.9),
    per_channel=st.booleans(),
    calibrated=st.booleans(),
)
def test_realised_fraction_over_random_shapes(size, blocks, p, per_channel, calibrated):
    torch.manual_seed(0)
    block = [min(b, s) for b, s in zip(blocks, size, strict=False)]
    gamma = drop_block_gamma(p, size, blocks[: len(size)], calibrated=calibrated)
    expected = oracle(gamma, size, block)
    assert drop_block_fraction(
        p, size, blocks[: len(size)], calibrated=calibrated
    ) == pytest.approx(expected)
    channels = 16 if per_channel else 1
    x = torch.ones(4096 // channels, channels, *size)
    y = drop_block(x, p, blocks[: len(size)], per_channel=per_channel, calibrated=calibrated)
    fraction, error = fraction_and_error(y)
    # 40 examples: five standard errors; the floor is for maps where no plane was hit.
    assert abs(fraction - expected) < 5 * max(error, (expected / 4096) ** 0.5)
    if fraction < 1:
        assert y.mean().item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("per_channel", [True, False])  # the sparse and the dense way
@pytest.mark.parametrize(("size", "block"), [((9, 6), (3, 2)), ((5, 8), (4, 4)), ((7,), (3,))])
def test_what_is_dropped_is_a_union_of_whole_blocks(size, block, per_channel):
    torch.manual_seed(1)
    channels = 8 if per_channel else 1
    y = drop_block(
        torch.ones(256 // channels, channels, *size), 0.3, block, per_channel=per_channel
    )
    dropped = (y == 0).double().reshape(256, 1, *size)
    conv = F.conv2d if len(size) == 2 else F.conv1d
    conv_transpose = F.conv_transpose2d if len(size) == 2 else F.conv_transpose1d
    kernel = torch.ones(1, 1, *block, dtype=torch.double)
    full = (conv(dropped, kernel) == kernel.numel()).double()  # where a whole block is dropped
    assert torch.equal(conv_transpose(full, kernel) > 0, dropped > 0)
    assert 0 < dropped.mean() < 1


@pytest.mark.parametrize("per_channel", [True, False])
def test_every_position_is_dropped_as_often_as_its_covering_seeds_say(per_channel):
    torch.manual_seed(2)
    channels = 64 if per_channel else 1
    y = drop_block(torch.ones(40000 // channels, channels, 14, 14), 0.1, 7, per_channel=per_channel)
    at = (y == 0).double().mean((0, 1))
    error = (0.3 * 0.7 / 40000) ** 0.5
    # Corner, middle of an edge and centre, as 1 - (1 - 0.00625)^n with n = 1, 7 and 49.
    assert at[0, 0].item() == pytest.approx(0.0062, abs=4 * error)
    assert at[0, 7].item() == pytest.approx(0.043, abs=4 * error)
    assert at[7, 7].item() == pytest.approx(0.265, abs=4 * error)


def test_masks_are_drawn_for_each_channel_or_shared():
    torch.manual_seed(3)
    x = torch.ones(2, 32, 14, 14)
    own = drop_block(x, 0.3) == 0
    shared = drop_block(x, 0.3, per_channel=False) == 0
    assert not torch.equal(own, own[:, :1].expand_as(own))
    assert torch.equal(shared, shared[:, :1].expand_as(shared))
    assert not torch.equal(shared[0], shared[1])


@pytest.mark.parametrize("per_channel", [True, False])
def test_normaliser_over_the_batch_or_each_sample(per_channel):
    torch.manual_seed(4)
    x = torch.ones(8, 4, 7, 7)
    batch = drop_block(x, 0.3, 3, per_channel=per_channel)
    assert batch.mean().item() == pytest.approx(1)
    assert len(batch[batch > 0].unique()) == 1
    sample = drop_block(x, 0.3, 3, per_channel=per_channel, normalise="sample")
    torch.testing.assert_close(sample.mean((1, 2, 3)), torch.ones(8))
    assert len(sample[sample > 0].unique()) > 1


def test_block_of_one_cell_is_dropout_and_of_the_whole_map_spatial_dropout():
    torch.manual_seed(5)
    whole = drop_block(torch.ones(32, 32, 6, 5), 0.2, 9)
    planes = whole.flatten(2)
    assert torch.equal(planes.amin(2), planes.amax(2))
    assert (planes[..., 0] == 0).double().mean().item() == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize("per_channel", [True, False])
def test_dropping_all_gives_zeros(per_channel):
    x = torch.ones(2, 3, 4, 4)
    y = drop_block(x, 1.0, 2, calibrated=True, per_channel=per_channel)
    assert torch.equal(y, torch.zeros_like(x))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (DropBlock1d(0.2, 3), (2, 3, 9)),
        (DropBlock2d(0.2, (3, 2)), (2, 3, 9, 5)),
        (DropBlock3d(0.2, (1, 2, 3)), (2, 3, 4, 5, 6)),
    ],
)
def test_layers_of_one_two_and_three_axes(layer, shape):
    y = layer(torch.ones(shape))
    assert y.shape == shape
    assert y.mean().item() == pytest.approx(1)
    with pytest.raises(InputError, match="spatial axes"):
        layer(torch.ones(*shape, 2))


def test_identity_is_the_same_object():
    x = torch.randn(2, 3, 7, 7)
    assert DropBlock2d(0.5).eval()(x) is x
    assert DropBlock2d(0.0)(x) is x
    assert drop_block(x, 0.5, training=False) is x
    idle = DropBlock2d(0.5)
    idle.progress = 0
    assert idle(x) is x


def test_bad_arguments():
    with pytest.raises(InputError, match=r"drop_prob: expected a number from 0 to 1, got 1.5"):
        DropBlock2d(1.5)
    with pytest.raises(InputError, match="drop_prob"):
        DropBlock2d().drop_prob = -1
    with pytest.raises(InputError, match="progress"):
        DropBlock2d().progress = 2
    with pytest.raises(InputError, match="block_size"):
        DropBlock2d(0.1, 0)
    for bad in (True, 2.0, (3, False)):
        with pytest.raises(InputError, match="block_size: expected an integer of at least 1"):
            DropBlock2d(0.1, bad)
    for bad in (True, float("nan"), "0.1"):
        with pytest.raises(InputError, match="drop_prob: expected a number"):
            DropBlock2d(bad)
    with pytest.raises(InputError, match="size: expected an integer of at least 1, got 0"):
        drop_block_gamma(0.1, (0, 4))
    with pytest.raises(InputError, match="2 axes"):
        DropBlock2d(0.1, (3, 3, 3))
    with pytest.raises(UnknownNameError, match="did you mean 'batch'"):
        DropBlock2d(normalise="bach")
    with pytest.raises(InputError, match=r"\(B, C, \*size\)"):
        drop_block(torch.zeros(3, 3), 0.1)
    with pytest.raises(InputError, match="floating"):
        drop_block(torch.zeros(1, 1, 3, 3, dtype=torch.int64), 0.1)
    with pytest.raises(InputError, match="size"):
        drop_block_gamma(0.1, ())
