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

_PR_SET_PDEATHSIG = 1

# Asks for the signal, then becomes the command: `preexec_fn` would do so without another process,
# but forks the tests' own, whose libraries (pyarrow's, OpenVINO's) have threads and crashed by it.
_LAUNCH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """In a new process: be sent this signal when the parent dies, by SIGKILL too (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


@contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that is gone, with all that it started, once the block is left."""
    launch = [sys.executable, "-I", "-S", "-c", _LAUNCH] if sys.platform == "linux" else []
    process = subprocess.Popen([*launch, *command], text=True, start_new_session=True, **options)
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
