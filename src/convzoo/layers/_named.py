"""Layers that a lesson chooses by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, Literal

from torch import nn

from convzoo._checks import check_choice, check_flags, check_number
from convzoo.errors import InputError

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
Norm = Literal["batch", "layer", "instance", "group"]
"""Over what a map is normalised: the batch, all its channels, one, or those of one of four groups
(of fewer, where four do not divide the channels)."""
Pooling = Literal["max", "avg"]

ACTIVATIONS: Final[Mapping[str, Callable[[bool], nn.Module]]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda inplace: nn.LeakyReLU(inplace=inplace),
    "elu": lambda inplace: nn.ELU(inplace=inplace),
    "gelu": lambda _inplace: nn.GELU(),
    "silu": nn.SiLU,
    "tanh": lambda _inplace: nn.Tanh(),
    "sigmoid": lambda _inplace: nn.Sigmoid(),
}
NORMS: Final[Mapping[str, Callable[[int], nn.Module]]] = {
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "group": lambda channels: nn.GroupNorm(math.gcd(4, channels), channels),
}
POOLINGS: Final[Mapping[str, Callable[[], nn.AvgPool2d | nn.MaxPool2d]]] = {
    "max": lambda: nn.MaxPool2d(2),
    "avg": lambda: nn.AvgPool2d(2),
}


def activation_layer(name: Activation, slope: float | None, inplace: bool) -> nn.Module:
    """The layer that a name stands for."""
    if slope is not None:
        return nn.LeakyReLU(check_slope(name, slope), inplace)
    return ACTIVATIONS[name](inplace)


def check_slope(activation: Activation, slope: float) -> float:
    """A slope below 0, which leaky ReLU alone has."""
    if activation != "leaky_relu":
        raise InputError(
            f"slope: expected None with {activation=}, got {slope!r:.80}; it belongs to "
            "activation='leaky_relu'"
        )
    return check_number("slope", slope, 0, 1)


def norm_layer(norm: Norm | None, channels: int, *, batch_norm: bool) -> nn.Module | None:
    """What normalises a map; `batch_norm` is the same as `norm="batch"`."""
    check_flags(batch_norm=batch_norm)
    if norm is not None:
        check_choice("norm", norm, tuple(NORMS))
    if batch_norm and norm not in (None, "batch"):
        raise InputError(f"batch_norm: {norm=} says otherwise; leave one of them out")
    kind = "batch" if batch_norm else norm
    return None if kind is None else NORMS[kind](channels)
