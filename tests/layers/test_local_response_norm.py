"""LocalResponseNorm against the printed formula, torch's own and an ONNX runtime."""

import io

import pytest
import torch
from torch import nn

from convzoo.errors import InputError, UnknownNameError
from convzoo.layers import LocalResponseNorm, local_response_norm


def paper_formula(a, n, alpha, beta, k):
    """b_i = a_i / (k + alpha * sum_{j=max(0,i-n/2)}^{min(N-1,i+n/2)} a_j^2)^beta, odd n."""
    out = torch.empty_like(a)
    for i in range(a.shape[1]):
        window = a[:, max(0, i - n // 2) : i + n // 2 + 1]
        out[:, i] = a[:, i] / (k + alpha * window.square().sum(1)) ** beta
    return out


@pytest.mark.parametrize("shape", [(2, 7, 3, 4), (2, 3, 5), (1, 9, 2, 2, 2), (2, 2, 3, 3)])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_is_the_papers_formula(shape, size):
    x = torch.randn(shape, dtype=torch.float64) * 20
    expected = paper_formula(x, size, 1e-2, 0.75, 2.0)
    torch.testing.assert_close(LocalResponseNorm(size, 1e-2, 0.75, 2.0)(x), expected)


def test_the_defaults_are_the_papers():
    layer = LocalResponseNorm()
    assert (layer.size, layer.alpha, layer.beta, layer.k) == (5, 1e-4, 0.75, 2.0)
    assert layer.alpha_mode == "sum"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
def test_mean_is_torchs_for_odd_and_even_windows(size):
    x = torch.randn(2, 8, 4, 3) * 10
    ours = LocalResponseNorm(size, 1e-2, 0.6, 1.5, alpha_mode="mean")(x)
    torch.testing.assert_close(ours, nn.LocalResponseNorm(size, 1e-2, 0.6, 1.5)(x))


def test_sum_with_1e4_equals_torchs_with_5e4():
    x = torch.randn(2, 96, 5, 5) * 50
    torch.testing.assert_close(LocalResponseNorm()(x), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_the_float32_result_rounded_once(dtype):
    x = (torch.randn(2, 8, 4, 4) * 600).to(dtype)  # squares overflow float16
    y = LocalResponseNorm()(x)
    assert y.dtype is dtype
    torch.testing.assert_close(y, LocalResponseNorm()(x.float()).to(dtype), rtol=0, atol=0)


def test_gradient():
    x = torch.randn(2, 5, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: local_response_norm(t, 3, 0.1), (x,))


def test_memory_format_is_kept():
    x = torch.randn(2, 8, 4, 4).to(memory_format=torch.channels_last)
    assert LocalResponseNorm()(x).is_contiguous(memory_format=torch.channels_last)


def test_vmap_over_a_leading_axis():
    x = torch.randn(3, 2, 8, 4, 4)
    each = torch.stack([local_response_norm(t) for t in x])
    torch.testing.assert_close(torch.vmap(local_response_norm)(x), each)


def test_torch_export_keeps_the_numbers():
    layer, x = LocalResponseNorm(), torch.randn(2, 8, 4, 4) * 20
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), layer(x))


@pytest.mark.long  # AlexNet goes through ONNX in test_contract_compiled
@pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations are not ours
def test_onnx_keeps_the_numbers():
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    layer, x = LocalResponseNorm(alpha_mode="mean").eval(), torch.randn(2, 8, 4, 4) * 20
    program = torch.onnx.export(layer, (x,), dynamo=True, verbose=False)
    buffer = io.BytesIO()
    program.save(buffer)
    session = ort.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), layer(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size: expected an integer of at least 1"),
        ({"size": True}, "size: expected an integer of at least 1"),
        ({"alpha": float("nan")}, "alpha: expected a finite number"),
        ({"alpha": -1.0}, "alpha"),
        ({"beta": -1.0}, "beta"),
        ({"k": -1.0}, "k: expected"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        LocalResponseNorm(**arguments)


def test_bad_mode_and_bad_input():
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        LocalResponseNorm(alpha_mode="means")
    with pytest.raises(InputError, match=r"\(B, C, ...\)"):
        local_response_norm(torch.zeros(2, 3))
    with pytest.raises(InputError, match="floating"):
        local_response_norm(torch.zeros(2, 3, 4, dtype=torch.int64))
