"""What the tests of the Hub share besides fixtures."""

from __future__ import annotations

import json
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


def edited(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Change a saved folder's config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    edit(config)
    path.write_text(json.dumps(config), "utf-8")
    return folder
