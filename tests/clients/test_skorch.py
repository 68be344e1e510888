"""skorch: a network as scikit-learn's classifier."""

from __future__ import annotations

import numpy as np
import pytest

import convzoo

pytest.importorskip("skorch")

DISTRIBUTION = "skorch"


def test_grid_search() -> None:
    """NeuralNetClassifier on a builder, in GridSearchCV"""
    from sklearn.model_selection import GridSearchCV
    from skorch import NeuralNetClassifier
    from torch import nn

    classifier = NeuralNetClassifier(
        convzoo.cifar_resnet20,
        module__num_classes=3,
        criterion=nn.CrossEntropyLoss,
        max_epochs=1,
        train_split=None,
        verbose=0,
    )
    search = GridSearchCV(classifier, {"lr": [0.01, 0.1]}, cv=2)

    images = np.random.default_rng(0).standard_normal((12, 3, 16, 16)).astype("float32")
    classes = np.arange(12) % 3
    search.fit(images, classes)
    assert search.best_params_["lr"] in (0.01, 0.1)
    assert np.allclose(search.predict_proba(images).sum(1), 1, atol=1e-5)
