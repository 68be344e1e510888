"""Freezing that survives `.train()`."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from convzoo._classifier import Classifier
from convzoo._stages import auxiliary, inside, stage_paths
from convzoo.errors import InputError, UnknownNameError
from convzoo.transfer._find_heads import find_heads, owns_parameters, refuse_parallel, unwrap

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Selection:
    """What a part of a network is made of.

    Attributes:
        modules: Modules that lie in the part with everything in them.
        parameters: All parameters of the part: those of `modules`, and those that a module
            which is only partly in it holds itself (a class token, say).
    """

    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]


def freeze(net: M, part: str | Sequence[str] = "backbone") -> M:
    """Freeze a part of a network, so that it stays frozen through `.train()`.

    Its parameters get no gradients, and its modules stay in evaluation mode: running statistics
    of batch normalisation do not move, dropout and its kin stay off. Inputs that require
    gradients still get them. State dict, `copy.deepcopy`, `pickle` and `torch.compile` are not
    affected. Freezing adds to what is frozen already. It holds on to modules: what swaps modules
    for others, such as `nn.SyncBatchNorm.convert_sync_batchnorm`, comes before it.

    What somebody else thaws, by `requires_grad_(True)` say, is let go at the next `.train()`: a
    module as soon as one of its parameters gets gradients, one without parameters once all those of
    the smallest part around it do. Until then [report][convzoo.report] calls it held.

    Args:
        net: Any network, not yet wrapped for data-parallel training.
        part: One of these, or several in a list:

            - `"all"`: the whole network, its heads too;

            - `"backbone"`: everything but the last layers of the heads, auxiliary ones too; an
              auxiliary head's other layers are frozen like a hidden layer of the main one;
            - `"up_to:STAGE"`: everything registered up to and including a stage (a name in
              `net.stages`, or the path of any submodule), the heads' last layers excepted, and
              auxiliary heads as a whole, wherever they are registered; parameters held by a
              module around the stage count as coming before it;
            - `"STAGE"`: that stage or submodule alone. A stage is everything registered after the
              module of the stage before it, up to and including its own module; a stage's name
              comes before a submodule's of the same name.

    Returns:
        The same object.

    Raises:
        UnknownNameError: There is no such stage or submodule; the nearest names are suggested.
        InputError: The stage or submodule holds no parameters (a pooling, say), or the head,
            which `"backbone"` leaves out, cannot be told.

    Examples:
        >>> import convzoo
        >>> net = convzoo.freeze(convzoo.cifar_resnet20(), "up_to:layer2").train()
        >>> net.layer2.training, net.layer3.training
        (False, True)
    """
    refuse_parallel(net, "freeze the network first, then wrap it")
    core = unwrap(net)
    apply_freeze(core, select(core, part))
    return net


def unfreeze(net: M, part: str | Sequence[str] | None = None) -> M:
    """Let a part of a network train again.

    Its parameters get gradients, and its modules follow `.train()` and `.eval()` again; until
    then they take the mode that the network is in.

    Args:
        net: Any network, not yet wrapped for data-parallel training.
        part: As in [freeze][convzoo.freeze]; None means all of the network.

    Returns:
        The same object.

    Raises:
        UnknownNameError: There is no such stage or submodule; the nearest names are suggested.
        InputError: The stage or submodule holds no parameters.

    Examples:
        >>> import convzoo
        >>> net = convzoo.freeze(convzoo.cifar_resnet20())
        >>> net = convzoo.unfreeze(net, "layer3")  # all but the last stage stays frozen
        >>> net.layer2.training, net.layer3.training
        (False, True)
    """
    refuse_parallel(net, "freeze the network first, then wrap it")
    core = unwrap(net)
    apply_unfreeze(core, select(core, "all" if part is None else part))
    return net


def select(
    net: nn.Module, part: str | Sequence[str], heads: Sequence[str] | None = None
) -> Selection:
    """Find the modules and parameters of a part, or of several.

    Args:
        net: The network.
        part: As in `freeze`.
        heads: Paths of the heads' last layers; None means to search for them.

    Returns:
        The part.

    Raises:
        UnknownNameError: There is no such stage or submodule.
        InputError: A stage or submodule was named, and there is nothing in it to freeze. Only
            `"backbone"` may be empty, as it is in a network that is all head.
    """
    if isinstance(part, (list, tuple)) and part:
        found = [select(net, one, heads) for one in part]
        modules = dict.fromkeys(module for one in found for module in one.modules)
        parameters = dict.fromkeys(p for one in found for p in one.parameters)
        return Selection(tuple(modules), tuple(parameters))
    if not isinstance(part, str):
        raise InputError(
            'freeze: expected "backbone", "all", "up_to:STAGE", the name of a stage, or a list of '
            f"these, got {part!r:.80}"
        )
    if part == "all":
        return _whole(net)
    chosen = _select(net, part, heads)
    buffers = any(b is not None for m in chosen.modules for b in m._buffers.values())
    # Batch normalisation without parameters of its own still has statistics to hold still.
    if part != "backbone" and not chosen.parameters and not buffers:
        raise InputError(
            f"part: {part!r} of {type(net).__name__} holds no parameters, so that there is "
            "nothing to freeze or to let train"
        )
    return chosen


def _select(net: nn.Module, part: str, heads: Sequence[str] | None) -> Selection:
    by_path = dict(net.named_modules())
    if part != "backbone" and not part.startswith("up_to:"):
        path = _stage_path(net, part, {"all", "backbone", *by_path})
        if isinstance(net, Classifier) and any(part == stage.name for stage in net.stages):
            chosen = [by_path[p] for p in stage_paths(net, part)]
        else:
            chosen = [module for p, module in by_path.items() if inside(p, path)]
        return Selection(tuple(chosen), _parameters(chosen))
    order = list(by_path)
    last = len(order) - 1
    if part.startswith("up_to:"):
        path = _stage_path(net, part.removeprefix("up_to:"), by_path)
        last = max(index for index, p in enumerate(order) if inside(p, path))
        heads = _heads_if_known(net) if heads is None else heads
        # An auxiliary head may be registered among the stages, where it is read off (`AuxLogits`
        # in Inception-v3); it is after them all the same, like the main head.
        beside = {top for top in _auxiliary(net, heads) if not inside(path, top)}
        heads = (*heads, *beside)
    elif heads is None:
        heads = find_heads(net)
    # What is kept: the heads, and all that is registered after the stage. A module is whole if
    # nothing in it is kept.
    kept = [p for index, p in enumerate(order) if index > last or _inside_any(p, heads)]
    around = {p for k in kept for p in _ancestors(k)}
    skipped = set(kept)
    chosen = [m for p, m in by_path.items() if p not in skipped and p not in around]
    partly = [m for p, m in by_path.items() if p not in skipped and p in around]
    return Selection(tuple(chosen), _parameters([*chosen, *partly]))


def apply_freeze(net: nn.Module, chosen: Selection) -> None:
    """Freeze what `select` found in a network."""
    for parameter in chosen.parameters:
        parameter.requires_grad_(False)
        parameter.grad = None  # an optimizer would go on using a gradient that was left behind
    whole = set(chosen.modules)
    paths = {module: path for path, module in net.named_modules() if module in whole}
    inside_of: dict[str, list[nn.Module]] = {}  # path -> those in it that hold parameters
    for module, path in paths.items():
        if any(p is not None for p in module._parameters.values()):
            for around in {path, *_ancestors(path)}:
                inside_of.setdefault(around, []).append(module)
    for module, path in paths.items():
        while path and path not in inside_of:
            path = path.rpartition(".")[0]
        holders = tuple(inside_of.get(path, ()))
        # On the instance, so that the class, the state dict and the compiled graph stay as they
        # are; a partial of a module-level function, so that it pickles, and so that a deep copy
        # holds on to the copied module and not to this one.
        module.__dict__["train"] = functools.partial(_stay_in_eval, module, holders)
        module.training = False


def apply_unfreeze(net: nn.Module, chosen: Selection) -> None:
    """Let what `select` found in a network train again."""
    for module in chosen.modules:
        if frozen_with(module) is not None:
            del module.__dict__["train"]
            module.training = net.training
    for parameter in chosen.parameters:
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.requires_grad_(True)


def is_frozen(module: nn.Module) -> bool:
    """Whether `freeze` holds the module in evaluation mode, and nobody thawed it since."""
    holders = frozen_with(module)
    return holders is not None and not _is_thawed(module, holders)


def frozen_with(module: nn.Module) -> Sequence[nn.Module] | None:
    """The modules with whose parameters `freeze` froze this one; None if it did not."""
    train = module.__dict__.get("train")
    if not isinstance(train, functools.partial) or train.func is not _stay_in_eval:
        return None
    holders: Sequence[nn.Module] = train.args[1]
    return holders


def _is_thawed(module: nn.Module, holders: Sequence[nn.Module]) -> bool:
    train = [p.requires_grad for m in holders for p in m.parameters(recurse=False)]
    return any(train) if owns_parameters(module) else bool(train) and all(train)


def _stay_in_eval(module: nn.Module, holders: Sequence[nn.Module], mode: bool = True) -> nn.Module:
    """What `train` does on a frozen module, until it is thawed: each child decides for itself."""
    module.training = mode and _is_thawed(module, holders)
    for child in module.children():
        child.train(mode)
    return module


def _whole(net: nn.Module) -> Selection:
    modules = tuple(net.modules())
    return Selection(modules, _parameters(modules))


def _parameters(modules: Iterable[nn.Module]) -> tuple[nn.Parameter, ...]:
    direct = [p for module in modules for p in module.parameters(recurse=False)]
    return tuple(dict.fromkeys(direct))  # tied ones once


def _stage_path(net: nn.Module, name: str, known: Iterable[str]) -> str:
    """Path of a stage's last module, or of a submodule."""
    stages = {s.name: s.module for s in net.stages} if isinstance(net, Classifier) else {}
    if name in stages:
        return stages[name]
    paths = {path for path in known if path}
    if name not in paths:
        raise UnknownNameError("stage", name, {*stages, *paths})
    return name


def _heads_if_known(net: nn.Module) -> tuple[str, ...]:
    """The heads, or none where they cannot be told: the stage says enough by itself."""
    try:
        return find_heads(net)
    except InputError:
        return ()


def _auxiliary(net: nn.Module, heads: Sequence[str]) -> set[str]:
    """The top-level modules that are auxiliary heads.

    A foreign network's further heads may be anything that the user named: those called `aux...`,
    as `find_heads` has it, are auxiliary.
    """
    tops = auxiliary(heads)
    return tops if isinstance(net, Classifier) else {t for t in tops if t.lower()[:3] == "aux"}


def _inside_any(path: str, parts: Sequence[str]) -> bool:
    return any(inside(path, part) for part in parts)


def _ancestors(path: str) -> list[str]:
    pieces = path.split(".")
    return ["", *(".".join(pieces[:end]) for end in range(1, len(pieces)))] if path else []
