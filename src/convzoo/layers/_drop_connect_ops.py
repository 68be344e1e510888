"""DropConnect's arithmetic: a mask of the weights for each example, never stored.

A mask of its own for each of B examples has B times as many entries as the layer has weights.
So the layer is computed a tile at a time: random words are drawn for the tile, decide which
entries are kept, and are forgotten. Backward starts the generator at the same seed and meets
the same masks. Random numbers are the dearest part; an entry therefore takes one bit of a word
if p is 1/2, two if it is a quarter, and so on to eight bits, where a sparse second draw makes
up what is missing to p.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convzoo.layers._draws import generator_from, map_slices, sparse_positions

_TILE = {"cpu": 1 << 19}  # entries at a time: two buffers of 2 MB stay in the cache
_TILE_ELSEWHERE = 1 << 24  # elsewhere fewer, larger steps
_DROPPED = -(2**31)  # the lowest word: never above the threshold


@dataclasses.dataclass(frozen=True)
class _Coin:
    """How a random 32-bit word says "drop" with probability p."""

    bits: int  # of the word's upper end that decide
    threshold: int  # the entry is kept if the word is larger
    rest: float  # rate of the sparse second draw

    @classmethod
    def of(cls, p: float) -> _Coin:
        bits = next((b for b in (1, 2, 4) if (p * 2**b).is_integer()), 8)
        coarse = math.floor(p * 2**bits)
        # The upper bits, read as an unsigned number, are below `coarse`; words are signed.
        threshold = max((coarse << (32 - bits)) + _DROPPED - 1, _DROPPED)
        dropped = coarse / 2**bits
        return cls(bits, threshold, (p - dropped) / (1 - dropped) if dropped < 1 else 0.0)


def _words(
    coin: _Coin, shape: Sequence[int], tiles: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield int32 words for `tiles` tiles of `shape`, always in the same buffer."""
    entries = math.prod(shape)
    fresh = torch.empty((entries + 1) // 2, dtype=torch.int64, device=generator.device)
    words = fresh.view(torch.int32)[:entries].view(list(shape))
    shifted = torch.empty_like(words)
    flat = shifted.view(-1)
    for tile in range(tiles):
        shift = coin.bits * (tile % (32 // coin.bits))
        if coin.threshold == _DROPPED:  # p is below 1/256: the sparse draw decides alone
            shifted.zero_()
        else:
            if shift == 0:
                fresh.random_(-(2**63), None, generator=generator)
            # A product is a shift to the left, and many times faster in PyTorch.
            torch.mul(words, 2**shift if shift < 31 else _DROPPED, out=shifted)
        if coin.rest:
            flat.index_fill_(0, sparse_positions(entries, coin.rest, generator), _DROPPED)
        yield shifted


def _masked(values: Tensor, words: Tensor, coin: _Coin, out: Tensor | None) -> Tensor:
    """Zero the `values`, broadcast to `words`, wherever the words say so."""
    if out is None:
        return torch.where(words > coin.threshold, values, 0.0)
    # One vectorised pass over the floats' bits: ReLU's backward passes its first argument on
    # where the second exceeds the threshold.
    torch.ops.aten.threshold_backward.grad_input(
        values.view(torch.int32).expand_as(words),
        words,
        coin.threshold,
        grad_input=out.view(torch.int32),
    )
    return out


def _buffer(dtype: torch.dtype, words: Tensor) -> Tensor | None:
    """Room for masked values, where `_masked` can use it."""
    if dtype is torch.float32:
        return torch.empty(words.shape, dtype=dtype, device=words.device)
    return None


def _wide(*tensors: Tensor) -> list[Tensor]:
    """Compute in float32 at least: half-precision sums would lose what the masks decide."""
    narrow = any(t.dtype is torch.float64 for t in tensors)
    return [t.to(torch.float64 if narrow else torch.float32).contiguous() for t in tensors]


def _linear_tiles(
    p: float, x: Tensor, weight: Tensor, seed: Tensor
) -> Iterator[tuple[slice, slice, Tensor, _Coin]]:
    """Walk over the masks (O, B, I) of a linear layer: rows of x, outputs, words, coin."""
    device, (rows, in_features), out_features = x.device, x.shape, weight.shape[0]
    generator, coin = generator_from(seed, device), _Coin.of(p)
    room = _TILE.get(device.type, _TILE_ELSEWHERE)
    height = max(1, min(rows, room // max(in_features, 1)))
    for top in range(0, rows, height):
        some = min(height, rows - top)
        width = max(1, min(out_features, room // max(some * in_features, 1)))
        tiles = math.ceil(out_features / width)
        words = _words(coin, (width, some, in_features), tiles, generator)
        for left, word in zip(range(0, out_features, width), words, strict=True):
            right = min(left + width, out_features)
            yield slice(top, top + some), slice(left, right), word[: right - left], coin


@torch.library.custom_op(
    "convzoo::drop_connect_linear",
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor seed, float p) -> Tensor",
)
def drop_connect_linear(x: Tensor, weight: Tensor, seed: Tensor, p: float) -> Tensor:
    """`x` (B, I) times `weight` (O, I), masked for each row of `x`: (B, O)."""
    a, w = _wide(x, weight)
    y = a.new_empty(w.shape[0], a.shape[0])  # (O, B)
    out: Tensor | None = None
    for rows, outs, words, coin in _linear_tiles(p, a, w, seed):
        out = _reuse(out, a.dtype, words)
        masked = _masked(a[rows], words, coin, out)  # (o, b, I)
        y[outs, rows] = torch.bmm(w[outs, None], masked.transpose(1, 2))[:, 0]
    return y.t().to(x.dtype).contiguous()


@drop_connect_linear.register_fake
def _(x: Tensor, weight: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


@torch.library.custom_op(
    "convzoo::drop_connect_linear_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor weight, Tensor seed, float p, bool for_x, "
    "bool for_weight) -> (Tensor, Tensor)",
)
def drop_connect_linear_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    seed: Tensor,
    p: float,
    for_x: bool,
    for_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of `x` and `weight` from the same masks; empty where not asked for."""
    g, a, w = _wide(grad, x, weight)
    dx = torch.zeros_like(a) if for_x else a.new_empty(0)
    dw = torch.zeros_like(w) if for_weight else w.new_empty(0)
    out: Tensor | None = None
    for rows, outs, words, coin in _linear_tiles(p, a, w, seed):
        out = _reuse(out, a.dtype, words)
        tile = g[rows, outs]  # (b, o)
        if for_weight:
            masked = _masked(a[rows], words, coin, out)  # (o, b, I)
            dw[outs] += torch.bmm(tile.t().contiguous()[:, None], masked)[:, 0]
        if for_x:
            masked = _masked(w[outs, None], words, coin, out)  # (o, b, I)
            dx[rows] += torch.bmm(tile[:, None], masked.transpose(0, 1))[:, 0]
    return dx.to(x.dtype), dw.to(weight.dtype)


@drop_connect_linear_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    seed: Tensor,
    p: float,
    for_x: bool,
    for_weight: bool,
) -> tuple[Tensor, Tensor]:
    del grad, seed, p
    return _empty_gradients(x, weight, for_x, for_weight)


def _empty_gradients(
    x: Tensor, weight: Tensor, for_x: bool, for_weight: bool
) -> tuple[Tensor, Tensor]:
    dx = torch.empty_like(x, memory_format=torch.contiguous_format) if for_x else x.new_empty(0)
    dw = (
        torch.empty_like(weight, memory_format=torch.contiguous_format)
        if for_weight
        else weight.new_empty(0)
    )
    return dx, dw


def _reuse(out: Tensor | None, dtype: torch.dtype, words: Tensor) -> Tensor | None:
    return (
        out[: len(words)]
        if out is not None and out.shape[1:] == words.shape[1:]
        else (_buffer(dtype, words))
    )


# Convolution: the mask of one example is a mask of the weights, so examples are the tiles ------


@torch.library.custom_op(
    "convzoo::drop_connect_conv2d",
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor seed, float p, SymInt[] stride, SymInt[] dilation, "
    "SymInt groups) -> Tensor",
)
def drop_connect_conv2d(
    x: Tensor,
    weight: Tensor,
    seed: Tensor,
    p: float,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Convolve each `x[b]` (C, H, W) with its own masked `weight` (O, C / groups, KH, KW)."""
    a, w = x, weight.to(x.dtype).contiguous()
    coin, generator = _Coin.of(p), generator_from(seed, x.device)
    y = _empty_conv2d(x, weight, stride, dilation)
    out: Tensor | None = None
    for b, words in enumerate(_words(coin, w.shape, len(a), generator)):
        out = _reuse(out, w.dtype, words)
        masked = _masked(w, words, coin, out)
        y[b : b + 1] = nn.functional.conv2d(
            a[b : b + 1], masked, None, list(stride), 0, list(dilation), groups
        )
    return y


def _empty_conv2d(
    x: Tensor, weight: Tensor, stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Room for the output, in the memory format of `x`."""
    size = [
        (s - d * (k - 1) - 1) // step + 1
        for s, k, step, d in zip(x.shape[2:], weight.shape[2:], stride, dilation, strict=True)
    ]
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.empty(
        [x.shape[0], weight.shape[0], *size],
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )


@drop_connect_conv2d.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    seed: Tensor,
    p: float,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    del seed, p, groups
    return _empty_conv2d(x, weight, stride, dilation)


@torch.library.custom_op(
    "convzoo::drop_connect_conv2d_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor weight, Tensor seed, float p, SymInt[] stride, "
    "SymInt[] dilation, SymInt groups, bool for_x, bool for_weight) -> (Tensor, Tensor)",
)
def drop_connect_conv2d_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    seed: Tensor,
    p: float,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    for_x: bool,
    for_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of `x` and `weight` from the same masks; empty where not asked for."""
    w = weight.to(x.dtype).contiguous()
    coin, generator = _Coin.of(p), generator_from(seed, x.device)
    dx, _ = _empty_gradients(x, weight, for_x, for_weight)
    dw = torch.zeros_like(w, dtype=torch.promote_types(w.dtype, torch.float32))
    out: Tensor | None = None
    for b, words in enumerate(_words(coin, w.shape, len(x), generator)):
        out = _reuse(out, w.dtype, words)
        masked = _masked(w, words, coin, out)
        gx, gw, _ = torch.ops.aten.convolution_backward(
            grad[b : b + 1],
            x[b : b + 1],
            masked,
            None,
            list(stride),
            [0, 0],
            list(dilation),
            False,
            [0, 0],
            groups,
            [for_x, for_weight, False],
        )
        if for_x:
            dx[b : b + 1] = gx
        if for_weight:
            dw += _masked(gw.contiguous(), words, coin, out)
    return dx, dw.to(weight.dtype) if for_weight else weight.new_empty(0)


@drop_connect_conv2d_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    *settings: Any,
) -> tuple[Tensor, Tensor]:
    del grad
    *_, for_x, for_weight = settings
    return _empty_gradients(x, weight, for_x, for_weight)


for _operator in (
    drop_connect_linear,
    drop_connect_linear_backward,
    drop_connect_conv2d,
    drop_connect_conv2d_backward,
):

    @_operator.register_vmap
    def _(
        info: Any, in_dims: tuple[Any, ...], *args: Any, operator: Any = _operator
    ) -> tuple[Any, Any]:
        return map_slices(operator, info.batch_size, in_dims, args)


class _Linear(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, seed: Tensor, p: float) -> Tensor:
        y: Tensor = drop_connect_linear(x, weight, seed, p)
        return y

    @staticmethod
    def setup_context(
        ctx: Any,
        inputs: tuple[Any, ...],
        output: Tensor,  # noqa: ARG004 - PyTorch passes it by name
    ) -> None:
        *tensors, ctx.p = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        for_x, for_weight, *_ = ctx.needs_input_grad
        dx, dw = drop_connect_linear_backward(
            grads[0], *ctx.saved_tensors, ctx.p, for_x, for_weight
        )
        return dx if for_x else None, dw if for_weight else None, None, None


class _Conv2d(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        seed: Tensor,
        p: float,
        stride: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> Tensor:
        y: Tensor = drop_connect_conv2d(x, weight, seed, p, stride, dilation, groups)
        return y

    @staticmethod
    def setup_context(
        ctx: Any,
        inputs: tuple[Any, ...],
        output: Tensor,  # noqa: ARG004 - PyTorch passes it by name
    ) -> None:
        x, weight, seed, *ctx.settings = inputs
        ctx.save_for_backward(x, weight, seed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        for_x, for_weight, *_ = ctx.needs_input_grad
        dx, dw = drop_connect_conv2d_backward(
            grads[0], *ctx.saved_tensors, *ctx.settings, for_x, for_weight
        )
        return dx if for_x else None, dw if for_weight else None, *[None] * 5


def masked_linear(x: Tensor, weight: Tensor, seed: Tensor, p: float) -> Tensor:
    """`x` (..., I) times `weight` (O, I), masked for each row of `x`; differentiable."""
    y: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, seed, p)
    return y.view(*x.shape[:-1], weight.shape[0])


def masked_conv2d(
    x: Tensor,
    weight: Tensor,
    seed: Tensor,
    p: float,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Convolve padded `x` (B, C, H, W), with a mask for each example; differentiable."""
    y: Tensor = _Conv2d.apply(x, weight, seed, p, list(stride), list(dilation), groups)
    return y
