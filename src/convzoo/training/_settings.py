"""What has to be the same for a training to go on as if never interrupted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from convzoo.datasets import LabelledImages
from convzoo.datasets._prepared import ImageData
from convzoo.training._aid import Aid
from convzoo.training._recipe import Loss


def settings_of(
    net: nn.Module,
    optimizer: Optimizer,
    aids: list[Aid],
    *,
    train: ImageData | DataLoader[Any],
    val: ImageData | DataLoader[Any] | None,
    loss: Loss,
    given: Mapping[str, object],
) -> dict[str, object]:
    """All of it, as JSON has it.

    Who computes it, how many share it and in which precision may change.
    """
    loss_name = str(getattr(loss, "__qualname__", None) or type(loss).__qualname__)
    groups = optimizer.param_groups
    parts: dict[str, object] = {
        f"files of {name}": fingerprint(data) for name, data in (("train", train), ("val", val))
    }
    settings = {
        "network": getattr(net, "architecture", None) or type(net).__qualname__,
        "options": dict(getattr(net, "options", {})),
        "tensors": {key: list(value.shape) for key, value in net.state_dict().items()},
        "trained parameters": [n for n, p in net.named_parameters() if p.requires_grad],
        "classes": getattr(train, "classes", None) or getattr(net, "labels", None),
        "images": len(train),
        **parts,
        "optimizer": type(optimizer).__qualname__,
        "lr": [group.get("max_lr", group.get("initial_lr", group["lr"])) for group in groups],
        "weight_decay": [group.get("weight_decay") for group in groups],
        "loss": loss_name,
        "aux_weight": getattr(loss, "aux_weight", None),
        **given,
        "aids": {aid.name: aid.settings() for aid in aids},
    }
    as_json: dict[str, object] = json.loads(json.dumps(settings, default=str))
    return as_json


def fingerprint(data: object) -> str | None:
    """A hash of a data set's labels and images: of files the names and sizes.

    The folder that holds all files may move.

    Args:
        data: The data set.

    Returns:
        The hash; None for data sets of others, of whose files nothing is known.
    """
    if not isinstance(data, LabelledImages):
        return None
    known = hashlib.sha256(repr(data.targets).encode())
    if isinstance(data.images, Tensor):
        known.update(data.images.numpy().tobytes())
        return known.hexdigest()
    paths = [image for image in data.images if isinstance(image, Path)]
    if len(paths) < len(data.images):  # rows of a table
        return None
    root = os.path.commonpath([path.parent for path in paths])
    for path in paths:
        entry = f"{os.path.relpath(path, root)}\0{path.stat().st_size}\0"
        known.update(entry.encode("utf-8", "surrogateescape"))
    return known.hexdigest()
