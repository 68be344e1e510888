"""OpenVINO: Intel's runtime."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("openvino")

DISTRIBUTION = "openvino"


def test_convert_model(net: convzoo.ResNet, x: Tensor) -> None:
    """convert_model and compile_model"""
    import openvino

    compiled = openvino.compile_model(openvino.convert_model(net, example_input=x), "CPU")
    scores = torch.from_numpy(compiled(x.numpy())[0])

    assert torch.allclose(scores, net(x), rtol=1e-2, atol=1e-2)
