"""Which engines are here."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Final

import torch

from convzoo._engines._job import EngineName, Precision
from convzoo.errors import InputError, MissingExtraError

_LIBRARIES: Final = {
    "torch": (),
    "compile": (),
    "onnxruntime": ("onnxruntime", "onnx", "onnxscript"),
    "openvino": ("openvino",),
}


def unavailable(engine: EngineName, precision: Precision, device: torch.device) -> str:
    """Why an engine cannot run a network in this precision there; empty if it can.

    Args:
        engine: The engine.
        precision: The numbers.
        device: Where the network is.

    Returns:
        A reason.
    """
    return _unfit(engine, precision, device) or _missing(engine, precision)


def check_available(engine: EngineName, precision: Precision, device: torch.device) -> None:
    """Refuse an engine that cannot run a network.

    Raises:
        MissingExtraError: Something has to be installed.
        InputError: It is not made for this.
    """
    if reason := _unfit(engine, precision, device):
        raise InputError(f"engine: {engine!r} cannot run this: {reason}")
    if reason := _missing(engine, precision):
        raise MissingExtraError(f"engine: {engine!r} in {precision}: {reason}")


def _unfit(engine: EngineName, precision: Precision, device: torch.device) -> str:
    if precision == "int8" and engine != "openvino":
        return "int8 runs in OpenVINO; pass engine='openvino' or 'auto'"
    if engine in ("onnxruntime", "openvino") and device.type != "cpu":
        return f"it runs on the CPU, and the network is on {device}; net.cpu()"
    if engine == "onnxruntime" and precision == "bf16":
        return "it has no bf16 for convolutions"
    if engine == "compile" and device.type == "cpu" and not _has_compiler():
        return "there is no C++ compiler (g++ or clang++, or cl on Windows), which torch calls"
    return ""


def _missing(engine: EngineName, precision: Precision) -> str:
    needed = _LIBRARIES[engine] + (("nncf",) if precision == "int8" else ())
    missing = [name for name in needed if find_spec(name) is None]
    if not missing:
        return ""
    return f"it needs {', '.join(missing)}, not installed: pip install 'convzoo[fast]'"


def _has_compiler() -> bool:
    return any(
        shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++", "cl")
    )
