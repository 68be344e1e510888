"""IDX files, the format of MNIST and its kin."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

import torch
from torch import Tensor

from convzoo.datasets._labelled import LabelledImages
from convzoo.errors import DataError

FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""Images and labels to train on, images and labels to test on."""


_MOST: Final = 1 << 36  # more than any memory holds, less than read() takes


class Idx(NamedTuple):
    """What an IDX file holds.

    Attributes:
        values: uint8, of the file's shape.
        sha256: Of the file, unpacked.
    """

    values: Tensor
    sha256: str


def read_idx(path: Path) -> Idx:
    """Read an IDX file of bytes, packed with gzip or not.

    Args:
        path: The file.

    Returns:
        Its values and its hash.

    Raises:
        DataError: It cannot be read, is no IDX file of bytes, or has another length than it says.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            return _read(path, cast("BinaryIO", stream))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _read(path: Path, stream: BinaryIO) -> Idx:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
        raise DataError(f"{path}: expected an IDX file of bytes, which begins with 0 0 8")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{path}: the IDX file is cut off")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    count = math.prod(shape)
    if count > _MOST:
        raise DataError(f"{path}: the IDX file says that it holds {count:,} values")
    values = bytearray(stream.read(count + 1))
    if len(values) != count:
        held = f"{len(values):,}" if len(values) < count else "more"
        raise DataError(f"{path}: expected {count:,} values, as the IDX file says, got {held}")
    found = hashlib.sha256(magic + sizes)
    found.update(values)
    if not count:
        raise DataError(f"{path}: the IDX file is empty")
    return Idx(torch.frombuffer(values, dtype=torch.uint8).view(shape), found.hexdigest())


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds MNIST's four files, packed or not."""
    return all(_file(folder, name) is not None for name in FILES)


def _file(folder: Path, name: str) -> Path | None:
    """A file by its usual names: packed or not, with a dot as some archives have it."""
    dotted = name.replace("-idx", ".idx")
    places = (folder / f"{stem}{end}" for stem in (name, dotted) for end in (".gz", ""))
    return next((place for place in places if place.is_file()), None)


def idx_folder(
    folder: Path, classes: tuple[str, ...] | None = None, contents: tuple[str, ...] | None = None
) -> tuple[LabelledImages, LabelledImages]:
    """The four files of a folder as images to train and to test with.

    Args:
        folder: The folder.
        classes: The classes' names; None names them by their numbers.
        contents: The sha256 that the files must have, unpacked; None takes any.

    Returns:
        Both, with images (1, H, W).

    Raises:
        DataError: A file is missing, is not what it should be, or does not fit the others.
    """
    paths = [_file(folder, name) for name in FILES]
    missing = [name for name, path in zip(FILES, paths, strict=True) if path is None]
    if missing:
        raise DataError(f"{folder}: has no {missing[0]}, packed or not")
    files = [(path, read_idx(path)) for path in paths if path is not None]
    for (path, idx), known in zip(files, contents or (), strict=contents is not None):
        if idx.sha256 != known:
            raise DataError(
                f"{path}: is not the published file: its content has sha256 {idx.sha256}, "
                f"expected {known}"
            )
    if classes is None:
        most = max(int(labels.values.max()) for _, labels in files[1::2])
        classes = tuple(map(str, range(most + 1)))
    parts = []
    for (path, images), (beside, labels) in zip(files[::2], files[1::2], strict=True):
        if images.values.ndim != 3 or labels.values.ndim != 1:
            raise DataError(f"{path}: expected images (N, H, W) and labels (N,) in {beside.name}")
        if len(images.values) != len(labels.values):
            raise DataError(
                f"{path}: {len(images.values):,} images, but {len(labels.values):,} labels in "
                f"{beside.name}"
            )
        parts.append(LabelledImages(images.values.unsqueeze(1), labels.values.tolist(), classes))
    return parts[0], parts[1]
