"""GoogLeNet and Inception-v3: modules, networks, auxiliary heads and their loss."""

from __future__ import annotations

from convzoo.models.inception.auxiliary import (
    GoogLeNetOutput,
    InceptionV3Output,
    loss_with_aux,
)
from convzoo.models.inception.blocks import (
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
    InceptionNaive,
    InceptionReduced,
)
from convzoo.models.inception.folding import fold_input_affine, fold_preset
from convzoo.models.inception.googlenet import (
    GoogLeNet,
    GoogLeNetName,
    GoogLeNetOptions,
    GoogLeNetStem,
    GoogLeNetWithAux,
    googlenet,
    googlenet_2014,
)
from convzoo.models.inception.inception_v3 import (
    InceptionV3,
    InceptionV3Name,
    InceptionV3Options,
    InceptionV3WithAux,
    inception_v3,
)

__all__ = [
    "GoogLeNet",
    "GoogLeNetName",
    "GoogLeNetOptions",
    "GoogLeNetOutput",
    "GoogLeNetStem",
    "GoogLeNetWithAux",
    "InceptionA",
    "InceptionB",
    "InceptionC",
    "InceptionD",
    "InceptionE",
    "InceptionNaive",
    "InceptionReduced",
    "InceptionV3",
    "InceptionV3Name",
    "InceptionV3Options",
    "InceptionV3Output",
    "InceptionV3WithAux",
    "fold_input_affine",
    "fold_preset",
    "googlenet",
    "googlenet_2014",
    "inception_v3",
    "loss_with_aux",
]
