"""Shapes of what operators return on the meta device, where torch's own rule is slow to import.

torch has these rules in Python, and imports sympy and torch._dynamo for them: seconds, before the
first layer of a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

_aten = torch.ops.aten


def quick_result(func: object, args: tuple[Any, ...]) -> Any:
    """What an operator returns on the meta device, without torch's rule.

    Args:
        func: The operator's overload.
        args: What it was called with.

    Returns:
        Its result; None where torch's rule has to be asked.
    """
    rule = _RULES.get(getattr(func, "overloadpacket", None))
    if rule is None:
        return None
    x = args[0][0] if isinstance(args[0], list) else args[0]
    return rule(*args) if isinstance(x, Tensor) and x.is_meta else None


def _convolution(x: Tensor, weight: Tensor, _bias: object, *rest: Any) -> Tensor | None:
    """(B, C, H, W) through weights (out, C / groups, kh, kw)."""
    stride, padding, dilation, transposed = rest[:4]
    if transposed:
        return None
    sides = _windows(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    return x.new_empty([x.shape[0], weight.shape[0], *sides])


def _batch_norm(x: Tensor, *rest: object) -> tuple[Tensor, Tensor, Tensor] | None:
    training = rest[4]  # after weight, bias, mean and variance
    return None if training else (x.new_empty(x.shape), x.new_empty(0), x.new_empty(0))


def _max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil: bool = False,
) -> tuple[Tensor, Tensor]:
    sides = _windows(x.shape[-2:], kernel, stride or kernel, padding, dilation, ceil=ceil)
    shape = [*x.shape[:-2], *sides]
    return x.new_empty(shape), x.new_empty(shape, dtype=torch.int64)


def _avg_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil: bool = False,
    *_: object,
) -> Tensor:
    sides = _windows(x.shape[-2:], kernel, stride or kernel, padding, (1,), ceil=ceil)
    return x.new_empty([*x.shape[:-2], *sides])


def _adaptive_pool(x: Tensor, size: Sequence[int]) -> Tensor:
    return x.new_empty([*x.shape[:-2], *size])


def _mean(x: Tensor, dims: Sequence[int] | None = None, keep: bool = False) -> Tensor | None:
    if not dims:
        return None
    gone = {dim % x.ndim for dim in dims}
    sides = [1 if d in gone else side for d, side in enumerate(x.shape) if keep or d not in gone]
    return x.new_empty(sides)


def _linear(_bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return _product(x, weight)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty([x.shape[0], weight.shape[1]])


def _pointwise(x: Tensor, other: object = None) -> Tensor | None:
    if isinstance(other, Tensor):
        pairs = zip(reversed(other.shape), reversed(x.shape), strict=False)
        wider = other.ndim > x.ndim or any(one not in (1, side) for one, side in pairs)
        if wider or other.dtype != x.dtype:
            return None
    return x.new_empty(x.shape) if x.is_floating_point() else None


def _in_place(x: Tensor, other: object = None) -> Tensor | None:
    return None if _pointwise(x, other) is None else x


def _concatenation(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    sides = list(parts[0].shape)
    sides[dim] = sum(part.shape[dim] for part in parts)
    return parts[0].new_empty(sides)


def _windows(
    sides: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    *,
    ceil: bool = False,
) -> list[int]:
    """How many places a window has along each axis; lists of one number count for all axes."""
    found = []
    for axis, side in enumerate(sides):
        k, s, p, d = (v[axis if len(v) > 1 else 0] for v in (kernel, stride, padding, dilation))
        room = side + 2 * p - d * (k - 1) - 1
        places = -(-room // s) + 1 if ceil else room // s + 1
        if ceil and (places - 1) * s >= side + p:
            places -= 1  # the last window would begin beyond the image
        found.append(places)
    return found


_RULES: Final[dict[object, Callable[..., Any]]] = {
    _aten.convolution: _convolution,
    _aten.native_batch_norm: _batch_norm,
    _aten.max_pool2d_with_indices: _max_pool,
    _aten.avg_pool2d: _avg_pool,
    _aten._adaptive_avg_pool2d: _adaptive_pool,
    _aten.mean: _mean,
    _aten.addmm: _linear,
    _aten.mm: _product,
    **dict.fromkeys(
        (_aten.add, _aten.sub, _aten.mul, _aten.div, _aten.pow, _aten.tanh), _pointwise
    ),
    **dict.fromkeys((_aten.leaky_relu, _aten.sigmoid), _pointwise),
    **dict.fromkeys((_aten.add_, _aten.leaky_relu_, _aten.tanh_), _in_place),
    _aten.cat: _concatenation,
}
