"""How quick `accelerate` is beside torchvision, torch.compile, onnxruntime and OpenVINO.

    python benchmarks/inference.py resnet50 --out inference.json   # a network's rows, some minutes
    python benchmarks/inference.py --table inference.json          # the rows of all so far

Every engine has a process of its own, since their threads get into each other's way; all but the
one whose turn it is are stopped. They take turns, and medians are compared. Weights are random.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NETWORKS = ("alexnet", "vgg16", "googlenet", "inception_v3", "resnet18", "resnet50")
BATCHES = (1, 8, 32)
OURS = ("convzoo auto", "convzoo torch")
PEERS = (
    *("torchvision", "torch.compile", "onnxruntime"),
    *("OpenVINO latency", "OpenVINO throughput"),
)


def side(name: str) -> int:
    """The side of a network's images."""
    return 299 if name == "inception_v3" else 224


# --- one engine, in a process of its own ---------------------------------------------------------


def engine_calls(engine: str, name: str, precision: str) -> dict[int, Callable[[], object]]:
    """For each batch a call, which runs the engine once."""
    import torch

    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    inputs = {b: torch.randn(b, 3, side(name), side(name)) for b in BATCHES}
    if engine in OURS:
        import convzoo

        net = convzoo.create_model(name).eval()
        more: dict[str, Any] = {"engine": engine.partition(" ")[2], "precision": precision}
        if precision == "int8":  # of random weights nothing is to be lost
            more |= {"calibration": inputs[8], "max_drop": 1.0}
        fast = {b: convzoo.accelerate(net, x, **more) for b, x in inputs.items()}
        print(*(made.report for made in fast.values()), sep="\n", file=sys.stderr)
        return {b: lambda b=b: fast[b](inputs[b]) for b in BATCHES}
    import torchvision

    plain = torchvision.models.get_model(name, weights=None).eval()
    if engine == "torchvision":
        return {b: lambda b=b: plain(inputs[b]) for b in BATCHES}
    if engine == "torch.compile":
        from torch._inductor import config

        config.freezing = True
        compiled = torch.compile(plain)
        return {b: lambda b=b: compiled(inputs[b]) for b in BATCHES}
    arrays = {b: x.numpy() for b, x in inputs.items()}
    if engine == "onnxruntime":
        import onnxruntime

        program = torch.onnx.export(
            plain, (inputs[8],), dynamic_shapes=({0: "b"},), dynamo=True, verbose=False
        )
        session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
        first = session.get_inputs()[0].name
        return {b: lambda b=b: session.run(None, {first: arrays[b]}) for b in BATCHES}
    import openvino

    batch = torch.export.Dim("b", max=1024)
    model = openvino.convert_model(
        torch.export.export(plain, (inputs[8],), dynamic_shapes=({0: batch},))
    )
    hint = engine.partition(" ")[2].upper()
    ready = openvino.compile_model(
        model, "CPU", {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": "f32"}
    )
    if hint == "LATENCY":
        return {b: lambda b=b: ready(arrays[b], share_inputs=True) for b in BATCHES}
    return {b: lambda b=b: in_flight(ready, arrays[b]) for b in BATCHES}


def in_flight(ready: Any, x: Any) -> float:
    """Seconds a batch where several are on their way at once, as the throughput hint has it."""
    import openvino

    queue = openvino.AsyncInferQueue(ready)
    count = 2 * len(queue)
    started = time.perf_counter()
    for _ in range(count):
        queue.start_async(x, share_inputs=True)
    queue.wait_all()
    return (time.perf_counter() - started) / count


def serve(engine: str, name: str, precision: str) -> None:
    """Answer each number of images with the seconds of a call."""
    started = time.perf_counter()
    calls = engine_calls(engine, name, precision)
    first = {}
    for batch, call in calls.items():
        begun = time.perf_counter()
        call()
        first[batch] = time.perf_counter() - begun
    setup = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"setup": setup, "peak_mb": peak}), flush=True)
    for line in sys.stdin:
        call = calls[int(line)]
        if first[int(line)] < 1:
            call()  # what others left in the caches goes; of long calls that is little
        samples = []
        until = time.perf_counter() + 0.5
        while not samples or time.perf_counter() < until:
            begun = time.perf_counter()
            said = call()
            taken = time.perf_counter() - begun
            samples.append(said if isinstance(said, float) else taken)
        print(json.dumps(statistics.median(samples)), flush=True)


# --- all of them, in turns -----------------------------------------------------------------------


@contextmanager
def worker(engine: str, name: str, precision: str) -> Iterator[subprocess.Popen[str]]:
    """A process that serves an engine."""
    command = [sys.executable, __file__, name, "--serve", engine, "--precision", precision]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def ask(process: subprocess.Popen[str], batch: int) -> float:
    """Seconds of a call, all other processes being stopped."""
    process.send_signal(signal.SIGCONT)
    process.stdin.write(f"{batch}\n")
    process.stdin.flush()
    seconds = float(process.stdout.readline())
    process.send_signal(signal.SIGSTOP)
    return seconds


def measure(name: str, precision: str, rounds: int) -> dict[str, Any]:
    """All engines in turns, batch by batch."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        workers, ready = {}, {}
        engines = (*OURS, *PEERS) if precision == "fp32" else (OURS[0], PEERS[0])
        for engine in engines:
            process = stack.enter_context(worker(engine, name, precision))
            if line := process.stdout.readline():  # an engine that fails leaves the others
                workers[engine], ready[engine] = process, json.loads(line)
                process.send_signal(signal.SIGSTOP)
        rows = []
        for batch in BATCHES:
            samples: dict[str, list[float]] = {engine: [] for engine in workers}
            for turn in range(rounds):
                for engine in list(workers)[:: 1 if turn % 2 else -1]:
                    samples[engine].append(ask(workers[engine], batch))
            seconds = {engine: statistics.median(taken) for engine, taken in samples.items()}
            rows.append({"batch": batch, "seconds": seconds})
    return {"network": name, "precision": precision, "rows": rows, "ready": ready}


def keep(path: Path, found: dict[str, Any]) -> None:
    """Put a network's rows among the others; those it had before go."""
    all_found = json.loads(path.read_text("utf-8")) if path.exists() else []
    which = ("network", "precision")
    others = [one for one in all_found if any(one[key] != found[key] for key in which)]
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps([*others, found], indent=1), "utf-8")
    fresh.replace(path)


def table(results: list[dict[str, Any]]) -> None:
    """Milliseconds a batch, and how `auto` stands to the best peer."""
    order = {name: index for index, name in enumerate(NETWORKS)}
    results.sort(key=lambda one: (one["precision"], order.get(one["network"], 99)))
    columns = (*OURS, *PEERS)
    print("| network | batch |", " | ".join(columns), "| auto / best | torch / eager |")
    print("|---|---:|" + "---:|" * (len(columns) + 2))
    gains = []
    for one in results:
        for row in one["rows"]:
            took = row["seconds"]
            best = min((took[engine] for engine in PEERS if engine in took), default=float("nan"))
            cells = [f"{1000 * took[c]:,.1f}" if c in took else "" for c in columns]
            ours = best / took[OURS[0]]
            gain = took["torchvision"] / took[OURS[1]] if OURS[1] in took else float("nan")
            gains += [gain] if one["precision"] == "fp32" else []
            name = one["network"] + ("" if one["precision"] == "fp32" else f" {one['precision']}")
            print(f"| {name} | {row['batch']} |", " | ".join(cells), f"| {ours:.2f} | {gain:.2f} |")
    if gains:
        print(f"\ntorch over eager, geometric mean: {statistics.geometric_mean(gains):.2f}\n")
    print("| network | |", " | ".join(columns), "|")
    print("|---|---|" + "---:|" * len(columns))
    for one in results:
        for key, unit in (("setup", "s"), ("peak_mb", "MB")):
            cells = [f"{one['ready'][c][key]:,.0f}" if c in one["ready"] else "" for c in columns]
            print(
                f"| {one['network']} {one['precision']} | {key} ({unit}) |", " | ".join(cells), "|"
            )


def main() -> None:
    """Measure networks, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "int8"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("inference.json"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--serve")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.networks[0], arguments.precision)
    elif arguments.table:
        table(json.loads(arguments.table.read_text("utf-8")))
    else:
        for name in arguments.networks:
            found = measure(name, arguments.precision, arguments.rounds)
            keep(arguments.out, found)
            table([found])


if __name__ == "__main__":
    main()
