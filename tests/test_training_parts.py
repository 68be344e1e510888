"""The parts of training: patience, records, evaluation, messages."""

from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset
from torchvision.models import squeezenet1_0

from convzoo import training
from convzoo.errors import InputError, UnknownNameError
from convzoo.training import ClassResult, EarlyStopping, EpochRecord, Evaluation, History


def steps(stopping: EarlyStopping, scores: list[float]) -> list[bool]:
    return [stopping.step(score) for score in scores]


def test_patience_p_stops_after_p_epochs_in_a_row_without_improvement() -> None:
    assert steps(EarlyStopping(1), [1.0, 1.0]) == [False, True]
    assert steps(EarlyStopping(3), [1.0, 0.9, 0.9, 0.9]) == [False, False, False, True]
    # An improvement starts the count afresh.
    assert steps(EarlyStopping(2), [1, 0.9, 1.1, 1.0, 1.0]) == [False, False, False, False, True]


def test_an_improvement_is_strict_and_beyond_min_delta() -> None:
    assert steps(EarlyStopping(1), [0.5, 0.5]) == [False, True]
    assert steps(EarlyStopping(1, min_delta=0.25), [0.5, 0.75]) == [False, True]
    assert steps(EarlyStopping(1, min_delta=0.25), [0.5, 0.8, 1.0]) == [False, False, True]
    # Small gains do not add up: the best is the last score that counted as better.
    stopping = EarlyStopping(2, min_delta=0.1)
    assert steps(stopping, [0.5, 0.55, 0.65]) == [False, False, False]
    assert (stopping.best, stopping.wait) == (0.65, 0)


def test_nan_is_never_an_improvement_and_the_state_travels() -> None:
    stopping = EarlyStopping(3)
    assert steps(stopping, [math.nan, 0.1, math.nan]) == [False, False, False]
    other = EarlyStopping(3)
    other.load_state_dict(stopping.state_dict())
    assert (other.best, other.wait) == (0.1, 1)
    other.reset()
    assert (other.best, other.wait) == (-math.inf, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patience": 0}, "patience: expected an integer of at least 1, got 0"),
        ({"patience": 1.5}, "patience"),
        ({"patience": 1, "min_delta": -0.1}, "min_delta: expected a finite number of at least 0"),
        ({"patience": 1, "min_delta": math.nan}, "min_delta"),
    ],
)
def test_early_stopping_refuses(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        EarlyStopping(**arguments)


class Fixed(nn.Module):
    """Its input is its scores."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def scored(rows: list[list[float]], labels: list[int]) -> TensorDataset:
    return TensorDataset(torch.tensor(rows).view(len(rows), -1, 1, 1), torch.tensor(labels))


def test_evaluation_by_hand() -> None:
    data = scored([[2.0, 0, 0], [0, 2, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0]], [0, 1, 2, 2, 0])
    for batch_size in (1, 2, 5, 100):  # a ragged last batch counts no image twice
        result = training.evaluate(Fixed(), data, batch_size=batch_size, labels=["a", "b", "c"])
        assert result.samples == 5
        assert result.top1 == 4 / 5
        assert result.top5 is None
        assert result.confusion == ((2, 0, 0), (0, 1, 0), (0, 1, 1))
        right = math.log(math.exp(2) + 2) - 2
        assert result.loss == pytest.approx((4 * right + right + 2) / 5, rel=1e-5)
    assert result.per_class == (
        ClassResult("a", 2, 2),
        ClassResult("b", 1, 1),
        ClassResult("c", 2, 1),
    )
    assert result.per_class[2].accuracy == 0.5
    assert "c           2    50.00%" in str(result)


def test_top5_and_a_class_without_images() -> None:
    scores = [[7.0, 6, 5, 4, 3, 2, 1]] * 4
    result = training.evaluate(Fixed(), scored(scores, [0, 4, 5, 6]))
    assert (result.top1, result.top5) == (0.25, 0.5)
    assert result.per_class[1].accuracy is None
    assert result.labels == ("0", "1", "2", "3", "4", "5", "6")


def test_memory_grows_with_the_classes_and_not_with_their_square() -> None:
    rows = torch.zeros(2, 10_000, 1, 1)
    tracemalloc.start()
    try:
        result = training.evaluate(Fixed(), TensorDataset(rows, torch.tensor([0, 9_999])))
        assert len(str(result).splitlines()) == 10_004
        assert len(json.dumps(result.to_dict())) < 1 << 20
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20  # the matrix alone would be 800 MB of places
    assert result.counts[0] == result.counts[9_999] == ((0, 1),)


def test_evaluation_leaves_the_network_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))
    net[1].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    training.evaluate(net, TensorDataset(torch.ones(3, 1, 1, 1), torch.arange(3)))
    assert [module.training for module in net] == [True, False, True, True]
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_records_go_to_json_and_back(tmp_path) -> None:
    epochs = (
        EpochRecord(1, 0.9, 0.4, 0.8, 0.5, 0.01, 2.0),
        EpochRecord(2, 0.7, None, None, None, 0.005, 2.5),
    )
    history = History(epochs, 1, "early")
    history.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json") == history
    assert history.best is epochs[0]
    assert str(epochs[0]) == (
        "epoch 1: train loss 0.9000, accuracy 40.00%; val loss 0.8000, accuracy 50.00% (2.0 s)"
    )
    assert str(history).splitlines() == [
        str(epochs[0]) + "  best",
        "epoch 2: train loss 0.7000 (2.5 s)",
        "stopped: early",
    ]
    result = Evaluation(3, 0.5, 2 / 3, None, ((1, 1), (0, 1)), ("a", "b"))
    assert Evaluation.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    whole = {**result.to_dict(), "confusion": result.confusion}  # as it was written before
    del whole["counts"]
    assert Evaluation.from_dict(whole) == result
    with pytest.raises(InputError, match="not those of a History: 'epochs'"):
        History.from_dict({})
    with pytest.raises(InputError, match="not those of an Evaluation"):
        Evaluation.from_dict({**result.to_dict(), "top2": 1.0})


PAIRS = [(torch.zeros(1, 2, 2), 0), (torch.ones(1, 2, 2), 1)] * 2


def summed(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return scores.sum()


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (PAIRS, {"max_grad_norm": 0}, "max_grad_norm: expected a number above 0, or None.* got 0"),
        (PAIRS, {"max_grad_norm": -1.0}, "max_grad_norm: .* got -1.0"),
        (PAIRS, {"max_grad_norm": math.nan}, "max_grad_norm: .* got nan"),
        (PAIRS, {"max_grad_norm": True}, "max_grad_norm: .* got True"),
        (PAIRS, {"val": PAIRS, "early_stopping": 3}, r"EarlyStopping\(patience\), got 3"),
        (PAIRS, {"num_workers": -1}, "num_workers: expected an integer of at least 0, got -1"),
        (PAIRS, {"seed": 2**64}, "seed: expected an integer from -.* got 18446744073709551616"),
        (PAIRS, {"seed": 1.5}, "seed: .* got 1.5"),
        (PAIRS, {"epochs": 0}, "epochs: expected an integer of at least 1, got 0"),
        (PAIRS, {"batch_size": True}, "batch_size"),
        (PAIRS, {"lr": -1.0}, "lr: expected a finite number of at least 0, got -1.0"),
        (PAIRS, {"warmup": 1.0}, r"warmup: expected a probability in \[0, 1\), got 1.0"),
        (PAIRS, {"label_smoothing": 1.0}, "label_smoothing"),
        (PAIRS, {"mixed_precision": "bf8"}, "expected 'no', 'bf16', 'fp16' or 'auto', got 'bf8'"),
        (PAIRS, {"early_stopping": EarlyStopping(1)}, "early_stopping: needs a validation set"),
        (PAIRS, {"resume": True}, "resume: needs a checkpoint folder"),
        (PAIRS, {"gradient_accumulation": 3}, "batch_size: expected a multiple of 3"),
        ([], {}, "train: the data set is empty"),
        (iter(PAIRS), {}, "train: expected a data set with .*, or a DataLoader, got list_it"),
        ([PAIRS[0][0]] * 2, {}, r"train: expected \(image, label\) pairs, got Tensor as item"),
        ([(torch.zeros(1, 2, 2), 7)] * 2, {}, r"has label 7, the network scores 2 classes"),
        ([(torch.zeros(1, 2, 2), -1)] * 2, {}, r"has label -1, the network scores 2 classes"),
        ([(torch.zeros(1, 2, 2), 1.9)] * 2, {}, r"has label 1.9, expected the index of a class"),
        ([(torch.zeros(1, 2, 2), -0.5)] * 2, {}, r"has label -0.5, expected the index"),
        ([(torch.zeros(1, 2, 2), torch.tensor(0.5))] * 2, {}, r"has label 0.5, expected"),
        ([(torch.zeros(1, 2, 2), "1")] * 2, {}, r"has label '1', expected the index"),
        (
            PAIRS,
            {"val": [(torch.zeros(1, 2, 2), 0.5)], "loss": summed},
            "val: item 0 has label 0.5",
        ),
    ],
)
def test_fit_refuses(data, arguments, message) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    net.num_classes = 2
    with pytest.raises(InputError, match=message):
        training.fit(net, data, **{"epochs": 1, **arguments})


@pytest.mark.parametrize("name", ["optimizer", "schedule", "monitor"])
def test_fit_suggests_names(name) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(UnknownNameError, match=f"unknown {name} 'sgdd'"):
        training.fit(net, PAIRS, epochs=1, **{name: "sgdd"})


def test_a_network_of_torchvision_without_a_last_linear_layer() -> None:
    net = squeezenet1_0(num_classes=2)
    data = TensorDataset(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]))
    history = training.fit(net, data, data, epochs=1, batch_size=4, lr=1e-4, head_lr=1e-3)
    assert history.epochs[0].val_accuracy is not None


def test_a_network_whose_head_cannot_be_told() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(4, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ self.w

    net = Odd()
    training.fit(net, PAIRS, epochs=1, batch_size=2)
    assert net.w.abs().sum() > 0
    with pytest.raises(InputError):  # a rate of its own needs a head
        training.fit(net, PAIRS, epochs=1, head_lr=0.1)


@pytest.mark.parametrize("number", [float, np.float32, torch.tensor])
def test_targets_of_a_regression_stay_floats(number) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    net.num_classes = 1
    seen: list[torch.Tensor] = []

    def loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(targets)
        return nn.functional.mse_loss(scores[:, 0], targets)

    data = [(torch.ones(1, 2, 2), number(0.25)), (torch.zeros(1, 2, 2), number(-1.5))]
    history = training.fit(net, data, epochs=1, loss=loss, cpu=True)
    assert seen[0].dtype == torch.float32
    assert sorted(seen[0].tolist()) == [-1.5, 0.25]
    assert history.epochs[0].train_accuracy is None
