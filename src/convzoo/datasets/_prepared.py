"""Labelled images however people hold them, as a network's inputs and the targets to compare with.

`fit`, `evaluate` and `cached_features` all read their data by this.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Final, Literal, Protocol, SupportsIndex

from torch import Tensor, as_tensor, float32, nn, tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from convzoo.datasets._labelled import LabelledImages
from convzoo.errors import InputError
from convzoo.presets._files import read_image


class ImageData(Protocol):
    """Any data set of labelled images: torch's and torchvision's, ours, a list, Hugging Face's.

    An item is a pair (image, label), or a row by name, of which `columns=` says which two are meant
    where their names do not. An image is a PIL image or a uint8 tensor (C, H, W), to which the
    network's preset is applied, or a float tensor that is the network's input already. A label is
    the index of a class; with `loss="mse"` a number or several; with a loss of your own whatever
    that takes, floats and tensors included.
    """

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def __getitem__(self, index: int, /) -> object:
        """The item at `index`: (image, label), or a mapping that holds both."""
        ...


ImageTransform = Callable[[Any], Tensor]
"""What turns an image into a network's input, (C, H, W)."""

Targets = Literal["classes", "numbers", "any"]
"""What labels are: indices of classes, numbers (regression), or what the user's loss takes."""

Columns = tuple[str, str]
"""The names of the image and of the label in rows by name."""

_USUAL_NAMES: Final = (
    frozenset({"image", "img", "images", "pixel_values", "jpg", "png"}),
    frozenset({"label", "labels", "target", "targets", "cls", "class"}),
)


@dataclass(frozen=True)
class Reader:
    """From an item of somebody's data to a network's input and the target.

    Attributes:
        name: The argument that the data came by, for messages.
        given: The user's transform, applied to every image.
        usual: The preset's transform, applied to raw images where the user gave none.
        num_classes: Labels must be below it, or so many numbers; None where it is not known.
        targets: What labels are.
        columns: Names of image and label in rows by name; None means the usual ones.
        labels: The names of the network's classes, by which labelled images of ours are numbered;
            None where it has none.
    """

    name: str
    given: ImageTransform | None
    usual: ImageTransform | None
    num_classes: int | None = None
    targets: Targets = "classes"
    columns: Columns | None = None
    labels: Sequence[str] | None = None

    @property
    def transform(self) -> ImageTransform | None:
        """What is done to a raw image."""
        return self.usual if self.given is None else self.given

    def pair(self, item: object, what: str) -> tuple[Any, Any]:
        """Image and label of an item, or of a batch of them; `what` names it for messages."""
        if isinstance(item, Mapping):
            image, label = self.columns or self.usual_columns(item)
            if image not in item or label not in item:
                raise InputError(
                    f"columns: expected two of {', '.join(map(repr, item))}, got {self.columns!r}"
                )
            return item[image], item[label]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise InputError(
                f"{self.name}: expected (image, label) pairs, got {type(item).__name__} as {what}; "
                "rows by name will do as well"
            )
        if self.columns is not None:
            raise InputError(f"columns: {self.name} has (image, label) pairs, got {self.columns!r}")
        return item[0], item[1]

    def usual_columns(self, row: Mapping[Any, object]) -> Columns:
        """The names of image and label in rows like this one, where they are the usual ones."""
        images, labels = ([key for key in row if key in names] for names in _USUAL_NAMES)
        if len(images) != 1 or len(labels) != 1:
            raise InputError(
                f"{self.name}: rows have {', '.join(map(repr, row))}; name the image and the "
                'label: columns=("image", "label")'
            )
        return images[0], labels[0]

    def __call__(self, item: object, what: str) -> tuple[Tensor, int | Tensor]:
        """The network's input (C, H, W), and the target."""
        return self._read(*self.pair(item, what), what)

    def _read(self, image: Any, label: object, what: str) -> tuple[Tensor, int | Tensor]:
        if self.given is not None:
            image = self.given(image)
        elif not (isinstance(image, Tensor) and image.is_floating_point()):
            if self.usual is None:
                raise InputError(
                    f"{self.name}: {what} is a raw image ({type(image).__name__}) and the "
                    "network has no preset to prepare it; pass train_transform and eval_transform"
                )
            image = self.usual(image)
        return image, self.target(what, label)

    def batch(self, batch: object) -> tuple[Tensor, Tensor]:
        """The same for a batch as a DataLoader gives it: inputs (B, C, H, W) and targets."""
        images, labels = self.pair(batch, "a batch")
        sizes = {len(part) if hasattr(part, "__len__") else None for part in (images, labels)}
        if len(sizes) != 1 or None in sizes:
            raise InputError(
                f"{self.name}: expected batches of images (B, C, H, W) and labels (B,), got "
                f"{type(images).__name__} and {type(labels).__name__}"
            )
        inputs, targets = default_collate(
            [
                self._read(image, label, f"item {i} of a batch")
                for i, (image, label) in enumerate(zip(images, labels, strict=True))
            ]
        )
        return inputs, targets

    def target(self, what: str, label: object) -> int | Tensor:
        """An index of a class as it is checked, numbers (k,), or what the user's loss takes."""
        if self.targets == "numbers":
            return self._numbers(what, label)
        if isinstance(label, Tensor) and label.ndim:
            return label
        number = label.item() if isinstance(label, Tensor) else label
        if not isinstance(number, SupportsIndex):
            if self.targets == "any" and isinstance(number, Real):
                return tensor(float(number))  # of the scores' type, not Python's double
            raise InputError(
                f"{self.name}: {what} has label {number!r:.80}, expected the index of a "
                "class, an integer"
            )
        found = operator.index(number)
        if found < 0 or (self.num_classes is not None and found >= self.num_classes):
            scored = "classes" if self.num_classes is None else f"{self.num_classes} classes"
            last = "..." if self.num_classes is None else str(self.num_classes - 1)
            raise InputError(
                f"{self.name}: {what} has label {found}, the network scores {scored} "
                f"(0 to {last}); give it a new head with replace_head(net, num_classes)"
            )
        return found

    def _numbers(self, what: str, label: object) -> Tensor:
        try:
            numbers = as_tensor(label).to(float32)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            numbers = tensor([])
        numbers = numbers.reshape(-1) if numbers.ndim < 2 else tensor([])
        if not len(numbers) or not bool(numbers.isfinite().all()):
            raise InputError(
                f"{self.name}: {what} has label {label!r:.80}, expected a finite number, or several"
            )
        if self.num_classes is not None and len(numbers) != self.num_classes:
            raise InputError(
                f"{self.name}: {what} has {len(numbers)} number(s) for a label, the network gives "
                f"{self.num_classes}; give it a new head with replace_head(net, {len(numbers)})"
            )
        return numbers


class Prepared(Dataset["tuple[Tensor, int | Tensor]"]):
    """A data set whose images have become a network's input.

    Args:
        data: The items; or a DataLoader, whose batches are then taken as they come.
        reader: What reads them.

    Attributes:
        loader: The DataLoader that was given, with the reader behind it; else None.
    """

    def __init__(self, data: ImageData | DataLoader[Any], reader: Reader) -> None:
        self.loader: DataLoader[Any] | None = None
        name, kind = reader.name, type(data).__name__
        if isinstance(data, DataLoader):
            # A copy, since the user's own loader is to give what it gave before.
            self.loader = copy.copy(data)
            self.loader._iterator = None
            self.loader.collate_fn = functools.partial(_read_batch, reader, data.collate_fn)
            return
        if isinstance(data, Mapping):
            raise InputError(f"{name}: expected one data set, got a {kind} of {list(data)}")
        if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
            raise InputError(
                f"{name}: expected a data set with __len__ and __getitem__ that gives (image, "
                f"label) pairs or rows by name, or a DataLoader, got {kind}"
            )
        if len(data) == 0:
            raise InputError(f"{name}: the data set is empty")
        labels = reader.labels or ()
        if isinstance(data, LabelledImages) and not set(data.classes).isdisjoint(labels):
            data = data.numbered_as(labels)
        self.data: ImageData = data
        self.reader = reader

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        data = self.data
        if type(data) is LabelledImages and isinstance(path := data.images[index], Path):
            # From the file to what the transform is quickest with, a PIL image or a tensor.
            image = read_image(path, self.reader.transform)
            return self.reader((image, data.targets[index]), f"item {index}")
        return self.reader(data[index], f"item {index}")


def _read_batch(
    reader: Reader, collate: Callable[[Any], object], samples: Any
) -> tuple[Tensor, Tensor]:
    return reader.batch(collate(samples))


def usual_transform(net: nn.Module, *, train: bool) -> ImageTransform | None:
    """What the network's own preset does to an image."""
    from convzoo.presets import Preset

    preset = getattr(net, "preset", None)
    if not isinstance(preset, Preset):
        return None
    return preset.train() if train else preset.eval()
