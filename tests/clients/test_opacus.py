"""opacus: training with differential privacy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import convzoo

pytest.importorskip("opacus")

DISTRIBUTION = "opacus"


@pytest.mark.verdict("works with these lines")
def test_make_private(x: Tensor, y: Tensor) -> None:
    """PrivacyEngine: gradients per image need `inplace=False` and no batch normalisation"""
    from opacus import PrivacyEngine
    from opacus.validators import ModuleValidator

    net = convzoo.cifar_resnet20(weights="fashion_mnist", inplace=False)
    net = ModuleValidator.fix(net)  # group in place of batch normalisation
    net, optimizer, loader = PrivacyEngine().make_private(
        module=net.train(),
        optimizer=torch.optim.SGD(net.parameters(), lr=0.01),
        data_loader=DataLoader(TensorDataset(x, y), batch_size=2),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
    )

    for images, targets in loader:
        if len(images):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), targets).backward()
            optimizer.step()
    assert all(p.isfinite().all() for p in net.parameters())


def test_norm_layer(x: Tensor, y: Tensor) -> None:
    """A network built with group normalisation needs no fixing"""
    from functools import partial

    from opacus.validators import ModuleValidator

    groups = partial(torch.nn.GroupNorm, 8)
    net = convzoo.cifar_resnet20(norm_layer=groups, inplace=False)

    assert ModuleValidator.validate(net.train()) == []
