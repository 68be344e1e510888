"""Stochastic depth: drop whole residual branches ("drop path", elsewhere "drop connect").

Paper: Huang, Sun, Liu, Sedra, Weinberger, *Deep Networks with Stochastic Depth*, 2016.

The same layer as `torchvision.ops.StochasticDepth`, with the same two modes. It is here because
`import convzoo` does not import torchvision, because a class is needed to tell these layers
apart, and because the masks then differ between ranks and follow a generator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from convzoo.errors import InputError, UnknownNameError
from convzoo.layers._draws import uniform

StochasticDepthMode = Literal["row", "batch"]
"""`"row"`: each example keeps or loses the branch by itself; `"batch"`: all together."""


class StochasticDepth(nn.Module):
    """Zero a residual branch at random in training and scale it up otherwise.

    The identity, with no work done, in evaluation and at `p=0`.

    Args:
        p: Probability of dropping the branch, in [0, 1].
        mode: `"row"` (each example) or `"batch"` (all together, as in the paper).
        generator: Source of the random numbers, instead of PyTorch's global one; on the
            device of the input.

    Raises:
        InputError: `p` is out of range or `mode` is unknown.

    Example:
        >>> import torch
        >>> from convzoo.layers import StochasticDepth
        >>> y = StochasticDepth(0.5)(torch.ones(6, 3, 2, 2))
        >>> sorted({*y.unique().tolist(), 0.0, 2.0})
        [0.0, 2.0]
    """

    p: float
    mode: StochasticDepthMode
    generator: torch.Generator | None

    def __init__(
        self,
        p: float,
        mode: StochasticDepthMode = "row",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise InputError(f"p: expected a number in [0, 1], got {p}")
        if mode not in get_args(StochasticDepthMode):
            raise UnknownNameError("mode", mode, get_args(StochasticDepthMode))
        self.p = p
        self.mode = mode
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Drop the branch's output `x` `(B, ...)` in training; else return `x` itself."""
        if not self.training or self.p == 0:
            return x
        rows = x.shape[0] if self.mode == "row" else 1
        keep = uniform([rows] + [1] * (x.dim() - 1), x.device, self.generator) >= self.p
        # At p = 1 nothing is kept: any finite scale will do.
        return x * (keep.to(x.dtype) / max(1.0 - self.p, torch.finfo(x.dtype).tiny))

    def extra_repr(self) -> str:
        """The arguments, for `print(net)`."""
        return f"p={self.p}, mode={self.mode!r}"

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...  # noqa: D102
