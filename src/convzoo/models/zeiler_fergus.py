"""ZFNet: AlexNet with smaller kernels and strides at the start, found by looking into AlexNet.

Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", 2013 (arXiv:1311.2901),
figure 3. AlexNet's first layer, 11 x 11 with stride 4, had learned many dead and few middle
frequencies, and its second layer showed aliasing; 7 x 7 with stride 2 keeps more.

Where `zfnet` departs from the paper, or the paper is silent:

- The paper prints maps of 110, 55, 26, 13, 13, 13, 13 and 6 pixels and no paddings. One pixel
  around the image and poolings that keep their last window give them.
- The numbers of the contrast normalisation across maps are not given; here they are AlexNet's.
- Dropout scales by 1 / (1 - p) in training, where the paper halves the weights at test time: the
  same expectation.
- Other image sizes are pooled to 6 x 6 before the first fully connected layer; at 224 pixels the
  maps are 6 x 6 already and the pooling does nothing.

In training the paper scales every filter whose root mean square exceeds 0.1 back to that; this is
the training's affair and not in the network. No weights of it are published for PyTorch.
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple, Unpack

import torch
from torch import Tensor, nn

from convzoo._build import BuildOptions
from convzoo._checks import check_counts, check_flags, check_probability
from convzoo._classifier import Classifier
from convzoo._construct import construct
from convzoo._contract import Stage
from convzoo.layers import LocalResponseNorm
from convzoo.presets import IMAGENET
from convzoo.registry import Paper, architecture


class _Conv(NamedTuple):
    """One row of the architecture: a convolution, ReLU, and what follows it."""

    filters: int
    kernel: int
    stride: int
    padding: int
    pool: bool = False  # overlapping max pooling, 3 x 3 with stride 2, follows
    norm: bool = False  # contrast normalisation follows the pooling


# fmt: off
_LAYERS: Final = (
    _Conv( 96, 7, 2, 1, pool=True, norm=True),  # 224 -> 110 -> 55
    _Conv(256, 5, 2, 0, pool=True, norm=True),  #         26 -> 13
    _Conv(384, 3, 1, 1),                        #         13
    _Conv(384, 3, 1, 1),                        #         13
    _Conv(256, 3, 1, 1, pool=True),             #         13 -> 6
)
# fmt: on
_HIDDEN: Final = 4096  # units of fc6 and of fc7
_GRID: Final = 6  # side of the map that fc6 sees


class ZFNetOptions(BuildOptions, total=False):
    """Options of `zfnet`."""

    dropout: float
    """Probability of dropping a unit of the fully connected layers, in [0, 1)."""
    inplace: bool
    """Let ReLU overwrite its input; False for hooks that look at it."""


class ZFNet(Classifier):
    """The network of the paper's figure 3.

    Args:
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        dropout: Probability of dropping an output of `fc6` and of `fc7`.
        inplace: Let ReLU overwrite its input.

    Examples:
        >>> import torch, convzoo
        >>> net = convzoo.zfnet(device="meta")
        >>> maps = net.intermediates(torch.zeros(1, 3, 224, 224, device="meta"))
        >>> [tuple(maps[name].shape[1:]) for name in ("conv1", "conv2", "pool5")]
        [(96, 110, 110), (256, 26, 26), (256, 6, 6)]
    """

    head_path: ClassVar[str] = "fc8"
    min_size = 47  # smaller images leave nothing for the last pooling

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.5,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_counts(num_classes=num_classes, in_channels=in_channels)
        check_flags(inplace=inplace)
        check_probability("dropout", dropout)
        stages: list[Stage] = []
        channels, reached = in_channels, 1
        for number, row in enumerate(_LAYERS, 1):
            conv = nn.Conv2d(channels, row.filters, row.kernel, row.stride, row.padding)
            channels, reached = row.filters, reached * row.stride
            self.add_module(f"conv{number}", conv)
            self.add_module(f"relu{number}", nn.ReLU(inplace))
            # A stage is read off the ReLU: in place, it overwrites what the convolution put out.
            stages.append(Stage(f"conv{number}", f"relu{number}", channels, reached))
            if row.pool:
                self.add_module(f"pool{number}", nn.MaxPool2d(3, stride=2, ceil_mode=True))
                reached *= 2
                stages.append(Stage(f"pool{number}", f"pool{number}", channels, reached))
            if row.norm:
                norm = LocalResponseNorm(5, 1e-4, 0.75, 2.0, alpha_mode="sum")
                self.add_module(f"norm{number}", norm)
        self.avgpool: nn.AdaptiveAvgPool2d = nn.AdaptiveAvgPool2d(_GRID)
        self.fc6: nn.Linear = nn.Linear(channels * _GRID * _GRID, _HIDDEN)
        self.relu6: nn.ReLU = nn.ReLU(inplace)
        self.drop6: nn.Dropout = nn.Dropout(dropout)
        self.fc7: nn.Linear = nn.Linear(_HIDDEN, _HIDDEN)
        self.relu7: nn.ReLU = nn.ReLU(inplace)
        self.drop7: nn.Dropout = nn.Dropout(dropout)
        self.fc8: nn.Linear = nn.Linear(_HIDDEN, num_classes)
        self.in_channels = in_channels
        self.num_features = channels
        self.stages: tuple[Stage, ...] = tuple(stages)
        self.reset_parameters()

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, 224, 224) -> (B, 256, 6, 6)."""
        self._check_input(x)
        for name, layer in self.named_children():  # they run in the order they are registered
            if name == "avgpool":  # here the head begins
                break
            x = layer(x)
        return x

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 256, h, w) -> class scores (B, num_classes), or (B, 4096)."""
        x = torch.flatten(self.avgpool(f), 1)  # (B, 9216)
        x = self.drop6(self.relu6(self.fc6(x)))  # (B, 4096)
        x = self.drop7(self.relu7(self.fc7(x)))  # (B, 4096)
        out: Tensor = x if pre_logits else self.fc8(x)
        return out

    def reset_parameters(self) -> None:
        """The paper's: weights 0.01 wide, here N(0, 0.01), biases zero."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


@architecture(
    ZFNet,
    Paper(
        "Visualizing and Understanding Convolutional Networks",
        2013,
        "https://arxiv.org/abs/1311.2901",
    ),
    IMAGENET,
    departs="paddings and the numbers of the normalisation, which the paper does not give",
)
def zfnet(*, weights: str | None = None, **options: Unpack[ZFNetOptions]) -> ZFNet:
    """ZFNet, AlexNet with a finer start; 62,357,608 parameters, 1.17 G multiply-adds."""
    return construct(zfnet, weights, options)
