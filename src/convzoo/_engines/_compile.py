"""torch's compiler: kernels written for this network, which takes a C++ compiler and a minute."""

from __future__ import annotations

import copy
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convzoo._engines._exported import by_size, exported, quietly
from convzoo._engines._job import Job, Run, Setting
from convzoo._engines._threads import tracing


def settings(job: Job) -> list[Setting]:
    """Ahead of time on the CPU; with CUDA graphs on a card."""
    if job.device.type == "cuda":
        return [Setting("compile", "CUDA graphs", lambda: _with_graphs(job))]
    return [Setting("compile", "", lambda: by_size("compile", lambda x: _package(job, x)))]


def _package(job: Job, x: Tensor) -> Run:
    """Compiled ahead of time, with the weights laid out for it: no check of guards at a call."""
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    net, dtype = _in_its_numbers(job)
    with tempfile.TemporaryDirectory() as folder, quietly(), torch.no_grad():
        path = aoti_compile_and_package(
            exported(net, x.to(dtype)),
            package_path=str(Path(folder, "net.pt2")),
            inductor_configs={"freezing": True},
        )
        run: Any = aoti_load_package(path)
    return lambda x: run(x.to(dtype)).float()


def _with_graphs(job: Job) -> Run:
    net, dtype = _in_its_numbers(job)
    compiled = torch.compile(net.to(memory_format=torch.channels_last), mode="reduce-overhead")
    known: set[torch.Size] = set()

    def run(x: Tensor) -> Tensor:
        with nullcontext() if x.shape in known else tracing():
            # The next call would write over what this one returns.
            scores: Tensor = compiled(x.to(dtype=dtype, memory_format=torch.channels_last))
        known.add(x.shape)
        return scores.float().clone()

    return run


def _in_its_numbers(job: Job) -> tuple[nn.Module, torch.dtype]:
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    return copy.deepcopy(job.net).to(dtype), dtype
