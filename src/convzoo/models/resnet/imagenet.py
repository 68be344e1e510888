"""The residual networks for ImageNet: depth, width and cardinality as one table.

Parameter counts are for 1,000 classes, multiply-adds for one image of 224 x 224 pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

from convzoo._build import build
from convzoo._registry import ModelInfo, Paper
from convzoo.models.resnet.blocks import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    PreActBottleneck,
)
from convzoo.models.resnet.network import PreActResNet, ResNet, ResNetOptions
from convzoo.models.resnet.residual import FAN_OUT
from convzoo.presets import IMAGENET

if TYPE_CHECKING:
    from convzoo.weights._tags import (
        Resnet18Tag,
        Resnet34Tag,
        Resnet50Tag,
        Resnet101Tag,
        Resnet152Tag,
        Resnext5032x4dTag,
        Resnext10132x8dTag,
        Resnext10164x4dTag,
        WideResnet502Tag,
        WideResnet1012Tag,
    )

ResNetName = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet50_v1",
    "resnet101_v1",
    "resnet152_v1",
    "plain18",
    "plain34",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]

PreActResNetName = Literal[
    "preact_resnet50",
    "preact_resnet101",
    "preact_resnet152",
    "preact_resnet200",
]

_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "resnet18": {"block": BasicBlock, "layers": (2, 2, 2, 2)},
    "resnet34": {"block": BasicBlock, "layers": (3, 4, 6, 3)},
    "resnet50": {"block": Bottleneck, "layers": (3, 4, 6, 3)},
    "resnet101": {"block": Bottleneck, "layers": (3, 4, 23, 3)},
    "resnet152": {"block": Bottleneck, "layers": (3, 8, 36, 3)},
    "resnet50_v1": {"block": Bottleneck, "layers": (3, 4, 6, 3), "stride_in": "1x1"},
    "resnet101_v1": {"block": Bottleneck, "layers": (3, 4, 23, 3), "stride_in": "1x1"},
    "resnet152_v1": {"block": Bottleneck, "layers": (3, 8, 36, 3), "stride_in": "1x1"},
    "plain18": {"block": PlainBlock, "layers": (2, 2, 2, 2)},
    "plain34": {"block": PlainBlock, "layers": (3, 4, 6, 3)},
    "resnext50_32x4d": {"block": Bottleneck, "layers": (3, 4, 6, 3), "groups": 32, "base_width": 4},
    "resnext101_32x8d": {
        "block": Bottleneck,
        "layers": (3, 4, 23, 3),
        "groups": 32,
        "base_width": 8,
    },
    "resnext101_64x4d": {
        "block": Bottleneck,
        "layers": (3, 4, 23, 3),
        "groups": 64,
        "base_width": 4,
    },
    "wide_resnet50_2": {"block": Bottleneck, "layers": (3, 4, 6, 3), "base_width": 128},
    "wide_resnet101_2": {"block": Bottleneck, "layers": (3, 4, 23, 3), "base_width": 128},
    "preact_resnet50": {"block": PreActBottleneck, "layers": (3, 4, 6, 3)},
    "preact_resnet101": {"block": PreActBottleneck, "layers": (3, 4, 23, 3)},
    "preact_resnet152": {"block": PreActBottleneck, "layers": (3, 8, 36, 3)},
    "preact_resnet200": {"block": PreActBottleneck, "layers": (3, 24, 36, 3)},
}


def resnet18(
    *, weights: Resnet18Tag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-18: two basic blocks a stage; 11,689,512 parameters, 1.81 G multiply-adds."""
    return build(ResNet, "resnet18", _SETTINGS["resnet18"], weights, options, preset=IMAGENET)


def resnet34(
    *, weights: Resnet34Tag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-34: sixteen basic blocks; 21,797,672 parameters, 3.66 G multiply-adds."""
    return build(ResNet, "resnet34", _SETTINGS["resnet34"], weights, options, preset=IMAGENET)


def resnet50(
    *, weights: Resnet50Tag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-50 v1.5 (stride in the 3x3); 25,557,032 parameters, 4.09 G multiply-adds."""
    return build(ResNet, "resnet50", _SETTINGS["resnet50"], weights, options, preset=IMAGENET)


def resnet101(
    *, weights: Resnet101Tag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-101 v1.5 (stride in the 3x3); 44,549,160 parameters, 7.80 G multiply-adds."""
    return build(ResNet, "resnet101", _SETTINGS["resnet101"], weights, options, preset=IMAGENET)


def resnet152(
    *, weights: Resnet152Tag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-152 v1.5 (stride in the 3x3); 60,192,808 parameters, 11.51 G multiply-adds."""
    return build(ResNet, "resnet152", _SETTINGS["resnet152"], weights, options, preset=IMAGENET)


def resnet50_v1(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-50 as in the paper (stride in the first 1x1); 3.86 G multiply-adds."""
    return build(ResNet, "resnet50_v1", _SETTINGS["resnet50_v1"], weights, options, preset=IMAGENET)


def resnet101_v1(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-101 as in the paper (stride in the first 1x1); 7.57 G multiply-adds."""
    return build(
        ResNet, "resnet101_v1", _SETTINGS["resnet101_v1"], weights, options, preset=IMAGENET
    )


def resnet152_v1(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-152 as in the paper (stride in the first 1x1); 11.28 G multiply-adds."""
    return build(
        ResNet, "resnet152_v1", _SETTINGS["resnet152_v1"], weights, options, preset=IMAGENET
    )


def plain18(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """The paper's 18-layer plain network: ResNet-18 without shortcuts; 11,515,688 parameters."""
    return build(ResNet, "plain18", _SETTINGS["plain18"], weights, options, preset=IMAGENET)


def plain34(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """The paper's 34-layer plain network, harder to train than plain-18; 21,623,848 parameters."""
    return build(ResNet, "plain34", _SETTINGS["plain34"], weights, options, preset=IMAGENET)


def resnext50_32x4d(
    *, weights: Resnext5032x4dTag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNeXt-50 32x4d: 32 groups of 4 filters; 25,028,904 parameters, 4.23 G multiply-adds."""
    return build(
        ResNet, "resnext50_32x4d", _SETTINGS["resnext50_32x4d"], weights, options, preset=IMAGENET
    )


def resnext101_32x8d(
    *, weights: Resnext10132x8dTag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNeXt-101 32x8d, torchvision's; 88,791,336 parameters, 16.41 G multiply-adds."""
    return build(
        ResNet, "resnext101_32x8d", _SETTINGS["resnext101_32x8d"], weights, options, preset=IMAGENET
    )


def resnext101_64x4d(
    *, weights: Resnext10164x4dTag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNeXt-101 64x4d; 83,455,272 parameters, 15.46 G multiply-adds."""
    return build(
        ResNet, "resnext101_64x4d", _SETTINGS["resnext101_64x4d"], weights, options, preset=IMAGENET
    )


def wide_resnet50_2(
    *, weights: WideResnet502Tag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """Wide ResNet-50-2: inner width doubled; 68,883,240 parameters, 11.40 G multiply-adds."""
    return build(
        ResNet, "wide_resnet50_2", _SETTINGS["wide_resnet50_2"], weights, options, preset=IMAGENET
    )


def wide_resnet101_2(
    *, weights: WideResnet1012Tag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """Wide ResNet-101-2: inner width doubled; 126,886,696 parameters, 22.75 G multiply-adds."""
    return build(
        ResNet, "wide_resnet101_2", _SETTINGS["wide_resnet101_2"], weights, options, preset=IMAGENET
    )


def preact_resnet50(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-50; 25,549,352 parameters, 3.86 G multiply-adds."""
    return build(
        PreActResNet,
        "preact_resnet50",
        _SETTINGS["preact_resnet50"],
        weights,
        options,
        preset=IMAGENET,
    )


def preact_resnet101(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-101; 44,541,480 parameters, 7.57 G multiply-adds."""
    return build(
        PreActResNet,
        "preact_resnet101",
        _SETTINGS["preact_resnet101"],
        weights,
        options,
        preset=IMAGENET,
    )


def preact_resnet152(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-152; 60,185,128 parameters, 11.28 G multiply-adds."""
    return build(
        PreActResNet,
        "preact_resnet152",
        _SETTINGS["preact_resnet152"],
        weights,
        options,
        preset=IMAGENET,
    )


def preact_resnet200(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-200; 64,666,152 parameters, 14.78 G multiply-adds."""
    return build(
        PreActResNet,
        "preact_resnet200",
        _SETTINGS["preact_resnet200"],
        weights,
        options,
        preset=IMAGENET,
    )


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

MODELS: Final = (
    ModelInfo(
        "resnet18",
        resnet18,
        "ResNet",
        _RESNET,
        (3, 224, 224),
        f"projection shortcuts (option B); the paper's 27.88 % row is option A; {FAN_OUT}",
    ),
    ModelInfo(
        "resnet34",
        resnet34,
        "ResNet",
        _RESNET,
        (3, 224, 224),
        f"projection shortcuts (option B), one of the paper's three; {FAN_OUT}",
    ),
    ModelInfo(
        "resnet50",
        resnet50,
        "ResNet",
        _RESNET,
        (3, 224, 224),
        f"stride in the 3x3 convolution (v1.5), not in the first 1x1; {FAN_OUT}",
    ),
    ModelInfo(
        "resnet101",
        resnet101,
        "ResNet",
        _RESNET,
        (3, 224, 224),
        f"stride in the 3x3 convolution (v1.5), not in the first 1x1; {FAN_OUT}",
    ),
    ModelInfo(
        "resnet152",
        resnet152,
        "ResNet",
        _RESNET,
        (3, 224, 224),
        f"stride in the 3x3 convolution (v1.5), not in the first 1x1; {FAN_OUT}",
    ),
    ModelInfo("resnet50_v1", resnet50_v1, "ResNet", _RESNET, (3, 224, 224), FAN_OUT),
    ModelInfo("resnet101_v1", resnet101_v1, "ResNet", _RESNET, (3, 224, 224), FAN_OUT),
    ModelInfo("resnet152_v1", resnet152_v1, "ResNet", _RESNET, (3, 224, 224), FAN_OUT),
    ModelInfo("plain18", plain18, "Plain network", _RESNET, (3, 224, 224), FAN_OUT),
    ModelInfo("plain34", plain34, "Plain network", _RESNET, (3, 224, 224), FAN_OUT),
    ModelInfo("resnext50_32x4d", resnext50_32x4d, "ResNeXt", _RESNEXT, (3, 224, 224), FAN_OUT),
    ModelInfo(
        "resnext101_32x8d",
        resnext101_32x8d,
        "ResNeXt",
        _RESNEXT,
        (3, 224, 224),
        f"not in the paper: 32x8d is torchvision's and WSL's; {FAN_OUT}",
    ),
    ModelInfo("resnext101_64x4d", resnext101_64x4d, "ResNeXt", _RESNEXT, (3, 224, 224), FAN_OUT),
    ModelInfo("wide_resnet50_2", wide_resnet50_2, "Wide ResNet", _WIDE, (3, 224, 224), FAN_OUT),
    ModelInfo("wide_resnet101_2", wide_resnet101_2, "Wide ResNet", _WIDE, (3, 224, 224), FAN_OUT),
    ModelInfo(
        "preact_resnet50", preact_resnet50, "Pre-activation ResNet", _PREACT, (3, 224, 224), FAN_OUT
    ),
    ModelInfo(
        "preact_resnet101",
        preact_resnet101,
        "Pre-activation ResNet",
        _PREACT,
        (3, 224, 224),
        FAN_OUT,
    ),
    ModelInfo(
        "preact_resnet152",
        preact_resnet152,
        "Pre-activation ResNet",
        _PREACT,
        (3, 224, 224),
        FAN_OUT,
    ),
    ModelInfo(
        "preact_resnet200",
        preact_resnet200,
        "Pre-activation ResNet",
        _PREACT,
        (3, 224, 224),
        FAN_OUT,
    ),
)
