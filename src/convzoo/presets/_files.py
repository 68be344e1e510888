"""From a file to its image."""

from __future__ import annotations

import functools
import os
import stat
import struct
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from convzoo.errors import DataError, InputError
from convzoo.presets._images import ConvertImage, check_mode, has_alpha, pil_to_tensor
from convzoo.presets._transforms import ImageTransform

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

T = TypeVar("T")

# Pillow's other plugins include some that start programs: EPS runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

_MOST_OBLONG = 800  # at the usual sizes the longer side would grow to millions of pixels
_MOST_BYTES = 1 << 28  # of a JPEG that is read in one piece

# What Pillow's decoders raise on damaged files, besides OSError.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error)

_ORIENTATION = 0x0112  # the tag in EXIF
# Its values: whether rows and columns change places, then the axes that are mirrored.
_TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (-1,)),
    3: (False, (-2, -1)),
    4: (False, (-2,)),
    5: (True, ()),
    6: (True, (-1,)),
    7: (True, (-2, -1)),
    8: (True, (-2,)),
}


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
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"path: expected a file name, got {path!r:.80}")
    return _opened(path, _by_pillow)


def read_image(
    source: str | os.PathLike[str] | bytes, transform: object, *, many: bool = True
) -> Image | Tensor:
    """The image of a file in the form that a transform is quickest with.

    Args:
        source: The file, or what is in it.
        transform: What the image is for. A preset's may do better with a uint8 tensor (C, H, W);
            any other gets what [load_image][convzoo.presets.load_image] gives.
        many: Whether there are enough images to import torchvision for its decoder of JPEGs; it
            gives the pixels that Pillow's gives, a little sooner. Pillow still reads the header,
            and all that torchvision's refuses (CMYK, damaged files).

    Raises:
        DataError: As `load_image` raises it.
    """
    first = transform[0] if isinstance(transform, ImageTransform) and len(transform) else None
    if not (isinstance(first, ConvertImage) and first.wants_tensors):
        return _opened(source, _by_pillow)
    return _opened(source, _quickest if many or "torchvision.io" in sys.modules else _as_tensor)


def _opened(
    source: str | os.PathLike[str] | bytes, decode: Callable[[ImageFile, IO[bytes]], T]
) -> T:
    """What `decode` makes of a file whose header raises no doubts; errors name the file."""
    from PIL import Image, UnidentifiedImageError

    name = "image" if isinstance(source, bytes) else str(Path(source))
    try:
        with _stream(source) as stream, Image.open(stream, formats=FORMATS) as image:
            # An MPO is a JPEG photograph with previews or the other eye's view behind it.
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            if frames > 1:
                raise DataError(
                    f"{name}: expected one still image, got {frames} frames or pages; "
                    "save the one you want as a file of its own"
                )
            short, long = sorted(image.size)
            if long > _MOST_OBLONG * short:
                raise DataError(
                    f"{name}: expected one side at most {_MOST_OBLONG} times the other, got "
                    f"{image.height} x {image.width} pixels; crop it first"
                )
            return decode(image, stream)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not an image, or of none of {', '.join(FORMATS)}") from None
    except InputError as error:
        raise DataError(f"{name}: {error}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name}: too many pixels: {error}") from None
    except _BROKEN as error:
        raise DataError(f"{name}: cut off, damaged or unreadable: {error}") from error


def _stream(source: str | os.PathLike[str] | bytes) -> IO[bytes]:
    if isinstance(source, bytes):
        return BytesIO(source)
    file = Path(source)
    kind = file.stat().st_mode
    if stat.S_ISDIR(kind):
        raise DataError(f"{file}: expected an image file, got a folder")
    if not stat.S_ISREG(kind):  # opening a pipe that nobody writes to would wait for ever
        raise DataError(f"{file}: expected an image file, got a pipe, a socket or a device")
    return file.open("rb")


def _by_pillow(image: ImageFile, _stream: object) -> Image:
    from PIL import ImageOps

    image.load()
    # It makes a copy, so that nothing points to the closed file.
    upright: Image = ImageOps.exif_transpose(image)
    if image.format in ("PPM", "PNG") and upright.mode == "I":
        # These formats hold at most 16 bits; some Pillow versions widen them to 32.
        upright = upright.convert("I;16")
    check_mode(upright)
    return upright


def _as_tensor(image: ImageFile, _stream: object) -> Image | Tensor:
    upright = _by_pillow(image, _stream)
    plain = upright.mode in ("L", "RGB") and not has_alpha(upright)
    return pil_to_tensor(upright) if plain else upright


def _quickest(image: ImageFile, stream: IO[bytes]) -> Image | Tensor:
    decode_jpeg = _decode_jpeg()
    plain = image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB")
    if decode_jpeg is None or not plain:
        return _as_tensor(image, stream)
    stream.seek(0)
    data = torch.frombuffer(bytearray(stream.read(_MOST_BYTES)), dtype=torch.uint8)
    try:
        pixels: Tensor = decode_jpeg(data, 0, False)  # the mode that it has; unturned
    except RuntimeError:  # Pillow reads it all the same, or says what is wrong
        return _as_tensor(image, stream)
    if pixels.shape[-2:] != (image.height, image.width):
        return _as_tensor(image, stream)
    swapped, mirrored = _TURNS.get(image.getexif().get(_ORIENTATION, 1), (False, ()))
    if swapped:
        pixels = pixels.transpose(-2, -1)
    return pixels.flip(mirrored) if mirrored else pixels


@functools.cache
def _decode_jpeg() -> Callable[[Tensor, int, bool], Tensor] | None:
    """The operator of torchvision; None where it has none."""
    import torchvision.io  # noqa: F401 # registers it

    # The function around it warns at each call, from 0.29 on, that it will be removed one day.
    return getattr(torch.ops.image, "decode_jpeg", None)
