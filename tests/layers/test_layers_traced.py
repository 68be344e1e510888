"""The layers that draw, and the heads that drop, under torch.fx and what is built on it."""

import copy

import pytest
import torch
import torch.fx
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from convzoo._heads import DropoutConv2d, DropoutLinear
from convzoo.layers import (
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    DropBlockSchedule,
    DropConnectConv2d,
    DropConnectLinear,
    mc_dropout,
)

IMAGES = torch.ones(2, 3, 8, 8)


def stack(**options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), DropBlock2d(0.3, 3, **options))


def outputs(*nets, x=IMAGES):
    """What each gives under the same seed."""
    seeded = []
    for net in nets:
        torch.manual_seed(1)
        seeded.append(net(x))
    return seeded


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (DropBlock1d(0.3, 3), (2, 3, 9)),
        (DropBlock2d(0.3, 3), (2, 3, 9, 9)),
        (DropBlock2d(0.3, (2, 3), per_channel=False, normalise="sample"), (2, 3, 9, 9)),
        (DropBlock2d(0.3, 3, generator=torch.Generator()), (2, 3, 9, 9)),
        (DropBlock3d(0.3, 3, calibrated=True), (2, 3, 5, 5, 5)),
        (DropConnectLinear(9, 4), (2, 9)),
        (DropConnectConv2d(3, 4, 3, per="batch"), (2, 3, 9, 9)),
        (DropoutLinear(9, 4, 0.5), (2, 9)),
        (DropoutConv2d(3, 4, 0.5), (2, 3, 9, 9)),
    ],
    ids=repr,
)
def test_every_layer_in_both_modes(layer, shape, training):
    net = nn.Sequential(layer, nn.Flatten()).train(training)
    traced = torch.fx.symbolic_trace(net)
    traced.graph.lint()
    x = torch.ones(shape)
    generator = getattr(layer, "generator", None)
    if generator is None:
        assert torch.equal(*outputs(net, traced, x=x))
    else:
        twice = [generator.manual_seed(1) and f(x) for f in (net, traced)]
        assert torch.equal(*twice)
    assert torch.equal(traced(x), traced(x)) != training


def test_a_traced_drop_block_follows_its_mode_and_its_schedule():
    net = stack()
    traced = torch.fx.symbolic_trace(net)
    assert torch.equal(*outputs(net, traced))
    assert torch.equal(traced.eval()(IMAGES), net[0](IMAGES))
    schedule = DropBlockSchedule(traced.train(), total_steps=1)
    assert torch.equal(traced(IMAGES), net[0](IMAGES))
    schedule.step()
    assert (traced(IMAGES) == 0).any()
    apart = copy.deepcopy(traced)
    apart.eval()
    assert traced.get_submodule("1").training
    with torch.no_grad():
        assert torch.equal(*outputs(traced, net))
    pooled = nn.Sequential(traced, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert (mc_dropout(pooled, IMAGES).mutual_information > 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_drop_block_alone(training):
    layer = DropBlock2d(0.3, 3).train(training)
    traced = torch.fx.symbolic_trace(layer)
    x = torch.ones(2, 3, 9, 9)
    assert torch.equal(*outputs(layer, traced, x=x))
    assert (traced(x) == 0).any() == training


def test_feature_extractor():
    net = stack()
    names = get_graph_node_names(net)
    assert names[0] == names[1]
    extractor = create_feature_extractor(net, {"0": "conv", names[0][-1]: "dropped"})
    extractor.train()
    maps = extractor(IMAGES)
    assert (maps["dropped"] == 0).any()
    extractor.eval()
    maps = extractor(IMAGES)
    assert torch.equal(maps["dropped"], maps["conv"])


@pytest.mark.filterwarnings("ignore")  # the quantiser's own deprecations are not ours
def test_quantiser():
    quantize_fx = pytest.importorskip("torch.ao.quantization.quantize_fx")
    mapping = torch.ao.quantization.get_default_qconfig_mapping("x86")
    net = stack().eval()
    prepared = quantize_fx.prepare_fx(net, mapping, (IMAGES,))
    torch.testing.assert_close(prepared(IMAGES), net(IMAGES))
    quantised = quantize_fx.convert_fx(prepared)
    torch.testing.assert_close(quantised(IMAGES), net(IMAGES), rtol=0.05, atol=0.05)
