"""Which files are meant: images in folders of any depth and size, and what a pattern finds."""

from __future__ import annotations

import glob
import heapq
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from convzoo.datasets import IMAGE_SUFFIXES
from convzoo.errors import DataError

Place = str | os.PathLike[str]

_AT_ONCE: Final = 100_000
"""Names of one folder that are held in memory; of a larger one the names are read several times."""


def image_files(places: Place | Iterable[Place]) -> Iterator[Path]:
    """The files that some places stand for, in an order that is the same each time.

    Args:
        places: Files, which come as they are; folders, whose images come in the order of their
            names, those of subfolders included, hidden ones not; patterns (strings such as
            `"photos/**/*.jpg"`, that no file is called by).

    Raises:
        DataError: A folder or a pattern has no image, or a folder cannot be read.
    """
    for place in [places] if isinstance(places, (str, os.PathLike)) else places:
        name = os.fspath(place)
        if stands_for_many(place):
            found = _below(name) if os.path.isdir(name) else _matching(name)  # noqa: PTH112
            empty = True
            for path in found:
                empty = False
                yield path
            if empty:
                what = "the folder has" if os.path.isdir(name) else "there is"  # noqa: PTH112
                raise DataError(f"{name}: {what} no image")
        else:
            yield Path(place)  # whether it is an image, reading it will show


def stands_for_many(place: Place) -> bool:
    """Whether a place is a folder or a pattern."""
    name = os.fspath(place)
    # os.path says no to names that no file can have, where Path raises.
    return os.path.isdir(name) or (  # noqa: PTH112
        isinstance(place, str) and glob.has_magic(place) and not os.path.lexists(place)
    )


def _below(folder: str) -> Iterator[Path]:
    last = ""
    while True:
        try:
            with os.scandir(folder) as entries:
                some = heapq.nsmallest(_AT_ONCE, _after(last, entries))
        except OSError as error:
            raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from None
        for name, is_folder in some:
            path = os.path.join(folder, name)  # noqa: PTH118 # a tenth of what Path takes
            if is_folder:
                yield from _below(path)
            else:
                yield Path(path)
        if len(some) < _AT_ONCE:
            return
        last = some[-1][0]


def _after(last: str, entries: Iterable[os.DirEntry[str]]) -> Iterator[tuple[str, bool]]:
    """Names after `last` of images and folders, and whether it is a folder; links to none."""
    for entry in entries:
        name = entry.name
        if name > last and not name.startswith("."):
            if entry.is_dir(follow_symlinks=False):
                yield name, True
            elif Path(name).suffix.lower() in IMAGE_SUFFIXES and not entry.is_dir():
                yield name, False


def _matching(pattern: str) -> Iterator[Path]:
    found = (Path(name) for name in sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207
    return (p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and not p.is_dir())
