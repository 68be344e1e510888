"""What an explorer's page shows of a network: maps, and the convolutions that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convzoo._classifier import Classifier
from convzoo.errors import InputError
from convzoo.visualize._fields import receptive_field
from convzoo.visualize._probe import find_module, hooked, run

_MOST_STAGES = 12  # of a network that does not name its own


@dataclass
class Convolution:
    """The last convolution before a stage's map, if every map of the stage is one of its outputs.

    Attributes:
        path: Its path.
        module: Itself.
        inputs: What it got, (B, C, H, W).
        output: Height and width of what it put out.
        field: What one of its outputs sees, as the page holds it; None for the whole image.
    """

    path: str
    module: nn.Conv2d
    inputs: Tensor
    output: tuple[int, int]
    field: dict[str, list[int]] | None


@dataclass
class Seen:
    """A stage as the page shows it.

    Attributes:
        name: The stage's name.
        path: Its module's path.
        kind: Its module's class.
        maps: What it put out, (B, C, h, w).
        field: What one pixel of them sees, as the page holds it; None for the whole image.
        convolution: What made the maps, if one convolution did.
    """

    name: str
    path: str
    kind: str
    maps: Tensor
    field: dict[str, list[int]] | None
    convolution: Convolution | None = None


def look_inside(core: nn.Module, x: Tensor, stages: Sequence[str] | None) -> list[Seen]:
    """Run the network once to learn its order, and once to keep what the page shows."""
    paths = {module: path for path, module in core.named_modules() if path}
    order: list[tuple[nn.Module, Any]] = []

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        order.append((module, output.shape if isinstance(output, Tensor) else None))

    with torch.no_grad(), hooked(dict.fromkeys(paths, note)):
        run(core, x[:1])
    shapes: dict[nn.Module, torch.Size] = {m: s for m, s in order if s is not None and len(s) == 4}
    wanted = _wanted(core, list(shapes), shapes, stages)
    seen: list[Seen] = []
    makers: dict[nn.Module, nn.Conv2d] = {}
    for name, module in wanted.items():
        if module not in shapes:
            raise InputError(
                f"stages: expected modules that put out maps (B, C, h, w), got {name!r}"
            )
        maker = _maker(module, [m for m, _ in order], shapes)
        if maker is not None:
            makers[module] = maker
    outputs: dict[nn.Module, Tensor] = {}
    inputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        outputs[module] = output.detach().clone()  # what comes next may overwrite it
        if module in makers.values():
            inputs[module] = given[0].detach().clone()

    with torch.no_grad(), hooked(dict.fromkeys([*wanted.values(), *makers.values()], keep)):
        run(core, x)
    for name, module in wanted.items():
        path = paths[module]
        record = Seen(name, path, type(module).__name__, outputs[module], _field(core, path, x))
        if (conv := makers.get(module)) is not None:
            path, (height, width) = paths[conv], outputs[conv].shape[2:]
            record.convolution = Convolution(
                path, conv, inputs[conv], (height, width), _field(core, path, x)
            )
        seen.append(record)
    return seen


def _wanted(
    core: nn.Module,
    ran: Sequence[nn.Module],
    shapes: Mapping[nn.Module, torch.Size],
    stages: Sequence[str] | None,
) -> dict[str, nn.Module]:
    """The modules to show by name, in the order they run."""
    if stages is not None:
        if isinstance(stages, str) or not stages:
            raise InputError(f"stages: expected names of stages, got {stages!r:.80}")
        return {name: find_module(core, name) for name in stages}
    paths = {module: path for path, module in core.named_modules()}
    wide = [m for m in ran if shapes[m][-1] * shapes[m][-2] > 1]
    convs = [m for m in wide if isinstance(m, nn.Conv2d)]
    if isinstance(core, Classifier):
        found: dict[nn.Module, str] = {m: paths[m] for m in convs[:1]}
        found |= {m: s.name for s in core.stages if (m := core.get_submodule(s.module)) in shapes}
        return {found[m]: m for m in ran if m in found}
    children = [m for m in wide if "." not in paths[m]]
    chosen = children if len(children) > 2 else convs
    if not chosen:
        raise InputError(
            f"stages: none of the modules of {type(core).__name__} puts out maps (B, C, h, w) of "
            "more than one pixel"
        )
    step = -(-len(chosen) // _MOST_STAGES)
    return {paths[m]: m for m in chosen[::step]}


def _maker(
    stage: nn.Module, order: Sequence[nn.Module], shapes: Mapping[nn.Module, torch.Size]
) -> nn.Conv2d | None:
    """The convolution that ran last before a stage's end, if it has as many outputs."""
    for module in reversed(order[: order.index(stage) + 1]):
        if isinstance(module, nn.Conv2d):
            plain = (
                type(module) is nn.Conv2d
                and module.padding_mode == "zeros"
                and not isinstance(module.padding, str)
            )
            return module if plain and module.out_channels == shapes[stage][1] else None
    return None


def _field(core: nn.Module, path: str, x: Tensor) -> dict[str, list[int]] | None:
    try:
        found = receptive_field(core, path, (x.shape[2], x.shape[3]))
    except InputError:  # every output sees the whole image
        return None
    return {"size": [*found.size], "stride": [*found.stride], "start": [*found.start]}
