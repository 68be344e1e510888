"""pytorch-metric-learning: losses and accuracy of embeddings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("pytorch_metric_learning")

DISTRIBUTION = "pytorch-metric-learning"


def test_triplets(x: Tensor) -> None:
    """A triplet loss on pooled features"""
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import MultiSimilarityMiner

    net = convzoo.cifar_resnet20(weights="fashion_mnist", num_classes=0)
    features = net(x)  # (B, num_features)
    classes = torch.tensor([0, 0, 1, 1])
    pairs = MultiSimilarityMiner()(features, classes)
    loss = TripletMarginLoss()(features, classes, pairs)
    loss.backward()

    assert torch.isfinite(loss)
