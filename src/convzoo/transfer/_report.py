"""What trains, what is frozen, and what would drift."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from convzoo._modes import kept_modes
from convzoo._stages import inside
from convzoo.transfer._find_heads import owns_parameters, unwrap
from convzoo.transfer._freeze import frozen_with

State = Literal["trainable", "frozen", "drifting"]
"""`"trainable"`: some parameter gets gradients. `"frozen"`: none does, and nothing else moves.
`"drifting"`: none does, but in training mode something else still changes what the part computes.
"""


# torch's, torchvision's, timm's and our layers that leave something out at random, by name: there
# is no common class.
_DROPS = re.compile(r"drop|stochasticdepth", re.IGNORECASE)
_SHOWN = 8  # drifting modules that a printed report lists; the record holds them all


@dataclass(frozen=True)
class Drift:
    """One module of a frozen part that does not hold still in training mode.

    Attributes:
        module: Its path.
        reason: What moves.
    """

    module: str
    reason: str


@dataclass(frozen=True)
class PartReport:
    """One part of a network whose modules all share a state.

    Attributes:
        name: Path of the module, or of the parameter where a module holds one beside others.
        kind: Name of the module's class, or `"Parameter"`.
        state: Whether it trains, is frozen, or drifts.
        parameters: How many numbers its parameters hold; tied ones count where they come first.
        trainable: How many of them get gradients.
    """

    name: str
    kind: str
    state: State
    parameters: int
    trainable: int


@dataclass(frozen=True)
class TransferReport:
    """What `report` found; `str()` makes it a table.

    Attributes:
        parts: The network's parts in the order they are registered; a module is split only
            where states differ within it.
        drifts: Each module that would drift, and why.
        held: Paths of batch normalisation, dropout and their kin that are in evaluation mode though
            the network is in training mode and parameters that were frozen with them were thawed.
    """

    parts: tuple[PartReport, ...]
    drifts: tuple[Drift, ...]
    held: tuple[str, ...] = ()

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parts that train."""
        return self._named("trainable")

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the parts that stay as they are."""
        return self._named("frozen")

    @property
    def drifting(self) -> tuple[str, ...]:
        """Names of the parts that get no gradients and change all the same."""
        return self._named("drifting")

    @property
    def parameters(self) -> int:
        """How many numbers the parameters hold altogether."""
        return sum(part.parameters for part in self.parts)

    @property
    def trainable_parameters(self) -> int:
        """How many of them get gradients."""
        return sum(part.trainable for part in self.parts)

    def _named(self, state: State) -> tuple[str, ...]:
        return tuple(part.name for part in self.parts if part.state == state)

    def __str__(self) -> str:
        rows = [("part", "kind", "state", "parameters", "trainable")]
        rows += [
            (p.name, p.kind, p.state, f"{p.parameters:,}", f"{p.trainable:,}") for p in self.parts
        ]
        rows.append(("total", "", "", f"{self.parameters:,}", f"{self.trainable_parameters:,}"))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = []
        for row in rows:
            left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
            right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
            lines.append("  ".join([*left, *right]).rstrip())
        lines.insert(1, "-" * max(len(line) for line in lines))
        for title, found in (
            ("would drift in training mode:", [f"{d.module}: {d.reason}" for d in self.drifts]),
            ("held in evaluation mode beside what was thawed:", self.held),
        ):
            if found:
                lines += [title, *(f"  {line}" for line in found[:_SHOWN])]
            if len(found) > _SHOWN:
                lines.append(f"  and {len(found) - _SHOWN} more")
        return "\n".join(lines)


def report(net: nn.Module) -> TransferReport:
    """Say what of a network trains, what is frozen, and what would drift.

    A part drifts if none of its parameters gets gradients but `net.train()` would still wake
    something in it: batch normalisation that goes on updating its running statistics, or dropout
    (or stochastic depth, DropBlock) that goes on dropping. That is what becomes of a network
    frozen by `requires_grad_(False)` alone; [freeze][convzoo.freeze] avoids it.

    The network is asked, not guessed at: it is put into training mode for a moment, and then
    every module gets back the mode it had. What a module does by calling functions on its own
    (`torch.nn.functional.dropout` in a `forward`) cannot be seen from outside.

    Args:
        net: Any network.

    Returns:
        The record; print it for a table.

    Examples:
        >>> import convzoo
        >>> from convzoo import transfer
        >>> net = convzoo.replace_head(convzoo.cifar_resnet20(), 10, freeze="backbone")
        >>> transfer.report(net).trainable
        ('fc',)
    """
    core = unwrap(net)
    awake = _awake_in_training(core)
    drifts = tuple(_drifts(core, awake))
    drifting = {drift.module for drift in drifts}
    counted: set[int] = set()
    parts: list[PartReport] = []
    for name, child in _parts_of(core, "", drifting):
        if isinstance(child, nn.Parameter):
            numbers = [child]
            kind = "Parameter"
        else:
            numbers = list(child.parameters())
            kind = type(child).__name__
        numbers = [p for p in numbers if id(p) not in counted]
        counted.update(id(p) for p in numbers)
        trainable = sum(p.numel() for p in numbers if p.requires_grad)
        state = _state(name, child, drifting)
        parts.append(PartReport(name, kind, state, sum(p.numel() for p in numbers), trainable))
    return TransferReport(tuple(parts), drifts, tuple(_held(core)))


def _awake_in_training(net: nn.Module) -> set[int]:
    """The modules that `net.train()` puts into training mode, by id."""
    with kept_modes(net):
        net.train()
        return {id(module) for module in net.modules() if module.training}


def _drifts(net: nn.Module, awake: set[int]) -> Iterator[Drift]:
    around: dict[str, nn.Module] = {"": net}
    for path, module in net.named_modules():
        around[path] = module
        if not path or id(module) not in awake:
            continue
        reason = _moves(module)
        if reason is None:
            continue
        parent = path.rpartition(".")[0]
        # Batch normalisation with parameters of its own says itself whether it trains; anything
        # else belongs to the smallest part around it that has parameters.
        part = path
        while part and not owns_parameters(around[part]):
            part = part.rpartition(".")[0]
        if not _any_trainable(around[part]) or _feeds_frozen(around[parent], module):
            yield Drift(path, reason)


def _held(net: nn.Module) -> Iterator[str]:
    for path, module in net.named_modules():
        if net.training and not module.training and _moves(module) is not None:
            holders = frozen_with(module) or ()
            if any(p.requires_grad for m in holders for p in m.parameters(recurse=False)):
                yield path


def _moves(module: nn.Module) -> str | None:
    """What changes in a module in training mode besides its parameters."""
    if isinstance(module, _NormBase):
        # With momentum 0 the running statistics keep their values.
        if module.track_running_stats and module.running_mean is not None and module.momentum != 0:
            return "running statistics are updated"
        return None
    if isinstance(module, nn.MultiheadAttention):
        return "attention is dropped" if module.dropout > 0 else None
    if _DROPS.search(type(module).__name__):
        for name in ("p", "drop_prob", "drop_rate", "prob"):
            rate = getattr(module, name, None)
            if isinstance(rate, (int, float)):
                return f"drops with probability {rate:g}" if rate > 0 else None
        return "drops"
    return None


def _feeds_frozen(parent: nn.Module, module: nn.Module) -> bool:
    """Whether the next layer with parameters in a sequence is frozen (VGG's hidden layers)."""
    if not isinstance(parent, nn.Sequential) or owns_parameters(module):
        return False
    layers = list(parent)
    position = next(index for index, layer in enumerate(layers) if layer is module)
    for layer in layers[position + 1 :]:
        if owns_parameters(layer):
            return not _any_trainable(layer)
    return False


def _any_trainable(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _parts_of(
    module: nn.Module, path: str, drifting: set[str]
) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """The module itself where all in it share a state, else its parts; the network always."""
    holds_drift = any(inside(d, path) for d in drifting)
    if not owns_parameters(module) and not holds_drift:
        return
    if path and _uniform(module, holds_drift):
        yield path, module
        return
    prefix = path + "." if path else ""
    for name, parameter in module.named_parameters(recurse=False):
        yield prefix + name, parameter
    for name, child in module.named_children():
        yield from _parts_of(child, prefix + name, drifting)


def _uniform(module: nn.Module, holds_drift: bool) -> bool:
    states = {parameter.requires_grad for parameter in module.parameters()}
    if not list(module.children()):
        return True  # a layer of which only the bias trains is one row
    return len(states) <= 1 and not (holds_drift and True in states)


def _state(name: str, part: nn.Module | nn.Parameter, drifting: set[str]) -> State:
    if isinstance(part, nn.Parameter):
        return "trainable" if part.requires_grad else "frozen"
    if _any_trainable(part):
        return "trainable"
    if any(inside(d, name) for d in drifting):
        return "drifting"
    return "frozen"
