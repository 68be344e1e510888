"""AlexNet: five convolutions and three fully connected layers.

Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012, and Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014
(arXiv:1404.5997).

`alexnet_2012` is the paper's network, its two towers (one a GPU then) as groups of one network.
`alexnet` is the single tower of 2014 as torchvision has it, with torchvision's state-dict keys.

Where `alexnet_2012` departs from the paper, or the paper from itself:

- The paper crops 224 x 224 pixels and prints maps of 55 x 55 after the first convolution, which
  224 pixels without padding do not give (54). The authors' cuda-convnet rounds up: the last
  window hangs over the right and lower edge. Here 3 zero rows and columns stand there, which is
  the same; with 227 pixels, as Caffe crops them, no window reaches the zeros.
- The paper prints 253,440 neurons in the first layer; 96 maps of 55 x 55 are 290,400.
- Local response normalisation stays inside a tower. The formula's N is the layer's maps; the
  towers exchange maps only before conv3 and the fully connected layers, so on one GPU it is that
  GPU's maps. Caffe, with one GPU, normalises across both groups.
- Its alpha of 1e-4 was chosen for pixels of 0 to 255 with their mean taken off. The preset also
  divides them by their deviation, some 58, so that a fresh network's normalisation is little more
  than a division by k^beta = 1.68 until its activations grow.
- Dropout scales by 1 / (1 - p) in training, where the paper halves the outputs at test time: the
  same expectation.
- Other image sizes than 224 and 227 pixels are pooled to 6 x 6 before the first fully connected
  layer; at those two sizes the maps are 6 x 6 already and the pooling does nothing.

Where `alexnet` departs from both papers, as torchvision does: no normalisation layers, no
groups, 256 filters in conv4 (the footnote of 2014 lists 384, its parameter count fits 256),
dropout before the first two fully connected layers instead of after them, PyTorch's default
initialisation.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, NamedTuple, Unpack

import torch
from torch import Tensor, nn

from convzoo import _tags
from convzoo._build import BuildOptions
from convzoo._checks import check_counts, check_flags, check_probability
from convzoo._classifier import Classifier
from convzoo._construct import construct
from convzoo._contract import Stage
from convzoo.errors import InputError
from convzoo.layers import LocalResponseNorm
from convzoo.presets import IMAGENET
from convzoo.registry import Paper, architecture


class _Conv(NamedTuple):
    """One row of an architecture: a convolution, ReLU, and what follows it."""

    filters: int
    kernel: int
    stride: int
    padding: int
    split: bool = False  # each tower sees its own maps only
    norm: bool = False  # local response normalisation follows
    pool: bool = False  # overlapping max pooling, 3 x 3 with stride 2, follows
    bias: float = 0.0  # what the biases start at


# fmt: off
_ONE_TOWER: Final = (
    _Conv( 64, 11, 4, 2, pool=True),  # 224 -> 55 -> 27
    _Conv(192,  5, 1, 2, pool=True),  #        27 -> 13
    _Conv(384,  3, 1, 1),             #        13
    _Conv(256,  3, 1, 1),             #        13
    _Conv(256,  3, 1, 1, pool=True),  #        13 -> 6
)
_TWO_TOWERS: Final = (
    _Conv( 96, 11, 4, 0, norm=True, pool=True),                        # 224 -> 55 -> 27
    _Conv(256,  5, 1, 2, split=True, norm=True, pool=True, bias=1.0),  #        27 -> 13
    _Conv(384,  3, 1, 1),                                              #        13
    _Conv(384,  3, 1, 1, split=True, bias=1.0),                        #        13
    _Conv(256,  3, 1, 1, split=True, pool=True, bias=1.0),             #        13 -> 6
)
# fmt: on
_HIDDEN: Final = 4096  # units of fc6 and of fc7
_GRID: Final = 6  # side of the map that fc6 sees


class AlexNetOptions(BuildOptions, total=False):
    """Options of `alexnet`."""

    dropout: float
    """Probability of dropping a unit of the fully connected layers, in [0, 1)."""
    inplace: bool
    """Let ReLU overwrite its input; False for hooks that look at it."""


class AlexNet2012Options(AlexNetOptions, total=False):
    """Options of `alexnet_2012`."""

    towers: Literal[1, 2]
    """2 as in the paper; 1 connects every map to every map (62,378,344 parameters)."""
    lrn: bool
    """Local response normalisation, as in the paper (1.4 points of top-1 there)."""
    overlapping_pool: bool
    """Pool 3 x 3 pixels every 2, as in the paper (0.4 points there); else 2 x 2 every 2."""


class AlexNet(Classifier):
    """The single tower of 2014, as torchvision has it.

    State-dict keys and shapes are torchvision's. Other sizes than 224 pixels are pooled to 6 x 6
    before the fully connected layers.

    Args:
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        dropout: Probability of dropping an input of the first two fully connected layers.
        inplace: Let ReLU overwrite its input.

    Examples:
        >>> import torch, convzoo
        >>> net = convzoo.alexnet(num_classes=10)
        >>> net(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """

    head_path: ClassVar[str] = "classifier.6"
    min_size = 63  # smaller images leave nothing for the last pooling

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
        layers: list[nn.Module] = []
        stages: list[Stage] = []
        channels, reached = in_channels, 1
        for number, row in enumerate(_ONE_TOWER, 1):
            layers.append(nn.Conv2d(channels, row.filters, row.kernel, row.stride, row.padding))
            layers.append(nn.ReLU(inplace))
            channels, reached = row.filters, reached * row.stride
            # A stage is read off the ReLU: in place, it overwrites what the convolution put out.
            path = f"features.{len(layers) - 1}"
            stages.append(Stage(f"conv{number}", path, channels, reached))
            if row.pool:
                layers.append(nn.MaxPool2d(3, stride=2))
                reached *= 2
                path = f"features.{len(layers) - 1}"
                stages.append(Stage(f"pool{number}", path, channels, reached))
        self.features: nn.Sequential = nn.Sequential(*layers)
        self.avgpool: nn.AdaptiveAvgPool2d = nn.AdaptiveAvgPool2d(_GRID)
        self.classifier: nn.Sequential = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(channels * _GRID * _GRID, _HIDDEN),
            nn.ReLU(inplace),
            nn.Dropout(dropout),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(inplace),
            nn.Linear(_HIDDEN, num_classes),
        )
        self.in_channels = in_channels
        self.num_features = channels
        self.stages: tuple[Stage, ...] = tuple(stages)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, 224, 224) -> (B, 256, 6, 6)."""
        self._check_input(x)
        return self._run(x, self.features)

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 256, h, w) -> class scores (B, num_classes), or (B, 4096)."""
        x = torch.flatten(self.avgpool(f), 1)  # (B, 9216)
        out: Tensor = self.classifier[:-1](x) if pre_logits else self.classifier(x)
        return out

    def reset_parameters(self) -> None:
        """PyTorch's default initialisation, as torchvision leaves it."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.reset_parameters()


class TowerNorm(nn.Module):
    """Local response normalisation by the paper's formula, in each tower by itself.

    Args:
        towers: Parts that the channels fall into; each is normalised without the others.
    """

    def __init__(self, towers: int) -> None:
        super().__init__()
        self.towers: int = towers
        self.norm: LocalResponseNorm = LocalResponseNorm(5, 1e-4, 0.75, 2.0, alpha_mode="sum")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if self.towers == 1:
            return self.norm(x)
        parts = x.chunk(self.towers, dim=1)  # by index: torch.fx cannot iterate over them
        return torch.cat([self.norm(parts[tower]) for tower in range(self.towers)], dim=1)

    def extra_repr(self) -> str:
        """What `print(net)` shows of the layer."""
        return f"towers={self.towers}"


class AlexNet2012(Classifier):
    """The network of the paper, its towers as groups of one network.

    The first half of every layer's maps, and of the units of `fc6` and `fc7`, is the first tower.
    `conv2`, `conv4` and `conv5` see their own tower's maps only; `conv3` and the fully connected
    layers see all.

    Args:
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        dropout: Probability of dropping an output of `fc6` and of `fc7`.
        towers: 2 as in the paper; 1 connects every map to every map.
        lrn: Local response normalisation after the first two convolutions, as in the paper.
        overlapping_pool: Pool 3 x 3 pixels every 2, as in the paper; else 2 x 2.
        inplace: Let ReLU overwrite its input.

    Examples:
        >>> import torch, convzoo
        >>> with torch.device("meta"):
        ...     net, x = convzoo.alexnet_2012(), torch.zeros(1, 3, 224, 224)
        >>> tuple(net.intermediates(x)["conv1"].shape)
        (1, 96, 55, 55)
    """

    head_path: ClassVar[str] = "fc8"
    min_size: int = 64  # smaller images leave nothing for the last pooling

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.5,
        towers: Literal[1, 2] = 2,
        lrn: bool = True,
        overlapping_pool: bool = True,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_counts(num_classes=num_classes, in_channels=in_channels)
        check_flags(inplace=inplace, lrn=lrn, overlapping_pool=overlapping_pool)
        check_probability("dropout", dropout)
        if towers not in (1, 2):
            raise InputError(f"towers: expected 1 or 2, got {towers!r}")
        self.towers: int = towers
        if not overlapping_pool:
            self.min_size = 36
        self.pad: nn.ZeroPad2d = nn.ZeroPad2d(
            (0, 3, 0, 3)
        )  # to the right and below; see the top of this file
        stages: list[Stage] = []
        channels, reached = in_channels, 1
        for number, row in enumerate(_TWO_TOWERS, 1):
            groups = towers if row.split else 1
            conv = nn.Conv2d(
                channels, row.filters, row.kernel, row.stride, row.padding, groups=groups
            )
            channels, reached = row.filters, reached * row.stride
            self.add_module(f"conv{number}", conv)
            self.add_module(f"relu{number}", nn.ReLU(inplace))
            # A stage is read off the ReLU: in place, it overwrites what the convolution put out.
            stages.append(Stage(f"conv{number}", f"relu{number}", channels, reached))
            if row.norm and lrn:
                self.add_module(f"norm{number}", TowerNorm(towers))
            if row.pool:
                window = 3 if overlapping_pool else 2  # 13 -> 6 either way
                self.add_module(f"pool{number}", nn.MaxPool2d(window, stride=2))
                reached *= 2
                stages.append(Stage(f"pool{number}", f"pool{number}", channels, reached))
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
        names = [name for name, _ in self.named_children()]  # in the order they run
        body = names[: names.index("avgpool")]  # where the head begins
        return self._run(x, *(getattr(self, name) for name in body))

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 256, h, w) -> class scores (B, num_classes), or (B, 4096)."""
        x = torch.flatten(self.avgpool(f), 1)  # (B, 9216)
        x = self.drop6(self.relu6(self.fc6(x)))  # (B, 4096)
        x = self.drop7(self.relu7(self.fc7(x)))  # (B, 4096)
        out: Tensor = x if pre_logits else self.fc8(x)
        return out

    def reset_parameters(self) -> None:
        """The paper's: N(0, 0.01), biases one in conv2, conv4, conv5, fc6 and fc7, else zero.

        The ones feed the ReLUs of those layers with positive inputs from the start.
        """
        biases = {f"conv{number}": row.bias for number, row in enumerate(_TWO_TOWERS, 1)}
        biases |= {"fc6": 1.0, "fc7": 1.0, "fc8": 0.0}
        for name, bias in biases.items():
            layer = self.get_submodule(name)
            if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.constant_(layer.bias, bias)


@architecture(
    AlexNet,
    Paper(
        "One weird trick for parallelizing convolutional neural networks",
        2014,
        "https://arxiv.org/abs/1404.5997",
    ),
    IMAGENET,
    departs="256 filters in conv4, no normalisation, dropout before the fully connected layers, "
    "PyTorch's initialisation",
)
def alexnet(
    *, weights: _tags.Alexnet | str | None = None, **options: Unpack[AlexNetOptions]
) -> AlexNet:
    """AlexNet in one tower, torchvision's; 61,100,840 parameters, 714 M multiply-adds."""
    return construct(alexnet, weights, options)


@architecture(
    AlexNet2012,
    Paper(
        "ImageNet Classification with Deep Convolutional Neural Networks",
        2012,
        "https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks",
    ),
    IMAGENET,
    family="AlexNet",
    departs="both towers on one device; local response normalisation stays inside a tower",
)
def alexnet_2012(
    *, weights: str | None = None, **options: Unpack[AlexNet2012Options]
) -> AlexNet2012:
    """AlexNet as in the paper, in two towers; 60,965,224 parameters, 724 M multiply-adds."""
    return construct(alexnet_2012, weights, options)
