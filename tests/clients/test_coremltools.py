"""coremltools: Core ML models for Apple's devices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("coremltools")

DISTRIBUTION = "coremltools"


def test_convert(net: convzoo.ResNet, x: Tensor) -> None:
    """convert from an exported program (conversion alone: it runs on Apple's systems only)"""
    import coremltools

    exported = torch.export.export(net, (x,)).run_decompositions({})
    model = coremltools.convert(exported, minimum_deployment_target=coremltools.target.iOS16)

    assert "mlProgram" in str(model.get_spec().WhichOneof("Type"))
