"""shap: Shapley values of pixels."""

from __future__ import annotations

import pytest
from torch import Tensor

import convzoo

pytest.importorskip("shap")

DISTRIBUTION = "shap"


def test_gradient_explainer(net: convzoo.ResNet, x: Tensor) -> None:
    """GradientExplainer"""
    import shap

    values = shap.GradientExplainer(net, x).shap_values(x[:1], nsamples=4)

    assert values.shape == (1, 1, 28, 28, 10)


@pytest.mark.verdict("works with these lines")
def test_deep_explainer(x: Tensor) -> None:
    """DeepExplainer: needs `inplace=False`"""
    import shap

    net = convzoo.cifar_resnet20(weights="fashion_mnist", inplace=False).eval()
    values = shap.DeepExplainer(net, x).shap_values(x[:1], check_additivity=False)

    assert values.shape == (1, 1, 28, 28, 10)
