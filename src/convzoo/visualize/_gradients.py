"""What each pixel does to a class score: gradients, plain, guided, averaged and integrated.

Simonyan et al., "Deep Inside Convolutional Networks", 2013 (arXiv:1312.6034); Springenberg et al.,
"Striving for Simplicity", 2014 (arXiv:1412.6806); Smilkov et al., "SmoothGrad", 2017
(arXiv:1706.03825); Sundararajan et al., "Axiomatic Attribution for Deep Networks", 2017
(arXiv:1703.01365).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convzoo._checks import check_count, check_number
from convzoo.errors import InputError
from convzoo.visualize._pixels import ImageInput, prepare
from convzoo.visualize._probe import choose, input_gradient, looking, run
from convzoo.visualize._relu_rules import ReluRule


def gradients(
    net: nn.Module, images: ImageInput, target: int | Sequence[int] | Tensor | None = None
) -> Tensor:
    """How much each pixel would change a class score: its gradient (arXiv:1312.6034).

    Args:
        net: As in [grad_cam][convzoo.visualize.grad_cam].
        images: Likewise.
        target: Likewise.

    Returns:
        Gradients (B, C, H, W), signed, by the prepared input.

    Raises:
        InputError: There is no such class.
    """
    with looking(net) as core:
        return input_gradient(core, prepare(core, images), target)


def guided_backprop(
    net: nn.Module, images: ImageInput, target: int | Sequence[int] | Tensor | None = None
) -> Tensor:
    """Gradients that only what excites may carry: guided backpropagation (arXiv:1412.6806).

    Every ReLU passes back what is positive there and came from a positive input. The pictures are
    sharp; they show edges of the image more than what the network has learned, and hardly change
    when its last layers are randomised (arXiv:1810.03292): see
    [randomise][convzoo.visualize.randomise].

    Args:
        net: As in [grad_cam][convzoo.visualize.grad_cam]; ReLUs may be modules or functions, in
            place or not.
        images: Likewise.
        target: Likewise.

    Returns:
        Guided gradients (B, C, H, W).

    Raises:
        InputError: There is no such class, or the network has no ReLU to guide.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.cifar_resnet20()
        >>> visualize.guided_backprop(net, torch.randn(1, 3, 32, 32)).shape
        torch.Size([1, 3, 32, 32])
    """
    with looking(net) as core:
        x = prepare(core, images)
        with ReluRule("guided") as rule:
            found = input_gradient(core, x, target)
    if not rule.met:
        raise InputError(
            f"net: {type(core).__name__} has no ReLU, so that there is nothing to guide; "
            "use gradients"
        )
    return found


def smooth_grad(
    net: nn.Module,
    images: ImageInput,
    target: int | Sequence[int] | Tensor | None = None,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> Tensor:
    """Gradients averaged over noisy copies of the image: SmoothGrad (arXiv:1706.03825).

    Args:
        net: As in [grad_cam][convzoo.visualize.grad_cam].
        images: Likewise.
        target: Likewise; None takes the class that the image without noise scores best.
        samples: Noisy copies of each image.
        noise: Standard deviation of the noise, as a share of each image's range of values.
        seed: Of the noise; torch's global generator is left alone. Each image of a batch has the
            noise it would have alone.

    Returns:
        Mean gradients (B, C, H, W).

    Raises:
        InputError: There is no such class, or a number is out of range.
    """
    samples = check_count("samples", samples)
    noise = check_number("noise", noise, 0)
    seed = check_count("seed", seed, least=0, most=2**63 - 1)
    with looking(net) as core:
        x = prepare(core, images)
        with torch.no_grad():
            classes = choose(run(core, x), target)
        spread = noise * (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))[:, None, None, None]
        generator = torch.Generator().manual_seed(seed)
        total = torch.zeros_like(x)
        for _ in range(samples):
            drawn = torch.randn(x.shape[1:], generator=generator).to(x)
            total += input_gradient(core, x + spread * drawn, classes)
        return total / samples


def integrated_gradients(
    net: nn.Module,
    images: ImageInput,
    target: int | Sequence[int] | Tensor | None = None,
    *,
    baseline: float | Tensor = 0.0,
    steps: int = 50,
) -> Tensor:
    """What each pixel adds to a class score on the way from a baseline (arXiv:1703.01365).

    Over all pixels the parts add up to the score's difference between image and baseline, but for
    the error of the sum over steps.

    Args:
        net: As in [grad_cam][convzoo.visualize.grad_cam].
        images: Likewise.
        target: Likewise.
        baseline: Where the way begins, in the prepared input's units: a number, or a tensor that
            broadcasts to (B, C, H, W). 0 is the preset's mean colour.
        steps: Points on the way, in the middle of as many equal parts.

    Returns:
        Parts (B, C, H, W), signed.

    Raises:
        InputError: There is no such class, a number is out of range, or the baseline does not
            broadcast.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.cifar_resnet20(weights="fashion_mnist")
        >>> x = torch.randn(1, 1, 28, 28)
        >>> parts = visualize.integrated_gradients(net, x, target=3)
        >>> parts.shape
        torch.Size([1, 1, 28, 28])
    """
    steps = check_count("steps", steps)
    with looking(net) as core:
        x = prepare(core, images)
        try:
            start = torch.as_tensor(baseline, dtype=x.dtype, device=x.device).expand_as(x)
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"baseline: expected a number or a tensor that broadcasts to {tuple(x.shape)}: "
                f"{error!s:.80}"
            ) from None
        with torch.no_grad():
            classes = choose(run(core, x), target)
        total = torch.zeros_like(x)
        for step in range(steps):
            total += input_gradient(core, start + (step + 0.5) / steps * (x - start), classes)
        return (x - start) * total / steps
