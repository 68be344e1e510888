"""What two processes found, launched once for all tests."""

from __future__ import annotations

from typing import Any

import pytest
from ranks import run_once


@pytest.fixture(scope="session")
def cases(pytestconfig: pytest.Config) -> str:
    """Which trainings the workers do: all of them where the long tests run."""
    return "quick" if pytestconfig.option.markexpr == "not long" else "all"


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory, cases: str) -> list[dict[str, Any]]:
    """For each of two ranks: worker -> what it found."""
    return run_once(tmp_path_factory, "several.py", 2, cases)
