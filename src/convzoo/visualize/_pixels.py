"""Between pictures and what a network gets: prepared on the way in, undone on the way out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from convzoo._modes import check_network
from convzoo.errors import InputError
from convzoo.presets import Preset, load_image
from convzoo.transfer._find_heads import unwrap

if TYPE_CHECKING:
    from PIL.Image import Image

    _One: TypeAlias = Tensor | Image | str | os.PathLike[str]
    ImageInput: TypeAlias = _One | Sequence[_One]
else:
    ImageInput = object


def pixels(inputs: Tensor, preset: Preset | nn.Module | None = None) -> Tensor:
    """What a network gets, as a picture again: the preset's normalisation undone.

    Args:
        inputs: Prepared images, (B, C, H, W) or (C, H, W); uint8 images as they are.
        preset: The preset that prepared them, or the network that holds it. None takes the numbers
            as a picture's, in [0, 1].

    Returns:
        Pixels in [0, 1], float32, of the same shape, on the CPU.

    Raises:
        InputError: They are no images, have other channels than the preset, or are not in [0, 1]
            and there is no preset to undo.

    Examples:
        >>> import torch
        >>> from convzoo import presets, visualize
        >>> grey = torch.full((3, 8, 8), 128, dtype=torch.uint8)
        >>> prepared = presets.CIFAR10.replace(resize=None, input_size=8).eval()(grey)
        >>> round(float(visualize.pixels(prepared, presets.CIFAR10)[0, 0, 0] * 255))
        128
    """
    if not isinstance(inputs, Tensor) or inputs.ndim not in (3, 4) or not inputs.numel():
        got = tuple(inputs.shape) if isinstance(inputs, Tensor) else f"{inputs!r:.80}"
        raise InputError(f"images: expected a tensor (B, C, H, W) or (C, H, W), got {got}")
    if inputs.dtype == torch.uint8:
        return inputs.cpu() / 255
    if not inputs.is_floating_point():
        raise InputError(f"images: expected floating point or uint8, got {inputs.dtype}")
    x = inputs.detach().float().cpu()
    known = preset_of(preset)
    if known is None:
        if float(x.min()) < 0 or float(x.max()) > 1:
            raise InputError(
                f"preset: expected the one that prepared the images, whose values go from "
                f"{float(x.min()):.3g} to {float(x.max()):.3g}; got None"
            )
        return x
    if x.shape[-3] != known.channels:
        raise InputError(
            f"images: expected the preset's {known.channels} channel(s), got {x.shape[-3]}"
        )
    mean, std = (torch.tensor(part).view(-1, 1, 1) for part in (known.mean, known.std))
    return (x * std + mean).clamp(0, 1)


def preset_of(source: Preset | nn.Module | None) -> Preset | None:
    """A preset as it is, or that of a network, where it has one."""
    if source is None or isinstance(source, Preset):
        return source
    if not isinstance(source, nn.Module):
        raise InputError(f"preset: expected a Preset or a network, got {source!r:.80}")
    own = getattr(unwrap(source), "preset", None)
    return own if isinstance(own, Preset) else None


def prepare(net: nn.Module, images: ImageInput, preset: Preset | None = None) -> Tensor:
    """Images of any kind as a network's input, (B, C, H, W), where its parameters are.

    A preset prepares them instead of the network's own.
    """
    check_network(net)
    items = images if isinstance(images, Sequence) and not isinstance(images, str) else [images]
    if not items:
        raise InputError("images: expected at least one, got none")
    preset = preset_of(net) if preset is None else preset
    parts = [_prepare_one(preset, item) for item in items]
    sizes = {tuple(part.shape[1:]) for part in parts}
    if len(sizes) > 1:
        raise InputError(f"images: expected images of one size, got {sorted(sizes)}")
    x = torch.cat(parts)
    if x.is_inference():
        with torch.inference_mode(mode=False):
            x = x.clone()
    like = next((p for p in net.parameters() if p.is_floating_point()), None)
    return x if like is None else x.to(like.device, like.dtype)


def _prepare_one(preset: Preset | None, item: _One) -> Tensor:
    if isinstance(item, Tensor) and item.is_floating_point():
        if item.ndim not in (3, 4) or not item.numel():
            raise InputError(
                f"images: expected (B, C, H, W) or (C, H, W), got shape {tuple(item.shape)}"
            )
        return item if item.ndim == 4 else item.unsqueeze(0)
    if preset is None:
        raise InputError(
            "images: expected a floating-point tensor (B, C, H, W), prepared: the network brings "
            "no preset that says how to prepare an image"
        )
    if isinstance(item, (str, os.PathLike)):
        item = load_image(item)
    x: Tensor = preset.eval()(item)
    return x if x.ndim == 4 else x.unsqueeze(0)
