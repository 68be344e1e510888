"""From any data set of (image, label) pairs to batches, the same ones however many processes."""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Callable, Iterator, Sized
from numbers import Real
from typing import Any, Protocol, SupportsIndex, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from convzoo._checks import check_count
from convzoo.datasets import LabelledImages
from convzoo.errors import InputError


class ImageData(Protocol):
    """Any data set of (image, label) pairs: torch's and torchvision's, ours, a list.

    An image is a PIL image or a uint8 tensor (C, H, W), to which the network's preset is applied,
    or a float tensor that is the network's input already. A label is the index of a class; `fit`
    with a loss of your own takes floats and tensors as well.
    """

    def __len__(self) -> int:
        """How many pairs there are."""
        ...

    def __getitem__(self, index: int, /) -> object:
        """The pair at `index`: (image, label)."""
        ...


ImageTransform = Callable[[Any], Tensor]
"""What turns an image into a network's input, (C, H, W)."""


class Prepared(Dataset["tuple[Tensor, int | Tensor]"]):
    """A data set whose images have become a network's input.

    Args:
        name: The argument that the data came by, for messages.
        data: The pairs.
        given: The user's transform, applied to every image.
        usual: The preset's transform, applied to raw images where the user gave none.
        num_classes: Labels must be below it; None where it is not known.
        any_target: Whether labels may be floats as well, for a loss of the user's own.
    """

    def __init__(
        self,
        name: str,
        data: ImageData,
        given: ImageTransform | None,
        usual: ImageTransform | None,
        num_classes: int | None,
        *,
        any_target: bool = False,
    ) -> None:
        for method in ("__len__", "__getitem__"):
            if isinstance(data, DataLoader) or not hasattr(data, method):
                raise InputError(
                    f"{name}: expected a data set with __len__ and __getitem__ that gives "
                    f"(image, label) pairs, got {type(data).__name__}"
                )
        if len(data) == 0:
            raise InputError(f"{name}: the data set is empty")
        self.name = name
        self.data = data
        self.given = given
        self.usual = usual
        self.num_classes = num_classes
        self.any_target = any_target

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        item = self.data[index]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise InputError(
                f"{self.name}: expected (image, label) pairs, got {type(item).__name__} "
                f"as item {index}"
            )
        image, label = item
        if self.given is not None:
            image = self.given(image)
        elif not (isinstance(image, Tensor) and image.is_floating_point()):
            if self.usual is None:
                raise InputError(
                    f"{self.name}: item {index} is a raw image ({type(image).__name__}) and the "
                    "network has no preset to prepare it; pass train_transform and eval_transform"
                )
            image = self.usual(image)
        return image, self._target(index, label)

    def _target(self, index: int, label: object) -> int | Tensor:
        """An index of a class as it is checked, or what the user's own loss compares with."""
        if isinstance(label, Tensor) and label.ndim:
            return label
        number = label.item() if isinstance(label, Tensor) else label
        if self.any_target and isinstance(number, Real) and not isinstance(number, SupportsIndex):
            return torch.tensor(float(number))  # of the scores' type, not Python's double
        if not isinstance(number, SupportsIndex):
            raise InputError(
                f"{self.name}: item {index} has label {number!r:.80}, expected the index of a "
                "class, an integer"
            )
        found = operator.index(number)
        if found < 0 or (self.num_classes is not None and found >= self.num_classes):
            scored = "classes" if self.num_classes is None else f"{self.num_classes} classes"
            last = "..." if self.num_classes is None else str(self.num_classes - 1)
            raise InputError(
                f"{self.name}: item {index} has label {found}, the network scores {scored} "
                f"(0 to {last}); give it a new head with replace_head(net, num_classes)"
            )
        return found


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


def usual_transform(net: nn.Module, *, train: bool) -> ImageTransform | None:
    """What the network's own preset does to an image."""
    from convzoo.presets import Preset

    preset = getattr(net, "preset", None)
    if not isinstance(preset, Preset):
        return None
    return preset.train() if train else preset.eval()


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
    root = os.path.commonpath([path.parent for path in data.images])
    for path in data.images:
        entry = f"{os.path.relpath(path, root)}\0{path.stat().st_size}\0"
        known.update(entry.encode("utf-8", "surrogateescape"))
    return known.hexdigest()


def eval_loader(
    data: Prepared, *, batch_size: int, num_workers: int, processes: int
) -> DataLoader[Any]:
    """Batches in order, the last one as small as it comes."""
    size = -(-min(batch_size, len(cast("Sized", data))) // processes) * processes
    num_workers = check_count("num_workers", num_workers, least=0)
    return DataLoader(data, batch_size=size, num_workers=num_workers)


def train_loader(
    data: Prepared, sampler: EpochSampler, *, batch_size: int, num_workers: int
) -> DataLoader[Any]:
    """Shuffled batches of one size."""
    return DataLoader(data, batch_size=batch_size, sampler=sampler, num_workers=num_workers)
