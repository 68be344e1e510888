"""Whether a picture depends on what a network has learned.

Adebayo et al., "Sanity Checks for Saliency Maps", 2018 (arXiv:1810.03292).
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from convzoo._checks import check_count
from convzoo.errors import InputError
from convzoo.transfer._find_heads import unwrap

Net = TypeVar("Net", bound=nn.Module)


def randomise(net: Net, from_top: int | None = None, *, seed: int = 0) -> Net:
    """A copy of a network whose last layers have forgotten what they learned.

    A method whose picture stays the same for it shows the image and not the network
    (arXiv:1810.03292): Grad-CAM's changes, that of guided backpropagation hardly does.

    Args:
        net: The network; it stays as it is.
        from_top: Layers to fill afresh, counted from the head; None means all. Layers are modules
            with parameters of their own, in the order they are registered.
        seed: Of the fresh values; torch's global generator is left alone.

    Returns:
        The copy.

    Raises:
        InputError: `from_top` is more than the network has, or a layer does not know how to fill
            itself.

    Examples:
        >>> import convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.cifar_resnet20(weights="fashion_mnist")
        >>> other = visualize.randomise(net, from_top=1)
        >>> bool((other.fc.weight == net.fc.weight).all()), bool(
        ...     (other.conv1.weight == net.conv1.weight).all()
        ... )
        (False, True)
    """
    fresh = copy.deepcopy(unwrap(net))
    layers = [
        (name, module)
        for name, module in fresh.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    most = len(layers)
    count = most if from_top is None else check_count("from_top", from_top, least=0, most=most)
    devices = {p.device for p in fresh.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(sorted(devices, key=str)):
        torch.manual_seed(check_count("seed", seed, least=0, most=2**63 - 1))
        for name, module in layers[most - count :]:
            reset = getattr(module, "reset_parameters", None)
            if not callable(reset):
                raise InputError(
                    f"net: {name}, a {type(module).__name__}, has no reset_parameters(), so that "
                    "nothing says how to fill it afresh"
                )
            reset()
    return fresh  # type: ignore[return-value] # of the same class, out of its wrappers
