"""onnx2torch: an exported network as torch's again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("onnx2torch")

DISTRIBUTION = "onnx2torch"


@pytest.mark.verdict("works with these lines")
def test_round_trip(net: convzoo.ResNet, x: Tensor, tmp_path: Path) -> None:
    """convert of what torch's exporter wrote"""
    import onnx2torch

    path = tmp_path / "net.onnx"
    torch.onnx.export(net, (x,), path, dynamo=False, opset_version=13)  # it knows no later one
    again = onnx2torch.convert(path)

    assert torch.allclose(again(x), net(x), atol=1e-4)
