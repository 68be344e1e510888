"""Other normalisation, dilation and padding in ResNets: torchvision's, timm's and akamaster's."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d

import convzoo
from convzoo import models
from convzoo.errors import CheckpointError, InputError, UnknownNameError

GROUPS = functools.partial(nn.GroupNorm, 32)
LAYERS = functools.partial(LayerNorm2d, eps=1e-6)
NORMS = [
    ("batch_norm", nn.BatchNorm2d),
    ("frozen_batch_norm", FrozenBatchNorm2d),
    ("group_norm", GROUPS),
    ("layer_norm", LAYERS),
]


@pytest.mark.parametrize("named", [True, pytest.param(False, marks=pytest.mark.long)])
@pytest.mark.parametrize(("name", "layer"), NORMS, ids=[name for name, _ in NORMS])
def test_normalisation_is_torchvisions(name, layer, named, tmp_path: Path) -> None:
    ours = models.resnet18(num_classes=3, norm_layer=name if named else layer)
    theirs = torchvision.models.resnet18(num_classes=3, norm_layer=layer)
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    for training in (True, False):
        assert torch.equal(ours.train(training)(x), theirs.train(training)(x))
    again = convzoo.load(convzoo.save(ours, tmp_path / "net")).eval()
    assert torch.equal(again(x), ours(x))
    assert again.options == {"norm_layer": name}


def test_frozen_batch_norm_takes_weights_of_the_usual_one(tmp_path: Path) -> None:
    usual = convzoo.cifar_resnet20(num_classes=3).eval()
    folder = convzoo.save(usual, tmp_path / "net")
    net = convzoo.cifar_resnet20(weights=str(folder), norm_layer="frozen_batch_norm")
    x = torch.randn(2, 3, 16, 16)
    assert torch.allclose(net.train()(x), usual(x), atol=1e-5)
    assert all("bn" not in name for name, _ in net.named_parameters())
    with pytest.raises(CheckpointError, match="does not fit cifar_resnet20"):
        convzoo.cifar_resnet20(weights=str(folder), norm_layer=functools.partial(nn.GroupNorm, 1))


@pytest.mark.parametrize("name", ["preact_resnet50", "cifar_preact164", "plain18"])
def test_every_block_takes_other_normalisation(name: str) -> None:
    net = convzoo.create_model(name, num_classes=2, norm_layer=functools.partial(nn.GroupNorm, 4))
    assert not [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert net.layer1[0].bn1.weight.eq(1).all() if hasattr(net.layer1[0], "bn1") else True
    assert net(torch.randn(1, 3, 64, 64)).isfinite().all()


def test_what_has_no_name_cannot_be_saved(tmp_path: Path) -> None:
    net = convzoo.cifar_resnet20(norm_layer=functools.partial(nn.GroupNorm, 4))
    with pytest.raises(InputError, match=r"norm_layer=.*a layer by its name, such as 'group_norm'"):
        convzoo.save(net, tmp_path / "net")
    with pytest.raises(UnknownNameError, match=r"unknown norm_layer 'groupnorm'.*group_norm"):
        convzoo.create_model("resnet18", norm_layer="groupnorm")
    with pytest.raises(InputError, match="norm_layer: expected one of batch_norm"):
        convzoo.create_model("resnet18", norm_layer=3)

    class Unfilled(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(channels))

    with pytest.raises(InputError, match="Unfilled has no reset_parameters"):
        convzoo.resnet18(norm_layer=Unfilled)


@pytest.mark.parametrize(
    "dilate",
    [
        pytest.param((False, False, True), marks=pytest.mark.long),
        (False, True, True),
        pytest.param((True, True, True), marks=pytest.mark.long),
    ],
)
def test_dilation_is_torchvisions(dilate: tuple[bool, ...], share_weights) -> None:
    ours = convzoo.resnet50(num_classes=2, replace_stride_with_dilation=dilate).eval()
    theirs = torchvision.models.resnet50(num_classes=2, replace_stride_with_dilation=dilate).eval()
    share_weights(ours, theirs)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
        maps = ours.intermediates(x)
    assert [64 // s.stride for s in ours.stages] == [f.shape[2] for f in maps.values()]


def test_dilation_in_basic_blocks_is_timms(share_weights, tmp_path: Path) -> None:
    ours = convzoo.resnet18(num_classes=2, replace_stride_with_dilation=[False, True, True]).eval()
    theirs = timm.create_model("resnet18", num_classes=2, output_stride=8).eval()
    share_weights(ours, theirs)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    again = convzoo.load(convzoo.save(ours, tmp_path / "net")).eval()
    assert torch.equal(again(x), ours(x))
    for wrong in ((True,), (1, 0, 0), "abc", 3):
        with pytest.raises(InputError, match="replace_stride_with_dilation: expected True or"):
            convzoo.create_model("resnet18", replace_stride_with_dilation=wrong)


def test_torchvisions_helpers_make_a_pyramid_of_it() -> None:
    net = convzoo.resnet50(norm_layer=FrozenBatchNorm2d, device="meta")
    assert net.inplanes == 2048
    pyramid = _resnet_fpn_extractor(net, trainable_layers=2).to("meta")
    maps = pyramid(torch.zeros(1, 3, 64, 64, device="meta"))
    assert [(k, f.shape[1:]) for k, f in maps.items()] == [
        ("0", (256, 16, 16)), ("1", (256, 8, 8)), ("2", (256, 4, 4)), ("3", (256, 2, 2)),
        ("pool", (256, 1, 1)),
    ]  # fmt: skip
    assert {n.partition(".")[0] for n, p in net.named_parameters() if p.requires_grad} == {
        "layer3", "layer4"
    }  # fmt: skip


def test_maps_for_detection_in_one_call() -> None:
    net = convzoo.vgg11_bn(device="meta").eval()
    extractor = convzoo.create_feature_extractor(net, ["block3", "block4", "block5"])
    maps = extractor(torch.zeros(1, 3, 64, 64, device="meta"))
    assert {key: tuple(f.shape[1:]) for key, f in maps.items()} == {
        "0": (256, 8, 8), "1": (512, 4, 4), "2": (512, 2, 2)
    }  # fmt: skip
    assert not [key for key in extractor.state_dict() if key.startswith("classifier")]
    assert extractor.channels == [256, 512, 512]
    named = convzoo.create_feature_extractor(net, {"block5": "top"})
    assert list(named(torch.zeros(1, 3, 64, 64, device="meta"))) == ["top"]
    assert len(convzoo.create_feature_extractor(net).channels) == 5
    with pytest.raises(UnknownNameError, match="unknown stage 'block9'"):
        convzoo.create_feature_extractor(net, ["block9"])


class _Akamasters(nn.Module):
    """A block of github.com/akamaster/pytorch_resnet_cifar10, with its option A."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.planes = planes if stride != 1 or channels != planes else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.planes is None:
            return F.relu(out + x)
        side = self.planes // 4
        return F.relu(out + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, side, side), "constant", 0))


def test_akamasters_weights_are_exact() -> None:
    net = convzoo.cifar_resnet20(shortcut="A-centred").eval()
    blocks = [
        _Akamasters(16 if i == 0 and s else planes // (2 if i == 0 and s else 1), planes,
                    2 if s and i == 0 else 1)
        for s, planes in enumerate((16, 32, 64))
        for i in range(3)
    ]  # fmt: skip
    blocks[6] = _Akamasters(32, 64, 2)
    ours = [block for stage in (net.layer1, net.layer2, net.layer3) for block in stage]
    for theirs, block in zip(blocks, ours, strict=True):
        theirs.load_state_dict(block.state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        maps = nn.Sequential(*blocks).eval()(F.relu(net.bn1(net.conv1(x))))
        scores = net.fc(F.avg_pool2d(maps, 8).flatten(1))
        assert torch.allclose(net(x), scores, atol=1e-5)
        plain = convzoo.cifar_resnet20().eval()
        plain.load_state_dict(net.state_dict())
        assert not torch.allclose(plain(x), scores, atol=1e-3)
