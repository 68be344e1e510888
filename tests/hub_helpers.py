"""What the tests of the Hub share besides fixtures."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import torch
from torch import nn

import convzoo

REPO = "me/three"


def three(seed: int = 0) -> convzoo.ResNet:
    """A small network, the same for the same seed."""
    torch.manual_seed(seed)
    net = convzoo.models.cifar_resnet20(num_classes=3)
    net.labels = ("ant", "bee", "cow")
    return net


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks hold the same tensors."""
    left, right = one.state_dict(), other.state_dict()
    return list(left) == list(right) and all(torch.equal(left[key], right[key]) for key in left)


def cached_files() -> list[Path]:
    """Every file in the client's cache that could be taken for part of a repository."""
    folder = Path(huggingface_hub.constants.HF_HUB_CACHE)
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and {"blobs", "snapshots"} & set(path.parts)
    ]


Edit = Callable[[dict[str, Any]], object]


def rewritten(path: Path, edit: Edit) -> None:
    """Change the header of a safetensors file; the tensors stay."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    path.unlink()  # it may be mapped
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def edited(folder: Path, edit: Edit) -> Path:
    """Change what a saved folder says of itself, in the weights file and in config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    edit(config)
    path.write_text(json.dumps(config), "utf-8")

    def within(header: dict[str, Any]) -> None:
        if "convzoo" in header.get("__metadata__", {}):
            header["__metadata__"]["convzoo"] = json.dumps(config)

    rewritten(folder / "model.safetensors", within)
    return folder


def as_before(folder: Path, weights_id: str = "1") -> Path:
    """Make of a saved folder what `save` wrote before the weights file said all."""

    def without(header: dict[str, Any]) -> None:
        header["__metadata__"] = {"format": "pt", "convzoo.weights_id": weights_id}

    def with_id(config: dict[str, Any]) -> None:
        del config["convzoo"]["sha256"]
        config["convzoo"]["weights_id"] = weights_id

    rewritten(folder / "model.safetensors", without)
    return edited(folder, with_id)
