"""VGG: 3 x 3 convolutions only, 11 to 19 layers deep.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014
(arXiv:1409.1556), configurations A, A-LRN, B, C, D and E. State-dict keys and shapes are
torchvision's where it has the network.

Where this departs from the paper:

- The default initialisation is torchvision's: He's normal rule by fan-out in the convolutions,
  N(0, 0.01) in the linear layers. `paper_init=True` is the paper's N(0, 0.1), a variance of 0.01
  (often misread as a standard deviation of 0.01). The paper starts only configuration A from it,
  and the deeper ones from A's first four convolutions and fully connected layers: class scores
  begin at some 1e6 in `vgg11` and 1e8 in `vgg16`.
- The `_bn` forms, with batch normalisation after every convolution, came later (2015).
- Other image sizes than 224 pixels are pooled to 7 x 7 before the fully connected layers. The
  paper evaluates larger images densely: `to_fully_convolutional` does that.
- Presets divide by the standard deviation; the paper subtracts the mean only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

from convzoo._build import build
from convzoo._registry import ModelInfo, Paper
from convzoo.models.vgg.dense import FullyConvolutionalVGG, to_fully_convolutional
from convzoo.models.vgg.network import VGG, VGGOptions
from convzoo.presets import IMAGENET

if TYPE_CHECKING:
    from convzoo.weights._tags import (
        Vgg11BnTag,
        Vgg11Tag,
        Vgg13BnTag,
        Vgg13Tag,
        Vgg16BnTag,
        Vgg16Tag,
        Vgg19BnTag,
        Vgg19Tag,
    )

VGGName = Literal[
    "vgg11",
    "vgg11_lrn",
    "vgg13",
    "vgg16_1x1",
    "vgg16",
    "vgg19",
    "vgg11_bn",
    "vgg13_bn",
    "vgg16_bn",
    "vgg19_bn",
]

# Kernel sizes of each block's convolutions; max pooling 2 x 2 ends a block.
_A: Final = ((3,), (3,), (3, 3), (3, 3), (3, 3))
_B: Final = ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3))
_C: Final = ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1))
_D: Final = ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
_E: Final = ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3))

_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "vgg11": {"blocks": _A},
    "vgg11_lrn": {"blocks": _A, "local_response_norm": True},
    "vgg13": {"blocks": _B},
    "vgg16_1x1": {"blocks": _C},
    "vgg16": {"blocks": _D},
    "vgg19": {"blocks": _E},
    "vgg11_bn": {"blocks": _A, "batch_norm": True},
    "vgg13_bn": {"blocks": _B, "batch_norm": True},
    "vgg16_bn": {"blocks": _D, "batch_norm": True},
    "vgg19_bn": {"blocks": _E, "batch_norm": True},
}


def vgg11(*, weights: Vgg11Tag | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-11, configuration A; 132,863,336 parameters, 7.61 G multiply-adds."""
    return build(VGG, "vgg11", _SETTINGS["vgg11"], weights, options, preset=IMAGENET)


def vgg11_lrn(*, weights: str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-11 with local response normalisation, configuration A-LRN; 132,863,336 parameters."""
    return build(VGG, "vgg11_lrn", _SETTINGS["vgg11_lrn"], weights, options, preset=IMAGENET)


def vgg13(*, weights: Vgg13Tag | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-13, configuration B; 133,047,848 parameters, 11.31 G multiply-adds."""
    return build(VGG, "vgg13", _SETTINGS["vgg13"], weights, options, preset=IMAGENET)


def vgg16_1x1(*, weights: str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-16 with 1 x 1 convolutions, configuration C; 133,638,952 parameters."""
    return build(VGG, "vgg16_1x1", _SETTINGS["vgg16_1x1"], weights, options, preset=IMAGENET)


def vgg16(*, weights: Vgg16Tag | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-16, configuration D; 138,357,544 parameters, 15.47 G multiply-adds."""
    return build(VGG, "vgg16", _SETTINGS["vgg16"], weights, options, preset=IMAGENET)


def vgg19(*, weights: Vgg19Tag | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-19, configuration E; 143,667,240 parameters, 19.63 G multiply-adds."""
    return build(VGG, "vgg19", _SETTINGS["vgg19"], weights, options, preset=IMAGENET)


def vgg11_bn(*, weights: Vgg11BnTag | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-11 with batch normalisation; 132,868,840 parameters, 7.61 G multiply-adds."""
    return build(VGG, "vgg11_bn", _SETTINGS["vgg11_bn"], weights, options, preset=IMAGENET)


def vgg13_bn(*, weights: Vgg13BnTag | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-13 with batch normalisation; 133,053,736 parameters, 11.31 G multiply-adds."""
    return build(VGG, "vgg13_bn", _SETTINGS["vgg13_bn"], weights, options, preset=IMAGENET)


def vgg16_bn(*, weights: Vgg16BnTag | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-16 with batch normalisation; 138,365,992 parameters, 15.47 G multiply-adds."""
    return build(VGG, "vgg16_bn", _SETTINGS["vgg16_bn"], weights, options, preset=IMAGENET)


def vgg19_bn(*, weights: Vgg19BnTag | str | None = None, **options: Unpack[VGGOptions]) -> VGG:
    """VGG-19 with batch normalisation; 143,678,248 parameters, 19.63 G multiply-adds."""
    return build(VGG, "vgg19_bn", _SETTINGS["vgg19_bn"], weights, options, preset=IMAGENET)


_PAPER: Final = Paper(
    "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    2014,
    "https://arxiv.org/abs/1409.1556",
)
_INIT: Final = "initialised as torchvision does; paper_init=True for the paper's"
_BN: Final = "batch normalisation, which the paper does not have; initialised as torchvision does"
_BUILDERS: Final = (
    (vgg11, _INIT),
    (vgg11_lrn, _INIT),
    (vgg13, _INIT),
    (vgg16_1x1, _INIT),
    (vgg16, _INIT),
    (vgg19, _INIT),
    (vgg11_bn, _BN),
    (vgg13_bn, _BN),
    (vgg16_bn, _BN),
    (vgg19_bn, _BN),
)

MODELS: Final = tuple(
    ModelInfo(builder.__name__, builder, "VGG", _PAPER, (3, 224, 224), departs)
    for builder, departs in _BUILDERS
)

__all__ = [
    "MODELS",
    "VGG",
    "FullyConvolutionalVGG",
    "VGGName",
    "VGGOptions",
    "to_fully_convolutional",
    "vgg11",
    "vgg11_bn",
    "vgg11_lrn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_1x1",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]
