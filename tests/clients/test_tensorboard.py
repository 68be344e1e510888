"""TensorBoard: graphs and histograms."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

import convzoo

pytest.importorskip("tensorboard")

DISTRIBUTION = "tensorboard"


def test_graph(net: convzoo.ResNet, x: Tensor, tmp_path: Path) -> None:
    """SummaryWriter.add_graph"""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(net, x)
        writer.add_histogram("conv1", net.conv1.weight)

    assert [path.stat().st_size > 10_000 for path in tmp_path.glob("events.*")] == [True]
