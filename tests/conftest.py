"""What all tests share.

A test or a case may be marked `long`, and then waits for `make test-all`, if a quick one of its
kind stays in `make test`: the same with fewer processes, fewer rounds, a network less deep.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
import torch

# One thread a worker: pytest-xdist already keeps every core busy.
torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what the tests have imported, which stays anyway.

    `fit` and `evaluate` collect as they end, and tracing does every few seconds: each time a third
    of a second over a million objects of torch, timm and onnx.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """What ends with the process is looked through again: onnx counts what it is left with."""
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="module")
def _sparing_the_collector() -> Iterator[None]:
    """The same for what the tests of a file have imported."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def narrow_alexnets(monkeypatch: pytest.MonkeyPatch) -> None:
    """AlexNets and ZFNet with 64 units in fc6 and fc7, which hold 54 of 61 million parameters."""
    for module in ("alexnets", "zeiler_fergus"):
        monkeypatch.setattr(f"convzoo.models.{module}._HIDDEN", 64)


@pytest.fixture(autouse=True)
def _timm_as_it_was() -> Iterator[None]:
    """Take our networks out of timm again, where a test or an example registered them."""
    yield
    ours = sys.modules.get("convzoo.integrations.timm")
    registry = sys.modules.get("timm.models._registry")
    for name in [] if ours is None or registry is None else ours.__all__[1:]:
        registry._clear_model_entries(name)
        del registry._model_entrypoints[name]
        delattr(ours, name)
        ours.__all__.remove(name)
