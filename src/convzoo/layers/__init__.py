"""Layers that the classic networks need and PyTorch lacks, or gets wrong in some case."""

from convzoo.layers.apply_drop_connect import apply_drop_connect, remove_drop_connect
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
from convzoo.layers.drop_connect import DropConnectConv2d, DropConnectLinear
from convzoo.layers.local_response_norm import LocalResponseNorm, local_response_norm
from convzoo.layers.mc_dropout import MCDropout, mc_dropout

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
