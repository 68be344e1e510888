"""timm, and transformers through it, with the networks of ours that timm lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import convzoo
import convzoo.integrations.timm
from convzoo.hub._config import TIMM_HAS, name_for_timm
from convzoo.registry import MODELS

timm = pytest.importorskip("timm")


@pytest.fixture
def registered() -> None:
    """timm with our networks; `conftest.py` takes them out again."""
    assert convzoo.integrations.timm.register()
    assert convzoo.integrations.timm.register() == []


def test_which_networks_timm_has() -> None:
    ours = {name for name, info in MODELS.items() if info.builder.__module__.startswith("convzoo.")}
    assert {name for name in ours if timm.is_model(name)} == TIMM_HAS


def test_no_name_of_timm_is_shadowed() -> None:
    before = {name: timm.model_entrypoint(name) for name in timm.list_models()}
    new = set(convzoo.integrations.timm.register())
    assert not new & set(before)
    assert all(timm.model_entrypoint(name) is before[name] for name in before)
    assert {"alexnet_2012", "googlenet", "lenet5", "cifar_resnet20"} <= new


def network(name: str, **options: object) -> convzoo.Classifier:
    torch.manual_seed(0)
    net = convzoo.create_model(name, num_classes=3, **options).eval()
    nn.init.normal_(net.get_parameter(f"{net.head_path}.bias"))
    net.labels = ("ant", "bee", "cow")
    return net


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet5", {}),
        ("cifar_resnet20", {"in_channels": 2}),
        ("resnet18", {"stem": "small"}),
        ("mlp", {"hidden": (20, 10)}),  # JSON has lists
    ],
)
def test_saved_folders_load_in_timm(
    registered: None, tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    net = network(name, **options)
    folder = convzoo.save(net, tmp_path / "net")
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert theirs.labels == net.labels
    assert net.preset is not None
    x = torch.randn(2, net.in_channels, *net.preset.height_width)
    assert torch.equal(theirs(x), net(x))
    other = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=5)
    assert other.num_classes == 5


def test_networks_by_name(registered: None) -> None:
    net = timm.create_model("alexnet_2012", num_classes=4, in_chans=1, device="meta")
    assert (type(net), net.num_classes, net.in_channels) == (convzoo.AlexNet2012, 4, 1)
    assert timm.create_model("alexnet", drop_rate=0.25, device="meta").classifier[0].p == 0.25
    theirs = timm.create_model("lenet5.fashion_mnist", pretrained=True)
    ours = convzoo.load("lenet5.fashion_mnist")
    assert torch.equal(theirs.state_dict()["fc3.weight"], ours.state_dict()["fc3.weight"])
    with pytest.raises(convzoo.UnknownNameError, match=r"option of googlenet.*'global_pool'"):
        timm.create_model("googlenet", global_pool="max")


def test_grey_networks_take_the_luminance_of_colour_images(registered: None) -> None:
    net = timm.create_model("lenet5", pretrained=True, pretrained_cfg="fashion_mnist").eval()
    image = Image.effect_noise((28, 28), 60).convert("RGB")
    image.putpixel((3, 4), (200, 10, 60))
    preset = net.preset
    rgb = torch.stack([preset.eval()(band)[0] for band in image.split()])
    grey = preset.eval()(image)
    assert torch.allclose(net(rgb[None]), net(grey[None]), atol=0.02)  # Pillow rounds to 8 bits
    with pytest.raises(convzoo.InputError, match="expected 1 channel"):
        net(torch.zeros(1, 2, 28, 28))


def test_transformers_classifies_with_a_saved_folder(registered: None, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    net = network("lenet5")
    folder = convzoo.save(net, tmp_path / "net")
    card = (folder / "README.md").read_text("utf-8")
    assert "convzoo.integrations.timm.register()" in card
    classify = transformers.pipeline("image-classification", model=str(folder), device="cpu")
    image = Image.effect_noise((28, 28), 60)
    found = {entry["label"]: entry["score"] for entry in classify(image)}
    expected = {p.label: p.probability for p in convzoo.Predictor(net)(image)}
    assert found == pytest.approx(expected, abs=1e-5)


def test_what_timm_and_transformers_say_names_the_way_out(tmp_path: Path) -> None:
    convzoo.save(network("resnet18"), tmp_path / "theirs")
    assert "register" not in (tmp_path / "theirs" / "README.md").read_text("utf-8")
    assert name_for_timm("alexnet") == "alexnet_convzoo_integrations_timm_register"
    folder = convzoo.save(network("lenet5"), tmp_path / "net")
    with pytest.raises(RuntimeError, match="convzoo_integrations_timm_register"):
        timm.create_model(f"local-dir:{folder}", pretrained=True)
    transformers = pytest.importorskip("transformers")
    with pytest.raises(ImportError, match="convzoo_integrations_timm_register"):
        transformers.AutoModelForImageClassification.from_pretrained(folder)
