"""DropConnect's arithmetic: a mask of the weights for each example, never stored.

A mask of its own for each of B examples has B times as many entries as the layer has weights.
So the layer is computed a tile at a time: random words are drawn for the tile, decide which
entries are kept, and are forgotten. Backward starts the generator at the same seed and meets
the same masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convzoo.layers._rng import by_slices, generator_from, sparse_positions

_TILE = {"cpu": 1 << 19}  # entries at a time: two buffers of 2 MB stay in the cache
_TILE_ELSEWHERE = 1 << 24  # elsewhere fewer, larger steps
_DROPPED = -(2**31)  # the lowest word: never above the threshold

Tensors = tuple[Tensor, Tensor, Tensor]


def _masks(
    p: float, shape: Sequence[int], tiles: int, generator: torch.Generator, dtype: torch.dtype
) -> Iterator[Callable[..., Tensor]]:
    """For each of `tiles` tiles of `shape`, a function that zeroes what the tile's mask drops.

    It takes values to be broadcast to the tile, or to its first rows. Its results share one
    buffer, and it holds until the next tile is asked for.
    """
    # Random numbers are the dearest part. An entry therefore takes one bit of a word if p is
    # 1/2, two if it is a quarter, and so on to eight bits, where a sparse second draw makes up
    # what is missing to p.
    bits = next((b for b in (1, 2, 4) if (p * 2**b).is_integer()), 8)
    coarse = math.floor(p * 2**bits)
    rest = (p * 2**bits - coarse) / (2**bits - coarse)
    # The upper bits, read as an unsigned number, are below `coarse`; words are signed.
    threshold = max((coarse << (32 - bits)) + _DROPPED - 1, _DROPPED)
    entries, device = math.prod(shape), generator.device
    fresh = torch.empty((entries + 1) // 2, dtype=torch.int64, device=device)
    shifted = torch.empty(list(shape), dtype=torch.int32, device=device)
    fast = dtype is torch.float32
    buffer = torch.empty(list(shape) if fast else 0, dtype=dtype, device=device)

    def masked(values: Tensor, rows: int | None = None) -> Tensor:
        words = shifted[:rows]
        if not fast:
            return torch.where(words > threshold, values, 0.0)
        # One vectorised pass over the floats' bits: ReLU's backward passes its first argument
        # on where the second exceeds the threshold.
        torch.ops.aten.threshold_backward.grad_input(
            values.view(torch.int32).expand_as(words),
            words,
            threshold,
            grad_input=buffer[:rows].view(torch.int32),
        )
        return buffer[:rows]

    for tile in range(tiles):
        shift = bits * (tile % (32 // bits))
        if coarse == 0:  # p is below 1/256: the sparse draw decides alone
            shifted.zero_()
        else:
            if shift == 0:
                fresh.random_(-(2**63), None, generator=generator)
            words = fresh.view(torch.int32)[:entries].view_as(shifted)
            # A product is a shift to the left, and many times faster in PyTorch.
            torch.mul(words, 2**shift if shift < 31 else _DROPPED, out=shifted)
        if rest:
            shifted.view(-1).index_fill_(0, sparse_positions(entries, rest, generator), _DROPPED)
        yield masked


def _linear(x: Tensor, weight: Tensor, grad: Tensor, seed: Tensor, p: float, out: Tensors) -> None:
    """Walk over the masks (O, B, I) of a linear layer, in tiles (o, b, I)."""
    dx, dw, y = out
    rows, width = x.shape
    generator = generator_from(seed, x.device)
    room = _TILE.get(x.device.type, _TILE_ELSEWHERE) // max(width, 1)
    depth = max(1, min(rows, room))
    for top in range(0, rows, depth):
        b = slice(top, min(top + depth, rows))
        height = max(1, min(len(weight), room // (b.stop - top)))
        tiles = range(0, len(weight), height)
        shape = (height, b.stop - top, width)
        masks = _masks(p, shape, len(tiles), generator, x.dtype)
        for left, masked in zip(tiles, masks, strict=True):
            o = slice(left, left + height)
            w, g = weight[o, None], grad[b, o]
            if y.numel() or dw.numel():
                inputs = masked(x[b], len(w))
                if y.numel():
                    y[b, o] = torch.bmm(w, inputs.transpose(1, 2))[:, 0].t()
                if dw.numel():
                    dw[o] += torch.bmm(g.t().contiguous()[:, None], inputs)[:, 0]
            if dx.numel():
                dx[b] += torch.bmm(g[:, None], masked(w, len(w)).transpose(0, 1))[:, 0]


def _conv2d(
    x: Tensor,
    weight: Tensor,
    grad: Tensor,
    seed: Tensor,
    p: float,
    geometry: Sequence[int],
    out: Tensors,
) -> None:
    """The mask of one example is a mask of the kernels, so examples are the tiles."""
    dx, dw, y = out
    stride, dilation, groups = list(geometry[:2]), list(geometry[2:4]), geometry[4]
    wanted = [dx.numel() > 0, dw.numel() > 0, False]
    masks = _masks(p, weight.shape, len(x), generator_from(seed, x.device), weight.dtype)
    for i, masked in enumerate(masks):
        b = slice(i, i + 1)
        kernels = masked(weight)
        if y.numel():
            y[b] = _convolved(x[b], kernels, geometry)
        if any(wanted):
            settings = (None, stride, [0, 0], dilation, False, [0, 0], groups, wanted)
            gx, gw, _ = torch.ops.aten.convolution_backward(grad[b], x[b], kernels, *settings)
            if wanted[0]:
                dx[b] = gx
            if wanted[1]:
                dw += masked(gw.contiguous())


def _convolved(x: Tensor, weight: Tensor, geometry: Sequence[int]) -> Tensor:
    return nn.functional.conv2d(
        x, weight, None, list(geometry[:2]), 0, list(geometry[2:4]), geometry[4]
    )


def _room(
    x: Tensor,
    weight: Tensor,
    _grad: Tensor,
    _seed: Tensor,
    _p: float,
    geometry: Sequence[int],
    wanted: Sequence[bool],
) -> Tensors:
    """What the operator returns, before it is filled in; empty where it is not wanted."""
    a, w = x.to("meta"), weight.to("meta", x.dtype)
    y = _convolved(a, w, geometry) if geometry else nn.functional.linear(a, w)
    if geometry and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        y = y.contiguous(memory_format=torch.channels_last)
    dx, dw, y = (
        torch.empty_like(t, device=x.device) if w else t.new_empty(0, device=x.device)
        for w, t in zip(wanted, (x, weight, y), strict=True)
    )
    return dx, dw, y


@torch.library.custom_op(
    "convzoo::drop_connect",
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor grad, Tensor seed, float p, SymInt[] geometry, "
    "bool[] wanted) -> (Tensor, Tensor, Tensor)",
)
def _derivatives(
    x: Tensor,
    weight: Tensor,
    grad: Tensor,
    seed: Tensor,
    p: float,
    geometry: Sequence[int],
    wanted: Sequence[bool],
) -> Tensors:
    # Half-precision sums would lose what the masks decide: at least float32 for them.
    wide = torch.promote_types(torch.promote_types(x.dtype, weight.dtype), torch.float32)
    dx, dw, y = (t.to(wide).zero_() for t in _room(x, weight, grad, seed, p, geometry, wanted))
    if geometry:
        w = weight.to(x.dtype).contiguous()
        _conv2d(x, w, grad, seed, p, geometry, (dx, dw, y))
    else:
        a, w, g = (t.to(wide).contiguous() for t in (x, weight, grad))
        _linear(a, w, g, seed, p, (dx, dw, y))
    return dx.to(x.dtype), dw.to(weight.dtype), y.to(x.dtype)


_derivatives.register_fake(_room)
_derivatives.register_vmap(by_slices(_derivatives))


class _Form(torch.autograd.Function):
    """The derivatives of the number `<grad, layer(x, weight)>` by `x`, `weight` and `grad`.

    The last is the layer itself, the others are its gradients. The number is linear in each of
    the three, so that their own derivatives are such derivatives again: one rule, of any order.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(*args: Any) -> Tensors:
        dx, dw, y = _derivatives(*args)
        return dx, dw, y

    @staticmethod
    def setup_context(
        ctx: Any,
        inputs: tuple[Any, ...],
        output: Tensors,  # noqa: ARG004 - PyTorch passes it by name
    ) -> None:
        *tensors, ctx.p, ctx.geometry, ctx.wanted = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, seed = ctx.saved_tensors
        totals: list[Tensor | None] = [None, None, None]
        for i, along in enumerate(grads):
            # What was derived by the i-th is linear in the other two, along `along`.
            needed = [j != i and ctx.needs_input_grad[j] for j in range(3)]
            if ctx.wanted[i] and any(needed):
                point = [*tensors[:i], along, *tensors[i + 1 :]]
                parts = _Form.apply(*point, seed, ctx.p, ctx.geometry, needed)
                for j, part in enumerate(parts):
                    if needed[j]:
                        total = totals[j]
                        totals[j] = part if total is None else total + part
        return *totals, None, None, None, None


def drop_connect(
    x: Tensor, weight: Tensor, seed: Tensor, p: float, geometry: Sequence[int] = ()
) -> Tensor:
    """Apply a layer whose weight is masked for each example; differentiable.

    Args:
        x: `(B, I)` for a linear layer, padded `(B, C, H, W)` for a convolution.
        weight: `(O, I)` or `(O, C / groups, KH, KW)`.
        seed: What the masks are drawn from: a scalar int64 tensor.
        p: Probability of dropping an entry, in [0, 1).
        geometry: Two strides, two dilations and the groups of a convolution.

    Returns:
        `(B, O)` or `(B, O, H', W')`.
    """
    wanted = [False, False, True]
    y: Tensor = _Form.apply(x, weight, x.new_empty(0, 0), seed, p, list(geometry), wanted)[2]
    return y
