"""Gradual unfreezing: stage after stage, and what is frozen does not move."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

import convzoo
from convzoo.errors import InputError
from convzoo.training import GradualUnfreezing


def step(net: nn.Module, optimizer: torch.optim.Optimizer, size: int) -> set[str]:
    """Train a step; the names of what has moved, batch statistics among it."""
    before = {k: v.clone() for k, v in net.state_dict().items() if v.is_floating_point()}
    net.train()
    optimizer.zero_grad()
    net(torch.randn(2, 3, size, size)).square().sum().backward()
    optimizer.step()
    return {key for key, value in before.items() if not torch.equal(value, net.state_dict()[key])}


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def foreign(num_classes: int) -> nn.Module:
    block = torchvision.models.resnet.BasicBlock
    return torchvision.models.ResNet(block, [1, 1, 1, 1], num_classes=num_classes)


@pytest.mark.parametrize("make", [convzoo.cifar_resnet20, foreign])
def test_stages_thaw_one_after_the_other_from_the_last(make) -> None:
    net = make(num_classes=3)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=0.1)
    unfreezing = GradualUnfreezing(net, optimizer, every=2)
    stages = [name for name, _ in net.named_children() if name.startswith("layer")]
    assert unfreezing.stages[: len(stages)] == tuple(reversed(stages))
    moving = {"fc"}
    for epoch in range(1, 2 * len(unfreezing.stages) + 2):
        thawed = unfreezing.start_epoch(epoch)
        assert bool(thawed) == (epoch > 1 and epoch % 2 == 1)
        moving |= {{"stem": "conv1"}.get(name, name) for name in thawed}
        assert tops(step(net, optimizer, 32)) - {"bn1"} == moving
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(module.training for module in net.modules())
    assert unfreezing.start_epoch(1000) == ()


def test_going_on_in_the_middle_thaws_all_that_was_due() -> None:
    net = convzoo.cifar_resnet20(num_classes=3)
    unfreezing = GradualUnfreezing(net, torch.optim.SGD(net.parameters(), 0.1))
    assert unfreezing.start_epoch(3) == ("layer3", "layer2")
    assert net.layer2.training
    assert not net.layer1.training


def test_what_was_frozen_before_stays_frozen() -> None:
    net = convzoo.freeze(convzoo.cifar_resnet20(num_classes=3), "up_to:layer1")
    frozen = [name for name, p in net.named_parameters() if not p.requires_grad]
    unfreezing = GradualUnfreezing(net, torch.optim.SGD(convzoo.param_groups(net, 0.1)))
    assert unfreezing.stages == ("layer3", "layer2")
    unfreezing.start_epoch(10)
    net.train()
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == frozen
    assert not net.layer1.training


def test_hidden_layers_of_the_head_thaw_first_and_the_optimizer_leaves_frozen_ones_alone() -> None:
    net = convzoo.vgg11(num_classes=2, widths=(2, 2, 2, 2, 2), hidden=4, grid=1)
    optimizer = torch.optim.AdamW(net.parameters(), 0.1, weight_decay=0.5)
    unfreezing = GradualUnfreezing(net, optimizer)
    assert unfreezing.stages[0] == "rest"
    assert len(unfreezing.stages) == 6
    unfreezing.start_epoch(1)
    assert tops(step(net, optimizer, 32)) == {"classifier"}
    assert unfreezing.start_epoch(2) == ("rest",)
    moved = step(net, optimizer, 32)
    assert tops(moved) == {"classifier"}
    assert {"classifier.0.weight", "classifier.3.weight", "classifier.6.weight"} <= moved


def test_it_refuses_an_optimizer_that_would_never_train_what_thaws() -> None:
    net = convzoo.cifar_resnet20(num_classes=3)
    head = torch.optim.SGD(net.fc.parameters(), 0.1)
    with pytest.raises(InputError, match="it lacks parameters of 'layer3'"):
        GradualUnfreezing(net, head)
    assert all(parameter.requires_grad for parameter in net.parameters())
    with pytest.raises(InputError, match="before it is wrapped"):
        GradualUnfreezing(nn.DataParallel(net), head)
    with pytest.raises(InputError, match="every: expected an integer"):
        GradualUnfreezing(net, torch.optim.SGD(net.parameters(), 0.1), every=0)


def test_a_container_around_several_stages_keeps_them_apart() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv = nn.Conv2d(3, 4, 1)
            self.features = nn.Sequential(conv, nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.features(x).mean((2, 3)))

    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    unfreezing = GradualUnfreezing(net, optimizer)
    assert unfreezing.stages == ("features.2", "features.0")
    unfreezing.start_epoch(2)
    moved = step(net, optimizer, 4)
    assert moved == {"features.2.weight", "features.2.bias", "fc.weight", "fc.bias"}
    unfreezing.start_epoch(3)
    assert "features.1.running_mean" in step(net, optimizer, 4)
