"""trackio: a training's figures, kept on this machine."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from torch import Tensor
from torch.utils.data import TensorDataset

import convzoo

pytest.importorskip("trackio")

DISTRIBUTION = "trackio"


def test_tracker(
    net: convzoo.ResNet, x: Tensor, y: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fit(trackers=("trackio",))"""
    # trackio has read its environment variables by the time it is imported.
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path)
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path)
    data = TensorDataset(x, y)
    convzoo.fit(net, data, data, epochs=2, trackers=("trackio",), cpu=True)

    (kept,) = tmp_path.rglob("*.db")
    with sqlite3.connect(kept) as database:
        rows = database.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    steps = [step for step, metrics in rows if "train_loss" in str(metrics)]
    assert steps == [1, 2]
