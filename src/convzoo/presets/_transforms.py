"""The steps of evaluation, by torch and Pillow alone, and those that training adds."""

from __future__ import annotations

import math
import platform
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convzoo._checks import check_choice, check_count, check_number
from convzoo.errors import InputError
from convzoo.presets._images import pil_to_tensor, tensor_to_pil

if TYPE_CHECKING:
    from PIL.Image import Image
    from torchvision.transforms import InterpolationMode

Interpolation = Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]
"""How pixels are resampled. The last three exist for PIL images only."""

TrainCrop = Literal["resized", "short_side", "pad", "eval"]
"""How training gets to `input_size`."""

AutoAugment = Literal["randaugment", "trivialaugment"]
"""A policy that draws augmentations by itself."""

_MAX_PIXELS = 100_000_000  # of one resized image: 300 MB in RGB


class ImageTransform(nn.Sequential):
    """What `Preset.eval` and `Preset.train` return: a sequence of steps.

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
        interpolation: How pixels are resampled.
        antialias: Whether tensors are smoothed when they shrink.
        squash: Resize to the box itself instead.
    """

    def __init__(
        self, box: tuple[int, int], interpolation: Interpolation, antialias: bool, *, squash: bool
    ) -> None:
        super().__init__()
        self.box = box
        self.interpolation = interpolation
        self.antialias = antialias
        self.squash = squash

    def forward(self, image: Image | Tensor) -> Image | Tensor:
        """Resize (..., H, W) or a PIL image."""
        if not isinstance(image, Tensor):
            return self._pil(image, self._size(image.height, image.width))
        size = self._size(*image.shape[-2:])
        if size == tuple(image.shape[-2:]):
            return image
        if not image.numel():
            return image.new_empty((*image.shape[:-2], *size))
        batch = image.reshape(-1, *image.shape[-3:])  # (B, C, H, W)
        if self._as_pil(image):
            rows = [pil_to_tensor(self._pil(tensor_to_pil(x), size)) for x in batch]
            resized = torch.stack(rows)
        else:
            resized = self._interpolate(batch, size)
        return resized.reshape(*image.shape[:-2], *size)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        return self.box if self.squash else self._cover(height, width)

    def _pil(self, image: Image, size: tuple[int, int]) -> Image:
        from PIL.Image import Resampling

        if size == (image.height, image.width):
            return image
        return image.resize(size[::-1], Resampling[self.interpolation.upper()])

    def _interpolate(self, batch: Tensor, size: tuple[int, int]) -> Tensor:
        """As torchvision resizes tensors, to the bit; it takes a second to import."""
        # Plain nearest takes other pixels from a tensor than PIL does; nearest-exact the same.
        nearest = self.interpolation == "nearest"
        if len(batch) == 1 and batch.is_contiguous(memory_format=torch.channels_last):
            # Decoded images have the channels of a pixel side by side, and are resized so at twice
            # the speed; of a batch of one torch does not see it by itself.
            batch = batch.as_strided(batch.shape, (batch.numel(), *batch.stride()[1:]))
        quick = batch.device.type == "cpu" and (
            self.interpolation == "bicubic"
            or torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
            or platform.machine() in ("aarch64", "arm64")
        )
        rounded = batch.dtype == torch.uint8 and not (nearest or quick)
        resized = F.interpolate(
            batch.float() if rounded else batch,
            size,
            mode="nearest-exact" if nearest else self.interpolation,
            align_corners=None if nearest else False,
            antialias=self.antialias and not nearest,
        )
        return resized.round_().clamp_(0, 255).to(torch.uint8) if rounded else resized

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
                f"image: expected one less oblong, got {height} x {width} pixels, which would "
                f"become {size[0]} x {size[1]}; crop it first, or use a preset with crop='squash'"
            )
        return size

    def extra_repr(self) -> str:
        """The options, for printing."""
        kind = "squash to" if self.squash else "cover"
        return f"{kind} {self.box}, {self.interpolation}, antialias={self.antialias}"


class CropImage(nn.Module):
    """Cut a box from the middle; where the image is smaller, black (0) is put around it.

    Args:
        size: (height, width) of the box, in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, image: Image | Tensor) -> Image | Tensor:
        """Crop (..., H, W) or a PIL image."""
        if not isinstance(image, Tensor):
            top, bottom = _middle(image.height, self.size[0])
            left, right = _middle(image.width, self.size[1])
            return image.crop((left, top, right, bottom))  # Pillow fills with 0 by itself
        height, width = image.shape[-2:]
        top, bottom = _middle(height, self.size[0])
        left, right = _middle(width, self.size[1])
        if min(top, left) < 0:
            around = (-left, right - width, -top, bottom - height)
            image = F.pad(image, [max(side, 0) for side in around])
        top, left = max(top, 0), max(left, 0)
        return image[..., top : top + self.size[0], left : left + self.size[1]]

    def extra_repr(self) -> str:
        """The options, for printing."""
        return f"{self.size}"


def _middle(have: int, want: int) -> tuple[int, int]:
    """Where `want` of `have` pixels begin and end, with torchvision's rounding."""
    first = round((have - want) / 2) if have >= want else -((want - have) // 2)
    return first, first + want


class ToTensor(nn.Module):
    """From a PIL image to a uint8 tensor (C, H, W); tensors pass as they are."""

    def forward(self, image: Image | Tensor) -> Tensor:
        """Convert an image of mode L or RGB."""
        return image if isinstance(image, Tensor) else pil_to_tensor(image)


class NormalizeImage(nn.Module):
    """From uint8, or floating point in [0, 1], to float32 by mean and standard deviation.

    In the order and with the roundings of torchvision's transforms, to the last bit. One
    multiply-add a pixel would round otherwise, and as torch has it (`addcmul`, which is slow where
    it broadcasts) takes longer than these three steps in place.

    Args:
        mean: Per channel, of pixels scaled to [0, 1].
        std: Per channel, likewise.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.mean = mean
        self.std = std

    def forward(self, image: Tensor) -> Tensor:
        """Normalise (..., C, H, W)."""
        mean, std = (
            torch.tensor(numbers, dtype=torch.float32, device=image.device).view(-1, 1, 1)
            for numbers in (self.mean, self.std)
        )
        if image.dtype != torch.uint8:
            return image.sub(mean).div_(std)
        pixels = image.to(torch.float32, memory_format=torch.contiguous_format)
        return pixels.div_(255).sub_(mean).div_(std)

    def extra_repr(self) -> str:
        """The options, for printing."""
        return f"mean={list(self.mean)}, std={list(self.std)}"


class UnitScale(nn.Module):
    """From uint8 to float32 in [0, 1].

    By division, so that the result equals that of the transforms which come with torchvision's
    weights to the last bit. `v2.ToDtype` multiplies by 1 / 255, which rounds otherwise.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Scale (..., C, H, W); floating point passes as it is."""
        return image.float() / 255 if image.dtype == torch.uint8 else image


def mode(interpolation: Interpolation) -> InterpolationMode:
    """The name that torchvision gives an interpolation."""
    from torchvision.transforms import InterpolationMode

    # Plain NEAREST takes other pixels from a tensor than PIL does; NEAREST_EXACT takes the same.
    return InterpolationMode("nearest-exact" if interpolation == "nearest" else interpolation)


def choose_crop(crop: TrainCrop | None, default: TrainCrop, **options: object) -> TrainCrop:
    """The crop that was named, or else the one that the given options belong to."""
    owners: dict[str, TrainCrop] = {
        "scale": "resized",
        "ratio": "resized",
        "padding": "pad",
        "short_side": "short_side",
    }
    given = [name for name, value in options.items() if value is not None]
    if crop is None:
        crop = owners[given[0]] if given else default
    check_choice("crop", crop, get_args(TrainCrop))
    for name in given:
        if crop != owners[name]:
            raise InputError(
                f"{name}: expected None with {crop=}, got {options[name]!r:.80}; it belongs to "
                f"crop={owners[name]!r}"
            )
    return crop


def random_resized_crop(
    size: tuple[int, int],
    scale: tuple[float, float] | None,
    ratio: tuple[float, float] | None,
    interpolation: Interpolation,
    antialias: bool,
) -> list[nn.Module]:
    """Cut a part of random area and proportions, and resize it; None takes the usual ranges."""
    from torchvision.transforms import v2

    scale = (0.08, 1.0) if scale is None else scale
    ratio = (3 / 4, 4 / 3) if ratio is None else ratio
    _check_interval("scale", scale, 0, 1)
    _check_interval("ratio", ratio, 0)
    return [v2.RandomResizedCrop(size, scale, ratio, mode(interpolation), antialias)]


def short_side_crop(
    size: tuple[int, int],
    short_side: int | tuple[int, int] | None,
    interpolation: Interpolation,
    antialias: bool,
) -> list[nn.Module]:
    """Resize the short side to a length, or one drawn from a range, and cut a part at random."""
    from torchvision.transforms import v2

    least = max(size)
    if not isinstance(short_side, (tuple, list)):
        side = check_count("short_side", short_side, least=least)
        resize = ResizeImage((side, side), interpolation, antialias, squash=False)
        return [resize, v2.CenterCrop(side), v2.RandomCrop(size)]
    _check_interval("short_side", short_side, least - 1)
    low, high = (check_count("short_side", side) for side in short_side)
    # RandomResize never draws the upper end.
    jitter = v2.RandomResize(low, high + 1, mode(interpolation), antialias)
    return [jitter, v2.RandomCrop(size)]


def rotate(rotation: float | tuple[float, float]) -> list[nn.Module]:
    """Turn by a random angle out of a pair, or of both directions, in degrees."""
    from torchvision.transforms import v2

    if isinstance(rotation, (tuple, list)):
        _check_interval("rotation", rotation, -math.inf)
        angles = list(rotation)
    else:
        check_number("rotation", rotation, 0)
        angles = [-rotation, rotation]
    return [v2.RandomRotation(angles, interpolation=mode("bilinear"))] if any(angles) else []


def auto_augment_steps(
    policy: AutoAugment | None, *, num_ops: int | None, magnitude: int | None
) -> list[nn.Module]:
    """The policy's transform, if there is one."""
    from torchvision.transforms import v2

    if policy is not None:
        check_choice("auto_augment", policy, get_args(AutoAugment))
    if policy != "randaugment":
        for name, value in (("num_ops", num_ops), ("magnitude", magnitude)):
            if value is not None:
                raise InputError(
                    f"{name}: expected None with auto_augment={policy!r}, got {value!r}; it "
                    "belongs to auto_augment='randaugment'"
                )
        return [] if policy is None else [v2.TrivialAugmentWide(interpolation=mode("bilinear"))]
    num_ops = 2 if num_ops is None else check_count("num_ops", num_ops)
    magnitude = 9 if magnitude is None else check_count("magnitude", magnitude, least=0, most=30)
    return [v2.RandAugment(num_ops=num_ops, magnitude=magnitude, interpolation=mode("bilinear"))]


def _check_interval(name: str, value: object, least: float, most: float = math.inf) -> None:
    """Refuse what is not a pair (low, high) with least < low <= high <= most."""
    if isinstance(value, (tuple, list)) and len(value) == 2:
        low, high = (check_number(name, side) for side in value)
        if least < low <= high <= most:
            return
    limits = f"{least:g} < low <= high" + ("" if most == math.inf else f" <= {most:g}")
    raise InputError(f"{name}: expected (low, high) with {limits}, got {value!r:.80}")
