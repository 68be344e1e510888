"""`convzoo finetune`: the whole job, what it keeps, and what it leaves alone."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import convzoo
from cli_helpers import quick
from convzoo import datasets, training
from convzoo.cli import main
from convzoo.training import History

pytest_plugins = ["cli_fixtures"]


def test_the_whole_job_on_the_digits(few_digits, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--epochs", "1", "--head-epochs", "2", "--batch-size", "16", "--tracker", "csv"]
    assert main(["finetune", "--out", str(out), *arguments]) == 0
    said = capsys.readouterr().out
    assert "network: cifar_resnet20, weights fashion_mnist" in said
    for line in (
        "new head, untrained",
        "random head on a frozen random network",
        "after training, head only",
        "after training, whole network",
    ):
        assert said.count(line) == 2  # when it is known, and in the table at the end
    assert "loaded back, it says" in said
    assert {path.name for path in out.iterdir()} == {
        *("README.md", "config.json", "confusion_matrix.png", "history.json"),
        *("learning_curve.png", "metrics", "model.safetensors"),
    }
    assert {path.parent.name for path in out.glob("metrics/*/metrics.csv")} == {"1", "2"}
    records = json.loads((out / "history.json").read_text())
    history = History.load(out / "history.json")
    assert [record.epoch for record in history.epochs] == [1, 2, 3]
    assert records["phases"] == {"head only": 2, "whole network": 1}
    assert (history.best_epoch == 3) == (records["kept"] == "whole network")
    net = convzoo.load(out)
    assert (net.num_classes, net.labels) == (10, tuple("0123456789"))
    assert net.preset == convzoo.presets.FASHION_MNIST
    kept = records["kept"]
    assert f"kept: {kept}, " in said
    result = training.Evaluation.from_dict(records["results"][f"after training, {kept}"])
    assert training.evaluate(net, datasets.digits().test).confusion == result.confusion

    # ... and the folder is what the other commands take.
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    assert main(["predict", str(out), str(tmp_path / "black.png"), "--top-k", "2", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["image"] == str(tmp_path / "black.png")
    assert len(entry["predictions"]) == 2
    assert set(entry["predictions"][0]) == {"label", "index", "probability"}
    assert main(["evaluate", str(out), "--json"]) == 0
    again = training.Evaluation.from_dict(json.loads(capsys.readouterr().out))
    assert again.confusion == result.confusion


def test_a_folder_of_images(folder: Path, tmp_path: Path, capsys) -> None:
    (folder / "dark" / "broken.png").write_bytes(b"no image")
    out = tmp_path / "out"
    assert main(quick(folder, out)) == 2
    assert "Error: " in (said := capsys.readouterr()).err
    assert "broken.png: not an image" in said.err
    assert main(quick(folder, out, "--on-error", "skip", "--augment", "trivialaugment")) == 0
    said = capsys.readouterr()
    assert "Warning: left out:" in said.err
    assert "broken.png" in said.err
    assert "images: 12 training, 4 validation, 4 test; 2 classes" in said.out
    assert "random network" not in said.out
    assert main(["predict", str(out), str(folder / "bright")]) == 0
    assert capsys.readouterr().out.count(".png\n") == 10
    assert main(["evaluate", str(out), str(folder), "--on-error", "skip"]) == 0
    assert "20 images" in capsys.readouterr().out
    picture = tmp_path / "confusion.png"
    (folder / "dark" / "broken.png").unlink()
    (folder / "dark").rename(folder / "dim")
    assert main(["evaluate", str(out), str(folder), "--confusion", str(picture)]) == 2
    assert "dim: not one of the known classes (bright, dark)" in capsys.readouterr().err
    (folder / "bright").rename(folder / "light")
    report = ["--report", str(tmp_path / "report.html"), "--tta", "flip"]
    assert main(["evaluate", str(out), str(folder), "--confusion", str(picture), *report]) == 0
    assert picture.exists()
    assert "0.png" in (tmp_path / "report.html").read_text("utf-8")
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    assert main(["evaluate", str(out), str(folder), "--report", str(mine)]) == 2
    assert mine.read_text() == "mine"


def test_quiet_is_quiet_and_the_backbone_can_stay(
    folder: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(quick(folder, tmp_path / "one", "--quiet", "--freeze", "backbone")) == 0
    assert capsys.readouterr() == ("", "")
    records = json.loads((tmp_path / "one" / "history.json").read_text())
    assert records["phases"] == {"head only": 2}  # one phase, with the epochs of both
    # Going on from what was saved.
    further = ["finetune", str(folder), "--model", str(tmp_path / "one"), "--workers", "0"]
    further += ["--epochs", "1", "--head-epochs", "0", "--freeze", "up_to:layer2"]
    monkeypatch.setattr("convzoo.cli._run.find_spec", lambda name: None)
    assert main([*further, "--out", str(tmp_path / "two")]) == 0
    assert "no pictures, for want of matplotlib" in capsys.readouterr().err
    assert not list((tmp_path / "two").glob("*.png"))
    one, two = convzoo.load(tmp_path / "one"), convzoo.load(tmp_path / "two")
    moved = {k for k, v in one.state_dict().items() if not v.equal(two.state_dict()[k])}
    assert {key.split(".")[0] for key in moved} == {"layer3", "fc"}
    assert main([*further, "--weights", "x"]) == 2
    assert "brings its own, got 'x'" in capsys.readouterr().err


@pytest.mark.parametrize("after", [pytest.param(0, marks=pytest.mark.long), 1])
def test_ctrl_c_keeps_the_best_network(
    few_digits, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    fit, calls = training.fit, iter(range(10))

    def interrupted(*args, on_epoch, **options):
        def press(record) -> None:
            on_epoch(record)
            if next(calls) == after:
                raise KeyboardInterrupt

        return fit(*args, on_epoch=press, **options)

    monkeypatch.setattr("convzoo.cli._run.fit", interrupted)
    assert main(quick(None, tmp_path / "out", "--no-baseline")) == 130
    assert "Interrupted; the best network so far is in" in capsys.readouterr().out
    net = convzoo.load(tmp_path / "out")
    assert net.labels == tuple("0123456789")
    assert (tmp_path / "out" / "learning_curve.png").exists()
    assert (tmp_path / "out" / "checkpoint").exists()
    monkeypatch.setattr("convzoo.cli._run.fit", fit)
    other = ["--no-baseline", "--resume", "--optimizer", "sgd"]
    assert main(quick(None, tmp_path / "out", *other)) == 2
    assert "optimizer was 'AdamW', now 'SGD'" in capsys.readouterr().err
    assert main(quick(None, tmp_path / "out", "--no-baseline", "--resume")) == 0
    said = capsys.readouterr().out
    assert said.count("epoch 1:") == 1 - after  # what was done is not done again
    assert not (tmp_path / "out" / "checkpoint").exists()


@pytest.mark.parametrize(("accuracies", "kept"), [((0.92, 0.09), 0), ((0.5, 0.9), 1)])
def test_the_best_of_all_phases_is_kept(
    folder: Path, tmp_path: Path, capsys, monkeypatch, accuracies: tuple[float, ...], kept: int
) -> None:
    """Each phase leaves its number in the weights of the head."""
    phases = iter(range(2))

    def fit(net, train, val, **options: object) -> History:
        phase = next(phases)
        with torch.no_grad():
            net.fc.bias.fill_(phase)
        record = training.EpochRecord(1, 0.1, 0.9, 0.1, accuracies[phase], 0.1, 1.0)
        return History((record,), 1, "finished")

    monkeypatch.setattr("convzoo.cli._run.fit", fit)
    assert main(quick(folder, tmp_path / "out")) == 0
    assert convzoo.load(tmp_path / "out").fc.bias.tolist() == [kept, kept]
    name = ("head only", "whole network")[kept]
    said = capsys.readouterr().out
    assert f"kept: {name}, {accuracies[kept]:.2%} of the validation images" in said
    assert json.loads((tmp_path / "out" / "history.json").read_text())["kept"] == name


@pytest.mark.parametrize("name", ["README.md", "config.json", "checkpoint", "history.json"])
def test_what_others_left_in_the_folder_stays(name, folder, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    place = out / name / "notes.txt" if name == "checkpoint" else out / name
    place.parent.mkdir(parents=True)
    place.write_text("{}")
    (out / "thesis.txt").write_text("mine")  # no run writes one, so that it does not matter
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for more in ([], ["--resume"]):
        assert main(quick(folder, out, *more)) == 2
        said = capsys.readouterr()
        assert said.out == ""  # before anything starts
        assert f"--out: {out} holds {name} of somebody else" in said.err
        assert "give another folder, or move them" in said.err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_of_an_earlier_run_is_taken_again(folder: Path, tmp_path: Path) -> None:
    convzoo.save(convzoo.create_model("lenet5"), tmp_path / "out")
    for _ in range(2):
        assert main(quick(folder, tmp_path / "out", "--quiet")) == 0


def test_the_folder_is_no_class_of_the_next_run(folder: Path, tmp_path: Path, capsys) -> None:
    for out in (folder, folder / "run", folder / "dark" / "run"):
        assert main(quick(folder, out)) == 2
        assert f"--out: {out} is inside {folder}" in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"dark", "bright"}
    assert main(quick(folder, folder / ".run", "--quiet")) == 0  # hidden, hence no class


def test_a_failed_start_leaves_no_folder(folder: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "runs").mkdir()
    options = ["--out", str(tmp_path / "runs" / "a" / "b"), "--weights", str(tmp_path / "none")]
    assert main(["finetune", str(folder), "--model", "cifar_resnet20", *options]) == 2
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_full_disk_gets_one_line(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/model.safetensors")

    monkeypatch.setattr("convzoo.hub.save", full)
    assert main(quick(folder, tmp_path / "out")) == 2
    assert capsys.readouterr().err == "Error: out/model.safetensors: the disk is full\n"


class Gone(io.StringIO):
    """A stream that nobody reads any more."""

    encoding = "ascii"

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def flush(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def fileno(self) -> int:
        return self.descriptor


def test_a_training_outlives_the_reader_of_its_log(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "dark" / "broken.png").write_bytes(b"no image")
    with (tmp_path / "spare").open("w") as spare, monkeypatch.context() as patch:
        for name in ("stdout", "stderr"):
            patch.setattr(sys, name, Gone(spare.fileno()))
        assert main(quick(folder, tmp_path / "out", "--on-error", "skip")) == 0
    assert convzoo.load(tmp_path / "out").labels == ("bright", "dark")
