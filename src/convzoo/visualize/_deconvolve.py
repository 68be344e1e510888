"""Which patches excite a unit, and what in them does: the deconvnet.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013 (arXiv:1311.2901).

Going down through a deconvnet is a backward pass with one rule changed (arXiv:1312.6034, section
4): the gradient of a convolution applies its filters transposed, that of max pooling puts each
value where the switch says, and ReLU passes on what is positive in the signal that comes down,
whatever was positive on the way up. Normalisation across maps is left out on the way down, as in
the paper.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from convzoo._checks import check_count
from convzoo.errors import InputError
from convzoo.layers import LocalResponseNorm
from convzoo.transfer._find_heads import unwrap
from convzoo.visualize._fields import ReceptiveField, check_place, receptive_field
from convzoo.visualize._judged import batches
from convzoo.visualize._pixels import ImageInput, prepare
from convzoo.visualize._probe import find_module, hooked, looking
from convzoo.visualize._relu_rules import ReluRule


@dataclass(frozen=True, eq=False)
class Patch:
    """A place in an image that excites a unit.

    Attributes:
        unit: The unit: a channel of the stage.
        index: Number of the image in the data.
        place: Row and column in the stage's map.
        activation: The unit's value there.
        box: Top, left, bottom and right of what it sees, clipped to the image.
        image: The prepared image, (C, H, W).
        reconstruction: What in the image excites it, by the deconvnet, (C, H, W).
    """

    unit: int
    index: int
    place: tuple[int, int]
    activation: float
    box: tuple[int, int, int, int]
    image: Tensor
    reconstruction: Tensor

    def crop(self, picture: Tensor) -> Tensor:
        """What the unit sees of a picture of the image's size, (..., height, width)."""
        top, left, bottom, right = self.box
        return picture[..., top:bottom, left:right]


def deconvnet(
    net: nn.Module,
    images: ImageInput,
    stage: str | nn.Module,
    unit: int,
    place: tuple[int, int] | None = None,
) -> Tensor:
    """What in an image excites one unit: its activation projected back to the pixels.

    Args:
        net: A network of convolutions, ReLU and max pooling, such as
            `zfnet`. What else is in it goes back by its gradient.
        images: As in [grad_cam][convzoo.visualize.grad_cam].
        stage: As in [receptive_field][convzoo.visualize.receptive_field].
        unit: A channel of the stage.
        place: Row and column in its map; None takes the largest activation of each image.

    Returns:
        Patterns (B, C, H, W), signed, in the prepared input's units but for a factor. Where the
        unit is not excited at all they are zero.

    Raises:
        InputError: There is no such unit or place, or the stage gives no map.
        UnknownNameError: There is no such stage.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.zfnet(num_classes=2)
        >>> visualize.deconvnet(net, torch.randn(1, 3, 64, 64), "conv2", unit=7).shape
        torch.Size([1, 3, 64, 64])
    """
    with looking(net) as core:
        x = prepare(core, images).detach().requires_grad_()
        module = find_module(core, stage)
        norms = [m for m in core.modules() if isinstance(m, LocalResponseNorm)]
        found: list[Tensor] = []

        def straight(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return inputs[0] + (output - inputs[0]).detach()

        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            found.append(output.clone())

        hooks: dict[nn.Module, Any] = dict.fromkeys(norms, straight)
        with ReluRule("deconvnet"), hooked({**hooks, module: keep}):
            core(x.clone())
            maps = _checked(found, unit)[:, unit]  # (B, h, w)
            if place is None:
                picked = maps.flatten(1).amax(1)
            else:
                row, column = check_place(place, maps.shape[1:])
                picked = maps[:, row, column]
            # The signal that comes down is the activation itself.
            (back,) = torch.autograd.grad(picked, x, picked.detach())
        return back


def top_patches(
    net: nn.Module,
    data: Dataset[Any] | Iterable[Any],
    stage: str,
    units: Sequence[int],
    *,
    count: int = 9,
    batch_size: int = 32,
) -> dict[int, tuple[Patch, ...]]:
    """The image patches that excite some units most, each with its deconvolution.

    Of each image only the strongest place counts, so that the patches come from different images.

    Args:
        net: As in [deconvnet][convzoo.visualize.deconvnet].
        data: A data set or an iterable of images, or of pairs (image, label); raw images go through
            the network's preset. They are read once.
        stage: A name of `net.stages` or the path of a module.
        units: Channels of the stage.
        count: Patches for each unit.
        batch_size: Images in one step.

    Returns:
        Unit -> its patches, the strongest first; fewer where there are fewer images.

    Raises:
        InputError: There are no images, there is no such unit, or the stage gives no map.
        UnknownNameError: There is no such stage.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets, visualize
        >>> net = convzoo.lenet5(activation="relu", pool="max")
        >>> data = datasets.digits().test.subset(range(20))
        >>> found = visualize.top_patches(net, data, "conv2", [0, 5], count=4)
        >>> [patch.activation >= found[5][-1].activation for patch in found[5]]
        [True, True, True, True]
    """
    count, batch_size = check_count("count", count), check_count("batch_size", batch_size)
    best: dict[int, list[tuple[float, int, tuple[int, int], Tensor]]] = {u: [] for u in units}
    seen = 0
    with looking(net, gradients=False) as core:
        module = find_module(core, stage)
        found: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            found.append(output.clone())

        for items in batches(data, batch_size):
            x = prepare(core, [i[0] if isinstance(i, (tuple, list)) else i for i in items])
            found.clear()
            with hooked({module: keep}):
                core(x)
            for unit, strongest in best.items():
                maps = _checked(found, unit)[:, unit]
                values, where = maps.flatten(1).max(1)
                for i, (value, flat) in enumerate(
                    zip(values.tolist(), where.tolist(), strict=True)
                ):
                    entry = (value, -seen - i, divmod(flat, maps.shape[2]), x[i])
                    if len(strongest) < count:
                        heapq.heappush(strongest, entry)
                    elif entry[:2] > strongest[0][:2]:
                        heapq.heapreplace(strongest, entry)
            seen += len(x)
    if not seen:
        raise InputError("data: expected at least one image, got none")
    fields: dict[tuple[int, ...], ReceptiveField] = {}
    patches: dict[int, tuple[Patch, ...]] = {}
    for unit, strongest in best.items():
        chosen = []
        for value, number, place, image in sorted(strongest, key=lambda e: e[:2], reverse=True):
            size = (image.shape[1], image.shape[2])
            if size not in fields:
                fields[size] = receptive_field(unwrap(net), stage, size)
            top, left, bottom, right = fields[size].box(*place)
            box = (max(top, 0), max(left, 0), min(bottom, size[0]), min(right, size[1]))
            back = deconvnet(net, image, stage, unit, place)[0]
            chosen.append(Patch(unit, -number, place, value, box, image.cpu(), back.cpu()))
        patches[unit] = tuple(chosen)
    return patches


def _checked(found: list[Tensor], unit: int) -> Tensor:
    if not found or found[-1].ndim != 4:
        got = tuple(found[-1].shape) if found else "nothing"
        raise InputError(f"stage: expected a map (B, C, h, w) from it, got {got}")
    check_count("unit", unit, least=0, most=found[-1].shape[1] - 1)
    return found[-1]
