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
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from convzoo._build import BuildOptions
from convzoo._checks import check_choice, check_counts, check_flags, check_probability
from convzoo._classifier import Classifier
from convzoo._contract import Stage
from convzoo.errors import InputError, UnknownNameError
from convzoo.layers import DropBlockConfig
from convzoo.models.resnet.blocks import (
    Bottleneck,
    PlainBlock,
    PreActBottleneck,
    ResidualBlock,
    Shortcut,
    StrideIn,
)
from convzoo.models.resnet.norms import (
    NormFactory,
    NormLayer,
    norm_factory,
    norm_name,
    reset_norm,
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
    """The paper's option A, B or C; `"A-centred"` for akamaster's CIFAR weights."""
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
    norm_layer: NormLayer | Callable[[int], nn.Module]
    """What normalises: a name, or a callable that takes the number of channels, as torchvision
    has it; `save` keeps names, and the callables that they stand for."""
    replace_stride_with_dilation: Sequence[bool]
    """For each stage after the first: dilate its 3x3 convolutions instead of striding."""


class ResNet(Classifier):
    """A network of post-activation blocks: ResNet, its plain twin, ResNeXt, wide ResNet.

    State-dict keys and shapes are torchvision's, and so are the children and their order.

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
        stride_in: Which convolution of a bottleneck strides; None: the 3x3, in pre-activation
            networks the first 1x1, as in the paper.
        zero_init_residual: Start each residual branch at zero.
        drop_block: DropBlock in the last two stages: its configuration, that as a mapping, or its
            rate. Placed as in its official code: after every normalisation and on the shortcut,
            with a quarter of the rate in the stage before the last.
        drop_path: Probability of skipping the last block, in [0, 1); it rises linearly from the
            first (stochastic depth).
        dropout: Probability of dropping an input of the last layer.
        inplace: Let ReLU and the additions overwrite their input.
        norm_layer: What normalises: a name, or a callable that takes the number of channels.
        replace_stride_with_dilation: For each stage after the first: dilate its 3x3
            convolutions instead of striding. The first block of a stage has the dilation of the
            stage before, as in torchvision.

    Examples:
        >>> import torch
        >>> from convzoo.models import BasicBlock, ResNet
        >>> net = ResNet(BasicBlock, [1, 1], widths=(8, 16), stem="small", num_classes=5)
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 5])
    """

    head_path: ClassVar[str] = "fc"
    min_size = 1  # every convolution and pooling is padded

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        block: type[ResidualBlock],
        layers: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        num_classes: int = 1000,
        in_channels: int = 3,
        groups: int = 1,
        base_width: int = 64,
        stem: Stem = "imagenet",
        shortcut: Shortcut = "B",
        stride_in: StrideIn | None = None,
        zero_init_residual: bool = False,
        drop_block: DropBlockConfig | Mapping[str, Any] | float | None = None,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        inplace: bool = True,
        norm_layer: NormLayer | Callable[[int], nn.Module] = "batch_norm",
        replace_stride_with_dilation: Sequence[bool] | None = None,
    ) -> None:
        super().__init__()
        check_counts(
            num_classes=num_classes, in_channels=in_channels, groups=groups, base_width=base_width
        )
        check_counts(**{f"widths[{i}]": width for i, width in enumerate(widths)})
        check_flags(zero_init_residual=zero_init_residual, inplace=inplace)
        _check_choices(stem, shortcut, stride_in, layers, widths)
        dilate = (False, *_check_dilation(replace_stride_with_dilation, len(layers) - 1))
        norm = norm_factory(norm_layer)
        if issubclass(block, PlainBlock) and (drop_path or zero_init_residual):
            raise InputError("drop_path, zero_init_residual: a plain network has no branches")
        if (groups, base_width) != (1, 64) and not issubclass(block, Bottleneck | PreActBottleneck):
            raise InputError(
                f"groups, base_width: only bottlenecks have them, not {block.__name__}"
            )
        check_probability("drop_path", drop_path)
        drop_config = _drop_block_config(drop_block)
        self.zero_init_residual: bool = zero_init_residual
        self.in_channels: int = in_channels

        # The stem.
        large = stem == "imagenet"
        kernel, stride = (7, 2) if large else (3, 1)
        self.conv1: nn.Conv2d = nn.Conv2d(
            in_channels, widths[0], kernel, stride, kernel // 2, bias=False
        )
        self.bn1: nn.BatchNorm2d = norm(widths[0])
        self.relu: nn.ReLU = nn.ReLU(inplace)
        if large:
            self.maxpool: nn.MaxPool2d = nn.MaxPool2d(3, stride=2, padding=1)

        # The stages: layer1, layer2, ...; every one but the first halves the map.
        channels, reached = widths[0], 4 if large else 1
        stages = [Stage("stem", "maxpool" if large else "relu", channels, reached)]
        built, dilation = 0, 1
        for number, (count, width) in enumerate(zip(layers, widths, strict=True), 1):
            # DropBlock's official code: full rate in the last group, a quarter in the one before.
            scale = {len(layers): 1.0, len(layers) - 1: 0.25}.get(number)
            stride = 1 if number == 1 or dilate[number - 1] else 2
            before, dilation = dilation, dilation * (2 if dilate[number - 1] else 1)
            reached *= stride
            blocks: list[ResidualBlock] = []
            for index in range(count):
                built += 1
                blocks.append(
                    block(
                        channels,
                        width,
                        stride if index == 0 else 1,
                        shortcut=shortcut,
                        groups=groups,
                        base_width=base_width,
                        stride_in=stride_in,
                        first=built == 1,
                        drop_block=drop_config.layer(scale) if drop_config and scale else None,
                        drop_path=drop_path * built / sum(layers),  # the paper's linear rule
                        inplace=inplace,
                        norm=norm,
                        dilations=(before if index == 0 else dilation, dilation),
                    )
                )
                channels = blocks[-1].out_channels
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            stages.append(Stage(f"layer{number}", f"layer{number}", channels, reached))
        self._make_end(channels, inplace, norm)

        # The head.
        pool = nn.AdaptiveAvgPool2d(1)
        # Dropout is part of the pooling, so that the children are torchvision's at any rate.
        self.avgpool: nn.AdaptiveAvgPool2d | nn.Sequential = (
            nn.Sequential(pool, nn.Dropout(dropout))
            if check_probability("dropout", dropout)
            else pool
        )
        self.fc: nn.Linear = nn.Linear(channels, num_classes)
        self.num_features: int = channels
        self.stages: tuple[Stage, ...] = tuple(stages)
        self.reset_parameters()

    def _make_end(self, channels: int, inplace: bool, norm: NormFactory) -> None:
        """Register what stands between the last stage and the head; here nothing does."""

    @property
    def inplanes(self) -> int:
        """What torchvision's helpers for detection call `num_features`."""
        return self.num_features

    @classmethod
    def kept_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Normalisation by its name."""
        kept = super().kept_options(options)
        if "norm_layer" in kept:
            kept["norm_layer"] = norm_name(kept["norm_layer"])
        return kept

    @classmethod
    def preset_for(cls, preset: Preset, options: Mapping[str, Any]) -> Preset:
        """With the small stem, images of 32 pixels; otherwise the usual ones."""
        return preset.small_images() if options.get("stem") == "small" else preset

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, num_features, H / 32, W / 32) with the usual stem."""
        self._check_input(x)
        pool = self.maxpool if self.stages[0].module == "maxpool" else None
        x = self._run(x, self.conv1, self.bn1, self.relu, pool)  # (B, widths[0], H / 4, W / 4)
        for stage in self.stages[1:]:  # H / 4, H / 8, H / 16, H / 32
            x = self._run(x, getattr(self, stage.module))  # torch 2.6 exports no get_submodule
        return x

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, num_features, h, w) -> class scores (B, num_classes), or (B, num_features)."""
        pooled = torch.flatten(self.avgpool(f), 1)
        return pooled if pre_logits else self.fc(pooled)

    def reset_parameters(self) -> None:
        """He's normal initialisation by fan-out; batch normalisation starts as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif not list(module.children()):  # normalisation, the last layer
                reset_norm(module)
        if self.zero_init_residual:
            for module in self.modules():
                if isinstance(module, ResidualBlock):
                    module.zero_branch()


class PreActResNet(ResNet):
    """A network of pre-activation blocks, with one more BN-ReLU after the last addition.

    The first block takes the stem's activated output as it is: BN and ReLU come right after the
    first convolution, before the branch splits off, as in the authors' code. A branch ends in a
    convolution, so that is what `zero_init_residual` starts at zero.

    Args are those of `ResNet`; the block is a `PreActBasicBlock` or `PreActBottleneck`.
    """

    def _make_end(self, channels: int, inplace: bool, norm: NormFactory) -> None:
        self.bn_last: nn.BatchNorm2d = norm(channels)
        self.relu_last: nn.ReLU = nn.ReLU(inplace)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, num_features, H / 32, W / 32) with the usual stem."""
        out: Tensor = self.relu_last(self.bn_last(super().forward_features(x)))
        return out


def _check_dilation(value: Sequence[bool] | None, count: int) -> tuple[bool, ...]:
    if value is None:
        return (False,) * count
    given = tuple(value) if isinstance(value, Sequence) else ()
    if len(given) != count or not all(isinstance(one, bool) for one in given):
        raise InputError(
            "replace_stride_with_dilation: expected True or False for each of the "
            f"{count} stages after the first, got {value!r:.80}"
        )
    return given


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
    stem: str, shortcut: str, stride_in: str | None, layers: Sequence[int], widths: Sequence[int]
) -> None:
    """Refuse unknown names, and numbers of blocks that do not fit the stages."""
    for name, value, known in (
        ("stem", stem, get_args(Stem)),
        ("shortcut option", shortcut, get_args(Shortcut)),
        ("stride_in", stride_in or "3x3", get_args(StrideIn)),
    ):
        check_choice(name, value, known)
    if len(layers) != len(widths) or not layers:
        raise InputError(
            f"layers: expected one number a stage, {len(widths)} for widths {tuple(widths)}, "
            f"got {tuple(layers)}"
        )
