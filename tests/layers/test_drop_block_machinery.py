"""DropBlock in PyTorch's machinery: autograd, compilation, vmap, checkpointing, formats."""

import copy
import itertools
import pickle

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

from convzoo.errors import InputError
from convzoo.layers import (
    DropBlock2d,
    DropBlockConfig,
    DropBlockSchedule,
    DropConnectConv2d,
    drop_block,
)

BOTH_WAYS = pytest.mark.parametrize("per_channel", [True, False])  # sparse and dense


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@BOTH_WAYS
@pytest.mark.parametrize("normalise", ["batch", pytest.param("sample", marks=pytest.mark.long)])
def test_gradcheck(per_channel, normalise):
    def fixed(x):
        g = torch.Generator().manual_seed(1)
        return drop_block(x, 0.3, 3, per_channel=per_channel, normalise=normalise, generator=g)

    x = torch.randn(3, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert (fixed(x) == 0).any()
    assert torch.autograd.gradcheck(fixed, (x,))
    assert torch.autograd.gradgradcheck(fixed, (x,))


@BOTH_WAYS
@pytest.mark.parametrize("grad_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("x_format", [torch.contiguous_format, torch.channels_last])
def test_formats_are_kept_and_backward_meets_the_same_mask(x_format, grad_format, per_channel):
    x = torch.ones(2, 8, 9, 7).to(memory_format=x_format).requires_grad_()
    y = DropBlock2d(0.3, 3, per_channel=per_channel)(x)
    assert y.is_contiguous(memory_format=x_format)
    y.backward(torch.ones(2, 8, 9, 7).to(memory_format=grad_format))
    torch.testing.assert_close(x.grad, y.detach())
    assert (y == 0).any()


@BOTH_WAYS
@pytest.mark.parametrize("normalise", ["batch", "sample"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "shape",
    [(2, 3, 9), (2, 3, 7, 6), pytest.param((2, 3, 6, 5, 4), marks=pytest.mark.long)],
)
def test_any_permuted_layout_is_kept_by_output_and_gradient(shape, device, normalise, per_channel):
    axes = range(len(shape))
    for order in itertools.permutations(axes):
        dense = torch.ones([shape[i] for i in order], device=device)
        x = dense.permute([order.index(i) for i in axes]).requires_grad_()
        y = drop_block(x, 0.3, 2, per_channel=per_channel, normalise=normalise)
        assert y.stride() == x.stride()
        (grad,) = torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True)
        assert grad.stride() == x.stride()
        if per_channel:  # else an expanded gradient leaves open how the channels lie
            (grad,) = torch.autograd.grad(y.sum(), x)
            assert grad.stride() == x.stride()


@BOTH_WAYS
def test_a_compiled_layer_keeps_a_permuted_layout(per_channel):
    layer = DropBlock2d(0.3, 3, per_channel=per_channel)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.ones(7, 2, 9, 8).permute(1, 3, 0, 2).requires_grad_()
    y = compiled(x)
    (grad,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert y.stride() == grad.stride() == x.stride()


@BOTH_WAYS
def test_the_mask_does_not_depend_on_the_layout(per_channel):
    x = torch.ones(2, 8, 9, 7)
    layer = DropBlock2d(0.3, 3, per_channel=per_channel, generator=torch.Generator())
    plain = layer.generator.manual_seed(0) and layer(x)
    last = layer.generator.manual_seed(0) and layer(x.to(memory_format=torch.channels_last))
    assert torch.equal(plain, last)


@pytest.mark.parametrize("view", [lambda t: t[:, ::2], lambda t: t.transpose(2, 3)])
def test_strided_inputs(view):
    x = torch.ones(2, 8, 9, 7)
    same = [
        drop_block(t, 0.3, 3, generator=torch.Generator().manual_seed(0))
        for t in (view(x), view(x).contiguous())
    ]
    assert torch.equal(*same)


@BOTH_WAYS
@pytest.mark.parametrize("normalise", ["batch", "sample"])
def test_bfloat16(per_channel, normalise):
    x = torch.randn(8, 32, 14, 14).bfloat16().requires_grad_()
    y = drop_block(x, 0.1, 7, per_channel=per_channel, normalise=normalise)
    y.sum().backward()
    assert y.dtype is x.grad.dtype is torch.bfloat16
    kept = y != 0
    ratio = y[kept].float() / x[kept].float()
    assert (ratio - ratio.mean()).abs().max() < 0.3
    assert 1.05 < ratio.mean() < 1.2


@BOTH_WAYS
def test_reproducible_under_the_global_seed_and_a_generator(per_channel):
    x = torch.ones(2, 8, 9, 7)

    def seeded(seed):
        torch.manual_seed(seed)
        return drop_block(x, 0.3, 3, per_channel=per_channel)

    assert torch.equal(seeded(1), seeded(1))
    assert not torch.equal(seeded(1), seeded(2))
    g = torch.Generator()
    layer = DropBlock2d(0.3, 3, per_channel=per_channel, generator=g)
    first = layer(x), g.manual_seed(g.initial_seed()), layer(x), layer(x)
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[2], first[3])


@BOTH_WAYS
def test_a_generator_leaves_the_global_state_alone(per_channel):
    before = torch.get_rng_state()
    drop_block(torch.ones(2, 2, 5, 5), 0.3, 3, per_channel=per_channel, generator=torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)


@BOTH_WAYS
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_recomputes_the_same_mask(per_channel, reentrant):
    x = torch.ones(2, 8, 9, 7, requires_grad=True)
    y = checkpoint(DropBlock2d(0.3, 3, per_channel=per_channel), x, use_reentrant=reentrant)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_checkpointing_with_a_generator_is_refused_rather_than_wrong():
    x = torch.ones(2, 8, 9, 7, requires_grad=True)
    y = checkpoint(DropBlock2d(0.3, generator=torch.Generator()), x.clone(), use_reentrant=False)
    with pytest.raises(InputError, match="checkpointing"):
        (y * y).sum().backward()


@pytest.mark.parametrize("per_channel", [True, pytest.param(False, marks=pytest.mark.long)])
def test_compiles_without_graph_breaks_and_once_for_a_whole_schedule(per_channel):
    layer = DropBlock2d(0.4, 3, per_channel=per_channel, calibrated=True)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, backend=counter)
    fractions, compilations = [], set()
    for step in range(1, 13):
        layer.progress = step / 12
        x = torch.ones(16, 16, 9, 7, requires_grad=True)
        y = compiled(x)
        y.sum().backward()
        torch.testing.assert_close(x.grad, y.detach())
        fractions.append((y == 0).double().mean().item())
        compilations.add(counter.frame_count)
    assert len(compilations) == 1  # all in the first step
    assert fractions[0] < 0.1
    assert fractions[-1] == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize("per_channel", [True, pytest.param(False, marks=pytest.mark.long)])
def test_compiles_for_any_batch_size(per_channel):
    layer = DropBlock2d(0.4, 3, per_channel=per_channel)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for batch in (3, 5, 8):
        x = torch.ones(batch, 4, 9, 9)
        torch._dynamo.mark_dynamic(x, 0)
        y = compiled(x)
        assert y.shape == (batch, 4, 9, 9)
        assert y.mean().item() == pytest.approx(1)


def test_export_in_evaluation():
    x = torch.randn(2, 3, 7, 7)
    net = torch.nn.Sequential(DropBlock2d(0.3), torch.nn.ReLU()).eval()
    program = torch.export.export(net, (x,))
    assert torch.equal(program.module()(x), x.relu())
    assert "drop" not in program.graph_module.code


@BOTH_WAYS
def test_vmap(per_channel):
    x = torch.ones(3, 4, 2, 9, 7)

    def one(t):
        return drop_block(t, 0.3, 3, per_channel=per_channel)

    different = torch.vmap(one, randomness="different")(x)
    assert not torch.equal(different[0], different[1])
    torch.testing.assert_close(different.mean((1, 2, 3, 4)), torch.ones(3))
    same = torch.vmap(one, randomness="same")(x)
    assert torch.equal(same[0], same[1])
    grads = torch.vmap(torch.func.grad(lambda t: one(t).sum()), randomness="different")(x)
    torch.testing.assert_close(grads.mean((1, 2, 3, 4)), torch.ones(3))
    with pytest.raises(RuntimeError, match="randomness"):
        torch.vmap(one)(x)


def test_copies_and_pickles_and_survives_the_meta_device():
    with torch.device("meta"):
        layer = DropBlock2d(0.3, 3)
    layer.progress = 0.5
    assert not layer.state_dict()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert (twin.drop_prob, twin.progress) == (0.3, 0.5)
        twin.progress = 1.0
        assert (twin(torch.ones(4, 16, 9, 9)) == 0).any()
    assert layer.progress == 0.5


@pytest.mark.parametrize(
    "layer",
    [
        DropBlock2d(0.3, 3),
        DropBlock2d(0.3, 3, per_channel=False),
        DropConnectConv2d(4, 4, 3),
        DropConnectConv2d(4, 4, 3, per="batch"),
    ],
    ids=repr,
)
def test_every_rank_draws_its_own_masks(layer, monkeypatch):
    x = torch.ones(16, 4, 9, 9)

    def on_rank(rank):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
        torch.manual_seed(0)  # as every rank does
        return layer(x)

    assert torch.equal(on_rank(1), on_rank(1))
    outputs = [on_rank(rank) for rank in range(4)]
    assert all(not torch.equal(*pair) for pair in itertools.combinations(outputs, 2))


def test_the_fraction_is_right_on_every_rank(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    for per_channel in (True, False):
        x = torch.ones(64, 64, 14, 14) if per_channel else torch.ones(4096, 1, 14, 14)
        y = drop_block(x, 0.1, 7, per_channel=per_channel, calibrated=True)
        assert (y == 0).double().mean().item() == pytest.approx(0.1, abs=0.008)


def test_schedule_ramps_linearly_and_stays():
    net = torch.nn.Sequential(DropBlock2d(0.1), torch.nn.ReLU(), DropBlock2d(0.025))
    schedule = DropBlockSchedule(net, total_steps=4)
    rates = []
    for _ in range(6):
        rates.append(net[0].drop_prob * net[0].progress)
        assert net[2].progress == net[0].progress == schedule.progress
        schedule.step()
    assert rates == pytest.approx([0, 0.025, 0.05, 0.075, 0.1, 0.1])
    assert net[0].drop_prob == 0.1


def test_schedule_resumes():
    net = torch.nn.Sequential(DropBlock2d(0.1))
    schedule = DropBlockSchedule(net, total_steps=10)
    for _ in range(3):
        schedule.step()
    state = schedule.state_dict()
    again = DropBlockSchedule(net, total_steps=99)  # over a network in mid-ramp
    assert net[0].progress == 0
    again.load_state_dict(state)
    assert net[0].progress == again.progress == pytest.approx(0.3)
    assert again.total_steps == 10


def test_schedule_errors():
    with pytest.raises(InputError, match="total_steps"):
        DropBlockSchedule(torch.nn.Sequential(DropBlock2d()), 0)
    with pytest.raises(InputError, match="DropBlock layers, found none"):
        DropBlockSchedule(torch.nn.ReLU(), 3)


def test_config():
    config = DropBlockConfig(0.2, 5, calibrated=True)
    assert repr(config.layer(0.25)) == "DropBlock2d(drop_prob=0.05, block_size=5, calibrated=True)"
    assert config == DropBlockConfig(0.2, 5, calibrated=True)
    assert len({config, DropBlockConfig(0.2, 5, calibrated=True)}) == 1
    with pytest.raises(InputError, match="drop_prob"):
        DropBlockConfig(2.0)
