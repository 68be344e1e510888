"""onnxruntime."""

from __future__ import annotations

import io

import torch
from torch import Tensor

from convzoo._engines._exported import by_size, exported, quietly
from convzoo._engines._job import Job, Run, Setting


def settings(job: Job) -> list[Setting]:
    """One."""
    return [Setting("onnxruntime", "", lambda: by_size("onnxruntime", lambda x: _built(job, x)))]


def _built(job: Job, x: Tensor) -> Run:
    import onnxruntime

    with quietly():
        program = torch.onnx.export(exported(job.net, x), dynamo=True, verbose=False)
    if program is None:  # only where it was asked to write a file
        raise RuntimeError("torch.onnx.export returned nothing")
    # Of more than 2 GB, which no network of the zoo has, the model would need files beside it.
    model = io.BytesIO(program.model_proto.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(
        model.getvalue(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: x.contiguous().numpy()})[0])

    return run
