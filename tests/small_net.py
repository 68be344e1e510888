"""A small network, and what a step of training changes in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convzoo.models.resnet import BasicBlock, ResNet


def small(num_classes: int = 4) -> ResNet:
    return ResNet(BasicBlock, [1, 1, 1], widths=(4, 8, 16), stem="small", num_classes=num_classes)


def images(batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, 16, 16)


def state(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def changed(net: nn.Module, before: dict[str, Tensor]) -> set[str]:
    after = net.state_dict()
    assert after.keys() == before.keys()
    return {key for key, value in before.items() if not torch.equal(value, after[key])}


def train_a_step(net: nn.Module) -> None:
    net.train()
    trainable = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=0.1, weight_decay=0.1)
    nn.functional.cross_entropy(net(images()), torch.tensor([0, 1, 2])).backward()
    optimizer.step()
