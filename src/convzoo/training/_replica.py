"""How a network is spread over the processes that train it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer

from convzoo._classifier import Classifier
from convzoo._stages import inside, stage_paths

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


class Replica:
    """Each process trains a whole copy; DistributedDataParallel averages the gradients.

    Args:
        net: The user's network.

    Attributes:
        net: The user's network.
        trained: What learns. Here it is the same object.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net: nn.Module = net
        self.trained: nn.Module = net

    def pull(self) -> None:
        """Bring what was learned into `net`, the same on every process; all have to call it."""
        _broadcast(self.net.buffers())  # each process has batch statistics of its own

    def push(self) -> None:
        """Bring the weights of `net` into what learns."""

    def sync_gradients(self, wanted: bool) -> None:
        """Whether the next backward pass is to share its gradients out."""

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The optimizer's state, for the first process to keep; all have to ask for it."""
        return optimizer.state_dict()

    def load_optimizer_state(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        """Put a state back, laid out in memory as the weights are: fused steps need that."""
        optimizer.load_state_dict(state)
        for weight, kept in _bare(optimizer).state.items():
            for name, value in kept.items():
                if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                    kept[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


class ShardedReplica(Replica):
    """Each process holds a share of every weight, gradient and optimizer state (FSDP2).

    The user's network goes to the CPU, where there is room for all of it, and gets the weights
    after every epoch: a module cannot be made whole again once `fully_shard` has been at it.

    Args:
        net: The user's network.
        device: Where to train.
        processes: How many share it.
    """

    def __init__(self, net: nn.Module, device: torch.device, processes: int) -> None:
        from torch.distributed.device_mesh import init_device_mesh

        super().__init__(net)
        # FSDP2 takes only contiguous parameters, which those of channels_last are not.
        whole = copy.deepcopy(net.to("cpu")).to(memory_format=torch.contiguous_format)
        # What each process initialised at random would give a network of unrelated shares.
        for tensor in whole.state_dict().values():
            sent = tensor.to(device)  # one at a time: all of them may not fit there
            _broadcast([sent])
            tensor.copy_(sent)
        self.trained = shard(whole, init_device_mesh(device.type, (processes,)))

    def pull(self) -> None:
        from torch.distributed.tensor import DTensor

        _broadcast(self.trained.buffers())
        targets = self.net.state_dict()
        with torch.no_grad():
            for name, value in self.trained.state_dict().items():  # one at a time, to save memory
                targets[name].copy_(value.full_tensor() if isinstance(value, DTensor) else value)

    def push(self) -> None:
        from torch.distributed.tensor import DTensor, distribute_tensor

        sources = self.net.state_dict()
        with torch.no_grad():
            for name, value in self.trained.state_dict().items():
                source = sources[name].to(value.device)
                if isinstance(value, DTensor):
                    source = distribute_tensor(source, value.device_mesh, value.placements)
                value.copy_(source)

    def sync_gradients(self, wanted: bool) -> None:
        self.trained.set_requires_gradient_sync(wanted)  # type: ignore[operator] # FSDPModule's

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            get_optimizer_state_dict,
        )

        # An evaluation leaves the outermost parameters whole; the optimizer knows their shares.
        self.trained.reshard()  # type: ignore[operator] # FSDPModule's
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_optimizer_state_dict(self.trained, _bare(optimizer), options=options)

    def load_optimizer_state(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            set_optimizer_state_dict,
        )

        options = StateDictOptions(full_state_dict=True)
        set_optimizer_state_dict(self.trained, _bare(optimizer), state, options=options)


def shard(net: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Share the parameters of a network out, in place, stage by stage.

    Each stage is gathered when it is about to run and let go after it: that much of the network
    is whole on a device at a time.

    Args:
        net: The network; what is shared out goes to the mesh's device.
        mesh: One-dimensional.

    Returns:
        The same object, now an `FSDPModule` as well.
    """
    from torch.distributed.fsdp import fully_shard

    if isinstance(net, Classifier):
        for stage in net.stages:
            modules = _with_parameters(net, stage_paths(net, stage.name))
            if modules:
                fully_shard(modules, mesh=mesh)
    fully_shard(net, mesh=mesh)  # the rest: heads, and all of a network that names no stages
    return net


def _broadcast(tensors: Iterable[torch.Tensor]) -> None:
    """Give every process what the first one has."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def _with_parameters(net: nn.Module, paths: Sequence[str]) -> list[nn.Module]:
    """The outermost of these modules, as far as there is something in them to share out."""
    outermost = (p for p in paths if not any(p != q and inside(p, q) for q in paths))
    modules = (net.get_submodule(path) for path in outermost)
    return [module for module in modules if any(True for _ in module.parameters())]


def _bare(optimizer: Any) -> Optimizer:
    """The optimizer that Accelerate has wrapped."""
    inner: Optimizer = getattr(optimizer, "optimizer", optimizer)
    return inner
