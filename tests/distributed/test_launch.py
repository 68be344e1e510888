"""`convzoo finetune` under torchrun and `accelerate launch`; how jobs end, and how they go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from PIL import Image
from ranks import environment, free_port, run, start

import convzoo
import processes
from hub_helpers import REPO
from hub_server import HubServer

pytest_plugins = ["hub_fixtures"]

TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
ACCELERATE = [
    *("-m", "accelerate.commands.launch", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of plain colours: 19, 10 and 5 images, so that batches end up ragged."""
    folder = tmp_path_factory.mktemp("colours")
    for part, count in (("train", 19), ("val", 10), ("test", 5)):
        for number, colour in enumerate(("red", "green", "blue")):
            (folder / part / colour).mkdir(parents=True)
            for i in range(count):
                value = [40, 40, 40]
                value[number] = 120 + 5 * i
                Image.new("RGB", (8, 8), tuple(value)).save(folder / part / colour / f"{i}.png")
    return folder


def launch(launcher: list[str], *arguments: str | Path, **env: str) -> subprocess.CompletedProcess:
    port = ["--master-port" if "torch" in launcher[1] else "--main_process_port", str(free_port())]
    command = [sys.executable, *launcher, *port, "-m", "convzoo", *map(str, arguments)]
    return processes.run(command, env=environment(**env))


def quick(images: Path, out: Path, *more: str) -> list[str | Path]:
    fixed = ["--model", "cifar_resnet20", "--weights", "none", "--batch-size", "16", "--cpu"]
    return ["finetune", images, "--out", out, *fixed, "--epochs", "1", "--workers", "0", *more]


@pytest.mark.long
def test_torchrun_says_and_writes_everything_once(images: Path, tmp_path: Path) -> None:
    ended = launch(TORCHRUN, *quick(images, tmp_path / "out", "--head-epochs", "1"))
    assert ended.returncode == 0, ended.stderr[-3000:]
    starts = [line.partition(":")[0] for line in ended.stdout.splitlines()]
    once = ("data", "images", "network", "processes", "saved")
    assert [starts.count(word) for word in once] == [1] * len(once)
    assert "57 training, 30 validation, 15 test; 3 classes" in ended.stdout
    results = json.loads((tmp_path / "out" / "history.json").read_text())["results"]
    for result in results.values():  # 15 images, of which no process counted one twice
        assert sum(images for row in result["counts"] for _, images in row) == 15
    net = convzoo.load(tmp_path / "out")
    assert net.labels == ("blue", "green", "red")
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.long
@pytest.mark.parametrize("form", [["--multi_gpu"], ["--use_fsdp", "--fsdp_version", "2"]])
def test_accelerate_launch(images: Path, tmp_path: Path, form: list[str]) -> None:
    out = tmp_path / "out"
    ended = launch([*ACCELERATE, *form], *quick(images, out, "--head-epochs", "0"))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert convzoo.load(out).num_classes == 3
    assert ended.stdout.count("saved: ") == 1
    share = "--use_fsdp" in form
    assert ("processes: 2, each with a share of the network" in ended.stdout) == share
    assert ("processes: 2, each with a copy of the network" in ended.stdout) != share


@pytest.mark.long
def test_launches_end_with_0(images: Path, tmp_path: Path) -> None:
    ended = [
        launch(TORCHRUN, *quick(images, tmp_path / "out", "--head-epochs", "0", "-q")).returncode
        for _ in range(20)
    ]
    assert ended == [0] * 20


@pytest.mark.long
def test_weights_are_downloaded_once(
    images: Path, tmp_path: Path, hub: HubServer, saved: dict[str, bytes]
) -> None:
    hub.add(REPO, saved)
    cache = huggingface_hub.constants.HF_HUB_CACHE
    where = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": cache, "HF_HUB_DISABLE_XET": "1"}
    fixed = ["--out", tmp_path / "out", "--epochs", "1", "--head-epochs", "0", "--cpu"]
    ended = launch(TORCHRUN, "finetune", images, "--model", f"hf-hub:{REPO}", *fixed, **where)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert hub.count("GET", "model.safetensors") == 1
    assert hub.count("GET", "config.json") == 0  # the weights file says all


@pytest.mark.long  # the distributed trainings of `test_fit` are the quick ones
def test_an_error_ends_the_job(tmp_path: Path) -> None:
    ended = launch(TORCHRUN, "finetune", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert ended.returncode != 0
    assert "nowhere" in ended.stderr
    assert "exitcode  : 2" in ended.stderr


@pytest.mark.long  # `test_an_error_ends_the_job` is the quick one
def test_the_death_of_a_process_ends_the_job_and_the_rest_can_go_on(tmp_path: Path) -> None:
    (whole, _) = run("dying.py", tmp_path, 2, "whole")
    (survivor, told), (killed, _) = start("dying.py", tmp_path, 2, "die")
    assert killed == -signal.SIGKILL
    assert survivor == 1
    assert "another process of this job has ended or cannot be reached; start the job" in told
    assert "with resume to go on from" in told
    state = torch.load(tmp_path / "half" / "last.pt", weights_only=True)
    assert len(state["history"]["epochs"]) == 2
    for resumed in run("dying.py", tmp_path, 2, "resume"):
        assert resumed["losses"] == whole["losses"]
        for key, value in whole["state"].items():
            assert torch.equal(resumed["state"][key], value), key


@pytest.mark.long
def test_the_number_of_processes_may_change_on_the_way(tmp_path: Path) -> None:
    start("dying.py", tmp_path, 2, "die")
    (alone,) = run("dying.py", tmp_path, 1, "resume")
    whole, _ = run("dying.py", tmp_path, 2, "whole")
    assert len(alone["losses"]) == 4
    assert alone["losses"][:2] == whole["losses"][:2]  # by the two
    for ours, theirs in zip(alone["losses"][2:], whole["losses"][2:], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)  # batches are the same, sums are rounded
