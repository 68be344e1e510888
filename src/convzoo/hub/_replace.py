"""Writing files so that a kill at any moment leaves each of them the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from convzoo.errors import InputError, WeightsError


def says(text: bytes) -> Callable[[Path], bool]:
    """Whether a file is there that holds this text near its beginning."""

    def ours(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return text in file.read(2**20)

    return ours


SAVED: Final[Mapping[str, Callable[[Path], bool]]] = {
    "config.json": says(b'"convzoo"'),
    "model.safetensors": says(b"convzoo"),
    "README.md": says(b"library_name: convzoo"),
}
"""What `save` writes, by name, and whether a file that is there is one of those."""


def check_ours(argument: str, folder: Path, files: Mapping[str, Callable[[Path], bool]]) -> None:
    """Refuse a folder in which files of somebody else would be replaced.

    Args:
        argument: Its name, for the message.
        folder: The folder; it need not exist.
        files: Name -> whether what is there is ours.

    Raises:
        InputError: There are such files.
    """
    foreign = sorted(
        name
        for name, ours in files.items()
        if os.path.lexists(folder / name) and not ours(folder / name)
    )
    if foreign:
        raise InputError(
            f"{argument}: {folder} holds {', '.join(foreign)} of somebody else, which would be "
            "replaced; give another folder, or move them"
        )


def replace_files(folder: Path, files: Mapping[str, Iterable[bytes | memoryview]]) -> None:
    """Write files into a folder; nothing else in it is touched.

    Each is written beside its place under a name of its own and forced to the disk. When all are
    there they are put in place one after the other, in the order given. A file that is a link is
    replaced, what it pointed to stays.

    Args:
        folder: The folder; it need not exist.
        files: Name -> content, in parts.

    Raises:
        WeightsError: The disk is full, or the place cannot be written.
    """
    written: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, parts in files.items():
            fresh = folder / f".{name}.{secrets.token_hex(4)}.tmp"
            with fresh.open("xb") as file:
                written[fresh] = folder / name
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
        for fresh, place in written.items():
            fresh.replace(place)
        _sync(folder)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be saved: {error.strerror or error}") from error
    finally:
        for fresh in written:
            with contextlib.suppress(OSError):  # it is in place, or cannot be helped
                fresh.unlink()


def _sync(folder: Path) -> None:
    """Force the new names to the disk, where the system lets folders be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
