"""What every network promises to compilers: no graph breaks, export with dynamic sizes, ONNX."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

from contract_nets import CASES, Case, build, build_meta, images, of_each_class
from convzoo import Classifier
from convzoo.models import to_fully_convolutional

# Deeper than what stands beside them and made of the same parts (which is tested below): tracing
# them takes in proportion to their layers, 400 to 4,000 of them.
DEEPER = {
    "cifar_plain110": "cifar_plain20",
    "cifar_plain44": "cifar_plain20",
    "cifar_plain56": "cifar_plain20",
    "cifar_preact1001": "preact_resnet50",
    "cifar_preact164": "preact_resnet50",
    "cifar_resnet110": "cifar_resnet20",
    "cifar_resnet1202": "cifar_resnet20",
    "cifar_resnet44": "cifar_resnet20",
    "cifar_resnet56": "cifar_resnet20",
    "preact_resnet101": "preact_resnet50",
    "preact_resnet152": "preact_resnet50",
    "preact_resnet200": "preact_resnet50",
    "resnet101": "resnet50",
    "resnet101_v1": "resnet50_v1",
    "resnet152": "resnet50",
    "resnet152_v1": "resnet50_v1",
    "resnext101_32x8d": "resnext50_32x4d",
    "resnext101_64x4d": "resnext50_32x4d",
    "wide_resnet101_2": "wide_resnet50_2",
}
# For ONNX, which takes five times as long as the rest, the next shallowest too.
DEEPER_FOR_ONNX = DEEPER | {
    "cifar_plain32": "cifar_plain20",
    "cifar_resnet32": "cifar_resnet20",
    "plain34": "plain18",
    "resnet34": "resnet18",
    "vgg13": "vgg11",
    "vgg13_bn": "vgg11_bn",
    "vgg16": "vgg11",
    "vgg16_bn": "vgg11_bn",
    "vgg19": "vgg11",
    "vgg19_bn": "vgg11_bn",
    "wide_resnet50_2": "resnet50",
}
# Another number of input channels is another width; heads for training are not there in evaluation.
NO_NEW_PARTS = ({"in_channels"}, {"aux_heads"})
TRACED = [
    case for case in CASES if case.name not in DEEPER and set(case.options) not in NO_NEW_PARTS
]
FOR_ONNX = [
    case
    for case in TRACED
    if case.name not in DEEPER_FOR_ONNX and not (case.options and "resnet" in case.name)
]
CLASSES = of_each_class()


def parts(name: str) -> set[tuple[object, ...]]:
    """The kinds of layers and blocks that a network is made of, whatever their widths."""
    net = build_meta(name)
    settings = ("kernel_size", "stride", "padding", "dilation", "inplace", "ceil_mode")
    return {
        (
            type(module),
            *(getattr(module, setting, None) for setting in settings),
            getattr(module, "groups", 1) > 1,
            getattr(module, "bias", None) is None,
        )
        for module in net.modules()
    }


@pytest.mark.parametrize("name", DEEPER_FOR_ONNX)
def test_what_is_not_traced_is_made_of_what_is(name: str) -> None:
    assert parts(name) <= parts(DEEPER_FOR_ONNX[name]) | parts("cifar_preact110")
    assert type(build_meta(name)) is type(build_meta(DEEPER_FOR_ONNX[name]))


@pytest.mark.parametrize("case", TRACED, ids=str)
def test_compiles_without_graph_breaks(case: Case) -> None:
    net = build(case.name, **case.options)
    x = images(net)
    torch._dynamo.reset()  # it counts the classes that share a forward
    # Tracing forward and backward into single operators takes twice as long: one of each class.
    backend = "aot_eager" if case in [Case(name, {}) for name in CLASSES] else "eager"
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_training_with_auxiliary_heads_compiles(name: str) -> None:
    net = build(name, aux_heads=True).train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x = images(net)
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    for ours, theirs in zip(compiled(x), net(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", TRACED, ids=str)
def test_exports_with_a_dynamic_batch(case: Case) -> None:
    net = build(case.name, **case.options)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (images(net),), dynamic_shapes=({0: batch},))
    x = images(net, batch=5)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", FOR_ONNX, ids=str)
def test_onnx_gives_the_same_scores(case: Case, tmp_path: Path) -> None:
    net = build(case.name, **case.options)
    x = images(net)
    path = tmp_path / "net.onnx"
    batch = torch.export.Dim("batch", min=1, max=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(net, (x,), path, dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = images(net, batch=3)
    (scores,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        expected = net(x)
    scale = float(expected.abs().max())
    assert (torch.from_numpy(scores) - expected).abs().max() <= 1e-4 * max(scale, 1e-3)


# The least side at which every map has two pixels or more: torch.export takes a size of 1 for a
# special case, and refuses a range that goes from there to larger ones.
TWO_PIXELS = {
    "alexnet": 95,
    "alexnet_2012": 96,
    "cifar_resnet20": 6,  # 5 would do, but torch proves its shortcut right from even sides only
    "preact_resnet50": 33,
    "resnet18": 33,
    "vgg11": 64,
}


@pytest.mark.parametrize("name", TWO_PIXELS)
def test_exports_with_dynamic_height_and_width(name: str) -> None:
    check_dynamic_size(build(name), TWO_PIXELS[name])


def test_the_fully_convolutional_vgg_exports_with_dynamic_height_and_width() -> None:
    net = to_fully_convolutional(build("vgg11", grid=2))
    assert net.min_size == 64
    check_dynamic_size(net, 96)


def check_dynamic_size(net: Classifier, least: int) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    height, width = (torch.export.Dim(name, min=least, max=512) for name in ("height", "width"))
    net.eval()
    x = torch.randn(2, net.in_channels, least + 7, least + 40)
    sizes = ({0: batch, 2: height, 3: width},)
    program = torch.export.export(net, (x,), dynamic_shapes=sizes)
    for shape in ((1, least, least + 1), (3, least + 33, least + 2)):
        x = torch.randn(shape[0], net.in_channels, *shape[1:])
        with torch.no_grad():
            torch.testing.assert_close(program.module()(x), net(x), rtol=1e-4, atol=1e-5)
