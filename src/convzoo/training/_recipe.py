"""Optimizers, schedules and the loss by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from convzoo._checks import check_choice, check_number
from convzoo.datasets._prepared import Targets
from convzoo.errors import InputError, UnknownNameError
from convzoo.models import loss_with_aux

OptimizerName = Literal["adamw", "adam", "sgd", "rmsprop"]
"""Optimizers that `fit` builds; SGD and RMSProp with momentum 0.9."""

Loss = Callable[[Any, Tensor], Tensor]
"""From what the network returned in training, and the targets (B,), to a mean loss."""

LossName = Literal["mse"]
"""Losses by name: the mean squared error, for a network that gives numbers."""

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
    layer_decay: float | None = None,
    options: Mapping[str, Any] | None = None,
    fused: bool = False,
) -> Optimizer:
    """The optimizer that was named, over what trains; or the one that was given.

    With `fused` one kernel steps all weights, where torch has one for the optimizer.
    """
    if options is not None and not isinstance(options, Mapping):
        raise InputError(f"optimizer_options: expected a mapping of names, got {options!r:.80}")
    numbers = {"lr": lr, "head_lr": head_lr, "weight_decay": weight_decay}
    if isinstance(optimizer, Optimizer):
        own = {**numbers, "layer_decay": layer_decay, "optimizer_options": options}
        for name, value in own.items():
            if value is not None:
                raise InputError(
                    f"{name}: the optimizer given has its own, got {name}={value}; "
                    "pass one or the other"
                )
        if not any(p.requires_grad for group in optimizer.param_groups for p in group["params"]):
            raise InputError("net: nothing to train: every parameter of the optimizer is frozen")
        closure = inspect.signature(optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is closure.empty:
            raise InputError(
                f"optimizer: {type(optimizer).__name__} evaluates the loss by itself, several "
                "times a step; take one whose step() does not"
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
    for name, value in numbers.items():
        if value is not None:
            check_number(name, value, 0)
    decay = usual_decay if weight_decay is None else weight_decay
    groups: Any
    try:
        groups = param_groups(net, lr, head_lr=head_lr, layer_decay=layer_decay, weight_decay=decay)
    except InputError:
        # Which layer is the head of a foreign network matters only if rates differ.
        if head_lr is not None or layer_decay is not None:
            raise
        groups = [
            {"params": [p for p in trainable if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ]
    if fused and optimizer != "rmsprop":  # of which torch has none
        make = functools.partial(make, fused=True)
    try:
        return make(groups, lr, **(options or {}))
    except (RuntimeError, TypeError, ValueError) as error:
        if not options:
            raise
        raise InputError(f"optimizer_options: {error!s:.200}") from None


def targets_of(loss: Loss | LossName | None) -> Targets:
    """What labels a loss compares with; refuses what is no loss."""
    if loss is None:
        return "classes"
    if isinstance(loss, str):
        check_choice("loss", loss, get_args(LossName))
        return "numbers"
    if not callable(loss):
        raise InputError(f'loss: expected a function, "mse" or None, got {loss!r:.80}')
    return "any"


def made_loss(
    loss: Loss | LossName | None,
    aux_weight: float,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Loss:
    """The loss that was named or given; None is cross-entropy, to which the last two belong."""
    if loss is None:
        return CrossEntropy(label_smoothing, aux_weight, class_weights)
    if label_smoothing or class_weights is not None:
        name = "label_smoothing" if label_smoothing else "class_weights"
        raise InputError(f"{name}: belongs to the usual loss, got loss={loss!r:.80} as well")
    return SquaredError(aux_weight) if isinstance(loss, str) else loss


class SquaredError:
    """The mean squared error of numbers, and of those of auxiliary heads with less weight.

    Args:
        aux_weight: As in [CrossEntropy][convzoo.training._recipe.CrossEntropy].
    """

    def __init__(self, aux_weight: float) -> None:
        self.aux_weight = aux_weight

    def __call__(self, output: Tensor | tuple[Tensor | None, ...], targets: Tensor) -> Tensor:
        """The mean loss of a batch; numbers and targets are (B, k)."""
        return loss_with_aux(present(output), targets, criterion=self._mean, weight=self.aux_weight)

    def _mean(self, numbers: Tensor, targets: Tensor) -> Tensor:
        check_numbers(numbers, targets)
        return F.mse_loss(numbers, targets.to(numbers.dtype))


def check_numbers(numbers: Tensor, targets: Tensor) -> None:
    """Refuse what torch would stretch: (B, 1) against (B, k) compares every number with one."""
    if numbers.shape != targets.shape:
        raise InputError(
            f"net: expected numbers {tuple(targets.shape)} from it, as the labels are, got "
            f"{tuple(numbers.shape)}; replace_head(net, {targets.shape[-1]}) gives it as many"
        )


def present(output: Tensor | tuple[Tensor | None, ...]) -> Tensor | tuple[Tensor, ...]:
    """What a network returned, less the auxiliary heads that were left out (None)."""
    if isinstance(output, Tensor):
        return output
    return tuple(scores for scores in output if scores is not None)


class CrossEntropy:
    """Cross-entropy on the scores, and on those of auxiliary heads with less weight.

    Args:
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        aux_weight: Weight of each auxiliary head's loss; Szegedy et al. (2014) take 0.3.
        class_weights: Weight of each class, (num_classes,); None weighs all alike.
    """

    def __init__(
        self, label_smoothing: float, aux_weight: float, class_weights: Tensor | None = None
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing: expected a share in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.aux_weight = aux_weight
        self.class_weights = class_weights

    def __call__(self, output: Tensor | tuple[Tensor | None, ...], targets: Tensor) -> Tensor:
        """The mean loss of a batch; an auxiliary head that was left out (None) counts nothing."""
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(targets.device)
        return loss_with_aux(present(output), targets, criterion=self._mean, weight=self.aux_weight)

    def share(self, targets: Tensor) -> Tensor | int:
        """How much a part of a batch counts in the mean over all of it."""
        if self.class_weights is None or targets.ndim > 1:
            return len(targets)
        return self.class_weights.to(targets.device)[targets].sum()

    def _mean(self, scores: Tensor, targets: Tensor) -> Tensor:
        weights = self.class_weights
        if weights is not None:
            weights = weights.to(torch.promote_types(scores.dtype, weights.dtype))
        cross_entropy = functools.partial(
            F.cross_entropy, scores, targets, weight=weights, label_smoothing=self.label_smoothing
        )
        share = self.share(targets)
        if isinstance(share, int):
            return cross_entropy()
        # torch's mean, but 0 and not NaN of images that all weigh nothing.
        return cross_entropy(reduction="sum") / torch.where(share > 0, share, torch.inf)
