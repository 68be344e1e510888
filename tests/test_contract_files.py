"""What every network promises once it leaves the process: kept, loaded, given a head."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import convzoo
from contract_nets import FIRSTS_TO_KEEP, build, images

pytestmark = pytest.mark.usefixtures("narrow_alexnets")


@pytest.mark.parametrize("name", FIRSTS_TO_KEEP)
def test_save_and_load_are_exact(name: str, tmp_path: Path) -> None:
    net = build(name)
    net.labels = tuple("abcdefg")
    convzoo.save(net, tmp_path / "kept")
    again = convzoo.load(tmp_path / "kept").eval()
    assert type(again) is type(net)
    assert (again.architecture, again.options) == (net.architecture, net.options)
    assert (again.labels, again.preset) == (net.labels, net.preset)
    kept = net.state_dict()
    assert list(again.state_dict()) == list(kept)
    assert all(torch.equal(value, kept[key]) for key, value in again.state_dict().items())
    # Weights mapped from a file lie elsewhere in memory, where a kernel may sum in another order.
    x = images(net)
    torch.testing.assert_close(again(x), net(x), rtol=1e-4, atol=1e-5)
    # Loaded networks are ordinary ones: they train, and the file stays as it is.
    before = (tmp_path / "kept" / "model.safetensors").read_bytes()
    again.train()(images(net, batch=4)).sum().backward()
    torch.optim.SGD(again.parameters(), 0.1).step()
    assert not all(torch.equal(value, kept[key]) for key, value in again.state_dict().items())
    assert (tmp_path / "kept" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", FIRSTS_TO_KEEP)
def test_a_new_head_on_a_frozen_backbone(name: str) -> None:
    net = build(name)
    before = copy.deepcopy(net.state_dict())
    same = convzoo.replace_head(net, 3, freeze="backbone", labels=["a", "b", "c"])
    assert same is net
    assert (net.num_classes, net.labels) == (3, ("a", "b", "c"))
    net.train()
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    nn.functional.cross_entropy(net(images(net, batch=3)), torch.tensor([0, 1, 2])).backward()
    optimizer.step()
    head = tuple(f"{path}." for path in net.head_paths())
    for key, value in net.state_dict().items():
        if not key.startswith(head):
            assert torch.equal(value, before[key]), key
    assert convzoo.report(net).drifting == ()


@pytest.mark.parametrize("name", FIRSTS_TO_KEEP)
def test_a_new_head_with_dropout_is_kept(name: str, tmp_path: Path) -> None:
    net = convzoo.replace_head(build(name), 3, dropout=0.25)
    convzoo.save(net, tmp_path / "kept")
    again = convzoo.load(tmp_path / "kept")
    head = again.get_submodule(again.head_path)
    assert (again.num_classes, head.p) == (3, 0.25)
    kept = net.state_dict()
    assert all(torch.equal(value, kept[key]) for key, value in again.state_dict().items())
    assert list(again.state_dict()) == list(convzoo.create_model(name, device="meta").state_dict())
