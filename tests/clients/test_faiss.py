"""faiss: nearest neighbours of features."""

from __future__ import annotations

import pytest
from torch import Tensor

import convzoo

faiss = pytest.importorskip("faiss")

DISTRIBUTION = "faiss-cpu"


def test_search(net: convzoo.ResNet, x: Tensor) -> None:
    """An index of pooled features, searched by cosine"""
    import faiss
    from torch.nn.functional import normalize

    features = normalize(net.forward_head(net.forward_features(x), pre_logits=True))
    index = faiss.IndexFlatIP(net.num_features)
    index.add(features.detach().numpy())
    similarity, nearest = index.search(features.detach().numpy(), 2)

    assert nearest[:, 0].tolist() == [0, 1, 2, 3]
    assert similarity[:, 0] == pytest.approx(1, abs=1e-4)
