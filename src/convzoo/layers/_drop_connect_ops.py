"""DropConnect's arithmetic: a mask of the weights for each example, never stored.

A mask of its own for each of B examples has B times as many entries as the layer has weights.
So the layer is computed a tile at a time: random words are drawn for the tile, decide which
entries are kept, and are forgotten. Backward starts the generator at the same seed and meets
the same masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convzoo.layers._draws import generator_from, map_slices
from convzoo.layers._drop_connect_masks import Coin, mask, random_words, reuse_buffer

_TILE = {"cpu": 1 << 19}  # entries at a time: two buffers of 2 MB stay in the cache
_TILE_ELSEWHERE = 1 << 24  # elsewhere fewer, larger steps


def _wide(*tensors: Tensor) -> list[Tensor]:
    """Compute in float32 at least: half-precision sums would lose what the masks decide."""
    narrow = any(t.dtype is torch.float64 for t in tensors)
    return [t.to(torch.float64 if narrow else torch.float32).contiguous() for t in tensors]


def _linear_tiles(
    p: float, x: Tensor, weight: Tensor, seed: Tensor
) -> Iterator[tuple[slice, slice, Tensor, Coin]]:
    """Walk over the masks (O, B, I) of a linear layer: rows of x, outputs, words, coin."""
    device, (rows, in_features), out_features = x.device, x.shape, weight.shape[0]
    generator, coin = generator_from(seed, device), Coin.of(p)
    room = _TILE.get(device.type, _TILE_ELSEWHERE)
    height = max(1, min(rows, room // max(in_features, 1)))
    for top in range(0, rows, height):
        some = min(height, rows - top)
        width = max(1, min(out_features, room // max(some * in_features, 1)))
        tiles = math.ceil(out_features / width)
        words = random_words(coin, (width, some, in_features), tiles, generator)
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
        out = reuse_buffer(out, a.dtype, words)
        masked = mask(a[rows], words, coin, out)  # (o, b, I)
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
        out = reuse_buffer(out, a.dtype, words)
        tile = g[rows, outs]  # (b, o)
        if for_weight:
            masked = mask(a[rows], words, coin, out)  # (o, b, I)
            dw[outs] += torch.bmm(tile.t().contiguous()[:, None], masked)[:, 0]
        if for_x:
            masked = mask(w[outs, None], words, coin, out)  # (o, b, I)
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
    coin, generator = Coin.of(p), generator_from(seed, x.device)
    y = _empty_conv2d(x, weight, stride, dilation)
    out: Tensor | None = None
    for b, words in enumerate(random_words(coin, w.shape, len(a), generator)):
        out = reuse_buffer(out, w.dtype, words)
        masked = mask(w, words, coin, out)
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
    coin, generator = Coin.of(p), generator_from(seed, x.device)
    dx, _ = _empty_gradients(x, weight, for_x, for_weight)
    dw = torch.zeros_like(w, dtype=torch.promote_types(w.dtype, torch.float32))
    out: Tensor | None = None
    for b, words in enumerate(random_words(coin, w.shape, len(x), generator)):
        out = reuse_buffer(out, w.dtype, words)
        masked = mask(w, words, coin, out)
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
            dw += mask(gw.contiguous(), words, coin, out)
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


# Gradients. The output is linear in x and in the weight, so its gradients are such forms again,
# of any order. `settings` are the operators' last arguments: p alone for the linear layer.


def _forward(x: Tensor, weight: Tensor, seed: Tensor, settings: tuple[Any, ...]) -> Tensor:
    y: Tensor = _Masked.apply(x, weight, seed, settings)
    return y


def _gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    seed: Tensor,
    settings: tuple[Any, ...],
    for_x: bool,
    for_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:
    dx, dw = _MaskedGradient.apply(grad, x, weight, seed, settings, for_x, for_weight)
    return dx if for_x else None, dw if for_weight else None


class _Masked(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, seed: Tensor, settings: tuple[Any, ...]) -> Tensor:
        operator = drop_connect_linear if len(settings) == 1 else drop_connect_conv2d
        y: Tensor = operator(x, weight, seed, *settings)
        return y

    @staticmethod
    def setup_context(
        ctx: Any,
        inputs: tuple[Any, ...],
        output: Tensor,  # noqa: ARG004 - PyTorch passes it by name
    ) -> None:
        *tensors, ctx.settings = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        for_x, for_weight, *_ = ctx.needs_input_grad
        x, weight, seed = ctx.saved_tensors
        dx, dw = _gradients(grads[0], x, weight, seed, ctx.settings, for_x, for_weight)
        return dx, dw, None, None


class _MaskedGradient(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        grad: Tensor,
        x: Tensor,
        weight: Tensor,
        seed: Tensor,
        settings: tuple[Any, ...],
        for_x: bool,
        for_weight: bool,
    ) -> tuple[Tensor, Tensor]:
        linear = len(settings) == 1
        operator = drop_connect_linear_backward if linear else drop_connect_conv2d_backward
        dx, dw = operator(grad, x, weight, seed, *settings, for_x, for_weight)
        return dx, dw

    @staticmethod
    def setup_context(
        ctx: Any,
        inputs: tuple[Any, ...],
        output: tuple[Tensor, Tensor],  # noqa: ARG004 - PyTorch passes it by name
    ) -> None:
        *tensors, ctx.settings, ctx.for_x, ctx.for_weight = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad, x, weight, seed = ctx.saved_tensors
        along_x, along_weight = grads
        dgrad = torch.zeros_like(grad)
        if ctx.for_x:
            dgrad = dgrad + _forward(along_x, weight, seed, ctx.settings)
        if ctx.for_weight:
            dgrad = dgrad + _forward(x, along_weight, seed, ctx.settings)
        dx, dw = _gradients(
            grad,
            along_x if ctx.for_x else x,
            along_weight if ctx.for_weight else weight,
            seed,
            ctx.settings,
            ctx.for_weight,  # dx of the gradient is a form in `along_weight`, and vice versa
            ctx.for_x,
        )
        return dgrad, dx, dw, None, None, None, None


def masked_linear(x: Tensor, weight: Tensor, seed: Tensor, p: float) -> Tensor:
    """`x` (..., I) times `weight` (O, I), masked for each row of `x`; differentiable."""
    y = _forward(x.reshape(-1, x.shape[-1]), weight, seed, (p,))
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
    return _forward(x, weight, seed, (p, list(stride), list(dilation), groups))
