"""Weight decay towards the pretrained weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convzoo._checks import check_number
from convzoo._stages import inside
from convzoo.transfer._find_heads import find_heads, unwrap


class L2SP:
    """Weight decay towards where training started, not towards zero (L2-SP).

    Li, Grandvalet and Davoine (2018): half of `alpha` times the squared distance of the backbone's
    parameters from the pretrained ones, and half of `beta` times the squared norm of the heads',
    which have no such starting point. It takes the place of the optimizer's weight decay, which
    pulls to zero: give that as 0.

    Args:
        net: The network with its pretrained weights, before training. What is frozen when the
            penalty is asked for has not moved and adds nothing.
        alpha: Pull of the backbone towards its start, at least 0.
        beta: Pull of the heads' last layers towards zero, at least 0.

    Attributes:
        start: The backbone's parameters as they were.

    Raises:
        InputError: An argument is out of range, or the head cannot be told.

    Examples:
        >>> import convzoo, torch
        >>> from convzoo.training import L2SP
        >>> net = convzoo.replace_head(convzoo.cifar_resnet20(), 2)
        >>> penalty = L2SP(net, beta=0.0)
        >>> loss = net(torch.zeros(2, 3, 32, 32)).logsumexp(1).mean() + penalty()
        >>> float(penalty().detach())  # nothing has moved yet
        0.0
    """

    def __init__(self, net: nn.Module, alpha: float = 0.1, beta: float = 0.01) -> None:
        self.alpha: float = check_number("alpha", alpha, 0)
        self.beta: float = check_number("beta", beta, 0)
        core = unwrap(net)
        heads = find_heads(core)
        self._body: list[nn.Parameter] = []
        self._heads: list[nn.Parameter] = []
        for name, parameter in core.named_parameters():
            of_head = any(inside(name.rpartition(".")[0], head) for head in heads)
            (self._heads if of_head else self._body).append(parameter)
        self.start: list[Tensor] = [parameter.detach().clone() for parameter in self._body]

    def __call__(self) -> Tensor:
        """The penalty, a number to add to the loss; its gradient reaches the parameters."""
        pairs = zip(self._body, self.start, strict=True)
        self.start = [start.to(parameter.device) for parameter, start in pairs]
        moved = [p - s for p, s in zip(self._body, self.start, strict=True) if p.requires_grad]
        heads = [parameter for parameter in self._heads if parameter.requires_grad]
        total = self.alpha * _squares(moved) + self.beta * _squares(heads)
        return 0.5 * torch.as_tensor(total)


def _squares(tensors: Sequence[Tensor]) -> Tensor | float:
    return sum((tensor.square().sum() for tensor in tensors), start=0.0)
