"""Features on the disk: found again by what went into them, image by image.

A folder holds the features of one network. Its name says by which: weights, code, place of the
head, preset, number format, versions. In it are files that are written once and never changed, so
that several processes may add to it and a kill loses only what was not yet written. A file that
does not match the hash it carries counts as not there, and is removed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import os
import secrets
import types
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from convzoo._checks import check_path
from convzoo._classifier import Classifier
from convzoo.errors import InputError, WeightsError
from convzoo.transfer._find_heads import REMEMBERED

_FORMAT: Final = "1"
_MOST_ROWS: Final = 8192  # of one file: what a kill can lose

Cache = bool | str | os.PathLike[str]
"""Where features are kept: nowhere, in the usual folder, or in one of your own."""


def open_store(cache: Cache, net: nn.Module, head: str, **key: object) -> FeatureStore | None:
    """The features of a network that are there already.

    Args:
        cache: As the user gave it.
        net: The network.
        head: The path of its head; what lies in it does not count.
        **key: What else the features depend on; `repr` tells one from another.

    Returns:
        The store; None where the user wants none.

    Raises:
        InputError: `cache` is no folder, or cannot be written to.
    """
    if cache is False:
        return None
    if cache is True:
        from convzoo.hub._cache import notes_folder

        root = notes_folder() / "features"
    elif isinstance(cache, (str, os.PathLike)):
        root = check_path("cache", cache)
    else:
        raise InputError(f"cache: expected True, False or a folder, got {cache!r:.80}")
    folder = root / _network_key(net, head, repr(sorted(key.items())))[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(None, "Permission denied")
    except OSError as error:
        raise InputError(
            f"cache: {root} cannot be written: {error.strerror or error}; name another folder, or "
            "pass cache=False"
        ) from None
    return FeatureStore(folder)


def digest(*parts: object) -> bytes:
    """The hash of an image, or of what is made of it.

    Args:
        *parts: A path (its content counts), a tensor, a PIL image, bytes, or a text.
    """
    known = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                known.update(hashlib.file_digest(file, "sha256").digest())
        elif isinstance(part, Tensor):
            known.update(f"{part.dtype}{tuple(part.shape)}".encode())
            plain = part.detach().cpu().contiguous()
            known.update(plain.flatten().view(torch.uint8).numpy().tobytes())
        elif isinstance(part, bytes):
            known.update(part)
        elif hasattr(part, "tobytes"):  # a PIL image, and numpy's arrays
            palette: Any = getattr(part, "getpalette", lambda: None)()
            about = [getattr(part, name, None) for name in ("mode", "size", "shape", "dtype")]
            clear = getattr(part, "info", {}).get("transparency")
            known.update(f"{about}{palette}{clear}".encode())
            known.update(part.tobytes())
        elif isinstance(part, str):
            known.update(part.encode())
        else:
            raise InputError(
                f"data: expected images, PIL's or tensors, to tell them apart by, got {part!r:.80}"
            )
        known.update(b"\0")
    return known.digest()


class FeatureStore:
    """The features of one network that are on the disk; those that are added go there, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[bytes, Tensor] = {}
        self._fresh: dict[bytes, Tensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            found = _read(path)
            if found is None:
                with contextlib.suppress(OSError):
                    path.unlink()
            else:
                self._rows |= found

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def __getitem__(self, key: bytes) -> Tensor:
        return self._rows[key]

    def add(self, keys: Sequence[bytes], features: Tensor) -> None:
        """Keep features (n, D) by their keys; now and then they are written."""
        for key, row in zip(keys, features, strict=True):
            self._rows[key] = self._fresh[key] = row
        if len(self._fresh) >= _MOST_ROWS:
            self.write()

    def write(self) -> None:
        """Write what was added. A full disk loses it, with a warning, and not the features."""
        if not self._fresh:
            return
        from convzoo.hub._replace import replace_files

        tensors = {
            "keys": torch.tensor([list(key) for key in self._fresh], dtype=torch.uint8),
            "features": torch.stack(list(self._fresh.values())),
        }
        said = {"convzoo": "features", "hash": _hash(tensors)}
        name = f"{secrets.token_hex(8)}.safetensors"
        try:
            replace_files(self.folder, {name: [save(tensors, said)]})
        except WeightsError as error:
            warnings.warn(f"cache: the features are not kept: {error}", stacklevel=2)
        self._fresh.clear()


def _read(path: Path) -> dict[bytes, Tensor] | None:
    """The rows of a file by their keys; None where it is damaged."""
    try:
        raw = path.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        said = json.loads(raw[8 : 8 + size])["__metadata__"]
        tensors = load(raw)
        keys, features = tensors["keys"], tensors["features"]
        if said["hash"] != _hash(tensors) or len(keys) != len(features):
            return None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError):
        return None
    return dict(zip(map(bytes, keys.tolist()), features, strict=True))


def _hash(tensors: dict[str, Tensor]) -> str:
    return digest(tensors["keys"], tensors["features"]).hex()


def _network_key(net: nn.Module, head: str, rest: str) -> str:
    """The hash of all that a feature depends on besides its image."""
    versions = [version(name) for name in ("torch", "torchvision", "pillow")]
    parts: list[object] = [_FORMAT, *versions, head, rest]
    if has_hooks(net):
        raise InputError(
            "cache: the network has hooks, of which nobody knows what they do to its features; "
            "remove them, or pass cache=False"
        )
    said = _Said(net)
    for path, module in net.named_modules():
        if path != head and not path.startswith(f"{head}."):
            # Options of layers, and what classes of the user's own keep and do.
            kept = {
                name: said(f"{type(module).__name__}.{name}", value)
                for name, value in vars(module).items()
                if name not in _OF_MODULES
                and name not in _NOT_OF_FEATURES
                and not (isinstance(module, Classifier) and name in _OF_CLASSIFIERS)
            }
            parts += [path, type(module).__qualname__, module.extra_repr()]
            parts.append(repr(sorted(kept.items())))
            said.files.update(map(_code, _own_classes(type(module))))
    parts += sorted(said.files)
    tensors = {**dict(net.named_buffers()), **net.state_dict()}  # some buffers are not saved
    for name, tensor in tensors.items():
        if not name.startswith(f"{head}."):
            is_tensor = isinstance(tensor, Tensor)
            parts += [name, tensor.device.type, tensor] if is_tensor else [name, repr(tensor)]
    return digest(*parts).hex()


_OF_MODULES = frozenset(vars(nn.Module()))
# What is said elsewhere in the key, only of the head or of training, or only in words.
_NOT_OF_FEATURES = ("preset", "num_classes", "labels", "train", REMEMBERED)
_OF_CLASSIFIERS = ("options", "provenance")
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


class _Said:
    """Tells attributes of modules from others, across processes; notes the code they call."""

    def __init__(self, net: nn.Module) -> None:
        self.files: set[bytes] = set()
        self._seen = {id(module) for module in net.modules()}  # whose own turn comes

    def __call__(self, name: str, value: object) -> str:
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, Tensor):
            return digest(value).hex()
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if id(value) in self._seen or isinstance(value, torch.Generator):
            return kind
        self._seen.add(id(value))
        try:
            return f"{kind} {self._inside(name, value)}"
        finally:
            self._seen.discard(id(value))

    def _inside(self, name: str, value: Any) -> object:
        if isinstance(value, Mapping):
            return [(self(name, key), self(name, one)) for key, one in value.items()]
        if isinstance(value, (tuple, list)):
            return [self(name, one) for one in value]
        if isinstance(value, (set, frozenset)):
            return sorted(self(name, one) for one in value)
        if isinstance(value, type):
            self.files.update(map(_code, _own_classes(value)))
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, functools.partial):
            return [self(name, one) for one in (value.func, value.args, value.keywords)]
        if isinstance(value, types.MethodType):
            return [self(name, value.__func__), self(name, value.__self__)]
        if isinstance(value, types.FunctionType):
            self.files.add(_code(value))
            closed = [cell.cell_contents for cell in value.__closure__ or ()]
            return [value.__code__.co_name, self(name, value.__code__), self(name, closed)] + [
                self(name, one) for one in (value.__defaults__, value.__kwdefaults__)
            ]
        if isinstance(value, types.CodeType):
            return [value.co_code.hex(), value.co_names, self(name, value.co_consts)]
        if isinstance(value, types.BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, nn.Module):
            self(name, type(value))
            return [(key, digest(one).hex()) for key, one in value.state_dict().items()]
        if vars(object)["__repr__"] is type(value).__repr__ and hasattr(value, "__dict__"):
            return [self(name, type(value)), self(name, vars(value))]
        text = repr(value)
        if " at 0x" in text:
            raise InputError(
                f"cache: the network holds {name} = {text:.80}, of which nobody knows what it does "
                "to its features; pass cache=False"
            )
        return text


def _own_classes(kind: type) -> list[type]:
    """A class and those it inherits from, as far as they come neither with Python nor torch."""
    return [
        one
        for one in kind.__mro__
        if one is not object and one.__module__.partition(".")[0] not in ("torch", "builtins")
    ]


def has_hooks(net: nn.Module) -> bool:
    """Whether anything is hooked into the network."""
    return any(getattr(module, hooks) for module in net.modules() for hooks in _HOOKS)


_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def _code(what: type | types.FunctionType) -> bytes:
    """The hash of the file that a class or function is in, where it does not come with torch."""
    if what.__module__.partition(".")[0] != "torch":
        with contextlib.suppress(OSError, TypeError):
            return digest(Path(inspect.getfile(what)))
        with contextlib.suppress(OSError, TypeError):  # typed into a notebook
            return inspect.getsource(what).encode()
    return b""
