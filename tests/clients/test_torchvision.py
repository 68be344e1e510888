"""torchvision: detection, segmentation and feature extraction on these networks."""

from __future__ import annotations

import torch

import convzoo

DISTRIBUTION = "torchvision"


def test_faster_rcnn() -> None:
    """Faster R-CNN on a pyramid of a network's stages"""
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    net = convzoo.resnet18()
    stages = net.stages[1:]  # without the stem: strides 4, 8, 16, 32
    layers = {stage.module: str(i) for i, stage in enumerate(stages)}
    backbone = BackboneWithFPN(net, layers, [stage.channels for stage in stages], 256)
    detector = FasterRCNN(backbone, num_classes=3)

    detector.transform.min_size, detector.transform.max_size = (64,), 64
    image = torch.rand(3, 64, 64)
    boxes = torch.tensor([[3.0, 3.0, 30.0, 30.0]])
    losses = detector([image], [{"boxes": boxes, "labels": torch.tensor([1])}])
    sum(losses.values()).backward()
    assert net.conv1.weight.grad is not None
    (found,) = detector.eval()([image])
    assert set(found) == {"boxes", "labels", "scores"}


def test_private_fpn_helper() -> None:
    """The FPN helper of torchvision's own builders"""
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor

    backbone = _resnet_fpn_extractor(convzoo.resnet18(), trainable_layers=3)

    maps = backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(f.shape[1:]) for f in maps.values()] == [
        (256, 16, 16),
        (256, 8, 8),
        (256, 4, 4),
        (256, 2, 2),
        (256, 1, 1),
    ]
    assert not backbone.body.conv1.weight.requires_grad


def test_one_map() -> None:
    """Faster R-CNN on one map, from a network without stages for a pyramid"""
    from torch import nn
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    net = convzoo.vgg11()
    backbone = nn.Sequential(*list(net.children())[:-2])
    backbone.out_channels = net.num_features
    detector = FasterRCNN(
        backbone,
        num_classes=3,
        rpn_anchor_generator=AnchorGenerator(((32, 64, 128),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2),
    )

    detector.transform.min_size, detector.transform.max_size = (64,), 64
    (found,) = detector.eval()([torch.rand(3, 64, 64)])
    assert set(found) == {"boxes", "labels", "scores"}


def test_frozen_batch_norm() -> None:
    """FrozenBatchNorm2d in place of batch normalisation, as detectors train"""
    from torchvision.ops import FrozenBatchNorm2d

    net = convzoo.resnet18(norm_layer=FrozenBatchNorm2d)

    assert isinstance(net.bn1, FrozenBatchNorm2d)
    assert net.train()(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_deeplab() -> None:
    """DeepLabV3 on a dilated ResNet"""
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation import DeepLabV3
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead

    net = convzoo.resnet50(replace_stride_with_dilation=(False, True, True))
    backbone = IntermediateLayerGetter(net, {"layer4": "out"})
    segmenter = DeepLabV3(backbone, DeepLabHead(net.num_features, num_classes=3))

    with torch.no_grad():
        assert backbone(torch.rand(1, 3, 64, 64))["out"].shape == (1, 2048, 8, 8)
        assert segmenter.eval()(torch.rand(1, 3, 64, 64))["out"].shape == (1, 3, 64, 64)


def test_fcn() -> None:
    """FCN on any network's last map"""
    from torchvision.models.feature_extraction import create_feature_extractor
    from torchvision.models.segmentation.fcn import FCN, FCNHead

    net = convzoo.vgg11()
    backbone = create_feature_extractor(net, {net.stages[-1].module: "out"})
    segmenter = FCN(backbone, FCNHead(net.num_features, 3))

    with torch.no_grad():
        assert segmenter.eval()(torch.rand(1, 3, 64, 64))["out"].shape == (1, 3, 64, 64)


def test_feature_extractor(net: convzoo.ResNet, x: torch.Tensor) -> None:
    """create_feature_extractor by the names of stages"""
    from torchvision.models.feature_extraction import create_feature_extractor

    extract = create_feature_extractor(net, ["layer2", "layer3"])
    maps = extract(x)

    ours = net.intermediates(x, ["layer2", "layer3"])
    assert all(torch.equal(maps[name], ours[name]) for name in ours)
