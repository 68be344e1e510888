"""What all tests share.

A test or a case may be marked `long`, and then waits for `make test-all`, if a quick one of its
kind stays in `make test`: the same with fewer processes, fewer rounds, a network less deep.
"""

from __future__ import annotations

import pytest
import torch

# One thread a worker: pytest-xdist already keeps every core busy.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
