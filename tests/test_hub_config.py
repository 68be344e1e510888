"""A config.json that lies: one clear error, never a wrong network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convzoo.errors import (
    CheckpointError,
    ConvzooError,
    WeightsError,
)
from convzoo.hub import load, save
from hub_helpers import as_before, edited, rewritten, same, three

WEIGHTS = "model.safetensors"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["convzoo"].update(architecture="resnet18"), "does not fit resnet18"),
        (lambda c: c["convzoo"].update(architecture="../../etc"), "does not have"),
        (lambda c: c["convzoo"].update(architecture=["resnet18"]), "architecture: expected a"),
        (lambda c: (c["convzoo"].pop("architecture"), c.pop("architecture")), "nothing says"),
        (lambda c: (c.update(num_classes=1_000_000), c.pop("label_names")), "does not fit"),
        (lambda c: c.update(num_classes=1 << 40), "num_classes: expected an integer from"),
        (lambda c: c.update(num_classes=-3), "num_classes: expected an integer"),
        (lambda c: c.update(num_classes="3"), "num_classes: expected an integer"),
        (lambda c: c.update(num_classes=True), "num_classes: expected an integer"),
        (lambda c: c.update(label_names=["a"]), "label_names: expected 3 names"),
        (lambda c: c.update(label_names=[1, 2, 3]), "label_names: expected a list of strings"),
        (lambda c: c.update(pretrained_cfg=[]), "pretrained_cfg: expected an object"),
        (lambda c: c.update(convzoo="x"), "convzoo: expected an object"),
        (lambda c: c["convzoo"].update(in_channels=9), "does not fit"),
        (lambda c: c["convzoo"].update(in_channels=0), "in_channels: expected an integer"),
        (lambda c: c["convzoo"].update(in_channels=10**12), "in_channels: expected an integer"),
        (
            lambda c: c["convzoo"].update(architecture="mlp", options={"hidden": [1 << 20] * 3}),
            "hidden=.* it would have .* parameters",
        ),
        (
            lambda c: c["convzoo"].update(options={"zero_init_residual": "yes"}),
            "zero_init_residual: expected True or False",
        ),
        (lambda c: c["convzoo"].update(head_dropout=2), "head_dropout: expected a probability"),
        (lambda c: c["convzoo"].update(dtype="int8"), "dtype: expected one of float64"),
        (lambda c: c["convzoo"].update(dtype=["float32"]), "dtype: expected one of"),
        (lambda c: c["convzoo"].update(preset={"a": 1}), "preset: fields: expected"),
        (lambda c: c["convzoo"]["preset"].update(std=[0, 0, 0]), "preset: std: expected numbers"),
        (lambda c: c["convzoo"]["preset"].update(input_size=-1), "preset: input_size"),
        (lambda c: c["convzoo"].update(options={"stem": "huge"}), "stem"),
        (lambda c: c["convzoo"].update(options={"stem": {}}), "options|stem"),
        (lambda c: c["convzoo"].update(options={"widths": [9]}), "widths"),
        (lambda c: c["convzoo"].update(options={"weights": "a1_in1k"}), "option"),
        (lambda c: c["convzoo"].update(options={"device": "cuda:99"}), "option"),
        (lambda c: c["convzoo"].update(options={"num_classes": 4}), "option"),
        (lambda c: c["convzoo"].update(weights_id=7), "weights_id: expected a short string"),
    ],
)
def test_a_config_that_lies(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = edited(save(three(), tmp_path / "new"), edit)
    old = edited(as_before(save(three(), tmp_path / "old")), edit)
    for place in (folder, old):
        with pytest.raises(ConvzooError, match=message):
            load(place)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"],
    ids=["empty", "list", "cut", "twice", "nan", "deep", "digits"],
)
def test_a_config_that_is_no_config(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save(three(), tmp_path / "net")
    (folder / "config.json").write_text(text)
    assert same(load(folder), three())  # the weights file says all
    assert "config.json" in caplog.text
    rewritten(folder / WEIGHTS, lambda header: header["__metadata__"].update(convzoo=text))
    with pytest.raises(WeightsError, match=r"model\.safetensors: header: convzoo"):
        load(folder)
    rewritten(folder / WEIGHTS, lambda header: header["__metadata__"].pop("convzoo"))
    with pytest.raises(WeightsError, match=r"config\.json"):
        load(folder)


def test_a_config_that_is_too_large(tmp_path: Path) -> None:
    folder = as_before(save(three(), tmp_path / "net"))
    with (folder / "config.json").open("r+b") as file:
        file.truncate(17 << 20)
    with pytest.raises(WeightsError, match="larger than"):
        load(folder)


def test_names_of_files_in_a_config_are_not_followed(tmp_path: Path) -> None:
    folder = save(three(), tmp_path / "net")
    edited(folder, lambda c: c["pretrained_cfg"].update(file="../../secret", url="http://x/y"))
    assert same(load(folder), three())


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_links_out_of_a_folder_are_not_followed(tmp_path: Path, name: str) -> None:
    folder = save(three(), tmp_path / "net")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="a link out of the folder"):
        load(folder)
