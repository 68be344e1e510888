"""safetensors files: opened once, checked, and mapped; and written so that tensors lie aligned.

A weights file is untrusted: its header is checked here before anything is allocated, and whatever
is wrong with it comes out as a [WeightsError][convzoo.WeightsError] that names the file.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from convzoo._meta_device import garbage_collection_paused
from convzoo.errors import InputError, WeightsError

MAX_HEADER_BYTES: Final = 16 << 20
"""Largest header that is read; a thousand-layer network's has about 1 MB."""

DTYPES: Final[dict[str, torch.dtype]] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""The dtypes that a network's tensors may have in a file."""

CONFIG_KEY: Final = "convzoo"
"""Where `save` keeps, in the file's own metadata, what config.json says beside it."""

_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
_ALIGNMENT: Final = 64  # bytes, as torch's own allocator has it; a cache line
_SHORT: Final = 4096  # numbers in a tensor that a quick look reads as a whole
_MOST_SIDES: Final = 8


class TensorEntry(NamedTuple):
    """What a file's header says of one tensor.

    Attributes:
        dtype: Its dtype.
        shape: Its shape.
        begin: Where its bytes begin in the file.
        end: Where they end.
        shard: In which file, where there are several.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int = 0
    end: int = 0
    shard: int = 0


def read_json(text: bytes | str, what: str) -> Any:
    """Parse JSON from a file that is not trusted.

    Args:
        text: The file's text.
        what: What to call it in an error.

    Returns:
        The value; duplicate keys, NaN and infinities are refused.

    Raises:
        WeightsError: It is not such JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"the key {key!r:.100} comes twice")
            found[key] = value
        return found

    def no_constant(name: str) -> float:
        raise ValueError(f"{name} is not a JSON number")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError as well
        raise WeightsError(f"{what}: not valid JSON: {error}") from None


class SafetensorsFile:
    """A safetensors file, opened once: its header checked, its pages mapped.

    Whatever is read later comes from the file that was opened, even if a writer puts another one
    in its place meanwhile.

    Args:
        path: The file.
        pages: Its content, where that is in memory already.

    Attributes:
        path: The file.
        entries: Dtype, shape and place by key. The tensors fill the file exactly.
        metadata: The free text that the writer left.

    Raises:
        WeightsError: The file cannot be opened, or is not a whole safetensors file.
    """

    @garbage_collection_paused()
    def __init__(self, path: Path, pages: mmap.mmap | None = None) -> None:
        self.path = path
        self._pages = _mapped(path) if pages is None else pages
        size, start = len(self._pages), self._pages[:8]
        (length,) = struct.unpack("<Q", start)
        if length > min(size - 8, MAX_HEADER_BYTES):
            looks = " (it begins like a web page)" if start.lstrip()[:1] == b"<" else ""
            raise WeightsError(
                f"{path}: not a whole safetensors file: its header should have {length} "
                f"bytes, the file has {size}{looks}"
            )
        self._data = 8 + length
        raw = read_json(self._pages[8 : self._data], f"{path}: header")
        if not isinstance(raw, dict):
            raise WeightsError(f"{path}: header: expected an object, got {type(raw).__name__}")
        metadata = raw.pop("__metadata__", None) or {}
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise WeightsError(f"{path}: header: __metadata__ must map strings to strings")
        self.metadata: dict[str, str] = metadata
        self.entries = {key: _entry(path, key, raw[key], self._data) for key in raw}
        position = self._data
        for begin, end, key in sorted((e.begin, e.end, key) for key, e in self.entries.items()):
            if begin != position:
                raise WeightsError(
                    f"{path}: header: {key} begins at byte {begin}, expected {position}"
                )
            position = end
        if position != size:
            raise WeightsError(
                f"{path}: not a whole safetensors file: its header promises {position} bytes, "
                f"the file has {size}"
            )

    def tensors(
        self, entries: Mapping[str, TensorEntry], device: torch.device | None = None
    ) -> dict[str, Tensor]:
        """Tensors of the file, mapped into memory rather than read.

        On the CPU the pages are the file's own until they are written to, and then private: the
        tensors can be trained, and the file never changes. To another device they are copied,
        straight from the file.

        Args:
            entries: `self.entries`, or some of them, perhaps under other keys and in other shapes.
            device: Where the tensors go; None means the CPU.

        Returns:
            Key -> tensor.
        """
        # Files of `save` have all large tensors on the boundaries that torch's own allocator
        # keeps; the few others are copied there, since kernels round otherwise off them.
        ours = CONFIG_KEY in self.metadata
        found: dict[str, Tensor] = {}
        for key, (dtype, shape, begin, end, _) in entries.items():
            if begin == end:
                value = torch.empty(shape, dtype=dtype, device="cpu")
            elif begin % (_ALIGNMENT if ours else dtype.itemsize):
                copy = bytearray(self._pages[begin:end])
                value = torch.frombuffer(copy, dtype=dtype).view(shape).clone()
            else:
                # A storage for each, over its own pages: `torch.save` of one tensor writes that
                # tensor only, and an optimiser's step on one is no change of the others.
                count = (end - begin) // dtype.itemsize
                value = torch.frombuffer(self._pages, dtype=dtype, count=count, offset=begin)
                value = value.view(shape)
            found[key] = value if device is None or device.type == "cpu" else value.to(device)
        return found

    def sha256(self) -> str:
        """The hash of the tensors' bytes, which `save` notes in the metadata."""
        with memoryview(self._pages) as pages, pages[self._data :] as data:
            return hashlib.sha256(data).hexdigest()

    def quick_look_for_nan(self) -> list[str]:
        """A look for NaN that reads little of the file.

        Returns:
            Keys of tensors with NaN: among all numbers of the short ones (biases, normalisation),
            the first numbers of the long ones.
        """
        read: dict[torch.dtype, bytearray] = {}
        floats = {key: e for key, e in self.entries.items() if e.dtype.is_floating_point}
        for dtype, _, begin, end, _ in floats.values():
            count = (end - begin) // dtype.itemsize
            seen = begin + dtype.itemsize * (count if count <= _SHORT else 1)
            read.setdefault(dtype, bytearray()).extend(self._pages[begin:seen])
        numbers = [torch.frombuffer(data, dtype=dtype) for dtype, data in read.items() if data]
        if not any(bool(some.isnan().any()) for some in numbers):
            return []
        return tensors_with_nan(self.tensors(floats))


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 8:
                raise WeightsError(f"{path}: not a safetensors file: it has {size} bytes")
            # A page is the file's own until it is written to; then it becomes a copy.
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:
        wrong = getattr(error, "strerror", None) or error
        raise WeightsError(f"{path}: cannot be read: {wrong}") from error


def _entry(path: Path, key: str, entry: object, data: int) -> TensorEntry:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise WeightsError(f"{path}: header: {key}: expected dtype, shape and data_offsets")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise WeightsError(
            f"{path}: header: {key}: unknown dtype {entry['dtype']!r:.60}, "
            f"expected one of {', '.join(DTYPES)}"
        )
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise WeightsError(
            f"{path}: header: {key}: shape and data_offsets must be lists of integers from 0"
        )
    size = dtype.itemsize  # of the tensor, were its empty sides 1: torch counts in 63 bits
    for side in shape[:_MOST_SIDES]:
        size *= max(side, 1)
    if len(shape) > _MOST_SIDES or size >= 1 << 63:
        raise WeightsError(f"{path}: header: {key}: no tensor has the shape {shape!r:.100}")
    count = 0 if 0 in shape else size
    if offsets[1] - offsets[0] != count:
        raise WeightsError(
            f"{path}: header: {key}: {dtype} of shape {shape} takes {count} bytes, "
            f"its place in the file has {offsets[1] - offsets[0]}"
        )
    return TensorEntry(dtype, tuple(shape), data + offsets[0], data + offsets[1])


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 1 << 48 for value in values
    )


def tensors_with_nan(tensors: Mapping[str, Tensor]) -> list[str]:
    """Keys of tensors that hold NaN.

    Args:
        tensors: Tensors by key.

    Returns:
        The keys; empty if all is well.
    """
    return [
        key
        for key, value in tensors.items()
        if value.is_floating_point() and bool(value.isnan().any())
    ]


class Serialised:
    """Tensors as a file holds them.

    Those that fill whole cache lines come first, so that mapped they lie as torch would have
    allocated them; a file has no gaps, and after the first odd one nothing does.

    Args:
        tensors: Tensors by key.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        self._table: dict[str, dict[str, object]] = {}
        self._data: list[memoryview] = []  # no copies, where a tensor is contiguous on the CPU
        place = 0
        for key in sorted(
            whole, key=lambda k: (whole[k].nbytes % _ALIGNMENT > 0, -whole[k].itemsize)
        ):
            value = whole[key]
            begin, place = place, place + value.nbytes
            self._table[key] = {
                "dtype": _NAMES[value.dtype],
                "shape": list(value.shape),
                "data_offsets": [begin, place],
            }
            self._data.append(value.reshape(-1).view(torch.uint8).numpy().data)

    def sha256(self) -> str:
        """The hash of all their bytes."""
        digest = hashlib.sha256()
        for part in self._data:
            digest.update(part)
        return digest.hexdigest()

    def file(self, metadata: Mapping[str, str]) -> list[bytes | memoryview]:
        """What a safetensors file with these tensors and this metadata consists of, in order."""
        text = json.dumps({"__metadata__": metadata, **self._table}).encode()
        text += b" " * (-(8 + len(text)) % _ALIGNMENT)
        if len(text) > MAX_HEADER_BYTES:
            raise InputError(f"net: labels and options are too long to be kept: {len(text)} bytes")
        return [struct.pack("<Q", len(text)), text, *self._data]
