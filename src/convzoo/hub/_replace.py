"""Writing files so that a kill at any moment leaves each of them the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from convzoo.errors import WeightsError


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
        for name in files:
            if (folder / name).is_dir():
                raise WeightsError(f"{folder}: cannot be saved to: {name} is a folder there")
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
