"""The feature maps of several stages as one module, for detection and segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from convzoo._contract import Contract
from convzoo.errors import InputError, UnknownNameError


class FeatureExtractor(nn.Module):
    """What [create_feature_extractor][convzoo.create_feature_extractor] returns.

    Attributes:
        body: The network's layers up to the last stage that is read, under its own names.
        channels: Channels of each map, in the order of the keys.
    """

    def __init__(self, body: nn.Module, channels: list[int]) -> None:
        super().__init__()
        self.body: nn.Module = body
        self.channels: list[int] = channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (B, C, H, W) -> key -> feature map."""
        maps: dict[str, Tensor] = self.body(x)
        return maps

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> dict[str, Tensor]:
            """Images (B, C, H, W) -> key -> feature map."""
            ...


def create_feature_extractor(
    net: Contract, return_nodes: Sequence[str] | Mapping[str, str] | None = None
) -> FeatureExtractor:
    """A module that returns a dictionary of feature maps, as torchvision's detectors take it.

    torchvision's function of this name does the work; here stages are named as in `net.stages`,
    and keys are `"0"`, `"1"` and so on unless they are given.

    Args:
        net: A network. The module shares its parameters.
        return_nodes: Stages to read, or stage -> key; None reads all.

    Returns:
        The module; `channels` are what `FeaturePyramidNetwork` takes as `in_channels_list`.

    Raises:
        UnknownNameError: A name is not one of `net.stages`.

    Examples:
        >>> import torch, convzoo
        >>> from torchvision.ops import FeaturePyramidNetwork
        >>> body = convzoo.create_feature_extractor(convzoo.resnet18(), ["layer3", "layer4"])
        >>> pyramid = FeaturePyramidNetwork(body.channels, 64)
        >>> maps = pyramid(body(torch.zeros(1, 3, 64, 64)))
        >>> {key: tuple(f.shape) for key, f in maps.items()}
        {'0': (1, 64, 4, 4), '1': (1, 64, 2, 2)}
    """
    from torchvision.models.feature_extraction import create_feature_extractor as extractor

    if not isinstance(net, Contract):
        raise InputError(
            f"net: expected one of convzoo's networks, got {type(net).__name__}; for others there "
            "is torchvision.models.feature_extraction.create_feature_extractor"
        )
    stages = {stage.name: stage for stage in net.stages}
    names = list(stages if return_nodes is None else return_nodes)
    for name in names:
        if name not in stages:
            raise UnknownNameError("stage", name, stages)
    keys = return_nodes if isinstance(return_nodes, Mapping) else {}
    nodes = {stages[name].module: keys.get(name, str(i)) for i, name in enumerate(names)}
    # Not the head, of which torchvision would warn where it differs in training mode.
    body = extractor(net, nodes)
    return FeatureExtractor(body, [stages[name].channels for name in names])
