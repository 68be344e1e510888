"""AlexNet: the numbers of the two papers, and torchvision's network."""

import copy
import pickle

import pytest
import torch
import torchvision
from torch import nn

import convzoo
from convzoo.errors import InputError
from convzoo.models import AlexNet2012, TowerNorm, alexnet, alexnet_2012


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def paper():
    """A real alexnet_2012 with few classes, kept for several tests."""
    torch.manual_seed(0)
    return alexnet_2012(num_classes=10)


@pytest.mark.parametrize(
    ("build", "options", "params", "multiply_adds"),
    [
        (alexnet, {}, 61_100_840, 714_188_480),
        (alexnet_2012, {}, 60_965_224, 724_406_816),
        (alexnet_2012, {"towers": 1}, 62_378_344, 1_135_256_096),
    ],
)
def test_parameters_and_multiply_adds(build, options, params, multiply_adds):
    summary = convzoo.summary(build(device="meta", **options), (224, 224))
    assert (summary.parameters, summary.multiply_adds) == (params, multiply_adds)


def test_parameters_of_each_layer_of_2012():
    net = alexnet_2012(device="meta")
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    counts = [parameters(net.get_submodule(name)) for name in names]
    assert counts == [34944, 307456, 885120, 663936, 442624, 37752832, 16781312, 4097000]
    # The paper says that no convolution has more than 1 % of the parameters; two have.
    shares = [count / sum(counts) for count in counts[:5]]
    assert [share > 0.01 for share in shares] == [False, False, True, True, False]


@pytest.mark.parametrize("side", [224, 227])
def test_both_crops_give_the_papers_maps(side):
    net = alexnet_2012(device="meta")
    maps = net.intermediates(torch.zeros(1, 3, side, side, device="meta"))
    sizes = {name: tuple(f.shape[1:]) for name, f in maps.items()}
    assert sizes == {
        "conv1": (96, 55, 55),
        "pool1": (96, 27, 27),
        "conv2": (256, 27, 27),
        "pool2": (256, 13, 13),
        "conv3": (384, 13, 13),
        "conv4": (384, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
    }
    neurons = [maps[f"conv{number}"].numel() for number in range(1, 6)]
    # The paper prints 253,440 for the first layer, which is no multiple of 55 * 55.
    assert neurons == [290_400, 186_624, 64_896, 64_896, 43_264]


def test_at_227_pixels_the_padding_is_never_seen(paper):
    x = torch.randn(1, 3, 227, 227)
    conv1 = paper.intermediates(x, ["conv1"])["conv1"]
    expected = nn.functional.conv2d(x, paper.conv1.weight, paper.conv1.bias, stride=4).relu()
    torch.testing.assert_close(conv1, expected)


def test_initialisation_of_2012(paper):
    ones = {"conv2", "conv4", "conv5", "fc6", "fc7"}
    for name, layer in paper.named_children():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.03)
            assert layer.weight.mean().abs() < 1e-3
            assert (layer.bias == (1.0 if name in ones else 0.0)).all()


def test_every_step_of_2012(paper, relative_error):
    """Layer by layer as in the paper's figure 2: conv, ReLU, normalise, pool; then 4096-4096."""
    net = copy.deepcopy(paper).eval()
    with torch.no_grad():
        for layer in net.modules():  # as initialised, signals vanish
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.uniform_(layer.bias, -0.5, 0.5)
        x = 20 * torch.randn(2, 3, 227, 227)  # large, so that the normalisation matters
        f = nn.functional

        def norm(a):
            # torch divides alpha by the window, the paper does not: hence 5e-4.
            return torch.cat(
                [f.local_response_norm(half, 5, 5e-4, 0.75, 2.0) for half in a.chunk(2, 1)], 1
            )

        a = f.conv2d(x, net.conv1.weight, net.conv1.bias, stride=4).relu()
        a = f.max_pool2d(norm(a), 3, 2)
        a = f.conv2d(a, net.conv2.weight, net.conv2.bias, padding=2, groups=2).relu()
        a = f.max_pool2d(norm(a), 3, 2)
        a = f.conv2d(a, net.conv3.weight, net.conv3.bias, padding=1).relu()
        a = f.conv2d(a, net.conv4.weight, net.conv4.bias, padding=1, groups=2).relu()
        a = f.conv2d(a, net.conv5.weight, net.conv5.bias, padding=1, groups=2).relu()
        a = f.max_pool2d(a, 3, 2).flatten(1)
        a = f.linear(a, net.fc6.weight, net.fc6.bias).relu()
        a = f.linear(a, net.fc7.weight, net.fc7.bias).relu()
        a = f.linear(a, net.fc8.weight, net.fc8.bias)
        scores = net(x)
        assert relative_error(scores, a) < 1e-5
        # A step left out would be noticed.
        for name in ["relu1", "norm1", "relu2", "norm2", "relu3", "relu4", "relu5"]:
            net.set_submodule(name, nn.Identity())
            assert relative_error(net(x), a) > 1e-3, name
            net.set_submodule(name, paper.get_submodule(name))
        for name in ["relu6", "relu7"]:
            net.set_submodule(name, nn.Identity())
            assert relative_error(net(x), a) > 1e-3, name
            net.set_submodule(name, paper.get_submodule(name))


def test_towers_do_not_see_each_other_before_conv3(paper):
    """What the first tower computes up to pool2 does not depend on the second one's filters."""
    x = torch.randn(1, 3, 64, 64)
    net = copy.deepcopy(paper)
    before = net.intermediates(x)
    with torch.no_grad():
        net.conv1.weight[48:] *= 1000  # the second tower's half
    after = net.intermediates(x)
    assert torch.equal(after["pool1"][:, :48], before["pool1"][:, :48])
    assert torch.equal(after["pool2"][:, :128], before["pool2"][:, :128])
    assert not torch.equal(after["pool2"][:, 128:], before["pool2"][:, 128:])
    assert not torch.equal(after["conv3"][:, :192], before["conv3"][:, :192])


def test_tower_norm_is_the_formula_in_each_tower():
    x = torch.randn(1, 8, 2, 2) * 50
    whole, halves = TowerNorm(1)(x), TowerNorm(2)(x)
    torch.testing.assert_close(halves[:, :4], TowerNorm(1)(x[:, :4]))
    torch.testing.assert_close(halves[:, 4:], TowerNorm(1)(x[:, 4:]))
    assert torch.equal(halves[:, 0], whole[:, 0])  # its window ends inside the tower
    assert not torch.allclose(halves[:, 3], whole[:, 3])


def dropped_between(net, relu, layer):
    """Share of a ReLU's positive outputs that are zero when the layer after it gets them."""
    seen = []
    handles = [
        net.get_submodule(relu).register_forward_hook(lambda m, i, out: seen.append(out.clone())),
        net.get_submodule(layer).register_forward_pre_hook(lambda m, i: seen.append(i[0])),
    ]
    with torch.no_grad():
        net.train().forward_head(torch.rand(4, 256, 6, 6))
    for handle in handles:
        handle.remove()
    active, given = seen
    return (given[active > 0] == 0).float().mean().item()


def test_dropout_sits_after_fc6_and_fc7_in_2012(paper):
    net = copy.deepcopy(paper)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    assert dropped_between(net, "relu6", "fc7") == pytest.approx(0.5, abs=0.03)
    assert dropped_between(net, "relu7", "fc8") == pytest.approx(0.5, abs=0.03)
    net.drop6.p = net.drop7.p = 0.0
    assert dropped_between(net, "relu6", "fc7") == dropped_between(net, "relu7", "fc8") == 0
    assert alexnet_2012(device="meta", dropout=0.2).drop6.p == 0.2


def test_dropout_sits_before_fc6_and_fc7_in_torchvisions():
    net = alexnet(num_classes=10, dropout=0.3)
    assert dropped_between(net, "classifier.2", "classifier.4") == pytest.approx(0.3, abs=0.03)
    assert dropped_between(net, "classifier.5", "classifier.6") == 0
    assert isinstance(net.classifier[0], nn.Dropout)
    assert net.classifier[0].p == 0.3


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
@pytest.mark.parametrize("build", [alexnet, alexnet_2012])
def test_bad_options_are_refused(build, dropout):
    with pytest.raises(InputError, match=r"dropout: expected a probability in \[0, 1\), got"):
        build(device="meta", dropout=dropout)
    with pytest.raises(InputError, match="towers: expected 1 or 2, got 3"):
        AlexNet2012(towers=3)


def test_logits_and_stages_are_torchvisions(share_weights, relative_error):
    with torch.device("meta"):
        ours, theirs = alexnet(), torchvision.models.alexnet()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    share_weights(ours, theirs)
    with torch.no_grad():
        for side in (224, 130, 63):
            x = torch.randn(2, 3, side, side)
            expected = theirs(x)
            assert relative_error(ours(x), expected) < 1e-4
        maps = ours.intermediates(x)
        for stage in ours.stages:
            cut = theirs.features[: int(stage.module.split(".")[1]) + 1]
            assert relative_error(maps[stage.name], cut(x)) < 1e-4
        # A missing activation would be noticed.
        paths = [path for path, m in ours.named_modules() if isinstance(m, nn.ReLU)]
        assert len(paths) == 7
        for path in paths:
            relu = ours.get_submodule(path)
            ours.set_submodule(path, nn.Identity())
            assert relative_error(ours(x), expected) > 1e-3, path
            ours.set_submodule(path, relu)
        assert relative_error(ours(x), expected) < 1e-4


@pytest.mark.long  # the contract compiles and exports it
def test_2012_copies_compiles_and_exports(paper):
    net = copy.deepcopy(paper).eval()
    x = torch.randn(2, 3, 64, 64)
    again = pickle.loads(pickle.dumps(net))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        scores = net(x)
        assert torch.equal(again(x), scores)
        torch.testing.assert_close(program.module()(x[:1]), scores[:1])
        torch.testing.assert_close(compiled(x), scores)
        last = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last, scores)
        assert net.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_every_parameter_of_2012_gets_a_gradient(paper):
    net = copy.deepcopy(paper).train()
    nn.functional.cross_entropy(net(torch.randn(2, 3, 64, 64)), torch.tensor([0, 1])).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_without_normalisation_and_with_plain_pooling():
    full = convzoo.alexnet_2012(device="meta")
    bare = convzoo.alexnet_2012(device="meta", lrn=False, overlapping_pool=False)
    assert list(bare.state_dict()) == list(full.state_dict())
    assert not [name for name, _ in bare.named_children() if name.startswith("norm")]
    x = torch.zeros(1, 3, 224, 224, device="meta")
    shapes = [{name: f.shape for name, f in net.intermediates(x).items()} for net in (full, bare)]
    assert shapes[0] == shapes[1]
    assert bare.min_size == 36
    assert bare(torch.zeros(1, 3, 36, 36, device="meta")).shape == (1, 1000)
    bare.min_size = 35
    with pytest.raises(RuntimeError):
        bare(torch.zeros(1, 3, 35, 35, device="meta"))
