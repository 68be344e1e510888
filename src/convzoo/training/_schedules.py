"""How the learning rate runs over training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from convzoo._checks import check_choice, check_count, check_number, check_probability
from convzoo.errors import InputError

StepSchedule = Literal["one_cycle", "cosine", "step", "constant"]
"""Courses of the learning rate that are counted in steps."""


ScheduleName = Literal["one_cycle", "cosine", "step", "plateau", "constant"]
"""Those, and the one that waits for the validation."""

Schedule = ScheduleName | Callable[[Optimizer], LRScheduler]
"""How the learning rate runs over training: by name, or as one of torch's schedulers."""

ScheduleEvery = Literal["epoch", "step"]
"""After what a scheduler of torch's is stepped."""


def lr_schedule(
    optimizer: Optimizer,
    name: StepSchedule,
    *,
    steps: int,
    warmup: float | None = None,
    milestones: int | Sequence[float] | None = None,
    gamma: float | None = None,
) -> LRScheduler:
    """A course of the learning rate over a training, for every group in proportion to its own rate.

    Call `.step()` after every optimizer step, as [fit][convzoo.fit] does.

    Args:
        optimizer: Its groups' rates are the highest of the course.
        name: `"one_cycle"` rises, then falls along a cosine, while the momentum runs against it
            (Smith, 2018); `"cosine"` falls along a half-cosine to 0; `"step"` is multiplied by
            `gamma` at every milestone; `"constant"` stays.
        steps: Of the whole training.
        warmup: Share of the steps over which the rate rises first, in [0, 1); None is 0.3 for
            `"one_cycle"`, else 0.
        milestones: For `"step"`: shares of the training, in (0, 1), rising; or how many there are,
            evenly spaced. None is (0.5, 0.75).
        gamma: For `"step"`: the factor, in (0, 1]; None is 0.1.

    Returns:
        torch's scheduler.

    Raises:
        InputError: An argument is wrong, or belongs to another course.

    Examples:
        >>> import torch
        >>> from convzoo.training import lr_schedule
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> schedule = lr_schedule(optimizer, "step", steps=4, gamma=0.5)
        >>> rates = []
        >>> for _ in range(4):
        ...     rates.append(optimizer.param_groups[0]["lr"])
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [1.0, 1.0, 0.5, 0.25]
    """
    if not isinstance(optimizer, Optimizer):
        raise InputError(f"optimizer: expected a torch optimizer, got {optimizer!r:.80}")
    check_choice("schedule", name, get_args(StepSchedule))
    steps = check_count("steps", steps)
    if warmup is not None:
        warmup = check_probability("warmup", warmup)
    if name == "one_cycle":
        _belong_to_step(name, milestones, gamma)
        return OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=steps + 1,  # it is stepped once after the last step, too
            pct_start=0.3 if warmup is None else warmup,
        )
    factor = _course(name, milestones, gamma)
    rising = round((warmup or 0.0) * steps)

    def warmed(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return factor(step, rising, steps)

    return LambdaLR(optimizer, warmed)


def _course(
    name: str, milestones: int | Sequence[float] | None, gamma: float | None
) -> Callable[[int, int, int], float]:
    """The factor after warm-up: of the step, the steps that warmed up, and all steps."""
    if name == "step":
        drops = _milestones(milestones)
        by = 0.1 if gamma is None else check_number("gamma", gamma, 0, 1)
        if by == 0:
            raise InputError("gamma: expected a factor in (0, 1], got 0")
        return lambda step, _, steps: by ** sum(step >= round(drop * steps) for drop in drops)
    _belong_to_step(name, milestones, gamma)
    if name == "constant":
        return lambda *_: 1.0
    return lambda step, rising, steps: (
        0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))
    )


def _milestones(given: int | Sequence[float] | None) -> tuple[float, ...]:
    if given is None:
        return (0.5, 0.75)
    if not isinstance(given, (tuple, list)):
        count = check_count("milestones", given)
        return tuple((number + 1) / (count + 1) for number in range(count))
    shares = tuple(check_number("milestones", share, 0, 1) for share in given)
    if list(shares) != sorted(set(shares)) or not shares or not 0 < shares[0] <= shares[-1] < 1:
        raise InputError(f"milestones: expected rising shares in (0, 1), got {given!r:.80}")
    return shares


def _belong_to_step(name: str, milestones: object, gamma: object) -> None:
    for argument, value in (("milestones", milestones), ("gamma", gamma)):
        if value is not None:
            raise InputError(
                f"{argument}: expected None with schedule={name!r}, got {value!r:.80}; it belongs "
                "to schedule='step'"
            )
