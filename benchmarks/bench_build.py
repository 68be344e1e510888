"""Building each network with fresh weights: convzoo, torchvision, timm.

python benchmarks/bench_build.py [rounds]
"""

from __future__ import annotations

import sys
from functools import partial

import timm
import torchvision

import convzoo
from timing import interleave, report

TIMM = {"inception_v3": "inception_v3", "googlenet": None, "alexnet": None}
NAMES = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "alexnet",
    "vgg16",
    "googlenet",
    "inception_v3",
]

if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name in NAMES:
        peer = getattr(torchvision.models, name)
        if name in ("googlenet", "inception_v3"):
            peer = partial(peer, init_weights=True, aux_logits=False)
        candidates = {"convzoo": partial(convzoo.create_model, name), "torchvision": peer}
        if TIMM.get(name, name):
            candidates["timm"] = partial(timm.create_model, name)
        report(f"{name}, fresh weights", interleave(candidates, rounds), "convzoo")
