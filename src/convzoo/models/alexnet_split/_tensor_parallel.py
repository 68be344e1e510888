"""AlexNet's two towers as two processes, under `torchrun --nproc-per-node 2`.

Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012, section 3.2; today this is called tensor parallelism. Built on
[DTensor](https://docs.pytorch.org/docs/stable/distributed.tensor.html): what a tower has computed
is a tensor sharded along its channels, what the other one needs is the full tensor, and DTensor
knows which collective that is, forwards and backwards.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from convzoo.errors import InputError
from convzoo.models.alexnet_split._towers import (
    AlexNetTowersOptions,
    SplitAlexNet,
    Tower,
    dropouts,
    single_network,
    split,
)
from convzoo.models.alexnets import AlexNet2012

if TYPE_CHECKING:  # a third of torch's own import time
    from torch.distributed.device_mesh import DeviceMesh


class AlexNetTensorParallel(SplitAlexNet):
    """One process's half of `alexnet_2012`; both together are that network.

    Every rank of the mesh is given the same images and returns the same scores, of all classes.
    The mesh's collectives are the paper's exchanges: an all-gather before conv3, fc6 and fc7, and
    a sum of the scores. After `backward()` each rank has the gradients of its own tower, from a
    loss that is counted once.

    Parameters are plain tensors, no rank holds one that another holds too, and their names are
    those of `AlexNetTwoGPU`: `split` of a single network's weights fits both.

    Dropout draws the masks of all 4096 units and keeps the tower's half: ranks that are seeded
    alike drop what the single network drops.

    Args:
        net: The network to split, with two towers; its weights are copied, this rank's half.
        mesh: One-dimensional, of two ranks.

    Attributes:
        towers: This rank's tower, under the name of its number.
        mesh: The mesh.

    Raises:
        InputError: The mesh is of another shape.
        CheckpointError: The network has one tower.
    """

    def __init__(self, net: AlexNet2012, mesh: DeviceMesh) -> None:
        super().__init__(net)
        _check_mesh(mesh)
        self.mesh: DeviceMesh = mesh
        self.index: int = mesh.get_local_rank()
        self.dropouts: tuple[float, float] = dropouts(net)
        self.towers: nn.ModuleDict = nn.ModuleDict({str(self.index): Tower(net, self.index)})
        self.load_single(net, assign=True)
        self.towers.to(mesh.device_type)  # with CUDA the current device, as torchrun's rank set it
        self.train(net.training)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, 224, 224) -> class scores (B, num_classes), the same on both."""
        self._skeleton[0]._check_input(x)
        tower = self.towers[str(self.index)]
        x = tower("conv1", x)  # (B, 128, 13, 13)
        x = tower("conv3", _whole(x, self.mesh, 1))  # (B, 128, 6, 6)
        x = tower("fc6", _whole(x, self.mesh, 1))  # (B, 2048)
        x = self._drop(x, self.dropouts[0])
        x = tower("fc7", _whole(x, self.mesh, 1))  # (B, 2048)
        x = self._drop(x, self.dropouts[1])
        return _whole(tower("fc8", x), self.mesh, None)  # (B, num_classes)

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...

    def load_single(self, net: AlexNet2012, *, assign: bool = False) -> None:
        """Take this rank's half of a single network's weights.

        Args:
            net: The network.
            assign: As in `load_state_dict`.
        """
        mine = f"towers.{self.index}."
        state = {key: value for key, value in split(net).items() if key.startswith(mine)}
        self.load_state_dict(state, assign=assign)

    def single(self) -> AlexNet2012:
        """The network in one piece; every rank of the mesh has to ask for it.

        Returns:
            An `alexnet_2012` with all weights, on every rank; keep it with `convzoo.save`, from
            one of them.
        """
        net = copy.deepcopy(self._skeleton[0])
        net.load_state_dict(gather(self), assign=True)
        return net.train(self.training)

    def _drop(self, half: Tensor, p: float) -> Tensor:
        """Drop units of (B, 2048), by this half of a mask for all 4096."""
        if not self.training or p == 0:
            return half
        mask = F.dropout(half.new_ones(half.shape[0], 2 * half.shape[1]), p)
        return half * mask.chunk(2, dim=1)[self.index]


def alexnet_tensor_parallel(
    mesh: DeviceMesh, *, weights: str | None = None, **options: Unpack[AlexNetTowersOptions]
) -> AlexNetTensorParallel:
    """AlexNet as in the paper, this process's tower of it; 60,965,224 parameters in both.

    Args:
        mesh: Two ranks in one dimension; of a two-dimensional mesh take `mesh["tower"]`, and the
            other dimension for data parallelism.
        weights: As in `alexnet_2012`; None initialises as the paper does, and ranks that are
            seeded alike then hold the halves of what the single network would have been.
        **options: `num_classes`, `in_channels`, `dropout`, `inplace`.

    Returns:
        The network, in training mode, on the mesh's device.

    Raises:
        InputError: The mesh is of another shape, or an option is out of range.
        UnknownNameError: There is no such option.

    Examples:
        Run by `torchrun --nproc-per-node 4`, two replicas of two towers:

            mesh = init_device_mesh("cuda", (2, 2), mesh_dim_names=("data", "tower"))
            net = alexnet_tensor_parallel(mesh["tower"])
            net = DistributedDataParallel(net, process_group=mesh["data"].get_group())
    """
    _check_mesh(mesh)
    single = single_network("alexnet_tensor_parallel", weights, options)
    return AlexNetTensorParallel(single, mesh)


def gather(net: AlexNetTensorParallel) -> dict[str, Tensor]:
    """The single network's state dict; a collective: every rank of the mesh has to call it.

    Args:
        net: This rank's half.

    Returns:
        All weights, on every rank, as `alexnet_2012` names them.
    """
    own = net.towers[str(net.index)].state_dict()
    dims = {name: 1 if name == "fc8.weight" else 0 for name in own if name != "fc8.bias"}
    state = {name: _whole(own[name], net.mesh, dim) for name, dim in dims.items()}
    # The bias is the first tower's; the second adds zeros.
    bias = own.get("fc8.bias", own["fc8.weight"].new_zeros(net.num_classes))
    return {**state, "fc8.bias": _whole(bias, net.mesh, None)}


def _whole(own: Tensor, mesh: DeviceMesh, dim: int | None) -> Tensor:
    """What both ranks have, put together along `dim`; or added up, where that is None."""
    from torch.distributed.tensor import DTensor, Partial, Placement, Shard

    placement: Placement = Partial() if dim is None else Shard(dim)
    # Backwards: what a tower makes of both halves is its part only of the loss's dependence on
    # them, so that gradients add up, in a reduce-scatter. From the scores on both ranks compute
    # the same loss, which counts once: there gradients pass as they are.
    grads: list[Placement] | None = None if dim is None else [Partial()]
    whole = DTensor.from_local(own, mesh, [placement], run_check=False)
    return whole.full_tensor(grad_placements=grads)


def _check_mesh(mesh: DeviceMesh) -> None:
    if mesh.ndim != 1 or mesh.size() != 2:
        names = mesh.mesh_dim_names
        hint = f"; take mesh[{names[-1]!r}] of it" if mesh.ndim > 1 and names else ""
        raise InputError(
            f"mesh: expected one dimension of 2 ranks, one a tower, got {tuple(mesh.shape)}{hint}"
        )
