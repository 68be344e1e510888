"""Keeping a network and getting it back: the round trip, other heads and channels, builders."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import convzoo
from convzoo import models, presets
from convzoo.errors import (
    CheckpointError,
    CorruptWeightsError,
    InputError,
    UnknownNameError,
    WeightsError,
)
from convzoo.hub import load, save, verify
from hub_helpers import as_before, edited, same, three

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


def test_saving_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "history.json").write_text("[]")
    for seed in (0, 1):
        save(three(seed), ".")
        assert same(load("."), three(seed))
    assert sorted(path.name for path in Path().iterdir()) == [
        "README.md", "config.json", "history.json", "model.safetensors"
    ]  # fmt: skip


def test_files_follow_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    folder = save(three(), tmp_path / "net")
    assert {path.stat().st_mode for path in folder.iterdir()} == {
        (tmp_path / "plain").stat().st_mode
    }


def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    folder = save(three(), tmp_path / "net")
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    with pytest.raises(InputError, match=r"net holds config\.json of somebody else"):
        save(three(1), folder)
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", WEIGHTS]
    assert same(load(folder), three())


@pytest.mark.parametrize("name", ["README.md", "config.json", WEIGHTS])
def test_files_of_somebody_else_are_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=rf"holds {re.escape(name)} of somebody else"):
        save(three(), tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["{}"]


def test_a_file_that_is_a_link_is_replaced(tmp_path: Path) -> None:
    folder = save(three(), tmp_path / "net")
    card = (folder / "README.md").rename(tmp_path / "elsewhere").read_text()
    (folder / "README.md").symlink_to(tmp_path / "elsewhere")
    net = three(1)
    net.labels = None
    save(net, folder)
    assert (tmp_path / "elsewhere").read_text() == card
    assert (folder / "README.md").read_text() != card
    assert not (folder / "README.md").is_symlink()


def test_the_weights_file_alone_is_enough_and_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = save(three(), tmp_path / "one"), save(three(1), tmp_path / "other")
    net = three(1)
    net.labels = ("x", "y", "z")
    save(net, other)
    load(one)
    assert caplog.records == []
    (other / "config.json").replace(one / "config.json")
    back = load(one)
    assert back.labels == ("ant", "bee", "cow")
    assert same(back, three())
    assert "disagree on labels, sha256; the weights file counts" in caplog.text
    (one / "config.json").unlink()
    assert load(one).labels == load(one / WEIGHTS).labels == ("ant", "bee", "cow")


def test_a_folder_of_before_loads_and_files_of_two_of_its_saves_do_not_pass_for_one(
    tmp_path: Path,
) -> None:
    one = as_before(save(three(), tmp_path / "one"))
    other = as_before(save(three(1), tmp_path / "other"), "2")
    back = load(one)
    assert same(back, three())
    assert back.labels == ("ant", "bee", "cow")
    assert load(save(back, tmp_path / "new")).labels == back.labels
    (other / "config.json").replace(one / "config.json")
    with pytest.raises(CheckpointError, match="two different saves"):
        load(one)
    (one / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"it has no config\.json"):
        load(one)


@pytest.mark.parametrize("old", [False, True])
def test_a_flipped_byte_is_found_where_it_is_looked_for(
    tmp_path: Path, old: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save(three(), tmp_path / "net")
    if old:
        as_before(folder)
    assert same(load(folder, verify="always"), three())
    assert ("no hash to verify it by" in caplog.text) is old
    assert [entry.status for entry in verify(folder)] == ["ok"]
    data = (folder / WEIGHTS).read_bytes()
    for place in (data.index(b"bee"), len(data) - 5) if not old else ():
        changed = bytearray(data)
        changed[place] ^= 1
        (folder / WEIGHTS).write_bytes(changed)
        load(folder)
        for name in (folder, folder / WEIGHTS):
            with pytest.raises(CorruptWeightsError, match="damaged"):
                load(name, verify="always")
            assert [entry.status for entry in verify(str(name))] == ["corrupt"]
    (folder / WEIGHTS).unlink()
    assert [entry.status for entry in verify([str(folder)])] == ["missing"]
    with pytest.raises(InputError, match=r"verify: expected one of .*'always'.*, got 'never'"):
        load(folder, verify="never")  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["alexnet_2012", "cifar2_cnn", "cifar_plain20", "resnet18"])
def test_outputs_are_the_saved_ones_to_the_bit(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    net = convzoo.create_model(name, num_classes=7).eval()
    back = load(save(net, tmp_path / "net")).eval()
    assert all(t.data_ptr() % 64 == 0 for t in back.state_dict().values())
    side = max(net.min_size, 32)
    for count in (1, 2, 3, 8):
        x = torch.randn(count, net.in_channels, side, side)
        assert torch.equal(back(x), net(x))


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
    with pytest.raises(CheckpointError, match=r"it has no model\.safetensors"):
        load(tmp_path)
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


def test_a_file_without_a_head(tmp_path: Path) -> None:
    folder = save(three(), tmp_path / "net")
    state = safetensors.torch.load((folder / WEIGHTS).read_bytes())  # not mapped: it is rewritten
    body = {key: value for key, value in state.items() if not key.startswith("fc.")}
    safetensors.torch.save_file(body, folder / WEIGHTS)
    edited(folder, lambda c: (c.update(num_classes=0), c.pop("label_names")))
    net = load(folder)
    assert (net.num_classes, net(torch.zeros(1, 3, 16, 16)).shape) == (0, (1, 64))
    net = load(folder, num_classes=8)
    assert torch.equal(net.state_dict()["conv1.weight"], state["conv1.weight"])
    assert net.get_parameter("fc.weight").shape == (8, 64)
    assert net.get_parameter("fc.weight").std() > 0
