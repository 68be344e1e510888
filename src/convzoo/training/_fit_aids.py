"""The aids of `fit` that change what a step learns from, or what learns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from convzoo._checks import check_choice, check_number
from convzoo.datasets._prepared import Prepared
from convzoo.errors import InputError
from convzoo.presets import Preset
from convzoo.training._aid import Aid, ScheduleAid
from convzoo.training._data import number_of_classes
from convzoo.training._ema import EMA
from convzoo.training._flips import AlternatingFlips
from convzoo.training._l2_sp import L2SP
from convzoo.training._mixing import Mixing, MixingName
from convzoo.training._recipe import Loss
from convzoo.training._records import EpochRecord
from convzoo.training._resizing import ProgressiveResizing
from convzoo.training._schedules import (
    Schedule,
    ScheduleEvery,
    ScheduleName,
    lr_schedule,
)
from convzoo.training._unfreezing import GradualUnfreezing

_PATIENCE: Final = 5  # epochs in a row without improvement that make a plateau
_QUOTED: Final = ", ".join(f'"{name}"' for name in get_args(ScheduleName))


def image_aids(
    train: Prepared,
    net: nn.Module,
    *,
    mixing: MixingName | Mixing | None,
    resizing: bool | ProgressiveResizing,
    flips: str | None,
    epochs: int,
    seed: int,
) -> list[Aid]:
    """What changes the training images, in the order in which it does.

    Args:
        train: They; alternating flips are put around what it reads.
        net: The network.
        mixing: As in `fit`; so are the others.
        resizing: ""
        flips: ""
        epochs: ""
        seed: ""
    """
    aids: list[Aid] = []
    if flips is not None:
        check_choice("flips", flips, ("alternating",))
        if train.loader is not None:
            raise InputError(
                "flips: a DataLoader reads by itself; give it AlternatingFlips(data), and call its "
                "start_epoch(record.epoch + 1) in on_epoch"
            )
        preset = getattr(net, "preset", None)
        if isinstance(preset, Preset):
            train.reader = replace(train.reader, usual=preset.train(hflip=0.0))
        train.data = alternating = AlternatingFlips(
            train.data, seed=seed, columns=train.reader.columns
        )
        aids.append(FlipsAid(alternating))
    if resizing is True:
        resizing = ProgressiveResizing(epochs)
    if isinstance(resizing, ProgressiveResizing):
        aids.append(ResizingAid(resizing))
    elif resizing is not False:
        raise InputError(
            f"resizing: expected True, False or a ProgressiveResizing, got {resizing!r:.80}"
        )
    if mixing is not None and not isinstance(mixing, Mixing):
        classes = number_of_classes(net)
        if classes is None:
            raise InputError(
                f"mixing: the network does not say how many classes it scores, got {mixing!r:.80}; "
                "pass Mixing(kind, num_classes)"
            )
        mixing = Mixing(mixing, classes)
    if mixing is not None:
        aids.append(MixingAid(mixing))
    return aids


def refuse_spread(*, sharded: bool, processes: int, unfreeze: object, **whole: object) -> None:
    """Refuse aids that a network which is spread over processes does not take.

    Args:
        sharded: Whether its weights are shared out.
        processes: How many there are.
        unfreeze: `unfreeze_every`: DistributedDataParallel knows the gradients to wait for from
            the beginning.
        **whole: Aids that see all of the weights, by name.
    """
    for name, value in whole.items():
        if sharded and value is not None:
            raise InputError(
                f"{name}: needs whole weights, which sharded=True shares out; drop one"
            )
    if processes > 1 and unfreeze is not None:
        raise InputError(
            f"unfreeze_every: expected one process, got {processes}; train the head first and the "
            "network in a second call of fit"
        )


def schedule_aid(
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    steps: int,
    warmup: float | None,
    milestones: int | Sequence[float] | None,
    gamma: float | None,
    every: ScheduleEvery,
    monitor: str,
    scored: bool,
) -> ScheduleAid:
    """The course of the learning rate that was named, or the scheduler that was given.

    Args:
        optimizer: What it steers.
        schedule: As in `fit`; so are those down to `monitor`.
        steps: Of the whole training.
        warmup: ""
        milestones: ""
        gamma: ""
        every: ""
        monitor: ""
        scored: Whether there is a validation set.
    """
    check_choice("schedule_every", every, get_args(ScheduleEvery))
    named = isinstance(schedule, str)
    if not named and not callable(schedule):
        raise InputError(
            f"schedule: expected {_QUOTED}, or a function from the optimizer to one of torch's "
            f"schedulers, got {schedule!r:.80}"
        )
    if every == "step" and named:
        raise InputError("schedule_every: belongs to a scheduler of torch's, not to one by name")
    if isinstance(schedule, str) and schedule != "plateau":
        check_choice("schedule", schedule, get_args(ScheduleName))
        made = lr_schedule(
            optimizer, schedule, steps=steps, warmup=warmup, milestones=milestones, gamma=gamma
        )
        return ScheduleAid(made)
    for name, value in (("warmup", warmup), ("milestones", milestones)):
        if value is not None:
            raise InputError(f"{name}: expected None with this schedule, got {value!r:.80}")
    if isinstance(schedule, str):
        factor = 0.1 if gamma is None else check_number("gamma", gamma, 0, 1)
        if not 0 < factor < 1:
            raise InputError(f"gamma: expected a factor in (0, 1), got {gamma!r}")
        mode: Literal["max", "min"] = "max" if monitor == "accuracy" else "min"
        # An improvement is any, as in EarlyStopping.
        made = ReduceLROnPlateau(
            optimizer, mode, factor, patience=_PATIENCE - 1, threshold=0.0, eps=0.0
        )
    else:
        if gamma is not None:
            raise InputError(f"gamma: expected None with this schedule, got {gamma!r:.80}")
        made = schedule(optimizer)
        if not isinstance(made, LRScheduler):
            raise InputError(
                f"schedule: expected it to return one of torch's schedulers, got {made!r:.80}"
            )
    if isinstance(made, ReduceLROnPlateau):
        if not scored:
            raise InputError("schedule: a plateau is one of the validation, got val=None")
        if every == "step":
            raise InputError("schedule_every: a plateau is looked for after every epoch")
        return EpochScheduleAid(made, monitor)
    return ScheduleAid(made) if every == "step" else EpochScheduleAid(made, monitor)


class EpochScheduleAid(ScheduleAid):
    """One of torch's schedulers, stepped after every epoch.

    Args:
        scheduler: Over the optimizer that is stepped; on a plateau it sees the monitored figure.
        monitor: Which one that is.
    """

    def __init__(self, scheduler: LRScheduler, monitor: str) -> None:
        super().__init__(scheduler)
        self.monitor = monitor

    def settings(self) -> dict[str, object]:
        return {"scheduler": type(self.scheduler).__qualname__, "every": "epoch"}

    def after_step(self, step: int) -> None:
        """Nothing."""

    def end_epoch(self, record: EpochRecord) -> None:
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
            return
        found = record.val_accuracy if self.monitor == "accuracy" else record.val_loss
        # `fit` needs a validation set for it.
        self.scheduler.step(float("nan") if found is None else found)


class EMAAid(Aid):
    """The moving average of the weights, scored beside those that train.

    Args:
        net: What trains.
        decay: Of the average.
    """

    name = "ema"

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = net
        self.ema = EMA(net, decay)

    def settings(self) -> dict[str, object]:
        return {"decay": self.ema.decay}

    def after_step(self, step: int) -> None:  # noqa: ARG002
        self.ema.update_parameters(self.net)

    def averaged(self) -> AbstractContextManager[None]:
        return self._exchanged()

    def finish(self) -> None:
        """Leave the average in the network, where no validation says which is better."""
        own = [tensor.detach() for tensor in _tensors(self.net)]
        torch._foreach_copy_(own, [tensor.detach() for tensor in _tensors(self.ema.module)])

    @contextmanager
    def _exchanged(self) -> Iterator[None]:
        own = [tensor.detach() for tensor in _tensors(self.net)]
        kept = [tensor.clone() for tensor in own]
        self.finish()
        try:
            yield
        finally:
            torch._foreach_copy_(own, kept)

    def state_dict(self) -> dict[str, Any]:
        return self.ema.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ema.load_state_dict(state)


class MixingAid(Aid):
    """Images mixed in pairs.

    Args:
        mixing: What mixes them.
    """

    name = "mixing"

    def __init__(self, mixing: Mixing) -> None:
        self.mixing = mixing

    def settings(self) -> dict[str, object]:
        return {**vars(self.mixing), "_mixers": [repr(mixer) for mixer in self.mixing._mixers]}

    def batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return self.mixing(images, targets)


class ResizingAid(Aid):
    """Images that grow.

    Args:
        resizing: What shrinks them.
    """

    name = "resizing"

    def __init__(self, resizing: ProgressiveResizing) -> None:
        self.resizing = resizing

    def settings(self) -> dict[str, object]:
        return {name: value for name, value in vars(self.resizing).items() if name != "scale"}

    def start_epoch(self, epoch: int) -> None:
        self.resizing.start_epoch(epoch)

    def batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return self.resizing(images), targets


class FlipsAid(Aid):
    """Images and their mirror images in turn.

    Args:
        flips: The data set that shows them.
    """

    name = "flips"

    def __init__(self, flips: AlternatingFlips) -> None:
        self.flips = flips

    def settings(self) -> dict[str, object]:
        return {"alternating": True}

    def start_epoch(self, epoch: int) -> None:
        self.flips.start_epoch(epoch)


class UnfreezingAid(Aid):
    """Stages that thaw one after the other.

    Args:
        unfreezing: What thaws them.
    """

    name = "unfreezing"

    def __init__(self, unfreezing: GradualUnfreezing) -> None:
        self.unfreezing = unfreezing

    def settings(self) -> dict[str, object]:
        return {"every": self.unfreezing.every, "stages": self.unfreezing.stages}

    def start_epoch(self, epoch: int) -> None:
        self.unfreezing.start_epoch(epoch)


class L2SPAid(Aid):
    """The pull towards the pretrained weights, as a part of the loss.

    Args:
        penalty: What is added.
        loss: What it is added to.
    """

    name = "l2_sp"

    def __init__(self, penalty: L2SP, loss: Loss) -> None:
        self.penalty = penalty
        self.loss = loss

    def __call__(self, output: Any, targets: Tensor) -> Tensor:
        """The loss with it."""
        return self.loss(output, targets) + self.penalty()

    def settings(self) -> dict[str, object]:
        return {"alpha": self.penalty.alpha, "beta": self.penalty.beta}

    # A training that is resumed may come with other weights than it began with.
    def state_dict(self) -> dict[str, Any]:
        return {str(i): start for i, start in enumerate(self.penalty.start)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.penalty.start = list(state.values())


def _tensors(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *net.buffers()]
