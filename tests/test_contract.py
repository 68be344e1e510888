"""What every network of the zoo promises of its shapes, counts and messages.

Taken on the meta device from every model of the registry: a new one is covered by being
registered. What needs real numbers is in `test_contract_numbers`, compilation and export in
`test_contract_compiled`, files in `test_contract_files`.
"""

from __future__ import annotations

import pickle
import re

import pytest
import torch
from torch import Tensor, nn

import convzoo
from contract_nets import (
    ARCHITECTURES,
    BY_DEPTH,
    BY_KIND,
    CASES,
    EVERY,
    Case,
    build_meta,
    images,
)
from convzoo import models
from convzoo._meta_device import OnMeta
from convzoo.errors import InputError, UnknownNameError


@pytest.mark.parametrize("name", BY_KIND)
def test_any_classes_and_channels_without_memory(name: str) -> None:
    net = build_meta(name, num_classes=7, in_channels=5)
    tensors = [*net.parameters(), *net.buffers()]
    assert {t.device.type for t in tensors} == {"meta"}
    assert (net.num_classes, net.in_channels) == (7, 5)
    side = max(net.min_size, 64 if net.max_size is None else net.max_size)
    x = torch.zeros(2, 5, side, side, device="meta")
    assert net.eval()(x).shape == (2, 7)
    features = net.forward_features(x)
    assert features.ndim == 4
    assert features.shape[1] == net.num_features
    assert net.forward_head(features).shape == (2, 7)
    assert net.forward_head(features, pre_logits=True).ndim == 2
    net.reset_head(11)
    assert net.num_classes == 11
    assert net(x).shape == (2, 11)


@pytest.mark.parametrize("name", BY_DEPTH)
def test_the_papers_size_and_classes_are_the_default(name: str) -> None:
    net = build_meta(name).eval()
    channels, height, width = ARCHITECTURES[name].input_shape
    x = torch.zeros(1, channels, height, width, device="meta")
    assert net.in_channels == channels
    assert net(x).shape == (1, net.num_classes)
    assert net.architecture == name
    assert net.options == {}
    assert net.preset is not None
    assert net.preset.channels == channels


@pytest.mark.parametrize("name", EVERY)
def test_counts_in_the_docstring_are_the_networks(name: str) -> None:
    text = ARCHITECTURES[name].builder.__doc__ or ""
    printed = re.search(r"([\d,]{3,}) parameters", text)
    worked = re.search(r"([\d.]+) (G|M) multiply-adds", text)
    assert printed or worked, "the docstring says how large the network is"
    _, height, width = ARCHITECTURES[name].input_shape
    measured = convzoo.summary(build_meta(name), (height, width))
    if printed:
        assert measured.parameters == int(printed[1].replace(",", ""))
    if worked:
        digits = len(worked[1].partition(".")[2])
        unit = 1e9 if worked[2] == "G" else 1e6
        assert f"{measured.multiply_adds / unit:.{digits}f}" == worked[1]


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", BY_KIND)
def test_min_size_is_the_smallest_that_works(
    name: str, train: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = build_meta(name).train(train)
    smallest = net.min_size
    assert net(images(net, side=smallest)).shape == (2, net.num_classes)
    message = rf"at least {smallest} x {smallest} pixels, got {smallest - 1} x {smallest - 1}"
    too_small = images(net, side=smallest).narrow(2, 0, smallest - 1).narrow(3, 0, smallest - 1)
    with pytest.raises(InputError, match=message):
        net(too_small)
    with pytest.raises(InputError, match=message):
        net.forward_features(too_small)
    # Without the check torch itself refuses: the number is the network's, not a caution.
    monkeypatch.setattr(type(net), "_check_input", lambda self, x: None)
    with pytest.raises((RuntimeError, ValueError)):
        net(too_small)


@pytest.mark.parametrize("name", BY_DEPTH)
def test_stages_have_the_channels_and_strides_they_say(name: str) -> None:
    net = build_meta(name).eval()
    channels, side, _ = ARCHITECTURES[name].input_shape
    maps = net.intermediates(torch.zeros(1, channels, side, side, device="meta"))
    assert list(maps) == [stage.name for stage in net.stages]
    assert [f.shape[1] for f in maps.values()] == [stage.channels for stage in net.stages]
    assert len(net.stages) > 0
    if net.max_size is not None:
        return
    growth = 2 * max(stage.stride for stage in net.stages)
    side += growth
    larger = net.intermediates(torch.zeros(1, channels, side, side, device="meta"))
    for stage in net.stages:
        assert growth % stage.stride == 0
        for axis in (2, 3):
            grown = larger[stage.name].shape[axis] - maps[stage.name].shape[axis]
            assert grown == growth // stage.stride


@pytest.mark.parametrize("name", BY_KIND)
def test_wrong_input_is_refused_readably(name: str) -> None:
    net = build_meta(name)
    with pytest.raises(InputError, match="dimensions"):
        net(torch.zeros(net.in_channels, 32, 32, device="meta"))
    wrong = net.in_channels + 1
    with pytest.raises(InputError, match=f"expected {net.in_channels} channel.* got {wrong}"):
        net(torch.zeros(1, wrong, 32, 32, device="meta"))
    with pytest.raises(UnknownNameError, match="unknown stage 'nowhere'"):
        net.intermediates(images(net), ["nowhere"])
    if net.max_size is not None:
        with pytest.raises(InputError, match=f"at most {net.max_size}"):
            net(images(net, side=net.max_size + 1))


@pytest.mark.parametrize("name", BY_KIND)
def test_unknown_options_are_named(name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"option of {name} 'in_chanels'.*in_channels"):
        build_meta(name, in_chanels=1)
    with pytest.raises(
        InputError, match="num_classes: expected an integer from 0 to 1048576, got -1"
    ):
        build_meta(name, num_classes=-1)


@pytest.mark.parametrize("name", BY_KIND)
def test_modules_are_registered_in_the_order_they_run(name: str) -> None:
    net = build_meta(name).eval()
    ran: list[str] = []
    inside = {s.module.rpartition(".")[0] for s in net.stages}  # e.g. VGG's `features`
    for path, module in net.named_modules():
        if path and path.rpartition(".")[0] in inside | {""}:
            module.register_forward_pre_hook(lambda *_, path=path: ran.append(path))
    channels, height, width = ARCHITECTURES[name].input_shape
    net(torch.zeros(1, channels, height, width, device="meta"))
    first_runs = list(dict.fromkeys(ran))
    registered = [path for path, _ in net.named_modules() if path in set(first_runs)]
    assert registered == first_runs
    assert net.head_path.startswith(registered[-1])


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("name", BY_KIND)
def test_the_preset_makes_what_the_network_takes(name: str, channels: int) -> None:
    net = build_meta(name, in_channels=channels)
    assert net.preset is not None
    assert net.preset.channels == channels
    side = net.preset.input_size
    assert isinstance(side, int)
    assert net.eval()(images(net, side=side)).shape == (2, net.num_classes)


def tensors(output: object) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else list(output)  # type: ignore[call-overload]


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("case", CASES)
def test_torch_fx_can_trace(case: Case, train: bool) -> None:
    net = build_meta(case.name, **case.options).train(train)
    graph = torch.fx.symbolic_trace(net)
    traced, plain = graph(images(net)), net(images(net))
    assert type(traced) is type(plain)
    assert [t.shape for t in tensors(traced)] == [t.shape for t in tensors(plain)]
    places = [m for m in net.modules() if isinstance(m, nn.Identity)]
    assert not places or case.name == "linear_classifier"  # the stage "pixels" is read there


@pytest.mark.parametrize("case", CASES)
def test_every_activation_is_a_module_that_runs_once(case: Case) -> None:
    # What captum's DeepLift and LRP and PyTorch's quantisers need.
    net = build_meta(case.name, **case.options)
    kinds = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)
    ran: list[nn.Module] = []
    for module in net.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda module, _inputs, _output: ran.append(module))
    net(images(net))
    assert len(ran) == len(set(ran)) == len([m for m in net.modules() if isinstance(m, kinds)])
    nodes = torch.fx.symbolic_trace(net).graph.nodes
    called = {getattr(n.target, "__name__", n.target) for n in nodes if n.op != "call_module"}
    assert not called & {"relu", "relu_", "sigmoid", "leaky_relu", "gelu", "silu", "elu"}


# What `nn.Sequential(*list(net.children())[:-2])` gives, by class: people cut networks so.
CUT = {
    "AlexNet": "maps",
    "AlexNet2012": None,  # flattens between two children
    "GoogLeNet": "pooled",
    "InceptionV3": "pooled",
    "LeNet5": None,
    "LeNet1998": None,
    "LinearClassifier": None,
    "MLP": None,
    "PreActResNet": "maps",
    "ResNet": "maps",
    "TutorialCNN": "maps",
    "VGG": "maps",
    "ZFNet": None,
}


@pytest.mark.parametrize("name", BY_KIND)
def test_children_without_the_last_two(name: str) -> None:
    net = build_meta(name).eval()
    kind = CUT[type(net).__name__]
    if kind is None:
        return
    x = images(net)
    cut = nn.Sequential(*list(net.children())[:-2])
    if kind == "maps":
        assert cut(x).shape == net.forward_features(x).shape
    else:
        assert cut(x).shape == (2, net.num_features, 1, 1)


def test_models_can_be_listed_and_misspelt() -> None:
    assert convzoo.list_models() == sorted(ARCHITECTURES)
    assert convzoo.list_models("wide*") == ["wide_resnet101_2", "wide_resnet50_2"]
    with pytest.raises(UnknownNameError, match="unknown model 'resnet5': did you mean 'resnet50'"):
        convzoo.create_model("resnet5")
    error = pickle.loads(pickle.dumps(UnknownNameError("model", "resnet5", ARCHITECTURES)))
    assert error.suggestions[0].startswith("resnet5")
    assert all(getattr(models, name) is info.builder for name, info in ARCHITECTURES.items())


def test_departures_are_stated() -> None:
    # The book's network is built and initialised as in the book; every other departs somewhere.
    assert {name for name, info in ARCHITECTURES.items() if not info.departs} == {"cifar2_cnn"}
    for name, info in ARCHITECTURES.items():
        if issubclass(info.network, (models.ResNet, models.PreActResNet)):
            shallow = {**info.settings, "layers": [1] * len(info.settings["layers"])}
            with OnMeta():
                net = info.network(**shallow)
            assert "initialised by fan-out" in info.departs
            second = net.layer2[0]
            strides_late = isinstance(second, models.Bottleneck) and second.conv2.stride == (2, 2)
            v1_5 = strides_late and info.family == "ResNet"
            assert ("v1.5" in info.departs) == v1_5, name
    weight = convzoo.resnet18(num_classes=2).layer2[0].conv1.weight  # 64 -> 128 channels, 3 x 3
    assert weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)  # fan-out
