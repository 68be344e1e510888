"""grad-cam: class activation maps of pytorch-grad-cam."""

from __future__ import annotations

import pytest
from torch import Tensor

import convzoo

pytest.importorskip("pytorch_grad_cam")

DISTRIBUTION = "grad-cam"


def test_maps(net: convzoo.ResNet, x: Tensor) -> None:
    """GradCAM and EigenCAM on the last stage"""
    from pytorch_grad_cam import EigenCAM, GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    last = net.get_submodule(net.stages[-1].module)
    targets = [ClassifierOutputTarget(1)] * len(x)
    with GradCAM(net, [last]) as cam:
        maps = cam(x, targets)
    with EigenCAM(net, [last]) as cam:
        others = cam(x, targets)

    assert maps.shape == others.shape == (4, 28, 28)
