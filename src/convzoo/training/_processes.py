"""The other processes of a job: when one of them is gone, and how to leave together."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from convzoo.errors import ConvzooError


class ProcessLostError(ConvzooError, RuntimeError):
    """Another process of a distributed training has ended, or cannot be reached."""


@contextmanager
def lost_processes_told(checkpoint: Path | None) -> Iterator[None]:
    """Say what a broken connection means, and how to go on.

    Args:
        checkpoint: Where the training keeps its state.

    Raises:
        ProcessLostError: Instead of what torch's backends raise.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, ConvzooError) or not _of_a_backend(error):
            raise
        if checkpoint is None:
            advice = "without checkpoint= there is nothing to go on from"
        else:
            advice = f"start the job again with resume to go on from {checkpoint / 'last.pt'}"
        first_line = str(error).strip().splitlines()[0]
        raise ProcessLostError(
            f"another process of this job has ended or cannot be reached; {advice} ({first_line})"
        ) from error


def leave(status: int = 0) -> NoReturn:
    """End a process of a distributed job; the last line of a script for `torchrun`.

    Waits for the others, closes the connections and leaves without taking the interpreter apart:
    there threads of gloo, which carries messages between CPUs, now and then abort a process whose
    work is done. A process that works alone just exits.

    Args:
        status: The exit status. Other than 0, the process does not wait for the others.
    """
    # Who has not imported it cannot have joined a job.
    dist = sys.modules.get("torch.distributed")
    if dist is None or not dist.is_available() or not dist.is_initialized():
        sys.exit(status)
    if status == 0:
        dist.barrier()
        dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _of_a_backend(error: RuntimeError) -> bool:
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        return False
    # gloo raises plain RuntimeErrors.
    return isinstance(error, dist.DistError) or "gloo" in str(error)
