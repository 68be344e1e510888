"""Poutyne: Keras-like training."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

import convzoo

pytest.importorskip("poutyne")

DISTRIBUTION = "poutyne"


def test_model(net: convzoo.ResNet, x: Tensor, y: Tensor) -> None:
    """Model.fit"""
    from poutyne import Model

    model = Model(net, "sgd", "cross_entropy", batch_metrics=["accuracy"])
    history = model.fit(x.numpy(), y.numpy(), epochs=1, batch_size=2, verbose=False)

    assert np.isfinite(history[0]["loss"])
