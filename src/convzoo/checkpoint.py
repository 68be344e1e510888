"""Reading and writing the files that hold a network's tensors, and fitting them to a network.

A weights file is untrusted: its header is checked here before anything is allocated, and whatever
is wrong with it comes out as a [WeightsError][convzoo.WeightsError] that names the file.
"""

from __future__ import annotations

import itertools
import json
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from convzoo.errors import WeightsError

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


_SHORT: Final = 4096  # numbers in a tensor that a quick look reads as a whole


class TensorEntry(NamedTuple):
    """What a file's header says of one tensor.

    Attributes:
        dtype: Its dtype.
        shape: Its shape.
        begin: Where its bytes begin in the file.
        end: Where they end.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int = 0
    end: int = 0


class Header(NamedTuple):
    """A safetensors file's table of contents.

    Attributes:
        tensors: Dtype and shape by key.
        metadata: The free text that the writer left.
    """

    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]


def read_json(text: bytes, what: str) -> Any:
    """Parse JSON from a file that is not trusted.

    Args:
        text: The file's bytes.
        what: What to call it in an error.

    Returns:
        The value; duplicate keys, NaN and infinities are refused.

    Raises:
        WeightsError: It is not such JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = sorted(key for key, _ in pairs)
            twice = next(one for one, other in itertools.pairwise(keys) if one == other)
            raise ValueError(f"the key {twice!r:.100} comes twice")
        return found

    def no_constant(name: str) -> float:
        raise ValueError(f"{name} is not a JSON number")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError as well
        raise WeightsError(f"{what}: not valid JSON: {error}") from None


def read_header(path: Path) -> Header:
    """Read and check a safetensors file's header.

    Args:
        path: The file.

    Returns:
        Its tensors' dtypes and shapes, and its metadata. The tensors fill the file exactly.

    Raises:
        WeightsError: The file cannot be opened, or is not a whole safetensors file.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            if len(start) < 8:
                raise WeightsError(f"{path}: not a safetensors file: it has {size} bytes")
            (length,) = struct.unpack("<Q", start)
            if length > min(size - 8, MAX_HEADER_BYTES):
                looks = " (it begins like a web page)" if start.lstrip()[:1] == b"<" else ""
                raise WeightsError(
                    f"{path}: not a whole safetensors file: its header should have {length} "
                    f"bytes, the file has {size}{looks}"
                )
            text = file.read(length)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    raw = read_json(text, f"{path}: header")
    if not isinstance(raw, dict):
        raise WeightsError(f"{path}: header: expected an object, got {type(raw).__name__}")
    metadata = raw.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WeightsError(f"{path}: header: __metadata__ must map strings to strings")
    tensors: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int, str]] = []
    for key, entry in raw.items():
        tensors[key] = _check_entry(path, key, entry, 8 + length)
        spans.append((tensors[key].begin, tensors[key].end, key))
    position = 8 + length
    for begin, end, key in sorted(spans):
        if begin != position:
            raise WeightsError(f"{path}: header: {key} begins at byte {begin}, expected {position}")
        position = end
    if position != size:
        raise WeightsError(
            f"{path}: not a whole safetensors file: its header promises {position} bytes, "
            f"the file has {size}"
        )
    return Header(tensors, metadata)


def _check_entry(path: Path, key: str, entry: object, data: int) -> TensorEntry:
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
    count = dtype.itemsize
    for side in shape:
        count *= side
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


def map_tensors(
    path: Path, tensors: Mapping[str, TensorEntry], device: torch.device
) -> dict[str, Tensor]:
    """The tensors of a safetensors file, mapped into memory rather than read.

    On the CPU the pages are the file's own until they are written to, and then private: the
    tensors can be trained, and the file never changes. To another device they are copied, straight
    from the file.

    Args:
        path: The file.
        tensors: What `read_header` found in it.
        device: Where the tensors go.

    Returns:
        Key -> tensor.

    Raises:
        WeightsError: The file cannot be read.
    """
    try:
        size = path.stat().st_size
        # Not shared means private: a page that is written to becomes a copy.
        storage = torch.UntypedStorage.from_file(str(path), shared=False, nbytes=size)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{path}: cannot be mapped: {error}") from error
    found: dict[str, Tensor] = {}
    place: Any
    for key, (dtype, shape, begin, end) in tensors.items():
        # A storage for each, over the same pages: `torch.save` of one tensor writes that tensor
        # only, and refuses two types in one storage.
        place = storage[begin:end]
        if begin % dtype.itemsize:  # other writers may not align; torch needs it
            place = place.clone()
        strides = [1] * len(shape)
        for axis in range(len(shape) - 1, 0, -1):
            strides[axis - 1] = strides[axis] * max(shape[axis], 1)
        # Not slices of one tensor: those would share one count of changes made in place, by which
        # autograd would take an optimiser's step on one parameter for a change of all.
        value = torch.empty(0, dtype=dtype, device="cpu")
        value.set_(place, 0, shape, strides)
        found[key] = value if device.type == "cpu" else value.to(device)
    return found


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` or `.bin` file, with torch's restricted unpickler.

    Args:
        path: The file: a state dict, or a dict that holds one under `state_dict` or `model`.

    Returns:
        Key -> tensor on the CPU; a leading `module.` (from DataParallel) is taken off.

    Raises:
        WeightsError: The file cannot be read, or holds something else.
    """
    try:
        found: object = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # older files are no zip archives and cannot be mapped
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the unpickler raises whatever a broken file leads it to
            raise WeightsError(f"{path}: cannot be read: {error}") from error
    for name in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        raise WeightsError(f"{path}: expected a state dict: a dict of tensors by name")
    return {key.removeprefix("module."): value for key, value in found.items()}


def mismatch(
    expected: Mapping[str, Iterable[int]], found: Mapping[str, Iterable[int]]
) -> str | None:
    """What keeps a checkpoint from fitting a network: every key at once.

    Args:
        expected: Shape by key, of the network.
        found: Shape by key, of the checkpoint.

    Returns:
        Missing, unexpected and wrongly shaped keys in one text; None if all fits.
    """
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    shaped = [
        f"{key}: network {tuple(expected[key])}, checkpoint {tuple(found[key])}"
        for key in expected
        if key in found and tuple(expected[key]) != tuple(found[key])
    ]
    parts = [
        f"  {len(keys)} {kind}: " + _few(keys, separator)
        for kind, keys, separator in (
            ("missing", missing, ", "),
            ("unexpected", unexpected, ", "),
            ("wrongly shaped", shaped, "; "),
        )
        if keys
    ]
    return "\n".join(parts) or None


def _few(items: list[str], separator: str, most: int = 20) -> str:
    shown = separator.join(items[:most])
    return f"{shown}{separator}and {len(items) - most} more" if len(items) > most else shown


class Slot(NamedTuple):
    """A place for a tensor in a network.

    Attributes:
        module: The layer that has it.
        name: Its name there.
        tensor: What is there now.
        fixed: Whether it is a buffer that no checkpoint holds.
    """

    module: nn.Module
    name: str
    tensor: Tensor
    fixed: bool


def slots(net: nn.Module) -> dict[str, Slot]:
    """Every place for a tensor in a network, by key, in the order of its state dict.

    Args:
        net: A network.

    Returns:
        Key -> place.
    """
    found: dict[str, Slot] = {}
    for path, module in net.named_modules():
        prefix = f"{path}." if path else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                found[prefix + name] = Slot(module, name, parameter, False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                fixed = name in module._non_persistent_buffers_set
                found[prefix + name] = Slot(module, name, buffer, fixed)
    return found


def assign(places: Mapping[str, Slot], tensors: Mapping[str, Tensor]) -> None:
    """Put tensors into a network without copying them.

    This is `load_state_dict(assign=True)` for keys and shapes that are known to match, at a
    quarter of its time.

    Args:
        places: The network's places, from `slots`.
        tensors: One for each of them.
    """
    for key, (module, name, old, _) in places.items():
        if isinstance(old, nn.Parameter):
            module._parameters[name] = nn.Parameter(tensors[key], old.requires_grad)
        else:
            module._buffers[name] = tensors[key]


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


def entries_with_nan(path: Path, tensors: Mapping[str, TensorEntry]) -> list[str]:
    """A quick look for NaN into a safetensors file, which reads little of it.

    Args:
        path: The file.
        tensors: What `read_header` found in it.

    Returns:
        Keys of tensors with NaN: among all numbers of the short ones (biases, normalisation),
        the first numbers of the long ones.

    Raises:
        WeightsError: The file cannot be read.
    """
    read: dict[torch.dtype, bytearray] = {}
    floats = {key: entry for key, entry in tensors.items() if entry.dtype.is_floating_point}
    try:
        with path.open("rb", buffering=0) as file:
            for dtype, _, begin, end in floats.values():
                count = (end - begin) // dtype.itemsize
                seen = begin + dtype.itemsize * (count if count <= _SHORT else 1)
                read.setdefault(dtype, bytearray()).extend(
                    os.pread(file.fileno(), seen - begin, begin)
                )
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    numbers = [torch.frombuffer(data, dtype=dtype) for dtype, data in read.items() if data]
    if not any(bool(some.isnan().any()) for some in numbers):
        return []
    return tensors_with_nan(map_tensors(path, floats, torch.device("cpu")))
