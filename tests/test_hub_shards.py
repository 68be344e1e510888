"""Weights of others: in several files with an index, and under other names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

import convzoo
from convzoo.errors import ConvzooError, CorruptWeightsError, InputError, WeightsError
from convzoo.hub import fetch, load, save, verify
from hub_helpers import REPO, cached_files, same, three
from hub_server import Fault, HubServer

pytest_plugins = ["hub_fixtures"]

INDEX = "model.safetensors.index.json"
ADDRESS = f"hf-hub:{REPO}"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A saved folder with its weights in two files, as transformers writes large networks."""
    folder = save(three(), tmp_path / "sharded")
    state = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number in (1, 2):
        name = f"model-{number:05}-of-00002.safetensors"
        part = {key: value for i, (key, value) in enumerate(state.items()) if i % 2 == number - 1}
        safetensors.torch.save_file(part, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index), "utf-8")
    return folder


def test_several_files_are_one_network(sharded: Path) -> None:
    assert same(load(sharded), three())
    assert load(sharded).labels == three().labels
    assert same(convzoo.models.cifar_resnet20(weights=str(sharded / INDEX)), three())
    assert [entry.status for entry in verify(sharded)] == ["ok"]


def in_index(folder: Path, **changes: object) -> None:
    index = json.loads((folder / INDEX).read_text("utf-8"))
    index["weight_map"] |= changes
    (folder / INDEX).write_text(json.dumps(index), "utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fc.bias": "../model.safetensors"}, "names of files beside it"),
        ({"fc.bias": 3}, "names of files beside it"),
        ({"fc.bias": "pytorch_model.bin"}, "names of files beside it"),
        ({"fc.bias": "model-00003.safetensors"}, "cannot be read: No such file"),
        ({"nothing": "model-00001-of-00002.safetensors"}, "nothing is not in model-00001"),
        (
            dict.fromkeys(("fc.bias", "fc.weight"), "model-00001-of-00002.safetensors"),
            r"is in model-00002-of-00002\.safetensors, it says model-00001",
        ),
    ],
    ids=["elsewhere", "number", "pickle", "missing", "more", "other"],
)
def test_an_index_that_lies(sharded: Path, changes: dict[str, object], message: str) -> None:
    in_index(sharded, **changes)
    with pytest.raises(WeightsError, match=message):
        load(sharded)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": 3}', "[" * 9**5]
)
def test_an_index_that_is_none(sharded: Path, text: str) -> None:
    (sharded / INDEX).write_text(text, "utf-8")
    with pytest.raises(WeightsError, match=INDEX):
        load(sharded)
    assert [entry.status for entry in verify(sharded)] == ["corrupt"]


def test_a_file_of_the_index_that_is_a_link_elsewhere(sharded: Path, tmp_path: Path) -> None:
    part = sharded / "model-00002-of-00002.safetensors"
    part.rename(tmp_path / "elsewhere.safetensors")
    part.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ConvzooError, match="a link out of the folder"):
        load(sharded)


def test_a_sharded_repository(
    hub: HubServer, sharded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, {path.name: path.read_bytes() for path in sharded.iterdir()})
    assert [entry.status for entry in verify(ADDRESS)] == ["missing"]
    assert same(load(ADDRESS), three())
    assert hub.count("GET", "safetensors") == 3  # the index and two files, once each
    assert same(load(ADDRESS), three())
    assert hub.count("GET", "safetensors") == 3
    assert [entry.status for entry in fetch(ADDRESS)] == ["ok"]
    assert [entry.status for entry in verify(ADDRESS)] == ["ok"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert same(load(ADDRESS), three())


def test_a_file_of_a_sharded_repository_that_changed_is_fetched_again(
    hub: HubServer, sharded: Path
) -> None:
    hub.add(REPO, {path.name: path.read_bytes() for path in sharded.iterdir()})
    load(ADDRESS)
    blob = max(cached_files(), key=lambda path: path.stat().st_size).resolve()
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert [entry.status for entry in verify(ADDRESS)] == ["corrupt"]
    assert same(load(ADDRESS), three())


def test_a_file_of_a_sharded_repository_that_arrives_damaged(hub: HubServer, sharded: Path) -> None:
    hub.add(REPO, {path.name: path.read_bytes() for path in sharded.iterdir()})
    hub.order(Fault("GET", "model-00002", flip_byte=True))
    with pytest.raises(CorruptWeightsError):
        load(ADDRESS)


def test_a_pickle_of_a_repository_is_fetched_once(
    hub: HubServer,
    saved_before: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.save(three().state_dict(), tmp_path / "net.bin")
    pickled = (tmp_path / "net.bin").read_bytes()
    hub.add(REPO, {"pytorch_model.bin": pickled, "config.json": saved_before["config.json"]})
    for offline in (False, False, True):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
        net = load(ADDRESS, allow_pickle=True)
        assert same(net, three())
        assert hub.count("GET", "pytorch_model.bin") == 1


def foreign(path: Path) -> Path:
    """A checkpoint as other people's code names its layers."""
    state = {
        key.replace("fc.", "linear.").replace("conv1.", "stem.0."): value
        for key, value in three().state_dict().items()
    }
    torch.save({"state_dict": state}, path)
    return path


RENAME = {"linear": "fc", "stem.0": "conv1"}


def test_a_checkpoint_with_other_names(tmp_path: Path) -> None:
    path = foreign(tmp_path / "net.pth")
    with pytest.raises(ConvzooError, match=r"linear\.weight"):
        load(path, architecture="cifar_resnet20", allow_pickle=True)
    net = load(path, architecture="cifar_resnet20", allow_pickle=True, rename=RENAME)
    assert same(net, three())


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ({"liner": "fc"}, "did you mean 'linear'"),
        ({"linear": "stem.0", "bn1": "stem.0"}, "would both be"),
        ({"linear": 3}, "rename: expected names by names"),
        ({"": "fc"}, "rename: expected names by names"),
        ({"inear": "fc"}, "unknown name in the file"),
    ],
)
def test_names_that_are_none(tmp_path: Path, rename: dict[str, str], message: str) -> None:
    path = foreign(tmp_path / "net.pth")
    with pytest.raises(InputError, match=message):
        load(path, architecture="cifar_resnet20", allow_pickle=True, rename=rename)


def test_names_can_be_exchanged(tmp_path: Path) -> None:
    exchange = {"bn1": "bn2", "bn2": "bn1"}
    state = {}
    for key, value in three().state_dict().items():
        parts = key.split(".")
        state[".".join(exchange.get(part, part) for part in parts)] = value
    safetensors.torch.save_file(state, tmp_path / "net.safetensors")
    net = load(tmp_path / "net.safetensors", architecture="cifar_resnet20", rename=exchange)
    assert same(net, three())
