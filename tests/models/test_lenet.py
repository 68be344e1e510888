"""LeNet-5: the numbers of the paper, layer by layer."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

import convzoo
from convzoo import presets
from convzoo.errors import InputError, UnknownNameError
from convzoo.models import (
    C3_TABLE,
    LeNet5,
    LeNet1998,
    LeNetMAPLoss,
    LeNetMSELoss,
    RBFOutput,
    ScaledTanh,
    SparseConv2d,
    Subsampling,
    connections,
    digit_codes,
    layer_connections,
    lenet5,
    lenet5_1998,
)


def trainable(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_the_paper_has_60_000_parameters_and_340_908_connections():
    net = lenet5_1998()
    layers = ["c1", "s2", "c3", "s4", "c5", "f6", "output"]
    counts = [trainable(net.get_submodule(name)) for name in layers]
    assert counts == [156, 12, 1_516, 32, 48_120, 10_164, 0]
    assert trainable(net) == 60_000
    assert layer_connections(net) == {
        "c1": 122_304,
        "s2": 5_880,
        "c3": 151_600,
        "s4": 2_000,
        "c5": 48_120,
        "f6": 10_164,
        "output": 840,
    }
    assert connections(net) == 340_908


def test_connections_are_counted_not_known():
    net = lenet5_1998(num_classes=4, in_channels=3)
    expected = 340_908 + 28 * 28 * 6 * 2 * 25 - 6 * 84
    assert connections(net) == expected
    net.c3 = SparseConv2d([range(6)] * 16, 5)  # every map sees every map
    assert connections(net) == expected + 36 * 25 * 100
    assert next(net.parameters()).device.type == "cpu"
    # The network of today: no links in pooling, a linear layer at the end.
    assert connections(lenet5()) == 122_304 + 2_416 * 100 + 48_120 + 10_164 + 850


def test_todays_network():
    summary = convzoo.summary(lenet5(device="meta"))
    assert (summary.parameters, summary.multiply_adds) == (61_706, 416_520)
    assert trainable(lenet5(in_channels=3, input_size=32, activation="relu", pool="max")) == 62_006
    net = lenet5()
    counts = [trainable(m) for m in net.children() if trainable(m)]
    assert counts == [156, 2_416, 48_120, 10_164, 850]
    assert [(f.kind, f.receptive_field) for f in summary.layers[2:6:3]] == [
        ("AvgPool2d", 6),
        ("AvgPool2d", 16),
    ]


def test_the_sparse_table():
    assert [len(sources) for sources in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    assert len(set(C3_TABLE)) == 16
    for source in range(6):
        assert sum(source in sources for sources in C3_TABLE) == 10
    # The first twelve wrap around: three and then four neighbours.
    for start in range(6):
        for width, row in ((3, start), (4, 6 + start)):
            assert set(C3_TABLE[row]) == {(start + i) % 6 for i in range(width)}
    # The other three of four: two pairs of neighbours, a map apart.
    assert C3_TABLE[12:15] == ((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5))


def test_sparse_convolution_sees_the_maps_of_its_table():
    layer = SparseConv2d(C3_TABLE, 5).double()
    x = torch.randn(2, 6, 8, 8, dtype=torch.float64)
    out = layer(x)
    assert out.shape == (2, 16, 4, 4)
    used = 0
    for row, sources in enumerate(C3_TABLE):
        kernels = layer.weight[used : used + len(sources)][None]
        used += len(sources)
        expected = nn.functional.conv2d(x[:, list(sources)], kernels, layer.bias[row : row + 1])
        torch.testing.assert_close(out[:, row : row + 1], expected)
    assert used == 60
    out.sum().backward()
    assert layer.weight.grad.abs().amin() > 0


def test_squashing_function():
    squash = ScaledTanh().double()
    one = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    assert squash(one).item() == pytest.approx(0.99999726, abs=1e-8)
    (slope,) = torch.autograd.grad(squash(one), one)
    assert slope.item() == pytest.approx(0.755412, abs=1e-6)
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(squash(zero), zero)
    assert slope.item() == pytest.approx(1.143933, abs=1e-6)
    assert squash(torch.tensor(1e9)).item() == pytest.approx(1.7159)


def test_subsampling_sums_four_and_scales():
    layer = Subsampling(2)
    with torch.no_grad():
        layer.coefficient.copy_(torch.tensor([0.5, -2.0]))
        layer.bias.copy_(torch.tensor([0.25, 1.0]))
    x = torch.arange(16.0).view(1, 1, 4, 4).repeat(1, 2, 1, 1)
    sums = torch.tensor([[10.0, 18.0], [42.0, 50.0]])
    expected = torch.stack([0.5 * sums + 0.25, -2 * sums + 1])[None]
    torch.testing.assert_close(layer(x), expected)


def test_every_step_of_the_paper():
    net = lenet5_1998().double().eval()
    for parameter in net.parameters():
        nn.init.uniform_(parameter, -0.3, 0.3)
    x = torch.randn(2, 1, 32, 32, dtype=torch.float64)
    f = nn.functional

    def squash(a):
        return 1.7159 * torch.tanh(2 / 3 * a)

    def subsample(a, layer):
        total = a[..., ::2, ::2] + a[..., 1::2, ::2] + a[..., ::2, 1::2] + a[..., 1::2, 1::2]
        scaled = total * layer.coefficient.view(-1, 1, 1) + layer.bias.view(-1, 1, 1)
        return squash(scaled)

    with torch.no_grad():
        c1 = squash(f.conv2d(x, net.c1.weight, net.c1.bias))
        s2 = subsample(c1, net.s2)
        c3 = squash(net.c3(s2))
        s4 = subsample(c3, net.s4)
        c5 = squash(f.conv2d(s4, net.c5.weight, net.c5.bias))
        f6 = squash(f.linear(c5.flatten(1), net.f6.weight, net.f6.bias))
        y = torch.stack([(f6 - code).square().sum(1) for code in digit_codes().double()], 1)
        maps = net.intermediates(x)
        for name, expected in {"c1": c1, "s2": s2, "c3": c3, "s4": s4, "c5": c5}.items():
            torch.testing.assert_close(maps[name], expected)
        assert [tuple(m.shape[1:]) for m in maps.values()] == [
            (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1)
        ]  # fmt: skip
        scores = net(x)
        torch.testing.assert_close(scores, -y)
        torch.testing.assert_close(net.forward_head(maps["c5"], pre_logits=True), f6)
        # The class whose code is nearest has the largest score.
        assert torch.equal(scores.argmax(1), y.argmin(1))
        for number in range(1, 7):
            squashed = net.get_submodule(f"squash{number}")
            net.set_submodule(f"squash{number}", nn.Identity())
            assert (net(x) - scores).abs().max() > 1e-3
            net.set_submodule(f"squash{number}", squashed)


def test_codes_are_fixed_bitmaps():
    net = lenet5_1998()
    codes = net.output.weight
    assert codes.shape == (10, 7 * 12)
    assert codes.unique().tolist() == [-1, 1]
    assert "output.weight" in net.state_dict()
    assert all(not name.startswith("output") for name, _ in net.named_parameters())
    apart = (codes[:, None] != codes).sum(2) + 84 * torch.eye(10, dtype=torch.int64)
    assert apart.min() >= 10  # pixels in which two digits differ
    one = codes[1].view(12, 7)
    assert (one[2:11, 3] == 1).all()  # a one is a vertical bar in the middle
    assert (one[:11, 4:] == -1).all()
    zero = codes[0].view(12, 7)
    assert torch.equal(zero, zero.flip(0))
    assert torch.equal(zero, zero.flip(1))


@pytest.mark.parametrize("classes", [1, 4, 10, 26, 300])
def test_codes_for_any_number_of_classes(classes):
    codes = digit_codes(classes)
    assert codes.shape == (classes, 84)
    assert len(codes.unique(dim=0)) == classes
    assert set(codes.unique().tolist()) == {-1, 1}
    assert torch.equal(codes, digit_codes(classes))
    assert torch.equal(codes[:10], digit_codes()[:classes])


def test_the_codes_layer_is_its_own_answer():
    layer = RBFOutput(10)
    scores = layer(digit_codes())
    assert torch.equal(scores.diagonal(), torch.zeros(10))
    assert torch.equal(scores.argmax(1), torch.arange(10))
    # Flipping a pixel moves a unit by two.
    assert scores[8, 3].item() == -4 * (digit_codes()[8] != digit_codes()[3]).sum().item()


def test_initialisation_is_by_fan_in_of_each_map():
    torch.manual_seed(0)
    nets = [lenet5_1998() for _ in range(20)]

    def largest(get):
        return max(get(net).abs().max().item() for net in nets)

    def near(bound):
        return pytest.approx(bound, rel=0.05)

    for name, bound in {"c1": 0.096, "c5": 0.006, "f6": 0.02}.items():
        for kind in ("weight", "bias"):
            found = largest(lambda net, n=name, k=kind: getattr(net.get_submodule(n), k))
            assert found == near(bound)
            assert found <= bound
    for start, end, bound in [(0, 18, 0.032), (18, 54, 0.024), (54, 60, 0.016)]:
        found = largest(lambda net, s=start, e=end: net.c3.weight[s:e])
        assert found == near(bound)
        assert found <= bound + 1e-8
    for kind in ("coefficient", "bias"):
        assert largest(lambda net, k=kind: getattr(net.s4, k)) == near(0.6)
    assert largest(lambda net: net.c1.weight.mean()) < 0.02
    three = lenet5_1998(in_channels=3)
    assert three.c1.weight.abs().max().item() == near(2.4 / 75)


def test_losses_are_the_papers_formulas():
    y = torch.rand(5, 10, dtype=torch.float64) * 6
    target = torch.tensor([3, 0, 9, 9, 1])
    right = [y[row, column].item() for row, column in enumerate(target)]
    assert LeNetMSELoss()(-y, target).item() == pytest.approx(sum(right) / 5)
    j = 2.5
    terms = [
        right[row] + math.log(math.exp(-j) + sum(math.exp(-v) for v in y[row].tolist()))
        for row in range(5)
    ]
    assert LeNetMAPLoss(j=j)(-y, target).item() == pytest.approx(sum(terms) / 5)
    # Without the class of rubbish it is cross-entropy.
    far = LeNetMAPLoss(j=1e4)(-y, target)
    torch.testing.assert_close(far, nn.functional.cross_entropy(-y, target))
    distant = torch.full((1, 10), -500.0)
    assert LeNetMAPLoss()(distant, torch.tensor([0])).item() == pytest.approx(499.9)


def test_losses_refuse_what_they_cannot_use():
    with pytest.raises(InputError, match="j: expected a number above 0, got 0"):
        LeNetMAPLoss(j=0)
    for loss in (LeNetMSELoss(), LeNetMAPLoss()):
        with pytest.raises(InputError, match=r"expected shapes \(B, C\) and \(B,\), got \(2, 3\)"):
            loss(torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("loss", [LeNetMSELoss(), LeNetMAPLoss(j=5.0)])
def test_a_step_down_the_gradient_lowers_the_loss(loss):
    net = lenet5_1998()
    x, target = torch.randn(8, 1, 32, 32), torch.arange(8)
    before = loss(net(x), target)
    before.backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    with torch.no_grad():
        for parameter in net.parameters():
            parameter -= 1e-4 * parameter.grad
    assert loss(net(x), target) < before


def test_codes_can_be_trained_and_are_after_a_new_head():
    net = lenet5_1998(trainable_codes=True)
    assert trainable(net) == 60_840
    assert net.options == {"trainable_codes": True}
    assert net.state_dict().keys() == lenet5_1998().state_dict().keys()
    net = lenet5_1998()
    net.double().reset_head(3, dropout=0.5)
    assert isinstance(net.output.weight, nn.Parameter)
    assert net.output.weight.dtype == torch.float64
    assert (net.num_classes, trainable(net)) == (3, 60_000 + 3 * 84)
    x = torch.randn(1, 1, 32, 32, dtype=torch.float64)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))
    with pytest.raises(
        InputError, match="num_classes: expected an integer from 0 to 1048576, got -1"
    ):
        net.reset_head(-1)
    with pytest.raises(InputError, match=r"dropout: expected a probability in \[0, 1\), got 1.5"):
        net.reset_head(2, dropout=1.5)


def test_presets_make_what_the_networks_take():
    digit = torch.zeros(1, 28, 28, dtype=torch.uint8)
    digit[0, 14, 14] = 255
    field = lenet5_1998(device="meta").preset.eval()(digit)
    assert field.shape == (1, 32, 32)
    assert field.min().item() == pytest.approx(-0.1, abs=1e-5)
    assert field[0, 16, 16].item() == pytest.approx(1.175, abs=1e-5)
    assert field[0, 0, 0].item() == pytest.approx(-0.1, abs=1e-5)
    assert lenet5(device="meta").preset == presets.MNIST
    large = lenet5(device="meta", input_size=32)
    assert large.preset.eval()(digit).shape == (1, 32, 32)
    assert large.min_size == large.max_size == 32


@pytest.mark.parametrize(
    ("activation", "kind"), [("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("relu", nn.ReLU)]
)
@pytest.mark.parametrize(("pool", "pooling"), [("avg", nn.AvgPool2d), ("max", nn.MaxPool2d)])
@pytest.mark.parametrize("side", [28, 32])
def test_choices_of_todays_network(activation, kind, pool, pooling, side):
    net = LeNet5(activation=activation, pool=pool, input_size=side, num_classes=3).eval()
    x = torch.randn(2, 1, side, side)
    padded = nn.functional.pad(x, [(32 - side) // 2] * 4)
    act, subsample = kind(), pooling(2)
    with torch.no_grad():
        conv2d = nn.functional.conv2d
        a = subsample(act(conv2d(padded, net.conv1.weight, net.conv1.bias)))
        a = subsample(act(conv2d(a, net.conv2.weight, net.conv2.bias))).flatten(1)
        a = act(net.fc2(act(net.fc1(a))))
        torch.testing.assert_close(net(x), net.fc3(a))
    assert [(s.name, s.channels, s.stride) for s in net.stages] == [
        ("conv1", 6, 1), ("pool1", 6, 2), ("conv2", 16, 2), ("pool2", 16, 4)
    ]  # fmt: skip


def test_knobs_of_todays_network(tmp_path):
    net = lenet5(
        activation="leaky_relu", slope=0.2, dropout=0.5, norm="group", num_classes=3, inplace=False
    )
    kinds = {name: type(module).__name__ for name, module in net.named_children()}
    assert [*kinds][:4] == ["conv1", "norm1", "act1", "pool1"]
    assert {name: kind for name, kind in kinds.items() if name[:4] in ("norm", "drop")} == {
        "norm1": "GroupNorm", "norm2": "GroupNorm", "drop3": "Dropout", "drop4": "Dropout"
    }  # fmt: skip
    assert net.act3.negative_slope == 0.2
    x = torch.randn(2, 1, 28, 28)
    again = convzoo.load(convzoo.save(net, tmp_path / "net"))
    torch.testing.assert_close(again.eval()(x), net.eval()(x))
    assert not torch.equal(net.train()(x), net(x))
    weight = net.norm1.weight
    torch.nn.init.zeros_(weight)
    net.reset_parameters()
    assert weight.eq(1).all()
    assert isinstance(lenet5(batch_norm=True).norm2, nn.BatchNorm2d)
    # As it is, it has the layers and the names that it always had.
    plain = lenet5()
    assert [*dict(plain.named_children())] == [
        "conv1", "act1", "pool1", "conv2", "act2", "pool2", "fc1", "act3", "fc2", "act4", "fc3"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slope": 0.1}, "slope: expected None with activation='tanh'"),
        ({"activation": "leaky_relu", "slope": 2}, "slope: expected a number from 0 to 1"),
        ({"dropout": 1.0}, r"dropout: expected a probability in \[0, 1\)"),
        ({"norm": "bacth"}, "unknown norm 'bacth': did you mean 'batch'"),
        ({"norm": "layer", "batch_norm": True}, "batch_norm: norm='layer' says otherwise"),
        ({"batch_norm": 1}, "batch_norm: expected True or False"),
    ],
)
def test_knobs_that_do_not_turn(options, message):
    with pytest.raises(InputError, match=message):
        lenet5(**options)


def test_unknown_choices_are_refused():
    with pytest.raises(UnknownNameError, match="unknown activation 'tahn': did you mean 'tanh'"):
        lenet5(activation="tahn")
    with pytest.raises(UnknownNameError, match="unknown pool 'mean'"):
        lenet5(pool="mean")
    with pytest.raises(InputError, match="input_size: expected 28 or 32 pixels, got 30"):
        lenet5(input_size=30)


def test_1998_copies_compiles_and_exports():
    net = lenet5_1998(num_classes=7).eval()
    x = torch.randn(2, 1, 32, 32)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    again = pickle.loads(pickle.dumps(net))
    other = LeNet1998(num_classes=7)
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        scores = net(x)
        assert torch.equal(again(x), scores)
        assert torch.equal(copy.deepcopy(net)(x), scores)
        assert torch.equal(other(x), scores)
        torch.testing.assert_close(program.module()(x[:1]), scores[:1])
        torch.testing.assert_close(compiled(x), scores)
        last = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last, scores)
        half = net.bfloat16()(x.bfloat16())
        assert half.dtype == torch.bfloat16
        assert (half - scores).abs().max() < 0.05 * scores.abs().max()
