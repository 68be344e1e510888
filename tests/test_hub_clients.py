"""Other people's clients load what we save, and we what they save."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import convzoo
from convzoo import models, presets
from convzoo.hub import load, save
from hub_helpers import same

pytest_plugins = ["hub_fixtures"]

WEIGHTS = "model.safetensors"


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("resnet18", 64),
        ("inception_v3", 96),
        pytest.param("vgg11_bn", 224, marks=pytest.mark.long),  # half a gigabyte, four times over
    ],
)
def test_timm_loads_what_we_save_and_we_what_timm_saves(
    tmp_path: Path, name: str, side: int
) -> None:
    import timm
    from timm.models import save_for_hf

    net = convzoo.create_model(name, num_classes=3, in_channels=2).eval()
    nn.init.ones_(net.get_parameter(f"{net.head_path}.bias"))
    net.labels = ("ant", "bee", "cow")
    folder = save(net, tmp_path / "ours")
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    # transformers takes the file as it is, so the keys have to be timm's already.
    assert set(safetensors.torch.load_file(folder / WEIGHTS)) == set(theirs.state_dict())
    x = torch.randn(1, 2, side, side)
    expected = net(x)
    assert torch.allclose(theirs(x), expected, rtol=1e-4, atol=1e-5)
    assert theirs.pretrained_cfg["label_names"] == ["ant", "bee", "cow"]
    save_for_hf(
        theirs, str(tmp_path / "theirs"), {"label_names": ["x", "y", "z"]}, safe_serialization=True
    )
    back = load(tmp_path / "theirs").eval()
    assert same(back, net)
    assert (back.labels, back.in_channels) == (("x", "y", "z"), 2)
    assert back.preset is not None
    assert net.preset is not None
    assert back.preset.input_size == net.preset.input_size


def test_a_folder_in_which_timm_left_a_pickle_only(tmp_path: Path) -> None:
    import timm
    from timm.models import save_for_hf

    theirs = timm.create_model("resnet18", num_classes=3)
    save_for_hf(theirs, str(tmp_path), safe_serialization=False)
    with pytest.raises(convzoo.CheckpointError, match=r"safe_serialization=True"):
        load(tmp_path)
    with pytest.raises(convzoo.WeightsError, match=r"safe_serialization=True"):
        load(tmp_path / "pytorch_model.bin")
    assert same(load(tmp_path, allow_pickle=True), theirs)


def test_timm_refuses_what_it_would_build_otherwise(tmp_path: Path) -> None:
    import timm

    folder = save(models.resnet50(num_classes=2, stride_in="1x1"), tmp_path / "net")
    with pytest.raises(RuntimeError, match="resnet50_convzoo"):
        timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert load(folder).options == {"stride_in": "1x1"}


@pytest.mark.parametrize("resize", range(200, 300, 7))
def test_timm_crops_as_the_preset_does(resize: int) -> None:
    import math

    from convzoo._idioms import timm_fields
    from convzoo.hub._config import timm_preset

    preset = presets.IMAGENET.replace(resize=resize, interpolation="bicubic")
    fields = timm_fields(preset)
    assert math.floor(224 / float(str(fields["crop_pct"]))) == resize  # what timm computes
    assert timm_preset(fields) == preset


def test_transformers_loads_and_classifies(tmp_path: Path) -> None:
    from PIL import Image
    from transformers import AutoModelForImageClassification, pipeline

    net = models.resnet18(num_classes=3).eval()
    net.labels = ("ant", "bee", "cow")
    net.preset = presets.IMAGENET.replace(input_size=64, resize=64)
    folder = save(net, tmp_path / "net")
    theirs = AutoModelForImageClassification.from_pretrained(folder).eval()
    x = torch.randn(1, 3, 64, 64)
    assert torch.allclose(theirs(x).logits, net(x), atol=1e-4)
    classify = pipeline("image-classification", model=str(folder), device="cpu")
    found = classify(Image.new("RGB", (80, 70), (200, 30, 4)))
    assert {entry["label"] for entry in found} == {"ant", "bee", "cow"}
