"""fit and evaluate: the same result every time, frozen parts frozen, the best epoch kept."""

from __future__ import annotations

import copy
import errno
import io
import itertools
import os
import random
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import convzoo
from convzoo import datasets, training
from convzoo.errors import CheckpointError, InputError
from convzoo.training import EarlyStopping, EpochRecord, TrainingDivergedError, TrainingInterrupted


class Tiny(nn.Module):
    """A network that learns the toy data below in a few steps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))


def toy(count: int = 48, seed: int = 0) -> TensorDataset:
    """Three classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randn(count, 1, 6, 6, generator=generator)
    return TensorDataset(noise * 0.3 + labels.view(-1, 1, 1, 1).float() - 1, labels)


@pytest.fixture
def net() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


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


def add_noise(image: Tensor) -> Tensor:
    return image + random.random() + torch.rand(())


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


def test_the_best_epoch_is_put_back(net: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = iter([0.2, 0.6, 0.4, 0.6])
    losses = iter([1.0, 0.9, 0.1, 0.8])  # of the two best, the later one has the lower loss
    kept: list[dict[str, Tensor]] = []

    def scripted(acc, model, loader, **kwargs) -> convzoo.Evaluation:
        kept.append(weights(net))
        return training.Evaluation(1, next(losses), next(accuracies), None, ((1,),), ("a",))

    monkeypatch.setattr("convzoo.training._loop.score", scripted)
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

    def scripted(acc, model, loader, **kwargs) -> convzoo.Evaluation:
        return training.Evaluation(1, 1.0, next(accuracies), None, ((1,),), ("a",))

    monkeypatch.setattr("convzoo.training._loop.score", scripted)
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


def test_resuming_continues_the_same_curve(net: Tiny, tmp_path) -> None:
    def run(one: nn.Module, folder: str, stop_after: int | None = None) -> convzoo.History:
        def stop(record: EpochRecord) -> None:
            if record.epoch == stop_after:
                raise KeyboardInterrupt

        return training.fit(
            one,
            toy(50),
            toy(30, 1),
            epochs=4,
            batch_size=12,
            train_transform=add_noise,
            checkpoint=tmp_path / folder,
            resume=True,
            early_stopping=EarlyStopping(10),
            on_epoch=stop,
        )

    other = copy.deepcopy(net)
    fresh = copy.deepcopy(net)
    whole = run(net, "whole")
    with pytest.raises(TrainingInterrupted):
        run(other, "cut", stop_after=2)
    resumed = run(fresh, "cut")

    def figures(history: convzoo.History) -> list[tuple[float, ...]]:
        return [(r.train_loss, r.val_loss or 0.0, r.lr) for r in history.epochs]

    assert figures(resumed) == figures(whole)
    assert resumed.best_epoch == whole.best_epoch
    assert same(weights(fresh), weights(net))
    with pytest.raises(CheckpointError, match="epochs was 4, now 5"):
        training.fit(
            net, toy(50), epochs=5, batch_size=12, checkpoint=tmp_path / "cut", resume=True
        )


@pytest.fixture
def images(tmp_path) -> datasets.LabelledImages:
    """Twelve small images of two classes in a folder."""
    paths = [tmp_path / "data" / name / f"{i}.png" for name in ("cat", "dog") for i in range(6)]
    for i, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), 20 * i).save(path)
    return datasets.LabelledImages(paths, [0] * 6 + [1] * 6, ("cat", "dog"))


def one_epoch(folder, data: datasets.LabelledImages, *, model: str = "lenet5", **changes) -> None:
    net = convzoo.create_model(model, num_classes=len(data.classes), in_channels=1)
    given = {"epochs": 1, "batch_size": 4, "checkpoint": folder, "resume": True, "cpu": True}
    training.fit(net, data, **{**given, **changes})


def test_resuming_names_each_setting_that_differs(images, tmp_path) -> None:
    one_epoch(tmp_path / "run", images)
    before = (tmp_path / "run" / "last.pt").read_bytes()
    for changes, message in (
        ({"model": "cifar_cnn5"}, "network was 'lenet5', now 'cifar_cnn5'"),
        ({"optimizer": "sgd"}, "optimizer was 'AdamW', now 'SGD'"),
        ({"lr": 0.5}, "lr lost [0.001] and gained [0.5]"),
        ({"head_lr": 0.5}, "lr lost [] and gained [0.5]"),
        ({"weight_decay": 0.5}, "weight_decay lost [0.01] and gained [0.5]"),
        ({"label_smoothing": 0.5}, "label_smoothing was 0.0, now 0.5"),
        ({"loss": lambda scores, targets: scores.sum()}, "loss was 'CrossEntropy', now "),
        ({"warmup": 0.5}, "warmup was None, now 0.5"),
        ({"epochs": 2, "seed": 1}, "epochs was 1, now 2; seed was 0, now 1"),
    ):
        with pytest.raises(CheckpointError) as caught:
            one_epoch(tmp_path / "run", images, **changes)
        assert message in str(caught.value)
        assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_resuming_knows_its_data(images, tmp_path) -> None:
    folder = tmp_path / "run"
    one_epoch(folder, images)
    one_epoch(folder, images, num_workers=1)  # who reads may change
    moved = tmp_path / "elsewhere"
    (tmp_path / "data").rename(moved)
    paths = [moved / path.relative_to(tmp_path / "data") for path in images.images]
    one_epoch(folder, datasets.LabelledImages(paths, images.targets, images.classes))
    renamed = datasets.LabelledImages(paths, images.targets, ("cat", "zebra"))
    with pytest.raises(CheckpointError, match=r"classes lost \['dog'\] and gained \['zebra'\]"):
        one_epoch(folder, renamed)
    swapped = datasets.LabelledImages(paths, images.targets, ("dog", "cat"))
    with pytest.raises(
        CheckpointError, match=r"classes was \['cat', 'dog'\], now \['dog', 'cat'\]"
    ):
        one_epoch(folder, swapped)
    Image.new("L", (64, 64)).save(paths[3])
    with pytest.raises(CheckpointError, match="files of train was '"):
        one_epoch(folder, datasets.LabelledImages(paths, images.targets, images.classes))


def test_a_damaged_state_is_one_error(images, tmp_path) -> None:
    one_epoch(tmp_path, images)
    last = tmp_path / "last.pt"
    whole = last.read_bytes()
    assert torch.load(last, weights_only=True)["settings"]["classes"] == ["cat", "dog"]
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    foreign = io.BytesIO()
    torch.save({"state_dict": {}}, foreign)
    for content in (b"", b"half", whole[:-1], whole[:middle], flipped, foreign.getvalue()):
        last.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"last\.pt: not a training state, or one that"):
            one_epoch(tmp_path, images)
        assert last.read_bytes() == content


def test_a_full_disk_is_one_error(images, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_epoch(tmp_path, images)
    whole = (tmp_path / "last.pt").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("convzoo.training._checkpoint.os.fsync", full)
    with pytest.raises(CheckpointError, match=r"last\.pt: cannot be written: No space left"):
        one_epoch(tmp_path, images, resume=False)
    assert [path.name for path in tmp_path.glob("*last*")] == ["last.pt"]
    assert (tmp_path / "last.pt").read_bytes() == whole


def test_the_checkpoint_holds_the_best_network(tmp_path) -> None:
    net = convzoo.cifar_resnet20(in_channels=1, num_classes=3)
    training.fit(net, toy(12), toy(9, 1), epochs=2, batch_size=6, checkpoint=tmp_path)
    assert same(weights(convzoo.load(tmp_path / "best")), weights(net))
    foreign = Tiny()
    training.fit(foreign, toy(), toy(), epochs=1, batch_size=12, checkpoint=tmp_path / "foreign")
    from safetensors.torch import load_file

    assert same(load_file(tmp_path / "foreign" / "best" / "model.safetensors"), weights(foreign))


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
