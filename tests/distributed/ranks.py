"""Starting a script as several processes that work together, and reading what they found."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from processes import started

WORKERS = Path(__file__).parent / "workers"


def environment(**more: str) -> dict[str, str]:
    """One thread a process, no GPU, and the workers' own folder to import from."""
    kept = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    return kept | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"} | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(
    worker: str, folder: Path, processes: int, *arguments: str, **env: str
) -> list[tuple[int, str]]:
    """The exit status of each rank of `workers/<worker>`, and what it printed as an error.

    The ranks are started as torchrun starts them, without the seconds that torchrun itself takes.
    """
    shared = environment(
        WORLD_SIZE=str(processes),
        LOCAL_WORLD_SIZE=str(processes),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(free_port()),
        **env,
    )
    command = [sys.executable, str(WORKERS / worker), str(folder), *arguments]
    errors = [folder / f"{worker}.{rank}.err" for rank in range(processes)]  # pipes may fill up
    with ExitStack() as stack:
        running = []
        for rank, path in enumerate(errors):
            env_of_rank = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            file = stack.enter_context(path.open("w"))
            running.append(stack.enter_context(started(command, env=env_of_rank, stderr=file)))
        statuses = [process.wait(timeout=400) for process in running]
    return [(status, path.read_text()) for status, path in zip(statuses, errors, strict=True)]


def run(worker: str, folder: Path, processes: int, *arguments: str, **env: str) -> list[Any]:
    """What each rank of `workers/<worker>` kept, in order; fails unless every one exits with 0."""
    for rank, (status, text) in enumerate(start(worker, folder, processes, *arguments, **env)):
        assert status == 0, f"rank {rank}: {status}\n{text[-4000:]}"
    return [torch.load(folder / f"{worker}.{rank}.pt") for rank in range(processes)]


def run_once(
    factory: pytest.TempPathFactory, worker: str, processes: int, *arguments: str
) -> list[Any]:
    """As `run`, once for all workers of pytest-xdist: those that come later wait and read."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / f"{worker}-{processes}"
    with FileLock(folder.with_suffix(".lock")):
        if (folder / "done").exists():
            return [torch.load(folder / f"{worker}.{rank}.pt") for rank in range(processes)]
        folder.mkdir(exist_ok=True)
        found = run(worker, folder, processes, *arguments)
        (folder / "done").touch()
        return found
