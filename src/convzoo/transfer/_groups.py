"""Parameter groups for torch's optimizers."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from torch import nn

from convzoo._checks import check_number
from convzoo._classifier import Classifier
from convzoo._stages import auxiliary, blocks_by_stage, inside, is_norm
from convzoo.errors import InputError
from convzoo.transfer._find_heads import find_heads, unwrap
from convzoo.transfer._freeze import Selection

_HEAD = "head"
_AUX = "aux"  # the layers of auxiliary heads before the last; they lie beside the stages
_REST = "rest"  # what comes after the last stage and is not the head's last layer

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
        lr: Learning rate of the last block before the head, and of the layers that auxiliary
            heads have before their last.
        head_lr: Learning rate of the heads' last layers; None means `lr`.
        layer_decay: Factor in (0, 1] by which each block's learning rate falls below that of
            the block after it; None means one rate for all. The blocks of a
            [Classifier][convzoo.Classifier] are its stages, and what comes after the last stage,
            if that has parameters. Those of another network are its top-level modules, where
            `features`, `stages`, `blocks` and `layers` count as the modules in them. A block of
            nothing but normalisation counts with the one before it, blocks without parameters
            do not count, frozen ones do.
        weight_decay: Weight decay of the weights, at least 0.

    Returns:
        Groups for `torch.optim`, from the input to the head.

    Raises:
        InputError: An argument is out of range, or every parameter is frozen.

    Examples:
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
    block_of, body, norms = _blocks(core)
    exempt = _named_exempt(core)
    split: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in core.named_parameters():  # tied ones once
        path = name.rpartition(".")[0]
        if parameter.requires_grad:
            block = body.get(block_of[path], block_of[path])
            decays = not (path in norms or parameter.ndim <= 1 or name in exempt)
            split.setdefault((block, decays), []).append(parameter)
    if not split:
        raise InputError("net: every parameter is frozen; there is nothing to optimize")
    decay = 1.0 if layer_decay is None else layer_decay
    blocks = list(dict.fromkeys(body.values()))
    rates = {name: lr * decay ** (len(blocks) - 1 - index) for index, name in enumerate(blocks)}
    rates[_AUX] = lr
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


def blocks_with_parameters(net: nn.Module) -> dict[str, Selection]:
    """What `param_groups` groups, from the input on, heads and auxiliary heads left out.

    Args:
        net: The network itself, in no wrapper.

    Returns:
        By the block's name its parameters, and the modules that lie in it with everything in them.
    """
    block_of, body, _ = _blocks(net)
    found: dict[str, tuple[list[nn.Module], list[nn.Parameter]]] = {
        name: ([], []) for name in body.values()
    }
    # A container such as `features` counts with its first block and holds the others as well.
    around: dict[str, set[str]] = {}
    for path, block in block_of.items():
        pieces = path.split(".") if path else []
        for end in range(len(pieces) + 1):
            around.setdefault(".".join(pieces[:end]), set()).add(body.get(block, block))
    for path, module in net.named_modules():
        block = body.get(block_of[path], block_of[path])
        # What has no parameters, a pooling say, has no block of its own either.
        if block in found:
            if len(around[path]) == 1:
                found[block][0].append(module)
            found[block][1].extend(module.parameters(recurse=False))
    return {name: Selection(tuple(ms), tuple(ps)) for name, (ms, ps) in found.items()}


def _blocks(net: nn.Module) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """The block of each path, the block that each block counts with, and paths of norms."""
    block_of = _block_of_each(net, find_heads(net))
    norms = {path for path, module in net.named_modules() if is_norm(module)}
    return block_of, _join_norms(net, block_of, norms), norms


def _check(
    lr: float, head_lr: float | None, layer_decay: float | None, weight_decay: float
) -> None:
    for name, value in (("lr", lr), ("head_lr", head_lr), ("weight_decay", weight_decay)):
        if value is not None:
            check_number(name, value, 0)
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise InputError(f"layer_decay: expected a factor in (0, 1], got {layer_decay!r}")


def _named_exempt(net: nn.Module) -> set[str]:
    """Parameters that the network itself wants without decay."""
    declare: Any = getattr(net, "no_weight_decay", None)
    return set() if declare is None else set(declare())


def _join_norms(
    net: nn.Module, block_of: Mapping[str, str], norms: Container[str]
) -> dict[str, str]:
    """Block -> the block it counts with, for each that has parameters, in running order.

    A block of nothing but norms (`bn1` after `conv1`, the norm after the last stage) counts with
    the block before it: a rate of its own would push all earlier ones down by one step.
    """
    weights: dict[str, bool] = {}
    for path, module in net.named_modules():
        block = block_of[path]
        if block not in (_HEAD, _AUX) and next(module.parameters(recurse=False), None) is not None:
            weights[block] = weights.get(block, False) or path not in norms
    joined: dict[str, str] = {}
    for block, has_weights in weights.items():
        joined[block] = block if has_weights or not joined else list(joined.values())[-1]
    return joined


def _block_of_each(net: nn.Module, heads: Sequence[str]) -> dict[str, str]:
    """The block's name for the path of every module."""
    order = [path for path, _ in net.named_modules()]
    if isinstance(net, Classifier):
        blocks = blocks_by_stage(net, order, _REST)
    else:
        blocks = {path: _top(net, path) for path in order}
    # What modules around the blocks hold themselves (class tokens) goes with the first of them.
    first = next((name for name in blocks.values() if name), _REST)
    found = {path: name or first for path, name in blocks.items()}
    aux = auxiliary(heads)
    for path in order:
        if any(inside(path, head) for head in heads):
            found[path] = _HEAD
        elif path.partition(".")[0] in aux:
            found[path] = _AUX
    return found


def _top(net: nn.Module, path: str) -> str:
    """The top-level module that `path` lies in, or the one below it in a sequence of stages."""
    top, _, below = path.partition(".")
    if top in _SEQUENCES and isinstance(net.get_submodule(top), (nn.Sequential, nn.ModuleList)):
        return f"{top}.{below.partition('.')[0]}" if below else ""
    # timm's `head` may hold a norm or a hidden layer beside the layer that scores the classes.
    return f"{_HEAD}.{_REST}" if top == _HEAD else top
