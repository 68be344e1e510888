"""New heads and freezing on torchvision's and timm's networks, and on networks of one's own."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from convzoo._heads import DropoutConv2d
from convzoo.errors import InputError, UnknownNameError
from convzoo.transfer import find_heads, freeze, param_groups, replace_head, report, unfreeze

timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")

TORCHVISION = {
    "resnet18": ("fc",),
    "vgg11": ("classifier.6",),
    "alexnet": ("classifier.6",),
    "squeezenet1_0": ("classifier.1",),
    "mobilenet_v3_small": ("classifier.3",),
    "efficientnet_b0": ("classifier.1",),
    "densenet121": ("classifier",),
    "convnext_tiny": ("classifier.2",),
    "googlenet": ("fc", "aux1.fc2", "aux2.fc2"),
    "inception_v3": ("fc", "AuxLogits.fc"),
    "vit_b_16": ("heads.head",),
    "swin_t": ("head",),
}
TIMM = {
    "resnet18": ("fc",),
    "vgg11": ("head.fc",),
    "inception_v3": ("fc", "AuxLogits.fc"),
    "efficientnet_b0": ("classifier",),
    "convnext_atto": ("head.fc",),
    "mobilenetv3_small_050": ("classifier",),
    "vit_tiny_patch16_224": ("head",),
    "deit_tiny_distilled_patch16_224": ("head", "head_dist"),
    "resnetv2_50": ("head.fc",),  # a 1 x 1 convolution
}
GROUPED = ("vgg11", "googlenet", "mobilenet_v3_small", "vit_tiny_patch16_224", "convnext_atto")
EVERY = [("torchvision", name) for name in TORCHVISION] + [("timm", name) for name in TIMM]


def build(library: str, name: str, device: str = "meta", **options: object) -> nn.Module:
    if name == "inception_v3":
        options["aux_logits"] = True
    with warnings.catch_warnings(), torch.device(device):
        warnings.simplefilter("ignore")  # the libraries' own
        if library == "timm":
            return timm.create_model(name, pretrained=False, **options)
        if name in ("googlenet", "inception_v3"):
            options |= {"aux_logits": True, "init_weights": False}
        return torchvision.models.get_model(name, weights=None, **options)


def images(name: str, device: str = "meta") -> Tensor:
    side = 299 if name == "inception_v3" else 224
    return torch.zeros(2, 3, side, side, device=device)


def flat(outputs: object) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else [o for o in outputs if o is not None]


@pytest.mark.parametrize(("library", "name"), EVERY)
def test_every_head_is_found_and_replaced(library: str, name: str) -> None:
    net = build(library, name)
    heads = (TORCHVISION if library == "torchvision" else TIMM)[name]
    assert find_heads(net) == heads
    keys = list(net.state_dict())
    assert replace_head(net, 7, freeze="backbone") is net
    assert list(net.state_dict()) == keys
    outputs = flat(net.train()(images(name)))
    assert [tuple(scores.shape) for scores in outputs] == [(2, 7)] * len(outputs)
    assert len(outputs) == 1 or len(outputs) == len(heads)
    trainable = {name for name, p in net.named_parameters() if p.requires_grad}
    assert trainable == {f"{head}.{p}" for head in heads for p in ("weight", "bias")}
    assert getattr(net, "num_classes", 7) == 7
    assert find_heads(net) == heads
    record = report(net)
    assert record.drifts == ()
    awake = {path for path, module in net.named_modules() if module.training}
    assert awake <= {"", *heads, *(head.rpartition(".")[0] for head in heads)}


# Groups go by the same order of modules everywhere: one of each sort is enough.
@pytest.mark.parametrize(
    ("library", "name"),
    [pytest.param(*case, marks=() if case[1] in GROUPED else pytest.mark.long) for case in EVERY],
)
def test_parameter_groups_hold_each_parameter_once(library: str, name: str) -> None:
    net = build(library, name)
    groups = param_groups(net, 1.0, head_lr=5.0, layer_decay=0.5, weight_decay=0.1)
    grouped = [id(p) for group in groups for p in group.params]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters())
    assert [group.lr for group in groups if group.name == "head"] == [5.0]
    assert all(p.ndim > 1 for group in groups if group.weight_decay for p in group.params)
    assert max(g.lr for g in groups if not g.name.startswith("head")) == 1.0


def test_num_classes_of_squeezenet_and_timm_stays_true() -> None:
    for library, name in (("torchvision", "squeezenet1_0"), ("timm", "resnet18")):
        assert replace_head(build(library, name), 3).num_classes == 3
    assert replace_head(build("torchvision", "vit_b_16"), 3).num_classes == 3


def test_timm_network_without_a_head_gets_one() -> None:
    for name in ("resnet18", "vgg11", "resnetv2_50"):
        net = replace_head(build("timm", name, num_classes=0), 5, freeze="backbone")
        assert net(images(name)).shape == (2, 5)
        assert net.num_classes == 5
        assert report(net).trainable_parameters > 0
        assert report(net).drifting == ()
    with pytest.raises(InputError, match="num_classes: expected an integer from 1 to"):
        replace_head(build("timm", "resnet18", num_classes=0), 0)


def test_convolutional_head_takes_dropout_and_can_be_replaced_again() -> None:
    for library, name in (("torchvision", "squeezenet1_0"), ("timm", "resnetv2_50")):
        net = replace_head(build(library, name), 5, dropout=0.3)
        assert any(isinstance(m, DropoutConv2d) and m.p == 0.3 for m in net.modules())
        assert replace_head(net, 6)(images(name)).shape == (2, 6)
        assert not any(isinstance(m, DropoutConv2d) for m in net.modules())


def test_a_torchvision_checkpoint_step_moves_the_head_only() -> None:
    net = replace_head(build("torchvision", "resnet18", "cpu"), 3, freeze="backbone").train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimizer = torch.optim.AdamW(param_groups(net, 0.1, weight_decay=0.1))
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    moved = {k for k, value in net.state_dict().items() if not torch.equal(value, before[k])}
    assert moved == {"fc.weight", "fc.bias"}
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.train().layer1.__dict__["train"].args[0] is twin.layer1
        assert not twin.bn1.training


def test_up_to_a_submodule_path_with_auxiliary_heads_before_it() -> None:
    net = replace_head(build("torchvision", "inception_v3"), 7, freeze="up_to:Mixed_7a").train()
    # Registered before Mixed_7a, but a head: it trains as a whole, the new layer and those before.
    assert all(p.requires_grad for p in net.AuxLogits.parameters())
    assert all(module.training for module in net.AuxLogits.modules())
    assert not net.Mixed_7a.training
    assert net.Mixed_7b.training


def test_up_to_a_path_takes_class_tokens_along() -> None:
    net = freeze(build("timm", "vit_tiny_patch16_224"), "up_to:blocks.3")
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight"} <= frozen
    assert not any(name.startswith("blocks.4") for name in frozen)
    assert report(net).frozen[:3] == ("cls_token", "pos_embed", "patch_embed")
    assert report(unfreeze(net)).frozen == ()


def test_unknown_paths_get_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown stage 'layr3': did you mean 'layer3'"):
        replace_head(build("torchvision", "resnet18"), 3, freeze="up_to:layr3")


def test_hand_frozen_networks_drift() -> None:
    net = build("torchvision", "resnet18")
    for p in net.parameters():
        p.requires_grad_(False)
    record = report(replace_head(net, 3))
    assert record.trainable == ("fc",)
    assert record.frozen == ("conv1",)
    assert record.drifting == ("bn1", "layer1", "layer2", "layer3", "layer4")
    assert len(record.drifts) == 20
    assert record.drifts[0].reason == "running statistics are updated"


def test_hand_frozen_dropout_drifts_where_it_feeds_a_frozen_layer() -> None:
    net = build("torchvision", "vgg11")
    for p in net.parameters():
        p.requires_grad_(False)
    record = report(replace_head(net, 3))
    # classifier.5 drops what the new layer gets, which is a choice; classifier.2 is inside.
    assert [(drift.module, drift.reason) for drift in record.drifts] == [
        ("classifier.2", "drops with probability 0.5")
    ]
    efficient = build("torchvision", "efficientnet_b0")
    for p in efficient.parameters():
        p.requires_grad_(False)
    replace_head(efficient, 3)
    kinds = {type(efficient.get_submodule(d.module)).__name__ for d in report(efficient).drifts}
    assert kinds == {"BatchNorm2d", "StochasticDepth"}


# Networks of one's own.


class Odd(nn.Module):
    """Two linear layers of one width, neither under a usual name."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(8, 5)
        self.scores = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.hidden(x))


def test_the_last_linear_layer_of_an_unknown_network() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 2))
    assert find_heads(net) == ("3",)
    assert replace_head(net, 6)(torch.zeros(1, 3, 4, 4)).shape == (1, 6)
    fully = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1))
    assert find_heads(fully) == ("1",)


def test_an_ambiguous_head_is_refused_with_its_candidates() -> None:
    net = Odd()
    with pytest.raises(InputError, match=r"'hidden' \(5 outputs\), 'scores' \(5 outputs\)"):
        replace_head(net, 3)
    assert net.scores.out_features == 5
    replace_head(net, 3, head="scores", freeze="backbone")
    assert net(torch.zeros(1, 8)).shape == (1, 3)
    assert report(net).trainable == ("scores",)
    assert find_heads(Odd(), "scores") == ("scores",)


def test_a_head_that_was_named_once_is_remembered() -> None:
    net = replace_head(Odd(), 5, head="scores")
    assert find_heads(copy.deepcopy(net)) == ("scores",)
    assert report(freeze(net)).trainable == ("scores",)
    assert "scores.weight" in net.state_dict()


def test_layers_after_the_last_linear_one_make_it_ambiguous() -> None:
    net = nn.Sequential(OrderedDict(a=nn.Linear(4, 3), out=nn.Conv2d(3, 3, 3)))
    with pytest.raises(InputError, match=r"candidates: 'a' \(3 outputs\); 'out' comes after"):
        find_heads(net)


def test_a_usual_name_that_is_not_last_is_not_trusted() -> None:
    net = Odd()
    net.fc = nn.Linear(8, 7)
    net.embed = nn.Linear(7, 64)
    with pytest.raises(InputError, match=r"'fc' \(7 outputs\), 'embed' \(64 outputs\)"):
        find_heads(net)


def test_a_networks_own_num_classes_settles_it() -> None:
    net = Odd()
    net.embed = nn.Linear(5, 64)
    net.num_classes = 64
    assert find_heads(net) == ("embed",)
    net.num_classes = 3
    with pytest.raises(InputError, match="name it with head=PATH"):
        find_heads(net)


def test_networks_without_a_head_are_refused() -> None:
    with pytest.raises(InputError, match="no linear layer and no 1 x 1 convolution"):
        replace_head(nn.Sequential(nn.Conv2d(3, 3, 3)), 3)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        detector = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None
        )
    with pytest.raises(InputError, match="expected an image classifier, got SSD"):
        replace_head(detector, 3)
    with pytest.raises(UnknownNameError, match="unknown head 'score': did you mean 'scores'"):
        replace_head(Odd(), 3, head="score")
    with pytest.raises(InputError, match="'hidden' is a Tanh"):
        replace_head(nn.Sequential(OrderedDict(hidden=nn.Tanh())), 3, head="hidden")
