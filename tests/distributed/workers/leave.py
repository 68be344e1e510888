"""How a rank keeps what it found, and leaves."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def leave(found: Any) -> None:
    """Write what was found where the test reads it; end together, and at once."""
    rank = os.environ.get("RANK", "0")
    torch.save(found, Path(sys.argv[1]) / f"{Path(sys.argv[0]).name}.{rank}.pt")
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # gloo's threads now and then abort an interpreter that takes itself apart
