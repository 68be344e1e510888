"""ONNX: torch's exporters and onnxruntime."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import convzoo

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

DISTRIBUTION = "onnxruntime"


def test_dynamo_exporter(net: convzoo.ResNet, x: Tensor, tmp_path: Path) -> None:
    """torch.onnx.export, with any number of images"""
    path = tmp_path / "net.onnx"
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    torch.onnx.export(net, (x,), path, dynamo=True, dynamic_shapes=(batch,))
    session = onnxruntime.InferenceSession(path)
    (scores,) = session.run(None, {"x": x[:3].numpy()})

    assert torch.allclose(torch.from_numpy(scores), net(x[:3]), atol=1e-3)


@pytest.mark.parametrize("name", ["cifar_resnet20", "lenet5", "googlenet"])
def test_legacy_exporter(name: str, tmp_path: Path) -> None:
    """torch.onnx.export with dynamo=False"""
    net = convzoo.create_model(name).eval()
    x = torch.randn(2, net.in_channels, 28, 28)
    path = tmp_path / "net.onnx"
    torch.onnx.export(net, (x,), path, dynamo=False, input_names=["x"])
    session = onnxruntime.InferenceSession(path)
    (scores,) = session.run(None, {"x": x.numpy()})

    assert torch.allclose(torch.from_numpy(scores), net(x), rtol=1e-3, atol=1e-3)


@pytest.mark.verdict("not supported where pooling does not divide the map: take dynamo's")
def test_legacy_exporter_needs_sizes_that_fit(tmp_path: Path) -> None:
    """torch.onnx.export with dynamo=False for AlexNet, VGG and lenet5_1998"""
    net = convzoo.vgg11(num_classes=3, hidden=8).eval()
    x = torch.randn(1, 3, 96, 96)
    torch.onnx.export(net, (x,), tmp_path / "net.onnx", dynamo=True)

    assert (tmp_path / "net.onnx").exists()
    fits = torch.randn(1, 3, 224, 224)
    torch.onnx.export(net, (fits,), tmp_path / "old.onnx", dynamo=False)
    with pytest.raises(torch.onnx.errors.SymbolicValueError):
        torch.onnx.export(net, (x,), tmp_path / "old.onnx", dynamo=False)
    lenet = convzoo.lenet5_1998().eval()
    with pytest.raises(torch.onnx.errors.SymbolicValueError):
        torch.onnx.export(lenet, (x[:, :1, :32, :32],), tmp_path / "old.onnx", dynamo=False)
