"""The catalogue, the key layouts and the labels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import convzoo
from convzoo import weights
from convzoo.errors import CorruptWeightsError, InputError, UnknownNameError, WeightsError
from convzoo.hub import _key_maps, load, verify
from convzoo.labels import LABEL_SETS, label_set, map_labels
from convzoo.weights import list_weights, weights_info

EVERY = list_weights()


@pytest.mark.parametrize("name", EVERY)
def test_every_row_is_whole(name: str) -> None:
    info = weights_info(name)
    assert info.name == f"{info.model}.{info.tag}" == name
    assert info.model in convzoo.registry.MODELS
    assert info.layout in _key_maps.LAYOUTS
    assert info.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", info.sha256)
    assert info.bundled == (info.repo is None)
    assert info.repo is None or re.fullmatch(r"(timm|lucid-dl)/[\w.-]+", info.repo)
    assert info.preset.channels == info.in_channels
    assert info.top1 is None or 50 < info.top1 < (info.top5 or 100) <= 100
    labels = info.label_names()
    assert labels is None or len(labels) == info.num_classes


@pytest.mark.parametrize("name", EVERY)
def test_every_row_belongs_to_a_network_with_those_sizes(name: str) -> None:
    info = weights_info(name)
    net = convzoo.create_model(
        info.model,
        num_classes=info.num_classes or None,
        in_channels=info.in_channels,
        device="meta",
        **info.options,
    )
    height, width = info.preset.height_width
    assert net.min_size <= min(height, width)
    assert net.max_size is None or max(height, width) <= net.max_size


def test_every_file_that_ships_is_in_the_catalogue_and_whole() -> None:
    rows = {info.file: info for info in map(weights_info, EVERY) if info.bundled}
    assert rows
    for file, info in rows.items():
        path = weights.BUNDLED / file
        assert [entry.status for entry in verify(info.name)] == ["ok"]
        assert info.sha256 is not None
        assert info.size in (None, path.stat().st_size)


def test_a_damaged_file_of_the_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = weights_info("cifar_resnet20.fashion_mnist")
    data = bytearray((weights.BUNDLED / info.file).read_bytes())
    data[-1] ^= 1
    (tmp_path / info.file).write_bytes(data)
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    with pytest.raises(CorruptWeightsError, match="install convzoo again"):
        load(info.name)
    (tmp_path / info.file).unlink()
    with pytest.raises(WeightsError, match="missing from this installation"):
        load(info.name)


def test_what_is_known_of_some_weights() -> None:
    info = weights_info("resnet50.a1_in1k")
    assert info.repo == "timm/resnet50.a1_in1k"
    assert info.sha256 == "773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb"
    assert (info.preset.input_size, info.preset.resize, info.train_size) == (288, 288, 224)
    assert (info.preset.interpolation, info.top1) == ("bicubic", 81.24)
    assert weights_info("resnet50.tv2_in1k").preset.resize == 232
    assert weights_info("inception_v3.tv_in1k").preset.mean == (0.5, 0.5, 0.5)
    assert weights_info("vgg16.tv_in1k").layout == "timm-vgg"


def test_licences_that_forbid_commerce_are_recognised() -> None:
    forbidding = {name for name in EVERY if not weights_info(name).commercial}
    assert "resnet18.fb_swsl_ig1b_ft_in1k" in forbidding
    assert "resnet18.a1_in1k" not in forbidding
    assert all("fb_" in name for name in forbidding)


def test_a_name_that_is_nearly_right() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'resnet50\.a1_in1k'"):
        weights_info("resnet50.a1_in1")
    assert list_weights("nothing*") == []
    assert weights.find_weights("resnet50", "resnet50.a1_in1k") == weights_info("resnet50.a1_in1k")
    assert weights.find_weights("resnet50", "tv") is None


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn", "vgg16", "vgg19_bn"])
def test_timms_vgg_layout_both_ways(name: str) -> None:
    import timm

    layout = _key_maps.get("timm-vgg")
    with torch.device("meta"):
        theirs = {k: tuple(v.shape) for k, v in timm.create_model(name).state_dict().items()}
    ours = convzoo.create_model(name, device="meta").state_dict()
    assert {k: tuple(v.shape) for k, v in layout.to_theirs(ours).items()} == theirs
    assert {
        layout.our_key(k): layout.our_shape(layout.our_key(k), shape) for k, shape in theirs.items()
    } == {k: tuple(v.shape) for k, v in ours.items()}
    assert _key_maps.detect(name, theirs) is layout
    assert _key_maps.detect(name, ours).name == "torchvision"


def test_renamed_alexnet_and_googlenet() -> None:
    alexnet, googlenet = _key_maps.get("lucid-alexnet"), _key_maps.get("lucid-googlenet")
    assert alexnet.our_key("fc6.weight") == "classifier.1.weight"
    assert alexnet.our_key("classifier.bias") == "classifier.6.bias"
    assert alexnet.our_key("features.0.weight") == "features.0.weight"
    assert googlenet.our_key("classifier.weight") == "fc.weight"
    for model, layout in (("alexnet", alexnet), ("googlenet", googlenet)):
        ours = convzoo.create_model(model, device="meta").state_dict()
        theirs = layout.to_theirs(ours)
        assert [layout.our_key(key) for key in theirs] == list(ours)
        assert _key_maps.detect(model, theirs) is layout
    with pytest.raises(UnknownNameError):
        _key_maps.get("keras")


def test_imagenets_labels() -> None:
    labels = label_set("imagenet-1k")
    assert len(labels) == len(labels.names) == len(set(labels.ids or ())) == 1000
    assert labels.ids is not None
    assert list(labels.ids) == sorted(labels.ids)  # the order of the scores is that of the ids
    assert (labels.ids[281], labels.names[281]) == ("n02123045", "tabby, tabby cat")
    assert labels.names[999].startswith("toilet tissue")
    assert label_set("fashion-mnist").names[9] == "Ankle boot"
    with pytest.raises(UnknownNameError, match="did you mean 'imagenet-1k'"):
        label_set("imagenet1k")
    assert {label_set(name).name for name in LABEL_SETS} == set(LABEL_SETS)


def test_labels_map_by_wordnet_id() -> None:
    ids = label_set("imagenet-1k").ids
    assert ids is not None
    assert map_labels([ids[7], ids[3]], "imagenet-1k") == (7, 3)
    assert map_labels("imagenet-1k", "imagenet-1k") == tuple(range(1000))
    assert map_labels("imagenet-1k", ids[:2], missing="skip")[:3] == (0, 1, -1)
    with pytest.raises(InputError, match="1 of 2 classes are not in the target, such as 'n00'"):
        map_labels([ids[0], "n00"], "imagenet-1k")
    with pytest.raises(InputError, match="'fashion-mnist' have no WordNet ids"):
        map_labels("fashion-mnist", "imagenet-1k")
