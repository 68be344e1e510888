"""The moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from convzoo._checks import check_flags, check_number
from convzoo.errors import InputError
from convzoo.transfer._find_heads import unwrap


class EMA(AveragedModel):
    """The exponential moving average of a network, whose decay warms up.

    torch's `AveragedModel` with the average that training scripts use: the first steps, far from
    where training ends, are forgotten quickly, as the decay of step n is the smaller of `decay` and
    (1 + n) / (10 + n). Running statistics of batch normalisation are averaged like weights;
    counters are copied. After every optimizer step call `update_parameters(net)`; `ema.module` is
    the averaged network, in evaluation mode, to score, to save, or to take the weights from.

    Args:
        net: The network that trains; a wrapper's (`torch.compile`, data-parallel) is found inside.
        decay: Share of the old average that a step keeps, in [0, 1).
        warmup: Whether the decay starts low.

    Raises:
        InputError: An argument is out of range.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from convzoo.training import EMA
        >>> net = nn.Linear(1, 1, bias=False)
        >>> ema = EMA(net, decay=0.5, warmup=False)
        >>> for value in (0.0, 1.0, 1.0):
        ...     with torch.no_grad():
        ...         _ = net.weight.fill_(value)  # an optimizer step, say
        ...     ema.update_parameters(net)
        >>> ema.module.weight.item()
        0.75
    """

    module: nn.Module

    def __init__(self, net: nn.Module, decay: float = 0.999, *, warmup: bool = True) -> None:
        check_flags(warmup=warmup)
        self_decay = check_number("decay", decay, 0)
        if self_decay >= 1:
            raise InputError(f"decay: expected a number in [0, 1), got {decay!r}")
        super().__init__(unwrap(net), multi_avg_fn=self._average, use_buffers=True)
        self.decay: float = self_decay
        self.warmup: bool = warmup
        self.module.eval()

    def decay_at(self, step: int) -> float:
        """The decay of a step.

        Args:
            step: Its number, from 0.

        Returns:
            The share of the old average that it keeps.
        """
        return min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay

    def update_parameters(self, model: nn.Module) -> None:
        """Take the network's present weights into the average.

        Args:
            model: The network; the first call copies it as it is.
        """
        super().update_parameters(unwrap(model))

    @torch.no_grad()
    def _average(
        self, averages: Sequence[Tensor], values: Sequence[Tensor], step: Tensor | int
    ) -> None:
        """All tensors of one device and type."""
        if averages[0].is_floating_point() or averages[0].is_complex():
            torch._foreach_lerp_(list(averages), list(values), 1 - self.decay_at(int(step)))
        else:  # counters, masks
            torch._foreach_copy_(list(averages), list(values))
