"""Time DropBlock2d and DropConnectLinear, forward and backward, against their peers.

    python benchmarks/bench_drop_layers.py [--rounds 9] [--threads 2] [--clock cpu] [--only block]

All contestants of a case run in turn, round after round, so that a noisy machine disturbs all
of them alike; medians and ratios of medians are printed. Extra memory is the peak resident size
of a child process that runs one step, less what it held before it. On a busy machine take one
thread and `--clock cpu`, which counts the process's own processor time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from convzoo.layers import DropBlock2d, DropConnectLinear

MAPS = [(32, 256, 56, 56), (32, 512, 28, 28), (32, 1024, 14, 14)]


def naive_drop_connect(x: Tensor, weight: Tensor, p: float) -> Tensor:
    """Materialise a float mask of the weights for each example."""
    mask = torch.empty(len(x), *weight.shape).bernoulli_(1 - p)
    return torch.bmm(mask * weight, x.unsqueeze(2)).squeeze(2)


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
clock = CLOCKS["wall"]


def contest(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each step, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            start = clock()
            step()
            if round_:  # the first is for warming up
                times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def report(medians: dict[str, float], ours: str) -> None:
    """Print medians, and each as a multiple of ours."""
    for name, seconds in medians.items():
        print(f"  {name:34s}{seconds * 1e3:9.1f} ms  {seconds / medians[ours]:7.2f} x ours")


def bench_drop_block(rounds: int) -> None:
    """DropBlock2d, block 7, p 0.1, a mask for each channel."""
    from timm.layers import drop_block_2d
    from torchvision.ops import drop_block2d

    for shape in MAPS:
        x, grad = torch.randn(shape, requires_grad=True), torch.randn(shape)
        layer, calibrated = DropBlock2d(0.1, 7), DropBlock2d(0.1, 7, calibrated=True)

        def step(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> None:
            torch.autograd.grad(function(x), x, grad)

        contestants: dict[str, Callable[[Tensor], Tensor]] = {
            "multiply twice (floor)": lambda t: t * 1.1,
            "convzoo": layer,
            "convzoo, calibrated": calibrated,
            "torchvision": lambda t: drop_block2d(t, 0.1, 7),
            "timm, per channel": lambda t: drop_block_2d(t, 0.1, 7, couple_channels=False),
            "timm, shared mask": lambda t: drop_block_2d(t, 0.1, 7),
        }
        steps = {
            name: (lambda f=f, x=x, grad=grad: step(f, x, grad)) for name, f in contestants.items()
        }
        medians = contest(steps, rounds)
        print(f"DropBlock2d {shape}")
        report(medians, "convzoo")
        floor = medians["convzoo"] / medians["multiply twice (floor)"]
        print(f"  -> {medians['torchvision'] / medians['convzoo']:.1f} times as fast as "
              f"torchvision, {floor:.2f} times the floor")  # fmt: skip


def drop_connect_step(kind: str, side: int, p: float) -> Callable[[], None]:
    """One forward and backward of an 800 x 800 (say) layer on a batch of 128."""
    x = torch.randn(128, side, requires_grad=True)
    layer = DropConnectLinear(side, side, bias=False, p=p)

    def step() -> None:
        y = layer(x) if kind == "convzoo" else naive_drop_connect(x, layer.weight, p)
        torch.autograd.grad(y, [x, layer.weight], torch.ones_like(y))

    return step


def bench_drop_connect(rounds: int) -> None:
    """DropConnectLinear with a mask for each example."""
    for p in (0.5, 0.25, 0.3):
        names = ["convzoo", "float masks"]
        steps = {name: drop_connect_step(name, 800, p) for name in names}
        medians = contest(steps, rounds)
        print(f"DropConnectLinear 800 x 800, batch 128, p = {p}")
        report(medians, "convzoo")
    small = contest({"800": drop_connect_step("convzoo", 800, 0.5)}, rounds)["800"]
    large = contest({"4096": drop_connect_step("convzoo", 4096, 0.5)}, 2)["4096"]
    each = large / small * (800 / 4096) ** 2
    print(f"DropConnectLinear 4096 x 4096: {large:.2f} s, {each:.2f} times the 800 x 800 layer's "
          "time for each weight and example")  # fmt: skip


def peak_megabytes() -> float:
    """Largest resident size of this process since it began."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


def child_memory(kind: str, side: int) -> None:
    """Print what one step adds to the peak; small tensors have warmed everything up."""
    drop_connect_step(kind, 64, 0.5)()
    step = drop_connect_step(kind, side, 0.5)
    before = peak_megabytes()
    step()
    print(peak_megabytes() - before)


def bench_memory() -> None:
    """Extra memory of one step, gradients included."""
    for kind, side in (("convzoo", 800), ("float masks", 800), ("convzoo", 4096)):
        command = [sys.executable, __file__, "--child", kind, str(side)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        own = side * side * 4 / 2**20
        print(f"extra memory, {side} x {side}, {kind}: {float(done.stdout):.0f} MB, of which the "
              f"weight's gradient {own:.0f} MB")  # fmt: skip


def main() -> None:
    """Run all, or one child process."""
    global clock
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--only", choices=["memory", "connect", "block"])
    parser.add_argument("--child", nargs=2, metavar=("KIND", "SIDE"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.child:
        child_memory(options.child[0], int(options.child[1]))
        return
    clock = CLOCKS[options.clock]
    print(
        f"torch {torch.__version__}, {options.threads} threads, {options.rounds} rounds, "
        f"{options.clock} time"
    )
    if options.only in (None, "memory"):
        bench_memory()
    if options.only in (None, "connect"):
        bench_drop_connect(options.rounds)
    if options.only in (None, "block"):
        bench_drop_block(options.rounds)


if __name__ == "__main__":
    main()
