"""What all tests share."""

from __future__ import annotations

import pytest
import torch

# One thread a worker: pytest-xdist already keeps every core busy.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
