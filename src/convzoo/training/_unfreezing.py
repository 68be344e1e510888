"""Gradual unfreezing: the head first, then one stage after the other."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from convzoo._checks import check_count
from convzoo.errors import InputError
from convzoo.transfer._find_heads import refuse_parallel, unwrap
from convzoo.transfer._freeze import Selection, apply_freeze, apply_unfreeze, is_frozen
from convzoo.transfer._groups import blocks_with_parameters


class GradualUnfreezing:
    """Train the head first, then stage after stage from the last to the first (ULMFiT).

    Howard and Ruder (2018): so that what was pretrained is not forgotten while the head is still
    random. Everything but the heads is frozen at once, as [freeze][convzoo.freeze] does it:
    batch statistics stand still, dropout is off. What was frozen before stays frozen for good.

    Parameters without gradients are left alone by torch's optimizers; make the optimizer over all
    of them first.

    Args:
        net: Any network with a head, not yet wrapped for data-parallel training.
        optimizer: The one that trains it.
        every: Epochs from one stage to the next, at least 1.

    Attributes:
        stages: Names of what thaws, in that order; those of [param_groups][convzoo.param_groups].

    Raises:
        InputError: An argument is wrong, or the optimizer lacks parameters that are to thaw.

    Examples:
        >>> import convzoo, torch
        >>> from convzoo.training import GradualUnfreezing
        >>> net = convzoo.cifar_resnet20()
        >>> optimizer = torch.optim.SGD(convzoo.param_groups(net, 0.01, layer_decay=1 / 2.6))
        >>> unfreezing = GradualUnfreezing(net, optimizer)
        >>> [unfreezing.start_epoch(epoch) for epoch in (1, 2, 3)]
        [(), ('layer3',), ('layer2',)]
    """

    def __init__(self, net: nn.Module, optimizer: Optimizer, *, every: int = 1) -> None:
        refuse_parallel(net, "make this before it is wrapped")
        core = unwrap(net)
        if not isinstance(optimizer, Optimizer):
            raise InputError(f"optimizer: expected a torch optimizer, got {optimizer!r:.80}")
        self.every: int = check_count("every", every)
        self._net = core
        parts = {
            name: Selection(
                tuple(module for module in part.modules if not is_frozen(module)),
                tuple(parameter for parameter in part.parameters if parameter.requires_grad),
            )
            for name, part in blocks_with_parameters(core).items()
        }
        self._waiting = {name: part for name, part in reversed(parts.items()) if part.parameters}
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, part in self._waiting.items():
            if any(id(parameter) not in held for parameter in part.parameters):
                raise InputError(
                    f"optimizer: it lacks parameters of {name!r}, which would thaw and not train; "
                    "make it over all parameters before anything is frozen"
                )
        self.stages: tuple[str, ...] = tuple(self._waiting)
        for part in self._waiting.values():
            apply_freeze(core, part)

    def start_epoch(self, epoch: int) -> tuple[str, ...]:
        """Thaw what is due; to be called before each epoch, or once to go on in the middle.

        Args:
            epoch: The epoch's number, from 1.

        Returns:
            Names of the stages that thawed now.
        """
        due = (check_count("epoch", epoch) - 1) // self.every
        thawed = [name for name in self.stages[:due] if name in self._waiting]
        for name in thawed:
            apply_unfreeze(self._net, self._waiting.pop(name))
        return tuple(thawed)

    def finish(self) -> tuple[str, ...]:
        """Thaw all that is left, where training ends before its turn.

        Returns:
            Names of the stages that thawed now.
        """
        return self.start_epoch(len(self.stages) * self.every + 1)
