"""How training scales over processes, and what the processes tell one another in a step.

    python benchmarks/bench_scaling.py volume    # bytes a step, measured on two processes
    python benchmarks/bench_scaling.py speed 3   # images a second on 1, 2 and 4 processes

`speed` keeps the batch of a step as it is and cuts it up among the processes, each of which has
one thread; runs are interleaved and medians are printed. `volume` counts what the collectives of
one training step are given: gradients (DDP), or weights and gradients (FSDP2). Multiply it by
(N - 1) / N, and by 2 for the all-reduce, for what each of N processes sends in rings.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import convzoo

VOLUMES = (
    *("lenet5", "cifar_resnet20", "googlenet", "resnet18", "resnet50", "inception_v3"),
    *("alexnet_2012", "alexnet", "vgg16"),
)
# Network, side of the images, images a step.
SPEEDS = (("cifar_resnet20", 32, 128), ("resnet18", 64, 32), ("alexnet_2012", 64, 32))
FORMS = ("copies", "shares")


class Collectives(TorchDispatchMode):
    """Adds up the bytes that collectives are given, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: dict[str, int] = defaultdict(int)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == "c10d":
            # Of a gathering the output is the whole, of a scattering the input.
            whole = args[1] if "reduce_scatter" in func.__name__ else args[0]
            self.bytes[func.__name__.strip("_").partition(".")[0]] += size(whole)
        return func(*args, **(kwargs or {}))


def size(tensors: Any) -> int:
    """Bytes of a tensor, or of all in a nest of lists."""
    if isinstance(tensors, Tensor):
        return tensors.numel() * tensors.element_size()
    return sum(map(size, tensors)) if isinstance(tensors, (list, tuple)) else 0


def spread(net: nn.Module, form: str) -> tuple[nn.Module, dict[str, int]]:
    """A network as several processes train it, and a count that its own hooks keep."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
    from torch.distributed.device_mesh import init_device_mesh
    from torch.nn.parallel import DistributedDataParallel

    from convzoo.training._replica import shard

    counted: dict[str, int] = defaultdict(int)
    if form == "shares":
        return shard(net, init_device_mesh("cpu", (int(os.environ["WORLD_SIZE"]),))), counted
    copies = DistributedDataParallel(net)

    def count(bucket: Any) -> Any:  # the reducer works below the dispatcher
        counted["allreduce"] += size(bucket.buffer())
        return bucket

    copies.register_comm_hook(None, lambda group, bucket: allreduce_hook(group, count(bucket)))
    return copies, counted


def end_with_parent() -> None:
    """Leave when the pipe from the parent breaks; other processes would be waited for for long."""
    os.read(0, 1)
    os._exit(1)


def worker(task: dict[str, Any]) -> None:
    """One process: trains some steps and prints what it measured."""
    import torch.distributed as dist

    from convzoo import training

    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    processes = int(os.environ["WORLD_SIZE"])
    options = {} if task["name"] == "lenet5" else {"in_channels": 3}
    net: nn.Module = convzoo.create_model(task["name"], **options)
    channels = net.in_channels
    counted: dict[str, int] = {}
    if processes > 1:
        dist.init_process_group("gloo")
        net, counted = spread(net, task["form"])
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)
    x = torch.randn(task["batch"] // processes, channels, task["side"], task["side"])
    target = torch.zeros(len(x), dtype=torch.long)

    def step() -> None:
        F.cross_entropy(net(x), target).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    counted.clear()
    with Collectives() as seen:
        step()
    times = []
    for _ in range(task["steps"]):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    if os.environ["RANK"] == "0":
        volume = {**seen.bytes, **counted}
        print(json.dumps({"seconds": statistics.median(times or [0.0]), "volume": volume}))
    training.leave()


def launch(processes: int, **task: Any) -> dict[str, Any]:
    """What the first of some workers printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = os.environ | {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": "1",
    }
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "worker", json.dumps(task)],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        printed = [process.stdout.read() for process in started]
        if any(process.wait() for process in started):
            raise SystemExit(f"a worker of {task} failed")
    finally:
        for process in started:
            process.kill()
    found: dict[str, Any] = json.loads(printed[0])
    return found


def volume() -> None:
    """Print the table of bytes a step."""
    print("| network | parameters | copies: all-reduce | shares: all-gather | reduce-scatter |")
    print("|---|---:|---:|---:|---:|")
    for name in VOLUMES:
        net = convzoo.create_model(name, device="meta")
        side = net.max_size or max(net.min_size, 64)
        sent: dict[str, int] = defaultdict(int)
        for form in FORMS:
            task = {"name": name, "form": form, "batch": 4, "side": side, "steps": 0}
            for kind, number in launch(2, **task)["volume"].items():
                sent["gather" if "gather" in kind else kind] += number
        scattered = sum(number for kind, number in sent.items() if "reduce_scatter" in kind)
        columns = (sent["allreduce"], sent["gather"], scattered)
        parameters = sum(parameter.numel() for parameter in net.parameters())
        megabytes = " | ".join(f"{number / 1e6:.1f} MB" for number in columns)
        print(f"| {name} | {parameters:,} | {megabytes} |", flush=True)


def speed(runs: int) -> None:
    """Print the table of images a second."""
    print("| network, images | 1 process | 2, copies | 2, shares | 4, copies | 4, shares |")
    print("|---|---:|---:|---:|---:|---:|")
    ways = [(1, "copies"), *((n, form) for n in (2, 4) for form in FORMS)]
    for name, side, batch in SPEEDS:
        seconds: dict[tuple[int, str], list[float]] = defaultdict(list)
        for _ in range(runs):
            for processes, form in ways:
                task = {"name": name, "form": form, "batch": batch, "side": side, "steps": 5}
                seconds[processes, form].append(launch(processes, **task)["seconds"])
        rates = [batch / statistics.median(seconds[way]) for way in ways]
        cells = " | ".join(f"{rate:.1f} ({rate / rates[0]:.2f})" for rate in rates)
        print(f"| {name}, {batch} of {side} px | {cells} |", flush=True)


def main() -> None:
    """Parse the command line and run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=["volume", "speed", "worker"])
    parser.add_argument("argument", nargs="?", default="3")
    arguments = parser.parse_args()
    if arguments.what == "worker":
        worker(json.loads(arguments.argument))
    elif arguments.what == "volume":
        volume()
    else:
        speed(int(arguments.argument))


if __name__ == "__main__":
    main()
