"""Progressive resizing: small images first."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from convzoo._checks import check_count, check_number
from convzoo.errors import InputError


class ProgressiveResizing:
    """Train on images that grow: small and quick at first, larger towards the end.

    A batch of training images is shrunk just before it goes into the network. Scoring goes on at
    the full size. With `last` below 1 training never reaches that size: random crops make objects
    look larger in training than in scoring, and a test size above the training size corrects that
    (FixRes, Touvron et al., 2019).

    Args:
        epochs: Epochs of the whole training.
        first: Side of the first images as a share of the full one, in (0, 1].
        last: Side of the last ones, in [`first`, 1].
        grow: The shares of the training between which the side grows, by the same amount every
            epoch.
        multiple: Sides are rounded to a multiple of this many pixels.

    Attributes:
        scale: The present share of the side.

    Raises:
        InputError: An argument is out of range.

    Examples:
        >>> import torch
        >>> from convzoo.training import ProgressiveResizing
        >>> resizing = ProgressiveResizing(epochs=4, first=0.5, grow=(0, 0.75))
        >>> sides = []
        >>> for epoch in (1, 2, 3, 4):
        ...     resizing.start_epoch(epoch)
        ...     sides.append(resizing(torch.zeros(2, 3, 32, 32)).shape[-1])
        >>> sides
        [16, 20, 28, 32]
    """

    def __init__(
        self,
        epochs: int,
        *,
        first: float = 0.5,
        last: float = 1.0,
        grow: tuple[float, float] = (0.25, 0.75),
        multiple: int = 4,
    ) -> None:
        self.epochs: int = check_count("epochs", epochs)
        self.first: float = check_number("first", first, 0, 1)
        self.last: float = check_number("last", last, self.first, 1)
        if self.first == 0:
            raise InputError("first: expected a share of the side in (0, 1], got 0")
        if not isinstance(grow, (tuple, list)) or len(grow) != 2:
            raise InputError(f"grow: expected a pair of shares, got {grow!r:.80}")
        begin = check_number("grow", grow[0], 0, 1)
        self.grow: tuple[float, float] = (begin, check_number("grow", grow[1], begin, 1))
        self.multiple: int = check_count("multiple", multiple)
        self.scale: float = self.first

    def start_epoch(self, epoch: int) -> None:
        """Take the size of this epoch from now on.

        Args:
            epoch: The epoch's number, from 1; beyond the last one the size is that of the last.
        """
        done = (check_count("epoch", epoch) - 1) / self.epochs
        begin, end = self.grow
        share = 1.0 if done >= end else max(done - begin, 0.0) / (end - begin)
        self.scale = self.first + (self.last - self.first) * share

    def side(self, side: int) -> int:
        """How many pixels of a side are left in this epoch.

        Args:
            side: Its full length.

        Returns:
            The length, never more than the full one.
        """
        side = check_count("side", side)
        if self.scale == 1:
            return side
        rounded = self.multiple * round(side * self.scale / self.multiple)
        return min(max(rounded, self.multiple), side)

    def __call__(self, images: Tensor) -> Tensor:
        """Shrink a batch.

        Args:
            images: (B, C, H, W), floating point.

        Returns:
            (B, C, h, w), bilinear with antialiasing; at full size the tensor itself.

        Raises:
            InputError: It is no such batch.
        """
        if not (isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point()):
            raise InputError(f"images: expected floats (B, C, H, W), got {images!r:.80}")
        size = (self.side(images.shape[2]), self.side(images.shape[3]))
        if size == images.shape[2:]:
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True)
