"""Networks without convolutions: a linear classifier and a multilayer perceptron.

Both are compared with LeNet-5 in LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied
to Document Recognition", 1998. The perceptron's leaky ReLU is today's; the paper has tanh.
Both start as PyTorch initialises, from U(-1 / sqrt(F), 1 / sqrt(F)) of F inputs; the paper says
2.4 / F.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar, Unpack

import torch
from torch import Tensor, nn

from convzoo._build import BuildOptions
from convzoo._checks import check_counts, check_flags
from convzoo._construct import construct
from convzoo._contract import Stage
from convzoo.models.tutorial.choices import (
    MNIST_PAPER,
    Activation,
    Init,
    SmallNetwork,
    check_names,
    check_sizes,
    linear_stack,
)
from convzoo.presets import MNIST
from convzoo.registry import architecture


class LinearClassifierOptions(BuildOptions, total=False):
    """Options of `linear_classifier`."""

    image_size: int
    """Side of the image in pixels."""
    inplace: bool
    """Let activations overwrite their input where they can; a linear classifier has none."""


class MLPOptions(LinearClassifierOptions, total=False):
    """Options of `mlp`."""

    hidden: Sequence[int]
    """Units of the hidden layers, one number a layer."""
    activation: Activation
    """What follows each hidden layer."""
    slope: float | None
    """Of leaky ReLU below 0, in [0, 1]; None is 0.01."""
    dropout: float
    """Probability of dropping a unit of each hidden layer, in [0, 1); where there is none, a value
    of the flattened map."""
    init: Init
    """How the weights start, `"torch"` or `"kaiming"`."""


class LinearClassifier(SmallNetwork):
    """One linear layer on the pixels: a template for each class.

    Args:
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        image_size: Side of the image in pixels; it takes no other.
        inplace: Without effect: there is no activation that could overwrite its input.

    Examples:
        >>> import torch, convzoo
        >>> net = convzoo.linear_classifier()
        >>> templates = net.fc.weight.view(10, 28, 28)  # to be looked at
        >>> net(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    head_path: ClassVar[str] = "fc"

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = 28,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_counts(num_classes=num_classes, in_channels=in_channels, image_size=image_size)
        check_flags(inplace=inplace)
        self.pixels: nn.Identity = nn.Identity()
        self.fc: nn.Linear = nn.Linear(in_channels * image_size**2, num_classes)
        self.in_channels: int = in_channels
        self.num_features: int = in_channels
        self.min_size: int = image_size
        self.max_size: int | None = image_size
        self.stages: tuple[Stage, ...] = (Stage("pixels", "pixels", in_channels, 1),)

    def forward_features(self, x: Tensor) -> Tensor:
        """The image itself, (B, in_channels, H, W)."""
        self._check_input(x)
        out: Tensor = self.pixels(x)
        return out

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, in_channels, H, W) -> class scores (B, num_classes), or (B, in_channels * H * W)."""
        x = torch.flatten(f, 1)
        return x if pre_logits else self.fc(x)


class MLP(SmallNetwork):
    """Fully connected layers: a multilayer perceptron.

    Args:
        hidden: Units of the hidden layers, one number a layer.
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        image_size: Side of the image in pixels; it takes no other.
        activation: What follows each hidden layer, by name.
        slope: Of leaky ReLU below 0; None is 0.01.
        dropout: Probability of dropping a unit of each hidden layer.
        init: How the weights start, `"torch"` or `"kaiming"`.
        inplace: Let activations overwrite their input where they can.

    Examples:
        >>> import torch, convzoo
        >>> net = convzoo.mlp(hidden=[64, 32], activation="relu")
        >>> net.forward_features(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 32, 1, 1])
    """

    head_path: ClassVar[str] = "fc"

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (300, 100),
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = 28,
        activation: Activation = "leaky_relu",
        slope: float | None = None,
        dropout: float = 0.0,
        init: Init = "torch",
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_names(activation=activation, init=init)
        check_counts(num_classes=num_classes, in_channels=in_channels, image_size=image_size)
        check_flags(inplace=inplace)
        check_sizes("hidden", hidden)
        self.init: Init = init
        self.activation: Activation = activation
        self.slope: float | None = slope
        sizes = (in_channels * image_size**2, *hidden)
        self.hidden: nn.Sequential = nn.Sequential(
            OrderedDict(linear_stack(sizes, activation, slope, dropout, inplace))
        )
        # One "pixel" that has seen the whole image.
        self.hidden.add_module(str(2 * len(sizes) - 1), nn.Unflatten(1, (-1, 1, 1)))
        self.fc: nn.Linear = nn.Linear(sizes[-1], num_classes)
        self.in_channels = in_channels
        self.num_features: int = sizes[-1]
        self.min_size: int = image_size
        self.max_size: int | None = image_size
        self.stages: tuple[Stage, ...] = (Stage("hidden", "hidden", sizes[-1], image_size),)
        self.reset_parameters()

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the last hidden layer, (B, hidden[-1], 1, 1)."""
        self._check_input(x)
        return self._run(x, self.hidden)

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, hidden[-1], 1, 1) -> class scores (B, num_classes), or (B, hidden[-1])."""
        x = torch.flatten(f, 1)
        return x if pre_logits else self.fc(x)


@architecture(
    LinearClassifier,
    MNIST_PAPER,
    MNIST,
    family="Linear classifier",
    departs="PyTorch's initialisation",
)
def linear_classifier(
    *, weights: str | None = None, **options: Unpack[LinearClassifierOptions]
) -> LinearClassifier:
    """A linear classifier of 28 x 28 digits; 7,850 parameters."""
    return construct(linear_classifier, weights, options)


@architecture(
    MLP,
    MNIST_PAPER,
    MNIST,
    departs="leaky ReLU instead of the paper's scaled tanh, PyTorch's initialisation",
)
def mlp(*, weights: str | None = None, **options: Unpack[MLPOptions]) -> MLP:
    """A perceptron 784-300-100-10 with leaky ReLU, for 28 x 28 digits; 266,610 parameters."""
    return construct(mlp, weights, options)
