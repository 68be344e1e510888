"""DropConnect: moments over masks, inference, and what the layers promise besides."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from convzoo.errors import InputError, UnknownNameError
from convzoo.layers import (
    DropConnectConv2d,
    DropConnectLinear,
    _dropconnect_ops,
    apply_drop_connect,
    remove_drop_connect,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def linear(**options):
    return DropConnectLinear(7, 5, **options), torch.randn(3, 7)


def conv(**options):
    layer = DropConnectConv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2, **options)
    return layer, torch.randn(3, 4, 6, 5)


KINDS = pytest.mark.parametrize("make", [linear, conv])
PS = pytest.mark.parametrize(
    "p", [0.5, 0.3, *(pytest.param(p, marks=pytest.mark.long) for p in (0.25, 0.9, 0.002, 1 / 16))]
)


def assert_moments(outputs, mean, variance):
    """Compare `outputs` (samples, ...) to the exact moments, in units of their errors."""
    n = len(outputs)
    difference = (outputs.mean(0) - mean).abs()
    assert (difference <= 5 * (variance / n).sqrt() + 1e-6).all()
    # Summed over the outputs: single variances scatter widely where p is near 0 or 1.
    assert outputs.var(0).sum().item() == pytest.approx(variance.sum().item(), rel=0.15)


@KINDS
@PS
def test_moments_against_simulation(make, p):
    layer, x = make(p=p)
    mean, variance = (m[0].detach() for m in layer.moments(x[:1]))
    n = 2000 if p > 0.01 else 12000  # examples are as many masks
    assert_moments(layer(x[:1].expand(n, *x.shape[1:])).detach(), mean, variance)


@KINDS
def test_moments_of_shared_masks(make):
    layer, x = make(p=0.3, per="batch")
    mean, variance = (m[0].detach() for m in layer.moments(x[:1]))
    assert_moments(torch.stack([layer(x[:1])[0] for _ in range(2000)]).detach(), mean, variance)


def test_moments_are_the_formulas():
    layer, x = linear(p=0.2)
    mean, variance = layer.moments(x)
    w, b = layer.weight, layer.bias
    torch.testing.assert_close(mean, 0.8 * (x @ w.t() + b))
    torch.testing.assert_close(variance, 0.2 * 0.8 * (x**2 @ (w**2).t() + b**2))


@pytest.mark.parametrize("p", [0.5, 0.3, 0.004])
def test_every_weight_of_every_example_has_a_mask_of_its_own(p):
    # Inputs that pick one weight each show the mask itself: x = e_i, W = 1.
    features, examples = 24, 24 * 100
    layer = DropConnectLinear(features, 40, bias=False, p=p)
    nn.init.ones_(layer.weight)
    mask = layer(torch.eye(features).repeat(100, 1)).detach()  # (examples, 40), zeros and ones
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    error = (p * (1 - p) / mask.numel()) ** 0.5
    assert (1 - mask).mean().item() == pytest.approx(p, abs=4 * error)
    # No two masks hang together: products of the centred masks average to nothing.
    centred = mask - (1 - p)
    for shift in (1, 24, 1200):
        product = (centred[shift:] * centred[:-shift]).mean().item()
        assert abs(product) < 4 * p * (1 - p) / (40 * (examples - shift)) ** 0.5
    neighbours = (centred[:, 1:] * centred[:, :-1]).mean().item()
    assert abs(neighbours) < 4 * p * (1 - p) / (39 * examples) ** 0.5


def test_examples_share_a_mask_only_per_batch():
    x = torch.randn(1, 7).expand(6, 7)
    own = DropConnectLinear(7, 5, p=0.5)(x)
    shared = DropConnectLinear(7, 5, p=0.5, per="batch")(x)
    assert len(own.unique(dim=0)) > 1
    torch.testing.assert_close(shared, shared[:1].expand_as(shared))


@KINDS
def test_mean_inference_scales_by_the_kept_fraction(make):
    layer, x = make(p=0.25)
    layer.eval()
    torch.testing.assert_close(layer(x), 0.75 * layer._map(x, layer.weight, layer.bias))
    layer.rescale = True
    torch.testing.assert_close(layer(x), layer._map(x, layer.weight, layer.bias))


def test_rescaled_training_has_the_plain_layers_mean():
    layer, x = linear(p=0.25, rescale=True)
    many = layer(x[:1].expand(4000, 7)).detach()
    plain = nn.functional.linear(x[:1], layer.weight, layer.bias)[0].detach()
    assert_moments(many, plain, layer.moments(x[:1])[1][0].detach())


@KINDS
def test_gaussian_and_monte_carlo_inference_average_the_activation(make):
    # With ReLU the mean of the activation exceeds the activation of the mean.
    layer, x = make(p=0.5, activation=torch.relu, samples=4000)
    layer.eval()
    at_mean = layer(x)
    layer.inference = "gaussian"
    gaussian = layer(x)
    mean, variance = layer.moments(x)
    deviation = variance.sqrt()
    normal = torch.distributions.Normal(0.0, 1.0)
    z = mean / deviation
    closed_form = mean * normal.cdf(z) + deviation * normal.log_prob(z).exp()
    torch.testing.assert_close(gaussian, closed_form, rtol=0, atol=0.04)
    assert (gaussian > at_mean - 0.02).all()
    layer.inference, layer.samples = "monte_carlo", 500
    torch.testing.assert_close(layer(x), gaussian, rtol=0, atol=0.15)


def test_without_activation_gaussian_inference_is_the_mean():
    layer, x = linear(p=0.5, inference="gaussian")
    layer.eval()
    torch.testing.assert_close(layer(x), layer.moments(x)[0])


@KINDS
def test_p_zero_is_the_plain_layer(make):
    layer, x = make(p=0.0)
    torch.testing.assert_close(layer(x), layer._map(x, layer.weight, layer.bias))


@KINDS
@pytest.mark.parametrize("p", [0.5, pytest.param(0.3, marks=pytest.mark.long)])
def test_gradcheck(make, p):
    layer, x = make(p=p, generator=torch.Generator(), dtype=torch.float64)

    def fixed(x, weight, bias):
        layer.generator.manual_seed(5)
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    inputs = (x.double().requires_grad_(), layer.weight, layer.bias)
    assert torch.autograd.gradcheck(fixed, inputs)
    assert torch.autograd.gradgradcheck(fixed, inputs, fast_mode=True)


def test_backward_meets_forwards_masks_over_many_tiles(monkeypatch):
    monkeypatch.setitem(_dropconnect_ops._TILE, "cpu", 64)  # rows and outputs are both cut
    layer = DropConnectLinear(16, 11, bias=False, p=0.3)
    x = torch.randn(9, 16, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    # y is linear in x and in W: contracting with the gradients gives y's sum again.
    torch.testing.assert_close((x.grad * x).sum(), y.sum())
    torch.testing.assert_close((layer.weight.grad * layer.weight).sum(), y.sum())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    layer, x = linear(p=0.5, dtype=dtype, generator=torch.Generator())
    y = layer(x.to(dtype))
    y.sum().backward()
    assert y.dtype is layer.weight.grad.dtype is dtype
    layer.generator.manual_seed(layer.generator.initial_seed())
    exact = copy.deepcopy(layer).float()(x.to(dtype).float())
    torch.testing.assert_close(y.float(), exact, rtol=0.02, atol=0.02)
    bf16, x = conv(p=0.5, dtype=torch.bfloat16)
    assert bf16(x.bfloat16()).dtype is torch.bfloat16


def test_convolution_keeps_channels_last_and_knows_every_padding():
    x = torch.randn(2, 4, 7, 7).to(memory_format=torch.channels_last).requires_grad_()
    layer = DropConnectConv2d(4, 8, 3, padding=1, p=0.5)
    y = layer(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert grad.is_contiguous(memory_format=torch.channels_last)
    for mode, padding in (("zeros", "same"), ("reflect", 1), ("circular", 2)):
        layer = DropConnectConv2d(4, 8, 3, padding=padding, padding_mode=mode, p=0.001)
        plain = nn.Conv2d(4, 8, 3, padding=padding, padding_mode=mode)
        plain.load_state_dict(layer.state_dict())
        torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=0.6)  # next to nothing dropped
    with pytest.raises(InputError, match="B, C, H, W"):
        layer(torch.zeros(4, 7, 7))


@KINDS
@pytest.mark.parametrize("per", ["example", "batch"])
def test_reproducible_and_recomputed_alike(make, per):
    layer, x = make(p=0.5, per=per)
    x.requires_grad_()
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    torch.testing.assert_close(first, layer(x))
    torch.manual_seed(3)
    (wanted,) = torch.autograd.grad((layer(x) ** 2).sum(), x)
    torch.manual_seed(3)
    again = checkpoint(layer, x, use_reentrant=False)
    torch.randn(5)  # the state moves on between the two runs
    torch.testing.assert_close(torch.autograd.grad((again**2).sum(), x)[0], wanted)


@KINDS
@pytest.mark.parametrize("per", ["example", "batch"])
def test_compiles_without_graph_breaks(make, per):
    layer, x = make(p=0.3, per=per)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    n = 500
    many = compiled(x[:1].expand(n, *x.shape[1:]))
    many.sum().backward()
    assert layer.weight.grad.abs().sum() > 0
    if per == "example":
        mean, variance = (m[0] for m in layer.moments(x[:1]))
        assert_moments(many.detach(), mean.detach(), variance.detach() + 1e-9)


@KINDS
def test_export_in_evaluation(make):
    layer, x = make(p=0.5)
    layer.eval()
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), layer(x))


@KINDS
def test_vmap(make):
    layer, x = make(p=0.5)
    xs = x.expand(4, *x.shape)
    out = torch.vmap(layer, randomness="different")(xs)
    assert not torch.equal(out[0], out[1])
    same = torch.vmap(layer, randomness="same")(xs)
    torch.testing.assert_close(same[0], same[1])
    parameters = dict(layer.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(layer, parameters, (x,)).sum()

    grads = torch.vmap(torch.func.grad(loss), in_dims=(None, 0), randomness="different")(
        parameters, xs
    )
    assert grads["weight"].shape == (4, *layer.weight.shape)
    assert not torch.equal(grads["weight"][0], grads["weight"][1])


def test_copies_pickles_and_loads_plain_weights():
    layer, x = linear(p=0.5)
    plain = nn.Linear(7, 5)
    layer.load_state_dict(plain.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(twin.eval()(x), 0.5 * plain(x))


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 8), nn.Linear(8, 2))


def test_apply_and_remove_keep_objects_parameters_and_hooks():
    net = network()
    modules, parameters = list(net), list(net.parameters())
    calls = []
    net[2].register_forward_hook(lambda *_: calls.append(1))
    assert apply_drop_connect(net, "2", p=0.25, per="batch") is net
    assert isinstance(net[2], DropConnectLinear)
    assert net[2].p == 0.25
    assert type(net[3]) is nn.Linear
    assert all(a is b for a, b in zip(net, modules, strict=True))
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    x = torch.randn(2, 3, 5, 5)
    assert not torch.equal(net(x), net(x))
    assert len(calls) == 2
    assert remove_drop_connect(net) is net
    assert [type(m) for m in net] == [type(m) for m in network()]
    assert set(vars(net[2])) == set(vars(nn.Linear(1, 1)))
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        (None, {2, 3}),
        ("*", {0, 2, 3}),
        ("3", {3}),
        (["0", "3"], {0, 3}),
        (lambda name, module: isinstance(module, nn.Conv2d), {0}),
    ],
)
def test_where(where, chosen):
    net = apply_drop_connect(network(), where)
    kinds = (DropConnectLinear, DropConnectConv2d)
    assert {i for i, m in enumerate(net) if isinstance(m, kinds)} == chosen
    net.train()(torch.randn(2, 3, 5, 5)).sum().backward()


def test_rescaled_application_leaves_evaluation_alone():
    net, x = network().eval(), torch.randn(2, 3, 5, 5)
    before = net(x)
    torch.testing.assert_close(apply_drop_connect(net, "*", 0.5, rescale=True)(x), before)


def test_bad_arguments():
    with pytest.raises(InputError, match=r"p: expected a probability in \[0, 1\), got 1"):
        DropConnectLinear(2, 2, p=1.0)
    with pytest.raises(UnknownNameError, match="did you mean 'example'"):
        DropConnectLinear(2, 2, per="examples")
    with pytest.raises(UnknownNameError, match="did you mean 'gaussian'"):
        DropConnectLinear(2, 2, inference="gauss")
    with pytest.raises(InputError, match="p: expected a probability"):
        DropConnectLinear(2, 2, p=float("nan"))
    for samples in (0, True):
        with pytest.raises(InputError, match="samples"):
            DropConnectLinear(2, 2, samples=samples)
    net = network()
    with pytest.raises(InputError, match="there are: '0', '2', '3'"):
        apply_drop_connect(net, "fc")
    with pytest.raises(InputError, match="p: expected"):
        apply_drop_connect(net, p=2.0)
    assert type(net[2]) is nn.Linear
    with pytest.raises(InputError, match="activation"):
        remove_drop_connect(nn.Sequential(DropConnectLinear(2, 2, activation=torch.relu)))
