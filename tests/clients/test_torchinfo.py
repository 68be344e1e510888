"""torchinfo: tables of layers."""

from __future__ import annotations

import pytest

import convzoo

pytest.importorskip("torchinfo")

DISTRIBUTION = "torchinfo"


def test_summary(net: convzoo.ResNet) -> None:
    """summary: the parameters that convzoo.summary counts"""
    import torchinfo

    table = torchinfo.summary(net, (1, 1, 28, 28), verbose=0)

    assert table.total_params == convzoo.summary(net, 28).parameters
