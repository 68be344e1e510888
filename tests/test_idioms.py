"""What timm's and fastai's users write works on every network of the zoo."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import timm
import timm.data
import torch
from timm.models._manipulate import group_parameters
from timm.optim import create_optimizer_v2
from torch import nn

import convzoo
from contract_nets import (
    ARCHITECTURES,
    BY_KIND,
    CLASSES,
    EVERY,
    build,
    build_meta,
    images,
    parameters,
)
from convzoo.errors import InputError, UnknownNameError

SMALL = ("cifar_resnet20", "googlenet", "lenet5", "lenet5_1998", "linear_classifier", "vgg11")


@pytest.mark.parametrize("name", parameters(EVERY, quick=[*SMALL, "cifar_plain20", "mlp"]))
def test_without_classes_the_features_come_out(name: str) -> None:
    net, whole = build_meta(name, num_classes=0).eval(), build_meta(name).eval()
    x = images(whole)
    assert (net.num_classes, net.labels) == (0, None)
    assert net(x).shape == (2, net.head_hidden_size) == (2, whole.head_hidden_size)
    assert net(x).shape == whole.forward_head(whole.forward_features(x), pre_logits=True).shape
    heads = tuple(f"{path}." for path in whole.head_paths())
    keys = [key for key in whole.state_dict() if not key.startswith(heads)]
    assert list(net.state_dict()) == keys
    whole.reset_head(0)
    assert list(whole.state_dict()) == keys
    if keys:  # else nothing says which device the new head goes to
        whole.reset_head(3)
        assert (whole.num_classes, whole.eval()(x).shape) == (3, (2, 3))
    assert convzoo.summary(net).parameters == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", parameters(CLASSES, quick=SMALL))
def test_a_network_without_a_head_is_kept(name: str, tmp_path: Path) -> None:
    net = build(name)
    x = images(net)
    features = net.forward_head(net.forward_features(x), pre_logits=True)
    again = convzoo.load(convzoo.save(net, tmp_path / "whole"), num_classes=0).eval()
    assert torch.equal(again(x), features)
    net.reset_head(0)
    assert torch.equal(net(x), features)
    folder = convzoo.save(net, tmp_path / "headless")
    again = convzoo.load(folder).eval()
    assert (again.num_classes, again.labels) == (0, None)
    assert torch.equal(again(x), features)
    again = convzoo.load(folder, num_classes=4).eval()
    found = again.forward_head(again.forward_features(x), pre_logits=True)
    assert (again(x).shape, torch.equal(found, features)) == ((2, 4), True)


def test_weights_without_their_head() -> None:
    net = convzoo.lenet5(weights="fashion_mnist", num_classes=0)
    assert (net.num_classes, net.labels) == (0, None)
    whole = convzoo.lenet5(weights="fashion_mnist")
    assert torch.equal(net.fc2.weight, whole.fc2.weight)
    for call in (convzoo.Predictor, lambda net: convzoo.replace_head(net, 0)):
        with pytest.raises(InputError):
            call(net)
    with pytest.raises(InputError, match="labels: expected one name for each of the 0 classes"):
        net.labels = ["a"]


def test_auxiliary_heads_go_with_the_head() -> None:
    with pytest.raises(InputError, match="aux_heads: num_classes=0 leaves them nothing"):
        convzoo.googlenet(aux_heads=True, num_classes=0)
    net = convzoo.inception_v3(aux_heads=True, device="meta")
    net.reset_classifier(0)
    assert list(net.head_paths()) == ["fc"]
    assert "aux_heads" not in net.options


def test_the_classifier_is_the_last_layer() -> None:
    net = convzoo.vgg11(device="meta")
    assert net.get_classifier() is net.classifier[6]
    assert net.get_classifier(name_only=True) == "classifier.6"
    net.reset_classifier(4)
    assert net.num_classes == 4
    with pytest.raises(InputError, match="global_pool: expected None, got 'max'"):
        net.reset_classifier(4, "max")


@pytest.mark.parametrize("name", parameters(["resnet18", "resnet50"], quick=["resnet18"]))
def test_intermediates_are_timms(name: str) -> None:
    ours = convzoo.create_model(name, num_classes=2).eval()
    theirs = timm.create_model(name, num_classes=2).eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for indices in ([1, 2], [-1], 2, [3]):
            found = ours.forward_intermediates(x, indices)
            expected = theirs.forward_intermediates(x, indices)
            assert torch.allclose(found[0], expected[0], atol=1e-5)
            assert len(found[1]) == len(expected[1])
            for one, other in zip(found[1], expected[1], strict=True):
                assert torch.allclose(one, other, atol=1e-5)
        last, (early,) = ours.forward_intermediates(x, [1], stop_early=True)
        assert last is early
        (map_,) = ours.forward_intermediates(x, 1, output_fmt="NHWC", intermediates_only=True)
        assert map_.shape == (2, 2, 2, ours.num_features)
    for wrong in ([5], 0, 6):
        with pytest.raises(InputError, match="indices: expected an integer"):
            ours.forward_intermediates(x, wrong)


def test_norm_reads_the_last_map_behind_it() -> None:
    net = convzoo.cifar_preact110(num_classes=2).eval()
    x = torch.randn(1, 3, 16, 16)
    features, maps = net.forward_intermediates(x, norm=True)
    assert maps[-1] is features
    assert not torch.equal(net.forward_intermediates(x)[1][-1], features)


@pytest.mark.parametrize("name", BY_KIND)
def test_every_parameter_has_its_group(name: str) -> None:
    net = build_meta(name)
    beside = (net.head_path, *(path.partition(".")[0] for path in net.aux_head_paths))
    for coarse in (False, True):
        groups = net.group_matcher(coarse)
        for key, _ in net.named_parameters():
            found = [group for group, pattern in groups.items() if re.match(pattern, key)]
            assert len(found) == (not key.startswith(tuple(f"{path}." for path in beside)))
        layers = list(group_parameters(net, groups))
        assert layers == sorted(layers)
    assert set(net.group_matcher(coarse=True)) <= {*(s.name for s in net.stages), "rest"}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_layer_decay_is_timms(name: str) -> None:
    rates = [
        [(g["lr_scale"], len(g["params"])) for g in optimizer.param_groups]
        for net in (build_meta(name), timm.create_model(name))
        for optimizer in [create_optimizer_v2(net, opt="sgd", lr=0.1, layer_decay=0.7)]
    ]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("name", BY_KIND)
def test_timm_reads_the_preset(name: str) -> None:
    net = build_meta(name)
    found = timm.data.resolve_data_config(model=net)
    assert net.preset is not None
    assert found["input_size"] == (net.in_channels, *net.preset.height_width)
    assert (found["mean"], found["std"]) == (net.preset.mean, net.preset.std)
    assert found["interpolation"] == net.preset.interpolation
    assert net.pretrained_cfg["num_classes"] == net.num_classes
    assert net.default_cfg == net.pretrained_cfg
    with pytest.raises(AttributeError):
        net.pretrained_cfg = {}


CHECKPOINTED: dict[str, dict[str, object]] = {
    "cifar_resnet20": {"dropout": 0.3, "drop_block": 0.2, "drop_path": 0.2},
    "cifar_preact110": {},
    "resnet50": {},
    "vgg11_bn": {"hidden": 16, "grid": 1},
    "googlenet": {"aux_heads": True, "stem": "small"},
    "lenet5_1998": {},
    "mlp": {},
}


@pytest.mark.parametrize(
    "name", parameters(CHECKPOINTED, quick={*CHECKPOINTED} - {"resnet50", "cifar_preact110"})
)
def test_checkpointing_changes_no_number(name: str) -> None:
    options = CHECKPOINTED[name]
    plain = convzoo.create_model(name, num_classes=3, **options).train()
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    x = images(plain, batch=3)
    held: list[int] = []
    for net in (plain, saving):
        torch.manual_seed(0)
        kept: set[int] = set()
        fixed = {p.untyped_storage().data_ptr() for p in [*net.parameters(), *net.buffers()]}

        def pack(t: torch.Tensor, kept: set[int] = kept, fixed: set[int] = fixed) -> torch.Tensor:
            if t.untyped_storage().data_ptr() not in fixed:
                kept.add(t.untyped_storage().data_ptr())
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            scores = net(x)
        held.append(len(kept))
        loss = sum(s.square().sum() for s in (scores if isinstance(scores, tuple) else (scores,)))
        loss.backward()
    for (key, ours), other in zip(saving.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, other.grad), key
    for (key, ours), other in zip(saving.named_buffers(), plain.named_buffers(), strict=True):
        assert torch.equal(ours, other[1]), key
    assert held[1] < held[0]
    saving.set_grad_checkpointing(False)
    assert torch.equal(saving.eval()(x), plain.eval()(x))


def test_checkpointing_keeps_hooks_and_asks_for_our_layers() -> None:
    net = convzoo.vgg11_bn(hidden=16, grid=1, num_classes=2)
    net.set_grad_checkpointing()
    fired: list[str] = []
    net.features.register_forward_hook(lambda *_: fired.append("features"))
    net(torch.randn(2, 3, 32, 32))
    assert fired == ["features"]

    class Own(convzoo.LeNet5):
        pass

    with pytest.raises(InputError, match="give them to torch"):
        Own().set_grad_checkpointing()


@pytest.mark.parametrize("name", parameters(EVERY, quick=CLASSES))
def test_whatever_summary_prints_can_be_read(name: str) -> None:
    net = build_meta(name).eval()
    layers = {layer.name: layer.output_shape for layer in convzoo.summary(net).layers}
    channels, height, width = ARCHITECTURES[name].input_shape
    x = torch.zeros(1, channels, height, width, device="meta")
    stages = {stage.name for stage in net.stages}
    maps = net.intermediates(x, list(layers))
    assert maps.keys() == layers.keys()
    for path in layers.keys() - stages:
        assert maps[path].shape == layers[path], path


def test_what_is_read_is_not_overwritten() -> None:
    net = convzoo.resnet18(num_classes=2).eval()
    x = torch.randn(1, 3, 32, 32)
    maps = net.intermediates(x, ["bn1", "relu", "fc", "layer1"])
    assert list(maps) == ["bn1", "relu", "layer1", "fc"]
    assert bool((maps["bn1"] < 0).any())
    assert torch.equal(maps["relu"], maps["bn1"].relu())
    assert torch.equal(maps["fc"], net(x))
    with pytest.raises(UnknownNameError, match=r"unknown stage 'layer1\.9'.*layer1\.[01]"):
        net.intermediates(x, ["layer1.9"])
    with pytest.raises(InputError, match="'aux1' does not run"):
        convzoo.googlenet(aux_heads=True, device="meta").intermediates(
            torch.zeros(1, 3, 64, 64, device="meta"), ["aux1"]
        )


def test_default_weights_are_free_and_the_best() -> None:
    models = {name.partition(".")[0] for name in convzoo.list_weights()}
    for model in models:
        info = convzoo.weights_info(f"{model}.default")
        others = [convzoo.weights_info(name) for name in convzoo.list_weights(f"{model}.*")]
        assert info in others
        assert info.licence
        assert info.commercial
        assert all((o.top1 or 0) <= (info.top1 or 0) for o in others if o.licence and o.commercial)
    with pytest.raises(UnknownNameError, match="unknown weights 'alexnet_2012"):
        convzoo.weights_info("alexnet_2012.default")
    with pytest.raises(InputError, match="no weights of alexnet_2012 are published"):
        convzoo.create_model("alexnet_2012", weights="default")


def test_pretrained_is_fastais_word_for_the_default() -> None:
    for options in ({"pretrained": True}, {"weights": "default"}):
        net = convzoo.lenet5(**options)
        assert net.provenance["weights"] == "lenet5.fashion_mnist"
    assert convzoo.load("lenet5.default").provenance == net.provenance
    for builder in (convzoo.lenet5, convzoo.alexnet_2012):
        assert builder(pretrained=False, device="meta").provenance == {}
    with pytest.raises(InputError, match="no weights of alexnet_2012 are published"):
        convzoo.alexnet_2012(pretrained=True)
    with pytest.raises(InputError, match="pretrained: weights='fashion_mnist' says already"):
        convzoo.lenet5(weights="fashion_mnist", pretrained=True)
    with pytest.raises(InputError, match="pretrained: expected True or False, got 'yes'"):
        convzoo.create_model("lenet5", pretrained="yes")


def test_models_are_listed_by_several_patterns() -> None:
    found = convzoo.list_models(include=["resnet1*", "vgg11*"], exclude="*_v1")
    assert found == ["resnet101", "resnet152", "resnet18", "vgg11", "vgg11_bn", "vgg11_lrn"]
    assert convzoo.list_models("vgg*", include="*_bn", exclude=["*19*"]) == [
        "vgg11_bn", "vgg13_bn", "vgg16_bn"
    ]  # fmt: skip


def test_fastai_cuts_before_the_pooling() -> None:
    # fastai.vision.learner.create_body, with neither `cut` nor a record of the architecture.
    net = convzoo.cifar_resnet20(pretrained=False)
    layers = list(net.children())
    cut = max(i for i, m in enumerate(layers) if "Pool" in type(m).__name__)
    body = nn.Sequential(*layers[:cut])
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(body.eval()(x), net.eval().forward_features(x))
