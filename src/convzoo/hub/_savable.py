"""Whether what `save` would write is something that `load` takes back."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from convzoo._checks import check_labels
from convzoo._classifier import Classifier
from convzoo._heads import head_dropout, score_layer
from convzoo.errors import CheckpointError, InputError
from convzoo.hub._safetensors import tensors_with_nan
from convzoo.hub._slots import mismatch, slots


def check_savable(net: Classifier) -> None:
    """Refuse a network that its builder and options would not build again.

    Args:
        net: A network that a builder made, and that may have been changed since.

    Raises:
        InputError: Its head is not one that loading makes, or its labels do not fit.
        CheckpointError: It has other tensors than its builder gives it, or NaN in them.
    """
    for path in net.head_paths():
        _check_head(net, path)
    check_labels(net.labels, net.num_classes)
    broken = tensors_with_nan(net.state_dict())
    if broken:
        raise CheckpointError(
            f"net: NaN in {', '.join(broken[:5])}: the training diverged, and load takes no such "
            "weights"
        )
    built = _built_again(net)
    if built is None:
        return
    expected, found = _shapes(built), _shapes(net)
    problem = mismatch(expected, found)
    if problem is None:
        return
    aux = tuple(f"{path.partition('.')[0]}." for path in net.aux_head_paths)
    hint = ""
    if aux and all(key.startswith(aux) for key in expected.keys() ^ found.keys()):
        hint = (
            "\nthe auxiliary heads are not those that its options name: "
            "net.drop_aux_heads() removes them all, and says so in the options"
        )
    raise CheckpointError(
        f"net: it was changed since {net.architecture} built it, and load could not bring it "
        f"back; keep its state_dict() instead:\n{problem}{hint}"
    )


def _check_head(net: Classifier, path: str) -> None:
    head = net.get_submodule(path)
    if not isinstance(head, (nn.Sequential, nn.Identity)):
        return
    layer = score_layer(head)
    if layer is None:
        raise InputError(
            f"net.{path}: the head is {_article(head)}, which does not score classes by a linear "
            "layer or 1 x 1 convolution, so that load could not build it again; keep the network's "
            "state_dict() instead"
        )
    width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    dropout = next((m.p for m in head.modules() if isinstance(m, nn.Dropout)), 0.0)
    alone = [m for m in head.modules() if next(m.parameters(recurse=False), None) is not None]
    keep = (
        "; to keep the trained layer, copy it into the new one with load_state_dict"
        if len(alone) == 1
        else ""
    )
    given = f", dropout={dropout:g}" if dropout else ""
    raise InputError(
        f"net.{path}: the head is a Sequential, which load could not build again; make the head "
        f"with convzoo.replace_head(net, {width}{given}){keep}"
    )


def _article(module: nn.Module) -> str:
    name = type(module).__name__
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"


def _built_again(net: Classifier) -> Classifier | None:
    """What loading would fill, on the meta device; None for a builder of somebody else's."""
    from convzoo.models import MODELS  # models import what loads weights

    if net.architecture not in MODELS:
        return None
    options: Mapping[str, object] = net.options
    built = MODELS[str(net.architecture)].builder(
        device="meta", num_classes=net.num_classes, in_channels=net.in_channels, **options
    )
    dropout = head_dropout(net.get_submodule(net.head_path))
    if dropout:
        built.reset_head(net.num_classes, dropout=dropout)
    return built


def _shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(s.tensor.shape) for key, s in slots(net).items() if not s.fixed}
