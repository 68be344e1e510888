"""One epoch of the demo beside the same epoch written by hand with torch and torchvision.

Both train the same network on the bundled digits and validate it: same augmentation, batch size,
optimizer and schedule. By hand there is no Accelerate, no metrics library, no checkpoint.

python benchmarks/bench_demo.py [rounds]
"""

from __future__ import annotations

import copy
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import convzoo
from convzoo import datasets, training
from timing import interleave, report

BATCH_SIZE = 32
MEAN, STD = (0.2860,), (0.3530,)


class Transformed(Dataset):
    """Images through a transform, with their labels."""

    def __init__(self, data: datasets.LabelledImages, transform: nn.Module) -> None:
        self.images, self.targets, self.transform = data.images, data.targets, transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), self.targets[index]


def by_hand(net: nn.Module, train: Dataset, val: Dataset) -> float:
    """An epoch as one would write it for oneself; returns the validation accuracy."""
    loader = DataLoader(train, BATCH_SIZE, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, len(loader))
    net.train()
    for images, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), targets)
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    correct = 0
    with torch.no_grad():
        for images, targets in DataLoader(val, 2 * BATCH_SIZE):
            correct += int((net(images).argmax(1) == targets).sum())
    return correct / len(val)


def main(rounds: int) -> None:
    """Time both and print the ratio."""
    data = datasets.digits()
    net = convzoo.cifar_resnet20(weights="fashion_mnist")
    preset = net.preset.replace(augmentation="digit")
    steps = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    resize = v2.Resize(28, antialias=True)
    train = Transformed(data.train, v2.Compose([resize, v2.RandomCrop(28, padding=4), *steps]))
    val = Transformed(data.val, v2.Compose([resize, *steps]))

    def by_fit() -> None:
        training.fit(
            copy.deepcopy(net),
            data.train,
            data.val,
            epochs=1,
            batch_size=BATCH_SIZE,
            train_transform=preset.train(),
        )

    medians = interleave(
        {"by hand": lambda: by_hand(copy.deepcopy(net), train, val), "convzoo.fit": by_fit}, rounds
    )
    report("one epoch of the demo: 1,259 images of 28 x 28, ResNet-20", medians, "by hand")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
