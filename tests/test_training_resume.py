"""Resuming: the same curve, the same settings, and states that are damaged or cannot be kept."""

from __future__ import annotations

import copy
import errno
import io
import os

import pytest
import torch
from PIL import Image
from torch import nn

import convzoo
from convzoo import datasets, training
from convzoo.errors import CheckpointError
from convzoo.training import EarlyStopping, EpochRecord, TrainingInterrupted
from toy_training import Tiny, add_noise, same, toy, weights


@pytest.fixture
def net() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


def test_resuming_continues_the_same_curve(net: Tiny, tmp_path) -> None:
    def run(one: nn.Module, folder: str, stop_after: int | None = None) -> convzoo.History:
        def stop(record: EpochRecord) -> None:
            if record.epoch == stop_after:
                raise KeyboardInterrupt

        return training.fit(
            one,
            toy(50),
            toy(30, 1),
            epochs=4,
            batch_size=12,
            train_transform=add_noise,
            checkpoint=tmp_path / folder,
            resume=True,
            early_stopping=EarlyStopping(10),
            on_epoch=stop,
        )

    other = copy.deepcopy(net)
    fresh = copy.deepcopy(net)
    whole = run(net, "whole")
    with pytest.raises(TrainingInterrupted):
        run(other, "cut", stop_after=2)
    resumed = run(fresh, "cut")

    def figures(history: convzoo.History) -> list[tuple[float, ...]]:
        return [(r.train_loss, r.val_loss or 0.0, r.lr) for r in history.epochs]

    assert figures(resumed) == figures(whole)
    assert resumed.best_epoch == whole.best_epoch
    assert same(weights(fresh), weights(net))
    with pytest.raises(CheckpointError, match="epochs was 4, now 5"):
        training.fit(
            net, toy(50), epochs=5, batch_size=12, checkpoint=tmp_path / "cut", resume=True
        )


@pytest.fixture
def images(tmp_path) -> datasets.LabelledImages:
    """Twelve small images of two classes in a folder."""
    paths = [tmp_path / "data" / name / f"{i}.png" for name in ("cat", "dog") for i in range(6)]
    for i, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), 20 * i).save(path)
    return datasets.LabelledImages(paths, [0] * 6 + [1] * 6, ("cat", "dog"))


def one_epoch(folder, data: datasets.LabelledImages, *, model: str = "lenet5", **changes) -> None:
    net = convzoo.create_model(model, num_classes=len(data.classes), in_channels=1)
    given = {"epochs": 1, "batch_size": 4, "checkpoint": folder, "resume": True, "cpu": True}
    training.fit(net, data, **{**given, **changes})


def test_resuming_names_each_setting_that_differs(images, tmp_path) -> None:
    one_epoch(tmp_path / "run", images)
    before = (tmp_path / "run" / "last.pt").read_bytes()
    for changes, message in (
        ({"model": "cifar_cnn5"}, "network was 'lenet5', now 'cifar_cnn5'"),
        ({"optimizer": "sgd"}, "optimizer was 'AdamW', now 'SGD'"),
        ({"lr": 0.5}, "lr lost [0.001] and gained [0.5]"),
        ({"head_lr": 0.5}, "lr lost [] and gained [0.5]"),
        ({"weight_decay": 0.5}, "weight_decay lost [0.01] and gained [0.5]"),
        ({"label_smoothing": 0.5}, "label_smoothing was 0.0, now 0.5"),
        ({"loss": lambda scores, targets: scores.sum()}, "loss was 'CrossEntropy', now "),
        ({"warmup": 0.5}, "warmup was None, now 0.5"),
        ({"epochs": 2, "seed": 1}, "epochs was 1, now 2; seed was 0, now 1"),
    ):
        with pytest.raises(CheckpointError) as caught:
            one_epoch(tmp_path / "run", images, **changes)
        assert message in str(caught.value)
        assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_resuming_knows_its_data(images, tmp_path) -> None:
    folder = tmp_path / "run"
    one_epoch(folder, images)
    one_epoch(folder, images, num_workers=1)  # who reads may change
    moved = tmp_path / "elsewhere"
    (tmp_path / "data").rename(moved)
    paths = [moved / path.relative_to(tmp_path / "data") for path in images.images]
    one_epoch(folder, datasets.LabelledImages(paths, images.targets, images.classes))
    renamed = datasets.LabelledImages(paths, images.targets, ("cat", "zebra"))
    with pytest.raises(CheckpointError, match=r"classes lost \['dog'\] and gained \['zebra'\]"):
        one_epoch(folder, renamed)
    swapped = datasets.LabelledImages(paths, images.targets, ("dog", "cat"))
    with pytest.raises(
        CheckpointError, match=r"classes was \['cat', 'dog'\], now \['dog', 'cat'\]"
    ):
        one_epoch(folder, swapped)
    Image.new("L", (64, 64)).save(paths[3])
    with pytest.raises(CheckpointError, match="files of train was '"):
        one_epoch(folder, datasets.LabelledImages(paths, images.targets, images.classes))


def test_a_damaged_state_is_one_error(images, tmp_path) -> None:
    one_epoch(tmp_path, images)
    last = tmp_path / "last.pt"
    whole = last.read_bytes()
    assert torch.load(last, weights_only=True)["settings"]["classes"] == ["cat", "dog"]
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    foreign = io.BytesIO()
    torch.save({"state_dict": {}}, foreign)
    for content in (b"", b"half", whole[:-1], whole[:middle], flipped, foreign.getvalue()):
        last.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"last\.pt: not a training state, or one that"):
            one_epoch(tmp_path, images)
        assert last.read_bytes() == content


def test_a_full_disk_is_one_error(images, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_epoch(tmp_path, images)
    whole = (tmp_path / "last.pt").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("convzoo.training._checkpoint.os.fsync", full)
    with pytest.raises(CheckpointError, match=r"last\.pt: cannot be written: No space left"):
        one_epoch(tmp_path, images, resume=False)
    assert [path.name for path in tmp_path.glob("*last*")] == ["last.pt"]
    assert (tmp_path / "last.pt").read_bytes() == whole


def test_the_checkpoint_holds_the_best_network(tmp_path) -> None:
    net = convzoo.cifar_resnet20(in_channels=1, num_classes=3)
    training.fit(net, toy(12), toy(9, 1), epochs=2, batch_size=6, checkpoint=tmp_path)
    assert same(weights(convzoo.load(tmp_path / "best")), weights(net))
    foreign = Tiny()
    training.fit(foreign, toy(), toy(), epochs=1, batch_size=12, checkpoint=tmp_path / "foreign")
    from safetensors.torch import load_file

    assert same(load_file(tmp_path / "foreign" / "best" / "model.safetensors"), weights(foreign))
