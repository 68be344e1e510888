"""AlexNet's towers as two ranks: what they compute, and the curve of their training.

With four ranks two replicas of both, each of which sees half of the batch.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from leave import leave
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from convzoo import datasets
from convzoo.models import AlexNet2012, alexnet_2012
from convzoo.models.alexnet_split import (
    AlexNetTensorParallel,
    alexnet_tensor_parallel,
    gather,
    split,
)

STEPS, BATCH = int(sys.argv[2]), 16
if sys.argv[3] == "narrow":  # the fully connected layers hold 96 % of the work and show no more
    sys.modules["convzoo.models.alexnets"]._HIDDEN = 512


def main() -> dict[str, Any]:
    torch.set_num_threads(1)
    world = int(os.environ["WORLD_SIZE"])
    mesh = init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("data", "tower"))
    found: dict[str, Any] = {"rank": dist.get_rank()}

    # A replica's masks are drawn for its own images; only without parts are they those of one.
    dropout = 0.2 if world == 2 else 0.0
    torch.manual_seed(0)
    net = alexnet_tensor_parallel(mesh["tower"], num_classes=10, dropout=dropout)
    torch.manual_seed(0)
    single = alexnet_2012(num_classes=10, dropout=dropout)
    found["numbers"] = sum(p.numel() for p in net.parameters())
    found["numbers of one"] = sum(p.numel() for p in single.parameters())
    found["same start"] = same(gather(net), single.state_dict())
    found["same names"] = set(net.state_dict()) == {
        key for key in split(single) if key.startswith(f"towers.{net.index}.")
    }
    if world == 2:
        found["worst"] = compare_in_double(net, single)

    model: nn.Module = net
    if world > 2:
        model = DistributedDataParallel(net, process_group=mesh["data"].get_group())
    livelier(single)
    net.load_single(single)
    part = mesh["data"].get_local_rank()
    found["curve"] = train(model, part, world // 2)
    merged = gather(net)
    if dist.get_rank() == 0:
        found["one"] = train(single, 0, 1)
        found["state"] = worst(merged, single.state_dict())
    return found


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return set(ours) == set(theirs) and all(torch.equal(ours[k], theirs[k]) for k in theirs)


def worst(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest difference, over the largest value of that tensor."""
    return max(
        float((ours[key] - value).abs().max() / value.abs().max()) for key, value in theirs.items()
    )


def compare_in_double(net: AlexNetTensorParallel, single: AlexNet2012) -> float:
    """Scores and all gradients beside one network's, in float64, with the same dropout masks."""
    net.double()
    single.double()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    results = []
    for one in (net, single):
        torch.manual_seed(2)
        images = x.clone().requires_grad_()
        scores = one(images)
        F.cross_entropy(scores, torch.tensor([3, 7])).backward()
        results.append((scores.detach(), images.grad))
    grads = {key: parameter.grad for key, parameter in single.named_parameters()}
    mine = {key: parameter.grad for key, parameter in net.named_parameters()}
    difference = max(
        worst(mine, {key: value for key, value in split(grads).items() if key in mine}),
        worst({"scores": results[0][0]}, {"scores": results[1][0]}),
    )
    # Of the images' gradient each tower has its summand.
    summed = results[0][1].clone()
    dist.all_reduce(summed)
    difference = max(difference, worst({"images": summed}, {"images": results[1][1]}))
    for one in (net, single):
        one.zero_grad(set_to_none=True)
        one.float()
    return difference


def livelier(single: AlexNet2012) -> None:
    """Weights that learn something in a few steps; the paper's take epochs to get going."""
    torch.manual_seed(3)
    for layer in single.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)


def train(model: nn.Module, part: int, parts: int) -> list[float]:
    """The losses of some steps on two batches of digits; with several parts, the mean of theirs."""
    data = datasets.digits().train
    optimizer = torch.optim.SGD(model.parameters(), 0.002, momentum=0.9)
    model.train()
    losses = []
    for step in range(STEPS):
        pairs = [data[step % 2 * BATCH + i] for i in range(part, BATCH, parts)]
        images = torch.stack([image for image, _ in pairs]).float() / 255
        images = F.interpolate(images.expand(-1, 3, -1, -1), size=(64, 64), mode="bilinear")
        images = 3 * (images - 0.3)
        torch.manual_seed(step)
        loss = F.cross_entropy(model(images), torch.tensor([label for _, label in pairs]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        mean = loss.detach()
        if parts > 1:
            mean /= dist.get_world_size()
            dist.all_reduce(mean)
        losses.append(float(mean))
    return losses


if __name__ == "__main__":
    leave(main())
