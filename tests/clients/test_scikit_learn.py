"""scikit-learn: its estimators on features."""

from __future__ import annotations

import pytest

import convzoo
from convzoo import datasets

pytest.importorskip("sklearn")

DISTRIBUTION = "scikit-learn"


def test_linear_probe(net: convzoo.ResNet) -> None:
    """LogisticRegression on cached features"""
    from sklearn.linear_model import LogisticRegression

    digits = datasets.digits().train.subset(range(200))
    features = convzoo.cached_features(net, digits)
    images, classes = (tensor.numpy() for tensor in features.tensors)
    probe = LogisticRegression(max_iter=200).fit(images, classes)

    assert probe.score(images, classes) > 0.9
