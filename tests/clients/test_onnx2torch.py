"""onnx2torch: an exported network as torch's again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import convzoo

pytest.importorskip("onnx2torch")

DISTRIBUTION = "onnx2torch"


def test_round_trip(tmp_path: Path) -> None:
    """convert of what torch's exporter wrote"""
    import onnx2torch

    net = convzoo.lenet5().eval()
    x = torch.randn(2, 1, 28, 28)
    torch.onnx.export(net, (x,), tmp_path / "net.onnx", dynamo=True)
    again = onnx2torch.convert(tmp_path / "net.onnx")

    assert torch.allclose(again(x), net(x), atol=1e-4)
