"""EMA and L2-SP."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

import convzoo
from convzoo.errors import InputError
from convzoo.training import EMA, L2SP


def test_the_average_by_hand_with_a_decay_that_warms_up() -> None:
    net = nn.Linear(2, 1)
    ema = EMA(net, decay=0.9)
    assert [ema.decay_at(step) for step in (0, 1, 80, 10**6)] == [0.1, 2 / 11, 0.9, 0.9]
    expected = None
    for step in range(200):
        with torch.no_grad():
            net.weight.add_(torch.randn(1, 2))
        ema.update_parameters(net)
        decay = min(0.9, (1 + step) / (10 + step))
        value = net.weight.detach().clone()
        expected = value if expected is None else decay * expected + (1 - decay) * value
    torch.testing.assert_close(ema.module.weight.detach(), expected)
    assert EMA(net, 0.5, warmup=False).decay_at(0) == 0.5


def test_statistics_are_averaged_counters_copied_frozen_weights_exact() -> None:
    net = convzoo.freeze(convzoo.cifar_resnet20(num_classes=2), "up_to:layer1")
    ema = EMA(torch.compile(net, backend="eager"), 0.9)
    optimizer = torch.optim.SGD(convzoo.param_groups(net, 0.1))
    net.train()
    for _ in range(3):
        net(torch.randn(2, 3, 8, 8)).sum().backward()
        optimizer.step()
        ema.update_parameters(net)
    averaged, now = ema.module.state_dict(), net.state_dict()
    assert averaged.keys() == now.keys()
    assert torch.equal(averaged["layer1.0.conv1.weight"], now["layer1.0.conv1.weight"])
    assert torch.equal(averaged["layer3.0.bn1.num_batches_tracked"], torch.tensor(3))
    assert not torch.equal(averaged["layer3.0.bn1.running_mean"], now["layer3.0.bn1.running_mean"])
    assert not any(module.training for module in ema.module.modules())
    net.load_state_dict(averaged)  # into the network, or a file


def test_the_average_goes_on_from_its_state() -> None:
    net = nn.Linear(2, 2)
    ema = EMA(net, 0.5)
    ema.update_parameters(net)
    net.weight.data.add_(1)
    file = io.BytesIO()
    torch.save(ema.state_dict(), file)
    file.seek(0)
    other = EMA(copy.deepcopy(net), 0.5)
    other.load_state_dict(torch.load(file, weights_only=True))
    for one in (ema, other):
        one.update_parameters(net)
    assert torch.equal(ema.module.weight, other.module.weight)
    assert not torch.equal(ema.module.weight, net.weight)


@pytest.mark.parametrize("decay", [1.0, -0.1, 2.0, float("nan"), "0.9", True])
def test_a_decay_out_of_range(decay: object) -> None:
    with pytest.raises(InputError, match="decay: expected"):
        EMA(nn.Linear(1, 1), decay)


def test_l2_sp_by_hand() -> None:
    net = convzoo.cifar_resnet20(num_classes=2)
    convzoo.freeze(net, "up_to:layer1")
    penalty = L2SP(net, alpha=0.2, beta=0.4)
    start = {name: p.detach().clone() for name, p in net.named_parameters()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.01)
    value = penalty()
    value.backward()
    moved = sum(p.numel() for n, p in net.named_parameters() if n[:6] in ("layer2", "layer3"))
    heads = float(sum(p.detach().square().sum() for p in net.fc.parameters()))
    assert value.item() == pytest.approx(0.1 * moved * 1e-4 + 0.2 * heads, rel=1e-4)
    torch.testing.assert_close(net.fc.weight.grad, 0.4 * net.fc.weight.detach())
    weight = net.layer2[0].conv1.weight
    torch.testing.assert_close(
        weight.grad, 0.2 * (weight - start["layer2.0.conv1.weight"]).detach()
    )
    assert net.layer1[0].conv1.weight.grad is None


def test_l2_sp_refuses_and_follows_what_thaws() -> None:
    net = convzoo.cifar_resnet20(num_classes=2)
    with pytest.raises(InputError, match="alpha: expected a finite number of at least 0"):
        L2SP(net, alpha=-1)
    penalty = L2SP(convzoo.freeze(net, "all"))
    assert penalty().item() == 0.0
    convzoo.unfreeze(net)
    assert penalty().requires_grad
