"""The residual networks for CIFAR: 6n + 2 (9n + 2 with bottlenecks) layers on 32 x 32 images.

Three stages of 16, 32 and 64 filters at maps of 32, 16 and 8; identity shortcuts padded with
zeros (option A) save where bottlenecks change the width. `shortcut="B"` projects instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

from convzoo._build import build
from convzoo._registry import ModelInfo, Paper
from convzoo.models.resnet.blocks import (
    BasicBlock,
    PlainBlock,
    PreActBasicBlock,
    PreActBottleneck,
)
from convzoo.models.resnet.network import PreActResNet, ResNet, ResNetOptions
from convzoo.models.resnet.residual import FAN_OUT
from convzoo.presets import CIFAR10

if TYPE_CHECKING:
    from convzoo.weights._tags import (
        CifarResnet20Tag,
    )

CifarResNetName = Literal[
    "cifar_resnet20",
    "cifar_resnet32",
    "cifar_resnet44",
    "cifar_resnet56",
    "cifar_resnet110",
    "cifar_resnet1202",
    "cifar_plain20",
    "cifar_plain32",
    "cifar_plain44",
    "cifar_plain56",
    "cifar_plain110",
]

CifarPreActResNetName = Literal[
    "cifar_preact110",
    "cifar_preact164",
    "cifar_preact1001",
]

_CIFAR: Final[dict[str, Any]] = {
    "widths": (16, 32, 64),
    "stem": "small",
    "shortcut": "A",
    "num_classes": 10,
}

_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "cifar_resnet20": {**_CIFAR, "block": BasicBlock, "layers": (3, 3, 3)},
    "cifar_resnet32": {**_CIFAR, "block": BasicBlock, "layers": (5, 5, 5)},
    "cifar_resnet44": {**_CIFAR, "block": BasicBlock, "layers": (7, 7, 7)},
    "cifar_resnet56": {**_CIFAR, "block": BasicBlock, "layers": (9, 9, 9)},
    "cifar_resnet110": {**_CIFAR, "block": BasicBlock, "layers": (18, 18, 18)},
    "cifar_resnet1202": {**_CIFAR, "block": BasicBlock, "layers": (200, 200, 200)},
    "cifar_plain20": {**_CIFAR, "block": PlainBlock, "layers": (3, 3, 3)},
    "cifar_plain32": {**_CIFAR, "block": PlainBlock, "layers": (5, 5, 5)},
    "cifar_plain44": {**_CIFAR, "block": PlainBlock, "layers": (7, 7, 7)},
    "cifar_plain56": {**_CIFAR, "block": PlainBlock, "layers": (9, 9, 9)},
    "cifar_plain110": {**_CIFAR, "block": PlainBlock, "layers": (18, 18, 18)},
    "cifar_preact110": {**_CIFAR, "block": PreActBasicBlock, "layers": (18, 18, 18)},
    "cifar_preact164": {
        **_CIFAR,
        "block": PreActBottleneck,
        "layers": (18, 18, 18),
        "shortcut": "B",
    },
    "cifar_preact1001": {
        **_CIFAR,
        "block": PreActBottleneck,
        "layers": (111, 111, 111),
        "shortcut": "B",
    },
}


def cifar_resnet20(
    *, weights: CifarResnet20Tag | str | None = None, **options: Unpack[ResNetOptions]
) -> ResNet:
    """ResNet-20 for CIFAR, option A shortcuts; 269,722 parameters."""
    return build(
        ResNet, "cifar_resnet20", _SETTINGS["cifar_resnet20"], weights, options, preset=CIFAR10
    )


def cifar_resnet32(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-32 for CIFAR, option A shortcuts; 464,154 parameters."""
    return build(
        ResNet, "cifar_resnet32", _SETTINGS["cifar_resnet32"], weights, options, preset=CIFAR10
    )


def cifar_resnet44(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-44 for CIFAR, option A shortcuts; 658,586 parameters."""
    return build(
        ResNet, "cifar_resnet44", _SETTINGS["cifar_resnet44"], weights, options, preset=CIFAR10
    )


def cifar_resnet56(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-56 for CIFAR, option A shortcuts; 853,018 parameters."""
    return build(
        ResNet, "cifar_resnet56", _SETTINGS["cifar_resnet56"], weights, options, preset=CIFAR10
    )


def cifar_resnet110(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-110 for CIFAR, option A shortcuts; 1,727,962 parameters."""
    return build(
        ResNet, "cifar_resnet110", _SETTINGS["cifar_resnet110"], weights, options, preset=CIFAR10
    )


def cifar_resnet1202(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-1202 for CIFAR, option A shortcuts; 19,421,274 parameters."""
    return build(
        ResNet, "cifar_resnet1202", _SETTINGS["cifar_resnet1202"], weights, options, preset=CIFAR10
    )


def cifar_plain20(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-20 for CIFAR without its shortcuts; 269,722 parameters."""
    return build(
        ResNet, "cifar_plain20", _SETTINGS["cifar_plain20"], weights, options, preset=CIFAR10
    )


def cifar_plain32(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-32 for CIFAR without its shortcuts; 464,154 parameters."""
    return build(
        ResNet, "cifar_plain32", _SETTINGS["cifar_plain32"], weights, options, preset=CIFAR10
    )


def cifar_plain44(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-44 for CIFAR without its shortcuts; 658,586 parameters."""
    return build(
        ResNet, "cifar_plain44", _SETTINGS["cifar_plain44"], weights, options, preset=CIFAR10
    )


def cifar_plain56(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-56 for CIFAR without its shortcuts; 853,018 parameters."""
    return build(
        ResNet, "cifar_plain56", _SETTINGS["cifar_plain56"], weights, options, preset=CIFAR10
    )


def cifar_plain110(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-110 for CIFAR without its shortcuts; 1,727,962 parameters."""
    return build(
        ResNet, "cifar_plain110", _SETTINGS["cifar_plain110"], weights, options, preset=CIFAR10
    )


def cifar_preact110(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-110 for CIFAR, basic blocks, option A; 1,727,962 parameters."""
    return build(
        PreActResNet,
        "cifar_preact110",
        _SETTINGS["cifar_preact110"],
        weights,
        options,
        preset=CIFAR10,
    )


def cifar_preact164(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-164 for CIFAR, bottlenecks; 1,703,258 parameters."""
    return build(
        PreActResNet,
        "cifar_preact164",
        _SETTINGS["cifar_preact164"],
        weights,
        options,
        preset=CIFAR10,
    )


def cifar_preact1001(
    *, weights: str | None = None, **options: Unpack[ResNetOptions]
) -> PreActResNet:
    """Pre-activation ResNet-1001 for CIFAR, bottlenecks; 10,327,706 parameters."""
    return build(
        PreActResNet,
        "cifar_preact1001",
        _SETTINGS["cifar_preact1001"],
        weights,
        options,
        preset=CIFAR10,
    )


_RESNET: Final = Paper(
    "Deep Residual Learning for Image Recognition", 2015, "https://arxiv.org/abs/1512.03385"
)
_PREACT: Final = Paper(
    "Identity Mappings in Deep Residual Networks", 2016, "https://arxiv.org/abs/1603.05027"
)

MODELS: Final = (
    ModelInfo("cifar_resnet20", cifar_resnet20, "CIFAR ResNet", _RESNET, (3, 32, 32), FAN_OUT),
    ModelInfo("cifar_resnet32", cifar_resnet32, "CIFAR ResNet", _RESNET, (3, 32, 32), FAN_OUT),
    ModelInfo("cifar_resnet44", cifar_resnet44, "CIFAR ResNet", _RESNET, (3, 32, 32), FAN_OUT),
    ModelInfo("cifar_resnet56", cifar_resnet56, "CIFAR ResNet", _RESNET, (3, 32, 32), FAN_OUT),
    ModelInfo("cifar_resnet110", cifar_resnet110, "CIFAR ResNet", _RESNET, (3, 32, 32), FAN_OUT),
    ModelInfo("cifar_resnet1202", cifar_resnet1202, "CIFAR ResNet", _RESNET, (3, 32, 32), FAN_OUT),
    ModelInfo("cifar_plain20", cifar_plain20, "CIFAR plain network", _RESNET, (3, 32, 32), FAN_OUT),
    ModelInfo("cifar_plain32", cifar_plain32, "CIFAR plain network", _RESNET, (3, 32, 32), FAN_OUT),
    ModelInfo("cifar_plain44", cifar_plain44, "CIFAR plain network", _RESNET, (3, 32, 32), FAN_OUT),
    ModelInfo("cifar_plain56", cifar_plain56, "CIFAR plain network", _RESNET, (3, 32, 32), FAN_OUT),
    ModelInfo(
        "cifar_plain110", cifar_plain110, "CIFAR plain network", _RESNET, (3, 32, 32), FAN_OUT
    ),
    ModelInfo(
        "cifar_preact110",
        cifar_preact110,
        "CIFAR pre-activation ResNet",
        _PREACT,
        (3, 32, 32),
        FAN_OUT,
    ),
    ModelInfo(
        "cifar_preact164",
        cifar_preact164,
        "CIFAR pre-activation ResNet",
        _PREACT,
        (3, 32, 32),
        FAN_OUT,
    ),
    ModelInfo(
        "cifar_preact1001",
        cifar_preact1001,
        "CIFAR pre-activation ResNet",
        _PREACT,
        (3, 32, 32),
        FAN_OUT,
    ),
)
