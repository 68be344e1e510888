"""What makes a step quicker: the layout in memory, the compiler, and the C library's allocator."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from convzoo.errors import ConvzooError, InputError

_MALLOPT: Final = {-3: 1 << 30, -1: 2**31 - 1}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD: bytes


class NoCompilerError(ConvzooError, RuntimeError):
    """`compile=True` found no compiler that works."""


def tune_allocator() -> bool:
    """Let the C library keep freed memory instead of handing it back after every step.

    Training on a CPU frees and takes the same large blocks in every step. glibc returns each to the
    operating system, which then clears it page by page; with its thresholds raised (`mallopt`) it
    keeps them. The process holds on to its largest amount of memory from then on, which is why
    nothing but `convzoo finetune` calls this by itself. GPUs have allocators of their own.

    Returns:
        Whether it was done: only glibc, the C library of most Linuxes, has these thresholds.

    Examples:
        >>> from convzoo import training
        >>> training.tune_allocator() in (True, False)
        True
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return False
    return all(library.mallopt(name, value) == 1 for name, value in _MALLOPT.items())


@contextmanager
def layout(
    net: nn.Module, wanted: bool | None, device: torch.device, *, sharded: bool
) -> Iterator[bool]:
    """The network's weights channels last in memory or not, and afterwards as they were.

    Args:
        net: The network.
        wanted: What the user said; None keeps a network that is channels last so, and of the
            others takes those for which it pays.
        device: Where it trains.
        sharded: Whether it is shared out, which FSDP2 does with contiguous weights only.

    Yields:
        Whether they are channels last.

    Raises:
        InputError: They cannot be.
    """
    if sharded:
        if wanted:
            raise InputError("channels_last: with sharded=True expected False or None, got True")
        yield False
        return
    before = _is_channels_last(net)
    if wanted is None:
        wanted = before or _pays(device)
    _lay(net, channels_last=wanted)
    try:
        yield wanted
    finally:
        _lay(net, channels_last=before)


def _pays(device: torch.device) -> bool:
    # Tensor cores take their images channels last.
    return device.type == "cuda"


def _is_channels_last(net: nn.Module) -> bool:
    return any(
        weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
        for weight in net.parameters()
        if weight.ndim == 4
    )


def _lay(net: nn.Module, *, channels_last: bool) -> None:
    form = torch.channels_last if channels_last else torch.contiguous_format
    for weight in net.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=form)
            if weight.grad is not None:
                weight.grad.data = weight.grad.data.contiguous(memory_format=form)


def compiled(model: nn.Module) -> Callable[[Tensor], Any]:
    """The model's forward pass, compiled when it is first called.

    Args:
        model: What Accelerate made of the network.

    Returns:
        What to call in its place.
    """
    from torch._dynamo.exc import TorchDynamoException

    faster = torch.compile(model)

    def forward(images: Tensor) -> Any:
        try:
            return faster(images)
        except TorchDynamoException as error:
            first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise NoCompilerError(
                "compile: torch.compile cannot compile this network here, for which a CPU needs a "
                "C++ compiler (g++, clang++ or cl) and a GPU Triton; leave compile out "
                f"({first_line})"
            ) from error

    return forward
