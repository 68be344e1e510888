"""torch alone: the folded network in the layout that is quicker."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from convzoo._engines._job import Job, Run, Setting

_LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def settings(job: Job) -> list[Setting]:
    """Channels first or last."""

    def build(layout: torch.memory_format) -> Run:
        dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
        net = copy.deepcopy(job.net).to(dtype).to(memory_format=layout)

        def run(x: Tensor) -> Tensor:
            scores: Tensor = net(x.to(dtype=dtype, memory_format=layout))
            return scores.float()

        return run

    return [
        Setting("torch", name, lambda layout=layout: build(layout))  # type: ignore[misc]
        for name, layout in _LAYOUTS.items()
    ]
