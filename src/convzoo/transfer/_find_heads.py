"""Where a network's heads are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from convzoo._classifier import Classifier
from convzoo._heads import score_layer
from convzoo._modes import check_network
from convzoo._stages import inside
from convzoo.errors import InputError, UnknownNameError

# Where torchvision's networks (and many written after them) keep the head: its last layer, or a
# sequence that ends in it.
_DECLARED = ("fc", "classifier", "head", "heads", "heads.head", "head.fc")

# Set in the `__dict__` of a network that is not ours once its head was replaced, so that later
# calls agree with `replace_head` on where the head is, even where it had to be told.
REMEMBERED = "_convzoo_head_paths"


def unwrap(net: nn.Module) -> nn.Module:
    """The network inside `torch.compile` and data-parallel wrappers."""
    check_network(net)
    while True:
        inner = net._modules.get("_orig_mod")
        if inner is None and is_parallel(net):
            inner = net._modules.get("module")
        if inner is None:
            return net
        net = inner


def is_parallel(net: nn.Module) -> bool:
    """Whether `net` is a data-parallel wrapper, whose parameters are already registered."""
    return isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel))


def refuse_parallel(net: nn.Module, advice: str) -> None:
    """Refuse a data-parallel wrapper, saying what to do instead."""
    if is_parallel(net):
        raise InputError(
            f"net: {type(net).__name__} has already registered the parameters it watches; {advice}"
        )


def find_heads(net: nn.Module, head: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """Paths of the layers that give the class scores, the main one first.

    A [Classifier][convzoo.Classifier] knows. In other networks the head is what timm's
    `get_classifier` names, or what stands under torchvision's names (`fc`, `classifier`, `head`,
    `heads`), or else the last linear layer or 1 x 1 convolution, as long as nothing speaks
    against it. Auxiliary heads are those inside top-level modules named `aux...` with as many
    classes as the main one.

    Args:
        net: Any network; one that `torch.compile` wrapped is searched inside.
        head: The paths themselves, where the search cannot know them; the main one first.

    Returns:
        Paths that `net.get_submodule` understands.

    Raises:
        InputError: There is no such layer, or there are several; the message lists them.
        UnknownNameError: `head` is not a submodule.

    Examples:
        >>> import torchvision
        >>> from convzoo.transfer import find_heads
        >>> find_heads(torchvision.models.squeezenet1_1(num_classes=10))
        ('classifier.1',)
    """
    net = unwrap(net)
    by_path = dict(net.named_modules())
    if head is not None:
        paths = (head,) if isinstance(head, str) else tuple(head)
        for path in paths:
            if path not in by_path or not path:
                raise UnknownNameError("head", path, (p for p in by_path if p))
        if not paths:
            raise InputError("head: expected the path of a layer, got an empty sequence")
        return paths
    if isinstance(net, Classifier):
        return tuple(net.head_paths())
    remembered: tuple[str, ...] = net.__dict__.get(REMEMBERED, ())
    if remembered and all(path in by_path for path in remembered):
        return remembered
    main = _timm_heads(net, by_path) or (_only_head(net, by_path),)
    return (*main, *_aux_heads(by_path, main))


def remember_heads(net: nn.Module, heads: tuple[str, ...]) -> None:
    """Let later searches find what this one found."""
    if not isinstance(net, Classifier):
        net.__dict__[REMEMBERED] = heads


def score_width(module: nn.Module | None) -> int | None:
    """How many classes such a layer scores; None for any other module."""
    layer = score_layer(module)
    if layer is None:
        return None
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def owns_parameters(module: nn.Module) -> bool:
    """Whether the module or anything in it has a parameter."""
    return next(module.parameters(), None) is not None


def _timm_heads(net: nn.Module, by_path: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """What `get_classifier` returns, else what `pretrained_cfg` names."""
    get_classifier = getattr(net, "get_classifier", None)
    if not callable(get_classifier):
        return ()
    found = get_classifier()
    layers = found if isinstance(found, (tuple, list)) else (found,)
    path_of = {id(module): path for path, module in by_path.items() if path}
    paths = tuple(path_of[id(layer)] for layer in layers if id(layer) in path_of)
    if paths and len(paths) == len(layers):
        return tuple(_last_layer_path(path, by_path) for path in paths)
    config = getattr(net, "pretrained_cfg", None) or getattr(net, "default_cfg", None)
    declared: Any = config.get("classifier") if isinstance(config, Mapping) else None
    names = (declared,) if isinstance(declared, str) else tuple(declared or ())
    return names if all(name in by_path for name in names) else ()


def _last_layer_path(path: str, by_path: Mapping[str, nn.Module]) -> str:
    """The path of the score layer at or in `path`, or `path` if there is none."""
    layer = score_layer(by_path.get(path))
    if layer is None:
        return path
    return next(p for p, module in by_path.items() if module is layer and inside(p, path))


def _only_head(net: nn.Module, by_path: Mapping[str, nn.Module]) -> str:
    """The one layer that can be the head, or an error that lists those that might be."""
    name = type(net).__name__
    if type(net).__module__.startswith(
        ("torchvision.models.detection", "torchvision.models.optical_flow")
    ):
        raise InputError(f"net: expected an image classifier, got {name}, which scores no image")
    candidates = {p: width for p, m in by_path.items() if p and (width := _own_width(m))}
    if not candidates:
        raise InputError(
            f"net: {name} has no linear layer and no 1 x 1 convolution that could be its head"
        )
    declared = dict.fromkeys(
        _last_layer_path(path, by_path) for path in _DECLARED if score_layer(by_path.get(path))
    )
    if len(declared) == 1 and type(net).__module__.startswith("torchvision.models."):
        return next(iter(declared))
    last = list(candidates)[-1]
    after = _parameters_after(last, by_path)
    if len(declared) == 1 and last in declared and not after:
        return last
    # A hidden layer never ends a network, but it may have as many outputs as the head has;
    # registration order alone is then too weak a witness.
    count = getattr(net, "num_classes", None)
    scoring = {p for p, width in candidates.items() if width == count}
    if len(scoring) == 1 and not set(declared) - scoring:
        return scoring.pop()
    kind = type(by_path[last])
    rivals = {
        p
        for p, width in candidates.items()
        if width == candidates[last] and (kind is nn.Conv2d or isinstance(by_path[p], nn.Linear))
    }
    rivals |= set(declared)
    contradicted = isinstance(count, int) and candidates[last] != count
    if rivals == {last} and not after and not contradicted:
        return last
    listed = ", ".join(
        f"{p!r} ({candidates[p]} outputs)" for p in candidates if p in rivals | scoring | {last}
    )
    why = f"; {after!r} comes after the last of them" if after else ""
    raise InputError(
        f"net: cannot tell which layer of {name} gives the class scores; candidates: {listed}"
        f"{why}; name it with head=PATH"
    )


def _own_width(module: nn.Module) -> int | None:
    return None if isinstance(module, nn.Sequential) else score_width(module)


def _parameters_after(path: str, by_path: Mapping[str, nn.Module]) -> str | None:
    """The first module registered after `path` that has parameters of its own."""
    following: Iterator[str] = iter(by_path)
    for candidate in following:
        if candidate == path:
            break
    return next((p for p in following if not inside(p, path) and _direct(by_path[p])), None)


def _direct(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _aux_heads(by_path: Mapping[str, nn.Module], main: Sequence[str]) -> tuple[str, ...]:
    """Last layers of the top-level modules named `aux...` (torchvision, timm), if as wide."""
    width = score_width(by_path[main[0]])
    found = []
    for path in by_path:
        if "." in path or not path.lower().startswith("aux"):
            continue
        layers = [p for p, m in by_path.items() if inside(p, path) and _own_width(m) == width]
        found += layers[-1:]
    return tuple(p for p in found if p not in main)
