"""torch-pruning: channels removed for good."""

from __future__ import annotations

import pytest
import torch

import convzoo

pytest.importorskip("torch_pruning")

DISTRIBUTION = "torch-pruning"


def prune(net: convzoo.Classifier, side: int) -> float:
    import torch_pruning as tp

    x = torch.randn(1, net.in_channels, side, side)
    before = sum(p.numel() for p in net.parameters())
    head = net.get_submodule(net.head_path)
    importance = tp.importance.MagnitudeImportance()
    tp.pruner.MagnitudePruner(net, x, importance, pruning_ratio=0.5, ignored_layers=[head]).step()
    assert net(x).shape == (1, 3)
    return sum(p.numel() for p in net.parameters()) / before


@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet18", 64), ("preact_resnet50", 64), ("googlenet", 64), ("lenet5", 28)],
)
def test_half_of_the_channels(name: str, side: int) -> None:
    """MagnitudePruner: half of all channels, a quarter of the parameters is left"""
    import torch_pruning as tp

    net = convzoo.create_model(name, num_classes=3).eval()
    x = torch.randn(1, net.in_channels, side, side)
    before = sum(p.numel() for p in net.parameters())
    head = net.get_submodule(net.head_path)
    importance = tp.importance.MagnitudeImportance()
    tp.pruner.MagnitudePruner(net, x, importance, pruning_ratio=0.5, ignored_layers=[head]).step()

    assert net(x).shape == (1, 3)
    assert sum(p.numel() for p in net.parameters()) / before == pytest.approx(0.25, abs=0.01)


@pytest.mark.verdict("not supported with option A, whose padding it cannot follow: take option B")
def test_option_a() -> None:
    """Pruning the CIFAR ResNets"""
    net = convzoo.cifar_resnet20(num_classes=3, shortcut="B").eval()

    assert prune(net, 32) == pytest.approx(0.25, abs=0.01)
    with pytest.raises(RuntimeError):
        prune(convzoo.cifar_resnet20(num_classes=3).eval(), 32)


@pytest.mark.verdict(
    "not supported, grouped and sparse layers of the papers: take today's networks"
)
def test_paper_networks() -> None:
    """Pruning alexnet_2012 and lenet5_1998"""
    net = convzoo.lenet5(num_classes=3).eval()  # or convzoo.alexnet

    assert prune(net, 28) == pytest.approx(0.25, abs=0.01)
    with pytest.raises((RuntimeError, TypeError)):
        prune(convzoo.lenet5_1998(num_classes=3).eval(), 32)
    with pytest.raises((RuntimeError, TypeError)):
        prune(convzoo.alexnet_2012(num_classes=3).eval(), 224)
