"""Turn the layers of a finished network into DropConnect layers, and back.

Paper: Wan, Zeiler, Zhang, LeCun, Fergus, *Regularization of Neural Networks using
DropConnect*, 2013.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from typing import TypeVar, Unpack

from torch import nn

from convzoo.errors import InputError
from convzoo.layers.dropconnect import (
    DropConnectConv2d,
    DropConnectLinear,
    DropConnectOptions,
    _DropConnect,
)

Net = TypeVar("Net", bound=nn.Module)
Where = str | Iterable[str] | Callable[[str, nn.Module], bool]


def apply_drop_connect(
    net: Net,
    where: Where | None = None,
    p: float = 0.5,
    **options: Unpack[DropConnectOptions],
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
        **options: `per`, `inference`, `samples`, `rescale` and `generator`:
            [DropConnectOptions][convzoo.layers.DropConnectOptions]. With `rescale=True`
            evaluation computes what the network computed before: for networks that are trained
            already. The activations are layers of their own here, so that inference by
            `"gaussian"` equals `"mean"`.

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
        if type(module) in _DROPPING or isinstance(module, _DropConnect)
    }
    chosen = _choose(layers, where)
    if not chosen:
        known = ", ".join(repr(name) for name in layers) or "none"
        raise InputError(
            f"where: expected to fit at least one nn.Linear or nn.Conv2d layer, got {where!r}; "
            f"there are: {known}"
        )
    DropConnectLinear(1, 1, p=p, device="meta", **options)  # all checks first
    for module in chosen:
        # A class with the same data: nothing is copied, nobody holds a stale layer.
        _become(module, _DROPPING.get(type(module), type(module)))
        if isinstance(module, _DropConnect):
            module._configure(p, **options)
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
    layers = [module for module in net.modules() if isinstance(module, _DropConnect)]
    for module in layers:
        if module.activation is not None:
            raise InputError(
                f"net: expected DropConnect layers without activation, got {module}: "
                "a plain layer would leave it out"
            )
    for module in layers:
        for name in _DropConnect.__annotations__:  # its settings
            delattr(module, name)
        _become(module, nn.Linear if isinstance(module, DropConnectLinear) else nn.Conv2d)
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
