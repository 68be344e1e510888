"""A network that learns a toy problem in a few steps, and the problem."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset


class Tiny(nn.Module):
    """A network that learns the toy data below in a few steps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))


def toy(count: int = 48, seed: int = 0) -> TensorDataset:
    """Three classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randn(count, 1, 6, 6, generator=generator)
    return TensorDataset(noise * 0.3 + labels.view(-1, 1, 1, 1).float() - 1, labels)


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


def add_noise(image: Tensor) -> Tensor:
    return image + random.random() + torch.rand(())
