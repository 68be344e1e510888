"""The networks that the contract tests run on, and how they are built for a quick run."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import convzoo
from convzoo._classifier import Classifier
from convzoo.registry import MODELS as ARCHITECTURES

EVERY = sorted(ARCHITECTURES)


class Case(NamedTuple):
    """A builder and the options that make it another network."""

    name: str
    options: dict[str, object]

    def __str__(self) -> str:
        parts = [f"{k}={v}" for k, v in self.options.items()]
        return "-".join([self.name, *parts])


# Networks that an option makes of other parts, or feeds otherwise.
VARIANTS = [
    *(Case(name, {"aux_heads": True}) for name in ("googlenet", "googlenet_2014", "inception_v3")),
    *(Case(name, {"stem": "small"}) for name in ("googlenet_2014", "resnet18", "preact_resnet50")),
    Case("resnet50", {"stem": "small", "in_channels": 1}),
    *(Case("resnet18", {"shortcut": option}) for option in "AC"),
    Case("cifar_resnet20", {"drop_block": 0.1, "drop_path": 0.1, "dropout": 0.1}),
    Case("vgg11", {"grid": 1, "in_channels": 1}),
    *(Case(name, {"in_channels": 1}) for name in ("alexnet_2012", "googlenet", "inception_v3")),
    *(Case(name, {"in_channels": 3}) for name in ("lenet5", "lenet5_1998", "mlp", "mnist_cnn")),
    Case("lenet5", {"activation": "relu", "pool": "max", "input_size": 32}),
    Case("cifar_cnn5", {"padding": "reflect", "activation": "silu", "pool": "avg"}),
    Case("plain18", {"stem": "small", "drop_block": 0.1}),
    Case("cifar_preact164", {"drop_block": 0.1, "drop_path": 0.1, "dropout": 0.1}),
]
# The first (smallest) of each family, and those that are built otherwise than their family's first.
FIRSTS: list[str] = list(
    dict.fromkeys(
        (
            *{info.family: name for name, info in reversed(ARCHITECTURES.items())}.values(),
            *("resnet50", "vgg11_bn", "vgg11_lrn", "googlenet_2014", "cifar_cnn5"),
            *("alexnet_2012", "lenet5_1998"),
        )
    )
)


def build_meta(name: str, **options: object) -> Classifier:
    return convzoo.create_model(name, device="meta", **options)


def kind(net: Classifier) -> Hashable:
    """The class of a network and the sorts of layers and blocks in it, whatever their widths.

    Networks of one kind differ in depth and width alone.
    """
    settings = ("kernel_size", "stride", "padding", "dilation", "inplace", "ceil_mode")
    parts = {
        (
            type(module),
            *(getattr(module, setting, None) for setting in settings),
            getattr(module, "groups", 1) > 1,
            getattr(module, "bias", None) is None,
        )
        for module in net.modules()
    }
    return type(net), frozenset(parts)


def blocks(name: str) -> int:
    """Residual blocks of a network, read from its settings: every process that collects builds the
    shallow ones, and the two deepest would take it longer than all of those."""
    return sum(ARCHITECTURES[name].settings.get("layers", ()))


class Standing(NamedTuple):
    """Which networks stand for others, so that `make test` need not take them all.

    Attributes:
        classes: The first network of each class.
        kinds: Besides those, the one of the fewest modules of each kind that has a shallow one.
        very_shallow: Networks quick to run with real numbers as well.
        shallow: Networks quick to trace, fill and keep.
    """

    classes: list[str]
    kinds: list[str]
    very_shallow: list[str]
    shallow: list[str]


def standing_for_others() -> Standing:
    classes = sorted({info.network: name for name, info in [*ARCHITECTURES.items()][::-1]}.values())
    nets = [(name, build_meta(name)) for name in ARCHITECTURES if blocks(name) < 30][::-1]
    modules = {name: len(list(net.modules())) for name, net in nets}
    nets.sort(key=lambda item: modules[item[0]], reverse=True)
    kinds = {kind(net): name for name, net in nets if modules[name] < 230}
    shallow = sorted(name for name in modules if modules[name] < 230)
    return Standing(
        classes,
        sorted({*classes, *kinds.values()}),
        [name for name in shallow if modules[name] < 100],
        shallow,
    )


CLASSES, KINDS, VERY_SHALLOW, SHALLOW = standing_for_others()


def plain(names: Collection[str]) -> list[Case]:
    return [Case(name, {}) for name in names]


def parameters(cases: Collection[object], quick: Collection[object]) -> list[object]:
    """Networks or cases for `parametrize`; all but the quick ones wait for `make test-all`."""
    return [
        pytest.param(case, id=str(case), marks=() if case in quick else pytest.mark.long)
        for case in cases
    ]


# Every network, in `make test` one of each kind: for what depth and width do not touch.
BY_KIND = parameters(EVERY, quick=KINDS)
SHALLOW_VARIANTS = [case for case in VARIANTS if case.name in SHALLOW]
# Of few parameters as well, as `build` has them: those are quick to fill and to write.
LIGHT = {*SHALLOW} - {"wide_resnet50_2", "resnext50_32x4d"}
# With real numbers, forward and backward: one of each class, and the variants of few layers
# that are more than a first layer of another width.
NUMBERS = parameters(
    [*plain(EVERY), *VARIANTS],
    quick=[
        *plain({*CLASSES} & LIGHT),
        *(c for c in VARIANTS if c.name in VERY_SHALLOW and {*c.options} != {"in_channels"}),
    ],
)
CASES = parameters([*plain(EVERY), *VARIANTS], quick=[*plain(KINDS), *SHALLOW_VARIANTS])
# What depth alone makes slow.
BY_DEPTH = parameters(EVERY, quick=SHALLOW)
# Of those that stand for a family, in `make test` the ones that are quick to fill and to write.
FIRSTS_TO_KEEP = parameters(FIRSTS, quick=LIGHT)


def narrow(name: str) -> dict[str, object]:
    """Options that leave out most of the parameters and none of the parts.

    Of VGG's 133 to 144 million parameters 120 are in two fully connected layers. AlexNets have no
    such option: the fixture `narrow_alexnets` does the same for them.
    """
    return {"hidden": 64} if name.startswith("vgg") else {}


def build(name: str, **options: object) -> Classifier:
    """A real network with few classes, whose normalisation layers do something."""
    return normalised(
        convzoo.create_model(name, num_classes=7, **{**narrow(name), **options}).eval()
    )


def normalised(net: Classifier) -> Classifier:
    """The network, after its normalisation layers have seen a batch."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.8, 1.2)
        # Most of ReLU's inputs are positive then: else rounding grows from layer to layer.
        nn.init.uniform_(norm.bias, 0.5, 1.5)
        # One batch sets the statistics: without, hundreds of layers would overflow in evaluation.
        norm.train().momentum = 1.0
    if norms:
        with torch.no_grad():
            net(images(net, batch=4))
    for norm in norms:
        # A channel that happens to be alike in all four would be blown up, with its rounding.
        norm.running_var.clamp_(min=float(norm.running_var.mean()))
        norm.eval().momentum = 0.1
    return net


def small_side(net: Classifier) -> int:
    """A side that keeps a real run quick: at most 32 pixels, where the network takes so few."""
    if net.max_size is not None:
        return net.max_size
    return max(net.min_size, min(32, 2 * net.stages[-1].stride))


def images(net: Classifier, batch: int = 2, side: int | None = None) -> Tensor:
    side = side or small_side(net)
    device = next(net.parameters()).device
    return torch.randn(batch, net.in_channels, side, side, device=device)
