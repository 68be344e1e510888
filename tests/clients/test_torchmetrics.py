"""torchmetrics: metrics, and FID on features of a network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("torchmetrics")

DISTRIBUTION = "torchmetrics"


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 1, 28, 28)


def test_accuracy(net: convzoo.ResNet, x: Tensor, y: Tensor) -> None:
    """Accuracy of a network's scores"""
    from torchmetrics.classification import MulticlassAccuracy

    accuracy = MulticlassAccuracy(net.num_classes)(net(x), y)

    assert 0 <= accuracy <= 1


def test_frechet_distance(images: Tensor) -> None:
    """FrechetInceptionDistance on a network without a head"""
    from torchmetrics.image.fid import FrechetInceptionDistance

    net = convzoo.cifar_resnet20(weights="fashion_mnist", num_classes=0).eval()
    distance = FrechetInceptionDistance(net)
    distance.update(images, real=True)
    distance.update(images + 0.1, real=False)

    assert distance.compute() > 0
