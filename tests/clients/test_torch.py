"""torch: tracing, quantisation by FX, scripts."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import convzoo

DISTRIBUTION = "torch"


def test_jit_trace(net: convzoo.ResNet, x: Tensor) -> None:
    """torch.jit.trace"""
    traced = torch.jit.trace(net, x)

    assert torch.equal(traced(x), net(x))


@pytest.mark.verdict("not supported (torch calls TorchScript deprecated): trace instead")
def test_jit_script(net: convzoo.ResNet, x: Tensor) -> None:
    """torch.jit.script"""
    traced = torch.jit.trace(net, x)  # or torch.export.export(net, (x,))

    assert torch.equal(traced(x), net(x))
    with pytest.raises((RuntimeError, ValueError)):
        torch.jit.script(net)


def test_fx_quantisation(net: convzoo.ResNet, x: Tensor) -> None:
    """FX quantisation, prepare_fx and convert_fx"""
    from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx

    prepared = quantize_fx.prepare_fx(net, get_default_qconfig_mapping("x86"), (x,))
    prepared(x)  # in earnest: some hundred images
    quantised = quantize_fx.convert_fx(prepared)

    assert (quantised(x) - net(x)).abs().max() < 0.3 * net(x).abs().max()


def test_per_sample_gradients(net: convzoo.ResNet, x: Tensor, y: Tensor) -> None:
    """torch.func: one gradient an image"""
    from torch.func import functional_call, grad, vmap
    from torch.nn.functional import cross_entropy

    weights = dict(net.named_parameters())

    def loss(weights: dict[str, Tensor], image: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(functional_call(net, weights, (image[None],)), target[None])

    gradients = vmap(grad(loss), (None, 0, 0))(weights, x, y)

    assert gradients["conv1.weight"].shape == (4, *net.conv1.weight.shape)


def test_averaged_model(net: convzoo.ResNet, x: Tensor) -> None:
    """optim.swa_utils: averaged weights, batch statistics afresh"""
    from torch.optim.swa_utils import AveragedModel, update_bn

    averaged = AveragedModel(net)
    averaged.update_parameters(net)
    update_bn([x], averaged)

    assert averaged(x).shape == (4, 10)


def test_weight_norm_and_pruning(net: convzoo.ResNet, x: Tensor) -> None:
    """nn.utils: prune and spectral_norm on layers"""
    from torch.nn.utils import parametrizations, prune

    prune.l1_unstructured(net.conv1, "weight", amount=0.5)
    parametrizations.spectral_norm(net.fc)

    assert copy.copy(net)(x).shape == (4, 10)
    assert (net.conv1.weight == 0).float().mean() == pytest.approx(0.5, abs=0.01)
