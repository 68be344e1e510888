"""`fit`, `evaluate` and `cached_features` take labelled images however people hold them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import convzoo
from convzoo import training
from convzoo.errors import InputError

LABELS = [i % 3 for i in range(12)]


def network() -> convzoo.ResNet:
    torch.manual_seed(0)
    net = convzoo.cifar_resnet20(num_classes=3, in_channels=1)
    net.preset = convzoo.presets.MNIST.replace(input_size=8, resize=None)
    return net


def pictures() -> list[Image.Image]:
    return [Image.new("L", (8, 8), 20 * i) for i in range(12)]


def raw() -> Tensor:
    return torch.stack([torch.full((1, 8, 8), 20 * i, dtype=torch.uint8) for i in range(12)])


def ready() -> Tensor:
    preset = network().preset
    assert preset is not None
    return torch.stack([preset.eval()(picture) for picture in pictures()])


class Rows:
    """A data set of rows, as Hugging Face's `datasets` has them."""

    def __init__(self, image: str, label: str) -> None:
        self.names = (image, label)

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, object]:
        return {
            "id": index,
            **dict(zip(self.names, (pictures()[index], LABELS[index]), strict=True)),
        }


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return zip(ready(), LABELS, strict=True)


FORMS: dict[str, Any] = {
    "PIL": lambda: list(zip(pictures(), LABELS, strict=True)),
    "uint8": lambda: list(zip(raw(), LABELS, strict=True)),
    "tensors": lambda: TensorDataset(ready(), torch.tensor(LABELS)),
    "rows": lambda: Rows("img", "labels"),
    "torch rows": lambda: [
        {"image": x, "label": y} for x, y in zip(raw(), torch.tensor(LABELS), strict=True)
    ],
    "loader": lambda: DataLoader(TensorDataset(ready(), torch.tensor(LABELS)), batch_size=5),
    "raw loader": lambda: DataLoader(TensorDataset(raw(), torch.tensor(LABELS)), batch_size=5),
    "loader of rows": lambda: DataLoader(
        [{"image": x, "label": y} for x, y in zip(raw(), LABELS, strict=True)], batch_size=5
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same(form: str) -> None:
    net, data = network().eval(), FORMS[form]()
    with torch.no_grad():
        scores = net(ready())
        features = net.forward_head(net.forward_features(ready()), pre_logits=True)
    result = training.evaluate(net, data, cpu=True)
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor(LABELS))
    assert (result.samples, result.loss) == (12, pytest.approx(float(expected), rel=1e-4))
    found, classes = convzoo.cached_features(net, data, batch_size=5).tensors
    assert torch.allclose(found, features, atol=1e-5)
    assert classes.tolist() == LABELS
    history = training.fit(net, data, FORMS[form](), epochs=1, batch_size=4, cpu=True)
    assert history.best_epoch == 1


def test_columns_are_found_or_named() -> None:
    net, rows = network(), Rows("photo", "fine_label")
    with pytest.raises(InputError, match=r"data: rows have 'id', 'photo', 'fine_label'; name"):
        training.evaluate(net, rows, cpu=True)
    columns = ("photo", "fine_label")
    assert training.evaluate(net, rows, columns=columns, cpu=True).samples == 12
    assert len(convzoo.cached_features(net, rows, columns=columns)) == 12
    training.fit(net, rows, rows, columns=columns, epochs=1, batch_size=4, cpu=True)
    with pytest.raises(InputError, match="columns: expected two of 'id', 'photo'"):
        training.evaluate(net, rows, columns=("photo", "label"), cpu=True)
    with pytest.raises(InputError, match=r"columns: data has \(image, label\) pairs"):
        training.evaluate(net, FORMS["PIL"](), columns=columns, cpu=True)


def test_a_loader_is_taken_as_it_is() -> None:
    seen: list[list[int]] = []

    def collate(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        images, labels = (torch.stack(part) for part in zip(*items, strict=True))
        seen.append(labels.tolist())
        return images, labels

    data = TensorDataset(ready(), torch.tensor(LABELS))
    loader = DataLoader(data, batch_size=5, collate_fn=collate)
    history = training.fit(network(), loader, epochs=2, batch_size=3, schedule="cosine", cpu=True)
    assert seen == 2 * [LABELS[:5], LABELS[5:10], LABELS[10:]]  # its order, its last small batch
    assert history.epochs[-1].lr == pytest.approx(0.5e-3 * (1 + math.cos(math.pi * 5 / 6)))
    assert loader.collate_fn is collate
    assert torch.equal(next(iter(loader))[0], ready()[:5])
    bad = DataLoader(TensorDataset(ready(), torch.tensor(LABELS) + 1), batch_size=5)
    with pytest.raises(InputError, match=r"train: item 2 of a batch has label 3"):
        training.fit(network(), bad, epochs=1, cpu=True)


def test_streams_go_behind_a_loader() -> None:
    net, loader = network(), DataLoader(Stream(), batch_size=5)
    for act in (training.evaluate, training.fit):
        with pytest.raises(InputError, match=r"expected a data set with __len__.*or a DataLoader"):
            act(net, Stream(), cpu=True)
    with pytest.raises(InputError, match="train: expected a DataLoader that knows"):
        training.fit(net, loader, cpu=True)
    assert training.evaluate(net, loader, cpu=True).samples == 12
    for data in (Stream(), loader, list(loader), iter(loader)):
        assert convzoo.cached_features(net, data).tensors[1].tolist() == LABELS
    for nonsense in (3, {"train": FORMS["PIL"]()}, iter([1]), "ab", [1]):
        with pytest.raises(InputError, match="data: "):
            convzoo.cached_features(net, nonsense)
