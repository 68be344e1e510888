"""From a file, a PIL image of any mode or a tensor to what a network expects."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from convzoo.errors import DataError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow's other plugins include some that start programs: EPS runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

_MOST_OBLONG = 800  # at the usual sizes the longer side would grow to millions of pixels

# What Pillow's decoders raise on damaged files, besides OSError.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error)


def load_image(path: str | os.PathLike[str]) -> Image:
    """Open one still image, whole, and turned the way its EXIF orientation says.

    Args:
        path: The file.

    Returns:
        The image in the mode that the file has (a 16-bit greyscale file is `I;16`), which a
        preset's transforms take. Phones' MPO files give their main picture.

    Raises:
        DataError: The file is missing, is a folder or a pipe, cannot be read, is no JPEG, PNG,
            WebP, GIF, BMP, TIFF or PPM, is cut off or damaged, is animated or has several pages,
            is of a mode whose values have no known range (F, LAB), has one side over 800 times the
            other, or so many pixels that Pillow takes it for a decompression bomb. The message
            names the file.

    Examples:
        >>> from PIL import Image
        >>> from convzoo.presets import load_image
        >>> Image.new("RGB", (40, 30)).save("boat.png")
        >>> load_image("boat.png").size
        (40, 30)
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"path: expected a file name, got {path!r:.80}")
    file = Path(path)
    try:
        kind = file.stat().st_mode
        if stat.S_ISDIR(kind):
            raise DataError(f"{file}: expected an image file, got a folder")
        if not stat.S_ISREG(kind):  # opening a pipe that nobody writes to would wait for ever
            raise DataError(f"{file}: expected an image file, got a pipe, a socket or a device")
        with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
            # An MPO is a JPEG photograph with previews or the other eye's view behind it.
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            if frames > 1:
                raise DataError(
                    f"{file}: expected one still image, got {frames} frames or pages; "
                    "save the one you want as a file of its own"
                )
            short, long = sorted(image.size)
            if long > _MOST_OBLONG * short:
                raise DataError(
                    f"{file}: expected one side at most {_MOST_OBLONG} times the other, got "
                    f"{image.height} x {image.width} pixels; crop it first"
                )
            image.load()
            upright: Image.Image = ImageOps.exif_transpose(image)
            if image.format in ("PPM", "PNG") and upright.mode == "I":
                # These formats hold at most 16 bits; some Pillow versions widen them to 32.
                upright = upright.convert("I;16")
            _check_mode(upright)
            # exif_transpose has made a copy, so that nothing points to the closed file.
            return upright
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{file}: not an image, or of none of {', '.join(FORMATS)}") from None
    except InputError as error:
        raise DataError(f"{file}: {error}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{file}: too many pixels: {error}") from None
    except _BROKEN as error:
        raise DataError(f"{file}: cut off, damaged or unreadable: {error}") from error


class ConvertImage(nn.Module):
    """Bring an image to the channels that a network takes, before anything else is done to it.

    PIL images come out in mode L or RGB, tensors as uint8 or float32.

    Args:
        channels: That the network takes.
        interpolation: That the preset asks for; some are for PIL images only.
        batches: Whether (B, C, H, W) is welcome too.
    """

    def __init__(self, channels: int, interpolation: str, *, batches: bool) -> None:
        super().__init__()
        self.channels = channels
        self.interpolation = interpolation
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
    return image if image.mode == target and not _has_alpha(image) else _opaque(image, target)


def _has_alpha(image: Image) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _opaque(image: Image, target: str) -> Image:
    """Any mode to `target`; transparent pixels show white, as on a page."""
    from PIL.Image import new

    _check_mode(image)
    mode = image.mode
    if mode.startswith("I"):
        return _from_16_bits(image).convert(target)
    if not _has_alpha(image):
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


def _check_mode(image: Image) -> None:
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
