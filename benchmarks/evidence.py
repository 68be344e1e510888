"""The claims of the lessons, run again: three seeds each, on parts of Fashion-MNIST.

    python benchmarks/evidence.py docs/logs/evidence.jsonl                # goes on where it stopped
    python benchmarks/evidence.py docs/logs/evidence.jsonl --only depth   # one experiment
    python benchmarks/evidence.py docs/logs/evidence.jsonl --seconds 200  # no new run after that
    python benchmarks/evidence.py docs/logs/evidence.jsonl --table        # what there is, Markdown
    python benchmarks/evidence.py docs/logs/evidence.jsonl --draw docs/images

Each run trains one network on the first training images (few, for one thread to do it) and is
measured on the 10,000 test images at its end; nothing is chosen by these. Where training is watched
by images it does not see, these are the last 1,000 training images. A run is a line of the log,
written when it ends. Times are CPU seconds on one thread, of the training alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convzoo import visualize
from convzoo.layers import DropBlock2d, DropBlockSchedule
from convzoo.training import EarlyStopping
from evidence_runs import EXPERIMENTS, Run
from train_fashion_mnist import MEAN, STD, augment, load

HELD_OUT = 1_000
Data = tuple[Tensor, Tensor, Tensor, Tensor]
Row = dict[str, Any]


def prepare(images: Tensor) -> Tensor:
    """Normalised, channels last."""
    return ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def pooled(data: Data, side: int) -> Data:
    """The images with a side of 28 pixels, or of 14 by averaging four into one."""
    if side == data[0].shape[-1]:
        return data
    images, labels, test_images, test_labels = data
    return F.avg_pool2d(images, 2), labels, F.avg_pool2d(test_images, 2), test_labels


@torch.no_grad()
def measure(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy in percent and mean loss, in evaluation mode; the network's mode stays."""
    training = net.training
    scores = torch.cat([net.eval()(prepare(part)) for part in images.split(500)])
    net.train(training)
    right = (scores.argmax(1) == labels).float().mean()
    return round(100 * float(right), 2), round(float(F.cross_entropy(scores, labels)), 4)


def gradients(net: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    """Norm of the loss's gradient by each convolution's weight, from the first to the last."""
    flow = visualize.gradient_flow(net, prepare(images), labels)
    return [float(f"{layer.norm:.3g}") for layer in flow]


def train(run: Run, data: Data, seed: int) -> Row:
    """Train once; what the log keeps of it."""
    torch.manual_seed(seed)
    images, labels, test_images, test_labels = pooled(data, run.side)
    held_out, held_labels = images[-HELD_OUT:], labels[-HELD_OUT:]
    images, labels = images[: run.images], labels[: run.images]
    net = run.build().to(memory_format=torch.channels_last).train()
    batches = len(images) // run.batch
    optimizer = torch.optim.SGD(
        net.parameters(), lr=run.lr, momentum=0.9, nesterov=True, weight_decay=run.weight_decay
    )
    schedule = ramp = None
    if run.one_cycle:
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, run.lr, total_steps=run.epochs * batches, pct_start=0.2
        )
    if any(isinstance(module, DropBlock2d) for module in net.modules()):
        ramp = DropBlockSchedule(net, total_steps=run.epochs * batches)
    stopping = EarlyStopping(run.patience) if run.patience else None
    best: dict[str, Any] = {}
    course: dict[str, list[float]] = {"error": [], "loss": []}
    result: Row = {"course": course}
    if run.gradients:
        result["gradients"] = {"before": gradients(net, images[:128], labels[:128])}
    seconds = 0.0
    for _ in range(run.epochs):
        started, total, wrong = time.process_time(), 0.0, 0
        order = torch.randperm(len(images))
        for step in range(batches):
            chosen = order[step * run.batch : (step + 1) * run.batch]
            x = prepare(augment(images[chosen], run.pad, run.flip))
            with torch.autocast("cpu", torch.bfloat16, enabled=run.bfloat16):
                scores = net(x).float()
            loss = F.cross_entropy(scores, labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            if ramp is not None:
                ramp.step()
            total += loss.item()
            wrong += int((scores.detach().argmax(1) != labels[chosen]).sum())
        seconds += time.process_time() - started
        course["loss"].append(round(total / batches, 4))
        course["error"].append(round(100 * wrong / (batches * run.batch), 2))
        watched = course["error"][-1]
        if run.held_out:
            accuracy, held_loss = measure(net, held_out, held_labels)
            watched = round(100 - accuracy, 2)
            course.setdefault("held_out_error", []).append(watched)
            course.setdefault("held_out_loss", []).append(held_loss)
            if stopping is not None:
                stop = stopping.step(-held_loss)
                if stopping.wait == 0:
                    best = copy.deepcopy(net.state_dict())
                if stop:
                    break
        if run.until is not None and watched <= run.until:
            break
    if best:
        net.load_state_dict(best)
    if run.gradients:
        result["gradients"]["after"] = gradients(net, images[:128], labels[:128])
    result["loss"] = course["loss"][-1]
    result["training"] = measure(net, images, labels)[0]
    result["test"], result["test_loss"] = measure(net, test_images, test_labels)
    return {"result": result, "epochs": len(course["loss"]), "seconds": round(seconds, 1)}


def epochs_to(row: Row, error: float, of: str) -> int | None:
    """The first epoch with at most this error in percent; None where there was none."""
    course = row["result"]["course"][of]
    return next((epoch for epoch, e in enumerate(course, 1) if e <= error), None)


def value(row: Row, column: str) -> float | None:
    """What a column shows of a run: a result, or epochs to an error, as "25 error" says."""
    limit, _, of = column.partition(" ")
    return epochs_to(row, float(limit), of) if of else row["result"][column]


def cells(values: Sequence[float | None], digits: int) -> list[str]:
    """Mean, spread (sample standard deviation) and each value; "never" has neither."""
    each = ", ".join("never" if one is None else f"{one:.{digits}f}" for one in values)
    known = [one for one in values if one is not None]
    if len(known) < len(values):
        return ["-", "-", each]
    spread = f"{statistics.stdev(known):.{max(digits, 1)}f}" if len(known) > 1 else "-"
    return [f"{statistics.mean(known):.{max(digits, 1)}f}", spread, each]


def table(rows: Sequence[Row], name: str) -> list[str]:
    """What was measured in an experiment, as the lines of a Markdown table."""
    experiment = EXPERIMENTS[name]
    titles = [experiment.what]
    for title, _, _ in experiment.columns:
        titles += [title, "spread", "each seed"]
    lines = ["| " + " | ".join([*titles, "epochs", "CPU s a run"]) + " |"]
    lines.append("|---|" + "---:|---:|---|" * len(experiment.columns) + "---:|---:|")
    for variant in experiment.runs:
        runs = [r for r in rows if (r["experiment"], r["variant"]) == (name, variant)]
        runs.sort(key=lambda row: row["seed"])
        if not runs:
            continue
        line = [variant]
        for _, column, digits in experiment.columns:
            line += cells([value(row, column) for row in runs], digits)
        line.append(f"{statistics.mean(row['epochs'] for row in runs):.0f}")
        line.append(f"{statistics.mean(row['seconds'] for row in runs):.0f}")
        lines.append("| " + " | ".join(line) + " |")
    return lines


def main() -> None:
    """Run what the log has not yet, or print its tables, or draw its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no run after")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--draw", type=Path, help="a folder for the pictures")
    arguments = parser.parse_args()
    log: Path = arguments.log
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    rows = [json.loads(line) for line in lines]
    if arguments.table:
        for name in arguments.only:
            print("\n".join([f"\n{name}\n", *table(rows, name)]))
    if arguments.draw:
        from evidence_drawn import draw

        draw(rows, arguments.draw)
    if arguments.table or arguments.draw:
        return
    torch.set_num_threads(1)
    began = time.monotonic()
    done = {(row["experiment"], row["variant"], row["seed"]) for row in rows}
    data = load(arguments.data)
    for name in arguments.only:
        for seed in range(arguments.seeds):
            for variant, run in EXPERIMENTS[name].runs.items():
                if (name, variant, seed) in done:
                    continue
                if time.monotonic() - began > arguments.seconds:
                    return
                row = {"experiment": name, "variant": variant, "seed": seed}
                row |= {**train(run, data, seed), "torch": torch.__version__.partition("+")[0]}
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                shown = [value(row, column) for _, column, _ in EXPERIMENTS[name].columns]
                print(name, variant, seed, shown, row["epochs"], row["seconds"], flush=True)


if __name__ == "__main__":
    main()
