"""New heads and lasting freezing on the networks of the zoo."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from contract_nets import ARCHITECTURES
from convzoo._heads import DropoutLinear
from convzoo.by_name import create_model
from convzoo.errors import InputError, UnknownNameError
from convzoo.models.resnet import BasicBlock, ResNet
from convzoo.transfer import find_heads, freeze, replace_head, report, unfreeze

FIRSTS = list({info.family: name for name, info in reversed(ARCHITECTURES.items())}.values())


def small(num_classes: int = 4) -> ResNet:
    return ResNet(BasicBlock, [1, 1, 1], widths=(4, 8, 16), stem="small", num_classes=num_classes)


def images(batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, 16, 16)


def state(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def changed(net: nn.Module, before: dict[str, Tensor]) -> set[str]:
    after = net.state_dict()
    assert after.keys() == before.keys()
    return {key for key, value in before.items() if not torch.equal(value, after[key])}


def train_a_step(net: nn.Module) -> None:
    net.train()
    trainable = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=0.1, weight_decay=0.1)
    nn.functional.cross_entropy(net(images()), torch.tensor([0, 1, 2])).backward()
    optimizer.step()


# The head.


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


# Freezing.


def test_a_step_changes_the_head_only() -> None:
    net = replace_head(small(), 3, freeze="backbone")
    before = state(net)
    train_a_step(net)
    assert changed(net, before) == {"fc.weight", "fc.bias"}


def test_up_to_a_stage_freezes_what_runs_before_it() -> None:
    net = replace_head(small(), 3, freeze="up_to:layer2")
    before = state(net)
    train_a_step(net)
    assert {key.partition(".")[0] for key in changed(net, before)} == {"layer3", "fc"}


def test_up_to_a_block_inside_a_stage() -> None:
    net = freeze(ResNet(BasicBlock, [3], widths=(4,), stem="small"), "up_to:layer1.1").train()
    assert [block.training for block in net.layer1] == [False, False, True]
    assert net.layer1.training  # it holds a block that trains


def test_requires_grad_alone_would_drift_and_freeze_does_not() -> None:
    by_hand, frozen = small(), freeze(small())
    for p in by_hand.parameters():
        p.requires_grad_(False)
    before = state(by_hand), state(frozen)
    by_hand.train()(images())
    frozen.train()(images())
    assert "bn1.running_mean" in changed(by_hand, before[0])
    assert changed(frozen, before[1]) == set()


def test_frozen_parts_stay_in_eval_through_eval_and_train() -> None:
    net = freeze(small(), "up_to:layer1")
    for mode in (True, False, True):
        net.train(mode)
        modes = {name: m.training for name, m in net.named_modules()}
        assert not any(on for name, on in modes.items() if name.startswith(("conv1", "layer1")))
        assert modes["layer2"] is modes["layer2.0.bn1"] is modes["fc"] is modes[""] is mode


def test_dropout_of_a_frozen_part_stays_off() -> None:
    net = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 2))
    freeze(net).train()
    x = torch.randn(2, 4)
    assert torch.equal(net(x), net(x))


def test_inputs_still_get_gradients() -> None:
    net = freeze(small()).train()
    x = images().requires_grad_()
    net(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for name, p in net.named_parameters() if not name.startswith("fc"))


def test_a_gradient_left_behind_does_not_move_what_is_frozen_later() -> None:
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0, weight_decay=0.1)
    net(images()).sum().backward()
    freeze(net)
    before = state(net)
    optimizer.step()
    assert changed(net, before) == {"fc.weight", "fc.bias"}


def test_freezing_adds_up_and_unfreezing_takes_away() -> None:
    net = freeze(freeze(small(), "layer3"), "up_to:layer1")
    assert report(net).trainable == ("layer2", "fc")
    assert report(unfreeze(net, "up_to:layer1")).frozen == ("layer3",)
    assert report(unfreeze(net)).frozen == ()
    assert all("train" not in m.__dict__ for m in net.modules())


def test_unfreezing_a_part_of_a_frozen_part() -> None:
    net = unfreeze(freeze(small()).train(), "layer3")
    assert net.layer3.training
    before = state(net)
    train_a_step(net)
    moved = changed(net, before)
    assert {key.partition(".")[0] for key in moved} == {"layer3", "fc"}
    assert "layer3.0.bn1.running_mean" in moved


def test_unfrozen_modules_take_the_mode_of_the_network() -> None:
    assert not unfreeze(freeze(small()).eval()).layer1.training
    assert unfreeze(freeze(small()).train()).layer1.training


def test_tied_parameters_freeze_together() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    net[1].weight = net[0].weight
    freeze(net, "0")
    assert not net[1].weight.requires_grad
    assert net[1].bias.requires_grad


@pytest.mark.parametrize("part", ["layr2", "up_to:layr2"])
@pytest.mark.parametrize("act", [freeze, unfreeze])
def test_unknown_parts_get_a_suggestion(act: Callable[..., nn.Module], part: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown stage 'layr2': did you mean 'layer"):
        act(small(), part)


# What must still work on a frozen network.


def test_deep_copies_are_frozen_by_themselves() -> None:
    net = freeze(small())
    twin = copy.deepcopy(net)
    unfreeze(net).train()
    twin.train()
    assert twin.bn1.__dict__["train"].args[0] is twin.bn1
    assert not twin.bn1.training
    assert net.bn1.training
    assert report(twin).trainable == ("fc",)


def test_pickles_are_frozen_by_themselves() -> None:
    net = freeze(small(), "up_to:layer2").eval()
    twin = pickle.loads(pickle.dumps(net))
    assert twin.train().layer2.__dict__["train"].args[0] is twin.layer2
    assert report(twin) == report(net)
    x = images()
    assert torch.equal(twin.eval()(x), net(x))


def test_the_state_dict_is_that_of_an_unfrozen_network() -> None:
    net = small()
    keys = list(net.state_dict())
    assert list(freeze(net).state_dict()) == keys
    net.load_state_dict(small().state_dict())
    net.load_state_dict(small().state_dict(), assign=True)
    assert report(net).trainable == ("fc",)


def test_to_another_dtype_and_device_stays_frozen() -> None:
    net = freeze(small()).double().to("meta").train()
    assert report(net).frozen == ("conv1", "bn1", "layer1", "layer2", "layer3")


def test_compiles_to_one_graph_and_freezes_through_the_wrapper() -> None:
    net = freeze(small(), "up_to:layer2").train()
    graphs = 0

    def count(graph: torch.fx.GraphModule, inputs: object) -> torch.fx.GraphModule:
        nonlocal graphs
        graphs += 1
        return graph

    compiled = torch.compile(net, backend=count, fullgraph=True)
    x = images()
    before = state(net)
    twin = copy.deepcopy(net)
    assert torch.allclose(compiled(x), twin(x), atol=1e-6)
    assert graphs == 1
    moved = {key.partition(".")[0] for key in changed(net, before)}
    assert moved == {"layer3"}  # running statistics of what is not frozen
    compiled.eval()
    compiled.train()
    assert not net.layer2.training
    assert freeze(compiled) is compiled
    assert report(compiled).trainable == ("fc",)
    assert replace_head(compiled, 9) is compiled
    assert net.num_classes == 9
    assert compiled(x).shape == (3, 9)
    torch.compiler.reset()


def test_exports() -> None:
    net = freeze(small()).eval()
    x = images()
    exported = torch.export.export(net, (x,)).module()
    assert torch.allclose(exported(x), net(x), atol=1e-6)


def test_wrappers_reach_it() -> None:
    net = freeze(small())
    wrapper = nn.DataParallel(net)
    wrapper.eval().train()
    assert not net.layer1.training
    assert net.fc.training
    assert report(wrapper).trainable == ("fc",)


@pytest.mark.parametrize("act", [freeze, unfreeze, lambda net: replace_head(net, 3)])
def test_wrapped_networks_are_refused(act: Callable[..., nn.Module]) -> None:
    with pytest.raises(InputError, match="then wrap"):
        act(nn.DataParallel(small()))


def test_replacing_the_head_again_keeps_the_rest_frozen() -> None:
    net = replace_head(small(), 3, freeze="backbone", dropout=0.1)
    replace_head(net, 5)
    assert report(net).trainable == ("fc",)
    assert net.num_classes == 5


def test_a_frozen_network_is_garbage_collected() -> None:
    """The mechanism makes a reference cycle, which the collector has to see through."""
    net = freeze(small())
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
