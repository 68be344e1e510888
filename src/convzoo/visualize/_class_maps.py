"""Where a network looks: class activation maps.

Zhou et al., "Learning Deep Features for Discriminative Localization", 2015 (arXiv:1512.04150);
Selvaraju et al., "Grad-CAM", 2016 (arXiv:1610.02391); Chattopadhyay et al., "Grad-CAM++", 2017
(arXiv:1710.11063).

No backward hook is set and no parameter needs a gradient: the map is made a leaf, and what follows
it is differentiated by it. So frozen, in-place and compiled networks give what others give.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convzoo._checks import check_flags
from convzoo.errors import InputError
from convzoo.transfer._find_heads import find_heads
from convzoo.visualize._pixels import ImageInput, prepare
from convzoo.visualize._probe import choose, looking, map_and_scores


def grad_cam(
    net: nn.Module,
    images: ImageInput,
    target: int | Sequence[int] | Tensor | None = None,
    stage: str | nn.Module | None = None,
    *,
    raw: bool = False,
) -> Tensor:
    """Where a network sees a class: Grad-CAM (arXiv:1610.02391).

    The channels of a map are weighted by the mean gradient of the class score in each, added up,
    and negative sums set to zero. Each image has its own map, whatever else is in the batch.

    Args:
        net: A network of ours or anyone's, frozen, in-place or compiled; its modes, gradients and
            parameters stay as they are.
        images: Prepared input (B, C, H, W) in floating point; or PIL images, uint8 tensors, files,
            or a sequence of them, which the network's preset prepares.
        target: The class, or one for each image; None takes the one that scores best.
        stage: Where to look: a name of `net.stages`, the path of a module, or the module. None
            takes the last map before the head that has more than one pixel; other people's
            networks need `forward_features` and `forward_head` (timm's have them) for that.
        raw: Return the weighted sums as they are, (B, h, w): not enlarged, not scaled, with their
            negative parts.

    Returns:
        Maps (B, H, W) in [0, 1], each scaled by its own largest value. A map in which nothing
        speaks for the class stays zero.

    Raises:
        InputError: There is no such class, or the stage gives no map (B, C, h, w).
        UnknownNameError: There is no such stage.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.cifar_resnet20(weights="fashion_mnist")
        >>> visualize.grad_cam(net, torch.randn(2, 1, 28, 28), target=9).shape
        torch.Size([2, 28, 28])
    """
    check_flags(raw=raw)
    with looking(net) as core:
        x = prepare(core, images)
        found, gradient = _map_and_gradient(core, x, target, stage)
        weights = gradient.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        return _finish(found, weights, x, raw)


def grad_cam_pp(
    net: nn.Module,
    images: ImageInput,
    target: int | Sequence[int] | Tensor | None = None,
    stage: str | nn.Module | None = None,
    *,
    raw: bool = False,
) -> Tensor:
    """Grad-CAM++ (arXiv:1710.11063): finds several things of one class better than Grad-CAM.

    Only positive gradients count, each weighted by how much its pixel matters. The class score
    goes in as it is; the paper's exponential of it would only scale the map.

    Args:
        net: As in [grad_cam][convzoo.visualize.grad_cam].
        images: Likewise.
        target: Likewise.
        stage: Likewise.
        raw: Likewise.

    Returns:
        Maps (B, H, W) in [0, 1]; with `raw` the sums, (B, h, w).

    Raises:
        InputError: As in `grad_cam`.
        UnknownNameError: There is no such stage.
    """
    check_flags(raw=raw)
    with looking(net) as core:
        x = prepare(core, images)
        found, gradient = _map_and_gradient(core, x, target, stage)
        square = gradient**2
        below = 2 * square + (gradient**3 * found).sum((2, 3), keepdim=True)
        share = torch.where(below != 0, square / torch.where(below != 0, below, 1), 0)
        weights = (share * gradient.relu()).sum((2, 3), keepdim=True)  # (B, C, 1, 1)
        return _finish(found, weights, x, raw)


def cam(
    net: nn.Module,
    images: ImageInput,
    target: int | Sequence[int] | Tensor | None = None,
    *,
    raw: bool = False,
) -> Tensor:
    """CAM (arXiv:1512.04150): the head's own weights, applied before the pooling.

    It needs no gradient, and a head of global average pooling and one linear layer, as ResNets and
    GoogLeNet have. There it is Grad-CAM, but for a factor.

    Args:
        net: As in [grad_cam][convzoo.visualize.grad_cam].
        images: Likewise.
        target: Likewise.
        raw: Likewise.

    Returns:
        Maps (B, H, W) in [0, 1]; with `raw` the sums, (B, h, w), whose mean is the class score
        less its bias.

    Raises:
        InputError: The network has another head, or there is no such class.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.cifar_resnet20()
        >>> visualize.cam(net, torch.randn(1, 3, 32, 32)).shape
        torch.Size([1, 32, 32])
    """
    check_flags(raw=raw)
    with looking(net, gradients=False) as core:
        x = prepare(core, images)
        found, scores = map_and_scores(core, x, None)
        layer = core.get_submodule(find_heads(core)[0])
        matrix = _matrix(layer, found, scores)
        if matrix is None:
            raise InputError(
                f"net: the head of {getattr(core, 'architecture', None) or type(core).__name__} "
                "is not global average pooling and one linear layer; use grad_cam"
            )
        weights = matrix[choose(scores, target)][:, :, None, None]  # (B, C, 1, 1)
        return _finish(found, weights, x, raw)


def _matrix(layer: nn.Module, found: Tensor, scores: Tensor) -> Tensor | None:
    """The head's weight (num_classes, C), if pooling and it alone give the scores."""
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        return None
    matrix = layer.weight.flatten(1)
    if matrix.shape != (scores.shape[1], found.shape[1]):
        return None
    # Measured, not guessed from the names of layers.
    assumed = F.linear(found.mean((2, 3)), matrix, layer.bias)
    near = 1e-3 * float(scores.abs().max())
    return matrix if torch.allclose(assumed, scores, rtol=1e-3, atol=near) else None


def _map_and_gradient(
    core: nn.Module,
    x: Tensor,
    target: int | Sequence[int] | Tensor | None,
    stage: str | nn.Module | None,
) -> tuple[Tensor, Tensor]:
    found, scores = map_and_scores(core, x, stage)
    picked = scores.gather(1, choose(scores, target)[:, None])
    (gradient,) = torch.autograd.grad(picked.sum(), found)
    return found.detach(), gradient


def _finish(found: Tensor, weights: Tensor, x: Tensor, raw: bool) -> Tensor:
    """Sums over the channels; unless raw, positive, of the images' size, at most 1."""
    sums = (weights * found).sum(1, keepdim=True)  # (B, 1, h, w)
    if raw:
        return sums.squeeze(1)
    large = F.interpolate(sums.relu(), x.shape[-2:], mode="bilinear", align_corners=False)
    most = large.amax((2, 3), keepdim=True)
    return torch.where(most > 0, large / torch.where(most > 0, most, 1), 0).squeeze(1)
