"""Starting processes that never outlive the tests, whether these end, are interrupted or killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """In a new process: be sent this signal when the parent dies, by SIGKILL too (on Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)


@contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that is gone, with all that it started, once the block is left."""
    process = subprocess.Popen(
        command,
        text=True,
        start_new_session=True,
        preexec_fn=None if _LIBC is None else end_with_parent,
        **options,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            # torchrun's workers have sessions of their own: it alone can end them, in up to 30 s.
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=40)
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def run(
    command: Sequence[str | Path], *, timeout: float = 400, **options: Any
) -> subprocess.CompletedProcess[str]:
    """What a process said and how it ended, as `subprocess.run` tells it."""
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(list(command), process.returncode, out, err)
