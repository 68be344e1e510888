"""What helps a training along, and where in the loop it does so."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final

from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from convzoo.layers import DropBlock1d, DropBlock2d, DropBlock3d, DropBlockSchedule
from convzoo.training._records import EpochRecord

_PLAIN: Final = (int, float, str, bool, list, tuple, dict, Tensor, type(None))


class Aid:
    """One aid of a training: a schedule, an average of the weights, a mixing of images.

    `fit` makes a list of them, and the loop asks each, in that order. A subclass has a `name` of
    its own and those methods that it needs; the others do nothing. In a step the order is `batch`,
    forward and backward, `before_step`, the gradient's norm clipped, the optimizer's step,
    `after_step`. An epoch is `start_epoch`, its steps, the evaluation (within each `averaged` and
    without), `end_epoch`.

    A training that goes on in the middle of an epoch calls `load_state_dict` and then
    `start_epoch` of that epoch, which must not change what was loaded. Before every `batch` the
    generators of torch, Python and NumPy are seeded by the step, so that what is drawn from them
    need not be kept. `settings` and `state_dict` hold plain values and tensors: they are read back
    without running code.
    """

    name: ClassVar[str]
    """Under which its settings and state are kept; no two aids of a training share one."""

    def settings(self) -> dict[str, object]:
        """What has to be the same for a training to be resumed, as JSON has it."""
        return {}

    def start_epoch(self, epoch: int) -> None:
        """Before the first step of this epoch, from 1; the network is in training mode."""

    def batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """What a step learns from, (B, C, H, W) and (B,), both on the device; its copy to change.

        Soft targets (B, num_classes) may come out: the usual loss takes them, and training accuracy
        is then not counted.
        """
        return images, targets

    def before_step(self, step: int) -> None:
        """When the gradients of this step, from 1 over all epochs, are there."""

    def after_step(self, step: int) -> None:
        """When the weights have moved; not after a step that fp16 made the optimizer leave out."""

    def averaged(self) -> AbstractContextManager[None] | None:
        """A context in which the network has other weights that are to be scored as well.

        Whichever weights score better are the epoch's.
        """
        return None

    def end_epoch(self, record: EpochRecord) -> None:
        """After the evaluation, before the state is written."""

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on as if never interrupted."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class ScheduleAid(Aid):
    """One of torch's schedulers, stepped after every step.

    Args:
        scheduler: Over the optimizer that is stepped.
    """

    name = "schedule"

    def __init__(self, scheduler: LRScheduler) -> None:
        self.scheduler = scheduler

    def after_step(self, step: int) -> None:  # noqa: ARG002
        self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = _plain(self.scheduler.state_dict())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)


def _plain(value: object) -> Any:
    """A scheduler's state without its functions, which do not unpickle; in lists None for them."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if isinstance(v, _PLAIN)}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v) if isinstance(v, _PLAIN) else None for v in value)
    return value


class DropBlockAid(Aid):
    """DropBlock's rate, which rises linearly over all steps.

    Args:
        net: The network.
        steps: Of the training.
    """

    name = "drop_block"

    def __init__(self, net: nn.Module, steps: int) -> None:
        self.schedule = DropBlockSchedule(net, steps)

    @staticmethod
    def applies(net: nn.Module) -> bool:
        """Whether a network has such layers."""
        blocks = (DropBlock1d, DropBlock2d, DropBlock3d)
        return any(isinstance(module, blocks) for module in net.modules())

    def after_step(self, step: int) -> None:  # noqa: ARG002
        self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        return dict(self.schedule.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.schedule.load_state_dict(state)  # type: ignore[arg-type] # what state_dict gave
