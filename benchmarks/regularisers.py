"""Do DropBlock, DropConnect and their kin help? Small versions of the papers' comparisons.

    python benchmarks/regularisers.py resnet  # ResNet-20: dropout, blocks, channels, paths
    python benchmarks/regularisers.py mlp      # 784-800-800-10: none, Dropout, DropConnect

Each variant is trained with three seeds on the first training images of Fashion-MNIST (5,000 for
ResNet-20 and 10,000 for the MLP: few, for it to overfit, which is what a regulariser is against)
and measured on the 10,000 test images after the last epoch; mean and spread (sample standard
deviation) and the accuracy on the training images are printed as a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convzoo
from convzoo.layers import DropBlock2d, DropBlockConfig, DropBlockSchedule, apply_drop_connect
from train_fashion_mnist import MEAN, STD, augment, load


def resnet(**options: object) -> nn.Module:
    """ResNet-20 on grey images of 28 x 28; its last two stages have maps of 14 and 7."""
    net = convzoo.create_model("cifar_resnet20", in_channels=1, **options)
    return net.to(memory_format=torch.channels_last)


def mlp(dropout: float = 0.0, drop_connect: float = 0.0) -> nn.Module:
    """784-800-800-10 with ReLU; the regulariser works on the hidden layers."""
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 800),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(800, 800),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(800, 10),
    )
    if drop_connect:
        net = apply_drop_connect(net, where=["1", "4"], p=drop_connect)
    return net


# The same places in each block of the last two stages: what differs is the size of what is
# dropped. The rate is a quarter in the stage before the last, as in DropBlock's code, and rises
# over training.
VARIANTS: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "resnet": {
        "none": resnet,
        "dropout (block 1)": lambda: resnet(drop_block=DropBlockConfig(0.1, 1)),
        "DropBlock (block 3)": lambda: resnet(drop_block=DropBlockConfig(0.1, 3)),
        "SpatialDropout (whole channels)": lambda: resnet(drop_block=DropBlockConfig(0.1, 14)),
        "stochastic depth, 0.2 at the end": lambda: resnet(drop_path=0.2),
    },
    "mlp": {
        "none": mlp,
        "Dropout 0.5": lambda: mlp(dropout=0.5),
        "DropConnect 0.5, mean inference": lambda: mlp(drop_connect=0.5),
    },
}
SUBSET = {"resnet": 5_000, "mlp": 10_000}
EPOCHS = {"resnet": 20, "mlp": 20}
LEARNING_RATE = {"resnet": 0.2, "mlp": 0.05}


def prepare(images: Tensor) -> Tensor:
    """Normalised, channels last."""
    return ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def run(
    kind: str, build: Callable[[], nn.Module], data: tuple[Tensor, ...], seed: int
) -> list[float]:
    """Train once; the accuracy on the training and on the test images after the last epoch."""
    torch.manual_seed(seed)
    images, labels, test_images, test_labels = data
    images, labels = images[: SUBSET[kind]], labels[: SUBSET[kind]]
    net = build()
    epochs, batch = EPOCHS[kind], 128
    steps = len(images) // batch * epochs
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE[kind], total_steps=steps, pct_start=0.2
    )
    blocks = any(isinstance(module, DropBlock2d) for module in net.modules())
    ramp = DropBlockSchedule(net, total_steps=steps) if blocks else None
    net.train()
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for step in range(len(images) // batch):
            chosen = order[step * batch : (step + 1) * batch]
            x = images[chosen]
            x = prepare(augment(x, pad=0, flip=True) if kind == "resnet" else x)
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == "resnet"):
                loss = F.cross_entropy(net(x).float(), labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            if ramp is not None:
                ramp.step()
    net.eval()
    accuracies = []
    for many, answers in ((images, labels), (test_images, test_labels)):
        with torch.no_grad():
            scores = torch.cat([net(prepare(part)) for part in many.split(500)])
        accuracies.append(100 * float((scores.argmax(1) == answers).float().mean()))
    return accuracies


def main() -> None:
    """Run every variant with every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("kind", choices=sorted(VARIANTS))
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    data = load(arguments.data)
    print(
        f"{SUBSET[arguments.kind]:,} images, {EPOCHS[arguments.kind]} epochs, "
        f"{arguments.seeds} seeds, torch {torch.__version__.split('+')[0]}\n"
    )
    print("| regulariser | test, % | spread | each seed | training, % | CPU seconds a run |")
    print("|---|---:|---:|---|---:|---:|", flush=True)
    for name, build in VARIANTS[arguments.kind].items():
        started = time.process_time()
        runs = [run(arguments.kind, build, data, seed) for seed in range(arguments.seeds)]
        seconds = (time.process_time() - started) / arguments.seeds
        fitted, scores = zip(*runs, strict=True)
        each = ", ".join(f"{score:.2f}" for score in scores)
        spread = statistics.stdev(scores) if len(scores) > 1 else float("nan")
        columns = [name, f"{statistics.mean(scores):.2f}", f"{spread:.2f}", each]
        columns += [f"{statistics.mean(fitted):.2f}", f"{seconds:.0f}"]
        print("| " + " | ".join(columns) + " |", flush=True)


if __name__ == "__main__":
    main()
