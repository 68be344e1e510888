"""What every network promises to compilers: no graph breaks, export with dynamic sizes, ONNX."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

from contract_nets import (
    CLASSES,
    KINDS,
    VARIANTS,
    VERY_SHALLOW,
    Case,
    build,
    images,
    normalised,
    parameters,
    plain,
)
from convzoo import Classifier
from convzoo.models import PreActBottleneck, PreActResNet, to_fully_convolutional

pytestmark = pytest.mark.usefixtures("narrow_alexnets")

# Another number of input channels is another width; heads for training are not there in evaluation.
NO_NEW_PARTS = ({"in_channels"}, {"aux_heads"})
NEW_PARTS = [case for case in VARIANTS if set(case.options) not in NO_NEW_PARTS]
# Tracing takes in proportion to layers, and the deepest have 4,000: one of each kind is traced.
TRACED = [*plain(KINDS), *NEW_PARTS]
SHALLOW_CLASSES = plain([name for name in CLASSES if name in VERY_SHALLOW])
# ONNX takes five times as long as the rest: towers, and a normalisation of our own.
FOR_ONNX = plain(["alexnet_2012"])


@pytest.mark.parametrize("case", parameters(TRACED, quick=SHALLOW_CLASSES))
def test_compiles_without_graph_breaks(case: Case) -> None:
    # Tracing forward and backward into single operators takes twice as long: one of each class.
    check_compiled(
        build(case.name, **case.options), "aot_eager" if case in plain(CLASSES) else "eager"
    )


def test_few_pre_activation_blocks_compile_and_export() -> None:
    # The shallowest network of the class has 16: it waits for `make test-all`.
    net = PreActResNet(PreActBottleneck, [1, 2], widths=(16, 32), num_classes=7, stem="small")
    check_compiled(normalised(net.eval()), "aot_eager")
    check_exported(net)


def check_compiled(net: Classifier, backend: str) -> None:
    x = images(net)
    torch._dynamo.reset()  # it counts the classes that share a forward
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.long  # `test_googlenet` compiles the paper's with its heads
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


@pytest.mark.parametrize("case", parameters(TRACED, quick=SHALLOW_CLASSES))
def test_exports_with_a_dynamic_batch(case: Case) -> None:
    check_exported(build(case.name, **case.options))


def check_exported(net: Classifier) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (images(net),), dynamic_shapes=({0: batch},))
    x = images(net, batch=5)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", parameters(TRACED, quick=FOR_ONNX))
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


@pytest.mark.parametrize("name", parameters(TWO_PIXELS, quick=["alexnet", "cifar_resnet20"]))
def test_exports_with_dynamic_height_and_width(name: str) -> None:
    check_dynamic_size(build(name), TWO_PIXELS[name])


@pytest.mark.long
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
