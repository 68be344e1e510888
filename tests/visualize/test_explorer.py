"""The explorer's page: what it holds, how large it is, and what it refuses."""

import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convzoo
from convzoo import visualize
from convzoo.cli import main
from convzoo.errors import InputError, UnknownNameError, WeightsError


def read(page: Path) -> dict:
    """The numbers in a page, as the browser gets them."""
    text = page.read_text("utf-8")
    assert not re.search(r"""(src|href)=["']https?:|@import|fetch\(""", text), "it stands alone"
    script = r'<script id="data" type="application/json">(.*?)</script>'
    (data,) = re.findall(script, text, re.DOTALL)
    return json.loads(data)


def unpack(text: str, *shape: int) -> torch.Tensor:
    halves = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f2")
    return torch.from_numpy(halves.astype(np.float32)).reshape(shape)


@pytest.fixture
def net() -> convzoo.ResNet:
    return convzoo.cifar_resnet20(weights="fashion_mnist").eval()


def test_the_numbers_are_the_networks(net: convzoo.ResNet, tmp_path: Path) -> None:
    x = torch.randn(2, 1, 28, 28)
    page = visualize.explore(net, x, tmp_path / "new/look.html", classes=3, names=["a", "b"])
    data = read(page)
    assert [stage["name"] for stage in data["stages"]] == [
        "conv1", "stem", "layer1", "layer2", "layer3",
    ]  # fmt: skip
    assert [image["name"] for image in data["images"]] == ["a", "b"]
    maps = net.intermediates(x)
    best = net(x).softmax(1).topk(3)
    for i, image in enumerate(data["images"]):
        scores = image["scores"]
        assert [score["index"] for score in scores] == best.indices[i].tolist()
        assert [score["label"] for score in scores] == [net.labels[n] for n in best.indices[i]]
        assert scores[0]["probability"] == pytest.approx(best.values[i, 0].item(), rel=1e-5)
        cam = visualize.grad_cam(net, x[i : i + 1], scores[1]["index"], raw=True).relu()[0]
        shown = torch.tensor(list(base64.b64decode(scores[1]["cam"]))).view(data["network"]["cam"])
        torch.testing.assert_close(shown / 255, cam / cam.max(), rtol=0, atol=1 / 255)
        for stage, numbers in zip(data["stages"], image["stages"], strict=True):
            height, width = stage["shape"][1:]
            seen = torch.stack([unpack(text, height, width) for text in numbers["maps"]])
            if stage["name"] != "conv1":
                expected = maps[stage["name"]][i][stage["units"]]
                torch.testing.assert_close(seen, expected, rtol=1e-3, atol=1e-3)
    # A pixel of layer2: two blocks of stride 1 and three behind one of stride 2, 3 x 3 each.
    assert data["stages"][3]["field"] == {"size": [37, 37], "stride": [2, 2], "start": [-18, -18]}


@pytest.mark.parametrize(
    "name",
    ["lenet5", "alexnet_2012"]
    + [
        pytest.param(name, marks=pytest.mark.long) for name in ("cifar_resnet20", "resnext50_32x4d")
    ],
)
def test_the_sums_are_the_convolutions(name: str, tmp_path: Path) -> None:
    side = 28 if name == "lenet5" else 96
    net = convzoo.create_model(name, in_channels=2).eval()
    x = torch.randn(1, 2, side, side)
    data = read(visualize.explore(net, x, tmp_path / "look.html", preset=net.preset))
    checked = 0
    for stage, numbers in zip(data["stages"], data["images"][0]["stages"], strict=True):
        conv = stage["conv"]
        if conv is None:
            continue
        channels, *kernel = conv["kernel"]
        weights = torch.stack([unpack(text, channels, *kernel) for text in conv["weights"]])
        inputs = unpack(numbers["inputs"], 1, *conv["input"])
        module = net.get_submodule(conv["path"])
        kept: list[torch.Tensor] = []
        handle = module.register_forward_hook(
            lambda _m, _i, out, kept=kept: kept.append(out.clone())
        )
        net(x)
        handle.remove()
        for place, unit in enumerate(stage["units"]):
            group = unit // (conv["out"] // conv["groups"])
            mine = inputs[:, group * channels : (group + 1) * channels]
            found = nn.functional.conv2d(
                mine, weights[place : place + 1],
                None if conv["bias"] is None else torch.tensor(conv["bias"][place : place + 1]),
                conv["stride"], conv["padding"], conv["dilation"],
            )  # fmt: skip
            torch.testing.assert_close(found[0, 0], kept[0][0, unit], rtol=1e-2, atol=1e-2)
            checked += 1
    assert checked > 8


def test_other_peoples_networks(tmp_path: Path) -> None:
    import timm
    import torchvision

    x = torch.rand(1, 3, 64, 64)
    theirs = torchvision.models.resnet18().eval()
    data = read(visualize.explore(theirs, x, tmp_path / "a.html"))
    names = [stage["name"] for stage in data["stages"]]
    assert names == [*("conv1", "bn1", "relu", "maxpool"), *(f"layer{i}" for i in range(1, 5))]
    assert data["images"][0]["scores"][0]["label"].isdigit()
    assert data["network"]["cam"] == [2, 2]
    small = timm.create_model("mobilenetv3_small_050").eval()
    page = visualize.explore(small, x, tmp_path / "b.html", stages=["conv_stem", "blocks.3"])
    assert [stage["name"] for stage in read(page)["stages"]] == ["conv_stem", "blocks.3"]


def test_a_network_is_left_as_it_was(net: convzoo.ResNet, tmp_path: Path) -> None:
    net.train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    visualize.explore(net, torch.randn(1, 1, 28, 28), tmp_path / "look.html")
    assert net.training
    assert all(not m._forward_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])


def test_labels_cannot_break_out(net: convzoo.ResNet, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!--"
    net.labels = (*"abcdefghi", evil)
    page = visualize.explore(
        net, torch.zeros(1, 1, 28, 28), tmp_path / "look.html", classes=10, names=[evil]
    )
    assert "alert(1)</script>" not in page.read_text("utf-8")
    assert page.read_text("utf-8").count("<!--") == 0
    assert evil in {score["label"] for score in read(page)["images"][0]["scores"]}


@pytest.mark.long
def test_large_networks_stay_under_five_megabytes(
    net: convzoo.ResNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = convzoo.vgg11(num_classes=10, hidden=8)
    page = visualize.explore(large, torch.rand(1, 3, 192, 192), tmp_path / "look.html")
    assert 1_000_000 < page.stat().st_size <= 5_000_000
    assert read(page)["stages"][-1]["name"] == large.stages[-1].name
    x = torch.rand(1, 1, 28, 28)
    whole = visualize.explore(net, x, tmp_path / "small.html").stat().st_size
    monkeypatch.setattr("convzoo.visualize._explorer._MOST_BYTES", whole - 1)
    less = read(visualize.explore(net, x, tmp_path / "small.html"))
    assert [len(stage["units"]) for stage in less["stages"]] == [16] * 5
    monkeypatch.setattr("convzoo.visualize._explorer._MOST_BYTES", 1000)
    with pytest.raises(InputError, match=r"the page would be [\d,]+ bytes with the least"):
        visualize.explore(net, x, tmp_path / "more.html")
    assert not (tmp_path / "more.html").exists()


def test_what_is_refused(net: convzoo.ResNet, tmp_path: Path) -> None:
    x = torch.zeros(2, 1, 28, 28)
    with pytest.raises(UnknownNameError, match="'layer9': did you mean 'layer"):
        visualize.explore(net, x, tmp_path / "a.html", stages=["layer9"])
    with pytest.raises(InputError, match="put out maps"):
        visualize.explore(net, x, tmp_path / "a.html", stages=["fc"])
    with pytest.raises(InputError, match="stages: expected names of stages, got 'layer1'"):
        visualize.explore(net, x, tmp_path / "a.html", stages="layer1")
    with pytest.raises(InputError, match="names: expected one for each of 2 images"):
        visualize.explore(net, x, tmp_path / "a.html", names=["one"])
    with pytest.raises(InputError, match="none of the modules of Sequential puts out maps"):
        visualize.explore(
            nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), x, tmp_path / "a.html",
            preset=convzoo.presets.MNIST,
        )  # fmt: skip
    (tmp_path / "folder").mkdir()
    with pytest.raises(WeightsError, match="cannot be saved"):
        visualize.explore(net, x, tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, page = tmp_path / "boot.png", tmp_path / "page.html"
    Image.new("L", (28, 28), 90).save(picture)
    words = ["look", "lenet5.fashion_mnist", str(picture), "--out", str(page), "--stage", "conv2"]
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == str(page)
    data = read(page)
    assert data["title"] == "lenet5 looks at boot.png"
    assert [stage["name"] for stage in data["stages"]] == ["conv2"]
    assert main(["look", "lenet5.fashion_mnist", str(tmp_path / "none.png")]) == 2
    assert "none.png" in capsys.readouterr().err
