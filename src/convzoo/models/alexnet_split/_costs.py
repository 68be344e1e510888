"""What splitting AlexNet costs in communication, and what it saves in memory.

Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convzoo.models.alexnet_split._towers import Tower
from convzoo.models.alexnet_split._two_gpu import AlexNetTwoGPU


@dataclass(frozen=True)
class Exchange:
    """What would cross between the devices before a layer.

    Attributes:
        before: The layer that is to see both towers.
        bytes: Bytes that cross in the forward pass, both directions together.
        backward_bytes: Bytes of gradients that cross back.
        made: Whether this exchange takes place; where not, `bytes` is what the split saves.
    """

    before: str
    bytes: int
    backward_bytes: int
    made: bool


def communication(net: AlexNetTwoGPU, batch: int, size: int = 224) -> tuple[Exchange, ...]:
    """What crosses between the devices in a training step, and what would cross elsewhere.

    Before conv3 less crosses than before any other convolution after the first, which is why the
    paper's towers meet there; the fully connected layers need little.

    Args:
        net: The network.
        batch: Images a step.
        size: Side of the images in pixels.

    Returns:
        One record a layer, in running order. The images count as one copy to the second device.

    Examples:
        >>> from convzoo.models.alexnet_split import alexnet_two_gpu, communication
        >>> net = alexnet_two_gpu(("meta", "meta"))
        >>> for e in communication(net, batch=128):
        ...     print(f"{e.before:5}  {e.bytes / 1e6:5.1f} MB{'' if e.made else '  saved'}")
        conv1   77.1 MB
        conv2   35.8 MB  saved
        conv3   22.2 MB
        conv4   33.2 MB  saved
        conv5   33.2 MB  saved
        fc6      4.7 MB
        fc7      2.1 MB
        fc8      0.5 MB
    """
    plan = net._skeleton[0]
    x = torch.zeros(batch, plan.in_channels, size, size, device="meta")
    maps = plan.intermediates(x)
    # Each half crosses once: together what the layer before puts out.
    numbers = {
        "conv2": maps["pool1"].numel(),
        "conv3": maps["pool2"].numel(),
        "conv4": maps["conv3"].numel(),
        "conv5": maps["conv4"].numel(),
        "fc6": batch * plan.fc6.in_features,
        "fc7": batch * plan.fc7.in_features,
        "fc8": batch * plan.num_classes,  # only the second tower's scores
    }
    width = net.get_parameter("towers.0.fc6.weight").element_size()
    images = Exchange("conv1", x.numel() * width, 0, made=True)  # images need no gradient
    return images, *(
        Exchange(layer, number * width, number * width, layer not in ("conv2", "conv4", "conv5"))
        for layer, number in numbers.items()
    )


@dataclass(frozen=True)
class DeviceMemory:
    """What a device holds of a split network.

    Attributes:
        device: The device.
        parameters: Numbers that train.
        parameter_bytes: What they take; gradients and an optimizer take as much again, or more.
        activation_bytes: What a forward pass in training leaves there for the backward pass.
    """

    device: torch.device
    parameters: int
    parameter_bytes: int
    activation_bytes: int


def memory(net: AlexNetTwoGPU, batch: int, size: int = 224) -> tuple[DeviceMemory, DeviceMemory]:
    """What each device holds in a training step; about half of what one device would hold.

    A little more than half of the activations: the images, and the maps that are exchanged, are
    on both devices.

    Args:
        net: The network.
        batch: Images a step.
        size: Side of the images in pixels.

    Returns:
        A record for each device. Activations are counted without memory being used.
    """
    plan = net._skeleton[0]
    kind = net.get_parameter("towers.0.fc6.weight").dtype
    x = torch.zeros(batch, plan.in_channels, size, size, dtype=kind, device="meta")
    found: list[DeviceMemory] = []
    for index, (tower, device) in enumerate(zip(net.towers, net.devices, strict=True)):
        parameters = list(tower.parameters())
        found.append(
            DeviceMemory(
                device,
                sum(p.numel() for p in parameters),
                sum(p.numel() * p.element_size() for p in parameters),
                _kept_for_backward(Tower(plan, index).to(kind), (net.drop6, net.drop7), x),
            )
        )
    return found[0], found[1]


def _kept_for_backward(tower: Tower, drops: tuple[nn.Module, nn.Module], x: Tensor) -> int:
    """Bytes that a tower's forward pass keeps; the other tower's halves are its own, in shape."""
    own = {p.untyped_storage()._cdata for p in tower.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        f = tower("conv1", x)
        f = tower("conv3", f, f)
        h = drops[0](tower("fc6", f, f))
        h = drops[1](tower("fc7", h, h))
        tower("fc8", h)
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)
