"""Matrices with their numbers in the cells, and a window that moves over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from convzoo._checks import check_count
from convzoo.errors import InputError
from convzoo.visualize._convolve import Sliding
from convzoo.visualize._drawing import Path, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_CELLS = 16  # a side; beyond it nobody reads the numbers
_MOST_STEPS = 16
_WINDOW = "#ff7f0e"


def draw_steps(sliding: Sliding, step: int | None = None, *, path: Path = None) -> Figure:
    """A convolution or a pooling with the numbers in the cells, one step or all of them.

    Args:
        sliding: What `convolution_steps` or `pooling_steps` returned.
        step: Which output to show, from 0, row by row; None shows all, one row of the picture
            each.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure: input with the window, kernel, and output as far as it is computed. Above it
        stands the arithmetic of the output's size, below each step that of its number.

    Raises:
        InputError: There is no such step, the matrix is too large to be read (more than 16 a side),
            or there are more than 16 steps to show.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> from convzoo import visualize
        >>> found = visualize.convolution_steps([[1, 2, 3, 4]] * 4, "laplacian")
        >>> [axes.get_title() for axes in visualize.draw_steps(found, 0).axes]
        ['input 4 x 4', 'kernel 3 x 3', 'output 2 x 2']
    """
    count = len(sliding.places)
    if max(sliding.padded.shape) > _MOST_CELLS:
        raise InputError(
            f"sliding: expected a matrix of at most {_MOST_CELLS} a side, padding included, to be "
            f"read as numbers, got {' x '.join(map(str, sliding.padded.shape))}"
        )
    if step is None and count > _MOST_STEPS:
        raise InputError(
            f"step: expected one of the {count} steps, from 0; all are drawn up to {_MOST_STEPS}"
        )
    steps = range(count) if step is None else [check_count("step", step, least=0, most=count - 1)]
    parts = _parts(sliding)
    widths = [part.shape[1] for part in parts]
    tall = max(part.shape[0] for part in parts)
    high = len(steps) * (0.42 * tall + 0.75) + 0.55
    figure = new_figure(max(0.42 * (sum(widths) + len(widths)), 4.5), high)
    figure.supxlabel(" ", fontsize=8)  # room for the last sum, which takes no part in the layout
    grid = figure.subplots(len(steps), len(parts), squeeze=False, width_ratios=widths)
    for row, index in zip(grid, steps, strict=True):
        _draw_step(row, sliding, index)
    figure.suptitle(f"output height: {sliding.arithmetic()}", fontsize=9)
    return save(figure, path)


def _parts(sliding: Sliding) -> list[Tensor]:
    kernel = [] if sliding.kernel is None else [sliding.kernel]
    return [sliding.padded, *kernel, sliding.output]


def _draw_step(row: list[Axes], sliding: Sliding, step: int) -> None:
    top, left = sliding.places[step]
    tall = max(part.shape[0] for part in _parts(sliding))
    (height, width), apart = sliding.window, sliding.dilation
    inside = {(top + r, left + c) for r in range(0, height, apart) for c in range(0, width, apart)}
    edge, (full_height, full_width) = sliding.padding, sliding.padded.shape
    outside = {
        (r, c)
        for r in range(full_height)
        for c in range(full_width)
        if not (edge <= r < full_height - edge and edge <= c < full_width - edge)
    }
    size = f"{full_height - 2 * edge} x {full_width - 2 * edge}"
    padded = f", padding {edge}" if edge else ""
    _draw_matrix(row[0], sliding.padded, f"input {size}{padded}", tall, inside, outside)
    if sliding.kernel is not None:
        title = f"kernel {_size(sliding.kernel)}"
        _draw_matrix(row[1], sliding.kernel, title, tall, set(), set())
    columns = sliding.output.shape[1]
    here = divmod(step, columns)
    later = {divmod(i, columns) for i in range(step + 1, sliding.output.numel())}
    title = f"output {_size(sliding.output)}"
    _draw_matrix(row[-1], sliding.output, title, tall, {here}, set(), hidden=later)
    row[0].set_xlabel(_sum(sliding, step), fontsize=8, loc="left")
    # A long sum may run under the other matrices; it must not squeeze its own.
    row[0].xaxis.label.set_in_layout(False)


def _draw_matrix(
    axes: Axes,
    matrix: Tensor,
    title: str,
    tall: int,
    marked: set[tuple[int, int]],
    grey: set[tuple[int, int]],
    hidden: set[tuple[int, int]] = frozenset(),  # type: ignore[assignment]
) -> None:
    from matplotlib.patches import Rectangle

    rows, columns = matrix.shape
    axes.set_xlim(-0.05, columns + 0.05)
    axes.set_ylim(tall + 0.05, -0.05)  # alike in all matrices of a row, so that cells are
    axes.set_aspect("equal")
    axes.set_anchor("N")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for r in range(rows):
        for c in range(columns):
            color = "#ffe0b8" if (r, c) in marked else "#eeeeee" if (r, c) in grey else "white"
            axes.add_patch(Rectangle((c, r), 1, 1, facecolor=color, edgecolor="#999999", lw=0.7))
            if (r, c) not in hidden:
                shade = "#888888" if (r, c) in grey and (r, c) not in marked else "black"
                number = _number(float(matrix[r, c]))
                size = 9 if len(number) < 5 else 6.5
                axes.text(
                    c + 0.5, r + 0.5, number, ha="center", va="center", size=size, color=shade
                )
    for r, c in marked:
        axes.add_patch(Rectangle((c, r), 1, 1, fill=False, edgecolor=_WINDOW, lw=1.6, zorder=3))


def _sum(sliding: Sliding, step: int) -> str:
    """The number of one step, worked out: products that are not zero, or the window's numbers."""
    top, left = sliding.places[step]
    (height, width), apart = sliding.window, sliding.dilation
    window = sliding.padded[top : top + height : apart, left : left + width : apart].flatten()
    result = _number(float(sliding.output.flatten()[step]))
    if sliding.kernel is None:
        numbers = ", ".join(_number(float(v)) for v in window)
        return f"{sliding.operation} of {numbers} = {result}"
    weights = sliding.kernel.flatten()
    terms = [
        f"{_number(float(v))}·{_bracketed(float(w))}"
        for v, w in zip(window, weights, strict=True)
        if float(w) != 0
    ]
    return f"{' + '.join(terms) or '0'} = {result}"


def _bracketed(value: float) -> str:
    return f"({_number(value)})" if value < 0 else _number(value)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3g}"


def _size(matrix: Tensor) -> str:
    return " x ".join(map(str, matrix.shape))
