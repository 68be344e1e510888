"""The learning-rate range test, on a copy of the network."""

from __future__ import annotations

import copy
import itertools
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from convzoo._checks import check_count, check_number
from convzoo._modes import check_network
from convzoo.datasets._prepared import (
    Columns,
    ImageData,
    ImageTransform,
    Prepared,
    Reader,
    usual_transform,
)
from convzoo.errors import InputError
from convzoo.training._data import number_of_classes
from convzoo.training._recipe import (
    Loss,
    LossName,
    OptimizerName,
    made_loss,
    make_optimizer,
    targets_of,
)
from convzoo.transfer._find_heads import unwrap

_SMOOTHING = 0.98  # fastai's
_LEAST_FALL = 3  # steps that a loss has to fall for its fall to say anything


@dataclass(frozen=True)
class LRCurve:
    """The loss against the learning rate, as `lr_find` measured it.

    Attributes:
        lrs: Learning rate of each step, of the parameter group with the highest.
        losses: Loss of each step's batch, before the step.
        smoothed: The losses as an exponential moving average, which the suggestions are read from.
        ended: Why the curve ends: `"finished"` at the last step, `"diverged"` where the loss had
            risen to a multiple of its least, `"nan"` where it was NaN or infinite.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    ended: str

    @property
    def suggestion(self) -> float | None:
        """A learning rate to train with: `valley`."""
        return self.valley

    @property
    def valley(self) -> float | None:
        """Halfway along the longest fall of the loss, fastai's choice; None if it never fell."""
        lrs, losses = self._judged()
        # Of the longest falling subsequence that ends at each place.
        lengths = [1] * len(losses)
        for end, start in itertools.product(range(len(losses)), repeat=2):
            if start < end and losses[end] < losses[start]:
                lengths[end] = max(lengths[end], lengths[start] + 1)
        longest = max(lengths, default=0)
        if longest < _LEAST_FALL:
            return None
        begin = lengths.index(longest) - longest + 1
        return lrs[begin + longest // 2]

    @property
    def steepest(self) -> float | None:
        """Where the loss falls fastest; None if it never fell."""
        lrs, losses = self._judged()
        slopes = [after - before for before, after in itertools.pairwise(losses)]
        if self.valley is None or min(slopes) >= 0:
            return None
        return lrs[slopes.index(min(slopes))]

    def _judged(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Without the first steps, over which the average settles, and the last, where it soars."""
        first, last = len(self.lrs) // 10, max(len(self.lrs) - 5, 0)
        return self.lrs[first:last], self.smoothed[first:last]

    def to_dict(self) -> dict[str, object]:
        """The curve and its suggestions as plain JSON values."""
        return {**asdict(self), "valley": self.valley, "steepest": self.steepest}

    def __str__(self) -> str:
        text = f"{len(self.lrs)} steps from lr {self.lrs[0]:.3g} to {self.lrs[-1]:.3g}"
        if self.valley is None or self.steepest is None:
            return f"{text}; the loss did not fall, so that there is none to suggest"
        return f"{text}; suggestion {self.valley:.3g} (valley), steepest {self.steepest:.3g}"


def lr_find(
    net: nn.Module,
    data: ImageData | DataLoader[Any],
    *,
    optimizer: OptimizerName | Optimizer = "adamw",
    loss: Loss | LossName | None = None,
    start: float = 1e-7,
    end: float = 10.0,
    steps: int = 100,
    diverge: float = 4.0,
    batch_size: int = 32,
    columns: Columns | None = None,
    transform: ImageTransform | None = None,
    weight_decay: float | None = None,
    num_workers: int = 0,
    seed: int = 0,
) -> LRCurve:
    """Try learning rates, from too low to too high, and suggest one (Smith, 2015).

    Trains a copy of the network for a few steps, each at a higher rate than the one before. The
    network, the optimizer and the loss given are never touched, and the random generators (torch's,
    Python's, numpy's, the DataLoader's own) are put back, whatever happens on the way. The same
    call gives the same curve.

    Args:
        net: Any network that maps images (B, C, H, W) to class scores; the copy trains on the
            device that it is on, with what is frozen in it frozen.
        data: What [fit][convzoo.fit] takes: a data set, or a DataLoader.
        optimizer: A name, or an optimizer over the network's parameters, of which a copy goes on
            from its state. Groups keep the proportions of their rates.
        loss: As in [fit][convzoo.fit].
        start: Rate of the first step, above 0.
        end: Rate of the last one, above `start`; they rise by the same factor.
        steps: How many there are, at least 10; a small data set is gone through again.
        diverge: Ends the curve where the smoothed loss is this many times its least, above 1.
        batch_size: Images a step; a DataLoader brings its own.
        columns: Names of image and label in rows by name; None finds the usual ones.
        transform: What to do with every image instead of the preset's `train()`.
        weight_decay: As in [fit][convzoo.fit].
        num_workers: Processes that read and prepare images; 0 does it in this one.
        seed: Of order, augmentation and dropout.

    Returns:
        The curve, with its suggestions.

    Raises:
        InputError: An argument is wrong, nothing in the network trains, or its loss is not a
            finite number at the first step.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets
        >>> net = convzoo.lenet5()
        >>> curve = convzoo.lr_find(net, datasets.digits().train, steps=40)
        >>> 1e-7 < curve.suggestion < 10
        True
    """
    check_network(net)
    start, end = check_number("start", start, 0), check_number("end", end, 0)
    if not 0 < start < end:
        raise InputError(f"start, end: expected 0 < start < end, got {start:g} and {end:g}")
    steps, seed = check_count("steps", steps, least=10), check_count("seed", seed, least=-(2**63))
    batch_size = check_count("batch_size", batch_size)
    num_workers = check_count("num_workers", num_workers, least=0)
    diverge = check_number("diverge", diverge, 1)
    core = unwrap(net)
    if isinstance(optimizer, Optimizer):
        _check_parameters(core, optimizer)
    classes, known = number_of_classes(core), getattr(core, "labels", None)
    usual, targets = usual_transform(core, train=True), targets_of(loss)
    known = None if targets == "numbers" else known
    reader = Reader("data", transform, usual, classes, targets, columns, known)
    loss = made_loss(loss, getattr(core, "aux_weight", 0.3))
    prepared = Prepared(data, reader)
    device = next((p.device for p in core.parameters()), torch.device("cpu"))
    if device.type == "meta":
        raise InputError("net: it has shapes alone, on the meta device; build it on a real one")
    with _seeded(data, device, seed), torch.inference_mode(mode=False), torch.enable_grad():
        loader = prepared.loader or DataLoader(
            prepared,
            batch_size=min(batch_size, len(prepared)),
            shuffle=True,
            drop_last=True,
            num_workers=num_workers,
        )
        try:
            # In one go, so that the copied optimizer holds the parameters of the copied network.
            memo: dict[int, Any] = {}
            trained, copied, loss = copy.deepcopy((core, optimizer, loss), memo)
            if isinstance(optimizer, Optimizer):  # of which torch copies its own attributes
                for name, value in vars(optimizer).items():
                    if name != "step":  # a scheduler's, which counts the steps
                        vars(copied).setdefault(name, copy.deepcopy(value, memo))
        except (RuntimeError, TypeError) as error:
            raise InputError(f"net: it cannot be copied to be tried: {error!s:.200}") from error
        trained.train()
        made = make_optimizer(trained, copied, lr=None, head_lr=None, weight_decay=weight_decay)
        made.zero_grad()
        return _climb(trained, made, loss, loader, start, end, steps, diverge)


def _climb(
    net: nn.Module,
    optimizer: Optimizer,
    loss: Loss,
    loader: DataLoader[Any],
    start: float,
    end: float,
    steps: int,
    diverge: float,
) -> LRCurve:
    device = next(net.parameters()).device
    highest = max(float(group["lr"]) for group in optimizer.param_groups)
    shares = [float(g["lr"]) / highest if highest else 1.0 for g in optimizer.param_groups]
    lrs: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    average, least, ended = 0.0, math.inf, "finished"
    for step, (images, targets) in zip(range(steps), _over_and_over(loader), strict=False):
        lr = start * (end / start) ** (step / (steps - 1))
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = lr * share
        value = loss(net(images.to(device)), targets.to(device))
        number = float(value.detach())
        if not math.isfinite(number):
            if not lrs:
                raise InputError(f"net: its loss is {number} at the first step, at lr {lr:.3g}")
            ended = "nan"
            break
        average = _SMOOTHING * average + (1 - _SMOOTHING) * number
        lrs.append(lr)
        losses.append(number)
        smoothed.append(average / (1 - _SMOOTHING ** (step + 1)))
        least = min(least, smoothed[-1])
        if smoothed[-1] > diverge * least:
            ended = "diverged"
            break
        torch.autograd.backward(value)
        optimizer.step()
        optimizer.zero_grad()
    if not lrs:
        raise InputError("data: expected at least one batch, got none")
    return LRCurve(tuple(lrs), tuple(losses), tuple(smoothed), ended)


def _over_and_over(loader: DataLoader[Any]) -> Iterator[Any]:
    empty = False
    while not empty:
        empty = True
        for batch in loader:
            empty = False
            yield batch


def _check_parameters(net: nn.Module, optimizer: Optimizer) -> None:
    """An optimizer over other parameters would change nothing, and its copy share nothing."""
    own = {id(parameter) for parameter in net.parameters()}
    if any(id(p) not in own for group in optimizer.param_groups for p in group["params"]):
        raise InputError(
            "optimizer: expected one over parameters of the network, but it holds others as well"
        )


@contextmanager
def _seeded(data: object, device: torch.device, seed: int) -> Iterator[None]:
    """Seed what reading and training draw from, and put every generator back as it was."""
    import numpy as np

    own = [
        generator
        for holder in _holders(data)
        if isinstance(generator := getattr(holder, "generator", None), torch.Generator)
    ]
    states = [generator.get_state() for generator in own]
    python, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002 # the global one
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpys)  # noqa: NPY002
        for generator, state in zip(own, states, strict=True):
            generator.set_state(state)


def _holders(data: object) -> list[object]:
    """A DataLoader and its samplers; nothing of what is none."""
    if not isinstance(data, DataLoader):
        return []
    batches = data.batch_sampler
    return [data, data.sampler, batches, getattr(batches, "sampler", None)]
