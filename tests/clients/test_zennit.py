"""zennit: layer-wise relevance propagation with rules by layer."""

from __future__ import annotations

import pytest
import torch

import convzoo

pytest.importorskip("zennit")

DISTRIBUTION = "zennit"


def test_relevance() -> None:
    """EpsilonPlusFlat on VGG"""
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlusFlat

    net = convzoo.vgg11(num_classes=3, hidden=64, grid=1).eval()
    x = torch.randn(1, 3, 32, 32)
    with Gradient(net, EpsilonPlusFlat()) as attribute:
        scores, relevance = attribute(x, torch.eye(3)[[1]])

    assert torch.allclose(scores, net(x), atol=1e-5)
    assert relevance.isfinite().all()
