"""The `convzoo` command: one line an error, exit statuses, help, and what needs no training."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

import convzoo
import processes
from cli_helpers import quick
from convzoo import datasets, training
from convzoo.cli import command, main
from hub_server import Fault

pytest_plugins = ["cli_fixtures", "hub_fixtures"]


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
        (["finetune", "--checkpoint-every", "soon"], "--checkpoint-every: expected steps as"),
        (["finetune", "--epochs", "many"], "'--epochs': 'many' is not a valid integer"),
        (["finetune", "--colour"], "No such option"),
        (["finetune", "--recipe", "resnett"], "unknown recipe 'resnett': did you mean 'resnet'"),
        (["finetune", "--recipe", "resnet", "--freeze", "backbone"], "holds still"),
        (["finetune", "--recipe", "mine.toml"], "there is no file"),
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
        "finetune": quick(None, tmp_path / "out", "--no-baseline")[1:],
        "draw": ["lenet5", "--out", str(tmp_path / "net.svg")],
        "evaluate": [str(tmp_path / "out")],
        "export": [weights, "--to", "safetensors", "--out", str(tmp_path / "net.safetensors")],
        "fetch": [weights],
        "filters": [weights, "--out", str(tmp_path / "kernels.png")],
        "info": ["lenet5"],
        "look": [weights, str(tmp_path / "a.png"), "--out", str(tmp_path / "look.html")],
        "models": ["lenet5*"],
        "predict": [weights, str(tmp_path / "a.png")],
        "push": [weights, "me/boats"],
        "verify": [weights],
    }
    assert set(arguments) == set(command.commands)
    found = {}
    for name in arguments:
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


@pytest.mark.long
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
        ("schedule", training.ScheduleName),
        ("mixing", training.MixingName),
        ("mixed_precision", training.MixedPrecision),
        ("trackers", training.TrackerName),
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
