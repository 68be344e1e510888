"""What the tests of other people's tools share, and how docs/clients.md is written from them."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import Tensor

import clients_page
import convzoo

_PASSED: dict[tuple[str, str], bool] = {}  # (module, test) -> whether all its cases did


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--clients-table", type=Path, help="write the page of all tools here")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "verdict(text): what docs/clients.md says of the use")


@pytest.hookimpl(tryfirst=True)  # before the markers choose
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == clients_page.TESTS:
            # What other people's packages warn of while they are imported and used is theirs.
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            # `make test` holds what these tools ask of a network, in `test_idioms` and elsewhere.
            item.add_marker(pytest.mark.long)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    path, _, name = report.nodeid.partition("::")
    test = Path(path).stem, name.partition("[")[0]
    if report.failed or (report.passed and report.when == "call"):
        _PASSED[test] = _PASSED.get(test, True) and report.passed


def pytest_sessionfinish(session: pytest.Session) -> None:
    page: Path | None = session.config.getoption("--clients-table", None)
    if page is not None:
        versions = {
            tool.module: version(tool.distribution)
            for tool in clients_page.tools()
            if any(module == tool.module for module, _ in _PASSED)
        }
        machine = f"Python {platform.python_version()}, torch {version('torch')}, CPU"
        page.write_text(clients_page.page(versions, _PASSED, machine), encoding="utf-8")


@pytest.fixture
def net() -> convzoo.ResNet:
    """A network with weights that ship with the package, in evaluation mode."""
    return convzoo.cifar_resnet20(weights="fashion_mnist").eval()


@pytest.fixture
def x() -> Tensor:
    """A batch of images for it, (4, 1, 28, 28)."""
    return torch.randn(4, 1, 28, 28)


@pytest.fixture
def y() -> Tensor:
    """Their classes."""
    return torch.tensor([0, 1, 2, 3])
