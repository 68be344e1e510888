"""What post- and pre-activation networks share: the stem, the stages, the head, the options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from convzoo._build import BuildOptions, option_names, small_images
from convzoo._checks import check_probability
from convzoo._classifier import Classifier, Stage
from convzoo.errors import InputError, UnknownNameError
from convzoo.layers import DropBlock2d, DropBlockConfig
from convzoo.models.resnet.blocks import Shortcut, StrideIn, conv3x3
from convzoo.presets import Preset

FAN_OUT: Final = "initialised by fan-out, as torchvision does"
"""Where every network of the family departs from its paper."""

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


class Place(NamedTuple):
    """What a block must know of where it stands."""

    channels: int
    width: int
    stride: int
    first: bool
    drop_block: DropBlock2d | None
    drop_path: float


class ResidualNetwork(Classifier):
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
        make: Callable[[Place], nn.Module],
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
                place = Place(
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


def check_choices(
    shortcut: str, stride_in: str, layers: Sequence[int], widths: Sequence[int]
) -> None:
    """Refuse unknown names, and numbers of blocks that do not fit the stages."""
    if shortcut not in ("A", "B", "C"):
        raise UnknownNameError("shortcut option", shortcut, ("A", "B", "C"))
    if stride_in not in ("1x1", "3x3"):
        raise UnknownNameError("stride_in", stride_in, ("1x1", "3x3"))
    if len(layers) != len(widths) or not layers:
        raise InputError(
            f"layers: expected one number a stage, {len(widths)} for widths {tuple(widths)}, "
            f"got {tuple(layers)}"
        )
