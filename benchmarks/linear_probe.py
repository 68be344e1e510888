"""A linear probe against the loop that people write: resnet18 on JPEGs, five epochs.

    python benchmarks/linear_probe.py             # 500 images of 500 x 375
    python benchmarks/linear_probe.py --images 100 --epochs 5 --engines onnxruntime

The usual loop is torchvision's frozen network and its transforms on PIL images in a DataLoader
(no workers, and as many as there are processors), with a forward pass an epoch. Ours sees each
image once. Both train the same head from the same weights on the same batches: what it scores in
the end is compared. Ratios are of the faster usual loop; nothing comes from a cache.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import convzoo
from convzoo import datasets, transfer

CLASSES = 10
BATCH = 64


def pictures(folder: Path, count: int) -> datasets.LabelledImages:
    """JPEGs of 500 x 375 with the smoothness of photographs, a hue a class."""
    generator = torch.Generator().manual_seed(0)
    paths, targets = [], []
    for i in range(count):
        coarse = torch.rand(1, 3, 12, 16, generator=generator)
        coarse[:, i % 3] += 0.05 * (i % CLASSES)
        fine = F.interpolate(coarse, (375, 500), mode="bicubic", align_corners=False)[0]
        fine = fine + 0.03 * torch.randn(fine.shape, generator=generator)
        pixels = (255 * fine.clamp(0, 1)).byte().movedim(0, -1).numpy()
        path = folder / f"{i}.jpg"
        Image.fromarray(pixels).save(path, quality=90)
        paths.append(path)
        targets.append(i % CLASSES)
    return datasets.LabelledImages(paths, targets, [str(c) for c in range(CLASSES)])


class Files(Dataset[tuple[Tensor, int]]):
    """What people write: open, transform."""

    def __init__(self, data: datasets.LabelledImages) -> None:
        self.data = data
        self.transform = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.data.images[index]) as image:
            return self.transform(image.convert("RGB")), self.data.targets[index]


def usual(
    net: nn.Module, head: nn.Linear, data: datasets.LabelledImages, epochs: int, workers: int
) -> None:
    """Every epoch reads all images and runs the frozen network on them."""
    order = torch.Generator().manual_seed(0)
    loader = DataLoader(
        Files(data), batch_size=BATCH, num_workers=workers, shuffle=True, generator=order
    )
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    net.eval()
    for _ in range(epochs):
        for x, y in loader:
            with torch.no_grad():
                features = net(x)
            loss = F.cross_entropy(head(features), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def probed(net: nn.Module, data: datasets.LabelledImages, epochs: int, **how: str) -> Tensor:
    """Ours; returns the features."""
    features = transfer.cached_features(net, data, batch_size=BATCH, **how)
    transfer.fit_head(net, features, epochs=epochs, batch_size=BATCH)
    return features.tensors[0]


def agreement(
    net: nn.Module, head: nn.Linear, data: datasets.LabelledImages, epochs: int
) -> tuple[float, float]:
    """Largest difference of the features to torchvision's, and of the heads trained on either."""
    body = copy.deepcopy(net)
    body.set_submodule("fc", nn.Identity())
    body.eval()
    prepare = net.preset.eval()
    with torch.no_grad():
        plain = torch.cat(
            [
                body(torch.stack([prepare(data[i][0]) for i in range(start, min(start + 50, 100))]))
                for start in (0, 50)
            ]
        )
    few = data.subset(range(100))
    heads = []
    found = transfer.cached_features(net, few, batch_size=BATCH)
    for x in (plain, found.tensors[0]):
        net.fc.load_state_dict(head.state_dict())
        transfer.fit_head(
            net,
            torch.utils.data.TensorDataset(x, found.tensors[1]),
            epochs=epochs,
            batch_size=BATCH,
        )
        heads.append(net.fc.weight.detach().clone())
    off = float((plain - found.tensors[0]).abs().max() / plain.abs().max())
    return off, float((heads[0] - heads[1]).abs().max() / heads[0].abs().max())


def main() -> None:
    """Time the loops one after the other and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=5)
    both = [0, os.cpu_count() or 1]
    parser.add_argument("--workers", nargs="+", type=int, default=both, help="of the DataLoader")
    parser.add_argument("--engines", nargs="*", default=[], help="others than PyTorch's")
    parser.add_argument("--bf16", action="store_true", help="with bfloat16 features as well")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=CLASSES)
    net = convzoo.resnet18(num_classes=CLASSES)
    net.load_state_dict(theirs.state_dict())
    net.preset = convzoo.presets.IMAGENET
    head = copy.deepcopy(theirs.fc)
    theirs.fc = nn.Identity()
    theirs.requires_grad_(False)
    print(
        f"resnet18, {arguments.images} JPEGs of 500 x 375 at 224, {arguments.epochs} epochs, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]}\n"
    )
    print("| | seconds | times the faster usual loop |\n|---|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = pictures(Path(folder), arguments.images)
        few = data.subset(range(BATCH))
        usual(theirs, copy.deepcopy(head), few, 1, 0)  # warm
        probed(net, few, 1)
        loops = {}
        for workers in arguments.workers:
            started = time.perf_counter()
            usual(theirs, copy.deepcopy(head), data, arguments.epochs, workers)
            loops[workers] = time.perf_counter() - started
        best = min(loops.values())
        for workers, seconds in loops.items():
            print(f"| usual loop, {workers} workers | {seconds:.1f} | {best / seconds:.2f} |")
        ways: dict[str, dict[str, str]] = {"ours, torch, fp32": {}}
        ways |= {f"ours, {name}, fp32": {"engine": name} for name in arguments.engines}
        if arguments.bf16:
            ways["ours, torch, bf16"] = {"precision": "bf16"}
        for name, how in ways.items():
            net.fc.load_state_dict(head.state_dict())
            started = time.perf_counter()
            probed(net, data, arguments.epochs, **how)
            seconds = time.perf_counter() - started
            print(f"| {name} | {seconds:.1f} | {best / seconds:.2f} |", flush=True)
        off, heads = agreement(net, head, data, arguments.epochs)
    print(f"\nlargest difference: features {off:.1e}, heads {heads:.1e} (of the largest)")


if __name__ == "__main__":
    main()
