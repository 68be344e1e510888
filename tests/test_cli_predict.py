"""`convzoo predict`: what is broken is named, names are shown, terminals are poor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import convzoo
from cli_helpers import quick
from convzoo import training
from convzoo.cli import main

pytest_plugins = ["cli_fixtures"]


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


@pytest.mark.skipif(sys.platform == "win32", reason="speaks to a POSIX shell")
@pytest.mark.parametrize(
    ("closed", "environment", "out", "err"),
    [
        pytest.param(
            *(">&-", {"HOME": ""}, "", "broken.jpg: not an image"), marks=pytest.mark.long
        ),
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
