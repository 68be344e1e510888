"""The ramp that DropBlock is trained with: from dropping nothing to the full rate.

Paper: Ghiasi, Lin, Le, *DropBlock*, 2018, section 3.1 ("Scheduled DropBlock").
"""

from __future__ import annotations

from typing import TypedDict

from torch import nn

from convzoo._checks import check_count
from convzoo._modes import check_network
from convzoo.errors import InputError
from convzoo.layers.dropblock import DropBlock1d, DropBlock2d, DropBlock3d


class DropBlockScheduleState(TypedDict):
    """What a checkpoint holds of a [DropBlockSchedule][convzoo.layers.DropBlockSchedule]."""

    step: int
    total_steps: int


class DropBlockSchedule:
    """Raise the rate of every DropBlock layer of a network linearly, from 0 to its own.

    At step `t` a layer drops `drop_prob * t / total_steps`, from `total_steps` on `drop_prob`,
    as in the official code (`keep_prob = 1 - t / total_steps * (1 - target)`). The layers keep
    their `drop_prob`; the schedule moves their `progress`. So it can be made anew at any time
    for the same network, and be resumed from a checkpoint with `load_state_dict`.

    Args:
        net: The network. Layers that are swapped in later are found too.
        total_steps: Optimiser steps until the full rate, at least 1. The paper: all of them.

    Raises:
        InputError: `total_steps` is below 1, or `net` has no DropBlock layer.

    Examples:
        >>> from torch import nn
        >>> from convzoo.layers import DropBlock2d, DropBlockSchedule
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), DropBlock2d(0.1))
        >>> schedule = DropBlockSchedule(net, total_steps=4)
        >>> for _ in range(2):  # after each optimizer.step()
        ...     schedule.step()
        >>> schedule.progress
        0.5
    """

    net: nn.Module
    total_steps: int
    last_step: int

    def __init__(self, net: nn.Module, total_steps: int) -> None:
        check_network(net)
        if not _layers(net):
            raise InputError("net: expected a network with DropBlock layers, found none")
        self.net = net
        self.total_steps = check_count("total_steps", total_steps)
        self.last_step = 0
        self._apply()

    @property
    def progress(self) -> float:
        """Fraction of the full rate at present, in [0, 1]."""
        return min(self.last_step / self.total_steps, 1.0)

    def step(self) -> None:
        """Go one step on. Call it after each step of the optimiser."""
        self.last_step += 1
        self._apply()

    def state_dict(self) -> DropBlockScheduleState:
        """Return the state, for a checkpoint."""
        return {"step": self.last_step, "total_steps": self.total_steps}

    def load_state_dict(self, state: DropBlockScheduleState) -> None:
        """Go on from a state that `state_dict` returned."""
        try:
            step, total = state["step"], state["total_steps"]
        except (KeyError, TypeError) as error:
            raise InputError(f"state: not that of a DropBlockSchedule: {error}") from None
        self.last_step = check_count("step", step, least=0)
        self.total_steps = check_count("total_steps", total)
        self._apply()

    def _apply(self) -> None:
        for layer in _layers(self.net):
            layer.progress = self.progress


def _layers(net: nn.Module) -> list[DropBlock1d | DropBlock2d | DropBlock3d]:
    kinds = (DropBlock1d, DropBlock2d, DropBlock3d)
    return [module for module in net.modules() if isinstance(module, kinds)]
