"""Images with the index of their class, and how they are cut into parts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from convzoo._checks import check_count
from convzoo.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from PIL.Image import Image


class StoredImage(Protocol):
    """An image that is kept in something else than a file of its own, until it is wanted."""

    def decoded(self) -> Image:
        """The image."""
        ...


class LabelledImages(Dataset["tuple[Image | Tensor, int]"]):
    """Images with the index of their class.

    Item i is `(image, label)`: the image as it is stored, a PIL image or a uint8 tensor (C, H, W).

    Args:
        images: Paths of image files, or a uint8 tensor (N, C, H, W), or rows of a table that are
            decoded when their turn comes.
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
        self,
        images: Sequence[Path | StoredImage] | Tensor,
        targets: Iterable[int],
        classes: Iterable[str],
    ) -> None:
        self.images: Sequence[Path | StoredImage] | Tensor = images
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

        read = load_image(image) if isinstance(image, Path) else image.decoded()
        return read, self.targets[index]

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

    def subset(
        self, indices: Sequence[int] | None = None, *, classes: Sequence[str] | None = None
    ) -> LabelledImages:
        """Some of the images: those at these places, or those of these classes.

        Args:
            indices: Places in [0, len(self)), in the order wanted; None means all.
            classes: Names of classes, in the order in which the new set numbers them from 0; None
                keeps all of them and their numbers.

        Returns:
            A new data set; image files are shared, not read.

        Raises:
            InputError: Neither is given, or a class comes twice.
            UnknownNameError: There is no such class.

        Examples:
            >>> from convzoo import datasets
            >>> odd = datasets.digits().test.subset(classes=["7", "1"])
            >>> odd.classes, set(odd.targets)
            (('7', '1'), {0, 1})
        """
        if indices is None and classes is None:
            raise InputError("indices, classes: expected one of them, got neither")
        chosen = self if indices is None else self._at(indices, self.classes)
        if classes is None:
            return chosen
        wanted = _names("classes", classes)
        for name in wanted:
            if name not in self.classes:
                raise UnknownNameError("class", name, self.classes)
        kept = [i for i, target in enumerate(chosen.targets) if self.classes[target] in wanted]
        return chosen._at(kept, wanted)

    def numbered_as(self, classes: Sequence[str]) -> LabelledImages:
        """The same images, numbered as somebody else numbers the classes of these names.

        A network that scores ten classes gives the third score to its own third class, whatever
        that class is called here; [evaluate][convzoo.training.evaluate] and
        [fit][convzoo.training.fit] therefore number by this where they know the network's names.

        Args:
            classes: Names in the order of the network's scores; those that are here are among them.

        Returns:
            A new data set with these classes; the images are shared, not read.

        Raises:
            InputError: A class of these images is not among them, or is there twice.

        Examples:
            >>> from convzoo import datasets
            >>> odd = datasets.digits().test.subset(classes=["7", "1"])
            >>> set(odd.numbered_as(tuple("0123456789")).targets)
            {1, 7}
        """
        if self.classes == tuple(classes):
            return self
        return self._at(None, _names("classes", classes, unique=False))

    def _at(self, indices: Sequence[int] | None, classes: tuple[str, ...]) -> LabelledImages:
        """The images at these places, or all of them, numbered by these names of classes."""
        numbers: dict[str, int] = {}
        twice = set()
        for number, name in enumerate(classes):
            if name in numbers:
                twice.add(name)
            numbers.setdefault(name, number)
        targets = self.targets if indices is None else [self.targets[i] for i in indices]
        if classes != self.classes:
            for name in (self.classes[target] for target in sorted(set(targets))):
                if name not in numbers or name in twice:
                    known = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
                    raise InputError(
                        f"classes: expected {name!r}, which the images show, once among them, got "
                        f"{'it twice in ' if name in twice else ''}{known}"
                    )
            targets = [numbers[self.classes[target]] for target in targets]
        images: Sequence[Path | StoredImage] | Tensor = self.images
        if indices is not None:
            if isinstance(images, Tensor):
                images = images[torch.as_tensor(indices, dtype=torch.long)]
            else:
                images = [images[i] for i in indices]
        return LabelledImages(images, targets, classes)

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
        return tuple(self._at(sorted(part), self.classes) for part in parts)


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

    def subset(self, *, classes: Sequence[str]) -> Splits:
        """Some of the classes, in every part.

        Args:
            classes: Their names, in the order in which the new parts number them from 0.

        Returns:
            New parts; nothing is read.

        Raises:
            InputError: A class comes twice.
            UnknownNameError: There is no such class.

        Examples:
            >>> from convzoo import datasets
            >>> data = datasets.digits().subset(classes=["3", "8"])
            >>> data.classes, len(data.train)
            (('3', '8'), 250)
        """
        test = None if self.test is None else self.test.subset(classes=classes)
        train, val = (part.subset(classes=classes) for part in (self.train, self.val))
        return Splits(train, val, test, self.skipped)


def _names(argument: str, names: object, *, unique: bool = True) -> tuple[str, ...]:
    """Names of classes as a tuple."""
    found = tuple(names) if isinstance(names, Sequence) and not isinstance(names, str) else ()
    if not found or not all(isinstance(name, str) for name in found):
        raise InputError(f"{argument}: expected names of classes, got {names!r:.80}")
    if unique and len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise InputError(f"{argument}: expected each class once, got {twice!r} twice")
    return found
