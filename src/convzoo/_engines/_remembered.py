"""What was the quickest before: one small file for each network, size, machine and version."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import secrets
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import fx

from convzoo._engines._job import Job
from convzoo.hub._cache import notes_folder

_LIBRARIES = ("convzoo", "torch", "onnxruntime", "openvino", "nncf")


def question(job: Job, engines: Iterable[str]) -> dict[str, object]:
    """All that the answer depends on.

    Args:
        job: What is to be run.
        engines: Who may run it.

    Returns:
        What JSON holds.
    """
    shapes = [tuple(tensor.shape) for tensor in job.net.state_dict().values()]
    code = job.net.code if isinstance(job.net, fx.GraphModule) else ""
    network = hashlib.sha256(f"{job.net}{code}{shapes}".encode()).hexdigest()
    device = "cpu" if job.device.type == "cpu" else torch.cuda.get_device_name(job.device)
    return {
        "network": network,
        "images": list(job.example.shape),
        "precision": job.precision,
        "engines": list(engines),
        "device": device,
        "threads": job.threads,
        "machine": [platform.node(), platform.machine(), torch.backends.cpu.get_cpu_capability()],
        "versions": {name: _version(name) for name in _LIBRARIES},
    }


def recall(asked: Mapping[str, object]) -> str | None:
    """The answer to a question, where it is known.

    Args:
        asked: The question.

    Returns:
        The name of a setting, or None.
    """
    path = _path(asked)
    try:
        noted = json.loads(path.read_bytes())
        if noted["question"] == asked and isinstance(noted["setting"], str):
            return str(noted["setting"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"{path}: cannot be read ({type(error).__name__}), and is written anew", stacklevel=4
        )
    return None


def note(asked: Mapping[str, object], setting: str) -> None:
    """Keep the answer to a question; where nothing can be kept, it is asked again.

    Args:
        asked: The question.
        setting: The name of the setting that won.
    """
    path = _path(asked)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_text(json.dumps({"question": asked, "setting": setting}, indent=1), "utf-8")
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def _path(asked: Mapping[str, object]) -> Path:
    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return notes_folder() / "engines" / f"{name}.json"


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
