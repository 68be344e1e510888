"""New heads on the networks of the zoo, and what they leave frozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contract_nets import ARCHITECTURES
from convzoo._heads import DropoutLinear
from convzoo.by_name import create_model
from convzoo.errors import InputError
from convzoo.transfer import find_heads, freeze, replace_head, report, unfreeze
from small_net import changed, images, small, state

FIRSTS = list({info.family: name for name, info in reversed(ARCHITECTURES.items())}.values())


def test_same_object_new_head_everything_else_kept() -> None:
    net = small()
    before = state(net)
    same = replace_head(net, 7)
    assert same is net
    assert net.num_classes == 7
    assert net.eval()(images()).shape == (3, 7)
    after = net.state_dict()
    for key, value in before.items():
        if not key.startswith("fc."):
            assert torch.equal(after[key], value), key
    assert all(p.requires_grad for p in net.parameters())


def test_labels_are_kept_and_counted() -> None:
    net = replace_head(small(), 2, labels=["cat", "dog"])
    assert net.labels == ("cat", "dog")
    assert replace_head(net, 2).labels is None  # old names would be wrong for new classes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes: expected an integer from 1 to 1048576, got 0"),
        ({"num_classes": 3, "dropout": 1.0}, "dropout: expected a probability"),
        ({"num_classes": 3, "labels": ["a", "b"]}, "each of the 3 classes, got 2"),
        ({"num_classes": 3, "labels": "abc"}, "got the string 'abc'"),
        ({"num_classes": 3, "freeze": "up_to:layer9"}, "did you mean 'layer"),
        ({"num_classes": 3, "freeze": 3}, 'freeze: expected "backbone"'),
        ({"num_classes": 3, "head": "conv1"}, "knows its own heads"),
    ],
)
def test_refused_arguments_change_nothing(arguments: dict[str, object], message: str) -> None:
    net = small()
    before = state(net)
    with pytest.raises(InputError, match=message):
        replace_head(net, **arguments)
    assert net.num_classes == 4
    assert changed(net, before) == set()
    assert all(p.requires_grad for p in net.parameters())


def test_dropout_in_front_of_the_new_head_works_in_training_only() -> None:
    net = replace_head(small(), 3, freeze="backbone", dropout=0.5)
    assert isinstance(net.fc, DropoutLinear)
    x = images()
    net.eval()
    assert torch.equal(net(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))


@pytest.mark.parametrize("name", FIRSTS)
def test_backbone_means_all_but_the_last_layers(name: str) -> None:
    with torch.device("meta"):
        net = create_model(name)
    replace_head(net, 7, freeze="backbone")
    heads = tuple(net.head_paths())
    trainable = {name for name, p in net.named_parameters() if p.requires_grad}
    assert trainable == {f"{head}.{p}" for head in heads for p in ("weight", "bias")}
    assert net.num_classes == 7
    record = report(net)
    assert record.drifting == ()
    assert record.trainable_parameters == sum(
        p.numel() for p in net.parameters() if p.requires_grad
    )
    assert record.parameters == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", FIRSTS)
def test_up_to_every_stage_of_every_family(name: str) -> None:
    """Each stage freezes at least what the one before it froze, and never a head."""
    with torch.device("meta"):
        net = create_model(name)
    frozen: list[set[str]] = [set()]
    for stage in net.stages:
        if name == "linear_classifier":  # nothing but a head
            with pytest.raises(InputError, match=r"up_to:pixels.*holds no parameters"):
                freeze(net, f"up_to:{stage.name}")
            return
        freeze(unfreeze(net), f"up_to:{stage.name}")
        frozen.append({name for name, p in net.named_parameters() if not p.requires_grad})
        assert frozen[-1] >= frozen[-2]
        assert not net.get_submodule(stage.module).train().training
        assert all(p.requires_grad for h in net.head_paths() for p in heads_of(net, h))
    heads = tuple(net.head_paths())
    body = [name for name, _ in net.named_parameters() if not name.startswith(heads)]
    assert body[0] in frozen[1]
    assert frozen[-1] <= set(body)


def heads_of(net: nn.Module, path: str) -> list[nn.Parameter]:
    return list(net.get_submodule(path).parameters())


@pytest.mark.parametrize("name", ["googlenet", "googlenet_2014", "inception_v3"])
def test_auxiliary_heads_change_too_and_are_not_frozen(name: str) -> None:
    with torch.device("meta"):
        net = create_model(name, aux_heads=True)
        outputs = replace_head(net, 5, freeze="backbone").train()(torch.zeros(2, 3, 299, 299))
    assert [tuple(scores.shape) for scores in outputs] == [(2, 5)] * len(find_heads(net))
    assert len(find_heads(net)) > 1
    assert set(report(net).trainable) == set(find_heads(net))


def test_replacing_the_head_again_keeps_the_rest_frozen() -> None:
    net = replace_head(small(), 3, freeze="backbone", dropout=0.1)
    replace_head(net, 5)
    assert report(net).trainable == ("fc",)
    assert net.num_classes == 5
