"""The steps of `fit`: what is told of them, what they cost, and how a training survives."""

from __future__ import annotations

import copy
import io
import logging
import os
import platform
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import convzoo
from convzoo import datasets, training
from convzoo.errors import CheckpointError, InputError
from convzoo.training import StepRecord, TrainingDivergedError
from convzoo.training._data import StepSampler
from convzoo.training._progress import Progress
from processes import run


class Tiny(nn.Module):
    """Everything that a step draws or counts: dropout and batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))


def toy(count: int = 30) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(count, 1, 6, 6, generator=generator), torch.arange(count) % 3)


def noisy(image: Tensor) -> Tensor:
    return image + torch.rand(())


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in one.state_dict().items())


def fit(net: nn.Module, data=None, **options) -> convzoo.History:
    given = {"epochs": 2, "batch_size": 6, "train_transform": noisy, "cpu": True}
    return training.fit(net, toy() if data is None else data, **{**given, **options})


def test_every_step_is_told() -> None:
    seen: list[StepRecord] = []
    history = fit(Tiny(), on_step=seen.append, optimizer="sgd", lr=0.1, schedule="constant")
    assert [(record.step, record.epoch) for record in seen] == [
        *((step, 1) for step in range(1, 6)),
        *((step, 2) for step in range(6, 11)),
    ]
    assert {record.lr for record in seen} == {0.1}
    assert all(isinstance(record.loss, Tensor) and record.loss.ndim == 0 for record in seen)
    mean = sum(float(record.loss) for record in seen[5:]) / 5
    assert history.epochs[1].train_loss == pytest.approx(mean)


class Stopped(Exception):
    """In place of a kill."""


def stop_at(step: int):
    def stop(record: StepRecord) -> None:
        if record.step == step:
            raise Stopped

    return stop


FORMS = {
    "data": lambda: toy(),
    "loader": lambda: DataLoader(toy(), batch_size=6, shuffle=True),
}


@pytest.mark.parametrize(
    ("form", "step"),
    [
        ("data", 3),
        ("data", 5),
        ("loader", 7),
        *(pytest.param(*case, marks=pytest.mark.long) for case in (("data", 7), ("loader", 3))),
        pytest.param("loader", 5, marks=pytest.mark.long),
    ],
)
def test_resuming_in_the_middle_of_an_epoch(tmp_path: Path, form: str, step: int) -> None:
    options = {
        "val": toy(12),
        "checkpoint": tmp_path,
        "checkpoint_every": 1,
        "resume": True,
        "max_grad_norm": 1.0,
    }
    whole, cut, resumed = Tiny(), Tiny(), Tiny()
    history = fit(whole, FORMS[form](), **{**options, "checkpoint": None, "resume": False})
    with pytest.raises(Stopped):
        fit(cut, FORMS[form](), on_step=stop_at(step), **options)
    seen: list[int] = []
    again = fit(resumed, FORMS[form](), on_step=lambda r: seen.append(r.step), **options)
    assert seen == list(range(step + 1, 11))
    assert same(whole, resumed)

    def figures(history: convzoo.History) -> list[tuple[object, ...]]:
        return [(r.train_loss, r.train_accuracy, r.val_loss, r.lr) for r in history.epochs]

    assert figures(again) == figures(history)


def test_workers_change_nothing() -> None:
    alone, helped = Tiny(), Tiny()
    fit(alone)
    fit(helped, num_workers=1)
    assert same(alone, helped)


def test_states_are_written_by_time(tmp_path: Path) -> None:
    written: list[bool] = []
    for every in (timedelta(microseconds=1), timedelta(hours=1), None):
        folder = tmp_path / str(every)
        with pytest.raises(Stopped):
            fit(Tiny(), checkpoint=folder, checkpoint_every=every, on_step=stop_at(2))
        written.append((folder / "last.pt").exists())
    assert written == [True, False, False]


# Children of one process that has imported torch are killed at a moment that each draws; what the
# last one leaves has to be what one that was left alone does.
KILLED = """
import json, os, random, signal, sys, time
import torch
from convzoo import training
sys.path.insert(0, sys.argv[1])
from test_training_steps import Tiny, fit, toy

torch.set_num_threads(1)
kills, started = int(sys.argv[2]), 0
times = random.Random(int(sys.argv[3]))


def child(folder):
    net = Tiny()
    fit(net, toy(48), epochs=4, val=toy(12), checkpoint=folder, checkpoint_every=1, resume=True)
    training._checkpoint.write_whole(
        training._checkpoint.Path(folder + ".txt"),
        repr({k: v.tolist() for k, v in net.state_dict().items()}).encode(),
    )


def start(folder):
    pid = os.fork()
    if pid == 0:
        try:
            child(folder)
        finally:
            sys.stderr.flush()
            os._exit(0)
    return pid


training.evaluate(Tiny(), toy(6), cpu=True)  # imports what the children need
began = time.monotonic()
os.waitpid(start("whole"), 0)
length = time.monotonic() - began
done = 0
while done < kills:
    pid = start("cut")
    time.sleep(times.uniform(0, length / (kills + 1) * 1.5))
    os.kill(pid, signal.SIGKILL)
    done += os.waitpid(pid, 0)[1] == signal.SIGKILL
    if os.path.exists("cut.txt"):
        break
os.waitpid(start("cut"), 0)
assert open("cut.txt").read() == open("whole.txt").read()
print("kills", done)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.long)])
def test_killed_at_any_moment_the_outcome_is_that_of_a_run_left_alone(
    tmp_path: Path, kills: int
) -> None:
    seed = int.from_bytes(os.urandom(4), "little")
    here = str(Path(__file__).parent)
    told = run([sys.executable, "-c", KILLED, here, str(kills), str(seed)], cwd=tmp_path)
    assert told.returncode == 0, (seed, told.stderr)
    assert int(told.stdout.split()[1]) >= 1, (seed, told.stdout)


def test_out_of_memory_halves_the_parts_and_not_the_step(caplog, tmp_path: Path) -> None:
    class Small(nn.Module):
        """Has room for two images."""

        def __init__(self, room: int) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.fc = nn.Linear(36, 3).double()
            self.room = room

        def forward(self, x: Tensor) -> Tensor:
            if self.training and len(x) > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return self.fc(x.flatten(1))

    data = TensorDataset(toy().tensors[0].double(), toy().tensors[1])
    wide, narrow = Small(6), Small(2)
    fit(wide, data)
    with caplog.at_level(logging.WARNING, "convzoo"):
        fit(narrow, data, checkpoint=tmp_path)
    for ours, theirs in zip(wide.parameters(), narrow.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        f"out of memory: each batch of 6 images now goes through the network in {parts} parts"
        for parts in (2, 4)
    ]
    wide, narrow = Small(6), Small(2)
    for net in (wide, narrow):  # where images weigh differently, too
        fit(net, data, epochs=1, class_weights=(1.0, 0.1, 3.0), label_smoothing=0.1)
    torch.testing.assert_close(wide.fc.weight, narrow.fc.weight, rtol=1e-6, atol=1e-8)
    caplog.clear()
    fit(Small(2), data, checkpoint=tmp_path, resume=True)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        fit(Small(0), data)
    assert "no room for a single image" in caught.value.__notes__[0]


def test_another_error_of_a_step_is_passed_on() -> None:
    def loss(scores: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fit(Tiny(), loss=loss)


def test_a_nan_names_its_step_and_its_images(tmp_path: Path) -> None:
    images, targets = toy().tensors
    images = images.clone()
    images[17] = torch.nan
    net = Tiny()
    before = copy.deepcopy(net)
    with pytest.raises(TrainingDivergedError, match=r"became nan in epoch 1, step \d of 5") as told:
        fit(net, TensorDataset(images, targets), optimizer="sgd", lr=0.0, schedule="constant")
    error = told.value
    assert error.epoch == 1
    assert len(error.images) == 6
    assert 17 in error.images
    assert f", on the images {', '.join(map(str, error.images))}; try" in str(error)
    assert torch.equal(net.fc.weight, before.fc.weight)
    loader = DataLoader(TensorDataset(images, targets), batch_size=15)
    with pytest.raises(TrainingDivergedError, match=r"step 2 of 2; try") as told:
        fit(Tiny(), loader)
    assert told.value.images == ()


def test_a_nan_names_the_files_of_its_images(tmp_path: Path) -> None:
    from PIL import Image

    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path in paths:
        Image.new("L", (6, 6)).save(path)
    data = datasets.LabelledImages(paths, [0, 1, 2, 0], ("a", "b", "c"))
    with pytest.raises(TrainingDivergedError) as told:
        fit(Tiny(), data, train_transform=lambda image: torch.full((1, 6, 6), torch.nan))
    assert all(f"{i} ({path})" in str(told.value) for i, path in enumerate(paths))


@pytest.mark.parametrize("wanted", [True, False, None])
def test_the_layout_in_memory_is_put_back(wanted: bool | None) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    before = copy.deepcopy(net)
    seen: list[bool] = []
    net[0].register_forward_hook(
        lambda module, inputs, output: seen.append(
            inputs[0].is_contiguous(memory_format=torch.channels_last)
        )
    )
    data = TensorDataset(torch.rand(8, 3, 6, 6), torch.arange(8) % 3)
    options = {"train_transform": None, "batch_size": 4, "epochs": 1, "channels_last": wanted}
    fit(net, data, **options)
    assert set(seen) == {wanted is True}
    assert net[0].weight.is_contiguous()
    own = before.to(memory_format=torch.channels_last)
    fit(own, data, **options)
    assert not own[0].weight.is_contiguous()
    torch.testing.assert_close(own[0].weight, net[0].weight)


def test_a_state_fits_either_layout(tmp_path: Path) -> None:
    """The optimizer's tensors lie as the weights do, or a fused step would mix them up."""
    nets = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 3)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    data = TensorDataset(torch.rand(8, 3, 6, 6), torch.arange(8) % 3)
    options = {"train_transform": None, "batch_size": 4, "epochs": 3}
    fit(nets[0], data, channels_last=False, **options)
    kept = {"checkpoint": tmp_path, "checkpoint_every": 1, "resume": True}
    with pytest.raises(Stopped):
        fit(nets[1], data, channels_last=True, on_step=stop_at(3), **kept, **options)
    fit(nets[1], data, channels_last=False, **kept, **options)
    for ours, theirs in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_bf16_by_itself_only_where_it_is_quicker(monkeypatch, caplog) -> None:
    types: set[torch.dtype] = set()
    net = Tiny()
    net.conv.register_forward_hook(lambda module, inputs, output: types.add(output.dtype))
    for native in (False, True):
        monkeypatch.setattr("convzoo.training._accelerator.computes_bf16", lambda d, n=native: n)
        with caplog.at_level(logging.INFO, "convzoo"):
            fit(net, epochs=1, mixed_precision="auto")
        assert types == {torch.bfloat16 if native else torch.float32}
        types.clear()
    told = [record.message for record in caplog.records]
    assert told == [
        "mixed_precision: full precision, since this processor does not compute in bf16"
    ]


def test_the_allocator_says_whether_it_was_tuned(monkeypatch) -> None:
    assert training.tune_allocator() is (platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr("convzoo.training._speed.sys.platform", "win32")
    assert training.tune_allocator() is False


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_where_somebody_looks_on(monkeypatch, capsys) -> None:
    fit(Tiny(), epochs=1)
    assert capsys.readouterr() == ("", "")
    fit(Tiny(), epochs=1, progress=True)
    assert capsys.readouterr().out.startswith("epoch 1: train loss")
    fit(Tiny(), epochs=1, progress=True, on_epoch=lambda record: None)
    assert capsys.readouterr().out == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    fit(Tiny(), epochs=1)
    assert terminal.getvalue().startswith("epoch 1: train loss")
    assert not Progress(None, main=False).bars

    class ZMQInteractiveShell:
        """What a notebook's kernel has."""

    class IPython:
        get_ipython = ZMQInteractiveShell

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    assert Progress(None, main=True).bars


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoint_every": 0}, "checkpoint_every: expected an integer of at least 1, got 0"),
        ({"checkpoint_every": 2.5}, r"checkpoint_every: .* a time is a datetime\.timedelta"),
        ({"checkpoint_every": timedelta(0)}, "checkpoint_every: expected a time above 0"),
        ({"channels_last": "yes"}, "channels_last: expected True or False, got 'yes'"),
        ({"compile": 1}, "compile: expected True or False, got 1"),
    ],
)
def test_it_refuses(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        fit(Tiny(), **arguments)


def test_a_state_of_another_version_is_one_error(tmp_path: Path, monkeypatch) -> None:
    fit(Tiny(), epochs=1, checkpoint=tmp_path)
    monkeypatch.setattr("convzoo.training._checkpoint._FORM", 3)
    with pytest.raises(CheckpointError, match="another version of convzoo"):
        fit(Tiny(), epochs=1, checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_losses_are_those_of_a_loop_by_hand(optimizer) -> None:
    """In double precision, so that only rounding may differ."""
    ours, theirs = Tiny().double(), Tiny().double()
    for net in (ours, theirs):
        net.drop.p = 0.0
    images, targets = toy().tensors[0].double(), toy().tensors[1]
    told: list[float] = []
    fit(
        ours,
        TensorDataset(images, targets),
        train_transform=None,
        optimizer=optimizer,
        schedule="constant",
        lr=0.01,
        weight_decay=0.0,
        on_step=lambda record: told.append(float(record.loss)),
    )
    sampler, losses = StepSampler(30, 6, 0), []
    by_hand = {
        "adamw": lambda weights: torch.optim.AdamW(weights, 0.01, weight_decay=0),
        "sgd": lambda weights: torch.optim.SGD(weights, 0.01, momentum=0.9),
    }[optimizer](theirs.parameters())
    for sampler.epoch in (1, 2):
        for share in sampler:
            loss = nn.functional.cross_entropy(theirs(images[share]), targets[share])
            by_hand.zero_grad()
            loss.backward()
            by_hand.step()
            losses.append(loss.item())
    assert told == pytest.approx(losses, rel=1e-9)
