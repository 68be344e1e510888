"""executorch: programs for phones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("executorch")

DISTRIBUTION = "executorch"


@torch.no_grad()
def test_xnnpack_program(net: convzoo.ResNet, x: Tensor) -> None:
    """A program for XNNPACK, run by its runtime"""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    exported = torch.export.export(net, (x,))
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    program = lowered.to_executorch()
    (scores,) = Runtime.get().load_program(program.buffer).load_method("forward").execute([x])

    assert torch.allclose(scores, net(x), atol=1e-3)


@torch.no_grad()
def test_xnnpack_quantiser(net: convzoo.ResNet, x: Tensor) -> None:
    """XNNPACKQuantizer, PT2E"""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config())
    prepared = prepare_pt2e(torch.export.export(net, (x,)).module(), quantizer)
    prepared(x)  # in earnest: some hundred images
    quantised = convert_pt2e(prepared)

    assert (quantised(x) - net(x)).abs().max() < 0.3 * net(x).abs().max()
