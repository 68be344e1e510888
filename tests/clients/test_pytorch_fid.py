"""pytorch-fid: FID on features of a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convzoo

pytest.importorskip("pytorch_fid")

DISTRIBUTION = "pytorch-fid"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return paths


@pytest.mark.verdict("works with these lines")
def test_statistics(files: list[Path]) -> None:
    """FID statistics of a folder: it wants a list of maps"""
    from pytorch_fid.fid_score import calculate_activation_statistics, calculate_frechet_distance

    class LastMap(nn.Module):
        def __init__(self, net: convzoo.Classifier) -> None:
            super().__init__()
            self.net = net

        def forward(self, images: Tensor) -> list[Tensor]:
            return [self.net.forward_features(images)]

    net = LastMap(convzoo.cifar_resnet20())  # in earnest: inception_v3 with weights
    mean, covariance = calculate_activation_statistics(files, net, 2, dims=64, num_workers=0)

    assert mean.shape == (64,)
    distance = calculate_frechet_distance(mean, covariance, mean + 1, covariance)
    assert distance == pytest.approx(64, rel=1e-3)
    assert torch.get_num_threads()
