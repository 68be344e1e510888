"""From prepared images to batches, the same ones however many processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from convzoo._checks import check_count
from convzoo.datasets._prepared import Prepared
from convzoo.errors import InputError
from convzoo.training._accelerator import seed_all

Batch = tuple[Tensor, Tensor]
"""Images (B, C, H, W) and targets (B,)."""


def seed_of(*parts: object) -> int:
    """A seed for what these name; neighbours get unrelated ones."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1  # torch takes 63 bits


class Steps(Protocol):
    """What the steps of a training learn from, epoch by epoch.

    Attributes:
        per_epoch: Steps an epoch.
    """

    per_epoch: int

    def epoch(self, epoch: int, done: int) -> Iterator[list[Batch]]:
        """The batches of each step of this epoch, from 1, after the first `done` steps."""
        ...

    def images(self, epoch: int, step: int) -> list[int] | None:
        """Places in the data set of what this step, from 1, learned from; None if not known."""
        ...


class Share(list[int]):
    """Which images a process reads for a step, and the seed of what is drawn for them."""

    seed: int = 0


class StepSampler(Sampler[Share]):
    """A fresh random order every epoch, cut to whole steps, and this process's share of each.

    The order depends on the seed and the epoch alone, so that it is the same for any number of
    processes and after a resumption. The images that do not fill a last step are left out of that
    epoch, others each time: every step then weighs the same, and no batch is too small for batch
    normalisation.

    Args:
        size: Images in the data set.
        batch_size: Images a step, over all processes; a multiple of their number.
        seed: Of the order.
        rank: Which process this is, from 0.
        processes: How many there are.
        weights: How likely each image is to be drawn, (size,), with replacement; None takes each
            once.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        processes: int = 1,
        weights: Tensor | None = None,
    ) -> None:
        self.size = size
        self.weights = weights
        self.batch_size = batch_size
        self.steps = size // batch_size
        self.seed = seed
        self.rank = rank
        self.share = batch_size // processes
        self.epoch = 1
        self.done = 0

    def __len__(self) -> int:
        return self.steps - self.done

    def order(self, epoch: int) -> list[int]:
        """Places of the images in the order of this epoch."""
        generator = torch.Generator().manual_seed(self.seed + epoch)
        used = self.steps * self.batch_size
        if self.weights is None:
            drawn = torch.randperm(self.size, generator=generator)[:used]
        else:
            drawn = torch.multinomial(self.weights, used, replacement=True, generator=generator)
        places: list[int] = drawn.tolist()
        return places

    def __iter__(self) -> Iterator[Share]:
        order = self.order(self.epoch)
        for step in range(self.done, self.steps):
            first = step * self.batch_size + self.rank * self.share
            share = Share(order[first : first + self.share])
            share.seed = seed_of("images", self.seed, self.epoch, step, self.rank)
            yield share


class Seeded(Dataset[Any]):
    """Reads each share of a batch from its own seed, in whichever process.

    What augmentation draws then depends on the step alone: not on the number of workers, nor on
    where a training was interrupted.

    Args:
        data: What is read.
    """

    def __init__(self, data: Prepared) -> None:
        self.data = data

    def __getitems__(self, share: Share) -> list[Any]:
        seed_all(share.seed)
        return [self.data[place] for place in share]


class OwnSteps:
    """Steps drawn from a data set.

    Args:
        data: The data set.
        sampler: Which of its images make which step.
        num_workers: Processes that read them.
        pin_memory: Whether the batches go to a GPU.
    """

    def __init__(
        self, data: Prepared, sampler: StepSampler, *, num_workers: int, pin_memory: bool
    ) -> None:
        self.sampler = sampler
        self.per_epoch: int = sampler.steps
        self.loader = DataLoader(
            Seeded(data), batch_sampler=sampler, num_workers=num_workers, pin_memory=pin_memory
        )

    def epoch(self, epoch: int, done: int) -> Iterator[list[Batch]]:
        self.sampler.epoch, self.sampler.done = epoch, done
        return ([(images, targets)] for images, targets in self.loader)

    def images(self, epoch: int, step: int) -> list[int] | None:
        size = self.sampler.batch_size
        return self.sampler.order(epoch)[(step - 1) * size : step * size]


class LoaderSteps:
    """Steps of a user's own DataLoader, which draws the order by torch's generator.

    After a resumption the batches of the steps that are done are read again and dropped: who knows
    what the next ones depend on.

    Args:
        loader: The DataLoader, as Accelerate has prepared it.
        batches: How many it has.
        parts: Its batches that make a step; the last step of an epoch may have fewer.
        seed: Of what is drawn.
        rank: Which process this is, from 0.
    """

    def __init__(self, loader: Any, batches: int, parts: int, seed: int, rank: int) -> None:
        self.loader = loader
        self.parts = parts
        self.seed = seed
        self.rank = rank
        self.per_epoch: int = -(-batches // parts)

    def epoch(self, epoch: int, done: int) -> Iterator[list[Batch]]:
        def seed(step: int) -> None:
            seed_all(seed_of("images", self.seed, epoch, step, self.rank))

        seed(0)
        step, batches = 0, []
        for images, targets in self.loader:
            batches.append((images, targets))
            if len(batches) < self.parts:
                continue
            step += 1
            if step > done:
                yield batches
            batches = []
            seed(step)
        if batches:
            yield batches

    def images(self, epoch: int, step: int) -> list[int] | None:  # noqa: ARG002
        return None


def batches_of(loader: DataLoader[Any], name: str) -> int:
    """How many batches a DataLoader has; `name` is the argument it came by."""
    try:
        return len(loader)
    except TypeError as error:
        raise InputError(
            f"{name}: expected a DataLoader that knows how many batches it has, over a data "
            "set with __len__"
        ) from error


def steps_of(
    data: Prepared,
    acc: Any,
    *,
    batch_size: int,
    parts: int,
    weights: Tensor | None,
    num_workers: int,
    seed: int,
) -> tuple[Steps, int]:
    """The steps of a training, and the images in each; a DataLoader's stay as they come.

    Args:
        data: What is learned from.
        acc: The Accelerator.
        batch_size: Images a step, as `fit` was asked for.
        parts: Parts of a step's batch, or a DataLoader's batches that make a step.
        weights: How likely each image is to be drawn; None takes each once.
        num_workers: Processes that read them.
        seed: Of the order.
    """
    processes, rank = acc.num_processes, acc.process_index
    if data.loader is not None:
        batches = batches_of(data.loader, "train")
        loader = acc.prepare_data_loader(shared_out(data.loader, processes))
        return LoaderSteps(loader, batches, parts, seed, rank), batch_size
    size = _batch_size(batch_size, len(data), parts, processes)
    sampler = StepSampler(len(data), size, seed, rank=rank, processes=processes, weights=weights)
    pin_memory = acc.device.type == "cuda"
    return OwnSteps(data, sampler, num_workers=num_workers, pin_memory=pin_memory), size


def number_of_classes(net: nn.Module) -> int | None:
    """How many classes a network scores, where it says so."""
    number = getattr(net, "num_classes", None)
    return number if isinstance(number, int) and number > 0 else None


def eval_loader(
    data: Prepared, *, batch_size: int, num_workers: int, processes: int
) -> DataLoader[Any]:
    """Batches in order, the last one as small as it comes; or those of the user's own loader."""
    if data.loader is not None:
        return shared_out(data.loader, processes)
    size = -(-min(batch_size, len(data)) // processes) * processes
    num_workers = check_count("num_workers", num_workers, least=0)
    return DataLoader(data, batch_size=size, num_workers=num_workers)


def shared_out(loader: DataLoader[Any], processes: int) -> DataLoader[Any]:
    """The user's own loader, if each of its batches can be cut evenly among the processes."""
    if processes > 1 and (loader.batch_size is None or loader.batch_size % processes):
        raise InputError(
            f"batch_size: expected a DataLoader whose batch_size is a multiple of {processes}, the "
            f"number of processes, got {loader.batch_size}"
        )
    return loader


def _batch_size(wanted: int, images: int, parts: int, processes: int) -> int:
    """The batch of a step, cut evenly into the parts that go through the network one by one."""
    unit = parts * processes
    if wanted % unit:
        raise InputError(
            f"batch_size: expected a multiple of {unit} ({processes} process(es) times "
            f"gradient_accumulation={parts}), got {wanted}"
        )
    if images < unit:
        raise InputError(f"train: expected at least {unit} images for one step, got {images}")
    return min(wanted, images // unit * unit)
