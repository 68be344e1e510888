"""torch's compiler: kernels written for this network, which takes a C++ compiler and a minute."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convzoo.errors import ConvzooError
from convzoo.inference._engines._exported import by_size, exported, quietly
from convzoo.inference._engines._job import Job, Run, Setting


def settings(job: Job) -> list[Setting]:
    """Ahead of time on the CPU; with CUDA graphs on a card."""
    if job.device.type == "cuda":
        return [Setting("compile", "CUDA graphs", lambda: _with_graphs(job))]
    return [Setting("compile", "", lambda: by_size(lambda x: _package(job, x)))]


def _package(job: Job, x: Tensor) -> Run:
    """Compiled ahead of time, with the weights laid out for it: no check of guards at a call."""
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    net = job.net
    if job.precision == "bf16":
        net, x = net.bfloat16(), x.bfloat16()
    with tempfile.TemporaryDirectory() as folder, quietly(), torch.no_grad():
        try:
            path = aoti_compile_and_package(
                exported(net, x),
                package_path=str(Path(folder, "net.pt2")),
                inductor_configs={"freezing": True},
            )
            run: Any = aoti_load_package(path)
        except RuntimeError as error:  # what the compiler says, too
            raise ConvzooError(f"engine: 'compile' failed: {error!s:.400}") from error
    return lambda x: run(x.to(next(iter(net.parameters())).dtype)).float()


def _with_graphs(job: Job) -> Run:
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    net = job.net.to(dtype).to(memory_format=torch.channels_last)
    compiled = torch.compile(net, mode="reduce-overhead")

    def run(x: Tensor) -> Tensor:
        # The next call would write over what this one returns.
        scores: Tensor = compiled(x.to(dtype=dtype, memory_format=torch.channels_last))
        return scores.float().clone()

    return run
