"""DropBlock's arithmetic: the seed rate, and the mask as sparse blocks or as a dense map.

A mask is defined by seeds: the upper left corners of the blocks, drawn independently where a
block fits inside the map. Few positions are seeds, so on CPU they are drawn sparsely, the
tensor is scaled in one pass and the blocks are zeroed by index. Backward draws the same seeds
again instead of storing a mask. Elsewhere a dense mask is spread over the map with a few
elementwise operations, which compilers fuse.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from convzoo.layers._rng import (
    by_slices,
    draw_seed,
    generator_from,
    sparse_positions,
    uniform,
)

Normalise = Literal["batch", "sample"]
"""Over which cells the mean scale of 1 is kept: the whole batch (official code) or each
sample, which then does not depend on the rest of its batch."""

_CHUNK = 1 << 19  # indices at a time: 4 MB, so that they stay in the cache


@functools.lru_cache(maxsize=64)
def _cover_counts(size: tuple[int, ...], block: tuple[int, ...]) -> tuple[tuple[int, float], ...]:
    """How many seed positions can drop a cell, and which fraction of the cells has that many."""
    axes = [
        Counter(min(i, s - b) - max(0, i - b + 1) + 1 for i in range(s))
        for s, b in zip(size, block, strict=True)
    ]
    counts: Counter[int] = Counter()
    for along in itertools.product(*(axis.items() for axis in axes)):
        counts[math.prod(n for n, _ in along)] += math.prod(cells for _, cells in along)
    return tuple((n, cells / math.prod(size)) for n, cells in sorted(counts.items()))


def dropped_fraction(gamma: float, size: tuple[int, ...], block: tuple[int, ...]) -> float:
    """Expected fraction of dropped cells at the seed rate `gamma`, exactly."""
    return 1.0 - sum(f * (1.0 - gamma) ** n for n, f in _cover_counts(size, block))


@functools.lru_cache(maxsize=4096)
def seed_rate(
    drop_prob: float, size: tuple[int, ...], block: tuple[int, ...], calibrated: bool
) -> float:
    """Rate of seeds: `drop_prob` over the block's and the valid region's area, as in the paper.

    `calibrated`: the rate at which the expected dropped fraction is `drop_prob` itself.
    """
    area = math.prod(s / (b * (s - b + 1)) for s, b in zip(size, block, strict=True))
    gamma = drop_prob * area
    if not calibrated:
        return gamma
    if drop_prob >= 1:
        return 1.0
    # The dropped fraction is concave and grows with gamma; the paper's gamma drops too little.
    # From there Newton's steps only ever approach the root from the left.
    for _ in range(100):
        slope = sum(f * n * (1.0 - gamma) ** (n - 1) for n, f in _cover_counts(size, block))
        step = (drop_prob - dropped_fraction(gamma, size, block)) / slope
        gamma = min(gamma + step, 1.0)
        if step < 1e-15:
            break
    return gamma


# Sparse: CPU ----------------------------------------------------------------------------------


def _seed_coordinates(
    seed: Tensor, shape: Sequence[int], block: Sequence[int], gamma: float
) -> tuple[Tensor, ...]:
    """Draw the seeds of a mask of `shape` (B, C, *size): one int64 vector for each axis."""
    valid = [*shape[:2], *(s - b + 1 for s, b in zip(shape[2:], block, strict=True))]
    flat = sparse_positions(math.prod(valid), gamma, generator_from(seed, torch.device("cpu")))
    return torch.unravel_index(flat, valid)


def _fill_blocks(
    target: Tensor, coordinates: tuple[Tensor, ...], block: Sequence[int], value: float
) -> None:
    """Write `value` into every block of the dense tensor `target` (B, C, *size)."""
    strides = target.stride()
    corners = sum(
        (c * s for c, s in zip(coordinates[1:], strides[1:], strict=True)),
        coordinates[0] * strides[0],
    )
    offsets = torch.zeros(1, dtype=torch.int64)
    for b, stride in zip(block, strides[2:], strict=True):
        offsets = (offsets[:, None] + torch.arange(b) * stride).flatten()
    cells = target.as_strided((target.numel(),), (1,))
    for some in torch.split(corners, max(1, _CHUNK // len(offsets))):
        cells.index_fill_(0, (some[:, None] + offsets).flatten(), value)


def _sparse_scale(
    shape: Sequence[int], coordinates: tuple[Tensor, ...], block: Sequence[int], per_sample: bool
) -> Tensor:
    dropped = torch.zeros(shape, dtype=torch.uint8)
    _fill_blocks(dropped, coordinates, block, 1)
    rows = dropped.view(shape[0] if per_sample else 1, -1)
    # Row by row: count_nonzero over an axis is an order of magnitude slower.
    kept = rows.shape[1] - torch.stack([row.count_nonzero() for row in rows])
    return _scale(rows.shape[1], kept)


def _room(x: Tensor, stride: Sequence[int]) -> Tensor:
    """An empty dense tensor that lies as `x` does; as `stride` says if `x` is an expanded one."""
    if 0 not in x.stride():
        return torch.empty_like(x)
    axes = sorted(range(x.dim()), key=lambda i: stride[i], reverse=True)
    return x.new_empty([x.shape[i] for i in axes]).permute([axes.index(i) for i in range(x.dim())])


@torch.library.custom_op(
    "convzoo::drop_block",
    mutates_args=(),
    schema="(Tensor x, Tensor seed, Tensor gamma, Tensor? scale, SymInt[] stride, "
    "SymInt[] block, bool per_sample) -> (Tensor, Tensor)",
)
def _drop_blocks(
    x: Tensor,
    seed: Tensor,
    gamma: Tensor,
    scale: Tensor | None,
    stride: Sequence[int],
    block: Sequence[int],
    per_sample: bool,
) -> tuple[Tensor, Tensor]:
    """Zero the blocks that `seed` draws and scale the rest of `x` (B, C, *size).

    Returns the scale too, cells over kept cells, `(B,)` or `(1,)`: backward knows it already.
    """
    corners = _seed_coordinates(seed, x.shape, block, float(gamma))
    scale = _sparse_scale(x.shape, corners, block, per_sample) if scale is None else scale.clone()
    y = _room(x, stride)
    if len(scale) == 1:
        torch.mul(x, float(scale), out=y)
    else:
        for sample, out, factor in zip(x, y, scale.tolist(), strict=True):
            torch.mul(sample, factor, out=out)
    # Seeds are drawn in the order of the axes, not of the memory: a gradient in another memory
    # format meets the same mask.
    _fill_blocks(y, corners, block, 0)
    return y, scale


@_drop_blocks.register_fake
def _(x: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    *_, stride, _, per_sample = settings
    rows = x.shape[0] if per_sample else 1
    return _room(x, stride), x.new_empty(rows, dtype=torch.float32)


_drop_blocks.register_vmap(by_slices(_drop_blocks))


class _DropBlocks(torch.autograd.Function):
    """`_drop_blocks` with a gradient, which functional transforms can map and derive too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*args: Any) -> tuple[Tensor, Tensor]:
        y, scale = _drop_blocks(*args)
        return y, scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _, seed, gamma, _, ctx.stride, ctx.block, ctx.per_sample = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(seed, gamma, output[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # y is linear in x, with a diagonal matrix: the gradient takes the same road, and only
        # three scalars are kept for it.
        settings = (ctx.stride, ctx.block, ctx.per_sample)
        grad, _ = _DropBlocks.apply(grads[0], *ctx.saved_tensors, *settings)
        return grad, None, None, None, None, None, None


# Dense: any device ----------------------------------------------------------------------------


def _spread(seeds: Tensor, block: Sequence[int]) -> Tensor:
    """Grow every seed into a block: (B, C, *valid) -> (B, C, *size), bool."""
    for axis, b in enumerate(block, start=2):
        padding = [0, 0] * (seeds.dim() - 1 - axis) + [b - 1, b - 1]
        seeds = nn.functional.pad(seeds, padding)
        width = 1
        while width < b:  # windows of 1, 2, 4, ... and at last b cells
            step = min(width, b - width)
            length = seeds.shape[axis] - step
            seeds = seeds.narrow(axis, 0, length) | seeds.narrow(axis, step, length)
            width += step
    return seeds


def _dense(
    x: Tensor,
    gamma: Tensor,
    block: Sequence[int],
    per_channel: bool,
    per_sample: bool,
    generator: torch.Generator | None,
) -> Tensor:
    """DropBlock in a few elementwise operations."""
    channels = x.shape[1] if per_channel else 1
    valid = [s - b + 1 for s, b in zip(x.shape[2:], block, strict=True)]
    seeds = uniform([x.shape[0], channels, *valid], x.device, generator) < gamma
    # An operation's first operand decides how its result lies in memory: let that be as x does.
    keep = torch.zeros_like(x[:, :channels], dtype=torch.bool) == _spread(seeds, block)
    if per_sample:
        kept = keep.sum(list(range(1, x.dim())), keepdim=True)
        scale = _scale(keep[0].numel(), kept)
    else:
        scale = _scale(keep.numel(), keep.sum())
    return torch.where(keep, x * scale, 0.0).to(x.dtype)


def _scale(cells: int, kept: Tensor) -> Tensor:
    # Where nothing is kept the output is all zeros, whatever the scale: keep it finite.
    return cells / kept.clamp(min=1).float()


# Either ---------------------------------------------------------------------------------------


@torch.library.custom_op(
    "convzoo::drop_block_gamma",
    mutates_args=(),
    schema="(Tensor rate, SymInt[] size, SymInt[] block, bool calibrated, Device device) -> Tensor",
)
def _gamma(
    rate: Tensor,
    size: Sequence[int],
    block: Sequence[int],
    calibrated: bool,
    device: torch.device,
) -> Tensor:
    """The seed rate as a scalar tensor: compilers need not trace its equation's solution."""
    gamma = seed_rate(float(rate), tuple(size), tuple(block), calibrated)
    return torch.full((), gamma, dtype=torch.float32, device=device)


@_gamma.register_fake
def _(*settings: Any) -> Tensor:
    *_, device = settings
    return torch.empty((), dtype=torch.float32, device=device)


def drop_blocks(
    x: Tensor,
    rate: Tensor,
    block_size: int | Sequence[int],
    per_channel: bool,
    normalise: Normalise,
    calibrated: bool,
    generator: torch.Generator | None,
) -> Tensor:
    """Drop blocks of `x` (B, C, *size) at `rate`: a float64 scalar on CPU.

    It is a tensor because compiled code would be made anew for each value of a number.
    """
    if x.numel() == 0:
        return x
    size, per_sample = x.shape[2:], normalise == "sample"
    blocks = [block_size] * len(size) if isinstance(block_size, int) else block_size
    block = [min(b, s) for b, s in zip(blocks, size, strict=True)]
    gamma = _gamma(rate, size, block, calibrated, x.device)
    if x.device.type == "cpu" and per_channel:
        y: Tensor
        settings = (list(x.stride()), block, per_sample)
        y, _ = _DropBlocks.apply(x, draw_seed(generator), gamma, None, *settings)
        return y
    return _dense(x, gamma, block, per_channel, per_sample, generator)
