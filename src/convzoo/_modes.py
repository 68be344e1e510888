"""Training and evaluation mode, module by module: kept, restored, and evaluation for a while.

Each module's own flag is set, never by `train()` or `eval()`: frozen parts override those.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from convzoo.errors import InputError


@contextmanager
def kept_modes(net: nn.Module) -> Iterator[None]:
    """Put every module of `net` back into the mode that it was in."""
    modes = [(module, module.training) for module in net.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def evaluation(net: nn.Module) -> Iterator[None]:
    """Have every module of `net` in evaluation mode, and put it back into its own."""
    with kept_modes(net):
        for module in net.modules():
            module.training = False
        yield


def check_network(net: object) -> None:
    """Refuse what is no network.

    Raises:
        InputError: It is none.
    """
    if not isinstance(net, nn.Module):
        raise InputError(f"net: expected a torch.nn.Module, got {net!r:.80}")
