"""Kills, full disks and crowds: what takes more than one process to try.

Each script imports the library once and forks for every case. OMP has one thread, so that forking
is safe.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants
import pytest

from convzoo.hub import load, save
from hub_helpers import REPO, cached_files, same, three
from hub_server import Fault, HubServer
from processes import started

pytest_plugins = ["hub_fixtures"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PRELUDE = """
import gc, os, resource, signal, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
import huggingface_hub
import convzoo
from convzoo.errors import WeightsError
from convzoo.hub import load, save
from hub_helpers import same, three
from processes import end_with_parent
gc.freeze()  # else each child's collections copy what they walk

def child(work):
    pid = os.fork()
    if pid == 0:
        end_with_parent(signal.SIGKILL)
        try:
            work()
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(1)
        os._exit(0)
    return pid

def status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


@contextmanager
def running(
    script: str, *arguments: object, hub: HubServer | None = None
) -> Iterator[subprocess.Popen[str]]:
    places = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(places)}
    if hub is not None:
        constants = huggingface_hub.constants
        environment |= {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_CACHE": constants.HF_HUB_CACHE,
            "HF_ASSETS_CACHE": constants.HF_ASSETS_CACHE,
            "HF_TOKEN_PATH": constants.HF_TOKEN_PATH,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(script), *map(str, arguments)]
    with started(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        yield process


def said(script: str, *arguments: object, hub: HubServer | None = None) -> str:
    with running(script, *arguments, hub=hub) as process:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output


@pytest.fixture(scope="module")
def saving(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one script finds out by killing and starving `save`: a line for each question."""
    script = """
    place = Path(sys.argv[1])
    folder = place / "net"
    # The steps are the same for any network: for a small one they are quicker.
    old, new = (convzoo.lenet5(num_classes=3) for _ in range(2))

    # Killed before each thing that it asks of the operating system.
    def killed_at(step):
        seen = 0
        def hook(event, arguments):
            nonlocal seen
            if event.startswith(("open", "os.", "shutil.", "ctypes.", "fcntl.")):
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)
        def work():
            sys.addaudithook(hook)
            save(new, folder)
        return status(child(work))

    save(old, folder)
    (folder / "history.json").write_text("[]")
    step, found = 1, set()
    while killed_at(step) == -signal.SIGKILL:
        net = load(folder)
        found.add("old" if same(net, old) else "new" if same(net, new) else "neither")
        assert (folder / "history.json").read_text() == "[]"
        for orphan in folder.glob(".*.tmp"):
            orphan.unlink()
        assert sorted(p.name for p in folder.iterdir()) == [
            "README.md", "config.json", "history.json", "model.safetensors"
        ]
        save(old, folder)
        assert os.listdir(place) == ["net"], os.listdir(place)
        step += 1
    assert same(load(folder), new)
    print("steps", *sorted(found), step - 1)

    # Killed at any moment, the middle of a write included.
    old, new = three(0), three(1)
    save(old, folder)
    def work():
        for turn in range(1_000_000):
            save((old, new)[turn % 2], folder)

    found = set()
    for wait in range(1, 31):
        pid = child(work)
        time.sleep(0.002 * wait)
        os.kill(pid, signal.SIGKILL)
        assert status(pid) == -signal.SIGKILL
        net = load(folder)
        found.add("whole" if same(net, old) or same(net, new) else "broken")
    for orphan in folder.glob(".*.tmp"):
        orphan.unlink()
    print("moments", *found)

    # Loaded while somebody saves.
    new.labels = ("x", "y", "z")
    save(old, folder)
    found = set()
    pid = child(work)
    for turn in range(60):
        net = load(folder)
        found.add(same(net, old if net.labels[0] == "ant" else new))
    os.kill(pid, signal.SIGKILL)
    status(pid)
    for orphan in folder.glob(".*.tmp"):
        orphan.unlink()
    print("beside", *found)

    # As a full disk does, this fails the write in the middle of the file.
    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        save(new, folder)

    save(old, folder)
    assert status(child(work)) == 1
    left = [path.name for path in folder.glob(".*.tmp")]
    print("disk", "old" if same(load(folder), old) else "broken", *os.listdir(place), *left)
    """
    output = said(script, tmp_path_factory.mktemp("saving"))
    return dict(line.split(" ", 1) for line in output.splitlines())


def test_a_kill_at_any_step_of_save_leaves_the_old_folder_or_the_new_one(
    saving: dict[str, str],
) -> None:
    *found, steps = saving["steps"].split()
    assert found == ["new", "old"]
    assert int(steps) > 10


def test_a_kill_at_any_moment_of_save_leaves_a_whole_folder(saving: dict[str, str]) -> None:
    assert saving["moments"] == "whole"


def test_a_network_loaded_while_it_is_saved_has_labels_and_weights_of_one_save(
    saving: dict[str, str],
) -> None:
    assert saving["beside"] == "True"


def test_a_full_disk_leaves_the_old_folder(saving: dict[str, str]) -> None:
    assert saving["disk"] == "old net"
    assert "cannot be saved" in saving["WeightsError"]


@pytest.mark.long
def test_a_full_disk_in_a_download(hub: HubServer, saved: dict[str, bytes]) -> None:
    hub.add(REPO, saved)
    script = """
    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        load("hf-hub:me/three")

    assert status(child(work)) == 1
    """
    output = said(script, hub=hub)
    assert "WeightsError" in output
    assert "cannot be kept in" in output
    assert same(load(f"hf-hub:{REPO}"), three())


def test_eight_processes_download_once(hub: HubServer, saved: dict[str, bytes]) -> None:
    hub.add(REPO, saved)
    hub.order(Fault("GET", "model.safetensors", stall=0.5), times=1)
    script = """
    import huggingface_hub.file_download  # once, before forking
    three()

    def work():
        assert load("hf-hub:me/three").labels == ("ant", "bee", "cow")

    print(*[status(pid) for pid in [child(work) for _ in range(8)]])
    """
    assert said(script, hub=hub).split() == ["0"] * 8
    assert hub.count("GET", "model.safetensors") == 1
    assert hub.count("GET", "config.json") == 0  # the weights file says all


def test_a_kill_in_a_download_is_forgotten(hub: HubServer, saved: dict[str, bytes]) -> None:
    hub.add(REPO, saved)
    came = threading.Event()
    hub.on_request = lambda method, path: (
        came.set() if method == "GET" and path.endswith(".safetensors") else None
    )
    hub.order(Fault("GET", "model.safetensors", stall=60), times=1)
    with running('load("hf-hub:me/three")', hub=hub) as process:
        assert came.wait(60)
        for _ in range(200):
            if any(path.name.endswith(".incomplete") for path in cached_files()):
                break
            threading.Event().wait(0.01)
        process.kill()
        process.communicate()
    orphans = [path for path in cached_files() if path.name.endswith(".incomplete")]
    assert len(orphans) == 1
    os.utime(orphans[0], (0, 0))  # long ago: no other client is still at it
    assert same(load(f"hf-hub:{REPO}"), three())
    assert not orphans[0].exists()


def test_saving_over_the_folder_a_network_was_loaded_from(tmp_path: Path) -> None:
    import torch

    folder = save(three(0), tmp_path / "net")
    net = load(folder)
    with torch.no_grad():
        net.get_parameter("fc.weight").add_(1.0)
    save(net, folder)
    assert same(load(folder), net)
    assert not same(load(folder), three(0))
