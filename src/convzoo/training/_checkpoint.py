"""What a run leaves on disk: its best network, and where to go on from."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from convzoo._classifier import Classifier
from convzoo.errors import CheckpointError

LAST: Final = "last.pt"
BEST: Final = "best"


def save_best(net: nn.Module, folder: Path) -> None:
    """Write the network to `folder/best`; a kill leaves the old one or the new one whole."""
    if isinstance(net, Classifier):
        from convzoo import hub

        hub.save(net, folder / BEST)
        return
    from safetensors.torch import save

    (folder / BEST).mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().clone() for key, value in net.state_dict().items()}
    write_whole(folder / BEST / "model.safetensors", save(state))


def save_last(state: dict[str, Any], folder: Path) -> None:
    """Write what `load_last` reads to `folder/last.pt`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    # Through memory, because torch.save reports a full disk as an error of its own zip writer.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(folder / LAST, buffer.getbuffer())


def load_last(folder: Path, settings: dict[str, object]) -> dict[str, Any] | None:
    """What `save_last` wrote, if it was written by a run with the same settings.

    Args:
        folder: The checkpoint folder.
        settings: What must be the same for the run to go on as if never interrupted.

    Returns:
        The state; None if there is none yet.

    Raises:
        CheckpointError: The file cannot be read, or a setting differs.
    """
    path = folder / LAST
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        saved: dict[str, object] = state["settings"]
    except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise CheckpointError(f"{path}: not a training state that can be read: {error}") from None
    differing = [
        f"{name} was {saved.get(name)!r}, now {value!r}"
        for name, value in settings.items()
        if saved.get(name) != value
    ]
    if differing:
        raise CheckpointError(
            f"{path}: cannot resume a run with other settings: {'; '.join(differing)}"
        )
    return state


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
