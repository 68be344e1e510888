"""How many connections a network has: the measure of size that the LeNet-5 paper prints.

A connection is an input of a unit or its bias. Units of a map share their parameters, so that
there are many more connections than parameters.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from convzoo._classifier import Classifier
from convzoo.models.lenet.blocks import RBFOutput, SparseConv2d, Subsampling


def layer_connections(net: Classifier) -> dict[str, int]:
    """The connections of each layer, counted from the modules and the maps they put out.

    Convolutions, linear layers, LeNet's subsampling and its radial basis functions count. Pooling
    and normalisation without parameters of LeNet's kind have none.

    Args:
        net: A network; it runs once on the meta device at its smallest size, as a copy.

    Returns:
        Path of the layer -> connections, in running order.

    Examples:
        >>> import convzoo
        >>> from convzoo.models import layer_connections
        >>> layer_connections(convzoo.lenet5_1998())["c3"]
        151600
    """
    twin = copy.deepcopy(net).to("meta").eval()
    found: dict[str, int] = {}
    for path, module in twin.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, Subsampling, SparseConv2d, RBFOutput)):

            def count(module: nn.Module, _inputs: object, output: Tensor, path: str = path) -> None:
                found[path] = _count(module, output)

            module.register_forward_hook(count)
    side = twin.min_size
    dtype = next(twin.parameters()).dtype
    with torch.no_grad():
        twin(torch.zeros(1, twin.in_channels, side, side, dtype=dtype, device="meta"))
    return found


def connections(net: Classifier) -> int:
    """The connections of a whole network; 340,908 in the LeNet-5 of the paper.

    Args:
        net: As in [layer_connections][convzoo.models.layer_connections].

    Returns:
        Their number. The links of the output's radial basis functions count, as they do in the
        paper.
    """
    return sum(layer_connections(net).values())


def _count(module: nn.Module, output: Tensor) -> int:
    """Connections of a layer that put out `output`, (1, C, H, W) or (1, C)."""
    if isinstance(module, Subsampling):
        return output.numel() * (2 * 2 + 1)  # four inputs and a bias for each unit
    tensors: list[Tensor] = list(module.parameters(recurse=False))
    if isinstance(module, RBFOutput):
        tensors = [module.weight]  # a parameter or not, each of its numbers is a connection
    # Every parameter is used once at each position of the map.
    return sum(t.numel() for t in tensors) * output[0, 0].numel()
