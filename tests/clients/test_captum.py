"""captum: attributions to pixels and to stages."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import convzoo

pytest.importorskip("captum")

DISTRIBUTION = "captum"

NAMES = ("resnet18", "preact_resnet50", "vgg11_bn", "googlenet", "lenet5_1998", "alexnet_2012")


@pytest.fixture
def net(request: pytest.FixtureRequest) -> convzoo.Classifier:
    return convzoo.create_model(getattr(request, "param", "cifar_resnet20"), num_classes=3).eval()


@pytest.fixture
def x(net: convzoo.Classifier) -> Tensor:
    side = net.max_size or max(48, net.min_size)
    return torch.randn(2, net.in_channels, side, side)


def test_integrated_gradients(net: convzoo.Classifier, x: Tensor) -> None:
    """IntegratedGradients"""
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(net)
    attribution, delta = method.attribute(x, target=1, n_steps=50, return_convergence_delta=True)

    assert attribution.shape == x.shape
    assert delta.abs().max() < 0.5 * net(x)[:, 1].abs().max()


def test_layer_grad_cam(net: convzoo.Classifier, x: Tensor) -> None:
    """LayerGradCam on the last stage"""
    from captum.attr import LayerAttribution, LayerGradCam

    last = net.get_submodule(net.stages[-1].module)
    maps = LayerGradCam(net, last).attribute(x, target=1)
    maps = LayerAttribution.interpolate(maps, x.shape[2:])

    assert maps.shape == (2, 1, *x.shape[2:])


@pytest.mark.parametrize("net", NAMES, indirect=True)
def test_deep_lift(net: convzoo.Classifier, x: Tensor) -> None:
    """DeepLift: every activation is a module that runs once, as it needs"""
    from captum.attr import DeepLift

    attribution, delta = DeepLift(net).attribute(x, target=1, return_convergence_delta=True)

    assert attribution.isfinite().all()
    # What DeepLift's rules for products and normalisation leave is theirs; sums are complete.
    if net.architecture in ("resnet18", "vgg11_bn"):
        assert delta.abs().max() < 1e-2 * max(1.0, float(net(x).abs().max()))


@pytest.mark.parametrize(
    "net", ["resnet18", "preact_resnet50", "vgg11_bn", "googlenet"], indirect=True
)
def test_lrp(net: convzoo.Classifier, x: Tensor) -> None:
    """LRP"""
    from captum.attr import LRP

    attribution = LRP(net).attribute(x, target=1)

    assert attribution.isfinite().all()
    assert attribution.shape == x.shape


@pytest.mark.verdict("works with these lines")
@pytest.mark.parametrize("net", ["lenet5_1998", "cifar_resnet20", "mnist_cnn"], indirect=True)
def test_lrp_needs_rules(net: convzoo.Classifier, x: Tensor) -> None:
    """LRP where layers have no rule in captum: option A's padding, scaled tanh, Flatten"""
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import EpsilonRule

    for layer in net.modules():
        if not list(layer.children()):
            layer.rule = EpsilonRule()
    attribution = LRP(net).attribute(x, target=1)

    assert attribution.isfinite().all()


@pytest.mark.verdict("not supported, its towers share one layer: take another method")
@pytest.mark.parametrize("net", ["alexnet_2012"], indirect=True)
def test_lrp_of_towers(net: convzoo.Classifier, x: Tensor) -> None:
    """LRP on alexnet_2012"""
    from captum.attr import LRP, DeepLift

    attribution = DeepLift(net).attribute(x, target=1)

    assert attribution.isfinite().all()
    with pytest.raises(TypeError, match="no rule"):
        LRP(net).attribute(x, target=1)
