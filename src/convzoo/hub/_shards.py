"""Weights in several safetensors files, with the index that says which tensor is in which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from convzoo.errors import WeightsError
from convzoo.hub._safetensors import MAX_HEADER_BYTES, SafetensorsFile, TensorEntry, read_json

_MOST_SHARDS: Final = 1000


class Shards(SafetensorsFile):
    """Several files that are read as one; each is checked and mapped as a single one is.

    Args:
        path: The index.
        open_shard: From a name in the index to the file.

    Raises:
        WeightsError: The index cannot be read, or does not say what its files hold.
    """

    def __init__(self, path: Path, open_shard: Callable[[str], SafetensorsFile]) -> None:
        self.path = path
        self.metadata = {}
        self.entries = {}
        places = _weight_map(path)
        names = sorted(set(places.values()))
        self._shards = [open_shard(name) for name in names]
        for number, (name, shard) in enumerate(zip(names, self._shards, strict=True)):
            for key, entry in shard.entries.items():
                if places.get(key) != name:
                    said = places.get(key, "no file")
                    raise WeightsError(f"{path}: {key} is in {name}, it says {said}")
                self.entries[key] = entry._replace(shard=number)
        for key, name in places.items():
            if key not in self.entries:
                raise WeightsError(f"{path}: {key} is not in {name}")

    def tensors(
        self, entries: Mapping[str, TensorEntry], device: torch.device | None = None
    ) -> dict[str, Tensor]:
        """As of a single file."""
        found: dict[str, Tensor] = {}
        for number, shard in enumerate(self._shards):
            own = {key: entry for key, entry in entries.items() if entry.shard == number}
            found |= shard.tensors(own, device)
        return found

    def quick_look_for_nan(self) -> list[str]:
        """As of a single file."""
        return [key for shard in self._shards for key in shard.quick_look_for_nan()]


def _weight_map(path: Path) -> dict[str, str]:
    """File by key; only of files beside the index."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_HEADER_BYTES + 1)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(text) > MAX_HEADER_BYTES:
        raise WeightsError(f"{path}: larger than {MAX_HEADER_BYTES} bytes")
    raw = read_json(text, str(path))
    places = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{path}: expected a weight_map from tensors to files")
    for name in places.values():
        if (
            not isinstance(name, str)
            or not name.endswith(".safetensors")
            or any(sign in name for sign in "/\\:\0")
        ):
            raise WeightsError(f"{path}: expected names of files beside it, got {name!r:.80}")
    if len(set(places.values())) > _MOST_SHARDS:
        raise WeightsError(f"{path}: more than {_MOST_SHARDS} files")
    return places
