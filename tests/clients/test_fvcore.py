"""fvcore: work counted from a trace."""

from __future__ import annotations

import pytest
from torch import Tensor

import convzoo

pytest.importorskip("fvcore")

DISTRIBUTION = "fvcore"


def test_flops(net: convzoo.ResNet, x: Tensor) -> None:
    """FlopCountAnalysis: the multiply-adds that convzoo.summary counts"""
    from fvcore.nn import FlopCountAnalysis

    work = FlopCountAnalysis(net, x[:1]).by_operator()

    ours = convzoo.summary(net, 28).multiply_adds
    assert work["conv"] + work["linear"] == ours
