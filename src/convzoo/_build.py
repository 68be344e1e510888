"""What every builder does besides naming its architecture.

A model file holds architecture only; the choice of device, weights, head and first convolution
is made here, once, for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

import torch

from convzoo._checks import check_count
from convzoo._classifier import Classifier
from convzoo._meta_device import OnMeta
from convzoo.errors import InputError, UnknownNameError
from convzoo.layers import DropBlockConfig
from convzoo.presets import Preset

C = TypeVar("C", bound=Classifier)


class BuildOptions(TypedDict, total=False):
    """Arguments that every builder takes besides `weights`."""

    num_classes: int | None
    """Classes to score; None means as the weights have, without weights the paper's number."""
    in_channels: int | None
    """Channels of the input image; None means as the weights have, else the paper's number."""
    device: torch.device | str | None
    """Where the parameters live; None means torch's default device."""


def option_names(options: type[BuildOptions]) -> frozenset[str]:
    """The names that a family's options add to those of every builder."""
    # A TypedDict's type lists its keys, its base's included; type checkers see `type` only.
    keys: Mapping[str, object] = options.__annotations__
    return frozenset(keys) - frozenset(BuildOptions.__annotations__)


def build(
    cls: type[C],
    architecture: str,
    settings: Mapping[str, object],
    weights: str | None,
    options: Mapping[str, Any],
    *,
    preset: Preset | None = None,
) -> C:
    """Build a network by name, with fresh weights or with published ones.

    Args:
        cls: The network's class.
        architecture: The builder's name, kept for saving and loading.
        settings: Constructor arguments that make this architecture what it is.
        weights: A tag of the catalogue, a folder, a file or a `hf-hub:` address; None initialises.
        options: `BuildOptions` and what `cls.option_names` names, as the caller gave them.
        preset: How images become inputs when no weights bring a preset of their own.

    Returns:
        The network, in training mode, as torch builds them.
    """
    own = {key: value for key, value in options.items() if key not in BuildOptions.__annotations__}
    for option in own:
        if option == "pretrained":
            raise InputError(
                f"pretrained: {architecture} takes weights= instead; " + _weights_hint(architecture)
            )
        if option not in cls.option_names:
            known = {*cls.option_names, *BuildOptions.__annotations__, "weights"}
            raise UnknownNameError(f"option of {architecture}", option, known)
    num_classes, in_channels = (
        None if options.get(name) is None else check_count(name, options[name])
        for name in ("num_classes", "in_channels")
    )
    given_device = options.get("device")
    # Of an empty tensor: torch 2.6 forgets `with torch.device(...)` in get_default_device.
    device = torch.empty(0).device if given_device is None else torch.device(given_device)

    def on_meta(num_classes: int | None, in_channels: int | None) -> C:
        sizes = {"num_classes": num_classes, "in_channels": in_channels}
        given = {key: value for key, value in sizes.items() if value is not None}
        # On the meta device nothing is allocated and no random number is drawn; what follows
        # fills the tensors exactly once, from a file or from reset_parameters.
        with OnMeta():
            net = cls(**{**settings, **own, **given})
        net.architecture = architecture
        # As JSON would hold them, for saving; constructors take a record's fields in its place.
        net.options = {
            key: asdict(value) if isinstance(value, DropBlockConfig) else value
            for key, value in own.items()
        }
        if preset is not None:
            net.preset = preset_for_channels(cls.preset_for(preset, own), net.in_channels)
        return net

    if weights is not None:
        _check_weights(architecture, weights)
        from convzoo import hub  # reads files and, where it must, the network: only when asked

        return hub.load_into(
            on_meta,
            architecture=architecture,
            weights=weights,
            num_classes=num_classes,
            in_channels=in_channels,
            device=device,
        )
    net = on_meta(num_classes, in_channels)
    if device.type != "meta":
        net.to_empty(device=device)
        net.reset_parameters()
    return net


# What torchvision calls its weights -> the endings of ours, the one it prefers first.
_TORCHVISION: Final[Mapping[str, tuple[str, ...]]] = {
    "DEFAULT": ("tv2_in1k", "tv_in1k"),
    "IMAGENET1K_V1": ("tv_in1k",),
    "IMAGENET1K_V2": ("tv2_in1k",),
}


def _check_weights(architecture: str, weights: object) -> None:
    """Answer what torchvision and timm would take for `weights=` with what is meant here."""
    name = weights.name if isinstance(weights, Enum) else weights
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


def preset_for_channels(preset: Preset, channels: int) -> Preset:
    """The preset for another first convolution.

    Args:
        preset: What the network is usually fed with.
        channels: Channels of the input.

    Returns:
        The preset with mean and standard deviation averaged over its channels where there are
        fewer, taken in turn where there are more.
    """
    if channels == preset.channels:
        return preset
    if channels < preset.channels:
        mean = (sum(preset.mean) / preset.channels,) * channels
        std = (sum(preset.std) / preset.channels,) * channels
    else:
        order = [index % preset.channels for index in range(channels)]
        mean = tuple(preset.mean[index] for index in order)
        std = tuple(preset.std[index] for index in order)
    return preset.replace(channels=channels, mean=mean, std=std)


def small_images(preset: Preset, side: int = 32) -> Preset:
    """The preset for a network built for small images, where the usual one takes large ones.

    Args:
        preset: What the network is usually fed with.
        side: Side of the small images in pixels.

    Returns:
        The preset at that side, with the augmentation of small images; presets of small images
        stay as they are.
    """
    usual = preset.input_size
    if not isinstance(usual, int) or usual < 96:
        return preset
    return preset.replace(input_size=side, resize=side, augmentation="small")
