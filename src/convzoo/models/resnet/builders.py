"""The residual networks of the papers, for ImageNet and for CIFAR: a function each.

ImageNet's see 224 x 224 pixels and score 1,000 classes; multiply-adds are for one such image.
CIFAR's have 6n + 2 layers (9n + 2 with bottlenecks) on 32 x 32 pixels: three stages of 16, 32 and
64 filters at maps of 32, 16 and 8, with identity shortcuts padded with zeros (option A) save where
bottlenecks change the width. `shortcut="B"` projects instead.
"""

from __future__ import annotations

from typing import Any, Final, Unpack

from convzoo import _tags
from convzoo._construct import construct
from convzoo.models.resnet.blocks import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    PreActBasicBlock,
    PreActBottleneck,
)
from convzoo.models.resnet.network import PreActResNet, ResNet, ResNetOptions
from convzoo.presets import CIFAR10, IMAGENET
from convzoo.registry import Paper, architecture

_RESNET: Final = Paper(
    "Deep Residual Learning for Image Recognition", 2015, "https://arxiv.org/abs/1512.03385"
)
_PREACT: Final = Paper(
    "Identity Mappings in Deep Residual Networks", 2016, "https://arxiv.org/abs/1603.05027"
)
_RESNEXT: Final = Paper(
    "Aggregated Residual Transformations for Deep Neural Networks",
    2016,
    "https://arxiv.org/abs/1611.05431",
)
_WIDE: Final = Paper("Wide Residual Networks", 2016, "https://arxiv.org/abs/1605.07146")

_FAN_OUT: Final = "initialised by fan-out, as torchvision does"
_V1_5: Final = f"stride in the 3x3 convolution (v1.5), not in the first 1x1; {_FAN_OUT}"

# What the networks of a group share.
_BOTTLENECK: Final[dict[str, Any]] = {"departs": _V1_5, "block": Bottleneck}
_V1: Final[dict[str, Any]] = {"departs": _FAN_OUT, "block": Bottleneck, "stride_in": "1x1"}
_PLAIN: Final[dict[str, Any]] = {
    "family": "Plain network",
    "departs": _FAN_OUT,
    "block": PlainBlock,
}
_NEXT: Final[dict[str, Any]] = {"family": "ResNeXt", "departs": _FAN_OUT, "block": Bottleneck}
_WIDER: Final[dict[str, Any]] = {
    "family": "Wide ResNet",
    "departs": _FAN_OUT,
    "block": Bottleneck,
    "base_width": 128,
}
_PRE: Final[dict[str, Any]] = {
    "family": "Pre-activation ResNet",
    "departs": _FAN_OUT,
    "block": PreActBottleneck,
}
_SMALL: Final[dict[str, Any]] = {
    "departs": _FAN_OUT,
    "num_classes": 10,
    "widths": (16, 32, 64),
    "stem": "small",
}
_CIFAR: Final[dict[str, Any]] = {
    **_SMALL,
    "family": "CIFAR ResNet",
    "block": BasicBlock,
    "shortcut": "A",
}
_CIFAR_PLAIN: Final[dict[str, Any]] = {
    **_SMALL,
    "family": "CIFAR plain network",
    "block": PlainBlock,
}
_CIFAR_PRE: Final[dict[str, Any]] = {**_SMALL, "family": "CIFAR pre-activation ResNet"}


@architecture(
    ResNet,
    _RESNET,
    IMAGENET,
    departs=f"projection shortcuts (option B); the paper's 27.88 % row is option A; {_FAN_OUT}",
    block=BasicBlock,
    layers=(2, 2, 2, 2),
)
def resnet18(
    *, weights: _tags.Resnet18 | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-18: two basic blocks a stage; 11,689,512 parameters, 1.81 G multiply-adds."""
    return construct(resnet18, weights, options)


@architecture(
    ResNet,
    _RESNET,
    IMAGENET,
    departs=f"projection shortcuts (option B), one of the paper's three; {_FAN_OUT}",
    block=BasicBlock,
    layers=(3, 4, 6, 3),
)
def resnet34(
    *, weights: _tags.Resnet34 | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-34: sixteen basic blocks; 21,797,672 parameters, 3.66 G multiply-adds."""
    return construct(resnet34, weights, options)


@architecture(ResNet, _RESNET, IMAGENET, layers=(3, 4, 6, 3), **_BOTTLENECK)
def resnet50(
    *, weights: _tags.Resnet50 | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-50 v1.5 (stride in the 3x3); 25,557,032 parameters, 4.09 G multiply-adds."""
    return construct(resnet50, weights, options)


@architecture(ResNet, _RESNET, IMAGENET, layers=(3, 4, 23, 3), **_BOTTLENECK)
def resnet101(
    *, weights: _tags.Resnet101 | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-101 v1.5 (stride in the 3x3); 44,549,160 parameters, 7.80 G multiply-adds."""
    return construct(resnet101, weights, options)


@architecture(ResNet, _RESNET, IMAGENET, layers=(3, 8, 36, 3), **_BOTTLENECK)
def resnet152(
    *, weights: _tags.Resnet152 | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-152 v1.5 (stride in the 3x3); 60,192,808 parameters, 11.51 G multiply-adds."""
    return construct(resnet152, weights, options)


@architecture(ResNet, _RESNET, IMAGENET, layers=(3, 4, 6, 3), **_V1)
def resnet50_v1(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-50 as in the paper (stride in the first 1x1); 3.86 G multiply-adds."""
    return construct(resnet50_v1, weights, options)


@architecture(ResNet, _RESNET, IMAGENET, layers=(3, 4, 23, 3), **_V1)
def resnet101_v1(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-101 as in the paper (stride in the first 1x1); 7.57 G multiply-adds."""
    return construct(resnet101_v1, weights, options)


@architecture(ResNet, _RESNET, IMAGENET, layers=(3, 8, 36, 3), **_V1)
def resnet152_v1(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-152 as in the paper (stride in the first 1x1); 11.28 G multiply-adds."""
    return construct(resnet152_v1, weights, options)


@architecture(ResNet, _RESNET, IMAGENET, layers=(2, 2, 2, 2), **_PLAIN)
def plain18(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """The paper's 18-layer plain network: ResNet-18 without shortcuts; 11,515,688 parameters."""
    return construct(plain18, weights, options)


@architecture(ResNet, _RESNET, IMAGENET, layers=(3, 4, 6, 3), **_PLAIN)
def plain34(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """The paper's 34-layer plain network, harder to train than plain-18; 21,623,848 parameters."""
    return construct(plain34, weights, options)


@architecture(ResNet, _RESNEXT, IMAGENET, layers=(3, 4, 6, 3), groups=32, base_width=4, **_NEXT)
def resnext50_32x4d(
    *, weights: _tags.Resnext5032x4d | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNeXt-50 32x4d: 32 groups of 4 filters; 25,028,904 parameters, 4.23 G multiply-adds."""
    return construct(resnext50_32x4d, weights, options)


@architecture(
    ResNet,
    _RESNEXT,
    IMAGENET,
    family="ResNeXt",
    departs=f"not in the paper: 32x8d is torchvision's and WSL's; {_FAN_OUT}",
    block=Bottleneck,
    layers=(3, 4, 23, 3),
    groups=32,
    base_width=8,
)
def resnext101_32x8d(
    *, weights: _tags.Resnext10132x8d | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNeXt-101 32x8d, torchvision's; 88,791,336 parameters, 16.41 G multiply-adds."""
    return construct(resnext101_32x8d, weights, options)


@architecture(ResNet, _RESNEXT, IMAGENET, layers=(3, 4, 23, 3), groups=64, base_width=4, **_NEXT)
def resnext101_64x4d(
    *, weights: _tags.Resnext10164x4d | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNeXt-101 64x4d; 83,455,272 parameters, 15.46 G multiply-adds."""
    return construct(resnext101_64x4d, weights, options)


@architecture(ResNet, _WIDE, IMAGENET, layers=(3, 4, 6, 3), **_WIDER)
def wide_resnet50_2(
    *, weights: _tags.WideResnet502 | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """Wide ResNet-50-2: inner width doubled; 68,883,240 parameters, 11.40 G multiply-adds."""
    return construct(wide_resnet50_2, weights, options)


@architecture(ResNet, _WIDE, IMAGENET, layers=(3, 4, 23, 3), **_WIDER)
def wide_resnet101_2(
    *, weights: _tags.WideResnet1012 | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """Wide ResNet-101-2: inner width doubled; 126,886,696 parameters, 22.75 G multiply-adds."""
    return construct(wide_resnet101_2, weights, options)


@architecture(PreActResNet, _PREACT, IMAGENET, layers=(3, 4, 6, 3), **_PRE)
def preact_resnet50(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-50; 25,549,352 parameters, 3.86 G multiply-adds."""
    return construct(preact_resnet50, weights, options)


@architecture(PreActResNet, _PREACT, IMAGENET, layers=(3, 4, 23, 3), **_PRE)
def preact_resnet101(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-101; 44,541,480 parameters, 7.57 G multiply-adds."""
    return construct(preact_resnet101, weights, options)


@architecture(PreActResNet, _PREACT, IMAGENET, layers=(3, 8, 36, 3), **_PRE)
def preact_resnet152(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-152; 60,185,128 parameters, 11.28 G multiply-adds."""
    return construct(preact_resnet152, weights, options)


@architecture(PreActResNet, _PREACT, IMAGENET, layers=(3, 24, 36, 3), **_PRE)
def preact_resnet200(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-200; 64,666,152 parameters, 14.78 G multiply-adds."""
    return construct(preact_resnet200, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(3, 3, 3), **_CIFAR)
def cifar_resnet20(
    *, weights: _tags.CifarResnet20 | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-20 for CIFAR, option A shortcuts; 269,722 parameters."""
    return construct(cifar_resnet20, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(5, 5, 5), **_CIFAR)
def cifar_resnet32(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-32 for CIFAR, option A shortcuts; 464,154 parameters."""
    return construct(cifar_resnet32, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(7, 7, 7), **_CIFAR)
def cifar_resnet44(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-44 for CIFAR, option A shortcuts; 658,586 parameters."""
    return construct(cifar_resnet44, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(9, 9, 9), **_CIFAR)
def cifar_resnet56(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-56 for CIFAR, option A shortcuts; 853,018 parameters."""
    return construct(cifar_resnet56, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(18, 18, 18), **_CIFAR)
def cifar_resnet110(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-110 for CIFAR, option A shortcuts; 1,727,962 parameters."""
    return construct(cifar_resnet110, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(200, 200, 200), **_CIFAR)
def cifar_resnet1202(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-1202 for CIFAR, option A shortcuts; 19,421,274 parameters."""
    return construct(cifar_resnet1202, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(3, 3, 3), **_CIFAR_PLAIN)
def cifar_plain20(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-20 for CIFAR without its shortcuts; 269,722 parameters."""
    return construct(cifar_plain20, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(5, 5, 5), **_CIFAR_PLAIN)
def cifar_plain32(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-32 for CIFAR without its shortcuts; 464,154 parameters."""
    return construct(cifar_plain32, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(7, 7, 7), **_CIFAR_PLAIN)
def cifar_plain44(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-44 for CIFAR without its shortcuts; 658,586 parameters."""
    return construct(cifar_plain44, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(9, 9, 9), **_CIFAR_PLAIN)
def cifar_plain56(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-56 for CIFAR without its shortcuts; 853,018 parameters."""
    return construct(cifar_plain56, weights, options)


@architecture(ResNet, _RESNET, CIFAR10, layers=(18, 18, 18), **_CIFAR_PLAIN)
def cifar_plain110(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-110 for CIFAR without its shortcuts; 1,727,962 parameters."""
    return construct(cifar_plain110, weights, options)


@architecture(
    PreActResNet,
    _PREACT,
    CIFAR10,
    block=PreActBasicBlock,
    layers=(18, 18, 18),
    shortcut="A",
    **_CIFAR_PRE,
)
def cifar_preact110(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-110 for CIFAR, basic blocks, option A; 1,727,962 parameters."""
    return construct(cifar_preact110, weights, options)


@architecture(
    PreActResNet, _PREACT, CIFAR10, block=PreActBottleneck, layers=(18, 18, 18), **_CIFAR_PRE
)
def cifar_preact164(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-164 for CIFAR, bottlenecks; 1,703,258 parameters."""
    return construct(cifar_preact164, weights, options)


@architecture(
    PreActResNet, _PREACT, CIFAR10, block=PreActBottleneck, layers=(111, 111, 111), **_CIFAR_PRE
)
def cifar_preact1001(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-1001 for CIFAR, bottlenecks; 10,327,706 parameters."""
    return construct(cifar_preact1001, weights, options)
