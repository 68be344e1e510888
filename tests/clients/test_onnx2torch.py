"""onnx2torch: an exported network as torch's again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("onnx2torch")

DISTRIBUTION = "onnx2torch"


def test_round_trip(net: convzoo.ResNet, x: Tensor, tmp_path: Path) -> None:
    """convert of what torch's exporter wrote"""
    import onnx2torch

    torch.onnx.export(net, (x,), tmp_path / "net.onnx", dynamo=True)
    again = onnx2torch.convert(tmp_path / "net.onnx")

    assert torch.allclose(again(x), net(x), atol=1e-4)
