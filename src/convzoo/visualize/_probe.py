"""How a network is looked into: in evaluation mode, eagerly, with gradients, and left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from convzoo._checks import check_count
from convzoo._classifier import Classifier
from convzoo._modes import evaluation
from convzoo.errors import InputError, UnknownNameError
from convzoo.transfer._find_heads import unwrap


@contextmanager
def looking(net: nn.Module, *, gradients: bool = True) -> Iterator[nn.Module]:
    """The network itself, out of its wrappers, ready to be run; it gets its modes back.

    Compiled parts run eagerly: hooks that come after compilation would be ignored.
    """
    core = unwrap(net)
    with (
        evaluation(core),
        torch.inference_mode(mode=False),
        torch.set_grad_enabled(gradients),
        torch.compiler.set_stance("force_eager"),
    ):
        yield core


def run(core: nn.Module, x: Tensor) -> Tensor:
    """Class scores (B, num_classes)."""
    scores: object = core(x)
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(x):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(f"net: expected scores (B, num_classes) from it, got {got}")
    return scores


def choose(scores: Tensor, target: int | Sequence[int] | Tensor | None) -> Tensor:
    """The class to explain of each image, (B,): those given, or those that score best."""
    if target is None:
        return scores.detach().argmax(1)
    count, classes = scores.shape
    if isinstance(target, Tensor):
        target = target.tolist()
    if isinstance(target, Sequence) and not isinstance(target, str):
        if len(target) != count:
            raise InputError(f"target: expected one class for each of {count} images, got {target}")
        numbers = [check_count("target", t, least=0, most=classes - 1) for t in target]
    else:
        numbers = [check_count("target", target, least=0, most=classes - 1)] * count
    return torch.tensor(numbers, device=scores.device)


def input_gradient(
    core: nn.Module, x: Tensor, target: int | Sequence[int] | Tensor | None
) -> Tensor:
    """Gradient of each image's class score by its pixels, (B, C, H, W)."""
    leaf = x.detach().clone().requires_grad_()
    scores = run(core, leaf.clone())  # a first layer in place would overwrite the leaf
    picked = scores.gather(1, choose(scores, target)[:, None])
    (gradient,) = torch.autograd.grad(picked.sum(), leaf)
    return gradient


def map_and_scores(
    core: nn.Module, x: Tensor, stage: str | nn.Module | None
) -> tuple[Tensor, Tensor]:
    """A stage's map as a leaf, (B, C, h, w), and the class scores computed from it.

    The map goes on as a copy, so that nothing later can overwrite it.
    """
    if stage is not None:
        return _cut(core, x, find_module(core, stage))
    features = getattr(core, "forward_features", None)
    head = getattr(core, "forward_head", None)
    if not (callable(features) and callable(head)):
        raise InputError(
            f"stage: {type(core).__name__} does not say which map comes last; name its module, "
            f"for example {_last_map(core, x)!r}"
        )
    with torch.no_grad():
        leaf = _as_map(features(x), "forward_features")
    if leaf.shape[-2:] == (1, 1):
        return _cut(core, x, _last_wide(core, x))
    leaf = leaf.detach().requires_grad_()
    scores: Tensor = head(leaf.clone())
    return leaf, scores


def find_module(core: nn.Module, stage: str | nn.Module) -> nn.Module:
    """The module at a stage: by the stage's name, by a path, or the module itself."""
    if isinstance(stage, nn.Module):
        if not any(module is stage for module in core.modules()):
            raise InputError(f"stage: this {type(stage).__name__} is not part of the network")
        return stage
    by_name: dict[str, nn.Module] = dict(core.named_modules())
    if isinstance(core, Classifier):
        by_name |= {s.name: by_name[s.module] for s in core.stages}
    by_name.pop("")
    if not isinstance(stage, str) or stage not in by_name:
        raise UnknownNameError("stage", stage, by_name)
    return by_name[stage]


@contextmanager
def hooked(hooks: dict[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Forward hooks that come off again."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _cut(core: nn.Module, x: Tensor, module: nn.Module) -> tuple[Tensor, Tensor]:
    """Cut the network behind a module: what it puts out becomes a leaf."""
    found: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        found.append(_as_map(output, type(module).__name__).detach().requires_grad_())
        return found[-1].clone()

    with hooked({module: cut}):
        scores = run(core, x)
    if not found:
        raise InputError(f"stage: the network does not run this {type(module).__name__}")
    return found[-1], scores


def _as_map(output: object, name: str) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim != 4:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"stage: expected a map (B, C, h, w) from {name}, got {got}")
    return output


def _last_wide(core: nn.Module, x: Tensor) -> nn.Module:
    """The last stage whose map has more than one pixel."""
    if isinstance(core, Classifier):
        for name, found in reversed(core.intermediates(x).items()):
            if found.ndim == 4 and found.shape[-2:] != (1, 1):
                return find_module(core, name)
    raise InputError(
        f"stage: no map of {type(core).__name__} has more than one pixel at this image size"
    )


def _last_map(core: nn.Module, x: Tensor) -> str:
    """Path of the last module whose output is a map of more than one pixel, for a message."""
    seen: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def look(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] > 1:
                seen.append(name)

        return look

    hooks = {module: watch(name) for name, module in core.named_modules() if name}
    with hooked(hooks), torch.no_grad():
        core(x)
    return seen[-1] if seen else "features"
