"""From a PIL image of any mode or a tensor to the channels that a network expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from convzoo.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


class ConvertImage(nn.Module):
    """Bring an image to the channels that a network takes, before anything else is done to it.

    PIL images come out in mode L or RGB, tensors as uint8 or float32.

    Args:
        channels: That the network takes.
        interpolation: That the preset asks for; some are for PIL images only.
        antialias: Whether tensors are smoothed when they shrink, as PIL images are.
        batches: Whether (B, C, H, W) is welcome too.
    """

    def __init__(
        self, channels: int, interpolation: str, *, antialias: bool, batches: bool
    ) -> None:
        super().__init__()
        self.channels = channels
        self.interpolation = interpolation
        # torch resizes colour as Pillow does, within one grey level, and in a third of the time.
        self.wants_tensors: bool = channels == 3 and interpolation == "bilinear" and antialias
        self.batches = batches

    def forward(self, image: object) -> Image | Tensor:
        """Convert a PIL image or a tensor (C, H, W) or (B, C, H, W)."""
        from PIL.Image import Image

        if isinstance(image, Image):
            return convert_pil(image, self.channels)
        if not isinstance(image, Tensor):
            raise InputError(
                "image: expected a PIL image or a tensor (C, H, W), got "
                f"{type(image).__module__}.{type(image).__qualname__}"
            )
        if self.interpolation in ("box", "hamming", "lanczos"):
            raise InputError(
                f"image: expected a PIL image with interpolation={self.interpolation!r}, got a "
                "tensor; use 'bilinear' or 'bicubic', or pass PIL images"
            )
        if image.ndim == 4 and not self.batches:
            raise InputError(
                f"image: expected one (C, H, W) at a time, got a batch of shape "
                f"{tuple(image.shape)}; a training transform draws anew for each image"
            )
        return convert_tensor(image, self.channels)

    def extra_repr(self) -> str:
        """The options, for printing."""
        return f"channels={self.channels}"


def pil_to_tensor(image: Image) -> Tensor:
    """An image of mode L or RGB as uint8 (C, H, W), the channels of a pixel side by side."""
    import numpy as np

    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.movedim(-1, 0)


def tensor_to_pil(pixels: Tensor) -> Image:
    """A uint8 tensor (1 or 3, H, W) as an image of mode L or RGB."""
    from PIL.Image import fromarray

    return fromarray(pixels.movedim(0, -1).squeeze(-1).contiguous().numpy())


def convert_pil(image: Image, channels: int) -> Image:
    """A PIL image of any mode as L (`channels=1`) or RGB (`channels=3`)."""
    if channels not in (1, 3):
        raise InputError(
            f"image: expected a tensor ({channels}, H, W), for the preset has {channels} channels, "
            "got a PIL image, which can become 1 or 3"
        )
    if 0 in image.size:
        raise InputError(f"image: expected at least one pixel, got size {image.size}")
    target = "L" if channels == 1 else "RGB"
    return image if image.mode == target and not has_alpha(image) else _opaque(image, target)


def has_alpha(image: Image) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _opaque(image: Image, target: str) -> Image:
    """Any mode to `target`; transparent pixels show white, as on a page."""
    from PIL.Image import new

    check_mode(image)
    mode = image.mode
    if mode.startswith("I"):
        return _from_16_bits(image).convert(target)
    if not has_alpha(image):
        return image.convert(target)
    # Dropping the alpha channel, as convert("RGB") does, would uncover whatever colour happens to
    # be stored under transparent pixels.
    if mode in ("LA", "La"):
        grey, alpha = image.convert("LA").split()
        page = new("L", image.size, 255)
        page.paste(grey, mask=alpha)
    else:
        rgba = image.convert("RGBA")
        page = new("RGB", image.size, (255, 255, 255))
        page.paste(rgba, mask=rgba.getchannel("A"))
    return page.convert(target)


_MODES = (
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"),
)


def check_mode(image: Image) -> None:
    """Refuse values of an unknown range."""
    if image.mode == "I":
        low, high = cast("tuple[int, int]", image.getextrema())
        if low < 0 or high > 65535 or 0 < high <= 255:
            raise InputError(
                f"image: expected a known range, got PIL mode 'I' with values {low} to {high}, "
                "which may be 8-bit, 16-bit or neither; convert it to mode 'L' or 'I;16', or to a "
                "tensor in [0, 1]"
            )
    elif image.mode not in _MODES and not image.mode.startswith("I;16"):
        raise InputError(
            f"image: expected PIL mode {', '.join(_MODES)} or I;16, got PIL mode {image.mode!r}, "
            "which has no known range or no way to RGB; convert it first, for example to a tensor "
            "in [0, 1]"
        )


def _from_16_bits(image: Image) -> Image:
    import numpy as np
    from PIL.Image import fromarray

    values = np.asarray(image).astype(np.uint32)
    return fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 = 257 * 255


def convert_tensor(image: Tensor, channels: int) -> Tensor:
    """A tensor (..., C, H, W) of 1 to 4 channels as `channels` channels, uint8 or float32."""
    image = image.as_subclass(Tensor)  # torchvision's tv_tensors would otherwise stay wrapped
    if image.ndim not in (3, 4):
        hint = "; add the channel axis: image[None]" if image.ndim == 2 else ""
        shape = tuple(image.shape)
        raise InputError(f"image: expected (C, H, W) or (B, C, H, W), got {shape}{hint}")
    have = image.shape[-3]
    convertible = channels in (1, 3) and have in (1, 2, 3, 4)
    if have != channels and not convertible:
        hint = "; it looks like (H, W, C): use image.movedim(-1, -3)"
        last = image.shape[-1] in (1, 3, 4) or image.shape[-1] == channels
        raise InputError(
            f"image: expected {channels} channels"
            + (", or grey, RGB or RGBA" if channels in (1, 3) else "")
            + f", got {have} in shape {tuple(image.shape)}{hint if last else ''}"
        )
    if 0 in image.shape[-2:]:
        raise InputError(f"image: expected at least one pixel, got shape {tuple(image.shape)}")
    image = _known_range(image)
    if have == channels:
        return image
    if have in (2, 4):
        image = _on_white(image[..., :-1, :, :], image[..., -1:, :, :])
    if channels == 1 and image.shape[-3] == 3:
        return _grey(image)
    if channels == 3 and image.shape[-3] == 1:
        return image.expand(*image.shape[:-3], 3, *image.shape[-2:])
    return image


def _known_range(image: Tensor) -> Tensor:
    if image.dtype == torch.uint8:
        return image
    if image.dtype == torch.uint16:
        return ((image.to(torch.int32) + 128) // 257).to(torch.uint8)  # 65535 = 257 * 255
    if not image.is_floating_point():
        raise InputError(
            f"image: expected uint8, uint16, or floating point in [0, 1], got {image.dtype}"
        )
    image = image.to(torch.float32)
    if not len(image):  # a batch without images
        return image
    low, high = (float(v) for v in image.aminmax())
    # A tenth of slack, because bicubic resampling overshoots. NaN fails the comparison too.
    if not (low >= -0.1 and high <= 1.1):
        raise InputError(
            f"image: expected floating point in [0, 1], got {low:g} to {high:g}; pass uint8 or "
            "divide by 255, and leave the normalisation to the preset"
        )
    return image


def _on_white(colour: Tensor, alpha: Tensor) -> Tensor:
    if colour.dtype != torch.uint8:
        return colour * alpha + (1 - alpha)
    # Pillow's rounding, to the bit: paste with a mask does the same.
    a = alpha.to(torch.int32)
    value = colour.to(torch.int32) * a + 255 * (255 - a) + 128
    return (((value >> 8) + value) >> 8).to(torch.uint8)


def _grey(image: Tensor) -> Tensor:
    red, green, blue = image.unbind(-3)
    if image.dtype != torch.uint8:
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
    else:
        # Pillow's rounding of the ITU-R 601 weights, to the bit; torchvision's rounds down.
        r, g, b = (c.to(torch.int32) for c in (red, green, blue))
        grey = ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16).to(torch.uint8)
    return grey.unsqueeze(-3)
