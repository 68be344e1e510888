"""Inception modules: the naive and the reduced one of GoogLeNet, and A to E of Inception-v3.

Szegedy et al., "Going Deeper with Convolutions", 2014 (arXiv:1409.4842), and "Rethinking the
Inception Architecture for Computer Vision", 2015 (arXiv:1512.00567).

Every module runs a few branches on the same input and concatenates their channels. Submodule
names are torchvision's, so that its checkpoints load as they are.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_Size = int | tuple[int, int]


class ConvUnit(nn.Module):
    """Convolution, batch normalisation where there is any, ReLU.

    Args:
        in_channels: Channels that come in.
        out_channels: Filters.
        kernel_size: Side of the kernel, or (height, width).
        stride: Step of the kernel.
        padding: Zeros around the map, or (rows, columns).
        batch_norm: Normalise (eps 1e-3, as the Inception networks do) instead of adding a bias.
        inplace: Let ReLU overwrite its input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Size,
        *,
        stride: int = 1,
        padding: _Size = 0,
        batch_norm: bool = True,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        self.conv: nn.Conv2d = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            bias=not batch_norm,
        )
        self.bn: nn.BatchNorm2d | None = (
            nn.BatchNorm2d(out_channels, eps=0.001) if batch_norm else None
        )
        self.relu: nn.ReLU = nn.ReLU(inplace)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H', W')."""
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        x = self.relu(x)
        return x


def same_conv(
    in_channels: int,
    filters: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    batch_norm: bool,
    inplace: bool,
) -> ConvUnit:
    """A unit that keeps the map's size at stride 1."""
    return ConvUnit(
        in_channels,
        filters,
        kernel,
        stride=stride,
        padding=kernel // 2,
        batch_norm=batch_norm,
        inplace=inplace,
    )


class _Module(nn.Module):
    """What all Inception modules share: they know their width, and their call is typed."""

    out_channels: int

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor:
            """(B, in_channels, H, W) -> (B, out_channels, H', W')."""
            ...


# --- GoogLeNet (v1) ---------------------------------------------------------------------------


class InceptionNaive(_Module):
    """The naive module (Fig. 2a): 1x1, 3x3 and 5x5 convolutions and max pooling side by side.

    The pooling passes all its channels on, so that the map grows wider with every module; the
    reduced module is the paper's answer. No network of the zoo uses this one.

    Args:
        in_channels: Channels that come in.
        ch1x1: Filters of the 1x1 convolution.
        ch3x3: Filters of the 3x3 convolution.
        ch5x5: Filters of the 5x5 convolution.
        batch_norm: Batch-normalise every convolution; the paper does not.
        inplace: Let ReLU overwrite its input.

    Examples:
        >>> import torch
        >>> from convzoo.models import InceptionNaive
        >>> InceptionNaive(192, 64, 128, 32)(torch.zeros(1, 192, 28, 28)).shape
        torch.Size([1, 416, 28, 28])
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3: int,
        ch5x5: int,
        *,
        batch_norm: bool = False,
        inplace: bool = True,
    ) -> None:
        super().__init__()

        conv = functools.partial(same_conv, in_channels, batch_norm=batch_norm, inplace=inplace)
        self.branch1: ConvUnit = conv(ch1x1, 1)
        self.branch2: ConvUnit = conv(ch3x3, 3)
        self.branch3: ConvUnit = conv(ch5x5, 5)
        self.branch4: nn.MaxPool2d = nn.MaxPool2d(3, stride=1, padding=1)
        self.out_channels: int = ch1x1 + ch3x3 + ch5x5 + in_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, ch1x1 + ch3x3 + ch5x5 + in_channels, H, W)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionReduced(_Module):
    """The module of GoogLeNet (Fig. 2b): 1x1 convolutions narrow what the larger ones see.

    The arguments stand in the order of the paper's Table 1.

    Args:
        in_channels: Channels that come in.
        ch1x1: Filters of the 1x1 branch.
        ch3x3_reduce: Filters of the 1x1 convolution before the 3x3.
        ch3x3: Filters of the 3x3 convolution.
        ch5x5_reduce: Filters of the 1x1 convolution before the 5x5.
        ch5x5: Filters of the 5x5 convolution.
        pool_proj: Filters of the 1x1 convolution after the max pooling.
        batch_norm: Batch-normalise every convolution; the paper does not.
        kernel5: Side of the "5x5" kernel: 5, or 3 for torchvision's networks, whose third branch
            was ported with a 3x3 and is kept so for the sake of its weights
            (github.com/pytorch/vision/issues/906).
        inplace: Let ReLU overwrite its input.

    Examples:
        >>> import torch
        >>> from convzoo.models import InceptionReduced
        >>> InceptionReduced(192, 64, 96, 128, 16, 32, 32)(torch.zeros(1, 192, 28, 28)).shape
        torch.Size([1, 256, 28, 28])
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3_reduce: int,
        ch3x3: int,
        ch5x5_reduce: int,
        ch5x5: int,
        pool_proj: int,
        *,
        batch_norm: bool = False,
        kernel5: int = 5,
        inplace: bool = True,
    ) -> None:
        super().__init__()

        conv = functools.partial(same_conv, batch_norm=batch_norm, inplace=inplace)
        self.branch1: ConvUnit = conv(in_channels, ch1x1)
        self.branch2: nn.Sequential = nn.Sequential(
            conv(in_channels, ch3x3_reduce), conv(ch3x3_reduce, ch3x3, 3)
        )
        self.branch3: nn.Sequential = nn.Sequential(
            conv(in_channels, ch5x5_reduce), conv(ch5x5_reduce, ch5x5, kernel5)
        )
        self.branch4: nn.Sequential = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), conv(in_channels, pool_proj)
        )
        self.out_channels: int = ch1x1 + ch3x3 + ch5x5 + pool_proj

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, ch1x1 + ch3x3 + ch5x5 + pool_proj, H, W)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


# --- Inception-v3 -----------------------------------------------------------------------------


def _average(x: Tensor) -> Tensor:
    """3x3 average pooling that keeps the size; zeros of the padding count, as in the original."""
    return F.avg_pool2d(x, 3, stride=1, padding=1)


class InceptionA(_Module):
    """Module A of Inception-v3 (Fig. 5), at 35 x 35: two 3x3 convolutions beside one 5x5.

    Args:
        in_channels: Channels that come in.
        pool_features: Filters of the 1x1 convolution after the average pooling.
        inplace: Let ReLU overwrite its input.
    """

    def __init__(self, in_channels: int, pool_features: int, *, inplace: bool = True) -> None:
        super().__init__()
        self.branch1x1: ConvUnit = ConvUnit(in_channels, 64, 1, inplace=inplace)
        self.branch5x5_1: ConvUnit = ConvUnit(in_channels, 48, 1, inplace=inplace)
        self.branch5x5_2: ConvUnit = ConvUnit(48, 64, 5, padding=2, inplace=inplace)
        self.branch3x3dbl_1: ConvUnit = ConvUnit(in_channels, 64, 1, inplace=inplace)
        self.branch3x3dbl_2: ConvUnit = ConvUnit(64, 96, 3, padding=1, inplace=inplace)
        self.branch3x3dbl_3: ConvUnit = ConvUnit(96, 96, 3, padding=1, inplace=inplace)
        self.branch_pool: ConvUnit = ConvUnit(in_channels, pool_features, 1, inplace=inplace)
        self.out_channels: int = 64 + 64 + 96 + pool_features

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 224 + pool_features, H, W)."""
        one = self.branch1x1(x)
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pool = self.branch_pool(_average(x))
        return torch.cat([one, five, double, pool], 1)


class InceptionB(_Module):
    """Module B of Inception-v3 (Fig. 10), 35 x 35 to 17 x 17: convolutions and pooling stride.

    Args:
        in_channels: Channels that come in.
        inplace: Let ReLU overwrite its input.
    """

    def __init__(self, in_channels: int, *, inplace: bool = True) -> None:
        super().__init__()
        self.branch3x3: ConvUnit = ConvUnit(in_channels, 384, 3, stride=2, inplace=inplace)
        self.branch3x3dbl_1: ConvUnit = ConvUnit(in_channels, 64, 1, inplace=inplace)
        self.branch3x3dbl_2: ConvUnit = ConvUnit(64, 96, 3, padding=1, inplace=inplace)
        self.branch3x3dbl_3: ConvUnit = ConvUnit(96, 96, 3, stride=2, inplace=inplace)
        self.out_channels: int = 384 + 96 + in_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 480 + in_channels, (H - 1) // 2, (W - 1) // 2)."""
        three = self.branch3x3(x)
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pool = F.max_pool2d(x, 3, stride=2)
        return torch.cat([three, double, pool], 1)


class InceptionC(_Module):
    """Module C of Inception-v3 (Fig. 6), at 17 x 17: 7x7 convolutions as 1x7 and 7x1.

    Args:
        in_channels: Channels that come in.
        channels_7x7: Filters inside the 7x7 branches.
        inplace: Let ReLU overwrite its input.
    """

    def __init__(self, in_channels: int, channels_7x7: int, *, inplace: bool = True) -> None:
        super().__init__()
        c7 = channels_7x7

        def row(channels: int, filters: int) -> ConvUnit:
            return ConvUnit(channels, filters, (1, 7), padding=(0, 3), inplace=inplace)

        def column(channels: int, filters: int) -> ConvUnit:
            return ConvUnit(channels, filters, (7, 1), padding=(3, 0), inplace=inplace)

        self.branch1x1: ConvUnit = ConvUnit(in_channels, 192, 1, inplace=inplace)
        self.branch7x7_1: ConvUnit = ConvUnit(in_channels, c7, 1, inplace=inplace)
        self.branch7x7_2: ConvUnit = row(c7, c7)
        self.branch7x7_3: ConvUnit = column(c7, 192)
        self.branch7x7dbl_1: ConvUnit = ConvUnit(in_channels, c7, 1, inplace=inplace)
        self.branch7x7dbl_2: ConvUnit = column(c7, c7)
        self.branch7x7dbl_3: ConvUnit = row(c7, c7)
        self.branch7x7dbl_4: ConvUnit = column(c7, c7)
        self.branch7x7dbl_5: ConvUnit = row(c7, 192)
        self.branch_pool: ConvUnit = ConvUnit(in_channels, 192, 1, inplace=inplace)
        self.out_channels = 4 * 192

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 768, H, W)."""
        one = self.branch1x1(x)
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pool = self.branch_pool(_average(x))
        return torch.cat([one, seven, double, pool], 1)


class InceptionD(_Module):
    """Module D of Inception-v3 (Fig. 10), 17 x 17 to 8 x 8: convolutions and pooling stride.

    Args:
        in_channels: Channels that come in.
        inplace: Let ReLU overwrite its input.
    """

    def __init__(self, in_channels: int, *, inplace: bool = True) -> None:
        super().__init__()
        self.branch3x3_1: ConvUnit = ConvUnit(in_channels, 192, 1, inplace=inplace)
        self.branch3x3_2: ConvUnit = ConvUnit(192, 320, 3, stride=2, inplace=inplace)
        self.branch7x7x3_1: ConvUnit = ConvUnit(in_channels, 192, 1, inplace=inplace)
        self.branch7x7x3_2: ConvUnit = ConvUnit(192, 192, (1, 7), padding=(0, 3), inplace=inplace)
        self.branch7x7x3_3: ConvUnit = ConvUnit(192, 192, (7, 1), padding=(3, 0), inplace=inplace)
        self.branch7x7x3_4: ConvUnit = ConvUnit(192, 192, 3, stride=2, inplace=inplace)
        self.out_channels: int = 320 + 192 + in_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 512 + in_channels, (H - 1) // 2, (W - 1) // 2)."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_2(self.branch7x7x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(seven))
        pool = F.max_pool2d(x, 3, stride=2)
        return torch.cat([three, seven, pool], 1)


class InceptionE(_Module):
    """Module E of Inception-v3 (Fig. 7), at 8 x 8: 3x3 convolutions spread into 1x3 and 3x1.

    Args:
        in_channels: Channels that come in.
        inplace: Let ReLU overwrite its input.
    """

    def __init__(self, in_channels: int, *, inplace: bool = True) -> None:
        super().__init__()

        def row() -> ConvUnit:
            return ConvUnit(384, 384, (1, 3), padding=(0, 1), inplace=inplace)

        def column() -> ConvUnit:
            return ConvUnit(384, 384, (3, 1), padding=(1, 0), inplace=inplace)

        self.branch1x1: ConvUnit = ConvUnit(in_channels, 320, 1, inplace=inplace)
        self.branch3x3_1: ConvUnit = ConvUnit(in_channels, 384, 1, inplace=inplace)
        self.branch3x3_2a: ConvUnit = row()
        self.branch3x3_2b: ConvUnit = column()
        self.branch3x3dbl_1: ConvUnit = ConvUnit(in_channels, 448, 1, inplace=inplace)
        self.branch3x3dbl_2: ConvUnit = ConvUnit(448, 384, 3, padding=1, inplace=inplace)
        self.branch3x3dbl_3a: ConvUnit = row()
        self.branch3x3dbl_3b: ConvUnit = column()
        self.branch_pool: ConvUnit = ConvUnit(in_channels, 192, 1, inplace=inplace)
        self.out_channels = 320 + 4 * 384 + 192

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 2048, H, W)."""
        one = self.branch1x1(x)
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pool = self.branch_pool(_average(x))
        return torch.cat(
            [
                one,
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                pool,
            ],
            1,
        )
