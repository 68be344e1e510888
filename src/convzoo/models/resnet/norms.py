"""What normalises a residual network: batch normalisation, or what detectors put in its place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, cast, get_args

from torch import nn

from convzoo._checks import check_choice
from convzoo.errors import InputError

NormLayer = Literal["batch_norm", "frozen_batch_norm", "group_norm", "layer_norm"]
"""Normalisation by name, so that `save` can keep it: `nn.BatchNorm2d`; torchvision's
`FrozenBatchNorm2d`, with the same keys; `nn.GroupNorm` of 32 groups; its `LayerNorm2d`."""

NormFactory = Callable[[int], nn.BatchNorm2d]
"""From a number of channels to a layer; typed as the usual one, whatever stands in its place."""


def norm_factory(norm_layer: NormLayer | Callable[[int], nn.Module]) -> NormFactory:
    """The layer that a name stands for.

    Args:
        norm_layer: The name, or a callable that takes the number of channels.

    Returns:
        What makes the layer.

    Raises:
        InputError: It is neither, or its layers could not be filled afresh.
        UnknownNameError: There is no such name.
    """
    made: object = norm_layer
    if isinstance(norm_layer, str):
        check_choice("norm_layer", norm_layer, get_args(NormLayer))
        if norm_layer == "batch_norm":
            return nn.BatchNorm2d
        if norm_layer == "group_norm":
            made = functools.partial(nn.GroupNorm, 32)
        else:
            # Imported only here: most networks do without.
            from torchvision.models.convnext import LayerNorm2d
            from torchvision.ops import FrozenBatchNorm2d

            frozen = norm_layer == "frozen_batch_norm"
            made = FrozenBatchNorm2d if frozen else functools.partial(LayerNorm2d, eps=1e-6)
    if not callable(made):
        raise InputError(
            f"norm_layer: expected one of {', '.join(get_args(NormLayer))}, or a callable that "
            f"takes the number of channels, got {norm_layer!r:.80}"
        )
    return cast("NormFactory", made)


def norm_name(norm_layer: object) -> object:
    """The name of a layer that has one, so that the option can be kept; else what was given."""
    if norm_layer is nn.BatchNorm2d:
        return "batch_norm"
    if getattr(norm_layer, "__name__", "") == "FrozenBatchNorm2d":
        return "frozen_batch_norm"
    if isinstance(norm_layer, functools.partial):
        name = getattr(norm_layer.func, "__name__", "")
        given = (name, norm_layer.args, norm_layer.keywords)
        if given in (("GroupNorm", (32,), {}), ("GroupNorm", (), {"num_groups": 32})):
            return "group_norm"
        if given == ("LayerNorm2d", (), {"eps": 1e-6}):
            return "layer_norm"
    return norm_layer


def reset_norm(layer: nn.Module) -> None:
    """Let a normalisation layer start as the identity.

    Raises:
        InputError: Nothing says how.
    """
    if callable(reset := getattr(layer, "reset_parameters", None)):
        reset()
        return
    start = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for name, tensor in layer.named_buffers():  # torchvision's FrozenBatchNorm2d
        if name not in start:
            raise InputError(
                f"norm_layer: {type(layer).__name__} has no reset_parameters() that fills {name}"
            )
        tensor.fill_(start[name])
