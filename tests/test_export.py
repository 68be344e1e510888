"""Files for other runtimes: what they compute, what they say of themselves, what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convzoo
from contract_nets import CLASSES, SHALLOW, build
from convzoo.cli import main
from convzoo.errors import InputError, MissingExtraError, UnknownNameError, WeightsError
from convzoo.inference import Predictor, export
from convzoo.inference._formats import FORMATS
from convzoo.inference._in_graph import WithPreprocessing
from convzoo.presets import CIFAR10, IMAGENET, LENET5_1998, MNIST

LABELS = ("cat", "dog", "Übersee")


def small() -> convzoo.Classifier:
    net = convzoo.mnist_cnn(num_classes=3, hidden=[8])
    net.labels = LABELS
    return net


def photo(height: int, width: int, channels: int) -> Image.Image:
    draw = torch.Generator().manual_seed(height * width)
    pixels = torch.randint(0, 256, (height, width, channels), generator=draw, dtype=torch.uint8)
    return Image.fromarray(pixels.squeeze(-1).numpy())


def array(image: Image.Image) -> Tensor:
    """As a file takes it, in a batch of one."""
    pixels = torch.from_numpy(np.array(image))
    return pixels.reshape(1, *pixels.shape[:2], -1)


class Unchanged(nn.Module):
    num_classes = 0

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(
    "preset",
    [
        *(IMAGENET, LENET5_1998, MNIST, CIFAR10),
        IMAGENET.replace(crop="squash", resize=70, input_size=64),
        IMAGENET.replace(resize=None, input_size=64),
        IMAGENET.replace(resize=50, input_size=64),
        IMAGENET.replace(input_size=(40, 60), resize=45),
        *(
            IMAGENET.replace(interpolation=how, input_size=48, resize=50)
            for how in ("bicubic", "box", "hamming", "lanczos")
        ),
    ],
    ids=lambda p: f"{p.interpolation}-{p.crop}-{p.input_size}-{p.resize}",
)
def test_preparation_in_the_graph_is_that_of_files(preset):
    graph = WithPreprocessing(Unchanged(), preset)
    std = torch.tensor(preset.std)[:, None, None]
    for size in ((61, 83), (190, 33), (28, 28), (1, 1), (64, 65)):
        image = photo(*size, preset.channels)
        found = graph(array(image))[0]
        grey_levels = ((found - preset.eval()(image)) * std * 255).abs()
        # Pillow rounds to integers after each of two passes; their order is its version's.
        assert grey_levels.max() < 2.01
        assert grey_levels.mean() < 0.3


def test_five_channels_are_prepared_as_tensors_are():
    preset = IMAGENET.replace(input_size=20, resize=24).for_channels(5)
    x = torch.randint(0, 256, (2, 5, 40, 50), dtype=torch.uint8)
    found = WithPreprocessing(Unchanged(), preset)(x.permute(0, 2, 3, 1))
    assert ((found - preset.eval()(x)).abs().amax((0, 2, 3)) * 0.23 * 255 < 1.1).all()


def test_pt2_takes_images_and_gives_probabilities(tmp_path):
    net = small()
    made = export(net, tmp_path / "net.pt2", preprocessing=True)
    assert (made.format, made.dtype, made.output) == ("pt2", "uint8", "probabilities")
    assert made.input_shape == ("batch", "height", "width", 1)
    assert 0 <= made.difference < 0.02
    assert net.training
    about = {"convzoo.json": ""}
    run = torch.export.load(tmp_path / "net.pt2", extra_files=about).module()
    image = photo(45, 77, 1)
    found = run(array(image))[0].detach()
    for prediction in Predictor(net)(image):
        assert found[prediction.index] == pytest.approx(prediction.probability, abs=2e-3)
    said = json.loads(about["convzoo.json"])
    assert tuple(said["labels"]) == LABELS
    assert convzoo.Preset.from_dict(said["preset"]) == net.preset
    assert (said["architecture"], said["options"]) == ("mnist_cnn", {"hidden": [8]})


def test_onnx_of_any_batch_and_size(tmp_path):
    net = small()
    path = tmp_path / "net.onnx"
    export(net, path, preprocessing=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.shape) == ("image", ["batch", "height", "width", 1])
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["labels"]) == list(LABELS)
    assert about["preprocessing"] == "true"
    images = torch.randint(0, 256, (4, 90, 31, 1), dtype=torch.uint8)
    (found,) = session.run(None, {"image": images.numpy()})
    with torch.no_grad():
        scores = net.eval()(net.preset.eval()(images.permute(0, 3, 1, 2)))
    torch.testing.assert_close(torch.from_numpy(found), scores.softmax(1), atol=5e-3, rtol=0)


@pytest.mark.long
def test_openvino(tmp_path):
    openvino = pytest.importorskip("openvino")
    net = small()
    made = export(net, tmp_path / "net.xml", "openvino", preprocessing=True)
    assert made.input_shape == ("batch", "height", "width", 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    model = openvino.Core().read_model(tmp_path / "net.xml")
    assert json.loads(model.get_rt_info(["convzoo", "labels"]).value) == list(LABELS)
    run = openvino.Core().compile_model(tmp_path / "net.xml", "CPU")
    assert run(np.zeros((2, 50, 40, 1), np.uint8))["probabilities"].shape == (2, 3)
    (tmp_path / "net.xml").unlink()
    with pytest.raises(InputError, match=r"net\.bin is there already"):  # perhaps another's
        export(net, tmp_path / "net.xml")


def test_safetensors_is_what_load_takes(tmp_path):
    net = small()
    path = export(net, tmp_path / "net.safetensors").path
    again = convzoo.load(path)
    assert again.labels == LABELS
    assert all(map(torch.equal, net.state_dict().values(), again.state_dict().values()))
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
    with pytest.raises(InputError, match="preprocessing: safetensors holds no steps"):
        export(net, path, preprocessing=True, overwrite=True)
    assert convzoo.load(path).labels == LABELS


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n == "cifar_resnet20" else pytest.mark.long)
        for n in ("cifar_resnet20", *(c for c in CLASSES if c in SHALLOW))
    ],
)
def test_every_kind_of_network(name, tmp_path):
    made = export(build(name), tmp_path / "net.pt2")
    free = ("batch", made.input_shape[1], "height", "width")
    assert (made.input_shape == free) == (build(name).max_size is None)
    assert made.difference < 1e-4


@pytest.mark.long
@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize("preprocessing", [True, False])
@pytest.mark.parametrize("name", ["cifar_resnet20", "resnet18", "alexnet_2012", "lenet5_1998"])
def test_every_kind_of_file(name, preprocessing, to, tmp_path):
    for module in FORMATS[to].needs:
        pytest.importorskip(module)
    made = export(build(name), tmp_path / f"net{FORMATS[to].suffix}", preprocessing=preprocessing)
    assert made.difference < (0.02 if preprocessing else 1e-3)


def test_features_without_a_head(tmp_path):
    made = export(convzoo.mnist_cnn(num_classes=0, hidden=[8]), tmp_path / "net.pt2")
    assert made.output == "features"


def test_a_file_that_does_something_else_is_not_left_behind(tmp_path, monkeypatch):
    path = tmp_path / "net.pt2"
    path.write_text("mine")
    wrong = FORMATS["pt2"]._replace(run=lambda _: lambda x: x.flatten(1)[:, :3] * 0 + 1)
    monkeypatch.setitem(FORMATS, "pt2", wrong)
    with pytest.raises(WeightsError, match=r"net\.pt2: not written: on 1 image\(s\)"):
        export(small(), path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt2"]
    assert path.read_text() == "mine"


def test_what_is_refused(tmp_path, monkeypatch):
    net, path = small(), tmp_path / "net.onnx"
    for wrong, message in (
        ({"net": nn.Identity()}, "net: expected one of convzoo's networks"),
        ({"path": 3}, "path: expected a file name"),
        ({"path": ""}, "path: expected a path"),
        ({"path": "net.engine"}, r"path: expected a name that ends in \.onnx or "),
        ({"path": tmp_path / "net.onnx", "to": "pt2"}, r"ends in \.pt2, got 'net\.onnx'"),
        ({"preprocessing": "yes"}, "preprocessing: expected True or False"),
        ({"overwrite": 1}, "overwrite: expected True or False"),
        ({"net": convzoo.lenet5(device="meta")}, "net: it is on the meta device"),
        ({"net": small().half()}, r"net: expected float32, got torch\.float16"),
    ):
        with pytest.raises(InputError, match=message):
            export(**{"net": net, "path": path, **wrong})
    with pytest.raises(UnknownNameError, match="did you mean 'onnx'"):
        export(net, path, "onx")
    for preset in (net.preset.replace(crop="none"), net.preset.replace(interpolation="nearest")):
        net.preset = preset
        with pytest.raises(InputError, match="preprocessing: "):
            export(net, path, preprocessing=True)
    with pytest.raises(WeightsError, match="cannot be written: No such file"):
        export(small(), tmp_path / "no" / "net.pt2")
    path.write_text("mine")
    with pytest.raises(InputError, match=r"net\.onnx is there already; overwrite=True"):
        export(net, path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"onnx needs onnxruntime.*convzoo\[fast\]"):
        export(net, path, overwrite=True)
    assert path.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    convzoo.save(small(), "boats")
    assert main(["export", "boats/", "--to", "safetensors"]) == 0
    assert capsys.readouterr().out.startswith("boats.safetensors: 0.")
    assert main(["export", "boats", "--to", "safetensors"]) == 2
    assert "boats.safetensors is there already" in capsys.readouterr().err
    arguments = ["--to", "pt2", "--out", "b.pt2", "--preprocessing", "--json"]
    assert main(["export", "boats", *arguments]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == "b.pt2"
    assert said["input_shape"] == ["batch", "height", "width", 1]
    assert Path("b.pt2").exists()
