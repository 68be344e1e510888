"""What every network of the zoo promises, tested over the registry.

Shapes and counts are taken on the meta device from every model. What needs real numbers runs on
the first (smallest) model of each family and on a few more. A new model is covered by being
registered.
"""

from __future__ import annotations

import copy
import io
import pickle
import re
import typing

import pytest
import torch
from torch import Tensor, nn

import convzoo
from convzoo import models
from convzoo._classifier import Classifier
from convzoo.errors import InputError, UnknownNameError
from convzoo.models import MODELS

EVERY = sorted(MODELS)
# The first (smallest) of each family, and those that are built otherwise than their family's first.
FIRSTS: list[str] = [
    *{info.family: name for name, info in reversed(MODELS.items())}.values(),
    *("resnet50", "vgg11_bn", "vgg11_lrn", "googlenet_2014", "cifar_cnn5"),
    *("alexnet_2012", "lenet5_1998"),
]
FIRSTS = list(dict.fromkeys(FIRSTS))


def build_meta(name: str, **options: object) -> Classifier:
    with torch.device("meta"):
        return convzoo.create_model(name, **options)


def _of_each_class() -> list[str]:
    """The first model of each class: what is slow, compilation and export, runs on these."""
    found: dict[type[Classifier], str] = {}
    for name in MODELS:
        found.setdefault(type(build_meta(name, num_classes=2)), name)
    return list(found.values())


CLASSES = _of_each_class()


def build(name: str, **options: object) -> Classifier:
    """A real network with few classes, whose normalisation layers do something."""
    net = convzoo.create_model(name, num_classes=7, **options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return net.eval()


def small_side(net: Classifier) -> int:
    """A side that keeps a real run quick."""
    return max(net.min_size, 32 if net.max_size is None else net.max_size)


def images(net: Classifier, batch: int = 2, side: int | None = None) -> Tensor:
    side = side or small_side(net)
    device = next(net.parameters()).device
    return torch.randn(batch, net.in_channels, side, side, device=device)


# On the meta device: every model.


@pytest.mark.parametrize("name", EVERY)
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


@pytest.mark.parametrize("name", EVERY)
def test_the_papers_size_and_classes_are_the_default(name: str) -> None:
    net = build_meta(name).eval()
    channels, height, width = MODELS[name].input_shape
    x = torch.zeros(1, channels, height, width, device="meta")
    assert net.in_channels == channels
    assert net(x).shape == (1, net.num_classes)
    assert net.architecture == name
    assert net.options == {}
    assert net.preset is not None
    assert net.preset.channels == channels


@pytest.mark.parametrize("name", EVERY)
def test_counts_in_the_docstring_are_the_networks(name: str) -> None:
    text = MODELS[name].builder.__doc__ or ""
    printed = re.search(r"([\d,]{3,}) parameters", text)
    worked = re.search(r"([\d.]+) (G|M) multiply-adds", text)
    assert printed or worked, "the docstring says how large the network is"
    _, height, width = MODELS[name].input_shape
    measured = convzoo.summary(build_meta(name), (height, width))
    if printed:
        assert measured.parameters == int(printed[1].replace(",", ""))
    if worked:
        digits = len(worked[1].partition(".")[2])
        unit = 1e9 if worked[2] == "G" else 1e6
        assert f"{measured.multiply_adds / unit:.{digits}f}" == worked[1]


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", EVERY)
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


@pytest.mark.parametrize("name", EVERY)
def test_stages_have_the_channels_and_strides_they_say(name: str) -> None:
    net = build_meta(name).eval()
    channels, side, _ = MODELS[name].input_shape
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


@pytest.mark.parametrize("name", EVERY)
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


@pytest.mark.parametrize("name", EVERY)
def test_unknown_options_are_named(name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"option of {name} 'in_chanels'.*in_channels"):
        build_meta(name, in_chanels=1)
    with pytest.raises(InputError, match="num_classes: expected an integer of at least 1, got 0"):
        build_meta(name, num_classes=0)


@pytest.mark.parametrize("name", EVERY)
def test_modules_are_registered_in_the_order_they_run(name: str) -> None:
    net = build_meta(name).eval()
    ran: list[str] = []
    inside = {s.module.rpartition(".")[0] for s in net.stages}  # e.g. VGG's `features`
    for path, module in net.named_modules():
        if path and path.rpartition(".")[0] in inside | {""}:
            module.register_forward_pre_hook(lambda *_, path=path: ran.append(path))
    channels, height, width = MODELS[name].input_shape
    net(torch.zeros(1, channels, height, width, device="meta"))
    first_runs = list(dict.fromkeys(ran))
    registered = [path for path, _ in net.named_modules() if path in set(first_runs)]
    assert registered == first_runs
    assert net.head_path.startswith(registered[-1])


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("name", EVERY)
def test_the_preset_makes_what_the_network_takes(name: str, channels: int) -> None:
    net = build_meta(name, in_channels=channels)
    assert net.preset is not None
    assert net.preset.channels == channels
    side = net.preset.input_size
    assert isinstance(side, int)
    assert net.eval()(images(net, side=side)).shape == (2, net.num_classes)


@pytest.mark.parametrize("name", EVERY)
def test_torch_fx_can_trace(name: str) -> None:
    graph = torch.fx.symbolic_trace(build_meta(name).eval())
    net = build_meta(name)
    assert graph(images(net)).shape == (2, net.num_classes)


# With real numbers: the first of each family.


@pytest.mark.parametrize("name", FIRSTS)
def test_features_head_and_intermediates_agree_with_forward(name: str) -> None:
    net = build(name)
    x = images(net)
    logits = net(x)
    features = net.forward_features(x)
    torch.testing.assert_close(net.forward_head(features), logits)
    before_logits = net.forward_head(features, pre_logits=True)
    torch.testing.assert_close(net.get_submodule(net.head_path)(before_logits), logits)
    fired: list[str] = []
    handle = net.get_submodule(net.stages[-1].module).register_forward_hook(
        lambda *_: fired.append("yes")
    )
    maps = net.intermediates(x)
    handle.remove()
    assert fired == ["yes"]
    assert all(not m._forward_hooks for m in net.modules())
    # What is handed out was not overwritten by what ran after it.
    for stage in net.stages:
        kept: list[Tensor] = []
        handle = net.get_submodule(stage.module).register_forward_hook(
            lambda _m, _i, out, kept=kept: kept.append(out.clone())
        )
        net(x)
        handle.remove()
        torch.testing.assert_close(maps[stage.name], kept[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", FIRSTS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    net = build(name).train()
    output = net(images(net, batch=4))
    assert isinstance(output, Tensor)
    nn.functional.cross_entropy(output, torch.tensor([0, 1, 2, 3])).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", FIRSTS)
def test_reset_parameters_fills_everything_and_obeys_the_seed(name: str) -> None:
    torch.manual_seed(1)
    first = convzoo.create_model(name, num_classes=7)
    torch.manual_seed(1)
    second = convzoo.create_model(name, num_classes=7)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    net = convzoo.create_model(name, num_classes=7)
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            if tensor.is_floating_point():
                tensor.fill_(float("nan"))
    net.reset_parameters()
    for tensor in [*net.parameters(), *net.buffers()]:
        assert tensor.isfinite().all()


@pytest.mark.parametrize("name", FIRSTS)
def test_eval_is_deterministic_and_copies_are_equal(name: str) -> None:
    net = build(name)
    x = images(net)
    logits = net(x)
    assert torch.equal(net(x), logits)
    assert torch.equal(copy.deepcopy(net)(x), logits)
    again = pickle.loads(pickle.dumps(net))
    assert type(again) is type(net)
    assert torch.equal(again(x), logits)
    assert (again.architecture, again.stages) == (net.architecture, net.stages)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other = convzoo.create_model(name, num_classes=7).eval()
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(other(x), logits)


@pytest.mark.parametrize("name", FIRSTS)
def test_double_bfloat16_and_channels_last(name: str) -> None:
    net = build(name)
    x = images(net)
    with torch.no_grad():
        logits = net(x)
        last = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last, logits, rtol=1e-3, atol=1e-4)
        double = net.double()(x.double())
        assert double.dtype == torch.float64
        scale = double.abs().max()
        assert (double - logits).abs().max() < 1e-4 * scale
        half = net.bfloat16()(x.bfloat16())
        assert half.dtype == torch.bfloat16
        assert (half.double() - double).abs().max() < 0.15 * scale


@pytest.mark.parametrize("name", FIRSTS)
def test_inplace_false_lets_hooks_see_true_values(name: str) -> None:
    def overwritten(inplace: bool) -> list[str]:
        net = build(name, inplace=inplace)
        seen: list[tuple[str, Tensor, Tensor]] = []
        for path, module in net.named_modules():
            module.register_forward_hook(
                lambda _m, _i, out, path=path: seen.append((path, out, out.detach().clone()))
            )
        net(images(net))
        return [path for path, output, at_the_time in seen if not torch.equal(output, at_the_time)]

    if "inplace" not in build_meta(name).option_names:
        assert not any(getattr(m, "inplace", False) for m in build_meta(name).modules())
        return
    assert overwritten(inplace=False) == []
    assert overwritten(inplace=True) != []


@pytest.mark.parametrize("name", CLASSES)
def test_compiles_without_graph_breaks(name: str) -> None:
    net = build(name)
    x = images(net)
    torch._dynamo.reset()  # it counts the classes that share a forward
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLASSES)
def test_exports_with_a_dynamic_batch(name: str) -> None:
    net = build(name)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (images(net),), dynamic_shapes=({0: batch},))
    x = images(net, batch=5)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), net(x), rtol=1e-4, atol=1e-5)


def test_literal_names_are_the_registrys() -> None:
    literals: set[str] = set()
    for overload in typing.get_overloads(convzoo.create_model):
        hint = typing.get_type_hints(overload)["name"]
        for part in typing.get_args(hint) or ():
            literals.update(typing.get_args(part) or [part])
    assert literals == set(MODELS)


def test_models_can_be_listed_and_misspelt() -> None:
    assert convzoo.list_models() == sorted(MODELS)
    assert convzoo.list_models("wide*") == ["wide_resnet101_2", "wide_resnet50_2"]
    with pytest.raises(UnknownNameError, match="unknown model 'resnet5': did you mean 'resnet50'"):
        convzoo.create_model("resnet5")
    error = pickle.loads(pickle.dumps(UnknownNameError("model", "resnet5", MODELS)))
    assert error.suggestions[0].startswith("resnet5")
    assert all(name in models.__all__ for name in MODELS)
