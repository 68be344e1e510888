"""Labelled images: the bundled digits, and folders with one subfolder a class.

Both come as [Splits][convzoo.datasets.Splits] of [LabelledImages][convzoo.datasets.LabelledImages],
raw: PIL images or uint8 tensors, which a network's preset turns into its input. `fit` and
`evaluate` apply the preset themselves; any other data set of (image, label) pairs will do as well.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from convzoo.errors import DataError, InputError, UnknownNameError

if TYPE_CHECKING:
    from PIL.Image import Image

OnError = Literal["raise", "skip"]
"""What an unreadable image does: end the call, or stay out of the data set."""

Part = Literal["train", "val", "test"]
"""The parts that a folder may be split into."""

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    (
        *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
        *(".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    )
)
"""Files in a class's folder that count as images; others are passed over."""

_TRAIN = ("train", "training")
_VAL = ("val", "valid", "validation")
_TEST = ("test", "testing")


class LabelledImages(Dataset["tuple[Image | Tensor, int]"]):
    """Images with the index of their class.

    Item i is `(image, label)`: the image as it is stored, a PIL image or a uint8 tensor (C, H, W).

    Args:
        images: Paths of image files, or a uint8 tensor (N, C, H, W).
        targets: Class index of each image, in [0, len(classes)).
        classes: The classes' names.

    Attributes:
        images: As given.
        targets: As given, as a tuple.
        classes: As given, as a tuple.

    Raises:
        InputError: The lengths differ, or a target is not the index of a class.
    """

    def __init__(
        self, images: Sequence[Path] | Tensor, targets: Iterable[int], classes: Iterable[str]
    ) -> None:
        self.images: Sequence[Path] | Tensor = images
        self.targets: tuple[int, ...] = tuple(targets)
        self.classes: tuple[str, ...] = tuple(classes)
        if len(images) != len(self.targets):
            raise InputError(
                f"targets: expected one for each of {len(images)} images, got {len(self.targets)}"
            )
        wrong = [t for t in self.targets if not 0 <= t < len(self.classes)]
        if wrong:
            raise InputError(
                f"targets: expected indices below {len(self.classes)}, the number of classes, "
                f"got {wrong[0]}"
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

        Example:
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


def digits(*, val: float = 0.1, test: float = 0.2, seed: int = 0) -> Splits:
    """The bundled handwritten digits: 1,797 grey images of 8 x 8 pixels, ten classes.

    They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak,
    1998, CC BY 4.0), which is also scikit-learn's `load_digits`: white ink on black, 17 grey
    levels, here scaled to 0 to 255. The parts are drawn at random, class by class, so that all
    writers appear in each of them.

    Args:
        val: Share of the images for validation, in [0, 1).
        test: Share of the images for the final test, in [0, 1).
        seed: Of the draw.

    Returns:
        By default 1,259 images to train on, 179 to validate and 359 to test.

    Example:
        >>> from convzoo import datasets
        >>> data = datasets.digits()
        >>> image, label = data.train[0]
        >>> tuple(image.shape), image.dtype, data.classes[label]
        ((1, 8, 8), torch.uint8, '0')
    """
    from importlib.resources import files

    from safetensors.torch import load

    stored = load(files("convzoo").joinpath("bundled", "digits.safetensors").read_bytes())
    levels = stored["images"].to(torch.int32)  # (1797, 8, 8), 0 to 16
    images = ((levels * 255 + 8) // 16).to(torch.uint8).unsqueeze(1)
    whole = LabelledImages(images, stored["labels"].tolist(), map(str, range(10)))
    train, held_out, judge = whole.split(val, test, seed=seed)
    return Splits(train, held_out, judge)


def image_folder(
    root: str | os.PathLike[str],
    *,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    on_error: OnError = "raise",
    check: bool = True,
    on_check: Callable[[int, int], None] | None = None,
) -> Splits:
    """A folder of images with one subfolder a class.

    `root/CLASS/**/image.jpg`, or, already split, `root/train/CLASS/...` with `root/val/CLASS/...`
    and `root/test/CLASS/...` beside it (`valid`, `validation`, `training` and `testing` are
    understood too). Without a validation part one is drawn from the training images; without any
    split a test part is drawn as well. Classes are numbered in the order of their names. Hidden
    files, and files without an image's suffix, are passed over.

    Args:
        root: The folder.
        val: Share of the images to draw for validation, in [0, 1), where the folder has none.
        test: Share of the images to draw for the final test, where the folder has no parts.
        seed: Of the draws.
        on_error: What an unreadable image does: `"raise"` ends with the file's name, `"skip"`
            leaves it out and lists it in `skipped`.
        check: Whether to read every image once now. Without it a bad file ends training when its
            turn comes.
        on_check: Called with (images checked, images in all) now and then while they are read.

    Returns:
        The parts. Images come as PIL images.

    Raises:
        DataError: The folder is missing, has no class folders, has a single class, an empty class,
            or an unreadable image; or a part has a class that the training part has not.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from convzoo import datasets
        >>> for name, grey in [("day", 200), ("night", 20)]:
        ...     Path("sky", name).mkdir(parents=True)
        ...     for i in range(10):
        ...         Image.new("L", (16, 16), grey + i).save(f"sky/{name}/{i}.png")
        >>> data = datasets.image_folder("sky", val=0.2, test=0.2)
        >>> data.classes, len(data.train), len(data.val), len(data.test)
        (('day', 'night'), 12, 4, 4)
    """
    folder = _folder(root)
    parts = {
        "train": _subfolder(folder, _TRAIN),
        "val": _subfolder(folder, _VAL),
        "test": _subfolder(folder, _TEST),
    }
    read = _Reader(on_error=on_error, check=check, on_check=on_check)
    if parts["train"] is None or not (parts["val"] or parts["test"]):
        alone = parts["train"] is not None and len(_class_names(folder)) == 1
        whole = read(parts["train"] if alone and parts["train"] else folder, None)
        train, held_out, judge = whole.split(val, test, seed=seed)
        return Splits(train, held_out, judge, tuple(read.skipped))
    train = read(parts["train"], None)
    last = read(parts["test"], train.classes) if parts["test"] else None
    if parts["val"]:
        held_out = read(parts["val"], train.classes)
    else:
        train, held_out = train.split(val, seed=seed)
    return Splits(train, held_out, last, tuple(read.skipped))


def labelled_folder(
    root: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    part: Part | None = None,
    on_error: OnError = "raise",
    check: bool = True,
    on_check: Callable[[int, int], None] | None = None,
) -> tuple[LabelledImages, tuple[str, ...]]:
    """All images of a folder, or of one part of it, numbered as a network numbers its classes.

    Args:
        root: The folder, laid out as [image_folder][convzoo.datasets.image_folder] says.
        classes: The classes' names in the order of the network's scores; every subfolder must bear
            one of them, not all need be there. None numbers the subfolders in the order of their
            names.
        part: Which part to read where the folder is split; None takes the test part, else the
            validation part. Ignored where it is not split.
        on_error: As in `image_folder`.
        check: As in `image_folder`.
        on_check: As in `image_folder`.

    Returns:
        The images, and the files that were left out with the reason.

    Raises:
        DataError: As in `image_folder`, or a subfolder bears none of the names in `classes`.
    """
    folder = _part(_folder(root), part)
    read = _Reader(on_error=on_error, check=check, on_check=on_check)
    return read(folder, tuple(classes) if classes else None), tuple(read.skipped)


def class_names(root: str | os.PathLike[str], part: Part | None = None) -> tuple[str, ...]:
    """The names of a folder's classes, without looking at the images.

    Args:
        root: The folder, laid out as [image_folder][convzoo.datasets.image_folder] says.
        part: Which part to look at, as in [labelled_folder][convzoo.datasets.labelled_folder].

    Returns:
        The names in order.

    Raises:
        DataError: The folder is missing, or has no such part.
    """
    return tuple(_class_names(_part(_folder(root), part)))


class _Reader:
    """Reads class folders; keeps count of what was checked and what was left out."""

    def __init__(
        self, *, on_error: OnError, check: bool, on_check: Callable[[int, int], None] | None
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise UnknownNameError("on_error", str(on_error), ("raise", "skip"))
        self.on_error = on_error
        self.check = check
        self.on_check = on_check
        self.skipped: list[str] = []

    def __call__(self, folder: Path, classes: tuple[str, ...] | None) -> LabelledImages:
        """All images below `folder`; `classes` gives their order, None sorts them."""
        names = _class_names(folder)
        if not names:
            raise DataError(f"{folder}: expected one subfolder a class, found no subfolder")
        if classes is None:
            if len(names) == 1:
                raise DataError(
                    f"{folder}: expected at least two classes, found only {names[0]!r}; "
                    "each class has a subfolder of its own"
                )
            classes = tuple(names)
        numbers = {name: number for number, name in enumerate(classes)}
        images: list[Path] = []
        targets: list[int] = []
        for name in names:
            if name not in numbers:
                known = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
                raise DataError(f"{folder / name}: not one of the known classes ({known})")
            found = _image_files(folder / name)
            if not found:
                raise DataError(f"{folder / name}: the class is empty: it has no image")
            images += found
            targets += [numbers[name]] * len(found)
        if self.check:
            readable = self._readable(images)
            images = [path for path, good in zip(images, readable, strict=True) if good]
            targets = [target for target, good in zip(targets, readable, strict=True) if good]
            left = set(targets)
            for name in names:
                if numbers[name] not in left:
                    raise DataError(
                        f"{folder / name}: the class is empty: none of its images can be read"
                    )
        return LabelledImages(images, targets, classes)

    def _readable(self, images: Sequence[Path]) -> list[bool]:
        def problem(path: Path) -> str | None:
            from convzoo.presets import load_image

            try:
                load_image(path)
            except DataError as error:
                return str(error)
            return None

        good: list[bool] = []
        # Pillow decodes outside Python's global lock, so threads do share the work.
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            for said in pool.map(problem, images):
                if said is not None and self.on_error == "raise":
                    pool.shutdown(cancel_futures=True)
                    raise DataError(said)
                if said is not None:
                    self.skipped.append(said)
                good.append(said is None)
                if self.on_check and (len(good) % 50 == 0 or len(good) == len(images)):
                    self.on_check(len(good), len(images))
        return good


def _folder(root: str | os.PathLike[str]) -> Path:
    folder = Path(root)
    if not folder.exists():
        raise DataError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with one subfolder a class, got a file")
    return folder


def _part(folder: Path, part: Part | None) -> Path:
    """The folder that holds the class folders of a part, where there are parts."""
    parts: dict[Part, Path | None] = {
        "test": _subfolder(folder, _TEST),
        "val": _subfolder(folder, _VAL),
        "train": _subfolder(folder, _TRAIN),
    }
    if parts["train"] is None or not (parts["val"] or parts["test"]):
        return folder
    found = parts[part] if part else next(p for p in parts.values() if p)
    if found is None:
        raise DataError(f"{folder}: has no {part} part")
    return found


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    """The part of that name, if it holds class folders (a class itself may be called "test")."""
    for name in names:
        part = folder / name
        if part.is_dir() and _class_names(part):
            return part
    return None


def _class_names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(piece.startswith(".") for piece in path.relative_to(folder).parts)
        and path.is_file()
    )
