"""Gradient checkpointing: less memory in training, for the price of one more forward pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_in_parts(x: Tensor, layers: Sequence[nn.Module], ends: Collection[nn.Module]) -> Tensor:
    """Layers one after the other; of each part only its input is kept for the backward pass.

    Args:
        x: What the first layer gets.
        layers: The layers. A `Sequential` with an end inside counts as its own layers, unless it
            has hooks, which would not fire then.
        ends: The layers that a part ends with.

    Returns:
        What the last layer returns.
    """
    part: list[nn.Module] = []
    for layer in _taken_apart(layers, ends):
        part.append(layer)
        if layer in ends:
            x, part = _checkpointed(part, x), []
    return _checkpointed(part, x) if part else x


def _taken_apart(layers: Sequence[nn.Module], ends: Collection[nn.Module]) -> Iterator[nn.Module]:
    for layer in layers:
        hooked = layer._forward_hooks or layer._forward_pre_hooks
        whole = layer in ends or hooked or not isinstance(layer, nn.Sequential)
        if not whole and any(module in ends for module in layer.modules()):
            yield from _taken_apart(tuple(layer.children()), ends)
        else:
            yield layer


def _checkpointed(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    def run(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    norms = [m for layer in layers for m in layer.modules() if isinstance(m, _BatchNorm)]
    if torch.compiler.is_compiling():  # the compiler runs no side effect twice
        out: Tensor = checkpoint(run, x, use_reentrant=False)
    else:
        out = checkpoint(
            run, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _held(norms))
        )
    return out


@contextmanager
def _held(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let batch normalisation compute what it did in the first pass, and count nothing twice."""
    counted = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, _, _ in counted:
        norm.momentum = 0.0  # none of the new statistics, and as many tensors for the gradient
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, momentum, batches in counted:
            norm.momentum, norm.num_batches_tracked = momentum, batches
