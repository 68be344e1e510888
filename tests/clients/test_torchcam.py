"""torchcam: class activation maps."""

from __future__ import annotations

import pytest
from torch import Tensor

import convzoo

pytest.importorskip("torchcam")

DISTRIBUTION = "torchcam"


def test_finds_the_layer(net: convzoo.ResNet, x: Tensor) -> None:
    """LayerCAM and CAM, which find the layer themselves"""
    from torchcam.methods import CAM, LayerCAM

    with LayerCAM(net, input_shape=(1, 28, 28)) as cam:
        (layer_map,) = cam(1, net(x[:1]))
    with CAM(net, "layer3", "fc") as cam:
        (plain_map,) = cam(1, net(x[:1]))

    assert layer_map.shape == plain_map.shape == (1, 7, 7)
