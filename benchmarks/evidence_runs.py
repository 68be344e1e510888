"""The experiments of evidence.py: what each compares, and how its networks are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import nn

import convzoo
from convzoo.layers import DropBlockConfig, LocalResponseNorm, apply_drop_connect
from convzoo.models import BasicBlock, PlainBlock, ResNet


@dataclass(frozen=True)
class Run:
    """One variant: a network, and how SGD with Nesterov's momentum of 0.9 trains it."""

    build: Callable[[], nn.Module]
    images: int
    epochs: int
    lr: float
    batch: int = 128
    side: int = 28  # of the images, 28 or 14 pixels
    one_cycle: bool = True  # otherwise the rate stays as it is
    weight_decay: float = 5e-4
    pad: int = 0  # augmentation: shifts of so many pixels,
    flip: bool = False  # and mirrored images
    bfloat16: bool = False  # autocast
    held_out: bool = False  # measure images that are not trained on, after every epoch
    until: float | None = None  # stop at this error in percent, of the held-out images or else of
    # the training images as they pass
    patience: int | None = None  # stop so long after the held-out loss was lowest, and go back
    gradients: bool = False  # note them by layer, before and after


@dataclass(frozen=True)
class Experiment:
    """A comparison; a column is its title, what it shows and with how many digits."""

    what: str
    columns: tuple[tuple[str, str, int], ...]
    runs: Mapping[str, Run]


TEST = ("test, %", "test", 2)
TRAINING = ("training, %", "training", 2)


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


MLP: dict[str, Callable[[], nn.Module]] = {
    "none": mlp,
    "Dropout 0.5": lambda: mlp(dropout=0.5),
    "DropConnect 0.5, mean inference": lambda: mlp(drop_connect=0.5),
}


def resnet20(**options: object) -> nn.Module:
    """ResNet-20 on grey images of 28 x 28; its last two stages have maps of 14 and 7."""
    return convzoo.create_model("cifar_resnet20", in_channels=1, **options)


def wide_resnet(drop_block: DropBlockConfig | None = None) -> nn.Module:
    """A short, wide ResNet for 14 x 14: its two stages have maps of 14 and 7."""
    return ResNet(
        BasicBlock,
        (2, 2),
        widths=(64, 128),
        stem="small",
        in_channels=1,
        num_classes=10,
        drop_block=drop_block,
    )


def deep(block: type[PlainBlock | BasicBlock], blocks: int) -> Callable[[], nn.Module]:
    """CIFAR's ResNet of 6 n + 2 layers, or its plain twin, half as wide; maps of 14, 7 and 4."""
    return lambda: ResNet(
        block,
        (blocks,) * 3,
        widths=(8, 16, 32),
        stem="small",
        shortcut="A",
        in_channels=1,
        num_classes=10,
    )


def small_alexnet(alpha: float | None, kernel: int) -> nn.Module:
    """AlexNet's order of layers for 14 x 14: both kinds of pooling give maps of 7 and 3."""

    def normalised() -> nn.Module:
        return nn.Identity() if alpha is None else LocalResponseNorm(alpha=alpha)

    def pool() -> nn.Module:
        return nn.MaxPool2d(kernel, 2, ceil_mode=kernel == 3)

    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), normalised(), pool()),
        *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), normalised(), pool()),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout()),
        *(nn.Linear(32 * 3 * 3, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def four_layers(activation: str) -> nn.Module:
    """Three convolutions and a linear layer on 14 x 14; weights as the activation wants them."""
    return convzoo.cnn(
        [(16, 3), "pool", (32, 3), "pool", (32, 3)],
        hidden=(),
        in_channels=1,
        image_size=14,
        padding="zeros",
        activation=activation,
        init="kaiming",
    )


def six_convolutions(batch_norm: bool) -> nn.Module:
    """Three pairs of convolutions and a linear layer on 14 x 14."""
    return convzoo.cnn(
        [(16, 3), (16, 3), "pool", (32, 3), (32, 3), "pool", (64, 3), (64, 3)],
        hidden=(),
        in_channels=1,
        image_size=14,
        padding="zeros",
        batch_norm=batch_norm,
        init="kaiming",
    )


DEPTH = Run(nn.Identity, 2_000, 20, 0.1, side=14, weight_decay=1e-4, gradients=True)
ALEXNET = Run(nn.Identity, 2_000, 20, 0.05, side=14)
ACTIVATION = Run(
    nn.Identity, 3_000, 40, 0.1, side=14, one_cycle=False, weight_decay=0.0, until=10.0
)
BATCH_NORM = Run(nn.Identity, 3_000, 25, 0.1, side=14, one_cycle=False, held_out=True, until=16.0)
FEW = Run(convzoo.lenet5, 1_000, 60, 0.05)
STOPPING = Run(mlp, 2_000, 60, 0.05, one_cycle=False, weight_decay=0.0, held_out=True)
TRAINED = Run(mlp, 500, 40, 0.01, batch=8)
WIDE = Run(wide_resnet, 1_000, 60, 0.1, side=14, flip=True)
RATES = (0.01, 0.03, 0.1, 0.3)

# The cheap ones first.
EXPERIMENTS: dict[str, Experiment] = {
    "early-stopping": Experiment(
        "stops",
        (TEST, ("test loss", "test_loss", 3)),
        {
            "after 60 epochs": STOPPING,
            "patience 10": replace(STOPPING, patience=10),
            "patience 3": replace(STOPPING, patience=3),
        },
    ),
    "activation": Experiment(
        "activation, learning rate",
        (("epochs to 25 %", "25 error", 0), ("epochs to 10 %", "10 error", 0)),
        {
            f"{name}, {lr}": replace(ACTIVATION, build=lambda a=kind: four_layers(a), lr=lr)
            for name, kind in (("ReLU", "relu"), ("tanh", "tanh"))
            for lr in RATES
        },
    ),
    "batch-norm": Experiment(
        "network, learning rate",
        (("epochs to 80 %", "20 held_out_error", 0), ("epochs to 84 %", "16 held_out_error", 0)),
        {
            f"{name}, {lr}": replace(BATCH_NORM, build=lambda b=norm: six_convolutions(b), lr=lr)
            for name, norm, rates in (
                ("as it is", False, (0.03, 0.1)),
                ("batch norm", True, (0.03, 0.1, 0.3)),
            )
            for lr in rates
        },
    ),
    "augmentation": Experiment(
        "augmentation",
        (TEST, TRAINING),
        {
            f"{name}, {steps} steps": replace(few, pad=pad, flip=flip)
            for steps, few in (("420", FEW), ("1,860", replace(FEW, batch=32, lr=0.02)))
            for name, pad, flip in (
                ("none", 0, False),
                ("mirrored", 0, True),
                ("shifted by up to 2 pixels", 2, False),
                ("both", 2, True),
            )
        },
    ),
    "alexnet": Experiment(
        "normalisation, pooling",
        (TEST, TRAINING),
        {
            f"{norm}, {pooling}": replace(
                ALEXNET, build=lambda a=alpha, k=kernel: small_alexnet(a, k)
            )
            for norm, alpha, pooling, kernel in (
                ("none", None, "2 x 2", 2),
                ("none", None, "3 x 3, overlapping", 3),
                ("LRN", 1e-4, "3 x 3, overlapping", 3),
                ("LRN, alpha 0.8", 0.8, "3 x 3, overlapping", 3),
            )
        },
    ),
    "depth": Experiment(
        "network",
        (TRAINING, ("training loss", "loss", 3), TEST),
        {
            f"{name}, {6 * n + 2} layers": replace(DEPTH, build=deep(block, n))
            for name, block in (("plain", PlainBlock), ("residual", BasicBlock))
            for n in (3, 9)
        },
    ),
    "mlp": Experiment(
        "regulariser",
        (TEST, TRAINING),
        {name: replace(TRAINED, build=build) for name, build in MLP.items()},
    ),
    # The same places in each block of the last two stages: what differs is the size of what is
    # dropped. The rate is a quarter in the stage before the last, as in DropBlock's code, and
    # rises over training.
    "drop-block": Experiment(
        "regulariser",
        (TEST, TRAINING),
        {
            "none": WIDE,
            "dropout (block 1)": replace(WIDE, build=lambda: wide_resnet(DropBlockConfig(0.1, 1))),
            "DropBlock (block 3)": replace(
                WIDE, build=lambda: wide_resnet(DropBlockConfig(0.1, 3))
            ),
        },
    ),
    # Those of docs/regularisers.md.
    "mlp-20": Experiment(
        "regulariser",
        (TEST, TRAINING),
        {name: Run(build, 10_000, 20, 0.05) for name, build in MLP.items()},
    ),
    "resnet20": Experiment(
        "regulariser",
        (TEST, TRAINING),
        {
            name: Run(lambda o=options: resnet20(**o), 5_000, 20, 0.2, flip=True, bfloat16=True)
            for name, options in {
                "none": {},
                "dropout (block 1)": {"drop_block": DropBlockConfig(0.1, 1)},
                "DropBlock (block 3)": {"drop_block": DropBlockConfig(0.1, 3)},
                "SpatialDropout (whole channels)": {"drop_block": DropBlockConfig(0.1, 14)},
                "stochastic depth, 0.2 at the end": {"drop_path": 0.2},
            }.items()
        },
    ),
}
