"""The places for tensors in a network: listed, compared with a file's, and filled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor, nn


def mismatch(
    expected: Mapping[str, Iterable[int]], found: Mapping[str, Iterable[int]]
) -> str | None:
    """What keeps a checkpoint from fitting a network: every key at once.

    Args:
        expected: Shape by key, of the network.
        found: Shape by key, of the checkpoint.

    Returns:
        Missing, unexpected and wrongly shaped keys in one text; None if all fits.
    """
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    shaped = [
        f"{key}: network {tuple(expected[key])}, checkpoint {tuple(found[key])}"
        for key in expected
        if key in found and tuple(expected[key]) != tuple(found[key])
    ]
    parts = [
        f"  {len(keys)} {kind}: " + _few(keys, separator)
        for kind, keys, separator in (
            ("missing", missing, ", "),
            ("unexpected", unexpected, ", "),
            ("wrongly shaped", shaped, "; "),
        )
        if keys
    ]
    return "\n".join(parts) or None


def _few(items: list[str], separator: str, most: int = 20) -> str:
    shown = separator.join(items[:most])
    return f"{shown}{separator}and {len(items) - most} more" if len(items) > most else shown


class Slot(NamedTuple):
    """A place for a tensor in a network.

    Attributes:
        module: The layer that has it.
        name: Its name there.
        tensor: What is there now.
        fixed: Whether it is a buffer that no checkpoint holds.
    """

    module: nn.Module
    name: str
    tensor: Tensor
    fixed: bool


def slots(net: nn.Module) -> dict[str, Slot]:
    """Every place for a tensor in a network, by key, in the order of its state dict.

    Args:
        net: A network.

    Returns:
        Key -> place.
    """
    found: dict[str, Slot] = {}
    for path, module in net.named_modules():
        prefix = f"{path}." if path else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                found[prefix + name] = Slot(module, name, parameter, False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                fixed = name in module._non_persistent_buffers_set
                found[prefix + name] = Slot(module, name, buffer, fixed)
    return found


def assign(places: Mapping[str, Slot], tensors: Mapping[str, Tensor]) -> None:
    """Put tensors into a network without copying them.

    This is `load_state_dict(assign=True)` for keys and shapes that are known to match, at a
    quarter of its time.

    Args:
        places: The network's places, from `slots`.
        tensors: One for each of them.
    """
    for key, (module, name, old, _) in places.items():
        if isinstance(old, nn.Parameter):
            module._parameters[name] = nn.Parameter(tensors[key], old.requires_grad)
        else:
            module._buffers[name] = tensors[key]
