"""An evaluation as a page: what is in it, and what it will not do."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from convzoo import presets, training, visualize
from convzoo.datasets import LabelledImages
from convzoo.errors import InputError


class Fixed(nn.Module):
    """Scores by the brightness of an image."""

    preset = presets.Preset(input_size=8, resize=8, mean=(0.0,), std=(1.0,), channels=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grey = x.mean((1, 2, 3))
        return torch.stack([1 - grey, grey, torch.full_like(grey, 0.45)], 1) * 9


def photos(folder: Path) -> LabelledImages:
    greys = [0, 40, 250, 200, 10, 255]
    paths = [folder / f"{i} <b>.png" for i in range(6)]
    for path, grey in zip(paths, greys, strict=True):
        Image.new("L", (8, 8) if grey else (300, 200), grey).save(path)
    return LabelledImages(paths, [0, 1, 1, 1, 0, 0], ["dark", "</script><b>", "never"])


def held(page: Path) -> dict:
    text = page.read_text("utf-8")
    (found,) = re.findall(
        r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL
    )
    return json.loads(found)


def test_what_is_on_the_page(tmp_path: Path) -> None:
    data = photos(tmp_path)
    result = training.evaluate(Fixed(), data, labels=data.classes, cpu=True)
    page = visualize.evaluation_report(result, tmp_path / "new" / "report.html", data=data, count=2)
    shown = held(page)
    assert [one["label"] for one in shown["classes"]] == list(data.classes)
    assert shown["confused"] == [
        {"truth": 0, "prediction": 1, "images": 1, "share": 1 / 3},
        {"truth": 1, "prediction": 0, "images": 1, "share": 1 / 3},
    ]
    worst = shown["images"][: shown["worst"]]
    assert [one["index"] for one in worst] == [one.index for one in result.top_losses(2)] == [5, 1]
    assert worst[0]["name"] == "5 <b>.png"
    assert worst[0]["picture"].startswith("data:image/png;base64,")
    assert shown["figures"][0]["value"] == "66.67%"
    assert sum(n for _, _, n in shown["counts"]) == 6
    assert shown["calibration"]["error"] == result.calibration.error
    assert "http" not in page.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    # A page of ours is replaced.
    visualize.evaluation_report(result, page, title="again")
    assert held(page)["title"] == "again"


def test_a_title_that_is_no_text(tmp_path: Path) -> None:
    data = photos(tmp_path)
    result = training.evaluate(Fixed(), data, labels=data.classes, cpu=True)
    title = "a </title>\n$data é \udcff"  # as a file name of another encoding comes
    page = visualize.evaluation_report(result, tmp_path / "report.html", data=data, title=title)
    assert held(page)["title"] == title
    assert page.read_text("utf-8").count("</title>") == 1


def test_photographs_are_small_and_lost_ones_are_said(tmp_path: Path) -> None:
    data = photos(tmp_path)
    result = training.evaluate(Fixed(), data, cpu=True)
    Path(data.images[1]).unlink()
    pictures = {
        one["index"]: one["picture"]
        for one in held(visualize.evaluation_report(result, tmp_path / "r.html"))["images"]
    }
    assert pictures[0].startswith("data:image/jpeg;base64,")
    assert len(pictures[0]) < 4000
    assert pictures[1] is None


def test_without_images_with_inputs_and_with_no_numbers(tmp_path: Path) -> None:
    ready = [(torch.rand(1, 8, 8), 0), (torch.full((1, 8, 8), math.nan), 1)]
    result = training.evaluate(Fixed(), ready, cpu=True)
    shown = held(visualize.evaluation_report(result, tmp_path / "a.html", preset=Fixed()))
    assert shown["images"][0]["loss"] is None
    assert shown["calibration"] is None
    read = training.Evaluation.from_dict(result.to_dict())
    shown = held(visualize.evaluation_report(read, tmp_path / "b.html"))
    assert shown["images"] == []
    assert shown["worst"] == 0


def test_many_classes_have_no_matrix(tmp_path: Path) -> None:
    rows = tuple(((i, 1),) for i in range(500))
    result = training.Evaluation(500, 0.1, 1.0, 1.0, rows, tuple(map(str, range(500))))
    assert held(visualize.evaluation_report(result, tmp_path / "a.html"))["counts"] is None


def test_what_is_somebody_elses_stays(tmp_path: Path) -> None:
    result = training.evaluate(Fixed(), photos(tmp_path), cpu=True)
    own = tmp_path / "own.html"
    own.write_text("<h1>my page</h1>")
    with pytest.raises(InputError, match=r"holds own.html of somebody else"):
        visualize.evaluation_report(result, own)
    with pytest.raises(InputError, match="path: expected a file, got the folder"):
        visualize.evaluation_report(result, tmp_path)
    assert own.read_text() == "<h1>my page</h1>"
    with pytest.raises(InputError, match="data: expected the data set of 6 images"):
        visualize.evaluation_report(result, tmp_path / "r.html", data=[1, 2])
    with pytest.raises(InputError, match="result: expected an Evaluation"):
        visualize.evaluation_report({}, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
