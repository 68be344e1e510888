"""Convolutions, filters, maps, fields and gradients: numbers first, then what the pictures show."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import convzoo
from contract_nets import build_meta
from convzoo import visualize
from convzoo.errors import ConvzooError, InputError, UnknownNameError


@pytest.mark.parametrize("shape", [(9, 11), (3, 9, 11), (2, 3, 9, 11)])
def test_convolve_is_conv2d_channel_by_channel(shape: tuple[int, ...]) -> None:
    image, kernel = torch.rand(shape), torch.randn(3, 2)
    ours = visualize.convolve(image, kernel, stride=2, padding=1, dilation=2)
    theirs = F.conv2d(image.reshape(-1, 1, 9, 11), kernel[None, None], None, 2, 1, 2)
    torch.testing.assert_close(ours, theirs.reshape(ours.shape))
    assert ours.shape[:-2] == shape[:-2]


def test_kernels_do_what_their_names_say() -> None:
    step = torch.zeros(5, 6)
    step[:, 3:] = 1
    assert float(visualize.convolve(step, "sobel_x").max()) == 4
    assert not visualize.convolve(step, "sobel_y").any()
    assert float(visualize.convolve(step.T, "sobel_y").max()) == 4
    even = torch.full((5, 5), 0.5)
    for name in ("box_blur", "gaussian_blur", "sharpen", "emboss", "identity"):
        torch.testing.assert_close(visualize.convolve(even, name), torch.full((3, 3), 0.5))
    assert not visualize.convolve(even, "laplacian").any()
    dot = torch.zeros(5, 5)
    dot[2, 2] = 1
    moved = {"left": (2, 1), "right": (2, 3), "up": (1, 2), "down": (3, 2)}
    for where, place in moved.items():
        found = visualize.convolve(dot, f"shift_{where}", padding=1)
        assert [tuple(p) for p in found.nonzero().tolist()] == [place]
    image = Image.new("RGB", (6, 5), (255, 0, 0))
    assert visualize.convolve(image, "identity").tolist()[0] == [[1.0] * 4] * 3


@pytest.mark.parametrize("letter", ["A", "8", "b"])
def test_a_letter_finds_itself(letter: str) -> None:
    found = visualize.convolve(visualize.text(f"X{letter}5H"), letter)[0]
    row, column = divmod(int(found.argmax()), found.shape[1])
    assert (row, column) == (2, 8)
    assert float(found.max()) == pytest.approx(1)


def test_glyphs_are_all_different() -> None:
    characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    assert len({tuple(visualize.kernel(c).flatten().tolist()) for c in characters}) == 36
    with pytest.raises(InputError, match="words"):
        visualize.text("é")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((torch.zeros(3, 3), "sobel"), "sobel_x"),
        ((torch.zeros(2, 2), "sobel_x"), "at most"),
        ((torch.zeros(5), "sobel_x"), "image"),
        (("a.jpg", "sobel_x"), "image"),
        ((torch.zeros(3, 3), [[1], [1, 2]]), "kernel"),
        ((torch.zeros(3, 3), torch.zeros(3)), "kernel"),
    ],
)
def test_convolve_refuses(arguments: tuple[object, object], match: str) -> None:
    with pytest.raises(ConvzooError, match=match):
        visualize.convolve(*arguments)


def test_steps_show_the_numbers() -> None:
    matrix = [[1, 2, 0, 1], [0, 1, 3, 1], [2, 1, 0, 0], [1, 0, 2, 1]]
    found = visualize.convolution_steps(matrix, "sobel_x")
    assert found.output.tolist() == [[3, -2], [0, -1]]
    figure = visualize.draw_steps(found, 1)
    given, kernel, output = figure.axes
    assert [t.get_text() for t in given.texts] == [str(n) for row in matrix for n in row]
    assert [t.get_text() for t in kernel.texts] == ["-1", "0", "1", "-2", "0", "2", "-1", "0", "1"]
    assert [t.get_text() for t in output.texts] == ["3", "-2"]  # what comes later is not there yet
    assert given.get_xlabel() == "2·(-1) + 1·1 + 1·(-2) + 1·2 + 1·(-1) + 0·1 = -2"
    assert "floor((4 + 2·0 - 1·(3 - 1) - 1) / 1) + 1 = 2" in figure.get_suptitle()
    assert len(visualize.draw_steps(found).axes) == 12


def test_dilated_and_padded_steps_mark_the_right_cells() -> None:
    found = visualize.convolution_steps(torch.ones(5, 5), torch.ones(2, 2), padding=1, dilation=3)
    assert found.window == (4, 4)
    assert found.output.shape == (4, 4)
    axes = visualize.draw_steps(found, 0).axes[0]
    marked = [p.get_xy() for p in axes.patches if not p.get_fill()]
    assert sorted(marked) == [(0, 0), (0, 3), (3, 0), (3, 3)]


def test_pooling_steps() -> None:
    matrix = torch.arange(16.0).reshape(4, 4)
    assert visualize.pooling_steps(matrix).output.tolist() == [[5, 7], [13, 15]]
    average = visualize.pooling_steps(matrix, 3, stride=1, mode="average")
    assert average.output.tolist() == [[5, 6], [9, 10]]
    assert visualize.draw_steps(average, 0).axes[0].get_xlabel().startswith("average of 0, 1, 2")
    for wrong in ({"window": 5}, {"mode": "least"}, {"stride": 0}):
        with pytest.raises(InputError):
            visualize.pooling_steps(matrix, **wrong)
    with pytest.raises(InputError, match="step"):
        visualize.draw_steps(visualize.pooling_steps(torch.zeros(10, 10)))
    with pytest.raises(InputError, match="at most 16"):
        visualize.draw_steps(visualize.pooling_steps(torch.zeros(20, 20)), 0)


def test_filters_are_pictures() -> None:
    net = convzoo.lenet5()
    found = visualize.filters(net)
    assert found.shape == (6, 1, 5, 5)
    weight = net.conv1.weight.detach()
    assert (found.flatten(1).argmax(1) == weight.flatten(1).argmax(1)).all()
    torch.testing.assert_close((found - 0.5).abs().amax((1, 2, 3)), torch.full((6,), 0.5))
    assert visualize.filters(net, "conv2").shape == (16 * 6, 1, 5, 5)
    nn.init.zeros_(net.conv1.weight)
    assert (visualize.filters(net, "conv1") == 0.5).all()
    assert visualize.filters(convzoo.resnet18(), "layer2").shape == (128 * 64, 1, 3, 3)
    with pytest.raises(InputError, match="no convolution"):
        visualize.filters(net, net.fc1)


def test_feature_maps_are_intermediates_not_overwritten() -> None:
    net = convzoo.cifar_resnet20(weights="fashion_mnist").eval()
    x = torch.randn(2, 1, 28, 28)
    found = visualize.feature_maps(net, x)
    assert list(found) == [stage.name for stage in net.stages]
    with torch.no_grad():
        for name, maps in net.intermediates(x).items():
            torch.testing.assert_close(found[name], maps)
    # What ReLU overwrites in place is kept as it was put out.
    before = visualize.feature_maps(net, x, ["bn1"])["bn1"]
    assert float(before.min()) < 0
    figure = visualize.draw_feature_maps(found, x, net, channels=4)
    assert len(figure.axes) == 4 * (1 + len(net.stages))
    strongest = found["layer3"][0].flatten(1).amax(1).argmax()
    assert figure.axes[16].get_title() == str(int(strongest))
    with pytest.raises(InputError, match="names none"):
        visualize.feature_maps(nn.Sequential(nn.Conv2d(1, 1, 1)), x)


def seen_by_influence(net: convzoo.Classifier, side: int) -> dict[str, Tensor]:
    """Which input columns reach which output columns: NaN goes wherever a pixel goes."""
    # In double precision: faster kernels of single precision spread NaN to neighbours.
    x = torch.zeros(side, net.in_channels, side, side, dtype=torch.double)
    for column in range(side):
        x[column, :, :, column] = float("nan")
    with torch.no_grad():
        found = net.double().intermediates(x)
    # (input column, output column)
    return {name: maps.isnan().flatten(1, 2).any(1) for name, maps in found.items()}


EXACT = [
    ("lenet5", {}, 28),
    ("lenet5_1998", {}, 32),
    ("mnist_cnn", {}, 28),
    ("cifar_resnet20", {"shortcut": "A"}, 36),
    ("googlenet_2014", {"stem": "small"}, 12),
    ("alexnet_2012", {}, 80),
]


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [pytest.param(*c, id=c[0], marks=pytest.mark.long if c[2] > 36 else ()) for c in EXACT],
)
def test_receptive_fields_are_exact(name: str, options: dict[str, object], side: int) -> None:
    net = convzoo.create_model(name, num_classes=2, **options).eval()
    for stage, seen in seen_by_influence(net, side).items():
        field = visualize.receptive_field(net, stage, side)
        assert seen.shape[1] == field.outputs[1]
        for column in range(field.outputs[1]):
            _, left, _, right = field.box(0, column)
            expected = list(range(max(left, 0), min(right, side)))
            got = seen[:, column].nonzero().flatten().tolist()
            assert got == expected, (stage, column)


def test_receptive_fields_by_gradient() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 1, (3, 5), (1, 2), (1, 0)), nn.AvgPool2d(2), nn.Conv2d(1, 1, 3)
    )
    nn.init.ones_(net[0].weight), nn.init.ones_(net[2].weight)
    x = torch.zeros(1, 1, 20, 40, requires_grad=True)
    field = visualize.receptive_field(net, "2", (20, 40))
    net(x)[0, 0, 3, 4].backward()
    rows, columns = (x.grad[0, 0].any(axis).nonzero().flatten() for axis in (1, 0))
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    assert field.box(3, 4) == box


@pytest.mark.parametrize(
    ("name", "stage", "size", "stride"),
    [
        ("alexnet", "conv5", 163, 16),
        ("vgg16", "block5", 212, 32),
        ("resnet50", "layer4", 427, 32),  # its 3x3 strides
        ("resnet50_v1", "layer4", 483, 32),
    ],
)
def test_receptive_fields_known_from_papers(name: str, stage: str, size: int, stride: int) -> None:
    field = visualize.receptive_field(build_meta(name), stage)
    assert (field.size, field.stride) == ((size, size), (stride, stride))


def test_a_receptive_field_is_drawn_on_the_image() -> None:
    net = convzoo.lenet5()
    x = torch.zeros(1, 28, 28) + 2.0
    figure = visualize.draw_receptive_field(net, x, "conv2", (0, 0))
    axes = figure.axes[0]
    square = axes.patches[-1]  # the output's own comes last
    assert (square.get_x(), square.get_y(), square.get_width()) == (-2.5, -2.5, 14)
    shown = axes.images[0].get_array()
    assert shown[11, 11] > shown[12, 12] > 0  # brighter inside
    assert axes.get_xlim()[0] < -2.5
    with pytest.raises(InputError, match="row"):
        visualize.draw_receptive_field(net, x, "conv2", (10, 0))
    with pytest.raises(InputError, match=r"whole image|no map"):
        visualize.receptive_field(net, "fc1")
    with pytest.raises(UnknownNameError):
        visualize.receptive_field(net, "conv9")


def test_activations_and_their_slopes() -> None:
    curves = visualize.activations()
    assert float(curves["relu"].y.min()) == 0
    for name, curve in curves.items():
        rise = (curve.y[2:] - curve.y[:-2]) / (curve.x[2:] - curve.x[:-2])
        smooth = (rise - curve.slope[1:-1]).abs() < 0.02
        assert smooth.float().mean() > 0.98, name  # but at the corners
    figure = visualize.draw_activations(curves)
    assert [axes.get_title() for axes in figure.axes] == list(curves)
    assert all(len(axes.lines) == 4 for axes in figure.axes)
    with pytest.raises(UnknownNameError, match="relu"):
        visualize.activations(["rellu"])


def test_gradient_flow_is_the_gradient_and_touches_nothing() -> None:
    net = convzoo.cifar_resnet20(num_classes=4)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    x, y = torch.randn(4, 3, 16, 16), torch.arange(4)
    flow = visualize.gradient_flow(net.requires_grad_(False), x, y)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    F.cross_entropy(net.requires_grad_(True)(x), y).backward()
    for layer in flow:
        torch.testing.assert_close(
            layer.norm, float(net.get_parameter(layer.name).grad.norm()), rtol=1e-4, atol=1e-7
        )
    figure = visualize.draw_gradient_flow({"a": flow, "b": flow[:3]})
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [len(flow), 3]
