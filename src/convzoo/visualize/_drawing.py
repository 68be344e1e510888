"""What every picture needs: a figure without pyplot, panels, a file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from convzoo.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Path = str | os.PathLike[str] | None
"""Where to write a picture; the suffix says in which format. None does not."""

FRAME = "#d62728"  # what is wrong, or is pointed at


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, on a canvas that draws to memory."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("matplotlib"):
            raise
        raise MissingExtraError(
            "pictures need matplotlib, which is not installed: pip install 'convzoo[plot]'"
        ) from None
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    # Notebooks show what has this, also where nobody has asked for `%matplotlib inline`.
    vars(figure)["_repr_png_"] = partial(_png, figure)
    return figure


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def save(figure: Figure, path: Path) -> Figure:
    """The figure, written where that is asked for."""
    if path is not None:
        figure.savefig(path)
    return figure


def panels(figure: Figure, count: int, columns: int) -> Iterator[Axes]:
    """Axes for pictures, row by row, without ticks; those left over are blank."""
    rows = -(-count // columns)
    for index, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_xticks([])
        axes.set_yticks([])
        if index < count:
            yield axes
        else:
            axes.set_axis_off()


def show(axes: Axes, image: Tensor) -> None:
    """Pixels (C, H, W) in [0, 1], grey or in colour, each as a square."""
    if image.shape[0] == 3:
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    else:
        grey = image.mean(0).numpy()
        axes.imshow(grey, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")


def show_heat(axes: Axes, heat: Tensor, *, signed: bool, alpha: float) -> None:
    """A map (H, W): from black to yellow, or with signs from blue through white to red."""
    most = float(heat.abs().max()) or 1.0
    if signed:
        axes.imshow(heat.numpy(), cmap="RdBu_r", vmin=-most, vmax=most, alpha=alpha)
    else:
        axes.imshow(heat.numpy(), cmap="inferno", vmin=0.0, vmax=most, alpha=alpha)


def frame(axes: Axes, color: str, width: float = 3.0) -> None:
    """A frame in a colour around a panel."""
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(color)
        spine.set_linewidth(width)
