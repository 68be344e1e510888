"""What a run leaves on disk: its best network, and where to go on from."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from convzoo._checks import check_count
from convzoo._classifier import Classifier
from convzoo.errors import CheckpointError, InputError

LAST: Final = "last.pt"
BEST: Final = "best"
_FORM: Final = 2
"""Of the state; counted up when what it holds changes."""

_HASH_SIZE: Final = hashlib.sha256().digest_size


def save_best(net: nn.Module, folder: Path) -> None:
    """Write the network to `folder/best`; a kill leaves the old one or the new one whole."""
    if isinstance(net, Classifier):
        from convzoo import hub

        hub.save(net, folder / BEST)
        return
    from safetensors.torch import save

    state = {key: value.detach().cpu().clone() for key, value in net.state_dict().items()}
    write_whole(folder / BEST / "model.safetensors", save(state))


def save_last(state: dict[str, Any], folder: Path) -> None:
    """Write what `load_last` reads to `folder/last.pt`, whole or not at all."""
    # Through memory, because torch.save reports a full disk as an error of its own zip writer.
    buffer = io.BytesIO()
    torch.save({"form": _FORM, **state}, buffer)
    # torch reads a zip file without its checksums. A hash of everything goes to its end, into the
    # comment that the format has room for; the last two bytes say how long the comment is.
    content = buffer.getvalue()[:-2] + _HASH_SIZE.to_bytes(2, "little")
    write_whole(folder / LAST, content + hashlib.sha256(content).digest())


def load_last(folder: Path, settings: dict[str, object]) -> dict[str, Any] | None:
    """What `save_last` wrote, if it was written by a run with the same settings.

    Args:
        folder: The checkpoint folder.
        settings: What must be the same for the run to go on as if never interrupted, as JSON has
            it.

    Returns:
        The state; None if there is none yet.

    Raises:
        CheckpointError: The file cannot be read, or a setting differs.
    """
    path = folder / LAST
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    content, digest = content[:-_HASH_SIZE], content[-_HASH_SIZE:]
    if hashlib.sha256(content).digest() != digest:
        raise CheckpointError(
            f"{path}: not a training state, or one that was damaged; to start from the beginning, "
            "leave out resume"
        )
    state: dict[str, Any] = torch.load(
        io.BytesIO(content + digest), map_location="cpu", weights_only=True
    )
    if state.get("form") != _FORM:
        raise CheckpointError(
            f"{path}: written by another version of convzoo; finish the training with that one, or "
            "leave out resume to start from the beginning"
        )
    saved: dict[str, object] = state["settings"]
    differing = [
        _difference(name, saved.get(name), value)
        for name, value in settings.items()
        if saved.get(name) != value
    ]
    if differing:
        raise CheckpointError(
            f"{path}: cannot resume a run with other settings: {'; '.join(differing)}"
        )
    return state


def _difference(name: str, old: object, new: object) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return ", ".join(_difference(f"{name}.{key}", old.get(key), new.get(key)) for key in keys)
    if isinstance(old, list) and isinstance(new, list):
        gone = [one for i, one in enumerate(old) if one not in (*new, *old[:i])]
        come = [one for i, one in enumerate(new) if one not in (*old, *new[:i])]
        if gone or come:
            return f"{name} lost {gone!r:.200} and gained {come!r:.200}"
    return f"{name} was {old!r:.200}, now {new!r:.200}"


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one.

    Raises:
        CheckpointError: The disk is full, or the place cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, ValueError) as error:  # of a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"{path}: cannot be written: {reason}; what was there before is still whole"
        ) from error
    finally:
        with suppress(OSError, ValueError):
            partial.unlink()


def how_often(name: str, every: object) -> int | timedelta | None:
    """How often something is done: after so many steps, so much time, or not at all."""
    if every is None or (isinstance(every, timedelta) and every > timedelta()):
        return every
    if isinstance(every, timedelta):
        raise InputError(f"{name}: expected a time above 0, got {every}")
    try:
        return check_count(name, every)
    except InputError as error:
        raise InputError(f"{error}; a time is a datetime.timedelta, and None is never") from None
