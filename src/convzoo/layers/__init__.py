"""Layers that the classic networks need and PyTorch lacks, or gets wrong in some case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convzoo._lazy import lazy as _attributes
from convzoo.layers.dropblock import (
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    DropBlockConfig,
    drop_block,
    drop_block_fraction,
    drop_block_gamma,
)
from convzoo.layers.dropblock_schedule import DropBlockSchedule
from convzoo.layers.lrn import LocalResponseNorm, local_response_norm

if TYPE_CHECKING:
    from convzoo.layers.dropconnect import (
        DropConnectConv2d,
        DropConnectLinear,
        DropConnectOptions,
    )
    from convzoo.layers.dropconnect_swap import apply_drop_connect, remove_drop_connect
    from convzoo.layers.monte_carlo_dropout import MCDropout, mc_dropout
else:  # no network is built with these, so they wait until they are asked for
    __getattr__ = _attributes(
        __name__,
        {
            "convzoo.layers.dropconnect": [
                "DropConnectConv2d",
                "DropConnectLinear",
                "DropConnectOptions",
            ],
            "convzoo.layers.dropconnect_swap": ["apply_drop_connect", "remove_drop_connect"],
            "convzoo.layers.monte_carlo_dropout": ["MCDropout", "mc_dropout"],
        },
    )

__all__ = [
    "DropBlock1d",
    "DropBlock2d",
    "DropBlock3d",
    "DropBlockConfig",
    "DropBlockSchedule",
    "DropConnectConv2d",
    "DropConnectLinear",
    "DropConnectOptions",
    "LocalResponseNorm",
    "MCDropout",
    "apply_drop_connect",
    "drop_block",
    "drop_block_fraction",
    "drop_block_gamma",
    "local_response_norm",
    "mc_dropout",
    "remove_drop_connect",
]
