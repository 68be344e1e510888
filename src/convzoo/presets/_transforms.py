"""The steps of a preset's transforms: ours for what an image is, torchvision's for the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ..errors import InputError
from . import _check
from ._images import ConvertImage

if TYPE_CHECKING:
    from PIL.Image import Image
    from torchvision.transforms import InterpolationMode

    from ._preset import AutoAugment, Preset, TrainCrop

_MAX_PIXELS = 100_000_000  # of one resized image: 300 MB in RGB


class ImageTransform(nn.Sequential):
    """What `Preset.eval` and `Preset.train` return: a sequence of torchvision v2 transforms.

    It takes a PIL image or a tensor and returns a float32 tensor; printing it shows its steps,
    indexing gives them. It has no parameters and pickles.
    """

    if TYPE_CHECKING:  # nn.Module's own __call__ says nothing about types

        def __call__(self, image: Image | Tensor) -> Tensor: ...


class ResizeImage(nn.Module):
    """Scale an image, keeping its proportions, until it just covers a box.

    For a square box this is torchvision's rule for the short side, to the pixel.

    Args:
        box: (height, width) to cover, in pixels.
        squash: Resize to the box itself instead.
        interpolation: One of `Interpolation`.
        antialias: Whether tensors are smoothed when they shrink.
    """

    def __init__(
        self, box: tuple[int, int], *, squash: bool, interpolation: str, antialias: bool
    ) -> None:
        super().__init__()
        self.box = box
        self.squash = squash
        self.interpolation = interpolation
        self.antialias = antialias

    def forward(self, image: Image | Tensor) -> Image | Tensor:
        """Resize (..., H, W) or a PIL image."""
        from torchvision.transforms.v2 import functional

        size = list(self.box if self.squash else self._cover(*functional.get_size(image)))
        resample = mode(self.interpolation)
        if isinstance(image, Tensor) and self._as_pil(image):
            pictures = [functional.to_pil_image(x) for x in image.reshape(-1, *image.shape[-3:])]
            rows = [
                functional.pil_to_tensor(functional.resize(p, size, resample)) for p in pictures
            ]
            return torch.stack(rows).reshape(*image.shape[:-2], *size)
        result: Image | Tensor = functional.resize(
            image, size, interpolation=resample, antialias=self.antialias
        )
        return result

    def _as_pil(self, image: Tensor) -> bool:
        """Whether Pillow resizes this tensor.

        torchvision's own bilinear is within one grey level of Pillow's. Its bicubic is at times off
        by two, and its nearest takes the other neighbour at ties: up to a quarter of the pixels.
        """
        return (
            self.interpolation == "nearest" or (self.interpolation == "bicubic" and self.antialias)
        ) and (
            image.dtype == torch.uint8 and image.device.type == "cpu" and image.shape[-3] in (1, 3)
        )

    def _cover(self, height: int, width: int) -> tuple[int, int]:
        box_height, box_width = self.box
        if box_height * width >= box_width * height:
            size = box_height, max(box_width, int(box_height * width / height))
        else:
            size = max(box_height, int(box_width * height / width)), box_width
        if math.prod(size) > _MAX_PIXELS:
            raise InputError(
                f"an image of {height} x {width} pixels is too oblong: it would become "
                f"{size[0]} x {size[1]}; crop it first, or use a preset with crop='squash'"
            )
        return size

    def extra_repr(self) -> str:
        """The options, for printing."""
        kind = "squash to" if self.squash else "cover"
        return f"{kind} {self.box}, {self.interpolation}, antialias={self.antialias}"


class UnitScale(nn.Module):
    """From uint8 to float32 in [0, 1].

    By division, so that the result equals that of the transforms which come with torchvision's
    weights to the last bit. `v2.ToDtype` multiplies by 1 / 255, which rounds otherwise.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Scale (..., C, H, W); floating point passes as it is."""
        return image.float() / 255 if image.dtype == torch.uint8 else image


def mode(interpolation: str) -> InterpolationMode:
    """The name that torchvision gives an interpolation."""
    from torchvision.transforms import InterpolationMode

    # Plain NEAREST takes other pixels from a tensor than PIL does; NEAREST_EXACT takes the same.
    return InterpolationMode("nearest-exact" if interpolation == "nearest" else interpolation)


def eval_steps(preset: Preset) -> list[nn.Module]:
    """The steps of `Preset.eval`."""
    return [_convert(preset, batches=True), *_resize_and_crop(preset), *_to_float(preset)]


def _convert(preset: Preset, *, batches: bool) -> nn.Module:
    tensors = preset.interpolation in ("nearest", "bilinear", "bicubic")
    return ConvertImage(
        preset.channels, batches=batches, refuse_tensors=None if tensors else preset.interpolation
    )


def _resize_and_crop(preset: Preset) -> list[nn.Module]:
    from torchvision.transforms import v2

    height, width = preset.height_width
    steps: list[nn.Module] = []
    if preset.resize is not None:
        scale = preset.resize / min(height, width)
        box = round(height * scale), round(width * scale)
        steps.append(
            ResizeImage(
                box,
                squash=preset.crop == "squash",
                interpolation=preset.interpolation,
                antialias=preset.antialias,
            )
        )
    if preset.crop != "none":
        steps.append(v2.CenterCrop((height, width)))
    return steps


def _to_float(preset: Preset, *, noise: float = 0.0) -> list[nn.Module]:
    from torchvision.transforms import v2

    steps: list[nn.Module] = [v2.PILToTensor(), UnitScale()]
    if noise:
        steps.append(v2.GaussianNoise(sigma=noise))
    steps.append(v2.Normalize(list(preset.mean), list(preset.std)))
    return steps


def train_steps(
    preset: Preset,
    *,
    crop: TrainCrop | None,
    scale: tuple[float, float] | None,
    ratio: tuple[float, float] | None,
    padding: int | None,
    hflip: float | None,
    vflip: float,
    rotation: float | tuple[float, float],
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    grayscale: float,
    auto_augment: AutoAugment | None,
    num_ops: int | None,
    magnitude: int | None,
    noise: float,
    erasing: float,
) -> list[nn.Module]:
    """The steps of `Preset.train`, which documents the arguments."""
    from torchvision.transforms import v2

    if hflip is None:
        hflip = 0.0 if preset.augmentation == "digit" else 0.5
    probabilities = {"hflip": hflip, "vflip": vflip, "grayscale": grayscale, "erasing": erasing}
    for name, value in probabilities.items():
        _check.real(name, value, 0, 1)
    jitter = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for name, value in jitter.items():
        _check.real(name, value, 0, math.inf)
    _check.real("hue", hue, 0, 0.5)
    _check.real("noise", noise, 0, math.inf)

    _check_colour(
        preset.channels,
        {**jitter, "hue": hue, "grayscale": grayscale, "auto_augment": auto_augment},
    )

    steps = [_convert(preset, batches=False)]
    steps += _random_crop(preset, crop=crop, scale=scale, ratio=ratio, padding=padding)
    if hflip:
        steps.append(v2.RandomHorizontalFlip(hflip))
    if vflip:
        steps.append(v2.RandomVerticalFlip(vflip))
    angles = _angles(rotation)
    if angles != (0.0, 0.0):
        steps.append(v2.RandomRotation(list(angles), interpolation=mode("bilinear")))
    if any(jitter.values()) or hue:
        steps.append(v2.ColorJitter(brightness, contrast, saturation, hue))
    if grayscale:
        steps.append(v2.RandomGrayscale(grayscale))
    steps += _auto_augment(auto_augment, num_ops=num_ops, magnitude=magnitude)
    steps += _to_float(preset, noise=noise)
    if erasing:
        steps.append(v2.RandomErasing(erasing))  # after normalisation, 0 is the mean colour
    return steps


def _check_colour(channels: int, given: Mapping[str, object]) -> None:
    """Refuse, before the first image, what is defined for grey and RGB images only."""
    asked = [name for name, value in given.items() if value]
    if asked and channels not in (1, 3):
        raise InputError(
            f"{', '.join(asked)}: colour augmentations are for 1 (grey) or 3 (RGB) channels, and "
            f"the preset has {channels}; crops, flips, rotation, noise and erasing take any number"
        )


def _random_crop(
    preset: Preset,
    *,
    crop: TrainCrop | None,
    scale: tuple[float, float] | None,
    ratio: tuple[float, float] | None,
    padding: int | None,
) -> list[nn.Module]:
    from torchvision.transforms import v2

    from ._preset import TrainCrop

    if crop is None:
        if scale is not None or ratio is not None:
            crop = "resized"
        elif padding is not None:
            crop = "pad"
        else:
            crop = "resized" if preset.augmentation == "photo" else "pad"
    _check.choice("crop", crop, TrainCrop)
    for name, value, owner in (
        ("scale", scale, "resized"),
        ("ratio", ratio, "resized"),
        ("padding", padding, "pad"),
    ):
        if value is not None and crop != owner:
            raise InputError(f"{name} belongs to crop={owner!r}, got {name}={value!r} with {crop=}")

    size = preset.height_width
    if crop == "resized":
        scale = (0.08, 1.0) if scale is None else scale
        ratio = (3 / 4, 4 / 3) if ratio is None else ratio
        _check.interval("scale", scale, 0, 1)
        _check.interval("ratio", ratio, 0)
        return [
            v2.RandomResizedCrop(
                size,
                scale=scale,
                ratio=ratio,
                interpolation=mode(preset.interpolation),
                antialias=preset.antialias,
            )
        ]
    steps = _resize_and_crop(preset)
    if crop == "pad":
        padding = 4 if padding is None else padding
        _check.count("padding", padding, least=0)
        steps.append(v2.RandomCrop(size, padding=padding or None, pad_if_needed=True))
    return steps


def _angles(rotation: object) -> tuple[float, float]:
    if isinstance(rotation, (tuple, list)):
        _check.interval("rotation", rotation, -math.inf)
        low, high = cast("tuple[float, float]", rotation)
        return float(low), float(high)
    _check.real("rotation", rotation, 0, math.inf)
    angle = float(cast("float", rotation))
    return -angle, angle


def _auto_augment(
    policy: AutoAugment | None, *, num_ops: int | None, magnitude: int | None
) -> list[nn.Module]:
    from torchvision.transforms import v2

    from ._preset import AutoAugment

    if policy is not None:
        _check.choice("auto_augment", policy, AutoAugment)
    if policy != "randaugment":
        for name, value in (("num_ops", num_ops), ("magnitude", magnitude)):
            if value is not None:
                raise InputError(
                    f"{name} belongs to auto_augment='randaugment', got {name}={value!r} with "
                    f"auto_augment={policy!r}"
                )
        return [] if policy is None else [v2.TrivialAugmentWide(interpolation=mode("bilinear"))]
    num_ops = 2 if num_ops is None else num_ops
    magnitude = 9 if magnitude is None else magnitude
    _check.count("num_ops", num_ops)
    _check.count("magnitude", magnitude, least=0, most=30)
    return [v2.RandAugment(num_ops=num_ops, magnitude=magnitude, interpolation=mode("bilinear"))]
