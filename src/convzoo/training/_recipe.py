"""Optimizers, schedules and the loss by name."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from convzoo._checks import check_number
from convzoo.errors import InputError, UnknownNameError
from convzoo.models import loss_with_aux

OptimizerName = Literal["adamw", "adam", "sgd", "rmsprop"]
"""Optimizers that `fit` builds; SGD and RMSProp with momentum 0.9."""

Schedule = Literal["one_cycle", "cosine", "constant"]
"""How the learning rate runs over training."""

Loss = Callable[[Any, Tensor], Tensor]
"""From what the network returned in training, and the targets (B,), to a mean loss."""

# With the learning rate and the weight decay where the user gave none.
_OPTIMIZERS: Final[dict[str, tuple[Callable[..., Optimizer], float, float]]] = {
    "adamw": (torch.optim.AdamW, 1e-3, 1e-2),
    "adam": (torch.optim.Adam, 1e-3, 0.0),
    "sgd": (functools.partial(torch.optim.SGD, momentum=0.9), 1e-2, 1e-4),
    "rmsprop": (functools.partial(torch.optim.RMSprop, momentum=0.9), 1e-3, 0.0),
}


def make_optimizer(
    net: nn.Module,
    optimizer: OptimizerName | Optimizer,
    *,
    lr: float | None,
    head_lr: float | None,
    weight_decay: float | None,
    fused: bool = False,
) -> Optimizer:
    """The optimizer that was named, over what trains; or the one that was given.

    With `fused` one kernel steps all weights, where torch has one for the optimizer.
    """
    if isinstance(optimizer, Optimizer):
        for name, value in (("lr", lr), ("head_lr", head_lr), ("weight_decay", weight_decay)):
            if value is not None:
                raise InputError(
                    f"{name}: the optimizer given has its own, got {name}={value}; "
                    "pass one or the other"
                )
        return optimizer
    if optimizer not in _OPTIMIZERS:
        raise UnknownNameError("optimizer", str(optimizer), _OPTIMIZERS)
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if not trainable:
        raise InputError("net: nothing to train: every parameter is frozen")
    from convzoo.transfer import param_groups

    make, usual_lr, usual_decay = _OPTIMIZERS[optimizer]
    lr = usual_lr if lr is None else lr
    for name, value in (("lr", lr), ("head_lr", head_lr), ("weight_decay", weight_decay)):
        if value is not None:
            check_number(name, value, 0)
    decay = usual_decay if weight_decay is None else weight_decay
    groups: Any
    try:
        groups = param_groups(net, lr, head_lr=head_lr, weight_decay=decay)
    except InputError:
        # Which layer is the head of a foreign network matters only if it is to learn at its own
        # rate.
        if head_lr is not None:
            raise
        groups = [
            {"params": [p for p in trainable if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ]
    if fused and optimizer != "rmsprop":  # of which torch has none
        return make(groups, lr, fused=True)
    return make(groups, lr)


def make_schedule(
    optimizer: Optimizer, schedule: Schedule, *, steps: int, warmup: float | None
) -> LRScheduler:
    """The learning rate's course over `steps` steps, each group in proportion to its own."""
    if schedule not in ("one_cycle", "cosine", "constant"):
        raise UnknownNameError("schedule", str(schedule), ("one_cycle", "cosine", "constant"))
    if warmup is not None and not 0 <= warmup < 1:
        raise InputError(f"warmup: expected a share of the steps in [0, 1), got {warmup}")
    if schedule == "one_cycle":
        return OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=steps + 1,  # it is stepped once after the last step, too
            pct_start=0.3 if warmup is None else warmup,
        )
    rising = round((warmup or 0.0) * steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        if schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))

    return LambdaLR(optimizer, factor)


class CrossEntropy:
    """Cross-entropy on the scores, and on those of auxiliary heads with less weight.

    Args:
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        aux_weight: Weight of each auxiliary head's loss; Szegedy et al. (2014) take 0.3.
    """

    def __init__(self, label_smoothing: float, aux_weight: float) -> None:
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing: expected a share in [0, 1), got {label_smoothing}")
        self.criterion = functools.partial(F.cross_entropy, label_smoothing=label_smoothing)
        self.aux_weight = aux_weight

    def __call__(self, output: Tensor | tuple[Tensor | None, ...], targets: Tensor) -> Tensor:
        """The mean loss of a batch; an auxiliary head that was left out (None) counts nothing."""
        if not isinstance(output, Tensor):
            output = tuple(scores for scores in output if scores is not None)
        return loss_with_aux(output, targets, criterion=self.criterion, weight=self.aux_weight)
