"""Lasting freezing on the networks of the zoo."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn

import convzoo
from convzoo.errors import InputError, UnknownNameError
from convzoo.models.resnet import BasicBlock, ResNet
from convzoo.transfer import freeze, replace_head, report, unfreeze
from small_net import changed, images, small, state, train_a_step


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


def test_what_others_thaw_trains_again_and_says_so_until_it_does() -> None:
    net = replace_head(convzoo.cifar_resnet20(), 2, freeze="backbone").train()
    net.requires_grad_(True)
    assert report(net).held[:2] == ("bn1", "layer1.0.bn1")
    assert "held in evaluation mode" in str(report(net))
    assert all(module.training for module in net.train().modules())
    assert report(net).held == report(net).drifting == ()
    net.requires_grad_(False)  # and what is frozen again is still again
    assert [name for name, m in net.train().named_modules() if m.training] == ["", "fc"]
    # One layer alone; what has no parameters waits for all of the part around it.
    net.layer3.requires_grad_(True)
    net.train()
    assert (net.layer2[0].bn1.training, net.layer3[0].bn1.training) == (False, True)
    assert report(net).trainable == ("layer3",)
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        copied.bn1.requires_grad_(True)
        assert (copied.train().bn1.training, net.train().bn1.training) == (True, False)


def test_dropout_without_parameters_of_its_own_follows_the_part_around_it() -> None:
    net = freeze(convzoo.vgg11(device="meta"), "backbone")
    first, second = net.classifier[2], net.classifier[5]
    assert report(net.train()).held == ()  # the head beside them was never frozen
    net.classifier[0].requires_grad_(True)
    assert not net.train().classifier[2].training
    assert not second.training
    assert report(net).held == ("classifier.2", "classifier.5")
    net.requires_grad_(True).train()
    assert first.training
    assert second.training


def test_several_stages_at_once_and_everything() -> None:
    net = freeze(convzoo.cifar_resnet20(), ["layer1", "layer3"]).train()
    assert report(net).frozen == ("layer1", "layer3")
    assert [net.layer1.training, net.layer2.training] == [False, True]
    assert report(unfreeze(net, ("layer1", "layer3"))).frozen == ()
    assert report(freeze(net, "all")).trainable == ()
    assert not any(module.training for module in net.train().modules())
    assert report(unfreeze(net)).frozen == ()
    net = replace_head(net, 3, freeze=["conv1", "bn1"])
    assert report(net).frozen == ("conv1", "bn1")
    with pytest.raises(convzoo.InputError, match=r'expected "backbone", "all".*got \[\]'):
        freeze(net, [])


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


def test_a_frozen_network_is_garbage_collected() -> None:
    """The mechanism makes a reference cycle, which the collector has to see through."""
    net = freeze(small())
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
