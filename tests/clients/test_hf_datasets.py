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
