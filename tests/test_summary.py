"""The layer table: shapes, work and receptive fields, against numbers derived by hand."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

import convzoo
from convzoo.errors import InputError


def test_resnet18_in_numbers() -> None:
    with torch.device("meta"):
        net = convzoo.resnet18()
    table = convzoo.summary(net)
    assert table.input_shape == (1, 3, 224, 224)
    assert (table.parameters, table.multiply_adds) == (11_689_512, 1_814_073_344)
    by_name = {layer.name: layer for layer in table.layers}
    assert by_name["conv1"].output_shape == (1, 64, 112, 112)
    assert by_name["conv1"].multiply_adds == 7 * 7 * 3 * 64 * 112 * 112
    assert (by_name["maxpool"].receptive_field, by_name["maxpool"].stride) == (11, 4)
    assert by_name["layer4.1.conv2"].receptive_field == 435
    assert by_name["fc"].receptive_field is None
    assert sum(layer.parameters for layer in table.layers) == table.parameters
    assert sum(layer.multiply_adds for layer in table.layers) == table.multiply_adds


@pytest.mark.parametrize(
    "name", ["googlenet", "inception_v3", "lenet5_1998", "alexnet_2012", "cifar_preact110", "vgg11"]
)
def test_shapes_by_short_rules_are_torchs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = convzoo.create_model(name, device="meta")
    table = convzoo.summary(net)
    monkeypatch.setattr("convzoo._trace.quick_result", lambda func, args: None)
    assert convzoo.summary(net) == table
    larger = None if net.max_size else 231  # poolings that round up meet odd sizes
    ours = convzoo.summary(net, larger)
    monkeypatch.undo()
    assert convzoo.summary(net, larger) == ours


def test_receptive_fields_of_vgg16() -> None:
    with torch.device("meta"):
        net = torchvision.models.vgg16()
    fields = {x.name: x.receptive_field for x in convzoo.summary(net, 224).layers}
    ends = ["features.2", "features.7", "features.14", "features.21", "features.28", "features.30"]
    assert [fields[name] for name in ends] == [5, 14, 40, 92, 196, 212]


def test_it_reads_nothing_and_leaves_no_trace() -> None:
    net = convzoo.cifar_resnet20().train()
    net.layer1.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    text = str(convzoo.summary(net))
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert "269,722 parameters, 40,551,040 multiply-adds and " in text
    assert len({line.find("Conv2d") for line in text.splitlines() if "Conv2d" in line}) == 1


def test_an_oblong_image_and_a_dilated_convolution() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2, bias=False), nn.AvgPool2d(2))
    conv, pool = convzoo.summary(net, (12, 10)).layers
    assert conv.output_shape == (1, 4, 8, 6)
    assert (conv.receptive_field, pool.receptive_field, pool.stride) == (5, 6, 2)


def test_a_network_that_does_not_say_its_size() -> None:
    with pytest.raises(InputError, match="input_size: expected the side of an image"):
        convzoo.summary(nn.Conv2d(3, 4, 3))


def test_a_compiled_network_is_the_network_it_was() -> None:
    net = convzoo.cifar_resnet20()
    assert convzoo.summary(torch.compile(net)) == convzoo.summary(net)
    assert convzoo.summary(torch.compile(nn.Conv2d(3, 4, 3)), 8).parameters == 112


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "expected an integer of at least 1, got 0"),
        ("32", "expected an integer of at least 1, got '32'"),
        (32.5, "expected an integer of at least 1, got 32.5"),
        ((32, -1), "expected an integer of at least 1, got -1"),
        ((3, 32, 32), r"expected one side or \(height, width\), got \(3, 32, 32\)"),
    ],
)
def test_a_wrong_size_is_named(size: object, message: str) -> None:
    with pytest.raises(InputError, match=f"input_size: {message}"):
        convzoo.summary(convzoo.cifar_resnet20(), size)


def test_it_prints_as_markdown_and_html() -> None:
    table = convzoo.summary(convzoo.lenet5())
    lines = table.to_markdown().splitlines()
    assert lines[0].startswith("| layer | kind | output |")
    assert lines[2] == "| conv1 | Conv2d | 6 x 28 x 28 | 156 | 117,600 | 5 | 1 |"
    assert len(lines) == 2 + len(table.layers) + 2
    assert lines[-1] == str(table).splitlines()[-1]
    shown = table._repr_html_()
    assert shown.count("<tr>") == 1 + len(table.layers)
    assert "<td>117,600</td>" in shown


def test_what_no_layer_does_has_a_row() -> None:
    table = convzoo.summary(convzoo.resnet18(device="meta"))
    added = [layer for layer in table.layers if layer.kind == "add"]
    assert [layer.name for layer in added] == [f"layer{i}.{j}" for i in range(1, 5) for j in (0, 1)]
    assert added[0].output_shape == (1, 64, 56, 56)
    assert added[0].receptive_field == 27  # 7 and 3 of the stem, then 3 and 3
    rows = [layer.name for layer in table.layers]
    place = table.layers.index(added[0])
    assert rows[place - 1 : place + 2] == ["layer1.0.bn2", "layer1.0", "layer1.0.relu2"]
    joined = convzoo.summary(convzoo.googlenet(device="meta")).layers
    shapes = [layer.output_shape[1] for layer in joined if layer.kind == "concatenate"]
    assert shapes == [256, 480, 512, 512, 512, 528, 832, 832, 1024]  # the paper's table 1


def test_activations_are_counted_where_they_are_new() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(400, 5),
    )
    numbers = 2 * 4 * 10 * 10 + 5  # what ReLU overwrites and Flatten views takes nothing new
    assert convzoo.summary(net, 12).activation_bytes == 4 * numbers
    assert convzoo.summary(net.double(), 12).activation_bytes == 8 * numbers
    net[2].inplace = False
    assert convzoo.summary(net, 12).activation_bytes == 8 * (numbers + 400)
    assert "activations an image" in str(convzoo.summary(net, 12))
