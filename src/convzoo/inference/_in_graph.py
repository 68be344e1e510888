"""A network with what its preset does before it, as one graph of plain tensor operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from convzoo._checks import check_choice
from convzoo.errors import InputError
from convzoo.presets import Interpolation, Preset


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:  # a = -0.5, as Pillow has it
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _box(x: Tensor) -> Tensor:
    return ((x > -0.5) & (x <= 0.5)).float()


def _sinc(x: Tensor) -> Tensor:
    x = x * torch.pi
    return torch.where(x == 0, torch.ones_like(x), x.sin() / torch.where(x == 0, 1.0, x))


def _hamming(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 1, _sinc(x) * (0.54 + 0.46 * (torch.pi * x).cos()), 0.0)


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3, _sinc(x) * _sinc(x / 3), 0.0)


# Pillow's filters: the share of a pixel by its distance, in pixels of the coarser image.
_FILTERS: Final[Mapping[Interpolation, Callable[[Tensor], Tensor]]] = {
    "bilinear": _triangle,
    "bicubic": _cubic,
    "box": _box,
    "hamming": _hamming,
    "lanczos": _lanczos,
}


class WithPreprocessing(nn.Module):
    """A network from pixels to probabilities: resize, crop, normalise, network, softmax.

    Resizing and cropping along an axis are one matrix, made from the image's size inside the
    graph: torch, onnxruntime and OpenVINO then agree, whatever they call their resampling, and
    images may have any size. As Pillow does, it rounds to grey levels after either axis.

    Args:
        net: The network.
        preset: How images become its inputs.

    Raises:
        InputError: The preset leaves sizes to the image, or resamples as no filter here does.
    """

    def __init__(self, net: nn.Module, preset: Preset) -> None:
        super().__init__()
        if preset.crop == "none":
            raise InputError(
                "preprocessing: the preset's crop='none' gives inputs of many sizes, a file takes "
                "one: net.preset = net.preset.replace(crop='center')"
            )
        # PIL images are always smoothed; only other numbers of channels come as tensors alone.
        self.smooth: bool = preset.antialias or preset.channels in (1, 3)
        check_choice("preprocessing: interpolation", preset.interpolation, tuple(_FILTERS))
        if not self.smooth and preset.interpolation == "bicubic":
            raise InputError("preprocessing: expected antialias=True with interpolation='bicubic'")
        self.filter: Callable[[Tensor], Tensor] = _FILTERS[preset.interpolation]
        self.net = net
        self.preset = preset
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(preset.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(preset.std)[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (B, H, W, C) -> probabilities (B, num_classes)."""
        x = image.permute(0, 3, 1, 2).float()  # (B, C, H, W)
        # Sizes as tensors, of which no compiler asks whether they are equal or 1.
        rows, columns = (torch.arange(x.shape[axis], device=x.device) for axis in (2, 3))
        height, width = rows[-1] + 1, columns[-1] + 1
        high, wide = self._resized(height, width)
        out_height, out_width = self.preset.height_width
        across = self._shares(columns, width, wide, out_width)
        down = self._shares(rows, height, high, out_height)
        x = (x @ across.T + 0.5).floor().clamp(0, 255)  # (B, C, H, out_width)
        x = (down @ x + 0.5).floor().clamp(0, 255)  # (B, C, out_height, out_width)
        scores: Tensor = self.net((x / 255 - self.mean) / self.std)
        return scores.softmax(dim=1) if getattr(self.net, "num_classes", 1) else scores

    def _resized(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """The size after resizing, before the crop."""
        if self.preset.resize is None:
            return height, width
        sides = self.preset.height_width
        box_height, box_width = (round(side * self.preset.resize / min(sides)) for side in sides)
        if self.preset.crop == "squash":
            return torch.full_like(height, box_height), torch.full_like(width, box_width)
        return (
            (box_width * height // width).clamp(min=box_height),
            (box_height * width // height).clamp(min=box_width),
        )

    def _shares(self, pixels: Tensor, size: Tensor, resized: Tensor, out: int) -> Tensor:
        """Shares that `size` pixels have in `out` of `resized`, cut from the middle: (out, size).

        What lies outside the image gets none, and is black.
        """
        over = resized - out
        # torchvision's rounding: to even where it cuts, down where it pads.
        first = torch.where(over < 0, (over / 2).ceil(), (over / 2).round()).long()
        place = torch.arange(out, device=pixels.device)[:, None] + first  # in the resized image
        # (place + 0.5) * size / resized, in whole pixels and the rest: floats would lose digits.
        at, half = (2 * place + 1) * size, 2 * resized
        pixel, rest = at // half, (at % half) / half
        reach = (size / resized).clamp(min=1.0) if self.smooth else 1.0
        shares = self.filter(((pixels - pixel) + (0.5 - rest)) / reach)
        shares = shares / shares.sum(dim=1, keepdim=True)
        inside = (place >= 0) & (place < resized)
        return torch.where(inside, shares, 0.0)
