"""Layers that the classic networks need and PyTorch lacks, or gets wrong in some case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convzoo._lazy import lazy as _lazy
from convzoo.layers.drop_block import (
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    drop_block,
    drop_block_fraction,
    drop_block_gamma,
)
from convzoo.layers.drop_block_config import DropBlockConfig
from convzoo.layers.drop_block_schedule import DropBlockSchedule
from convzoo.layers.local_response_norm import LocalResponseNorm, local_response_norm

if TYPE_CHECKING:
    from convzoo.layers.drop_connect import DropConnectConv2d, DropConnectLinear
    from convzoo.layers.monte_carlo_dropout import MCDropout, mc_dropout
    from convzoo.layers.swap_drop_connect import apply_drop_connect, remove_drop_connect
else:  # no network is built with these, so they wait until they are asked for
    __getattr__ = _lazy(
        __name__,
        {
            "convzoo.layers.drop_connect": ["DropConnectConv2d", "DropConnectLinear"],
            "convzoo.layers.monte_carlo_dropout": ["MCDropout", "mc_dropout"],
            "convzoo.layers.swap_drop_connect": ["apply_drop_connect", "remove_drop_connect"],
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
