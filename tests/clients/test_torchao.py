"""torchao: int8 weights, and PT2E quantisation for x86."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("torchao")

DISTRIBUTION = "torchao"


def test_int8_weights(net: convzoo.ResNet, x: Tensor) -> None:
    """quantize_ with int8 weights"""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    before = net(x)
    quantize_(net, Int8WeightOnlyConfig())
    after = net(x)

    assert (after - before).abs().max() < 0.05 * before.abs().max()


def test_x86_quantiser(net: convzoo.ResNet, x: Tensor) -> None:
    """X86InductorQuantizer, PT2E"""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(torch.export.export(net, (x,)).module(), quantizer)
    prepared(x)  # in earnest: some hundred images
    quantised = convert_pt2e(prepared)

    assert (quantised(x) - net(x)).abs().max() < 0.2 * net(x).abs().max()
