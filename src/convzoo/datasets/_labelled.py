"""Images with the index of their class, and how they are cut into parts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from convzoo._checks import check_count
from convzoo.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


class LabelledImages(Dataset["tuple[Image | Tensor, int]"]):
    """Images with the index of their class.

    Item i is `(image, label)`: the image as it is stored, a PIL image or a uint8 tensor (C, H, W).

    Args:
        images: Paths of image files, or a uint8 tensor (N, C, H, W).
        targets: Class index of each image, in [0, len(classes)).
        classes: The classes' names.

    Attributes:
        images: As given.
        targets: As given, as a tuple of `int`.
        classes: As given, as a tuple.

    Raises:
        InputError: The lengths differ, or a target is not the index of a class: floats and strings
            are not rounded or read.
    """

    def __init__(
        self, images: Sequence[Path] | Tensor, targets: Iterable[int], classes: Iterable[str]
    ) -> None:
        self.images: Sequence[Path] | Tensor = images
        self.classes: tuple[str, ...] = tuple(classes)
        last = len(self.classes) - 1
        self.targets: tuple[int, ...] = tuple(
            check_count("targets", target, least=0, most=last) for target in targets
        )
        if len(images) != len(self.targets):
            raise InputError(
                f"targets: expected one for each of {len(images)} images, got {len(self.targets)}"
            )

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image | Tensor, int]:
        image = self.images[index]
        if isinstance(image, Tensor):
            return image, self.targets[index]
        from convzoo.presets import load_image

        return load_image(image), self.targets[index]

    def __iter__(self) -> Iterator[tuple[Image | Tensor, int]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images, {len(self.classes)} classes)"

    @property
    def counts(self) -> tuple[int, ...]:
        """How many images each class has."""
        counts = [0] * len(self.classes)
        for target in self.targets:
            counts[target] += 1
        return tuple(counts)

    def subset(self, indices: Sequence[int]) -> LabelledImages:
        """The images at these places, in this order.

        Args:
            indices: Places in [0, len(self)).

        Returns:
            A new data set; image files are shared, not read.
        """
        images: Sequence[Path] | Tensor
        if isinstance(self.images, Tensor):
            images = self.images[torch.as_tensor(indices, dtype=torch.long)]
        else:
            images = [self.images[i] for i in indices]
        return LabelledImages(images, (self.targets[i] for i in indices), self.classes)

    def split(self, *shares: float, seed: int = 0) -> tuple[LabelledImages, ...]:
        """Cut into parts at random, class by class, so that each part has its share of each class.

        The same images, shares and seed give the same parts, on any machine.

        Args:
            *shares: Share of the images that each part but the first gets, in [0, 1); the first
                gets what is left, and of each class at least one image.
            seed: Of the shuffle.

        Returns:
            The parts, one more than shares, each in the order of the whole.

        Raises:
            InputError: A share is out of range, or together they leave nothing.

        Examples:
            >>> from convzoo import datasets
            >>> whole = datasets.digits(val=0, test=0).train
            >>> [len(part) for part in whole.split(0.25)]
            [1346, 451]
        """
        if not all(0 <= share < 1 for share in shares) or sum(shares) >= 1:
            raise InputError(
                f"shares: expected numbers in [0, 1) with a sum below 1, got {list(shares)}"
            )
        # random.Random gives the same shuffle on every machine and leaves torch's generator alone.
        rng = random.Random(seed)
        by_class: list[list[int]] = [[] for _ in self.classes]
        for i, target in enumerate(self.targets):
            by_class[target].append(i)
        parts: list[list[int]] = [[] for _ in range(len(shares) + 1)]
        for members in by_class:
            rng.shuffle(members)
            size = len(members)
            for part, share in enumerate(shares, start=1):
                # Halves round up, so that a share of 0.5 of one image would take it, were it not
                # that the first part keeps at least one.
                count = min(int(share * size + 0.5), max(len(members) - 1, 0))
                parts[part] += members[:count]
                members = members[count:]
            parts[0] += members
        return tuple(self.subset(sorted(part)) for part in parts)


class Splits(NamedTuple):
    """A data set cut into what is trained on, what chooses, and what judges.

    Attributes:
        train: What the network learns from.
        val: What early stopping and the choice of the best epoch look at.
        test: What nothing looks at before the end; None where the data has no such part.
        skipped: Files that could not be read and were left out, with the reason.
    """

    train: LabelledImages
    val: LabelledImages
    test: LabelledImages | None
    skipped: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, in the order of their indices."""
        return self.train.classes
