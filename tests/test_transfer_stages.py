"""Freezing by a stage's name: a stage is the layers that make its map, not the last of them."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from contract_nets import CLASSES, images
from convzoo._classifier import Classifier
from convzoo.by_name import create_model
from convzoo.errors import InputError
from convzoo.transfer import freeze, param_groups, replace_head, report, unfreeze


def on_meta(name: str, **options: object) -> Classifier:
    return create_model(name, device="meta", **options)


def frozen(net: nn.Module) -> set[str]:
    return {name for name, p in net.named_parameters() if not p.requires_grad}


def running_in_each_stage(net: Classifier) -> list[set[str]]:
    """The parameters of what runs after the module of the stage before, up to and with its own."""
    ran: list[set[str]] = [set()]
    ends = {stage.module for stage in net.stages}

    def hook(path: str, module: nn.Module) -> None:
        ran[-1].update(f"{path}.{name}" for name, _ in module.named_parameters(recurse=False))
        if path in ends:
            ran.append(set())

    for path, module in net.named_modules():
        module.register_forward_hook(lambda m, *_, path=path: hook(path, m))
    net.eval()(images(net))
    return ran[:-1]


@pytest.mark.parametrize("name", CLASSES)
def test_every_stage_of_every_class_freezes_and_thaws_its_layers(name: str) -> None:
    so_far: set[str] = set()
    for stage, layers in zip(
        on_meta(name).stages, running_in_each_stage(on_meta(name)), strict=True
    ):
        net = on_meta(name)
        if not layers:
            for act in (freeze, unfreeze):
                with pytest.raises(InputError, match=f"part: '{stage.name}' of .* no parameters"):
                    act(net, stage.name)
            assert frozen(net) == set()
        else:
            own = frozen(freeze(net, stage.name))
            assert own == layers
            assert not own & so_far  # no parameter is in two stages
            so_far |= own
            thawed = unfreeze(freeze(on_meta(name)), stage.name)
            assert own == frozen(freeze(on_meta(name))) - frozen(thawed)
            assert not net.train().get_submodule(stage.module).training
            assert thawed.train().get_submodule(stage.module).training
        if so_far:  # up to a stage is that stage and all before it
            up_to = freeze(on_meta(name), f"up_to:{stage.name}")
            assert frozen(up_to) == so_far
            assert frozen(unfreeze(up_to, f"up_to:{stage.name}")) == set()
        else:
            with pytest.raises(InputError, match="holds no parameters"):
                freeze(net, f"up_to:{stage.name}")


@pytest.mark.parametrize("name", CLASSES)
def test_stages_are_the_blocks_of_param_groups(name: str) -> None:
    for stage in on_meta(name).stages:
        net = on_meta(name)
        groups = [g for g in param_groups(net, 0.1) if g.name.partition(".")[0] == stage.name]
        grouped = {id(p) for group in groups for p in group.params}
        if grouped:
            freeze(net, stage.name)
            # A norm after the last stage has no group of its own, and belongs to no stage.
            block = {k for k, p in net.named_parameters() if id(p) in grouped}
            assert frozen(net) == block - {"bn_last.weight", "bn_last.bias"}


@pytest.mark.parametrize(
    ("name", "stage", "layers"),
    [
        ("vgg11", "block1", ("features.0",)),
        ("vgg11", "block3", ("features.6", "features.8")),
        ("alexnet", "conv1", ("features.0",)),
        ("alexnet_2012", "conv1", ("conv1",)),
        ("lenet5", "conv1", ("conv1",)),
        ("cifar_resnet20", "stem", ("conv1", "bn1")),
        ("resnet18", "layer2", ("layer2",)),
    ],
)
def test_what_a_stage_freezes(name: str, stage: str, layers: tuple[str, ...]) -> None:
    assert report(freeze(on_meta(name), stage)).frozen == layers


def test_the_last_stage_of_a_frozen_vgg_trains_again() -> None:
    net = unfreeze(freeze(on_meta("vgg11")), "block5")
    assert report(net).trainable == ("features.16", "features.18", "classifier.6")
    net.train()
    assert [net.features[i].training for i in (14, 15, 16, 20)] == [False, False, True, True]


def test_the_last_stage_does_not_take_the_auxiliary_head_with_it() -> None:
    net = freeze(on_meta("inception_v3", aux_heads=True), "Mixed_7c")
    assert not [key for key in frozen(net) if key.startswith(("AuxLogits", "fc"))]
    assert len(frozen(net)) == 72


# Counted from the definitions: a GoogLeNet head is a convolution and two linear layers,
# Inception-v3's two convolutions with batch normalisation and one linear layer.
@pytest.mark.parametrize(
    ("name", "heads", "count"),
    [
        ("googlenet", ("aux1", "aux2"), 2 * (3 + 4)),
        ("googlenet_2014", ("aux1", "aux2"), 2 * 6),
        ("inception_v3", ("AuxLogits",), 6 + 2),
    ],
)
def test_auxiliary_heads_train_wherever_the_main_head_does(
    name: str, heads: tuple[str, ...], count: int
) -> None:
    plain = on_meta(name)
    for stage in plain.stages:
        net = freeze(on_meta(name, aux_heads=True), f"up_to:{stage.name}").train()
        assert frozen(net) == frozen(freeze(on_meta(name), f"up_to:{stage.name}"))
        parts = [net.get_submodule(head) for head in heads]
        assert sum(len(list(part.parameters())) for part in parts) == count
        assert all(module.training for part in parts for module in part.modules())
    # Without a stage it is each head's last layer that trains.
    assert report(freeze(on_meta(name, aux_heads=True))).trainable == tuple(
        path for path, _ in net.named_modules() if path in set(net.head_paths())
    )


def test_layers_of_an_auxiliary_head_freeze_when_they_are_named() -> None:
    net = freeze(on_meta("inception_v3", aux_heads=True), "up_to:AuxLogits.conv0")
    assert {k for k in frozen(net) if k.startswith("Aux")} == {
        f"AuxLogits.conv0.{key}" for key in ("conv.weight", "bn.weight", "bn.bias")
    }


def test_an_auxiliary_head_of_torchvisions_trains_with_the_main_one() -> None:
    with torch.device("meta"):
        net = torchvision.models.inception_v3(init_weights=False)
    freeze(net, "up_to:Mixed_7c")
    assert not [key for key in frozen(net) if key.startswith(("AuxLogits", "fc"))]
    assert "Mixed_7c.branch1x1.conv.weight" in frozen(net)


def test_a_container_of_several_stages_follows_train() -> None:
    net = freeze(on_meta("vgg11"), "block1").train()
    assert net.features.training
    assert not net.features[0].training
    assert not net.features[2].training


def test_parts_without_parameters_are_refused() -> None:
    net = nn.Sequential(
        nn.ReLU(), nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False), nn.Linear(3, 2)
    )
    for part in ("0", "up_to:0"):
        with pytest.raises(InputError, match=f"part: '{part}' of Sequential holds no parameters"):
            freeze(net, part)
    # Running statistics are something to hold still.
    freeze(net, "2").train()(torch.randn(4, 3))
    assert torch.equal(net[2].running_mean, torch.zeros(3))


def test_a_network_that_is_all_head_has_an_empty_backbone() -> None:
    net = replace_head(on_meta("linear_classifier"), 3, freeze="backbone")
    assert report(net).trainable == ("fc",)
