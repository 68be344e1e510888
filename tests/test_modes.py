"""Modes kept and restored, module by module."""

import pytest
from torch import nn

from convzoo._modes import evaluation, kept_modes


class Stubborn(nn.ReLU):
    """Does not let `train` put it back."""

    def train(self, mode=True):
        raise AssertionError(mode)


def stirred(manager, net):
    with manager(net):
        assert net.training == (manager is kept_modes)
        net[0].training = net[1].training = True
        raise ZeroDivisionError


@pytest.mark.parametrize("manager", [kept_modes, evaluation])
def test_modes_come_back_even_after_an_error(manager):
    net = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(1), Stubborn())
    net[1].training = False
    with pytest.raises(ZeroDivisionError):
        stirred(manager, net)
    assert [m.training for m in net.modules()] == [True, True, False, True]
