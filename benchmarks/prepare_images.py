"""Images a second and core from a JPEG of 500 x 375 to a network's input, beside torchvision's.

python benchmarks/prepare_images.py [images]

Needs scikit-image and scikit-learn, whose photographs the JPEGs are cut from.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import v2

from convzoo.presets import IMAGENET
from convzoo.presets._files import _as_tensor, _opened, read_image
from pictures import folder_of
from timing import interleave

MEAN, STD = IMAGENET.mean, IMAGENET.std


def by_pil(path: Path) -> Image.Image:
    """As torchvision's ImageFolder reads a file."""
    with path.open("rb") as file:
        return Image.open(file).convert("RGB")


def candidates() -> dict[str, Callable[[Path], Tensor]]:
    """From a file to (3, 224, 224), in four ways."""
    usual = v1.Compose([v1.Resize(256), v1.CenterCrop(224), v1.ToTensor(), v1.Normalize(MEAN, STD)])
    newer = v2.Compose(
        [
            *(v2.PILToTensor(), v2.Resize(256, antialias=True), v2.CenterCrop(224)),
            *(v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(MEAN), list(STD))),
        ]
    )
    ours = IMAGENET.eval()
    return {
        "torchvision v1, PIL": lambda path: usual(by_pil(path)),
        "torchvision v2, PIL to tensors": lambda path: newer(by_pil(path)),
        "convzoo, Pillow's decoder": lambda path: ours(_opened(path, _as_tensor)),
        "convzoo, torchvision's decoder": lambda path: ours(read_image(path, ours)),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with folder_of(count) as folder:
        paths = sorted(folder.iterdir())
        ways = candidates()

        def whole(way: Callable[[Path], Tensor]) -> Callable[[], object]:
            """A candidate that prepares all images."""
            return lambda: [way(path) for path in paths]

        order = list(ways)
        # Seconds of the processor, not of the wall: work of others counts less.
        clock = time.process_time
        read_image(paths[0], IMAGENET.eval())  # imports torchvision's decoder
        seconds = interleave({name: whole(way) for name, way in ways.items()}, 7, clock=clock)
        first, last = (torch.stack([ways[name](p) for p in paths[:50]]) for name in order[::3])
        levels = ((first - last) * torch.tensor(STD).view(3, 1, 1) * 255).abs().max()
    print(
        "| from a JPEG of 500 x 375 to 3 x 224 x 224 | images/s and core | ratio |\n|---|---:|---:|"
    )
    for name, taken in seconds.items():
        print(f"| {name} | {count / taken:.0f} | {seconds[order[0]] / taken:.2f} |")
    print(f"\nlargest difference to torchvision v1: {float(levels):.2f} grey levels")
