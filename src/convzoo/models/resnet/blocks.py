"""Residual blocks: plain, post-activation and pre-activation, and their shortcuts.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015 (arXiv:1512.03385), and
"Identity Mappings in Deep Residual Networks", 2016 (arXiv:1603.05027).

Submodules with parameters have torchvision's names, so that its checkpoints load as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from convzoo._checks import check_probability
from convzoo.layers import DropBlock2d
from convzoo.models.resnet.norms import NormFactory

Shortcut = Literal["A", "A-centred", "B", "C"]
"""How a shortcut changes its dimensions: A pads with zeros after the channels (A-centred: half of
them before, as akamaster/pytorch_resnet_cifar10 does), B projects where the dimensions change, C
projects everywhere."""

StrideIn = Literal["1x1", "3x3"]
"""Which convolution of a bottleneck strides: the first 1x1 (the paper, "v1") or the 3x3 ("v1.5",
as torchvision, fb.resnet.torch and ResNeXt do; half a point more accurate, 6 % more work)."""


def _conv3x3(
    in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Conv2d:
    # The normalisation after it brings the bias.
    return nn.Conv2d(
        in_channels,
        out_channels,
        3,
        stride,
        dilation,
        groups=groups,
        bias=False,
        dilation=dilation,
    )


def _conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


class PaddedShortcut(nn.Module):
    """Shortcut option A: subsample, then pad the new channels with zeros. No parameters.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out, at least as many.
        stride: Step of the subsampling.
        centred: Put half of the zeros before the channels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, centred: bool = False
    ) -> None:
        super().__init__()
        self.stride: int = stride
        self.extra_channels: int = out_channels - in_channels
        self.before: int = self.extra_channels // 2 if centred else 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride)."""
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.extra_channels - self.before))

    def extra_repr(self) -> str:
        """What `print(net)` shows of the layer."""
        before = f", before={self.before}" if self.before else ""
        return f"stride={self.stride}, extra_channels={self.extra_channels}{before}"


def make_shortcut(
    option: Shortcut,
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    norm: NormFactory | None = nn.BatchNorm2d,
) -> nn.Module | None:
    """The layer on a shortcut, or None where the identity will do.

    Args:
        option: The paper's option A, B or C.
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        stride: Stride of the block.
        norm: What normalises a projection; None in pre-activation blocks, whose projection's
            input is normalised already.

    Returns:
        A module with torchvision's `downsample` keys, or None for the identity.
    """
    changes = stride != 1 or in_channels != out_channels
    if option == "C" or (option == "B" and changes):
        projection = _conv1x1(in_channels, out_channels, stride)
        return projection if norm is None else nn.Sequential(projection, norm(out_channels))
    if not changes:
        return None
    return PaddedShortcut(in_channels, out_channels, stride, centred=option == "A-centred")


class _Plan(NamedTuple):
    """What a block's layers depend on besides the channels that come in."""

    width: int
    inner: int  # filters of a bottleneck's 3x3 convolution
    out: int
    stride: int
    stride_in: StrideIn
    shortcut: Shortcut
    groups: int
    first: bool
    inplace: bool
    norm: NormFactory
    dilations: tuple[int, int]  # of the first 3x3 convolution and of the second

    def make_shortcut(self, channels: int, norm: NormFactory | None) -> nn.Module | None:
        return make_shortcut(self.shortcut, channels, self.out, self.stride, norm=norm)


class ResidualBlock(nn.Module):
    """What all blocks share: their arguments, the shortcut's end, and DropBlock.

    Args:
        in_channels: Channels that come in.
        width: Filters of the 3x3 convolutions; a bottleneck puts out four times as many.
        stride: Stride of the block.
        shortcut: The paper's option A, B or C.
        groups: Groups of the 3x3 convolution (bottlenecks only).
        base_width: Filters per group at width 64 (bottlenecks only).
        stride_in: Which convolution of a bottleneck strides; None: the 3x3 (v1.5), in
            pre-activation blocks the first 1x1, as in the paper.
        first: The input is activated already: the first block after the stem (pre-activation only).
        drop_block: DropBlock after each normalisation (pre-activation: convolution) and on the
            shortcut, one layer for all; it has no state.
        drop_path: Probability that an image skips the residual branch (stochastic depth).
        inplace: Let ReLU and the addition overwrite their input.
        norm: What normalises, from a number of channels.
        dilations: Dilation of the first 3x3 convolution and, in basic blocks, of the second.
    """

    expansion: ClassVar[int] = 1
    usual_stride_in: ClassVar[StrideIn] = "3x3"

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        shortcut: Shortcut = "B",
        groups: int = 1,
        base_width: int = 64,
        stride_in: StrideIn | None = None,
        first: bool = False,
        drop_block: DropBlock2d | None = None,
        drop_path: float = 0.0,
        inplace: bool = True,
        norm: NormFactory = nn.BatchNorm2d,
        dilations: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.out_channels: int = width * self.expansion
        self.inplace: bool = inplace
        inner = int(width * base_width / 64) * groups
        stride_in = stride_in or self.usual_stride_in
        self._make_layers(
            in_channels,
            _Plan(
                width,
                inner,
                self.out_channels,
                stride,
                stride_in,
                shortcut,
                groups,
                first,
                inplace,
                norm,
                dilations,
            ),
        )
        self.drop_block: DropBlock2d | None = drop_block
        # Stochastic depth: with the images as "channels" of one example, a whole branch drops out.
        drops = check_probability("drop_path", drop_path) > 0
        self.drop_path: nn.Dropout3d | None = nn.Dropout3d(drop_path) if drops else None

    def _make_layers(self, channels: int, plan: _Plan) -> None:
        raise NotImplementedError

    def zero_branch(self) -> None:
        """Let the residual branch put out zeros, so that the block is its shortcut."""
        raise NotImplementedError

    def _drop(self, x: Tensor) -> Tensor:
        return x if self.drop_block is None else self.drop_block(x)

    def _add(self, out: Tensor, identity: Tensor) -> Tensor:
        if self.drop_path is not None:
            out = self.drop_path(out.unsqueeze(0)).squeeze(0)  # (B, C, h, w) as (1, B, C, h, w)
        # In place saves a map's worth of memory, but a hook on the last layer of the branch
        # would then see the sum instead of that layer's output.
        return out.add_(identity) if self.inplace else out + identity

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor:
            """(B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride)."""
            ...


class PlainBlock(ResidualBlock):
    """Two 3x3 convolutions without a shortcut: what the residual block is compared with.

    The arguments are those of `BasicBlock`; those of the shortcut change nothing.
    """

    def _make_layers(self, channels: int, plan: _Plan) -> None:
        self.conv1: nn.Conv2d = _conv3x3(
            channels, plan.width, plan.stride, dilation=plan.dilations[0]
        )
        self.bn1: nn.BatchNorm2d = plan.norm(plan.width)
        self.relu1: nn.ReLU = nn.ReLU(plan.inplace)
        self.conv2: nn.Conv2d = _conv3x3(plan.width, plan.width, dilation=plan.dilations[1])
        self.bn2: nn.BatchNorm2d = plan.norm(plan.width)
        self.relu2: nn.ReLU = nn.ReLU(plan.inplace)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width, H / stride, W / stride)."""
        out: Tensor = self._drop(self.relu1(self.bn1(self.conv1(x))))
        return self._drop(self.relu2(self.bn2(self.conv2(out))))


class BasicBlock(ResidualBlock):
    """The residual block of ResNet-18 and -34: two 3x3 convolutions and a shortcut.

    The arguments are those of `ResidualBlock`.

    Examples:
        >>> import torch
        >>> from convzoo.models import BasicBlock
        >>> BasicBlock(64, 128, stride=2)(torch.zeros(1, 64, 56, 56)).shape
        torch.Size([1, 128, 28, 28])
    """

    def _make_layers(self, channels: int, plan: _Plan) -> None:
        self.conv1: nn.Conv2d = _conv3x3(
            channels, plan.width, plan.stride, dilation=plan.dilations[0]
        )
        self.bn1: nn.BatchNorm2d = plan.norm(plan.width)
        self.relu1: nn.ReLU = nn.ReLU(plan.inplace)
        self.conv2: nn.Conv2d = _conv3x3(plan.width, plan.width, dilation=plan.dilations[1])
        self.bn2: nn.BatchNorm2d = plan.norm(plan.width)
        self.downsample: nn.Module | None = plan.make_shortcut(channels, plan.norm)
        self.relu2: nn.ReLU = nn.ReLU(plan.inplace)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width, H / stride, W / stride)."""
        identity = self._drop(x if self.downsample is None else self.downsample(x))
        out: Tensor = self._drop(self.relu1(self.bn1(self.conv1(x))))
        out = self._drop(self.bn2(self.conv2(out)))
        out = self.relu2(self._add(out, identity))
        return out

    def zero_branch(self) -> None:
        """Start the last normalisation at zero."""
        nn.init.zeros_(self.bn2.weight)


class Bottleneck(ResidualBlock):
    """The residual block of ResNet-50 and deeper: 1x1 down, 3x3, 1x1 up to four times the width.

    With `groups` it is the block of ResNeXt (arXiv:1611.05431), with a larger `base_width` that
    of the wide ResNet (arXiv:1605.07146): the inner width is `groups * width * base_width / 64`.
    The arguments are those of `ResidualBlock`.
    """

    expansion: ClassVar[int] = 4

    def _make_layers(self, channels: int, plan: _Plan) -> None:
        stride1, stride2 = (plan.stride, 1) if plan.stride_in == "1x1" else (1, plan.stride)
        self.conv1: nn.Conv2d = _conv1x1(channels, plan.inner, stride1)
        self.bn1: nn.BatchNorm2d = plan.norm(plan.inner)
        self.relu1: nn.ReLU = nn.ReLU(plan.inplace)
        self.conv2: nn.Conv2d = _conv3x3(
            plan.inner, plan.inner, stride2, plan.groups, plan.dilations[0]
        )
        self.bn2: nn.BatchNorm2d = plan.norm(plan.inner)
        self.relu2: nn.ReLU = nn.ReLU(plan.inplace)
        self.conv3: nn.Conv2d = _conv1x1(plan.inner, plan.out)
        self.bn3: nn.BatchNorm2d = plan.norm(plan.out)
        self.downsample: nn.Module | None = plan.make_shortcut(channels, plan.norm)
        self.relu3: nn.ReLU = nn.ReLU(plan.inplace)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        identity = self._drop(x if self.downsample is None else self.downsample(x))
        out: Tensor = self._drop(self.relu1(self.bn1(self.conv1(x))))
        out = self._drop(self.relu2(self.bn2(self.conv2(out))))
        out = self._drop(self.bn3(self.conv3(out)))
        out = self.relu3(self._add(out, identity))
        return out

    def zero_branch(self) -> None:
        """Start the last normalisation at zero."""
        nn.init.zeros_(self.bn3.weight)


class PreActBasicBlock(ResidualBlock):
    """Pre-activation: BN-ReLU-conv twice, then the addition and nothing after it.

    Where the dimensions change, the shortcut starts from the activated input, as in the authors'
    code; elsewhere it is the untouched input. The arguments are those of `ResidualBlock`.
    """

    def _make_layers(self, channels: int, plan: _Plan) -> None:
        if not plan.first:
            self.bn1: nn.BatchNorm2d = plan.norm(channels)
            self.relu1: nn.ReLU = nn.ReLU(plan.inplace)
        self.first: bool = plan.first
        self.conv1: nn.Conv2d = _conv3x3(
            channels, plan.width, plan.stride, dilation=plan.dilations[0]
        )
        self.bn2: nn.BatchNorm2d = plan.norm(plan.width)
        self.relu2: nn.ReLU = nn.ReLU(plan.inplace)
        self.conv2: nn.Conv2d = _conv3x3(plan.width, plan.width, dilation=plan.dilations[1])
        self.downsample: nn.Module | None = plan.make_shortcut(channels, None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width, H / stride, W / stride)."""
        active = x if self.first else self.relu1(self.bn1(x))
        identity = self._drop(x if self.downsample is None else self.downsample(active))
        out = self._drop(self.conv1(active))
        out = self._drop(self.conv2(self.relu2(self.bn2(out))))
        return self._add(out, identity)

    def zero_branch(self) -> None:
        """Start the last convolution, in which the branch ends, at zero."""
        nn.init.zeros_(self.conv2.weight)


class PreActBottleneck(ResidualBlock):
    """The pre-activation bottleneck: BN-ReLU before each of 1x1, 3x3 and 1x1.

    The arguments are those of `ResidualBlock`.
    """

    expansion: ClassVar[int] = 4
    usual_stride_in: ClassVar[StrideIn] = "1x1"

    def _make_layers(self, channels: int, plan: _Plan) -> None:
        stride1, stride2 = (plan.stride, 1) if plan.stride_in == "1x1" else (1, plan.stride)
        if not plan.first:
            self.bn1: nn.BatchNorm2d = plan.norm(channels)
            self.relu1: nn.ReLU = nn.ReLU(plan.inplace)
        self.first: bool = plan.first
        self.conv1: nn.Conv2d = _conv1x1(channels, plan.inner, stride1)
        self.bn2: nn.BatchNorm2d = plan.norm(plan.inner)
        self.relu2: nn.ReLU = nn.ReLU(plan.inplace)
        self.conv2: nn.Conv2d = _conv3x3(
            plan.inner, plan.inner, stride2, plan.groups, plan.dilations[0]
        )
        self.bn3: nn.BatchNorm2d = plan.norm(plan.inner)
        self.relu3: nn.ReLU = nn.ReLU(plan.inplace)
        self.conv3: nn.Conv2d = _conv1x1(plan.inner, plan.out)
        self.downsample: nn.Module | None = plan.make_shortcut(channels, None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        active = x if self.first else self.relu1(self.bn1(x))
        identity = self._drop(x if self.downsample is None else self.downsample(active))
        out = self._drop(self.conv1(active))
        out = self._drop(self.conv2(self.relu2(self.bn2(out))))
        out = self._drop(self.conv3(self.relu3(self.bn3(out))))
        return self._add(out, identity)

    def zero_branch(self) -> None:
        """Start the last convolution, in which the branch ends, at zero."""
        nn.init.zeros_(self.conv3.weight)
