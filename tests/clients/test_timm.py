"""timm: its optimizers, transforms and idioms on these networks, and these in its factory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import convzoo

timm = pytest.importorskip("timm")

DISTRIBUTION = "timm"


def test_layer_decay(net: convzoo.ResNet) -> None:
    """create_optimizer_v2 with a learning rate that decays by block"""
    from timm.optim import create_optimizer_v2

    optimizer = create_optimizer_v2(net, "adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.7)

    scales = {group["lr_scale"] for group in optimizer.param_groups}
    assert max(scales) == 1
    assert len(scales) > 3
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(net.parameters())
    )


def test_data_config(net: convzoo.ResNet) -> None:
    """resolve_data_config and create_transform"""
    from timm.data import create_transform, resolve_data_config

    config = resolve_data_config(model=net)
    transform = create_transform(**config)

    assert net.preset is not None
    assert config["input_size"] == (1, 28, 28)
    assert config["mean"] == net.preset.mean
    assert transform is not None


def test_idioms(net: convzoo.ResNet, x: Tensor) -> None:
    """Features without a head, intermediate maps, checkpointed gradients"""
    net.set_grad_checkpointing()
    maps = net.forward_intermediates(x, intermediates_only=True)
    head = net.get_classifier()
    net.reset_classifier(0)
    features = net(x)

    assert len(maps) == len(net.stages)
    assert head.out_features == 10
    assert features.shape == (4, net.num_features)


def test_folders(net: convzoo.ResNet, tmp_path: Path) -> None:
    """Folders of ours where timm has the network"""
    net = convzoo.resnet18(num_classes=3).eval()
    convzoo.save(net, tmp_path / "three")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'three'}", pretrained=True).eval()

    x = torch.randn(2, 3, 64, 64)
    assert torch.allclose(theirs(x), net(x), atol=1e-5)


@pytest.mark.verdict("works with these lines")
def test_registered(net: convzoo.ResNet, x: Tensor, tmp_path: Path) -> None:
    """Folders of ours where timm lacks the network"""
    import convzoo.integrations.timm

    convzoo.integrations.timm.register()
    convzoo.save(net, tmp_path / "clothes")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'clothes'}", pretrained=True).eval()

    assert torch.equal(theirs(x), net(x))


def test_mixup_and_ema(net: convzoo.ResNet, x: Tensor, y: Tensor) -> None:
    """Mixup, its loss and ModelEmaV3 in a loop of your own"""
    from timm.data import Mixup
    from timm.loss import SoftTargetCrossEntropy
    from timm.utils import ModelEmaV3

    mixup = Mixup(mixup_alpha=0.2, cutmix_alpha=1.0, num_classes=net.num_classes)
    ema = ModelEmaV3(net, decay=0.9)
    mixed, targets = mixup(x, y)
    loss = SoftTargetCrossEntropy()(net.train()(mixed), targets)
    loss.backward()
    ema.update(net)

    assert torch.isfinite(loss)
