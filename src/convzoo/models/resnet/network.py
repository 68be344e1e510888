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

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from convzoo._build import BuildOptions, option_names, small_images
from convzoo._checks import check_probability
from convzoo._classifier import Classifier, Stage
from convzoo.errors import InputError, UnknownNameError
from convzoo.layers import DropBlock2d, DropBlockConfig
from convzoo.models.resnet.blocks import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    PreActBasicBlock,
    PreActBottleneck,
    Shortcut,
    StrideIn,
    conv3x3,
)
from convzoo.presets import Preset

Stem = Literal["imagenet", "small"]
"""`"imagenet"`: 7x7 convolution with stride 2, then 3x3 max pooling with stride 2.
`"small"`: one 3x3 convolution with stride 1 and no pooling, for images of 28 to 64 pixels."""


class ResNetOptions(BuildOptions, total=False):
    """Options that every ResNet builder takes."""

    stem: Stem
    """How the image enters, `"imagenet"` or `"small"`."""
    shortcut: Shortcut
    """The paper's option A, B or C."""
    stride_in: StrideIn
    """Which convolution of a bottleneck strides; basic blocks have no choice."""
    zero_init_residual: bool
    """Start each residual branch at zero, so that every block begins as its shortcut."""
    drop_block: DropBlockConfig | float | None
    """DropBlock in the last two stages, as in its official code; a number is its rate."""
    drop_path: float
    """Probability of skipping the last block; it rises linearly from the first (stochastic
    depth)."""
    dropout: float
    """Probability of dropping an input of the last layer."""
    inplace: bool
    """Let ReLU and the additions overwrite their input; False for hooks that look at them."""


class _Place(NamedTuple):
    """What a block must know of where it stands."""

    channels: int
    width: int
    stride: int
    first: bool
    drop_block: DropBlock2d | None
    drop_path: float


class _ResidualNetwork(Classifier):
    """What the post- and the pre-activation network share: the stem, the stages and the head."""

    head_path: ClassVar[str] = "fc"
    option_names: ClassVar[frozenset[str]] = option_names(ResNetOptions)
    min_size = 1  # every convolution and pooling is padded

    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    relu: nn.ReLU
    maxpool: nn.Module
    avgpool: nn.AdaptiveAvgPool2d
    dropout: nn.Dropout
    fc: nn.Linear

    def _make_stem(self, stem: Stem, in_channels: int, width: int, inplace: bool) -> None:
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        elif stem == "small":
            self.conv1 = conv3x3(in_channels, width)
        else:
            raise UnknownNameError("stem", stem, ("imagenet", "small"))
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem == "imagenet" else nn.Identity()
        self.in_channels = in_channels
        self.stages = (Stage("stem", "maxpool", width, 4 if stem == "imagenet" else 1),)

    @classmethod
    def preset_for(cls, preset: Preset, options: Mapping[str, Any]) -> Preset:
        """With the small stem, images of 32 pixels; otherwise the usual ones."""
        return small_images(preset) if options.get("stem") == "small" else preset

    def _make_stages(
        self,
        make: Callable[[_Place], nn.Module],
        layers: Sequence[int],
        widths: Sequence[int],
        expansion: int,
        drop_block: DropBlockConfig | Mapping[str, Any] | float | None,
        drop_path: float,
    ) -> int:
        """Register `layer1`, `layer2`, ...; every stage but the first halves the map."""
        config = _drop_block_config(drop_block)
        check_probability("drop_path", drop_path)
        channels, built = widths[0], 0
        for index, (count, width) in enumerate(zip(layers, widths, strict=True)):
            stage_stride = 1 if index == 0 else 2
            # DropBlock's official code: full rate in the last group, a quarter in the one before.
            scale = {len(layers) - 1: 1.0, len(layers) - 2: 0.25}.get(index)
            blocks = []
            for position in range(count):
                built += 1
                place = _Place(
                    channels,
                    width,
                    stride=stage_stride if position == 0 else 1,
                    first=index == position == 0,
                    drop_block=config.layer(scale) if config and scale else None,
                    drop_path=drop_path * built / sum(layers),  # the paper's linear rule
                )
                blocks.append(make(place))
                channels = width * expansion
            name = f"layer{index + 1}"
            self.add_module(name, nn.Sequential(*blocks))
            reached = self.stages[-1].stride * stage_stride
            self.stages: tuple[Stage, ...] = (*self.stages, Stage(name, name, channels, reached))
        return channels

    def _forward_stages(self, x: Tensor) -> Tensor:
        self._check_input(x)
        x = self.relu(self.bn1(self.conv1(x)))  # (B, widths[0], H / 2, W / 2)
        x = self.maxpool(x)  # (B, widths[0], H / 4, W / 4)
        for stage in self.stages[1:]:  # H / 4, H / 8, H / 16, H / 32
            x = getattr(self, stage.module)(x)  # torch 2.6 exports this, not get_submodule
        return x

    def _make_head(self, channels: int, num_classes: int, dropout: float) -> None:
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(check_probability("dropout", dropout))
        self.fc = nn.Linear(channels, num_classes)
        self.num_features = channels

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, num_features, h, w) -> class scores (B, num_classes), or (B, num_features)."""
        pooled: Tensor = self.dropout(torch.flatten(self.avgpool(f), 1))
        return pooled if pre_logits else self.fc(pooled)

    def reset_parameters(self) -> None:
        """He's normal initialisation by fan-out; batch normalisation starts as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, (nn.BatchNorm2d, nn.Linear)):
                module.reset_parameters()
        if self.zero_init_residual:
            for module in self.modules():
                self._zero_branch(module)

    zero_init_residual: bool

    def _zero_branch(self, block: nn.Module) -> None:
        """Zero what ends a residual branch, if `block` is a residual block."""
        raise NotImplementedError


class ResNet(_ResidualNetwork):
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
        _check_choices(shortcut, stride_in, layers, widths)
        if issubclass(block, PlainBlock) and (drop_path or zero_init_residual):
            raise InputError("drop_path, zero_init_residual: a plain network has no branches")
        self.zero_init_residual = zero_init_residual
        self._make_stem(stem, in_channels, widths[0], inplace)

        def make(place: _Place) -> nn.Module:
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


class PreActResNet(_ResidualNetwork):
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
        _check_choices(shortcut, stride_in, layers, widths)
        self.zero_init_residual = zero_init_residual
        self._make_stem(stem, in_channels, widths[0], inplace)

        def make(place: _Place) -> nn.Module:
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


def _drop_block_config(
    value: DropBlockConfig | Mapping[str, Any] | float | None,
) -> DropBlockConfig | None:
    if isinstance(value, Mapping):
        known = {field.name for field in dataclasses.fields(DropBlockConfig)}
        for key in value:
            if key not in known:
                raise UnknownNameError("drop_block field", key, known)
        return DropBlockConfig(**value)
    if value is None or isinstance(value, DropBlockConfig):
        return value
    return DropBlockConfig(value)


def _check_choices(
    shortcut: str, stride_in: str, layers: Sequence[int], widths: Sequence[int]
) -> None:
    if shortcut not in ("A", "B", "C"):
        raise UnknownNameError("shortcut option", shortcut, ("A", "B", "C"))
    if stride_in not in ("1x1", "3x3"):
        raise UnknownNameError("stride_in", stride_in, ("1x1", "3x3"))
    if len(layers) != len(widths) or not layers:
        raise InputError(
            f"layers: expected one number a stage, {len(widths)} for widths {tuple(widths)}, "
            f"got {tuple(layers)}"
        )
