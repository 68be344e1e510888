"""Monte Carlo dropout over every kind of dropout-like layer."""

import math

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from convzoo.errors import InputError
from convzoo.layers import (
    DropBlock2d,
    DropConnectLinear,
    apply_drop_connect,
    mc_dropout,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Switch(nn.Module):
    """Logits that dropout turns from one class to the other: certain, but different each time."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        kept = self.layer(torch.ones_like(x[:, :1])) > 0
        return torch.where(kept, torch.tensor([50.0, 0.0]), torch.tensor([0.0, 50.0]))


def test_uncertainty_of_the_two_extreme_cases():
    # Every sample certain, samples disagree: all of the entropy is mutual information.
    result = mc_dropout(Switch(nn.Dropout(0.5)), torch.zeros(3, 1), samples=400)
    assert result.entropy.tolist() == pytest.approx([math.log(2)] * 3, abs=0.02)
    torch.testing.assert_close(result.mutual_information, result.entropy)
    # Every sample the same even odds: as much entropy, no mutual information.
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))
    nn.init.zeros_(net[1].weight)
    nn.init.zeros_(net[1].bias)
    result = mc_dropout(net, torch.randn(3, 4), samples=5)
    assert result.entropy.tolist() == pytest.approx([math.log(2)] * 3)
    assert result.mutual_information.tolist() == pytest.approx([0.0] * 3, abs=1e-6)
    torch.testing.assert_close(result.probabilities, torch.full((3, 2), 0.5))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Dropout(0.5),
        nn.Dropout2d(0.5),
        DropBlock2d(0.5, 2),
        StochasticDepth(0.5, "row"),
        DropConnectLinear(4, 4, p=0.5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_only_dropout_is_active_and_modes_return(layer):
    net = nn.Sequential(
        nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), layer, nn.Flatten(), nn.Linear(48, 2)
    )
    net.train()
    net[0].eval()
    mean_before = net[1].running_mean.clone()
    result = mc_dropout(net, torch.randn(5, 1, 4, 4), samples=20)
    assert (result.mutual_information > 1e-6).any()
    assert torch.equal(net[1].running_mean, mean_before)
    assert [m.training for m in net] == [False, True, True, True, True]
    assert not result.probabilities.requires_grad
    torch.testing.assert_close(result.probabilities.sum(1), torch.ones(5))


@pytest.mark.parametrize("path", ["torchvision.ops.StochasticDepth", "timm.layers.DropPath"])
def test_layers_of_other_libraries_count(path):
    library, name = path.rsplit(".", 1)
    kind = getattr(pytest.importorskip(library), name)
    layer = kind(0.5, "row") if name == "StochasticDepth" else kind(0.5)
    net = nn.Sequential(layer, nn.Linear(3, 2))
    assert (mc_dropout(net, torch.randn(4, 3), 20).mutual_information > 1e-6).any()


def test_applied_drop_connect_counts_too():
    net = apply_drop_connect(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)))
    assert (mc_dropout(net, torch.randn(4, 3), 20).mutual_information > 1e-6).any()


def test_modes_return_after_an_error():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="shapes"):
        mc_dropout(net, torch.randn(4, 5))
    assert all(m.training for m in net.modules())


def test_bad_arguments():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    with pytest.raises(InputError, match="samples"):
        mc_dropout(net, torch.randn(4, 3), 0)
    with pytest.raises(InputError, match="found none"):
        mc_dropout(nn.Linear(3, 2), torch.randn(4, 3))
    with pytest.raises(InputError, match=r"\(B, num_classes\), got \(4, 2, 3\)"):
        mc_dropout(nn.Dropout(0.5), torch.randn(4, 2, 3))
