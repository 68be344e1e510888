"""fit and evaluate: the same result every time, frozen parts frozen, the best epoch kept."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import convzoo
from convzoo import datasets, training
from convzoo.errors import InputError
from convzoo.training import EarlyStopping, EpochRecord, TrainingDivergedError, TrainingInterrupted
from toy_training import Tiny, add_noise, same, toy, weights


@pytest.fixture
def net() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


def test_it_learns(net: Tiny) -> None:
    seen: list[EpochRecord] = []
    history = training.fit(
        net, toy(), toy(30, 1), epochs=6, batch_size=6, lr=0.05, on_epoch=seen.append
    )
    assert training.evaluate(net, toy(60, 2)).top1 > 0.9
    assert [record.epoch for record in history.epochs] == [1, 2, 3, 4, 5, 6]
    assert history.epochs == tuple(seen)
    assert history.stopped == "finished"
    assert not net.training


EVERY_RECIPE = itertools.product(
    ("adamw", "adam", "sgd", "rmsprop"), ("one_cycle", "cosine", "constant")
)
ONE_OF_EACH = [
    ("adamw", "one_cycle"),
    ("adam", "constant"),
    ("sgd", "cosine"),
    ("rmsprop", "cosine"),
]


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [pytest.param(*r, marks=() if r in ONE_OF_EACH else pytest.mark.long) for r in EVERY_RECIPE],
)
def test_every_recipe_lowers_the_loss(net: Tiny, optimizer, schedule) -> None:
    history = training.fit(
        net, toy(), epochs=4, batch_size=12, lr=0.02, optimizer=optimizer, schedule=schedule
    )
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    assert history.best_epoch is None
    assert history.epochs[0].val_accuracy is None


def test_the_same_seed_gives_the_same_result_and_the_generators_stay(net: Tiny) -> None:
    twin, other = copy.deepcopy(net), copy.deepcopy(net)
    before = torch.get_rng_state(), random.getstate()
    for one, seed in ((net, 1), (twin, 1), (other, 2)):
        noisy = training.fit(
            one, toy(), epochs=2, batch_size=12, seed=seed, train_transform=add_noise
        )
        assert len(noisy.epochs) == 2
    assert same(weights(net), weights(twin))
    assert not same(weights(net), weights(other))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_the_learning_rate_follows_the_schedule(net: Tiny) -> None:
    def rates(schedule, warmup=None) -> list[float]:
        history = training.fit(
            copy.deepcopy(net),
            toy(40),
            epochs=4,
            batch_size=10,
            lr=1.0,
            optimizer="sgd",
            schedule=schedule,
            warmup=warmup,
        )
        return [record.lr for record in history.epochs]

    # 16 steps; the record has the rate of steps 3, 7, 11 and 15 (from 0).
    assert rates("constant") == pytest.approx([1, 1, 1, 1])
    assert rates("constant", 0.5) == pytest.approx([4 / 9, 8 / 9, 1, 1])
    # 0.5 (1 + cos(pi t / 16))
    assert rates("cosine") == pytest.approx([0.915735, 0.597545, 0.222215, 0.009607], abs=1e-6)
    risen = rates("one_cycle", 0.25)
    assert risen[0] > 0.98
    assert risen[0] > risen[1] > risen[2] > risen[3]
    assert risen[3] < 0.03


def script(patch: pytest.MonkeyPatch, evaluate: Callable[[], convzoo.Evaluation]) -> None:
    """Have every epoch's evaluation be what a test says."""
    scripted = SimpleNamespace(evaluation=lambda labels: evaluate())
    patch.setattr("convzoo.training._loop.Tally", lambda: scripted)
    patch.setattr("convzoo.training._loop.score", lambda *args, **options: None)


def test_the_best_epoch_is_put_back(net: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = iter([0.2, 0.6, 0.4, 0.6])
    losses = iter([1.0, 0.9, 0.1, 0.8])  # of the two best, the later one has the lower loss
    kept: list[dict[str, Tensor]] = []

    def scripted() -> convzoo.Evaluation:
        kept.append(weights(net))
        return training.Evaluation(1, next(losses), next(accuracies), None, ((1,),), ("a",))

    script(monkeypatch, scripted)
    history = training.fit(net, toy(), toy(), epochs=4, batch_size=12)
    assert history.best_epoch == 4
    assert history.best is history.epochs[3]

    accuracies, losses = iter([0.2, 0.6, 0.4, 0.6]), iter([1.0, 0.9, 0.1, 0.8])
    kept.clear()
    history = training.fit(net, toy(), toy(), epochs=4, batch_size=12, monitor="loss")
    assert history.best_epoch == 3
    assert same(weights(net), kept[2])
    assert not same(weights(net), kept[3])


def test_early_stopping_ends_training_after_patience_epochs(
    net: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.5, 0.6, 0.6, 0.55, 0.7])

    script(
        monkeypatch,
        lambda: training.Evaluation(1, 1.0, next(accuracies), None, ((1,),), ("a",)),
    )
    history = training.fit(
        net, toy(), toy(), epochs=5, batch_size=12, early_stopping=EarlyStopping(2)
    )
    assert len(history.epochs) == 4
    assert (history.stopped, history.best_epoch) == ("early", 2)


def test_ctrl_c_keeps_the_best_network(net: Tiny) -> None:
    at_two: list[dict[str, Tensor]] = []

    def press(record: EpochRecord) -> None:
        at_two.append(weights(net))
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted) as caught:
        training.fit(net, toy(), toy(), epochs=5, batch_size=12, lr=0.05, on_epoch=press)
    assert isinstance(caught.value, KeyboardInterrupt)
    history = caught.value.history
    assert (len(history.epochs), history.stopped) == (2, "interrupted")
    assert same(weights(net), at_two[(history.best_epoch or 0) - 1])


def test_nan_stops_training_with_the_best_network(net: Tiny) -> None:
    calls = iter(range(100))

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        value = nn.functional.cross_entropy(output, targets)
        return value if next(calls) < 6 else value * float("nan")

    with pytest.raises(TrainingDivergedError, match=r"became nan in epoch 2.*learning rate"):
        training.fit(net, toy(), toy(), epochs=5, batch_size=12, loss=loss)
    assert all(value.isfinite().all() for value in net.state_dict().values())
    assert not net.training


def test_frozen_parts_stay_as_they_are() -> None:
    net = convzoo.cifar_resnet20(in_channels=1, num_classes=3)
    convzoo.freeze(net, "up_to:layer2")
    before = weights(net)
    training.fit(net, toy(16), epochs=1, batch_size=8, lr=0.1)
    moved = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    assert moved
    assert {key.split(".")[0] for key in moved} == {"layer3", "fc"}
    convzoo.freeze(net, "backbone")
    net.fc.requires_grad_(False)
    with pytest.raises(InputError, match="every parameter is frozen"):
        training.fit(net, toy(16), epochs=1)


def test_gradient_accumulation_changes_memory_only() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).double()
    twin = copy.deepcopy(net)
    double = TensorDataset(toy(50).tensors[0].double(), toy(50).tensors[1])
    for one, parts in ((net, 1), (twin, 4)):
        training.fit(one, double, epochs=2, batch_size=12, gradient_accumulation=parts)
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


class TwoHeads(NamedTuple):
    logits: Tensor
    aux: Tensor


class WithAuxiliary(Tiny):
    aux_weight = 0.5

    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x)
        return TwoHeads(scores, scores.detach() * 0) if self.training else scores  # type: ignore


def test_auxiliary_scores_join_the_loss() -> None:
    torch.manual_seed(0)
    plain, with_aux = Tiny(), WithAuxiliary()
    with_aux.load_state_dict(plain.state_dict())
    one = training.fit(plain, toy(), toy(), epochs=1, batch_size=48)
    two = training.fit(with_aux, toy(), toy(), epochs=1, batch_size=48)
    # Three equal scores cost log 3, here with weight 0.5.
    assert two.epochs[0].train_loss == pytest.approx(one.epochs[0].train_loss + 0.5 * 1.0986, 1e-4)
    assert two.epochs[0].val_loss == pytest.approx(one.epochs[0].val_loss)
    given = training.fit(
        with_aux,
        toy(),
        epochs=1,
        batch_size=48,
        loss=lambda output, targets: (
            nn.functional.cross_entropy(output.aux, targets) + 0 * output.logits.sum()
        ),
    )
    assert given.epochs[0].train_loss == pytest.approx(1.0986, abs=1e-4)


def test_an_optimizer_of_your_own(net: Tiny) -> None:
    optimizer = torch.optim.Adagrad(net.parameters(), lr=0.1)
    history = training.fit(
        net, toy(), epochs=2, batch_size=12, optimizer=optimizer, schedule="constant"
    )
    assert [record.lr for record in history.epochs] == [0.1, 0.1]
    with pytest.raises(InputError, match=r"lr: the optimizer given has its own, got lr=0.2"):
        training.fit(net, toy(), epochs=1, optimizer=optimizer, lr=0.2)


def test_bf16_leaves_no_trace_in_the_network(net: Tiny) -> None:
    dtypes: set[torch.dtype] = set()
    net.conv.register_forward_hook(lambda module, inputs, output: dtypes.add(output.dtype))
    training.fit(net, toy(), epochs=1, batch_size=12, mixed_precision="bf16")
    assert dtypes == {torch.bfloat16}
    assert "forward" not in vars(net)
    dtypes.clear()
    training.fit(net, toy(), toy(), epochs=1, batch_size=12)  # another precision, same process
    assert dtypes == {torch.float32}
    assert training.evaluate(net, toy(), mixed_precision="bf16").samples == 48
    assert torch.float32 in dtypes
    with pytest.raises(InputError, match="'fp16' needs a GPU"):
        training.fit(net, toy(), epochs=1, mixed_precision="fp16", cpu=True)


def test_raw_images_go_through_the_preset() -> None:
    data = datasets.digits()
    net = convzoo.cifar_resnet20(in_channels=1)
    net.preset = convzoo.presets.CIFAR10
    with pytest.raises(InputError, match=r"3 channels|1 channel"):  # CIFAR's preset gives RGB
        training.evaluate(net, data.val)
    net.preset = convzoo.presets.MNIST.replace(input_size=8, resize=None)
    shapes: set[torch.Size] = set()
    net.register_forward_pre_hook(lambda module, inputs: shapes.add(inputs[0].shape[1:]))
    training.fit(net, data.train.subset(range(20)), data.val.subset(range(9)), epochs=1)
    assert shapes == {torch.Size([1, 8, 8])}
    with pytest.raises(InputError, match=r"raw image.*no preset.*train_transform"):
        training.fit(Tiny(), data.train, epochs=1)
