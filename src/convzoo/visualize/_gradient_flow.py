"""How much of the loss's gradient reaches each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convzoo.errors import InputError
from convzoo.transfer._find_heads import unwrap
from convzoo.visualize._drawing import Path, new_figure, save
from convzoo.visualize._pixels import ImageInput, prepare
from convzoo.visualize._probe import choose

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LayerGradient(NamedTuple):
    """The gradient of one weight.

    Attributes:
        name: The weight's name.
        mean: Mean of its absolute values.
        norm: Its Euclidean norm.
        weight_norm: That of the weight itself.
    """

    name: str
    mean: float
    norm: float
    weight_norm: float


def gradient_flow(
    net: nn.Module, images: ImageInput, labels: int | Sequence[int] | Tensor
) -> tuple[LayerGradient, ...]:
    """Gradients of the cross-entropy by every weight, as one step of training would see them.

    The network runs in the modes it is in (a new one is in training mode); frozen weights count as
    well. Nothing of it changes: no gradient is left, no running statistic moves.

    Args:
        net: Any network that scores classes.
        images: As in [grad_cam][convzoo.visualize.grad_cam].
        labels: The class of each image.

    Returns:
        One record for each weight of more than one axis, from the first layer to the last; biases
        and normalisation are left out.

    Raises:
        InputError: There is no such class, or the network gives no scores.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> x = torch.randn(4, 1, 28, 28)
        >>> flow = visualize.gradient_flow(convzoo.lenet5(), x, labels=[0, 1, 2, 3])
        >>> [layer.name for layer in flow]
        ['conv1.weight', 'conv2.weight', 'fc1.weight', 'fc2.weight', 'fc3.weight']
    """
    core = unwrap(net)
    with (
        torch.inference_mode(mode=False),
        torch.enable_grad(),
        torch.compiler.set_stance("force_eager"),
    ):
        x = prepare(core, images)
        weights = {
            name: p.detach().clone().requires_grad_(p.is_floating_point())
            for name, p in core.named_parameters()
        }
        buffers = {name: b.detach().clone() for name, b in core.named_buffers()}
        scores: object = torch.func.functional_call(core, {**weights, **buffers}, (x,))
        if isinstance(scores, tuple):  # with auxiliary heads, the main scores
            scores = scores[0]
        if not isinstance(scores, Tensor) or scores.ndim != 2:
            raise InputError("net: expected scores (B, num_classes) from it")
        loss = F.cross_entropy(scores, choose(scores, labels))
        chosen = {name: p for name, p in weights.items() if p.ndim > 1}
        found = torch.autograd.grad(loss, list(chosen.values()), allow_unused=True)
    return tuple(
        LayerGradient(name, float(g.abs().mean()), float(g.norm()), float(p.detach().norm()))
        for (name, p), g in zip(chosen.items(), found, strict=True)
        if g is not None
    )


def draw_gradient_flow(
    flows: Mapping[str, Sequence[LayerGradient]], *, path: Path = None
) -> Figure:
    """Mean absolute gradients from the first layer to the last, one line a network.

    Args:
        flows: Name of the network -> what [gradient_flow][convzoo.visualize.gradient_flow]
            returned.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure; its upright axis is logarithmic.

    Raises:
        InputError: There is nothing to draw.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> x, y = torch.randn(4, 1, 28, 28), [0, 1, 2, 3]
        >>> flow = visualize.gradient_flow(convzoo.lenet5(), x, y)
        >>> visualize.draw_gradient_flow({"lenet5": flow}).axes[0].get_yscale()
        'log'
    """
    if not isinstance(flows, Mapping) or not flows or not all(flows.values()):
        raise InputError(f"flows: expected a name and its gradients each, got {flows!r:.80}")
    figure = new_figure(7.0, 3.6)
    axes = figure.subplots()
    for name, layers in flows.items():
        means = [layer.mean or float("nan") for layer in layers]  # zero has no logarithm
        axes.plot(range(1, len(layers) + 1), means, marker=".", label=name)
    axes.set_yscale("log")
    axes.set_xlabel("weight, from the first layer to the last")
    axes.set_ylabel("mean absolute gradient")
    axes.locator_params(axis="x", integer=True)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    only = next(iter(flows.values()))
    if len(flows) == 1 and len(only) <= 24:
        names = [layer.name.removesuffix(".weight") for layer in only]
        axes.set_xticks(range(1, len(only) + 1), names, rotation=45, ha="right", fontsize=8)
        axes.set_xlabel("")
    return save(figure, path)
