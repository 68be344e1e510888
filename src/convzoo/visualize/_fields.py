"""Which pixels an output sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from convzoo._checks import check_count
from convzoo._trace import trace
from convzoo.errors import InputError
from convzoo.transfer._find_heads import unwrap
from convzoo.visualize._drawing import FRAME, Path, new_figure, save, show
from convzoo.visualize._pixels import ImageInput, pixels, prepare
from convzoo.visualize._probe import find_module

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ReceptiveField(NamedTuple):
    """The square of input pixels that an output of a stage sees.

    Attributes:
        stage: The stage.
        size: Its height and width in pixels.
        stride: Pixels from one output's square to the next, down and across.
        start: Row and column where the first output's square begins; below 0 it begins in the
            padding.
        outputs: Height and width of the stage's map.
        image: Height and width of the image.
    """

    stage: str
    size: tuple[int, int]
    stride: tuple[int, int]
    start: tuple[int, int]
    outputs: tuple[int, int]
    image: tuple[int, int]

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """The pixels that one output sees.

        Args:
            row: The output's row in the map.
            column: Its column.

        Returns:
            Top, left, bottom and right, the last two one past the end; what lies outside the image
            is padding.

        Raises:
            InputError: The map has no such place.
        """
        row, column = check_place((row, column), self.outputs)
        top = self.start[0] + row * self.stride[0]
        left = self.start[1] + column * self.stride[1]
        return top, left, top + self.size[0], left + self.size[1]


def receptive_field(
    net: nn.Module, stage: str | nn.Module, input_size: int | tuple[int, int] | None = None
) -> ReceptiveField:
    """The receptive field of a stage's outputs, exactly, by the arithmetic of its layers.

    Kernels, strides, paddings and dilations are followed operator by operator, without computing
    anything; where branches meet, the field covers all of them.

    Args:
        net: Any network.
        stage: A name of `net.stages`, the path of a module, or the module.
        input_size: Side of the image in pixels, or (height, width); None means what the network's
            paper or preset says.

    Returns:
        Size, stride and place.

    Raises:
        InputError: The stage sees the whole image at once, as after global pooling, or gives no
            map; or `input_size` is none and the network does not say its own.
        UnknownNameError: There is no such stage.

    Examples:
        >>> import convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.alexnet(device="meta")
        >>> field = visualize.receptive_field(net, "conv5")
        >>> field.size, field.stride, field.start
        ((163, 163), (16, 16), (-66, -66))
    """
    core = unwrap(net)
    module = find_module(core, stage)
    path = next(name for name, other in core.named_modules() if other is module)
    tracer, input_shape = trace(core, input_size)
    output = next((r.output for r in tracer.records if r.module is module), None)
    if output is None or output.ndim != 4:
        raise InputError(
            f"stage: {path!r} gives no map (B, C, h, w), so that no output has a place"
        )
    field = tracer.field_of(output)
    if field is None:
        raise InputError(f"stage: every output of {path!r} sees the whole image")
    down, across = field
    return ReceptiveField(
        stage if isinstance(stage, str) else path,
        (down.size, across.size),
        (down.stride, across.stride),
        (down.first, across.first),
        (output.shape[2], output.shape[3]),
        (input_shape[2], input_shape[3]),
    )


def check_place(place: object, size: Sequence[int]) -> tuple[int, int]:
    """A row and a column of a map of that height and width."""
    if not isinstance(place, (tuple, list)) or len(place) != 2:
        raise InputError(f"place: expected a row and a column, got {place!r:.80}")
    row, column = (
        check_count(f"place: {name}", number, least=0, most=side - 1)
        for name, number, side in zip(("row", "column"), place, size, strict=True)
    )
    return row, column


def draw_receptive_field(
    net: nn.Module,
    image: ImageInput,
    stage: str | nn.Module,
    place: tuple[int, int] | None = None,
    *,
    path: Path = None,
) -> Figure:
    """An image, and on it what one output of a stage sees.

    Args:
        net: Any network.
        image: As in [grad_cam][convzoo.visualize.grad_cam]; one image.
        stage: As in [receptive_field][convzoo.visualize.receptive_field].
        place: Row and column of the output; None is the one in the middle.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure: the square of this output in red, those of its neighbours to the right and below
        dashed, what it does not see darker.

    Raises:
        InputError: As in `receptive_field`, or the map has no such place.
        UnknownNameError: There is no such stage.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.lenet5()
        >>> figure = visualize.draw_receptive_field(net, torch.zeros(1, 28, 28), "conv2")
        >>> figure.axes[0].get_title()
        'conv2: one output sees 14 x 14 pixels, the next 2 further'
    """
    x = prepare(net, image)
    field = receptive_field(net, stage, (x.shape[2], x.shape[3]))
    middle = (field.outputs[0] // 2, field.outputs[1] // 2)
    row, column = middle if place is None else check_place(place, field.outputs)
    top, left, bottom, right = field.box(row, column)
    figure = new_figure(4.6, 4.9 * x.shape[2] / x.shape[3])
    axes = figure.subplots()
    shown = pixels(x[0], net)
    dark = shown * 0.45
    inside = (..., slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0)))
    dark[inside] = shown[inside]
    show(axes, dark)
    from matplotlib.patches import Rectangle

    for r, c, style in ((0, 1, "--"), (1, 0, "--"), (0, 0, "-")):
        if row + r < field.outputs[0] and column + c < field.outputs[1]:
            y, z, below, beside = field.box(row + r, column + c)
            axes.add_patch(
                Rectangle(
                    (z - 0.5, y - 0.5), beside - z, below - y, fill=False, edgecolor=FRAME,
                    linestyle=style, linewidth=2.0 if style == "-" else 1.0,
                )
            )  # fmt: skip
    # Where the square begins in the padding, the picture shows that.
    axes.set_xlim(min(left, 0) - 1.5, max(right, x.shape[3]) + 0.5)
    axes.set_ylim(max(bottom, x.shape[2]) + 0.5, min(top, 0) - 1.5)
    axes.set_xticks([0, x.shape[3] - 1])
    axes.set_yticks([0, x.shape[2] - 1])
    axes.set_title(
        f"{field.stage}: one output sees {field.size[0]} x {field.size[1]} pixels, "
        f"the next {field.stride[1]} further",
        fontsize=9,
    )
    return save(figure, path)
