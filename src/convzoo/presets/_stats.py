"""Mean and standard deviation of a data set that need not fit in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ..errors import InputError
from . import _check
from ._images import convert_pil, convert_tensor

_CHUNK = 1 << 20  # pixels that are widened to float64 at a time


class ChannelStats(NamedTuple):
    """What [channel_stats][convzoo.presets.channel_stats] finds, for pixels in [0, 1]."""

    mean: tuple[float, ...]
    """Per channel, over every pixel."""
    std: tuple[float, ...]
    """Per channel; of the population, so divided by the number of pixels."""
    pixels: int
    """How many pixels a channel were counted."""
    images: int
    """How many images were counted."""


class _Moments(NamedTuple):
    """Count, mean and sum of squared deviations (C,) of some pixels; merges without cancellation.

    Chan, Golub and LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances, 1979.
    """

    images: int
    pixels: int
    mean: Tensor
    squares: Tensor

    def merge(self, other: _Moments) -> _Moments:
        if self.mean.shape != other.mean.shape:
            counts = sorted({self.mean.numel(), other.mean.numel()})
            raise InputError(
                f"dataset mixes images of {counts[0]} and {counts[1]} channels; pass channels=1 or "
                "channels=3 to convert them"
            )
        pixels = self.pixels + other.pixels
        delta = other.mean - self.mean
        share = other.pixels / pixels
        return _Moments(
            images=self.images + other.images,
            pixels=pixels,
            mean=self.mean + delta * share,
            squares=self.squares + other.squares + delta * delta * (self.pixels * share),
        )


def channel_stats(
    dataset: Dataset[object] | Iterable[object],
    *,
    channels: int | None = None,
    batch_size: int = 32,
    num_workers: int = 0,
) -> ChannelStats:
    """Mean and standard deviation of every channel of a data set, in one pass, in float64.

    Images may differ in size; each pixel counts once, so that large images weigh more. Images are
    dropped as soon as they are counted.

    Args:
        dataset: A map-style or iterable-style data set, or any iterable, of images, or of tuples
            that begin with one, or of mappings with an `"image"`. An image is a PIL image or a
            tensor (C, H, W): uint8 and uint16 are scaled to [0, 1], floating point is taken as it
            is.
        channels: 1 or 3 converts every image to grey or RGB, as a preset does (floating-point
            tensors must then lie in [0, 1]); None leaves their channels (grey PIL images have 1,
            all others 3) and refuses a mixture.
        batch_size: How many images are reduced together.
        num_workers: Processes that read images. An `IterableDataset` must then share out its
            images between them, as torch's documentation says; otherwise each counts all.

    Returns:
        Mean, standard deviation, and how many pixels and images were counted.

    Raises:
        InputError: The data set is empty, an image holds NaN or infinity, or is none.

    Examples:
        >>> import torch
        >>> from convzoo.presets import channel_stats
        >>> black, white = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
        >>> channel_stats([(black, 0), (white, 1)])
        ChannelStats(mean=(0.5,), std=(0.5,), pixels=32, images=2)
    """
    if channels is not None:
        _check.count("channels", channels)
    _check.count("batch_size", batch_size)
    _check.count("num_workers", num_workers, least=0)
    total: _Moments | None = None
    for part in _parts(dataset, _Reduce(channels), batch_size, num_workers):
        total = part if total is None else total.merge(part)
    if total is None:
        raise InputError("dataset is empty: there is no image to take statistics of")
    std = (total.squares / total.pixels).sqrt()
    return ChannelStats(
        mean=tuple(total.mean.tolist()),
        std=tuple(std.tolist()),
        pixels=total.pixels,
        images=total.images,
    )


def _parts(
    dataset: Dataset[object] | Iterable[object], reduce: _Reduce, batch_size: int, num_workers: int
) -> Iterator[_Moments]:
    is_map = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if not is_map and not hasattr(dataset, "__iter__"):
        raise InputError(
            "dataset must have __getitem__ and __len__, or be iterable, got "
            f"{type(dataset).__qualname__}"
        )
    if is_map and len(cast("list[object]", dataset)) == 0:
        return iter(())  # a DataLoader's sampler refuses an empty data set
    source: Dataset[object]
    if is_map:
        source = _NumberedMap(cast("list[object]", dataset))
    else:
        if num_workers and not isinstance(dataset, IterableDataset):
            raise InputError(
                f"num_workers must be 0 for a plain iterable, which cannot be shared out between "
                f"processes; got {num_workers}"
            )
        source = _NumberedIterable(cast("Iterable[object]", dataset))
    # The workers reduce what they read, so that a few numbers cross between processes, not images.
    loader: DataLoader[object] = DataLoader(
        source, batch_size=batch_size, num_workers=num_workers, collate_fn=reduce
    )
    return cast("Iterator[_Moments]", iter(loader))


class _NumberedMap(Dataset[object]):
    """Pairs of index and item, so that an error can say which image it means."""

    def __init__(self, items: list[object]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[int, object]:
        return index, self.items[index]


class _NumberedIterable(IterableDataset[object]):
    def __init__(self, items: Iterable[object]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[tuple[int, object]]:
        return enumerate(self.items)


class _Reduce:
    """From a list of numbered items to their moments; a class, so that workers can pickle it."""

    def __init__(self, channels: int | None) -> None:
        self.channels = channels

    def __call__(self, batch: list[tuple[int, object]]) -> _Moments:
        total: _Moments | None = None
        group: list[Tensor] = []  # small images, reduced together because that is quicker
        for index, item in batch:
            pixels = _pixels(item, self.channels, index)
            if group and not _fits(pixels, group):
                total = _add(total, group)
                group = []
            group.append(pixels)
        return _add(total, group)


def _fits(pixels: Tensor, group: list[Tensor]) -> bool:
    return (
        pixels.dtype == group[0].dtype
        and pixels.shape[0] == group[0].shape[0]
        and pixels.shape[1] + sum(other.shape[1] for other in group) <= _CHUNK
    )


def _add(total: _Moments | None, group: list[Tensor]) -> _Moments:
    """Add (C, pixels) of several images to `total`."""
    images = len(group)
    for chunk in torch.split(torch.cat(group, dim=1), _CHUNK, dim=1):
        x = chunk.to(torch.float64)
        if chunk.dtype == torch.uint8:
            x = x / 255
        elif chunk.dtype == torch.uint16:
            x = x / 65535
        mean = x.mean(dim=1)
        squares = (x - mean[:, None]).square().sum(dim=1)
        part = _Moments(images, x.shape[1], mean, squares)
        images = 0  # counted once, however many chunks they fill
        total = part if total is None else total.merge(part)
    if total is None:
        raise InputError("dataset gave a batch without a pixel")
    return total


def _pixels(item: object, channels: int | None, index: int) -> Tensor:
    """The image of an item as (C, pixels), of the dtype it came in."""
    from PIL.Image import Image
    from torchvision.transforms.v2 import functional

    where = f"item {index} of dataset"
    image = item
    if isinstance(item, (tuple, list)) and item:
        image = item[0]
    elif isinstance(item, Mapping):
        image = item.get("image")
    if not isinstance(image, (Image, Tensor)):
        raise InputError(
            f"{where} must be a PIL image or a tensor (C, H, W), or a tuple that begins with one, "
            f"got {_check.describe(item)}"
        )
    try:
        if isinstance(image, Image):
            if channels is None:
                grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode[:4] == "I;16"
                image = convert_pil(image, 1 if grey else 3)
            else:
                image = convert_pil(image, channels)
            image = cast("Tensor", functional.pil_to_tensor(image))
        elif channels is not None:
            image = convert_tensor(image, channels)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    kinds = (torch.uint8, torch.uint16)
    if image.ndim != 3 or not (image.dtype in kinds or image.is_floating_point()):
        raise InputError(
            f"{where} must be (C, H, W) of dtype uint8, uint16 or floating point, got shape "
            f"{tuple(image.shape)} of {image.dtype}"
        )
    if image.numel() == 0:
        raise InputError(f"{where} has no pixels: shape {tuple(image.shape)}")
    if image.is_floating_point() and not bool(image.isfinite().all()):
        raise InputError(f"{where} holds NaN or infinity")
    return image.as_subclass(Tensor).flatten(1)
