"""What transfer brings: scratch, linear probe, head then all, gradual unfreezing.

    python benchmarks/transfer_evidence.py evidence.jsonl              # goes on where it stopped
    python benchmarks/transfer_evidence.py evidence.jsonl --seconds 200  # no new run after that
    python benchmarks/transfer_evidence.py evidence.jsonl --table      # what there is, as Markdown

LeNet-5 on grey images of 28 x 28. The digits (8 x 8, enlarged) start from the bundled weights of
Fashion-MNIST; Fashion-MNIST starts from a network that this script first trains on the digits.
10, 100 and all images a class, where "all" of Fashion-MNIST are 500 of its 6,000; three seeds,
which draw the images, the fresh weights and the order. No augmentation, and as many epochs for each
way that trains the backbone; nothing is chosen by the test images, 10,000 of Fashion-MNIST and 359
of the digits. Times are CPU seconds on one thread, the backbone's pass over the images and the
search for the head's learning rate included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import convzoo
from convzoo import datasets
from train_fashion_mnist import load

# Images a class, and passes over them; the digits have 126 a class at most.
EPOCHS = {
    "digits": {10: 30, 100: 12, 126: 12},
    "fashion": {10: 30, 100: 12, 500: 6},
}


def images_of(name: str, folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels; images (N, 1, 28, 28), normalised."""
    prepare = convzoo.load("lenet5.fashion_mnist").preset.eval()
    if name == "fashion":
        images, labels, test_images, test_labels = load(folder)
        return prepare(images), labels, prepare(test_images), test_labels
    parts = datasets.digits()
    train, test = parts.train.images, parts.test.images
    return (
        prepare(train),
        torch.tensor(parts.train.targets),
        prepare(test),
        torch.tensor(parts.test.targets),
    )


def few(labels: Tensor, per_class: int, seed: int) -> Tensor:
    """Places of so many images of each class, drawn at random."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    mixed = labels[order]
    return torch.cat([order[mixed == c][:per_class] for c in range(10)])


def train(
    net: nn.Module,
    data: TensorDataset,
    epochs: int,
    lr: float,
    seed: int,
    unfreeze_every: int | None = None,
) -> None:
    """Train under the usual one-cycle schedule of AdamW."""
    convzoo.fit(
        net,
        data,
        epochs=epochs,
        batch_size=32,
        lr=lr,
        unfreeze_every=unfreeze_every,
        seed=seed,
        cpu=True,
    )


def scratch(_source: convzoo.Classifier, data: TensorDataset, epochs: int, seed: int) -> nn.Module:
    """Fresh weights."""
    net = convzoo.lenet5()
    train(net, data, epochs, 3e-3, seed)
    return net


def probe(source: convzoo.Classifier, data: TensorDataset, _epochs: int, seed: int) -> nn.Module:
    """A head on the frozen backbone's features."""
    convzoo.linear_probe(source, data, labels=list("0123456789"), seed=seed)
    return source


def head_then_all(
    source: convzoo.Classifier, data: TensorDataset, epochs: int, seed: int
) -> nn.Module:
    """The head on features, then the whole network."""
    probe(source, data, epochs, seed)
    train(source, data, epochs, 1e-3, seed)
    return source


def gradual(source: convzoo.Classifier, data: TensorDataset, epochs: int, seed: int) -> nn.Module:
    """The head on features, then stage after stage from the last to the first, one an epoch."""
    probe(source, data, epochs, seed)
    train(source, data, epochs, 1e-3, seed, unfreeze_every=1)
    return source


WAYS: dict[str, Callable[[convzoo.Classifier, TensorDataset, int, int], nn.Module]] = {
    "scratch": scratch,
    "linear probe": probe,
    "head then all": head_then_all,
    "gradual unfreezing": gradual,
}


def source_of(name: str, kept: Path, folder: Path) -> convzoo.Classifier:
    """The network that is carried over: trained on the other data set."""
    if name == "digits":
        return convzoo.lenet5(weights="fashion_mnist")
    if not kept.exists():
        torch.manual_seed(0)
        net = convzoo.lenet5()
        images, labels, test_images, test_labels = images_of("digits", folder)
        train(net, TensorDataset(images, labels), 20, 3e-3, 0)
        print(f"source trained on the digits: {accuracy(net, test_images, test_labels):.2%}")
        convzoo.save(net, kept)
    return convzoo.load(kept)


def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of the images scored right."""
    net.eval()
    with torch.inference_mode():
        scores = torch.cat([net(part) for part in images.split(250)])
    return float((scores.argmax(1) == labels).float().mean())


def table(rows: list[dict[str, object]]) -> None:
    """Print what was measured as Markdown."""
    for name, sizes in EPOCHS.items():
        known = [row for row in rows if row["data"] == name]
        shown = [size for size in sizes if any(row["per_class"] == size for row in known)]
        print(f"\n| {name}, images a class | " + " | ".join(map(str, shown)) + " |")
        print("|---|" + "---:|" * len(shown))
        for way in WAYS:
            cells = []
            for size in shown:
                runs = [r for r in known if r["per_class"] == size and r["way"] == way]
                scores = [100 * float(str(r["accuracy"])) for r in runs]
                seconds = [float(str(r["seconds"])) for r in runs]
                spread = statistics.stdev(scores) if len(scores) > 1 else float("nan")
                cells.append(
                    f"{statistics.mean(scores):.1f} ± {spread:.1f} %, "
                    f"{statistics.mean(seconds):.1f} s"
                    if runs
                    else "-"
                )
            print(f"| {way} | " + " | ".join(cells) + " |")


def main() -> None:
    """Run what the log has not yet, or print its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no run after")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    log: Path = arguments.log
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    rows = [json.loads(line) for line in lines]
    if arguments.table:
        table(rows)
        return
    torch.set_num_threads(1)
    began = time.monotonic()
    done = {(row["data"], row["per_class"], row["seed"], row["way"]) for row in rows}
    wanted = [
        (name, size, seed, way)
        for seed in range(arguments.seeds)
        for name, sizes in EPOCHS.items()
        for size in sizes
        for way in WAYS
    ]
    data: dict[str, tuple[Tensor, Tensor, Tensor, Tensor]] = {}
    for name, size, seed, way in wanted:
        if (name, size, seed, way) in done:
            continue
        if time.monotonic() - began > arguments.seconds:
            return
        if name not in data:
            data[name] = images_of(name, arguments.data)
        images, labels, test_images, test_labels = data[name]
        source = source_of(name, log.with_suffix(".digits"), arguments.data)
        chosen = few(labels, size, seed)
        torch.manual_seed(seed)
        epochs = EPOCHS[name][size]
        started = time.process_time()
        net = WAYS[way](source, TensorDataset(images[chosen], labels[chosen]), epochs, seed)
        seconds = time.process_time() - started
        row = {
            "data": name,
            "per_class": size,
            "seed": seed,
            "way": way,
            "images": len(chosen),
            "epochs": epochs,
            "seconds": round(seconds, 2),
            "accuracy": accuracy(net, test_images, test_labels),
        }
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


if __name__ == "__main__":
    main()
