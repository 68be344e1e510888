"""A network around its weights: what `load`, a builder with `weights=` and `from_pretrained` do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import torch

from convzoo._build import option_names
from convzoo._checks import check_path
from convzoo._contract import Contract
from convzoo.errors import ConvzooError, InputError, UnknownNameError, WeightsError
from convzoo.hub._cache import Access, Verify
from convzoo.hub._files import HUB
from convzoo.hub._fill import fill
from convzoo.hub._sources import resolve
from convzoo.registry import MODELS, ModelInfo, model_info

C = TypeVar("C", bound=Contract)


def load(
    source: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    allow_pickle: bool = False,
    rename: Mapping[str, str] | None = None,
    verify: Verify = "changed",
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Contract:
    """What `convzoo.load` does, which documents the arguments and types the result.

    The last three are documented in `Classifier.from_pretrained`.
    """
    if not isinstance(rename or {}, Mapping) or not all(
        isinstance(name, str) and name for pair in (rename or {}).items() for name in pair
    ):
        raise InputError(f"rename: expected names by names, got {rename!r:.80}")
    found = resolve(
        source,
        architecture=architecture,
        allow_pickle=allow_pickle,
        access=Access(verify, token, _folder(cache_dir), local_files_only, force_download),
    )
    name = architecture or found.config.architecture
    if name is None:
        raise WeightsError(
            f"{found.name}: nothing says which network this is (no config.json beside it); "
            "pass architecture=, or use the builder: resnet50(weights=...)"
        )
    if architecture is None and name not in MODELS:
        module = found.config.module
        hint = f"import {module} first" if module else "define or import its builder first"
        raise WeightsError(f"{found.name}: saved as {name!r}, which convzoo does not have: {hint}")
    info = model_info(name)
    for option in found.config.options:
        if option not in option_names(info):
            raise UnknownNameError(f"{found.name}: option of {name}", option, option_names(info))
    sizes = {"num_classes": num_classes, "in_channels": in_channels, "device": device}
    try:
        return fill(info, {**sizes, **found.config.options}, found, rename)
    except ConvzooError:
        raise
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        if not found.config.options:
            raise
        raise WeightsError(
            f"{found.name}: no {name} is built with options "
            f"{dict(found.config.options)!r:.200}: {error}"
        ) from error


def build_with_weights(
    info: ModelInfo,
    weights: str | os.PathLike[str],
    options: Mapping[str, Any],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Contract:
    """What a builder does with `weights=`.

    Args:
        info: The builder's entry in the registry.
        weights: A tag of the catalogue, a folder, a file or a `hf-hub:` address.
        options: What the builder was given besides.
        cache_dir: Where repositories of the Hub are kept; None is its client's usual place.

    Returns:
        The network, in training mode.
    """
    access = Access(cache_dir=_folder(cache_dir))
    return fill(info, options, resolve(weights, architecture=info.name, access=access))


def _folder(cache_dir: str | os.PathLike[str] | None) -> Path | None:
    return None if cache_dir is None else Path(cache_dir).expanduser()


class PretrainedOptions(TypedDict, total=False):
    """What `Classifier.from_pretrained` hands on, and documents."""

    num_classes: int | None
    in_channels: int | None
    device: torch.device | str | None
    token: str | bool | None
    cache_dir: str | os.PathLike[str] | None
    local_files_only: bool
    force_download: bool


def from_pretrained(
    source: str | os.PathLike[str],
    network: type[C],
    *,
    revision: str | None = None,
    **options: Unpack[PretrainedOptions],
) -> C:
    """What `Classifier.from_pretrained` does: `owner/name` is a repository if it is no folder."""
    text = os.fspath(source)
    local = isinstance(source, os.PathLike) or check_path("source", text).exists()
    if not local and not text.startswith(HUB) and text.count("/") == 1:
        text = HUB + text
    if revision is not None:
        if not text.startswith(HUB) or "@" in text:
            raise InputError(f"revision: {text} is no repository on the Hub, or names its own")
        text = f"{text}@{revision}"
    place: str | os.PathLike[str] = Path(text) if local else text
    net = load(place, **options)
    if not isinstance(net, network):
        raise InputError(f"source: {source} is a {type(net).__name__}, not a {network.__name__}")
    return net.eval()
