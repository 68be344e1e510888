"""ZFNet by the paper's figure 3 and by its text."""

from __future__ import annotations

import torch

import convzoo
from convzoo.layers import LocalResponseNorm


def test_maps_are_those_of_figure_3() -> None:
    net = convzoo.zfnet(device="meta")
    maps = net.intermediates(torch.zeros(1, 3, 224, 224, device="meta"))
    assert {name: tuple(f.shape[1:]) for name, f in maps.items()} == {
        "conv1": (96, 110, 110),
        "pool1": (96, 55, 55),
        "conv2": (256, 26, 26),
        "pool2": (256, 13, 13),
        "conv3": (384, 13, 13),
        "conv4": (384, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
    }


def test_layers_are_those_of_figure_3() -> None:
    net = convzoo.zfnet(device="meta")
    assert (net.conv1.kernel_size, net.conv1.stride) == ((7, 7), (2, 2))
    assert (net.conv2.kernel_size, net.conv2.stride) == ((5, 5), (2, 2))
    assert sum(p.numel() for p in net.parameters()) == 62_357_608
    # Rectified, pooled, then contrast-normalised.
    names = [name for name, _ in net.named_children()]
    assert names[:4] == ["conv1", "relu1", "pool1", "norm1"]
    assert sum(isinstance(m, LocalResponseNorm) for m in net.children()) == 2


def test_it_starts_as_the_paper_says() -> None:
    net = convzoo.zfnet(num_classes=2)
    for name in ("conv1", "conv5", "fc7"):
        layer = net.get_submodule(name)
        assert abs(float(layer.weight.detach().std()) - 0.01) < 5e-4
        assert not layer.bias.any()
