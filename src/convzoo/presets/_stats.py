"""Mean and standard deviation of a data set that need not fit in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from convzoo._checks import check_count
from convzoo.errors import InputError
from convzoo.presets._images import convert_pil, convert_tensor

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
        check_count("channels", channels)
    check_count("batch_size", batch_size)
    check_count("num_workers", num_workers, least=0)
    total: list[ChannelStats] = []
    for part in _parts(dataset, channels, batch_size, num_workers):
        total = [_merge([*total, part])]
    if not total:
        raise InputError("dataset: expected at least one image, got none: it is empty")
    return total[0]


def _merge(parts: Sequence[ChannelStats]) -> ChannelStats:
    """Of all pixels together, from differences of means, so that no digits cancel."""
    counts = sorted({len(part.mean) for part in parts})
    if len(counts) > 1:
        raise InputError(
            f"dataset: expected one number of channels, got images of {counts[0]} and {counts[1]} "
            "channels; pass channels=1 or channels=3 to convert them"
        )
    pixels = sum(part.pixels for part in parts)
    means = torch.tensor([part.mean for part in parts], dtype=torch.float64)
    stds = torch.tensor([part.std for part in parts], dtype=torch.float64)
    share = torch.tensor([part.pixels for part in parts], dtype=torch.float64)[:, None] / pixels
    mean = means[0] + (share * (means - means[0])).sum(0)
    std = (share * (stds.square() + (means - mean).square())).sum(0).sqrt()
    images = sum(part.images for part in parts)
    return ChannelStats(tuple(mean.tolist()), tuple(std.tolist()), pixels, images)


class _Numbered(IterableDataset[tuple[int, object]]):
    """Pairs of index and item, so that an error can say which image it means."""

    def __init__(self, items: Iterable[object]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[tuple[int, object]]:
        return enumerate(self.items)


def _parts(
    dataset: object, channels: int | None, batch_size: int, num_workers: int
) -> Iterable[ChannelStats]:
    """The statistics of batches. Workers reduce what they read; few numbers cross processes."""
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
        if len(dataset) == 0:
            return ()  # a DataLoader's sampler refuses an empty data set
        indices = cast("Dataset[int]", range(len(dataset)))
        at = partial(_reduce_at, cast("Sequence[object]", dataset), channels)
        return DataLoader(indices, batch_size, num_workers=num_workers, collate_fn=at)
    if not isinstance(dataset, Iterable):
        raise InputError(
            "dataset: expected something with __getitem__ and __len__, or an iterable, got "
            f"{dataset!r:.80}"
        )
    if num_workers and not isinstance(dataset, IterableDataset):
        raise InputError(
            "num_workers: expected 0 for a plain iterable, which cannot be shared out between "
            f"processes, got {num_workers}"
        )
    of = partial(_reduce, channels)
    return DataLoader(_Numbered(dataset), batch_size, num_workers=num_workers, collate_fn=of)


def _reduce_at(items: Sequence[object], channels: int | None, indices: list[int]) -> ChannelStats:
    return _reduce(channels, [(index, items[index]) for index in indices])


def _reduce(channels: int | None, batch: list[tuple[int, object]]) -> ChannelStats:
    parts = []
    for index, item in batch:
        pixels = _pixels(item, channels, f"item {index} of dataset")
        for number, chunk in enumerate(torch.split(pixels, _CHUNK, dim=1)):
            top = 1 if chunk.is_floating_point() else torch.iinfo(chunk.dtype).max
            std, mean = torch.std_mean(chunk.to(torch.float64) / top, dim=1, correction=0)
            images = int(number == 0)  # counted once, however many chunks it fills
            parts.append(
                ChannelStats(tuple(mean.tolist()), tuple(std.tolist()), chunk.shape[1], images)
            )
    return _merge(parts)


def _pixels(item: object, channels: int | None, where: str) -> Tensor:
    """The image of an item as (C, pixels), of the dtype it came in."""
    from PIL.Image import Image
    from torchvision.transforms.v2 import functional

    image = item
    if isinstance(item, (tuple, list)) and item:
        image = item[0]
    elif isinstance(item, Mapping):
        image = item.get("image")
    try:
        if isinstance(image, Image):
            grey = image.mode[:4] in ("1", "L", "LA", "La", "I", "F", "I;16")
            image = convert_pil(image, channels or (1 if grey else 3))
            image = cast("Tensor", functional.pil_to_tensor(image))
        elif isinstance(image, Tensor) and channels is not None:
            image = convert_tensor(image, channels)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if not isinstance(image, Tensor):
        raise InputError(
            f"{where}: expected a PIL image or a tensor (C, H, W), or a tuple that begins with "
            f"one, got {item!r:.80}"
        )
    known = image.dtype in (torch.uint8, torch.uint16) or image.is_floating_point()
    if image.ndim != 3 or image.numel() == 0 or not known:
        raise InputError(
            f"{where}: expected (C, H, W) with at least one pixel, of dtype uint8, uint16 or "
            f"floating point, got shape {tuple(image.shape)} of {image.dtype}"
        )
    if image.is_floating_point() and not bool(image.isfinite().all()):
        raise InputError(f"{where}: expected finite numbers, got NaN or infinity")
    return image.as_subclass(Tensor).flatten(1)
