"""A new head for any network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import nn

from convzoo._checks import LARGEST, check_count, check_labels
from convzoo._classifier import Classifier
from convzoo._heads import new_head, score_layer
from convzoo.errors import InputError
from convzoo.transfer._find_heads import (
    find_heads,
    refuse_parallel,
    remember_heads,
    score_width,
    unwrap,
)
from convzoo.transfer._freeze import apply_freeze, select

M = TypeVar("M", bound=nn.Module)


def replace_head(
    net: M,
    num_classes: int,
    *,
    freeze: str | Sequence[str] | None = None,
    dropout: float = 0.0,
    labels: Sequence[str] | None = None,
    head: str | Sequence[str] | None = None,
) -> M:
    """Give a network a fresh last layer for other classes, and freeze what should stay.

    Auxiliary heads are replaced too, and `num_classes` stays true. Nothing is changed if an
    argument is refused.

    Args:
        net: A [Classifier][convzoo.Classifier], or a network of torchvision, timm or your own.
        num_classes: Classes the new head scores, at least 1.
        freeze: What to freeze besides: None (nothing), `"backbone"` (everything but the new
            last layers, so a hidden layer or a dropout in front of them is frozen as well), or
            `"up_to:STAGE"` (everything registered up to and including that stage, heads
            excepted, auxiliary ones as a whole), or what else [freeze][convzoo.freeze] takes.
        dropout: Probability of dropping an input of the new layers in training, in [0, 1).
        labels: Names of the classes in the order of the scores, a string of its own for each. A
            Classifier keeps them; for another network they are only checked.
        head: Path of the last layer (or paths, the main one first) in a network whose head
            cannot be found by itself; see [find_heads][convzoo.transfer.find_heads].

    Returns:
        The same object, changed.

    Raises:
        InputError: An argument is out of range, the head is ambiguous (the message lists the
            candidates), or the network is already wrapped for data-parallel training.
        UnknownNameError: `freeze` names a stage that does not exist, or `head` no submodule.

    Examples:
        >>> import convzoo
        >>> net = convzoo.cifar_resnet20()
        >>> net = convzoo.replace_head(net, 3, freeze="backbone", labels=["ant", "bee", "cat"])
        >>> net.num_classes, [name for name, p in net.named_parameters() if p.requires_grad]
        (3, ['fc.weight', 'fc.bias'])
    """
    refuse_parallel(net, "replace the head first, then wrap the network")
    core = unwrap(net)
    num_classes = check_count("num_classes", num_classes, most=LARGEST)
    names = check_labels(labels, num_classes, unique=True)
    if isinstance(core, Classifier):
        if head is not None and tuple(find_heads(core, head)) != tuple(core.head_paths()):
            raise InputError(
                f"head: {type(core).__name__} knows its own heads {tuple(core.head_paths())}; "
                f"leave the argument out, got {head!r}"
            )
        heads = tuple(core.head_paths())
        chosen = None if freeze is None else select(core, freeze, heads)
        core.reset_head(num_classes, dropout=dropout)
        core.labels = names
    else:
        heads = find_heads(core, head)
        chosen = None if freeze is None else select(core, freeze, heads)
        _replace_foreign(core, heads, num_classes, dropout)
        remember_heads(core, heads)
    if chosen is not None:
        apply_freeze(core, chosen)
    return net


def _replace_foreign(
    net: nn.Module, heads: tuple[str, ...], num_classes: int, dropout: float
) -> None:
    old = {path: score_layer(net.get_submodule(path)) for path in heads}
    if any(layer is None for layer in old.values()):
        _reset_classifier(net, heads, num_classes)
        old = {path: score_layer(net.get_submodule(path)) for path in heads}
        if not dropout:
            return
    fresh = {path: new_head(layer, num_classes, dropout) for path, layer in old.items() if layer}
    width = score_width(net.get_submodule(heads[0]))
    for path, layer in fresh.items():
        net.set_submodule(path, layer)
        # timm's networks, torchvision's squeezenet and ViT keep the number beside the layer.
        owners = [net]
        for name in path.split(".")[:-1]:
            owners.append(owners[-1].get_submodule(name))
        for owner in owners:
            if owner.__dict__.get("num_classes") == width:
                owner.__dict__["num_classes"] = num_classes


def _reset_classifier(net: nn.Module, heads: tuple[str, ...], num_classes: int) -> None:
    """Let timm build the head where there is none (`num_classes=0`) or an unusual one."""
    reset = getattr(net, "reset_classifier", None)
    if not callable(reset):
        kinds = ", ".join(f"{p!r} is a {type(net.get_submodule(p)).__name__}" for p in heads)
        raise InputError(f"head: expected a linear layer or a 1 x 1 convolution, but {kinds}")
    # The number is checked here as `new_head` checks it; timm would take 0 to remove the head.
    new_head(nn.Linear(1, 1, device="meta"), num_classes)
    reset(num_classes)
