"""Which modules a stage is made of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from convzoo._contract import Contract

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_NORM_NAME = re.compile(r"Norm(Act)?(\dd)?$", re.IGNORECASE)


def is_norm(module: nn.Module) -> bool:
    """Whether a layer normalises: torch's, or by its name timm's and torchvision's."""
    return isinstance(module, _NORMS) or bool(_NORM_NAME.search(type(module).__name__))


def inside(path: str, part: str) -> bool:
    """Whether `path` is the module at `part` or lies in it."""
    return not part or path == part or path.startswith(part + ".")


def blocks_by_stage(net: Contract, order: Sequence[str], rest: str) -> dict[str, str]:
    """The stage that each module counts with.

    A stage's own module is where its feature map can be read, often an activation or a pooling.
    The layers that make the map stand before it: a stage is everything registered after the
    previous stage's module, up to and including its own.

    Args:
        net: The network.
        order: Paths of its modules as `named_modules` gives them.
        rest: What to call what comes after the last stage.

    Returns:
        Path -> name of the stage; the network itself has none (`""`).
    """
    position = {path: index for index, path in enumerate(order)}
    blocks = {"": ""}
    start = 1
    for stage in net.stages:
        end = position[stage.module] + 1
        while end < len(order) and inside(order[end], stage.module):
            end += 1
        blocks.update(dict.fromkeys(order[start:end], stage.name))
        start = max(start, end)
    blocks.update(dict.fromkeys(order[start:], rest))
    return blocks


def auxiliary(heads: Sequence[str]) -> set[str]:
    """The top-level modules that hold auxiliary heads; they lie beside the stages.

    Args:
        heads: Paths of the heads' last layers, the main one first.

    Returns:
        Their names.
    """
    if not heads:
        return set()
    return {head.partition(".")[0] for head in heads[1:]} - {heads[0].partition(".")[0]}


def stage_paths(net: Contract, name: str) -> tuple[str, ...]:
    """Paths of the modules that lie in a stage with everything in them.

    Args:
        net: The network.
        name: One of its stages.

    Returns:
        The paths in the order they are registered, heads and auxiliary heads left out.
    """
    order = [path for path, _ in net.named_modules()]
    heads = tuple(net.head_paths())
    beside = auxiliary(heads)
    blocks = blocks_by_stage(net, order, "")
    chosen = {
        path
        for path in order
        if path
        and blocks[path] == name
        and path.partition(".")[0] not in beside
        and not any(inside(path, head) for head in heads)
    }
    # A container such as `features` is registered before its first layer and holds those of later
    # stages as well.
    return tuple(
        path
        for path in order
        if path in chosen and all(p in chosen for p in order if inside(p, path))
    )
