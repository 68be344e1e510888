"""Keeping a network and getting it back: the round trip, other heads and channels, builders."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import convzoo
from convzoo import models, presets
from convzoo.errors import (
    CheckpointError,
    InputError,
    UnknownNameError,
    WeightsError,
)
from convzoo.hub import load, save
from hub_helpers import edited, same, three

WEIGHTS = "model.safetensors"


# The round trip.


def test_everything_comes_back(tmp_path: Path) -> None:
    net = models.resnet18(num_classes=4, in_channels=2, stem="small", shortcut="A")
    net.labels = ("ä", 'b"', "c\n", "d")
    net.preset = presets.CIFAR10.replace(channels=2, mean=(0.1, 0.2), std=(0.3, 1 / 3))
    net.reset_head(4, dropout=0.25)
    net.labels = ("ä", 'b"', "c\n", "d")
    back = load(save(net, tmp_path / "net"))
    assert type(back) is type(net)
    assert same(back, net)
    for name in ("architecture", "options", "num_classes", "in_channels", "labels", "preset"):
        assert getattr(back, name) == getattr(net, name), name
    head = back.get_submodule(back.head_path)
    assert getattr(head, "p", None) == 0.25
    x = torch.randn(2, 2, 16, 16)
    assert torch.allclose(back.eval()(x), net.eval()(x), atol=1e-5)


@pytest.mark.parametrize(
    "name", ["vgg11", "alexnet", "googlenet", "inception_v3", "resnet18", "cifar_preact110"]
)
def test_every_family_comes_back(tmp_path: Path, name: str) -> None:
    net = convzoo.create_model(name, num_classes=2)
    assert same(load(save(net, tmp_path / "net")), net)


def test_auxiliary_heads_come_back_and_are_dropped_unless_asked_for(tmp_path: Path) -> None:
    net = models.googlenet(num_classes=2, aux_heads=True)
    folder = save(net, tmp_path / "net")
    assert same(load(folder), net)
    plain = models.googlenet(weights=str(folder))
    assert "aux1.conv.conv.weight" not in plain.state_dict()
    assert torch.equal(plain.fc.weight, net.fc.weight)


def test_auxiliary_heads_that_the_file_lacks_are_fresh(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net = models.googlenet(num_classes=2)
    folder = save(net, tmp_path / "net")
    with caplog.at_level(logging.INFO, "convzoo"):
        back = models.googlenet(weights=str(folder), aux_heads=True)
    assert torch.equal(back.fc.weight, net.fc.weight)
    assert back.get_parameter("aux1.fc2.weight").std() > 0
    assert [r.getMessage() for r in caplog.records if "auxiliary" in r.getMessage()]


def test_a_folder_holds_three_files_and_keeps_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "net"
    save(three(), folder)
    (folder / "plots").mkdir()
    (folder / "plots" / "curve.png").write_bytes(b"png")
    (folder / "link").symlink_to("plots")
    save(three(1), folder)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert names == [
        "README.md", "config.json", "link", "model.safetensors", "plots", "plots/curve.png"
    ]  # fmt: skip
    assert (folder / "link").is_symlink()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["net"]


def test_saving_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    save(three(), tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    save(three(1), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert same(load(tmp_path / "real"), three(1))


def test_without_an_exchange_files_are_replaced_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convzoo.hub import _folder

    monkeypatch.setattr(_folder, "_exchange", lambda one, other: False)
    folder = save(three(), tmp_path / "net")
    save(three(1), folder)
    assert same(load(folder), three(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net"]


def test_files_of_two_saves_do_not_pass_for_one(tmp_path: Path) -> None:
    one, other = save(three(), tmp_path / "one"), save(three(1), tmp_path / "other")
    (other / "config.json").replace(one / "config.json")
    with pytest.raises(CheckpointError, match="two different saves"):
        load(one)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    own = models.ResNet(models.BasicBlock, [1, 1], widths=(4, 8), stem="small", num_classes=2)
    with pytest.raises(InputError, match="not made by one of convzoo's builders"):
        save(own, tmp_path / "net")
    with pytest.raises(InputError, match="builders"):
        save(nn.Linear(1, 1), tmp_path / "net")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="meta device"):
        save(models.resnet18(device="meta"), tmp_path / "net")
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "net"):
        with pytest.raises(WeightsError, match="cannot be saved"):
            save(three(), place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_not_a_saved_network(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"it has no config\.json"):
        load(tmp_path)
    folder = save(three(), tmp_path / "net")
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"it has no model\.safetensors"):
        load(folder)
    with pytest.raises(WeightsError, match=r"no file or folder \./nothing"):
        load("./nothing")


# Another head, another first convolution.


def test_other_classes_keep_the_backbone_and_say_so_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save(three(), tmp_path / "net")
    with caplog.at_level(logging.INFO, "convzoo"):
        net = models.cifar_resnet20(weights=str(folder), num_classes=5)
    (record,) = caplog.records
    assert record.getMessage().endswith(
        "net: 5 classes instead of the weights' 3: the head is fresh"
    )
    state, old = net.state_dict(), three().state_dict()
    assert all(torch.equal(state[key], old[key]) for key in old if not key.startswith("fc."))
    assert state["fc.weight"].shape == (5, 64)
    assert state["fc.weight"].std() > 0
    assert net.labels is None
    assert load(folder, num_classes=3).labels == ("ant", "bee", "cow")


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6, 13])
def test_other_channels_answer_a_grey_image_as_before(tmp_path: Path, channels: int) -> None:
    torch.manual_seed(0)
    net = three().eval()
    other = load(save(net, tmp_path / "net"), in_channels=channels).eval()
    grey = torch.randn(2, 1, 16, 16)
    expected = net(grey.expand(-1, 3, -1, -1))
    assert torch.allclose(other(grey.expand(-1, channels, -1, -1)), expected, atol=1e-5)
    assert other.in_channels == channels
    assert other.preset is not None
    assert other.preset.channels == channels


def test_grey_weights_are_summed_and_more_channels_repeat() -> None:
    weight = torch.arange(6.0).reshape(2, 3, 1, 1)
    adapt = convzoo.hub.adapt_first_convolution
    assert adapt(weight, 1).flatten().tolist() == [3.0, 12.0]
    assert adapt(weight, 4).flatten().tolist() == [0.0, 1.0, 2.0, 0.0, 1.5, 4.0, 5.0, 1.5]
    assert torch.equal(adapt(weight, 3), weight)
    assert adapt(torch.ones(1, 1, 1, 1), 3).flatten().tolist() == pytest.approx([1 / 3] * 3)


def test_the_preset_follows_the_channels(tmp_path: Path) -> None:
    folder = save(three(), tmp_path / "net")
    grey, five = load(folder, in_channels=1).preset, load(folder, in_channels=5).preset
    assert grey is not None
    assert five is not None
    assert grey.mean == pytest.approx([(0.4914 + 0.4822 + 0.4465) / 3])
    assert five.mean == (0.4914, 0.4822, 0.4465, 0.4914, 0.4822)


# Builders.


def test_a_builder_takes_folders_files_and_checks_what_they_are(tmp_path: Path) -> None:
    folder = save(three(), tmp_path / "net")
    assert same(models.cifar_resnet20(weights=str(folder)), three())
    assert same(models.cifar_resnet20(weights=str(folder / WEIGHTS)), three())
    with pytest.raises(CheckpointError, match="weights of cifar_resnet20, not of resnet18"):
        models.resnet18(weights=str(folder))
    with pytest.raises(UnknownNameError, match="did you mean 'a1_in1k'"):
        models.resnet50(weights="a1_in1")


def test_a_builder_is_told_which_options_the_weights_need(tmp_path: Path) -> None:
    folder = save(models.resnet18(num_classes=2, stem="small", inplace=False), tmp_path / "net")
    with pytest.raises(CheckpointError, match=r"resnet18\(stem='small'\); pass that"):
        models.resnet18(weights=str(folder))
    assert models.resnet18(weights=str(folder), stem="small").num_classes == 2


def test_a_plain_torchvision_checkpoint_loads(tmp_path: Path) -> None:
    import torchvision

    theirs = torchvision.models.resnet18(num_classes=7)
    path = tmp_path / "resnet18.safetensors"
    safetensors.torch.save_file(theirs.state_dict(), path)
    assert same(models.resnet18(weights=str(path)), theirs)
    with pytest.raises(WeightsError, match="nothing says which network this is"):
        load(path)
    assert same(load(path, architecture="resnet18"), theirs)


def test_a_file_without_a_head_needs_a_number_of_classes(tmp_path: Path) -> None:
    folder = save(three(), tmp_path / "net")
    state = safetensors.torch.load((folder / WEIGHTS).read_bytes())  # not mapped: it is rewritten
    body = {key: value for key, value in state.items() if not key.startswith("fc.")}
    safetensors.torch.save_file(body, folder / WEIGHTS)
    edited(folder, lambda c: (c.update(num_classes=0), c.pop("label_names")))
    with pytest.raises(InputError, match="has no head: num_classes is needed"):
        load(folder)
    net = load(folder, num_classes=8)
    assert torch.equal(net.state_dict()["conv1.weight"], state["conv1.weight"])
    assert net.get_parameter("fc.weight").shape == (8, 64)
    assert net.get_parameter("fc.weight").std() > 0
