"""ignite: its trainer, evaluator and metrics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("ignite")

DISTRIBUTION = "pytorch-ignite"


def test_engines(net: convzoo.ResNet, x: Tensor, y: Tensor) -> None:
    """create_supervised_trainer and create_supervised_evaluator"""
    from ignite.engine import create_supervised_evaluator, create_supervised_trainer
    from ignite.metrics import Accuracy
    from torch.nn.functional import cross_entropy

    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    trainer = create_supervised_trainer(net, optimizer, cross_entropy)
    evaluator = create_supervised_evaluator(net, {"accuracy": Accuracy()})
    trainer.run([(x, y)], max_epochs=2)
    state = evaluator.run([(x, y)])

    assert trainer.state.iteration == 2
    assert 0 <= state.metrics["accuracy"] <= 1
