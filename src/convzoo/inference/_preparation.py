"""From images of any kind to what a network gets, many at a time in threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch import Tensor

from convzoo._engines._threads import calling_modules, in_threads, usual_workers
from convzoo.datasets._prepared import ImageTransform
from convzoo.errors import DataError, InputError
from convzoo.inference._files import image_files, stands_for_many
from convzoo.inference._views import TTA, Views
from convzoo.presets import Preset
from convzoo.presets._files import read_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Picture = str | os.PathLike[str] | bytes | Image | Tensor | NDArray[np.uint8]
    """What a [Predictor][convzoo.inference.Predictor] takes for an image."""

T = TypeVar("T")
R = TypeVar("R")

_MANY: Final = 2000
"""Images whose quicker decoding is worth the time that torchvision takes to import."""


class Preparation:
    """What is done to an image of whatever kind before a network gets it.

    Args:
        preset: How it becomes an input.
        tta: Into which views, as [Predictor][convzoo.inference.Predictor] has it.

    Attributes:
        views: How many an image has; None where it goes through the network as it is.
    """

    def __init__(self, preset: Preset, tta: TTA | Sequence[ImageTransform] | None) -> None:
        transform = preset.eval()
        *self._steps, self._normalise = transform
        self._views = None if tta is None else Views(preset, tta)
        self.views: int | None = None if self._views is None else len(self._views)
        # Transforms of the user's own get files as PIL images.
        self._reader = transform if tta is None or isinstance(tta, str) else None

    def __call__(self, image: Picture, *, many: bool = False) -> Tensor:
        """An image's pixels (C, H, W), at the size that the network gets; or its views."""
        if self._views is None:
            return self.pixels(image, many=many)
        return self._views(self._picture(image, many))  # (V, C, H, W), ready for the network

    def pixels(self, image: Picture, *, many: bool = False) -> Tensor:
        """The pixels of an image, whatever views it has."""
        ready: Any = self._picture(image, many)
        for step in self._steps:
            ready = step(ready)
        pixels: Tensor = ready
        # What is cut from a photograph that was not resized would keep all of it in memory.
        whole = pixels.untyped_storage().nbytes()
        return pixels.clone() if whole > 4 * pixels.nbytes else pixels

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels (B, C, H, W) as floats, the last step, which a batch takes at once."""
        with calling_modules():
            x: Tensor = self._normalise(pixels)
        return x

    def batches(
        self,
        images: Iterable[Picture] | Tensor | str | os.PathLike[str],
        batch_size: int,
        *,
        views: bool = True,
    ) -> Iterator[Tensor]:
        """Batches of them, in order; one that cannot be read ends it."""
        if isinstance(images, (str, os.PathLike)):
            if not stands_for_many(images):
                raise InputError(f"images: expected several images, got the single path {images!r}")
            images = image_files(images)
        many = len(images) >= _MANY if isinstance(images, Sized) else True
        prepare: Callable[..., Tensor] = self if views else self.pixels
        for chunk in _chunks(
            lambda image: prepare(image, many=many), images, batch_size, usual_workers()
        ):
            yield from stacks(chunk)

    def files(
        self, paths: Iterable[Path], batch_size: int, workers: int
    ) -> Iterator[list[tuple[Path, Tensor | str]]]:
        """Files in order, so many at a time: what became of each, or why it cannot be read."""

        def prepare(numbered: tuple[int, Path]) -> tuple[Path, Tensor | str]:
            number, path = numbered
            try:
                return path, self(path, many=number >= _MANY)
            except DataError as error:
                return path, str(error)
            except InputError as error:
                return path, f"{path}: {error}"

        return _chunks(prepare, enumerate(paths), batch_size, workers)

    def _picture(self, image: Picture, many: bool) -> object:
        """A PIL image or a tensor, of whatever kind of image."""
        if isinstance(image, (bytearray, memoryview)):
            image = bytes(image)
        if isinstance(image, (str, os.PathLike, bytes)):
            return read_image(image, self._reader, many=many)
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(image, numpy.ndarray):
            return _from_array(image)
        return image


def stacks(inputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """Neighbours of one shape together: a preset that keeps proportions gives several sizes."""
    for _, alike in groupby(inputs, lambda x: (x.shape, x.dtype)):
        yield torch.stack(list(alike))


def _chunks(
    prepare: Callable[[T], R], items: Iterable[T], size: int, workers: int
) -> Iterator[list[R]]:
    found = in_threads(prepare, items, workers=workers, ahead=2 * size)
    while chunk := list(islice(found, size)):
        yield chunk


def _from_array(array: NDArray[Any]) -> Tensor:
    """An array as people and OpenCV hold images, as a tensor (C, H, W)."""
    if array.dtype != "uint8" or array.ndim not in (2, 3):
        raise InputError(
            f"image: expected an array (H, W, C) or (H, W) of uint8, got shape {array.shape} of "
            f"{array.dtype}; for other values pass a tensor (C, H, W) in [0, 1]"
        )
    if array.ndim == 3 and array.shape[2] > 4 >= array.shape[0]:
        raise InputError(
            f"image: expected an array (H, W, C), got {array.shape}, which looks like (C, H, W); "
            "use array.transpose(1, 2, 0), or torch.from_numpy(array)"
        )
    pixels = torch.from_numpy(array.copy(order="C"))  # torch takes no array that is read-only
    return pixels[None] if pixels.ndim == 2 else pixels.movedim(-1, 0)
