"""Where the files of known data sets lie on this machine, as torchvision lays them out."""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from convzoo._checks import check_path
from convzoo.datasets._download import download, md5_of
from convzoo.errors import DataError

ROOT: Final = "CONVZOO_DATA"
"""The environment's variable that names the folder of data sets."""

MIRROR: Final = "CONVZOO_MIRROR"
"""The environment's variable that names a server to ask first, `http://server/folder`."""


class Remote(NamedTuple):
    """A file of a data set.

    Attributes:
        urls: Where it is published, the first one first.
        md5: Its checksum.
        place: Where torchvision puts it, below the folder of data sets.
        folder: What it unpacks to, below that folder; None where it is used as it is.
        most: Bytes that it surely has not.
    """

    urls: tuple[str, ...]
    md5: str
    place: str
    folder: str | None = None
    most: int = 2_000_000_000


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds data sets: the one given, else CONVZOO_DATA's, else the cache's."""
    if root is not None:
        return check_path("root", root)
    named = os.environ.get(ROOT)
    if named:
        return check_path(ROOT, named)
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return check_path(ROOT, f"{home}/convzoo/datasets")


def is_there(root: Path, remote: Remote) -> bool:
    """Whether a file is in place, or what it unpacks to."""
    if remote.folder is not None:
        return (root / remote.folder).is_dir()
    return (root / remote.place).is_file()


def ensure(
    name: str, remotes: Sequence[Remote], root: Path, *, may_download: bool, progress: bool
) -> None:
    """Have all files of a data set in place; one process at a time fetches what is missing.

    Args:
        name: The data set.
        remotes: Its files.
        root: The folder of data sets.
        may_download: Whether the network may be asked.
        progress: Whether to show bars.

    Raises:
        DataError: A file cannot be had.
    """
    if all(is_there(root, remote) for remote in remotes):
        return
    if not may_download:
        raise DataError(
            f"{name}: is not in {root} and must not be downloaded; `convzoo fetch {name}` fetches "
            f"it, and {ROOT} names the folder"
        )
    from filelock import FileLock

    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / f".{name}.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"{name}: is not in {root}, where nothing can be kept ({error.strerror or error}); "
            f"root= or {ROOT} names another folder"
        ) from error
    with contextlib.ExitStack() as stack:
        stack.callback(lock.release)
        for remote in remotes:
            if not is_there(root, remote):  # another process may have brought it meanwhile
                _bring(root, remote, progress)


def _bring(root: Path, remote: Remote, progress: bool) -> None:
    place = root / remote.place
    kept = place.is_file() and md5_of(place) == remote.md5  # torchvision keeps its archives
    if not kept:
        first = os.environ.get(MIRROR)
        own = (f"{first.rstrip('/')}/{place.name}",) if first else ()
        download((*own, *remote.urls), remote.md5, place, most=remote.most, progress=progress)
    if remote.folder is not None:
        _unpack(place, root / remote.folder)
        if not kept:
            place.unlink()


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack beside the place and rename, so that a folder that is there is whole."""
    from torchvision.datasets.utils import extract_archive

    beside = f".{folder.name}."
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{beside}*.tmp"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=beside, suffix=".tmp", dir=folder.parent))
    try:
        extract_archive(archive, fresh)
        (fresh / folder.name).replace(folder)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{archive}: cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
