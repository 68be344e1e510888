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


def test_tracker(net: convzoo.ResNet, x: Tensor, y: Tensor, tmp_path: Path) -> None:
    """fit(trackers=("tensorboard",))"""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.data import TensorDataset

    data = TensorDataset(x, y)
    history = convzoo.fit(
        net, data, data, epochs=2, trackers=("tensorboard",), logging_dir=tmp_path, cpu=True
    )

    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train_loss")
    assert [event.step for event in found] == [1, 2]
    losses = [record.train_loss for record in history.epochs]
    assert [event.value for event in found] == pytest.approx(losses)
