"""The deconvnet against the paper's own operations, and the patches it explains."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import convzoo
from convzoo import datasets, visualize
from convzoo.errors import InputError


def test_it_is_unpooling_by_switches_and_transposed_filters() -> None:
    net = convzoo.lenet5(activation="relu", pool="max")
    x = torch.randn(1, 1, 28, 28)
    with torch.no_grad():
        up1 = F.relu(net.conv1(x))
        pooled, switches = F.max_pool2d(up1, 2, return_indices=True)
        up2 = F.relu(net.conv2(pooled))  # (1, 16, 10, 10)
        signal = torch.zeros_like(up2)
        signal[0, 3, 4, 5] = up2[0, 3, 4, 5]
        down = F.conv_transpose2d(F.relu(signal), net.conv2.weight)
        down = F.relu(F.max_unpool2d(down, switches, 2))
        expected = F.conv_transpose2d(down, net.conv1.weight, padding=2)
    ours = visualize.deconvnet(net, x, "conv2", 3, (4, 5))
    torch.testing.assert_close(ours, expected)


def test_it_passes_by_the_normalisation() -> None:
    # One unit of conv2 through pooling and normalisation: what comes down is the transposed
    # filter's, spread by the switches, whatever the normalisation divided by.
    net = convzoo.zfnet(num_classes=2)
    x = torch.randn(1, 3, 64, 64)
    found = visualize.deconvnet(net, x, "conv2", 0, (1, 1))
    with torch.no_grad():
        up = net.relu1(net.conv1(x))
        pooled, switches = F.max_pool2d(up, 3, 2, ceil_mode=True, return_indices=True)
        value = net.relu2(net.conv2(net.norm1(pooled)))[0, 0, 1, 1]
        signal = torch.zeros(1, 256, 5, 5)
        signal[0, 0, 1, 1] = value
        down = F.conv_transpose2d(signal, net.conv2.weight, stride=2)
        down = F.pad(down, (0, pooled.shape[3] - down.shape[3], 0, pooled.shape[2] - down.shape[2]))
        # Windows overlap: what two of them took from one place comes back to it twice.
        flat = torch.zeros(1, 96, up.shape[2] * up.shape[3])
        flat.scatter_add_(2, switches.flatten(2), down.flatten(2))
        expected = F.conv_transpose2d(
            flat.view_as(up).relu(), net.conv1.weight, stride=2, padding=1, output_padding=1
        )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-8)


def test_the_strongest_patches_are_found() -> None:
    net = convzoo.lenet5(activation="relu", pool="max").eval()
    data = datasets.digits().test.subset(range(30))
    found = visualize.top_patches(net, data, "conv2", [2, 9], count=5, batch_size=7)
    x = torch.stack([net.preset.eval()(image) for image, _ in data])
    with torch.no_grad():
        maps = net.intermediates(x)["conv2"]
    for unit, patches in found.items():
        values, order = maps[:, unit].flatten(1).amax(1).sort(descending=True, stable=True)
        assert [p.index for p in patches] == order[:5].tolist()
        torch.testing.assert_close(torch.tensor([p.activation for p in patches]), values[:5])
        for patch in patches:
            outside = patch.reconstruction.clone()
            top, left, bottom, right = patch.box
            outside[:, top:bottom, left:right] = 0
            assert not outside.any()  # nothing excites it that it does not see
    figure = visualize.draw_patches(found, net)
    assert len(figure.axes) == 20
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == [
        *("unit 2", "excites it", "unit 9", "excites it")
    ]


@pytest.mark.parametrize("wrong", [{"unit": 16}, {"place": (10, 0)}, {"stage": "fc1"}])
def test_what_is_not_there_is_refused(wrong: dict[str, object]) -> None:
    call: dict[str, object] = {"stage": "conv2", "unit": 0, **wrong}
    with pytest.raises(InputError):
        visualize.deconvnet(convzoo.lenet5(), torch.zeros(1, 1, 28, 28), **call)


def test_no_images_are_refused() -> None:
    empty: list[Tensor] = []
    with pytest.raises(InputError, match="at least one image"):
        visualize.top_patches(convzoo.lenet5(), empty, "conv2", [0])
