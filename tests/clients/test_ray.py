"""Ray Data: labels for a data set of any size, on as many machines as there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import convzoo

ray = pytest.importorskip("ray")

DISTRIBUTION = "ray"


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[list[str]]:
    from PIL import Image

    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    for i in range(8):
        Image.new("L", (28, 28), 30 * i).save(tmp_path / f"{i}.png")
    yield sorted(map(str, tmp_path.glob("*.png")))
    ray.shutdown()


def test_map_batches(paths: list[str]) -> None:
    """The Predictor in map_batches, one a worker"""
    import ray.data

    class Label:
        def __init__(self) -> None:
            self.predict = convzoo.Predictor("lenet5.fashion_mnist", top_k=1)

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            found = self.predict.batch(map(str, batch["path"]))
            return {**batch, "label": [best.label for (best,) in found]}

    files = ray.data.from_items([{"path": path} for path in paths])
    labelled = files.map_batches(Label, batch_size=4, concurrency=1)
    found = {row["path"]: row["label"] for row in labelled.take_all()}

    predict = convzoo.Predictor("lenet5.fashion_mnist", top_k=1)
    assert found == {path: predict(path)[0].label for path in paths}
