"""What the aids of training are worth, each alone in a plain PyTorch loop, with three seeds.

    python benchmarks/aids.py --seconds 200  # again and again, until nothing is left
    python benchmarks/aids.py --table

trains LeNet-5, and for sizes ResNet-8 (8, 16 and 32 channels), on the first images of
Fashion-MNIST and scores the last epoch on the 10,000 test images: nothing is chosen by the test
set. Each run goes to the log as it ends, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import convzoo
from convzoo import training
from convzoo.models import BasicBlock
from train_fashion_mnist import MEAN, STD, augment, load

LOG = Path(__file__).parent.parent / "docs" / "logs" / "aids.json"
SEEDS = (0, 1, 2)
IMAGES, EPOCHS = 4_000, 15  # for ResNet-8 2,000
LONG_TAIL = (6, 10, 17, 28, 46, 77, 129, 216, 360, 600)  # images of each class, a hundredfold
RARE = 3  # the first classes, T-shirts, trousers and pullovers, have fewest

# Experiment -> variant -> what it does.
RUNS: dict[str, dict[str, dict[str, Any]]] = {
    "mixing": {
        "random flips, as in all that follow": {"ema": 0.99},
        "MixUp 0.2": {"mixing": "mixup"},
        "CutMix 1.0": {"mixing": "cutmix"},
    },
    "rare classes": {
        "as they are": {"tail": "none"},
        "weights": {"tail": "weights", "power": 1.0},
        "weights, power 0.5": {"tail": "weights", "power": 0.5},
        "balanced": {"tail": "sampling", "power": 1.0},
    },
    "flips": {  # random ones: above
        "none": {"flip": False},
        "alternating": {"flip": "alternating"},
    },
    "sizes": {
        "28 pixels": {"net": "resnet"},
        "14 to 28": {"net": "resnet", "resizing": {"first": 0.5}},
        "14 to 24, scored at 28": {"net": "resnet", "resizing": {"first": 0.5, "last": 0.86}},
        "24, scored at 28": {"net": "resnet", "resizing": {"first": 0.86, "last": 0.86}},
    },
}


def run(options: dict[str, Any], data: tuple[Tensor, Tensor, Tensor, Tensor], seed: int) -> Any:
    """Train once; the test accuracies, in percent, and the CPU seconds that training took."""
    torch.manual_seed(seed)
    images, labels, test_images, test_labels = data
    tail = options.get("tail")
    if tail:
        kept = [torch.nonzero(labels == c)[:n, 0] for c, n in enumerate(LONG_TAIL)]
        chosen = torch.cat(kept)
        images, labels, epochs = images[chosen], labels[chosen], 2 * EPOCHS
    else:
        count, epochs = IMAGES // (2 if "net" in options else 1), EPOCHS
        images, labels = images[:count], labels[:count]
    flip = options.get("flip", True)
    items: Any = list(zip(images, labels.tolist(), strict=True))
    epoch_aids: list[Any] = []
    if flip == "alternating":
        items = training.AlternatingFlips(items, seed=seed)
        epoch_aids.append(items)
    sampler = weight = None
    if tail == "sampling":
        sampler = training.balanced_sampler(labels, power=options["power"])
    elif tail == "weights":
        weight = training.class_weights(labels, 10, power=options["power"])
    loader = DataLoader(items, 128, shuffle=sampler is None, sampler=sampler, drop_last=True)
    resizing = mixing = None
    if "resizing" in options:
        resizing = training.ProgressiveResizing(epochs, **options["resizing"])
        epoch_aids.append(resizing)
    if "mixing" in options:
        mixing = training.Mixing(options["mixing"], 10)

    net: nn.Module = convzoo.lenet5()
    if "net" in options:
        net = convzoo.ResNet(
            BasicBlock, (1, 1, 1), widths=(8, 16, 32), in_channels=1, num_classes=10, stem="small"
        )
    lr = 0.2 if "net" in options else 0.1
    net = net.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        convzoo.param_groups(net, lr, weight_decay=5e-4), lr=lr, momentum=0.9, nesterov=True
    )
    schedule = training.lr_schedule(optimizer, "one_cycle", steps=epochs * len(loader))
    ema = training.EMA(net, options["ema"]) if "ema" in options else None
    criterion = nn.CrossEntropyLoss(weight=weight)
    started = time.process_time()
    for epoch in range(1, epochs + 1):
        for aid in epoch_aids:
            aid.start_epoch(epoch)
        for batch, answers in loader:
            x: Tensor = (augment(batch, 2, flip is True) - MEAN) / STD
            if resizing is not None:
                x = resizing(x)
            targets = answers
            if mixing is not None:
                x, targets = mixing(x, targets)
            loss = criterion(net(x.contiguous(memory_format=torch.channels_last)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if ema is not None:
                ema.update_parameters(net)
    seconds = time.process_time() - started
    result = {"seconds": round(seconds, 1), **score(net, test_images, test_labels)}
    if ema is not None:
        result["ema"] = score(ema.module, test_images, test_labels)["test"]
    return result


@torch.no_grad()
def score(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Test accuracy, in percent, and that of the classes that may be rare."""
    net.eval()
    batches = ((images - MEAN) / STD).split(500)
    right = torch.cat([net(batch).argmax(1) for batch in batches]) == labels
    rare = labels < RARE
    return {
        "test": round(100 * float(right.float().mean()), 2),
        "rare": round(100 * float(right[rare].float().mean()), 2),
    }


def table(log: dict[str, Any]) -> None:
    """Print the log as Markdown."""
    for experiment, variants in RUNS.items():
        print(f"\n{experiment}\n")
        print("| variant | test, % | spread | each seed | rare classes, % | CPU s a run |")
        print("|---|---:|---:|---|---:|---:|")
        for variant in variants:
            runs = [log.get(f"{experiment} | {variant} | {seed}") for seed in SEEDS]
            done = [one for one in runs if one]
            for title, key in ((variant, "test"), (f"{variant}; average of the weights", "ema")):
                scores = [one[key] for one in done if key in one]
                if scores:
                    rare = statistics.mean(one["rare"] for one in done)
                    cost = statistics.mean(one["seconds"] for one in done)
                    each = ", ".join(f"{one:.2f}" for one in scores)
                    columns = [title, f"{statistics.mean(scores):.2f}"]
                    spread = f"{statistics.stdev(scores):.2f}" if len(scores) > 1 else "-"
                    columns += [spread, each, f"{rare:.2f}"]
                    print("| " + " | ".join([*columns, f"{cost:.0f}"]) + " |")


def main() -> None:
    """Run what is not in the log yet, for as long as was asked for; or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--seconds", type=float, default=1e9, help="start no run after these")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, a thread each")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    log: dict[str, Any] = json.loads(LOG.read_text(encoding="utf-8")) if LOG.exists() else {}
    if arguments.table:
        table(log)
        return
    waiting = [
        (f"{experiment} | {variant} | {seed}", options, seed)
        for seed in SEEDS
        for experiment, variants in RUNS.items()
        for variant, options in variants.items()
    ]
    waiting = [one for one in waiting if one[0] not in log]
    began = time.monotonic()
    with ProcessPoolExecutor(
        arguments.jobs, initializer=prepare, initargs=[arguments.data]
    ) as pool:
        while waiting and time.monotonic() - began < arguments.seconds:
            now, waiting = waiting[: arguments.jobs], waiting[arguments.jobs :]
            for name, result in pool.map(named, now):
                log[name] = result
                print(name, result, flush=True)
            LOG.write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")


DATA: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []  # of each process


def prepare(folder: Path) -> None:
    """Read the images, once a process."""
    torch.set_num_threads(1)
    DATA.append(load(folder))


def named(job: tuple[str, dict[str, Any], int]) -> tuple[str, Any]:
    """One run, with its name."""
    name, options, seed = job
    return name, run(options, DATA[0], seed)


if __name__ == "__main__":
    main()
