"""The network itself: blocks of convolutions and three fully connected layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from convzoo._build import BuildOptions, option_names, small_images
from convzoo._checks import check_probability
from convzoo._classifier import Classifier, Stage
from convzoo.errors import InputError
from convzoo.layers import LocalResponseNorm
from convzoo.presets import Preset

_WIDTHS: Final = (64, 128, 256, 512, 512)  # filters of each block
_HIDDEN: Final = 4096  # units of fc6 and fc7


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
    option_names: ClassVar[frozenset[str]] = option_names(VGGOptions)

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
        return small_images(preset, 32 * options["grid"]) if "grid" in options else preset

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 512, H / 32, W / 32)."""
        self._check_input(x)
        out: Tensor = self.features(x)
        return out

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
