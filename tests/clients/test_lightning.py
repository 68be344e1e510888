"""Lightning: a LightningModule around a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import convzoo

lightning = pytest.importorskip("lightning")

DISTRIBUTION = "lightning"


def test_trainer(net: convzoo.ResNet, x: Tensor, y: Tensor, tmp_path: Path) -> None:
    """Trainer.fit with a frozen backbone, which stays still"""
    import lightning as L
    from torch.nn.functional import cross_entropy

    class Task(L.LightningModule):
        def __init__(self, net: convzoo.Classifier) -> None:
            super().__init__()
            self.net = convzoo.replace_head(net, 4, freeze="backbone")

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            images, targets = batch
            return cross_entropy(self.net(images), targets)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(convzoo.param_groups(self.net, 0.1))

    task = Task(net)
    trainer = L.Trainer(max_epochs=1, logger=False, accelerator="cpu", default_root_dir=tmp_path)
    before = net.bn1.running_mean.clone()
    trainer.fit(task, DataLoader(TensorDataset(x, y), batch_size=2))
    assert torch.equal(net.bn1.running_mean, before)
    assert trainer.global_step == 2


def test_finetuning_callback(net: convzoo.ResNet) -> None:
    """BaseFinetuning.make_trainable releases what was frozen"""
    from lightning.pytorch.callbacks import BaseFinetuning

    net = convzoo.replace_head(net, 4, freeze="backbone")
    BaseFinetuning.make_trainable(net)
    net.train()

    assert all(p.requires_grad for p in net.parameters())
    held = [name for name, m in net.named_modules() if not m.training]
    report = convzoo.report(net)
    assert not held or "held" in str(report)
