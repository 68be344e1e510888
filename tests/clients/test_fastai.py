"""fastai: vision_learner on a builder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import convzoo

pytest.importorskip("fastai")

DISTRIBUTION = "fastai"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(12):
        name = "day" if number % 2 else "night"
        path = tmp_path / name / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (200 * (number % 2), 20 + number, 90)).save(path)
    return tmp_path


def test_vision_learner(folder: Path) -> None:
    """vision_learner: body cut, head made, backbone frozen, lr_find"""
    from fastai.vision.all import ImageDataLoaders, Resize, accuracy, vision_learner

    dls = ImageDataLoaders.from_folder(
        folder, valid_pct=0.5, seed=1, item_tfms=Resize(32), bs=2, num_workers=0
    )
    learner = vision_learner(dls, convzoo.resnet18, pretrained=False, metrics=accuracy)

    learner.freeze()
    assert not learner.model[0][0].weight.requires_grad
    assert learner.model[1][-1].out_features == 2
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1)
        found = learner.lr_find(num_it=20, show_plot=False)
    assert found.valley > 0


def test_preset_on_batches(folder: Path) -> None:
    """The preset's numbers in the DataLoaders' after_batch"""
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize

    preset = convzoo.presets.IMAGENET
    dls = ImageDataLoaders.from_folder(
        folder,
        valid_pct=0.5,
        item_tfms=Resize(preset.height_width),
        batch_tfms=Normalize.from_stats(preset.mean, preset.std),
        bs=2,
        num_workers=0,
    )

    images, _ = dls.one_batch()
    assert images.shape[1:] == (3, 224, 224)


def test_learner(folder: Path) -> None:
    """Learner around a network that is already built"""
    from fastai.vision.all import CrossEntropyLossFlat, ImageDataLoaders, Learner, Resize

    dls = ImageDataLoaders.from_folder(
        folder, valid_pct=0.5, item_tfms=Resize(32), bs=2, num_workers=0
    )
    net = convzoo.resnet18(num_classes=dls.c, stem="small")
    learner = Learner(dls, net, loss_func=CrossEntropyLossFlat())

    with learner.no_bar(), learner.no_logging():
        learner.fit(1)
    assert torch.isfinite(torch.tensor(learner.recorder.losses)).all()
