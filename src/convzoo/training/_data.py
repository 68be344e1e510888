"""From prepared images to batches, the same ones however many processes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from convzoo._checks import check_count
from convzoo.datasets import LabelledImages
from convzoo.datasets._prepared import Prepared
from convzoo.errors import InputError


class EpochSampler(Sampler[int]):
    """A fresh random order every epoch, cut to whole steps.

    The order depends on the seed and the epoch alone, so that it is the same for any number of
    processes and after a resumption. The images that do not fill a last step are left out of that
    epoch, others each time: every step then weighs the same, and no batch is too small for batch
    normalisation.

    Args:
        size: Images in the data set.
        batch_size: Images a step.
        seed: Of the order.
    """

    def __init__(self, size: int, batch_size: int, seed: int) -> None:
        self.size = size
        self.steps = size // batch_size
        self.used = self.steps * batch_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.used

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        yield from torch.randperm(self.size, generator=generator)[: self.used].tolist()

    # Not called set_epoch: Accelerate would call it with a count of its own, which knows nothing
    # of the epochs before a resumption.
    def start_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch from now on."""
        self.epoch = epoch


def number_of_classes(net: nn.Module) -> int | None:
    """How many classes a network scores, where it says so."""
    number = getattr(net, "num_classes", None)
    return number if isinstance(number, int) and number > 0 else None


def fingerprint(data: object) -> str | None:
    """A hash of a data set's labels and images: of files the names and sizes.

    The folder that holds all files may move.

    Args:
        data: The data set.

    Returns:
        The hash; None for data sets of others, of whose files nothing is known.
    """
    if not isinstance(data, LabelledImages):
        return None
    known = hashlib.sha256(repr(data.targets).encode())
    if isinstance(data.images, Tensor):
        known.update(data.images.numpy().tobytes())
        return known.hexdigest()
    paths = [image for image in data.images if isinstance(image, Path)]
    if len(paths) < len(data.images):
        return None
    root = os.path.commonpath([path.parent for path in paths])
    for path in paths:
        entry = f"{os.path.relpath(path, root)}\0{path.stat().st_size}\0"
        known.update(entry.encode("utf-8", "surrogateescape"))
    return known.hexdigest()


class LoaderEpochs:
    """In place of an `EpochSampler` where the user's DataLoader draws the order.

    Args:
        loader: The DataLoader.
        name: The argument it came by.
        parts: Its batches that make a step.
    """

    def __init__(self, loader: DataLoader[Any], name: str, parts: int) -> None:
        try:
            batches = len(loader)
        except TypeError as error:
            raise InputError(
                f"{name}: expected a DataLoader that knows how many batches it has, over a data "
                "set with __len__"
            ) from error
        self.steps = -(-batches // parts)

    def start_epoch(self, epoch: int) -> None:
        """Nothing: `fit` seeds torch's generator, by which the DataLoader draws."""


def eval_loader(
    data: Prepared, *, batch_size: int, num_workers: int, processes: int
) -> DataLoader[Any]:
    """Batches in order, the last one as small as it comes; or those of the user's own loader."""
    if data.loader is not None:
        return _shared_out(data.loader, processes)
    size = -(-min(batch_size, len(data)) // processes) * processes
    num_workers = check_count("num_workers", num_workers, least=0)
    return DataLoader(data, batch_size=size, num_workers=num_workers)


def train_loader(
    data: Prepared,
    sampler: EpochSampler | LoaderEpochs,
    *,
    batch_size: int,
    num_workers: int,
    processes: int,
) -> DataLoader[Any]:
    """Shuffled batches of one size; or those of the user's own loader."""
    if data.loader is not None:
        return _shared_out(data.loader, processes)
    order = sampler if isinstance(sampler, EpochSampler) else None
    return DataLoader(data, batch_size=batch_size, sampler=order, num_workers=num_workers)


def _shared_out(loader: DataLoader[Any], processes: int) -> DataLoader[Any]:
    """The user's own loader, if each of its batches can be cut evenly among the processes."""
    if processes > 1 and (loader.batch_size is None or loader.batch_size % processes):
        raise InputError(
            f"batch_size: expected a DataLoader whose batch_size is a multiple of {processes}, the "
            f"number of processes, got {loader.batch_size}"
        )
    return loader
