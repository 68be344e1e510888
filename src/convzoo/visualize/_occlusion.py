"""What a network misses most: occlusion.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013 (arXiv:1311.2901),
figure 7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from convzoo._checks import check_count, check_number
from convzoo.errors import InputError
from convzoo.visualize._pixels import ImageInput, prepare
from convzoo.visualize._probe import choose, looking, run


class Occlusion(NamedTuple):
    """What a network says with a patch of the image covered.

    Attributes:
        map: By how much the class's probability falls when a pixel is covered, the mean over the
            patches that cover it, (B, H, W); negative where it rises.
        probability: The class's probability with the patch in each place, (B, rows, columns).
        predicted: The class that scores best then, (B, rows, columns).
        target: The class of each image, (B,).
    """

    map: Tensor
    probability: Tensor
    predicted: Tensor
    target: Tensor


def occlusion(
    net: nn.Module,
    images: ImageInput,
    target: int | Sequence[int] | Tensor | None = None,
    *,
    window: int,
    stride: int | None = None,
    value: float = 0.0,
    batch_size: int = 64,
) -> Occlusion:
    """Cover a patch of each image, place by place, and watch the class's probability.

    Args:
        net: As in [grad_cam][convzoo.visualize.grad_cam]; it is only run, never differentiated.
        images: Likewise.
        target: Likewise.
        window: Side of the patch in pixels.
        stride: Pixels from one place to the next, at most `window`; None is half a window. The
            last patch may hang over the edge.
        value: What the patch is filled with, in the prepared input's units; 0 is the preset's
            mean colour, the paper's grey.
        batch_size: Covered images in one step.

    Returns:
        The map, and what the paper's figure shows: probability and best class by place.

    Raises:
        InputError: There is no such class, or a number is out of range.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.cifar_resnet20(weights="fashion_mnist")
        >>> found = visualize.occlusion(net, torch.randn(1, 1, 28, 28), window=14, stride=7)
        >>> found.map.shape, found.probability.shape
        (torch.Size([1, 28, 28]), torch.Size([1, 3, 3]))
    """
    window = check_count("window", window)
    stride = check_count("stride", max(window // 2, 1) if stride is None else stride, most=window)
    value, batch_size = check_number("value", value), check_count("batch_size", batch_size)
    with looking(net, gradients=False) as core:
        x = prepare(core, images)
        height, width = x.shape[-2:]
        if window > min(height, width):
            raise InputError(f"window: expected at most {min(height, width)} pixels, got {window}")
        scores = run(core, x)
        classes = choose(scores, target)
        whole = scores.softmax(1).gather(1, classes[:, None])  # (B, 1)
        rows, columns = (math.ceil((side - window) / stride) + 1 for side in (height, width))
        places = [(r * stride, c * stride) for r in range(rows) for c in range(columns)]
        covered = torch.ones(len(places), 1, height, width, dtype=torch.bool, device=x.device)
        for index, (top, left) in enumerate(places):
            covered[index, :, top : top + window, left : left + window] = False
        parts = [
            run(core, torch.where(some, image, value))
            for image in x
            for some in torch.split(covered, batch_size)
        ]
        found = torch.cat(parts).softmax(1).view(len(x), len(places), -1)
        chosen = classes[:, None, None].expand(-1, len(places), 1)
        probability = found.gather(2, chosen).squeeze(2)  # (B, places)
        hidden = (~covered).squeeze(1).to(x.dtype)  # (places, H, W)
        drop = torch.einsum("bp,phw->bhw", whole - probability, hidden) / hidden.sum(0)
        grid = (len(x), rows, columns)
        return Occlusion(drop, probability.view(grid), found.argmax(2).view(grid), classes)
