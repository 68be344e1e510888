"""Images a second from a folder of JPEGs of 500 x 375 to labels, beside the usual scripts.

python benchmarks/predict_folder.py NETWORK [images] [engine]

Needs scikit-image and scikit-learn. Weights are random: they cost what others cost.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import timm
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import convzoo
from convzoo.inference import Predictor
from pictures import write
from prepare_images import candidates
from timing import interleave

WORKERS = len(os.sched_getaffinity(0))
BATCH = 32


class Files(Dataset[Tensor]):
    """The images of a folder, each through a transform."""

    def __init__(self, folder: Path, transform: Callable[[Path], Tensor]) -> None:
        self.paths = sorted(folder.iterdir())
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.paths[index])


def labels(net: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> list[int]:
    """What the usual script does."""
    with torch.inference_mode():
        return [int(i) for x in batches for i in net(x).softmax(1).topk(5).indices[:, 0]]


def ways(name: str, folder: Path, engine: str) -> dict[str, Callable[[], list[int]]]:
    """The candidates, all with the same weights."""
    net = convzoo.create_model(name).eval()
    net.preset = convzoo.presets.IMAGENET
    theirs: nn.Module = torchvision.models.get_model(name).eval()
    theirs.load_state_dict(net.state_dict())
    of_timm = timm.create_model(name).eval()
    config = {"input_size": (3, 224, 224), "crop_pct": 0.875, "interpolation": "bilinear"}
    transform = timm.data.create_transform(**config)

    def loader(one: Callable[[Path], Tensor]) -> DataLoader[Tensor]:
        return DataLoader(Files(folder, one), batch_size=BATCH, num_workers=WORKERS)

    v1 = candidates()["torchvision v1, PIL"]
    example = torch.stack([v1(path) for path in sorted(folder.iterdir())[:BATCH]])
    fast = convzoo.accelerate(net, example, engine=engine)
    print(fast.report, "\n")
    plain, quick = Predictor(net), Predictor(fast)
    run = lambda predict: [f.predictions[0].index for f in predict.folder(folder)]  # noqa: E731
    return {
        "torchvision's script": lambda: labels(theirs, loader(v1)),
        "timm's inference.py": lambda: labels(
            of_timm, loader(lambda path: transform(Image.open(path).convert("RGB")))
        ),
        f"{fast.engine} behind torchvision's transforms": lambda: labels(fast, loader(v1)),
        "Predictor.folder": lambda: run(plain),
        f"Predictor.folder, {fast.engine}": lambda: run(quick),
    }


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    name = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 128
    with TemporaryDirectory() as place:
        write(Path(place), count)
        calls = ways(name, Path(place), sys.argv[3] if len(sys.argv) > 3 else "auto")
        found: dict[str, list[int]] = {}

        def kept(way: str) -> Callable[[], object]:
            """A candidate whose labels are kept."""
            return lambda: found.__setitem__(way, calls[way]())

        seconds = interleave({way: kept(way) for way in calls}, rounds=2, warmup=0)
    first = next(iter(calls))
    print(f"| {name}, {count} JPEGs of 500 x 375 | images/s | ratio | same labels |")
    print("|---|---:|---:|---:|")
    for way, taken in seconds.items():
        same = sum(a == b for a, b in zip(found[way], found[first], strict=True))
        agree = "" if way.startswith("timm") else f"{same} of {count}"  # other random weights
        print(f"| {way} | {count / taken:.1f} | {seconds[first] / taken:.2f} | {agree} |")
