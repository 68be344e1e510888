"""One step of a training: forward, backward, and the optimizer, without waiting for the device."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from convzoo.training._aid import Aid
from convzoo.training._data import Batch
from convzoo.training._evaluate import main_scores
from convzoo.training._recipe import Loss
from convzoo.training._replica import Replica

log: Final = logging.getLogger("convzoo")

LOOK: Final = 16
"""After so many steps a loss is read, which a GPU would otherwise be waited for."""


class NotFiniteError(Exception):
    """A loss became NaN or infinite.

    Attributes:
        value: The loss.
        step: Of which step, from 1 over all epochs.
    """

    def __init__(self, value: float, step: int) -> None:
        super().__init__(value, step)
        self.value = value
        self.step = step


@dataclass
class Sums:
    """What an epoch's record adds up.

    Attributes:
        loss: The losses read so far, each times its images.
        images: How many images those were.
        correct: How many were scored right, on the device; None where it cannot be said.
        scored: How many images could be.
    """

    loss: float = 0.0
    images: int = 0
    correct: Tensor | None = None
    scored: int = 0


@dataclass
class Stepper:
    """What a step needs.

    Attributes:
        acc: The Accelerator.
        replica: The network as it is spread over the processes.
        model: What Accelerate made of it.
        forward: The model, or its compiled form.
        optimizer: What Accelerate made of the optimizer.
        loss: From what the network returned, and the targets, to a mean.
        aids: What helps along.
        max_grad_norm: The gradient's norm is scaled down to it; None for no limit.
        channels_last: Whether images come with their channels last in memory.
        parts: Into how many parts each batch is cut, to save memory.
        share: How much a part with these targets counts in the mean loss of a step.
        sums: Of the current epoch.
        unread: Number, loss and images of the steps whose loss nobody has read yet.
        latest: The last losses that were read.
    """

    acc: Any
    replica: Replica
    model: nn.Module
    forward: Callable[[Tensor], Any]
    optimizer: Any
    loss: Loss
    aids: list[Aid]
    max_grad_norm: float | None
    channels_last: bool
    parts: int = 1
    share: Callable[[Tensor], Tensor | int] = len
    sums: Sums = field(default_factory=Sums)
    unread: list[tuple[int, Tensor, int]] = field(default_factory=list)
    latest: deque[float] = field(default_factory=lambda: deque(maxlen=LOOK))

    def __post_init__(self) -> None:
        # There is nobody to wait for: the losses are there when the step is done.
        self.alone = self.acc.device.type == "cpu" and self.acc.num_processes == 1

    def __call__(self, step: int, batches: list[Batch]) -> tuple[Tensor, bool]:
        """Make a step.

        Args:
            step: Its number, from 1 over all epochs.
            batches: What it learns from.

        Returns:
            The loss, on the device, and whether the weights moved: fp16 leaves steps out.

        Raises:
            NotFiniteError: A loss is NaN or infinite.
        """
        batches = [self._ready(batch) for batch in batches]
        images = sum(len(targets) for _, targets in batches)
        while True:
            try:
                loss, correct, scored = self._backward(batches)
                break
            except RuntimeError as error:
                self._see_to_memory(error, batches)
            # Outside of the handler, whose traceback would hold on to what is in memory.
            self.optimizer.zero_grad()
            self.parts *= 2
            _release()
            log.warning(
                "out of memory: each batch of %d images now goes through the network in %d parts; "
                "a step is the same",
                images,
                self.parts,
            )
        self.unread.append((step, loss, images))
        if self.alone or len(self.unread) == LOOK:
            self.look()
        for aid in self.aids:
            aid.before_step(step)
        if self.max_grad_norm is not None:
            self.acc.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if correct is not None:
            sums = self.sums
            sums.correct = correct if sums.correct is None else sums.correct + correct
            sums.scored += scored
        moved = not self.acc.optimizer_step_was_skipped
        if moved:
            for aid in self.aids:
                aid.after_step(step)
        return loss, moved

    def look(self) -> None:
        """Read the losses; all processes have to do it, and give up together."""
        if not self.unread:
            return
        losses = torch.stack([loss for _, loss, _ in self.unread]).to(self.acc.device)
        values = self.acc.reduce(losses, reduction="mean").tolist()
        unread, self.unread = self.unread, []
        for (step, _, images), value in zip(unread, values, strict=True):
            if not math.isfinite(value):
                raise NotFiniteError(value, step)
            self.latest.append(value)
            self.sums.loss += value * images
            self.sums.images += images

    def counted(self) -> tuple[float, float | None]:
        """Mean loss and accuracy over what the epoch has done."""
        self.look()
        sums, acc = self.sums, self.acc
        accuracy = None
        if sums.correct is not None:
            both = torch.stack([sums.correct, torch.full_like(sums.correct, sums.scored)])
            correct, scored = acc.reduce(both.to(acc.device), reduction="sum").tolist()
            accuracy = correct / scored
        return sums.loss / sums.images if sums.images else math.nan, accuracy

    def _ready(self, batch: Batch) -> Batch:
        """A batch on the device, in the layout that the network has, and as the aids want it."""
        images, targets = batch
        device = self.acc.device
        layout = (
            torch.channels_last
            if self.channels_last and images.ndim == 4
            else torch.preserve_format
        )
        images = images.to(device, non_blocking=True, memory_format=layout)
        targets = targets.to(device, non_blocking=True)
        for aid in self.aids:
            images, targets = aid.batch(images, targets)
        return images, targets

    def _pieces(self, batches: list[Batch]) -> Iterator[Batch]:
        for images, targets in batches:
            parts = min(self.parts, len(targets))
            yield from zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True)

    def _backward(self, batches: list[Batch]) -> tuple[Tensor, Tensor | None, int]:
        """Gradients of the mean loss: that loss, and how many images were right, of how many."""
        acc, model = self.acc, self.model
        total: Tensor | None = None
        correct: Tensor | None = None
        scored = 0
        pieces = list(self._pieces(batches))
        shares = [self.share(targets) for _, targets in pieces]
        whole = sum(shares)
        if isinstance(whole, Tensor):  # of images that all weigh nothing the loss is 0
            whole = torch.where(whole > 0, whole, torch.inf)
        for i, (part, targets) in enumerate(pieces, start=1):
            last = i == len(pieces)
            self.replica.sync_gradients(last)
            with nullcontext() if last else acc.no_sync(model):
                output = self.forward(part)
                # A network over several devices may end on another than the images came by.
                targets = targets.to(main_scores(output).device)
                loss = self.loss(output, targets)
                if len(pieces) > 1:
                    loss = loss * (shares[i - 1] / whole)
                acc.backward(loss)
            loss = loss.detach()
            total = loss if total is None else total + loss
            if targets.ndim == 1 and not targets.is_floating_point():
                right = (main_scores(output).detach().argmax(dim=1) == targets).sum()
                correct = right if correct is None else correct + right
                scored += len(targets)
        if total is None:
            total = torch.zeros((), device=acc.device)
        return total, correct, scored

    def _see_to_memory(self, error: RuntimeError, batches: list[Batch]) -> None:
        """Raise again what smaller parts do not help against."""
        from accelerate.utils.memory import should_reduce_batch_size

        if not isinstance(error, torch.OutOfMemoryError) and not should_reduce_batch_size(error):
            raise error
        if self.acc.num_processes > 1:  # the others are waiting for this one's gradients
            error.add_note(
                "Several processes cannot change the parts of a batch on the way: give a larger "
                "gradient_accumulation or a smaller batch_size."
            )
            raise error
        if self.parts >= max(len(targets) for _, targets in batches):
            error.add_note("There is no room for a single image: take smaller ones.")
            raise error


def _release() -> None:
    """Give what is cached of the device's memory back."""
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)
