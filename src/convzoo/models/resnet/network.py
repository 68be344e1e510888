"""Residual networks: a stem, stages of residual blocks, global average pooling, one linear layer.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015 (arXiv:1512.03385);
"Identity Mappings in Deep Residual Networks", 2016 (arXiv:1603.05027).

Where this departs from the papers:

- Convolutions are initialised with He's normal rule by fan-out, as torchvision does; the paper
  uses fan-in. (The variance kept is that of the gradients instead of that of the activations.)
- `resnet50` and deeper stride in the 3x3 convolution (v1.5); the paper strides in the first 1x1.
  `resnet50_v1` and its kin are the paper's.
- The paper's networks see inputs with the per-pixel mean subtracted; presets subtract the
  per-channel mean and divide by the standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from convzoo.errors import InputError
from convzoo.layers import DropBlockConfig
from convzoo.models.resnet.blocks import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    PreActBasicBlock,
    PreActBottleneck,
    Shortcut,
    StrideIn,
)
from convzoo.models.resnet.residual import (
    Place,
    ResidualNetwork,
    ResNetOptions,
    Stem,
    check_choices,
)


class ResNet(ResidualNetwork):
    """A network of post-activation blocks: ResNet, its plain twin, ResNeXt, wide ResNet.

    State-dict keys and shapes are torchvision's.

    Args:
        block: `PlainBlock`, `BasicBlock` or `Bottleneck`.
        layers: Blocks per stage.
        widths: Filters per stage; a bottleneck puts out four times as many.
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        groups: Groups of the 3x3 convolutions (bottlenecks only).
        base_width: Filters per group at width 64 (bottlenecks only).
        stem: `"imagenet"`, or `"small"` for images of 28 to 64 pixels.
        shortcut: The paper's option A, B or C.
        stride_in: Which convolution of a bottleneck strides.
        zero_init_residual: Start each residual branch at zero.
        drop_block: DropBlock in the last two stages: its configuration, that as a mapping, or its
            rate. Placed as in its official code: after every normalisation and on the shortcut,
            with a quarter of the rate in the stage before the last.
        drop_path: Probability of skipping the last block, in [0, 1); it rises linearly from the
            first (stochastic depth).
        dropout: Probability of dropping an input of the last layer.
        inplace: Let ReLU and the additions overwrite their input.

    Examples:
        >>> import torch
        >>> from convzoo.models import BasicBlock, ResNet
        >>> net = ResNet(BasicBlock, [1, 1], widths=(8, 16), stem="small", num_classes=5)
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        block: type[PlainBlock | BasicBlock | Bottleneck],
        layers: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        num_classes: int = 1000,
        in_channels: int = 3,
        groups: int = 1,
        base_width: int = 64,
        stem: Stem = "imagenet",
        shortcut: Shortcut = "B",
        stride_in: StrideIn = "3x3",
        zero_init_residual: bool = False,
        drop_block: DropBlockConfig | Mapping[str, Any] | float | None = None,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_choices(shortcut, stride_in, layers, widths)
        if issubclass(block, PlainBlock) and (drop_path or zero_init_residual):
            raise InputError("drop_path, zero_init_residual: a plain network has no branches")
        self.zero_init_residual = zero_init_residual
        self._make_stem(stem, in_channels, widths[0], inplace)

        def make(place: Place) -> nn.Module:
            if issubclass(block, Bottleneck):
                return block(
                    place.channels,
                    place.width,
                    place.stride,
                    shortcut=shortcut,
                    groups=groups,
                    base_width=base_width,
                    stride_in=stride_in,
                    drop_block=place.drop_block,
                    drop_path=place.drop_path,
                    inplace=inplace,
                )
            if issubclass(block, BasicBlock):
                return block(
                    place.channels,
                    place.width,
                    place.stride,
                    shortcut=shortcut,
                    drop_block=place.drop_block,
                    drop_path=place.drop_path,
                    inplace=inplace,
                )
            return block(
                place.channels,
                place.width,
                place.stride,
                drop_block=place.drop_block,
                inplace=inplace,
            )

        channels = self._make_stages(make, layers, widths, block.expansion, drop_block, drop_path)
        self._make_head(channels, num_classes, dropout)
        self.reset_parameters()

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, num_features, H / 32, W / 32) with the usual stem."""
        return self._forward_stages(x)

    def _zero_branch(self, block: nn.Module) -> None:
        if isinstance(block, Bottleneck):
            nn.init.zeros_(block.bn3.weight)
        elif isinstance(block, BasicBlock):
            nn.init.zeros_(block.bn2.weight)


class PreActResNet(ResidualNetwork):
    """A network of pre-activation blocks, with one more BN-ReLU after the last addition.

    The first block takes the stem's activated output as it is: BN and ReLU come right after the
    first convolution, before the branch splits off, as in the authors' code.

    Args:
        block: `PreActBasicBlock` or `PreActBottleneck`.
        layers: Blocks per stage.
        widths: Filters per stage; a bottleneck puts out four times as many.
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        stem: `"imagenet"`, or `"small"` for images of 28 to 64 pixels.
        shortcut: The paper's option A, B or C.
        stride_in: Which convolution of a bottleneck strides; the paper's is the first 1x1.
        zero_init_residual: Start each residual branch at zero. A pre-activation branch ends in a
            convolution, so that is what starts at zero here.
        drop_block: DropBlock in the last two stages: its configuration, that as a mapping, or its
            rate. Placed as in its official code: after every normalisation and on the shortcut,
            with a quarter of the rate in the stage before the last.
        drop_path: Probability of skipping the last block, in [0, 1); it rises linearly from the
            first (stochastic depth).
        dropout: Probability of dropping an input of the last layer.
        inplace: Let ReLU and the additions overwrite their input.
    """

    def __init__(
        self,
        block: type[PreActBasicBlock | PreActBottleneck],
        layers: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: Stem = "imagenet",
        shortcut: Shortcut = "B",
        stride_in: StrideIn = "1x1",
        zero_init_residual: bool = False,
        drop_block: DropBlockConfig | Mapping[str, Any] | float | None = None,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_choices(shortcut, stride_in, layers, widths)
        self.zero_init_residual = zero_init_residual
        self._make_stem(stem, in_channels, widths[0], inplace)

        def make(place: Place) -> nn.Module:
            if issubclass(block, PreActBottleneck):
                return block(
                    place.channels,
                    place.width,
                    place.stride,
                    shortcut=shortcut,
                    stride_in=stride_in,
                    first=place.first,
                    drop_block=place.drop_block,
                    drop_path=place.drop_path,
                    inplace=inplace,
                )
            return block(
                place.channels,
                place.width,
                place.stride,
                shortcut=shortcut,
                first=place.first,
                drop_block=place.drop_block,
                drop_path=place.drop_path,
                inplace=inplace,
            )

        channels = self._make_stages(make, layers, widths, block.expansion, drop_block, drop_path)
        self.bn_last: nn.BatchNorm2d = nn.BatchNorm2d(channels)
        self.relu_last: nn.ReLU = nn.ReLU(inplace)
        self._make_head(channels, num_classes, dropout)
        self.reset_parameters()

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, num_features, H / 32, W / 32) with the usual stem."""
        x = self._forward_stages(x)
        x = self.relu_last(self.bn_last(x))
        return x

    def _zero_branch(self, block: nn.Module) -> None:
        if isinstance(block, PreActBottleneck):
            nn.init.zeros_(block.conv3.weight)
        elif isinstance(block, PreActBasicBlock):
            nn.init.zeros_(block.conv2.weight)


__all__ = ["PreActResNet", "ResNet", "ResNetOptions", "Stem"]
