"""Local response normalisation across channels: AlexNet's and GoogLeNet's "brightness" norm.

Paper: Krizhevsky, Sutskever, Hinton, *ImageNet Classification with Deep Convolutional Neural
Networks*, 2012, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

import torch
import torch.fx
from torch import Tensor, nn

from convzoo._checks import check_count, check_number, check_tensor
from convzoo.errors import InputError, UnknownNameError

AlphaMode = Literal["sum", "mean"]
"""`"sum"`: alpha multiplies the sum of squares, as printed in the paper. `"mean"`: their mean
over the window, as Caffe, cuda-convnet and `torch.nn.LocalResponseNorm` have it."""

# Looked up once: torch 2.6 cannot trace `get_args`.
_ALPHA_MODES: Final[tuple[str, ...]] = get_args(AlphaMode)


def local_response_norm(
    x: Tensor,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    *,
    alpha_mode: AlphaMode = "sum",
) -> Tensor:
    """Divide every activation by the energy of its `size` neighbouring channels.

    `b[c] = a[c] / (k + alpha * sum(a[j]**2 for j in window(c)))**beta`, where the window is
    cut off at the first and the last channel. For an even `size` the window is one channel
    longer to the left, as in `torch.nn.functional.local_response_norm`.

    Args:
        x: Activations `(B, C, ...)` of a floating dtype. In float16 and bfloat16 the norm is
            computed in float32, on any device, and rounded once at the end.
        size: Channels in the window, at least 1.
        alpha: Weight of the squares; 1e-4 in the paper.
        beta: Exponent; 0.75 in the paper.
        k: Constant; 2 in the paper, 1 in Caffe and by default in torch.
        alpha_mode: `"sum"` for the paper's formula, `"mean"` to divide `alpha` by `size` first.
            Weights that were trained with Caffe or torch want `"mean"`.

    Returns:
        A tensor of the shape, dtype and memory format of `x`.

    Raises:
        InputError: `x` has fewer than three dimensions or is not floating, or an argument is
            out of range.

    Examples:
        >>> import torch
        >>> from convzoo.layers import local_response_norm
        >>> x = torch.full((1, 5, 1, 1), 10.0)
        >>> norm = local_response_norm(x)  # 10 / (2 + 1e-4 * 500)**0.75 in the middle channel
        >>> round(norm[0, 2, 0, 0].item(), 4)
        5.8369
    """
    check_tensor("x", x)
    _check(size, alpha, beta, k, alpha_mode)
    if x.dim() < 3:
        raise InputError(
            f"x: expected at least 3 dimensions (B, C, ...), got shape {tuple(x.shape)}"
        )
    if not x.is_floating_point():
        raise InputError(f"x: expected a floating dtype, got {x.dtype}")
    a = x if x.dtype in (torch.float32, torch.float64) else x.float()
    squares = a * a
    # Zeros beyond the first and the last channel, then `size` shifted sums: no pooling
    # kernel, so this runs in every dtype and exports as slices and additions.
    padding = [0, 0] * (x.dim() - 2) + [size // 2, (size - 1) // 2]
    padded = nn.functional.pad(squares, padding)
    channels = x.shape[1]
    energy = padded.narrow(1, 0, channels)
    for offset in range(1, size):
        energy = energy + padded.narrow(1, offset, channels)
    scale = alpha if alpha_mode == "sum" else alpha / size
    return (a * (energy * scale + k).pow(-beta)).to(x.dtype)


# torch.fx sees one call: the checks inside look at what a trace does not know.
torch.fx.wrap("local_response_norm")


class LocalResponseNorm(nn.Module):
    """Local response normalisation as a layer: `(B, C, ...) -> (B, C, ...)`.

    The same in training and evaluation; no parameters. The defaults are those of the AlexNet
    paper. `LocalResponseNorm(alpha_mode="mean", ...)` equals `torch.nn.LocalResponseNorm(...)`
    with the same numbers, and also runs in float16 and bfloat16 on CPU, where torch's fails.

    Args:
        size: Channels in the window, at least 1.
        alpha: Weight of the squares.
        beta: Exponent.
        k: Constant.
        alpha_mode: `"sum"` (the paper's formula) or `"mean"` (Caffe, cuda-convnet, torch).

    Raises:
        InputError: An argument is out of range.

    Examples:
        >>> from convzoo.layers import LocalResponseNorm
        >>> LocalResponseNorm(5, 1e-4, 0.75, 1.0, alpha_mode="mean")
        LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0, alpha_mode='mean')
    """

    size: int
    alpha: float
    beta: float
    k: float
    alpha_mode: AlphaMode

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        *,
        alpha_mode: AlphaMode = "sum",
    ) -> None:
        super().__init__()
        _check(size, alpha, beta, k, alpha_mode)
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.alpha_mode = alpha_mode

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` `(B, C, ...)` across its channels."""
        return local_response_norm(
            x, self.size, self.alpha, self.beta, self.k, alpha_mode=self.alpha_mode
        )

    def extra_repr(self) -> str:
        """The arguments, for `print(net)`."""
        return (
            f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}, "
            f"alpha_mode={self.alpha_mode!r}"
        )

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...  # noqa: D102


def _check(size: int, alpha: float, beta: float, k: float, alpha_mode: str) -> None:
    check_count("size", size)
    for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
        check_number(name, value, 0)
    if alpha_mode not in _ALPHA_MODES:
        raise UnknownNameError("alpha_mode", alpha_mode, _ALPHA_MODES)
