"""Our networks in timm, and so in transformers' timm wrapper and its pipelines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convzoo import hub
from convzoo._contract import Contract
from convzoo.hub._config import name_for_timm
from convzoo.hub._files import HUB
from convzoo.registry import MODELS, model_info

__all__ = ["register"]


def register() -> list[str]:
    """Give timm the networks of convzoo that it lacks.

    From then on `timm.create_model` builds them by name (`"alexnet_2012"`, `"googlenet"`,
    `"cifar_resnet20"`) and loads every folder and repository that [save][convzoo.save] and
    [push][convzoo.push] wrote; so do transformers' `AutoModelForImageClassification` and
    `pipeline("image-classification")`, which build their networks with timm. Names that timm has
    stay what they are. A builder of your own is there if it was defined before; calling this again
    adds those that came since.

    The networks take timm's `in_chans` and `drop_rate` and the builder's own options. One for grey
    images takes colour ones as their luminance: timm and transformers make every image RGB.

    Returns:
        The names that are new in timm, in the order of `list_models`. Those that end in
        `_convzoo_integrations_timm_register` are in the config.json of saved networks.

    Raises:
        ImportError: timm is not installed.

    Examples:
        >>> import timm
        >>> import convzoo.integrations.timm
        >>> names = convzoo.integrations.timm.register()
        >>> "googlenet" in names, "resnet50" in names
        (True, False)
        >>> timm.create_model("alexnet_2012", num_classes=3).num_classes
        3
    """
    from timm import is_model
    from timm.models import register_model

    new = []
    for name in MODELS:
        for known_as in (name, name_for_timm(name)):
            if not is_model(known_as):
                # timm lists its models in `__all__` of their module, so they are to be there.
                globals()[known_as] = register_model(_entry_point(name, known_as))
                new.append(known_as)
    return new


def _entry_point(name: str, known_as: str) -> Callable[..., Contract]:
    """A function as timm calls it for one of its models."""

    def entry_point(
        pretrained: bool = False,
        pretrained_cfg: object = None,
        pretrained_cfg_overlay: Mapping[str, Any] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Contract:
        info = model_info(name)  # as it is now: a notebook may have defined its builder again
        options.pop("pretrained_model_args", None)  # what the saved network had: its file says it
        given = {_OUR_NAMES.get(key, key): _with_tuples(value) for key, value in options.items()}
        weights = _weights(pretrained_cfg, pretrained_cfg_overlay or {}) if pretrained else None
        if weights is not None:
            net = hub.build_with_weights(info, weights, given, cache_dir=cache_dir)
        else:
            net = info.builder(**given, **({"pretrained": True} if pretrained else {}))
        if net.in_channels == 1:
            net.register_forward_pre_hook(_luminance)
        return net

    entry_point.__name__ = entry_point.__qualname__ = known_as
    return entry_point


_OUR_NAMES: Mapping[str, str] = {"in_chans": "in_channels", "drop_rate": "dropout"}


def _with_tuples(value: object) -> object:
    """A value of config.json as builders' options have it."""
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _weights(config: object, overlay: Mapping[str, Any]) -> str | Path | None:
    """Where timm says that the weights are, as ours are named; None where it does not say."""
    if isinstance(config, str):
        return config  # the tag of "googlenet.tv_in1k"
    said = config if isinstance(config, Mapping) else vars(config) if config else {}
    known = {**said, **overlay}
    if known.get("file"):
        return Path(known["file"])
    return f"{HUB}{known['hf_hub_id']}" if known.get("hf_hub_id") else None


def _luminance(_net: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """(B, 3, H, W) -> (B, 1, H, W), as Pillow makes grey of RGB; grey images as they are.

    All three channels were normalised by the same mean and deviation, and the weights' sum is 1, so
    that this is the grey image, normalised.
    """
    x, *others = inputs
    if x.ndim != 4 or x.shape[1] != 3:
        return None
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype, device=x.device)
    return (x.mul(weights[:, None, None]).sum(dim=1, keepdim=True), *others)
