"""NNCF: quantisation for OpenVINO."""

from __future__ import annotations

import pytest
from torch import Tensor

import convzoo

pytest.importorskip("nncf")

DISTRIBUTION = "nncf"


def test_quantize(net: convzoo.ResNet, x: Tensor) -> None:
    """quantize on a handful of images"""
    import nncf

    quantised = nncf.quantize(net, nncf.Dataset([x]), subset_size=1)

    assert (quantised(x) - net(x)).abs().max() < 0.3 * net(x).abs().max()
