"""Where the figures of a training go."""

from __future__ import annotations

import csv
import importlib.util
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import convzoo
from convzoo import training
from convzoo.errors import ConvzooError, InputError
from convzoo.training import StepRecord


def fit(**options: Any) -> convzoo.History:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    data = TensorDataset(torch.rand(40, 1, 2, 2), torch.arange(40) % 2)
    return training.fit(net, data, data, **{"epochs": 2, "batch_size": 4, "cpu": True, **options})


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_the_epochs_and_every_sixteenth_step(tmp_path: Path) -> None:
    losses: list[float] = []
    history = fit(
        trackers=("csv",), logging_dir=tmp_path, on_step=lambda r: losses.append(float(r.loss))
    )
    first, step, second = rows(tmp_path)
    assert [row["step"] for row in (first, step, second)] == ["10", "16", "20"]
    assert float(step["loss"]) == pytest.approx(math.fsum(losses[:16]) / 16)
    assert step["val_loss"] == ""
    for row, record in zip((first, second), history.epochs, strict=True):
        assert float(row["train_loss"]) == record.train_loss
        assert float(row["val_accuracy"]) == record.val_accuracy
        assert int(row["epoch"]) == record.epoch


def test_a_table_goes_on_where_the_training_does(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(record: StepRecord) -> None:
        if record.step == 18:
            raise Stopped

    options = {"trackers": ("csv",), "checkpoint": tmp_path, "checkpoint_every": 7, "resume": True}
    with pytest.raises(Stopped):
        fit(on_step=stop, **options)
    assert [row["step"] for row in rows(tmp_path)] == ["10", "16"]
    fit(**options)  # from step 14
    assert [row["step"] for row in rows(tmp_path)] == ["10", "16", "20"]
    fit(trackers=("csv",), logging_dir=tmp_path, epochs=1)  # another training
    assert [row["step"] for row in rows(tmp_path)] == ["10"]


def test_a_table_takes_what_else_is_noted(tmp_path: Path) -> None:
    from convzoo.training._trackers import CsvTracker

    table = CsvTracker(tmp_path / "metrics.csv", 0)
    table.start()
    table.log({"loss": 0.5}, step=1)
    table.log({"ema_val_loss": 0.25}, step=2)
    table.log({"loss": 0.125}, step=3)
    first, second, third = rows(tmp_path)
    assert (first["loss"], first["ema_val_loss"]) == ("0.5", "")
    assert (second["loss"], second["ema_val_loss"]) == ("", "0.25")
    assert third["loss"] == "0.125"


def test_somebody_elses_table_stays(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is no table of a training"):
        fit(trackers=("csv",), logging_dir=tmp_path)
    assert (tmp_path / "metrics.csv").read_text() == "a,b\n1,2\n"


class Fake:
    """One of Accelerate's trackers, which takes plain values alone."""

    made: ClassVar[list[Fake]] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        self.args, self.options = args, options
        self.calls: list[Any] = []
        self.made.append(self)

    def start(self) -> None:
        self.calls.append("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        assert all(type(value) in (int, float, str, bool) for value in values.values())
        self.config = values

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        assert all(type(value) in (int, float) for value in values.values())
        self.calls.append(step)

    def finish(self) -> None:
        self.calls.append("finish")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tensorboard", "TensorBoardTracker"),
        ("trackio", "TrackioTracker"),
        pytest.param("wandb", "WandBTracker", marks=pytest.mark.long),
        pytest.param("mlflow", "MLflowTracker", marks=pytest.mark.long),
    ],
)
def test_accelerates_trackers_are_started_fed_and_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name, kind: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "convzoo.training._trackers.find_spec", lambda asked: asked == name or find(asked)
    )
    monkeypatch.setattr(f"accelerate.tracking.{kind}", Fake)
    Fake.made.clear()
    fit(trackers=(name, name), logging_dir=tmp_path)
    (made,) = Fake.made
    assert made.calls == ["start", 10, 16, 20, "finish"]
    assert made.config["epochs"] == 2
    assert made.config["schedule"] == "one_cycle"

    def press(record: StepRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(training.TrainingInterrupted):
        fit(trackers=(name,), logging_dir=tmp_path, on_step=press)
    assert Fake.made[-1].calls == ["start", "finish"]


def test_one_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convzoo.training._trackers.find_spec", lambda name: None)
    with pytest.raises(ConvzooError, match=r"trackio is not installed: pip install .*\[trackio\]"):
        fit(trackers=("trackio",))
    with pytest.raises(InputError, match="unknown tracker 'trackia': did you mean 'trackio'"):
        fit(trackers=("trackia",))
    with pytest.raises(InputError, match="trackers: expected a tuple of names, got 'csv'"):
        fit(trackers="csv")
    with pytest.raises(InputError, match="logging_dir: csv writes files; give a folder"):
        fit(trackers=("csv",))


def test_a_folder_of_its_name_is_no_tracker(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(ConvzooError, match="trackers: wandb is not installed"):
        training.fit(nn.Flatten(), [], trackers=("wandb",), logging_dir=tmp_path)
