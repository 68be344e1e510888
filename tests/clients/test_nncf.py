"""NNCF: quantisation for OpenVINO."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("openvino")
pytest.importorskip("nncf")

DISTRIBUTION = "nncf"


def test_quantize(net: convzoo.ResNet, x: Tensor) -> None:
    """quantize on a handful of images"""
    import nncf
    import openvino

    images = nncf.Dataset([x.numpy()])  # in earnest: some hundred
    quantised = nncf.quantize(openvino.convert_model(net, example_input=x), images)
    scores = torch.from_numpy(openvino.compile_model(quantised, "CPU")(x.numpy())[0])

    assert (scores - net(x)).abs().max() < 0.3 * net(x).abs().max()
