"""Inference and a training step of each network, convzoo beside torchvision's own.

    python benchmarks/bench_steps.py [rounds] [inference | training] [name ...]

Both networks hold the same weights and see the same images; they take turns in one process.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
import torchvision
from torch import Tensor, nn

import convzoo
from timing import interleave

# Each network that torchvision has, too -> side of the image; batch of 8 in training and of 1 in
# inference. Deep and wide ones see smaller images, to be done in minutes.
SIDES = {
    "alexnet": 224,
    "vgg11": 128,
    "vgg11_bn": 128,
    "vgg13": 96,
    "vgg13_bn": 96,
    "vgg16": 96,
    "vgg16_bn": 96,
    "vgg19": 96,
    "vgg19_bn": 96,
    "googlenet": 224,
    "inception_v3": 160,
    "resnet18": 224,
    "resnet34": 160,
    "resnet50": 160,
    "resnet101": 96,
    "resnet152": 96,
    "resnext50_32x4d": 128,
    "resnext101_32x8d": 64,
    "resnext101_64x4d": 64,
    "wide_resnet50_2": 96,
    "wide_resnet101_2": 64,
}


def infer(net: nn.Module, x: Tensor) -> None:
    """One image through the network."""
    with torch.inference_mode():
        net(x)


def train(net: nn.Module, x: Tensor, target: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Forward, backward and an optimiser step."""
    nn.functional.cross_entropy(net(x), target).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def pair(name: str) -> dict[str, nn.Module]:
    """The same network twice, on the same weights."""
    inception = name in ("googlenet", "inception_v3")
    more = {"aux_logits": False, "init_weights": False} if inception else {}
    ours = convzoo.create_model(name, num_classes=100)
    theirs = getattr(torchvision.models, name)(num_classes=100, **more)
    theirs.load_state_dict(ours.state_dict())
    return {"convzoo": ours, "torchvision": theirs}


def main() -> None:
    """Print a table of medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    print("| network | what | convzoo | torchvision | ratio |\n|---|---|---:|---:|---:|")
    wanted = sys.argv[2:]
    kinds = [word for word in wanted if word in ("inference", "training")]
    for name in [word for word in wanted if word not in kinds] or SIDES:
        nets, side = pair(name), SIDES[name]
        x, target = torch.randn(8, 3, side, side), torch.randint(0, 100, (8,))
        runs = {
            "inference": {k: partial(infer, net.eval(), x[:1]) for k, net in nets.items()},
            "training": {
                k: partial(train, net, x, target, torch.optim.SGD(net.parameters(), 1e-4))
                for k, net in nets.items()
            },
        }
        for what, candidates in runs.items():
            if kinds and what not in kinds:
                continue
            for net in nets.values():
                net.train(what != "inference")
            # An inference is so short that a hundred of them cost little.
            turns = rounds if what == "training" else 12 * rounds
            medians = interleave(candidates, turns, warmup=2)
            ours, theirs = medians["convzoo"], medians["torchvision"]
            print(
                f"| {name} | {what} | {1e3 * ours:.1f} ms | {1e3 * theirs:.1f} ms "
                f"| {ours / theirs:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
