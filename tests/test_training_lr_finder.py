"""lr_find: a curve and a suggestion, and nothing else has changed."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import convzoo
from convzoo import visualize
from convzoo.errors import InputError
from convzoo.training import LRCurve, lr_find


def toy() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(48) % 3
    noise = torch.randn(48, 1, 6, 6, generator=generator)
    return TensorDataset(noise * 0.3 + labels.view(-1, 1, 1, 1).float() - 1, labels)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.1), nn.Flatten(), nn.Linear(64, 3)
    )


def everything(net: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> list[object]:
    """All that a run could leave behind, the buffers that no file keeps among it."""
    tensors = [*net.parameters(), *net.buffers(), *(p.grad for p in net.parameters())]
    state = [t.clone() if isinstance(t, Tensor) else t for t in tensors]
    numpys = np.random.get_state()  # noqa: NPY002
    held = [] if optimizer is None else [copy.deepcopy(optimizer.state_dict())]
    return [
        *(state, [module.training for module in net.modules()], held),
        *(torch.get_rng_state(), random.getstate(), (numpys[1], numpys[2:])),
        *([vars(m).keys() for m in net.modules()], torch.is_grad_enabled()),
    ]


def assert_same(before: object, after: object) -> None:
    if isinstance(before, Tensor):
        assert torch.equal(before, after)
    elif isinstance(before, (list, tuple)):
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            assert_same(one, other)
    elif isinstance(before, dict):
        assert before.keys() == after.keys()
        for key in before:
            assert_same(before[key], after[key])
    elif isinstance(before, np.ndarray):
        assert (before == after).all()
    else:
        assert before == after


def trained(net: nn.Module) -> torch.optim.Optimizer:
    """An optimizer in the middle of a training, gradients and a schedule with it."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(2):
        net(torch.randn(4, 1, 6, 6)).sum().backward()
        optimizer.step()
    return optimizer


def test_everything_is_as_it_was_and_it_works_twice() -> None:
    net = network()
    net[1].eval()
    optimizer = trained(net)
    loader = DataLoader(
        toy(), 8, shuffle=True, generator=torch.Generator().manual_seed(5), drop_last=True
    )
    order = loader.generator.get_state()
    before = everything(net, optimizer)
    first = lr_find(net, loader, optimizer=optimizer, steps=20)
    assert_same(before, everything(net, optimizer))
    assert torch.equal(order, loader.generator.get_state())
    assert lr_find(net, loader, optimizer=optimizer, steps=20) == first


def test_a_training_goes_on_as_if_nothing_had_been() -> None:
    def weights(find: bool) -> list[Tensor]:
        net = network()
        optimizer = trained(net)
        if find:
            lr_find(net, toy(), optimizer=optimizer, steps=10)
        optimizer.zero_grad()
        net(torch.randn(4, 1, 6, 6)).sum().backward()
        optimizer.step()
        return list(net.state_dict().values())

    assert all(torch.equal(a, b) for a, b in zip(weights(True), weights(False), strict=True))


@pytest.mark.parametrize("where", ["data", "loss", "net"])
def test_also_after_an_error_in_the_middle(where: str) -> None:
    calls = 0

    def fails(value: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        random.random()
        np.random.random()  # noqa: NPY002
        if calls == 25:
            raise KeyboardInterrupt if where == "net" else RuntimeError("in the middle")
        return value

    net, optimizer = network(), None
    if where == "net":
        net[0].register_forward_hook(lambda module, inputs, output: fails(output))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    before = everything(net, optimizer)
    transform = fails if where == "data" else None
    loss = (lambda s, t: fails(nn.functional.cross_entropy(s, t))) if where == "loss" else None
    with pytest.raises((RuntimeError, KeyboardInterrupt)):
        lr_find(net, toy(), transform=transform, loss=loss, optimizer=optimizer, steps=60)
    assert_same(before, everything(net, optimizer))
    assert len(lr_find(net, toy(), steps=12).lrs) > 5


def test_the_curve_ends_where_the_loss_is_none() -> None:
    calls = 0

    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return nn.functional.cross_entropy(scores, targets) * (math.nan if calls == 15 else 1)

    curve = lr_find(network(), toy(), loss=loss, steps=40)
    assert (curve.ended, len(curve.lrs)) == ("nan", 14)
    assert all(map(math.isfinite, curve.losses))
    calls = 14
    with pytest.raises(InputError, match="its loss is nan at the first step"):
        lr_find(network(), toy(), loss=loss)


def test_it_ends_where_training_diverges_and_suggests_less() -> None:
    curve = lr_find(network(), toy(), optimizer="sgd", end=1e5, steps=60)
    assert curve.ended == "diverged"
    assert len(curve.lrs) < 60
    assert curve.suggestion == curve.valley < curve.lrs[-1]
    assert curve.lrs[0] == 1e-7
    assert str(curve).count("suggestion") == 1


def made(losses: list[float]) -> LRCurve:
    lrs = tuple(10.0 ** (i / 10 - 5) for i in range(len(losses)))
    return LRCurve(lrs, tuple(losses), tuple(losses), "finished")


def test_suggestions_by_hand() -> None:
    # Flat for 20 steps, down for 30 with the steepest step at 41, flat, up.
    losses = [5.0 - 0.001 * (i % 2) for i in range(20)]
    for i in range(30):
        losses.append(losses[-1] - (0.5 if i == 21 else 0.05))
    losses += [losses[-1] + 0.01 * i for i in range(1, 21)]
    curve = made(losses)
    assert curve.steepest == pytest.approx(curve.lrs[40])
    assert curve.lrs[30] < curve.valley < curve.lrs[40]
    never = made([1.0 + 0.1 * i for i in range(40)])
    assert (never.valley, never.steepest, never.suggestion) == (None, None, None)
    assert "did not fall" in str(never)
    assert made([1.0]).suggestion is None


def test_rates_of_groups_keep_their_proportions() -> None:
    net = network()
    seen = []
    optimizer = torch.optim.SGD(
        [{"params": net[0].parameters(), "lr": 0.01}, {"params": net[4].parameters(), "lr": 0.1}]
    )

    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        seen.append(scores.grad_fn)
        return nn.functional.cross_entropy(scores, targets)

    curve = lr_find(net, toy(), optimizer=optimizer, loss=loss, steps=10, start=1e-3, end=1.0)
    assert curve.lrs[-1] == pytest.approx(1.0)
    assert [g["lr"] for g in optimizer.param_groups] == [0.01, 0.1]
    assert len(seen) == 10


def test_frozen_parts_and_one_batch_will_do() -> None:
    net = convzoo.replace_head(convzoo.lenet5(), 3, freeze="backbone")
    data = [(torch.rand(1, 28, 28), i % 3) for i in range(4)]
    assert len(lr_find(net, data, steps=12).lrs) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 1.0, "end": 0.1}, "start, end: expected 0 < start < end, got 1 and 0.1"),
        ({"steps": 3}, "steps: expected an integer of at least 10"),
        ({"optimizer": "sdg"}, "did you mean"),
        ({"diverge": 0.5}, "diverge"),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)}, "holds others"),
    ],
)
def test_it_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        lr_find(network(), toy(), **arguments)
    with pytest.raises(InputError, match="every parameter is frozen"):
        lr_find(network().requires_grad_(False), toy())


def test_the_picture_marks_the_suggestions() -> None:
    curve = made([5.0 - 0.1 * i for i in range(40)])
    figure = visualize.draw_lr_curve(curve)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend[-2:] == [f"valley: {curve.valley:.2g}", f"steepest: {curve.steepest:.2g}"]
    flat = visualize.draw_lr_curve(made([1.0]))
    assert len(flat.axes[0].get_legend().get_texts()) == 2


def test_optimizers_of_ones_own() -> None:
    class Own(torch.optim.SGD):
        def __init__(self, net: nn.Module) -> None:
            super().__init__(net.parameters(), 0.1)
            self.watched = next(net.parameters())

        def step(self, closure: object = None) -> None:
            assert any(self.watched is p for p in self.param_groups[0]["params"])
            super().step()

    net = network()
    own = Own(net)
    torch.optim.lr_scheduler.StepLR(own, 1)
    before = everything(net, own)
    assert lr_find(net, toy(), optimizer=own, steps=10) == lr_find(
        net, toy(), optimizer=own, steps=10
    )
    assert_same(before, everything(net, own))
    with pytest.raises(InputError, match="optimizer: LBFGS evaluates the loss by itself"):
        lr_find(net, toy(), optimizer=torch.optim.LBFGS(net.parameters()))
    with pytest.raises(InputError, match="net: nothing to train"):
        lr_find(net, toy(), optimizer=torch.optim.SGD(net.requires_grad_(False).parameters()))
