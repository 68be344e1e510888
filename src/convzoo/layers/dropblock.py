"""DropBlock: dropout for feature maps, which drops whole blocks of neighbouring cells.

Paper: Ghiasi, Lin, Le, *DropBlock: A regularization method for convolutional networks*, 2018.

As in the paper: seeds only where the block fits inside the map, a mask for each channel, the
seed rate gamma of its equation 1, one normaliser for the batch (its official code), and nothing
at inference. Beyond it: `calibrated=True`, since the paper's gamma ignores that blocks overlap
and so drops a little less than asked (9.3 % instead of 10 % on a 14 x 14 map with block 7).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, get_args

import torch
import torch.fx
from torch import Tensor, nn

from convzoo._checks import check_count, check_flags, check_number, check_tensor
from convzoo.errors import InputError, UnknownNameError
from convzoo.layers._dropblock_ops import Normalise, drop_blocks, dropped_fraction, seed_rate


def drop_block(
    x: Tensor,
    drop_prob: float,
    block_size: int | Sequence[int] = 7,
    *,
    per_channel: bool = True,
    normalise: Normalise = "batch",
    calibrated: bool = False,
    training: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero random blocks of a map and scale up the rest.

    Args:
        x: Maps `(B, C, *size)` with one, two or three spatial axes, of a floating dtype.
        drop_prob: Fraction of the cells to drop, in [0, 1]. The paper's `keep_prob` is one
            minus it.
        block_size: Side of the block in cells, at least 1, odd or even, one number or one for
            each spatial axis. Blocks larger than the map are cut to its size.
        per_channel: Draw a mask for each channel, as in the paper; `False` shares one among
            the channels of a sample.
        normalise: `"batch"` or `"sample"`: what the scale cells / kept cells is taken over.
        calibrated: Solve for the seed rate that drops `drop_prob` on average, instead of the
            paper's approximation.
        training: `False` returns `x` itself.
        generator: Source of the random numbers, instead of PyTorch's global one. On CPU a
            CPU generator; elsewhere one of the device of `x`.

    Returns:
        A tensor of the shape, dtype and memory format of `x`; `x` itself when nothing is to
        be dropped.

    Raises:
        InputError: An argument is out of range, or `x` has the wrong shape or dtype.

    Examples:
        >>> import torch
        >>> from convzoo.layers import drop_block
        >>> g = torch.Generator().manual_seed(0)
        >>> y = drop_block(torch.ones(8, 64, 14, 14), 0.1, 7, calibrated=True, generator=g)
        >>> round((y == 0).float().mean().item(), 2), round(y.mean().item(), 4)
        (0.1, 1.0)
    """
    check_tensor("x", x)
    check_flags(per_channel=per_channel, calibrated=calibrated, training=training)
    dims = x.dim() - 2
    if not 1 <= dims <= 3:
        raise InputError(f"x: expected (B, C, *size) with 1 to 3 axes, got {tuple(x.shape)}")
    check_number("drop_prob", drop_prob, 0, 1)
    _check_normalise(normalise)
    blocks = _per_axis(block_size, dims)
    _check_floating(x)
    if not training or drop_prob == 0:
        return x
    rate = torch.tensor(drop_prob, dtype=torch.float64, device="cpu")
    return drop_blocks(x, rate, blocks, per_channel, normalise, calibrated, generator)


def drop_block_gamma(
    drop_prob: float,
    size: Sequence[int],
    block_size: int | Sequence[int] = 7,
    *,
    calibrated: bool = False,
) -> float:
    """Probability that a position of the valid region becomes the seed of a block.

    Args:
        drop_prob: Fraction of the cells to drop, in [0, 1].
        size: Spatial size of the map, in cells.
        block_size: Side of the block, cut to the map.
        calibrated: Solve for the rate at which exactly `drop_prob` is dropped on average.

    Returns:
        The rate, in [0, 1].

    Raises:
        InputError: An argument is out of range.

    Examples:
        >>> from convzoo.layers import drop_block_gamma
        >>> round(drop_block_gamma(0.1, (14, 14), 7), 5)
        0.00625
    """
    block = _check_map(drop_prob, size, block_size, calibrated)
    return seed_rate(drop_prob, tuple(size), block, calibrated)


def drop_block_fraction(
    drop_prob: float,
    size: Sequence[int],
    block_size: int | Sequence[int] = 7,
    *,
    calibrated: bool = False,
) -> float:
    """Fraction of a map that DropBlock drops on average, exactly, overlaps included.

    Args:
        drop_prob: Fraction asked for, in [0, 1].
        size: Spatial size of the map, in cells.
        block_size: Side of the block, cut to the map.
        calibrated: As in `drop_block`; the result is then
            `drop_prob`, up to rounding.

    Returns:
        The expected fraction, in [0, 1].

    Raises:
        InputError: An argument is out of range.

    Examples:
        >>> from convzoo.layers import drop_block_fraction
        >>> round(drop_block_fraction(0.1, (14, 14), 7), 4)
        0.0929
    """
    block = _check_map(drop_prob, size, block_size, calibrated)
    gamma = drop_block_gamma(drop_prob, size, block_size, calibrated=calibrated)
    return dropped_fraction(gamma, tuple(size), block)


class _DropBlock(nn.Module):
    """What DropBlock1d, 2d and 3d share: everything but the number of axes."""

    spatial_dims: ClassVar[int]

    block_size: int | tuple[int, ...]
    per_channel: bool
    normalise: Normalise
    calibrated: bool
    generator: torch.Generator | None
    _drop_prob: float
    _progress: float
    _active: bool  # whether anything is to be dropped
    _rate: Tensor  # drop_prob * progress, a float64 scalar on CPU, always

    def __init__(
        self,
        drop_prob: float = 0.1,
        block_size: int | Sequence[int] = 7,
        *,
        per_channel: bool = True,
        normalise: Normalise = "batch",
        calibrated: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_flags(per_channel=per_channel, calibrated=calibrated)
        _check_normalise(normalise)
        blocks = _per_axis(block_size, self.spatial_dims)
        self.block_size = blocks if isinstance(block_size, Sequence) else blocks[0]
        self.per_channel = per_channel
        self.normalise = normalise
        self.calibrated = calibrated
        self.generator = generator
        # No buffer: it is not state, and a network that is built on the meta device keeps it.
        self._rate = torch.zeros((), dtype=torch.float64, device="cpu")
        self._progress = 1.0
        self.drop_prob = drop_prob

    @property
    def drop_prob(self) -> float:
        """Fraction of the cells to drop, at the end of a schedule if there is one."""
        return self._drop_prob

    @drop_prob.setter
    def drop_prob(self, value: float) -> None:
        self._drop_prob = check_number("drop_prob", value, 0, 1)
        self._update()

    @property
    def progress(self) -> float:
        """Factor on `drop_prob` in [0, 1]: 1, unless a schedule moves it."""
        return self._progress

    @progress.setter
    def progress(self, value: float) -> None:
        self._progress = check_number("progress", value, 0, 1)
        self._update()

    def _update(self) -> None:
        rate = self._drop_prob * self._progress
        self._active = rate > 0
        self._rate.fill_(rate)  # in place: compiled code keeps reading this very tensor

    def forward(self, x: Tensor) -> Tensor:
        """Drop blocks of `x` `(B, C, *size)` in training; return `x` itself in evaluation."""
        if isinstance(x, torch.fx.Proxy) and getattr(x.tracer, "root", None) is self:
            # Traced all alone it cannot be a module of what holds it, as `_drop_block` needs.
            return drop_block(
                x,
                self.drop_prob * self.progress,
                self.block_size,
                per_channel=self.per_channel,
                normalise=self.normalise,
                calibrated=self.calibrated,
                training=self.training,
                generator=self.generator,
            )
        return _drop_block(self, x)

    def extra_repr(self) -> str:
        """The arguments, for `print(net)`."""
        parts = [f"drop_prob={self.drop_prob}", f"block_size={self.block_size}"]
        if not self.per_channel:
            parts.append("per_channel=False")
        if self.normalise != "batch":
            parts.append(f"normalise={self.normalise!r}")
        if self.calibrated:
            parts.append("calibrated=True")
        return ", ".join(parts)

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...


def _drop_block(layer: _DropBlock, x: Tensor) -> Tensor:
    check_tensor("x", x)
    if x.dim() != layer.spatial_dims + 2:
        raise InputError(
            f"x: expected (B, C) and {layer.spatial_dims} spatial axes, got {tuple(x.shape)}"
        )
    _check_floating(x)
    if not layer.training or not layer._active:
        return x
    return drop_blocks(
        x,
        layer._rate,
        layer.block_size,
        layer.per_channel,
        layer.normalise,
        layer.calibrated,
        layer.generator,
    )


# torch.fx sees one call. Its first argument is the layer, which so remains a module of what was
# traced: modes and schedules reach it there as they do `torch.nn.Dropout`.
torch.fx.wrap("_drop_block")
torch.fx.wrap("drop_block")


class DropBlock2d(_DropBlock):
    """DropBlock on maps `(B, C, H, W)`, as a layer.

    The identity, with no work done, in evaluation and at `drop_prob=0`. No parameters, nothing
    in the state dict. `block_size=1` is dropout; a block as large as the map is
    `torch.nn.Dropout2d`.

    Args:
        drop_prob: Fraction of the cells to drop, in [0, 1]; the paper's `keep_prob` is one
            minus it.
        block_size: Side of the block in cells, or `(height, width)`; cut to smaller maps.
        per_channel: A mask for each channel (the paper) or one for all.
        normalise: `"batch"` (official code) or `"sample"`.
        calibrated: Drop exactly `drop_prob` on average instead of the paper's approximation.
        generator: Source of the random numbers, instead of PyTorch's global one.

    Raises:
        InputError: An argument is out of range.

    Examples:
        >>> import torch
        >>> from convzoo.layers import DropBlock2d
        >>> layer = DropBlock2d(0.1, 7)
        >>> layer(torch.randn(2, 3, 7, 7)).shape
        torch.Size([2, 3, 7, 7])
        >>> x = torch.randn(2, 3, 7, 7)
        >>> layer.eval()(x) is x
        True
    """

    spatial_dims: ClassVar[int] = 2


class DropBlock1d(_DropBlock):
    """DropBlock on sequences `(B, C, L)`: see [DropBlock2d][convzoo.layers.DropBlock2d]."""

    spatial_dims: ClassVar[int] = 1


class DropBlock3d(_DropBlock):
    """DropBlock on volumes `(B, C, D, H, W)`: see [DropBlock2d][convzoo.layers.DropBlock2d]."""

    spatial_dims: ClassVar[int] = 3


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
        options = dataclasses.asdict(self)
        return DropBlock2d(options.pop("drop_prob") * scale, **options)


def _per_axis(block_size: int | Sequence[int], dims: int) -> tuple[int, ...]:
    blocks = tuple(block_size) if isinstance(block_size, Sequence) else (block_size,) * dims
    if len(blocks) != dims:
        raise InputError(
            f"block_size: expected one number, or one for each of {dims} axes, got {block_size!r}"
        )
    return tuple(check_count("block_size", b) for b in blocks)


def _check_floating(x: Tensor) -> None:
    if not x.is_floating_point():
        raise InputError(f"x: expected a floating dtype, got {x.dtype}")


def _check_normalise(normalise: str) -> None:
    if normalise not in get_args(Normalise):
        raise UnknownNameError("normalise", normalise, get_args(Normalise))


def _check_map(
    drop_prob: float, size: Sequence[int], block_size: int | Sequence[int], calibrated: bool
) -> tuple[int, ...]:
    check_flags(calibrated=calibrated)
    check_number("drop_prob", drop_prob, 0, 1)
    if not size:
        raise InputError(f"size: expected at least one axis, got {size!r}")
    sides = [check_count("size", side) for side in size]
    return tuple(min(b, s) for b, s in zip(_per_axis(block_size, len(size)), sides, strict=True))
