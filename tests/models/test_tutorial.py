"""The small networks of courses: their printed counts, and every choice by name."""

import copy
import json
import math

import pytest
import torch
from torch import nn

import convzoo
from convzoo import presets
from convzoo.errors import InputError, UnknownNameError
from convzoo.models import (
    TutorialCNN,
    cifar2_cnn,
    cifar_cnn3,
    cifar_cnn5,
    linear_classifier,
    mlp,
    mnist_cnn,
)


def of_layers(net):
    """Parameters of each layer that has some."""
    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    return [sum(p.numel() for p in layer.parameters()) for layer in layers]


@pytest.mark.parametrize(
    ("build", "options", "layers", "params", "multiply_adds"),
    [
        (linear_classifier, {}, [7_850], 7_850, 7_840),
        (linear_classifier, {"in_channels": 3, "image_size": 32}, [30_730], 30_730, 30_720),
        (mlp, {}, [235_500, 30_100, 1_010], 266_610, 266_200),
        (mlp, {"hidden": [512], "image_size": 32, "in_channels": 3, "num_classes": 2},
         [1_573_376, 1_026], 1_574_402, 1_573_888),
        (mnist_cnn, {}, [320, 692_352, 1_290], 693_962, 888_192),
        (cifar2_cnn, {}, [448, 1_160, 16_416, 66], 18_090, 753_728),
        (cifar_cnn3, {"in_channels": 1}, [416, 12_832, 51_264, 2_080, 330], 66_922, 451_968),
        (cifar_cnn3, {}, [1_216, 12_832, 51_264, 2_080, 330], 67_722, 608_768),
        (cifar_cnn5, {},
         [3_136, 73_856, 147_584, 147_584, 147_584, 1_049_088, 131_328, 2_570],
         1_702_730, 51_713_536),
    ],
)  # fmt: skip
def test_parameters_and_multiply_adds(build, options, layers, params, multiply_adds):
    net = build(device="meta", **options)
    assert of_layers(net) == layers
    summary = convzoo.summary(net)
    assert (summary.parameters, summary.multiply_adds) == (params, multiply_adds)


def test_the_books_tensors_of_cifar2():
    numels = [p.numel() for p in cifar2_cnn(device="meta").parameters()]
    assert numels == [432, 16, 1152, 8, 16384, 32, 64, 2]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (mnist_cnn, {"conv1": (32, 26, 1), "pool1": (32, 13, 2)}),
        (
            cifar2_cnn,
            {
                "conv1": (16, 32, 1),
                "pool1": (16, 16, 2),
                "conv2": (8, 16, 2),
                "pool2": (8, 8, 4),
            },
        ),
        (cifar_cnn3, {"conv1": (16, 14, 2), "conv2": (32, 5, 4), "conv3": (64, 1, 8)}),
        (
            cifar_cnn5,
            {
                "conv1": (64, 33, 1),  # an even kernel, padded by half on either side, adds a pixel
                "pool1": (64, 16, 2),
                "conv2": (128, 16, 2),
                "pool2": (128, 8, 4),
                "conv3": (128, 8, 4),
                "conv4": (128, 8, 4),
                "conv5": (128, 8, 4),
                "pool5": (128, 4, 8),
            },
        ),
    ],
)
def test_channels_side_and_stride_of_the_maps(build, expected):
    net = build(device="meta")
    maps = net.intermediates(torch.zeros(1, net.in_channels, *[net.max_size] * 2, device="meta"))
    assert list(maps) == [stage.name for stage in net.stages]
    for stage in net.stages:
        _, channels, side, _ = maps[stage.name].shape
        assert (channels, side, stage.stride) == expected.pop(stage.name)
        assert stage.channels == channels
    assert not expected


def test_every_step_of_mnist_cnn_and_cifar2_cnn():
    f = nn.functional
    with torch.no_grad():
        net, x = mnist_cnn(), torch.randn(3, 1, 28, 28)
        a = f.max_pool2d(f.relu(f.conv2d(x, *net.features.conv1.parameters())), 2)
        a = f.relu(f.linear(a.flatten(1), *net.hidden[1].parameters()))
        torch.testing.assert_close(net(x), f.linear(a, *net.fc.parameters()))

        net, x = cifar2_cnn(), torch.randn(3, 3, 32, 32)
        a = x
        for conv in (net.features.conv1, net.features.conv2):
            a = f.max_pool2d(f.conv2d(a, *conv.parameters(), padding=1).tanh(), 2)
        a = f.linear(a.flatten(1), *net.hidden[1].parameters()).tanh()
        torch.testing.assert_close(net(x), f.linear(a, *net.fc.parameters()))


def test_linear_classifier_is_linear():
    net, x = linear_classifier().double(), torch.randn(4, 1, 28, 28, dtype=torch.float64)
    assert net.forward_features(x) is x
    assert (net.num_features, net.stages[0].channels, net.stages[0].stride) == (1, 1, 1)
    torch.testing.assert_close(net(x), x.flatten(1) @ net.fc.weight.T + net.fc.bias)
    torch.testing.assert_close(net(2 * x) - net(x), net(x) - net(0 * x))


def test_mlp_is_leaky():
    net, x = mlp(hidden=[20, 30]), torch.randn(4, 1, 28, 28)
    first, second = (m for m in net.hidden if isinstance(m, nn.Linear))
    leaky = nn.functional.leaky_relu
    a = leaky(second(leaky(first(x.flatten(1)))))
    assert torch.equal(net.forward_features(x), a[..., None, None])
    torch.testing.assert_close(net(x), net.fc(a))
    assert (a < 0).any()
    assert (net.num_features, net.stages[0].channels, net.stages[0].stride) == (30, 30, 28)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("leaky_relu", lambda x: torch.where(x > 0, x, 0.01 * x)),
        ("elu", lambda x: torch.where(x > 0, x, x.exp() - 1)),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
        ("silu", lambda x: x / (1 + (-x).exp())),
        ("tanh", torch.tanh),
        ("sigmoid", torch.sigmoid),
    ],
)
@pytest.mark.parametrize("inplace", [True, False])
def test_activations_by_name(name, expected, inplace):
    net = TutorialCNN([(4, 3, 1, True)], hidden=[5], image_size=8, activation=name, inplace=inplace)
    flat = mlp(hidden=[5], activation=name, inplace=inplace)
    x, image = torch.randn(2, 3, 8, 8), torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        conv1 = net.intermediates(x)["conv1"]
        torch.testing.assert_close(conv1, expected(net.features.conv1(x)))
        hidden = net.forward_head(net.forward_features(x), pre_logits=True)
        torch.testing.assert_close(
            hidden, expected(net.hidden[1](net.forward_features(x).flatten(1)))
        )
        torch.testing.assert_close(
            flat.forward_features(image).flatten(1), expected(flat.hidden[1](image.flatten(1)))
        )


@pytest.mark.parametrize("padding", ["none", "zeros", "reflect", "replicate"])
def test_paddings_by_name(padding):
    net = TutorialCNN([(4, 5, 1, False)], hidden=[], image_size=8, padding=padding)
    x = torch.randn(2, 3, 8, 8)
    mode = {"zeros": "constant"}.get(padding, padding)
    padded = x if padding == "none" else nn.functional.pad(x, [2] * 4, mode=mode)
    with torch.no_grad():
        expected = nn.functional.conv2d(padded, *net.features.conv1.parameters()).relu()
        torch.testing.assert_close(net.forward_features(x), expected)


def test_padding_changes_the_sizes_and_the_fully_connected_layer():
    padded = mnist_cnn(padding="reflect", device="meta")
    assert padded.hidden[1].in_features == 32 * 14 * 14
    assert cifar2_cnn(padding="none", device="meta").hidden[1].in_features == 8 * 6 * 6
    assert cifar_cnn3(padding="replicate", device="meta").hidden[1].in_features == 64 * 4 * 4


@pytest.mark.parametrize(("pool", "layer"), [("max", nn.MaxPool2d(2)), ("avg", nn.AvgPool2d(2))])
def test_pooling_by_name(pool, layer):
    maps = mnist_cnn(pool=pool).intermediates(torch.randn(1, 1, 28, 28))
    assert torch.equal(maps["pool1"], layer(maps["conv1"]))


@pytest.mark.parametrize(
    ("activation", "gain"),
    [("relu", 2**0.5), ("leaky_relu", (2 / 1.0001) ** 0.5), ("tanh", 5 / 3), ("sigmoid", 1),
     ("gelu", 2**0.5)],
)  # fmt: skip
def test_kaiming_initialisation(activation, gain):
    net = mnist_cnn(init="kaiming", activation=activation)
    linear, flat = net.hidden[1], mlp(hidden=[256], init="kaiming", activation=activation)
    for layer in (linear, flat.hidden[1]):
        std = gain / layer.in_features**0.5
        assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
    assert net.fc.weight.std().item() == pytest.approx(1 / 128**0.5, rel=0.1)
    assert not any(m.bias.any() for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))


def test_default_initialisation_is_torchs():
    net = cifar_cnn5()
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = layer.weight[0].numel() ** -0.5
            assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.05)
            assert layer.bias.any()


@pytest.mark.parametrize(
    ("build", "smallest"), [(mnist_cnn, 28), (cifar2_cnn, 32), (cifar_cnn3, 29), (cifar_cnn5, 31)]
)
def test_smallest_and_largest_image(build, smallest):
    net = build(device="meta")
    assert net.min_size == smallest
    sides = (net.min_size, net.max_size)
    for side in sides:
        x = torch.zeros(1, net.in_channels, side, side, device="meta")
        assert net(x).shape == (1, net.num_classes)


@pytest.mark.parametrize("build", [linear_classifier, mlp, mnist_cnn, cifar_cnn5])
def test_another_image_size_comes_with_its_preset(build):
    net = build(image_size=40, device="meta")
    assert net.max_size == 40
    assert net.preset.input_size == net.preset.resize == 40
    assert net(torch.zeros(1, net.in_channels, 40, 40, device="meta")).shape == (1, 10)
    assert build(device="meta").preset in (presets.MNIST, presets.CIFAR10)


def test_options_can_be_written_as_json():
    options = {"hidden": (64, 32), "activation": "elu", "init": "kaiming", "inplace": False}
    net = mlp(device="meta", **options)
    again = mlp(device="meta", **json.loads(json.dumps(net.options)))
    assert str(again) == str(net)


def test_wrong_options_are_refused():
    with pytest.raises(UnknownNameError, match="unknown activation 'rleu': did you mean 'relu'"):
        mlp(activation="rleu")
    with pytest.raises(UnknownNameError, match=r"unknown padding 'reflekt'.*'reflect'"):
        mnist_cnn(padding="reflekt")
    with pytest.raises(UnknownNameError, match="unknown pool 'mean'"):
        mnist_cnn(pool="mean")
    with pytest.raises(UnknownNameError, match=r"unknown init 'kaming'.*'kaiming'"):
        mnist_cnn(init="kaming")
    with pytest.raises(InputError, match="hidden: expected an integer from 1 to 1048576, got 0"):
        mlp(hidden=[10, 0])
    with pytest.raises(InputError, match="hidden: expected a sequence of integers, got 64"):
        mlp(hidden=64)
    with pytest.raises(InputError, match="nothing is left of 12 x 12 pixels after the 3 conv"):
        cifar_cnn3(image_size=12)
    with pytest.raises(InputError, match="nothing is left"):
        TutorialCNN([(4, 5, 1, False)], hidden=[], image_size=2, padding="reflect")


@pytest.mark.parametrize("build", [cifar_cnn3, cifar_cnn5])
def test_bfloat16_channels_last_and_gradients(build):
    net = build().train()
    x = torch.randn(4, 3, 32, 32)
    nn.functional.cross_entropy(net(x), torch.arange(4)).backward()
    assert [n for n, p in net.named_parameters() if not p.grad.any()] == []
    with torch.no_grad():
        scores = net.eval()(x)
        last = copy.deepcopy(net).to(memory_format=torch.channels_last)
        torch.testing.assert_close(last(x.to(memory_format=torch.channels_last)), scores)
        assert (net.bfloat16()(x.bfloat16()) - scores).abs().max() < 0.1 * scores.abs().max()


CHANGED = [
    (mnist_cnn, {"dropout": 0.3}),
    (cifar_cnn5, {"norm": "batch"}),
    (cifar_cnn5, {"norm": "layer", "dropout": 0.5}),
    (cifar2_cnn, {"norm": "group", "widths": (12, 6)}),
    (cifar_cnn3, {"norm": "group", "widths": [3, 5, 7], "activation": "leaky_relu", "slope": 0.2}),
    (mnist_cnn, {"norm": "instance", "hidden": (), "dropout": 0.1}),
    (mlp, {"dropout": 0.2, "slope": 0.3}),
    (convzoo.cnn, {"convs": [(8, 3, 2), "pool", (4, 1)], "hidden": (), "batch_norm": True}),
]


@pytest.mark.parametrize(("build", "options"), CHANGED)
def test_what_a_lesson_changes_is_kept_and_runs(build, options, tmp_path):
    net = build(num_classes=3, **options)
    x = torch.randn(4, net.in_channels, net.max_size, net.max_size)
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    again = convzoo.load(convzoo.save(net, tmp_path / "net"))
    assert list(again.state_dict()) == list(net.state_dict())
    assert torch.equal(again.eval()(x), net.eval()(x))
    if "widths" in options:
        assert [s.channels for s in net.stages if "conv" in s.name] == list(options["widths"])


def test_weights_keep_their_names_whatever_is_dropped():
    plain, dropped = cifar_cnn5(), cifar_cnn5(dropout=0.5)
    assert list(plain.state_dict()) == list(dropped.state_dict())
    assert [n for n, m in dropped.hidden.named_children() if isinstance(m, nn.Dropout)] == [
        "drop1",
        "drop2",
    ]
    dropped.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(plain.eval()(x), dropped.eval()(x))
    assert not torch.equal(dropped.train()(x), dropped(x))
    assert list(mlp().state_dict()) == list(mlp(dropout=0.5).state_dict())


@pytest.mark.parametrize(
    ("norm", "axes"), [("batch", (0, 2, 3)), ("layer", (1, 2, 3)), ("instance", (2, 3))]
)
def test_over_what_a_map_is_normalised(norm, axes):
    net = convzoo.cnn([(4, 3)], norm=norm)
    x = torch.randn(5, 3, 32, 32)
    before = net.features.conv1(x)
    std, mean = torch.std_mean(before, axes, correction=0, keepdim=True)
    torch.testing.assert_close(
        net.features.norm1(before), (before - mean) / (std.square() + 1e-5).sqrt()
    )
    assert convzoo.cnn([(8, 3), (6, 3)], norm="group").features.norm2.num_groups == 2


def test_a_slope_sets_the_layer_and_its_start():
    net = cifar_cnn3(activation="leaky_relu", slope=0.5, init="kaiming", widths=[512, 8, 8])
    assert net.features.act1(torch.tensor(-2.0)) == -1
    assert net.features.conv1.weight.std().item() == pytest.approx(
        (2 / (1.25 * 75)) ** 0.5, rel=0.03
    )


def test_convolutions_as_a_list_with_pooling_in_it():
    short = TutorialCNN([(8, 3), "pool", (4, 3, 2)], hidden=[5])
    long = TutorialCNN([(8, 3, 1, True), (4, 3, 2, False)], hidden=[5])
    assert str(short) == str(long)
    assert convzoo.cnn().options == {}
    assert convzoo.create_model("cnn", convs=[(8, 3)]).options == {"convs": [(8, 3)]}


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (convzoo.cnn, {"convs": ["pool", (8, 3)]}, "a convolution before each 'pool'"),
        (convzoo.cnn, {"convs": [(8, 3), "pool", "pool"]}, "a convolution before each 'pool'"),
        (convzoo.cnn, {"convs": [(8,)]}, r"convs: expected \(filters, kernel\), .*got \(8,\)"),
        (convzoo.cnn, {"convs": []}, "convs: expected 1 to 1000"),
        (convzoo.cnn, {"convs": [(0, 3)]}, "convs: filters: expected an integer from 1"),
        (convzoo.cnn, {"convs": [(8, 40)]}, "nothing is left of 32 x 32 pixels"),
        (mnist_cnn, {"widths": [3, 4]}, "widths: expected a number for each of 1"),
        (mnist_cnn, {"norm": "bach"}, "did you mean 'batch'"),
        (mnist_cnn, {"norm": "layer", "batch_norm": True}, "batch_norm: norm='layer' says"),
        (mnist_cnn, {"slope": 0.1}, "slope: expected None with activation='relu'"),
        (mlp, {"slope": -1}, "slope: expected a number from 0 to 1"),
        (mlp, {"dropout": 1}, "dropout: expected a probability"),
        (cifar_cnn3, {"norm": "instance"}, "leaves nothing of a map of 1 x 1"),
    ],
)
def test_what_no_lesson_can_ask_for(build, options, message):
    with pytest.raises(InputError, match=message):
        build(device="meta", **options)
