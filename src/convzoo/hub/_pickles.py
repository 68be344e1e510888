"""Checkpoints that are pickles: read only when asked for, and only tensors out of them."""

from __future__ import annotations

import argparse
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from convzoo.errors import WeightsError
from convzoo.hub._safetensors import DTYPES, SafetensorsFile, Serialised

_PLACES: Final = (
    "state_dict", "model", "net", "model_state_dict", "state_dict_ema", "model_ema"
)  # fmt: skip
_PREFIXES: Final = ("module.", "_orig_mod.", "model.", "net.")


def read_pickle(path: Path) -> SafetensorsFile:
    """The tensors of a `.pth` or `.bin` file, with torch's restricted unpickler.

    It is read, not mapped: whoever writes over the file leaves the network alone.

    Args:
        path: The file: a state dict, or a dict that holds one under a usual name, such as
            `state_dict` or `model`.

    Returns:
        The same as a safetensors file would be, in memory; what wrappers put before every key
        (`module.`) is taken off.

    Raises:
        WeightsError: The file cannot be read, or holds something else.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # timm's hold one: harmless
            found: object = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # the unpickler raises whatever a broken file leads it to
        raise WeightsError(f"{path}: cannot be read: {_without_advice(error)}") from error
    for name in _PLACES:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str)
        and isinstance(value, Tensor)
        and value.dtype in DTYPES.values()
        and value.layout is torch.strided
        for key, value in found.items()
    ):
        raise WeightsError(f"{path}: expected a state dict: a dict of tensors by name")
    state = dict(found)
    while prefix := next(
        (p for p in _PREFIXES if state and all(k.startswith(p) for k in state)), ""
    ):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    parts = Serialised(state).file({})
    pages = mmap.mmap(-1, sum(len(part) for part in parts))  # memory, aligned as a file's pages
    for part in parts:
        pages.write(part)
    return SafetensorsFile(path, pages)


def _without_advice(error: Exception) -> str:
    """What the unpickler says, less its advice to let the file run code."""
    if "weights_only" not in str(error):
        return str(error)
    named = re.search(r"Unsupported (?:global|class|operand)[^\n.]*(?:\.\w+)*", str(error))
    what = named[0] if named else "it holds more than tensors"
    return f"{what}: only tensors and plain values are read, since anything else could run code"
