"""Residual blocks: plain, post-activation and pre-activation, and their shortcuts.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015 (arXiv:1512.03385), and
"Identity Mappings in Deep Residual Networks", 2016 (arXiv:1603.05027).

Submodule names are torchvision's, so that its checkpoints load as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from convzoo._checks import check_probability
from convzoo.layers import DropBlock2d

Shortcut = Literal["A", "B", "C"]
"""How a shortcut changes its dimensions: A pads with zeros, B projects where the dimensions
change, C projects everywhere."""

StrideIn = Literal["1x1", "3x3"]
"""Which convolution of a bottleneck strides: the first 1x1 (the paper, "v1") or the 3x3 ("v1.5",
as torchvision, fb.resnet.torch and ResNeXt do; half a point more accurate, 6 % more work)."""


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size at stride 1; batch normalisation brings the bias."""
    return nn.Conv2d(
        in_channels, out_channels, 3, stride=stride, padding=1, groups=groups, bias=False
    )


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


class PaddedShortcut(nn.Module):
    """Shortcut option A: subsample, then pad the new channels with zeros. No parameters.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out, at least as many.
        stride: Step of the subsampling.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride: int = stride
        self.extra_channels: int = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride)."""
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.extra_channels))

    def extra_repr(self) -> str:
        """What `print(net)` shows of the layer."""
        return f"stride={self.stride}, extra_channels={self.extra_channels}"


def _stochastic_depth(drop_path: float) -> nn.Module:
    """Torchvision's layer, or the identity where it would be one and cost its import."""
    if check_probability("drop_path", drop_path) == 0.0:
        return nn.Identity()
    from torchvision.ops import StochasticDepth

    layer: nn.Module = StochasticDepth(drop_path, "row")
    return layer


def make_shortcut(
    option: Shortcut, in_channels: int, out_channels: int, stride: int, *, normalise: bool = True
) -> nn.Module | None:
    """The layer on a shortcut, or None where the identity will do.

    Args:
        option: The paper's option A, B or C.
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        stride: Stride of the block.
        normalise: Batch-normalise a projection (post-activation blocks do; in pre-activation
            ones the projection's input is normalised already).

    Returns:
        A module with torchvision's `downsample` keys, or None for the identity.
    """
    changes = stride != 1 or in_channels != out_channels
    if option == "C" or (option == "B" and changes):
        projection = conv1x1(in_channels, out_channels, stride)
        if normalise:
            return nn.Sequential(projection, nn.BatchNorm2d(out_channels))
        return projection
    return PaddedShortcut(in_channels, out_channels, stride) if changes else None


class _Block(nn.Module):
    """What all blocks share: the type of a call, and the addition."""

    expansion: ClassVar[int] = 1

    out_channels: int
    inplace: bool
    drop_block: nn.Module
    drop_path: nn.Module

    def __init__(self, drop_block: DropBlock2d | None, drop_path: float) -> None:
        super().__init__()
        self.drop_block = drop_block or nn.Identity()
        self.drop_path = _stochastic_depth(drop_path)

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor:
            """(B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride)."""
            ...

    def _add(self, out: Tensor, identity: Tensor) -> Tensor:
        # In place saves a map's worth of memory, but a hook on the last layer of the branch
        # would then see the sum instead of that layer's output.
        return out.add_(identity) if self.inplace else out + identity


class PlainBlock(_Block):
    """Two 3x3 convolutions without a shortcut: what the residual block is compared with.

    Args:
        in_channels: Channels that come in.
        width: Filters of the 3x3 convolutions.
        stride: Stride of the first convolution.
        drop_block: DropBlock after each normalisation, one layer for all; it has no state.
        inplace: Let ReLU overwrite its input.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        drop_block: DropBlock2d | None = None,
        inplace: bool = True,
    ) -> None:
        super().__init__(drop_block, 0.0)
        self.conv1: nn.Conv2d = conv3x3(in_channels, width, stride)
        self.bn1: nn.BatchNorm2d = nn.BatchNorm2d(width)
        self.relu: nn.ReLU = nn.ReLU(inplace)
        self.conv2: nn.Conv2d = conv3x3(width, width)
        self.bn2: nn.BatchNorm2d = nn.BatchNorm2d(width)
        self.out_channels = width
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width, H / stride, W / stride)."""
        out: Tensor = self.drop_block(self.relu(self.bn1(self.conv1(x))))
        out = self.drop_block(self.relu(self.bn2(self.conv2(out))))
        return out


class BasicBlock(_Block):
    """The residual block of ResNet-18 and -34: two 3x3 convolutions and a shortcut.

    Args:
        in_channels: Channels that come in.
        width: Filters of the 3x3 convolutions.
        stride: Stride of the first convolution.
        shortcut: The paper's option A, B or C.
        drop_block: DropBlock after each normalisation and on the shortcut, one layer for all; it
            has no state.
        drop_path: Probability that an image skips the residual branch (stochastic depth).
        inplace: Let ReLU and the addition overwrite their input.

    Examples:
        >>> import torch
        >>> from convzoo.models import BasicBlock
        >>> BasicBlock(64, 128, stride=2)(torch.zeros(1, 64, 56, 56)).shape
        torch.Size([1, 128, 28, 28])
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        shortcut: Shortcut = "B",
        drop_block: DropBlock2d | None = None,
        drop_path: float = 0.0,
        inplace: bool = True,
    ) -> None:
        super().__init__(drop_block, drop_path)
        self.conv1: nn.Conv2d = conv3x3(in_channels, width, stride)
        self.bn1: nn.BatchNorm2d = nn.BatchNorm2d(width)
        self.relu: nn.ReLU = nn.ReLU(inplace)
        self.conv2: nn.Conv2d = conv3x3(width, width)
        self.bn2: nn.BatchNorm2d = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = make_shortcut(shortcut, in_channels, width, stride)
        self.out_channels = width
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width, H / stride, W / stride)."""
        identity = self.drop_block(x if self.downsample is None else self.downsample(x))
        out: Tensor = self.drop_block(self.relu(self.bn1(self.conv1(x))))
        out = self.drop_block(self.bn2(self.conv2(out)))
        out = self.relu(self._add(self.drop_path(out), identity))
        return out


class Bottleneck(_Block):
    """The residual block of ResNet-50 and deeper: 1x1 down, 3x3, 1x1 up to four times the width.

    With `groups` it is the block of ResNeXt (arXiv:1611.05431), with a larger `base_width` that
    of the wide ResNet (arXiv:1605.07146): the inner width is `groups * width * base_width / 64`.

    Args:
        in_channels: Channels that come in.
        width: A quarter of the channels that go out.
        stride: Stride of the block.
        shortcut: The paper's option A, B or C.
        groups: Groups of the 3x3 convolution.
        base_width: Filters per group at width 64.
        stride_in: Which convolution strides, `"3x3"` (v1.5) or `"1x1"` (the paper).
        drop_block: DropBlock after each normalisation and on the shortcut, one layer for all; it
            has no state.
        drop_path: Probability that an image skips the residual branch (stochastic depth).
        inplace: Let ReLU and the addition overwrite their input.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        shortcut: Shortcut = "B",
        groups: int = 1,
        base_width: int = 64,
        stride_in: StrideIn = "3x3",
        drop_block: DropBlock2d | None = None,
        drop_path: float = 0.0,
        inplace: bool = True,
    ) -> None:
        super().__init__(drop_block, drop_path)
        inner = int(width * base_width / 64) * groups
        out_channels = width * self.expansion
        stride1, stride2 = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.conv1: nn.Conv2d = conv1x1(in_channels, inner, stride1)
        self.bn1: nn.BatchNorm2d = nn.BatchNorm2d(inner)
        self.conv2: nn.Conv2d = conv3x3(inner, inner, stride2, groups)
        self.bn2: nn.BatchNorm2d = nn.BatchNorm2d(inner)
        self.conv3: nn.Conv2d = conv1x1(inner, out_channels)
        self.bn3: nn.BatchNorm2d = nn.BatchNorm2d(out_channels)
        self.relu: nn.ReLU = nn.ReLU(inplace)
        self.downsample: nn.Module | None = make_shortcut(
            shortcut, in_channels, out_channels, stride
        )
        self.out_channels = out_channels
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        identity = self.drop_block(x if self.downsample is None else self.downsample(x))
        out: Tensor = self.drop_block(self.relu(self.bn1(self.conv1(x))))
        out = self.drop_block(self.relu(self.bn2(self.conv2(out))))
        out = self.drop_block(self.bn3(self.conv3(out)))
        out = self.relu(self._add(self.drop_path(out), identity))
        return out


class PreActBasicBlock(_Block):
    """Pre-activation: BN-ReLU-conv twice, then the addition and nothing after it.

    Where the dimensions change, the shortcut starts from the activated input, as in the authors'
    code; elsewhere it is the untouched input.

    Args:
        in_channels: Channels that come in.
        width: Filters of the 3x3 convolutions.
        stride: Stride of the first convolution.
        shortcut: The paper's option A, B or C.
        first: The input is activated already (the first block after the stem).
        drop_block: DropBlock after each convolution and on the shortcut, one layer for all; it
            has no state.
        drop_path: Probability that an image skips the residual branch (stochastic depth).
        inplace: Let ReLU and the addition overwrite their input.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        shortcut: Shortcut = "B",
        first: bool = False,
        drop_block: DropBlock2d | None = None,
        drop_path: float = 0.0,
        inplace: bool = True,
    ) -> None:
        super().__init__(drop_block, drop_path)
        self.bn1: nn.BatchNorm2d | None = None if first else nn.BatchNorm2d(in_channels)
        self.relu: nn.ReLU = nn.ReLU(inplace)
        self.conv1: nn.Conv2d = conv3x3(in_channels, width, stride)
        self.bn2: nn.BatchNorm2d = nn.BatchNorm2d(width)
        self.conv2: nn.Conv2d = conv3x3(width, width)
        self.downsample: nn.Module | None = make_shortcut(
            shortcut, in_channels, width, stride, normalise=False
        )
        self.out_channels = width
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width, H / stride, W / stride)."""
        active = x if self.bn1 is None else self.relu(self.bn1(x))
        identity = self.drop_block(x if self.downsample is None else self.downsample(active))
        out = self.drop_block(self.conv1(active))
        out = self.drop_block(self.conv2(self.relu(self.bn2(out))))
        return self._add(self.drop_path(out), identity)


class PreActBottleneck(_Block):
    """The pre-activation bottleneck: BN-ReLU before each of 1x1, 3x3 and 1x1.

    Args:
        in_channels: Channels that come in.
        width: A quarter of the channels that go out.
        stride: Stride of the block.
        shortcut: The paper's option A, B or C.
        groups: Groups of the 3x3 convolution.
        base_width: Filters per group at width 64.
        stride_in: Which convolution strides, `"1x1"` (the paper) or `"3x3"` (v1.5).
        first: The input is activated already (the first block after the stem).
        drop_block: DropBlock after each convolution and on the shortcut, one layer for all; it
            has no state.
        drop_path: Probability that an image skips the residual branch (stochastic depth).
        inplace: Let ReLU and the addition overwrite their input.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        shortcut: Shortcut = "B",
        groups: int = 1,
        base_width: int = 64,
        stride_in: StrideIn = "1x1",
        first: bool = False,
        drop_block: DropBlock2d | None = None,
        drop_path: float = 0.0,
        inplace: bool = True,
    ) -> None:
        super().__init__(drop_block, drop_path)
        inner = int(width * base_width / 64) * groups
        out_channels = width * self.expansion
        stride1, stride2 = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.bn1: nn.BatchNorm2d | None = None if first else nn.BatchNorm2d(in_channels)
        self.relu: nn.ReLU = nn.ReLU(inplace)
        self.conv1: nn.Conv2d = conv1x1(in_channels, inner, stride1)
        self.bn2: nn.BatchNorm2d = nn.BatchNorm2d(inner)
        self.conv2: nn.Conv2d = conv3x3(inner, inner, stride2, groups)
        self.bn3: nn.BatchNorm2d = nn.BatchNorm2d(inner)
        self.conv3: nn.Conv2d = conv1x1(inner, out_channels)
        self.downsample: nn.Module | None = make_shortcut(
            shortcut, in_channels, out_channels, stride, normalise=False
        )
        self.out_channels = out_channels
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        active = x if self.bn1 is None else self.relu(self.bn1(x))
        identity = self.drop_block(x if self.downsample is None else self.downsample(active))
        out = self.drop_block(self.conv1(active))
        out = self.drop_block(self.conv2(self.relu(self.bn2(out))))
        out = self.drop_block(self.conv3(self.relu(self.bn3(out))))
        return self._add(self.drop_path(out), identity)
