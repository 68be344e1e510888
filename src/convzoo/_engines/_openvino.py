"""OpenVINO, which has kernels of its own for each kind of processor."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convzoo._engines._exported import by_size, exported, quietly
from convzoo._engines._job import Job, Run, Setting

_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # int8 is in the model itself


def settings(job: Job, change: Callable[[Any], Any] = lambda model: model) -> list[Setting]:
    """One stream: to give half a batch to each core was never quicker.

    Args:
        job: What to run.
        change: What to do to the model before it is compiled.
    """

    def build(x: Tensor) -> Run:
        return compiled(change(converted(job, x)), job)

    return [Setting("openvino", "", lambda: by_size("openvino", build))]


@functools.cache
def core() -> Any:
    """OpenVINO's plugins, an `openvino.Core`: one as long as the process lives.

    Each brings the main thread a stack for signal handlers, and puts the one before back as it
    goes. If two go in the order in which they came, a stack that is gone is put back, and the next
    signal that Python handles (a DataLoader's worker ends) kills the process without a word.
    """
    import openvino

    plugins = openvino.Core()
    plugins.get_property("CPU", "FULL_DEVICE_NAME")  # loads it, before anybody loads another
    return plugins


def has_bf16() -> bool:
    """Whether the processor has instructions for bfloat16."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def converted(job: Job, x: Tensor) -> Any:
    """The network as OpenVINO has it, for images of one size.

    Args:
        job: What to run.
        x: Images of that size.

    Returns:
        An `openvino.Model`.
    """
    import openvino

    with quietly():
        return openvino.convert_model(exported(job.net, x))


def compiled(model: Any, job: Job) -> Run:
    """What runs a model.

    Args:
        model: An `openvino.Model` with one input and one output.
        job: What it was made for.

    Returns:
        Images -> scores.
    """
    import openvino

    # OpenVINO would take bfloat16 by itself, and as many threads as there are cores.
    options = {
        "INFERENCE_PRECISION_HINT": _PRECISIONS[job.precision],
        "INFERENCE_NUM_THREADS": job.threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core().compile_model(model, "CPU", options).create_infer_request()
    one_at_a_time = threading.Lock()

    def run(x: Tensor) -> Tensor:
        array = x.contiguous().numpy()  # has to live until the end: OpenVINO borrows its memory
        with one_at_a_time:
            request.set_input_tensor(openvino.Tensor(array, shared_memory=True))
            request.infer()
            return torch.from_numpy(request.get_output_tensor(0).data.copy())

    return run
