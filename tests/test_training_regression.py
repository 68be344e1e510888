"""Networks that give numbers: how they are trained and scored, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import convzoo
from convzoo import datasets, training
from convzoo.errors import InputError, UnknownNameError
from convzoo.training import evaluate_regression, fit

Item = tuple[Tensor, object]


def brightness(count: int = 64) -> list[tuple[Tensor, float]]:
    """Images of one grey each, and how bright that is, from 0 to 10."""
    greys = torch.rand(count, generator=torch.Generator().manual_seed(0))
    return [(torch.full((1, 4, 4), float(grey)), 10 * float(grey)) for grey in greys]


def linear(outputs: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, outputs))


def test_a_number_is_learned_and_the_best_epoch_has_the_least_error() -> None:
    net, data = linear(), brightness()
    history = fit(net, data, data, loss="mse", epochs=20, lr=0.05, batch_size=16, cpu=True)
    result = evaluate_regression(net, data, cpu=True)
    assert result.mse < 0.1 * evaluate_regression(linear(), data, cpu=True).mse
    assert history.best is not None
    assert history.best.val_loss == min(one.val_loss or 0.0 for one in history.epochs)
    assert history.best.val_loss == pytest.approx(result.mse)
    assert history.best.train_accuracy is history.best.val_accuracy is None
    assert "val loss" in str(history)
    assert "accuracy" not in str(history)
    assert training.History.from_dict(history.to_dict()) == history


@pytest.mark.parametrize(
    "label",
    [[1, 2.5], (1, 2.5), np.array([1, 2.5]), torch.tensor([1, 2.5], dtype=torch.float64)],
)
def test_several_numbers_come_as_people_have_them(label: object) -> None:
    data: list[Item] = [(torch.rand(1, 4, 4), label) for _ in range(4)]
    net = linear(2)
    found = evaluate_regression(net, data, labels=["x", "y"], cpu=True)
    assert found.targets.tolist() == [[1, 2.5]] * 4
    assert [one.label for one in found.per_number] == ["x", "y"]
    assert found.r2 is None  # the truth does not vary
    fit(net, data, data, loss="mse", epochs=1, batch_size=2, cpu=True)
    loader = DataLoader(
        TensorDataset(torch.rand(4, 1, 4, 4), torch.tensor([[1, 2.5]] * 4)), batch_size=2
    )
    fit(net, loader, loader, loss="mse", epochs=1, cpu=True)


def test_the_figures_are_those_of_the_formulas() -> None:
    torch.manual_seed(0)
    net, images, truth = linear(2), torch.rand(7, 1, 4, 4), torch.rand(7, 2)
    found = evaluate_regression(net, TensorDataset(images, truth), batch_size=3, cpu=True)
    with torch.no_grad():
        off = (net(images) - truth).double()
    mse = off.square().mean(0)
    explained = 1 - mse / truth.double().var(0, correction=0)
    assert (found.samples, found.loss) == (7, found.mse)
    assert found.mse == pytest.approx(mse.mean().item())
    assert found.mae == pytest.approx(off.abs().mean().item())
    assert found.r2 == pytest.approx(explained.mean().item())
    assert [one.r2 for one in found.per_number] == pytest.approx(explained.tolist())
    torch.testing.assert_close(found.predictions, net(images).detach())
    assert str(found).splitlines()[-1].startswith("all")
    assert set(found.to_dict()) == {"samples", "mse", "mae", "r2", "per_number"}


def test_a_network_of_ours_resumes_saves_and_loads(tmp_path: Path) -> None:
    net = convzoo.replace_head(convzoo.lenet5(), 1)
    net.preset = net.preset.replace(input_size=28)
    images = torch.randint(0, 256, (8, 1, 28, 28), dtype=torch.uint8)
    data = [(image, float(i)) for i, image in enumerate(images)]
    options = {"loss": "mse", "batch_size": 4, "cpu": True, "checkpoint": tmp_path / "run"}
    fit(net, data, data, epochs=1, **options)  # type: ignore[arg-type]
    fit(net, data, data, epochs=1, resume=True, **options)  # type: ignore[arg-type]
    again = convzoo.load(convzoo.save(net, tmp_path / "net"))
    ours, theirs = (evaluate_regression(one, data, cpu=True) for one in (net, again))
    assert ours.mse == theirs.mse
    # Class numbers are numbers as well, and names of classes do not renumber them.
    digits = datasets.digits().val.subset(range(8))
    again.labels = ("9",)
    assert evaluate_regression(again, digits, cpu=True).targets.flatten().tolist() == [
        *digits.targets
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "mae"}, "loss"),
        ({"loss": 3}, 'loss: expected a function, "mse" or None, got 3'),
        ({"monitor": "accuracy"}, "monitor: numbers are not right or wrong"),
        ({"balanced": True}, "balanced: belongs to classes"),
        ({"mixing": "mixup"}, "mixing: belongs to classes"),
        ({"class_weights": [1.0]}, "class_weights: belongs to classes"),
        ({"label_smoothing": 0.1}, "label_smoothing: belongs to the usual loss"),
    ],
)
def test_what_does_not_go_with_numbers(options: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"loss": "mse", "epochs": 1, "batch_size": 4, "cpu": True} | options
    with pytest.raises((InputError, UnknownNameError), match=message):
        fit(linear(), brightness(4), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("label", ["3", None, float("nan"), [], [[1.0]], [1.0, "x"], {"a": 1}])
@pytest.mark.parametrize(
    "run",
    [
        lambda data: fit(linear(), data, loss="mse", epochs=1, batch_size=1, cpu=True),
        lambda data: evaluate_regression(linear(), data, cpu=True),
        lambda data: training.lr_find(linear(), data, loss="mse", batch_size=1),
    ],
)
def test_labels_that_are_no_numbers(run: Callable[[list[Item]], object], label: object) -> None:
    with pytest.raises(InputError, match=r"item 0 has label .* expected a finite number"):
        run([(torch.rand(1, 4, 4), label)])


def test_as_many_numbers_as_outputs() -> None:
    # torch would stretch (B, 1) over (B, 2), and learn something else.
    data: list[Item] = [(torch.rand(1, 4, 4), (0.0, 1.0))] * 4
    for run in (
        lambda: fit(linear(3), data, loss="mse", epochs=1, batch_size=4, cpu=True),
        lambda: evaluate_regression(linear(1), data, cpu=True),
    ):
        with pytest.raises(InputError, match=r"expected numbers \(4, 2\) .* replace_head\(net, 2"):
            run()
    ours = convzoo.lenet5(num_classes=3)
    with pytest.raises(InputError, match=r"2 number\(s\) for a label, the network gives 3"):
        fit(ours, [(torch.rand(1, 28, 28), (0.0, 1.0))], loss="mse", batch_size=1, cpu=True)
