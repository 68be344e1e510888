"""What the tests start ends with them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from processes import started

# Stands for pytest: it starts a process, which starts another, and waits for them.
PARENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
sys.path.insert(0, sys.argv[1])
from processes import run
CHILD = '''
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from processes import end_with_parent
if os.fork() == 0:
    end_with_parent(signal.SIGKILL)
    with open("forked", "w") as file:
        file.write(str(os.getpid()))
    os.rename("forked", "both")
time.sleep(60)
'''
run([sys.executable, "-c", CHILD, sys.argv[1]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell of a parent's death")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_tests_that_are_stopped(tmp_path: Path, number: int) -> None:
    here = str(Path(__file__).parent)
    with started(
        [sys.executable, "-c", PARENT, here], cwd=tmp_path, stderr=subprocess.DEVNULL
    ) as parent:
        deadline = time.monotonic() + 30
        while not (tmp_path / "both").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        parent.send_signal(number)
        parent.wait(timeout=30)
        forked = int((tmp_path / "both").read_text())
        while running(forked):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def running(pid: int) -> bool:
    """Whether there is such a process that is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
