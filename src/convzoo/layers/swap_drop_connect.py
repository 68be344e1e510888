"""Turn the layers of a finished network into DropConnect layers, and back.

Paper: Wan, Zeiler, Zhang, LeCun, Fergus, *Regularization of Neural Networks using
DropConnect*, 2013.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import nn

from convzoo.errors import InputError
from convzoo.layers.drop_connect import (
    DropConnectConv2d,
    DropConnectLinear,
    Inference,
    Per,
)

Net = TypeVar("Net", bound=nn.Module)
Where = str | Iterable[str] | Callable[[str, nn.Module], bool]


def apply_drop_connect(
    net: Net,
    where: Where | None = None,
    p: float = 0.5,
    *,
    per: Per = "example",
    inference: Inference = "mean",
    samples: int = 1000,
    rescale: bool = False,
    generator: torch.Generator | None = None,
) -> Net:
    """Give layers of any network DropConnect, in place.

    The layers stay the same objects with the same parameters, hooks and names; only their
    class changes. So optimisers, checkpoints and references to them stay valid.

    Args:
        net: Any network.
        where: Which layers: a name or pattern (`"fc"`, `"layer4.*"`), several of them, or a
            function of name and module. Patterns and functions choose among the `nn.Linear`
            and `nn.Conv2d` layers. `None`: every `nn.Linear`, as in the paper.
        p: Probability of dropping a weight, in [0, 1).
        per: `"example"` (the paper) or `"batch"`.
        inference: What evaluation does; the activations are layers of their own here, so
            `"gaussian"` equals `"mean"`.
        samples: How many samples `"monte_carlo"` averages.
        rescale: Divide by `1 - p` in training, so that evaluation computes what the network
            computed before. For networks that are trained already.
        generator: Source of the random numbers, instead of PyTorch's global one.

    Returns:
        `net` itself.

    Raises:
        InputError: No layer fits `where`, or an argument is out of range.

    Examples:
        >>> from torch import nn
        >>> from convzoo.layers import apply_drop_connect, remove_drop_connect
        >>> net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> apply_drop_connect(net, "0", p=0.5)[0]
        DropConnectLinear(in_features=8, out_features=4, bias=True, p=0.5)
        >>> remove_drop_connect(net)[0]
        Linear(in_features=8, out_features=4, bias=True)
    """
    layers: dict[str, nn.Module] = {
        name: module
        for name, module in net.named_modules()
        if type(module) in _DROPPING or isinstance(module, DropConnectLinear | DropConnectConv2d)
    }
    chosen = _choose(layers, where)
    if not chosen:
        known = ", ".join(repr(name) for name in layers) or "none"
        raise InputError(
            f"where: expected to fit at least one nn.Linear or nn.Conv2d layer, got {where!r}; "
            f"there are: {known}"
        )
    probe = DropConnectLinear(1, 1, device="meta")
    probe._configure(p, per, inference, samples, None, rescale, generator)  # all checks first
    for module in chosen:
        # A class with the same data: nothing is copied, nobody holds a stale layer.
        _become(module, _DROPPING.get(type(module), type(module)))
        if isinstance(module, DropConnectLinear | DropConnectConv2d):
            module._configure(p, per, inference, samples, None, rescale, generator)
    return net


def remove_drop_connect(net: Net) -> Net:
    """Turn every DropConnect layer of `net` back into the plain layer, in place.

    Weights are kept as they are. Without `rescale`, evaluation multiplied outputs by `1 - p`;
    the plain layer does not.

    Args:
        net: Any network.

    Returns:
        `net` itself.

    Raises:
        InputError: A layer applies an activation, which a plain layer cannot.
    """
    layers = [m for m in net.modules() if isinstance(m, DropConnectLinear | DropConnectConv2d)]
    for module in layers:
        if module.activation is not None:
            raise InputError(
                f"net: expected DropConnect layers without activation, got {module}: "
                "a plain layer would leave it out"
            )
    for module in layers:
        for name in ("p", "per", "inference", "samples", "activation", "rescale", "generator"):
            delattr(module, name)
        plain = nn.Linear if isinstance(module, DropConnectLinear) else nn.Conv2d
        _become(module, plain)
    return net


_DROPPING: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: DropConnectLinear,
    nn.Conv2d: DropConnectConv2d,
}


def _become(module: nn.Module, kind: type[nn.Module]) -> None:
    module.__class__ = kind


def _choose(layers: dict[str, nn.Module], where: Where | None) -> list[nn.Module]:
    if where is None:
        return [m for m in layers.values() if isinstance(m, nn.Linear)]
    if callable(where):
        return [m for name, m in layers.items() if where(name, m)]
    patterns = [where] if isinstance(where, str) else list(where)
    return [
        m
        for name, m in layers.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]
