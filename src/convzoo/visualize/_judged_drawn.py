"""Images with what a network says of them: bars, frames, and confidence against accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from convzoo._checks import check_count
from convzoo._modes import check_network
from convzoo.inference import Prediction, Predictor
from convzoo.training import Calibration
from convzoo.visualize._drawing import FRAME, Path, frame, new_figure, save, show
from convzoo.visualize._judged import Judged, check_judged
from convzoo.visualize._pixels import pixels, prepare

if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from convzoo.presets import Preset

_MOST = 100
_RIGHT, _OTHER = "#2ca02c", "#b0b7bf"


def draw_predictions(
    judged: Sequence[Judged],
    preset: Preset | nn.Module | None = None,
    *,
    columns: int = 3,
    path: Path = None,
) -> Figure:
    """Images with the likeliest classes as bars beside them; wrong ones are framed red.

    Args:
        judged: What [predictions][convzoo.visualize.predictions] or
            [top_losses][convzoo.visualize.top_losses] returned.
        preset: What prepared the images, or the network.
        columns: Images in a row.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure, two axes an image. The bar of the actual class is green, and its probability
        stands above the image, also where it is not among the likeliest.

    Raises:
        InputError: There are no images, or more than 100.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets, visualize
        >>> net = convzoo.lenet5()
        >>> said = visualize.predictions(net, datasets.digits().test.subset(range(5)))
        >>> len(visualize.draw_predictions(said, net).axes)
        10
    """
    check_judged(judged, _MOST)
    across = min(check_count("columns", columns), len(judged))
    rows = -(-len(judged) // across)
    figure = new_figure(3.3 * across, 1.55 * rows)
    grid = figure.subplots(rows, 2 * across, squeeze=False, width_ratios=[1.0, 1.1] * across)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for index in range(rows * across):
        row, column = divmod(index, across)
        left, right = grid[row][2 * column], grid[row][2 * column + 1]
        if index >= len(judged):
            figure.delaxes(left)
            figure.delaxes(right)
            continue
        one = judged[index]
        show(left, pixels(one.image, preset))
        left.set_title(f"{one.name}: {one.probability:.1%}", fontsize=8)
        if not one.right:
            frame(left, FRAME)
        _bars(right, one.best, one.label)
    return save(figure, path)


def draw_top_k(
    net: nn.Module,
    image: str | os.PathLike[str] | Image | Tensor,
    top_k: int = 5,
    *,
    path: Path = None,
) -> Figure:
    """An image as the network gets it, and its likeliest classes as bars.

    Args:
        net: A network with a preset.
        image: As [Predictor][convzoo.inference.Predictor] takes it: a file, a PIL image, or a
            tensor (C, H, W), uint8 or floating point in [0, 1].
        top_k: How many classes.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure.

    Raises:
        DataError: The file is missing or is not an image.
        InputError: The network has no preset, or `top_k` is out of range.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.lenet5(weights="fashion_mnist")
        >>> figure = visualize.draw_top_k(net, torch.zeros(1, 28, 28, dtype=torch.uint8))
        >>> [len(axes.patches) for axes in figure.axes]
        [0, 5]
    """
    check_network(net)
    modes = [(module, module.training) for module in net.modules()]
    predictor = Predictor(net, top_k=top_k)
    said = predictor(image)
    for module, mode in modes:
        module.training = mode
    raw = image
    if isinstance(image, Tensor) and image.is_floating_point():
        raw = (image * 255).round().clamp(0, 255).byte()  # a picture, not a prepared input
    figure = new_figure(6.0, 0.28 * len(said) + 1.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.0, 1.2])
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    show(left, pixels(prepare(net, raw)[0], net))
    _bars(right, said, None, size=9)
    return save(figure, path)


def draw_calibration(found: Calibration, *, path: Path = None) -> Figure:
    """Accuracy against confidence; a network that is as often right as it says keeps to the line.

    Args:
        found: What [calibration][convzoo.visualize.calibration] returned.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure.

    Raises:
        ConvzooError: The `plot` extra is not installed.
    """
    figure = new_figure(4.2, 4.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    most = max(found.samples)
    sizes = [20 + 180 * n / most for n in found.samples]
    axes.plot(found.confidence, found.accuracy, color="#1f77b4", linewidth=1)
    axes.scatter(found.confidence, found.accuracy, s=sizes, color="#1f77b4", alpha=0.8)
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel("confidence: probability of the likeliest class")
    axes.set_ylabel("accuracy")
    axes.set_title(f"expected calibration error {found.error:.1%}; area: images", fontsize=9)
    axes.grid(visible=True, alpha=0.3)
    return save(figure, path)


def _bars(axes: Axes, best: Sequence[Prediction], label: int | None, size: int = 7) -> None:
    """A bar a class, its name and probability in it."""
    for row, one in enumerate(best):
        axes.barh(row, one.probability, color=_RIGHT if one.index == label else _OTHER, height=0.8)
        text = one.label if len(one.label) <= 24 else f"{one.label[:23]}…"
        axes.text(0.02, row, f"{text}  {one.probability:.1%}", va="center", fontsize=size)
    axes.set_xlim(0, 1)
    axes.set_ylim(max(len(best), 3) - 0.4, -0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)
