"""Parameter groups for torch's optimizers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from convzoo._classifier import Classifier
from convzoo.errors import InputError
from convzoo.transfer._heads import find_heads, inside, owns_parameters, unwrap

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_NORM_NAME = re.compile(r"Norm(Act)?(\dd)?$", re.IGNORECASE)

# In networks that are not ours, a top-level module of one of these names is a sequence of the
# network's stages rather than one of them.
_SEQUENCES = frozenset({"features", "stages", "blocks", "layers"})


class ParamGroup(dict[str, Any]):
    """One parameter group: a `dict` as torch's optimizers take it, with typed access.

    A plain `dict` subclass and not a `TypedDict`: torch types its argument as `dict[str, Any]`,
    which a `TypedDict` is not.
    """

    def __init__(
        self, *, name: str, params: list[nn.Parameter], lr: float, weight_decay: float
    ) -> None:
        super().__init__(name=name, params=params, lr=lr, weight_decay=weight_decay)

    @property
    def name(self) -> str:
        """The block's name, with `.no_decay` after it for biases and norms."""
        name: str = self["name"]
        return name

    @property
    def params(self) -> list[nn.Parameter]:
        """The parameters."""
        params: list[nn.Parameter] = self["params"]
        return params

    @property
    def lr(self) -> float:
        """The learning rate."""
        lr: float = self["lr"]
        return lr

    @property
    def weight_decay(self) -> float:
        """The weight decay; 0 for biases and norms."""
        weight_decay: float = self["weight_decay"]
        return weight_decay


def param_groups(
    net: nn.Module,
    lr: float,
    *,
    head_lr: float | None = None,
    layer_decay: float | None = None,
    weight_decay: float = 0.0,
) -> list[ParamGroup]:
    """Parameter groups for fine-tuning: no decay on biases and norms, slower early layers.

    Every trainable parameter is in exactly one group (a tied one where it comes first); frozen
    ones are left out. Weight decay falls on weights only: every parameter of one dimension or
    none, everything in a normalisation layer, and what the network's own `no_weight_decay()`
    names (timm's do: position embeddings, class tokens) go without.

    Args:
        net: Any network.
        lr: Learning rate of the last block before the head.
        head_lr: Learning rate of the heads' last layers; None means `lr`.
        layer_decay: Factor in (0, 1] by which each block's learning rate falls below that of
            the block after it; None means one rate for all. The blocks of a
            [Classifier][convzoo.Classifier] are its stages, and what comes after the last stage,
            if that has parameters. Those of another network are its top-level modules, where
            `features`, `stages`, `blocks` and `layers` count as the modules in them. Blocks
            without parameters do not count; frozen ones do.
        weight_decay: Weight decay of the weights, at least 0.

    Returns:
        Groups for `torch.optim`, from the input to the head.

    Raises:
        InputError: An argument is out of range, or every parameter is frozen.

    Example:
        >>> import convzoo, torch
        >>> net = convzoo.freeze(convzoo.cifar_resnet20(), "up_to:layer2")
        >>> groups = convzoo.param_groups(net, 0.01, head_lr=0.1, weight_decay=1e-4)
        >>> [(g.name, g.lr, g.weight_decay) for g in groups[:2]]
        [('layer3', 0.01, 0.0001), ('layer3.no_decay', 0.01, 0.0)]
        >>> [(g.name, g.lr, g.weight_decay) for g in groups[2:]]
        [('head', 0.1, 0.0001), ('head.no_decay', 0.1, 0.0)]
        >>> optimizer = torch.optim.SGD(groups, momentum=0.9)
    """
    _check(lr, head_lr, layer_decay, weight_decay)
    core = unwrap(net)
    heads = find_heads(core)
    exempt = _named_exempt(core)
    blocks = _blocks(core, heads)
    body = [block for block, _ in blocks]
    split: dict[tuple[str, bool], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for path, module in core.named_modules():
        norm = isinstance(module, _NORMS) or bool(_NORM_NAME.search(type(module).__name__))
        block = _block_of(path, heads, blocks)
        for name, parameter in module.named_parameters(path, recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            decays = not (norm or parameter.ndim <= 1 or name in exempt)
            split.setdefault((block, decays), []).append(parameter)
    if not split:
        raise InputError("net: every parameter is frozen; there is nothing to optimize")
    decay = 1.0 if layer_decay is None else layer_decay
    rates = {name: lr * decay ** (len(body) - 1 - index) for index, name in enumerate(body)}
    rates[_HEAD] = lr if head_lr is None else head_lr
    return [
        ParamGroup(
            name=block if decays else f"{block}.no_decay",
            params=split[block, decays],
            lr=rate,
            weight_decay=weight_decay if decays else 0.0,
        )
        for block, rate in rates.items()
        for decays in (True, False)
        if (block, decays) in split
    ]


_HEAD = "head"


def _check(
    lr: float, head_lr: float | None, layer_decay: float | None, weight_decay: float
) -> None:
    for name, value in (("lr", lr), ("head_lr", head_lr), ("weight_decay", weight_decay)):
        if value is not None and not value >= 0:
            raise InputError(f"{name}: expected a number of at least 0, got {value!r}")
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise InputError(f"layer_decay: expected a factor in (0, 1], got {layer_decay!r}")


def _named_exempt(net: nn.Module) -> set[str]:
    """Parameters that the network itself wants without decay."""
    declare = getattr(net, "no_weight_decay", None)
    return set(declare()) if callable(declare) else set()


def _blocks(net: nn.Module, heads: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Names of the blocks before the head in running order, with the paths in each."""
    tops = [path for path, _ in _expanded(net)]
    if not isinstance(net, Classifier):
        blocks = [(top, [top]) for top in tops]
    else:
        blocks = []
        order = [path for path, _ in net.named_modules() if path]
        start = 0
        for stage in net.stages:
            end = max(i for i, path in enumerate(order) if inside(path, stage.module)) + 1
            blocks.append((stage.name, order[start:end]))
            start = max(start, end)
        blocks.append(("rest", order[start:]))
    kept = []
    for name, paths in blocks:
        if any(_has_body_parameters(net, path, heads) for path in paths):
            kept.append((name, paths))
    # Parameters that the network holds itself (class tokens) go with the first block.
    return kept or [("backbone", [])]


def _expanded(net: nn.Module) -> list[tuple[str, nn.Module]]:
    tops: list[tuple[str, nn.Module]] = []
    for name, child in net.named_children():
        if name in _SEQUENCES and isinstance(child, (nn.Sequential, nn.ModuleList)):
            tops += [(f"{name}.{inner}", layer) for inner, layer in child.named_children()]
        else:
            tops.append((name, child))
    return tops


def _has_body_parameters(net: nn.Module, path: str, heads: Sequence[str]) -> bool:
    module = net.get_submodule(path)
    in_heads = {id(p) for head in heads for p in net.get_submodule(head).parameters()}
    return owns_parameters(module) and any(id(p) not in in_heads for p in module.parameters())


def _block_of(path: str, heads: Sequence[str], blocks: Sequence[tuple[str, list[str]]]) -> str:
    if any(inside(path, head) for head in heads):
        return _HEAD
    for name, paths in blocks:
        if any(inside(path, part) for part in paths):
            return name
    return blocks[0][0]
