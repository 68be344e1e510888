"""datasets: Hugging Face's tables of images."""

from __future__ import annotations

import pytest
from PIL import Image

import convzoo

pytest.importorskip("datasets")

DISTRIBUTION = "datasets"


def test_rows(net: convzoo.ResNet) -> None:
    """fit and evaluate on rows with an image and a label"""
    from datasets import ClassLabel, Dataset, Features, Image as ImageColumn

    columns = Features({"image": ImageColumn(), "label": ClassLabel(names=["dark", "light"])})
    pictures = [Image.new("L", (28, 28), 200 * (number % 2)) for number in range(8)]
    rows = {"image": pictures, "label": [0, 1] * 4}
    table = Dataset.from_dict(rows, columns)
    net = convzoo.replace_head(net, 2)
    history = convzoo.fit(net, table, epochs=1, batch_size=4)
    result = convzoo.evaluate(net, table)

    assert len(history.epochs) == 1
    assert 0 <= result.top1 <= 1


def test_with_transform(net: convzoo.ResNet) -> None:
    """with_transform: a preset on the fly, for anybody's loop"""
    from datasets import Dataset, Features, Image as ImageColumn, Value

    preset = net.preset.eval()

    def to_inputs(rows: dict[str, list]) -> dict[str, list]:
        return {"x": [preset(image) for image in rows["image"]], "label": rows["label"]}

    columns = Features({"image": ImageColumn(), "label": Value("int64")})
    rows = {"image": [Image.new("L", (40, 30))] * 2, "label": [0, 1]}
    table = Dataset.from_dict(rows, columns).with_transform(to_inputs)

    assert table[0]["x"].shape == (1, 28, 28)


def tables(**parts: int) -> object:
    """What load_dataset gives: parts of so many pictures, of two classes in turn."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image as ImageColumn

    columns = Features({"img": ImageColumn(), "kind": ClassLabel(names=["dark", "light"])})
    return DatasetDict(
        {
            part: Dataset.from_dict(
                {
                    "img": [Image.new("L", (12, 10), 10 * i) for i in range(count)],
                    "kind": [i % 2 for i in range(count)],
                },
                columns,
            )
            for part, count in parts.items()
        }
    )


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ({"train": 8}, (4, 2, 2)),
        ({"data": 8}, (4, 2, 2)),
        ({"train": 8, "test": 3}, (6, 2, 3)),
        ({"train": 8, "validation": 3}, (8, 3, None)),
        ({"train": 8, "validation": 3, "test": 5}, (8, 3, 5)),
    ],
)
def test_load_from_the_hub(
    monkeypatch: pytest.MonkeyPatch, parts: dict[str, int], sizes: tuple[int, int, int | None]
) -> None:
    """datasets.load("hf-hub:owner/name@revision") as train, validation and test parts"""
    import datasets

    asked = []

    def load_dataset(repo: str, revision: str | None) -> object:
        asked.append((repo, revision))
        return tables(**parts)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for address in ("hf-hub:me/pictures@v1", "hf-hub:datasets/me/pictures@v1"):
        data = convzoo.datasets.load(address, val=0.25, test=0.25)
    assert asked == [("me/pictures", "v1")] * 2
    assert tuple(None if part is None else len(part) for part in data[:3]) == sizes
    assert data.classes == ("dark", "light")
    images = [(image, label) for part in data[:3] if part for image, label in part]
    assert all(image.size == (12, 10) for image, _ in images)
    assert {image.getpixel((0, 0)) // 10 % 2 == label for image, label in images} == {True}
    light = data.train.subset(classes=["light"])
    assert light[0][0].getpixel((0, 0)) // 10 % 2 == 1
    net = convzoo.replace_head(convzoo.cifar_resnet20(weights="fashion_mnist"), 2)
    history = convzoo.fit(net, data.train, data.val, epochs=1, batch_size=2, cpu=True)
    assert len(history.epochs) == 1


def test_tables_that_are_no_images_with_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets.load says what is wrong with a table"""
    import datasets
    from datasets import Dataset, DatasetDict, Features, Image as ImageColumn, Value

    from convzoo.errors import DataError, InputError

    def give(rows: dict[str, list], kind: object, part: str = "train") -> None:
        columns = Features({"img": ImageColumn(), "kind": kind})
        whole = DatasetDict({part: Dataset.from_dict(rows, columns), "more": Dataset.from_dict({})})
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: whole)

    images = [Image.new("L", (4, 4))] * 2
    give({"img": images, "kind": ["a", "b"]}, Value("string"))
    with pytest.raises(InputError, match="name the image and the label"):
        convzoo.datasets.load("hf-hub:me/pictures")
    named = convzoo.datasets.load("hf-hub:me/pictures", columns=("img", "kind"), val=0)
    assert named.classes == ("a", "b")
    with pytest.raises(InputError, match="columns: expected two of img, kind"):
        convzoo.datasets.load("hf-hub:me/pictures", columns=("img", "label"))
    with pytest.raises(InputError, match="columns: expected a column of images, got 'kind'"):
        convzoo.datasets.load("hf-hub:me/pictures", columns=("kind", "img"))
    give({"img": images, "kind": [0, -1]}, Value("int64"))
    with pytest.raises(DataError, match="expected classes in the column 'kind'"):
        convzoo.datasets.load("hf-hub:me/pictures", columns=("img", "kind"))
    give({"img": images, "kind": [0, 1]}, Value("int64"), part="lesson")
    with pytest.raises(DataError, match="expected a part called train, got lesson, more"):
        convzoo.datasets.load("hf-hub:me/pictures", columns=("img", "kind"))


def test_a_hub_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets.load names a data set that cannot be had, in one line"""
    import datasets

    from convzoo.errors import DataError

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="hf-hub:me/pictures: cannot be had: "):
        convzoo.datasets.load("hf-hub:me/pictures")
