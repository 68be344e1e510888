"""LeNet-5, as in 1998 and as it is built today."""

from __future__ import annotations

from convzoo.models.lenet.blocks import (
    C3_TABLE,
    RBFOutput,
    ScaledTanh,
    SparseConv2d,
    Subsampling,
    digit_codes,
)
from convzoo.models.lenet.connections import connections, layer_connections
from convzoo.models.lenet.losses import LeNetMAPLoss, LeNetMSELoss
from convzoo.models.lenet.network import (
    MODELS,
    LeNet5,
    LeNet1998,
    LeNet1998Name,
    LeNet1998Options,
    LeNetActivation,
    LeNetName,
    LeNetOptions,
    LeNetPool,
    lenet5,
    lenet5_1998,
)

__all__ = [
    "C3_TABLE",
    "MODELS",
    "LeNet5",
    "LeNet1998",
    "LeNet1998Name",
    "LeNet1998Options",
    "LeNetActivation",
    "LeNetMAPLoss",
    "LeNetMSELoss",
    "LeNetName",
    "LeNetOptions",
    "LeNetPool",
    "RBFOutput",
    "ScaledTanh",
    "SparseConv2d",
    "Subsampling",
    "connections",
    "digit_codes",
    "layer_connections",
    "lenet5",
    "lenet5_1998",
]
