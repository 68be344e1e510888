"""Folders of images with one subfolder a class."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from convzoo._checks import check_flags
from convzoo.datasets._labelled import LabelledImages, Splits
from convzoo.errors import DataError, UnknownNameError

OnError = Literal["raise", "skip"]
"""What an unreadable image does: end the call, or stay out of the data set."""

Part = Literal["train", "val", "test"]
"""The parts that a folder may be split into."""

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    (
        *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
        *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    )
)
"""Files in a class's folder that count as images; others are passed over."""

_TRAIN = ("train", "training")
_VAL = ("val", "valid", "validation")
_TEST = ("test", "testing")


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
            a class whose name is not UTF-8, or an unreadable image; or a part has a class that the
            training part has not.

    Examples:
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
        check_flags(check=check)
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
    try:
        kind = folder.stat().st_mode
    except FileNotFoundError:
        raise DataError(f"{folder}: no such folder") from None
    except (OSError, ValueError) as error:  # a name too long, or with a NUL; no permission
        raise DataError(f"{folder}: expected a folder, got {error}") from None
    if not stat.S_ISDIR(kind):
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
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    for name in names:
        # The names become labels, which no file of weights could hold after the training.
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise DataError(f"{folder}: expected UTF-8 names, got {os.fsencode(name)!r}; rename it")
    return names


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(piece.startswith(".") for piece in path.relative_to(folder).parts)
        and not path.is_dir()  # a broken link or a pipe is named when it is read
    )
