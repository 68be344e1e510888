"""DropBlock's rate rises over a run of `fit`, and goes on rising after a resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import convzoo
from convzoo.layers import DropBlock2d
from convzoo.training import EpochRecord


def run(folder: Path, stop_after: int | None = None, *, resume: bool = False) -> list[float]:
    torch.manual_seed(0)
    net = convzoo.cifar_resnet20(in_channels=1, num_classes=2, drop_block=0.2)
    layer = next(module for module in net.modules() if isinstance(module, DropBlock2d))
    images = torch.randn(32, 1, 8, 8)
    data = torch.utils.data.TensorDataset(images, (images.mean(dim=(1, 2, 3)) > 0).long())
    seen: list[float] = []

    def watch(record: EpochRecord) -> None:
        seen.append(layer.progress)
        if record.epoch == stop_after:
            raise KeyboardInterrupt

    options = {"epochs": 4, "batch_size": 16, "checkpoint": folder, "resume": resume, "cpu": True}
    if stop_after is None:
        convzoo.fit(net, data, data, on_epoch=watch, **options)
    else:
        with pytest.raises(KeyboardInterrupt):
            convzoo.fit(net, data, data, on_epoch=watch, **options)
    return seen


def test_the_rate_rises_linearly_and_survives_a_resume(tmp_path: Path) -> None:
    assert run(tmp_path / "whole") == [0.25, 0.5, 0.75, 1.0]
    assert run(tmp_path / "cut", stop_after=2) == [0.25, 0.5]
    assert run(tmp_path / "cut", resume=True) == [0.75, 1.0]
