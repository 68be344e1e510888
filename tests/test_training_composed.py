"""The aids as arguments of `fit`: what each does there, alone and all together."""

from __future__ import annotations

import functools
import inspect
import typing

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, SequentialLR, StepLR
from torch.utils.data import DataLoader, TensorDataset

import convzoo
from convzoo import training
from convzoo.errors import InputError
from convzoo.training import EMA, AlternatingFlips, EpochRecord, Mixing, ProgressiveResizing


class Tiny(nn.Module):
    """Learns the toy data below in a few steps."""

    num_classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)
        self.sides: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sides.append(x.shape[-1])
        return self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))


def toy(count: int = 48, seed: int = 0) -> TensorDataset:
    """Three classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randn(count, 1, 8, 8, generator=generator)
    return TensorDataset(noise * 0.3 + labels.view(-1, 1, 1, 1).float() - 1, labels)


@pytest.fixture
def net() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


fit = functools.partial(training.fit, batch_size=16, progress=False, cpu=True)


def rates(net: nn.Module, epochs: int, val: TensorDataset | None = None, **options) -> list[float]:
    seen: list[float] = []
    options = {
        "optimizer": "sgd",
        "lr": 1.0,
        "on_step": lambda step: seen.append(step.lr),
    } | options
    fit(net, toy(), val, epochs=epochs, **options)
    return seen


def test_schedules_by_name_and_torchs_by_step_or_epoch(net) -> None:
    assert rates(net, 4, schedule="step", milestones=3, gamma=0.5)[::3] == [1, 0.5, 0.25, 0.125]
    by_epoch = rates(net, 4, schedule=lambda optimizer: StepLR(optimizer, 2))
    assert by_epoch == pytest.approx([1.0] * 6 + [0.1] * 6)
    by_step = rates(
        net, 1, schedule=lambda o: LambdaLR(o, lambda n: 1 / (n + 1)), schedule_every="step"
    )
    assert by_step == pytest.approx([1, 1 / 2, 1 / 3])


def test_a_plateau_is_five_epochs_without_improvement(net) -> None:
    still = {"loss": lambda scores, targets: scores.sum() * 0.0, "weight_decay": 0.0}
    convzoo.freeze(net, "all").fc.requires_grad_(True)
    val = toy(6, seed=1)
    seen = rates(net, 12, val, schedule="plateau", **still)[::3]
    # The first epoch improves on nothing; the rate falls after the fifth that does not.
    assert seen == pytest.approx([1.0] * 6 + [0.1] * 5 + [0.01])
    own = functools.partial(ReduceLROnPlateau, mode="min", patience=0)
    seen = rates(net, 3, val, schedule=own, monitor="loss", **still)[::3]
    assert seen == pytest.approx([1.0, 1.0, 0.1])


def long(options: dict[str, object]) -> object:
    return pytest.param(options, marks=pytest.mark.long)


@pytest.mark.parametrize(
    "options",
    [
        long({"schedule": "cosine", "warmup": 0.2}),
        long({"schedule": lambda optimizer: StepLR(optimizer, 2)}),
        {
            "schedule": lambda o: SequentialLR(
                o, [LambdaLR(o, lambda n: (n + 1) / 4), StepLR(o, 2)], milestones=[2]
            )
        },
        long({"schedule": "plateau"}),
        long({"ema": 0.9}),
        {"mixing": "both", "l2_sp": 0.1, "ema": 0.8, "unfreeze_every": 1, "flips": "alternating"}
        | {"resizing": True, "balanced": True, "class_weights": "auto", "layer_decay": 0.5},
    ],
    ids=["cosine", "torch's", "sequential", "plateau", "ema", "all"],
)
def test_resumed_in_the_middle_it_is_the_run_never_interrupted(options, tmp_path) -> None:
    class Stop(Exception):
        pass

    def stop(record: training.StepRecord) -> None:
        if record.step == 5:
            raise Stop

    def run(**more) -> tuple[nn.Module, training.History]:
        torch.manual_seed(0)
        net = Tiny()
        return net, fit(net, toy(), toy(12, 1), epochs=4, lr=0.05, **options, **more)

    whole, expected = run()
    kept = {"checkpoint": tmp_path / "run", "checkpoint_every": 1}
    with pytest.raises(Stop):
        run(**kept, on_step=stop)
    resumed, history = run(**kept, resume=True)
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    drop = {"seconds": 0.0}
    assert [vars(e) | drop for e in history.epochs] == [vars(e) | drop for e in expected.epochs]


def test_both_scores_are_reported_and_the_better_weights_kept(net) -> None:
    data, val = toy(), toy(30, 1)
    history = fit(net, data, val, epochs=3, lr=0.3, ema=0.9)
    record = history.epochs[0]
    assert record.ema_val_loss is not None
    assert record.ema_val_loss != record.val_loss
    assert "averaged" in str(record)
    best = history.best
    kept = training.evaluate(net, val, cpu=True)
    assert kept.top1 == max(best.val_accuracy, best.ema_val_accuracy)
    assert kept.top1 == max(max(e.val_accuracy, e.ema_val_accuracy) for e in history.epochs)
    assert training.History.from_dict(history.to_dict()) == history


def test_the_average_is_that_of_the_steps_and_kept_where_nothing_chooses(net) -> None:
    loop = EMA(net, 0.9)
    fit(net, toy(), epochs=2, ema=0.9, on_step=lambda _: loop.update_parameters(net))
    averaged = loop.module.state_dict()
    assert all(torch.equal(averaged[name], value) for name, value in net.state_dict().items())


def test_mixed_images_leave_training_accuracy_out(net) -> None:
    history = fit(net, toy(), epochs=1, mixing="cutmix", label_smoothing=0.1)
    (record,) = history.epochs
    assert record.mixed
    assert record.train_accuracy is None
    assert "on mixed images" in str(record)
    assert not fit(net, toy(), epochs=1).epochs[0].mixed
    seen = []

    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        seen.append(targets.shape)
        return nn.functional.cross_entropy(scores, targets)

    fit(net, toy(), epochs=1, mixing=Mixing("mixup", 3), loss=loss)
    assert set(seen) == {(16, 3)}


def test_images_grow_in_training_and_are_whole_in_scoring(net) -> None:
    fit(net, toy(), toy(6), epochs=2, resizing=ProgressiveResizing(2, grow=(0.0, 0.5)))
    assert net.sides == [4] * 3 + [8] + [8] * 4
    net.sides.clear()
    fit(net, toy(), epochs=4, resizing=True)
    assert net.sides == sorted(net.sides)
    assert len(set(net.sides)) == 2


def test_each_side_in_turn_through_the_preset_without_its_own_flips() -> None:
    net = convzoo.lenet5(num_classes=2)
    net.preset = net.preset.replace(augmentation="photo")  # which flips
    images = torch.zeros(16, 1, 28, 28, dtype=torch.uint8)
    images[..., 20:] = 255
    seen: list[Tensor] = []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    data = convzoo.datasets.LabelledImages(images, [0, 1] * 8, "ab")
    net.preset = net.preset.replace(augmentation="digit")
    fit(net, data, epochs=2, flips="alternating")
    assert [int((x.flatten(1).argmax(1) % 28 < 14).sum()) for x in seen] != [0, 0]
    bright = [x[..., 18:].mean((1, 2, 3)) > x[..., :10].mean((1, 2, 3)) for x in seen]
    assert int(bright[0].sum()) + int(bright[1].sum()) == 16  # each image once this way, once that


def test_stages_thaw_and_all_of_it_is_thawed_in_the_end() -> None:
    net = convzoo.cifar_resnet20(num_classes=3, in_channels=1)
    moved: list[set[str]] = []
    before = {k: v.detach().clone() for k, v in net.named_parameters()}

    def look(_: EpochRecord) -> None:
        now = dict(net.named_parameters())
        moved.append({k.partition(".")[0] for k, v in before.items() if not torch.equal(v, now[k])})

    fit(net, toy(16), epochs=2, unfreeze_every=1, layer_decay=0.5, on_epoch=look)
    assert moved == [{"fc"}, {"fc", "layer3"}]
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert net.train().layer1.training


def test_l2_sp_holds_the_backbone(net) -> None:
    torch.manual_seed(0)
    free, start = Tiny(), net.conv.weight.detach().clone()
    options = {"epochs": 2, "optimizer": "sgd", "lr": 0.1, "schedule": "constant"}
    fit(free, toy(), **options)
    fit(net, toy(), l2_sp=5.0, **options)
    moved = [float((one.conv.weight.detach() - start).norm()) for one in (free, net)]
    assert moved[1] < 0.7 * moved[0]


def test_rare_classes_weigh_more_or_come_more_often(net) -> None:
    whole = toy(96)
    keep = [i for i in range(96) if i % 3 == 0 or i < 9]
    data = TensorDataset(whole.tensors[0][keep], whole.tensors[1][keep])
    drawn = []

    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        drawn.append(targets)
        return nn.functional.cross_entropy(scores, targets)

    fit(net, data, epochs=10, balanced=True, loss=loss, batch_size=32)
    counts = torch.bincount(torch.cat(drawn))
    assert counts.min() > 0.7 * counts.max()
    losses = [
        fit(Tiny(), data, epochs=1, batch_size=38, class_weights=w).epochs[0].train_loss
        for w in ("auto", [0, 0, 1.0], None)
    ]
    assert len(set(losses)) == 3


@pytest.mark.parametrize("parts", [1, 2])
def test_images_that_weigh_nothing_are_no_divergence(net, parts: int) -> None:
    options = {"batch_size": 2, "class_weights": (0, 0, 1.0), "gradient_accumulation": parts}
    history = fit(net, toy(8), epochs=1, label_smoothing=0.1, **options)
    assert 0 < history.epochs[0].train_loss < 10


def test_further_arguments_of_the_optimizer(net) -> None:
    found = []
    options = {"optimizer": "sgd", "optimizer_options": {"momentum": 0.5, "nesterov": True}}
    original = torch.optim.SGD.step

    def spy(self, *args, **kwargs):
        found.append((self.param_groups[0]["momentum"], self.param_groups[0]["nesterov"]))
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", spy)
        fit(net, toy(), epochs=1, schedule="constant", **options)
    assert set(found) == {(0.5, True)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "stepp"}, "did you mean 'step'"),
        ({"schedule": 3}, 'schedule: expected "one_cycle"'),
        ({"schedule": lambda optimizer: 3}, "to return one of torch's schedulers"),
        ({"schedule": "plateau"}, "got val=None"),
        ({"schedule": "cosine", "gamma": 0.5}, "gamma: expected None"),
        ({"schedule": StepLR}, "step_size"),
        ({"schedule_every": "step"}, "schedule_every: belongs to"),
        ({"schedule_every": "hour"}, "schedule_every"),
        ({"ema": 1.0}, "decay: expected"),
        ({"mixing": "cutmixx"}, "did you mean 'cutmix'"),
        ({"flips": "random"}, "flips"),
        ({"resizing": 0.5}, "resizing: expected True"),
        ({"balanced": "yes"}, "balanced: expected True or False"),
        ({"class_weights": "balanced"}, "class_weights"),
        ({"class_weights": [1.0, 2.0]}, "class_weights: expected 'auto' or"),
        ({"class_weights": [1.0, -1.0, 1.0]}, "class_weights: expected 'auto' or"),
        ({"class_weights": "auto", "loss": nn.CrossEntropyLoss()}, "class_weights: belongs to"),
        ({"unfreeze_every": 0}, "every: expected an integer"),
        ({"l2_sp": -1.0}, "alpha: expected"),
        ({"layer_decay": 2.0}, "layer_decay: expected"),
        ({"optimizer_options": {"momentun": 0.9}}, "optimizer_options: .*momentun"),
        ({"optimizer_options": 3}, "optimizer_options: expected a mapping"),
    ],
)
def test_what_fit_refuses(net, options, message) -> None:
    if options.get("schedule") is StepLR:
        with pytest.raises(TypeError, match=message):  # the user's own function
            fit(net, toy(), **options)
        return
    with pytest.raises(InputError, match=message):
        fit(net, toy(), **options)


def test_a_loader_brings_its_own_order() -> None:
    loader = DataLoader(toy(), 16)
    with pytest.raises(InputError, match=r"balanced_sampler\(data\)"):
        fit(Tiny(), loader, balanced=True)
    with pytest.raises(InputError, match=r"AlternatingFlips\(data\)"):
        fit(Tiny(), loader, flips="alternating")
    flips = AlternatingFlips(toy())
    shown = DataLoader(flips, 16)
    fit(Tiny(), shown, epochs=1, on_epoch=lambda record: flips.start_epoch(record.epoch + 1))


def test_fit_options_are_the_arguments_of_fit() -> None:
    parameters = inspect.signature(training.fit).parameters.values()
    wanted = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    own = training.FitOptions.__annotations__
    assert {name: own[name].__forward_arg__ for name in own} == wanted
    assert typing.get_type_hints(training.FitOptions)
