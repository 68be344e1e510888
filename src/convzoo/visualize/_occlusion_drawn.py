"""The figure of what a network misses most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from convzoo.errors import InputError
from convzoo.visualize._drawing import Path, new_figure, save, show
from convzoo.visualize._occlusion import Occlusion
from convzoo.visualize._pixels import ImageInput, pixels, prepare

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_occlusion(
    net: nn.Module,
    images: ImageInput,
    found: Occlusion,
    labels: Sequence[str] | None = None,
    *,
    path: Path = None,
) -> Figure:
    """Three pictures an image, as in the paper's figure 7 (arXiv:1311.2901).

    Args:
        net: The network, for its preset and labels.
        images: The images that [occlusion][convzoo.visualize.occlusion] was given.
        found: What it returned.
        labels: The classes' names; None takes the network's.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure: the image; the probability of its class with the patch in each place; and the
        class that scores best then, a colour each, those that occur named below.

    Raises:
        InputError: These are other images.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.cifar_resnet20(weights="fashion_mnist")
        >>> x = torch.randn(2, 1, 28, 28)
        >>> found = visualize.occlusion(net, x, window=14)
        >>> [axes.get_title() for axes in visualize.draw_occlusion(net, x, found).axes][2]
        'best class'
    """
    x = prepare(net, images)
    if not isinstance(found, Occlusion) or len(found.target) != len(x):
        raise InputError(
            f"found: expected what occlusion returns of these {len(x)} images, got {found!r:.80}"
        )
    own: Sequence[str] | None = getattr(net, "labels", None)
    names = labels if labels is not None else own or ()

    def name(index: int) -> str:
        return names[index] if index < len(names) else f"class {index}"

    figure = new_figure(7.2, 2.6 * len(x))
    grid = figure.subplots(len(x), 3, squeeze=False)
    for row, picture in enumerate(pixels(x, net)):
        left, middle, right = grid[row]
        for axes in grid[row]:
            axes.set_xticks([])
            axes.set_yticks([])
        show(left, picture)
        left.set_title(name(int(found.target[row])), fontsize=9)
        heat = middle.imshow(found.probability[row].cpu().numpy(), cmap="viridis", vmin=0, vmax=1)
        middle.set_title("its probability with the patch there", fontsize=9)
        figure.colorbar(heat, ax=middle, shrink=0.8)
        occurring, places = torch.unique(found.predicted[row].cpu(), return_inverse=True)
        right.imshow(places.numpy(), cmap="tab10", vmin=0, vmax=9, interpolation="nearest")
        right.set_title("best class", fontsize=9)
        from matplotlib import colormaps
        from matplotlib.patches import Patch

        colours = colormaps["tab10"]
        right.legend(
            handles=[
                Patch(color=colours(min(i, 9)), label=name(int(index)))
                for i, index in enumerate(occurring)
            ],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.02),
            fontsize=7,
            ncols=2,
        )
    return save(figure, path)
