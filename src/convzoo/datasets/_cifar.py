"""CIFAR's files: pickles of Python 2, checked before they are read, and read as plain arrays."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from convzoo.datasets._labelled import LabelledImages
from convzoo.errors import DataError

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10


def read_cifar(
    kind: type[CIFAR10], root: Path, classes: Sequence[str]
) -> tuple[LabelledImages, LabelledImages]:
    """The training and the test images.

    Args:
        kind: torchvision's class, which knows the files and their checksums.
        root: The folder that holds `cifar-10-batches-py`, or CIFAR-100's.
        classes: The names that the classes should have.

    Returns:
        Images (3, 32, 32), uint8.

    Raises:
        DataError: A file is missing or is not the published one.
    """
    folder = root / kind.base_folder
    meta = _entries(folder / kind.meta["filename"], kind.meta["md5"])
    if list(meta.get(kind.meta["key"], ())) != list(classes):
        raise DataError(f"{folder}: expected the classes {', '.join(classes[:3])}, ...")
    train, test = (_part(folder, files, classes) for files in (kind.train_list, kind.test_list))
    return train, test


def _part(folder: Path, files: Sequence[Sequence[str]], classes: Sequence[str]) -> LabelledImages:
    images, targets = [], []
    for name, md5 in files:
        entries = _entries(folder / name, md5)
        images.append(torch.from_numpy(entries["data"]).view(-1, 3, 32, 32))
        targets += entries["labels" if "labels" in entries else "fine_labels"]
    return LabelledImages(torch.cat(images), targets, classes)


def _entries(path: Path, md5: str) -> dict[str, Any]:
    """A batch's entries. The bytes that are checked are the bytes that are read."""
    try:
        held = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); once {path.parent} is removed, it is "
            "fetched again"
        ) from error
    found = hashlib.md5(held, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{path}: is not the published file: its md5 is {found}, expected {md5}; once "
            f"{path.parent} is removed, it is fetched again"
        )
    try:
        entries: dict[str, Any] = _Plain(io.BytesIO(held), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise DataError(f"{path}: {error}") from error
    return entries


class _Plain(pickle.Unpickler):
    """Reads plain values and numpy's arrays, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        # As it was called in 2009; today's numpy warns of an `align` that is a number.
        known = {
            "numpy.core.multiarray._reconstruct": lambda _, shape, code: np.ndarray(shape, code),
            "numpy.ndarray": np.ndarray,
            "numpy.dtype": lambda code, *_: np.dtype(code),
        }
        if f"{module}.{name}" not in known:
            raise pickle.UnpicklingError(f"the pickle calls for {module}.{name}, no plain array")
        return known[f"{module}.{name}"]
