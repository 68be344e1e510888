"""Whether what `save` would write is something that `load` takes back."""

from __future__ import annotations

from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Final

import torch
from torch import Tensor, nn

from convzoo._build import empty
from convzoo._checks import check_labels
from convzoo._contract import Contract
from convzoo._heads import NoHead, head_dropout, head_width, score_layer
from convzoo.errors import CheckpointError, InputError
from convzoo.hub._config import FLOATS, options_as_loaded
from convzoo.hub._safetensors import tensors_with_nan
from convzoo.hub._slots import mismatch, slots
from convzoo.registry import MODELS

_PLAIN: Final = (
    type(None), bool, int, float, str, tuple, list, torch.dtype, FunctionType, BuiltinFunctionType
)  # fmt: skip
# Attributes that change nothing a network computes, or that config.json keeps.
_FREE: Final = frozenset(
    {"training", "inplace", "labels", "preset", "provenance", "architecture", "options"}
)
_HOOKS: Final = (
    "_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks"
)  # fmt: skip
_MOST_SHOWN: Final = 20


def check_savable(net: Contract) -> None:
    """Refuse a network that its builder and options would not build again.

    Args:
        net: A network that a builder made, and that may have been changed since.

    Raises:
        InputError: Its head is not one that loading makes, or its labels do not fit.
        CheckpointError: It has other modules, settings or tensors than its builder gives it, or
            NaN in them.
    """
    for path in net.head_paths():
        _check_head(net, path)
    check_labels(net.labels, net.num_classes)
    state = {key: value for key, value in net.state_dict().items() if isinstance(value, Tensor)}
    broken = tensors_with_nan(state)
    if broken:
        raise CheckpointError(
            f"net: NaN in {', '.join(broken[:5])}: the training diverged, and load takes no such "
            "weights"
        )
    built = _built_again(net)
    if built is None:
        return
    expected, found = _shapes(built), _shapes(net)
    misfit = mismatch(expected, found)
    differences = [*_module_differences(net, built), *_tensor_differences(net)]
    if misfit is None and not differences:
        return
    shown = [f"  {line}" for line in differences[:_MOST_SHOWN]]
    if len(differences) > _MOST_SHOWN:
        shown.append(f"  and {len(differences) - _MOST_SHOWN} more")
    if misfit is not None:
        shown.append(misfit)
    aux = tuple(f"{path.partition('.')[0]}." for path in net.aux_head_paths)
    if aux and misfit and all(key.startswith(aux) for key in expected.keys() ^ found.keys()):
        shown.append(
            "the auxiliary heads are not those that its options name: "
            "net.drop_aux_heads() removes them all, and says so in the options"
        )
    if any("got DropConnect" in line for line in differences):
        shown.append("convzoo.layers.remove_drop_connect(net) gives the plain layers back")
    raise CheckpointError(
        f"net: it was changed since {net.architecture} built it, and load would bring back another "
        "network; build it with the option that says the same, give a network of your own a "
        "builder (convzoo.architecture), or keep its state_dict() instead:\n" + "\n".join(shown)
    )


def _module_differences(net: nn.Module, built: nn.Module) -> Iterator[str]:
    """What is not as it was built: class, settings and place of each module, hooks, `forward`."""
    ours = dict(net.named_modules(remove_duplicate=False))
    theirs = dict(built.named_modules(remove_duplicate=False))
    for path in theirs | ours:
        parent = path.rpartition(".")[0]
        if (path in ours) != (path in theirs) and (parent in ours) == (parent in theirs):
            yield f"{path}: " + (
                f"added, {type(ours[path]).__name__}" if path in ours else "removed"
            )
    for path, module in ours.items():
        if path not in theirs:
            continue
        other, name = theirs[path], path or "net"
        # GoogLeNet's class tells whether it was built with auxiliary heads; they may be dropped.
        ours_too = not path and type(module).__module__.startswith("convzoo.")
        if type(module) is not type(other) and not (ours_too and isinstance(module, type(other))):
            yield f"{name}: expected {type(other).__name__}, got {type(module).__name__}"
            continue
        said = False
        for key, value in vars(other).items():
            if key.startswith("_") or key in _FREE or not isinstance(value, _PLAIN):
                continue
            found = getattr(module, key, None)
            if not isinstance(found, _PLAIN) or found != value:
                said = True
                yield f"{name}.{key}: expected {value!r:.80}, got {found!r:.80}"
        # Settings behind properties show there, such as DropBlock's rate; so does `inplace`.
        told, telling = other.extra_repr(), module.extra_repr()
        if told != telling and not said and not hasattr(other, "inplace"):
            yield f"{name}: expected ({told}), got ({telling})"
        if "forward" in vars(module) and "forward" not in vars(other):
            yield f"{name}.forward: replaced"
        if any(len(vars(module).get(kind, ())) > len(vars(other)[kind]) for kind in _HOOKS):
            yield f"{name}: it has hooks"
    if ours.keys() == theirs.keys() and list(ours) != list(theirs):
        yield "the order of modules"


def _tensor_differences(net: nn.Module) -> Iterator[str]:
    """Tensors that a file would bring back otherwise: tied ones, and unusual types of numbers."""
    first: dict[tuple[int, torch.device], str] = {}
    kinds: dict[torch.dtype, str] = {}
    usual = {getattr(torch, name) for name in FLOATS}
    for key, tensor in net.state_dict().items():
        if not isinstance(tensor, Tensor):
            yield f"{key}: no tensor, {type(tensor).__name__}"
            continue
        if tensor.is_quantized or tensor.layout is not torch.strided:
            yield f"{key}: expected a plain tensor, got {tensor.dtype}, {tensor.layout}"
            continue
        if tensor.is_floating_point() or tensor.is_complex():
            kinds.setdefault(tensor.dtype, key)
            if tensor.dtype not in usual:
                yield f"{key}: expected {' or '.join(FLOATS)}, got {tensor.dtype}"
        if tensor.numel():
            twin = first.setdefault((tensor.data_ptr(), tensor.device), key)
            if twin != key:
                yield f"{key}: tied, the same tensor as {twin}"
    if len(kinds) > 1 and kinds.keys() <= usual:
        yield "of several types: " + ", ".join(f"{k} is {d}" for d, k in kinds.items())


def _check_head(net: Contract, path: str) -> None:
    head = net.get_submodule(path)
    if isinstance(head, NoHead) or not isinstance(head, (nn.Sequential, nn.Identity)):
        return
    layer = score_layer(head)
    if layer is None:
        kind = "an Identity" if isinstance(head, nn.Identity) else "a Sequential"
        raise InputError(
            f"net.{path}: the head is {kind}, which does not score classes by a linear layer or "
            "1 x 1 convolution, so that load could not build it again; net.reset_head(0) takes "
            "a head away so that load can, or keep the network's state_dict() instead"
        )
    dropout = next((m.p for m in head.modules() if isinstance(m, nn.Dropout)), 0.0)
    given = f"{head_width(layer)}, dropout={dropout:g}" if dropout else f"{head_width(layer)}"
    keep = "; to keep the trained layer, copy it into the new one with load_state_dict"
    trained = {id(m) for m in head.modules() if next(m.parameters(recurse=False), None) is not None}
    raise InputError(
        f"net.{path}: the head is a Sequential, which load could not build again; make the head "
        f"with convzoo.replace_head(net, {given}){keep if len(trained) == 1 else ''}"
    )


def _built_again(net: Contract) -> Contract | None:
    """What loading would fill, on the meta device; None for a builder of somebody else's."""
    info = MODELS.get(str(net.architecture))
    if info is None:
        return None
    built = empty(info, options_as_loaded(net), net.num_classes, net.in_channels)
    dropout = head_dropout(net.get_submodule(net.head_path))
    if dropout != head_dropout(built.get_submodule(net.head_path)):
        built.reset_head(net.num_classes, dropout=dropout)
    return built


def _shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(s.tensor.shape) for key, s in slots(net).items() if not s.fixed}
