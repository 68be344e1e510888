"""Weight decay towards the pretrained weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convzoo._checks import check_number
from convzoo._stages import inside
from convzoo.errors import InputError
from convzoo.transfer._find_heads import find_heads, unwrap


class L2SP:
    """Weight decay towards where training started, not towards zero (L2-SP).

    Li, Grandvalet and Davoine (2018): half of `alpha` times the squared distance of the backbone's
    parameters from the pretrained ones, and half of `beta` times the squared norm of the heads',
    which have no such starting point. It takes the place of the optimizer's weight decay, which
    pulls to zero: give that as 0.

    Args:
        net: The network with its pretrained weights, before training. Frozen parameters are left
            out.
        alpha: Pull of the backbone towards its start, at least 0.
        beta: Pull of the heads' last layers towards zero, at least 0.

    Raises:
        InputError: An argument is out of range, the head cannot be told, or nothing trains.

    Examples:
        >>> import convzoo, torch
        >>> from convzoo.training import L2SP
        >>> net = convzoo.replace_head(convzoo.cifar_resnet20(), 2)
        >>> penalty = L2SP(net, beta=0.0)
        >>> loss = net(torch.zeros(2, 3, 32, 32)).logsumexp(1).mean() + penalty()
        >>> float(penalty())  # nothing has moved yet
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
            if parameter.requires_grad:
                of_head = any(inside(name.rpartition(".")[0], head) for head in heads)
                (self._heads if of_head else self._body).append(parameter)
        if not self._body and not self._heads:
            raise InputError("net: every parameter is frozen; there is nothing to hold")
        self._start = [parameter.detach().clone() for parameter in self._body]

    def __call__(self) -> Tensor:
        """The penalty, a number to add to the loss; its gradient reaches the parameters."""
        if self._body and self._start[0].device != self._body[0].device:
            self._start = [
                start.to(p.device) for start, p in zip(self._start, self._body, strict=True)
            ]
        moved = [(p - start) for p, start in zip(self._body, self._start, strict=True)]
        return 0.5 * (self.alpha * _squares(moved) + self.beta * _squares(self._heads))


def _squares(tensors: list[Tensor] | list[nn.Parameter]) -> Tensor:
    if not tensors:
        return torch.zeros(())
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum()
