"""What load would refuse is refused by save, and what was kept before stays."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import convzoo
from contract_nets import BY_DEPTH
from convzoo import models
from convzoo.errors import CheckpointError, ConvzooError, InputError
from convzoo.hub import load, save
from convzoo.hub._savable import check_savable
from convzoo.layers import apply_drop_connect
from hub_helpers import same, three


def with_labels(*labels: object) -> Callable[[], convzoo.ResNet]:
    def build() -> convzoo.ResNet:
        net = three()
        net.labels = labels
        return net

    return build


def with_head(head: nn.Module) -> Callable[[], convzoo.ResNet]:
    def build() -> convzoo.ResNet:
        net = three()
        net.labels = None
        net.fc = head
        return net

    return build


def with_five_classes() -> convzoo.ResNet:
    net = three()
    net.fc = nn.Linear(64, 5)
    return net


def with_nan() -> convzoo.ResNet:
    net = three()
    with torch.no_grad():
        net.fc.bias[1] = float("nan")
    return net


def with_another_block() -> convzoo.ResNet:
    net = three()
    net.layer3 = nn.Sequential(*net.layer3[:2])
    return net


def with_an_option_that_json_lacks() -> convzoo.ResNet:
    net = three()
    net.options = {"inplace": complex(1)}
    return net


REFUSED = {
    "too few labels": (with_five_classes, InputError, "each of the 5 classes, got 3"),
    "a half character": (with_labels("a", "b", "\ud800"), InputError, "load could not read"),
    "sequence": (
        with_head(nn.Sequential(nn.Dropout(0.25), nn.Linear(64, 5))),
        InputError,
        r"a Sequential.*convzoo\.replace_head\(net, 5, dropout=0\.25\).*load_state_dict",
    ),
    "sequence with a hidden layer": (
        with_head(nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 5))),
        InputError,
        r"the head is a Sequential.*convzoo\.replace_head\(net, 5\)$",
    ),
    "identity": (
        with_head(nn.Identity()),
        InputError,
        r"net\.fc: the head is an Identity, which does not score",
    ),
    "another layer": (with_head(nn.Linear(64, 3, bias=False)), CheckpointError, "1 missing: fc.b"),
    "another block": (with_another_block, CheckpointError, "changed since cifar_resnet20"),
    "nan": (with_nan, CheckpointError, "NaN in fc.bias"),
    "option": (with_an_option_that_json_lacks, ConvzooError, "net: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_save_leaves_the_old_folder_as_it_was(case: str, tmp_path: Path) -> None:
    build, kind, message = REFUSED[case]
    folder = save(three(), tmp_path / "net")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(kind, match=message):
        save(build(), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert same(load(folder), three())
    with pytest.raises(kind):
        save(build(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def _replace(net: nn.Module, path: str, module: nn.Module) -> None:
    net.set_submodule(path, module)


def _tie(net: convzoo.ResNet) -> None:
    net.layer1[1].conv2.weight = net.layer1[0].conv2.weight


def _reorder(net: convzoo.ResNet) -> None:
    net._modules["bn1"] = net._modules.pop("bn1")


def _same_forward(net: convzoo.ResNet) -> None:
    net.layer1.forward = lambda x: x  # type: ignore[method-assign]


CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "activation": (lambda n: _replace(n, "relu", nn.Tanh()), "relu: expected ReLU, got Tanh"),
    "identity": (lambda n: _replace(n, "bn1", nn.Identity()), "bn1: expected BatchNorm2d, got Id"),
    "stride": (
        lambda n: setattr(n.layer2[0].conv1, "stride", (1, 1)),
        r"layer2\.0\.conv1\.stride: expected \(2, 2\), got \(1, 1\)",
    ),
    "eps": (lambda n: setattr(n.bn1, "eps", 1e-3), r"bn1\.eps: expected 1e-05, got 0\.001"),
    "appended": (lambda n: n.layer3.append(nn.Dropout(0.5)), r"layer3\.3: added, Dropout"),
    "removed": (lambda n: delattr(n, "layer3"), "layer3: removed"),
    "order": (_reorder, "the order of modules"),
    "forward": (_same_forward, r"layer1\.forward: replaced"),
    "hook": (lambda n: n.layer1.register_forward_hook(lambda *_: None), "layer1: it has hooks"),
    "pre-hook": (lambda n: n.register_forward_pre_hook(lambda *_: None), "net: it has hooks"),
    "gradient hook": (
        lambda n: n.layer1.register_full_backward_hook(lambda *_: None), "layer1: it has hooks"
    ),
    "parametrisation": (lambda n: weight_norm(n.conv1), "conv1: expected Conv2d, got Parametrized"),
    "weight_norm": (lambda n: nn.utils.weight_norm(n.conv1), "missing: conv1.weight"),
    "tied": (_tie, r"layer1\.1\.conv2\.weight: tied, the same tensor as layer1\.0\.conv2"),
    "complex": (lambda n: n.fc.to(torch.complex64), "fc.weight: expected float64 or"),
    "mixed": (lambda n: n.fc.half(), "of several types"),
    "drop_connect": (apply_drop_connect, r"got DropConnectLinear[^$]*remove_drop_connect"),
    "several": (
        lambda n: (setattr(n.bn1, "eps", 1e-3), n.layer3.append(nn.Dropout(0.5))),
        r"layer3\.3: added[^$]*bn1\.eps",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated", "ignore:Complex modules")
@pytest.mark.parametrize("case", CHANGES)
def test_a_changed_network_is_refused_and_the_difference_named(case: str, tmp_path: Path) -> None:
    change, message = CHANGES[case]
    folder = save(three(), tmp_path / "net")
    net = three()
    change(net)
    with pytest.raises(CheckpointError, match=f"changed since cifar_resnet20[^$]*{message}"):
        save(net, folder)
    assert same(load(folder), three())


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_quantised_network_is_refused(tmp_path: Path) -> None:
    net = models.mlp(num_classes=3)
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.Linear):
            packed = torch.ao.nn.quantized.dynamic.Linear(module.in_features, module.out_features)
            net.set_submodule(name, packed)
    with pytest.raises((CheckpointError, InputError), match="net"):
        save(net, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_what_changes_training_only_is_no_change(tmp_path: Path) -> None:
    net = models.resnet18(num_classes=3, stem="small", drop_block=0.1)
    convzoo.freeze(net, "up_to:layer2").train()
    convzoo.replace_head(net, 5, dropout=0.2)
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
        if isinstance(module, convzoo.layers.DropBlock2d):
            module.progress = 0.5
    net.to(memory_format=torch.channels_last).eval()
    assert same(load(save(net, tmp_path / "net")), net)


@pytest.mark.parametrize("name", BY_DEPTH)
def test_a_network_as_it_was_built_is_never_refused(name: str) -> None:
    if sum(p.numel() for p in convzoo.create_model(name, device="meta").parameters()) < 3e6:
        check_savable(convzoo.create_model(name))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("abc", "got the string 'abc'"),
        (("a", "b"), "one name for each of the 3 classes, got 2"),
        ((1, 2, 3), "expected strings, got 1 for class 0"),
        (3, "expected a sequence of names, got 3"),
    ],
)
def test_labels_that_do_not_fit_are_refused_when_set(labels, message) -> None:
    net = three()
    before = net.labels
    with pytest.raises(InputError, match=f"labels: .*{message}"):
        net.labels = labels
    assert net.labels == before
    net.labels = ["x", "y", "z"]
    for same_net in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert same_net.labels == ("x", "y", "z")
    net.labels = None
    assert net.labels is None


def test_published_labels_that_repeat_a_name_are_kept(tmp_path: Path) -> None:
    net = with_labels("crane", "heron", "crane")()
    assert load(save(net, tmp_path / "net")).labels == ("crane", "heron", "crane")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2, 3], "labels: expected strings, got 1 for class 0"),
        (["a", "b", None], "labels: expected strings, got None for class 2"),
        (["a", "b", "a"], "a name of its own for each class, got 'a' twice"),
        ({"a", "b", "c"}, "labels: expected a sequence of names"),
        (3, "labels: expected a sequence of names, got 3"),
    ],
)
@pytest.mark.parametrize("ours", [True, False])
def test_a_new_head_refuses_such_labels(ours: bool, labels: object, message: str) -> None:
    net = three() if ours else nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    before = list(net.modules())
    with pytest.raises(InputError, match=message):
        convzoo.replace_head(net, 3, labels=labels)
    assert list(net.modules()) == before


# Auxiliary heads.


def test_an_auxiliary_head_taken_out_by_hand_is_refused(tmp_path: Path) -> None:
    net = models.googlenet(num_classes=2, aux_heads=True, stem="small")
    net.aux1 = None
    with pytest.raises(CheckpointError, match=r"missing: aux1\..*\n.*net\.drop_aux_heads\(\)"):
        save(net, tmp_path / "net")
    net.aux2 = None  # loading would give it two new ones
    with pytest.raises(CheckpointError, match=r"net\.drop_aux_heads\(\)"):
        save(net, tmp_path / "net")
    assert not (tmp_path / "net").exists()
    again = load(save(net.drop_aux_heads(), tmp_path / "net"))
    assert type(again) is models.GoogLeNet
    assert same(again, net)


# Heads that somebody made with nn.Sequential.


@pytest.mark.parametrize(
    "head",
    [
        nn.Sequential(nn.Dropout(), nn.Linear(64, 5)),
        nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Sequential(nn.Dropout(), nn.Linear(8, 5))),
        nn.Sequential(nn.Dropout(), nn.Conv2d(64, 5, 1)),
        nn.Sequential(nn.Linear(64, 5), nn.Softmax(1)),
    ],
)
def test_a_sequence_says_how_many_classes_it_scores(head: nn.Sequential) -> None:
    net = with_head(head)()
    assert net.num_classes == 5
    # The remedy that save names: a head of one layer, as long as what the sequence took.
    convzoo.replace_head(net, 7, dropout=0.5)
    assert net.num_classes == 7
    assert net.fc.weight.shape[:2] == (7, 64)


def test_the_trained_layer_survives_the_remedy(tmp_path: Path) -> None:
    net = with_head(nn.Sequential(nn.Dropout(0.25), nn.Linear(64, 5)))().eval()
    x = torch.randn(2, 3, 16, 16)
    scores, trained = net(x), net.fc[-1].state_dict()
    convzoo.replace_head(net, 5, dropout=0.25).fc.load_state_dict(trained)
    again = load(save(net, tmp_path / "net")).eval()
    assert torch.allclose(again(x), scores, atol=1e-5)
    assert again.fc.p == 0.25


def test_without_a_head_there_is_no_number_of_classes() -> None:
    net = with_head(nn.Identity())()
    assert not hasattr(net, "num_classes")
    assert getattr(net, "num_classes", None) is None
    with pytest.raises(InputError, match=r"net\.fc: an Identity stands where the head was"):
        _ = net.num_classes
    with pytest.raises(InputError, match="does not say how many"):
        _ = with_head(nn.Sequential(nn.Linear(64, 5), nn.BatchNorm1d(5)))().num_classes
    with pytest.raises(AttributeError, match="no attribute 'num_clases'"):
        _ = net.num_clases
    assert net(torch.zeros(1, 3, 16, 16)).shape == (1, 64)
