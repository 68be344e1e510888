"""A convolution and a pooling, at once and step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from convzoo._checks import check_choice, check_count
from convzoo.errors import InputError
from convzoo.visualize._kernels import KernelName, kernel as named_kernel

if TYPE_CHECKING:
    from PIL.Image import Image

Matrix = Tensor | Sequence[Sequence[float]]
"""Numbers in rows and columns."""
PoolMode = Literal["max", "average"]


class Sliding(NamedTuple):
    """What a convolution or a pooling does in each place.

    Attributes:
        padded: The input with its padding, (H, W).
        kernel: The kernel, (h, w); None for a pooling.
        output: What comes out, (rows, columns).
        places: The upper left corner of the window in `padded` for each output, row by row.
        window: Height and width that a window spans, dilation included.
        stride: From one window to the next.
        padding: Rows and columns of zeros on each side.
        dilation: From one element of a window to the next.
        operation: `"convolution"`, `"max"` or `"average"`.
    """

    padded: Tensor
    kernel: Tensor | None
    output: Tensor
    places: tuple[tuple[int, int], ...]
    window: tuple[int, int]
    stride: int
    padding: int
    dilation: int
    operation: str

    def arithmetic(self) -> str:
        """The output's height in numbers, as in floor((n + 2 p - d (k - 1) - 1) / s) + 1."""
        span, n = self.window[0], self.padded.shape[0] - 2 * self.padding
        k = (span - 1) // self.dilation + 1
        return (
            f"floor(({n} + 2·{self.padding} - {self.dilation}·({k} - 1) - 1) / {self.stride}) + 1 "
            f"= {self.output.shape[0]}"
        )


def convolve(
    image: Tensor | Image,
    kernel: KernelName | str | Matrix,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """Slide a kernel over an image, each channel by itself.

    As in every CNN the kernel is not turned over first: it is a cross-correlation.

    Args:
        image: (H, W), (C, H, W) or (B, C, H, W); or a PIL image, taken as grey or colour in [0, 1].
        kernel: A name that [kernel][convzoo.visualize.kernel] knows, a letter, a digit, or numbers
            (h, w).
        stride: Pixels from one output to the next.
        padding: Rows and columns of zeros on each side.
        dilation: Pixels from one element of the kernel to the next.

    Returns:
        Of the image's number of axes; each side is
        `floor((n + 2 padding - dilation (k - 1) - 1) / stride) + 1`.

    Raises:
        InputError: The image or the kernel is none, or the kernel is larger than the image.
        UnknownNameError: There is no kernel of that name.

    Examples:
        >>> import torch
        >>> from convzoo import visualize
        >>> step = torch.tensor([[0.0, 0, 0, 1, 1, 1]] * 3)  # dark to the left, bright to the right
        >>> visualize.convolve(step, "sobel_x").tolist()
        [[0.0, 4.0, 4.0, 0.0]]
    """
    x = _as_tensor(image)
    weight = _as_kernel(kernel)
    stride = check_count("stride", stride)
    padding = check_count("padding", padding, least=0)
    dilation = check_count("dilation", dilation)
    for side, k in zip(x.shape[-2:], weight.shape, strict=True):
        if side + 2 * padding < dilation * (k - 1) + 1:
            raise InputError(
                f"kernel: expected one of at most the padded image's {side + 2 * padding} pixels, "
                f"got {dilation * (k - 1) + 1}"
            )
    flat = x.reshape(-1, 1, *x.shape[-2:])
    out = F.conv2d(
        flat, weight[None, None].to(x), stride=stride, padding=padding, dilation=dilation
    )
    return out.reshape(*x.shape[:-2], *out.shape[-2:])


def convolution_steps(
    matrix: Matrix,
    kernel: KernelName | str | Matrix,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Sliding:
    """A convolution of a small matrix, place by place; `draw_steps` draws it.

    Args:
        matrix: (H, W).
        kernel: As in [convolve][convzoo.visualize.convolve].
        stride: Likewise.
        padding: Likewise.
        dilation: Likewise.

    Returns:
        The padded matrix, the kernel, the output, and where each window lies.

    Raises:
        InputError: As in `convolve`.
        UnknownNameError: There is no kernel of that name.

    Examples:
        >>> from convzoo import visualize
        >>> found = visualize.convolution_steps([[1, 2, 3, 4]] * 4, [[1, 0, -1]] * 3)
        >>> found.output.tolist(), found.places[1]
        ([[-6.0, -6.0], [-6.0, -6.0]], (0, 1))
        >>> found.arithmetic()
        'floor((4 + 2·0 - 1·(3 - 1) - 1) / 1) + 1 = 2'
    """
    x, weight = _as_matrix("matrix", matrix), _as_kernel(kernel)
    output = convolve(x, weight, stride=stride, padding=padding, dilation=dilation)
    return _sliding(
        x, weight, output, tuple(weight.shape), stride, padding, dilation, "convolution"
    )


def pooling_steps(
    matrix: Matrix, window: int = 2, *, stride: int | None = None, mode: PoolMode = "max"
) -> Sliding:
    """A pooling of a small matrix, place by place; `draw_steps` draws it.

    Args:
        matrix: (H, W).
        window: Side of the window.
        stride: From one window to the next; None is the window's side.
        mode: `"max"` or `"average"`.

    Returns:
        The matrix, the output, and where each window lies.

    Raises:
        InputError: The window is larger than the matrix, or a number is out of range.

    Examples:
        >>> from convzoo import visualize
        >>> visualize.pooling_steps([[1, 2, 5, 6], [3, 4, 7, 8]]).output.tolist()
        [[4.0, 8.0]]
    """
    x = _as_matrix("matrix", matrix)
    window = check_count("window", window, most=min(x.shape))
    stride = check_count("stride", window if stride is None else stride)
    check_choice("mode", mode, get_args(PoolMode))
    pool = F.max_pool2d if mode == "max" else F.avg_pool2d
    output = pool(x[None], window, stride)[0]
    return _sliding(x, None, output, (window, window), stride, 0, 1, mode)


def _sliding(
    x: Tensor,
    weight: Tensor | None,
    output: Tensor,
    size: tuple[int, ...],
    stride: int,
    padding: int,
    dilation: int,
    operation: str,
) -> Sliding:
    rows, columns = output.shape
    places = tuple((r * stride, c * stride) for r in range(rows) for c in range(columns))
    height, width = (dilation * (k - 1) + 1 for k in size)
    return Sliding(
        F.pad(x, (padding,) * 4),
        weight,
        output,
        places,
        (height, width),
        stride,
        padding,
        dilation,
        operation,
    )


def _as_tensor(image: object) -> Tensor:
    if not isinstance(image, Tensor):
        from PIL.Image import Image
        from torchvision.transforms.v2.functional import pil_to_tensor

        if not isinstance(image, Image):
            raise InputError(f"image: expected a tensor or a PIL image, got {image!r:.80}")
        x: Tensor = pil_to_tensor(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    else:
        x = image
    if x.ndim not in (2, 3, 4) or not x.numel():
        raise InputError(
            f"image: expected (H, W), (C, H, W) or (B, C, H, W), got shape {tuple(x.shape)}"
        )
    return x / 255 if x.dtype == torch.uint8 else x.float()


def _as_kernel(kernel: object) -> Tensor:
    return named_kernel(kernel) if isinstance(kernel, str) else _as_matrix("kernel", kernel)


def _as_matrix(name: str, value: object) -> Tensor:
    try:
        matrix = torch.as_tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        matrix = torch.empty(0)
    if matrix.ndim != 2 or not matrix.numel():
        raise InputError(f"{name}: expected numbers in rows and columns (H, W), got {value!r:.80}")
    return matrix
