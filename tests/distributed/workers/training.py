"""`fit` and `evaluate` on however many ranks there are; one rank alone is what the rest is held to.

In double precision and without batch normalisation, where processes may differ from one another
by rounding only.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from leave import leave
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import convzoo
from convzoo import training
from convzoo.errors import CheckpointError, InputError

FOLDER, CASES = Path(sys.argv[1]), sys.argv[2]
IMAGES = 27  # with batches of 8 and 10 the last ones are ragged


def data(net: nn.Module) -> TensorDataset:
    side = 28 if isinstance(net, convzoo.models.LeNet5) else 32
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(IMAGES, 1, side, side, dtype=torch.float64, generator=generator)
    return TensorDataset(x.to(next(net.parameters()).dtype), torch.arange(IMAGES) % 3)


def lenet() -> nn.Module:
    torch.manual_seed(0)
    return convzoo.lenet5(num_classes=3, activation="relu").double()


def frozen() -> nn.Module:
    return convzoo.freeze(lenet(), "up_to:pool2")


def googlenet() -> nn.Module:
    torch.manual_seed(0)
    net = convzoo.googlenet_2014(num_classes=3, in_channels=1, aux_heads=True)
    for module in net.modules():  # one process would draw other masks
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net.float()


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return convzoo.cifar_resnet20(num_classes=3, in_channels=1, drop_path=0.2, drop_block=0.1)


def foreign() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 5, stride=9), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    return nn.Sequential(*layers).double()


def trained(net: nn.Module, **options: Any) -> dict[str, Any]:
    """What a training left, in every form in which it can be told."""
    gc.freeze()  # `fit` and `evaluate` collect as they end: what is here stays
    images = data(net)
    options = {"epochs": 2, "batch_size": 8, "lr": 0.01, "cpu": True} | options
    history = training.fit(net, images, images, **options)
    result = training.evaluate(net, images, batch_size=10, cpu=True)
    return {
        "state": net.state_dict(),
        "plain": all(type(p) in (nn.Parameter, Tensor) for p in net.parameters()),
        "class": type(net).__name__,
        "losses": [(r.train_loss, r.val_loss, r.train_accuracy) for r in history.epochs],
        "result": result.to_dict(),
    }


def trainings(name: str, sharded: bool) -> dict[str, dict[str, Any]]:
    found = {"lenet5": trained(lenet(), sharded=sharded, max_grad_norm=0.5)}
    if CASES == "few":
        return found
    found["frozen"] = trained(frozen(), sharded=sharded, epochs=1)
    if CASES == "quick" and sharded:
        return found
    found |= resumed(name, sharded)
    if CASES == "quick":
        return found
    found["accumulated"] = trained(
        lenet(), sharded=sharded, gradient_accumulation=2, optimizer="sgd"
    )
    found["foreign"] = trained(foreign(), sharded=sharded)
    found["auxiliary heads"] = trained(
        googlenet(), sharded=sharded, epochs=1, batch_size=24, optimizer="sgd"
    )
    found["bf16"] = trained(lenet().float(), sharded=sharded, mixed_precision="bf16")
    found["batch norm"] = trained(resnet(), sharded=sharded, epochs=1, batch_size=24)
    net = lenet()
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 0)
    net.reset_parameters()  # otherwise on each rank
    found["unseeded"] = trained(net, sharded=sharded, epochs=1)
    return found


def resumed(name: str, sharded: bool) -> dict[str, dict[str, Any]]:
    """A training in one go, and the same stopped after two of its epochs and gone on with."""
    found = {}
    found["whole"] = trained(
        lenet(), sharded=sharded, epochs=3, checkpoint=FOLDER / f"{name}-whole"
    )

    def stop(record: training.EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    half = FOLDER / f"{name}-half"
    with contextlib.suppress(training.TrainingInterrupted):
        trained(lenet(), sharded=sharded, epochs=3, checkpoint=half, on_epoch=stop)
    found["resumed"] = trained(lenet(), sharded=sharded, epochs=3, checkpoint=half, resume=True)
    return found


def dropped() -> Tensor:
    """What this rank's dropout drops of its first part of a batch."""
    net = nn.Sequential(convzoo.DropBlock2d(0.5, 2), nn.Flatten(), nn.Linear(64, 3))
    masks: list[Tensor] = []
    net[0].register_forward_hook(lambda _m, _i, out: masks.append(out == 0))
    images = TensorDataset(torch.ones(16, 1, 8, 8), torch.zeros(16, dtype=torch.long))
    # The rate of DropBlock rises from 0 over the steps.
    training.fit(net, images, epochs=2, batch_size=8, cpu=True)
    return masks[-1]


def refusal(net: nn.Module, **options: Any) -> str:
    try:
        training.fit(net, data(net), epochs=1, batch_size=8, cpu=True, **options)
    except InputError as error:
        return str(error)
    return ""


def diverged() -> tuple[str, int]:
    """What every rank says when one of them alone met a NaN, and that they can go on."""
    images, targets = data(lenet()).tensors
    ill = images.clone()
    if dist.get_rank() == 1:
        ill.fill_(torch.nan)
    told = ""
    try:
        training.fit(lenet(), TensorDataset(ill, targets), epochs=1, batch_size=8, cpu=True)
    except training.TrainingDivergedError as error:
        told = str(error)
    again = training.fit(lenet(), data(lenet()), epochs=1, batch_size=8, cpu=True)
    return told, len(again.epochs)


def main() -> dict[str, Any]:
    torch.set_num_threads(1)
    found: dict[str, Any] = {"copies": trainings("copies", False)}
    several = dist.is_initialized() and dist.get_world_size() > 1
    if several:
        found["shares"] = trainings("shares", True)
    if several and CASES != "few":
        found["dropped"] = dropped()
        found["diverged"] = diverged()
        split = convzoo.alexnet_two_gpu(("meta", "meta"), num_classes=3, in_channels=1)
        found["refusal of several devices"] = refusal(split)
        found["refusal of batch norm"] = refusal(resnet(), sync_batch_norm=True)
        net = lenet()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        found["refusal of an optimizer"] = refusal(net, sharded=True, optimizer=optimizer)
        alone = FOLDER / f"not-shared-{dist.get_rank()}"  # only the first process ever writes
        trained(lenet(), epochs=1, checkpoint=alone)
        try:
            training.fit(
                net, data(net), epochs=1, batch_size=8, cpu=True, checkpoint=alone, resume=True
            )
        except CheckpointError as error:
            found["refusal of folders"] = str(error)
    few = TensorDataset(data(lenet()).tensors[0][:1], torch.zeros(1, dtype=torch.long))
    found["one image"] = training.evaluate(lenet(), few, cpu=True).samples
    return found


if __name__ == "__main__":
    leave(main())
