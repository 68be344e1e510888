"""Train small networks of the zoo on Fashion-MNIST: the recipe behind the bundled weights.

    python benchmarks/train_fashion_mnist.py cifar_resnet20 --out fashion.safetensors --log log.md

trains on the 60,000 training images and measures on the 10,000 test images after every epoch. The
last epoch's weights are kept, whatever the epochs before scored: nothing is chosen by the test
set. The data are the four `idx` files of Fashion-MNIST, e.g. Debian's `dataset-fashion-mnist`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import convzoo
from convzoo.models import LeNetMAPLoss, loss_with_aux

MEAN, STD = 0.2860, 0.3530  # of the training images' pixels in [0, 1]


@dataclass(frozen=True)
class Recipe:
    """How one network is trained, under a one-cycle schedule."""

    epochs: int
    lr: float
    batch_size: int = 128
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    pad: int = 2  # random crop from the image padded by this many pixels
    flip: bool = True
    size: int = 28  # images are resized to this many pixels
    clip: float | None = None  # largest norm of the gradient
    adam: bool = False  # instead of SGD with Nesterov momentum
    bfloat16: bool = True  # autocast; small networks gain nothing from it
    options: dict[str, Any] = field(default_factory=dict)


RECIPES: dict[str, Recipe] = {
    "cifar_resnet20": Recipe(epochs=14, lr=0.2, options={"in_channels": 1}),
    "lenet5": Recipe(epochs=20, lr=0.1, pad=1, bfloat16=False),
    "lenet5_1998": Recipe(
        epochs=20, lr=2e-3, pad=0, flip=False, weight_decay=0.0, adam=True, bfloat16=False
    ),
    "mnist_cnn": Recipe(epochs=5, lr=0.05, pad=1, bfloat16=False, options={"in_channels": 1}),
    "cifar_cnn5": Recipe(epochs=2, lr=0.03, size=32, clip=1.0, options={"in_channels": 1}),
    "vgg11": Recipe(
        epochs=10,
        lr=0.03,
        size=32,
        clip=1.0,
        options={  # half as wide, for a seventh of the side and a hundredth of the classes
            "in_channels": 1,
            "widths": (32, 64, 128, 256, 256),
            "hidden": 512,
            "grid": 1,
        },
    ),
    "googlenet": Recipe(
        epochs=5,
        lr=0.05,
        size=32,
        options={"in_channels": 1, "aux_heads": True},
    ),
    "googlenet_2014": Recipe(
        epochs=8,
        lr=1e-3,
        size=32,
        clip=1.0,
        adam=True,
        weight_decay=0.0,
        options={"in_channels": 1, "aux_heads": True},
    ),
}


def read_idx(path: Path) -> Tensor:
    """Read a gzipped file of LeCun's idx format into a uint8 tensor."""
    raw = gzip.decompress(path.read_bytes())
    sizes = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    data = torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=4 + 4 * len(sizes))
    return data.reshape(sizes)


def load(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels; images (N, 1, 28, 28) in [0, 1]."""
    parts = []
    for name in ("train", "t10k"):
        images = read_idx(folder / f"{name}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{name}-labels-idx1-ubyte.gz")
        parts += [images.unsqueeze(1).float() / 255, labels.long()]
    return parts[0], parts[1], parts[2], parts[3]


def augment(images: Tensor, pad: int, flip: bool) -> Tensor:
    """Shift each image by up to `pad` pixels and mirror half of them."""
    count, _, height, width = images.shape
    if pad:
        padded = F.pad(images, (pad,) * 4)  # (B, 1, H + 2 pad, W + 2 pad)
        rows = torch.randint(0, 2 * pad + 1, (count, 1)) + torch.arange(height)
        columns = torch.randint(0, 2 * pad + 1, (count, 1)) + torch.arange(width)
        index = torch.arange(count)[:, None, None]
        images = padded[index, 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)
    if flip:
        mirrored = torch.rand(count, 1, 1, 1) < 0.5
        images = torch.where(mirrored, images.flip(-1), images)
    return images


def prepare(images: Tensor, recipe: Recipe, architecture: str) -> Tensor:
    """What the network sees: resized, normalised, channels last."""
    if recipe.size != images.shape[-1] and architecture != "lenet5_1998":
        images = F.interpolate(images, recipe.size, mode="bilinear", antialias=True)
    if architecture == "lenet5_1998":
        images = F.pad(images, (2,) * 4) * 1.275 - 0.1  # the paper's scaling and field
    else:
        images = (images - MEAN) / STD
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe, name: str) -> float:
    """Share of the images whose highest score is their label, in single precision."""
    net.eval()
    right = 0
    for start in range(0, len(images), 500):
        batch = prepare(images[start : start + 500], recipe, name)
        right += int((net(batch).argmax(1) == labels[start : start + 500]).sum())
    net.train()
    return right / len(images)


def train(name: str, recipe: Recipe, data: Path, seed: int, log: list[str]) -> nn.Module:
    """Train one network from scratch and return it in evaluation mode."""
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)  # a deep network without normalisation drowns a CPU in them
    images, labels, test_images, test_labels = load(data)
    net = convzoo.create_model(name, **{"num_classes": 10, **recipe.options})
    net = net.to(memory_format=torch.channels_last)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others}]
    optimizer: torch.optim.Optimizer
    if recipe.adam:
        optimizer = torch.optim.Adam(groups, lr=recipe.lr)
    else:
        optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True)
    steps = len(images) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=steps * recipe.epochs, pct_start=0.2
    )

    map_loss = LeNetMAPLoss()  # lenet5_1998's own
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def loss_of(batch: Tensor, target: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            output: Any = net(batch)
        if name == "lenet5_1998":
            return map_loss(output, target)
        return loss_with_aux(output, target, criterion=criterion)

    for epoch in range(1, recipe.epochs + 1):
        started, total = time.process_time(), 0.0
        order = torch.randperm(len(images))
        for step in range(steps):
            chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            batch = prepare(augment(images[chosen], recipe.pad, recipe.flip), recipe, name)
            loss = loss_of(batch, labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.process_time() - started
        score = accuracy(net, test_images, test_labels, recipe, name)
        log.append(f"| {epoch} | {total / steps:.4f} | {score:.2%} | {seconds:.0f} |")
        print(log[-1], flush=True)
    return net.eval()


def main() -> None:
    """Parse the command line, train, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the weights here (safetensors)")
    parser.add_argument("--log", type=Path, help="write the log here (Markdown)")
    arguments = parser.parse_args()
    recipe = RECIPES[arguments.model]
    log = [
        f"## {arguments.model} on Fashion-MNIST",
        "",
        (
            f"`python benchmarks/train_fashion_mnist.py {arguments.model} "
            f"--seed {arguments.seed}`, torch {torch.__version__.split('+')[0]}, "
            f"Python {platform.python_version()}, {torch.get_num_threads()} thread(s) of a CPU."
        ),
        "",
        f"`{recipe}`",
        "",
        "| epoch | training loss | test accuracy | CPU seconds |",
        "|---|---|---|---|",
    ]
    print("\n".join(log), flush=True)
    net = train(arguments.model, recipe, arguments.data, arguments.seed, log)
    if arguments.out:
        tensors = {key: value.contiguous() for key, value in net.state_dict().items()}
        save_file(tensors, arguments.out, metadata={"format": "pt"})
        digest = hashlib.sha256(arguments.out.read_bytes()).hexdigest()
        log += ["", f"sha256 of the weights: `{digest}`"]
        print(log[-1])
    if arguments.log:
        arguments.log.write_text("\n".join(log) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
