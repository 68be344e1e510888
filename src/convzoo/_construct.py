"""What every builder does: a network with fresh weights, or one around published ones."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar, cast

from convzoo._build import fresh
from convzoo._contract import Contract
from convzoo.errors import InputError
from convzoo.registry import MODELS

C = TypeVar("C", bound=Contract)


def construct(builder: Callable[..., C], weights: str | None, options: Mapping[str, object]) -> C:
    """Build the network of a builder that `@architecture` has entered into the registry.

    Args:
        builder: The builder itself.
        weights: A tag of the catalogue, `"default"`, a folder, a file or a `hf-hub:` address;
            None initialises.
        options: What the builder was given besides: `num_classes`, `in_channels`, `device` and
            what the network's class takes.

    Returns:
        The network, in training mode.

    Raises:
        UnknownNameError: There is no such option, or there are no such weights.
        InputError: An option is out of range.
        WeightsError: The weights cannot be found, fetched or read.
    """
    info = MODELS.get(builder.__name__)
    if info is None or inspect.unwrap(info.builder) is not inspect.unwrap(builder):
        raise InputError(
            f"builder: expected a function with @architecture, got {builder.__name__!r:.80}"
        )
    if options.get("pretrained") not in (None, True, False):
        raise InputError(
            f"pretrained: expected True or False, got {options['pretrained']!r:.80}; "
            + _weights_hint(info.name)
        )
    if options.get("pretrained"):
        if weights is not None:
            raise InputError(
                f"pretrained: weights={weights!r:.80} says already which to load; leave it out"
            )
        weights = "default"
    if options.get("num_classes") == 0 and options.get("aux_heads"):
        raise InputError("aux_heads: num_classes=0 leaves them nothing to score; leave it out")
    if weights is None:
        net = fresh(info, options)
    else:
        _check_weights(info.name, weights)
        from convzoo import hub  # reads files and, where it must, the network: only when asked

        net = hub.build_with_weights(info, weights, options)
    return cast("C", net)  # the entry's class is the builder's return type


# What torchvision calls its weights -> the endings of ours, the one it prefers first.
_TORCHVISION: Final[Mapping[str, tuple[str, ...]]] = {
    "DEFAULT": ("tv2_in1k", "tv_in1k"),
    "IMAGENET1K_V1": ("tv_in1k",),
    "IMAGENET1K_V2": ("tv2_in1k",),
}


def _check_weights(architecture: str, weights: object) -> None:
    """Answer what torchvision and timm would take for `weights=` with what is meant here."""
    name = weights.name if isinstance(weights, Enum) else weights
    if name == "default" and not Path(name).exists():
        from convzoo.weights import find_weights  # reads the catalogue: only when asked

        if find_weights(architecture, name) is None:
            raise InputError(f"weights: {_weights_hint(architecture)}")
        return
    if isinstance(weights, os.PathLike) or (
        isinstance(weights, str) and (weights.upper() not in _TORCHVISION or Path(weights).exists())
    ):
        return
    wanted = _TORCHVISION.get(name.upper(), ()) if isinstance(name, str) else ()
    raise InputError(
        f"weights: expected a tag of {architecture}, a folder, a file or 'hf-hub:owner/name', got "
        f"{weights!r}; {_weights_hint(architecture, wanted)}"
    )


def _weights_hint(architecture: str, wanted: Sequence[str] = ("tv_in1k",)) -> str:
    """What to write instead of another library's way to ask for published weights."""
    from convzoo.weights import list_weights  # reads the catalogue: only when asked

    tags = [name.partition(".")[2] for name in list_weights(f"{architecture}.*")]
    if not tags:
        return f"no weights of {architecture} are published: leave it out for fresh ones"
    tag = next((tag for tag in (*wanted, "tv_in1k") if tag in tags), tags[0])
    others = f" (convzoo.list_weights('{architecture}.*') names all {len(tags)})"
    return f"weights={tag!r} loads published ones{others * (len(tags) > 1)}, None fresh ones"
