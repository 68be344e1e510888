"""The curves of the usual activation functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from convzoo._checks import check_choice, check_count, check_number
from convzoo.errors import InputError
from convzoo.visualize._drawing import Path, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ActivationName = Literal[
    "step", "sigmoid", "tanh", "scaled_tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu",
    "hardswish", "mish", "softplus",
]  # fmt: skip
"""The functions whose curves are known; `"scaled_tanh"` is LeNet-5's 1.7159 tanh(2 x / 3)."""

_FUNCTIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "step": lambda x: (x > 0).to(x.dtype) + 0 * x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "scaled_tanh": lambda x: 1.7159 * torch.tanh(2 / 3 * x),
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "mish": F.mish,
    "softplus": F.softplus,
}


class ActivationCurve(NamedTuple):
    """An activation function at some points.

    Attributes:
        x: The points, (N,).
        y: The function's values, (N,).
        slope: Its derivative, (N,).
    """

    x: Tensor
    y: Tensor
    slope: Tensor


def activations(
    names: Sequence[ActivationName] | None = None,
    *,
    least: float = -4.0,
    most: float = 4.0,
    points: int = 401,
) -> dict[str, ActivationCurve]:
    """Activation functions and their derivatives, computed by torch.

    Args:
        names: Which; None means all.
        least: Where the curves begin.
        most: Where they end.
        points: Points in each.

    Returns:
        Name -> curve.

    Raises:
        UnknownNameError: There is no such function.
        InputError: The range is empty, or a number is out of range.

    Examples:
        >>> from convzoo import visualize
        >>> curve = visualize.activations(["sigmoid"], points=5)["sigmoid"]
        >>> [round(v, 3) for v in curve.slope.tolist()]
        [0.018, 0.105, 0.25, 0.105, 0.018]
    """
    least, most = check_number("least", least), check_number("most", most)
    points = check_count("points", points, least=2)
    if least >= most:
        raise InputError(f"most: expected a number above {least:g}, got {most:g}")
    curves = {}
    for name in get_args(ActivationName) if names is None else names:
        check_choice("name", name, get_args(ActivationName))
        with torch.inference_mode(mode=False), torch.enable_grad():
            x = torch.linspace(least, most, points, requires_grad=True)
            y = _FUNCTIONS[name](x)
            (slope,) = torch.autograd.grad(y.sum(), x)
        curves[name] = ActivationCurve(x.detach(), y.detach(), slope)
    return curves


def draw_activations(curves: Mapping[str, ActivationCurve], *, path: Path = None) -> Figure:
    """Each curve in a panel, its derivative dashed.

    Args:
        curves: What [activations][convzoo.visualize.activations] returned.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure.

    Raises:
        InputError: There are no curves.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> from convzoo import visualize
        >>> figure = visualize.draw_activations(visualize.activations(["relu", "tanh"]))
        >>> [axes.get_title() for axes in figure.axes]
        ['relu', 'tanh']
    """
    if (
        not isinstance(curves, Mapping)
        or not curves
        or not all(isinstance(curve, ActivationCurve) for curve in curves.values())
    ):
        raise InputError(f"curves: expected what activations returns, got {curves!r:.80}")
    columns = min(len(curves), 4)
    rows = -(-len(curves) // columns)
    figure = new_figure(2.2 * columns, 1.9 * rows + 0.3)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    for axes, (name, curve) in zip(grid, curves.items(), strict=False):
        axes.axhline(0, color="#bbbbbb", linewidth=0.8)
        axes.axvline(0, color="#bbbbbb", linewidth=0.8)
        axes.plot(curve.x.numpy(), curve.y.numpy(), label="value")
        axes.plot(curve.x.numpy(), curve.slope.numpy(), linestyle="--", label="slope")
        axes.set_title(name, fontsize=9)
        axes.set_ylim(-2.0, 2.5)
        axes.tick_params(labelsize=7, labelbottom=True)
    for axes in grid[len(curves) :]:
        figure.delaxes(axes)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    return save(figure, path)
