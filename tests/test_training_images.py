"""What changes the images of a training: mixing, resizing, flips; and which are drawn."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import convzoo
from convzoo import datasets
from convzoo.errors import InputError
from convzoo.training import (
    AlternatingFlips,
    Mixing,
    ProgressiveResizing,
    balanced_sampler,
    class_weights,
)


def batch() -> tuple[Tensor, Tensor]:
    labels = torch.tensor([0, 1, 2, 1])
    return labels.float().view(4, 1, 1, 1).expand(4, 2, 8, 8).clone(), labels


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "both"])
def test_labels_are_mixed_in_the_shares_of_the_images(kind) -> None:
    mixing = Mixing(kind, 3, alpha=1.0)
    images, labels = batch()
    before = images.clone()
    for _ in range(8):
        mixed, targets = mixing(images, labels)
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(3.0))
        torch.testing.assert_close(targets.sum(1), torch.ones(4))
        loss = nn.functional.cross_entropy(torch.zeros(4, 3), targets, label_smoothing=0.1)
        assert loss.item() == pytest.approx(1.0986, abs=1e-3)
    assert torch.equal(images, before)


def test_mixing_draws_from_torch_alone_and_how_often_it_was_told() -> None:
    images, labels = batch()
    mixing = Mixing("both", 3, probability=0.5)
    runs = []
    for _ in range(2):
        torch.manual_seed(1)
        runs.append([mixing(images, labels)[1] for _ in range(20)])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    whole = torch.nn.functional.one_hot(labels, 3).float()
    assert 2 < sum(torch.equal(targets, whole) for targets in runs[0]) < 18
    assert torch.equal(Mixing("mixup", 3, probability=0.0)(images, labels)[1], whole)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mixing("mixup ", 3), "mixup"),
        (lambda: Mixing("mixup", 0), "num_classes"),
        (lambda: Mixing("mixup", 3, alpha=0), "alpha: expected a number above 0"),
        (lambda: Mixing("mixup", 3, probability=1.5), "probability"),
        (lambda: Mixing("mixup", 3)(torch.zeros(3, 8, 8), torch.zeros(3)), "images: expected"),
        (lambda: Mixing("mixup", 3)(torch.zeros(2, 1, 8, 8), torch.zeros(2)), "labels: expected"),
        (lambda: Mixing("mixup", 3)(batch()[0], batch()[1][:3]), "labels: expected"),
        (lambda: Mixing("mixup", 2)(*batch()), "labels: expected 0 to 1"),
    ],
)
def test_mixing_refuses(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_images_grow_from_epoch_to_epoch() -> None:
    resizing = ProgressiveResizing(10, first=0.5, last=0.75, grow=(0.2, 0.8))
    images = torch.rand(2, 3, 64, 96)
    sizes = []
    for epoch in (*range(1, 11), 11):
        resizing.start_epoch(epoch)
        sizes.append(tuple(resizing(images).shape[2:]))
    assert sizes[:3] == [(32, 48)] * 3
    assert sizes[8:] == [(48, 72)] * 3
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 3
    whole = ProgressiveResizing(1, first=1.0)
    assert whole(images) is images
    tiny = ProgressiveResizing(2, first=0.01, multiple=16)
    assert tiny(torch.rand(1, 1, 8, 40)).shape[2:] == (8, 16)


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 0},
        {"epochs": 2, "first": 0},
        {"epochs": 2, "first": 0.8, "last": 0.5},
        {"epochs": 2, "last": 1.5},
        {"epochs": 2, "grow": (0.8, 0.2)},
        {"epochs": 2, "grow": 0.5},
        {"epochs": 2, "multiple": 0},
    ],
)
def test_resizing_refuses(arguments) -> None:
    with pytest.raises(InputError):
        ProgressiveResizing(**arguments)
    with pytest.raises(InputError, match="images: expected floats"):
        ProgressiveResizing(2)(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def flips_of(loader: DataLoader[Tensor]) -> list[bool]:
    return [bool(flag) for images, _ in loader for flag in images[:, 0, 0, 0] > 0]


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.long)])
def test_each_image_alternates_also_in_workers_that_stay(workers) -> None:
    images = torch.zeros(64, 1, 2, 2)
    images[..., 1] = 1.0  # bright on the right
    data = AlternatingFlips(TensorDataset(images, torch.zeros(64, dtype=torch.long)), seed=3)
    loader = DataLoader(data, 16, num_workers=workers, persistent_workers=workers > 0)
    epochs = []
    for epoch in (1, 2, 3, 4):
        data.start_epoch(epoch)
        epochs.append(flips_of(loader))
    assert epochs[0] == epochs[2] == [not flag for flag in epochs[1]]
    assert 16 < sum(epochs[0]) < 48
    assert flips_of(DataLoader(AlternatingFlips(data.data, seed=3), 16)) == epochs[0]
    assert flips_of(DataLoader(AlternatingFlips(data.data, seed=4), 16)) != epochs[0]


def test_flips_take_pictures_and_rows() -> None:
    picture = Image.new("L", (2, 1))
    picture.putpixel((0, 0), 255)
    rows = AlternatingFlips([{"img": picture, "label": 1, "id": 7}])
    seen = set()
    for epoch in (1, 2):
        rows.start_epoch(epoch)
        row = rows[0]
        assert (row["label"], row["id"]) == (1, 7)
        seen.add(row["img"].getpixel((0, 0)))
    assert seen == {0, 255}
    with pytest.raises(InputError, match="data: expected a data set"):
        AlternatingFlips(iter([]))


def test_weights_balance_and_have_mean_one() -> None:
    labels = [0] * 8 + [1] * 2 + [3]
    weights = class_weights(labels, 4)
    assert weights[2] == 0
    assert weights[[0, 1, 3]].mean().item() == pytest.approx(1)
    counts = torch.tensor([8.0, 2, 0, 1])
    assert (weights * counts)[[0, 1, 3]].tolist() == pytest.approx([weights[3].item()] * 3)
    halfway = class_weights(labels, power=0.5)
    assert (halfway[3] / halfway[0]).item() == pytest.approx(8**0.5)
    assert class_weights(labels, power=0.0)[[0, 1, 3]].tolist() == [1.0, 1.0, 1.0]


def test_labels_are_found_however_the_data_are_held() -> None:
    images, labels = torch.rand(6, 1, 4, 4), torch.tensor([0, 0, 0, 1, 1, 2])
    whole = TensorDataset(images, labels)

    class Folder:
        targets = labels.tolist()

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> object:
            raise AssertionError("no image is read for its label")

    class Transformed(Folder):
        target_transform = staticmethod(lambda target: target)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return images[index], int(labels[index])

    class Table(Folder):
        column_names = ("picture", "label")
        targets = None

        def __init__(self) -> None:
            self.column_names = ["image", "label"]

        def __getitem__(self, name: str) -> object:
            return {"label": labels.tolist()}[name]

    expected = class_weights(labels)
    for data in (
        *(
            labels.tolist(),
            labels,
            labels.numpy(),
            whole,
            DataLoader(whole),
            Folder(),
            Transformed(),
            Table(),
        ),
        Subset(whole, range(6)),
        Subset(Folder(), [5, 4, 3, 2, 1, 0]),
        [{"image": image, "label": int(label)} for image, label in whole],
        datasets.LabelledImages((images * 255).byte(), labels.tolist(), "abc"),
    ):
        torch.testing.assert_close(class_weights(data), expected)


def test_each_class_is_drawn_as_often() -> None:
    labels = [0] * 90 + [1] * 9 + [2]
    sampler = balanced_sampler(labels, num_samples=3000, generator=torch.Generator().manual_seed(0))
    drawn = torch.bincount(torch.tensor(labels)[list(sampler)])
    assert drawn.min() > 900
    assert drawn.max() < 1100
    assert balanced_sampler(labels).num_samples == 100


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "empty"),
        ([0, -1], "from 0 to"),
        ([0.5, 1.0], "expected"),
        (torch.zeros(2, 2), "class numbers"),
        (3, "data: expected a data set"),
        ([0, 5], "it has label 5, expected numbers below num_classes=3"),
        (TensorDataset(torch.zeros(2, 1), torch.rand(2)), "class numbers"),
    ],
)
def test_labels_that_are_none(data, message) -> None:
    with pytest.raises(InputError, match=message):
        class_weights(data, 3)


def test_weights_go_into_the_loss_of_a_network() -> None:
    net = convzoo.lenet5(num_classes=3)
    loss = nn.CrossEntropyLoss(weight=class_weights([0, 0, 1, 2]))
    loss(net(torch.rand(2, 1, 28, 28)), torch.tensor([0, 2])).backward()
