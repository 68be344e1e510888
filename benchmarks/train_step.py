"""A training step through `fit` beside the plain loop on torchvision's network, in fp32.

    python benchmarks/train_step.py [rounds] [network@side x batch ...] [how ...]
    python benchmarks/train_step.py 7 resnet18@32x32 plain fit tuned

Each way of training has a process of its own, since the allocator is tuned for a process; they take
turns, and medians are compared. All start from the same weights and see the same batches in the
same order; the largest difference between their losses is printed as well.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torchvision
from torch.utils.data import TensorDataset

from convzoo import training
from convzoo.training._data import StepSampler

CASES = ("resnet18@32x32", "resnet18@224x8", "vgg16@224x4")
HOWS: dict[str, dict[str, object]] = {
    "plain": {},
    "fit": {},
    "tuned": {},  # with tune_allocator(), as the command trains
    "contiguous": {"channels_last": False},
    "channels_last": {"channels_last": True},
    "compiled": {"compile": True},  # and tuned
    "bf16": {"mixed_precision": "bf16"},
}
STEPS = 60  # more than are taken
LR = 1e-4


def work(how: str, case: str) -> None:
    """Train a step whenever a line comes in; tell how long it took, and its loss."""
    name, _, size = case.partition("@")
    side, batch = map(int, size.split("x"))
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(num_classes=10)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the two loops would draw other masks
    images = torch.randn(8 * batch, 3, side, side)
    data = TensorDataset(images, torch.arange(len(images)) % 10)
    began = 0.0

    def turn(loss: float) -> None:
        nonlocal began
        print(json.dumps([time.perf_counter() - began, loss]), flush=True)
        sys.stdin.readline()
        began = time.perf_counter()

    if how in ("tuned", "compiled"):
        training.tune_allocator()
    train = plain if how == "plain" else fit
    train(net, data, batch, turn, **HOWS[how])


def plain(
    net: torch.nn.Module, data: TensorDataset, batch: int, turn: Callable[[float], None]
) -> None:
    """The loop as tutorials have it."""
    sampler = StepSampler(len(data), batch, 0)
    optimizer = torch.optim.AdamW(net.parameters(), LR, weight_decay=0)
    net.train()
    for epoch in range(1, STEPS):
        sampler.epoch = epoch
        for images, targets in torch.utils.data.DataLoader(data, batch_sampler=sampler):
            loss = torch.nn.functional.cross_entropy(net(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            turn(loss.item())


def fit(
    net: torch.nn.Module,
    data: TensorDataset,
    batch: int,
    turn: Callable[[float], None],
    **options: object,
) -> None:
    """The same through `fit`."""
    training.fit(
        net,
        data,
        epochs=STEPS,
        batch_size=batch,
        lr=LR,
        weight_decay=0.0,
        schedule="constant",
        cpu=True,
        on_step=lambda record: turn(float(record.loss)),
        **options,  # type: ignore[arg-type]
    )


def compare(case: str, hows: list[str], rounds: int, warmup: int = 2) -> None:
    """Print a row for each way."""
    workers = {
        how: subprocess.Popen(
            [sys.executable, __file__, "--work", how, case],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for how in hows
    }
    seconds: dict[str, list[float]] = {how: [] for how in hows}
    losses: dict[str, list[float]] = {how: [] for how in hows}
    for worker in workers.values():  # one after the other: they build their networks
        worker.stdout.readline()  # type: ignore[union-attr] # of the first step
    for turn in range(warmup + rounds):
        for how in hows[:: 1 if turn % 2 else -1]:
            worker = workers[how]
            worker.stdin.write("\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
            took, loss = json.loads(worker.stdout.readline())  # type: ignore[union-attr]
            losses[how].append(loss)
            if turn >= warmup:
                seconds[how].append(took)
    for worker in workers.values():
        worker.kill()
        worker.wait()
    reference = hows[0]
    base = statistics.median(seconds[reference])
    for how in hows:
        median = statistics.median(seconds[how])
        apart = max(abs(a - b) for a, b in zip(losses[how], losses[reference], strict=True))
        print(
            f"| {case} | {how} | {1e3 * median:,.0f} ms | {base / median:.2f} | {apart:.1e} |",
            flush=True,
        )


def main() -> None:
    """Print a table of medians, and how many times as fast as the first way each is."""
    words = sys.argv[1:]
    rounds = next((int(word) for word in words if word.isdecimal()), 7)
    hows = [word for word in words if word in HOWS] or ["plain", "fit", "tuned"]
    cases = [word for word in words if "@" in word] or list(CASES)
    print(f"| network | how | step | times {hows[0]} | losses apart |\n|---|---|---:|---:|---:|")
    for case in cases:
        compare(case, hows, rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:])
    else:
        main()
