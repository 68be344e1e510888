"""Accelerate: a loop of your own on any device."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("accelerate")

DISTRIBUTION = "accelerate"


def test_prepare(net: convzoo.ResNet, x: Tensor, y: Tensor) -> None:
    """Accelerator.prepare and backward"""
    from accelerate import Accelerator
    from torch.nn.functional import cross_entropy

    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    prepared, optimizer = accelerator.prepare(net.train(), optimizer)
    accelerator.backward(cross_entropy(prepared(x), y))
    optimizer.step()

    assert accelerator.unwrap_model(prepared) is net
