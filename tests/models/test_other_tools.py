"""What other people's tools do to a network: cut it, name its nodes, extract, quantise."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import convzoo
from contract_nets import SHALLOW, parameters

SHARED = [name for name in convzoo.list_models() if hasattr(torchvision.models, name)]
PLAIN = {"googlenet": {"aux_logits": False}, "inception_v3": {"aux_logits": False}}
QUICK = ("resnet18", "resnext50_32x4d", "googlenet", "vgg11_bn")


def pair(name: str, device: str = "meta") -> tuple[convzoo.Classifier, nn.Module]:
    with torch.device(device):
        options = {**PLAIN[name], "init_weights": False} if name in PLAIN else {}
        theirs = getattr(torchvision.models, name)(**options)
        return convzoo.create_model(name).eval(), theirs.eval()


@pytest.mark.parametrize("name", parameters(SHARED, quick=SHALLOW))
def test_children_are_torchvisions(name: str) -> None:
    ours, theirs = pair(name)
    assert [n for n, _ in ours.named_children()] == [n for n, _ in theirs.named_children()]


@pytest.mark.parametrize("name", parameters(SHARED, quick=QUICK))
def test_cut_before_the_head_gives_torchvisions_maps(name: str, share_weights) -> None:
    ours, theirs = pair(name)
    share_weights(ours, theirs)
    side = 80 if name == "inception_v3" else 64
    x = torch.randn(2, 3, side, side)
    cut, their_cut = (nn.Sequential(*list(net.children())[:-2]) for net in (ours, theirs))
    with torch.no_grad():
        found, expected = cut(x), their_cut(x)
    assert found.shape == expected.shape
    assert torch.equal(found, expected)
    if name not in PLAIN:
        assert torch.equal(found, ours.forward_features(x))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"drop_block": 0.1, "drop_path": 0.1}),
        pytest.param(
            *("preact_resnet50", {"stem": "small", "drop_block": 0.1}), marks=pytest.mark.long
        ),
        ("googlenet", {"aux_heads": True, "stem": "small"}),
        pytest.param("googlenet_2014", {"stem": "small"}, marks=pytest.mark.long),
        ("inception_v3", {"aux_heads": True}),
        ("alexnet_2012", {}),
        ("lenet5_1998", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:NOTE. The nodes obtained")  # of auxiliary heads, rightly
def test_torchvisions_extractor_reads_every_stage(name: str, options: dict[str, object]) -> None:
    net = convzoo.create_model(name, device="meta", **options).eval()
    train_nodes, eval_nodes = get_graph_node_names(net)
    assert train_nodes[0] == eval_nodes[0] == "x"
    stages = {stage.module: stage.name for stage in net.stages}
    extractor = create_feature_extractor(net, stages)
    side = net.max_size or max(64, net.min_size)
    x = torch.zeros(1, net.in_channels, side, side, device="meta")
    plain = net.intermediates(x)
    assert {n: f.shape for n, f in extractor(x).items()} == {n: f.shape for n, f in plain.items()}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cifar_resnet20", {"drop_block": 0.1}),
        pytest.param("googlenet", {"stem": "small"}, marks=pytest.mark.long),
        ("lenet5", {"activation": "relu"}),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch's own: its FX quantisation is deprecated
def test_fx_quantisation_keeps_the_answers(name: str, options: dict[str, object]) -> None:
    net = convzoo.create_model(name, num_classes=3, **options).eval()
    side = net.max_size or 32
    x = torch.rand(4, net.in_channels, side, side)
    mapping = get_default_qconfig_mapping("x86")
    prepared = quantize_fx.prepare_fx(net, mapping, (x,))
    prepared(x)
    small = quantize_fx.convert_fx(prepared)
    error = (small(x) - net(x)).abs().max() / net(x).abs().max()
    assert error < 0.3
