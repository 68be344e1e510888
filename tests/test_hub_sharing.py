"""The Hub: loading, pushing, the cache, the model card."""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import safetensors.torch
import torch

import convzoo
import processes
from convzoo import models
from convzoo.errors import (
    InputError,
    UnknownNameError,
    WeightsError,
)
from convzoo.hub import fetch, load, push, save, verify
from hub_helpers import REPO, cached_files, same, three
from hub_server import Fault, HubServer

pytest_plugins = ["hub_fixtures"]

WEIGHTS = "model.safetensors"


# The Hub.


def test_a_repository_loads_with_all_that_belongs_to_it(
    hub: HubServer, saved: dict[str, bytes]
) -> None:
    commit = hub.add(REPO, saved)
    net = load(f"hf-hub:{REPO}")
    assert [path for method, path in hub.requests if path.endswith("config.json")] == []
    assert same(net, three())
    assert net.labels == ("ant", "bee", "cow")
    assert net.provenance["revision"] == commit
    assert same(models.cifar_resnet20(weights=f"hf-hub:{REPO}@{commit}"), three())


def test_a_repository_of_timm_loads(hub: HubServer, tmp_path: Path) -> None:
    import timm
    from timm.models import save_for_hf

    theirs = timm.create_model("resnet18", num_classes=3)
    save_for_hf(theirs, str(tmp_path / "theirs"), safe_serialization=True)
    hub.add("timm/net", {p.name: p.read_bytes() for p in (tmp_path / "theirs").iterdir()})
    net = load("hf-hub:timm/net").eval()
    x = torch.randn(1, 3, 64, 64)
    assert torch.allclose(net(x), theirs.eval()(x), atol=1e-5)


def test_a_branch_and_a_subclass(hub: HubServer, saved: dict[str, bytes]) -> None:
    hub.add(REPO, saved)
    hub.repositories[REPO].commit(saved, "v1.0")
    net = models.ResNet.from_pretrained(REPO, revision="v1.0")
    assert not net.training
    assert same(net, three())
    with pytest.raises(InputError, match="is a ResNet, not a VGG"):
        models.VGG.from_pretrained(REPO)


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the client's library
def test_pushed_and_loaded_by_its_commit(hub: HubServer) -> None:
    net = three()
    commit = push(
        net,
        "me/ants",
        private=True,
        token=hub.TOKEN,
        licence="mit",
        dataset="insects",
        metrics={"accuracy": 0.975},
    )
    assert hub.repositories["me/ants"].private
    card = hub.repositories["me/ants"].commits[commit]["README.md"].decode()
    assert 'license: "mit"' in card
    assert "hf-hub:me/ants" in card
    assert same(load(f"hf-hub:me/ants@{commit}", token=hub.TOKEN), net)
    net.push_to_hub("me/ants", token=hub.TOKEN)
    assert hub.count("POST", "/api/models/me/ants/commit/main") == 2


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the client's library
def test_the_arguments_of_other_hub_models(hub: HubServer, tmp_path: Path) -> None:
    # huggingface_hub.PyTorchModelHubMixin's.
    net, token = three(), hub.TOKEN
    with pytest.raises(InputError, match="repo_id: expected owner/name"):
        net.save_pretrained(tmp_path / "net", push_to_hub=True)
    assert not (tmp_path / "net").exists()
    assert net.save_pretrained(tmp_path / "net") is None
    assert hub.requests == []
    first = net.save_pretrained(
        tmp_path / "net", push_to_hub=True, repo_id="me/ants", private=True, token=token
    )
    repository = hub.repositories["me/ants"]
    assert (repository.private, repository.refs["main"]) == (True, first)
    second = three(1).push_to_hub("me/ants", commit_message="Other", branch="dev", token=token)
    assert hub.messages == ["Add cifar_resnet20 with 3 classes", "Other"]
    assert repository.refs == {"main": first, "dev": second}
    pull = three(2).push_to_hub("me/ants", create_pr=True, token=token)
    assert repository.refs == {"main": first, "dev": second, "refs/pr/1": pull}
    options = {"token": token, "cache_dir": tmp_path / "cache"}
    back = convzoo.Classifier.from_pretrained("me/ants", revision="dev", **options)
    assert same(back, three(1))
    assert same(convzoo.Classifier.from_pretrained(f"hf-hub:me/ants@{pull}", **options), three(2))
    assert (tmp_path / "cache" / "models--me--ants").is_dir()
    assert cached_files() == []  # nothing in the usual place
    with pytest.raises(WeightsError, match="private"):
        convzoo.Classifier.from_pretrained("me/ants", token=False)


def test_without_the_hub_and_by_force(hub: HubServer, saved: dict[str, bytes]) -> None:
    hub.add(REPO, saved)
    get = convzoo.Classifier.from_pretrained
    with pytest.raises(WeightsError, match=r"not in the cache.*local_files_only=True"):
        get(REPO, local_files_only=True)
    assert hub.requests == []
    get(REPO)
    asked, fetched = len(hub.requests), hub.count("GET", WEIGHTS)
    assert same(get(REPO, local_files_only=True), three())
    assert len(hub.requests) == asked
    get(REPO)
    assert hub.count("GET", WEIGHTS) == fetched
    commit = hub.repositories[REPO].refs["main"]
    get(REPO, revision=commit, force_download=True)
    assert hub.count("GET", WEIGHTS) > fetched
    hub.order(Fault("HEAD", "", status=503))
    with pytest.raises(WeightsError, match="cannot be fetched again"):
        get(REPO, force_download=True)
    with pytest.raises(InputError, match="force_download"):
        get(REPO, force_download=True, local_files_only=True)


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_push_without_the_right_token(hub: HubServer, token: str | None) -> None:
    with pytest.raises(WeightsError, match=r"me/ants.*HF_TOKEN"):
        push(three(), "me/ants", token=token)
    assert hub.repositories == {}


@pytest.mark.parametrize("name", ["ants", "me/../x", "me/a b", ""])
def test_a_push_to_a_malformed_name(hub: HubServer, name: str) -> None:
    with pytest.raises(InputError, match="expected owner/name"):
        push(three(), name, token=hub.TOKEN)


def test_fetch_fills_the_cache_and_verify_looks_through_it(
    hub: HubServer, pinned: dict[str, bytes]
) -> None:
    name = "cifar_resnet20.of_the_tests"
    assert [(e.name, e.status) for e in verify([name])] == [(name, "missing")]
    (entry,) = fetch("cifar_resnet20.of*")
    assert (entry.name, entry.status) == (name, "ok")
    assert entry.hash == convzoo.weights.weights_info(name).sha256
    assert [
        (e.name, e.status) for e in verify() if not e.path or "bundled" not in e.path.parts
    ] == [(name, "ok")]
    blob = next(path for path in cached_files() if path.stat().st_size == len(pinned[WEIGHTS]))
    blob.write_bytes(blob.read_bytes()[:-1] + b"\1")
    assert [e.status for e in verify(name)] == ["corrupt"]
    assert [e.status for e in fetch(name)] == ["ok"]
    with pytest.raises(UnknownNameError, match="of_the_test"):
        fetch("cifar_resnet20.of_the_test")


def test_nan_in_fetched_weights_is_flagged(hub: HubServer, tmp_path: Path) -> None:
    folder = save(three(), tmp_path / "net")  # which refuses to write NaN
    with safetensors.safe_open(folder / "model.safetensors", "pt") as reader:
        metadata = reader.metadata()
    state = safetensors.torch.load_file(folder / "model.safetensors")
    state["layer3.0.conv2.weight"][3, 4, 1, 1] = float("nan")
    safetensors.torch.save_file(state, folder / "model.safetensors", metadata)
    hub.add(REPO, {path.name: path.read_bytes() for path in folder.iterdir()})
    assert [e.status for e in fetch(f"hf-hub:{REPO}")] == ["nan"]
    assert [e.status for e in verify(f"hf-hub:{REPO}")] == ["nan"]


def test_a_non_commercial_licence_is_said_once(
    hub: HubServer, pinned: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        load("cifar_resnet20.of_the_tests")
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert said == [
        "cifar_resnet20.of_the_tests: the licence of these weights, cc-by-nc-4.0, is non-commercial"
    ]


# The model card.


def test_the_card_says_where_the_weights_come_from(
    hub: HubServer, pinned: dict[str, bytes], tmp_path: Path
) -> None:
    net = load("cifar_resnet20.of_the_tests", num_classes=2)
    commit = hub.repositories[REPO].refs["main"]
    folder = save(net, tmp_path / "net", dataset="boats | ships", metrics={"accuracy": 0.9})
    card = (folder / "README.md").read_text("utf-8")
    assert 'base_model: "me/three"' in card
    assert 'license: "cc-by-nc-4.0"' in card
    assert "(non-commercial)" in card
    assert commit in card
    assert "boats \\| ships" in card
    assert "| accuracy | 0.9 |" in card
    assert re.search(r"convzoo \d.*torch \d", card)
    again = save(load(folder), tmp_path / "again")
    about = json.loads((again / "config.json").read_text("utf-8"))["convzoo"]["provenance"]
    assert about["base"]["revision"] == commit
    assert about["licence"] == "cc-by-nc-4.0"
    assert "metrics" not in about  # those were the other network's


def test_a_copy_keeps_its_provenance(hub: HubServer, pinned: dict[str, bytes]) -> None:
    net = load("cifar_resnet20.of_the_tests")
    assert copy.deepcopy(net).provenance == net.provenance
    assert str(Path.cwd()) not in json.dumps(dict(net.provenance))


def test_a_repository_of_a_lone_weights_file(
    hub: HubServer, saved_before: dict[str, bytes]
) -> None:
    hub.add(REPO, {WEIGHTS: saved_before[WEIGHTS]})
    assert same(models.cifar_resnet20(weights=f"hf-hub:{REPO}"), three())
    assert same(load(f"hf-hub:{REPO}", architecture="cifar_resnet20"), three())
    with pytest.raises(WeightsError, match="nothing says which network this is"):
        load(f"hf-hub:{REPO}")


def test_a_repository_of_a_pickle(hub: HubServer, tmp_path: Path) -> None:
    torch.save(three().state_dict(), tmp_path / "net.bin")
    hub.add(REPO, {"pytorch_model.bin": (tmp_path / "net.bin").read_bytes()})
    with pytest.raises(
        WeightsError, match=r"no file 'model\.safetensors'.*safe_serialization=True"
    ):
        load(f"hf-hub:{REPO}", architecture="cifar_resnet20")
    assert hub.count("GET", "pytorch_model.bin") == 0
    net = load(f"hf-hub:{REPO}", architecture="cifar_resnet20", allow_pickle=True)
    assert same(net, three())


@pytest.mark.long
def test_loading_a_pinned_cached_file_does_not_import_the_client(
    hub: HubServer, pinned: dict[str, bytes]
) -> None:
    (entry,) = fetch("cifar_resnet20.of_the_tests")
    script = f"""
import sys
from convzoo.hub import _cache, load
load("cifar_resnet20.fashion_mnist")
found = _cache.cached_path(_cache.HubFile({REPO!r}, {WEIGHTS!r}), {entry.hash!r})
assert _cache.actual_hash(found, {entry.hash!r}) == {entry.hash!r}
print([name for name in ("huggingface_hub", "safetensors", "torchvision") if name in sys.modules])
"""
    constants = huggingface_hub.constants
    environment = {
        **os.environ,
        "HF_HUB_CACHE": constants.HF_HUB_CACHE,
        "HF_ASSETS_CACHE": constants.HF_ASSETS_CACHE,
    }
    done = processes.run([sys.executable, "-c", script], env=environment)
    assert done.stdout.strip() == "[]", done.stderr
