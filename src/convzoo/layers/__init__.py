"""Layers that the classic networks need and PyTorch lacks, or gets wrong in some case."""

from convzoo.layers.drop_block import (
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    DropBlockConfig,
    drop_block,
    drop_block_fraction,
    drop_block_gamma,
)
from convzoo.layers.drop_block_schedule import DropBlockSchedule
from convzoo.layers.local_response_norm import LocalResponseNorm, local_response_norm

__all__ = [
    "DropBlock1d",
    "DropBlock2d",
    "DropBlock3d",
    "DropBlockConfig",
    "DropBlockSchedule",
    "LocalResponseNorm",
    "drop_block",
    "drop_block_fraction",
    "drop_block_gamma",
    "local_response_norm",
]
