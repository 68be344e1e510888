"""The patches that excite a unit, beside what in them does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from convzoo.errors import InputError
from convzoo.visualize._deconvolve import Patch
from convzoo.visualize._drawing import Path, new_figure, save, show
from convzoo.visualize._pixels import pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convzoo.presets import Preset


def draw_patches(
    patches: Mapping[int, Sequence[Patch]],
    preset: Preset | nn.Module | None = None,
    *,
    path: Path = None,
) -> Figure:
    """Two rows a unit: its patches and their deconvolutions, as in the paper's figure 2.

    Args:
        patches: What [top_patches][convzoo.visualize.top_patches] returned.
        preset: What prepared the images, or the network.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure. Of a deconvolution mid-grey is zero; each is scaled by its own largest value.

    Raises:
        InputError: There are no patches.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets, visualize
        >>> net = convzoo.lenet5(activation="relu", pool="max")
        >>> data = datasets.digits().test.subset(range(20))
        >>> found = visualize.top_patches(net, data, "conv2", [0, 5], count=4)
        >>> len(visualize.draw_patches(found, net).axes)
        16
    """
    if not isinstance(patches, Mapping) or not patches or not all(patches.values()):
        raise InputError(f"patches: expected what top_patches returns, got {patches!r:.80}")
    columns = max(len(some) for some in patches.values())
    figure = new_figure(1.0 * columns + 0.8, 2.0 * len(patches))
    grid = figure.subplots(2 * len(patches), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_visible(False)
    for number, (unit, some) in enumerate(patches.items()):
        for column, patch in enumerate(some):
            above, below = grid[2 * number][column], grid[2 * number + 1][column]
            above.set_visible(True)
            below.set_visible(True)
            show(above, patch.crop(pixels(patch.image, preset)))
            show(below, patch.crop(_signed(patch.reconstruction)))
            above.set_title(f"{patch.activation:.2f}", fontsize=7, pad=2)
        grid[2 * number][0].set_ylabel(f"unit {unit}", fontsize=8)
        grid[2 * number + 1][0].set_ylabel("excites it", fontsize=8)
    return save(figure, path)


def _signed(picture: Tensor) -> Tensor:
    """Zero as mid-grey, the largest value as black or white."""
    most = float(picture.abs().max()) or 1.0
    return picture / most / 2 + 0.5
