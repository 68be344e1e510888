"""A loopback Hub and an empty cache for one test, and the small network that it serves.

Test modules take these fixtures with `pytest_plugins = ["hub_fixtures"]`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from convzoo import weights
from convzoo.hub import _cache, _remote, save
from hub_helpers import REPO, as_before, three
from hub_server import HubServer


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A running server; the client knows no other, and starts with nothing in its cache."""
    with HubServer() as server:
        constants = huggingface_hub.constants
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "hf" / "assets"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(_cache, "_verified", {})
        monkeypatch.setattr(_remote, "_warned", set())
        monkeypatch.setattr(time, "sleep", lambda _: None)  # pauses before another try
        huggingface_hub.close_session()
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, bytes]:
    """The files of a saved network, by name."""
    folder = save(three(), tmp_path / "made")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def saved_before(tmp_path: Path) -> dict[str, bytes]:
    """The same, as it was before the weights file said all; timm's repositories are like it."""
    folder = as_before(save(three(), tmp_path / "made before"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def pinned(
    hub: HubServer, saved: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, bytes]]:
    """A catalogue row, `cifar_resnet20.of_the_tests`, whose sha256 is known; serves `saved`."""
    hub.add(REPO, saved)
    sha256 = hashlib.sha256(saved["model.safetensors"]).hexdigest()
    row = (
        f'repo = "{REPO}"\nsha256 = "{sha256}"\nnum_classes = 3\nlabels = ""\n'
        'preset = "cifar10"\nlicence = "cc-by-nc-4.0"\n'
    )
    monkeypatch.setitem(weights._tables(), "cifar_resnet20.of_the_tests", row)
    weights._rows.cache_clear()
    yield saved
    monkeypatch.undo()
    weights._rows.cache_clear()
