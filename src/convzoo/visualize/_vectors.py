"""Where vectors are kept while they come: in memory, or in a file."""

from __future__ import annotations

import os
from typing import BinaryIO, Self

import numpy
import numpy.lib.format
import torch
from torch import Tensor

from convzoo._checks import check_path
from convzoo.errors import InputError


class Vectors:
    """Vectors in memory."""

    def __init__(self) -> None:
        self.parts: list[Tensor] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing to tidy up."""

    def add(self, found: Tensor) -> None:
        """Take some more, (n, D)."""
        self.parts.append(found)

    def all(self) -> Tensor:
        """All of them, (N, D)."""
        if not self.parts:
            raise InputError("data: expected at least one image, got none")
        return torch.cat(self.parts)


class VectorsOnDisk(Vectors):
    """Vectors in a file of numpy's format, written beside its place until it is whole."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = check_path("path", path)
        self.fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self.shape: tuple[int, int] | None = None
        self.file: BinaryIO | None = None

    def __enter__(self) -> Self:
        try:
            self.file = self.fresh.open("xb")
        except OSError as error:
            raise InputError(f"path: {self.path} cannot be written: {error.strerror}") from error
        return self

    def __exit__(self, *_error: object) -> None:
        if self.file is not None:
            self.file.close()
        self.fresh.unlink(missing_ok=True)  # not there any more if all went well

    def add(self, found: Tensor) -> None:
        """Take some more, (n, D)."""
        count, width = found.shape
        if self.shape is None:
            self.shape = (0, width)
            self._write_header()
        self.shape = (self.shape[0] + count, width)
        self._file.write(found.contiguous().numpy().astype("<f4", copy=False).tobytes())

    def all(self) -> Tensor:
        """All of them, (N, D)."""
        if self.shape is None:
            raise InputError("data: expected at least one image, got none")
        self._file.seek(0)
        self._write_header()  # as long as the first: numpy leaves room for the count to grow
        self._file.close()
        self.fresh.replace(self.path)
        return torch.from_numpy(numpy.load(self.path, mmap_mode="c"))

    @property
    def _file(self) -> BinaryIO:
        if self.file is None:
            raise InputError("path: the file is not open")
        return self.file

    def _write_header(self) -> None:
        about = {"descr": "<f4", "fortran_order": False, "shape": self.shape}
        numpy.lib.format.write_array_header_1_0(self._file, about)
