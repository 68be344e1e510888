"""Writing a folder so that a kill at any moment leaves the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from convzoo.errors import WeightsError


def write_folder(folder: Path, files: Mapping[str, Callable[[Path], object]]) -> None:
    """Write files into a folder, all of them or none.

    They are written to a new folder beside it, with hard links to whatever else the old one
    holds, forced to the disk, and exchanged with the old one in one step.

    Args:
        folder: The folder; it need not exist.
        files: Name -> what writes it, given the path.

    Raises:
        WeightsError: The disk is full, or the place cannot be written.
    """
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not folder.is_dir():
        raise WeightsError(f"{folder}: cannot be saved to: it is a file")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with _new_sibling(folder) as fresh:
            for name, write in files.items():
                write(fresh / name)
                _sync(fresh / name)
            if folder.is_dir():
                _link_the_rest(folder, fresh, set(files))
                fresh.chmod(stat.S_IMODE(folder.stat().st_mode))
            _sync(fresh)
            _put_in_place(fresh, folder)
            _sync(folder.parent)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be saved: {error.strerror or error}") from error


@contextlib.contextmanager
def _new_sibling(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, locked while it is in use and removed afterwards."""
    while True:
        fresh = folder.with_name(f".{folder.name}.saving-{secrets.token_hex(4)}")
        fresh.mkdir()
        handle = os.open(fresh, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if fresh.is_dir():  # else a sweep came between the last two lines
            break
        os.close(handle)
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # the old folder, or what was not finished
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what killed writers left beside `folder`; a living one holds its lock."""
    for left in folder.parent.glob(f".{_escaped(folder.name)}.saving-*"):
        with contextlib.suppress(OSError):  # gone, or not ours to remove
            handle = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(handle)


def _escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _link_the_rest(old: Path, fresh: Path, written: set[str]) -> None:
    def link(source: str, target: str) -> None:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copy2(source, target, follow_symlinks=False)

    for entry in old.iterdir():
        if entry.name in written:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, fresh / entry.name, symlinks=True, copy_function=link)
        else:
            link(str(entry), str(fresh / entry.name))


def _put_in_place(fresh: Path, folder: Path) -> None:
    try:
        fresh.rename(folder)  # where there is no folder yet, or an empty one
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not _exchange(fresh, folder):
            _replace_files(fresh, folder)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step; False where the system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        at_cwd, exchange = -100, 2
        arguments = (at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange)
        return bool(libc.renameat2(*arguments) == 0)
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        swap = 2
        return bool(libc.renamex_np(os.fsencode(one), os.fsencode(other), swap) == 0)
    return False


def _replace_files(fresh: Path, folder: Path) -> None:
    """Without an exchange (some network file systems, mount points): file by file, weights last.

    A kill between two of them leaves a config.json that names other weights than there are; the
    ids that `save` writes into both tell, and loading says so.
    """
    for entry in sorted(fresh.iterdir(), key=lambda path: path.suffix == ".safetensors"):
        if entry.is_file():
            entry.replace(folder / entry.name)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
