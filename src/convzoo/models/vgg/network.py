"""VGG: 3 x 3 convolutions only, 11 to 19 layers deep.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014
(arXiv:1409.1556), configurations A, A-LRN, B, C, D and E. State-dict keys and shapes are
torchvision's where it has the network.

Where this departs from the paper:

- The default initialisation is torchvision's: He's normal rule by fan-out in the convolutions,
  N(0, 0.01) in the linear layers. `paper_init=True` is the paper's N(0, 0.1), a variance of 0.01
  (often misread as a standard deviation of 0.01). The paper starts only configuration A from it,
  and the deeper ones from A's first four convolutions and fully connected layers: class scores
  begin at some 1e6 in `vgg11` and 1e8 in `vgg16`.
- The `_bn` forms, with batch normalisation after every convolution, came later (2015).
- Other image sizes than 224 pixels are pooled to 7 x 7 before the fully connected layers. The
  paper evaluates larger images densely: `to_fully_convolutional` does that.
- Presets divide by the standard deviation; the paper subtracts the mean only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Unpack

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
from convzoo.presets import IMAGENET, Preset
from convzoo.registry import Paper, architecture

_WIDTHS: Final = (64, 128, 256, 512, 512)  # filters of each block
_HIDDEN: Final = 4096  # units of fc6 and fc7

# Kernel sizes of each block's convolutions; max pooling 2 x 2 ends a block.
_A: Final = ((3,), (3,), (3, 3), (3, 3), (3, 3))
_B: Final = ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3))
_C: Final = ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1))
_D: Final = ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
_E: Final = ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3))


class VGGOptions(BuildOptions, total=False):
    """Options that every VGG builder takes."""

    dropout: float
    """Probability of dropping an output of the first two fully connected layers, in [0, 1)."""
    widths: Sequence[int]
    """Filters of each of the five blocks; the paper's are 64, 128, 256, 512, 512."""
    hidden: int
    """Units of the first two fully connected layers; the paper's 4096 are for 1,000 classes."""
    grid: int
    """Side of the map that the first of them sees: 7 at 224 pixels; 1 suits images of 32."""
    paper_init: bool
    """Draw weights from N(0, 0.1) as in the paper, instead of torchvision's initialisation."""
    inplace: bool
    """Let ReLU overwrite its input; False for hooks that look at it."""


class VGG(Classifier):
    """Blocks of 3 x 3 convolutions, each ended by max pooling, and three fully connected layers.

    A stage `block1` ... is read after its pooling, at strides 2, 4, 8, 16 and 32.

    Args:
        blocks: Kernel sizes (odd) of each block's convolutions.
        widths: Filters of each block.
        hidden: Units of the first two fully connected layers.
        grid: Side of the map that the first fully connected layer sees; other sizes are pooled.
        batch_norm: Normalise after every convolution.
        local_response_norm: Normalise across channels after the first convolution (A-LRN).
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        dropout: Probability of dropping an output of the first two fully connected layers.
        paper_init: The paper's initialisation instead of torchvision's.
        inplace: Let ReLU overwrite its input.

    Examples:
        >>> import torch
        >>> from convzoo.models import VGG
        >>> net = VGG([(3,), (3, 3)], widths=(8, 16), hidden=32, grid=7, num_classes=10)
        >>> net(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 10])
    """

    head_path: ClassVar[str] = "classifier.6"

    def __init__(
        self,
        blocks: Sequence[Sequence[int]],
        *,
        widths: Sequence[int] = _WIDTHS,
        hidden: int = _HIDDEN,
        grid: int = 7,
        batch_norm: bool = False,
        local_response_norm: bool = False,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.5,
        paper_init: bool = False,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        if len(blocks) != len(widths) or not blocks:
            raise InputError(
                f"widths: expected one number a block, {len(blocks)}, got {tuple(widths)}"
            )
        check_counts(num_classes=num_classes, in_channels=in_channels, hidden=hidden, grid=grid)
        check_counts(**{f"widths[{i}]": width for i, width in enumerate(widths)})
        check_flags(
            batch_norm=batch_norm,
            local_response_norm=local_response_norm,
            paper_init=paper_init,
            inplace=inplace,
        )
        check_probability("dropout", dropout)
        self.paper_init = paper_init
        self.hidden: int = hidden
        layers: list[nn.Module] = []
        stages: list[Stage] = []
        channels = in_channels
        for number, (kernels, width) in enumerate(zip(blocks, widths, strict=True), 1):
            for kernel in kernels:
                layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace))
                if local_response_norm and channels == in_channels and number == 1:
                    layers.append(LocalResponseNorm(5, 1e-4, 0.75, 2.0, alpha_mode="sum"))
                channels = width
            # The pooled map is no ReLU's input, so nothing overwrites what a stage returns.
            layers.append(nn.MaxPool2d(2))
            stages.append(Stage(f"block{number}", f"features.{len(layers) - 1}", width, 2**number))
        self.features: nn.Sequential = nn.Sequential(*layers)
        self.avgpool: nn.AdaptiveAvgPool2d = nn.AdaptiveAvgPool2d(grid)
        self.classifier: nn.Sequential = nn.Sequential(
            nn.Linear(channels * grid * grid, hidden),
            nn.ReLU(inplace),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        self.in_channels = in_channels
        self.num_features = channels
        self.grid = grid
        self.min_size: int = 2 ** len(blocks)  # every block halves the map
        self.stages: tuple[Stage, ...] = tuple(stages)
        self.reset_parameters()

    @classmethod
    def preset_for(cls, preset: Preset, options: Mapping[str, Any]) -> Preset:
        """With a smaller grid, images that fill it."""
        return preset.small_images(32 * options["grid"]) if "grid" in options else preset

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 512, H / 32, W / 32)."""
        self._check_input(x)
        return self._run(x, self.features)

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 512, h, w) -> class scores (B, num_classes), or (B, 4096)."""
        x = torch.flatten(self.avgpool(f), 1)  # (B, 25088)
        out: Tensor = self.classifier[:-1](x) if pre_logits else self.classifier(x)
        return out

    def reset_parameters(self) -> None:
        """As torchvision initialises, or with `paper_init` N(0, 0.1); biases start at zero."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                if self.paper_init:
                    nn.init.normal_(module.weight, std=0.1)
                elif isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                elif self.hidden == _HIDDEN:
                    nn.init.normal_(module.weight, std=0.01)
                else:  # 0.01 suits 4096 inputs; narrower layers would shrink the signal to nothing
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


_PAPER: Final = Paper(
    "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    2014,
    "https://arxiv.org/abs/1409.1556",
)
_INIT: Final = "initialised as torchvision does; paper_init=True for the paper's"
_BN: Final = "batch normalisation, which the paper does not have; initialised as torchvision does"


@architecture(VGG, _PAPER, IMAGENET, departs=_INIT, blocks=_A)
def vgg11(*, weights: _tags.Vgg11 | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-11, configuration A; 132,863,336 parameters, 7.61 G multiply-adds."""
    return construct(vgg11, weights, options)


@architecture(VGG, _PAPER, IMAGENET, departs=_INIT, blocks=_A, local_response_norm=True)
def vgg11_lrn(*, weights: str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-11 with local response normalisation, configuration A-LRN; 132,863,336 parameters."""
    return construct(vgg11_lrn, weights, options)


@architecture(VGG, _PAPER, IMAGENET, departs=_INIT, blocks=_B)
def vgg13(*, weights: _tags.Vgg13 | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-13, configuration B; 133,047,848 parameters, 11.31 G multiply-adds."""
    return construct(vgg13, weights, options)


@architecture(VGG, _PAPER, IMAGENET, departs=_INIT, blocks=_C)
def vgg16_1x1(*, weights: str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-16 with 1 x 1 convolutions, configuration C; 133,638,952 parameters."""
    return construct(vgg16_1x1, weights, options)


@architecture(VGG, _PAPER, IMAGENET, departs=_INIT, blocks=_D)
def vgg16(*, weights: _tags.Vgg16 | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-16, configuration D; 138,357,544 parameters, 15.47 G multiply-adds."""
    return construct(vgg16, weights, options)


@architecture(VGG, _PAPER, IMAGENET, departs=_INIT, blocks=_E)
def vgg19(*, weights: _tags.Vgg19 | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-19, configuration E; 143,667,240 parameters, 19.63 G multiply-adds."""
    return construct(vgg19, weights, options)


@architecture(VGG, _PAPER, IMAGENET, departs=_BN, blocks=_A, batch_norm=True)
def vgg11_bn(*, weights: _tags.Vgg11Bn | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-11 with batch normalisation; 132,868,840 parameters, 7.61 G multiply-adds."""
    return construct(vgg11_bn, weights, options)


@architecture(VGG, _PAPER, IMAGENET, departs=_BN, blocks=_B, batch_norm=True)
def vgg13_bn(*, weights: _tags.Vgg13Bn | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-13 with batch normalisation; 133,053,736 parameters, 11.31 G multiply-adds."""
    return construct(vgg13_bn, weights, options)


@architecture(VGG, _PAPER, IMAGENET, departs=_BN, blocks=_D, batch_norm=True)
def vgg16_bn(*, weights: _tags.Vgg16Bn | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-16 with batch normalisation; 138,365,992 parameters, 15.47 G multiply-adds."""
    return construct(vgg16_bn, weights, options)


@architecture(VGG, _PAPER, IMAGENET, departs=_BN, blocks=_E, batch_norm=True)
def vgg19_bn(*, weights: _tags.Vgg19Bn | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-19 with batch normalisation; 143,678,248 parameters, 19.63 G multiply-adds."""
    return construct(vgg19_bn, weights, options)
