"""DropBlock as a network's builder takes it: one value that says how the layers shall be."""

from __future__ import annotations

import dataclasses

from convzoo.layers.drop_block import DropBlock2d, Normalise


@dataclasses.dataclass(frozen=True)
class DropBlockConfig:
    """How a network shall use DropBlock: what its builder needs to make the layers.

    Args:
        drop_prob: Fraction of the cells to drop, in [0, 1].
        block_size: Side of the block in cells.
        per_channel: A mask for each channel (the paper) or one for all.
        normalise: `"batch"` or `"sample"`.
        calibrated: Drop exactly `drop_prob` on average.

    Raises:
        InputError: An argument is out of range.

    Examples:
        >>> from convzoo.layers import DropBlockConfig
        >>> DropBlockConfig(0.1).layer(0.25)  # a quarter of the rate, as in group 3
        DropBlock2d(drop_prob=0.025, block_size=7)
    """

    drop_prob: float = 0.1
    block_size: int = 7
    per_channel: bool = True
    normalise: Normalise = "batch"
    calibrated: bool = False

    def __post_init__(self) -> None:
        self.layer()  # its checks are ours

    def layer(self, scale: float = 1.0) -> DropBlock2d:
        """Make a layer that drops `scale * drop_prob`."""
        return DropBlock2d(
            self.drop_prob * scale,
            self.block_size,
            per_channel=self.per_channel,
            normalise=self.normalise,
            calibrated=self.calibrated,
        )
