"""VGG: the numbers of the paper, torchvision's and timm's networks, and dense evaluation."""

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

import convzoo
from convzoo.errors import InputError
from convzoo.layers import LocalResponseNorm
from convzoo.models import VGG, AlexNet, to_fully_convolutional


def tiny(**options):
    """Two blocks and narrow layers, for what does not depend on the size."""
    settings = {"widths": (4, 8), "hidden": 16, "num_classes": 10, **options}
    return VGG([(3, 1), (3, 3)], **settings)


@pytest.mark.parametrize(
    ("name", "params", "in_convolutions", "multiply_adds"),
    [
        ("vgg11", 132_863_336, 9_220_480, 7_609_090_048),
        ("vgg11_lrn", 132_863_336, 9_220_480, 7_609_090_048),
        ("vgg13", 133_047_848, 9_404_992, 11_308_466_176),
        ("vgg16_1x1", 133_638_952, 9_996_096, 11_770_888_192),
        ("vgg16", 138_357_544, 14_714_688, 15_470_264_320),
        ("vgg19", 143_667_240, 20_024_384, 19_632_062_464),
        ("vgg11_bn", 132_868_840, None, 7_609_090_048),
        ("vgg13_bn", 133_053_736, None, 11_308_466_176),
        ("vgg16_bn", 138_365_992, None, 15_470_264_320),
        ("vgg19_bn", 143_678_248, None, 19_632_062_464),
    ],
)
def test_parameters_and_multiply_adds(name, params, in_convolutions, multiply_adds):
    net = convzoo.create_model(name, device="meta")
    summary = convzoo.summary(net, (224, 224))
    assert (summary.parameters, summary.multiply_adds) == (params, multiply_adds)
    if in_convolutions is not None:
        assert sum(p.numel() for p in net.features.parameters()) == in_convolutions
    assert sum(p.numel() for p in net.classifier.parameters()) == 123_642_856
    weighty = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert f"vgg{len(weighty)}" == name.partition("_")[0]
    assert [(s.channels, s.stride) for s in net.stages] == [
        (64, 2), (128, 4), (256, 8), (512, 16), (512, 32)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "timms"),
    [
        ("vgg11", True),
        *(
            pytest.param(name, False, marks=pytest.mark.long)
            for name in ("vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg19_bn")
        ),
        pytest.param("vgg16_bn", True, marks=pytest.mark.long),
    ],
)
def test_logits_and_stages_are_torchvisions_and_timms(name, timms, share_weights, relative_error):
    with torch.device("meta"):
        ours = convzoo.create_model(name)
        theirs = getattr(torchvision.models, name)()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    share_weights(ours, theirs)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(ours(x), theirs(x)) < 1e-4
        maps = ours.intermediates(x)
        for stage in ours.stages:
            cut = theirs.features[: int(stage.module.split(".")[1]) + 1]
            assert relative_error(maps[stage.name], cut(x)) < 1e-4
        if timms:
            with torch.device("meta"):
                third = timm.create_model(name)
            third.load_state_dict(as_timm(ours.state_dict()), assign=True)
            x = torch.randn(1, 3, 224, 224)  # timm slides its head over maps larger than 7 x 7
            assert relative_error(ours(x), third.eval()(x)) < 1e-4


def as_timm(state):
    """Our state dict in timm's names: its fully connected layers are convolutions."""
    names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2"}
    renamed = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        if kind == "weight" and layer in names:
            side = 7 if layer == "classifier.0" else 1
            value = value.view(4096, -1, side, side)
        renamed[f"{names.get(layer, layer.replace('classifier.6', 'head.fc'))}.{kind}"] = value
    return renamed


@pytest.mark.parametrize(
    "name",
    [*(pytest.param(name, marks=pytest.mark.long) for name in ("vgg11", "vgg16_1x1")), "vgg11_lrn"],
)
def test_every_step(name, share_weights, relative_error):
    """Against the table of the paper, written out; a step left out would be noticed."""
    table = {
        "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
        "vgg11_lrn": "64 L M 128 M 256 256 M 512 512 M 512 512 M",
        "vgg16_1x1": "64 64 M 128 128 M 256 256 256* M 512 512 512* M 512 512 512* M",
    }[name]
    with torch.device("meta"):
        ours, same = convzoo.create_model(name), convzoo.create_model(name)
    share_weights(ours, same)
    state = ours.state_dict()
    weights = iter([v for k, v in state.items() if k.startswith("features.")])
    f = nn.functional
    x = 20 * torch.randn(1, 3, 32, 32)

    with torch.no_grad():
        a = x
        for entry in table.split():
            if entry == "M":
                a = f.max_pool2d(a, 2)
            elif entry == "L":
                a = f.local_response_norm(a, 5, 5e-4, 0.75, 2.0)
            else:
                weight, bias = next(weights), next(weights)
                side = 1 if entry.endswith("*") else 3
                assert weight.shape[0] == int(entry.rstrip("*"))
                assert weight.shape[2:] == (side, side)
                a = f.conv2d(a, weight, bias, padding=side // 2).relu()
        assert next(weights, None) is None
        a = f.adaptive_avg_pool2d(a, 7).flatten(1)
        for i in (0, 3, 6):
            a = f.linear(a, state[f"classifier.{i}.weight"], state[f"classifier.{i}.bias"])
            a = a.relu() if i < 6 else a
        assert relative_error(ours(x), a) < 1e-5
        droppable = (nn.ReLU, LocalResponseNorm)
        for path in [p for p, m in ours.named_modules() if isinstance(m, droppable)]:
            layer = ours.get_submodule(path)
            ours.set_submodule(path, nn.Identity())
            assert relative_error(ours(x), a) > 1e-3, path
            ours.set_submodule(path, layer)


def test_dropout_follows_the_first_two_fully_connected_layers():
    kinds = [type(m).__name__ for m in tiny(dropout=0.25).classifier]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [m.p for m in tiny(dropout=0.25).classifier if isinstance(m, nn.Dropout)] == [0.25] * 2
    assert [m.p for m in tiny().classifier if isinstance(m, nn.Dropout)] == [0.5] * 2
    with pytest.raises(InputError, match=r"dropout: expected a probability in \[0, 1\), got 1"):
        tiny(dropout=1)


def test_initialisation():
    net = VGG([(3,), (3,)], widths=(64, 128), hidden=512, grid=3)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels * 9
            assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        elif isinstance(layer, nn.Linear):
            he = (2 / layer.in_features) ** 0.5
            assert layer.weight.std().item() == pytest.approx(he, rel=0.02)
    full = VGG([(3,)], widths=(8,), grid=2)
    assert full.classifier[3].weight.std().item() == pytest.approx(0.01, rel=0.02)
    paper = VGG([(3,), (3,)], widths=(64, 128), hidden=512, grid=3, paper_init=True)
    for layer in paper.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            assert layer.weight.var().item() == pytest.approx(1e-2, rel=0.1)
    for layer in [*net.modules(), *paper.modules()]:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            assert not layer.bias.any()


def test_paper_init_is_an_option_of_every_builder():
    net = convzoo.create_model("vgg11_bn", paper_init=True, device="meta")
    assert net.paper_init
    assert net.options == {"paper_init": True}


def randomise(net):
    for parameter in net.parameters():
        nn.init.uniform_(parameter, -0.2, 0.2)
    return net


@pytest.mark.parametrize("batch_norm", [False, True])
def test_dense_evaluation_at_the_trained_size_is_the_plain_network(batch_norm, relative_error):
    net = randomise(tiny(batch_norm=batch_norm)).eval()
    dense = to_fully_convolutional(net)
    assert dense.min_size == 28
    x = torch.randn(3, 3, 28, 28)
    with torch.no_grad():
        assert relative_error(dense(x), net(x)) < 1e-5
        features = dense.forward_features(x)
        before = dense.forward_head(features, pre_logits=True)
        expected = net.forward_head(net.forward_features(x), pre_logits=True)
        torch.testing.assert_close(before, expected)
    assert dense.num_classes == 10


def test_dense_evaluation_is_the_plain_network_on_every_patch():
    net = randomise(tiny()).eval()
    dense = to_fully_convolutional(net)
    x = torch.randn(2, 3, 36, 41)  # a map of 9 x 10: 3 x 4 patches of 7 x 7
    with torch.no_grad():
        scores = dense.score_map(x)
        assert scores.shape == (2, 10, 3, 4)
        f = net.forward_features(x)
        for row in range(3):
            for column in range(4):
                patch = f[:, :, row : row + 7, column : column + 7]
                torch.testing.assert_close(scores[..., row, column], net.forward_head(patch))
        torch.testing.assert_close(dense(x), scores.mean((2, 3)))
        before = dense.forward_head(dense.forward_features(x), pre_logits=True)
        assert before.shape == (2, 16)
        torch.testing.assert_close(
            dense.classifier[-1](before[..., None, None])[..., 0, 0], dense(x)
        )


def test_the_dense_network_has_a_life_of_its_own():
    net = randomise(tiny(dropout=0.3)).eval()
    first = net.features[0].weight
    first.requires_grad_(False)
    net.classifier[0].weight.requires_grad_(False)
    dense = to_fully_convolutional(net)
    assert not dense.training
    assert not dense.features[0].weight.requires_grad
    assert not dense.classifier[0].weight.requires_grad
    assert dense.classifier[6].weight.requires_grad
    before = net.classifier[6].weight.clone()
    with torch.no_grad():
        dense.classifier[6].weight.zero_()
        dense.features[0].weight.zero_()
    assert torch.equal(net.classifier[6].weight, before)
    assert first.any()
    dense.reset_head(3)
    assert dense.num_classes == 3
    assert dense(torch.zeros(1, 3, 28, 28)).shape == (1, 3)
    with pytest.raises(InputError, match="at least 28 x 28 pixels, got 27 x 28"):
        dense(torch.zeros(1, 3, 27, 28))
    assert copy.deepcopy(dense).double()(torch.zeros(1, 3, 30, 30).double()).shape == (1, 3)
    dense.reset_parameters()
    assert dense.features[0].weight.any()
    assert not dense.classifier[3].bias.any()


def test_a_head_with_dropout_keeps_it():
    net = tiny()
    net.reset_head(4, dropout=0.2)
    dense = to_fully_convolutional(net)
    assert (dense.classifier[2].p, dense.classifier[5].p, dense.classifier[6].p) == (0.5, 0.5, 0.2)
    assert dense.state_dict().keys() == net.state_dict().keys()
    x = torch.randn(1, 3, 28, 28)
    torch.testing.assert_close(dense.eval()(x), net.eval()(x))
    assert dense.num_classes == 4
    net.classifier[6] = nn.Linear(16, 5, bias=False)
    torch.testing.assert_close(to_fully_convolutional(net)(x), net(x))


def test_only_a_vgg_becomes_fully_convolutional():
    with torch.device("meta"):
        net = AlexNet()
    with pytest.raises(InputError, match="net: expected a VGG, got AlexNet"):
        to_fully_convolutional(net)
    headless = tiny()
    headless.classifier[6] = nn.Identity()
    with pytest.raises(InputError, match="expected linear layers in its head, got Identity"):
        to_fully_convolutional(headless)


def test_widths_must_match_blocks():
    with pytest.raises(InputError, match=r"widths: expected one number a block, 1, got \(4, 8\)"):
        VGG([(3,)], widths=(4, 8))
