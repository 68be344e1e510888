"""The `convzoo` command: the whole job, one line an error, exit statuses."""

from __future__ import annotations

import errno
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from PIL import Image

import convzoo
import processes
from convzoo import datasets, training
from convzoo.cli import command, main
from convzoo.training import History
from hub_server import Fault

pytest_plugins = ["hub_fixtures"]

QUICK = ["--model", "cifar_resnet20", "--weights", "none", "--head-epochs", "1", "--epochs", "1"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten small images, dark and bright."""
    root = tmp_path / "data"
    for name, grey in (("dark", 20), ("bright", 200)):
        (root / name).mkdir(parents=True)
        for i in range(10):
            Image.new("L", (9, 9), grey + 3 * i).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled digits, but few of them and 8 x 8 as they are, so that the job is quick."""
    whole = datasets.digits()
    few = whole._replace(
        train=whole.train.subset(range(0, 1250, 25)),
        val=whole.val.subset(range(0, 170, 8)),
        test=whole.test.subset(range(0, 350, 12)) if whole.test else None,
    )
    monkeypatch.setattr("convzoo.datasets.digits", lambda: few)


def quick(data: Path | None, out: Path, *more: str) -> list[str]:
    given = [] if data is None else [str(data)]
    # No worker processes: they would cost more than all the rest.
    return ["finetune", *given, "--out", str(out), *QUICK, "--workers", "0", *more]


def test_the_whole_job_on_the_digits(few_digits, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--epochs", "1", "--head-epochs", "2", "--batch-size", "16"]
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
        *("learning_curve.png", "model.safetensors"),
    }
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
    assert main(["evaluate", str(out), str(folder), "--confusion", str(picture)]) == 0
    assert picture.exists()


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
    for _ in range(2):
        assert main(quick(folder, tmp_path / "out", "--quiet")) == 0
    convzoo.save(convzoo.create_model("lenet5"), tmp_path / "kept")
    assert main(quick(folder, tmp_path / "kept", "--quiet")) == 0


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune", "nowhere"], "nowhere: no such folder"),
        (["finetune", "one"], "one: expected at least two classes, found only 'a'"),
        (["finetune", "two"], "b: the class is empty: it has no image"),
        (["finetune", "--model", "resnet19"], "unknown model 'resnet19': did you mean"),
        (["finetune", "--weights", "fashion"], "fashion"),
        (["finetune", "--model", "plain34"], "--weights: there are none for plain34"),
        (["finetune", "--epochs", "0", "--head-epochs", "0"], "leaves nothing to do"),
        (["finetune", "--freeze", "up_to:layer9"], "layer9"),
        (["finetune", "--epochs", "many"], "'--epochs': 'many' is not a valid integer"),
        (["finetune", "--colour"], "No such option"),
        (["predict", "nowhere", "x.png"], "nowhere"),
        (["predict", "cifar_resnet20.fashion_mnist", "x.png"], "x.png: no such file"),
        (["predict", "cifar_resnet20.fashion_mnist", "two/b"], "two/b: the folder has no image"),
        (["predict", "cifar_resnet20.fashion_mnist"], "Missing argument"),
        (["evaluate", "cifar_resnet20.fashion_mnist"], "the model does not know digits, but"),
        (["evaluate", "cifar_resnet20.fashion_mnist", "three"], "three: has 3 classes, none of"),
        (["info", "resnet19"], "unknown model 'resnet19': did you mean"),
        (["models", "xyz*"], "unknown model 'xyz*'"),
        (["verify", "resnet50.a9"], "unknown weights 'resnet50.a9'"),
        (["push", "nowhere", "me/boats"], "nowhere"),
        (["trian"], "No such command"),
    ],
)
def test_mistakes_get_a_message_and_status_2(
    arguments, message, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one/a", "two/a", "two/b", "three/a", "three/b", "three/c"):
        Path(name).mkdir(parents=True)
        if name != "two/b":
            Image.new("L", (4, 4)).save(f"{name}/0.png")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


@pytest.fixture
def network(tmp_path: Path) -> str:
    """A small network whose labels would set the terminal's title, or are beyond ASCII."""
    net = convzoo.create_model("lenet5", num_classes=2)
    net.labels = ("\x1b]0;owned\x07\u00d6l", "\x1b]0;owned\x07\u65e5")
    convzoo.save(net, tmp_path / "net")
    return str(tmp_path / "net")


def test_predict_names_what_is_broken_and_gives_the_rest(
    network: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = Image.new("L", (28, 28))
    good.save("a.png")
    good.save("z.png")
    Path("broken.jpg").write_bytes(b"no image")
    Image.new("F", (28, 28)).save("floating.tif")
    Image.new("L", (30_000, 10)).save("oblong.png")
    bad = ["broken.jpg", "floating.tif", "oblong.png", "gone.png", "x" * 5000]
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe.png")
        bad.append("pipe.png")
    assert main(["predict", network, "a.png", *bad, "z.png", "--json"]) == 1
    said = capsys.readouterr()
    assert [entry["image"] for entry in json.loads(said.out)] == ["a.png", "z.png"]
    errors = [line for line in said.err.splitlines() if line.startswith("Error")]
    assert [line.split(":")[1].strip() for line in errors] == bad
    assert main(["predict", network, "a.png", *bad, "z.png", "--on-error", "skip"]) == 0
    said = capsys.readouterr()
    assert said.err.count("Warning: left out: ") == len(bad)
    assert [line for line in said.out.splitlines() if "png" in line] == ["a.png", "z.png"]
    assert main(["predict", network, *bad]) == 2
    assert main(["predict", network, "a\0b.png"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_names_cannot_command_the_terminal(network: str, tmp_path: Path, capsys) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "red\x1b[31m.png")
    assert main(["predict", network, str(tmp_path / "red\x1b[31m.png")]) == 0
    said = capsys.readouterr().out
    assert r"red\x1b[31m.png" in said
    assert r"\x1b]0;owned\x07" in said
    assert "\x1b" not in said


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_names_that_are_not_utf8(folder: Path, network: str, tmp_path: Path, capsys) -> None:
    image = os.fsencode(folder) + b"/dark/caf\xe9.png"
    os.rename(folder / "dark" / "0.png", image)  # noqa: PTH104 # of bytes
    assert main(["predict", network, os.fsdecode(image)]) == 0
    assert r"caf\udce9.png" in capsys.readouterr().out
    os.rename(folder / "dark", os.fsencode(folder) + b"/caf\xe9")  # noqa: PTH104
    assert main(quick(folder, tmp_path / "out")) == 2
    assert r"expected UTF-8 names, got b'caf\xe9'; rename it" in capsys.readouterr().err


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


@pytest.mark.skipif(sys.platform == "win32", reason="speaks to a POSIX shell")
@pytest.mark.parametrize(
    ("closed", "environment", "out", "err"),
    [
        (">&-", {"HOME": ""}, "", "broken.jpg: not an image"),
        pytest.param(*("2>&-", {"PYTHONIOENCODING": "ascii"}, "a.png", ""), marks=pytest.mark.long),
        pytest.param(
            *("", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
            *("a.png", "broken.jpg"),
            marks=pytest.mark.long,
        ),
    ],
)
def test_closed_streams_and_poor_terminals(
    closed, environment, out, err, network: str, tmp_path: Path
) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    files = f'"{tmp_path}/a.png" "{tmp_path}/broken.jpg"'
    command = f'"{sys.executable}" -m convzoo predict "{network}" {files} {closed}'
    done = subprocess.run(
        command,
        shell=True,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)
    assert out in done.stdout.decode()
    assert err in done.stderr.decode()
    assert (not out) == (not done.stdout)


def test_an_unforeseen_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(pattern: str) -> list[str]:
        raise ZeroDivisionError

    monkeypatch.setattr("convzoo.by_name.list_models", broken)
    with pytest.raises(ZeroDivisionError):
        main(["models"])


def test_models_and_info(capsys) -> None:
    assert main(["models", "resnet18"]) == 0
    name, _family, year, _, *tags = capsys.readouterr().out.split()
    assert (name, year) == ("resnet18", "2015")
    assert "a1_in1k" in tags
    assert main(["info", "cifar_resnet20"]) == 0
    said = capsys.readouterr().out
    assert "Deep Residual Learning" in said
    assert "weights fashion_mnist: 10 classes" in said
    assert "269,722" in said
    assert main(["info", "resnet18", "--size", "64"]) == 0
    assert "64" in capsys.readouterr().out


def test_the_thin_commands(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["fetch", "cifar_resnet20.fashion_mnist"]) == 0
    assert "cifar_resnet20.fashion_mnist: ok, " in capsys.readouterr().out
    assert main(["verify", "cifar_resnet20.fashion_mnist"]) == 0
    assert capsys.readouterr().out == "cifar_resnet20.fashion_mnist: ok\n"
    given: dict[str, object] = {}

    def push(net: convzoo.Classifier, repo_id: str, **options: object) -> str:
        given.update(options, net=net.architecture, repo_id=repo_id)
        return "a" * 40

    monkeypatch.setattr("convzoo.hub.push", push)
    arguments = ["cifar_resnet20.fashion_mnist", "me/boats", "--private", "--licence", "mit"]
    assert main(["push", *arguments]) == 0
    assert capsys.readouterr().out == f"hf-hub:me/boats@{'a' * 40}\n"
    assert given == {
        "net": "cifar_resnet20",
        "repo_id": "me/boats",
        "private": True,
        "licence": "mit",
        "message": None,
        "dataset": None,
    }


def test_every_command_prints_one_json_document(
    few_digits, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convzoo.hub.push", lambda *args, **options: "a" * 40)
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    weights = "cifar_resnet20.fashion_mnist"
    arguments = {
        "draw": ["lenet5", "--out", str(tmp_path / "net.svg")],
        "evaluate": [str(tmp_path / "out")],
        "fetch": [weights],
        "filters": [weights, "--out", str(tmp_path / "kernels.png")],
        "finetune": quick(None, tmp_path / "out", "--no-baseline")[1:],
        "info": ["lenet5"],
        "look": [weights, str(tmp_path / "a.png"), "--out", str(tmp_path / "look.html")],
        "models": ["lenet5*"],
        "predict": [weights, str(tmp_path / "a.png")],
        "push": [weights, "me/boats"],
        "verify": [weights],
    }
    assert set(arguments) == set(command.commands)
    found = {}
    for name in ("finetune", *arguments):
        assert "--json" in [opt for param in command.commands[name].params for opt in param.opts]
        assert main([name, *arguments[name], "--json"]) == 0, name
        found[name] = json.loads(capsys.readouterr().out)
    assert found["finetune"]["out"] == str(tmp_path / "out")
    assert found["finetune"]["kept"] in found["finetune"]["phases"]
    assert found["fetch"][0]["status"] == found["verify"][0]["status"] == "ok"
    assert found["info"]["parameters"] == found["models"][0]["parameters"] == 61706
    assert found["info"]["layers"][0]["name"] == "conv1"
    assert found["info"]["weights"] == found["models"][0]["weights"]
    (row,) = found["models"][0]["weights"]
    assert (row["tag"], row["licence"], row["bytes_exact"]) == ("fashion_mnist", "apache-2.0", True)
    assert (
        row["bytes"]
        == (convzoo.weights.BUNDLED / "lenet5.fashion_mnist.safetensors").stat().st_size
    )
    assert found["push"]["address"] == f"hf-hub:me/boats@{'a' * 40}"


def test_models_shows_what_chooses_between_weights(capsys) -> None:
    assert main(["models", "resnet18"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.split() == ["resnet18", "ResNet", "2015", "11,689,512", "parameters"]
    (line,) = [line for line in rest if "a1_in1k" in line]
    # timm/resnet18.a1_in1k holds 46,807,446 bytes.
    assert all(part in line for part in ("top-1 73.16 %", "licence apache-2.0", "about 47 MB"))


@pytest.mark.parametrize("width", [80, 100])
def test_help_is_not_cut(width: int, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for arguments in ([], *([name] for name in command.commands)):
        assert main([*arguments, "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]  # the first is usage: COMMAND [ARGS]...
        assert not [line for line in lines if line.endswith("...")]
    for each in command.commands.values():
        assert each.get_short_help_str(200).endswith(".")


def test_untrained_networks_say_that_they_are(tmp_path: Path, capsys) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")

    def warning(net: convzoo.Classifier, **about: str) -> str:
        convzoo.save(net, tmp_path / "net", **about)
        assert main(["predict", str(tmp_path / "net"), str(tmp_path / "a.png"), "--json"]) == 0
        said = capsys.readouterr()
        assert len(json.loads(said.out)) == 1
        return said.err

    net = convzoo.cifar_resnet20(num_classes=2)
    assert "Warning:" in warning(net, dataset="boats")
    assert "never trained: its batch normalisation has seen no image" in warning(net)
    net.train()(torch.rand(4, 3, 32, 32))
    assert warning(net) == ""
    lenet = convzoo.lenet5(num_classes=2)
    assert "untrained, as far as its file says" in warning(lenet)
    assert warning(lenet, dataset="boats") == ""
    data = [(torch.rand(1, 28, 28), i % 2) for i in range(4)]
    training.fit(lenet, data, epochs=1, batch_size=4, cpu=True)
    assert warning(lenet) == ""
    assert warning(convzoo.load("lenet5.fashion_mnist")) == ""


def test_offline_failures_leave_nothing_behind(
    hub, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hub.add("me/net", {"model.safetensors": bytes(5000)})
    for fault in (Fault("HEAD", "", status=503), Fault("GET", "safetensors", reset=True)):
        hub.order(fault)
        for arguments in (
            ["predict", "hf-hub:me/net", "a.png"],
            ["fetch", "hf-hub:me/net"],
            ["finetune", "--model", "hf-hub:me/net", "--out", "runs/boats"],
            ["push", "hf-hub:me/net", "me/other"],
        ):
            assert main(arguments) == 2
            assert capsys.readouterr().err.startswith("Error: ")
        # A transfer that breaks off leaves the client's own lock and empty folders.
        left = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.suffix for path in left} <= ({".TAG", ".lock"} if fault.reset else set())
        assert not (tmp_path / "runs").exists()
        hub.repair()


def test_info_does_not_wait_for_the_compiler() -> None:
    code = """
import sys
from convzoo.cli import main
for name in ("resnet50", "inception_v3", "alexnet_2012", "lenet5", "vgg11", "mlp"):
    assert main(["info", name]) == 0
print({"sympy", "torch._dynamo"} & set(sys.modules), file=sys.stderr)
"""
    done = processes.run([sys.executable, "-c", code])
    assert done.stderr.strip() == "set()", done.stderr


def test_networks_are_drawn(tmp_path: Path, capsys) -> None:
    diagram, picture = tmp_path / "net.svg", tmp_path / "kernels.png"
    assert main(["draw", "alexnet_2012", "--out", str(diagram)]) == 0
    assert diagram.read_text(encoding="utf-8").startswith("<svg")
    arguments = ["--out", str(picture), "--stage", "conv2", "--most", "10"]
    assert main(["filters", "lenet5.fashion_mnist", *arguments]) == 0
    assert "10 of 96 kernels" in capsys.readouterr().out
    with Image.open(picture) as image:
        assert image.width > image.height
    assert main(["draw", "alexnet_2012", "--out", str(picture)]) == 2
    assert ".svg" in capsys.readouterr().err


def test_verify_fails_on_a_corrupt_file(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from convzoo.hub import CachedWeights

    entries = [CachedWeights("a.b", None, "ok", None), CachedWeights("c.d", None, "corrupt", None)]
    monkeypatch.setattr("convzoo.hub.verify", lambda names: entries)
    assert main(["verify"]) == 2
    said = capsys.readouterr()
    assert said.out == "a.b: ok\nc.d: corrupt\n"
    assert "c.d" in said.err


def test_choices_are_those_of_the_library() -> None:
    options = {option.name: option for option in command.commands["finetune"].params}
    for name, literal in (
        ("optimizer", training.OptimizerName),
        ("schedule", training.Schedule),
        ("mixed_precision", training.MixedPrecision),
        ("on_error", datasets.OnError),
    ):
        assert set(options[name].type.choices) == set(get_args(literal))


def test_help_does_not_wait_for_torch() -> None:
    # Without the package's own __init__, which imports the networks: what the command itself asks.
    code = """
import sys, types
package = types.ModuleType("convzoo")
package.__path__ = [sys.argv[1]]
sys.modules["convzoo"] = package
from convzoo.cli import main
for arguments in (["--help"], *([name, "--help"] for name in sys.argv[2:]), ["finetune", "--x"]):
    main(arguments)
heavy = {"torch", "torchvision", "numpy", "accelerate", "matplotlib", "PIL"} & set(sys.modules)
assert not heavy, heavy
"""
    where = str(Path(convzoo.__file__).parent)
    done = processes.run([sys.executable, "-c", code, where, *command.commands])
    assert done.returncode == 0, done.stderr
    assert "--head-epochs" in done.stdout


def test_python_m_convzoo_and_the_version(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.delitem(sys.modules, "convzoo.__main__", raising=False)  # another test imported it
    monkeypatch.setattr(sys, "argv", ["convzoo", "--version"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("convzoo", run_name="__main__")
    assert left.value.code == 0
    assert capsys.readouterr().out == f"convzoo, version {convzoo.__version__}\n"
