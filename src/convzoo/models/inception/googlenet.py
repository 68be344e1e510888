"""GoogLeNet: nine Inception modules, 22 layers, global average pooling, one linear layer.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich, "Going Deeper with
Convolutions", 2014 (arXiv:1409.4842).

`googlenet_2014` is the paper's network: true 5x5 convolutions, local response normalisation,
biases, no batch normalisation. Where the paper is silent or departed from:

- LRN has the numbers of Caffe's replication (window 5, alpha 1e-4 over the window's mean, beta
  0.75, k 1); the paper gives none.
- Initialisation is Caffe's too: uniform with variance 1 / fan-in, biases 0.2, those of the three
  classifiers 0. With it the network trains without batch normalisation.
- An auxiliary head pools 5x5 with stride 3 where that gives the 4x4 it needs (maps of 14 to 16,
  images of 209 to 256 pixels), and elsewhere adaptively to 4x4, so that any size trains.

`googlenet` is torchvision's network, for its weights; it departs from the paper in that

- batch normalisation (eps 1e-3) follows every convolution, in place of its bias; there is no LRN;
- the "5x5" branch of every module is a 3x3 (github.com/pytorch/vision/issues/906);
- the last max pooling is 2x2 instead of 3x3;
- dropout is 0.2 instead of 0.4 (0.7 in the auxiliary heads, as in the paper);
- the auxiliary heads pool adaptively to 4x4 at every size;
- weights start normal with standard deviation 0.01. (torchvision truncates at 200 standard
  deviations, which is the normal distribution but slower.)

torchvision scales ImageNet-normalised images to [-1, 1] inside the network when it comes with its
weights (`transform_input`). Here that is the preset's affair: see `fold_input_affine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, overload

from convzoo._registry import ModelInfo, Paper
from convzoo.models.inception.auxiliary import build_with_or_without
from convzoo.models.inception.googlenet_network import (
    GoogLeNet,
    GoogLeNetOptions,
    GoogLeNetStem,
    GoogLeNetWithAux,
)
from convzoo.presets import IMAGENET

if TYPE_CHECKING:
    from convzoo.weights._tags import (
        GooglenetTag,
    )

GoogLeNetName = Literal["googlenet", "googlenet_2014"]

_SETTINGS: Final[dict[GoogLeNetName, dict[str, Any]]] = {
    "googlenet": {"batch_norm": True, "kernel5": 3, "pool4": 2, "dropout": 0.2},
    "googlenet_2014": {"batch_norm": False, "kernel5": 5, "pool4": 3, "dropout": 0.4},
}


@overload
def googlenet(
    *,
    weights: GooglenetTag | str | None = None,
    aux_heads: Literal[False] = False,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet: ...
@overload
def googlenet(
    *,
    weights: GooglenetTag | str | None = None,
    aux_heads: Literal[True],
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNetWithAux: ...
@overload
def googlenet(
    *,
    weights: GooglenetTag | str | None = None,
    aux_heads: bool,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet | GoogLeNetWithAux: ...
def googlenet(
    *,
    weights: GooglenetTag | str | None = None,
    aux_heads: bool = False,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet:
    """GoogLeNet as in torchvision, with BN; 6,624,904 parameters, 1.50 G multiply-adds."""
    return build_with_or_without(
        GoogLeNet,
        GoogLeNetWithAux,
        aux_heads,
        "googlenet",
        _SETTINGS["googlenet"],
        weights,
        options,
        preset=IMAGENET,
    )


@overload
def googlenet_2014(
    *,
    weights: str | None = None,
    aux_heads: Literal[False] = False,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet: ...
@overload
def googlenet_2014(
    *,
    weights: str | None = None,
    aux_heads: Literal[True],
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNetWithAux: ...
@overload
def googlenet_2014(
    *, weights: str | None = None, aux_heads: bool, **options: Unpack[GoogLeNetOptions]
) -> GoogLeNet | GoogLeNetWithAux: ...
def googlenet_2014(
    *,
    weights: str | None = None,
    aux_heads: bool = False,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet:
    """GoogLeNet as in the paper, with LRN; 6,998,552 parameters, 1.58 G multiply-adds."""
    return build_with_or_without(
        GoogLeNet,
        GoogLeNetWithAux,
        aux_heads,
        "googlenet_2014",
        _SETTINGS["googlenet_2014"],
        weights,
        options,
        preset=IMAGENET,
    )


_PAPER: Final = Paper("Going Deeper with Convolutions", 2014, "https://arxiv.org/abs/1409.4842")

MODELS: Final = (
    ModelInfo(
        "googlenet",
        googlenet,
        "GoogLeNet",
        _PAPER,
        (3, 224, 224),
        "batch normalisation for LRN and biases, 3x3 in the 5x5 branch, last pooling 2x2, "
        "dropout 0.2, adaptive pooling in the auxiliary heads, normal weights of 0.01 (all "
        "torchvision's)",
    ),
    ModelInfo(
        "googlenet_2014",
        googlenet_2014,
        "GoogLeNet",
        _PAPER,
        (3, 224, 224),
        "LRN and initialisation of Caffe's replication, which the paper leaves open; adaptive "
        "pooling in the auxiliary heads outside 209 to 256 pixels",
    ),
)

__all__ = [
    "MODELS",
    "GoogLeNet",
    "GoogLeNetName",
    "GoogLeNetOptions",
    "GoogLeNetStem",
    "GoogLeNetWithAux",
    "googlenet",
    "googlenet_2014",
]
