"""Batch normalisation over the batches of all processes, for the length of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convzoo.errors import InputError
from convzoo.transfer._freeze import is_frozen


@contextmanager
def synchronised_batch_norm(net: nn.Module, device: torch.device, processes: int) -> Iterator[None]:
    """Exchange the layers of batch normalisation for `nn.SyncBatchNorm`, and back again.

    Frozen ones stay: they take no statistics.

    Args:
        net: The network.
        device: Where it is going to train.
        processes: How many train it; one alone has nothing to synchronise.

    Raises:
        InputError: PyTorch cannot do it on that device.
    """
    if processes == 1:
        yield
        return
    if device.type == "cpu":
        raise InputError(
            "sync_batch_norm: PyTorch synchronises batch statistics on GPUs, these processes are "
            "on the CPU; leave it out (each process then normalises its own part of the batch), "
            "or take a network without batch normalisation"
        )
    with exchanged_batch_norm(net):
        yield


@contextmanager
def exchanged_batch_norm(net: nn.Module) -> Iterator[None]:
    """The exchange itself."""
    exchanged: list[tuple[nn.Module, str, _BatchNorm]] = []
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and not is_frozen(child):
                exchanged.append((parent, name, child))
                synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(child)  # type: ignore[no-untyped-call]
                setattr(parent, name, synchronised)
    try:
        yield
    finally:
        for parent, name, original in exchanged:
            # Parameters are the same objects in both; buffers are not once one has moved.
            original._buffers.update(parent.get_submodule(name)._buffers)
            original.training = parent.get_submodule(name).training
            setattr(parent, name, original)
