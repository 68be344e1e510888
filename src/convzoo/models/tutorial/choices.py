"""What the small networks let a lesson choose by name, and the layers that the names stand for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, get_args

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from convzoo._checks import LARGEST, check_choice, check_count, check_probability
from convzoo._classifier import Classifier
from convzoo.errors import InputError
from convzoo.layers._named import (
    Activation as Activation,
    Norm as Norm,
    Pooling as Pooling,
    activation_layer,
)
from convzoo.presets import Preset
from convzoo.registry import Paper

Padding = Literal["none", "zeros", "reflect", "replicate"]
"""`"none"`: convolutions shrink the map. Otherwise half a kernel is added on every side."""
Init = Literal["torch", "kaiming"]
"""`"torch"`: PyTorch's default. `"kaiming"`: He's normal rule by fan-in, with biases of zero."""


# What `nn.init` calls the activation; the smooth relatives of ReLU have no gain of their own.
GAINS: Final[Mapping[str, Literal["relu", "leaky_relu", "tanh", "sigmoid"]]] = {
    "relu": "relu",
    "leaky_relu": "leaky_relu",
    "elu": "relu",
    "gelu": "relu",
    "silu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
_MOST_LAYERS: Final = 1000


def linear_stack(
    sizes: Sequence[int],
    activation: Activation,
    slope: float | None,
    dropout: float,
    inplace: bool,
) -> Iterator[tuple[str, nn.Module]]:
    """Linear layers from each size to the next by name, an activation and dropout after each.

    Dropout has names of its own, so that those of the weights are the same without it.
    """
    check_probability("dropout", dropout)
    yield "0", nn.Flatten()
    if dropout and len(sizes) == 1:
        yield "drop0", nn.Dropout(dropout)
    for number, (before, after) in enumerate(itertools.pairwise(sizes), 1):
        yield str(2 * number - 1), nn.Linear(before, after)
        yield str(2 * number), activation_layer(activation, slope, inplace)
        if dropout:
            yield f"drop{number}", nn.Dropout(dropout)


def check_names(**chosen: str) -> None:
    """Refuse an option's name that does not exist."""
    kinds = {"activation": Activation, "init": Init, "padding": Padding, "pool": Pooling}
    for option, name in chosen.items():
        check_choice(option, name, get_args(kinds[option]))


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """Refuse what is no sequence of positive integers."""
    if not isinstance(sizes, Sequence) or isinstance(sizes, str):
        raise InputError(f"{name}: expected a sequence of integers, got {sizes!r}")
    if len(sizes) > _MOST_LAYERS:
        raise InputError(f"{name}: expected at most {_MOST_LAYERS} layers, got {len(sizes)}")
    for size in sizes:
        check_count(name, size, most=LARGEST)


class SmallNetwork(Classifier):
    """What the small networks share: the size of their images, and how they start."""

    init: Init = "torch"
    activation: Activation = "relu"
    slope: float | None = None

    @classmethod
    def preset_for(cls, preset: Preset, options: Mapping[str, Any]) -> Preset:
        """At the `image_size` that was asked for."""
        size = options.get("image_size")
        return preset if size is None else preset.replace(input_size=size, resize=size)

    def reset_parameters(self) -> None:
        """PyTorch's default initialisation, or He's with `init="kaiming"`."""
        head = self.get_submodule(self.head_path)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.reset_parameters()
                if self.init == "kaiming":
                    # No activation follows the last layer.
                    gain = "linear" if module is head else GAINS[self.activation]
                    slope = 0.01 if self.slope is None else self.slope
                    nn.init.kaiming_normal_(module.weight, a=slope, nonlinearity=gain)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
            elif isinstance(module, (_NormBase, nn.GroupNorm)):
                module.reset_parameters()


MNIST_PAPER: Final = Paper(
    "Gradient-Based Learning Applied to Document Recognition",
    1998,
    "http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf",
)
