"""Classes with few images: weights for the loss, or more frequent drawing."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset, TensorDataset, WeightedRandomSampler

from convzoo._checks import LARGEST, check_choice, check_count, check_number
from convzoo.datasets import LabelledImages
from convzoo.datasets._prepared import Columns, ImageData, Reader
from convzoo.errors import InputError

Labelled = ImageData | DataLoader[Any] | Sequence[int] | Tensor
"""A data set, a DataLoader of one, or the class numbers themselves."""


def class_weights(
    data: Labelled,
    num_classes: int | None = None,
    *,
    power: float = 1.0,
    columns: Columns | None = None,
) -> Tensor:
    """Weights for the loss by which rare classes count as much as frequent ones.

    For `torch.nn.CrossEntropyLoss(weight=...)`. Score a validation set without them: its loss is
    then comparable with that of other trainings.

    Args:
        data: A data set as [fit][convzoo.fit] takes it, a DataLoader, or the class numbers. Labels
            are read without the images where the data set keeps them apart.
        num_classes: Classes that the network scores; None is the highest number plus one.
        power: The weight of a class is one over its images to this power: 1 balances in full, 0.5
            halfway, 0 not at all; in [0, 1].
        columns: Names of image and label in rows by name; None finds the usual ones.

    Returns:
        float32, (num_classes,); the mean over the classes that have images is 1, a class without
        has 0.

    Raises:
        InputError: An argument is wrong, or a label is no class.

    Examples:
        >>> from convzoo.training import class_weights
        >>> class_weights([0, 0, 0, 1]).tolist()
        [0.5, 1.5]
    """
    power = check_number("power", power, 0, 1)
    counts = _counts(labels_of(data, columns), num_classes).double()
    weights = torch.where(counts > 0, counts.clamp(min=1) ** -power, 0.0)
    return (weights * int((counts > 0).sum()) / weights.sum()).float()


def balanced_sampler(
    data: Labelled,
    *,
    num_samples: int | None = None,
    power: float = 1.0,
    columns: Columns | None = None,
    generator: torch.Generator | None = None,
) -> WeightedRandomSampler:
    """A sampler for a DataLoader that draws each class equally often.

    With replacement: images of rare classes come several times an epoch, some of frequent ones not
    at all.

    Args:
        data: As in [class_weights][convzoo.training.class_weights].
        num_samples: Images an epoch; None is as many as there are.
        power: As in [class_weights][convzoo.training.class_weights].
        columns: Likewise.
        generator: To draw from; None is torch's global one.

    Returns:
        torch's sampler.

    Raises:
        InputError: An argument is wrong, or a label is no class.

    Examples:
        >>> from convzoo.training import balanced_sampler
        >>> sampler = balanced_sampler([0, 0, 0, 1], num_samples=6)
        >>> len(list(sampler))
        6
    """
    weights = image_weights(data, power=power, columns=columns)
    size = len(weights) if num_samples is None else check_count("num_samples", num_samples)
    if generator is not None and not isinstance(generator, torch.Generator):
        raise InputError(f"generator: expected a torch.Generator, got {generator!r:.80}")
    return WeightedRandomSampler(weights.tolist(), size, generator=generator)


def image_weights(data: Labelled, *, power: float = 1.0, columns: Columns | None = None) -> Tensor:
    """The weight of each image's class, (N,)."""
    power = check_number("power", power, 0, 1)
    labels = labels_of(data, columns)
    counts = _counts(labels, None).double()
    return (counts.clamp(min=1) ** -power)[labels]


def given_weights(
    given: str | Tensor | Sequence[float] | None,
    data: Labelled,
    num_classes: int | None,
    columns: Columns | None,
) -> Tensor | None:
    """The weights of the classes as `fit` is given them."""
    if given is None:
        return None
    if isinstance(given, str):
        check_choice("class_weights", given, ("auto",))
        if num_classes is None:
            raise InputError(
                "class_weights: the network does not say how many classes it scores; pass "
                "class_weights(data, num_classes)"
            )
        return class_weights(data, num_classes, columns=columns)
    try:
        weights = torch.as_tensor(given, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        weights = torch.zeros(0, 0)
    size = len(weights) if num_classes is None else num_classes
    finite = bool(weights.isfinite().all()) and bool((weights >= 0).all()) and bool(weights.any())
    if weights.shape != (size,) or not finite:
        raise InputError(
            f"class_weights: expected 'auto' or a number of at least 0 for each of {size} classes, "
            f"one of them above 0, got {given!r:.80}"
        )
    return weights


def labels_of(data: Labelled, columns: Columns | None = None, name: str = "data") -> Tensor:
    """The class number of every image, int64, (N,); without the images where that is possible."""
    if isinstance(data, DataLoader):
        data = data.dataset  # type: ignore[assignment] # torch has it as any Dataset
    found = _known_labels(data, columns)
    if found is None:
        found = _read_labels(data, columns, name)
    try:
        labels = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        labels = torch.zeros(0, 0)
    if labels.shape == (0,):
        raise InputError(f"{name}: the data set is empty")
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise InputError(f"{name}: expected class numbers as labels, got {found!r:.80}")
    labels = labels.long()
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= LARGEST:
        raise InputError(
            f"{name}: expected class numbers from 0 to {LARGEST - 1}, "
            f"got {least if least < 0 else most}"
        )
    return labels


def _known_labels(data: object, columns: Columns | None) -> object:
    """The labels that a data set keeps apart from its images; None where it does not."""
    if isinstance(data, LabelledImages):
        return data.targets
    if isinstance(data, TensorDataset) and len(data.tensors) == 2:
        return data.tensors[1]
    if isinstance(data, Subset):
        inner = _known_labels(data.dataset, columns)
        return None if inner is None else torch.as_tensor(inner)[list(data.indices)]
    if isinstance(data, Tensor) or hasattr(data, "__array__"):  # numpy's too
        return data
    if isinstance(data, (list, tuple)) and all(isinstance(label, int) for label in data):
        return data
    names = getattr(data, "column_names", None)  # of Hugging Face's data sets
    if isinstance(names, list) and hasattr(data, "__getitem__"):
        label = (columns or Reader("data", None, None).usual_columns(dict.fromkeys(names)))[1]
        return list(data[label])
    # torchvision's; a transform of the target may change the number.
    targets = getattr(data, "targets", None)
    untouched = getattr(data, "target_transform", None) is None
    if untouched and hasattr(data, "__len__") and isinstance(targets, Sized):
        return targets if len(targets) == len(data) else None
    return None


def _read_labels(data: object, columns: Columns | None, name: str) -> list[int]:
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise InputError(
            f"{name}: expected a data set with __len__ and __getitem__, a DataLoader of one, or "
            f"class numbers, got {data!r:.80}"
        )
    reader = Reader(name, None, None, columns=columns)
    labels = []
    for index in range(len(data)):
        what = f"item {index}"
        labels.append(int(reader.target(what, reader.pair(data[index], what)[1])))
    return labels


def _counts(labels: Tensor, num_classes: int | None) -> Tensor:
    most = int(labels.max())
    if num_classes is None:
        num_classes = most + 1
    elif check_count("num_classes", num_classes, most=LARGEST) <= most:
        raise InputError(f"data: it has label {most}, expected numbers below {num_classes=}")
    return torch.bincount(labels, minlength=num_classes)
