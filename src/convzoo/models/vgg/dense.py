"""Dense evaluation: a VGG whose fully connected layers are convolutions."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from convzoo._classifier import Classifier
from convzoo._contract import Stage
from convzoo._heads import DropoutConv2d, DropoutLinear
from convzoo.errors import InputError
from convzoo.models.vgg.network import VGG
from convzoo.presets import Preset


class FullyConvolutionalVGG(Classifier):
    """A VGG whose fully connected layers are convolutions: it scores every 7 x 7 patch of the map.

    Made by [to_fully_convolutional][convzoo.models.to_fully_convolutional].

    Args:
        net: The network to copy.
    """

    head_path: ClassVar[str] = "classifier.6"

    def __init__(self, net: VGG) -> None:
        super().__init__()
        self.features: nn.Sequential = copy.deepcopy(net.features)
        fc6, relu6, drop6, fc7, relu7, drop7, fc8 = net.classifier
        self.classifier: nn.Sequential = nn.Sequential(
            _as_conv(fc6, net.grid),
            copy.deepcopy(relu6),
            copy.deepcopy(drop6),
            _as_conv(fc7, 1),
            copy.deepcopy(relu7),
            copy.deepcopy(drop7),
            _as_conv(fc8, 1),
        )
        self.in_channels: int = net.in_channels
        self.num_features: int = net.num_features
        self.min_size: int = net.grid * net.stages[-1].stride
        self.stages: tuple[Stage, ...] = net.stages
        self.preset: Preset | None = net.preset
        self.labels = net.labels
        self.train(net.training)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 512, H / 32, W / 32)."""
        self._check_input(x)
        return self._run(x, self.features)

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 512, h, w) -> class scores averaged over the positions, or (B, 4096) likewise."""
        # The last layer is linear: the mean of its scores is its score of the mean.
        out: Tensor = self.classifier[:-1](f) if pre_logits else self.classifier(f)
        return out.mean((2, 3))  # (B, C, h - 6, w - 6) -> (B, C)

    def score_map(self, x: Tensor) -> Tensor:
        """The class scores of every position, before they are averaged.

        Args:
            x: Images, (B, in_channels, H, W), of at least 224 pixels.

        Returns:
            (B, num_classes, H / 32 - 6, W / 32 - 6): one position for each 7 x 7 patch of the map.
        """
        out: Tensor = self.classifier(self.forward_features(x))
        return out

    def reset_parameters(self) -> None:
        """As torchvision initialises the linear form of the same layers; biases start at zero."""
        for part, std in ((self.features, None), (self.classifier, 0.01)):
            for module in part.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.reset_parameters()
                elif isinstance(module, nn.Conv2d):
                    if std is None:
                        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                    else:
                        nn.init.normal_(module.weight, std=std)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)


def to_fully_convolutional(net: VGG) -> FullyConvolutionalVGG:
    """Turn a VGG into a network that is evaluated densely on images of any size.

    The first fully connected layer becomes a 7 x 7 convolution, the others 1 x 1 ones, and the
    map of class scores is averaged: section 3.2 of the paper, for one image and one scale. (The
    paper averages with the mirrored image too.) At 224 pixels the scores are the plain network's.

    Args:
        net: Any VGG, with any head. It is left as it is; the parameters are copied.

    Returns:
        A network in the same mode and dtype, on the same device.

    Raises:
        InputError: `net` is not a VGG.

    Examples:
        >>> import torch
        >>> from convzoo.models import VGG, to_fully_convolutional
        >>> net = VGG([(3,), (3,)], widths=(4, 8), hidden=16, num_classes=10).eval()
        >>> dense = to_fully_convolutional(net)
        >>> image = torch.randn(1, 3, 40, 36)
        >>> dense(image).shape, dense.score_map(image).shape
        (torch.Size([1, 10]), torch.Size([1, 10, 4, 3]))
    """
    if not isinstance(net, VGG):
        raise InputError(f"net: expected a VGG, got {type(net).__name__}")
    return FullyConvolutionalVGG(net)


def _as_conv(layer: nn.Module, kernel: int) -> nn.Conv2d:
    """The convolution that computes what a linear layer computes of a `kernel` x `kernel` map."""
    if not isinstance(layer, nn.Linear):
        raise InputError(f"net: expected linear layers in its head, got {type(layer).__name__}")
    channels, width = layer.in_features // kernel**2, layer.out_features
    has_bias = layer.bias is not None
    conv: nn.Conv2d
    with torch.device("meta"):
        if isinstance(layer, DropoutLinear):  # only ever the last layer, whose kernel is 1 x 1
            conv = DropoutConv2d(channels, width, layer.p, bias=has_bias)
        else:
            conv = nn.Conv2d(channels, width, kernel, bias=has_bias)
    state = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    state["weight"] = state["weight"].view(width, channels, kernel, kernel)
    conv.load_state_dict(state, assign=True)
    for name, parameter in layer.named_parameters():  # what was frozen stays frozen
        conv.get_parameter(name).requires_grad_(parameter.requires_grad)
    return conv
